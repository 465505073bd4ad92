package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// lockAll keeps other runs of generate out of the directories of the configs
// until unlock is called. It waits for a run under way.
func lockAll(ctx context.Context, configs []foundConfig) (unlock func(), err error) {
	var held []*os.File
	unlock = func() {
		for _, f := range held {
			f.Close() // gives the lock back
		}
	}
	var dirs []string
	for _, c := range configs {
		dirs = append(dirs, c.tree.abs("."))
	}
	slices.Sort(dirs) // so that two runs cannot wait for each other
	for _, dir := range slices.Compact(dirs) {
		f, err := os.Open(dir)
		if err != nil {
			return unlock, fmt.Errorf("lock %s: %w", dir, cause(err))
		}
		held = append(held, f)
		for {
			err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
			if !errors.Is(err, syscall.EWOULDBLOCK) {
				break // locked, or a file system without locks
			}
			select {
			case <-ctx.Done():
				return unlock, ctx.Err()
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return unlock, nil
}
