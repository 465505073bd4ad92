package prometheus

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDashboard gives a Prometheus what watch tells of two pairs, one of which its destination
// refuses while Stork says Ready: each panel of the dashboard has something to show.
func TestDashboard(t *testing.T) {
	dir := t.TempDir()
	printed, err := exec.Command("go", "run", "-C", "../..", "./cmd/clusterpair", "install", "--watch", "-o", "dashboard").Output()
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(printed, &dashboard); err != nil {
		t.Fatal(err)
	}
	ask := prometheusWith(t, dir, samples(time.Now()))
	targets := 0
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			targets++
			if series := ask(target.Expr); series == 0 {
				t.Errorf("%s: nothing for %s", panel.Title, target.Expr)
			}
		}
	}
	if targets < 9 {
		t.Errorf("%d targets", targets)
	}
}

// samples are the metrics of half an hour, as text of OpenMetrics.
func samples(now time.Time) string {
	var all strings.Builder
	for name, value := range map[string]string{
		`clusterpair_up{namespace="shop",name="west"}`:                                                    "0",
		`clusterpair_up{namespace="shop",name="north"}`:                                                   "1",
		`clusterpair_stork_status{namespace="shop",name="west",scheduler="Ready",storage="NotProvided"}`:  "1",
		`clusterpair_stork_status{namespace="shop",name="north",scheduler="Ready",storage="NotProvided"}`: "1",
		`clusterpair_stork_stalled{namespace="shop",name="west"}`:                                         "0",
		`clusterpair_rule_broken{namespace="shop",name="west",rule="unauthorized",severity="error"}`:      "1",
		`clusterpair_credential_expires_seconds{namespace="shop",name="west"}`:                            fmt.Sprint(now.AddDate(0, 0, 9).Unix()),
		`clusterpair_permissions_missing{namespace="shop",name="west"}`:                                   "3",
		`clusterpair_check_duration_seconds_bucket{le="0.1"}`:                                             "growing",
		`clusterpair_check_duration_seconds_bucket{le="+Inf"}`:                                            "growing",
	} {
		for ago := 30 * time.Minute; ago >= 0; ago -= 30 * time.Second {
			v := value
			if v == "growing" {
				v = fmt.Sprint(100 - int(ago/time.Minute))
			}
			fmt.Fprintf(&all, "%s %s %d\n", name, v, now.Add(-ago).Unix())
		}
	}
	return all.String() + "# EOF\n"
}

// prometheusWith starts a Prometheus that knows the samples. What it returns tells how many series
// an expression has there.
func prometheusWith(t *testing.T, dir, samples string) func(expression string) int {
	t.Helper()
	for name, text := range map[string]string{"samples.txt": samples, "prometheus.yaml": "global: {}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("promtool", "tsdb", "create-blocks-from", "openmetrics", filepath.Join(dir, "samples.txt"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		r, err := http.Get("http://" + address + "/-/ready")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("Prometheus does not get ready")
		}
	}
	return func(expression string) int {
		r, err := http.Get("http://" + address + "/api/v1/query?query=" + url.QueryEscape(expression))
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		var answer struct {
			Status, Error string
			Data          struct{ Result []any }
		}
		if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || answer.Status != "success" {
			t.Errorf("%s: %s %v", expression, answer.Error, err)
		}
		return len(answer.Data.Result)
	}
}
