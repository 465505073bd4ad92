package watch

import (
	"bufio"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"
)

// Metrics are made here as client_golang's Gatherer gives them, and written by the library
// that client_golang writes them by. Its registry and its collectors of a process are left
// out: every command of clusterpair would start 0.6 ms later, of 5.

// metric is a family of samples, of which each pair has some.
type metric struct {
	name, help string
	// of gives the samples of a pair: labels beside its name, and the value.
	of func(t *truth, sample func(value float64, labels ...*dto.LabelPair))
}

// metrics are those of pairs. Names stay: alerts and dashboards have them.
var metrics = []metric{
	{"clusterpair_up", "Whether the destination takes the credential of the pair: 1 if it does, 0 if not.", func(t *truth, sample func(float64, ...*dto.LabelPair)) {
		if t.asked {
			sample(number(t.up))
		}
	}},
	{"clusterpair_credential_expires_seconds", "When the credential of the pair or its CA ends, in seconds since 1970.", func(t *truth, sample func(float64, ...*dto.LabelPair)) {
		if !t.ends.IsZero() {
			sample(float64(t.ends.Unix()))
		}
	}},
	{"clusterpair_permissions_missing", "How many permissions of a migration the credential of the pair lacks.", func(t *truth, sample func(float64, ...*dto.LabelPair)) {
		if t.up {
			sample(float64(t.missing))
		}
	}},
	{"clusterpair_stork_status", "What Stork says of the pair, as labels; always 1.", func(t *truth, sample func(float64, ...*dto.LabelPair)) {
		sample(1, label("scheduler", status(t.pair.SchedulerStatus)), label("storage", status(t.pair.StorageStatus)))
	}},
	{"clusterpair_stork_stalled", "Whether Stork cannot decode the pair, which stalls all pairs of the cluster.", func(t *truth, sample func(float64, ...*dto.LabelPair)) {
		sample(number(t.pair.Undecodable))
	}},
	{"clusterpair_rule_broken", "A rule that the pair breaks, as labels; always 1. The command rules explains it.", func(t *truth, sample func(float64, ...*dto.LabelPair)) {
		for _, f := range t.broken {
			sample(1, label("rule", f.Rule), label("severity", f.Severity.String()))
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

func label(name, value string) *dto.LabelPair {
	return &dto.LabelPair{Name: proto.String(name), Value: proto.String(strings.ToValidUTF8(value, "?"))}
}

// Gather gives what is known, in the order in which it is written. With it a Watcher is a
// Gatherer of client_golang. The error is always nil.
func (w *Watcher) Gather() ([]*dto.MetricFamily, error) {
	w.mu.Lock()
	truths := maps.Clone(w.truths) // each is never changed
	took, complete := w.took, w.complete
	w.mu.Unlock()
	var families []*dto.MetricFamily
	add := func(name, help string, kind dto.MetricType, metrics ...*dto.Metric) {
		if len(metrics) > 0 {
			families = append(families, &dto.MetricFamily{Name: &name, Help: &help, Type: &kind, Metric: metrics})
		}
	}
	ids := slices.Sorted(maps.Keys(truths))
	for _, m := range metrics {
		var samples []*dto.Metric
		for _, id := range ids {
			t := truths[id]
			m.of(t, func(value float64, labels ...*dto.LabelPair) {
				labels = append([]*dto.LabelPair{label("namespace", t.pair.Namespace), label("name", t.pair.Name)}, labels...)
				if w.options.Servers && t.server != "" {
					labels = append(labels, label("server", t.server))
				}
				samples = append(samples, &dto.Metric{Label: labels, Gauge: &dto.Gauge{Value: &value}})
			})
		}
		add(m.name, m.help, dto.MetricType_GAUGE, samples...)
	}
	add("clusterpair_check_duration_seconds", "How long all checks of one destination took.", dto.MetricType_HISTOGRAM, &dto.Metric{Histogram: took.metric()})
	if !complete.IsZero() {
		add("clusterpair_last_round_timestamp_seconds", "When the pairs of the source cluster were last read, in seconds since 1970.", dto.MetricType_GAUGE,
			&dto.Metric{Gauge: &dto.Gauge{Value: proto.Float64(float64(complete.Unix()))}})
	}
	return families, nil
}

// Metrics writes what is known in a format of Prometheus.
func (w *Watcher) Metrics(out io.Writer, format expfmt.Format) error {
	families, err := w.Gather()
	if err != nil {
		return err
	}
	b := bufio.NewWriter(out)
	encoder := expfmt.NewEncoder(b, format)
	for _, f := range families {
		if err := encoder.Encode(f); err != nil {
			return err
		}
	}
	return b.Flush()
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

func (h *histogram) metric() *dto.Histogram {
	m := &dto.Histogram{SampleSum: proto.Float64(h.sum)}
	total := uint64(0)
	for i, n := range h.counts {
		total += n
		if i < len(bounds) {
			m.Bucket = append(m.Bucket, &dto.Bucket{UpperBound: &bounds[i], CumulativeCount: proto.Uint64(total)})
		}
	}
	m.SampleCount = &total
	return m
}
