package overlay

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func parsed(t *testing.T, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Content[0]
}

// flow is a node as JSON has it.
func flow(t *testing.T, n *yaml.Node) string {
	t.Helper()
	text, err := JSON(n)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMerge(t *testing.T) {
	const object = "{kind: ClusterPair, metadata: {name: west}, spec: {a: 1, list: [1, 2], map: {b: 2, c: 3}}}"
	for patch, want := range map[string]string{
		"{spec: {a: 2}}":                                      `{"kind":"ClusterPair","metadata":{"name":"west"},"spec":{"a":2,"list":[1,2],"map":{"b":2,"c":3}}}`,
		"{spec: {list: [3], map: {c: null}}}":                 `{"kind":"ClusterPair","metadata":{"name":"west"},"spec":{"a":1,"list":[3],"map":{"b":2}}}`,
		"{kind: Other, metadata: {name: east}, spec: {a: 3}}": `{"kind":"ClusterPair","metadata":{"name":"west"},"spec":{"a":3,"list":[1,2],"map":{"b":2,"c":3}}}`,
		"{$patch: delete}":                                    `{"$patch":"delete","kind":"ClusterPair","metadata":{"name":"west"},"spec":{"a":1,"list":[1,2],"map":{"b":2,"c":3}}}`,
	} {
		n := parsed(t, object)
		Merge(n, parsed(t, patch))
		if got := flow(t, n); got != want {
			t.Errorf("%s: %s", patch, got)
		}
	}
}

// TestOperate: what is refused changes nothing, and what is changed keeps a place.
func TestOperate(t *testing.T) {
	const object = "kind: ClusterPair\nspec:\n  a: 1\n"
	for operations, want := range map[string]string{
		"[{op: replace, path: /spec/a, value: 2}]":                                        `{"kind":"ClusterPair","spec":{"a":2}}`,
		"[{op: add, path: /spec/b, value: {c: 3}}]":                                       `{"kind":"ClusterPair","spec":{"a":1,"b":{"c":3}}}`,
		"[{op: replace, path: /spec/a, value: 2}, {op: test, path: /kind, value: Other}]": `{"kind":"ClusterPair","spec":{"a":1}}`,
		"[{op: replace, path: /nowhere/a, value: 2}]":                                     `{"kind":"ClusterPair","spec":{"a":1}}`,
		"{op: replace}": `{"kind":"ClusterPair","spec":{"a":1}}`,
	} {
		n := parsed(t, object)
		Operate(n, parsed(t, operations))
		if got := flow(t, n); got != want {
			t.Errorf("%s: %s", operations, got)
		}
		if spec := n.Content[3]; spec.Line != 3 {
			t.Errorf("%s: spec is at line %d", operations, spec.Line)
		}
	}
}

// TestFolded: the keys of a kustomization have any case, but for what people name.
func TestFolded(t *testing.T) {
	for text, want := range map[string]string{
		"resources: [a]":                          `{"resources":["a"]} []`,
		"RESOURCES: [a]\nNamePrefix: b":           `{"namePrefix":"b","resources":["a"]} []`,
		"Patches: [{PATH: a, Target: {KIND: b}}]": `{"patches":[{"path":"a","target":{"kind":"b"}}]} []`,
		"commonLabels: {Name: a, Resources: b}":   `{"commonLabels":{"Name":"a","Resources":"b"}} []`,
		"labels: [{Pairs: {Name: a}}]":            `{"labels":[{"pairs":{"Name":"a"}}]} []`,
		"Resources: [a]\nresources: [b]":          `{"resources":["b"]} [Resources]`,
		"resources: [b]\nResources: [a]":          `{"resources":["b"]} [Resources]`,
	} {
		n, twice := Folded(parsed(t, text))
		var names []string
		for _, k := range twice {
			names = append(names, k.Value)
		}
		if got := flow(t, n) + fmt.Sprintf(" [%s]", strings.Join(names, " ")); got != want {
			t.Errorf("%s: %s", text, got)
		}
	}
}
