package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// doctorOptions are the flags of clusterpair doctor.
type doctorOptions struct {
	kustomize, argocd, flux, preCommit bool
	checkFlags
}

func newDoctorCommand() *cobra.Command {
	o := new(doctorOptions)
	cmd := &cobra.Command{
		Use:   "doctor [DIR]",
		Short: "Say what is missing, or will silently do nothing",
		Long: `doctor looks at the files below DIR, the working directory if it is not given, and
at this machine: whether configs, creation rules and keys fit together, and
whether kustomize, Argo CD, Flux and pre-commit will do what the files expect of
them. Most of what it finds fails elsewhere without a word. It asks no cluster,
runs no program but git, kustomize and clusterpair version, and changes nothing.

Without a flag it looks at the repository, and at whatever of the four the
repository uses; a flag names those to look at, and no other.

What Git does not tell about Argo CD's containers they say themselves, with
their PATH and their keys:

  kubectl -n argocd exec deploy/argocd-repo-server -c argocd-repo-server -- clusterpair doctor --argocd`,
		Example: `  clusterpair doctor
  clusterpair doctor --pre-commit
  clusterpair doctor clusters --flux --strict`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return o.run(cmd, dir)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.argocd, "argocd", false, "look at Argo CD")
	flags.BoolVar(&o.flux, "flux", false, "look at Flux")
	flags.BoolVar(&o.kustomize, "kustomize", false, "look at kustomize, and at who calls it")
	flags.BoolVar(&o.preCommit, "pre-commit", false, "look at the hooks before a commit, and at what git diff shows")
	o.checkFlags.add(cmd)
	return cmd
}

func (o *doctorOptions) run(cmd *cobra.Command, dir string) error {
	if err := o.check(); err != nil {
		return err
	}
	r, err := newDoctorRun(cmd, dir)
	if err != nil {
		return failed(err)
	}
	if err := r.scan(); err != nil {
		return failed(err)
	}
	named := o.argocd || o.flux || o.kustomize || o.preCommit
	write := newCheckWriter(cmd.OutOrStdout(), o.checkFlags, "part", "parts")
	sick := false
	for _, p := range []struct {
		name string
		ask  bool
		look func(p *part)
	}{
		{"repository", !named, r.repository},
		{"kustomize", o.kustomize || !named && r.usesKustomize(), r.kustomize},
		{"argocd", o.argocd || !named && r.usesArgoCD(), r.argoCD},
		{"flux", o.flux || !named && r.usesFlux(), r.flux},
		{"pre-commit", o.preCommit || !named && r.usesPreCommit(), r.preCommit},
	} {
		if !p.ask {
			continue
		}
		looked := &part{name: p.name}
		p.look(looked)
		if err := cmd.Context().Err(); err != nil {
			return failed(err)
		}
		sick = sick || slices.ContainsFunc(looked.checks, o.fails)
		write.add(looked.checked(dir))
	}
	if err := write.end(); err != nil {
		return failed(err)
	}
	if sick {
		return &exitError{code: exitFindings}
	}
	return nil
}

// part is a part of the report.
type part struct {
	name   string
	checks []cluster.Check
}

func (p *part) add(status cluster.Status, name, hint, format string, args ...any) *cluster.Check {
	p.checks = append(p.checks, cluster.Check{Name: name, Status: status, Text: fmt.Sprintf(format, args...), Hint: hint})
	return &p.checks[len(p.checks)-1]
}

func (p *part) ok(name, format string, args ...any) { p.add(cluster.OK, name, "", format, args...) }

// checked is the part for a report. Names of files may hold anything.
func (p *part) checked(dir string) checked {
	for i := range p.checks {
		c := &p.checks[i]
		c.Text, c.Hint = printable(c.Text), printable(c.Hint)
		for k := range c.Details {
			c.Details[k] = printable(c.Details[k])
		}
	}
	return checked{title: p.name, head: p.name + "  " + dir, checks: p.checks, json: func(checks []jsonCheck) any {
		return struct {
			Part   string      `json:"part"`
			Dir    string      `json:"dir"`
			Checks []jsonCheck `json:"checks"`
		}{p.name, dir, checks}
	}}
}

// doctorRun is one run of clusterpair doctor.
type doctorRun struct {
	ctx context.Context
	dir string // as the user wrote it
	// repo has as its root the Git work tree around dir, or dir.
	repo     repository
	git      bool
	safe     *sopsfile.Safe
	graph    *validate.Graph
	findings map[string][]report.Finding // of each rule
	unread   []error
	configs  []*doctorConfig

	mu           sync.Mutex
	configFiles  []string
	calls        []kustomizeCall
	argo         argoSettings
	gitAttribute string // a file that asks for textconv
}

func newDoctorRun(cmd *cobra.Command, dir string) (*doctorRun, error) {
	r := &doctorRun{ctx: cmd.Context(), dir: dir, safe: sopsfile.New(nil), findings: make(map[string][]report.Finding)}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("is a %s, not a directory", strings.TrimPrefix(kindOf(info), "special "))
	}
	if err != nil {
		return nil, withHint(fmt.Errorf("%s: %w", dir, cause(err)), "clusterpair doctor looks at a directory, with all that is below it")
	}
	if r.repo, err = newRepository(); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	if r.repo.root, r.git = workTree(abs); !r.git {
		r.repo.root = abs
	}
	return r, nil
}

// doctorRules are the rules of validate that have a check of their own; the others
// share one.
var doctorRules = []string{"plaintext-credential", "flux-decryption", "flux-function", "flux-health", "argo-decryption", "yaml"}

// sealRules are those whose breach makes ciphertext reach a cluster, or nothing.
var sealRules = []string{"mac-missing", "sops-malformed", "encryption-scope", "leaf-not-encrypted", "pair-kind", "one-document", "ambiguous-path"}

// broken are the findings that fail a run of validate, of some rules.
func (r *doctorRun) broken(of func(rule string) bool) (lines []string) {
	for _, rule := range slices.Sorted(maps.Keys(r.findings)) {
		for _, f := range r.findings[rule] {
			if of(rule) && f.Severity == report.Error && f.Waived == "" {
				lines = append(lines, fmt.Sprintf("%s: %s [%s]", f.Position, f.Message, rule))
			}
		}
	}
	return lines
}

// scan reads the files. One that cannot be read keeps no other from it.
func (r *doctorRun) scan() (err error) {
	v := validate.New(validate.Options{Now: time.Now()})
	source := &workFiles{repository: r.repo}
	list := func(ctx context.Context, visit func(listedFile)) error {
		return source.walk(ctx, r.dir, func(name string) bool { return isManifest(name) || isScript(name) || name == ".gitattributes" }, visit)
	}
	r.unread, err = eachFile(r.ctx, source, list, func(ctx context.Context, file validate.File) error {
		name := path.Base(file.Path)
		switch {
		case strings.Contains(file.Path, "/.."): // a volume of Kubernetes, whose links show the file, too
			return nil
		case name == ".gitattributes":
			r.attributes(file)
			return nil
		case isScript(name):
			r.script(file)
			return nil
		case bytes.Contains(file.Data, []byte("kustomize")) && !objects().Match(file.Data):
			r.script(file) // CI is written in YAML, too
		}
		if bytes.Contains(file.Data, []byte(generator.APIVersion)) && bytes.Contains(file.Data, []byte(generator.GeneratorKind)) {
			r.mu.Lock()
			r.configFiles = append(r.configFiles, file.Name)
			r.mu.Unlock()
		}
		r.argoCDSettings(file)
		return v.File(ctx, file)
	})
	if err != nil {
		return err
	}
	for _, f := range v.Findings() {
		r.findings[f.Rule] = append(r.findings[f.Rule], f)
	}
	r.graph = v.Graph()
	slices.Sort(r.configFiles)
	slices.SortFunc(r.calls, func(a, b kustomizeCall) int { return comparePlaces(a.at, b.at) })
	r.argo.sort()
	for _, file := range r.configFiles {
		r.readConfigs(file)
	}
	return nil
}

// objects tells a file of Kubernetes objects, whose texts are not run.
var objects = pattern(`(?m)^"?kind"?:`)

// pattern is a regular expression, compiled when it is asked for: every command
// would pay for it otherwise.
func pattern(text string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(text) })
}

func comparePlaces(a, b report.Position) int {
	if a.File != b.File {
		return strings.Compare(a.File, b.File)
	}
	return a.Line - b.Line
}

// runGit is what git says in the directory, without the line break at the end.
func (r *doctorRun) runGit(stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(r.ctx, "git", slices.Concat([]string{"-C", r.dir}, args)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if reason, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n"); reason != "" {
			err = fmt.Errorf("git %s: %s", args[0], strings.TrimPrefix(reason, "fatal: "))
		}
	}
	return strings.TrimSuffix(string(out), "\n"), err
}

// runVersion is the first line that a program in PATH prints when it is asked
// for its version.
func (r *doctorRun) runVersion(program string) (string, error) {
	ctx, cancel := context.WithTimeout(r.ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "version").Output()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, err
}

// typed is a name as a shell takes it.
func typed(name string) string {
	if strings.HasPrefix(name, "-") {
		name = "./" + name
	}
	if strings.IndexFunc(name, func(r rune) bool {
		return !strings.ContainsRune("./@%+=:,-_", r) && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) < 0 {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}

// printable is a text without what a terminal would take for more than text.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, text)
}

// few cuts a list that would fill the screen.
func few(lines []string) []string {
	const most = 5
	if len(lines) <= most+1 {
		return lines
	}
	return append(slices.Clone(lines[:most]), fmt.Sprintf("… and %d more", len(lines)-most))
}
