package readers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for _, tt := range []struct {
		name    string
		sources string // of recipients, pairs by commas, sources by semicolons
		want    string // OTHER>SOURCE, with a question mark if it is not certain
	}{
		{"one source", "a rec", ""},
		{"each its own", "a rec; b rec; c rec", ""},
		{"CI reads all", "a ci rec; b ci rec; c ci rec", ""},
		{"one key for all", "k rec; k rec; k rec", ""},
		{"one key and no more", "k; k", ""},
		{"a key for each region", "eu rec; eu rec; us rec; us rec", ""},
		{"CI for each region", "a cieu rec; b cieu rec; c cius rec; d cius rec", ""},
		{"a hub reads all", "hub rec; a hub rec; b hub rec", "0>1? 0>2?"},
		{"one reads another's", "a rec; a b rec; c rec", "0>1"},
		{"two sources", "a rec; a b rec", "0>1?"},
		{"without recovery", "a; a b; c", "0>1"},
		{"one pair of several", "a rec; b rec, a b rec; c rec", "0>1"},
		{"each other's in one pair", "a rec, a b rec; b rec, a b rec; c rec", "0>1 1>0"},
		{"CI missing at one", "a ci rec; a b rec; c ci rec; d ci rec", "0>1"},
		{"a new cluster with its own and the region's", "eu rec; eu rec; eu e rec; us rec", "0>2 1>2"},
		{"a key that is being exchanged", "a1 a2 rec; b rec; c rec", ""},
		{"two that are meant to share", "a b rec; a b rec; c rec", ""},
		{"nothing in common", "a, b; c, d", ""},
	} {
		sources := parse(tt.sources)
		var got []string
		for _, b := range Find(sources) {
			text := fmt.Sprintf("%d>%d", b.Other, b.Source)
			if !b.Certain {
				text += "?"
			}
			got = append(got, text)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.want)
		}
	}
}

func TestTogether(t *testing.T) {
	for _, tt := range []struct {
		name, sources, render, want string
	}{
		{"one key for all", "k rec; k rec", "ci rec", ""},
		{"one key and CI", "k ci rec; k ci rec", "ci rec", ""},
		{"each its own", "a rec; b rec", "ci rec", ""},
		{"all of both", "a b rec; a b rec", "ci rec", "0,1: a b"},
		{"all of three", "a b c rec; a b c rec; a b c rec", "ci rec", "0,1,2: a b c"},
		{"two of three", "a b rec; c rec; a b rec", "ci rec", "0,2: a b"},
		{"a key that is being exchanged", "a1 a2 rec; b rec", "ci rec", ""},
		{"several pairs", "a b rec, a b ci rec; a b rec", "ci rec", "0,1: a b"},
		{"of which one is for fewer", "a b rec, a rec; a b rec", "ci rec", ""},
		{"nobody tells who renders", "a b rec; a b rec", "", ""},
		{"one cluster", "a b rec; same a b rec", "ci rec same", ""},
	} {
		sources, same := parse(tt.sources), strings.Contains(tt.sources, "same")
		var got []string
		for _, g := range Together(sources, strings.Fields(tt.render), func(int, int) bool { return !same }) {
			got = append(got, strings.ReplaceAll(strings.Trim(fmt.Sprint(g.Sources), "[]"), " ", ",")+": "+strings.Join(g.Recipients, " "))
		}
		if text := strings.Join(got, "; "); text != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, text, tt.want)
		}
	}
}

// parse reads sources: recipients by blanks, pairs by commas, sources by semicolons.
func parse(text string) []Source {
	var sources []Source
	for s := range strings.SplitSeq(text, ";") {
		var source Source
		for pair := range strings.SplitSeq(s, ",") {
			source.Pairs = append(source.Pairs, strings.Fields(pair))
		}
		sources = append(sources, source)
	}
	return sources
}
