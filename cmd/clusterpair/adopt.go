package main

import (
	"io"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/importer"
	"clusterpair.dev/internal/worktree"
)

func newAdoptCommand() *cobra.Command {
	var options importer.Options
	var storkVersion string
	cmd := &cobra.Command{
		Use:   "adopt FILE",
		Short: "Take ClusterPairs that storkctl has made into Git",
		Long: `adopt reads ClusterPairs as kubectl get -o yaml prints them, in clear or encrypted
with SOPS, and lays out what clusterpair generate renders them from: for each an
encrypted Secret with its kubeconfig and its storage token, and a config,
clusterpair.yaml, with all that it says besides. What the API server, Stork and the
tools that apply objects have written into it is left out. All files are written, or
none, and none is overwritten. FILE may be -.`,
		Example: `  kubectl get clusterpairs -A -o yaml | clusterpair adopt - -f dr/east --stork-version 24.3
  clusterpair adopt pair.yaml -f dr/east`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return adopt(cmd, options, args[0], storkVersion) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&options.Config, "filename", "f", ".", "directory for the config")
	flags.StringVarP(&options.Output, "output", "o", "secrets", "directory for the Secrets, relative to that of the config")
	flags.StringSliceVar(&options.Age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	flags.StringVar(&storkVersion, "stork-version", "", "Stork release of the source cluster, such as 24.3")
	return cmd
}

func adopt(cmd *cobra.Command, options importer.Options, input, storkVersion string) error {
	data, err := readInput(cmd, input)
	if err != nil {
		return err
	}
	r, err := importer.Begin(options)
	if err != nil {
		return err
	}
	defer r.Close()
	unlock, err := worktree.Enter(cmd.Context(), cmd.ErrOrStderr(), r.Recover, r.Dir())
	defer unlock()
	if err != nil {
		return err
	}
	if err := r.ReadHeld(); err != nil {
		return err
	}
	if err := r.Adopt(cmd.Context(), data, input); err != nil {
		return err
	}
	if err := printFindings(cmd, r.Findings()); err != nil {
		return err
	}
	if err := r.WriteConfig(storkVersion); err != nil {
		return err
	}
	if err := r.Commit(cmd.Context()); err != nil {
		return err
	}
	sum := worktree.Summarize(r.Files())
	if _, err := io.WriteString(cmd.OutOrStdout(), sum.List); err != nil {
		return err
	}
	say(cmd.ErrOrStderr(), "files: %d created, %d changed, %d unchanged\n  hint: %s\n", sum.Created, sum.Changed, sum.Unchanged, importer.Next(options.Config, input))
	return nil
}
