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
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/kustomize"
	_ "clusterpair.dev/internal/pace" // before all others
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Exit codes. A finding of severity error, or a file that would change under
// --check, is exitFindings.
const (
	exitFine     = 0
	exitFindings = 1
	exitUsage    = 2
	exitFailed   = 3
	// exitPipe is for main alone: nobody reads standard output any more.
	exitPipe = -1
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // as nohup wants it
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	go func() {
		<-ctx.Done()
		// A later signal ends the process at once, unless it comes with the first one:
		// timeout sends its signal twice, to the process and to its group.
		time.Sleep(500 * time.Millisecond)
		stop()
	}()
	// A reader that has seen enough, such as head, ends the run in good order: what
	// is written gets an error instead of the signal.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	if code == exitPipe {
		signal.Reset(syscall.SIGPIPE)
		os.Stdout.Write([]byte("\n")) // ends the process by the signal, as shells expect it
		code = exitFailed
	}
	os.Exit(code)
}

// run is the command with everything it touches handed in, but for files, the
// environment and the working directory.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	out := &report.Output{W: stdout}
	root := newRootCommand(out, args)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetErr(stderr)
	cmd, err := execute(ctx, root)
	switch failure := out.Failure(); {
	case errors.Is(failure, syscall.EPIPE):
		return exitPipe
	case failure != nil:
		report.SayError(stderr, fmt.Errorf("write standard output: %w", cause(failure)), "what was printed is not complete: see df -h, or send it elsewhere")
		return exitFailed
	case err == nil:
		return exitFine
	}
	exit := exitOf(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		exit = &exitError{code: exitFailed, err: errors.New("interrupted; nothing was written")}
	}
	if exit.err != nil {
		hint := report.HintOf(exit.err)
		var failure *defect.Error
		var refused *cluster.Error
		switch {
		case errors.As(exit.err, &failure):
			hint = failure.Hint()
		case hint != "":
		case errors.As(exit.err, &refused) && refused.Hint != "":
			hint = refused.Hint
		case exit.code == exitUsage:
			hint = cmd.CommandPath() + " --help"
		}
		report.SayError(stderr, exit.err, hint)
	}
	return exit.code
}

// execute runs the command that the arguments name. A panic is an error, in which
// no value of a file stands.
func execute(ctx context.Context, root *cobra.Command) (cmd *cobra.Command, err error) {
	defer func() {
		if failure := (*defect.Error)(nil); errors.As(err, &failure) {
			err = &exitError{code: exitFailed, err: err}
		}
	}()
	defer defect.Recover(&err, "")
	return root.ExecuteContextC(ctx)
}

type command struct {
	name string
	make func() *cobra.Command
}

// commands are those of clusterpair, by name.
var commands = []command{
	{"init", newInitCommand},
	{"generate", newGenerateCommand},
	{"build", newBuildCommand},
	{"validate", newValidateCommand},
	{"import", newImportCommand},
	{"adopt", newAdoptCommand},
	{"status", newStatusCommand},
	{"expiring", newExpiringCommand},
	{"preflight", newPreflightCommand},
	{"watch", newWatchCommand},
	{"doctor", newDoctorCommand},
	{"explain", newExplainCommand},
	{"graph", newGraphCommand},
	{"report", newReportCommand},
	{"rules", newRulesCommand},
	{"encrypt", newEncryptCommand},
	{"decrypt", newDecryptCommand},
	{"textconv", newTextconvCommand},
	{"schema", newSchemaCommand},
	{"credential", newCredentialCommand},
	{"install", newInstallCommand},
	{"version", newVersionCommand},
	{"exit-codes", newExitCodesTopic},
}

// newRootCommand is clusterpair with the commands that a run with args needs, all for nil.
// They print to out. To make all takes a tenth of the start.
func newRootCommand(out io.Writer, args []string) *cobra.Command {
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
				return newRootCommand(out, nil).Help()
			}
			return runFunction(cmd)
		},
	}
	named := len(args) > 0 && slices.ContainsFunc(commands, func(c command) bool { return c.name == args[0] })
	for _, c := range commands {
		if args == nil || len(args) > 0 && (!named || c.name == args[0]) {
			cmd.AddCommand(c.make())
		}
	}
	cmd.SetOut(out) // before forgive makes the completion command, which keeps what it finds
	cmd.Version = version()
	cmd.SetVersionTemplate("clusterpair {{.Version}}\n")
	completeContexts(cmd)
	forgive(cmd)
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

// exitOf is how an error ends the command. A command that runs gives its errors
// a code itself ([coded]); what is left are cobra's own: unknown commands and arguments.
func exitOf(err error) *exitError {
	var exit *exitError
	if errors.As(err, &exit) {
		return exit
	}
	return &exitError{code: exitUsage, err: err}
}

// coded runs a command. An error of it without a code is wrong use, a finding, which is
// printed as one, or says what could not be done: a file, a key, the network.
func coded(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := unlikely(cmd)
		if err == nil {
			err = run(cmd, args)
		}
		var exit *exitError
		var usage *report.UsageError
		var found *report.FoundError
		var finding report.Finding
		var ran *kustomize.FunctionError
		switch {
		case errors.As(err, &exit):
		case errors.As(err, &usage):
			return &exitError{code: exitUsage, err: err}
		case errors.As(err, &found):
			return &exitError{code: exitFindings, err: err}
		case errors.As(err, &finding):
			err = printFindings(cmd, []report.Finding{finding})
		case errors.As(err, &ran):
			return &exitError{code: ran.Code} // it has said why
		}
		if err == nil || errors.As(err, &exit) {
			return err
		}
		return &exitError{code: exitFailed, err: err}
	}
}

// say is [report.Say].
func say(w io.Writer, format string, args ...any) { report.Say(w, format, args...) }

func usageError(err error) error { return report.Usage(err) }

func withHint(err error, format string, args ...any) error {
	return report.WithHint(err, format, args...)
}

// cause strips what package os puts before an error: the caller names the path in
// the user's words.
func cause(err error) error { return worktree.Cause(err) }

// printFindings writes findings to standard error, each once, and is the error
// that they amount to, if any is one.
func printFindings(cmd *cobra.Command, findings []report.Finding) error {
	report.Sort(findings)
	findings = slices.Compact(findings) // pairs may share a Secret
	if err := report.WriteText(cmd.ErrOrStderr(), findings); err != nil {
		return err
	}
	if report.HasErrors(findings) {
		return &exitError{code: exitFindings}
	}
	return nil
}
