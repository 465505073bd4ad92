package credential

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"clusterpair.dev/internal/cluster"
)

// apiServer is an API server with one namespace, in which objects are by their paths.
type apiServer struct {
	namespace string
	objects   map[string]map[string]any
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := any(map[string]any{"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404, "message": "not found"})
	code := http.StatusNotFound
	within := !strings.Contains(r.URL.Path, "/namespaces/") || strings.Contains(r.URL.Path, "/namespaces/"+s.namespace+"/") || strings.HasSuffix(r.URL.Path, "/namespaces/new")
	switch object := s.objects[r.URL.Path]; {
	case r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/secrets"):
		items := []any{}
		for path, o := range s.objects {
			if strings.HasPrefix(path, r.URL.Path+"/") {
				items = append(items, o)
			}
		}
		code, answer = http.StatusOK, map[string]any{"apiVersion": "v1", "kind": "SecretList", "metadata": map[string]any{}, "items": items}
	case r.Method == http.MethodPatch && within:
		var sent map[string]any
		json.NewDecoder(r.Body).Decode(&sent)
		if r.URL.Query().Get("dryRun") == "" {
			s.objects[r.URL.Path] = sent
		}
		code, answer = http.StatusOK, sent
	case r.Method == http.MethodDelete && object != nil:
		delete(s.objects, r.URL.Path)
		code, answer = http.StatusOK, object
	case object != nil:
		code, answer = http.StatusOK, object
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(answer)
}

func (s *apiServer) start(t *testing.T) *cluster.Client {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, err := cluster.New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestApply makes the objects of an account, in a namespace that is there and in one that
// is not.
func TestApply(t *testing.T) {
	for _, c := range []struct {
		name              string
		namespace         string
		create, dryRun    bool
		outcomes          string
		err               string
		objectsAfterwards int
	}{
		{"there", "kube-system", false, false, "created ServiceAccount kube-system/stork", "", 1},
		{"tried", "kube-system", false, true, "created ServiceAccount kube-system/stork", "", 0},
		{"missing", "none", false, false, "", "there is no namespace none on ", 0},
		{"missing, tried", "none", false, true, "", "there is no namespace none on ", 0},
		{"made and tried", "new", true, true, "created Namespace new, created ServiceAccount new/stork", "", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &apiServer{namespace: "kube-system", objects: make(map[string]map[string]any)}
			client := s.start(t)
			var outcomes []string
			objects := cluster.Manifests(cluster.Account{Namespace: c.namespace, Name: "stork"}, c.create, cluster.Grants{})
			err := Apply(t.Context(), client, objects, c.dryRun, func(outcome, id string) { outcomes = append(outcomes, outcome+" "+id) })
			if (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
				t.Errorf("error %v, not %q", err, c.err)
			}
			if got := strings.Join(outcomes, ", "); got != c.outcomes {
				t.Errorf("got %s, not %s", got, c.outcomes)
			}
			if len(s.objects) != c.objectsAfterwards {
				t.Errorf("there are %d objects, not %d", len(s.objects), c.objectsAfterwards)
			}
		})
	}
}

// TestRevocation tells which tokens end, and ends no other.
func TestRevocation(t *testing.T) {
	const secrets = "/api/v1/namespaces/kube-system/secrets"
	token := func(name, account string, day int) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "namespace": "kube-system", "uid": "u-" + name,
			"creationTimestamp": time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC).Format(time.RFC3339),
			"labels":            map[string]any{"app.kubernetes.io/managed-by": "clusterpair"}, "annotations": map[string]any{"clusterpair.dev/service-account": account}}}
	}
	for _, c := range []struct {
		name            string
		all             bool
		previous        []string
		end, stay, left string
	}{
		{"those of before", false, []string{"one"}, "one", "two three", "other three two"},
		{"none", false, nil, "", "one two three", "one other three two"},
		{"all", true, nil, "one two three", "", "other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			s := &apiServer{namespace: "kube-system", objects: make(map[string]map[string]any)}
			for i, name := range []string{"one", "two", "three"} {
				s.objects[secrets+"/"+name] = token(name, "stork", i+1)
			}
			s.objects[secrets+"/other"] = token("other", "somebody", 1)
			f := &File{Path: "west.yaml", Account: cluster.Account{Namespace: "kube-system", Name: "stork"}, Secret: "two", Previous: c.previous}
			r, err := f.Revocation(t.Context(), s.start(t), c.all, nil)
			if err != nil {
				t.Fatal(err)
			}
			names := func(tokens []cluster.TokenSecret) string {
				var all []string
				for _, t := range tokens {
					all = append(all, t.Name)
				}
				return strings.Join(all, " ")
			}
			if end, stay := names(r.End), names(r.Stay); end != c.end || stay != c.stay {
				t.Errorf("%s end and %s stay, not %s and %s", end, stay, c.end, c.stay)
			}
			var shown bytes.Buffer
			r.Write(&shown)
			for _, t1 := range slices.Concat(r.End, r.Stay) {
				if !strings.Contains(shown.String(), fmt.Sprintf("  %s, made on 2026-01-", t1.Name)) {
					t.Errorf("%s is not shown:\n%s", t1.Name, shown.String())
				}
			}
			if strings.Contains(shown.String(), "and stay") != (c.stay != "") {
				t.Errorf("got:\n%s", shown.String())
			}
			var gone []string
			if err := r.Do(t.Context(), func(secret string) { gone = append(gone, strings.TrimPrefix(secret, "kube-system/")) }); err != nil || strings.Join(gone, " ") != c.end {
				t.Errorf("gone are %v, %v", gone, err)
			}
			var left []string
			for path := range s.objects {
				left = append(left, strings.TrimPrefix(path, secrets+"/"))
			}
			slices.Sort(left)
			if got := strings.Join(left, " "); got != c.left {
				t.Errorf("%s are left, not %s", got, c.left)
			}
		})
	}
}
