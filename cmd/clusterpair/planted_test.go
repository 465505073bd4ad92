package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// planted is what no output may hold, in any spelling of it.
const planted = "PLANTED-cr3dential"

// shapes are the ways in which a credential can be wrong: each makes another
// reader, ours or a library's, stumble over it and be tempted to quote it.
var shapes = map[string]string{
	"as it is":         planted,
	"with white space": planted + " x\ty\n",
	"with a newline":   planted + "\nsecond: line",
	"as base64":        base64.StdEncoding.EncodeToString([]byte(planted)),
	"as PEM":           "-----BEGIN CERTIFICATE-----\n" + planted + "\n-----END CERTIFICATE-----\n",
	"as PEM in base64": base64.StdEncoding.EncodeToString([]byte("-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(planted)) + "\n-----END PRIVATE KEY-----\n")),
	"as a URL":         "https://user:" + planted + "@west.example.com:6443",
	"as JSON":          `{"` + planted + `": ["` + planted + `"`,
	"as YAML":          "a: [" + planted + ", {" + planted + ": *" + planted,
	"as a JWT":         "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":"`+planted+`"}`)) + ".c2ln",
	"encrypted":        "ENC[AES256_GCM,data:" + planted + ",iv:" + planted + ",tag:" + planted + ",type:str]",
	"with a NUL":       planted + "\x00\x1b[31m",
}

// TestNoSecretInAnyOutput plants recognisable values into every field of every
// Secret fixture, one at a time and in every shape, and runs the commands on
// it. Whatever they do, the value reaches neither standard output nor standard
// error nor a file.
func TestNoSecretInAnyOutput(t *testing.T) {
	paths, err := filepath.Glob("../../fixtures/secrets/*.yaml")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	runs := 0
	for _, path := range paths {
		fixture, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for shape, value := range shapes {
				for field, document := range plant(t, fixture, value) {
					runs++
					checkNothingLeaks(t, dir, field+" "+shape, document)
				}
			}
		})
	}
	if runs < 1000 {
		t.Errorf("only %d runs: nothing was planted", runs)
	}
}

// checkNothingLeaks runs the commands on one Secret.
func checkNothingLeaks(t *testing.T, dir, what string, document []byte) {
	t.Helper()
	secret := parseOne(t, document)
	name := child(child(secret, "metadata"), "name").Value
	config := `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: planted}
spec:
  storkVersion: "24.3"
  namespace: mig
  pairs:
  - name: pair
    destination: {secret: {name: "` + name + `"}, server: "https://west.example.com:6443"}
    options: {ip: 10.0.0.9, tokenFrom: {secret: {name: "` + name + `", key: token}}}
  - name: other
    destination: {secret: {name: "` + name + `"}}
    allow: [{rule: tls-skipped, reason: test}, {rule: basic-auth, reason: test}, {rule: exec-credential, reason: test}, {rule: no-credential, reason: test}]
  files: [secret.yaml]
  encryption: {age: [age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs]}
`
	write := func(name, content string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("secret.yaml", string(document))
	write("clusterpair.yaml", config)
	list, err := json.Marshal(map[string]any{"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList",
		"items": []any{decoded(t, document)}, "functionConfig": decoded(t, []byte(strings.Replace(config, "  files: [secret.yaml]\n", "", 1)))})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := ""
	for _, section := range []string{"data", "stringData"} {
		if values := child(secret, section); values != nil && len(values.Content) > 1 {
			kubeconfig = values.Content[1].Value
			if raw, err := base64.StdEncoding.DecodeString(kubeconfig); section == "data" && err == nil {
				kubeconfig = string(raw)
			}
		}
	}
	write("kubeconfig.yaml", kubeconfig)

	inputs := []string{"secret.yaml", "clusterpair.yaml", "kubeconfig.yaml"}
	for _, run := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"generate", "--diff"}},
		{"", []string{"generate", "--check"}},
		{string(list), nil},
		{"", []string{"generate", "pair", "--kubeconfig", "kubeconfig.yaml", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"}},
		{"", []string{"decrypt", "secret.yaml"}},
		{"", []string{"encrypt", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs", "kubeconfig.yaml"}},
	} {
		var stdout, stderr bytes.Buffer
		runIn(t, run.args, run.stdin, &stdout, &stderr)
		for stream, output := range map[string][]byte{"standard output": stdout.Bytes(), "standard error": stderr.Bytes()} {
			if at := leak(output); at != "" {
				t.Fatalf("%s: clusterpair %s: %s holds the value: %s", what, strings.Join(run.args, " "), stream, at)
			}
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(inputs, d.Name()) {
			return err
		}
		data, err := os.ReadFile(path)
		if at := leak(data); at != "" {
			t.Fatalf("%s: %s holds the value: %s", what, path, at)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "rendered")); err != nil {
		t.Fatal(err)
	}
}

func runIn(t *testing.T, args []string, stdin string, stdout, stderr *bytes.Buffer) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Fatalf("clusterpair %s panics", strings.Join(args, " "))
		}
	}()
	run(context.Background(), args, strings.NewReader(stdin), stdout, stderr)
}

// leak finds the planted value in an output, in clear, in base64 at any offset
// or in hexadecimal, and returns what stands around it.
func leak(output []byte) string {
	for _, needle := range needles {
		if i := bytes.Index(output, []byte(needle)); i >= 0 {
			return fmt.Sprintf("%q", output[max(0, i-60):min(len(output), i+60)])
		}
	}
	return ""
}

// needles are spellings of the planted value: plain, hexadecimal, and the part
// of each base64 alignment that does not depend on what stands beside it.
var needles = func() []string {
	n := []string{planted, "cr3dential", fmt.Sprintf("%x", planted)}
	for offset := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + planted))
		n = append(n, encoded[4*((offset+2)/3):len(encoded)-4])
	}
	return n
}()

// plant replaces each value of a Secret by a planted one, one at a time: the
// values themselves, and those of the kubeconfig or JSON within.
func plant(t *testing.T, fixture []byte, value string) map[string][]byte {
	t.Helper()
	documents := make(map[string][]byte)
	secret := parseOne(t, fixture)
	emit := func(field string) {
		out, err := yaml.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		documents[field] = out
	}
	for _, section := range []string{"data", "stringData"} {
		values := child(secret, section)
		if values == nil {
			continue
		}
		for i := 0; i+1 < len(values.Content); i += 2 {
			key, node := values.Content[i].Value, values.Content[i+1]
			original := *node
			text := node.Value
			encode := func(s string) string { return s }
			if section == "data" {
				raw, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					t.Fatalf("%s.%s: %v", section, key, err)
				}
				text, encode = string(raw), func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
			}
			set := func(field, s string) {
				*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: encode(s)}
				emit(section + "." + key + field)
				*node = original
			}
			set("", value)
			set(" cut", text[:len(text)/2]+"\n"+value)
			if section == "data" { // not even base64
				*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
				emit(section + "." + key + " raw")
				*node = original
			}
			var inner yaml.Node
			if yaml.Unmarshal([]byte(text), &inner) != nil || len(inner.Content) == 0 || inner.Content[0].Kind != yaml.MappingNode {
				continue
			}
			for path, leaf := range credentials(inner.Content[0], "") {
				before := *leaf
				*leaf = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
				out, err := yaml.Marshal(&inner)
				*leaf = before
				if err != nil {
					t.Fatal(err)
				}
				set(path, string(out))
			}
		}
	}
	return documents
}

// credentials are the scalars of a kubeconfig that hold, or could hold, a
// secret. Names, servers and paths are no secrets: findings quote them.
func credentials(n *yaml.Node, path string) map[string]*yaml.Node {
	found := make(map[string]*yaml.Node)
	for i, c := range n.Content {
		below := fmt.Sprintf("%s.%d", path, i)
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			key := n.Content[i-1].Value
			below = path + "." + key
			if c.Kind == yaml.ScalarNode && slices.Contains([]string{"token", "password", "username", "client-key-data", "client-certificate-data",
				"certificate-authority-data", "bearerToken", "caData", "certData", "keyData", "value"}, key) {
				found[below] = c
			}
		}
		for p, leaf := range credentials(c, below) {
			found[p] = leaf
		}
	}
	return found
}

func parseOne(t *testing.T, document []byte) *yaml.Node {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		t.Fatal(err)
	}
	return root.Content[0]
}

func decoded(t *testing.T, document []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(document, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestNoSecretInFindings plants the value into every field below spec.config
// and into every credential of the pairs that storkctl made and of those that
// break a rule, and validates them in every format: in clear, and decrypted.
func TestNoSecretInFindings(t *testing.T) {
	var paths []string
	for _, pattern := range []string{"../../fixtures/storkctl/*/out.yaml", "../../fixtures/invalid/*.yaml", "../../fixtures/secrets/*.yaml"} {
		matches, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, matches...)
	}
	key, err := filepath.Abs("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	runs := 0
	shapeNames, formats := slices.Sorted(maps.Keys(shapes)), report.Formats()
	for _, path := range paths {
		fixture, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		docs, err := manifest.Values(fixture, path)
		if err != nil {
			continue
		}
		t.Run(strings.TrimPrefix(filepath.ToSlash(path), "../../fixtures/"), func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv("SOPS_AGE_KEY_FILE", key)
			for i, doc := range docs {
				leaves := hidden(doc)
				for _, field := range slices.Sorted(maps.Keys(leaves)) {
					runs++
					// All shapes in turn, as there are many more fields.
					for _, shape := range []string{"as it is", shapeNames[runs%len(shapeNames)]} {
						leaf := leaves[field]
						before := *leaf
						*leaf = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: shapes[shape]}
						var file bytes.Buffer
						encoder := yaml.NewEncoder(&file)
						for _, doc := range docs {
							if err := encoder.Encode(doc); err != nil {
								t.Fatal(err)
							}
						}
						*leaf = before
						checkFindings(t, fmt.Sprintf("document %d, %s, %s", i, field, shape), file.Bytes(), []string{"text", formats[runs%len(formats)]})
					}
				}
			}
		})
	}
	if runs < 500 {
		t.Errorf("only %d runs: nothing was planted", runs)
	}
}

// hidden are the values of a document that no output may quote: what is below
// spec.config but names, and credentials elsewhere; whole sections, too.
func hidden(doc *yaml.Node) map[string]*yaml.Node {
	found := credentials(doc, "")
	config := manifest.Field(doc, "spec", "config")
	var collect func(n *yaml.Node, path string)
	collect = func(n *yaml.Node, path string) {
		for i := 1; i < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
			key, value := n.Content[i-1].Value, n.Content[i]
			if slices.Contains([]string{"current-context", "cluster", "user", "server", "namespace"}, key) {
				continue // findings name them
			}
			found[path+"."+key] = value
			collect(value, path+"."+key)
		}
	}
	if config != nil {
		found["spec.config"] = config
		collect(config, "spec.config")
	}
	if token := manifest.Field(doc, "spec", "options", "token"); token != nil {
		found["spec.options.token"] = token
	}
	return found
}

func checkFindings(t *testing.T, what string, file []byte, formats []string) {
	t.Helper()
	if err := os.WriteFile("pair.yaml", file, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove("encrypted.yaml")
	var sealed, ignored bytes.Buffer
	runIn(t, []string{"encrypt", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs", "pair.yaml"}, "", &sealed, &ignored)
	if err := os.WriteFile("encrypted.yaml", sealed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		for _, args := range [][]string{{"pair.yaml"}, {"--decrypt", "--strict", "encrypted.yaml"}} {
			args = append([]string{"validate", "-o", format}, args...)
			var stdout, stderr bytes.Buffer
			runIn(t, args, "", &stdout, &stderr)
			for stream, output := range map[string][]byte{"standard output": stdout.Bytes(), "standard error": stderr.Bytes()} {
				if at := leak(output); at != "" {
					t.Fatalf("%s: clusterpair %s: %s holds the value: %s", what, strings.Join(args, " "), stream, at)
				}
			}
		}
	}
}
