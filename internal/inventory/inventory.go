// Package inventory lists committed ClusterPairs with the clusters between which they lead.
//
// [Read] reads the files of a repository, and takes what stands in clear alone: the
// annotations of the pairs, the function configs and fleets that render them, and the
// metadata of Secrets. It needs no key. What the files do not tell it leaves empty: the
// name of a cluster is that in a fleet, else that of the config or Secret, else that of the
// folder or of the pair itself. [Inventory.Judge] adds what a validator has found.
package inventory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unique"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// Cluster is one at an end of a pair.
type Cluster struct {
	Name string
	// Group is the value of the label by which clusters are grouped; empty if nothing
	// tells it.
	Group string
	// Source says that the cluster has pairs, Destination that some lead to it.
	Source, Destination bool

	labels map[string]string
}

// Pair is a ClusterPair of the source cluster From that leads to To.
type Pair struct {
	From, To        *Cluster
	Namespace, Name string
	File            string
	// Missing says that a config or fleet renders the pair into File, and it is not there.
	Missing bool
	// End is when the credential ends.
	End *kubeconfig.End
	// Back says that a pair leads back from To to From, as far as the files tell.
	Back bool
	// Encrypted says that the file is; then Readers are its recipients, as [Pair.Recipients]
	// gives them, and Modified is when SOPS wrote it, zero if that is not known.
	Encrypted bool
	Readers   unique.Handle[string]
	Modified  int64
	// Credential names the credential by what is no secret of it; it may be empty.
	Credential string
	// Waivers are the rules that do not count for the pair, with the reasons.
	Waivers []Waiver
	// Findings are what the validator has found in the pair.
	Findings []report.Finding

	both       bool                  // the pair says that it has a counterpart
	config, ca unique.Handle[string] // what has rendered it, and the CA that it trusts
}

// Waiver is a rule that does not count, with the reason.
type Waiver struct{ Rule, Reason string }

// ID is NAMESPACE/NAME.
func (p *Pair) ID() string { return strings.TrimPrefix(p.Namespace+"/"+p.Name, "/") }

// Worst is the gravest of the findings that count.
func (p *Pair) Worst() (worst report.Severity, any bool) {
	worst = report.Info
	for _, f := range p.Findings {
		if f.Waived == "" {
			worst, any = min(worst, f.Severity), true
		}
	}
	return worst, any
}

// Inventory are the pairs of a repository.
type Inventory struct {
	// Clusters are sorted by group and name, and Pairs by their clusters in that order.
	Clusters []*Cluster
	Pairs    []Pair
	// Label is that by which the clusters are grouped; empty if none has any.
	Label string
	// Judged says that a validator has looked. Elsewhere are its findings in files that
	// hold no pair; without it, those in [Inventory.Unread].
	Elsewhere []report.Finding
	Judged    bool
	// Recipients are the names of recipients, as far as fleets and creation rules have them.
	Recipients map[string]string
	// Accounts are the service accounts of credentials, NAMESPACE/NAME, as the Secrets tell
	// from which pairs are rendered.
	Accounts map[string]string
	// Exceptions are the pairs that fleets leave out.
	Exceptions []Exception
	// Broken are the configs, fleets and creation rules that cannot be read, each with the
	// reason: pairs are listed as if they were not there.
	Broken []string
	// Unread are the documents that cannot be read and may hold pairs, which are left out.
	Unread []report.Finding
}

// Notes are what is to be told of an inventory besides, each in one line.
func (inv *Inventory) Notes() (notes []string) {
	if n := len(inv.Unread); n > 0 {
		notes = append(notes, fmt.Sprintf("warning: %s cannot be read, and what pairs they hold is left out: %s", report.Count(n, "document", "documents"), report.ErrorLine(inv.Unread[0], "")))
	}
	names := ", so that clusters or recipients may have other names"
	if len(inv.Pairs) == 0 {
		notes, names = append(notes, "No ClusterPairs found."), ""
	}
	if n := len(inv.Broken); n > 0 {
		notes = append(notes, fmt.Sprintf("warning: %s with configs or creation rules cannot be read%s: %s", report.Count(n, "file", "files"), names, inv.Broken[0]))
	}
	return notes
}

// Exception is what a fleet leaves out. From and To mean clusters, by name or labels; empty
// means all.
type Exception struct{ Fleet, From, To, Reason, Until string }

// Read lists the pairs in the files that arguments mean. Clusters are grouped by a label;
// an empty one stands for those that name a region. unread are the errors of single files.
func Read(ctx context.Context, source *gitfiles.WorkTree, args []string, label string) (inv *Inventory, unread []error, err error) {
	files, err := source.List(ctx, args)
	if err != nil {
		return nil, nil, err
	}
	c := &collection{repo: source.Repository, args: args, configs: make(map[string]bool), secrets: make(map[string][]secret),
		names: make(map[string]string), intern: make(map[kubeconfig.End]*kubeconfig.End)}
	unread, err = gitfiles.Each(ctx, source, files.Each, func(_ context.Context, file gitfiles.File, data []byte) error {
		if concerns(data) && (files.LeftOut == nil || file.Any || !files.LeftOut(file.Path)) {
			c.file(file.Name, data)
		}
		return nil
	})
	if err != nil {
		return nil, unread, err
	}
	return c.inventory(label), unread, nil
}

// Judge puts the findings of a validator with the pairs that they are about.
func (inv *Inventory) Judge(findings []report.Finding) {
	inv.Judged, inv.Elsewhere = true, nil // it finds anew what cannot be read
	about := make(map[string][]*Pair)
	for _, f := range findings {
		about[f.Position.File] = nil
	}
	for i := range inv.Pairs {
		p := &inv.Pairs[i]
		if known, asked := about[p.File]; asked && !p.Missing {
			about[p.File] = append(known, p)
		}
	}
	for _, f := range findings {
		pairs := about[f.Position.File]
		named := slices.DeleteFunc(slices.Clone(pairs), func(p *Pair) bool { return !strings.HasSuffix(f.Object, p.ID()) })
		if len(named) > 0 {
			pairs = named
		}
		for _, p := range pairs {
			p.Findings = append(p.Findings, f)
		}
		if len(pairs) == 0 {
			inv.Elsewhere = append(inv.Elsewhere, f)
		}
	}
}

// sort sorts clusters and pairs, and finds the ways back.
func (inv *Inventory) sort() {
	slices.SortFunc(inv.Clusters, func(a, b *Cluster) int {
		return cmp.Or(boolean(a.Group == "")-boolean(b.Group == ""), strings.Compare(a.Group, b.Group), strings.Compare(a.Name, b.Name))
	})
	place := make(map[*Cluster]int, len(inv.Clusters))
	for i, c := range inv.Clusters {
		place[c] = i
	}
	slices.SortFunc(inv.Pairs, func(a, b Pair) int {
		return cmp.Or(place[a.From]-place[b.From], place[a.To]-place[b.To], strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), strings.Compare(a.File, b.File))
	})
	leads := make(map[[2]*Cluster]bool, len(inv.Pairs))
	for i := range inv.Pairs {
		if p := &inv.Pairs[i]; !p.Missing {
			leads[[2]*Cluster{p.From, p.To}] = true
		}
	}
	for i := range inv.Pairs {
		p := &inv.Pairs[i]
		// The pair of a cluster whose files are elsewhere can only be believed.
		p.Back = leads[[2]*Cluster{p.To, p.From}] || p.both && !p.To.Source
	}
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// collection is what the files of a run hold.
type collection struct {
	repo gitfiles.Repository
	args []string

	mu      sync.Mutex
	configs map[string]bool     // files with function configs or fleets
	secrets map[string][]secret // by name
	pairs   []Pair
	unread  []report.Finding
	broken  []string          // what is wrong with creation rules
	names   map[string]string // of recipients
	intern  map[kubeconfig.End]*kubeconfig.End
}
