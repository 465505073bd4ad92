package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

const twoContexts = `apiVersion: v1
kind: Config
clusters: [{name: west, cluster: {server: "https://west.example.com:6443"}}]
contexts:
- {name: west, context: {cluster: west, user: stork, namespace: apps}}
- {name: east, context: {cluster: gone, user: stork}}
current-context: west
users: [{name: stork, user: {token: s3cr3t-token}}]
`

// TestChoice makes clients from kubeconfigs, and says why none can be made. No message
// holds the token.
func TestChoice(t *testing.T) {
	for _, c := range []struct {
		name       string
		kubeconfig string // its text; - if there is no such file
		named      bool   // by --kubeconfig, not by KUBECONFIG
		context    string
		namespace  string
		err, hint  string
		finding    string
	}{
		{name: "the current context", kubeconfig: twoContexts, named: true, namespace: "apps"},
		{name: "of KUBECONFIG", kubeconfig: twoContexts, namespace: "apps"},
		{name: "no such context", kubeconfig: twoContexts, named: true, context: "south", err: `the kubeconfig has no context "south"`, hint: "choose one with --context: kubectl config get-contexts --kubeconfig config"},
		{name: "no such cluster", kubeconfig: twoContexts, named: true, context: "east", err: "the kubeconfig names a cluster or user that it does not have, or files that are not there", hint: "see what it holds: kubectl config view --kubeconfig config"},
		{name: "none", kubeconfig: "-", err: "no kubeconfig, and no cluster around this process", hint: "name one with --kubeconfig FILE, or set KUBECONFIG"},
		{name: "no such file", kubeconfig: "-", named: true, err: "read config: no such file or directory", hint: "see what is there: ls ."},
		{name: "no YAML", kubeconfig: "users: [{user: {token: s3cr3t-token}\n", named: true, err: "config:1:"},
		{name: "no list", kubeconfig: strings.Replace(twoContexts, "[{name: stork, user: {token: s3cr3t-token}}]", "s3cr3t-token", 1), named: true, finding: "config:8:8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			t.Setenv("HOME", t.TempDir())
			t.Setenv("KUBERNETES_SERVICE_HOST", "")
			if c.kubeconfig != "-" {
				if err := os.WriteFile("config", []byte(c.kubeconfig), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			dir, err := os.Getwd()
			if err != nil {
				t.Fatal(err)
			}
			t.Setenv("KUBECONFIG", filepath.Join(dir, "config"))
			var choice Choice
			if c.named {
				choice.Kubeconfig = "config"
			}
			choice.Overrides.CurrentContext = c.context
			client, namespace, findings, err := choice.Client()
			hint := ""
			var hinted *report.HintedError
			if errors.As(err, &hinted) {
				hint = hinted.Hint
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) || hint != c.hint {
				t.Errorf("error %v, hint %q", err, hint)
			}
			if found := len(findings) > 0; found != (c.finding != "") || found && !strings.HasPrefix(findings[0].String(), c.finding) {
				t.Errorf("findings %v", findings)
			}
			if good := c.err == "" && c.finding == ""; (client != nil) != good || namespace != c.namespace {
				t.Errorf("client %v, namespace %q", client, namespace)
			}
			for _, f := range findings {
				if strings.Contains(f.String()+f.Hint, "s3cr3t") {
					t.Error("a finding holds the token")
				}
			}
			if err != nil && strings.Contains(err.Error()+hint, "s3cr3t") {
				t.Error("the error holds the token")
			}
		})
	}
}

// TestChoiceFlags types what was chosen again, and lists what there is to choose from.
func TestChoiceFlags(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("my config", []byte(twoContexts), 0o600); err != nil {
		t.Fatal(err)
	}
	var c Choice
	if got := c.Flags() + c.ListContexts(); got != "kubectl config get-contexts" {
		t.Error(got)
	}
	c.Kubeconfig, c.Overrides.CurrentContext = "my config", "west"
	if got := c.Flags(); got != " --kubeconfig 'my config' --context west" {
		t.Error(got)
	}
	if got := c.ListContexts(); got != "kubectl config get-contexts --kubeconfig 'my config'" {
		t.Error(got)
	}
	if got := c.Contexts(); !slices.Equal(got, []string{"east", "west"}) {
		t.Error(got)
	}
	c.Kubeconfig = "none"
	if got := c.Contexts(); got != nil {
		t.Error(got)
	}
}
