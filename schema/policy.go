package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// Policy is what an organisation demands of its documents beyond the schema:
// a CUE file that adds to the definitions of this package, as in
//
//	#Encrypted: metadata: labels!: team!: =~"^[a-z]+$" | error("no team [team-label]\nhint: labels: {team: storage}")
//
// It works with the command cue, too, when its files are named one by one:
// cue vet -c schema/*.cue policy.cue pair.yaml -d '#Encrypted'. A policy can
// demand more, never allow more. Get one from [LoadPolicy].
//
// Package cuepolicy evaluates it. CUE's evaluator takes longer to start than all else,
// so it runs in the program clusterpair-helper.
type Policy struct {
	file   string
	loaded PolicyLoaded
	ask    PolicyAsk
}

// PolicyAsk has the program clusterpair-helper do an operation, one of those below:
// it takes what the operation takes, and stores what that gives.
type PolicyAsk func(operation string, in, out any) error

// What is asked for: to load a policy, of a [PolicyFile], which gives a [PolicyLoaded]; to
// evaluate it on a document, of a [PolicyDocument], which gives a list of [PolicyBreach].
const (
	LoadOperation     = "load a policy"
	EvaluateOperation = "evaluate a policy"
)

// PolicyFile is a policy, and the name of its file for messages.
type PolicyFile struct {
	Data []byte `json:"data"`
	File string `json:"file"`
}

// PolicyLoaded is a policy that has been loaded.
type PolicyLoaded struct {
	// ID is for the documents that are to be judged by it.
	ID int `json:"id"`
	// Definitions are those of documents that it adds to, sorted.
	Definitions []string `json:"definitions"`
}

// PolicyDocument is a document to be judged.
type PolicyDocument struct {
	Policy     int             `json:"policy"`
	Definition string          `json:"definition"`
	Value      json.RawMessage `json:"value"`
}

// PolicyBreach is what a policy has against a document at one place.
type PolicyBreach struct {
	// Path leads to the place; a name that is no identifier is quoted, as CUE does.
	Path []string `json:"path"`
	// Texts are what the policy says itself, by error(…).
	Texts []string `json:"texts,omitempty"`
	// Line is that of the constraint in the policy.
	Line int `json:"line"`
	// Missing is what the policy says of a field that is missing, by @missing.
	Missing string `json:"missing,omitempty"`
}

// LoadPolicy reads a policy; file names it in messages. The error says where
// the policy is wrong, as file:line:column.
func LoadPolicy(data []byte, file string, ask PolicyAsk) (*Policy, error) {
	p := &Policy{file: file, ask: ask}
	if err := ask(LoadOperation, PolicyFile{data, file}, &p.loaded); err != nil {
		return nil, err
	}
	return p, nil
}

// Definitions are those of documents that the policy adds to, sorted, as
// "#ClusterPair".
func (p *Policy) Definitions() []string { return p.loaded.Definitions }

// Validate checks a document against a definition, as the function of the same
// name does, and reports what the policy has against it. A definition that the
// policy does not mention accepts everything. Validate may be called
// concurrently.
//
// "#ClusterPair" is for encrypted pairs, too: what it says of values that SOPS has
// encrypted cannot be decided, and is no finding.
func (p *Policy) Validate(def string, doc *yaml.Node, file string) []report.Finding {
	wrong := func(message, hint string) []report.Finding {
		return []report.Finding{{Rule: policyRule, Position: report.Position{File: file, Line: doc.Line, Column: doc.Column}, Message: message, Hint: hint}}
	}
	value, ok := decode(doc)
	if !ok {
		return wrong("the policy cannot be checked: with its anchors written out the document is too large", "")
	}
	text, err := json.Marshal(value)
	var breaches []PolicyBreach
	if err == nil {
		err = p.ask(EvaluateOperation, PolicyDocument{p.loaded.ID, def, text}, &breaches)
	}
	if err != nil {
		return wrong("CUE fails to evaluate the policy "+p.file+" on this document", "see what cue vet says, and say it in another way")
	}
	var findings []report.Finding
	sealed := def == "#ClusterPair" && hasField(doc, "sops")
	for _, b := range breaches {
		findings = append(findings, p.findings(b, doc, file, sealed)...)
	}
	return findings
}

// policyRule is the rule of findings whose policy names none.
const policyRule = "policy"

// hasField tells whether a document has a field at its top.
func hasField(doc *yaml.Node, name string) bool {
	for doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		doc = doc.Content[0]
	}
	return doc.Kind == yaml.MappingNode && hasOne(doc, []string{name})
}

// hasCiphertext tells whether SOPS has encrypted a value, or one below it.
func hasCiphertext(n *yaml.Node) bool {
	if n.Kind == yaml.ScalarNode {
		return strings.HasPrefix(n.Value, "ENC[")
	}
	return slices.ContainsFunc(n.Content, hasCiphertext)
}

func (p *Policy) findings(b PolicyBreach, doc *yaml.Node, file string, sealed bool) []report.Finding {
	n, at, missing := locate(doc, b.Path)
	if sealed && !missing && hasCiphertext(n) {
		return nil
	}
	texts := b.Texts
	if texts == nil {
		text := fmt.Sprintf("breaks the policy at %s:%d", p.file, b.Line)
		if missing {
			text = fmt.Sprintf("field %s is missing, which the policy at %s:%d requires", quoted(at.key), p.file, b.Line)
			if b.Missing != "" {
				text = b.Missing
			}
		}
		texts = []string{text}
	}
	var findings []report.Finding
	for _, text := range texts {
		message, hint, _ := strings.Cut(text, "\n")
		rule := policyRule
		if m := ruleAtEnd().FindStringSubmatchIndex(message); m != nil {
			message, rule = message[:m[0]], message[m[2]:m[3]]
		}
		findings = append(findings, report.Finding{Rule: rule, Severity: report.Error, Path: at.String(), Message: message,
			Hint:     strings.TrimPrefix(strings.TrimSpace(hint), "hint: "),
			Position: report.Position{File: file, Line: n.Line, Column: n.Column}})
	}
	return findings
}

var ruleAtEnd = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(` \[([a-z0-9]+(?:-[a-z0-9]+)*)\]$`) })

// locate finds the value at a path, or the mapping in which it is missing.
func locate(n *yaml.Node, path []string) (value *yaml.Node, at *step, missing bool) {
	for n.Kind == yaml.DocumentNode && len(n.Content) == 1 {
		n = n.Content[0]
	}
	for _, name := range path {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var below *yaml.Node
		next := &step{up: at, key: name}
		switch n.Kind {
		case yaml.MappingNode:
			next.key = unquoted(name)
			for i := 0; i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == next.key {
					below = n.Content[i+1]
				}
			}
		case yaml.SequenceNode:
			if i, err := strconv.Atoi(name); err == nil && i < len(n.Content) {
				next, below = &step{up: at, index: i}, n.Content[i]
			}
		}
		if below == nil {
			return n, next, true
		}
		n, at = below, next
	}
	return n, at, false
}

// unquoted is a name in a path of CUE, which is quoted as JSON is.
func unquoted(name string) string {
	if text := ""; strings.HasPrefix(name, `"`) && json.Unmarshal([]byte(name), &text) == nil {
		return text
	}
	return name
}

// decode is a document as Go values, with the kinds of sigs.k8s.io/yaml. It is
// false for a document that grows beyond all measure when its anchors are
// written out.
func decode(n *yaml.Node) (any, bool) {
	d := decoder{left: 1 << 17}
	value := d.value(n)
	return value, d.left > 0
}

type decoder struct{ left int }

// number is the value of an integer or float; what CUE has no number for is 0.
func number(n *yaml.Node) any {
	if kindOf(n) == anInt {
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			return i
		}
		return 0
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return float(0)
	}
	return float(f)
}

// float is a number that JSON does not turn into an integer: CUE tells 1.0 from 1.
type float float64

// MarshalJSON writes a point or an exponent.
func (f float) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(f), 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

func (d *decoder) value(n *yaml.Node) any {
	if d.left--; d.left <= 0 {
		return nil
	}
	switch {
	case n.Kind == yaml.AliasNode:
		return d.value(n.Alias)
	case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
		return d.value(n.Content[0])
	}
	switch kindOf(n) {
	case aBool:
		b, err := strconv.ParseBool(n.Value)
		if err != nil { // as YAML 1.1 has it
			b = strings.ContainsRune("yY", rune(n.Value[0])) || strings.EqualFold(n.Value, "on")
		}
		return b
	case anInt, aFloat:
		return number(n)
	case aString:
		return n.Value
	case aList:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = d.value(item)
		}
		return list
	case aMapping:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			if key := n.Content[i]; key.Kind == yaml.ScalarNode && key.ShortTag() != "!!merge" {
				m[key.Value] = d.value(n.Content[i+1])
			}
		}
		return m
	}
	return nil
}
