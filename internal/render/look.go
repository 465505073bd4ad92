package render

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"os"
	"slices"
	"strings"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/orphan"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Looker tells of rendered pairs, without a key, whether they are fresh. What configs
// have in common it reads once. The zero value is ready; it is for one goroutine.
type Looker struct {
	secrets openedFiles
	rules   RuleFiles
	seen    map[string][]renderer // by the output
}

// renderer is a config that was looked at, with its pairs as hashes of their paths: they
// are many, and seldom asked for.
type renderer struct {
	name  string
	at    report.Position
	fleet bool
	pairs map[uint64]struct{}
}

var paths = maphash.MakeSeed()

// Freshness is what can be told without a key of the pairs of a config, or of all the
// configs of a file.
type Freshness struct {
	// Config is where the first config is whose pairs are stale.
	Config report.Position
	Fresh  int
	// Stale are the files of the pairs that were rendered from something else than what
	// is there, were changed afterwards, or are to be removed. Pairs that have no file yet
	// are not among them.
	Stale []string
	// Unknown are the pairs that do not tell. With Unclear there may be more.
	Unknown int
	Unclear bool
	// Wrong are the findings about clusters of a fleet that are one, and about configs that
	// render what others do.
	Wrong []report.Finding
}

// File looks at the pairs of the configs in a file.
func (l *Looker) File(ctx context.Context, file string) (Freshness, error) {
	configs, err := kustomize.Find(file)
	defer kustomize.Close(configs)
	if err != nil {
		return Freshness{Unclear: true}, nil // what is wrong with it is said elsewhere
	}
	return l.Look(ctx, configs)
}

// Look looks at the pairs of configs. The error is that of ctx.
func (l *Looker) Look(ctx context.Context, configs []kustomize.Config) (Freshness, error) {
	var f Freshness
	r, _, sound := l.look(ctx, configs)
	defer r.Close()
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	f.Unclear, f.Wrong = !sound, append(r.same.Findings(), l.twins(r)...)
	for _, o := range r.outputs {
		f.Fresh += o.stage.Fresh() - int(o.unknown.Load())
		f.Unknown += int(o.unknown.Load())
		for _, change := range o.stage.Changes() {
			if change.Verb != worktree.Created {
				if len(f.Stale) == 0 {
					f.Config = o.config.Position
				}
				f.Stale = append(f.Stale, o.stage.Show(change.Path))
			}
		}
	}
	return f, nil
}

// look is a run over configs that opens nothing, for the caller to close. If it is not
// sound there is more that it cannot tell.
func (l *Looker) look(ctx context.Context, configs []kustomize.Config) (r *Run, findings []report.Finding, sound bool) {
	r = Begin(configs, Options{Dry: true, Values: generator.Look})
	r.secrets, r.rules = &l.secrets, &l.rules
	findings, err := r.Render(ctx)
	return r, findings, err == nil && !report.HasErrors(findings)
}

// twins finds the outputs of configs that render what others do that were looked at before,
// and takes them out of the run: how stale they are depends on who came last.
func (l *Looker) twins(r *Run) []report.Finding {
	if l.seen == nil {
		l.seen = make(map[string][]renderer)
	}
	var findings []report.Finding
	both := make(renderedByBoth)
	r.outputs = slices.DeleteFunc(r.outputs, func(o *output) bool {
		c := renderer{o.config.Metadata.Name, o.config.Position, o.source != nil, make(map[uint64]struct{})}
		for _, path := range o.stage.Paths() {
			c.pairs[maphash.String(paths, o.stage.Tree.Abs(path))] = struct{}{}
		}
		dir, twin := o.stage.Tree.Abs(o.stage.Output), false
		for _, other := range l.seen[dir] {
			if other.name == c.name {
				if (c.fleet || other.fleet) && !samePlace(c.at, other.at) {
					findings = orphan.AddTwin(findings, c.name, o.stage.Show(""), c.at, other.at)
				}
				continue
			}
			for _, path := range o.stage.Paths() {
				if _, rendered := other.pairs[maphash.String(paths, o.stage.Tree.Abs(path))]; rendered {
					both.add(c.at, other.at, o.stage.Show(path))
					twin = true
				}
			}
		}
		l.seen[dir] = append(l.seen[dir], c)
		return twin
	})
	findings = append(findings, both.findings()...)
	report.Sort(findings)
	return findings
}

// Judge finds the configs in a file whose pairs are to be rendered anew, and what is
// wrong with a fleet once its clusters are known. The error is that of ctx.
func (l *Looker) Judge(ctx context.Context, file string) ([]report.Finding, error) {
	configs, err := kustomize.Find(kustomize.PlaceOf(file))
	defer kustomize.Close(configs)
	configs = slices.DeleteFunc(configs, func(c kustomize.Config) bool { return !worktree.SameFile(c.File, file) })
	if err != nil || len(configs) == 0 {
		return nil, ctx.Err() // what is wrong with it is said elsewhere
	}
	r, rendered, _ := l.look(ctx, configs)
	defer r.Close()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	findings := l.twins(r)
	if slices.ContainsFunc(configs, func(c kustomize.Config) bool { return c.Fleet }) {
		findings = append(findings, r.findings...)
		for _, f := range rendered { // the rest is said elsewhere
			if f.Rule != "fleet" && f.Rule != "reader-of-another-cluster" {
				continue
			}
			if _, err := os.Lstat(f.Position.File); errors.Is(err, fs.ErrNotExist) { // a pair that is not rendered yet
				at := slices.IndexFunc(configs, func(c kustomize.Config) bool { return c.Name == f.Object })
				f.Message, f.Position = f.Position.File+": "+f.Message, manifest.Position(configs[max(at, 0)].Doc, file)
			}
			findings = append(findings, f)
		}
	}
	for len(r.outputs) > 0 {
		at := r.outputs[0].config.Position // several of a fleet have it
		n := slices.IndexFunc(r.outputs, func(o *output) bool { return o.config.Position != at })
		if n < 0 {
			n = len(r.outputs)
		}
		if f, found := outdated(file, r.outputs[:n]); found {
			findings = append(findings, f)
		}
		r.outputs = r.outputs[n:]
	}
	return findings, nil
}

// outdated is the finding about configs that stand in one place of a file, if some of
// their pairs are there and others are stale or lack.
func outdated(file string, outputs []*output) (report.Finding, bool) {
	stale, missing, all := 0, 0, 0
	for _, o := range outputs {
		all += o.stage.Unchanged()
		for _, change := range o.stage.Changes() {
			switch all++; change.Verb {
			case worktree.Changed:
				stale++
			case worktree.Created:
				missing++
			default: // another rule is for what no config renders any more
				all--
			}
		}
	}
	if stale+missing == 0 || missing == all {
		return report.Finding{}, false
	}
	c := outputs[0].config
	name := c.Metadata.Name
	if source := outputs[0].source; source != nil {
		name = strings.TrimSuffix(name, "."+source.Name)
	}
	f := report.Finding{Rule: "not-rendered", Severity: report.Warning, Position: c.Position, Object: name, Hint: "clusterpair generate -f " + report.Typed(file)}
	f.Position.File = file // by way of another directory it may have another name
	of := func(n int, is string) string {
		if n == 1 {
			return "1 of its pairs is " + is
		}
		return fmt.Sprintf("%d of its pairs are %s", n, is)
	}
	var parts []string
	if stale > 0 {
		parts = append(parts, of(stale, "stale: the config, the Secret, the recipients or the file have changed"))
	}
	if missing > 0 {
		parts = append(parts, of(missing, "not rendered yet"))
	}
	f.Message = strings.Join(parts, "; ")
	return f, true
}
