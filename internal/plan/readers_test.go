package plan

import (
	"slices"
	"strings"
	"testing"
)

func TestReaders(t *testing.T) {
	type change struct {
		before, after, secret string
		renewed               bool
	}
	for _, tt := range []struct {
		name    string
		changes []change
		want    []string
	}{
		{"nobody", []change{{"a b", "b a", "s/west.yaml", false}}, nil},
		{"one joins", []change{{"a", "a b", "s/west.yaml", false}}, []string{"b can decrypt 1 pair from now on"}},
		{"one leaves", []change{{"a b", "a", "s/west.yaml", false}, {"a b", "a", "s/west.yaml", false}},
			[]string{"b can decrypt 2 pairs no more, and still what is in the history of Git: renew the credential: clusterpair credential rotate --fleet --now s/west.yaml"}},
		{"of several Secrets", []change{{"b", "a", "s/west.yaml", false}, {"b", "a", "s/east.yaml", false}},
			[]string{"a can decrypt 2 pairs from now on", "b can decrypt 2 pairs no more, and still what is in the history of Git: renew the credentials of s/east.yaml, s/west.yaml, beginning with: clusterpair credential rotate --fleet --now s/east.yaml"}},
		{"with the credential", []change{{"a b", "a", "s/west.yaml", true}}, nil},
		{"of a file with a space", []change{{"a b", "a", "s/my west.yaml", false}}, []string{"b can decrypt 1 pair no more, and still what is in the history of Git: renew the credential: clusterpair credential rotate --fleet --now 's/my west.yaml'"}},
	} {
		configs := make([]Config, len(tt.changes)) // of a config each, which are merged
		for i, c := range tt.changes {
			configs[i].Readers.Change(strings.Fields(c.before), strings.Fields(c.after), c.secret, c.renewed)
		}
		if got := Lines(configs); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
