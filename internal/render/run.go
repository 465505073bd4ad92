// Package render renders configs into encrypted files.
//
// [Begin] starts a run over the configs that package kustomize has found: Render
// renders all of them before the first file is written, Plans and Judge tell what is
// about to happen, Commit writes all files or none. A [One] is a pair without a
// config, an [Environment] a run of the kustomize function. [NewOrigins] goes the
// other way, from a rendered file to what it was made by. What has not changed keeps
// its bytes, and no error holds a value.
package render

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/fleet"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/orphan"
	"clusterpair.dev/internal/plan"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Options say how a [Run] goes on. The zero Options write what is rendered.
type Options struct {
	// Dry runs write nothing.
	Dry bool
	// Instead holds, by the path of a file, the document in clear that the caller is
	// about to write into it, as after the rotation of a credential. The run then
	// renders only the pairs that take their kubeconfig from these files, and removes
	// none.
	Instead map[string]*yaml.Node
	// With are files that the run writes together with the pairs, all or none. Those of
	// Instead are among them.
	With []File
	// Values says whether Secrets are opened whose pairs are fresh. Stale pairs that are
	// not opened take a dry run.
	Values generator.Values
	// Each is called for each pair that the run renders or is to remove: before is what
	// the file of the pair holds, after what it is going to hold, nil where there is no
	// file. Several goroutines call it. It may be nil.
	Each func(file string, before, after []byte)
	// Progress is called for a config before its pairs are rendered. Of the functions
	// that it returns, pair is called after each pair, from several goroutines, and end
	// after the last one. It may be nil.
	Progress func(config string) (pair, end func())
}

// Run renders configs. The caller closes it.
type Run struct {
	options  Options
	tx       *worktree.Transaction
	outputs  []*output
	findings []report.Finding // about the configs themselves
	now      time.Time
	secrets  *openedFiles
	rules    *RuleFiles
	same     fleet.Identities
	pairs    []generator.Pair // of the source that is rendered
}

// output is what a run renders of one config.
type output struct {
	config    *generator.Config // of a source of a fleet it has pairs only while they are rendered
	source    *fleet.Source     // of a fleet; else nil
	generated []string          // the Secrets that its kustomization makes
	stage     *worktree.Stage
	unknown   atomic.Int64      // pairs that do not tell whether they are fresh
	secrets   *Secrets          // the files that it takes Secrets from
	err       error             // why they cannot be listed
	lost      map[string]string // where the pairs lead that are to be removed, by path

	mu      sync.Mutex // guards what follows
	readers plan.Readers
	taken   map[string]string // the configs that have rendered what the run changes, if others, by path
}

// Begin starts a run. If something is wrong with the configs, Render says so. The trees
// of the configs stay open until the run is closed.
func Begin(configs []kustomize.Config, options Options) *Run {
	r := &Run{options: options, tx: worktree.Begin(options.Dry), now: time.Now(), secrets: new(openedFiles), rules: new(RuleFiles)}
	named := make(map[string]report.Position)
	for _, found := range configs {
		c, bad := found.Parse()
		r.findings = append(r.findings, bad...)
		if c == nil {
			continue
		}
		w := r.tx.Stage(found.Tree, c.Spec.Output)
		name := c.Metadata.Name + " " + w.Show("")
		if first, twice := named[name]; twice {
			r.findings = orphan.AddTwin(r.findings, c.Metadata.Name, w.Show(""), c.Position, first)
		}
		named[name] = c.Position
		o := &output{config: c, source: found.Source, generated: found.Generated, stage: w, lost: make(map[string]string), taken: make(map[string]string)}
		if o.source != nil {
			c.Spec.Pairs = nil // those of all sources together take much memory
		}
		r.outputs = append(r.outputs, o)
	}
	return r
}

// pairs are those of the config. Of a source of a fleet they are made anew.
func (o *output) pairs() []generator.Pair {
	if o.source != nil {
		return o.source.Pairs()
	}
	return o.config.Spec.Pairs
}

// Close removes what was rendered and not written.
func (r *Run) Close() { r.tx.Close() }

// Recover puts right what killed runs have left, as [worktree.Stage.Recover] does. Call
// it before Render.
func (r *Run) Recover(ctx context.Context) ([]worktree.Recovered, error) {
	var all []worktree.Recovered
	for _, o := range r.outputs {
		recovered, err := o.stage.Recover(ctx)
		if all = append(all, recovered...); err != nil {
			return all, err
		}
	}
	return all, nil
}

// Render renders the pairs of all configs, and finds those that earlier runs have
// rendered and this run has not. Nothing is written. The findings are good after an
// error, too.
func (r *Run) Render(ctx context.Context) ([]report.Finding, error) {
	safe := sopsfile.New(nil)
	findings := slices.Clone(r.findings)
	for _, o := range r.outputs { // before any is read, so that it is known which are read again
		if o.secrets, o.err = openSecrets(&r.secrets.listed, o.stage.Tree, safe, o.config, nil); o.err == nil {
			o.secrets.closed = r.options.Values == generator.Look
			o.secrets.share(r.secrets)
		}
	}
	said := make(map[report.Finding]bool) // configs take the same Secrets, and say the same of them
	add := func(more ...report.Finding) {
		for _, f := range more {
			if !said[f] {
				findings = append(findings, f)
			}
			said[f] = true
		}
	}
	both := make(renderedByBoth)
	for i, o := range r.outputs {
		more, err := r.config(ctx, safe, o)
		add(more...)
		r.twice(i, both)
		var f report.Finding
		if errors.As(err, &f) {
			add(f)
		} else if err != nil {
			return findings, err
		}
	}
	findings = append(append(findings, r.same.Findings()...), both.findings()...)
	report.Sort(findings)
	findings = slices.Compact(findings)
	if r.options.Instead != nil || report.HasErrors(findings) {
		return findings, nil
	}
	return findings, r.prune()
}

// twice finds the files of an output that an earlier one has rendered, too.
func (r *Run) twice(i int, both renderedByBoth) {
	o := r.outputs[i]
	others := r.inPlaceOf(o, r.outputs[:i])
	if len(others) == 0 {
		return
	}
	for _, path := range o.stage.Paths() {
		at := slices.IndexFunc(others, func(other *output) bool {
			return other.stage.Has(path) && other.config.Metadata.Name != o.config.Metadata.Name // else that is said of the configs
		})
		if at >= 0 {
			both.add(o.config.Position, others[at].config.Position, o.stage.Show(path))
		}
	}
}

// renderedByBoth are the files that two configs render, by the places of these.
type renderedByBoth map[[2]report.Position][]string

func (b renderedByBoth) add(at, other report.Position, file string) {
	b[[2]report.Position{at, other}] = append(b[[2]report.Position{at, other}], file)
}

func (b renderedByBoth) findings() (findings []report.Finding) {
	for at, files := range b {
		what := slices.Min(files) + " is"
		if n := len(files) - 1; n > 0 {
			what = fmt.Sprintf("%s and %s are", slices.Min(files), report.Count(n, "other pair", "other pairs"))
		}
		findings = append(findings, report.Finding{Rule: "duplicate-pair", Severity: report.Error, Position: at[0],
			Message: fmt.Sprintf("%s rendered by this config and by the one at %s", what, at[1]),
			Hint:    "give one of the two pairs another name or namespace, or one of the configs another output"})
	}
	return findings
}

// inPlaceOf are those of the outputs, the last first, that share a directory with one.
func (r *Run) inPlaceOf(o *output, outputs []*output) []*output {
	var same []*output
	for _, other := range slices.Backward(outputs) {
		if other != o && other.stage.Show("") == o.stage.Show("") {
			same = append(same, other)
		}
	}
	return same
}

// prune finds the pairs that no config lists any more.
func (r *Run) prune() error {
	for _, o := range r.outputs {
		others := r.inPlaceOf(o, r.outputs)
		kept := func(path string) bool {
			return slices.ContainsFunc(others, func(other *output) bool { return other.stage.Has(path) })
		}
		err := o.stage.Prune(renderedBy(o.config.Metadata.Name), kept, func(path string, data []byte) {
			if to := annotation(data, generator.AnnotationCluster); o.source != nil && fleet.IsClusterName(to) {
				o.lost[path] = to
			}
			if r.options.Each != nil {
				r.options.Each(o.stage.Show(path), data, nil)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// config renders one config.
func (r *Run) config(ctx context.Context, safe *sopsfile.Safe, o *output) ([]report.Finding, error) {
	if o.err != nil {
		return nil, o.err
	}
	if o.source != nil {
		r.pairs = o.source.AppendPairs(r.pairs[:0])
		o.config.Spec.Pairs = r.pairs
		defer func() { o.config.Spec.Pairs = nil }()
	}
	var only []string
	if r.options.Instead != nil {
		only = o.secrets.replace(r.options.Instead, r.options.With)
	}
	sealer, err := r.rules.NewSealer(o.stage.Tree, safe, o.config)
	if err != nil {
		return nil, err
	}
	if bad, err := o.checkReaders(sealer); err != nil || bad != nil {
		return bad, err
	}
	if o.source != nil {
		sealer.seen = func(namespace, name string, state generator.State, data []byte) {
			if state == generator.Fresh || state == generator.Unmarked && r.options.Values == generator.Look {
				r.same.Note(o.source, namespace, name, annotation(data, generator.AnnotationDestination))
			}
		}
	}
	pair := func() {}
	if r.options.Progress != nil {
		var end func()
		pair, end = r.options.Progress(o.config.Metadata.Name)
		defer end()
	}
	findings, err := generator.Generate(ctx, o.config, generator.Inputs{
		Secrets: o.secrets, Encrypter: sealer, Values: r.options.Values, NoKey: isNoKey, Now: r.now, Generated: o.generated, Only: only, Known: o.secrets.known,
	}, func(result generator.Result) error {
		pair()
		path := PairFile("", result.Namespace, result.Name)
		o.note(sealer, path, &result)
		switch {
		case result.Fresh:
			o.stage.Keep(path)
			return nil
		case result.Missing:
			o.stage.Expect(path, worktree.Created)
			return nil
		case result.Stale:
			o.stage.Expect(path, worktree.Changed)
			return nil
		case result.Unknown:
			o.unknown.Add(1)
			o.stage.Keep(path)
			return nil
		}
		if o.source != nil {
			r.same.Note(o.source, result.Namespace, result.Name, annotation(result.Document, generator.AnnotationDestination))
		}
		if r.options.Each != nil {
			r.options.Each(o.stage.Show(path), result.Previous, result.Document)
		}
		return o.stage.Add(path, result.Previous, result.Document)
	})
	return append(findings, shadowedRules(sealer, o.stage)...), err
}

// annotation is what the file of a pair says in clear under a key, empty if that does not
// stand on a line of its own, as clusterpair writes it.
func annotation(data []byte, key string) string {
	head, _, _ := bytes.Cut(data, []byte("\nsops:"))
	_, rest, _ := bytes.Cut(head, []byte(" "+key+": "))
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.Trim(string(bytes.TrimSpace(value)), `"'`)
}

// note notes who can decrypt a pair after the run that could not before, and the other way
// around, and which other config has rendered it.
func (o *output) note(s *Sealer, path string, result *generator.Result) {
	before := result.Previous
	if result.Stale && !result.Missing {
		before, _ = s.Previous(result.Namespace, result.Name)
	}
	if before == nil || bytes.Equal(before, result.Document) {
		return
	}
	if by := annotation(before, generator.AnnotationGeneratedBy); by != "" && by != o.config.Metadata.Name {
		o.mu.Lock()
		o.taken[path] = by
		o.mu.Unlock()
	}
	doc := encrypted(before)
	policy, err := s.Policy(result.Namespace, result.Name)
	if doc == nil || err != nil {
		return // whoever renders it says why
	}
	m, err := sopsfile.ReadMetadata(doc, "")
	if err != nil || len(m.Recipients) != 1 || len(policy.Recipients()) != 1 {
		return // of several groups it takes a reader of each
	}
	id := annotation(before, generator.AnnotationCredentialID)
	renewed := result.Document != nil && id != "" && annotation(result.Document, generator.AnnotationCredentialID) != id
	o.mu.Lock()
	defer o.mu.Unlock()
	o.readers.Change(m.Recipients[0], policy.Recipients()[0], result.File, renewed)
}

func isNoKey(err error) bool {
	_, ok := errors.AsType[*sopsfile.NoKeyError](err)
	return ok
}

// checkReaders finds creation rules by which others than the readers of a source cluster
// of a fleet could decrypt its pairs.
func (o *output) checkReaders(s *Sealer) ([]report.Finding, error) {
	if o.source == nil {
		return nil, nil
	}
	var findings []report.Finding
	said := make(map[string]bool)
	for i := range o.config.Spec.Pairs {
		p := &o.config.Spec.Pairs[i]
		policy, err := s.Policy(p.Namespace, p.Name)
		if err != nil {
			return nil, err
		}
		if !said[policy.Source] {
			said[policy.Source] = true
			findings = append(findings, o.source.CheckReaders(slices.Concat(policy.Recipients()...), report.Position{File: o.stage.Show(PairFile("", p.Namespace, p.Name))})...)
		}
	}
	return findings, nil
}

// File is a file that is written together with pairs.
type File struct {
	Tree          *worktree.Tree // of its directory; it stays open
	Name          string
	Before, After []byte // what it holds, and what it is going to hold
}

// Stage makes the file part of a transaction.
func (f File) Stage(tx *worktree.Transaction) error {
	return tx.Stage(f.Tree, ".").Add(f.Name, f.Before, f.After)
}

// Commit writes all files, or none.
func (r *Run) Commit(ctx context.Context) error {
	for _, f := range r.options.With {
		if err := f.Stage(r.tx); err != nil {
			return err
		}
	}
	return r.tx.Commit(ctx)
}

// Outputs are the files that were rendered, by config, without those of
// Options.With.
func (r *Run) Outputs() []*worktree.Stage {
	stages := make([]*worktree.Stage, len(r.outputs))
	for i, o := range r.outputs {
		stages[i] = o.stage
	}
	return stages
}
