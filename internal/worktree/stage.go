package worktree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"clusterpair.dev/internal/report"
)

// Transaction writes the files of a run all or none, even if the run is killed: the
// next one puts back what was moved, by [Recover]. Files of several Git work trees
// are written all or none as long as the run is not killed.
type Transaction struct {
	dry    bool
	stages []*Stage

	mu        sync.Mutex
	scratches []*scratch
	pending   bool // a file could not be put back: the next run tries again
}

// Begin starts a transaction. A dry one writes nothing: it only tells what would
// change. The caller closes it.
func Begin(dry bool) *Transaction { return &Transaction{dry: dry} }

// Stage adds an output directory of t, by its path relative to the kustomization.
func (tx *Transaction) Stage(t *Tree, output string) *Stage {
	w := &Stage{Tree: t, Output: filepath.Clean(output), tx: tx}
	tx.stages = append(tx.stages, w)
	return w
}

// Commit moves all files to their places. If one cannot be moved it puts back what
// it had moved, so that the files are those of this run or those of the run before.
func (tx *Transaction) Commit(ctx context.Context) error {
	if err := ctx.Err(); err != nil || tx.dry {
		return err
	}
	journals := make(map[*scratch]*journal)
	for _, w := range tx.stages {
		if err := w.plan(journals); err != nil {
			return err
		}
	}
	for s, j := range journals {
		err := s.settle(j.staged())
		if err == nil {
			err = j.write(s)
		}
		if err != nil {
			return fmt.Errorf("%w; all files are as they were", unwritten("write "+filepath.Join(s.at, s.name), err, s.at))
		}
	}
	for _, w := range tx.stages {
		if err := w.move(journals[w.scratch]); err != nil {
			return tx.rollback(journals, err)
		}
	}
	for s := range journals {
		if err := s.dir.Remove(journalName); err != nil {
			return tx.rollback(journals, unwritten("write "+filepath.Join(s.at, s.name), err, s.at))
		}
	}
	return nil
}

// rollback puts back what was moved before err happened.
func (tx *Transaction) rollback(journals map[*scratch]*journal, err error) error {
	var errs []error
	for s, j := range journals {
		_, meanwhile, err := j.back(s, j.Moves[:j.done])
		errs = append(errs, err)
		tx.pending = tx.pending || err != nil
		for _, path := range meanwhile {
			errs = append(errs, fmt.Errorf("%s: %w", path, errMeanwhile))
		}
	}
	if undo := errors.Join(errs...); undo != nil {
		return fmt.Errorf("%w; not all files could be put back: %w: see git status", err, undo)
	}
	return fmt.Errorf("%w; all files are as they were", err)
}

// Close removes what is staged and not committed, and the directories that were
// made for it.
func (tx *Transaction) Close() {
	for _, s := range tx.scratches {
		if tx.pending {
			s.close()
		} else {
			s.remove()
		}
	}
	for _, w := range slices.Backward(tx.stages) {
		for _, dir := range slices.Backward(w.made) {
			w.Tree.Root.Remove(dir) // fails where there are files
		}
	}
	tx.scratches = nil
}

// scratchIn is the scratch directory for files of w. Stages share one, so that
// there is one moment at which all of them are done.
func (tx *Transaction) scratchIn(w *Stage, rel string) (*scratch, error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	root := w.Tree.Root.Name()
	at := mount(existing(filepath.Join(root, rel)))
	for _, s := range tx.scratches {
		if (s.at == root || s.at == filepath.Join(root, rel)) && mount(s.at) == at {
			return s, nil
		}
	}
	s, err := scratchFor(w.Tree.Root, rel, w.Make)
	if err == nil {
		tx.scratches = append(tx.scratches, s)
	}
	return s, err
}

// Change is what a run does to one file.
type Change struct {
	Verb   string // Created, Changed or Removed
	Path   string // relative to the output directory
	number int    // of the file in the scratch directory
}

// The verbs of a change.
const (
	Created = "created"
	Changed = "changed"
	Removed = "removed"
)

// Stage collects the files that a run writes into one output directory.
type Stage struct {
	// Tree holds the output directory, whose path is relative to the kustomization.
	Tree   *Tree
	Output string
	tx     *Transaction

	mu        sync.Mutex
	changes   []Change
	unchanged int
	fresh     int             // of the unchanged, those that were kept
	kept      map[string]bool // the paths that this run writes or finds unchanged

	scratch *scratch // opened with the first change
	prefix  string   // the way from where it stands to the output directory
	made    []string // directories that were made before Commit, from the root
	// first is the place in the journal of the first of the changes, as Commit goes on.
	first int
}

// Add takes in what becomes of one file, by its path relative to the output
// directory. previous is what the file holds now, nil if there is none. It may be
// called from several goroutines.
func (w *Stage) Add(path string, previous, document []byte) error {
	number, err := w.note(path, previous, document)
	if number < 0 || err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if previous != nil { // the file keeps its mode
		var info fs.FileInfo
		if info, err = w.scratch.parent.Stat(filepath.Join(w.prefix, path)); err == nil {
			mode = info.Mode().Perm()
		}
	}
	if err == nil {
		err = w.scratch.write(number, bytes.NewReader(document), mode)
	}
	if err != nil {
		return unwritten("write "+w.Show(path), err, filepath.Dir(w.Show(path)))
	}
	return nil
}

// Keep takes in that a file is to stay as it is, which it was not compared for. It may
// be called from several goroutines.
func (w *Stage) Keep(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(path)
	w.unchanged++
	w.fresh++
}

// Expect takes in that a file is to change into what a dry run cannot tell. It may be
// called from several goroutines.
func (w *Stage) Expect(path, verb string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(path)
	w.changes = append(w.changes, Change{Verb: verb, Path: path})
}

func (w *Stage) keep(path string) {
	if w.kept == nil {
		w.kept = make(map[string]bool)
	}
	w.kept[path] = true
}

// AddNew adds files by their paths, unless others stand in their places: those are
// taken, each with the reason for which it is not overwritten. What is there already and
// the same counts as unchanged.
func (w *Stage) AddNew(files map[string]string) (taken []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		rel, err := w.Tree.Inside(filepath.Join(w.Output, name))
		if err != nil {
			return nil, err
		}
		previous, err := w.Tree.Read(rel)
		if errors.Is(err, fs.ErrNotExist) {
			previous, err = nil, nil
			if _, none := w.Tree.Root.Lstat(rel); none == nil {
				err = errors.New("is a symbolic link to nothing")
			}
		}
		switch {
		case err != nil:
			taken = append(taken, fmt.Sprintf("%s: %v", w.Show(name), Cause(err)))
		case previous != nil && string(previous) != files[name]:
			taken = append(taken, w.Show(name)+": is another file")
		case taken == nil:
			if err := w.Add(name, previous, []byte(files[name])); err != nil {
				return nil, err
			}
		}
	}
	return taken, nil
}

// note notes what becomes of a file, and gives the number under which it is to be
// staged, -1 if it is not.
func (w *Stage) note(path string, previous, document []byte) (number int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(path)
	if bytes.Equal(document, previous) {
		w.unchanged++
		return -1, nil
	}
	c := Change{Verb: Created, Path: path}
	if previous != nil {
		c.Verb = Changed
		if err := w.checkLink(path); err != nil {
			return -1, err
		}
	}
	if w.tx.dry {
		w.changes = append(w.changes, c)
		return -1, nil
	}
	if err := w.begin(); err != nil {
		return -1, err
	}
	c.number = w.scratch.number()
	w.changes = append(w.changes, c)
	return c.number, nil
}

// Recover is [Recover] for the output directory. It is called before anything there is
// read. A dry run puts nothing right.
func (w *Stage) Recover(ctx context.Context) ([]Recovered, error) {
	rel, err := w.Tree.Inside(w.Output)
	if err != nil || w.tx.dry {
		return nil, nil // whoever writes there says why it cannot be
	}
	root := w.Tree.Root.Name()
	return Recover(ctx, root, filepath.Join(root, rel))
}

// checkLink refuses to change a symbolic link: the new file would take its
// place, and what it points to would stay as it was.
func (w *Stage) checkLink(path string) error {
	rel, err := w.Tree.Inside(filepath.Join(w.Output, path))
	if err != nil {
		return err
	}
	info, err := w.Tree.Root.Lstat(rel)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return err
	}
	return report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: w.Show(path)},
		Message: "the file is to change and is a symbolic link: the new file would take its place, and what it points to would stay as it is",
		Hint:    "make spec.output the directory that it points into, or: rm " + report.Typed(w.Show(path))}
}

// begin opens the scratch directory. The lock is held.
func (w *Stage) begin() error {
	if w.scratch != nil {
		return nil
	}
	rel, err := w.Tree.Inside(w.Output)
	if err != nil {
		return err
	}
	if _, err := missing(w.Tree.Root, rel); err != nil {
		return w.cannotMake(err)
	}
	s, err := w.tx.scratchIn(w, rel)
	if err == nil {
		w.prefix, err = filepath.Rel(s.at, filepath.Join(w.Tree.Root.Name(), rel))
	}
	if err != nil {
		shown := w.Tree.Show(w.Output)
		return unwritten("write to "+shown, err, shown)
	}
	w.scratch = s
	return nil
}

// Make makes the output directory, which Close removes again if it stays empty.
func (w *Stage) Make() error {
	rel, err := w.Tree.Inside(w.Output)
	if err != nil {
		return err
	}
	dirs, err := missing(w.Tree.Root, rel)
	for _, dir := range dirs {
		if err == nil {
			err = makeDir(w.Tree.Root, dir)
		}
		w.made = append(w.made, dir)
	}
	if err != nil {
		return w.cannotMake(err)
	}
	return nil
}

// cannotMake is why the output directory is not there.
func (w *Stage) cannotMake(err error) error {
	shown := w.Tree.Show(w.Output)
	return unwritten("make "+shown, err, shown)
}

// missing are the directories to be made for dir to be there, those above first.
func missing(root *os.Root, dir string) ([]string, error) {
	info, err := root.Stat(dir)
	switch {
	case err == nil && !info.IsDir(), errors.Is(err, syscall.ENOTDIR):
		return nil, errors.New("a file stands in the way of the directory")
	case err == nil:
		return nil, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	var above []string
	if parent := filepath.Dir(dir); parent != dir {
		if above, err = missing(root, parent); err != nil {
			return nil, err
		}
	}
	return append(above, dir), nil
}

// makeDir makes a directory, unless somebody else has.
func makeDir(root *os.Root, dir string) error {
	if err := root.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// Prune adds the removal of what earlier runs have written and this run has not,
// and tells each. own recognizes such a file by what it holds; kept tells by its path
// what other stages of the run have written there. Only files DIRECTORY/NAME.yaml
// below the output directory are looked at.
func (w *Stage) Prune(own func(data []byte) bool, kept func(path string) bool, each func(path string, data []byte)) error {
	out, err := w.Tree.Inside(w.Output)
	if err != nil {
		return err
	}
	for _, dir := range w.Tree.Names(out) {
		if strings.HasPrefix(dir, scratchPrefix) {
			continue
		}
		for _, name := range w.Tree.Names(filepath.Join(out, dir)) {
			path := dir + string(filepath.Separator) + name
			if filepath.Ext(name) != ".yaml" || w.Has(path) || kept(path) {
				continue
			}
			data, err := w.Tree.Read(filepath.Join(out, path))
			if err != nil {
				return fmt.Errorf("read %s: %w", w.Show(path), Cause(err))
			}
			if own(data) {
				w.changes = append(w.changes, Change{Verb: Removed, Path: path})
				each(path, data)
			}
		}
	}
	return nil
}

// plan notes what Commit is going to do for this stage.
func (w *Stage) plan(journals map[*scratch]*journal) error {
	if len(w.changes) == 0 {
		return nil
	}
	if err := w.begin(); err != nil {
		return err
	}
	j := journals[w.scratch]
	if j == nil {
		j = new(journal)
		journals[w.scratch] = j
	}
	w.first = len(j.Moves)
	var lastDir string
	for _, c := range w.Changes() {
		m := move{Verb: c.Verb, Path: filepath.Join(w.prefix, c.Path), Number: c.number}
		var err error
		if c.Verb == Removed {
			m.Number = w.scratch.number()
		} else {
			m.New, err = identify(w.scratch.dir, stagedName(c.number))
		}
		if err == nil && c.Verb != Created {
			m.Old, err = identify(w.scratch.parent, m.Path)
		}
		if dir := filepath.Dir(m.Path); err == nil && c.Verb == Created && dir != lastDir {
			var dirs []string
			dirs, err = missing(w.scratch.parent, dir)
			for _, dir := range dirs {
				if !slices.Contains(j.Made, dir) {
					j.Made = append(j.Made, dir)
				}
			}
			lastDir = dir
		}
		if err != nil {
			return fmt.Errorf("%w; all files are as they were", unwritten("write "+w.Show(c.Path), err, filepath.Dir(w.Show(c.Path))))
		}
		j.Moves = append(j.Moves, m)
	}
	return nil
}

// move moves the files of this stage to their places.
func (w *Stage) move(j *journal) error {
	if len(w.changes) == 0 {
		return nil
	}
	for _, dir := range j.Made {
		if err := makeDir(w.scratch.parent, dir); err != nil {
			return w.cannotMake(err)
		}
	}
	for i, m := range j.Moves[w.first : w.first+len(w.changes)] {
		if err := w.scratch.move(m); err != nil {
			file := w.Show(w.changes[i].Path)
			return unwritten("write "+file, err, filepath.Dir(file))
		}
		j.done++
	}
	return nil
}

// Show is how messages name a path relative to the output directory.
func (w *Stage) Show(path string) string { return w.Tree.Show(filepath.Join(w.Output, path)) }

// Changes are the changes, sorted by path.
func (w *Stage) Changes() []Change {
	slices.SortFunc(w.changes, func(a, b Change) int { return strings.Compare(a.Path, b.Path) })
	return w.changes
}

// Unchanged is the number of files that hold already what they are to hold.
func (w *Stage) Unchanged() int { return w.unchanged }

// Fresh is the number of files that Keep was called for, which count as unchanged.
func (w *Stage) Fresh() int { return w.fresh }

// Has tells whether a file was added, changed or not.
func (w *Stage) Has(path string) bool { return w.kept[path] }

// Paths are those of all files that were added, changed or not.
func (w *Stage) Paths() []string { return slices.Sorted(maps.Keys(w.kept)) }
