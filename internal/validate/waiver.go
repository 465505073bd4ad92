package validate

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// waiver is a comment "# clusterpair:ignore RULE reason". Behind a value it holds for
// that line. On a line of its own it holds for the next line that is no comment; above
// the first line of a document it holds for the whole document.
type waiver struct {
	rule, reason string
	line, column int // of the comment
	// from and to are the lines for which it holds.
	from, to int
	used     bool
	firm     string // where a finding stands for which no waiver holds
}

const ignore = "clusterpair:ignore"

// findWaivers reads the waivers in the comments of a file.
func findWaivers(f File) []waiver {
	if !bytes.Contains(f.Data, []byte(ignore)) {
		return nil
	}
	lines := strings.Split(string(f.Data), "\n")
	var waivers, pending []waiver
	start, inDocument := 1, false
	for i, line := range lines {
		number, line := i+1, strings.TrimRight(line, "\r")
		text := strings.TrimLeft(line, " \t")
		w, ok := parseWaiver(line)
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

// parseWaiver reads the waiver on a line.
func parseWaiver(line string) (w waiver, ok bool) {
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

// applyWaivers waives findings and judges the waivers.
func (v *Validator) applyWaivers() {
	type breach struct{ file, rule string }
	all := make(map[breach][]int) // the findings, in the order of their lines
	for i, g := range v.findings {
		if of := (breach{g.Position.File, g.Rule}); len(v.waivers[of.file]) > 0 {
			all[of] = append(all[of], i)
		}
	}
	for _, found := range all {
		slices.SortStableFunc(found, func(i, j int) int { return cmp.Compare(v.findings[i].Position.Line, v.findings[j].Position.Line) })
	}
	for file, waivers := range v.waivers {
		for i := range waivers {
			w := &waivers[i]
			if w.reason == "" || !report.Waivable(w.rule) {
				continue
			}
			found := all[breach{file, w.rule}]
			first, _ := slices.BinarySearchFunc(found, w.from, func(i, line int) int { return cmp.Compare(v.findings[i].Position.Line, line) })
			for _, j := range found[first:] {
				g := &v.findings[j]
				if g.Position.Line > w.to {
					break
				}
				if g.Firm {
					w.firm = g.Position.String()
				} else {
					g.Waived, w.used = w.reason, true
				}
			}
		}
		for _, w := range waivers {
			if finding, ok := v.judgeWaiver(w, file); ok && v.counts("waiver") {
				v.findings = append(v.findings, finding)
			}
		}
	}
}

// judgeWaiver finds what is wrong with a waiver.
func (v *Validator) judgeWaiver(w waiver, file string) (report.Finding, bool) {
	f := report.Finding{Rule: "waiver", Severity: report.Error, Position: report.Position{File: file, Line: w.line, Column: w.column}}
	rule, known := report.RuleOf(w.rule)
	switch {
	case w.rule == "":
		f.Message, f.Hint = "the waiver names no rule", "# clusterpair:ignore RULE REASON"
	case !known:
		f.Message, f.Hint = unknownRule(w.rule)
	case rule.Waivable == "":
		f.Message, f.Hint = unwaivable(w.rule)
	case w.reason == "":
		f.Message, f.Hint = fmt.Sprintf("the waiver of %s gives no reason", w.rule), fmt.Sprintf("# clusterpair:ignore %s REASON", w.rule)
	case w.firm != "":
		f.Severity = report.Warning
		f.Message, f.Hint = notWaived(w.rule, w.firm)
	case !w.used && v.judged(rule):
		f.Severity, f.Message, f.Hint = report.Warning, fmt.Sprintf("the waiver of %s waives nothing", w.rule), "remove it, or move it above the line that it is meant for"
	default:
		return f, false
	}
	return f, true
}

// judged tells whether the run has looked for breaches of a rule.
func (v *Validator) judged(r report.Rule) bool {
	return v.counts(r.ID) && (r.Needs != report.Plaintext || v.options.Decrypt != nil || v.options.Plaintext) && (r.Needs != report.Run || !v.options.Partial)
}

func (f *fileRun) refuseWaiver(at *yaml.Node, rule string) {
	message, hint := unwaivable(rule)
	if _, known := report.RuleOf(rule); !known {
		message, hint = unknownRule(rule)
	}
	f.add(at, "metadata.annotations", "waiver", report.Error, message, hint)
}

func unknownRule(rule string) (message, hint string) {
	message, hint = fmt.Sprintf("there is no rule %s", quote(rule)), "as findings show it in brackets"
	if near := report.Nearest(rule, report.RuleIDs()); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return message, hint
}

// notWaived says that a waiver does not hold for a breach of its rule.
func notWaived(rule, at string) (message, hint string) {
	return fmt.Sprintf("the waiver of %s does not hold for what can never work, as at %s", rule, at), "mend it there"
}

func unwaivable(rule string) (message, hint string) {
	return fmt.Sprintf("%s cannot be waived: its breach stops Stork, hands out the credential or can never work", rule), "remove the waiver, and mend what it was for"
}
