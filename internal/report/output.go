package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Output is standard output. It remembers that something could not be written, so
// that no command has to look at each line that it prints.
type Output struct {
	W io.Writer

	mu  sync.Mutex
	err error
}

func (o *Output) Write(p []byte) (int, error) {
	n, err := o.W.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// Failure is the first error.
func (o *Output) Failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// FileOf is the file that a writer is, or that an [Output] writes to; nil if it is none.
func FileOf(w io.Writer) *os.File {
	if o, ok := w.(*Output); ok {
		w = o.W
	}
	f, _ := w.(*os.File)
	return f
}

// Colored tells whether a person reads what is written and wants it colored.
// https://no-color.org
func Colored(w io.Writer) bool {
	f := FileOf(w)
	return f != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

// SayError prints an error, and a hint if it is not empty, which may have several
// lines. Each of several joined errors has a line of its own.
func SayError(w io.Writer, err error, hint string) {
	each := []error{err}
	var several Errors
	if errors.As(err, &several) {
		each = several
	}
	for _, err := range each {
		Say(w, "clusterpair: %s\n", err)
	}
	if hint != "" {
		fmt.Fprintf(w, "  hint: %s\n", Lines(hint))
	}
}
