package report_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

func TestCatalogue(t *testing.T) {
	id := regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
	seen := make(map[string]bool)
	for _, r := range report.Rules() {
		if !id.MatchString(r.ID) || seen[r.ID] {
			t.Errorf("%q is no kebab-case id, or there twice", r.ID)
		}
		seen[r.ID] = true
		if got, ok := report.RuleOf(r.ID); !ok || got != r {
			t.Errorf("RuleOf(%q) = %v, %t", r.ID, got, ok)
		}
		if r.Title == "" || r.Group == "" || strings.HasSuffix(r.Title, ".") || strings.Contains(r.Title, "`") {
			t.Errorf("%s: title %q in group %q", r.ID, r.Title, r.Group)
		}
		if r.Undecodable && (r.Severity != report.Error || r.Waivable != "") {
			t.Errorf("%s: it stops Stork, and is no error or can be waived", r.ID)
		}
		for what, text := range map[string]string{"consequence": r.Consequence, "fix": r.Fix} {
			if n := strings.Count(text, ". ") + 1; !strings.HasSuffix(text, ".") || n > 3 {
				t.Errorf("%s: the %s is not one to three sentences: %q", r.ID, what, text)
			}
			// Markdown outside of code spans needs no escapes.
			for i, part := range strings.Split(text, "`") {
				if i%2 == 0 && strings.ContainsAny(part, `*_<>[]\|#`) || strings.Count(text, "`")%2 != 0 {
					t.Errorf("%s: the %s has Markdown other than code spans: %q", r.ID, what, part)
				}
			}
		}
	}
}

func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"Run `sops rotate -i FILE`.":              "Run sops rotate -i FILE",
		"Run `sops rotate -i FILE`. Then rest.":   "Run sops rotate -i FILE. Then rest.",
		"`options: {}` for a pair over a fabric.": "options: {} for a pair over a fabric.",
	} {
		if got := report.Plain(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// TestRulesInUse: the sources name only rules of the catalogue, and find each
// of them somewhere.
func TestRulesInUse(t *testing.T) {
	named := rulesInCUE(t, "../../schema")
	for _, dir := range []string{"../../cmd", "../../generator", "../../internal", "../../schema"} {
		rulesInGo(t, dir, named)
	}
	for id, where := range named {
		if _, ok := report.RuleOf(id); !ok {
			t.Errorf("%s: there is no rule %q", where, id)
		}
	}
	for _, id := range report.RuleIDs() {
		if named[id] == "" {
			t.Errorf("nothing finds a breach of %s", id)
		}
	}
}

// rulesInCUE reads the rules at the end of the schema's messages.
func rulesInCUE(t *testing.T, dir string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.cue"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no CUE in %s: %v", dir, err)
	}
	message := regexp.MustCompile(` \[([\w-]+)\](\\nhint: |"|\n)`)
	named := make(map[string]string)
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(source)) {
			if strings.HasPrefix(line, "//") {
				continue
			}
			for _, m := range message.FindAllStringSubmatch(line, -1) {
				named[m[1]] = file
			}
		}
	}
	return named
}

// rulesInGo adds the rules that Go names where a rule is meant: for a field
// Rule, a variable or parameter rule, or a constant whose name ends in Rule.
func rulesInGo(t *testing.T, root string, named map[string]string) {
	t.Helper()
	set := token.NewFileSet()
	packages := make(map[string][]*ast.File)
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "catalogue.go" {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	use := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			if id, err := strconv.Unquote(lit.Value); err == nil && id != "" {
				named[id] = set.Position(lit.Pos()).String()
			}
		}
	}
	isRule := func(e ast.Expr) bool {
		switch e := e.(type) {
		case *ast.Ident:
			return e.Name == "rule" || e.Name == "Rule"
		case *ast.SelectorExpr:
			return e.Sel.Name == "Rule"
		}
		return false
	}
	for _, files := range packages {
		type callee struct {
			name   string
			method bool
		}
		argument := make(map[callee]int) // of functions with a parameter rule
		for _, file := range files {
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok {
					continue
				}
				i := 0
				for _, field := range f.Type.Params.List {
					for _, name := range field.Names {
						if name.Name == "rule" {
							argument[callee{f.Name.Name, f.Recv != nil}] = i
						}
						i++
					}
				}
			}
		}
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.KeyValueExpr:
					if isRule(n.Key) {
						use(n.Value)
					}
				case *ast.ValueSpec:
					for i, name := range n.Names {
						if strings.HasSuffix(name.Name, "Rule") && i < len(n.Values) {
							use(n.Values[i])
						}
					}
				case *ast.AssignStmt:
					for i := range n.Lhs {
						if isRule(n.Lhs[i]) && len(n.Lhs) == len(n.Rhs) {
							use(n.Rhs[i])
						}
					}
				case *ast.CallExpr:
					var f callee
					switch fun := n.Fun.(type) {
					case *ast.Ident:
						f.name = fun.Name
					case *ast.SelectorExpr:
						f.name, f.method = fun.Sel.Name, true
					}
					if i, ok := argument[f]; ok && i < len(n.Args) {
						use(n.Args[i])
					}
				}
				return true
			})
		}
	}
}
