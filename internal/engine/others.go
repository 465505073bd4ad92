package engine

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/argoset"
	"clusterpair.dev/internal/manifest"
)

// other reads an object of an engine that decrypts nothing.
func (m *Model) other(d *Document, o *object) []*Sync {
	switch o.engine {
	case Helm:
		return m.helm(d)
	case Fleet:
		return m.fleet(d)
	case Sveltos:
		return m.sveltos(d, o.kind)
	case OCM:
		return m.subscription(d)
	case Kargo:
		return m.kargo(d, o.kind)
	}
	return nil
}

// helm reads a HelmRelease whose chart is a folder of a Git repository.
// https://fluxcd.io/flux/components/helm/helmreleases/#chart-template
func (m *Model) helm(d *Document) []*Sync {
	chart := manifest.Field(d.Node, "spec", "chart", "spec")
	at := manifest.Field(chart, "chart")
	if at == nil || manifest.Text(chart, "sourceRef", "kind") != "GitRepository" || argoset.IsTemplate(at.Value) || !m.charts[cleaned(at.Value)] {
		return nil
	}
	if source := m.sourceNamed(d, manifest.Field(chart, "sourceRef")); source != nil && m.foreign(source.url) {
		return []*Sync{d.elsewhere(Helm, "HelmRelease", at)}
	}
	s := d.sync(Helm, "HelmRelease", at)
	s.Path, s.chart, s.Prunes = cleaned(at.Value), true, true
	return []*Sync{s}
}

// fleet reads a GitRepo of Rancher Fleet. Its paths may be patterns, of which each star
// stands for one folder.
// https://fleet.rancher.io/ref-gitrepo
func (m *Model) fleet(d *Document) []*Sync {
	spec := manifest.Field(d.Node, "spec")
	repo := manifest.Field(spec, "repo")
	if m.foreign(repositoryURL(manifest.Text(spec, "repo"))) {
		return []*Sync{d.elsewhere(Fleet, "GitRepo", repo)}
	}
	paths := manifest.Items(spec, "paths")
	for _, bundle := range manifest.Items(spec, "bundles") {
		if base := manifest.Field(bundle, "base"); base != nil {
			paths = append(paths, base)
		}
	}
	if len(paths) == 0 {
		paths = []*yaml.Node{{Kind: yaml.ScalarNode, Value: "."}}
	}
	var syncs []*Sync
	for _, p := range paths {
		syncs = append(syncs, m.each(d, Fleet, "GitRepo", p, func(s *Sync) { s.Prunes = true })...)
	}
	return syncs
}

// each gives the syncs of a path that may be a pattern or a template.
func (m *Model) each(d *Document, e Engine, kind string, at *yaml.Node, more func(*Sync)) []*Sync {
	dirs, unsure := []string{cleaned(at.Value)}, ""
	switch {
	case argoset.IsTemplate(at.Value):
		dirs, unsure = argoset.Folders(m.folders).Fitting(at.Value), "its path is a template"
	case strings.ContainsAny(at.Value, "*?["):
		dirs = argoset.Folders(m.folders).Globbed(strings.TrimLeft(at.Value, "/"))
		if len(dirs) == 0 {
			unsure = "no folder here fits its path"
		}
	}
	var syncs []*Sync
	for _, dir := range dirs {
		s := d.sync(e, kind, at)
		s.Path, s.recursive, s.Unsure = dir, true, unsure
		more(s)
		syncs = append(syncs, s)
	}
	if len(dirs) == 0 {
		s := d.sync(e, kind, at)
		s.Unsure = unsure
		syncs = append(syncs, s)
	}
	return syncs
}

// elsewhere is the sync of an object that applies another repository.
func (d *Document) elsewhere(e Engine, kind string, at *yaml.Node) *Sync {
	s := d.sync(e, kind, at)
	s.Path = foreignPath
	return s
}

// sveltos reads a ClusterProfile or Profile of Sveltos, which applies folders of the
// sources of Flux.
// https://projectsveltos.io/main/addons/kustomize/
func (m *Model) sveltos(d *Document, kind string) (syncs []*Sync) {
	spec := manifest.Field(d.Node, "spec")
	for _, ref := range slices.Concat(manifest.Items(spec, "kustomizationRefs"), manifest.Items(spec, "policyRefs")) {
		at := manifest.Field(ref, "path")
		of := manifest.Text(ref, "kind")
		if of == "ConfigMap" || of == "Secret" {
			continue // which hold the manifests themselves
		}
		if at == nil {
			at = &yaml.Node{Kind: yaml.ScalarNode, Value: "."}
		}
		switch source := m.sourceNamed(d, ref); {
		case source != nil && m.foreign(source.url):
			syncs = append(syncs, d.elsewhere(Sveltos, kind, at))
		case of != "GitRepository":
			s := d.sync(Sveltos, kind, at)
			s.Unsure = "it applies a folder of " + of + " " + manifest.Text(ref, "name") + ", and only who packs that knows what is in it"
			syncs = append(syncs, s)
		default:
			syncs = append(syncs, m.each(d, Sveltos, kind, at, func(*Sync) {})...)
		}
	}
	return syncs
}

// subscription reads a Subscription of Open Cluster Management, whose annotations name a
// folder of the repository of its Channel.
// https://open-cluster-management.io/docs/getting-started/integration/app-lifecycle/
func (m *Model) subscription(d *Document) []*Sync {
	var at *yaml.Node
	for _, name := range []string{"git-path", "github-path"} {
		if at == nil {
			at = manifest.Field(d.Node, "metadata", "annotations", "apps.open-cluster-management.io/"+name)
		}
	}
	channel := manifest.Text(d.Node, "spec", "channel")
	var of *source
	for i := range m.notes.sources {
		if s := &m.notes.sources[i]; s.kind == "Channel" && s.id == channel && (of == nil || nearness(d.Path, s.path) > nearness(d.Path, of.path)) {
			of = s
		}
	}
	switch {
	case of != nil && m.foreign(of.url):
		return []*Sync{d.elsewhere(OCM, "Subscription", at)}
	case at != nil:
		return m.each(d, OCM, "Subscription", at, func(s *Sync) { s.Prunes = true })
	case of != nil && of.url != "":
		return m.each(d, OCM, "Subscription", &yaml.Node{Kind: yaml.ScalarNode, Value: "."}, func(s *Sync) { s.Prunes = true })
	}
	return nil // of a chart, or of an object store
}

// kargo reads a Stage or PromotionTask of Kargo. It applies nothing, but what its steps
// take from a repository goes on as it is, to a branch that Argo CD applies.
// https://docs.kargo.io/user-guide/reference-docs/promotion-steps/
func (m *Model) kargo(d *Document, kind string) []*Sync {
	steps := slices.Concat(manifest.Items(d.Node, "spec", "promotionTemplate", "spec", "steps"), manifest.Items(d.Node, "spec", "steps"))
	i := slices.IndexFunc(steps, func(step *yaml.Node) bool {
		return slices.Contains([]string{"copy", "kustomize-build", "helm-template", "git-commit"}, manifest.Text(step, "uses"))
	})
	if i < 0 {
		return nil
	}
	s := d.sync(Kargo, kind, manifest.Field(steps[i], "uses"))
	s.Unsure = "its steps commit what they take from a working tree, encrypted pairs as ciphertext, to a branch for Argo CD"
	return []*Sync{s}
}
