package holders

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/manifest"
)

func TestJudge(t *testing.T) {
	encode := base64.RawURLEncoding.EncodeToString
	token := encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(`{"kubernetes.io":{"namespace":"kube-system","secret":{"name":"stork-old"}}}`)) + ".c2ln"
	pair := func(annotations, token string) string {
		return fmt.Sprintf("apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata:\n  name: west\n  namespace: apps\n  annotations: {%s}\nspec:\n  config:\n    users: {stork: {token: %q}}\n", annotations, token)
	}
	for _, tt := range []struct {
		name, doc string
		want      string
	}{
		{"a pair that holds it", pair("clusterpair.dev/credential-id: secret:kube-system/stork-old", "ENC[]"), "holding"},
		{"that holds the one after it", pair("clusterpair.dev/credential-id: secret:kube-system/stork-new", "ENC[]"), ""},
		{"that holds the one of another namespace", pair("clusterpair.dev/credential-id: secret:dr/stork-old", "ENC[]"), ""},
		{"that holds it and a certificate", pair("clusterpair.dev/credential-id: \"secret:kube-system/stork-old,certificate:"+strings.Repeat("0", 64)+"\"", "ENC[]"), "holding"},
		{"that says nothing", pair("", "ENC[]"), "unknown"},
		{"that says what is no id", pair("clusterpair.dev/credential-id: none", "ENC[]"), "unknown"},
		{"the Secret of a copy", "kind: Secret\nmetadata: {name: west, annotations: {clusterpair.dev/credential-account: kube-system/stork, clusterpair.dev/credential-secret: stork-old}}\n", "holding"},
		{"the Secret itself", "kind: Secret\nmetadata: {name: west, annotations: {clusterpair.dev/credential-account: kube-system/stork, clusterpair.dev/credential-secret: stork-new, clusterpair.dev/credential-previous: stork-old}}\n", ""},
		{"a Secret of somebody else", "kind: Secret\nmetadata: {name: west}\n", "none"},
		{"a config", "kind: ClusterPairGenerator\nmetadata: {name: west}\n", "none"},
	} {
		docs, err := manifest.Values([]byte(tt.doc), "f.yaml")
		if err != nil {
			t.Fatal(err)
		}
		h, ok := Of(docs[0])
		holding, unknown := Judge([]Holder{h}, []string{"secret:kube-system/stork-old"})
		got := ""
		switch {
		case !ok:
			got = "none"
		case len(holding) > 0:
			got = "holding"
		case len(unknown) > 0:
			got = "unknown"
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	docs, err := manifest.Values([]byte(pair("", token)), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := Plain(docs[0]); !slices.Equal(got, []string{"secret:kube-system/stork-old"}) {
		t.Errorf("in clear: %q", got)
	}
	docs, err = manifest.Values([]byte(pair("", "short")), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := Plain(docs[0]); got == nil || len(got) > 0 {
		t.Errorf("what cannot be named: %#v", got)
	}
}
