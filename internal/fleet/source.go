package fleet

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/report"
)

// Pairs makes the pairs that the source renders.
func (s *Source) Pairs() []generator.Pair {
	return s.AppendPairs(make([]generator.Pair, 0, len(s.made)))
}

// AppendPairs is [Source.Pairs] into memory that may have held others.
func (s *Source) AppendPairs(pairs []generator.Pair) []generator.Pair {
	for i := range s.made {
		pairs = append(pairs, s.made[i].pair())
	}
	return pairs
}

// Renders tells whether it has any. One that is no more has none.
func (s *Source) Renders() bool { return len(s.made) > 0 }

// Leads are its pairs, NAMESPACE/NAME, each with the cluster that it leads to.
func (s *Source) Leads() iter.Seq2[string, *Cluster] {
	return func(yield func(string, *Cluster) bool) {
		for i := range s.made {
			if m := &s.made[i]; !yield(m.id(), m.way.to) {
				return
			}
		}
	}
}

// Parse makes the config of the source. Its files are those with the Secrets that it
// needs. Without a config there is an Error among the findings.
func (s *Source) Parse() (*generator.Config, []report.Finding) {
	own := &s.fleet.spec
	return generator.New(s.Config, generator.Spec{
		StorkVersion: cmp.Or(s.StorkVersion, own.StorkVersion), Namespace: own.Namespace, Mode: own.Mode, Within: own.Within,
		Pairs: s.Pairs(), Files: s.files(), Output: s.Output,
	}, s.fleet.Position)
}

// RemovalLimit is how many pairs of all sources of the fleet a run may remove without
// being asked. The name of the fleet is empty if it does not say.
func (s *Source) RemovalLimit() (fleet string, most int) {
	if n := s.fleet.spec.Limits.Remove; n != nil {
		return s.fleet.Name, *n
	}
	return "", 0
}

// Shared are the recipients that may read the pairs of all sources of the fleet.
func (s *Source) Shared() []string { return s.fleet.spec.Readers }

// Removed is a source that is no more: its config renders nothing, so that what an
// earlier run has rendered into output is removed.
func (f *Fleet) Removed(config, output string) Source {
	return Source{Cluster: &Cluster{Name: f.Cluster(config), Position: f.Position}, Config: config, Output: output, fleet: f}
}

// files are those with the Secrets of the destinations: each once, as no run is to
// decrypt what it does not need. A storage token may be in any file.
func (s *Source) files() []string {
	var names []string
	for i := range s.made {
		m := &s.made[i]
		file, known := s.fleet.secretFiles[*m.way.to.Destination.Secret]
		if !known || m.rule.Options.TokenFrom != nil {
			return s.fleet.Files
		}
		names = append(names, file)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// output is the directory of a source, relative to the fleet's own.
func (f *Fleet) output(source *Cluster) (string, error) {
	dir, err := generator.Expand(f.spec.Directory, func(variable string) (string, error) {
		if variable == "from" {
			return source.Name, nil
		}
		return "", fmt.Errorf("${%s} is not known here: the directory is made of ${from}", variable)
	})
	return path.Clean(dir), err
}

// Outputs is the glob of the directories of all sources, those that are no more
// included.
func (f *Fleet) Outputs() string {
	before, after, _ := strings.Cut(f.spec.Directory, "${from}")
	return path.Clean(before + "*" + after)
}

// foreign are the recipients that belong to other clusters than a source, with the
// cluster.
func (c *compilation) foreign(source *Cluster) map[string]string {
	all := make(map[string]string)
	for _, cluster := range c.sorted {
		for _, r := range cluster.Readers {
			if cluster != source && !slices.Contains(source.Readers, r) && !slices.Contains(c.fleet.spec.Readers, r) {
				all[r] = cluster.Name
			}
		}
	}
	return all
}

// CheckReaders finds recipients for whom the pairs of the source are not to be
// encrypted, and says so of the place where they are chosen or stand.
func (s *Source) CheckReaders(recipients []string, at report.Position) []report.Finding {
	var findings []report.Finding
	add := func(rule, message, hint string) {
		findings = append(findings, report.Finding{Rule: rule, Severity: report.Error, Position: at, Path: "sops", Object: s.Config, Message: message, Hint: hint})
	}
	const hint = "take the recipient out of the creation rule for the directory, render the pairs anew, and renew the credentials that it could read"
	for _, r := range recipients {
		switch other := s.foreign[r]; {
		case other != "":
			add("reader-of-another-cluster", fmt.Sprintf("the pairs of %s are encrypted for %s, the reader of %s", s.Name, r, other), hint)
		case len(s.Readers) > 0 && !slices.Contains(s.Readers, r) && !slices.Contains(s.fleet.spec.Readers, r):
			add("reader-of-another-cluster", fmt.Sprintf("the pairs of %s are encrypted for %s, which is neither a reader of the cluster nor of the fleet", s.Name, r), hint+"; or add it to readers in "+s.fleet.Position.File)
		}
	}
	if len(s.Readers) > 0 && len(recipients) > 0 && !slices.ContainsFunc(s.Readers, func(r string) bool { return slices.Contains(recipients, r) }) {
		add("fleet", fmt.Sprintf("the pairs of %s are not encrypted for its reader, %s: the cluster cannot decrypt them", s.Name, strings.Join(s.Readers, " or ")), "add the reader to the creation rule for the directory, then render the pairs anew")
	}
	return findings
}

// locate notes in which file each Secret is that makes a cluster.
func (f *Fleet) locate(clusters map[string]*Cluster, secrets []Secret) {
	f.secretFiles = make(map[generator.SecretReference]string)
	for _, name := range slices.Sorted(maps.Keys(clusters)) {
		ref := clusters[name].Destination.Secret
		if ref == nil {
			continue
		}
		var files []string
		for i := range secrets {
			if s := &secrets[i]; s.Name == ref.Name && (ref.Namespace == "" || ref.Namespace == s.Namespace) {
				files, clusters[name].secret = append(files, s.File), s
			}
		}
		if slices.Sort(files); len(slices.Compact(files)) == 1 { // else the run tells that it is ambiguous
			f.secretFiles[*ref] = files[0]
		}
	}
}
