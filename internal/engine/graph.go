package engine

import (
	"cmp"
	"slices"
)

// Graph is how the files of a run are built and applied, as far as they say so.
type Graph struct {
	// Syncs are what engines apply.
	Syncs []Applied
	// Unknown are the objects of which nobody can tell what they apply.
	Unknown []Unknown
	// Fruitless says that an object applies none of the folders here, although it might.
	Fruitless bool
	// Folders are the kustomizations by their paths from the root of the
	// repository, each with the functions of clusterpair that building it runs.
	Folders map[string][]Function
	// Strays are the configs with the annotation of a function that no
	// kustomization lists as one.
	Strays []Function
	// Pairs are the ClusterPairs in files.
	Pairs []Committed
}

// Applied is a sync with what it applies.
type Applied struct {
	*Sync
	// Pairs are the paths of the encrypted ClusterPairs that it applies.
	Pairs []string
	// Functions are those of clusterpair that building the folder runs.
	Functions []Function
}

// Committed is a ClusterPair in a file.
type Committed struct {
	Pair
	// Applied says that one of the syncs applies it, be it through a function.
	Applied bool
	// Dropped says that one applies its folder, and leaves it out.
	Dropped bool
}

// Graph is that of a model.
func (m *Model) Graph() *Graph {
	g := &Graph{Folders: m.Built(), Strays: m.Strays(), Unknown: m.Unknown, Fruitless: m.fruitless}
	own := m.Functions()
	at := make(map[*Sync]int)
	running := make(map[string]bool) // folders with functions that are applied
	for _, s := range m.Syncs {
		out := Applied{Sync: s, Functions: m.FunctionsOf(s, own)}
		for _, f := range out.Functions {
			running[f.Dir] = true
		}
		g.Syncs = append(g.Syncs, out)
		at[s] = len(g.Syncs) - 1
	}
	applied, dropped := make(map[string]bool), make(map[string]bool)
	for _, p := range m.pairs {
		for _, s := range m.Applying(p.Path) {
			if a, _ := m.Application(s, p.Path); a.Never() {
				dropped[p.Path] = true
				continue
			}
			applied[p.Path] = true
			if out := &g.Syncs[at[s]]; p.Encrypted {
				out.Pairs = append(out.Pairs, p.Path)
			}
		}
	}
	for link := range applied {
		if to := m.real(link); to != link { // the pair that it leads to is the one
			applied[to] = true
		}
	}
	patches := m.PatchesOnly()
	for _, p := range m.pairs {
		if _, isPatch := patches[p.Path]; isPatch {
			continue
		}
		c := Committed{Pair: p, Applied: applied[p.Path], Dropped: dropped[p.Path]}
		for dir := range running { // its function decrypts or renders the pair
			c.Applied = c.Applied || Below(p.Path, dir)
		}
		g.Pairs = append(g.Pairs, c)
	}
	slices.SortFunc(g.Pairs, func(a, b Committed) int { return cmp.Compare(a.Path, b.Path) })
	return g
}

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
