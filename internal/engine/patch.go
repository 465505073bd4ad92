package engine

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// patch is a patch of kustomize: its documents, or the file that has them. Without a
// target it is for the object that it names itself.
type patch struct {
	target *yaml.Node
	docs   []*yaml.Node
	file   string // from the root of the repository
	at     report.Position
}

// patchOf is an entry of patches.
func (d *Document) patchOf(entry *yaml.Node) patch {
	p := patch{target: manifest.Field(entry, "target"), at: d.at(entry)}
	if name := manifest.Text(entry, "path"); name != "" {
		p.file = path.Join(path.Dir(d.Path), name)
	}
	if inline := manifest.Field(entry, "patch"); inline != nil {
		p.docs = inlineDocs(inline)
	}
	return p
}

// inlineDocs are the documents of a patch that stands in a kustomization, as a text or as
// a value.
func inlineDocs(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.ScalarNode {
		return []*yaml.Node{n}
	}
	docs, _ := manifest.Values([]byte(n.Value), "") // kustomize says what is wrong with it
	return docs
}

// apply changes an object as kustomize does with a patch that is for it; files has the
// documents of files. What kustomize refuses changes nothing here.
func (p patch) apply(object *yaml.Node, files map[string][]stored) {
	docs := slices.Clip(p.docs)
	for i := range files[p.file] {
		docs = append(docs, files[p.file][i].document().Node)
	}
	for _, doc := range docs {
		switch {
		case p.target != nil && !Selects(p.target, object), p.target == nil && !names(doc, object):
		case doc.Kind == yaml.SequenceNode:
			overlay.Operate(object, doc)
		case doc.Kind == yaml.MappingNode:
			overlay.Merge(object, doc)
		}
	}
}

// names tells whether a patch is for an object, by what it says itself.
func names(doc, object *yaml.Node) bool {
	group, _, _ := strings.Cut(manifest.Text(doc, "apiVersion"), "/")
	of, _, _ := strings.Cut(manifest.Text(object, "apiVersion"), "/")
	name, namespace := manifest.Text(doc, "metadata", "name"), manifest.Text(doc, "metadata", "namespace")
	return group == of && manifest.Text(doc, "kind") == manifest.Text(object, "kind") && slices.ContainsFunc(namesOf(object), func(id named) bool {
		return name == id.name && (namespace == "" || namespace == id.namespace)
	})
}

// named is a name that an object has had in a build.
type named struct{ name, namespace string }

// renamed is the key under which those are noted that kustomizations have given to it.
const renamed = "$renamed"

func namesOf(object *yaml.Node) []named {
	names := []named{{manifest.Text(object, "metadata", "name"), manifest.Text(object, "metadata", "namespace")}}
	for _, id := range manifest.Items(object, renamed) {
		names = append(names, named{manifest.Text(id, "name"), manifest.Text(id, "namespace")})
	}
	return names
}

// rename notes the name that a kustomization gives to an object.
func (k *Kustomization) rename(object *yaml.Node) {
	if !k.Renames() {
		return
	}
	names := namesOf(object)
	last := names[len(names)-1]
	id := overlay.Mapping("name", overlay.Scalar(k.Prefix.Name+last.name+k.Suffix.Name), "namespace", overlay.Scalar(cmp.Or(k.Namespace.Name, last.namespace)))
	if list := manifest.Field(object, renamed); list != nil {
		list.Content = append(list.Content, id)
	} else {
		object.Content = append(object.Content, overlay.Scalar(renamed), &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{id}})
	}
}

// Selects tells whether a selector of kustomize takes in an object.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/resmap/reswrangler.go
func Selects(selector, object *yaml.Node) bool {
	group, version, _ := strings.Cut(manifest.Text(object, "apiVersion"), "/")
	if !pattern.Anchored(manifest.Text(selector, "group"), group) || !pattern.Anchored(manifest.Text(selector, "version"), version) ||
		!pattern.Anchored(manifest.Text(selector, "kind"), manifest.Text(object, "kind")) {
		return false
	}
	// The name and the namespace are each the first or the last one, together or not.
	ids := namesOf(object)
	name, namespace := manifest.Text(selector, "name"), manifest.Text(selector, "namespace")
	first, last := ids[0], ids[len(ids)-1]
	if !pattern.Anchored(name, first.name) && !pattern.Anchored(name, last.name) || !pattern.Anchored(namespace, first.namespace) && !pattern.Anchored(namespace, last.namespace) {
		return false
	}
	rn := kyaml.NewRNode(object)
	for key, matches := range map[string]func(string) (bool, error){"labelSelector": rn.MatchesLabelSelector, "annotationSelector": rn.MatchesAnnotationSelector} {
		if s := manifest.Text(selector, key); s != "" {
			if ok, err := matches(s); err != nil || !ok {
				return false
			}
		}
	}
	return true
}

// MayBePair tells whether a selector of kustomize can take in a ClusterPair.
func MayBePair(target *yaml.Node) bool {
	return pattern.Anchored(manifest.Text(target, "kind"), "ClusterPair") && pattern.Anchored(manifest.Text(target, "group"), "stork.libopenstorage.org")
}
