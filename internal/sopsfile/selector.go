package sopsfile

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Selector says which values of a document are encrypted, by at most one of
// the six options of SOPS. The zero Selector means what it means to sops: all
// values but those below a key that ends in "_unencrypted".
type Selector struct {
	EncryptedRegex          string `yaml:"encrypted_regex"`
	UnencryptedRegex        string `yaml:"unencrypted_regex"`
	EncryptedSuffix         string `yaml:"encrypted_suffix"`
	UnencryptedSuffix       string `yaml:"unencrypted_suffix"`
	EncryptedCommentRegex   string `yaml:"encrypted_comment_regex"`
	UnencryptedCommentRegex string `yaml:"unencrypted_comment_regex"`
}

// defaultSuffix is the selector of a file that names none.
const defaultSuffix = "_unencrypted"

// The options in the order in which messages list them.
var selectorNames = []string{
	"encrypted_regex", "unencrypted_regex", "encrypted_suffix",
	"unencrypted_suffix", "encrypted_comment_regex", "unencrypted_comment_regex",
}

// fields are those of s, in that order.
func (s *Selector) fields() [6]*string {
	return [...]*string{
		&s.EncryptedRegex, &s.UnencryptedRegex, &s.EncryptedSuffix,
		&s.UnencryptedSuffix, &s.EncryptedCommentRegex, &s.UnencryptedCommentRegex,
	}
}

// option returns the name and value of the option in use, or an error when
// there are several.
func (s Selector) option() (name, value string, err error) {
	for i, v := range s.fields() {
		if *v == "" {
			continue
		}
		if name != "" {
			return "", "", fmt.Errorf("%s and %s exclude each other: use one", name, selectorNames[i])
		}
		name, value = selectorNames[i], *v
	}
	if name == "" {
		return "unencrypted_suffix", defaultSuffix, nil
	}
	return name, value, nil
}

// Validate tells whether at most one option is set and its expression compiles.
func (s Selector) Validate() error {
	_, err := s.compiled()
	return err
}

// Uncovered visits the values of a plain tree, leaf by leaf, that the selector
// and their looks disagree on: those that it selects and that are no
// ciphertexts, and ciphertexts that it does not select, which SOPS would hand on
// as they are. What SOPS never encrypts, null and the empty text, agrees with
// either. doc is the mapping of a document; its sops section is left out. A
// selector by comments is not judged.
func (s Selector) Uncovered(doc *yaml.Node, visit func(leaf *yaml.Node, path []string, selected bool)) error {
	m, err := s.compiled()
	if err != nil || m.comment != nil {
		return err
	}
	m.uncovered(doc, nil, !m.encrypts, visit)
	return nil
}

func (m *matcher) uncovered(n *yaml.Node, path []string, selected bool, visit func(*yaml.Node, []string, bool)) {
	switch n.Kind {
	case yaml.ScalarNode:
		sealed := strings.HasPrefix(n.Value, "ENC[")
		if sealed != selected && n.Value != "" && n.ShortTag() != "!!null" {
			visit(n, path, selected)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			m.uncovered(item, path, selected, visit)
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i].Value
			if len(path) == 0 && key == sopsKey {
				continue
			}
			below := selected
			if m.matches(key) {
				below = m.encrypts
			}
			m.uncovered(n.Content[i+1], append(path, key), below, visit)
		}
	}
}

// compiled are the selectors in use: a run sees the same few again and again.
var compiled sync.Map // of Selector to *matcher

func (s Selector) compiled() (*matcher, error) {
	if m, ok := compiled.Load(s); ok {
		return m.(*matcher), nil
	}
	m, err := s.compile()
	if err == nil {
		compiled.Store(s, m)
	}
	return m, err
}

// matcher is a Selector ready for use.
type matcher struct {
	encrypts bool // a match means encrypt, otherwise it means leave in clear
	suffix   string
	key      *regexp.Regexp
	comment  *regexp.Regexp
}

func (s Selector) compile() (*matcher, error) {
	name, value, err := s.option()
	if err != nil {
		return nil, err
	}
	m := &matcher{encrypts: strings.HasPrefix(name, "encrypted")}
	if strings.HasSuffix(name, "_suffix") {
		m.suffix = value
		return m, nil
	}
	re, err := regexp.Compile(value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if strings.HasSuffix(name, "_comment_regex") {
		m.comment = re
	} else {
		m.key = re
	}
	return m, nil
}

// matches tells whether a key selects, or unselects, all that stands below it.
func (m *matcher) matches(key string) bool {
	switch {
	case m.suffix != "":
		return strings.HasSuffix(key, m.suffix)
	case m.key != nil:
		return m.key.MatchString(key)
	}
	return false
}

// walk visits the values and comments of a document in the order of SOPS,
// with the path SOPS authenticates them with; nil values it leaves out. It
// sets their selected flag first. visit may change the node, not keep path.
func (m *matcher) walk(doc *node, visit func(n *node, path []byte) error) error {
	w := walker{matcher: m, visit: visit}
	return w.members(doc, !m.encrypts)
}

type walker struct {
	*matcher
	visit func(n *node, path []byte) error
	path  []byte
	// notes are the comments before the present value, for each mapping and
	// sequence it stands in; kept for the comment selectors only.
	notes [][]string
}

func (w *walker) members(n *node, selected bool) error {
	level := len(w.notes)
	if w.comment != nil {
		w.notes = append(w.notes, nil)
	}
	for i := range n.children {
		c := &n.children[i]
		if c.kind == comment {
			if w.comment != nil {
				w.notes[level] = append(w.notes[level], c.value.(string))
			}
			if err := w.leaf(c, selected); err != nil {
				return err
			}
			continue
		}
		length, below := len(w.path), selected
		if n.kind == mapping {
			w.path = append(append(w.path, c.key...), ':')
			if w.matches(c.key) {
				below = w.encrypts
			}
		}
		var err error
		if c.kind != scalar {
			err = w.members(c, below)
		} else if c.value != nil {
			err = w.leaf(c, below)
		}
		if err != nil {
			return err
		}
		w.path = w.path[:length]
		if w.comment != nil {
			w.notes[level] = w.notes[level][:0]
		}
	}
	w.notes = w.notes[:level]
	return nil
}

func (w *walker) leaf(n *node, selected bool) error {
	if w.comment != nil {
		selected = w.noted(n.kind == comment) == w.encrypts
	}
	n.selected = selected
	if len(w.path) == 0 {
		return w.visit(n, []byte{':'}) // a comment above the first key
	}
	return w.visit(n, w.path)
}

// noted tells whether a comment before the present value matches. The comment
// that selects what follows it is itself left in clear.
func (w *walker) noted(isComment bool) bool {
	for i, notes := range w.notes {
		for j, text := range notes {
			if w.encrypts && isComment && i == len(w.notes)-1 && j == len(notes)-1 {
				continue
			}
			if w.comment.MatchString(text) {
				return true
			}
		}
	}
	return false
}
