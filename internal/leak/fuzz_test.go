package leak_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/leak"
)

// FuzzLeaks gives any text to all that look for credentials. Whatever it is, each
// one that is found stands inside of it, and what it is called holds nothing of
// the text.
func FuzzLeaks(f *testing.F) {
	for _, seed := range []string{
		"users:\n- name: a\n  user:\n    token: hunter2\nclusters: []\n",
		"data:\n  kubeconfig: |\n    clusters: []\n    users: [{name: a, user: {password: hunter2}}]\n",
		"kind: Secret\ndata: {token: aHVudGVyMg==}\nstringData: {a: &a \"{\\\"token\\\": \\\"x\\\"}\", b: *a}\n",
		"# token: " + opaque + "\n- --token\n- " + opaque + "\n",
		"TOKEN=" + opaque + "\nhttps://admin:hunter2hunter2@example.com\n",
		"-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END PRIVATE KEY-----\n",
		"cat <<EOF\n\tkind: Config\n\tclusters: []\n\tusers: [{name: a, user: {password: |\n\t hunter2}}]\nEOF\n",
		"  # kind: Config\n  # clusters: []\n  # users: [{name: a, user: {password: hunter2}}]\n  # ",
		"{\"kind\": \"Secret\", \"stringData\": {\"password\": \"hunter2\"}}\n{\"kind\": \"Secret\"}\nusers contexts {\n",
		"kind: Secret\nmetadata: {annotations: {a: H4sIAAAAAAAA/6vmAgBYCQDeAgAAAA==}}\n",
		"curl -u admin:hunter2hunter2 https://x\nENV KUBE_TOKEN " + opaque + "\n<token>" + opaque + "</token>\n",
		"users:\n- name: a\n  user: {exec: {command: a, args: [--client-secret, hunter2], env: [{name: A_SECRET, value: hunter2}]}}\nclusters: []\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		lines := 1 + bytes.Count(text, []byte("\n"))
		check := func(l leak.Leak) {
			if l.Line < 7 || l.Line >= 7+lines || l.Column < 0 {
				t.Errorf("line %d, column %d of %d lines", l.Line, l.Column, lines)
			}
			if l.What == "" {
				t.Error("it has no name")
			}
		}
		leak.Text(text, 7, check)
		leak.Comments(text, 7, check)
		var n yaml.Node
		if bytes.ContainsAny(text, "\r\u0085\u2028\u2029") || yaml.Unmarshal(text, &n) != nil || n.Kind == 0 {
			return
		}
		move(&n, 6)
		leak.Document(&n, text, 7, check)
	})
}

func move(n *yaml.Node, lines int) {
	n.Line += lines
	for _, child := range n.Content {
		move(child, lines)
	}
}

// TestSealed seals all values of what leaks: nothing is found any more.
func TestSealed(t *testing.T) {
	const sealed = "ENC[AES256_GCM,data:eyJhbGciOiJSUzI1NiJ9,iv:K7a9OZjPhzO4ciRs4ePvQZqPWiPYe+qg/iO8mFRjqEc=,tag:M7NTNQkFQeRf6zauBOH3jw==,type:str]"
	for _, text := range []string{
		"kind: Secret\nstringData: {token: X, password: X, client-key-data: X}\n",
		"clusters: []\nusers: [{name: a, user: {token: X, password: X, client-key-data: X}}]\n",
		"spec:\n  config: {users: {a: {token: X}}, clusters: X}\n  options: {token: X}\nkind: ClusterPair\n",
		"values: {bearerToken: X, keyData: X, apiToken: X, username: a, password: X}\n",
	} {
		if got := document(t, strings.ReplaceAll(text, "X", `"`+sealed+`"`)); len(got) > 0 {
			t.Errorf("%s: %v", text, got)
		}
		if got := document(t, strings.ReplaceAll(text, "X", "hunter2hunter2"+opaque)); len(got) == 0 {
			t.Errorf("%s: nothing is found", text)
		}
	}
}

// TestLinear looks into texts that were made to take long. A search whose time grows
// with the square of the text's length needs some 10^11 steps for one of them, which
// is far beyond the limit; a linear one stays far below it, under the race detector too.
func TestLinear(t *testing.T) {
	const size, limit = 1 << 19, time.Minute
	var deep strings.Builder
	for i := range 1000 {
		deep.WriteString(strings.Repeat(" ", i) + "users: [{\n" + strings.Repeat(" ", i) + "clusters:\n")
	}
	nested := "x"
	for range 12 {
		nested = `{"a": ` + strings.TrimSpace(string(must(yaml.Marshal(nested)))) + `}`
	}
	for name, text := range map[string]string{
		"JWT":           strings.Repeat("eyJ", size/3),
		"JWT, dots":     strings.Repeat("eyJhbGciOiJSUzI1NiJ9.", size/21),
		"keys":          strings.Repeat("-----BEGIN PRIVATE KEY-----\n", size/28),
		"URLs":          strings.Repeat("://", size/3),
		"base64":        strings.Repeat("A", size),
		"base64, lines": strings.Repeat(strings.Repeat("A", 76)+"\n", size/77),
		"tokens":        strings.Repeat("token: ", size/7),
		"one line":      strings.Repeat("token=x,", size/8),
		"hashes":        strings.Repeat(" #", size/2),
		"block":         "a: |\n" + strings.Repeat("  token: "+opaque+"\n", size/42),
		"quoted":        "a: \"" + strings.Repeat("token: "+opaque+"\\n", size/42) + "\"\n",
		"many":          strings.Repeat("- token: "+opaque+"\n", size/42),
		"blocks":        strings.Repeat("clusters:\nusers:\n x: y: z\n", size/26),
		"deep blocks":   deep.String(),
		"open JSON":     "kind Secret" + strings.Repeat(`{"a":`, size/5),
		"blank JSON":    "kind Secret" + strings.Repeat("{ ", size/2),
		"in itself":     "a: " + nested + "\n",
	} {
		start := time.Now()
		leak.Text([]byte(text), 1, func(leak.Leak) {})
		leak.Comments([]byte(text), 1, func(leak.Leak) {})
		asText := time.Since(start)
		var n yaml.Node
		if err := yaml.Unmarshal([]byte(text), &n); err != nil {
			n = yaml.Node{Kind: yaml.ScalarNode, Value: text, Line: 1}
		}
		start = time.Now()
		leak.Document(&n, []byte(text), 1, func(leak.Leak) {})
		if asDocument := time.Since(start); asText > limit || asDocument > limit {
			t.Errorf("%s: %v as a text, %v as a document", name, asText, asDocument)
		} else {
			t.Logf("%s: %v as a text, %v as a document", name, asText, asDocument)
		}
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}
