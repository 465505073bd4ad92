package worktree

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"clusterpair.dev/internal/pattern"
)

// A scratch directory holds the files of a run until they are moved to their
// places. It stands at the top of the work tree, so that any later run finds it
// there when its owner was killed.
//
// Git does not see it, because the first file in it is a .gitignore that says *.
// Flux, Argo CD and kubectl pass over its files, as no name ends in .yaml or .json.
// Its owner holds a lock on it, which the system gives back when the owner ends in
// any way.
type scratch struct {
	parent *os.Root
	at     string // absolute path of parent
	owned  bool   // parent is closed with s
	name   string
	dir    *os.Root
	lock   *os.File

	mu   sync.Mutex
	next int // number of the next file
}

// The names in a scratch directory: NUMBER.new is a file to be moved to its place,
// NUMBER.before the one that stood there, and journal says how to put it back.
const (
	scratchPrefix = ".clusterpair-"
	ignoreName    = ".gitignore"
	ignoreText    = "*\n"
	journalName   = "journal"
)

var scratchName = pattern.Later(`^\.clusterpair-[A-Z2-7]{10}$`)

func stagedName(number int) string { return strconv.Itoa(number) + ".new" }
func beforeName(number int) string { return strconv.Itoa(number) + ".before" }

// newScratch makes a scratch directory and locks it.
func newScratch(parent *os.Root, at string) (*scratch, error) {
	for range 100 {
		s := &scratch{parent: parent, at: at, name: scratchPrefix + rand.Text()[:10]}
		err := parent.Mkdir(s.name, 0o700)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		locked, err := s.open()
		if err == nil && locked != lockHeld {
			if err = s.hide(); err == nil {
				return s, nil
			}
			s.remove()
			return nil, err
		}
		// Another run took it for a leftover before it was locked.
		s.close()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return nil, errors.New("no directory can be made that other runs leave alone")
}

// hide makes the .gitignore. Git never looks into a directory of the name .git, so
// the file is written there first: Git sees it whole or not at all.
func (s *scratch) hide() error {
	const unseen = ".git"
	if err := s.dir.Mkdir(unseen, 0o700); err != nil {
		return err
	}
	written := filepath.Join(unseen, ignoreName)
	if err := s.dir.WriteFile(written, []byte(ignoreText), 0o600); err != nil {
		return err
	}
	if err := s.dir.Rename(written, ignoreName); err != nil {
		return err
	}
	return s.dir.Remove(unseen)
}

// Whether a scratch directory has an owner.
type lockState int

const (
	lockFree    lockState = iota // it had none, and is locked now
	lockHeld                     // another process holds it
	lockUnknown                  // the file system has no locks
)

// open opens the directory of s and locks it if it is free. The error is
// fs.ErrNotExist if it is gone meanwhile.
func (s *scratch) open() (lockState, error) {
	var err error
	if s.dir, err = s.parent.OpenRoot(s.name); err != nil {
		return lockUnknown, err
	}
	if s.lock, err = s.dir.Open("."); err != nil {
		return lockUnknown, err
	}
	return s.tryLock()
}

func (s *scratch) tryLock() (lockState, error) {
	state := lockFree
	err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return lockHeld, nil
	case err != nil:
		state = lockUnknown
	}
	held, err := s.lock.Stat()
	if err != nil {
		return state, err
	}
	there, err := s.parent.Lstat(s.name)
	if err == nil && !os.SameFile(held, there) {
		err = fs.ErrNotExist
	}
	return state, err
}

// number is that of another file.
func (s *scratch) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next - 1
}

// write writes a file to be moved to its place, which takes settle before.
func (s *scratch) write(number int, from io.Reader, mode fs.FileMode) error {
	f, err := s.dir.OpenFile(stagedName(number), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = fill(f, from, mode)
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

// fill writes a new file.
func fill(f *os.File, from io.Reader, mode fs.FileMode) error {
	_, err := io.Copy(f, from)
	if err == nil {
		err = f.Chmod(mode)
	}
	return err
}

// settle makes the bytes of files that were written outlast a loss of power. Many are
// written to the disk together: one after the other each would wait for it.
func (s *scratch) settle(numbers []int) error {
	const many = 16
	if len(numbers) >= many && syncAll(s.lock) {
		return nil
	}
	for _, number := range numbers {
		f, err := s.dir.Open(stagedName(number))
		if err == nil {
			err = f.Sync()
			f.Close() // read-only
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// move does one change. A hard link keeps the file of before until the run is done;
// where there are no links a file is replaced all the same, and cannot be put back.
func (s *scratch) move(m move) error {
	staged, before := s.path(stagedName(m.Number)), s.path(beforeName(m.Number))
	switch m.Verb {
	case Created:
		return s.place(staged, m.Path)
	case Changed:
		s.parent.Link(m.Path, before)
		return s.parent.Rename(staged, m.Path)
	default:
		return s.parent.Rename(m.Path, before)
	}
}

// place moves a file to a place that must be free.
func (s *scratch) place(staged, path string) error {
	err := s.parent.Link(staged, path)
	if err != nil && !errors.Is(err, fs.ErrExist) { // no links here
		if _, taken := s.parent.Lstat(path); taken != nil {
			return s.parent.Rename(staged, path)
		}
		err = fs.ErrExist
	}
	if err != nil {
		return errors.New("somebody else has made the file meanwhile")
	}
	return nil
}

// close gives the lock back and leaves the directory.
func (s *scratch) close() {
	if s.lock != nil {
		s.lock.Close() // read-only
	}
	if s.dir != nil {
		s.dir.Close()
	}
	if s.owned {
		s.parent.Close()
	}
}

// remove removes the directory and closes s. The journal goes first, so that
// nobody puts back what is done, and .gitignore last.
func (s *scratch) remove() {
	if s.dir != nil {
		s.dir.Remove(journalName)
		s.empty()
		s.dir.Remove(ignoreName)
	}
	s.parent.Remove(s.name) // what cannot be removed the next run tries again
	s.close()
}

// empty removes what is in the directory but for .gitignore, a few files at a time: a run
// may have many.
func (s *scratch) empty() {
	dir, err := s.dir.Open(".")
	if err != nil {
		return
	}
	defer dir.Close()
	var names []string
	for err == nil {
		names, err = dir.Readdirnames(1000)
		for _, name := range names {
			if name != ignoreName {
				s.dir.RemoveAll(name)
			}
		}
	}
}

// path is the way to a file of s from its parent.
func (s *scratch) path(name string) string { return filepath.Join(s.name, name) }

// sync makes the names in the directory outlast a loss of power.
func (s *scratch) sync() error { return syncDir(s.lock) }

// syncDir makes the names in an open directory outlast a loss of power. Not every
// file system can.
func syncDir(dir *os.File) error {
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// IsScratch tells whether dir, a path as the os package takes it, is the directory
// of a run under way, or of one that was killed. What Git has checked out is none:
// others may look into it.
func IsScratch(dir string) bool {
	if !scratchName().MatchString(filepath.Base(dir)) {
		return false
	}
	info, err := os.Lstat(dir)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o077 != 0 {
		return false
	}
	text, err := os.ReadFile(filepath.Join(dir, ignoreName))
	return err == nil && bytes.Equal(text, []byte(ignoreText))
}

// InScratch tells whether a file stands in a directory that [IsScratch] knows.
func InScratch(file string) bool {
	for strings.Contains(file, scratchPrefix) {
		file = filepath.Dir(file)
		if IsScratch(file) {
			return true
		}
	}
	return false
}

// Leftovers are the scratch directories of runs that were killed while they wrote
// into dirs.
func Leftovers(dirs ...string) []string {
	var left []string
	eachScratch(places(dirs), func(dir string, s *scratch) error {
		if state, err := s.open(); err == nil && (state == lockFree || state == lockUnknown && s.old()) {
			left = append(left, filepath.Join(dir, s.name))
		}
		s.close()
		return nil
	})
	return left
}

// old tells a directory whose owner would have come to an end long ago, where the
// file system has no locks to tell.
func (s *scratch) old() bool {
	info, err := s.lock.Stat()
	return err == nil && time.Since(info.ModTime()) > time.Hour
}

// places are the directories in which the scratch directory of a run may stand that
// writes into dirs.
func places(dirs []string) []string {
	var all []string
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			abs = dir // not there: the work tree around it is
		}
		if top, ok := Top(abs); ok {
			all = append(all, top)
		}
		all = append(all, abs)
	}
	return all
}

// scratchFor makes a scratch directory from which files can be moved into the
// directory dir below root: in root itself, or, if that is on another file system
// or cannot be written to, in dir, which is made then.
func scratchFor(root *os.Root, dir string, makeDir func() error) (*scratch, error) {
	if mount(root.Name()) == mount(existing(filepath.Join(root.Name(), dir))) {
		s, err := newScratch(root, root.Name())
		if err == nil || !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			return s, err
		}
	}
	if err := makeDir(); err != nil {
		return nil, err
	}
	parent, err := root.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	s, err := newScratch(parent, filepath.Join(root.Name(), dir))
	if err != nil {
		parent.Close()
		return nil, err
	}
	s.owned = true
	return s, nil
}

// existing is dir, or the first directory above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// eachScratch visits the scratch directories in dirs, each directory once.
func eachScratch(dirs []string, visit func(dir string, s *scratch) error) error {
	seen := make(map[string]bool)
	for _, dir := range dirs {
		if dir = filepath.Clean(dir); seen[dir] {
			continue
		}
		seen[dir] = true
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // there is nothing of ours
		}
		for _, e := range entries {
			if !e.IsDir() || !scratchName().MatchString(e.Name()) {
				continue
			}
			parent, err := os.OpenRoot(dir)
			if err == nil {
				err = visit(dir, &scratch{parent: parent, at: dir, owned: true, name: e.Name()})
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}
