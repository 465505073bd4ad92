package watch

import (
	_ "embed"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	sigsyaml "sigs.k8s.io/yaml"

	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/project"
	"clusterpair.dev/internal/report"
)

//go:embed manifests.yaml
var manifests string

// Formats are what [Write] writes: the manifests of the process, alerts for the operator of
// Prometheus, a dashboard for Grafana.
var Formats = []string{"yaml", "alerts", "dashboard"}

// Image is the container image that runs if nobody names another.
var Image = project.Image() + ":" + project.Version()

// Namespace is where the process runs if nobody names another.
const Namespace = "clusterpair-watch"

var namespaceName = pattern.Later(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// imageName is what a container runtime takes as an image: a host, a path, a tag, a digest.
// https://github.com/distribution/reference/blob/v0.6.0/reference.go#L4
var imageName = pattern.Later(`^([A-Za-z0-9.-]+(:[0-9]+)?/)?[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$`)

// Write writes one of [Formats].
func Write(w io.Writer, format, namespace, image string) error {
	if !imageName().MatchString(image) {
		return report.Usage(report.WithHint(errors.New("--image is no name of an image"), "as in --image registry.example.com/clusterpair:v1"))
	}
	if !namespaceName().MatchString(namespace) {
		return report.Usage(report.WithHint(errors.New("--namespace is no name of a namespace"), "as in -n "+Namespace))
	}
	var text []byte
	var err error
	switch format {
	case "alerts":
		for i, object := range []object{podMonitor(namespace), prometheusRule(namespace)} {
			document, err := sigsyaml.Marshal(object)
			if err != nil {
				return err
			}
			if i > 0 {
				text = append(text, "---\n"...)
			}
			text = append(text, document...)
		}
	case "dashboard":
		text, err = report.JSON(dashboard(), "  ")
	default:
		text = []byte(strings.NewReplacer("NAMESPACE", namespace, "IMAGE", image).Replace(manifests))
	}
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

type object = map[string]any

// told are the rules that the process can find broken.
func told() []report.Rule {
	var rules []report.Rule
	for _, r := range report.Rules() {
		compares := r.ID == "pair-missing" || r.ID == "credential-drift" // with Git
		also := []string{"context-broken", "credential-end-unknown", "self-pair", "tls-skipped"}
		if !compares && (r.Needs == report.Live || r.Verdict != "" || slices.Contains(also, r.ID)) {
			rules = append(rules, r)
		}
	}
	return rules
}

func podMonitor(namespace string) object {
	return object{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor",
		"metadata": object{"name": "clusterpair-watch", "namespace": namespace},
		"spec": object{
			"selector":            object{"matchLabels": object{"app.kubernetes.io/name": "clusterpair-watch"}},
			"podMetricsEndpoints": []any{object{"port": "metrics", "interval": "1m", "honorLabels": true}}, // namespace is that of the pair
		},
	}
}

// prometheusRule has an alert for each rule of the catalogue that the process can tell of.
func prometheusRule(namespace string) object {
	const pair = "{{ $labels.namespace }}/{{ $labels.name }}"
	alert := func(name, expr string, patience time.Duration, severity, summary, description, url string) object {
		a := object{"alert": name, "expr": expr, "labels": object{"severity": severity}, "annotations": object{"summary": summary, "description": description, "runbook_url": url}}
		if patience > 0 {
			a["for"] = fmt.Sprintf("%dm", patience/time.Minute)
		}
		return a
	}
	page := project.Page("docs/watch.md")
	alerts := []any{
		alert("ClusterPairReadyInVain", `clusterpair_up == 0 and on (namespace, name) clusterpair_stork_status{scheduler="Ready"} == 1`, 0, "critical",
			"ClusterPair "+pair+" does not work, and Stork says Ready", "A migration or a failover over this pair fails. Stork looks at a pair until it is Ready, and never again.", page),
		alert("ClusterPairStorkStalled", `clusterpair_stork_stalled == 1`, 0, "critical",
			"ClusterPair "+pair+" stalls Stork", "Stork cannot decode this pair: as long as it is there Stork looks at none of the cluster, and exits at its next start. Mend it, or delete it without its finalizer.", page),
		alert("ClusterPairWatchSilent", `time() - clusterpair_last_round_timestamp_seconds > 1800 or absent(clusterpair_last_round_timestamp_seconds)`, 15*time.Minute, "warning",
			"nobody watches the ClusterPairs", "The process does not run, or cannot read the pairs of the source cluster: see its log.", page),
	}
	for _, r := range told() {
		patience := time.Duration(0)
		switch r.ID {
		case "unreachable", "pair-not-ready", "pair-stuck", "pair-stale": // may be over in a moment
			patience = 10 * time.Minute
		}
		alerts = append(alerts, alert("ClusterPair"+reasonOf(r.ID), fmt.Sprintf(`clusterpair_rule_broken{rule=%q} == 1`, r.ID), patience,
			`{{ if eq $labels.severity "error" }}critical{{ else }}warning{{ end }}`,
			"ClusterPair "+pair+": "+report.Plain(r.Title), report.Plain(r.Consequence+" "+r.Fix), r.URL()))
	}
	return object{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": object{"name": "clusterpair-watch", "namespace": namespace},
		"spec":     object{"groups": []any{object{"name": "clusterpair", "rules": alerts}}},
	}
}
