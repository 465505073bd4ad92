// Package graph draws which clusters hold credentials of which others.
//
// [Write] writes an inventory in one of the [Formats]. The pictures are matrices: a row for
// each source cluster, a column for each destination, so that no layout is needed and
// hundreds of clusters stay readable. The same inventory gives the same bytes. All texts of
// others are escaped for the format in which they stand.
package graph

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// Formats are the names of the formats that [Write] knows.
func Formats() []string { return []string{"svg", "html", "dot", "mermaid", "json"} }

// Options say as of when to draw.
type Options struct {
	// Now is compared with the ends of credentials. One that ends Within this time is
	// shown as ending soon.
	Now    time.Time
	Within time.Duration
}

// Write writes an inventory in one of the [Formats].
func Write(w io.Writer, format string, inv *inventory.Inventory, o Options) error {
	p := &picture{Inventory: inv, Options: o}
	b := bufio.NewWriter(w)
	var err error
	switch format {
	case "html":
		err = p.html(b)
	case "dot":
		p.dot(b)
	case "mermaid":
		p.mermaid(b)
	case "json":
		p.json(b)
	default:
		p.svg(b)
	}
	return cmp.Or(err, b.Flush())
}

// picture is an inventory on its way to a file.
type picture struct {
	*inventory.Inventory
	Options
}

// end is what is known of the end of a credential, the gravest first.
type end int

const (
	ended end = iota
	missing
	soon
	unknown
	later
	never
	ends
)

// String is the word for it in classes and legends.
func (e end) String() string {
	return [...]string{"ended", "not rendered", "ends soon", "unknown", "later", "never ends"}[e]
}

// class is its name in style sheets.
func (e end) class() string {
	return [...]string{"ended", "missing", "soon", "unknown", "later", "never"}[e]
}

// glyph tells it without a colour.
func (e end) glyph() string { return [...]string{"×", "", "!", "?", "", "∞"}[e] }

// endOf judges the end of a pair's credential.
func (p *picture) endOf(pair *inventory.Pair) end {
	if pair.Missing {
		return missing
	}
	at, _ := pair.End.First()
	switch {
	case !at.IsZero() && !at.After(p.Now):
		return ended
	case !at.IsZero() && !at.After(p.Now.Add(p.Within)):
		return soon
	case pair.End.State == kubeconfig.Known:
		return later
	case pair.End.State == kubeconfig.Never:
		return never
	}
	return unknown
}

// cell are the pairs of one cluster that lead to another, judged by the gravest of them.
type cell struct {
	from, to *inventory.Cluster
	pairs    []inventory.Pair
	end      end
	back     bool
	finding  bool
}

// cells are those with a pair, by rows.
func (p *picture) cells() []cell {
	var all []cell
	for i := range p.Pairs {
		pair := &p.Pairs[i]
		if n := len(all); n == 0 || all[n-1].from != pair.From || all[n-1].to != pair.To {
			all = append(all, cell{from: pair.From, to: pair.To, end: ends, back: true, pairs: p.Pairs[i:i]})
		}
		c := &all[len(all)-1]
		c.pairs = c.pairs[:len(c.pairs)+1]
		c.end = min(c.end, p.endOf(pair))
		c.back = c.back && pair.Back
		_, any := pair.Worst()
		c.finding = c.finding || any
	}
	return all
}

// String tells what a cell shows, in one line.
func (c *cell) String() string {
	var b strings.Builder
	b.WriteString(c.from.Name + " → " + c.to.Name)
	const most = 3
	for i := range c.pairs {
		if i == most {
			fmt.Fprintf(&b, "; %d more", len(c.pairs)-most)
			break
		}
		b.WriteString(cmp.Or(map[bool]string{true: ": "}[i == 0], "; ") + tells(&c.pairs[i]))
	}
	if !c.back {
		b.WriteString("; no way back")
	}
	return b.String()
}

// tells says of a pair what it is called, when its credential ends and what was found.
func tells(pair *inventory.Pair) string {
	text := pair.ID() + ", "
	if pair.Missing {
		return text + "not rendered"
	}
	text += endText(pair.End)
	if why := pair.End.Why(); why != "" {
		text += ": " + why
	}
	for _, f := range pair.Findings {
		if f.Waived == "" {
			text += ", " + f.Severity.String() + " " + f.Rule
		}
	}
	return text
}

// endText is an end in words.
func endText(e *kubeconfig.End) string {
	switch e.State {
	case kubeconfig.Known:
		return "ends " + report.RFC3339(e.At)
	case kubeconfig.Never:
		return "never ends"
	}
	return "end unknown"
}

// rows and columns are the clusters that stand at them.
func (p *picture) rows() (all []*inventory.Cluster) {
	for _, c := range p.Clusters {
		if c.Source {
			all = append(all, c)
		}
	}
	return all
}

func (p *picture) columns() (all []*inventory.Cluster) {
	for _, c := range p.Clusters {
		if c.Destination {
			all = append(all, c)
		}
	}
	return all
}

// summary is the picture in one sentence.
func (p *picture) summary() string {
	n := 0
	for i := range p.Pairs {
		if !p.Pairs[i].Missing {
			n++
		}
	}
	return report.Count(n, "ClusterPair", "ClusterPairs") + " from " + report.Count(len(p.rows()), "source cluster", "source clusters") +
		" to " + report.Count(len(p.columns()), "destination", "destinations")
}
