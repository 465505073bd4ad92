package graph

import (
	"bufio"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// page is what the script of a page reads. What many pairs have in common stands there
// once, so that 39,800 pairs take less than 400 KB.
type page struct {
	Label     string     `json:"label"`
	Within    int        `json:"within"` // seconds
	Validated bool       `json:"validated"`
	Clusters  []any      `json:"clusters"` // [name, group, source, destination]
	Kinds     []kind     `json:"kinds"`
	Rows      []any      `json:"rows"` // [source, folder, [kind, …]]
	Files     numbered   `json:"files"`
	Findings  numbered   `json:"findings"` // indices of texts
	Texts     [][]string `json:"texts"`    // rule, severity, message, reason of a waiver
}

// numbered has what only some pairs have, by their numbers.
type numbered map[int]any

// kind is what pairs have in common: [destination, namespace, name, end, end of the CA,
// flags, why]. An end is in seconds, -1 for never and 0 if it is not known.
type kind struct {
	to              int
	namespace, name string
	end, ca         int64
	flags           int
	why             string
}

// MarshalJSON implements [json.Marshaler].
func (k kind) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{k.to, k.namespace, k.name, k.end, k.ca, k.flags, k.why})
}

func kindOf(p *inventory.Pair, to int) kind {
	k := kind{to: to, namespace: report.Printable(p.Namespace), name: report.Printable(p.Name)}
	if p.Missing {
		k.flags = 1
		return k
	}
	if p.Back {
		k.flags |= 2
	}
	k.why = p.End.Why()
	first, _ := p.End.First()
	switch {
	case p.End.State == kubeconfig.Never:
		k.end = -1
	case !p.End.At.IsZero():
		k.end = p.End.At.Unix()
	}
	if !first.IsZero() && k.end <= 0 {
		k.ca = first.Unix()
	}
	return k
}

// page makes what the script reads.
func (p *picture) page() page {
	out := page{Label: p.Label, Within: int(p.Within.Seconds()), Validated: p.Judged, Clusters: []any{}, Kinds: []kind{}, Rows: []any{}, Files: numbered{}, Findings: numbered{}, Texts: [][]string{}}
	number := make(map[*inventory.Cluster]int, len(p.Clusters))
	for i, c := range p.Clusters {
		number[c] = i
		flag := func(b bool) int { return map[bool]int{true: 1}[b] }
		out.Clusters = append(out.Clusters, []any{report.Printable(c.Name), report.Printable(c.Group), flag(c.Source), flag(c.Destination)})
	}
	kinds, texts := make(map[kind]int), make(map[[4]string]int)
	folder, list := "", []int(nil)
	for i := range p.Pairs {
		pair := &p.Pairs[i]
		if i == 0 || pair.From != p.Pairs[i-1].From {
			folder, list = path.Dir(path.Dir(pair.File))+"/", nil
			out.Rows = append(out.Rows, []any{number[pair.From], report.Printable(folder), list})
		}
		k := kindOf(pair, number[pair.To])
		if _, known := kinds[k]; !known {
			kinds[k] = len(out.Kinds)
			out.Kinds = append(out.Kinds, k)
		}
		list = append(list, kinds[k])
		out.Rows[len(out.Rows)-1].([]any)[2] = list
		if pair.File != folder+pair.ID()+".yaml" {
			out.Files[i] = report.Printable(pair.File)
		}
		var found []int
		for _, f := range pair.Findings {
			text := [4]string{f.Rule, f.Severity.String(), report.Printable(f.Message), report.Printable(f.Waived)}
			if _, known := texts[text]; !known {
				texts[text] = len(out.Texts)
				out.Texts = append(out.Texts, text[:])
			}
			found = append(found, texts[text])
		}
		if found != nil {
			out.Findings[i] = found
		}
	}
	return out
}

// html writes one file that loads nothing, and runs only its own script.
// https://www.w3.org/TR/CSP3/
func (p *picture) html(w *bufio.Writer) error {
	data, err := json.Marshal(p.page()) // which escapes what could end the element
	if err != nil {
		return err
	}
	fmt.Fprintf(w, pageHead, hash(pageJS), hash(pageCSS), escaped(p.summary()), pageCSS)
	p.htmlBody(w)
	w.WriteString("<script type=\"application/json\" id=\"data\">")
	w.Write(data)
	fmt.Fprintf(w, "</script>\n<script>%s</script>\n</body>\n</html>\n", pageJS)
	return nil
}

// hash is the source of a script or style in a policy.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

const pageHead = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '%s'; style-src '%s'; base-uri 'none'; form-action 'none'">
<meta name="referrer" content="no-referrer">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>%[3]s</title>
<style>%[4]s</style>
</head>
<body>
<header><h1>%[3]s</h1><button type="button" id="theme" aria-pressed="false">Dark</button></header>
`

// htmlBody writes what the script fills.
func (p *picture) htmlBody(w *bufio.Writer) {
	days := int(p.Within.Hours() / 24)
	w.WriteString(`<main>
<noscript><p>This page draws with a script, which is turned off.</p></noscript>
<form id="filters" role="search" autocomplete="off">
<label>Search (/)<input type="search" name="search" placeholder="cluster, pair, file, rule"></label>
<label>End<select name="end"><option value="">any</option>`)
	for e := range ends {
		text := e.String()
		if e == soon {
			text = fmt.Sprintf("ends within %d days", days)
		}
		fmt.Fprintf(w, `<option value="%s">%s</option>`, e.class(), text)
	}
	w.WriteString(`</select></label>
<label>Way back<select name="way"><option value="">any</option><option value="both">yes</option><option value="one">no</option></select></label>
<label>Findings<select name="finding"><option value="">any</option><option value="some">with findings</option><option value="none">without</option></select></label>
<label>From group<select name="source"><option value="">all</option></select></label>
<label>To group<select name="destination"><option value="">all</option></select></label>
<button type="reset">Reset</button>
<output id="count" aria-live="polite"></output>
</form>
<div class="both">
<section class="picture" aria-labelledby="m">
<h2 id="m">Matrix</h2>
<p class="hidden" id="keys">A row for each source cluster, a column for each destination. The arrow keys, Home, End, Page Up and Page Down move; Enter shows the pairs of a cell in the table, Escape all.</p>
<div class="scroll"><canvas id="matrix" tabindex="0" role="application" aria-roledescription="matrix" aria-label="Matrix of the pairs" aria-describedby="keys status">The table lists the same pairs.</canvas></div>
<p id="status" role="status" data-hint="Rows are sources, columns destinations. Point at a cell, or move with the arrow keys; a click or Enter shows its pairs in the table.">Rows are sources, columns destinations. Point at a cell, or move with the arrow keys; a click or Enter shows its pairs in the table.</p>
<ul class="legend" aria-label="Legend">`)
	for e := range ends {
		text := "ends " + e.String()
		switch e {
		case soon:
			text = fmt.Sprintf("ends within %d days", days)
		case unknown:
			text = "end unknown"
		case ended, missing, never:
			text = e.String()
		}
		fmt.Fprintf(w, `<li><span class="%s" aria-hidden="true"><b>%s</b></span>%s</li>`, e.class(), e.glyph(), text)
	}
	w.WriteString(`<li><span class="hollow" aria-hidden="true"></span>no way back</li>`)
	heads := []string{"source", "destination", "pair", "end", "way back"}
	note := `<p class="note">Without the findings of validate.</p>`
	if p.Judged {
		w.WriteString(`<li><span class="dot" aria-hidden="true"></span>finding of validate</li>`)
		heads, note = append(heads, "findings"), ""
	}
	w.WriteString("</ul>\n" + note + `
</section>
<section aria-labelledby="t">
<h2 id="t">Pairs</h2>
<div class="scroll"><table aria-describedby="page"><caption class="hidden">Pairs</caption><thead><tr>`)
	for _, head := range heads {
		key := strings.TrimSuffix(strings.Fields(head)[0], "s")
		fmt.Fprintf(w, `<th scope="col" data-sort="%s"><button type="button">%s%s<span aria-hidden="true"></span></button></th>`, key, strings.ToUpper(head[:1]), head[1:])
	}
	w.WriteString(`</tr></thead><tbody id="body"></tbody></table></div>
<div class="pager"><button type="button" id="before">Previous</button><span id="page" aria-live="polite"></span><button type="button" id="after">Next</button><button type="button" id="clear" disabled>All cells</button></div>
</section>
</div>
</main>
`)
}
