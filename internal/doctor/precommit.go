package doctor

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// attributes notes a .gitattributes that asks for clusterpair textconv.
func (e *examination) attributes(file validate.File) {
	for line := range strings.Lines(string(file.Data)) {
		if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(fields[0], "#") && slices.Contains(fields[1:], "diff=clusterpair") {
			e.mu.Lock()
			if e.gitAttribute == "" || file.Name < e.gitAttribute {
				e.gitAttribute = file.Name
			}
			e.mu.Unlock()
			return
		}
	}
}

// preCommitFile is where pre-commit looks for its hooks: at the top of the work
// tree alone.
func (e *examination) preCommitFile() (name string, data []byte) {
	name = e.repo.Shown(".pre-commit-config.yaml")
	data, _ = (&gitfiles.WorkTree{Repository: e.repo}).Read(e.ctx, gitfiles.File{Name: name}, nil) // what cannot be read has no hooks
	return name, data
}

func (e *examination) usesPreCommit() bool {
	_, data := e.preCommitFile()
	return bytes.Contains(data, []byte("clusterpair")) || e.gitAttribute != ""
}

// preCommit looks at the hooks before a commit, and at what git diff shows.
func (e *examination) preCommit(p *Part) {
	name, data := e.preCommitFile()
	switch {
	case !e.git:
		p.add(report.Failed, "hooks", "git init "+report.Typed(e.dir), "there is no Git work tree")
		return
	case bytes.Contains(data, []byte("clusterpair")):
		e.hooks(p, name, data)
		e.installed(p)
	case len(data) > 0:
		p.add(report.Warned, "hooks", "add those of examples/pre-commit of clusterpair", "%s has no hook of clusterpair", name)
	case e.gitAttribute == "":
		p.add(report.Failed, "hooks", "copy examples/pre-commit/.pre-commit-config.yaml of clusterpair", "there is no %s", name)
	}
	e.textconv(p)
}

// preCommitConfig is what matters here of a .pre-commit-config.yaml.
// https://pre-commit.com/#adding-pre-commit-plugins-to-your-project
type preCommitConfig struct {
	DefaultStages []string `yaml:"default_stages"`
	Repos         []struct {
		Repo  string `yaml:"repo"`
		Rev   string `yaml:"rev"`
		Hooks []struct {
			ID       string   `yaml:"id"`
			Entry    string   `yaml:"entry"`
			Language string   `yaml:"language"`
			Args     []string `yaml:"args"`
			Stages   []string `yaml:"stages"`
		} `yaml:"hooks"`
	} `yaml:"repos"`
}

var pinned = pattern.Later(`^(v?\d+(\.\d+)+.*|[0-9a-f]{40})$`)

// hooks looks at the hooks of clusterpair.
func (e *examination) hooks(p *Part, name string, data []byte) {
	docs, err := manifest.Values(data, name)
	var config preCommitConfig
	if err != nil || len(docs) == 0 || docs[0].Decode(&config) != nil {
		p.add(report.Failed, "hooks", "pre-commit validate-config "+report.Typed(name), "%s cannot be read", name)
		return
	}
	var ids []string
	system := false
	for _, repo := range config.Repos {
		ours := false
		for _, hook := range repo.Hooks {
			if !strings.HasPrefix(hook.ID, "clusterpair-") && !strings.HasPrefix(hook.Entry, "clusterpair ") {
				continue
			}
			ours = true
			ids = append(ids, hook.ID)
			system = system || hook.Language == "system" || hook.Language == "unsupported"
			e.generates(p, name, hook.ID, append(strings.Fields(hook.Entry), hook.Args...))
			if stages := otherStages(hook.Stages, config.DefaultStages); len(stages) > 0 {
				p.add(report.Warned, "hooks", "stages: [pre-commit]", "%s: %s runs at stage %s, and before no commit", name, hook.ID, strings.Join(stages, ", "))
			}
		}
		if ours && repo.Repo != "local" && repo.Repo != "meta" && !pinned().MatchString(repo.Rev) {
			p.add(report.Warned, "rev", "pre-commit autoupdate --repo "+report.Typed(repo.Repo), "%s: rev %q is no release: pre-commit fetches a branch once, and never again", name, repo.Rev)
		}
	}
	p.ok("hooks", "%s has %s", name, strings.Join(ids, ", "))
	if !slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(id, "no-plaintext") }) {
		p.add(report.Warned, "hooks", "- id: clusterpair-no-plaintext", "%s lacks the hook that keeps credentials in clear out of files of any name", name)
	}
	if _, err := exec.LookPath("clusterpair"); err != nil && system {
		p.add(report.Failed, "program", "install it into a directory of your PATH: clusterpair install DIR", "the hooks run the clusterpair in PATH, and there is none")
	}
}

// otherStages are the stages of a hook, or those of all hooks, if no commit is among them.
func otherStages(stages, all []string) []string {
	if len(stages) == 0 {
		stages = all
	}
	if slices.Contains(stages, "pre-commit") || slices.Contains(stages, "commit") {
		return nil
	}
	return stages
}

// generates says that a hook which renders finds nothing to render. pre-commit runs
// it at the top of the work tree.
func (e *examination) generates(p *Part, name, id string, args []string) {
	if strings.TrimSuffix(id, "-released") != "clusterpair-generate-check" && !slices.Contains(args, "generate") {
		return
	}
	var paths []string
	for i, arg := range args {
		if path, ok := strings.CutPrefix(arg, "--filename="); ok {
			paths = append(paths, path)
		} else if (arg == "-f" || arg == "--filename") && i+1 < len(args) {
			paths = append(paths, args[i+1])
		}
	}
	if len(paths) == 0 {
		paths = []string{"."}
	}
	for _, path := range paths {
		if kustomize.HasConfig(filepath.Join(e.repo.Root, path)) {
			continue
		}
		dirs := kustomize.Dirs(e.repo.Root)
		for i, dir := range dirs {
			dirs[i] = e.repo.Path(dir)
		}
		if len(dirs) == 0 {
			dirs = []string{"DIR"}
		}
		p.add(report.Failed, "hooks", "args: [-f, "+strings.Join(dirs, ", -f, ")+"]", "%s: %s renders %s, which holds no config: every commit would fail", name, id, path)
	}
}

// installed tells whether Git runs pre-commit: where core.hooksPath says, and in
// the one directory that all worktrees share.
func (e *examination) installed(p *Part) {
	if _, err := exec.LookPath("pre-commit"); err != nil {
		p.add(report.Failed, "pre-commit", "apt-get install pre-commit, or pipx install pre-commit", "pre-commit is not in PATH")
	} else {
		p.ok("pre-commit", "pre-commit is in PATH")
	}
	hook, err := e.runGit("", "rev-parse", "--git-path", "hooks/pre-commit")
	if err != nil {
		p.add(report.Failed, "installed", "pre-commit install", "where Git looks for hooks is not known: %s", err)
		return
	}
	if !filepath.IsAbs(hook) {
		hook = filepath.Join(e.dir, hook)
	}
	install := "pre-commit install"
	elsewhere, _ := e.runGit("", "config", "--get", "core.hooksPath") // exits 1 if it is not set
	if elsewhere != "" {                                              // with which pre-commit refuses
		scope := " "
		if local, _ := e.runGit("", "config", "--local", "--get", "core.hooksPath"); local == "" {
			scope = " --global "
		}
		install = "git config" + scope + "--unset-all core.hooksPath && " + install
	}
	if e.dir != "." {
		install = "cd " + report.Typed(e.dir) + " && " + install
	}
	info, err := os.Stat(hook)
	if err != nil || !info.Mode().IsRegular() {
		p.add(report.Failed, "installed", install, "Git runs no hook: there is no %s", hook)
		return
	}
	text, err := os.ReadFile(hook)
	switch {
	case err != nil:
		p.add(report.Failed, "installed", install, "Git cannot read %s: %s", hook, worktree.Cause(err))
	case info.Mode()&0o111 == 0:
		p.add(report.Failed, "installed", "chmod +x "+report.Typed(hook), "Git passes over %s, which is not executable", hook)
	case !bytes.Contains(text, []byte("pre-commit")) && !bytes.Contains(text, []byte("clusterpair")):
		p.add(report.Failed, "installed", install, "%s is another hook, which runs neither pre-commit nor clusterpair", hook)
	default:
		p.ok("installed", "Git runs %s", hook)
	}
}

// textconv tells whether git diff can show what the attributes ask for.
func (e *examination) textconv(p *Part) {
	if e.gitAttribute == "" {
		return
	}
	set := "git config"
	if e.dir != "." {
		set = "git -C " + report.Typed(e.dir) + " config"
	}
	set += ` diff.clusterpair.textconv "clusterpair textconv"`
	driver, err := e.runGit("", "config", "--get", "diff.clusterpair.textconv")
	words := strings.Fields(driver)
	switch {
	case err != nil || len(words) == 0:
		p.add(report.Warned, "textconv", set, "%s asks for diff=clusterpair, and this clone does not know it: git diff shows ciphertext", e.gitAttribute)
		return
	case len(words) > 1 && words[1] == "textconv":
		if _, err := exec.LookPath(words[0]); err != nil {
			p.add(report.Warned, "textconv", set, "git diff would run %s, which is not in PATH", words[0])
			return
		}
	}
	var plain []string
	for _, pair := range e.graph.Pairs {
		if pair.Encrypted && !filepath.IsAbs(pair.Path) {
			plain = append(plain, filepath.Join(e.repo.Root, filepath.FromSlash(pair.Path)))
		}
	}
	// PATH NUL diff NUL VALUE NUL
	out, err := e.runGit(strings.Join(plain, "\x00"), "check-attr", "-z", "--stdin", "diff")
	fields := strings.Split(out, "\x00")
	plain = nil
	for i := 0; err == nil && i+2 < len(fields); i += 3 {
		if fields[i+2] != "clusterpair" {
			plain = append(plain, e.repo.Shown(e.repo.Path(fields[i])))
		}
	}
	if len(plain) > 0 {
		p.add(report.Warned, "textconv", "in "+e.gitAttribute+", whose patterns count from its own folder:  rendered/**/*.yaml diff=clusterpair, after **/ where it stands deeper", "git diff shows ciphertext of %s", report.Count(len(plain), "ClusterPair", "ClusterPairs")).Details = report.Few(plain)
		return
	}
	p.ok("textconv", "git diff shows what changed in encrypted files")
}
