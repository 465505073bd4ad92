package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/docs"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
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
		if rule.Needs >= report.Input {
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
			if rule.ID == "rotation-due" { // what is good today is too old one day
				good = encryptedToday(t, good)
			}
			args[slices.Index(args, bad)] = good
			if found := findingsOf(t, args); len(found) > 0 {
				t.Errorf("%s: %+v", good, found)
			}
		})
	}
}

// encryptedToday is a copy of a file, with the time of now for its lastmodified.
func encryptedToday(t *testing.T, file string) string {
	text := read(t, file)
	_, rest, found := strings.Cut(text, "lastmodified: \"")
	before, _, closed := strings.Cut(rest, "\"")
	if !found || !closed {
		t.Fatalf("%s has no lastmodified", file)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(file))
	if err := os.WriteFile(path, []byte(strings.Replace(text, before, time.Now().UTC().Format(time.RFC3339), 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRulesDecrypted: what is found in a file in clear is found in it with
// --decrypt, too, once it is encrypted: the same rules of the same fields.
func TestRulesDecrypted(t *testing.T) {
	inRepository(t)
	policy, err := sopsfile.Recipients{Age: []string{
		"age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs",
		"age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n",
	}}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	shown := func(args []string) string {
		var b strings.Builder
		for _, f := range findingsOf(t, args) {
			fmt.Fprintf(&b, "%s %s\n", f.Rule, f.Path)
		}
		return b.String()
	}
	tried := 0
	for _, rule := range report.Rules() {
		if rule.Needs != report.Plaintext {
			continue
		}
		args := transcript(t, rule.ID, fixtureOf(t, "fixtures/invalid/"+rule.ID))
		flag := slices.Index(args, "--plaintext")
		if flag < 0 {
			continue
		}
		tried++
		t.Run(rule.ID, func(t *testing.T) {
			want := shown(args)
			bad := args[len(args)-1]
			docs, err := manifest.Parse([]byte(read(t, bad)), bad)
			if err != nil {
				t.Fatal(err)
			}
			sealed, _, err := sopsfile.New(nil).Encrypt(t.Context(), docs, nil, seal.ForPair(policy), sopsfile.EncryptOptions{})
			if err != nil {
				t.Fatal(err)
			}
			args[flag], args[len(args)-1] = "--decrypt", filepath.Join(t.TempDir(), "pair.yaml")
			if err := os.WriteFile(args[len(args)-1], sealed, 0o644); err != nil {
				t.Fatal(err)
			}
			if got := shown(args); got != want {
				t.Errorf("decrypted:\n%sin clear:\n%s", got, want)
			}
		})
	}
	if tried < 15 {
		t.Errorf("tried %d rules", tried)
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
			if rule, known := report.RuleOf(name); (!known || rule.Needs >= report.Input) && name != "many-mistakes" {
				t.Errorf("%s/%s is of no rule", dir, e.Name())
			}
		}
	}
}

// TestRulesOfCommands: a rule that no file alone can break is named by a test that
// breaks it, as [RULE] in a script or as "RULE" in Go.
func TestRulesOfCommands(t *testing.T) {
	inRepository(t)
	var tests strings.Builder
	for _, pattern := range []string{"fixtures/script/*.txtar", "fixtures/hints/*.txtar", "e2e/script/*.txtar", "cmd/*/*_test.go", "generator/*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			tests.WriteString(read(t, file))
		}
	}
	text := strings.NewReplacer(`\[`, "[", `\]`, "]").Replace(tests.String())
	tried := 0
	for _, rule := range report.Rules() {
		if rule.Needs < report.Input {
			continue
		}
		if tried++; !strings.Contains(text, "["+rule.ID+"]") && !strings.Contains(text, `"`+rule.ID+`"`) {
			t.Errorf("no test breaks %s", rule.ID)
		}
	}
	if tried == 0 {
		t.Error("there is no such rule")
	}
}

// TestManyMistakes: one file breaks most rules, in its first document, in later
// ones and in a List, and each line says which. Every one of them is found, at
// its line, and nothing else.
func TestManyMistakes(t *testing.T) {
	inRepository(t)
	const file = "fixtures/invalid/many-mistakes.yaml"
	found := make(map[string]bool)
	for _, f := range findingsOf(t, transcript(t, "many-mistakes", file)) {
		found[fmt.Sprintf("%d: %s", f.Line, f.Rule)] = true
	}
	rules := make(map[string]bool)
	for i, line := range strings.Split(read(t, file), "\n") {
		_, broken, _ := strings.Cut(line, "breaks: ")
		for rule := range strings.SplitSeq(broken, ", ") {
			here := fmt.Sprintf("%d: %s", i+1, rule)
			if rule != "" && !found[here] {
				t.Errorf("not found: %s", here)
			}
			rules[rule] = true
			delete(found, here)
		}
	}
	for here := range found {
		t.Errorf("found, and not expected: %s", here)
	}
	if len(rules) < 50 {
		t.Errorf("only %d rules are broken", len(rules))
	}
}

// TestRulesPages: docs/rules has a page for each group of the catalogue, with the
// fixtures as examples, a list of all rules, and nothing else. UPDATE=1 writes them.
func TestRulesPages(t *testing.T) {
	inRepository(t)
	const dir = "docs/rules"
	pages := make(map[string]*strings.Builder)
	var index strings.Builder
	index.WriteString(rulesHead)
	for _, r := range report.Rules() {
		page := pages[r.Page()]
		if page == nil {
			page = new(strings.Builder)
			pages[r.Page()] = page
			fmt.Fprintf(page, "# Rules: %s\n\n[All rules](README.md)\n\n", r.Group)
			fmt.Fprintf(&index, "\n## [%s](%s)\n\n", r.Group, r.Page())
			for _, w := range []struct {
				to   *strings.Builder
				page string
			}{{page, ""}, {&index, r.Page()}} {
				fmt.Fprint(w.to, "| rule | severity | needs | |\n|---|---|---|---|\n")
				for _, other := range report.Rules() {
					if other.Group == r.Group {
						fmt.Fprintf(w.to, "| [%s](%s#%s) | %s | %s | %s |\n", other.ID, w.page, other.ID, other.Severity, other.Needs, other.Title)
					}
				}
			}
		}
		page.WriteString(section(t, r))
	}
	pages["README.md"] = &index
	for name, page := range pages {
		file, text := path.Join(dir, name), page.String()
		if os.Getenv("UPDATE") != "" {
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s is not of the catalogue and the fixtures; UPDATE=1 writes it", file)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if pages[e.Name()] == nil {
			t.Errorf("%s/%s is of no group", dir, e.Name())
		}
	}
}

// rulesHead stands above the lists of rules.
const rulesHead = `# The rules

These are what validate, generate and the kustomize functions look for. ` + "`clusterpair rules RULE`" + ` prints the section of a rule.

Each finding has one of three severities. An error makes a run fail with exit code 1. A warning does so only under ` + "`--strict`" + `, an info never. A finding can be
milder or graver than its rule if more is known: ` + "`mode-on-single-fabric`" + ` is only a warning as long as nobody says which Stork it is. ` + "`--skip RULE` and `--only RULE`" + ` choose
among the rules. [Waivers](../validate.md#waivers) accept single findings. [Rules of your own](../validate.md#rules-of-your-own) are written in CUE.

| a rule needs | what finds it |
|---|---|
| the committed file | ` + "`clusterpair validate PATH`" + `, without a key |
| the plaintext | ` + "`clusterpair validate --decrypt PATH`" + ` where a key is at hand, in memory only; ` + "`--plaintext`" + ` for files in clear; ` + "`generate`" + ` before it encrypts. Some of it shows without a key, too, by an annotation or by what SOPS leaves in clear |
| the other files of the run | ` + "`clusterpair validate .`" + ` |
| the input of generate | ` + "`clusterpair generate`, `encrypt`, `decrypt`" + ` and the kustomize functions |
| live clusters | ` + "`clusterpair status`, `preflight`, `import`, `credential`" + ` |
`

// section is what the page of its group says of a rule.
func section(t *testing.T, r report.Rule) string {
	t.Helper()
	waivable := "cannot be waived"
	if r.Waivable != "" {
		waivable = "can be waived: " + r.Waivable
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n## %s\n\n%s: %s. Needs %s; %s.\n\n%s\n\n", r.ID, r.Severity, r.Title, r.Needs, waivable, r.Consequence)
	if r.Needs < report.Input {
		shown := "fixtures/invalid/" + r.ID + ".out"
		example(t, &b, fixtureOf(t, "fixtures/invalid/"+r.ID), read(t, shown))
		fmt.Fprintf(&b, "```console\n%s```\n\n", read(t, shown))
	}
	return b.String() + r.Fix + "\n"
}

// example writes the files of a bad fixture, cut to what its findings are
// about. Of several files, those without a finding are left out if they are long.
func example(t *testing.T, b *strings.Builder, fixture, findings string) {
	t.Helper()
	err := filepath.WalkDir(fixture, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		lines := strings.Split(strings.TrimSuffix(read(t, name), "\n"), "\n")
		var at []int
		for line := range strings.Lines(findings) {
			var n int
			if rest, ok := strings.CutPrefix(line, name+":"); ok {
				fmt.Sscan(strings.SplitN(rest, ":", 2)[0], &n)
				at = append(at, n-1)
			}
		}
		const short = 16
		if len(at) == 0 && len(lines) > short {
			return nil
		}
		if len(lines) > short {
			lines = excerpt(lines, at)
		}
		language, comment := "yaml", "#"
		if path.Ext(name) == ".cue" {
			language, comment = "cue", "//"
		}
		b.WriteString("```" + language + "\n")
		if name != fixture {
			b.WriteString(comment + " " + name + "\n")
		}
		for _, line := range lines {
			if r := []rune(line); len(r) > 88 {
				line = string(r[:87]) + "…"
			}
			b.WriteString(line + "\n")
		}
		b.WriteString("```\n\n")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// excerpt keeps the lines at which a finding stands, with the keys above and
// beside them, a few lines below, and what the document is; an ellipsis stands
// for the rest.
func excerpt(lines []string, at []int) []string {
	armor := false
	keep := make([]bool, len(lines))
	hidden := make([]bool, len(lines))
	depth := make([]int, len(lines))
	for i, line := range lines {
		text := strings.TrimLeft(line, " ")
		armor = armor || text == "-----BEGIN AGE ENCRYPTED FILE-----"
		hidden[i] = armor
		armor = armor && text != "-----END AGE ENCRYPTED FILE-----"
		depth[i] = 2 * (len(line) - len(text))
		if strings.HasPrefix(text, "- ") {
			depth[i]++ // an item of a list is deeper than a key in its column
		}
		keep[i] = strings.HasPrefix(line, "apiVersion:") || strings.HasPrefix(line, "kind:") || line == "---"
	}
	for _, line := range at {
		keep[line] = true
		above := depth[line]
		for i := line - 1; i >= 0 && lines[i] != "---"; i-- {
			if depth[i] <= above && (depth[i] < above || above == depth[line]) {
				keep[i], above = true, depth[i]
			}
		}
		below := 8
		for i := line + 1; i < len(lines) && lines[i] != "---" && depth[i] >= depth[line]; i++ {
			switch {
			case depth[i] == depth[line]:
				keep[i], below = true, 0
			case below > 0 && !hidden[i]:
				keep[i] = true
				below--
			}
		}
	}
	var out []string
	for i, line := range lines {
		switch {
		case keep[i]:
			out = append(out, line)
		case i == 0 || keep[i-1]:
			out = append(out, strings.Repeat(" ", depth[i]/2)+"…")
		}
	}
	return out
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
	Rule, File, Path, Message, Waived string
	Line, Column                      int
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

// TestExplanations: what rules RULE prints is the section of the page, bare of the
// marks of Markdown, and the link to it.
func TestExplanations(t *testing.T) {
	bare := func(text string) string {
		return strings.Join(strings.Fields(strings.NewReplacer("#", "", "```yaml", "", "```cue", "", "```console", "", "`", "", ".", "").Replace(text)), " ")
	}
	for _, r := range report.Rules() {
		_, section, found := strings.Cut(docs.Rules(r.Page()), "\n## "+r.ID+"\n")
		if !found && os.Getenv("UPDATE") != "" {
			continue // it has just been written; this binary has the page of before
		}
		section, _, _ = strings.Cut(section, "\n## ")
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), []string{"rules", r.ID}, strings.NewReader(""), &stdout, &stderr); code != exitFine || stderr.Len() > 0 {
			t.Errorf("rules %s: exit code %d, %s", r.ID, code, &stderr)
		}
		want := r.ID + " " + section + " " + r.URL()
		if got, want := bare(stdout.String()), bare(want); got != want {
			t.Errorf("rules %s prints\n%s\nthe page has\n%s", r.ID, got, want)
		}
	}
}
