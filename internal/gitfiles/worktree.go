package gitfiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// WorkTree are files as they are on disk.
type WorkTree struct {
	Repository
	// All is what a user types for all files.
	All string
	// Stdin reads standard input, for the argument -.
	Stdin func() ([]byte, error)
	// More tells by its name whether to hand out a file besides manifests. May be nil.
	More func(name string) bool
	// Links gets each symbolic link that it comes across, and what that leads to; broken
	// says that this is nothing. May be nil.
	Links func(path, name, target string, broken bool)

	input []byte // of standard input
}

// List implements [Source].
func (w *WorkTree) List(ctx context.Context, args []string) (*List, error) {
	s, err := w.choose(args)
	if err != nil {
		return nil, err
	}
	l := &List{Partial: len(s.dirs) == 0, Whole: s.has("."), Each: s.each, Also: s.also}
	_, repository := worktree.Top(w.Root)
	if repository && w.input == nil && !l.Whole {
		l.Around = s.around
	}
	if repository && len(s.dirs) > 0 {
		l.LeftOut = w.LeftOut(ctx, func(p string) bool { return s.named[p] }, s.dirs)
		l.Rest = s.rest
	}
	return l, nil
}

// selection is what the arguments of a run mean.
type selection struct {
	*WorkTree
	names, dirs []string        // files and directories, as the user wrote them
	named       map[string]bool // the paths of names
	once        bool            // two arguments may mean one file
}

// choose tells files and directories apart. A name that is not there may be a pattern.
func (w *WorkTree) choose(args []string) (*selection, error) {
	s := &selection{WorkTree: w, named: make(map[string]bool, len(args)), once: len(args) > 1}
	for _, arg := range args {
		matches := []string{filepath.Clean(arg)}
		_, err := os.Stat(arg)
		switch {
		case arg == "-":
			if w.input, err = w.Stdin(); err != nil {
				return nil, err
			}
		case err == nil:
		case strings.ContainsAny(arg, "*?["):
			if matches, err = glob(arg); err != nil {
				return nil, err
			}
		default:
			return nil, report.WithHint(fmt.Errorf("%s: %w", arg, worktree.Cause(err)), "for all files below this directory: %s", w.All)
		}
		for _, name := range matches {
			if info, err := os.Stat(name); arg != "-" && err == nil && info.IsDir() {
				s.dirs = append(s.dirs, name)
			} else {
				s.names = append(s.names, name)
				s.named[w.Path(name)] = true
			}
		}
	}
	return s, nil
}

// has tells by its path whether a file belongs to the selection, whatever its name.
func (s *selection) has(p string) bool {
	return s.named[p] || slices.ContainsFunc(s.dirs, func(dir string) bool {
		rel, err := filepath.Rel(s.Path(dir), p)
		return err == nil && filepath.IsLocal(rel)
	})
}

// each is [List.Each].
func (s *selection) each(ctx context.Context, visit func(File)) error {
	if s.once {
		every, seen := visit, make(map[string]bool)
		visit = func(f File) {
			if !seen[f.Path] {
				every(f)
			}
			seen[f.Path] = true
		}
	}
	for _, name := range s.names {
		info, err := os.Lstat(name)
		visit(File{Name: name, Path: s.Path(name), Any: true, Link: err == nil && info.Mode()&fs.ModeSymlink != 0})
	}
	wanted := IsManifest
	if s.More != nil {
		wanted = func(name string) bool { return IsManifest(name) || s.More(name) }
	}
	for _, dir := range s.dirs {
		if err := s.Walk(ctx, dir, wanted, visit); err != nil {
			return err
		}
	}
	return nil
}

// around is [List.Around].
func (s *selection) around(ctx context.Context, visit func(File)) error {
	return s.Walk(ctx, s.Shown("."), IsManifest, func(f File) {
		if !s.has(f.Path) {
			visit(f)
		}
	})
}

// also is [List.Also].
func (s *selection) also(paths []string, visit func(File)) {
	seen := make(map[string]bool)
	for _, p := range paths {
		if !seen[p] && !IsManifest(path.Base(p)) && !s.named[p] && s.has(p) {
			visit(File{Name: s.Shown(p), Path: p, Data: true, Sample: s.isSampleOf(s.dirs, p)})
		}
		seen[p] = true
	}
}

// rest is [List.Rest].
func (s *selection) rest(ctx context.Context) ([]File, error) {
	files, err := s.Tracked(ctx, s.dirs, func(name string) bool { return !IsManifest(name) && !isSource(name) })
	return slices.DeleteFunc(files, func(f File) bool { return s.named[f.Path] }), err
}

// Walk visits the files below a directory whose names are wanted and that no pattern
// leaves out. It follows no link to a directory, so that it comes to an end.
func (w *WorkTree) Walk(ctx context.Context, dir string, wanted func(name string) bool, visit func(File)) error {
	if info, err := os.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		dir += string(filepath.Separator) // the user means what the link leads to
	}
	leftOut := w.leavesOut()
	if isLeftOut(leftOut, w.Path(dir)) { // the user has named it
		leftOut = nil
	}
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			// The reader of the list gets the error, too, and says it once.
			visit(File{Name: name, Path: w.Path(name)})
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case leftOut != nil && leftOut(w.Path(name)):
			if d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
			if d.Name() == ".git" || worktree.IsScratch(name) || name != dir && strings.HasPrefix(d.Name(), "..") {
				return fs.SkipDir // in a volume of Kubernetes the links beside show the files, too
			}
		case d.Type()&^fs.ModeSymlink == 0:
			if d.Type() != 0 {
				w.tellLink(name)
			}
			if !wanted(d.Name()) {
				return nil
			}
			visit(File{Name: name, Path: w.Path(name), Link: d.Type()&fs.ModeSymlink != 0, Sample: func() bool {
				rel, _ := filepath.Rel(dir, name)
				return w.IsSample(dir, rel)
			}})
		}
		return nil
	})
}

// tellLink hands a symbolic link to Links.
func (w *WorkTree) tellLink(name string) {
	target, err := os.Readlink(name)
	if err != nil || w.Links == nil {
		return
	}
	_, err = os.Stat(name)
	w.Links(w.Path(name), name, filepath.ToSlash(target), errors.Is(err, fs.ErrNotExist))
}

// IsManifest tells by its name whether a file may be a manifest or kubeconfig, or says which
// of them an engine leaves out.
func IsManifest(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json", ".kubeconfig":
		return true
	}
	return name == "kubeconfig" || name == "Kustomization" || name == ".sourceignore"
}

// glob finds what matches a pattern, in which ** spans directories and stands
// for the files below them.
//
// The library for this is doublestar v4. Its FilepathGlob walks into .git and the
// scratch directories of runs, and passes over a directory that cannot be read without
// a word. For clusters/**/*.yaml over 10,000 files it takes as long (62 ms against
// 61 ms here, with 77,000 allocations against 43,000).
func glob(pattern string) ([]string, error) {
	segments := strings.Split(filepath.ToSlash(filepath.Clean(pattern)), "/")
	var matches []string
	var err error
	for _, segment := range segments {
		if _, bad := path.Match(segment, ""); bad != nil {
			return nil, report.Usage(fmt.Errorf("%s is no valid pattern", pattern))
		}
	}
	if first := slices.Index(segments, "**"); first >= 0 {
		first = slices.IndexFunc(segments, func(s string) bool { return strings.ContainsAny(s, "*?[") })
		dir := filepath.Clean(strings.Join(segments[:first], "/") + "/.")
		if first == 0 {
			dir = "."
		}
		err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			switch {
			case err != nil && d == nil:
				return err
			case err != nil:
				matches = append(matches, name) // its reader says why
			case d.IsDir() && (d.Name() == ".git" || worktree.IsScratch(name)):
				return fs.SkipDir
			case !d.IsDir() && matchSegments(segments[first:], strings.Split(filepath.ToSlash(name), "/")[first:]):
				matches = append(matches, name)
			}
			return nil
		})
	} else {
		matches, err = filepath.Glob(pattern)
		matches = slices.DeleteFunc(matches, func(name string) bool { return worktree.InScratch(name) || worktree.IsScratch(name) })
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", pattern, worktree.Cause(err))
	case len(matches) == 0:
		return nil, report.WithHint(fmt.Errorf("%s matches no file", pattern), "%s", worktree.Missing(pattern))
	}
	return matches, nil
}

// matchSegments matches the segments of a path against those of a pattern.
func matchSegments(pattern, name []string) bool {
	switch {
	case len(pattern) == 0 || len(name) == 0:
		return len(pattern) == len(name)
	case pattern[0] == "**":
		return len(pattern) == 1 || matchSegments(pattern[1:], name) || matchSegments(pattern, name[1:])
	}
	ok, _ := path.Match(pattern[0], name[0]) // the pattern is valid
	return ok && matchSegments(pattern[1:], name[1:])
}

// Read implements [Source].
func (w *WorkTree) Read(ctx context.Context, file File, buffer []byte) ([]byte, error) {
	if file.Name == "-" {
		return w.input, nil
	}
	f, err := os.OpenFile(file.Name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if !file.Any && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP)) {
		return nil, nil // a link to nothing, or gone since it was listed: there is nothing to apply
	}
	if err != nil {
		return nil, worktree.Unread(file.Name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		_, err = f.ReadDir(1) // why the walk could not go on here
		if err == nil || err == io.EOF {
			return nil, nil
		}
	case info.Mode().IsRegular():
		buffer, err = readRegular(f, info.Size(), file.Any, buffer)
	case !file.Any:
		return nil, nil
	case info.Mode()&fs.ModeNamedPipe != 0: // <(command)
		defer context.AfterFunc(ctx, func() { f.Close() })()
		buffer, err = io.ReadAll(io.LimitReader(f, worktree.MaxFile+1))
		if len(buffer) > worktree.MaxFile {
			err = tooLarge(nil, true)
		}
	default:
		err = fmt.Errorf("is a %s, not a file", worktree.KindOf(info))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.Name, worktree.Cause(err))
	}
	return buffer, nil
}

// readRegular appends a regular file to buffer. named says that the user has named it.
func readRegular(f *os.File, size int64, named bool, buffer []byte) ([]byte, error) {
	switch {
	case size == 0: // or a system that does not tell
		return io.ReadAll(io.LimitReader(f, worktree.MaxFile))
	case size > worktree.MaxFile:
		return nil, tooLarge(f, named)
	}
	buffer = slices.Grow(buffer, int(size))[:size]
	n, err := io.ReadFull(f, buffer)
	if err == io.ErrUnexpectedEOF || err == io.EOF { // it has become shorter
		err = nil
	}
	return buffer[:n], err
}

// tooLarge is the error for a file that does not fit into memory. A file that nobody
// has named may be anything: then there is an error only if the file speaks of pairs.
func tooLarge(r io.Reader, named bool) error {
	if named {
		return fmt.Errorf("is larger than %d MiB", worktree.MaxFile>>20)
	}
	const overlap = 64 // more than any of the words has
	buffer := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(r, buffer[kept:])
		text := buffer[:kept+n]
		if bytes.Contains(text, []byte("stork.libopenstorage.org")) || bytes.Contains(text, []byte("ClusterPair")) {
			return fmt.Errorf("is larger than %d MiB, and names ClusterPairs", worktree.MaxFile>>20)
		}
		switch {
		case err == io.EOF || err == io.ErrUnexpectedEOF:
			return nil
		case err != nil:
			return err
		}
		kept = copy(buffer, text[len(text)-overlap:])
	}
}
