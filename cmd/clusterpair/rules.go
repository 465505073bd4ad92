package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/schema"
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
				listRules(cmd.OutOrStdout())
				return nil
			}
			if err := knownRule(args[0]); err != nil {
				return err
			}
			_, err := io.WriteString(cmd.OutOrStdout(), explanation(args[0]))
			if err != nil {
				return failed(err)
			}
			return nil
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

// knownRule is an error that names the nearest rule if there is none with an id.
func knownRule(id string) error {
	if _, known := report.RuleOf(id); known {
		return nil
	}
	hint := "clusterpair rules lists them"
	if near := report.Nearest(id, report.RuleIDs()); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return usageError(withHint(fmt.Errorf("there is no rule %q", id), "%s", hint))
}

func listRules(w io.Writer) {
	group := ""
	for _, r := range report.Rules() {
		if r.Group != group {
			if group != "" {
				fmt.Fprintln(w)
			}
			group = r.Group
			fmt.Fprintln(w, group)
		}
		fmt.Fprintf(w, "  %-26s  %-7s  %-22s  %s\n", r.ID, r.Severity, strings.TrimPrefix(r.Needs.String(), "the "), r.Title)
	}
}

// explanation is a rule's section of the schema's README.md, as a terminal shows
// it: examples are indented, and code spans and headings bare.
func explanation(rule string) string {
	_, section, _ := strings.Cut(schema.Readme(), "\n### "+rule+"\n")
	if i := strings.Index(section, "\n##"); i >= 0 {
		section = section[:i]
	}
	var b strings.Builder
	b.WriteString(rule + "\n")
	fenced := false
	for line := range strings.Lines(section) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			continue
		case fenced && line != "":
			line = "  " + line
		case !fenced:
			line = report.Plain(line)
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
