package schema

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/errors"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
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
// CUE evaluates a policy together with an outline of the schema, which has its
// fields without its constraints: so the policy's findings are its own, and
// none is hidden by what the plan reports.
type Policy struct {
	file        string
	data        []byte
	definitions []string

	mu   sync.Mutex
	free []*evaluator // not in use by a call of Validate
}

// LoadPolicy reads a policy; file names it in messages. The error says where
// the policy is wrong, as file:line:column.
func LoadPolicy(data []byte, file string) (*Policy, error) {
	p := &Policy{file: file, data: data}
	e, err := p.compile()
	if err != nil {
		return nil, err
	}
	p.free = append(p.free, e)
	for _, def := range []string{"#ClusterPair", "#ClusterPairDecryptor", "#ClusterPairFleet", "#ClusterPairGenerator", "#ClusterPairValidator", "#Encrypted"} {
		if e.adds[def] {
			p.definitions = append(p.definitions, def)
		}
	}
	return p, nil
}

// Definitions are those of documents that the policy adds to, sorted, as
// "#ClusterPair".
func (p *Policy) Definitions() []string { return p.definitions }

// Validate checks a document against a definition, as the function of the same
// name does, and reports what the policy has against it. A definition that the
// policy does not mention accepts everything. Validate may be called
// concurrently.
//
// "#ClusterPair" is for encrypted pairs, too: what it says of values that SOPS has
// encrypted cannot be decided, and is no finding.
func (p *Policy) Validate(def string, doc *yaml.Node, file string) (findings []report.Finding) {
	value, ok := decode(doc)
	if !ok {
		return []report.Finding{{Rule: policyRule, Position: report.Position{File: file, Line: doc.Line, Column: doc.Column},
			Message: "the policy cannot be checked: with its anchors written out the document is too large"}}
	}
	e := p.take()
	defer func() {
		// CUE's evaluator panics on some errors that it should report.
		if recover() != nil {
			findings = []report.Finding{{Rule: policyRule, Position: report.Position{File: file, Line: doc.Line, Column: doc.Column},
				Message: "CUE fails to evaluate the policy " + p.file + " on this document", Hint: "see what cue vet says, and say it in another way"}}
			return
		}
		p.give(e)
	}()
	return e.validate(def, value, doc, file)
}

// policyRule is the rule of findings whose policy names none.
const policyRule = "policy"

// documentsPerContext keeps memory flat: a CUE context never forgets.
const documentsPerContext = 1000

func (p *Policy) take() *evaluator {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		e := p.free[n-1]
		p.free = p.free[:n-1]
		return e
	}
	e, err := p.compile()
	if err != nil {
		panic(err) // it compiled before
	}
	return e
}

func (p *Policy) give(e *evaluator) {
	if e.documents++; e.documents < documentsPerContext {
		p.mu.Lock()
		p.free = append(p.free, e)
		p.mu.Unlock()
	}
}

// evaluator is a policy in a CUE context.
type evaluator struct {
	file      string
	context   *cue.Context
	root      cue.Value
	documents int
	// texts are those of error(…) in the policy and the schema; missing are
	// those of @missing in the policy, by the position of their field.
	texts   map[string]bool
	missing map[place]string
	adds    map[string]bool // the names that the policy says something of
}

type place struct{ line, column int }

// compile builds the policy, the outline of the schema, and the schema itself
// under other names, for what the policy takes from it.
func (p *Policy) compile() (*evaluator, error) {
	policy, err := parser.ParseFile(p.file, p.data, parser.ParseComments)
	if err != nil {
		return nil, p.error(err)
	}
	if name := policy.PackageName(); name != "" && name != "schema" {
		return nil, fmt.Errorf("%s: a policy is of package schema, or of none", p.file)
	}
	e := &evaluator{file: p.file, texts: make(map[string]bool), missing: make(map[place]string), adds: make(map[string]bool)}
	for _, d := range policy.Decls {
		if d, ok := d.(*ast.Field); ok {
			e.adds[labelOf(d)] = true
		}
	}
	e.collect(policy)

	schema, err := schemaFiles()
	if err != nil {
		return nil, err
	}
	for _, f := range schema {
		e.collectTexts(f)
	}
	o := newOutline(schema, policy)
	if err := o.checkNames(policy, p.file); err != nil {
		return nil, err
	}
	skeleton, err := parser.ParseFile("outline.cue", o.source())
	if err != nil {
		return nil, err
	}
	files := []*ast.File{policy, skeleton}
	if o.join(policy) {
		for _, f := range schema {
			o.rename(f)
		}
		files = append(files, schema...)
	}

	instance := build.NewContext().NewInstance("", nil)
	instance.PkgName = "schema"
	for _, f := range files {
		if f.PackageName() == "" { // CUE keeps the fields of such files apart
			f.Decls = slices.Insert(f.Decls, 0, ast.Decl(&ast.Package{Name: ast.NewIdent("schema")}))
		}
		if err := instance.AddSyntax(f); err != nil {
			return nil, p.error(err)
		}
	}
	e.context = cuecontext.New()
	e.root = e.context.BuildInstance(instance)
	if err := e.root.Err(); err != nil {
		return nil, p.error(err)
	}
	return e, nil
}

// schemaFiles are the files of this package.
func schemaFiles() ([]*ast.File, error) {
	entries, err := sources.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var files []*ast.File
	for _, entry := range entries {
		data, err := sources.ReadFile(entry.Name())
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(entry.Name(), data)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// error is a CUE error about the policy, without what it quotes: the file
// may be the wrong one.
func (p *Policy) error(err error) error {
	all := errors.Errors(err)
	if len(all) == 0 {
		return fmt.Errorf("%s: not a CUE file", p.file)
	}
	format, _ := all[0].Msg()
	at := p.file
	for _, pos := range positions(all[0]) {
		if pos.Filename() == p.file {
			at = fmt.Sprintf("%s:%d:%d", p.file, pos.Line(), pos.Column())
			break
		}
	}
	return fmt.Errorf("%s: %s", at, verbs.ReplaceAllString(format, "…"))
}

var verbs = regexp.MustCompile(`["'` + "`" + `]?%[-+# 0-9.]*[a-zA-Z]["'` + "`" + `]?`)

func positions(err errors.Error) []token.Pos {
	return append([]token.Pos{err.Position()}, err.InputPositions()...)
}

// collect notes the texts of the policy.
func (e *evaluator) collect(f *ast.File) {
	e.collectTexts(f)
	ast.Walk(f, func(n ast.Node) bool {
		if d, ok := n.(*ast.Field); ok {
			for _, a := range d.Attrs {
				if key, body := a.Split(); key == "missing" {
					if text, err := literal.Unquote(body); err == nil {
						pos := d.Label.Pos()
						e.missing[place{pos.Line(), pos.Column()}] = strings.TrimSpace(text)
					}
				}
			}
		}
		return true
	}, nil)
}

func (e *evaluator) collectTexts(f *ast.File) {
	ast.Walk(f, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 1 {
			fun, _ := call.Fun.(*ast.Ident)
			arg, _ := call.Args[0].(*ast.BasicLit)
			if fun != nil && fun.Name == "error" && arg != nil {
				if text, err := literal.Unquote(arg.Value); err == nil {
					e.texts[strings.TrimSpace(text)] = true
				}
			}
		}
		return true
	}, nil)
}

// breach is what CUE has against a document at one place, so far as the policy
// is the reason.
type breach struct {
	path  []string
	texts []string  // of error(…), if it gives any
	at    token.Pos // in the policy
}

func (e *evaluator) validate(def string, value any, doc *yaml.Node, file string) []report.Finding {
	schema := e.root.LookupPath(cue.ParsePath(def))
	if !schema.Exists() {
		return nil
	}
	// As long as some value is wrong CUE does not say which fields are missing.
	// So what is wrong is taken out until nothing is.
	var breaches []*breach
	removed := make(map[string]bool)
	for again := true; again; {
		again = false
		all := errors.Errors(schema.Unify(e.context.Encode(value)).Validate(cue.Concrete(true)))
		for _, err := range all {
			path := err.Path()[1:] // without the definition
			if !removed[strings.Join(path, ".")] {
				breaches = e.add(breaches, path, err)
			}
			if !slices.ContainsFunc(all, func(other errors.Error) bool { return isBelow(other.Path()[1:], path) }) {
				if field := remove(value, path); field != nil {
					removed[strings.Join(field, ".")] = true
					again = true
				}
			}
		}
	}
	var findings []report.Finding
	sealed := def == "#ClusterPair" && hasField(doc, "sops")
	for _, b := range breaches {
		// What CUE says of a mapping repeats what it says of its fields.
		if b.texts != nil || !slices.ContainsFunc(breaches, func(other *breach) bool { return isBelow(other.path, b.path) }) {
			findings = append(findings, e.findings(b, doc, file, sealed)...)
		}
	}
	return findings
}

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

// isBelow tells whether a path leads to something inside of what another does.
func isBelow(path, other []string) bool {
	return len(path) > len(other) && slices.Equal(path[:len(other)], other)
}

// add takes in an error if the policy is its reason. The plan reports others.
func (e *evaluator) add(breaches []*breach, path []string, err errors.Error) []*breach {
	i := slices.IndexFunc(positions(err), func(p token.Pos) bool { return p.Filename() == e.file })
	if i < 0 {
		return breaches
	}
	at := positions(err)[i]
	j := slices.IndexFunc(breaches, func(b *breach) bool { return slices.Equal(b.path, path) })
	if j < 0 {
		j = len(breaches)
		breaches = append(breaches, &breach{path: path, at: at})
	}
	format, args := err.Msg()
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	if b := breaches[j]; e.texts[text] && !slices.Contains(b.texts, text) { // others may quote a value
		b.texts = append(b.texts, text)
	}
	return breaches
}

// remove deletes the field of a document at the end of a path, or the one that
// holds the list there, and returns its path; nil if there is none.
func remove(value any, path []string) (field []string) {
	var mapping map[string]any
	for i, name := range path {
		switch v := value.(type) {
		case map[string]any:
			below, ok := v[unquoted(name)]
			if !ok {
				return nil
			}
			mapping, field, value = v, path[:i+1], below
		case []any:
			j, err := strconv.Atoi(name)
			if err != nil || j >= len(v) {
				return nil
			}
			value = v[j]
		default:
			return nil
		}
	}
	if mapping != nil {
		delete(mapping, unquoted(field[len(field)-1]))
	}
	return field
}

// unquoted is a name in a path of CUE.
func unquoted(name string) string {
	if s, err := literal.Unquote(name); err == nil {
		return s
	}
	return name
}

func (e *evaluator) findings(b *breach, doc *yaml.Node, file string, sealed bool) []report.Finding {
	n, at, missing := locate(doc, b.path)
	if sealed && !missing && hasCiphertext(n) {
		return nil
	}
	texts := b.texts
	if texts == nil {
		text := fmt.Sprintf("breaks the policy at %s:%d", e.file, b.at.Line())
		if missing {
			text = fmt.Sprintf("field %s is missing, which the policy at %s:%d requires", quoted(at.key), e.file, b.at.Line())
			if own := e.missing[place{b.at.Line(), b.at.Column()}]; own != "" {
				text = own
			}
		}
		texts = []string{text}
	}
	var findings []report.Finding
	for _, text := range texts {
		message, hint, _ := strings.Cut(text, "\n")
		rule := policyRule
		if m := ruleAtEnd.FindStringSubmatchIndex(message); m != nil {
			message, rule = message[:m[0]], message[m[2]:m[3]]
		}
		findings = append(findings, report.Finding{Rule: rule, Severity: report.Error, Path: at.String(), Message: message,
			Hint:     strings.TrimPrefix(strings.TrimSpace(hint), "hint: "),
			Position: report.Position{File: file, Line: n.Line, Column: n.Column}})
	}
	return findings
}

var ruleAtEnd = regexp.MustCompile(` \[([a-z0-9]+(?:-[a-z0-9]+)*)\]$`)

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
		return 0.0
	}
	return f
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
