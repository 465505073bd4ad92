// Package leak finds credentials of clusters that stand in clear in a text.
//
// [Document] looks into a document of YAML or JSON, [Text] into any other text. No
// [Leak] holds the credential.
//
// Two kinds are found. Some credentials have a spelling of their own: private
// keys, JSON Web Tokens, age identities, tokens of EKS, OpenShift and Rancher.
// Those are found wherever they stand. Others, such as a password or an opaque
// token, could be any text. Those are found by what they stand in: a user of a
// kubeconfig, a value of a Secret, a field named token.
//
// Texts inside a document are looked into as well: base64, YAML and JSON, one in
// the other up to [maxDepth] times. The time is linear in the size of the
// document. Values that SOPS has encrypted, references to a value that stands
// elsewhere, placeholders and templates are no credentials.
package leak

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"io"
	"net/url"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/plainyaml"
)

// maxDepth is how many texts are opened one inside the other, such as the YAML
// in the base64 in the JSON of an annotation.
const maxDepth = 6

// maxNodes bounds the values visited in one document, so that no text makes the
// search endless.
const maxNodes = 2_000_000

// LastApplied is the annotation in which kubectl apply keeps a copy of the whole
// object. https://kubernetes.io/docs/reference/labels-annotations-taints/
const LastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// CopiedBy names the tool that keeps a copy of the whole object in an annotation. It
// is empty if none does in that one.
func CopiedBy(annotation string) string {
	switch annotation {
	case LastApplied:
		return "kubectl apply"
	case "objectset.rio.cattle.io/applied": // base64 of gzip
		return "Rancher"
	case "banzaicloud.com/last-applied": // base64 of zip
		return "an operator of Banzai Cloud"
	case "kapp.k14s.io/original":
		return "kapp"
	case "kopf.zalando.org/last-handled-configuration":
		return "kopf"
	}
	return ""
}

// Leak is a credential in clear. It never holds any part of it.
type Leak struct {
	// Line and Column are where it stands, from 1. Within a text that is part of
	// a document it is the line of the credential if that can be told, else that
	// of the text. Column is 0 if it is not known; so is Line in an object that
	// stands in no file.
	Line, Column int
	// Path is the way of keys and indexes to the value of the document that
	// holds it, in a comment of its text, too. It is nil in a text and in a comment
	// that is part of no value. A key that is a credential itself is shown as "…".
	Path []string
	// What names it, as "a private key" or "token of a kubeconfig".
	What string
	// In names the larger thing that it is part of: "a kubeconfig", "a
	// ClusterPair", "a credential of Argo CD". It is empty if there is none.
	In string
	// Secret says that Path leads to a value of a Secret, below its data or
	// stringData.
	Secret bool
}

// Document finds the credentials in a value, which may be a whole document or
// an object in it: in all keys and values. text is the document as it stands in
// its file, from the line that is numbered first; it helps to tell lines, and may
// be nil. At each place one credential is found at most.
func Document(n *yaml.Node, text []byte, first int, found func(Leak)) {
	f := &finder{found: found, text: text, first: first, nodes: maxNodes, unzipped: new(int), cursor: cursor{line: first, column: 1}}
	f.visit(n, "", plain)
}

// Comments finds the credentials in the comments of a document, whose first line
// has the number first.
func Comments(text []byte, first int, found func(Leak)) {
	if bytes.IndexByte(text, '#') >= 0 {
		f := &finder{found: found, first: first, nodes: maxNodes, unzipped: new(int)}
		f.comments(string(text))
	}
}

// Text finds the credentials in what is no document, such as a script or a page.
// first is the number of its first line. A binary text has none.
func Text(text []byte, first int, found func(Leak)) {
	if len(text) < shortest || bytes.IndexByte(text, 0) >= 0 {
		return
	}
	f := &finder{found: found, first: first, nodes: maxNodes, unzipped: new(int)}
	f.scan(string(text))
}

// finder is one search.
type finder struct {
	found func(Leak)
	text  []byte // of the document, may be nil
	first int    // the number of its first line
	path  []string
	nodes int // that may still be visited

	// outer is the value of the document whose text is being looked into; nil at
	// the document itself. depth is how many texts are open.
	outer    *yaml.Node
	depth    int
	unzipped *int // bytes so far, of all that was compressed
	// coded says that the text is encoded, so that no part of it stands in the file.
	coded  bool
	cursor cursor     // where the last credential within a value was found
	within *yaml.Node // that value
	lost   int        // searches in text without success

	secret bool // outer, or the value at hand, is one of a Secret
	last   Leak // the one found before
}

// context says what the values of a mapping are.
type context int

const (
	plain      context = iota
	users              // users of a kubeconfig, as a list or by name
	user               // one of them
	spec               // of a ClusterPair
	config             // its kubeconfig
	options            // its options, for the storage
	secret             // stringData of a Secret, or a literal for one
	encoded            // data of a Secret
	provider           // config of auth-provider
	plugin             // exec of a user, and what stands in it
	argoPlugin         // the same of Argo CD
	sealed             // encrypted by something else than SOPS
)

// visit looks into a value. key is that of the mapping it stands in, if any.
func (f *finder) visit(n *yaml.Node, key string, in context) {
	if n == nil || f.nodes == 0 {
		return
	}
	f.nodes--
	switch n.Kind {
	case yaml.DocumentNode:
		for _, child := range n.Content {
			f.visit(child, key, in)
		}
	case yaml.SequenceNode:
		f.sequence(n, key, in)
	case yaml.MappingNode:
		f.mapping(n, in)
	case yaml.ScalarNode:
		f.scalar(n, key, in, false)
	} // an alias stands for what is visited at its anchor
}

func (f *finder) sequence(n *yaml.Node, key string, in context) {
	for i, item := range n.Content {
		f.enter(strconv.Itoa(i))
		switch {
		case in == users && item.Kind == yaml.MappingNode:
			f.mapping(item, plain) // it has its name and user
		case in == plugin || in == argoPlugin:
			f.argument(n, i, in)
		case item.Kind != yaml.ScalarNode:
			f.visit(item, key, plain)
		case key == "literals" && strings.Contains(item.Value, "="): // of secretGenerator
			name, value, _ := strings.Cut(item.Value, "=")
			part := *item
			part.Value = strings.Trim(value, `"'`)
			f.scalar(&part, name, secretOf(in), false)
		case i > 0 && strings.HasPrefix(n.Content[i-1].Value, "--"): // a flag and its value
			f.scalar(item, strings.TrimLeft(n.Content[i-1].Value, "-"), plain, false)
		default:
			f.scalar(item, "", plain, false)
		}
		f.leave()
	}
}

// argument looks at one of the arguments or variables of an exec plugin: NAME=VALUE,
// --flag=VALUE, VALUE behind a flag, or a name beside a value.
func (f *finder) argument(list *yaml.Node, i int, in context) {
	item := list.Content[i]
	if item.Kind != yaml.ScalarNode {
		f.visit(item, "", in)
		return
	}
	if name, value, ok := strings.Cut(item.Value, "="); ok && isName(name) && !strings.Contains(value, " ") {
		part := *item
		part.Value = strings.Trim(value, `"'`)
		f.scalar(&part, strings.TrimLeft(name, "-"), in, false)
		return
	}
	flag := ""
	if i > 0 && list.Content[i-1].Kind == yaml.ScalarNode && strings.HasPrefix(list.Content[i-1].Value, "-") && !strings.HasPrefix(item.Value, "-") {
		flag = strings.TrimLeft(list.Content[i-1].Value, "-")
	}
	f.scalar(item, flag, in, false)
}

func secretOf(in context) context {
	if in == secret {
		return secret
	}
	return plain
}

// mapping looks into a mapping.
func (f *finder) mapping(n *yaml.Node, in context) {
	m := shapeOf(n)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name := key.Value
		f.enterKey(key)
		below := m.below(name, value, in)
		if name == "value" && m.name != "" && value.Kind == yaml.ScalarNode && (in == plain || in == plugin || in == argoPlugin) { // as in env
			name = m.name
		}
		f.member(value, name, in, below, m.username)
		f.leave()
	}
}

// member looks into a value of a mapping, which is below what in says of the mapping.
func (f *finder) member(value *yaml.Node, name string, in, below context, withUser bool) {
	switch {
	case value.Kind == yaml.ScalarNode:
		f.nodes = max(0, f.nodes-1)
		f.scalar(value, name, below, withUser)
	case value.Kind != yaml.SequenceNode:
		f.visit(value, name, below)
	case below == users || below == plugin || below == argoPlugin:
		f.visit(value, name, below)
	case in == secret && name == "literals":
		f.visit(value, name, secret)
	case in == plain && below == secret:
		for i, item := range value.Content {
			f.enter(strconv.Itoa(i))
			f.visit(item, "", secret)
			f.leave()
		}
	default:
		f.visit(value, name, plain)
	}
}

// below says what a value of a mapping is, which in says of the mapping.
func (m *shape) below(name string, value *yaml.Node, in context) context {
	switch {
	case in == users:
		return user
	case in == plugin || in == argoPlugin:
		return in
	case in == user && name == "exec":
		return plugin
	case name == "execProviderConfig":
		return argoPlugin
	case in == user && name == "auth-provider", in == provider && name == "config":
		return provider
	case in == spec && name == "config":
		return config
	case name == "options" && (in == spec || m.pairSpec):
		return options
	case name == "spec" && m.pair:
		return spec
	case in.flat():
		if value.Kind == yaml.ScalarNode {
			return in
		}
		return plain
	}
	return m.begins(name, value, in)
}

// flat tells whether the values of a mapping are scalars, each of which is what the
// mapping is. Anything else in it is of no account.
func (in context) flat() bool {
	switch in {
	case user, options, secret, encoded, provider:
		return true
	}
	return false
}

// begins says what begins with a value of a mapping whose keys tell what it is.
func (m *shape) begins(name string, value *yaml.Node, in context) context {
	switch {
	case name == "users" && (in == config || m.kubeconfig):
		return users
	case name == "user" && m.named && value.Kind == yaml.MappingNode:
		return user
	case name == "stringData" && value.Kind == yaml.MappingNode:
		return secret
	case name == "data" && m.secret:
		return encoded
	case name == "secretGenerator":
		return secret
	case in == sealed || strings.HasPrefix(name, "encrypted") && value.Kind == yaml.MappingNode: // as of a SealedSecret
		return sealed
	}
	return plain
}

// shape is what the keys of a mapping tell.
type shape struct {
	kubeconfig bool   // users beside clusters, contexts or current-context
	pairSpec   bool   // config beside options
	pair       bool   // kind ClusterPair
	secret     bool   // kind Secret
	named      bool   // it has a name
	name       string // of a name beside a value
	username   bool   // somebody's password may be here
}

func shapeOf(n *yaml.Node) shape {
	var m shape
	var hasUsers, hasConfig, hasOptions, hasValue bool
	marks := 0
	for i := 0; i+1 < len(n.Content); i += 2 {
		value := n.Content[i+1]
		switch n.Content[i].Value {
		case "users":
			hasUsers = true
		case "clusters", "contexts", "current-context":
			marks++
		case "kind":
			m.secret = m.secret || value.Value == "Secret"
			m.pair = m.pair || value.Value == "ClusterPair"
			if value.Value == "Config" {
				marks++
			}
		case "config":
			hasConfig = value.Kind == yaml.MappingNode
		case "options":
			hasOptions = value.Kind == yaml.MappingNode
		case "name":
			m.named, m.name = true, value.Value
		case "value":
			hasValue = true
		default:
			m.username = m.username || value.Kind == yaml.ScalarNode && value.Value != "" && isUsername(n.Content[i].Value)
		}
	}
	m.kubeconfig = hasUsers && marks > 0
	m.pairSpec = hasConfig && hasOptions
	if !hasValue {
		m.name = ""
	}
	return m
}

// isUsername tells whether the name of a user stands under a key.
func isUsername(key string) bool {
	switch key {
	case "user", "login", "USER", "adminUser":
		return true
	}
	key = strings.ToLower(key)
	return strings.HasSuffix(key, "username") || strings.HasSuffix(key, "_user")
}

func (f *finder) enter(name string) {
	if f.outer == nil {
		f.path = append(f.path, name)
	}
}

func (f *finder) leave() {
	if f.outer == nil {
		f.path = f.path[:len(f.path)-1]
	}
}

// enterKey goes below a key, which may be a credential itself, as in
// {token:abc}.
func (f *finder) enterKey(key *yaml.Node) {
	if key.Kind != yaml.ScalarNode {
		f.enter("…")
		f.visit(key, "", plain)
		return
	}
	name := key.Value
	if len(name) >= shortest && !isName(name) || strings.IndexByte(name, ':') > 0 || strings.IndexByte(name, '=') > 0 || len(name) > 63 || strings.Contains(name, spelledInKeys) {
		f.enter("…")
		f.scalar(key, "", plain, false)
		return
	}
	f.enter(name)
}

const spelledInKeys = "~"

// HasUserinfo tells whether a text has a URL with user:password, of whatever
// strength. It is quick, for those who look for texts that are worth more.
func HasUserinfo(text []byte) bool {
	for {
		i := bytes.Index(text, []byte("://"))
		if i < 0 {
			return false
		}
		text = text[i+len("://"):]
		end := bytes.IndexAny(text[:min(len(text), 512)], "/@ \t\n\"'")
		if end > 0 && text[end] == '@' && bytes.IndexByte(text[:end], ':') > 0 {
			return true
		}
	}
}

// hasPassword tells whether a URL has user:password, of whatever strength, that is no
// reference and was not made up.
func hasPassword(value string) bool {
	u, err := url.Parse(strings.TrimSpace(value))
	if err != nil || u.User == nil {
		return false
	}
	password, set := u.User.Password()
	lower := strings.ToLower(password)
	return set && isSet(password, false) && !isFake(password) && !strings.HasPrefix(lower, "pass") && lower != "secret"
}

// isName tells whether a key has the letters of a name alone.
func isName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '/':
		default:
			return false
		}
	}
	return true
}

// scalar looks at a value. withUser says that a user's name stands beside it.
func (f *finder) scalar(n *yaml.Node, key string, in context, withUser bool) {
	value := n.Value
	if value == "" || n.Tag == "!!null" || strings.HasPrefix(value, "ENC[") {
		return
	}
	if f.outer == nil {
		f.secret = in == encoded || in == secret
	}
	if in == encoded {
		if decoded, ok := f.decode(value); ok {
			defer f.close(f.open(n))
			f.coded = true
			f.judge(n, decoded, key, secret, false)
			return
		}
		in = secret
	}
	f.judge(n, value, key, in, withUser)
}

// judge decides on a value by where it stands and, if that tells nothing, by
// what it is.
func (f *finder) judge(n *yaml.Node, value, key string, in context, withUser bool) {
	class := classOf(key)
	what, part, told := byPlace(value, key, class, in)
	if !told {
		what, part = byName(value, key, class, withUser)
	}
	if what != "" {
		f.report(n, value, what, part)
		return
	}
	f.content(n, value, key)
}

// byPlace is what a value is by where it stands, and what that is a part of. told says
// that nothing else need be asked, though it may be no credential.
func byPlace(value, key string, class class, in context) (what, part string, told bool) {
	switch {
	case in == sealed: // no name tells that it is in clear
		return "", "", true
	case isUserSecret(key, class, in):
		if isSet(value, in == user && key == "password") && !isPublished(value) && (class != classKey || isKeyData(value)) {
			what, part = key+" of a kubeconfig", "a kubeconfig"
		}
		return what, part, true
	case key == "proxy-url" && hasPassword(value):
		return "a password in the proxy-url of a kubeconfig", "a kubeconfig", true
	case in == options && class == classToken:
		if isSet(value, false) {
			what, part = "the storage token of a ClusterPair", "a ClusterPair"
		}
		return what, part, true
	case in == secret && class != classNone && class != classBearer:
		if isSet(value, true) && !isHash(value) && !isMadeUp(value) {
			what = "a credential"
		}
		return what, "", true
	}
	what, part = ofPlugin(value, key, in)
	return what, part, what != ""
}

// ofPlugin is what a value is in what a program is started with that logs in.
func ofPlugin(value, key string, in context) (what, part string) {
	switch {
	case in != plugin && in != argoPlugin || !isSecretFor(key, value):
		return "", ""
	case in == plugin:
		return "a secret in exec of a kubeconfig", "a kubeconfig"
	}
	return "a secret in execProviderConfig of Argo CD", "a credential of Argo CD"
}

// isUserSecret tells whether a user of a kubeconfig, or its auth provider, has a
// credential under a key.
func isUserSecret(key string, class class, in context) bool {
	switch in {
	case user:
		return key == "token" || key == "password" || key == "client-key-data"
	case provider:
		return class == classToken || class == classPassword || strings.HasSuffix(key, "secret")
	}
	return false
}

// byName is what a value is by the name of its key and by its look.
func byName(value, key string, class class, withUser bool) (what, part string) {
	if class != classNone && isMadeUp(value) {
		return "", ""
	}
	switch class {
	case classKey:
		switch {
		case !isKeyData(value):
			return "", ""
		case key == "keyData":
			return "keyData of Argo CD", "a credential of Argo CD"
		}
		return key + " of a kubeconfig", "a kubeconfig"
	case classBearer:
		return bearer(value, key)
	case classToken:
		if isToken(value) {
			return "a token", ""
		}
	case classSecret:
		if isSecret(value) {
			return "a secret", ""
		}
	case classPassword:
		if isOpaque(value) || withUser && isPassword(value) {
			return "a password", ""
		}
	}
	return "", ""
}

// bearer is what a bearer token is.
func bearer(value, key string) (what, part string) {
	switch {
	case !isSet(value, false) || !isToken(value) && (len(value) < 24 || isWordy(value)):
		return "", ""
	case key == "bearerToken":
		return key + " of Argo CD", "a credential of Argo CD"
	}
	return "a token", ""
}

// content looks into the text of a value.
func (f *finder) content(n *yaml.Node, value, key string) {
	if f.depth >= maxDepth || isDull(value) {
		return
	}
	defer f.close(f.open(n))
	if CopiedBy(key) != "" {
		f.coded = true // one finding is enough: the annotation has to go
	}
	if decoded, ok := f.decode(value); ok {
		f.coded = true
		f.text1(n, decoded)
		return
	}
	f.text1(n, value)
}

// text1 looks into a text that may be a document.
func (f *finder) text1(n *yaml.Node, text string) {
	if isDocument(text) && mayHold(text) {
		if docs, ok := parse(text); ok {
			for _, doc := range docs {
				f.visit(doc, "", plain)
			}
			f.comments(text)
			return
		}
	}
	f.scan(text)
}

// inside is what a finder looks into.
type inside struct {
	outer *yaml.Node
	depth int
	coded bool
}

// open begins to look into the text of a value. What it returns is for close.
func (f *finder) open(n *yaml.Node) inside {
	before := inside{f.outer, f.depth, f.coded}
	f.depth++
	if f.outer == nil {
		f.outer = n
	}
	return before
}

func (f *finder) close(before inside) {
	f.outer, f.depth, f.coded = before.outer, before.depth, before.coded
}

// isDull tells at a glance whether no credential can be told in a value by
// itself: it is short, a name or number in small letters, or a data key that is
// wrapped. All that is random or encoded has capitals.
func isDull(value string) bool {
	if len(value) < shortest {
		return true
	}
	if value[0] == '-' && (strings.HasPrefix(value, "-----BEGIN AGE ENCRYPTED FILE-----") || strings.HasPrefix(value, "-----BEGIN PGP MESSAGE-----")) {
		return strings.Count(value, "-----BEGIN ") == 1 && !strings.ContainsAny(value, ":.~_{\"")
	}
	colon := false
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '/', c == ',', c == '(', c == ')', c == '|', c == '^', c == '$':
		case c == ':':
			colon = true
		default:
			return false
		}
	}
	return !colon || !strings.HasPrefix(value, "kubeconfig-u") && !strings.HasPrefix(value, "token-")
}

// maxUnzipped is how much is decompressed in one search.
const maxUnzipped = 8 << 20

// decode decodes base64, and what is compressed with gzip in it, as Rancher and Helm
// write it, or with zip, as operators do.
func (f *finder) decode(value string) (string, bool) {
	if decoded, ok := decode(value); ok {
		return decoded, true
	}
	compact := strings.TrimSpace(value)
	zipped := strings.HasPrefix(compact, "UEsDB")
	if !zipped && !strings.HasPrefix(compact, "H4sI") {
		return "", false
	}
	compact = strings.TrimRight(strings.Join(strings.Fields(compact), ""), "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(compact, "-_") {
		encoding = base64.RawURLEncoding
	}
	var r io.Reader
	var err error
	if zipped {
		r, err = firstOf(encoding.DecodeString(compact))
	} else {
		r, err = gzip.NewReader(base64.NewDecoder(encoding, strings.NewReader(compact)))
	}
	if err != nil {
		return "", false
	}
	data, _ := io.ReadAll(io.LimitReader(r, int64(maxUnzipped-*f.unzipped))) // what comes before an error counts
	*f.unzipped += len(data)
	data = cutRune(data)
	return string(data), len(data) > 0 && isText(data)
}

// firstOf opens the first file of a zip archive.
func firstOf(archive []byte, err error) (io.Reader, error) {
	if err != nil {
		return nil, err
	}
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	if len(r.File) == 0 {
		return nil, io.EOF
	}
	return r.File[0].Open()
}

// parse reads the documents of a text.
func parse(text string) ([]*yaml.Node, bool) {
	if doc, ok := plainyaml.ParseBare([]byte(text)); ok {
		return []*yaml.Node{doc}, doc.Content[0].Kind != yaml.ScalarNode
	}
	var docs []*yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		switch err := decoder.Decode(&doc); {
		case err == nil && len(doc.Content) == 1:
			if doc.Content[0].Kind != yaml.ScalarNode {
				docs = append(docs, &doc)
			}
		case err != nil && err.Error() == "EOF":
			return docs, len(docs) > 0
		default:
			return nil, false
		}
	}
}

// isDocument tells whether a text may be a mapping or list of YAML or JSON.
func isDocument(text string) bool {
	trimmed := strings.TrimLeft(text, " \t\r\n\ufeff")
	if trimmed == "" {
		return false
	}
	if trimmed[0] == '{' || trimmed[0] == '[' {
		return true
	}
	return strings.Contains(trimmed, ": ") || strings.Contains(trimmed, ":\n")
}

// mayHold tells whether a text has a word by which a value could be told to be a
// credential. Without one its values can be told by their spelling alone.
func mayHold(text string) bool {
	for _, word := range []string{"oken", "assword", "OKEN", "ASSWORD", "ecret", "ECRET", "exec", "-key-data", "keyData", "users", "stringData", "earer"} {
		if strings.Contains(text, word) {
			return true
		}
	}
	return false
}

// report hands over a credential that stands in value, which is that of n or
// stands in its text.
func (f *finder) report(n *yaml.Node, value, what, part string) {
	l := Leak{Line: n.Line, Column: n.Column, What: what, In: part}
	if f.outer != nil {
		l.Line, l.Column = f.outer.Line, f.outer.Column
		if line, column, ok := f.locate(value); ok {
			l.Line, l.Column = line, column
		}
	}
	f.hand(l)
}

func (f *finder) hand(l Leak) {
	if l.Line == f.last.Line && l.Column == f.last.Column && (l.Line != 0 || strings.Join(l.Path, ".") == strings.Join(f.last.Path, ".") && f.last.What != "") {
		return
	}
	if f.path != nil {
		l.Path = append([]string(nil), f.path...)
	}
	l.Secret = f.secret && f.path != nil
	f.last = l
	f.found(l)
}

// maxLost is how many searches for a place may fail before all others are found
// at the value itself: each costs the length of the document.
const maxLost = 16

// locate finds the place of a credential within the text of outer.
func (f *finder) locate(value string) (line, column int, ok bool) {
	if f.coded || f.text == nil || f.lost >= maxLost || f.outer.Line < f.first {
		return 0, 0, false
	}
	c := &f.cursor
	if c.line > f.outer.Line && f.within != f.outer {
		return 0, 0, false // values come in the order of their lines, but for aliases
	}
	f.within = f.outer
	for c.line < f.outer.Line {
		i := bytes.IndexByte(f.text[c.at:], '\n')
		if i < 0 {
			f.lost = maxLost
			return 0, 0, false
		}
		c.at, c.line, c.column = c.at+i+1, c.line+1, 1
	}
	needle := value
	if i := strings.IndexByte(needle, '\n'); i >= 0 {
		needle = needle[:i]
	}
	if needle = strings.TrimSpace(needle); len(needle) < 4 {
		f.lost++
		return 0, 0, false
	}
	// With its indentation and escapes the value is longer in the file.
	window := f.text[c.at:min(len(f.text), c.at+4*len(f.outer.Value)+4096)]
	i := bytes.Index(window, []byte(needle))
	if i < 0 {
		f.lost++
		return 0, 0, false
	}
	c.move(string(f.text[c.at : c.at+i]))
	return c.line, c.column, true
}
