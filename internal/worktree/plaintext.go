package worktree

import (
	"fmt"
	"os"
	"path/filepath"

	"clusterpair.dev/internal/report"
)

// PlaintextInside warns when clear text goes into a Git work tree: into the file path, or,
// if that is empty, into the file that standard output is redirected to, which may be nil.
func PlaintextInside(path string, stdout *os.File) []report.Finding {
	if path == "" {
		if stdout == nil {
			return nil
		}
		info, err := stdout.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		// Only Linux tells where standard output goes.
		if path, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", stdout.Fd())); err != nil {
			return nil
		}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil
	}
	top, ok := Top(filepath.Dir(abs))
	if !ok {
		return nil
	}
	return []report.Finding{{Rule: "plaintext-credential", Severity: report.Warning, Position: report.Position{File: path},
		Message: fmt.Sprintf("a credential is written in clear into the Git work tree %s", top),
		Hint:    "never commit the file"}}
}
