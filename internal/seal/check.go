package seal

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// Reason is why an encrypted file is refused.
type Reason int

// The reasons.
const (
	InClear    Reason = iota // a credential is left in clear
	InComment                // one stands in a comment that is left in clear
	Unreadable               // what has to be read of an object is encrypted
	Nothing                  // no value is encrypted
)

// LeftError says what is wrong with an encrypted file.
type LeftError struct {
	Reason Reason
	Kind   Kind     // of the document, or of the item of a List
	Mixed  bool     // not all documents of the file are of one kind
	Path   []string // of the value, from the top of its document; nil in a comment
	What   string   // the credential, as "a private key"; empty if the place alone tells
	Line   int      // in the file in clear; 0 if it is not known
	Column int
}

func (e *LeftError) Error() string {
	where := strings.Join(e.Path, ".")
	switch e.Reason {
	case Unreadable:
		return where + " is encrypted, which nobody could review or find again"
	case Nothing:
		return "no value is encrypted"
	case InComment:
		return e.What + " is left in clear in a comment"
	}
	if e.What != "" {
		return where + " is left in clear: " + e.What
	}
	return where + " is left in clear"
}

// Check judges an encrypted file beside the documents that it was made of. Each
// credential field of a Secret, a ClusterPair or a kubeconfig must be a
// ciphertext, at any depth; no value, key or comment may hold what package leak
// takes for a credential; and the identity of an object must be in clear. text
// is the file in clear, for the lines of comments; it may be nil. The error is a
// [LeftError].
func Check(sealed []byte, plain []*yaml.Node, text []byte) error {
	c := checker{}
	kinds := make(map[Kind]bool)
	for _, doc := range objects(plain) {
		kinds[KindOf(doc)] = true
	}
	at := 0
	var broken error
	manifest.Scan(sealed, "the encrypted file", func(d manifest.Document, bad *report.Finding) {
		switch {
		case bad != nil:
			broken = *bad
		case at < len(plain):
			c.document(plain[at], d, text)
			at++
		}
	})
	switch {
	case broken != nil:
		return broken
	case c.left != nil:
		c.left.Mixed = len(kinds) > 1
		return c.left
	case c.sealed == 0 && c.values > 0 && !hasPlace(plain):
		return &LeftError{Reason: Nothing, Kind: KindOf(plain[0]), Mixed: len(kinds) > 1, Line: plain[0].Line, Column: plain[0].Column}
	}
	return nil
}

// checkTree is [Check] of one document that need not be read from its file.
func checkTree(sealed, plain *yaml.Node) error {
	c := checker{}
	c.document(plain, manifest.Document{Node: sealed, Line: 1}, nil)
	if c.left != nil {
		return c.left
	}
	return nil
}

// hasPlace tells whether there is a Secret or a ClusterPair with a place for
// credentials, which may be empty.
func hasPlace(docs []*yaml.Node) bool {
	return slices.ContainsFunc(objects(docs), func(doc *yaml.Node) bool {
		kind := KindOf(doc)
		return kind == Pair || kind == Secret && (manifest.Index(doc, "data") >= 0 || manifest.Index(doc, "stringData") >= 0)
	})
}

// checker judges the documents of a file.
type checker struct {
	left           *LeftError // the first one; a value in clear counts before one that should be in clear and is not
	kind           Kind       // of the document, or of the item of a List
	path           []string
	values, sealed int // scalars that SOPS could encrypt, and those that it has
}

func (c *checker) add(e LeftError) {
	if c.left == nil || c.left.Reason == Unreadable && e.Reason != Unreadable {
		e.Kind = c.kind
		e.Path = slices.Clone(e.Path)
		c.left = &e
	}
}

func (c *checker) document(plain *yaml.Node, d manifest.Document, text []byte) {
	c.kind, c.path = KindOf(plain), nil
	c.visit(plain, d.Node, demand{})
	c.comments(d, text)
	leak.Comments(d.Text, d.Line, func(l leak.Leak) {
		c.add(LeftError{Reason: InComment, What: l.What, Line: lineOf(text, lineAt(d.Text, l.Line-d.Line))})
	})
	leak.Document(d.Node, d.Text, d.Line, func(l leak.Leak) {
		e := LeftError{Path: l.Path, What: l.What}
		if l.Path == nil {
			e.Reason, e.What = InComment, l.What
			e.Line = lineOf(text, lineAt(d.Text, l.Line-d.Line))
		} else if n := follow(plain, l.Path); n != nil {
			e.Line, e.Column = n.Line, n.Column
		}
		c.add(e)
	})
	c.copies(plain, d, text)
}

// demand is what must be true of the values below a place.
type demand struct {
	ciphertext bool // each is to be one
	readable   bool // none is to be one
	spec       bool // they are the fields of a ClusterPair's spec
	options    bool // they are its storage options
	users      bool // they are the users of a kubeconfig, as a list or by name
	user       bool // they are the fields of one
}

// visit compares a value with what has become of it.
func (c *checker) visit(plain, sealed *yaml.Node, must demand) {
	if sealed == nil {
		return // a List whose items are others, or what the caller has got wrong: package leak looks at all that there is
	}
	switch plain.Kind {
	case yaml.ScalarNode:
		if plain.Value == "" || plain.ShortTag() == "!!null" {
			return // SOPS never encrypts these
		}
		c.values++
		isSealed := strings.HasPrefix(sealed.Value, "ENC[") && sealed.Kind == yaml.ScalarNode && sealed.Value != plain.Value
		if isSealed {
			c.sealed++
		}
		switch {
		case must.ciphertext && !isSealed:
			c.add(LeftError{Path: c.path, Line: plain.Line, Column: plain.Column})
		case must.readable && isSealed:
			c.add(LeftError{Reason: Unreadable, Path: c.path, Line: plain.Line, Column: plain.Column})
		}
	case yaml.SequenceNode:
		items := withoutComments(sealed)
		for i, item := range plain.Content {
			if i < len(items) {
				c.below(strconv.Itoa(i), item, items[i], must)
			}
		}
	case yaml.MappingNode:
		c.mapping(plain, sealed, must)
	}
}

func (c *checker) below(key string, plain, sealed *yaml.Node, must demand) {
	c.path = append(c.path, key)
	c.visit(plain, sealed, must)
	c.path = c.path[:len(c.path)-1]
}

func (c *checker) mapping(plain, sealed *yaml.Node, must demand) {
	m := demanding{demand: must, kind: KindOf(plain)}
	top := len(c.path) == 0 || len(c.path) == 2 && c.path[0] == "items" // an item of a List
	if top {
		c.kind = m.kind
	}
	m.identity = top && (IsList(plain) || m.kind == Pair || m.kind == Secret || m.kind == Object)
	m.hasUsers = manifest.Index(plain, "clusters") >= 0 || manifest.Index(plain, "contexts") >= 0 || manifest.Index(plain, "current-context") >= 0
	members := make(map[string]*yaml.Node, len(sealed.Content)/2)
	for i := 0; i+1 < len(sealed.Content); i += 2 {
		members[sealed.Content[i].Value] = sealed.Content[i+1]
	}
	for i := 0; i+1 < len(plain.Content); i += 2 {
		key, value := plain.Content[i].Value, plain.Content[i+1]
		below := m.of(key, value)
		below.ciphertext = below.ciphertext || must.ciphertext
		below.readable = below.readable || must.readable
		c.below(key, value, members[key], below)
	}
}

// demanding is a mapping, and what decides on the demands on its values.
type demanding struct {
	demand
	kind     Kind
	identity bool // its name has to stay readable
	hasUsers bool // users in it are those of a kubeconfig
}

// of is the demand on the value of a key, besides those on all of the mapping.
func (m *demanding) of(key string, value *yaml.Node) demand {
	switch {
	case m.holdsCredential(key):
		return demand{ciphertext: true}
	case m.kind == Pair && key == "spec":
		return demand{spec: true}
	case inClearByName(key) && value.Kind == yaml.ScalarNode && value.ShortTag() == "!!str":
		return demand{ciphertext: true}
	case m.spec && key == "options":
		return demand{options: true}
	case key == "users" && m.hasUsers:
		return demand{users: true}
	case m.users && (key == "user" || value.Kind == yaml.MappingNode):
		return demand{user: true}
	case m.user && (key == "client-key-data" || key == "token" || key == "password"):
		return demand{ciphertext: true}
	case m.identity && isIdentity(key):
		return demand{readable: true}
	}
	return demand{}
}

// holdsCredential tells the keys whose values are credentials, by where they stand.
func (m *demanding) holdsCredential(key string) bool {
	return m.kind == Secret && (key == "data" || key == "stringData") || m.spec && key == "config" || m.options && key == "token"
}

// inClearByName tells whether a field holds a credential and has a name that makes SOPS
// leave it in clear. Package leak does not know such names.
func inClearByName(key string) bool {
	name, ok := strings.CutSuffix(strings.ToLower(key), "_unencrypted")
	return ok && leak.SecretName(name)
}

// withoutComments are the items of a list but for comments: SOPS writes an encrypted
// comment in a list as an item.
func withoutComments(n *yaml.Node) []*yaml.Node {
	return slices.DeleteFunc(slices.Clone(n.Content), func(item *yaml.Node) bool {
		return item.Kind == yaml.ScalarNode && strings.HasPrefix(item.Value, "ENC[") && strings.HasSuffix(item.Value, ",type:comment]")
	})
}

// follow is the value at a path, nil if there is none.
func follow(n *yaml.Node, path []string) *yaml.Node {
	for _, key := range path {
		switch {
		case n.Kind == yaml.SequenceNode:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(n.Content) {
				return nil
			}
			n = n.Content[i]
		default:
			at := manifest.Index(n, key)
			if at < 0 {
				return nil
			}
			n = n.Content[at+1]
		}
	}
	return n
}

// field is a field that was commented out, with a value of one word.
var field = pattern.Later(`(?:^|\s)#[#\s-]*["']?([-\w.]+)["']?\s*[:=]\s*["']?([^\s"'<$\{(][^\s"']{5,})["']?\s*$`)

// comments looks for fields with credentials that were commented out. Their values need not look
// like credentials.
func (c *checker) comments(d manifest.Document, text []byte) {
	for line := range bytes.Lines(d.Text) {
		at := bytes.IndexByte(line, '#')
		if at < 0 {
			continue
		}
		if m := field().FindSubmatch(line[max(0, at-1):]); m != nil && leak.SecretName(string(m[1])) && !bytes.HasPrefix(m[2], []byte("ENC[")) {
			c.add(LeftError{Reason: InComment, What: string(m[1]), Line: lineOf(text, line)})
		}
	}
}

// copies looks for values that are encrypted in one place and stand in clear in
// another. Nothing else need be known of such a value.
func (c *checker) copies(plain *yaml.Node, d manifest.Document, text []byte) {
	secrets := make(map[string]bool)
	collect(plain, "", secrets)
	if len(secrets) == 0 {
		return
	}
	holds := func(value string) bool {
		for secret := range secrets {
			if strings.Contains(value, secret) {
				return true
			}
		}
		return false
	}
	var walk func(n *yaml.Node, path []string)
	walk = func(n *yaml.Node, path []string) {
		switch {
		case n.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				if key := n.Content[i].Value; len(path) > 0 || key != "sops" {
					walk(n.Content[i+1], append(path[:len(path):len(path)], key))
				}
			}
		case n.Kind == yaml.SequenceNode:
			for i, item := range n.Content {
				walk(item, append(path[:len(path):len(path)], strconv.Itoa(i)))
			}
		case len(n.Value) >= shortest && !strings.HasPrefix(n.Value, "ENC[") && holds(n.Value):
			e := LeftError{Path: path, What: "a copy of what is encrypted elsewhere"}
			if leak.SecretName(path[len(path)-1]) {
				e.What = "a credential, by its name"
			}
			if at := follow(plain, path); at != nil {
				e.Line, e.Column = at.Line, at.Column
			}
			c.add(e)
		}
	}
	walk(d.Node, nil)
	for line := range bytes.Lines(d.Text) {
		if at := bytes.IndexByte(line, '#'); at >= 0 && !bytes.Contains(line, []byte("ENC[")) && holds(string(line[at:])) {
			c.add(LeftError{Reason: InComment, What: "a copy of what is encrypted", Line: lineOf(text, line)})
		}
	}
}

const (
	shortest = 12 // bytes of a credential whose copies are looked for
	most     = 64 // credentials whose copies are looked for
)

// fieldInText is a field with a credential in a text, such as the kubeconfig in a Secret.
var fieldInText = pattern.Later(`(?:client-key-data|token|password)["']?\s*:\s*["']?([^\s"',}{<$][^\s"',}]{11,})`)

// collect takes the credentials of a document by the names of their fields, those
// in texts and in base64, too.
func collect(n *yaml.Node, key string, secrets map[string]bool) {
	for i, child := range n.Content {
		switch {
		case n.Kind != yaml.MappingNode:
			collect(child, key, secrets)
		case i%2 == 1:
			collect(child, n.Content[i-1].Value, secrets)
		}
	}
	if n.Kind != yaml.ScalarNode || len(n.Value) < shortest || len(secrets) >= most {
		return
	}
	values := [2]string{n.Value}
	if decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(n.Value)); err == nil {
		values[1] = string(decoded)
	}
	for _, value := range values {
		if len(value) >= shortest && !strings.ContainsAny(value, " \n") && !isReference(value) && leak.SecretName(key) {
			secrets[value] = true
		}
		if holdsField(value) {
			for _, m := range fieldInText().FindAllStringSubmatch(value, 4) {
				secrets[m[1]] = true
			}
		}
	}
}

// holdsField tells whether fieldInText can match a text at all, which costs less to ask.
func holdsField(text string) bool {
	return strings.Contains(text, ":") && (strings.Contains(text, "client-key-data") || strings.Contains(text, "token") || strings.Contains(text, "password"))
}

// isReference tells what names a value that stands elsewhere.
func isReference(value string) bool {
	return strings.IndexByte("$<{", value[0]) >= 0 || strings.Contains(value, "://")
}

// lineAt is a line of a text, counted from 0.
func lineAt(text []byte, number int) []byte {
	for line := range bytes.Lines(text) {
		if number == 0 {
			return line
		}
		number--
	}
	return nil
}

// lineOf is the number of the first line of a text that holds the comment of
// another line, 0 if there is none.
func lineOf(text, line []byte) int {
	_, comment, found := bytes.Cut(line, []byte("#"))
	if comment = bytes.TrimSpace(comment); !found || len(comment) == 0 {
		return 0
	}
	number := 0
	for l := range bytes.Lines(text) {
		number++
		if at := bytes.IndexByte(l, '#'); at >= 0 && bytes.Contains(l[at:], comment) {
			return number
		}
	}
	return 0
}
