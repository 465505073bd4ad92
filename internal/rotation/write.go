package rotation

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
)

// Formats are those of [Write].
func Formats() []string { return []string{"table", "json"} }

// Write writes how far rotations have come.
func Write(w io.Writer, format string, all []*Destination) error {
	text := []byte(Table(all))
	if format == "json" {
		var err error
		if text, err = json(all); err != nil {
			return err
		}
	}
	_, err := w.Write(text)
	return err
}

// Table is a line for each destination, and below it why it is not further.
func Table(all []*Destination) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "DESTINATION\tSTEP\tTOKENS\tSYNCED\tENDS\tFILE\n")
	for _, d := range all {
		tokens, synced, ends := "-", "-", "never"
		if d.Err == nil {
			tokens, synced = fmt.Sprint(1+len(d.Old)), fmt.Sprintf("%d/%d", d.Synced, d.Sources)
		}
		if !d.Expires.IsZero() {
			ends = d.Expires.UTC().Format("2006-01-02 15:04")
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", report.Printable(d.Cluster), d.Step, tokens, synced, ends, report.FileName(d.Path))
	}
	_ = t.Flush() // a Builder takes all
	for _, d := range all {
		for _, line := range d.reasons() {
			fmt.Fprintf(&b, "%s: %s\n", report.Printable(d.Cluster), line)
		}
		if next := d.Next(); next != "" {
			fmt.Fprintf(&b, "  hint: %s\n", next)
		}
	}
	return b.String()
}

// reasons are why a rotation is not further.
func (d *Destination) reasons() []string {
	var lines []string
	switch {
	case d.Err != nil:
		lines = append(lines, report.Printable(d.Err.Error()))
	case d.Step == Syncing || d.Step == Draining:
		for _, w := range d.Waiting {
			lines = append(lines, report.Printable(w.String()))
		}
		lines = report.Few(lines)
	case d.Reason != "":
		lines = append(lines, report.Printable(d.Reason))
	}
	if n := len(d.Orphans); n > 0 {
		lines = append(lines, report.Count(n, "token is", "tokens are")+" there that a killed run has left")
	}
	for _, t := range d.Elsewhere {
		lines = append(lines, fmt.Sprintf("token %s, made on %s, is in no file here: somebody may have it in another work tree or branch", report.Printable(t.Name), t.Created.UTC().Format(time.DateOnly)))
	}
	return lines
}

// Next is what to do next, empty if there is nothing.
func (d *Destination) Next() string {
	if d.Err != nil {
		return hintOf(d.Err)
	}
	switch d.Step {
	case Due, Proven:
		return "clusterpair credential rotate --fleet " + report.Typed(d.Path)
	case Stale:
		return "clusterpair generate"
	case Rendered:
		return "commit and push what was rendered: git status"
	case Syncing:
		return "let Flux or Argo CD sync; of a source that cannot be asked: clusterpair credential rotate --fleet " + report.Typed(d.Path) + " --assume-synced SOURCE"
	case Draining:
		return "wait for these Migrations: clusterpair credential rotate --fleet " + report.Typed(d.Path) + " --wait"
	}
	return ""
}

// hintOf is the next step that an error names, a cluster's own too.
func hintOf(err error) string {
	if refused := (*cluster.Error)(nil); errors.As(err, &refused) && refused.Hint != "" {
		return refused.Hint
	}
	return report.HintOf(err)
}

// json is a list: fields may come, but none goes or changes its meaning.
func json(all []*Destination) ([]byte, error) {
	type waiting struct {
		Source string `json:"source"`
		Object string `json:"object"`
		Reason string `json:"reason"`
		Known  bool   `json:"known"`
	}
	type item struct {
		Destination string    `json:"destination"`
		File        string    `json:"file"`
		Step        Step      `json:"step"`
		Reason      string    `json:"reason"`
		Expires     string    `json:"expires"` // RFC 3339; empty for never
		Token       string    `json:"token"`   // the Secret with which it lives
		Earlier     []string  `json:"earlier"` // those of earlier tokens that still work
		Orphans     []string  `json:"orphans"`
		Elsewhere   []string  `json:"elsewhere"`
		Sources     int       `json:"sources"`
		Synced      int       `json:"synced"`
		Waiting     []waiting `json:"waiting"`
		Next        string    `json:"next"`
	}
	items := make([]item, len(all))
	for i, d := range all {
		it := item{Destination: d.Cluster, File: d.Path, Step: d.Step, Reason: d.Reason, Expires: report.RFC3339(d.Expires), Token: d.Secret,
			Earlier: []string{}, Orphans: []string{}, Elsewhere: []string{}, Sources: d.Sources, Synced: d.Synced, Waiting: []waiting{}, Next: d.Next()}
		if d.Err != nil {
			it.Reason = d.Err.Error()
		}
		for _, t := range d.Old {
			it.Earlier = append(it.Earlier, t.Name)
		}
		for _, t := range d.Orphans {
			it.Orphans = append(it.Orphans, t.Name)
		}
		for _, t := range d.Elsewhere {
			it.Elsewhere = append(it.Elsewhere, t.Name)
		}
		for _, w := range d.Waiting {
			it.Waiting = append(it.Waiting, waiting(w))
		}
		items[i] = it
	}
	return report.JSON(items, "  ")
}
