package engine

import (
	"cmp"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/kustomize/kyaml/yaml/merge2"

	"clusterpair.dev/internal/manifest"
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
			applyOperations(object, doc)
		case doc.Kind == yaml.MappingNode:
			merge(object, doc)
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
	id := mapping("name", scalar(k.Prefix.Name+last.name+k.Suffix.Name), "namespace", scalar(cmp.Or(k.Namespace.Name, last.namespace)))
	if list := manifest.Field(object, renamed); list != nil {
		list.Content = append(list.Content, id)
	} else {
		object.Content = append(object.Content, scalar(renamed), &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{id}})
	}
}

// Selects tells whether a selector of kustomize takes in an object.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/resmap/reswrangler.go
func Selects(selector, object *yaml.Node) bool {
	group, version, _ := strings.Cut(manifest.Text(object, "apiVersion"), "/")
	if !anchored(manifest.Text(selector, "group"), group) || !anchored(manifest.Text(selector, "version"), version) ||
		!anchored(manifest.Text(selector, "kind"), manifest.Text(object, "kind")) {
		return false
	}
	// The name and the namespace are each the first or the last one, together or not.
	ids := namesOf(object)
	name, namespace := manifest.Text(selector, "name"), manifest.Text(selector, "namespace")
	first, last := ids[0], ids[len(ids)-1]
	if !anchored(name, first.name) && !anchored(name, last.name) || !anchored(namespace, first.namespace) && !anchored(namespace, last.namespace) {
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

// anchored tells whether a pattern, which may be empty, is that of a whole text.
func anchored(pattern, text string) bool {
	if pattern == "" || pattern == text {
		return true
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	return err == nil && re.MatchString(text)
}

// MayBePair tells whether a selector of kustomize can take in a ClusterPair.
func MayBePair(target *yaml.Node) bool {
	return anchored(manifest.Text(target, "kind"), "ClusterPair") && anchored(manifest.Text(target, "group"), "stork.libopenstorage.org")
}

// merge puts a strategic merge patch into an object of a kind of which kustomize knows no
// schema: lists are replaced, null removes. Kind and name stay, as they do in kustomize.
func merge(object, doc *yaml.Node) {
	kind, name := manifest.Field(object, "kind"), manifest.Field(object, "metadata", "name")
	if manifest.Text(doc, "$patch") == "delete" { // which keptBy knows
		object.Content = append(object.Content, scalar("$patch"), scalar("delete"))
		return
	}
	merged, err := merge2.Merge(kyaml.NewRNode(copyOf(doc)), kyaml.NewRNode(copyOf(object)), kyaml.MergeOptions{})
	if err == nil && merged != nil {
		object.Content = merged.YNode().Content
		restore(object, "kind", kind)
		restore(manifest.Field(object, "metadata"), "name", name)
	}
}

// restore gives a key of a mapping the value that it had.
func restore(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; n != nil && value != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
		}
	}
}

// applyOperations carries out a JSON 6902 patch.
func applyOperations(object, operations *yaml.Node) {
	text, err := jsonOf(operations)
	if err != nil {
		return
	}
	ops, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return
	}
	before, err := jsonOf(object)
	if err != nil {
		return
	}
	after, err := ops.Apply(before)
	if err != nil {
		return
	}
	var out yaml.Node
	if yaml.Unmarshal(after, &out) == nil && len(out.Content) == 1 {
		keepPositions(out.Content[0], object)
		object.Content = out.Content[0].Content
	}
}

func jsonOf(n *yaml.Node) ([]byte, error) {
	var value any
	if err := n.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(value)
}

// keepPositions gives a patched object the places of the original, where it has one.
func keepPositions(n, original *yaml.Node) {
	n.Line, n.Column = original.Line, original.Column
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		n.Content[i].Line, n.Content[i].Column = original.Line, original.Column
		if was := manifest.Field(original, n.Content[i].Value); was != nil {
			keepPositions(n.Content[i+1], was)
		} else {
			place(n.Content[i+1], original)
		}
	}
	for _, item := range n.Content {
		if n.Kind == yaml.SequenceNode {
			place(item, original)
		}
	}
}

// place puts a value and all below it where another one stands.
func place(n, at *yaml.Node) {
	n.Line, n.Column = at.Line, at.Column
	for _, child := range n.Content {
		place(child, at)
	}
}

func copyOf(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = copyOf(child)
	}
	return &c
}
