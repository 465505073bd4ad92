package preflight

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
)

// planted is the token of each destination; no check may show it.
const planted = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6a3ViZS1zeXN0ZW06c3RvcmsifQ.cGxhbnRlZA"

// destination is an API server that takes the token, and lets it do all; change are
// other answers, by their paths.
func destination(t *testing.T, change map[string]string) *httptest.Server {
	t.Helper()
	answers := map[string]string{
		"/version": `{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}`,
		"/apis":    `{"kind": "APIGroupList", "groups": [{"name": "apps"}, {"name": "rbac.authorization.k8s.io"}]}`,
		"/apis/stork.libopenstorage.org/v1alpha1":                `{"kind": "APIResourceList", "resources": [{"name": "clusterpairs"}, {"name": "migrations"}, {"name": "migrationschedules"}]}`,
		"/api/v1/namespaces/kube-system":                         `{"metadata": {"uid": "d-uid"}}`,
		"/apis/authentication.k8s.io/v1/selfsubjectreviews":      `{"status": {"userInfo": {"username": "stork", "groups": ["system:authenticated"]}}}`,
		"/apis/authorization.k8s.io/v1/selfsubjectrulesreviews":  `{"kind": "SelfSubjectRulesReview", "status": {"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}}`,
		"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": `{"status": {"allowed": true}}`,
	}
	for path, body := range change {
		answers[path] = body
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		path := r.URL.Path
		if selector := r.URL.Query().Get("fieldSelector"); selector != "" {
			path += "?" + selector
		}
		body, ok := answers[path]
		switch {
		case r.Header.Get("Authorization") != "Bearer "+planted:
			w.WriteHeader(http.StatusUnauthorized)
			body = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}`
		case !ok || body == "":
			w.WriteHeader(http.StatusNotFound)
			body = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"}`
		}
		io.WriteString(w, body)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// kubeconfigOf is one for a destination, with a token.
func kubeconfigOf(s *httptest.Server, token string) string {
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: west\nclusters:\n- name: west\n  cluster: {server: %q, certificate-authority-data: %s}\n"+
		"contexts:\n- name: west\n  context: {cluster: west, user: stork}\nusers:\n- name: stork\n  user: {token: %s}\n", s.URL, ca, token)
}

// pairOf is a ClusterPair in JSON, which is YAML, too.
func pairOf(s *httptest.Server, name, token string) string {
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return fmt.Sprintf(`{"apiVersion":"stork.libopenstorage.org/v1alpha1","kind":"ClusterPair","metadata":{"name":%q,"namespace":"dr","creationTimestamp":"2026-01-01T00:00:00Z"},`+
		`"spec":{"config":{"clusters":{"west":{"certificate-authority-data":%q,"server":%q}},"contexts":{"west":{"cluster":"west","user":"stork"}},"current-context":"west","users":{"stork":{"token":%q}}},"options":{}}}`,
		name, ca, s.URL, token)
}

func secretOf(s *httptest.Server) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: west, namespace: fleet}\nstringData:\n  value: |\n    " + strings.ReplaceAll(kubeconfigOf(s, planted), "\n", "\n    ") + "\n"
}

const config = `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: east
  annotations:
    config.kubernetes.io/function: |
      exec: {path: clusterpair}
    config.kubernetes.io/local-config: "true"
spec:
  storkVersion: "24.3"
  namespace: dr
  pairs:
  - {name: two, destination: {secret: {name: west, namespace: fleet}}}
  - {name: one, destination: {secret: {name: west, namespace: fleet}}}
  files: [secret.yaml]
  encryption: {age: [age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs]}
`

// alone works in a directory with files, without any key.
func alone(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, v := range []string{"HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(v, t.TempDir())
	}
	t.Setenv("SOPS_AGE_KEY_FILE", "")
	for name, text := range files {
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// asked asks all destinations: what each is, with its checks that went wrong.
func asked(t *testing.T, r *Run) string {
	t.Helper()
	var all []string
	err := r.Check(t.Context(), func(c report.Checked) {
		if said := fmt.Sprintf("%+v", c); strings.Contains(said, planted) {
			t.Errorf("a token is shown: %s", said)
		}
		text := c.Title
		for _, check := range c.Checks {
			if check.Status == report.Failed {
				text += " " + check.Name + ":" + check.Rule
			}
		}
		all = append(all, text)
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "; ")
}

// TestPath: what a path means, and what becomes of each destination.
func TestPath(t *testing.T) {
	good := destination(t, nil)
	bare := destination(t, map[string]string{"/apis/stork.libopenstorage.org/v1alpha1": ""})
	files := map[string]string{
		"pair.yaml": pairOf(good, "west", planted), "kubeconfig.yaml": kubeconfigOf(good, planted), "secret.yaml": secretOf(good),
		"refused.yaml": pairOf(good, "refused", "other"), "bare.yaml": pairOf(bare, "bare", planted),
		"list.yaml":  "kind: List\nitems:\n- " + pairOf(good, "a", planted) + "\n- " + pairOf(good, "b", planted) + "\n",
		"empty.yaml": "kind: ClusterPair\nmetadata: {name: empty, namespace: dr}\nspec: {options: {}}\n",
		"other.yaml": "kind: ConfigMap\n",
		"dir/b.yaml": pairOf(good, "b", planted), "dir/a.yaml": pairOf(good, "a", planted), "dir/kubeconfig.yaml": kubeconfigOf(good, planted),
		"east/clusterpair.yaml": config, "east/secret.yaml": secretOf(good), "east/kustomization.yaml": "generators: [clusterpair.yaml]\n",
		"none/clusterpair.yaml": config, "none/secret.yaml": "kind: ConfigMap\n", "none/kustomization.yaml": "generators: [clusterpair.yaml]\n",
	}
	for _, c := range []struct{ path, want, err string }{
		{"pair.yaml", "ClusterPair dr/west", ""},
		{"kubeconfig.yaml", "kubeconfig kubeconfig.yaml", ""},
		{"secret.yaml", "Secret fleet/west", ""},
		{"list.yaml", "ClusterPair dr/a; ClusterPair dr/b", ""},
		{"refused.yaml", "ClusterPair dr/refused version:unauthorized authentication:unauthorized", ""},
		{"bare.yaml", "ClusterPair dr/bare stork:stork-missing", ""},
		{"empty.yaml", "ClusterPair dr/empty kubeconfig:required-field", ""},
		{"dir", "ClusterPair dr/a; ClusterPair dr/b", ""}, // a kubeconfig has to be named
		{"east", "ClusterPair dr/one; ClusterPair dr/two", ""},
		{"east/clusterpair.yaml", "ClusterPair dr/one; ClusterPair dr/two", ""},
		{"-", "ClusterPair dr/west", ""},
		{"none", "", ""}, // its findings tell
		{"other.yaml", "", "other.yaml holds no ClusterPair, no config of kind ClusterPairGenerator or ClusterPairFleet and no kubeconfig; name a config, a kubeconfig, or a ClusterPair as it is rendered"},
		{"missing.yaml", "", "missing.yaml: no such file or directory; -n NAMESPACE NAME names a pair of the source cluster"},
	} {
		t.Run(c.path, func(t *testing.T) {
			alone(t, files)
			r := New(Options{Timeout: time.Minute})
			err := r.Path(t.Context(), c.path, func(path string) ([]byte, error) {
				if path == "-" {
					path = "pair.yaml"
				}
				return os.ReadFile(path)
			})
			if got := report.Told(err); got != c.err {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if got := asked(t, r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if failed, _ := r.Verdict(false); failed != strings.Contains(c.want, ":") {
				t.Errorf("failed: %t", failed)
			}
			if missing := report.HasErrors(r.Findings()); missing != (c.path == "none") {
				t.Errorf("findings: %v", r.Findings())
			}
		})
	}
}

// TestPairs takes the pairs of a source cluster, by their names or all.
func TestPairs(t *testing.T) {
	good := destination(t, nil)
	const pairs = "/apis/stork.libopenstorage.org/v1alpha1/"
	list := func(items ...string) string {
		return `{"kind": "ClusterPairList", "apiVersion": "stork.libopenstorage.org/v1alpha1", "metadata": {}, "items": [` + strings.Join(items, ",") + `]}`
	}
	source := destination(t, map[string]string{
		pairs + "clusterpairs":                                  list(pairOf(good, "a", planted), pairOf(good, "b", planted)),
		pairs + "namespaces/dr/clusterpairs":                    list(pairOf(good, "a", planted), pairOf(good, "b", planted)),
		pairs + "namespaces/dr/clusterpairs?metadata.name=a":    list(pairOf(good, "a", planted)),
		pairs + "namespaces/dr/clusterpairs?metadata.name=none": list(),
		pairs + "namespaces/nobody/clusterpairs":                list(),
	})
	client, err := cluster.New(&rest.Config{Host: source.URL, BearerToken: planted, TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: source.Certificate().Raw})}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		namespace string
		names     []string
		want, err string
	}{
		{"", nil, "ClusterPair dr/a; ClusterPair dr/b", ""},
		{"dr", nil, "ClusterPair dr/a; ClusterPair dr/b", ""},
		{"dr", []string{"a"}, "ClusterPair dr/a", ""},
		{"dr", []string{"a", "none"}, "ClusterPair dr/a", "there is no ClusterPair dr/none in " + client.Server() + "; see those that there are: clusterpair status -A --context east"},
		{"nobody", nil, "", "there is no ClusterPair in " + client.Server() + "; choose the source cluster with --context, and the namespace with -n or -A"},
	} {
		t.Run(c.namespace+strings.Join(c.names, " "), func(t *testing.T) {
			r := New(Options{Timeout: time.Minute})
			if got := report.Told(r.Pairs(t.Context(), client, c.namespace, c.names, " --context east")); got != c.err {
				t.Errorf("error %q, want %q", got, c.err)
			}
			if got := asked(t, r); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
