package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/credential"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

func newCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Make, rotate and revoke the credentials that pairs carry",
		Long: `credential makes a service account on the destination that may do what a
migration needs, and writes a kubeconfig with a token of it as a SOPS-encrypted
Secret, from which generate renders pairs.`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newCredentialCreateCommand(), newCredentialRotateCommand(), newCredentialRevokeCommand(), newCredentialStatusCommand())
	return cmd
}

// credentialFlags are those of the commands that work with a credential on its
// destination.
type credentialFlags struct {
	clusterFlags
	lifetime      string
	legacySecret  bool
	server        string
	tlsServerName string
	age           []string
	yes           bool
}

func (o *credentialFlags) addMintFlags(cmd *cobra.Command, lifetime string) {
	flags := cmd.Flags()
	flags.StringVar(&o.lifetime, "lifetime", lifetime, "how long the token is to last, as in 90d or 8760h; the API server may grant less")
	flags.BoolVar(&o.legacySecret, "legacy-secret", false, "make a token that does not end, in a Secret of type kubernetes.io/service-account-token")
	flags.StringVar(&o.server, "server", "", "URL of the destination as the source cluster reaches it (default: that of the kubeconfig)")
	flags.StringVar(&o.tlsServerName, "tls-server-name", "", "name in the destination's certificate, if it is not that of the URL")
	flags.StringSliceVar(&o.age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	cmd.MarkFlagsMutuallyExclusive("lifetime", "legacy-secret")
}

// renewal is what the flags say of the token.
func (o *credentialFlags) renewal() credential.Renewal {
	return credential.Renewal{Age: o.age, LegacySecret: o.legacySecret, Lifetime: o.lifetime, Server: o.server, TLSServerName: o.tlsServerName}
}

// connect is the destination, how to reach it, and its UID.
func (o *credentialFlags) connect(cmd *cobra.Command) (client *cluster.Client, endpoint cluster.Endpoint, uid string, err error) {
	if client, _, err = o.client(cmd); err != nil {
		return nil, endpoint, "", err
	}
	if !client.Verified() {
		return nil, endpoint, "", withHint(errors.New("the destination does not prove who it is: insecure-skip-tls-verify"),
			"give the kubeconfig its certificate-authority-data, or name the CA with --certificate-authority FILE")
	}
	if endpoint, err = client.Endpoint(); err != nil {
		return nil, endpoint, "", err
	}
	if uid, err = client.UID(cmd.Context()); err != nil {
		return nil, endpoint, "", err
	}
	return client, endpoint, uid, nil
}

// createOptions are the flags of credential create.
type createOptions struct {
	credentialFlags
	name            string
	createNamespace bool
	rbac            string
	dryRun          string
	output          string

	account cluster.Account
	grants  cluster.Grants
}

func newCredentialCreateCommand() *cobra.Command {
	o := new(createOptions)
	cmd := &cobra.Command{
		Use:   "create -o FILE",
		Short: "Make a service account on the destination and write its kubeconfig, encrypted",
		Long: `create makes a ServiceAccount with RBAC on the destination, the cluster of the
kubeconfig, asks for a token of it, and writes the kubeconfig for the source
cluster into a Secret, encrypted by the creation rule of .sops.yaml for the file.
It says first what the credential will be allowed and who can read it, and asks.

--rbac migrate, the default, allows what Stork does on a destination, without what
would let the account give itself more. FILE holds Roles and ClusterRoles of your
own. --dry-run=client prints the objects as YAML, for Git.

The token ends after --lifetime, or earlier if the API server says so, and lives
with a Secret on the destination: credential revoke deletes that. Who may create
pods or tokens in the namespace of the account can become it; kube-system is
where only administrators can.`,
		Example: `  clusterpair credential create --context west --name stork-dr -o secrets/west.yaml
  clusterpair credential create --name stork-dr --dry-run=client > rbac.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	flags.Lookup("namespace").Usage = "namespace of the ServiceAccount (default: kube-system)"
	o.addMintFlags(cmd, "8760h")
	flags.StringVar(&o.name, "name", "stork-dr", "name of the ServiceAccount")
	flags.BoolVar(&o.createNamespace, "create-namespace", false, "make the namespace, too")
	flags.StringVar(&o.rbac, "rbac", "migrate", "what the credential may do: migrate, cluster-admin, or a FILE with Roles and ClusterRoles")
	flags.StringVar(&o.dryRun, "dry-run", "", "client prints the objects, server asks the destination what it would make of them; neither makes a token")
	flags.StringVarP(&o.output, "output", "o", "", "file to write; its name is that of the Secret")
	_ = cmd.MarkFlagFilename("output") // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("rbac", cobra.FixedCompletions([]string{"migrate", "cluster-admin"}, cobra.ShellCompDirectiveDefault))
	complete(cmd, "dry-run", []cobra.Completion{"client", "server"})
	return cmd
}

// check tells whether the flags go together.
func (o *createOptions) check() error {
	o.account = cluster.Account{Namespace: cmp.Or(o.namespaceFlag(), "kube-system"), Name: o.name}
	switch {
	case len(validation.IsDNS1123Subdomain(o.name)) > 0:
		return usageError(withHint(errors.New("--name takes a name of lower-case letters, digits, '-' and '.'"), "--name stork-dr"))
	case len(validation.IsDNS1123Label(o.account.Namespace)) > 0:
		return usageError(fmt.Errorf("--namespace: %q is no name of a namespace", o.account.Namespace))
	case o.dryRun != "" && o.dryRun != "client" && o.dryRun != "server":
		return usageError(withHint(fmt.Errorf("there is no --dry-run=%s", o.dryRun), "--dry-run=client|server"))
	case o.dryRun == "" && o.output == "":
		return usageError(withHint(errors.New("nowhere to write the credential to"), "-o secrets/west.yaml"))
	}
	return nil
}

func (o *createOptions) run(cmd *cobra.Command) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.legacySecret {
		o.lifetime = ""
	}
	lifetime, err := credential.ParseLifetime(o.lifetime)
	if err != nil {
		return err
	}
	if o.grants, err = credential.ReadGrants(o.rbac, o.account, func(path string) ([]byte, error) { return readInput(cmd, path) }); err != nil {
		return err
	}
	objects := cluster.Manifests(o.account, o.createNamespace, o.grants)
	if o.dryRun == "client" {
		return credential.WriteObjects(cmd.OutOrStdout(), objects)
	}
	client, endpoint, uid, err := o.connect(cmd)
	if err != nil {
		return err
	}
	if o.dryRun == "server" {
		return o.apply(cmd, client, objects, true)
	}
	return o.make(cmd, client, endpoint, uid, objects, lifetime)
}

// make makes the objects and the token, after asking, and writes the file.
func (o *createOptions) make(cmd *cobra.Command, client *cluster.Client, endpoint cluster.Endpoint, uid string, objects []cluster.Object, lifetime time.Duration) error {
	if err := worktree.RecoverFile(cmd.Context(), cmd.ErrOrStderr(), o.output); err != nil {
		return err
	}
	f, err := o.renewal().OpenFor(cmd.Context(), client, o.output, o.account, endpoint, uid)
	if err != nil {
		return err
	}
	safe := sopsfile.New(nil)
	findings, err := f.Rehearse(cmd.Context(), safe, endpoint.CA)
	if err := cmp.Or(printFindings(cmd, findings), err); err != nil {
		return err
	}
	stale, err := credential.StaleBindings(cmd.Context(), client, o.account, objects)
	if err != nil {
		return err
	}
	credential.Proposal{File: f, Destination: client.Server(), Grants: o.grants, Migrate: o.rbac == "migrate", Stale: stale}.Write(cmd.ErrOrStderr())
	if !o.yes {
		if err := confirm(cmd, "Make this credential?"); err != nil {
			return err
		}
	}
	if err := o.apply(cmd, client, objects, false); err != nil {
		return err
	}
	if err := credential.Delete(cmd.Context(), client, stale, func(id string) { say(cmd.OutOrStdout(), "deleted %s\n", id) }); err != nil {
		return err
	}
	_, sealed, err := f.Mint(cmd.Context(), client, safe, endpoint.CA, lifetime)
	if err != nil {
		return err
	}
	if err := worktree.WriteFile(f.Path, sealed, 0o644); err != nil {
		return f.Unmint(cmd.Context(), client, err)
	}
	say(cmd.OutOrStdout(), "%s Secret %s/%s\n%s %s\n", worktree.Created, o.account.Namespace, f.Secret, f.Verb(), f.Path)
	f.WarnShortened(cmd.ErrOrStderr(), lifetime)
	say(cmd.ErrOrStderr(), "The credential %s. For a config:\n  destination: {secret: {name: %s}}\n  files: [%s]\n", f.Ending(), f.Name, f.Path)
	return nil
}

// apply makes the objects, and says what became of each.
func (o *createOptions) apply(cmd *cobra.Command, client *cluster.Client, objects []cluster.Object, dryRun bool) error {
	suffix := map[bool]string{true: " (server dry run)"}[dryRun]
	return credential.Apply(cmd.Context(), client, objects, dryRun, func(outcome, id string) {
		say(cmd.OutOrStdout(), "%s %s%s\n", outcome, id, suffix)
	})
}
