package validate

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unique"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	migrations "clusterpair.dev/internal/migration"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
	"clusterpair.dev/schema"
)

// repository is what the files of a run say about each other.
type repository struct {
	pairs      []pair
	migrations []migration
	policies   map[string]bool // NAMESPACE/NAME, or /NAME of a SchedulePolicy
	admins     []string        // the admin namespaces of the clusters
	engines    engine.Notes    // what applies and builds the files
	mayPatch   []mayPatch
	secrets    []sealedSecret
	rules      []rulesFile
}

func (r *repository) merge(o repository) {
	r.pairs = append(r.pairs, o.pairs...)
	r.migrations = append(r.migrations, o.migrations...)
	if len(o.policies) > 0 && r.policies == nil {
		r.policies = make(map[string]bool)
	}
	maps.Copy(r.policies, o.policies)
	r.admins = append(r.admins, o.admins...)
	r.engines.Merge(o.engines)
	r.mayPatch = append(r.mayPatch, o.mayPatch...)
	r.secrets = append(r.secrets, o.secrets...)
	r.rules = append(r.rules, o.rules...)
}

// sealedSecret is an encrypted Secret: its path, and the recipients, each of which can
// decrypt it.
type sealedSecret struct {
	path    string
	readers unique.Handle[string]
}

// pair is what other manifests must know of a ClusterPair.
type pair struct {
	file, path      string
	name            string
	settings        unique.Handle[settings]
	destination     unique.Handle[destination]
	encrypted       bool
	aside           bool // it is not to be judged
	built           bool // it stands in no file
	rendered        bool // its config is there, as is known
	ruled           bool // a creation rule matches its file
	twoFabrics      bool
	bidirectional   bool
	by              unique.Handle[string] // the config that says to have rendered it
	readers         unique.Handle[string] // the recipients, each of which can decrypt it
	at              spot
	readersAt       spot
	byAt            spot // of the annotation
	projects        map[string]string
	bidirectionalAt spot // of the annotation
	caAt            spot // of the annotation
	modeAt          spot // of the mode, or the options
	projectsAt      spot
}

// settings are those that a pair may have in common with many others, of its config say.
type settings struct {
	namespace, mode string
	storkVersion    string // of its cluster; empty if that is not known
}

// destination is what is known of the cluster that pairs lead to; what is not is empty.
type destination struct {
	ca           string // the digest of its CA
	id           string
	credentialID string // of a pair for both directions
	credential   string // a digest
}

func (p *pair) namespace() string { return p.settings.Value().namespace }

// leadsTo notes what is known of the destination itself.
func (p *pair) leadsTo(d *kubeconfig.Destination) {
	if d != nil {
		to := p.destination.Value()
		to.ca, to.id, to.credential = cmp.Or(d.CAKeyDigest(), to.ca), cmp.Or(d.ID(), to.id), d.CredentialDigest()
		p.destination = unique.Make(to)
	}
}

// sameDestination tells whether two pairs are known to lead to one cluster. That
// they have the same CA does not tell: it may be a proxy's, or a company's.
func (p *pair) sameDestination(o *pair) bool {
	a, b := p.destination.Value(), o.destination.Value()
	if a.id != "" && b.id != "" {
		return a.id == b.id
	}
	// An earlier release has rendered one of them.
	return a.ca != "" && a.ca == b.ca && a.credentialID != "" && a.credentialID == b.credentialID
}

// spot is a place in a pair's file.
type spot struct{ line, column int32 }

func spotOf(n *yaml.Node) (s spot) {
	if n != nil {
		s.line, s.column = int32(n.Line), int32(n.Column)
	}
	return s
}

// place is where a spot of the pair is; its name stands in for what it lacks.
func (p *pair) place(s spot) report.Position {
	if s == (spot{}) {
		s = p.at
	}
	return report.Position{File: p.file, Line: int(s.line), Column: int(s.column)}
}

func (p *pair) id() string { return p.namespace() + "/" + p.name }

// migration is a Migration or MigrationSchedule.
type migration struct {
	path                  string // of its file
	kind, namespace, name string
	at                    report.Position
	built                 bool // it stands in no file
	pair, adminPair       reference
	volumes               bool // it moves volumes: true unless it says otherwise
	volumesAt             report.Position
	namespaces            []reference
	policy                reference
}

func (m *migration) object() string { return fmt.Sprintf("%s %s/%s", m.kind, m.namespace, m.name) }

// pairField is the field that names its ClusterPair.
func (m *migration) pairField() string {
	if m.kind == "MigrationSchedule" {
		return "spec/template/spec/clusterPair"
	}
	return "spec/clusterPair"
}

// reference is a name and the place where it stands.
type reference struct {
	name string
	at   report.Position
}

// noted is the text under a way of keys, to be kept beyond its document, whose
// whole text a part of it would keep in memory.
func noted(n *yaml.Node, keys ...string) string { return strings.Clone(manifest.Text(n, keys...)) }

func (f *fileRun) reference(n *yaml.Node, keys ...string) reference {
	v := manifest.Field(n, keys...)
	if v == nil || v.Kind != yaml.ScalarNode {
		return reference{}
	}
	return reference{strings.Clone(v.Value), f.position(v)}
}

// stork notes the objects of Stork that refer to ClusterPairs.
func (f *fileRun) stork(n *yaml.Node, kind string) {
	namespace, name := noted(n, "metadata", "namespace"), noted(n, "metadata", "name")
	switch kind {
	case "Migration", "MigrationSchedule":
		o, _ := migrations.Read(n, kind)
		m := migration{path: f.file.Path, kind: kind, namespace: namespace, name: name, at: f.position(cmp.Or(manifest.Field(n, "kind"), n)), built: f.object != nil,
			pair: f.reference(o.Pair), adminPair: f.reference(o.AdminPair), volumes: true}
		if kind == "MigrationSchedule" {
			m.policy = f.reference(n, "spec", "schedulePolicyName")
		}
		spec := o.Spec
		if v := manifest.Field(spec, "includeVolumes"); v != nil {
			m.volumes, m.volumesAt = v.Value != "false", f.position(v)
		}
		if namespaces := manifest.Field(spec, "namespaces"); namespaces != nil {
			for _, item := range namespaces.Content {
				m.namespaces = append(m.namespaces, reference{strings.Clone(item.Value), f.position(item)})
			}
		}
		f.noted.migrations = append(f.noted.migrations, m)
		if kind == "MigrationSchedule" {
			f.findings = append(f.findings, schema.Schedule(kind, n, f.file.Name)...)
		}
	case "SchedulePolicy", "NamespacedSchedulePolicy":
		if stops := schema.Schedule(kind, n, f.file.Name); stops != nil {
			f.findings = append(f.findings, stops...)
		} else {
			f.schedulePolicy(n, kind)
		}
		if f.noted.policies == nil {
			f.noted.policies = make(map[string]bool)
		}
		if kind == "SchedulePolicy" {
			namespace = ""
		}
		f.noted.policies[namespace+"/"+name] = true
	}
}

// schedulePolicy judges a policy on its own. Stork reads policy, where all
// other objects have spec.
// https://github.com/libopenstorage/stork/blob/9dc3204614b26c0091e0d4829c41dd3972b692f0/pkg/apis/stork/v1alpha1/schedulepolicy.go
func (f *fileRun) schedulePolicy(n *yaml.Node, kind string) {
	policy := manifest.Field(n, "policy")
	if i := manifest.Index(n, "spec"); i >= 0 && policy == nil {
		f.add(n.Content[i], "spec", "schedule-policy", report.Error, fmt.Sprintf("a %s has no spec: Stork reads policy, finds none and never runs", kind), "rename spec to policy")
		return
	}
	if policy == nil || len(policy.Content) == 0 {
		f.add(cmp.Or(manifest.Field(n, "kind"), n), "policy", "schedule-policy", report.Error, fmt.Sprintf("the %s has no policy: Stork never runs", kind), "policy: {interval: {intervalMinutes: 30}}")
		return
	}
	kinds := []string{"interval", "daily", "weekly", "monthly"}
	for i := 0; i+1 < len(policy.Content); i += 2 {
		if key := policy.Content[i]; !slices.Contains(kinds, key.Value) {
			hint := "there is interval, daily, weekly and monthly"
			if near := report.Nearest(key.Value, kinds); near != "" {
				hint = fmt.Sprintf("did you mean %s?", near)
			}
			f.add(key, "policy", "schedule-policy", report.Error, fmt.Sprintf("unknown policy %s, which Stork drops", quote(key.Value)), hint)
		}
	}
	for _, kind := range kinds {
		if section := manifest.Field(policy, kind); section != nil && section.ShortTag() != "!!null" { // as storkctl writes one that is not set
			f.policySection(section, kind)
		}
	}
}

// policySection judges one section of a policy.
func (f *fileRun) policySection(section *yaml.Node, kind string) {
	bad := func(name, message, hint string) {
		f.add(field(section, name), "policy."+kind+"."+name, "schedule-policy", report.Error, message, hint)
	}
	if kind == "interval" {
		if minutes := manifest.Field(section, "intervalMinutes"); minutes == nil || minutes.ShortTag() != "!!int" || minutes.Value == "0" || strings.HasPrefix(minutes.Value, "-") {
			bad("intervalMinutes", "intervalMinutes is not a number of at least 1", "intervalMinutes: 30")
		}
		return
	}
	if !stork.IsTime(manifest.Text(section, "time")) {
		bad("time", "time is not of the form 3:04PM, and Stork refuses it", `time: "11:15PM"`)
	}
	if kind == "weekly" && !stork.IsDay(manifest.Text(section, "day")) {
		bad("day", "day is no day of the week as Stork writes it", `day: "Sunday"`)
	}
	if date := manifest.Field(section, "date"); kind == "monthly" && (date == nil || date.ShortTag() != "!!int" || !stork.IsDate(date.Value)) {
		bad("date", "date is not between 1 and 31", "date: 1")
	}
}

// judge finds what is wrong among the files, as far as it stands in one that
// is to be judged.
func (r *repository) judge(o *Options, files []string, model *engine.Model) []report.Finding {
	j := judgement{files: make(map[string]bool, len(files)), model: model}
	for _, file := range files {
		j.files[file] = true
	}
	// The order in which files were read must not matter.
	slices.SortFunc(r.pairs, func(a, b pair) int { return engine.Compare(a.place(a.at), b.place(b.at)) })
	slices.SortFunc(r.migrations, func(a, b migration) int { return engine.Compare(a.at, b.at) })
	sources := r.sources(model)
	j.duplicates(r, sources)
	j.directions(r, sources, o)
	j.credentials(r, sources)
	j.migrations(r, o)
	j.orphans(r, o)
	j.readers(r, sources)
	j.shadowed(r)
	j.syncs(r)
	return j.findings
}

type judgement struct {
	files    map[string]bool // those to be judged
	model    *engine.Model
	findings []report.Finding
}

func (j *judgement) add(at report.Position, object, rule, message, hint string) {
	known, _ := report.RuleOf(rule)
	j.addFinding(report.Finding{Rule: rule, Severity: known.Severity, Position: at, Object: object, Message: message, Hint: hint})
}

func (j *judgement) warn(at report.Position, object, rule, message, hint string) {
	j.addFinding(report.Finding{Rule: rule, Severity: report.Warning, Position: at, Object: object, Message: message, Hint: hint})
}

func (j *judgement) pair(p *pair, at report.Position, rule, message, hint string) {
	j.add(at, p.id(), rule, message, hint)
}

// duplicates are pairs of one name that go to one cluster.
func (j *judgement) duplicates(r *repository, sources [][]string) {
	type entry struct {
		index  int32
		source string
	}
	order := make([]entry, 0, len(r.pairs)) // a map would be the largest thing of a large run
	for i := range r.pairs {
		for _, source := range sources[i] {
			order = append(order, entry{int32(i), source})
		}
	}
	compare := func(a, b entry) int {
		p, q := &r.pairs[a.index], &r.pairs[b.index]
		return cmp.Or(strings.Compare(p.name, q.name), strings.Compare(p.namespace(), q.namespace()), strings.Compare(a.source, b.source))
	}
	slices.SortStableFunc(order, compare)
	say := func(e, other entry) {
		p, twin := &r.pairs[e.index], &r.pairs[other.index]
		j.pair(p, p.place(p.at), "duplicate-pair", fmt.Sprintf("ClusterPair %s stands in %s, too: the one that is applied last wins", p.id(), twin.place(twin.at)), "rename or remove one of the two")
	}
	for len(order) > 0 {
		n := 1
		for n < len(order) && compare(order[0], order[n]) == 0 {
			n++
		}
		same, first := order[:n], order[0]
		order = order[n:]
		if n == 1 || r.pairs[first.index].name == "" {
			continue
		}
		if !slices.ContainsFunc(same[1:], func(e entry) bool { return j.files[r.pairs[e.index].file] }) {
			say(first, same[1]) // for lack of a later one that is to be judged
		}
		for _, e := range same[1:] {
			say(e, first)
		}
	}
}

// directions compares the pairs that say to have a counterpart.
func (j *judgement) directions(r *repository, sources [][]string, o *Options) {
	if !slices.ContainsFunc(r.pairs, func(p pair) bool { return p.bidirectional }) {
		return
	}
	byID := make(map[string][]int)
	for i := range r.pairs {
		byID[r.pairs[i].id()] = append(byID[r.pairs[i].id()], i)
	}
	for i := range r.pairs {
		p := &r.pairs[i]
		if !p.bidirectional {
			continue
		}
		back, several := r.counterpart(i, byID[p.id()], sources)
		switch {
		case back == nil && !o.Partial:
			j.pair(p, p.place(p.bidirectionalAt), "reverse-missing", fmt.Sprintf("ClusterPair %s is for both directions, and no other cluster has one of this name: there is no failback", p.id()),
				"render the pair of the same name and namespace for the destination, or remove the annotation "+generator.AnnotationBidirectional)
		case back == nil || several:
		case back.bidirectional && j.files[back.file] && engine.Compare(p.place(p.at), back.place(back.at)) < 0: // it is said once, of the later one
		default:
			j.direction(p, back)
		}
	}
}

// counterpart is the pair for the other direction among those of one name. several says
// that there is more than one.
func (r *repository) counterpart(i int, named []int, sources [][]string) (back *pair, several bool) {
	for _, k := range named {
		other := &r.pairs[k]
		if k == i || sameSource(sources[k], sources[i]) || back != nil && !back.aside && other.aside {
			continue // one that is not to be judged counts for lack of others
		}
		several = back != nil && back.aside == other.aside
		back = other
	}
	return back, several
}

// direction compares a pair with that of the other direction.
func (j *judgement) direction(p, back *pair) {
	if p.sameDestination(back) {
		j.pair(p, p.place(p.caAt), "self-pair", fmt.Sprintf("this pair and the one in %s lead to the same cluster: one of them leads to its own", back.place(back.at)), "render one of them from the other cluster's kubeconfig")
	}
	if p.settings.Value().mode != back.settings.Value().mode || p.twoFabrics != back.twoFabrics {
		j.pair(p, p.place(p.modeAt), "mode-asymmetric", fmt.Sprintf("mode and storage options differ from those of the other direction in %s", back.place(back.modeAt)), "give both the same mode, and both storage options or none")
	}
	if !inverse(p.projects, back.projects) {
		j.pair(p, p.place(p.projectsAt), "rancher-mapping", fmt.Sprintf("projectMappings are not the inverse of those in %s", back.place(back.projectsAt)), "map each project back to the one it came from")
	}
}

func inverse(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for from, to := range a {
		if b[to] != from {
			return false
		}
	}
	return true
}

// credentials finds one that several source clusters use.
func (j *judgement) credentials(r *repository, sources [][]string) {
	first := make(map[string]int)
	for i := range r.pairs {
		p := &r.pairs[i]
		credential := p.destination.Value().credential
		switch k, ok := first[credential]; {
		case credential == "":
		case !ok:
			first[credential] = i
		case !sameSource(sources[k], sources[i]):
			j.pair(p, p.place(p.at), "shared-credential", fmt.Sprintf("the credential is that of the pair in %s, on another source cluster", r.pairs[k].place(r.pairs[k].at)), "make a service account for each source cluster, so that one can be revoked without the others")
		}
	}
}

// sources names for each pair the clusters that it goes to: the kustomizations
// that nothing else builds on, else what Flux or Argo CD syncs, else its
// directory. Pairs of one name for both directions stand in one repository.
func (r *repository) sources(m *engine.Model) [][]string {
	roots := m.Roots()
	sources := make([][]string, len(r.pairs))
	for i := range r.pairs {
		file := r.pairs[i].path
		if sources[i] = roots[file]; sources[i] != nil {
			continue
		}
		source, longest := path.Dir(file), -1
		for _, s := range m.Syncs {
			if engine.Below(file, s.Path) && len(s.Path) > longest {
				longest, source = len(s.Path), s.Path
			}
		}
		sources[i] = []string{source}
	}
	return sources
}

// sameSource tells whether two pairs meet in a cluster.
func sameSource(a, b []string) bool {
	return slices.ContainsFunc(a, func(source string) bool { return slices.Contains(b, source) })
}
