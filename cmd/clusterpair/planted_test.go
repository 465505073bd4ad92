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
	_ "unsafe" // for go:linkname

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/plant"
	"clusterpair.dev/internal/report"
)

func quoted(s string) string {
	quoted, _ := json.Marshal(s)
	return string(quoted)
}

func encoded(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestNoSecretInAnyOutput plants recognisable values into every field of every
// Secret fixture, one at a time and in every shape, and runs the commands on
// it. Whatever they do, the value reaches neither standard output nor standard
// error nor a file.
func TestNoSecretInAnyOutput(t *testing.T) {
	paths, err := filepath.Glob("../../fixtures/secrets/*.yaml")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	runs, ended := 0, make(map[string]int)
	for _, path := range paths {
		fixture, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(path), ".yaml"), func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			for shape, value := range plant.Shapes {
				for field, document := range plant.Into(t, fixture, value) {
					runs++
					checkNothingLeaks(t, dir, field+" "+shape, document, ended)
				}
			}
		})
	}
	if runs < 1000 {
		t.Errorf("only %d runs: nothing was planted", runs)
	}
	// Most values are too broken to be rendered. TestNoSecretOfGoodInput has those
	// that are not; here some are to get past the config, too.
	for command, least := range map[string]int{"generate --diff": 9, "generate --check": 9, "": 9, "generate pair": 100, "encrypt": 200} {
		if ended[command] < least {
			t.Errorf("clusterpair %s ended %d times of %d without an error, not %d times: did anything read what was planted?", command, ended[command], runs, least)
		}
	}
}

// checkNothingLeaks runs the commands on one Secret, and counts those that end
// without an error.
func checkNothingLeaks(t *testing.T, dir, what string, document []byte, ended map[string]int) {
	t.Helper()
	secret := plant.Parse(t, document)
	name := manifest.Field(secret, "metadata", "name").Value
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
		"items": []any{plant.Decoded(t, document)}, "functionConfig": plant.Decoded(t, []byte(strings.Replace(config, "  files: [secret.yaml]\n", "", 1)))})
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := ""
	for _, section := range []string{"data", "stringData"} {
		if values := manifest.Field(secret, section); values != nil && len(values.Content) > 1 {
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
		{string(list), []string{}},
		{"", []string{"generate", "pair", "--kubeconfig", "kubeconfig.yaml", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"}},
		{"", []string{"encrypt", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs", "kubeconfig.yaml"}},
	} {
		var stdout, stderr bytes.Buffer
		if runIn(t, run.args, run.stdin, &stdout, &stderr) == exitFine {
			ended[strings.Join(run.args[:min(2, len(run.args))], " ")]++
			if len(run.args) > 0 && run.args[0] == "encrypt" {
				ended["encrypt"]++
			}
		}
		for stream, output := range map[string][]byte{"standard output": stdout.Bytes(), "standard error": stderr.Bytes()} {
			if at := plant.Find(output); at != "" {
				t.Fatalf("%s: clusterpair %s: %s holds the value: %s", what, strings.Join(run.args, " "), stream, at)
			}
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(inputs, d.Name()) {
			return err
		}
		data, err := os.ReadFile(path)
		if at := plant.Find(data); at != "" {
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

// completions is where cobra keeps the flags of each command that was ever made, and by
// them all that the command holds. A process that makes thousands has to empty it.
//
//go:linkname completions github.com/spf13/cobra.flagCompletionFunctions
var completions map[*pflag.Flag]cobra.CompletionFunc

// runIn runs the command, which is not to panic, and returns its exit code. What
// build changes in the environment of its process is put back.
func runIn(t *testing.T, args []string, stdin string, stdout, stderr *bytes.Buffer) int {
	t.Helper()
	for _, name := range []string{"PATH", "KUSTOMIZE_PLUGIN_HOME"} {
		if before, set := os.LookupEnv(name); set {
			defer os.Setenv(name, before)
		} else {
			defer os.Unsetenv(name)
		}
	}
	defer func() {
		clear(completions)
		if r := recover(); r != nil {
			t.Fatalf("clusterpair %s panics", strings.Join(args, " "))
		}
	}()
	return run(context.Background(), args, strings.NewReader(stdin), stdout, stderr)
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
	runs, judged := 0, make(map[string]int)
	shapeNames, formats := slices.Sorted(maps.Keys(plant.Shapes)), report.Formats()
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
						*leaf = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: plant.Shapes[shape]}
						var file bytes.Buffer
						encoder := yaml.NewEncoder(&file)
						for _, doc := range docs {
							if err := encoder.Encode(doc); err != nil {
								t.Fatal(err)
							}
						}
						*leaf = before
						checkFindings(t, fmt.Sprintf("document %d, %s, %s", i, field, shape), file.Bytes(), []string{"text", formats[runs%len(formats)]}, judged)
					}
				}
			}
		})
	}
	if runs < 500 {
		t.Errorf("only %d runs: nothing was planted", runs)
	}
	for what, least := range map[string]int{"in clear": runs, "encrypted": runs / 2, "decrypted": runs / 4, "with findings": runs} {
		if judged[what] < least {
			t.Errorf("%s: %d times of %d, not %d: did anything read what was planted?", what, judged[what], runs, least)
		}
	}
}

// hidden are the values of a document that no output may quote: what is below
// spec.config but names, and credentials elsewhere; whole sections, too.
func hidden(doc *yaml.Node) map[string]*yaml.Node {
	found := plant.Credentials(doc, "")
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

// checkFindings validates a file as it is and encrypted, and counts how far that went.
func checkFindings(t *testing.T, what string, file []byte, formats []string, judged map[string]int) {
	t.Helper()
	if err := os.WriteFile("pair.yaml", file, 0o600); err != nil {
		t.Fatal(err)
	}
	_ = os.Remove("encrypted.yaml")
	var sealed, ignored bytes.Buffer
	if runIn(t, []string{"encrypt", "--age", demoRecipient, "pair.yaml"}, "", &sealed, &ignored) == exitFine {
		judged["encrypted"]++
	}
	if err := os.WriteFile("encrypted.yaml", sealed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		for _, args := range [][]string{{"pair.yaml"}, {"--decrypt", "--strict", "encrypted.yaml"}} {
			args = append([]string{"validate", "-o", format}, args...)
			var stdout, stderr bytes.Buffer
			code := runIn(t, args, "", &stdout, &stderr)
			switch {
			case code == exitFindings:
				judged["with findings"]++
				fallthrough
			case code == exitFine:
				judged[map[bool]string{true: "decrypted", false: "in clear"}[slices.Contains(args, "--decrypt")]]++
			}
			for stream, output := range map[string][]byte{"standard output": stdout.Bytes(), "standard error": stderr.Bytes()} {
				if at := plant.Find(output); at != "" {
					t.Fatalf("%s: clusterpair %s: %s holds the value: %s", what, strings.Join(args, " "), stream, at)
				}
			}
		}
	}
}
