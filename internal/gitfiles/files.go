package gitfiles

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/worktree"
)

// Source is where files are read from: the [WorkTree], or the [Index] of Git.
type Source interface {
	// List finds the files that arguments mean: files, directories, patterns and,
	// for a work tree, - for standard input. An error has a hint where there is a
	// next step to type; a bad pattern is a [report.UsageError].
	List(ctx context.Context, args []string) (*List, error)
	// Read appends a file to buffer. It is nil for what is no file, or too large to
	// be a manifest.
	Read(ctx context.Context, file File, buffer []byte) ([]byte, error)
}

// File is a file that a list hands out.
type File struct {
	Name string // as the user knows it
	Path string // from the root of the repository, with slashes
	// Any says that the user has named it, Data that a kustomization takes it in,
	// Rest that Git knows it under a name that tells nothing. Of none, it was found
	// by its name.
	Any, Data, Rest bool
	// Link says that it was found as a symbolic link.
	Link bool
	// Sample tells whether it is for tests or the like, as [Repository.IsSample] does. It
	// is nil for a file that the user has named.
	Sample func() bool

	blob string // in the index
}

// Whatever tells whether a file may hold anything: its name does not say that it is
// a manifest.
func (f File) Whatever() bool {
	return (f.Any || f.Data || f.Rest) && !IsManifest(path.Base(f.Path)) && f.Name != "-"
}

// List hands out files one by one: a repository may have 100,000.
type List struct {
	Each func(ctx context.Context, visit func(File)) error
	// Partial says that the list is of single files, and that the repository has
	// others. Around hands out those others, if all files of the list belong to one
	// repository.
	Partial bool
	// Whole says that these are all files of the repository.
	Whole  bool
	Around func(ctx context.Context, visit func(File)) error
	// Also hands out files that a kustomization takes in although their names are not
	// those of manifests, so that Each has passed over them. It may be nil.
	Also func(paths []string, visit func(File))
	// Rest finds the files that Git knows and that Each has passed over for their
	// names: any of them may hold a credential. It may be nil.
	Rest func(ctx context.Context) ([]File, error)
	// LeftOut tells by its path whether Git ignores a file that nobody has named. It
	// may be nil.
	LeftOut func(path string) bool
}

// Each reads the files that a list hands out and visits them, on all cores. The data
// that visit gets is good until it returns. A file that cannot be read, or in which
// visit fails, keeps none of the others back: unread has an error for each, sorted by
// its text. err is that of the list, or of ctx.
func Each(ctx context.Context, source Source, list func(context.Context, func(File)) error, visit func(context.Context, File, []byte) error) (unread []error, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	work := make(chan File, 64)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			var buffer []byte
			for file := range work {
				if ctx.Err() != nil {
					continue
				}
				err := func() (err error) {
					defer defect.Recover(&err, file.Name)
					buffer, err = source.Read(ctx, file, buffer[:0])
					if err == nil && buffer != nil {
						err = visit(ctx, file, buffer)
					}
					return err
				}()
				if err != nil {
					mu.Lock()
					unread = append(unread, err)
					mu.Unlock()
				}
			}
		})
	}
	err = list(ctx, func(file File) { work <- file })
	close(work)
	group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	slices.SortFunc(unread, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return unread, err
}

// Repository is the Git work tree around the files that are asked for, else that
// around the working directory, or, outside of any, the working directory.
type Repository struct {
	Cwd, Root string
	// Exclude are patterns of the user for files to leave out, beside those of
	// [IgnoreFile].
	Exclude []string
}

// Open finds the repository of files, which may be patterns or -.
func Open(files ...string) (Repository, error) {
	cwd, err := os.Getwd()
	if err != nil {
		return Repository{}, err
	}
	if cwd, err = filepath.EvalSymlinks(cwd); err != nil {
		return Repository{}, err
	}
	r := Repository{Cwd: cwd, Root: cwd}
	if root, ok := worktree.Top(cwd); ok {
		r.Root = root
	}
	trees := make(map[string]bool)
	for _, name := range files {
		if !filepath.IsAbs(name) {
			name = filepath.Join(cwd, name)
		}
		tree, _ := worktree.Top(filepath.Clean(name))
		trees[tree] = true
	}
	if len(trees) == 1 && !trees[""] {
		r.Root = slices.Collect(maps.Keys(trees))[0]
	}
	return r, nil
}

// Path is the way to a file from the root; outside of it the whole path.
func (r Repository) Path(name string) string {
	abs := name
	if !filepath.IsAbs(name) {
		abs = filepath.Join(r.Cwd, name)
	}
	rel, err := filepath.Rel(r.Root, abs)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.ToSlash(abs)
	}
	if rel = filepath.ToSlash(rel); rel == name {
		return name // in memory once
	}
	return rel
}

// Shown is how messages name a path from the root.
func (r Repository) Shown(rel string) string {
	name, err := filepath.Rel(r.Cwd, filepath.Join(r.Root, filepath.FromSlash(rel)))
	if err != nil {
		return rel
	}
	return name
}
