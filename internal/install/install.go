// Package install copies the program that runs into a directory.
//
// [Copy] replaces the program that is there, even one that runs, at once and as a whole.
package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Copy copies the program that runs to DIR/clusterpair, which everybody may read and
// execute. One that is there, even one that runs, is replaced at once and as a whole.
// clusterpair-helper goes with it, if it stands beside the program.
// Man pages that stand beside the program go to DIR/man/man1. It tells talk what runs had
// left in the directory that were killed while they wrote. An error names the path, and
// has a hint.
func Copy(ctx context.Context, talk io.Writer, dir string) (err error) {
	path := filepath.Join(dir, "clusterpair")
	defer func() {
		if err == nil {
			return
		}
		hint := "it has to be a directory that you may write to: ls -ld " + report.Typed(dir)
		_, missing := os.Stat(dir)
		switch info, there := os.Lstat(path); {
		case errors.Is(missing, fs.ErrNotExist):
			hint = "mkdir -p " + report.Typed(dir)
		case there == nil && info.IsDir():
			hint = fmt.Sprintf("mv %s %[1]s.before", report.Typed(path))
		case errors.Is(err, syscall.ENOSPC):
			hint = "df -h " + report.Typed(dir)
		}
		err = report.WithHint(errors.New("install "+path+": "+strings.TrimPrefix(worktree.Cause(err).Error(), "write "+path+": ")), "%s", hint)
	}()
	self, err := os.Executable()
	if err != nil { // in a root without /proc
		if self, err = exec.LookPath(os.Args[0]); err != nil {
			return err
		}
	}
	from, err := os.Open(self)
	if err != nil {
		return err
	}
	defer from.Close()
	if info, err := os.Stat(dir); err != nil {
		return err
	} else if !info.IsDir() {
		return syscall.ENOTDIR
	}
	recovered, err := worktree.Recover(ctx, dir)
	worktree.TellRecovered(talk, recovered)
	if err != nil {
		return err
	}
	if err := program(path, from); err != nil {
		return err
	}
	other, err := os.Open(filepath.Join(filepath.Dir(resolved(self)), helper.Program))
	switch {
	case err == nil:
		defer other.Close()
		path = filepath.Join(dir, helper.Program)
		if err := program(path, other); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return pages(self, filepath.Join(dir, "man", "man1"))
}

// program writes a program, which everybody may read and execute.
func program(path string, from io.ReadSeeker) error {
	if err := worktree.WriteFrom(path, from, 0o755); err != nil {
		return err
	}
	return os.Chmod(path, 0o755) // of one that was there, too
}

// resolved is a path without its links.
func resolved(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return path
}

// pages copies the man pages of the binary self into a directory, which is made
// if there are any.
func pages(self, dir string) error {
	self = resolved(self)
	var all []string
	for _, beside := range []string{"man/man1/clusterpair*.1", "../share/man/man1/clusterpair*.1", "../share/man/man1/clusterpair*.1.gz"} {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(self), beside))
		if err != nil {
			return err
		}
		all = append(all, found...)
	}
	for _, page := range all {
		text, err := os.ReadFile(page)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := worktree.WriteFrom(filepath.Join(dir, filepath.Base(page)), bytes.NewReader(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
