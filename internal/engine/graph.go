package engine

import (
	"cmp"
	"slices"
)

// Strays are the configs with the annotation of a function that no kustomization lists
// as one.
func (m *Model) Strays() []Function {
	resources := make(map[string]bool)
	listed := make(map[string]bool) // by place
	for _, k := range m.dirs {
		m.Walk(k, make(map[string]bool), func(file string) { resources[file] = true })
		for _, c := range m.functionsOf(k) {
			listed[c.At.String()] = true
		}
	}
	var strays []Function
	for _, c := range m.notes.Configs {
		if c.Exec+c.Image != "" && !listed[c.At.String()] {
			c.Resource = resources[c.Path]
			strays = append(strays, c.Function)
		}
	}
	slices.SortFunc(strays, func(a, b Function) int { return Compare(a.At, b.At) })
	return strays
}

// Built are the functions of clusterpair that building each folder with a kustomization
// runs, with those of its bases.
func (m *Model) Built() map[string][]Function {
	own := m.Functions()
	built := make(map[string][]Function, len(m.dirs))
	for dir, k := range m.dirs {
		seen := make(map[string]bool)
		m.Walk(k, seen, func(string) {})
		built[dir] = functionsIn(seen, own)
	}
	return built
}

// FunctionsOf are those that a sync has kustomize run.
func (m *Model) FunctionsOf(s *Sync, own map[string][]Function) []Function {
	return functionsIn(s.Dirs, own)
}

func functionsIn(dirs map[string]bool, own map[string][]Function) []Function {
	var all []Function
	for dir := range dirs {
		all = append(all, own[dir]...)
	}
	slices.SortFunc(all, func(a, b Function) int { return cmp.Or(cmp.Compare(a.Dir, b.Dir), Compare(a.At, b.At)) })
	return all
}
