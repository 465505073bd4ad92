package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"clusterpair.dev/internal/report"
)

// TestHints types the hints that name a command, as they are printed, in copies
// of a repository, and looks whether they lead out: those of the scripts in
// fixtures/hints, and those of the bad fixtures of the rules. A rule whose bad
// fixture gets a hint with a command is typed from then on.
func TestHints(t *testing.T) {
	generated := t.TempDir()
	fixtureHints(t, generated)
	t.Run("scripts", func(t *testing.T) { runScripts(t, filepath.Join(fixtures(t), "hints")) })
	t.Run("fixtures", func(t *testing.T) { runScripts(t, generated) })
	if strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return // not all were typed
	}
	t.Run("named", checkNamed)
}

// shown is what a command prints of one mistake: a finding, a check of doctor,
// or the error that ended it, each with its hint.
type shown struct {
	text, hint string
	isError    bool
}

// identity is a text without its place: what is typed may move lines.
func (s shown) identity() string { return placeOf.ReplaceAllString(s.text, "") }

var placeOf = regexp.MustCompile(`:\d+(:\d+)?:|, line \d+|\(line \d+\)`)

var hintLine = regexp.MustCompile(`^ {2,}hint: (.*)$`)

// parseShown finds what a command has printed with a hint, or as an error.
func parseShown(output string) []shown {
	var all []shown
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		m := hintLine.FindStringSubmatch(line)
		isError := strings.Contains(line, ": error: ") || strings.HasPrefix(line, "clusterpair: ") || strings.HasPrefix(line, "  error ")
		switch {
		case m != nil && len(all) > 0:
			all[len(all)-1].hint = m[1]
		case isError || strings.Contains(line, ": warning: ") || strings.Contains(line, ": info: ") || strings.HasPrefix(line, "  warning ") || strings.HasPrefix(line, "  skipped "):
			all = append(all, shown{text: line, isError: isError})
		}
	}
	return all
}

// hintCommand is hint [-once] [-instead] [-second] [WORD=VALUE…] TEXT COMMAND…: COMMAND prints a
// mistake that holds TEXT, with a hint that names a command. The hint is typed, or
// the second of its commands,
// its WORDs replaced by what a user would choose, and COMMAND run again: the
// mistake is gone and no error is new. Hints of errors that are left are
// followed in turn, until COMMAND is content, after five at most; with -once
// they are not. If the hint is to type another command, -instead, that need only
// succeed, and so it is with one to validate in another way.
func hintCommand(ts *testscript.TestScript, neg bool, args []string) {
	once := len(args) > 0 && args[0] == "-once"
	if once {
		args = args[1:]
	}
	instead := len(args) > 0 && args[0] == "-instead"
	if instead {
		args = args[1:]
	}
	choice := 1
	if len(args) > 0 && args[0] == "-second" {
		choice, args = 2, args[1:]
	}
	words := make(map[string]string)
	for len(args) > 0 && assignment.MatchString(args[0]) {
		word, value, _ := strings.Cut(args[0], "=")
		words[word], args = value, args[1:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: hint [-once] [-instead] [-second] [WORD=VALUE...] TEXT COMMAND...")
	}
	text, command := args[0], strings.Join(args[1:], " ")
	exports := ""
	run := func(line string) (output string, err error) {
		err = ts.Exec("bash", "-c", exports+line)
		return ts.ReadFile("stdout") + ts.ReadFile("stderr"), err
	}
	output, err := run(command)
	before := parseShown(output)
	for step := 1; ; step++ {
		i := slices.IndexFunc(before, func(s shown) bool { return strings.Contains(s.text, text) && report.Command(s.hint) != "" })
		if i < 0 && step == 1 {
			ts.Fatalf("%s prints no %q with a command to type:\n%s", command, text, output)
		}
		if i < 0 {
			i = slices.IndexFunc(before, func(s shown) bool { return s.isError })
		}
		if i < 0 {
			ts.Check(err)
			return
		}
		if step > 5 || once && step > 1 {
			if once {
				return
			}
			ts.Fatalf("five hints do not lead out of %s:\n%s", command, output)
		}
		mistake := before[i]
		commands := report.Commands(mistake.hint)
		if len(commands) < choice {
			ts.Fatalf("no command leads out of %s\n  hint: %s", mistake.text, mistake.hint)
		}
		typed := commands[choice-1]
		choice = 1
		noteTyped(ts.Name(), mistake.hint)
		typed = strings.ReplaceAll(typed, "/path/to/keys.txt", filepath.Join(ts.Getenv("FIXTURES"), "keys", "demo.agekey"))
		for word, value := range words {
			typed = regexp.MustCompile(`\b`+word+`\b`).ReplaceAllLiteralString(typed, value)
		}
		if word := placeholder.FindString(typed); word != "" {
			ts.Fatalf("%s is to be chosen by the user in %s", word, typed)
		}
		if rest, ok := strings.CutPrefix(typed, "export "); ok {
			exports += "export " + rest + "; "
			typed = "true"
		}
		if printed, err := run(typed); err != nil {
			ts.Fatalf("%s\n  hint: %s\n%s fails: %v\n%s", mistake.text, mistake.hint, typed, err, printed)
		}
		if instead || strings.HasPrefix(typed, "clusterpair validate ") {
			return // it was typed otherwise than it should have been
		}
		output, err = run(command)
		after := parseShown(output)
		for _, s := range after {
			known := slices.ContainsFunc(before, func(b shown) bool { return b.identity() == s.identity() })
			switch {
			case s.identity() == mistake.identity() && s == mistake:
				ts.Fatalf("%s was typed, and is said again:\n%s", typed, output)
			case s.isError && !known && !once:
				ts.Fatalf("%s was typed, and there is a new error: %s\n%s", typed, s.text, output)
			}
		}
		before = after
	}
}

var (
	assignment  = regexp.MustCompile(`^[A-Z]+=`)
	placeholder = regexp.MustCompile(`\b[A-Z]{2,}\b`)
)

// fixtureHints writes a script for each bad fixture of a rule whose finding
// names a command that no cluster is needed for.
func fixtureHints(t *testing.T, dir string) {
	t.Helper()
	outs, err := filepath.Glob(filepath.Join(fixtures(t), "invalid", "*.out"))
	if err != nil || len(outs) == 0 {
		t.Fatal(err)
	}
	for _, out := range outs {
		rule := strings.TrimSuffix(filepath.Base(out), ".out")
		text := read(t, out)
		line, _, _ := strings.Cut(text, "\n")
		offline := slices.ContainsFunc(parseShown(text), func(s shown) bool {
			return strings.HasSuffix(s.text, "["+rule+"]") && report.Command(s.hint) != "" && !needsCluster(s.hint)
		})
		if !offline || rule == "no-key" || rule == "orphan-pair" { // a key that nobody has, and what lacks the Secret
			continue
		}
		for _, ruled := range []bool{true, false} {
			name := rule
			if !ruled {
				name += "_unruled"
			}
			if !ruled && rule == "not-rendered" { // for whom, only the user can say
				continue
			}
			if text := fixtureScript(rule, strings.TrimPrefix(line, "$ "), ruled); os.WriteFile(filepath.Join(dir, name+".txtar"), []byte(text), 0o644) != nil {
				t.Fatal("cannot write")
			}
		}
	}
}

// needsCluster tells whether a hint is to be typed where a cluster can be asked.
func needsCluster(hint string) bool {
	command := report.Command(hint)
	return strings.HasPrefix(command, "kubectl ") || strings.HasPrefix(command, "clusterpair credential ")
}

// fixtureScript types the hint of a rule's bad fixture in a repository whose
// creation rule names two recipients, or in one without a rule.
func fixtureScript(rule, command string, ruled bool) string {
	recipients := "creation_rules:\n- age: [age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs, age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n]\n"
	remove := ""
	if !ruled {
		remove = "rm .sops.yaml\n"
	}
	return remove + fmt.Sprintf(`exec git init -q
exec mkdir -p fixtures/invalid
exec sh -c 'cp -r $FIXTURES/invalid/%[1]s* fixtures/invalid'
exec git add -A
hint RECIPIENT=$DEMO,$RECOVERY [%[1]s] %[2]s
-- .sops.yaml --
%[3]s`, rule, command, recipients)
}
