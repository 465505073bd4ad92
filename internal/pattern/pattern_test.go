package pattern

import (
	"regexp"
	"testing"
)

func TestTexts(t *testing.T) {
	for _, tt := range []struct {
		one, other string
		want       bool
	}{
		{``, `^clusters/c003/`, true},
		{`^clusters/c00`, `^clusters/c003/`, true},
		{`^clusters/c00`, `^clusters/c003/.*\.yaml$`, true},
		{`^clusters/c00.*\.yaml$`, `^clusters/c003/.*\.yaml$`, true},
		{`^clusters/c00[0-9]/`, `^clusters/c003/`, true},
		{`^clusters/c00`, `^clusters/(c003|c004)/.*`, true},
		{`clusters/`, `clusters/c003/`, true},
		{`.*`, `^clusters/c003/`, true},
		{`\.yaml$`, `^secrets/west\.yaml$`, true},
		{`^clusters/c003/`, `^clusters/c00`, false},
		{`^clusters/c003/`, `.*`, false},
		{`^clusters/c00/`, `^clusters/c003/`, false},
		{`^clusters/c003/`, `^clusters/c004/`, false},
		{`^clusters/c00[0-9]/pairs/`, `^clusters/c003/`, false},
		{`\.enc\.yaml$`, `^clusters/c003/`, false},
		{`^secrets/.*\.yaml$`, `^rendered/.*\.yaml$`, false},
		{`^clusters/(c003|c005)/`, `^clusters/(c003|c004)/`, false},
		{`^clusters/[a-z]+/`, `^clusters/.*/`, false},
		{`^a{2,3}$`, `^aa$`, true},
		{`^[^/]+\.yaml$`, `^(?:west|east)\.yaml$`, true},
		{`^[^/]+\.yaml$`, `^west.*\.yaml$`, false},
		{`a`, `[^\x00-\x{10FFFF}]`, false}, // which matches nothing
	} {
		if got := TextsOf(regexp.MustCompile(tt.other)).Match(regexp.MustCompile(tt.one)); got != tt.want {
			t.Errorf("%s covers %s: got %t", tt.one, tt.other, got)
		}
	}
}

func TestPrefix(t *testing.T) {
	for re, want := range map[string]string{"": "", "clusters/": "", "^clusters/c000/": "clusters/c000/", "^clusters/c0*/": "clusters/c", "^(a|b)": "", "^a|^b": "", "^a$|b": "", "(?i)^abc": "", "^abc?": "ab", "(?m)^abc": "", `^a\.yaml$`: "a.yaml", "^a{2}b": ""} {
		if got := Prefix(re); got != want {
			t.Errorf("%q: %q, want %q", re, got, want)
		}
	}
}
