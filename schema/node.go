package schema

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// node says what a value may be.
type node struct {
	// kinds are those that the value may be of, null being one.
	kinds kinds
	// wrongKind is the text for a value of another kind; empty: value-type.
	wrongKind string
	// fail is the text for any value where none is accepted, and for an
	// integer that is not between min and max. There are no bounds if max is 0.
	fail     string
	min, max int64
	// checks must all hold for a string.
	checks []check
	// items is what the items of a list may be; nil: anything.
	items    *node
	minItems int
	// variants are what a mapping may be.
	variants []variant
}

// check is a condition on a string, and the text if it does not hold. One of
// the fields before fail is set.
type check struct {
	match, differ *regex
	oneOf         []string
	maxRunes      int
	fail          string
}

// variant is one form of a mapping.
type variant struct {
	// when are the fields of which one tells that this form is meant. The
	// last variant of a node has none.
	when []string
	// key is the text for a key that is not accepted; empty: unknown-field.
	key string
	// open accepts all keys.
	open     bool
	fields   []field // sorted by name
	patterns []pattern
}

// field is a field by name.
type field struct {
	name             string
	required         bool
	missing, warning string // texts; missing may be empty: required-field
	node             *node
}

// pattern is what stands under all keys for which the checks hold.
type pattern struct {
	checks []check
	node   *node
}

// anything accepts all values, and judges their form as YAML only.
var anything = node{kinds: ^kinds(0), variants: []variant{{open: true}}}

// variant is the form that a mapping is meant to have. The plan's compiler
// makes sure that one form holds if and only if this one does.
func (p *node) variant(n *yaml.Node) *variant {
	for i := range p.variants[:len(p.variants)-1] {
		for j := 0; j < len(n.Content); j += 2 {
			if slices.Contains(p.variants[i].when, n.Content[j].Value) {
				return &p.variants[i]
			}
		}
	}
	return &p.variants[len(p.variants)-1]
}

// field is the index of a field, -1 if there is none.
func (v *variant) field(name string) int {
	for i := range v.fields {
		if v.fields[i].name == name {
			return i
		}
	}
	return -1
}

func (p *pattern) accepts(key string) bool {
	for i := range p.checks {
		if !p.checks[i].accepts(key) {
			return false
		}
	}
	return true
}

func (c *check) accepts(s string) bool {
	switch {
	case c.match != nil:
		return c.match.matches(s)
	case c.differ != nil:
		return !c.differ.matches(s)
	case c.maxRunes != 0:
		return utf8.RuneCountInString(s) <= c.maxRunes
	default:
		return slices.Contains(c.oneOf, s)
	}
}

// regex is a regular expression that is compiled when it is first needed: a
// run on one pair needs few of them.
type regex struct {
	expr     string
	once     sync.Once
	compiled *regexp.Regexp
}

func (r *regex) matches(s string) bool {
	if r.expr == base64Expr {
		return isBase64(s)
	}
	r.once.Do(func() { r.compiled = regexp.MustCompile(r.expr) })
	return r.compiled.MatchString(s)
}

// base64Expr is the expression of #Data. Certificates are by far the longest
// values of a document, and package regexp takes 100 times as long as isBase64.
const base64Expr = "^[\r\n]*(([A-Za-z0-9+/][\r\n]*){4})*(([A-Za-z0-9+/][\r\n]*){2}(=[\r\n]*){2}|([A-Za-z0-9+/][\r\n]*){3}=[\r\n]*)?$"

// isBase64 tells whether base64Expr matches s.
func isBase64(s string) bool {
	digits, padding := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case base64Digits[c]:
			if padding > 0 {
				return false
			}
			digits++
		case c == '=':
			padding++
		case c != '\r' && c != '\n':
			return false
		}
	}
	return padding <= 2 && (digits+padding)%4 == 0 && (padding == 0 || digits%4 >= 2)
}

var base64Digits = func() (t [256]bool) {
	for c := range t {
		t[c] = isAlphanumeric(rune(c)) || c == '+' || c == '/'
	}
	return t
}()

// kinds is a set of the kinds of YAML values.
type kinds uint8

const (
	aNull kinds = 1 << iota
	aBool
	anInt
	aFloat
	aString
	aList
	aMapping
	other // a tag of its own, which JSON cannot say
)

// String names the kinds for a reader, null aside: it can be left out.
func (k kinds) String() string {
	if k == aNull {
		return "null"
	}
	var names []string
	for i, name := range []string{"a bool", "an integer", "a number", "a string", "a list", "a mapping", "a value with a tag of its own"} {
		if k&(aBool<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}

// kindOf is the kind of a value as sigs.k8s.io/yaml sees it.
func kindOf(n *yaml.Node) kinds {
	switch tag := n.ShortTag(); tag {
	case "!!map":
		return aMapping
	case "!!seq":
		return aList
	case "!!null":
		return aNull
	case "!!bool":
		return aBool
	case "!!int":
		return anInt
	case "!!float":
		return aFloat
	case "!!str", "!!timestamp", "!!merge":
		// A node without a line was built, not read, and is quoted when it is
		// written.
		if tag == "!!str" && n.Style == 0 && n.Line > 0 && isBool11(n.Value) {
			return aBool
		}
		return aString
	default:
		return other
	}
}

// isBool11 tells whether YAML 1.1 reads s as a bool and YAML 1.2 as a string.
// https://yaml.org/type/bool.html
func isBool11(s string) bool {
	if len(s) > 3 {
		return false
	}
	switch s {
	case "y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF":
		return true
	}
	return false
}
