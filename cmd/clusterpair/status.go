package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/live"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
)

// statusOptions are the flags of clusterpair status.
type statusOptions struct {
	clusterFlags
	allNamespaces             bool
	files                     []string
	wait, watch, recheck, yes bool
	probe                     bool
	timeout                   time.Duration
	within                    days
	formatFlag
}

func newStatusCommand() *cobra.Command {
	o := new(statusOptions)
	cmd := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Tell whether ClusterPairs work, and why not",
		Long: `status shows what storkctl get clusterpair shows of the pairs of the source
cluster, and explains below it what Stork leaves mute: why a status is empty,
which pair stalls all others, what the last event says, and whether Ready is older
than the credential. A pair works if its scheduler is Ready and its storage is
NotProvided, or, with storage options for a second fabric, Ready.

With -f it compares the pairs to what Git holds, encrypted: by the digest that
generate has put there, or, where a key is at hand, value by value. Without
NAME, -n and -A the pairs of the files are meant.

Stork looks at a pair until it is Ready, and never again: it goes on saying Ready
when the credential is revoked. --recheck clears the status, so that Stork looks
again, and waits. --probe asks each destination from this machine, with the
credential of the pair, whether the destination still accepts it. clusterpair
preflight asks more.

It exits 1 unless every pair that was asked for works.`,
		Example: `  clusterpair status -A -o wide
  clusterpair status remotecluster -n migrationnamespace --wait --timeout 2m
  clusterpair status -f rendered/
  clusterpair status -A --probe
  clusterpair status --recheck remotecluster -n migrationnamespace`,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: o.completeNames,
	}
	flags := cmd.Flags()
	o.addFlags(flags, ofContext)
	o.addServerFlags(flags)
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "the pairs of all namespaces")
	flags.StringSliceVarP(&o.files, "filename", "f", nil, "file or directory with the committed pairs to compare to; repeatable")
	flags.BoolVar(&o.wait, "wait", false, "wait until every pair works")
	flags.BoolVarP(&o.watch, "watch", "w", false, "go on and show what changes")
	flags.DurationVar(&o.timeout, "timeout", 0, "end --wait or --watch after this time (default 5m for --wait)")
	flags.BoolVar(&o.recheck, "recheck", false, "make Stork look again at what it calls Ready, after asking, and wait")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&o.probe, "probe", false, "ask each destination whether it takes the credential of the pair")
	o.within.addWithin(cmd, "warn of credentials that end within this time")
	o.addFormat(cmd, "table", live.Formats)
	return cmd
}

// check tells whether the flags go together, and with the names.
func (o *statusOptions) check(names []string) error {
	switch {
	case o.allNamespaces && (len(names) > 0 || o.Overrides.Context.Namespace != ""):
		return usageError(errors.New("--all-namespaces goes without NAME and --namespace"))
	case o.yes && !o.recheck:
		return usageError(errors.New("--yes goes with --recheck"))
	case o.timeout != 0 && !o.wait && !o.watch && !o.recheck:
		return usageError(errors.New("--timeout goes with --wait, --watch or --recheck"))
	case o.watch && o.probe:
		return usageError(errors.New("--probe asks once, and --watch has no end"))
	case o.watch && o.format == "yaml":
		return usageError(errors.New("--watch has no end, and -o yaml needs one"))
	}
	return o.checkFormat()
}

func (o *statusOptions) run(cmd *cobra.Command, names []string) error {
	defer pace.Steady(2<<20, 100, 0).End()
	if err := o.check(names); err != nil {
		return err
	}
	options := live.Options{Names: names, All: o.allNamespaces, Named: o.Overrides.Context.Namespace != "", Within: o.within.Duration, Probe: o.probe, Flags: o.Flags()}
	if len(o.files) > 0 {
		source, err := workTree(cmd)
		if err != nil {
			return err
		}
		if options.Git, err = live.ReadCommitted(cmd.Context(), source, o.files); err != nil {
			return err
		}
	}
	client, namespace, err := o.client(cmd)
	if err != nil {
		return err
	}
	options.Namespace = namespace
	s := live.NewStatus(client, options)
	printer := live.NewPrinter(cmd.OutOrStdout(), o.format)
	o.wait = o.wait || o.recheck
	err = s.Await(cmd.Context(), live.Waiting{Wait: o.wait, Watch: o.watch, Recheck: o.recheck, Yes: o.yes, Timeout: o.timeout}, talk(cmd, o.yes), printer)
	if err == nil {
		err = s.Finish(cmd.Context())
	}
	if err != nil {
		return err
	}
	return o.result(cmd, s, printer)
}

// result prints all, and is the verdict.
func (o *statusOptions) result(cmd *cobra.Command, s *live.Status, printer *live.Printer) error {
	pairs, findings := s.Pairs(), s.Findings()
	var err error
	switch {
	case (o.format == "json" || o.format == "yaml") && !o.watch:
		err = live.Write(cmd.OutOrStdout(), o.format, pairs, findings)
	case o.format == "json":
		err = printer.Pairs(pairs)
	case len(pairs) == 0:
		in := ""
		if s.Namespace() != "" {
			in = " in " + s.Namespace() + " namespace"
		}
		say(cmd.ErrOrStderr(), "No resources found%s.\n", in)
		if o.wait {
			return &exitError{code: exitFindings}
		}
	default:
		if err = printer.Pairs(pairs); err == nil {
			return printFindings(cmd, findings)
		}
	}
	if err != nil {
		return err
	}
	if report.HasErrors(findings) || o.wait && !s.Ready() {
		return &exitError{code: exitFindings}
	}
	return nil
}

// completeNames completes the names of pairs, if the cluster answers at once.
func (o *statusOptions) completeNames(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	client, namespace, err := o.client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return live.Names(ctx, client, namespace, args), cobra.ShellCompDirectiveNoFileComp
}
