//go:build !linux

package worktree

import (
	"errors"
	"os"
	"syscall"
)

// mountPoint tells the file system on which a path stands.
type mountPoint struct{ device uint64 }

func mount(path string) mountPoint {
	info, err := os.Stat(path)
	if err != nil {
		return mountPoint{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return mountPoint{}
	}
	return mountPoint{uint64(stat.Dev)}
}

// createNameless makes a file without a name, which only Linux can.
func createNameless(*os.Root) (*os.File, error) { return nil, errors.ErrUnsupported }

func link(*os.File, *os.Root, string) error { return errors.ErrUnsupported }

// syncAll is false: only Linux writes a file system to the disk and tells whether it
// could.
func syncAll(*os.File) bool { return false }

// holder is the process that holds a lock on a file: only Linux tells.
func holder(*os.File) int { return 0 }

// readPlain leaves all files to os.Root.
func readPlain(*os.File, string, []byte) ([]byte, error) { return nil, errNotPlain }
