// Package expiring tells when the credentials of committed ClusterPairs end.
//
// [Read] takes files, or [Set.Add] document by document; the ends are sorted, of which
// [Select] takes those that matter. [Write] writes them in one of the [Formats]. No
// document need be decrypted: its annotations tell, see [kubeconfig.ReadEnd].
package expiring

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
	"unique"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// Holder is an object that holds a credential, and the file in which it stands.
type Holder struct {
	Kind, Namespace, Name, File string
}

// End is when the credential of a committed object ends.
type End struct {
	Holder
	kubeconfig.End
}

// By tells whether the credential, or the CA behind which it works, is known to
// end until a time.
func (e End) By(t time.Time) bool {
	at, _ := e.First()
	return !at.IsZero() && !at.After(t)
}

// Set collects the ends that documents tell. The zero value is empty; several
// goroutines may add to it.
type Set struct {
	mu    sync.Mutex
	found []End
	bad   []report.Finding
}

// Read finds the ends in files of a source, the first first, and what is wrong with them.
// Without paths it reads all below the working directory.
func Read(ctx context.Context, source gitfiles.Source, paths []string) ([]End, []report.Finding, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var found Set
	broken, err := holders.Each(ctx, source, paths, found.Add)
	if err != nil {
		return nil, nil, err
	}
	for _, f := range broken {
		f.Severity, f.Message = report.Warning, f.Message+": when its credentials end is not known"
		found.bad = append(found.bad, f)
	}
	return found.Ends(), found.Findings(), nil
}

// Add takes in a document of a file. One without a name is a template, or a patch of
// others, and is left out. Of two of the same name in a file the earlier end counts.
// Nothing of the document is kept.
func (s *Set) Add(file string, doc *yaml.Node) {
	text := func(keys ...string) string { return unique.Make(manifest.Text(doc, keys...)).Value() } // many are the same
	o := Holder{Kind: text("kind"), Namespace: text("metadata", "namespace"), Name: text("metadata", "name"), File: file}
	if o.Name == "" {
		return
	}
	e, err := kubeconfig.ReadEnd(func(annotation string) string { return manifest.Text(doc, "metadata", "annotations", annotation) })
	s.mu.Lock()
	defer s.mu.Unlock()
	var annotation *kubeconfig.AnnotationError
	if errors.As(err, &annotation) {
		at := manifest.Field(doc, "metadata", "annotations", annotation.Annotation)
		s.bad = append(s.bad, report.Finding{Rule: "value-type", Severity: report.Error, Position: manifest.Position(at, file),
			Message: annotation.Error(), Hint: "render the pair anew: clusterpair generate -f CONFIG"})
		return
	}
	s.found = append(s.found, End{o, e})
}

// Findings are the annotations that make no sense. Their objects are not among the
// [Set.Ends].
func (s *Set) Findings() []report.Finding { return s.bad }

// Ends are the ends in order: what is known to end comes first, then what may end,
// then what never does.
func (s *Set) Ends() []End {
	slices.SortFunc(s.found, func(a, b End) int {
		return cmp.Or(strings.Compare(a.File, b.File), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.Holder.Kind, b.Holder.Kind), compare(a.End, b.End))
	})
	s.found = slices.CompactFunc(s.found, func(a, b End) bool { return a.Holder == b.Holder })
	slices.SortFunc(s.found, func(a, b End) int {
		return cmp.Or(compare(a.End, b.End), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
	return s.found
}

// Nothing says why none of all ends is shown: of so many nothing tells when, and within is
// what was asked for.
func Nothing(all, unknown int, within string) string {
	switch {
	case all == 0:
		return "No ClusterPairs found."
	case within == "":
		return "Of each credential it is known when it ends."
	case unknown > 0:
		return "Nothing is known to end within " + within + "."
	}
	return "Nothing ends within " + within + "."
}

// Select takes out the ends that are known to come until a time, and, if unknown, those
// of which nothing tells when they come. hidden is the number of the latter that it
// leaves out. A zero time is for unknown ends alone.
func Select(all []End, until time.Time, unknown bool) (ends []End, hidden int) {
	ends = make([]End, 0, len(all))
	for _, e := range all {
		switch soon := !until.IsZero() && e.By(until); {
		case soon, unknown && e.State == kubeconfig.Unknown:
			ends = append(ends, e)
		case e.State == kubeconfig.Unknown:
			hidden++
		}
	}
	return ends, hidden
}

// compare is negative if a comes before b: what is known to end comes first,
// then what may end, then what never does.
func compare(a, b kubeconfig.End) int {
	rank := [...]int{kubeconfig.Known: 0, kubeconfig.Unknown: 1, kubeconfig.Never: 2}
	return cmp.Or(cmp.Compare(rank[a.State], rank[b.State]), a.At.Compare(b.At))
}

// Formats are the names of the formats that [Write] knows. The first is for people.
func Formats() []string { return []string{"table", "json", "ics", "prometheus"} }

// Write writes ends in one of the [Formats], as of now. A table notes which CA ends
// until horizon, and is empty if there are no ends.
func Write(w io.Writer, format string, ends []End, now, horizon time.Time) error {
	buffered := bufio.NewWriter(w)
	switch format {
	case "json":
		writeJSON(buffered, ends)
	case "ics":
		writeCalendar(buffered, ends, now)
	case "prometheus":
		writeMetrics(buffered, ends)
	default:
		writeTable(buffered, ends, now, horizon)
	}
	return buffered.Flush()
}

// writeTable writes a table. A note says how an end is known, or why not.
func writeTable(w *bufio.Writer, ends []End, now, horizon time.Time) {
	if len(ends) == 0 {
		return
	}
	row := func(e End) []string {
		expires, in := e.State.String(), ""
		if e.State == kubeconfig.Known {
			expires, in = report.RFC3339(e.At), remaining(e.At.Unix()-now.Unix())
		}
		cells := []string{report.Printable(e.Namespace), report.Printable(e.Name), expires, in, report.FileName(e.File)}
		if note := e.note(horizon); note != "" {
			cells = append(cells, "# "+report.Printable(note))
		}
		return cells
	}
	// The widths are found first, so that no row need be kept.
	head := []string{"NAMESPACE", "NAME", "EXPIRES", "IN", "FILE"}
	widths := make([]int, len(head))
	widen := func(cells []string) {
		for i := range min(len(cells)-1, len(widths)) { // the last has nothing behind it
			widths[i] = max(widths[i], utf8.RuneCountInString(cells[i]))
		}
	}
	widen(head)
	for _, e := range ends {
		widen(row(e))
	}
	write := func(cells []string) {
		for i, cell := range cells {
			w.WriteString(cell)
			if i < len(cells)-1 {
				fmt.Fprintf(w, "%*s", widths[i]+3-utf8.RuneCountInString(cell), "")
			}
		}
		w.WriteByte('\n')
	}
	write(head)
	for _, e := range ends {
		write(row(e))
	}
}

// note says how the end is known, or why not, and that the CA ends by a time.
func (e End) note(horizon time.Time) string {
	why := e.Why()
	if e.State != kubeconfig.Known && e.By(horizon) {
		why = strings.TrimPrefix(why+"; the CA ends on "+report.RFC3339(e.CA), "; ")
	}
	return why
}

// remaining is a time in the unit that matters.
func remaining(seconds int64) string {
	const minute, hour, day = 60, 60 * 60, 24 * 60 * 60
	switch {
	case seconds <= 0:
		return "ended"
	case seconds < 2*hour:
		return fmt.Sprintf("%dm", seconds/minute)
	case seconds < 2*day:
		return fmt.Sprintf("%dh", seconds/hour)
	default:
		return fmt.Sprintf("%dd", seconds/day)
	}
}

// writeJSON writes a list: fields may come, but none goes or changes its
// meaning. Without expires the credential does not end, or nothing tells when:
// expiry says which.
func writeJSON(w *bufio.Writer, ends []End) {
	type item struct {
		Kind       string `json:"kind"`
		Namespace  string `json:"namespace"`
		Name       string `json:"name"`
		Expires    string `json:"expires"`    // RFC 3339
		Expiry     string `json:"expiry"`     // known, unknown or never
		Ends       string `json:"ends"`       // what ends then: the credential or the CA
		Credential string `json:"credential"` // its kind
		CAExpires  string `json:"caExpires"`  // RFC 3339
		File       string `json:"file"`
	}
	items := make([]item, len(ends))
	for i, e := range ends {
		items[i] = item{e.Holder.Kind, e.Namespace, e.Name, report.RFC3339(e.At), e.State.String(), strings.TrimPrefix(e.What, "the "), string(e.End.Kind), report.RFC3339(e.CA), e.File}
	}
	text, _ := report.JSON(items, "  ") // made of texts
	_, _ = w.Write(text)                // the writer keeps its error
}

// writeCalendar writes an event for each end. Its UID is that of the object, so
// that a calendar moves the event when the credential is renewed. An unknown end
// stands on the day on which the calendar was made, so that it is seen.
// https://www.rfc-editor.org/rfc/rfc5545
func writeCalendar(w *bufio.Writer, ends []End, now time.Time) {
	const stamp, day = "20060102T150405Z", "20060102"
	line := func(name, value string) { fold(w, name+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//clusterpair.dev//clusterpair//EN")
	line("X-WR-CALNAME", "ClusterPair credentials")
	event := func(object, file, summary, todo, start, value string) {
		id := sha256.Sum256([]byte(object + "\x00" + file))
		line("BEGIN", "VEVENT")
		line("UID", hex.EncodeToString(id[:16])+"@clusterpair.dev")
		line("DTSTAMP", now.UTC().Format(stamp))
		line(start, value)
		line("SUMMARY", escapeText(summary))
		line("DESCRIPTION", escapeText(report.FileName(file)+"\n"+report.Printable(todo)))
		line("TRANSP", "TRANSPARENT")
		if start == "DTSTART" {
			line("BEGIN", "VALARM")
			line("ACTION", "DISPLAY")
			line("DESCRIPTION", escapeText(summary+" in a week"))
			line("TRIGGER", "-P7D")
			line("END", "VALARM")
		}
		line("END", "VEVENT")
	}
	for _, e := range ends {
		object := report.Printable(e.Holder.Kind + " " + e.Namespace + "/" + e.Name)
		switch e.State {
		case kubeconfig.Known:
			event(object, e.File, "Credential of "+object+" ends", "Renew it on the destination, then: clusterpair generate", "DTSTART", e.At.UTC().Format(stamp))
		case kubeconfig.Unknown:
			todo := "Take one that says when it ends, as clusterpair credential create makes it."
			if why := e.Why(); why != "" {
				todo = "It is unknown: " + why + ". " + todo
			}
			event(object, e.File, "Credential of "+object+": nothing tells when it ends", todo, "DTSTART;VALUE=DATE", now.UTC().Format(day))
		}
		if e.State != kubeconfig.Known && !e.CA.IsZero() {
			event("CA of "+object, e.File, "CA of "+object+" ends", "Take the new one from the destination, then: clusterpair generate", "DTSTART", e.CA.UTC().Format(stamp))
		}
	}
	line("END", "VCALENDAR")
}

// escapeText is a TEXT of RFC 5545, 3.3.11, of what can be printed.
func escapeText(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(s)
}

// fold writes a content line in lines of at most 75 octets, and splits no
// character: RFC 5545, 3.1.
func fold(w *bufio.Writer, line string) {
	for limit := 75; len(line) > limit; limit = 74 { // behind a space
		cut := limit
		for !utf8.RuneStart(line[cut]) {
			cut--
		}
		// A line that begins with :: is a command for GitHub, also behind white space. So
		// the line is cut before that, or what stands there is left out.
		at := cut
		for ; at > 1 && (!utf8.RuneStart(line[at]) || isCommand(line[at:])); at-- {
		}
		if at == 1 {
			line = line[:cut] + "…" + strings.TrimLeftFunc(line[cut:], func(r rune) bool { return r == ':' || unicode.IsSpace(r) })
			at = cut
		}
		cut = at
		w.WriteString(line[:cut] + "\r\n ")
		line = line[cut:]
	}
	w.WriteString(line + "\r\n")
}

func isCommand(line string) bool {
	return strings.HasPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::")
}

// writeMetrics writes the ends in the text format of Prometheus. A time would lie
// about an unknown end, so that this has a metric of its own.
// https://prometheus.io/docs/instrumenting/exposition_formats/
func writeMetrics(w *bufio.Writer, ends []End) {
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	family := func(name, help string, value func(e End) (text string, ok bool)) {
		w.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " gauge\n")
		for _, e := range ends {
			text, ok := value(e)
			if !ok {
				continue
			}
			var labels []string
			for _, l := range [][2]string{{"kind", e.Holder.Kind}, {"namespace", e.Namespace}, {"name", e.Name}, {"file", e.File}} {
				labels = append(labels, l[0]+`="`+quote.Replace(report.Printable(l[1]))+`"`)
			}
			w.WriteString(name + "{" + strings.Join(labels, ",") + "} " + text + "\n")
		}
	}
	seconds := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }
	family("clusterpair_credential_expires_timestamp_seconds", "When the credential of a committed ClusterPair ends, in seconds since the epoch; +Inf if never.", func(e End) (string, bool) {
		switch e.State {
		case kubeconfig.Known:
			return seconds(e.At), true
		case kubeconfig.Never:
			return "+Inf", true
		}
		return "", false
	})
	family("clusterpair_credential_expires_known", "Whether it is known when the credential of a committed ClusterPair ends: 1, or 0 if nothing tells.", func(e End) (string, bool) {
		if e.State == kubeconfig.Unknown {
			return "0", true
		}
		return "1", true
	})
	family("clusterpair_destination_ca_expires_timestamp_seconds", "When the CA of the destination of a committed ClusterPair ends, in seconds since the epoch.", func(e End) (string, bool) {
		return seconds(e.CA), !e.CA.IsZero()
	})
}
