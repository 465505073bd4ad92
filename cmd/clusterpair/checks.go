package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/report"
)

// checkFlags say how checks are printed and judged.
type checkFlags struct {
	format        string
	strict, quiet bool
}

func (o *checkFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.format, "output", "o", "text", "format: "+strings.Join(report.CheckFormats(), ", "))
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors alone, and no summary")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(report.CheckFormats(), cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func (o *checkFlags) check() error {
	if !slices.Contains(report.CheckFormats(), o.format) {
		return usageError(withHint(fmt.Errorf("there is no format %q", o.format), "-o %s", strings.Join(report.CheckFormats(), "|")))
	}
	return nil
}

// writer is for things that are called one, or more.
func (o *checkFlags) writer(cmd *cobra.Command, one, more string) report.CheckWriter {
	return report.NewCheckWriter(cmd.OutOrStdout(), report.CheckOptions{
		Format: o.format, Strict: o.strict, Quiet: o.quiet, One: one, More: more, Version: version(),
	})
}
