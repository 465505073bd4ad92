package main

import (
	"cmp"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"clusterpair.dev/internal/cluster"
)

// clusterFlags are kubectl's flags for which cluster to talk to, and as whom.
// Those that carry a credential are missing: everybody can read the arguments of
// a process.
type clusterFlags struct{ cluster.Choice }

const ofContext = "namespace (default: that of the context)"

// addFlags adds them. namespace describes the flag for a namespace; none if it is empty.
func (c *clusterFlags) addFlags(flags *pflag.FlagSet, namespace string) {
	o := &c.Overrides
	flags.StringVar(&c.Kubeconfig, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, then ~/.kube/config, then the cluster around the pod)")
	flags.StringVar(&o.CurrentContext, "context", "", "context of the kubeconfig (default: its current context)")
	flags.StringVar(&o.Context.Cluster, "cluster", "", "cluster of the kubeconfig")
	flags.StringVar(&o.Context.AuthInfo, "user", "", "user of the kubeconfig")
	if namespace != "" {
		flags.StringVarP(&o.Context.Namespace, "namespace", "n", "", namespace)
	}
	flags.StringVar(&o.AuthInfo.Impersonate, "as", "", "user to impersonate")
	flags.StringArrayVar(&o.AuthInfo.ImpersonateGroups, "as-group", nil, "group to impersonate; repeatable")
	flags.StringVar(&o.AuthInfo.ImpersonateUID, "as-uid", "", "UID to impersonate")
	flags.StringVar(&o.ClusterInfo.CertificateAuthority, "certificate-authority", "", "file with the CA of the API server")
	flags.BoolVar(&o.ClusterInfo.InsecureSkipTLSVerify, "insecure-skip-tls-verify", false, "talk to anybody who answers; refused where credentials are at stake")
	flags.StringVar(&o.Timeout, "request-timeout", "0", "how long one request may take, as in 10s; 0 for no limit")
}

// addServerFlags adds the flags that say where the API server is. credential create
// leaves them out: its --server is the URL that goes into the kubeconfig.
func (c *clusterFlags) addServerFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&c.Overrides.ClusterInfo.Server, "server", "s", "", "URL of the API server")
	flags.StringVar(&c.Overrides.ClusterInfo.TLSServerName, "tls-server-name", "", "name in the certificate of the API server")
}

// client is the cluster that the flags mean, and the namespace to work in.
func (c *clusterFlags) client(cmd *cobra.Command) (client *cluster.Client, namespace string, err error) {
	client, namespace, findings, err := c.Client()
	return client, namespace, cmp.Or(printFindings(cmd, findings), err)
}

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

// contexts are those of --kubeconfig, or of what kubectl reads.
func contexts(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var choice cluster.Choice
	if flag := cmd.Flag("kubeconfig"); flag != nil {
		choice.Kubeconfig = flag.Value.String()
	}
	return choice.Contexts(), cobra.ShellCompDirectiveNoFileComp
}
