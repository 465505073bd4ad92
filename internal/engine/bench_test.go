package engine

import (
	"fmt"
	"testing"

	"clusterpair.dev/internal/manifest"
)

// BenchmarkModel is a repository of 2,000 Kustomizations, each in a folder of its own below
// one that applies them all.
func BenchmarkModel(b *testing.B) {
	var notes Notes
	add := func(file, text string) {
		docs, err := manifest.Values([]byte(text), file)
		if err != nil || len(docs) != 1 {
			b.Fatal(err, len(docs))
		}
		notes.Add(Document{Path: file, Name: file, Node: docs[0]})
	}
	const head = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: %s, namespace: flux-system}\nspec: {sourceRef: {kind: GitRepository, name: flux-system}, path: ./%s}\n"
	add("root.yaml", fmt.Sprintf(head, "root", "apps"))
	var pairs []Pair
	for i := range 2000 {
		dir := fmt.Sprintf("apps/%d", i)
		add(dir+"/ks.yaml", fmt.Sprintf(head, fmt.Sprint("app", i), dir+"/app"))
		add(dir+"/kustomization.yaml", "resources: [ks.yaml]\n")
		pairs = append(pairs, Pair{Path: dir + "/app/pair.yaml", Encrypted: true})
	}
	for b.Loop() {
		if m := notes.Model(pairs, nil); len(m.Syncs) != 2001 || len(m.Applying("apps/7/app/pair.yaml")) != 1 {
			b.Fatal(len(m.Syncs))
		}
	}
}
