package inventory

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/fleet"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// end is a cluster to which a pair leads. Two of one name are told apart by the qualifier:
// the namespace of the Secret, or the CA of a cluster that has no other name than the pair.
type end struct {
	name, qualifier string
	bySecret        bool
}

// renderer is a function config, or what stands for one source cluster of a fleet.
type renderer struct {
	source string
	labels map[string]string
	output string // from the root of the repository
	pairs  map[string]rendered
	writes bool   // whether it renders into files, as it names their folder or some are there
	shown  string // output as messages have it
}

// rendered is a pair that a config renders: where it leads to, and whether it is there.
type rendered struct {
	to   *end
	here bool
}

// regionLabels are those by which clusters are grouped if nobody says otherwise.
var regionLabels = []string{"region", "topology.kubernetes.io/region"}

// naming gives clusters their names.
type naming struct {
	*collection
	byPlace  map[string]*renderer   // by name and output
	byName   map[string][]*renderer // by name
	ends     map[end]*end           // each once
	labels   map[end]map[string]string
	clusters map[string]*Cluster
	known    map[string]map[string]bool // the qualifiers of each name
	inv      *Inventory
}

// inventory makes the inventory of all that was collected.
func (c *collection) inventory(label string) *Inventory {
	n := &naming{collection: c, byPlace: make(map[string]*renderer), byName: make(map[string][]*renderer), ends: make(map[end]*end), labels: make(map[end]map[string]string),
		clusters: make(map[string]*Cluster), known: make(map[string]map[string]bool), inv: &Inventory{Recipients: c.names, Accounts: make(map[string]string)}}
	slices.Sort(c.broken)
	n.inv.Broken = c.broken
	for _, file := range slices.Sorted(maps.Keys(c.configs)) {
		n.configs(file)
	}
	for _, name := range slices.Sorted(maps.Keys(c.secrets)) {
		for _, s := range c.secrets[name] {
			if s.id != "" && s.account != "" {
				n.inv.Accounts[s.id] = s.account
			}
		}
	}
	ends := make([]*end, len(c.pairs))
	for i := range c.pairs {
		p := &c.pairs[i]
		ends[i] = n.find(p)
		n.note(ends[i])
	}
	missing := n.missing()
	for i := range missing {
		n.note(missing[i].to)
	}
	for i := range c.pairs {
		p := &c.pairs[i]
		p.From, p.To = n.from(p, n.rendererOf(p)), n.to(ends[i])
	}
	for _, m := range missing {
		m.From, m.To = n.from(nil, m.by), n.to(m.to)
		c.pairs = append(c.pairs, m.Pair)
	}
	report.Sort(c.unread)
	for _, f := range c.unread {
		f.Message += ": what pairs it holds is left out"
		n.inv.Elsewhere = append(n.inv.Elsewhere, f)
	}
	n.inv.Pairs, n.inv.Unread, c.pairs = c.pairs, c.unread, nil
	n.inv.Clusters = slices.Collect(maps.Values(n.clusters))
	n.inv.group(label)
	n.inv.sort()
	return n.inv
}

// broken notes what is wrong with the config or fleet in a file.
func (n *naming) broken(file string, err error) {
	if why := report.ErrorLine(err, file); !slices.Contains(n.inv.Broken, why) { // two files may have one place
		n.inv.Broken = append(n.inv.Broken, why)
	}
}

// configs takes in the configs and fleets of a file.
func (n *naming) configs(file string) {
	found, err := kustomize.Find(kustomize.PlaceOf(file))
	defer kustomize.Close(found)
	if err != nil {
		n.broken(file, err)
		return
	}
	for i := range found {
		c := &found[i]
		if c.Kind != generator.GeneratorKind {
			continue
		}
		var parsed *generator.Config
		if !c.Fleet || c.Source == nil { // the pairs of a source of a fleet take much memory
			var bad []report.Finding
			if parsed, bad = c.Parse(); parsed == nil {
				n.broken(c.File, bad[slices.IndexFunc(bad, func(f report.Finding) bool { return f.Severity == report.Error })])
				continue
			}
		}
		output := cmp.Or(manifest.Text(c.Doc, "spec", "output"), "rendered")
		if c.Fleet {
			output = c.Source.Output
		}
		r := &renderer{source: c.Name, shown: c.Tree.Show(output), pairs: make(map[string]rendered), writes: c.Fleet || manifest.Text(c.Doc, "spec", "output") != ""}
		r.output = n.repo.Path(r.shown)
		key := c.Name + "\x00" + r.output
		if n.byPlace[key] != nil {
			continue
		}
		if c.Fleet {
			n.fleet(r, c.Source)
		} else {
			n.config(r, c, parsed)
		}
		n.byPlace[key] = r
		n.byName[c.Name] = append(n.byName[c.Name], r)
	}
	for i := range found {
		if c := &found[i]; c.Fleet {
			n.exceptions(c)
			return // all sources of a file are of one fleet, or say the same
		}
	}
}

// exceptions notes what a fleet leaves out.
func (n *naming) exceptions(c *kustomize.Config) {
	for _, item := range manifest.Items(c.Doc, "spec", "except") {
		means := func(key string) string {
			by := manifest.Field(item, key)
			if by == nil || len(by.Content) == 0 {
				return manifest.Text(item, key)
			}
			var all []string
			for i := 0; i+1 < len(by.Content); i += 2 {
				all = append(all, by.Content[i].Value+"="+by.Content[i+1].Value)
			}
			return strings.Join(all, ",")
		}
		n.inv.Exceptions = append(n.inv.Exceptions, Exception{Fleet: manifest.Text(c.Doc, "metadata", "name"), From: means("from"), To: means("to"),
			Reason: manifest.Text(item, "reason"), Until: manifest.Text(item, "until")})
	}
}

// fleet takes in a source cluster of a fleet.
func (n *naming) fleet(r *renderer, s *fleet.Source) {
	r.source, r.labels = s.Name, s.Labels
	for _, recipient := range s.Readers {
		n.call(recipient, s.Name)
	}
	for pair, to := range s.Leads() {
		e := end{name: to.Name, bySecret: true}
		n.labels[e] = to.Labels
		r.pairs[pair] = rendered{to: n.once(e)}
	}
	if len(r.pairs) > 0 {
		for _, recipient := range s.Shared() {
			n.call(recipient, "all of the fleet")
		}
	}
}

// config takes in a config.
func (n *naming) config(r *renderer, c *kustomize.Config, parsed *generator.Config) {
	r.labels = labelsOf(c)
	for i := range parsed.Spec.Pairs {
		p := &parsed.Spec.Pairs[i]
		id := cmp.Or(p.Namespace, parsed.Spec.Namespace) + "/" + p.Name
		switch d := &p.Destination; {
		case d.Secret != nil:
			r.pairs[id] = rendered{to: n.once(n.bySecret(d.Secret))}
		case d.File != "":
			name := path.Base(d.File)
			r.pairs[id] = rendered{to: n.once(end{name: cmp.Or(d.Context, strings.TrimSuffix(name, path.Ext(name)))})}
		}
	}
	if s := parsed.Spec.Selector; s != nil {
		n.selector(r, s, cmp.Or(s.Namespace, parsed.Spec.Namespace))
	}
}

// selector takes in the pairs that a selector renders. A name that Secrets of several
// clusters make tells nothing.
func (n *naming) selector(r *renderer, s *generator.Selector, namespace string) {
	ambiguous := make(map[string]bool)
	for _, secrets := range n.secrets {
		for i := range secrets {
			secret := &secrets[i].Secret
			if !s.Takes(secret.Namespace, secret.Name, secret.Labels) {
				continue
			}
			name, err := s.PairName(secret.Namespace, secret.Name, secret.Labels)
			if err != nil {
				continue
			}
			e, id := n.once(n.secretEnd(secret)), namespace+"/"+name
			if other, known := r.pairs[id]; known && other.to != e {
				ambiguous[id] = true
			}
			r.pairs[id] = rendered{to: e}
		}
	}
	for id := range ambiguous {
		delete(r.pairs, id)
	}
}

// bySecret is the cluster of a Secret that a config names.
func (n *naming) bySecret(ref *generator.SecretReference) end {
	secrets := n.secrets[ref.Name]
	for i := range secrets {
		if s := &secrets[i].Secret; ref.Namespace == "" || ref.Namespace == s.Namespace {
			return n.secretEnd(s)
		}
	}
	return n.secretEnd(&fleet.Secret{Name: ref.Name, Namespace: ref.Namespace})
}

func (n *naming) secretEnd(s *fleet.Secret) end {
	e := end{name: s.Cluster(), qualifier: s.Namespace, bySecret: true}
	if n.labels[e] == nil {
		n.labels[e] = s.Labels
	}
	return e
}

// once is the one place in memory of an end, which many pairs have.
func (n *naming) once(e end) *end {
	if n.ends[e] == nil {
		n.ends[e] = &e
	}
	return n.ends[e]
}

// find is where a pair leads to: as what has rendered it tells, else by its own name.
func (n *naming) find(p *Pair) *end {
	if r := n.rendererOf(p); r != nil {
		r.writes = true
		id := p.Namespace + "/" + p.Name
		if e, listed := r.pairs[id]; listed {
			e.here = true
			r.pairs[id] = e
			return e.to
		}
	}
	return n.once(end{name: p.Name, qualifier: strings.TrimPrefix(p.ca.Value(), "sha256:")})
}

// labelsOf are the labels of a config itself, which tell of its source cluster.
func labelsOf(c *kustomize.Config) map[string]string {
	labels := make(map[string]string)
	if m := manifest.Field(c.Doc, "metadata", "labels"); m != nil {
		for i := 0; i+1 < len(m.Content); i += 2 {
			labels[m.Content[i].Value] = m.Content[i+1].Value
		}
	}
	return labels
}

// rendererOf is what has rendered a pair: the config of its name that renders into its
// folder, or the only one of its name.
func (n *naming) rendererOf(p *Pair) *renderer {
	config := p.config.Value()
	if config == "" {
		return nil
	}
	if r := n.byPlace[config+"\x00"+path.Dir(path.Dir(n.repo.Path(p.File)))]; r != nil {
		return r
	}
	if all := n.byName[config]; len(all) == 1 {
		return all[0]
	}
	return nil
}

// note notes a name that a cluster may have.
func (n *naming) note(e *end) {
	if n.known[e.name] == nil {
		n.known[e.name] = make(map[string]bool)
	}
	n.known[e.name][e.qualifier] = true
}

// to is the cluster to which a pair leads.
func (n *naming) to(e *end) *Cluster {
	name := e.name
	switch {
	case len(n.known[e.name]) < 2 || e.qualifier == "":
	case e.bySecret:
		name = e.qualifier + "/" + e.name
	default:
		name = e.name + " (CA " + e.qualifier[:min(8, len(e.qualifier))] + ")"
	}
	c := n.cluster(name, n.labels[*e])
	c.Destination = true
	return c
}

// from is the source cluster of a pair: that of what has rendered it, else one of the name
// of the config, else one of the folder.
func (n *naming) from(p *Pair, r *renderer) *Cluster {
	var c *Cluster
	switch {
	case r != nil:
		c = n.cluster(r.source, r.labels)
	case p.config.Value() != "":
		c = n.cluster(p.config.Value(), nil)
	default:
		dir := path.Dir(n.repo.Path(p.File))
		if p.Namespace != "" && path.Base(dir) == p.Namespace && dir != p.Namespace {
			dir = path.Dir(dir)
		}
		c = n.cluster(dir, nil)
	}
	c.Source = true
	return c
}

// cluster is the one of a name. What labels say first counts.
func (n *naming) cluster(name string, labels map[string]string) *Cluster {
	c := n.clusters[name]
	if c == nil {
		c = &Cluster{Name: name, labels: make(map[string]string)}
		n.clusters[name] = c
	}
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		c.labels[key] = cmp.Or(c.labels[key], labels[key])
	}
	return c
}

// group puts the clusters into the groups of a label.
func (inv *Inventory) group(label string) {
	labels := regionLabels
	if label != "" {
		labels = []string{label}
	}
	for _, key := range labels {
		if !slices.ContainsFunc(inv.Clusters, func(c *Cluster) bool { return c.labels[key] != "" }) {
			continue
		}
		inv.Label = key
		for _, c := range inv.Clusters {
			c.Group = c.labels[key]
		}
		return
	}
}

// absent is a pair that is not rendered.
type absent struct {
	Pair
	by *renderer
	to *end
}

// missing are the pairs that configs render into files, and that are not there. What is
// outside of the files that were asked for is not known.
func (n *naming) missing() (all []absent) {
	for _, r := range n.byPlace {
		if !r.writes || !n.covers(r.output) {
			continue
		}
		for id, e := range r.pairs {
			if e.here {
				continue
			}
			m := absent{by: r, to: e.to}
			m.Missing, m.File = true, path.Join(r.shown, id+".yaml")
			m.Namespace, m.Name, _ = strings.Cut(id, "/")
			all = append(all, m)
		}
	}
	return all
}

// covers tells whether all files below a folder were asked for.
func (n *naming) covers(dir string) bool {
	return slices.ContainsFunc(n.args, func(arg string) bool {
		at := n.repo.Path(arg)
		return at == "." || dir == at || strings.HasPrefix(dir, at+"/")
	})
}
