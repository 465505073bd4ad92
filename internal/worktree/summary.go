package worktree

import (
	"fmt"
	"strings"

	"clusterpair.dev/internal/report"
)

// Summary is what a run does to files.
type Summary struct {
	Created, Changed, Removed, Unchanged int
	// Fresh are those of the unchanged whose values were not compared.
	Fresh int
	// List has a line for each file that does not stay as it is.
	List string
}

// Counts are the numbers on one line. Is the run dry, they would be so.
func (s Summary) Counts(dry bool) string {
	would, fresh := "", ""
	if dry {
		would = "would be "
	}
	if s.Fresh > 0 {
		fresh = fmt.Sprintf(", %d of them fresh (not opened)", s.Fresh)
	}
	return fmt.Sprintf("%s%d created, %d changed, %d removed, %d unchanged%s", would, s.Created, s.Changed, s.Removed, s.Unchanged, fresh)
}

// Summarize sums up what happens to the files of stages, in their order.
func Summarize(stages ...*Stage) Summary {
	var s Summary
	var list strings.Builder
	count := map[string]*int{Created: &s.Created, Changed: &s.Changed, Removed: &s.Removed}
	for _, w := range stages {
		s.Unchanged, s.Fresh = s.Unchanged+w.Unchanged(), s.Fresh+w.Fresh()
		for _, c := range w.Changes() {
			*count[c.Verb]++
			report.Say(&list, "%s %s\n", c.Verb, w.Show(c.Path))
		}
	}
	s.List = list.String()
	return s
}
