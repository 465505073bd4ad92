package generator

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
	"clusterpair.dev/schema"
)

// Group is the API group of every function config, APIVersion the group and its version.
const (
	Group      = "clusterpair.dev"
	APIVersion = Group + "/v1alpha1"
)

// The kinds of function config.
const (
	GeneratorKind = "ClusterPairGenerator"
	DecryptorKind = "ClusterPairDecryptor"
	FleetKind     = "ClusterPairFleet"
	ValidatorKind = "ClusterPairValidator"
)

// Config is a function config of kind ClusterPairGenerator: which ClusterPairs
// to render, from which Secrets, and how to encrypt them. schema/config.cue
// documents every field. Get one from [ParseConfig].
type Config struct {
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Spec Spec `yaml:"spec"`

	// Position is where the config stands.
	Position report.Position `yaml:"-"`

	modePosition  report.Position
	filePositions []report.Position
	version       stork.Version // zero if the config gives none
}

// Spec is the spec of a [Config].
type Spec struct {
	StorkVersion string    `yaml:"storkVersion"`
	Namespace    string    `yaml:"namespace"`
	Mode         string    `yaml:"mode"`
	Within       string    `yaml:"within"`
	Pairs        []Pair    `yaml:"pairs"`
	Files        []string  `yaml:"files"`
	Selector     *Selector `yaml:"selector"`
	// Output is the directory of the rendered files, relative to the
	// kustomization; ParseConfig fills in "rendered".
	Output string `yaml:"output"`
	// Encryption holds inline recipients in the words of a creation rule; its
	// Kind is zero when the creation rules of .sops.yaml decide.
	Encryption yaml.Node `yaml:"encryption"`
}

// Pair is one ClusterPair to render.
type Pair struct {
	Name         string      `yaml:"name"`
	Destination  Destination `yaml:"destination"`
	PairSettings `yaml:",inline"`

	// Position is where the pair stands in the config.
	Position report.Position `yaml:"-"`
}

// PairSettings are what a [Pair] says of itself, and a [Selector] of all its pairs.
type PairSettings struct {
	Namespace       string            `yaml:"namespace"`
	Mode            string            `yaml:"mode"`
	Options         Options           `yaml:"options"`
	ProjectMappings map[string]string `yaml:"projectMappings"`
	Labels          map[string]string `yaml:"labels"`
	Annotations     map[string]string `yaml:"annotations"`
	Allow           []Allowance       `yaml:"allow"`
	// Cluster is what a fleet calls the destination. A pair of no fleet has none.
	Cluster string `yaml:"-" json:",omitempty"` // a digest of those without one stays what it was

	modePosition report.Position
}

// Destination says where the destination's kubeconfig comes from.
type Destination struct {
	Secret        *SecretReference `yaml:"secret"`
	File          string           `yaml:"file"`
	Context       string           `yaml:"context"`
	Server        string           `yaml:"server"`
	TLSServerName string           `yaml:"tlsServerName"`
}

// SecretReference names a Secret of the stream or of the files. An empty
// namespace matches any; an empty key leaves the choice to the convention
// that the Secret follows.
type SecretReference struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
	Key       string `yaml:"key"`
}

func (r SecretReference) String() string {
	if r.Namespace == "" {
		return r.Name
	}
	return r.Namespace + "/" + r.Name
}

// Options are the storage options of a pair over two fabrics. A pair over one
// stretched fabric has none.
type Options struct {
	IP    string `yaml:"ip"`
	Port  string `yaml:"port"`
	Token string `yaml:"token"`
	// TokenFrom takes the storage token out of a Secret.
	TokenFrom *struct {
		Secret SecretReference `yaml:"secret"`
	} `yaml:"tokenFrom"`
	BackupLocation string `yaml:"backuplocation"`
}

// any tells whether any storage option is set: then the pair spans two fabrics.
func (o Options) any() bool {
	return o.IP != "" || o.Port != "" || o.Token != "" || o.TokenFrom != nil || o.BackupLocation != ""
}

// Allowance waives one rule for one pair. The reason is kept on the rendered
// pair for its auditors.
type Allowance struct {
	Rule   string `yaml:"rule"`
	Reason string `yaml:"reason"`
}

// SecretSelector selects Secrets whose labels match and whose name Exclude does not
// have.
type SecretSelector struct {
	MatchLabels      map[string]string `yaml:"matchLabels"`
	MatchExpressions []struct {
		Key      string   `yaml:"key"`
		Operator string   `yaml:"operator"`
		Values   []string `yaml:"values"`
	} `yaml:"matchExpressions"`
	// Exclude are names of Secrets that are left out, NAME or NAMESPACE/NAME, in which
	// * and ? stand for what they do in the name of a file.
	Exclude []string `yaml:"exclude"`

	matches labels.Selector
}

// Selector renders one pair for every Secret that it selects.
type Selector struct {
	SecretSelector `yaml:",inline"`
	// Name makes a pair's name: ${name}, ${namespace} and ${label:KEY} stand
	// for the Secret's. Empty: the Secret's name without a final -kubeconfig.
	Name string `yaml:"name"`

	Key           string `yaml:"key"`
	Context       string `yaml:"context"`
	Server        string `yaml:"server"`
	TLSServerName string `yaml:"tlsServerName"`
	PairSettings  `yaml:",inline"`

	position report.Position
}

// ParseConfig reads a function config of kind ClusterPairGenerator from its
// YAML document. Without an Error among the findings the config is complete:
// defaults are filled in and every field has been checked. file names the
// document in findings.
func ParseConfig(doc *yaml.Node, file string) (*Config, []report.Finding) {
	findings := append(schema.Validate("#"+GeneratorKind, doc, file, schema.Options{}), dates(doc, file)...)
	if report.HasErrors(findings) {
		return nil, findings
	}
	c := &Config{Position: manifest.Position(doc, file)}
	if err := doc.Decode(c); err != nil {
		// The schema has accepted the document: an error here shows a gap in the
		// schema.
		return nil, append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: c.Position,
			Message: "function config cannot be read although its schema accepts it"})
	}
	spec := manifest.Field(doc, "spec")
	c.modePosition = manifest.Position(manifest.Field(spec, "mode"), file)
	if files := manifest.Field(spec, "files"); files != nil {
		for _, node := range files.Content {
			c.filePositions = append(c.filePositions, manifest.Position(node, file))
		}
	}
	if pairs := manifest.Field(spec, "pairs"); pairs != nil {
		for i, node := range pairs.Content {
			c.Spec.Pairs[i].Position = manifest.Position(node, file)
			c.Spec.Pairs[i].modePosition = manifest.Position(manifest.Field(node, "mode"), file)
			findings = append(findings, checkAllowances(c.Spec.Pairs[i].Allow, manifest.Field(node, "allow"), file)...)
		}
	}
	if s := c.Spec.Selector; s != nil {
		node := manifest.Field(spec, "selector")
		s.position = manifest.Position(node, file)
		s.modePosition = manifest.Position(manifest.Field(node, "mode"), file)
		findings = append(findings, checkAllowances(s.Allow, manifest.Field(node, "allow"), file)...)
		if err := s.Compile(); err != nil {
			findings = append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: s.position,
				Path: "spec.selector", Message: fmt.Sprintf("selector cannot match anything: %v", err)})
		}
	}
	findings = append(findings, c.complete()...)
	if report.HasErrors(findings) {
		return nil, findings
	}
	return c, findings
}

// New makes a config that stands in no document of its own, as [ParseConfig] does. at is
// where it comes from.
func New(name string, spec Spec, at report.Position) (*Config, []report.Finding) {
	c := &Config{Spec: spec, Position: at, modePosition: at}
	c.Metadata.Name = name
	for i := range c.Spec.Pairs {
		if p := &c.Spec.Pairs[i]; p.modePosition == (report.Position{}) {
			p.modePosition = p.Position
		}
	}
	findings := c.complete()
	if report.HasErrors(findings) {
		return nil, findings
	}
	return c, findings
}

// CheckSettings finds what a schema cannot say of the settings in a node of a file.
func (s *PairSettings) CheckSettings(node *yaml.Node, file string) []report.Finding {
	return append(checkAllowances(s.Allow, manifest.Field(node, "allow"), file), reserved(s.Annotations, manifest.Position(node, file))...)
}

// dates refuses dates without quotes. kustomize hands a function a time of day in their
// place, so that it would render another pair than clusterpair generate.
func dates(n *yaml.Node, file string) (findings []report.Finding) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		return []report.Finding{{Rule: "value-type", Severity: report.Error, Position: manifest.Position(n, file),
			Message: "a date without quotes, to which kustomize adds a time of day", Hint: "quote it"}}
	}
	for _, child := range n.Content {
		findings = append(findings, dates(child, file)...)
	}
	return findings
}

// Listed are the pairs that a config of kind ClusterPairGenerator lists, as
// NAMESPACE/NAME, whether or not it is right in all.
func Listed(doc *yaml.Node) map[string]bool {
	spec := manifest.Field(doc, "spec")
	value := func(n *yaml.Node, name string) string {
		if v := manifest.Field(n, name); v != nil {
			return v.Value
		}
		return ""
	}
	listed := make(map[string]bool)
	if pairs := manifest.Field(spec, "pairs"); pairs != nil {
		for _, p := range pairs.Content {
			listed[cmp.Or(value(p, "namespace"), value(spec, "namespace"))+"/"+value(p, "name")] = true
		}
	}
	return listed
}

// FilePosition is where the file of an index in Spec.Files stands: that of the
// config for a file that the caller has added.
func (c *Config) FilePosition(i int) report.Position {
	if i < len(c.filePositions) {
		return c.filePositions[i]
	}
	return c.Position
}

// complete fills in defaults and checks what concerns several fields.
func (c *Config) complete() []report.Finding {
	var findings []report.Finding
	c.version, _ = stork.Parse(c.Spec.StorkVersion) // the schema has judged it
	if c.Spec.Output == "" {
		c.Spec.Output = "rendered"
	}
	seen := make(map[string]report.Position, len(c.Spec.Pairs))
	inherited := false // whether a pair over one fabric has the mode of the spec
	mode := func(own string, at report.Position, o Options) {
		switch {
		case o.any():
		case own == "":
			inherited = true
		default:
			findings = append(findings, c.checkMode(own, at)...)
		}
	}
	for i := range c.Spec.Pairs {
		p := &c.Spec.Pairs[i]
		findings = append(findings, reserved(p.Annotations, p.Position)...)
		if p.Namespace == "" {
			p.Namespace = c.Spec.Namespace
		}
		if p.Namespace == "" {
			findings = append(findings, noNamespace(p.Position, p.Name))
		}
		id := p.Namespace + "/" + p.Name
		if first, twice := seen[id]; twice {
			findings = append(findings, report.Finding{Rule: "duplicate-pair", Severity: report.Error, Position: p.Position,
				Path: "spec.pairs", Message: fmt.Sprintf("ClusterPair %s is declared twice, first at %s", id, first),
				Hint: "give one of the two another name or namespace"})
		}
		seen[id] = p.Position
		mode(p.Mode, p.modePosition, p.Options)
	}
	if s := c.Spec.Selector; s != nil {
		findings = append(findings, reserved(s.Annotations, s.position)...)
		if s.Namespace == "" {
			if s.Namespace = c.Spec.Namespace; s.Namespace == "" {
				findings = append(findings, noNamespace(s.position, "selector"))
			}
		}
		mode(s.Mode, s.modePosition, s.Options)
	}
	if inherited {
		at := c.modePosition
		if c.Spec.Mode == "" {
			at = c.Position
		}
		findings = append(findings, c.checkMode(c.Spec.Mode, at)...)
	}
	return findings
}

// reserved refuses annotations that are not the user's to set.
func reserved(annotations map[string]string, at report.Position) (findings []report.Finding) {
	for _, key := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(key, annotationPrefix) && key != AnnotationBidirectional {
			findings = append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: at, Path: "annotations",
				Message: fmt.Sprintf("annotation %q: %s is for what clusterpair itself says about a pair", key, annotationPrefix),
				Hint:    "give it a prefix of your own"})
		}
	}
	return findings
}

func noNamespace(at report.Position, name string) report.Finding {
	return report.Finding{Rule: "pair-namespace", Severity: report.Error, Position: at,
		Message: fmt.Sprintf("pair %q has no namespace", name),
		Hint:    "set namespace on the pair, or spec.namespace for all pairs; Migrations find a pair only in their own namespace"}
}

func checkAllowances(allow []Allowance, node *yaml.Node, file string) []report.Finding {
	var findings []report.Finding
	for i, a := range allow {
		if f, ok := CheckAllowance(a.Rule); !ok {
			f.Position = manifest.Position(node.Content[i], file)
			findings = append(findings, f)
		}
	}
	return findings
}

// CheckAllowance tells whether a rule may be waived, and the finding to report
// if it may not.
func CheckAllowance(rule string) (report.Finding, bool) {
	if report.Waivable(rule) {
		return report.Finding{}, true
	}
	hint := "rules that can be allowed: " + strings.Join(report.WaivableRules(), ", ")
	if near := report.Nearest(rule, report.WaivableRules()); near != "" {
		hint = fmt.Sprintf("did you mean %s? %s", near, hint)
	}
	return report.Finding{Rule: "config", Severity: report.Error, Path: "allow",
		Message: fmt.Sprintf("rule %q cannot be allowed: it is unknown, or its breach stops Stork", rule), Hint: hint}, false
}

// Compile makes the selector ready for Takes. Its error names the key and the operator
// that Kubernetes does not accept.
func (s *SecretSelector) Compile() error {
	s.matches = labels.SelectorFromSet(s.MatchLabels)
	operators := map[string]selection.Operator{"In": selection.In, "NotIn": selection.NotIn,
		"Exists": selection.Exists, "DoesNotExist": selection.DoesNotExist}
	for _, e := range s.MatchExpressions {
		r, err := labels.NewRequirement(e.Key, operators[e.Operator], e.Values)
		if err != nil {
			return fmt.Errorf("matchExpressions: key %q, operator %q", e.Key, e.Operator)
		}
		s.matches = s.matches.Add(*r)
	}
	return nil
}

// Takes tells whether the selector selects a Secret.
func (s *SecretSelector) Takes(namespace, name string, set map[string]string) bool {
	return s.matches.Matches(labels.Set(set)) && !slices.ContainsFunc(s.Exclude, func(pattern string) bool {
		whole := name
		if strings.Contains(pattern, "/") {
			whole = namespace + "/" + name
		}
		match, _ := path.Match(pattern, whole) // the schema has judged it
		return match
	})
}

// String is the selector as kubectl --selector takes it.
func (s *SecretSelector) String() string { return s.matches.String() }

// pair makes the pair that the selector renders for a Secret.
func (s *Selector) pair(h header) (Pair, error) {
	name := strings.TrimSuffix(h.name, "-kubeconfig")
	if s.Name != "" {
		var err error
		if name, err = expand(s.Name, h); err != nil {
			return Pair{}, err
		}
	}
	return Pair{
		Name: name,
		Destination: Destination{
			Secret:  &SecretReference{Name: h.name, Namespace: h.namespace, Key: s.Key},
			Context: s.Context, Server: s.Server, TLSServerName: s.TLSServerName,
		},
		PairSettings: s.PairSettings, Position: s.position,
	}, nil
}

// PairName is the name of the pair that the selector renders for a Secret.
func (s *Selector) PairName(namespace, name string, labels map[string]string) (string, error) {
	p, err := s.pair(header{namespace: namespace, name: name, labels: labels})
	return p.Name, err
}

// expand replaces ${name}, ${namespace} and ${label:KEY}.
func expand(template string, h header) (string, error) {
	return Expand(template, func(variable string) (string, error) {
		switch key, isLabel := strings.CutPrefix(variable, "label:"); {
		case isLabel && h.labels[key] == "":
			return "", fmt.Errorf("name template %q: Secret %s has no label %q", template, h, key)
		case isLabel:
			return h.labels[key], nil
		case variable == "name":
			return h.name, nil
		case variable == "namespace":
			return h.namespace, nil
		default:
			return "", fmt.Errorf("name template %q: ${%s} is not one of ${name}, ${namespace}, ${label:KEY}", template, variable)
		}
	})
}

// Expand replaces each ${VARIABLE} of a template by its value. An error is that of
// value.
func Expand(template string, value func(variable string) (string, error)) (string, error) {
	var b strings.Builder
	for rest := template; ; {
		before, after, found := strings.Cut(rest, "${")
		b.WriteString(before)
		if !found {
			return b.String(), nil
		}
		variable, tail, _ := strings.Cut(after, "}")
		text, err := value(variable)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		rest = tail
	}
}

// within is the horizon of credential-expiring; zero leaves it to its default.
func (c *Config) within() time.Duration {
	if c.Spec.Within == "" {
		return 0
	}
	d, _ := ParseDuration(c.Spec.Within) // the schema has judged it
	return d
}

// ParseDuration reads days, as in 30d, or what [time.ParseDuration] reads.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	return d, nil
}
