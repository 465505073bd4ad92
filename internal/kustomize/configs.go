package kustomize

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
	"clusterpair.dev/internal/fleet"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Config is a function config of clusterpair that a kustomization lists, or that
// stands alone in a directory.
type Config struct {
	Tree       *worktree.Tree // of the kustomization; who asks for configs closes it: see [Close]
	Kind, Name string
	File       string // as messages name it
	Doc        *yaml.Node
	// Resources are the files that the kustomization lists besides, if it
	// lists the config as a transformer: Secrets come from there.
	Resources []string
	// Generated are the names of the Secrets that the kustomization makes.
	Generated []string
	// Fleet tells that the config comes from a fleet, in which it stands for Source; that
	// is nil if the fleet is broken.
	Fleet  bool
	Source *fleet.Source

	unsound []report.Finding // about the fleet
}

// Parse reads a config of kind ClusterPairGenerator. Its files are then also those that
// the kustomization lists. Without a config there is an Error among the findings.
func (c *Config) Parse() (*generator.Config, []report.Finding) {
	if c.Fleet && c.Source == nil {
		return nil, c.unsound
	}
	parsed, findings := c.parse()
	if parsed != nil {
		parsed.Spec.Files = append(parsed.Spec.Files, c.Resources...)
	}
	return parsed, findings
}

func (c *Config) parse() (*generator.Config, []report.Finding) {
	switch {
	case c.Fleet:
	case c.Kind == generator.GeneratorKind:
		return generator.ParseConfig(c.Doc, c.File)
	default:
		return nil, generator.CheckConfig(c.Kind, c.Doc, c.File)
	}
	parsed, findings := c.Source.Parse()
	return parsed, append(slices.Clone(c.unsound), findings...)
}

// Close closes the trees of configs.
func Close(configs []Config) {
	for _, c := range configs {
		c.Tree.Close() // read-only, and several may share it
	}
}

// Configs finds the configs to render, each once: those of a directory and of
// the directories that its kustomization builds on, or those of a file, in the tree
// of the nearest kustomization at or above it that lists the file. None is an error.
// The caller closes their trees, after an error, too.
func Configs(paths ...string) ([]Config, error) {
	type place struct {
		dir, file, name string
		line            int
	}
	seen := make(map[place]bool)
	var all []Config
	for _, path := range paths {
		configs, err := Find(path)
		if err == nil && len(configs) == 0 {
			err = errNoConfig(path)
		}
		for _, c := range configs {
			at := place{c.Tree.Abs("."), filepath.Base(c.File), c.Name, c.Doc.Line}
			if seen[at] {
				continue // its tree stays open until the process ends, unless another config has it, too
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

// Find is [Configs] of one path, where there need not be any. Configs that render
// nothing, of the decryptor and of the validator, are left out.
func Find(path string) ([]Config, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, report.WithHint(fmt.Errorf("%s: %w", path, worktree.Cause(err)), "name a function config or its directory with -f")
	}
	var configs []Config
	if info.IsDir() {
		configs, err = configsBelow(path, make(map[string]bool))
	} else {
		configs, err = configsAt(path)
	}
	configs = slices.DeleteFunc(configs, func(c Config) bool {
		return c.Kind == generator.DecryptorKind || c.Kind == generator.ValidatorKind
	})
	return configs, err
}

// HasConfig tells whether a path means function configs: whether [Find] finds any.
func HasConfig(path string) bool {
	configs, err := Find(path)
	Close(configs)
	return err == nil && len(configs) > 0
}

// configsBelow finds the configs of a directory, and of those that it builds
// on, each once.
func configsBelow(dir string, seen map[string]bool) ([]Config, error) {
	t, err := worktree.Open(dir)
	if err != nil {
		return nil, err
	}
	if seen[t.Abs(".")] {
		t.Close()
		return nil, nil
	}
	seen[t.Abs(".")] = true
	found, err := Listed(t)
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
func configsAt(path string) ([]Config, error) {
	dir := filepath.Dir(path)
	t, err := worktree.Open(dir)
	if err != nil {
		return nil, err
	}
	configs, err := In(t, filepath.Base(path))
	if err != nil {
		t.Close()
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return configs, err
	}
	top, _ := worktree.Top(abs)
	for up := dir; ; up, abs = filepath.Join(up, ".."), filepath.Dir(abs) {
		above, err := worktree.Open(up)
		if err != nil {
			return configs, nil
		}
		if _, ok := kustomization(above); ok {
			listed, err := Listed(above)
			listed = slices.DeleteFunc(listed, func(c Config) bool { return !worktree.SameFile(c.File, path) })
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

// kustomizationFiles are the names that kustomize looks for.
var kustomizationFiles = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// Stray tells whether the kustomization of its directory does not list it.
func (c Config) Stray() bool {
	if _, ok := kustomization(c.Tree); !ok {
		return false
	}
	listed, err := Listed(c.Tree)
	return err == nil && !slices.ContainsFunc(listed, func(other Config) bool { return worktree.SameFile(other.File, c.File) })
}

// Listed finds the function configs of clusterpair that kustomize would run for the
// tree's directory, in order, not those of directories that it builds on, then those of
// the directory's fleets; without a kustomization all in the directory's own manifests.
// They share the tree.
func Listed(t *worktree.Tree) ([]Config, error) {
	name, ok := kustomization(t)
	if !ok {
		return alone(t, anyVersion)
	}
	k, err := readKustomization(t, name)
	if err != nil {
		return nil, err
	}
	found, err := k.configs(t, name)
	if err != nil {
		return found, err
	}
	fleets, err := alone(t, generator.FleetKind)
	return append(found, slices.DeleteFunc(fleets, func(c Config) bool {
		return !c.Fleet || slices.ContainsFunc(found, func(other Config) bool {
			return other.File == c.File && other.Name == c.Name && other.Doc.Line == c.Doc.Line
		})
	})...), err
}

// anyVersion stands in each config, also in one of a version that does not exist.
const anyVersion = generator.Group + "/v"

// alone are the configs in the manifests of a directory that hold a text.
func alone(t *worktree.Tree, text string) (found []Config, err error) {
	err = holding(t, text, func(file string, _ []byte) error {
		more, err := In(t, file)
		found = append(found, more...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

// Readable finds the configs in the manifests of a directory, whoever lists them. unread
// are the texts of those that mention configs and cannot be read.
func Readable(t *worktree.Tree) (found []Config, unread [][]byte) {
	_ = holding(t, anyVersion, func(file string, data []byte) error {
		more, err := In(t, file)
		if found = append(found, more...); err != nil {
			unread = append(unread, data)
		}
		return nil
	})
	return found, unread
}

// holding visits the manifests of a directory that hold a text. What else lies about is
// no business of ours.
func holding(t *worktree.Tree, text string, visit func(file string, data []byte) error) error {
	entries, err := fs.ReadDir(t.Root.FS(), filepath.ToSlash(t.Base))
	if err != nil {
		return fmt.Errorf("read %s: %w", t.Shown, worktree.Cause(err))
	}
	for _, entry := range entries {
		file := entry.Name()
		if !gitfiles.IsManifest(file) {
			continue
		}
		data, err := t.ReadFile(file)
		if err != nil || !bytes.Contains(data, []byte(text)) {
			continue
		}
		if err := visit(file, data); err != nil {
			return err
		}
	}
	return nil
}

// kustomization is the name of the kustomization file in the tree's directory.
func kustomization(t *worktree.Tree) (string, bool) {
	for _, name := range kustomizationFiles {
		if rel, err := t.Inside(name); err == nil {
			if _, err := t.Root.Stat(rel); err == nil {
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

func readKustomization(t *worktree.Tree, name string) (*kustomizationFile, error) {
	docs, err := documents(t, name)
	if err != nil {
		return nil, err
	}
	k := new(kustomizationFile)
	if len(docs) == 0 {
		return k, nil
	}
	if err := docs[0].Decode(k); err != nil {
		return nil, report.Finding{Rule: "yaml", Severity: report.Error, Position: report.Position{File: t.Show(name), Line: docs[0].Line},
			Message: "resources, components, generators, transformers and secretGenerator are to be lists"}
	}
	return k, nil
}

// configs are the configs that a kustomization lists.
func (k *kustomizationFile) configs(t *worktree.Tree, name string) ([]Config, error) {
	files, missing := k.files(t, ".", make(map[string]bool))
	var generated []string
	for _, s := range k.SecretGenerator {
		generated = append(generated, s.Name)
	}
	var found []Config
	list := func(entries []yaml.Node, resources []string) error {
		for i := range entries {
			more, err := configEntry(t, name, &entries[i])
			if err != nil {
				return err
			}
			for _, c := range more {
				c.Resources, c.Generated = resources, generated
				found = append(found, c)
			}
		}
		return nil
	}
	if err := list(k.Generators, nil); err != nil {
		return nil, err
	}
	generators := len(found)
	err := list(k.Transformers, files)
	if err == nil && missing != nil && slices.ContainsFunc(found[generators:], func(c Config) bool { return c.Kind == generator.GeneratorKind }) {
		err = missing // its pairs would seem to be listed no more
	}
	return found, err
}

// files are the resource files of a kustomization in dir and of the local ones
// that it builds on, relative to the tree's directory: where a transformer's
// Secrets come from. What lies outside of the tree is left out. missing tells of what
// is listed and cannot be read.
func (k *kustomizationFile) files(t *worktree.Tree, dir string, seen map[string]bool) (files []string, missing error) {
	if seen[dir] {
		return nil, nil
	}
	seen[dir] = true
	for _, entry := range slices.Concat(k.Resources, k.Components) {
		path := filepath.Join(dir, entry)
		rel, err := t.Inside(path)
		if err != nil {
			continue
		}
		info, err := t.Root.Stat(rel)
		switch {
		case err != nil && isRemote(entry):
		case err != nil:
			missing = report.Finding{Rule: "secret-missing", Severity: report.Error, Position: report.Position{File: t.Show(dir)}, Path: "resources",
				Message: fmt.Sprintf("%s: %v: a Secret that it holds would be missed", t.Show(path), worktree.Cause(err)), Hint: "correct resources of the kustomization: ls " + report.Typed(t.Show(dir))}
		case info.Mode().IsRegular():
			files = append(files, path)
		case info.IsDir():
			for _, name := range kustomizationFiles {
				rel, err := t.Inside(filepath.Join(path, name))
				if err == nil {
					_, err = t.Root.Lstat(rel)
				}
				if err != nil {
					continue // it has another name
				}
				base, err := readKustomization(t, filepath.Join(path, name))
				if err != nil {
					missing = err
					continue
				}
				more, bad := base.files(t, path, seen)
				if files = append(files, more...); bad != nil {
					missing = bad
				}
			}
		}
	}
	return files, missing
}

// isRemote tells whether an entry under resources may be no path: a URL, or HOST/PATH.
func isRemote(entry string) bool {
	host, _, _ := strings.Cut(entry, "/")
	return strings.ContainsAny(entry, ":?") || host != entry && host != "." && host != ".." && strings.Contains(host, ".")
}

// configEntry finds configs in an entry of generators or transformers: a file,
// or the config itself as an inline string.
func configEntry(t *worktree.Tree, name string, entry *yaml.Node) ([]Config, error) {
	if entry.Kind != yaml.ScalarNode {
		return nil, nil
	}
	if docs, err := manifest.Values([]byte(entry.Value), t.Show(name)); err == nil && len(docs) > 0 && docs[0].Kind == yaml.MappingNode {
		for _, doc := range docs {
			shiftLines(doc, entry.Line) // the text of a block scalar starts on the next line
		}
		return configsAmong(t, docs, t.Show(name)), nil
	}
	rel, err := t.Inside(entry.Value)
	if err != nil {
		return nil, nil
	}
	info, err := t.Root.Stat(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(entry.Value, "/:\n"): // neither remote nor inline
		return nil, report.Finding{Rule: "yaml", Severity: report.Error, Position: report.Position{File: t.Show(name), Line: entry.Line, Column: entry.Column},
			Message: entry.Value + ": no such file or directory", Hint: "ls " + t.Shown}
	case err != nil || info.IsDir():
		return nil, nil
	}
	return In(t, entry.Value)
}

// In finds the configs in a file of a tree, whoever lists it.
func In(t *worktree.Tree, file string) ([]Config, error) {
	docs, err := documents(t, file)
	if err != nil {
		return nil, err
	}
	return configsAmong(t, docs, t.Show(file)), nil
}

// documents are those of a file of a tree.
func documents(t *worktree.Tree, file string) ([]*yaml.Node, error) {
	data, err := t.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return manifest.Values(data, t.Show(file))
}

func configsAmong(t *worktree.Tree, docs []*yaml.Node, file string) []Config {
	var found []Config
	add := func(doc *yaml.Node) {
		var meta struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string `yaml:"kind"`
			Metadata   struct {
				Name string `yaml:"name"`
			} `yaml:"metadata"`
		}
		switch {
		case doc.Decode(&meta) != nil || !strings.HasPrefix(meta.APIVersion, generator.Group+"/"):
		case meta.Kind == generator.FleetKind:
			found = append(found, sources(t, doc, file)...)
		default:
			found = append(found, Config{Tree: t, Kind: meta.Kind, Name: meta.Metadata.Name, File: file, Doc: doc})
		}
	}
	for _, doc := range docs {
		manifest.EachItem(doc, add)
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
	hint := "name a pair and its --kubeconfig, or a config: clusterpair generate -f CONFIG"
	if below := Dirs(dir); len(below) > 0 {
		hint = "clusterpair generate"
		for _, dir := range below {
			hint += " -f " + report.Typed(dir)
		}
	}
	return report.WithHint(fmt.Errorf("%s holds no function config of kind %s or %s", dir, generator.GeneratorKind, generator.FleetKind), "%s", hint)
}

// Mentions tells whether a file may hold a config that renders pairs.
func Mentions(data []byte) bool {
	return bytes.Contains(data, []byte(anyVersion)) &&
		(bytes.Contains(data, []byte(generator.GeneratorKind)) || bytes.Contains(data, []byte(generator.FleetKind)))
}

// Dirs are directories below one in which there are configs, the first few: enough
// for a hint.
func Dirs(dir string) []string {
	var dirs []string
	for _, path := range Below(dir, 5) {
		if info, err := os.Stat(path); err == nil && !info.IsDir() {
			if below := filepath.Dir(path); below != filepath.Clean(dir) { // in which it was not found
				path = below
			}
		}
		dirs = append(dirs, path)
	}
	return slices.Compact(dirs)
}

// Below are the files with configs below a directory, the first so many of them, all
// if that is negative. For a config within a kustomization it is the directory, as
// [Find] takes it.
func Below(dir string, most int) []string {
	var found []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // what cannot be read has none
		switch {
		case len(found) == most:
			return fs.SkipAll
		case err != nil:
		case d.IsDir() && (d.Name() == ".git" || worktree.IsScratch(path)):
			return fs.SkipDir
		case d.Type().IsRegular() && gitfiles.IsManifest(d.Name()):
			data, err := os.ReadFile(path)
			if err == nil && Mentions(data) {
				found = append(found, PlaceOf(path))
			}
		}
		return nil
	})
	return found
}

// PlaceOf is the path by which [Find] finds the configs of a file: that of its directory
// if it is a kustomization.
func PlaceOf(file string) string {
	if slices.Contains(kustomizationFiles, filepath.Base(file)) {
		return filepath.Dir(file)
	}
	return file
}
