package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// installed has a hook of pre-commit in the work tree, and pre-commit in PATH.
func installed(r repository) {
	r.Helper()
	r.program("pre-commit", "")
	r.write(".git/hooks/pre-commit", "#!/bin/sh\nexec pre-commit hook-impl\n")
	r.must(os.Chmod(".git/hooks/pre-commit", 0o700))
}

// TestHooks is about hooks that Git does not run, or that say nothing.
func TestHooks(t *testing.T) {
	const file = ".pre-commit-config.yaml"
	const good = "ok installed Git runs .git/hooks/pre-commit"
	cases := map[string]finding{
		"as it is": {edit: func(repository) {}, not: "warning", want: []string{
			"ok hooks " + file + " has clusterpair-no-plaintext, clusterpair-validate, clusterpair-generate-check", "ok pre-commit pre-commit is in PATH", good}},
		"no file": {func(r repository) { r.remove(file) }, []string{"error hooks there is no " + file + "\n  hint: copy examples/pre-commit/" + file + " of clusterpair"}, ""},
		"others' hooks": {func(r repository) {
			r.write(file, "repos: [{repo: https://example.com/x, rev: v1.0, hooks: [{id: x}]}]\n")
		}, []string{"warning hooks " + file + " has no hook of clusterpair"}, ""},
		"no YAML":       {func(r repository) { r.write(file, "repos: {clusterpair: [\n") }, []string{"error hooks " + file + " cannot be read\n  hint: pre-commit validate-config " + file}, ""},
		"a branch":      {func(r repository) { r.replace(file, "rev: .*", "rev: main") }, []string{"warning rev " + file + `: rev "main" is no release: pre-commit fetches a branch once, and never again` + "\n  hint: pre-commit autoupdate --repo https://clusterpair.dev/clusterpair"}, ""},
		"a commit":      {edit: func(r repository) { r.replace(file, "rev: .*", "rev: 2e4bd8d1f52f9f2f2d0d0c3a6a0c7d5d5a0a1b2c") }, not: "warning"},
		"one left out":  {func(r repository) { r.replace(file, ".*no-plaintext\n", "") }, []string{"warning hooks " + file + " lacks the hook that keeps credentials in clear out of files of any name\n  hint: - id: clusterpair-no-plaintext"}, ""},
		"before a push": {func(r repository) { r.replace(file, "- id: clusterpair-no-plaintext", "$0\n    stages: [pre-push]") }, []string{"warning hooks " + file + ": clusterpair-no-plaintext runs at stage pre-push, and before no commit\n  hint: stages: [pre-commit]"}, ""},
		"all before a push": {func(r repository) { r.replace(file, "^repos:", "default_stages: [pre-push]\nrepos:") }, []string{
			"warning hooks " + file + ": clusterpair-no-plaintext runs at stage pre-push", "warning hooks " + file + ": clusterpair-validate runs at stage pre-push"}, ""},
		"of a release, nothing to render": {func(r repository) {
			r.remove("clusterpair.yaml")
			r.replace(file, "clusterpair-generate-check", "clusterpair-generate-check-released")
		}, []string{"error hooks " + file + ": clusterpair-generate-check-released renders ., which holds no config: every commit would fail\n  hint: args: [-f, DIR]"}, ""},
		"nothing to render": {func(r repository) { r.remove("clusterpair.yaml") }, []string{"error hooks " + file + ": clusterpair-generate-check renders ., which holds no config: every commit would fail\n  hint: args: [-f, DIR]"}, ""},
		"configs elsewhere": {func(r repository) {
			r.write("dr/east/clusterpair.yaml", "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\n")
			r.write("dr/west/clusterpair.yaml", "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\n")
			r.remove("clusterpair.yaml")
		}, []string{"error hooks " + file + ": clusterpair-generate-check renders ., which holds no config: every commit would fail\n  hint: args: [-f, dr/east, -f, dr/west]"}, ""},
		"configs elsewhere, named": {edit: func(r repository) {
			r.write("dr/east/clusterpair.yaml", "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\n")
			r.remove("clusterpair.yaml")
			r.replace(file, "- id: clusterpair-generate-check", "$0\n    args: [-f, dr/east]")
		}, not: "error"},
		"a program that is not there": {func(r repository) {
			r.write(file, "repos: [{repo: local, hooks: [{id: clusterpair-no-plaintext, language: system, entry: clusterpair validate}]}]\n")
			r.remove(filepath.Join(os.Getenv("PATH"), "clusterpair"))
		}, []string{"error program the hooks run the clusterpair in PATH, and there is none"}, ""},
		"no pre-commit":        {func(r repository) { r.remove(filepath.Join(os.Getenv("PATH"), "pre-commit")) }, []string{"error pre-commit pre-commit is not in PATH\n  hint: apt-get install pre-commit"}, ""},
		"no Git":               {func(r repository) { r.remove(filepath.Join(os.Getenv("PATH"), "git")) }, []string{`error installed where Git looks for hooks is not known: exec: "git": executable file not found in $PATH`}, good},
		"no hook":              {func(r repository) { r.remove(".git/hooks/pre-commit") }, []string{"error installed Git runs no hook: there is no .git/hooks/pre-commit\n  hint: pre-commit install"}, good},
		"not executable":       {func(r repository) { r.must(os.Chmod(".git/hooks/pre-commit", 0o600)) }, []string{"error installed Git passes over .git/hooks/pre-commit, which is not executable\n  hint: chmod +x .git/hooks/pre-commit"}, good},
		"another's hook":       {func(r repository) { r.replace(".git/hooks/pre-commit", "pre-commit", "make lint") }, []string{"error installed .git/hooks/pre-commit is another hook, which runs neither pre-commit nor clusterpair\n  hint: pre-commit install"}, good},
		"hooks elsewhere":      {func(r repository) { r.git("config", "core.hooksPath", "hooks") }, []string{"error installed Git runs no hook: there is no hooks/pre-commit\n  hint: git config --unset-all core.hooksPath && pre-commit install"}, good},
		"no work tree":         {func(r repository) { r.remove(".git") }, []string{"error hooks there is no Git work tree\n  hint: git init ."}, good},
		"attributes of others": {edit: func(r repository) { r.write(".gitattributes", "# x diff=nothing\n") }, not: "textconv"},
	}
	for title, c := range cases {
		t.Run(title, func(t *testing.T) {
			r := example(t, "kustomize", ".")
			r.remove(".gitattributes")
			text, err := os.ReadFile(filepath.Join(root(t), "examples", "pre-commit", file))
			r.must(err)
			r.write(file, string(text))
			installed(r)
			c.check(r, Options{PreCommit: true})
		})
	}
}

// TestHooksOfWorktree looks where Git does for the hooks of another worktree.
func TestHooksOfWorktree(t *testing.T) {
	r := example(t, "kustomize", "repo")
	t.Chdir("..")
	r.remove(".git")
	r.must(os.RemoveAll("repo/.gitattributes"))
	r.git("init", "-q", "repo")
	r.git("-C", "repo", "-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-q", "--allow-empty", "-m", "Begin")
	r.git("-C", "repo", "worktree", "add", "-q", "../tree")
	r.write("tree/.pre-commit-config.yaml", "repos: [{repo: local, hooks: [{id: clusterpair-no-plaintext}]}]\n")
	look := func() string {
		var said string
		r.must(Examine(t.Context(), "tree", Options{PreCommit: true}, func(p Part) {
			for _, c := range p.Checks {
				said += string(c.Status) + " " + c.Text + " " + c.Hint + "\n"
			}
		}))
		return said
	}
	if said := look(); !strings.Contains(said, "error Git runs no hook: there is no ") || !strings.Contains(said, "/repo/.git/hooks/pre-commit cd tree && pre-commit install\n") {
		t.Error(said)
	}
	r.write("repo/.git/hooks/pre-commit", "exec pre-commit\n")
	r.must(os.Chmod("repo/.git/hooks/pre-commit", 0o700))
	if said := look(); !strings.Contains(said, "/repo/.git/hooks/pre-commit \n") {
		t.Error(said)
	}
}

// TestTextconv is about what git diff shows.
func TestTextconv(t *testing.T) {
	const good = "ok textconv git diff shows what changed in encrypted files"
	set := func(driver string) func(repository) {
		return func(r repository) { r.git("config", "diff.clusterpair.textconv", driver) }
	}
	find(t, "kustomize", ".", Options{PreCommit: true}, map[string]finding{
		"a clone that does not know it": {func(repository) {}, []string{"warning textconv .gitattributes asks for diff=clusterpair, and this clone does not know it: git diff shows ciphertext\n  hint: git config diff.clusterpair.textconv \"clusterpair textconv\""}, good},
		"a program that is not there":   {set("clusterpear textconv"), []string{"warning textconv git diff would run clusterpear, which is not in PATH"}, good},
		"as it should be":               {set("clusterpair textconv"), []string{good}, "warning"},
		"a pattern that no pair matches": {func(r repository) {
			set("clusterpair textconv")(r)
			r.write(".gitattributes", "# rendered/** diff=nothing\nother/** text diff=clusterpair\n")
		}, []string{"warning textconv git diff shows ciphertext of 1 ClusterPair\n  rendered/migrationnamespace/remotecluster.yaml"}, good},
	})
}
