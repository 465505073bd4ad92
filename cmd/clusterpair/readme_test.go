package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples runs generate and build in every example: what is committed is
// what they render.
func TestExamples(t *testing.T) {
	env := commandEnvironment(t)
	configs, err := filepath.Glob("../../examples/*/kustomization.yaml")
	if err != nil || len(configs) < 2 {
		t.Fatalf("%d examples, %v", len(configs), err)
	}
	for _, config := range configs {
		dir := filepath.Dir(config)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			output := func(name string, args ...string) []byte {
				t.Helper()
				cmd := exec.Command(name, args...)
				var stdout, stderr bytes.Buffer
				cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &stdout, &stderr
				if err := cmd.Run(); err != nil {
					t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &stdout, &stderr)
				}
				return stdout.Bytes()
			}
			sh := func(script string) []byte { return output("sh", "-c", script) }
			if out := sh("clusterpair generate --check"); len(out) > 0 {
				t.Errorf("generate --check prints %s", out)
			}
			files, err := filepath.Glob(filepath.Join(dir, "rendered", "*", "*.yaml"))
			if err != nil || len(files) == 0 {
				t.Fatalf("nothing is rendered: %v", err)
			}
			var documents []string
			for _, file := range files {
				documents = append(documents, read(t, file))
				rel, err := filepath.Rel(dir, file)
				if err != nil {
					t.Fatal(err)
				}
				sh("sops decrypt " + rel)
			}
			want := strings.Join(documents, "---\n")
			for _, build := range []string{"clusterpair build", "kustomize build --enable-alpha-plugins --enable-exec ."} {
				if got := string(sh(build)); got != want {
					t.Errorf("%s prints something else than generate committed:\n%s", build, got)
				}
			}
		})
	}
}

// commandEnvironment has clusterpair, which is this test binary as in scripts (see
// [TestMain]), kustomize and sops in its PATH and the demo key at hand.
func commandEnvironment(t *testing.T) []string {
	t.Helper()
	clusterpair, err := exec.LookPath("clusterpair")
	if err != nil {
		t.Fatal(err)
	}
	path := strings.Join([]string{filepath.Dir(clusterpair), tools(t), os.Getenv("PATH")}, string(filepath.ListSeparator))
	return append(os.Environ(), "PATH="+path, "SOPS_AGE_KEY_FILE="+filepath.Join(fixtures(t), "keys", "demo.agekey"))
}

// TestArgoCDConfigMap holds the ConfigMap for those who do not install Argo CD by
// kustomize against the component for those who do. UPDATE=1 writes it.
func TestArgoCDConfigMap(t *testing.T) {
	dir := t.TempDir()
	example := filepath.Join("..", "..", "examples", "argocd")
	if err := os.CopyFS(filepath.Join(dir, "health"), os.DirFS(filepath.Join(example, "health"))); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"kustomization.yaml": "namespace: argocd\nresources: [argocd-cm.yaml]\ncomponents: [health]\n",
		"argocd-cm.yaml":     "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  labels: {app.kubernetes.io/part-of: argocd}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("sh", "-c", `clusterpair build "$0"`, dir) // by the PATH of its environment
	build.Env = commandEnvironment(t)
	got, err := build.Output()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(example, "argocd-cm.yaml")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, file) != string(got) {
		t.Errorf("%s is not what the component makes: make update", file)
	}
}
