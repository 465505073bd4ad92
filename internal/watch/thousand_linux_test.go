//go:build !race

package watch

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/cluster"
)

// TestThousand: 1,000 pairs to 200 destinations take at most 48 MiB. What they take of a core
// at the usual interval is logged. The process that is measured runs beside this one, on
// Linux, as in its container, and without the race detector, which takes several times the
// memory.
func TestThousand(t *testing.T) {
	const pairs, destinations, rounds = 1000, 200, 2
	if kubeconfig := os.Getenv("CLUSTERPAIR_WATCHED"); kubeconfig != "" {
		watched(t, kubeconfig)
		return
	}
	var all []string
	var servers []*destination
	for range destinations {
		servers = append(servers, newDestination(t))
	}
	for i := range pairs {
		d := servers[i%destinations]
		all = append(all, pairTo(d.URL, d.Certificate().Raw, fmt.Sprintf("app-%d", i/destinations), fmt.Sprintf("west-%03d", i%destinations), storkReady))
	}
	s := newSource(t, all...)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c","contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}],"users":[{"name":"c","user":{"token":"source-credential"}}],"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}]}`,
		s.URL, authorityOf(s.Certificate().Raw))
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestThousand$", "-test.count=1")
	cmd.Env = append(os.Environ(), "CLUSTERPAIR_WATCHED="+kubeconfig, fmt.Sprintf("CLUSTERPAIR_ROUNDS=%d", rounds))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var peak int // KiB
	_, line, _ := strings.Cut(string(out), "VmHWM:")
	fmt.Sscan(line, &peak)
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()) / rounds
	share := 100 * cpu.Seconds() / Interval.Seconds()
	t.Logf("%d MiB at most, %s of CPU a round: %.2f %% of a core at %s", peak>>10, cpu.Round(time.Millisecond), share, Interval)
	if peak == 0 || peak > 48<<10 { // the CPU is told and not judged: beside other tests it is more
		t.Errorf("%d KiB", peak)
	}
}

// watched is the process that is measured: it asks some rounds, and answers /metrics after
// each.
func watched(t *testing.T, kubeconfig string) {
	choice := cluster.Choice{Kubeconfig: kubeconfig}
	client, _, findings, err := choice.Client()
	if err != nil || len(findings) > 0 {
		t.Fatal(findings, err)
	}
	pace()
	w := New(client, Options{Interval: Interval, Timeout: Timeout, AtOnce: AtOnce, Within: time.Hour, Events: true, Log: Logger(os.Stderr)})
	rounds, _ := strconv.Atoi(os.Getenv("CLUSTERPAIR_ROUNDS"))
	for range rounds {
		if err := w.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if text := metricsOf(t, w); strings.Count(text, "\nclusterpair_up{") != 1000 || w.Broken() > 0 {
			t.Fatalf("%d pairs are broken\n%s", w.Broken(), text[:2000])
		}
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		if strings.HasPrefix(line, "VmHWM:") || strings.HasPrefix(line, "Rss") {
			fmt.Println(line)
		}
	}
}
