package e2e

import (
	"debug/buildinfo"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// components are the programs of others that clusterpair is run against. The
// module of a component is the one whose version says which it is, with are those
// that read and decrypt what clusterpair has written, and used finds in a script
// that the component takes part; without used, it does in each.
var components = []struct {
	program, module, role string
	with                  []string
	used                  *regexp.Regexp
}{
	{"kube-apiserver", "k8s.io/kubernetes", "itself", nil, nil},
	{"kube-controller-manager", "k8s.io/kubernetes", "itself", nil, nil},
	{"etcd", "go.etcd.io/etcd/server/v3", "itself", nil, nil},
	{"kubectl", "k8s.io/kubernetes", "itself", []string{kustomizeModule}, regexp.MustCompile(`\bkubectl\b`)},
	{"sops", sopsModule, "itself", []string{ageModule}, regexp.MustCompile(`(?m)^!? ?exec .*\bsops (-|decrypt|encrypt|updatekeys|rotate|set)|^transformers `)},
	{"kustomize", "sigs.k8s.io/kustomize/kustomize/v5", "itself", []string{kustomizeModule}, regexp.MustCompile(`\bkustomize build\b`)},
	{"kustomize-controller", "github.com/fluxcd/kustomize-controller", "Flux", []string{sopsModule, ageModule, kustomizeModule}, regexp.MustCompile(`(?m)^flux `)},
	{"argocd", "github.com/argoproj/argo-cd/v3", "repo-server, cmp-server, application-controller, applicationset-controller", []string{kustomizeModule}, regexp.MustCompile(`(?m)^argocd `)},
	{"stork-24.3", "k8s.io/client-go", "a double of Stork on its client-go", nil, regexp.MustCompile(`\bstork-24\.3\b`)},
}

const (
	sopsModule      = "github.com/getsops/sops/v3"
	ageModule       = "filippo.io/age"
	kustomizeModule = "sigs.k8s.io/kustomize/api"
)

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
// programs themselves were built from. docs/compatibility.md has to say the same,
// but for how many scripts there were; UPDATE=1 writes it there.
func summarize(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tVERSION\tSCRIPTS\tAS")
	var rows strings.Builder
	rows.WriteString(tableHead)
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
		version, with := "unknown", make([]string, 0, len(c.with))
		for _, module := range append(info.Deps, &info.Main) {
			if module.Path == c.module {
				version = module.Version
			}
			if slices.Contains(c.with, module.Path) {
				with = append(with, "`"+module.Path+"` "+strings.TrimPrefix(module.Version, "v"))
			}
		}
		if len(with) != len(c.with) {
			return fmt.Errorf("%s was built with %q alone, of %q", c.program, with, c.with)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", c.program, version, scripts, c.role)
		fmt.Fprintf(&rows, "| %s | %s | %s | %s |\n", c.program, strings.TrimPrefix(version, "v"), strings.Join(with, ", "), c.role)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	return tellVersions("../docs/compatibility.md", rows.String())
}

const tableHead = "| program | version | with | runs as |\n|---|---|---|---|\n"

// tellVersions holds the table of a page against rows, or writes it there.
func tellVersions(page, rows string) error {
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), tableHead)
	told, after, ended := strings.Cut(rest, "\n\n")
	switch {
	case !found || !ended:
		return fmt.Errorf("%s has no table that begins with %s", page, tableHead)
	case tableHead+told+"\n" == rows:
		return nil
	case os.Getenv("UPDATE") == "":
		return fmt.Errorf("%s tells of other versions than were run, UPDATE=1 writes:\n%s", page, rows)
	}
	return os.WriteFile(page, []byte(before+rows+"\n"+after), 0o644)
}
