package kubeconfig

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/plainyaml"
	"clusterpair.dev/internal/report"
)

// Limits of a kubeconfig. etcd takes no Secret above 1 MiB; no kubeconfig is
// nested deeper than a dozen levels, or has more aliases than nodes.
const (
	maxSize  = 1 << 20
	maxDepth = 100
)

// parse reads the one YAML or JSON document of a kubeconfig.
func (c *checker) parse(text []byte) *yaml.Node {
	at := place{position: c.origin.position}
	if c.origin.key != "" {
		at.within = fmt.Sprintf("key %q: ", c.origin.key)
	}
	if len(text) > maxSize {
		c.refuse(at, "yaml", "kubeconfig is larger than 1 MiB", "keep one context: kubectl config view --flatten --minify")
		return nil
	}
	if doc, ok := plainyaml.Parse(text); ok {
		return doc
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var doc, next yaml.Node
	err := decoder.Decode(&doc)
	if err == nil {
		for err = decoder.Decode(&next); err == nil && isNull(&next); err = decoder.Decode(&next) {
		}
		if err == nil {
			line := 0
			if root := content(&next); root != nil {
				line = root.Line
			}
			c.refuse(c.line(line), "yaml", "kubeconfig holds several documents", "keep one, or merge them: KUBECONFIG=FILE:FILE kubectl config view --raw --flatten")
			return nil
		}
	}
	if errors.Is(err, io.EOF) {
		if doc.Kind == 0 {
			c.refuse(at, "yaml", "kubeconfig is empty", hintKubeconfig)
			return nil
		}
		return &doc
	}
	line, message, hint := diagnose(text, err)
	c.refuse(c.line(line), "yaml", message, hint)
	return nil
}

// diagnose finds the line and the cause of a syntax error. The YAML library's
// own message may quote a value.
func diagnose(text []byte, err error) (line int, message, hint string) {
	cause, number := err.Error(), 0
	tab := strings.Contains(cause, "tab character") || strings.Contains(cause, "cannot start any token")
	for l := range bytes.Lines(text) {
		number++
		indent := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]
		switch {
		case tab && bytes.IndexByte(indent, '\t') >= 0 && len(bytes.TrimSpace(l)) > 0:
			return number, "a tab in the indentation, which YAML does not allow", "replace tabs by spaces"
		case bytes.HasPrefix(l, []byte("<<<<<<< ")) || bytes.HasPrefix(l, []byte(">>>>>>> ")):
			return number, "a conflict marker that a merge has left", "resolve the conflict"
		}
	}
	message = "kubeconfig is not valid YAML or JSON"
	if m := lineNumber().FindStringSubmatch(cause); m != nil {
		line, _ = strconv.Atoi(m[1])
		if strings.Contains(cause, "did not find expected") { // the library then counts from where the enclosing value begins
			line, message = 0, fmt.Sprintf("%s, somewhere after line %d", message, line)
		}
	}
	return line, message, "see what the line lacks: a quote, a colon with a space, or the right indentation"
}

var lineNumber = pattern.Later(`^yaml: line ([0-9]+):`)

// hintKubeconfig is for what is no kubeconfig at all, such as the certificate of a TLS
// Secret.
const hintKubeconfig = "kubectl config view --flatten --minify prints a kubeconfig; in a Secret it stands under the key value, or under that of destination.secret.key"

// read checks that client-go can read a kubeconfig. It gives back its root,
// nil if there is nothing to look into.
func (c *checker) read(doc *yaml.Node) *yaml.Node {
	root := content(doc)
	at := c.at(root, "")
	switch {
	case isNull(root):
		c.refuse(at, "yaml", "kubeconfig is empty", hintKubeconfig)
		return nil
	case root.Kind == yaml.ScalarNode && strings.HasPrefix(root.Value, encryptedPrefix):
		c.refuse(at, "still-encrypted", "the kubeconfig is still encrypted by SOPS", hintDecrypt)
		return nil
	case root.Kind == yaml.ScalarNode && looksEncoded(root.Value):
		c.refuse(at, "bad-base64", "the kubeconfig is encoded in base64 twice", "encode it once, as kubectl create secret does by itself")
		return nil
	case root.Kind != yaml.MappingNode:
		c.refuse(at, "value-type", "not a kubeconfig: a mapping with clusters, contexts and users belongs here", hintKubeconfig)
		return nil
	}
	switch kind := field(root, "kind"); {
	case kind != nil && kind.Value == "Secret":
		c.refuse(c.at(kind, "kind"), "value-type", "this is a Secret, not a kubeconfig", "name the file of the kubeconfig that is in it, or list the Secret under spec.files of a config")
		return nil
	case (kind == nil || kind.Value != "Config") && !slices.ContainsFunc([]string{"clusters", "contexts", "users", "current-context"}, func(key string) bool { return field(root, key) != nil }):
		c.refuse(at, "value-type", "not a kubeconfig: it has none of clusters, contexts and users", hintKubeconfig)
		return nil
	}
	r := reader{checker: c}
	r.walk(root, configShape, 0)
	if r.stopped {
		return nil
	}
	c.header(root, "kind", "Config")
	c.header(root, "apiVersion", "v1")
	return root
}

// header refuses another value than the one that a field of every kubeconfig has.
func (c *checker) header(root *yaml.Node, name, value string) {
	if v := field(root, name); v != nil && v.Value != value && !isNull(v) && v.Value != "" {
		c.refuse(c.at(v, name), "value-type", name+" of a kubeconfig is "+value, name+": "+value)
	}
}

// reader walks a kubeconfig once, along aliases, beside the shape that
// client-go decodes it into.
type reader struct {
	*checker
	path            []string
	inAlias         bool
	direct, aliased int
	aliasedText     int  // bytes of the values in aliases
	stopped         bool // the rest is not worth reading
}

func (r *reader) refuse(n *yaml.Node, rule, message, hint string) {
	r.checker.refuse(r.checker.at(n, strings.Join(r.path, ".")), rule, message, hint)
}

func (r *reader) walk(n *yaml.Node, s *shape, depth int) {
	if n.Kind == yaml.AliasNode {
		if !r.inAlias {
			r.inAlias = true
			defer func() { r.inAlias = false }()
		}
		n = n.Alias
	}
	if r.inAlias {
		r.aliased++
		r.aliasedText += len(n.Value)
	} else {
		r.direct++
	}
	switch {
	case r.stopped:
		return
	case depth > maxDepth:
		r.stopped = true
		r.refuse(n, "yaml", "kubeconfig is nested too deeply", "")
		return
	case r.aliased > 500+10*r.direct, r.aliasedText > maxSize:
		r.stopped = true
		r.refuse(n, "yaml", "kubeconfig repeats itself through aliases out of all proportion", "write the values out")
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		r.mapping(n, s, depth)
	case yaml.SequenceNode:
		r.sequence(n, s, depth)
	default:
		r.scalar(n, s)
	}
}

func (r *reader) mapping(n *yaml.Node, s *shape, depth int) {
	if tag := n.ShortTag(); tag != "!!map" {
		r.refuse(n, "value-type", "a mapping with a tag of its own", "remove the tag")
		return
	}
	if s.kind != structure && s.kind != dictionary && s.kind != anything {
		r.refuse(n, "value-type", "a mapping where "+s.kind.String()+" belongs", "")
		return
	}
	r.uniqueKeys(n, s)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := scalarType(content(key))
		if key.Kind == yaml.AliasNode || name == isNullType || name == isOther || name == isMerge {
			r.refuse(key, "value-type", "a key that is no plain text: client-go does not read merge keys, null or complex keys alike", "write the keys out")
			continue
		}
		elem := s.elem
		if s.kind == structure {
			if elem = s.fields[key.Value]; elem == nil {
				r.unknown(n, key, s)
			}
		} else if s.kind == dictionary && name != isText {
			r.refuse(key, "value-type", "a key that is no text", "quote it")
		}
		if elem == nil {
			elem = &shape{}
		}
		label := key.Value
		if s.kind != structure || elem.kind == anything {
			label = "*" // only names that client-go knows are sure to be no secret
		}
		r.path = append(r.path, label)
		r.walk(value, elem, depth+1)
		r.path = r.path[:len(r.path)-1]
	}
}

// unknown reports a field that client-go ignores, when it was likely meant to
// be another one.
func (r *reader) unknown(n, key *yaml.Node, s *shape) {
	at := r.checker.at(key, strings.Join(r.path, "."))
	if right := pairSpelling[key.Value]; right != "" && s.fields[right] != nil {
		r.checker.refuse(at, "kubeconfig-spelling", fmt.Sprintf("%s is a ClusterPair's spelling; in a kubeconfig it is dropped without a word", key.Value),
			fmt.Sprintf("write %s", right))
		return
	}
	name, _, glued := strings.Cut(key.Value, ":") // as in {token:abc}: the rest is a value
	near := report.Nearest(name, slices.Sorted(maps.Keys(s.fields)))
	switch {
	case near == "" || len(name) <= 3 || field(n, near) != nil:
	case glued:
		r.checker.report(at, "unknown-field", report.Warning, fmt.Sprintf("unknown field %q with a value glued to it is ignored", name), "write a space after the colon")
	default:
		r.checker.report(at, "unknown-field", report.Warning, fmt.Sprintf("unknown field %q is ignored", name), fmt.Sprintf("did you mean %s?", near))
	}
}

// uniqueKeys refuses a key that stands twice, which readers understand
// differently.
func (r *reader) uniqueKeys(n *yaml.Node, s *shape) {
	var seen map[string]bool
	if len(n.Content) > 2*16 {
		seen = make(map[string]bool, len(n.Content)/2)
	}
	for i := 0; i < len(n.Content); i += 2 {
		value := n.Content[i].Value
		twice := seen[value]
		for j := 0; seen == nil && j < i && !twice; j += 2 {
			twice = n.Content[j].Value == value && n.Content[j].Kind == n.Content[i].Kind
		}
		if seen != nil {
			seen[value] = true
		}
		if twice {
			what := "a key"
			if s.fields[value] != nil {
				what = "key " + value
			}
			r.refuse(n.Content[i], "duplicate-key", what+" stands twice in the same mapping", "keep one of the two")
		}
	}
}

func (r *reader) sequence(n *yaml.Node, s *shape, depth int) {
	if tag := n.ShortTag(); tag != "!!seq" {
		r.refuse(n, "value-type", "a list with a tag of its own", "remove the tag")
		return
	}
	if s.kind != list && s.kind != anything {
		r.refuse(n, "value-type", "a list where "+s.kind.String()+" belongs", "")
		return
	}
	elem := s.elem
	if elem == nil {
		elem = &shape{}
	}
	var names map[string]bool
	if s.named && len(n.Content) > 1 {
		names = make(map[string]bool, len(n.Content))
	}
	for i, item := range n.Content {
		label := strconv.Itoa(i)
		if s.named {
			name := textOf(content(item), "name")
			if name != "" {
				label = name
			}
			if names[name] {
				r.refuse(item, "duplicate-key", fmt.Sprintf("name %q stands twice in the same list", name), "remove or rename one of the two")
			}
			if names != nil {
				names[name] = true
			}
		}
		r.path = append(r.path, label)
		r.walk(item, elem, depth+1)
		r.path = r.path[:len(r.path)-1]
	}
}

func (r *reader) scalar(n *yaml.Node, s *shape) {
	got := scalarType(n)
	if strings.HasPrefix(n.Value, encryptedPrefix) {
		r.refuse(n, "still-encrypted", messageEncrypted, hintDecrypt)
		return
	}
	switch {
	case got == isOther:
		r.refuse(n, "value-type", "a value with a tag of its own, or one that JSON cannot say", "write the value as a quoted text")
	case got == isNullType || s.kind == anything:
	case s.kind == text && got == isBool:
		r.refuse(n, "value-type", "a bool where a text belongs: to client-go y, n, yes, no, on and off are bools, too", "quote it")
	case s.kind == text && got != isText:
		r.refuse(n, "value-type", "a number where a text belongs", "quote it")
	case s.kind == boolean && got != isBool:
		r.refuse(n, "value-type", "no bool", "write true or false without quotes")
	case s.kind == data && got != isText:
		r.refuse(n, "bad-base64", "no base64", hintBase64)
	case s.kind == data:
		if message, hint := judgeData(n.Value); message != "" {
			r.refuse(n, "bad-base64", message, hint)
		}
	case s.kind != text && s.kind != boolean:
		r.refuse(n, "value-type", "a single value where "+s.kind.String()+" belongs", "")
	}
}

const (
	messagePlaceholder = "a placeholder that no tool has filled in"
	hintPlaceholder    = "let the tool that fills it in do so, and give clusterpair what comes out"
)

// isPlaceholder tells whether another tool is to put a value in the place of this one.
func isPlaceholder(value string) bool {
	// A certificate has none of these, and a regular expression takes its time over it.
	if strings.IndexByte(value, '<') < 0 && strings.IndexByte(value, '{') < 0 && !strings.Contains(value, "://") {
		return false
	}
	return placeholder().MatchString(value)
}

// judgeData says what is wrong with base64, nothing if it is right.
func judgeData(value string) (message, hint string) {
	decoded, err := decodeBase64(value)
	switch {
	case strings.Contains(value, "-----BEGIN"):
		return "PEM as it is, where its base64 belongs; one such ClusterPair stops Stork for all", hintBase64
	case isRedacted(value):
		return "what kubectl config view prints instead of the data", "take the data itself: kubectl config view --raw"
	case isPlaceholder(value):
		return messagePlaceholder, hintPlaceholder
	case err != nil:
		return "no base64; one such ClusterPair stops Stork for all", hintBase64
	case looksEncoded(string(decoded)):
		return "encoded in base64 twice", "decode it once, as base64 -d does"
	}
	return "", ""
}

// placeholder is how templates and the plugins of Vault, 1Password and others are spelled.
var placeholder = pattern.Later(`^<[^<>]+>$|\{\{.*\}\}|\$\{[^}]+\}|^(op|ref\+[a-z]+|vault|bao|secretref\+[a-z]+)://`)

// What client-go takes a scalar for.
type scalarKind int

const (
	isText scalarKind = iota
	isBool
	isNumber
	isNullType
	isMerge
	isOther
)

// scalarType reads a scalar as client-go does, by YAML 1.1: the bare words of
// yes and no are bools, dates are text.
func scalarType(n *yaml.Node) scalarKind {
	if n == nil || n.Kind != yaml.ScalarNode {
		return isOther
	}
	if n.Style&yaml.TaggedStyle != 0 {
		if n.ShortTag() == "!!str" {
			return isText
		}
		return isOther
	}
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
		return isText
	}
	switch n.ShortTag() {
	case "!!str":
		if len(n.Value) <= 3 {
			if _, ok := yaml11Bools[n.Value]; ok {
				return isBool
			}
		}
		return isText
	case "!!timestamp":
		return isText
	case "!!bool":
		return isBool
	case "!!null":
		return isNullType
	case "!!merge":
		return isMerge
	case "!!int":
		return isNumber
	case "!!float":
		if strings.ContainsAny(n.Value, "nN") { // .inf, .nan
			return isOther
		}
		return isNumber
	}
	return isOther
}

// yaml11Bools are the bools of YAML 1.1 that YAML 1.2 takes for text.
var yaml11Bools = map[string]bool{
	"y": true, "Y": true, "yes": true, "Yes": true, "YES": true, "on": true, "On": true, "ON": true,
	"n": false, "N": false, "no": false, "No": false, "NO": false, "off": false, "Off": false, "OFF": false,
}

const (
	// encryptedPrefix begins every value that SOPS has encrypted.
	encryptedPrefix = "ENC["

	messageEncrypted = "the value is still encrypted by SOPS"

	hintBase64  = "base64 -w0 FILE"
	hintDecrypt = "give the file to clusterpair as SOPS wrote it, whole and with a key at hand, or decrypt what it was taken from: sops decrypt FILE"
)

// origin is the text that a kubeconfig stands in: a file, or a value of a Secret.
type origin struct {
	file string
	// position is that of the whole, for what has no place of its own.
	position report.Position
	// key is the Secret's key; lines then count inside its value, and position
	// is the value's.
	key string
}

// place is where a field stands, so that a finding can say it.
type place struct {
	position report.Position
	within   string // such as `line 3 of key "value": `, empty in a plain file
	path     string
}

// at is the place of a node.
func (c *checker) at(n *yaml.Node, path string) place {
	if n == nil {
		return place{position: c.origin.position, path: path}
	}
	if c.origin.key == "" {
		return place{position: position(n, c.origin.file), path: path}
	}
	at := c.line(n.Line)
	at.path = path
	return at
}

// line is a line of the kubeconfig.
func (c *checker) line(n int) place {
	at := place{position: c.origin.position}
	switch {
	case c.origin.key == "":
		at.position.Line, at.position.Column = n, 0
	case n == 0:
		at.within = fmt.Sprintf("key %q: ", c.origin.key)
	default:
		at.within = fmt.Sprintf("line %d of key %q: ", n, c.origin.key)
	}
	return at
}

// position is where a node stands, the file alone if it is nil. Like field it takes a
// tree as the YAML library gives it, which package manifest would refuse in parts: what
// client-go takes is taken here.
func position(n *yaml.Node, file string) report.Position {
	if n = content(n); n == nil {
		return report.Position{File: file}
	}
	return report.Position{File: file, Line: n.Line, Column: n.Column}
}

// report adds a finding. A waived one stays visible as an info.
func (c *checker) report(at place, rule string, severity report.Severity, message, hint string) {
	if c.options.Allow[rule] && report.Waivable(rule) {
		severity, hint = report.Info, ""
		message += " (allowed)"
	}
	c.findings = append(c.findings, at.finding(rule, severity, message, hint))
}

// refuse adds an error that cannot be waived, whatever its rule.
func (c *checker) refuse(at place, rule, message, hint string) {
	f := at.finding(rule, report.Error, message, hint)
	f.Firm = true
	c.findings = append(c.findings, f)
}

func (at place) finding(rule string, severity report.Severity, message, hint string) report.Finding {
	return report.Finding{Rule: rule, Severity: severity, Position: at.position, Path: at.path, Message: at.within + message, Hint: hint}
}

// content is the node that a document or an alias stands for.
func content(n *yaml.Node) *yaml.Node {
	for n != nil {
		switch {
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
			n = n.Content[0]
		default:
			return n
		}
	}
	return nil
}

// field is the value of a key in a mapping, nil if there is none. It follows aliases.
func field(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key && n.Content[i].Kind == yaml.ScalarNode {
			return content(n.Content[i+1])
		}
	}
	return nil
}

// textOf is the text under a key, empty if there is none.
func textOf(n *yaml.Node, key string) string {
	if v := field(n, key); scalarType(v) == isText {
		return v.Value
	}
	return ""
}

// boolOf is the bool under a key, false if there is none.
func boolOf(n *yaml.Node, key string) bool {
	v := field(n, key)
	if scalarType(v) != isBool {
		return false
	}
	return yaml11Bools[v.Value] || strings.EqualFold(v.Value, "true")
}

// listOf are the texts of the list under a key.
func listOf(n *yaml.Node, key string) []string {
	v := field(n, key)
	if v == nil || v.Kind != yaml.SequenceNode {
		return nil
	}
	texts := make([]string, len(v.Content))
	for i, item := range v.Content {
		if item = content(item); scalarType(item) == isText {
			texts[i] = item.Value
		}
	}
	return texts
}

// isNull tells whether a document or value is empty or null.
func isNull(n *yaml.Node) bool {
	n = content(n)
	return n == nil || n.Kind == 0 || scalarType(n) == isNullType
}

// decodeBase64 decodes as encoding/json does, and so as client-go and Stork:
// line ends are skipped, anything else that does not belong is an error.
func decodeBase64(s string) ([]byte, error) { return base64.StdEncoding.DecodeString(s) }

func encodeBase64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// looksEncoded tells whether a text is the base64 of PEM or of a kubeconfig.
func looksEncoded(s string) bool {
	decoded, err := decodeBase64(strings.TrimSpace(s))
	return err == nil && (bytes.HasPrefix(decoded, []byte("-----BEGIN")) || bytes.HasPrefix(decoded, []byte("apiVersion:")))
}

// isRedacted tells whether kubectl has printed this word instead of a secret.
func isRedacted(s string) bool { return s == "REDACTED" || s == "DATA+OMITTED" }
