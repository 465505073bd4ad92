package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestStatusOfThousands measures status beside kubectl, each three times in
// turn, of 500 and of 5,000 pairs: it takes at most twice as long, and no more
// memory for more pairs. -v prints the table.
func TestStatusOfThousands(t *testing.T) {
	c, err := startCluster("many", "many.test", built, tools)
	t.Cleanup(c.stop)
	if err != nil {
		t.Fatal(err)
	}
	created := 0
	create := func(total int) {
		var posts errgroup.Group
		posts.SetLimit(32)
		for ; created < total; created++ {
			n := created
			posts.Go(func() error {
				return c.request(http.MethodPost, "/apis/stork.libopenstorage.org/v1alpha1/namespaces/default/clusterpairs", largePair(n))
			})
		}
		if err := posts.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	status := []string{filepath.Join(built, "clusterpair"), "status", "-A"}
	kubectl := []string{filepath.Join(tools, "kubectl"), "get", "clusterpair", "-A", "-o", "json"}
	var few usage
	for _, total := range []int{500, 5000} {
		create(total)
		var ours, theirs usage
		for range 3 {
			ours = ours.least(run(t, c, status...))
			theirs = theirs.least(run(t, c, kubectl...))
		}
		t.Logf("%5d pairs   clusterpair status %v   kubectl get -o json %v", total, ours, theirs)
		if ours.wall > 2*theirs.wall || ours.cpu > 2*theirs.cpu {
			t.Errorf("%d pairs: status takes %v, kubectl %v", total, ours, theirs)
		}
		if few.peak > 0 && ours.peak > few.peak+few.peak/4 {
			t.Errorf("the peak grows from %d KiB with 500 pairs to %d KiB with %d", few.peak, ours.peak, total)
		}
		few = ours
	}
}

// largePair is a pair of the usual size, 6 KB.
func largePair(n int) string {
	noise := make([]byte, 3000)
	_, _ = rand.Read(noise) // never fails
	return fmt.Sprintf(`
apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata: {name: pair-%04d, annotations: {clusterpair.dev/credential-expires: "2999-01-01T00:00:00Z"}}
spec:
  config:
    clusters: {west: {server: "https://west.test:6443", certificate-authority-data: %s}}
    contexts: {west: {cluster: west, user: stork}}
    current-context: west
    users: {stork: {token: %s}}
  options: {}
status: {schedulerStatus: Ready, storageStatus: NotProvided, remoteStorageId: ""}
`, n, base64.StdEncoding.EncodeToString(noise[:2000]), base64.RawURLEncoding.EncodeToString(noise[2000:]))
}

// usage is what a process has taken.
type usage struct {
	wall, cpu time.Duration
	peak      int64 // KiB
}

func (u usage) String() string {
	return fmt.Sprintf("%.2f s, CPU %.2f s, peak %d MiB", u.wall.Seconds(), u.cpu.Seconds(), u.peak>>10)
}

// least is the less of two in time and the greater in memory; u may be zero.
func (u usage) least(v usage) usage {
	if u.wall == 0 {
		return v
	}
	return usage{min(u.wall, v.wall), min(u.cpu, v.cpu), max(u.peak, v.peak)}
}

func run(t *testing.T, c *cluster, args ...string) usage {
	t.Helper()
	out, err := os.Create(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), "KUBECONFIG="+c.admin), out, os.Stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	wall := time.Since(start)
	return usage{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss}
}
