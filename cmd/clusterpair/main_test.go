package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/helper/program"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clusterpair": main, helper.Program: program.Main})
}

// fixtures is the directory of test inputs, absolute.
func fixtures(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../../fixtures")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tools is the directory of the pinned kustomize, sops and others. make builds them
// into CLUSTERPAIR_TOOLS; a plain go test builds them itself.
func tools(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("CLUSTERPAIR_TOOLS"); dir != "" {
		return dir
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-C", "../../tools", "-o", dir+"/",
		"sigs.k8s.io/kustomize/kustomize/v5", "github.com/getsops/sops/v3/cmd/sops", "filippo.io/age/cmd/age-keygen",
		"cuelang.org/go/cmd/cue", "github.com/yannh/kubeconform/cmd/kubeconform", "./validate-crd")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the tools: %v\n%s", err, out)
	}
	return dir
}

// TestScripts runs what users type: one file of fixtures/script each. UPDATE=1
// rewrites the expected outputs in the files.
func TestScripts(t *testing.T) {
	if signal.Ignored(syscall.SIGHUP) {
		// nohup has started the tests. What they start is to get the signal again.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	runScripts(t, filepath.Join(fixtures(t), "script"))
}

// TestScriptsAreShort: a script holds one behaviour, told in at most 60 commands, here and
// in e2e. Two are longer: flux_example types all lines of a page for users, each of which
// needs what those before it have made, and argocd tells the life of the pairs of one
// Argo CD, whose start takes longer than all that follows.
func TestScriptsAreShort(t *testing.T) {
	const most = 60
	var files []string
	for _, dir := range []string{filepath.Join(fixtures(t), "script"), filepath.Join(fixtures(t), "..", "e2e", "script")} {
		more, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
		if err != nil || len(more) == 0 {
			t.Fatalf("%d scripts in %s, %v", len(more), dir, err)
		}
		files = append(files, more...)
	}
	for _, file := range files {
		if name := filepath.Base(file); name == "argocd.txtar" || name == "flux_example.txtar" {
			continue
		}
		commands, _, _ := strings.Cut(read(t, file), "\n-- ")
		n := 0
		for line := range strings.Lines(commands) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				n++
			}
		}
		if n > most {
			t.Errorf("%s has %d commands, more than %d: split it by behaviour", filepath.Base(file), n, most)
		}
	}
}

func runScripts(t *testing.T, dir string) {
	toolsDir, fixturesDir := tools(t), fixtures(t)
	served := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(fixturesDir, "..", "examples"))))
	t.Cleanup(served.Close)
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		UpdateScripts:       os.Getenv("UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("FIXTURES", fixturesDir)
			env.Setenv("EXAMPLES", filepath.Join(fixturesDir, "..", "examples"))
			env.Setenv("EXAMPLES_URL", served.URL)
			env.Setenv("PATH", env.Getenv("PATH")+string(filepath.ListSeparator)+toolsDir)
			env.Setenv("HOME", filepath.Join(env.WorkDir, ".home"))
			env.Setenv("GNUPGHOME", filepath.Join(env.WorkDir, ".gnupg"))
			env.Setenv("SOPS_AGE_KEY_FILE", filepath.Join(fixturesDir, "keys", "demo.agekey"))
			env.Setenv("DEMO", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs")
			env.Setenv("RECOVERY", "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n")
			return os.MkdirAll(filepath.Join(env.WorkDir, ".home"), 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"replace":  replaceCommand,
			"lines":    linesCommand,
			"treeof":   treeCommand,
			"release":  releaseCommand,
			"hint":     hintCommand,
			"typehint": typehintCommand,
		},
	})
}

// replaceCommand is replace OLD NEW FILE: every OLD, which must be there,
// becomes NEW.
func replaceCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace OLD NEW FILE")
	}
	unescape := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\r`, "\r")
	before := ts.ReadFile(args[2])
	after := strings.ReplaceAll(before, unescape.Replace(args[0]), unescape.Replace(args[1]))
	if before == after {
		ts.Fatalf("%s does not hold %q", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(after), 0o644))
}

// typehintCommand is typehint FILE: types the command of the last hint in a file,
// which may be stderr. It must succeed.
func typehintCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: typehint FILE")
	}
	text := ts.ReadFile(args[0])
	hints := hintedCommand.FindAllStringSubmatch(text, -1)
	if len(hints) == 0 {
		ts.Fatalf("no hint with a command in %q", text)
	}
	noteTyped(ts.Name(), hints[len(hints)-1][0])
	ts.Check(ts.Exec("bash", "-c", hints[len(hints)-1][1]))
}

var hintedCommand = regexp.MustCompile(`(?m)^  hint: (?:.*: )?((?:clusterpair|git|kubectl|mv|sops) .*)$`)

// linesCommand is lines FILE1 FILE2 WORD…: exactly the lines that differ
// between the files hold one of the words, each word on one line at least; one
// with a question mark behind may differ.
func linesCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: lines FILE1 FILE2 WORD...")
	}
	a, b := strings.Split(ts.ReadFile(args[0]), "\n"), strings.Split(ts.ReadFile(args[1]), "\n")
	if len(a) != len(b) {
		ts.Fatalf("%s has %d lines, %s has %d", args[0], len(a), args[1], len(b))
	}
	missing := make(map[string]bool)
	words := args[2:]
	for i, word := range words {
		may, optional := strings.CutSuffix(word, "?")
		words[i], missing[may] = may, !optional
	}
	for i := range a {
		if a[i] == b[i] {
			continue
		}
		known := false
		for _, word := range words {
			if strings.Contains(a[i], word) && strings.Contains(b[i], word) {
				known = true
				delete(missing, word)
			}
		}
		if !known {
			ts.Fatalf("line %d differs: %q and %q", i+1, a[i], b[i])
		}
	}
	for word, must := range missing {
		if !must {
			continue
		}
		ts.Fatalf("no line with %q differs", word)
	}
}

// treeCommand is treeof DIR: prints every file below a directory, hidden ones
// included, so that a script can compare what is there.
func treeCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: treeof DIR")
	}
	dir := ts.MkAbs(args[0])
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err == nil && !d.IsDir() {
			fmt.Fprintln(ts.Stdout(), filepath.ToSlash(rel))
		}
		return err
	})
	ts.Check(err)
}
