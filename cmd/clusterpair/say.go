package main

import (
	"errors"
	"fmt"
	"io"

	"clusterpair.dev/internal/report"
)

// sayError prints an error, and a hint if it is not empty, which may have several
// lines. Each of several joined errors has a line of its own.
func sayError(w io.Writer, err error, hint string) {
	each := []error{err}
	var several report.Errors
	if errors.As(err, &several) {
		each = several
	}
	for _, err := range each {
		say(w, "clusterpair: %s\n", err)
	}
	if hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", report.Lines(hint))
	}
}

// say is [report.Say].
func say(w io.Writer, format string, args ...any) { report.Say(w, format, args...) }
