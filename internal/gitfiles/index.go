package gitfiles

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"clusterpair.dev/internal/launch"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Index are files as the next commit will have them, and a push publishes them: git replace
// does not count.
type Index struct {
	Repository

	mu     sync.Mutex
	cat    *exec.Cmd      // git cat-file
	stdin  io.WriteCloser // of cat
	stdout *bufio.Reader  // of cat
	stderr bytes.Buffer   // of cat, once that has ended
	ended  int            // how often it has
}

func (g *Index) git(ctx context.Context, args ...string) ([]byte, error) {
	// Whatever the user has configured, all paths are from the root.
	out, err := launch.Command(ctx, "git", slices.Concat([]string{"--no-replace-objects", "-c", "diff.relative=false"}, args)...).Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		reason, _, _ := strings.Cut(strings.TrimSpace(string(exit.Stderr)), "\n")
		hint := "--staged reads the index of the Git repository around the working directory"
		if strings.Contains(reason, "dubious ownership") { // as in a container of CI
			hint = "if you trust who owns it: git config --global --add safe.directory " + report.Typed(g.Root)
		}
		return nil, report.WithHint(fmt.Errorf("git %s: %s", args[0], strings.TrimPrefix(reason, "fatal: ")), "%s", hint)
	case err != nil:
		return nil, fmt.Errorf("git: %w", err)
	}
	return out, nil
}

// List implements [Source]. Without arguments it is what is staged.
func (g *Index) List(ctx context.Context, args []string) (*List, error) {
	var files []File
	leftOut := g.leavesOut()
	add := func(mode, blob, rel string) {
		if strings.HasPrefix(mode, "100") { // no link, no submodule
			f := File{Name: g.Shown(rel), Path: rel, Any: true, blob: blob}
			if named := slices.ContainsFunc(args, func(arg string) bool { return g.Path(arg) == rel }); !named {
				if len(args) > 0 { // what is about to be committed is judged in every folder
					f.Sample = g.isSampleOf(args, rel)
				}
				if isLeftOut(leftOut, rel) {
					return
				}
			}
			files = append(files, f)
		}
	}
	if len(args) == 0 {
		out, err := g.changed(ctx)
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
	given := files
	hand := func(files []File, visit func(File)) {
		for _, f := range files {
			visit(f)
		}
	}
	return &List{
		Partial: true,
		Each: func(_ context.Context, visit func(File)) error {
			hand(given, visit)
			return nil
		},
		Around: func(ctx context.Context, visit func(File)) error {
			known := make(map[string]bool, len(given))
			for _, f := range given {
				known[f.Path] = true
			}
			files = nil
			err := g.tracked(ctx, add, "--", ":/")
			hand(slices.DeleteFunc(files, func(f File) bool { return known[f.Path] || !IsManifest(path.Base(f.Path)) }), visit)
			return err
		},
	}, nil
}

// changed is what git diff tells of the files that are staged.
func (g *Index) changed(ctx context.Context) ([]byte, error) {
	diff := []string{"diff", "--cached", "--raw", "--no-relative", "--no-abbrev", "--no-renames", "--diff-filter=d", "-z"}
	// Of two paths, all and the working directory, Git refuses the second where there is
	// no work tree. So one process answers in most cases.
	if os.Getenv("GIT_LITERAL_PATHSPECS") == "" {
		if out, err := g.git(ctx, slices.Concat(diff, []string{"--", ":/", g.Cwd})...); err == nil {
			return out, nil
		}
	}
	if _, err := g.git(ctx, "rev-parse", "--show-toplevel"); err != nil {
		return nil, err // outside of a repository git diff is another command
	}
	return g.git(ctx, diff...)
}

// tracked adds files of the index, as the arguments of git ls-files say.
func (g *Index) tracked(ctx context.Context, add func(mode, blob, path string), args ...string) error {
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

// start starts the process that gives out the blobs that [Index.loose] does not find.
func (g *Index) start(ctx context.Context) error {
	g.stderr.Reset()
	cmd := launch.Command(ctx, "git", "--no-replace-objects", "-C", g.Root, "cat-file", "--batch")
	cmd.Stderr = &g.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("git: %w", err)
	}
	g.cat, g.stdin, g.stdout = cmd, stdin, bufio.NewReader(stdout)
	return nil
}

// reason is why the process has ended: in a partial clone it does when it cannot fetch a
// blob. Other lines than the last one may have the URL of a remote, with a password. The
// next file is asked of another process.
func (g *Index) reason() error {
	g.stdin.Close()
	_ = g.cat.Wait() // the reason is what it has written
	g.stdin = nil
	g.ended++
	text := strings.TrimSpace(g.stderr.String())
	if reason, ok := strings.CutPrefix(text[strings.LastIndexByte(text, '\n')+1:], "fatal: could not fetch "); ok {
		return errors.New("git cat-file: could not fetch " + reason)
	}
	return errors.New("git cat-file ended")
}

// Close ends the process of Git that gives out the files, if there is one.
func (g *Index) Close() {
	if g.stdin != nil {
		g.stdin.Close()
	}
}

// Read implements [Source].
func (g *Index) Read(ctx context.Context, file File, buffer []byte) ([]byte, error) {
	if data, ok := g.loose(file.blob, buffer); ok {
		return data, nil
	}
	unread := func(err error) ([]byte, error) { return nil, fmt.Errorf("read %s from the index: %w", file.Name, err) }
	g.mu.Lock()
	defer g.mu.Unlock()
	const patience = 10
	switch {
	case g.stdin != nil:
	case g.ended == patience:
		return unread(fmt.Errorf("git cat-file ended %d times", patience))
	default:
		if err := g.start(ctx); err != nil {
			return nil, err
		}
	}
	if _, err := fmt.Fprintln(g.stdin, file.blob); err != nil {
		return unread(g.reason())
	}
	head, err := g.stdout.ReadString('\n') // BLOB blob SIZE, or BLOB missing
	if err != nil {
		return unread(g.reason())
	}
	fields := strings.Fields(head)
	if len(fields) != 3 {
		return unread(errors.New("git cat-file does not have its content"))
	}
	size, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil {
		return unread(errors.New("git cat-file answers what it should not"))
	}
	if size > worktree.MaxFile {
		blob := io.LimitReader(g.stdout, size+1)
		err := tooLarge(blob, false)
		if _, skipped := io.Copy(io.Discard, blob); err == nil {
			err = skipped
		}
		if err != nil {
			return unread(err)
		}
		return nil, nil
	}
	buffer = slices.Grow(buffer, int(size)+1)[:size+1] // a line feed follows
	if _, err := io.ReadFull(g.stdout, buffer); err != nil {
		return unread(err)
	}
	return bytes.TrimSuffix(buffer, []byte("\n")), nil
}

// loose appends a blob to buffer that is a file of its own, as each is that git add has
// just written: no process of Git is needed for it. It leaves to Git what is packed,
// elsewhere, too large, or not as it should be.
func (g *Index) loose(blob string, buffer []byte) ([]byte, bool) {
	if strings.Trim(blob, "0123456789abcdef") != "" || len(blob) < 40 {
		return nil, false // HEAD:path
	}
	f, err := os.Open(filepath.Join(g.Root, ".git", "objects", blob[:2], blob[2:]))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	inflated, err := zlib.NewReader(f)
	if err != nil {
		return nil, false
	}
	in := bufio.NewReader(inflated)
	head, err := in.ReadString(0) // blob SIZE NUL
	if err != nil {
		return nil, false
	}
	length, ok := strings.CutPrefix(strings.TrimSuffix(head, "\x00"), "blob ")
	size, err := strconv.Atoi(length)
	if !ok || err != nil || size < 0 || size > worktree.MaxFile {
		return nil, false
	}
	buffer = slices.Grow(buffer, size+1)[:size] // of no size it is not nil
	if _, err := io.ReadFull(in, buffer); err != nil {
		return nil, false
	}
	_, err = in.ReadByte() // the end, where the checksum is
	return buffer, err == io.EOF
}

// Other hands out the files of a commit that are not so in the work tree; none if
// there is no such commit.
func (g *Index) Other(commit string) func(context.Context, func(File)) error {
	return func(ctx context.Context, visit func(File)) error {
		if _, ok := worktree.Top(g.Root); !ok {
			return nil
		}
		if _, err := g.git(ctx, "-C", g.Root, "rev-parse", "-q", "--verify", commit+"^{commit}"); err != nil {
			return nil
		}
		out, err := g.git(ctx, "-C", g.Root, "diff", "--name-only", "--no-renames", "--diff-filter=a", "-z", commit, "--")
		if err != nil {
			return err
		}
		for rel := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
			if IsManifest(path.Base(rel)) && !strings.Contains(rel, "\n") {
				visit(File{Name: g.Shown(rel), Path: rel, Any: true, blob: commit + ":" + rel})
			}
		}
		return nil
	}
}
