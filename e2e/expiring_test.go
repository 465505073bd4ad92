package e2e

import (
	"bytes"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-ical"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// TestExpiringFormats gives what clusterpair expiring prints to those who read
// it, names that need an escape included.
func TestExpiringFormats(t *testing.T) {
	dir := t.TempDir()
	file := strings.Repeat("très-", 12) + `"quoted", back\slash; new` + "\nline.yaml"
	pair := `{"kind": "ClusterPair", "metadata": {"name": "west", "namespace": "a\"b", "annotations": {"clusterpair.dev/credential-expires": "2030-01-02T03:04:05+01:00"}}}`
	other := strings.Replace(pair, "west", "east", 1)
	unknown := `{"kind": "ClusterPair", "metadata": {"name": "south", "namespace": "a", "annotations": {"clusterpair.dev/credential-expires": "unknown", "clusterpair.dev/credential-kind": "openshift-token"}}}`
	never := `{"kind": "ClusterPair", "metadata": {"name": "north", "namespace": "a", "annotations": {"clusterpair.dev/credential-expires": "never"}}}`
	if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.Join([]string{pair, pair, other, unknown, never}, "\n---\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	expiring := func(format string) []byte {
		cmd := exec.Command(filepath.Join(built, "clusterpair"), "expiring", "-o", format)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	end := time.Date(2030, 1, 2, 2, 4, 5, 0, time.UTC)

	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(expiring("prometheus")))
	if err != nil {
		t.Fatal(err)
	}
	metrics := families["clusterpair_credential_expires_timestamp_seconds"].GetMetric()
	if len(metrics) != 3 || !math.IsInf(metrics[2].GetGauge().GetValue(), 1) {
		t.Fatalf("%d metrics: %v", len(metrics), metrics)
	}
	known := families["clusterpair_credential_expires_known"].GetMetric()
	for i, want := range []float64{1, 1, 0, 1} {
		if len(known) != 4 || known[i].GetGauge().GetValue() != want {
			t.Errorf("known: %v", known)
		}
	}
	labels := make(map[string]string)
	for _, l := range metrics[0].GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	if labels["name"] != "east" || labels["namespace"] != `a"b` || labels["file"] != strings.ReplaceAll(file, "\n", `\n`) || metrics[0].GetGauge().GetValue() != float64(end.Unix()) {
		t.Errorf("%v %v", labels, metrics[0].GetGauge())
	}

	text := expiring("ics")
	for line := range strings.SplitSeq(string(text), "\r\n") {
		if len(line) > 75 || strings.ContainsAny(line, "\r\n") {
			t.Errorf("no content line: %q", line)
		}
	}
	calendar, err := ical.NewDecoder(bytes.NewReader(text)).Decode()
	if err != nil {
		t.Fatal(err)
	}
	if err := ical.NewEncoder(new(bytes.Buffer)).Encode(calendar); err != nil { // it checks what must be there
		t.Error(err)
	}
	events := calendar.Events()
	if len(events) != 3 {
		t.Fatalf("%d events", len(events))
	}
	start, err := events[0].DateTimeStart(time.UTC)
	if err != nil || !start.Equal(end) {
		t.Errorf("%v, %v", start, err)
	}
	summary, err := events[1].Props.Text(ical.PropSummary)
	if want := `Credential of ClusterPair a"b/west ends`; err != nil || summary != want {
		t.Errorf("%q, %v", summary, err)
	}
	if day, err := events[2].DateTimeStart(time.UTC); err != nil || time.Since(day).Abs() > 48*time.Hour {
		t.Errorf("the day of an unknown end: %v, %v", day, err)
	}
	description, err := events[0].Props.Text(ical.PropDescription)
	if err != nil || !strings.HasPrefix(description, strconv.Quote(file)+"\n") {
		t.Errorf("%q, %v", description, err)
	}
	if again := expiring("ics"); uids(again) != uids(text) || uids(text) == "" {
		t.Errorf("%s\n%s", uids(text), uids(again))
	}
}

// uids are the lines of a calendar that name its events.
func uids(text []byte) string {
	var found []string
	for line := range strings.SplitSeq(string(text), "\r\n") {
		if strings.HasPrefix(line, "UID:") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "\n")
}
