package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
)

// sameBySecret finds clusters that are one, as far as their Secrets tell it in clear: both
// take one kubeconfig, or both kubeconfigs are of one cluster of Cluster API.
func (c *compilation) sameBySecret() {
	type kubeconfig struct {
		generator.SecretReference
		context, server string
	}
	bySecret, byLabel := make(map[kubeconfig]*Cluster), make(map[string]*Cluster)
	for _, cluster := range c.sorted {
		d, s := &cluster.Destination, cluster.secret
		if d.Secret == nil {
			continue
		}
		k := kubeconfig{*d.Secret, d.Context, d.Server}
		if other := bySecret[k]; other != nil {
			c.add(oneCluster(other, cluster, "take one kubeconfig, of Secret "+d.Secret.String()))
		}
		bySecret[k] = cluster
		if s == nil || s.Labels[clusterNameLabel] == "" {
			continue
		}
		label := s.Namespace + "/" + s.Labels[clusterNameLabel]
		if other := byLabel[label]; other != nil && other.secret != s {
			c.add(oneCluster(other, cluster, fmt.Sprintf("have Secrets with the label %s: %s in one namespace", clusterNameLabel, s.Labels[clusterNameLabel])))
		}
		byLabel[label] = cluster
	}
}

// oneCluster is the finding about two clusters that are one; why says by what.
func oneCluster(first, second *Cluster, why string) report.Finding {
	return errorAt(second.place(), "spec.clusters", fmt.Sprintf("clusters %s and %s are one under two names: they %s; %s is at %s", first.Name, second.Name, why, first.Name, first.place()),
		"keep one of the two: take the labels that make the other a cluster off its Secret, or remove its entry; if they are two clusters, one of the Secrets holds the kubeconfig of the other")
}

// place is where the Secret of a cluster stands, or else what the fleet says of it.
func (c *Cluster) place() report.Position {
	if c.secret != nil {
		return c.secret.Position
	}
	return c.Position
}

// Identities finds clusters of a fleet whose kubeconfigs lead to one server by one CA. It
// knows of a cluster what the pairs that lead to it say. The zero value knows none. Its
// methods may be called from several goroutines.
type Identities struct {
	mu    sync.Mutex
	known map[*Fleet]map[string][]*Cluster // by destination-id
}

// Note takes in the pair of a source, by its destination-id.
func (n *Identities) Note(s *Source, namespace, name, id string) {
	to := s.leads(namespace, name)
	if to == nil || id == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.known == nil {
		n.known = make(map[*Fleet]map[string][]*Cluster)
	}
	if n.known[s.fleet] == nil {
		n.known[s.fleet] = make(map[string][]*Cluster)
	}
	if all := n.known[s.fleet][id]; !slices.Contains(all, to) {
		n.known[s.fleet][strings.Clone(id)] = append(all, to)
	}
}

// Findings are the clusters that are one, sorted.
func (n *Identities) Findings() (findings []report.Finding) {
	for _, ids := range n.known {
		for same := range maps.Values(ids) {
			slices.SortFunc(same, func(a, b *Cluster) int { return strings.Compare(a.Name, b.Name) })
			for _, other := range same[1:] {
				findings = append(findings, oneCluster(same[0], other, "lead to the same server by the same CA"))
			}
		}
	}
	return unique(findings)
}

// leads is the cluster to which a pair of the source leads, nil if it has no such pair.
func (s *Source) leads(namespace, name string) *Cluster {
	i, found := slices.BinarySearchFunc(s.made, made{namespace: namespace, name: name}, made.compare)
	if !found {
		return nil
	}
	return s.made[i].way.to
}
