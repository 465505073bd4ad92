package cluster

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/clientcmd"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Choice says which cluster to talk to, and as whom, as kubectl's flags do.
type Choice struct {
	// Kubeconfig is the file to read. If it is empty, those that kubectl reads count:
	// KUBECONFIG, then ~/.kube/config, then the cluster around the pod.
	Kubeconfig string
	Overrides  clientcmd.ConfigOverrides
}

// Client makes a client of the cluster, and tells the namespace to work in. There is no
// client if one of the findings about the kubeconfigs is an error. A namespace that there
// cannot be is an error: an API server says only that nothing is in it.
func (c *Choice) Client() (client *Client, namespace string, findings []report.Finding, err error) {
	if n := c.Overrides.Context.Namespace; n != "" && len(validation.IsDNS1123Label(n)) > 0 {
		return nil, "", nil, report.Usage(report.WithHint(errors.New("--namespace is no name of a namespace"), "as in -n migrationnamespace"))
	}
	if findings, err = c.read(); err != nil || report.HasErrors(findings) {
		return nil, "", findings, err
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.rules(), &c.Overrides)
	namespace, _, err = loader.Namespace()
	if err != nil {
		return nil, "", nil, c.unusable(err)
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, "", nil, c.unusable(err)
	}
	client, err = New(config)
	return client, namespace, nil, err
}

// rules say which kubeconfigs are read.
func (c *Choice) rules() *clientcmd.ClientConfigLoadingRules {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.WarnIfAllMissing = false
	rules.ExplicitPath = c.Kubeconfig
	return rules
}

// read reads the kubeconfigs before client-go does, whose errors quote what it cannot
// read, tokens included. It stops at the first with an error.
func (c *Choice) read() ([]report.Finding, error) {
	for _, path := range c.rules().GetLoadingPrecedence() {
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) && c.Kubeconfig == "" {
			continue
		}
		if err != nil {
			return nil, worktree.Unread(path, err)
		}
		docs, err := manifest.Values(data, path)
		if err != nil {
			return nil, err
		}
		for _, doc := range docs {
			if bad := kubeconfig.CheckDocument(doc, path); report.HasErrors(bad) {
				return bad, nil
			}
		}
	}
	return nil, nil
}

// unusable says why no client can be made of a kubeconfig that can be read.
func (c *Choice) unusable(err error) error {
	if clientcmd.IsEmptyConfig(err) && len(c.Contexts()) == 0 { // it says so, too, of a context without its cluster
		return report.WithHint(errors.New("no kubeconfig, and no cluster around this process"), "name one with --kubeconfig FILE, or set KUBECONFIG")
	}
	if clientcmd.IsContextNotFound(err) {
		return report.WithHint(fmt.Errorf("the kubeconfig has no context %q", c.Overrides.CurrentContext), "choose one with --context: %s", c.ListContexts())
	}
	return report.WithHint(errors.New("the kubeconfig names a cluster or user that it does not have, or files that are not there"), "see what it holds: kubectl config view%s", c.kubeconfigFlag())
}

// Contexts are those of the kubeconfigs, sorted. What cannot be read has none.
func (c *Choice) Contexts() []string {
	config, err := c.rules().Load()
	if err != nil {
		return nil
	}
	return slices.Sorted(maps.Keys(config.Contexts))
}

// ListContexts is the command that lists the contexts to choose from.
func (c *Choice) ListContexts() string { return "kubectl config get-contexts" + c.kubeconfigFlag() }

// Flags are those with which kubectl, or clusterpair, asks the same cluster, each after a
// space.
func (c *Choice) Flags() string {
	text := c.kubeconfigFlag()
	if c.Overrides.CurrentContext != "" {
		text += " --context " + report.Typed(c.Overrides.CurrentContext)
	}
	return text
}

// kubeconfigFlag is the kubeconfig that was named, as a flag to type.
func (c *Choice) kubeconfigFlag() string {
	if c.Kubeconfig == "" {
		return ""
	}
	return " --kubeconfig " + report.Typed(c.Kubeconfig)
}
