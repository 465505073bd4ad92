package leak

import (
	"encoding/base64"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// place is a part of a text that is a credential.
type place struct {
	start, end int
	what, in   string
}

// scan finds the credentials in a text that is no document.
func (f *finder) scan(text string) {
	if len(text) < shortest {
		return
	}
	places := f.spelled(text)
	if mayAssign(text) {
		places = assigned(text, places)
	}
	places = f.blocks(text, places)
	f.hide(text, places)
}

// hide hands over what has been found in a text, and what is found in the
// base64 in it, in the order of the text.
func (f *finder) hide(text string, places []place) {
	slices.SortStableFunc(places, func(a, b place) int { return a.start - b.start })
	c := cursor{line: f.first, column: 1}
	end := 0
	for _, p := range places {
		if p.start < end {
			continue // it is part of the one before
		}
		end = p.end
		if f.outer != nil {
			f.report(f.outer, text[p.start:p.end], p.what, p.in)
			continue
		}
		c.move(text[c.at:p.start])
		f.hand(Leak{Line: c.line, Column: c.column, What: p.what, In: p.in})
	}
}

// cursor is a place in a text, which moves forward only, so that it costs no
// more than the length of the text.
type cursor struct{ at, line, column int }

// move goes over what comes next.
func (c *cursor) move(over string) {
	c.at += len(over)
	if i := strings.LastIndexByte(over, '\n'); i >= 0 {
		c.line += strings.Count(over, "\n")
		c.column, over = 1, over[i+1:]
	}
	c.column += utf8.RuneCountInString(over)
}

// comments finds the credentials in the comments of a document.
func (f *finder) comments(text string) {
	if strings.IndexByte(text, '#') < 0 {
		return
	}
	// All that is no comment is blanked, so that a key in a comment of many
	// lines is found whole.
	var b strings.Builder
	some := false
	for line := range strings.Lines(text) {
		i := commentStart(line)
		if i < 0 {
			if strings.HasSuffix(line, "\n") {
				b.WriteByte('\n')
			}
			continue
		}
		some = true
		for range utf8.RuneCountInString(line[:i]) {
			b.WriteByte(' ')
		}
		b.WriteString(line[i:])
	}
	if some {
		f.scan(b.String())
	}
}

// commentStart is where the comment of a line starts, -1 if it has none. A # in
// a quoted text is taken for one, too: what it hides is found there as well.
func commentStart(line string) int {
	for i := 0; i < len(line); i++ {
		j := strings.IndexByte(line[i:], '#')
		if j < 0 {
			return -1
		}
		i += j
		if i == 0 || line[i-1] == ' ' || line[i-1] == '\t' {
			return i
		}
	}
	return -1
}

// spelled finds what has a spelling of its own.
func (f *finder) spelled(text string) []place {
	var places []place
	for _, s := range spellings {
		each(text, s.word, func(i int) int {
			start, end, next := s.find(text, i, len(s.word))
			if start >= 0 {
				places = append(places, place{start, end, s.what, ""})
			}
			return next
		})
	}
	return f.blobs(text, places)
}

// spellings are the credentials that have a spelling of their own: what each is, a word
// that stands in it or before it, and a function that looks around such a word of a
// length at i. It tells where the credential begins and ends, and where to look on. If
// there is none it begins at none.
var spellings = []struct {
	what, word string
	find       func(text string, i, length int) (start, end, next int)
}{
	{"a token", "eyJ", findJWT},
	{"a private key", "PRIVATE KEY", findPrivateKey},
	{"an age identity", "AGE-SECRET-KEY-", findAgeIdentity},
	{"a token", "k8s-aws-v1.", findLongToken},
	{"a token", "sha256~", findLongToken},
	{"a token", "ya29.", findToken},
	{"a token", "kubeconfig-u", findRancherToken},
	{"a token", "token-", findRancherToken},
	{"a password in a URL", "://", findUserinfo},
	{"a token", "earer ", findBearer},
	{"a password", "asic ", findBasic},
	{"a password", "-u", findUser},
	{"a password", "--user", findUser},
	{"a password", "-a", findUser},
	{"a password", "--auth", findUser},
}

const none = -1

func findJWT(text string, i, length int) (start, end, next int) {
	if end := jwt(text, i); end > 0 {
		return i, end, end
	}
	return none, 0, i + length
}

func findPrivateKey(text string, i, _ int) (start, end, next int) {
	if start, end = privateKey(text, i); start < 0 {
		return none, 0, i + 1
	}
	return start, end, end
}

func findAgeIdentity(text string, i, length int) (start, end, next int) {
	end = i + length
	for end < len(text) && (isAlnum(text[end]) && text[end] < 'a' || text[end] == '-') {
		end++
	}
	key := strings.TrimPrefix(text[i+length:end], "PQ-")
	if len(key) >= 50 && key[0] == '1' && distinct(key) >= 10 {
		return i, end, end
	}
	return none, 0, end
}

func findLongToken(text string, i, length int) (start, end, next int) {
	return findPrefixed(text, i, length, 40)
}

func findToken(text string, i, length int) (start, end, next int) {
	return findPrefixed(text, i, length, 30)
}

// findPrefixed finds a token of a least length behind its prefix.
func findPrefixed(text string, i, length, least int) (start, end, next int) {
	end = wordEnd(text, i+length)
	if value := text[i+length : end]; len(value) >= least && starts(text, i) && !isPlaceholder(value) {
		return i, end, end
	}
	return none, 0, end
}

func findRancherToken(text string, i, _ int) (start, end, next int) {
	name := wordEnd(text, i)
	if starts(text, i) && name < len(text) && text[name] == ':' && name-i < 64 {
		end = wordEnd(text, name+1)
		if end-name-1 >= 50 && !isPlaceholder(text[name+1:end]) {
			return i, end, end
		}
	}
	return none, 0, max(name, i+1)
}

func findUserinfo(text string, i, length int) (start, end, next int) {
	if start, end = userinfo(text, i); start > 0 {
		return start, end, i + length
	}
	return none, 0, i + length
}

// findUser finds NAME:PASSWORD behind a flag of curl or HTTPie.
func findUser(text string, i, length int) (start, end, next int) {
	next = i + length
	if i == 0 || strings.IndexByte(" \t\n\"'[,", text[i-1]) < 0 {
		return none, 0, next
	}
	start = next
	for start < len(text) && start < next+16 && strings.IndexByte(" \t='\",", text[start]) >= 0 {
		start++
	}
	end = start
	for end < len(text) && end-start < 512 && text[end] > ' ' && strings.IndexByte("\"'`<>\\", text[end]) < 0 {
		end++
	}
	name, password, ok := strings.Cut(text[start:end], ":")
	if !ok || name == "" || strings.ContainsAny(name, "${}=/") || !isPassword(password) || isMadeUp(password) {
		return none, 0, next
	}
	if before := strings.ToLower(text[max(0, i-512):i]); !strings.Contains(before, "curl") && !strings.Contains(before, "http") {
		return none, 0, next
	}
	return start, end, end
}

func findBearer(text string, i, length int) (start, end, next int) {
	start = i + length
	for start < len(text) && (text[start] == ' ' || text[start] == '"' || text[start] == '\'') && start < i+12 {
		start++
	}
	end = token68End(text, start)
	if isToken(text[start:end]) {
		return start, end, max(end, i+1)
	}
	return none, 0, max(end, i+1)
}

func findBasic(text string, i, length int) (start, end, next int) {
	start = i + length
	end = token68End(text, start)
	if decoded, ok := decode(text[start:end]); ok && end-start >= 12 {
		if name, password, ok := strings.Cut(decoded, ":"); ok && name != "" && isPassword(password) {
			return start, end, max(end, i+1)
		}
	}
	return none, 0, max(end, i+1)
}

// each calls visit at each occurrence of a word; visit returns from where to go
// on.
func each(text, word string, visit func(i int) int) {
	for from := 0; from < len(text); {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return
		}
		from = max(visit(from+i), from+i+1)
	}
}

func distinct(s string) int {
	var seen [256]bool
	n := 0
	for i := range len(s) {
		if !seen[s[i]] {
			seen[s[i]] = true
			n++
		}
	}
	return n
}

func isWord(c byte) bool { return isAlnum(c) || c == '-' || c == '_' }

func wordEnd(text string, i int) int {
	for i < len(text) && isWord(text[i]) {
		i++
	}
	return i
}

func token68End(text string, i int) int {
	for i < len(text) && (isWord(text[i]) || strings.IndexByte(".~+/=:", text[i]) >= 0) {
		i++
	}
	return i
}

// starts tells whether a word starts at i. In JSON inside of a text the letter
// before it may be that of \n.
func starts(text string, i int) bool {
	if i == 0 || !isWord(text[i-1]) {
		return true
	}
	return i > 1 && text[i-2] == '\\' && strings.IndexByte("nrt", text[i-1]) >= 0
}

// jwt is the end of the JSON Web Token that starts at i, 0 if none does.
// https://www.rfc-editor.org/rfc/rfc7519
func jwt(text string, i int) int {
	if !starts(text, i) {
		return 0
	}
	header := wordEnd(text, i)
	if header == len(text) || text[header] != '.' || header-i > 4096 {
		return 0
	}
	claims := wordEnd(text, header+1)
	if claims == len(text) || text[claims] != '.' || claims-header < 10 {
		return 0
	}
	end := wordEnd(text, claims+1)
	if end-claims-1 < shortest { // nothing signs it
		return 0
	}
	decoded, err := base64.RawURLEncoding.DecodeString(text[i:header])
	if err != nil || !strings.Contains(string(decoded), `"alg"`) {
		return 0
	}
	return end
}

// longestKeyBody is more than the longest private keys have, in whatever form.
const longestKeyBody = 16384

// privateKey is the place of the private key in PEM, in armor or out of it,
// whose label stands at i. What has no key in it is none, such as a line of a
// document that explains the format.
func privateKey(text string, i int) (start, end int) {
	line := max(i-64, 0)
	if j := strings.LastIndexByte(text[line:i], '\n'); j >= 0 {
		line += j + 1
	}
	j := strings.LastIndex(text[line:i], "-----BEGIN ")
	if j < 0 {
		return -1, 0
	}
	start = line + j
	label := text[start+len("-----BEGIN ") : i]
	if strings.Trim(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ") != "" {
		return -1, 0
	}
	end = i + len("PRIVATE KEY")
	if strings.HasPrefix(text[end:], " BLOCK") {
		end += len(" BLOCK")
	}
	if !strings.HasPrefix(text[end:], "-----") {
		return -1, 0
	}
	end += len("-----")
	body := text[end:min(len(text), end+longestKeyBody)]
	if j := strings.Index(body, "-----END"); j >= 0 {
		body = body[:j]
	}
	if !isKey(label, body) {
		return -1, 0
	}
	return start, end + len(body)
}

// userinfo is the place of user:password in the URL whose :// stands at i.
func userinfo(text string, i int) (start, end int) {
	start = i + 3
	end = start
	for end < len(text) && end-start < 512 && text[end] > ' ' && strings.IndexByte(`/?#"'<>\`, text[end]) < 0 && text[end] != '@' {
		end++
	}
	if end == len(text) || text[end] != '@' {
		return 0, 0
	}
	name, password, ok := strings.Cut(text[start:end], ":")
	if !ok || strings.ContainsAny(name, "${}") || !isPassword(password) || isMadeUp(password) {
		return 0, 0
	}
	return start, end
}

// blobs finds the base64 in a text and looks into it.
func (f *finder) blobs(text string, places []place) []place {
	const least = 40
	for i := 0; i < len(text); {
		if !isBlob(text[i]) {
			// A run of the least length has a letter in each such step.
			if i+1 < len(text) && isBlob(text[i+1]) {
				i++
				continue
			}
			i += 2
			continue
		}
		end := i + 1
		for end < len(text) && isBlob(text[end]) {
			end++
		}
		if end-i < least {
			i = end
			continue
		}
		start := i
		i = linesEnd(text, end)
		if f.depth >= maxDepth {
			continue
		}
		decoded, ok := f.decode(strings.TrimRight(text[start:i], "="))
		if !ok || len(decoded) < shortest {
			continue
		}
		if first := f.blob(decoded); first != nil {
			places = append(places, place{start, i, first.What, first.In})
		}
	}
	return places
}

// linesEnd is where base64 ends that goes on from end, if it does, on further lines.
func linesEnd(text string, end int) int {
	for {
		line := end
		for line < len(text) && strings.IndexByte("\n\r \t", text[line]) >= 0 {
			line++
		}
		if line == end || strings.IndexByte(text[end:line], '\n') < 0 {
			return end
		}
		stop := line
		for stop < len(text) && (isBlob(text[stop]) || text[stop] == '=') {
			stop++
		}
		if stop == line || stop < len(text) && strings.IndexByte("\n\r\"'", text[stop]) < 0 {
			return end
		}
		end = stop
	}
}

// blob is the first credential in what was encoded, nil if there is none. What is found
// in it stands where it begins.
func (f *finder) blob(decoded string) *Leak {
	inner := &finder{first: 1, nodes: f.nodes, unzipped: f.unzipped, depth: f.depth + 1, coded: true, outer: &yaml.Node{Line: 1}}
	var first *Leak
	inner.found = func(l Leak) {
		if first == nil {
			first = &l
		}
	}
	inner.open64(decoded)
	f.nodes = inner.nodes
	return first
}

func (f *finder) open64(text string) { f.text1(f.outer, text) }

func isBlob(c byte) bool { return isAlnum(c) || c == '+' || c == '/' || c == '-' || c == '_' }

// mayAssign tells whether a text has a word that gives a value its meaning.
func mayAssign(text string) bool {
	for _, word := range []string{"oken", "assw", "OKEN", "ASSW", "key-data", "keyData", "KEY_DATA", "ecret", "ECRET"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// names are the last words of those whose value may be a credential, in lower case.
var names = []string{"token", "password", "passwd", "client-key-data", "client_key_data", "keydata",
	"secret_access_key", "secret-access-key", "secretaccesskey", "client_secret", "client-secret", "clientsecret"}

// assignment is a name with a value behind it, in any language: token: x,
// "token": "x", TOKEN=x, --token x, token := "x".
type assignment struct {
	key        string
	start, end int  // of the value
	spaced     bool // nothing but blanks stands between the two
	command    bool // that sets a variable stands before them, as ENV of a Dockerfile
}

// nextAssignment is the first one from a place in a line, and where to look for the
// next. The line is gone over once, whatever is in it: a regular expression took its
// time, and the memory for all that it had matched.
func nextAssignment(line string, from int) (a assignment, next int, ok bool) {
	for i := from; i < len(line); i++ {
		end := nameEnd(line, i)
		if end == 0 {
			continue
		}
		at := quoteEnd(line, end)
		a.start = at
		sign := blanksEnd(line, at)
		switch rest := line[sign:]; {
		case strings.HasPrefix(rest, ":="), strings.HasPrefix(rest, "=>"):
			a.start = blanksEnd(line, sign+2)
		case rest != "" && (rest[0] == ':' || rest[0] == '='):
			a.start = blanksEnd(line, sign+1)
		case rest != "" && rest[0] == '>' && isElement(line, i):
			a.start = sign + 1 // <token>x</token>
		case sign > at:
			a.start, a.spaced = sign, at == end
		default:
			i = end - 1
			continue
		}
		quoted := quoteEnd(line, a.start)
		a.spaced = a.spaced && quoted == a.start
		a.start = quoted
		a.end = valueEnd(line, a.start)
		if a.end-a.start < 2 {
			a.spaced, i = false, end-1
			continue
		}
		first := keyStart(line, i)
		a.key = line[first:end]
		a.command = a.spaced && isCommand(line[max(0, first-64):first])
		return a, a.end, true
	}
	return a, len(line), false
}

// valueEnd is where the value that starts at i ends.
func valueEnd(line string, i int) int {
	for i < len(line) && line[i] > ' ' && strings.IndexByte("\"'\\,;{}()<>`", line[i]) < 0 {
		i++
	}
	return i
}

// keyStart is where the key starts whose last word starts at i.
func keyStart(line string, i int) int {
	first := i
	for first > 0 && i-first < longestKey && (isWord(line[first-1]) || line[first-1] == '.') {
		first--
	}
	return first
}

// isCommand tells whether a command that sets a variable to what stands behind its
// name ends a text: ENV of a Dockerfile, setx, setenv, set -gx.
func isCommand(before string) bool {
	words := strings.Fields(before)
	for len(words) > 1 && strings.HasPrefix(words[len(words)-1], "-") {
		words = words[:len(words)-1]
	}
	if len(words) == 0 || !strings.HasSuffix(before, " ") && !strings.HasSuffix(before, "\t") {
		return false
	}
	switch strings.ToLower(words[len(words)-1]) {
	case "env", "set", "setx", "setenv":
		return true
	}
	return false
}

// isElement tells whether the name at i is that of an element of XML.
func isElement(line string, i int) bool {
	for i > 0 && (isWord(line[i-1]) || line[i-1] == '.' || line[i-1] == ':') {
		if i--; line[i] == '<' {
			return true
		}
	}
	return i > 0 && line[i-1] == '<'
}

// nameEnd is where a name that starts at i ends, 0 if none does.
func nameEnd(line string, i int) int {
	switch line[i] | 0x20 {
	case 't', 'p', 'c', 'k', 's': // with which a name begins
	default:
		return 0
	}
	for _, name := range names {
		end := i + len(name)
		if end > len(line) || !strings.EqualFold(line[i:end], name) {
			continue
		}
		for _, suffix := range []string{"_b64", "_base64"} {
			if more := end + len(suffix); more <= len(line) && strings.EqualFold(line[end:more], suffix) {
				return more
			}
		}
		return end
	}
	return 0
}

// quoteEnd is where a quotation mark that starts at i ends, with what escapes it.
func quoteEnd(line string, i int) int {
	end := i
	for end < len(line) && line[end] == '\\' {
		end++
	}
	if end < len(line) && (line[end] == '"' || line[end] == '\'') {
		return end + 1
	}
	return i
}

func blanksEnd(line string, i int) int {
	for i < len(line) && strings.IndexByte(" \t\r\n\f", line[i]) >= 0 {
		i++
	}
	return i
}

var userName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[^a-z])(?:[\w.-]*(?:user(?:_?name)?|login))(?:\\*["'])?(?:\s*(?::=|=>|[:=])\s*|\s+)(?:\\*["'])?[^\s"'\\,;{}]`)
})

// assignedTo is what a value is by the name before it, and what that is a part of. near
// says that it is so only where a user's name stands near.
func assignedTo(key, value string) (what, in string, near bool) {
	if strings.HasPrefix(value, "ENC[") || isMadeUp(value) {
		return "", "", false
	}
	switch classOf(key) {
	case classToken, classBearer:
		if decoded, ok := decode(value); ok && isOpaque(decoded) || isToken(value) {
			return "a token", "", false
		}
	case classSecret:
		if isSecret(value) {
			return "a secret", "", false
		}
	case classKey:
		if isKeyData(value) {
			return "client-key-data of a kubeconfig", "a kubeconfig", false
		}
	case classPassword:
		if opaque := isOpaque(value); opaque || isPassword(value) && strings.ContainsAny(value, "!#$%&*+=?@^~") {
			return "a password", "", !opaque
		}
	}
	return "", "", false
}

// assigned finds the values that the name before them tells to be credentials.
// A password is one only where a user's name stands near.
func assigned(text string, places []place) []place {
	var passwords []place // with the line in what
	var passwordLines, userLines []int
	offset, number := 0, 0
	for line := range strings.Lines(text) {
		start := offset
		offset += len(line)
		number++
		if len(line) < 8 {
			continue
		}
		lower := line
		isUser := containsFold(lower, "user") || containsFold(lower, "login")
		if isUser && userName().MatchString(line) {
			userLines = append(userLines, number)
		}
		if !mayAssign(line) {
			continue
		}
		for a, next, ok := nextAssignment(line, 0); ok; a, next, ok = nextAssignment(line, next) {
			if a.spaced && !strings.HasPrefix(a.key, "--") && !a.command { // no flag and its value
				continue
			}
			value := strings.TrimRight(line[a.start:a.end], ".")
			if strings.HasPrefix(line[a.start+len(value):], "...") {
				continue // the rest was left out
			}
			p := place{start: start + a.start, end: start + a.start + len(value)}
			near := false
			switch p.what, p.in, near = assignedTo(strings.TrimLeft(a.key, "-"), value); {
			case near && !strings.HasPrefix(a.key, "users."): // as kubectl config set takes it
				passwords, passwordLines = append(passwords, p), append(passwordLines, number)
			case p.what != "":
				places = append(places, p)
			}
		}
	}
	for i, p := range passwords {
		j, _ := slices.BinarySearch(userLines, passwordLines[i]-3)
		if j < len(userLines) && userLines[j] <= passwordLines[i]+3 {
			places = append(places, p)
		}
	}
	return places
}

func containsFold(s, word string) bool {
	return strings.Contains(s, word) || strings.Contains(s, strings.ToUpper(word)) || strings.Contains(s, strings.ToUpper(word[:1])+word[1:])
}
