package kustomize

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
)

// demo is the recipient of fixtures/keys/demo.agekey.
const demo = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"

// pair is a ClusterPair over two fabrics, which has a token of its own.
const pair = `apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  name: west
  namespace: apps
spec:
  config:
    apiVersion: v1
    kind: Config
    clusters:
      west: {server: https://west.example.com}
    contexts:
      dr: {cluster: west, user: dr}
    current-context: dr
    users:
      dr: {token: s3cret-credential}
  options: {ip: 10.0.0.9, port: "9001", mode: DisasterRecovery, token: s3cret-fabric}
`

// withKey gives the test the key of [demo], and no other.
func withKey(t *testing.T) {
	t.Helper()
	key, err := filepath.Abs("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", key)
	t.Setenv("HOME", t.TempDir())
}

// sealed is a file as clusterpair encrypts it.
func sealed(t *testing.T, text string) string {
	t.Helper()
	result, _, err := (&seal.Request{Input: "-", Age: []string{demo}}).Encrypt(t.Context(), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return string(result.Data)
}

// layPair lays files as [lay] does. PAIR stands for the encrypted pair, as edit leaves it.
func layPair(t *testing.T, files string, edit func(string) string) {
	t.Helper()
	text := sealed(t, pair)
	if edit != nil {
		before := text
		if text = edit(text); text == before {
			t.Fatalf("the edit finds nothing in\n%s", text)
		}
	}
	lay(t, strings.ReplaceAll(files, "PAIR\n", text))
}

// decrypting builds with the keys of the user.
func decrypting() Options { return Options{Decrypt: sopsfile.New(nil).Decrypt} }

// TestDecrypt gives the manifests of directories and kustomizations, pairs in clear.
func TestDecrypt(t *testing.T) {
	withKey(t)
	const other = "-- d/other.yaml --\napiVersion: v1\nkind: ConfigMap # stays\nmetadata: {name: other}\n"
	for name, test := range map[string]struct {
		files string
		edit  func(string) string
		want  []string
	}{
		"a directory": {files: "-- d/pairs/p.yaml --\nPAIR\n" + other + "-- d/.sops.yaml --\ncreation_rules: []\n-- d/clusterpair.yaml --\nCONFIG a\n-- d/local.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: s3cret-local, annotations: {config.kubernetes.io/local-config: \"true\"}}\n",
			want: []string{"kind: ConfigMap # stays", "server: https://west.example.com", "token: s3cret-fabric"}},
		"a kustomization": {files: "-- d/kustomization.yaml --\nresources: [p.yaml]\nlabels: [{pairs: {team: storage}}]\n-- d/p.yaml --\nPAIR\n",
			want: []string{"team: storage", "server: https://west.example.com", "token: s3cret-fabric"}},
		"a Secret": {files: "-- d/kustomization.yaml --\nresources: [s.yaml]\nnamespace: apps\n-- d/s.yaml --\n" + sealed(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {a: czNjcmV0}\n"),
			want: []string{"namespace: apps", "a: czNjcmV0"}},
		"twice, under two names": {files: "-- d/kustomization.yaml --\nresources: [a, b]\n-- d/a/kustomization.yaml --\nresources: [../base]\nnamePrefix: a-\n-- d/b/kustomization.yaml --\nresources: [../base]\nnamePrefix: b-\n-- d/base/kustomization.yaml --\nresources: [p.yaml]\n-- d/base/p.yaml --\nPAIR\n",
			want: []string{"name: a-west", "name: b-west"}},
		"patched beside the credential": {files: "-- d/kustomization.yaml --\nresources: [p.yaml]\npatches:\n- target: {kind: ClusterPair}\n  patch: |\n    - {op: add, path: /metadata/annotations, value: {ticket: \"9001\"}}\n-- d/p.yaml --\nPAIR\n",
			want: []string{`ticket: "9001"`, "token: s3cret-credential"}},
		"in a List of a kustomization": {files: "-- d/kustomization.yaml --\nresources: [p.yaml]\n-- d/p.yaml --\napiVersion: v1\nkind: List\nitems:\n- PAIR\n",
			edit: func(s string) string { return strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n" }, want: []string{"token: s3cret-credential"}},
	} {
		t.Run(name, func(t *testing.T) {
			layPair(t, test.files, test.edit)
			out, findings, err := Build(t.Context(), "d", decrypting())
			if err != nil || len(findings) > 0 {
				t.Fatalf("%v, %v", findings, err)
			}
			for _, want := range test.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%s\nis without %q", out, want)
				}
			}
			for _, never := range []string{"ENC[", "sops:", "kept-", "s3cret-local", "ClusterPairGenerator"} {
				if strings.Contains(string(out), never) {
					t.Errorf("%s\nholds %q", out, never)
				}
			}
		})
	}
}

// TestDecryptRefuses is about who can write to Git and has no key. Whatever they do to
// a kustomization or to a file, no credential comes out in a place that they choose,
// none is told by the message, and no pair gets lost.
func TestDecryptRefuses(t *testing.T) {
	withKey(t)
	const (
		moved    = "the kustomization changes, moves or copies what is encrypted"
		noPair   = "the ClusterPair is not in the result"
		mismatch = "the MAC does not match"
		copyTo   = "-- d/copy.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: copy}\ndata: {here: nothing}\n"
		file     = "-- d/p.yaml --\nPAIR\n"
		plain    = "-- d/kustomization.yaml --\nresources: [p.yaml]\n" + file
		loot     = "-- d/kustomization.yaml --\nresources: [copy.yaml]\nconfigMapGenerator: [{name: loot, files: [loot.txt]}]\n" + copyTo + "-- d/loot.txt --\nPAIR\n"
	)
	patched := func(patch string) string {
		return "-- d/kustomization.yaml --\nresources: [p.yaml]\npatches:\n- target: {kind: ClusterPair}\n  options: {allowKindChange: true}\n  patch: |\n    " + strings.ReplaceAll(patch, "\n", "\n    ") + "\n" + file
	}
	replaced := func(from, to string) string {
		return "-- d/kustomization.yaml --\nresources: [p.yaml, copy.yaml]\nreplacements:\n- source: {kind: ClusterPair, name: west, fieldPath: " + from + "}\n  targets:\n  - {select: {name: copy}, fieldPaths: [" + to + "], options: {create: true}}\n" + file
	}
	sub := func(pattern, with string) func(string) string {
		return func(s string) string { return regexp.MustCompile("(?m)"+pattern).ReplaceAllString(s, with) }
	}
	colon := func(s string) string { // spec: {config: ...} as spec:config: ...
		top, spec, _ := strings.Cut(s, "spec:\n  config:\n")
		config, options, _ := strings.Cut(spec, "  options:")
		return top + "\"spec:config\":\n" + strings.ReplaceAll("\n"+config, "\n    ", "\n  ")[1:] + "spec:\n  options:" + options
	}
	for name, test := range map[string]struct {
		files string
		edit  func(string) string
		want  string
	}{
		// By the kustomization.
		"another server":         {files: patched("apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: west}\nspec: {config: {clusters: {west: {server: https://evil.example.com}}}}"), want: "ClusterPair/apps/west: error: " + moved},
		"a path into the config": {files: patched("- {op: replace, path: /spec/config/clusters/west/server, value: https://evil.example.com}"), want: "doc is missing path: /spec/config/clusters/west/server"},
		"the config removed":     {files: patched("- {op: remove, path: /spec/config}"), want: "ClusterPair/apps/west: error: " + moved},
		"the config set":         {files: patched("- {op: replace, path: /spec/config, value: {a: b}}"), want: moved},
		"all of it set, and valid": {files: patched("- {op: replace, path: /spec/options, value: {}}\n- {op: replace, path: /spec/config, value: {apiVersion: v1, kind: Config, clusters: {w: {server: https://evil.example.com}}, contexts: {w: {cluster: w, user: w}}, current-context: w, users: {w: {token: evil}}}}"),
			want: "d/p.yaml:1: " + noPair},
		"another kind":             {files: patched("- {op: replace, path: /kind, value: ConfigMap}"), want: "ConfigMap/apps/west: error: " + moved},
		"the pair deleted":         {files: strings.Replace(patched("apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: any}\n$patch: delete"), "[p.yaml]", "[p.yaml, copy.yaml]", 1) + copyTo, want: "d/p.yaml:1: " + noPair},
		"the config copied":        {files: replaced("spec.config", "data") + copyTo, want: "ConfigMap/copy: error: " + moved},
		"the token copied":         {files: replaced("spec.options.token", "data.here") + copyTo, want: "ConfigMap/copy: error: " + moved},
		"the token in another one": {files: replaced("spec.options.token", "spec.options.token") + "-- d/copy.yaml --\n" + sealed(t, strings.Replace(pair, "name: west\n", "name: copy\n", 1)), want: "ClusterPair/apps/copy: error: " + moved},
		"a file of a ConfigMap":    {files: loot, want: moved},
		"a Secret in a ConfigMap": {files: "-- d/kustomization.yaml --\nconfigMapGenerator: [{name: loot, files: [loot.txt]}]\n-- d/loot.txt --\n" + sealed(t, "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {a: s3cret-text}\n"),
			want: moved},
		"a decryptor": {files: "-- d/kustomization.yaml --\ngenerators: [f.yaml]\n-- d/f.yaml --\n" + strings.Replace(own("a", "{files: [p.yaml]}"), "ClusterPairGenerator", "ClusterPairDecryptor", 1) + file,
			want: "d/f.yaml: build --decrypt runs no ClusterPairDecryptor"},
		"a generator": {files: "-- d/kustomization.yaml --\ngenerators: [f.yaml]\n-- d/f.yaml --\n" + own("a", "{}"), want: "d/f.yaml: build --decrypt runs no ClusterPairGenerator"},
		"a generator that only kustomize sees": {files: "-- d/kustomization.yaml --\ngenerators: [f.yaml]\n-- d/f.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: HiddenList\nmetadata:\n  name: hidden\n  annotations:\n    &k config.kubernetes.io/function: \"exec: {path: clusterpair}\"\nitems:\n- apiVersion: clusterpair.dev/v1alpha1\n  kind: ClusterPairGenerator\n  metadata: {name: a, annotations: {*k : \"exec: {path: clusterpair}\"}}\n",
			want: "d/f.yaml: build --decrypt runs no ClusterPairGenerator"},
		// By the file: what the MAC does not cover, and what SOPS takes for the same place.
		"a kind that nothing is kept of": {files: loot, edit: sub("^kind: ClusterPair", "kind: Foo"), want: "d/loot.txt:1:1: error: an encrypted object that is neither a ClusterPair nor a Secret"},
		"an API that nothing is kept of": {files: loot, edit: sub("^apiVersion: stork.libopenstorage.org", "apiVersion: example.com"), want: "d/loot.txt:1:1: error: an encrypted object that is neither"},
		"a key with a colon":             {files: plain, edit: colon, want: "ciphertext in a place where a ClusterPair has none"},
		"in a list": {files: plain, edit: func(s string) string {
			i := strings.Index(s, "spec:\n")
			return s[:i] + "spec:\n- " + strings.ReplaceAll(strings.TrimPrefix(s[i:], "spec:\n  "), "\n", "\n")
		}, want: "ciphertext in a place where a ClusterPair has none"},
		"for nobody but kustomize":           {files: plain, edit: sub("^metadata:", "metadata:\n  annotations: {config.kubernetes.io/local-config: \"true\"}"), want: "d/p.yaml:1: " + noPair},
		"for nobody but kustomize, in a dir": {files: file, edit: sub("^metadata:", "metadata:\n  annotations: {config.kubernetes.io/local-config: \"true\"}"), want: "d/p.yaml:1: " + noPair},
		"a List in a directory": {files: "-- d/p.yaml --\napiVersion: v1\nkind: List\nitems:\n- PAIR\n", edit: func(s string) string { return strings.ReplaceAll(strings.TrimSuffix(s, "\n"), "\n", "\n  ") + "\n" },
			want: "d/p.yaml: error: ciphertext is left in it, which would be applied as it is"},
		"a MAC that is none":         {files: file, edit: sub(`^(\s*mac: ENC\[AES256_GCM,data:)....`, "${1}AAAA"), want: mismatch},
		"no MAC":                     {files: file, edit: sub(`^\s*mac: .*\n`, ""), want: mismatch},
		"a server in clear":          {files: file, edit: sub(`server: ENC.*`, "server: https://evil.example.com"), want: "a value below spec.config is in clear"},
		"in a kustomization, no MAC": {files: plain, edit: sub(`^\s*mac: .*\n`, ""), want: mismatch},
		"a selector that leaves one out": {files: plain, edit: func(s string) string {
			return sub(`encrypted_regex: .*`, "encrypted_regex: ^(token|server)$$")(sub(`server: ENC`, "proxy-url: http://evil.example.com\n        server: ENC")(s))
		}, want: "a value below spec.config is in clear"},
		"no SOPS section": {files: file, edit: sub(`^sops:\n(?:[ -].*\n)*`, ""), want: "ciphertext is left in it, which would be applied as it is"},
		// By what lies beside it.
		"a kustomization that nobody runs": {files: file + "-- d/below/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", want: "d/below/kustomization.yaml: a kustomization below a directory that has none: nobody would run it"},
		"what is no object":                {files: file + "-- d/values.yaml --\n\nreplicas: 2\n", want: "d/values.yaml:2: no Kubernetes object: apiVersion or kind is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			layPair(t, test.files, test.edit)
			out, findings, err := Build(t.Context(), "d", decrypting())
			if err == nil && !report.HasErrors(findings) {
				t.Fatalf("it is let pass:\n%s", out)
			}
			told := fmt.Sprint(err)
			for _, f := range findings {
				told += "\n" + f.String()
			}
			if !strings.Contains(told, test.want) || strings.Contains(told, "s3cret") || strings.Contains(told, "west.example.com") {
				t.Errorf("told: %s\nwant %s, and no value", told, test.want)
			}
			if err != nil && len(out) > 0 {
				t.Errorf("in spite of the error: %s", out)
			}
		})
	}
}

// TestDecryptNoKey says whose key would open a pair.
func TestDecryptNoKey(t *testing.T) {
	withKey(t)
	layPair(t, "-- d/kustomization.yaml --\nresources: [p.yaml]\n-- d/p.yaml --\nPAIR\n", nil)
	t.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(t.TempDir(), "none"))
	_, _, err := Build(t.Context(), "d", decrypting())
	if noKey := (*sopsfile.NoKeyError)(nil); !errors.As(err, &noKey) || !strings.Contains(err.Error(), demo) {
		t.Errorf("error %v", err)
	}
}

// TestDecryptFetched opens nothing that the repository does not hold.
func TestDecryptFetched(t *testing.T) {
	withKey(t)
	text := sealed(t, pair)
	served := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
	defer served.Close()
	lay(t, "-- d/kustomization.yaml --\nresources: ["+served.URL+"/p.yaml]\n")
	out, _, err := Build(t.Context(), "d", decrypting())
	if err == nil || !strings.Contains(err.Error(), "/p.yaml: encrypted, and fetched from elsewhere") || len(out) > 0 {
		t.Errorf("%s%v", out, err)
	}
	text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	if out, _, err := Build(t.Context(), "d", decrypting()); err != nil || !strings.Contains(string(out), "name: a") {
		t.Errorf("%s%v", out, err)
	}
}

// TestDecryptPath has the user's PATH while a file is decrypted, and none that starts a
// program while kustomize runs.
func TestDecryptPath(t *testing.T) {
	withKey(t)
	layPair(t, "-- d/kustomization.yaml --\nresources: [p.yaml]\n-- d/p.yaml --\nPAIR\n", nil)
	path, seen := os.Getenv("PATH"), ""
	options := Options{Decrypt: func(ctx context.Context, data []byte, file string) ([]*yaml.Node, error) {
		seen = os.Getenv("PATH")
		return sopsfile.New(nil).Decrypt(ctx, data, file)
	}}
	if _, _, err := Build(t.Context(), "d", options); err != nil || seen != path {
		t.Errorf("PATH was %q, %v", seen, err)
	}
}

// FuzzKept keeps the values of two objects from a text that anybody may edit, and
// gives them back: each value stands where it was taken from, or the text is refused.
// No mark can be written by somebody who has not seen one, and the text with marks
// holds no value.
func FuzzKept(f *testing.F) {
	for _, edit := range [][2]string{{"", ""}, {"kind: ClusterPair", "kind: Foo"}, {"config:", "other:"}, {"spec:", "spec2:"}, {"name: one", "name: two"}, {"-0-0", "-1-0"}, {"-0-0", "-0-1"}, {"-1-0", "-0-0"}, {"-0-0", "--1-0"}, {"token:", "config:"}, {"{ip: a,", "{ip: a, token: b,"}, {"  config:", "  config: x\n  config:"}, {"stringData", "data"}, {": kept", ": kept2"}, {"\n", "\n\n"}} {
		f.Add(edit[0], edit[1], uint8(0))
	}
	const first = "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: one}\nspec:\n  config:\n    users: {a: {token: value-0}}\n  options: {ip: a, token: value-1}\n"
	const second = "apiVersion: v1\nkind: Secret\nmetadata: {name: two}\nstringData: {a: value-2, b: value-3}\ndata: {c: value-4}\n"
	f.Fuzz(func(t *testing.T, from, to string, times uint8) {
		k := newKept()
		var texts []string
		for i, text := range []string{first, second} {
			docs, err := manifest.Values([]byte(text), "f")
			if err != nil {
				t.Fatal(err)
			}
			k.keep(docs[0], fmt.Sprint(i))
			out, err := yaml.Marshal(docs[0])
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, string(out))
		}
		text := strings.Join(texts, "---\n")
		if strings.Contains(text, "value") {
			t.Fatalf("a value is seen:\n%s", text)
		}
		if from != "" {
			text = strings.Replace(text, from, to, int(times)+1)
		}
		docs, err := manifest.Values([]byte(text), "f")
		if err != nil || strings.Contains(to, "value") {
			return
		}
		given := 0
		for _, doc := range docs {
			was, err := yaml.Marshal(doc)
			if err != nil {
				return
			}
			had, err := k.giveBack(doc, was)
			out, _ := yaml.Marshal(doc)
			if err != nil || !had {
				if strings.Contains(string(out), "value") || err == nil && strings.Contains(string(out), k.mark) {
					t.Fatalf("%v, and yet:\n%s", err, out)
				}
				continue
			}
			given++
			if strings.Contains(string(out), k.mark) {
				t.Fatalf("a mark is left:\n%s", out)
			}
			for _, at := range places(doc) {
				*at = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null"}
			}
			if rest, _ := yaml.Marshal(doc); strings.Contains(string(rest), "value") {
				t.Fatalf("a value stands elsewhere:\n%s", out)
			}
			if of := valuesIn(string(out)); of != "01" && of != "234" {
				t.Fatalf("not the values of one object, each once:\n%s", out)
			}
		}
		if from == "" && given != 2 {
			t.Fatalf("%d of two objects got their values back", given)
		}
	})
}

// valuesIn are the numbers of the values that stand in a text, sorted.
func valuesIn(text string) string {
	var found []string
	for _, m := range regexp.MustCompile(`value-(\d)`).FindAllStringSubmatch(text, -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return strings.Join(found, "")
}
