package validate

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOrphanInAnyOrder reads two configs of one name in both orders: the message about a
// pair that neither renders is the same.
func TestOrphanInAnyOrder(t *testing.T) {
	config := func(dir string) File {
		return File{Name: dir + "/clusterpair.yaml", Path: dir + "/clusterpair.yaml", Data: []byte("apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: east}\n" +
			"spec: {output: rendered, files: [secrets], pairs: [{name: west, namespace: apps, destination: {secret: {name: west}}}]}\n")}
	}
	pair := File{Name: "old/west.yaml", Path: "old/west.yaml", Data: []byte("apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\n" +
		"metadata: {name: west, namespace: apps, annotations: {clusterpair.dev/generated-by: east}}\nspec: {config: {}}\n")}
	files := []File{config("a"), config("b"), pair}
	var messages []string
	for range 2 {
		v := New(Options{Only: []string{"orphan-pair"}, Orphans: true, Now: time.Now()})
		for _, f := range files {
			if err := v.File(context.Background(), f); err != nil {
				t.Fatal(err)
			}
		}
		for _, f := range v.Findings() {
			messages = append(messages, f.String())
		}
		slices.Reverse(files)
	}
	if len(messages) != 2 || messages[0] != messages[1] || !strings.Contains(messages[0], "at a/clusterpair.yaml") {
		t.Errorf("got %q", messages)
	}
}
