// Package mask shows the documents of a file without their secrets.
//
// [Text] masks one file, [Diffs] shows what changes in several. What is not secret stays
// as it is, and what has changed is seen to have changed. What may be a credential is
// never shown.
package mask

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// Text is a text as it may be shown: each ciphertext, wrapped data key and
// credential in clear gives way to a mark of one line. The mark of what is
// encrypted changes when the ciphertext does. The rest stays as it is, comments
// and layout included. Of a text that is no YAML only private keys and tokens
// are masked, which have a spelling of their own.
//
// Damaged YAML that might hold a credential shows little more than its keys.
func Text(text []byte) []byte {
	if bytes.IndexByte(text, 0) >= 0 {
		return fmt.Appendf(nil, "<no text, %d bytes, %s>\n", len(text), fingerprint(text))
	}
	masked := maskSealed(text)
	if clear, ok := maskClear(masked); ok {
		masked = maskComments(clear)
	} else if !isLikeYAML(masked) {
		masked = text
	} else if suspicious().Match(masked) {
		masked = maskLines(masked)
	}
	return spelled().ReplaceAllFunc(masked, func(value []byte) []byte {
		return []byte(clearMark(false, string(value)))
	})
}

// fingerprint tells values apart. Of a value that could be guessed none must be
// shown: it would confirm the guess.
func fingerprint(value []byte) string {
	sum := sha256.Sum256(value)
	return fmt.Sprintf("%x", sum[:4])
}

var (
	ciphertext = lazy(`ENC\[AES256_GCM,data:([^,\]\s]*),iv:[^,\]\s]*,tag:[^,\]\s]*,type:([a-z]*)\]`)
	keyWrap    = lazy(`(?:\|[-+]?\r?\n\s*)?-----BEGIN (?:AGE ENCRYPTED FILE|PGP MESSAGE)-----[^<]*?-----END (?:AGE ENCRYPTED FILE|PGP MESSAGE)-----`)
	layout     = lazy(`\\n|\s+`)
)

// maskSealed masks what SOPS has encrypted, wherever it stands. How long a
// value is the ciphertext tells everybody.
func maskSealed(text []byte) []byte {
	text = keyWrap().ReplaceAllFunc(text, func(wrapped []byte) []byte {
		_, armour, _ := bytes.Cut(wrapped, []byte("-----BEGIN"))
		return []byte("<wrapped data key " + fingerprint(layout().ReplaceAll(armour, nil)) + ">")
	})
	return ciphertext().ReplaceAllFunc(text, func(sealed []byte) []byte {
		m := ciphertext().FindSubmatch(sealed)
		size := ""
		if data, err := base64.StdEncoding.DecodeString(string(m[1])); err == nil {
			size = fmt.Sprintf("%d bytes, ", len(data))
		}
		return fmt.Appendf(nil, "<encrypted %s, %s%s>", m[2], size, fingerprint(sealed))
	})
}

// aMark is what stands in place of a value. The marks of values that could stand
// in a flow collection without quotes hold no comma.
var aMark = lazy(`^<(encrypted|wrapped data key|in clear)\b[^<>]*>$`)

// anyMark is the mark of a value in clear that could be guessed.
const anyMark = "<in clear>"

// clearMark is the mark of a value in clear. passphrase says that it may be one.
func clearMark(passphrase bool, value string) string {
	if unguessable(passphrase, value) {
		return "<in clear " + fingerprint([]byte(value)) + ">"
	}
	return anyMark
}

var (
	keyMaterial = lazy(`PRIVATE KEY-----[\sA-Za-z0-9+/=]{64}|(?:client-key-data|keyData)"?\s*:\s*"?[A-Za-z0-9+/]{100}|` + jwt)
	longWord    = lazy(`^\s*[A-Za-z0-9+/_.=~-]{32,}\s*$`)
	certificate = lazy(`^\s*(?:-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----\s*)+$`)
)

// unguessable tells whether a value holds a private key or a long token, and so
// at least the 128 bits that nobody tries out, or is nothing but certificates.
func unguessable(passphrase bool, value string) bool {
	if decoded, err := base64.StdEncoding.DecodeString(value); err == nil && utf8.Valid(decoded) {
		value = string(decoded)
	}
	return keyMaterial().MatchString(value) || certificate().MatchString(value) ||
		!passphrase && longWord().MatchString(value)
}

// maskClear masks the credentials in clear of YAML or JSON. It vouches for the
// result: read again, it differs from the text in the masked values alone.
func maskClear(text []byte) ([]byte, bool) {
	docs, err := decodeAll(text)
	if err != nil {
		return nil, false
	}
	found := clearValues{marks: make(map[*yaml.Node]string), seen: make(map[visit]bool), holds: make(map[*yaml.Node]bool)}
	for _, doc := range docs {
		found.visit(doc, keyKind{}, byName)
	}
	if len(found.marks) == 0 {
		return text, true
	}
	masked, ok := replaceScalars(text, found.marks)
	if !ok {
		return nil, false
	}
	again, err := decodeAll(masked)
	if err != nil || len(again) != len(docs) {
		return nil, false
	}
	var before, after []string
	for i := range docs {
		if !sameBut(docs[i], again[i], found.marks) {
			return nil, false
		}
		before, after = comments(docs[i], before), comments(again[i], after)
	}
	// A remainder of a value could have become a comment.
	slices.Sort(before)
	slices.Sort(after)
	return masked, slices.Equal(before, after)
}

func decodeAll(text []byte) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var doc yaml.Node
		if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, &doc)
	}
}

// clearValues collects the scalars that are to be masked. Aliases can repeat a
// value any number of times, under any keys: what can be said of it is found out
// once for each of few kinds of keys.
type clearValues struct {
	marks map[*yaml.Node]string
	seen  map[visit]bool
	holds map[*yaml.Node]bool // whether a value has a credential in it
}

type visit struct {
	node *yaml.Node
	key  keyKind
	how  scrutiny
}

// keyKind is what a key says about the value that stands under it.
type keyKind struct {
	wrapped    bool // a data key, by a key service
	public     bool // no credential, in a kubeconfig
	credential bool
	passphrase bool // it may be one that somebody could guess
	copied     bool // all of an object, as kubectl apply and others keep it
	url        bool // of which user, password and query are credentials
}

func kindOfKey(key string) keyKind {
	return keyKind{
		wrapped: key == "enc", public: kubeField[key], credential: leak.SecretName(key),
		passphrase: strings.Contains(strings.ToLower(key), "pass"), copied: leak.CopiedBy(key) != "",
		url: key == "server" || key == "proxy-url",
	}
}

// scrutiny is what is taken for a credential.
type scrutiny int

const (
	byName     scrutiny = iota // what is named or spelled like one
	kubeFields                 // all but the known fields of kubeconfigs and ClusterPairs
	everything
)

// visit looks at a value and those below it. key is what the key above the value says
// about it; for an item of a list it is what the key above the list says.
func (c *clearValues) visit(n *yaml.Node, key keyKind, how scrutiny) {
	if n.Kind == yaml.MappingNode || n.Kind == yaml.DocumentNode {
		key = keyKind{} // what is in it has keys of its own
	}
	if c.seen[visit{n, key, how}] {
		return
	}
	c.seen[visit{n, key, how}] = true
	switch n.Kind {
	case yaml.AliasNode:
		c.visit(n.Alias, key, how)
	case yaml.ScalarNode:
		c.scalar(n, key, how)
	case yaml.DocumentNode, yaml.SequenceNode:
		for _, element := range n.Content {
			c.visit(element, key, how)
		}
	case yaml.MappingNode:
		if how == byName && kubeconfig.IsKubeconfig(n) {
			how = kubeFields
		}
		kind := ""
		if k := manifest.Field(n, "kind"); k != nil {
			kind = k.Value
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			name, below := n.Content[i].Value, how
			switch {
			case kind == "Secret" && (name == "data" || name == "stringData"):
				below = everything
			case kind == generator.ClusterPairKind && name == "spec":
				below = kubeFields
			case name == "platformOptions" && how == kubeFields:
				below = byName
			}
			c.key(n.Content[i], how)
			c.visit(n.Content[i+1], kindOfKey(name), below)
		}
	}
}

func (c *clearValues) scalar(n *yaml.Node, key keyKind, how scrutiny) {
	if mark, known := c.marks[n]; known && (mark == anyMark || !key.passphrase && !key.wrapped) {
		return
	}
	if strings.TrimSpace(n.Value) == "" || n.Tag == "!!null" || aMark().MatchString(n.Value) {
		return
	}
	switch {
	case key.wrapped:
		c.marks[n] = "<wrapped data key " + fingerprint([]byte(n.Value)) + ">"
	case how == everything,
		how == kubeFields && !key.public,
		how == byName && key.credential && n.Tag != "!!bool",
		key.copied,
		key.url && report.URL(n.Value) != n.Value,
		c.holdsCredential(n):
		c.marks[n] = clearMark(key.passphrase, n.Value)
	}
}

func (c *clearValues) holdsCredential(n *yaml.Node) bool {
	holds, known := c.holds[n]
	if !known {
		holds = holdsCredential(n.Value)
		c.holds[n] = holds
	}
	return holds
}

// key masks a key that is a value in truth, as in {token:abc}.
func (c *clearValues) key(n *yaml.Node, how scrutiny) {
	name, _, colon := strings.Cut(n.Value, ":")
	if n.Kind != yaml.ScalarNode || c.holdsCredential(n) || colon && leak.SecretName(name) || how == everything && !secretKey().MatchString(n.Value) {
		c.visit(n, keyKind{}, everything)
	}
}

// kubeField are the fields of a kubeconfig, a ClusterPair or an exec plugin in which no
// credential stands. args and env of exec are not among them.
var kubeField = func() map[string]bool {
	fields := make(map[string]bool)
	for name := range strings.FieldsSeq(`apiVersion kind name namespace cluster user current-context server proxy-url tls-server-name
		insecure-skip-tls-verify disable-compression LocationOfOrigin mode ip port backuplocation command interactiveMode InteractiveMode
		provideClusterInfo installHint as as-uid as-groups act-as act-as-uid act-as-groups certificate-authority client-certificate
		client-key tokenFile colors`) {
		fields[name] = true
	}
	return fields
}()

const jwt = `\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]*`

var (
	secretKey = lazy(`^[-._a-zA-Z0-9]+$`)
	spelled   = lazy(`-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)|AGE-SECRET-KEY-1[A-Z0-9]+|` + jwt)
	// spelledIn are the spellings of which more than the match is secret.
	spelledIn = lazy(`://[^/\s@:]*:[^/\s@]+@|--?(?:token|password)[= ]\S|(?:client-key-data|client-certificate-data)"?\s*:|(?s:contexts"?\s*:.*users"?\s*:|users"?\s*:.*contexts"?\s*:)`)
)

// holdsCredential tells whether a value is, or has in it, a private key, a
// token, a URL with a password or a whole kubeconfig, in base64 or not.
func holdsCredential(value string) bool {
	if spelled().MatchString(value) || spelledIn().MatchString(value) {
		return true
	}
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
	return err == nil && (spelled().Match(decoded) || spelledIn().Match(decoded))
}

// commented is a line like "# token: abc".
var commented = lazy(`(?m)^(\s*#[#\s-]*([-\w.]+)\s*[:=]\s*)(\S.*)$`)

// maskComments masks what was a credential before somebody commented it out.
func maskComments(text []byte) []byte {
	return commented().ReplaceAllFunc(text, func(line []byte) []byte {
		m := commented().FindSubmatch(line)
		if !leak.SecretName(string(m[2])) || aMark().Match(m[3]) {
			return line
		}
		return append(slices.Clip(m[1]), clearMark(kindOfKey(string(m[2])).passphrase, string(m[3]))...)
	})
}

// replaceScalars writes marks over the scalars of a text.
func replaceScalars(text []byte, marks map[*yaml.Node]string) ([]byte, bool) {
	type span struct {
		start, end int
		mark       string
	}
	spans := make([]span, 0, len(marks))
	first := len(text) - len(bytes.TrimPrefix(text, []byte("\ufeff"))) // the YAML library does not count it
	offsets := manifest.NewOffsets(text[first:])
	inOrder := slices.SortedFunc(maps.Keys(marks), func(a, b *yaml.Node) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
	for _, n := range inOrder {
		mark := marks[n]
		at, ok := offsets.At(n.Line, n.Column)
		if !ok {
			return nil, false
		}
		start, end := scalarSpan(text, first+at, n)
		if end <= start {
			return nil, false
		}
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			mark = string(text[start]) + mark + string(text[start])
		}
		spans = append(spans, span{start, end, mark})
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var out bytes.Buffer
	at := 0
	for _, s := range spans {
		if s.start < at {
			return nil, false
		}
		out.Write(text[at:s.start])
		out.WriteString(s.mark)
		at = s.end
	}
	out.Write(text[at:])
	return out.Bytes(), true
}

// scalarSpan is where the value of a scalar stands that begins at start, maybe
// with a tag or an anchor. It is empty if that cannot be told.
func scalarSpan(text []byte, start int, n *yaml.Node) (int, int) {
	for start < len(text) && (text[start] == '&' || text[start] == '!') {
		for start < len(text) && !isSpace(text[start]) {
			start++
		}
		start = spaceEnd(text, start)
	}
	if start >= len(text) {
		return 0, 0
	}
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return start, doubleQuotedEnd(text, start)
	case n.Style&yaml.SingleQuotedStyle != 0:
		return start, singleQuotedEnd(text, start)
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return start, blockEnd(text, start)
	}
	end, ok := plainEnd(text, start, n.Value)
	if !ok {
		return 0, 0
	}
	return start, end
}

func isSpace(c byte) bool { return strings.IndexByte(" \t\r\n", c) >= 0 }

// spaceEnd is where the white space at a place ends.
func spaceEnd(text []byte, at int) int {
	for at < len(text) && isSpace(text[at]) {
		at++
	}
	return at
}

// doubleQuotedEnd is the end of a scalar whose double quote stands at start.
func doubleQuotedEnd(text []byte, start int) int {
	end := start + 1
	for ; end < len(text) && text[end] != '"'; end++ {
		if text[end] == '\\' {
			end++
		}
	}
	return end + 1
}

// singleQuotedEnd is the end of a scalar whose single quote stands at start: two of them
// stand for one in the text.
func singleQuotedEnd(text []byte, start int) int {
	end := start + 1
	for ; end < len(text); end++ {
		if text[end] == '\'' {
			if end++; end == len(text) || text[end] != '\'' {
				break
			}
		}
	}
	return end
}

// plainEnd is the end of a plain scalar of a value that begins at start. Where it stands
// on several lines, white space is folded.
func plainEnd(text []byte, start int, value string) (end int, ok bool) {
	end = start
	for i := 0; i < len(value); i++ {
		folded := value[i] == ' ' || value[i] == '\n'
		switch {
		case end == len(text), folded && !isSpace(text[end]), !folded && text[end] != value[i]:
			return 0, false
		case !folded:
			end++
			continue
		}
		end = spaceEnd(text, end)
		for i+1 < len(value) && (value[i+1] == ' ' || value[i+1] == '\n') {
			i++
		}
	}
	return end, true
}

// blockEnd is the end of a block scalar whose header stands at start: that of
// its last line that is indented as deep as the first and not blank.
func blockEnd(text []byte, start int) int {
	end, indent := 0, -1
	for at := start; at < len(text); {
		next := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		line := bytes.TrimRight(text[at:next], " \t\r\n")
		depth := len(line) - len(bytes.TrimLeft(line, " "))
		switch {
		case end == 0:
			end = at + len(line)
		case len(line) == 0:
		case indent < 0:
			indent = depth
			end = at + len(line)
		case depth < indent:
			return end
		default:
			end = at + len(line)
		}
		at = next
	}
	return end
}

// sameBut tells whether two documents are the same but for the marks.
func sameBut(before, after *yaml.Node, marks map[*yaml.Node]string) bool {
	if mark, masked := marks[before]; masked {
		return after.Kind == yaml.ScalarNode && after.Value == mark && before.Anchor == after.Anchor
	}
	if before.Kind != after.Kind || before.Value != after.Value || before.Tag != after.Tag || before.Anchor != after.Anchor || len(before.Content) != len(after.Content) {
		return false
	}
	for i := range before.Content {
		if !sameBut(before.Content[i], after.Content[i], marks) {
			return false
		}
	}
	return true
}

func comments(n *yaml.Node, found []string) []string {
	for _, comment := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		if comment != "" {
			found = append(found, comment)
		}
	}
	for _, child := range n.Content {
		found = comments(child, found)
	}
	return found
}

var (
	// suspicious is a text that may hold a credential.
	suspicious = lazy(`<(encrypted|wrapped data key)|\bENC\[|kind"?\s*:\s*["']?(Secret|Config|ClusterPair)\b|client-(key|certificate)-data|certificate-authority-data|stringData|(?i)(token|password|passphrase)"?\s*:`)
	keyedLine  = lazy(`^(\s*(?:- +)*(?:["']?([-\w./]+)["']?\s*:)?)(?:\s+(.*))?$`)
	bareLine   = lazy(`^\s*([-{}\[\],]+|\.\.\.)?\s*$|^(<<<<<<<|=======|>>>>>>>|\|\|\|\|\|\|\|)( |$)`)
	objectHead = lazy(`^\s*(---\s+)?(#.*\n\s*)*[{\s]*["']?(kind|apiVersion)["']?\s*:\s`)
	yamlLine   = lazy(`^\s*(["']?[-\w./]+["']?\s*:(\s|$)|- |[A-Za-z0-9+/=]{40,}$|[{[<])`)
)

// isLikeYAML tells whether most of the lines of a text are like those of YAML
// or JSON, so that it is a damaged file and no prose about one. A text that begins
// as an object does is no prose, whatever follows.
func isLikeYAML(text []byte) bool {
	if objectHead().Match(text) {
		return true
	}
	like := 0
	for line := range bytes.Lines(text) {
		switch line = bytes.TrimSpace(line); {
		case len(line) == 0 || line[0] == '#':
		case yamlLine().Match(line):
			like++
		default:
			like--
		}
	}
	return like >= 0
}

// maskLines shows of a text that cannot be read the keys, the marks, and the
// values of fields that hold no credential.
func maskLines(text []byte) []byte {
	var out bytes.Buffer
	block, data := -1, -1 // how deep the block scalar and the data of a Secret stand that the line is in
	for line := range bytes.Lines(text) {
		content := bytes.TrimRight(line, "\r\n")
		depth := len(content) - len(bytes.TrimLeft(content, " "))
		m := keyedLine().FindSubmatch(content)
		switch {
		case bareLine().Match(content):
			out.Write(line)
			continue
		case m == nil || block >= 0 && depth > block:
			out.WriteString("<not shown>\n")
			continue
		}
		block = -1
		if depth <= data {
			data = -1
		}
		key, value := string(m[2]), bytes.Trim(m[3], "\"', {}[]")
		switch {
		case key == "data" || key == "stringData":
			data = depth
		case len(value) > 0 && strings.IndexByte("|>", value[0]) >= 0:
			block = depth
		}
		if len(value) == 0 || aMark().Match(value) || data < 0 && isPublic(key) && !holdsCredential(string(value)) {
			out.Write(line)
		} else {
			fmt.Fprintf(&out, "%s <not shown>\n", m[1])
		}
	}
	return out.Bytes()
}

// isPublic tells whether no credential stands under a key.
func isPublic(key string) bool {
	switch key {
	case "recipient", "fp", "arn", "resource_id", "vault_address", "created_at",
		"encrypted_regex", "lastmodified", "mac_only_encrypted", "version":
		return true
	}
	return kubeField[key] || strings.HasPrefix(key, "clusterpair.dev/")
}

// lazy compiles an expression when it is first used: a run that masks nothing is
// to start without that millisecond.
func lazy(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
