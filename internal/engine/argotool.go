package engine

import (
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/argoset"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// overridden is a source of Argo CD with what the files .argocd-source.yaml and
// .argocd-source-APPLICATION.yaml in its folder say. unsure is why that is not certain.
// https://argo-cd.readthedocs.io/en/stable/user-guide/parameters/#store-overrides-in-git
func (m *Model) overridden(app, source *yaml.Node, dir string) (own *yaml.Node, unsure string) {
	if len(m.notes.overrides) == 0 {
		return source, ""
	}
	name := manifest.Text(app, "metadata", "name")
	dir = m.real(dir)
	files := []string{path.Join(dir, ".argocd-source.yaml")}
	if argoset.IsTemplate(name) {
		for file := range m.notes.overrides {
			if path.Dir(file) == dir && file != files[0] {
				unsure = file + " changes one of its Applications, whose names are templates"
			}
		}
	} else {
		files = append(files, path.Join(dir, ".argocd-source-"+name+".yaml"))
	}
	own = overlay.Copy(source)
	for _, file := range files {
		for i := range m.notes.overrides[file] {
			override(own, m.notes.overrides[file][i].document().Node)
		}
	}
	return own, unsure
}

// override puts values into those of a source. A null changes nothing there.
// https://github.com/argoproj/argo-cd/blob/v3.2.11/reposerver/repository/repository.go
func override(n, values *yaml.Node) {
	for i := 0; n.Kind == yaml.MappingNode && values.Kind == yaml.MappingNode && i+1 < len(values.Content); i += 2 {
		key, value := values.Content[i], values.Content[i+1]
		was := manifest.Field(n, key.Value)
		switch {
		case !manifest.IsSet(value), slices.Contains([]string{"path", "chart", "repoURL", "targetRevision"}, key.Value) && n.Kind == yaml.MappingNode && manifest.Field(n, "repoURL") != nil:
		case was == nil:
			value = overlay.Copy(value)
			overlay.Place(value, n)
			n.Content = append(n.Content, overlay.Scalar(key.Value), value)
		case was.Kind == yaml.MappingNode && value.Kind == yaml.MappingNode:
			override(was, value)
		default:
			overlay.Set(n, key.Value, value)
		}
	}
}

// chooseTool finds out with what Argo CD renders the folder of a source: with what the
// source names, else with kustomize or Helm by the files there, else each file counts.
// several says that the source is one of a list, in which empty settings count, too.
// https://argo-cd.readthedocs.io/en/stable/user-guide/tool_detection/
func (m *Model) chooseTool(s *Sync, source *yaml.Node, several bool) {
	var tools []string
	for _, tool := range []string{"directory", "helm", "kustomize", "plugin"} {
		settings := manifest.Field(source, tool)
		if manifest.IsSet(settings) && (several || tool == "plugin" || hasSettings(settings)) {
			tools = append(tools, tool)
		}
	}
	refuse := func(text, hint string) { s.refused = says{text: text, at: s.At, hint: hint} }
	tool := ""
	switch len(tools) {
	case 0:
		tool = m.toolFor(s.Path)
	case 1:
		tool = tools[0]
	default:
		refuse("source has "+strings.Join(tools, " and ")+", of which Argo CD takes one alone", "remove all but one")
	}
	switch tool {
	case "directory":
		s.plain = true
	case "helm":
		if s.chart = m.charts[m.real(s.Path)]; !s.chart {
			s.plain = true
			refuse("source.helm is for a chart, and folder "+s.Path+" is none", "remove it")
		}
	case "kustomize":
		if s.Path = m.real(s.Path); m.dirs[s.Path] == nil {
			s.plain = true
			refuse("source.kustomize is for a kustomization, and folder "+s.Path+" has none", "remove it")
		}
		for _, c := range manifest.Items(source, "kustomize", "components") {
			dir := m.real(path.Join(s.Path, c.Value))
			if m.dirs[dir] == nil && strings.HasPrefix(c.Value, ".") && manifest.Text(source, "kustomize", "ignoreMissingComponents") != "true" {
				refuse("source.kustomize.components names "+c.Value+", which is not there", "ignoreMissingComponents: true")
			}
		}
	case "plugin":
		s.Path = m.real(s.Path)
		m.choosePlugin(s, refuse)
	}
	if links := m.notes.leaving; len(links) > 0 {
		first := slices.MinFunc(links, func(a, b Reference) int { return strings.Compare(a.Name, b.Name) })
		refuse(first.Name+" is a symbolic link out of the repository, of which Argo CD then reads nothing", "keep it out of Git: rm "+report.Typed(first.At.File))
	}
}

// toolFor is the tool that the files in a folder call for.
func (m *Model) toolFor(dir string) string {
	switch {
	case m.real(dir) != dir: // of which Argo CD looks at the link alone
		return "directory"
	case m.dirs[dir] != nil:
		return "kustomize"
	case m.charts[dir]:
		return "helm"
	}
	return "directory"
}

// choosePlugin reads what the plugin of a source does, as far as that is known: that of
// clusterpair takes in the folders below, and no file whose name begins with a dot.
func (m *Model) choosePlugin(s *Sync, refuse func(text, hint string)) {
	switch {
	case s.Plugin == "":
		s.Unsure = firstOf(s.Unsure, "it names no plugin, and which one takes it up is up to the plugins")
	case strings.HasPrefix(s.Plugin, "clusterpair"):
		s.recursive, s.exclude = true, "{.*,*/.*}"
		if m.dirs[s.Path] == nil {
			for _, dir := range below(m.sorted, s.Path) {
				refuse("folder "+dir+" has a kustomization and folder "+s.Path+" has none, at which the plugin fails", "list "+dir+" under resources of a kustomization in "+s.Path)
			}
		}
		for link := range m.notes.broken {
			if Below(link, s.Path) && readAlone(ArgoCD, path.Ext(link)) && m.dirs[s.Path] == nil {
				refuse(link+" is a symbolic link to nothing, at which the plugin fails", "remove it")
			}
		}
	}
}

// hasSettings tells whether Argo CD takes a tool for chosen by its settings: it forgets
// those that are zero, and a directory that does not recurse without include or exclude.
// https://github.com/argoproj/argo-cd/blob/v3.2.11/util/argo/argo.go
func hasSettings(settings *yaml.Node) bool {
	for i := 1; i < len(settings.Content); i += 2 {
		switch value := settings.Content[i]; {
		case !manifest.IsSet(value), value.Kind == yaml.ScalarNode && (value.Value == "" || value.Value == "false"):
		case value.Kind != yaml.ScalarNode && len(value.Content) == 0:
		default:
			return true
		}
	}
	return false
}

// hydrates reads that Argo CD commits what it renders, and applies that.
// https://argo-cd.readthedocs.io/en/stable/user-guide/source-hydrator/
func (s *Sync) hydrates(spec *yaml.Node) {
	hydrator := manifest.Field(spec, "sourceHydrator")
	if s.Hydrates = manifest.IsSet(hydrator); !s.Hydrates {
		return
	}
	if to := manifest.Field(hydrator, "syncSource", "path"); to == nil || to.Value == "" || to.Value == "." || to.Value == "/" {
		s.refused = says{text: "sourceHydrator.syncSource.path is the root of the repository, into which Argo CD commits nothing", at: s.At, hint: "name a folder"}
	}
	if branch := manifest.Text(hydrator, "hydrateTo", "targetBranch"); branch != "" {
		s.Unsure = "what it renders waits in branch " + branch + " until somebody merges it"
	}
}

// alone finds out whether a sync of Argo CD without kustomize applies what no API server
// takes: a kustomization, or a config of clusterpair.
func (m *Model) alone(s *Sync) {
	for _, file := range below(m.forBuilds, s.Path) {
		if m.TakesIn(s, file) {
			s.refused = says{text: file + " is for kustomize alone, and Argo CD applies it like the others, so that the sync fails", at: s.At, hint: "leave it out by source.directory.exclude"}
		}
	}
}

// restrict finds out whether kustomize reads all files that a sync of Argo CD makes it
// take in: without a setting of Argo CD none outside of the folder of the kustomization
// that lists them.
func (m *Model) restrict(s *Sync) {
	if s.plain {
		m.alone(s)
	}
	outside := ""
	for _, dir := range slices.Sorted(maps.Keys(s.Dirs)) {
		if outside = m.outside(m.dirs[dir]); outside != "" {
			break
		}
	}
	if by := m.decrypts(s); s.Decrypts && strings.HasPrefix(by, generator.DecryptorKind) {
		if strings.HasPrefix(s.Plugin, "clusterpair") {
			s.refused = says{text: by + " is for kustomize without a plugin, and the plugin fails at it", at: s.At, hint: "remove the plugin"}
		} else {
			s.Unsure = firstOf(s.Unsure, "whether plugin "+s.Plugin+" runs "+by+" is up to its command")
		}
	}
	lifted := func(flags string) bool { return strings.Contains(flags, "LoadRestrictionsNone") }
	switch {
	case outside == "" || len(s.ways) == 0 || slices.ContainsFunc(m.notes.options, lifted):
	case len(m.notes.options) > 0 && !s.Decrypts:
		s.refused = says{text: outside + ", of which kustomize reads nothing", at: s.At, hint: "kustomize.buildOptions: --load-restrictor LoadRestrictionsNone"}
	default:
		s.Unsure = firstOf(s.Unsure, outside+", which kustomize reads only if kustomize.buildOptions in argocd-cm says --load-restrictor LoadRestrictionsNone")
	}
}

// outside is a sentence about a file that a kustomization takes in from outside of its
// folder, empty if there is none.
func (m *Model) outside(k *Kustomization) string {
	files := slices.Concat(k.Resources, k.Generators, k.Transformers)
	for _, p := range k.Patches {
		files = append(files, p.Path)
	}
	for _, f := range k.Files {
		files = append(files, f.Name)
	}
	for _, file := range files {
		if real := m.real(file); m.dirs[real] == nil && !m.folders[real] && !Below(real, m.real(k.Dir)) && path.Ext(file) != "" {
			return file + " is outside of folder " + k.Dir + ", whose kustomization lists it"
		}
	}
	return ""
}

// Option is kustomize.buildOptions of Argo CD, and where it begins in a text.
type Option struct {
	Flags  string
	Offset int
}

var buildOptions = pattern.Later(`(?m)^([^#\n]*)kustomize(?:\.b|B)uildOptions(?:\.[\w.-]*\w)?["']?[ \t]*[:=]?[ \t]*(?:[|>][+-]?[ \t]*)?(?:\n[ \t]*(?:value:)?)?[ \t]*(.*)$`)

// BuildOptions are those in a text: a ConfigMap, what generates or patches one, the
// values of a chart, the object of an operator.
func BuildOptions(text []byte) (options []Option) {
	for _, m := range buildOptions().FindAllSubmatchIndex(text, -1) {
		options = append(options, Option{string(text[m[4]:m[5]]), m[3]})
	}
	return options
}
