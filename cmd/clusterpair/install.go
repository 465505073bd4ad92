package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/install"
	"clusterpair.dev/internal/worktree"
)

func newInstallCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "install DIR",
		Short: "Copy this binary into a directory",
		Long: `install copies the running binary to DIR/clusterpair, readable and executable by
everybody. So an init container, whose image holds nothing else, can hand it to
another container through a volume. A binary that is there, even one that runs, is
replaced at once and as a whole. clusterpair-helper goes with it, if it stands beside it.

Man pages that stand beside the binary, as make man and the image put them, are
copied to DIR/man/man1. man finds them there if DIR is in the PATH.`,
		Example: `  clusterpair install /custom-tools
  clusterpair install ~/.local/bin`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			recovered, err := install.Copy(cmd.Context(), args[0])
			worktree.TellRecovered(cmd.ErrOrStderr(), recovered)
			return err
		},
	}
}
