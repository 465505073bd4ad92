package worktree

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/report"
)

// repository is a Git work tree with the files old.yaml, gone.yaml and link.yaml in
// the directory out.
func repository(t *testing.T) (dir string, tree *Tree) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{".git/hooks", "out/a", "out/z"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, dir, "out/a/old.yaml", "before")
	write(t, dir, "out/z/gone.yaml", "before")
	if err := os.Symlink("old.yaml", filepath.Join(dir, "out/a/link.yaml")); err != nil {
		t.Fatal(err)
	}
	if tree, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return dir, tree
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// files are the regular files below a directory but for those in .git.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if rel, _ := filepath.Rel(dir, path); !strings.HasPrefix(rel, ".git/") {
			found[rel] = string(data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// stage stages a change of each kind. In the order of their paths they are changed,
// created and removed.
func stage(t *testing.T, tree *Tree) *Transaction {
	t.Helper()
	tx := Begin(false)
	w := tx.Stage(tree, "out")
	for _, err := range []error{
		w.Add("a/old.yaml", []byte("before"), []byte("after")),
		w.Add("new/new.yaml", nil, []byte("after")),
		w.Prune(func(data []byte) bool { return string(data) == "before" }, func(path string) bool { return path == "a/old.yaml" || path == "a/link.yaml" }, func(string, []byte) {}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tx
}

var (
	filesBefore = map[string]string{"out/a/old.yaml": "before", "out/z/gone.yaml": "before"}
	filesAfter  = map[string]string{"out/a/old.yaml": "after", "out/new/new.yaml": "after"}
)

func TestCommit(t *testing.T) {
	interrupted, cancel := context.WithCancel(context.Background())
	cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		spoil   string // a file that somebody makes before Commit
		message string
		want    map[string]string
	}{
		"done":        {want: filesAfter},
		"interrupted": {ctx: interrupted, message: "context canceled", want: filesBefore},
		"second move": {spoil: "out/new/new.yaml", message: "somebody else has made the file meanwhile; all files are as they were",
			want: map[string]string{"out/a/old.yaml": "before", "out/z/gone.yaml": "before", "out/new/new.yaml": "foreign"}},
		"directory": {spoil: "out/new", message: "a file stands in the way of the directory",
			want: map[string]string{"out/a/old.yaml": "before", "out/z/gone.yaml": "before", "out/new": "foreign"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, tree := repository(t)
			tx := stage(t, tree)
			if test.spoil != "" {
				os.MkdirAll(filepath.Dir(filepath.Join(dir, test.spoil)), 0o755)
				write(t, dir, test.spoil, "foreign")
			}
			ctx := context.Background()
			if test.ctx != nil {
				ctx = test.ctx
			}
			err := tx.Commit(ctx)
			tx.Close()
			if fmt.Sprint(err) != "<nil>" && test.message == "" || !strings.Contains(fmt.Sprint(err), test.message) {
				t.Errorf("got the error %v, want %q", err, test.message)
			}
			if got := files(t, dir); !maps.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestRecover ends a transaction after each of its moves, as a kill does.
func TestRecover(t *testing.T) {
	for moves := range 4 {
		for name, meanwhile := range map[string]func(dir string){
			"nothing":  func(string) {},
			"checkout": func(dir string) { os.Remove(dir + "/out/a/old.yaml"); write(t, dir, "out/a/old.yaml", "theirs") },
			"edit":     func(dir string) { write(t, dir, "out/a/old.yaml", "theirs") },
		} {
			t.Run(fmt.Sprint(moves, " ", name), func(t *testing.T) {
				dir, tree := repository(t)
				s := killed(t, tree, moves)
				if left := Leftovers(dir); len(left) != 1 || !IsScratch(left[0]) {
					t.Fatalf("the leftovers are %v", left)
				}
				time.Sleep(2 * time.Millisecond) // the time of a file tells who has written it
				meanwhile(dir)
				want := maps.Clone(filesBefore)
				if name != "nothing" {
					want["out/a/old.yaml"] = "theirs"
				}
				all, err := Recover(context.Background(), filepath.Join(dir, "out"))
				if err != nil || len(all) != 1 || filepath.Base(all[0].Directory) != s.name {
					t.Fatalf("got %v, %v", all, err)
				}
				if got := files(t, dir); !maps.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
				if _, err := os.Stat(filepath.Join(dir, "out/new")); err == nil {
					t.Error("out/new is left")
				}
				if theirs := name != "nothing"; theirs != (len(all[0].Meanwhile) > 0) {
					t.Errorf("changed meanwhile: %v", all[0].Meanwhile)
				}
			})
		}
	}
}

// killed leaves what a process leaves that ends after a number of moves.
func killed(t *testing.T, tree *Tree, moves int) *scratch {
	t.Helper()
	tx := stage(t, tree)
	w, journals := tx.stages[0], make(map[*scratch]*journal)
	if err := w.plan(journals); err != nil {
		t.Fatal(err)
	}
	s := w.scratch
	if err := journals[s].write(s); err != nil {
		t.Fatal(err)
	}
	for _, dir := range journals[s].Made {
		if err := makeDir(s.parent, dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, m := range journals[s].Moves[:moves] {
		if err := s.move(m); err != nil {
			t.Fatal(err)
		}
	}
	s.close()
	return s
}

// TestMany writes more files than are written to the disk one by one, and their journal
// is JSON as the library writes it.
func TestMany(t *testing.T) {
	dir := t.TempDir()
	tree, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	tx := Begin(false)
	defer tx.Close()
	w := tx.Stage(tree, "out")
	const many = 50
	for i := range many {
		if err := w.Add(fmt.Sprintf("a/%02d.yaml", i), nil, []byte(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range many {
		if data, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("out/a/%02d.yaml", i))); err != nil || string(data) != strconv.Itoa(i) {
			t.Errorf("%d: %q, %v", i, data, err)
		}
	}
	j := &journal{Made: []string{"a", "a/\"b"}, Moves: []move{{Verb: Created, Path: "a/<1>", Number: 1}, {Verb: Changed, Path: "é", New: identity{Inode: 1}}}}
	for range 2 {
		var got bytes.Buffer
		want, err := json.Marshal(j)
		if bad := j.encode(&got); err != nil || bad != nil || got.String() != string(want) && len(j.Moves) > 0 {
			t.Errorf("%s, want %s, %v, %v", &got, want, err, bad)
		}
		var read journal
		if err := json.Unmarshal(got.Bytes(), &read); err != nil || len(read.Moves) != len(j.Moves) {
			t.Errorf("%s: %v", &got, err)
		}
		j = new(journal)
	}
}

// TestRecoverLeavesAlone keeps Recover from runs under way and from what a stranger
// may have committed.
func TestRecoverLeavesAlone(t *testing.T) {
	t.Run("under way", func(t *testing.T) {
		dir, tree := repository(t)
		tx := stage(t, tree)
		defer tx.Close()
		if all, err := Recover(context.Background(), dir); err != nil || len(all) > 0 || len(Leftovers(dir)) > 0 {
			t.Fatalf("got %v, %v", all, err)
		}
		if err := tx.Commit(context.Background()); err != nil {
			t.Error(err)
		}
	})
	t.Run("foreign journal", func(t *testing.T) {
		dir, tree := repository(t)
		s := killed(t, tree, 0)
		for _, path := range []string{".git/hooks/pre-commit", "../outside", "out/.GIT/config"} {
			write(t, dir, s.path(journalName), `{"Moves":[{"Verb":"removed","Path":"`+path+`","Number":0}]}`)
			if _, err := Recover(context.Background(), dir); err == nil || !strings.Contains(err.Error(), "no journal of clusterpair") {
				t.Errorf("%s: got %v", path, err)
			}
		}
	})
	t.Run("foreign file", func(t *testing.T) {
		dir, tree := repository(t)
		s := killed(t, tree, 0)
		write(t, dir, s.path(journalName), `{"Moves":[{"Verb":"removed","Path":"out/planted","Number":0,"Old":{"Inode":1}}]}`)
		write(t, dir, s.path("0.before"), "planted")
		all, err := Recover(context.Background(), dir)
		if err != nil || len(all) != 1 || len(all[0].Meanwhile) != 1 {
			t.Fatalf("got %v, %v", all, err)
		}
		if got := files(t, dir); !maps.Equal(got, filesBefore) {
			t.Errorf("got %v", got)
		}
	})
	t.Run("checked out", func(t *testing.T) {
		dir, _ := repository(t)
		name := filepath.Join(dir, scratchPrefix+"ABCDEFGHIJ")
		if err := os.Mkdir(name, 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, name, ignoreName, ignoreText)
		if IsScratch(name) {
			t.Error("a directory that others can read is taken for that of a run: nobody would look into it")
		}
	})
}

// TestHidden looks at a directory as a process leaves it that is killed while it makes
// one: Git shows no file of it, and the next run removes it.
func TestHidden(t *testing.T) {
	for name, there := range map[string][]string{
		"empty":          {},
		"unseen":         {".git/"},
		"not written":    {".git/.gitignore="},
		"half":           {".git/.gitignore=*"},
		"written":        {".git/.gitignore=" + ignoreText},
		"moved":          {".git/", ".gitignore=" + ignoreText},
		"made":           {".gitignore=" + ignoreText},
		"with a staging": {".gitignore=" + ignoreText, "0.new=secret"},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := repository(t)
			if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			status := func() string {
				cmd := exec.Command("git", "status", "--porcelain", "--untracked-files=all")
				cmd.Dir = dir
				out, err := cmd.Output()
				if err != nil {
					t.Fatal(err)
				}
				return string(out)
			}
			before := status()
			s := &scratch{name: scratchPrefix + "ABCDEFGHIJ"}
			if err := os.Mkdir(filepath.Join(dir, s.name), 0o700); err != nil {
				t.Fatal(err)
			}
			for _, entry := range there {
				file, text, isFile := strings.Cut(entry, "=")
				if err := os.MkdirAll(filepath.Join(dir, s.path(filepath.Dir(file))), 0o700); err != nil {
					t.Fatal(err)
				}
				if isFile {
					write(t, dir, s.path(file), text)
				}
			}
			if after := status(); after != before {
				t.Errorf("git status changes from\n%s\nto\n%s", before, after)
			}
			if _, err := Recover(context.Background(), dir); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(filepath.Join(dir, s.name)); err == nil {
				t.Error("the directory is left")
			}
		})
	}
}

func TestAddRefusesLink(t *testing.T) {
	_, tree := repository(t)
	tx := Begin(false)
	defer tx.Close()
	var f report.Finding
	if err := tx.Stage(tree, "out").Add("a/link.yaml", []byte("before"), []byte("after")); !errors.As(err, &f) || f.Rule != "output-taken" {
		t.Errorf("got %v", err)
	}
}

// TestAddNew adds files beside others: the same is unchanged, another one is taken, and
// then nothing is written.
func TestAddNew(t *testing.T) {
	dir, tree := repository(t)
	if err := os.Symlink("nowhere", filepath.Join(dir, "out/broken.yaml")); err != nil {
		t.Fatal(err)
	}
	tx := Begin(false)
	w := tx.Stage(tree, "out")
	taken, err := w.AddNew(map[string]string{"a/old.yaml": "before", "z/gone.yaml": "after", "broken.yaml": "after", "new.yaml": "after"})
	want := []string{"is a symbolic link to nothing", "out/z/gone.yaml: is another file"}
	if err != nil || len(taken) != 2 || !strings.HasSuffix(taken[0], "out/broken.yaml: "+want[0]) || !strings.HasSuffix(taken[1], want[1]) {
		t.Errorf("got %q, %v", taken, err)
	}
	tx.Close()
	if got := files(t, dir); !maps.Equal(got, filesBefore) {
		t.Errorf("got %v", got)
	}

	tx = Begin(false)
	defer tx.Close()
	w = tx.Stage(tree, "out")
	if taken, err := w.AddNew(map[string]string{"a/old.yaml": "before", "new.yaml": "after"}); err != nil || taken != nil {
		t.Fatal(taken, err)
	}
	if err := tx.Commit(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := files(t, dir); got["out/new.yaml"] != "after" || got["out/a/old.yaml"] != "before" || w.Unchanged() != 1 {
		t.Errorf("got %v, %d unchanged", got, w.Unchanged())
	}
	if _, err := tx.Stage(tree, "out").AddNew(map[string]string{"../../elsewhere.yaml": ""}); err == nil {
		t.Error("a file outside of the tree is added")
	}
}

func TestWriteFile(t *testing.T) {
	dir, _ := repository(t)
	out := filepath.Join(dir, "out", "a")
	for _, test := range []struct {
		name, want string
		write      func(path string) error
		message    string
	}{
		{"new.yaml", "after", func(path string) error { return WriteFile(path, []byte("after"), 0o644) }, ""},
		{"old.yaml", "after", func(path string) error { return WriteFile(path, []byte("after"), 0o600) }, ""},
		{"link.yaml", "again", func(path string) error { return WriteFile(path, []byte("again"), 0o600) }, ""},
		{"clear.yaml", "clear", func(path string) error { return WritePlaintext(path, []byte("clear")) }, ""},
		{"clear.yaml", "clear", func(path string) error { return WritePlaintext(path, []byte("other")) }, "clear text replaces no file"},
		{"none/x.yaml", "", func(path string) error { return WriteFile(path, nil, 0o600) }, "there is no directory"},
		{"old.yaml", "again", TryWrite, ""},
		{"trial.yaml", "", TryWrite, ""},
	} {
		err := test.write(filepath.Join(out, test.name))
		if fmt.Sprint(err) != "<nil>" && test.message == "" || !strings.Contains(fmt.Sprint(err), test.message) {
			t.Errorf("%s: got the error %v, want %q", test.name, err, test.message)
		}
		if data, err := os.ReadFile(filepath.Join(out, test.name)); string(data) != test.want {
			t.Errorf("%s: got %q, %v", test.name, data, err)
		}
	}
	for name, mode := range map[string]os.FileMode{"old.yaml": 0o644, "clear.yaml": 0o600} {
		if info, err := os.Lstat(filepath.Join(out, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if info, err := os.Lstat(filepath.Join(out, "link.yaml")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link is gone")
	}
	for name := range files(t, dir) {
		if strings.HasPrefix(name, scratchPrefix) {
			t.Errorf("%s is left", name)
		}
	}
}

func TestLockTells(t *testing.T) {
	dir := t.TempDir()
	unlock, err := Lock(context.Background(), nil, dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	told := 0
	_, err = Lock(ctx, func(at string, pid int) {
		if told++; at != dir || runtime.GOOS == "linux" && pid != os.Getpid() {
			t.Errorf("waiting for %d in %s", pid, at)
		}
		cancel()
	}, dir)
	if !errors.Is(err, context.Canceled) || told != 1 {
		t.Errorf("got %v, told %d times", err, told)
	}
	unlock()
}
