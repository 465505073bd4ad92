package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// verify signs a release, in the clone that has made it, and types docs/verify.md with the
// real minisign: outputs are those that the page shows.
func verify(t *testing.T, clone, version string) {
	if _, err := exec.LookPath("minisign"); err != nil {
		t.Fatalf("%v: apt-get install minisign", err)
	}
	dir := t.TempDir()
	shell := func(in, script string) (string, error) {
		cmd := exec.Command("bash", "-uc", script)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(in)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	for _, name := range []string{"minisign", "another"} {
		if out, err := shell("secret\nsecret\n", "minisign -G -p "+name+".pub -s "+name+".key"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	release := filepath.Join(clone, "bin", "release")
	if out, err := shell("wrong\n", "make -s -C "+clone+" sign KEY=$PWD/minisign.key"); err == nil || !strings.Contains(out, "Wrong password") {
		t.Errorf("a wrong password: %v\n%s", err, out)
	}
	// What somebody has put beside the release is not signed with it.
	if err := os.WriteFile(filepath.Join(release, "clusterpair_v9.9.9.intoto.json"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := shell("secret\n", "make -s -C "+clone+" sign KEY=$PWD/minisign.key")
	if _, err := os.Stat(filepath.Join(release, "clusterpair_v9.9.9.intoto.json.minisig")); err == nil {
		t.Error("another provenance was signed")
	}
	os.Remove(filepath.Join(release, "clusterpair_v9.9.9.intoto.json"))
	if err != nil || strings.Contains(out, "secret\n") {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := shell("", "make -s -C "+clone+" sign"); err == nil || !strings.Contains(out, "make sign KEY=") {
		t.Errorf("without a key: %v\n%s", err, out)
	}
	if out, err := shell("secret\n", "minisign -S -s another.key -x SHA256SUMS.by-another -m "+release+"/SHA256SUMS"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	server := httptest.NewServer(http.FileServer(http.Dir(release)))
	defer server.Close()
	page, err := os.ReadFile(filepath.Join(clone, "docs", "verify.md"))
	if err != nil {
		t.Fatal(err)
	}
	// The page is one of the version that was made.
	text := strings.ReplaceAll(string(page), "linux_amd64", "linux_"+runtime.GOARCH)
	url := regexp.MustCompile(`(?m)^\$ export URL=(\S+)$`).FindStringSubmatch(text)
	if url == nil || !strings.HasSuffix(url[1], "/releases/download/"+version) {
		t.Fatalf("the page downloads from %q", url)
	}
	before := "URL=" + server.URL + "; NAME=clusterpair_" + version + "_linux_" + runtime.GOARCH + "; "
	blocks := regexp.MustCompile("(?s)<!-- not run: TestVerify of tools/image types it(?:, after: ([^\n]*?))? -->\n```console\n(.*?)```").FindAllStringSubmatch(text, -1)
	if len(blocks) != 8 || strings.Count(text, "```console") != len(blocks) {
		t.Fatalf("%d blocks", len(blocks))
	}
	pin := ""
	for _, block := range blocks {
		after, shown := block[1], block[2]
		if after != "" { // what was tampered with is as it was for the next one
			if out, err := shell("", "rm -rf good; mkdir good; cp -r $(ls | grep -v '^good$') good; "+after); err != nil {
				t.Fatalf("%s: %v\n%s", after, err, out)
			}
		}
		for _, step := range strings.Split(shown, "\n$ ") {
			command, want, _ := strings.Cut(strings.TrimPrefix(step, "$ "), "\n")
			out, err := shell("", before+strings.Replace(command, url[1], server.URL, 1))
			if (err != nil) != (after != "") {
				t.Errorf("%s: %s: %v\n%s", after, command, err, out)
			}
			if strings.HasPrefix(command, "sha256sum SHA256SUMS") {
				pin, _, _ = strings.Cut(out, " ")
				continue
			}
			pattern := strings.ReplaceAll(regexp.QuoteMeta(sorted(want)), "…", ".*")
			if !regexp.MustCompile("^" + pattern + "$").MatchString(sorted(out)) {
				t.Errorf("%s: %s prints\n%s\nand the page shows\n%s", after, command, out, want)
			}
		}
		if after != "" {
			if out, err := shell("", "ls | grep -v '^good$' | xargs rm -rf; mv good/* .; rmdir good"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
	}
	pinned(t, clone, release, version, pin)

	if out, err := shell("", "mv "+release+" "+release+"d; make -s -C "+clone+" sign KEY=$PWD/minisign.key"); err == nil || !strings.Contains(out, "there is no release to sign: make release VERSION=") {
		t.Errorf("no release: %v\n%s", err, out)
	}
	if out, err := shell("", "mv "+release+"d "+release); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// A release that was changed before it is signed is not signed.
	if err := os.WriteFile(filepath.Join(release, "clusterpair.rb"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := shell("secret\n", "make -s -C "+clone+" sign KEY=$PWD/minisign.key"); err == nil || !strings.Contains(out, "clusterpair.rb: FAILED") {
		t.Errorf("a changed release: %v\n%s", err, out)
	}
}

// sorted are the lines of an output, whichever stream is read first.
func sorted(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// pinned runs the script of CI and hooks, from the clone with the tag, against the release
// on a server: from nothing to a validated pair.
func pinned(t *testing.T, clone, release, version, pin string) {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/"+version+"/", http.StripPrefix("/"+version, http.FileServer(http.Dir(release))))
	server := httptest.NewServer(mux)
	defer server.Close()
	cache := t.TempDir()
	for _, run := range []string{"cold", "warm"} {
		cmd := exec.Command(filepath.Join(clone, "examples", "released", "clusterpair"), "validate", "--pin="+pin, filepath.Join(clone, "examples", "kustomize"))
		cmd.Env = append(os.Environ(), "CLUSTERPAIR_URL="+server.URL, "CLUSTERPAIR_CACHE="+cache)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %s", run, time.Since(begin).Round(time.Millisecond))
		if err != nil || !strings.HasPrefix(string(out), "all fine: 1 ClusterPair") {
			t.Errorf("%s: %v\n%s", run, err, out)
		}
	}
}
