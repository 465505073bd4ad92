package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// tokenServer answers what credential revoke asks: the Secrets of tokens are there
// until they are deleted. How a real API server ends the tokens is for e2e.
type tokenServer struct {
	*httptest.Server
	mu      sync.Mutex
	secrets []string
}

func newTokenServer(t *testing.T, secrets ...string) *tokenServer {
	s := &tokenServer{secrets: secrets}
	object := func(name string) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": "kube-system", "uid": "u-" + name,
			"labels": map[string]any{"app.kubernetes.io/managed-by": "clusterpair"}, "annotations": map[string]any{"clusterpair.dev/service-account": "stork-dr"}}}
	}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		var answer any
		switch {
		case r.URL.Path == "/api/v1/namespaces/kube-system":
			answer = map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "kube-system", "uid": "d-uid"}}
		case name == "secrets":
			items := []any{}
			for _, secret := range s.secrets {
				items = append(items, object(secret))
			}
			answer = map[string]any{"apiVersion": "v1", "kind": "SecretList", "metadata": map[string]any{}, "items": items}
		case !slices.Contains(s.secrets, name):
			w.WriteHeader(http.StatusNotFound)
			answer = map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"}
		case r.Method == http.MethodDelete:
			s.secrets = slices.DeleteFunc(s.secrets, func(secret string) bool { return secret == name })
			answer = object(name)
		default:
			answer = object(name)
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *tokenServer) left() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.secrets, " ")
}

// revocation is a repository with a credential that was rotated from stork-old to
// stork-new, and the pair east/west rendered from it.
type revocation struct {
	*testing.T
	server *tokenServer
}

const (
	revokeConfig = `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: %s}
spec:
  storkVersion: "24.3"
  namespace: apps
  %s
  files: [secrets]
  output: %s
`
	byPairs    = "pairs: [{name: west, destination: {secret: {name: west}}}]"
	bySelector = "selector: {matchLabels: {role: dr}}"
)

func newRevocation(t *testing.T, spec string) *revocation {
	t.Chdir(t.TempDir())
	for _, name := range []string{"SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY", "KUBECONFIG", "HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	r := &revocation{t, newTokenServer(t, "stork-old", "stork-new")}
	r.write(".sops.yaml", "creation_rules: [{age: 'age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs,age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n'}]\n")
	r.write("admin.kubeconfig", fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: {server: %q, certificate-authority-data: %s}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\ncurrent-context: a\nusers: [{name: a, user: {token: admin}}]\n",
		r.server.URL, base64.StdEncoding.EncodeToString(r.ca())))
	r.write(".gitignore", "admin.kubeconfig\n")
	r.write("clusterpair.yaml", fmt.Sprintf(revokeConfig, "east", spec, "rendered"))
	r.git("init", "-q", ".")
	r.secret("stork-old", "")
	r.must("generate")
	return r
}

func (r *revocation) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
}

func (r *revocation) write(name, text string) {
	r.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		r.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		r.Fatal(err)
	}
}

// secret writes the Secret as credential rotate leaves it.
func (r *revocation) secret(token, previous string) {
	r.Helper()
	encode := base64.RawURLEncoding.EncodeToString
	jwt := encode([]byte(`{"alg":"RS256"}`)) + "." + encode(fmt.Appendf(nil, `{"exp":4102444800,"kubernetes.io":{"namespace":"kube-system","secret":{"name":%q}}}`, token)) + "." + encode([]byte("no real signature"))
	kubeconfig := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: west, cluster: {server: \"https://west.example.com:6443\", certificate-authority-data: %s}}]\ncontexts: [{name: west, context: {cluster: west, user: stork}}]\ncurrent-context: west\nusers: [{name: stork, user: {token: %s}}]\n",
		base64.StdEncoding.EncodeToString(r.ca()), jwt)
	os.Remove("secrets/west.yaml")
	r.write("secrets/west.yaml", fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata:
  name: west
  labels: {role: dr}
  annotations:
    clusterpair.dev/credential-account: kube-system/stork-dr
    clusterpair.dev/credential-secret: %s
    clusterpair.dev/credential-previous: "%s"
    clusterpair.dev/credential-cluster: d-uid
    clusterpair.dev/credential-server: https://west.example.com:6443
    clusterpair.dev/credential-id: secret:kube-system/%[1]s
data: {value: %[3]s}
`, token, previous, base64.StdEncoding.EncodeToString([]byte(kubeconfig))))
	r.must("encrypt", "-i", "secrets/west.yaml")
	r.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(fixturesDir, "keys", "demo.agekey"))
}

// fixturesDir is where the fixtures are, wherever a test works.
var fixturesDir, _ = filepath.Abs("../../fixtures")

func (r *revocation) git(args ...string) {
	r.Helper()
	if out, err := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.com"}, args...)...).CombinedOutput(); err != nil {
		r.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func (r *revocation) commit() { r.git("add", "-A"); r.git("commit", "-q", "-m", "x") }

// try runs clusterpair.
func (r *revocation) try(args ...string) (code int, stderr string) {
	r.Helper()
	var out, errs bytes.Buffer
	code = run(r.Context(), args, strings.NewReader(""), &out, &errs)
	return code, errs.String()
}

func (r *revocation) must(args ...string) {
	r.Helper()
	if code, stderr := r.try(args...); code != exitFine {
		r.Fatalf("clusterpair %v: exit code %d\n%s", args, code, stderr)
	}
}

var revoke = []string{"credential", "revoke", "secrets/west.yaml", "--kubeconfig", "admin.kubeconfig", "--yes"}

// refused tells that revoke says why, and deletes nothing.
func (r *revocation) refused(words ...string) {
	r.Helper()
	code, stderr := r.try(revoke...)
	if code != exitFailed || r.server.left() != "stork-old stork-new" {
		r.Fatalf("exit code %d, tokens left: %s\n%s", code, r.server.left(), stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			r.Errorf("stderr has no %q:\n%s", word, stderr)
		}
	}
}

func (r *revocation) revoked(more ...string) {
	r.Helper()
	if code, stderr := r.try(append(slices.Clone(revoke), more...)...); code != exitFine || r.server.left() != "stork-new" {
		r.Fatalf("exit code %d, tokens left: %s\n%s", code, r.server.left(), stderr)
	}
}

// TestRevokeHeld: what a pair of any config holds is not ended, and the hint leads out.
func TestRevokeHeld(t *testing.T) {
	for name, spec := range map[string]string{"pairs": byPairs, "selector": bySelector} {
		t.Run(name, func(t *testing.T) {
			r := newRevocation(t, spec)
			r.secret("stork-new", "stork-old")
			r.refused("rendered/apps/west.yaml (ClusterPair apps/west) still holds one of the credentials to end", "clusterpair generate -f clusterpair.yaml")
			r.must("generate", "-f", "clusterpair.yaml")
			r.revoked() // the CA ends before the token: that does not matter
		})
	}
}

// TestRevokeOrphan: the config of the pair is gone.
func TestRevokeOrphan(t *testing.T) {
	r := newRevocation(t, bySelector)
	r.secret("stork-new", "stork-old")
	r.write("clusterpair.yaml", fmt.Sprintf(revokeConfig, "other", byPairs, "elsewhere"))
	r.must("generate")
	r.refused("rendered/apps/west.yaml", "no config here renders it", "git rm rendered/apps/west.yaml")
	if err := os.Remove("rendered/apps/west.yaml"); err != nil {
		t.Fatal(err)
	}
	r.revoked()
}

// TestRevokeCommitted: what clusters sync is what is committed and pushed.
func TestRevokeCommitted(t *testing.T) {
	r := newRevocation(t, bySelector)
	r.commit()
	r.git("branch", "published")
	r.git("branch", "-q", "--set-upstream-to=published")
	r.secret("stork-new", "stork-old")
	r.must("generate")
	r.refused("rendered/apps/west.yaml (ClusterPair apps/west) as it is in HEAD still holds", "git commit")
	r.commit()
	r.refused("as it is in @{upstream} still holds", "git push")
	r.git("branch", "-f", "published", "HEAD")
	r.revoked()
}

// TestRevokeUnknown: a pair of before there were ids.
func TestRevokeUnknown(t *testing.T) {
	old := func(r *revocation) {
		t.Helper()
		data, err := os.ReadFile("rendered/apps/west.yaml")
		if err != nil {
			t.Fatal(err)
		}
		line := "    clusterpair.dev/credential-id: secret:kube-system/stork-old\n"
		if !bytes.Contains(data, []byte(line)) {
			t.Fatalf("no line %s in\n%s", line, data)
		}
		r.write("rendered/apps/west.yaml", strings.Replace(string(data), line, "", 1))
		r.secret("stork-new", "stork-old")
	}
	t.Run("key", func(t *testing.T) {
		r := newRevocation(t, bySelector)
		old(r)
		r.refused("still holds one of the credentials to end")
		r.must("generate")
		r.revoked()
	})
	t.Run("no key", func(t *testing.T) {
		r := newRevocation(t, bySelector)
		old(r)
		t.Setenv("SOPS_AGE_KEY_FILE", "")
		r.refused("does not tell which credential it holds", "clusterpair generate -f clusterpair.yaml")
		t.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(fixturesDir, "keys", "demo.agekey"))
		r.must("generate")
		t.Setenv("SOPS_AGE_KEY_FILE", "")
		r.revoked()
	})
	t.Run("of nobody", func(t *testing.T) {
		r := newRevocation(t, bySelector)
		old(r)
		if err := os.Remove("clusterpair.yaml"); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SOPS_AGE_KEY_FILE", "")
		r.refused("--assume-unused rendered/apps/west.yaml")
		r.revoked("--assume-unused", "rendered/apps/west.yaml")
	})
}

// TestRevokeUnread: what cannot be read may hold anything.
func TestRevokeUnread(t *testing.T) {
	r := newRevocation(t, bySelector)
	r.secret("stork-new", "stork-old")
	r.write("rendered/apps/west.yaml", "kind: ClusterPair\nmetadata: {name: [\n")
	r.refused("cannot be read", "clusterpair validate rendered/apps/west.yaml")
}

// TestRevokeCopy: another Secret file holds the token of before.
func TestRevokeCopy(t *testing.T) {
	r := newRevocation(t, byPairs)
	copied, err := os.ReadFile("secrets/west.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r.write("copy.yaml", string(copied))
	r.secret("stork-new", "stork-old")
	r.must("generate")
	r.refused("copy.yaml (Secret west) still holds", "clusterpair credential rotate copy.yaml")
}
