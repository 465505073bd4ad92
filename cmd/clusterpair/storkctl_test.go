package main

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestStorkctl runs clusterpair generate on the kubeconfigs of real storkctl
// generate clusterpair runs. The result means to Stork what storkctl's means,
// or differs in the way that the table names.
func TestStorkctl(t *testing.T) {
	const (
		// What storkctl prints for a pair without storage options is not to be
		// applied as it is: its help asks to edit the line.
		placeholder = "options: storkctl leaves the placeholder insert_storage_options_here"
		extensions  = "extensions: storkctl keeps them, and Stork cannot decode them"
		newline     = "token: storkctl keeps the file's final newline, which Stork's client refuses as a header"
	)
	tests := map[string]struct {
		flags   []string // beyond storkctl's own
		differs []string
		// refused is the rule by which clusterpair refuses the run; "usage" for
		// what is no finding.
		refused string
		// storkctl refuses what is fine.
		storkctlRefuses bool
	}{
		"01-kubeadm-inline":        {differs: []string{placeholder}},
		"02-file-refs":             {differs: []string{placeholder}},
		"03-multi-context":         {differs: []string{placeholder}},
		"05-token-sa":              {differs: []string{placeholder}},
		"06-tokenfile":             {differs: []string{placeholder, newline}},
		"07-eks-exec-arn":          {flags: []string{"--allow", "exec-credential"}, differs: []string{placeholder}},
		"08-gke-exec-v1":           {flags: []string{"--allow", "exec-credential"}, differs: []string{placeholder, extensions}},
		"10-insecure-basic":        {flags: []string{"--allow", "tls-skipped", "--allow", "basic-auth"}, differs: []string{placeholder}},
		"11-minikube-extensions":   {differs: []string{placeholder, extensions}},
		"12-empty":                 {refused: "context-broken"},
		"13-no-current-context":    {refused: "context-broken"},
		"15-storageoptions-async":  {},
		"16-storageoptions-equals": {storkctlRefuses: true}, // a base64 token
		"19-bad-name":              {refused: "pair-name"},
		"20-bad-namespace":         {refused: "pair-namespace"},
		"21-json-output-flag":      {differs: []string{placeholder}}, // storkctl ignores -o
		"22-mode-only":             {flags: []string{"--stork-version", ""}},
		"23-default-namespace":     {differs: []string{placeholder}},
		// The user has an auth-provider, for which client-go has no code.
		"25-impersonate-oidc": {refused: "auth-provider"},
		"27-missing-ca-file":  {refused: "file-reference"},
		"28-file-and-data":    {refused: "file-reference"},
		// Stork calls such pairs Ready, as anybody may read /version.
		"30-dangling-user":           {refused: "context-broken"},
		"31-no-credentials":          {refused: "context-broken"},
		"33-dup-keys-unknown-fields": {refused: "duplicate-key"},
	}
	runs, err := filepath.Glob("../../fixtures/storkctl/*/cmd.txt")
	if err != nil || len(runs) != len(tests) {
		t.Fatalf("%d runs, %d in the table, %v", len(runs), len(tests), err)
	}
	for _, path := range runs {
		dir, err := filepath.Abs(filepath.Dir(path))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(dir)
		t.Run(name, func(t *testing.T) {
			test, ok := tests[name]
			if !ok {
				t.Fatal("the table says nothing about this run")
			}
			t.Chdir(dir)
			command, _ := strings.CutPrefix(strings.TrimSpace(read(t, "cmd.txt")), "storkctl generate clusterpair ")
			command = strings.NewReplacer("$PWD", dir, "--storageoptions", "--storage-options", "-o json", "").Replace(command)
			args := slices.Concat([]string{"generate"}, strings.Fields(command), []string{"--plaintext", "--stork-version", "24.3"}, test.flags)
			if name == "22-mode-only" {
				args = slices.DeleteFunc(args, func(a string) bool { return a == "" })
				args = args[:len(args)-3] // no --stork-version at all
			}
			var stdout, stderr bytes.Buffer
			code := run(context.Background(), args, strings.NewReader(""), &stdout, &stderr)

			if test.refused != "" {
				if code == exitFine || !strings.Contains(stderr.String(), "["+test.refused+"]") {
					t.Fatalf("exit %d, want a finding of %s:\n%s", code, test.refused, &stderr)
				}
				if stdout.Len() > 0 {
					t.Error("something was printed all the same")
				}
				return
			}
			if code != exitFine {
				t.Fatalf("clusterpair %s: exit %d:\n%s", strings.Join(args, " "), code, &stderr)
			}
			if test.storkctlRefuses {
				if rc := strings.TrimSpace(read(t, "rc.txt")); rc == "0" {
					t.Error("storkctl takes it, too")
				}
				return
			}
			ours, theirs := asStorkReads(t, stdout.Bytes()), asStorkReads(t, []byte(read(t, "out.yaml")))
			var differs []string
			for _, field := range slices.Sorted(maps.Keys(union(ours, theirs))) {
				if !reflect.DeepEqual(ours[field], theirs[field]) {
					differs = append(differs, field)
				}
			}
			var want []string
			for _, d := range test.differs {
				field, _, _ := strings.Cut(d, ":")
				want = append(want, field)
			}
			slices.Sort(want)
			if !slices.Equal(differs, want) {
				t.Errorf("differs from storkctl in %v, want %v\n%s", differs, want, stdout.Bytes())
			}
		})
	}
}

// asStorkReads is what a ClusterPair means to Stork: the fields of the current
// context, its cluster and its user under whatever names, and the options. It
// leaves out what Stork's client ignores: LocationOfOrigin, preferences, an
// empty platformOptions, and the status, which is Stork's own to write.
func asStorkReads(t *testing.T, document []byte) map[string]any {
	t.Helper()
	var pair struct {
		Metadata struct{ Name, Namespace string }
		Spec     struct {
			Config struct {
				Clusters, Contexts, Users map[string]map[string]any
				CurrentContext            string `json:"current-context"`
			}
			Options         map[string]string
			PlatformOptions map[string]any
		}
	}
	asJSON, err := yaml.YAMLToJSON(document)
	if err == nil {
		err = json.Unmarshal(asJSON, &pair)
	}
	if err != nil {
		t.Fatal(err)
	}
	config := pair.Spec.Config
	current := config.Contexts[config.CurrentContext]
	means := map[string]any{"name": pair.Metadata.Name, "namespace in source": pair.Metadata.Namespace, "options": pair.Spec.Options}
	if len(pair.Spec.PlatformOptions) > 0 {
		means["platformOptions"] = pair.Spec.PlatformOptions
	}
	for _, part := range []map[string]any{current, config.Clusters[current["cluster"].(string)], config.Users[current["user"].(string)]} {
		for field, value := range part {
			switch field {
			case "LocationOfOrigin", "cluster", "user", "disable-compression":
			default:
				means[field] = withoutZeros(value)
			}
		}
	}
	return means
}

// withoutZeros drops fields that say nothing: storkctl writes out an exec user
// with all that it could have, and with a text for people.
func withoutZeros(value any) any {
	m, ok := value.(map[string]any)
	if !ok {
		return value
	}
	for field, v := range m {
		if v == nil || v == false || v == "" || field == "installHint" {
			delete(m, field)
		}
	}
	return m
}

func union(a, b map[string]any) map[string]any {
	u := maps.Clone(a)
	maps.Copy(u, b)
	return u
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
