package kustomize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// guard is the file system that kustomize reads through. Every file passes
// [guard.admit] before kustomize sees it.
type guard struct {
	filesys.FileSystem
	process   *process
	self      string
	decrypter *decrypter // nil leaves everything encrypted

	mu      sync.Mutex
	listed  map[string]map[string]bool // kind/name of the function configs of clusterpair, to where they stand
	refused error
}

// ReadFile implements filesys.FileSystem.
func (g *guard) ReadFile(path string) ([]byte, error) {
	data, err := g.read(path)
	if err == nil {
		err = g.plugins(data, path)
	}
	return data, err
}

func (g *guard) read(path string) ([]byte, error) {
	data, err := g.FileSystem.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return g.admit(data, path, false)
}

// Open implements filesys.FileSystem. kustomize reads by ReadFile alone; what
// would come past the guard is refused.
func (g *guard) Open(path string) (filesys.File, error) {
	return nil, fmt.Errorf("open %s: not allowed during clusterpair build", path)
}

func (g *guard) refusal() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// guardedTransport passes what kustomize fetches by HTTP through the guard.
type guardedTransport struct {
	guard *guard
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, worktree.MaxFile))
	response.Body.Close()
	if err == nil {
		data, err = t.guard.admit(data, r.URL.Redacted(), true)
	}
	if err != nil {
		return nil, err
	}
	response.Body = io.NopCloser(bytes.NewReader(data))
	response.ContentLength = int64(len(data))
	return response, nil
}

// functionKeys are the annotations and the field by which kustomize knows a
// function (kyaml/fn/runtime/runtimeutil/functiontypes.go, GetFunctionSpec),
// and the spellings of them in a JSON pointer.
var functionKeys = []string{
	"config.kubernetes.io/function", "config.k8s.io/function", "config.kubernetes.io/container", "configFn",
	"config.kubernetes.io~1function", "config.k8s.io~1function", "config.kubernetes.io~1container",
}

// admit gives kustomize the content of a file in which every function is
// clusterpair itself. It refuses content that names another function, or that
// could make one: a patch or a replacement that mentions the annotation.
func (g *guard) admit(data []byte, path string, fetched bool) ([]byte, error) {
	path = g.shown(path)
	data, err := g.decrypt(data, path, fetched)
	if err == nil {
		data, err = g.rewrite(data, path)
	}
	if err != nil {
		return nil, g.refuse(err)
	}
	return data, nil
}

// shown is a path as the user would name it.
func (g *guard) shown(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}

// refuse keeps the first error, which kustomize takes for that of a file that it
// might do without.
func (g *guard) refuse(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.refused == nil {
		g.refused = err
	}
	return err
}

// decrypt gives the content of a file in clear.
func (g *guard) decrypt(data []byte, path string, fetched bool) ([]byte, error) {
	if g.decrypter == nil || !bytes.Contains(data, []byte("sops")) {
		return data, nil
	}
	var objects []object
	var decrypted bool
	var err error
	g.process.outside(func() { objects, decrypted, err = g.decrypter.open(data, path) })
	if decrypted && fetched {
		return nil, report.WithHint(fmt.Errorf("%s: encrypted, and fetched from elsewhere: build --decrypt opens only what the repository holds", path), "commit the file, and list that")
	}
	if !decrypted {
		return data, nil // what is broken is for kustomize to tell
	}
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, o := range objects {
		out = append(out, o.text...)
	}
	return out, nil
}

// rewrite works on YAML, in the content of a file or in a string within.
func (g *guard) rewrite(data []byte, path string) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var docs []*yaml.Node
	changed := false
	for {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			// The text may be the content of a ConfigMap, which is no YAML to
			// kustomize. If kustomize takes it for a plugin all the same,
			// [guard.plugins] judges it.
			return data, nil
		}
		if len(doc.Content) == 0 {
			continue
		}
		again, err := g.document(doc.Content[0], path)
		if err != nil {
			return nil, err
		}
		changed = changed || again
		docs = append(docs, &doc)
	}
	if !changed {
		return data, nil
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for _, doc := range docs {
		if err := encoder.Encode(doc); err != nil {
			return nil, fmt.Errorf("%s: the document cannot be written as YAML", path)
		}
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("%s: the document cannot be written as YAML", path)
	}
	return out.Bytes(), nil
}

// document points the function annotation of a config of clusterpair at this
// binary, and goes through everything else. It tells whether it changed doc.
func (g *guard) document(doc *yaml.Node, path string) (bool, error) {
	var own *yaml.Node
	kind, name := scalar(doc, "kind"), scalar(child(doc, "metadata"), "name")
	if scalar(doc, "apiVersion") == generator.APIVersion {
		if kind == generator.FleetKind {
			return false, generator.NoFunction(report.Typed(path), report.Position{File: path, Line: doc.Line})
		}
		if err := g.renders(kind, path); err != nil {
			return false, err
		}
		annotations := child(child(doc, "metadata"), "annotations")
		for _, key := range functionKeys[:2] {
			if own == nil {
				own = child(annotations, key)
			}
		}
		if own == nil {
			return false, report.WithHint(fmt.Errorf("%s: %s/%s has no annotation %s: kustomize does not know that it is a function", path, kind, name, functionKeys[0]),
				"add to metadata.annotations:  %s: |\n          exec: {path: clusterpair}", functionKeys[0])
		}
		var spec struct {
			Exec struct{ Path string }
		}
		if yaml.Unmarshal([]byte(own.Value), &spec) != nil || filepath.Base(spec.Exec.Path) != "clusterpair" {
			return false, g.other(path, own)
		}
		target, err := yaml.Marshal(map[string]any{"exec": map[string]any{"path": g.self}})
		if err != nil {
			return false, err
		}
		*own = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: string(target), Line: own.Line}
		g.mu.Lock()
		if g.listed[kind+"/"+name] == nil {
			g.listed[kind+"/"+name] = make(map[string]bool)
		}
		g.listed[kind+"/"+name][fmt.Sprintf("%s:%d", path, doc.Line)] = true
		g.mu.Unlock()
	}
	changed, err := g.walk(doc, own, path)
	return changed || own != nil, err
}

// renders refuses what build --decrypt does not run: kustomize would see what it
// keeps from it, and who has no key could render the credential for another server.
func (g *guard) renders(kind, path string) error {
	if g.decrypter == nil || kind != generator.DecryptorKind && kind != generator.GeneratorKind {
		return nil
	}
	return report.WithHint(fmt.Errorf("%s: build --decrypt runs no %s", path, kind), "list committed pairs under resources, and remove it")
}

// walk goes through keys and values. A string may be YAML itself, as an inline
// config or patch is: it is treated like a file.
func (g *guard) walk(n, own *yaml.Node, path string) (bool, error) {
	changed := false
	for i, c := range n.Content {
		if c == own {
			continue
		}
		if !slices.Contains(plainTags, c.Tag) {
			return false, report.WithHint(fmt.Errorf("%s:%d: the YAML tag %s could hide a function from clusterpair build", path, c.Line, c.Tag), "write the value without a tag")
		}
		isKeyOfOwn := own != nil && n.Kind == yaml.MappingNode && i%2 == 0 && n.Content[i+1] == own
		switch {
		case c.Kind == yaml.ScalarNode && strings.ContainsAny(c.Value, "\n{"):
			inner, err := g.rewrite([]byte(c.Value), path)
			if err != nil {
				return false, err
			}
			if string(inner) != c.Value {
				c.Value, changed = string(inner), true
			} else if mentionsFunction(c.Value) {
				return false, g.other(path, c)
			}
		case c.Kind == yaml.ScalarNode && !isKeyOfOwn && mentionsFunction(c.Value):
			return false, g.other(path, c)
		}
		again, err := g.walk(c, own, path)
		if err != nil {
			return false, err
		}
		changed = changed || again
	}
	return changed, nil
}

// plainTags are the tags of values that stand for themselves; an alias has none.
var plainTags = []string{"", "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!!timestamp", "!!merge"}

func mentionsFunction(s string) bool {
	return slices.ContainsFunc(functionKeys, func(key string) bool { return strings.Contains(s, key) })
}

func (g *guard) other(path string, at *yaml.Node) error {
	return report.WithHint(fmt.Errorf("%s:%d: a function other than clusterpair: clusterpair build runs no other program", path, at.Line),
		"if you trust all that the repository names: kustomize build --enable-alpha-plugins --enable-exec DIR")
}

// child is the value of a key in a mapping, nil if there is none. It follows an alias, as
// kustomize does, where manifest.Field has no need to: what package manifest reads has
// its aliases written out, and this tree is written back as it was.
func child(n *yaml.Node, key string) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

func scalar(n *yaml.Node, key string) string {
	if c := child(n, key); c != nil {
		return c.Value
	}
	return ""
}
