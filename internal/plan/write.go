package plan

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"clusterpair.dev/internal/report"
)

// Change is what becomes of one pair that does not stay as it is.
type Change struct {
	// Mark is +, ~ or -, as in the plan on one line.
	Mark string
	// Pair is its NAMESPACE/NAME, File what the user types for its file.
	Pair, File string
	// Source is the cluster that has it, or the config; Destination the cluster that it
	// leads to, which only a fleet tells: of a pair that is removed, as the pair itself does.
	Source, Destination string
	// Rule is where the rule of the fleet, or the entry of the config, stands that makes
	// it. A pair that is removed has none.
	Rule report.Position
}

// Formats are the names of the formats of a plan. The first is not for [Write]: it is
// the line of each config.
func Formats() []string { return []string{"text", "markdown", "json"} }

// mostRows are so many pairs as a comment on a pull request has place for.
const mostRows = 200

// sums are counts of pairs.
type sums struct {
	Created   int `json:"created"`
	Changed   int `json:"changed"`
	Removed   int `json:"removed"`
	Unchanged int `json:"unchanged"`
	// Fresh are those of the unchanged that were not opened.
	Fresh int `json:"fresh"`
}

func (s *sums) add(c Config) {
	s.Created, s.Changed, s.Removed = s.Created+c.Created, s.Changed+c.Changed, s.Removed+len(c.Removed)
	s.Unchanged, s.Fresh = s.Unchanged+c.Unchanged, s.Fresh+c.Fresh
}

func (s sums) String() string {
	text := fmt.Sprintf("+%d ~%d -%d, %d unchanged", s.Created, s.Changed, s.Removed, s.Unchanged)
	if s.Fresh > 0 {
		text += fmt.Sprintf(", %d of them fresh (not opened)", s.Fresh)
	}
	return text
}

// byRule are the changes that each rule makes, in the order of the files.
func byRule(changes []Change) (rules []report.Position, counts map[report.Position]*sums) {
	counts = make(map[report.Position]*sums)
	for _, c := range changes {
		if c.Mark == "-" || c.Rule.File == "" {
			continue
		}
		if counts[c.Rule] == nil {
			counts[c.Rule] = new(sums)
			rules = append(rules, c.Rule)
		}
		if c.Mark == "+" {
			counts[c.Rule].Created++
		} else {
			counts[c.Rule].Changed++
		}
	}
	slices.SortFunc(rules, func(a, b report.Position) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return rules, counts
}

// Write writes a plan as Markdown, for a pull request, or as JSON: how many pairs change,
// in which clusters, by which rules, and each of them. In other formats it writes nothing,
// and does not ask for the changes.
func Write(w io.Writer, format string, configs []Config, each func() []Change) error {
	if format != "markdown" && format != "json" {
		return nil
	}
	changes := each()
	var total sums
	for _, c := range configs {
		total.add(c)
	}
	if format == "json" {
		return writeJSON(w, total, configs, changes)
	}
	b := bufio.NewWriter(w)
	fmt.Fprintf(b, "### ClusterPairs: %s\n", report.Markdown(total.String()))
	if len(changes) > 0 {
		markdownTables(b, configs, changes)
	}
	var readers Readers
	for i := range configs {
		readers.Merge(&configs[i].Readers)
	}
	for i, line := range readers.lines() {
		fmt.Fprintf(b, "%s- %s\n", map[bool]string{true: "\n"}[i == 0], report.Markdown(line))
	}
	return b.Flush()
}

func markdownTables(b *bufio.Writer, configs []Config, changes []Change) {
	b.WriteString("\n| source | created | changed | removed | unchanged |\n|---|---|---|---|---|\n")
	for _, c := range configs {
		if c.Changes() {
			fmt.Fprintf(b, "| %s | %d | %d | %d | %d |\n", report.Markdown(cmp.Or(c.Source, c.Name)), c.Created, c.Changed, len(c.Removed), c.Unchanged)
		}
	}
	if rules, counts := byRule(changes); len(rules) > 0 {
		b.WriteString("\n| rule | created | changed |\n|---|---|---|\n")
		for _, rule := range rules {
			fmt.Fprintf(b, "| %s | %d | %d |\n", report.Markdown(rule.String()), counts[rule].Created, counts[rule].Changed)
		}
	}
	b.WriteString("\n| | source | destination | pair | rule | file |\n|---|---|---|---|---|---|\n")
	for _, c := range changes[:min(mostRows, len(changes))] {
		rule := ""
		if c.Rule.File != "" {
			rule = report.Markdown(c.Rule.String())
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", report.Markdown(c.Mark), report.Markdown(c.Source), report.Markdown(c.Destination), report.Markdown(c.Pair), rule, report.Markdown(report.FileName(c.File)))
	}
	if more := len(changes) - mostRows; more > 0 {
		fmt.Fprintf(b, "\nand %s more\n", pairs(more))
	}
}

func writeJSON(w io.Writer, total sums, configs []Config, changes []Change) error {
	type source struct {
		Config string `json:"config"`
		Source string `json:"source,omitempty"`
		sums
	}
	type rule struct {
		File    string `json:"file"`
		Line    int    `json:"line"`
		Created int    `json:"created"`
		Changed int    `json:"changed"`
	}
	type change struct {
		Change      string `json:"change"`
		Pair        string `json:"pair"`
		Source      string `json:"source"`
		Destination string `json:"destination,omitempty"`
		File        string `json:"file"`
		Rule        string `json:"rule,omitempty"`
	}
	type reader struct {
		Change    string   `json:"change"`
		Recipient string   `json:"recipient"`
		Pairs     int      `json:"pairs"`
		Secrets   []string `json:"secrets"` // the files with the credentials of these pairs
	}
	doc := struct {
		sums
		Sources []source `json:"sources"`
		Rules   []rule   `json:"rules"`
		Pairs   []change `json:"pairs"`
		Readers []reader `json:"readers"`
	}{total, []source{}, []rule{}, []change{}, []reader{}}
	var all Readers
	for i, c := range configs {
		s := source{Config: c.Name, Source: c.Source}
		s.add(c)
		doc.Sources = append(doc.Sources, s)
		all.Merge(&configs[i].Readers)
	}
	for _, change := range []string{"joined", "left"} {
		of := map[string]map[string]*reading{"joined": all.joined, "left": all.left}[change]
		for _, recipient := range slices.Sorted(maps.Keys(of)) {
			doc.Readers = append(doc.Readers, reader{change, recipient, of[recipient].pairs, slices.Sorted(maps.Keys(of[recipient].secrets))})
		}
	}
	rules, counts := byRule(changes)
	for _, r := range rules {
		doc.Rules = append(doc.Rules, rule{r.File, r.Line, counts[r].Created, counts[r].Changed})
	}
	verbs := map[string]string{"+": "created", "~": "changed", "-": "removed"}
	for _, c := range changes {
		doc.Pairs = append(doc.Pairs, change{verbs[c.Mark], c.Pair, c.Source, c.Destination, c.File, c.Rule.String()})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(doc)
}
