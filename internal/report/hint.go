package report

import (
	"errors"
	"fmt"
	"strings"
)

// HintedError is an error that carries what to type next.
type HintedError struct {
	Err  error
	Hint string
}

func (e *HintedError) Error() string { return e.Err.Error() }
func (e *HintedError) Unwrap() error { return e.Err }

// WithHint gives an error a hint, formatted as fmt.Sprintf does.
func WithHint(err error, format string, args ...any) error {
	return &HintedError{Err: err, Hint: fmt.Sprintf(format, args...)}
}

// HintOf is what an error says is to be typed next, empty if it does not.
func HintOf(err error) string {
	var hinted *HintedError
	var finding Finding
	switch {
	case errors.As(err, &hinted):
		return hinted.Hint
	case errors.As(err, &finding):
		return finding.Hint
	}
	return ""
}

// Told is an error as tests compare it: with its hint behind a semicolon, empty for none.
func Told(err error) string {
	switch hint := HintOf(err); {
	case err == nil:
		return ""
	case hint != "":
		return err.Error() + "; " + hint
	}
	return err.Error()
}

// UsageError is wrong use: of a flag, of an argument, or of two that do not go together.
// It is told apart from what could not be done.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }

func (e *UsageError) Unwrap() error { return e.Err }

// Usage makes an error one of wrong use.
func Usage(err error) error { return &UsageError{err} }

// FoundError is an error about what was found, not about what could not be done.
type FoundError struct{ Err error }

func (e *FoundError) Error() string { return e.Err.Error() }
func (e *FoundError) Unwrap() error { return e.Err }

// Found says that an error is about what was found.
func Found(err error) error { return &FoundError{err} }

// Errors are several errors, each in a line as if it were alone.
type Errors []error

// Unwrap gives the errors to [errors.Is] and [errors.As].
func (e Errors) Unwrap() []error { return e }

func (e Errors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "\nclusterpair: ")
}
