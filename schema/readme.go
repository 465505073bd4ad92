package schema

import _ "embed"

//go:embed README.md
var readme string

// Readme is README.md of this directory: how to use the schema, and all rules,
// each in a section whose heading is its id.
func Readme() string { return readme }
