package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/spf13/cobra"
)

// fileSource is where validate reads from: the work tree or the Git index.
type fileSource interface {
	// list finds the files that the arguments mean.
	list(cmd *cobra.Command, args []string) (*fileList, error)
	// read appends a file to buffer. It is nil for what is no file, or too
	// large to be a manifest.
	read(ctx context.Context, file listedFile, buffer []byte) ([]byte, error)
}

// listedFile is a file of a run.
type listedFile struct {
	name string // as the user knows it
	path string // from the root of the repository, with slashes
	any  bool   // named by the user, not found by its extension
	data bool   // taken in by a kustomization, whatever its name
	blob string // in the index
}

// fileList hands out files one by one: a repository may have 100,000.
type fileList struct {
	each func(ctx context.Context, visit func(listedFile)) error
	// partial says that these are single files, beside which there are others;
	// around hands those out where they belong to one repository.
	partial bool
	around  func(ctx context.Context, visit func(listedFile)) error
	// also hands out those paths that each has passed over for their names; it
	// may be nil.
	also func(paths []string, visit func(listedFile))
}

// repository is the Git work tree around the files that are asked for, else that
// around the working directory, or, outside of any, the working directory.
type repository struct{ cwd, root string }

// newRepository finds the repository of files, which may be patterns or -.
func newRepository(files ...string) (repository, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return repository{}, err
	}
	if cwd, err = filepath.EvalSymlinks(cwd); err != nil {
		return repository{}, err
	}
	r := repository{cwd: cwd, root: cwd}
	if root, ok := workTree(cwd); ok {
		r.root = root
	}
	trees := make(map[string]bool)
	for _, name := range files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(cwd, name)
		}
		tree, _ := workTree(filepath.Clean(name))
		trees[tree] = true
	}
	if len(trees) == 1 && !trees[""] {
		r.root = slices.Collect(maps.Keys(trees))[0]
	}
	return r, nil
}

// path is the way to a file from the root; outside of it the whole path.
func (r repository) path(name string) string {
	abs := name
	if !filepath.IsAbs(name) {
		abs = filepath.Join(r.cwd, name)
	}
	rel, err := filepath.Rel(r.root, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.ToSlash(abs)
	}
	if rel = filepath.ToSlash(rel); rel == name {
		return name // in memory once
	}
	return rel
}

// shown is how messages name a path from the root.
func (r repository) shown(rel string) string {
	name, err := filepath.Rel(r.cwd, filepath.Join(r.root, filepath.FromSlash(rel)))
	if err != nil {
		return rel
	}
	return name
}

// workFiles are files as they are on disk.
type workFiles struct {
	repository
	all   string // what a user types for all files
	stdin []byte
}

func (w *workFiles) list(cmd *cobra.Command, args []string) (*fileList, error) {
	l := &fileList{partial: true}
	var names, dirs []string
	for _, arg := range args {
		if arg == "-" {
			data, err := readInput(cmd, "-")
			if err != nil {
				return nil, err
			}
			w.stdin = data
			names = append(names, "-")
			continue
		}
		matches := []string{filepath.Clean(arg)}
		_, err := os.Stat(arg)
		switch {
		case err == nil:
		case strings.ContainsAny(arg, "*?["):
			if matches, err = glob(arg); err != nil {
				return nil, err
			}
		default:
			return nil, failed(withHint(fmt.Errorf("%s: %w", arg, cause(err)), "%s for all files below this directory", w.all))
		}
		for _, name := range matches {
			if info, err := os.Stat(name); err == nil && info.IsDir() {
				dirs = append(dirs, name)
			} else {
				names = append(names, name)
			}
		}
	}
	l.partial = len(dirs) == 0
	named := make(map[string]bool, len(names))
	for _, name := range names {
		named[w.path(name)] = true
	}
	given := func(p string) bool { // whether each hands it out
		return named[p] || slices.ContainsFunc(dirs, func(dir string) bool {
			rel, err := filepath.Rel(w.path(dir), p)
			return err == nil && filepath.IsLocal(rel)
		})
	}
	if _, repository := workTree(w.root); repository && w.stdin == nil && !given(".") {
		l.around = func(ctx context.Context, visit func(listedFile)) error {
			return w.walk(ctx, w.shown("."), isManifest, func(f listedFile) {
				if !given(f.path) {
					visit(f)
				}
			})
		}
	}
	l.also = func(paths []string, visit func(listedFile)) {
		seen := make(map[string]bool)
		for _, p := range paths {
			name := w.shown(p)
			if !seen[p] && !isManifest(path.Base(p)) && !named[p] && given(p) {
				visit(listedFile{name: name, path: p, data: true})
			}
			seen[p] = true
		}
	}
	l.each = func(ctx context.Context, visit func(listedFile)) error {
		seen := make(map[string]bool)
		once := func(f listedFile) {
			if len(args) == 1 || !seen[f.path] {
				visit(f)
			}
			if len(args) > 1 {
				seen[f.path] = true
			}
		}
		for _, name := range names {
			once(listedFile{name: name, path: w.path(name), any: true})
		}
		for _, dir := range dirs {
			if err := w.walk(ctx, dir, isManifest, once); err != nil {
				return err
			}
		}
		return nil
	}
	return l, nil
}

// walk visits the files below a directory whose names are wanted. It follows no
// link to a directory, so that it comes to an end.
func (w *workFiles) walk(ctx context.Context, dir string, wanted func(name string) bool, visit func(listedFile)) error {
	if info, err := os.Lstat(dir); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		dir += string(filepath.Separator) // the user means what the link leads to
	}
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			// The reader of the list gets the error, too, and says it once.
			visit(listedFile{name: name, path: w.path(name)})
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
		case d.IsDir():
			if d.Name() == ".git" {
				return fs.SkipDir
			}
		case d.Type()&^fs.ModeSymlink == 0 && wanted(d.Name()):
			visit(listedFile{name: name, path: w.path(name)})
		}
		return nil
	})
}

// isManifest tells by its name whether a file may be a manifest or kubeconfig.
func isManifest(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml", ".json", ".kubeconfig":
		return true
	}
	return name == "kubeconfig" || name == "Kustomization"
}

// glob finds what matches a pattern, in which ** spans directories and stands
// for the files below them.
func glob(pattern string) ([]string, error) {
	segments := strings.Split(filepath.ToSlash(filepath.Clean(pattern)), "/")
	var matches []string
	var err error
	for _, segment := range segments {
		if _, bad := path.Match(segment, ""); bad != nil {
			return nil, usageError(fmt.Errorf("%s is no valid pattern", pattern))
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
			case d.IsDir() && d.Name() == ".git":
				return fs.SkipDir
			case !d.IsDir() && matchSegments(segments[first:], strings.Split(filepath.ToSlash(name), "/")[first:]):
				matches = append(matches, name)
			}
			return nil
		})
	} else {
		matches, err = filepath.Glob(pattern)
	}
	switch {
	case err != nil:
		return nil, failed(fmt.Errorf("%s: %w", pattern, cause(err)))
	case len(matches) == 0:
		return nil, failed(fmt.Errorf("%s matches no file", pattern))
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

func (w *workFiles) read(ctx context.Context, file listedFile, buffer []byte) ([]byte, error) {
	if file.name == "-" {
		return w.stdin, nil
	}
	f, err := os.OpenFile(file.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if !file.any && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP)) {
		return nil, nil // a link to nothing, or gone since it was listed: there is nothing to apply
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.name, cause(err))
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
	case info.Mode().IsRegular() && info.Size() == 0: // or a system that does not tell
		buffer, err = io.ReadAll(io.LimitReader(f, maxFile))
	case info.Mode().IsRegular() && info.Size() <= maxFile:
		buffer = slices.Grow(buffer, int(info.Size()))[:info.Size()]
		var n int
		n, err = io.ReadFull(f, buffer)
		if err == io.ErrUnexpectedEOF || err == io.EOF { // it has become shorter
			err = nil
		}
		buffer = buffer[:n]
	case info.Mode().IsRegular():
		buffer, err = nil, tooLarge(f, file.any)
	case !file.any:
		return nil, nil
	case info.Mode()&fs.ModeNamedPipe != 0: // <(command)
		defer context.AfterFunc(ctx, func() { f.Close() })()
		buffer, err = io.ReadAll(io.LimitReader(f, maxFile+1))
		if len(buffer) > maxFile {
			err = tooLarge(nil, true)
		}
	default:
		err = fmt.Errorf("is a %s, not a file", kindOf(info))
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.name, cause(err))
	}
	return buffer, nil
}

// tooLarge is the error for a file that does not fit into memory. One that was
// only found may be anything, so that it is none unless it speaks of pairs.
func tooLarge(r io.Reader, named bool) error {
	if named {
		return fmt.Errorf("is larger than %d MiB", maxFile>>20)
	}
	const overlap = 64 // more than any of the words has
	buffer := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := io.ReadFull(r, buffer[kept:])
		text := buffer[:kept+n]
		if bytes.Contains(text, []byte("stork.libopenstorage.org")) || bytes.Contains(text, []byte("ClusterPair")) {
			return fmt.Errorf("is larger than %d MiB, and names ClusterPairs", maxFile>>20)
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

// gitIndex are files as the next commit will have them.
type gitIndex struct {
	repository

	mu     sync.Mutex
	stdin  io.WriteCloser // of git cat-file
	stdout *bufio.Reader
}

func (g *gitIndex) git(ctx context.Context, args ...string) ([]byte, error) {
	// Whatever the user has configured, all paths are from the root.
	out, err := exec.CommandContext(ctx, "git", slices.Concat([]string{"-c", "diff.relative=false"}, args)...).Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		reason, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		return nil, failed(withHint(fmt.Errorf("git %s: %s", args[0], strings.TrimPrefix(reason, "fatal: ")), "--staged reads the index of the Git repository around the working directory"))
	case err != nil:
		return nil, failed(fmt.Errorf("git: %w", err))
	}
	return out, nil
}

func (g *gitIndex) list(cmd *cobra.Command, args []string) (*fileList, error) {
	ctx := cmd.Context()
	var files []listedFile
	add := func(mode, blob, rel string) {
		if strings.HasPrefix(mode, "100") { // no link, no submodule
			files = append(files, listedFile{name: g.shown(rel), path: rel, any: true, blob: blob})
		}
	}
	if len(args) == 0 {
		if _, err := g.git(ctx, "rev-parse", "--show-toplevel"); err != nil {
			return nil, err // outside of a repository git diff is another command
		}
		out, err := g.git(ctx, "diff", "--cached", "--raw", "--no-relative", "--no-abbrev", "--no-renames", "--diff-filter=d", "-z")
		if err != nil {
			return nil, err
		}
		// :100644 100644 OLD NEW M NUL path NUL
		fields := strings.Split(string(out), "\x00")
		for i := 0; i+1 < len(fields); i += 2 {
			if head := strings.Fields(fields[i]); len(head) == 5 {
				add(head[1], head[3], fields[i+1])
			}
		}
	} else if err := g.tracked(ctx, add, slices.Concat([]string{"--error-unmatch", "--"}, args)...); err != nil {
		return nil, err
	}
	if err := g.start(ctx); err != nil {
		return nil, err
	}
	given := files
	hand := func(files []listedFile, visit func(listedFile)) {
		for _, f := range files {
			visit(f)
		}
	}
	return &fileList{
		partial: true,
		each: func(_ context.Context, visit func(listedFile)) error {
			hand(given, visit)
			return nil
		},
		around: func(ctx context.Context, visit func(listedFile)) error {
			known := make(map[string]bool, len(given))
			for _, f := range given {
				known[f.path] = true
			}
			files = nil
			err := g.tracked(ctx, add, "--", ":/")
			hand(slices.DeleteFunc(files, func(f listedFile) bool { return known[f.path] || !isManifest(path.Base(f.path)) }), visit)
			return err
		},
	}, nil
}

// tracked adds files of the index, as the arguments of git ls-files say.
func (g *gitIndex) tracked(ctx context.Context, add func(mode, blob, path string), args ...string) error {
	out, err := g.git(ctx, slices.Concat([]string{"ls-files", "--stage", "--full-name", "-z"}, args)...)
	if err != nil {
		return err
	}
	// 100644 BLOB 0 TAB path NUL
	for entry := range strings.SplitSeq(string(out), "\x00") {
		head, rel, _ := strings.Cut(entry, "\t")
		if fields := strings.Fields(head); len(fields) == 3 {
			add(fields[0], fields[1], rel)
		}
	}
	return nil
}

// start starts the process that gives out the blobs.
func (g *gitIndex) start(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "git", "cat-file", "--batch")
	var err error
	if g.stdin, err = cmd.StdinPipe(); err != nil {
		return failed(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return failed(err)
	}
	g.stdout = bufio.NewReader(stdout)
	if err := cmd.Start(); err != nil {
		return failed(fmt.Errorf("git: %w", err))
	}
	return nil
}

func (g *gitIndex) read(_ context.Context, file listedFile, buffer []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := fmt.Fprintln(g.stdin, file.blob); err != nil {
		return nil, fmt.Errorf("read %s from the index: %w", file.name, err)
	}
	head, err := g.stdout.ReadString('\n') // BLOB blob SIZE
	fields := strings.Fields(head)
	if err != nil || len(fields) != 3 {
		return nil, fmt.Errorf("read %s from the index: git cat-file ended", file.name)
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("read %s from the index: git cat-file answers what it should not", file.name)
	}
	if size > maxFile {
		blob := io.LimitReader(g.stdout, size+1)
		err := tooLarge(blob, false)
		if _, skipped := io.Copy(io.Discard, blob); err == nil {
			err = skipped
		}
		if err != nil {
			err = fmt.Errorf("read %s from the index: %w", file.name, err)
		}
		return nil, err
	}
	buffer = slices.Grow(buffer, int(size)+1)[:size+1] // a line feed follows
	if _, err := io.ReadFull(g.stdout, buffer); err != nil {
		return nil, fmt.Errorf("read %s from the index: %w", file.name, err)
	}
	return bytes.TrimSuffix(buffer, []byte("\n")), nil
}
