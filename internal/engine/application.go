package engine

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// Form is the form in which an engine applies an encrypted ClusterPair.
type Form int

// The forms.
const (
	Clear      Form = iota // decrypted
	Ciphertext             // as it stands in the file, which stops Stork
	Untold                 // nobody can tell
)

// Application is that a sync applies a file.
type Application struct {
	Sync *Sync
	Form Form
	// By is who decrypts: Flux, a plugin of Argo CD or a generator of kustomize.
	By string
	// Why is what leaves it encrypted although the engine decrypts others.
	Why   string
	WhyAt report.Position
	// Keeps is an annotation or label that keeps the object, or a changed credential,
	// away from the cluster.
	Keeps   string
	KeepsAt report.Position
	// Steps are the kustomizations that take it in, the outermost first.
	Steps []string
}

// Application tells how a sync applies a file; ok says whether it does.
func (m *Model) Application(s *Sync, file string) (a Application, ok bool) {
	w := s.ways[file]
	if w == nil && !m.TakesIn(s, file) {
		return Application{}, false
	}
	a = Application{Sync: s, Form: Ciphertext}
	var chain []*Kustomization
	if w != nil {
		chain = w.chain
		for _, k := range slices.Backward(chain) {
			a.Steps = append(a.Steps, k.Dir)
		}
	}
	disabled, kept := m.metadataOf(s, file, chain)
	a.Keeps, a.KeepsAt = kept.text, kept.at
	if s.Engine == Flux && slices.Contains(m.notes.links, file) {
		a.Keeps, a.KeepsAt = "a symbolic link, which is in no artifact of Flux", report.Position{}
	}
	switch s.Engine {
	case Flux:
		if s.Decrypts {
			a.Form, a.By = Clear, "Flux"
			if disabled.text != "" {
				a.Form, a.By, a.Why, a.WhyAt = Ciphertext, "", disabled.text, disabled.at
			}
		}
	case ArgoCD:
		switch {
		case w != nil && w.by != "":
			a.Form, a.By = Clear, w.by
		case s.Decrypts:
			a.Form, a.By = Clear, strings.TrimSpace("plugin "+s.Plugin)
		default:
			if by := m.decrypts(s); by != "" {
				a.Form, a.By = Clear, by
			}
		}
	}
	if s.Unsure != "" && a.Form == Clear {
		a.Form = Untold
	}
	return a, true
}

// Decrypts tells whether a kustomization that a sync builds decrypts by a generator.
func (m *Model) Decrypts(s *Sync) bool { return m.decrypts(s) != "" }

// says follows what the metadata of an object tells the engine, while the object is
// built: the first place that says it.
type says struct {
	text string
	at   report.Position
}

func (s *says) look(text string, at report.Position) {
	switch {
	case text == "":
		*s = says{}
	case s.text != text:
		*s = says{text, at}
	}
}

// metadataOf tells what the metadata of an object says to the engine after it has been
// built: that it is to stay encrypted, and that it is to be left alone.
func (m *Model) metadataOf(s *Sync, file string, chain []*Kustomization) (disabled, kept says) {
	stubs := m.notes.patches[file]
	touched := len(s.patches) + len(s.metadata)
	for _, k := range chain {
		touched += len(k.patches) + len(k.metadata) + len(k.Components)
	}
	if touched == 0 && len(stubs) == 0 {
		return says{}, says{}
	}
	object := mapping("apiVersion", scalar("stork.libopenstorage.org/v1alpha1"), "kind", scalar("ClusterPair"), "metadata", mapping("name", scalar("")))
	look := func(at report.Position) {
		disabled.look(saysDisabled(object), at)
		kept.look(keptBy(s.Engine, object), at)
	}
	if len(stubs) > 0 {
		object = copyOf(stubs[0].Node)
		look(stubs[0].at(annotationsOf(object)))
	}
	for _, k := range chain {
		m.changeBy(object, k, make(map[string]bool), look)
	}
	for _, component := range s.components {
		if k := m.dirs[path.Join(s.Path, component)]; k != nil {
			m.changeBy(object, k, make(map[string]bool), look)
		}
	}
	for _, p := range s.patches {
		p.apply(object, m.notes.patches)
		look(p.at)
	}
	still := disabled
	for _, add := range s.metadata { // Flux adds it after it has decrypted
		add.to(object)
		look(add.at)
	}
	if s.Engine == Flux {
		disabled = still
	}
	return disabled, kept
}

// annotationsOf is the annotation or label that says something to an engine.
func annotationsOf(object *yaml.Node) *yaml.Node {
	for _, field := range []string{"annotations", "labels"} {
		values := manifest.Field(object, "metadata", field)
		for i := 0; values != nil && i+1 < len(values.Content); i += 2 {
			if isForEngine(values.Content[i].Value) {
				return values.Content[i]
			}
		}
	}
	return object
}

func isForEngine(key string) bool {
	return strings.HasPrefix(key, fluxGroup) || strings.HasPrefix(key, argoGroup)
}

// to gives annotations or labels to an object.
func (add metadata) to(object *yaml.Node) {
	merge(object, mapping("metadata", mapping(add.field, add.values)))
}

// stubOf is the part of an object that engines act on, nil if it says nothing to them
// and has no name to be chosen by.
func stubOf(n *yaml.Node) *yaml.Node {
	meta := manifest.Field(n, "metadata")
	if meta == nil || meta.Kind != yaml.MappingNode {
		return nil
	}
	fields := []any{"name", cloned(manifest.Field(meta, "name")), "namespace", cloned(manifest.Field(meta, "namespace"))}
	said := false
	for _, field := range []string{"annotations", "labels"} {
		values := manifest.Field(meta, field)
		if values == nil || values.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(values.Content); i += 2 {
			said = said || isForEngine(values.Content[i].Value)
		}
		fields = append(fields, field, cloned(values))
	}
	if !said {
		return nil
	}
	return mapping("apiVersion", cloned(manifest.Field(n, "apiVersion")), "kind", cloned(manifest.Field(n, "kind")), "metadata", mapping(fields...))
}

// cloned is a value that keeps no other text in memory.
func cloned(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	c := copyOf(n)
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		n.Value = strings.Clone(n.Value)
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(c)
	return c
}

const (
	fluxGroup = "kustomize.toolkit.fluxcd.io/"
	argoGroup = "argocd.argoproj.io/"
)

// saysDisabled is the annotation by which Flux leaves an object encrypted.
// https://github.com/fluxcd/kustomize-controller/blob/v1.9.5/internal/decryptor/decryptor.go
func saysDisabled(object *yaml.Node) string {
	if strings.EqualFold(manifest.Text(object, "metadata", "annotations", fluxGroup+"decrypt"), "disabled") {
		return fluxGroup + "decrypt: disabled"
	}
	return ""
}

// keptByFlux is the annotation or label by which Flux never applies an object, or never
// changes it again.
// https://fluxcd.io/flux/components/kustomize/kustomizations/#controlling-the-apply-behavior-of-resources
func keptByFlux(object *yaml.Node) string {
	for _, field := range []string{"annotations", "labels"} {
		for name, values := range map[string][]string{"reconcile": {"disabled"}, "ssa": {"Ignore", "IfNotPresent"}} {
			for _, value := range values {
				if strings.EqualFold(manifest.Text(object, "metadata", field, fluxGroup+name), value) {
					return fluxGroup + name + ": " + value
				}
			}
		}
	}
	return ""
}

// keptByArgo is the annotation by which Argo CD never applies an object, takes it away
// again or makes it anew each time. A hook that is misspelt belongs to no phase.
// https://argo-cd.readthedocs.io/en/stable/user-guide/resource_hooks/
func keptByArgo(object *yaml.Node) string {
	for hook := range strings.SplitSeq(manifest.Text(object, "metadata", "annotations", argoGroup+"hook"), ",") {
		if hook = strings.TrimSpace(hook); hook != "" && hook != "Sync" {
			return argoGroup + "hook: " + hook
		}
	}
	options := manifest.Text(object, "metadata", "annotations", argoGroup+"sync-options")
	if strings.Contains(options, "Replace=true") && strings.Contains(options, "Force=true") {
		return argoGroup + "sync-options: " + options
	}
	return ""
}

func keptBy(e Engine, object *yaml.Node) string {
	switch e {
	case Flux:
		return keptByFlux(object)
	case ArgoCD:
		return keptByArgo(object)
	}
	return ""
}
