package render

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/orphan"
	"clusterpair.dev/internal/plan"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// Plans are what is going to happen to the pairs of each config.
func (r *Run) Plans() []plan.Config {
	plans := make([]plan.Config, len(r.outputs))
	for i, o := range r.outputs {
		p := plan.Config{Name: o.config.Metadata.Name, Position: o.config.Position, Unchanged: o.stage.Unchanged(), Fresh: o.stage.Fresh()}
		if o.source != nil {
			p.Source = o.source.Name
			p.Fleet, p.Most = o.source.RemovalLimit()
		}
		for _, change := range o.stage.Changes() {
			switch change.Verb {
			case worktree.Created:
				p.Created++
			case worktree.Changed:
				p.Changed++
			default:
				p.Removed = append(p.Removed, o.stage.Show(change.Path))
			}
		}
		p.Readers.Merge(&o.readers)
		p.Lost = slices.Sorted(maps.Values(o.lost))
		plans[i] = p
	}
	return plans
}

// Judge refuses to remove what nobody can have meant to, and tells of pairs that no
// config renders. It reads the whole repository around paths, which is where the
// configs were looked for. remove is how many pairs may be removed, negative for the
// limit of each config.
func (r *Run) Judge(ctx context.Context, paths []string, remove int) ([]report.Finding, error) {
	plans := r.Plans()
	all, err := renderers(ctx, paths, r.Outputs(), slices.ContainsFunc(r.outputs, func(o *output) bool { return len(o.taken) > 0 }))
	if err != nil {
		return nil, err
	}
	findings := append(plan.Excess(plans, remove, "clusterpair generate -f "+strings.Join(report.TypedAll(paths), " -f ")), all.inUse()...)
	for i := range findings {
		if r.options.Dry {
			findings[i].Severity = report.Warning // nothing is removed
		}
	}
	for i, o := range r.outputs {
		if len(plans[i].Removed) == 0 {
			continue
		}
		c, w := o.config, o.stage
		findings = append(findings, hollow(w.Tree, o.secrets.Files())...)
		for _, other := range all.configs {
			if other.Name == c.Metadata.Name && !samePlace(other.Position, c.Position) && other.Output == all.repo.Path(w.Show("")) {
				findings = orphan.AddTwin(findings, other.Name, w.Show(""), c.Position, other.Position)
			}
		}
	}
	return append(append(findings, r.takes(all)...), all.orphans()...), nil
}

// takes refuses to change what a config renders that is no part of the run: each would
// change it back.
func (r *Run) takes(all *rendering) []report.Finding {
	both := make(renderedByBoth)
	for _, o := range r.outputs {
		for file, by := range o.taken {
			shown := o.stage.Show(file)
			at := slices.IndexFunc(all.configs, func(c orphan.Config) bool {
				return c.Name == by && c.Renders(all.repo.Path(shown), strings.TrimSuffix(filepath.ToSlash(file), filepath.Ext(file)))
			})
			if at >= 0 && !slices.ContainsFunc(r.outputs, func(o *output) bool { return samePlace(o.config.Position, all.configs[at].Position) }) {
				both.add(o.config.Position, all.configs[at].Position, shown)
			}
		}
	}
	return both.findings()
}

// samePlace tells whether two positions, of files by names that may differ, are one.
func samePlace(a, b report.Position) bool {
	return a.Line == b.Line && a.Column == b.Column && (a.File == b.File || worktree.SameFile(a.File, b.File))
}

// hollow finds inputs that hold nothing, and may have held a Secret: those of a
// checkout that has failed, or of Git LFS. The pairs of such a Secret are not to be
// removed.
func hollow(t *worktree.Tree, inputs []string) []report.Finding {
	var findings []report.Finding
	for _, name := range inputs {
		data, err := t.ReadFile(t.Hide(name))
		if err != nil {
			continue // the run has read it
		}
		f := report.Finding{Rule: "secret-missing", Severity: report.Error, Position: report.Position{File: name},
			Hint: "restore the file: git checkout -- " + report.Typed(name) + "; or, if it is to go: git rm -f " + report.Typed(name)}
		switch data = bytes.TrimSpace(data); {
		case len(data) == 0:
			f.Message = "the file is empty, and pairs are to be removed: it may be their Secret that is missing"
		case bytes.HasPrefix(data, []byte("version https://git-lfs.github.com/spec/")):
			f.Message, f.Hint = "the file is a pointer of Git LFS, and pairs are to be removed: it may be their Secret that is missing", "git lfs pull"
		default:
			continue
		}
		findings = append(findings, f)
	}
	return findings
}

// shadowedRules refuses to render for the recipients of a creation rule that takes the
// pairs from a later one, which would let fewer read them.
func shadowedRules(s *Sealer, w *worktree.Stage) []report.Finding {
	if s.rules == nil {
		return nil
	}
	var findings []report.Finding
	for _, shadow := range s.rules.Shadowed() {
		takes := func(path string) bool { return s.rules.Takes(shadow, w.Tree.Abs(filepath.Join(w.Output, path))) }
		if i := slices.IndexFunc(w.Paths(), takes); i >= 0 {
			file := s.rules.Path()
			if repo, err := gitfiles.Open(); err == nil {
				file = repo.Shown(repo.Path(file))
			}
			f := validate.ShadowedRule(file, shadow)
			f.Message += ", such as " + w.Show(w.Paths()[i])
			findings = append(findings, f)
		}
	}
	return findings
}

// rendering are the pairs of a repository that tell which config has rendered them, but
// for those of the outputs of a run, and the configs, if there are such pairs or if the
// run removes any or changes what another config has rendered.
type rendering struct {
	repo    gitfiles.Repository
	outputs []*worktree.Stage
	configs []orphan.Config
	broken  brokenConfigs
	pairs   []orphan.Pair
	uses    uses
}

// renderers reads them. It parses no pair: what it needs stands on lines of its own
// in every style of writing.
func renderers(ctx context.Context, paths []string, outputs []*worktree.Stage, taking bool) (*rendering, error) {
	repo, err := gitfiles.Open(paths...)
	if err != nil {
		return nil, err
	}
	r := &rendering{repo: repo, outputs: outputs}
	ours, removing := r.ours(), slices.ContainsFunc(outputs, removes)
	var places []string // files with configs
	work := &gitfiles.WorkTree{Repository: repo}
	var buffer []byte
	err = work.Walk(ctx, repo.Shown("."), gitfiles.IsManifest, func(file gitfiles.File) {
		if ours(file.Path) {
			return // it is known what renders it
		}
		var unread error
		if buffer, unread = work.Read(ctx, file, buffer[:0]); unread != nil {
			return
		}
		if kustomize.Mentions(buffer) && !file.Link {
			places = append(places, file.Name)
		}
		if isRendered(buffer) {
			r.pair(file, buffer)
		}
		if removing && !file.Sample() {
			r.uses.read(file, buffer)
		}
	})
	if len(r.pairs) == 0 && !removing && !taking {
		return r, err // the configs are of no use, and a large fleet takes its time
	}
	for _, file := range places {
		found, unread := kustomize.Find(repo.Shown(repo.Path(kustomize.PlaceOf(file)))) // not by way of the top
		if unread != nil {                                                              // validate says what is wrong
			if text, err := os.ReadFile(file); err == nil {
				r.broken.texts = append(r.broken.texts, text)
			}
		}
		for _, f := range found {
			if c, ok := orphanConfig(f, repo); ok {
				r.configs = append(r.configs, c)
			} else if f.Fleet {
				r.broken.fleets = append(r.broken.fleets, f.Name)
			}
		}
		kustomize.Close(found)
	}
	return r, err
}

// removes tells whether the run is to remove a file of an output.
func removes(w *worktree.Stage) bool {
	return slices.ContainsFunc(w.Changes(), func(c worktree.Change) bool { return c.Verb == worktree.Removed })
}

// pair notes a rendered pair that tells by which config it was rendered.
func (r *rendering) pair(file gitfiles.File, data []byte) {
	_, rest, ok := bytes.Cut(data, []byte(" "+generator.AnnotationGeneratedBy+": "))
	if !ok {
		return
	}
	name, _, _ := bytes.Cut(rest, []byte("\n"))
	line := bytes.Count(data[:len(data)-len(rest)], []byte("\n")) + 1
	dir, base := filepath.Split(file.Path)
	r.pairs = append(r.pairs, orphan.Pair{Config: strings.Trim(string(bytes.TrimSpace(name)), `"'`), Path: file.Path, Position: report.Position{File: file.Name, Line: line},
		ID: filepath.Base(dir) + "/" + strings.TrimSuffix(base, filepath.Ext(base))})
}

// ours gives what tells by its path whether the run takes care of a file.
func (r *rendering) ours() func(file string) bool {
	written := make(map[string][]*worktree.Stage) // by directory
	removed := make(map[string]bool)
	for _, w := range r.outputs {
		dir := r.repo.Path(w.Show(""))
		written[dir] = append(written[dir], w)
		for _, change := range w.Changes() {
			if change.Verb == worktree.Removed {
				removed[r.repo.Path(w.Show(change.Path))] = true
			}
		}
	}
	return func(file string) bool {
		dir := path.Dir(path.Dir(file)) // of DIRECTORY/NAMESPACE/NAME
		return removed[file] || slices.ContainsFunc(written[dir], func(w *worktree.Stage) bool {
			rel, err := filepath.Rel(filepath.FromSlash(dir), filepath.FromSlash(file))
			return err == nil && w.Has(rel)
		})
	}
}

// orphans are the pairs that no config renders. It looks where the .sops.yaml of one of
// the outputs counts: what lies elsewhere, such as examples and fixtures, has nothing to
// do with the run.
func (r *rendering) orphans() []report.Finding {
	var dirs []string
	for _, w := range r.outputs {
		dirs = append(dirs, r.ruled(w.Tree.Abs(w.Output)))
	}
	slices.Sort(dirs)
	dirs = slices.Compact(dirs)
	return orphan.Find(r.configs, slices.DeleteFunc(r.pairs, func(p orphan.Pair) bool {
		return r.broken.mayRender(p.Config) || !slices.ContainsFunc(dirs, func(dir string) bool { return dir == "." || strings.HasPrefix(p.Path, dir+"/") })
	}))
}

// ruled is the directory for which the creation rules of an output are written, the
// whole repository if they are none of its own.
func (r *rendering) ruled(output string) string {
	rules, _ := sopsfile.FindRules(output, os.Getenv("SOPS_CONFIG"))
	if rel, err := filepath.Rel(r.repo.Root, filepath.Dir(rules)); rules != "" && err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return "."
}
