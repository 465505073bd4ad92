// Command clusterpair makes Stork ClusterPairs fit for Git: it renders them
// from the kubeconfig Secrets of destination clusters, encrypts them with SOPS
// and runs as a kustomize function.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	_ "clusterpair.dev/internal/pace" // before all others
	"clusterpair.dev/internal/report"
)

// Exit codes. A finding of severity error, or a file that would change under
// --check, is exitFindings.
const (
	exitFine     = 0
	exitFindings = 1
	exitUsage    = 2
	exitFailed   = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second signal ends the process at once
	}()
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the command with everything it touches handed in, but for files, the
// environment and the working directory.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitFine
	}
	var exit *exitError
	if !errors.As(err, &exit) {
		// What is left are cobra's own errors: unknown commands and arguments.
		exit = &exitError{code: exitUsage, err: err}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		exit = &exitError{code: exitFailed, err: errors.New("interrupted; nothing was written")}
	}
	if exit.err != nil {
		fmt.Fprintf(stderr, "clusterpair: %v\n", exit.err)
		var hinted *hintedError
		if errors.As(exit.err, &hinted) {
			fmt.Fprintf(stderr, "  hint: %s\n", hinted.hint)
		} else if exit.code == exitUsage {
			fmt.Fprintf(stderr, "  hint: %s --help\n", cmd.CommandPath())
		}
	}
	return exit.code
}

func newRootCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clusterpair",
		Short: "Render, encrypt and sync Stork ClusterPairs through Git",
		Long: `clusterpair makes Stork ClusterPairs fit for Git. It reads the kubeconfig Secret
of a destination cluster, renders the ClusterPair for the source cluster, checks
it, and encrypts it with SOPS.

Without arguments it is a kustomize function: it reads a ResourceList from
standard input and writes one to standard output.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f, ok := cmd.InOrStdin().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				return cmd.Help()
			}
			return runFunction(cmd)
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError(err) })
	cmd.AddCommand(
		newInitCommand(),
		newGenerateCommand(),
		newBuildCommand(),
		newValidateCommand(),
		newImportCommand(),
		newStatusCommand(),
		newExpiringCommand(),
		newPreflightCommand(),
		newDoctorCommand(),
		newRulesCommand(),
		newEncryptCommand(),
		newDecryptCommand(),
		newTextconvCommand(),
		newSchemaCommand(),
		newCredentialCommand(),
		newInstallCommand(),
		newVersionCommand(),
	)
	return cmd
}

// exitError ends the command with a code; err is printed unless it is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error { return &exitError{code: exitUsage, err: err} }

// failed is for what could not be done: a file, a key, the network.
func failed(err error) error { return &exitError{code: exitFailed, err: err} }

// hintedError carries what to type next.
type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }

func withHint(err error, format string, args ...any) error {
	return &hintedError{err: err, hint: fmt.Sprintf(format, args...)}
}

// joined are several errors, each in a line as if it were alone.
type joined []error

func (e joined) Unwrap() []error { return e }

func (e joined) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\nclusterpair: ")
}

// printFindings writes findings to standard error, each once, and is the error
// that they amount to, if any is one.
func printFindings(cmd *cobra.Command, findings []report.Finding) error {
	report.Sort(findings)
	findings = slices.Compact(findings) // pairs may share a Secret
	if err := report.WriteText(cmd.ErrOrStderr(), findings); err != nil {
		return failed(err)
	}
	if report.HasErrors(findings) {
		return &exitError{code: exitFindings}
	}
	return nil
}
