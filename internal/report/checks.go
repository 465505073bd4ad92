package report

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Check is one thing that was looked at, and how it is.
type Check struct {
	// Name is the check's, in one word.
	Name string
	// Status tells how it went.
	Status Status
	// Text says what was found, in one line without any value of a credential.
	Text string
	// Details are lines that belong to the text.
	Details []string
	// Missing is the number of permissions that are needed, and not there.
	Missing int
	// Rule is that of the catalogue that is broken; empty if none is.
	Rule string
	// Hint is what to do about it; it may be empty.
	Hint string
}

// Fails tells whether a check fails a run: a strict run fails by a warning, too.
func (c Check) Fails(strict bool) bool {
	return c.Status == Failed || strict && c.Status == Warned
}

// Status is how a check went.
type Status string

// The statuses. A check that could not be made because another one failed is
// Skipped.
const (
	Passed  Status = "ok"
	Warned  Status = "warning"
	Failed  Status = "error"
	Skipped Status = "skipped"
)

// Checked is a thing that was looked at, with its checks: a destination, or a
// part of a repository.
type Checked struct {
	// Title is that of its suite in JUnit.
	Title string
	// Head is the line above its checks in text.
	Head string
	// JSON is the thing in JSON, given what is to stand there as its checks.
	JSON func(checks any) any
	// Checks are what was looked at, in order.
	Checks []Check
}

// CheckOptions say how checks are written.
type CheckOptions struct {
	// Format is one of [CheckFormats].
	Format string
	// Strict makes a warning a failure, too.
	Strict bool
	// Quiet is for text only: errors alone, and no summary.
	Quiet bool
	// One and More are what a thing is called, and several of them.
	One, More string
	// Version is that of clusterpair.
	Version string
}

// CheckFormats are the names of the formats in which checks are written, sorted.
func CheckFormats() []string { return []string{"json", "junit", "text"} }

// CheckWriter writes things that were looked at. Text is written thing by thing, the
// other formats at the end.
type CheckWriter interface {
	// Add takes the next thing. What does not print in its texts is escaped.
	Add(Checked)
	// End writes the rest, and returns the first error of any write.
	End() error
}

// NewCheckWriter returns a writer to w. A format that is none of [CheckFormats] is
// written as text.
func NewCheckWriter(w io.Writer, o CheckOptions) CheckWriter {
	switch o.Format {
	case "json":
		return &checkJSON{w: w, options: o, things: []any{}}
	case "junit":
		return &checkJUnit{w: w, strict: o.Strict}
	}
	return &checkText{w: w, options: o}
}

// clean makes all texts fit to be printed, each on its line.
func (c *Checked) clean() {
	c.Title, c.Head = Printable(c.Title), Printable(c.Head)
	for i := range c.Checks {
		c := &c.Checks[i]
		c.Text, c.Hint = Printable(c.Text), Printable(c.Hint)
		for k := range c.Details {
			c.Details[k] = Printable(c.Details[k])
		}
	}
}

// checkCounts sum a run up.
type checkCounts struct{ things, errors, warnings, skipped int }

func (n *checkCounts) add(c Checked) {
	n.things++
	for _, check := range c.Checks {
		switch check.Status {
		case Failed:
			n.errors++
		case Warned:
			n.warnings++
		case Skipped:
			n.skipped++
		}
	}
}

func (n checkCounts) String() string {
	var found []string
	if n.errors > 0 {
		found = append(found, Count(n.errors, "error", "errors"))
	}
	if n.warnings > 0 {
		found = append(found, Count(n.warnings, "warning", "warnings"))
	}
	if n.skipped > 0 {
		found = append(found, fmt.Sprintf("%d skipped", n.skipped))
	}
	return cmp.Or(strings.Join(found, ", "), "all fine")
}

// checkText writes a line for each check below a line for the thing.
type checkText struct {
	w       io.Writer
	options CheckOptions
	counts  checkCounts
	err     error
}

func (t *checkText) Add(c Checked) {
	c.clean()
	t.counts.add(c)
	b := bufio.NewWriter(t.w)
	head := c.Head
	for _, c := range c.Checks {
		if t.options.Quiet && c.Status != Failed {
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

func (t *checkText) End() error {
	if t.options.Quiet || t.err != nil {
		return t.err
	}
	_, err := fmt.Fprintf(t.w, "%s: %s\n", Count(t.counts.things, t.options.One, t.options.More), t.counts)
	return err
}

// checkJSON writes all of them in one object.
type checkJSON struct {
	w       io.Writer
	options CheckOptions
	counts  checkCounts
	things  []any
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

func (j *checkJSON) Add(c Checked) {
	c.clean()
	j.counts.add(c)
	var checks []jsonCheck
	for _, c := range c.Checks {
		checks = append(checks, jsonCheck{c.Name, string(c.Status), c.Text, append([]string{}, c.Details...), c.Rule, c.Hint})
	}
	j.things = append(j.things, c.JSON(checks))
}

func (j *checkJSON) End() error {
	things, err := JSON(j.things, "")
	if err != nil {
		return err
	}
	n := j.counts
	out := fmt.Sprintf(`{"version":%q,"summary":{%q:%d,"errors":%d,"warnings":%d,"skipped":%d},%q:%s}`,
		j.options.Version, j.options.More, n.things, n.errors, n.warnings, n.skipped, j.options.More, things)
	var all bytes.Buffer
	if err := json.Indent(&all, []byte(out), "", "  "); err != nil {
		return err
	}
	_, err = fmt.Fprintln(j.w, &all)
	return err
}
