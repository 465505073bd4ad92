// Package plan judges what a run of generate is going to do to the rendered pairs.
//
// A [Config] says it of one function config. [Excess] refuses a run that removes more
// pairs than somebody has asked for: a pair that is removed from Git is removed from its
// cluster, with the failover that needs it.
package plan

import (
	"fmt"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Config is what becomes of the pairs of one function config.
type Config struct {
	Name string
	// Source is the source cluster of a fleet that it stands for; else empty.
	Source string
	// Position is where the config stands.
	Position                    report.Position
	Created, Changed, Unchanged int
	// Fresh are those of the unchanged whose values were not compared.
	Fresh int
	// Removed are the files of the pairs that the config no longer lists.
	Removed []string
	// Lost are the clusters to which they lead, sorted, as far as that is known.
	Lost []string
	// Readers are those of its pairs that join and leave.
	Readers Readers
	// Fleet is the name of the fleet that the config stands for a source of, if that
	// limits what a run may remove: Most pairs of all its sources.
	Fleet string
	Most  int
}

// String is the plan on one line, as in "east: +1 ~0 -2 (to north, west), 5 unchanged".
func (c Config) String() string {
	lost := ""
	if len(c.Lost) > 0 {
		lost = " (to " + few(slices.Compact(slices.Clone(c.Lost))) + ")"
	}
	return fmt.Sprintf("%s: +%d ~%d -%d%s, %d unchanged", c.Name, c.Created, c.Changed, len(c.Removed), lost, c.Unchanged)
}

// Changes tells whether any file is going to change.
func (c Config) Changes() bool { return c.Created+c.Changed+len(c.Removed) > 0 }

// Limit is how many pairs a run may remove that nobody has asked to remove more:
// one in ten of those that were rendered before, and at least one.
func (c Config) Limit() int { return max(1, (c.Changed+c.Unchanged+len(c.Removed))/10) }

// Excess finds the configs that lose more pairs than their limits, and the fleets that
// do. Is allowed not negative, the run may remove so many in place of the limits. command
// is what the user types to remove them all the same.
func Excess(configs []Config, allowed int, command string) []report.Finding {
	all := 0
	for _, c := range configs {
		all += len(c.Removed)
	}
	var findings []report.Finding
	for _, c := range together(configs) {
		removed, limit := len(c.Removed), c.Limit()
		if c.Fleet != "" {
			limit = c.Most
		}
		may := fmt.Sprintf("a run removes %s without being asked", pairs(limit))
		over := removed > limit
		if allowed >= 0 {
			may, over = fmt.Sprintf("--remove %d allows fewer", allowed), removed > 0 && all > allowed
		}
		if !over {
			continue
		}
		before := c.Changed + c.Unchanged + removed
		findings = append(findings, report.Finding{Rule: "bulk-removal", Severity: report.Error, Position: c.Position, Object: c.object(),
			Message: fmt.Sprintf("%d of %s of %s would be removed, and %s: %s", removed, pairs(before), c.called(), may, few(c.Removed)),
			Hint:    fmt.Sprintf("look for a label, a name or a file that was changed by mistake; if they are to go: %s --remove %d", command, all)})
	}
	return findings
}

// together makes one of the sources of a fleet that has a limit of its own.
func together(configs []Config) []Config {
	var all []Config
	at := make(map[string]int)
	for _, c := range configs {
		i, known := at[c.Fleet]
		if c.Fleet == "" || !known {
			at[c.Fleet] = len(all)
			all = append(all, c)
			continue
		}
		f := &all[i]
		f.Created, f.Changed, f.Unchanged = f.Created+c.Created, f.Changed+c.Changed, f.Unchanged+c.Unchanged
		f.Removed = slices.Concat(f.Removed, c.Removed)
	}
	return all
}

func (c Config) object() string {
	if c.Fleet != "" {
		return "ClusterPairFleet " + c.Fleet
	}
	return "ClusterPairGenerator " + c.Name
}

// called is how messages name it.
func (c Config) called() string {
	if c.Fleet != "" {
		return "fleet " + c.Fleet
	}
	return "config " + c.Name
}

func pairs(n int) string { return report.Count(n, "pair", "pairs") }

// few are the first names of a list.
func few(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
