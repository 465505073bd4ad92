package worktree

import (
	"context"
	"fmt"
	"io"
	"os"

	"clusterpair.dev/internal/defect"
)

// ReadInput reads a file that a user names, which may be a pipe, or standard input for -.
// It does not wait longer than ctx.
func ReadInput(ctx context.Context, path string, stdin io.Reader) ([]byte, error) {
	name := path
	read := func() ([]byte, error) {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, MaxFile+1)) // of a pipe or device, too
	}
	if path == "-" {
		name = "standard input"
		read = func() ([]byte, error) { return io.ReadAll(io.LimitReader(stdin, MaxFile+1)) }
	}
	type result struct {
		data []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		var r result
		r.err = defect.Safely(name, func() (err error) {
			r.data, err = read()
			return err
		})
		done <- r
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		return nil, ctx.Err() // who waits for input can be interrupted
	}
	if r.err == nil && len(r.data) > MaxFile {
		r.err = fmt.Errorf("is larger than %d MiB", MaxFile>>20)
	}
	if r.err != nil {
		return nil, Unread(name, r.err)
	}
	return r.data, nil
}
