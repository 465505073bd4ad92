// Package plainyaml reads the plain subset of YAML that tools write, several times faster
// than a whole YAML parser.
//
// Such are the Secrets of kubectl and the kubeconfigs of kubeadm. [Parse] is the entry point. Whenever it accepts a document, its tree equals
// that of go.yaml.in/yaml/v3 in every field, lines and columns included. What
// it does not accept may still be valid YAML: the caller gives it to yaml.v3,
// whose errors are then the ones to report. [IsPlain], [IsRelease], [IsTime] and [KeyLess]
// tell how those tools write.
package plainyaml

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

const (
	// maxKey is how many bytes a key may have. A key on one line has at most
	// 1024 characters: https://yaml.org/spec/1.2.2/#742-flow-mappings.
	maxKey = 1024
	// maxDepth bounds the recursion. yaml.v3 goes deeper.
	maxDepth = 100
	// nodesAtOnce are allocated together; a Secret has about thirty.
	nodesAtOnce = 32
)

// Parse reads data if it is one YAML document of the plain subset, and returns
// its DocumentNode. The subset is: block mappings and block sequences; plain
// scalars and quoted ones without escapes, each on the line of its key or dash;
// literal scalars ("|", "|-", "|+"); "{}" and "[]"; printable UTF-8 with line
// feeds; at most one "---", in front. It has no comments, anchors, aliases,
// tags, merge keys, tabs or other flow collections.
//
// If ok is false, that says nothing about whether data is valid YAML. As with
// yaml.v3's nodes, a key may stand twice in a mapping. The values are parts of
// one copy of data, which any of them keeps in memory.
func Parse(data []byte) (doc *yaml.Node, ok bool) { return parse(data, false) }

// ParseBare is Parse for those who have no use for comments: it also reads
// documents with lines that are nothing but a comment, and leaves those out.
func ParseBare(data []byte) (doc *yaml.Node, ok bool) { return parse(data, true) }

func parse(data []byte, bare bool) (doc *yaml.Node, ok bool) {
	if !printable(data) {
		return nil, false
	}
	p := parser{rest: string(data), plain: true, bare: bare}
	p.next()
	doc = p.node(yaml.DocumentNode, "", "", p.number, p.indent)
	if p.indent == 0 && p.line == "---" {
		p.next()
	}
	if p.indent == atEnd {
		return nil, false
	}
	doc.Content = []*yaml.Node{p.block()}
	// A line that stands in the column of no open collection, such as one that
	// goes on with a scalar, is left over.
	if !p.plain || p.indent != atEnd {
		return nil, false
	}
	return doc, true
}

// atEnd is the indentation behind the last line. It is less than any other, so
// that all collections end there.
const atEnd = -1

// parser stands on a line that is not blank, or atEnd.
type parser struct {
	rest   string // the lines behind the current one
	line   string // the current one without its indentation and trailing spaces
	indent int    // its indentation, or atEnd
	number int    // its number, from 1
	depth  int
	plain  bool // no sign yet that the document is not of the subset
	bare   bool // comments are left out
	nodes  []yaml.Node
}

// block reads the mapping or sequence that begins where the parser stands. All
// of its entries stand in one column.
func (p *parser) block() *yaml.Node {
	if p.depth == maxDepth {
		return p.reject()
	}
	p.depth++
	indent, n := p.indent, (*yaml.Node)(nil)
	if isEntry(p.line) {
		n = p.node(yaml.SequenceNode, "!!seq", "", p.number, indent)
		for p.indent == indent && isEntry(p.line) {
			n.Content = append(n.Content, p.value(indent, len("-"), false))
		}
	} else {
		n = p.node(yaml.MappingNode, "!!map", "", p.number, indent)
		for p.indent == indent {
			key, style, end := splitKey(p.line)
			if end == 0 {
				return p.reject()
			}
			k := p.scalar(key, style, indent)
			n.Content = append(n.Content, k, p.value(indent, end, true))
		}
	}
	p.depth--
	return n
}

// value reads what stands behind the dash or colon before p.line[at:], in a
// collection of the given indentation, and moves to the line behind it.
func (p *parser) value(indent, at int, inMapping bool) *yaml.Node {
	number, column := p.number, p.indent+utf8.RuneCountInString(p.line[:at])
	text := strings.TrimLeft(p.line[at:], " ")
	if text == "" {
		p.next()
		// The sequence of a key may stand in the column of that key.
		if p.indent > indent || inMapping && p.indent == indent && isEntry(p.line) {
			return p.block()
		}
		return p.node(yaml.ScalarNode, "!!null", "", number, column)
	}
	column += len(p.line) - at - len(text)
	if !inMapping {
		if _, _, end := splitKey(text); end > 0 || isEntry(text) {
			p.line, p.indent = text, column
			return p.block()
		}
	}
	var n *yaml.Node
	switch text[0] {
	case '|':
		n = p.literal(text, indent, column)
	case '{', '[':
		switch text {
		case "{}":
			n = p.node(yaml.MappingNode, "!!map", "", number, column)
		case "[]":
			n = p.node(yaml.SequenceNode, "!!seq", "", number, column)
		default:
			return p.reject()
		}
		n.Style = yaml.FlowStyle
	case '"', '\'':
		value, style, end := unquote(text)
		if end != len(text) {
			return p.reject()
		}
		n = p.scalar(value, style, column)
	default:
		if !isPlain(text) {
			return p.reject()
		}
		n = p.scalar(text, 0, column)
	}
	p.next()
	return n
}

// literal reads the lines behind the header of a literal scalar: those indented
// deeper than the collection it stands in, and blank ones.
func (p *parser) literal(header string, parent, column int) *yaml.Node {
	if header != "|" && header != "|-" && header != "|+" {
		return p.reject()
	}
	n := p.node(yaml.ScalarNode, "!!str", "", p.number, column)
	n.Style = yaml.LiteralStyle
	var value strings.Builder
	indent, least := 0, parent+1 // of the text: that of its first line, at least that of the blank ones before it
	ends := 0                    // line ends that are not yet in value
	for p.rest != "" {
		line, rest, ended := strings.Cut(p.rest, "\n")
		spaces := countSpaces(line)
		if indent == 0 {
			least = max(least, spaces)
		}
		if spaces < len(line) || indent > 0 && spaces > indent { // not a blank line
			if indent == 0 {
				indent = least
			}
			if spaces < indent {
				break
			}
			writeEnds(&value, ends)
			value.WriteString(line[indent:])
			ends = 0
		}
		if ended {
			ends++
		}
		p.rest = rest
		p.number++
	}
	if value.Len() == 0 {
		return p.reject()
	}
	switch header {
	case "|":
		ends = min(ends, 1)
	case "|-":
		ends = 0
	}
	writeEnds(&value, ends)
	n.Value = value.String()
	return n
}

func writeEnds(b *strings.Builder, count int) {
	for range count {
		b.WriteByte('\n')
	}
}

// scalar makes the node of a plain or quoted scalar in the current line.
func (p *parser) scalar(value string, style yaml.Style, column int) *yaml.Node {
	tag := "!!str"
	if style == 0 {
		tag = plainTag(value)
	}
	n := p.node(yaml.ScalarNode, tag, value, p.number, column)
	n.Style = style
	return n
}

// node makes a node; its column counts from 0.
func (p *parser) node(kind yaml.Kind, tag, value string, line, column int) *yaml.Node {
	if len(p.nodes) == 0 {
		p.nodes = make([]yaml.Node, nodesAtOnce)
	}
	n := &p.nodes[0]
	p.nodes = p.nodes[1:]
	n.Kind, n.Tag, n.Value, n.Line, n.Column = kind, tag, value, line, column+1
	return n
}

// next moves to the next line that is not blank.
func (p *parser) next() {
	for p.rest != "" {
		p.line, p.rest, _ = strings.Cut(p.rest, "\n")
		p.number++
		if p.indent = countSpaces(p.line); p.indent < len(p.line) && (!p.bare || p.line[p.indent] != '#') {
			p.line = strings.TrimRight(p.line[p.indent:], " ")
			return
		}
	}
	p.indent = atEnd
}

// reject ends the parse: the document is not of the subset.
func (p *parser) reject() *yaml.Node {
	p.plain, p.rest, p.indent = false, "", atEnd
	return nil
}

func countSpaces(line string) int {
	n := 0
	for n < len(line) && line[n] == ' ' {
		n++
	}
	return n
}

// isEntry tells whether an entry of a sequence begins here.
func isEntry(text string) bool {
	return text[0] == '-' && (len(text) == 1 || text[1] == ' ')
}

// splitKey finds the key with which text begins; end is behind its colon, or 0
// if there is none.
func splitKey(text string) (key string, style yaml.Style, end int) {
	if text[0] == '"' || text[0] == '\'' {
		key, style, end = unquote(text)
	} else {
		for {
			colon := strings.IndexByte(text[end:], ':')
			if colon < 0 {
				return "", 0, 0
			}
			end += colon
			if end+1 == len(text) || text[end+1] == ' ' {
				break
			}
			end++
		}
		// In the first column "---" and "..." are no keys.
		if key = text[:end]; !isPlain(key) || key[0] == '-' || strings.HasPrefix(key, "...") {
			return "", 0, 0
		}
	}
	if end == 0 || end > maxKey || end == len(text) || text[end] != ':' || end+1 < len(text) && text[end+1] != ' ' {
		return "", 0, 0
	}
	return key, style, end + 1
}

// unquote reads the quoted scalar with which text begins; end is behind the
// closing quote, or 0 if it is not in this line or the scalar has escapes.
func unquote(text string) (value string, style yaml.Style, end int) {
	end = strings.IndexByte(text[1:], text[0]) + 1
	if end == 0 {
		return "", 0, 0
	}
	value = text[1:end]
	if text[0] == '\'' {
		return value, yaml.SingleQuotedStyle, end + 1 // an escape is two quotes: the caller meets the second one
	}
	if strings.IndexByte(value, '\\') >= 0 {
		return "", 0, 0
	}
	return value, yaml.DoubleQuotedStyle, end + 1
}

// isPlain tells whether text is one plain scalar and not a merge key.
func isPlain(text string) bool {
	if text == "" || text == "<<" || text[len(text)-1] == ':' || text[len(text)-1] == ' ' {
		return false
	}
	if strings.IndexByte("?:,[]{}#&*!|>'\"%@`", text[0]) >= 0 || isEntry(text) {
		return false
	}
	for at := 0; ; at++ {
		space := strings.IndexByte(text[at:], ' ')
		if space < 0 {
			return true
		}
		if at += space; text[at-1] == ':' || text[at+1] == '#' {
			return false
		}
	}
}

// plainTag resolves a plain scalar, which is not empty, as yaml.v3 does. What
// may be a number or a timestamp is left to yaml.v3 itself.
func plainTag(text string) string {
	switch text {
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return "!!bool"
	case "~", "null", "Null", "NULL":
		return "!!null"
	}
	if text[0] > '9' || strings.IndexByte("+-.0123456789", text[0]) < 0 {
		return "!!str"
	}
	// Long base64 is told from a number by its first bytes.
	if len(text) > len("+.inf") && text[4] != '-' { // nor a timestamp: 2006-01-02
		for _, c := range []byte(text[:min(len(text), 64)]) {
			if c > 'F' && strings.IndexByte("_abcdefoxOX", c) < 0 { // of 0x_f, 0o7, 0b1, 1e+5
				return "!!str"
			}
		}
	}
	n := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	return n.ShortTag()
}

// printable tells whether all of data may stand in a document of the subset:
// printable UTF-8 and line feeds, no tab, no byte order mark, no line break of
// YAML 1.1 (NEL, LS, PS).
func printable(data []byte) bool {
	const each = 0x0101010101010101 // times a byte: that byte, eight times
	for len(data) > 0 {
		if len(data) >= 8 {
			// A byte's high bit comes out set if the byte is less than a
			// space, DEL or not ASCII. What it borrows or carries may set
			// those above it in vain, but there is such a byte then.
			if w := binary.LittleEndian.Uint64(data); ((w-' '*each)|(w+each)|w)&(0x80*each) == 0 {
				data = data[8:]
				continue
			}
		}
		r, size := utf8.DecodeRune(data)
		switch {
		case r == '\n' || r >= ' ' && r <= '~':
		case r == utf8.RuneError && size == 1, r < 0xA0, r == 0x2028, r == 0x2029, r == 0xFEFF, r == 0xFFFE, r == 0xFFFF:
			return false
		}
		data = data[size:]
	}
	return true
}
