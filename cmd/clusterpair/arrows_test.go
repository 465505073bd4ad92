package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestArrows keeps the imports of the house: they point downwards only, each
// heavy library has one importer, and the main hall reaches neither SOPS nor
// live clusters nor the command line by any way.
func TestArrows(t *testing.T) {
	const module = "clusterpair.dev/"
	allowed := map[string][]string{
		"internal/pace":       {},
		"internal/report":     {},
		"internal/plainyaml":  {},
		"internal/kubeconfig": {"internal/plainyaml", "internal/report"},
		"internal/manifest":   {"internal/plainyaml", "internal/report"},
		"internal/cluster":    {"internal/kubeconfig", "internal/report"},
		"internal/validate":   {"generator", "schema", "internal/kubeconfig", "internal/manifest", "internal/report", "internal/sopsfile"},
		"schema":              {"internal/report"},
		"internal/sopsfile":   {"internal/plainyaml"},
		"generator":           {"schema", "internal/kubeconfig", "internal/report"},
		"examples":            {},
		"cmd/clusterpair":     {"examples", "generator", "schema", "internal/cluster", "internal/kubeconfig", "internal/manifest", "internal/pace", "internal/report", "internal/sopsfile", "internal/validate"},
	}
	soleImporter := map[string]string{
		"github.com/spf13/cobra":     "cmd/clusterpair",
		"sigs.k8s.io/kustomize/api":  "cmd/clusterpair",
		"github.com/getsops/sops/v3": "internal/sopsfile",
		"filippo.io/age":             "internal/sopsfile",
		"cuelang.org/go":             "schema",
		"k8s.io/client-go/rest":      "internal/cluster",
		"k8s.io/client-go/dynamic":   "internal/cluster",
	}
	forbidden := map[string][]string{
		"generator": {"github.com/getsops/sops/v3", "github.com/spf13/cobra", "k8s.io/client-go", "sigs.k8s.io/kustomize/api", module + "internal/sopsfile"},
		// What sops costs at start-up sits in these packages.
		"cmd/clusterpair": {"github.com/getsops/sops/v3/config", "github.com/getsops/sops/v3/publish", "github.com/getsops/sops/v3/decrypt", "k8s.io/client-go/kubernetes", "k8s.io/client-go/discovery"},
	}

	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps", "../../...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var p struct {
			ImportPath    string
			Imports, Deps []string
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
		if !known {
			t.Errorf("package %s stands in no plan of the house", name)
		}
		for _, i := range p.Imports {
			if below, ours := strings.CutPrefix(i, module); ours && !slices.Contains(may, below) {
				t.Errorf("%s imports %s: arrows point downwards only", name, below)
			}
			for library, importer := range soleImporter {
				if (i == library || strings.HasPrefix(i, library+"/")) && name != importer {
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
	if seen != len(allowed) {
		t.Errorf("%d packages found, %d planned", seen, len(allowed))
	}
}
