package render

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Secrets is the [generator.SecretSource] of a config: the Secrets that
// kustomize streamed and the files that the config lists, each decrypted with
// the keys that SOPS finds.
type Secrets struct {
	tree   *worktree.Tree
	safe   *sopsfile.Safe
	stream map[string]*yaml.Node
	names  []string // of the stream, then of the files, as messages show them

	instead map[string]*yaml.Node // what files are about to hold, by their names
	sealed  map[string][]byte     // the same, encrypted
	shared  *openedFiles          // of all configs of the run; may be nil
	closed  bool                  // nothing is decrypted
}

// OpenSecrets lists the files of a config. It rewrites destination.file of
// each pair to the name that Files gives for it.
func OpenSecrets(t *worktree.Tree, safe *sopsfile.Safe, c *generator.Config, stream map[string]*yaml.Node) (*Secrets, error) {
	return openSecrets(new(worktree.Listings), t, safe, c, stream)
}

func openSecrets(l *worktree.Listings, t *worktree.Tree, safe *sopsfile.Safe, c *generator.Config, stream map[string]*yaml.Node) (*Secrets, error) {
	s := &Secrets{tree: t, safe: safe, stream: stream}
	missing := func(err error, at report.Position, path, hint string) error {
		return report.Finding{Rule: "secret-missing", Severity: report.Error, Position: at, Path: path, Message: err.Error(), Hint: cmp.Or(report.HintOf(err), hint)}
	}
	see := "paths are relative to the kustomization: see what is there with ls " + t.Shown
	for i, pattern := range c.Spec.Files {
		files, err := l.Expand(t, pattern, filepath.Clean(c.Spec.Output))
		if err != nil {
			return nil, missing(err, c.FilePosition(i), "spec.files", see)
		}
		for _, f := range files {
			s.names = append(s.names, t.Show(f))
		}
	}
	for i := range c.Spec.Pairs {
		p := &c.Spec.Pairs[i]
		file := p.Destination.File
		if file == "" {
			continue
		}
		name := t.Show(file)
		isDir, err := t.IsDir(file)
		switch {
		case err != nil:
			return nil, missing(err, p.Position, "destination.file", see)
		case isDir:
			return nil, missing(fmt.Errorf("%s is a directory, not a file", name), p.Position, "destination.file", "name the kubeconfig in it: ls "+name)
		}
		p.Destination.File = name
		s.names = append(s.names, name)
	}
	slices.Sort(s.names)
	s.names = append(slices.Sorted(maps.Keys(stream)), slices.Compact(s.names)...)
	return s, nil
}

// Files implements [generator.SecretSource].
func (s *Secrets) Files() []string { return s.names }

// replace makes Documents return docs in place of what the files hold, and Index what
// the files are to be. The paths of docs may be spelled otherwise than those of Files;
// the result is which of the Files they are.
func (s *Secrets) replace(docs map[string]*yaml.Node, files []File) []string {
	s.instead, s.sealed = make(map[string]*yaml.Node), make(map[string][]byte)
	names := []string{}
	for _, name := range s.names {
		for path, doc := range docs {
			if worktree.SameFile(name, path) {
				s.instead[name], names = doc, append(names, name)
				break
			}
		}
		for _, f := range files {
			if worktree.SameFile(name, f.Tree.Abs(f.Name)) {
				s.sealed[name] = f.After
			}
		}
	}
	return names
}

// Index implements [generator.SecretSource].
func (s *Secrets) Index(name string) []generator.Sealed {
	if doc, ok := s.stream[name]; ok {
		return generator.Seal(doc, name, sopsfile.IsEncrypted(doc))
	}
	if _, ok := s.instead[name]; ok {
		return index(s.sealed[name], name)
	}
	read := func() []generator.Sealed {
		data, err := s.tree.ReadFile(s.tree.Hide(name))
		if err != nil {
			return nil // whoever opens it says so
		}
		return index(data, name)
	}
	if s.shared != nil {
		if f := s.shared.file(s, name); f != nil && f.uses > 1 {
			f.index.Do(func() { f.sealed = read() })
			return f.sealed
		}
	}
	return read()
}

// index is what can be told of the documents of a file without a key. It is nil for a
// file in clear, too: that is read as it is.
func index(data []byte, name string) (all []generator.Sealed) {
	if !bytes.Contains(data, []byte("sops")) {
		return nil
	}
	docs, err := manifest.Values(data, name)
	if err != nil {
		return nil
	}
	for _, doc := range docs {
		all = append(all, generator.Seal(doc, name, sopsfile.IsEncrypted(doc))...)
	}
	return all
}

// Documents implements [generator.SecretSource].
func (s *Secrets) Documents(ctx context.Context, name string) ([]*yaml.Node, error) {
	if s.closed {
		return s.inClear(name)
	}
	docs, err := s.documents(ctx, name)
	for _, doc := range docs {
		if err == nil && manifest.Text(doc, "kind") == "Secret" {
			err = openInside(ctx, s.safe, doc, name)
		}
	}
	return docs, err
}

// inClear is what a file holds that is not encrypted.
func (s *Secrets) inClear(name string) ([]*yaml.Node, error) {
	data, err := s.tree.ReadFile(s.tree.Hide(name))
	if err != nil {
		return nil, err
	}
	docs, err := manifest.Values(data, name)
	if err == nil && slices.ContainsFunc(docs, sopsfile.IsEncrypted) {
		return nil, report.Finding{Rule: "no-key", Severity: report.Error, Position: report.Position{File: name}, Message: "all of the file is encrypted"}
	}
	return docs, err
}

// openInside decrypts the SOPS files that are values of a Secret, as Flux does.
// https://fluxcd.io/flux/components/kustomize/kustomizations/#decryption
func openInside(ctx context.Context, safe *sopsfile.Safe, secret *yaml.Node, name string) error {
	for _, part := range []string{"data", "stringData"} {
		values := manifest.Field(secret, part)
		if values == nil || values.Kind != yaml.MappingNode {
			continue
		}
		for i := 1; i < len(values.Content); i += 2 {
			text := []byte(values.Content[i].Value)
			if part == "data" {
				decoded, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(text)), ""))
				if err != nil {
					continue // what reads the Secret says so
				}
				text = decoded
			}
			if !bytes.Contains(text, []byte("sops")) || !bytes.Contains(text, []byte("ENC[")) {
				continue
			}
			docs, err := seal.Open(ctx, safe, text, name)
			if err != nil {
				return err
			}
			if len(docs) != 1 {
				continue
			}
			if text, err = yaml.Marshal(docs[0]); err != nil {
				return fmt.Errorf("%s: a file in the Secret cannot be written as YAML", name)
			}
			if values.Content[i].Value = string(text); part == "data" {
				values.Content[i].Value = base64.StdEncoding.EncodeToString(text)
			}
		}
	}
	return nil
}

func (s *Secrets) documents(ctx context.Context, name string) ([]*yaml.Node, error) {
	if doc, ok := s.stream[name]; ok {
		if !sopsfile.IsEncrypted(doc) {
			return []*yaml.Node{doc}, nil
		}
		return decryptStreamed(ctx, s.safe, doc, name)
	}
	if doc, ok := s.instead[name]; ok {
		return []*yaml.Node{doc}, nil
	}
	open := func() (docs []*yaml.Node, size int, err error) {
		data, err := s.tree.ReadFile(s.tree.Hide(name))
		if err == nil {
			docs, err = seal.Open(ctx, s.safe, data, name)
		}
		return docs, len(data), err
	}
	if s.shared != nil {
		if f := s.shared.file(s, name); f != nil && f.uses > 1 {
			return s.shared.open(f, open)
		}
	}
	docs, _, err := open()
	return docs, err
}

// share makes Documents read a file once for all configs that list it. It is called for
// each of them before the first call of Documents.
func (s *Secrets) share(with *openedFiles) {
	s.shared = with
	if with.files == nil {
		with.files, with.named = make(map[sharedFile]*openedFile), make(map[namedFile]*openedFile)
	}
	for _, name := range s.names {
		f := with.file(s, name)
		if f == nil {
			id := sharedFile{s.tree.Abs(s.tree.Hide(name)), name}
			if f = with.files[id]; f == nil {
				f = new(openedFile)
				with.files[id] = f
			}
			with.named[namedFile{s.tree, name}] = f
		}
		f.uses++
	}
}

// file is what a config calls by a name, nil if it lists no such file.
func (o *openedFiles) file(s *Secrets, name string) *openedFile {
	return o.named[namedFile{s.tree, name}]
}

// sharedFile tells a file that several configs list. Findings name it, so that it
// counts as two where two configs name it differently.
type sharedFile struct{ path, name string }

// namedFile is how a config names a file. The configs of a fleet have one tree.
type namedFile struct {
	tree *worktree.Tree
	name string
}

// openedFiles holds what files hold that several configs list, decrypted. files and named
// are complete before the first is opened.
type openedFiles struct {
	files  map[sharedFile]*openedFile
	named  map[namedFile]*openedFile
	listed worktree.Listings

	mu   sync.Mutex
	size int // of the files that are held, in bytes
}

// mostOpened bounds their size, so that memory does not grow with the number of files.
const mostOpened = 8 << 20

type openedFile struct {
	uses int // configs that list it

	mu   sync.Mutex
	held bool
	docs []*yaml.Node
	err  error

	known generator.Known

	index  sync.Once
	sealed []generator.Sealed
}

// known is what the configs before have found in a file, nil if it is not held.
func (s *Secrets) known(name string) *generator.Known {
	if s.shared == nil || s.instead[name] != nil {
		return nil
	}
	f := s.shared.file(s, name)
	if f == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.held {
		return nil
	}
	return &f.known
}

// open gives what f holds, and calls read for it where that is not known.
func (o *openedFiles) open(f *openedFile, read func() (docs []*yaml.Node, size int, err error)) ([]*yaml.Node, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held {
		return f.docs, f.err
	}
	docs, size, err := read()
	if err != nil {
		size = 0 // a file that cannot be opened is not tried again, whatever is held
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size+size <= mostOpened && !errors.Is(err, context.Canceled) {
		o.size += size
		f.held, f.docs, f.err = true, docs, err
	}
	return docs, err
}

// decryptStreamed decrypts a Secret that came through kustomize, which has
// sorted its keys and added annotations of its own. The MAC holds if the file
// was encrypted with mac_only_encrypted and in sorted order.
func decryptStreamed(ctx context.Context, safe *sopsfile.Safe, doc *yaml.Node, name string) ([]*yaml.Node, error) {
	data, err := yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: the document cannot be written as YAML", name)
	}
	docs, err := safe.Decrypt(ctx, data, name)
	if errors.Is(err, sopsfile.ErrMAC) {
		return nil, report.Finding{Rule: "mac-mismatch", Severity: report.Error, Position: report.Position{File: name},
			Message: "the MAC does not verify: kustomize sorts the keys of what it reads, and this Secret was encrypted in another order or with a MAC over its cleartext",
			Hint:    "list the file under spec.files instead of resources, or encrypt it anew"}
	}
	if err != nil {
		return nil, seal.Explain(err, name)
	}
	return manifest.Contents(docs), nil
}
