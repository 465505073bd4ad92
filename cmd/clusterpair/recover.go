package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// lock keeps other runs out of directories, and says what it waits for.
func lock(cmd *cobra.Command, dirs ...string) (unlock func(), err error) {
	return worktree.Lock(cmd.Context(), func(dir string, pid int) {
		holder, end := "another process", ""
		if pid > 0 {
			holder = fmt.Sprintf("process %d", pid)
			end = fmt.Sprintf(", kill %d ends the other run", pid)
		}
		say(cmd.ErrOrStderr(), "clusterpair: waiting for %s, which writes in %s\n  hint: Ctrl-C ends the waiting%s\n", holder, dir, end)
	}, dirs...)
}

// recoverIn puts right what runs have left that were killed while they wrote into
// directories, and tells of each file that it touches.
func recoverIn(cmd *cobra.Command, dirs ...string) error {
	all, err := worktree.Recover(cmd.Context(), dirs...)
	return tellRecovered(cmd, all, err)
}

// recoverStage is recoverIn for the output directory of a stage.
func recoverStage(cmd *cobra.Command, w *worktree.Stage) error {
	all, err := w.Recover(cmd.Context())
	return tellRecovered(cmd, all, err)
}

// recoverFile is recoverIn for the directory of a file that is to be written.
func recoverFile(cmd *cobra.Command, path string) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return recoverIn(cmd, filepath.Dir(path))
}

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
