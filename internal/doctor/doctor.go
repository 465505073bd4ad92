package doctor

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
	"slices"
	"strings"
	"sync"
	"time"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/judge"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/launch"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// Options are what a directory is examined for.
type Options struct {
	// Kustomize, ArgoCD, Flux and PreCommit are the parts to look at. If none is set
	// they are the repository, and those that its files use.
	Kustomize, ArgoCD, Flux, PreCommit bool
	// Version is that of this program, to compare with the one in PATH.
	Version string
}

// Part is a part of what was examined.
type Part struct {
	Name   string // repository, kustomize, argocd, flux or pre-commit
	Checks []report.Check
}

// Examine looks at the files below a directory and at this machine. each gets the parts
// one by one, as soon as they are known. It asks no cluster, runs no program but git,
// kustomize and the clusterpair in PATH for their versions, and changes nothing.
//
// What is wrong is in the checks. An error says that nothing could be looked at.
func Examine(ctx context.Context, dir string, o Options, each func(Part)) error {
	e, err := begin(ctx, dir, o.Version)
	if err != nil {
		return err
	}
	if err := e.scan(); err != nil {
		return err
	}
	named := o.ArgoCD || o.Flux || o.Kustomize || o.PreCommit
	for _, part := range []struct {
		name string
		ask  bool
		look func(p *Part)
	}{
		{"repository", !named, e.repository},
		{"kustomize", o.Kustomize || !named && e.usesKustomize(), e.kustomize},
		{"argocd", o.ArgoCD || !named && e.usesArgoCD(), e.argoCD},
		{"flux", o.Flux || !named && e.usesFlux(), e.flux},
		{"pre-commit", o.PreCommit || !named && e.usesPreCommit(), e.preCommit},
	} {
		if !part.ask {
			continue
		}
		p := Part{Name: part.name}
		part.look(&p)
		if err := ctx.Err(); err != nil {
			return err
		}
		each(p)
	}
	return nil
}

func (p *Part) add(status report.Status, name, hint, format string, args ...any) *report.Check {
	p.Checks = append(p.Checks, report.Check{Name: name, Status: status, Text: fmt.Sprintf(format, args...), Hint: hint})
	return &p.Checks[len(p.Checks)-1]
}

func (p *Part) ok(name, format string, args ...any) { p.add(report.Passed, name, "", format, args...) }

// examination is what is known of one directory.
type examination struct {
	ctx     context.Context
	dir     string // as the user wrote it
	version string // of this program
	// repo has as its root the Git work tree around dir, or dir.
	repo     gitfiles.Repository
	git      bool
	safe     *sopsfile.Safe
	ruled    render.RuleFiles
	looker   render.Looker
	fresh    []render.Freshness // of the configs of each file
	graph    *engine.Graph
	findings map[string][]report.Finding // of each rule
	unread   []error
	looked   []string // paths in which credentials were looked for
	configs  []*config
	sources  []source // of fleets

	mu           sync.Mutex
	configFiles  []string
	calls        []kustomizeCall
	argo         argoSettings
	guards       guards
	gitAttribute string // a file that asks for textconv
}

// begin begins to examine a directory, which has to be there.
func begin(ctx context.Context, dir, version string) (*examination, error) {
	e := &examination{ctx: ctx, dir: dir, version: version, safe: sopsfile.New(nil), findings: make(map[string][]report.Finding)}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("is a %s, not a directory", strings.TrimPrefix(worktree.KindOf(info), "special "))
	}
	if err != nil {
		above := filepath.Dir(dir)
		if _, missing := os.Stat(above); missing != nil {
			above = "."
		}
		return nil, report.WithHint(fmt.Errorf("%s: %w", dir, worktree.Cause(err)), "name a directory, to look at all that is below it: clusterpair doctor %s", report.Typed(above))
	}
	if e.repo, err = gitfiles.Open(); err != nil {
		return nil, err
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	if e.repo.Root, e.git = worktree.Top(abs); !e.git {
		e.repo.Root = abs
	}
	return e, nil
}

// broken are the findings that fail a run of validate, of some rules.
func (e *examination) broken(of func(report.Rule) bool) (lines []string) {
	for _, rule := range slices.Sorted(maps.Keys(e.findings)) {
		for _, f := range e.findings[rule] {
			if of(f.Catalogued()) && f.Severity == report.Error && f.Waived == "" {
				lines = append(lines, fmt.Sprintf("%s: %s [%s]", f.Position, f.Message, rule))
			}
		}
	}
	return lines
}

// scan reads the files. One that cannot be read keeps no other from it.
func (e *examination) scan() (err error) {
	source := &gitfiles.WorkTree{Repository: e.repo, More: func(name string) bool { return isScript(name) || name == ".gitattributes" }}
	files, err := source.List(e.ctx, []string{e.dir + string(filepath.Separator)})
	if err != nil {
		return err
	}
	v := validate.New(validate.Options{Orphans: !files.Partial && (files.Whole || files.Around != nil), Now: time.Now(), Origin: render.NewOrigins(e.repo).Of, Encrypt: seal.Hint,
		Remotes: func() []string { return e.repo.Remotes(e.ctx) }})
	e.unread, err = judge.Files(e.ctx, source, files, v, func(ctx context.Context, file validate.File) error {
		name := path.Base(file.Path)
		switch {
		case name == ".gitattributes":
			e.attributes(file)
			return nil
		case isScript(name):
			e.script(file)
			return nil
		case bytes.Contains(file.Data, []byte("kustomize")) && !objects().Match(file.Data):
			e.script(file) // CI is written in YAML, too
		}
		if kustomize.Mentions(file.Data) {
			e.mu.Lock()
			e.configFiles = append(e.configFiles, file.Name)
			e.mu.Unlock()
		}
		e.argoCDSettings(file)
		e.guardSettings(file)
		e.looksAt(file)
		return v.File(ctx, file)
	})
	if err != nil {
		return err
	}
	e.graph = v.Graph()
	leftOut, err := e.scanRest(v, source)
	if err == nil {
		err = judge.Around(e.ctx, source, files, v)
	}
	if err != nil {
		return err
	}
	e.looked = slices.DeleteFunc(e.looked, leftOut)
	for _, f := range v.Findings() {
		if leftOut(e.repo.Path(f.Position.File)) {
			continue // it stays on this machine
		}
		e.findings[f.Rule] = append(e.findings[f.Rule], f)
	}
	slices.Sort(e.configFiles)
	slices.SortFunc(e.calls, func(a, b kustomizeCall) int { return comparePlaces(a.at, b.at) })
	e.argo.sort()
	for _, file := range e.configFiles {
		e.readConfigs(file)
	}
	return nil
}

// looksAt notes a file in which credentials are looked for.
func (e *examination) looksAt(file validate.File) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked = append(e.looked, file.Path)
}

// scanRest looks for credentials in all other files that Git knows, whatever they
// are called. It returns what tells by its path whether Git leaves a file out.
func (e *examination) scanRest(v *validate.Validator, source *gitfiles.WorkTree) (leftOut func(path string) bool, err error) {
	leftOut = func(string) bool { return false }
	if !e.git {
		return leftOut, nil
	}
	known := make(map[string]bool)
	files, err := e.repo.Tracked(e.ctx, []string{e.dir}, func(name string) bool { return !gitfiles.IsDatabase(name) })
	if err != nil {
		e.unread = append(e.unread, err)
		return leftOut, nil
	}
	more, err := judge.Each(e.ctx, source, func(_ context.Context, visit func(gitfiles.File)) error {
		for _, f := range files {
			if known[f.Path] = true; !gitfiles.IsManifest(path.Base(f.Path)) {
				visit(f)
			}
		}
		return nil
	}, func(ctx context.Context, file validate.File) error {
		e.looksAt(file)
		return v.File(ctx, file)
	})
	e.unread = append(e.unread, more...)
	return e.repo.LeftOut(e.ctx, func(p string) bool { return known[p] }, []string{e.dir}), err
}

// objects tells a file of Kubernetes objects, whose texts are not run.
var objects = pattern.Later(`(?m)^"?kind"?:`)

func comparePlaces(a, b report.Position) int {
	if a.File != b.File {
		return strings.Compare(a.File, b.File)
	}
	return a.Line - b.Line
}

// runGit is what git says in the directory, without the line break at the end.
func (e *examination) runGit(stdin string, args ...string) (string, error) {
	cmd := launch.Command(e.ctx, "git", slices.Concat([]string{"-C", e.dir}, args)...)
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
func (e *examination) runVersion(program string) (string, error) {
	ctx, cancel := context.WithTimeout(e.ctx, 10*time.Second)
	defer cancel()
	out, err := launch.Command(ctx, program, "version").Output()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line, err
}

// typedFiles are files as they are typed behind a command, as many as a line bears.
func typedFiles(files []string) string {
	const most = 100
	return strings.Join(report.TypedAll(files[:min(len(files), most)]), " ")
}
