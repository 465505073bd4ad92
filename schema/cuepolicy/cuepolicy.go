// Package cuepolicy evaluates policies in CUE.
//
// CUE evaluates a policy together with an outline of the schema, which has its
// fields without its constraints: so the policy's findings are its own, and
// none is hidden by what the plan reports. A [Shelf] keeps policies for
// [schema.LoadPolicy].
package cuepolicy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
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

	"clusterpair.dev/schema"
)

// Shelf keeps the policies that have been loaded. The zero Shelf is empty; it is safe for
// concurrent use.
type Shelf struct {
	mu       sync.Mutex
	policies []*policy
}

// Load reads a policy. The error says where it is wrong, as file:line:column.
func (s *Shelf) Load(_ context.Context, f schema.PolicyFile) (schema.PolicyLoaded, error) {
	p := &policy{file: f.File, data: f.Data}
	e, err := p.compile()
	if err != nil {
		return schema.PolicyLoaded{}, err
	}
	p.free = append(p.free, e)
	s.mu.Lock()
	defer s.mu.Unlock()
	loaded := schema.PolicyLoaded{ID: len(s.policies)}
	s.policies = append(s.policies, p)
	for _, def := range []string{"#ClusterPair", "#ClusterPairDecryptor", "#ClusterPairFleet", "#ClusterPairGenerator", "#ClusterPairValidator", "#Encrypted"} {
		if e.adds[def] {
			loaded.Definitions = append(loaded.Definitions, def)
		}
	}
	return loaded, nil
}

// Evaluate is what a policy has against a document.
func (s *Shelf) Evaluate(_ context.Context, d schema.PolicyDocument) ([]schema.PolicyBreach, error) {
	s.mu.Lock()
	p := s.policies[d.Policy]
	s.mu.Unlock()
	value, err := decode(d.Value)
	if err != nil {
		return nil, err
	}
	e := p.take()
	// CUE's evaluator panics on some errors that it should report. Such an evaluator is
	// not used again.
	breaches := e.validate(d.Definition, value)
	p.give(e)
	return breaches, nil
}

// decode reads a document, in which 1.0 is no integer.
func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	return numbers(value), nil
}

// numbers turns the numbers of a value into those that CUE knows.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			return 0.0
		}
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	}
	return value
}

// policy is one that has been loaded.
type policy struct {
	file string
	data []byte

	mu   sync.Mutex
	free []*evaluator // not in use
}

// documentsPerContext keeps memory flat: a CUE context never forgets.
const documentsPerContext = 1000

func (p *policy) take() *evaluator {
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

func (p *policy) give(e *evaluator) {
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
func (p *policy) compile() (*evaluator, error) {
	rules, err := parser.ParseFile(p.file, p.data, parser.ParseComments)
	if err != nil {
		return nil, p.error(err)
	}
	if name := rules.PackageName(); name != "" && name != "schema" {
		return nil, fmt.Errorf("%s: a policy is of package schema, or of none", p.file)
	}
	e := &evaluator{file: p.file, texts: make(map[string]bool), missing: make(map[place]string), adds: make(map[string]bool)}
	for _, d := range rules.Decls {
		if d, ok := d.(*ast.Field); ok {
			e.adds[labelOf(d)] = true
		}
	}
	e.collect(rules)

	own, err := schemaFiles()
	if err != nil {
		return nil, err
	}
	for _, f := range own {
		e.collectTexts(f)
	}
	o := newOutline(own, rules)
	if err := o.checkNames(rules, p.file); err != nil {
		return nil, err
	}
	skeleton, err := parser.ParseFile("outline.cue", o.source())
	if err != nil {
		return nil, err
	}
	files := []*ast.File{rules, skeleton}
	if o.join(rules) {
		for _, f := range own {
			o.rename(f)
		}
		files = append(files, own...)
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

// schemaFiles are the files of package schema.
func schemaFiles() ([]*ast.File, error) {
	var files []*ast.File
	for name, data := range schema.Sources() {
		f, err := parser.ParseFile(name, data)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// error is a CUE error about the policy, without what it quotes: the file
// may be the wrong one.
func (p *policy) error(err error) error {
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

func (e *evaluator) validate(def string, value any) []schema.PolicyBreach {
	definition := e.root.LookupPath(cue.ParsePath(def))
	if !definition.Exists() {
		return nil
	}
	// As long as some value is wrong CUE does not say which fields are missing.
	// So what is wrong is taken out until nothing is.
	var breaches []*breach
	removed := make(map[string]bool)
	for again := true; again; {
		again = false
		all := errors.Errors(definition.Unify(e.context.Encode(value)).Validate(cue.Concrete(true)))
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
	var all []schema.PolicyBreach
	for _, b := range breaches {
		// What CUE says of a mapping repeats what it says of its fields.
		if b.texts != nil || !slices.ContainsFunc(breaches, func(other *breach) bool { return isBelow(other.path, b.path) }) {
			all = append(all, schema.PolicyBreach{Path: b.path, Texts: b.texts, Line: b.at.Line(), Missing: e.missing[place{b.at.Line(), b.at.Column()}]})
		}
	}
	return all
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
