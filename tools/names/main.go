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
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	file    = "internal/project/names.env"
	version = `v(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*)(?:-[0-9A-Za-z.-]+)?`
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
	if len(args) == 0 {
		return fmt.Errorf("what shall change? %s=VALUE", strings.Join(keys, "=VALUE, "))
	}
	given := make(map[string]string)
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok || !slices.Contains(keys, key) || value == "" {
			return fmt.Errorf("%q is none of %s=VALUE", arg, strings.Join(keys, "=VALUE, "))
		}
		given[key] = value
	}
	if repository := given["REPOSITORY"]; repository != "" {
		names["REPOSITORY"], names["MODULE"] = repository, strings.TrimPrefix(repository, "https://")
		host, path, _ := strings.Cut(names["MODULE"], "/")
		registry := map[string]string{"github.com": "ghcr.io", "gitlab.com": "registry.gitlab.com"}[host]
		if registry == "" {
			registry = host
		}
		names["IMAGE"] = strings.ToLower(registry + "/" + path)
	}
	for key, value := range given {
		names[key] = value
	}
	return check(names)
}

// check refuses what Go, Git or a registry would not take.
func check(names map[string]string) error {
	for _, key := range keys {
		if value := names[key]; !like[key].MatchString(value) || strings.HasSuffix(value, ".git") {
			return fmt.Errorf("%s=%s is not like %s", key, value, example[key])
		}
	}
	// https://go.dev/ref/mod#major-version-suffixes
	suffix := majorSuffix.FindString(names["MODULE"])
	major, _, _ := strings.Cut(names["VERSION"], ".")
	if early := major == "v0" || major == "v1"; suffix != "/"+major && (suffix != "" || !early) {
		return fmt.Errorf("VERSION=%s is none of MODULE=%s: to Go, versions from v2 on are those of a module that ends like /v2", names["VERSION"], names["MODULE"])
	}
	return nil
}

// like is what names look like, and example such a name.
var (
	like = map[string]*regexp.Regexp{
		"REPOSITORY": regexp.MustCompile(`^https://[a-z0-9.-]+(?::\d+)?(?:/[A-Za-z0-9_][A-Za-z0-9._~-]*)+$`),
		"MODULE":     regexp.MustCompile(`^[a-z0-9-]+(?:\.[a-z0-9-]+)+(?:/[A-Za-z0-9_][A-Za-z0-9._~-]*)*$`),
		"IMAGE":      regexp.MustCompile(`^(?:[a-z0-9-]+(?:\.[a-z0-9-]+)+|localhost)(?::\d+)?(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)+$`), // https://github.com/distribution/reference
		"VERSION":    regexp.MustCompile("^" + version + "$"),
	}
	example = map[string]string{"REPOSITORY": "https://github.com/acme/cp", "MODULE": "github.com/acme/cp", "IMAGE": "ghcr.io/acme/cp", "VERSION": "v1.2.3"}

	majorSuffix = regexp.MustCompile(`/v\d+$`)
)

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
	if strings.HasSuffix(name, ".cue") { // whose modules have no capitals
		old, names = small(old), small(names)
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
		replace(`(?:^|[^\w./-]|docker://)`, "IMAGE", `(?:[:@"\s]|$)`)
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

// small are names with a module in small letters.
func small(names map[string]string) map[string]string {
	names = maps.Clone(names)
	names["MODULE"] = strings.ToLower(names["MODULE"])
	return names
}
