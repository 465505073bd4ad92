package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Count is a number of things: 1 file, 2 files.
func Count(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// Few cuts a list that would fill the screen, and says at its end how much is
// missing. It leaves lines as they are.
func Few(lines []string) []string {
	const most = 5
	if len(lines) <= most+1 {
		return lines
	}
	return append(slices.Clone(lines[:most]), fmt.Sprintf("… and %d more", len(lines)-most))
}

// TypedAll are names as a shell takes them, each as [Typed] gives it.
func TypedAll(names []string) []string {
	typed := make([]string, len(names))
	for i, name := range names {
		typed[i] = Typed(name)
	}
	return typed
}

// ErrorLine is an error in one line that begins with its file. A finding in it
// is told by its place and message, without severity and rule.
func ErrorLine(err error, file string) string {
	if f := (Finding{}); errors.As(err, &f) {
		at := f.Position
		if at.File == "" {
			at.File = file
		}
		text := at.String() + ": "
		if f.Path != "" && at.Line == 0 {
			text += f.Path + ": "
		}
		return text + f.Message
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if !strings.Contains(text, file) {
		text = file + ": " + text
	}
	return text
}

// RFC3339 is a time in UTC as RFC 3339 has it, empty if it is zero.
func RFC3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
