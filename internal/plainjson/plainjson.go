// Package plainjson reads JSON into the nodes of yaml.v3, each with its place.
//
// [Parse] reads one object. What it does not accept may still be YAML.
//
// Most JSON is YAML. Some is not: "\/" and escapes of two halves, such as
// "\ud83d\ude00", are errors to the YAML library, and a number beyond 64 bits is
// a float in JSON alone.
package plainjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDepth bounds the recursion.
const maxDepth = 1000

var errShape = errors.New("not one object")

// Parse reads data if it is one JSON object and nothing else, and returns its
// DocumentNode. Numbers have the tag !!int if they fit into 64 bits, else
// !!float, as SOPS reads them. As with yaml.v3's nodes, a key may stand twice.
// If ok is false, data may still be YAML.
func Parse(data []byte) (doc *yaml.Node, ok bool) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(data) {
		return nil, false
	}
	p := parser{data: data, decoder: json.NewDecoder(bytes.NewReader(data)), line: 1, column: 1}
	p.decoder.UseNumber()
	root, err := p.value(0)
	if err != nil {
		return nil, false
	}
	if _, err := p.decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return &yaml.Node{Kind: yaml.DocumentNode, Line: root.Line, Column: root.Column, Content: []*yaml.Node{root}}, true
}

type parser struct {
	data    []byte
	decoder *json.Decoder
	// line and column are those of the offset at; the column counts runes.
	at, line, column int
}

// place moves to where the next token stands and returns its line and column.
func (p *parser) place() (line, column int) {
	offset := int(p.decoder.InputOffset())
	for offset < len(p.data) && strings.IndexByte(" \t\r\n,:", p.data[offset]) >= 0 {
		offset++
	}
	for ; p.at < offset; p.at++ {
		switch c := p.data[p.at]; {
		case c == '\n':
			p.line, p.column = p.line+1, 1
		case utf8.RuneStart(c):
			p.column++
		}
	}
	return p.line, p.column
}

func (p *parser) value(depth int) (*yaml.Node, error) {
	if depth > maxDepth {
		return nil, errShape
	}
	n := &yaml.Node{Kind: yaml.ScalarNode}
	n.Line, n.Column = p.place()
	token, err := p.decoder.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		members := 1 // of a list, one at a time; of an object a key and its value
		n.Kind, n.Tag, n.Style = yaml.SequenceNode, "!!seq", yaml.FlowStyle
		if t == '{' {
			n.Kind, n.Tag, members = yaml.MappingNode, "!!map", 2
		}
		for p.decoder.More() {
			for range members {
				child, err := p.value(depth + 1)
				if err != nil {
					return nil, err
				}
				n.Content = append(n.Content, child)
			}
		}
		_, err = p.decoder.Token() // the bracket at the end
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
		if _, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			n.Tag = "!!int"
		}
	case bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(t)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, err
}

// Is tells whether a file is written as JSON, as an object.
func Is(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(data[:min(len(data), 100)], " \t\r\n"), []byte("{")) && json.Valid(data)
}
