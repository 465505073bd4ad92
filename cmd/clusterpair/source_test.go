package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"clusterpair.dev/internal/project"
)

// moduleFiles are the files of the module as they lie in the work tree, by
// their slash-separated names: what a clone or a release of it holds.
func moduleFiles() (map[string][]byte, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--",
		".pre-commit-hooks.yaml", "LICENSE", "go.mod", "go.sum", "cmd", "docs", "examples", "generator", "internal", "schema")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	files := make(map[string][]byte)
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		data, err := os.ReadFile(filepath.Join("../..", filepath.FromSlash(name)))
		if os.IsNotExist(err) {
			continue // removed, and the index does not know yet
		}
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

// goEnvironment is where go finds modules and what it has built, and how. What it
// builds then has no tables for debuggers, which would double the time of the linker.
func goEnvironment() ([]string, error) {
	names := []string{"GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GOTOOLCHAIN", "CGO_ENABLED"}
	out, err := exec.Command("go", append([]string{"env"}, names...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("go env: %w", err)
	}
	values := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(values) != len(names) {
		return nil, fmt.Errorf("go env prints %d lines for %d variables", len(values), len(names))
	}
	env := make([]string, len(names))
	for i, name := range names {
		if name == "GOFLAGS" {
			values[i] = strings.TrimSpace(values[i] + " -ldflags=-w")
		}
		env[i] = name + "=" + values[i]
	}
	return env, nil
}

// releaseCommand is release: makes a Git repository of this module with the tag of the
// version that pages name, which Git takes for the one at the URL of the project, and
// lets go build as outside of the script.
func releaseCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: release")
	}
	dir := ts.MkAbs(".release")
	ts.Check(tagged(dir))
	ts.Check(ts.Exec("git", "config", "--global", "url.file://"+dir+".insteadOf", project.Repository()))
	env, err := goEnvironment()
	ts.Check(err)
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		ts.Setenv(name, value)
	}
}

// tagged makes a Git repository of this module with the tag of the version that pages name.
func tagged(dir string) error {
	files, err := moduleFiles()
	if err != nil {
		return err
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		info, err := os.Stat(filepath.Join("../..", filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, data, info.Mode().Perm()); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"init", "-q", dir},
		{"-C", dir, "add", "."},
		{"-C", dir, "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-qm", "Release"},
		{"-C", dir, "tag", project.Version()},
	} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w\n%s", args, err, out)
		}
	}
	return nil
}
