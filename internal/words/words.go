// Package words finds whether a text holds one of several words.
//
// [New] makes a [Matcher] of words; [Base64] gives those by which a word is seen where it
// is encoded. A Matcher reads each byte of a text once, however many words it knows.
package words

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// Matcher finds whether a text has one of several words of four bytes or more,
// in one pass. It looks at each four bytes in turn: a bit tells whether a word may
// begin with them.
type Matcher struct {
	bits  [1 << 16 / 64]uint64
	words map[uint32][]string // by their first four bytes
}

// New makes a Matcher of words of four bytes or more.
func New(words []string) *Matcher {
	m := &Matcher{words: make(map[uint32][]string, len(words))}
	for _, word := range words {
		first := binary.LittleEndian.Uint32([]byte(word))
		m.words[first] = append(m.words[first], word)
		at := bitOf(first)
		m.bits[at/64] |= 1 << (at % 64)
	}
	return m
}

// bitOf spreads four bytes over the bits.
func bitOf(four uint32) uint32 { return four * 2654435761 >> 16 }

// In tells whether a text has a word.
func (m *Matcher) In(text []byte) bool {
	for i := 0; i+4 <= len(text); i++ {
		four := binary.LittleEndian.Uint32(text[i:])
		if at := bitOf(four); m.bits[at/64]&(1<<(at%64)) != 0 {
			for _, word := range m.words[four] {
				if len(word) <= len(text)-i && string(text[i:i+len(word)]) == word {
					return true
				}
			}
		}
	}
	return false
}

// Escaped tells whether a text has an escape that could hide a word.
func Escaped(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return false
		}
		switch text[i+1] {
		case 'x', 'u', 'U', '\n', '\r':
			return true
		}
		text = text[i+1:]
	}
}

// Base64 is how a word stands in base64, by the three places in which it may
// begin in a group of three bytes: the letters that hold bits of it alone.
func Base64(word string) []string {
	var all []string
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + word))
		first := (before*8 + 5) / 6
		last := (before + len(word)) * 8 / 6
		all = append(all, encoded[first:last])
	}
	return all
}
