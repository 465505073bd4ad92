package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/cluster"
)

// checkFlags say how checks are printed and judged.
type checkFlags struct {
	format        string
	strict, quiet bool
}

var checkFormats = []string{"json", "junit", "text"}

func (o *checkFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.format, "output", "o", "text", "format: "+strings.Join(checkFormats, ", "))
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors alone, and no summary")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(checkFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
}

func (o *checkFlags) check() error {
	if !slices.Contains(checkFormats, o.format) {
		return usageError(withHint(fmt.Errorf("there is no format %q", o.format), "-o %s", strings.Join(checkFormats, "|")))
	}
	return nil
}

// fails tells whether a check is to end the command with [exitFindings].
func (o *checkFlags) fails(c cluster.Check) bool {
	return c.Status == cluster.Failed || o.strict && c.Status == cluster.Warning
}

// checked is a thing that was looked at: a destination, or a part of a
// repository.
type checked struct {
	title string // of its suite
	head  string // of its lines
	// json is the thing in JSON, with its checks.
	json   func(checks []jsonCheck) any
	checks []cluster.Check
}

// checkWriter writes what was checked in a format.
type checkWriter interface {
	add(checked)
	end() error
}

// newCheckWriter returns a writer for things that are called one, or more.
func newCheckWriter(w io.Writer, o checkFlags, one, more string) checkWriter {
	switch o.format {
	case "json":
		return &checkJSON{w: w, more: more, things: []any{}}
	case "junit":
		return &checkJUnit{w: w, flags: o}
	}
	return &checkText{w: w, quiet: o.quiet, one: one, more: more}
}

// checkCounts sum a run up.
type checkCounts struct{ things, errors, warnings, skipped int }

func (n *checkCounts) add(c checked) {
	n.things++
	for _, check := range c.checks {
		switch check.Status {
		case cluster.Failed:
			n.errors++
		case cluster.Warning:
			n.warnings++
		case cluster.Skipped:
			n.skipped++
		}
	}
}

func (n checkCounts) String() string {
	var found []string
	if n.errors > 0 {
		found = append(found, countOf(n.errors, "error", "errors"))
	}
	if n.warnings > 0 {
		found = append(found, countOf(n.warnings, "warning", "warnings"))
	}
	if n.skipped > 0 {
		found = append(found, fmt.Sprintf("%d skipped", n.skipped))
	}
	return cmp.Or(strings.Join(found, ", "), "all fine")
}

func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// checkText writes a line for each check below a line for the thing.
type checkText struct {
	w         io.Writer
	quiet     bool
	one, more string

	counts checkCounts
	err    error
}

func (t *checkText) add(c checked) {
	t.counts.add(c)
	b := bufio.NewWriter(t.w)
	head := c.head
	for _, c := range c.checks {
		if t.quiet && c.Status != cluster.Failed {
			continue
		}
		if head != "" {
			fmt.Fprintln(b, head)
			head = ""
		}
		line := fmt.Sprintf("  %-7s  %-14s  %s", c.Status, c.Name, c.Text)
		if c.Rule != "" {
			line += " [" + c.Rule + "]"
		}
		fmt.Fprintln(b, line)
		for _, detail := range c.Details {
			fmt.Fprintf(b, "%27s%s\n", "", detail)
		}
		if c.Hint != "" {
			fmt.Fprintf(b, "%27shint: %s\n", "", c.Hint)
		}
	}
	t.err = cmp.Or(t.err, b.Flush())
}

func (t *checkText) end() error {
	if t.quiet || t.err != nil {
		return t.err
	}
	_, err := fmt.Fprintf(t.w, "%s: %s\n", countOf(t.counts.things, t.one, t.more), t.counts)
	return err
}

// checkJSON writes all of them in one object.
type checkJSON struct {
	w      io.Writer
	more   string
	counts checkCounts
	things []any
}

// jsonCheck is a check in JSON. All fields are always there.
type jsonCheck struct {
	Check   string   `json:"check"`
	Status  string   `json:"status"` // ok, warning, error or skipped
	Text    string   `json:"text"`
	Details []string `json:"details"`
	Rule    string   `json:"rule"`
	Hint    string   `json:"hint"`
}

func (j *checkJSON) add(c checked) {
	j.counts.add(c)
	var checks []jsonCheck
	for _, c := range c.checks {
		checks = append(checks, jsonCheck{c.Name, string(c.Status), c.Text, append([]string{}, c.Details...), c.Rule, c.Hint})
	}
	j.things = append(j.things, c.json(checks))
}

func (j *checkJSON) end() error {
	var things, all bytes.Buffer
	encoder := json.NewEncoder(&things)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(j.things); err != nil {
		return err
	}
	n := j.counts
	out := fmt.Sprintf(`{"version":%q,"summary":{%q:%d,"errors":%d,"warnings":%d,"skipped":%d},%q:%s}`,
		version(), j.more, n.things, n.errors, n.warnings, n.skipped, j.more, &things)
	if err := json.Indent(&all, []byte(out), "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(j.w, &all)
	return err
}

// checkJUnit writes a suite for each thing, and a test for each check. As
// in validate's report a warning is a skipped test, which CI systems show.
type checkJUnit struct {
	w      io.Writer
	flags  checkFlags
	suites junitSuites
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitFailure `xml:"failure"`
	Skipped *string       `xml:"skipped"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func (j *checkJUnit) add(c checked) {
	s := junitSuite{Name: c.title}
	for _, c := range c.checks {
		one := junitCase{Name: c.Name, Class: s.Name}
		text := strings.Join(append([]string{c.Text}, c.Details...), "\n")
		if c.Hint != "" {
			text += "\nhint: " + c.Hint
		}
		switch {
		case j.flags.fails(c):
			one.Failure = &junitFailure{Type: cmp.Or(c.Rule, "clusterpair"), Message: c.Text, Text: text}
			s.Failures++
		case c.Status != cluster.OK:
			one.Skipped = &text
			s.Skipped++
		}
		s.Cases = append(s.Cases, one)
	}
	s.Tests = len(s.Cases)
	j.suites.Tests += s.Tests
	j.suites.Failures += s.Failures
	j.suites.Suites = append(j.suites.Suites, s)
}

func (j *checkJUnit) end() error {
	j.suites.Name = "clusterpair"
	if _, err := io.WriteString(j.w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(j.w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(&j.suites); err != nil {
		return err
	}
	_, err := io.WriteString(j.w, "\n")
	return err
}
