package graph

import (
	"bufio"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/report"
)

// colors are those of the ends on white, each told from the others by people who do not
// see all colours, too.
var colors = [...]string{ended: "#b3123f", missing: "#686e77", soon: "#a35f00", unknown: "#686e77", later: "#0067a3", never: "#6a4fb3"}

// grouped visits the groups of the clusters in their order, once if there are none.
func (p *picture) grouped(visit func(i int, group string, clusters []*inventory.Cluster)) {
	for i, first := 0, 0; first < len(p.Clusters); i++ {
		last := first
		for last < len(p.Clusters) && p.Clusters[last].Group == p.Clusters[first].Group {
			last++
		}
		visit(i, p.Clusters[first].Group, p.Clusters[first:last])
		first = last
	}
}

// ids numbers the clusters: names may hold anything.
func (p *picture) ids() map[*inventory.Cluster]string {
	ids := make(map[*inventory.Cluster]string, len(p.Clusters))
	for i, c := range p.Clusters {
		ids[c] = "c" + strconv.Itoa(i)
	}
	return ids
}

// dot writes a graph for Graphviz: https://graphviz.org/doc/info/lang.html
func (p *picture) dot(w *bufio.Writer) {
	w.WriteString("digraph clusterpairs {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\", fontsize=10];\n")
	ids := p.ids()
	p.grouped(func(i int, group string, clusters []*inventory.Cluster) {
		indent := "  "
		if group != "" {
			fmt.Fprintf(w, "  subgraph cluster_%d {\n    label=%s;\n", i, dotText(group))
			indent = "    "
		}
		for _, c := range clusters {
			w.WriteString(indent + ids[c] + " [label=" + dotText(c.Name) + "];\n")
		}
		if group != "" {
			w.WriteString("  }\n")
		}
	})
	cells := p.cells()
	for i := range cells {
		c := &cells[i]
		style := "solid"
		if !c.back {
			style = "dashed"
		}
		if c.end == missing {
			style = "dotted"
		}
		fmt.Fprintf(w, "  %s -> %s [color=%q, style=%s, tooltip=%s", ids[c.from], ids[c.to], colors[c.end], style, dotText(c.String()))
		if c.finding {
			w.WriteString(", arrowhead=dotnormal")
		}
		w.WriteString("];\n")
	}
	w.WriteString("}\n")
}

// dotText is a quoted text of DOT. A backslash begins an escape of Graphviz, and & an
// entity of HTML.
func dotText(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(report.Printable(s)) + `"`
}

// mostArrows is how many edges Mermaid draws unless a page says otherwise, and mostText how
// long a text it takes. https://mermaid.js.org/config/schema-docs/config.html
const (
	mostArrows = 500
	mostText   = 50_000
)

// mermaid writes a flowchart of the clusters, or of their groups if that is more than
// Mermaid draws.
func (p *picture) mermaid(w *bufio.Writer) {
	if text := p.flowchart(); text != "" {
		w.WriteString(text)
		return
	}
	p.groupchart(w)
}

// flowchart is empty if it would be too large. Two cells that lead back and forth and look
// the same are one arrow.
func (p *picture) flowchart() string {
	cells := p.cells()
	if len(cells) > 2*mostArrows {
		return ""
	}
	var b strings.Builder
	ids := p.ids()
	b.WriteString("flowchart LR\n")
	p.grouped(func(i int, group string, clusters []*inventory.Cluster) {
		indent := "  "
		if group != "" {
			b.WriteString("  subgraph g" + strconv.Itoa(i) + "[\"" + mermaidText(group) + "\"]\n")
			indent = "    "
		}
		for _, c := range clusters {
			b.WriteString(indent + ids[c] + "[\"" + mermaidText(c.Name) + "\"]\n")
		}
		if group != "" {
			b.WriteString("  end\n")
		}
	})
	if arrows := mermaidArrows(&b, cells, ids); arrows > mostArrows || b.Len() > mostText {
		return ""
	}
	return b.String()
}

// mermaidArrows writes the cells as arrows, and counts them.
func mermaidArrows(b *strings.Builder, cells []cell, ids map[*inventory.Cluster]string) (arrows int) {
	at := make(map[[2]*inventory.Cluster]*cell, len(cells))
	for i := range cells {
		at[[2]*inventory.Cluster{cells[i].from, cells[i].to}] = &cells[i]
	}
	drawn := make(map[*cell]bool)
	var styles [ends][]string
	for i := range cells {
		c := &cells[i]
		if drawn[c] {
			continue // with the way forth
		}
		way, label := "-->", ""
		if back := at[[2]*inventory.Cluster{c.to, c.from}]; back != nil && back != c && back.end == c.end && back.finding == c.finding {
			way, drawn[back] = "<-->", true
		}
		if c.end != later {
			label = c.end.String()
		}
		if c.finding {
			label = strings.TrimPrefix(label+", finding", ", ")
		}
		if label != "" {
			way += "|\"" + label + "\"|"
		}
		b.WriteString("  " + ids[c.from] + " " + way + " " + ids[c.to] + "\n")
		styles[c.end] = append(styles[c.end], strconv.Itoa(arrows))
		arrows++
	}
	for e, numbers := range styles {
		if len(numbers) > 0 {
			b.WriteString("  linkStyle " + strings.Join(numbers, ",") + " stroke:" + colors[e] + "\n")
		}
	}
	return arrows
}

// groupchart draws the groups, with the number of pairs from each to each.
func (p *picture) groupchart(w *bufio.Writer) {
	type lead struct {
		from, to string
		pairs    int
		ends     [ends]int
	}
	leads := make(map[[2]string]*lead)
	for i := range p.Pairs {
		pair := &p.Pairs[i]
		key := [2]string{pair.From.Group, pair.To.Group}
		if leads[key] == nil {
			leads[key] = &lead{from: key[0], to: key[1]}
		}
		leads[key].pairs++
		leads[key].ends[p.endOf(pair)]++
	}
	w.WriteString("flowchart LR\n")
	ids := make(map[string]string)
	var order []string
	p.grouped(func(i int, group string, clusters []*inventory.Cluster) {
		ids[group] = "g" + strconv.Itoa(i)
		order = append(order, group)
		w.WriteString("  " + ids[group] + "[\"" + mermaidText(cmp.Or(group, "without a group")) + ": " + report.Count(len(clusters), "cluster", "clusters") + "\"]\n")
	})
	var sorted []*lead
	for _, l := range leads {
		sorted = append(sorted, l)
	}
	slices.SortFunc(sorted, func(a, b *lead) int {
		return cmp.Or(slices.Index(order, a.from)-slices.Index(order, b.from), slices.Index(order, a.to)-slices.Index(order, b.to))
	})
	const most = mostArrows - 1
	for i, l := range sorted {
		if i == most {
			fmt.Fprintf(w, "  more[\"%d more\"]\n", len(sorted)-most)
			break
		}
		label := report.Count(l.pairs, "pair", "pairs")
		for _, e := range []end{ended, missing, soon, unknown} {
			if l.ends[e] > 0 {
				label += fmt.Sprintf(", %d %s", l.ends[e], e)
			}
		}
		w.WriteString("  " + ids[l.from] + " -->|\"" + label + "\"| " + ids[l.to] + "\n")
	}
}

// mermaidText is a text within the quotes of Mermaid, which knows entities by their
// numbers: all but letters, digits and harmless signs becomes one.
// https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range report.Printable(s) {
		if r < unicode.MaxASCII && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" -_./", r) {
			b.WriteString("#" + strconv.Itoa(int(r)) + ";")
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
