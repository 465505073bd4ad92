package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/project"
)

// TestArrows keeps the imports of the house: they point downwards only, each
// heavy library has one importer, and the main hall reaches neither SOPS nor
// live clusters nor the command line by any way. Each package says in one line what it
// is for; one that takes an "and" for that is two.
func TestArrows(t *testing.T) {
	module := project.Module() + "/"
	allowed := map[string][]string{
		"internal/pace":        {},
		"internal/report":      {"internal/project"},
		"internal/release":     {"internal/report"},
		"internal/stork":       {},
		"internal/plainjson":   {},
		"internal/plainyaml":   {},
		"internal/kubeconfig":  {"internal/pattern", "internal/plainyaml", "internal/report", "internal/stork"},
		"internal/manifest":    {"internal/pattern", "internal/plainjson", "internal/plainyaml", "internal/report"},
		"internal/launch":      {},
		"internal/migration":   {"internal/manifest"},
		"internal/project":     {},
		"internal/defect":      {"internal/project"},
		"internal/work":        {"internal/defect"},
		"internal/cluster":     {"internal/defect", "internal/kubeconfig", "internal/launch", "internal/manifest", "internal/pattern", "internal/report", "internal/stork", "internal/worktree"},
		"internal/worktree":    {"internal/defect", "internal/pattern", "internal/report"},
		"internal/gitfiles":    {"internal/defect", "internal/launch", "internal/report", "internal/worktree"},
		"internal/leak":        {"internal/plainyaml"},
		"internal/leak/corpus": {},
		"internal/holders":     {"generator", "internal/gitfiles", "internal/kubeconfig", "internal/manifest", "internal/pattern", "internal/report", "internal/sopsfile"},
		"internal/live":        {"generator", "internal/cluster", "internal/defect", "internal/gitfiles", "internal/holders", "internal/kubeconfig", "internal/manifest", "internal/report", "internal/seal", "internal/sopsfile", "internal/validate"},
		"internal/watch":       {"internal/cluster", "internal/defect", "internal/kubeconfig", "internal/live", "internal/pattern", "internal/project", "internal/report"},
		"internal/preflight":   {"generator", "internal/cluster", "internal/defect", "internal/gitfiles", "internal/kubeconfig", "internal/kustomize", "internal/manifest", "internal/render", "internal/report", "internal/seal", "internal/sopsfile", "internal/worktree"},
		"internal/importer":    {"generator", "internal/cluster", "internal/holders", "internal/kubeconfig", "internal/kustomize", "internal/leak", "internal/manifest", "internal/render", "internal/report", "internal/seal", "internal/sopsfile", "internal/work", "internal/worktree", "schema"},
		"internal/credential":  {"generator", "internal/cluster", "internal/gitfiles", "internal/holders", "internal/kubeconfig", "internal/kustomize", "internal/manifest", "internal/render", "internal/report", "internal/seal", "internal/sopsfile", "internal/worktree"},
		"internal/rotation":    {"generator", "internal/cluster", "internal/credential", "internal/defect", "internal/gitfiles", "internal/holders", "internal/kubeconfig", "internal/kustomize", "internal/render", "internal/report", "internal/sopsfile", "internal/worktree"},
		"internal/mask":        {"generator", "internal/kubeconfig", "internal/leak", "internal/manifest", "internal/report"},
		"internal/expiring":    {"internal/gitfiles", "internal/holders", "internal/kubeconfig", "internal/manifest", "internal/report"},
		"internal/judge":       {"schema", "internal/defect", "internal/engine", "internal/gitfiles", "internal/helper", "internal/kustomize", "internal/manifest", "internal/pace", "internal/render", "internal/report", "internal/validate", "internal/worktree"},
		"internal/plant":       {"internal/manifest"},
		"internal/orphan":      {"internal/report"},
		"internal/plan":        {"internal/report"},
		"internal/readers":     {},
		"internal/waiver":      {"internal/report"},
		"internal/argoset":     {"internal/manifest", "internal/overlay", "internal/pattern"},
		"internal/engine":      {"generator", "internal/argoset", "internal/manifest", "internal/overlay", "internal/pattern", "internal/report"},
		"internal/overlay":     {"internal/manifest"},
		"internal/inventory":   {"generator", "internal/fleet", "internal/gitfiles", "internal/holders", "internal/kubeconfig", "internal/kustomize", "internal/manifest", "internal/pattern", "internal/report", "internal/sopsfile"},
		"internal/audit":       {"internal/inventory", "internal/kubeconfig", "internal/report"},
		"internal/graph":       {"internal/inventory", "internal/kubeconfig", "internal/report"},
		"internal/doctor":      {"generator", "schema", "internal/engine", "internal/gitfiles", "internal/judge", "internal/kustomize", "internal/launch", "internal/manifest", "internal/pattern", "internal/readers", "internal/render", "internal/report", "internal/seal", "internal/sopsfile", "internal/validate", "internal/worktree"},
		"internal/install":     {"internal/helper", "internal/report", "internal/worktree"},
		"internal/fleet":       {"generator", "schema", "internal/kubeconfig", "internal/manifest", "internal/report"},
		"internal/kustomize":   {"generator", "schema", "internal/fleet", "internal/gitfiles", "internal/manifest", "internal/pattern", "internal/report", "internal/seal", "internal/sopsfile", "internal/worktree"},
		"internal/validate":    {"generator", "schema", "internal/defect", "internal/engine", "internal/holders", "internal/kubeconfig", "internal/leak", "internal/manifest", "internal/migration", "internal/orphan", "internal/overlay", "internal/readers", "internal/report", "internal/sopsfile", "internal/stork", "internal/waiver", "internal/words"},
		"schema":               {"internal/report", "internal/stork"},
		"internal/words":       {},
		"internal/pattern":     {},
		"internal/sopsfile":    {"internal/helper", "internal/keyservice", "internal/pattern", "internal/plainjson", "internal/plainyaml"},
		"internal/keyservice":  {"internal/helper", "internal/pattern"},
		"internal/helper":      {"internal/defect", "internal/report"},
		// What only the program clusterpair-helper reaches.
		"internal/helper/helpertest": {"internal/helper", "internal/helper/program"},
		"internal/helper/program":    {"internal/helper", "internal/keyservice", "internal/keyservice/cloud", "schema", "schema/cuepolicy"},
		"internal/keyservice/cloud":  {"internal/keyservice"},
		"schema/cuepolicy":           {"internal/report", "schema"},
		"internal/render":            {"generator", "internal/engine", "internal/fleet", "internal/gitfiles", "internal/kubeconfig", "internal/kustomize", "internal/manifest", "internal/migration", "internal/orphan", "internal/overlay", "internal/pattern", "internal/plan", "internal/report", "internal/seal", "internal/sopsfile", "internal/validate", "internal/worktree"},
		"internal/seal":              {"generator", "internal/kubeconfig", "internal/leak", "internal/manifest", "internal/pattern", "internal/plainjson", "internal/report", "internal/sopsfile", "internal/worktree"},
		"generator":                  {"schema", "internal/kubeconfig", "internal/manifest", "internal/report", "internal/stork", "internal/work"},
		"examples":                   {"internal/manifest", "internal/report", "internal/sopsfile", "internal/stork", "internal/worktree"},
		"docs":                       {"internal/report"},
	}
	tops := []string{"cmd/clusterpair", "cmd/clusterpair-helper"} // which may import all others
	soleImporter := map[string]string{
		"github.com/spf13/cobra":     "cmd/clusterpair",
		"sigs.k8s.io/kustomize/api":  "internal/kustomize",
		"github.com/getsops/sops/v3": "internal/sopsfile", // but for its key services
		"filippo.io/age":             "internal/sopsfile",
		"cuelang.org/go":             "schema/cuepolicy",
		"k8s.io/client-go/rest":      "internal/cluster",
		"k8s.io/client-go/dynamic":   "internal/cluster",
	}
	forbidden := map[string][]string{
		"generator": {"github.com/getsops/sops/v3", "github.com/spf13/cobra", "k8s.io/client-go", "sigs.k8s.io/kustomize/api", module + "internal/sopsfile"},
		// What sops costs at start-up sits in these packages.
		"cmd/clusterpair": {module + "internal/keyservice/cloud", "cuelang.org/go", "google.golang.org/grpc", "github.com/getsops/sops/v3/config", "github.com/getsops/sops/v3/publish", "github.com/getsops/sops/v3/decrypt", "k8s.io/client-go/kubernetes", "k8s.io/client-go/discovery", "github.com/spf13/cobra/doc"},
	}

	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Doc,Imports,Deps", "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	table := read(t, "../../.github/CONTRIBUTING.md")
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p struct {
			ImportPath, Doc string
			Imports, Deps   []string
		}
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		name, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours {
			continue
		}
		seen++
		may, known := allowed[name]
		if !known && !slices.Contains(tops, name) {
			t.Errorf("package %s stands in no plan of the house", name)
		}
		if row := "`" + name + "`"; !strings.Contains(table, row) && name != "internal/leak/corpus" {
			t.Errorf("%s has no row in CONTRIBUTING", name)
		}
		if p.Doc == "" || strings.Contains(p.Doc, " and ") && !slices.Contains(tops, name) {
			t.Errorf("%s says of itself: %q", name, p.Doc)
		}
		for _, i := range p.Imports {
			if below, ours := strings.CutPrefix(i, module); ours && !slices.Contains(tops, name) && !slices.Contains(may, below) {
				t.Errorf("%s imports %s: arrows point downwards only", name, below)
			}
			for library, importer := range soleImporter {
				if (i == library || strings.HasPrefix(i, library+"/")) && name != importer && name != "internal/keyservice/cloud" {
					t.Errorf("%s imports %s, which only %s does", name, i, importer)
				}
			}
		}
		for _, f := range forbidden[name] {
			if slices.ContainsFunc(p.Deps, func(d string) bool { return d == f || strings.HasPrefix(d, f+"/") }) {
				t.Errorf("%s reaches %s", name, f)
			}
		}
	}
	if seen != len(allowed)+len(tops) {
		t.Errorf("%d packages found, %d planned", seen, len(allowed)+len(tops))
	}
}

// TestSizes: no package is too large to be read in a sitting.
func TestSizes(t *testing.T) {
	files, err := filepath.Glob("../../*/*.go")
	for _, pattern := range []string{"../../internal/*/*.go", "../../internal/*/*/*.go", "*.go"} {
		more, globErr := filepath.Glob(pattern)
		files, err = append(files, more...), cmp.Or(err, globErr)
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := make(map[string]int)
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "schema/plan.go") { // which is generated
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines[filepath.Dir(file)] += bytes.Count(data, []byte("\n"))
	}
	if len(lines) < 40 || lines["."] == 0 {
		t.Fatalf("only %d packages found", len(lines))
	}
	for dir, n := range lines {
		if most := map[bool]int{true: 3100, false: 4000}[dir == "."]; n > most {
			t.Errorf("%s has %d lines, more than %d: what does it hold that belongs elsewhere?", dir, n, most)
		}
	}
}
