package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFluxOfHundred measures how long Flux takes from an artifact with 100 pairs in
// one Kustomization until all of them are in the cluster, decrypted; beside it, the
// same pairs when Git holds them in clear. -v prints the figures.
func TestFluxOfHundred(t *testing.T) {
	c, err := startCluster("hundred", "hundred.test", built, tools)
	t.Cleanup(c.stop)
	if err != nil {
		t.Fatal(err)
	}
	f, err := startFlux(c, filepath.Join(t.TempDir(), "events"))
	if err != nil {
		t.Fatal(err)
	}
	h := &hundred{flux: f, dir: t.TempDir(), tokens: make(map[string]string)}
	if err := h.begin(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what, directory string
		changed         []string // Secrets
	}{
		{"100 new pairs", "encrypted", []string{"west", "one"}},
		{"the same in clear", "clear", nil},
		{"a new credential in 99", "encrypted", []string{"west"}},
		{"a new credential in 1", "encrypted", []string{"one"}},
	} {
		if err := h.render(step.directory, step.changed); err != nil {
			t.Fatal(err)
		}
		took, err := h.sync(step.directory)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-22s  %.2f s", step.what, took.Seconds())
	}
}

// hundred is a repository with pairs in two directories, encrypted and clear. Each is
// a namespace, too.
type hundred struct {
	flux   *flux
	dir    string
	key    string            // path
	tokens map[string]string // of the kubeconfigs, by their Secrets' names
}

// begin writes a config of 100 pairs, the last of which has a credential of its
// own, and has Flux sync them.
func (h *hundred) begin() error {
	var err error
	if h.key, err = filepath.Abs("../fixtures/keys/demo.agekey"); err != nil {
		return err
	}
	key, err := os.ReadFile(h.key)
	if err != nil {
		return err
	}
	const recipients = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs, age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
	if err := os.WriteFile(filepath.Join(h.dir, ".sops.yaml"), fmt.Appendf(nil, "creation_rules:\n- age: [%s]\n", recipients), 0o600); err != nil {
		return err
	}
	var config strings.Builder
	config.WriteString(`apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: hundred}
spec:
  storkVersion: "24.3"
  namespace: encrypted
  files: [secrets/west.yaml, secrets/one.yaml]
  output: rendered
  pairs:
`)
	for i := range 100 {
		secret := "west"
		if i == 99 {
			secret = "one"
		}
		fmt.Fprintf(&config, "  - {name: pair-%03d, destination: {secret: {name: %s}}}\n", i, secret)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "clusterpair.yaml"), []byte(config.String()), 0o600); err != nil {
		return err
	}
	for _, dir := range []string{"secrets", "rendered/clear"} {
		if err := os.MkdirAll(filepath.Join(h.dir, dir), 0o700); err != nil {
			return err
		}
	}
	c := h.flux.cluster
	if err := c.request(http.MethodPost, "/api/v1/namespaces/flux-system/secrets",
		fmt.Sprintf("metadata: {name: sops-age}\ndata: {age.agekey: %s}", base64.StdEncoding.EncodeToString(key))); err != nil {
		return err
	}
	for _, name := range []string{"encrypted", "clear"} {
		if err := c.request(http.MethodPost, "/api/v1/namespaces", "metadata: {name: "+name+"}"); err != nil {
			return err
		}
		if err := c.request(http.MethodPost, fluxKustomizations, fmt.Sprintf(`
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: %[1]s}
spec:
  sourceRef: {kind: GitRepository, name: %[1]s}
  path: ./rendered/%[1]s
  interval: 10m
  prune: true
  decryption: {provider: sops, secretRef: {name: sops-age}}
`, name)); err != nil {
			return err
		}
	}
	return nil
}

// render writes Secrets with new tokens, and the pairs of a directory.
func (h *hundred) render(directory string, changed []string) error {
	for _, name := range changed {
		token := make([]byte, 600)
		_, _ = rand.Read(token) // never fails
		h.tokens[name] = base64.RawURLEncoding.EncodeToString(token)
		kubeconfig := destination.kubeconfig("stork", "{token: "+h.tokens[name]+"}")
		if err := os.WriteFile(filepath.Join(h.dir, "secrets", name+".yaml"), fmt.Appendf(nil,
			"apiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ndata: {value: %s}\n", name, base64.StdEncoding.EncodeToString(kubeconfig)), 0o600); err != nil {
			return err
		}
	}
	if directory == "encrypted" {
		return h.run("clusterpair generate")
	}
	return h.run(`for file in rendered/encrypted/*; do clusterpair decrypt $file | sed 's/namespace: encrypted/namespace: clear/' > rendered/clear/${file##*/}; done`)
}

func (h *hundred) run(command string) error {
	cmd := exec.Command("sh", "-euc", command)
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "PATH="+built+":"+tools+":"+os.Getenv("PATH"), "SOPS_AGE_KEY_FILE="+h.key)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", command, err, out)
	}
	return nil
}

// sync publishes the repository, and returns when the pairs of a directory are in the
// cluster, and how long that has taken.
func (h *hundred) sync(directory string) (time.Duration, error) {
	start := time.Now()
	if err := h.flux.publish("flux-system", directory, h.dir); err != nil {
		return 0, err
	}
	for deadline := start.Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		// Right after a definition was installed the API server may ask for patience.
		applied, err := h.applied(directory)
		if applied == 100 {
			return time.Since(start), nil
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("%d of 100 pairs in namespace %s are as Git has them (%v)", applied, directory, err)
		}
	}
}

// applied counts the pairs of a namespace that have their token in clear, and nothing
// of SOPS.
func (h *hundred) applied(namespace string) (int, error) {
	var list struct {
		Items []struct {
			Metadata struct{ Name string }
			Sops     any
			Spec     struct {
				Config struct {
					Users map[string]struct{ Token string }
				}
			}
		}
	}
	if err := h.flux.cluster.get("/apis/stork.libopenstorage.org/v1alpha1/namespaces/"+namespace+"/clusterpairs", &list); err != nil {
		return 0, err
	}
	applied := 0
	for _, pair := range list.Items {
		secret := "west"
		if pair.Metadata.Name == "pair-099" {
			secret = "one"
		}
		if pair.Sops == nil && pair.Spec.Config.Users["stork"].Token == h.tokens[secret] {
			applied++
		}
	}
	return applied, nil
}
