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
		t.Error(stray + "; make names NAME=VALUE changes internal/project/names.env, and all that follow it")
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
	const fork, next = "git.example.net/" + "Acme/cp", "v0.98.9-rc.1"
	names("REPOSITORY=https://"+fork, "VERSION="+next)
	after := files(t, dir)
	for _, stray := range strays(after, "https://"+fork, fork, strings.ToLower(fork), next) {
		t.Error(stray)
	}
	old := regexp.MustCompile(regexp.QuoteMeta(Repository()) + `|"` + regexp.QuoteMeta(Module()) + `/(internal|generator|schema)`)
	for name, text := range after {
		if found := old.FindString(text); found != "" {
			t.Errorf("%s: %s is left", name, found)
		}
	}
	if !strings.Contains(after["schema/cue.mod/module.cue"], `"`+strings.ToLower(fork)+`/schema@v0"`) {
		t.Error("a module of CUE has a name with capitals, or another one")
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

// TestNamesRefused: what Go, Git or a registry would not take changes nothing.
func TestNamesRefused(t *testing.T) {
	dir := t.TempDir()
	names := filepath.Join(t.TempDir(), "names")
	if out, err := exec.Command("go", "build", "-C", "../../tools", "-o", names, "./names").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	script := `set -eu; cd "$1"; git init -q; mkdir -p internal/project; cat > internal/project/names.env`
	cmd := exec.Command("sh", "-c", script, "sh", dir)
	before, err := os.ReadFile("names.env")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(before)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const repository, module, image, version = " is not like https://github.com/acme/cp", " is not like github.com/acme/cp", " is not like ghcr.io/acme/cp", " is not like v1.2.3"
	for arg, want := range map[string]string{
		"REPOSITORY=http://github.com/acme/cp":           "REPOSITORY=http://github.com/acme/cp" + repository,
		"REPOSITORY=git@github.com:acme/cp":              "REPOSITORY=git@github.com:acme/cp" + repository,
		"REPOSITORY=https://github.com/acme/cp.git":      "REPOSITORY=https://github.com/acme/cp.git" + repository,
		"REPOSITORY=https://github.com/acme/cp/":         "REPOSITORY=https://github.com/acme/cp/" + repository,
		"REPOSITORY=https://github.com":                  "REPOSITORY=https://github.com" + repository,
		"REPOSITORY=https://github.com/ac me/cp":         "REPOSITORY=https://github.com/ac me/cp" + repository,
		"REPOSITORY=https://github.com/acme/$cp":         "REPOSITORY=https://github.com/acme/$cp" + repository,
		"REPOSITORY=https://github.com/acme/cp?x=1":      "REPOSITORY=https://github.com/acme/cp?x=1" + repository,
		"REPOSITORY=https://a:b@github.com/acme/cp":      "REPOSITORY=https://a:b@github.com/acme/cp" + repository,
		"REPOSITORY=https://git.example.com:8443/acme/x": "MODULE=git.example.com:8443/acme/x" + module,
		"REPOSITORY=https://github.com/acme/v2":          "VERSION=" + Version() + " is none of MODULE=github.com/acme/v2: to Go, versions from v2 on are those of a module that ends like /v2",
		"MODULE=cp":                                      "MODULE=cp" + module,
		"IMAGE=ghcr.io/A/cp":                             "IMAGE=ghcr.io/A/cp" + image,
		"IMAGE=acme/cp":                                  "IMAGE=acme/cp" + image,
		"IMAGE=ghcr.io/cp:v1":                            "IMAGE=ghcr.io/cp:v1" + image,
		"VERSION=0.2.0":                                  "VERSION=0.2.0" + version,
		"VERSION=v0.2":                                   "VERSION=v0.2" + version,
		"VERSION=v00.2.0":                                "VERSION=v00.2.0" + version,
		"VERSION=v0.2.0+x":                               "VERSION=v0.2.0+x" + version,
		"VERSION=v2.0.0":                                 "VERSION=v2.0.0 is none of MODULE=" + Module() + ": to Go, versions from v2 on are those of a module that ends like /v2",
		"VERSION=":                                       `"VERSION=" is none of REPOSITORY=VALUE, MODULE=VALUE, IMAGE=VALUE, VERSION=VALUE`,
		"NAME=x":                                         `"NAME=x" is none of REPOSITORY=VALUE, MODULE=VALUE, IMAGE=VALUE, VERSION=VALUE`,
		"":                                               "what shall change? REPOSITORY=VALUE, MODULE=VALUE, IMAGE=VALUE, VERSION=VALUE",
	} {
		args := []string{"-C", dir, arg}
		if arg == "" {
			args = args[:2]
		}
		out, err := exec.Command(names, args...).CombinedOutput()
		if err == nil || string(out) != "names: "+want+"\n" {
			t.Errorf("%s: %v: %s", arg, err, out)
		}
		if after, err := os.ReadFile(filepath.Join(dir, "internal/project/names.env")); err != nil || !bytes.Equal(before, after) {
			t.Fatalf("%s changes names: %v\n%s", arg, err, after)
		}
	}
}

var hosted = regexp.MustCompile(`(?:https://)?(?:[a-z0-9-]+\.)+[a-z]{2,}(?:/[\w.-]+)*/clusterpair\b(?:[^\w.-]|$)`)

// strays are places that name another project, or another version of this one.
func strays(files map[string]string, repository, module, image, version string) []string {
	versions := regexp.MustCompile(`(?:` + regexp.QuoteMeta(image) + `:|/cmd/\.\.\.@|\brev: |\bclusterpair_|VERSION[=:] ?|VERSION:-|\bdefault: |/download/)v\d+\.\d+\.\d+`)
	more := regexp.MustCompile(`^(?:\d|-[0-9A-Za-z])`)
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
		for _, at := range versions.FindAllStringIndex(files[name], -1) {
			place := files[name][at[0]:at[1]]
			rest, ours := strings.CutPrefix(files[name][at[0]+strings.LastIndexByte(place, 'v'):], version)
			if (!ours || more.MatchString(rest)) && !strings.HasSuffix(name, "_test.go") && !strings.Contains(place, "example.com") {
				found = append(found, name+" has "+place+", and not "+version)
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
