package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
)

// TestGoroutinesAreGuarded: a panic in a goroutine ends the program whatever the
// others do, and hides all that they have found. Each goroutine goes through
// package defect, or does nothing but wait.
func TestGoroutinesAreGuarded(t *testing.T) {
	waits := map[string]bool{ // by file and function
		"cmd/clusterpair/main.go main": true, "cmd/clusterpair/inout.go confirm": true, "internal/gitfiles/git.go start": true,
	}
	files, err := moduleFiles()
	if err != nil {
		t.Fatal(err)
	}
	guarded := 0
	for name, data := range files {
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, data, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				var body ast.Node
				switch n := n.(type) {
				case *ast.GoStmt:
					body = n.Call
				case *ast.CallExpr:
					// Go of a WaitGroup or an errgroup takes a function alone; that of
					// package work has a name, too, and is safe.
					if call, ok := n.Fun.(*ast.SelectorExpr); !ok || call.Sel.Name != "Go" || len(n.Args) != 1 {
						return true
					}
					body = n
				default:
					return true
				}
				text := data[set.Position(body.Pos()).Offset:set.Position(body.End()).Offset]
				switch {
				case bytes.Contains(text, []byte("defect.")) || bytes.Contains(text, []byte(".safely(")):
					guarded++
				case !waits[name+" "+f.Name.Name]:
					t.Errorf("%s: a panic in this goroutine would end the program: defect.Safely", set.Position(body.Pos()))
				}
				return true
			})
		}
	}
	if guarded < 8 {
		t.Errorf("only %d goroutines were found: the test looks in the wrong place", guarded)
	}
}
