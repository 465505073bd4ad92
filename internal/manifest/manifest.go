// Package manifest reads the documents of a file, YAML or JSON, each value with its place
// in the whole file.
//
// [Parse] is strict, for what is to be rendered or encrypted: what readers of
// YAML 1.1, of Kubernetes and of SOPS could understand differently is refused.
// [Scan] reads what somebody else has written, document by document, so that
// one that is broken hides no other.
//
// No error holds a value of the file.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/plainjson"
	"clusterpair.dev/internal/plainyaml"
	"clusterpair.dev/internal/report"
)

// Limits of one YAML document. Kubernetes stores no object beyond 1.5 MiB. What is
// nested deeper than any object would make every path in it as long as the document.
const (
	maxDocument = 2 << 20
	maxNodes    = 200_000
	maxDepth    = 500
)

// Parse reads the documents of a file. A key that stands twice, a merge key, a
// conflict marker or an alias bomb is an error, and aliases are expanded. The
// error is a [report.Finding] and names file.
func Parse(data []byte, file string) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	data = toUTF8(data)
	for first := 1; len(data) > 0; {
		chunk := data[:documentEnd(data)]
		data = data[len(chunk):]
		doc, err := parseDocument(chunk, expander{file: file, first: first - 1, budget: maxNodes, strict: true})
		if err != nil {
			return nil, err
		}
		if doc != nil {
			docs = append(docs, doc)
		}
		if len(data) > 0 {
			first += countLines(chunk)
		}
	}
	return docs, nil
}

// Values parses a file as Parse does, and gives the values at the top of its
// documents.
func Values(data []byte, file string) ([]*yaml.Node, error) {
	docs, err := Parse(data, file)
	return Contents(docs), err
}

// Contents are the values at the top of documents.
func Contents(docs []*yaml.Node) []*yaml.Node {
	values := make([]*yaml.Node, len(docs))
	for i, doc := range docs {
		values[i] = content(doc)
	}
	return values
}

func content(doc *yaml.Node) *yaml.Node {
	if doc.Kind == yaml.DocumentNode {
		return doc.Content[0]
	}
	return doc
}

// Document is one of the documents of a file.
type Document struct {
	// Node is the value at its top; nil if it cannot be read.
	Node *yaml.Node
	// Text is the document as it stands in the file, which starts with its
	// leading "---" line if it has one. Line is the first line of it.
	Text []byte
	Line int
}

// Scan hands each document of a file to each, in order, with aliases expanded;
// keys that stand twice and merge keys are left in. Of a document that cannot
// be read it gives the text and a finding, after what can be read of it: kustomize
// and Flux stop at a line of three dots. Empty documents are left out, and so may
// be comments: they are in the text.
func Scan(data []byte, file string, each func(Document, *report.Finding)) {
	data = toUTF8(data)
	for first := 1; len(data) > 0; {
		d := Document{Text: data[:documentEnd(data)], Line: first}
		data = data[len(d.Text):]
		doc, err := parseDocument(d.Text, expander{file: file, first: first - 1, budget: maxNodes, bare: true})
		var finding report.Finding
		if doc != nil {
			d.Node = content(doc)
			each(d, nil)
			d.Node = nil
		}
		if errors.As(err, &finding) {
			each(d, &finding)
		}
		if len(data) > 0 {
			first += countLines(d.Text)
		}
	}
}

// toUTF8 takes away a byte order mark. PowerShell 5 redirects into UTF-16,
// which YAML allows.
func toUTF8(data []byte) []byte {
	var high int
	switch {
	case bytes.HasPrefix(data, []byte("\xef\xbb\xbf")):
		return data[3:]
	case bytes.HasPrefix(data, []byte("\xff\xfe")):
		high = 1
	case bytes.HasPrefix(data, []byte("\xfe\xff")):
		high = 0
	default:
		return data
	}
	units := make([]uint16, 0, len(data)/2)
	for i := 2; i+1 < len(data); i += 2 {
		units = append(units, uint16(data[i+high])<<8|uint16(data[i+1-high]))
	}
	return []byte(string(utf16.Decode(units)))
}

// documentEnd is where the first document of data ends: before the next line
// that starts with three dashes and holds a document of its own.
func documentEnd(data []byte) int {
	for from := 1; from < len(data); from++ {
		i := bytes.Index(data[from:], []byte("---"))
		if i < 0 {
			break
		}
		from += i
		rest := data[from+len("---"):]
		if lineBreak(data[:from]) > 0 && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || startsLine(rest)) {
			return from
		}
	}
	return len(data)
}

// lineBreaks are those of YAML 1.1. Editors and reviews show few of them, but
// the YAML library and SOPS begin a line, and so a document, behind each.
var lineBreaks = []string{"\n", "\r", "\u0085", "\u2028", "\u2029"}

// lineBreak is the length of the line break at the end of data, 0 if there is
// none.
func lineBreak(data []byte) int {
	for _, b := range lineBreaks {
		if bytes.HasSuffix(data, []byte(b)) {
			return len(b)
		}
	}
	return 0
}

func startsLine(data []byte) bool {
	return slices.ContainsFunc(lineBreaks, func(b string) bool { return bytes.HasPrefix(data, []byte(b)) })
}

// countLines counts the line breaks as the YAML library does.
func countLines(data []byte) int {
	count := bytes.Count(data, []byte("\n"))
	if bytes.IndexByte(data, '\r') >= 0 {
		count += bytes.Count(data, []byte("\r")) - bytes.Count(data, []byte("\r\n"))
	}
	for _, b := range lineBreaks[2:] {
		count += bytes.Count(data, []byte(b))
	}
	return count
}

// parseDocument parses one document with the expander for it; it is nil if there
// is none in the chunk. With an error there may be one, too: what stands behind a
// line ... nobody reads but those who look for a second document.
func parseDocument(chunk []byte, e expander) (*yaml.Node, error) {
	if len(chunk) > maxDocument {
		return nil, badFile(e.file, e.first+1, 0, fmt.Sprintf("the document is larger than %d MiB; Kubernetes stores no such object", maxDocument>>20), "")
	}
	markerLine, marked := conflictMarker(chunk)
	parse := plainyaml.Parse
	if e.bare {
		parse = plainyaml.ParseBare
	}
	if marked {
		// The conflict marker may be a line of a text. The YAML library tells.
	} else if doc, ok := parse(chunk); ok {
		if !e.strict && e.first == 0 {
			return doc, nil // there is nothing to expand, and nothing to move
		}
		return e.expand(doc)
	}
	return decodeDocument(chunk, e, markerLine, marked)
}

// decodeDocument is [parseDocument] by the YAML library. marked says that the line
// markerLine looks like a conflict marker.
func decodeDocument(chunk []byte, e expander, markerLine int, marked bool) (*yaml.Node, error) {
	file, first := e.file, e.first+1
	decoder := yaml.NewDecoder(bytes.NewReader(chunk))
	var root yaml.Node
	err := decoder.Decode(&root)
	if err != nil && !errors.Is(err, io.EOF) && !marked {
		text := chunk
		if rest, marker := bytes.CutPrefix(chunk, []byte("---")); marker {
			text = append([]byte("   "), rest...)
		}
		if doc, ok := plainjson.Parse(text); ok { // kubectl knows more JSON than the YAML library
			return e.expand(doc)
		}
	}
	if errors.Is(err, io.EOF) {
		return nil, nil
	} else if marked && (err != nil || root.Content[0].Kind == yaml.ScalarNode) {
		return nil, badFile(file, first+markerLine, 1, "a Git conflict marker is left in the file", "resolve the conflict")
	} else if err != nil {
		return nil, yamlError(err, file, first)
	}
	var more yaml.Node
	if second := decoder.Decode(&more); second == nil {
		err = badFile(file, e.first+more.Line, more.Column, "a second document begins where not every reader of YAML sees it", "begin it with a line ---")
	} else if !errors.Is(second, io.EOF) {
		err = yamlError(second, file, first)
	}
	if doc := root.Content[0]; doc.Kind == yaml.ScalarNode && doc.Tag == "!!null" {
		return nil, err
	}
	if bytes.IndexByte(chunk, '!') >= 0 {
		keepTags(chunk, NewOffsets(chunk), &root)
	}
	doc, bad := e.expand(&root)
	if bad != nil {
		return nil, bad
	}
	return doc, err
}

// keepTags gives values the tag ! where it stands alone: the YAML library
// forgets it, and other readers take such a value for a text. at are the offsets
// of chunk.
func keepTags(chunk []byte, at *Offsets, n *yaml.Node) {
	if n.Kind != yaml.DocumentNode && n.Style&yaml.TaggedStyle == 0 { // of a tag with a name it knows
		if start, ok := at.At(n.Line, n.Column); ok && hasLoneTag(chunk[start:]) {
			n.Tag, n.Style = "!", n.Style|yaml.TaggedStyle
		}
	}
	for _, child := range n.Content {
		keepTags(chunk, at, child)
	}
}

// hasLoneTag tells whether a value begins with the tag !, maybe behind an anchor.
func hasLoneTag(value []byte) bool {
	if len(value) > 0 && value[0] == '&' {
		value = value[nextOf(value, " \t"):]
		for len(value) > 0 && (value[0] == ' ' || value[0] == '\t' || value[0] == '#' || startsLine(value)) {
			if value[0] == '#' {
				value = value[nextOf(value, ""):]
				continue
			}
			_, size := utf8.DecodeRune(value)
			value = value[size:]
		}
	}
	if len(value) == 0 || value[0] != '!' {
		return false
	}
	value = value[1:]
	return len(value) == 0 || strings.IndexByte(" \t,[]{}", value[0]) >= 0 || startsLine(value)
}

// nextOf is where the next of some characters or line breaks stands, or the end.
func nextOf(text []byte, characters string) int {
	if i := bytes.IndexAny(text, characters+"\n\r\u0085\u2028\u2029"); i >= 0 {
		return i
	}
	return len(text)
}

// expander replaces aliases by what they stand for, moves positions to those
// of the whole file and, if it is strict, finds keys that stand twice.
type expander struct {
	file          string
	first, budget int
	depth         int          // of the value being expanded
	text          int          // bytes of values and comments so far, those of aliases counted again
	strict        bool         // whether to look at keys
	bare          bool         // whether comments may be left out
	inside        []*yaml.Node // the anchors being expanded
}

func (e *expander) expand(n *yaml.Node) (*yaml.Node, error) {
	if e.budget--; e.budget < 0 {
		return nil, badFile(e.file, e.first+n.Line, n.Column, fmt.Sprintf("the document has more than %d values once its aliases are expanded", maxNodes), "write it without anchors")
	}
	if e.text += len(n.Value) + len(n.HeadComment) + len(n.LineComment) + len(n.FootComment); e.text > maxDocument && len(e.inside) > 0 {
		return nil, badFile(e.file, e.first+n.Line, n.Column, fmt.Sprintf("the document is larger than %d MiB once its aliases are expanded; Kubernetes stores no such object", maxDocument>>20), "write it without anchors")
	}
	if n.Kind == yaml.AliasNode {
		for _, anchor := range e.inside {
			if anchor == n.Alias {
				return nil, badFile(e.file, e.first+n.Line, n.Column, "the alias stands inside the value that it repeats", "write it without anchors")
			}
		}
		e.inside = append(e.inside, n.Alias)
		value, err := e.expand(copyNode(n.Alias))
		e.inside = e.inside[:len(e.inside)-1]
		if err == nil {
			value.Line, value.Column = e.first+n.Line, n.Column // where it has its effect
		}
		return value, err
	}
	line := e.first + n.Line
	if e.depth == maxDepth && len(n.Content) > 0 {
		return nil, badFile(e.file, line, n.Column, fmt.Sprintf("the document is nested deeper than %d levels", maxDepth), "")
	}
	if n.Kind == yaml.MappingNode && e.strict {
		var seen map[string]bool
		if len(n.Content) > 2 {
			seen = make(map[string]bool, len(n.Content)/2)
		}
		for i := 0; i < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Tag == "!!merge" {
				return nil, badFile(e.file, e.first+key.Line, key.Column, "a YAML merge key (<<) means different things to different readers", "write the keys out")
			}
			if seen[key.Value] {
				return nil, report.Finding{Rule: "duplicate-key", Severity: report.Error,
					Position: report.Position{File: e.file, Line: e.first + key.Line, Column: key.Column},
					Message:  fmt.Sprintf("key %q stands twice in the same mapping", key.Value), Hint: "keep one of the two"}
			}
			if seen != nil && key.Kind == yaml.ScalarNode {
				seen[key.Value] = true
			}
		}
	}
	e.depth++
	for i, child := range n.Content {
		value, err := e.expand(child)
		if err != nil {
			return nil, err
		}
		n.Content[i] = value
	}
	e.depth--
	n.Line, n.Anchor = line, ""
	return n, nil
}

// copyNode copies a tree, as each alias is to be a value of its own.
func copyNode(n *yaml.Node) *yaml.Node {
	c := *n
	c.Content = make([]*yaml.Node, len(n.Content))
	copy(c.Content, n.Content)
	for i, child := range c.Content {
		if child.Kind != yaml.AliasNode {
			c.Content[i] = copyNode(child)
		}
	}
	return &c
}

// conflictMarker finds what Git leaves where it could not merge, as the offset
// of its line.
func conflictMarker(chunk []byte) (int, bool) {
	for _, marker := range []string{"<<<<<<< ", ">>>>>>> "} {
		if bytes.HasPrefix(chunk, []byte(marker)) {
			return 0, true
		}
		if i := bytes.Index(chunk, []byte("\n"+marker)); i >= 0 {
			return bytes.Count(chunk[:i+1], []byte("\n")), true
		}
	}
	return 0, false
}

var yamlErrorLine = pattern.Later(`^yaml: (?:line (\d+): )?(.*)$`)

// yamlError makes a finding of an error of the YAML library. Its texts are
// fixed but for names of anchors and the like, which it quotes: such a text is
// left out, as it may be part of a value.
func yamlError(err error, file string, first int) report.Finding {
	line, text := 0, "it cannot be read"
	if m := yamlErrorLine().FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		if !strings.ContainsAny(m[2], "'\"`") || m[2] == "could not find expected ':'" || m[2] == "did not find expected ',' or ']'" || m[2] == "did not find expected ',' or '}'" || m[2] == "did not find expected '-' indicator" {
			text = m[2]
		}
	}
	hint := ""
	if strings.Contains(text, "cannot start any token") {
		hint = "indent with spaces: YAML forbids tabs"
	}
	return badFile(file, max(first, first-1+line), 0, "not valid YAML: "+text, hint)
}

func badFile(file string, line, column int, message, hint string) report.Finding {
	return report.Finding{Rule: "yaml", Severity: report.Error, Position: report.Position{File: file, Line: line, Column: column},
		Message: message, Hint: hint}
}

// Field is the value under a way of keys in a mapping, nil if there is none.
func Field(n *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		n = member(n, key)
	}
	return n
}

func member(n *yaml.Node, key string) *yaml.Node {
	if i := Index(n, key); i >= 0 {
		return n.Content[i+1]
	}
	return nil
}

// Index is where a key stands in the content of a mapping, -1 if it does not. Its value
// stands behind it.
func Index(n *yaml.Node, key string) int {
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return i
			}
		}
	}
	return -1
}

// Items are the entries of the list under a way of keys, none if there is no list.
func Items(n *yaml.Node, keys ...string) []*yaml.Node {
	if list := Field(n, keys...); list != nil && list.Kind == yaml.SequenceNode {
		return list.Content
	}
	return nil
}

// Position is where a node of a file stands, the file alone if it is nil.
func Position(n *yaml.Node, file string) report.Position {
	if n == nil {
		return report.Position{File: file}
	}
	return report.Position{File: file, Line: n.Line, Column: n.Column}
}

// IsSet tells whether there is a value other than null.
func IsSet(n *yaml.Node) bool { return n != nil && n.ShortTag() != "!!null" }

// Text is the scalar under a way of keys, empty if there is none or null.
func Text(n *yaml.Node, keys ...string) string {
	if v := Field(n, keys...); v != nil && v.Kind == yaml.ScalarNode && v.ShortTag() != "!!null" {
		return v.Value
	}
	return ""
}

// ForgetPositions clears the lines and columns of a tree: those of a document that was
// made up, or came through a stream, mean nothing to the user.
func ForgetPositions(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, child := range n.Content {
		ForgetPositions(child)
	}
}

// EachItem visits a document, or the items of a List.
func EachItem(doc *yaml.Node, visit func(*yaml.Node)) {
	items := Field(doc, "items")
	if !strings.HasSuffix(Text(doc, "kind"), "List") || items == nil {
		visit(doc)
		return
	}
	for _, item := range items.Content {
		visit(item)
	}
}

// Begins tells whether the first line of a text that is more than a comment or the mark
// of a document is that of a manifest.
func Begins(text []byte) bool {
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) > 0 && line[0] != '#' && !bytes.HasPrefix(line, []byte("---")) {
			return bytes.HasPrefix(line, []byte("apiVersion"))
		}
	}
	return false
}

// IsTemplate tells whether a line of a text is a directive of a template of Go or Jinja.
func IsTemplate(text []byte) bool { return directive().Match(text) }

var directive = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*(?:- +)?\{[{%][-+]? *(?:if|else|end|range|with|for|include|define|template|block|set|raw|/\*)`)
})
