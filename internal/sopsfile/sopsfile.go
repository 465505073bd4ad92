// Package sopsfile encrypts a file in the format of SOPS, or decrypts it.
//
// Make a [Safe] with [New], get a [Policy] from [Rules] or [Recipients], and
// call [Safe.Encrypt] and [Safe.Decrypt]. What Encrypt writes, sops 3.13.3
// decrypts with a verified MAC, and the other way round; keys are wrapped by
// the packages of sops itself, for all its key types. The tree walk is not
// that of sops, which spends half its time compiling one regular expression.
//
// Encrypting is idempotent: given the previous file, Encrypt returns its bytes
// when nothing has changed, and else changes as few lines as it can.
//
// No error holds a value of a document, a private key or a data key. Where
// SOPS would guess, this package refuses: duplicate keys in any document,
// merge keys in a document to encrypt, tags that do not fit their value, and
// ciphertexts with something behind them.
package sopsfile

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Safe encrypts and decrypts. It is safe for concurrent use, parses the
// identities at hand once, and keeps nothing of the documents it sees.
type Safe struct {
	ring keyring
	now  func() time.Time
}

// New returns a Safe that stamps files with the time that now tells; nil
// means [time.Now]. It silences the logs of the sops packages.
func New(now func() time.Time) *Safe {
	quiet()
	if now == nil {
		now = time.Now
	}
	return &Safe{now: now}
}

// Ahead is how far the clock of one who encrypts may go before that of others. A
// file of a later date was changed by somebody without a key, or by a clock that
// is wrong: Encrypt dates it anew.
const Ahead = time.Hour

// EncryptOptions are what the caller knows about a document.
type EncryptOptions struct {
	// File names the document in errors.
	File string
	// Sealed says that a value in clear, such as a digest, changes whenever
	// an encrypted one does. Without an age identity at hand Encrypt then
	// takes the previous file for unchanged if its clear values are, and
	// asks no key service.
	Sealed bool
	// Format is how the file is written; the zero Format is YAML.
	Format Format
}

// Change says what Encrypt has done to the previous file.
type Change struct {
	Kind ChangeKind
	// Reason says why in a few words, for people; it is empty for Unchanged
	// and Created.
	Reason string
	// NoKey is set when the file was written anew only because no private key
	// was at hand to compare its values.
	NoKey *NoKeyError
}

// ChangeKind is the kind of a [Change].
type ChangeKind int

// The kinds of changes.
const (
	Unchanged ChangeKind = iota // the bytes of the previous file
	Created                     // there was no previous file
	Updated                     // the data key and what had not changed were kept
	Rekeyed                     // encrypted anew, with a new data key
)

func (k ChangeKind) String() string {
	return [...]string{"unchanged", "created", "updated", "rekeyed"}[k]
}

// Encrypt encrypts the documents of one file as policy says and returns the
// file. The documents must be mappings, which it does not change.
//
// prev is the previous file, or nil. If it holds the same values for the same
// recipients, Encrypt returns prev. Else, if a private key is at hand and no
// recipient was removed, it keeps the data key, the wrapped keys of the
// recipients and the ciphertexts of unchanged values. A prev that is not a
// SOPS file is an error that wraps [ErrNotEncrypted] or is a [MalformedError].
func (s *Safe) Encrypt(ctx context.Context, plain []*yaml.Node, prev []byte, policy *Policy, opts EncryptOptions) ([]byte, Change, error) {
	file := opts.File
	if file == "" {
		file = "document"
	}
	docs, err := plainDocuments(plain, file)
	if err != nil {
		return nil, Change{}, err
	}
	meta, match, err := policy.metadata()
	if err != nil {
		return nil, Change{}, err
	}
	level, err := policy.level(opts.Format)
	if err != nil {
		return nil, Change{}, err
	}
	w := writer{safe: s, docs: docs, meta: meta, match: match, file: file, indent: policy.Indent, format: opts.Format, level: level}
	switch {
	case opts.Format != YAML:
		if len(docs) > 1 {
			return nil, Change{}, &MalformedError{File: file, Line: docs[1].line, Problem: "a JSON file holds one document"}
		}
		docs[0].dropComments()
	case kustomizeStyle(docs, policy.Indent):
		for i := range docs {
			docs[i].sort()
		}
	}
	for i := range docs {
		if err := match.walk(&docs[i], checkPlain(file)); err != nil {
			return nil, Change{}, err
		}
	}
	if prev == nil {
		out, err := w.fresh(ctx)
		return out, Change{Kind: Created}, err
	}
	if opts.Format != YAML && !json.Valid(prev) {
		return w.rekey(ctx, "the previous file is no JSON")
	}
	return w.renew(ctx, prev, opts.Sealed)
}

// plainDocuments are the documents to encrypt, checked for what only a
// decrypted file may hold.
func plainDocuments(plain []*yaml.Node, file string) ([]node, error) {
	if len(plain) == 0 {
		return nil, &MalformedError{File: file, Problem: "there is no document to encrypt"}
	}
	docs := make([]node, len(plain))
	for i, p := range plain {
		if IsEncrypted(p) {
			return nil, &MalformedError{File: file, Line: section(p).Line, Field: sopsKey, Problem: "the document is encrypted already, or uses the key of SOPS for something else"}
		}
		if line := mergeKey(p, 0); line > 0 {
			return nil, &MalformedError{File: file, Line: line, Problem: "a merge key (<<) would become a plain key: write out what it merges"}
		}
		var err error
		if docs[i], err = newTree(p, file); err != nil {
			return nil, err
		}
	}
	return docs, nil
}

// mergeKey returns the line of a merge key below n, or 0. Aliases need no
// look: what they stand for is below n as well.
func mergeKey(n *yaml.Node, depth int) int {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if c.Value == "<<" && c.ShortTag() == "!!merge" {
				return max(c.Line, 1)
			}
			continue
		}
		if c.Kind == yaml.ScalarNode || depth > 1000 {
			continue
		}
		if line := mergeKey(c, depth+1); line > 0 {
			return line
		}
	}
	return 0
}

// checkPlain refuses what would be encrypted twice.
func checkPlain(file string) func(*node, []byte) error {
	return func(n *node, path []byte) error {
		if s, ok := n.value.(string); ok && n.selected && strings.HasPrefix(s, sealPrefix) {
			if _, ok := parseBox(s); ok {
				return &MalformedError{File: file, Line: n.line, Field: field(path), Problem: "the value is encrypted already, but the document has no sops section"}
			}
		}
		return nil
	}
}

// Decrypt decrypts a file with a key that is at hand and verifies its MAC.
// file is for messages. The documents keep the comments, the order of the
// keys, and the positions of the values in data. An error wraps
// [ErrNotEncrypted] or [ErrMAC], or is a [NoKeyError] or [MalformedError].
func (s *Safe) Decrypt(ctx context.Context, data []byte, file string) ([]*yaml.Node, error) {
	f, err := openFile(data, file)
	if err != nil {
		return nil, err
	}
	dataKey, _, err := s.ring.unwrap(ctx, f.meta, false)
	if err != nil {
		return nil, inFile(err, file)
	}
	whole, err := f.decrypt(dataKey)
	if err != nil {
		return nil, err
	}
	if !whole {
		return nil, fmt.Errorf("%s: %w", file, ErrMAC)
	}
	nodes := make([]*yaml.Node, len(f.docs))
	for i := range f.docs {
		m := f.docs[i].yaml()
		nodes[i] = &yaml.Node{Kind: yaml.DocumentNode, Line: m.Line, Column: m.Column, Content: []*yaml.Node{m}}
	}
	return nodes, nil
}

// Opener names the recipients by whose private keys a file can be decrypted here,
// one of each key group that it takes. It decrypts no value, and verifies
// nothing. The errors are those of [Safe.Decrypt].
func (s *Safe) Opener(ctx context.Context, data []byte, file string) ([]string, error) {
	f, err := openFile(data, file)
	if err != nil {
		return nil, err
	}
	_, _, by, err := s.ring.unwrapBy(ctx, f.meta, false)
	if err != nil {
		return nil, inFile(err, file)
	}
	return by, nil
}

// inFile adds the file's name to an error that does not have it.
func inFile(err error, file string) error {
	if e := (*NoKeyError)(nil); errors.As(err, &e) {
		e.File = file
		return e
	}
	return fmt.Errorf("%s: %w", file, err)
}

// encryptedFile is a SOPS file, read but not decrypted.
type encryptedFile struct {
	name  string
	docs  []node
	meta  *metadata
	match *matcher
}

func openFile(data []byte, file string) (*encryptedFile, error) {
	docs, err := readDocuments(data, file)
	if err != nil {
		return nil, err
	}
	meta, err := takeMetadata(docs, file)
	if err != nil {
		return nil, err
	}
	match, err := meta.selector.compiled()
	if err != nil {
		return nil, err
	}
	f := &encryptedFile{name: file, docs: docs, meta: meta, match: match}
	return f, f.walk(func(n *node, _ []byte) error {
		if s, ok := n.value.(string); ok && n.selected {
			n.sealed = s
		}
		return nil
	})
}

func (f *encryptedFile) walk(visit func(*node, []byte) error) error {
	for i := range f.docs {
		if err := f.match.walk(&f.docs[i], visit); err != nil {
			return err
		}
	}
	return nil
}

// decrypt puts the plaintexts in the place of the ciphertexts, and tells
// whether the MAC matches.
func (f *encryptedFile) decrypt(dataKey []byte) (whole bool, err error) {
	s, err := newSealer(dataKey)
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.name, err)
	}
	mac := newMAC(f.meta.macOnly)
	err = f.walk(func(n *node, path []byte) error {
		if n.selected {
			if err := s.openNode(n, path); err != nil {
				malformed := &MalformedError{File: f.name, Line: n.line, Field: field(path), Problem: err.Error()}
				if errors.Is(err, errSealed) && len(f.docs) > 1 {
					malformed.Hint = "a file has one data key: documents that were encrypted one by one stand in a file of their own each"
				}
				return malformed
			}
		}
		if n.kind == comment || f.meta.macOnly && !n.selected {
			return nil
		}
		b, _, err := valueBytes(n.value)
		mac.Write(b)
		return err
	})
	if err != nil {
		return false, err
	}
	box, ok := parseBox(f.meta.mac)
	if !ok {
		return false, nil
	}
	want, err := s.open(box, f.meta.macPath())
	return err == nil && want == macText(mac), nil
}

// openNode decrypts the value of a node.
func (s *sealer) openNode(n *node, path []byte) error {
	text, ok := n.value.(string)
	switch {
	case !ok:
		return errors.New("the value is not encrypted, though the selector of the file says so")
	case text == "":
		return nil
	}
	box, ok := parseBox(text)
	if n.kind == comment {
		// Old versions of sops left comments in clear.
		if v, err := s.open(box, path); ok && err == nil {
			if v, ok := v.(string); ok {
				n.value = v
			}
		}
		return nil
	}
	if !ok {
		return errors.New("the value is not encrypted, though the selector of the file says so")
	}
	v, err := s.open(box, path)
	if err != nil {
		return err
	}
	if box.typ == typeComment {
		if n.key != "" {
			return errors.New("the value is an encrypted comment")
		}
		// sops writes a comment in a list as an item.
		n.kind = comment
	}
	n.value = v
	return nil
}

// macOnlyStart is hashed first if the MAC covers encrypted values only, so
// that it never equals the other one: SHA-256 of "sops".
var macOnlyStart = []byte{
	0x8a, 0x3f, 0xd2, 0xad, 0x54, 0xce, 0x66, 0x52, 0x7b, 0x10, 0x34, 0xf3, 0xd1, 0x47, 0xbe, 0x0b,
	0x0b, 0x97, 0x5b, 0x3b, 0xf4, 0x4f, 0x72, 0xc6, 0xfd, 0xad, 0xec, 0x81, 0x76, 0xf2, 0x7d, 0x69,
}

func newMAC(onlyEncrypted bool) hash.Hash {
	h := sha512.New()
	if onlyEncrypted {
		h.Write(macOnlyStart)
	}
	return h
}

func macText(h hash.Hash) string { return fmt.Sprintf("%X", h.Sum(nil)) }

// field is the path of a value as messages write it.
func field(path []byte) string {
	return strings.ReplaceAll(strings.Trim(string(path), ":"), ":", ".")
}

// writer writes one file.
type writer struct {
	safe   *Safe
	docs   []node
	meta   *metadata // groups without wrapped keys until they are wrapped
	match  *matcher
	file   string
	indent int
	format Format
	level  string // of JSON
}

// fresh encrypts everything with a new data key.
func (w *writer) fresh(ctx context.Context) ([]byte, error) {
	dataKey := newDataKey()
	now := w.safe.now().UTC()
	groups, err := w.safe.ring.wrapAll(ctx, w.meta.groups, w.meta.threshold, dataKey, now)
	if err != nil {
		return nil, inFile(err, w.file)
	}
	w.meta.groups = groups
	return w.write(dataKey, now, nil)
}

// write encrypts the values, taking from kept the ciphertexts it has, and
// writes the file.
func (w *writer) write(dataKey []byte, now time.Time, kept ciphertexts) ([]byte, error) {
	s, err := newSealer(dataKey)
	if err != nil {
		return nil, err
	}
	mac := newMAC(w.meta.macOnly)
	for i := range w.docs {
		err := w.match.walk(&w.docs[i], func(n *node, path []byte) error {
			b, typ, err := valueBytes(n.value)
			if err != nil {
				return &MalformedError{File: w.file, Line: n.line, Field: field(path), Problem: err.Error()}
			}
			if n.kind == comment {
				typ = typeComment
			} else if n.selected || !w.meta.macOnly {
				mac.Write(b)
			}
			if !n.selected || len(b) == 0 {
				return nil
			}
			sealed, ok := kept.take(path, typ, b)
			if !ok {
				sealed = s.seal(b, typ, path)
			}
			if n.kind == comment && w.match.comment != nil && !w.match.encrypts && w.match.comment.MatchString(sealed) {
				return &MalformedError{File: w.file, Line: n.line, Field: field(path), Problem: "unencrypted_comment_regex matches the comment once it is encrypted: make it more exact"}
			}
			n.value = sealed
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	w.meta.modified = now.Truncate(time.Second)
	w.meta.mac = s.seal([]byte(macText(mac)), typeString, w.meta.macPath())
	sorted := w.format == YAML && kustomizeStyle(w.docs, w.indent)
	for i := range w.docs {
		d := &w.docs[i]
		section := w.meta.node()
		at := len(d.children)
		if sorted {
			at, _ = slices.BinarySearchFunc(d.children, sopsKey, func(n node, key string) int {
				if KeyLess(n.key, key) {
					return -1
				}
				return 1
			})
		}
		d.children = slices.Insert(d.children, at, section)
	}
	out, err := w.marshal()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", w.file, err)
	}
	return out, nil
}

func (w *writer) marshal() ([]byte, error) {
	if w.format != YAML {
		return marshalJSON(&w.docs[0], w.level)
	}
	return marshal(w.docs, w.indent)
}

// renew encrypts with regard to the previous file.
func (w *writer) renew(ctx context.Context, prev []byte, sealed bool) ([]byte, Change, error) {
	f, err := openFile(prev, w.file)
	if err != nil {
		return nil, Change{}, err
	}
	reason, rekey := w.compareMetadata(f.meta)
	if rekey {
		return w.rekey(ctx, reason)
	}
	if reason == "" {
		reason = compareClear(w.docs, f.docs)
	}
	dataKey, parts, err := w.safe.ring.unwrap(ctx, f.meta, sealed && reason == "")
	switch {
	case errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return nil, Change{}, inFile(err, w.file)
	case err != nil && reason != "":
		return w.rekey(ctx, reason)
	case err != nil && sealed:
		return prev, Change{}, nil
	case err != nil:
		out, change, failed := w.rekey(ctx, "no private key is at hand to compare it with the previous file")
		errors.As(err, &change.NoKey)
		return out, change, failed
	}
	whole, err := f.decrypt(dataKey)
	switch {
	case err != nil:
		// If a value of the previous file does not decrypt, the plaintext at hand takes
		// its place. Nothing of the damaged file is kept.
		return w.rekey(ctx, "the previous file does not decrypt")
	case !whole && reason == "":
		reason = "the MAC of the previous file does not match"
	case reason == "":
		reason = compareValues(w.docs, f.docs)
	}
	if reason == "" {
		return prev, Change{}, nil
	}
	return w.update(ctx, f, dataKey, parts, reason)
}

// rekey encrypts with a new data key.
func (w *writer) rekey(ctx context.Context, reason string) ([]byte, Change, error) {
	out, err := w.fresh(ctx)
	return out, Change{Kind: Rekeyed, Reason: reason}, err
}

// update encrypts with the data key of the previous file and keeps the ciphertext of
// each value that has not changed. parts are those of the data key, one a key group.
func (w *writer) update(ctx context.Context, f *encryptedFile, dataKey []byte, parts [][]byte, reason string) ([]byte, Change, error) {
	now := w.safe.now().UTC()
	rekey, err := w.keepKeys(ctx, f.meta, parts, now)
	if err != nil {
		return nil, Change{}, inFile(err, w.file)
	}
	if rekey {
		return w.rekey(ctx, reason)
	}
	kept := ciphertexts{}
	if err := f.walk(kept.add); err != nil {
		return nil, Change{}, err
	}
	out, err := w.write(dataKey, now, kept)
	return out, Change{Kind: Updated, Reason: reason}, err
}

// compareMetadata tells how the file is to be encrypted otherwise than
// before, and whether that takes a new data key.
func (w *writer) compareMetadata(old *metadata) (reason string, rekey bool) {
	if old.mac == "" {
		return "the previous file has no MAC", true
	}
	if len(w.meta.groups) != len(old.groups) {
		return "the key groups have changed", true
	}
	if len(old.groups) > 1 && w.meta.threshold != old.threshold {
		return "the Shamir threshold has changed", true
	}
	for i := range old.groups {
		for j := range old.groups[i] {
			if k := &old.groups[i][j]; findKey(w.meta.groups[i], k) == nil {
				return fmt.Sprintf("%s is no recipient any more", k), true
			}
		}
	}
	for i, group := range w.meta.groups {
		for j := range group {
			k := &group[j]
			if !slices.ContainsFunc(old.groups[i], func(o key) bool { return k.is(&o) }) {
				return fmt.Sprintf("%s is a new recipient", k), false
			}
		}
	}
	switch {
	case w.meta.threshold != old.threshold:
		return "the Shamir threshold has changed", false
	case w.meta.selector != old.effectiveSelector():
		return "the selector of what to encrypt has changed", false
	case w.meta.macOnly != old.macOnly:
		return "mac_only_encrypted has changed", false
	case old.modified.After(w.safe.now().Add(Ahead)):
		return "the previous file is dated in the future", false
	}
	return "", false
}

// effectiveSelector is the selector of a file, with the default written out for a file
// that names none.
func (m *metadata) effectiveSelector() Selector {
	if m.selector == (Selector{}) {
		return Selector{UnencryptedSuffix: defaultSuffix}
	}
	return m.selector
}

// findKey returns the key of a policy's group that k, of a file, is.
func findKey(group []key, k *key) *key {
	for i := range group {
		if group[i].is(k) {
			return &group[i]
		}
	}
	return nil
}

// keepKeys takes over the wrapped keys of the old file and wraps the data key
// for new recipients. It reports true when it lacks the part of a group.
func (w *writer) keepKeys(ctx context.Context, old *metadata, parts [][]byte, now time.Time) (rekey bool, err error) {
	groups := make([][]key, len(w.meta.groups))
	for i, group := range w.meta.groups {
		for j := range group {
			k := &group[j]
			if o := slices.IndexFunc(old.groups[i], func(o key) bool { return k.is(&o) }); o >= 0 {
				groups[i] = append(groups[i], old.groups[i][o])
				continue
			}
			if parts[i] == nil {
				return true, nil
			}
			wrapped, err := w.safe.ring.wrap(ctx, k, parts[i], now)
			if err != nil {
				return false, err
			}
			groups[i] = append(groups[i], *wrapped)
		}
	}
	w.meta.groups = groups
	return false, nil
}

// ciphertexts are those of a file by path, type and plaintext. Items of a
// list share their path, so there can be several, which stay in order.
type ciphertexts map[string][]string

func (c ciphertexts) add(n *node, path []byte) error {
	box, ok := parseBox(n.sealed)
	if !n.selected || !ok {
		return nil
	}
	b, _, err := valueBytes(n.value)
	if err != nil {
		return err
	}
	id := ciphertextID(path, box.typ, b)
	c[id] = append(c[id], n.sealed)
	return nil
}

func (c ciphertexts) take(path []byte, typ string, plain []byte) (string, bool) {
	if len(c) == 0 {
		return "", false
	}
	id := ciphertextID(path, typ, plain)
	all := c[id]
	if len(all) == 0 {
		return "", false
	}
	c[id] = all[1:]
	return all[0], true
}

func ciphertextID(path []byte, typ string, plain []byte) string {
	return string(path) + "\x00" + typ + "\x00" + string(plain)
}

// compareClear tells what of the clear part differs, or "" if nothing does:
// the same keys and lists, the same clear values, and in the place of each
// encrypted value a ciphertext of its type and length.
func compareClear(docs, old []node) string {
	return compareDocuments(docs, old, func(n, o *node) bool {
		if n.selected != o.selected {
			return false
		}
		if !n.selected || n.value == nil || n.value == "" {
			return sameValue(n.value, o.value)
		}
		b, typ, err := valueBytes(n.value)
		if n.kind == comment {
			typ = typeComment
		}
		box, ok := parseBox(o.sealed)
		return err == nil && ok && box.typ == typ && box.size() == len(b)
	})
}

// compareValues is compareClear after old was decrypted.
func compareValues(docs, old []node) string {
	return compareDocuments(docs, old, func(n, o *node) bool { return sameValue(n.value, o.value) })
}

func compareDocuments(docs, old []node, same func(n, o *node) bool) string {
	if len(docs) != len(old) {
		return "the number of documents has changed"
	}
	for i := range docs {
		if where, ok := compareNodes(&docs[i], &old[i], same); !ok {
			if where == "" {
				return "the document has changed"
			}
			return where + " has changed"
		}
	}
	return ""
}

// compareNodes compares mappings regardless of the order of their keys, and
// returns the path of the first difference.
func compareNodes(n, o *node, same func(n, o *node) bool) (where string, ok bool) {
	if n.kind != o.kind && !(n.kind == comment && o.isCommentItem()) || len(n.children) != len(o.children) {
		return "", false
	}
	if n.kind == scalar || n.kind == comment {
		return "", same(n, o)
	}
	for i := range n.children {
		c, other := &n.children[i], &o.children[i]
		if n.kind == mapping && c.kind != comment && (other.kind == comment || other.key != c.key) {
			other = o.member(c.key)
		}
		if other == nil {
			return c.key, false
		}
		if where, ok := compareNodes(c, other, same); !ok {
			return strings.Trim(c.key+"."+where, "."), false
		}
	}
	return "", true
}

// isCommentItem tells whether n is a comment that sops has encrypted in a
// list, where it writes it as an item.
func (n *node) isCommentItem() bool {
	box, ok := parseBox(n.sealed)
	return ok && n.key == "" && box.typ == typeComment
}

// sameValue compares values by what SOPS hashes of them. kustomize turns
// timestamps into strings and 1.0 into 1, which makes them no other values.
func sameValue(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, xt, err1 := valueBytes(a)
	y, yt, err2 := valueBytes(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y) && valueClass(xt) == valueClass(yt)
}

func valueClass(typ string) string {
	switch typ {
	case "float":
		return "int"
	case "time":
		return typeString
	}
	return typ
}
