package render

import (
	"bytes"
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/orphan"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// Origins finds what pairs should have been made by: the function config that
// an annotation names, and the creation rule of their file.
type Origins struct {
	gitfiles.Repository

	mu      sync.Mutex
	rules   map[string]*foundRules      // by directory
	configs map[string]directoryConfigs // by directory
}

// directoryConfigs are the configs of a directory.
type directoryConfigs struct {
	facts  map[string]configFacts // by name
	broken brokenConfigs
}

// brokenConfigs are configs of which nobody can tell what they render.
type brokenConfigs struct {
	fleets []string // their names
	texts  [][]byte // files that cannot be read
}

// mayRender tells whether a pair may be rendered by one of them, by the name of its config:
// a text that cannot be read has to mention it.
func (b *brokenConfigs) mayRender(config string) bool {
	fleet := config[:max(0, strings.LastIndexByte(config, '.'))]
	return slices.Contains(b.fleets, fleet) ||
		slices.ContainsFunc(b.texts, func(text []byte) bool { return bytes.Contains(text, []byte(cmp.Or(fleet, config))) })
}

type foundRules struct {
	*sopsfile.Rules
	path, shown string
	err         error
}

// configFacts are what a config says about its pairs.
type configFacts struct {
	storkVersion string
	dir          string // of the kustomization that lists it
	inline       *sopsfile.Policy
	renders      orphan.Config // with an absolute output
	broken       bool          // nobody can tell what it renders
}

func NewOrigins(r gitfiles.Repository) *Origins {
	return &Origins{Repository: r, rules: make(map[string]*foundRules), configs: make(map[string]directoryConfigs)}
}

// Of is the origin of the pair in a file. path leads to the file from the root of the
// repository; config is the name of the config that the pair says it was rendered by.
func (o *Origins) Of(path, config string) (validate.Origin, error) {
	file := filepath.FromSlash(path)
	if !filepath.IsAbs(file) {
		file = filepath.Join(o.Root, file)
	}
	var origin validate.Origin
	if config != "" {
		facts := o.config(filepath.Dir(file), config)
		origin.StorkVersion = facts.storkVersion
		if facts.dir != "" {
			origin.Render = o.render(facts.dir)
		}
		namespace, name := filepath.Split(file)
		origin.Rendered = facts.broken || facts.renders.Output != "" && facts.renders.Renders(filepath.ToSlash(file), filepath.Base(namespace)+"/"+strings.TrimSuffix(name, filepath.Ext(name)))
		if facts.inline != nil {
			origin.Policy = facts.inline
			return origin, nil
		}
	}
	rules := o.rulesFor(filepath.Dir(file))
	if rules.Rules == nil {
		return origin, rules.err
	}
	p, err := rules.Policy(file)
	var none *sopsfile.NoRuleError
	if errors.As(err, &none) {
		none.Rules = rules.shown
		return origin, report.Finding{Rule: "no-creation-rule", Severity: report.Error, Message: none.Error(), Hint: none.Hint()}
	}
	if err != nil {
		return origin, seal.BrokenRules(rules.path, err)
	}
	origin.Policy = seal.ForPair(p)
	origin.Policy.Source = strings.Replace(origin.Policy.Source, rules.path, rules.shown, 1)
	return origin, nil
}

// render is the command that renders the configs of a directory.
func (o *Origins) render(dir string) string {
	if dir == o.Cwd {
		return "clusterpair generate"
	}
	if rel, err := filepath.Rel(o.Cwd, dir); err == nil {
		dir = rel
	}
	return "clusterpair generate -f " + report.Typed(dir)
}

// rulesFor are the creation rules that sops would use for a file in dir.
func (o *Origins) rulesFor(dir string) *foundRules {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r := o.rules[dir]; r != nil {
		return r
	}
	r := new(foundRules)
	r.path, _ = sopsfile.FindRules(dir, os.Getenv("SOPS_CONFIG"))
	if r.path != "" {
		r.shown = r.path
		if rel, err := filepath.Rel(o.Cwd, r.path); err == nil {
			r.shown = rel
		}
		for _, known := range o.rules {
			if known.path == r.path {
				r = known
			}
		}
		if r.Rules == nil && r.err == nil {
			r.Rules, r.err = seal.FindRules(dir)
		}
	}
	o.rules[dir] = r
	return r
}

// config looks for a config by its name in the directories above that of a
// rendered file, which is OUTPUT/NAMESPACE: the nearest counts.
func (o *Origins) config(dir, name string) configFacts {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		parent := filepath.Dir(dir)
		if parent == dir || dir == o.Root {
			return configFacts{}
		}
		dir = parent
		configs, known := o.configs[dir]
		if !known {
			configs = readConfigs(dir)
			o.configs[dir] = configs
		}
		if facts, ok := configs.facts[name]; ok {
			return facts
		}
		if configs.broken.mayRender(name) {
			return configFacts{broken: true}
		}
	}
}

// readConfigs are the facts of the generator configs in a directory. What is
// wrong with one of them is said where its own file is judged.
func readConfigs(dir string) directoryConfigs {
	d := directoryConfigs{facts: make(map[string]configFacts)}
	t, err := worktree.Open(dir)
	if err != nil {
		return d
	}
	defer t.Close()
	found, err := kustomize.Listed(t)
	if err != nil {
		found, d.broken.texts = kustomize.Readable(t)
	}
	for _, f := range found {
		if f.Kind != generator.GeneratorKind {
			continue
		}
		c, _ := f.Parse()
		switch {
		case c == nil && f.Fleet:
			d.broken.fleets = append(d.broken.fleets, f.Name)
			continue
		case c == nil:
			continue
		}
		known := configFacts{storkVersion: c.Spec.StorkVersion, dir: dir}
		if inline, err := inlinePolicy(c); err == nil && inline != nil {
			known.inline = seal.ForPair(inline)
		}
		known.renders, _ = orphanConfig(f, gitfiles.Repository{Cwd: "/", Root: "/"})
		known.renders.Output = filepath.ToSlash(t.Abs(c.Spec.Output))
		d.facts[f.Name] = known
	}
	return d
}

// orphanConfig is what a config says of the files that it renders.
func orphanConfig(f kustomize.Config, repo gitfiles.Repository) (orphan.Config, bool) {
	if f.Kind != generator.GeneratorKind {
		return orphan.Config{}, false
	}
	if f.Fleet {
		return fleetConfig(f, repo)
	}
	spec := manifest.Field(f.Doc, "spec")
	c := orphan.Config{Name: f.Name, File: f.File, Position: report.Position{File: f.File, Line: f.Doc.Line, Column: f.Doc.Column},
		Output: repo.Path(f.Tree.Show(cmp.Or(manifest.Text(spec, "output"), "rendered")))}
	if manifest.Field(spec, "selector") == nil {
		c.Pairs = generator.Listed(f.Doc)
	}
	return c, true
}

// fleetConfig is what a source cluster of a fleet has rendered. One that is no more is
// left to the run that removes its pairs.
func fleetConfig(f kustomize.Config, repo gitfiles.Repository) (orphan.Config, bool) {
	if f.Source == nil {
		return orphan.Config{}, false
	}
	c := orphan.Config{Name: f.Name, File: f.File, Position: report.Position{File: f.File, Line: f.Doc.Line, Column: f.Doc.Column},
		Output: repo.Path(f.Tree.Show(f.Source.Output)), Pairs: make(map[string]bool)}
	for pair := range f.Source.Leads() {
		c.Pairs[pair] = true
	}
	return c, true
}
