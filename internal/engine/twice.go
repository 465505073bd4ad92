package engine

import (
	"fmt"
	"maps"
	"slices"
)

// Twice calls each for a pair that two Kustomizations of Flux apply as it is to one
// cluster: those that stand in one file, or that one kustomization takes in.
func (m *Model) Twice(each func(p Pair, first, second *Sync)) {
	roots, order := m.Roots(), make(map[*Sync]int, len(m.Syncs))
	for i, s := range m.Syncs {
		order[s] = i
	}
	type way struct{ names, source string } // names are the kustomizations that give it some
	renaming := make(map[*Sync]string)
	for _, p := range m.pairs {
		syncs := slices.DeleteFunc(m.Applying(p.Path), func(s *Sync) bool { return s.Engine != Flux || s.Alone || s.Unsure != "" })
		if len(syncs) < 2 {
			continue
		}
		slices.SortFunc(syncs, func(a, b *Sync) int { return order[a] - order[b] })
		first := make(map[way]*Sync)
		for _, s := range syncs {
			names, known := renaming[s]
			if !known {
				names = fmt.Sprint(slices.DeleteFunc(slices.Sorted(maps.Keys(s.Dirs)), func(dir string) bool { return !m.dirs[dir].Renames() }))
				renaming[s] = names
			}
			sources := roots[s.File]
			if sources == nil {
				sources = []string{s.File}
			}
			for _, source := range sources {
				w := way{names, source}
				if other := first[w]; other != nil && other.At != s.At {
					each(p, other, s)
				} else {
					first[w] = s
				}
			}
		}
	}
}
