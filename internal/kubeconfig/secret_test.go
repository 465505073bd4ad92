package kubeconfig

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// now is the time of all tests, after the certificates of all fixtures were issued.
var now = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

const west = "https://west.example.com:6443"

// fixtures are the Secrets of fixtures/secrets: what each makes of itself.
var fixtures = map[string]struct {
	options    Options
	server     string
	credential string // token, certificate, exec
	context    string
	rules      []string // of the findings, sorted
}{
	"acm-import": {
		options: Options{Allow: map[string]bool{"ca-missing": true}},
		server:  "https://api.west.example.com:6443", credential: "token", context: "auto-import-secret", rules: []string{"ca-missing", "credential-end-unknown"}},
	"argocd":             {server: west, credential: "token", context: "west", rules: []string{"credential-unbounded"}},
	"argocd-certificate": {server: west, credential: "certificate", context: "west", rules: []string{"server-proxied"}},
	"argocd-eks": {
		options: Options{Allow: map[string]bool{"exec-credential": true}, StorkVersion: "24.3"},
		server:  "https://ABCDEF0123456789ABCDEF0123456789.gr7.us-east-1.eks.amazonaws.com", credential: "exec", context: "dr", rules: []string{"exec-credential"}},
	"cluster-api":      {server: west, credential: "certificate", context: "west-admin-west", rules: []string{"credential-unbounded"}},
	"cluster-profile":  {server: west, credential: "token", context: "west", rules: []string{"credential-unbounded"}},
	"crossplane":       {server: west, credential: "certificate", context: "west"},
	"crossplane-parts": {server: west, credential: "certificate token", context: "west-parts", rules: []string{"credential-unbounded"}},
	"flux":             {server: west, credential: "token", context: "flux-west", rules: []string{"credential-unbounded"}},
	"gardener":         {server: "https://api.west.dev.shoot.example.com", credential: "certificate", context: "garden-dev--west-external"},
	"hive":             {server: "https://api.west.example.com:6443", credential: "certificate", context: "admin", rules: []string{"credential-unbounded"}},
	"hypershift":       {server: "https://api.west.hypershift.example.com:443", credential: "certificate", context: "admin", rules: []string{"credential-unbounded"}},
	"istio":            {server: west, credential: "token", context: "west", rules: []string{"credential-unbounded"}},
	"k3k":              {server: "https://192.0.2.10:31443", credential: "certificate", context: "default", rules: []string{"credential-unbounded"}},
	"kamaji":           {server: west, credential: "certificate", context: "kubernetes-admin-west", rules: []string{"credential-unbounded"}},
	"karmada":          {options: Options{Server: west}, server: west, credential: "token", context: "west", rules: []string{"credential-unbounded"}},
	"kubevela":         {server: west, credential: "certificate", context: "west"},
	"kubevela-token":   {server: west, credential: "token", context: "west-token", rules: []string{"credential-unbounded"}},
	"linkerd":          {server: west, credential: "token", context: "west", rules: []string{"credential-unbounded"}},
	"multicluster-runtime": {
		server: west, credential: "token", context: "west", rules: []string{"credential-unbounded"}},
	"ocm-bootstrap":   {server: "https://api.hub.example.com:6443", credential: "token", context: "bootstrap", rules: []string{"credential-unbounded"}},
	"ocm-hub":         {server: "https://api.hub.example.com:6443", credential: "certificate", context: "default-context"},
	"rancher-fleet":   {server: west, credential: "token", context: "default", rules: []string{"credential-unbounded"}},
	"service-account": {options: Options{Server: west}, server: west, credential: "token", context: "stork-remote-token", rules: []string{"credential-unbounded"}},
	"sveltos":         {server: west, credential: "token", context: "flux-west", rules: []string{"credential-unbounded"}},
	"vcluster":        {options: Options{Server: west}, server: west, credential: "certificate", context: "my-vcluster", rules: []string{"credential-unbounded"}},
}

func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("../../fixtures/secrets/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(fixtures) {
		t.Errorf("%d fixtures, %d expected", len(files), len(fixtures))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		for variant, doc := range map[string]*yaml.Node{"data": readFile(t, file), "stringData": toStringData(t, readFile(t, file))} {
			t.Run(name+"/"+variant, func(t *testing.T) {
				want, ok := fixtures[name]
				if !ok {
					t.Fatal("not in the table")
				}
				s, findings := ParseSecret(doc, file)
				if len(findings) > 0 {
					t.Fatalf("ParseSecret: %v", findings)
				}
				want.options.Now = now
				d, findings := FromSecret(s, want.options)
				if d == nil {
					t.Fatalf("no destination: %v", findings)
				}
				if got := rulesOf(findings); !slices.Equal(got, want.rules) {
					t.Errorf("rules %v, want %v: %v", got, want.rules, findings)
				}
				if d.Server != want.server || d.Context != want.context {
					t.Errorf("server %q, context %q; want %q, %q", d.Server, d.Context, want.server, want.context)
				}
				var credential []string
				if len(d.ClientCertificateData) > 0 {
					credential = append(credential, "certificate")
				}
				if d.Token != "" {
					credential = append(credential, "token")
				}
				if d.Exec != nil {
					credential = append(credential, "exec")
				}
				if got := strings.Join(credential, " "); got != want.credential {
					t.Errorf("credential %q, want %q", got, want.credential)
				}
				if d.FullEntropy() != (d.Exec == nil) {
					t.Errorf("FullEntropy is %v", d.FullEntropy())
				}
				if (d.CAKeyDigest() == "") != (name == "acm-import") {
					t.Errorf("CA key digest %q", d.CAKeyDigest())
				}
				planted(t, d, findings)
			})
		}
	}
}

// Every value of a Secret that is no kubeconfig is found by the convention of
// its system, or refused with the names of the keys.
func TestSecretKey(t *testing.T) {
	kc := func(server string) string { return plain(server, "    token: "+opaque+"\n") }
	for name, test := range map[string]struct {
		secret  string
		options Options
		server  string // of the destination; empty when there is a finding
		want    string
	}{
		"first usual key": {secret: stringData("value", kc(west)), server: west},
		"equal values":    {secret: stringData("value", kc(west), "kubeconfig", kc(west)), server: west},
		"different values": {secret: stringData("value", kc(west), "kubeconfig", kc("https://east.example.com")),
			want: "holds several values that differ: value, kubeconfig"},
		"explicit key": {secret: stringData("value", kc(west), "kubeconfig", kc("https://east.example.com")),
			options: Options{Key: "kubeconfig"}, server: "https://east.example.com"},
		"explicit key that is missing": {secret: stringData("value", kc(west)), options: Options{Key: "valeu"}, want: `no key "valeu"; it has value`},
		"single key":                   {secret: stringData("west.conf", kc(west)), server: west},
		"no usual key":                 {secret: stringData("a", "x", "b", "y"), want: "it has a, b"},
		"no key":                       {secret: "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n", want: "is empty"},
		"token without a server":       {secret: stringData("token", opaque), want: "a credential and no server"},
		"stringData over data": {secret: stringData("value", kc(west)) + "data:\n  value: " + base64.StdEncoding.EncodeToString([]byte(kc("https://east.example.com"))) + "\n",
			server: west},
		"labelled but absent": {secret: "metadata: {labels: {app: vcluster}}\n" + stringData("value", kc(west)), server: west},
		"istio, many":         {secret: "metadata: {annotations: {networking.istio.io/cluster: b}, labels: {istio/multiCluster: \"true\"}}\n" + stringData("a", "x", "b", kc(west)), server: west},
		"sibling under a path": {secret: stringData("kubeconfig", plain(west, "    tokenFile: /var/run/secrets/token\n"), "token", opaque+"\n"),
			server: west},
		"empty value":                  {secret: stringData("value", ""), want: "kubeconfig is empty"},
		"several documents":            {secret: stringData("value", kc(west)+"---\n"+kc(west)), want: "several documents"},
		"twice encoded":                {secret: stringData("value", base64.StdEncoding.EncodeToString([]byte(kc(west)))), want: "twice"},
		"no kubeconfig":                {secret: stringData("value", "[1, 2]"), want: "not a kubeconfig"},
		"of a registry":                {secret: stringData(".dockerconfigjson", `{"auths": {"r.example.com": {"auth": "YQ=="}}}`), want: "it has none of clusters, contexts and users"},
		"of a program":                 {secret: stringData("config.yaml", "listen: 1"), want: "it has none of clusters, contexts and users"},
		"a kubeconfig with nothing":    {secret: stringData("value", "{kind: Config}"), want: "has no contexts"},
		"still encrypted":              {secret: stringData("value", "ENC[AES256_GCM,data:xyz,type:str]"), want: "still encrypted"},
		"no base64":                    {secret: "data: {value: '%%%'}\n", want: "data.value is no base64"},
		"no text":                      {secret: "stringData: {value: 5}\n", want: "stringData.value is no text"},
		"key twice":                    {secret: "data: {value: aGk=, value: aGk=}\n", want: `key "value" stands twice`},
		"list for a mapping":           {secret: "data: [a]\n", want: "data of a Secret is a mapping"},
		"key with a value glued to it": {secret: "stringData: {token:s3cr3t, value: x}\n", want: "a key of stringData that Kubernetes refuses"},
		"value encrypted":              {secret: "data: {value: 'ENC[AES256_GCM,data:s3cr3t]'}\n", want: "data.value is still encrypted"},
		"parts in base64 twice":        {secret: stringData("endpoint", west+"\n", "caBundle", authority.data(), "token", opaque), server: west},
		"Argo CD, exec": {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("name", "dr", "server", west, "config",
			`{"execProviderConfig": {"command": "kubelogin", "args": ["get-token"], "env": {"B": "s3cr3t", "A": "x"}, "apiVersion": "client.authentication.k8s.io/v1beta1"}, "tlsClientConfig": {"caData": "`+authority.data()+`"}}`),
			options: Options{StorkVersion: "24.3", Allow: map[string]bool{"exec-credential": true}}, server: west},
		"Argo CD, exec not allowed": {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("server", west, "config",
			`{"awsAuthConfig": {"clusterName": "dr", "profile": "s3cr3t"}, "tlsClientConfig": {"caData": "`+authority.data()+`"}}`), want: "exec user with the command aws"},
		"Argo CD, encrypted":        {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("config", "ENC[AES256_GCM,data:s3cr3t]"), want: "still encrypted"},
		"Argo CD, no server":        {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("config", `{"bearerToken": "`+opaque+`", "tlsClientConfig": {"caData": "`+authority.data()+`"}}`), want: "the cluster has no server"},
		"far from the explicit key": {secret: stringData("value", kc(west)), options: Options{Key: "kubeconfig"}, want: `no key "kubeconfig"; it has value`},
		"syntax":                    {secret: stringData("value", "a:\n  b: c\n d: s3cr3t\n"), want: "somewhere after line 2"},
		"tab":                       {secret: stringData("value", "a:\n  b: c\n\td: s3cr3t\n"), want: `line 3 of key "value": a tab`},
		"unknown anchor":            {secret: stringData("value", "a: *s3cr3t\n"), want: "not valid YAML"},
		"Argo CD, no JSON":          {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("config", "{\n'"), want: `line 2 of key "config": not the JSON`},
		"Argo CD, no config":        {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("name", "x"), want: "has no config"},
		"Argo CD, bad base64":       {secret: "metadata: {labels: {argocd.argoproj.io/secret-type: cluster}}\n" + stringData("server", west, "config", `{"bearerToken": "`+opaque+`", "tlsClientConfig": {"caData": "%"}}`), want: "no base64"},
	} {
		t.Run(name, func(t *testing.T) {
			s, findings := ParseSecret(parseYAML(t, test.secret), "s.yaml")
			test.options.Now = now
			d, more := FromSecret(s, test.options)
			findings = append(findings, more...)
			for _, f := range findings {
				if s := f.String() + f.Path + f.Hint; strings.Contains(s, "s3cr3t") || strings.Contains(s, opaque) {
					t.Errorf("a secret in finding %s", f.Rule)
				}
			}
			if test.want == "" {
				if d == nil || d.Server != test.server {
					t.Fatalf("destination %v, want server %s: %v", d != nil, test.server, findings)
				}
				return
			}
			if !slices.ContainsFunc(findings, func(f report.Finding) bool {
				return f.Severity == report.Error && strings.Contains(f.Message, test.want) && f.Position.File == "s.yaml" && f.Rule != ""
			}) {
				t.Errorf("no finding says %q: %v", test.want, findings)
			}
		})
	}
}

func TestSecretPosition(t *testing.T) {
	s, _ := ParseSecret(parseYAML(t, "kind: Secret\nstringData:\n  value: |\n    clusters: []\n    contexts: {}\n"), "s.yaml")
	_, findings := FromSecret(s, Options{Now: now})
	f := findings[0]
	if f.Position != (report.Position{File: "s.yaml", Line: 3, Column: 10}) || !strings.HasPrefix(f.Message, `line 2 of key "value": a mapping`) {
		t.Errorf("got %v", f)
	}
}

// stringData is a Secret with the keys and values.
func stringData(pairs ...string) string {
	values := make(map[string]string)
	for i := 0; i < len(pairs); i += 2 {
		values[pairs[i]] = pairs[i+1]
	}
	out, err := yaml.Marshal(map[string]any{"stringData": values})
	if err != nil {
		panic(err)
	}
	return string(out)
}

// toStringData moves the values of a Secret from data to stringData.
func toStringData(t *testing.T, doc *yaml.Node) *yaml.Node {
	t.Helper()
	root := content(doc)
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i].Value != "data" {
			continue
		}
		root.Content[i].Value = "stringData"
		values := root.Content[i+1]
		for j := 1; j < len(values.Content); j += 2 {
			decoded, err := base64.StdEncoding.DecodeString(values.Content[j].Value)
			if err != nil {
				t.Fatal(err)
			}
			values.Content[j].SetString(string(decoded))
			if values.Content[j].Style == 0 {
				values.Content[j].Style = yaml.DoubleQuotedStyle
			}
		}
	}
	out, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return parseYAML(t, string(out))
}

func readFile(t testing.TB, file string) *yaml.Node {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseYAML(t, string(text))
}

func parseYAML(t testing.TB, text string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Content[0]
}

func rulesOf(findings []report.Finding) []string {
	var rules []string
	for _, f := range findings {
		rules = append(rules, f.Rule)
	}
	slices.Sort(rules)
	return rules
}

// planted fails if a secret of the destination stands in a finding.
func planted(t *testing.T, d *Destination, findings []report.Finding) {
	t.Helper()
	secrets := []string{d.Token, d.Password, string(d.ClientKeyData), base64.StdEncoding.EncodeToString(d.ClientKeyData)}
	for _, f := range findings {
		for _, s := range secrets {
			if s != "" && strings.Contains(f.String()+f.Hint+f.Path, s) {
				t.Errorf("a secret in finding %s", f.Rule)
			}
		}
	}
}

func TestHolds(t *testing.T) {
	for name := range fixtures {
		if s, _ := ParseSecret(readFile(t, "../../fixtures/secrets/"+name+".yaml"), name); !s.Holds() {
			t.Errorf("%s holds a kubeconfig", name)
		}
	}
	capi := map[string]string{"cluster.x-k8s.io/cluster-name": "west"}
	for name, s := range map[string]Secret{
		"authority of Cluster API":      {Type: "cluster.x-k8s.io/secret", Labels: capi, Data: values("tls.crt", "tls.key")},
		"bootstrap data of Cluster API": {Type: "cluster.x-k8s.io/secret", Labels: capi, Data: map[string]Value{"value": {Bytes: []byte("#cloud-config\nclusters: west\n")}, "format": {}}},
		"certificate of an ingress":     {Type: "kubernetes.io/tls", Data: values("tls.crt", "tls.key", "ca.crt")},
		"password":                      {Data: values("username", "password")},
		"token of some service":         {Data: values("token")},
		"release of Helm":               {Type: "helm.sh/release.v1", Data: values("release")},
		"nothing":                       {},
	} {
		if s.Holds() {
			t.Errorf("%s holds no kubeconfig", name)
		}
	}
}

func values(keys ...string) map[string]Value {
	m := make(map[string]Value)
	for _, key := range keys {
		m[key] = Value{Bytes: []byte("x")}
	}
	return m
}

// What holds no kubeconfig gets told what to do.
func TestNoKubeconfigHints(t *testing.T) {
	for name, text := range map[string]string{
		"a certificate":    "stringData: {tls.crt: '-----BEGIN CERTIFICATE-----'}",
		"an empty value":   "stringData: {value: ''}",
		"a comment":        "stringData: {value: '# nothing'}",
		"an empty Secret":  "",
		"other keys":       "stringData: {a: b, c: d}",
		"a list":           "stringData: [a]",
		"no contexts":      "stringData: {value: '{clusters: [], users: []}'}",
		"no cluster":       "stringData: {value: '{clusters: [], users: [], contexts: [{name: a, context: {}}], current-context: a}'}",
		"too large":        "stringData: {value: '" + strings.Repeat("x", maxSize+1) + "'}",
		"Argo CD":          "metadata: {name: a, labels: {argocd.argoproj.io/secret-type: cluster}}",
		"Argo CD, no JSON": "metadata: {name: a, labels: {argocd.argoproj.io/secret-type: cluster}}\nstringData: {config: '{'}",
	} {
		if !strings.HasPrefix(text, "metadata") {
			text = "metadata: {name: a}\n" + text
		}
		var doc yaml.Node
		if err := yaml.Unmarshal([]byte("apiVersion: v1\nkind: Secret\n"+text+"\n"), &doc); err != nil {
			t.Fatal(err)
		}
		s, findings := ParseSecret(&doc, "a.yaml")
		if s != nil && len(findings) == 0 {
			_, findings = FromSecret(s, Options{Now: now})
		}
		if len(findings) == 0 {
			t.Errorf("%s: nothing is found", name)
		}
		for _, f := range findings {
			if f.Hint == "" {
				t.Errorf("%s: no hint with: %v", name, f)
			}
		}
	}
}
