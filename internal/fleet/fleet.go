// Package fleet compiles a ClusterPairFleet into one config for each source cluster.
//
// [Parse] reads the document, [Fleet.Compile] pairs the clusters that the Secrets of
// the repository make. It reads what stands in clear alone, the metadata of the Secrets,
// so that it needs no key. All that follows sees configs of kind ClusterPairGenerator,
// each with an output of its own; that the same input gives the same configs, in the
// same order, is promised.
package fleet

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/schema"
)

// Fleet is a document of kind ClusterPairFleet. schema/fleet.cue documents every field.
type Fleet struct {
	// Name is the fleet's, Position where it stands.
	Name     string
	Position report.Position
	// Files are the globs of the files with the clusters' Secrets, relative to the
	// fleet's own directory, each with its place.
	Files         []string
	FilePositions []report.Position

	spec spec
	// secretFiles are the files with the Secrets of the clusters; what is missing may be
	// in any.
	secretFiles map[generator.SecretReference]string
	bySecret    map[string]string // names of clusters
}

// spec is the spec of a [Fleet], as it is written.
type spec struct {
	StorkVersion string      `yaml:"storkVersion"`
	Namespace    string      `yaml:"namespace"`
	Mode         string      `yaml:"mode"`
	Within       string      `yaml:"within"`
	Files        []string    `yaml:"files"`
	Directory    string      `yaml:"directory"`
	Clusters     []entry     `yaml:"clusters"`
	Readers      []string    `yaml:"readers"`
	Pairs        []rule      `yaml:"pairs"`
	Except       []exception `yaml:"except"`
	Limits       struct {
		Remove *int `yaml:"remove"`
	} `yaml:"limits"`

	directoryAt report.Position
}

// entry is an item of spec.clusters.
type entry struct {
	Name         string                    `yaml:"name"`
	Secrets      *generator.SecretSelector `yaml:"secrets"`
	Labels       map[string]string         `yaml:"labels"`
	StorkVersion string                    `yaml:"storkVersion"`
	Destination  *generator.Destination    `yaml:"destination"`
	Reader       list                      `yaml:"reader"`

	at       report.Position
	selected bool // whether its Secrets are there
}

// rule is an item of spec.pairs.
type rule struct {
	From                   by       `yaml:"from"`
	To                     by       `yaml:"to"`
	Same                   []string `yaml:"same"`
	BothWays               bool     `yaml:"bothWays"`
	Ring                   bool     `yaml:"ring"`
	Name                   string   `yaml:"name"`
	Namespaces             []string `yaml:"namespaces"`
	generator.PairSettings `yaml:",inline"`

	number int // from 1, as messages count
	at     report.Position
}

// exception is an item of spec.except.
type exception struct {
	From   by     `yaml:"from"`
	To     by     `yaml:"to"`
	Reason string `yaml:"reason"`
	Until  string `yaml:"until"`

	at report.Position
}

// ended tells whether the exception holds no more.
func (e *exception) ended(now time.Time) bool {
	return e.Until != "" && now.UTC().Format(time.DateOnly) > e.Until
}

// list is one text or several.
type list []string

// UnmarshalYAML implements [yaml.Unmarshaler].
func (l *list) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*l = list{n.Value}
		return nil
	}
	return n.Decode((*[]string)(l))
}

// by means clusters by name or by labels. The zero value means all of them.
type by struct {
	name   string
	labels map[string]string
	at     report.Position // without a file
	given  bool
}

// UnmarshalYAML implements [yaml.Unmarshaler].
func (b *by) UnmarshalYAML(n *yaml.Node) error {
	b.given, b.at = true, manifest.Position(n, "")
	if n.Kind == yaml.ScalarNode {
		b.name = n.Value
		return nil
	}
	return n.Decode(&b.labels)
}

// means tells whether a cluster is meant.
func (b *by) means(c *Cluster) bool {
	if b.name != "" {
		return c.Name == b.name
	}
	for key, value := range b.labels {
		if got, has := c.Labels[key]; !has || got != value {
			return false
		}
	}
	return true
}

func (b *by) String() string {
	if b.name != "" {
		return b.name
	}
	return labels.SelectorFromSet(b.labels).String()
}

// Parse reads a fleet from its document. Without an Error among the findings the fleet
// is there, and each of its fields is right by itself. file names the document in
// findings.
func Parse(doc *yaml.Node, file string) (*Fleet, []report.Finding) {
	findings := schema.Validate("#"+generator.FleetKind, doc, file, schema.Options{})
	if report.HasErrors(findings) {
		return nil, findings
	}
	f := &Fleet{Name: strings.Clone(manifest.Text(doc, "metadata", "name")), Position: manifest.Position(doc, file)}
	node := manifest.Field(doc, "spec")
	if err := node.Decode(&f.spec); err != nil {
		// The schema has accepted the document: an error here shows a gap in the schema.
		return nil, append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: f.Position,
			Message: "the fleet cannot be read although its schema accepts it"})
	}
	f.Files, f.spec.directoryAt = f.spec.Files, manifest.Position(manifest.Field(node, "directory"), file)
	for _, item := range manifest.Items(node, "files") {
		f.FilePositions = append(f.FilePositions, manifest.Position(item, file))
	}
	for i, item := range manifest.Items(node, "clusters") {
		c := &f.spec.Clusters[i]
		c.at = manifest.Position(item, file)
		if c.Secrets == nil {
			continue
		}
		if err := c.Secrets.Compile(); err != nil {
			findings = append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: c.at, Path: "spec.clusters",
				Message: fmt.Sprintf("secrets cannot match anything: %v", err)})
		}
	}
	for i, item := range manifest.Items(node, "pairs") {
		r := &f.spec.Pairs[i]
		r.number, r.at, r.From.at.File, r.To.at.File = i+1, manifest.Position(item, file), file, file
		findings = append(findings, r.CheckSettings(item, file)...)
	}
	for i, item := range manifest.Items(node, "except") {
		e := &f.spec.Except[i]
		e.at, e.From.at.File, e.To.at.File = manifest.Position(item, file), file, file
	}
	if report.HasErrors(findings) {
		return nil, findings
	}
	return f, findings
}

// ConfigName is the name of the config for a source cluster, as the annotation
// clusterpair.dev/generated-by of its pairs has it.
func (f *Fleet) ConfigName(cluster string) string { return f.Name + "." + cluster }

// Cluster is the source cluster in the name of a config of the fleet, empty if it is
// none of this fleet.
func (f *Fleet) Cluster(config string) string {
	cluster, _ := strings.CutPrefix(config, f.Name+".")
	if cluster == config {
		return ""
	}
	return cluster
}

// Secret is the metadata of a Secret, which is in clear in encrypted files, too.
type Secret struct {
	Namespace, Name, Type string
	Labels                map[string]string
	// File is its path as the globs of the fleet give it, Position its place.
	File     string
	Position report.Position
}

func (s *Secret) String() string {
	return generator.SecretReference{Name: s.Name, Namespace: s.Namespace}.String()
}

// Secrets are those in a document, or in the items of a List.
func Secrets(doc *yaml.Node, file string, at string) (found []Secret) {
	manifest.EachItem(doc, func(item *yaml.Node) {
		if manifest.Text(item, "kind") != "Secret" {
			return
		}
		text := func(keys ...string) string { return strings.Clone(manifest.Text(item, keys...)) } // else the whole text stays in memory
		s := Secret{Namespace: text("metadata", "namespace"), Name: text("metadata", "name"), Type: text("type"), File: file,
			Position: manifest.Position(item, at), Labels: make(map[string]string)}
		if l := manifest.Field(item, "metadata", "labels"); l != nil && l.Kind == yaml.MappingNode {
			for i := 0; i+1 < len(l.Content); i += 2 {
				s.Labels[strings.Clone(l.Content[i].Value)] = strings.Clone(l.Content[i+1].Value)
			}
		}
		found = append(found, s)
	})
	return found
}

// errorAt is a finding about what the fleet means.
func errorAt(at report.Position, path, message, hint string) report.Finding {
	return report.Finding{Rule: "fleet", Severity: report.Error, Position: at, Path: path, Message: message, Hint: hint}
}

// idleAt is a finding about what has no effect.
func idleAt(at report.Position, path, message, hint string) report.Finding {
	return report.Finding{Rule: "fleet-idle", Severity: report.Warning, Position: at, Path: path, Message: message, Hint: hint}
}

// unique leaves out findings that say the same of the same place.
func unique(findings []report.Finding) []report.Finding {
	report.Sort(findings)
	return slices.Compact(findings)
}
