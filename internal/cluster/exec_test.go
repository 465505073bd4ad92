package cluster

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestExecGetsNoKeys: the credential plugin of a kubeconfig is started with the
// environment, as of kubectl, but for the private keys of SOPS.
func TestExecGetsNoKeys(t *testing.T) {
	dir := t.TempDir()
	plugin, seen := filepath.Join(dir, "plugin"), filepath.Join(dir, "seen")
	const script = "#!/bin/sh\nenv > \"$1\"\necho '{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{\"token\":\"t\"}}'\n"
	if err := os.WriteFile(plugin, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	t.Setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-1PLANTED")
	t.Setenv("SOPS_AGE_KEY_CMD", "cat planted")
	t.Setenv("AWS_PROFILE", "west")
	given := &api.ExecConfig{APIVersion: "client.authentication.k8s.io/v1", Command: plugin, Args: []string{seen}, InteractiveMode: api.NeverExecInteractiveMode}
	c, err := New(&rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, ExecProvider: given})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Secret(context.Background(), "apps", "west"); err != nil {
		t.Logf("the server has no Secrets: %v", err)
	}
	environment, err := os.ReadFile(seen)
	if err != nil {
		t.Fatalf("the plugin was not started: %v", err)
	}
	if text := strings.ToLower(string(environment)); strings.Contains(text, "planted") || !strings.Contains(text, "aws_profile=west") {
		t.Errorf("the plugin got\n%s", environment)
	}
	if len(given.Env) > 0 {
		t.Errorf("what was given has changed: %v", given.Env)
	}
}
