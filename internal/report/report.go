// Package report holds what clusterpair has to say about its input.
//
// A [Finding] names a rule, a place and a message; a package that checks
// something returns findings, and a command prints them with [WriteText], or
// with [Write] in one of the [Formats] that continuous integration reads. A
// package that looks whether something works returns a [Check] for each thing that it
// looks at, good ones too; a [CheckWriter] prints them.
// What a rule is about stands in one catalogue, [Rules].
//
// Findings never carry a value of a credential: they name the file, the
// line and the field instead.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity tells what a finding does to a run.
type Severity int

// The severities, gravest first: an Error stops a run, a Warning is printed
// (and stops a strict run), an Info is printed.
const (
	Error Severity = iota
	Warning
	Info
)

func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	default:
		return "info"
	}
}

// Position is a place in a user's file. Line and Column count from 1; zero
// means unknown, as for a resource that came through kustomize, which keeps
// no positions. File is the name as the user wrote it, "-" for standard
// input, or a resource's name where there is no file.
type Position struct {
	File   string
	Line   int
	Column int
}

// String is file:line:column, as far as they are known. A file name with a
// character that does not print is quoted as Go does, so that a position stays
// on its line.
func (p Position) String() string {
	file := FileName(p.File)
	switch {
	case p.Line == 0:
		return file
	case p.Column == 0:
		return fmt.Sprintf("%s:%d", file, p.Line)
	default:
		return fmt.Sprintf("%s:%d:%d", file, p.Line, p.Column)
	}
}

// Finding is one thing that is wrong, or worth knowing, about the input.
type Finding struct {
	// Rule is the permanent kebab-case id of the broken rule.
	Rule string
	// Severity tells whether the run stops.
	Severity Severity
	// Position is where the offending value stands.
	Position Position
	// Path is the field, as in spec.config.clusters.west.server; it may be empty.
	Path string
	// Message says what is wrong, in lower case and without a value of a credential.
	Message string
	// Hint is what to do or type next; it may be empty. A command in it is all of
	// it, or its end behind a colon and a space, and can be typed as it stands:
	// [Command] finds it. A word of it in capital letters is for the user to choose.
	Hint string
	// Object is what the finding is about, as in "ClusterPair fleet/west"; it
	// may be empty. With Rule, file and Path it makes the fingerprint.
	Object string
	// Waived is the reason for which the finding does not count; empty if it
	// does.
	Waived string
	// Firm says that no waiver of the rule holds for this breach of it: so the
	// pair can never work, or stops Stork.
	Firm bool
}

// Waivable tells whether a waiver of its rule holds for the finding.
func (f Finding) Waivable() bool { return !f.Firm && Waivable(f.Rule) }

// String is the finding on one line: path:line:col: severity: message [rule].
// Where there is no line it names the field.
func (f Finding) String() string {
	return f.line(unpainted)
}

// line is String with the severity and the rule in colours.
func (f Finding) line(paint painter) string {
	var b strings.Builder
	if pos := f.Position.String(); pos != "" {
		b.WriteString(pos + ": ")
	}
	if f.Position.Line == 0 && f.Path != "" {
		b.WriteString(f.Path + ": ") // the field stands in for the line
	}
	b.WriteString(paint(colorOf(f.Severity), f.Severity.String()) + ": " + f.Message)
	if f.Rule != "" {
		b.WriteString(paint(dim, " ["+f.Rule+"]"))
	}
	return b.String()
}

// Error makes a Finding an error, for functions that find one thing wrong and stop.
func (f Finding) Error() string { return f.String() }

// Sort orders findings by file, line, column, severity, rule, message, object
// and path, so that the same input gives the same list.
func Sort(fs []Finding) {
	slices.SortStableFunc(fs, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(a.Position.File, b.Position.File),
			cmp.Compare(a.Position.Line, b.Position.Line),
			cmp.Compare(a.Position.Column, b.Position.Column),
			cmp.Compare(a.Severity, b.Severity),
			cmp.Compare(a.Rule, b.Rule),
			cmp.Compare(a.Message, b.Message),
			cmp.Compare(a.Object, b.Object),
			cmp.Compare(a.Path, b.Path),
		)
	})
}

// HasErrors tells whether any finding is an Error that is not waived.
func HasErrors(fs []Finding) bool {
	return slices.ContainsFunc(fs, func(f Finding) bool { return f.Severity == Error && f.Waived == "" })
}

// Nearest returns the member of names that a reader most likely meant by
// got, or "" when none is close: at most one edit for every three letters,
// case aside.
func Nearest(got string, names []string) string {
	if len(got) > longestName {
		return ""
	}
	best, bestDistance := "", len(got)/3+2
	for _, name := range names {
		if len(name)-len(got) >= bestDistance || len(got)-len(name) >= bestDistance {
			continue // as many letters are too many or missing
		}
		if d := distance(strings.ToLower(got), strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// longestName is more than any name has; what is longer is no slip of one.
const longestName = 253

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
