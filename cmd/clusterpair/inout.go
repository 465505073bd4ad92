package main

import (
	"bufio"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// stdin reads standard input when it is asked to.
func stdin(cmd *cobra.Command) func() ([]byte, error) {
	return func() ([]byte, error) { return readInput(cmd, "-") }
}

// workTree are the files that arguments of a command, or of its -f, name. Its root is that
// of the work tree around them, if they are given.
func workTree(cmd *cobra.Command, args ...string) (*gitfiles.WorkTree, error) {
	repo, err := gitfiles.Open(args...)
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

// writeResult writes a file, or, without a path, to standard output.
func writeResult(cmd *cobra.Command, path string, data []byte) error {
	if path != "" {
		return worktree.WriteFile(path, data, 0o644)
	}
	_, err := cmd.OutOrStdout().Write(data)
	return err
}

// writePlaintext is writeResult for clear text: the file is for its owner alone, and one
// in a Git work tree is worth a warning.
func writePlaintext(cmd *cobra.Command, path string, data []byte) (err error) {
	if path != "" {
		err = worktree.WritePlaintext(path, data)
	} else {
		_, err = cmd.OutOrStdout().Write(data)
	}
	if err == nil {
		warnPlaintext(cmd, path)
	}
	return err
}

// warnPlaintext warns when clear text goes into a Git work tree, as
// [worktree.PlaintextInside] says.
func warnPlaintext(cmd *cobra.Command, path string) {
	_ = printFindings(cmd, worktree.PlaintextInside(path, report.FileOf(cmd.OutOrStdout()))) // warnings alone
}

// talk is how a use case talks to the user. yes does not ask.
func talk(cmd *cobra.Command, yes bool) report.Talk {
	return report.Talk{Out: cmd.OutOrStdout(), Err: cmd.ErrOrStderr(),
		Print: func(findings []report.Finding) error { return printFindings(cmd, findings) },
		Confirm: func(question string) error {
			if yes {
				return nil
			}
			return confirm(cmd, question)
		}}
}

// confirm asks on the terminal, and is an error unless the answer is yes.
func confirm(cmd *cobra.Command, question string) error {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usageError(withHint(errors.New("there is no terminal to ask on"), "--yes does not ask"))
	}
	say(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return errors.New("nothing was changed")
	case <-cmd.Context().Done():
		return cmd.Context().Err()
	}
}
