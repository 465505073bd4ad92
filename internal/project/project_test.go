package project

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestNames finds names of the project that are not those of names.env.
func TestNames(t *testing.T) {
	for _, stray := range strays(files(t, "../.."), Repository(), Module(), Image(), Version()) {
		t.Error(stray + "; make names writes what internal/project/names.env says")
	}
	bad := map[string]string{"a.md": "git clone https://git.example.net/x/" + "clusterpair\n", "b.yaml": "image: " + Image() + ":v9.9.9\n", "c.yaml": "  rev: v9.9.9\n", "d.go": "import \"example.net/cp/cmd/" + "clusterpair\"\n"}
	if got := strays(bad, Repository(), Module(), Image(), Version()); len(got) != len(bad) {
		t.Errorf("of %d strays were found: %q", len(bad), got)
	}
}

// TestFork sets the one variable of a fork, looks for what is left of the old names, and
// goes back to the same bytes. A release of another version is named everywhere, too.
func TestFork(t *testing.T) {
	before := files(t, "../..")
	dir := t.TempDir()
	for name, text := range before {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("git", "-C", dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names := func(args ...string) {
		t.Helper()
		cmd := exec.Command("go", append([]string{"run", "-C", "../../tools", "./names", "-C", dir}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	const fork, next = "git.example.net/" + "acme/cp", "v7.8.9"
	names("REPOSITORY=https://"+fork, "VERSION="+next)
	after := files(t, dir)
	for _, stray := range strays(after, "https://"+fork, fork, fork, next) {
		t.Error(stray)
	}
	old := regexp.MustCompile(regexp.QuoteMeta(Repository()) + `|"` + regexp.QuoteMeta(Module()) + `/(internal|generator|schema)`)
	for name, text := range after {
		if found := old.FindString(text); found != "" {
			t.Errorf("%s: %s is left", name, found)
		}
	}
	if !strings.Contains(after["internal/expiring/expiring.go"], `"@clusterpair.dev"`) {
		t.Error("what users have in their files has changed")
	}
	names("REPOSITORY="+Repository(), "MODULE="+Module(), "IMAGE="+Image(), "VERSION="+Version())
	if again := files(t, dir); !maps.Equal(again, before) {
		for name := range before {
			if again[name] != before[name] {
				t.Errorf("%s is not what it was", name)
			}
		}
	}
}

var hosted = regexp.MustCompile(`(?:https://)?(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w.-]+)*/clusterpair\b(?:[^\w.-]|$)`)

// strays are places that name another project, or another version of this one.
func strays(files map[string]string, repository, module, image, version string) []string {
	versions := regexp.MustCompile(`(?:` + regexp.QuoteMeta(image) + `:|/cmd/\.\.\.@|\brev: |\bclusterpair_|VERSION[=:] ?|VERSION:-|\bdefault: |/download/)(v\d+\.\d+\.\d+)`)
	var found []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasSuffix(name, ".sum") || name == "CHANGELOG.md" || regexp.MustCompile(`(^|/)v\d+\.\d+\.\d+/`).MatchString(name) {
			continue
		}
		for _, place := range hosted.FindAllString(files[name], -1) {
			ours := strings.HasPrefix(place, repository) || strings.HasPrefix(place, image) || strings.HasPrefix(place, module+"/cmd/clusterpair")
			if !ours && !strings.Contains(place, "example.com/") && !strings.HasPrefix(place, "good.txt/") {
				found = append(found, name+" names "+strings.TrimSpace(place))
			}
		}
		for _, m := range versions.FindAllStringSubmatch(files[name], -1) {
			if m[1] != version && !strings.HasSuffix(name, "_test.go") && !strings.Contains(m[0], "example.com") {
				found = append(found, name+" has "+m[0]+", and not "+version)
			}
		}
	}
	return found
}

// files are the texts of a repository, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	listed, err := exec.Command("git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	texts := make(map[string]string)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || !info.Mode().IsRegular() {
			continue // a link, or about to be removed
		}
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.IndexByte(text, 0) < 0 {
			texts[name] = string(text)
		}
	}
	return texts
}
