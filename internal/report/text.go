package report

import (
	"bufio"
	"io"
)

// WriteText writes the findings one a line, each followed by its hint on an
// indented line, without a summary. It sorts fs first.
func WriteText(w io.Writer, fs []Finding) error {
	return Write(w, "text", &Report{Findings: fs, Quiet: true})
}

// The colours of a terminal. https://en.wikipedia.org/wiki/ANSI_escape_code
const (
	red    = "\x1b[1;31m"
	yellow = "\x1b[1;33m"
	blue   = "\x1b[1;34m"
	green  = "\x1b[32m"
	dim    = "\x1b[2m"
	plain  = "\x1b[0m"
)

// painter puts a text into a colour, or leaves it.
type painter func(color, s string) string

func painted(color, s string) string { return color + s + plain }
func unpainted(_, s string) string   { return s }

func colorOf(s Severity) string {
	switch s {
	case Error:
		return red
	case Warning:
		return yellow
	default:
		return blue
	}
}

// writeText writes each finding and its hint, and the summary.
func writeText(w *bufio.Writer, r *Report) {
	paint := unpainted
	if r.Color {
		paint = painted
	}
	for e := range r.open() {
		w.WriteString(e.lines(paint) + "\n")
	}
	if r.Quiet {
		return
	}
	s := r.summary()
	line := s.String()
	if s.Errors+s.Warnings+s.Infos == 0 {
		line = paint(green, line)
	}
	w.WriteString(line + "\n")
}
