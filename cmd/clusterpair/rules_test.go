package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

// companions are the rules that a bad fixture breaks beside its own, because
// the mistake is one of both.
var companions = map[string][]string{
	"several-credentials": {"basic-auth"},            // the password that is one too many is refused by itself
	"waiver":              {"mode-on-single-fabric"}, // what a bad waiver does not waive
}

// TestRules runs validate on the fixtures of each rule: fixtures/invalid/RULE.yaml,
// or a directory, has one mistake, and fixtures/invalid/RULE.out is what a user
// types and what it prints. fixtures/valid/RULE.yaml is the same without the
// mistake. UPDATE=1 writes what is printed below the command.
func TestRules(t *testing.T) {
	inRepository(t)
	for _, rule := range report.Rules() {
		if rule.Needs == report.Input {
			continue
		}
		t.Run(rule.ID, func(t *testing.T) {
			bad := fixtureOf(t, "fixtures/invalid/"+rule.ID)
			good := fixtureOf(t, "fixtures/valid/"+rule.ID)
			args := transcript(t, rule.ID, bad)
			var own int
			for _, f := range findingsOf(t, args) {
				switch {
				case f.Rule == rule.ID:
					own++
				case !slices.Contains(companions[rule.ID], f.Rule):
					t.Errorf("breaks another rule, too: %+v", f)
				}
				if lines := strings.Split(read(t, f.File), "\n"); f.Line < 1 || f.Column < 1 || f.Line > len(lines) || f.Column > len(lines[f.Line-1]) {
					t.Errorf("%d:%d is no place in %s", f.Line, f.Column, f.File)
				}
			}
			if own == 0 {
				t.Errorf("%s does not break %s", bad, rule.ID)
			}
			args[slices.Index(args, bad)] = good
			if found := findingsOf(t, args); len(found) > 0 {
				t.Errorf("%s: %+v", good, found)
			}
		})
	}
}

// TestRulesHaveFixtures finds a fixture of no rule.
func TestRulesHaveFixtures(t *testing.T) {
	inRepository(t)
	for _, dir := range []string{"fixtures/invalid", "fixtures/valid"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			name := strings.TrimSuffix(strings.TrimSuffix(e.Name(), ".yaml"), ".out")
			if rule, known := report.RuleOf(name); (!known || rule.Needs == report.Input) && name != "many-mistakes" {
				t.Errorf("%s/%s is of no rule", dir, e.Name())
			}
		}
	}
}

// inRepository changes to the root of the repository, with the demo key alone
// at hand.
func inRepository(t *testing.T) {
	t.Helper()
	key := filepath.Join(fixtures(t), "keys", "demo.agekey")
	t.Chdir("../..")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("SOPS_CONFIG", "")
	t.Setenv("SOPS_AGE_KEY", "")
	t.Setenv("SOPS_AGE_KEY_FILE", key)
}

// fixtureOf is a fixture, which is a file or a directory.
func fixtureOf(t *testing.T, name string) string {
	t.Helper()
	for _, fixture := range []string{name + ".yaml", name} {
		if _, err := os.Stat(fixture); err == nil {
			return fixture
		}
	}
	t.Fatalf("there is no %s.yaml and no directory %s", name, name)
	return ""
}

// transcript checks that fixtures/invalid/NAME.out is what its command prints,
// and gives the command's arguments, of which one is the bad fixture.
func transcript(t *testing.T, name, bad string) []string {
	t.Helper()
	file := path.Join("fixtures/invalid", name+".out")
	text := read(t, file)
	command, _, _ := strings.Cut(text, "\n")
	line, ok := strings.CutPrefix(command, "$ clusterpair ")
	args := strings.Fields(line)
	if !ok || !slices.Contains(args, bad) {
		t.Fatalf("%s does not begin with $ clusterpair validate … %s", file, bad)
	}
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
	if failed := strings.Contains(stdout.String(), ": error: "); stderr.Len() > 0 || code == exitFindings != failed || code != exitFine && code != exitFindings {
		t.Errorf("%s: exit code %d, stderr %s", command, code, &stderr)
	}
	if got := command + "\n" + stdout.String(); got != text {
		if os.Getenv("UPDATE") == "" {
			t.Errorf("%s is not what is printed; UPDATE=1 writes it:\n%s", file, got)
		} else if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return args
}

type shownFinding struct {
	Rule, File, Message, Waived string
	Line, Column                int
}

// findingsOf are the findings that count of a command.
func findingsOf(t *testing.T, args []string) []shownFinding {
	t.Helper()
	var stdout, stderr bytes.Buffer
	run(t.Context(), slices.Concat(args, []string{"-o", "json"}), strings.NewReader(""), &stdout, &stderr)
	var r struct{ Findings []shownFinding }
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil || stderr.Len() > 0 {
		t.Fatalf("clusterpair %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return slices.DeleteFunc(r.Findings, func(f shownFinding) bool { return f.Waived != "" })
}
