package gitfiles

import (
	"bufio"
	"bytes"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// IgnoreFile is the file at the top of a repository that says what every command leaves
// out, unless the user names it.
const IgnoreFile = ".clusterpairignore"

// Patterns are those of IgnoreFile, as they are written there; none without such a file.
func (r Repository) Patterns() []string {
	data, err := os.ReadFile(filepath.Join(r.Root, IgnoreFile))
	if err != nil {
		return nil
	}
	var patterns []string
	for in := bufio.NewScanner(bytes.NewReader(data)); in.Scan(); {
		if line := strings.TrimSpace(in.Text()); line != "" && line[0] != '#' {
			patterns = append(patterns, line)
		}
	}
	return patterns
}

// leavesOut tells by its path from the root whether a file or directory is left out by
// IgnoreFile, or by the patterns of the user, which are from the working directory. What
// is below a directory that is left out is not asked for. It is nil without patterns.
func (r Repository) leavesOut() func(p string) bool {
	patterns := r.Patterns()
	own, _ := filepath.Rel(r.Root, r.Cwd)
	for _, pattern := range r.Exclude {
		if pattern = path.Clean(filepath.ToSlash(pattern)); strings.Contains(pattern, "/") {
			pattern = "/" + path.Join(filepath.ToSlash(own), pattern)
		}
		patterns = append(patterns, pattern)
	}
	if len(patterns) == 0 {
		return nil
	}
	return func(p string) bool {
		out := false
		for _, pattern := range patterns {
			pattern, again := strings.CutPrefix(pattern, "!")
			if out == again && matchIgnored(pattern, p) {
				out = !again
			}
		}
		return out
	}
}

// matchIgnored matches a path against a pattern as .gitignore has them: without a slash
// it fits at any depth, with one from the top.
func matchIgnored(pattern, p string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	segments := strings.Split(strings.TrimPrefix(pattern, "/"), "/")
	if !strings.Contains(pattern, "/") {
		segments = []string{"**", pattern}
	}
	return matchSegments(segments, strings.Split(p, "/"))
}

// isLeftOut tells whether a file, or a directory above it, is left out.
func isLeftOut(out func(string) bool, p string) bool {
	for ; out != nil && p != "." && p != "/"; p = path.Dir(p) {
		if out(p) {
			return true
		}
	}
	return false
}

// IsSample tells by its path, below the directory that the user has named, whether a file
// is for tests, an example, a document, or the code of others: a credential in it was
// most likely made for the purpose.
func (r Repository) IsSample(dir, rel string) bool {
	segments := strings.Split(strings.ToLower(filepath.ToSlash(rel)), "/")
	name := segments[len(segments)-1]
	for i, segment := range segments[:len(segments)-1] {
		if slices.ContainsFunc(wordsOf(segment), func(word string) bool { return slices.Contains(sampleWords, word) }) {
			return true
		}
		if stage := segment == "test" || segment == "tests" || segment == "demo"; stage && !isStage(filepath.Join(dir, filepath.Join(strings.Split(filepath.ToSlash(rel), "/")[:i]...)), segments[:i]) {
			return true
		}
		if segment == "ci" && strings.HasSuffix(name, "values.yaml") { // of the tests of a Helm chart
			return true
		}
	}
	for _, document := range []string{"readme", "changelog", "contributing"} {
		if strings.HasPrefix(name, document) {
			return true
		}
	}
	return strings.Contains(name, "_test.") || strings.Contains(name, ".test.") || strings.Contains(name, ".spec.") ||
		slices.ContainsFunc(wordsOf(name), func(word string) bool {
			return word != "docs" && word != "doc" && word != "design" && word != "hack" && slices.Contains(sampleWords, word)
		})
}

// isSampleOf is IsSample for a path from the root, below one of several directories.
func (r Repository) isSampleOf(dirs []string, p string) func() bool {
	return func() bool {
		for _, dir := range dirs {
			if rel, err := filepath.Rel(r.Path(dir), p); err == nil && filepath.IsLocal(rel) {
				return r.IsSample(dir, rel)
			}
		}
		return r.IsSample(r.Root, p)
	}
}

// sampleWords are the words in the names of folders that tell what is in them.
var sampleWords = []string{"testdata", "testing", "integrationtest", "integrationtests", "e2e", "fixture", "fixtures", "testspec", "testspecs", "mock", "mocks", "dummy", "fake",
	"example", "examples", "sample", "samples", "docs", "doc", "documentation", "website", "design", "proposals", "hack", "vendor", "node_modules", "thirdparty"}

// wordsOf are the words in a name, and the name itself.
func wordsOf(name string) []string {
	words := strings.FieldsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	of := func(word string) bool { return slices.Contains(testWords, word) }
	if len(words) > 1 && (slices.Contains(words, "tests") || slices.Contains(words, "test") && slices.ContainsFunc(words, of)) {
		words = append(words, "testdata")
	}
	return append(words, name)
}

// testWords are what stands beside the word test in the name of a folder of tests.
var testWords = []string{"integration", "unit", "load", "functional", "acceptance", "smoke", "conformance", "data", "suite", "resources", "assets", "util", "utils", "specs"}

// isStage tells whether a folder holds the stages of an environment, so that test is one
// of them, or stands below one that does.
func isStage(dir string, above []string) bool {
	for _, segment := range above {
		switch segment {
		case "clusters", "cluster", "env", "envs", "environments", "overlays", "stages", "apps", "kubernetes", "k8s", "infrastructure", "tenants", "fleet":
			return true
		}
	}
	for _, other := range []string{"prod", "production", "live", "staging", "stage", "stg", "dev", "development", "uat", "qa"} {
		if info, err := os.Stat(filepath.Join(dir, other)); err == nil && info.IsDir() {
			return true
		}
	}
	return false
}
