package report

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// junitTest is a test in JUnit. One that neither failed nor was skipped has passed.
type junitTest struct {
	name            string
	failed, skipped bool
	rule, message   string // why it failed
	text            string // what there is to say, unless it has passed
}

// junitCounts sum tests up.
type junitCounts struct{ tests, failures, skipped int }

func (n *junitCounts) add(t junitTest) {
	n.tests++
	if t.failed {
		n.failures++
	} else if t.skipped {
		n.skipped++
	}
}

// junitBegin begins a report of suites, as Jenkins' schema has it.
func junitBegin(w *bufio.Writer, n junitCounts) {
	w.WriteString(xml.Header)
	fmt.Fprintf(w, `<testsuites name="clusterpair" tests="%d" failures="%d" errors="0">`+"\n", n.tests, n.failures)
}

// junitSuite writes a suite, test by test: all findings of a run take too much memory.
func junitSuite(w *bufio.Writer, name string, n junitCounts, tests iter.Seq[junitTest]) {
	fmt.Fprintf(w, `  <testsuite name=%s tests="%d" failures="%d" errors="0" skipped="%d">`+"\n", attr(name), n.tests, n.failures, n.skipped)
	for t := range tests {
		fmt.Fprintf(w, `    <testcase name=%s classname=%s`, attr(t.name), attr(name))
		switch {
		case t.failed:
			fmt.Fprintf(w, ">\n      <failure type=%s message=%s>%s</failure>\n    </testcase>\n", attr(t.rule), attr(t.message), text(t.text))
		case t.skipped:
			fmt.Fprintf(w, ">\n      <skipped>%s</skipped>\n    </testcase>\n", text(t.text))
		default:
			w.WriteString("/>\n")
		}
	}
	w.WriteString("  </testsuite>\n")
}

func junitEnd(w *bufio.Writer) { w.WriteString("</testsuites>\n") }

// writeJUnit writes a suite for each file. What fails the run is a failure. Any other
// finding, a waived one too, is a skipped test: CI systems list those with their text and
// stay green, while they hide what a passed test prints. A clean file has one test that
// passed.
func writeJUnit(w *bufio.Writer, r *Report) {
	var total junitCounts
	for _, findings := range r.byFile() {
		n := r.junitCounts(findings)
		total.tests, total.failures = total.tests+n.tests, total.failures+n.failures
	}
	junitBegin(w, total)
	for file, findings := range r.byFile() {
		suite := FileName(file)
		if file == "" {
			suite = "clusterpair"
		}
		junitSuite(w, suite, r.junitCounts(findings), r.junitTests(findings))
	}
	junitEnd(w)
}

func (r *Report) junitCounts(findings []Finding) junitCounts {
	var n junitCounts
	for _, f := range findings {
		failed := r.fails(f)
		n.add(junitTest{failed: failed, skipped: !failed})
	}
	n.tests = max(n.tests, 1)
	return n
}

// junitTests are the findings of a file.
func (r *Report) junitTests(findings []Finding) iter.Seq[junitTest] {
	return func(yield func(junitTest) bool) {
		if len(findings) == 0 {
			yield(junitTest{name: "no findings"})
			return
		}
		seen := make(map[string]int)
		of := Report{Findings: findings}
		for e := range of.entries() {
			t := junitTest{name: e.junitName(), failed: r.fails(e.Finding), rule: e.ruleName(), message: e.Message, text: e.lines(unpainted)}
			t.skipped = !t.failed
			if seen[t.name]++; seen[t.name] > 1 {
				t.name += fmt.Sprintf(" (%d)", seen[t.name])
			}
			if e.Waived != "" {
				t.text += "\n  waived: " + e.Waived
			}
			if !yield(t) {
				return
			}
		}
	}
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

// checkJUnit writes a suite for each thing, and a test for each check. As in validate's
// report a warning is a skipped test, which CI systems show.
type checkJUnit struct {
	w      io.Writer
	strict bool
	total  junitCounts
	suites []func(*bufio.Writer) // write one each
}

func (j *checkJUnit) Add(c Checked) {
	c.clean()
	var n junitCounts
	var tests []junitTest
	for _, c := range c.Checks {
		t := junitTest{name: c.Name, failed: c.Fails(j.strict), rule: cmp.Or(c.Rule, "clusterpair"), message: c.Text,
			text: strings.Join(append([]string{c.Text}, c.Details...), "\n")}
		t.skipped = !t.failed && c.Status != Passed
		if c.Hint != "" {
			t.text += "\nhint: " + c.Hint
		}
		n.add(t)
		j.total.add(t)
		tests = append(tests, t)
	}
	j.suites = append(j.suites, func(w *bufio.Writer) { junitSuite(w, c.Title, n, slices.Values(tests)) })
}

func (j *checkJUnit) End() error {
	w := bufio.NewWriter(j.w)
	junitBegin(w, j.total)
	for _, write := range j.suites {
		write(w)
	}
	junitEnd(w)
	return w.Flush()
}
