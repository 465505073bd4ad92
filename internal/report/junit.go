package report

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"strings"
)

// writeJUnit writes a suite for each file, as Jenkins' schema has it. What
// fails the run is a failure. Any other finding, a waived one too, is a skipped
// test: CI systems list those with their text and stay green, while they hide
// what a passed test prints. A clean file has one test that passed.
func writeJUnit(w *bufio.Writer, r *Report) {
	total, failures := 0, 0
	for _, findings := range r.byFile() {
		tests, failed, _ := r.junitCounts(findings)
		total, failures = total+tests, failures+failed
	}
	w.WriteString(xml.Header)
	fmt.Fprintf(w, `<testsuites name="clusterpair" tests="%d" failures="%d" errors="0">`+"\n", total, failures)
	for file, findings := range r.byFile() {
		suite := FileName(file)
		if file == "" {
			suite = "clusterpair"
		}
		tests, failed, skipped := r.junitCounts(findings)
		fmt.Fprintf(w, `  <testsuite name=%s tests="%d" failures="%d" errors="0" skipped="%d">`+"\n", attr(suite), tests, failed, skipped)
		if len(findings) == 0 {
			fmt.Fprintf(w, `    <testcase name="no findings" classname=%s/>`+"\n", attr(suite))
		}
		seen := make(map[string]int)
		of := Report{Findings: findings}
		for e := range of.entries() {
			name := e.junitName()
			if seen[name]++; seen[name] > 1 {
				name += fmt.Sprintf(" (%d)", seen[name])
			}
			fmt.Fprintf(w, `    <testcase name=%s classname=%s>`+"\n", attr(name), attr(suite))
			lines := e.lines(unpainted)
			if e.Waived != "" {
				lines += "\n  waived: " + e.Waived
			}
			if r.fails(e.Finding) {
				fmt.Fprintf(w, "      <failure type=%s message=%s>%s</failure>\n", attr(e.ruleName()), attr(e.Message), text(lines))
			} else {
				fmt.Fprintf(w, "      <skipped>%s</skipped>\n", text(lines))
			}
			w.WriteString("    </testcase>\n")
		}
		w.WriteString("  </testsuite>\n")
	}
	w.WriteString("</testsuites>\n")
}

func (r *Report) junitCounts(findings []Finding) (tests, failures, skipped int) {
	for _, f := range findings {
		if r.fails(f) {
			failures++
		} else {
			skipped++
		}
	}
	return max(len(findings), 1), failures, skipped
}

// junitName stays the same when lines move, so that CI systems know a test
// again.
func (e entry) junitName() string {
	name := e.ruleName()
	if e.Object != "" {
		name += " " + e.Object
	}
	if e.Path != "" {
		name += " " + e.Path
	}
	return name
}

func attr(s string) string { return `"` + text(s) + `"` }

func text(s string) string {
	var b strings.Builder
	// A strings.Builder takes all.
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
