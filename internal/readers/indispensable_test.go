package readers

import "testing"

func TestIndispensable(t *testing.T) {
	for _, tt := range []struct {
		name      string
		groups    [][]string
		threshold int
		want      string
	}{
		{"one key", [][]string{{"a"}}, 0, "a"},
		{"two keys", [][]string{{"a", "b"}}, 0, ""},
		{"one key twice", [][]string{{"a", "a"}}, 0, "a"},
		{"two groups, both needed", [][]string{{"a"}, {"b"}}, 0, "a"},
		{"two groups, both needed, one with two keys", [][]string{{"a", "b"}, {"c"}}, 2, "c"},
		{"two groups with two keys each", [][]string{{"a", "b"}, {"c", "d"}}, 0, ""},
		{"two of three groups", [][]string{{"a"}, {"b"}, {"c"}}, 2, ""},
		{"two of three groups, one key in two", [][]string{{"a"}, {"a"}, {"c"}}, 2, "a"},
		{"one of two groups", [][]string{{"a"}, {"b"}}, 1, ""},
	} {
		if got := Indispensable(tt.groups, tt.threshold); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
