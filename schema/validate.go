// Package schema tells what is wrong with a document that is to be a ClusterPair or a
// config of clusterpair.
//
// Call [Validate], and [LoadPolicy] for what an organisation demands beyond.
// [Export] writes the schema for other tools.
//
// What the package knows stands in the CUE files of this folder, which work
// without it, too: cue vet -c ./schema FILE -d '#ClusterPair'. CUE's evaluator
// takes half a millisecond for a document and leaves out unknown and missing
// fields as long as anything else is wrong. So the tests compile the CUE files
// into plan.go, a tree that is walked in microseconds, and prove that walking
// it and evaluating CUE give the same verdict. A construct that the plan cannot
// express fails the tests, not a user. Only policies are for CUE to evaluate.
//
// The package promises that all findings of a document come at once, each with
// the position of the field in the user's file, and none with a value.
//
//go:generate env UPDATE=1 go test -count=1 -run ^TestPlanIsCurrent$ .
package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
)

// Options say more about a document than it says itself.
type Options struct {
	// StorkVersion is the release of the source cluster's Stork, such as "24.3"
	// or "v24.3.2". It decides whether a ClusterPair over one fabric may have a
	// mode. Empty, or anything else, is unknown: then a mode is a warning.
	StorkVersion string
}

// Validate checks a YAML document against a definition: "#ClusterPair" in clear,
// "#Encrypted" by SOPS, or the "#" and kind of a function config. doc is the document or its mapping, with
// the positions of its file, and is not changed. Findings name file, and come
// in the order of the document. None means that the document is right.
//
// YAML is read as sigs.k8s.io/yaml, and so Stork, reads it: an unquoted y, n,
// yes, no, on or off is a bool. A definition that does not exist panics.
func Validate(def string, doc *yaml.Node, file string, o Options) []report.Finding {
	if def == "#ClusterPair" || def == "#Encrypted" {
		def += modeSuffix(o.StorkVersion)
	}
	p := plan(def)
	if p == nil {
		panic("schema: no definition " + def)
	}
	w := walk{file: file}
	switch {
	case doc.Kind == yaml.DocumentNode && len(doc.Content) == 1:
		w.value(nil, doc.Content[0], p, nil)
	case doc.Kind == yaml.DocumentNode || doc.Kind == 0:
		w.add(doc, nil, report.Error, "the document is empty [required-field]")
	default:
		w.value(nil, doc, p, nil)
	}
	return w.findings
}

// modeSuffix chooses among the definitions of a ClusterPair.
func modeSuffix(storkVersion string) string {
	switch v, ok := stork.Parse(storkVersion); {
	case !ok:
		return ""
	case v.TakesMode():
		return "WithMode"
	default:
		return "WithoutMode"
	}
}

// walk is one document on its way along a plan.
type walk struct {
	file     string
	findings []report.Finding
	visited  map[visit]bool
}

// visit is an anchored value that was judged by a part of the plan.
type visit struct {
	value *yaml.Node
	plan  *node
}

// step is a place in the document: the way to it, leaf first.
type step struct {
	up    *step
	key   string
	index int // in a list, where key is empty
}

// value judges n, which stands under key in a mapping; in a list and at the
// root key is nil.
func (w *walk) value(key, n *yaml.Node, p *node, at *step) {
	if n.Kind == yaml.AliasNode {
		// Once is enough: a finding would have the same position again. It also
		// makes an end of anchors that multiply or hold themselves.
		v := visit{n.Alias, p}
		if w.visited[v] {
			return
		}
		if w.visited == nil {
			w.visited = make(map[visit]bool)
		}
		w.visited[v] = true
		n = n.Alias
	}
	k := kindOf(n)
	if p.kinds&k == 0 {
		w.refuse(key, n, k, p, at)
		return
	}
	switch k {
	case aString:
		w.text(n, p, at)
	case anInt:
		if p.max != 0 {
			if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err != nil || i < p.min || i > p.max {
				w.add(n, at, report.Error, p.fail)
			}
		}
	case aList:
		w.list(key, n, p, at)
	case aMapping:
		w.mapping(key, n, p.variant(n), at)
	}
}

// text judges a string.
func (w *walk) text(n *yaml.Node, p *node, at *step) {
	said := ""
	for i := range p.checks {
		c := &p.checks[i]
		// A value that breaks one rule is not held against the next: an
		// encrypted name is no wrong name.
		if c.fail == said || said != "" && ruleOf(c.fail) != ruleOf(said) || c.accepts(n.Value) {
			continue
		}
		severity := report.Error
		if c.warning {
			severity = report.Warning
		}
		w.add(n, at, severity, c.fail)
		said = c.fail
	}
}

// list judges the items of n, which stands under key.
func (w *walk) list(key, n *yaml.Node, p *node, at *step) {
	if len(n.Content) < p.minItems {
		w.add(n, at, report.Error, cmp.Or(p.fail, subject(key)+" is an empty list [required-field]\nhint: add an item, or remove the field"))
	}
	items := p.items
	if items == nil {
		items = &anything
	}
	for i, item := range n.Content {
		w.value(nil, item, items, &step{up: at, index: i})
	}
}

const quoteBool = "\nhint: quote it: unquoted y, n, yes, no, on and off are bools"

// refuse reports a value of a kind that does not belong here.
func (w *walk) refuse(key, n *yaml.Node, k kinds, p *node, at *step) {
	switch {
	case p.kinds&^aNull == 0: // no value at all belongs here
		if key == nil {
			key = n
		}
		w.add(key, at, report.Error, subject(key)+": "+p.fail)
		w.value(key, n, cmp.Or(p.form, &anything), at)
	case p.wrongKind != "" && (k != aNull || p.kinds&aMapping != 0): // for a scalar null is nothing, not something else
		w.add(n, at, report.Error, p.wrongKind)
	default:
		var hint string
		switch {
		case k == aNull:
			hint = "\nhint: give it a value, or remove the field"
		case p.kinds&aString != 0 && k == aBool:
			hint = quoteBool
		case p.kinds&aString != 0 && k&(anInt|aFloat) != 0:
			hint = "\nhint: quote it"
		case p.kinds&aBool != 0 && k == aString:
			hint = "\nhint: write true or false without quotes"
		}
		var belongs string
		if p != &anything {
			belongs = fmt.Sprintf(" where %s belongs", p.kinds)
		}
		if k == other {
			hint = "\nhint: write it without a tag; JSON has no .inf and .nan"
		}
		w.add(n, at, report.Error, fmt.Sprintf("%s is %s%s [value-type]%s", subject(key), k, belongs, hint))
	}
}

// Texts judges labels or annotations as kustomize adds them to objects: it fails on a value
// that is no text, but for null, which is an empty one, and on a key that is none in YAML,
// even in quotes, which it takes away. path is where they stand in the file.
func Texts(n *yaml.Node, path, file string) []report.Finding {
	w := &walk{file: file}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := &step{up: &step{key: path}, key: key.Value}
		bare := yaml.Node{Kind: yaml.ScalarNode, Value: key.Value}
		switch {
		case key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge":
		case bare.ShortTag() != "!!str":
			w.add(key, at, report.Error, "a key that is a number, a date, a bool or null in YAML: kustomize fails on it, even in quotes [value-type]\nhint: give it another name")
		case kindOf(key) != aString:
			w.add(key, at, report.Error, "a key that is a bool in YAML 1.1: kustomize fails on it [value-type]"+quoteBool)
		default:
			w.value(key, value, &node{kinds: aString | aNull}, at)
		}
	}
	return w.findings
}

// mapping judges the fields of n, which stands under key.
func (w *walk) mapping(key, n *yaml.Node, v *variant, at *step) {
	twice := duplicates(n)
	var present uint64 // a bit for each of v.fields
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i], n.Content[i+1]
		here := &step{up: at, key: name.Value}
		switch {
		case name.Kind == yaml.ScalarNode && name.ShortTag() == "!!merge":
			w.add(name, here, report.Error, "a merge key: its fields count where SOPS and kustomize do not see them [value-type]\nhint: write the fields out")
			continue
		case name.Kind != yaml.ScalarNode || kindOf(name) != aString || name.ShortTag() == "!!timestamp":
			w.add(name, here, report.Error, "a key that is no string [value-type]"+quoteBool)
			continue
		case twice[name]:
			w.add(name, here, report.Error, subject(name)+" stands twice in one mapping [duplicate-key]\nhint: remove one")
		}
		if j := v.field(name.Value); j >= 0 {
			present |= 1 << j
			w.field(name, value, v, j, here)
		} else {
			w.other(name, value, v, here)
		}
	}
	if v.some != nil && !hasOne(n, v.some) {
		w.add(n, at, report.Error, v.none)
	}
	for j := range v.fields {
		if f := &v.fields[j]; f.required && present&(1<<j) == 0 {
			message := f.missing
			if message == "" {
				message = fmt.Sprintf("required field %q is missing [required-field]", f.name)
			}
			w.add(n, &step{up: at, key: f.name}, report.Error, message)
		}
	}
}

// field judges the value under a name that is the field j of v.
func (w *walk) field(name, value *yaml.Node, v *variant, j int, at *step) {
	f := &v.fields[j]
	switch {
	case f.warning != "":
		w.add(name, at, report.Warning, subject(name)+": "+f.warning)
	case v.empty != "" && !f.required && isEmpty(value) && f.node.kinds&kindOf(value) != 0:
		w.add(name, at, report.Warning, subject(name)+": "+v.empty)
	}
	w.value(name, value, f.node, at)
}

// other judges the value under a name that is no field of v.
func (w *walk) other(name, value *yaml.Node, v *variant, at *step) {
	known := v.open
	for j := range v.patterns {
		if p := &v.patterns[j]; p.accepts(name.Value) {
			known = true
			w.value(name, value, p.node, at)
		}
	}
	if v.open {
		w.value(name, value, &anything, at)
	}
	if !known {
		w.unknown(name, v, at)
		w.value(name, value, cmp.Or(v.others, &anything), at)
	}
}

// isEmpty tells whether Go leaves out the value where it may.
func isEmpty(n *yaml.Node) bool {
	switch kindOf(n) {
	case aNull:
		return true
	case aBool:
		return strings.EqualFold(n.Value, "false")
	case aString:
		return n.Value == ""
	case aList, aMapping:
		return len(n.Content) == 0
	}
	return false
}

// unknown reports a field that v does not have.
func (w *walk) unknown(name *yaml.Node, v *variant, at *step) {
	if v.key != "" {
		w.add(name, at, report.Error, subject(name)+": "+v.key)
		return
	}
	var accepted []string
	for _, f := range v.fields {
		if f.node.kinds&^aNull != 0 {
			accepted = append(accepted, f.name) // sorted in the plan
		}
	}
	var hint string
	message := "unknown field"
	if len(name.Value) <= longestName {
		message += " " + strconv.Quote(name.Value)
		if near := report.Nearest(name.Value, accepted); near != "" {
			hint = fmt.Sprintf("\nhint: did you mean %s?", near)
		}
	}
	if hint == "" && 0 < len(accepted) && len(accepted) <= 16 {
		hint = "\nhint: accepted here: " + strings.Join(accepted, ", ")
	}
	w.add(name, at, report.Error, message+" [unknown-field]"+hint)
}

// add reports a text of the form "message [rule]\nhint: what to do".
func (w *walk) add(n *yaml.Node, at *step, severity report.Severity, text string) {
	message, hint, _ := strings.Cut(text, "\nhint: ")
	i := strings.LastIndex(message, " [") // a quoted name may hold one, too
	w.findings = append(w.findings, report.Finding{Rule: ruleOf(text), Severity: severity, Path: at.String(), Message: message[:i], Hint: hint,
		Position: report.Position{File: w.file, Line: n.Line, Column: n.Column}})
}

// ruleOf is the rule that a text names.
func ruleOf(text string) string {
	message, _, _ := strings.Cut(text, "\nhint: ")
	return strings.Trim(message[strings.LastIndex(message, " ["):], " []")
}

// longestPath is how many steps of a path are shown: a document may be as deep as
// it is long, and have a finding in each mapping.
const longestPath = 32

// String is the place as a path: spec.pairs[0].labels["example.com/role"]. Of a
// very long way it is the end.
func (s *step) String() string {
	var steps []*step
	for ; s != nil && len(steps) < longestPath; s = s.up {
		steps = append(steps, s)
	}
	var path strings.Builder
	if s != nil {
		path.WriteString("…")
	}
	for _, s := range slices.Backward(steps) {
		switch {
		case s.key == "":
			fmt.Fprintf(&path, "[%d]", s.index)
		case strings.ContainsFunc(s.key, func(r rune) bool { return r != '-' && r != '_' && !isAlphanumeric(r) }):
			path.WriteString("[" + quoted(s.key) + "]")
		default:
			if path.Len() > 0 {
				path.WriteString(".")
			}
			path.WriteString(quotedIfLong(s.key))
		}
	}
	return path.String()
}

// subject names the field that a message is about.
func subject(key *yaml.Node) string {
	if key == nil {
		return "the value"
	}
	return quoted(key.Value)
}

// longestName is more than any name has that is no accident, such as a
// credential that was pasted as a key.
const longestName = 63

// Quoted is a name as messages show it: a long one, which may be a credential, is not shown.
func Quoted(name string) string { return quoted(name) }

func quoted(name string) string {
	if len(name) > longestName {
		return "the field"
	}
	return strconv.Quote(name)
}

func quotedIfLong(name string) string {
	if len(name) > longestName {
		return "…"
	}
	return name
}

func isAlphanumeric(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// duplicates are the keys of a mapping that stand there for a second time.
func duplicates(n *yaml.Node) map[*yaml.Node]bool {
	var twice map[*yaml.Node]bool
	mark := func(key *yaml.Node) {
		if twice == nil {
			twice = make(map[*yaml.Node]bool)
		}
		twice[key] = true
	}
	if len(n.Content) > 64 {
		seen := make(map[string]bool, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if seen[key.Value] {
				mark(key)
			}
			seen[key.Value] = true
		}
		return twice
	}
	for i := 2; i+1 < len(n.Content); i += 2 {
		for j := 0; j < i; j += 2 {
			if n.Content[j].Value == n.Content[i].Value {
				mark(n.Content[i])
				break
			}
		}
	}
	return twice
}

// variant is the form that a mapping is meant to have. The plan's compiler
// makes sure that one form holds if and only if this one does.
func (p *node) variant(n *yaml.Node) *variant {
	for i := range p.variants[:len(p.variants)-1] {
		if v := &p.variants[i]; hasOne(n, v.when) {
			return v
		}
	}
	return &p.variants[len(p.variants)-1]
}

// hasOne tells whether a mapping has one of the keys.
func hasOne(n *yaml.Node, keys []string) bool {
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains(keys, n.Content[i].Value) {
			return true
		}
	}
	return false
}

// field is the index of a field, -1 if there is none.
func (v *variant) field(name string) int {
	for i := range v.fields {
		if v.fields[i].name == name {
			return i
		}
	}
	return -1
}

func (p *pattern) accepts(key string) bool {
	for i := range p.checks {
		if !p.checks[i].accepts(key) {
			return false
		}
	}
	return true
}

func (c *check) accepts(s string) bool {
	switch {
	case c.match != nil:
		return c.match.matches(s)
	case c.differ != nil:
		return !c.differ.matches(s)
	case c.maxRunes != 0:
		return utf8.RuneCountInString(s) <= c.maxRunes
	default:
		return slices.Contains(c.oneOf, s)
	}
}

// kindOf is the kind of a value as sigs.k8s.io/yaml sees it.
func kindOf(n *yaml.Node) kinds {
	tag := n.ShortTag()
	// Readers of YAML differ in whether they believe a tag or the value.
	if n.Style&yaml.TaggedStyle != 0 && (n.Tag == "!" || tag != tags[n.Kind]) {
		return other
	}
	switch n.Kind {
	case yaml.MappingNode:
		return aMapping
	case yaml.SequenceNode:
		return aList
	}
	switch tag {
	case "!!null":
		return aNull
	case "!!bool":
		return aBool
	case "!!int":
		return anInt
	case "!!float":
		switch strings.ToLower(strings.TrimLeft(n.Value, "+-")) {
		case ".inf", ".nan":
			return other
		}
		return aFloat
	case "!!str", "!!timestamp", "!!merge":
		// A node without a line was built, not read, and is quoted when it is
		// written.
		if tag == "!!str" && n.Style == 0 && n.Line > 0 && isBool11(n.Value) {
			return aBool
		}
		return aString
	default:
		return other
	}
}

// tags are those that say of a value what it is anyway.
var tags = map[yaml.Kind]string{yaml.MappingNode: "!!map", yaml.SequenceNode: "!!seq", yaml.ScalarNode: "!!str"}

// isBool11 tells whether YAML 1.1 reads s as a bool and YAML 1.2 as a string.
// https://yaml.org/type/bool.html
func isBool11(s string) bool {
	if len(s) > 3 {
		return false
	}
	switch s {
	case "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF":
		return true
	}
	return false
}
