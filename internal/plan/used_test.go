package plan

import (
	"testing"

	"clusterpair.dev/internal/report"
)

func TestInUse(t *testing.T) {
	pair := func(file, namespace, name string) Pair {
		return Pair{Names: []Name{{namespace, name}}, Path: file + "/" + namespace + "/" + name + ".yaml", File: file}
	}
	a, b := pair("clusters/a/pairs", "apps", "west"), pair("clusters/b/pairs", "apps", "west")
	for _, tt := range []struct {
		name          string
		path          string // of the object
		namespaces    []string
		removed, kept []Pair
		want          string // the severity; empty for no finding
	}{
		{"the only one", "m.yaml", []string{"apps"}, []Pair{a}, nil, "error"},
		{"both", "m.yaml", []string{"apps"}, []Pair{a, b}, nil, "error"},
		{"another namespace", "m.yaml", []string{"dr"}, []Pair{a}, nil, ""},
		{"a namespace that a kustomization gives", "m.yaml", nil, []Pair{a}, nil, "error"},
		{"another name", "m.yaml", nil, []Pair{pair("clusters/a/pairs", "apps", "east")}, nil, ""},
		{"of the same cluster", "clusters/a/m.yaml", []string{"apps"}, []Pair{a}, []Pair{b}, "error"},
		{"of another cluster", "clusters/b/m.yaml", []string{"apps"}, []Pair{a}, []Pair{b}, ""},
		{"of any cluster", "base/m.yaml", []string{"apps"}, []Pair{a}, []Pair{b}, "warning"},
		{"names that begin alike", "clusters/a1/m.yaml", []string{"apps"}, []Pair{a}, []Pair{pair("clusters/a1/pairs", "apps", "west")}, ""},
		{"moved within a cluster", "clusters/a/m.yaml", []string{"apps"}, []Pair{a}, []Pair{pair("clusters/a/new", "apps", "west")}, "warning"},
	} {
		got := ""
		for _, f := range InUse(tt.removed, tt.kept, []Use{{Object: "Migration apps/move", Name: "west", Namespaces: tt.namespaces, Path: tt.path, Position: report.Position{File: tt.path, Line: 4}}}) {
			got += f.Severity.String()
			if f.Position.Line != 4 || f.Rule != "pair-in-use" {
				t.Errorf("%s: %+v", tt.name, f)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
