package leak_test

import (
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/leak"
)

// document is what is found in a document, as "LINE:COLUMN What".
func document(t *testing.T, text string) []string {
	t.Helper()
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(text), &n); err != nil {
		t.Fatal(err)
	}
	var all []string
	found := func(l leak.Leak) { all = append(all, fmt.Sprintf("%d:%d %s", l.Line, l.Column, l.What)) }
	leak.Document(&n, []byte(text), 1, found)
	leak.Comments([]byte(text), 1, found)
	return all
}

// opaque is a token that nothing but its place tells to be one.
const opaque = "q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty"

func TestPlaces(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"kubeconfig": {"users:\n- name: a\n  user:\n    token: hunter2\nclusters: []\n", "4:12 token of a kubeconfig"},
		"a text in a block": {"data:\n  kubeconfig: |\n    # a comment\n    clusters: []\n    users:\n    - name: a\n      user: {password: hunter2, username: b}\n",
			"7:24 password of a kubeconfig"},
		"two in a block": {"data:\n  kubeconfig: |\n    clusters: []\n    users:\n    - name: a\n      user: {token: hunter2}\n    - name: b\n      user: {token: hunter3}\n",
			"6:21 token of a kubeconfig; 8:21 token of a kubeconfig"},
		"a Secret":   {"kind: Secret\napiVersion: v1\ndata:\n  token: aHVudGVyMg==\n", "4:10 a credential"},
		"by its key": {"values:\n  apiToken: " + opaque + "\n", "2:13 a token"},
		"a comment":  {"a: b\n# token: " + opaque + "\n", "2:10 a token"},
		"a key":      {"a:\n  ? token:" + opaque + "\n", "2:11 a token"},
	} {
		if got := strings.Join(document(t, test.text), "; "); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestCommentInText finds a credential in a comment that is part of a value: it has
// the path of that value.
func TestCommentInText(t *testing.T) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("metadata:\n  note: |\n    token: none\n    # token: "+opaque+"\n"), &n); err != nil {
		t.Fatal(err)
	}
	var paths []string
	leak.Document(&n, nil, 1, func(l leak.Leak) { paths = append(paths, strings.Join(l.Path, ".")) })
	if got := strings.Join(paths, "; "); got != "metadata.note" {
		t.Errorf("got %q", got)
	}
}
