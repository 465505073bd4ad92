package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// enter locks directories against other runs, and says for which run it waits. Then
// recover puts right what killed runs have left there. The caller calls unlock, after
// an error, too.
func enter(cmd *cobra.Command, recover func(context.Context) ([]worktree.Recovered, error), dirs ...string) (unlock func(), err error) {
	unlock, err = worktree.Lock(cmd.Context(), func(dir string, pid int) {
		holder, end := "another process", ""
		if pid > 0 {
			holder = fmt.Sprintf("process %d", pid)
			end = fmt.Sprintf(", kill %d ends the other run", pid)
		}
		say(cmd.ErrOrStderr(), "clusterpair: waiting for %s, which writes in %s\n  hint: Ctrl-C ends the waiting%s\n", holder, dir, end)
	}, dirs...)
	if err != nil {
		return unlock, err
	}
	all, err := recover(cmd.Context())
	return unlock, tellRecovered(cmd, all, err)
}

// recoverFile puts right what killed runs have left in the directory of a file that is to
// be written. Without a path that is standard output.
func recoverFile(cmd *cobra.Command, path string) error {
	if path == "" {
		return nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	all, err := worktree.Recover(cmd.Context(), filepath.Dir(path))
	return tellRecovered(cmd, all, err)
}

// tellRecovered tells of each file that was put right before err happened, if it did.
func tellRecovered(cmd *cobra.Command, all []worktree.Recovered, err error) error {
	w := cmd.ErrOrStderr()
	for _, r := range all {
		if len(r.Back) > 0 {
			say(w, "clusterpair: a run was killed while it wrote: %s as before that run now\n", report.Count(len(r.Back), "file is", "files are"))
		}
		for _, path := range r.Meanwhile {
			say(w, "clusterpair: a run was killed while it wrote; %s has been changed since and is left as it is\n  hint: git diff %s\n", path, report.Typed(path))
		}
	}
	return err
}
