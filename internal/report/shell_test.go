package report_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

func TestTyped(t *testing.T) {
	for name, want := range map[string]string{
		"rendered/apps/west.yaml": "rendered/apps/west.yaml",
		"ümlaut.yaml":             "ümlaut.yaml",
		"-q.yaml":                 "./-q.yaml",
		"b c.yaml":                "'b c.yaml'",
		"it's.yaml":               `'it'\''s.yaml'`,
		"~x":                      "'~x'",
		"":                        "''",
		"new\nline's\\.yaml":      `$'new\012line\'s\\.yaml'`,
		"no\xffutf8":              `$'no\377utf8'`,
		"a\u00a0b":                `$'a\302\240b'`,
	} {
		if got := report.Typed(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}

// FuzzTyped: a shell gives the name back, as one argument that is no flag.
func FuzzTyped(f *testing.F) {
	for _, name := range []string{"a.yaml", "-q", "b c", "it's", "new\nline\\", "$x`y`*?[a]!", "é\xff\u200e", "~", "#", "a'b\x01", "'", "\\"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		name = strings.ReplaceAll(name, "\x00", "") // which no name of a file can hold
		out, err := exec.Command("bash", "-c", "printf %s "+report.Typed(name)).Output()
		got := string(out)
		if strings.HasPrefix(name, "-") {
			got = strings.TrimPrefix(got, "./")
		}
		if err != nil || got != name {
			t.Errorf("%q becomes %s, which a shell reads as %q: %v", name, report.Typed(name), got, err)
		}
	})
}

func TestCommands(t *testing.T) {
	for hint, want := range map[string][]string{
		"remove it":                    nil,
		"sops is not here":             {"sops is not here"},
		"add it: git add 'a, b'":       {"git add 'a, b'"},
		`see: git log \', or git show`: {`git log \'`, "git show"},
		"clusterpair init flux, or clusterpair init argocd":             {"clusterpair init flux", "clusterpair init argocd"},
		"if it moved, clusterpair generate -f a; if not, git rm 'x; y'": {"clusterpair generate -f a", "git rm 'x; y'"},
		"mend .sops.yaml, then clusterpair generate && git add b":       {"clusterpair generate && git add b"},
	} {
		if got := report.Commands(hint); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", hint, got, want)
		}
	}
}
