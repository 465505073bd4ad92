package watch

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Metrics are written here, and not by Prometheus' client_golang: its packages take longer
// to initialise than a short-lived command of clusterpair has to give away.

// metric is a family of samples, of which each pair has some.
type metric struct {
	name, help string
	// of gives the samples of a pair: labels beside its name, and the value.
	of func(t *truth, sample func(labels string, value float64))
}

// metrics are those of pairs. Names stay: alerts and dashboards have them.
var metrics = []metric{
	{"clusterpair_up", "Whether the destination takes the credential of the pair: 1 if it does, 0 if not.", func(t *truth, sample func(string, float64)) {
		if t.asked {
			sample("", number(t.up))
		}
	}},
	{"clusterpair_credential_expires_seconds", "When the credential of the pair or its CA ends, in seconds since 1970.", func(t *truth, sample func(string, float64)) {
		if !t.ends.IsZero() {
			sample("", float64(t.ends.Unix()))
		}
	}},
	{"clusterpair_permissions_missing", "How many permissions of a migration the credential of the pair lacks.", func(t *truth, sample func(string, float64)) {
		if t.up {
			sample("", float64(t.missing))
		}
	}},
	{"clusterpair_stork_status", "What Stork says of the pair, as labels; always 1.", func(t *truth, sample func(string, float64)) {
		sample(label("scheduler", status(t.pair.SchedulerStatus))+label("storage", status(t.pair.StorageStatus)), 1)
	}},
	{"clusterpair_stork_stalled", "Whether Stork cannot decode the pair, which stalls all pairs of the cluster.", func(t *truth, sample func(string, float64)) {
		sample("", number(t.pair.Undecodable))
	}},
	{"clusterpair_rule_broken", "A rule that the pair breaks, as labels; always 1. The command rules explains it.", func(t *truth, sample func(string, float64)) {
		for _, f := range t.broken {
			sample(label("rule", f.Rule)+label("severity", f.Severity.String()), 1)
		}
	}},
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// status is a status of Stork as a label. A cluster that says other words makes no more
// series of them.
func status(s string) string {
	switch s {
	case "":
		return "none"
	case "Pending", "Ready", "Error", "Degraded", "Deleting", "NotProvided":
		return s
	}
	return "other"
}

// label is a label with the comma before it.
func label(name, value string) string { return "," + name + `="` + escape.Replace(value) + `"` }

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// ContentType is that of what [Watcher.Metrics] writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Metrics writes what is known in the text format of Prometheus.
func (w *Watcher) Metrics(out io.Writer) error {
	w.mu.Lock()
	truths := maps.Clone(w.truths) // each is never changed
	took, complete := w.took, w.complete
	w.mu.Unlock()
	b := bufio.NewWriter(out)
	ids := slices.Sorted(maps.Keys(truths))
	for _, m := range metrics {
		head(b, m.name, m.help, "gauge")
		for _, id := range ids {
			t := truths[id]
			m.of(t, func(labels string, value float64) {
				if w.options.Servers && t.server != "" {
					labels += label("server", strings.ToValidUTF8(t.server, "?"))
				}
				fmt.Fprintf(b, "%s{namespace=\"%s\",name=\"%s\"%s} %s\n", m.name, escape.Replace(t.pair.Namespace), escape.Replace(t.pair.Name), labels, strconv.FormatFloat(value, 'f', -1, 64))
			})
		}
	}
	took.write(b, "clusterpair_check_duration_seconds", "How long all checks of one destination took.")
	head(b, "clusterpair_last_round_timestamp_seconds", "When the pairs of the source cluster were last read, in seconds since 1970.", "gauge")
	if !complete.IsZero() {
		fmt.Fprintf(b, "clusterpair_last_round_timestamp_seconds %d\n", complete.Unix())
	}
	return b.Flush()
}

func head(b *bufio.Writer, name, help, kind string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// bounds are those of the buckets of a histogram, in seconds.
var bounds = [...]float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}

// histogram counts durations.
type histogram struct {
	counts [len(bounds) + 1]uint64
	sum    float64
}

func (h *histogram) add(d time.Duration) {
	s := d.Seconds()
	i, _ := slices.BinarySearch(bounds[:], s)
	h.counts[i]++
	h.sum += s
}

func (h *histogram) write(b *bufio.Writer, name, help string) {
	head(b, name, help, "histogram")
	total := uint64(0)
	for i, n := range h.counts {
		total += n
		bound := "+Inf"
		if i < len(bounds) {
			bound = strconv.FormatFloat(bounds[i], 'f', -1, 64)
		}
		fmt.Fprintf(b, "%s_bucket{le=\"%s\"} %d\n", name, bound, total)
	}
	fmt.Fprintf(b, "%s_sum %s\n%s_count %d\n", name, strconv.FormatFloat(h.sum, 'f', -1, 64), name, total)
}
