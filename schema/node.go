package schema

import (
	"regexp"
	"strings"
	"sync"
)

// node says what a value may be.
type node struct {
	// kinds are those that the value may be of, null being one.
	kinds kinds
	// wrongKind is the text for a value of another kind; empty: value-type.
	wrongKind string
	// fail is the text for any value where none is accepted, for an integer
	// that is not between min and max, and for a list with less than minItems.
	// There are no bounds if max is 0.
	fail     string
	min, max int64
	// form is what a value must look like where none should be at all. Stork may
	// work with a value that should not be there. With one of a wrong type it stops.
	form *node
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
	warning       bool // the value is accepted all the same
}

// variant is one form of a mapping.
type variant struct {
	// when are the fields of which one tells that this form is meant. The
	// last variant of a node has none.
	when []string
	// key is the text for a key that is not accepted; empty: unknown-field.
	key string
	// some are fields of which at least one must be there, and none is the
	// text if none is.
	some []string
	none string
	// others is what a value must look like under a key that is not accepted;
	// nil: anything.
	others *node
	// empty is the text for a field that is not required, and empty.
	empty string
	// open accepts all keys.
	open     bool
	fields   []field // sorted by name
	patterns []pattern
}

// field is a field by name.
type field struct {
	name             string
	doc              string // what the comment says
	required         bool
	missing, warning string // texts; missing may be empty: required-field
	node             *node
}

// pattern is what stands under all keys for which the checks hold.
type pattern struct {
	checks []check
	node   *node
}

// anything accepts all values that JSON has, and judges their form as YAML only.
var anything = node{kinds: ^other, variants: []variant{{open: true}}}

// regex is a regular expression that is compiled when it is first needed: a
// run on one pair needs few of them.
type regex struct {
	expr    string
	once    sync.Once
	matcher func(string) bool
}

func (r *regex) matches(s string) bool {
	r.once.Do(func() {
		if r.matcher = handmade[r.expr]; r.matcher == nil {
			r.matcher = regexp.MustCompile(r.expr).MatchString
		}
	})
	return r.matcher(s)
}

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
	other // a tag of its own, or a number that JSON cannot say
)

// String names the kinds for a reader, null aside: it can be left out.
func (k kinds) String() string {
	if k == aNull {
		return "null"
	}
	var names []string
	for i, name := range []string{"a bool", "an integer", "a number", "a string", "a list", "a mapping", "something that JSON does not have"} {
		if k&(aBool<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, " or ")
}
