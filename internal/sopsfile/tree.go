package sopsfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/plainjson"
	"clusterpair.dev/internal/plainyaml"
)

// kind is what a node of the tree is.
type kind uint8

const (
	scalar kind = iota
	mapping
	sequence
	comment
)

// node is a document as SOPS sees one: aliases expanded, tags resolved, and
// every line of comment a member of the mapping or sequence it stands in.
type node struct {
	kind     kind
	selected bool // the selector says that the value is to be encrypted
	inline   bool // the comment stands behind a value
	line     int
	column   int
	key      string // in a mapping
	// value is nil, string, int, float64, bool or time.Time; of a comment
	// it is the text behind the "#".
	value any
	// sealed is the value's ciphertext, or what value was decrypted from.
	sealed   string
	children []node
}

// Bounds of what aliases may make of a document, in nodes and in bytes. They
// hold while aliases are expanded, so that a small file takes little memory.
const (
	expanded     = 200_000
	expandedText = 2 << 20
)

// readDocuments parses a YAML stream, or JSON. Errors name the line and quote nothing.
func readDocuments(data []byte, file string) ([]node, error) {
	doc, ok := plainyaml.Parse(data)
	if !ok {
		doc, ok = plainjson.Parse(data)
	}
	if ok {
		n, err := newTree(doc, file)
		return []node{n}, err
	}
	var docs []node
	d := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			line, problem := yamlProblem(err)
			return nil, &MalformedError{File: file, Line: line, Problem: problem}
		}
		n, err := newTree(&doc, file)
		if err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
}

// newTree turns one YAML document, or its mapping, into a tree.
func newTree(doc *yaml.Node, file string) (node, error) {
	b := builder{file: file}
	root := node{kind: mapping, line: max(doc.Line, 1), column: doc.Column}
	err := b.document(doc, &root)
	return root, err
}

// builder makes nodes out of YAML ones, in the order in which SOPS visits
// them. That order matters: the MAC is taken over the values one after
// another, and the comment selectors ask which comments came before.
type builder struct {
	file    string
	aliases int // depth of aliases we are in
	nodes   int // made inside aliases
	text    int // bytes of the values and comments made inside aliases
}

func (b *builder) document(n *yaml.Node, root *node) error {
	switch n.Kind {
	case yaml.DocumentNode:
		root.comments(n.HeadComment, n, false)
		root.comments(n.LineComment, n, false)
		for _, c := range n.Content {
			if err := b.document(c, root); err != nil {
				return err
			}
		}
		root.comments(n.FootComment, n, false)
		return nil
	case yaml.MappingNode:
		root.line, root.column = n.Line, n.Column
		return b.mapping(n, root, false)
	case yaml.ScalarNode:
		if n.ShortTag() == "!!null" {
			root.comments(n.HeadComment, n, false)
			root.comments(n.LineComment, n, false)
			root.comments(n.FootComment, n, false)
			return nil
		}
	case 0:
		return nil // a document of comments only
	}
	return b.fail(n, "a document must be a mapping")
}

// mapping adds the members of n to to. placed says that the comments of n
// itself already stand in the surrounding node.
func (b *builder) mapping(n *yaml.Node, to *node, placed bool) error {
	if !placed {
		to.comments(n.HeadComment, n, false)
		to.comments(n.LineComment, n, false)
	}
	if to.children == nil {
		to.children = make([]node, 0, len(n.Content)/2)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		to.comments(k.HeadComment, k, false)
		to.comments(k.LineComment, k, false)
		leaf := v.Kind == yaml.ScalarNode || v.Kind == yaml.AliasNode
		if leaf {
			to.comments(v.HeadComment, v, false)
			to.comments(v.LineComment, v, true)
		}
		if k.Kind == yaml.AliasNode {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode || k.ShortTag() != "!!str" && k.ShortTag() != "!!merge" {
			return b.fail(n.Content[i], "a key must be a string: quote it")
		}
		member, err := b.node(v, leaf)
		if err != nil {
			return err
		}
		member.key = k.Value
		to.children = append(to.children, member)
		if leaf {
			to.comments(v.FootComment, v, false)
		}
		to.comments(n.Content[i].FootComment, k, false)
	}
	if !placed {
		to.comments(n.FootComment, n, false)
	}
	return b.distinct(to.children)
}

func (b *builder) sequence(n *yaml.Node, to *node, placed bool) error {
	if !placed {
		to.comments(n.HeadComment, n, false)
		to.comments(n.LineComment, n, false)
	}
	for _, item := range n.Content {
		to.comments(item.HeadComment, item, false)
		to.comments(item.LineComment, item, true)
		member, err := b.node(item, true)
		if err != nil {
			return err
		}
		to.children = append(to.children, member)
		to.comments(item.FootComment, item, false)
	}
	if !placed {
		to.comments(n.FootComment, n, false)
	}
	return nil
}

func (b *builder) node(n *yaml.Node, placed bool) (node, error) {
	if b.aliases > 0 {
		if b.nodes++; b.nodes > expanded {
			return node{}, b.fail(n, "aliases expand to more than "+strconv.Itoa(expanded)+" nodes")
		}
		if b.text += len(n.Value) + len(n.HeadComment) + len(n.LineComment) + len(n.FootComment); b.text > expandedText {
			return node{}, b.fail(n, "aliases expand to more than "+strconv.Itoa(expandedText>>20)+" MiB")
		}
	}
	made := node{line: n.Line, column: n.Column}
	var err error
	switch n.Kind {
	case yaml.AliasNode:
		b.aliases++
		made, err = b.node(n.Alias, false)
		b.aliases--
		made.line, made.column = n.Line, n.Column
	case yaml.MappingNode:
		made.kind = mapping
		err = b.mapping(n, &made, placed)
	case yaml.SequenceNode:
		made.kind = sequence
		err = b.sequence(n, &made, placed)
	default:
		made.value, err = b.value(n)
	}
	return made, err
}

// value resolves a scalar to the types SOPS knows.
func (b *builder) value(n *yaml.Node) (any, error) {
	if n.Tag == "!!str" {
		return n.Value, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil && n.Tag == "!!float" { // an integer of JSON beyond 64 bits
			return f, nil
		}
		return nil, b.fail(n, "the value does not fit its tag")
	}
	switch v.(type) {
	case nil, string, int, float64, bool, time.Time:
		return v, nil
	}
	return nil, b.fail(n, "the number is too large: quote it")
}

// distinct refuses a mapping that has a key twice: YAML forbids it, and
// parsers disagree about which one counts.
func (b *builder) distinct(members []node) error {
	if len(members) > 8 {
		seen := make(map[string]bool, len(members))
		for i := range members {
			if m := &members[i]; m.kind != comment {
				if seen[m.key] {
					return b.failAt(m.line, fmt.Sprintf("key %q stands here a second time", m.key))
				}
				seen[m.key] = true
			}
		}
		return nil
	}
	for i := range members {
		for j := range i {
			if members[i].kind != comment && members[j].kind != comment && members[i].key == members[j].key {
				return b.failAt(members[i].line, fmt.Sprintf("key %q stands here a second time", members[i].key))
			}
		}
	}
	return nil
}

func (b *builder) fail(n *yaml.Node, problem string) error { return b.failAt(n.Line, problem) }

func (b *builder) failAt(line int, problem string) error {
	return &MalformedError{File: b.file, Line: line, Problem: problem}
}

// comments adds a comment to the members of n, one for every line of it.
func (n *node) comments(text string, at *yaml.Node, inline bool) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			n.children = append(n.children, node{kind: comment, inline: inline, line: at.Line, column: at.Column, value: line[1:]})
		}
	}
}

// hasComments tells whether a comment stands anywhere below n.
func (n *node) hasComments() bool {
	for i := range n.children {
		if c := &n.children[i]; c.kind == comment || c.hasComments() {
			return true
		}
	}
	return false
}

// member returns the value of a key, or nil.
func (n *node) member(key string) *node {
	for i := range n.children {
		if c := &n.children[i]; c.key == key && c.kind != comment {
			return c
		}
	}
	return nil
}

// yaml turns n back into YAML nodes, with comments where SOPS puts them:
// above the key that follows, behind the value if they stood there, or at the
// foot of the last key.
func (n *node) yaml() *yaml.Node {
	switch n.kind {
	case mapping, sequence:
		y := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.line, Column: n.column}
		if n.kind == sequence {
			y.Kind, y.Tag = yaml.SequenceNode, "!!seq"
		}
		n.content(y)
		return y
	}
	y := scalarNode(n.value)
	y.Line, y.Column = n.line, n.column
	return y
}

func (n *node) content(y *yaml.Node) {
	var head, inline []string
	first := true
	for i := range n.children {
		c := &n.children[i]
		if c.kind == comment {
			if c.inline {
				inline = append(inline, c.value.(string))
			} else {
				head = append(head, c.value.(string))
			}
			continue
		}
		v := c.yaml()
		named := v // the node that bears the comments above it
		if n.kind == mapping {
			named = scalarNode(c.key)
			y.Content = append(y.Content, named)
		}
		y.Content = append(y.Content, v)
		if first {
			first = false
			y.HeadComment = commentText(head)
		} else {
			named.HeadComment = prefixed(head, named.HeadComment)
		}
		head = nil
		v.LineComment = commentText(inline)
		inline = nil
	}
	rest := commentText(append(head, inline...))
	switch last := len(y.Content); {
	case rest == "":
	case first:
		y.HeadComment = rest
	case n.kind == mapping:
		y.Content[last-2].FootComment = rest
	default:
		y.Content[last-1].FootComment = rest
	}
}

// prefixed puts comment lines above those a node already bears.
func prefixed(lines []string, rest string) string {
	text := commentText(lines)
	if text != "" && rest != "" {
		return text + "\n" + rest
	}
	return text + rest
}

func commentText(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return "#" + strings.Join(lines, "\n#")
}

// scalarNode is the YAML node of a value in the style the YAML library
// chooses for it.
func scalarNode(v any) *yaml.Node {
	y := &yaml.Node{}
	if s, ok := v.(string); ok && plainyaml.IsPlain(s) {
		y.Kind, y.Tag, y.Value = yaml.ScalarNode, "!!str", s
		return y
	}
	// Encode fails on no type that a node's value can have.
	_ = y.Encode(v)
	return y
}

var (
	yamlLine = pattern.Later(`line (\d+): *`)
	// yamlExpected quotes nothing but a sign of YAML.
	yamlExpected = pattern.Later(`^(?:could|did) not find expected (?:'[^'[:alnum:]]'|[a-z ])+$`)
	yamlTwice    = pattern.Later(`^mapping key .* already defined at line (\d+)`)
)

// yamlProblem takes line and cause out of an error of the YAML library, and
// leaves out whatever the library quotes from the input.
func yamlProblem(err error) (line int, problem string) {
	problem = strings.TrimPrefix(strings.TrimPrefix(err.Error(), "yaml: "), "unmarshal errors:\n  ")
	if m := yamlLine().FindStringSubmatchIndex(problem); m != nil {
		line, _ = strconv.Atoi(problem[m[2]:m[3]])
		problem = problem[m[1]:]
	}
	if m := yamlTwice().FindStringSubmatch(problem); m != nil {
		return line, "a key that stands twice in one mapping, first on line " + m[1]
	}
	if i := strings.IndexAny(problem, "\"'`\n"); i >= 0 && !yamlExpected().MatchString(problem) {
		problem = problem[:i]
	}
	if problem = strings.TrimSpace(problem); problem == "" {
		problem = "not valid YAML"
	}
	return line, problem
}
