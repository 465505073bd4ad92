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

// handmade are matchers for the expressions of the longest values and of the
// most. Package regexp takes 100 times as long for a certificate.
var handmade = map[string]func(string) bool{
	base64Expr: isBase64,
	looseExpr:  isLoose,
	boxExpr:    isBox,
	spacedExpr: isSpaced,
	`^$`:       func(s string) bool { return s == "" },
	`^ENC\[`:   func(s string) bool { return strings.HasPrefix(s, "ENC[") },
	`,type:(bool|bytes|comment|float|int|time)\]$`: func(s string) bool {
		i := strings.LastIndexByte(s, ',')
		return i >= 0 && s[i:] != ",type:str]" && isBoxType(s[i:])
	},
}

// base64Expr is the expression of #Data.
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

// looseExpr is the expression of #Canonical.
const looseExpr = "[\r\n]|[^AQgw]==$|[^AEIMQUYcgkosw048=]=$"

// isLoose tells whether looseExpr matches s.
func isLoose(s string) bool {
	if strings.ContainsAny(s, "\r\n") {
		return true
	}
	if before, ok := strings.CutSuffix(s, "=="); ok {
		return before != "" && !strings.ContainsRune("AQgw", rune(before[len(before)-1]))
	}
	before, ok := strings.CutSuffix(s, "=")
	return ok && before != "" && !strings.ContainsRune("AEIMQUYcgkosw048", rune(before[len(before)-1]))
}

// spacedExpr is the expression of #Filled for white space.
const spacedExpr = `\S[\x00-\x20\x7f]|[\x00-\x20\x7f]\S`

// isSpaced tells whether spacedExpr matches s.
func isSpaced(s string) bool {
	control := func(c byte) bool { return c <= ' ' || c == 0x7f }
	solid := func(c byte) bool { return !strings.ContainsRune("\t\n\f\r ", rune(c)) }
	for i := 1; i < len(s); i++ {
		if solid(s[i-1]) && control(s[i]) || control(s[i-1]) && solid(s[i]) {
			return true
		}
	}
	return false
}

// boxExpr is the expression of #Box.
const boxExpr = `^(ENC\[AES256_GCM,data:[A-Za-z0-9+/]+={0,2},iv:[A-Za-z0-9+/]+={0,2},tag:[A-Za-z0-9+/]+={0,2},type:(bool|bytes|comment|float|int|str|time)\])?$`

// isBox tells whether boxExpr matches s.
func isBox(s string) bool {
	if s == "" {
		return true
	}
	for _, label := range []string{"ENC[AES256_GCM,data:", ",iv:", ",tag:"} {
		var found bool
		if s, found = strings.CutPrefix(s, label); !found {
			return false
		}
		n := 0
		for n < len(s) && base64Digits[s[n]] {
			n++
		}
		if s = s[n:]; n == 0 {
			return false
		}
		s = strings.TrimPrefix(strings.TrimPrefix(s, "="), "=")
	}
	return isBoxType(s)
}

// isBoxType tells whether s is the end of a #Box.
func isBoxType(s string) bool {
	switch s {
	case ",type:bool]", ",type:bytes]", ",type:comment]", ",type:float]", ",type:int]", ",type:str]", ",type:time]":
		return true
	}
	return false
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
