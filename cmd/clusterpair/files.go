package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	read(file listedFile, buffer []byte) ([]byte, error)
}

// listedFile is a file of a run.
type listedFile struct {
	name string // as the user knows it
	path string // from the root of the repository, with slashes
	any  bool   // named by the user, not found by its extension
	blob string // in the index
}

// fileList hands out files one by one: a repository may have 100,000.
type fileList struct {
	each func(ctx context.Context, visit func(listedFile)) error
	// partial says that these are single files, beside which there are others;
	// around hands those out where they belong to one repository.
	partial bool
	around  func(ctx context.Context, visit func(listedFile)) error
}

// repository is the Git work tree around the working directory, or, outside of
// any, the working directory.
type repository struct{ cwd, root string }

func newRepository() (repository, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return repository{}, err
	}
	if cwd, err = filepath.EvalSymlinks(cwd); err != nil {
		return repository{}, err
	}
	root, ok := workTree(cwd)
	if !ok {
		root = cwd
	}
	return repository{cwd, root}, nil
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
		info, err := os.Stat(arg)
		switch {
		case err == nil && info.IsDir():
			dirs = append(dirs, filepath.Clean(arg))
		case err == nil:
			names = append(names, filepath.Clean(arg))
		case strings.ContainsAny(arg, "*?["):
			matches, err := glob(arg)
			if err != nil {
				return nil, err
			}
			names = append(names, matches...)
		default:
			return nil, failed(withHint(fmt.Errorf("%s: %w", arg, cause(err)), "clusterpair validate . for all files below this directory"))
		}
	}
	l.partial = len(dirs) == 0
	if _, repository := workTree(w.root); l.partial && repository && w.stdin == nil {
		given := make(map[string]bool, len(names))
		for _, name := range names {
			given[w.path(name)] = true
		}
		l.around = func(ctx context.Context, visit func(listedFile)) error {
			return w.walk(ctx, w.shown("."), func(f listedFile) {
				if !given[f.path] {
					visit(f)
				}
			})
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
			if err := w.walk(ctx, dir, once); err != nil {
				return err
			}
		}
		return nil
	}
	return l, nil
}

// walk visits the YAML and JSON files below a directory, and what is called a
// kubeconfig. It follows no link to a directory, so that it comes to an end.
func (w *workFiles) walk(ctx context.Context, dir string, visit func(listedFile)) error {
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
		case d.Type()&^fs.ModeSymlink == 0 && isManifest(d.Name()):
			visit(listedFile{name: name, path: w.path(name)})
		}
		return nil
	})
}

// isManifest tells by its name whether a file may be a manifest or kubeconfig.
func isManifest(name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json", ".kubeconfig":
		return true
	}
	return name == "kubeconfig" || name == "Kustomization"
}

// glob finds the files that match a pattern, in which ** spans directories.
func glob(pattern string) ([]string, error) {
	var matches []string
	var err error
	if before, after, spans := strings.Cut(filepath.ToSlash(pattern), "**"); spans {
		after = strings.TrimPrefix(after, "/")
		err = filepath.WalkDir(filepath.Clean("./"+before), func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			for tail := filepath.ToSlash(name); ; {
				if ok, err := path.Match(after, tail); ok || err != nil {
					matches = append(matches, name)
					return err
				}
				_, rest, more := strings.Cut(tail, "/")
				if !more {
					return nil
				}
				tail = rest
			}
		})
	} else {
		matches, err = filepath.Glob(pattern)
	}
	switch {
	case errors.Is(err, path.ErrBadPattern):
		return nil, usageError(fmt.Errorf("%s is no valid pattern", pattern))
	case err != nil:
		return nil, failed(fmt.Errorf("%s: %w", pattern, cause(err)))
	case len(matches) == 0:
		return nil, failed(fmt.Errorf("%s matches no file", pattern))
	}
	return slices.DeleteFunc(matches, func(name string) bool {
		info, err := os.Stat(name)
		return err == nil && info.IsDir()
	}), nil
}

func (w *workFiles) read(file listedFile, buffer []byte) ([]byte, error) {
	if file.name == "-" {
		return w.stdin, nil
	}
	f, err := os.OpenFile(file.name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.name, cause(err))
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", file.name, cause(err))
	case file.any && info.Mode()&fs.ModeNamedPipe != 0: // <(command)
		buffer, err = io.ReadAll(io.LimitReader(f, maxFile))
	case info.IsDir():
		_, err = f.ReadDir(1) // why the walk could not go on here
		if err == nil || err == io.EOF {
			return nil, nil
		}
	case !info.Mode().IsRegular() || info.Size() > maxFile && !file.any:
		return nil, nil
	case info.Size() > maxFile:
		err = fmt.Errorf("is larger than %d MiB", maxFile>>20)
	default:
		buffer = slices.Grow(buffer, int(info.Size()))[:info.Size()]
		var n int
		n, err = io.ReadFull(f, buffer)
		if err == io.ErrUnexpectedEOF || err == io.EOF { // it has become shorter
			err = nil
		}
		buffer = buffer[:n]
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file.name, cause(err))
	}
	return buffer, nil
}

// gitIndex are files as the next commit will have them.
type gitIndex struct {
	repository

	mu     sync.Mutex
	stdin  io.WriteCloser // of git cat-file
	stdout *bufio.Reader
}

func (g *gitIndex) git(ctx context.Context, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
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
		out, err := g.git(ctx, "diff", "--cached", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=d", "-z")
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
			files = nil
			err := g.tracked(ctx, add, "--", ":/")
			hand(slices.DeleteFunc(files, func(f listedFile) bool {
				return !isManifest(path.Base(f.path)) || slices.ContainsFunc(given, func(g listedFile) bool { return g.path == f.path })
			}), visit)
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

func (g *gitIndex) read(file listedFile, buffer []byte) ([]byte, error) {
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
		_, err = io.CopyN(io.Discard, g.stdout, size+1)
		return nil, err
	}
	buffer = slices.Grow(buffer, int(size)+1)[:size+1] // a line feed follows
	if _, err := io.ReadFull(g.stdout, buffer); err != nil {
		return nil, fmt.Errorf("read %s from the index: %w", file.name, err)
	}
	return bytes.TrimSuffix(buffer, []byte("\n")), nil
}
