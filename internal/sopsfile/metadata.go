package sopsfile

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
)

// sopsKey is the top-level key that makes a document a SOPS file.
const sopsKey = "sops"

// formatVersion is the version of sops whose format is written.
const formatVersion = "3.13.3"

// Metadata is what the sops section of a file says in clear. Nothing of it is
// verified: only decrypting the file verifies it.
type Metadata struct {
	// Recipients are the keys of each key group, as sops names them: age
	// recipients, PGP fingerprints, ARNs, URLs.
	Recipients [][]string
	// ShamirThreshold is how many key groups it takes; 0 for a single group.
	ShamirThreshold  int
	Selector         Selector
	MACOnlyEncrypted bool
	LastModified     time.Time
	// Version is that of the sops that wrote the file.
	Version string
}

// IsEncrypted tells whether doc, a document or its mapping, is a SOPS file: it
// has a key sops at its top, whole or broken.
func IsEncrypted(doc *yaml.Node) bool { return section(doc) != nil }

// ReadMetadata returns the sops section of doc. It asks for no key. The error
// is [ErrNotEncrypted] or a [MalformedError]; file is for its message.
func ReadMetadata(doc *yaml.Node, file string) (*Metadata, error) {
	s := section(doc)
	if s == nil {
		return nil, fmt.Errorf("%s: %w", file, ErrNotEncrypted)
	}
	b := builder{file: file}
	n, err := b.node(s, false)
	if err != nil {
		return nil, err
	}
	m, err := parseMetadata(&n, file)
	if err != nil {
		return nil, err
	}
	return &Metadata{
		Recipients: namesOf(m.groups), ShamirThreshold: m.threshold, Selector: m.selector, MACOnlyEncrypted: m.macOnly,
		LastModified: m.modified, Version: m.version,
	}, nil
}

// section is the sops section of a document, nil if there is none. The document need not
// be what package manifest reads: this package stands beside it.
func section(doc *yaml.Node) *yaml.Node {
	if doc != nil && doc.Kind == yaml.DocumentNode && len(doc.Content) > 0 {
		doc = doc.Content[0]
	}
	if doc == nil || doc.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value == sopsKey {
			return doc.Content[i+1]
		}
	}
	return nil
}

// metadata is the sops section of a file.
type metadata struct {
	groups    [][]key
	threshold int
	selector  Selector
	macOnly   bool
	mac       string
	modified  time.Time
	version   string
}

// macPath is what the MAC is authenticated with.
func (m *metadata) macPath() []byte { return m.modified.AppendFormat(nil, time.RFC3339) }

// takeMetadata removes the sops section from all documents of a file and
// returns that of the first, which counts.
func takeMetadata(docs []node, file string) (*metadata, error) {
	var first *node
	for i := range docs {
		for j := range docs[i].children {
			c := docs[i].children[j]
			if c.kind == comment || c.key != sopsKey {
				continue
			}
			if i == 0 {
				first = &c
			}
			docs[i].children = slices.Delete(docs[i].children, j, j+1)
			break
		}
	}
	if first == nil {
		return nil, fmt.Errorf("%s: %w", file, ErrNotEncrypted)
	}
	return parseMetadata(first, file)
}

// metadataReader reads fields as leniently as sops does, and keeps the first
// error.
type metadataReader struct {
	file string
	err  error
}

func parseMetadata(n *node, file string) (*metadata, error) {
	r := &metadataReader{file: file}
	if n.kind != mapping {
		r.fail(n, "sops is not a mapping")
		return nil, r.err
	}
	m := &metadata{}
	var single []key
	for i := range n.children {
		c := &n.children[i]
		if c.kind == comment {
			continue
		}
		switch c.key {
		case "shamir_threshold":
			m.threshold = r.int(c)
		case "key_groups":
			m.groups = r.groups(c)
		case "lastmodified":
			t, err := time.Parse(time.RFC3339, r.string(c))
			if err != nil {
				r.fail(c, "sops.lastmodified is not a time as RFC 3339 has it, in quotes")
			}
			m.modified = t
		case "mac_only_encrypted":
			m.macOnly = r.bool(c)
		default:
			if text := m.text(c.key); text != nil {
				*text = r.string(c)
				continue
			}
			single = append(single, r.keys(c)...)
		}
	}
	if len(single) > 0 { // sops, too, prefers them to key_groups
		m.groups = [][]key{sortKeys(single)}
	}
	if len(m.groups) == 0 {
		r.fail(n, "sops names no key")
	}
	if m.modified.IsZero() {
		r.fail(n, "sops.lastmodified is missing")
	}
	if err := m.selector.Validate(); err != nil {
		r.fail(n, "sops."+err.Error())
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// text is where the text under a key of the section belongs, nil under any other key.
func (m *metadata) text(key string) *string {
	switch key {
	case "mac":
		return &m.mac
	case "version":
		return &m.version
	}
	if i := slices.Index(selectorNames, key); i >= 0 {
		return m.selector.fields()[i]
	}
	return nil
}

// groups reads key_groups.
func (r *metadataReader) groups(n *node) [][]key {
	var groups [][]key
	for _, g := range r.list(n) {
		var group []key
		for i := range g.children {
			if list := &g.children[i]; list.kind != comment {
				group = append(group, r.keys(list)...)
			}
		}
		groups = append(groups, sortKeys(group))
	}
	return groups
}

// keys reads one list of keys; other fields of the section it leaves alone.
func (r *metadataReader) keys(list *node) []key {
	fields, ok := keyFields[list.key]
	if !ok {
		return nil
	}
	var keys []key
	for _, entry := range r.list(list) {
		k := key{typ: list.key, name: make([]string, len(fields))}
		for i := range entry.children {
			c := &entry.children[i]
			if c.kind == comment {
				continue
			}
			switch j := slices.Index(fields, c.key); {
			case j >= 0:
				k.name[j] = r.string(c)
			case c.key == "enc":
				k.wrapped = r.string(c)
			case c.key == "created_at":
				k.created = r.string(c)
				if _, err := time.Parse(time.RFC3339, k.created); err != nil {
					r.fail(c, "sops."+list.key+".created_at is not a time as RFC 3339 has it, in quotes")
				}
			case c.key == "context" && list.key == "kms" && c.kind == mapping:
				k.context = map[string]string{}
				for l := range c.children {
					if v := &c.children[l]; v.kind != comment {
						k.context[v.key] = r.string(v)
					}
				}
			}
		}
		if list.key != "age" && k.created == "" {
			r.fail(entry, "sops."+list.key+".created_at is missing")
		}
		if k.name[0] == "" {
			r.fail(entry, "sops."+list.key+"."+fields[0]+" is missing")
		}
		keys = append(keys, k)
	}
	return keys
}

// list returns the mappings of a list, of which there may be none.
func (r *metadataReader) list(n *node) []*node {
	var entries []*node
	switch {
	case n.kind == mapping && len(n.children) > 0:
		entries = append(entries, n)
	case n.kind == sequence:
		for i := range n.children {
			switch c := &n.children[i]; c.kind {
			case comment:
			case mapping:
				entries = append(entries, c)
			default:
				r.fail(c, "an entry of sops."+n.key+" is not a mapping")
			}
		}
	case n.kind == scalar && n.value != nil && n.value != "":
		r.fail(n, "sops."+n.key+" is not a list")
	}
	return entries
}

func (r *metadataReader) string(n *node) string {
	switch v := n.value.(type) {
	case string:
		return v
	case nil:
		if n.kind == scalar {
			return ""
		}
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	r.fail(n, "sops."+n.key+" is not a string")
	return ""
}

func (r *metadataReader) int(n *node) int {
	switch v := n.value.(type) {
	case int:
		return v
	case string:
		if i, err := strconv.Atoi(v); err == nil || v == "" {
			return i
		}
	case nil:
		if n.kind == scalar {
			return 0
		}
	}
	r.fail(n, "sops."+n.key+" is not a number")
	return 0
}

func (r *metadataReader) bool(n *node) bool {
	switch v := n.value.(type) {
	case bool:
		return v
	case int:
		return v != 0
	case string:
		if b, err := strconv.ParseBool(v); err == nil || v == "" {
			return b
		}
	case nil:
		if n.kind == scalar {
			return false
		}
	}
	r.fail(n, "sops."+n.key+" is neither true nor false")
	return false
}

func (r *metadataReader) fail(n *node, problem string) {
	if r.err == nil {
		r.err = &MalformedError{File: r.file, Line: n.line, Problem: problem}
	}
}

// sortKeys puts the keys of a group into the order of their lists.
func sortKeys(group []key) []key {
	slices.SortStableFunc(group, func(a, b key) int {
		return slices.Index(keyTypes, a.typ) - slices.Index(keyTypes, b.typ)
	})
	return group
}

// node is the section as sops writes it, keys in alphabetical order.
func (m *metadata) node() node {
	n := node{kind: mapping, key: sopsKey}
	if len(m.groups) == 1 {
		n.children = keyLists(m.groups[0], false)
	} else {
		groups := node{kind: sequence, key: "key_groups"}
		for _, g := range m.groups {
			groups.children = append(groups.children, node{kind: mapping, children: keyLists(g, true)})
		}
		n.children = append(n.children, groups)
	}
	add := func(name string, v any) {
		n.children = append(n.children, node{key: name, value: v})
	}
	for i, v := range m.selector.fields() {
		if *v != "" {
			add(selectorNames[i], *v)
		}
	}
	add("lastmodified", string(m.macPath()))
	add("mac", m.mac)
	if m.macOnly {
		add("mac_only_encrypted", true)
	}
	if m.threshold != 0 {
		add("shamir_threshold", m.threshold)
	}
	add("version", m.version)
	n.sort()
	return n
}

// keyLists are the lists of a group. In a group among several sops writes the
// lists for age and Vault even when they are empty.
func keyLists(group []key, several bool) []node {
	var lists []node
	for _, typ := range keyTypes {
		list := node{kind: sequence, key: typ}
		for i := range group {
			if group[i].typ == typ {
				list.children = append(list.children, group[i].node())
			}
		}
		if len(list.children) > 0 || several && (typ == "age" || typ == "hc_vault") {
			lists = append(lists, list)
		}
	}
	return lists
}

func (k *key) node() node {
	n := node{kind: mapping}
	for i, field := range keyFields[k.typ] {
		if field == "role" && k.name[i] == "" {
			continue
		}
		n.children = append(n.children, node{key: field, value: k.name[i]})
	}
	if len(k.context) > 0 {
		c := node{kind: mapping, key: "context"}
		for name, v := range k.context {
			c.children = append(c.children, node{key: name, value: v})
		}
		n.children = append(n.children, c)
	}
	if k.typ != "age" {
		n.children = append(n.children, node{key: "created_at", value: k.created})
	}
	n.children = append(n.children, node{key: "enc", value: k.wrapped})
	n.sort()
	return n
}
