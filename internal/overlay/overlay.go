// Package overlay changes the nodes of an object as kustomize does.
//
// [Merge] is for strategic merge patches, [Operate] for JSON 6902 patches, [Folded] for the
// keys of a kustomization. What is changed keeps its places where it has any. What kustomize
// refuses changes nothing here.
package overlay

import (
	"encoding/json"

	"go.yaml.in/yaml/v3"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
	"sigs.k8s.io/kustomize/kyaml/yaml/merge2"

	"clusterpair.dev/internal/manifest"
)

// Merge puts a strategic merge patch into an object of a kind of which kustomize knows no
// schema: lists are replaced, null removes. Kind and name stay, as they do in kustomize.
func Merge(object, doc *yaml.Node) {
	kind, name := manifest.Field(object, "kind"), manifest.Field(object, "metadata", "name")
	if manifest.Text(doc, "$patch") == "delete" { // which the caller knows
		object.Content = append(object.Content, Scalar("$patch"), Scalar("delete"))
		return
	}
	merged, err := merge2.Merge(kyaml.NewRNode(Copy(doc)), kyaml.NewRNode(Copy(object)), kyaml.MergeOptions{})
	if err == nil && merged != nil {
		object.Content = merged.YNode().Content
		Set(object, "kind", kind)
		Set(manifest.Field(object, "metadata"), "name", name)
	}
}

// Set gives a key of a mapping another value.
func Set(n *yaml.Node, key string, value *yaml.Node) {
	for i := 0; n != nil && value != nil && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content[i+1] = value
		}
	}
}

// Operate carries out a JSON 6902 patch.
func Operate(object, operations *yaml.Node) {
	text, err := JSON(operations)
	if err != nil {
		return
	}
	ops, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return
	}
	before, err := JSON(object)
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

// JSON is a node as JSON has it.
func JSON(n *yaml.Node) ([]byte, error) {
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
			Place(n.Content[i+1], original)
		}
	}
	for _, item := range n.Content {
		if n.Kind == yaml.SequenceNode {
			Place(item, original)
		}
	}
}

// Place puts a value and all below it where another one stands.
func Place(n, at *yaml.Node) {
	n.Line, n.Column = at.Line, at.Column
	for _, child := range n.Content {
		Place(child, at)
	}
}

// Copy is a node of its own, and all below it.
func Copy(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = Copy(child)
	}
	return &c
}

// Scalar is a text.
func Scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// Mapping is a mapping of keys and values; a value may be nil.
func Mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i < len(pairs); i += 2 {
		if value, _ := pairs[i+1].(*yaml.Node); value != nil {
			n.Content = append(n.Content, Scalar(pairs[i].(string)), value)
		}
	}
	return n
}
