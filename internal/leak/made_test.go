package leak_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"clusterpair.dev/internal/leak"
)

// TestMadeUp: what people make up for examples and tests is no credential; what was drawn
// is one, words around it or not.
func TestMadeUp(t *testing.T) {
	encoded := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	for _, value := range []string{"password", "admin123", "Password1", "mysecretpassword", "super-secret-keystore-password", "s3cr3t-t0k3n", "S3cr3tP@ss", "blue-token",
		"newRootPassword123", "UPDATE_AWS_SECRET_ACCESS_KEY", "your-github-webhook-secret", "BASE64-TOKEN-VALUE-PLACEHOLDER", "minio123", "test123!", "grogu", "quobyte",
		encoded("password"), encoded("my-service-principal-client-secret\n"), encoded(encoded("auth-token-val")), "$$GITHUB_TOKEN"} {
		for _, text := range []string{"kind: Secret\napiVersion: v1\nstringData:\n  password: %s\n", "kind: Secret\napiVersion: v1\nstringData:\n  db: {username: app}\n  token: %s\n",
			"username: app\npassword: %s\n"} {
			if got := document(t, fmt.Sprintf(text, value)); got != nil {
				t.Errorf("%s in %q: got %q", value, text, got)
			}
		}
	}
	for _, value := range []string{"hunter2", opaque, "x-" + opaque, "example-keycloak-L6o2YuuyTOFl4YamLKGfZUUU4zqLI30S", "kHPdpIYtdtGXeStv", "5e9326ee-ac8d-40bf-9060-e91dbe9d9000",
		"Jj5A2KtlW2vQ8", encoded("hunter2"), "Tr0ub4dor&3x9Qz"} {
		if got := document(t, "kind: Secret\napiVersion: v1\nstringData:\n  password: "+value+"\n"); len(got) != 1 {
			t.Errorf("%s: got %q, want one", value, got)
		}
	}
}

// TestWordsOfUsers: a token or password of a user in a kubeconfig is one, whatever it is
// made up of: somebody may log in with it.
func TestWordsOfUsers(t *testing.T) {
	for _, user := range []string{"{token: s3cr3t-t0k3n-of-west}", "{username: admin, password: admin123}"} {
		if got := document(t, "clusters: []\nusers:\n- name: a\n  user: "+user+"\n"); len(got) != 1 {
			t.Errorf("%s: got %q, want one", user, got)
		}
	}
	for _, user := range []string{"{token: blue-token}", "{username: exp, password: some-password}"} { // of the documentation of Kubernetes
		if got := document(t, "clusters: []\nusers:\n- name: a\n  user: "+user+"\n"); got != nil {
			t.Errorf("%s: got %q", user, got)
		}
	}
}

// TestNoKey: a private key that is shortened, invented or only spoken of is none.
func TestNoKey(t *testing.T) {
	const begin, end = "-----BEGIN RSA PRIVATE " + "KEY-----\n", "-----END RSA PRIVATE KEY-----\n"
	line := strings.Repeat(opaque, 2) + "\n"
	for name, text := range map[string]string{
		"left out":    begin + "MIIEogIBAAKCAQEA" + line + "...\n" + line + end,
		"cut off":     begin + "MIIEogIBAAKCAQEA" + line + line + end,
		"invented":    begin + "Hwethgy123" + line + line + end,
		"only named":  "## it should start with\n## " + begin + "## name_should_line_up_with_a_tlsSecret_set_further_up and another_word_of_this_length\n",
		"in a secret": "kind: Secret\nstringData:\n  tls.key: |\n    " + strings.ReplaceAll(begin+"MIIEogIBAAKCAQEA"+line, "\n", "\n    ") + "\n",
	} {
		leak.Text([]byte(text), 1, func(l leak.Leak) { t.Errorf("%s: %s in line %d", name, l.What, l.Line) })
	}
}

// TestNoCredential: what looks like an option with a password, or like a token.
func TestNoCredential(t *testing.T) {
	for _, text := range []string{
		"curl http://localhost\n  - -upstream=http://localhost:9115\n",
		"user: app\nexport PGPASSWORD=ENC[AES256_GCM,data:yKLbaSgytDfpnR5KR4SZfSX7,iv:OZV6TZV2Z,type:str]\n",
		"\"RequestToken\": \"08ac298e-7cea-4d5f-89f4-ee88a4674425\",\n",
		"username := parts[0]\npassword := parts[1]\ntoken = d.getTokenForVolume(volumeName, params)\nPassword: mustGetEnvVariable(envPassword),\n",
	} {
		leak.Text([]byte(text), 1, func(l leak.Leak) { t.Errorf("%q: %s in line %d", text, l.What, l.Line) })
	}
}
