package worktree

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"clusterpair.dev/internal/report"
)

// journal says how to put back the files that a run was moving when it was killed.
// It is there from before the first move until after the last: the moment it is
// removed is the one at which the run is done.
type journal struct {
	Made  []string // directories that the run makes, those above first
	Moves []move

	done int // moves of this run so far
}

// move is what a run does to one file. Paths are from the directory in which the
// scratch directory stands.
type move struct {
	Verb   string
	Path   string
	Number int      // of the file in the scratch directory
	New    identity // of the file to be moved to Path, zero for one that is removed
	Old    identity // of the one that stands at Path, zero if there is none
}

// identity tells a file from all others, before and after it was moved. It changes
// when somebody writes into the file or puts another in its place, and cannot be
// foreseen by who has written a repository, as Git checks out into new files.
type identity struct {
	Inode uint64
	Size  int64
	Time  int64 // of the last change of the content, in nanoseconds
}

// identify is the identity of a regular file.
func identify(root *os.Root, path string) (identity, error) {
	info, err := root.Lstat(path)
	if err != nil {
		return identity{}, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return identity{}, fmt.Errorf("is a %s, not a file", KindOf(info))
	}
	return identity{uint64(stat.Ino), info.Size(), info.ModTime().UnixNano()}, nil
}

// errMeanwhile is why a file is not put back.
var errMeanwhile = errors.New("somebody else has changed the file meanwhile")

// undo puts back one file, if it has been moved, and says whether. It can be done
// again. The error is errMeanwhile if the file is neither the one of before nor
// that of the run.
func (s *scratch) undo(m move) (moved bool, err error) {
	now, err := identify(s.parent, m.Path)
	gone := errors.Is(err, fs.ErrNotExist)
	if err != nil && !gone {
		return false, errMeanwhile
	}
	switch {
	case m.Verb == Created && gone, m.Verb != Created && now == m.Old:
		return false, nil
	case m.Verb == Created && now == m.New:
		return true, s.parent.Remove(m.Path)
	case m.Verb == Changed && now == m.New, m.Verb == Removed && gone:
		before := s.path(beforeName(m.Number))
		if was, err := identify(s.parent, before); err != nil || was != m.Old {
			return false, errMeanwhile
		}
		return true, s.parent.Rename(before, m.Path)
	}
	return false, errMeanwhile
}

// staged are the numbers of the files that are moved to their places.
func (j *journal) staged() []int {
	var numbers []int
	for _, m := range j.Moves {
		if m.Verb != Removed {
			numbers = append(numbers, m.Number)
		}
	}
	return numbers
}

// write writes the journal in one step.
func (j *journal) write(s *scratch) error {
	unfinished := journalName + ".new"
	f, err := s.dir.Create(unfinished)
	if err != nil {
		return err
	}
	err = j.encode(f)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = s.dir.Rename(unfinished, journalName)
	}
	if err == nil {
		err = s.sync()
	}
	return err
}

// encode is [json.Marshal] of the journal, move by move: it may have many.
func (j *journal) encode(to io.Writer) error {
	made, err := json.Marshal(j.Made)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, `{"Made":%s,"Moves":[`, made)
	for i := range j.Moves {
		text, err := json.Marshal(&j.Moves[i])
		if err != nil {
			return err
		}
		if i > 0 {
			w.WriteByte(',')
		}
		w.Write(text) // Flush has the error
	}
	w.WriteString("]}")
	return w.Flush()
}

// back puts back what moves have done, and removes the directories that were made,
// unless there are files in them. Meanwhile are files that somebody else has changed.
func (j *journal) back(s *scratch, moves []move) (back, meanwhile []string, err error) {
	var errs []error
	for _, m := range slices.Backward(moves) {
		switch moved, err := s.undo(m); {
		case errors.Is(err, errMeanwhile):
			meanwhile = append(meanwhile, m.Path)
		case err != nil:
			errs = append(errs, fmt.Errorf("%s: %w", m.Path, Cause(err)))
		case moved:
			back = append(back, m.Path)
		}
	}
	for _, dir := range slices.Backward(j.Made) {
		s.parent.Remove(dir) // fails where there are files
	}
	return back, meanwhile, errors.Join(errs...)
}

// readJournal reads the journal of a run that was killed, nil if it had not begun
// to move files, or was done.
func readJournal(s *scratch) (*journal, error) {
	text, err := s.dir.ReadFile(journalName)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := s.lock.Stat()
	if err != nil {
		return nil, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != os.Geteuid() {
		return nil, errors.New("it is another user's")
	}
	var j journal
	if err := json.Unmarshal(text, &j); err != nil {
		return nil, errors.New("it is no journal of clusterpair")
	}
	paths := slices.Clone(j.Made)
	for _, m := range j.Moves {
		paths = append(paths, m.Path)
	}
	for _, path := range paths {
		if !filepath.IsLocal(path) || slices.ContainsFunc(strings.Split(filepath.ToSlash(path), "/"), func(s string) bool { return strings.EqualFold(s, ".git") }) {
			return nil, errors.New("it is no journal of clusterpair")
		}
	}
	return &j, nil
}

// Recovered is what a run that was killed had left, by paths as the os package
// takes them.
type Recovered struct {
	Directory string   // the scratch directory, which is gone
	Back      []string // files that are as they were before that run
	Meanwhile []string // files that somebody has changed since, left as they are
}

// Recover puts right what killed runs have left: it puts back the files that such a run
// was moving, and removes its scratch directory. dirs are the directories in which the
// caller is going to write; call it before anything there is read. Recover leaves runs
// under way alone, and waits for one that is moving its files.
func Recover(ctx context.Context, dirs ...string) ([]Recovered, error) {
	var all []Recovered
	err := eachScratch(places(dirs), func(dir string, s *scratch) error {
		defer s.close()
		state, err := s.open()
		for ; err == nil && state == lockHeld; state, err = s.tryLock() {
			if _, none := s.dir.Lstat(journalName); none != nil {
				return nil
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(20 * time.Millisecond):
			}
		}
		if err != nil || state == lockUnknown && !s.old() {
			return nil // gone meanwhile, or not ours
		}
		r := Recovered{Directory: filepath.Join(dir, s.name)}
		j, err := readJournal(s)
		if err != nil {
			return report.WithHint(fmt.Errorf("%s, which a run has left that was killed: %w", filepath.Join(r.Directory, journalName), Cause(err)),
				"rm -r %s && git status", report.Typed(r.Directory))
		}
		if j != nil {
			r.Back, r.Meanwhile, err = j.back(s, j.Moves)
			if err != nil {
				return report.WithHint(fmt.Errorf("put back what a run has left in %s that was killed: %w", r.Directory, err), "git status")
			}
			for _, paths := range [][]string{r.Back, r.Meanwhile} {
				for i := range paths {
					paths[i] = filepath.Join(dir, paths[i])
				}
				slices.Sort(paths)
			}
		}
		s.remove()
		all = append(all, r)
		return nil
	})
	return all, err
}
