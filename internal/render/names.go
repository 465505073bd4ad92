package render

import (
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/plan"
)

// renamer is a kustomization, or an object of Flux or Argo CD, that gives other names to
// what it takes in.
type renamer struct {
	takes                     []string // files and folders, from the root of the repository
	prefix, suffix, namespace string
}

// renamers are those of a repository.
type renamers struct {
	dirs  map[string]*renamer // kustomizations by their folders, those that rename nothing, too
	syncs []renamer
}

// kustomization notes one. Patches that stand in it are for [uses].
func (r *renamers) kustomization(dir string, n *yaml.Node) {
	k := &renamer{prefix: manifest.Text(n, "namePrefix"), suffix: manifest.Text(n, "nameSuffix"), namespace: manifest.Text(n, "namespace")}
	for _, key := range []string{"resources", "components", "bases"} {
		for _, entry := range manifest.Items(n, key) {
			k.takes = append(k.takes, path.Join(dir, entry.Value))
		}
	}
	for _, entry := range manifest.Items(n, "transformers") { // which stand in it
		docs, _ := manifest.Values([]byte(entry.Value), "")
		for _, doc := range docs {
			k.prefix += manifest.Text(doc, "prefix")
			k.suffix += manifest.Text(doc, "suffix")
		}
	}
	if r.dirs == nil {
		r.dirs = make(map[string]*renamer)
	}
	r.dirs[dir] = k
}

// sync notes an object of Flux or Argo CD that gives other names.
func (r *renamers) sync(n *yaml.Node) {
	spec := manifest.Field(n, "spec")
	add := func(at *yaml.Node, folder, namespace string) {
		s := renamer{[]string{path.Clean(strings.TrimPrefix(folder, "/"))}, manifest.Text(at, "namePrefix"), manifest.Text(at, "nameSuffix"), namespace}
		if s.prefix+s.suffix+s.namespace != "" {
			r.syncs = append(r.syncs, s)
		}
	}
	switch apiVersion := manifest.Text(n, "apiVersion"); {
	case strings.HasPrefix(apiVersion, "kustomize.toolkit.fluxcd.io/"):
		add(spec, manifest.Text(spec, "path"), manifest.Text(spec, "targetNamespace"))
	case strings.HasPrefix(apiVersion, "argoproj.io/"):
		if template := manifest.Field(spec, "template", "spec"); template != nil {
			spec = template
		}
		for _, source := range append(manifest.Items(spec, "sources"), manifest.Field(spec, "source")) {
			k := manifest.Field(source, "kustomize")
			add(k, literal(manifest.Text(source, "path")), manifest.Text(k, "namespace"))
		}
	}
}

// literal is the beginning of a path without variables: what is below it may be meant.
func literal(folder string) string {
	if at := variable().FindStringIndex(folder); at != nil {
		return folder[:strings.LastIndex(folder[:at[0]], "/")+1]
	}
	return folder
}

// takesIn tells whether a file is among what a renamer takes in, by way of bases, too.
func (r *renamers) takesIn(k *renamer, file string, seen map[*renamer]bool) bool {
	if seen[k] {
		return false
	}
	seen[k] = true
	return slices.ContainsFunc(k.takes, func(taken string) bool {
		if base := r.dirs[taken]; base != nil {
			return r.takesIn(base, file, seen)
		}
		return taken == file || taken == "." || strings.HasPrefix(file, taken+"/")
	})
}

// of are the names by which objects can mean one in a file: its own first, then those
// that it is given. An empty namespace stays so.
func (r *renamers) of(file string, own plan.Name) []plan.Name {
	type taker struct {
		*renamer
		bases int // those below it come first
	}
	var takers []taker
	for _, k := range r.dirs {
		if seen := make(map[*renamer]bool); k.prefix+k.suffix+k.namespace != "" && r.takesIn(k, file, seen) {
			takers = append(takers, taker{k, len(seen)})
		}
	}
	slices.SortFunc(takers, func(a, b taker) int { return a.bases - b.bases })
	for i := range r.syncs {
		if r.takesIn(&r.syncs[i], file, make(map[*renamer]bool)) {
			takers = append(takers, taker{&r.syncs[i], 0})
		}
	}
	names := []plan.Name{own}
	for _, k := range takers {
		for _, n := range slices.Clone(names) {
			if k.namespace != "" && own.Namespace != "" {
				n.Namespace = k.namespace
			}
			n.Name = k.prefix + n.Name + k.suffix
			if !slices.Contains(names, n) {
				names = append(names, n)
			}
		}
	}
	return names
}

// variable is what Flux, kustomize or Helm put something else in place of.
var variable = pattern.Later(`\$\{[^}]*\}|\$\([^)]*\)|\{\{.*?\}\}`)

// form is what matches each name that a text with variables can become, nil for a text
// without any.
func form(text string) *regexp.Regexp {
	if !variable().MatchString(text) {
		return nil
	}
	parts := variable().Split(text, -1)
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
}

// patches reads the patches that stand in a kustomization.
func (u *uses) patches(n *yaml.Node, file gitfiles.File) {
	for _, key := range []string{"patches", "patchesJson6902", "patchesStrategicMerge"} {
		for _, entry := range manifest.Items(n, key) {
			inline := entry
			if entry.Kind == yaml.MappingNode {
				if inline = manifest.Field(entry, "patch"); inline == nil {
					continue
				}
			}
			docs := []*yaml.Node{inline}
			if inline.Kind == yaml.ScalarNode {
				docs, _ = manifest.Values([]byte(inline.Value), "")
			}
			for _, doc := range docs {
				overlay.Place(doc, inline)
				u.document(doc, file)
			}
		}
	}
}

// operations reads a JSON 6902 patch, or replacements: what they put where an object
// names its pair. What a replacement puts there is not known.
func (u *uses) operations(n *yaml.Node, file gitfiles.File) {
	note := func(object, field string, at *yaml.Node, form *regexp.Regexp) {
		use := useOf(object, "", at, file)
		if form != nil {
			use.Pattern = form
		}
		switch field {
		case "clusterPair":
			u.named = append(u.named, use)
		case "adminClusterPair":
			u.admin = append(u.admin, use)
		case "migrationScheduleReference":
			u.actions = append(u.actions, use)
		}
	}
	if n == nil {
		return
	}
	for _, operation := range n.Content {
		if value := manifest.Field(operation, "value"); value != nil && value.Kind == yaml.ScalarNode {
			note("a patch", path.Base(manifest.Text(operation, "path")), value, nil)
		}
		for _, target := range manifest.Items(operation, "targets") {
			for _, field := range manifest.Items(target, "fieldPaths") {
				note("a replacement", field.Value[strings.LastIndexByte(field.Value, '.')+1:], field, anything())
			}
		}
	}
}

var anything = pattern.Later("")
