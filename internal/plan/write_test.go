package plan

import (
	"strings"
	"testing"
)

// TestMarkdownOfMany holds what a comment on a pull request takes, and that no text of a
// user ends a cell.
func TestMarkdownOfMany(t *testing.T) {
	changes := make([]Change, 203)
	for i := range changes {
		changes[i] = Change{Mark: "+", Source: "a|b", Pair: "apps/west", File: "rendered/apps/@west.yaml"}
	}
	var b strings.Builder
	if err := Write(&b, "markdown", []Config{{Name: "east", Created: 203}}, func() []Change { return changes }); err != nil {
		t.Fatal(err)
	}
	row := `| \+ | a\|b |  | apps/west |  | rendered/apps/&#64;west.yaml |` + "\n"
	if got := b.String(); strings.Count(got, row) != 200 || !strings.HasSuffix(got, row+"\nand 3 pairs more\n") || len(got) > 65536 {
		t.Error(got)
	}
}
