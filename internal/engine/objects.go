package engine

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/argoset"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// forming is what is known so far of the forms that objects have.
type forming struct {
	m     *Model
	raw   [][]*Sync // of each object as it stands in its file
	forms [][]*Sync // as the objects above it make it
	begun []bool
	only  map[string]bool // files that are patches and nothing else
	index index           // of raw
	of    map[*Sync]int   // the object of a raw sync
}

// form finds the syncs, in each of the forms that kustomizations and the objects above
// them give to their objects.
func (m *Model) form() {
	objects := m.notes.objects
	f := &forming{m: m, raw: make([][]*Sync, len(objects)), forms: make([][]*Sync, len(objects)), begun: make([]bool, len(objects)), of: make(map[*Sync]int)}
	for i := range objects {
		f.raw[i] = m.syncsOf(&objects[i], objects[i].document().Node)
		for _, s := range f.raw[i] {
			m.cover(s)
			f.of[s] = i
		}
	}
	m.Syncs = slices.Concat(f.raw...)
	f.index = m.indexed(m.Syncs)
	m.index = f.index
	f.only = m.PatchesOnly()
	m.Syncs, m.Unknown, m.Foreign = nil, nil, nil
	for i := range objects {
		if _, isPatch := f.only[objects[i].path]; isPatch {
			continue
		}
		for _, s := range f.formsOf(i) {
			m.note(s)
		}
	}
	slices.SortStableFunc(m.Syncs, func(a, b *Sync) int { return Compare(a.At, b.At) })
	slices.SortStableFunc(m.Unknown, func(a, b Unknown) int { return Compare(a.At, b.At) })
	m.Unknown = slices.Compact(m.Unknown)
	slices.SortStableFunc(m.Foreign, func(a, b Unknown) int { return Compare(a.At, b.At) })
	m.Foreign = slices.Compact(m.Foreign)
	m.index = m.indexed(m.Syncs)
}

// note takes a sync in, by what is known of it.
func (m *Model) note(s *Sync) {
	switch {
	case s.Path == foreignPath:
		m.Foreign = append(m.Foreign, Unknown{s.Engine, s.Object, s.At, "it applies another repository"})
	case s.Path == noPath:
		m.Foreign = append(m.Foreign, Unknown{s.Engine, s.Object, s.At, "it makes an Application of no folder that holds a ClusterPair"})
		m.fruitless = true
	case s.Path == "":
		m.Unknown = append(m.Unknown, Unknown{s.Engine, s.Object, s.At, s.Unsure})
	default:
		if s.Unsure != "" {
			m.Unknown = append(m.Unknown, Unknown{s.Engine, s.Object, s.At, s.Unsure})
		}
		for _, dir := range slices.Sorted(maps.Keys(s.Dirs)) {
			if m.dirs[dir].replaces {
				m.Unknown = append(m.Unknown, Unknown{s.Engine, s.Object, s.At, "a replacement in folder " + dir + " may write annotations by which the engine goes"})
			}
		}
		m.Syncs = append(m.Syncs, s)
	}
}

// foreignPath is that of a sync of another repository; one of which nothing is known has
// none.
const foreignPath = "\x00"

// noPath is that of an object that applies nothing of these files.
const noPath = "\x01"

// formsOf are the syncs of an object in each of its forms.
func (f *forming) formsOf(i int) []*Sync {
	if f.begun[i] { // it applies itself, or an object that applies it
		if f.forms[i] == nil {
			return f.raw[i]
		}
		return f.forms[i]
	}
	f.begun[i] = true
	m, o := f.m, &f.m.notes.objects[i]
	object := o.document().Node
	var forms []*Sync
	known := make(map[string]bool) // by all that a form says
	add := func(node *yaml.Node, by *Sync) {
		idle := ""
		if by != nil {
			node, idle = by.given(node)
		}
		text, err := overlay.JSON(node)
		if key := fmt.Sprint(string(text), idle); err == nil && known[key] {
			return
		} else if err == nil {
			known[key] = true
		}
		for _, s := range m.syncsOf(o, node) {
			m.cover(s)
			s.Idle = cmp.Or(idle, s.Idle)
			if by == nil {
				f.unlisted(s)
			}
			forms = append(forms, s)
		}
	}
	above := false
	var appliers []int
	for _, s := range m.applying(f.index, o.path) {
		appliers = append(appliers, f.of[s])
	}
	slices.Sort(appliers)
	for _, j := range slices.Compact(appliers) {
		for _, s := range f.formsOf(j) {
			if s.Path == foreignPath || s.Path == noPath || !m.Applies(s, o.path) {
				continue
			}
			above = true
			var chain []*Kustomization
			if w := s.ways[o.path]; w != nil {
				chain = w.chain
			}
			add(m.changed(object, chain, s), s)
		}
	}
	if !above {
		chains := m.chains(o.path, make(map[string]bool))
		for _, chain := range chains {
			add(m.changed(object, chain, nil), nil)
		}
		if len(chains) == 0 {
			add(object, nil)
		}
	}
	f.forms[i] = forms
	return forms
}

// unlisted notes why nothing here applies the object of a sync, if its folder says so.
func (f *forming) unlisted(s *Sync) {
	s.Idle = cmp.Or(s.Idle, f.m.passedOver(f.index, s.File))
	s.Unlisted = s.Idle == "" && f.m.dirs[path.Dir(s.File)] != nil && len(f.m.takers[s.File]) == 0
}

// passedOver tells why an object that stands in a folder of Argo CD is not applied, if a
// setting of that leaves its file out.
func (m *Model) passedOver(x index, file string) string {
	for _, s := range x.around(file) {
		if s.plain && readAlone(s.Engine, path.Ext(file)) && (path.Dir(file) == s.Path || s.recursive) {
			return s.Object + " leaves out " + file
		}
	}
	return ""
}

// given is an object as a sync gives it to the cluster after it has built it. idle is why
// it does not, empty if it does.
func (s *Sync) given(node *yaml.Node) (given *yaml.Node, idle string) {
	given = overlay.Copy(node)
	if s.Engine == Flux && s.substitute != nil {
		substituteIn(given, s.substitute)
	}
	for _, add := range s.metadata {
		add.to(given)
	}
	switch kept := (&Application{Keeps: keptBy(s, given)}); {
	case s.Suspended:
		idle = s.Object + " is suspended, which applies it"
	case kept.Never():
		idle = s.Object + " does not apply it: " + kept.Keeps
	default:
		idle = s.Idle
	}
	return given, idle
}

// changed is an object after the kustomizations of a chain, and after what a sync says
// that builds them; it may be nil.
func (m *Model) changed(object *yaml.Node, chain []*Kustomization, s *Sync) *yaml.Node {
	if len(chain) == 0 && (s == nil || len(s.components)+len(s.patches) == 0) {
		return object
	}
	object = overlay.Copy(object)
	m.change(object, chain)
	if s != nil {
		m.changeLast(object, s, func(report.Position) {})
	}
	return object
}

// maxChains bounds the ways that are followed: kustomizations that take in each other in
// layers have more than anybody could look at.
const maxChains = 256

// chains are the ways from a file or folder to the kustomizations that no other builds on.
// on are the folders of the way so far.
func (m *Model) chains(file string, on map[string]bool) (chains [][]*Kustomization) {
	for _, k := range m.takers[file] {
		if on[k.Dir] || len(chains) >= maxChains {
			continue
		}
		on[k.Dir] = true
		above := m.chains(k.Dir, on)
		delete(on, k.Dir)
		if len(above) == 0 {
			chains = append(chains, []*Kustomization{k})
		}
		for _, chain := range above {
			chains = append(chains, append([]*Kustomization{k}, chain...))
		}
	}
	return chains
}

// syncsOf reads an object in one of its forms.
func (m *Model) syncsOf(o *object, node *yaml.Node) []*Sync {
	d := Document{o.path, o.name, node}
	switch o.engine {
	case Flux:
		if o.kind == "ResourceSet" {
			s := d.sync(Flux, o.kind, manifest.Field(node, "spec", "resourcesTemplate"))
			s.Unsure = "its resourcesTemplate is a template"
			return []*Sync{s}
		}
		return []*Sync{m.flux(&d, o.kind)}
	case ArgoCD:
		return m.argo(&d, o.kind)
	}
	return m.other(&d, o)
}

// sync is one of an object, at a value in it.
func (d *Document) sync(e Engine, kind string, at *yaml.Node) *Sync {
	s := &Sync{Engine: e, File: d.Path, At: d.head(),
		Object: kind + " " + strings.Clone(manifest.Text(d.Node, "metadata", "namespace")) + "/" + strings.Clone(manifest.Text(d.Node, "metadata", "name"))}
	if at != nil && at.Line > 0 {
		s.At = d.at(at)
	}
	return s
}

// flux reads a Kustomization of Flux.
// https://fluxcd.io/flux/components/kustomize/kustomizations/
func (m *Model) flux(d *Document, kind string) *Sync {
	if kind == "FluxInstance" {
		kind = "Kustomization"
	}
	n := d.Node
	spec := manifest.Field(n, "spec")
	at := manifest.Field(spec, "path")
	s := d.sync(Flux, kind, at)
	s.recursive = true
	provider := manifest.Text(spec, "decryption", "provider")
	s.Decrypts = provider == "sops"
	if manifest.Field(spec, "decryption") != nil && !s.Decrypts && !argoset.IsTemplate(provider) {
		s.refused = says{fmt.Sprintf("spec.decryption.provider: %q, which no API server takes", provider), d.at(cmp.Or(manifest.Field(spec, "decryption", "provider"), manifest.Field(spec, "decryption"))), "remove it"}
	}
	s.Prunes = manifest.Text(spec, "prune") == "true"
	s.Suspended = manifest.Text(spec, "suspend") == "true"
	s.Alone = s.Suspended || manifest.IsSet(manifest.Field(spec, "kubeConfig"))
	for _, key := range []string{"targetNamespace", "namePrefix", "nameSuffix"} {
		s.Alone = s.Alone || manifest.Text(spec, key) != ""
	}
	if name := manifest.Text(spec, "decryption", "secretRef", "name"); name != "" {
		s.Secret = manifest.Text(n, "metadata", "namespace") + "/" + name
	}
	s.Healthy = waitsForPairs(spec)
	for _, c := range manifest.Items(spec, "components") {
		s.components = append(s.components, c.Value)
	}
	for _, p := range manifest.Items(spec, "patches") {
		s.patches = append(s.patches, d.patchOf(p))
	}
	for _, field := range []string{"annotations", "labels"} {
		s.metadata = append(s.metadata, d.metadata(field, spec, "commonMetadata", field)...)
	}
	for _, entry := range manifest.Items(spec, "ignore") {
		if target := manifest.Field(entry, "target"); target == nil || MayBePair(target) {
			s.addIgnored(d, ignoring{}, manifest.Items(entry, "paths"), pointer)
		}
	}
	s.substitute = variables(manifest.Field(spec, "postBuild"))
	m.fluxPath(s, n, manifest.Text(spec, "path"))
	if s.Unsure == "" && argoset.IsTemplate(provider) {
		s.Unsure = "whether it decrypts is made of variables"
	}
	return s
}

// fluxPath finds the folder that a Kustomization of Flux applies.
func (m *Model) fluxPath(s *Sync, n *yaml.Node, dir string) {
	kind := cmp.Or(manifest.Text(n, "spec", "sourceRef", "kind"), "GitRepository")
	name := manifest.Text(n, "spec", "sourceRef", "name")
	source := m.sourceOf(&Document{Path: s.File, Node: n})
	s.source = source
	switch {
	case argoset.IsTemplate(dir):
		s.Unsure = "its path is made of variables"
		return
	case source != nil && m.foreign(source.url):
		s.Path = foreignPath
		return
	}
	s.Path = cleaned(dir)
	if kind == "GitRepository" {
		return
	}
	if source != nil && len(source.copies) > 0 {
		if here, ok := source.here(s.Path); ok {
			s.Path = here
			return
		}
	}
	s.Unsure = fmt.Sprintf("it applies a folder of %s %s, and only who packs that knows what is in it", kind, name)
	if s.Path == "." || !m.folders[s.Path] { // which says nothing
		s.Path = ""
	}
}

// waitsForPairs tells whether Flux looks at the status of ClusterPairs.
// https://fluxcd.io/flux/components/kustomize/kustomizations/#health-check-expressions
func waitsForPairs(spec *yaml.Node) bool {
	if manifest.Text(spec, "wait") != "true" && len(manifest.Items(spec, "healthChecks")) == 0 {
		return false
	}
	return slices.ContainsFunc(manifest.Items(spec, "healthCheckExprs"), func(e *yaml.Node) bool {
		return manifest.Text(e, "kind") == "ClusterPair" && strings.HasPrefix(manifest.Text(e, "apiVersion"), "stork.libopenstorage.org/") && manifest.Text(e, "current") != ""
	})
}

// variables are those that Flux substitutes, as far as the object says them.
func variables(postBuild *yaml.Node) map[string]string {
	vars := manifest.Field(postBuild, "substitute")
	if vars == nil || vars.Kind != yaml.MappingNode {
		return nil
	}
	known := make(map[string]string)
	for i := 0; i+1 < len(vars.Content); i += 2 {
		known[vars.Content[i].Value] = vars.Content[i+1].Value
	}
	return known
}

var variable = pattern.Later(`\$\{([A-Za-z_][A-Za-z0-9_]*)(:?[-=]([^}]*))?\}`)

// substituted is a text with its variables in place, as far as they are known.
func substituted(text string, vars map[string]string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	return variable().ReplaceAllStringFunc(text, func(found string) string {
		parts := variable().FindStringSubmatch(found)
		if value, ok := vars[parts[1]]; ok {
			return value
		}
		if parts[2] != "" { // a default
			return parts[3]
		}
		return found
	})
}

// substituteIn puts variables of Flux in place in an object, unless it says no.
// https://fluxcd.io/flux/components/kustomize/kustomizations/#post-build-variable-substitution
func substituteIn(object *yaml.Node, vars map[string]string) {
	for _, field := range []string{"annotations", "labels"} {
		if manifest.Text(object, "metadata", field, fluxGroup+"substitute") == "disabled" {
			return
		}
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			n.Value = substituted(n.Value, vars)
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(object)
}

// Compare compares two places.
func Compare(a, b report.Position) int {
	return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
}
