package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"clusterpair.dev/docs"
	"clusterpair.dev/internal/report"
)

// exitCodes is the line under every help of a command.
const exitCodes = "Exit codes: 0 done, nothing found; 1 errors found, or files would change; 2 wrong use; 3 it could not be done."

// newExitCodesTopic is a page of help, and no command: docs/exit-codes.md.
func newExitCodesTopic() *cobra.Command {
	_, text, _ := strings.Cut(docs.ExitCodes(), "\n\n") // without its heading
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: strings.TrimSpace(docs.Plain(text))}
}

// meant maps what users of other tools type to the command here that does it.
var meant = map[string]string{
	"lint": "validate", "check": "validate", "test": "validate", "verify": "validate", "rule": "rules", "diff": "generate --diff --dry-run",
	"get": "status", "list": "status", "describe": "status", "create": "generate", "render": "generate", "apply": "decrypt FILE | kubectl apply --server-side -f -", "seal": "encrypt", "unseal": "decrypt",
	"edit": "decrypt", "rotate": "credential rotate", "revoke": "credential revoke", "expired": "expiring", "expires": "expiring", "draw": "graph", "picture": "graph", "audit": "report",
}

// plainFlags are flags whose values are neither files nor a choice among a few.
var plainFlags = []string{
	"age", "allow", "lifetime", "max-age", "namespace", "project-mappings", "server", "storage-options", "stork-version", "timeout", "tls-server-name", "within",
}

// forgive adds to the commands below root what helps those who mistype: each says
// what it expects and what was meant.
func forgive(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(newHelpCommand(root))
	root.InitDefaultHelpCmd()
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		if !cmd.IsAdditionalHelpTopicCommand() {
			say(cmd.OutOrStdout(), "\n%s\n", exitCodes)
		}
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(flagError(cmd, err)) })
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		if !cmd.Runnable() && cmd.HasSubCommands() { // cobra prints the help, and calls it done
			cmd.Args = cobra.NoArgs
			cmd.RunE = func(cmd *cobra.Command, _ []string) error {
				var names []string
				for _, c := range cmd.Commands() {
					names = append(names, c.Name())
				}
				return usageError(fmt.Errorf("%s does nothing alone: %s", cmd.CommandPath(), strings.Join(names, ", ")))
			}
		}
		if accepts := cmd.Args; accepts != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error { return argumentError(cmd, args, accepts(cmd, args)) }
		}
		if output, run := cmd.Flags().Lookup("output"), cmd.RunE; output != nil && strings.Contains(output.Usage, "file to write") && run != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if format := output.Value.String(); (len(args) > 0 || cmd.Name() != "generate") && slices.Contains([]string{"yaml", "json", "wide", "name"}, format) {
					return usageError(withHint(fmt.Errorf("-o %s: this command's -o takes the name of a file, and no format", format), "leave out -o: the result is printed as YAML; or name a file, as in -o pair.yaml"))
				}
				return run(cmd, args)
			}
		}
		for _, name := range plainFlags {
			if cmd.Flags().Lookup(name) != nil {
				_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions) // fails where the command has its own
			}
		}
		if cmd.RunE != nil {
			cmd.RunE = coded(cmd.RunE)
		}
		for _, below := range cmd.Commands() {
			visit(below)
		}
	}
	visit(root)
}

// newHelpCommand is the help command. To ask it about something that is no command is
// wrong use.
func newHelpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [command]",
		Short: "Help about any command",
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 && cmd.HasSubCommands() {
				cmd, rest = root, args
				for below, _, err := root.Find(rest[:1]); err == nil && below != root && len(rest) > 1; below, _, err = cmd.Find(rest[:1]) {
					if cmd, rest = below, rest[1:]; !cmd.HasSubCommands() {
						break
					}
				}
				return usageError(unknownCommand(cmd, rest[0]))
			}
			return cmd.Help()
		},
	}
}

// unknownCommand is the error for a name that is none of a command's.
func unknownCommand(parent *cobra.Command, name string) error {
	err := fmt.Errorf("unknown command %q for %q", name, parent.CommandPath())
	near := ""
	if parent == parent.Root() {
		near = meant[strings.ToLower(name)]
	}
	if near == "" {
		var names []string
		for _, c := range parent.Commands() {
			if c.IsAvailableCommand() {
				names = append(names, c.Name())
			}
		}
		near = report.Nearest(name, names)
	}
	if near == "" {
		return withHint(err, "see which there are: %s --help", parent.CommandPath())
	}
	return withHint(err, "did you mean %s %s?", parent.CommandPath(), near)
}

// argumentError says how a command is used whose arguments are refused with err.
func argumentError(cmd *cobra.Command, args []string, err error) error {
	switch {
	case err == nil:
		return nil
	case len(args) > 0 && cmd.HasSubCommands():
		return unknownCommand(cmd, args[0])
	case cmd.Name() == "generate" && len(args) > 1 && strings.EqualFold(args[0], "clusterpair"):
		return withHint(err, "leave out the word %s: %s NAME", args[0], cmd.CommandPath())
	case !strings.Contains(err.Error(), "arg(s)"):
		return err
	case len(args) == 0 || strings.Contains(err.Error(), "only received"):
		err = fmt.Errorf("%s misses an argument", cmd.CommandPath())
	default:
		err = fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[len(args)-1])
	}
	return withHint(err, "usage: %s; see %s --help", cmd.UseLine(), cmd.CommandPath())
}

// takes says of a type of flags which values it takes.
var takes = map[string]string{"int": "a number, as in 3", "duration": "a time, as in 90s, 5m or 1h", "days": "days or hours, as in 30d or 720h", "bool": "true or false, or no value"}

// flagError adds the flag that was meant, or the values that it takes.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if errors.As(err, &invalid) && takes[invalid.GetFlag().Value.Type()] != "" {
		return wrongValue(invalid.GetFlag(), invalid.GetValue())
	}
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) || len(unknown.GetSpecifiedName()) < 2 {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	if near := report.Nearest(unknown.GetSpecifiedName(), names); near != "" {
		return withHint(err, "did you mean --%s? see %s --help", near, cmd.CommandPath())
	}
	return err
}

// wrongValue is the error for a value that a flag of its type does not take.
func wrongValue(f *pflag.Flag, value string) error {
	return usageError(fmt.Errorf("--%s takes %s, not %q", f.Name, takes[f.Value.Type()], value))
}

// unlikely refuses a negative number or time, and an empty value, as a script gives whose
// variable is not set, of a flag without which less is checked, or a credential goes to
// standard output.
func unlikely(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch value := f.Value.String(); {
		case takes[f.Value.Type()] != "" && strings.HasPrefix(value, "-"):
			err = wrongValue(f, value)
		case value == "" && slices.Contains([]string{"check", "kustomize", "output", "policy"}, f.Name) && (f.Name != "output" || f.DefValue == ""):
			err = usageError(withHint(fmt.Errorf("--%s is empty", f.Name), "give it a value, or leave it out"))
		}
	})
	return err
}
