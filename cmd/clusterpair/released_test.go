package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"clusterpair.dev/internal/project"
)

// aRelease is a release on a server: SHA256SUMS, and the archive for this machine.
type aRelease struct {
	version, pin string
	url          string // above the version
	dir          string // what is served
	archive      string // its name
}

// servedRelease has go install this module, as docs/install.md says, and serves it as a
// release.
func servedRelease(t *testing.T) aRelease {
	t.Helper()
	version, env := moduleProxy(t)
	bin := t.TempDir()
	cmd := exec.Command("go", "install", project.Module()+"/cmd/...@"+version)
	cmd.Dir, cmd.Env = bin, append(env, "GOBIN="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	name := fmt.Sprintf("clusterpair_%s_%s_%s", version, runtime.GOOS, runtime.GOARCH)
	r := aRelease{version: version, dir: t.TempDir(), archive: name + ".tar.gz"}
	var packed bytes.Buffer
	z, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	w := tar.NewWriter(z)
	for _, program := range []string{"clusterpair", "clusterpair-helper"} {
		data := read(t, filepath.Join(bin, program))
		if err := w.WriteHeader(&tar.Header{Name: name + "/" + program, Mode: 0o755, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r.write(t, r.archive, packed.String())
	sums := fmt.Sprintf("%x  %s\n", sha256.Sum256(packed.Bytes()), r.archive)
	r.write(t, "SHA256SUMS", sums)
	r.pin = fmt.Sprintf("%x", sha256.Sum256([]byte(sums)))
	server := httptest.NewServer(http.FileServer(http.Dir(r.dir)))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

func (r aRelease) write(t *testing.T, name, text string) {
	t.Helper()
	dir := filepath.Join(r.dir, r.version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs examples/released/clusterpair with a cache.
func (r aRelease) run(cache string, env []string, args ...string) (string, error) {
	script, err := filepath.Abs("../../examples/released/clusterpair")
	if err != nil {
		return "", err
	}
	cmd := exec.Command(script, args...)
	cmd.Dir = filepath.Dir(cache)
	cmd.Env = append(os.Environ(), append([]string{"CLUSTERPAIR_VERSION=" + r.version, "CLUSTERPAIR_URL=" + r.url, "CLUSTERPAIR_CACHE=" + cache}, env...)...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// released runs the script as users do, and as those meet it who are attacked.
func released(t *testing.T, r aRelease) {
	archive, sums := read(t, filepath.Join(r.dir, r.version, r.archive)), read(t, filepath.Join(r.dir, r.version, "SHA256SUMS"))
	good := r.pin
	for name, c := range map[string]struct {
		do   func()
		pin  string
		want string
	}{
		"no pin":              {func() {}, "", "the release is not pinned: the SHA-256 of its SHA256SUMS is missing\n  hint: verify the release, and pin it: " + project.Page("docs/verify.md")},
		"no checksum":         {func() {}, good[:63] + "x", "the release is not pinned"},
		"another pin":         {func() {}, strings.Repeat("0", 64), "/SHA256SUMS has the checksum " + good + ", and the pin is 0000"},
		"SHA256SUMS tampered": {func() { r.write(t, "SHA256SUMS", strings.Replace(sums, sums[:4], "0000", 1)) }, good, "and the pin is " + good + "\n  hint: if the release is meant to be another one, verify it before you pin it: "},
		"archive tampered":    {func() { r.write(t, r.archive, archive[:len(archive)-1]+"x") }, good, "and the release has " + sums[:64] + ": nothing of it was unpacked\n  hint: try again; if it stays, tell who runs that server"},
		"archive cut":         {func() { r.write(t, r.archive, archive[:1000]) }, good, "nothing of it was unpacked"},
		"no archive":          {func() { os.Remove(filepath.Join(r.dir, r.version, r.archive)) }, good, "cannot download " + r.url + "/" + r.version + "/" + r.archive + "\n  hint: try again, or set CLUSTERPAIR_URL to a mirror: the address above /" + r.version},
	} {
		c.do()
		cache := filepath.Join(t.TempDir(), "cache")
		out, err := r.run(cache, []string{"CLUSTERPAIR_PIN=" + c.pin}, "version")
		if err == nil || !strings.Contains(out, c.want) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		filepath.WalkDir(cache, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				t.Errorf("%s left %s", name, path)
			}
			return nil
		})
		r.write(t, r.archive, archive)
		r.write(t, "SHA256SUMS", sums)
	}

	// Ten at once, then without a server; one that was killed half-way is made good.
	cache := filepath.Join(t.TempDir(), "a cache")
	var wait sync.WaitGroup
	for range 10 {
		wait.Go(func() {
			if out, err := r.run(cache, nil, "version", "--pin="+good); err != nil || !strings.HasPrefix(out, "clusterpair "+r.version) {
				t.Errorf("one of ten: %v\n%s", err, out)
			}
		})
	}
	wait.Wait()
	if left, _ := filepath.Glob(filepath.Join(cache, "*", ".new-*")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
	nobody := []string{"CLUSTERPAIR_URL=http://127.0.0.1:1"}
	if out, err := r.run(cache, nobody, "version", "--pin="+good); err != nil {
		t.Errorf("from the cache: %v\n%s", err, out)
	}
	programs, _ := filepath.Glob(filepath.Join(cache, "*", "clusterpair"))
	if len(programs) != 1 || os.Remove(programs[0]) != nil {
		t.Fatalf("programs %s", programs)
	}
	if out, err := r.run(cache, nil, "version", "--pin="+good); err != nil {
		t.Errorf("after one that was killed: %v\n%s", err, out)
	}
	// The exit code is that of clusterpair, and a name that looks like a pin is a name.
	if out, err := r.run(cache, nobody, "validate", "--pin="+good, "--", "--pin=x"); err == nil || !strings.Contains(out, "--pin=x") || strings.Contains(out, "hint: verify") {
		t.Errorf("a file --pin=x: %v\n%s", err, out)
	}
	for _, version := range []string{"0.1.0", "latest", "v0.1.0/../x"} {
		if out, err := r.run(cache, []string{"CLUSTERPAIR_VERSION=" + version}, "version", "--pin="+good); err == nil || out != "clusterpair: "+version+" is no version\n  hint: name one as v0.1.0\n" {
			t.Errorf("version %s: %v\n%s", version, err, out)
		}
	}
	if out, err := r.run(filepath.Join(t.TempDir(), "cache"), []string{"CLUSTERPAIR_URL=" + r.url + "/"}, "version", "--pin="+good); err != nil {
		t.Errorf("a mirror with a slash: %v\n%s", err, out)
	}
	// From a mirror that is a directory, where curl is.
	if _, err := exec.LookPath("curl"); err == nil {
		if out, err := r.run(filepath.Join(t.TempDir(), "cache"), []string{"CLUSTERPAIR_URL=file://" + r.dir}, "version", "--pin="+good); err != nil {
			t.Errorf("from a directory: %v\n%s", err, out)
		}
	}
}

// releasedHooks has pre-commit run the hooks of a release, as the example has them.
func releasedHooks(t *testing.T, r aRelease, repository string) {
	dir, origin := t.TempDir(), filepath.Join(t.TempDir(), "origin")
	if err := tagged(origin); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(dir, os.DirFS(repository)); err != nil {
		t.Fatal(err)
	}
	config := read(t, "../../examples/pre-commit/released.pre-commit-config.yaml")
	if strings.Count(config, "SHA256]") != 1 {
		t.Fatalf("there is one place for the pin:\n%s", config)
	}
	if err := os.WriteFile(filepath.Join(dir, ".pre-commit-config.yaml"), []byte(strings.Replace(config, "SHA256]", r.pin+"]", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, hooks, _ := strings.Cut(config, "repos:\n"); !strings.Contains(read(t, "../../docs/pre-commit.md"), "repos:\n"+hooks) {
		t.Error("docs/pre-commit.md shows other hooks than the example")
	}
	key, err := filepath.Abs("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "PRE_COMMIT_HOME="+t.TempDir(), "CLUSTERPAIR_CACHE="+t.TempDir(), "CLUSTERPAIR_VERSION="+r.version, "CLUSTERPAIR_URL="+r.url, "SOPS_AGE_KEY_FILE="+key,
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=url.file://"+origin+".insteadOf", "GIT_CONFIG_VALUE_0="+project.Repository())
	run := func(program string, args ...string) (string, error) {
		cmd := exec.Command(program, args...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("git", "add", "."); err != nil {
		t.Fatal(out)
	}
	out, err := run("pre-commit", "run", "--all-files")
	if err != nil || strings.Count(out, "Passed") != 3 {
		t.Errorf("%v\n%s", err, out)
	}
	pair := "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: west, namespace: apps}\nspec: {config: {users: {a: {token: abcdef0123456789}}}}\n"
	if err := os.WriteFile(filepath.Join(dir, "clear.yaml"), []byte(pair), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run("git", "add", "."); err != nil {
		t.Fatal(out)
	}
	if out, err = run("pre-commit", "run"); err == nil || !strings.Contains(out, "[plaintext-credential]") {
		t.Errorf("a pair in clear: %v\n%s", err, out)
	}
}

// TestReleasedText holds the text that brings a release against its original; UPDATE=1
// writes it. GitHub and GitLab get one file each, which needs no other.
func TestReleasedText(t *testing.T) {
	between := func(text, begin, end string) (from, to int) {
		b := regexp.MustCompile(`(?m)^ *` + begin + `\n`).FindStringIndex(text)
		e := regexp.MustCompile(`(?m)^ *` + end + `$`).FindStringIndex(text)
		if b == nil || e == nil {
			t.Fatalf("no %q and %q:\n%s", begin, end, text)
		}
		return b[1], e[0]
	}
	script := read(t, "../../examples/released/clusterpair")
	from, to := between(script, "# From here to the end mark the same stands in examples/github and examples/gitlab.", "# End of what is the same.")
	lines := slices.Collect(strings.Lines(script[from:to]))
	for file, indent := range map[string]string{"../../examples/github/action.yml": "      ", "../../examples/gitlab/templates/clusterpair.yml": "    "} {
		text := read(t, file)
		from, to := between(text, "# As examples/released/clusterpair has it.", "# End.")
		want := indent + strings.Join(lines, indent)
		if text[from:to] == want {
			continue
		}
		if os.Getenv("UPDATE") == "" {
			t.Errorf("%s has another text than examples/released/clusterpair: make update", file)
		} else if err := os.WriteFile(file, []byte(text[:from]+want+text[to:]), 0o644); err != nil {
			t.Error(err)
		}
	}
}
