package schema

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/parser"
	"cuelang.org/go/cue/token"
)

// TestPlanIsCurrent compiles the CUE files and compares the result with
// plan.go; with UPDATE=1 it writes plan.go.
func TestPlanIsCurrent(t *testing.T) {
	paths, err := filepath.Glob("*.cue")
	if err != nil {
		t.Fatal(err)
	}
	sources := make(map[string]string)
	for _, p := range paths {
		sources[p] = string(read(t, p))
	}
	want, err := compile(sources)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile("plan.go", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(read(t, "plan.go"), want) {
		t.Error("plan.go is not what the CUE files say: go generate ./schema")
	}
}

// TestCompileRefuses makes sure that nothing in a CUE file is silently left
// out of the plan.
func TestCompileRefuses(t *testing.T) {
	const good = `#D: {kind!: "D" | error("no [a-rule]"), metadata!: {name?: string}, A}`
	if _, err := compile(map[string]string{"good.cue": strings.Replace(good, "A", `a?: int & >=1 & <=2 | error("no [a-rule]")`, 1)}); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{
		`a: string`, `a!: string @missing("no rule")`, `a?: string @missing("no [a-rule]")`, `a?: string @other("no [a-rule]")`, `@other(x)`,
		`a?: "A" | "B"`, `a?: =~"a"`, `a?: int & >=1 & <=2`, `a?: int & >1 & <3 | error("no [a-rule]")`, `a?: =~"a" | =~"b" | error("no [a-rule]")`, `a?: "A" | =~"b" | error("no [a-rule]")`,
		`a?: error("no [a-rule]\nmore")`, `a?: error("[a-rule]")`, `a?: {x?: int} | {y?: int}`, `a?: {x?: int} | *{y?: int}`, `a?: {@when(x), x!: int} | {y?: int}`, `a?: *{@when(x), x!: int} | {y?: int}`, `a?: *"A" | null`,
		`a?: {x?: int} & {y?: int}`, `a?: [int]`, `a?: [int, ...string]`, `if true {a?: int}`, `a?: "\(kind)"`, `a?: strings.MinRunes(3)`, `a?: #E`, `a?: #D`, `a?: [...int] | [...string]`,
		`a?: {x?: int, [=~"^x$"]: int}`, `a?: {x?: int, x?: >=1}`, `a?: {#E}`, `a?: float`, `a?: int & >=1 | error("no [a-rule]")`, `a?: int & <=1 | error("no [a-rule]")`, `a?: {x?: int} | error("no [a-rule]")`, `a?: 5`, `let x = 5`, `a?: true`, `a?: null`,
	} {
		if _, err := compile(map[string]string{"bad.cue": strings.Replace(good, "A", part, 1)}); err == nil {
			t.Errorf("%s compiles", part)
		}
	}
}

// compile makes plan.go out of CUE files, by name. It knows the part of CUE
// that they use, and fails on all else.
func compile(sources map[string]string) (src []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(compileError)
			if !ok {
				panic(r)
			}
			err = e
		}
	}()
	c := &compiler{decls: make(map[string]*ast.Field), compiled: make(map[string]*node), shared: make(map[*node]string)}
	for name, text := range sources {
		f, err := parser.ParseFile(name, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			if d, ok := d.(*ast.Field); ok {
				c.decls[c.label(d)] = d
			}
		}
	}
	return c.source()
}

type compileError struct{ error }

func (c *compiler) fail(at ast.Node, msg string, args ...any) {
	pos := at.Pos()
	panic(compileError{fmt.Errorf("%s:%d:%d: %s", pos.Filename(), pos.Line(), pos.Column(), fmt.Sprintf(msg, args...))})
}

type compiler struct {
	decls    map[string]*ast.Field
	compiled map[string]*node // by name of the declaration
	shared   map[*node]string // nodes of definitions, by their name in Go

	documents []string // names of the definitions of whole documents
}

// ref compiles a declaration once.
func (c *compiler) ref(at ast.Node, name string) *node {
	if n := c.compiled[name]; n != nil {
		return n
	}
	decl := c.decls[name]
	if decl == nil {
		c.fail(at, "%s is not declared", name)
	}
	delete(c.decls, name) // a declaration that refers to itself is not found
	n := c.expr(decl.Value)
	for _, a := range decl.Attrs {
		switch key, body := a.Split(); key {
		case "type":
			n.wrongKind = c.attribute(a, body)
		case "unless":
			other, text, _ := strings.Cut(body, ",")
			for _, check := range c.ref(a, other).checks {
				check.fail, check.warning = c.attribute(a, strings.TrimSpace(text)), true
				n.checks = append(n.checks, check)
			}
		default:
			c.fail(a, "attribute @%s on a definition", key)
		}
	}
	c.decls[name] = decl
	if go_, ok := strings.CutPrefix(name, "#"); ok && c.shared[n] == "" {
		c.shared[n] = "plan" + go_
	}
	c.compiled[name] = n
	return n
}

func (c *compiler) expr(e ast.Expr) *node {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return c.expr(e.X)
	case *ast.Ident:
		switch e.Name {
		case "string":
			return &node{kinds: aString}
		case "int":
			return &node{kinds: anInt}
		case "bool":
			return &node{kinds: aBool}
		default:
			return c.ref(e, e.Name)
		}
	case *ast.BasicLit:
		if e.Kind == token.NULL {
			return &node{kinds: aNull}
		}
		return &node{kinds: aString, checks: []check{{oneOf: []string{c.text(e)}}}}
	case *ast.UnaryExpr:
		return c.bound(e)
	case *ast.CallExpr:
		return c.call(e)
	case *ast.BinaryExpr:
		switch e.Op {
		case token.OR:
			return c.or(e)
		case token.AND:
			return c.and(e)
		}
	case *ast.StructLit:
		n := &node{kinds: aMapping}
		v := c.variant(e, n)
		n.variants = []variant{v}
		return n
	case *ast.ListLit:
		return c.list(e)
	}
	c.fail(e, "the plan cannot express %T", e)
	return nil
}

// bound is =~, !~, >= or <=.
func (c *compiler) bound(e *ast.UnaryExpr) *node {
	lit, ok := e.X.(*ast.BasicLit)
	if !ok {
		c.fail(e, "a bound that is no literal")
	}
	switch e.Op {
	case token.MAT:
		return &node{kinds: aString, checks: []check{{match: &regex{expr: c.text(lit)}}}}
	case token.NMAT:
		return &node{kinds: aString, checks: []check{{differ: &regex{expr: c.text(lit)}}}}
	case token.GEQ:
		return &node{kinds: anInt | aFloat, min: c.number(lit)}
	case token.LEQ:
		return &node{kinds: anInt | aFloat, max: c.number(lit)}
	}
	c.fail(e, "the plan has no %s", e.Op)
	return nil
}

// call is error("…") or strings.MaxRunes(n).
func (c *compiler) call(e *ast.CallExpr) *node {
	if len(e.Args) == 1 {
		arg, _ := e.Args[0].(*ast.BasicLit)
		switch fun := e.Fun.(type) {
		case *ast.Ident:
			if fun.Name == "error" && arg != nil {
				return &node{fail: c.message(e, c.text(arg))}
			}
		case *ast.SelectorExpr:
			if c.name(fun.X) == "strings" && c.name(fun.Sel) == "MaxRunes" && arg != nil {
				return &node{kinds: aString, checks: []check{{maxRunes: int(c.number(arg))}}}
			}
		}
	}
	c.fail(e, "the plan has no such call")
	return nil
}

// or joins alternatives of different kinds, constants, forms of a mapping, and
// the error to report if none holds.
func (c *compiler) or(e *ast.BinaryExpr) *node {
	all := &node{}
	var constants []string
	for _, operand := range operands(e, token.OR) {
		marked, isDefault := operand.(*ast.UnaryExpr)
		if isDefault = isDefault && marked.Op == token.MUL; isDefault {
			operand = marked.X
		}
		n := c.expr(operand)
		if isDefault != (n.variants != nil && n.variants[len(n.variants)-1].when == nil && len(all.variants) > 0) {
			c.fail(operand, "the default is that form of a mapping that has no @when")
		}
		both := all.kinds & n.kinds
		switch {
		case n.kinds == 0:
			all.fail, all.form = n.fail, n.form
			continue
		case both == aMapping && n.kinds == aMapping:
			all.variants = append(all.variants, n.variants...)
			continue
		case n.kinds == aString && len(n.checks) == 1 && n.checks[0].oneOf != nil:
			if both != 0 && constants == nil {
				c.fail(operand, "a constant beside a condition")
			}
			constants = append(constants, n.checks[0].oneOf...)
		case both != 0:
			c.fail(operand, "alternatives of one kind: %v", both)
		}
		all.kinds |= n.kinds
		all.wrongKind = cmp.Or(all.wrongKind, n.wrongKind)
		if n.max != 0 {
			all.min, all.max = n.min, n.max
		}
		if n.kinds&aString != 0 && constants == nil {
			all.checks = append(all.checks, n.checks...)
		}
		if n.items != nil {
			all.items, all.minItems = n.items, n.minItems
		}
		all.variants = append(all.variants, n.variants...)
	}
	if constants != nil {
		all.checks = []check{{oneOf: constants}}
	}
	all.checks = slices.Clone(all.checks)
	for i := range all.checks {
		if all.checks[i].fail == "" {
			all.checks[i].fail = all.fail
		}
	}
	if all.kinds&^aNull != 0 && all.max == 0 {
		if all.fail != "" && all.checks == nil && all.minItems == 0 {
			c.fail(e, "error(…) behind what has no condition")
		}
		if all.minItems == 0 {
			all.fail = "" // the checks have it
		}
	}
	for i, v := range all.variants {
		if last := i == len(all.variants)-1; last != (v.when == nil) {
			c.fail(e, "all forms of a mapping but the last need @when")
		}
	}
	return all
}

// and joins conditions on a string or on an integer, or says what a value must
// look like where none should be: T & error("…").
func (c *compiler) and(e *ast.BinaryExpr) *node {
	if refused, ok := e.Y.(*ast.CallExpr); ok {
		if n := c.expr(refused); n.fail != "" {
			n.form = c.expr(e.X)
			return n
		}
	}
	all := &node{kinds: ^kinds(0)}
	bounds := 0
	for _, operand := range operands(e, token.AND) {
		n := c.expr(operand)
		if n.kinds == anInt|aFloat {
			bounds++
		}
		if n.kinds&(aList|aMapping) != 0 {
			c.fail(operand, "& between lists or mappings: embed instead")
		}
		all.kinds &= n.kinds
		all.wrongKind = cmp.Or(all.wrongKind, n.wrongKind)
		all.checks = append(all.checks, n.checks...)
		all.min, all.max = max(all.min, n.min), max(all.max, n.max)
	}
	if all.kinds != aString && all.kinds != anInt {
		c.fail(e, "& between %v", all.kinds)
	}
	if bounds != 0 && (bounds != 2 || all.max == 0) {
		c.fail(e, "an integer needs a lower and an upper bound")
	}
	return all
}

// list is [...T] or [T, ...T].
func (c *compiler) list(e *ast.ListLit) *node {
	n := &node{kinds: aList}
	for i, element := range e.Elts {
		if more, ok := element.(*ast.Ellipsis); ok {
			items := c.expr(more.Type)
			if n.items != nil && !reflect.DeepEqual(n.items, items) {
				c.fail(e, "items of different types")
			}
			n.items = items
			return n
		}
		n.items, n.minItems = c.expr(element), i+1
	}
	c.fail(e, "a list of fixed length")
	return nil
}

// variant compiles a struct; what concerns it as a value goes to n.
func (c *compiler) variant(s *ast.StructLit, n *node) variant {
	var v variant
	for _, d := range s.Elts {
		switch d := d.(type) {
		case *ast.Attribute:
			key, body := d.Split()
			switch key {
			case "when":
				for name := range strings.SplitSeq(body, ",") {
					v.when = append(v.when, strings.TrimSpace(name))
				}
			case "key":
				v.key = c.attribute(d, body)
			case "empty":
				v.empty = c.attribute(d, body)
			case "others":
				v.others = c.ref(d, body)
			case "type":
				n.wrongKind = c.attribute(d, body)
			case "none":
				v.none = c.attribute(d, body)
			default:
				c.fail(d, "attribute @%s in a struct", key)
			}
		case *ast.Ellipsis:
			v.open = true
		case *ast.EmbedDecl:
			if call, ok := d.Expr.(*ast.CallExpr); ok {
				v.some = c.matchN(call)
			} else {
				c.embed(d, &v, n)
			}
		case *ast.Field:
			if l, ok := d.Label.(*ast.ListLit); ok {
				v.patterns = append(v.patterns, c.pattern(l, d.Value))
			} else {
				v.fields = append(v.fields, c.field(d))
			}
		default:
			c.fail(d, "the plan cannot express %T", d)
		}
	}
	if (v.some == nil) != (v.none == "") {
		c.fail(s, "matchN and @none belong together")
	}
	slices.SortFunc(v.fields, func(a, b field) int { return strings.Compare(a.name, b.name) })
	for i, f := range v.fields {
		if i > 0 && f.name == v.fields[i-1].name {
			c.fail(s, "field %s is declared twice", f.name)
		}
		for _, p := range v.patterns {
			if p.accepts(f.name) {
				c.fail(s, "field %s falls under a pattern, too", f.name)
			}
		}
	}
	if len(v.fields) > 64 {
		c.fail(s, "more than 64 fields")
	}
	return v
}

// embed takes in the fields of another struct.
func (c *compiler) embed(d *ast.EmbedDecl, v *variant, n *node) {
	embedded := c.ref(d, c.name(d.Expr))
	if embedded.kinds != aMapping || len(embedded.variants) != 1 || embedded.variants[0].when != nil || embedded.variants[0].some != nil {
		c.fail(d, "an embedded value that is no plain struct")
	}
	n.wrongKind = cmp.Or(n.wrongKind, embedded.wrongKind)
	from := embedded.variants[0]
	v.fields = append(v.fields, from.fields...)
	v.patterns = append(v.patterns, from.patterns...)
	v.open = v.open || from.open
	v.key = cmp.Or(v.key, from.key)
	v.others = cmp.Or(v.others, from.others)
	v.empty = cmp.Or(v.empty, from.empty)
}

// matchN is matchN(>=1, [{a!: _, ...}, {b!: _, ...}]): the fields of which one
// must be there.
func (c *compiler) matchN(e *ast.CallExpr) []string {
	var some []string
	if fun, ok := e.Fun.(*ast.Ident); ok && fun.Name == "matchN" && len(e.Args) == 2 {
		forms, _ := e.Args[1].(*ast.ListLit)
		if n, ok := e.Args[0].(*ast.UnaryExpr); ok && n.Op == token.GEQ && c.number(n.X.(*ast.BasicLit)) == 1 && forms != nil {
			for _, form := range forms.Elts {
				some = append(some, c.presence(form))
			}
			return some
		}
	}
	c.fail(e, "the plan has no such call")
	return nil
}

// presence is {a!: _, ...}: a mapping with a.
func (c *compiler) presence(e ast.Expr) string {
	if s, ok := e.(*ast.StructLit); ok && len(s.Elts) == 2 {
		f, isField := s.Elts[0].(*ast.Field)
		_, open := s.Elts[1].(*ast.Ellipsis)
		if isField && open && f.Constraint == token.NOT {
			if top, ok := f.Value.(*ast.Ident); ok && top.Name == "_" {
				return c.label(f)
			}
		}
	}
	c.fail(e, "not of the form {field!: _, ...}")
	return ""
}

func (c *compiler) pattern(l *ast.ListLit, value ast.Expr) pattern {
	if len(l.Elts) != 1 {
		c.fail(l, "a pattern of several expressions")
	}
	n := c.expr(l.Elts[0])
	if n.kinds != aString {
		c.fail(l, "a pattern for keys that are no strings")
	}
	return pattern{checks: n.checks, node: c.expr(value)}
}

func (c *compiler) field(d *ast.Field) field {
	f := field{name: c.label(d), doc: comment(d), required: d.Constraint == token.NOT, node: c.expr(d.Value)}
	if d.Constraint != token.NOT && d.Constraint != token.OPTION {
		c.fail(d, "field %s has neither ! nor ?", f.name)
	}
	for _, a := range d.Attrs {
		switch key, body := a.Split(); key {
		case "missing":
			f.missing = c.attribute(a, body)
		case "warning":
			f.warning = c.attribute(a, body)
		default:
			c.fail(a, "attribute @%s on a field", key)
		}
	}
	if f.required == (f.missing == "") && f.missing != "" {
		c.fail(d, "@missing on a field that is not required")
	}
	return f
}

// comment is what stands above a declaration, as one line. Comments are wrapped
// text, in which a link may follow.
func comment(d *ast.Field) string {
	for _, g := range ast.Comments(d) {
		if g.Doc {
			return strings.Join(strings.Fields(g.Text()), " ")
		}
	}
	return ""
}

func (c *compiler) label(d *ast.Field) string {
	name, _, err := ast.LabelName(d.Label)
	if err != nil {
		c.fail(d, "label: %v", err)
	}
	return name
}

func (c *compiler) name(e ast.Node) string {
	id, ok := e.(*ast.Ident)
	if !ok {
		c.fail(e, "not a name")
	}
	return id.Name
}

func (c *compiler) text(l *ast.BasicLit) string {
	s, err := literal.Unquote(l.Value)
	if err != nil {
		c.fail(l, "%v", err)
	}
	return s
}

func (c *compiler) attribute(a *ast.Attribute, body string) string {
	s, err := literal.Unquote(body)
	if err != nil {
		c.fail(a, "%v", err)
	}
	return c.message(a, s)
}

// message makes sure that a text has the form that walk.add reads.
func (c *compiler) message(at ast.Node, s string) string {
	s = strings.TrimSpace(s)
	message, hint, found := strings.Cut(s, "\n")
	if found && (!strings.HasPrefix(hint, "hint: ") || strings.Contains(hint, "\n")) {
		c.fail(at, "the second line is no hint")
	}
	if before, rule, ok := strings.Cut(strings.TrimSuffix(message, "]"), " ["); !ok || before == "" || rule == "" || !strings.HasSuffix(message, "]") || strings.Contains(rule, "[") {
		c.fail(at, "the message does not end in one [rule]")
	}
	return s
}

func (c *compiler) number(l *ast.BasicLit) int64 {
	var info literal.NumInfo
	if err := literal.ParseNum(l.Value, &info); err != nil {
		c.fail(l, "%v", err)
	}
	var i int64
	if _, err := fmt.Sscan(info.String(), &i); err != nil {
		c.fail(l, "not an integer")
	}
	return i
}

// requireMessages makes sure that each condition on a value says what is wrong.
func (c *compiler) requireMessages() {
	done := make(map[*node]bool)
	var walk func(string, *node)
	walk = func(path string, n *node) {
		if n == nil || done[n] {
			return
		}
		done[n] = true
		silent := n.fail == "" && (n.max != 0 || n.kinds&^aNull == 0)
		for _, check := range n.checks {
			silent = silent || check.fail == ""
		}
		if silent {
			panic(compileError{fmt.Errorf("%s: a condition without error(…)", path)})
		}
		walk(path+"[]", n.items)
		walk(path, n.form)
		for _, v := range n.variants {
			for _, f := range v.fields {
				walk(path+"."+f.name, f.node)
			}
			for _, p := range v.patterns {
				walk(path+".*", p.node)
			}
			walk(path+".*", v.others)
		}
	}
	for _, name := range c.documents {
		walk(name, c.compiled[name])
	}
}

// source writes the plan as Go: one variable for each definition.
func (c *compiler) source() ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(c.decls)) {
		if !strings.HasPrefix(name, "#") {
			continue
		}
		n := c.ref(nil, name)
		if len(n.variants) == 1 && n.variants[0].field("kind") >= 0 && n.variants[0].field("metadata") >= 0 {
			c.documents = append(c.documents, name)
		}
	}
	c.requireMessages()
	w := &goWriter{shared: c.shared, regexes: make(map[string]int)}
	w.printf("// Code generated by TestPlanIsCurrent from the CUE files; DO NOT EDIT.\n\npackage schema\n\n")
	w.printf("// plan is the compiled definition of a document, nil if there is none.\nfunc plan(def string) *node {\nswitch def {\n")
	for _, name := range c.documents {
		w.printf("case %q:\nreturn &%s\n", name, c.shared[c.compiled[name]])
	}
	w.printf("}\nreturn nil\n}\n\nvar definitions = []string{")
	for _, name := range c.documents {
		w.printf("%q, ", name)
	}
	w.printf("}\n")
	written := make(map[*node]bool)
	for _, name := range c.documents {
		w.pending = append(w.pending, c.compiled[name])
	}
	for len(w.pending) > 0 {
		n := w.pending[0]
		w.pending = w.pending[1:]
		if !written[n] {
			written[n] = true
			w.printf("\nvar %s = node", c.shared[n])
			w.value(reflect.ValueOf(*n))
			w.printf("\n")
		}
	}
	for i, expr := range slices.SortedFunc(maps.Keys(w.regexes), func(a, b string) int { return w.regexes[a] - w.regexes[b] }) {
		w.printf("\nvar regex%d = regex{expr: %q}\n", i, expr)
	}
	return format.Source(w.Bytes())
}

// goWriter writes values as Go composite literals, without fields that are
// zero, and with references to variables for the nodes of definitions and for
// regular expressions.
type goWriter struct {
	bytes.Buffer
	shared  map[*node]string
	pending []*node
	regexes map[string]int
}

func (w *goWriter) printf(format string, args ...any) { fmt.Fprintf(w, format, args...) }

func (w *goWriter) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		w.printf("&")
		switch v.Type().Elem() {
		case reflect.TypeFor[node]():
			n := (*node)(v.UnsafePointer())
			if name := w.shared[n]; name != "" {
				w.printf("%s", name)
				w.pending = append(w.pending, n)
				return
			}
			w.printf("node")
			w.value(v.Elem())
		case reflect.TypeFor[regex]():
			expr := (*regex)(v.UnsafePointer()).expr
			if _, known := w.regexes[expr]; !known {
				w.regexes[expr] = len(w.regexes)
			}
			w.printf("regex%d", w.regexes[expr])
		default:
			panic("schema: no Go for " + v.Type().String())
		}
	case reflect.Struct:
		w.printf("{")
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				w.printf("%s: ", v.Type().Field(i).Name)
				w.value(v.Field(i))
				w.printf(", ")
			}
		}
		w.printf("}")
	case reflect.Slice:
		w.printf("[]%s{", v.Type().Elem().Name())
		for i := range v.Len() {
			if v.Len() > 1 || v.Index(i).Kind() == reflect.Struct {
				w.printf("\n")
			}
			w.value(v.Index(i))
			w.printf(",")
		}
		if v.Len() > 1 || v.Type().Elem().Kind() == reflect.Struct {
			w.printf("\n")
		}
		w.printf("}")
	case reflect.String:
		w.printf("%q", v.String())
	case reflect.Bool:
		w.printf("%t", v.Bool())
	case reflect.Uint8:
		w.printf("%s", goKinds(kinds(v.Uint())))
	default:
		w.printf("%d", v.Int())
	}
}

func goKinds(k kinds) string {
	var names []string
	for i, name := range []string{"aNull", "aBool", "anInt", "aFloat", "aString", "aList", "aMapping", "other"} {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " | ")
}

// operands are those of a chain of one operator.
func operands(e ast.Expr, op token.Token) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == op {
		return append(operands(b.X, op), operands(b.Y, op)...)
	}
	return []ast.Expr{e}
}
