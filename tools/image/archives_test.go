package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// TestArchives makes a release of one platform in two clones at two paths, gets the same
// bytes, and does with it what its user does.
func TestArchives(t *testing.T) {
	const version = "v0.98.7"
	here := []platform{{"linux", runtime.GOARCH}}
	dir := t.TempDir()
	make := func(name string) string {
		clone := filepath.Join(dir, name)
		out := filepath.Join(clone, "bin", "release")
		release(t, clone, version)
		if err := archives(clone, out, version, here); err != nil {
			t.Fatal(err)
		}
		if entries, err := os.ReadDir(filepath.Dir(out)); err != nil || len(entries) != 1 {
			t.Errorf("beside the release there are %v, %v", entries, err)
		}
		return out
	}
	first, second := make("a"), make("an/other")
	files, err := os.ReadDir(first)
	if err != nil || len(files) < 12 {
		t.Fatalf("%v, %v", files, err)
	}
	sums, err := os.ReadFile(filepath.Join(first, "SHA256SUMS"))
	if err != nil || strings.Count(string(sums), "\n") != len(files)-1 { // all but itself
		t.Errorf("%v\n%s", err, sums)
	}
	for _, f := range files {
		one, err := os.ReadFile(filepath.Join(first, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if other, err := os.ReadFile(filepath.Join(second, f.Name())); err != nil || !bytes.Equal(one, other) {
			t.Errorf("%s differs: %v", f.Name(), err)
		}
	}

	name := "clusterpair_" + version + "_linux_" + runtime.GOARCH
	script := `set -eu
cd ` + first + `
sha256sum -c --quiet --strict SHA256SUMS
mkdir image
tar xf clusterpair_` + version + `_image.oci.tar -C image
tar xzf ` + name + `.tar.gz
cd ` + name + `
test -s THIRD_PARTY_LICENSES -a -s LICENSE -a -s man/man1/clusterpair-generate.1 -a -s completions/_clusterpair -a -s clusterpair-helper.cdx.json
grep -q '^Go, go1' THIRD_PARTY_LICENSES
grep -q '^github.com/getsops/sops/v3 v3' THIRD_PARTY_LICENSES
test "$(grep -c 'Apache License' THIRD_PARTY_LICENSES)" -gt 20
! grep -q ca-certificates clusterpair.cdx.json
./clusterpair version --check ../clusterpair_` + version + `.intoto.json
./clusterpair validate ` + filepath.Join(dir, "a", "examples", "kustomize") + `
echo '#ClusterPair: metadata: namespace: "migrationnamespace"' > policy.cue
./clusterpair validate --policy policy.cue ` + filepath.Join(dir, "a", "examples", "kustomize") + `
grep -q "sha256: $(sha256sum < ../` + name + `.tar.gz | cut -d ' ' -f 1)$" ../clusterpair.yaml
grep -q "sha256 \"$(sha256sum < ../` + name + `.tar.gz | cut -d ' ' -f 1)\"$" ../clusterpair.rb
`
	out, err := exec.Command("sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"clusterpair " + version + " go", "is linux_" + runtime.GOARCH + "/clusterpair of ", "all fine: 1 ClusterPair"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}

	// The image is whole, and the one of which the provenance speaks.
	oci, err := layout.ImageIndexFromPath(filepath.Join(first, "image"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(oci); err != nil {
		t.Error(err)
	}
	manifest, err := oci.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 || manifest.Manifests[0].Annotations["org.opencontainers.image.ref.name"] != version {
		t.Fatalf("%+v, %v", manifest, err)
	}
	provenance, err := os.ReadFile(filepath.Join(first, "clusterpair_"+version+".intoto.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []string{"pkg:golang/github.com/spf13/cobra@v", "pkg:golang/cuelang.org/go@v"} { // of each program
		if strings.Count(string(provenance), of) != 1 {
			t.Errorf("the provenance has not one %s", of)
		}
	}
	var statement struct{ Subject []subject }
	if err := json.Unmarshal(provenance, &statement); err != nil {
		t.Fatal(err)
	}
	repository, _, _ := strings.Cut(tag, ":")
	if !slices.ContainsFunc(statement.Subject, func(s subject) bool {
		return s.Name == repository && s.Digest["sha256"] == manifest.Manifests[0].Digest.Hex
	}) {
		t.Errorf("the provenance does not speak of %s@%s", repository, manifest.Manifests[0].Digest)
	}
	published(t, filepath.Join(dir, "a"), manifest.Manifests[0].Digest.String())
	for _, name := range []string{"image", name} { // what the script has unpacked
		os.RemoveAll(filepath.Join(first, name))
	}
	t.Run("Verify", func(t *testing.T) { verify(t, filepath.Join(dir, "a"), version) })
	typeInstall(t, first, filepath.Join(dir, "a"), version)
}

// published types the line of docs/release.md that brings the image into a registry, where it
// has to have the digest of the provenance.
func published(t *testing.T, clone, digest string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(clone, "docs", "release.md"))
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^\$ (skopeo copy .*docker://)(\S+)$`).FindStringSubmatch(string(page))
	if line == nil {
		t.Fatal("docs/release.md has no line for skopeo")
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	_, path, _ := strings.Cut(line[2], "/")
	repository, version, _ := strings.Cut(path, ":")
	cmd := exec.Command("sh", "-euc", strings.Replace(line[1], "copy", "--insecure-policy copy --dest-tls-verify=false", 1)+strings.TrimPrefix(server.URL, "http://")+"/"+path)
	cmd.Dir = clone
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: apt-get install skopeo\n%s", err, out)
	}
	request, err := http.NewRequest(http.MethodHead, server.URL+"/v2/"+repository+"/manifests/"+version, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", string(types.OCIImageIndex))
	answer, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("Docker-Content-Digest"); got != digest {
		t.Errorf("in the registry the image is %s, and the provenance speaks of %s", got, digest)
	}
}

// TestIsOf: a tree that is not the version is refused before anything is built, and nothing
// is left.
func TestIsOf(t *testing.T) {
	t.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	const start = "git init -q; mkdir -p internal/project; printf 'REPOSITORY=https://x.y/z\\nIMAGE=x.y/z\\nVERSION=v0.2.0\\n' > internal/project/names.env; git add -A; "
	const commit = start + "git -c user.name=a -c user.email=a@example.com commit -qm x; "
	const tagged = commit + "git -c user.name=a -c user.email=a@example.com tag -a -m x v0.2.0; "
	for _, c := range []struct{ name, script, version, want string }{
		{"all well", tagged, "v0.2.0", ""},
		{"a tag without a message", commit + "git tag v0.2.0", "v0.2.0", ""},
		{"a branch of the name of the tag", tagged + "git branch v0.2.0; git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m y; git branch -f v0.2.0", "v0.2.0", "the tag v0.2.0 is at commit"},
		{"without a v", tagged, "0.2.0", "VERSION=0.2.0 is not like v1.2.3"},
		{"with two numbers", tagged, "v0.2", "VERSION=v0.2 is not like v1.2.3"},
		{"with a path", tagged, "v0.2.0-/../../x", "VERSION=v0.2.0-/../../x is not like v1.2.3"},
		{"another version", tagged, "v0.3.0", "the pages and manifests name v0.2.0: make names VERSION=v0.3.0, commit, and give that commit the tag"},
		{"a change", tagged + "echo >> internal/project/names.env", "v0.2.0", "the work tree is not what is committed:\nM internal/project/names.env\ncommit"},
		{"a file too many", tagged + "echo > 'a b'", "v0.2.0", "the work tree is not what is committed:\n?? \"a b\"\ncommit"},
		{"no tag", commit, "v0.2.0", "there is no tag v0.2.0: git tag -a -m 'version v0.2.0' v0.2.0"},
		{"an older tag", tagged + "git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m y", "v0.2.0", "the tag v0.2.0 is at commit"},
		{"no commit", start, "v0.2.0", "the work tree is not what is committed:\nA  internal"},
		{"no repository", start + "rm -rf .git", "v0.2.0", "git status: fatal: not a git repository"},
		{"no names", "git init -q", "v0.2.0", "open "},
	} {
		dir := t.TempDir()
		cmd := exec.Command("sh", "-euc", c.script)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c.name, err, out)
		}
		if c.want == "" {
			if err := isOf(dir, c.version); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		out := filepath.Join(dir, "bin", "release")
		if err := archives(dir, out, c.version, platforms); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if _, err := os.Stat(filepath.Dir(out)); err == nil {
			t.Errorf("%s: something was left", c.name)
		}
	}
}

// TestThirdParty: of Go and of each module the texts are there, whole, those of code that a
// module has taken from others, too.
func TestThirdParty(t *testing.T) {
	b := &built{info: &debug.BuildInfo{GoVersion: "go1.26", Path: "./cmd/clusterpair", Deps: []*debug.Module{{Path: "github.com/getsops/sops/v3", Version: "v3.13.3"}, {Path: "filippo.io/age", Version: "v1.3.1"}, {Path: "github.com/spf13/cobra", Version: "v1.10.2"}}}}
	got, err := thirdParty("../..", b)
	if err != nil {
		t.Fatal(err)
	}
	where, err := exec.Command("sh", "-c", "go env -C ../.. GOROOT && go list -C ../.. -m -f '{{.Dir}}' filippo.io/age github.com/spf13/cobra github.com/getsops/sops/v3").Output()
	dirs := strings.Fields(string(where))
	if err != nil || len(dirs) != 4 {
		t.Fatal(dirs, err)
	}
	for heading, file := range map[string]string{
		"Go, go1.26: LICENSE":                                filepath.Join(dirs[0], "LICENSE"),
		"filippo.io/age v1.3.1: LICENSE":                     filepath.Join(dirs[1], "LICENSE"),
		"github.com/spf13/cobra v1.10.2: LICENSE.txt":        filepath.Join(dirs[2], "LICENSE.txt"),
		"github.com/getsops/sops/v3 v3.13.3: shamir/LICENSE": filepath.Join(dirs[3], "shamir", "LICENSE"),
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rule := strings.Repeat("=", 80)
		if want := rule + "\n" + heading + "\n" + rule + "\n\n" + strings.TrimSpace(string(text)) + "\n"; !strings.Contains(string(got), want) {
			t.Errorf("%s is not there, or not whole", heading)
		}
	}
}

// release clones this repository, and has its last commit be that of a version.
func release(t *testing.T, clone, version string) {
	t.Helper()
	script := `set -eu
git clone -q --no-local ../.. "$1"
go run -C ../../tools ./names -C "$1" VERSION="$2"
cd "$1"
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.com GIT_AUTHOR_DATE=2026-01-01T00:00:00Z
export GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.com GIT_COMMITTER_DATE=2026-01-01T00:00:00Z
git commit -qam release
git tag -a -m "version $2" "$2"
`
	if text, err := exec.Command("sh", "-c", script, "sh", clone, version).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
}
