package worktree

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSummarize sums up the changes of two stages. A name that drives a terminal stays
// text.
func TestSummarize(t *testing.T) {
	_, tree := repository(t)
	tx := stage(t, tree)
	defer tx.Close()
	other := tx.Stage(tree, "out")
	for _, err := range []error{
		other.Add("a/old.yaml", []byte("before"), []byte("before")),
		other.Add("b/\x1b[31m.yaml", nil, []byte("after")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	want := Summary{Created: 2, Changed: 1, Removed: 1, Unchanged: 1}
	for _, line := range [][2]string{{Changed, "a/old.yaml"}, {Created, "new/new.yaml"}, {Removed, "z/gone.yaml"}, {Created, `b/\x1b[31m.yaml`}} {
		want.List += line[0] + " " + other.Show(line[1]) + "\n"
	}
	if got := Summarize(append(tx.stages[:1:1], other)...); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := Summarize(); got != (Summary{}) {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestOpenAbove opens what there is of the way to a directory.
func TestOpenAbove(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "there/below"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "broken")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "file", "")
	t.Chdir(dir)
	for _, c := range []struct{ dir, opened, rest, err string }{
		{"there/below", "there/below", ".", ""},
		{"there/below/new/one", "there/below", "new/one", ""},
		{"new", ".", "new", ""},
		{"there/../new/", ".", "new", ""},
		{filepath.Join(dir, "new"), ".", "new", ""},
		{"broken", "", "", "broken: no such file or directory"},
		{"file", "", "", "file: not a directory"},
	} {
		tree, rest, err := OpenAbove(c.dir)
		if err != nil || c.err != "" {
			if err == nil || err.Error() != c.err {
				t.Errorf("%s: error %v, not %q", c.dir, err, c.err)
			}
			continue
		}
		defer tree.Close()
		if got := tree.Abs("."); got != filepath.Join(dir, c.opened) || rest != c.rest {
			t.Errorf("%s: opened %s with the rest %s", c.dir, got, rest)
		}
	}
}
