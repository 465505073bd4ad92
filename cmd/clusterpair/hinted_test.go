package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/pflag"
)

// typed are the hints that scripts have typed, by the name of the script.
var typed struct {
	sync.Mutex
	hints map[string][]string
	all   string // see allScripts
}

func noteTyped(script, hint string) {
	typed.Lock()
	defer typed.Unlock()
	if typed.hints == nil {
		typed.hints = make(map[string][]string)
	}
	typed.hints[script] = append(typed.hints[script], hint)
}

// named is a text of the program that names a command, with the first file that has it.
type named struct{ file, text string }

// namesCommand tells that a text names a command of a program that hints name.
var namesCommand = regexp.MustCompile("(?:^|[\\s`'\"(|&])(?:clusterpair [a-z]|sops (?:encrypt|decrypt|updatekeys|rotate|edit|set|unset|-)|kubectl [a-z-]|git (?:add|checkout|commit|config|diff|init|lfs|log|mv|pull|push|remote|reset|restore|rm|show|status|update-index)\\b|" +
	"kustomize (?:build|create|edit)|storkctl (?:create|generate|get)|pxctl [a-z]|kubeadm [a-z]|flux (?:get|resume|reconcile)|argocd [a-z]+ |age-keygen|rm (?:-|%|$)|mv |ls -|mkdir |chmod |export [A-Z]|apt-get |pre-commit [a-z]|gpg -|go install|base64 -)")

// namedCommands are the texts of the program that name a command. What --help says
// of a command itself is left out, and so are comments.
func namedCommands(t *testing.T) []named {
	t.Helper()
	var all []named
	files := token.NewFileSet()
	for _, root := range []string{"cmd", "examples", "generator", "schema", "internal"} {
		err := filepath.WalkDir(filepath.Join("../..", root), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if field, ok := n.(*ast.KeyValueExpr); ok {
					key, ok := field.Key.(*ast.Ident)
					return !ok || !slices.Contains([]string{"Use", "Short", "Long", "Example"}, key.Name)
				}
				if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
					text, err := strconv.Unquote(literal.Value)
					if err != nil {
						t.Fatal(err)
					}
					if namesCommand.MatchString(text) && !slices.ContainsFunc(all, func(c named) bool { return c.text == text }) {
						all = append(all, named{name, text})
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// hintIndex is the list of what becomes of each text that names a command: one a
// line, as "TEXT" WHERE, and a line for each place where several say it. WHERE is
//
//   - hints/SCRIPT of fixtures, which types the hint: the finding is gone
//   - invalid/RULE of fixtures, whose hint is typed so, too
//   - script/SCRIPT of fixtures, or e2e/SCRIPT, which types the command where a
//     user has to choose, or a cluster answers
//   - test/FILE, a Go test of this package that does so
//   - typed, if each command is typed in some script of fixtures or e2e
//   - looks, if the command only shows what the user has to know
//   - elsewhere, if it is about a program or machine that no test has
//   - text, if nothing is to be typed: a message about a program
const hintIndex = "hints.txt"

// checkNamed looks whether each text that names a command has a line in the index,
// and whether that line is true. UPDATE=1 adds lines for new ones, with a question
// mark for where.
func checkNamed(t *testing.T) {
	path := filepath.Join(fixtures(t), filepath.FromSlash(hintIndex))
	var lines []string
	known := make(map[string][]string)
	for line := range strings.Lines(read(t, path)) {
		var text, where string
		if _, err := fmt.Sscanf(line, "%q %s\n", &text, &where); err != nil {
			t.Fatalf("%s: %s%v", hintIndex, line, err)
		}
		if slices.Contains(known[text], where) {
			t.Errorf("%s: %q stands there twice", hintIndex, text)
		}
		known[text] = append(known[text], where)
	}
	for _, c := range namedCommands(t) {
		places := known[c.text]
		if delete(known, c.text); len(places) == 0 {
			places = []string{"?"}
		}
		for _, where := range places {
			if problem := untrue(t, c, where); problem != "" {
				t.Errorf("%s: %q: %s", c.file, c.text, problem)
			}
			lines = append(lines, fmt.Sprintf("%q %s\n", c.text, where))
		}
		for _, problem := range unknownFlags(c.text) {
			t.Errorf("%s: %q: %s", c.file, c.text, problem)
		}
	}
	for text := range known {
		t.Errorf("%s: nothing says %q any more: take the line out, or run with UPDATE=1", hintIndex, text)
	}
	if slices.Sort(lines); os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// untrue says what is wrong with a line of the index.
func untrue(t *testing.T, c named, where string) string {
	t.Helper()
	place, name, _ := strings.Cut(where, "/")
	switch place {
	case "?":
		return "no test types it: write one in fixtures/hints, and a line in fixtures/" + hintIndex + " (UPDATE=1 begins it)"
	case "hints", "invalid":
		typed.Lock()
		defer typed.Unlock()
		if pattern := patternOf(c.text); !slices.ContainsFunc(typed.hints[name], pattern.MatchString) {
			return "no hint that was typed in " + where + " has it"
		}
	case "script", "e2e", "test":
		script, err := os.ReadFile(map[string]string{
			"script": filepath.Join(fixtures(t), "script", name+".txtar"),
			"e2e":    filepath.Join(fixtures(t), "..", "e2e", "script", name+".txtar"),
			"test":   name + "_test.go",
		}[place])
		if err != nil {
			return err.Error()
		}
		for _, command := range commandsOf(c.text) {
			if !strings.Contains(string(script), command) {
				return fmt.Sprintf("%s does not type %q", where, command)
			}
		}
	case "typed":
		for _, command := range commandsOf(c.text) {
			if !strings.Contains(allScripts(t), command) && !shows.MatchString(command) {
				return fmt.Sprintf("no test types %q", command)
			}
		}
	case "looks":
		for _, command := range commandsOf(c.text) {
			if !shows.MatchString(command) {
				return fmt.Sprintf("%q does more than to look", command)
			}
		}
	case "text", "elsewhere":
	default:
		return "it has no test: " + where
	}
	return ""
}

// shows are the commands that change nothing, and print what a user has to choose
// from, to put somewhere, or to judge.
var shows = regexp.MustCompile(`^(clusterpair (validate|status|doctor|rules|expiring)|kubectl (config|get|describe|version|create token)|git (log|diff|status|show|remote)|age-keygen|sops decrypt)\b`)

// allScripts are all scripts that run commands, and all hints that were typed.
func allScripts(t *testing.T) string {
	t.Helper()
	typed.Lock()
	defer typed.Unlock()
	if typed.all == "" {
		for _, hints := range typed.hints {
			typed.all += strings.Join(hints, "\n") + "\n"
		}
		for _, pattern := range []string{"script/*.txtar", "hints/*.txtar", "../e2e/script/*.txtar"} {
			files, err := filepath.Glob(filepath.Join(fixtures(t), filepath.FromSlash(pattern)))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				typed.all += read(t, file)
			}
		}
	}
	return typed.all
}

// patternOf matches what is printed of a text with verbs of package fmt.
func patternOf(text string) *regexp.Regexp {
	parts := regexp.MustCompile(`%(?:\[\d\])?[sdqvw]`).Split(text, -1)
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(part)
	}
	return regexp.MustCompile("(?s)" + strings.Join(parts, ".*"))
}

// commandsOf are the programs and subcommands that a text names.
func commandsOf(text string) []string {
	var all []string
	for _, m := range commandWords.FindAllStringSubmatch(inNamespace.ReplaceAllString(text, " "), -1) {
		words := strings.Fields(m[1])
		most := 2
		switch two := strings.Join(words[:min(2, len(words))], " "); two {
		case "clusterpair credential", "clusterpair init", "kubectl create", "kubectl config":
			most = 3
		}
		if words[0] == "clusterpair" {
			if cmd, _, err := newRootCommand(io.Discard, nil).Find(words[1:]); err != nil || cmd.Name() == "clusterpair" {
				continue // it goes on in words
			}
		}
		all = append(all, strings.Join(words[:min(most, len(words))], " "))
	}
	return all
}

var (
	commandWords = regexp.MustCompile("(?:^|[\\s`'\"(|&])((?:clusterpair|sops (?:encrypt|decrypt|updatekeys|rotate|set|unset)|kubectl|git|age-keygen)(?: [a-z][a-z-]+)*)")
	inNamespace  = regexp.MustCompile(` (?:-n|--namespace) (?:%s|[\w-]+) `)
)

var commandOfOurs = regexp.MustCompile("(?:^|[\\s`'\"(|&])clusterpair ((?:credential |init )?[a-z-]+)([^|;&`\\n]*)")

// unknownFlags are the flags and subcommands of clusterpair that a text names and
// that there are none of.
func unknownFlags(text string) (problems []string) {
	for _, m := range commandOfOurs.FindAllStringSubmatch(text, -1) {
		cmd, _, err := newRootCommand(io.Discard, nil).Find(strings.Fields(m[1]))
		if err != nil || !cmd.Runnable() {
			continue // it goes on in words
		}
		for word := range strings.FieldsSeq(m[2]) {
			name, _, _ := strings.Cut(strings.TrimRight(word, ",;:.)"), "=")
			if strings.Contains(name, "%") {
				continue
			}
			var flag *pflag.Flag
			switch {
			case strings.HasPrefix(name, "--"):
				flag = cmd.Flag(name[2:])
			case len(name) == 2 && name[0] == '-' && name != "--":
				flag = cmd.Flags().ShorthandLookup(name[1:])
			default:
				continue
			}
			if flag == nil {
				problems = append(problems, fmt.Sprintf("clusterpair %s has no flag %s", m[1], name))
			}
		}
	}
	return problems
}
