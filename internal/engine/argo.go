package engine

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/argoset"
	"clusterpair.dev/internal/manifest"
)

// argoSpec is the spec of an Application, or that of the template of an ApplicationSet.
func argoSpec(kind string, n *yaml.Node) *yaml.Node {
	if kind == "ApplicationSet" {
		return manifest.Field(n, "spec", "template", "spec")
	}
	return manifest.Field(n, "spec")
}

// argo reads the sources of an Application or ApplicationSet.
// https://argo-cd.readthedocs.io/en/stable/user-guide/application-specification/
func (m *Model) argo(d *Document, kind string) (syncs []*Sync) {
	if kind != "ApplicationSet" {
		syncs = m.application(d, kind, d.Node, "")
		if to := argoset.Target(d.Node, nil); to != "" {
			for _, s := range syncs {
				s.Targets = []string{to}
			}
		}
		return syncs
	}
	sets, unsure := argoset.Folders(m.folders).Sets(d.Node)
	if len(sets) == 0 {
		s := d.sync(ArgoCD, kind, manifest.Field(d.Node, "spec", "generators"))
		s.Path = noPath
		return []*Sync{s}
	}
	known := make(map[string]*Sync) // by what they say: there may be one for each of many clusters
	for _, values := range sets {
		template, doubt := argoset.Filled(d.Node, values)
		for _, s := range m.application(d, kind, template, firstOf(unsure, doubt)) {
			first := known[s.key()]
			if first == nil {
				first = s
				known[s.key()], syncs = s, append(syncs, s)
			}
			if to := argoset.Target(template, values); to != "" && !slices.Contains(first.Targets, to) {
				first.Targets = append(first.Targets, to)
			}
		}
	}
	return syncs
}

// key is what tells two Applications of a set apart.
func (s *Sync) key() string {
	return fmt.Sprint(s.At, s.Path, s.Unsure, s.Idle, s.Plugin, s.recursive, s.plain, s.chart, s.include, s.exclude, s.refused, s.ignores, len(s.patches), len(s.metadata))
}

// application reads the sources of an Application, as it stands in a document or as an
// ApplicationSet makes it. doubt is why nobody can tell whether there is one.
func (m *Model) application(d *Document, kind string, app *yaml.Node, doubt string) (syncs []*Sync) {
	spec := manifest.Field(app, "spec")
	for _, source := range argoset.Sources(spec) {
		at := manifest.Field(source, "path")
		if at == nil || at.Value == "" {
			continue // a chart, or values for one
		}
		if m.foreign(repositoryURL(manifest.Text(source, "repoURL"))) {
			s := d.sync(ArgoCD, kind, at)
			s.Path = foreignPath
			syncs = append(syncs, s)
			continue
		}
		paths, unsure := []string{at.Value}, doubt
		if argoset.IsTemplate(at.Value) {
			paths, unsure = argoset.Folders(m.folders).Fitting(at.Value), firstOf(doubt, "its path is a template, which only the ApplicationSet controller fills in")
		}
		for _, p := range paths {
			own, why := m.overridden(app, source, cleaned(p))
			s := m.argoSource(d, kind, app, own)
			s.Path, s.Unsure = cleaned(p), firstOf(unsure, why, s.Unsure)
			m.chooseTool(s, own, len(manifest.Items(spec, "sources")) > 0)
			if strings.HasPrefix(p, "/") {
				s.refused = says{text: "source.path " + p + " begins with a slash, with which Argo CD reads nothing", at: s.At, hint: "remove the slash"}
			}
			syncs = append(syncs, s)
		}
		if len(paths) == 0 {
			s := d.sync(ArgoCD, kind, at)
			s.Unsure = firstOf(unsure, "no folder here fits its path")
			syncs = append(syncs, s)
		}
	}
	return syncs
}

func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return texts[i]
}

// argoSource reads one source of an Application but for its path.
func (m *Model) argoSource(d *Document, kind string, app, source *yaml.Node) *Sync {
	spec := manifest.Field(app, "spec")
	s := d.sync(ArgoCD, kind, manifest.Field(source, "path"))
	annotations := manifest.Field(app, "metadata", "annotations")
	s.generatePaths = d.reference(annotations, argoGroup+"manifest-generate-paths")
	if manifest.Text(annotations, argoGroup+"skip-reconcile") == "true" {
		s.Idle = argoGroup + "skip-reconcile: true, by which Argo CD leaves it alone"
	}
	s.Decrypts = manifest.IsSet(manifest.Field(source, "plugin"))
	s.Plugin = strings.Clone(manifest.Text(source, "plugin", "name"))
	s.recursive = manifest.Text(source, "directory", "recurse") == "true"
	s.include, s.exclude = manifest.Text(source, "directory", "include"), manifest.Text(source, "directory", "exclude")
	s.Prunes = manifest.Text(spec, "syncPolicy", "automated", "prune") == "true"
	s.replaces = slices.ContainsFunc(manifest.Items(spec, "syncPolicy", "syncOptions"), func(o *yaml.Node) bool { return o.Value == "Replace=true" })
	s.hydrates(spec)
	for _, p := range manifest.Items(source, "kustomize", "patches") {
		s.patches = append(s.patches, d.patchOf(p))
	}
	for _, c := range manifest.Items(source, "kustomize", "components") {
		s.components = append(s.components, c.Value)
	}
	s.metadata = slices.Concat(d.metadata("annotations", source, "kustomize", "commonAnnotations"), d.metadata("labels", source, "kustomize", "commonLabels"))
	s.argoIgnores(d, spec)
	return s
}
