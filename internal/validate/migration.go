package validate

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	migrations "clusterpair.dev/internal/migration"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
)

var builtInPolicies = []string{"default-migration-policy", "default-interval-policy", "default-daily-policy", "default-weekly-policy", "default-monthly-policy"}

// migrations judges those that use the pairs. Without any pair in the run
// nothing is known about which there are.
func (j *judgement) migrations(r *repository, o *Options) {
	if len(r.migrations) == 0 {
		return
	}
	files, built := make(pairIndex), make(pairIndex)
	for i := range r.pairs {
		p := &r.pairs[i]
		files.add(p)
		if p.built {
			built.add(p)
		}
	}
	admins := slices.Compact(slices.Sorted(slices.Values(r.admins)))
	known := len(admins) > 0
	if !known {
		admins = []string{"kube-system"}
	}
	if !o.Partial {
		j.renamed(r, admins, known)
	}
	for i := range r.migrations {
		m := &migrationRun{judgement: j, migration: &r.migrations[i], repository: r, options: o, admins: admins, adminsKnown: known, files: files, pairs: files}
		if m.built && len(built) > 0 {
			m.pairs = built // what kustomize has renamed goes by its old name in the files
		}
		m.judgeReferences()
		m.judgeVolumes()
		m.judgeNamespaces()
		m.judgePolicy()
	}
}

// pairIndex are pairs by namespace and name.
type pairIndex map[string][]*pair

func (x pairIndex) add(p *pair) {
	x[p.id()] = append(x[p.id()], p)
	if p.namespace() != "" {
		x["/"+p.name] = append(x["/"+p.name], p) // for what a kustomization gives its namespace
	}
}

// in are the pairs of a name in a namespace, in any if that is empty.
func (x pairIndex) in(namespace, name string) []*pair { return x[namespace+"/"+name] }

// migrationRun is a migration, or a schedule of some, on its way through its rules.
type migrationRun struct {
	*judgement
	*migration
	repository *repository
	options    *Options
	admins     []string // the admin namespaces
	// adminsKnown says that the files tell them: else they are those of an installation
	// in which nobody has set another one.
	adminsKnown bool
	files       pairIndex // of all pairs
	pairs       pairIndex // of those that it can mean
}

// judgeReferences looks for the pairs that it names.
func (m *migrationRun) judgeReferences() {
	m.judgeReference(m.migration.pair, "clusterPair", m.namespace)
	m.judgeReference(m.adminPair, "adminClusterPair", m.admins...)
	if m.migration.pair.name != "" {
		return
	}
	switch release := m.release(); {
	case m.adminPair.name == "":
		m.add(m.at, m.object(), "migration-reference", fmt.Sprintf("the %s names no ClusterPair", m.kind), "clusterPair: NAME")
	case release.AdminPairSuffices():
	case release.Known():
		m.add(m.adminPair.at, m.object(), "migration-reference", fmt.Sprintf("the %s names an adminClusterPair alone: Stork %s never runs it, and no status says so", m.kind, release), "add clusterPair: NAME of one in its namespace, or take Stork 25.5 or later")
	default:
		m.warn(m.adminPair.at, m.object(), "migration-reference", fmt.Sprintf("the %s names an adminClusterPair alone: before 25.5 Stork never runs it, and no status says so; from 25.5 it suffices", m.kind), "set storkVersion, or add clusterPair: NAME of one in its namespace")
	}
}

// release is that of the Stork that runs it, as far as it is known.
func (m *migrationRun) release() stork.Version {
	release, _ := stork.Parse(m.options.StorkVersion)
	for _, p := range m.administrators() {
		if !release.Known() {
			release, _ = stork.Parse(p.settings.Value().storkVersion)
		}
	}
	return release
}

// administrators are the pairs that its adminClusterPair can mean.
func (m *migrationRun) administrators() (pairs []*pair) {
	if m.adminPair.name != "" {
		for _, namespace := range m.admins {
			pairs = append(pairs, m.pairs.in(namespace, m.adminPair.name)...)
		}
	}
	return pairs
}

// judgeReference looks for a pair that a field names, in namespaces.
func (m *migrationRun) judgeReference(ref reference, field string, namespaces ...string) {
	if ref.name == "" || m.options.Partial || len(m.pairs) == 0 || slices.ContainsFunc(namespaces, func(ns string) bool { return m.pairs.in(ns, ref.name) != nil }) {
		return
	}
	if names(m.model, m.migration, ref.name, func(name string) bool { return m.files.in("", name) != nil }) {
		return
	}
	namespace := strings.Join(namespaces, " or ")
	where, hint := ", which the namespace "+namespace+" does not have", "name a ClusterPair of the namespace "+namespace
	if namespace == "" {
		where, hint = ", which is not here", "name one that is"
	}
	if near := report.Nearest(strings.TrimPrefix(namespaces[0]+"/"+ref.name, "/"), m.known(namespaces[0])); near != "" {
		hint = fmt.Sprintf("there is ClusterPair %s", near)
	}
	add := m.add
	if field == "adminClusterPair" {
		add = m.addAdmin
	}
	add(ref.at, m.object(), "migration-reference", fmt.Sprintf("%s names ClusterPair %s%s", field, quote(ref.name), where), hint)
}

// known are the names of pairs to choose from, without a namespace where there is none.
func (m *migrationRun) known(namespace string) (ids []string) {
	for i := range m.repository.pairs {
		switch p := &m.repository.pairs[i]; {
		case m.pairs[p.id()] == nil:
		case namespace == "":
			ids = append(ids, p.name)
		default:
			ids = append(ids, p.id())
		}
	}
	return ids
}

// judgeVolumes looks for volumes that would move over one fabric.
func (m *migrationRun) judgeVolumes() {
	ref, used := m.migration.pair, m.pairs.in(m.namespace, m.migration.pair.name)
	if release := m.release(); m.adminPair.name != "" && (release.AdminPairSuffices() || ref.name == "" && !release.Known()) {
		ref, used = m.adminPair, m.administrators() // it goes before the other
	}
	if judged := slices.DeleteFunc(slices.Clone(used), func(p *pair) bool { return p.aside }); len(judged) > 0 {
		used = judged
	}
	if m.volumes && len(used) > 0 && !slices.ContainsFunc(used, func(p *pair) bool { return p.twoFabrics }) {
		at := m.volumesAt
		if at == (report.Position{}) {
			at = ref.at
		}
		m.add(at, m.object(), "migration-volumes", fmt.Sprintf("%s would move volumes over ClusterPair %s, which shares one Portworx: it waits for a storage status that never comes", m.kind, quote(ref.name)), "includeVolumes: false")
	}
}

// judgeNamespaces looks for namespaces that it may not move.
func (m *migrationRun) judgeNamespaces() {
	if m.namespace == "" || slices.Contains(m.admins, m.namespace) {
		return
	}
	for _, ns := range m.namespaces {
		if ns.name != m.namespace {
			m.addAdmin(ns.at, m.object(), "migration-namespace", fmt.Sprintf("namespace %s: outside the admin namespace %s a %s moves its own namespace alone", quote(ns.name), m.admins[0], m.kind), "move the "+m.kind+" to "+m.admins[0]+", or name "+m.namespace+" only")
		}
	}
}

// adminNamespace notes the admin namespace that an installation of Stork is given.
func (f *fileRun) adminNamespace(n *yaml.Node, kind string) bool {
	namespaces, ok := migrations.Admins(n, kind)
	f.noted.admins = append(f.noted.admins, namespaces...)
	return ok
}

// addAdmin adds a finding that depends on the admin namespace: a warning where that is not
// known.
func (m *migrationRun) addAdmin(at report.Position, object, rule, message, hint string) {
	if m.adminsKnown {
		m.add(at, object, rule, message, hint)
	} else {
		m.warn(at, object, rule, message, hint)
	}
}

// judgePolicy looks for the policy that a schedule names.
func (m *migrationRun) judgePolicy() {
	ref, policies := m.policy, m.repository.policies
	if ref.name == "" || m.options.Partial || slices.Contains(builtInPolicies, ref.name) || policies["/"+ref.name] || policies[m.namespace+"/"+ref.name] {
		return
	}
	m.warn(ref.at, m.object(), "schedule-policy", fmt.Sprintf("there is no SchedulePolicy %s here, and Stork has none built in", quote(ref.name)), "built in: "+strings.Join(builtInPolicies, ", "))
}
