package importer

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"k8s.io/client-go/rest"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/report"
)

// planted is the token of a kubeconfig; nothing that is told may hold it.
const planted = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6a3ViZS1zeXN0ZW06c3RvcmsifQ.cGxhbnRlZA"

// secrets are those of a cluster: what is in value, by NAMESPACE/NAME.
type secrets map[string]string

func (s secrets) object(id string) map[string]any {
	namespace, name, _ := strings.Cut(id, "/")
	return map[string]any{"type": "Opaque", "data": map[string]string{"value": base64.StdEncoding.EncodeToString([]byte(s[id]))},
		"metadata": map[string]any{"namespace": namespace, "name": name, "labels": map[string]string{"role": "dr", "cluster.x-k8s.io/cluster-name": strings.Split(name, "-")[0]},
			"annotations": map[string]string{"kubectl.kubernetes.io/last-applied-configuration": s[id]}}}
}

func (s secrets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	path := strings.TrimPrefix(r.URL.Path, "/api/v1/")
	if strings.HasSuffix(path, "secrets") {
		items := []any{}
		for _, id := range slices.Sorted(maps.Keys(s)) { // as API servers do
			items = append(items, s.object(id))
		}
		json.NewEncoder(w).Encode(map[string]any{"metadata": map[string]any{}, "items": items})
		return
	}
	parts := strings.Split(path, "/") // namespaces NAMESPACE secrets NAME
	if id := parts[1] + "/" + parts[len(parts)-1]; s[id] != "" {
		json.NewEncoder(w).Encode(s.object(id))
		return
	}
	w.WriteHeader(http.StatusNotFound)
	json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"})
}

// kubeconfigWith is one with a user.
func kubeconfigWith(user string) string {
	return "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters:\n- name: a\n  cluster: {server: https://west.example.com:6443}\n" +
		"contexts:\n- name: a\n  context: {cluster: a, user: a}\nusers:\n- name: a\n  user: " + user + "\n"
}

// one runs an import of all Secrets with the label role=dr, or of those that are named,
// and tells what became of the files, with the rules of the findings.
func one(t *testing.T, held secrets, o Options, names ...string) string {
	t.Helper()
	server := httptest.NewServer(held)
	defer server.Close()
	client, err := cluster.New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Begin(o)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.ReadHeld(); err != nil {
		t.Fatal(err)
	}
	if err := r.From(client); err != nil {
		t.Fatal(err)
	}
	r.from = "sha256:here" // the server has no CA
	if names != nil {
		err = r.Get(t.Context(), "fleet", names)
	} else {
		err = r.Select(t.Context(), "", "role=dr")
	}
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, c := range r.Files().Changes() {
		all = append(all, fmt.Sprint(c.Verb)+" "+c.Path)
	}
	for _, f := range r.Findings() {
		all = append(all, f.Severity.String()+" "+f.Rule)
		if said := fmt.Sprintf("%+v", f); strings.Contains(said, planted) || strings.Contains(said, "correct-horse") {
			t.Errorf("a credential is shown: %s", said)
		}
	}
	slices.Sort(all)
	if !report.HasErrors(r.Findings()) {
		if err := r.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return strings.Join(all, ", ")
}

// TestReconcile imports a second time, after the cluster or Git has changed.
func TestReconcile(t *testing.T) {
	const file = "secrets/fleet/west.yaml"
	token, password := kubeconfigWith("{token: "+planted+"}"), kubeconfigWith("{username: a, password: correct-horse}")
	write := func(text string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	edit := func(old, new string) func(t *testing.T) {
		return func(t *testing.T) {
			t.Helper()
			data, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(data), old) {
				t.Fatalf("%s does not hold %s: %v", file, old, err)
			}
			write(strings.ReplaceAll(string(data), old, new))(t)
		}
	}
	for _, c := range []struct {
		name   string
		first  string // what is in the Secret
		change func(t *testing.T)
		then   secrets
		names  []string // nil for those with the label
		key    bool     // at hand
		want   string
		check  string // what a check says instead, "" for the same
	}{
		{name: "nothing, without a key", first: token, then: secrets{"fleet/west": token}, want: ""},
		{name: "nothing, by its name", first: token, then: secrets{"fleet/west": token}, names: []string{"west"}, want: ""},
		{name: "a password, with a key", first: password, then: secrets{"fleet/west": password}, key: true, want: ""},
		{name: "a password, without a key", first: password, then: secrets{"fleet/west": password}, want: "changed " + file + ", info no-key", check: "warning no-key"},
		{name: "another credential", first: token, then: secrets{"fleet/west": password}, want: "changed " + file, check: "changed " + file + ", error credential-drift"},
		{name: "one more", first: token, then: secrets{"fleet/west": token, "fleet/north": token}, want: "created secrets/fleet/north.yaml", check: "created secrets/fleet/north.yaml, error credential-drift"},
		{name: "no longer in the cluster", first: token, then: secrets{}, want: "warning credential-drift", check: "error credential-drift"},
		{name: "no longer in the cluster, by its name", first: token, then: secrets{}, names: []string{"west"}, want: "warning credential-drift", check: "error credential-drift"},
		{name: "a name that neither has", first: token, then: secrets{}, names: []string{"none"}, want: "error secret-missing"},
		{name: "no kubeconfig", first: token, then: secrets{"fleet/west": token, "fleet/other": "a"}, want: "warning secret-key"},
		{name: "no kubeconfig, by its name", first: token, then: secrets{"fleet/other": "a"}, names: []string{"other"}, want: "error secret-key"},
		{name: "one for users beside it", first: token, then: secrets{"fleet/west": token, "fleet/north-kubeconfig": token, "fleet/north-kubeconfig-user": token, "fleet/north-user-kubeconfig": token},
			want: "created secrets/fleet/north-kubeconfig.yaml, info secret-key, info secret-key", check: "created secrets/fleet/north-kubeconfig.yaml, error credential-drift, info secret-key, info secret-key"},
		{name: "one for users alone", first: token, then: secrets{"fleet/west": token, "fleet/north-user-kubeconfig": token}, want: "created secrets/fleet/north-user-kubeconfig.yaml", check: "created secrets/fleet/north-user-kubeconfig.yaml, error credential-drift"},
		{name: "of another cluster", first: token, change: edit("sha256:here", "sha256:there"), then: secrets{"fleet/west": token}, want: "error output-taken"},
		{name: "in clear", first: token, change: write("kind: Secret\nmetadata: {name: west, namespace: fleet}\n"), then: secrets{"fleet/west": token}, want: "error output-taken"},
		{name: "another file of its name", first: token, change: write("kind: ConfigMap\n"), then: secrets{"fleet/west": token}, want: "error output-taken"},
		{name: "beside something else", first: token, change: func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write("kind: ConfigMap\n---\n" + string(data))(t)
		}, then: secrets{"fleet/west": token}, want: "error output-taken"},
		{name: "moved to another file", first: token, change: func(t *testing.T) {
			if err := os.Rename(file, "secrets/dr.yaml"); err != nil {
				t.Fatal(err)
			}
		}, then: secrets{"fleet/west": password}, want: "changed secrets/dr.yaml", check: "changed secrets/dr.yaml, error credential-drift"},
		{name: "moved to a resource of a kustomization", first: token, change: func(t *testing.T) {
			const elsewhere = "apart/secrets/west.yaml"
			if err := os.MkdirAll(filepath.Dir(elsewhere), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(file, elsewhere); err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{
				"kustomization.yaml": "resources: [" + elsewhere + "]\ntransformers: [clusterpair.yaml]\n",
				"clusterpair.yaml": "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: east}\n" +
					"spec: {selector: {matchLabels: {role: dr}, namespace: apps}}\n",
			} {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, then: secrets{"fleet/west": password}, want: "changed apart/secrets/west.yaml", check: "changed apart/secrets/west.yaml, error credential-drift"},
		{name: "one of credential create", first: token, change: edit("clusterpair.dev/imported-from: sha256:here", holders.AnnotationAccount+": kube-system/stork"), then: secrets{"fleet/west": token}, want: "error output-taken"},
	} {
		for _, check := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%t", c.name, check), func(t *testing.T) {
				t.Chdir(t.TempDir())
				identity, err := age.GenerateX25519Identity()
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range []string{"HOME", "XDG_CONFIG_HOME"} {
					t.Setenv(v, t.TempDir())
				}
				t.Setenv("SOPS_AGE_KEY", identity.String())
				o := Options{Config: ".", Output: "secrets", Age: []string{identity.Recipient().String()}}
				if got := one(t, secrets{"fleet/west": c.first}, o); got != "created "+file {
					t.Fatalf("first: %s", got)
				}
				if c.change != nil {
					c.change(t)
				}
				before := tree(t)
				if !c.key {
					t.Setenv("SOPS_AGE_KEY", "")
				}
				want := c.want
				if o.Check = check; check && c.check != "" {
					want = c.check
				}
				if got := one(t, c.then, o, c.names...); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
				after := tree(t)
				if same, writes := bytes.Equal(before, after), !check && strings.Contains(want, "secrets/"); same == writes {
					t.Errorf("the files are the same: %t", same)
				}
				if bytes.Contains(after, []byte(base64.StdEncoding.EncodeToString([]byte(c.first)))) || bytes.Contains(after, []byte(planted)) {
					t.Error("a kubeconfig stands in clear")
				}
			})
		}
	}
}

// tree is all that stands in the files.
func tree(t *testing.T) []byte {
	t.Helper()
	var all []byte
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			data, bad := os.ReadFile(path)
			all, err = append(append(append(all, path...), 0), data...), bad
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
