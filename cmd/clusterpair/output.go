package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// pairFile is where a pair is rendered, relative to the kustomization.
func pairFile(output, namespace, name string) string {
	return filepath.Join(output, namespace, name+".yaml")
}

// sealer is the [generator.Encrypter] of a config: it finds earlier renderings
// below the output directory, and who may read a pair in the config or in the
// creation rules of .sops.yaml.
type sealer struct {
	tree   *tree
	safe   *sopsfile.Safe
	output string
	inline *sopsfile.Policy
	rules  *sopsfile.Rules
}

// newSealer reads the recipients of a config. Without inline ones it needs the
// creation rules of a .sops.yaml at or above the output directory.
func newSealer(t *tree, safe *sopsfile.Safe, c *generator.Config) (*sealer, error) {
	s := &sealer{tree: t, safe: safe, output: c.Spec.Output}
	if _, err := t.inside(s.output); err != nil {
		return nil, report.Finding{Rule: "config", Severity: report.Error, Position: c.Position, Path: "spec.output", Message: err.Error()}
	}
	if c.Spec.Encryption.Kind != 0 {
		var r sopsfile.Recipients
		err := c.Spec.Encryption.Decode(&r)
		if err == nil {
			s.inline, err = r.Policy()
		}
		if err != nil {
			return nil, report.Finding{Rule: "config", Severity: report.Error,
				Position: report.Position{File: c.Position.File, Line: c.Spec.Encryption.Line}, Path: "spec.encryption", Message: err.Error()}
		}
		return s, nil
	}
	var err error
	s.rules, err = findRules(t.abs(s.output))
	return s, err
}

// findRules reads the creation rules that sops would use for a file in dir; it
// is nil if there are none.
func findRules(dir string) (*sopsfile.Rules, error) {
	path, _ := sopsfile.FindRules(dir, os.Getenv("SOPS_CONFIG"))
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, failed(fmt.Errorf("read %s: %w", path, cause(err)))
	}
	return sopsfile.ParseRules(data, path)
}

// policy is how the pair's file is to be encrypted.
func (s *sealer) policy(path string) (*sopsfile.Policy, error) {
	if s.inline != nil {
		return s.inline, nil
	}
	return rulePolicy(s.rules, s.tree.abs(path), s.tree.show(path))
}

// rulePolicy is what the creation rules say about a file.
func rulePolicy(rules *sopsfile.Rules, path, shown string) (*sopsfile.Policy, error) {
	f := report.Finding{Rule: "no-creation-rule", Severity: report.Error, Position: report.Position{File: shown}}
	if rules == nil {
		f.Message = "no recipients: there is no .sops.yaml at or above the file, and none are given"
		f.Hint = "write a .sops.yaml with a creation rule for the file, or name recipients: spec.encryption.age in a config, --age on the command line"
		return nil, f
	}
	p, err := rules.Policy(path)
	var none *sopsfile.NoRuleError
	if errors.As(err, &none) {
		f.Message, f.Hint = none.Error(), none.Hint()
		return nil, f
	}
	return p, err
}

// Previous implements [generator.Encrypter].
func (s *sealer) Previous(namespace, name string) ([]byte, error) {
	path := pairFile(s.output, namespace, name)
	rel, err := s.tree.inside(path)
	if err != nil {
		return nil, err
	}
	data, err := s.tree.read(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, failed(withHint(fmt.Errorf("read %s: %w", s.tree.show(path), cause(err)), "move it out of the way: clusterpair renders into this file"))
	}
	if !isRendered(data) {
		return nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: s.tree.show(path)},
			Message: "the file exists and is no encrypted ClusterPair, so that it is not overwritten",
			Hint:    "move it away, or set spec.output to another directory"}
	}
	return data, nil
}

// isRendered tells an encrypted ClusterPair from any other file by the lines
// that every style of writing has in clear.
func isRendered(data []byte) bool {
	return hasLine(data, "kind: "+generator.ClusterPairKind) && hasLine(data, "sops:")
}

// hasLine finds a top-level line.
func hasLine(data []byte, line string) bool {
	i := bytes.Index(data, []byte("\n"+line))
	for i >= 0 {
		end := i + 1 + len(line)
		if end == len(data) || data[end] == '\n' || data[end] == '\r' {
			return true
		}
		next := bytes.Index(data[end:], []byte("\n"+line))
		if next < 0 {
			break
		}
		i = end + next
	}
	return bytes.HasPrefix(data, []byte(line+"\n"))
}

// Encrypt implements [generator.Encrypter].
func (s *sealer) Encrypt(ctx context.Context, namespace, name string, plain *yaml.Node, previous []byte, sealed bool) ([]byte, error) {
	path := pairFile(s.output, namespace, name)
	policy, err := s.policy(path)
	if err != nil {
		return nil, err
	}
	return seal(ctx, s.safe, plain, previous, policy, sealed, s.tree.show(path))
}

// seal encrypts one ClusterPair; shown names its file in errors.
func seal(ctx context.Context, safe *sopsfile.Safe, plain *yaml.Node, previous []byte, policy *sopsfile.Policy, sealed bool, shown string) ([]byte, error) {
	document, _, err := safe.Encrypt(ctx, []*yaml.Node{plain}, previous, pairPolicy(policy), sopsfile.EncryptOptions{Sealed: sealed, File: shown})
	if err != nil {
		return nil, sopsError(err, shown)
	}
	return document, nil
}

// pairSelector is what is encrypted of a ClusterPair: the credentials, and
// nothing that a reviewer has to read.
const pairSelector = "^(config|token)$"

// pairPolicy completes a policy for a ClusterPair.
func pairPolicy(p *sopsfile.Policy) *sopsfile.Policy { return completePolicy(p, pairSelector) }

// completePolicy sets what a creation rule leaves open: what is encrypted, and
// that the MAC covers only that, so that it survives kustomize.
func completePolicy(p *sopsfile.Policy, selector string) *sopsfile.Policy {
	c := *p
	if c.Selector == (sopsfile.Selector{}) {
		c.Selector.EncryptedRegex = selector
	}
	if c.MACOnlyEncrypted == nil {
		yes := true
		c.MACOnlyEncrypted = &yes
	}
	return &c
}

// plainWriter is the [generator.Encrypter] of --plaintext.
type plainWriter struct{}

func (plainWriter) Previous(string, string) ([]byte, error) { return nil, nil }

func (plainWriter) Encrypt(_ context.Context, _, _ string, plain *yaml.Node, _ []byte, _ bool) ([]byte, error) {
	return sopsfile.Marshal([]*yaml.Node{plain}, 0)
}

// change is what a run does to one file.
type change struct {
	verb string // created, changed, removed
	path string // relative to the kustomization
}

// staging writes the files of a run all or none: it collects them in a
// directory beside their places and moves them there at the end.
type staging struct {
	tree   *tree
	output string // relative to the kustomization
	dry    bool   // only tell what would change

	mu        sync.Mutex
	dir       string // relative to the root; made with the first file
	stage     *os.Root
	made      []string
	changes   []change
	staged    []string // the file's place, in order of its number in dir
	unchanged int
	kept      map[string]bool
}

// stagingPrefix names the directories of runs under way.
const stagingPrefix = ".clusterpair-"

// add takes in the document of one pair. It may be called from several
// goroutines.
func (w *staging) add(r generator.Result) error {
	path := pairFile(w.output, r.Namespace, r.Name)
	w.mu.Lock()
	if w.kept == nil {
		w.kept = make(map[string]bool)
	}
	w.kept[path] = true
	if bytes.Equal(r.Document, r.Previous) {
		w.unchanged++
		w.mu.Unlock()
		return nil
	}
	verb := "created"
	if r.Previous != nil {
		verb = "changed"
	}
	w.changes = append(w.changes, change{verb, path})
	if w.dry {
		w.mu.Unlock()
		return nil
	}
	if err := w.begin(); err != nil {
		w.mu.Unlock()
		return failed(err)
	}
	number := len(w.staged)
	w.staged = append(w.staged, path)
	w.mu.Unlock()
	if err := w.stage.WriteFile(stagedName(number), r.Document, 0o644); err != nil {
		return failed(fmt.Errorf("write %s: %w", w.tree.show(path), cause(err)))
	}
	return nil
}

// begin makes the staging directory. The lock is held.
func (w *staging) begin() error {
	if w.dir != "" {
		return nil
	}
	out, err := w.tree.inside(w.output)
	if err != nil {
		return err
	}
	if err := w.mkdir(out); err != nil {
		return fmt.Errorf("make %s: %w", w.tree.show(w.output), cause(err))
	}
	dir := filepath.Join(out, stagingPrefix+rand.Text()[:10])
	if err := w.tree.root.Mkdir(dir, 0o700); err != nil {
		return withHint(fmt.Errorf("write to %s: %w", w.tree.show(w.output), cause(err)), "ls -ld %s", w.tree.show(w.output))
	}
	w.dir = dir
	stage, err := w.tree.root.OpenRoot(dir)
	w.stage = stage
	return err
}

// mkdir makes a directory and those above it, and remembers what it made.
func (w *staging) mkdir(dir string) error {
	if info, err := w.tree.root.Stat(dir); err == nil {
		if !info.IsDir() {
			return errors.New("a file stands in the way of the directory")
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != "." {
		if err := w.mkdir(parent); err != nil {
			return err
		}
	}
	err := w.tree.root.Mkdir(dir, 0o755)
	if err == nil {
		w.made = append(w.made, dir)
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

// stagedName is the name of the numbered file in the staging directory.
func stagedName(number int) string { return fmt.Sprintf("%d.yaml", number) }

// prune adds the removal of what earlier runs of the same config rendered and
// this one did not, and tells each.
func (w *staging) prune(configName string, each func(path string, data []byte)) error {
	out, err := w.tree.inside(w.output)
	if err != nil || configName == "" {
		return err
	}
	mark := []byte(" " + generator.AnnotationGeneratedBy + ": " + configName + "\n")
	return fs.WalkDir(w.tree.root.FS(), filepath.ToSlash(out), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return failed(fmt.Errorf("read %s: %w", w.tree.show(w.tree.relative(path)), cause(err)))
		case d.IsDir() && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".yaml" || w.kept[w.tree.relative(path)]:
			return nil
		}
		data, err := w.tree.root.ReadFile(path)
		if err != nil {
			return failed(fmt.Errorf("read %s: %w", w.tree.show(w.tree.relative(path)), cause(err)))
		}
		if isRendered(data) && bytes.Contains(data, mark) {
			w.changes = append(w.changes, change{"removed", w.tree.relative(path)})
			each(w.tree.relative(path), data)
		}
		return nil
	})
}

// commit moves the staged files to their places and removes what was pruned.
// If one cannot be moved it puts back what it had moved, so that the files are
// those of this run or those of the run before.
func (w *staging) commit() (err error) {
	defer func() {
		if err != nil {
			err = failed(err)
		}
		w.abort()
	}()
	if w.dry {
		return nil
	}
	var undo []func() error
	defer func() {
		if err == nil {
			return
		}
		for _, f := range slices.Backward(undo) {
			err = errors.Join(err, f())
		}
	}()
	root := w.tree.root
	replace := func(number int, path string) error {
		place, err := w.tree.inside(path)
		if err != nil {
			return err
		}
		if err := w.mkdir(filepath.Dir(place)); err != nil {
			return err
		}
		backup := filepath.Join(w.dir, fmt.Sprintf("%d.before", number))
		switch err := root.Link(place, backup); {
		case err == nil:
			undo = append(undo, func() error { return root.Rename(backup, place) })
		case errors.Is(err, fs.ErrNotExist):
			undo = append(undo, func() error { return root.Remove(place) })
		default:
			return err
		}
		if err := root.Rename(filepath.Join(w.dir, stagedName(number)), place); err != nil {
			undo = undo[:len(undo)-1]
			return err
		}
		return nil
	}
	for number, path := range w.staged {
		if err := replace(number, path); err != nil {
			return fmt.Errorf("write %s: %w; all files are as they were", w.tree.show(path), cause(err))
		}
	}
	for i, c := range w.changes {
		if c.verb != "removed" {
			continue
		}
		place, err := w.tree.inside(c.path)
		if err == nil {
			err = w.begin()
		}
		away := filepath.Join(w.dir, fmt.Sprintf("%d.removed", i))
		if err == nil {
			err = root.Rename(place, away)
		}
		if err != nil {
			return fmt.Errorf("remove %s: %w; all files are as they were", w.tree.show(c.path), cause(err))
		}
		undo = append(undo, func() error { return root.Rename(away, place) })
	}
	w.made = nil
	return nil
}

// abort removes what the run staged, and the directories that it made for it.
func (w *staging) abort() {
	if w.stage != nil {
		w.stage.Close()
	}
	if w.dir != "" {
		w.tree.root.RemoveAll(w.dir)
	}
	for _, dir := range slices.Backward(w.made) {
		w.tree.root.Remove(dir) // fails where others have put files meanwhile
	}
	w.dir, w.stage, w.made = "", nil, nil
}

// sweep removes what interrupted runs have left. A run under way would lose
// its staged files and say so; nothing of it would be half-written.
func (w *staging) sweep() {
	if w.dry {
		return
	}
	out, err := w.tree.inside(w.output)
	if err != nil {
		return
	}
	entries, err := fs.ReadDir(w.tree.root.FS(), filepath.ToSlash(out))
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), stagingPrefix) {
			w.tree.root.RemoveAll(filepath.Join(out, e.Name()))
		}
	}
}

// sorted are the changes by path.
func (w *staging) sorted() []change {
	slices.SortFunc(w.changes, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return w.changes
}
