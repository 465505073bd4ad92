package generator

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestDigestTellsTreesApart digests trees that look alike when written down
// without lengths, kinds and tags.
func TestDigestTellsTreesApart(t *testing.T) {
	documents := []string{
		"{a: b}", "{a: 'b'}  # the same", "{ab: ''}", "{'': ab}", "{a: {b: ''}}", "{a: [b]}", "[a, b]", "[ab]", "[[a, b]]", "[[a], b]",
		"{a: '1'}", "{a: 1}", "{a: true}", "{a: 'true'}", "{a: null}", "{a: ''}", "{a: {}}", "{a: []}", "{a: b, c: d}", "{c: d, a: b}",
	}
	salt := make([]byte, saltSize)
	seen := make(map[string]string)
	for _, document := range documents {
		var node yaml.Node
		if err := yaml.Unmarshal([]byte(document), &node); err != nil {
			t.Fatal(err)
		}
		d := digest(salt, node.Content[0])
		same := strings.Contains(document, "the same")
		if other, twice := seen[d]; twice != same {
			t.Errorf("%s: digest %s, also that of %q", document, d, other)
		}
		seen[d] = document
	}
	other := append([]byte(nil), salt...)
	other[0] = 1
	if digest(salt, mapping()) == digest(other, mapping()) {
		t.Error("the salt does not matter")
	}
}

// FuzzPreviousSalt: whatever an earlier file holds, the salt is one that a
// digest can carry, and the one of a real digest is found again.
func FuzzPreviousSalt(f *testing.F) {
	f.Add([]byte("metadata:\n  annotations:\n    clusterpair.dev/plaintext-digest: sha256:00112233445566778899aabbccddeeff:00\n"))
	f.Add([]byte("    clusterpair.dev/plaintext-digest: sha256:0011:22\n"))
	f.Add([]byte("clusterpair.dev/plaintext-digest: sha256:"))
	f.Fuzz(func(t *testing.T, previous []byte) {
		salt := previousSalt(previous)
		if salt == nil {
			return
		}
		if len(salt) != saltSize {
			t.Fatalf("a salt of %d bytes", len(salt))
		}
		for _, line := range []string{"    " + AnnotationDigest + ": %s\n", "\t\t\"" + AnnotationDigest + "\": \"%s\",\n"} {
			if again := previousSalt(fmt.Appendf(nil, line, digest(salt, mapping()))); string(again) != string(salt) {
				t.Fatalf("the salt of a digest is not found again in %q", line)
			}
		}
	})
}
