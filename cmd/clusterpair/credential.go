package main

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/credential"
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

// connect is the destination.
func (o *credentialFlags) connect(cmd *cobra.Command) (d credential.Destination, err error) {
	client, _, err := o.client(cmd)
	if err != nil {
		return d, err
	}
	return credential.Connect(cmd.Context(), client)
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
	o.addFlags(flags, "namespace of the ServiceAccount (default: kube-system)")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
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
	o.account = cluster.Account{Namespace: cmp.Or(o.Overrides.Context.Namespace, "kube-system"), Name: o.name}
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
	c := credential.Creation{Talk: talk(cmd, o.yes), Account: o.account, Migrate: o.rbac == "migrate", Renewal: o.renewal(), Output: o.output}
	var err error
	if c.Lifetime, err = credential.ParseLifetime(o.lifetime); err != nil {
		return err
	}
	if c.Grants, err = credential.ReadGrants(o.rbac, o.account, func(path string) ([]byte, error) { return readInput(cmd, path) }); err != nil {
		return err
	}
	c.Objects = cluster.Manifests(o.account, o.createNamespace, c.Grants)
	if o.dryRun == "client" {
		return credential.WriteObjects(cmd.OutOrStdout(), c.Objects)
	}
	d, err := o.connect(cmd)
	switch {
	case err != nil:
		return err
	case o.dryRun == "server":
		return c.Apply(cmd.Context(), d, true)
	}
	return c.Do(cmd.Context(), d)
}
