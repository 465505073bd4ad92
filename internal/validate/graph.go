package validate

import (
	"slices"
	"strings"

	"clusterpair.dev/internal/engine"
)

// Graph is how the files of a run are built and applied, as far as they say so.
type Graph struct {
	// Syncs are what engines apply.
	Syncs []Sync
	// Unknown are the objects of which nobody can tell what they apply.
	Unknown []engine.Unknown
	// Folders are the kustomizations by their paths from the root of the
	// repository, each with the functions of clusterpair that building it runs.
	Folders map[string][]engine.Function
	// Strays are the configs with the annotation of a function that no
	// kustomization lists as one.
	Strays []engine.Function
	// Pairs are the ClusterPairs in files.
	Pairs []Committed
}

// Sync is an object that makes an engine apply a folder of the repository.
type Sync struct {
	*engine.Sync
	// Pairs are the paths of the encrypted ClusterPairs that it applies.
	Pairs []string
	// Functions are those of clusterpair that building the folder runs.
	Functions []engine.Function
}

// Committed is a ClusterPair in a file.
type Committed struct {
	ID, File, Path string
	Encrypted      bool
	// Applications are the ways in which engines apply it.
	Applications []engine.Application
	// Applied says that one of the syncs applies it, be it through a function.
	Applied bool
}

// Graph is that of all files so far.
func (v *Validator) Graph() *Graph {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.repo.graph(v.repo.modelled(&v.options))
}

func (r *repository) graph(m *engine.Model) *Graph {
	g := &Graph{Folders: m.Built(), Strays: m.Strays(), Unknown: m.Unknown}
	own := m.Functions()
	running := make(map[string]bool) // folders with functions that are applied
	for _, s := range m.Syncs {
		out := Sync{Sync: s, Functions: m.FunctionsOf(s, own)}
		for _, f := range out.Functions {
			running[f.Dir] = true
		}
		for i := range r.pairs {
			if p := &r.pairs[i]; p.encrypted && m.Applies(s, p.path) {
				out.Pairs = append(out.Pairs, p.path)
			}
		}
		g.Syncs = append(g.Syncs, out)
	}
	for i := range r.pairs {
		p := &r.pairs[i]
		c := Committed{ID: p.id(), File: p.file, Path: p.path, Encrypted: p.encrypted}
		for _, s := range m.Syncs {
			if a, ok := m.Application(s, p.path); ok {
				c.Applications = append(c.Applications, a)
			}
		}
		c.Applied = len(c.Applications) > 0
		for dir := range running { // its function decrypts or renders the pair
			c.Applied = c.Applied || engine.Below(p.path, dir)
		}
		g.Pairs = append(g.Pairs, c)
	}
	slices.SortFunc(g.Pairs, func(a, b Committed) int { return strings.Compare(a.Path, b.Path) })
	return g
}

// modelled is the model of the engines for the pairs so far.
func (r *repository) modelled(o *Options) *engine.Model {
	pairs := make([]engine.Pair, len(r.pairs))
	for i := range r.pairs {
		pairs[i] = engine.Pair{Path: r.pairs[i].path, Encrypted: r.pairs[i].encrypted}
	}
	return r.engines.Model(pairs, o.Remotes)
}
