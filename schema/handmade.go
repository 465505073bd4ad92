package schema

import (
	"strings"
	"time"
	"unicode/utf8"
)

// handmade are matchers for the expressions of the longest values, of the most, and of
// those that each pair has. Package regexp takes 100 times as long for a certificate, and
// to compile what a run on one pair needs takes a twentieth of it.
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
	`,type:str\]$`: func(s string) bool { return strings.HasSuffix(s, ",type:str]") },

	`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`:                                   isLabel,
	`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`: isSubdomain,
	keyExpr:  isKey,
	timeExpr: isTime,
	`^` + dayExpr + `$`: func(s string) bool {
		_, err := time.Parse(time.DateOnly, s)
		return err == nil
	},
	`:|_unencrypted$`: func(s string) bool { return strings.Contains(s, ":") || strings.HasSuffix(s, "_unencrypted") },
	`^[^/]{254}`: func(s string) bool {
		before, _, _ := strings.Cut(s, "/")
		return utf8.RuneCountInString(before) >= 254
	},
	`-[2456789bcdfghkmt]{10}$`: func(s string) bool {
		hash := len(s) - 10
		return hash > 0 && s[hash-1] == '-' && strings.Trim(s[hash:], "2456789bcdfghkmt") == ""
	},
}

// isLabel tells whether s is the name of a namespace, say: letters of the lower case,
// digits and dashes, no dash at an end.
func isLabel(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || i == 0 || i == len(s)-1) {
			return false
		}
	}
	return s != ""
}

// isSubdomain tells whether s is made of labels with dots between them.
func isSubdomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
	}
	return true
}

// keyExpr is the expression of the key of an annotation.
const keyExpr = `^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`

// isKey tells whether keyExpr matches s.
func isKey(s string) bool {
	name := s
	if prefix, after, found := strings.Cut(s, "/"); found {
		if name = after; !isSubdomain(asciiLower(prefix)) {
			return false
		}
	}
	if name == "" || len(name) > 63 || !isAlphanumeric(rune(name[0])) || !isAlphanumeric(rune(name[len(name)-1])) {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return !isAlphanumeric(r) && r != '-' && r != '_' && r != '.' })
}

// asciiLower is s with its letters of ASCII in lower case.
func asciiLower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// dayExpr is the expression of #Day, between its anchors.
const dayExpr = `([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)`

// timeExpr is the expression of #Time.
const timeExpr = `^` + dayExpr + `T([01][0-9]|2[0-3])(:[0-5][0-9]){2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-4]):([0-5][0-9]|60))$`

// isTime tells whether timeExpr matches s.
func isTime(s string) bool {
	const form, zone = "0000-00-00T00:00:00", "00:00"
	like := func(s, form string) bool { // where form has a digit, there is one
		for i := range len(form) {
			if digit := '0' <= s[i] && s[i] <= '9'; form[i] == '0' && !digit || form[i] != '0' && s[i] != form[i] {
				return false
			}
		}
		return true
	}
	if len(s) < len(form) || !like(s, form) {
		return false
	}
	rest := s[len(form):]
	if fraction, found := strings.CutPrefix(rest, "."); found {
		rest = strings.TrimLeft(fraction, "0123456789")
		if len(rest) == len(fraction) {
			return false
		}
	}
	if rest != "Z" && (len(rest) != 1+len(zone) || rest[0] != '+' && rest[0] != '-' || !like(rest[1:], zone)) {
		return false
	}
	_, err := time.Parse(time.RFC3339, s) // takes other forms too
	return err == nil
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
