package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"clusterpair.dev/internal/rotation"
)

// credentialStatusOptions are the flags of credential status.
type credentialStatusOptions struct {
	clusterFlags
	formatFlag
	view rotation.View
}

func newCredentialStatusCommand() *cobra.Command {
	o := new(credentialStatusOptions)
	cmd := &cobra.Command{
		Use:   "status [PATH]",
		Short: "Tell how far the rotation of each credential has come",
		Long: `status tells, for each Secret that credential create has written and a config of
PATH takes, how far its rotation has come:

  idle      all have the present token
  due       a new token is to be made
  stale     the Secret is newer than a pair: clusterpair generate
  rendered  the pairs are newer than those committed or pushed
  syncing   not every source cluster is known to have the new token
  draining  a Migration that began before is under way
  proven    nothing needs the old token any more
  unknown   the destination does not answer

It asks each destination for its tokens, and each source cluster for its pairs and
Migrations, all by contexts of the kubeconfig. It changes nothing, and exits 1
unless all are idle.`,
		Example: `  clusterpair credential status
  clusterpair credential status fleet.yaml --contexts 'admin@${cluster}' -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.checkFormat(); err != nil {
				return err
			}
			o.view.Choice = o.Choice
			if err := o.view.Open(append(args, ".")[0]); err != nil {
				return err
			}
			all, err := o.view.Look(cmd.Context())
			if err != nil {
				return err
			}
			err = rotation.Write(cmd.OutOrStdout(), o.format, all)
			if err == nil && slices.ContainsFunc(all, func(d *rotation.Destination) bool { return d.Step != rotation.Idle }) {
				err = &exitError{code: exitFindings}
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&o.Overrides.Timeout, "request-timeout", "10s", "how long one request may take; 0 for no limit")
	addContexts(flags, &o.view)
	o.addFormat(cmd, "table", rotation.Formats())
	return cmd
}

// addContexts adds the flags that say how the clusters of a fleet are asked.
func addContexts(flags *pflag.FlagSet, v *rotation.View) {
	flags.StringVar(&v.Contexts, "contexts", "${cluster}", "kubeconfig context of a cluster of the fleet, as in 'admin@${cluster}'")
	flags.StringArrayVar(&v.AssumeSynced, "assume-synced", nil, "source `CLUSTER` that cannot be asked and has synced, as you know; repeatable")
}
