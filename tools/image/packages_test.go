package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// typeInstall does with a release what the pages of its repository say, by scripts in
// script/release: in a bare Debian, into an empty root of rpm, and with kubectl and krew.
// A script that a page names finds the commands of the page in typed1, typed2 and so on.
func typeInstall(t *testing.T, release, repository, version string) {
	t.Helper()
	for program, pkg := range map[string]string{"rpm": "rpm", "ruby": "ruby", "unshare": "util-linux"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: apt-get install %s", err, pkg)
		}
	}
	debian := t.TempDir()
	if out, err := exec.Command("tar", "-xf", filepath.Join(tools(t), "debian.tar"), "-C", debian).CombinedOutput(); err != nil {
		t.Fatalf("%v: make bin/debian.tar\n%s", err, out)
	}
	bin, rpm := t.TempDir(), t.TempDir()
	for path, text := range map[string]string{
		filepath.Join(bin, "debian"):              "exec env HOME=/root unshare --net --pid --fork --mount-proc=" + debian + "/proc chroot " + debian + ` "$@"`, // nothing is fetched
		filepath.Join(bin, "rpm"):                 "exec /usr/bin/rpm --root " + rpm + ` --dbpath /var/lib/rpm "$@"`,
		filepath.Join(bin, "sudo"):                `exec "$@"`, // all is done by root
		filepath.Join(debian, "usr/sbin", "sudo"): `exec "$@"`,
	} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"kubectl", "kubectl-krew", "validate-krew-manifest"} {
		if err := os.Symlink(filepath.Join(tools(t), program), filepath.Join(bin, program)); err != nil {
			t.Fatal(err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "script/release",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// Without the tools: the helper is to be found beside clusterpair.
			env.Setenv("PATH", strings.Join([]string{bin, env.Getenv("PATH")}, string(filepath.ListSeparator)))
			for name, value := range map[string]string{
				"DEBIAN": debian, "RPM": rpm, "RELEASE": release, "REPOSITORY": repository,
				"VERSION": version, "NUMBER": strings.TrimPrefix(version, "v"),
				"ARCHIVE": "clusterpair_" + version + "_linux_" + runtime.GOARCH,
			} {
				env.Setenv(name, value)
			}
			return typed(env.WorkDir, repository, strings.Split(filepath.Base(env.WorkDir), "-")[1])
		},
	})
}

var consoleBlock = regexp.MustCompile("(?m)^<!-- not run: tools/image/script/release/([a-z]+).txtar types it -->\n```console\n((?s:.*?))^```$")

// typed writes the commands of the pages that name a script into files in its directory.
func typed(dir, repository, script string) error {
	page, err := os.ReadFile(filepath.Join(repository, "docs", "install.md"))
	if err != nil {
		return err
	}
	n := 0
	for _, block := range consoleBlock.FindAllStringSubmatch(string(page), -1) {
		if block[1] != script {
			continue
		}
		var commands strings.Builder
		for line := range strings.Lines(block[2]) {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				commands.WriteString(strings.ReplaceAll(command, "linux_amd64", "linux_"+runtime.GOARCH))
			}
		}
		n++
		if err := os.WriteFile(filepath.Join(dir, "typed"+string(rune('0'+n))), []byte(commands.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// TestPackages holds what packages say of themselves against the tools of their systems: on
// another processor, and before a release.
func TestPackages(t *testing.T) {
	dir, out := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "CHANGELOG.md"), []byte("# Changelog\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &built{arch: "arm64", time: time.Unix(1767225600, 0), source: "https://git.example.com/acme/cp", author: "Ada Lovelace <ada@example.com>"}
	archived := []file{{"clusterpair", 0o755, []byte("program")}, {"LICENSE", 0o644, []byte("license")}}
	subjects, err := b.packages(dir, out, t.TempDir(), "v0.3.0-rc.1", archived)
	if err != nil || len(subjects) != 2 {
		t.Fatal(subjects, err)
	}
	for name, c := range map[string]struct{ script, want string }{
		"deb": {`dpkg-deb -f "$0" Version Architecture Homepage Maintainer; dpkg-deb -c "$0" | grep -c usr/bin/clusterpair`,
			"Version: 0.3.0~rc.1-1\nArchitecture: arm64\nHomepage: https://git.example.com/acme/cp\nMaintainer: Ada Lovelace <ada@example.com>\n1\n"},
		"rpm": {`rpm -qp --queryformat '%{version}-%{release} %{arch} %{url} %{packager} %{buildhost} %{buildtime}\n' "$0"; rpm -qp --licensefiles "$0"`,
			"0.3.0~rc.1-1 aarch64 https://git.example.com/acme/cp Ada Lovelace <ada@example.com> git.example.com 1767225600\n/usr/share/licenses/clusterpair/LICENSE\n"},
	} {
		got, err := exec.Command("sh", "-euc", c.script, filepath.Join(out, "clusterpair_v0.3.0-rc.1_linux_arm64."+name)).Output()
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}
