package validate

import (
	"testing"

	"clusterpair.dev/internal/manifest"
)

// TestUnsorted: keys are in order if kustomize build leaves them where they are,
// which counts numbers in names and takes digits and _ before letters.
func TestUnsorted(t *testing.T) {
	const box = "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]"
	for _, c := range []struct{ first, second, found string }{
		{"dc9", "dc10", ""}, {"dc10", "dc9", "dc9"}, {"a_b", "ab", ""}, {"ab", "a_b", "a_b"}, {"a", "b", ""}, {"b", "a", "a"}, {"", "a", ""},
	} {
		docs, err := manifest.Values([]byte("\""+c.first+"\": {x: \""+box+"\"}\nclear: y\n\""+c.second+"\": \""+box+"\"\n"), "f.yaml")
		if err != nil {
			t.Fatal(err)
		}
		found := ""
		if n := unsorted(docs[0]); n != nil {
			found = n.Value
		}
		if found != c.found {
			t.Errorf("%q before %q: found %q, want %q", c.first, c.second, found, c.found)
		}
	}
}
