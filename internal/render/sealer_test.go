package render

import "testing"

func TestIsRendered(t *testing.T) {
	for _, tt := range []struct {
		name, file     string
		rendered, ours bool // by the config east
	}{
		{"as clusterpair writes it", "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata:\n  annotations:\n    clusterpair.dev/generated-by: east\nsops:\n  mac: x\n", true, true},
		{"quoted, and a comment", "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: \"ClusterPair\"\nmetadata:\n  annotations:\n    'clusterpair.dev/generated-by': \"east\"\nsops: # by sops\n  mac: x\n", true, true},
		{"KYAML", "---\n{\n  apiVersion: \"stork.libopenstorage.org/v1alpha1\",\n  kind: \"ClusterPair\",\n  metadata: {\n    annotations: {\n      clusterpair.dev/generated-by: \"east\",\n    },\n  },\n  sops: {\n    mac: \"x\",\n  },\n}\n", true, true},
		{"JSON", `{"kind": "ClusterPair", "metadata": {"annotations": {"clusterpair.dev/generated-by": "east"}}, "sops": {"mac": "x"}}`, true, true},
		{"of another config", `{"kind": "ClusterPair", "metadata": {"annotations": {"clusterpair.dev/generated-by": "eastern"}}, "sops": {"mac": "x"}}`, true, false},
		{"by hand", "kind: \"ClusterPair\"\nsops: {mac: x}\n", true, false},
		{"not encrypted", "kind: ClusterPair\nmetadata:\n  annotations:\n    clusterpair.dev/generated-by: east\n", false, false},
		{"a Secret", "kind: Secret\nmetadata: {name: ClusterPair}\nsops: {mac: x}\n", false, false},
		{"whole", "kind: ENC[AES256_GCM,data:x]\nmetadata: {name: ClusterPair}\nsops: {mac: x}\n", false, false},
		{"two documents", "{kind: ClusterPair, sops: {mac: x}}\n---\n{kind: ClusterPair}\n", false, false},
		{"a text about both", "ClusterPair and sops", false, false},
		{"nothing", "", false, false},
	} {
		if got := isRendered([]byte(tt.file)); got != tt.rendered {
			t.Errorf("%s: rendered is %t", tt.name, got)
		}
		if got := renderedBy("east")([]byte(tt.file)); got != tt.ours {
			t.Errorf("%s: rendered by east is %t", tt.name, got)
		}
	}
	if renderedBy("")([]byte("kind: ClusterPair\nsops: {}\n")) {
		t.Error("a config without a name has rendered a pair")
	}
}
