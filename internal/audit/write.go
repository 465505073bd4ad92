package audit

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"strings"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// markdownWriter writes Markdown as GitHub and GitLab read it: https://github.github.com/gfm/
type markdownWriter struct{ w *bufio.Writer }

func (m *markdownWriter) begin(title string) { m.w.WriteString("# " + report.Markdown(title) + "\n") }
func (m *markdownWriter) heading(text string) {
	m.w.WriteString("\n## " + report.Markdown(text) + "\n")
}
func (m *markdownWriter) text(text string) { m.w.WriteString("\n" + report.Markdown(text) + "\n") }
func (m *markdownWriter) end()             {}
func (m *markdownWriter) finish()          {}

func (m *markdownWriter) table(head ...string) {
	m.w.WriteByte('\n')
	m.row(head...)
	m.w.WriteString(strings.Repeat("|---", len(head)) + "|\n")
}

func (m *markdownWriter) row(cells ...string) {
	for _, cell := range cells {
		m.w.WriteString("|")
		for i, line := range strings.Split(cell, "\n") {
			if i > 0 {
				m.w.WriteString("<br>")
			} else if cell != "" {
				m.w.WriteByte(' ')
			}
			m.w.WriteString(report.Markdown(line))
		}
		m.w.WriteByte(' ')
	}
	m.w.WriteString("|\n")
}

// htmlWriter writes one page without a script, which loads nothing.
type htmlWriter struct {
	w *bufio.Writer
}

const htmlStyle = `:root{color-scheme:light dark}body{font:15px/1.5 ui-sans-serif,system-ui,"DejaVu Sans",sans-serif;max-width:1400px;margin:0 auto;padding:16px 24px;background:#fff;color:#1b1f24}` +
	`h1{font-size:22px}h2{font-size:17px;margin:28px 0 8px}.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:14px}th,td{text-align:left;vertical-align:top;padding:5px 10px;border:1px solid #c3c9d1;overflow-wrap:anywhere}th{background:#f5f7f9}` +
	`@media(prefers-color-scheme:dark){body{background:#14171b;color:#e6e9ed}th,td{border-color:#454d57}th{background:#1c2127}}@media print{.scroll{overflow:visible}}`

func (h *htmlWriter) begin(title string) {
	sum := sha256.Sum256([]byte(htmlStyle))
	fmt.Fprintf(h.w, `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-%s'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%[2]s</title>
<style>%[3]s</style>
</head>
<body>
<main>
<h1>%[2]s</h1>
`, base64.StdEncoding.EncodeToString(sum[:]), escaped(title), htmlStyle)
}

func (h *htmlWriter) heading(text string) { h.w.WriteString("<h2>" + escaped(text) + "</h2>\n") }
func (h *htmlWriter) text(text string)    { h.w.WriteString("<p>" + escaped(text) + "</p>\n") }
func (h *htmlWriter) end()                { h.w.WriteString("</tbody></table></div>\n") }
func (h *htmlWriter) finish()             { h.w.WriteString("</main>\n</body>\n</html>\n") }

func (h *htmlWriter) table(head ...string) {
	h.w.WriteString(`<div class="scroll"><table>`)
	if strings.Join(head, "") != "" {
		h.w.WriteString("<thead><tr>")
		for _, cell := range head {
			h.w.WriteString(`<th scope="col">` + escaped(cell) + "</th>")
		}
		h.w.WriteString("</tr></thead>")
	}
	h.w.WriteString("<tbody>\n")
}

func (h *htmlWriter) row(cells ...string) {
	h.w.WriteString("<tr>")
	for i, cell := range cells {
		begin, end := "<td>", "</td>"
		if i == 0 {
			begin, end = `<th scope="row">`, "</th>"
		}
		h.w.WriteString(begin)
		for k, line := range strings.Split(cell, "\n") {
			if k > 0 {
				h.w.WriteString("<br>")
			}
			h.w.WriteString(escaped(line))
		}
		h.w.WriteString(end)
	}
	h.w.WriteString("</tr>\n")
}

func escaped(s string) string { return html.EscapeString(report.Printable(s)) }

type jsonPair struct {
	Source      string        `json:"source"`
	Destination string        `json:"destination"`
	Namespace   string        `json:"namespace"`
	Name        string        `json:"name"`
	File        string        `json:"file"`
	Rendered    bool          `json:"rendered"`
	Encrypted   bool          `json:"encrypted"`
	Recipients  [][]string    `json:"recipients"`  // of each key group
	Needed      int           `json:"needed"`      // from how many groups a key is needed
	EncryptedOn string        `json:"encryptedOn"` // RFC 3339: SOPS has written it; no rotation
	Credential  string        `json:"credential"`  // its name, which is no secret; empty is unknown
	Account     string        `json:"account"`     // NAMESPACE/NAME of its service account; empty is unknown
	Kind        string        `json:"kind"`        // of a credential whose end is unknown
	Expires     string        `json:"expires"`     // RFC 3339
	Expiry      string        `json:"expiry"`      // known, unknown or never
	Ends        string        `json:"ends"`        // what ends then: the credential or the CA
	CAExpires   string        `json:"caExpires"`   // RFC 3339
	Waivers     []jsonWaiver  `json:"waivers"`
	Findings    []jsonFinding `json:"findings"`
}

type jsonWaiver struct {
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
}

type jsonFinding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Message  string `json:"message"`
	Waived   string `json:"waived"` // the reason for which it does not count
}

type jsonException struct {
	Fleet  string `json:"fleet"`
	From   string `json:"from"` // empty is all
	To     string `json:"to"`
	Reason string `json:"reason"`
	Until  string `json:"until"`
}

// json writes one pair a line. Programs read it: fields may come, but none goes or changes
// its meaning.
func (a *audit) json(w *bufio.Writer) {
	w.WriteString(`{"validated": ` + report.JSONText(a.Judged) + ",\n\"recipients\": " + report.JSONText(a.Recipients) + ",\n\"pairs\": [")
	for i := range a.Pairs {
		w.WriteString(report.JSONSeparator(i) + report.JSONText(a.pair(&a.Pairs[i])))
	}
	w.WriteString("],\n\"exceptions\": [")
	for i, e := range a.Exceptions {
		w.WriteString(report.JSONSeparator(i) + report.JSONText(jsonException(e)))
	}
	w.WriteString("],\n\"findings\": [")
	for i, f := range a.Elsewhere {
		w.WriteString(report.JSONSeparator(i) + report.JSONText(finding(f)))
	}
	w.WriteString("]}\n")
}

func (a *audit) pair(p *inventory.Pair) jsonPair {
	e := p.End
	if p.Missing {
		e = new(kubeconfig.End)
	}
	out := jsonPair{Source: p.From.Name, Destination: p.To.Name, Namespace: p.Namespace, Name: p.Name, File: p.File, Rendered: !p.Missing, Encrypted: p.Encrypted,
		Recipients: [][]string{}, Credential: p.Credential, Account: a.Accounts[p.Credential], Kind: string(e.Kind), Expires: report.RFC3339(e.At), Expiry: e.State.String(),
		Ends: strings.TrimPrefix(e.What, "the "), CAExpires: report.RFC3339(e.CA), Waivers: []jsonWaiver{}, Findings: []jsonFinding{}}
	if groups, needed := p.Recipients(); p.Encrypted {
		out.Recipients, out.Needed = groups, needed
		if p.Modified != 0 {
			out.EncryptedOn = encryptedOn(p)
		}
	}
	for _, w := range p.Waivers {
		out.Waivers = append(out.Waivers, jsonWaiver(w))
	}
	for _, f := range p.Findings {
		out.Findings = append(out.Findings, finding(f))
	}
	return out
}

func finding(f report.Finding) jsonFinding {
	return jsonFinding{f.Rule, f.Severity.String(), f.Position.File, f.Position.Line, f.Message, f.Waived}
}
