package report

import (
	"bufio"
	"bytes"
)

// jsonFinding is a finding in JSON. All fields are always there: an empty text
// or a zero says that there is none, or that it is not known.
type jsonFinding struct {
	Rule        string `json:"rule"`
	Severity    string `json:"severity"` // error, warning or info
	File        string `json:"file"`
	Line        int    `json:"line"`
	Column      int    `json:"column"`
	Path        string `json:"path"`
	Object      string `json:"object"`
	Message     string `json:"message"`
	Hint        string `json:"hint"`
	Waived      string `json:"waived"`      // the reason for which it does not count
	Fingerprint string `json:"fingerprint"` // unique in a report, and stable when lines move
}

// writeJSON writes {version, summary, findings} with one finding a line.
// Programs read it: fields may come, but none goes or changes its meaning.
func writeJSON(w *bufio.Writer, r *Report) {
	w.WriteString(`{"version": ` + JSONText(r.Version) + ",\n")
	w.WriteString(`"summary": ` + JSONText(r.summary()) + ",\n")
	w.WriteString(`"findings": `)
	list := jsonList{w: w}
	for e := range r.entries() {
		list.add(jsonFinding{
			Rule: e.Rule, Severity: e.Severity.String(),
			File: jsonName(e.Position.File), Line: e.Position.Line, Column: e.Position.Column,
			Path: e.Path, Object: e.Object, Message: e.Message, Hint: e.Hint, Waived: e.Waived, Fingerprint: e.fingerprint,
		})
	}
	list.end()
	w.WriteString("}\n")
}

// jsonList writes a JSON array, one element a line.
type jsonList struct {
	w   *bufio.Writer
	any bool
}

func (l *jsonList) add(v any) {
	if l.any {
		l.w.WriteString(",\n")
	} else {
		l.w.WriteString("[\n")
	}
	l.any = true
	l.w.WriteString(JSONText(v))
}

func (l *jsonList) end() {
	if l.any {
		l.w.WriteString("\n]")
	} else {
		l.w.WriteString("[]")
	}
}

// JSONText is v in JSON on one line. Every v here is made of strings, numbers
// and lists, which always can be encoded.
func JSONText(v any) string {
	text, err := JSON(v, "")
	if err != nil {
		panic(err)
	}
	return string(bytes.TrimSuffix(text, []byte("\n")))
}

// JSONSeparator stands before the i-th of values that are written one a line.
func JSONSeparator(i int) string {
	if i == 0 {
		return "\n"
	}
	return ",\n"
}
