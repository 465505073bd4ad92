package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/cobra"
)

// A page is a Markdown file that shows commands. The line above each console block
// says what TestReadme does with it:
//
//	<!-- output, exit N: COMMAND; COMMAND --> runs the commands. The block shows them and what
//	        they print, which UPDATE=1 writes. <!-- /output --> stands below.
//	<!-- run --> runs the block's commands. Each has to succeed.
//	<!-- not run: REASON --> runs nothing. A script that REASON names has to name the page.
//
// In "exit N", which may be missing, N is the highest exit code of the commands. A YAML
// block may have a mark, too:
//
//	<!-- file: NAME --> writes the block into a file for the commands below.
//	<!-- config --> is a whole config: validate has to accept it.
//
// A line <!-- setup: COMMANDS --> above the mark runs what the reader needs not see.
//
// The commands of a page run in their order, in one shell: a cd or an export
// holds for the blocks below. The shell begins in a copy of the repository's examples
// and fixtures, whose path is TOP, with the demo key at hand. In place of each age1...
// stands a recipient, the first that of the key at hand.
var pageMark = regexp.MustCompile(`^<!-- (output|run|not run|file|config|setup)(?:, exit ([0-9]))?(?:: (.*))? -->$`)

// A block is a fenced block of a page, with the marks above it.
type block struct {
	line        int // of its first fence, from 0
	end         int // line of its last fence
	indent      string
	language    string
	text        []string // without the indentation
	mark        string   // output, run, not run, file or config; empty without a mark
	exit        string
	rest        string // of the mark
	setup       string
	markedLines int // how many lines above the block are marks
}

var fenceLine = regexp.MustCompile("^( *)(```+|~~~+) *([A-Za-z]*)$")

// blocksOf finds the fenced blocks of a page.
func blocksOf(t *testing.T, lines []string) []block {
	t.Helper()
	var blocks []block
	for i := 0; i < len(lines); i++ {
		m := fenceLine.FindStringSubmatch(lines[i])
		if m == nil {
			continue
		}
		b := block{line: i, indent: m[1], language: m[3]}
		for j := i - 1; j >= 0; j-- {
			mark := pageMark.FindStringSubmatch(strings.TrimSpace(lines[j]))
			if mark == nil {
				break
			}
			b.markedLines++
			if mark[1] == "setup" {
				b.setup = mark[3]
			} else {
				b.mark, b.exit, b.rest = mark[1], mark[2], mark[3]
			}
		}
		for i++; i < len(lines) && lines[i] != m[1]+m[2]; i++ {
			b.text = append(b.text, strings.TrimPrefix(lines[i], b.indent))
		}
		if i == len(lines) {
			t.Fatalf("line %d: the block has no end", b.line+1)
		}
		b.end = i
		blocks = append(blocks, b)
	}
	return blocks
}

// commands are those that a console block shows, each with the lines that continue it.
func (b block) commands() []string {
	var all []string
	continued := false
	for _, line := range b.text {
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case begins:
			all = append(all, command)
		case continued:
			all[len(all)-1] += "\n" + line
		}
		continued = (begins || continued) && strings.HasSuffix(line, `\`)
	}
	return all
}

// pages are the Markdown files of the repository whose commands are tested, relative
// to its root.
func pages(t *testing.T) []string {
	t.Helper()
	found := []string{"README.md", "schema/README.md"}
	for _, dir := range []string{"docs", "examples"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, d fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".md" {
				found = append(found, strings.TrimPrefix(filepath.ToSlash(path), "../../"))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// generatedPage tells whether TestRulesPages writes a page: it holds transcripts that
// TestRules runs.
func generatedPage(page string) bool { return strings.HasPrefix(page, "docs/rules/") }

// TestReadme runs the commands of all pages. What cannot run here, such as what needs a
// cluster, is held against the flags and commands that there are.
func TestReadme(t *testing.T) {
	env := commandEnvironment(t)
	template := copyOfRepository(t)
	var shown atomic.Int64
	t.Run("pages", func(t *testing.T) {
		for _, page := range pages(t) {
			t.Run(page, func(t *testing.T) {
				t.Parallel()
				text := read(t, "../../"+page)
				lines := strings.Split(text, "\n")
				blocks := blocksOf(t, lines)
				p := &pageShell{page: page, env: env, template: template}
				handled, marks := 0, 0
				for i := range blocks {
					b := &blocks[i]
					marks += b.markedLines
					commands := p.block(t, b)
					handled += len(commands)
					for _, command := range commands {
						checkCommand(t, fmt.Sprintf("%s:%d", page, b.line+1), command)
					}
					if b.mark == "output" {
						marks++ // that at its end
						if b.end+1 == len(lines) || strings.TrimSpace(lines[b.end+1]) != "<!-- /output -->" {
							t.Errorf("line %d: no <!-- /output --> below the block", b.end+1)
						}
					}
				}
				shown.Add(int64(handled))
				text = p.updated(t, lines, blocks, text)
				// The same, counted in another way: nothing can drop out of the test by a slip.
				if n := len(promptLine.FindAllString(text, -1)); n != handled {
					t.Errorf("%d lines look like a command, and %d commands were tested", n, handled)
				}
				if n := len(anyFence.FindAllString(text, -1)); n != 2*len(blocks) {
					t.Errorf("%d lines look like a fence, and there are %d blocks", n, len(blocks))
				}
				if n := len(anyComment.FindAllString(text, -1)) - len(otherComment.FindAllString(text, -1)); n != marks {
					t.Errorf("%d comments look like marks, and %d are used", n, marks)
				}
			})
		}
	})
	if n := shown.Load(); n < 190 {
		t.Errorf("only %d commands were found", n)
	}
	if info, err := os.Stat("../../README.md"); err != nil || info.Size() > 8<<10 {
		t.Errorf("README.md is to be read in one go, and has %d bytes: more belongs into docs", info.Size())
	}
}

var (
	promptLine   = regexp.MustCompile(`(?m)^[ \t>]*[$%][ \t]+[a-z./(]`)
	anyFence     = regexp.MustCompile("(?m)^[\\s>]*(```|~~~)")
	anyComment   = regexp.MustCompile(`<!--`)
	otherComment = regexp.MustCompile(`<!-- (around: (begin|end)|rules: .*|[a-z]+: (begin|end)) -->`)
)

// block does with a block what its mark says, and gives its commands.
func (p *pageShell) block(t *testing.T, b *block) []string {
	t.Helper()
	if b.setup != "" {
		if out, code := p.run(t, b.setup); code != 0 {
			t.Fatalf("setup %s: exit %d\n%s", b.setup, code, out)
		}
	}
	if b.language != "console" {
		p.other(t, b)
		return nil
	}
	commands := b.commands()
	highest := 0
	switch b.mark {
	case "output":
		commands = strings.Split(b.rest, "; ")
		b.text = nil
		for _, command := range commands {
			b.text = append(b.text, "$ "+command)
			// make builds the binary anew; what it runs then is the line below.
			out, code := p.run(t, strings.Replace(command, "make demo", "kustomize build --enable-alpha-plugins --enable-exec .", 1))
			highest = max(highest, code)
			for line := range strings.Lines(out) {
				b.text = append(b.text, shortened(strings.TrimSuffix(line, "\n")))
			}
		}
	case "run":
		for _, command := range commands {
			out, code := p.run(t, command)
			highest = max(highest, code)
			if code != 0 {
				t.Logf("%s\n%s", command, out)
			}
		}
	case "not run":
		for _, script := range scriptName.FindAllString(b.rest, -1) {
			if !strings.Contains(read(t, "../../"+script), p.page) {
				t.Errorf("line %d: %s does not name %s", b.line+1, script, p.page)
			}
		}
		return commands
	default:
		if !generatedPage(p.page) {
			t.Errorf("line %d: a block of commands without a mark", b.line+1)
		}
		return commands
	}
	if want := strings.TrimPrefix(b.exit, "0"); want != strings.TrimPrefix(fmt.Sprint(highest), "0") {
		t.Errorf("line %d: exit %d, and the mark says %q: %s", b.line+1, highest, b.exit, strings.Join(commands, "; "))
	}
	return commands
}

var scriptName = regexp.MustCompile(`[a-z0-9/]+/script/[a-z_/]+\.txtar`)

// other does with a block of files what its mark says.
func (p *pageShell) other(t *testing.T, b *block) {
	t.Helper()
	text := strings.Join(b.text, "\n") + "\n"
	switch b.mark {
	case "file", "config":
		name := b.rest
		if b.mark == "config" {
			name = ".config.yaml"
		}
		if out, code := p.run(t, fmt.Sprintf("cat > %s <<'END'\n%sEND", name, p.recipients(t, text))); code != 0 {
			t.Fatalf("%s: %s", name, out)
		}
		if b.mark == "config" {
			if out, code := p.run(t, "clusterpair validate --skip secret-missing .config.yaml && rm .config.yaml"); code != 0 {
				t.Errorf("line %d: %s", b.line+1, out)
			}
		}
	case "":
		if strings.Contains(text, "kind: ClusterPairGenerator") && !generatedPage(p.page) {
			t.Errorf("line %d: a config without a mark", b.line+1)
		}
	default:
		t.Errorf("line %d: a mark for commands above %s", b.line+1, b.language)
	}
}

// aboutFinding is a line that a page shows whole, however long it is.
var aboutFinding = regexp.MustCompile(`(error|warning|hint):`)

// shortened is a line as a page shows it. Ciphertexts are others in each run.
func shortened(line string) string {
	line = cipherOfRun.ReplaceAllString(line, "$1…")
	if len(line) > 96 && !aboutFinding.MatchString(line) {
		line = line[:95] + "…"
	}
	return line
}

var cipherOfRun = regexp.MustCompile(`(ENC\[AES256_GCM,data:).*`)

// updated compares a page with what its commands print, or writes that. It gives what
// stands in the page then.
func (p *pageShell) updated(t *testing.T, lines []string, blocks []block, text string) string {
	t.Helper()
	var b strings.Builder
	from := 0
	for _, block := range blocks {
		if block.mark != "output" {
			continue
		}
		for _, line := range lines[from : block.line+1] {
			b.WriteString(line + "\n")
		}
		for _, line := range block.text {
			b.WriteString(strings.TrimRight(block.indent+line, " ") + "\n")
		}
		from = block.end
	}
	got := b.String() + strings.Join(lines[from:], "\n")
	if got == text || t.Failed() {
		return text
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatalf("it shows other output than the commands print; UPDATE=1 writes it:\n%s", got)
	}
	if err := os.WriteFile("../../"+p.page, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
	return got
}

// copyOfRepository is a Git work tree with what commands of the pages read.
func copyOfRepository(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	sh := exec.Command("sh", "-euc", `cp -r examples fixtures schema kustomization.yaml README.md .gitignore "$0"
		cd "$0"; rm -rf fixtures/script fixtures/hints
		git init -q; git config user.name Ada; git config user.email ada@example.com; git add -A; git commit -qm Begin`, dir)
	sh.Dir = "../.."
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

// A pageShell runs the commands of a page, one after the other, in a copy of the
// repository of its own.
type pageShell struct {
	page     string
	env      []string
	template string
	dir      string // empty before the first command
}

// run is what a command prints, and its exit code.
func (p *pageShell) run(t *testing.T, command string) (string, int) {
	t.Helper()
	if p.dir == "" {
		p.dir = t.TempDir()
		top, home := filepath.Join(p.dir, "repository"), filepath.Join(p.dir, "home")
		if out, err := exec.Command("cp", "-r", p.template, top).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		begin := fmt.Sprintf("cd '%s'; export TOP='%s' HOME='%s' SOPS_AGE_KEY_FILE='%s/fixtures/keys/demo.agekey'\n", top, top, home, top)
		if err := os.WriteFile(filepath.Join(p.dir, "state"), []byte(begin), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := `. "$0/state"
` + p.recipients(t, command) + `
code=$?
{ export -p; printf 'cd %q\n' "$PWD"; } > "$0/state"
exit $code`
	cmd := exec.Command("bash", "-c", script, p.dir)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// recipients puts a recipient in the place of each age1..., the first that of the
// key at hand.
func (p *pageShell) recipients(t *testing.T, text string) string {
	t.Helper()
	if !strings.Contains(text, "age1...") {
		return text
	}
	out, code := p.run(t, `age-keygen -y "$SOPS_AGE_KEY_FILE"`)
	if code != 0 {
		t.Fatalf("age-keygen: %s", out)
	}
	known := []string{strings.TrimSpace(out), recoveryRecipient, eastRecipient, westRecipient}
	i := -1
	return recipientWord.ReplaceAllStringFunc(text, func(string) string {
		i++
		return known[i%len(known)]
	})
}

var recipientWord = regexp.MustCompile(`age1\.\.\.`)

// checkCommand holds what a line of a page types against the commands and flags of
// clusterpair, and against the targets of the Makefile.
func checkCommand(t *testing.T, place, line string) {
	t.Helper()
	calls := callsOf(t, line)
	if n := len(callOfClusterpair.FindAllString(line, -1)); n != len(calls) {
		t.Errorf("%s: %d of %d calls of clusterpair were understood in %s", place, len(calls), n, line)
	}
	for _, args := range calls {
		if err := checkCall(args); err != nil {
			t.Errorf("%s: clusterpair %s: %v", place, strings.Join(args, " "), err)
		}
	}
	if target, ok := strings.CutPrefix(line, "make "); ok {
		target, _, _ = strings.Cut(target, " ")
		if !strings.Contains(read(t, "../../Makefile"), "\n"+target+":") {
			t.Errorf("%s: no make %s", place, target)
		}
	}
}

var callOfClusterpair = regexp.MustCompile(`(?m)(^|[|;&(]\s*|\\\n\s*\| )clusterpair( |$)`)

// callsOf are the arguments with which a line of shell calls clusterpair. bash takes
// the line apart; it finds no other program, so that all else does nothing.
func callsOf(t *testing.T, line string) [][]string {
	t.Helper()
	dir := t.TempDir()
	script := `PATH=/nowhere
command_not_found_handle() { :; }
clusterpair() { printf '%s\0' "$#" "$@" >> calls; }
exec < /dev/null
` + redirection.ReplaceAllString(line, "> /dev/null")
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir, cmd.Env = dir, []string{"HOME=" + dir}
	if out, err := cmd.CombinedOutput(); cmd.ProcessState == nil {
		t.Fatalf("bash: %v\n%s", err, out)
	}
	written, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		return nil
	}
	var calls [][]string
	words := strings.Split(strings.TrimSuffix(string(written), "\x00"), "\x00")
	for len(words) > 0 {
		var n int
		fmt.Sscan(words[0], &n)
		calls = append(calls, words[1:n+1])
		words = words[n+1:]
	}
	return calls
}

var redirection = regexp.MustCompile(`> *[^ &|;()]+`)

// checkCall is an error if there is no such command, or it takes no such flags or
// arguments.
func checkCall(args []string) error {
	root := newRootCommand(io.Discard, nil)
	root.InitDefaultVersionFlag()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("no such command")
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// TestHelpExamples holds the examples of every --help against its commands and flags.
func TestHelpExamples(t *testing.T) {
	tried := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		text := strings.ReplaceAll(cmd.Example, "\\\n", "")
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); callOfClusterpair.MatchString(line) {
				tried++
				checkCommand(t, cmd.CommandPath()+" --help", line)
			}
		}
		for _, below := range cmd.Commands() {
			if below.Name() != "completion" {
				visit(below)
			}
		}
	}
	visit(newRootCommand(io.Discard, nil))
	if tried < 30 {
		t.Errorf("only %d examples were found", tried)
	}
}

// TestDocsWords: what the pages name exists: commands and flags in code spans, and the
// files, directories and headings that links lead to.
func TestDocsWords(t *testing.T) {
	spans, links := 0, 0
	for _, page := range append(pages(t), ".github/CONTRIBUTING.md", "bench/README.md") {
		text := prose(t, read(t, "../../"+page))
		for _, span := range codeSpan.FindAllStringSubmatch(text, -1) {
			if page == "bench/README.md" { // it names what it measures so
				break
			}
			words := strings.Fields(span[1])
			if len(words) < 2 || words[0] != "clusterpair" {
				continue
			}
			spans++
			if err := checkSpan(words[1:]); err != nil {
				t.Errorf("%s: `%s`: %v", page, strings.Join(words, " "), err)
			}
		}
		for _, link := range linkTarget.FindAllStringSubmatch(text, -1) {
			if strings.Contains(link[1], "://") {
				continue
			}
			links++
			file, heading, _ := strings.Cut(link[1], "#")
			if file == "" {
				file = filepath.Base(page)
			}
			path := filepath.Join("../..", filepath.Dir(page), file)
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", page, link[1])
			} else if heading != "" && !slices.Contains(headings(read(t, path)), heading) {
				t.Errorf("%s links to %s, and there is no such heading", page, link[1])
			}
		}
	}
	if spans < 50 || links < 100 {
		t.Errorf("only %d commands in code spans and %d links were found", spans, links)
	}
}

var (
	codeSpan   = regexp.MustCompile("`([^`]+)`")
	linkTarget = regexp.MustCompile(`\]\(([^)]+)\)`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// prose is a page without its fenced blocks.
func prose(t *testing.T, text string) string {
	t.Helper()
	lines := strings.Split(text, "\n")
	blocks := blocksOf(t, lines)
	for i := len(blocks) - 1; i >= 0; i-- {
		lines = slices.Delete(lines, blocks[i].line, blocks[i].end+1)
	}
	return strings.Join(lines, "\n")
}

// headings are the fragments by which GitHub links to the headings of a page.
func headings(text string) []string {
	var all []string
	for line := range strings.Lines(text) {
		if title := strings.TrimLeft(line, "#"); title != line && strings.HasPrefix(title, " ") {
			slug := notInSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
			all = append(all, strings.ReplaceAll(slug, " ", "-"))
		}
	}
	return all
}

// checkSpan is an error if a code span names a command or a flag that is not there.
// What stands for something else, such as FILE, is not looked at.
func checkSpan(words []string) error {
	cmd := newRootCommand(io.Discard, nil)
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") && cmd.HasSubCommands() {
		i := slices.IndexFunc(cmd.Commands(), func(c *cobra.Command) bool { return c.Name() == words[0] })
		if i < 0 {
			if words[0] == strings.ToUpper(words[0]) {
				return nil // COMMAND
			}
			return fmt.Errorf("there is no command %s", words[0])
		}
		cmd, words = cmd.Commands()[i], words[1:]
	}
	cmd.InitDefaultHelpFlag()
	for _, word := range words {
		name, _, _ := strings.Cut(word, "=")
		switch {
		case word == "|":
			return nil
		case strings.HasPrefix(name, "--") && len(name) > 2 && cmd.Flags().Lookup(name[2:]) == nil,
			len(name) == 2 && name[0] == '-' && name[1] != '-' && cmd.Flags().ShorthandLookup(name[1:]) == nil:
			return fmt.Errorf("%s has no flag %s", cmd.CommandPath(), name)
		}
	}
	return nil
}

// TestCompatibility: the page names the versions that the tests are pinned to.
func TestCompatibility(t *testing.T) {
	page := read(t, "../../docs/compatibility.md")
	for _, pin := range []struct{ file, module, row string }{
		{"e2e/go.mod", "k8s.io/kubernetes", "| kube-apiserver | %s |"},
		{"tools/go.mod", "sigs.k8s.io/kustomize/kustomize/v5", "| kustomize | %s |"},
		{"go.mod", "github.com/getsops/sops/v3", "| SOPS | %s |"},
		{"go.mod", "filippo.io/age", "| age | %s |"},
		{"go.mod", "cuelang.org/go", "| CUE | %s |"},
		{"e2e/flux/go.mod", "github.com/fluxcd/kustomize-controller", "| kustomize-controller | %s |"},
		{"e2e/argocd/go.mod", "github.com/argoproj/argo-cd/v3", "| argocd | %s |"},
		{"e2e/prometheus/go.mod", "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring", "| prometheus-operator | %s |"},
		{"e2e/prometheus/go.mod", "github.com/grafana/grafana-foundation-sdk/go", "| grafana-foundation-sdk | %s |"},
		{"go.mod", "go", "| Go, for building | %s |"},
	} {
		m := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(pin.module) + ` v?(\S+)`).FindSubmatch([]byte(read(t, "../../"+pin.file)))
		if m == nil {
			t.Fatalf("%s does not name %s", pin.file, pin.module)
		}
		version := string(m[1])
		if pin.module == "go" {
			version = strings.TrimSuffix(version, ".0")
		}
		if row := fmt.Sprintf(pin.row, version); !strings.Contains(page, row) {
			t.Errorf("docs/compatibility.md has no row %s", row)
		}
	}
}

// TestBlocksOf: what a slip in a page would hide is seen.
func TestBlocksOf(t *testing.T) {
	lines := strings.Split("<!-- setup: true -->\n<!-- output, exit 1: a; b -->\n```console\n$ a \\\n  b\nout\n$ c\n```\n<!-- /output -->\n\n  ```sh\n  $ d\n  ```\n", "\n")
	blocks := blocksOf(t, lines)
	if len(blocks) != 2 || blocks[0].mark != "output" || blocks[0].exit != "1" || blocks[0].rest != "a; b" || blocks[0].setup != "true" || blocks[0].markedLines != 2 {
		t.Fatalf("%+v", blocks)
	}
	if got := blocks[0].commands(); !slices.Equal(got, []string{"a \\\n  b", "c"}) {
		t.Errorf("%q", got)
	}
	if blocks[1].mark != "" || blocks[1].language != "sh" || !bytes.Equal([]byte(strings.Join(blocks[1].text, "")), []byte("$ d")) {
		t.Errorf("%+v", blocks[1])
	}
	if n := len(promptLine.FindAllString(strings.Join(lines, "\n"), -1)); n != 3 {
		t.Errorf("%d lines look like a command", n)
	}
}
