package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRotationKilled kills credential rotate --fleet at random moments. Whatever it has
// come to, the credential of the live pair works, and the run after the last kill leaves
// one token. KILLS says how often, 40 times without it.
func TestRotationKilled(t *testing.T) {
	kills := 40
	if n, err := strconv.Atoi(os.Getenv("KILLS")); err == nil {
		kills = n
	}
	r := newRotated(t)
	random := rand.New(rand.NewPCG(1, 2))
	begin := time.Now()
	_ = r.run("credential", "rotate", "--fleet", ".", "--now", "--yes")
	whole := time.Since(begin) // a run that makes a token and writes it
	started, ended := time.Now(), 0
	for i := 0; i < kills; i++ {
		if random.IntN(4) > 0 { // so that the next run ends a token and makes another
			r.sync()
		}
		if !r.kill(time.Duration(random.Int64N(int64(whole)))) {
			ended++
			i-- // it is another one that counts
		}
		r.works("after a kill", i)
		if random.IntN(4) == 0 { // a run that nobody kills
			_ = r.run("credential", "rotate", "--fleet", ".", "--yes")
			r.works("after a run", i)
		}
	}
	for range 3 { // commit and sync; end what is proven; nothing left to do
		r.sync()
		_ = r.run("credential", "rotate", "--fleet", ".", "--yes")
	}
	if err := r.run("credential", "rotate", "--fleet", ".", "--yes"); err != nil {
		t.Errorf("the rotation does not come to its end: %v", err)
	}
	r.works("at the end", kills)
	if tokens := r.tokens(); len(tokens) != 1 {
		t.Errorf("%d tokens are left: %v", len(tokens), tokens)
	}
	t.Logf("%d kills in %v; %d more runs had ended before; at most %d tokens at a time", kills, time.Since(started).Round(time.Second), ended, r.most)
}

// rotated is a fleet of two clusters, with one pair, in a repository of its own.
type rotated struct {
	t    *testing.T
	dir  string
	env  []string
	pair string // its path
	most int    // tokens at a time
}

const rotatedNamespace = "rotation-killed"

func newRotated(t *testing.T) *rotated {
	fixtures, err := filepath.Abs("../fixtures")
	if err != nil {
		t.Fatal(err)
	}
	r := &rotated{t: t, dir: t.TempDir(), pair: "clusters/source/pairs/" + rotatedNamespace + "/remotecluster.yaml"}
	r.env = append(os.Environ(), "PATH="+built+":"+tools+":"+os.Getenv("PATH"), "HOME="+t.TempDir(), "KUBECONFIG="+filepath.Join(r.dir, "all.kubeconfig"),
		"SOPS_AGE_KEY_FILE="+filepath.Join(fixtures, "keys", "demo.agekey"))
	var config strings.Builder // of both clusters
	config.WriteString("apiVersion: v1\nkind: Config\n")
	for _, part := range []string{"clusters", "contexts", "users"} {
		config.WriteString(part + ":\n")
		for _, c := range []*cluster{source, destination} {
			admin, err := os.ReadFile(c.admin)
			if err != nil {
				t.Fatal(err)
			}
			text := strings.ReplaceAll(strings.ReplaceAll(string(admin), "user: admin", "user: "+c.name), "- name: admin", "- name: "+c.name)
			_, text, _ = strings.Cut(text, "\n"+part+":\n")
			for line := range strings.Lines(text) {
				if line[0] != ' ' && line[0] != '-' {
					break
				}
				config.WriteString(line)
			}
		}
	}
	for name, text := range map[string]string{
		"all.kubeconfig": config.String(),
		".gitignore":     "*.kubeconfig\n",
		".sops.yaml":     "creation_rules:\n- age: age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs\n",
		"fleet.yaml": `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairFleet
metadata: {name: dr}
spec:
  storkVersion: "24.3"
  namespace: ` + rotatedNamespace + `
  files: [secrets/*.yaml]
  directory: clusters/${from}/pairs
  clusters:
  - {name: destination, destination: {secret: {name: west}}}
  - {name: source}
  pairs:
  - {from: source, to: destination, name: remotecluster}
`,
	} {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(r.dir, "secrets"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []*cluster{source, destination} {
		if err := c.request(http.MethodPost, "/api/v1/namespaces", "metadata: {name: "+rotatedNamespace+"}"); err != nil {
			t.Fatal(err)
		}
	}
	r.must("git", "init", "-q", ".")
	r.must("git", "config", "user.name", "e2e")
	r.must("git", "config", "user.email", "e2e@example.com")
	r.must("clusterpair", "credential", "create", "--context", "destination", "-n", rotatedNamespace, "--lifetime", "48h", "-o", "secrets/west.yaml", "--yes")
	r.must("clusterpair", "generate")
	r.sync()
	return r
}

func (r *rotated) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	for _, dir := range []string{built, tools} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			name = filepath.Join(dir, name)
		}
	}
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// must runs a command that is to succeed.
func (r *rotated) must(name string, args ...string) string {
	r.t.Helper()
	out, err := r.command(r.t.Context(), name, args...).Output()
	if err != nil {
		r.t.Fatalf("%s %v: %v", name, args, said(err))
	}
	return string(out)
}

// run runs clusterpair.
func (r *rotated) run(args ...string) error {
	_, err := r.command(r.t.Context(), "clusterpair", args...).Output()
	if err != nil {
		err = said(err)
	}
	return err
}

// kill starts a rotation and kills it after some time, and tells whether it had not ended
// before.
func (r *rotated) kill(after time.Duration) bool {
	ctx, cancel := context.WithTimeout(r.t.Context(), after)
	defer cancel()
	_ = r.command(ctx, "clusterpair", "credential", "rotate", "--fleet", ".", "--now", "--yes").Run()
	return ctx.Err() != nil
}

// sync commits all, as a user does, and applies the pair, as Flux does. A run that was
// killed while it wrote leaves files that the next run puts right; until then the digests
// do not fit, and Flux would not apply them.
func (r *rotated) sync() {
	r.t.Helper()
	if r.run("generate", "--check") != nil {
		_ = r.run("generate")
	}
	r.must("git", "add", "-A")
	_ = r.command(r.t.Context(), "git", "commit", "-qm", "rotate").Run() // there may be nothing to commit
	pair := r.must("clusterpair", "decrypt", r.pair)
	apply := r.command(r.t.Context(), "kubectl", "--context", "source", "apply", "--server-side", "--force-conflicts", "-f", "-")
	apply.Stdin = strings.NewReader(pair)
	if _, err := apply.Output(); err != nil {
		r.t.Fatal(said(err))
	}
}

// tokens are the Secrets of tokens that are on the destination.
func (r *rotated) tokens() (names []string) {
	r.t.Helper()
	var list struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := destination.get("/api/v1/namespaces/"+rotatedNamespace+"/secrets?labelSelector=app.kubernetes.io/managed-by=clusterpair", &list); err != nil {
		r.t.Fatal(err)
	}
	for _, item := range list.Items {
		names = append(names, item.Metadata.Name)
	}
	return names
}

// works checks that the destination has the token of the live pair.
func (r *rotated) works(when string, i int) {
	r.t.Helper()
	var pair struct {
		Metadata struct{ Annotations map[string]string }
	}
	if err := source.get("/apis/stork.libopenstorage.org/v1alpha1/namespaces/"+rotatedNamespace+"/clusterpairs/remotecluster", &pair); err != nil {
		r.t.Fatal(err)
	}
	id := pair.Metadata.Annotations["clusterpair.dev/credential-id"]
	name := strings.TrimPrefix(id, "secret:"+rotatedNamespace+"/")
	tokens := r.tokens()
	if !slices.Contains(tokens, name) {
		r.t.Fatalf("%s (%d): the live pair holds %s, and there are %v", when, i, name, tokens)
	}
	r.most = max(r.most, len(tokens))
	held, err := os.ReadFile(filepath.Join(r.dir, r.pair))
	if err == nil && !bytes.Contains(held, []byte("kind: ClusterPair")) {
		err = fmt.Errorf("%s is torn", r.pair)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}
