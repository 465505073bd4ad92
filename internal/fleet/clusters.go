package fleet

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// clusterNameLabel is on the kubeconfig Secrets of Cluster API.
// https://cluster-api.sigs.k8s.io/developer/providers/contracts/control-plane
const clusterNameLabel = "cluster.x-k8s.io/cluster-name"

// Cluster is one of the fleet.
type Cluster struct {
	Name   string
	Labels map[string]string
	// Destination is where its kubeconfig is; without a Secret the cluster is a source
	// alone.
	Destination generator.Destination
	// Readers are the recipients of the cluster's own keys, if the fleet says so.
	Readers      []string
	StorkVersion string
	Position     report.Position

	secret *Secret // nil if it is in none of the files
}

// clusters makes the clusters of the fleet, by name.
func (f *Fleet) clusters(secrets []Secret) (map[string]*Cluster, []report.Finding) {
	m := &maker{fleet: f, clusters: make(map[string]*Cluster), from: make(map[string]*Secret), taken: make(map[*Secret]bool)}
	for i := range f.spec.Clusters {
		if e := &f.spec.Clusters[i]; e.Secrets != nil {
			m.selected(e, secrets)
		}
	}
	named := make(map[string]report.Position)
	for i := range f.spec.Clusters {
		e := &f.spec.Clusters[i]
		if e.Secrets != nil {
			continue
		}
		if first, twice := named[e.Name]; twice {
			m.add(errorAt(e.at, "spec.clusters", fmt.Sprintf("cluster %s is given twice, first at %s", e.Name, first), "remove one of the two"))
			continue
		}
		named[e.Name] = e.at
		m.named(e)
	}
	for i := range secrets {
		m.nearMiss(&secrets[i])
	}
	return m.clusters, m.findings
}

// maker makes clusters.
type maker struct {
	fleet    *Fleet
	clusters map[string]*Cluster
	from     map[string]*Secret // that has made a cluster
	taken    map[*Secret]bool
	findings []report.Finding
}

func (m *maker) add(f report.Finding) { m.findings = append(m.findings, f) }

// selected makes a cluster of each Secret that an entry selects.
func (m *maker) selected(e *entry, secrets []Secret) {
	before := len(m.findings)
	for i := range secrets {
		s := &secrets[i]
		if !takes(e, secrets, s) {
			continue
		}
		e.selected, m.taken[s] = true, true
		name, err := clusterName(e, s)
		switch {
		case s.Type == "kubernetes.io/tls" && (e.Destination == nil || e.Destination.Server == ""):
			m.add(errorAt(s.Position, "metadata.labels", fmt.Sprintf("Secret %s is a certificate with its key, of type kubernetes.io/tls, and no kubeconfig: its labels make it a cluster", s), "take the labels off it, or give the clusters at "+e.at.String()+" a destination with the server that the certificate is for"))
			continue
		case err != nil:
			m.add(errorAt(s.Position, "metadata.labels", err.Error(), "add the label to the Secret, or change name of the clusters at "+e.at.String()))
			continue
		case !IsClusterName(name):
			m.add(errorAt(s.Position, "metadata", fmt.Sprintf("Secret %s makes a cluster of the name %q, which is no RFC 1123 label", s, name), "lower-case letters, digits and '-': change name of the clusters at "+e.at.String()))
			continue
		}
		c, first := m.clusters[name], m.from[name]
		if c != nil && first != s {
			m.add(errorAt(s.Position, "metadata", fmt.Sprintf("Secret %s makes cluster %s, as does Secret %s at %s", s, name, first, first.Position), "give the clusters a name that tells the Secrets apart, or move one of the two out of files"))
			continue
		}
		if c == nil {
			c = &Cluster{Name: name, Labels: maps.Clone(s.Labels), Position: e.at}
			c.Destination.Secret = &generator.SecretReference{Name: s.Name, Namespace: s.Namespace}
			m.clusters[name], m.from[name] = c, s
		}
		m.say(c, e)
	}
	if !e.selected && len(m.findings) == before {
		m.add(errorAt(e.at, "spec.clusters", "no Secret among the files has the labels "+selectorText(e), m.nearest(e, secrets)))
	}
}

// takes tells whether an entry selects a Secret. That for the users of a cluster of
// Cluster API counts only where there is none for controllers.
func takes(e *entry, secrets []Secret, s *Secret) bool {
	selects := func(s *Secret) bool { return e.Secrets.Takes(s.Namespace, s.Name, s.Labels) }
	if !selects(s) {
		return false
	}
	other := kubeconfig.ForControllers(s.Name, s.Labels)
	return other == "" || !slices.ContainsFunc(secrets, func(o Secret) bool { return o.Name == other && o.Namespace == s.Namespace && selects(&o) })
}

// named makes a cluster by its name, or adds to the one that a Secret has made.
func (m *maker) named(e *entry) {
	c := m.clusters[e.Name]
	if c == nil {
		c = &Cluster{Name: e.Name, Labels: make(map[string]string)}
		m.clusters[e.Name] = c
	}
	c.Position = e.at
	if e.Destination != nil && e.Destination.Secret != nil {
		if first := m.from[e.Name]; first != nil && (first.Name != e.Destination.Secret.Name || e.Destination.Secret.Namespace != "" && first.Namespace != e.Destination.Secret.Namespace) {
			m.add(errorAt(e.at, "spec.clusters", fmt.Sprintf("cluster %s has Secret %s by its labels, and %s here", e.Name, first, e.Destination.Secret), "remove destination.secret, or take the label off that Secret"))
		}
		c.Destination.Secret = e.Destination.Secret
	}
	m.say(c, e)
}

// say adds to a cluster what an entry says of it.
func (m *maker) say(c *Cluster, e *entry) {
	maps.Copy(c.Labels, e.Labels)
	c.StorkVersion = cmp.Or(e.StorkVersion, c.StorkVersion)
	c.Readers = append(c.Readers, e.Reader...)
	if d := e.Destination; d != nil {
		c.Destination.Context, c.Destination.Server, c.Destination.TLSServerName = cmp.Or(d.Context, c.Destination.Context), cmp.Or(d.Server, c.Destination.Server), cmp.Or(d.TLSServerName, c.Destination.TLSServerName)
	}
}

// nearest is a hint for an entry that selects no Secret.
func (m *maker) nearest(e *entry, secrets []Secret) string {
	for i := range secrets {
		if miss := missed(e, &secrets[i]); miss != "" {
			return fmt.Sprintf("Secret %s has %s", &secrets[i], miss)
		}
	}
	if len(secrets) == 0 {
		return "there is no Secret in " + strings.Join(m.fleet.Files, ", ")
	}
	return fmt.Sprintf("there are Secrets, such as %s; their labels: grep -A5 labels: %s", &secrets[0], report.Typed(secrets[0].Position.File))
}

// Hidden tells of a document in which SOPS has encrypted by what a fleet selects Secrets,
// which it does without a key.
func (f *Fleet) Hidden(doc *yaml.Node, at string) []report.Finding {
	selects := slices.ContainsFunc(f.spec.Clusters, func(e entry) bool { return e.Secrets != nil })
	n := manifest.Field(doc, "kind")
	if manifest.Text(doc, "kind") == "Secret" {
		metadata := manifest.Field(doc, "metadata")
		known := []*yaml.Node{manifest.Field(metadata, "name"), manifest.Field(metadata, "namespace")}
		if labels := manifest.Field(metadata, "labels"); labels != nil {
			known = append(known, labels.Content...)
		}
		n = nil
		if i := slices.IndexFunc(known, encrypted); i >= 0 {
			n = known[i]
		}
	}
	if !selects || !encrypted(n) {
		return nil
	}
	return []report.Finding{errorAt(manifest.Position(n, at), "kind", "kind or metadata is encrypted, so that without a key nobody can tell whether this is the Secret of a cluster",
		"give its rule in .sops.yaml encrypted_regex: ^(data|stringData)$, then: sops decrypt -i "+report.Typed(at)+"; sops encrypt -i "+report.Typed(at))}
}

func encrypted(n *yaml.Node) bool { return n != nil && strings.HasPrefix(n.Value, "ENC[") }

// nearMiss tells of a Secret with the label of an entry, mistyped: its pairs would go
// without a word.
func (m *maker) nearMiss(s *Secret) {
	if m.taken[s] {
		return
	}
	for i := range m.fleet.spec.Clusters {
		e := &m.fleet.spec.Clusters[i]
		if e.Secrets == nil || !e.selected { // it is said that it selects none
			continue
		}
		if miss := missed(e, s); miss != "" {
			m.add(idleAt(s.Position, "metadata.labels", fmt.Sprintf("Secret %s is no cluster of the fleet, as it has %s", s, miss), "correct the label, or rename it if the Secret is to stay out"))
			return
		}
	}
}

// missed is by what a Secret misses an entry narrowly, empty if it does not.
func missed(e *entry, s *Secret) string {
	var miss string
	for key, value := range e.Secrets.MatchLabels {
		got, has := s.Labels[key]
		near := report.Nearest(key, slices.Sorted(maps.Keys(s.Labels)))
		switch {
		case has && got == value:
			continue
		case miss != "":
			return "" // two differ
		case has && report.Nearest(got, []string{value}) != "":
			miss = fmt.Sprintf("%s: %s in place of %s", key, got, value)
		case !has && near != "" && s.Labels[near] == value:
			miss = fmt.Sprintf("the label %s in place of %s", near, key)
		default:
			return ""
		}
	}
	return miss
}

// Cluster is the name of the cluster whose kubeconfig a Secret holds, by its label or else
// by its own name.
func (s *Secret) Cluster() string {
	return cmp.Or(s.Labels[clusterNameLabel], strings.TrimSuffix(s.Name, "-kubeconfig"))
}

// clusterName is the name of the cluster that a Secret makes.
func clusterName(e *entry, s *Secret) (string, error) {
	if e.Name == "" {
		return s.Cluster(), nil
	}
	return generator.Expand(e.Name, func(variable string) (string, error) {
		switch key, isLabel := strings.CutPrefix(variable, "label:"); {
		case isLabel && s.Labels[key] == "":
			return "", fmt.Errorf("Secret %s has no label %s, of which the name of its cluster is made", s, key)
		case isLabel:
			return s.Labels[key], nil
		case variable == "namespace":
			return s.Namespace, nil
		default: // ${name}: the schema knows no other
			return s.Name, nil
		}
	})
}

func selectorText(e *entry) string { return strings.ReplaceAll(e.Secrets.String(), ",", ", ") }
