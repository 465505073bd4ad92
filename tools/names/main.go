// Names changes where the project lives, in internal/project/names.env and wherever a file
// of the repository writes it out.
//
//	names REPOSITORY=https://github.com/acme/cp   for a fork: the others follow from it
//	names IMAGE=registry.example.com/clusterpair           one of the others by itself
//	names VERSION=v0.1.0                                   for the next release
//
// The group of the API and the annotations, clusterpair.dev/..., are no such names: the
// files of users have them.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	file    = "internal/project/names.env"
	version = `v\d+\.\d+\.\d+(?:-[0-9A-Za-z.-]+)?`
)

// keys are the names in the order in which they are replaced: the URL of the repository
// may contain the module, and that the image.
var keys = []string{"REPOSITORY", "MODULE", "IMAGE", "VERSION"}

func main() {
	dir := flag.String("C", ".", "the repository")
	flag.Parse()
	if err := run(*dir, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "names:", err)
		os.Exit(1)
	}
}

func run(dir string, args []string) error {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	old, names := make(map[string]string), make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && slices.Contains(keys, key) {
			old[key], names[key] = value, value
		}
	}
	if err := set(names, args); err != nil {
		return err
	}
	list := exec.Command("git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	listed, err := list.Output()
	if err != nil {
		return fmt.Errorf("git ls-files: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		if err := rewrite(dir, name, old, names); err != nil {
			return err
		}
	}
	return nil
}

// set changes names as arguments say. From a new repository the module and the image
// follow, unless they are given, too.
func set(names map[string]string, args []string) error {
	given := make(map[string]string)
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || !slices.Contains(keys, key) || value == "" {
			return fmt.Errorf("%q is none of %s=VALUE", arg, strings.Join(keys, "=VALUE, "))
		}
		given[key] = value
	}
	if repository := given["REPOSITORY"]; repository != "" {
		u, err := url.Parse(repository)
		if err != nil || u.Scheme != "https" || u.Host == "" || len(u.Path) < 2 || strings.HasSuffix(u.Path, "/") {
			return fmt.Errorf("REPOSITORY=%s is not like https://github.com/acme/cp", repository)
		}
		registry := map[string]string{"github.com": "ghcr.io", "gitlab.com": "registry.gitlab.com"}[u.Host]
		if registry == "" {
			registry = u.Host
		}
		names["MODULE"], names["IMAGE"] = u.Host+u.Path, strings.ToLower(registry+u.Path)
	}
	for key, value := range given {
		names[key] = value
	}
	if !regexp.MustCompile("^" + version + "$").MatchString(names["VERSION"]) {
		return fmt.Errorf("VERSION=%s is not like v1.2.3", names["VERSION"])
	}
	return nil
}

var (
	released = regexp.MustCompile(`(^|/)` + version + `/`)
	packages = `(?:cmd|internal|generator|schema|docs|examples|bench|e2e|tools)`
)

// rewrite replaces the old names in a file. What is of one release, such as its part of the
// changelog, stays.
func rewrite(dir, name string, old, names map[string]string) error {
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || strings.HasSuffix(name, ".sum") || released.MatchString(name) {
		return nil // nothing that names where the project lives
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.IndexByte(text, 0) >= 0 {
		return err
	}
	changed := text
	replace := func(before, key, after string) {
		if old[key] != names[key] {
			r := regexp.MustCompile("(" + before + ")" + regexp.QuoteMeta(old[key]) + "(" + after + ")")
			changed = r.ReplaceAll(changed, []byte("${1}"+names[key]+"${2}"))
		}
	}
	if name == file {
		for _, key := range keys {
			replace("(?m:^"+key+"=)", key, "(?m:$)")
		}
	} else {
		if name != "CHANGELOG.md" {
			// Before the image, whose name is replaced next, and may be that of the module.
			image, module := regexp.QuoteMeta(old["IMAGE"]), regexp.QuoteMeta(old["MODULE"])
			replace(image+":|"+module+`/cmd/\.\.\.@|\brev: |\bclusterpair_|VERSION[=:] ?|VERSION:-|\bdefault: |/download/`, "VERSION", `(?:\b|_)`)
		}
		replace("", "REPOSITORY", `\b`)
		replace(`(?:^|[^\w./-])`, "MODULE", "/"+packages+`(?:[/"@\]\s]|$)`)
		if strings.HasSuffix(name, ".mod") {
			replace(`(?m:^module )`, "MODULE", "(?m:$)")
		}
		replace(`(?:^|[^\w./-])`, "IMAGE", `(?:[:@"\s]|$)`)
	}
	if strings.HasSuffix(name, ".go") && !bytes.Equal(text, changed) {
		if changed, err = format.Source(changed); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if bytes.Equal(text, changed) {
		return nil
	}
	return os.WriteFile(path, changed, info.Mode().Perm())
}
