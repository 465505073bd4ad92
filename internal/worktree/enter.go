package worktree

import (
	"context"
	"fmt"
	"io"
	"path/filepath"

	"clusterpair.dev/internal/report"
)

// Enter locks directories against other runs, and says to w for which run it waits. Then
// recover puts right what killed runs have left there, which Enter tells, too. The caller
// calls unlock, after an error, too.
func Enter(ctx context.Context, w io.Writer, recover func(context.Context) ([]Recovered, error), dirs ...string) (unlock func(), err error) {
	unlock, err = Lock(ctx, func(dir string, pid int) {
		holder, end := "another process", ""
		if pid > 0 {
			holder = fmt.Sprintf("process %d", pid)
			end = fmt.Sprintf(", kill %d ends the other run", pid)
		}
		report.Say(w, "clusterpair: waiting for %s, which writes in %s\n  hint: Ctrl-C ends the waiting%s\n", holder, dir, end)
	}, dirs...)
	if err != nil {
		return unlock, err
	}
	all, err := recover(ctx)
	TellRecovered(w, all)
	return unlock, err
}

// RecoverFile puts right what killed runs have left in the directory of a file that is to
// be written, and tells it to w. Without a path that is standard output.
func RecoverFile(ctx context.Context, w io.Writer, path string) error {
	if path == "" {
		return nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	all, err := Recover(ctx, filepath.Dir(path))
	TellRecovered(w, all)
	return err
}

// TellRecovered tells of each file that was put right.
func TellRecovered(w io.Writer, all []Recovered) {
	for _, r := range all {
		if len(r.Back) > 0 {
			report.Say(w, "clusterpair: a run was killed while it wrote: %s as before that run now\n", report.Count(len(r.Back), "file is", "files are"))
		}
		for _, path := range r.Meanwhile {
			report.Say(w, "clusterpair: a run was killed while it wrote; %s has been changed since and is left as it is\n  hint: git diff %s\n", path, report.Typed(path))
		}
	}
}
