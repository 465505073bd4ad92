package e2e

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"clusterpair.dev/e2e/guard"
)

// TestGuard has a real API server judge, behind the policies, each pair of Stork's oracle and each
// mutant: it takes what each Stork decodes, and nothing else. Only the names are ours: an API server
// judges those by itself.
func TestGuard(t *testing.T) {
	verdicts, err := guard.Verdicts(filepath.Join(t.TempDir(), "verdicts.json"), "..")
	if err != nil {
		t.Fatal(err)
	}
	c, err := startCluster("guarded", "guarded.test", built, tools)
	t.Cleanup(c.stop)
	if err != nil {
		t.Fatal(err)
	}
	policies, err := exec.Command(filepath.Join(built, "clusterpair"), "schema", "-o", "admission").Output()
	if err != nil {
		t.Fatal(err)
	}
	apply := exec.Command(filepath.Join(tools, "kubectl"), "--kubeconfig", c.admin, "apply", "--server-side", "-f", "-")
	apply.Stdin = strings.NewReader(string(policies))
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// The API server compiles the policies in a moment.
	for deadline := time.Now().Add(30 * time.Second); !refused(c, map[string]any{"spec": map[string]any{"options": 1}}, t); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the policies refuse nothing")
		}
	}
	var taken, denied atomic.Int32
	var posts errgroup.Group
	posts.SetLimit(16)
	for _, v := range verdicts {
		posts.Go(func() error {
			pair, err := guard.Object(v.Text)
			if err != nil {
				return err
			}
			switch got := refused(c, pair, t); {
			case !got && v.Undecoded != "", got && v.Undecoded == "" && !guard.MayRefuse(pair):
				t.Errorf("refused: %t; Stork says %q of\n%s", got, v.Undecoded, v.Text)
			case got:
				denied.Add(1)
			default:
				taken.Add(1)
			}
			return nil
		})
	}
	if err := posts.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs are taken, %d refused", taken.Load(), denied.Load())
	if taken.Load() < 500 || denied.Load() < 500 {
		t.Errorf("%d pairs are taken, %d refused", taken.Load(), denied.Load())
	}
}

// refused tells whether the policies refuse the pair, under a name of ours.
func refused(c *cluster, pair map[string]any, t *testing.T) bool {
	named := map[string]any{"apiVersion": "stork.libopenstorage.org/v1alpha1", "kind": "ClusterPair", "metadata": map[string]any{"name": "west", "namespace": "default"}}
	for field, value := range pair {
		if named[field] == nil {
			named[field] = value
		}
	}
	text, err := json.Marshal(named)
	if err != nil {
		t.Error(err)
	}
	err = c.request(http.MethodPost, "/apis/stork.libopenstorage.org/v1alpha1/namespaces/default/clusterpairs?dryRun=All", strings.ReplaceAll(string(text), "\x7f", `\u007f`)) // as YAML, which has no such letter
	if err != nil && !strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'clusterpair-decodes' with binding") {
		t.Errorf("%v, of %s", err, text)
	}
	return err != nil
}
