package manifest

import "testing"

// TestNodes finds values, and where they stand.
func TestNodes(t *testing.T) {
	docs, err := Values([]byte("kind: Secret\nmetadata:\n  name: west\n  labels: null\nlist: [a]\n"), "secret.yaml")
	if err != nil {
		t.Fatal(err)
	}
	doc := docs[0]
	for key, want := range map[string]int{"kind": 0, "metadata": 2, "list": 4, "name": -1} {
		if got := Index(doc, key); got != want {
			t.Errorf("%s stands at %d", key, got)
		}
	}
	if Index(nil, "kind") != -1 || Index(Field(doc, "list"), "a") != -1 {
		t.Error("a key stands in what is no mapping")
	}
	if got := Position(Field(doc, "metadata", "name"), "secret.yaml").String(); got != "secret.yaml:3:9" {
		t.Error(got)
	}
	if got := Position(Field(doc, "spec"), "secret.yaml").String(); got != "secret.yaml" {
		t.Error(got)
	}
	if Text(doc, "metadata", "name") != "west" || Text(doc, "metadata", "labels") != "" || Text(doc, "metadata") != "" {
		t.Error("texts are wrong")
	}
	ForgetPositions(doc)
	if at := Field(doc, "metadata", "name"); at.Line != 0 || at.Column != 0 {
		t.Errorf("still at %d:%d", at.Line, at.Column)
	}
}
