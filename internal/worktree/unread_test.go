package worktree

import (
	"errors"
	"os"
	"testing"

	"clusterpair.dev/internal/report"
)

func TestUnread(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.MkdirAll("secrets/old", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"secrets/west.yaml", "a file"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("nothing", "link"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]string{
		"secrets/wst.yaml":       {"read secrets/wst.yaml: no such file or directory", "did you mean secrets/west.yaml?"},
		"secrets/other.json":     {"read secrets/other.json: no such file or directory", "see what is there: ls secrets"},
		"none/below/x.yaml":      {"read none/below/x.yaml: no such file or directory", "see what is there: ls ."},
		"secrets/west.yaml/x":    {"read secrets/west.yaml/x: not a directory", "see what is there: ls secrets/west.yaml"},
		"link":                   {"read link: no such file or directory", "it is a link to nothing: readlink link"},
		"secrets":                {"read secrets: is a directory, not a file", "name a file in it: ls secrets"},
		"a fil":                  {"read a fil: no such file or directory", "did you mean 'a file'?"},
		"/nowhere/at/all/x.yaml": {"read /nowhere/at/all/x.yaml: no such file or directory", "see what is there: ls /"},
	} {
		_, err := os.ReadFile(path)
		err = Unread(path, err)
		var hinted *report.HintedError
		if !errors.As(err, &hinted) || err.Error() != want[0] || hinted.Hint != want[1] {
			t.Errorf("%s: %v, %+v", path, err, hinted)
		}
	}
	if err := Unread("x", os.ErrNotExist); !errors.Is(err, os.ErrNotExist) {
		t.Error("the reason is lost")
	}
}
