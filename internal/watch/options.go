package watch

import (
	"errors"
	"io"
	"log/slog"
	"time"

	"clusterpair.dev/internal/report"
)

// What holds if nobody says otherwise.
const (
	Interval = 5 * time.Minute
	Timeout  = 10 * time.Second
	AtOnce   = 32
)

// Help is what the command says of itself.
const Help = `watch asks every few minutes what preflight asks: each destination, with the
credential of its pairs. It tells what is true beside what Stork says, which goes on
saying Ready when a credential is revoked:

  - metrics for Prometheus, on /metrics
  - an Event on the ClusterPair when its truth changes; nothing is written to the pair
  - a log, in JSON

Pairs that hold one credential are asked for together. A destination that hangs or
answers garbage does not stop the others. No credential is told, and no address of a
server without --servers.

It runs in the source cluster, one process for each. With --once it asks once, as for
a CronJob.`

// Check tells whether the options can be. insecure says that the certificate of the source
// cluster is not to be verified.
func (o *Options) Check(insecure bool) error {
	switch {
	case o.Interval < time.Second:
		return report.Usage(report.WithHint(errors.New("--interval is to be a second or more"), "as in 5m"))
	case o.Timeout <= 0:
		return report.Usage(report.WithHint(errors.New("--timeout is to be more than nothing"), "as in 10s"))
	case o.AtOnce < 1:
		return report.Usage(report.WithHint(errors.New("--at-once is to be one or more"), "as in 32"))
	case insecure:
		return report.Usage(report.WithHint(errors.New("--insecure-skip-tls-verify: the pairs of the source cluster are credentials"), "name its CA with --certificate-authority FILE"))
	}
	return nil
}

// Logger writes a line of JSON for each thing that is told.
func Logger(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }
