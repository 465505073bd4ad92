// Package helpertest lets a test binary be clusterpair-helper, too.
//
// A TestMain calls [Main] first. A test that needs the helper calls [InPath].
package helpertest

import (
	"os"
	"path/filepath"
	"testing"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/helper/program"
)

// Main is the helper, and ends with it, if the program runs under that name.
func Main() {
	if filepath.Base(os.Args[0]) == helper.Program {
		program.Main()
	}
}

// InPath puts the helper into the PATH of a test: this program, by that name.
func InPath(t testing.TB) {
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
