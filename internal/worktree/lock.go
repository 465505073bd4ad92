package worktree

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// Waiting is told when a lock is held by another process for longer than a second.
// pid is that process, 0 if the system does not tell.
type Waiting func(dir string, pid int)

// Lock keeps other runs out of directories until unlock is called. It waits for a
// run under way, and tells so once for each directory.
func Lock(ctx context.Context, waiting Waiting, dirs ...string) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			f.Close() // gives the lock back
		}
	}
	dirs = slices.Sorted(slices.Values(dirs)) // so that two runs cannot wait for each other
	for _, dir := range slices.Compact(dirs) {
		f, err := os.Open(dir)
		if err != nil {
			return unlock, fmt.Errorf("lock %s: %w", dir, Cause(err))
		}
		held = append(held, f)
		if err := lockFile(ctx, f, waiting); err != nil {
			return unlock, err
		}
	}
	return unlock, nil
}

// lockFile waits until an open directory is locked, or its file system turns out to
// have no locks.
func lockFile(ctx context.Context, f *os.File, waiting Waiting) error {
	tell := time.After(time.Second)
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tell:
			waiting(f.Name(), holder(f))
		case <-time.After(50 * time.Millisecond):
		}
	}
}
