package main

import (
	"cmp"
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/expiring"
	"clusterpair.dev/internal/pace"
)

// expiringOptions are the flags of clusterpair expiring.
type expiringOptions struct {
	formatFlag
	within  days
	unknown bool
}

func newExpiringCommand() *cobra.Command {
	o := new(expiringOptions)
	cmd := &cobra.Command{
		Use:   "expiring [PATH...]",
		Short: "Tell when the credentials of committed ClusterPairs end",
		Long: `expiring reads ClusterPairs as they are committed, encrypted or not, and tells
when the credential of each ends, the soonest first. generate has written the end
in clear beside the ciphertext, so that it takes no key and no cluster. Without
PATH expiring reads all files below the working directory.

Some tokens do not say when they end: the end of a login token of OpenShift or
Rancher is unknown, and the end of the CA tells nothing about it. never stands for
a token that says that it has no end.

With --within it shows only the credentials that have ended or end within that
time, and exits 1 if there is any. It also says for how many the end is unknown;
with --unknown it shows these, too, and exits 1 if there is any or a pair cannot be
read. -o ics is a calendar to subscribe to, -o prometheus is for the textfile
collector of the node exporter.`,
		Example: `  clusterpair expiring
  clusterpair expiring --within 30d clusters/
  clusterpair expiring --within 30d --unknown
  clusterpair expiring -o ics > pairs.ics
  clusterpair expiring -o prometheus > /var/lib/node_exporter/clusterpair.prom`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.Var(&o.within, "within", "show what ends within this time, such as 30d, and exit 1 if there is any")
	flags.BoolVar(&o.unknown, "unknown", false, "show what may end at any time, as nothing tells when, and exit 1 if there is any")
	o.addFormat(cmd, "table", expiring.Formats())
	return cmd
}

func (o *expiringOptions) run(cmd *cobra.Command, args []string) error {
	defer pace.Steady(16<<20, 35, 0).End()
	if err := o.checkFormat(); err != nil {
		return err
	}
	now := time.Now()
	horizon, until := now.Add(30*24*time.Hour), time.Time{}
	if o.within.typed != "" {
		horizon, until = now.Add(o.within.Duration), now.Add(o.within.Duration)
	}
	source, err := workTree(cmd)
	if err != nil {
		return err
	}
	all, findings, err := expiring.Read(cmd.Context(), source, args)
	if err = cmp.Or(err, printFindings(cmd, findings)); err != nil {
		return err
	}
	ends, hidden := all, 0
	asked := o.within.typed != "" || o.unknown
	if asked {
		ends, hidden = expiring.Select(all, until, o.unknown)
	}
	if err := expiring.Write(cmd.OutOrStdout(), o.format, ends, now, horizon); err != nil {
		return err
	}
	if o.format == "table" && len(ends) == 0 {
		say(cmd.ErrOrStderr(), "%s\n", expiring.Nothing(len(all), hidden, o.within.typed))
	}
	if hidden > 0 {
		say(cmd.ErrOrStderr(), "unknown: %d more may end by then, as nothing tells when; --unknown shows them\n", hidden)
	}
	if asked && len(ends) > 0 || o.unknown && len(findings) > 0 { // what cannot be read is unknown
		return &exitError{code: exitFindings}
	}
	return nil
}
