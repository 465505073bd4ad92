package main

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestPanicInCommand: whatever panics, a command ends with the exit code for what
// could not be done.
func TestPanicInCommand(t *testing.T) {
	root := newRootCommand(io.Discard, nil)
	root.AddCommand(&cobra.Command{Use: "boom", RunE: func(*cobra.Command, []string) error { panic("s3cret") }})
	root.SetArgs([]string{"boom"})
	_, err := execute(context.Background(), root)
	exit, ok := err.(*exitError)
	if !ok || exit.code != exitFailed || !strings.HasPrefix(err.Error(), "clusterpair itself fails in ") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("%v", err)
	}
}
