package engine

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
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
	// Keeps is what keeps the object, or a changed credential, away from the cluster: an
	// annotation or label, or what leaves the file out of an artifact.
	Keeps     string
	KeepsAt   report.Position
	KeepsHint string // what to do about it
	// Ignores is a setting that keeps a changed credential away from the cluster, Perhaps
	// why nobody can tell whether it does; empty if it does.
	Ignores Reference
	Perhaps string
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
	a.Ignores, a.Perhaps = m.ignored(s, file)
	if s.looksAway(m.real(file)) {
		a.Ignores, a.Perhaps = Reference{"changes outside of " + s.generatePaths.Name + " in manifest-generate-paths", s.generatePaths.At}, ""
	}
	disabled, kept := m.metadataOf(s, file, chain)
	a.Keeps, a.KeepsAt, a.KeepsHint = kept.text, kept.at, kept.hint
	untold := slices.ContainsFunc(slices.Collect(maps.Keys(s.Dirs)), func(dir string) bool { return m.dirs[dir].replaces })
	for _, by := range []says{m.stranger(s), s.refused, m.notPacked(s, file)} {
		if by.text != "" {
			a.Keeps, a.KeepsAt, a.KeepsHint = by.text, by.at, by.hint
		}
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
	if (s.Unsure != "" || untold) && a.Form == Clear {
		a.Form = Untold
	}
	return a, true
}

// Never tells whether something keeps the object away from the cluster, and not only a
// change of it.
func (a *Application) Never() bool { return a.Keeps != "" && !a.Once() && !a.Anew() }

// Once tells whether something keeps a change of the object away from the cluster.
func (a *Application) Once() bool { return strings.HasSuffix(a.Keeps, ifNotPresent) }

// Anew tells whether the engine deletes the object in each sync, and makes it again.
func (a *Application) Anew() bool { return strings.HasSuffix(a.Keeps, anew) }

// notPacked tells why the artifact of Flux does not hold a file, if it does not.
func (m *Model) notPacked(s *Sync, file string) says {
	switch {
	case s.Engine != Flux:
		return says{}
	case slices.Contains(m.notes.links, file):
		return says{text: "a symbolic link, which is in no artifact of Flux", hint: "commit the file itself in its place"}
	}
	return m.leftOut(s.source, file)
}

// Decrypts tells whether a kustomization that a sync builds decrypts by a generator.
func (m *Model) Decrypts(s *Sync) bool { return m.decrypts(s) != "" }

// says is what tells an engine to do something else with an object. For metadata it follows
// the object while that is built, and has the first place that says it.
type says struct {
	text string
	at   report.Position
	hint string // what to do about it
}

func (s *says) look(text string, at report.Position) {
	switch {
	case text == "":
		*s = says{}
	case s.text != text:
		*s = says{text: text, at: at, hint: "remove it"}
	}
}

// metadataOf tells what the metadata of an object says to the engine after it has been
// built: that it is to stay encrypted, and that it is to be left alone.
func (m *Model) metadataOf(s *Sync, file string, chain []*Kustomization) (disabled, kept says) {
	stub := m.stub(file)
	touched := len(s.patches) + len(s.metadata) + len(s.components)
	for _, k := range chain {
		touched += len(k.patches) + len(k.metadata) + len(k.Components) + len(k.Transformers) + len(k.inlineTransformers)
	}
	if touched == 0 && (stub == nil || !stub.says) {
		return says{}, says{}
	}
	object := overlay.Mapping("apiVersion", overlay.Scalar("stork.libopenstorage.org/v1alpha1"), "kind", overlay.Scalar("ClusterPair"), "metadata", overlay.Mapping("name", overlay.Scalar("")))
	look := func(at report.Position) {
		disabled.look(saysDisabled(object), at)
		kept.look(keptBy(s, object), at)
	}
	if stub != nil {
		d := stub.document()
		object = d.Node
		look(d.at(annotationsOf(object)))
	}
	for _, k := range chain {
		m.changeBy(object, k, make(map[string]bool), look)
	}
	m.changeLast(object, s, look)
	still := disabled
	if s.Engine == Flux && s.substitute != nil { // after it has decrypted, too
		substituteIn(object, s.substitute)
		look(s.At)
	}
	for _, add := range s.metadata { // Flux adds it after that
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
	return strings.HasPrefix(key, fluxGroup) || strings.HasPrefix(key, argoGroup) || strings.HasPrefix(key, "helm.sh/hook")
}

// to gives annotations or labels to an object.
func (add metadata) to(object *yaml.Node) {
	overlay.Merge(object, overlay.Mapping("metadata", overlay.Mapping(add.field, add.values)))
}

// stubOf is the metadata of an object, by which patches choose it, nil if it has none. Long
// values of annotations that no engine reads are left out. says tells whether it says more
// than its name, to an engine, a selector or kustomize.
func stubOf(n *yaml.Node) (stub *yaml.Node, says bool) {
	meta := manifest.Field(n, "metadata")
	if meta == nil || meta.Kind != yaml.MappingNode {
		return nil, false
	}
	fields := []any{"name", manifest.Field(meta, "name"), "namespace", manifest.Field(meta, "namespace")}
	says = manifest.Field(n, "$patch") != nil
	for _, field := range []string{"annotations", "labels"} {
		values := manifest.Field(meta, field)
		if values == nil || values.Kind != yaml.MappingNode {
			continue
		}
		kept := *values
		kept.Content = slices.Clone(values.Content)
		for i := 0; i+1 < len(kept.Content); i += 2 {
			const long = 63 // no label is longer
			key, value := kept.Content[i].Value, kept.Content[i+1]
			says = says || !strings.HasPrefix(key, "clusterpair.dev/") // which clusterpair writes into each
			if len(value.Value) > long && !isForEngine(key) {
				kept.Content[i+1] = overlay.Scalar("")
			}
		}
		fields = append(fields, field, &kept)
	}
	return overlay.Mapping("$patch", manifest.Field(n, "$patch"), "apiVersion", manifest.Field(n, "apiVersion"), "kind", manifest.Field(n, "kind"), "metadata", overlay.Mapping(fields...)), says
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
		for name, values := range map[string][]string{"reconcile": {"disabled"}, "ssa": {"Ignore", ifNotPresent}} {
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
// again or makes it anew each time. replaces says that its Application replaces all.
// https://argo-cd.readthedocs.io/en/stable/user-guide/resource_hooks/
func keptByArgo(object *yaml.Node, replaces bool) string {
	if kept := keptByHook(object); kept != "" {
		return kept
	}
	options := manifest.Text(object, "metadata", "annotations", argoGroup+"sync-options")
	if (replaces || strings.Contains(options, "Replace=true")) && strings.Contains(options, "Force=true") {
		return argoGroup + "sync-options: " + options + anew
	}
	return ""
}

// keptByHook is the annotation that makes a hook of an object: one that is misspelt
// belongs to no phase, and the others are made anew in each sync.
// https://github.com/argoproj/gitops-engine/blob/5baed5604d2d/pkg/sync/hook/hook.go
func keptByHook(object *yaml.Node) string {
	annotations := manifest.Field(object, "metadata", "annotations")
	for _, kind := range []struct {
		key, policy, succeeded, failed, before string
		applied                                []string
	}{
		{argoGroup + "hook", argoGroup + "hook-delete-policy", "HookSucceeded", "HookFailed", "BeforeHookCreation", []string{"PreSync", "Sync", "PostSync"}},
		{"helm.sh/hook", "helm.sh/hook-delete-policy", "hook-succeeded", "hook-failed", "before-hook-creation", []string{"pre-install", "pre-upgrade", "post-install", "post-upgrade"}},
	} {
		hook := manifest.Field(annotations, kind.key)
		if hook == nil || hook.Value == "crd-install" {
			continue
		}
		has := func(key string, words ...string) bool {
			return slices.ContainsFunc(strings.Split(manifest.Text(annotations, key), ","), func(word string) bool { return slices.Contains(words, strings.TrimSpace(word)) })
		}
		switch {
		case !has(kind.key, kind.applied...):
			return kind.key + ": " + hook.Value
		case has(kind.policy, kind.succeeded):
			return kind.policy + ": " + kind.succeeded
		case has(kind.policy, kind.failed) && !has(kind.policy, kind.before): // it stays, and is applied again
			return ""
		}
		return kind.key + ": " + hook.Value + anew
	}
	return ""
}

// anew ends what deletes an object in each sync and makes it again.
const anew = ", which makes it anew in each sync"

// ifNotPresent ends what keeps only a change of an object away from the cluster.
const ifNotPresent = "IfNotPresent"

func keptBy(s *Sync, object *yaml.Node) string {
	if manifest.Field(object, "$patch") != nil {
		return "$patch: delete"
	}
	switch s.Engine {
	case Flux:
		return keptByFlux(object)
	case ArgoCD:
		return keptByArgo(object, s.replaces)
	}
	return ""
}
