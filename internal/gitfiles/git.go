package gitfiles

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"clusterpair.dev/internal/launch"
)

// Tracked are the files that Git has in its index below some directories and whose
// names are wanted and that no pattern leaves out, without links and submodules: what a
// push publishes.
func (r Repository) Tracked(ctx context.Context, dirs []string, wanted func(name string) bool) ([]File, error) {
	args := []string{"-C", r.Root, "ls-files", "--stage", "--full-name", "-z", "--"}
	for _, dir := range dirs {
		args = append(args, ":(literal,top)"+strings.TrimSuffix(r.Path(dir), "."))
	}
	cmd := launch.Command(ctx, "git", args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("git: %w", err)
	}
	var files []File
	var last string
	leftOut := r.leavesOut()
	named := func(dir string) bool { return isLeftOut(leftOut, r.Path(dir)) }
	all := slices.ContainsFunc(dirs, named) // the user has named what is left out
	// 100644 BLOB 0 TAB path NUL, up to three times for what is to be merged
	for in := bufio.NewReaderSize(stdout, 64<<10); ; {
		entry, err := in.ReadSlice(0)
		if err != nil {
			_, _ = io.Copy(io.Discard, in) // git says whether that was the end
			break
		}
		head, rel, _ := bytes.Cut(entry[:len(entry)-1], []byte("\t"))
		if bytes.HasPrefix(head, []byte("100")) && wanted(string(rel[bytes.LastIndexByte(rel, '/')+1:])) && string(rel) != last {
			if last = string(rel); all || !isLeftOut(leftOut, last) {
				files = append(files, File{Name: r.Shown(last), Path: last, Rest: true, Sample: r.isSampleOf(dirs, last)})
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		if reason, _, _ := strings.Cut(strings.TrimSpace(stderr.String()), "\n"); reason != "" {
			return nil, fmt.Errorf("git: %s", strings.TrimPrefix(reason, "fatal: "))
		}
		return nil, fmt.Errorf("git: %w", err)
	}
	return files, nil
}

// Remotes are the URLs by which Git knows the repository: none where there is no Git, or
// no remote.
func (r Repository) Remotes(ctx context.Context) []string {
	out, err := launch.Command(ctx, "git", "-C", r.Root, "config", "--null", "--get-regexp", `^remote\..*\.url$`).Output()
	if err != nil {
		return nil
	}
	var urls []string
	for entry := range strings.SplitSeq(string(out), "\x00") {
		if _, url, ok := strings.Cut(entry, "\n"); ok {
			urls = append(urls, url)
		}
	}
	return urls
}

// InBranches tells whether a text stands in a file of any branch, tag or stash. If Git does
// not tell, it is taken to stand in one.
func (r Repository) InBranches(ctx context.Context, text string) bool {
	refs, err := launch.Command(ctx, "git", "-C", r.Root, "for-each-ref", "--format=%(objectname)").Output()
	if err != nil {
		return true
	}
	args := []string{"--no-replace-objects", "-C", r.Root, "grep", "-q", "-F", "-e", text}
	args = append(args, slices.Compact(slices.Sorted(strings.FieldsSeq(string(refs))))...)
	var exit *exec.ExitError
	err = launch.Command(ctx, "git", args...).Run()
	return !errors.As(err, &exit) || exit.ExitCode() != 1 // 1 says that it found nothing
}

// isSource tells by its name whether a file is the source of a program, a picture
// or an archive. Nobody keeps a kubeconfig under such a name, and a repository
// may have a hundred thousand of them.
func isSource(name string) bool {
	return slices.Contains(sourceExtensions, strings.ToLower(path.Ext(name))) || IsDatabase(name)
}

// IsDatabase tells by its name whether a file is what a program keeps for itself.
func IsDatabase(name string) bool {
	return slices.Contains([]string{".db", ".sqlite"}, strings.ToLower(path.Ext(name)))
}

var sourceExtensions = []string{
	".go", ".java", ".kt", ".scala", ".c", ".h", ".cc", ".cpp", ".hpp", ".cs", ".rs", ".swift", ".m", ".js", ".mjs", ".jsx", ".ts", ".tsx", ".vue",
	".css", ".scss", ".html", ".svg", ".png", ".jpg", ".jpeg", ".gif", ".ico", ".webp", ".pdf", ".woff", ".woff2", ".ttf",
	".zip", ".gz", ".tgz", ".xz", ".zst", ".jar", ".class", ".so", ".wasm",
}

// LeftOut tells by their paths which files below directories Git ignores. A file that
// the user has named is not left out, nor is any file below a directory that the user
// has named and that Git ignores as a whole.
func (r Repository) LeftOut(ctx context.Context, named func(path string) bool, dirs []string) func(path string) bool {
	l := &ignored{ctx: ctx, root: r.Root, kept: make(map[uint64]bool), out: make(map[string]bool), asked: make(map[string]int)}
	l.known = sync.OnceValue(l.index)
	meant := sync.OnceValue(func() []string {
		var meant []string
		for _, dir := range dirs {
			if p := r.Path(dir); p != "." && l.has(p) {
				meant = append(meant, p+"/")
			}
		}
		return meant
	})
	return func(p string) bool {
		return !named(p) && l.has(p) && !slices.ContainsFunc(meant(), func(dir string) bool { return strings.HasPrefix(p, dir) })
	}
}

// ignored tells which files Git leaves out, by its .gitignore files and the like.
// A file that Git knows is not left out. For the others it asks git, and starts it
// with the first question.
type ignored struct {
	ctx  context.Context
	root string
	// known is whether Git has a manifest in its index. Git lists the whole index in
	// the time in which it answers some hundred questions.
	known func() map[uint64]bool
	mu    sync.Mutex
	// kept are the hashes of the paths that git was asked about and does not leave out,
	// out those that it does.
	kept map[uint64]bool
	out  map[string]bool
	// asked is how often git was asked about a file in a directory, up to twice.
	asked   map[string]int
	stdin   io.WriteCloser
	answers *bufio.Reader
	// failures are how often git has ended with a question, as it does for a path
	// beyond a symbolic link or in a submodule.
	failures int
}

// has tells whether Git leaves a file out, by its path from the root.
func (l *ignored) has(rel string) bool {
	if !filepath.IsLocal(rel) || strings.ContainsRune(rel, 0) {
		return false
	}
	hash := maphash.String(hashSeed, rel)
	if l.known()[hash] {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept[hash] && !l.out[rel] {
		l.learn(append([]string{rel}, l.beside(rel)...))
	}
	return l.out[rel]
}

// beside are the other manifests in the directory of a file that nothing is known of, if
// it is the second there to be asked about: git answers many in the time of one.
func (l *ignored) beside(rel string) (others []string) {
	dir := path.Dir(rel)
	if l.asked[dir]++; l.asked[dir] != 2 {
		return nil
	}
	entries, _ := os.ReadDir(filepath.Join(l.root, dir)) // those that it could read
	for _, e := range entries {
		other := path.Join(dir, e.Name())
		if hash := maphash.String(hashSeed, other); !e.IsDir() && IsManifest(e.Name()) && other != rel && !l.known()[hash] && !l.kept[hash] && !l.out[other] {
			others = append(others, other)
		}
	}
	return others
}

// learn asks git about paths, a few at a time: so many that a pipe takes them, whatever
// the system grants it, and neither side waits for the other.
func (l *ignored) learn(paths []string) {
	const patience, most = 10, 2048
	for len(paths) > 0 && l.failures <= patience {
		n, size := 1, len(paths[0])
		for n < len(paths) && size+len(paths[n]) < most {
			size += len(paths[n]) + 1
			n++
		}
		patterns, err := l.ask(paths[:n])
		for i, pattern := range patterns {
			if pattern != "" && !strings.HasPrefix(pattern, "!") {
				l.out[paths[i]] = true
			} else {
				l.kept[maphash.String(hashSeed, paths[i])] = true
			}
		}
		if err != nil {
			l.failures++
			l.stdin = nil
			return
		}
		paths = paths[n:]
	}
}

// index are the hashes of the paths of manifests in the index of Git; none if it does
// not list them. Of a hundred thousand, hashes take a tenth of the memory of paths. A
// file that has the hash of another one is judged, and so never missed.
func (l *ignored) index() map[uint64]bool {
	cmd := launch.Command(l.ctx, "git", "-C", l.root, "ls-files", "-z")
	stdout, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return nil
	}
	known := make(map[uint64]bool)
	in := bufio.NewReaderSize(stdout, 64<<10)
	for {
		entry, err := in.ReadSlice(0)
		if err != nil {
			_, _ = io.Copy(io.Discard, in) // it ends in any case
			break
		}
		rel := entry[:len(entry)-1]
		if IsManifest(string(rel[bytes.LastIndexByte(rel, '/')+1:])) {
			known[maphash.Bytes(hashSeed, rel)] = true
		}
	}
	if cmd.Wait() != nil {
		return nil
	}
	return known
}

var hashSeed = maphash.MakeSeed()

// ask are the patterns that decide about paths; empty where none does. After an error they
// are those of the first paths.
func (l *ignored) ask(paths []string) (patterns []string, err error) {
	if l.stdin == nil {
		if err := l.start(); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(l.stdin, strings.Join(paths, "\x00")+"\x00"); err != nil {
		return nil, err
	}
	for range paths {
		var fields [4]string // source, line, pattern, path
		for i := range fields {
			field, err := l.answers.ReadString(0)
			if err != nil {
				return patterns, err
			}
			fields[i] = strings.TrimSuffix(field, "\x00")
		}
		patterns = append(patterns, fields[2])
	}
	return patterns, nil
}

func (l *ignored) start() error {
	cmd := launch.Command(l.ctx, "git", "-C", l.root, "check-ignore", "-z", "--stdin", "--verbose", "--non-matching")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // it ends with its standard input, or with ctx
	l.stdin, l.answers = stdin, bufio.NewReader(stdout)
	return nil
}
