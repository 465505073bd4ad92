package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"clusterpair.dev/internal/plant"
)

// echo is an API server that has what the commands ask for. While it refuses, it
// answers as a server or a proxy may that quotes what it got: the request's URL and
// its credential.
type echo struct {
	*httptest.Server
	refuses bool
	asked   atomic.Int32
}

func newEcho(t *testing.T) *echo {
	t.Helper()
	e := new(echo)
	e.Server = httptest.NewTLSServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.Close)
	return e
}

// kubeconfig is one for the server, by a URL that is the server's with something
// before the host and behind the path.
func (e *echo) kubeconfig(userinfo, query, user string) string {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: e.Certificate().Raw})
	return fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: west
  cluster: {server: "https://%s%s%s", certificate-authority-data: %s}
contexts:
- name: west
  context: {cluster: west, user: west, namespace: fleet}
current-context: west
users:
- name: west
  user: {%s}
`, userinfo, strings.TrimPrefix(e.URL, "https://"), query, encoded(string(ca)), user)
}

func (e *echo) serve(w http.ResponseWriter, r *http.Request) {
	e.asked.Add(1)
	w.Header().Set("Content-Type", "application/json")
	answer := func(code int, v any) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(v) // to a test
	}
	object := func(apiVersion, kind string, fields map[string]any) map[string]any {
		o := map[string]any{"apiVersion": apiVersion, "kind": kind}
		for key, value := range fields {
			o[key] = value
		}
		return o
	}
	_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if e.refuses {
		_, password, _ := r.BasicAuth()
		answer(http.StatusForbidden, object("v1", "Status", map[string]any{"status": "Failure", "code": 403, "reason": "Forbidden",
			"message": fmt.Sprintf("Get %q: user %q, password %q may not\n::error::%s", "https://u:"+credential+"@"+r.Host+r.URL.String(), credential, password, credential)}))
		return
	}
	pair := object("stork.libopenstorage.org/v1alpha1", "ClusterPair", map[string]any{
		"metadata": map[string]any{"name": "west", "namespace": "fleet", "creationTimestamp": "2026-01-01T00:00:00Z", "uid": "1", "resourceVersion": "1"},
		"spec": map[string]any{"config": map[string]any{
			"clusters": map[string]any{"west": map[string]any{"server": "https://u:" + plant.Value + "@west.example.com/?token=" + plant.Value}},
			"users":    map[string]any{"west": map[string]any{"token": plant.Value}}, "contexts": map[string]any{"west": map[string]any{"cluster": "west", "user": "west"}}, "current-context": "west"},
			"options": map[string]any{"token": plant.Value}},
		"status": map[string]any{"schedulerStatus": "Ready\x1b[31m\n::error::injected", "storageStatus": "NotProvided"},
	})
	switch path := r.URL.Path; {
	case path == "/version":
		answer(http.StatusOK, map[string]any{"major": "1", "minor": "34", "gitVersion": "v1.34.0"})
	case path == "/api/v1/namespaces/kube-system":
		answer(http.StatusOK, object("v1", "Namespace", map[string]any{"metadata": map[string]any{"name": "kube-system", "uid": "0815"}}))
	case path == "/api/v1/namespaces/fleet/secrets/west":
		answer(http.StatusOK, object("v1", "Secret", map[string]any{"metadata": map[string]any{"name": "west", "namespace": "fleet"},
			"data": map[string]any{"value": encoded(e.kubeconfig("", "", "token: "+plant.Value))}}))
	case strings.HasSuffix(path, "/clusterpairs") && strings.Contains(r.URL.RawQuery, "missing"):
		answer(http.StatusOK, object("stork.libopenstorage.org/v1alpha1", "ClusterPairList", map[string]any{"metadata": map[string]any{"resourceVersion": "1"}, "items": []any{}}))
	case strings.HasSuffix(path, "/clusterpairs"):
		answer(http.StatusOK, object("stork.libopenstorage.org/v1alpha1", "ClusterPairList", map[string]any{"metadata": map[string]any{"resourceVersion": "1"}, "items": []any{pair}}))
	case strings.HasSuffix(path, "/selfsubjectreviews"):
		answer(http.StatusCreated, object("authentication.k8s.io/v1", "SelfSubjectReview", map[string]any{"status": map[string]any{"userInfo": map[string]any{"username": "dr"}}}))
	case strings.HasSuffix(path, "/selfsubjectrulesreviews"):
		answer(http.StatusCreated, object("authorization.k8s.io/v1", "SelfSubjectRulesReview", map[string]any{"status": map[string]any{"resourceRules": []any{
			map[string]any{"verbs": []string{"*"}, "apiGroups": []string{"*"}, "resources": []string{"*"}}}}}))
	default:
		answer(http.StatusNotFound, object("v1", "Status", map[string]any{"status": "Failure", "code": 404, "reason": "NotFound", "message": "not found: " + credential}))
	}
}

// TestNoSecretFromClusters runs the commands that ask a cluster, with planted
// credentials in the kubeconfig, in its URLs, in what the cluster holds, and in how
// it refuses.
func TestNoSecretFromClusters(t *testing.T) {
	server := newEcho(t)
	dir := t.TempDir()
	t.Chdir(dir)
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("clusterpair.yaml", `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: planted}
spec:
  namespace: mig
  pairs: [{name: pair, destination: {secret: {name: west}}}]
  files: [secrets]
  encryption: {age: [`+demoRecipient+`]}
`)
	commands := []struct {
		args []string
		want string // in what is printed while the server answers
	}{
		{[]string{"import", "--age", demoRecipient, "west"}, "secrets/fleet/west.yaml"},
		{[]string{"import", "--check", "--age", demoRecipient, "west"}, ""},
		{[]string{"import"}, "was imported here before"},
		{[]string{"import", "missing"}, "there is no such Secret in https://127.0.0.1:"},
		{[]string{"status", "-A"}, "fleet"},
		{[]string{"status", "-A", "-o", "wide"}, "fleet"},
		{[]string{"status", "-A", "-o", "json"}, `"fleet"`},
		{[]string{"status", "-A", "-o", "yaml"}, "fleet"},
		{[]string{"status", "-A", "-o", "name"}, "west"},
		{[]string{"preflight", "-A"}, "ClusterPair fleet/west"},
		{[]string{"preflight", "live.yaml"}, "authentication"},
		{[]string{"preflight", "live.yaml", "-o", "json"}, `"authentication"`},
		{[]string{"preflight", "live.yaml", "-o", "junit"}, "authentication"},
		{[]string{"preflight", "-n", "fleet", "missing"}, "there is no ClusterPair"},
		{[]string{"credential", "create", "--name", "dr", "--age", demoRecipient, "-o", "dr.yaml", "--yes"}, ""},
		{[]string{"credential", "create", "--name", "dr", "--age", demoRecipient, "-o", "dr.yaml", "--dry-run"}, ""},
	}
	reached := make(map[string]int)
	for name, kubeconfig := range map[string]string{
		"a token":              server.kubeconfig("", "", "token: "+plant.Value),
		"a password":           server.kubeconfig("", "", "username: u, password: "+plant.Value),
		"a password in a URL":  server.kubeconfig("u:"+plant.Value+"@", "", "token: abc"),
		"a token before @":     server.kubeconfig(plant.Value+"@", "", "token: abc"),
		"a query of a URL":     server.kubeconfig("", "/?token="+plant.Value, "token: abc"),
		"a password with a %":  server.kubeconfig("u:%25"+plant.Value+"@", "", "token: abc"),
		"a URL that is none":   server.kubeconfig("u:"+plant.Value+" x@", "", "token: abc"),
		"a URL without scheme": strings.Replace(server.kubeconfig("u:"+plant.Value+"@", "", "token: abc"), "https://", "", 1),
		"a proxy":              strings.Replace(server.kubeconfig("", "", "token: abc"), "cluster: {server", `cluster: {proxy-url: "http://u:`+plant.Value+`@127.0.0.1:1", server`, 1),
		"a proxy that is none": strings.Replace(server.kubeconfig("", "", "token: abc"), "cluster: {server", `cluster: {proxy-url: "http://u:`+plant.Value+` x@127.0.0.1:1", server`, 1),
	} {
		write("live.yaml", kubeconfig)
		for _, refuses := range []bool{false, true} {
			server.refuses = refuses
			for _, c := range commands {
				if strings.HasPrefix(name, "a proxy") && (refuses || c.args[len(c.args)-1] != "live.yaml" && c.args[len(c.args)-1] != "missing") {
					continue // nobody answers, which takes a while to find out
				}
				args := append(slices.Clone(c.args), "--kubeconfig", "live.yaml", "--request-timeout", "5s")
				var stdout, stderr bytes.Buffer
				runIn(t, args, "", &stdout, &stderr)
				all := stdout.String() + stderr.String()
				what := fmt.Sprintf("%s, refuses %v: clusterpair %s", name, refuses, strings.Join(args, " "))
				if at := plant.Find([]byte(all)); at != "" {
					t.Errorf("%s: the value is shown: %s", what, at)
				}
				checkHarmless(t, what, all)
				if c.want != "" && strings.Contains(all, c.want) {
					reached[strings.Join(c.args, " ")]++
				}
			}
			if data, err := os.ReadFile("secrets/fleet/west.yaml"); err == nil {
				if at := plant.Find(data); at != "" || !bytes.Contains(data, []byte("ENC[")) {
					t.Errorf("%s: the Secret in Git holds the value: %s", name, at)
				}
			}
			_ = os.RemoveAll("secrets")
		}
	}
	for _, c := range commands {
		// With the token, the password and most URLs the server answers. preflight
		// does not ask it by such a URL.
		least := 4
		if slices.Contains(c.args, "live.yaml") {
			least = 2
		}
		if n := reached[strings.Join(c.args, " ")]; c.want != "" && n < least {
			t.Errorf("clusterpair %s has printed %q %d times, not %d", strings.Join(c.args, " "), c.want, n, least)
		}
	}
	if asked := server.asked.Load(); asked < 200 {
		t.Errorf("the server was asked %d times", asked)
	}
}
