package examples

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Write writes the files of the layout into a directory, all or none, and says what comes
// next. It overwrites none: one that is there already must be the same, else there is a
// finding. A dry run writes nothing.
func (l *Layout) Write(ctx context.Context, dir string, dryRun bool, talk report.Talk) error {
	dir = filepath.Clean(dir)
	t, output, err := worktree.OpenAbove(dir)
	if err != nil {
		return err
	}
	defer t.Close()
	inRepository := "."
	if t.Git {
		inRepository = filepath.ToSlash(filepath.Join(t.Base, output))
	}
	files, err := l.Files(inRepository)
	if err != nil {
		return err
	}
	KeepHooks(files, dir, inRepository)

	tx := worktree.Begin(dryRun)
	defer tx.Close()
	w := tx.Stage(t, output)
	if !dryRun {
		if err := w.Make(); err != nil {
			return err
		}
		unlock, err := worktree.Enter(ctx, talk.Err, w.Recover, t.Abs(output))
		defer unlock()
		if err != nil {
			return err
		}
	}
	taken, err := w.AddNew(files)
	if err != nil {
		return err
	}
	if taken != nil {
		return report.Found(report.WithHint(fmt.Errorf("nothing is written, as init overwrites no file:\n  %s", strings.Join(taken, "\n  ")), "move them away, or choose another directory"))
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	sum := worktree.Summarize(w)
	if _, err := io.WriteString(talk.Out, sum.List); err != nil {
		return err
	}
	would := map[bool]string{true: "would be "}[dryRun]
	report.Say(talk.Err, "files: %s%d created, %d unchanged\n", would, sum.Created, sum.Unchanged)
	if !dryRun {
		l.WriteNext(talk.Err, dir, inRepository, t.Git, files[HooksFile] != "")
	}
	return nil
}
