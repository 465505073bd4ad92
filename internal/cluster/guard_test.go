package cluster

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// TestGuard: a cluster refuses by a binding that denies. One that cannot have it, or does not say so,
// is not called unguarded.
func TestGuard(t *testing.T) {
	const served = `{"resources": [{"name": "validatingadmissionpolicies"}, {"name": "validatingadmissionpolicybindings"}]}`
	for name, c := range map[string]struct {
		resources string
		binding   int
		actions   string
		want      Guard
	}{
		"none":         {served, http.StatusNotFound, "", Unguarded},
		"guarded":      {served, http.StatusOK, `["Deny"]`, Guarded},
		"warns, alone": {served, http.StatusOK, `["Warn", "Audit"]`, Unguarded},
		"forbidden":    {served, http.StatusForbidden, "", GuardUnknown},
		"before 1.30":  {`{"resources": [{"name": "validatingwebhookconfigurations"}]}`, http.StatusNotFound, "", GuardUnknown},
		"no such API":  {"", http.StatusNotFound, "", GuardUnknown},
		"strange":      {"<html>", http.StatusNotFound, "", GuardUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case strings.HasSuffix(r.URL.Path, "/clusterpair-decodes") && c.binding != http.StatusOK:
					w.WriteHeader(c.binding)
					w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "` + strings.ReplaceAll(http.StatusText(c.binding), " ", "") + `"}`))
				case strings.HasSuffix(r.URL.Path, "/clusterpair-decodes"):
					w.Write([]byte(`{"spec": {"validationActions": ` + c.actions + `}}`))
				case c.resources == "":
					http.NotFound(w, r)
				default:
					w.Write([]byte(c.resources))
				}
			}))
			defer s.Close()
			client, err := New(&rest.Config{Host: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			if got := client.guard(t.Context()); got != c.want {
				t.Errorf("guard: %v", got)
			}
		})
	}
}
