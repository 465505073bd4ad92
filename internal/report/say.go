package report

import (
	"fmt"
	"io"
)

// Say prints for people, as [fmt.Fprintf] does. What the arguments hold stays
// text on its line, whoever has named it: see [Printable].
func Say(w io.Writer, format string, args ...any) {
	shown := make([]any, len(args))
	for i, arg := range args {
		switch arg := arg.(type) {
		case string:
			shown[i] = Printable(arg)
		case error:
			shown[i] = Printable(arg.Error())
		case fmt.Stringer:
			shown[i] = Printable(arg.String())
		default:
			shown[i] = arg
		}
	}
	fmt.Fprintf(w, format, shown...)
}
