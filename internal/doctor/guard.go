package doctor

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/schema"
)

// guards are the policies of clusterpair schema -o admission that files hold.
type guards struct {
	policies []guardPolicy
	bound    bool // the policy that refuses has a binding
}

// guardPolicy is one of them.
type guardPolicy struct {
	at          report.Position
	name        string
	expressions []string // in CEL, in order
	alone       bool     // its file holds nothing else
}

// guardSettings notes which policies a file holds.
func (e *examination) guardSettings(file validate.File) {
	if !bytes.Contains(file.Data, []byte("ValidatingAdmissionPolicy")) {
		return
	}
	found := readGuards(file.Data, file.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.guards.policies = append(e.guards.policies, found.policies...)
	e.guards.bound = e.guards.bound || found.bound
}

func readGuards(data []byte, file string) (found guards) {
	alone := true
	manifest.Scan(data, file, func(d manifest.Document, _ *report.Finding) {
		manifest.EachItem(d.Node, func(n *yaml.Node) {
			name, kind := manifest.Text(n, "metadata", "name"), manifest.Text(n, "kind")
			alone = alone && slices.Contains(schema.PolicyNames, name)
			switch {
			case kind == "ValidatingAdmissionPolicyBinding" && manifest.Text(n, "spec", "policyName") == schema.DecodePolicy:
				found.bound = true
			case kind == "ValidatingAdmissionPolicy" && slices.Contains(schema.PolicyNames, name):
				p := guardPolicy{at: report.Position{File: file, Line: n.Line}, name: name}
				for _, list := range []string{"variables", "validations"} {
					for _, item := range manifest.Items(n, "spec", list) {
						p.expressions = append(p.expressions, manifest.Text(item, "expression"))
					}
				}
				if p.expressions != nil { // else it is a patch
					found.policies = append(found.policies, p)
				}
			}
		})
	})
	for i := range found.policies {
		found.policies[i].alone = alone
	}
	return found
}

// guard says whether the policies are here by which the API server of a source cluster
// refuses what stops Stork, and whether they are those of this release.
func (e *examination) guard(p *Part) {
	if !slices.ContainsFunc(e.graph.Pairs, func(pair engine.Committed) bool { return pair.Applied }) {
		return
	}
	refuses := slices.ContainsFunc(e.guards.policies, func(g guardPolicy) bool { return g.name == schema.DecodePolicy })
	if !refuses || !e.guards.bound {
		p.add(report.Skipped, "guard", "commit what this prints where it is applied before the pairs: clusterpair schema -o admission > FILE",
			"only the source clusters tell whether they refuse what stops Stork: no policy for that is here")
		return
	}
	slices.SortFunc(e.guards.policies, func(a, b guardPolicy) int { return comparePlaces(a.at, b.at) })
	said := ""
	for _, g := range e.guards.policies {
		if definition, current := g.source(); !current && g.at.File != said {
			said = g.at.File
			hint := "put in its place what this prints: clusterpair schema -o admission" + definition
			if g.alone {
				hint = "clusterpair schema -o admission" + definition + " > " + report.Typed(g.at.File)
			}
			p.add(report.Warned, "guard", hint, "%s: policy %s is not that of this release, and judges otherwise", g.at, g.name)
		}
	}
	if said == "" {
		p.ok("guard", "source clusters refuse what stops Stork, by the policy %s of this release", schema.DecodePolicy)
	}
}

// source is the definition, as an argument of clusterpair schema, from which a policy was
// most likely printed, and whether this release prints the same expressions.
func (g *guardPolicy) source() (argument string, current bool) {
	fewest := math.MaxInt // expressions that only one of the two has
	for _, definition := range []string{"", " ClusterPairWithMode", " ClusterPairWithoutMode"} {
		text, _ := schema.Export("admission", strings.TrimSpace(definition)) // they are known
		for _, now := range readGuards(text, "").policies {
			if now.name != g.name {
				continue
			}
			if slices.Equal(now.expressions, g.expressions) {
				return definition, true
			}
			differ := len(now.expressions) + len(g.expressions)
			for _, expression := range g.expressions {
				if slices.Contains(now.expressions, expression) {
					differ -= 2
				}
			}
			if differ < fewest {
				fewest, argument = differ, definition
			}
		}
	}
	return argument, false
}
