package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What makes the golden repository of a release: in GOLDEN=v0.2.0 from that of the release before.
var goldenCommands = [][]string{
	{"generate", "-f", "east", "-f", "west"},
	{"generate", "single", "--server", "https://single.example.com:6443", "-n", "kube-system", "--stork-version", "24.3", "--kubeconfig", "dest.yaml", "-o", "single/pair.json"},
}

// TestReleases: a repository that a release has rendered and validated renders and
// validates today as it did then, but for what its differences.txt says, and CHANGELOG
// with it. GOLDEN=v0.2.0 first makes the repository of that release with this one.
func TestReleases(t *testing.T) {
	root := filepath.Join(fixtures(t), "releases")
	changelog := read(t, filepath.Join(root, "../../CHANGELOG.md"))
	var released []string
	for _, m := range regexp.MustCompile(`(?m)^## \[(\d[^]]*)\]`).FindAllStringSubmatch(changelog, -1) {
		released = append(released, "v"+m[1])
	}
	if version := os.Getenv("GOLDEN"); version != "" {
		if len(released) < 2 || released[0] != version {
			t.Fatalf("VERSION=%s is not what CHANGELOG.md has on top, of %q: its part has to have a heading like ## [1.2.3] - YEAR-MONTH-DAY, and the version a v", version, released)
		}
		keepRelease(t, filepath.Join(root, released[1]), filepath.Join(root, version))
	}
	var kept []string
	for _, entry := range must(os.ReadDir(root)) {
		kept = append(kept, entry.Name())
	}
	slices.Sort(released)
	if len(kept) == 0 || !slices.Equal(released, kept) {
		t.Fatalf("CHANGELOG.md tells of %q, fixtures/releases holds %q: make golden VERSION=… keeps one", released, kept)
	}
	for _, version := range kept {
		t.Run(version, func(t *testing.T) { checkRelease(t, filepath.Join(root, version), changelog) })
	}
}

func checkRelease(t *testing.T, dir, changelog string) {
	key, repository := filepath.Join(fixtures(t), "keys", "demo.agekey"), filepath.Join(t.TempDir(), "repository")
	if err := os.CopyFS(repository, os.DirFS(filepath.Join(dir, "repository"))); err != nil {
		t.Fatal(err)
	}
	t.Chdir(repository)
	commitAll(t)
	var changes []string
	// In CI there is no key.
	changes = append(changes, changedLines("validate", read(t, filepath.Join(dir, "validate.txt")), validated(t))...)
	t.Setenv("SOPS_AGE_KEY_FILE", key)
	goldenRun(t, goldenCommands[0]...)
	for line := range strings.Lines(git(t, "diff", "-U0", "--no-color")) {
		if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+") {
			changes = append(changes, "generate: "+line)
		}
	}
	if untracked := git(t, "ls-files", "--others"); untracked != "" {
		t.Errorf("generate writes other files: %s", untracked)
	}

	known := make(map[string]bool)
	for line := range strings.Lines(read(t, filepath.Join(dir, "differences.txt"))) {
		line = strings.TrimSuffix(line, "\n")
		known[line] = false
		what := strings.Fields(strings.TrimLeft(line[strings.Index(line, ": ")+2:], "+- "))[0]
		if !strings.Contains(changelog, strings.TrimSuffix(what, ":")) {
			t.Errorf("CHANGELOG.md says nothing of %s", what)
		}
	}
change:
	for _, change := range changes {
		if strings.HasPrefix(change, "generate: +++ ") || strings.HasPrefix(change, "generate: --- ") {
			continue
		}
		for line := range known {
			if strings.HasPrefix(change, line) {
				known[line] = true
				continue change
			}
		}
		t.Errorf("what was not so then: %s", change)
	}
	for line, seen := range known {
		if !seen {
			t.Errorf("differences.txt names what is no difference: %s", line)
		}
	}
	goldenRun(t, "generate", "--check", "--open", "-f", "east", "-f", "west")
}

// keepRelease makes the golden repository of a version from that of the version before.
func keepRelease(t *testing.T, before, dir string) {
	if _, err := os.Stat(dir); err == nil {
		t.Fatalf("%s is there: what was released stays as it is", dir)
	}
	repository := filepath.Join(dir, "repository")
	if err := os.CopyFS(repository, os.DirFS(filepath.Join(before, "repository"))); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "repository")
	for _, rendered := range []string{"east/pairs", "west/pairs", "single/pair.json"} {
		if err := os.RemoveAll(filepath.Join(repository, rendered)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(work, os.DirFS(repository)); err != nil {
		t.Fatal(err)
	}
	key, kubeconfig := filepath.Join(fixtures(t), "keys", "demo.agekey"), read(t, filepath.Join(fixtures(t), "shared", "dest.yaml"))
	here := must(os.Getwd())
	defer t.Chdir(here)
	t.Chdir(work)
	t.Setenv("SOPS_AGE_KEY_FILE", key)
	if err := os.WriteFile("dest.yaml", []byte(kubeconfig), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll("single", 0o755); err != nil {
		t.Fatal(err)
	}
	git(t, "init", "-q")
	for _, command := range goldenCommands {
		goldenRun(t, command...)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", "")
	if err := os.Remove("dest.yaml"); err != nil {
		t.Fatal(err)
	}
	commitAll(t)
	findings := validated(t)
	for _, err := range []error{
		os.RemoveAll(".git"), os.RemoveAll(repository), os.CopyFS(repository, os.DirFS(work)),
		os.WriteFile(filepath.Join(dir, "validate.txt"), []byte(findings), 0o644),
		os.WriteFile(filepath.Join(dir, "differences.txt"), nil, 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// changedLines are the lines of a that b lacks, with a minus, and those of b that a lacks.
func changedLines(what, a, b string) (changes []string) {
	for sign, texts := range map[string][2]string{"-": {a, b}, "+": {b, a}} {
		others := strings.Split(texts[1], "\n")
		for line := range strings.SplitSeq(texts[0], "\n") {
			if !slices.Contains(others, line) {
				changes = append(changes, fmt.Sprintf("%s: %s%s", what, sign, line))
			}
		}
	}
	return changes
}

func validated(t *testing.T) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := runIn(t, []string{"validate", "--strict", "."}, "", &stdout, &stderr); code > 1 || stderr.Len() > 0 {
		t.Fatalf("exit %d: %s", code, &stderr)
	}
	return stdout.String()
}

func goldenRun(t *testing.T, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := runIn(t, args, "", &stdout, &stderr); code != 0 {
		t.Fatalf("%q: exit %d: %s%s", args, code, &stdout, &stderr)
	}
}

func commitAll(t *testing.T) {
	t.Helper()
	git(t, "init", "-q")
	git(t, "add", "-A")
	git(t, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "x")
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("git", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return string(out)
}
