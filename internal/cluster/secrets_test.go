package cluster

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"clusterpair.dev/internal/kubeconfig"
)

// TestSecretsPages lists Secrets of which a page is larger than what is read at
// once: the pages become smaller, and none is left out.
func TestSecretsPages(t *testing.T) {
	const count = 130
	value := strings.Repeat("A", 1<<20)
	var limits []int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		first, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limits = append(limits, limit)
		next := ""
		if first+limit < count {
			next = strconv.Itoa(first + limit)
		}
		fmt.Fprintf(w, `{"metadata":{"continue":%q},"items":[`, next)
		for i := first; i < min(first+limit, count); i++ {
			if i > first {
				io.WriteString(w, ",")
			}
			fmt.Fprintf(w, `{"metadata":{"namespace":"fleet","name":"west-%d"},"data":{"value":"%s"}}`, i, value)
		}
		io.WriteString(w, "]}")
	}))
	defer server.Close()
	c, err := New(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	err = c.Secrets(t.Context(), "", "role=dr", func(s *kubeconfig.Secret) error {
		if len(s.Data["value"].Bytes) != len(value)/4*3 {
			t.Errorf("%s has lost something", s.Name)
		}
		seen[s.Name] = true
		return nil
	})
	if err != nil || len(seen) != count {
		t.Errorf("%d Secrets, in pages of %v: %v", len(seen), limits, err)
	}
}

// TestSecretsNames takes no name from a server that could lead to another file.
func TestSecretsNames(t *testing.T) {
	for _, metadata := range []map[string]string{
		{"namespace": "fleet", "name": "../rendered/west"},
		{"namespace": "../..", "name": "west"},
		{"namespace": "fleet", "name": ".."},
		{"namespace": "", "name": "west"},
		{"namespace": "fleet"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			secret := map[string]any{"metadata": metadata}
			if strings.HasSuffix(r.URL.Path, "/secrets") {
				secret = map[string]any{"items": []any{secret}}
			}
			json.NewEncoder(w).Encode(secret)
		}))
		c, err := New(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Secrets(t.Context(), "", "", func(*kubeconfig.Secret) error { return nil }); err == nil {
			t.Errorf("listed %v", metadata)
		}
		if _, err := c.Secret(t.Context(), "fleet", "west"); err == nil {
			t.Errorf("took %v", metadata)
		}
		server.Close()
	}
}
