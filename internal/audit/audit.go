// Package audit writes down what an auditor asks of each committed ClusterPair.
//
// [Write] writes an inventory in one of the [Formats], pair by pair: who can decrypt it, of
// what kind its credential is, until when the credential works, when the pair was
// encrypted last, which rules are waived for what reason, and what a validator has found.
// What the files do not tell is said to be unknown. All texts of others are escaped.
package audit

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// Formats are the names of the formats that [Write] knows. The first is for people.
func Formats() []string { return []string{"markdown", "html", "json"} }

// Options say as of when to report.
type Options struct {
	// Now is compared with the ends of credentials. One that ends Within this time counts
	// as ending soon.
	Now    time.Time
	Within time.Duration
}

// Write writes an inventory in one of the [Formats].
func Write(w io.Writer, format string, inv *inventory.Inventory, o Options) error {
	b := bufio.NewWriter(w)
	a := &audit{Inventory: inv, Options: o}
	switch format {
	case "json":
		a.json(b)
	case "html":
		a.document(&htmlWriter{w: b})
	default:
		a.document(&markdownWriter{w: b})
	}
	return b.Flush()
}

// audit is an inventory on its way to a report.
type audit struct {
	*inventory.Inventory
	Options
}

// writer writes a document in some format. It escapes each text.
type writer interface {
	begin(title string)
	heading(text string)
	text(text string)
	table(head ...string)
	row(cells ...string)
	end() // of a table
	finish()
}

// unknown stands for what the files do not tell.
const unknown = "unknown"

// document writes the report for people.
func (a *audit) document(w writer) {
	numbers, recipients := a.recipients()
	w.begin("ClusterPairs and who holds what")
	a.summary(w)
	w.heading("Recipients")
	if len(recipients) == 0 {
		w.text("No pair is encrypted.")
	} else {
		w.text("Who has the private key of one of these can decrypt the pairs that name it. Names come from fleets, and from the comments and anchors of .sops.yaml.")
		w.table("", "recipient", "called", "pairs")
		for i, r := range recipients {
			w.row(short(i), r.key, cmp.Or(a.Recipients[r.key], unknown), strconv.Itoa(r.pairs))
		}
		w.end()
	}
	for i := range a.Pairs {
		p := &a.Pairs[i]
		if i == 0 || p.From != a.Pairs[i-1].From {
			if i > 0 {
				w.end()
			}
			w.heading("On " + named(p.From))
			w.table("destination", "pair", "credential", "until", "encrypted on", "decrypted by", "waived", "findings")
		}
		w.row(named(p.To), p.ID()+"\n"+p.File, a.credential(p), a.until(p), encryptedOn(p), decryptedBy(p, numbers), waived(p), a.found(p))
	}
	if len(a.Pairs) > 0 {
		w.end()
	}
	a.exceptions(w)
	a.elsewhere(w)
	w.heading("What this report does not know")
	for _, line := range limits {
		w.text(line)
	}
	w.finish()
}

// limits are what no file tells.
var limits = []string{
	"What a credential may do stands nowhere in the files: clusterpair preflight asks the destination, with the credential of the pair. Nor do the files tell the address of a destination, which is encrypted.",
	"The date of encryption is the latest on which the credential can have been rotated. SOPS writes it whenever it encrypts the content, as for another recipient, too: the credential may be older.",
	"Whoever could decrypt an earlier version of a file can still do so, with the history of Git. Nobody can tell from the files who holds a copy of a private key.",
}

// summary writes how many pairs there are, and of which kinds.
func (a *audit) summary(w writer) {
	counts := make(map[string]int)
	sources := make(map[*inventory.Cluster]bool)
	for i := range a.Pairs {
		p := &a.Pairs[i]
		sources[p.From] = true
		if p.Missing {
			counts["missing"]++
			continue
		}
		counts["pairs"]++
		if !p.Encrypted {
			counts["clear"]++
		}
		rule, _ := p.End.Verdict(a.Now, a.Within)
		counts[rule]++
		if p.End.State == kubeconfig.Unknown {
			counts["unknown"]++
		}
		if p.End.State == kubeconfig.Never {
			counts["never"]++
		}
	}
	w.table("", "")
	add := func(what string, n int) { w.row(what, strconv.Itoa(n)) }
	add("ClusterPairs", counts["pairs"])
	add("source clusters", len(sources))
	add("not rendered", counts["missing"])
	add("not encrypted", counts["clear"])
	add("credential has ended", counts["credential-expired"])
	add(fmt.Sprintf("credential ends within %d days", int(a.Within.Hours()/24)), counts["credential-expiring"])
	add("credential never ends", counts["never"])
	add("end of the credential is unknown", counts["unknown"])
	w.end()
	if !a.Judged {
		w.text("Without the findings of validate: --validate adds them.")
	}
}

// reader is a recipient with the number of pairs that it is of.
type reader struct {
	key   string
	pairs int
}

// recipients are those of all pairs, and their numbers.
func (a *audit) recipients() (numbers map[string]int, all []reader) {
	counts := make(map[string]int)
	for i := range a.Pairs {
		groups, _ := a.Pairs[i].Recipients()
		for _, r := range slices.Concat(groups...) {
			counts[r]++
		}
	}
	numbers = make(map[string]int, len(counts))
	for i, key := range slices.Sorted(maps.Keys(counts)) {
		numbers[key] = i
		all = append(all, reader{key, counts[key]})
	}
	return numbers, all
}

// short is how tables refer to a recipient.
func short(number int) string { return "R" + strconv.Itoa(number+1) }

// named is a cluster with its group.
func named(c *inventory.Cluster) string {
	if c.Group == "" {
		return c.Name
	}
	return c.Name + " (" + c.Group + ")"
}

// credential says of what kind the credential of a pair is.
func (a *audit) credential(p *inventory.Pair) string {
	if p.Missing {
		return ""
	}
	var all []string
	for id := range strings.SplitSeq(p.Credential, ",") {
		kind, value, _ := strings.Cut(id, ":")
		switch kind {
		case "secret":
			text := "token of a service account, in Secret " + value + " of the destination"
			if account := a.Accounts[id]; account != "" {
				text = "token of service account " + account + ", in Secret " + value + " of the destination"
			}
			all = append(all, text)
		case "jti":
			all = append(all, "token "+value)
		case "opaque":
			all = append(all, "token "+value[:min(8, len(value))])
		case "certificate":
			all = append(all, "client certificate "+value[:min(8, len(value))])
		}
	}
	return cmp.Or(strings.Join(all, " and "), unknown)
}

// until says when the credential ends.
func (a *audit) until(p *inventory.Pair) string {
	if p.Missing {
		return "not rendered"
	}
	text := unknown
	switch p.End.State {
	case kubeconfig.Known:
		text = report.RFC3339(p.End.At)
	case kubeconfig.Never:
		text = "without end"
	}
	if why := p.End.Why(); why != "" {
		text += ": " + why
	}
	if at, what := p.End.First(); !at.IsZero() && p.End.State != kubeconfig.Known {
		text += "; " + what + " ends on " + report.RFC3339(at)
	}
	if rule, _ := p.End.Verdict(a.Now, a.Within); rule == "credential-expired" {
		text += " (has ended)"
	} else if rule != "" {
		text += " (soon)"
	}
	return text
}

func encryptedOn(p *inventory.Pair) string {
	switch {
	case p.Missing:
		return ""
	case !p.Encrypted:
		return "not encrypted"
	case p.Modified == 0:
		return unknown
	}
	return report.RFC3339(time.Unix(p.Modified, 0))
}

// decryptedBy says whose keys it takes to decrypt a pair.
func decryptedBy(p *inventory.Pair, numbers map[string]int) string {
	if p.Missing {
		return ""
	}
	groups, needed := p.Recipients()
	var all []string
	for _, group := range groups {
		var names []string
		for _, r := range group {
			names = append(names, short(numbers[r]))
		}
		all = append(all, strings.Join(names, " or "))
	}
	switch {
	case !p.Encrypted:
		return "whoever reads the file"
	case len(all) > 1:
		return fmt.Sprintf("any %d of: (%s)", needed, strings.Join(all, "), ("))
	}
	return strings.Join(all, "")
}

func waived(p *inventory.Pair) string {
	var all []string
	for _, w := range p.Waivers {
		all = append(all, w.Rule+": "+cmp.Or(w.Reason, "no reason"))
	}
	for _, f := range p.Findings {
		if text := f.Rule + ": " + f.Waived; f.Waived != "" && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return cmp.Or(strings.Join(all, "\n"), "none")
}

func (a *audit) found(p *inventory.Pair) string {
	if !a.Judged && !p.Missing {
		return "not looked for"
	}
	var all []string
	for _, f := range p.Findings {
		if f.Waived == "" {
			all = append(all, f.Severity.String()+" "+f.Rule+": "+f.Message)
		}
	}
	return cmp.Or(strings.Join(all, "\n"), "none")
}

// exceptions writes what fleets leave out.
func (a *audit) exceptions(w writer) {
	if len(a.Exceptions) == 0 {
		return
	}
	w.heading("Left out")
	w.table("fleet", "from", "to", "reason", "until")
	for _, e := range a.Exceptions {
		w.row(e.Fleet, cmp.Or(e.From, "all"), cmp.Or(e.To, "all"), cmp.Or(e.Reason, unknown), cmp.Or(e.Until, "without end"))
	}
	w.end()
}

// elsewhere writes the findings in other files.
func (a *audit) elsewhere(w writer) {
	if len(a.Elsewhere) == 0 {
		return
	}
	w.heading("Findings in other files")
	w.table("place", "finding")
	for _, f := range a.Elsewhere {
		text := f.Severity.String() + " " + f.Rule + ": " + f.Message
		if f.Waived != "" {
			text = "waived " + f.Rule + ": " + f.Waived
		}
		w.row(f.Position.String(), text)
	}
	w.end()
}
