package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// PairFile is where a pair is rendered, relative to the kustomization.
func PairFile(output, namespace, name string) string {
	return filepath.Join(output, namespace, name+".yaml")
}

// Sealer is the [generator.Encrypter] of a config: it finds earlier renderings
// below the output directory, and who may read a pair in the config or in the
// creation rules of .sops.yaml.
type Sealer struct {
	tree   *worktree.Tree
	safe   *sopsfile.Safe
	output string
	name   string // of the config
	inline *sopsfile.Policy
	rules  *sopsfile.Rules
	// seen, if set, is told the file of each pair whose state it gives.
	seen func(namespace, name string, state generator.State, data []byte)

	mu     sync.Mutex
	prints map[*sopsfile.Policy][]byte
	places map[string]place // by namespace
}

// NewSealer reads the recipients of a config. Without inline ones it needs the
// creation rules of a .sops.yaml at or above the output directory.
func NewSealer(t *worktree.Tree, safe *sopsfile.Safe, c *generator.Config) (*Sealer, error) {
	return new(RuleFiles).NewSealer(t, safe, c)
}

// RuleFiles are the creation rules of a run, each file of them read once. The zero value
// knows none. It is for one goroutine.
type RuleFiles struct{ read map[string]*sopsfile.Rules }

// NewSealer is [NewSealer] with rules that may have been read before.
func (r *RuleFiles) NewSealer(t *worktree.Tree, safe *sopsfile.Safe, c *generator.Config) (*Sealer, error) {
	s := &Sealer{tree: t, safe: safe, output: c.Spec.Output, name: c.Metadata.Name}
	if _, err := t.Inside(s.output); err != nil {
		return nil, report.Finding{Rule: "config", Severity: report.Error, Position: c.Position, Path: "spec.output", Message: err.Error()}
	}
	var err error
	if s.inline, err = inlinePolicy(c); err != nil || s.inline != nil {
		return s, err
	}
	s.rules, err = r.in(t.Abs(s.output))
	return s, err
}

// in is [seal.FindRules].
func (r *RuleFiles) in(dir string) (*sopsfile.Rules, error) {
	path, _ := sopsfile.FindRules(dir, os.Getenv("SOPS_CONFIG"))
	if rules, ok := r.read[path]; ok {
		return rules, nil
	}
	rules, err := seal.FindRules(dir)
	if err == nil {
		if r.read == nil {
			r.read = make(map[string]*sopsfile.Rules)
		}
		r.read[path] = rules
	}
	return rules, err
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

// Policy is how the file of a pair is to be encrypted.
func (s *Sealer) Policy(namespace, name string) (*sopsfile.Policy, error) {
	if s.inline != nil {
		return s.inline, nil
	}
	at, err := s.place(namespace)
	if err != nil {
		return nil, err
	}
	policy, err := seal.RulePolicy(s.rules, at.abs+name+".yaml", "")
	if err != nil { // the same error, and it names the file
		path := PairFile(s.output, namespace, name)
		return seal.RulePolicy(s.rules, s.tree.Abs(path), s.tree.Show(path))
	}
	return policy, nil
}

// place is the directory of the pairs of a namespace, with a separator at its end.
type place struct{ rel, abs string }

// place makes the place of a namespace once: there may be many pairs in it.
func (s *Sealer) place(namespace string) (place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.places[namespace]
	if !known {
		dir := filepath.Join(s.output, namespace)
		rel, err := s.tree.Inside(dir)
		if err != nil {
			return place{}, err
		}
		const separator = string(filepath.Separator)
		at = place{rel + separator, s.tree.Abs(dir) + separator}
		if s.places == nil {
			s.places = make(map[string]place)
		}
		s.places[strings.Clone(namespace)] = at
	}
	return at, nil
}

// Previous implements [generator.Encrypter].
func (s *Sealer) Previous(namespace, name string) ([]byte, error) {
	path := PairFile(s.output, namespace, name)
	rel, err := s.tree.Inside(path)
	if err != nil {
		return nil, err
	}
	data, err := s.tree.Read(rel)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, report.WithHint(fmt.Errorf("read %s: %w", s.tree.Show(path), worktree.Cause(err)), "move it out of the way: clusterpair renders into this file")
	}
	if !isRendered(data) && !s.rendered(data) {
		f := report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: s.tree.Show(path)},
			Message: "the file exists and is no encrypted ClusterPair, so that it is not overwritten",
			Hint:    "move it away, or set spec.output to another directory"}
		if doc := encrypted(data); doc != nil && strings.HasPrefix(manifest.Text(doc, "kind"), "ENC[") {
			f.Message = "the file exists, and all of it is encrypted, kind and metadata too: what it is cannot be told, so that it is not overwritten"
			f.Hint = "if it is this pair, give the same command again after this one: rm " + report.Typed(f.Position.File)
		}
		return nil, f
	}
	return data, nil
}

// rendered tells whether a file is a pair of this config whose sops section somebody
// has taken away. Nobody can decrypt such a pair, so the run may overwrite it with a
// new one.
func (s *Sealer) rendered(data []byte) bool {
	return s.name != "" && hasLine(data, "kind: "+generator.ClusterPairKind) && bytes.Contains(data, []byte(" "+generator.AnnotationGeneratedBy+": "+s.name+"\n"))
}

// isRendered tells whether a file is an encrypted ClusterPair: by two lines, as
// clusterpair, sops and kustomize write them, or in any other style, as JSON and KYAML.
func isRendered(data []byte) bool {
	if hasLine(data, "kind: "+generator.ClusterPairKind) && hasLine(data, "sops:") {
		return true
	}
	return bytes.Contains(data, []byte(generator.ClusterPairKind)) && manifest.Text(encrypted(data), "kind") == generator.ClusterPairKind
}

// encrypted is the only document of a SOPS file, nil if the file is none.
func encrypted(data []byte) *yaml.Node {
	if !bytes.Contains(data, []byte("sops")) {
		return nil
	}
	docs, err := manifest.Values(data, "")
	if err != nil || len(docs) != 1 || !sopsfile.IsEncrypted(docs[0]) {
		return nil
	}
	return docs[0]
}

// renderedBy returns a function that tells whether a file is a pair that the config of
// this name has rendered. If the name is empty, no file is.
func renderedBy(config string) func(data []byte) bool {
	mark := []byte(" " + generator.AnnotationGeneratedBy + ": " + config + "\n")
	return func(data []byte) bool {
		if config == "" || !isRendered(data) {
			return false
		}
		return bytes.Contains(data, mark) || manifest.Text(encrypted(data), "metadata", "annotations", generator.AnnotationGeneratedBy) == config
	}
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
func (s *Sealer) Encrypt(ctx context.Context, namespace, name string, plain *yaml.Node, previous []byte, sealed bool, source []byte) ([]byte, []report.Finding, error) {
	policy, err := s.Policy(namespace, name)
	if err != nil {
		return nil, nil, err
	}
	path := PairFile(s.output, namespace, name)
	if !hasLine(previous, "sops:") && encrypted(previous) == nil {
		previous = nil
	}
	document, findings, err := seal.EncryptPair(ctx, s.safe, plain, withoutSource(previous), policy, sopsfile.EncryptOptions{Sealed: sealed, File: s.tree.Show(path)})
	var f report.Finding
	if errors.As(err, &f) && previous != nil && (f.Rule == "sops-malformed" || f.Rule == "yaml") {
		f.Hint = "restore the file from Git history, or give the same command again after this one: rm " + report.Typed(s.tree.Show(path))
		err = f
	}
	if err != nil {
		return nil, findings, err
	}
	document = s.mark(document, source, policy)
	if _, same := s.says(previous, source, policy); same && !bytes.Equal(document, previous) {
		findings = append(findings, report.Finding{Rule: "annotation-drift", Severity: report.Warning, Position: report.Position{File: s.tree.Show(path)},
			Path:    generator.AnnotationSource,
			Message: "the annotation says that the pair was rendered from its Secret, and the pair holds something else: clusterpair has not written it so",
			Hint:    "find out who changed it: git log -p " + report.Typed(s.tree.Show(path))})
	}
	return document, findings, nil
}

// Plain is the [generator.Encrypter] of --plaintext.
type Plain struct {
	unmarked
	format sopsfile.Format
}

// unmarked is for pairs that do not say what they were rendered from.
type unmarked struct{}

// State implements [generator.Encrypter].
func (unmarked) State(string, string, []byte, time.Time) (generator.State, bool, error) {
	return generator.Unmarked, false, nil
}

func (Plain) Previous(string, string) ([]byte, error) { return nil, nil }

func (w Plain) Encrypt(_ context.Context, _, _ string, plain *yaml.Node, _ []byte, _ bool, _ []byte) (document []byte, _ []report.Finding, err error) {
	if w.format == sopsfile.JSON {
		document, err = sopsfile.MarshalJSON(plain)
	} else {
		document, err = sopsfile.Marshal([]*yaml.Node{plain}, 0)
	}
	return document, nil, err
}
