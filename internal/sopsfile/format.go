package sopsfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Format is how a file is written. sops chooses it by the end of the file's
// name, and reads the file by that.
type Format int

// The formats.
const (
	YAML Format = iota
	JSON
	// Binary is JSON with the whole file as one value, see [Wrap].
	Binary
	// Lines is that of .env and .ini, which this package does not write.
	Lines
)

// FormatOf is the format that sops 3.13.3 takes a file for.
func FormatOf(name string) Format {
	switch filepath.Ext(name) {
	case ".yaml", ".yml":
		return YAML
	case ".json":
		return JSON
	case ".env", ".ini":
		return Lines
	}
	return Binary
}

const binaryKey = "data" // below which the binary format has the file

// Wrap makes a document of a whole file, for [Binary].
func Wrap(file []byte) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: 1, Column: 1, Content: []*yaml.Node{
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: binaryKey, Line: 1, Column: 1},
		{Kind: yaml.ScalarNode, Tag: "!!str", Value: string(file), Line: 1, Column: 1},
	}}
}

// Unwrap is the file that the decrypted document of a binary one holds; ok is
// false for any other document.
func Unwrap(docs []*yaml.Node) (file []byte, ok bool) {
	if len(docs) != 1 {
		return nil, false
	}
	doc := docs[0]
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		doc = doc.Content[0]
	}
	if doc.Kind != yaml.MappingNode || len(doc.Content) != 2 || doc.Content[0].Value != binaryKey || doc.Content[1].Kind != yaml.ScalarNode || doc.Content[1].ShortTag() == "!!null" {
		return nil, false
	}
	return []byte(doc.Content[1].Value), true
}

// MarshalJSON writes one plain document as sops writes JSON: keys in their
// order, one tab for each level, no comments.
func MarshalJSON(doc *yaml.Node) ([]byte, error) {
	n, err := newTree(doc, "document")
	if err != nil {
		return nil, err
	}
	return marshalJSON(&n, "\t")
}

// level is what each level of a JSON file is indented by.
func (p *Policy) level(f Format) (string, error) {
	n, store := p.JSONIndent, "json"
	if f == Binary {
		n, store = p.BinaryIndent, "json_binary"
	}
	switch {
	case f == YAML || n == nil || *n == -1:
		return "\t", nil
	case *n < -1 || *n > maxIndent:
		return "", p.fail(fmt.Errorf("stores.%s.indent is %d, not -1 to %d", store, *n, maxIndent))
	}
	return strings.Repeat(" ", *n), nil
}

const maxIndent = 100 // spaces of a level of JSON, for which sops knows no limit

func marshalJSON(n *node, level string) ([]byte, error) {
	text, err := appendJSON(nil, n)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, text, "", level); err != nil {
		return nil, errors.New("the document cannot be written as JSON")
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

func appendJSON(out []byte, n *node) ([]byte, error) {
	if n.kind == scalar {
		return appendScalar(out, n.value)
	}
	brackets := "{}"
	if n.kind == sequence {
		brackets = "[]"
	}
	out = append(out, brackets[0])
	first := true
	for i := range n.children {
		c := &n.children[i]
		if c.kind == comment {
			continue
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		var err error
		if n.kind == mapping {
			if out, err = appendScalar(out, c.key); err != nil {
				return nil, err
			}
			out = append(out, ':')
		}
		if out, err = appendJSON(out, c); err != nil {
			return nil, err
		}
	}
	return append(out, brackets[1]), nil
}

func appendScalar(out []byte, v any) ([]byte, error) {
	if s, ok := v.(string); ok && !utf8.ValidString(s) {
		return nil, errors.New("the document holds a text that is no UTF-8, which JSON cannot hold") // the library would mend it
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("the document holds a number that JSON cannot hold")
	}
	return append(out, text...), nil
}

// dropComments takes out what JSON cannot hold.
func (n *node) dropComments() {
	kept := n.children[:0]
	for i := range n.children {
		if n.children[i].kind != comment {
			n.children[i].dropComments()
			kept = append(kept, n.children[i])
		}
	}
	n.children = kept
}
