package manifest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// sameNode tells whether two nodes and all below them are the same, but for what Pack leaves
// out: comments and anchors.
func sameNode(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Style != b.Style || a.Tag != b.Tag || a.Value != b.Value || a.Line != b.Line || a.Column != b.Column || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !sameNode(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

func FuzzPack(f *testing.F) {
	for _, text := range []string{"", "a: b", "- 1\n- true\n- null\n- 2026-12-01\n", "a: {b: 'c', d: \"e\", f: !own g}", "a: |\n  text\n  more\nb: >\n  folded\n",
		"a: ''\n", "metadata: {annotations: {example.com/a: " + strings.Repeat("long", 40) + "}}", "&a [*a, \xff]"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		packed := Pack(&doc)
		if !sameNode(&doc, Unpack(packed)) {
			t.Errorf("%q is not what was packed", text)
		}
		if again := Pack(&doc); again != packed {
			t.Errorf("%q is packed in two ways", text)
		}
	})
}

// TestPackTexts: texts that come again take no room, however many goroutines meet them
// first; those without end do not fill the memory.
func TestPackTexts(t *testing.T) {
	pair := func(i int) *yaml.Node {
		var doc yaml.Node
		text := fmt.Sprintf("metadata: {name: pair-%d, annotations: {example.com/owner: value-of-the-platform, example.com/id: %064d}}", i, i)
		if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
			t.Fatal(err)
		}
		return &doc
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 2 * mostTexts {
				doc := pair(i + worker)
				if packed := Pack(doc); !sameNode(doc, Unpack(packed)) {
					t.Errorf("pair %d is not what was packed", i)
				} else if strings.Contains(packed, "value-of-the-platform") {
					t.Errorf("pair %d holds a text that all have", i)
				}
			}
		})
	}
	group.Wait()
	if len(texts.all) > mostTexts || len(texts.all) != len(texts.numbers) {
		t.Errorf("%d texts are kept, %d have a number", len(texts.all), len(texts.numbers))
	}
}
