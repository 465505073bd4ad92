package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/examples"
)

func newInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Lay out a repository for Flux or for Argo CD",
		Long: `init writes the manifests, the configs and the creation rules of a repository, with
your names in them, and says what comes next. It makes no key and no Secret.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newInitFluxCommand(), newInitArgoCDCommand(), newInitFleetCommand())
	return cmd
}

func newInitFluxCommand() *cobra.Command {
	o := &initOptions{Options: examples.Options{Example: examples.Flux}}
	cmd := &cobra.Command{
		Use:   "flux DIR",
		Short: "Two clusters that fail over to each other, each with its Flux",
		Long: `flux lays out a repository for two clusters that fail over to each other: on each
the pair that leads to the other, the Kustomizations with which Flux decrypts and
applies it, and the schedule of the migrations. The applications run on the cluster
that is named first.

RECIPIENT is that of the age key of the cluster's Flux, which reads the pair of this
cluster alone. Who has the key of --ci reads the kubeconfig Secrets, and renders the
pairs; who has that of --recovery reads all.

DIR may hold other files. A file that is there already must be the same, or none is
written. Hooks for pre-commit come along if DIR is the top of its repository and has
none.`,
		Example: `  clusterpair init flux fleet --cluster east=age1... --cluster west=age1... --ci age1... --recovery age1...`,
	}
	o.addFlags(cmd, "NAME=RECIPIENT of a cluster; both are needed")
	return cmd
}

func newInitArgoCDCommand() *cobra.Command {
	o := &initOptions{Options: examples.Options{Example: examples.ArgoCD}}
	cmd := &cobra.Command{
		Use:   "argocd DIR",
		Short: "A cluster that fails over to another, with its Argo CD",
		Long: `argocd lays out a repository for the cluster that is named first: its pair, which
leads to the cluster named second, an Application with the pair and the schedule of
the migrations, and two components for the kustomization with which you install Argo
CD: a plugin that decrypts, and the health of Stork's objects.

RECIPIENT is that of the age key of the plugin. Who has the key of --ci reads the
kubeconfig Secret, and renders the pair; who has that of --recovery reads both.

DIR may hold other files. A file that is there already must be the same, or none is
written. Hooks for pre-commit come along if DIR is the top of its repository and has
none.`,
		Example: `  clusterpair init argocd fleet --cluster east=age1... --cluster west --ci age1... --recovery age1... \
    --repo https://git.example.com/fleet.git`,
	}
	o.addFlags(cmd, "NAME=RECIPIENT of the cluster with Argo CD, then NAME of the other; both are needed")
	cmd.Flags().StringVar(&o.Repo, "repo", "", "URL by which Argo CD reads the repository")
	return cmd
}

func newInitFleetCommand() *cobra.Command {
	o := &initOptions{Options: examples.Options{Example: examples.Fleet}}
	cmd := &cobra.Command{
		Use:   "fleet DIR",
		Short: "Many clusters, each paired with each",
		Long: `fleet lays out a repository for two clusters or more: the ClusterPairFleet, creation
rules by which each cluster reads its own pairs alone, and for the Flux of each what
fetches and applies these. With --argocd one Argo CD does so for all: an
ApplicationSet. Change fleet.yaml, if not each cluster is to be paired with each.

DIR may hold other files. A file that is there already must be the same, or none is
written.`,
		Example: `  clusterpair init fleet dr --cluster east=age1... --cluster west=age1... --cluster north=age1... \
    --ci age1... --recovery age1... --repo ssh://git@git.example.com/fleet.git`,
	}
	o.addFlags(cmd, "NAME=RECIPIENT of a cluster; NAME with --argocd; repeatable")
	cmd.Flags().StringVar(&o.Hub, "argocd", "", "age recipient of one Argo CD that applies the pairs of all clusters")
	cmd.Flags().StringVar(&o.Repo, "repo", "", "URL by which Flux or Argo CD reads the repository")
	_ = cmd.Flags().MarkHidden("pair") // the fleet names its pairs
	return cmd
}

// initOptions are the flags of init.
type initOptions struct {
	examples.Options
	dryRun bool
}

func (o *initOptions) addFlags(cmd *cobra.Command, clusters string) {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) }
	flags := cmd.Flags()
	flags.StringArrayVar(&o.Clusters, "cluster", nil, clusters)
	flags.StringVar(&o.CI, "ci", "", "age recipient of who renders pairs")
	flags.StringVar(&o.Recovery, "recovery", "", "age recipient of a key that is kept offline")
	flags.StringVarP(&o.Namespace, "namespace", "n", "migrationnamespace", "namespace of the pair, and of the applications")
	flags.StringVar(&o.Pair, "pair", "remotecluster", "name of the pair")
	flags.StringVar(&o.StorkVersion, "stork-version", "24.3", "Stork release of the clusters")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write nothing; list the files that would be written")
}

func (o *initOptions) run(cmd *cobra.Command, dir string) error {
	layout, err := examples.New(o.Options)
	if err != nil {
		return usageError(err)
	}
	return layout.Write(cmd.Context(), dir, o.dryRun, talk(cmd, true))
}
