package report

import (
	"bufio"
	"fmt"
	"strings"
)

// writeGitHub writes workflow commands, which GitHub shows at the lines of a
// pull request, and the summary. It shows ten of a kind; as the log leaves out
// where a command points to, each message says it, too.
// https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
func writeGitHub(w *bufio.Writer, r *Report) {
	for e := range r.open() {
		var properties []string
		property := func(name, value string) {
			properties = append(properties, name+"="+githubProperty.Replace(value))
		}
		if e.Position.File != "" {
			property("file", FileName(cleanName(e.Position.File)))
		}
		if e.Position.Line > 0 {
			property("line", fmt.Sprint(e.Position.Line))
		}
		if e.Position.Column > 0 {
			property("col", fmt.Sprint(e.Position.Column))
		}
		property("title", "clusterpair "+e.ruleName())
		fmt.Fprintf(w, "::%s %s::%s\n", githubCommand(e.Severity), strings.Join(properties, ","), githubData.Replace(e.lines(unpainted)))
	}
	w.WriteString(r.summary().String() + "\n")
}

func githubCommand(s Severity) string {
	if s == Info {
		return "notice"
	}
	return s.String()
}

// The runner takes these back, and nothing else.
// https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts
var (
	githubData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	githubProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)
