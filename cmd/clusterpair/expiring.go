package main

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

func newExpiringCommand() *cobra.Command {
	var within, format string
	cmd := &cobra.Command{
		Use:   "expiring [PATH...]",
		Short: "Tell when the credentials of committed ClusterPairs end",
		Long: `expiring reads ClusterPairs as they are committed, encrypted or not, and tells
when the credential of each ends, the first first. generate has put that beside
the ciphertext, so that it takes no key and no cluster. Without PATH it reads all
files below the working directory.

With --within it shows what ends within that time, or has ended, alone, and exits 1
if there is any. -o ics is a calendar to subscribe to, -o prometheus is for the
textfile collector of the node exporter.`,
		Example: `  clusterpair expiring
  clusterpair expiring --within 30d clusters/
  clusterpair expiring -o ics > pairs.ics
  clusterpair expiring -o prometheus > /var/lib/node_exporter/clusterpair.prom`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(expiringFormats, format) {
				return usageError(withHint(fmt.Errorf("there is no format %q", format), "-o %s", strings.Join(expiringFormats, "|")))
			}
			ends, err := readEnds(cmd, args)
			if err != nil {
				return err
			}
			now := time.Now()
			if within != "" {
				horizon, err := generator.ParseDuration(within)
				if err != nil {
					return usageError(withHint(fmt.Errorf("--within: %w", err), "days or hours, as in 30d or 720h"))
				}
				ends = slices.DeleteFunc(ends, func(e end) bool { return e.at.IsZero() || e.at.After(now.Add(horizon)) })
			}
			if err := writeEnds(cmd.OutOrStdout(), format, ends, now); err != nil {
				return failed(err)
			}
			if len(ends) == 0 && format == "table" {
				nothing := "No ClusterPairs found."
				if within != "" {
					nothing = "Nothing ends within " + within + "."
				}
				fmt.Fprintln(cmd.ErrOrStderr(), nothing)
			}
			if within != "" && len(ends) > 0 {
				return &exitError{code: exitFindings}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&within, "within", "", "show what ends within this time, such as 30d, and exit 1 if there is any")
	cmd.Flags().StringVarP(&format, "output", "o", "table", "format: "+strings.Join(expiringFormats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(expiringFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

var expiringFormats = []string{"table", "json", "ics", "prometheus"}

// end is when the credential of a committed object ends.
type end struct {
	kind, namespace, name, file string
	at                          time.Time // zero if nothing tells
	rendered                    bool      // generate has looked, and found no end
}

// readEnds finds the ends in files, the first first, and what does not tell of
// one at the end.
func readEnds(cmd *cobra.Command, paths []string) ([]end, error) {
	if len(paths) == 0 {
		paths = []string{"."}
	}
	var mu sync.Mutex
	found := make(map[end]time.Time) // by the rest of it
	var bad []report.Finding
	err := eachCommitted(cmd, paths, func(file string, doc *yaml.Node) {
		text := func(keys ...string) string { return strings.Clone(manifest.Text(doc, keys...)) }
		e := end{kind: text("kind"), namespace: text("metadata", "namespace"), name: text("metadata", "name"), file: file}
		e.rendered = text("metadata", "annotations", generator.AnnotationCA) != ""
		annotation := manifest.Field(doc, "metadata", "annotations", generator.AnnotationExpires)
		if e.name == "" { // a template, or a patch of others
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if annotation != nil {
			var err error
			if e.at, err = time.Parse(time.RFC3339, annotation.Value); err != nil {
				bad = append(bad, report.Finding{Rule: "value-type", Severity: report.Error, Position: report.Position{File: file, Line: annotation.Line, Column: annotation.Column},
					Message: generator.AnnotationExpires + " is no time as RFC 3339 has it", Hint: "render the pair anew: clusterpair generate"})
				return
			}
		}
		at := e.at
		e.at = time.Time{}
		if known, again := found[e]; !again || !at.IsZero() && at.Before(known) {
			found[e] = at
		}
	})
	if err == nil {
		err = printFindings(cmd, bad)
	}
	ends := make([]end, 0, len(found))
	for e, at := range found {
		e.at = at
		ends = append(ends, e)
	}
	slices.SortFunc(ends, func(a, b end) int {
		if a.at.IsZero() != b.at.IsZero() {
			return b.at.Compare(a.at)
		}
		return cmp.Or(a.at.Compare(b.at), strings.Compare(a.namespace, b.namespace), strings.Compare(a.name, b.name), strings.Compare(a.file, b.file))
	})
	return ends, err
}

func writeEnds(w io.Writer, format string, ends []end, now time.Time) error {
	buffered := bufio.NewWriter(w)
	switch format {
	case "json":
		writeEndsJSON(buffered, ends)
	case "ics":
		writeCalendar(buffered, ends, now)
	case "prometheus":
		writeMetrics(buffered, ends)
	default:
		writeEndsTable(buffered, ends, now)
	}
	return buffered.Flush()
}

func writeEndsTable(w *bufio.Writer, ends []end, now time.Time) {
	if len(ends) == 0 {
		return
	}
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "NAMESPACE\tNAME\tEXPIRES\tIN\tFILE")
	for _, e := range ends {
		expires, in := "unknown", ""
		switch {
		case !e.at.IsZero():
			expires, in = rfc3339(e.at), remaining(e.at.Unix()-now.Unix())
		case e.rendered:
			expires = "never"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", e.namespace, e.name, expires, in, report.Position{File: e.file})
	}
	t.Flush()
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

// writeEndsJSON writes a list: fields may come, but none goes or changes its
// meaning. Without expires nothing tells when the credential ends.
func writeEndsJSON(w *bufio.Writer, ends []end) {
	type item struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		Expires   string `json:"expires"` // RFC 3339
		File      string `json:"file"`
	}
	items := make([]item, len(ends))
	for i, e := range ends {
		items[i] = item{e.kind, e.namespace, e.name, rfc3339(e.at), e.file}
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(items) // made of texts; the writer keeps its error
}

// writeCalendar writes an event for each end. Its UID is that of the object, so
// that a calendar moves the event when the credential is renewed.
// https://www.rfc-editor.org/rfc/rfc5545
func writeCalendar(w *bufio.Writer, ends []end, now time.Time) {
	const stamp = "20060102T150405Z"
	line := func(name, value string) { fold(w, name+":"+value) }
	line("BEGIN", "VCALENDAR")
	line("VERSION", "2.0")
	line("PRODID", "-//clusterpair.dev//clusterpair//EN")
	line("X-WR-CALNAME", "ClusterPair credentials")
	for _, e := range ends {
		if e.at.IsZero() {
			continue
		}
		object := e.kind + " " + e.namespace + "/" + e.name
		id := sha256.Sum256([]byte(object + "\x00" + e.file))
		line("BEGIN", "VEVENT")
		line("UID", hex.EncodeToString(id[:16])+"@clusterpair.dev")
		line("DTSTAMP", now.UTC().Format(stamp))
		line("DTSTART", e.at.UTC().Format(stamp))
		line("SUMMARY", escapeText("Credential of "+object+" ends"))
		line("DESCRIPTION", escapeText(e.file+"\nRenew it on the destination, then: clusterpair generate"))
		line("TRANSP", "TRANSPARENT")
		line("BEGIN", "VALARM")
		line("ACTION", "DISPLAY")
		line("DESCRIPTION", escapeText("Credential of "+object+" ends in a week"))
		line("TRIGGER", "-P7D")
		line("END", "VALARM")
		line("END", "VEVENT")
	}
	line("END", "VCALENDAR")
}

// escapeText is a TEXT of RFC 5545, 3.3.11.
func escapeText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "�"))
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
		w.WriteString(line[:cut] + "\r\n ")
		line = line[cut:]
	}
	w.WriteString(line + "\r\n")
}

// writeMetrics writes the ends in the text format of Prometheus.
// https://prometheus.io/docs/instrumenting/exposition_formats/
func writeMetrics(w *bufio.Writer, ends []end) {
	w.WriteString("# HELP clusterpair_credential_expires_timestamp_seconds When the credential of a committed ClusterPair ends, in seconds since the epoch.\n" +
		"# TYPE clusterpair_credential_expires_timestamp_seconds gauge\n")
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	for _, e := range ends {
		if e.at.IsZero() {
			continue
		}
		var labels []string
		for _, l := range [][2]string{{"kind", e.kind}, {"namespace", e.namespace}, {"name", e.name}, {"file", e.file}} {
			labels = append(labels, l[0]+`="`+quote.Replace(strings.ToValidUTF8(l[1], "�"))+`"`)
		}
		w.WriteString("clusterpair_credential_expires_timestamp_seconds{" + strings.Join(labels, ",") + "} " + strconv.FormatInt(e.at.Unix(), 10) + "\n")
	}
}
