package sopsfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	yamlv2 "go.yaml.in/yaml/v2"
	"go.yaml.in/yaml/v3"
	k8syaml "sigs.k8s.io/yaml"

	"clusterpair.dev/internal/plainyaml"
)

// Marshal writes plain documents in the style in which Encrypt writes
// encrypted ones: with indent 0 as kustomize build prints them (keys sorted,
// which a file with comments is spared), else as sops does with
// stores.yaml.indent. It does not change docs.
func Marshal(docs []*yaml.Node, indent int) ([]byte, error) {
	trees := make([]node, len(docs))
	for i, d := range docs {
		var err error
		if trees[i], err = newTree(d, "document"); err != nil {
			return nil, err
		}
	}
	if kustomizeStyle(trees, indent) {
		for i := range trees {
			trees[i].sort()
		}
	}
	return marshal(trees, indent)
}

// kustomizeStyle tells whether a file is written as kustomize writes it.
// kustomize drops comments; a file that has some keeps them and its order.
func kustomizeStyle(docs []node, indent int) bool {
	return indent == 0 && !slices.ContainsFunc(docs, func(n node) bool { return n.hasComments() })
}

// marshal writes the documents of a file. For kustomize's style they must be
// sorted.
func marshal(docs []node, indent int) ([]byte, error) {
	if !kustomizeStyle(docs, indent) {
		return marshalSops(docs, indent)
	}
	var out []byte
	for i := range docs {
		if i > 0 {
			out = append(out, "---\n"...)
		}
		e := emitter{out: out}
		if err := e.document(&docs[i]); err == nil {
			out = e.out
			continue
		} else if !errors.Is(err, errComplicated) {
			return nil, err
		}
		text, err := marshalKustomize(&docs[i])
		if err != nil {
			return nil, err
		}
		out = append(out, text...)
	}
	return out, nil
}

func marshalSops(docs []node, indent int) ([]byte, error) {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	if indent > 0 {
		e.SetIndent(indent)
	} else {
		e.SetIndent(2)
		e.CompactSeqIndent()
	}
	for i := range docs {
		if err := e.Encode(&yaml.Node{Kind: yaml.DocumentNode, Content: []*yaml.Node{docs[i].yaml()}}); err != nil {
			return nil, errors.New("the document cannot be written as YAML")
		}
	}
	if err := e.Close(); err != nil {
		return nil, errors.New("the document cannot be written as YAML")
	}
	return b.Bytes(), nil
}

// marshalKustomize writes a document by the libraries kustomize uses.
func marshalKustomize(n *node) ([]byte, error) {
	if n.has(func(n *node) bool { return n.key == mergeText }) {
		return nil, errMergeKey
	}
	// The JSON library would mend what is not UTF-8.
	broken := n.has(func(n *node) bool {
		s, _ := n.value.(string)
		return !utf8.ValidString(s) || !utf8.ValidString(n.key)
	})
	text, err := json.Marshal(n.plain())
	if err == nil {
		text, err = k8syaml.JSONToYAML(text)
	}
	if err != nil || broken {
		return nil, errors.New("the document holds a value that kustomize cannot write, such as binary data or a control character")
	}
	return text, nil
}

// has tells whether n or a node below it is one that is looked for.
func (n *node) has(wanted func(*node) bool) bool {
	return wanted(n) || slices.ContainsFunc(n.children, func(c node) bool { return c.has(wanted) })
}

// plain is n as the JSON library takes it.
func (n *node) plain() any {
	switch n.kind {
	case mapping:
		m := make(map[string]any, len(n.children))
		for i := range n.children {
			m[n.children[i].key] = n.children[i].plain()
		}
		return m
	case sequence:
		s := make([]any, len(n.children))
		for i := range n.children {
			s[i] = n.children[i].plain()
		}
		return s
	}
	return n.value
}

// mergeText is the key that kustomize merges even if it is quoted.
const mergeText = "<<"

var errMergeKey = errors.New(`a key "<<" cannot be written in kustomize's style: kustomize would merge it`)

// errComplicated sends a document to the libraries.
var errComplicated = errors.New("a scalar that the emitter leaves to the YAML library")

// emitter writes what nearly every document is made of: keys, plain and
// quoted scalars of one line, and blocks of text. It leaves everything else,
// folded lines above all, to the library, whose output it must equal.
type emitter struct {
	out  []byte
	line int // where the present line starts
}

func (e *emitter) document(n *node) error {
	e.line = len(e.out)
	if len(n.children) == 0 {
		e.out = append(e.out, "{}\n"...)
		return nil
	}
	return e.members(n, 0, false)
}

// members writes a mapping or sequence at an indentation. inline says that
// its first member stands on the present line, behind a dash.
func (e *emitter) members(n *node, indent int, inline bool) error {
	for i := range n.children {
		c := &n.children[i]
		if i > 0 || !inline {
			e.indent(indent)
		}
		if n.kind == sequence {
			e.out = append(e.out, '-')
			if err := e.value(c, indent, true); err != nil {
				return err
			}
			continue
		}
		if c.key == mergeText {
			return errMergeKey
		}
		if len(c.key) > 100 {
			return errComplicated // not a simple key from 128 on
		}
		key, err := quoted(c.key)
		if err != nil {
			return err
		}
		e.out = append(append(e.out, key...), ':')
		if err := e.value(c, indent, false); err != nil {
			return err
		}
	}
	return nil
}

// value writes what stands behind a key or a dash, and ends the line.
func (e *emitter) value(c *node, indent int, item bool) error {
	switch {
	case c.kind == scalar:
		return e.scalar(c.value, indent+2)
	case len(c.children) == 0:
		if c.kind == mapping {
			e.out = append(e.out, " {}"...)
		} else {
			e.out = append(e.out, " []"...)
		}
		e.newline()
		return nil
	case item:
		e.out = append(e.out, ' ')
		return e.members(c, indent+2, true)
	case c.kind == mapping:
		indent += 2
	}
	// A sequence stands flush with its key.
	e.newline()
	return e.members(c, indent, false)
}

func (e *emitter) scalar(v any, indent int) error {
	e.out = append(e.out, ' ')
	switch v := v.(type) {
	case nil:
		e.out = append(e.out, "null"...)
	case bool:
		e.out = strconv.AppendBool(e.out, v)
	case int:
		e.out = strconv.AppendInt(e.out, int64(v), 10)
	case float64:
		text, err := floatText(v)
		if err != nil {
			return err
		}
		e.out = append(e.out, text...)
	case time.Time:
		text, err := v.MarshalText()
		if err != nil {
			return errComplicated
		}
		e.out = strconv.AppendQuote(e.out, string(text))
	case string:
		if strings.Contains(v, "\n") {
			return e.block(v, indent)
		}
		text, err := quoted(v)
		if err != nil {
			return err
		}
		// A line is folded at the first space beyond the 80th column.
		if strings.Contains(v, " ") && len(e.out)-e.line+len(text) > 80 {
			return errComplicated
		}
		e.out = append(e.out, text...)
	}
	e.newline()
	return nil
}

// block writes text of several lines: printable ASCII with no space at the
// end of a line or the start of the text, and not more than one newline at
// its end.
func (e *emitter) block(text string, indent int) error {
	body, whole := strings.CutSuffix(text, "\n")
	if body == "" || body[0] == ' ' || body[0] == '\n' || body[len(body)-1] == '\n' {
		return errComplicated
	}
	for i := range len(body) {
		if c := body[i]; c == '\n' && body[i-1] == ' ' || c != '\n' && (c < ' ' || c > '~') {
			return errComplicated
		}
	}
	if body[len(body)-1] == ' ' {
		return errComplicated
	}
	e.out = append(e.out, '|')
	if !whole {
		e.out = append(e.out, '-')
	}
	e.newline()
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" {
			e.indent(indent)
			e.out = append(e.out, line...)
		}
		e.newline()
	}
	return nil
}

func (e *emitter) newline() {
	e.out = append(e.out, '\n')
	e.line = len(e.out)
}

const spaces = "                                "

func (e *emitter) indent(n int) {
	for n > len(spaces) {
		e.out = append(e.out, spaces...)
		n -= len(spaces)
	}
	e.out = append(e.out, spaces[:n]...)
}

// quoted is a string of one line with the quotes that the library gives it
// wherever it stands.
func quoted(s string) (string, error) {
	if plainyaml.IsPlain(s) || plainyaml.IsRelease(s) {
		return s, nil
	}
	if plainyaml.IsTime(s) {
		return `"` + s + `"`, nil
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return "", errComplicated
		}
	}
	if len(s) > 60 && strings.Contains(s, " ") {
		return "", errComplicated // the library would fold it
	}
	text, err := yamlv2.Marshal(s)
	if err != nil {
		return "", errComplicated
	}
	return strings.TrimSuffix(string(text), "\n"), nil
}

// floatText is a number on its way through JSON and back into YAML.
func floatText(f float64) (string, error) {
	text, err := json.Marshal(f)
	if err != nil {
		return "", fmt.Errorf("an infinite number or NaN cannot be written in kustomize's style")
	}
	if text, err = k8syaml.JSONToYAML(text); err != nil {
		return "", errComplicated
	}
	s := strings.TrimSpace(string(text))
	if i := strings.TrimLeft(s, "-0123456789"); i == "" {
		if _, err := strconv.Atoi(s); err != nil {
			return "", errors.New("a number beyond 64 bits cannot be written in kustomize's style: quote it")
		}
	}
	return s, nil
}

// sort puts the keys of all mappings into kustomize's order. The documents it
// is for hold no comments.
func (n *node) sort() {
	for i := range n.children {
		n.children[i].sort()
	}
	if n.kind == mapping {
		slices.SortStableFunc(n.children, func(a, b node) int {
			switch {
			case KeyLess(a.key, b.key):
				return -1
			case KeyLess(b.key, a.key):
				return 1
			}
			return 0
		})
	}
}

// KeyLess is the order of keys in what kustomize prints.
func KeyLess(a, b string) bool { return plainyaml.KeyLess(a, b) }
