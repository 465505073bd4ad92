package worktree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestDirectories reads files of more directories than a tree keeps open, at once. A
// directory that was not there yet does not hide the files that it gets.
func TestDirectories(t *testing.T) {
	top := t.TempDir()
	const directories = 3 * maxDirectories
	name := func(i int) string { return fmt.Sprintf("d%03d/%03d.yaml", i%directories, i/directories) }
	for i := range 2 * directories {
		if err := os.MkdirAll(filepath.Join(top, filepath.Dir(name(i))), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(top, name(i)), []byte(name(i)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Open(top)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	if _, err := tree.Read("later/a.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			var buffer []byte
			for i := range 2 * directories {
				want := name((i + worker*31) % (2 * directories))
				if buffer, err := tree.ReadInto(buffer, want); err != nil || string(buffer) != want {
					t.Errorf("%s: %q %v", want, buffer, err)
				}
			}
		})
	}
	group.Wait()
	if open := len(tree.directories); open > maxDirectories {
		t.Errorf("%d directories are kept open", open)
	}
	for dir, d := range tree.directories {
		if d.users != 0 {
			t.Errorf("%s: %d users", dir, d.users)
		}
	}
	if err := os.MkdirAll(filepath.Join(top, "later"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(top, "later/a.yaml"), []byte("a"), 0o644); err != nil {
		t.Fatal(err)
	}
	if data, err := tree.Read("later/a.yaml"); err != nil || string(data) != "a" {
		t.Errorf("%q %v", data, err)
	}
}
