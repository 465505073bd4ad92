package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/credential"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// rotateOptions are the flags of credential rotate.
type rotateOptions struct {
	credentialFlags
	config string
}

func newCredentialRotateCommand() *cobra.Command {
	o := new(rotateOptions)
	cmd := &cobra.Command{
		Use:   "rotate FILE | CONFIG",
		Short: "Make a new token for a credential, and render the pairs that use it",
		Long: `rotate makes a new token for the ServiceAccount of a Secret that credential create
has written, and writes it into the Secret and into the pairs that generate renders
from it: into all of them or none. Other pairs stay as they are. It lasts as long,
and reaches the destination by the same URL, as the one before, which goes on
working until it ends, or until credential revoke.

Of a function config, or the directory of one, it rotates all such Secrets whose
destination is the cluster of the kubeconfig.`,
		Example: `  clusterpair credential rotate secrets/west.yaml --context west
  clusterpair credential rotate . --context west`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addMintFlags(cmd, "")
	flags.Lookup("lifetime").Usage = "how long the token is to last (default: as was asked for the one before)"
	flags.Lookup("server").Usage = "URL of the destination as the source cluster reaches it (default: that of before)"
	flags.StringVarP(&o.config, "filename", "f", "", "function config to render, or directory of a kustomization that lists one (default: all of the repository that take FILE)")
	return cmd
}

func (o *rotateOptions) run(cmd *cobra.Command, path string) error {
	if err := recoverFile(cmd, path); err != nil {
		return err
	}
	files, configs, err := credential.Find(path, o.config, func(config string, err error) {
		say(cmd.ErrOrStderr(), "warning: whether %s takes %s is not known: %s\n", config, path, report.ErrorLine(err, config))
	})
	if err != nil {
		return err
	}
	client, endpoint, uid, err := o.connect(cmd)
	if err != nil {
		return err
	}
	all := files
	files = slices.DeleteFunc(slices.Clone(files), func(f *credential.File) bool { return f.Cluster != uid })
	if len(files) == 0 {
		return o.otherCluster(client, all[0])
	}
	safe := sopsfile.New(nil)
	rotations := make([]*credential.Rotation, len(files))
	for i, f := range files {
		r, findings, err := o.renewal().Prepare(cmd.Context(), client, safe, f, endpoint.CA)
		if bad := printFindings(cmd, findings); bad != nil {
			return bad
		}
		if err != nil {
			return err
		}
		rotations[i] = r
	}
	if err := credential.Mint(cmd.Context(), client, safe, endpoint.CA, rotations); err != nil {
		return err
	}
	var with func(map[string]*yaml.Node, []render.File) error
	if len(configs) > 0 {
		with = func(instead map[string]*yaml.Node, files []render.File) error {
			g := &generateOptions{remove: -1, paths: configs}
			return g.render(cmd, instead, files)
		}
	}
	if err := credential.Write(cmd.Context(), client, rotations, with); err != nil {
		return err
	}
	for _, r := range rotations {
		say(cmd.OutOrStdout(), "%s %s\n", worktree.Changed, r.Path)
	}
	for _, r := range rotations {
		tellRotated(cmd, r, len(configs) > 0)
	}
	return nil
}

// tellRotated says what is to be known of a rotated credential.
func tellRotated(cmd *cobra.Command, r *credential.Rotation, rendered bool) {
	w := cmd.ErrOrStderr()
	warnShortened(cmd, r.File, r.Asked)
	say(w, "The credential in %s %s.\n", r.Path, r.Ending())
	if !rendered {
		say(w, "No config here takes it: render the pairs that use it with clusterpair generate -f CONFIG.\n")
	}
	if len(r.Previous) > 0 {
		say(w, "The one before still works. When the new one is synced and clusterpair preflight says that it works, end it:\n  clusterpair credential revoke %s\n", r.Path)
	}
}

// otherCluster says that a cluster is not the destination of a credential.
func (c *clusterFlags) otherCluster(client *cluster.Client, f *credential.File) error {
	return withHint(fmt.Errorf("%s is not the cluster of the credential in %s", client.Server(), f.Path), "choose the destination with --context: kubectl config get-contexts%s", c.kubeconfigFlag())
}

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
wrote the one that it holds now. With --all it ends every token that credential
create and rotate have made for the ServiceAccount: that one, and those in other
files, too. The ServiceAccount and its RBAC stay.

It refuses to end what a ClusterPair of the repository still holds, as it is in the
work tree, in HEAD or in the upstream branch, whichever config has rendered it.
The annotation clusterpair.dev/credential-id tells. A pair without one is
decrypted, if a key is at hand.

API servers go on taking a token that they know for ten seconds.`,
		Example: `  clusterpair credential revoke secrets/west.yaml --context west`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.addFlags(cmd.Flags())
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
	client, _, uid, err := o.connect(cmd)
	if err != nil {
		return err
	}
	if uid != f.Cluster {
		return o.otherCluster(client, f)
	}
	tokens, err := client.Tokens(cmd.Context(), f.Account)
	if err != nil {
		return err
	}
	var end, stay []cluster.TokenSecret
	for _, t := range tokens {
		if o.all || slices.Contains(f.Previous, t.Name) {
			end = append(end, t)
		} else {
			stay = append(stay, t)
		}
	}
	w := cmd.ErrOrStderr()
	if len(end) == 0 {
		say(w, "%s has no other credential on %s; --all ends all of %s\n", path, client.Server(), f.Account)
		return nil
	}
	held, err := f.Held(cmd.Context(), end, o.all, o.assumeUnused)
	if err != nil {
		return err
	}
	sayEnding(w, client.Server(), f, end, stay, held)
	if !o.yes {
		if err := confirm(cmd, "End them?"); err != nil {
			return err
		}
	}
	for _, t := range end {
		if _, err := client.Delete(cmd.Context(), "Secret", f.Account.Namespace, t.Name); err != nil {
			return err
		}
		say(cmd.OutOrStdout(), "deleted Secret %s/%s\n", f.Account.Namespace, t.Name)
	}
	if o.all {
		say(w, "What %s holds works no longer. The ServiceAccount and its RBAC stay: clusterpair credential rotate %s makes a new token.\n", path, path)
	}
	return nil
}

// sayEnding says which tokens end and which stay, and what holds those that end.
func sayEnding(w io.Writer, server string, f *credential.File, end, stay []cluster.TokenSecret, held []holders.Holder) {
	say(w, "Of ServiceAccount %s on %s end:\n", f.Account, server)
	for _, t := range end {
		say(w, "  %s%s\n", t.Name, f.Role(t))
	}
	for i, t := range stay {
		if i == 0 {
			say(w, "and stay:\n")
		}
		say(w, "  %s%s\n", t.Name, f.Role(t))
	}
	for i, h := range held {
		if i == 0 {
			say(w, "They are held by:\n")
		}
		say(w, "  %s\n", credential.Where(h))
	}
}
