package main

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/client-go/tools/clientcmd"
)

// completeContexts lets a shell complete the contexts of the kubeconfig that a command
// reads, for it and the commands below.
func completeContexts(cmd *cobra.Command) {
	for _, name := range []string{"context", "from-context"} {
		if cmd.Flags().Lookup(name) != nil {
			_ = cmd.RegisterFlagCompletionFunc(name, contexts) // the flag exists
		}
	}
	for _, c := range cmd.Commands() {
		completeContexts(c)
	}
}

// contexts are those of --kubeconfig, or of what kubectl reads. A kubeconfig that
// cannot be read has none.
func contexts(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.WarnIfAllMissing = false
	if flag := cmd.Flag("kubeconfig"); flag != nil {
		rules.ExplicitPath = flag.Value.String()
	}
	config, err := rules.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return slices.Sorted(maps.Keys(config.Contexts)), cobra.ShellCompDirectiveNoFileComp
}
