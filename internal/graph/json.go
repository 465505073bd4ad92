package graph

import (
	"bufio"
	"strings"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

type jsonCluster struct {
	Name        string `json:"name"`
	Group       string `json:"group"`
	Source      bool   `json:"source"`
	Destination bool   `json:"destination"`
}

type jsonPair struct {
	Source      string        `json:"source"`
	Destination string        `json:"destination"`
	Namespace   string        `json:"namespace"`
	Name        string        `json:"name"`
	File        string        `json:"file"`
	Rendered    bool          `json:"rendered"`
	WayBack     bool          `json:"wayBack"`
	Expires     string        `json:"expires"`    // RFC 3339
	Expiry      string        `json:"expiry"`     // known, unknown or never
	Ends        string        `json:"ends"`       // what ends then: the credential or the CA
	Credential  string        `json:"credential"` // its kind
	CAExpires   string        `json:"caExpires"`  // RFC 3339
	Findings    []jsonFinding `json:"findings"`
}

type jsonFinding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Waived   string `json:"waived"` // the reason for which it does not count
}

// json writes {label, validated, clusters, pairs} with one cluster or pair a line. Programs
// read it: fields may come, but none goes or changes its meaning.
func (p *picture) json(w *bufio.Writer) {
	w.WriteString(`{"label": ` + report.JSONText(p.Label) + `, "validated": ` + report.JSONText(p.Judged) + ",\n\"clusters\": [")
	for i, c := range p.Clusters {
		w.WriteString(report.JSONSeparator(i) + report.JSONText(jsonCluster{c.Name, c.Group, c.Source, c.Destination}))
	}
	w.WriteString("],\n\"pairs\": [")
	for i := range p.Pairs {
		w.WriteString(report.JSONSeparator(i) + report.JSONText(jsonOf(&p.Pairs[i])))
	}
	w.WriteString("]}\n")
}

func jsonOf(p *inventory.Pair) jsonPair {
	e := p.End
	if p.Missing {
		e = &kubeconfig.End{}
	}
	out := jsonPair{Source: p.From.Name, Destination: p.To.Name, Namespace: p.Namespace, Name: p.Name, File: p.File, Rendered: !p.Missing, WayBack: p.Back,
		Expires: report.RFC3339(e.At), Expiry: e.State.String(), Ends: strings.TrimPrefix(e.What, "the "), Credential: string(e.Kind), CAExpires: report.RFC3339(e.CA), Findings: []jsonFinding{}}
	for _, f := range p.Findings {
		out.Findings = append(out.Findings, jsonFinding{f.Rule, f.Severity.String(), f.Message, f.Waived})
	}
	return out
}
