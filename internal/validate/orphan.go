package validate

import (
	"cmp"
	"path"
	"slices"
	"strings"
	"unique"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/orphan"
	"clusterpair.dev/internal/report"
)

// orphans judges the pairs that no config renders, and configs that remove each
// other's.
func (j *judgement) orphans(r *repository, o *Options) {
	for _, f := range orphan.Twins(r.renderers(j.model)) {
		j.addFinding(f)
	}
	for _, at := range j.model.ListedFleets() {
		j.addFinding(generator.NoFunction(report.Typed(at.File), at))
	}
	if o.Orphans && !o.Plaintext {
		for _, f := range r.orphans(j.model) {
			j.addFinding(f)
		}
		for _, f := range r.notRendered(j.model) {
			j.addFinding(f)
		}
	}
}

// notRendered are the configs that list pairs and name an output, of which no pair is
// there: a run over such a repository judges nothing of what matters.
func (r *repository) notRendered(m *engine.Model) []report.Finding {
	outputs := make(map[string]bool)
	for i := range r.pairs {
		outputs[path.Dir(path.Dir(r.pairs[i].path))] = true
	}
	var findings []report.Finding
	for _, c := range r.renderers(m) {
		if c.Writes && len(c.Pairs) > 0 && !outputs[path.Clean(c.Output)] {
			findings = append(findings, report.Finding{Rule: "not-rendered", Severity: report.Warning, Position: c.Position, Object: c.Name,
				Message: "there is no ClusterPair in " + path.Clean(c.Output) + ", where this config renders to: none of its pairs was checked",
				Hint:    "clusterpair generate -f " + report.Typed(c.File)})
		}
	}
	slices.SortFunc(findings, func(a, b report.Finding) int { return engine.Compare(a.Position, b.Position) })
	return slices.Compact(findings) // of a config that two kustomizations list
}

// addFinding adds one that stands in a file to be judged.
func (j *judgement) addFinding(f report.Finding) {
	if j.files[f.Position.File] {
		j.findings = append(j.findings, f)
	}
}

// orphans are the pairs that no config so far renders. Where there is no config and no
// Secret to render from, the pairs may come from another repository: with a creation rule
// that is noted, without one nothing is said.
func (r *repository) orphans(m *engine.Model) []report.Finding {
	configs, pairs := r.renderers(m), r.unrendered()
	if len(configs) == 0 && len(r.secrets) == 0 {
		pairs = slices.DeleteFunc(pairs, func(p orphan.Pair) bool { return !p.Ruled })
		for i := range pairs {
			pairs[i].Ruled = false // no more than a note
		}
	}
	return orphan.Find(configs, pairs)
}

// mayHaveOrphans tells whether the files that are not read yet may hold the config of a
// pair.
func (r *repository) mayHaveOrphans() bool {
	pairs := r.unrendered()
	return len(pairs) > 0 && len(orphan.Find(r.renderers(r.modelled(&Options{})), pairs)) > 0
}

// unrendered are the pairs that say to be rendered, and of which no more is known.
func (r *repository) unrendered() []orphan.Pair {
	var none unique.Handle[string]
	var pairs []orphan.Pair
	for i := range r.pairs {
		if p := &r.pairs[i]; p.by != none && !p.aside && !p.built && !p.rendered {
			pairs = append(pairs, orphan.Pair{Config: p.by.Value(), ID: p.id(), Path: p.path, Ruled: p.ruled, Position: p.place(p.byAt)})
		}
	}
	return pairs
}

// renderers are the configs of kind ClusterPairGenerator, once for each kustomization
// that lists them, as their paths are relative to that; one that none lists is by
// itself. They are sorted by their places.
func (r *repository) renderers(m *engine.Model) []orphan.Config {
	if r.engines.Configs == nil && r.engines.Kustomizations == nil {
		return nil
	}
	var all []orphan.Config
	listed := make(map[report.Position]bool)
	add := func(f engine.Function, c *engine.Config) {
		listed[f.At] = true
		all = append(all, orphan.Config{Name: f.Name, File: f.At.File, Position: f.At, Output: path.Join(f.Dir, c.Output), Writes: c.Writes, Pairs: c.Listed})
	}
	known := make(map[report.Position]*engine.Config)
	for i := range r.engines.Configs {
		known[r.engines.Configs[i].At] = &r.engines.Configs[i]
	}
	for i := range r.engines.Kustomizations {
		for k := range r.engines.Kustomizations[i].Inline {
			c := &r.engines.Kustomizations[i].Inline[k]
			known[c.At] = c
		}
	}
	for _, functions := range m.Functions() {
		for _, f := range functions {
			if c := known[f.At]; c != nil && f.Kind == generator.GeneratorKind {
				add(f, c)
			}
		}
	}
	for i := range r.engines.Configs {
		if c := &r.engines.Configs[i]; c.Kind == generator.GeneratorKind && !listed[c.At] {
			add(c.Function, c)
		}
	}
	// The files have come in any order, and of two configs the first is named.
	slices.SortFunc(all, func(a, b orphan.Config) int {
		return cmp.Or(strings.Compare(a.File, b.File), a.Position.Line-b.Position.Line, a.Position.Column-b.Position.Column, strings.Compare(a.Output, b.Output))
	})
	return all
}
