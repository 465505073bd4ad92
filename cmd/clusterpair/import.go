package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/internal/importer"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/worktree"
)

func newImportCommand() *cobra.Command {
	o := new(importOptions)
	cmd := &cobra.Command{
		Use:   "import [NAME... | -l SELECTOR]",
		Short: "Take kubeconfig Secrets from a management cluster into Git",
		Long: `import reads kubeconfig Secrets from the cluster that holds them, such as the
management cluster of Cluster API, and writes each encrypted with SOPS: into the
file of spec.files that holds it, else into secrets/NAMESPACE/NAME.yaml beside the
config. What has not changed keeps its bytes. A run writes all of its files or
none, and removes none: it tells which Secrets are gone.

Without NAME and SELECTOR it reads those again that it has imported from this
cluster. With --check it writes nothing, and exits 1 if the cluster has other
Secrets than Git.`,
		Example: `  clusterpair import --from-context management -n fleet west-kubeconfig
  clusterpair import --from-context management -A -l cluster.x-k8s.io/cluster-name
  clusterpair import --from-context management --check`,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	o.addFlags(flags, ofContext)
	o.addServerFlags(flags)
	flags.StringVar(&o.Overrides.CurrentContext, "from-context", "", "the same as --context")
	flags.StringVarP(&o.selector, "selector", "l", "", "labels of the Secrets, as in role=dr")
	flags.BoolVarP(&o.everywhere, "all-namespaces", "A", false, "Secrets of all namespaces")
	flags.StringVarP(&o.options.Config, "filename", "f", ".", "function config, or the directory of one")
	flags.StringVarP(&o.options.Output, "output", "o", "secrets", "directory for new files, relative to that of the config")
	flags.BoolVar(&o.options.Check, "check", false, "write nothing; exit with 1 if the cluster has other Secrets than Git")
	flags.StringSliceVar(&o.options.Age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	return cmd
}

// importOptions are the flags of import.
type importOptions struct {
	clusterFlags
	selector   string
	everywhere bool
	options    importer.Options
}

// check tells whether the flags go together, and with the names.
func (o *importOptions) check(names []string) error {
	switch _, err := labels.Parse(o.selector); {
	case err != nil:
		return usageError(withHint(fmt.Errorf("-l: %w", err), "-l KEY=VALUE, or -l KEY"))
	case len(names) > 0 && (o.selector != "" || o.everywhere):
		return usageError(errors.New("a NAME goes with neither --selector nor --all-namespaces"))
	case o.everywhere && o.Overrides.Context.Namespace != "":
		return usageError(errors.New("--all-namespaces and --namespace exclude each other"))
	}
	for _, name := range names {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			return usageError(withHint(errors.New("a NAME is that of a Secret, without its namespace"), "clusterpair import -n NAMESPACE NAME"))
		}
	}
	return nil
}

func (o *importOptions) run(cmd *cobra.Command, names []string) error {
	if err := o.check(names); err != nil {
		return err
	}
	defer pace.Steady(2<<20, 35, 32<<20).End()
	o.options.Flags = o.Flags()
	r, err := importer.Begin(o.options)
	if err != nil {
		return err
	}
	defer r.Close()
	if !o.options.Check {
		unlock, err := worktree.Enter(cmd.Context(), cmd.ErrOrStderr(), r.Recover, r.Dir())
		defer unlock()
		if err != nil {
			return err
		}
	}
	if err := r.ReadHeld(); err != nil {
		return err
	}
	client, namespace, err := o.client(cmd)
	if err != nil {
		return err
	}
	if err := r.From(client); err != nil {
		return err
	}
	switch {
	case len(names) > 0:
		err = r.Get(cmd.Context(), namespace, names)
	case o.everywhere && o.selector != "":
		err = r.Select(cmd.Context(), "", o.selector)
	case o.selector != "":
		err = r.Select(cmd.Context(), namespace, o.selector)
	default:
		err = r.Again(cmd.Context(), o.Overrides.Context.Namespace)
	}
	if err != nil {
		return err
	}
	return r.Finish(cmd.Context(), talk(cmd, true))
}
