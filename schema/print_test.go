package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// TestCUE gives the schema as one file, alone and beside a policy, to cue vet.
func TestCUE(t *testing.T) {
	dir := t.TempDir()
	files := map[string]string{"schema.cue": string(CUE()), "policy.cue": policies["labels"]}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cue := tool(t, "cue", "cuelang.org/go/cmd/cue")
	for _, c := range []struct {
		files, pair, want string
	}{
		{"schema.cue", "one_fabric.yaml", ""},
		{"schema.cue", "encryption-scope.yaml", "sops.encrypted_comment_regex: comments decide what is encrypted"},
		{"schema.cue policy.cue", "one_fabric.yaml", "metadata.labels: field is required but not present"},
	} {
		pair, err := filepath.Abs("testdata/Encrypted/" + c.pair)
		if err != nil {
			t.Fatal(err)
		}
		vet := exec.Command(cue, append(append([]string{"vet", "-c"}, strings.Fields(c.files)...), pair, "-d", "#Encrypted")...)
		vet.Dir = dir
		out, err := vet.CombinedOutput()
		if (err == nil) != (c.want == "") || !strings.Contains(string(out), c.want) {
			t.Errorf("%s, %s: %v\n%s", c.files, c.pair, err, out)
		}
	}
}

// judged is a document, and what Validate finds.
type judged struct {
	name     string
	text     []byte
	findings []report.Finding
}

func (j judged) bad() bool { return report.HasErrors(j.findings) }

// judgedDocuments are all documents of the fixtures of a definition, and some
// of their mutations, one in share.
func judgedDocuments(t *testing.T, def string, share int) []judged {
	var all []judged
	add := func(f fixture, doc *yaml.Node, text []byte) {
		if text == nil {
			var err error
			if text, err = yaml.Marshal(doc); err != nil {
				return
			}
			again := new(yaml.Node)
			if yaml.Unmarshal(text, again) != nil || again.Kind == 0 {
				return
			}
			doc = again
		}
		all = append(all, judged{fmt.Sprintf("%s %d", f.path, len(all)), text, Validate(f.def, doc, "", f.options)})
	}
	turn := 0
	for _, f := range fixtures(t) {
		if f.definition() != def {
			continue
		}
		for _, part := range f.parts(t) {
			doc := document(t, part)
			add(f, doc, []byte(part))
			for place, n := range mappingsAndLists(doc) {
				for slot := range slots(n) {
					if turn++; n.Kind != yaml.DocumentNode && turn%share == 0 {
						again := document(t, part)
						mutations[turn/share%len(mutations)](mappingsAndLists(again)[place], slot)
						add(f, again, nil)
					}
				}
			}
		}
	}
	return all
}

// TestJSONSchema: kubeconform accepts what Validate accepts.
func TestJSONSchema(t *testing.T) {
	kubeconform := tool(t, "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
	for _, def := range Definitions() {
		docs := judgedDocuments(t, def, 5)
		if len(docs) == 0 {
			t.Errorf("%s: no fixtures", def)
			continue
		}
		dir := t.TempDir()
		schema := filepath.Join(dir, "schema.json")
		if err := os.WriteFile(schema, JSONSchema(def), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(dir, "docs"), 0o700); err != nil {
			t.Fatal(err)
		}
		for i, doc := range docs {
			if err := os.WriteFile(filepath.Join(dir, "docs", fmt.Sprint(i, ".yaml")), doc.text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command(kubeconform, "-strict", "-verbose", "-output", "json", "-schema-location", schema, filepath.Join(dir, "docs")).Output()
		var results struct {
			Resources []struct{ Filename, Status, Msg string }
		}
		if json.Unmarshal(out, &results) != nil {
			t.Fatalf("kubeconform: %v\n%s", err, out)
		}
		if len(results.Resources) != len(docs) {
			t.Errorf("%s: %d results for %d documents", def, len(results.Resources), len(docs))
		}
		for _, r := range results.Resources {
			var i int
			if _, err := fmt.Sscanf(filepath.Base(r.Filename), "%d.yaml", &i); err != nil {
				t.Fatal(err)
			}
			if accepted := r.Status == "statusValid"; accepted == docs[i].bad() {
				t.Errorf("%s: %s: kubeconform: %s %s; in\n%s", def, docs[i].name, r.Status, r.Msg, docs[i].text)
			}
		}
	}
}

// TestJSONSchemaOfAllKinds is one schema for all files of a repository.
func TestJSONSchemaOfAllKinds(t *testing.T) {
	kubeconform := tool(t, "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform")
	schema := filepath.Join(t.TempDir(), "schema.json")
	if err := os.WriteFile(schema, JSONSchema(""), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]bool{
		"Encrypted/one_fabric.yaml": true, "Encrypted/leaf-not-encrypted.yaml": false, "ClusterPair/one_fabric.yaml": true, "ClusterPair/unknown-field.yaml": false,
		"ClusterPairGenerator/every_field.yaml": true, "ClusterPairGenerator/pair-name.yaml": false, "ClusterPairDecryptor/files.yaml": true, "ClusterPairValidator/unknown-field.yaml": false,
		"../../fixtures/secrets/argocd.yaml": true,
	} {
		if out, err := exec.Command(kubeconform, "-strict", "-schema-location", schema, "testdata/"+file).CombinedOutput(); (err == nil) != want {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}

// TestCRD: the API server takes the definition, and refuses, asked strictly,
// what Validate refuses, so far as it can.
func TestCRD(t *testing.T) {
	validate := tool(t, "validate-crd", "./validate-crd")
	// Outside of spec the server judges by itself, and sets what is its own. A
	// null it drops where there is no value to be null, so that Stork never sees it.
	judgedHere := func(f report.Finding) bool {
		return f.Severity == report.Error && strings.HasPrefix(f.Path, "spec") && f.Rule != "null-entry"
	}
	setByServer := func(f report.Finding) bool { return f.Severity != report.Error || f.Rule == "server-set-field" }
	for _, def := range []string{"#ClusterPair", "#ClusterPairWithMode", "#ClusterPairWithoutMode"} {
		dir := t.TempDir()
		crd := filepath.Join(dir, "crd.yaml")
		if err := os.WriteFile(crd, CRD(def), 0o600); err != nil {
			t.Fatal(err)
		}
		docs := judgedDocuments(t, def, 7)
		args := []string{crd}
		for i, doc := range docs {
			args = append(args, filepath.Join(dir, fmt.Sprint(i, ".yaml")))
			if err := os.WriteFile(args[i+1], doc.text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := exec.Command(validate, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		refused := 0
		for i, line := range bytes.Split(bytes.TrimSpace(out), []byte("\n")) {
			accepted := bytes.HasSuffix(line, []byte(" 1 ok"))
			if accepted && slices.ContainsFunc(docs[i].findings, judgedHere) || !accepted && !slices.ContainsFunc(docs[i].findings, func(f report.Finding) bool { return !setByServer(f) }) {
				t.Errorf("%s: %s: %s\n%s", def, docs[i].name, line, docs[i].text)
			}
			if !accepted {
				refused++
			}
			for _, n := range scalars(documents(t, docs[i].text)[0]) {
				if len(n.Value) > 11 && !strings.HasPrefix(n.Value, "arn:") && bytes.Contains(line, []byte(n.Value)) {
					t.Errorf("%s: %s quotes %q", docs[i].name, line, n.Value)
				}
			}
		}
		if def == "#ClusterPair" && refused < 35 {
			t.Errorf("only %d of %d documents refused", refused, len(docs))
		}
	}
}
