package doctor

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

// repository is a Git work tree with one of the examples, in which the test works.
type repository struct{ *testing.T }

// home is the directory of the package, before tests go elsewhere.
var home, _ = os.Getwd()

// root is the top of this project.
func root(t *testing.T) string {
	t.Helper()
	if home == "" {
		t.Fatal("there is no working directory")
	}
	return filepath.Join(home, "../..")
}

// example lays an example out in a directory of a Git work tree, with a key for it. PATH
// has git, and as clusterpair the program of the test: nothing runs it for its version,
// as it is this very program.
func example(t *testing.T, name, at string) repository {
	t.Helper()
	top := root(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	r := repository{t}
	bin, key := t.TempDir(), filepath.Join(t.TempDir(), "key")
	for name, program := range map[string]string{"clusterpair": self, "git": git} {
		r.must(os.Symlink(program, filepath.Join(bin, name)))
	}
	text, err := os.ReadFile(filepath.Join(top, "fixtures", "keys", "demo.agekey"))
	r.must(err)
	r.must(os.WriteFile(key, text, 0o600))
	for name, value := range map[string]string{"PATH": bin, "SOPS_AGE_KEY_FILE": key, "HOME": t.TempDir(), "GIT_CONFIG_GLOBAL": os.DevNull, "GIT_CONFIG_SYSTEM": os.DevNull} {
		t.Setenv(name, value)
	}
	t.Chdir(t.TempDir())
	r.git("init", "-q")
	if name != "" {
		r.must(os.CopyFS(at, os.DirFS(filepath.Join(top, "examples", name))))
	}
	t.Chdir(at)
	return r
}

func (r repository) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r repository) git(args ...string) {
	r.Helper()
	if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
		r.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

func (r repository) write(name, text string) {
	r.Helper()
	r.must(os.MkdirAll(filepath.Dir(name), 0o700))
	r.must(os.WriteFile(name, []byte(text), 0o600))
}

// program puts a script into the PATH.
func (r repository) program(name, script string) {
	r.Helper()
	path := filepath.Join(os.Getenv("PATH"), name)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		r.Fatal(err)
	}
	r.must(os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700))
}

// replace replaces what a pattern matches in a file. It has to match.
func (r repository) replace(name, pattern, with string) {
	r.Helper()
	before, err := os.ReadFile(name)
	r.must(err)
	after := regexp.MustCompile("(?m)"+pattern).ReplaceAllString(string(before), with)
	if after == string(before) {
		r.Fatalf("%s has no %s:\n%s", name, pattern, before)
	}
	r.must(os.WriteFile(name, []byte(after), 0o600))
}

func (r repository) remove(names ...string) {
	r.Helper()
	for _, name := range names {
		if _, err := os.Lstat(name); err != nil {
			r.Fatal(err)
		}
		r.must(os.RemoveAll(name))
	}
}

// examined are the checks of the work tree, a line each: STATUS NAME TEXT, and the
// details and the hint on lines of their own.
func (r repository) examined(o Options) string {
	r.Helper()
	var lines strings.Builder
	o.Version = "v1.0.0"
	err := Examine(r.Context(), ".", o, func(p Part) {
		for _, c := range p.Checks {
			lines.WriteString(string(c.Status) + " " + c.Name + " " + c.Text)
			if c.Rule != "" {
				lines.WriteString(" [" + c.Rule + "]")
			}
			for _, d := range c.Details {
				lines.WriteString("\n  " + d)
			}
			if lines.WriteString("\n"); c.Hint != "" {
				lines.WriteString("  hint: " + c.Hint + "\n")
			}
		}
	})
	r.must(err)
	return lines.String()
}

// finding is one case: what is done to an example, and what is said of it then.
type finding struct {
	edit func(r repository)
	want []string // each begins a line, and goes on as far as it is given
	not  string   // on no line
}

// check runs the case in an example.
func (c finding) check(r repository, o Options) {
	r.Helper()
	c.edit(r)
	said := r.examined(o)
	for _, want := range c.want {
		if !strings.Contains("\n"+said, "\n"+want) {
			r.Errorf("it is not said:\n%s\nbut\n%s", want, said)
		}
	}
	if c.not != "" && strings.Contains(said, c.not) {
		r.Errorf("%q is said:\n%s", c.not, said)
	}
}

// find runs cases in an example, of which nothing is to be said as it is.
func find(t *testing.T, name, at string, o Options, cases map[string]finding) {
	t.Helper()
	begin := func(t *testing.T) repository {
		r := example(t, name, at)
		if o == (Options{}) {
			r.must(os.RemoveAll(".pre-commit-config.yaml")) // its hooks are not installed
		}
		return r
	}
	t.Run("the example", func(t *testing.T) {
		if said := begin(t).examined(o); strings.Contains("\n"+said, "\nerror ") {
			t.Fatalf("the example itself is not fine:\n%s", said)
		}
	})
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			r := begin(t)
			c.check(r, o)
		})
	}
}

// TestExamine looks at what it is asked for, and at what the files use.
func TestExamine(t *testing.T) {
	r := example(t, "flux", ".")
	parts := func(dir string, o Options) string {
		var names []string
		r.must(Examine(r.Context(), dir, o, func(p Part) { names = append(names, p.Name) }))
		return strings.Join(names, " ")
	}
	for o, want := range map[Options]string{
		{}:                              "repository flux pre-commit",
		{Flux: true}:                    "flux",
		{PreCommit: true, ArgoCD: true}: "argocd pre-commit",
		{Kustomize: true}:               "kustomize",
	} {
		if got := parts(".", o); got != want {
			t.Errorf("%+v looks at %s, not %s", o, got, want)
		}
	}
	r.must(os.Mkdir("empty", 0o700))
	if got := parts("empty", Options{}); got != "repository pre-commit" {
		t.Errorf("of an empty directory: %s", got)
	}
	for dir, want := range map[string]string{"absent": "absent: no such file or directory", "README.md": "README.md: is a file, not a directory"} {
		var hinted *report.HintedError
		if err := Examine(t.Context(), dir, Options{}, nil); !errors.As(err, &hinted) || err.Error() != want || hinted.Hint != "name a directory, to look at all that is below it: clusterpair doctor ." {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Examine(ctx, ".", Options{}, func(p Part) { t.Errorf("%s of a run that was interrupted", p.Name) }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
