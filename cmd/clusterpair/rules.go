package main

import (
	"io"

	"github.com/spf13/cobra"

	"clusterpair.dev/docs"
	"clusterpair.dev/internal/report"
)

func newRulesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rules [RULE]",
		Short: "List the rules, or explain one",
		Long: `rules lists what validate, generate and the kustomize functions look for. With
RULE it says what a breach does to Stork or to the credential, shows one, and
tells what to do about it.`,
		Example: `  clusterpair rules
  clusterpair rules mode-on-single-fabric`,
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return completeRules(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return report.ListRules(cmd.OutOrStdout())
			}
			if err := report.CheckRule(args[0]); err != nil {
				return err
			}
			_, err := io.WriteString(cmd.OutOrStdout(), docs.Explain(args[0]))
			return err
		},
	}
}

// completeRules are the ids of the rules with what they say.
func completeRules() []cobra.Completion {
	var completions []cobra.Completion
	for _, r := range report.Rules() {
		completions = append(completions, cobra.CompletionWithDesc(r.ID, r.Title))
	}
	return completions
}
