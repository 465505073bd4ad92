package main

import (
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
)

// Recipients of the keys in fixtures/keys.
const (
	demoRecipient     = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	eastRecipient     = "age1ht44faz5swt5rfvmm7ceermh5n259jzffw7m7v024km66jrm2dcs4vdt0v"
	westRecipient     = "age15cswxs9gxaan0z8ma5cf23apgqzqeggcvl0jwgsxxqa7lh2pgyrsac592e"
	recoveryRecipient = "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
)

// TestInitTogether lays out one directory several times at once: each run finds what
// another has written, or writes it.
func TestInitTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			initialize(t, "flux", dir, "--cluster", "east="+eastRecipient, "--cluster", "west="+westRecipient, "--ci", demoRecipient, "--recovery", recoveryRecipient)
			return nil
		})
	}
	group.Wait() // there are no errors
	n := 0
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	})
	if err != nil || n != 12 {
		t.Errorf("there are %d files: %v", n, err)
	}
}

// TestInitInterrupted interrupts a run before it writes.
func TestInitInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stderr strings.Builder
	code := run(ctx, []string{"init", "flux", dir, "--cluster", "east=" + eastRecipient, "--cluster", "west=" + westRecipient, "--ci", demoRecipient, "--recovery", recoveryRecipient}, nil, io.Discard, &stderr)
	if code != exitFailed || stderr.String() != "clusterpair: interrupted; nothing was written\n" {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	if _, err := os.Stat(filepath.Dir(dir)); err == nil {
		t.Error("a directory is left")
	}
}

// initialize runs clusterpair init.
func initialize(t *testing.T, args ...string) {
	t.Helper()
	var stderr strings.Builder
	if code := run(context.Background(), append([]string{"init"}, args...), nil, io.Discard, &stderr); code != 0 {
		t.Errorf("init %s: exit code %d: %s", strings.Join(args, " "), code, &stderr)
	}
}
