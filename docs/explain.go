package docs

import (
	"strings"

	"clusterpair.dev/internal/report"
)

// Explain is a rule's section of the page of its group, as a terminal shows it:
// examples are indented, and code spans and headings bare. A link to the section
// follows.
func Explain(id string) string {
	rule, _ := report.RuleOf(id)
	_, section, _ := strings.Cut(Rules(rule.Page()), "\n## "+id+"\n")
	if i := strings.Index(section, "\n## "); i >= 0 {
		section = section[:i]
	}
	return id + "\n" + Plain(section) + "\n" + rule.URL() + "\n"
}

// Plain is Markdown for a terminal: without the marks of blocks and of code spans.
// Blocks are indented.
func Plain(markdown string) string {
	var b strings.Builder
	fenced := false
	for line := range strings.Lines(markdown) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			fenced = !fenced
			continue
		case fenced && line != "":
			line = "  " + line
		case !fenced:
			line = report.Plain(line)
		}
		b.WriteString(line + "\n")
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
