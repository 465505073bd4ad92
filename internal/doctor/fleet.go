package doctor

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/report"
)

// source is a source cluster of a fleet.
type source struct {
	cluster string
	output  string // the directory of its pairs, from the root of the repository
}

// fleet says which clusters of a fleet get the pairs of others. That nothing applies a
// pair is for [examination.applied].
func (e *examination) fleet(p *Part) {
	if len(e.sources) == 0 || len(e.graph.Syncs) == 0 {
		return
	}
	by := make(map[string][]*engine.Sync) // what applies the pairs of a cluster
	var hint string
	var lines []string
	say := func(h, format string, args ...any) {
		if hint == "" {
			hint = h
		}
		lines = append(lines, fmt.Sprintf(format, args...))
	}
	for i := range e.graph.Syncs {
		s := &e.graph.Syncs[i]
		clusters := e.given(s)
		for _, cluster := range clusters {
			by[cluster] = append(by[cluster], s.Sync)
		}
		switch other := e.otherCluster(s, clusters); {
		case len(clusters) > 1:
			say("name the folder of one cluster as its path, and give each cluster an object of its own", "%s: %s applies the pairs of %s: a cluster is to get its own alone", s.At, s.Object, strings.Join(report.Few(clusters), ", "))
		case other != "":
			say("correct its path", "%s: %s stands in a folder of %s, and applies the pairs of %s", s.At, s.Object, other, clusters[0])
		}
	}
	e.targets(say)
	applied := 0
	for _, s := range e.sources {
		switch all := by[s.cluster]; len(all) {
		case 0:
		case 1:
			applied++
		default:
			say("leave the one that is meant for the cluster, and remove the others", "the pairs of %s are applied by %s at %s, and by %s at %s", s.cluster, all[0].Object, all[0].At, all[1].Object, all[1].At)
		}
	}
	switch {
	case len(lines) > 0:
		p.add(report.Warned, "fleet", hint, "clusters may get the pairs of another one").Details = report.Few(lines)
	case applied > 0:
		p.ok("fleet", "%s: an object of its own applies the pairs of each", report.Count(applied, "source cluster", "source clusters"))
	}
}

// given are the clusters of which a sync applies pairs, sorted.
func (e *examination) given(s *engine.Applied) (clusters []string) {
	for _, source := range e.sources {
		if slices.ContainsFunc(s.Pairs, func(file string) bool { return engine.Below(file, source.output) }) {
			clusters = append(clusters, source.cluster)
		}
	}
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

// targets tells of Applications of Argo CD that take the pairs of a cluster to another one.
func (e *examination) targets(say func(hint, format string, args ...any)) {
	const hint = "let the name of the destination, or the label that selects it, be that of the folder"
	first, said := make(map[string]string), make(map[string]bool)
	for i := range e.graph.Syncs {
		s := &e.graph.Syncs[i]
		clusters := e.given(s)
		if s.Unsure != "" || len(clusters) != 1 {
			continue
		}
		if len(s.Targets) > 1 {
			say(hint, "%s: %s applies the pairs of %s to several clusters", s.At, s.Object, clusters[0])
		}
		for _, to := range s.Targets {
			key := to
			if strings.Contains(to, "\n") || to == "in-cluster" || to == "https://kubernetes.default.svc" { // is another cluster for another object
				key += s.At.String()
			}
			switch other := first[key]; {
			case to != clusters[0] && slices.ContainsFunc(e.sources, func(s source) bool { return s.cluster == to }):
				say(hint, "%s: %s applies the pairs of %s to %s", s.At, s.Object, clusters[0], to)
			case other == "":
				first[key] = clusters[0]
			case other != clusters[0] && !said[key]:
				said[key] = true
				say(hint, "%s: %s applies the pairs of %s where those of %s go, too", s.At, s.Object, clusters[0], other)
			}
		}
	}
}

// otherCluster is the cluster after which a folder is named in which a sync stands, if
// that is none of those whose pairs it applies.
func (e *examination) otherCluster(s *engine.Applied, clusters []string) (other string) {
	for folder := range strings.SplitSeq(path.Dir(s.File), "/") {
		switch {
		case slices.Contains(clusters, folder):
			return ""
		case len(clusters) > 0 && slices.ContainsFunc(e.sources, func(s source) bool { return s.cluster == folder }):
			other = folder
		}
	}
	return other
}
