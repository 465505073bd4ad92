package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/validate"
)

// attributes notes a .gitattributes that asks for clusterpair textconv.
func (r *doctorRun) attributes(file validate.File) {
	for line := range strings.Lines(string(file.Data)) {
		if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(fields[0], "#") && slices.Contains(fields[1:], "diff=clusterpair") {
			r.mu.Lock()
			if r.gitAttribute == "" || file.Name < r.gitAttribute {
				r.gitAttribute = file.Name
			}
			r.mu.Unlock()
			return
		}
	}
}

// preCommitFile is where pre-commit looks for its hooks: at the top of the work
// tree alone.
func (r *doctorRun) preCommitFile() (name string, data []byte) {
	name = r.repo.shown(".pre-commit-config.yaml")
	data, _ = (&workFiles{repository: r.repo}).read(r.ctx, listedFile{name: name}, nil) // what cannot be read has no hooks
	return name, data
}

func (r *doctorRun) usesPreCommit() bool {
	_, data := r.preCommitFile()
	return bytes.Contains(data, []byte("clusterpair")) || r.gitAttribute != ""
}

// preCommit looks at the hooks before a commit, and at what git diff shows.
func (r *doctorRun) preCommit(p *part) {
	name, data := r.preCommitFile()
	switch {
	case !r.git:
		p.add(cluster.Failed, "hooks", "git init "+typed(r.dir), "there is no Git work tree")
		return
	case bytes.Contains(data, []byte("clusterpair")):
		r.hooks(p, name, data)
		r.installed(p)
	case len(data) > 0:
		p.add(cluster.Warning, "hooks", "add those of examples/pre-commit of clusterpair", "%s has no hook of clusterpair", name)
	case r.gitAttribute == "":
		p.add(cluster.Failed, "hooks", "copy examples/pre-commit/.pre-commit-config.yaml of clusterpair", "there is no %s", name)
	}
	r.textconv(p)
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

var pinned = pattern(`^(v?\d+(\.\d+)+.*|[0-9a-f]{40})$`)

// hooks looks at the hooks of clusterpair.
func (r *doctorRun) hooks(p *part, name string, data []byte) {
	docs, err := manifest.Values(data, name)
	var config preCommitConfig
	if err != nil || len(docs) == 0 || docs[0].Decode(&config) != nil {
		p.add(cluster.Failed, "hooks", "pre-commit validate-config "+typed(name), "%s cannot be read", name)
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
			r.generates(p, name, hook.ID, append(strings.Fields(hook.Entry), hook.Args...))
			stages := hook.Stages
			if len(stages) == 0 {
				stages = config.DefaultStages
			}
			if len(stages) > 0 && !slices.Contains(stages, "pre-commit") && !slices.Contains(stages, "commit") {
				p.add(cluster.Warning, "hooks", "stages: [pre-commit]", "%s: %s runs at stage %s, and before no commit", name, hook.ID, strings.Join(stages, ", "))
			}
		}
		if ours && repo.Repo != "local" && repo.Repo != "meta" && !pinned().MatchString(repo.Rev) {
			p.add(cluster.Warning, "rev", "pre-commit autoupdate --repo "+typed(repo.Repo), "%s: rev %q is no release: pre-commit fetches a branch once, and never again", name, repo.Rev)
		}
	}
	p.ok("hooks", "%s has %s", name, strings.Join(ids, ", "))
	if !slices.ContainsFunc(ids, func(id string) bool { return strings.Contains(id, "no-plaintext") }) {
		p.add(cluster.Warning, "hooks", "- id: clusterpair-no-plaintext", "%s lacks the hook that keeps credentials in clear out of files of any name", name)
	}
	if _, err := exec.LookPath("clusterpair"); err != nil && system {
		p.add(cluster.Failed, "program", "clusterpair install DIR, into a DIR of your PATH", "the hooks run the clusterpair in PATH, and there is none")
	}
}

// generates says that a hook which renders finds nothing to render. pre-commit runs
// it at the top of the work tree.
func (r *doctorRun) generates(p *part, name, id string, args []string) {
	if id != "clusterpair-generate-check" && !slices.Contains(args, "generate") {
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
		if isConfigPath(filepath.Join(r.repo.root, path)) {
			continue
		}
		dirs := configDirs(r.repo.root)
		for i, dir := range dirs {
			dirs[i] = r.repo.path(dir)
		}
		if len(dirs) == 0 {
			dirs = []string{"DIR"}
		}
		p.add(cluster.Failed, "hooks", "args: [-f, "+strings.Join(dirs, ", -f, ")+"]", "%s: %s renders %s, which holds no config: every commit would fail", name, id, path)
	}
}

// installed tells whether Git runs pre-commit: where core.hooksPath says, and in
// the one directory that all worktrees share.
func (r *doctorRun) installed(p *part) {
	if _, err := exec.LookPath("pre-commit"); err != nil {
		p.add(cluster.Failed, "pre-commit", "apt-get install pre-commit, or pipx install pre-commit", "pre-commit is not in PATH")
	} else {
		p.ok("pre-commit", "pre-commit is in PATH")
	}
	hook, err := r.runGit("", "rev-parse", "--git-path", "hooks/pre-commit")
	if err != nil {
		p.add(cluster.Failed, "installed", "pre-commit install", "where Git looks for hooks is not known: %s", err)
		return
	}
	if !filepath.IsAbs(hook) {
		hook = filepath.Join(r.dir, hook)
	}
	install := "pre-commit install"
	if r.dir != "." {
		install = "cd " + typed(r.dir) + " && " + install
	}
	elsewhere, _ := r.runGit("", "config", "--get", "core.hooksPath") // exits 1 if it is not set
	if elsewhere != "" {
		install = "git config --unset-all core.hooksPath, then " + install + ", which refuses as long as it is set"
	}
	info, err := os.Stat(hook)
	if err != nil || !info.Mode().IsRegular() {
		p.add(cluster.Failed, "installed", install, "Git runs no hook: there is no %s", hook)
		return
	}
	text, err := os.ReadFile(hook)
	switch {
	case err != nil:
		p.add(cluster.Failed, "installed", install, "Git cannot read %s: %s", hook, cause(err))
	case info.Mode()&0o111 == 0:
		p.add(cluster.Failed, "installed", "chmod +x "+typed(hook), "Git passes over %s, which is not executable", hook)
	case !bytes.Contains(text, []byte("pre-commit")) && !bytes.Contains(text, []byte("clusterpair")):
		p.add(cluster.Failed, "installed", install, "%s is another hook, which runs neither pre-commit nor clusterpair", hook)
	default:
		p.ok("installed", "Git runs %s", hook)
	}
}

// textconv tells whether git diff can show what the attributes ask for.
func (r *doctorRun) textconv(p *part) {
	if r.gitAttribute == "" {
		return
	}
	const set = `git config diff.clusterpair.textconv "clusterpair textconv"`
	driver, err := r.runGit("", "config", "--get", "diff.clusterpair.textconv")
	words := strings.Fields(driver)
	switch {
	case err != nil || len(words) == 0:
		p.add(cluster.Warning, "textconv", set, "%s asks for diff=clusterpair, and this clone does not know it: git diff shows ciphertext", r.gitAttribute)
		return
	case len(words) > 1 && words[1] == "textconv":
		if _, err := exec.LookPath(words[0]); err != nil {
			p.add(cluster.Warning, "textconv", set, "git diff would run %s, which is not in PATH", words[0])
			return
		}
	}
	var plain []string
	for _, pair := range r.graph.Pairs {
		if pair.Encrypted && !filepath.IsAbs(pair.Path) {
			plain = append(plain, filepath.Join(r.repo.root, filepath.FromSlash(pair.Path)))
		}
	}
	// PATH NUL diff NUL VALUE NUL
	out, err := r.runGit(strings.Join(plain, "\x00"), "check-attr", "-z", "--stdin", "diff")
	fields := strings.Split(out, "\x00")
	plain = nil
	for i := 0; err == nil && i+2 < len(fields); i += 3 {
		if fields[i+2] != "clusterpair" {
			plain = append(plain, r.repo.shown(r.repo.path(fields[i])))
		}
	}
	if len(plain) > 0 {
		p.add(cluster.Warning, "textconv", "in "+r.gitAttribute+", whose patterns count from its own folder:  rendered/**/*.yaml diff=clusterpair, after **/ where it stands deeper", "git diff shows ciphertext of %s", countOf(len(plain), "ClusterPair", "ClusterPairs")).Details = few(plain)
		return
	}
	p.ok("textconv", "git diff shows what changed in encrypted files")
}
