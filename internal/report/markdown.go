package report

import (
	"fmt"
	"strings"
)

// Markdown escapes what has a meaning in Markdown, within a line: a mention and an address
// would be links.
func Markdown(s string) string {
	s = Printable(s)
	if !strings.ContainsAny(s, "\\`*_{}[]<>&#+!|~@$") && !strings.Contains(s, "://") && !strings.Contains(s, "www.") {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '@' || r == ':' && strings.HasPrefix(s[i:], "://") || r == '.' && strings.HasSuffix(s[:i], "www"):
			fmt.Fprintf(&b, "&#%d;", r)
			continue
		case strings.ContainsRune("\\`*_{}[]<>&#+!|~$", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
