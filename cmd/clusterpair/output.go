package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
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
	name   string // of the config
	inline *sopsfile.Policy
	rules  *sopsfile.Rules
}

// newSealer reads the recipients of a config. Without inline ones it needs the
// creation rules of a .sops.yaml at or above the output directory.
func newSealer(t *tree, safe *sopsfile.Safe, c *generator.Config) (*sealer, error) {
	s := &sealer{tree: t, safe: safe, output: c.Spec.Output, name: c.Metadata.Name}
	if _, err := t.inside(s.output); err != nil {
		return nil, report.Finding{Rule: "config", Severity: report.Error, Position: c.Position, Path: "spec.output", Message: err.Error()}
	}
	var err error
	if s.inline, err = inlinePolicy(c); err != nil || s.inline != nil {
		return s, err
	}
	s.rules, err = findRules(t.abs(s.output))
	return s, err
}

// inlinePolicy is that of the recipients which a config names itself, nil if it
// names none.
func inlinePolicy(c *generator.Config) (*sopsfile.Policy, error) {
	if c.Spec.Encryption.Kind == 0 {
		return nil, nil
	}
	var p *sopsfile.Policy
	var r sopsfile.Recipients
	err := c.Spec.Encryption.Decode(&r)
	if err == nil {
		p, err = r.Policy()
	}
	if err != nil {
		return nil, report.Finding{Rule: "config", Severity: report.Error,
			Position: report.Position{File: c.Position.File, Line: c.Spec.Encryption.Line}, Path: "spec.encryption", Message: err.Error()}
	}
	p.Source = "config " + c.Metadata.Name
	return p, nil
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
	if !isRendered(data) && !s.rendered(data) {
		return nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: s.tree.show(path)},
			Message: "the file exists and is no encrypted ClusterPair, so that it is not overwritten",
			Hint:    "move it away, or set spec.output to another directory"}
	}
	return data, nil
}

// rendered tells a pair of the config whose sops section is gone: what it holds
// can be rendered again, and nothing but that can be done with it.
func (s *sealer) rendered(data []byte) bool {
	return s.name != "" && hasLine(data, "kind: "+generator.ClusterPairKind) && bytes.Contains(data, []byte(" "+generator.AnnotationGeneratedBy+": "+s.name+"\n"))
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
func (s *sealer) Encrypt(ctx context.Context, namespace, name string, plain *yaml.Node, previous []byte, sealed bool) ([]byte, []report.Finding, error) {
	path := pairFile(s.output, namespace, name)
	policy, err := s.policy(path)
	if err != nil {
		return nil, nil, err
	}
	if !hasLine(previous, "sops:") {
		previous = nil
	}
	document, findings, err := seal(ctx, s.safe, plain, previous, policy, sealed, s.tree.show(path))
	var f report.Finding
	if errors.As(err, &f) && previous != nil && (f.Rule == "sops-malformed" || f.Rule == "yaml") {
		f.Hint = "restore the file from Git history, or render it anew: rm " + typed(s.tree.show(path)) + ", then the same command"
		err = f
	}
	return document, findings, err
}

// seal encrypts one ClusterPair; shown names its file in errors.
func seal(ctx context.Context, safe *sopsfile.Safe, plain *yaml.Node, previous []byte, policy *sopsfile.Policy, sealed bool, shown string) ([]byte, []report.Finding, error) {
	complete := pairPolicy(policy)
	document, change, err := safe.Encrypt(ctx, []*yaml.Node{plain}, previous, complete, sopsfile.EncryptOptions{Sealed: sealed, File: shown})
	if err == nil && change.Kind == sopsfile.Unchanged && policy.Indent == 0 {
		document, err = restyle(document, shown)
	}
	if err != nil {
		return nil, nil, sopsError(err, shown)
	}
	var findings []report.Finding
	if change.NoKey != nil {
		findings = []report.Finding{{Rule: "no-key", Severity: report.Info, Position: report.Position{File: shown},
			Message: "without a key it cannot be told whether the credential has changed, as a digest in clear of one that could be guessed would allow the guess: the pair is encrypted anew",
			Hint:    change.NoKey.Hint()}}
	}
	if complete.Selector.EncryptedRegex == pairSelector && (change.Kind == sopsfile.Created || change.Kind == sopsfile.Rekeyed) {
		return document, findings, nil // all of it is new, and sealed where it should be
	}
	return document, findings, checkSealed(document, policy, shown)
}

// restyle writes an encrypted pair as kustomize prints it: sops itself, after
// sops rotate or sops updatekeys, leaves another indentation. The values keep
// their bytes and, as the MAC is taken over them in turn, their order; a
// document in which they would not is left as it is.
func restyle(document []byte, shown string) ([]byte, error) {
	docs, err := manifest.Values(document, shown)
	if err != nil {
		return nil, err
	}
	styled, err := sopsfile.Marshal(docs, 0)
	if err != nil || bytes.Equal(styled, document) {
		return document, err
	}
	before, after := child(docs[0], "spec"), (*yaml.Node)(nil)
	if again, err := manifest.Values(styled, shown); err == nil && len(again) == len(docs) {
		after = child(again[0], "spec")
	}
	if len(docs) != 1 || !slices.Equal(leaves(before), leaves(after)) {
		return document, nil
	}
	return styled, nil
}

// leaves are the values of a tree in the order of the document.
func leaves(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	var values []string
	for i, c := range n.Content {
		if n.Kind == yaml.SequenceNode || i%2 == 1 {
			values = append(values, leaves(c)...)
		}
	}
	return values
}

// checkSealed refuses a document whose creation rule leaves a secret in clear,
// or encrypts what has to be read: rules for Secrets do both to a ClusterPair.
func checkSealed(document []byte, policy *sopsfile.Policy, shown string) error {
	docs, err := manifest.Values(document, shown)
	if err != nil {
		return err
	}
	f := report.Finding{Severity: report.Error, Position: report.Position{File: cmp.Or(policy.Source, shown)}}
	for _, doc := range docs {
		selector := pairSelector
		if scalar(doc, "kind") == "Secret" {
			selector = secretSelector
		}
		f.Hint = "leave the selector out of the creation rule for " + shown + ", or give it a rule of its own with  encrypted_regex: " + selector
		secret := secretParts(doc)
		if clear := findLeaf(secret, false, ""); clear != "" {
			f.Rule, f.Message = "leaf-not-encrypted", fmt.Sprintf("the creation rule leaves %s of %s in clear", clear, shown)
			return f
		}
		for _, key := range []string{"apiVersion", "kind", "metadata"} {
			if sealed := findLeaf(map[string]*yaml.Node{key: child(doc, key)}, true, ""); sealed != "" {
				f.Rule, f.Message = "metadata-encrypted", fmt.Sprintf("the creation rule encrypts %s of %s, which nobody could review or find again", sealed, shown)
				return f
			}
		}
	}
	return nil
}

// secretParts are the parts of a document that hold its credentials, by path.
func secretParts(doc *yaml.Node) map[string]*yaml.Node {
	switch scalar(doc, "kind") {
	case "Secret":
		return map[string]*yaml.Node{"data": child(doc, "data"), "stringData": child(doc, "stringData")}
	default:
		spec := child(doc, "spec")
		if scalar(doc, "kind") != generator.ClusterPairKind && child(spec, "config") == nil {
			return nil
		}
		return map[string]*yaml.Node{"spec.config": child(spec, "config"), "spec.options.token": child(child(spec, "options"), "token")}
	}
}

// findLeaf is the path of the first value that is encrypted, or that is not.
// Empty values and nulls are never encrypted.
func findLeaf(parts map[string]*yaml.Node, encrypted bool, below string) string {
	for _, path := range slices.Sorted(maps.Keys(parts)) {
		n := parts[path]
		if n == nil {
			continue
		}
		if n.Kind == yaml.ScalarNode {
			if n.Value != "" && n.Tag != "!!null" && strings.HasPrefix(n.Value, "ENC[") == encrypted {
				return below + path
			}
			continue
		}
		children := make(map[string]*yaml.Node, len(n.Content))
		for i, c := range n.Content {
			switch {
			case n.Kind == yaml.SequenceNode:
				children[fmt.Sprintf("%03d", i)] = c
			case i%2 == 1:
				children[n.Content[i-1].Value] = c
			}
		}
		if found := findLeaf(children, encrypted, below+path+"."); found != "" {
			return found
		}
	}
	return ""
}

// pairSelector is what is encrypted of a ClusterPair: the credentials, and
// nothing that a reviewer has to read.
const pairSelector = "^(config|token)$"

// secretSelector is what is encrypted of a Secret.
const secretSelector = "^(data|stringData)$"

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

func (plainWriter) Encrypt(_ context.Context, _, _ string, plain *yaml.Node, _ []byte, _ bool) ([]byte, []report.Finding, error) {
	document, err := sopsfile.Marshal([]*yaml.Node{plain}, 0)
	return document, nil, err
}

// change is what a run does to one file.
type change struct {
	verb   string // created, changed, removed
	path   string // relative to the output directory
	number int    // of the file in the staging directory
}

// The verbs of a change.
const (
	created = "created"
	changed = "changed"
	removed = "removed"
)

// staging writes the files of a run all or none: it collects them in a
// directory beside their places and moves them there at the end.
type staging struct {
	tree   *tree
	output string // relative to the kustomization
	dry    bool   // only tell what would change

	mu        sync.Mutex
	changes   []change
	unchanged int
	kept      map[string]bool // the paths that this run renders

	// out is the output directory and stage the staging directory in it; both
	// are opened with the first change. made and madeAbove are the directories
	// made on the way, below and above out.
	out, stage      *os.Root
	name            string
	made, madeAbove []string
	present         map[string]bool
	undo            []func() error // what puts back each change that is made
}

// stagingPrefix names the directories of runs under way.
const stagingPrefix = ".clusterpair-"

// add takes in the document of one pair or Secret, for a path relative to the
// output directory. It may be called from several goroutines.
func (w *staging) add(path string, previous, document []byte) error {
	stage, number, err := w.note(path, previous, document)
	if stage == nil || err != nil {
		return err
	}
	err = stage.WriteFile(stagedName(number), document, 0o644)
	if err == nil && previous != nil {
		err = w.keepMode(path, number)
	}
	if err != nil {
		return failed(fmt.Errorf("write %s: %w", w.show(path), cause(err)))
	}
	return nil
}

// keepMode gives a staged file the mode of the one that it is to replace.
func (w *staging) keepMode(path string, number int) error {
	info, err := w.out.Stat(path)
	if err != nil {
		return err
	}
	return w.stage.Chmod(stagedName(number), info.Mode().Perm())
}

// note notes what becomes of a file, and says where to stage it if it changes.
func (w *staging) note(path string, previous, document []byte) (stage *os.Root, number int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.kept == nil {
		w.kept = make(map[string]bool)
	}
	w.kept[path] = true
	if bytes.Equal(document, previous) {
		w.unchanged++
		return nil, 0, nil
	}
	c := change{verb: created, path: path, number: len(w.changes)}
	if previous != nil {
		c.verb = changed
		if err := w.checkLink(path); err != nil {
			return nil, 0, err
		}
	}
	w.changes = append(w.changes, c)
	if w.dry {
		return nil, 0, nil
	}
	if err := w.begin(); err != nil {
		return nil, 0, failed(err)
	}
	return w.stage, c.number, nil
}

// checkLink refuses to change a symbolic link: the new file would take its
// place, and what it points to would stay as it was.
func (w *staging) checkLink(path string) error {
	rel, err := w.tree.inside(filepath.Join(w.output, path))
	if err != nil {
		return err
	}
	info, err := w.tree.root.Lstat(rel)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	return report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: w.show(path)},
		Message: "the file is to change and is a symbolic link: the new file would take its place, and what it points to would stay as it is",
		Hint:    "rm " + w.show(path) + ", or make spec.output the directory that it points into"}
}

// begin makes the output directory and the staging directory in it. The lock
// is held.
func (w *staging) begin() error {
	if w.stage != nil {
		return nil
	}
	rel, err := w.tree.inside(w.output)
	if err != nil {
		return err
	}
	if err := w.mkdir(w.tree.root, rel, &w.madeAbove); err != nil {
		return withHint(fmt.Errorf("make %s: %w", w.tree.show(w.output), cause(err)), "ls -ld %s", typed(filepath.Dir(w.tree.show(w.output))))
	}
	name := stagingPrefix + rand.Text()[:10]
	w.out, err = w.tree.root.OpenRoot(rel)
	if err == nil {
		err = w.out.Mkdir(name, 0o700)
	}
	if err == nil {
		w.name = name
		w.stage, err = w.out.OpenRoot(name)
	}
	if err != nil {
		return withHint(fmt.Errorf("write to %s: %w", w.tree.show(w.output), cause(err)), "ls -ld %s", w.tree.show(w.output))
	}
	return nil
}

// mkdir makes a directory and those above it, and notes what it made.
func (w *staging) mkdir(root *os.Root, dir string, made *[]string) error {
	if info, err := root.Stat(dir); err == nil {
		if !info.IsDir() {
			return errors.New("a file stands in the way of the directory")
		}
		return nil
	}
	if parent := filepath.Dir(dir); parent != "." {
		if err := w.mkdir(root, parent, made); err != nil {
			return err
		}
	}
	err := root.Mkdir(dir, 0o755)
	if err == nil {
		*made = append(*made, dir)
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return err
}

// stagedName is the name of the numbered file in the staging directory.
func stagedName(number int) string { return fmt.Sprintf("%d.yaml", number) }

// prune adds the removal of what earlier runs of the same config rendered and
// this run did not, and tells each. kept are the files of all configs of the
// run, as messages show them. Only NAMESPACE/NAME.yaml below the output
// directory is looked at.
func (w *staging) prune(configName string, kept map[string]bool, each func(path string, data []byte)) error {
	out, err := w.tree.inside(w.output)
	if err != nil || configName == "" {
		return err
	}
	mark := []byte(" " + generator.AnnotationGeneratedBy + ": " + configName + "\n")
	files, err := fs.Glob(w.tree.root.FS(), filepath.ToSlash(filepath.Join(globEscape(out), "*", "*.yaml")))
	if err != nil {
		return failed(fmt.Errorf("read %s: %w", w.tree.show(w.output), cause(err)))
	}
	for _, file := range files {
		path, err := filepath.Rel(out, filepath.FromSlash(file))
		if err != nil || strings.HasPrefix(path, stagingPrefix) || kept[w.show(path)] {
			continue
		}
		data, err := w.tree.read(filepath.FromSlash(file))
		if err != nil {
			return failed(fmt.Errorf("read %s: %w", w.show(path), cause(err)))
		}
		if isRendered(data) && bytes.Contains(data, mark) {
			w.changes = append(w.changes, change{verb: removed, path: path, number: len(w.changes)})
			each(path, data)
		}
	}
	return nil
}

// globEscape makes a pattern that matches a path itself.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// commit moves the staged files to their places and removes what was pruned.
// If one cannot be moved it puts back what it had moved, so that the files are
// those of this run or those of the run before.
func (w *staging) commit() error {
	if w.dry || len(w.changes) == 0 {
		return nil
	}
	if err := w.begin(); err != nil {
		return failed(err)
	}
	for _, c := range w.sorted() {
		back, err := w.replace(c)
		if err != nil {
			err = fmt.Errorf("write %s: %w", w.show(c.path), cause(err))
			if undo := w.rollback(); undo != nil {
				return failed(fmt.Errorf("%w; not all files could be put back: %w: see git status", err, undo))
			}
			return failed(fmt.Errorf("%w; all files are as they were", err))
		}
		w.undo = append(w.undo, back)
	}
	return nil
}

// rollback puts back what commit has moved.
func (w *staging) rollback() error {
	var errs []error
	for _, back := range slices.Backward(w.undo) {
		errs = append(errs, back())
	}
	w.undo = nil
	return errors.Join(errs...)
}

// show is how messages name a path relative to the output directory.
func (w *staging) show(path string) string { return w.tree.show(filepath.Join(w.output, path)) }

// replace does one change and returns what undoes it. A hard link keeps the
// file of before until the run is done; where there are no links a file is
// replaced all the same, and cannot be put back.
func (w *staging) replace(c change) (undo func() error, err error) {
	staged := filepath.Join(w.name, stagedName(c.number))
	before := filepath.Join(w.name, fmt.Sprintf("%d.before", c.number))
	switch c.verb {
	case created:
		if dir := filepath.Dir(c.path); !w.present[dir] {
			if err := w.mkdir(w.out, dir, &w.made); err != nil {
				return nil, err
			}
			if w.present == nil {
				w.present = make(map[string]bool)
			}
			w.present[dir] = true
		}
		if err := w.out.Link(staged, c.path); errors.Is(err, fs.ErrExist) {
			return nil, errors.New("somebody else has made the file meanwhile")
		} else if err != nil { // no links here
			if _, err := w.out.Lstat(c.path); err == nil {
				return nil, errors.New("somebody else has made the file meanwhile")
			}
			if err := w.out.Rename(staged, c.path); err != nil {
				return nil, err
			}
		}
		return func() error { return w.out.Remove(c.path) }, nil
	case changed:
		undo = func() error { return nil }
		if w.out.Link(c.path, before) == nil {
			undo = func() error { return w.out.Rename(before, c.path) }
		}
		return undo, w.out.Rename(staged, c.path)
	default:
		return func() error { return w.out.Rename(before, c.path) }, w.out.Rename(c.path, before)
	}
}

// abort ends a run: it removes what is staged, and the directories that the run
// made, unless there are files in them.
func (w *staging) abort() {
	if w.stage != nil {
		w.stage.Close()
	}
	if w.out != nil {
		if w.name != "" {
			w.out.RemoveAll(w.name)
		}
		for _, dir := range slices.Backward(w.made) {
			w.out.Remove(dir) // fails where there are files
		}
		w.out.Close()
	}
	for _, dir := range slices.Backward(w.madeAbove) {
		w.tree.root.Remove(dir)
	}
	w.out, w.stage, w.name, w.made, w.madeAbove = nil, nil, "", nil, nil
}

// sweep removes what interrupted runs have left. The run holds the lock, so that
// no other one is under way.
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
