package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// openConfigs finds the configs to render, each once: those of a directory and of
// the directories that its kustomization builds on, or those of a file, in the tree
// of the nearest kustomization at or above it that lists the file. The caller
// closes their trees.
func openConfigs(paths []string) ([]foundConfig, error) {
	type place struct {
		dir, file string
		line      int
	}
	seen := make(map[place]bool)
	var all []foundConfig
	for _, path := range paths {
		configs, err := findConfigs(path)
		if err == nil && len(configs) == 0 {
			err = errNoConfig(path)
		}
		for _, c := range configs {
			at := place{c.tree.abs("."), filepath.Base(c.file), c.doc.Line}
			if seen[at] {
				continue // its tree is closed with the process
			}
			seen[at] = true
			all = append(all, c)
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// findConfigs is openConfigs where there need not be any.
func findConfigs(path string) ([]foundConfig, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, failed(withHint(fmt.Errorf("%s: %w", path, cause(err)), "name a function config or its directory with -f"))
	}
	var configs []foundConfig
	if info.IsDir() {
		configs, err = configsBelow(path, make(map[string]bool))
	} else {
		configs, err = configsAt(path)
	}
	configs = slices.DeleteFunc(configs, func(c foundConfig) bool {
		return c.kind == generator.DecryptorKind || c.kind == generator.ValidatorKind
	})
	return configs, err
}

// configsBelow finds the configs of a directory, and of those that it builds
// on, each once.
func configsBelow(dir string, seen map[string]bool) ([]foundConfig, error) {
	t, err := openTree(dir)
	if err != nil {
		return nil, failed(err)
	}
	if seen[t.abs(".")] {
		t.Close()
		return nil, nil
	}
	seen[t.abs(".")] = true
	found, err := configsFor(t)
	if len(found) == 0 {
		defer t.Close()
	}
	name, ok := kustomization(t)
	if err != nil || !ok {
		return found, err
	}
	k, err := readKustomization(t, name)
	if err != nil {
		return found, err
	}
	for _, entry := range slices.Concat(k.Resources, k.Components) {
		// What is no directory is a file, or a remote base.
		if info, err := os.Stat(filepath.Join(dir, entry)); err == nil && info.IsDir() {
			more, err := configsBelow(filepath.Join(dir, entry), seen)
			if found = append(found, more...); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// configsAt finds the configs of one file.
func configsAt(path string) ([]foundConfig, error) {
	dir := filepath.Dir(path)
	t, err := openTree(dir)
	if err != nil {
		return nil, failed(err)
	}
	configs, err := configsIn(t, filepath.Base(path))
	if err != nil {
		t.Close()
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return configs, failed(err)
	}
	top, _ := workTree(abs)
	for up := dir; ; up, abs = filepath.Join(up, ".."), filepath.Dir(abs) {
		above, err := openTree(up)
		if err != nil {
			return configs, nil
		}
		if _, ok := kustomization(above); ok {
			listed, err := configsFor(above)
			listed = slices.DeleteFunc(listed, func(c foundConfig) bool { return !sameFile(c.file, path) })
			if err == nil && len(listed) > 0 {
				t.Close()
				return listed, nil
			}
		}
		above.Close()
		if abs == top || abs == filepath.Dir(abs) {
			return configs, nil
		}
	}
}

func sameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// kustomizationFiles are the names that kustomize looks for.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// foundConfig is a function config of clusterpair that a kustomization lists,
// or that stands alone in a directory.
type foundConfig struct {
	tree       *tree // of the kustomization
	kind, name string
	file       string // as messages name it
	doc        *yaml.Node
	// resources are the files that the kustomization lists besides, if it
	// lists the config as a transformer: Secrets come from there.
	resources []string
	// generated are the names of the Secrets that the kustomization makes.
	generated []string
}

// stray tells whether the kustomization of its directory does not list it.
func (c foundConfig) stray() bool {
	if _, ok := kustomization(c.tree); !ok {
		return false
	}
	listed, err := configsFor(c.tree)
	return err == nil && !slices.ContainsFunc(listed, func(other foundConfig) bool { return sameFile(other.file, c.file) })
}

// configsFor finds the function configs of clusterpair that kustomize would
// run for the tree's directory, in order; without a kustomization those in the
// directory's own YAML files.
func configsFor(t *tree) ([]foundConfig, error) {
	if name, ok := kustomization(t); ok {
		k, err := readKustomization(t, name)
		if err != nil {
			return nil, err
		}
		return k.configs(t, name)
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

// kustomization is the name of the kustomization file in the tree's directory.
func kustomization(t *tree) (string, bool) {
	for _, name := range kustomizationFiles {
		if rel, err := t.inside(name); err == nil {
			if _, err := t.root.Stat(rel); err == nil {
				return name, true
			}
		}
	}
	return "", false
}

// kustomizationFile is what matters here of a kustomization.
type kustomizationFile struct {
	Resources    []string    `yaml:"resources"`
	Components   []string    `yaml:"components"`
	Generators   []yaml.Node `yaml:"generators"`
	Transformers []yaml.Node `yaml:"transformers"`

	SecretGenerator []struct {
		Name string `yaml:"name"`
	} `yaml:"secretGenerator"`
}

func readKustomization(t *tree, name string) (*kustomizationFile, error) {
	data, err := t.readFile(name)
	if err != nil {
		return nil, failed(err)
	}
	docs, err := manifest.Values(data, t.show(name))
	if err != nil {
		return nil, err
	}
	k := new(kustomizationFile)
	if len(docs) == 0 {
		return k, nil
	}
	if err := docs[0].Decode(k); err != nil {
		return nil, report.Finding{Rule: "yaml", Severity: report.Error, Position: report.Position{File: t.show(name), Line: docs[0].Line},
			Message: "resources, components, generators, transformers and secretGenerator are to be lists"}
	}
	return k, nil
}

// configs are the configs that a kustomization lists.
func (k *kustomizationFile) configs(t *tree, name string) ([]foundConfig, error) {
	files := k.files(t, ".", make(map[string]bool))
	var generated []string
	for _, s := range k.SecretGenerator {
		generated = append(generated, s.Name)
	}
	var found []foundConfig
	list := func(entries []yaml.Node, resources []string) error {
		for i := range entries {
			more, err := configEntry(t, name, &entries[i])
			if err != nil {
				return err
			}
			for _, c := range more {
				c.resources, c.generated = resources, generated
				found = append(found, c)
			}
		}
		return nil
	}
	if err := list(k.Generators, nil); err != nil {
		return nil, err
	}
	return found, list(k.Transformers, files)
}

// files are the resource files of a kustomization in dir and of the local ones
// that it builds on, relative to the tree's directory: where a transformer's
// Secrets come from. What lies outside of the tree is left out.
func (k *kustomizationFile) files(t *tree, dir string, seen map[string]bool) []string {
	if seen[dir] {
		return nil
	}
	seen[dir] = true
	var files []string
	for _, entry := range slices.Concat(k.Resources, k.Components) {
		path := filepath.Join(dir, entry)
		rel, err := t.inside(path)
		if err != nil {
			continue
		}
		info, err := t.root.Stat(rel)
		switch {
		case err != nil: // a remote base
		case info.Mode().IsRegular():
			files = append(files, path)
		case info.IsDir():
			for _, name := range kustomizationFiles {
				if base, err := readKustomization(t, filepath.Join(path, name)); err == nil {
					files = append(files, base.files(t, path, seen)...)
				}
			}
		}
	}
	return files
}

// configEntry finds configs in an entry of generators or transformers: a file,
// or the config itself as an inline string.
func configEntry(t *tree, name string, entry *yaml.Node) ([]foundConfig, error) {
	if entry.Kind != yaml.ScalarNode {
		return nil, nil
	}
	if docs, err := manifest.Values([]byte(entry.Value), t.show(name)); err == nil && len(docs) > 0 && docs[0].Kind == yaml.MappingNode {
		for _, doc := range docs {
			shiftLines(doc, entry.Line) // the text of a block scalar starts on the next line
		}
		return configsAmong(t, docs, t.show(name)), nil
	}
	rel, err := t.inside(entry.Value)
	if err != nil {
		return nil, nil
	}
	info, err := t.root.Stat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(entry.Value, "/:\n"): // neither remote nor inline
		return nil, report.Finding{Rule: "yaml", Severity: report.Error, Position: report.Position{File: t.show(name), Line: entry.Line, Column: entry.Column},
			Message: entry.Value + ": no such file or directory", Hint: "ls " + t.shown}
	case err != nil || info.IsDir():
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
	docs, err := manifest.Values(data, t.show(file))
	if err != nil {
		return nil, err
	}
	return configsAmong(t, docs, t.show(file)), nil
}

func configsAmong(t *tree, docs []*yaml.Node, file string) []foundConfig {
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
			found = append(found, foundConfig{tree: t, kind: meta.Kind, name: meta.Metadata.Name, file: file, doc: doc})
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

// errNoConfig says that there is nothing to generate from, and where there is.
func errNoConfig(dir string) error {
	hint := "name the config: clusterpair generate -f CONFIG; or a pair: clusterpair generate NAME --kubeconfig FILE"
	if below := configDirs(dir); len(below) > 0 {
		hint = "clusterpair generate"
		for _, dir := range below {
			hint += " -f " + typed(dir)
		}
	}
	return failed(withHint(fmt.Errorf("%s holds no function config of kind %s", dir, generator.GeneratorKind), "%s", hint))
}

// configDirs are directories below one in which there are configs, the first few.
func configDirs(dir string) []string {
	var dirs []string
	for _, path := range configPaths(dir, 5) {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			path = filepath.Dir(path)
		}
		dirs = append(dirs, path)
	}
	return slices.Compact(dirs)
}

// configPaths are files below a directory with configs, at most so many, as
// [findConfigs] takes them: for a kustomization that holds one the directory.
func configPaths(dir string, most int) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // what cannot be read has none
		switch {
		case len(found) == most:
			return fs.SkipAll
		case err != nil:
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case d.Type().IsRegular() && isManifest(d.Name()):
			data, err := os.ReadFile(path)
			if err == nil && bytes.Contains(data, []byte(generator.APIVersion)) && bytes.Contains(data, []byte(generator.GeneratorKind)) {
				if slices.Contains(kustomizationFiles, d.Name()) {
					path = filepath.Dir(path)
				}
				found = append(found, path)
			}
		}
		return nil
	})
	return found
}
