package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/worktree"
)

func newDecryptCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "decrypt FILE",
		Short: "Print the plaintext of a SOPS file, its MAC verified",
		Long: `decrypt prints a SOPS file in clear, as sops decrypt does: JSON of a file *.json, the
whole file as it was of one whose name tells of no format. The MAC is always verified. Keys are found where SOPS finds them: SOPS_AGE_KEY_FILE, gpg, the
environment of the cloud key services. FILE may be -.`,
		Example: `  clusterpair decrypt rendered/migrationnamespace/remotecluster.yaml`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "" {
				if err := recoverFile(cmd, output); err != nil {
					return err
				}
			}
			data, err := readInput(cmd, args[0])
			if err != nil {
				return err
			}
			plain, err := seal.Decrypt(cmd.Context(), data, args[0])
			if err != nil {
				return err
			}
			if output == "" {
				warnPlaintext(cmd, "")
				_, err = cmd.OutOrStdout().Write(plain)
				return err
			}
			if err := worktree.WritePlaintext(output, plain); err != nil {
				return err
			}
			warnPlaintext(cmd, output)
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "file to write instead of standard output; it is made readable by its owner alone")
	return cmd
}

// stdin reads standard input when it is asked to.
func stdin(cmd *cobra.Command) func() ([]byte, error) {
	return func() ([]byte, error) { return readInput(cmd, "-") }
}

// workTree are the files that arguments of a command, or of its -f, name.
func workTree(cmd *cobra.Command) (*gitfiles.WorkTree, error) {
	repo, err := gitfiles.Open()
	if err != nil {
		return nil, err
	}
	source := &gitfiles.WorkTree{Repository: repo, All: cmd.CommandPath() + " .", Stdin: stdin(cmd)}
	if cmd.Flags().Lookup("filename") != nil {
		source.All = cmd.CommandPath() + " -f ."
	}
	return source, nil
}

// readInput reads a file, or standard input for -.
func readInput(cmd *cobra.Command, path string) ([]byte, error) {
	return worktree.ReadInput(cmd.Context(), path, cmd.InOrStdin())
}

// warnPlaintext warns when clear text goes into a Git work tree: into the file
// path, or, if that is empty, into what standard output is redirected to.
func warnPlaintext(cmd *cobra.Command, path string) {
	if path == "" {
		f := stdoutFile(cmd)
		if f == nil {
			return
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return
		}
		// Only Linux tells where standard output goes.
		if path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil {
			return
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return
	}
	if top, ok := worktree.Top(filepath.Dir(abs)); ok {
		_ = report.WriteText(cmd.ErrOrStderr(), []report.Finding{{Rule: "plaintext-credential", Severity: report.Warning, Position: report.Position{File: path},
			Message: fmt.Sprintf("a credential is written in clear into the Git work tree %s", top),
			Hint:    "never commit the file"}})
	}
}
