package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/preflight"
	"clusterpair.dev/internal/report"
)

// preflightOptions are the flags of clusterpair preflight.
type preflightOptions struct {
	clusterFlags
	allNamespaces, allowExec bool
	timeout                  time.Duration
	within                   days
	checkFlags
}

func newPreflightCommand() *cobra.Command {
	o := new(preflightOptions)
	cmd := &cobra.Command{
		Use:   "preflight PATH... | -n NAMESPACE [NAME...] | -A",
		Short: "Ask destinations, with their own credentials, whether pairs will work",
		Long: `preflight looks at each destination with the credential of the pair, as Stork
would, and changes nothing: name, connection, TLS, whether the credential is taken,
for whom, until when, every permission of a migration, and too many of them.
Stork itself only asks for the version, which most servers tell anybody.

PATH is a generator's config, rendered in memory; a file or directory of
ClusterPairs, decrypted in memory where a key is at hand; or a kubeconfig, or a
Secret that holds one. - is standard input. With -n or -A the pairs are those of
the source cluster. Elsewhere naming that cluster, as by --context, compares
the two, so that no cluster is paired with itself.

A command that a kubeconfig wants to run for its credential only runs with
--allow-exec, and no credential goes to a server whose certificate is not verified.`,
		Example: `  clusterpair preflight clusters/east
  clusterpair preflight rendered/apps/remotecluster.yaml --context east
  clusterpair preflight -n apps remotecluster
  clusterpair preflight -A -o junit`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	flags := cmd.Flags()
	o.addFlags(flags, ofContext)
	o.addServerFlags(flags)
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "the pairs of all namespaces of the source cluster")
	flags.BoolVar(&o.allowExec, "allow-exec", false, "run the commands that kubeconfigs name for their credentials")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long all checks of one destination may take")
	o.within.addWithin(cmd, "warn of credentials that end within this time")
	o.checkFlags.add(cmd)
	return cmd
}

// live tells whether the pairs are those of the source cluster.
func (o *preflightOptions) live() bool { return o.allNamespaces || o.Overrides.Context.Namespace != "" }

// check tells whether the flags go together, and with the arguments.
func (o *preflightOptions) check(args []string) error {
	switch {
	case o.timeout <= 0:
		return usageError(withHint(errors.New("--timeout is to be more than nothing"), "as in 10s"))
	case o.allNamespaces && (len(args) > 0 || o.Overrides.Context.Namespace != ""):
		return usageError(errors.New("--all-namespaces goes without names and --namespace"))
	case o.Overrides.ClusterInfo.InsecureSkipTLSVerify:
		return usageError(withHint(errors.New("--insecure-skip-tls-verify: the pairs of the source cluster are credentials"), "name its CA with --certificate-authority FILE"))
	case !o.live() && len(args) == 0:
		return usageError(withHint(errors.New("nothing to look at"), "clusterpair preflight CONFIG, or -n NAMESPACE NAME for a pair of the source cluster"))
	}
	return o.checkFormat()
}

func (o *preflightOptions) run(cmd *cobra.Command, args []string) error {
	err := o.check(args)
	if err != nil {
		return err
	}
	options := preflight.Options{Timeout: o.timeout, AllowExec: o.allowExec, Within: o.within.Duration}
	var client *cluster.Client
	namespace := ""
	if o.live() || firstChanged(cmd, "kubeconfig", "context", "cluster", "user", "server") != "" {
		if client, namespace, err = o.client(cmd); err != nil {
			return err
		}
		if options.Source, err = o.identity(cmd, client); err != nil {
			return err
		}
	}
	if o.allNamespaces {
		namespace = ""
	}
	r := preflight.New(options)
	if o.live() {
		err = r.Pairs(cmd.Context(), client, namespace, args, o.Flags())
	}
	for i := 0; i < len(args) && !o.live() && err == nil; i++ {
		err = r.Path(cmd.Context(), args[i], func(path string) ([]byte, error) { return readInput(cmd, path) })
	}
	if err != nil {
		return err
	}
	return o.result(cmd, r)
}

// identity asks the source cluster who it is.
func (o *preflightOptions) identity(cmd *cobra.Command, client *cluster.Client) (*cluster.Identity, error) {
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	return client.Identity(ctx)
}

// result asks the destinations, prints each and gives the verdict.
func (o *preflightOptions) result(cmd *cobra.Command, r *preflight.Run) error {
	refused := printFindings(cmd, r.Findings())
	if r.Len() == 0 && refused == nil {
		return errors.New("there is no ClusterPair")
	}
	write := o.writer(cmd, "destination", "destinations")
	err := r.Check(cmd.Context(), write.Add)
	if err == nil {
		err = write.End()
	}
	if err != nil {
		return err
	}
	switch failed, unasked := r.Verdict(o.strict); {
	case failed:
		return &exitError{code: exitFindings}
	case unasked > 0:
		return fmt.Errorf("%s not asked with the credential", report.Count(unasked, "destination was", "destinations were"))
	}
	return refused
}
