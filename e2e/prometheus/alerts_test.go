// Package prometheus has Prometheus itself, and Grafana's schema, judge what clusterpair
// install --watch prints.
package prometheus

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestAlerts runs the unit tests of rules_test.yaml with promtool.
func TestAlerts(t *testing.T) {
	dir := t.TempDir()
	run := func(name string, args ...string) []byte {
		t.Helper()
		out, err := exec.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return out
	}
	run("go", "build", "-C", "../..", "-o", filepath.Join(dir, "clusterpair"), "./cmd/clusterpair")
	groups := rules(t, run(filepath.Join(dir, "clusterpair"), "install", "--watch", "-o", "alerts"))
	tests, err := os.ReadFile("rules_test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"rules.yaml": groups, "rules_test.yaml": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("promtool", "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(dir, "rules.yaml"))
	t.Logf("%s", run("promtool", "test", "rules", filepath.Join(dir, "rules_test.yaml")))
}

// rules are the groups of the PrometheusRule, which is the second document, as a file of
// Prometheus has them.
func rules(t *testing.T, text []byte) []byte {
	t.Helper()
	var object struct {
		Kind string         `json:"kind"`
		Spec map[string]any `json:"spec"`
	}
	for _, document := range bytes.Split(text, []byte("\n---\n")) {
		object.Spec = nil
		if err := yaml.Unmarshal(document, &object); err != nil {
			t.Fatal(err)
		}
	}
	if object.Kind != "PrometheusRule" {
		t.Fatalf("the last document is a %s", object.Kind)
	}
	groups, err := yaml.Marshal(object.Spec)
	if err != nil {
		t.Fatal(err)
	}
	return groups
}
