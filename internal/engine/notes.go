package engine

import (
	"bytes"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/report"
)

// Document is a document of a file.
type Document struct {
	Path string // of the file, from the root of the repository, with slashes
	Name string // what findings call the file
	Node *yaml.Node
}

func (d *Document) at(n *yaml.Node) report.Position {
	return manifest.Position(n, d.Name)
}

// head is where an object begins: at its kind.
func (d *Document) head() report.Position {
	if kind := manifest.Field(d.Node, "kind"); kind != nil {
		return d.at(kind)
	}
	return d.at(d.Node)
}

// Reference is a name, and where it stands.
type Reference struct {
	Name string
	At   report.Position
}

func (d *Document) reference(n *yaml.Node, keys ...string) Reference {
	v := manifest.Field(n, keys...)
	if v == nil || v.Kind != yaml.ScalarNode {
		return Reference{}
	}
	return Reference{strings.Clone(v.Value), d.at(v)}
}

// Notes are what documents say about how files are applied. The zero value knows of none.
type Notes struct {
	// Kustomizations are those of kustomize, Configs the function configs of
	// clusterpair that stand in files of their own.
	Kustomizations []Kustomization
	Configs        []Config
	// fleets are those of clusterpair.
	fleets []stranger
	// PatchFiles are those of transformers that stand in files of their own.
	PatchFiles   []PatchFile
	objects      []object
	sources      []source
	patches      map[string][]stored      // that may be patches, by file
	transformers map[string][]transformer // of kustomize itself, by file
	ksops        map[string][]string      // files that a generator of KSOPS decrypts, by its own
	charts       []string                 // folders of Helm charts
	ignores      []ignoreFile             // of Flux
	pairs        []pairStub               // the metadata of ClusterPairs
	links        []string                 // files of ClusterPairs that are symbolic links
	linked       map[string]string        // what symbolic links lead to, by their paths
	broken       map[string]bool          // symbolic links to nothing
	leaving      []Reference              // symbolic links that lead out of the repository
	marked       map[string]bool          // files that Argo CD passes over by a mark in them
	overrides    map[string][]stored      // of sources of Argo CD, by file
	options      []string                 // for kustomize of Argo CD
	fluxes       []bool                   // of each Flux whose release is committed, whether it reads post-quantum keys
}

// pairStub is the metadata of a ClusterPair in a file.
type pairStub struct {
	stored
	says bool // it says more than its name
}

// object is one that makes an engine apply files.
type object struct {
	stored
	engine Engine
	kind   string
}

// Merge adds what others have noted.
func (n *Notes) Merge(o Notes) {
	n.Kustomizations = append(n.Kustomizations, o.Kustomizations...)
	n.Configs = append(n.Configs, o.Configs...)
	n.fleets = append(n.fleets, o.fleets...)
	n.PatchFiles = append(n.PatchFiles, o.PatchFiles...)
	n.objects = append(n.objects, o.objects...)
	n.sources = append(n.sources, o.sources...)
	n.charts = append(n.charts, o.charts...)
	n.links = append(n.links, o.links...)
	n.pairs = append(n.pairs, o.pairs...)
	n.ignores = append(n.ignores, o.ignores...)
	n.fluxes = append(n.fluxes, o.fluxes...)
	n.leaving = append(n.leaving, o.leaving...)
	n.options = append(n.options, o.options...)
	n.linked = merged(n.linked, o.linked)
	n.broken = merged(n.broken, o.broken)
	n.marked = merged(n.marked, o.marked)
	n.overrides = merged(n.overrides, o.overrides)
	for _, docs := range o.patches {
		n.notePatch(docs...)
	}
	for file, files := range o.ksops {
		n.noteKSOPS(file, files)
	}
	for file, more := range o.transformers {
		n.noteTransformers(file, more...)
	}
}

// merged is a map with what another one has.
func merged[T any](m, more map[string]T) map[string]T {
	if m == nil {
		return more
	}
	maps.Copy(m, more)
	return m
}

func (n *Notes) notePatch(docs ...stored) {
	for _, d := range docs {
		n.patches = noted(n.patches, d.path, d)
	}
}

func (n *Notes) noteTransformers(file string, more ...transformer) {
	n.transformers = noted(n.transformers, file, more...)
}

func (n *Notes) noteKSOPS(file string, files []string) { n.ksops = noted(n.ksops, file, files...) }

// noted is a map, made if there is none, with more of a file in it.
func noted[T any](m map[string][]T, file string, more ...T) map[string][]T {
	if m == nil {
		m = make(map[string][]T)
	}
	m[file] = append(m[file], more...)
	return m
}

// Objects tells whether there are objects that make an engine apply files.
func (n *Notes) Objects() bool { return len(n.objects) > 0 }

// Saw notes what a file says to engines by its name and as a text; name is what findings
// call it. says tells whether it is worth reading for its name alone.
func (n *Notes) Saw(file, name string, data []byte) (says bool) {
	if bytes.Contains(data, []byte("+argocd:skip-file-rendering")) {
		n.marked = merged(map[string]bool{file: true}, n.marked)
	}
	if bytes.Contains(data, []byte("uildOptions")) {
		for _, o := range BuildOptions(data) {
			n.options = append(n.options, strings.Clone(o.Flags))
		}
		says = len(n.options) > 0
	}
	switch base := path.Base(file); {
	case base == "Chart.yaml":
		n.charts = append(n.charts, path.Dir(file))
	case base == IgnoreFile:
		n.sawIgnore(file, name, data)
	case !IsKustomization(file) && !isOverride(file):
		return says
	}
	return true
}

// AddLink notes a symbolic link by its path and by what it says that it leads to; name is
// what findings call it, broken says that it leads to nothing.
func (n *Notes) AddLink(file, name, target string, broken bool) {
	if broken {
		n.broken = merged(map[string]bool{file: true}, n.broken)
	}
	to := path.Join(path.Dir(file), target)
	if path.IsAbs(target) || to == ".." || strings.HasPrefix(to, "../") {
		n.leaving = append(n.leaving, Reference{file, report.Position{File: name}})
	} else {
		n.linked = merged(map[string]string{file: to}, n.linked)
	}
}

// kinds are those of engines that stand in the files of repositories, by group and kind,
// with how each is noted.
var kinds = map[string]func(n *Notes, d Document, kind string){
	"kustomize.toolkit.fluxcd.io/Kustomization":     func(n *Notes, d Document, kind string) { n.addObject(d, Flux, kind) },
	"fluxcd.controlplane.io/FluxInstance":           func(n *Notes, d Document, _ string) { n.fluxInstance(d) },
	"helm.toolkit.fluxcd.io/HelmRelease":            func(n *Notes, d Document, kind string) { n.addObject(d, Helm, kind) },
	"argoproj.io/Application":                       func(n *Notes, d Document, kind string) { n.addObject(d, ArgoCD, kind) },
	"argoproj.io/ApplicationSet":                    func(n *Notes, d Document, kind string) { n.addObject(d, ArgoCD, kind) },
	"fleet.cattle.io/GitRepo":                       func(n *Notes, d Document, kind string) { n.addObject(d, Fleet, kind) },
	"config.projectsveltos.io/ClusterProfile":       func(n *Notes, d Document, kind string) { n.addObject(d, Sveltos, kind) },
	"config.projectsveltos.io/Profile":              func(n *Notes, d Document, kind string) { n.addObject(d, Sveltos, kind) },
	"apps.open-cluster-management.io/Subscription":  func(n *Notes, d Document, kind string) { n.addObject(d, OCM, kind) },
	"apps.open-cluster-management.io/Channel":       (*Notes).addSource,
	"kargo.akuity.io/Stage":                         func(n *Notes, d Document, kind string) { n.addObject(d, Kargo, kind) },
	"kargo.akuity.io/PromotionTask":                 func(n *Notes, d Document, kind string) { n.addObject(d, Kargo, kind) },
	"kargo.akuity.io/ClusterPromotionTask":          func(n *Notes, d Document, kind string) { n.addObject(d, Kargo, kind) },
	"source.toolkit.fluxcd.io/GitRepository":        (*Notes).addSource,
	"source.extensions.fluxcd.io/ArtifactGenerator": (*Notes).addSource,
	"viaduct.ai/ksops":                              func(n *Notes, d Document, _ string) { n.addKSOPS(d) },
}

// Add notes a document, and tells whether it is one that an engine or kustomize acts on.
func (n *Notes) Add(d Document) bool {
	kind := manifest.Text(d.Node, "kind")
	group, _, _ := strings.Cut(manifest.Text(d.Node, "apiVersion"), "/")
	note := kinds[group+"/"+kind]
	switch {
	case isOverride(d.Path):
		n.overrides = noted(n.overrides, d.Path, d.stored())
	case note != nil:
		note(n, d, kind)
	case group == "fluxcd.controlplane.io" && kind == "ResourceSet":
		n.resourceSet(d)
	case IsConfig(d.Node):
		n.Configs = append(n.Configs, ConfigOf(d, d.Node, d.head()))
	case group == "kustomize.config.k8s.io" || IsKustomization(d.Path):
		n.Kustomizations = append(n.Kustomizations, kustomizationOf(d))
	case isFleet(d.Node):
		n.fleets = append(n.fleets, stranger{Reference{d.Path, d.head()}, kind + " " + strings.Clone(manifest.Text(d.Node, "metadata", "name")), true, mayBeLocal(d.Node)})
		return false // clusterpair acts on it alone
	default:
		if group == builtin {
			n.noteTransformers(d.Path, d.transformer(d.Node, d.head()))
		}
		if kind == "Deployment" && manifest.Text(d.Node, "metadata", "name") == "kustomize-controller" {
			for _, c := range manifest.Items(d.Node, "spec", "template", "spec", "containers") {
				_, tag, _ := strings.Cut(manifest.Text(c, "image"), "/kustomize-controller:v")
				n.noteFlux(tag, 1)
			}
		}
		if d.Node.Kind == yaml.SequenceNode { // a patch of JSON 6902, if it is one
			n.notePatch(d.stored())
		}
		return false
	}
	return true
}

// noteFlux notes a release by its number, of Flux or of its kustomize-controller: the keys
// are read from 2.9 or 1.9 on, which is major.9.
func (n *Notes) noteFlux(release string, major int) {
	first, rest, _ := strings.Cut(strings.TrimLeft(release, "v=^~>"), ".")
	second, _, _ := strings.Cut(rest, ".")
	got, err := strconv.Atoi(first)
	minor, bad := strconv.Atoi(second) // x is the newest
	if err == nil {
		n.fluxes = append(n.fluxes, got > major || got == major && (bad != nil || minor >= 9))
	}
}

// addKSOPS notes the files that a generator of KSOPS decrypts.
// https://github.com/viaduct-ai/kustomize-sops
func (n *Notes) addKSOPS(d Document) {
	var files []string
	for _, entry := range slices.Concat(manifest.Items(d.Node, "files"), manifest.Items(d.Node, "secretFrom")) {
		for _, f := range append(manifest.Items(entry, "files"), entry) {
			if f.Kind == yaml.ScalarNode {
				files = append(files, path.Join(path.Dir(d.Path), f.Value))
			}
		}
	}
	n.noteKSOPS(d.Path, files)
}

func (n *Notes) addObject(d Document, e Engine, kind string) {
	o := object{d.stored(), e, kind}
	n.objects = append(n.objects, o)
	if e == Flux || e == ArgoCD {
		n.notePatch(o.stored) // which it is where a kustomization calls it so
	}
}

// AddPair notes what a ClusterPair says to engines, which is in its metadata, or whether
// its file is a symbolic link.
func (n *Notes) AddPair(d Document, link bool) {
	if link {
		n.links = append(n.links, d.Path)
	}
	if stub, says := stubOf(d.Node); stub != nil {
		p := pairStub{(&Document{d.Path, d.Name, stub}).stored(), says}
		n.pairs = append(n.pairs, p)
		if says {
			n.notePatch(p.stored) // which it is where a kustomization calls it so
		}
	}
}

// IsKustomization tells whether a file has the name of a kustomization.
func IsKustomization(file string) bool {
	switch path.Base(file) {
	case "kustomization.yaml", "kustomization.yml", "Kustomization":
		return true
	}
	return false
}

// fluxInstance notes the Kustomization that the Flux Operator makes of spec.sync.
// https://fluxcd.control-plane.io/operator/fluxinstance/#sync-configuration
func (n *Notes) fluxInstance(d Document) {
	if release := manifest.Text(d.Node, "spec", "distribution", "version"); release != "" {
		n.noteFlux(release, 2)
	}
	sync := manifest.Field(d.Node, "spec", "sync")
	if sync == nil {
		return
	}
	namespace := manifest.Text(d.Node, "metadata", "namespace")
	name := manifest.Text(sync, "name")
	if name == "" {
		name = namespace
	}
	spec := overlay.Mapping("path", manifest.Field(sync, "path"), "prune", overlay.Scalar("true"),
		"sourceRef", overlay.Mapping("kind", manifest.Field(sync, "kind"), "name", overlay.Scalar(name)))
	made := Document{d.Path, d.Name, overlay.Mapping("apiVersion", overlay.Scalar("kustomize.toolkit.fluxcd.io/v1"), "kind", overlay.Scalar("Kustomization"),
		"metadata", overlay.Mapping("namespace", overlay.Scalar(namespace), "name", overlay.Scalar(name)), "spec", spec)}
	made.Node.Line, made.Node.Column = sync.Line, sync.Column
	for _, patch := range manifest.Items(d.Node, "spec", "kustomize", "patches") {
		d.patchOf(patch).apply(made.Node, nil)
	}
	n.objects = append(n.objects, object{made.stored(), Flux, "FluxInstance"})
	n.sources = append(n.sources, source{kind: manifest.Text(sync, "kind"), id: namespace + "/" + name, path: d.Path, url: repositoryURL(manifest.Text(sync, "url"))})
}

// below are the paths below a folder, of sorted ones.
func below(sorted []string, dir string) []string {
	if dir == "." {
		return sorted
	}
	prefix := dir + "/"
	from, _ := slices.BinarySearch(sorted, prefix)
	to := from
	for to < len(sorted) && strings.HasPrefix(sorted[to], prefix) {
		to++
	}
	return sorted[from:to]
}

// Below tells whether a file or folder is below another folder.
func Below(file, dir string) bool {
	return dir == "." || strings.HasPrefix(file, dir+"/")
}
