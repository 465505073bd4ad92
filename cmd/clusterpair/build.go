package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

func newBuildCommand() *cobra.Command {
	var restrictor loadRestrictor
	var decrypted bool
	cmd := &cobra.Command{
		Use:   "build [DIR]",
		Short: "Run kustomize build with clusterpair as its only function",
		Long: `build is kustomize build with functions on: it runs the function configs of
clusterpair with this very binary, whatever path they name, and no other program,
container, Helm or Git: bases come from the file system or by HTTP. It fails if a
config of clusterpair was not run, where kustomize build without --enable-exec
leaves it out and says nothing.

With --decrypt it does what Argo CD needs of a plugin: the ClusterPairs and
Secrets that SOPS has encrypted come out in clear. Each MAC is verified before
kustomize gets the file, and kustomize never sees the secret values. Nothing is
rendered. A directory without a kustomization gives the manifests below it. It is
an error if there is no manifest at all, or if a ClusterPair gets lost on the way.
Keys are found where SOPS finds them.`,
		Example: `  clusterpair build overlays/east
  clusterpair build --decrypt rendered
  clusterpair build . | kubectl diff --server-side -f -`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			anyFile, err := restrictor.anyFile()
			if err != nil {
				return err
			}
			return runBuild(cmd, dir, anyFile, decrypted)
		},
	}
	cmd.Flags().BoolVar(&decrypted, "decrypt", false, "decrypt what SOPS has encrypted; DIR needs no kustomization")
	restrictor.addFlag(cmd)
	return cmd
}

// runBuild prints the manifests of a directory.
func runBuild(cmd *cobra.Command, dir string, anyFile, decrypted bool) error {
	if info, err := os.Stat(dir); err != nil {
		return withHint(fmt.Errorf("%s: %w", dir, cause(err)), "name the directory of a kustomization: %s DIR", cmd.CommandPath())
	} else if !info.IsDir() {
		return usageError(withHint(fmt.Errorf("%s is no directory", dir), "%s %s", cmd.CommandPath()+map[bool]string{true: " --decrypt"}[decrypted], report.Typed(filepath.Dir(dir))))
	}
	options := kustomize.Options{AnyFile: anyFile}
	if decrypted {
		options.Decrypt = sopsfile.New(nil).Decrypt
		warnPlaintext(cmd, "")
	}
	out, findings, err := kustomize.Build(cmd.Context(), dir, options)
	if err := cmp.Or(printFindings(cmd, findings), err); err != nil {
		return err
	}
	if decrypted && len(out) == 0 {
		return withHint(fmt.Errorf("%s gives no manifest: Argo CD would take everything for deleted", dir), "list the files under resources of the kustomization.yaml")
	}
	_, err = cmd.OutOrStdout().Write(out)
	return err
}

// loadRestrictor is the flag of kustomize build for what a kustomization may load.
type loadRestrictor string

func (l *loadRestrictor) addFlag(cmd *cobra.Command) {
	const name = "load-restrictor"
	cmd.Flags().StringVar((*string)(l), name, "LoadRestrictionsRootOnly", "what a kustomization may load: LoadRestrictionsRootOnly or LoadRestrictionsNone, as in kustomize build")
	complete(cmd, name, []cobra.Completion{"LoadRestrictionsRootOnly", "LoadRestrictionsNone"})
}

// anyFile tells whether a kustomization may load files from anywhere.
func (l loadRestrictor) anyFile() (bool, error) {
	switch l {
	case "LoadRestrictionsRootOnly":
		return false, nil
	case "LoadRestrictionsNone":
		return true, nil
	}
	return false, usageError(fmt.Errorf("--load-restrictor %s: it is LoadRestrictionsRootOnly or LoadRestrictionsNone", string(l)))
}
