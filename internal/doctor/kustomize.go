package doctor

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// testedKustomize is the release that the tests run.
const testedKustomize = "v5.8.2"

func (e *examination) usesKustomize() bool { return len(e.functions())+len(e.graph.Strays) > 0 }

// functions are those that kustomizations list, each once.
func (e *examination) functions() []engine.Function {
	var all []engine.Function
	for _, functions := range e.graph.Folders {
		all = append(all, functions...)
	}
	slices.SortFunc(all, func(a, b engine.Function) int {
		if n := comparePlaces(a.At, b.At); n != 0 {
			return n
		}
		return strings.Compare(a.Dir, b.Dir)
	})
	return slices.Compact(all)
}

// kustomize looks at the functions of kustomizations, and at who builds these.
func (e *examination) kustomize(p *Part) {
	functions := e.functions()
	e.kustomizeProgram(p)
	for _, f := range e.graph.Strays {
		if f.Resource {
			p.add(report.Failed, "listed", "list it under generators", "%s: %s %s stands among the resources, where kustomize runs nothing", f.At, f.Kind, f.Name)
		} else {
			p.add(report.Warned, "listed", "list it under generators of a kustomization.yaml, or take its annotation config.kubernetes.io/function away",
				"%s: %s %s is meant as a function, and no kustomization here lists it", f.At, f.Kind, f.Name)
		}
	}
	if len(functions) == 0 {
		p.add(report.Skipped, "function", "", "no kustomization lists a function of clusterpair")
		return
	}
	good := 0
	for _, f := range functions {
		if e.functionRuns(p, f) {
			good++
		}
	}
	if good > 0 {
		p.ok("function", "%s can run here", report.Count(good, "function", "functions"))
	}
	e.pathProgram(p, functions)
	e.callers(p)
}

var kustomizeVersion = pattern.Later(`v(\d+)\.(\d+)\.(\d+)`)

// kustomizeProgram looks at the kustomize in PATH.
func (e *examination) kustomizeProgram(p *Part) {
	const install = "go install sigs.k8s.io/kustomize/kustomize/v5@" + testedKustomize
	if _, err := exec.LookPath("kustomize"); err != nil {
		p.add(report.Warned, "kustomize", install, "kustomize is not in PATH; clusterpair build has its own")
		return
	}
	said, err := e.runVersion("kustomize")
	m := kustomizeVersion().FindStringSubmatch(said)
	switch {
	case err != nil:
		p.add(report.Warned, "kustomize", install, "kustomize is in PATH and does not tell its version: %s", err)
	case m == nil:
		p.add(report.Warned, "kustomize", install, "kustomize is in PATH and does not tell its version; %s is the one that is tested", testedKustomize)
	case m[0] == testedKustomize:
		p.ok("kustomize", "%s, the one that is tested", m[0])
	default:
		if major, _ := strconv.Atoi(m[1]); major < 5 {
			p.add(report.Warned, "kustomize", install, "%s is old: functions work otherwise before v5", m[0])
		} else {
			p.ok("kustomize", "%s; %s is the one that is tested", m[0], testedKustomize)
		}
	}
}

// functionRuns tells whether the program of a function is there: kustomize looks
// for a name in PATH, and for a path from the folder of the kustomization.
func (e *examination) functionRuns(p *Part, f engine.Function) bool {
	name := fmt.Sprintf("%s: %s %s", f.At, f.Kind, f.Name)
	switch {
	case f.Image != "":
		if _, err := exec.LookPath("docker"); err != nil {
			p.add(report.Failed, "function", "exec: {path: clusterpair}, or podman behind the name docker", "%s runs in a container, and docker is not in PATH", name)
			return false
		}
	case f.Exec == "":
		p.add(report.Failed, "function", "set the annotation config.kubernetes.io/function: 'exec: {path: clusterpair}', without which only clusterpair build runs it",
			"%s has no annotation that names a program, without which kustomize takes it for a plugin", name)
		return false
	case !strings.Contains(f.Exec, "/"):
		if _, err := exec.LookPath(f.Exec); err != nil {
			p.add(report.Failed, "function", "install it into a directory of your PATH: clusterpair install DIR", "%s runs %s, which is not in PATH", name, f.Exec)
			return false
		}
	default:
		file := f.Exec
		if !filepath.IsAbs(file) {
			file = filepath.Join(e.repo.Root, filepath.FromSlash(f.Dir), file)
		}
		info, err := os.Stat(file)
		shown := e.repo.Shown(e.repo.Path(file))
		switch {
		case err != nil || info.IsDir():
			p.add(report.Failed, "function", "exec: {path: clusterpair}, which is looked for in PATH", "%s runs %s, and there is no file %s: a path counts from the kustomization", name, f.Exec, shown)
			return false
		case info.Mode()&0o111 == 0:
			p.add(report.Failed, "function", "chmod +x "+report.Typed(shown), "%s runs %s, which is not executable", name, f.Exec)
			return false
		}
	}
	return true
}

// pathProgram tells whether the clusterpair in PATH, which functions run, is
// another one than this.
func (e *examination) pathProgram(p *Part, functions []engine.Function) {
	if !slices.ContainsFunc(functions, func(f engine.Function) bool { return f.Exec == "clusterpair" }) {
		return
	}
	inPath, err := exec.LookPath("clusterpair")
	if err != nil {
		return // said above
	}
	self, err := os.Executable()
	if err == nil && worktree.SameFile(inPath, self) {
		return
	}
	said, err := e.runVersion(inPath)
	if fields := strings.Fields(said); err != nil || len(fields) < 2 {
		p.add(report.Warned, "function", "type -a clusterpair", "the clusterpair in PATH does not tell its version")
	} else if fields[1] != e.version {
		p.add(report.Warned, "function", "type -a clusterpair", "the clusterpair in PATH is %s, this one is %s", fields[1], e.version)
	}
}

// kustomizeCall is a place in a script that calls kustomize.
type kustomizeCall struct {
	at      report.Position
	dir     string // what it builds, as far as the text tells
	open    bool   // a variable may stand for the directory, or hold flags
	alpha   bool   // --enable-alpha-plugins
	exec    bool   // --enable-exec
	kubectl string // kustomize, or the verb before -k
}

// String is the call without its flags, which could hold anything.
func (c kustomizeCall) String() string {
	switch c.kubectl {
	case "":
		return "kustomize build " + c.dir
	case "kustomize":
		return "kubectl kustomize " + c.dir
	}
	return "kubectl " + c.kubectl + " -k " + c.dir
}

// isScript tells by its name whether a file may call kustomize.
func isScript(name string) bool {
	switch filepath.Ext(name) {
	case ".sh", ".bash", ".zsh", ".fish", ".mk", ".just", ".groovy":
		return true
	}
	return slices.Contains([]string{"Makefile", "makefile", "GNUmakefile", "Justfile", "justfile", "Jenkinsfile", "Earthfile"}, name)
}

var (
	makeVariable    = pattern.Later(`\$\((\w+)\)`)
	callOfKustomize = pattern.Later(`(?i)(?:\$\{|\b)kustomize[)}"']*\s+build\b|\bkubectl\b[^|;&]*?\s(kustomize)\b|\bkubectl\b[^|;&]*?\s(apply|create|delete|diff|get|replace)\b[^|;&]*?\s(?:-k|--kustomize)\b`)
	changesTo       = pattern.Later(`(?:^|[\s;&(@"'-])cd\s+["']?([^\s;&|"']+)`)
	onlySays        = pattern.Later(`(?:^|[\s;&|@("'])(?:echo|printf)\s[^;&|]*$`)
	labelOfCI       = pattern.Later(`^\s*(?:-\s+)?["']?(?:name|description|displayName|title|label|summary|message)["']?\s*:`)
)

// script notes the calls of kustomize in a file.
//
// It reads lines, and guesses. A parser of shell, such as mvdan.cc/sh/v3, would see here
// documents and quotes; but only one of the forms is shell: to it the conditions of a
// Makefile are syntax errors, and commands of CI stand in YAML, of Jenkins in Groovy.
// It would come on top of this, and add 434 kB to the program.
func (e *examination) script(file validate.File) {
	if !bytes.Contains(bytes.ToLower(file.Data), []byte("kustomize")) && !bytes.Contains(file.Data, []byte("kubectl")) {
		return
	}
	var calls []kustomizeCall
	lines := strings.Split(string(file.Data), "\n")
	for i := 0; i < len(lines); i++ {
		line, at := lines[i], i+1
		for strings.HasSuffix(line, "\\") && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, "\\") + " " + lines[i]
		}
		if text := strings.TrimSpace(line); strings.HasPrefix(text, "#") || strings.HasPrefix(text, "//") || labelOfCI().MatchString(line) {
			continue
		}
		line, _, _ = strings.Cut(line, " #")
		line = makeVariable().ReplaceAllString(line, "$${$1}") // a parenthesis ends a command elsewhere
		for _, m := range callOfKustomize().FindAllStringSubmatchIndex(line, -1) {
			if onlySays().MatchString(line[:m[0]]) {
				continue
			}
			c := parseCall(line, m)
			c.at = report.Position{File: file.Name, Line: at}
			if cd := changesTo().FindAllStringSubmatch(line[:m[0]], -1); cd != nil {
				c.dir = path.Join(cd[len(cd)-1][1], c.dir)
				c.open = c.open || isVariable(c.dir)
			}
			calls = append(calls, c)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, calls...)
}

func isVariable(word string) bool { return strings.ContainsAny(word, "$%`*{") }

// parseCall takes a call apart; m is a match of callOfKustomize().
func parseCall(line string, m []int) kustomizeCall {
	rest := line[m[1]:]
	if end := strings.IndexAny(rest, "|;&><)`#"); end >= 0 {
		rest = rest[:end]
	}
	c := kustomizeCall{dir: "."}
	for _, group := range [][]int{m[2:4], m[4:6]} {
		if group[0] >= 0 {
			c.kubectl = line[group[0]:group[1]]
		}
	}
	flags := line[m[0]:m[1]] + rest
	c.alpha, c.exec = strings.Contains(flags, "--enable-alpha-plugins"), strings.Contains(flags, "--enable-exec")
	named := false
	words := strings.Fields(strings.TrimPrefix(rest, "="))
	for i := 0; i < len(words); i++ {
		word := strings.Trim(words[i], `"',[]`)
		switch {
		case slices.Contains([]string{"-o", "--output", "-e", "--env", "--mount", "--load-restrictor", "--network-name", "--helm-command", "-n", "--namespace", "--context", "-f"}, word):
			i++
		case word == "" || strings.HasPrefix(word, "-"):
		case isVariable(word) && named:
			c.open = true
		case !named || c.open && isVariable(c.dir): // flags may stand in a variable before it
			c.dir, named, c.open = word, true, c.open || isVariable(word)
		}
	}
	return c
}

// callers judges the calls of kustomize in scripts.
func (e *examination) callers(p *Part) {
	good := 0
	for _, c := range e.calls {
		if strings.Contains(c.dir, "://") || strings.ContainsAny(c.dir, "?@") {
			continue // somebody else's repository, perhaps with a password
		}
		functions, known := e.built(c)
		if !known || c.open {
			functions = e.functions() // for all that the text tells
		}
		inPath := slices.ContainsFunc(functions, func(f engine.Function) bool { return f.Image == "" })
		if len(functions) == 0 || c.kubectl == "" && c.alpha && (c.exec || !inPath) {
			if len(functions) > 0 {
				good++
			}
			continue
		}
		what, why := c.fault()
		dir := c.dir
		status := report.Failed
		switch {
		case (!known || c.open) && !c.alpha:
			continue // if it fails, it says so
		case !known || c.open:
			status, dir = report.Warned, "DIR"
			what += ", if it builds a folder with one"
		default:
			dir = report.Typed(dir)
		}
		p.add(status, "caller", c.instead(dir), "%s: %s %s: %s", c.at, c, what, why)
	}
	if good > 0 {
		p.ok("caller", "%s with --enable-alpha-plugins and --enable-exec", report.Count(good, "script or job builds", "scripts or jobs build"))
	}
}

// fault says what a call does with a function, and why, unless it runs it.
func (c kustomizeCall) fault() (what, why string) {
	what, why = "fails, as functions are off", "--enable-alpha-plugins and --enable-exec are missing"
	if c.alpha {
		what = "leaves the function out and says nothing"
	}
	switch {
	case c.kubectl != "":
		why = "kubectl has no --enable-exec"
	case c.alpha:
		why = "--enable-exec is missing"
	case c.exec:
		why = "--enable-alpha-plugins is missing"
	}
	return what, why
}

// instead is a hint: what to call for a directory, so that its functions run.
func (c kustomizeCall) instead(dir string) string {
	build := "write there: clusterpair build " + dir
	switch c.kubectl {
	case "":
		return build + ", or: kustomize build --enable-alpha-plugins --enable-exec " + dir
	case "kustomize":
		return build
	}
	return build + " | kubectl " + c.kubectl + " -f -"
}

// built are the functions of the folder that a call builds: it may count from the
// top of the repository, from the directory that was named, or from its file.
func (e *examination) built(c kustomizeCall) (functions []engine.Function, known bool) {
	for _, from := range []string{e.repo.Shown("."), e.dir, filepath.Dir(c.at.File)} {
		dir := e.repo.Path(filepath.Join(from, filepath.FromSlash(c.dir)))
		if more, ok := e.graph.Folders[dir]; ok {
			known = true
			if len(more) > 0 {
				return more, true
			}
		}
	}
	return nil, known
}
