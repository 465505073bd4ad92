// Package docs holds the pages of the documentation that the command prints.
//
// [Explain] is what they say of a rule, [ExitCodes] what they say of exit codes, both
// for a terminal. They are the files that stand beside: nothing is said twice.
package docs

import (
	"embed"
	_ "embed"
)

//go:embed rules/*.md
var rules embed.FS

//go:embed exit-codes.md
var exitCodes string

// Rules is a page of the folder rules: a group of rules, each in a section whose
// heading is its id. It is empty if there is no such page.
func Rules(page string) string {
	text, _ := rules.ReadFile("rules/" + page)
	return string(text)
}

// ExitCodes is the page about the exit codes.
func ExitCodes() string { return exitCodes }
