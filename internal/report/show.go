package report

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable makes a text fit for a line of a terminal, of a log and of a CI
// system, whoever wrote it:
//
//   - What does not print is escaped as Go does: control characters, line
//     breaks, zero-width characters, those that turn the direction of writing,
//     and what is not UTF-8.
//   - What CI systems take for a command of theirs is escaped, too: :: at the
//     start (GitHub), and ## anywhere (##[ of GitHub, ##vso[ of Azure Pipelines,
//     ##teamcity[ of TeamCity).
//   - A URL loses its user, password, query and fragment, as in [URL].
//
// All writers take the texts of others through it. A text that is fine already
// comes back as it is, so that it does no harm to do so twice.
func Printable(s string) string {
	if strings.Contains(s, "://") {
		s = hideCredentials(s)
	}
	return escape(s, false)
}

// FileName is a file's name in a text: quoted as Go does, if it is not fit to
// be printed as it is. One that begins with a colon is not: a line number may follow
// it, and GitHub takes a line that begins with :: for a command.
func FileName(name string) string {
	if escape(name, false) == name && !strings.HasPrefix(strings.TrimLeft(name, " "), ":") {
		return name
	}
	return `"` + escape(name, true) + `"`
}

// Lines is a text of several lines, of which each is made fit to be printed.
// Tabs stay.
func Lines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line, ended := strings.CutSuffix(line, "\n")
		for i, cell := range strings.Split(line, "\t") {
			if i > 0 {
				b.WriteByte('\t')
			}
			b.WriteString(Printable(cell))
		}
		if ended {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// escape is what [Printable] says, but for URLs. For a text within quotes it
// escapes quotes and backslashes, too.
func escape(s string, quoted bool) string {
	if plainText(s) && !quoted {
		return s
	}
	var b strings.Builder
	start := true // nothing but spaces so far
	for i := 0; i < len(s); {
		c, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == ':' && start && strings.HasPrefix(s[i+1:], ":"), c == '#' && strings.HasSuffix(s[:i], "#"):
			b.WriteString(`\x` + strconv.FormatInt(int64(c), 16))
		case (c == '"' || c == '\\') && !quoted:
			b.WriteByte(s[i])
		default:
			text := strconv.Quote(s[i : i+size])
			b.WriteString(text[1 : len(text)-1])
		}
		start = start && c == ' '
		i += size
	}
	return b.String()
}

// plainText tells whether there is nothing to escape.
func plainText(s string) bool {
	if strings.HasPrefix(strings.TrimLeft(s, " "), "::") || strings.Contains(s, "##") {
		return false
	}
	for i, c := range s {
		if !strconv.IsPrint(c) || c == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			return false
		}
	}
	return true
}

// JSON is a value in JSON, its parts on lines of their own by an indentation if
// there is one. What does not print is escaped, so that a program reads what
// it was, and a terminal shows it. It ends with a line feed.
func JSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", indent)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return escapeJSON(b.Bytes()), nil
}

// escapeJSON escapes what encoding/json leaves as it is: what does not print, and
// the second # of ##, as in [Printable].
func escapeJSON(text []byte) []byte {
	const hexDigits = "0123456789abcdef"
	var out []byte
	done := 0
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(text[i:])
		}
		if c >= 0x7f && !strconv.IsPrint(c) || c == '#' && i > 0 && text[i-1] == '#' {
			out = append(out, text[done:i]...)
			units := []rune{c}
			if c > 0xffff {
				c -= 0x10000
				units = []rune{0xd800 + c>>10, 0xdc00 + c&0x3ff}
			}
			for _, u := range units {
				out = append(out, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
			}
			done = i + size
		}
		i += size
	}
	if done == 0 {
		return text
	}
	return append(out, text[done:]...)
}

// hidden stands for what is not shown.
const hidden = "…"

// URL is a URL as messages show it: scheme, host, port and path. User, password,
// query and fragment are left out, since each may be a credential, and so may a
// long or strange part of the path, which is shown as "…". It takes any text, and
// shows no more of one that is no URL.
func URL(raw string) string {
	scheme, rest, found := strings.Cut(raw, "://")
	switch {
	case !found:
		scheme, rest = "", raw
	case only(scheme, isSchemeRune):
		scheme += "://"
	default:
		return hidden
	}
	end := strings.IndexAny(rest, `/?#\`)
	if end < 0 {
		end = len(rest)
	}
	authority, path := rest[:end], rest[end:]
	// A password may hold / ? and #. Then what looks like the host is a part of
	// what stands before it.
	if strings.Contains(path, "@") {
		return scheme + hidden
	}
	return scheme + shownHost(authority[strings.LastIndexByte(authority, '@')+1:]) + shownPath(path)
}

// shownHost is the host and port of a URL, as [URL] shows them.
func shownHost(text string) string {
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i:]
	}
	if address, ok := strings.CutPrefix(host, "["); ok {
		if !only(strings.TrimSuffix(address, "]"), func(r rune) bool { return r == ':' || r == '.' || isHex(r) }) {
			host = "[" + hidden + "]"
		}
	} else if !only(host, func(r rune) bool { return isName(r) || r > 0x7f && unicode.IsLetter(r) }) {
		host = hidden
	}
	if len(port) > len(":65535") || !only(strings.TrimPrefix(port, ":"), isDigit) {
		port = ":" + hidden
	}
	return host + port
}

// shownPath is the path of a URL, as [URL] shows it.
func shownPath(path string) string {
	if end := strings.IndexAny(path, "?#"); end >= 0 {
		path = path[:end]
	}
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if !isUUID(part) && (len(part) > 28 || !only(part, isName)) {
			parts[i] = hidden
		}
	}
	return strings.Join(parts, "/")
}

// isUUID tells whether a part of a path is a UUID. Other parts that long may be
// keys.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if dash := i == 8 || i == 13 || i == 18 || i == 23; dash != (r == '-') || !dash && !isHex(r) {
			return false
		}
	}
	return true
}

// only tells whether all characters of a text are of a kind.
func only(s string, is func(rune) bool) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !is(r) }) < 0
}

func isDigit(r rune) bool { return r >= '0' && r <= '9' }
func isHex(r rune) bool   { return isDigit(r) || r >= 'a' && r <= 'f' || r >= 'A' && r <= 'F' }
func isWord(r rune) bool  { return isDigit(r) || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
func isName(r rune) bool  { return isWord(r) || strings.ContainsRune("._~-", r) }

func isSchemeRune(r rune) bool { return isWord(r) || strings.ContainsRune("+.-", r) }

// hideCredentials shows each URL in a text as [URL] does. Errors of libraries
// quote URLs: parse "https://user:password@host", Get "https://host?token=...".
func hideCredentials(s string) string {
	var b strings.Builder
	for {
		at := strings.Index(s, "://")
		if at < 0 {
			b.WriteString(s)
			return b.String()
		}
		begin := at
		for begin > 0 && isSchemeRune(rune(s[begin-1])) {
			begin--
		}
		end := len(s)
		if begin > 0 && s[begin-1] == '"' { // quoted: a password may hold spaces
			for i := at; i < len(s); i++ {
				if s[i] == '"' {
					end = i
					break
				}
				if s[i] == '\\' {
					i++
				}
			}
		} else if i := strings.IndexAny(s[at:], " \t\r\n\"'`<>(){}[],;|"); i >= 0 {
			end = at + i
		}
		for end > at+len("://") && strings.IndexByte(":.", s[end-1]) >= 0 {
			end-- // of the sentence
		}
		url := s[begin:end]
		b.WriteString(s[:begin])
		if strings.ContainsAny(url, "@?#") {
			url = URL(url)
		}
		b.WriteString(url)
		s = s[end:]
	}
}
