package install

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

// TestCopy copies the program of the test, and says what stands in the way.
func TestCopy(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		before    func(dir string) error
		err, hint string // DIR stands for the directory
	}{
		"an empty directory": {before: func(string) error { return nil }},
		"another file":       {before: func(dir string) error { return os.WriteFile(filepath.Join(dir, "clusterpair"), []byte("x"), 0o600) }},
		"a link to nothing": {before: func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, "clusterpair")) },
			err: "install DIR/clusterpair: is a symbolic link to nothing", hint: "it has to be a directory that you may write to: ls -ld DIR"},
		"no directory": {before: os.Remove, err: "install DIR/clusterpair: no such file or directory", hint: "mkdir -p DIR"},
		"a file for it": {before: func(dir string) error {
			return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600))
		}, err: "install DIR/clusterpair: not a directory", hint: "it has to be a directory that you may write to: ls -ld DIR"},
		"a directory in its place": {before: func(dir string) error { return os.Mkdir(filepath.Join(dir, "clusterpair"), 0o700) },
			err: "install DIR/clusterpair: is a directory, not a file", hint: "mv DIR/clusterpair DIR/clusterpair.before"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := c.before(dir); err != nil {
				t.Fatal(err)
			}
			var talk strings.Builder
			err := Copy(t.Context(), &talk, dir)
			if c.err != "" {
				var hinted *report.HintedError
				if !errors.As(err, &hinted) || strings.ReplaceAll(err.Error(), dir, "DIR") != c.err || strings.ReplaceAll(hinted.Hint, dir, "DIR") != c.hint {
					t.Errorf("error %v, hint %+v", err, hinted)
				}
				return
			}
			if err != nil || talk.Len() > 0 {
				t.Fatal(talk.String(), err)
			}
			path := filepath.Join(dir, "clusterpair")
			copied, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(copied, program) {
				t.Errorf("%d bytes of %d, %v", len(copied), len(program), err)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("mode %s, %v", info.Mode(), err)
			}
			if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
				t.Errorf("%v is there, %v", files, err)
			}
		})
	}
}

// TestCopyHelper copies the program that asks key services, where there is one.
func TestCopyHelper(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(filepath.Dir(self), "clusterpair-helper")
	if err := os.WriteFile(beside, []byte("the other program"), 0o700); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(beside)
	dir := t.TempDir()
	if err := Copy(t.Context(), io.Discard, dir); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "clusterpair-helper")
	info, err := os.Stat(copied)
	if err != nil || info.Mode().Perm() != 0o755 {
		t.Fatalf("%v, %v", info, err)
	}
	if text, err := os.ReadFile(copied); err != nil || string(text) != "the other program" {
		t.Errorf("%q, %v", text, err)
	}
}
