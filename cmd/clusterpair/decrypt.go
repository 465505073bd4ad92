package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/worktree"
)

func newDecryptCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "decrypt FILE",
		Short: "Print the plaintext of a SOPS file, its MAC verified",
		Long: `decrypt prints a SOPS file in clear, as sops decrypt does. A file *.json comes out
as JSON. A file whose name tells no format comes out as it was before. The MAC is
always verified. Keys are found where SOPS finds them: SOPS_AGE_KEY_FILE, gpg, the
environment of the cloud key services. FILE may be -.`,
		Example: `  clusterpair decrypt rendered/migrationnamespace/remotecluster.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := worktree.RecoverFile(cmd.Context(), cmd.ErrOrStderr(), output); err != nil {
				return err
			}
			data, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			plain, err := seal.Decrypt(cmd.Context(), data, args[0])
			if err != nil {
				return err
			}
			return writePlaintext(cmd, output, plain)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write instead of standard output; it is made readable by its owner alone")
	return cmd
}
