package examples

import (
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"clusterpair.dev/internal/report"
)

// Next is what to type in the directory of the layout once it is laid out: dir is that
// directory, from the root of its repository, keys the one with the keys, as a shell
// takes it. git says that there is a Git work tree, hooks that those of pre-commit were
// laid out. The contexts of kubectl are taken to have the names of the clusters.
func (l *Layout) Next(dir, keys string, git, hooks bool) string {
	if l.Example == Fleet {
		v := l.view(dir)
		v.Keys = keys
		if hooks {
			v.Hooks = " " + HooksFile
		}
		text, _ := fill("next.txt", v) // a test fills it in
		if !git {
			text = "  git init\n" + text
		}
		return text
	}
	steps := words{"east": l.source.name, "west": l.destination.name, "REPOSITORY/clusters": path.Join(dir, "clusters"), "KEYS": keys}
	withHooks, install, begin := "", "", ""
	if hooks {
		withHooks, install = " "+HooksFile, "  # hooks for each commit, if you have pre-commit: pre-commit install\n"
	}
	if !git {
		begin = "  git init\n"
	}
	return begin + strings.NewReplacer(" HOOKS", withHooks, "  INSTALL\n", install).Replace(steps.in(nextSteps[l.Example]))
}

// WriteNext says what to type in a directory, that of [Layout.Next] by its path from the
// root of the repository. The keys are taken to be in the working directory.
func (l *Layout) WriteNext(w io.Writer, dir, inRepository string, git, hooks bool) {
	keys := "."
	if abs, err := filepath.Abs(dir); err == nil {
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(abs, wd); err == nil {
				keys = report.Typed(rel)
			}
		}
	}
	report.Say(w, "Next, in %s:\n", dir)
	_, _ = io.WriteString(w, report.Lines(l.Next(inRepository, keys, git, hooks))) // as Say, which knows no lines
}

// KeepHooks leaves the hooks out of the files of a layout for a directory whose path from
// the root of the repository is inRepository, where they would go unread, or replace those
// that are there.
func KeepHooks(files map[string]string, dir, inRepository string) {
	file := filepath.Join(dir, HooksFile)
	_, missing := os.Lstat(file)
	there, err := os.ReadFile(file)
	if inRepository != "." || missing == nil && (err != nil || string(there) != files[HooksFile]) {
		delete(files, HooksFile)
	}
}

// HooksFile is the file of a layout that pre-commit reads. It reads that at the top of a
// work tree alone.
const HooksFile = ".pre-commit-config.yaml"

// nextSteps are those of each example, with its names.
var nextSteps = map[string]string{
	Flux: `  # the credentials, made on the destinations; or take them out of a management cluster:
  # clusterpair import -f dr/east --from-context MANAGEMENT -n NAMESPACE SECRET
  mkdir -p dr/east/secrets dr/west/secrets
  clusterpair credential create --context west -o dr/east/secrets/west-kubeconfig.yaml
  clusterpair credential create --context east -o dr/west/secrets/east-kubeconfig.yaml
  # or, of a kubeconfig file that you have:
  # kubectl create secret generic west-kubeconfig --from-file value=FILE --dry-run=client -o yaml | clusterpair encrypt - -o dr/east/secrets/west-kubeconfig.yaml
  # the pairs
  export SOPS_AGE_KEY_FILE=KEYS/ci.agekey
  clusterpair generate -f dr/east
  clusterpair generate -f dr/west
  clusterpair validate --strict .
  # policies by which the API servers refuse what stops Stork, for Kubernetes 1.30 and later:
  # clusterpair schema -o admission > clusters/east/guard.yaml
  # clusterpair schema -o admission > clusters/west/guard.yaml
  git add .sops.yaml HOOKS clusters dr
  INSTALL
  # on each cluster its key; Flux is to sync REPOSITORY/clusters/east and REPOSITORY/clusters/west
  kubectl --context east create secret generic sops-age -n flux-system --from-file age.agekey=KEYS/east.agekey
  kubectl --context west create secret generic sops-age -n flux-system --from-file age.agekey=KEYS/west.agekey
`,
	ArgoCD: `  # the credential, made on the destination; or take it out of a management cluster:
  # clusterpair import --from-context MANAGEMENT -n NAMESPACE SECRET
  mkdir -p secrets
  clusterpair credential create --context west -o secrets/west-kubeconfig.yaml
  # or, of a kubeconfig file that you have:
  # kubectl create secret generic west-kubeconfig --from-file value=FILE --dry-run=client -o yaml | clusterpair encrypt - -o secrets/west-kubeconfig.yaml
  # the pair
  export SOPS_AGE_KEY_FILE=KEYS/ci.agekey
  clusterpair generate
  clusterpair validate --strict .
  git add .sops.yaml HOOKS argocd-cm.yaml clusterpair.yaml applications apps health plugin secrets
  INSTALL
  # the key; health and plugin are components for the kustomization with which you install Argo CD
  kubectl --context east create secret generic clusterpair-keys -n argocd --from-file age.agekey=KEYS/east.agekey
  kubectl --context east apply -f applications
  # policies by which the API server refuses what stops Stork, for Kubernetes 1.30 and later:
  # clusterpair schema -o admission | kubectl --context east apply --server-side -f -
`,
}
