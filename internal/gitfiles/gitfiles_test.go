package gitfiles_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/report"
)

// inRepository changes to a new Git repository with files by their names, all of
// them committed but for those whose names begin with "new".
func inRepository(t *testing.T, files map[string]string) gitfiles.Repository {
	t.Helper()
	t.Chdir(t.TempDir())
	write(t, files)
	git(t, "init", "-q")
	git(t, "add", "-f", "-A", "--", ".", ":!new*")
	git(t, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "first")
	r, err := gitfiles.Open()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func write(t *testing.T, files map[string]string) {
	t.Helper()
	for name, content := range files {
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil {
			err = os.WriteFile(name, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func git(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
		t.Fatalf("git %q: %v\n%s", args, err, out)
	}
}

// names are the names of the files of a list, sorted, each with what it holds.
func names(t *testing.T, source gitfiles.Source, list func(context.Context, func(gitfiles.File)) error) string {
	t.Helper()
	var all []string
	err := list(t.Context(), func(f gitfiles.File) {
		data, err := source.Read(t.Context(), f, nil)
		if err != nil {
			t.Error(err)
		}
		all = append(all, filepath.ToSlash(f.Name)+"="+string(data))
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestInBranches: a text counts in every branch and in the stash, not in what is in no
// commit.
func TestInBranches(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "main"})
	git(t, "config", "user.name", "a")
	git(t, "config", "user.email", "a@example.com")
	git(t, "checkout", "-q", "-b", "other")
	write(t, map[string]string{"a.yaml": "other-text"})
	git(t, "commit", "-qam", "other")
	git(t, "checkout", "-q", "-")
	write(t, map[string]string{"a.yaml": "stashed-text"})
	git(t, "stash", "-q")
	write(t, map[string]string{"a.yaml": "loose-text"})
	for text, want := range map[string]bool{"main": true, "other-text": true, "stashed-text": true, "loose-text": false, "other.text": false, "-text": true, "nowhere": false} {
		if got := r.InBranches(t.Context(), text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// TestArguments: which files of a work tree the arguments mean.
func TestArguments(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "1", "b/c.yml": "2", "b/d.txt": "3", "b/e/f.json": "4", "kubeconfig": "5", "b/..data/g.yaml": "6"})
	if err := os.Symlink("b", "link"); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		".":              "a.yaml=1 b/c.yml=2 b/e/f.json=4 kubeconfig=5",
		"b":              "b/c.yml=2 b/e/f.json=4",
		"link":           "link/c.yml=2 link/e/f.json=4",
		"b/d.txt":        "b/d.txt=3",
		"**/*.yml":       "b/c.yml=2",
		"b/**":           "b/..data/g.yaml=6 b/c.yml=2 b/d.txt=3 b/e/f.json=4",
		"*.yaml b/c.yml": "a.yaml=1 b/c.yml=2",
		"b/*/*.json":     "b/e/f.json=4",
		"b/*":            "b/..data/g.yaml=6 b/c.yml=2 b/d.txt=3 b/e/f.json=4",
		"*/**/f*.json":   "b/e/f.json=4",
		"**/e/**/*.json": "b/e/f.json=4",
		"b b/c.yml":      "b/c.yml=2 b/e/f.json=4",
		"-":              "-=from standard input",
	} {
		source := &gitfiles.WorkTree{Repository: r, Stdin: func() ([]byte, error) { return []byte("from standard input"), nil }}
		list, err := source.List(t.Context(), strings.Fields(args))
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		if got := names(t, source, list.Each); got != want {
			t.Errorf("%s:\n got %s\nwant %s", args, got, want)
		}
	}
	for args, wrong := range map[string]bool{"none.yaml": false, "*.none": false, "[": true, "a[.yaml": true} {
		_, err := (&gitfiles.WorkTree{Repository: r}).List(t.Context(), []string{args})
		var usage *report.UsageError
		if err == nil || errors.As(err, &usage) != wrong {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// TestIndex: the index has what is staged, whatever the work tree has since.
func TestIndex(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "committed", "b.yaml": "committed", "c.txt": "committed"})
	write(t, map[string]string{"a.yaml": "staged", "c.txt": "staged", "d.yaml": "never staged"})
	git(t, "add", "a.yaml", "c.txt")
	write(t, map[string]string{"a.yaml": "later"})
	if err := os.Symlink("a.yaml", "link.yaml"); err != nil {
		t.Fatal(err)
	}
	git(t, "add", "link.yaml")

	for args, want := range map[string][2]string{
		"":       {"a.yaml=staged c.txt=staged", "b.yaml=committed"},
		"b.yaml": {"b.yaml=committed", "a.yaml=staged"},
	} {
		index := &gitfiles.Index{Repository: r}
		list, err := index.List(t.Context(), strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		if got := [2]string{names(t, index, list.Each), names(t, index, list.Around)}; got != want {
			t.Errorf("%q: got %q, want %q", args, got, want)
		}
		index.Close()
	}
	if _, err := (&gitfiles.Index{Repository: r}).List(t.Context(), []string{"d.yaml"}); err == nil {
		t.Error("a file that is not in the index is listed")
	}

	head := &gitfiles.Index{Repository: r}
	defer head.Close()
	if got, want := names(t, head, head.Other("HEAD")), "a.yaml=committed"; got != want {
		t.Errorf("other in HEAD: got %q, want %q", got, want)
	}
	if got := names(t, head, head.Other("no-such-branch")); got != "" {
		t.Errorf("other in a commit that is not there: %q", got)
	}
}

// TestIndexObjects: what is staged is read the same whether it is a file of its own, is
// packed or stands elsewhere; what is damaged is an error.
func TestIndexObjects(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "committed"})
	write(t, map[string]string{"b.yaml": "staged\n", "empty.yaml": "", "large.yaml": strings.Repeat("a: b\n", 50000)})
	git(t, "add", ".")
	read := func() string {
		t.Helper()
		index := &gitfiles.Index{Repository: r}
		defer index.Close()
		list, err := index.List(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return names(t, index, list.Each)
	}
	want := "b.yaml=staged\n empty.yaml= large.yaml=" + strings.Repeat("a: b\n", 50000)
	if got := read(); got != want {
		t.Errorf("as files: %.80q", got)
	}
	t.Setenv("GIT_LITERAL_PATHSPECS", "1")
	if got := read(); got != want {
		t.Errorf("with literal pathspecs: %.80q", got)
	}
	if err := os.Rename(".git/objects", ".git/elsewhere"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_OBJECT_DIRECTORY", filepath.Join(r.Root, ".git", "elsewhere"))
	if err := os.Mkdir(".git/objects", 0o777); err != nil {
		t.Fatal(err)
	}
	if got := read(); got != want {
		t.Errorf("elsewhere: %.80q", got)
	}
	git(t, "gc", "-q", "--prune=now")
	if loose, _ := filepath.Glob(".git/elsewhere/??/*"); len(loose) > 0 {
		t.Errorf("not packed: %q", loose)
	}
	if got := read(); got != want {
		t.Errorf("packed: %.80q", got)
	}
}

// TestIndexReplaced: what a push publishes is read, and not what git replace shows for it,
// whether it is a file of its own or packed. What is staged is told by the commit that it
// goes on, and not by one that stands for that.
func TestIndexReplaced(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "committed", "b.yaml": "committed, too"})
	write(t, map[string]string{"a.yaml": "staged", "clean.txt": "clean"})
	git(t, "add", "a.yaml")
	script := `set -eu
git replace $(git rev-parse :a.yaml) $(git hash-object -w clean.txt)
test "$(git show :a.yaml)" = clean
commit=$(git -c user.name=a -c user.email=a@example.com commit-tree -m other $(git write-tree))
git replace $(git rev-parse HEAD) $commit
git diff --cached --quiet`
	if out, err := exec.Command("sh", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for range 2 {
		index := &gitfiles.Index{Repository: r}
		list, err := index.List(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, index, list.Each); got != "a.yaml=staged" {
			t.Errorf("staged: %q", got)
		}
		if got := names(t, index, index.Other("HEAD")); got != "a.yaml=committed" {
			t.Errorf("of the commit: %q", got)
		}
		index.Close()
		git(t, "gc", "-q", "--prune=now")
	}
	if !r.InBranches(t.Context(), "committed") {
		t.Error("what the commit has is in no branch")
	}
}

// TestIndexPartial: in a sparse checkout of a partial clone, what Git lacks it fetches. Where
// it cannot, that file is named, with the reason, and those that it has are read.
func TestIndexPartial(t *testing.T) {
	files := make(map[string]string)
	for i := range 20 {
		files[fmt.Sprintf("far/%d.yaml", i)] = fmt.Sprint("far ", i)
	}
	files["near/0.yaml"], files["near/1.yaml"], files["z/1.yaml"] = "near 0", "near 1", "far, too"
	origin := inRepository(t, files).Root
	git(t, "config", "uploadpack.allowFilter", "true")
	dir := t.TempDir()
	clone := filepath.Join(dir, "clone")
	git(t, "clone", "-q", "--filter=blob:none", "--sparse", "file://"+origin, clone)
	t.Chdir(clone)
	git(t, "sparse-checkout", "set", "near")
	write(t, map[string]string{"near/0.yaml": "staged"})
	git(t, "add", "near/0.yaml")
	r, err := gitfiles.Open()
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(dir, "gone")
	if err := os.Rename(origin, gone); err != nil {
		t.Fatal(err)
	}
	list := func(index *gitfiles.Index, args ...string) *gitfiles.List {
		t.Helper()
		list, err := index.List(t.Context(), args)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	index := &gitfiles.Index{Repository: r}
	if got := names(t, index, list(index).Each); got != "near/0.yaml=staged" {
		t.Errorf("what is staged, without the origin: %q", got)
	}
	if got := names(t, index, list(index, "near").Each); got != "near/0.yaml=staged near/1.yaml=near 1" {
		t.Errorf("what is checked out, without the origin: %q", got)
	}
	var read []string
	unread := make(map[string]int)
	err = list(index, "far/0.yaml", "far/1.yaml", "near", "z").Each(t.Context(), func(f gitfiles.File) {
		data, err := index.Read(t.Context(), f, nil)
		if err != nil {
			unread[regexp.MustCompile("[0-9a-f]{40}").ReplaceAllString(err.Error(), "BLOB")]++
			return
		}
		read = append(read, string(data))
	})
	const reason = " from the index: git cat-file: could not fetch BLOB from promisor remote"
	if want := map[string]int{"read far/0.yaml" + reason: 1, "read far/1.yaml" + reason: 1, "read z/1.yaml" + reason: 1}; err != nil || !maps.Equal(unread, want) || !slices.Equal(read, []string{"staged", "near 1"}) {
		t.Errorf("without the origin: read %q, not %v, %v", read, unread, err)
	}
	// It does not ask for ever.
	refused := 0
	err = list(index, "far").Each(t.Context(), func(f gitfiles.File) {
		if _, err := index.Read(t.Context(), f, nil); err != nil && strings.HasSuffix(err.Error(), " from the index: git cat-file ended 10 times") {
			refused++
		}
	})
	if err != nil || refused != 13 {
		t.Errorf("of 20 files %d were not asked for, %v", refused, err)
	}
	index.Close()

	if err := os.Rename(gone, origin); err != nil {
		t.Fatal(err)
	}
	index = &gitfiles.Index{Repository: r}
	defer index.Close()
	if got := names(t, index, list(index, "far/3.yaml", "z").Each); got != "far/3.yaml=far 3 z/1.yaml=far, too" {
		t.Errorf("with the origin: %q", got)
	}
}

// TestIndexMissing: a file whose content Git does not have is named, and hides no other.
func TestIndexMissing(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "committed"})
	write(t, map[string]string{"b.yaml": "lost", "c.yaml": "staged"})
	git(t, "add", ".")
	if out, err := exec.Command("sh", "-euc", "blob=$(git rev-parse :b.yaml); rm -f .git/objects/${blob%${blob#??}}/${blob#??}").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	index := &gitfiles.Index{Repository: r}
	defer index.Close()
	list, err := index.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var read []string
	unread, err := gitfiles.Each(t.Context(), index, list.Each, func(_ context.Context, file gitfiles.File, data []byte) error {
		read = append(read, string(data))
		return nil
	})
	if err != nil || len(unread) != 1 || unread[0].Error() != "read b.yaml from the index: git cat-file does not have its content" || !slices.Equal(read, []string{"staged"}) {
		t.Errorf("%q, %v, %v", read, unread, err)
	}
}

// TestIndexDamaged: of an object that is cut off or has a wrong checksum nothing is judged.
func TestIndexDamaged(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "committed"})
	write(t, map[string]string{"b.yaml": strings.Repeat("staged\n", 1000)})
	git(t, "add", ".")
	index := &gitfiles.Index{Repository: r}
	defer index.Close()
	list, err := index.List(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := exec.Command("git", "rev-parse", ":b.yaml").Output()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(".git", "objects", string(blob[:2]), strings.TrimSpace(string(blob[2:])))
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	wrong := slices.Clone(whole)
	wrong[len(wrong)-1] ^= 1
	for what, data := range map[string][]byte{"cut off": whole[:len(whole)-8], "with a wrong checksum": wrong, "empty": nil} {
		if err := errors.Join(os.Remove(name), os.WriteFile(name, data, 0o444)); err != nil {
			t.Fatal(err)
		}
		unread, err := gitfiles.Each(t.Context(), index, list.Each, func(_ context.Context, file gitfiles.File, data []byte) error {
			t.Errorf("%s: %s was read: %d bytes", what, file.Name, len(data))
			return nil
		})
		if err != nil || len(unread) != 1 {
			t.Errorf("%s: %v, %v", what, unread, err)
		}
	}
}

// TestIndexWithoutWorkTree: where there is none, nothing is staged for a commit.
func TestIndexWithoutWorkTree(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "committed"})
	write(t, map[string]string{"a.yaml": "staged"})
	git(t, "add", ".")
	list := func(r gitfiles.Repository) error {
		_, err := (&gitfiles.Index{Repository: r}).List(t.Context(), nil)
		return err
	}
	if err := list(r); err != nil {
		t.Error(err)
	}
	t.Chdir(".git")
	if err := list(gitfiles.Repository{Cwd: filepath.Join(r.Root, ".git"), Root: r.Root}); err == nil || !strings.Contains(err.Error(), "must be run in a work tree") {
		t.Errorf("in .git: %v", err)
	}
	t.Chdir("..")
	git(t, "config", "core.bare", "true")
	if err := list(r); err == nil || !strings.Contains(err.Error(), "must be run in a work tree") {
		t.Errorf("in a bare repository: %v", err)
	}
}

// TestLeftOut: Git leaves out what it ignores, but nothing that it knows or that the
// user has named.
func TestLeftOut(t *testing.T) {
	r := inRepository(t, map[string]string{".gitignore": "new*\nknown/\n", "known/a.yaml": "1", "new.yaml": "2", "newer/b.yaml": "3", "other.yaml": "4"})
	source := &gitfiles.WorkTree{Repository: r}
	for args, want := range map[string]string{".": "new.yaml newer/b.yaml", ". new.yaml": "newer/b.yaml", "newer": "new.yaml"} {
		list, err := source.List(t.Context(), strings.Fields(args))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, path := range []string{"known/a.yaml", "new.yaml", "newer/b.yaml", "other.yaml", "../beyond.yaml", "nowhere/c.yaml"} {
			if list.LeftOut(path) {
				got = append(got, path)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: left out are %q, want %q", args, got, want)
		}
	}
}

// TestRest: files under names that tell nothing are handed out apart, those of
// programs and pictures never.
// TestLeftOutOfMany: of many files that Git does not know it tells each what git tells of
// it alone, in whatever order they are asked for, with one in between that git refuses.
func TestLeftOutOfMany(t *testing.T) {
	files := map[string]string{".gitignore": "*-local.yaml\n!7-local.yaml\nnew/b/\n", "new/c/.gitignore": "*.json\n", "known-local.yaml": ""}
	for _, dir := range []string{"new/a", "new/b", "new/c"} {
		for i := range 60 {
			files[fmt.Sprintf("%s/a-long-name-that-fills-pipes-%d.yaml", dir, i)] = ""
			files[fmt.Sprintf("%s/%d-local.yaml", dir, i)] = ""
			files[fmt.Sprintf("%s/%d.json", dir, i)] = ""
		}
	}
	r := inRepository(t, files)
	if err := os.Symlink("c", "new/link"); err != nil {
		t.Fatal(err)
	}
	leftOut := r.LeftOut(t.Context(), func(string) bool { return false }, []string{"."})
	ask := func(name string) {
		want := exec.Command("git", "check-ignore", "-q", "--", name).Run() == nil
		if got := leftOut(name); got != want {
			t.Errorf("%s: left out %t, git check-ignore says %t", name, got, want)
		}
	}
	for i, name := range slices.Sorted(maps.Keys(files)) {
		if i%120 == 0 { // not more often than the patience with git allows
			ask("new/link/1.json")
			write(t, map[string]string{name + "-local.yaml": ""}) // after the others of its directory
			ask(name + "-local.yaml")
		}
		ask(name)
	}
}

func TestRest(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "1", "admin.conf": "2", "main.go": "3", "logo.PNG": "4", "b/notes": "5", "new.conf": "6"})
	source := &gitfiles.WorkTree{Repository: r}
	list, err := source.List(t.Context(), []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	got := names(t, source, func(ctx context.Context, visit func(gitfiles.File)) error {
		files, err := list.Rest(ctx)
		for _, f := range files {
			if !f.Whatever() {
				t.Errorf("%s: its name tells what it is", f.Name)
			}
			visit(f)
		}
		return err
	})
	if want := "admin.conf=2 b/notes=5"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
