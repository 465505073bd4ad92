package validate

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestMatcher compares the matcher with a plain search.
func TestMatcher(t *testing.T) {
	words := []string{"abab", "bacba", "cabb", "aaab", "abac"}
	m := newMatcher(words)
	hits := 0
	for range 20000 {
		text := make([]byte, rand.IntN(40))
		for i := range text {
			text[i] = "abcd"[rand.IntN(4)]
		}
		want := false
		for _, word := range words {
			want = want || bytes.Contains(text, []byte(word))
		}
		if want {
			hits++
		}
		if got := m.in(text); got != want {
			t.Fatalf("%s: %v", text, got)
		}
	}
	if hits < 1000 {
		t.Errorf("only %d hits", hits)
	}
}

// TestInBase64 hides words in base64, wherever they begin.
func TestInBase64(t *testing.T) {
	for _, word := range hidden {
		for before := range 7 {
			text := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("#", before) + word + "##"))
			if !interesting().in([]byte(text)) {
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
