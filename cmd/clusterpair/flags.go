package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
)

// formatFlag is -o of a command that prints in one of several formats.
type formatFlag struct {
	format string
	known  []string
}

func (o *formatFlag) addFormat(cmd *cobra.Command, usual string, known []string) {
	o.known = known
	cmd.Flags().StringVarP(&o.format, "output", "o", usual, "format: "+strings.Join(known, ", "))
	complete(cmd, "output", known)
}

// checkFormat is an error if there is no such format.
func (o *formatFlag) checkFormat() error {
	if !slices.Contains(o.known, o.format) {
		return usageError(withHint(fmt.Errorf("there is no format %q", o.format), "-o %s", strings.Join(o.known, "|")))
	}
	return nil
}

// checkFlags say how checks are printed and judged.
type checkFlags struct {
	formatFlag
	strict, quiet bool
}

func (o *checkFlags) add(cmd *cobra.Command) {
	o.addFormat(cmd, "text", report.CheckFormats())
	flags := cmd.Flags()
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors alone, and no summary")
}

// writer is for things that are called one, or more.
func (o *checkFlags) writer(cmd *cobra.Command, one, more string) report.CheckWriter {
	return report.NewCheckWriter(cmd.OutOrStdout(), report.CheckOptions{
		Format: o.format, Strict: o.strict, Quiet: o.quiet, One: one, More: more, Version: version(),
	})
}

// complete lets a shell complete the values of a flag, which the command has.
func complete(cmd *cobra.Command, flag string, values []cobra.Completion) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// days is a flag for a time such as 30d.
type days struct {
	time.Duration
	typed string
}

func (d *days) Set(s string) (err error) {
	d.Duration, err = generator.ParseDuration(s)
	d.typed = s
	return err
}

func (d *days) String() string { return d.typed }
func (*days) Type() string     { return "days" }

// addWithin adds --within, which is 30d unless said.
func (d *days) addWithin(cmd *cobra.Command, usage string) {
	_ = d.Set("30d")
	cmd.Flags().Var(d, "within", usage)
}

// firstChanged is the first of the flags that the user has set.
func firstChanged(cmd *cobra.Command, names ...string) string {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}
