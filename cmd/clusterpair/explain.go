package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/judge"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
)

func newExplainCommand() *cobra.Command {
	var o formatFlag
	cmd := &cobra.Command{
		Use:   "explain FILE...",
		Short: "Tell which objects of Flux, Argo CD and others apply a pair, and how",
		Long: `explain prints for each encrypted ClusterPair of FILE which objects of Flux,
Argo CD, Helm and others apply it: through which kustomizations, whether it is
decrypted, left alone, waited for and pruned, and of which objects nobody can tell
from the files what they apply. It reads the whole repository of FILE, and needs no
key and no cluster. validate and doctor judge by the same.

FILE may be a directory: then all pairs below it are meant.`,
		Example: `  clusterpair explain rendered/migrationnamespace/remotecluster.yaml
  clusterpair explain . -o json`,
		Args: cobra.MinimumNArgs(1),
	}
	o.addFormat(cmd, "text", engine.Formats())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := o.checkFormat(); err != nil {
			return err
		}
		_, missing := os.Lstat(args[0])
		if _, isRule := report.RuleOf(args[0]); isRule && missing != nil {
			return usageError(withHint(fmt.Errorf("%s is a rule, not a file", args[0]), "clusterpair rules %s", args[0]))
		}
		repo, err := gitfiles.Open(args...)
		if err != nil {
			return err
		}
		source := &gitfiles.WorkTree{Repository: repo, All: "clusterpair explain .", Stdin: stdin(cmd)}
		all, unread, err := judge.Explain(cmd.Context(), source, args, seal.Hint)
		if err := errors.Join(err, engine.Write(cmd.OutOrStdout(), o.format, all)); err != nil {
			return err
		}
		if len(unread) > 0 {
			return report.Errors(unread)
		}
		return nil
	}
	return cmd
}
