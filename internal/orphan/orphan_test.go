package orphan

import (
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

func TestFind(t *testing.T) {
	at := func(file string) report.Position { return report.Position{File: file, Line: 2, Column: 1} }
	east := Config{Name: "east", File: "east.yaml", Position: at("east.yaml"), Output: "rendered", Pairs: map[string]bool{"apps/west": true}}
	any := Config{Name: "fleet", File: "fleet.yaml", Position: at("fleet.yaml"), Output: "clusters/fleet"}
	for _, tt := range []struct {
		name    string
		configs []Config
		pair    Pair
		want    string // in message and hint; empty for no finding
	}{
		{"rendered", []Config{east}, Pair{Config: "east", ID: "apps/west", Path: "rendered/apps/west.yaml"}, ""},
		{"by a selector", []Config{east, any}, Pair{Config: "fleet", ID: "apps/any", Path: "clusters/fleet/apps/any.yaml"}, ""},
		{"a config for two kustomizations", []Config{east, {Name: "east", Output: "b/rendered", Pairs: east.Pairs}}, Pair{Config: "east", ID: "apps/west", Path: "b/rendered/apps/west.yaml"}, ""},
		{"the config is gone", []Config{any}, Pair{Config: "east", ID: "apps/west", Path: "rendered/apps/west.yaml"}, "warning there is no config east, which has rendered this ClusterPair: nothing renews its credential, and whoever has a key of it reads the credential | if no cluster uses it: rm rendered/apps/west.yaml"},
		{"no config at all", nil, Pair{Config: "east", ID: "apps/west", Path: "rendered/apps/west.yaml"}, "info there is no config east"},
		{"no config, and a creation rule", nil, Pair{Config: "east", ID: "apps/west", Path: "rendered/apps/west.yaml", Ruled: true}, "warning there is no config east"},
		{"the name was changed", []Config{{Name: "new", File: "new.yaml", Output: "rendered", Pairs: east.Pairs}}, Pair{Config: "east", ID: "apps/west", Path: "rendered/apps/west.yaml"}, "under a new name, clusterpair generate -f new.yaml"},
		{"the output has moved", []Config{{Name: "east", Position: at("east.yaml"), Output: "out", Pairs: east.Pairs}}, Pair{Config: "east", ID: "apps/west", Path: "rendered/apps/west.yaml"}, "warning config east at east.yaml:2:1 renders into out, and not here any more"},
		{"no longer listed", []Config{east}, Pair{Config: "east", ID: "apps/north", Path: "rendered/apps/north.yaml"}, "does not list this ClusterPair any more: nothing renews its credential, and whoever has a key of it reads the credential | remove it as the config says: clusterpair generate -f east.yaml"},
		{"a copy", []Config{east}, Pair{Config: "east", ID: "apps/west", Path: "backup/west.yaml"}, "not here any more"},
	} {
		tt.pair.Position = at(tt.pair.Path)
		got := ""
		for _, f := range Find(tt.configs, []Pair{tt.pair}) {
			got += f.Severity.String() + " " + f.Message + " | " + f.Hint
		}
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestTwins(t *testing.T) {
	at := func(file string) report.Position { return report.Position{File: file, Line: 1, Column: 1} }
	a := Config{Name: "east", Output: "rendered", Position: at("a.yaml")}
	for _, tt := range []struct {
		name    string
		configs []Config
		want    int
	}{
		{"one", []Config{a}, 0},
		{"the same, found twice", []Config{a, a}, 0},
		{"a copy", []Config{a, {Name: "east", Output: "rendered/", Position: at("b.yaml")}}, 1},
		{"another name", []Config{a, {Name: "west", Output: "rendered", Position: at("b.yaml")}}, 0},
		{"another output", []Config{a, {Name: "east", Output: "out", Position: at("b.yaml")}}, 0},
	} {
		if got := Twins(tt.configs); len(got) != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}
