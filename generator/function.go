package generator

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/schema"
)

// Environment is what a function needs from the place where it runs.
type Environment interface {
	// Open gives the sources of a config: the Secrets that kustomize streamed,
	// by name, and the files that the config lists; and where pairs go.
	Open(c *Config, stream map[string]*yaml.Node) (SecretSource, Encrypter, error)
	// Decrypt decrypts the files that match the patterns, with their MAC
	// verified, and hands on each document with the name of its file.
	Decrypt(ctx context.Context, patterns []string, each func(file string, doc *yaml.Node) error) error
	// Validate judges the objects of the stream as v says.
	Validate(ctx context.Context, v Validation, objects []*yaml.Node) ([]report.Finding, error)
	// Locate finds the file in which the user wrote a function config, so that
	// a finding can name a line: kustomize hands on neither. It is nil when
	// the config cannot be found.
	Locate(kind, name string) (doc *yaml.Node, file string)
}

// Validation is what a ClusterPairValidator says about how to judge.
type Validation struct {
	StorkVersion   string
	Within, MaxAge time.Duration // zero: 30 days, and never
	Plaintext      bool
	Skip           []string
}

// Process is the kustomize function: it dispatches on the kind of rl's
// functionConfig and replaces rl's items.
//
// A ClusterPairGenerator, as generator or as transformer, adds its encrypted
// pairs and takes away the Secrets that it used. A ClusterPairDecryptor, as
// generator, gives the plaintext of encrypted pairs. A ClusterPairValidator, as
// transformer, changes nothing. With an error or a finding
// of severity Error no item is left in rl, so that no plaintext can reach
// standard output. kustomize shows no results: the caller prints the findings.
func Process(ctx context.Context, rl *ResourceList, env Environment, now time.Time) ([]report.Finding, error) {
	findings, err := process(ctx, rl, env, now)
	report.Sort(findings)
	if err != nil || report.HasErrors(findings) {
		rl.Items = nil
		if rl.FunctionConfig != nil {
			// The functionConfig goes to standard output with the items, and may hold a
			// storage token.
			if err := rl.FunctionConfig.PipeE(kyaml.Clear("spec")); err != nil {
				return findings, fmt.Errorf("the functionConfig is no mapping")
			}
		}
	}
	rl.Results = results(findings)
	return findings, err
}

func process(ctx context.Context, rl *ResourceList, env Environment, now time.Time) ([]report.Finding, error) {
	if rl.FunctionConfig == nil {
		return nil, fmt.Errorf("the ResourceList has no functionConfig: list a config of kind %s under generators or transformers of a kustomization.yaml", GeneratorKind)
	}
	doc := rl.FunctionConfig.YNode()
	manifest.ForgetPositions(doc)
	h := readHeader(doc)
	switch h.kind {
	case GeneratorKind:
		return generate(ctx, rl, doc, h, env, now)
	case DecryptorKind:
		return decrypt(ctx, rl, doc, h, env)
	case ValidatorKind:
		return validate(ctx, rl, doc, h, env)
	case FleetKind:
		return []report.Finding{NoFunction("FILE", report.Position{File: h.kind + "/" + h.name})}, nil
	}
	return []report.Finding{unknownKind(h.kind, report.Position{File: h.kind + "/" + h.name}, GeneratorKind, DecryptorKind, ValidatorKind)}, nil
}

// NoFunction is the finding about a fleet that a kustomization lists. file is where the
// fleet stands, as the user types it.
func NoFunction(file string, at report.Position) report.Finding {
	return report.Finding{Rule: "fleet", Severity: report.Error, Position: at, Path: "kind",
		Message: "a fleet is no function config: one build of kustomize cannot hold the pairs of several clusters",
		Hint:    "take it out of the kustomization; this renders it: clusterpair generate -f " + file}
}

// unknownKind says that a kind is none of those that there are.
func unknownKind(kind string, at report.Position, kinds ...string) report.Finding {
	last := len(kinds) - 1
	hint := fmt.Sprintf("the kinds are %s and %s", strings.Join(kinds[:last], ", "), kinds[last])
	if near := report.Nearest(kind, kinds); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return report.Finding{Rule: "config", Severity: report.Error, Position: at, Path: "kind",
		Message: fmt.Sprintf("kind %q is no function config of clusterpair", kind), Hint: hint}
}

func generate(ctx context.Context, rl *ResourceList, doc *yaml.Node, h header, env Environment, now time.Time) ([]report.Finding, error) {
	c, findings := ParseConfig(doc, h.kind+"/"+h.name)
	if len(findings) > 0 {
		// Judge the config again as it stands in the user's own file, if that is at
		// hand and says the same: then the findings have the lines that the user knows.
		if own, file := env.Locate(h.kind, h.name); own != nil {
			if _, again := ParseConfig(own, file); len(again) > 0 {
				findings = again
			}
		}
	}
	if c == nil {
		return findings, nil
	}

	stream, origin := streamed(rl.Items)
	secrets, encrypter, err := env.Open(c, stream)
	if err != nil {
		return findings, err
	}

	var mu sync.Mutex // guards what follows
	consumed := make(map[string]bool)
	var rendered []Result
	more, err := Generate(ctx, c, Inputs{Secrets: secrets, Encrypter: encrypter, Now: now,
		Consumed: func(file string) {
			mu.Lock()
			defer mu.Unlock()
			consumed[file] = true
		},
	}, func(r Result) error {
		mu.Lock()
		defer mu.Unlock()
		rendered = append(rendered, r)
		return nil
	})
	findings = append(findings, more...)
	if err != nil || report.HasErrors(findings) {
		return findings, err
	}

	var items []*kyaml.RNode
	for i, item := range rl.Items {
		isConfig := item.GetKind() == GeneratorKind && item.GetName() == h.name
		if !isConfig && !consumed[origin[i]] {
			items = append(items, item)
		}
	}
	SortResults(rendered)
	for _, r := range rendered {
		node, err := kyaml.Parse(string(r.Document))
		if err != nil {
			return findings, fmt.Errorf("ClusterPair %s/%s: the encrypted document is not YAML", r.Namespace, r.Name)
		}
		items = append(items, node)
	}
	rl.Items = items
	return findings, nil
}

// streamed are the Secrets among items, by name, and the name of each item that is one.
func streamed(items []*kyaml.RNode) (stream map[string]*yaml.Node, names []string) {
	stream = make(map[string]*yaml.Node)
	names = make([]string, len(items))
	for i, item := range items {
		if item.GetKind() != "Secret" || item.GetApiVersion() != "v1" {
			continue
		}
		name := "Secret/" + item.GetName()
		if ns := item.GetNamespace(); ns != "" {
			name = "Secret/" + ns + "/" + item.GetName()
		}
		if _, taken := stream[name]; taken {
			name = fmt.Sprintf("%s (%d)", name, i)
		}
		manifest.ForgetPositions(item.YNode())
		stream[name], names[i] = item.YNode(), name
	}
	return stream, names
}

// SortResults puts results into the order of the config, and those of a
// selector into that of their namespaces and names.
func SortResults(rs []Result) {
	slices.SortFunc(rs, func(a, b Result) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

func decrypt(ctx context.Context, rl *ResourceList, doc *yaml.Node, h header, env Environment) ([]report.Finding, error) {
	var spec struct {
		Files        []string `yaml:"files"`
		StorkVersion string   `yaml:"storkVersion"`
	}
	findings, err := readSpec(doc, h, env, &spec)
	if err != nil || report.HasErrors(findings) {
		return findings, err
	}
	var items []*kyaml.RNode
	err = env.Decrypt(ctx, spec.Files, func(file string, doc *yaml.Node) error {
		if kind := readHeader(doc).kind; kind != ClusterPairKind {
			findings = append(findings, report.Finding{Rule: "pair-kind", Severity: report.Error, Position: manifest.Position(doc, file),
				Message: fmt.Sprintf("kind %q is no %s", kind, ClusterPairKind),
				Hint:    "list only encrypted ClusterPairs under spec.files of a " + DecryptorKind})
			return nil
		}
		for _, f := range schema.Validate("#"+ClusterPairKind, doc, file, schema.Options{StorkVersion: spec.StorkVersion}) {
			if f.Severity == report.Error {
				findings = append(findings, f)
			}
		}
		items = append(items, kyaml.NewRNode(doc))
		return nil
	})
	if err != nil {
		return findings, err
	}
	rl.Items = items
	return findings, nil
}

// readSpec judges a config, and reads its spec where there is no Error among the findings.
func readSpec(doc *yaml.Node, h header, env Environment, spec any) ([]report.Finding, error) {
	findings := checkConfig(doc, h, env)
	if n := manifest.Field(doc, "spec"); n != nil && !report.HasErrors(findings) && n.Decode(spec) != nil {
		return findings, fmt.Errorf("%s/%s: function config cannot be read although its schema accepts it", h.kind, h.name)
	}
	return findings, nil
}

// checkConfig judges a config with the lines of the user's own file, if that is
// at hand and says the same.
func checkConfig(doc *yaml.Node, h header, env Environment) []report.Finding {
	findings := CheckConfig(h.kind, doc, h.kind+"/"+h.name)
	if report.HasErrors(findings) {
		if own, file := env.Locate(h.kind, h.name); own != nil {
			if again := CheckConfig(h.kind, own, file); len(again) > 0 {
				return again
			}
		}
	}
	return findings
}

// CheckConfig judges the function config of a kind, or a fleet, on its own. file is for
// findings.
func CheckConfig(kind string, doc *yaml.Node, file string) []report.Finding {
	switch kind {
	case GeneratorKind:
		_, findings := ParseConfig(doc, file)
		return findings
	case DecryptorKind, ValidatorKind, FleetKind:
	default:
		at := doc
		if n := manifest.Field(doc, "kind"); n != nil {
			at = n
		}
		return []report.Finding{unknownKind(kind, manifest.Position(at, file), GeneratorKind, FleetKind, DecryptorKind, ValidatorKind)}
	}
	findings := schema.Validate("#"+kind, doc, file, schema.Options{})
	if skip := manifest.Field(doc, "spec", "skip"); kind == ValidatorKind && skip != nil && !report.HasErrors(findings) {
		for _, rule := range skip.Content {
			if _, known := report.RuleOf(rule.Value); !known {
				findings = append(findings, unknownRule(rule, file))
			}
		}
	}
	return findings
}

func unknownRule(rule *yaml.Node, file string) report.Finding {
	hint := "as findings show it in brackets"
	if near := report.Nearest(rule.Value, report.RuleIDs()); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return report.Finding{Rule: "config", Severity: report.Error, Position: manifest.Position(rule, file), Path: "spec.skip",
		Message: fmt.Sprintf("there is no rule %q", rule.Value), Hint: hint}
}

// validate judges the stream and leaves it as it is.
func validate(ctx context.Context, rl *ResourceList, doc *yaml.Node, h header, env Environment) ([]report.Finding, error) {
	var spec struct {
		StorkVersion string   `yaml:"storkVersion"`
		Within       string   `yaml:"within"`
		MaxAge       string   `yaml:"maxAge"`
		Strict       bool     `yaml:"strict"`
		Plaintext    bool     `yaml:"plaintext"`
		Skip         []string `yaml:"skip"`
	}
	findings, err := readSpec(doc, h, env, &spec)
	if err != nil || report.HasErrors(findings) {
		return findings, err
	}
	v := Validation{StorkVersion: spec.StorkVersion, Plaintext: spec.Plaintext, Skip: spec.Skip}
	v.Within, _ = ParseDuration(spec.Within) // the schema has judged both
	v.MaxAge, _ = ParseDuration(spec.MaxAge)
	objects := make([]*yaml.Node, len(rl.Items))
	for i, item := range rl.Items {
		objects[i] = item.YNode()
	}
	more, err := env.Validate(ctx, v, objects)
	for i := range more {
		if f := &more[i]; f.Waived != "" {
			f.Severity = report.Info
		} else if spec.Strict && f.Severity == report.Warning {
			f.Severity = report.Error
		}
	}
	return append(findings, more...), err
}
