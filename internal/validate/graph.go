package validate

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// Graph is how the files of a run are built and applied, as far as they say so.
type Graph struct {
	// Syncs are what Flux and Argo CD apply.
	Syncs []Sync
	// Folders are the kustomizations by their paths from the root of the
	// repository, each with the functions of clusterpair that building it runs.
	Folders map[string][]Function
	// Strays are the configs with the annotation of a function that no
	// kustomization lists as one.
	Strays []Function
	// Pairs are the ClusterPairs in files.
	Pairs []Committed
	// Open says that there are more syncs, whose folders these files do not tell.
	Open bool
}

// Sync is an object that makes Flux or Argo CD apply a folder of the repository.
type Sync struct {
	Object string // kind, namespace and name
	At     report.Position
	Path   string // of the folder, from the root of the repository
	Flux   bool   // else it is of Argo CD
	// Decrypts says that it asks for decryption, or names a plugin; Secret is the
	// Secret with the key of Flux, NAMESPACE/NAME, and Plugin that of Argo CD.
	Decrypts       bool
	Secret, Plugin string
	// Suspended says that Flux does not look at it now, Unlisted that it stands in
	// the folder of a kustomization and none takes it in.
	Suspended, Unlisted bool
	// Pairs are the paths of the encrypted ClusterPairs that it applies.
	Pairs []string
	// Functions are those of clusterpair that building the folder runs.
	Functions []Function
}

// Function is a function config of clusterpair.
type Function struct {
	Kind, Name string
	At         report.Position
	// Dir is the folder of the kustomization that lists it; of a stray one, its own.
	Dir string
	// Exec is the program that the annotation names, Image the image of a
	// container; both are empty where there is no such annotation.
	Exec, Image string
	// Resource says that a kustomization lists a stray one among its resources.
	Resource bool
}

// Committed is a ClusterPair in a file.
type Committed struct {
	ID, File, Path string
	Encrypted      bool
	// Applied says that one of the syncs applies it.
	Applied bool
}

// config is a function config of clusterpair.
type config struct {
	path string
	Function
	output string          // relative to the kustomization
	writes bool            // it names its output: its pairs are to be files
	listed map[string]bool // NAMESPACE/NAME; nil with a selector
}

func isConfig(n *yaml.Node) bool {
	return manifest.Text(n, "apiVersion") == generator.APIVersion &&
		slices.Contains([]string{generator.GeneratorKind, generator.DecryptorKind, generator.ValidatorKind}, manifest.Text(n, "kind"))
}

// configOf is the config in a document of a file.
// https://kubectl.docs.kubernetes.io/guides/extending_kustomize/exec_krm_functions/
func configOf(n *yaml.Node, file string, at report.Position) config {
	c := config{path: file, Function: Function{Kind: noted(n, "kind"), Name: noted(n, "metadata", "name"), At: at, Dir: path.Dir(file)}}
	if c.Kind == generator.GeneratorKind {
		c.writes = noted(n, "spec", "output") != ""
		if c.output = cmp.Or(noted(n, "spec", "output"), "rendered"); manifest.Field(n, "spec", "selector") == nil {
			c.listed = make(map[string]bool)
			for id := range generator.Listed(n) {
				c.listed[strings.Clone(id)] = true
			}
		}
	}
	for _, name := range []string{"config.kubernetes.io/function", "config.k8s.io/function"} {
		var runs struct {
			Exec struct {
				Path string `yaml:"path"`
			} `yaml:"exec"`
			Container struct {
				Image string `yaml:"image"`
			} `yaml:"container"`
		}
		if text := manifest.Text(n, "metadata", "annotations", name); text != "" && yaml.Unmarshal([]byte(text), &runs) == nil {
			c.Exec, c.Image = runs.Exec.Path, runs.Container.Image
			break
		}
	}
	return c
}

// Graph is that of all files so far.
func (v *Validator) Graph() *Graph {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.repo.graph()
}

func (r *repository) graph() *Graph {
	g := &Graph{Folders: make(map[string][]Function), Open: r.open}
	byDir := r.byDir()
	own := r.functions(byDir)
	resources := make(map[string]bool)
	for dir, k := range byDir {
		seen := make(map[string]bool)
		r.walk(byDir, k, seen, func(file string) { resources[file] = true })
		g.Folders[dir] = nil
		for _, below := range slices.Sorted(maps.Keys(seen)) {
			g.Folders[dir] = append(g.Folders[dir], own[below]...)
		}
	}
	applied := make(map[string]bool) // paths of pairs
	running := make(map[string]bool) // folders with functions that are applied
	sync := func(s *syncing, flux bool) {
		pairs, seen := r.covered(s, byDir)
		out := Sync{Object: s.object, At: s.at, Path: s.path, Flux: flux, Decrypts: s.decrypts, Secret: s.secret, Plugin: s.plugin,
			Suspended: s.suspended, Unlisted: byDir[path.Dir(s.file)] != nil && !resources[s.file]}
		for _, p := range pairs {
			applied[p.path] = true
			if p.encrypted {
				out.Pairs = append(out.Pairs, p.path)
			}
		}
		for _, dir := range slices.Sorted(maps.Keys(seen)) {
			if out.Functions = append(out.Functions, own[dir]...); len(own[dir]) > 0 {
				running[dir] = true
			}
		}
		g.Syncs = append(g.Syncs, out)
	}
	for i := range r.fluxes {
		sync(&r.fluxes[i], true)
	}
	for i := range r.apps {
		sync(&r.apps[i], false)
	}
	slices.SortFunc(g.Syncs, func(a, b Sync) int { return comparePositions(a.At, b.At) })

	listed := make(map[report.Position]bool)
	for dir := range byDir {
		for _, f := range own[dir] {
			listed[f.At] = true
		}
	}
	for _, c := range r.configs {
		if c.Exec+c.Image != "" && !listed[c.At] {
			c.Resource = resources[c.path]
			g.Strays = append(g.Strays, c.Function)
		}
	}
	slices.SortFunc(g.Strays, func(a, b Function) int { return comparePositions(a.At, b.At) })

	for i := range r.pairs {
		p := &r.pairs[i]
		c := Committed{ID: p.id(), File: p.file, Path: p.path, Encrypted: p.encrypted, Applied: applied[p.path]}
		for dir := range running { // its function decrypts or renders the pair
			c.Applied = c.Applied || below(p.path, dir)
		}
		g.Pairs = append(g.Pairs, c)
	}
	slices.SortFunc(g.Pairs, func(a, b Committed) int { return strings.Compare(a.Path, b.Path) })
	return g
}

// functions are the functions of clusterpair that each kustomization lists.
func (r *repository) functions(byDir map[string]*kustomization) map[string][]Function {
	byFile := make(map[string][]config)
	for _, c := range r.configs {
		byFile[c.path] = append(byFile[c.path], c)
	}
	own := make(map[string][]Function)
	for dir, k := range byDir {
		list := func(configs []config) {
			for _, c := range configs {
				c.Dir = dir
				own[dir] = append(own[dir], c.Function)
			}
		}
		list(k.inline)
		for _, file := range k.functions {
			list(byFile[file])
			if base := byDir[file]; base != nil { // a kustomization of configs
				r.walk(byDir, base, make(map[string]bool), func(file string) { list(byFile[file]) })
			}
		}
	}
	return own
}
