package main

import (
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/project"
)

// TestStart: every command pays for what packages do before main. Ours make no more there
// than small tables; a regular expression, or a plan, is made when it is asked for.
func TestStart(t *testing.T) {
	const most = 12 << 10 // bytes of a package
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	found := regexp.MustCompile(`(?m)^init (`+regexp.QuoteMeta(project.Module())+`/\S+) @.* (\d+) bytes, \d+ allocs$`).FindAllStringSubmatch(string(out), -1)
	for _, m := range found {
		if bytes, err := strconv.Atoi(m[2]); err != nil || bytes > most && !strings.HasSuffix(m[1], "/cmd/clusterpair") {
			t.Errorf("%s makes %s bytes before main: make them when they are needed, as pattern.Later does", m[1], m[2])
		}
	}
	if len(found) < 10 {
		t.Errorf("only %d packages were found:\n%s", len(found), out)
	}
}

// TestCommands: a run makes the command that it names, and no other.
func TestCommands(t *testing.T) {
	for _, c := range commands {
		made := newRootCommand(io.Discard, []string{c.name, "--help"}).Commands()
		if names := slices.DeleteFunc(made, func(m *cobra.Command) bool { return m.Name() == "help" || m.Name() == "completion" }); len(names) != 1 || names[0].Name() != c.name {
			t.Errorf("%s: %v", c.name, names)
		}
	}
	if all := newRootCommand(io.Discard, []string{"help", "version"}).Commands(); len(all) != len(commands)+2 {
		t.Errorf("help knows %d commands", len(all))
	}
}
