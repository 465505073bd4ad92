package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/plant"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
)

// TestSecretFixtures renders a pair from every Secret convention: from a file,
// from a file encrypted with SOPS, from an item of a List and from the stream
// of kustomize. All four give the same pair, and the used Secret leaves the
// stream.
func TestSecretFixtures(t *testing.T) {
	// What the config must say because the Secret does not.
	const server = "      server: https://west.example.com:6443\n"
	needs := map[string]string{
		"acm-import":      "    allow: [{rule: ca-missing, reason: its CA is a public one}]\n",
		"argocd-eks":      "    allow: [{rule: exec-credential, reason: Stork has the role}]\n",
		"karmada":         server,
		"service-account": server,
		"vcluster":        server,
	}
	paths, err := filepath.Glob("../../fixtures/secrets/*.yaml")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	key, err := filepath.Abs("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		system := strings.TrimSuffix(filepath.Base(path), ".yaml")
		fixture, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(system, func(t *testing.T) {
			t.Setenv("SOPS_AGE_KEY_FILE", key)
			secret := plant.Parse(t, fixture)
			name := manifest.Field(secret, "metadata", "name").Value
			config := `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: fixtures}
spec:
  storkVersion: "24.3"
  namespace: mig
  pairs:
  - name: pair
    destination:
      secret: {name: "` + name + `"}
` + needs[system] + `  files: [secret.yaml]
  encryption: {age: [age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs]}
`
			want := ""
			same := func(way string, plain string) {
				t.Helper()
				if want == "" {
					want = plain
				}
				if withoutDigest(plain) != withoutDigest(want) {
					t.Errorf("%s gives another pair:\n%s\nwant\n%s", way, plain, want)
				}
			}
			list, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{plant.Decoded(t, fixture)}})
			if err != nil {
				t.Fatal(err)
			}
			for way, content := range map[string]string{
				"a file": string(fixture), "a List": string(list),
				"several documents": "kind: Nothing\n---\n" + string(fixture) + "\n---\n# nothing\n",
			} {
				same(way, renderOne(t, config, content, false))
			}
			same("an encrypted file", renderOne(t, config, string(fixture), true))

			t.Chdir(t.TempDir())
			input, err := json.Marshal(map[string]any{"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList",
				"items": []any{plant.Decoded(t, fixture)}, "functionConfig": plant.Decoded(t, []byte(strings.Replace(config, "  files: [secret.yaml]\n", "", 1)))})
			if err != nil {
				t.Fatal(err)
			}
			var stdout, stderr bytes.Buffer
			if code := run(context.Background(), []string{}, bytes.NewReader(input), &stdout, &stderr); code != exitFine {
				t.Fatalf("exit %d: %s", code, &stderr)
			}
			items := manifest.Field(plant.Parse(t, stdout.Bytes()), "items")
			if len(items.Content) != 1 {
				t.Fatalf("%d items, want the pair alone", len(items.Content))
			}
			document, err := yaml.Marshal(items.Content[0])
			if err != nil {
				t.Fatal(err)
			}
			plain, err := seal.Decrypt(t.Context(), document, "stream")
			if err != nil {
				t.Fatal(err)
			}
			same("the stream", string(plain))
		})
	}
}

// renderOne runs generate on one Secret file and returns the plaintext of the
// rendered pair.
func renderOne(t *testing.T, config, secret string, encrypted bool) string {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, content := range map[string]string{"clusterpair.yaml": config, "secret.yaml": secret} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var stdout, stderr bytes.Buffer
	if encrypted {
		args := []string{"encrypt", "-i", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs", "secret.yaml"}
		if code := run(context.Background(), args, nil, &stdout, &stderr); code != exitFine {
			t.Fatalf("encrypt: exit %d: %s", code, &stderr)
		}
		if data := read(t, "secret.yaml"); !strings.Contains(data, "ENC[") || !sopsfile.IsEncrypted(plant.Parse(t, []byte(data))) {
			t.Fatal("the Secret is not encrypted")
		}
	}
	if code := run(context.Background(), []string{"generate"}, nil, &stdout, &stderr); code != exitFine {
		t.Fatalf("generate: exit %d: %s", code, &stderr)
	}
	plain, err := seal.Decrypt(t.Context(), []byte(read(t, "rendered/mig/pair.yaml")), "pair.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// withoutDigest drops the lines that tell a first rendering from another: one holds a
// new salt, the other is not there where the Secret is in clear.
func withoutDigest(document string) string {
	var kept strings.Builder
	for line := range strings.Lines(document) {
		if !strings.Contains(line, "clusterpair.dev/plaintext-digest:") && !strings.Contains(line, "clusterpair.dev/source:") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
