package report

import "io"

// Talk is how a use case talks to the user.
type Talk struct {
	// Out is for what was done, Err for what is to be known.
	Out, Err io.Writer
	// Print prints findings, and is an error if one of them is.
	Print func([]Finding) error
	// Confirm asks; an error says no. It is nil where nothing is asked.
	Confirm func(question string) error
}
