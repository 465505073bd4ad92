package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/mask"
)

func newTextconvCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "textconv FILE",
		Short: "Print a file for git diff, its secrets masked",
		Long: `textconv prints a file so that git diff shows what changed in an encrypted pair.
Each ciphertext becomes a mark with a fingerprint, as in

  token: <encrypted str, 31 bytes, 5f3a9c12>

and each wrapped data key, too. Names, recipients and all else that can be read
stay as they are. A credential in clear is never printed, and has a fingerprint
only if nobody could guess it: whether a password in clear has changed is not told.
Files of another kind come out unchanged. Tell Git about textconv once in each
clone, and name the files in .gitattributes:

  git config diff.clusterpair.textconv "clusterpair textconv"
  echo "rendered/** diff=clusterpair" >> .gitattributes

FILE may be -.`,
		Example: `  clusterpair textconv rendered/migrationnamespace/remotecluster.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(mask.Text(text))
			return err
		},
	}
}
