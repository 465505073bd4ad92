package leak_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"clusterpair.dev/internal/leak"
)

// cloud is a secret of a cloud's account, letters are a password that nothing but its
// place tells to be one, uuid is a token as those of Consul are.
const (
	cloud   = "wJalrXUtnFEMIxK7MDENGzbPxRfiCYq3Zr2mWx9L"
	letters = "ClaDpCorHnHdQb"
	uuid    = "3f1c9a52-7be4-4d08-9c61-e25a8f70b3d4"
)

// TestExec finds the secrets that a kubeconfig gives to an exec plugin or to an
// auth-provider, by the names of variables and flags, and none in what is no secret.
func TestExec(t *testing.T) {
	for user, want := range map[string]int{
		"exec: {command: aws, env: [{name: AWS_SECRET_ACCESS_KEY, value: " + cloud + "}]}":            1,
		"exec: {command: aws, env: [{name: OS_PASSWORD, value: " + letters + "}]}":                    1,
		"exec: {command: aws, env: [{name: SCW_SECRET_KEY, value: " + uuid + "}]}":                    1,
		"exec: {command: kubelogin, args: [get-token, --client-secret, hunter2]}":                     1,
		"exec: {command: kubectl, args: [oidc-login, get-token, --oidc-client-secret=hunter2]}":       1,
		"exec: {command: env, args: [\"AZURE_CLIENT_SECRET=hunter2\", kubelogin]}":                    1,
		"exec: {command: sh, args: [-c, \"AWS_SECRET_ACCESS_KEY=" + cloud + " aws eks get-token\"]}":  1,
		"auth-provider: {name: oidc, config: {client-id: a, client-secret: hunter2}}":                 1,
		"auth-provider: {name: oidc, config: {refresh-token: hunter2}}":                               1,
		"auth-provider: {name: oidc, config: {id-token: hunter2, access-token: hunter3}}":             2,
		"exec: {command: aws, args: [eks, get-token, --cluster-name, west, --region, eu-central-1]}":  0,
		"exec: {command: kubelogin, args: [get-token, --server-id, " + uuid + ", --client-id, a]}":    0,
		"exec: {command: aws, env: [{name: AWS_PROFILE, value: dr}, {name: AWS_REGION, value: b}]}":   0,
		"exec: {command: aws, env: [{name: AWS_ACCESS_KEY_ID, value: AKIAQ7ZR2MWX9LP4VT8K}]}":         0,
		"exec: {command: aws, env: [{name: AWS_ACCESS_KEY, value: AKIAQ7ZR2MWX9LP4VT8K}]}":            0,
		"exec: {command: a, env: [{name: AZURE_FEDERATED_TOKEN_FILE, value: /Var/run/token}]}":        0,
		"exec: {command: a, env: [{name: GOOGLE_APPLICATION_CREDENTIALS, value: /Users/Bob/k.json}]}": 0,
		"exec: {command: a, env: [{name: CLIENT_SECRET, value: \"${CLIENT_SECRET}\"}]}":               0,
		"exec: {command: a, env: [{name: CLIENT_SECRET, value: op://vault/west/secret}]}":             0,
		"exec: {command: a, env: [{name: CLIENT_SECRET, value: REDACTED}]}":                           0,
		"exec: {command: a, args: [get-token, --client-secret, --oidc-use-access-token, \"true\"]}":   0,
		"exec: {command: a, args: [--client-secret=$(SECRET), --token-cache-dir, /tmp/Cache]}":        0,
		"token: \"@Microsoft.KeyVault(SecretUri=https://west.vault.azure.net/secrets/token/)\"":       0,
	} {
		text := "apiVersion: v1\nkind: Config\nclusters: []\nusers:\n- name: a\n  user: {" + user + "}\n"
		for in, text := range map[string]string{
			"a kubeconfig":              text,
			"a ConfigMap":               "kind: ConfigMap\ndata:\n  a: |\n    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n",
			"an annotation of a Secret": "kind: Secret\nmetadata:\n  annotations:\n    a: " + base64.StdEncoding.EncodeToString([]byte(text)) + "\n",
			"a ClusterPair":             "kind: ClusterPair\nspec:\n  options: {}\n  config:\n    users:\n      a: {" + user + "}\n",
		} {
			if got := document(t, text); len(got) != want && (want < 2 || in != "an annotation of a Secret" || len(got) != 1) {
				t.Errorf("%s, %s: got %q, want %d", user, in, got, want)
			}
		}
	}
	argo := "execProviderConfig: {command: argocd-k8s-auth, env: {AWS_SECRET_ACCESS_KEY: " + cloud + ", AWS_REGION: a}}\n"
	if got := strings.Join(document(t, argo), "; "); !strings.Contains(got, "a secret in execProviderConfig of Argo CD") {
		t.Errorf("Argo CD: got %q", got)
	}
}

// TestCompressed finds what Rancher and Helm write, base64 of gzip, and what the
// operators of Banzai Cloud write, base64 of zip. A bomb costs a
// bounded time, and ends nothing.
func TestCompressed(t *testing.T) {
	gz := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}
	archive := func(text string) string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		file, err := w.Create("original")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = file.Write([]byte(text))
		_ = w.Close()
		return base64.StdEncoding.EncodeToString(b.Bytes())
	}
	object := `{"apiVersion":"v1","kind":"Secret","stringData":{"token":"hunter2"}}`
	bomb := gz(strings.Repeat(" ", 100<<20))
	for name, test := range map[string]struct{ text, want string }{
		"Rancher":     {"metadata:\n  annotations:\n    objectset.rio.cattle.io/applied: " + gz(object) + "\n", "3:38 a credential"},
		"Banzai":      {"metadata:\n  annotations:\n    banzaicloud.com/last-applied: " + archive(object) + "\n", "3:35 a credential"},
		"zip bomb":    {"a: " + archive(strings.Repeat(" ", 100<<20)) + "\nb: {token: " + opaque + "}\n", "2:12 a token"},
		"half a zip":  {"a: " + archive(object)[:60] + "\n", ""},
		"Helm":        {"kind: Secret\ndata:\n  release: " + base64.StdEncoding.EncodeToString([]byte(gz(object))) + "\n", "3:12 a credential"},
		"Secret":      {"kind: Secret\ndata:\n  a: " + gz(object) + "\n", "3:6 a credential"},
		"nothing":     {"a: " + gz("only words here") + "\n", ""},
		"a bomb":      {"a: " + bomb + "\nb: {token: " + opaque + "}\n", "2:12 a token"},
		"bombs":       {strings.Repeat("- "+bomb+"\n", 20) + "- token: " + opaque + "\n", "21:10 a token"},
		"cut off":     {"a: " + gz(object)[:40] + "\n", ""},
		"in a script": {"a: echo " + gz(object) + " | base64 -d\n", "1:9 a credential"},
	} {
		if got := strings.Join(document(t, test.text), "; "); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

// TestText finds credentials in scripts, pages and XML.
func TestText(t *testing.T) {
	const hex = "9f8e1c3b5d7a2046b8e0c1d3f5a79264"
	for text, want := range map[string]string{
		"curl -u admin:D6w6DCYffndsE7x9 https://west.example.com:6443/api\n":      "1:9 a password",
		"curl \\\n  --user 'admin:D6w6DCYffndsE7x9' https://west.example.com\n":   "2:11 a password",
		"curl -uadmin:D6w6DCYffndsE7x9 https://west.example.com\n":                "1:8 a password",
		"curl -u \"admin:${PASSWORD}\" https://west.example.com\n":                "",
		"curl -u admin:changeme https://west.example.com\n":                       "",
		"docker run -u 1000:1000 west\n":                                          "",
		"docker run --user app:group-2024 west\n":                                 "",
		"FROM west\nENV KUBE_TOKEN " + hex + "\n":                                 "2:16 a token",
		"set -gx KUBE_TOKEN " + hex + "\n":                                        "1:20 a token",
		"setx KUBE_TOKEN " + hex + "\n":                                           "1:17 a token",
		"kubectl config set users.a.password 'Tr0ub4dor&3xy'\n":                   "1:38 a password",
		"kubectl config set users.a.token " + hex + "\n":                          "1:34 a token",
		"the token " + hex + " is not told by a word before it\n":                 "",
		"ENV KUBE_TOKEN $TOKEN\n":                                                 "",
		"<config><token>" + hex + "</token></config>\n":                           "1:16 a token",
		"<token>K10" + hex + hex + "::server:" + hex + "</token>\n":               "1:8 a token",
		"<token>dop_v1_" + hex + hex + "</token>\n":                               "1:8 a token",
		"<token>kq3w7x." + hex[:16] + "</token>\n":                                "1:8 a token",
		"<k:bearerToken>" + hex + "</k:bearerToken>\n":                            "1:16 a token",
		"<token>${TOKEN}</token>\n":                                               "",
		"token=" + uuid + "\n":                                                    "1:7 a token",
		"curl -H 'Authorization: Bearer " + uuid + "' https://west.example.com\n": "1:32 a token",
		"id: " + uuid + "\n":                                                      "",
		"AWS_SECRET_ACCESS_KEY=" + cloud + "\n":                                   "1:23 a secret",
		"AZURE_CLIENT_SECRET: ${AZURE_CLIENT_SECRET}\n":                           "",
	} {
		var all []string
		leak.Text([]byte(text), 1, func(l leak.Leak) { all = append(all, fmt.Sprintf("%d:%d %s", l.Line, l.Column, l.What)) })
		if got := strings.Join(all, "; "); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// TestBlocks finds in a kubeconfig that is part of a text what is found in a file of
// its own: credentials that look like words.
func TestBlocks(t *testing.T) {
	indented := func(text, prefix string) string {
		return prefix + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+prefix) + "\n"
	}
	for _, user := range []string{"{username: admin, password: " + letters + "}", "{token: correct-horse-battery}", "{token: " + uuid + "}",
		"{exec: {command: a, env: [{name: CLIENT_SECRET, value: hunter2}]}}", "{token: \"${TOKEN}\"}", "{token: REDACTED}", "{exec: {command: a, args: [get-token]}}"} {
		kc := "apiVersion: v1\nkind: Config\nclusters:\n- name: w\n  cluster: {server: https://w}\n\nusers:\n- name: a\n  user: " + user + "\n"
		oneLine := `{"apiVersion":"v1","kind":"Config","clusters":[],"users":[{"name":"a","user":{"password":"` + letters + `"}}]}`
		want := len(document(t, kc))
		for name, text := range map[string]string{
			"here document":         "#!/bin/sh\ncat > kc <<'EOF'\n" + kc + "EOF\nkubectl get nodes\n",
			"here document in tabs": "if true; then\n\tcat > kc <<-'EOF'\n" + indented(kc, "\t") + "\tEOF\nfi\n",
			"Markdown":              "# The cluster\n\nPut this there:\n\n```yaml\n" + kc + "```\n\nThen run it.\n",
			"a quotation":           "> This:\n>\n" + indented(kc, "> ") + "\nThen run it.\n",
			"Terraform":             "resource \"a\" \"b\" {\n  content = <<-EOT\n" + indented(kc, "    ") + "  EOT\n}\n",
			"Python":                "kc = \"\"\"\n" + kc + "\"\"\"\nprint(kc)\n",
			"a comment":             "# a note\n" + indented(kc, "# ") + "\n",
			"a patch":               "--- a/kc\n+++ b/kc\n@@ -0,0 +1,9 @@\n" + indented(kc, "+"),
		} {
			var lines []int
			leak.Text([]byte(text), 1, func(l leak.Leak) { lines = append(lines, l.Line) })
			if len(lines) != want || want == 1 && !strings.Contains(strings.Split(text, "\n")[lines[0]-1], "user: {") {
				t.Errorf("%s, %s: found in lines %v, want %d", name, user, lines, want)
			}
		}
		workflow := "on: push\njobs:\n  a:\n    steps:\n    - run: |\n        cat > kc <<'EOF'\n" + indented(kc, "        ") + "        EOF\n"
		if got := document(t, workflow); len(got) != want || want == 1 && !strings.HasPrefix(got[0], "15:") {
			t.Errorf("a workflow, %s: got %q, want %d", user, got, want)
		}
		if got := document(t, "a: b\n"+indented(kc, "# ")+"c: d\n"); len(got) != want || want == 1 && !strings.HasPrefix(got[0], "10:") {
			t.Errorf("a comment in YAML, %s: got %q, want %d", user, got, want)
		}
		found := 0
		leak.Text([]byte("{\"a\": 1}\n"+oneLine+"\n"+oneLine+"\n"), 1, func(leak.Leak) { found++ })
		if found != 2 {
			t.Errorf("lines of JSON: found %d", found)
		}
	}
}
