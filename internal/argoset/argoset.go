// Package argoset tells which Applications an ApplicationSet makes.
//
// [Folders.Sets] gives the values that its generators have, as far as the files of a
// repository tell, [Filled] the Application of one set, and [Target] where that goes. What
// Argo CD alone knows, such as its clusters, stays a template.
package argoset

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
)

// Folders are those of a repository, by their paths from its root.
type Folders map[string]bool

// clusters is the value that stands for the clusters of which nobody can tell more than by
// which labels Argo CD selects them.
const clusters = "\x00clusters"

// Sets are the sets of values for each of which an ApplicationSet makes an Application.
// unsure is why that is not certain: the last set has then no values.
// https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/Generators/
func (f Folders) Sets(n *yaml.Node) (sets []map[string]string, unsure string) {
	for _, generator := range manifest.Items(n, "spec", "generators") {
		more, known := f.parameters(generator)
		sets = append(sets, more...)
		if !known || !isPlain(generator) {
			unsure = "its path is a template, which only the ApplicationSet controller fills in"
		}
	}
	if unsure != "" {
		sets = append(sets, map[string]string{})
		if spec := manifest.Field(n, "spec", "template", "spec"); !slices.ContainsFunc(Sources(spec), func(source *yaml.Node) bool { return Templated(manifest.Field(source, "path")) }) {
			unsure = ""
		}
	}
	return sets, unsure
}

// Filled is the Application that an ApplicationSet makes with a set of values. doubt is why
// that is not certain.
func Filled(n *yaml.Node, values map[string]string) (app *yaml.Node, doubt string) {
	app = overlay.Copy(manifest.Field(n, "spec", "template"))
	fillIn(app, values)
	text := fill(manifest.Text(n, "spec", "templatePatch"), values)
	if text == "" {
		return app, ""
	}
	docs, err := manifest.Values([]byte(text), "")
	if err != nil || len(docs) != 1 || strings.Contains(text, "{{") {
		if strings.Contains(text, "source") || strings.Contains(text, "plugin") || strings.Contains(text, "annotations") {
			return app, "its templatePatch is a template"
		}
		return app, ""
	}
	overlay.Merge(app, docs[0])
	return app, ""
}

// Target tells two Applications apart by the clusters that they go to: it is the name or
// server of one, or what stands for those of a selector; empty if nobody can tell.
func Target(app *yaml.Node, values map[string]string) string {
	destination := manifest.Field(app, "spec", "destination")
	to := cmp.Or(manifest.Text(destination, "name"), manifest.Text(destination, "server"))
	selector, selected := values[clusters]
	switch {
	case !IsTemplate(to):
		return strings.Clone(to)
	case selected:
		return to + "\n" + selector
	}
	return ""
}

// fillIn fills in all templates in a value.
func fillIn(n *yaml.Node, values map[string]string) {
	if n.Kind == yaml.ScalarNode {
		n.Value = fill(n.Value, values)
	}
	for _, child := range n.Content {
		fillIn(child, values)
	}
}

// parameters are the sets of values that a generator gives, as far as they are known;
// known is false if there may be others. A set stands for any number of sets whose further
// values nobody can tell.
func (f Folders) parameters(generator *yaml.Node) (sets []map[string]string, known bool) {
	git, list := manifest.Field(generator, "git"), manifest.Field(generator, "list")
	elements := manifest.Field(list, "elements")
	switch {
	case len(manifest.Items(git, "directories")) > 0:
		for _, dir := range f.matching(manifest.Items(git, "directories")) {
			sets = append(sets, withOwn(prefixed(pathValues(dir), manifest.Text(git, "pathParamPrefix")), git))
		}
		known = true
	case len(manifest.Items(git, "files")) > 0: // of which the folders alone are known
		for _, file := range manifest.Items(git, "files") {
			for _, dir := range f.Globbed(path.Dir(manifest.Text(file, "path"))) {
				sets = append(sets, withOwn(prefixed(pathValues(dir), manifest.Text(git, "pathParamPrefix")), git))
			}
		}
	case elements != nil && elements.Kind == yaml.SequenceNode:
		for _, element := range elements.Content {
			values := make(map[string]string)
			flatten(values, "", element)
			sets = append(sets, values)
		}
		known = manifest.Field(list, "elementsYaml") == nil
	case manifest.IsSet(manifest.Field(generator, "matrix")):
		sets, known = f.product(manifest.Items(generator, "matrix", "generators"))
	case manifest.Field(generator, "clusters") != nil:
		selector, _ := yaml.Marshal(manifest.Field(generator, "clusters", "selector"))
		sets, known = []map[string]string{withOwn(map[string]string{clusters: string(selector)}, manifest.Field(generator, "clusters"))}, true
	}
	labels := manifest.Field(generator, "selector", "matchLabels")
	for i := 0; labels != nil && i+1 < len(labels.Content); i += 2 {
		sets = slices.DeleteFunc(sets, func(values map[string]string) bool {
			return values[labels.Content[i].Value] != labels.Content[i+1].Value
		})
	}
	return sets, known
}

// flatten puts the values of an element into a set, with those below as A.B.
func flatten(values map[string]string, prefix string, n *yaml.Node) {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if key, value := prefix+n.Content[i].Value, n.Content[i+1]; value.Kind == yaml.ScalarNode {
			values[key] = value.Value
		} else {
			flatten(values, key+".", value)
		}
	}
}

// prefixed are the values of a folder under a name of their own, if they have one.
func prefixed(values map[string]string, prefix string) map[string]string {
	if prefix == "" {
		return values
	}
	under := make(map[string]string, len(values))
	for name, value := range values {
		under[prefix+"."+name] = value
	}
	return under
}

// withOwn is a set with the values that a generator adds itself.
func withOwn(set map[string]string, generator *yaml.Node) map[string]string {
	own := manifest.Field(generator, "values")
	for i := 0; own != nil && i+1 < len(own.Content); i += 2 {
		if value := fill(own.Content[i+1].Value, set); !IsTemplate(value) {
			set["values."+own.Content[i].Value] = value
		}
	}
	return set
}

// isPlain tells whether a generator gives all its sets of values to the template of the
// ApplicationSet: a selector leaves some out, and a template of its own goes before the
// other.
func isPlain(generator *yaml.Node) bool {
	own := slices.ContainsFunc([]string{"list", "git", "clusters", "matrix"}, func(kind string) bool { return manifest.Field(generator, kind, "template") != nil })
	return !own && !manifest.IsSet(manifest.Field(generator, "selector", "matchExpressions")) && !slices.ContainsFunc(manifest.Items(generator, "git", "directories"), Templated)
}

// product are the sets of values of a matrix: each of the first generator with each of the
// second, which the first may fill in.
func (f Folders) product(generators []*yaml.Node) (sets []map[string]string, known bool) {
	sets, known = []map[string]string{{}}, true
	for _, generator := range generators {
		var both []map[string]string
		for _, a := range sets {
			generator := overlay.Copy(generator)
			fillIn(generator, a)
			more, all := f.parameters(generator)
			known = known && all && isPlain(generator)
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
	values := map[string]string{"path": dir, "path.path": dir, "path.basename": path.Base(dir)}
	for i, segment := range strings.Split(dir, "/") {
		values[fmt.Sprintf("path[%d]", i)] = segment
		values[fmt.Sprintf("index .path.segments %d", i)] = segment
	}
	return values
}

// matching are the folders here that the directories of a git generator take in.
func (f Folders) matching(directories []*yaml.Node) (dirs []string) {
	for dir := range f {
		if strings.HasPrefix(dir, ".") || strings.Contains(dir, "/.") { // nor the root itself
			continue
		}
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
	slices.Sort(dirs)
	return dirs
}

var placeholder = pattern.Later(`\{\{-?\s*\.?([\w.-]+(?:\[\d+\])?|index \.path\.segments \d+)\s*-?\}\}`)

// fill fills in a template, as far as its values are known.
func fill(template string, values map[string]string) string {
	if !strings.Contains(template, "{{") {
		return template
	}
	return placeholder().ReplaceAllStringFunc(template, func(found string) string {
		if value, ok := values[placeholder().FindStringSubmatch(found)[1]]; ok {
			return value
		}
		return found
	})
}

var anyPlaceholder = pattern.Later(`\{\{.*?\}\}`)

// Fitting are the folders here that a templated path may be.
func (f Folders) Fitting(template string) (dirs []string) {
	var text strings.Builder
	last := 0
	for _, at := range anyPlaceholder().FindAllStringIndex(template, -1) {
		text.WriteString(regexp.QuoteMeta(template[last:at[0]]) + ".+")
		last = at[1]
	}
	re, err := regexp.Compile("^(?:\\./)?" + text.String() + regexp.QuoteMeta(template[last:]) + "$")
	if err != nil || strings.Trim(anyPlaceholder().ReplaceAllString(template, ""), "/.") == "" {
		return nil // every folder would fit
	}
	for dir := range f {
		if re.MatchString(dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Globbed are the folders here that a pattern takes in.
func (f Folders) Globbed(pattern string) (dirs []string) {
	for dir := range f {
		if ok, err := path.Match(path.Clean(pattern), dir); ok && err == nil {
			dirs = append(dirs, dir)
		}
	}
	slices.Sort(dirs)
	return dirs
}

// Sources are the sources that a spec names.
func Sources(spec *yaml.Node) []*yaml.Node {
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

// IsTemplate tells whether a text is one of which only another program knows the value.
func IsTemplate(text string) bool {
	return strings.Contains(text, "{{") || strings.Contains(text, "${") || strings.Contains(text, "<<")
}

// Templated tells whether there is a template in a value.
func Templated(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return IsTemplate(n.Value)
	}
	for _, child := range n.Content {
		if Templated(child) {
			return true
		}
	}
	return false
}
