package graph

import (
	"bufio"
	"fmt"
	"html"
	"strconv"
	"strings"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/report"
)

// mostDrawn is how many cells are drawn one by one, each with what it tells. More are one
// path for each colour.
const mostDrawn = 3000

// matrix is where things stand in a matrix, in pixels.
type matrix struct {
	rows, columns []*inventory.Cluster
	size          int // of a cell
	left, top     int // of the first cell
	width, height int
}

const (
	letter    = 7 // wide, at most, in the font of labels
	margin    = 16
	legend    = 24 // high
	narrowest = 11 // cell with a label
)

// layout places a matrix.
func (p *picture) layout() matrix {
	m := matrix{rows: p.rows(), columns: p.columns()}
	switch n := max(len(m.rows), len(m.columns)); {
	case n <= 16:
		m.size = 28
	case n <= 40:
		m.size = 20
	case n <= 90:
		m.size = 12
	default:
		m.size = 5
	}
	names := func(clusters []*inventory.Cluster) int {
		if m.size < narrowest {
			return 0
		}
		longest := 0
		for _, c := range clusters {
			longest = max(longest, len([]rune(shortName(c.Name))))
		}
		return longest*letter + 8
	}
	group := 0
	if p.Label != "" {
		group = 22
	}
	m.left = margin + group + names(m.rows)
	m.top = 58 + group + names(m.columns)
	m.width = max(m.left+m.size*len(m.columns)+margin, 2*margin+8*len(p.summary()), 560)
	m.height = m.top + m.size*len(m.rows) + 20 + 2*legend + margin
	return m
}

// shortName is a name that fits beside a matrix.
func shortName(name string) string {
	const most = 32
	name = report.Printable(name)
	if r := []rune(name); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return name
}

// svgStyle has the colours of the ends, for light and dark.
const svgStyle = `text{font:12px ui-sans-serif,system-ui,"DejaVu Sans",sans-serif;fill:#1b1f24}.h{font-size:15px;font-weight:600}.n,.g{fill:#59616b}.bg{fill:#fff}.grid{fill:#eef1f4}.self{fill:#dfe3e8}.line{stroke:#c3c9d1}` +
	`.w{fill:#fff;text-anchor:middle;font-weight:700}.dot{fill:#111;stroke:#fff;stroke-width:1.5}` +
	`@media(prefers-color-scheme:dark){text{fill:#e6e9ed}.n,.g{fill:#a3abb5}.bg{fill:#14171b}.grid{fill:#20252b}.self{fill:#2c323a}.line{stroke:#454d57}.w{fill:#111}.dot{fill:#fff;stroke:#111}`

// darkColors are [colors] on a dark ground.
var darkColors = [...]string{ended: "#ff6f8b", missing: "#9aa2ad", soon: "#ffb443", unknown: "#9aa2ad", later: "#55b4f3", never: "#b9a3f0"}

// svgStyles are the styles of a picture.
func svgStyles() string {
	var light, dark strings.Builder
	rules := func(b *strings.Builder, colors []string) {
		for e := range ends {
			c, color := "."+e.class(), colors[e]
			b.WriteString(c + "{fill:" + color + ";stroke:" + color + "}" + c + ".o{fill:none}text.o" + c + "{fill:" + color + ";stroke:none;text-anchor:middle;font-weight:700}")
		}
	}
	rules(&light, colors[:])
	rules(&dark, darkColors[:])
	before, after, _ := strings.Cut(svgStyle, "@media")
	return before + light.String() + ".missing{fill:none;stroke-dasharray:2 2}.s{stroke:none}@media" + after + dark.String() + ".missing{fill:none}}"
}

// svg writes a picture: https://www.w3.org/TR/SVG11/
func (p *picture) svg(w *bufio.Writer) {
	m := p.layout()
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-labelledby="t d">`+"\n", m.width, m.height)
	fmt.Fprintf(w, "<title id=\"t\">%s</title>\n<desc id=\"d\">A row for each source cluster, a column for each destination. The colour of a cell tells when its credential ends; a hollow cell has no way back.</desc>\n<style>%s</style>\n",
		escaped(p.summary()), svgStyles())
	fmt.Fprintf(w, `<rect class="bg" width="%d" height="%d"/>`+"\n", m.width, m.height)
	fmt.Fprintf(w, `<text class="h" x="%d" y="28">%s</text>`+"\n", margin, escaped(p.summary()))
	p.svgFrame(w, m)
	cells := p.cells()
	if len(cells) <= mostDrawn {
		svgCells(w, m, cells)
	} else {
		svgPaths(w, m, cells)
	}
	p.svgLegend(w, m)
	w.WriteString("</svg>\n")
}

// svgFrame writes the ground of a matrix with the names beside it.
func (p *picture) svgFrame(w *bufio.Writer, m matrix) {
	fmt.Fprintf(w, `<rect class="grid" x="%d" y="%d" width="%d" height="%d"/>`+"\n", m.left, m.top, m.size*len(m.columns), m.size*len(m.rows))
	column := make(map[*inventory.Cluster]int, len(m.columns))
	for i, c := range m.columns {
		column[c] = i
		if m.size >= narrowest {
			x, y := m.left+i*m.size+m.size/2+4, m.top-6
			fmt.Fprintf(w, `<text class="n" transform="translate(%d %d) rotate(-90)">%s</text>`+"\n", x, y, escaped(shortName(c.Name)))
		}
	}
	for i, c := range m.rows {
		if m.size >= narrowest {
			fmt.Fprintf(w, `<text class="n" x="%d" y="%d" text-anchor="end">%s</text>`+"\n", m.left-6, m.top+i*m.size+m.size/2+4, escaped(shortName(c.Name)))
		}
		if at, both := column[c]; both {
			fmt.Fprintf(w, `<rect class="self" x="%d" y="%d" width="%[3]d" height="%[3]d"/>`+"\n", m.left+at*m.size, m.top+i*m.size, m.size)
		}
	}
	if p.Label == "" {
		return
	}
	groups := func(clusters []*inventory.Cluster, draw func(group string, from, to int)) {
		for i := 0; i < len(clusters); {
			first := i
			for i < len(clusters) && clusters[i].Group == clusters[first].Group {
				i++
			}
			draw(clusters[first].Group, first*m.size, i*m.size)
		}
	}
	right, bottom := m.left+m.size*len(m.columns), m.top+m.size*len(m.rows)
	groups(m.columns, func(group string, from, to int) {
		fmt.Fprintf(w, `<path class="line" d="M%d 58V%d"/><text class="g" x="%d" y="70">%s</text>`+"\n", m.left+from, bottom, m.left+from+4, escaped(cut(group, to-from)))
	})
	groups(m.rows, func(group string, from, to int) {
		fmt.Fprintf(w, `<path class="line" d="M%d %dH%d"/><text class="g" transform="translate(%d %d) rotate(-90)" text-anchor="end">%s</text>`+"\n", margin, m.top+from, right, margin+12, m.top+from+4, escaped(cut(group, to-from)))
	})
}

// cut is a text that fits into a width; empty if little of it does.
func cut(text string, width int) string {
	r := []rune(report.Printable(text))
	switch fits := (width - 4) / letter; {
	case len(r) <= fits:
		return string(r)
	case fits < 2:
		return ""
	default:
		return string(r[:fits-1]) + "…"
	}
}

// places are the places of clusters in a list.
func places(clusters []*inventory.Cluster) map[*inventory.Cluster]int {
	at := make(map[*inventory.Cluster]int, len(clusters))
	for i, c := range clusters {
		at[c] = i
	}
	return at
}

// svgCells writes each cell by itself, with what it tells.
func svgCells(w *bufio.Writer, m matrix, cells []cell) {
	row, column := places(m.rows), places(m.columns)
	for i := range cells {
		c := &cells[i]
		x, y, inner := m.left+column[c.to]*m.size, m.top+row[c.from]*m.size, m.size-4
		hollow := ""
		if !c.back {
			hollow = " o"
		}
		fmt.Fprintf(w, `<g><title>%s</title><rect class="%s%s" x="%d" y="%d" width="%[6]d" height="%[6]d" rx="%[7]d" stroke-width="2"/>`, escaped(c.String()), c.end.class(), hollow, x+2, y+2, inner, m.size/9)
		if glyph := c.end.glyph(); glyph != "" && m.size >= 20 {
			class := "w"
			if !c.back {
				class = "o " + c.end.class()
			}
			fmt.Fprintf(w, `<text class="%s" x="%d" y="%d">%s</text>`, class, x+m.size/2, y+m.size/2+5, glyph)
		}
		if c.finding {
			fmt.Fprintf(w, `<circle class="dot" cx="%d" cy="%d" r="%s"/>`, x+m.size-m.size/4, y+m.size/4, strconv.FormatFloat(max(2, float64(m.size)/7), 'f', 1, 64))
		}
		w.WriteString("</g>\n")
	}
}

// svgPaths writes the cells of each kind as one path of bars, which a pattern of the size
// of a cell makes into cells again.
func svgPaths(w *bufio.Writer, m matrix, cells []cell) {
	type kind struct {
		end  end
		back bool
	}
	row, column := places(m.rows), places(m.columns)
	bars := make(map[kind]*strings.Builder)
	var dots strings.Builder
	for i := 0; i < len(cells); {
		c := &cells[i]
		k := kind{c.end, c.back}
		if bars[k] == nil {
			bars[k] = new(strings.Builder)
		}
		n := 0
		for ; i < len(cells) && cells[i].from == c.from && column[cells[i].to] == column[c.to]+n && (kind{cells[i].end, cells[i].back}) == k; i++ {
			if cells[i].finding {
				fmt.Fprintf(&dots, "M%d %dh2v2h-2z", m.left+column[cells[i].to]*m.size+1, m.top+row[c.from]*m.size+1)
			}
			n++
		}
		fmt.Fprintf(bars[k], "M%d %dh%dv%dh-%dz", m.left+column[c.to]*m.size, m.top+row[c.from]*m.size, n*m.size, m.size, n*m.size)
	}
	for e := range ends {
		for _, back := range []bool{true, false} {
			b := bars[kind{e, back}]
			if b == nil {
				continue
			}
			id, class, at := fmt.Sprintf("%s%t", e.class(), back), e.class(), ""
			if !back {
				class, at = class+" o", " stroke-width=\"1\""
			} else {
				class += " s"
			}
			inset := map[bool]string{true: "0.5", false: "1"}[back]
			side := map[bool]int{true: m.size - 1, false: m.size - 2}[back]
			fmt.Fprintf(w, `<pattern id="%[1]s" patternUnits="userSpaceOnUse" x="%[2]d" y="%[3]d" width="%[4]d" height="%[4]d"><rect class="%[5]s" x="%[6]s" y="%[6]s" width="%[7]d" height="%[7]d"%[8]s/></pattern><path fill="url(#%[1]s)" d="%[9]s"/>`+"\n",
				id, m.left, m.top, m.size, class, inset, side, at, b.String())
		}
	}
	if dots.Len() > 0 {
		fmt.Fprintf(w, `<path class="dot s" d="%s"/>`+"\n", dots.String())
	}
}

// svgLegend says what the signs mean that the picture has.
func (p *picture) svgLegend(w *bufio.Writer, m matrix) {
	var has [ends]bool
	var hollow, finding bool
	cells := p.cells()
	for i := range cells {
		has[cells[i].end] = true
		hollow = hollow || !cells[i].back
		finding = finding || cells[i].finding
	}
	x, y := margin, m.top+m.size*len(m.rows)+24
	sign := func(draw, text string) {
		if x+30+letter*len(text) > m.width {
			x, y = margin, y+legend
		}
		fmt.Fprintf(w, `<g transform="translate(%d %d)">%s<text x="22" y="12">%s</text></g>`+"\n", x, y, draw, text)
		x += 40 + letter*len(text)
	}
	for e := range ends {
		if has[e] {
			draw := fmt.Sprintf(`<rect class="%s" width="14" height="14" rx="3"/>`, e.class())
			if g := e.glyph(); g != "" {
				draw += `<text class="w" x="7" y="12">` + g + `</text>`
			}
			text := e.String()
			switch e {
			case soon:
				text = fmt.Sprintf("ends within %d days", int(p.Within.Hours()/24))
			case later:
				text = "ends later"
			case unknown:
				text = "end unknown"
			}
			sign(draw, text)
		}
	}
	if hollow {
		sign(`<rect class="later o" width="14" height="14" rx="3" stroke-width="2"/>`, "no way back")
	}
	switch {
	case finding:
		sign(`<circle class="dot" cx="7" cy="7" r="4"/>`, "finding of validate")
	case !p.Judged:
		sign("", "without the findings of validate")
	}
}

// escaped is a text for HTML, XML and their attributes.
func escaped(s string) string { return html.EscapeString(report.Printable(s)) }
