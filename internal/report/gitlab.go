package report

import "bufio"

// gitlabFinding is an entry of a Code Quality report, with all that GitLab asks for.
// https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format
type gitlabFinding struct {
	Description string         `json:"description"`
	CheckName   string         `json:"check_name"`
	Fingerprint string         `json:"fingerprint"`
	Severity    string         `json:"severity"`
	Location    gitlabLocation `json:"location"`
}

type gitlabLocation struct {
	Path  string      `json:"path"`
	Lines gitlabLines `json:"lines"`
}

type gitlabLines struct {
	Begin int `json:"begin"`
}

// writeGitLab writes a Code Quality report. GitLab shows no entry without a
// line: where it is not known, it is the first.
func writeGitLab(w *bufio.Writer, r *Report) {
	list := jsonList{w: w}
	for e := range r.open() {
		list.add(gitlabFinding{
			Description: e.withHint(),
			CheckName:   e.ruleName(),
			Fingerprint: e.fingerprint,
			Severity:    gitlabSeverity(e.Severity),
			Location:    gitlabLocation{Path: jsonName(cleanName(e.Position.File)), Lines: gitlabLines{Begin: max(e.Position.Line, 1)}},
		})
	}
	list.end()
	w.WriteByte('\n')
}

func gitlabSeverity(s Severity) string {
	switch s {
	case Error:
		return "critical"
	case Warning:
		return "minor"
	default:
		return "info"
	}
}
