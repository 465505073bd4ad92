package render

import (
	"cmp"
	"path/filepath"
	"strings"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/plan"
	"clusterpair.dev/internal/worktree"
)

// Changes are the pairs that do not stay as they are, config by config.
func (r *Run) Changes() (changes []plan.Change) {
	marks := map[string]string{worktree.Created: "+", worktree.Changed: "~", worktree.Removed: "-"}
	for _, o := range r.outputs {
		made := make(map[string]*generator.Pair)
		pairs := o.pairs()
		for i := range pairs {
			p := &pairs[i]
			made[p.Namespace+"/"+p.Name] = p
		}
		leads := make(map[string]string)
		source := o.config.Metadata.Name
		if o.source != nil {
			source = o.source.Name
			for pair, to := range o.source.Leads() {
				leads[pair] = to.Name
			}
		}
		for _, change := range o.stage.Changes() {
			id := filepath.ToSlash(strings.TrimSuffix(change.Path, filepath.Ext(change.Path)))
			c := plan.Change{Mark: marks[change.Verb], Pair: id, File: o.stage.Show(change.Path), Source: source, Destination: cmp.Or(o.lost[change.Path], leads[id])}
			if p := made[id]; p != nil && c.Mark != "-" {
				c.Rule = p.Position
			}
			changes = append(changes, c)
		}
	}
	return changes
}
