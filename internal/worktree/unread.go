package worktree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"clusterpair.dev/internal/report"
)

// Unread is the error about a file that cannot be read for a reason, with what to type
// next.
func Unread(path string, reason error) error {
	err := fmt.Errorf("read %s: %w", path, Cause(reason))
	switch {
	case errors.Is(reason, fs.ErrNotExist), errors.Is(reason, syscall.ENOTDIR):
		return report.WithHint(err, "%s", Missing(path))
	case errors.Is(reason, syscall.EISDIR):
		return report.WithHint(fmt.Errorf("read %s: is a directory, not a file", path), "name a file in it: ls %s", report.Typed(path))
	case errors.Is(reason, fs.ErrPermission):
		return report.WithHint(err, "ls -ld %s", report.Typed(path))
	}
	return err
}

// Missing is the hint for a path at which there is nothing: the file that was meant, or
// where to look for it.
func Missing(path string) string {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "it is a link to nothing: readlink " + report.Typed(path)
	}
	dir, base := filepath.Dir(path), filepath.Base(path)
	for ; ; dir, base = filepath.Dir(dir), "" {
		d, err := os.Open(dir)
		if err != nil {
			if dir == filepath.Dir(dir) {
				break
			}
			continue
		}
		names, _ := d.Readdirnames(1000) // more are too many to guess from
		d.Close()
		if near := report.Nearest(base, names); base != "" && near != "" {
			return "did you mean " + report.Typed(filepath.Join(dir, near)) + "?"
		}
		break
	}
	return "see what is there: ls " + report.Typed(dir)
}
