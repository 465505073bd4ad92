package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/credential"
)

// revokeOptions are the flags of credential revoke.
type revokeOptions struct {
	credentialFlags
	all          bool
	assumeUnused []string
}

func newCredentialRevokeCommand() *cobra.Command {
	o := new(revokeOptions)
	cmd := &cobra.Command{
		Use:   "revoke FILE",
		Short: "End the tokens that a Secret held before, or all of them",
		Long: `revoke ends the tokens that the Secret of a file held before credential rotate
wrote the present one, which goes on working. With --all it ends every token that
credential create and rotate have made for the ServiceAccount: the present one,
and those in other files, too. The ServiceAccount and its RBAC stay.

It refuses to end a token that a ClusterPair of the repository still holds, in the
work tree, in HEAD or in the upstream branch, whichever config has rendered the
pair. The annotation clusterpair.dev/credential-id of a pair tells which
credential it holds. A pair without the annotation is decrypted, if a key is at
hand.

After revoke, wait ten seconds: so long an API server goes on accepting a token
that it has just seen.`,
		Example: `  clusterpair credential revoke secrets/west.yaml --context west`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.addFlags(cmd.Flags(), "")
	o.addServerFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&o.all, "all", false, "end all tokens of the ServiceAccount, whatever holds them")
	cmd.Flags().StringArrayVar(&o.assumeUnused, "assume-unused", nil, "`FILE` with a pair that does not tell what it holds, and that no cluster uses; repeatable")
	return cmd
}

func (o *revokeOptions) run(cmd *cobra.Command, path string) error {
	f, err := credential.OpenWritten(path)
	if err != nil {
		return err
	}
	d, err := o.connect(cmd)
	if err != nil {
		return err
	}
	if d.UID != f.Cluster {
		return f.OtherCluster(d, o.ListContexts())
	}
	r, err := f.Revocation(cmd.Context(), d.Client, o.all, o.assumeUnused)
	if err != nil {
		return err
	}
	t := talk(cmd, o.yes)
	if len(r.End) == 0 {
		say(t.Err, "%s has no other credential on %s; --all ends all of %s\n", path, d.Client.Server(), f.Account)
		return nil
	}
	r.Write(t.Err)
	if err := t.Confirm("End them?"); err != nil {
		return err
	}
	if err := r.Do(cmd.Context(), func(secret string) { say(t.Out, "deleted Secret %s\n", secret) }); err != nil {
		return err
	}
	if o.all {
		say(t.Err, "What %s holds works no longer. The ServiceAccount and its RBAC stay: clusterpair credential rotate %s makes a new token.\n", path, path)
	}
	return nil
}
