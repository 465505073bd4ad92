package words

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// TestMatcher compares the matcher with a plain search.
func TestMatcher(t *testing.T) {
	words := []string{"abab", "bacba", "cabb", "aaab", "abac"}
	m := New(words)
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
		if got := m.In(text); got != want {
			t.Fatalf("%s: %v", text, got)
		}
	}
	if hits < 1000 {
		t.Errorf("only %d hits", hits)
	}
}
