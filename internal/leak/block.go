package leak

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// blocks finds the documents that are part of a text, such as the kubeconfig in a
// script or in a page, and reads them as documents: their credentials need not look
// like any. It adds to the places those that stand in other lines.
func (f *finder) blocks(text string, places []place) []place {
	if f.depth >= maxDepth || !mayHaveBlock(text) {
		return places
	}
	b := &blockFinder{finder: f, text: text, left: 32*len(text) + 1<<16}
	for _, p := range places {
		b.known = append(b.known, p.start)
	}
	slices.Sort(b.known)
	for at := 0; at < len(text) && b.left > 0; {
		at = b.yaml(at)
	}
	each(text, "{", func(i int) int {
		if b.left <= 0 {
			return len(text)
		}
		return b.json(i)
	})
	return append(places, b.places...)
}

// mayHaveBlock tells whether a text has what makes a kubeconfig, a Secret or a
// ClusterPair.
func mayHaveBlock(text string) bool {
	return strings.Contains(text, "users") && (strings.Contains(text, "clusters") || strings.Contains(text, "contexts") || strings.Contains(text, "current-context") || strings.Contains(text, "Config")) ||
		strings.Contains(text, "Secret") && strings.Contains(text, "kind") || strings.Contains(text, "ClusterPair")
}

// blockFinder looks for documents in one text.
type blockFinder struct {
	*finder
	text   string
	left   int   // bytes of JSON that may still be read, one of YAML counting as eight: so the time is linear
	known  []int // where the credentials start that are found already
	places []place
}

// yaml reads the document that begins with the line at a place, if one does. It
// returns where to look on.
func (b *blockFinder) yaml(at int) int {
	line := lineAt(b.text, at)
	next := at + len(line)
	prefix := line[:len(line)-len(strings.TrimLeft(line, " \t#>+*/;|%"))]
	if !beginsBlock(line[len(prefix):]) {
		return next
	}
	var block strings.Builder
	var starts []int // of the lines, without the prefix
	blank := strings.TrimSpace(prefix)
	end := at
	for end < len(b.text) {
		line := lineAt(b.text, end)
		content, ok := strings.CutPrefix(line, prefix)
		if trimmed := strings.TrimSpace(line); trimmed == "" || trimmed == blank {
			content, ok = "\n", true
		}
		if !ok || !continuesBlock(content) {
			break
		}
		starts = append(starts, end+len(line)-len(content))
		block.WriteString(content)
		end += len(line)
	}
	if b.left -= 8 * block.Len(); b.left < 0 || !b.document(block.String(), starts, isManifest) {
		return next
	}
	return end
}

func lineAt(text string, at int) string {
	if i := strings.IndexByte(text[at:], '\n'); i >= 0 {
		return text[at : at+i+1]
	}
	return text[at:]
}

// beginsBlock tells whether a document may begin with a line.
func beginsBlock(line string) bool {
	for _, key := range []string{"apiVersion", "kind", "clusters", "contexts", "current-context", "users", "metadata", "stringData", "preferences"} {
		if strings.HasPrefix(line, key) && len(line) > len(key) && line[len(key)] == ':' {
			return true
		}
	}
	return false
}

// continuesBlock tells whether a line may be part of a mapping at the left edge.
func continuesBlock(line string) bool {
	switch line[0] {
	case ' ', '\t', '\n', '\r', '#', '}', ']':
		return true
	case '-':
		return len(line) > 1 && line[1] == ' '
	}
	key, _, ok := strings.Cut(line, ":")
	return ok && isName(strings.Trim(key, `"'`))
}

// isManifest tells whether a document is a kubeconfig or an object of Kubernetes.
func isManifest(doc *yaml.Node) bool {
	if doc.Kind != yaml.MappingNode {
		return false
	}
	m := shapeOf(doc)
	return m.kubeconfig || m.secret || m.pair
}

// json reads the object of JSON that begins at a place, if one does. It returns where
// to look on.
func (b *blockFinder) json(at int) int {
	rest := b.text[at+1:]
	if inner := strings.TrimLeft(rest, " \t\r\n"); inner == "" || inner[0] != '"' {
		b.left -= len(rest) - len(inner)
		return at + 1
	}
	decoder := json.NewDecoder(strings.NewReader(b.text[at:]))
	var raw json.RawMessage
	if err := decoder.Decode(&raw); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			b.left -= int(syntax.Offset)
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			b.left -= len(b.text) - at
		}
		b.left -= 512 // which is read at a time
		return at + 1
	}
	b.left -= 512 + len(raw)
	starts := []int{at}
	for i := range len(raw) {
		if raw[i] == '\n' {
			starts = append(starts, at+i+1)
		}
	}
	b.document(b.text[at:at+len(raw)], starts, func(*yaml.Node) bool { return true })
	return at + len(raw)
}

// document looks into a part of the text if it is a document of a kind. starts are
// where its lines stand.
func (b *blockFinder) document(text string, starts []int, is func(*yaml.Node) bool) bool {
	if !mayHold(text) {
		return true
	}
	docs, ok := parse(text)
	if !ok || len(docs[0].Content) == 0 || !is(docs[0].Content[0]) {
		return false
	}
	inner := &finder{text: []byte(text), first: 1, nodes: b.nodes, unzipped: b.unzipped, depth: b.depth + 1, coded: b.coded, cursor: cursor{line: 1, column: 1}}
	inner.found = func(l Leak) {
		if l.Line >= 1 && l.Line <= len(starts) {
			b.add(starts[l.Line-1], l)
		}
	}
	for _, doc := range docs {
		inner.visit(doc, "", plain)
	}
	b.nodes = inner.nodes
	return true
}

// add notes a credential in the line that starts at a place, unless one is known there.
func (b *blockFinder) add(start int, l Leak) {
	line := strings.TrimRight(lineAt(b.text, start), "\r\n")
	at := 0
	for range l.Column - 1 {
		if at < len(line) {
			at += len(string([]rune(line[at:min(len(line), at+4)])[:1]))
		}
	}
	if at < len(line) && (line[at] == '|' || line[at] == '>') { // the value begins in the next line
		if next := start + len(lineAt(b.text, start)); next < len(b.text) {
			start, line = next, strings.TrimRight(lineAt(b.text, next), "\r\n")
			at = len(line) - len(strings.TrimLeft(line, " \t#"))
		}
	}
	if i, _ := slices.BinarySearch(b.known, start); i < len(b.known) && b.known[i] <= start+len(line) {
		return
	}
	for at < len(line) && (line[at] == '"' || line[at] == '\'') {
		at++
	}
	end := at
	for end < len(line) && line[end] > ' ' && strings.IndexByte("\"'\\,}]", line[end]) < 0 {
		end++
	}
	b.places = append(b.places, place{start + at, start + max(end, min(at+1, len(line))), l.What, l.In})
}
