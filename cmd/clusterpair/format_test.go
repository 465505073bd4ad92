package main

import (
	"strings"
	"testing"
)

// sops could not read the Secret again from a file of another name.
func TestCredentialFileNames(t *testing.T) {
	r := newRevocation(t, byPairs)
	if code, stderr := r.try("credential", "create", "-o", "west.conf", "--yes", "--kubeconfig", "admin.kubeconfig"); code != 1 || !strings.Contains(stderr, "[file-format]") || r.server.left() != "stork-old stork-new" {
		r.Errorf("exit %d, %q", code, stderr)
	}
}
