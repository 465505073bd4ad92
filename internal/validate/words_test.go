package validate

import (
	"encoding/base64"
	"strings"
	"testing"
)

// TestInBase64 hides words in base64, wherever they begin.
func TestInBase64(t *testing.T) {
	for _, word := range hidden {
		for before := range 7 {
			text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("#", before) + word + "##"))
			if !interesting().In([]byte(text)) {
				t.Errorf("%s behind %d bytes is not seen", word, before)
			}
		}
	}
}

func BenchmarkWords(b *testing.B) {
	data := []byte(strings.Repeat("apiVersion: apps/v1\nkind: Deployment\nspec:\n  replicas: 3\n  template:\n    spec: {containers: [{name: a, image: b}]}\n", 8))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if concerns(&File{Path: "a.yaml", Data: data}) {
			b.Fatal("a word")
		}
	}
}
