package engine

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore/gitignore"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// Engine is what applies files.
type Engine string

// The engines that are known. All but Flux and Argo CD decrypt nothing.
const (
	Flux    Engine = "Flux"
	ArgoCD  Engine = "Argo CD"
	Helm    Engine = "Helm"
	Fleet   Engine = "Rancher Fleet"
	Sveltos Engine = "Sveltos"
	OCM     Engine = "Open Cluster Management"
	Kargo   Engine = "Kargo"
)

// Sync is an object that makes an engine apply a folder, in one of the forms that the
// objects above it give it.
type Sync struct {
	Engine Engine
	Object string // kind, namespace and name
	File   string // its own path
	At     report.Position
	Path   string // of the folder, from the root of the repository
	// Decrypts says that it asks for decryption, or names a plugin; Secret is the
	// Secret with the key of Flux, NAMESPACE/NAME, and Plugin that of Argo CD.
	Decrypts       bool
	Secret, Plugin string
	// Healthy says that it waits for the status of ClusterPairs, Prunes that it removes
	// what its folder no longer has.
	Healthy, Prunes bool
	// Alone says that what it applies has other names, goes to another cluster, or is
	// not applied now; Suspended that the engine does not look at it.
	Alone, Suspended bool
	// Idle is why it does not get into the cluster, empty if it does.
	Idle string
	// Unlisted says that it stands in the folder of a kustomization and none takes it in.
	Unlisted bool
	// Hydrates says that it commits what it renders to Git.
	Hydrates bool
	// Unsure is why nobody can tell whether it applies the folder; empty if it does.
	Unsure string
	// Targets tell by which clusters an Application goes to, as [argoset.Target] does.
	Targets []string
	// Dirs are the folders of the kustomizations that it builds.
	Dirs map[string]bool

	source           *source // of Flux, nil if it is not in these files
	recursive        bool    // folders below count without a kustomization
	plain            bool    // files count by themselves, whatever kustomizations there are
	chart            bool    // the folder is a Helm chart
	include, exclude string
	components       []string
	patches          []patch
	metadata         []metadata
	ignores          []ignoring
	replaces         bool              // Argo CD replaces each object
	generatePaths    Reference         // where Argo CD looks for changes; no name is everywhere
	refused          says              // why the engine applies nothing of it
	stranger         *says             // the same, if a config or fleet is why; nil is not known yet
	substitute       map[string]string // nil if nothing is substituted
	ways             map[string]*way   // of the files that kustomizations take in
}

// way is how a kustomization takes in a file.
type way struct {
	chain []*Kustomization // the innermost first
	by    string           // the generator that decrypts it
}

// Unknown is an object of which nobody can tell from the files what it applies.
type Unknown struct {
	Engine Engine
	Object string
	At     report.Position
	Why    string
}

// Pair is a ClusterPair in a file.
type Pair struct {
	ID        string // NAMESPACE/NAME
	File      string // what findings call it
	Path      string // of the file, from the root of the repository
	Encrypted bool
}

// Model is how the files of a repository are built and applied.
type Model struct {
	// Syncs are the objects that apply folders of this repository, sorted by their places.
	Syncs []*Sync
	// Unknown are those of which nobody can tell.
	Unknown []Unknown
	// Foreign are those that apply folders of another repository.
	Foreign []Unknown

	fruitless   bool // an object makes no Application of a folder here
	notes       *Notes
	pairs       []Pair
	remotes     func() []string
	ours        map[string]bool
	dirs        map[string]*Kustomization
	folders     map[string]bool
	holds       map[string]bool // folders with a file to apply
	asked       []string        // files of pairs and objects, sorted: what else is taken in does not matter
	index       index           // of Syncs
	sorted      []string        // the keys of dirs
	strangers   []stranger
	forBuilds   []string                    // files that are for kustomize alone, and say their kind, sorted
	takers      map[string][]*Kustomization // by the file or folder that they take in
	charts      map[string]bool
	configs     map[string][]*Config // by file
	ignore      []ignoreRule         // of .sourceignore files
	patchesOnly map[string]bool      // nil as long as nobody has asked
	usual       gitignore.Matcher    // what Flux leaves out by itself
}

// Model is that of all that has been noted, with the pairs of the files. remotes are the
// URLs by which Git knows the repository, asked for where objects name several; it may be nil.
func (n *Notes) Model(pairs []Pair, remotes func() []string) *Model {
	m := &Model{notes: n, pairs: pairs, remotes: remotes, dirs: make(map[string]*Kustomization, len(n.Kustomizations)), folders: map[string]bool{".": true}, holds: make(map[string]bool), asked: make([]string, 0, len(pairs)+len(n.objects)),
		takers: make(map[string][]*Kustomization), charts: make(map[string]bool), configs: make(map[string][]*Config)}
	for i := range n.Kustomizations {
		k := &n.Kustomizations[i]
		m.dirs[k.Dir] = k
		if k.typed {
			m.forBuilds = append(m.forBuilds, k.file)
		}
		m.folder(k.Dir)
		m.holds[k.Dir] = k.Dir != "."
	}
	m.sorted = slices.Sorted(maps.Keys(m.dirs))
	for _, dir := range m.sorted {
		for i, resource := range m.dirs[dir].Resources {
			if to := m.real(resource); m.dirs[to] != nil { // kustomize follows links to bases
				m.dirs[dir].Resources[i], resource = to, to
			}
			m.takers[resource] = append(m.takers[resource], m.dirs[dir])
		}
	}
	for i := range n.Configs {
		c := &n.Configs[i]
		m.configs[c.Path] = append(m.configs[c.Path], c)
		m.forBuilds = append(m.forBuilds, c.Path)
		m.folder(path.Dir(c.Path))
	}
	for i := range n.fleets {
		m.forBuilds = append(m.forBuilds, n.fleets[i].Name)
	}
	slices.Sort(m.forBuilds)
	m.strangers = n.strangers()
	for _, dir := range n.charts {
		m.charts[dir] = true
		m.folder(dir)
	}
	for i := range pairs {
		dir := path.Dir(pairs[i].Path)
		m.folder(dir)
		m.holds[dir] = dir != "."
		m.asked = append(m.asked, pairs[i].Path)
	}
	for i := range n.objects {
		m.folder(path.Dir(n.objects[i].path))
		m.asked = append(m.asked, n.objects[i].path)
	}
	slices.Sort(m.asked)
	slices.SortStableFunc(n.pairs, func(a, b pairStub) int { return strings.Compare(a.path, b.path) })
	m.noteIgnores()
	m.findOwn()
	m.form()
	return m
}

// stub is the first ClusterPair of a file, nil if it has none.
func (m *Model) stub(file string) *pairStub {
	i, found := slices.BinarySearchFunc(m.notes.pairs, file, func(p pairStub, file string) int { return strings.Compare(p.path, file) })
	if !found {
		return nil
	}
	return &m.notes.pairs[i]
}

// real is a path without the symbolic links on the way to it.
func (m *Model) real(file string) string {
	if len(m.notes.linked) == 0 {
		return file
	}
	const most = 40 // as in Linux
	for range most {
		link := file
		for link != "." && link != "/" && m.notes.linked[link] == "" {
			link = path.Dir(link)
		}
		to := m.notes.linked[link]
		if to == "" {
			return file
		}
		file = path.Join(to, strings.TrimPrefix(file, link))
	}
	return file
}

// folder notes that a folder is here, with those around it.
func (m *Model) folder(dir string) {
	for !m.folders[dir] && dir != "/" {
		m.folders[dir] = true
		dir = path.Dir(dir)
	}
}

// PostQuantum tells whether the releases of Flux that are committed all read post-quantum
// keys, or none of them does. Neither is so if there is no release.
func (m *Model) PostQuantum() (all, none bool) {
	known := len(m.notes.fluxes) > 0
	return known && !slices.Contains(m.notes.fluxes, false), known && !slices.Contains(m.notes.fluxes, true)
}

// Kustomization is that of a folder, nil if there is none.
func (m *Model) Kustomization(dir string) *Kustomization { return m.dirs[dir] }

// Pairs are the ClusterPairs in files.
func (m *Model) Pairs() []Pair { return m.pairs }

// Dirs are the folders of all kustomizations, sorted.
func (m *Model) Dirs() []string { return m.sorted }

// Walk visits the files that a kustomization takes in, with those of its bases. seen gets
// the folders of the kustomizations, and leaves out those that it has.
func (m *Model) Walk(k *Kustomization, seen map[string]bool, visit func(file string)) {
	m.walk(k, seen, nil, func(file string, _ []*Kustomization, by string) {
		if by == "" {
			visit(file)
		}
	})
}

func (m *Model) walk(k *Kustomization, seen map[string]bool, above []*Kustomization, visit func(file string, chain []*Kustomization, by string)) {
	if seen[k.Dir] {
		return
	}
	seen[k.Dir] = true
	chain := append([]*Kustomization{k}, above...)
	for _, resource := range k.Resources {
		if base := m.dirs[resource]; base != nil {
			m.walk(base, seen, chain, visit)
		} else {
			visit(resource, chain, "")
		}
	}
	for _, generator := range k.Generators {
		for _, file := range m.notes.ksops[generator] {
			visit(file, chain, "KSOPS")
		}
	}
	for _, c := range m.functionsOf(k) {
		for _, file := range c.Files {
			visit(path.Join(k.Dir, strings.TrimPrefix(file, path.Dir(c.Path)+"/")), chain, c.Kind+" "+c.Name)
		}
	}
}

// Roots gives for each file that a kustomization takes in the folders of those that no
// other builds on.
func (m *Model) Roots() map[string][]string {
	roots := make(map[string][]string)
	for _, dir := range m.Dirs() {
		if len(m.takers[dir]) > 0 {
			continue
		}
		alone := []string{dir}
		m.Walk(m.dirs[dir], make(map[string]bool), func(file string) {
			if known := roots[file]; known == nil {
				roots[file] = alone
			} else if !slices.Contains(known, dir) {
				roots[file] = append(slices.Clone(known), dir)
			}
		})
	}
	return roots
}

// Functions are the functions of clusterpair that each kustomization lists, by its folder.
func (m *Model) Functions() map[string][]Function {
	own := make(map[string][]Function)
	for dir, k := range m.dirs {
		for _, c := range m.functionsOf(k) {
			f := c.Function
			f.Dir = dir
			own[dir] = append(own[dir], f)
		}
	}
	return own
}

// ListedFleets are the fleets that a kustomization lists, as if it could build them.
func (m *Model) ListedFleets() (listed []report.Position) {
	for _, k := range m.dirs {
		listed = append(listed, k.fleets...)
		for _, f := range m.notes.fleets {
			if slices.Contains(k.Functions, f.Name) || !f.local && slices.Contains(k.Resources, f.Name) {
				listed = append(listed, f.At)
			}
		}
	}
	return listed
}

// functionsOf are the configs that a kustomization lists.
func (m *Model) functionsOf(k *Kustomization) []*Config {
	var all []*Config
	for i := range k.Inline {
		all = append(all, &k.Inline[i])
	}
	for _, file := range k.Functions {
		all = append(all, m.configs[file]...)
		if base := m.dirs[file]; base != nil && base != k { // a kustomization of configs
			for _, resource := range m.taken(base) {
				all = append(all, m.configs[resource]...)
			}
		}
	}
	return all
}

// taken are the files that a kustomization takes in, without those of generators.
func (m *Model) taken(k *Kustomization) (files []string) {
	seen := make(map[string]bool)
	var walk func(k *Kustomization)
	walk = func(k *Kustomization) {
		if seen[k.Dir] {
			return
		}
		seen[k.Dir] = true
		for _, resource := range k.Resources {
			if base := m.dirs[resource]; base != nil {
				walk(base)
			} else {
				files = append(files, resource)
			}
		}
	}
	walk(k)
	return files
}

// cover finds out what a sync applies.
func (m *Model) cover(s *Sync) {
	s.Dirs, s.ways = make(map[string]bool), make(map[string]*way)
	visit := func(file string, chain []*Kustomization, by string) {
		if _, asked := slices.BinarySearch(m.asked, file); asked && s.ways[file] == nil {
			s.ways[file] = &way{chain, by}
		}
	}
	switch k := m.dirs[s.Path]; {
	case s.chart, s.plain:
	case k != nil:
		m.walk(k, s.Dirs, nil, visit)
	case s.recursive:
		for _, dir := range below(m.sorted, s.Path) {
			if !m.between(dir, s.Path) {
				m.walk(m.dirs[dir], s.Dirs, nil, visit)
			}
		}
	}
	for _, component := range s.components {
		if k := m.dirs[path.Join(s.Path, component)]; k != nil {
			m.walk(k, s.Dirs, nil, visit)
		}
	}
	if s.Engine == ArgoCD {
		m.restrict(s)
	}
}

// TakesIn tells whether a sync applies a file by itself: where no kustomization is, all
// files count, those of folders below if it says so.
func (m *Model) TakesIn(s *Sync, file string) bool {
	dir := path.Dir(file)
	switch {
	case s.chart:
		return Below(file, path.Join(s.Path, "templates"))
	case s.plain:
		if !readAlone(s.Engine, path.Ext(file)) || m.notes.marked[file] || dir != s.Path && !(s.recursive && Below(dir, s.Path)) {
			return false
		}
	case !readAlone(s.Engine, path.Ext(file)), m.dirs[dir] != nil, dir != s.Path && !(s.recursive && Below(dir, s.Path) && !m.between(dir, s.Path)):
		return false
	}
	name := strings.TrimPrefix(strings.TrimPrefix(file, s.Path), "/")
	return (s.include == "" || pattern.Glob(s.include, name)) && (s.exclude == "" || !pattern.Glob(s.exclude, name))
}

// readAlone tells whether an engine reads files with an extension where no kustomization
// lists them.
// https://github.com/fluxcd/pkg/blob/e2cfd1a2/kustomize/kustomize_generator.go
func readAlone(e Engine, extension string) bool {
	return extension == ".yaml" || extension == ".yml" || extension == ".json" && e != Flux
}

// between tells whether there is a kustomization above a folder, at or below top: what
// stands in the folder counts only as far as that one takes it in.
// https://github.com/fluxcd/pkg/blob/e2cfd1a2/kustomize/kustomize_generator.go
func (m *Model) between(dir, top string) bool {
	for dir != top && dir != "." && dir != "/" {
		if dir = path.Dir(dir); m.dirs[dir] != nil && (dir == top || Below(dir, top)) {
			return true
		}
	}
	return false
}

// Applies tells whether a sync applies the object in a file.
func (m *Model) Applies(s *Sync, file string) bool {
	return s.ways[file] != nil || m.TakesIn(s, file)
}

// index finds the syncs that may apply a file.
type index struct {
	files   map[string][]*Sync // that kustomizations take in
	folders map[string][]*Sync // by their paths, if they take in files by themselves
}

func (m *Model) indexed(syncs []*Sync) index {
	x := index{make(map[string][]*Sync), make(map[string][]*Sync)}
	for _, s := range syncs {
		for file := range s.ways {
			x.files[file] = append(x.files[file], s)
		}
		if s.chart || s.plain || m.dirs[s.Path] == nil {
			x.folders[s.Path] = append(x.folders[s.Path], s)
		}
	}
	return x
}

// around are the syncs of the folders around a file.
func (x index) around(file string) (syncs []*Sync) {
	for dir := path.Dir(file); ; dir = path.Dir(dir) {
		if syncs = append(syncs, x.folders[dir]...); dir == "." || dir == "/" {
			return syncs
		}
	}
}

// Applying are the syncs that apply the object in a file.
func (m *Model) Applying(file string) []*Sync { return m.applying(m.index, file) }

func (m *Model) applying(x index, file string) []*Sync {
	syncs := slices.Clone(x.files[file])
	for _, s := range x.around(file) {
		if s.ways[file] == nil && m.TakesIn(s, file) {
			syncs = append(syncs, s)
		}
	}
	return syncs
}

// decrypts tells whether one of the kustomizations that a sync builds has a generator
// that decrypts, and names it.
func (m *Model) decrypts(s *Sync) string {
	for _, dir := range slices.Sorted(maps.Keys(s.Dirs)) {
		k := m.dirs[dir]
		for _, c := range m.functionsOf(k) {
			if c.Kind == generator.DecryptorKind {
				return c.Kind + " " + c.Name
			}
		}
		for _, file := range k.Generators {
			if _, known := m.notes.ksops[file]; known || strings.Contains(path.Base(file), "ksops") || strings.Contains(file, "\n") && strings.Contains(file, "ksops") {
				return "KSOPS"
			}
		}
		for i := range m.notes.Configs {
			if c := &m.notes.Configs[i]; c.Kind == generator.DecryptorKind && c.Dir == dir {
				return c.Kind + " " + c.Name
			}
		}
	}
	return ""
}

// PatchesOnly are the files that are patches and nothing else, and whether each may be
// one of a ClusterPair by the target that its kustomization names.
func (m *Model) PatchesOnly() map[string]bool {
	patches := make(map[string]bool)
	note := func(all []PatchFile) {
		for _, p := range all {
			patches[p.Path] = patches[p.Path] || p.Pairs
		}
	}
	for i := range m.notes.Kustomizations {
		note(m.notes.Kustomizations[i].Patches)
	}
	note(m.notes.PatchFiles)
	maps.DeleteFunc(patches, func(file string, _ bool) bool {
		return len(m.takers[file]) > 0 || slices.ContainsFunc(m.index.around(file), func(s *Sync) bool { return m.TakesIn(s, file) })
	})
	return patches
}

// Patched are the files that a patch in a file may change: those of the kustomizations
// that list it, or build on one that does.
func (m *Model) Patched(patch string) map[string]bool {
	patched := make(map[string]bool)
	for _, root := range m.dirs {
		dirs, files := make(map[string]bool), make(map[string]bool)
		m.Walk(root, dirs, func(file string) { files[file] = true })
		for dir := range dirs {
			if slices.ContainsFunc(m.dirs[dir].Patches, func(p PatchFile) bool { return p.Path == patch }) {
				maps.Copy(patched, files)
				break
			}
		}
	}
	return patched
}

// change does to an object what the kustomizations of a chain do, the innermost first.
func (m *Model) change(object *yaml.Node, chain []*Kustomization) {
	for _, k := range chain {
		m.changeBy(object, k, make(map[string]bool), func(report.Position) {})
	}
}

// changeLast does what a sync adds to the kustomization that it builds.
func (m *Model) changeLast(object *yaml.Node, s *Sync, done func(report.Position)) {
	for _, component := range s.components {
		if k := m.dirs[path.Join(s.Path, component)]; k != nil {
			m.changeBy(object, k, make(map[string]bool), done)
		}
	}
	for _, p := range s.patches {
		p.apply(object, m.notes.patches)
		done(p.at)
	}
}

// changeBy does what one kustomization does, with its components; done gets the place of
// each change.
func (m *Model) changeBy(object *yaml.Node, k *Kustomization, seen map[string]bool, done func(report.Position)) {
	if seen[k.Dir] {
		return
	}
	seen[k.Dir] = true
	for _, component := range k.Components {
		if c := m.dirs[component]; c != nil {
			m.changeBy(object, c, seen, done)
		}
	}
	change := func(patches []patch, metadata []metadata) {
		for _, p := range patches {
			p.apply(object, m.notes.patches)
			done(p.at)
		}
		for _, add := range metadata {
			add.to(object)
			done(add.at)
		}
	}
	change(k.patches, k.metadata)
	k.rename(object)
	for _, t := range k.inlineTransformers {
		change(t.patches, t.metadata)
	}
	for _, file := range k.Transformers {
		files := []string{file}
		if base := m.dirs[file]; base != nil && base != k {
			files = m.taken(base)
		}
		for _, file := range files {
			for _, t := range m.notes.transformers[file] {
				change(t.patches, t.metadata)
			}
		}
	}
}
