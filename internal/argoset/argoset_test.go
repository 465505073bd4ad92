package argoset

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/manifest"
)

// TestSets says which Applications a set makes in a repository, and where each goes.
func TestSets(t *testing.T) {
	folders := Folders{".": true, "pairs": true, "pairs/a": true, "pairs/b": true, ".git": true}
	const git = "git: {directories: [{path: pairs/*}]}"
	for _, tt := range []struct {
		name, generators, path, to string
		want                       []string // PATH TARGET
		unsure                     bool
	}{
		{"a folder each", git, "{{path}}", "{{path.basename}}", []string{"pairs/a a", "pairs/b b"}, false},
		{"one destination", git, "{{path}}", "hub", []string{"pairs/a hub", "pairs/b hub"}, false},
		{"the cluster of a folder", "matrix: {generators: [{" + git + "}, {clusters: {selector: {matchLabels: {cluster: '{{path.basename}}'}}}}]}", "{{path}}", "{{name}}",
			[]string{"pairs/a {{name}} {matchLabels: {cluster: 'a'}}", "pairs/b {{name}} {matchLabels: {cluster: 'b'}}"}, false},
		{"each cluster of a region", "matrix: {generators: [{" + git + "}, {clusters: {selector: {matchLabels: {region: eu}}}}]}", "{{path}}", "{{name}}",
			[]string{"pairs/a {{name}} {matchLabels: {region: eu}}", "pairs/b {{name}} {matchLabels: {region: eu}}"}, false},
		{"the folder of a cluster", "matrix: {generators: [{clusters: {}}, {git: {directories: [{path: 'pairs/{{name}}'}]}}]}", "{{path}}", "{{name}}", []string{"{{path}} "}, true},
		{"clusters alone", "clusters: {}", "pairs/{{name}}", "{{name}}", []string{"pairs/{{name}} {{name}} null"}, false},
		{"a list", "list: {elements: [{dir: a, to: x}, {dir: b, to: y}]}", "pairs/{{dir}}", "{{to}}", []string{"pairs/a x", "pairs/b y"}, false},
		{"a generator that asks others", "scmProvider: {}", "{{path}}", "{{name}}", []string{"{{path}} "}, true},
	} {
		docs, err := manifest.Values([]byte("spec: {generators: [{"+tt.generators+"}], template: {spec: {source: {path: '"+tt.path+"'}, destination: {name: '"+tt.to+"'}}}}\n"), "")
		if err != nil {
			t.Fatal(err)
		}
		sets, unsure := folders.Sets(docs[0])
		var got []string
		for _, values := range sets {
			app, doubt := Filled(docs[0], values)
			spec := manifest.Field(app, "spec")
			got = append(got, fmt.Sprint(manifest.Text(Sources(spec)[0], "path"), " ", strings.Join(strings.Fields(Target(app, values)), " "), doubt))
		}
		if !slices.Equal(got, tt.want) || (unsure != "") != tt.unsure {
			t.Errorf("%s: %q, unsure %q", tt.name, got, unsure)
		}
	}
}
