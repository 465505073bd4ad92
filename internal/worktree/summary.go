package worktree

import (
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
