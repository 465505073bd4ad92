package worktree

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// mountPoint tells the mounted file system on which a path stands. A file can be
// moved within one only, although two may be of the same device.
type mountPoint struct {
	device uint64
	mount  uint64
}

func mount(path string) mountPoint {
	var stat unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_MNT_ID, &stat); err != nil {
		return mountPoint{}
	}
	return mountPoint{unix.Mkdev(stat.Dev_major, stat.Dev_minor), stat.Mnt_id}
}

// createNameless makes a file in an open directory that has no name, so that nothing
// is left of it if the process is killed. Not every file system can.
func createNameless(dir *os.Root) (*os.File, error) {
	d, err := dir.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	fd, err := unix.Openat(int(d.Fd()), ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "."), nil
}

// link gives a nameless file a name in dir, which must be free.
func link(f *os.File, dir *os.Root, name string) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), int(d.Fd()), name, unix.AT_SYMLINK_FOLLOW)
}

// syncAll writes all that its file system has not written yet to the disk. It is false
// if that fails, which need not be because of a file of ours, and on a Linux before 5.8,
// which does not tell.
func syncAll(dir *os.File) bool {
	var name unix.Utsname
	var major, minor int
	if err := unix.Uname(&name); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil || major < 5 || major == 5 && minor < 8 {
		return false
	}
	return unix.Syncfs(int(dir.Fd())) == nil
}

// holder is the process that holds a lock on a file, 0 if that cannot be told.
func holder(f *os.File) int {
	info, err := f.Stat()
	if err != nil {
		return 0
	}
	locks, err := os.ReadFile("/proc/locks")
	stat, ok := info.Sys().(*syscall.Stat_t)
	if err != nil || !ok {
		return 0
	}
	// 1: FLOCK  ADVISORY  WRITE 4321 fe:00:12345 0 EOF
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(stat.Dev)), unix.Minor(uint64(stat.Dev)), stat.Ino)
	for line := range strings.Lines(string(locks)) {
		var pid int
		fields := strings.Fields(line)
		if len(fields) >= 6 && fields[1] == "FLOCK" && fields[5] == file {
			if _, err := fmt.Sscan(fields[4], &pid); err == nil && pid > 0 {
				return pid
			}
		}
	}
	return 0
}

// readPlain reads a regular file by its name in an open directory, with as few calls of
// the system as there can be: a run may do little else.
func readPlain(dir *os.File, name string, buffer []byte) ([]byte, error) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err == unix.ENOENT {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if err != nil {
		return nil, errNotPlain
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG || stat.Size > MaxFile {
		return nil, errNotPlain
	}
	data := sized(buffer, stat.Size)
	for read := 0; read < len(data); {
		n, err := ignoringEINTR(func() (int, error) { return unix.Read(fd, data[read:]) })
		switch {
		case err != nil:
			return nil, errNotPlain
		case n == 0: // it has become shorter
			return data[:read], nil
		}
		read += n
	}
	return data, nil
}

// ignoringEINTR calls again what a signal has interrupted.
func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}
