package validate

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// TestPanicInOneDocument: a document that the program panics at hides no other, of
// its file or of others.
func TestPanicInOneDocument(t *testing.T) {
	v := New(Options{Now: time.Now(), Policy: func(_ string, doc *yaml.Node, _ string) []report.Finding {
		if manifest.Text(doc, "metadata", "name") == "boom" {
			panic("cannot bear it")
		}
		return nil
	}})
	const config = "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: NAME}\nspec: {bogus: 1}\n"
	file := func(name, text string) error {
		return v.File(context.Background(), File{Name: name, Path: name, Data: []byte(text)})
	}
	err := file("a.yaml", "# one\n"+config+"---\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: boom}\nspec: {pairs: []}\n---\n"+config)
	var failure *defect.Error
	if !errors.As(err, &failure) || failure.What != "a.yaml:7:1" {
		t.Errorf("the error is %v, want that of a.yaml:7:1", err)
	}
	if err := file("b.yaml", config); err != nil {
		t.Error(err)
	}
	found := make(map[report.Position]bool)
	for _, f := range v.Findings() {
		if f.Rule == "unknown-field" {
			found[f.Position] = true
		}
	}
	for _, at := range []report.Position{{File: "a.yaml", Line: 5, Column: 8}, {File: "a.yaml", Line: 15, Column: 8}, {File: "b.yaml", Line: 4, Column: 8}} {
		if !found[at] {
			t.Errorf("nothing is found at %s: %v", at, found)
		}
	}
}
