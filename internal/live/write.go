package live

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	sigsyaml "sigs.k8s.io/yaml"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// Formats are those of [Printer] and [Write]: only the first two, json and name are
// written row by row.
var Formats = []string{"table", "wide", "json", "yaml", "name"}

// Printer prints rows, each again when it has changed.
type Printer struct {
	w      io.Writer
	format string
	widths []int
	shown  map[string]string
}

// NewPrinter writes rows in one of the [Formats] but yaml.
func NewPrinter(w io.Writer, format string) *Printer {
	return &Printer{w: w, format: format, shown: make(map[string]string)}
}

// Pairs prints those pairs that it has not printed so before.
func (t *Printer) Pairs(pairs []*PairStatus) error {
	var rows [][]string
	for _, p := range pairs {
		row := t.row(p)
		line := strings.Join(row, "\t")
		if t.shown[p.ID()] == line {
			continue
		}
		t.shown[p.ID()] = line
		rows = append(rows, row)
	}
	if len(rows) > 0 && t.widths == nil && (t.format == "table" || t.format == "wide") {
		header := []string{"NAMESPACE", "NAME", "STORAGE-STATUS", "SCHEDULER-STATUS", "CREATED", "EXPIRES", "SYNCED", "VERDICT"}
		rows = slices.Insert(rows, 0, header[:len(rows[0])])
	}
	for _, row := range rows {
		for len(t.widths) < len(row) {
			t.widths = append(t.widths, 0)
		}
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], len(cell))
		}
	}
	w := bufio.NewWriter(t.w)
	for _, row := range rows {
		for i, cell := range row {
			if i == len(row)-1 {
				w.WriteString(cell + "\n")
			} else {
				fmt.Fprintf(w, "%-*s   ", t.widths[i], cell)
			}
		}
	}
	return w.Flush()
}

func (t *Printer) row(p *PairStatus) []string {
	switch t.format {
	case "name":
		return []string{"clusterpair.stork.libopenstorage.org/" + report.Printable(p.Name)}
	case "json":
		line, _ := report.JSON(jsonStatus(p), "") // made of texts alone
		return []string{strings.TrimSuffix(string(line), "\n")}
	}
	created, expires := "", ""
	if !p.Created.IsZero() {
		created = p.Created.Local().Format(time.RFC822)
	}
	row := []string{p.Namespace, p.Name, p.StorageStatus, p.SchedulerStatus, created}
	if t.format == "wide" {
		if expires = p.expiry(); p.End.State == kubeconfig.Known {
			expires = p.End.At.Local().Format(time.RFC822)
		}
		row = append(row, expires, p.Synced, p.Verdict())
	}
	for i, cell := range row {
		row[i] = report.Printable(cell)
	}
	return row
}

// expiry is a word for what is known of the end of the credential, empty if the
// pair is not there.
func (p *PairStatus) expiry() string {
	if p.Created.IsZero() {
		return ""
	}
	return p.End.State.String()
}

// statusJSON is a pair for programs: fields may come, but none goes or changes
// its meaning. All are always there; an empty text says that there is nothing
// to say.
type statusJSON struct {
	Namespace       string          `json:"namespace"`
	Name            string          `json:"name"`
	StorageStatus   string          `json:"storageStatus"`
	SchedulerStatus string          `json:"schedulerStatus"`
	Created         string          `json:"created"` // RFC 3339, like expires
	Expires         string          `json:"expires"`
	Expiry          string          `json:"expiry"`     // known, unknown or never
	Credential      string          `json:"credential"` // its kind
	Synced          string          `json:"synced"`
	Verdict         string          `json:"verdict"`
	Findings        []statusFinding `json:"findings"`
}

type statusFinding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Object   string `json:"object"`
	Path     string `json:"path"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
}

func jsonStatus(p *PairStatus) statusJSON {
	return statusJSON{
		Namespace: report.Printable(p.Namespace), Name: report.Printable(p.Name),
		StorageStatus: report.Printable(p.StorageStatus), SchedulerStatus: report.Printable(p.SchedulerStatus),
		Created: report.RFC3339(p.Created), Expires: report.RFC3339(p.End.At), Expiry: p.expiry(), Credential: string(p.End.Kind), Synced: p.Synced, Verdict: p.Verdict(), Findings: jsonFindings(p.Findings),
	}
}

func jsonFindings(findings []report.Finding) []statusFinding {
	out := make([]statusFinding, len(findings))
	for i, f := range findings {
		out[i] = statusFinding{f.Rule, f.Severity.String(), report.Printable(f.Object), report.Printable(f.Path), report.Printable(f.Message), report.Printable(f.Hint)}
	}
	return out
}

// Write writes, as json or yaml, {ready, items, findings}: all findings, also of pairs that
// were not asked for and stall the others.
func Write(w io.Writer, format string, pairs []*PairStatus, findings []report.Finding) error {
	out := struct {
		Ready    bool            `json:"ready"`
		Items    []statusJSON    `json:"items"`
		Findings []statusFinding `json:"findings"`
	}{!report.HasErrors(findings), make([]statusJSON, len(pairs)), jsonFindings(findings)}
	for i, p := range pairs {
		out.Items[i] = jsonStatus(p)
	}
	var data []byte
	var err error
	if format == "yaml" {
		data, err = sigsyaml.Marshal(out)
	} else {
		data, err = report.JSON(out, "  ")
	}
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}
