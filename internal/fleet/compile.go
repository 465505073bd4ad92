package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
)

// IsClusterName tells whether a cluster can have a name.
func IsClusterName(name string) bool { return len(validation.IsDNS1123Label(name)) == 0 }

// Source is a source cluster of the fleet, with the config that renders its pairs.
type Source struct {
	*Cluster
	// Config is the name of the config, Output the directory of its pairs, relative to
	// the fleet's own directory.
	Config, Output string

	made    []made // sorted, and not yet pairs: those of a large fleet take much memory
	fleet   *Fleet
	foreign map[string]string // the clusters whose own recipients are none of this one's
}

// Compile pairs the clusters that the fleet and the Secrets make. now tells which
// exceptions have ended. The sources are sorted by name; with an Error among the
// findings there are none.
func (f *Fleet) Compile(secrets []Secret, now time.Time) ([]Source, []report.Finding) {
	clusters, findings := f.clusters(secrets)
	if report.HasErrors(findings) {
		return nil, unique(findings)
	}
	f.locate(clusters, secrets)
	c := &compilation{fleet: f, clusters: clusters, now: now, findings: findings,
		pairs: make(map[string][]made), excepted: make([]bool, len(f.spec.Except)), paired: make(map[string]bool)}
	f.bySecret = make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		if c.sorted = append(c.sorted, clusters[name]); clusters[name].Destination.Secret != nil {
			f.bySecret[clusters[name].Destination.Secret.Name] = name
		}
	}
	c.sameBySecret()
	c.checkExceptions()
	for i := range f.spec.Pairs {
		c.rule(&f.spec.Pairs[i])
	}
	c.once()
	c.idle()
	sources := c.sources()
	if findings = unique(c.findings); report.HasErrors(findings) {
		return nil, findings
	}
	return sources, findings
}

// Clusters are all clusters of the fleet, by the name of the Secret with their kubeconfig.
func (s *Source) Clusters() map[string]string { return s.fleet.bySecret }

// compilation is one [Fleet.Compile] on its way.
type compilation struct {
	fleet    *Fleet
	now      time.Time
	clusters map[string]*Cluster
	sorted   []*Cluster
	pairs    map[string][]made // by source
	excepted []bool            // whether an exception has left something out
	paired   map[string]bool   // the clusters in a pair, or in an exception from one
	findings []report.Finding
}

// made is a pair, as what makes it: a large fleet has many.
type made struct {
	rule            *rule
	way             way
	namespace, name string
}

func (c *compilation) add(f report.Finding) { c.findings = append(c.findings, f) }

// meant are the clusters that a rule or exception means. That there are none is an
// error: it is a typo.
func (c *compilation) meant(b *by, path string) []*Cluster {
	var found []*Cluster
	for _, cluster := range c.sorted {
		if b.means(cluster) {
			found = append(found, cluster)
		}
	}
	if len(found) > 0 {
		return found
	}
	var message, near string
	if b.name != "" {
		message, near = "there is no cluster "+b.name, report.Nearest(b.name, slices.Sorted(maps.Keys(c.clusters)))
	} else {
		message, near = "no cluster has the labels "+strings.ReplaceAll(b.String(), ",", ", "), c.nearLabel(b.labels)
	}
	hint := "the clusters are " + strings.Join(report.Few(slices.Sorted(maps.Keys(c.clusters))), ", ")
	if near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	c.add(errorAt(b.at, path, message, hint))
	return nil
}

// nearLabel is a label of a cluster that is like one of those given.
func (c *compilation) nearLabel(given map[string]string) string {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		var values, keys []string
		for _, cluster := range c.sorted {
			if value, has := cluster.Labels[key]; has {
				values = append(values, value)
			}
			keys = slices.AppendSeq(keys, maps.Keys(cluster.Labels))
		}
		if near := report.Nearest(given[key], values); near != "" && !slices.Contains(values, given[key]) {
			return key + ": " + near
		}
		if near := report.Nearest(key, keys); len(values) == 0 && near != "" {
			return near
		}
	}
	return ""
}

func (c *compilation) checkExceptions() {
	for i := range c.fleet.spec.Except {
		e := &c.fleet.spec.Except[i]
		if !e.From.given && !e.To.given {
			c.add(errorAt(e.at, "spec.except", "the exception names neither from nor to: it leaves out every pair", "as in {from: ops, to: west, reason: …}"))
		}
		if e.From.given {
			c.meant(&e.From, "spec.except.from")
		}
		if e.To.given {
			c.meant(&e.To, "spec.except.to")
		}
	}
}

// rule makes the pairs of one rule.
func (c *compilation) rule(r *rule) {
	switch {
	case r.Ring && r.To.given:
		c.add(errorAt(r.To.at, "spec.pairs.to", "a ring has no to: its clusters are those of from", "remove to, or ring"))
		return
	case !r.Ring && !r.To.given:
		c.add(errorAt(r.at, "spec.pairs.to", "the rule says not which clusters are the destinations", "to: {role: dr}, or ring: true to pair the clusters of from with each other"))
		return
	}
	from := c.meant(&r.From, "spec.pairs.from")
	to := from
	if !r.Ring {
		to = c.meant(&r.To, "spec.pairs.to")
	}
	if from == nil || to == nil || !c.checkSame(r, from, to) {
		return
	}
	ways := c.ways(r, from, to)
	all, kept := len(ways), 0
	for _, w := range ways {
		c.paired[w.from.Name], c.paired[w.to.Name] = true, true
		if c.except(w.from, w.to) {
			continue
		}
		kept++
		w.single = !r.BothWays || c.except(w.to, w.from)
		c.make(r, w)
	}
	switch {
	case all == 0:
		c.add(errorAt(r.at, "spec.pairs", "the rule pairs no clusters: from and to mean the same one, or none with the same labels", "change from, to or same"))
	case kept == 0:
		c.add(errorAt(r.at, "spec.pairs", "each pair of the rule is left out by an exception", "remove the rule, or the exceptions"))
	}
}

// checkSame finds labels of same that no cluster has.
func (c *compilation) checkSame(r *rule, from, to []*Cluster) bool {
	for _, key := range r.Same {
		has := func(cluster *Cluster) bool { return cluster.Labels[key] != "" }
		if slices.ContainsFunc(from, has) && slices.ContainsFunc(to, has) {
			continue
		}
		hint := "add the label to the clusters, or remove it from same"
		if near := c.nearLabel(map[string]string{key: ""}); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		c.add(errorAt(r.at, "spec.pairs.same", fmt.Sprintf("no cluster of from, or none of to, has a label %s", key), hint))
		return false
	}
	return true
}

// way is one direction between two clusters. The names of pairs are those of the way
// that the rule has made, which is back if this is the way back. A single one has no
// counterpart.
type way struct {
	from, to     *Cluster
	back, single bool
}

// ways are the directions that a rule means, sorted.
func (c *compilation) ways(r *rule, from, to []*Cluster) []way {
	forth := make(map[[2]string]bool)
	var all []way
	add := func(a, b *Cluster) {
		key := [2]string{a.Name, b.Name}
		if a == b || forth[key] || r.BothWays && forth[[2]string{b.Name, a.Name}] { // of two that are there and back one is the way forth
			return
		}
		forth[key] = true
		all = append(all, way{from: a, to: b})
	}
	if r.Ring {
		for _, group := range grouped(r.Same, from) {
			for i, cluster := range group {
				add(cluster, group[(i+1)%len(group)])
			}
		}
	} else {
		for _, a := range from {
			for _, b := range to {
				if same(r.Same, a, b) {
					add(a, b)
				}
			}
		}
	}
	if r.BothWays {
		for _, w := range slices.Clone(all) {
			all = append(all, way{from: w.to, to: w.from, back: true})
		}
	}
	return all
}

// same tells whether two clusters have the same values of all labels.
func same(keys []string, a, b *Cluster) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return a.Labels[key] == "" || a.Labels[key] != b.Labels[key] })
}

// grouped are the clusters with the same values of all labels together.
func grouped(keys []string, clusters []*Cluster) (groups [][]*Cluster) {
	for _, cluster := range clusters {
		i := slices.IndexFunc(groups, func(g []*Cluster) bool { return same(keys, g[0], cluster) })
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], cluster)
	}
	return groups
}

// except tells whether an exception leaves out a direction.
func (c *compilation) except(from, to *Cluster) bool {
	out := false
	for i := range c.fleet.spec.Except {
		if e := &c.fleet.spec.Except[i]; e.From.means(from) && e.To.means(to) {
			c.excepted[i] = true
			out = out || !e.ended(c.now)
		}
	}
	return out
}

// make makes the pairs of a direction, one in each namespace.
func (c *compilation) make(r *rule, w way) {
	if w.to.Destination.Secret == nil {
		c.add(errorAt(w.to.Position, "spec.clusters", fmt.Sprintf("cluster %s is a destination by the rule at %s, and no Secret holds its kubeconfig", w.to.Name, r.at),
			"add the Secret to files, or name it with destination.secret; a cluster without one can be a source alone"))
		return
	}
	name, err := pairName(r, w)
	if err != nil {
		c.add(errorAt(r.at, "spec.pairs.name", err.Error(), "add the label to the cluster, or change name"))
		return
	}
	namespaces := r.Namespaces
	if len(namespaces) == 0 {
		namespaces = []string{cmp.Or(r.Namespace, c.fleet.spec.Namespace)}
	}
	for _, namespace := range namespaces {
		c.pairs[w.from.Name] = append(c.pairs[w.from.Name], made{r, w, namespace, name})
	}
}

// pair is the pair of a direction in a namespace.
func (m *made) pair() generator.Pair {
	r, w := m.rule, m.way
	p := generator.Pair{Name: m.name, Destination: w.to.Destination, PairSettings: r.PairSettings, Position: r.at}
	p.Namespace, p.Cluster = m.namespace, w.to.Name
	if !w.single {
		p.Annotations = maps.Clone(p.Annotations)
		if p.Annotations == nil {
			p.Annotations = make(map[string]string)
		}
		p.Annotations[generator.AnnotationBidirectional] = "true"
	}
	if w.back && len(p.ProjectMappings) > 0 { // the way back maps each project to the one it came from
		back := make(map[string]string, len(p.ProjectMappings))
		for from, to := range p.ProjectMappings {
			back[to] = from
		}
		p.ProjectMappings = back
	}
	return p
}

// id is NAMESPACE/NAME.
func (m *made) id() string { return m.namespace + "/" + m.name }

// compare orders the pairs of a source.
func (m made) compare(other made) int {
	return cmp.Or(strings.Compare(m.namespace, other.namespace), strings.Compare(m.name, other.name))
}

// once sorts the pairs of each source, and leaves in it once what several rules make alike.
func (c *compilation) once() {
	for _, from := range c.sorted {
		own := c.pairs[from.Name]
		slices.SortStableFunc(own, made.compare)
		kept := own[:0]
		for _, m := range own {
			if n := len(kept); n == 0 || kept[n-1].id() != m.id() {
				kept = append(kept, m)
			} else {
				c.again(from.Name, &kept[n-1], &m)
			}
		}
		c.pairs[from.Name] = slices.Clone(kept) // of its length
	}
}

// again finds that two rules make one pair in two ways.
func (c *compilation) again(from string, first, m *made) {
	to := m.way.to.Name
	switch {
	case first.way.to.Name != to:
		c.add(errorAt(m.rule.at, "spec.pairs.name", fmt.Sprintf("ClusterPair %s of %s leads to %s, and to %s by the rule at %s", m.id(), from, to, first.way.to.Name, first.rule.at), `give the pairs a name of each destination, as in name: "${to}", or a namespace of its own`))
	case m.rule != first.rule && !agree(m.pair(), first.pair()):
		c.add(errorAt(m.rule.at, "spec.pairs", fmt.Sprintf("ClusterPair %s of %s is made by the rule at %s, too, in another way", m.id(), from, first.rule.at), "make both rules say the same, or let one of them leave the clusters out"))
	}
}

// agree tells whether two rules have made the same pair.
func agree(a, b generator.Pair) bool {
	a.Position, b.Position = report.Position{}, report.Position{}
	return reflect.DeepEqual(a, b)
}

// pairName is the name of the pairs of a direction. Both directions have the same.
func pairName(r *rule, w way) (string, error) {
	from, to := w.from, w.to
	if w.back {
		from, to = to, from
	}
	template := r.Name
	switch {
	case template != "":
	case r.BothWays:
		template = "${pair}"
	default:
		template = "${to}"
	}
	return generator.Expand(template, func(variable string) (string, error) {
		if variable == "pair" {
			return min(from.Name, to.Name) + "-" + max(from.Name, to.Name), nil
		}
		side, key, isLabel := strings.Cut(variable, ".label:")
		cluster := from
		if side == "to" {
			cluster = to
		}
		switch {
		case !isLabel:
			return cluster.Name, nil
		case cluster.Labels[key] == "":
			return "", fmt.Errorf("cluster %s has no label %s, of which the name of the pair is made", cluster.Name, key)
		}
		return cluster.Labels[key], nil
	})
}

// idle tells of exceptions and clusters without any effect.
func (c *compilation) idle() {
	if report.HasErrors(c.findings) {
		return // they may come from what is wrong
	}
	for i := range c.fleet.spec.Except {
		switch e := &c.fleet.spec.Except[i]; {
		case e.ended(c.now):
			c.add(idleAt(e.at, "spec.except.until", "the exception has ended: the pairs that it left out are rendered", "remove it, or set until to a later day"))
		case !c.excepted[i]:
			c.add(idleAt(e.at, "spec.except", "the exception leaves nothing out: no rule makes such a pair", "remove it, or correct from and to"))
		}
	}
	for _, cluster := range c.sorted {
		if !c.paired[cluster.Name] {
			c.add(idleAt(cluster.Position, "spec.clusters", fmt.Sprintf("cluster %s is in no pair", cluster.Name), "add a rule for it, or the labels that from, to and same ask for"))
		}
	}
}

// sources are the clusters with pairs, each with its config.
func (c *compilation) sources() []Source {
	var all []Source
	outputs := make(map[string]string)
	for _, cluster := range c.sorted {
		own := c.pairs[cluster.Name]
		if len(own) == 0 {
			continue
		}
		s := Source{Cluster: cluster, Config: c.fleet.ConfigName(cluster.Name), made: own, fleet: c.fleet, foreign: c.foreign(cluster)}
		var err error
		if s.Output, err = c.fleet.output(cluster); err != nil {
			c.add(errorAt(c.fleet.spec.directoryAt, "spec.directory", err.Error(), "as in clusters/${from}/pairs"))
			return nil
		}
		all = append(all, s)
		if other, taken := overlaps(s.Output, outputs); taken {
			c.add(errorAt(c.fleet.spec.directoryAt, "spec.directory", fmt.Sprintf("the pairs of %s and of %s have the same directory, or one within the other", cluster.Name, other), "let the directory hold ${from}, as in clusters/${from}/pairs"))
			return nil
		}
		outputs[s.Output] = cluster.Name
	}
	return all
}

// overlaps is the source whose directory is the same as, holds or is held by one.
func overlaps(output string, outputs map[string]string) (string, bool) {
	for dir := output; dir != "." && dir != "/"; dir = path.Dir(dir) {
		if other, taken := outputs[dir]; taken {
			return other, true
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(outputs)) {
		if dir == "." || strings.HasPrefix(dir, output+"/") {
			return outputs[dir], true
		}
	}
	return "", false
}
