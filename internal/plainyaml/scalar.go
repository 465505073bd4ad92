package plainyaml

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// IsPlain tells whether a string surely needs no quotes in YAML: it starts
// with a letter or ^, holds only characters that mean nothing to YAML, and is no
// other way to write a boolean or null. Most values are such, and all
// encrypted ones.
func IsPlain(s string) bool {
	if s == "" || !isLetter(s[0]) && s[0] != '^' {
		return false
	}
	if len(s) <= 5 {
		switch strings.ToLower(s) {
		case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
			return false
		}
	}
	for i := range len(s) {
		switch c := s[i]; {
		case isLetter(c), '0' <= c && c <= '9':
		case c == '-', c == '_', c == '.', c == '/', c == '+', c == '=', c == ',', c == '[', c == ']', c == '@':
		case c == '^', c == '(', c == ')', c == '|', c == '$': // as in a regular expression
		case c == ':' && i+1 < len(s): // no space can follow
		default:
			return false
		}
	}
	return true
}

// IsRelease tells three or more numbers with dots between them, such as the version of
// sops, which are no number.
func IsRelease(s string) bool {
	digits, dots := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digits++
		case c == '.' && digits > 0:
			digits, dots = 0, dots+1
		default:
			return false
		}
	}
	return digits > 0 && dots > 1
}

// IsTime tells a time as [time.RFC3339] has it in UTC, which the YAML library quotes.
func IsTime(s string) bool {
	const form = "2006-01-02T15:04:05Z"
	if len(s) != len(form) || s[len(s)-1] != 'Z' {
		return false
	}
	_, err := time.Parse(form, s)
	return err == nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// KeyLess is the order of keys in what kustomize prints: letters after all
// else, and digits by the number they write.
func KeyLess(a, b string) bool {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] && a[i] < utf8.RuneSelf {
		i++
	}
	if i < len(a) && i < len(b) && isLetter(a[i]) && isLetter(b[i]) {
		return a[i] < b[i]
	}
	if i == len(a) || i == len(b) {
		return len(a) < len(b)
	}
	return runesLess([]rune(a), []rune(b))
}

func runesLess(a, b []rune) bool {
	for i := 0; i < len(a) && i < len(b); i++ {
		if a[i] == b[i] {
			continue
		}
		la, lb := unicode.IsLetter(a[i]), unicode.IsLetter(b[i])
		if la && lb {
			return a[i] < b[i]
		}
		if la || lb {
			return lb
		}
		// Leading zeros do not count, unless the number goes on from before.
		var na, nb int64
		if a[i] == '0' || b[i] == '0' {
			for j := i - 1; j >= 0 && unicode.IsDigit(a[j]); j-- {
				if a[j] != '0' {
					na, nb = 1, 1
					break
				}
			}
		}
		ea, eb := i, i
		for ; ea < len(a) && unicode.IsDigit(a[ea]); ea++ {
			na = na*10 + int64(a[ea]-'0')
		}
		for ; eb < len(b) && unicode.IsDigit(b[eb]); eb++ {
			nb = nb*10 + int64(b[eb]-'0')
		}
		if na != nb {
			return na < nb
		}
		if ea != eb {
			return ea < eb
		}
		return a[i] < b[i]
	}
	return len(a) < len(b)
}
