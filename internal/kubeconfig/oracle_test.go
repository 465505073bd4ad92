package kubeconfig

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	sigsyaml "sigs.k8s.io/yaml"

	"clusterpair.dev/internal/report"
)

// agree tells whether a kubeconfig gives a destination. It fails if a kubeconfig means something else here than to client-go, or
// means something here that client-go refuses; and if the ClusterPair that
// comes of it means something else than the kubeconfig.
func agree(t *testing.T, text string) bool {
	t.Helper()
	o := Options{Now: now, StorkVersion: "24.4", Allow: make(map[string]bool)}
	for _, rule := range report.WaivableRules() {
		o.Allow[rule] = true
	}
	d, findings := fromText(text, o)
	if (d == nil) != report.HasErrors(findings) {
		t.Fatalf("destination %v beside %v", d != nil, findings)
	}
	for _, f := range findings {
		if f.Rule == "" || f.Message == "" {
			t.Errorf("finding without a rule or message: %v", f)
		}
		if strings.Contains(f.String()+f.Path+f.Hint, "s3cr3t") {
			t.Errorf("a secret in %v of\n%s", f, text)
		}
	}
	if d == nil {
		return false
	}
	loaded, err := clientcmd.Load([]byte(text))
	if err != nil {
		t.Fatalf("client-go cannot load it: %v\n%s", err, text)
	}
	want := restConfig(t, *loaded, "", text)

	out, err := yaml.Marshal(d.Config(o.StorkVersion))
	if err != nil {
		t.Fatal(err)
	}
	var pair clientcmdapi.Config
	if err := sigsyaml.Unmarshal(out, &pair); err != nil {
		t.Fatalf("Stork cannot decode spec.config: %v\n%s", err, out)
	}
	got := restConfig(t, pair, d.Context, string(out))
	want.BearerToken = strings.TrimSpace(want.BearerToken)
	if got.ExecProvider != nil && want.ExecProvider != nil {
		// Needed by nobody in the Stork pod, and an extension that stops Stork.
		want.ExecProvider.InstallHint, want.ExecProvider.Config = "", nil
	}
	want.DisableCompression = false
	for _, c := range []*rest.Config{got, want} {
		c.Proxy, c.Dial, c.AuthConfigPersister = nil, nil, nil
		if c.ExecProvider != nil && len(c.ExecProvider.Args) == 0 {
			c.ExecProvider.Args = nil
		}
		if c.ExecProvider != nil && len(c.ExecProvider.Env) == 0 {
			c.ExecProvider.Env = nil
		}
		if len(c.Impersonate.Groups) == 0 {
			c.Impersonate.Groups = nil
		}
		if len(c.Impersonate.Extra) == 0 {
			c.Impersonate.Extra = nil
		}
		for key, values := range c.Impersonate.Extra {
			c.Impersonate.Extra[key] = append([]string{}, values...)
		}
	}
	// DeepEqual tells nil from empty, which means nothing here.
	if len(want.CAData) == 0 {
		want.CAData, got.CAData = nil, slices.Clip(got.CAData)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%#v\nwant\n%#v\nfrom\n%s", got, want, text)
	}
	if cluster := loaded.Clusters[loaded.Contexts[loaded.CurrentContext].Cluster]; cluster.ProxyURL != d.ProxyURL {
		t.Error("another proxy")
	}
	return true
}

// restConfig is what client-go makes of a kubeconfig, once it has also made a
// TLS configuration of it.
func restConfig(t *testing.T, c clientcmdapi.Config, context, text string) *rest.Config {
	t.Helper()
	r, err := clientcmd.NewNonInteractiveClientConfig(c, context, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		t.Fatalf("client-go refuses it: %v\n%s", err, text)
	}
	if _, err := rest.TLSConfigFor(r); err != nil {
		t.Fatalf("client-go refuses its TLS: %v\n%s", err, text)
	}
	return r
}

// corpus are kubeconfigs, good and bad.
func corpus(t testing.TB) []string {
	texts := []string{
		plain(west, "    exec: {apiVersion: client.authentication.k8s.io/v1, command: oci, args: [a, null], interactiveMode: Never}\n"),
		plain(west, "    token: 2026-11-22\n"),
		plain(west, "    token: 0o17\n"), plain(west, "    token: 1_0\n"), plain(west, "    token: 1:30\n"), plain(west, "    token: +.5e1\n"),
		plain(west, "    token: !!str 5\n"), plain(west, "    token: null\n    username: ~\n"), plain(west, "    token: .inf\n"),
		plain(west, "    token: "+opaque+"\n    .inf: .inf\n"), plain(west, "    token: "+opaque+"\n    x: {? [a] : b}\n"),
		plain(west, "    token: "+opaque+"\n    x: {~: b}\n"), plain(west, "    token: "+opaque+"\n    x: .nan\n"),
		plain(west, "    token: "+opaque+"\n    as: a\n    as-groups: null\n    as-user-extra: {a: null, b: [null]}\n"),
		plain(west, "    token: "+opaque+"\n    as: a\n    as-user-extra: {1: [a]}\n"),
		plain(west, "    token: "+opaque+"\n    exec: null\n    auth-provider: null\n    extensions: null\n"),
		plain(west, "    token: "+opaque+"\n    extensions: [{name: a}, {name: a}]\n"),
		plain(west, "    token: "+opaque+"\n    extensions: [null, {name: a, extension: x}]\n"),
		plain(west, "    token: \"\\u00e9\"\n"), plain(west, "    token: "+opaque+" # comment\n"),
		plain(west, "    token: "+opaque+"\n") + "---\n", plain(west, "    token: "+opaque+"\n") + "---\n:\n", "---\n---\n" + plain(west, "    token: "+opaque+"\n"),
		`{"apiVersion":"v1","kind":"Config","clusters":[{"name":"c","cluster":{"server":"https://west.example.com","certificate-authority-data":"` + authority.data() +
			`"}}],"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x","users":[{"name":"u","user":{"token":"abc"}}]}`,
		"clusters: [null]\ncontexts: [null]\nusers: [null]\ncurrent-context: ''\n",
		"clusters: [{name: c}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nusers: [{name: u}]\ncurrent-context: x\n",
		plain("https://west.example.com/a?", "    token: a\n"), plain("https://west.example.com/a#", "    token: a\n"), plain("HTTPS://west.example.com/", "    token: a\n"),
	}
	for _, test := range ruleTests() {
		texts = append(texts, test.text)
	}
	files, err := filepath.Glob("../../fixtures/storkctl/*/kubeconfig.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no kubeconfigs of storkctl: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

func TestAgreesWithClientGo(t *testing.T) {
	destinations := 0
	for _, text := range corpus(t) {
		if agree(t, text) {
			destinations++
		}
	}
	if destinations < 50 {
		t.Errorf("only %d kubeconfigs gave a destination", destinations)
	}
}

// small uses most fields in little text, so that mutations hit them.
const small = `apiVersion: v1
kind: Config
clusters:
- name: a
  cluster:
    server: https://west.example.com:6443
    insecure-skip-tls-verify: true
    tls-server-name: kubernetes
    extensions: [{name: e, extension: {x: [1, 2.5, null]}}]
contexts:
- name: x
  context: {cluster: a, user: u, namespace: ns}
- {name: z, context: {cluster: b, user: v}}
current-context: "x"
preferences: {}
users:
- name: u
  user:
    token: s3cr3t
    as: me
    as-uid: '7'
    as-groups:
    - g
    - h
    as-user-extra: {k: [a, b]}
- name: v
  user:
    username: u
    password: >-
      s3cr3t
    exec: {apiVersion: client.authentication.k8s.io/v1beta1, command: aws, args: [a], env: [{name: A, value: b}], provideClusterInfo: false}
`

// Mutants of a kubeconfig still mean the same here and to client-go.
func TestMutantsAgreeWithClientGo(t *testing.T) {
	words := []string{"null", "~", "on", "n", "yes", "5", "0x1F", "1e3", ".inf", "2026-11-22", "true", `"true"`, "[]", "{}", "[a]", "{a: b}", "", " ",
		"!!str ", "!!int ", "!x ", "&a ", "*a", "<<: ", "? ", "- ", ": ", "#", " #", "|\n", ">\n ", "\n", "\r\n", "\t", "'", "\"", "---\n", "...\n", "%", ",",
		"x", "y", "u", "v", "a", "b", "name: ", "user: ", "token: ", "cluster: ", "\ufeff", "\u2028", "\u0085", "\u00a0", "\\", "@"}
	random := rand.New(rand.NewPCG(1, 2))
	destinations := 0
	for range 4000 {
		text := small
		for range 1 + random.IntN(3) {
			tokens := yamlToken.FindAllStringIndex(text, -1)
			at := tokens[random.IntN(len(tokens))]
			word := words[random.IntN(len(words))]
			switch random.IntN(4) {
			case 0: // in place of a token
				text = text[:at[0]] + word + text[at[1]:]
			case 1: // before a token
				text = text[:at[0]] + word + text[at[0]:]
			case 2: // without a token
				text = text[:at[0]] + text[at[1]:]
			case 3: // a token twice
				text = text[:at[1]] + text[at[0]:]
			}
			if text == "" {
				text = small
			}
		}
		if agree(t, text) {
			destinations++
		}
		if t.Failed() {
			return
		}
	}
	if destinations < 500 {
		t.Errorf("only %d mutants gave a destination", destinations)
	}
}

var yamlToken = regexp.MustCompile(`[A-Za-z0-9./@-]+|\s+|[^\s]`)

// Whenever a kubeconfig gives a destination, it means to client-go the same.
func FuzzKubeconfig(f *testing.F) {
	for _, text := range corpus(f) {
		if len(text) < 10000 {
			f.Add(text)
		}
	}
	f.Add(small)
	f.Fuzz(func(t *testing.T, text string) { agree(t, text) })
}

// A Secret gives a destination or an error, never both and never a panic.
func FuzzSecret(f *testing.F) {
	files, err := filepath.Glob("../../fixtures/secrets/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "")
	}
	f.Add(stringData("value", plain(west, "    token: a\n")), "value")
	f.Add("data: {value: &a [*a]}", "")
	f.Fuzz(func(t *testing.T, text, key string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil || doc.Kind == 0 {
			return
		}
		IsKubeconfig(&doc)
		s, bad := ParseSecret(&doc, "s.yaml")
		if s == nil {
			t.Fatalf("no Secret: %v", bad)
		}
		d, findings := FromSecret(s, Options{Now: now, Key: key, Server: west, Allow: map[string]bool{"exec-credential": true}})
		if (d == nil) != report.HasErrors(findings) {
			t.Fatalf("destination %v beside %v", d != nil, findings)
		}
		if d != nil {
			d.Config("24.3")
		}
	})
}

func BenchmarkFromSecret(b *testing.B) {
	for _, name := range []string{"cluster-api", "flux", "argocd", "hive"} {
		b.Run(name, func(b *testing.B) {
			s, findings := ParseSecret(readFile(b, "../../fixtures/secrets/"+name+".yaml"), "s.yaml")
			if len(findings) > 0 {
				b.Fatal(findings)
			}
			b.ReportAllocs()
			for b.Loop() {
				if d, findings := FromSecret(s, Options{Now: now}); d == nil {
					b.Fatal(findings)
				}
			}
		})
	}
}

func BenchmarkParseSecret(b *testing.B) {
	doc := readFile(b, "../../fixtures/secrets/cluster-api.yaml")
	b.ReportAllocs()
	for b.Loop() {
		ParseSecret(doc, "s.yaml")
	}
}

// What client-go takes to load the same kubeconfig, for comparison.
func BenchmarkClientGoLoad(b *testing.B) {
	s, _ := ParseSecret(readFile(b, "../../fixtures/secrets/cluster-api.yaml"), "s.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := clientcmd.Load(s.Data["value"].Bytes); err != nil {
			b.Fatal(err)
		}
	}
}
