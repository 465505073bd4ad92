package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/fn/framework"
	"sigs.k8s.io/kustomize/kyaml/kio"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// runFunction is the kustomize function. kustomize runs it in the directory of
// the kustomization that lists it.
func runFunction(cmd *cobra.Command) error {
	t, err := openTree(".")
	if err != nil {
		return failed(err)
	}
	defer t.Close()
	env := &environment{tree: t, safe: sopsfile.New(nil)}

	var findings []report.Finding
	err = framework.Execute(framework.ResourceListProcessorFunc(func(rl *framework.ResourceList) (err error) {
		markRun(rl)
		findings, err = generator.Process(cmd.Context(), rl, env, time.Now())
		return err
	}), &kio.ByteReadWriter{Reader: cmd.InOrStdin(), Writer: cmd.OutOrStdout(), KeepReaderAnnotations: true})
	if err := printFindings(cmd, findings); err != nil {
		return err
	}
	return runError(cmd, err)
}

// runError gives an error of a run its exit code: a finding is printed as one.
func runError(cmd *cobra.Command, err error) error {
	var finding report.Finding
	if errors.As(err, &finding) {
		return printFindings(cmd, []report.Finding{finding})
	}
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		return failed(err)
	}
	return err
}

// environment is where a function runs: below a kustomization.
type environment struct {
	tree *tree
	safe *sopsfile.Safe
}

// Open implements [generator.Environment].
func (e *environment) Open(c *generator.Config, stream map[string]*yaml.Node) (generator.SecretSource, generator.Encrypter, error) {
	secrets, err := openSecrets(e.tree, e.safe, c, stream)
	if err != nil {
		return nil, nil, err
	}
	s, err := newSealer(e.tree, e.safe, c)
	return secrets, s, err
}

// Decrypt implements [generator.Environment].
func (e *environment) Decrypt(ctx context.Context, patterns []string, each func(file string, doc *yaml.Node) error) error {
	for _, pattern := range patterns {
		files, err := e.tree.expand(pattern, "")
		if err != nil {
			return failed(err)
		}
		for _, file := range files {
			data, err := e.tree.readFile(file)
			if err != nil {
				return failed(err)
			}
			name := e.tree.show(file)
			docs, err := e.safe.Decrypt(ctx, data, name)
			if err != nil {
				return sopsError(err, name)
			}
			for _, doc := range contents(docs) {
				if err := each(name, doc); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Locate implements [generator.Environment].
func (e *environment) Locate(kind, name string) (*yaml.Node, string) {
	configs, err := findConfigs(e.tree)
	if err != nil {
		return nil, ""
	}
	for _, c := range configs {
		if c.kind == kind && c.name == name {
			return c.doc, c.file
		}
	}
	return nil, ""
}

// kustomizationFiles are the names that kustomize looks for.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// foundConfig is a function config of clusterpair that a kustomization lists,
// or that stands alone in a directory.
type foundConfig struct {
	kind, name string
	file       string // as messages name it
	doc        *yaml.Node
	// resources are the files that the kustomization lists besides, if it
	// lists the config as a transformer: Secrets come from there.
	resources []string
}

// findConfigs finds the function configs of clusterpair that kustomize would
// run for the tree's directory, in order; without a kustomization those in the
// directory's own YAML files.
func findConfigs(t *tree) ([]foundConfig, error) {
	for _, name := range kustomizationFiles {
		if rel, err := t.inside(name); err == nil {
			if _, err := t.root.Stat(rel); err == nil {
				return configsOf(t, name)
			}
		}
	}
	entries, err := fs.ReadDir(t.root.FS(), filepath.ToSlash(t.base))
	if err != nil {
		return nil, failed(fmt.Errorf("read %s: %w", t.shown, cause(err)))
	}
	var found []foundConfig
	for _, entry := range entries {
		file := entry.Name()
		if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" {
			continue
		}
		data, err := t.readFile(file)
		if err != nil || !bytes.Contains(data, []byte(generator.APIVersion)) {
			continue // what else lies about is no business of ours
		}
		more, err := configsIn(t, file)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return found, nil
}

// configsOf finds the configs that a kustomization lists.
func configsOf(t *tree, kustomization string) ([]foundConfig, error) {
	data, err := t.readFile(kustomization)
	if err != nil {
		return nil, failed(err)
	}
	docs, err := parseDocuments(data, t.show(kustomization))
	if err != nil {
		return nil, err
	}
	var found []foundConfig
	for _, doc := range docs {
		var k struct {
			Resources    []string    `yaml:"resources"`
			Generators   []yaml.Node `yaml:"generators"`
			Transformers []yaml.Node `yaml:"transformers"`
		}
		if err := doc.Decode(&k); err != nil {
			return nil, badFile(t.show(kustomization), doc.Line, 0, "resources, generators and transformers are to be lists", "")
		}
		var files []string
		for _, r := range k.Resources {
			if rel, err := t.inside(r); err == nil {
				if info, err := t.root.Stat(rel); err == nil && info.Mode().IsRegular() {
					files = append(files, filepath.Clean(r))
				}
			}
		}
		list := func(entries []yaml.Node, resources []string) error {
			for i := range entries {
				more, err := configEntry(t, kustomization, &entries[i])
				if err != nil {
					return err
				}
				for _, c := range more {
					c.resources = resources
					found = append(found, c)
				}
			}
			return nil
		}
		if err := errors.Join(list(k.Generators, nil), list(k.Transformers, files)); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// configEntry finds configs in an entry of generators or transformers: a file,
// or the config itself as an inline string.
func configEntry(t *tree, kustomization string, entry *yaml.Node) ([]foundConfig, error) {
	if entry.Kind != yaml.ScalarNode {
		return nil, nil
	}
	if docs, err := parseDocuments([]byte(entry.Value), t.show(kustomization)); err == nil && len(docs) > 0 && docs[0].Kind == yaml.MappingNode {
		for _, doc := range docs {
			shiftLines(doc, entry.Line) // the text of a block scalar starts on the next line
		}
		return configsAmong(docs, t.show(kustomization)), nil
	}
	rel, err := t.inside(entry.Value)
	if err != nil {
		return nil, nil
	}
	if info, err := t.root.Stat(rel); err != nil || info.IsDir() {
		return nil, nil
	}
	return configsIn(t, entry.Value)
}

// configsIn finds configs in a file.
func configsIn(t *tree, file string) ([]foundConfig, error) {
	data, err := t.readFile(file)
	if err != nil {
		return nil, failed(err)
	}
	docs, err := parseDocuments(data, t.show(file))
	if err != nil {
		return nil, err
	}
	return configsAmong(docs, t.show(file)), nil
}

func configsAmong(docs []*yaml.Node, file string) []foundConfig {
	var found []foundConfig
	for _, doc := range docs {
		var meta struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Metadata   struct {
				Name string `yaml:"name"`
			} `yaml:"metadata"`
		}
		if doc.Decode(&meta) == nil && meta.APIVersion == generator.APIVersion {
			found = append(found, foundConfig{kind: meta.Kind, name: meta.Metadata.Name, file: file, doc: doc})
		}
	}
	return found
}

func shiftLines(n *yaml.Node, by int) {
	n.Line += by
	for _, child := range n.Content {
		shiftLines(child, by)
	}
}

// errNoConfig says that there is nothing to generate from.
func errNoConfig(dir string) error {
	return failed(withHint(fmt.Errorf("%s holds no function config of kind %s", dir, generator.GeneratorKind),
		"name the config: clusterpair generate -f CONFIG; or a pair: clusterpair generate NAME --kubeconfig FILE"))
}
