package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKills ends clusterpair by kill -9 at random moments, while it creates,
// changes, removes and re-encrypts pairs, and while it writes single files. After
// each no file may be torn, and Git and validate may see nothing new; after the next
// run, of any command, everything is as before the killed one or as after it, and
// nothing else is left. KILLS says how often, KILL_PAIRS over how many pairs.
func TestKills(t *testing.T) {
	k := &killer{t: t, dir: t.TempDir(), random: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)), took: make(map[string]time.Duration)}
	if os.Getenv("KILLS") != "" {
		if dir, err := os.MkdirTemp("", "kills"); err == nil {
			k.dir = dir // on a disk, not where tests have their files
			t.Cleanup(func() { os.RemoveAll(dir) })
		}
	}
	kills := number(t, "KILLS", 40)
	k.pairs = number(t, "KILL_PAIRS", 60)
	k.lay()
	for i := range kills {
		if i%2 == 0 {
			k.killGenerate(i)
		} else {
			k.killFile(i)
		}
		if t.Failed() {
			t.Fatalf("after kill %d of %d", i+1, kills)
		}
		if (i+1)%100 == 0 || i+1 == kills {
			t.Logf("%d kills over %d pairs: %d runs had ended before, %d left a directory, %d of these while files were moved; %d files were put back; %d files looked at",
				i+1, k.pairs, k.finished, k.leftovers, k.journals, k.back, k.looked)
		}
	}
}

func number(t *testing.T, variable string, otherwise int) int {
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// killer kills runs in a repository.
type killer struct {
	t      *testing.T
	dir    string
	pairs  int
	random *rand.Rand
	took   map[string]time.Duration // what a whole run takes, by its kind

	leftovers, journals, back, looked, finished int
}

// plantedToken is in clear in the Secrets, and must be nowhere else.
const plantedToken = "PLANTEDtokenPLANTEDtoken"

func (k *killer) lay() {
	config := `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: east}
spec:
  storkVersion: "24.3"
  namespace: apps
  selector: {matchLabels: {role: dr}}
  files: [secrets]
`
	k.write("clusterpair.yaml", config)
	k.recipients(true)
	for i := range k.pairs {
		k.secret(i, 0)
	}
	k.write(".gitignore", "secrets\nout.yaml\nplain.yaml\n")
	for _, args := range [][]string{{"init", "-q", "."}, {"add", "-A"}} {
		cmd := exec.Command("git", args...)
		cmd.Dir = k.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			k.t.Fatalf("git: %v %s", err, out)
		}
	}
	k.mustRun("generate", "--remove", strconv.Itoa(k.pairs))
	cmd := exec.Command("git", "add", "-A")
	cmd.Dir = k.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		k.t.Fatalf("git: %v %s", err, out)
	}
}

// recipients writes the creation rule for both keys, or for one.
func (k *killer) recipients(both bool) {
	rule := "creation_rules:\n- age: age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	if both {
		rule += ",age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
	}
	k.write(".sops.yaml", rule+"\n")
}

func (k *killer) secret(i, generation int) {
	k.write(fmt.Sprintf("secrets/w%d.yaml", i), k.secretText(i, generation))
}

func (k *killer) secretText(i, generation int) string {
	const ca = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJpekNDQVRHZ0F3SUJBZ0lVTVE5SGh5SzZoekZVVW9WcTd6Mm9mckFieGdRd0NnWUlLb1pJemowRUF3SXcKRWpFUU1BNEdBMVVFQXd3SGQyVnpkQzFqWVRBZ0Z3MHlOakV4TWpJeE5qVXdNakJhR0E4eU1USTJNVEF5T1RFMgpOVEF5TUZvd0VqRVFNQTRHQTFVRUF3d0hkMlZ6ZEMxallUQlpNQk1HQnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VICkEwSUFCR251SXRHMXM0VlZ3THl3bSs1T2xwZGZLbE5hbUJYSzJpZE14K1Y0Ry9HRnErdDdkVWFIQkVCb0tVY2kKSVozV29iWXR6NkRqM0tGMHhlNFBLYThzK0srall6QmhNQjBHQTFVZERnUVdCQlFhSWRabEF2NDFZN1hWbndYSQpTcHJKMDN3KzFEQWZCZ05WSFNNRUdEQVdnQlFhSWRabEF2NDFZN1hWbndYSVNwckowM3crMURBUEJnTlZIUk1CCkFmOEVCVEFEQVFIL01BNEdBMVVkRHdFQi93UUVBd0lCQmpBS0JnZ3Foa2pPUFFRREFnTklBREJGQWlFQXRvNGUKd1E1ZHlCOEE5V041QUgwcXBMRTZoQTNDTHlFMDZ6T0dSRnhNWUN3Q0lEbWlzRkxMdkUzTDZlTHM3RmkwN0VEbAo1QkpiRkljQjJtdWRPUDRZU0E2cAotLS0tLUVORCBDRVJUSUZJQ0FURS0tLS0tCg=="
	return fmt.Sprintf(`apiVersion: v1
kind: Secret
metadata:
  name: w%d-kubeconfig
  namespace: fleet
  labels: {role: dr}
stringData:
  value: |
    apiVersion: v1
    kind: Config
    current-context: w
    clusters:
    - name: w
      cluster: {server: "https://w%d.example.com:6443", certificate-authority-data: %s}
    contexts:
    - name: w
      context: {cluster: w, user: stork}
    users:
    - name: stork
      user: {token: %s%d}
`, i, i, ca, plantedToken, generation)
}

func (k *killer) write(name, text string) {
	path := filepath.Join(k.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		k.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

// command is clusterpair itself: see [TestMain].
func (k *killer) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	if !filepath.IsAbs(cmd.Path) {
		cmd.Path, _ = filepath.Abs(cmd.Path)
	}
	cmd.Args[0] = "clusterpair"
	cmd.Dir = k.dir
	cmd.Env = append(os.Environ(), "SOPS_AGE_KEY_FILE="+filepath.Join(fixtures(k.t), "keys", "demo.agekey"))
	return cmd
}

func (k *killer) mustRun(args ...string) string {
	k.t.Helper()
	cmd := k.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	start := time.Now()
	if out, err := cmd.Output(); err != nil {
		k.t.Fatalf("clusterpair %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
	}
	k.took[args[0]] = time.Since(start)
	return stderr.String()
}

// kill starts a command and kills it at a random moment, or a little after a run has
// begun to move files.
func (k *killer) kill(kind string, moving bool, args ...string) {
	cmd := k.command(args...)
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	if moving {
		for len(k.glob(".clusterpair-*/journal")) == 0 && len(done) == 0 {
			time.Sleep(100 * time.Microsecond)
		}
		time.Sleep(time.Duration(k.random.Int64N(int64(5 * time.Millisecond))))
	} else {
		limit := k.took[kind] * 11 / 10
		time.Sleep(time.Duration(k.random.Int64N(int64(max(limit, time.Millisecond)))))
	}
	cmd.Process.Kill() // of one that has ended, nothing
	if err := <-done; err == nil {
		k.finished++
	}
	k.leftovers += len(k.glob(".clusterpair-*"))
	k.journals += len(k.glob(".clusterpair-*/journal"))
}

func (k *killer) glob(pattern string) []string {
	found, err := filepath.Glob(filepath.Join(k.dir, pattern))
	if err != nil {
		k.t.Fatal(err)
	}
	return found
}

// rendered are the pairs by path.
func (k *killer) rendered() map[string]string {
	files := make(map[string]string)
	for _, path := range k.glob("rendered/*/*") {
		data, err := os.ReadFile(path)
		if err != nil {
			k.t.Fatal(err)
		}
		files[path] = string(data)
	}
	return files
}

// whole checks that no pair is torn, and that nobody sees what was left.
func (k *killer) whole() {
	for path, text := range k.rendered() {
		k.looked++
		if !strings.HasPrefix(text, "apiVersion: stork.libopenstorage.org/v1alpha1\n") || !strings.Contains(text, "\nsops:\n") || !strings.HasSuffix(text, "\n  options: {}\n") {
			k.t.Errorf("%s is torn:\n%s", path, text)
		}
	}
	cmd := exec.Command("git", "status", "--porcelain", "--untracked-files=all")
	cmd.Dir = k.dir
	if out, err := cmd.Output(); err != nil || bytes.Contains(out, []byte(".clusterpair-")) {
		k.t.Errorf("git status: %v\n%s", err, out)
	}
	cmd = k.command("validate", "--only", "yaml,duplicate-pair,sops-malformed,mac-missing", ".")
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Contains(out, []byte(".clusterpair-")) {
		k.t.Errorf("validate: %v\n%s", err, out)
	}
}

// clean checks that nothing but the files themselves is left, and no plaintext.
func (k *killer) clean() {
	err := filepath.WalkDir(k.dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(k.dir, path)
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(d.Name(), ".clusterpair-"):
			k.t.Errorf("%s is left", rel)
		case d.IsDir() && (rel == ".git" || rel == "secrets"):
			return fs.SkipDir
		case !d.IsDir() && rel != "out.yaml" && rel != "plain.yaml":
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if bytes.Contains(data, []byte(plantedToken)) {
				k.t.Errorf("%s holds a credential in clear", rel)
			}
		}
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
}

// killGenerate kills generate, lets another command run, and looks whether the pairs
// are those of before, or those of a whole run.
func (k *killer) killGenerate(i int) {
	k.mustRun("generate", "--remove", strconv.Itoa(k.pairs))
	switch i / 2 % 4 {
	case 0: // all are new
		if err := os.RemoveAll(filepath.Join(k.dir, "rendered")); err != nil {
			k.t.Fatal(err)
		}
	case 1: // all change
		for n := range k.pairs {
			k.secret(n, i)
		}
	case 2: // a third is removed
		for n := 1; n <= k.pairs/3; n++ {
			os.Remove(filepath.Join(k.dir, fmt.Sprintf("secrets/w%d.yaml", n)))
		}
	case 3: // those that were removed come back, for other recipients
		for n := range k.pairs {
			k.secret(n, i)
		}
		k.recipients(i/8%2 == 1)
	}
	before := k.rendered()
	k.kill("generate", k.random.IntN(2) == 0, "generate", "--remove", strconv.Itoa(k.pairs))
	k.whole()

	said := k.mustRun("encrypt", "secrets/w0.yaml", "-o", "next.yaml", "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs")
	if err := os.Remove(filepath.Join(k.dir, "next.yaml")); err != nil {
		k.t.Fatal(err)
	}
	var back int
	if _, rest, found := strings.Cut(said, "while it wrote: "); found {
		fmt.Sscan(rest, &back)
		k.back += back
	}
	k.clean()
	if after := k.rendered(); !same(before, after) {
		if out, err := k.command("generate", "--check", "--remove", strconv.Itoa(k.pairs)).CombinedOutput(); err != nil {
			k.t.Errorf("some pairs are new and some are old: %v\n%s", err, out)
		}
	}
}

func same(a, b map[string]string) bool {
	for path, text := range a {
		if b[path] != text {
			return false
		}
	}
	return len(a) == len(b)
}

// killFile kills a command that writes a single file.
func (k *killer) killFile(i int) {
	secret := k.secretText(0, i)
	sealed := filepath.Join(k.dir, "sealed.yaml")
	plain, out := filepath.Join(k.dir, "plain.yaml"), filepath.Join(k.dir, "out.yaml")
	os.Remove(out)
	os.Remove(sealed)
	k.write("plain.yaml", secret)
	k.mustRun("encrypt", plain, "-o", sealed)
	first, err := os.ReadFile(sealed)
	if err != nil {
		k.t.Fatal(err)
	}
	kubeconfig := filepath.Join(k.dir, "secrets", "w0.yaml")
	switch i / 2 % 4 {
	case 0:
		k.kill("encrypt", false, "encrypt", "-i", plain)
	case 1:
		k.kill("encrypt", false, "decrypt", sealed, "-o", out)
	case 2:
		k.write("plain.yaml", k.secretText(0, i+1))
		k.kill("encrypt", false, "encrypt", plain, "-o", sealed)
	case 3:
		k.kill("encrypt", false, "generate", "one", "--kubeconfig", kubeconfig, "-n", "apps", "--plaintext", "-o", out)
	}
	isSealed := func(text []byte) bool {
		return bytes.Contains(text, []byte("\nsops:\n")) && bytes.HasSuffix(text, []byte("\n"))
	}
	if text, err := os.ReadFile(sealed); err != nil || !bytes.Equal(text, first) && !isSealed(text) {
		k.t.Errorf("sealed.yaml is torn: %v\n%s", err, text)
	}
	if text, err := os.ReadFile(plain); err != nil || !bytes.Contains(text, []byte(plantedToken)) && !isSealed(text) {
		k.t.Errorf("plain.yaml is torn: %v\n%s", err, text)
	}
	if text, err := os.ReadFile(out); err == nil && (!bytes.Contains(text, []byte(plantedToken)) || !bytes.HasSuffix(text, []byte("\n"))) {
		k.t.Errorf("out.yaml is torn:\n%s", text)
	}
	k.whole()
	os.Remove(plain)
	k.mustRun("encrypt", kubeconfig, "-o", sealed, "--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs")
	k.clean()
	os.Remove(sealed)
}
