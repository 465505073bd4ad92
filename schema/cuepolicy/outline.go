package cuepolicy

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/ast/astutil"
	"cuelang.org/go/cue/token"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/schema"
)

// outline is the schema as the policy sees it: the ways to what the policy
// speaks of, without constraints.
type outline struct {
	decls map[string]ast.Expr // of the schema, by name
	// leads tells, for the names that were asked for, whether the policy
	// declares them or something they are made of.
	leads map[string]bool
}

func newOutline(own []*ast.File, policy *ast.File) *outline {
	o := &outline{decls: make(map[string]ast.Expr), leads: make(map[string]bool)}
	for _, f := range own {
		for _, d := range f.Decls {
			if d, ok := d.(*ast.Field); ok {
				o.decls[labelOf(d)] = d.Value
			}
		}
	}
	for _, d := range policy.Decls {
		if d, ok := d.(*ast.Field); ok {
			o.leads[labelOf(d)] = true
		}
	}
	return o
}

// leadsTo tells whether the policy has a say in a definition.
func (o *outline) leadsTo(name string) bool {
	leads, known := o.leads[name]
	if value := o.decls[name]; !known && value != nil {
		ast.Walk(value, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name != name && o.leadsTo(id.Name) {
				leads = true
			}
			return !leads
		}, nil)
		o.leads[name] = leads
	}
	return leads
}

// source is the outline in CUE.
func (o *outline) source() string {
	var b strings.Builder
	b.WriteString("package schema\n")
	for name, value := range o.decls {
		if o.leadsTo(name) {
			fmt.Fprintf(&b, "%s: %s\n", name, o.valueOrTop(value))
		}
	}
	return b.String()
}

func (o *outline) valueOrTop(e ast.Expr) string {
	if v := o.value(e); v != "" && !isType(v) {
		return v
	}
	return "_"
}

// value is an expression without its constraints: structs, lists, references
// and the types of scalars; empty where nothing is left.
func (o *outline) value(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return o.value(e.X)
	case *ast.Ident:
		if value := o.decls[e.Name]; value != nil && !o.leadsTo(e.Name) {
			if v := o.value(value); isType(v) {
				return v
			}
			return ""
		}
		return e.Name
	case *ast.StructLit:
		return o.structure(e)
	case *ast.ListLit:
		if items := o.valueOrTop(e.Elts[len(e.Elts)-1].(*ast.Ellipsis).Type); items != "_" {
			return "[..." + items + "]"
		}
	case *ast.BasicLit:
		if e.Kind == token.NULL {
			return "null"
		}
		return "string"
	case *ast.UnaryExpr:
		switch e.Op {
		case token.MUL:
			return o.value(e.X)
		case token.MAT, token.NMAT:
			return "string"
		}
	case *ast.BinaryExpr:
		if e.Op == token.OR {
			return o.alternatives(operands(e, token.OR))
		}
		var kept []string
		for _, operand := range operands(e, token.AND) {
			if v := o.value(operand); v != "" && !isType(v) {
				kept = append(kept, v)
			}
		}
		return strings.Join(kept, " & ")
	}
	return ""
}

func isType(value string) bool {
	return value == "null" || value == "string" || value == "int" || value == "bool"
}

// alternatives keeps a disjunction of which some part has fields.
func (o *outline) alternatives(all []ast.Expr) string {
	var kept, forms []string
	var when [][]string // of the forms of a mapping, but the last
	for _, operand := range all {
		if marked, ok := operand.(*ast.UnaryExpr); ok && marked.Op == token.MUL {
			operand = marked.X
		}
		form, _ := operand.(*ast.StructLit)
		if name, ok := operand.(*ast.Ident); ok {
			form, _ = o.decls[name.Name].(*ast.StructLit)
		}
		switch v := o.value(operand); {
		case form != nil:
			forms = append(forms, cmp.Or(v, "_"))
			if names := whenOf(form); names != nil {
				when = append(when, names)
			}
		case v != "":
			kept = append(kept, v)
		}
	}
	if slices.ContainsFunc(forms, func(form string) bool { return form != "_" }) {
		kept = append(kept, choice(when, forms))
	}
	if !slices.ContainsFunc(kept, func(v string) bool { return !isType(v) }) {
		return ""
	}
	return "(" + strings.Join(kept, " | ") + ")"
}

// choice is that of the forms which a mapping is meant to have, as the plan
// chooses: {a?: _, if a != _|_ {FORM}, if !(a != _|_) {DEFAULT}, ...}.
func choice(when [][]string, forms []string) string {
	declared := make(map[string]bool)
	var fields strings.Builder
	earlier := "false"
	for i, form := range forms {
		condition := "!(" + earlier + ")"
		if i < len(when) {
			some := "false"
			for _, name := range when[i] {
				some += " || " + name + " != _|_"
				if !declared[name] {
					fmt.Fprintf(&fields, "%s?: _, ", name)
				}
				declared[name] = true
			}
			condition += " && (" + some + ")"
			earlier += " || " + some
		}
		fmt.Fprintf(&fields, "if %s {%s}, ", condition, form)
	}
	return "{" + fields.String() + "...}"
}

func (o *outline) structure(s *ast.StructLit) string {
	var fields strings.Builder
	for _, d := range s.Elts {
		switch d := d.(type) {
		case *ast.EmbedDecl:
			if name, ok := d.Expr.(*ast.Ident); ok && o.leadsTo(name.Name) {
				fields.WriteString(name.Name + ", ")
			}
		case *ast.Field:
			if call, ok := d.Value.(*ast.CallExpr); ok && call.Fun.(*ast.Ident).Name == "error" {
				continue
			}
			label := "[string]"
			if _, pattern := d.Label.(*ast.ListLit); !pattern {
				label = strconv.Quote(labelOf(d)) + "?"
			}
			if v := o.valueOrTop(d.Value); v != "_" {
				fmt.Fprintf(&fields, "%s: %s, ", label, v)
			}
		}
	}
	if fields.Len() == 0 {
		return ""
	}
	return "{" + fields.String() + "...}"
}

// whenOf are the fields of @when, nil if there is none.
func whenOf(s *ast.StructLit) []string {
	if s == nil {
		return nil
	}
	for _, d := range s.Elts {
		if a, ok := d.(*ast.Attribute); ok {
			if key, body := a.Split(); key == "when" {
				var names []string
				for name := range strings.SplitSeq(body, ",") {
					names = append(names, strings.TrimSpace(name))
				}
				return names
			}
		}
	}
	return nil
}

// rename gives the schema itself names that the policy does not know.
func (o *outline) rename(f *ast.File) {
	ast.Walk(f, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && o.decls[id.Name] != nil {
			id.Name = schemaName(id.Name)
		}
		return true
	}, nil)
}

func schemaName(name string) string { return name + "_schema" }

// join makes the policy's references to the schema mean what they mean to the
// command cue: the schema itself, and what the policy adds to it. It tells
// whether there are any.
func (o *outline) join(policy *ast.File) (found bool) {
	astutil.Apply(policy, nil, func(c astutil.Cursor) bool {
		id, ok := c.Node().(*ast.Ident)
		if !ok || o.decls[id.Name] == nil {
			return true
		}
		if d, ok := c.Parent().Node().(*ast.Field); ok && d.Label == ast.Label(id) {
			return true
		}
		found = true
		var x ast.Expr = &ast.Ident{NamePos: id.NamePos, Name: schemaName(id.Name)}
		if o.leadsTo(id.Name) {
			x = &ast.ParenExpr{Lparen: id.Pos(), X: ast.NewBinExpr(token.AND, &ast.Ident{NamePos: id.NamePos, Name: id.Name}, x)}
		}
		c.Replace(x)
		return true
	})
	return found
}

// checkNames refuses what would say nothing: a name in the policy that is none
// of the schema's and that the policy does not use.
func (o *outline) checkNames(policy *ast.File, file string) error {
	used := make(map[string]bool)
	for _, d := range policy.Decls {
		if d, ok := d.(*ast.Field); ok {
			ast.Walk(d.Value, func(n ast.Node) bool {
				if id, ok := n.(*ast.Ident); ok {
					used[id.Name] = true
				}
				return true
			}, nil)
		}
	}
	for _, d := range policy.Decls {
		d, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		if name := labelOf(d); o.decls[name] == nil && !used[name] {
			hint := "definitions of the schema begin with #, as in #Encrypted and #ClusterPair"
			if near := report.Nearest(name, slices.Sorted(maps.Keys(o.decls))); near != "" {
				hint = "did you mean " + near + "?"
			}
			pos := d.Label.Pos()
			return fmt.Errorf("%s:%d:%d: %s is no definition of the schema, and the policy does not use it: %s", file, pos.Line(), pos.Column(), schema.Quoted(name), hint)
		}
	}
	return nil
}

// operands are those of a chain of one operator.
func operands(e ast.Expr, op token.Token) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == op {
		return append(operands(b.X, op), operands(b.Y, op)...)
	}
	return []ast.Expr{e}
}

func labelOf(d *ast.Field) string {
	name, _, _ := ast.LabelName(d.Label)
	return name
}
