package main

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestNamespaceFlags: each command with a flag for a namespace says so of a name that no
// namespace can have, and does nothing.
func TestNamespaceFlags(t *testing.T) {
	const recipient = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	const clusters = "--cluster east=" + recipient + " --cluster west=" + recipient + " --ci " + recipient + " --recovery " + recipient
	// What a command needs besides, to come so far.
	more := map[string]string{
		"credential create": "-o a.yaml", "generate": "a --kubeconfig - --plaintext", "install": "--watch",
		"init argocd": "a " + strings.Replace(clusters, "west="+recipient, "west", 1), "init fleet": "a " + clusters, "init flux": "a " + clusters,
	}
	tried := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, below := range cmd.Commands() {
			visit(below)
		}
		path := strings.TrimPrefix(cmd.CommandPath(), "clusterpair ")
		if cmd.Flags().Lookup("namespace") == nil {
			return
		}
		tried++
		for _, name := range []string{"nope_bad", "Up", "a.b", "a/b", strings.Repeat("a", 64)} {
			t.Chdir(t.TempDir())
			var out, stderr strings.Builder
			code := run(t.Context(), slices.Concat(strings.Fields(path), strings.Fields(more[path]), []string{"-n", name}), strings.NewReader(""), &out, &stderr)
			if code != exitUsage || out.Len() > 0 || !strings.Contains(stderr.String(), "--namespace: ") && !strings.Contains(stderr.String(), "--namespace is ") {
				t.Errorf("%s -n %s: %d\n%s%s", path, name, code, &out, &stderr)
			}
		}
	}
	visit(newRootCommand(io.Discard, nil))
	if tried < 10 {
		t.Errorf("only %d commands were found", tried)
	}
}
