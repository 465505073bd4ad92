package doctor

import (
	"os"
	"strings"
	"testing"
)

// TestCallers holds each call of kustomize in a script, a Makefile or CI against what
// kustomize and kubectl do with it. An empty answer means that nothing is said.
func TestCallers(t *testing.T) {
	const plugins, exec, both = "--enable-alpha-plugins is missing", "--enable-exec is missing", "--enable-alpha-plugins and --enable-exec are missing"
	const off, silent = " fails, as functions are off: ", " leaves the function out and says nothing: "
	for _, c := range []struct{ file, text, want, hint string }{
		{"a.sh", "kustomize build --enable-alpha-plugins --enable-exec overlays/east | kubectl apply -f -", "ok caller 1 script or job builds with --enable-alpha-plugins and --enable-exec", ""},
		{"a.sh", "kustomize build overlays/east", "error caller a.sh:1: kustomize build overlays/east" + off + both,
			"write there: clusterpair build overlays/east, or: kustomize build --enable-alpha-plugins --enable-exec overlays/east"},
		{"a.sh", "kustomize build --enable-exec overlays/east", "error caller a.sh:1: kustomize build overlays/east" + off + plugins, ""},
		{"a.sh", "kustomize build overlays/east --enable-alpha-plugins -o out.yaml", "error caller a.sh:1: kustomize build overlays/east" + silent + exec, ""},
		{"a.sh", "\nkustomize build --enable-alpha-plugins \\\n  overlays/east > out.yaml", "error caller a.sh:2: kustomize build overlays/east" + silent + exec, ""},
		{"a.sh", "cd overlays && kustomize build east", "error caller a.sh:1: kustomize build overlays/east" + off + both, ""},
		{"overlays/a.sh", "kustomize build east", "error caller overlays/a.sh:1: kustomize build east" + off + both, ""},
		{"a.sh", "kubectl apply --server-side -k overlays/east", "error caller a.sh:1: kubectl apply -k overlays/east" + off + "kubectl has no --enable-exec", "write there: clusterpair build overlays/east | kubectl apply -f -"},
		{"a.sh", "kubectl kustomize --enable-alpha-plugins overlays/east/", "error caller a.sh:1: kubectl kustomize overlays/east/" + silent + "kubectl has no --enable-exec", "write there: clusterpair build overlays/east/"},
		{"a.sh", "kubectl exec pod -- curl -k https://localhost", "", ""},
		{"a.sh", "kustomize build overlays/west", "", ""}, // which has no function
		{"a.sh", "kustomize build 'https://github.com/acme/fleet//base?ref=v1'", "", ""},
		{"a.sh", "kustomize build https://ada:hunter2@git.example.com/fleet --enable-alpha-plugins", "", ""},
		{"a.sh", "# kustomize build overlays/east", "", ""},
		{"a.sh", "echo \"now type: kustomize build overlays/east\"", "", ""},
		{"a.sh", "kustomize build \"$1\"", "", ""}, // if it fails, it says so
		{"a.sh", "kustomize build --enable-alpha-plugins \"$1\"", "warning caller a.sh:1: kustomize build $1 leaves the function out and says nothing, if it builds a folder with one: " + exec,
			"write there: clusterpair build DIR, or: kustomize build --enable-alpha-plugins --enable-exec DIR"},
		{"Makefile", "build:\n\t$(KUSTOMIZE) build $(DIR)", "", ""},
		{"Makefile", "build: ## Run kustomize build --enable-alpha-plugins overlays/east", "", ""},
		{"Makefile", "build:\n\t${KUSTOMIZE} build overlays/east", "error caller Makefile:2: kustomize build overlays/east" + off + both, ""},
		{".github/workflows/ci.yaml", "jobs:\n  build:\n    steps:\n    - name: kustomize build overlays/east\n      run: kustomize build overlays/east --enable-exec", "error caller .github/workflows/ci.yaml:5: kustomize build overlays/east" + off + plugins, ""},
		{".github/workflows/ci.yaml", "jobs:\n  build:\n    steps:\n    - run: |\n        for d in overlays/*; do kustomize build --enable-alpha-plugins $d; done", "warning caller .github/workflows/ci.yaml:5: kustomize build $d", ""},
		{"notes.yaml", "kind: CustomResourceDefinition\ndescription: Runs kustomize build --enable-alpha-plugins overlays/east", "", ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			r := example(t, "kustomize", "overlays/east")
			t.Chdir("../..")
			r.write("overlays/west/kustomization.yaml", "resources: []\n")
			r.write(c.file, c.text+"\n")
			said := r.examined(Options{Kustomize: true})
			if c.want == "" && strings.Contains(said, " caller ") || !strings.Contains("\n"+said, "\n"+c.want) || strings.Contains(said, "hunter2") {
				t.Errorf("want %q\n%s", c.want, said)
			}
			if !strings.Contains(said, "  hint: "+c.hint) {
				t.Errorf("want the hint %q\n%s", c.hint, said)
			}
		})
	}
}

// TestFunctions looks for the program of each function where kustomize does, and for
// functions where kustomize does not.
func TestFunctions(t *testing.T) {
	const program = "exec: {path: clusterpair}"
	find(t, "kustomize", ".", Options{Kustomize: true}, map[string]finding{
		"as it is": {edit: func(repository) {}, want: []string{"ok function 1 function can run here"}},
		"a path that is not there": {func(r repository) { r.replace("clusterpair.yaml", program, "exec: {path: bin/clusterpair}") },
			[]string{"error function clusterpair.yaml:2:7: ClusterPairGenerator east runs bin/clusterpair, and there is no file bin/clusterpair: a path counts from the kustomization"}, ""},
		"a path that nobody may execute": {func(r repository) {
			r.replace("clusterpair.yaml", program, "exec: {path: bin/clusterpair}")
			r.write("bin/clusterpair", "")
		}, []string{"error function clusterpair.yaml:2:7: ClusterPairGenerator east runs bin/clusterpair, which is not executable\n  hint: chmod +x bin/clusterpair"}, ""},
		"a path": {func(r repository) {
			r.replace("clusterpair.yaml", program, "exec: {path: bin/clusterpair}")
			r.write("bin/clusterpair", "")
			r.must(os.Chmod("bin/clusterpair", 0o700))
		}, []string{"ok function 1 function can run here"}, ""},
		"a name that is not in PATH": {func(r repository) { r.replace("clusterpair.yaml", program, "exec: {path: clusterpear}") },
			[]string{"error function clusterpair.yaml:2:7: ClusterPairGenerator east runs clusterpear, which is not in PATH"}, "can run here"},
		"a container": {func(r repository) { r.replace("clusterpair.yaml", program, "container: {image: x}") },
			[]string{"error function clusterpair.yaml:2:7: ClusterPairGenerator east runs in a container, and docker is not in PATH"}, ""},
		"a container, and docker": {func(r repository) {
			r.replace("clusterpair.yaml", program, "container: {image: x}")
			r.program("docker", "")
		}, []string{"ok function 1 function can run here"}, ""},
		"no program": {func(r repository) {
			r.write("kustomization.yaml", "generators:\n- |\n  apiVersion: clusterpair.dev/v1alpha1\n  kind: ClusterPairDecryptor\n  metadata: {name: inline}\n")
		}, []string{"error function kustomization.yaml:2:3: ClusterPairDecryptor inline has no annotation that names a program, without which kustomize takes it for a plugin"}, ""},
		"among the resources": {func(r repository) { r.replace("kustomization.yaml", "generators", "resources") },
			[]string{"error listed clusterpair.yaml:2:7: ClusterPairGenerator east stands among the resources, where kustomize runs nothing\n  hint: list it under generators"}, ""},
		"not listed": {func(r repository) { r.remove("kustomization.yaml") },
			[]string{"warning listed clusterpair.yaml:2:7: ClusterPairGenerator east is meant as a function, and no kustomization here lists it", "skipped function no kustomization lists a function of clusterpair"}, ""},
		"another clusterpair in PATH": {func(r repository) { r.program("clusterpair", "echo clusterpair v0.0.9") },
			[]string{"warning function the clusterpair in PATH is v0.0.9, this one is v1.0.0\n  hint: type -a clusterpair"}, ""},
		"another one of this version": {edit: func(r repository) { r.program("clusterpair", "echo clusterpair v1.0.0") }, not: "in PATH is"},
		"a clusterpair that fails": {func(r repository) { r.program("clusterpair", "exit 1") },
			[]string{"warning function the clusterpair in PATH does not tell its version"}, ""},
		"no kustomize": {func(repository) {}, []string{"warning kustomize kustomize is not in PATH; clusterpair build has its own\n  hint: go install sigs.k8s.io/kustomize/kustomize/v5@" + testedKustomize}, ""},
		"the kustomize that is tested": {func(r repository) { r.program("kustomize", "echo "+testedKustomize) },
			[]string{"ok kustomize " + testedKustomize + ", the one that is tested"}, ""},
		"another kustomize": {func(r repository) { r.program("kustomize", "echo '{Version:kustomize/v5.4.1 GitCommit:x}'") },
			[]string{"ok kustomize v5.4.1; " + testedKustomize + " is the one that is tested"}, ""},
		"an old kustomize": {func(r repository) { r.program("kustomize", "echo v4.9.0") },
			[]string{"warning kustomize v4.9.0 is old: functions work otherwise before v5"}, ""},
		"a kustomize that fails": {func(r repository) { r.program("kustomize", "exit 7") },
			[]string{"warning kustomize kustomize is in PATH and does not tell its version: exit status 7"}, ""},
	})
}
