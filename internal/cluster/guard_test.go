package cluster

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// TestUnguarded: only a cluster that can have policies, and says that it has not ours, is told of.
func TestUnguarded(t *testing.T) {
	const served = `{"resources": [{"name": "validatingadmissionpolicies"}, {"name": "validatingadmissionpolicybindings"}]}`
	for name, c := range map[string]struct {
		resources string
		binding   int
		want      bool
	}{
		"none":        {served, http.StatusNotFound, true},
		"guarded":     {served, http.StatusOK, false},
		"forbidden":   {served, http.StatusForbidden, false},
		"before 1.30": {`{"resources": [{"name": "validatingwebhookconfigurations"}]}`, http.StatusNotFound, false},
		"no such API": {"", http.StatusNotFound, false},
		"strange":     {"<html>", http.StatusNotFound, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				switch {
				case strings.HasSuffix(r.URL.Path, "/clusterpair-decodes") && c.binding != http.StatusOK:
					w.WriteHeader(c.binding)
					w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "` + strings.ReplaceAll(http.StatusText(c.binding), " ", "") + `"}`))
				case strings.HasSuffix(r.URL.Path, "/clusterpair-decodes"):
					w.Write([]byte("{}"))
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
			if got := client.unguarded(t.Context()); got != c.want {
				t.Errorf("unguarded: %v", got)
			}
		})
	}
}
