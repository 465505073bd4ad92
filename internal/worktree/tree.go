package worktree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"clusterpair.dev/internal/report"
)

// Tree is the part of the file system that a config may reach: the Git work
// tree around its kustomization, or the kustomization's own directory outside
// of any. Symbolic links cannot lead out of it.
type Tree struct {
	Root *os.Root
	// Base is the kustomization's directory relative to the root; Shown is the
	// same as the user wrote it, for messages.
	Base, Shown string
	Git         bool // whether the root is a Git work tree

	mu          sync.Mutex
	directories map[string]*directory
}

// Open opens the tree around dir. The caller closes it.
func Open(dir string) (*Tree, error) {
	abs, err := filepath.Abs(dir) // os.Getwd trusts $PWD only where it is right
	if err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	top, ok := Top(abs)
	if !ok {
		top = abs
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, err
	}
	base, err := filepath.Rel(top, abs)
	if err != nil {
		return nil, err
	}
	return &Tree{Root: root, Base: base, Shown: filepath.Clean(dir), Git: ok}, nil
}

// OpenAbove opens a directory, or what there is of the way to it. rest is the rest of
// that way, from the directory that was opened. The caller closes the tree.
func OpenAbove(dir string) (t *Tree, rest string, err error) {
	above := filepath.Clean(dir)
	for {
		if _, err := os.Lstat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above = filepath.Dir(above)
	}
	if t, err = Open(above); err != nil {
		return nil, "", fmt.Errorf("%s: %w", above, Cause(err))
	}
	if rest, err = filepath.Rel(above, dir); err != nil {
		t.Close()
	}
	return t, rest, err
}

// Close closes the tree.
func (t *Tree) Close() error {
	for _, d := range t.directories {
		d.close()
	}
	return t.Root.Close()
}

// Top is the Git work tree that holds dir, which is absolute.
func Top(dir string) (string, bool) {
	for {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return dir, true
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// Inside turns a path relative to the kustomization into one relative to the
// root.
func (t *Tree) Inside(path string) (string, error) {
	if filepath.IsAbs(path) {
		return "", fmt.Errorf("%s is absolute: paths are relative to the kustomization, so that they mean the same on every machine", path)
	}
	rel := filepath.Join(t.Base, path)
	switch {
	case filepath.IsLocal(rel):
		return rel, nil
	case t.Git:
		return "", report.WithHint(fmt.Errorf("%s leaves the Git work tree", path), "copy the file into %s", t.Root.Name())
	default:
		return "", report.WithHint(fmt.Errorf("%s leaves the directory of the kustomization, and there is no Git work tree around it", path),
			"copy the file into %s, or make a Git work tree of the directory that holds both: git init DIR", t.Root.Name())
	}
}

// Show is how messages name a path relative to the kustomization.
func (t *Tree) Show(path string) string {
	if t.Shown == "." && !filepath.IsAbs(path) {
		return filepath.Clean(path) // in memory once
	}
	return filepath.Join(t.Shown, path)
}

// Hide turns what Show gave back into the path.
func (t *Tree) Hide(shown string) string {
	if t.Shown == "." {
		return shown
	}
	rel, err := filepath.Rel(t.Shown, shown)
	if err != nil {
		return shown // show has joined the two, so that there is a way between them
	}
	return rel
}

// Abs is the absolute path of one relative to the kustomization.
func (t *Tree) Abs(path string) string { return filepath.Join(t.Root.Name(), t.Base, path) }

// MaxFile bounds what is read into memory at once, in bytes.
const MaxFile = 100 << 20

// ReadFile reads a file by its path relative to the kustomization.
func (t *Tree) ReadFile(path string) ([]byte, error) {
	rel, err := t.Inside(path)
	if err != nil {
		return nil, err
	}
	data, err := t.Read(rel)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Show(path), Cause(err))
	}
	return data, nil
}

// IsDir tells a directory from a file by its path relative to the kustomization.
func (t *Tree) IsDir(path string) (bool, error) {
	rel, err := t.Inside(path)
	if err != nil {
		return false, err
	}
	info, err := t.Root.Stat(rel)
	if err != nil {
		return false, fmt.Errorf("%s: %w", t.Show(path), Cause(err))
	}
	return info.IsDir(), nil
}

// Read reads a regular file by its path relative to the root.
func (t *Tree) Read(rel string) ([]byte, error) { return t.ReadInto(nil, rel) }

// ReadInto is [Tree.Read] into the array of buffer, if that is large enough.
func (t *Tree) ReadInto(buffer []byte, rel string) ([]byte, error) {
	dir, name := filepath.Split(rel)
	if name != "" && name != ".." {
		if d := t.enter(dir); d != nil {
			data, err := readPlain(d.file, name, buffer)
			t.leave(d)
			if err != errNotPlain {
				return data, err
			}
		}
	}
	f, err := t.Root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("is a %s, not a file", KindOf(info))
	case info.Size() > MaxFile:
		return nil, fmt.Errorf("is larger than %d MiB", MaxFile>>20)
	}
	data := sized(buffer, info.Size())
	n, err := io.ReadFull(f, data)
	if err == io.ErrUnexpectedEOF || err == io.EOF { // it has become shorter
		err = nil
	}
	return data[:n], err
}

// errNotPlain is for what is no regular file of a common size, such as a link, which may
// lead out of its directory and yet stay in the tree.
var errNotPlain = errors.New("no plain file")

// sized is the array of buffer, or a new one, cut to a size.
func sized(buffer []byte, size int64) []byte {
	if int64(cap(buffer)) < size {
		return make([]byte, size, size+1)
	}
	return buffer[:size]
}

// directory is one that is kept open. Many files stand in few directories, and os.Root
// walks each path anew.
type directory struct {
	file  *os.File // nil if there was none when it was asked for first
	users int      // who reads in it at this moment
}

func (d *directory) close() {
	if d.file != nil {
		d.file.Close() // read-only
	}
}

// enter opens a directory of the tree, or finds it open, until [Tree.leave]. It is nil if
// there is none, or if as many are open and in use as may be.
func (t *Tree) enter(dir string) *directory {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.directories[dir]
	if d == nil {
		if len(t.directories) >= maxDirectories && !t.forget() {
			return nil
		}
		file, err := t.Root.OpenFile(filepath.Clean(dir), os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
		if err != nil {
			file = nil
		}
		if t.directories == nil {
			t.directories = make(map[string]*directory)
		}
		d = &directory{file: file}
		t.directories[dir] = d
	}
	if d.file == nil {
		return nil
	}
	d.users++
	return d
}

func (t *Tree) leave(d *directory) {
	t.mu.Lock()
	d.users--
	t.mu.Unlock()
}

// forget closes a directory that nobody reads in, if there is one.
func (t *Tree) forget() bool {
	for dir, d := range t.directories {
		if d.users == 0 {
			d.close()
			delete(t.directories, dir)
			return true
		}
	}
	return false
}

// Names are those of the entries of a directory, by its path relative to the root, nil
// if it is none. os.Root would look at each of them.
func (t *Tree) Names(dir string) []string {
	d, err := t.Root.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	slices.Sort(names)
	return names
}

// maxDirectories is how many directories a tree keeps open.
const maxDirectories = 64

// KindOf says what is not a regular file.
func KindOf(info fs.FileInfo) string {
	switch {
	case info.IsDir():
		return "directory"
	case info.Mode()&fs.ModeNamedPipe != 0:
		return "pipe"
	default:
		return "special file"
	}
}

// Cause strips the operation and the path that os put before an error, as the
// caller names the path in the user's words.
func Cause(err error) error {
	err = bareError(err)
	if err.Error() == "path escapes from parent" { // of os.Root, which exports no name for it
		return report.WithHint(errors.New("a symbolic link leads out of the Git work tree, or of the kustomization's directory where there is none"),
			"put a copy of the file in the place of the link")
	}
	return err
}

// bareError is an error of the system without operation and path.
func bareError(err error) error {
	var pathError *fs.PathError
	if errors.As(err, &pathError) {
		return pathError.Err
	}
	var linkError *os.LinkError
	if errors.As(err, &linkError) {
		return linkError.Err
	}
	return err
}

// Expand lists the files that a pattern means, relative to the kustomization,
// sorted: the file itself, the matches of a glob, or every YAML and JSON file
// below a directory but for those below skip.
func (t *Tree) Expand(pattern, skip string) ([]string, error) {
	return new(Listings).Expand(t, pattern, skip)
}

// Listings remember what patterns mean, as long as the files stay: many kustomizations
// may list the same. The zero value knows nothing. It is for one goroutine.
type Listings struct {
	found map[listing][]string // relative to the root
}

type listing struct{ root, pattern, skip string }

// Expand is [Tree.Expand].
func (l *Listings) Expand(t *Tree, pattern, skip string) ([]string, error) {
	rel, err := t.Inside(pattern)
	if err != nil {
		return nil, err
	}
	key := listing{root: t.Root.Name(), pattern: rel}
	if skip != "" {
		if skip = filepath.Join(t.Base, skip); strings.ContainsAny(rel, "*?[") || strings.HasPrefix(skip+string(filepath.Separator), rel+string(filepath.Separator)) || rel == "." {
			key.skip = skip
		}
	}
	found, known := l.found[key]
	if !known {
		if found, err = t.expand(rel, key.skip, pattern); err != nil {
			return nil, err
		}
		if l.found == nil {
			l.found = make(map[listing][]string)
		}
		l.found[key] = found
	}
	files := make([]string, len(found))
	for i, file := range found {
		files[i] = t.relative(file)
	}
	slices.Sort(files)
	return files, nil
}

// expand is what Expand does, with paths relative to the root.
func (t *Tree) expand(rel, skip, pattern string) (files []string, err error) {
	fsys := t.Root.FS()
	matches := []string{filepath.ToSlash(rel)}
	if _, err := t.Root.Stat(rel); err != nil && strings.ContainsAny(rel, "*?[") {
		if matches, err = fs.Glob(fsys, matches[0]); err != nil {
			return nil, fmt.Errorf("%s is no valid pattern", pattern)
		}
	}
	for _, m := range matches {
		info, err := t.Root.Stat(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Show(pattern), Cause(err))
		}
		if !info.IsDir() {
			files = append(files, m)
			continue
		}
		err = fs.WalkDir(fsys, m, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && (path != m && strings.HasPrefix(d.Name(), ".") || path == skip):
				return fs.SkipDir
			case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Show(pattern), Cause(err))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s matches no file", t.Show(pattern))
	}
	return files, nil
}

// relative turns a path relative to the root into one relative to the kustomization.
func (t *Tree) relative(path string) string {
	rel, err := filepath.Rel(t.Base, filepath.FromSlash(path))
	if err != nil {
		return path
	}
	return rel
}
