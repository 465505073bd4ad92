package pattern

import (
	"fmt"
	"regexp"
	"strings"
)

// Glob tells whether a pattern of Argo CD takes in a file: * and ? take slashes, too, and
// braces hold alternatives. A broken pattern takes in nothing.
// https://argo-cd.readthedocs.io/en/stable/user-guide/directory/#includingexcluding-files
// https://github.com/gobwas/glob/blob/v0.2.3/syntax/lexer/lexer.go
func Glob(pattern, name string) bool {
	var b strings.Builder
	depth := 0
	for rest := []rune(pattern); len(rest) > 0; {
		r, read := rest[0], 1
		switch {
		case r == '*':
			b.WriteString(".*")
		case r == '?':
			b.WriteString(".")
		case r == '{':
			depth++
			b.WriteString("(?:")
		case r == '}' && depth > 0:
			depth--
			b.WriteString(")")
		case r == ',' && depth > 0:
			b.WriteString("|")
		case r == '[':
			var class string
			if class, read = globClass(rest); read == 0 {
				return false
			}
			b.WriteString(class)
		case r == '\\' && len(rest) > 1:
			b.WriteString(regexp.QuoteMeta(string(rest[1])))
			read = 2
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
		rest = rest[read:]
	}
	re, err := regexp.Compile("^(?:" + b.String() + ")$")
	return depth == 0 && err == nil && re.MatchString(name)
}

// globClass is the class of characters at the beginning of a pattern as one of a regular
// expression, and how long it is there: a single range, or characters of which none is one;
// ! in front turns it round. A broken one has no length.
func globClass(pattern []rune) (class string, length int) {
	i := 1
	class = "["
	if i < len(pattern) && pattern[i] == '!' {
		class += "^"
		i++
	}
	if i+1 < len(pattern) && pattern[i+1] == '-' {
		if i+3 >= len(pattern) || pattern[i+3] != ']' || pattern[i+2] < pattern[i] {
			return "", 0
		}
		return class + fmt.Sprintf(`\x{%x}-\x{%x}]`, pattern[i], pattern[i+2]), i + 4
	}
	first := i
	for ; i < len(pattern) && pattern[i] != ']'; i++ {
		if pattern[i] == '\\' && i+1 < len(pattern) {
			i++
		}
		class += fmt.Sprintf(`\x{%x}`, pattern[i])
	}
	if i == first || i == len(pattern) {
		return "", 0
	}
	return class + "]", i + 1
}
