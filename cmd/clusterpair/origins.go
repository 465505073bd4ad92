package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// origins finds what pairs should have been made by: the function config that
// an annotation names, and the creation rule of their file.
type origins struct {
	repository

	mu      sync.Mutex
	rules   map[string]*foundRules            // by directory
	configs map[string]map[string]configFacts // by directory and name
}

type foundRules struct {
	*sopsfile.Rules
	path, shown string
	err         error
}

// configFacts are what a config says about its pairs.
type configFacts struct {
	storkVersion string
	inline       *sopsfile.Policy
}

func newOrigins(r repository) *origins {
	return &origins{repository: r, rules: make(map[string]*foundRules), configs: make(map[string]map[string]configFacts)}
}

// of is the origin of the pair in a file, whose path is from the root of the
// repository, and which names the config that rendered it.
func (o *origins) of(path, config string) (validate.Origin, error) {
	file := filepath.FromSlash(path)
	if !filepath.IsAbs(file) {
		file = filepath.Join(o.root, file)
	}
	var origin validate.Origin
	if config != "" {
		facts := o.config(filepath.Dir(file), config)
		origin.StorkVersion = facts.storkVersion
		if facts.inline != nil {
			origin.Policy = facts.inline
			return origin, nil
		}
	}
	rules := o.rulesFor(filepath.Dir(file))
	if rules.Rules == nil {
		return origin, rules.broken(rules.err)
	}
	p, err := rules.Policy(file)
	var none *sopsfile.NoRuleError
	if errors.As(err, &none) {
		none.Rules = rules.shown
		return origin, report.Finding{Rule: "no-creation-rule", Severity: report.Error, Message: none.Error(), Hint: none.Hint()}
	}
	if err != nil {
		return origin, rules.broken(err)
	}
	origin.Policy = pairPolicy(p)
	origin.Policy.Source = strings.Replace(origin.Policy.Source, rules.path, rules.shown, 1)
	return origin, nil
}

// broken is an error about creation rules that cannot be used.
func (r *foundRules) broken(err error) error {
	if err == nil {
		return nil
	}
	return withHint(errors.New(strings.Replace(err.Error(), r.path, r.shown, 1)), "correct the creation rule, as sops reads it, too; age-keygen -y KEYFILE prints a recipient")
}

// rulesFor are the creation rules that sops would use for a file in dir.
func (o *origins) rulesFor(dir string) *foundRules {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.rules[dir]; r != nil {
		return r
	}
	r := new(foundRules)
	r.path, _ = sopsfile.FindRules(dir, os.Getenv("SOPS_CONFIG"))
	if r.path != "" {
		r.shown = r.path
		if rel, err := filepath.Rel(o.cwd, r.path); err == nil {
			r.shown = rel
		}
		for _, known := range o.rules {
			if known.path == r.path {
				r = known
			}
		}
		if r.Rules == nil && r.err == nil {
			r.Rules, r.err = findRules(dir)
		}
	}
	o.rules[dir] = r
	return r
}

// config looks for a config by its name in the directories above that of a
// rendered file, which is OUTPUT/NAMESPACE: the nearest counts.
func (o *origins) config(dir, name string) configFacts {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		parent := filepath.Dir(dir)
		if parent == dir || dir == o.root {
			return configFacts{}
		}
		dir = parent
		configs, known := o.configs[dir]
		if !known {
			configs = readConfigs(dir)
			o.configs[dir] = configs
		}
		if facts, ok := configs[name]; ok {
			return facts
		}
	}
}

// readConfigs are the facts of the generator configs in a directory. What is
// wrong with one of them is said where its own file is judged.
func readConfigs(dir string) map[string]configFacts {
	facts := make(map[string]configFacts)
	t, err := openTree(dir)
	if err != nil {
		return facts
	}
	defer t.Close()
	found, err := configsFor(t)
	if err != nil {
		return facts
	}
	for _, f := range found {
		if f.kind != generator.GeneratorKind {
			continue
		}
		c, _ := generator.ParseConfig(f.doc, f.file)
		if c == nil {
			continue
		}
		known := configFacts{storkVersion: c.Spec.StorkVersion}
		if inline, err := inlinePolicy(c); err == nil && inline != nil {
			known.inline = pairPolicy(inline)
		}
		facts[f.name] = known
	}
	return facts
}
