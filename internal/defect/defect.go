// Package defect turns a panic of this program into an error, so that one file
// that it cannot bear hides nothing that it has to say of others.
//
// Defer [Recover] around the work on one file. The error says what was worked on
// and which line of the program failed, and nothing of what the file holds: the
// text of a panic may quote that.
package defect

import (
	"fmt"
	"path"
	"runtime"
	"strings"

	"clusterpair.dev/internal/project"
)

// Error is a panic.
type Error struct {
	// What was worked on, such as the name of a file. Empty is unknown.
	What string
	// At is the function and line of the program that failed, as
	// "schema.ruleOf, validate.go:327".
	At string
}

func (e *Error) Error() string {
	text := "clusterpair itself fails in " + e.At
	if e.What != "" {
		return e.What + ": " + text
	}
	return text
}

// Hint says what a user can do.
func (e *Error) Hint() string {
	return "this is a defect of clusterpair, and nothing is known of what it could not look at: report it with this line and clusterpair version"
}

// Recover is to be deferred: a panic becomes *err, an *Error about what.
func Recover(err *error, what string) {
	if r := recover(); r != nil {
		*err = &Error{What: what, At: failed()}
	}
}

// Safely calls f, of which a panic is an *Error about what. A panic in a goroutine
// ends the whole program, whatever is deferred elsewhere: what a goroutine runs goes
// through it.
func Safely(what string, f func() error) (err error) {
	defer Recover(&err, what)
	return f()
}

// module is the path that all packages of this program begin with.
var module = project.Module() + "/"

// failed is the function that has panicked: the first one of this program, or of
// a library if there is none.
func failed() string {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)]) // without itself and Recover
	first := ""
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") && f.Function != "" {
			at := fmt.Sprintf("%s, %s:%d", path.Base(f.Function), path.Base(f.File), f.Line)
			if strings.HasPrefix(f.Function, module) || strings.HasPrefix(f.Function, "main.") {
				return at
			}
			if first == "" {
				first = at
			}
		}
		if !more {
			return first
		}
	}
}
