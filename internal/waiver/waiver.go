// Package waiver reads the comments by which a manifest waives rules.
//
// [Find] reads those of a file. [Apply] waives findings by them.
package waiver

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Waiver is a comment "# clusterpair:ignore RULE reason". Behind a value it holds for
// that line. On a line of its own it holds for the next line that is no comment; above
// the first line of a document it holds for the whole document.
type Waiver struct {
	rule, reason string
	line, column int // of the comment
	// from and to are the lines for which it holds.
	from, to int
	used     bool
	firm     string // where a finding stands for which no waiver holds
}

const ignore = "clusterpair:ignore"

// Find reads the waivers in the comments of a file.
func Find(data []byte) []Waiver {
	if !bytes.Contains(data, []byte(ignore)) {
		return nil
	}
	lines := strings.Split(string(data), "\n")
	var waivers, pending []Waiver
	start, inDocument := 1, false
	for i, line := range lines {
		number, line := i+1, strings.TrimRight(line, "\r")
		text := strings.TrimLeft(line, " \t")
		w, ok := parse(line)
		w.line = number
		switch {
		case startsDocument(line):
			waivers, pending = append(waivers, pending...), nil // those waive nothing
			start, inDocument = number, false
			if ok {
				pending = append(pending, w)
			}
		case text == "":
		case strings.HasPrefix(text, "#"):
			if ok {
				pending = append(pending, w)
			}
		default:
			if ok {
				w.from, w.to = number, number
				waivers = append(waivers, w)
			}
			from, to := number, number
			if !inDocument && len(pending) > 0 {
				from, to = start, documentEnd(lines, number)
			}
			for _, w := range pending {
				w.from, w.to = from, to
				waivers = append(waivers, w)
			}
			pending, inDocument = nil, true
		}
	}
	return append(waivers, pending...)
}

// parse reads the waiver on a line.
func parse(line string) (w Waiver, ok bool) {
	i := strings.LastIndex(line, "#")
	for i > 0 && line[i-1] != ' ' && line[i-1] != '\t' {
		i = strings.LastIndex(line[:i], "#")
	}
	if i < 0 {
		return w, false
	}
	words, ok := strings.CutPrefix(strings.TrimLeft(line[i+1:], " \t"), ignore)
	w.column = i + 1
	w.rule, w.reason, _ = strings.Cut(strings.TrimSpace(words), " ")
	w.reason = strings.TrimSpace(w.reason)
	return w, ok
}

func startsDocument(line string) bool { return line == "---" || strings.HasPrefix(line, "--- ") }

// documentEnd is the last line of the document in which a line stands.
func documentEnd(lines []string, number int) int {
	for number < len(lines) && !startsDocument(strings.TrimRight(lines[number], "\r")) {
		number++
	}
	return number
}

// Apply waives findings by the waivers of files, by the name of the file. wrong is what is
// wrong with these; judged says whether the run has looked for breaches of a rule.
func Apply(findings []report.Finding, waivers map[string][]Waiver, judged func(report.Rule) bool) (wrong []report.Finding) {
	type breach struct{ file, rule string }
	all := make(map[breach][]*report.Finding) // in the order of their lines
	for i := range findings {
		g := &findings[i]
		if of := (breach{g.Position.File, g.Rule}); len(waivers[of.file]) > 0 {
			all[of] = append(all[of], g)
		}
	}
	for _, found := range all {
		slices.SortStableFunc(found, func(a, b *report.Finding) int { return cmp.Compare(a.Position.Line, b.Position.Line) })
	}
	for file, waivers := range waivers {
		for i := range waivers {
			w := &waivers[i]
			if w.reason != "" && report.Waivable(w.rule) {
				w.apply(all[breach{file, w.rule}])
			}
			if finding, ok := w.wrong(file, judged); ok {
				wrong = append(wrong, finding)
			}
		}
	}
	return wrong
}

// apply waives those of the breaches of its rule that stand in the lines for which it holds.
func (w *Waiver) apply(breaches []*report.Finding) {
	first, _ := slices.BinarySearchFunc(breaches, w.from, func(g *report.Finding, line int) int { return cmp.Compare(g.Position.Line, line) })
	for _, g := range breaches[first:] {
		switch {
		case g.Position.Line > w.to:
			return
		case g.Firm:
			w.firm = g.Position.String()
		default:
			g.Waived, w.used = w.reason, true
		}
	}
}

// wrong finds what is wrong with a waiver that was applied.
func (w *Waiver) wrong(file string, judged func(report.Rule) bool) (f report.Finding, found bool) {
	f = report.Finding{Rule: "waiver", Severity: report.Error, Position: report.Position{File: file, Line: w.line, Column: w.column}}
	rule, _ := report.RuleOf(w.rule)
	switch {
	case w.rule == "":
		f.Message, f.Hint = "the waiver names no rule", "# clusterpair:ignore RULE REASON"
	case rule.Waivable == "":
		f.Message, f.Hint = Refused(w.rule)
	case w.reason == "":
		f.Message, f.Hint = fmt.Sprintf("the waiver of %s gives no reason", w.rule), fmt.Sprintf("# clusterpair:ignore %s REASON", w.rule)
	case w.firm != "":
		f.Severity = report.Warning
		f.Message, f.Hint = Idle(w.rule, w.firm)
	case !w.used && judged(rule):
		f.Severity, f.Message, f.Hint = report.Warning, fmt.Sprintf("the waiver of %s waives nothing", w.rule), "remove it, or move it above the line that it is meant for"
	default:
		return f, false
	}
	return f, true
}

// Refused says why a rule is none that can be waived.
func Refused(rule string) (message, hint string) {
	if _, known := report.RuleOf(rule); known {
		return rule + " cannot be waived: its breach stops Stork, hands out the credential or can never work", "remove the waiver, and mend what it was for"
	}
	hint = "as findings show it in brackets"
	if near := report.Nearest(rule, report.RuleIDs()); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return fmt.Sprintf("there is no rule %.80q", rule), hint
}

// Idle says that a waiver does not hold for a breach of its rule.
func Idle(rule, at string) (message, hint string) {
	return fmt.Sprintf("the waiver of %s does not hold for what can never work, as at %s", rule, at), "mend it there"
}
