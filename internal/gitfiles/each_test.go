package gitfiles_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"clusterpair.dev/internal/gitfiles"
)

// TestPanicInOneFile: a file that clusterpair panics at is named, and hides no other.
func TestPanicInOneFile(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.yaml", "b.yaml", "c.yaml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("token: s3cret\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := &gitfiles.WorkTree{Repository: gitfiles.Repository{Cwd: dir, Root: dir}}
	files, err := source.List(t.Context(), []string{dir})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var seen []string
	unread, err := gitfiles.Each(t.Context(), source, files.Each, func(_ context.Context, file gitfiles.File, data []byte) error {
		if filepath.Base(file.Name) == "b.yaml" {
			panic("cannot bear " + string(data))
		}
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, filepath.Base(file.Name))
		return nil
	})
	slices.Sort(seen)
	if err != nil || !slices.Equal(seen, []string{"a.yaml", "c.yaml"}) {
		t.Errorf("visited: %q, %v", seen, err)
	}
	if len(unread) != 1 || !strings.HasPrefix(unread[0].Error(), filepath.Join(dir, "b.yaml")+": clusterpair itself fails in ") || strings.Contains(unread[0].Error(), "s3cret") {
		t.Errorf("unread: %v", unread)
	}
}
