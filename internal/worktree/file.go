package worktree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"clusterpair.dev/internal/report"
)

// ReadPrevious reads a file that is to be replaced, nil if there is none. A pipe or
// device cannot be replaced, and reading it might not end.
func ReadPrevious(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err == nil && !info.Mode().IsRegular() {
		return nil, report.WithHint(fmt.Errorf("write %s: is a %s, not a file", path, KindOf(info)), "leave out -o to write to standard output")
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, Unread(path, err)
	}
	return data, nil
}

// WritePlaintext writes a file that its owner alone can read. It replaces none: that
// could be the encrypted one.
func WritePlaintext(path string, data []byte) error {
	before, err := ReadPrevious(path)
	switch {
	case err != nil:
		return err
	case bytes.Equal(before, data) && before != nil:
		return nil
	case before != nil:
		return report.WithHint(fmt.Errorf("write %s: the file exists, and clear text replaces no file", path), "rm %s", report.Typed(path))
	}
	f := newFile{path: path, from: bytes.NewReader(data), mode: 0o600}
	return f.write()
}

// WriteFile replaces a file as a whole: whoever reads it sees the one of before or
// the new one, even if the process is killed or power is lost. A file that is there
// keeps its mode, and a symbolic link its place.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	return WriteFrom(path, bytes.NewReader(data), mode)
}

// WriteFrom is [WriteFile] with the content of a reader.
func WriteFrom(path string, from io.ReadSeeker, mode fs.FileMode) error {
	f := newFile{path: path, from: from, mode: mode, replaces: true}
	return f.write()
}

// TryWrite tells whether WriteFile could write a file, and writes none.
func TryWrite(path string) error {
	f := newFile{path: path, trial: true}
	return f.write()
}

// newFile is a file to be written as a whole.
type newFile struct {
	path     string
	from     io.ReadSeeker
	mode     fs.FileMode
	replaces bool // may replace a file
	trial    bool // is not written
}

func (f *newFile) write() error {
	target := f.path
	if real, err := filepath.EvalSymlinks(target); err == nil {
		target = real
	}
	dir, name := filepath.Split(target)
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	err = f.into(dir, name)
	if _, missing := os.Stat(dir); errors.Is(missing, fs.ErrNotExist) {
		dir := filepath.Dir(f.path)
		return report.WithHint(fmt.Errorf("write %s: there is no directory %s", f.path, dir), "mkdir -p %s", report.Typed(dir))
	}
	if err != nil {
		return unwritten("write "+f.path, err, filepath.Dir(f.path))
	}
	return nil
}

// unwritten is why something cannot be done in a directory, or in what there is above it,
// and what to look at.
func unwritten(what string, err error, dir string) error {
	dir = report.Typed(existing(dir))
	told := fmt.Errorf("%s: %w", what, Cause(err))
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return report.WithHint(told, "df -h %s", dir)
	}
	return report.WithHint(told, "ls -ld %s", dir)
}

// into writes the file name in dir, which is absolute. A file that is not there yet
// gets its name when it is whole, where the file system can do that, so that a run
// that is killed leaves nothing. Else it is made in a scratch directory.
func (f *newFile) into(dir, name string) error {
	d, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	info, err := d.Lstat(name)
	switch {
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return errors.New("is a symbolic link to nothing")
	case err == nil && !info.Mode().IsRegular():
		return fmt.Errorf("is a %s, not a file", KindOf(info))
	case err == nil:
		f.mode = info.Mode().Perm()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !f.trial:
		if done, err := f.nameless(d, name); done {
			return err
		}
	}
	top, ok := Top(dir)
	if !ok {
		top = dir
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer root.Close()
	below, err := filepath.Rel(top, dir)
	if err != nil {
		return err
	}
	s, err := scratchFor(root, below, func() error { return nil })
	if err != nil {
		return err
	}
	defer s.remove()
	if f.trial {
		return nil
	}
	if err := s.write(0, f.from, f.mode); err != nil {
		return err
	}
	if err := s.settle([]int{0}); err != nil {
		return err
	}
	staged := s.path(stagedName(0))
	path, err := filepath.Rel(s.at, filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if f.replaces {
		err = s.parent.Rename(staged, path)
	} else {
		err = s.place(staged, path)
	}
	if err == nil {
		err = syncNames(d)
	}
	return err
}

// nameless writes the file without a name and then gives it one. It is not done if
// the file system cannot do that, or if there is such a file by now.
func (f *newFile) nameless(d *os.Root, name string) (done bool, err error) {
	file, err := createNameless(d)
	if err != nil {
		return false, nil
	}
	defer file.Close()
	if err := fill(file, f.from, f.mode); err != nil {
		return true, err
	}
	if err := file.Sync(); err != nil {
		return true, err
	}
	if err := link(file, d, name); err != nil {
		_, err = f.from.Seek(0, io.SeekStart)
		return err != nil, err
	}
	return true, syncNames(d)
}

// syncNames makes the names in a directory outlast a loss of power.
func syncNames(d *os.Root) error {
	dir, err := d.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncDir(dir)
}

// SameFile tells whether two paths are of one file that is there, by whatever links.
func SameFile(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}
