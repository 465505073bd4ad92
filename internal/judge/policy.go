package judge

import (
	"context"
	"os"
	"strings"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
	"clusterpair.dev/schema"
)

// Policy is a CUE file with constraints of the user's own.
type Policy struct {
	*schema.Policy
	file string
}

// OpenPolicy reads the policy of a file. The program clusterpair-helper evaluates it, until
// ctx ends.
func OpenPolicy(ctx context.Context, file string) (*Policy, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, worktree.Unread(file, err)
	}
	var program helper.Client
	p, err := schema.LoadPolicy(data, file, func(operation string, in, out any) error { return program.Ask(ctx, operation, in, out) })
	return &Policy{p, file}, err
}

// Judged is how many documents of a run each definition was held against.
func (p *Policy) Judged(v *validate.Validator) map[string]int {
	judged := make(map[string]int)
	for _, definition := range p.Definitions() {
		judged[definition] = v.Judged(definition)
	}
	return judged
}

// Idle is the finding about a policy that has judged nothing in a run, none if it has
// judged something: a policy that judges nothing looks like one that all documents
// keep. In a run of single files, which is not whole, there may be nothing for it to
// judge.
func (p *Policy) Idle(v *validate.Validator, whole bool) []report.Finding {
	if _, pairs := v.Checked(); !whole && pairs == 0 {
		return nil
	}
	for _, documents := range p.Judged(v) {
		if documents > 0 {
			return nil
		}
	}
	f := report.Finding{Rule: "policy", Severity: report.Warning, Position: report.Position{File: p.file},
		Message: "the policy has judged no document: there is none of the kind of " + strings.Join(p.Definitions(), ", "),
		Hint:    "#ClusterPair is for all ClusterPairs, #Encrypted for those that are encrypted"}
	if len(p.Definitions()) == 0 {
		f.Message = "the policy has judged no document: it adds to no definition of a kind of document"
	}
	return []report.Finding{f}
}
