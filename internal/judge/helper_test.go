package judge

import (
	"os"
	"path/filepath"
	"testing"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/helper/program"
)

// TestMain is clusterpair-helper, too, under that name.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == helper.Program {
		program.Main()
	}
	os.Exit(m.Run())
}

// withHelper puts clusterpair-helper into the PATH.
func withHelper(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, helper.Program)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}
