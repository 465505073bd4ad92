package engine

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
)

// ignoring is a setting by which an engine does not compare a field of objects.
type ignoring struct {
	Reference
	name, namespace string // of the object; empty is any
	perhaps         string // why nobody can tell whether a changed credential stays away
}

// ignored is the setting that keeps a changed credential of a pair away from the cluster,
// and why nobody can tell, if so.
func (m *Model) ignored(s *Sync, file string) (setting Reference, perhaps string) {
	for _, i := range s.ignores {
		if i.name != "" && !m.named(s, file, i.name) || i.namespace != "" && m.namespaceOf(s, file) != i.namespace {
			continue
		}
		if i.perhaps == "" {
			return i.Reference, ""
		}
		setting, perhaps = i.Reference, i.perhaps
	}
	return setting, perhaps
}

// named tells whether the pair in a file may get a name.
func (m *Model) named(s *Sync, file, name string) bool {
	stub := m.stub(file)
	if stub == nil {
		return true
	}
	own := manifest.Text(stub.document().Node, "metadata", "name")
	return own == name || strings.Contains(name, own) && m.renames(s)
}

// namespaceOf is the namespace that the pair in a file gets, empty if that is not known.
func (m *Model) namespaceOf(s *Sync, file string) string {
	if stub := m.stub(file); stub != nil && !m.renames(s) {
		return manifest.Text(stub.document().Node, "metadata", "namespace")
	}
	return ""
}

// renames tells whether a kustomization that a sync builds gives objects other names.
func (m *Model) renames(s *Sync) bool {
	for dir := range s.Dirs {
		if m.dirs[dir].Renames() {
			return true
		}
	}
	return false
}

// addIgnored notes those of some values that name a credential of a ClusterPair.
func (s *Sync) addIgnored(d *Document, i ignoring, values []*yaml.Node, keysOf func(string) (keys []string, ok bool)) {
	for _, v := range values {
		i.Reference = Reference{strings.Clone(v.Value), d.at(v)}
		keys, ok := keysOf(v.Value)
		switch perhaps := i.perhaps; {
		case !ok:
			i.perhaps = "only jq knows what this path names"
			s.ignores = append(s.ignores, i)
			i.perhaps = perhaps
		case perhaps != "" && len(keys) > 2 && keys[2] == "clusters": // a rotation changes users, too
		case isCredential(keys):
			s.ignores = append(s.ignores, i)
		}
	}
}

// isCredential tells whether a field of a ClusterPair has a credential in it, or is one.
func isCredential(keys []string) bool {
	for i, known := range []string{"spec", "config"} {
		if i < len(keys) && keys[i] != known && keys[i] != every {
			return false
		}
	}
	return len(keys) < 3 || slices.Contains([]string{"clusters", "users", every}, keys[2])
}

// every stands for each key or item.
const every = "*"

// pointer are the keys of a JSON pointer.
func pointer(text string) (keys []string, ok bool) {
	for _, key := range strings.Split(strings.TrimPrefix(text, "/"), "/") {
		keys = append(keys, strings.NewReplacer("~1", "/", "~0", "~").Replace(key))
	}
	return keys, true
}

// jqPath are the keys of a path of jq, if it is a plain one. Others are not followed.
func jqPath(text string) (keys []string, ok bool) {
	rest := strings.TrimSpace(text)
	for rest != "" {
		step := jqStep().FindStringSubmatch(rest)
		if step == nil {
			// A path that names no field on the way to a credential is none of it.
			return []string{"metadata"}, !jqReaches().MatchString(text)
		}
		rest = rest[len(step[0]):]
		switch key := firstOf(step[1:]...); {
		case key != "":
			keys = append(keys, key)
		case strings.Contains(step[0], "["):
			keys = append(keys, every)
		}
	}
	return keys, true
}

var (
	jqStep    = pattern.Later(`^(?:\.([A-Za-z_]\w*)|\.?"([^"\\]+)"|\.?\["([^"\\]+)"\]|\.?\[\d*\])\??`)
	jqReaches = pattern.Later(`\bspec\b|\bconfig\b|\.\.|recurse|walk|paths|with_entries|keys|getpath|tostream|\.\[\]`)
)

// argoIgnores reads what an Application does not compare. It keeps a change away if it is
// to be respected; else the change waits for one of another object.
// https://argo-cd.readthedocs.io/en/stable/user-guide/diffing/
func (s *Sync) argoIgnores(d *Document, spec *yaml.Node) {
	options := manifest.Items(spec, "syncPolicy", "syncOptions")
	has := func(option string) bool {
		return slices.ContainsFunc(options, func(o *yaml.Node) bool { return o.Value == option })
	}
	for _, entry := range manifest.Items(spec, "ignoreDifferences") {
		if !pattern.Glob(manifest.Text(entry, "kind"), "ClusterPair") || !pattern.Glob(manifest.Text(entry, "group"), "stork.libopenstorage.org") {
			continue
		}
		i := ignoring{name: strings.Clone(manifest.Text(entry, "name")), namespace: strings.Clone(manifest.Text(entry, "namespace"))}
		if !has("RespectIgnoreDifferences=true") && !has("ApplyOutOfSyncOnly=true") {
			i.perhaps = "a rotated credential gets there only along with a change of something else that the Application applies"
		}
		s.addIgnored(d, i, manifest.Items(entry, "jsonPointers"), pointer)
		s.addIgnored(d, i, manifest.Items(entry, "jqPathExpressions"), jqPath)
		s.addIgnored(d, i, manifest.Items(entry, "managedFieldsManagers"), func(manager string) ([]string, bool) {
			if manager == "argocd-controller" { // which has written all of it
				return nil, true
			}
			return []string{"status"}, true
		})
	}
}

// looksAway tells whether Argo CD passes over a change of a file, because it looks for
// changes elsewhere alone.
// https://argo-cd.readthedocs.io/en/stable/operator-manual/high_availability/#manifest-paths-annotation
func (s *Sync) looksAway(file string) bool {
	if s.generatePaths.Name == "" {
		return false
	}
	for item := range strings.SplitSeq(s.generatePaths.Name, ";") {
		if item == "" {
			continue
		}
		at := path.Join(s.Path, item)
		if strings.HasPrefix(item, "/") {
			at = path.Clean(strings.TrimPrefix(item, "/"))
		}
		if matched, err := path.Match(at, file); at == file || Below(file, at) || matched && err == nil {
			return false
		}
	}
	return true
}

// isOverride tells whether a file has the name of one that Argo CD reads into a source.
func isOverride(file string) bool {
	base := path.Base(file)
	return strings.HasPrefix(base, ".argocd-source") && strings.HasSuffix(base, ".yaml")
}
