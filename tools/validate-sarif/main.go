// Validate-sarif tells whether files are SARIF 2.1.0. It runs in this module:
// go -C tools run ./validate-sarif FILE...
package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	_ "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif" // so that go.mod names its version
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func main() {
	if err := validate(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func validate(files []string) error {
	text, err := schemaText()
	if err != nil {
		return err
	}
	schema, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("sarif-2.1.0.json", schema); err != nil {
		return err
	}
	sarif, err := compiler.Compile("sarif-2.1.0.json")
	if err != nil {
		return err
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		document, err := jsonschema.UnmarshalJSON(file)
		if err == nil {
			err = sarif.Validate(document)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// schemaText is the schema of OASIS with errata, which go-sarif carries as a
// constant. Its own Validate looks at what it has read, not at the file.
func schemaText() (string, error) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif").Output()
	if err != nil {
		return "", fmt.Errorf("go list: %w", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(strings.TrimSpace(string(dir)), "schema.go"), nil, parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	for _, decl := range file.Decls {
		if constants, ok := decl.(*ast.GenDecl); ok && constants.Tok == token.CONST {
			return strconv.Unquote(constants.Specs[0].(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
		}
	}
	return "", errors.New("go-sarif has no constant with the schema any more")
}
