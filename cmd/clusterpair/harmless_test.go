package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"clusterpair.dev/internal/audit"
	"clusterpair.dev/internal/expiring"
	"clusterpair.dev/internal/graph"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// checkHarmless fails if an output holds what a terminal or a CI system takes for
// more than text.
func checkHarmless(t *testing.T, what, output string) {
	t.Helper()
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\r\n") // calendars have CR LF
		trimmed := strings.TrimLeftFunc(line, unicode.IsSpace)
		if strings.HasPrefix(trimmed, "::") && !workflowCommand.MatchString(trimmed) || strings.Contains(line, "##[") || strings.Contains(line, "##vso[") {
			t.Errorf("%s: a CI system takes a line for a command: %q", what, line)
		}
		if !utf8.ValidString(line) {
			t.Errorf("%s: a line is not UTF-8: %q", what, line)
		}
		if i := strings.IndexFunc(line, func(r rune) bool {
			return r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
		}); i >= 0 {
			t.Errorf("%s: a line holds a control character: %q", what, line)
		}
	}
}

// workflowCommand is one that clusterpair means.
var workflowCommand = regexp.MustCompile(`^::(error|warning|notice) (file=[^,]*,)?(line=\d+,)?(col=\d+,)?title=clusterpair [a-z-]+::`)

// TestHostileNames gives files, directories, objects and arguments names that
// drive a terminal or a CI system, and has every command name them.
func TestHostileNames(t *testing.T) {
	names := []string{
		"a\n::error::injected", "::error::injected", "a\r::error::b", "\x1b[31mred", "##[error]x", "##vso[task.x]", "back\bspace", "bidi\u202eX", "zero\u200bwidth", "c1\u009bX", "tab\tX",
	}
	formats := map[string][]string{
		"validate": report.Formats(), "expiring": expiring.Formats(), "doctor": report.CheckFormats(), "graph": graph.Formats(), "report": audit.Formats(),
	}
	for _, name := range names {
		dir := t.TempDir()
		t.Chdir(dir)
		quoted := func(s string) string { return string(must(report.JSON(s, ""))) }
		write := func(name, content string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		pair := "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: " + strings.TrimSpace(quoted(name)) + ", namespace: " + strings.TrimSpace(quoted(name)) +
			", annotations: {clusterpair.dev/credential-expires: \"2027-01-01T00:00:00Z\"}}\nspec: {config: {users: {u: {token: abc}}}, options: {}}\n"
		write(name+"/"+name+".yaml", pair)
		write(name+".yaml", pair)
		write(name+".conf", "AGE-SECRET-KEY-1Z5S4LE2QX8H720J7NGEMRHZUDDS3RVU407ZVNDRR54GVJZXTUUYQRUL4E0\n")
		write(name+"/broken.yaml", "kind: ClusterPair\n a: [\n")
		write("clusterpair.yaml", "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: "+strings.TrimSpace(quoted(name))+"}\nspec: {namespace: a, pairs: [{name: "+
			strings.TrimSpace(quoted(name))+", destination: {secret: {name: "+strings.TrimSpace(quoted(name))+"}}}], files: ["+strings.TrimSpace(quoted(name+".yaml"))+"]}\n")
		for _, args := range [][]string{{"init", "-q"}, {"add", "."}} {
			if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
				t.Fatalf("git %s: %v\n%s", args, err, out)
			}
		}
		commands := [][]string{
			{"generate"}, {"generate", "-f", name}, {"generate", name, "--kubeconfig", name}, {"validate", name}, {"validate", name + "x"}, {"validate", "-k", name}, {"validate", "--staged", "."},
			{"validate", "--policy", name, "."}, {"validate", "--skip", name, "."}, {"expiring", "--within", name}, {"import", name}, {"import", "-f", name}, {"import", "-l", name},
			{"encrypt", name}, {"encrypt", name + ".yaml"}, {"encrypt", "-i", name + ".conf"}, {"decrypt", name}, {"decrypt", name + ".yaml"}, {"build", name}, {"preflight", name}, {"preflight", name + ".yaml"},
			{"status", "--kubeconfig", name}, {"status", "--kubeconfig", name + ".yaml", "--context", name}, {"rules", name}, {"schema", "-o", name}, {"doctor", name}, {"init", name}, {"init", "flux", name},
			{"credential", "rotate", name}, {"credential", "revoke", name}, {"credential", "create", "--name", name, "-o", name}, {"--" + name}, {"validate", "-" + name}, {"textconv", name}, {"explain", name}, {"explain", name + ".yaml"}, {"explain", name + "x"}, {"explain", "."},
			{"graph", name}, {"graph", name + "x"}, {"graph", "--validate", "-o", "json", "."}, {"graph", "--group-by", name}, {"report", name}, {"report", "--validate", "."},
		}
		for command, all := range formats {
			for _, format := range all {
				args := []string{command, "-o", format}
				if command == "validate" {
					args = append(args, ".")
				}
				commands = append(commands, args)
			}
		}
		shown := 0
		for _, args := range commands {
			var stdout, stderr bytes.Buffer
			runIn(t, args, "", &stdout, &stderr)
			all := stdout.String() + stderr.String()
			checkHarmless(t, strings.Join(slices.Collect(quotedAll(args)), " "), all)
			if strings.Contains(all, report.Printable(name)) {
				shown++
			}
		}
		if shown < len(commands)/3 {
			t.Errorf("%q: %d of %d commands name it", name, shown, len(commands))
		}
	}
}

func quotedAll(args []string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, arg := range args {
			if !yield(report.Typed(arg)) {
				return
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestOneWayToPrint keeps the sources to it that texts of others are printed by
// say, by the writers of findings and checks, or as data; and that the URL of a cluster,
// which may hold a credential, is shown by report.URL alone.
func TestOneWayToPrint(t *testing.T) {
	sources := func(pattern string, least int) map[string]string {
		t.Helper()
		paths, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		texts := make(map[string]string)
		for _, path := range paths {
			if !strings.HasSuffix(path, "_test.go") {
				texts[path] = read(t, path)
			}
		}
		if len(texts) < least {
			t.Fatalf("%s: %d sources", pattern, len(texts))
		}
		return texts
	}
	for path, text := range sources("*.go", 20) {
		if strings.Contains(text, "fmt.Fprint") {
			t.Errorf("%s prints without say", path)
		}
	}
	const url = `(config\.Host|d\.ProxyURL|d\.Server)\b`
	raw := regexp.MustCompile(url)
	// It is taken apart, handed on to a client, or noted as what no message may hold.
	unshown := regexp.MustCompile(`(url\.Parse|report\.URL|urlSecrets)\((c\.)?` + url + `\)|(Host|Server): ` + url + `|urls := \[\]string\{c\.` + url + `\}|` + url + ` != ""`)
	uses := 0
	for path, text := range sources("../../internal/cluster/*.go", 8) {
		uses += len(raw.FindAllString(text, -1))
		if at := raw.FindString(unshown.ReplaceAllString(text, "")); at != "" {
			t.Errorf("%s takes %s as it is: messages show Client.Server or report.URL", path, at)
		}
	}
	if uses < 5 {
		t.Errorf("%d uses of URLs found", uses)
	}
}

// FuzzTextWriters has writers for people and for programs print any texts: the ends of
// credentials, checks, messages and errors. In no format does a control character
// but line ends reach the output, nor a line that a CI system takes for a command.
func FuzzTextWriters(f *testing.F) {
	for _, name := range []string{"a\n::error::b", "::error::b", "\x1b[31m", "##[error]", "\u202e", "\u009b", "\xff", "a;b,c\\n\"", "https://u:p@h/?q"} {
		f.Add(name, name, name)
	}
	f.Fuzz(func(t *testing.T, namespace, name, file string) {
		now := time.Unix(1767225600, 0)
		ends := []expiring.End{
			{Holder: expiring.Holder{Kind: "ClusterPair", Namespace: namespace, Name: name, File: file}, End: kubeconfig.End{State: kubeconfig.Known, At: now, CA: now}},
			{Holder: expiring.Holder{Kind: name, Namespace: name, Name: namespace, File: name}, End: kubeconfig.End{}},
		}
		for _, format := range expiring.Formats() {
			var b bytes.Buffer
			if err := expiring.Write(&b, format, ends, now, now); err != nil {
				t.Fatal(err)
			}
			checkHarmless(t, "expiring -o "+format, b.String())
		}
		for _, format := range report.CheckFormats() {
			var b bytes.Buffer
			w := report.NewCheckWriter(&b, report.CheckOptions{Format: format, One: "part", More: "parts"})
			w.Add(report.Checked{Title: name, Head: file, Checks: []report.Check{{Name: "dns", Status: report.Failed, Text: name, Details: []string{namespace, file}, Hint: file, Rule: "unreachable"}},
				JSON: func(checks any) any { return map[string]any{"name": name, "checks": checks} }})
			if err := w.End(); err != nil {
				t.Fatal(err)
			}
			checkHarmless(t, "checks -o "+format, b.String())
		}
		var b bytes.Buffer
		say(&b, "%s of %s: %v\n", name, namespace, errors.New(file))
		report.SayError(&b, report.Errors{errors.New(name), errors.New(file)}, namespace)
		checkHarmless(t, "messages", b.String())
	})
}
