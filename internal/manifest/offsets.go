package manifest

import "unicode/utf8"

// Offsets finds where a line and a column of the YAML library are in a text. The
// library counts both from 1, columns in characters, and begins a line behind
// each line break of YAML 1.1.
//
// Asked in the order of the text, all answers together take one pass over it.
type Offsets struct {
	text  []byte
	lines []int // where each begins

	line, column, at int // the last answer
}

// NewOffsets returns the Offsets of a text without a byte order mark.
func NewOffsets(text []byte) *Offsets {
	o := &Offsets{text: text, lines: []int{0}, line: 1, column: 1}
	for at := nextOf(text, ""); at < len(text); at += nextOf(text[at:], "") {
		if text[at] == '\r' && at+1 < len(text) && text[at+1] == '\n' {
			at++
		}
		_, size := utf8.DecodeRune(text[at:])
		at += size
		o.lines = append(o.lines, at)
	}
	return o
}

// At is the offset of a place in bytes. It is false for a place outside of the
// text.
func (o *Offsets) At(line, column int) (int, bool) {
	if line < 1 || line > len(o.lines) || column < 1 {
		return 0, false
	}
	if line != o.line || column < o.column {
		o.line, o.column, o.at = line, 1, o.lines[line-1]
	}
	for ; o.column < column; o.column++ {
		if o.at >= len(o.text) {
			return 0, false
		}
		_, size := utf8.DecodeRune(o.text[o.at:])
		o.at += size
	}
	return o.at, true
}
