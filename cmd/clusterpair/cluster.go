package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// clusterFlags are kubectl's flags for which cluster to talk to, and as whom.
// Those that carry a credential are missing: everybody can read the arguments of
// a process.
type clusterFlags struct {
	rules     *clientcmd.ClientConfigLoadingRules
	overrides clientcmd.ConfigOverrides
}

// addFlags takes a prefix for commands that talk to two clusters.
func (c *clusterFlags) addFlags(flags *pflag.FlagSet) {
	c.rules = clientcmd.NewDefaultClientConfigLoadingRules()
	c.rules.WarnIfAllMissing = false
	o := &c.overrides
	flags.StringVar(&c.rules.ExplicitPath, "kubeconfig", "", "kubeconfig file (default: KUBECONFIG, then ~/.kube/config, then the cluster around the pod)")
	flags.StringVar(&o.CurrentContext, "context", "", "context of the kubeconfig (default: its current context)")
	flags.StringVar(&o.Context.Cluster, "cluster", "", "cluster of the kubeconfig")
	flags.StringVar(&o.Context.AuthInfo, "user", "", "user of the kubeconfig")
	flags.StringVarP(&o.Context.Namespace, "namespace", "n", "", "namespace (default: that of the context)")
	flags.StringVar(&o.AuthInfo.Impersonate, "as", "", "user to impersonate")
	flags.StringArrayVar(&o.AuthInfo.ImpersonateGroups, "as-group", nil, "group to impersonate; repeatable")
	flags.StringVar(&o.AuthInfo.ImpersonateUID, "as-uid", "", "UID to impersonate")
	flags.StringVar(&o.ClusterInfo.CertificateAuthority, "certificate-authority", "", "file with the CA of the API server")
	flags.BoolVar(&o.ClusterInfo.InsecureSkipTLSVerify, "insecure-skip-tls-verify", false, "talk to anybody who answers; refused where credentials are at stake")
	flags.StringVar(&o.Timeout, "request-timeout", "0", "how long one request may take, as in 10s; 0 for no limit")
}

// addServerFlags adds those that say where the API server is. They have another
// meaning where a kubeconfig is made.
func (c *clusterFlags) addServerFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&c.overrides.ClusterInfo.Server, "server", "s", "", "URL of the API server")
	flags.StringVar(&c.overrides.ClusterInfo.TLSServerName, "tls-server-name", "", "name in the certificate of the API server")
}

// client is the cluster that the flags mean, and the namespace to work in.
func (c *clusterFlags) client(cmd *cobra.Command) (client *cluster.Client, namespace string, err error) {
	if err := c.readable(cmd); err != nil {
		return nil, "", err
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.rules, &c.overrides)
	namespace, _, err = loader.Namespace()
	if err != nil {
		return nil, "", c.unusable(err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", c.unusable(err)
	}
	client, err = cluster.New(config)
	if err != nil {
		return nil, "", err
	}
	return client, namespace, nil
}

// readable reads the kubeconfigs before client-go does, whose errors quote what
// it cannot read, tokens included.
func (c *clusterFlags) readable(cmd *cobra.Command) error {
	for _, path := range c.rules.GetLoadingPrecedence() {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && c.rules.ExplicitPath == "" {
			continue
		}
		if err != nil {
			return worktree.Unread(path, err)
		}
		docs, err := manifest.Values(data, path)
		var f report.Finding
		if errors.As(err, &f) {
			return printFindings(cmd, []report.Finding{f})
		}
		for _, doc := range docs {
			if bad := kubeconfig.CheckDocument(doc, path); report.HasErrors(bad) {
				return printFindings(cmd, bad)
			}
		}
	}
	return nil
}

// unusable says why no client can be made of a kubeconfig that can be read.
func (c *clusterFlags) unusable(err error) error {
	if clientcmd.IsEmptyConfig(err) {
		return withHint(errors.New("no kubeconfig, and no cluster around this process"), "name one with --kubeconfig FILE, or set KUBECONFIG")
	}
	if clientcmd.IsContextNotFound(err) {
		return withHint(fmt.Errorf("the kubeconfig has no context %q", c.overrides.CurrentContext), "choose one with --context: kubectl config get-contexts%s", c.kubeconfigFlag())
	}
	return withHint(errors.New("the kubeconfig names a cluster or user that it does not have, or files that are not there"), "see what it holds: kubectl config view%s", c.kubeconfigFlag())
}

// typed are the flags with which kubectl, or this program, asks the same cluster.
func (c *clusterFlags) typed() string {
	text := c.kubeconfigFlag()
	if c.overrides.CurrentContext != "" {
		text += " --context " + report.Typed(c.overrides.CurrentContext)
	}
	return text
}

// kubeconfigFlag is the kubeconfig that was named, as a flag to type.
func (c *clusterFlags) kubeconfigFlag() string {
	if c.rules == nil || c.rules.ExplicitPath == "" {
		return ""
	}
	return " --kubeconfig " + report.Typed(c.rules.ExplicitPath)
}
