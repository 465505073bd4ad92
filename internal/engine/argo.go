package engine

import (
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
)

// argoSpec is the spec of an Application, or that of the template of an ApplicationSet.
func argoSpec(kind string, n *yaml.Node) *yaml.Node {
	if kind == "ApplicationSet" {
		return manifest.Field(n, "spec", "template", "spec")
	}
	return manifest.Field(n, "spec")
}

// sourcesIn are the sources that a spec names.
func sourcesIn(spec *yaml.Node) []*yaml.Node {
	if several := manifest.Items(spec, "sources"); len(several) > 0 {
		return several
	}
	if dry := manifest.Field(spec, "sourceHydrator", "drySource"); dry != nil {
		return []*yaml.Node{dry}
	}
	if source := manifest.Field(spec, "source"); source != nil {
		return []*yaml.Node{source}
	}
	return nil
}

// argo reads the sources of an Application or ApplicationSet.
// https://argo-cd.readthedocs.io/en/stable/user-guide/application-specification/
func (m *Model) argo(d *Document, kind string) []*Sync {
	spec := argoSpec(kind, d.Node)
	doubt := ""
	if kind == "ApplicationSet" {
		spec, doubt = patchedTemplate(d.Node, spec)
	}
	var syncs []*Sync
	for _, source := range sourcesIn(spec) {
		at := manifest.Field(source, "path")
		if at == nil {
			continue // a chart, or values for one
		}
		if m.foreign(repositoryURL(manifest.Text(source, "repoURL"))) {
			s := d.sync(ArgoCD, kind, at)
			s.Path = foreignPath
			syncs = append(syncs, s)
			continue
		}
		paths, unsure := []string{at.Value}, ""
		if isTemplate(at.Value) {
			paths, unsure = m.expand(d.Node, at.Value)
		}
		for _, p := range paths {
			s := m.argoSource(d, kind, spec, source)
			s.Path, s.Unsure = cleaned(p), firstOf(unsure, doubt)
			s.chart = m.charts[s.Path] && !isSet(manifest.Field(source, "directory")) && !s.Decrypts
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

// argoSource reads one source but for its path.
func (m *Model) argoSource(d *Document, kind string, spec, source *yaml.Node) *Sync {
	s := d.sync(ArgoCD, kind, manifest.Field(source, "path"))
	annotations := manifest.Field(d.Node, "metadata", "annotations")
	if kind == "ApplicationSet" {
		annotations = manifest.Field(d.Node, "spec", "template", "metadata", "annotations")
	}
	if manifest.Text(annotations, argoGroup+"skip-reconcile") == "true" {
		s.Idle = argoGroup + "skip-reconcile: true, by which Argo CD leaves it alone"
	}
	s.Decrypts = isSet(manifest.Field(source, "plugin"))
	s.Plugin = strings.Clone(manifest.Text(source, "plugin", "name"))
	s.recursive = manifest.Text(source, "directory", "recurse") == "true"
	s.include, s.exclude = manifest.Text(source, "directory", "include"), manifest.Text(source, "directory", "exclude")
	s.Prunes = manifest.Text(spec, "syncPolicy", "automated", "prune") == "true"
	s.Hydrates = isSet(manifest.Field(spec, "sourceHydrator"))
	for _, p := range manifest.Items(source, "kustomize", "patches") {
		s.patches = append(s.patches, d.patchOf(p))
	}
	for _, c := range manifest.Items(source, "kustomize", "components") {
		s.components = append(s.components, c.Value)
	}
	s.metadata = slices.Concat(d.metadata("annotations", source, "kustomize", "commonAnnotations"), d.metadata("labels", source, "kustomize", "commonLabels"))
	respects := slices.ContainsFunc(manifest.Items(spec, "syncPolicy", "syncOptions"), func(o *yaml.Node) bool { return o.Value == "RespectIgnoreDifferences=true" })
	for _, entry := range manifest.Items(spec, "ignoreDifferences") {
		if respects && wildcard(manifest.Text(entry, "kind"), "ClusterPair") && wildcard(manifest.Text(entry, "group"), "stork.libopenstorage.org") {
			s.ignores(d, manifest.Items(entry, "jsonPointers"))
			for _, e := range manifest.Items(entry, "jqPathExpressions") {
				if strings.HasPrefix(e.Value, ".spec.config") {
					s.Ignores = Reference{e.Value, d.at(e)}
				}
			}
		}
	}
	return s
}

// isSet tells whether there is a value other than null.
func isSet(n *yaml.Node) bool { return n != nil && n.ShortTag() != "!!null" }

func wildcard(pattern, name string) bool { return pattern == "*" || pattern == name }

// patchedTemplate is the spec of the template of an ApplicationSet with its templatePatch.
// doubt is why that cannot be known.
func patchedTemplate(n, spec *yaml.Node) (patched *yaml.Node, doubt string) {
	text := manifest.Text(n, "spec", "templatePatch")
	if text == "" || spec == nil {
		return spec, ""
	}
	docs, err := manifest.Values([]byte(text), "")
	if err != nil || len(docs) != 1 || strings.Contains(text, "{{") {
		if strings.Contains(text, "source") || strings.Contains(text, "plugin") {
			return spec, "its templatePatch is a template"
		}
		return spec, ""
	}
	whole := mapping("spec", copyOf(spec))
	merge(whole, docs[0])
	return manifest.Field(whole, "spec"), ""
}

// expand gives the folders that the generators of an ApplicationSet make of a templated
// path. unsure is why that is not certain: each folder that fits is then one that may be.
// https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Generators/
func (m *Model) expand(n *yaml.Node, template string) (paths []string, unsure string) {
	for _, generator := range manifest.Items(n, "spec", "generators") {
		more, known := m.generated(generator, template)
		if paths = append(paths, more...); !known {
			unsure = "its path is a template, which only the ApplicationSet controller fills in"
		}
	}
	if unsure != "" {
		paths = append(paths, m.fitting(template)...)
	}
	slices.Sort(paths)
	return slices.Compact(paths), unsure
}

// generated are the folders that one generator makes of a path, if that can be known.
func (m *Model) generated(generator *yaml.Node, template string) (paths []string, known bool) {
	sets, known := m.parameters(generator)
	known = known && isPlain(generator)
	for _, values := range sets {
		filled := fill(template, values)
		if isTemplate(filled) {
			return nil, false
		}
		paths = append(paths, filled)
	}
	return paths, known
}

// parameters are the sets of values that a generator gives, as far as they are known;
// known is false if there may be others. A set stands for any number of sets whose further
// values nobody can tell.
func (m *Model) parameters(generator *yaml.Node) (sets []map[string]string, known bool) {
	git, list := manifest.Field(generator, "git"), manifest.Field(generator, "list")
	switch {
	case len(manifest.Items(git, "directories")) > 0:
		for _, dir := range m.matching(manifest.Items(git, "directories")) {
			sets = append(sets, pathValues(dir))
		}
		return sets, true
	case len(manifest.Items(git, "files")) > 0: // of which the folders alone are known
		for _, file := range manifest.Items(git, "files") {
			for _, dir := range m.globbed(path.Dir(manifest.Text(file, "path"))) {
				sets = append(sets, pathValues(dir))
			}
		}
		return sets, false
	case len(manifest.Items(list, "elements")) > 0:
		for _, element := range manifest.Items(list, "elements") {
			values := make(map[string]string)
			for i := 0; element.Kind == yaml.MappingNode && i+1 < len(element.Content); i += 2 {
				values[element.Content[i].Value] = element.Content[i+1].Value
			}
			sets = append(sets, values)
		}
		return sets, true
	case isSet(manifest.Field(generator, "matrix")):
		return m.product(manifest.Items(generator, "matrix", "generators"))
	case manifest.Field(generator, "clusters") != nil:
		return []map[string]string{{}}, true
	}
	return nil, false
}

// isPlain tells whether a generator gives all its sets of values to the template of the
// ApplicationSet: a selector leaves some out, a template of its own goes before the other,
// and folders may be those that another generator of the matrix names.
func isPlain(generator *yaml.Node) bool {
	own := slices.ContainsFunc([]string{"list", "git", "clusters", "matrix"}, func(kind string) bool { return manifest.Field(generator, kind, "template") != nil })
	return !own && !isSet(manifest.Field(generator, "selector")) && !slices.ContainsFunc(manifest.Items(generator, "git", "directories"), templated)
}

// product are the sets of values of a matrix: each of the first generator with each of the
// second.
func (m *Model) product(generators []*yaml.Node) (sets []map[string]string, known bool) {
	sets, known = []map[string]string{{}}, true
	for _, generator := range generators {
		more, all := m.parameters(generator)
		known = known && all && isPlain(generator)
		var both []map[string]string
		for _, a := range sets {
			for _, b := range more {
				values := maps.Clone(a)
				maps.Copy(values, b)
				both = append(both, values)
			}
		}
		sets = both
	}
	return sets, known
}

// pathValues are what a git generator says of a folder.
func pathValues(dir string) map[string]string {
	return map[string]string{"path": dir, "path.path": dir, "path.basename": path.Base(dir)}
}

// matching are the folders here that the directories of a git generator take in.
func (m *Model) matching(directories []*yaml.Node) (dirs []string) {
	for dir := range m.folders {
		in, out := false, false
		for _, entry := range directories {
			matched, err := path.Match(strings.TrimSuffix(manifest.Text(entry, "path"), "/"), dir)
			if err != nil || !matched {
				continue
			}
			if manifest.Text(entry, "exclude") == "true" {
				out = true
			} else {
				in = true
			}
		}
		if in && !out {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

var placeholder = pattern.Later(`\{\{-?\s*\.?([\w.-]+)\s*-?\}\}`)

// fill fills in a template, as far as its values are known.
func fill(template string, values map[string]string) string {
	return placeholder().ReplaceAllStringFunc(template, func(found string) string {
		if value, ok := values[placeholder().FindStringSubmatch(found)[1]]; ok {
			return value
		}
		return found
	})
}

var anyPlaceholder = pattern.Later(`\{\{.*?\}\}`)

// fitting are the folders here that a templated path may be.
func (m *Model) fitting(template string) (dirs []string) {
	var pattern strings.Builder
	last := 0
	for _, at := range anyPlaceholder().FindAllStringIndex(template, -1) {
		pattern.WriteString(regexp.QuoteMeta(template[last:at[0]]) + ".+")
		last = at[1]
	}
	re, err := regexp.Compile("^(?:\\./)?" + pattern.String() + regexp.QuoteMeta(template[last:]) + "$")
	if err != nil || strings.Trim(anyPlaceholder().ReplaceAllString(template, ""), "/.") == "" {
		return nil // every folder would fit
	}
	for dir := range m.folders {
		if re.MatchString(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// globs tells whether a pattern of Argo CD takes in a file: * and ? take slashes, too, and
// braces hold alternatives.
// https://argo-cd.readthedocs.io/en/stable/user-guide/directory/#includingexcluding-files
func globs(pattern, name string) bool {
	var b strings.Builder
	depth := 0
	for _, r := range pattern {
		switch {
		case r == '*':
			b.WriteString(".*")
		case r == '?':
			b.WriteString(".")
		case r == '{':
			depth++
			b.WriteString("(?:")
		case r == '}' && depth > 0:
			depth--
			b.WriteString(")")
		case r == ',' && depth > 0:
			b.WriteString("|")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	re, err := regexp.Compile("^(?:" + b.String() + ")$")
	return err != nil || re.MatchString(name)
}
