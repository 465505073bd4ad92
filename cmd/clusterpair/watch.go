package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/watch"
)

func newWatchCommand() *cobra.Command {
	c, o := clusterFlags{}, watch.Options{}
	var listen string
	var within days
	var once bool
	cmd := &cobra.Command{
		Use: "watch", Short: "Tell all day, as metrics and Events, whether pairs work", Long: watch.Help, Args: cobra.ExactArgs(0),
		Example: `  clusterpair watch
  clusterpair watch --once --context east
  clusterpair watch -n apps --interval 1m --listen 127.0.0.1:8080`}
	flags := cmd.Flags()
	c.addFlags(flags, ofContext)
	flags.DurationVar(&o.Interval, "interval", watch.Interval, "how often each destination is asked")
	flags.DurationVar(&o.Timeout, "timeout", watch.Timeout, "how long all checks of one destination may take")
	flags.IntVar(&o.AtOnce, "at-once", watch.AtOnce, "how many destinations are asked at a time")
	within.addWithin(cmd, "warn of credentials that end within this time")
	flags.StringVar(&listen, "listen", ":8080", "address of /metrics, /healthz and /readyz")
	flags.BoolVar(&o.Servers, "servers", false, "tell the addresses of destinations in metrics, Events and the log, too")
	flags.BoolVar(&o.Events, "events", true, "write Events on the pairs")
	flags.BoolVar(&once, "once", false, "ask once, print the metrics, and exit 1 if a pair does not work")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		o.Within = within.Duration
		if err := o.Check(c.Overrides.ClusterInfo.InsecureSkipTLSVerify); err != nil {
			return err
		}
		client, _, err := c.client(cmd)
		if err != nil {
			return err
		}
		o.Namespace, o.Log = c.Overrides.Context.Namespace, watch.Logger(cmd.ErrOrStderr())
		w := watch.New(client, o)
		if !once {
			return w.Listen(cmd.Context(), listen)
		}
		broken, err := w.Once(cmd.Context(), cmd.OutOrStdout())
		if err == nil && broken > 0 {
			err = &exitError{code: exitFindings}
		}
		return err
	}
	return cmd
}
