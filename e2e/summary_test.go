package e2e

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"text/tabwriter"
)

// components are the programs of others that clusterpair is run against. The
// module of a component is the one whose version says which it is, and used finds
// in a script that it takes part; without used, it does in each.
var components = []struct {
	program, module, role string
	used                  *regexp.Regexp
}{
	{"kube-apiserver", "k8s.io/kubernetes", "itself", nil},
	{"kube-controller-manager", "k8s.io/kubernetes", "itself", nil},
	{"etcd", "go.etcd.io/etcd/server/v3", "itself", nil},
	{"kubectl", "k8s.io/kubernetes", "itself", regexp.MustCompile(`\bkubectl\b`)},
	{"sops", "github.com/getsops/sops/v3", "itself", regexp.MustCompile(`(?m)^!? ?exec .*\bsops (-|decrypt|encrypt|updatekeys|rotate|set)|^transformers `)},
	{"kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "itself", regexp.MustCompile(`\bkustomize build\b`)},
	{"kustomize-controller", "github.com/fluxcd/kustomize-controller", "Flux", regexp.MustCompile(`(?m)^flux `)},
	{"argocd", "github.com/argoproj/argo-cd/v3", "repo-server, cmp-server, application-controller", regexp.MustCompile(`(?m)^argocd `)},
	{"stork-24.3", "k8s.io/client-go", "a double of Stork on its client-go", regexp.MustCompile(`\bstork-24\.3\b`)},
}

var (
	ranMutex sync.Mutex
	ran      []string // the texts of the scripts that were run
)

// runs notes that a script is run.
func runs(name string) error {
	text, err := os.ReadFile(filepath.Join("script", name+".txtar"))
	ranMutex.Lock()
	defer ranMutex.Unlock()
	ran = append(ran, string(text))
	return err
}

// summarize says what the scripts were run against, by the versions that the
// programs themselves were built from.
func summarize(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tVERSION\tSCRIPTS\tAS")
	for _, c := range components {
		scripts := 0
		for _, text := range ran {
			if c.used == nil || c.used.MatchString(text) {
				scripts++
			}
		}
		info, err := buildinfo.ReadFile(filepath.Join(tools, c.program))
		if err != nil {
			return err
		}
		version := "unknown"
		for _, module := range append(info.Deps, &info.Main) {
			if module.Path == c.module {
				version = module.Version
			}
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", c.program, version, scripts, c.role)
	}
	return table.Flush()
}
