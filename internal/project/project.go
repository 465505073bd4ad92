// Package project knows where the project lives.
//
// names.env beside it is the one place for these names: Go reads them from here, tools
// from the file, and `make names` rewrites what cannot read, such as a page.
package project

import (
	_ "embed"
	"strings"
)

//go:embed names.env
var names string

// Repository is the URL of the repository, under which its pages and releases are.
func Repository() string { return name("REPOSITORY") }

// Page is the URL of a file of the repository, such as docs/watch.md.
func Page(file string) string { return Repository() + "/blob/HEAD/" + file }

// Module is the path of the Go module.
func Module() string { return name("MODULE") }

// Image is the container image without a tag.
func Image() string { return name("IMAGE") }

// Version is the release that pages, hooks, examples and manifests name.
func Version() string { return name("VERSION") }

func name(key string) string {
	_, value, _ := strings.Cut(names, "\n"+key+"=")
	value, _, _ = strings.Cut(value, "\n")
	return value
}
