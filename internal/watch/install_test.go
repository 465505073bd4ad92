package watch

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	sigsyaml "sigs.k8s.io/yaml"

	"clusterpair.dev/internal/report"
)

func written(t *testing.T, format, namespace, image string) string {
	t.Helper()
	var out strings.Builder
	if err := Write(&out, format, namespace, image); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestManifests: the namespace and the image stand where they belong, and nothing may read
// more than it has to.
func TestManifests(t *testing.T) {
	text := written(t, "yaml", "dr", "registry.example.com/cp:v1")
	kinds := ""
	for document := range strings.SplitSeq(text, "\n---\n") {
		var o struct {
			Kind     string
			Metadata struct{ Namespace string }
			Rules    []struct{ APIGroups, Resources, Verbs []string }
		}
		if err := sigsyaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		kinds += o.Kind + " "
		if o.Metadata.Namespace != "dr" && o.Kind != "Namespace" && !strings.HasPrefix(o.Kind, "ClusterRole") {
			t.Errorf("%s is in namespace %q", o.Kind, o.Metadata.Namespace)
		}
		for _, rule := range o.Rules {
			for _, verb := range rule.Verbs {
				if rule.Resources[0] == "clusterpairs" && verb != "list" || verb == "*" || verb == "delete" {
					t.Errorf("it may %s %s", verb, rule.Resources)
				}
			}
		}
	}
	if kinds != "Namespace ServiceAccount ClusterRole ClusterRoleBinding Deployment NetworkPolicy " || !strings.Contains(text, "image: \"registry.example.com/cp:v1\"\n") || strings.Contains(text, "NAMESPACE") {
		t.Errorf("%s\n%s", kinds, text)
	}
	for _, bad := range [][2]string{{"dr", ""}, {"dr", "a b"}, {"dr", "a\nb"}, {"dr", `a"`}, {"D R", "a"}, {"", "a"}, {"a\n", "a"},
		{"dr", "@a"}, {"dr", "`a"}, {"dr", ":"}, {"dr", "-"}, {"dr", "~"}, {"dr", "UPPER:v1"}, {"dr", "a/b:c:d"}, {"dr", "http://a/b"}, {"dr", `a\b`}, {"dr", "a@sha256:12"}} {
		if Write(new(strings.Builder), "yaml", bad[0], bad[1]) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

// TestNamesAreText: names that YAML could read as a number or a truth stay text. The namespace may be
// one that is there, whose own pods a label would judge: it gets none.
func TestNamesAreText(t *testing.T) {
	for _, name := range []string{"5", "true", "null", "1e5", "on"} {
		for document := range strings.SplitSeq(written(t, "yaml", name, name), "\n---\n") {
			var o struct {
				Kind     string
				Metadata struct {
					Name, Namespace any
					Labels          map[string]string
				}
				Subjects []struct{ Namespace any }
				Spec     struct {
					Template struct {
						Spec struct{ Containers []struct{ Image any } }
					}
				}
			}
			if err := sigsyaml.Unmarshal([]byte(document), &o); err != nil {
				t.Fatal(err)
			}
			at := []any{o.Metadata.Namespace}
			switch o.Kind {
			case "Namespace":
				at = []any{o.Metadata.Name}
				if len(o.Metadata.Labels) > 0 {
					t.Errorf("the namespace gets %v", o.Metadata.Labels)
				}
			case "ClusterRole":
				continue
			case "ClusterRoleBinding":
				at = []any{o.Subjects[0].Namespace}
			case "Deployment":
				at = append(at, o.Spec.Template.Spec.Containers[0].Image)
			}
			for _, got := range at {
				if got != name {
					t.Errorf("%s: %v, not %q", o.Kind, got, name)
				}
			}
		}
	}
	for _, image := range []string{"a", "localhost:5000/a", "registry.example.com/Team/a:v1", "ghcr.io/org/a_b/c--d:v1.2@sha256:" + strings.Repeat("0a", 32)} {
		if strings.Contains(image, "Team") == (Write(new(strings.Builder), "yaml", "dr", image) == nil) {
			t.Errorf("%s", image)
		}
	}
	if Write(new(strings.Builder), "yaml", Namespace, Image) != nil {
		t.Errorf("the default %s is refused", Image)
	}
}

// TestAlerts: each rule that the process can tell of has an alert with the words of the
// catalogue, and each metric of an expression is one that there is.
func TestAlerts(t *testing.T) {
	text := written(t, "alerts", "dr", "a")
	_, rule, _ := strings.Cut(text, "\n---\n")
	var o struct {
		Spec struct {
			Groups []struct {
				Rules []struct {
					Alert, Expr         string
					Labels, Annotations map[string]string
				}
			}
		}
	}
	if err := sigsyaml.Unmarshal([]byte(rule), &o); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"clusterpair_check_duration_seconds_bucket": true, "clusterpair_last_round_timestamp_seconds": true}
	for _, m := range metrics {
		known[m.name] = true
	}
	alerts := make(map[string]bool)
	for _, r := range o.Spec.Groups[0].Rules {
		alerts[r.Alert] = true
		if r.Expr == "" || r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" || r.Annotations["runbook_url"] == "" {
			t.Errorf("%+v lacks something", r)
		}
	}
	for _, id := range []string{"unauthorized", "unreachable", "credential-expired", "credential-expiring", "missing-permission", "pair-stuck", "tls-mismatch", "still-encrypted", "pair-stale"} {
		if r, ok := report.RuleOf(id); !ok || !alerts["ClusterPair"+reasonOf(id)] || !strings.Contains(text, r.URL()) {
			t.Errorf("no alert for %s", id)
		}
	}
	board := written(t, "dashboard", "dr", "a")
	if !json.Valid([]byte(board)) || !strings.Contains(board, "the destination does not accept the credential") {
		t.Errorf("dashboard:\n%s", board)
	}
	for _, name := range regexp.MustCompile(`clusterpair_[a-z_]+`).FindAllString(rule+board, -1) {
		if !known[name] {
			t.Errorf("there is no metric %s", name)
		}
	}
}
