package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"strings"
	"sync"
	"time"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
)

const sourcePrefix = generator.AnnotationSource + ": sha256:"

// sourceLine finds the line of a file with the annotation: data[from:to], with its line
// break. sum is what it says, nil if there is no such line.
func sourceLine(data []byte) (from, to int, sum []byte) {
	at := bytes.Index(data, []byte(sourcePrefix))
	if at < 0 {
		return 0, 0, nil
	}
	from = bytes.LastIndexByte(data[:at], '\n') + 1
	length := bytes.IndexByte(data[at:], '\n') + 1
	if length == 0 || len(bytes.Trim(data[from:at], " ")) > 0 {
		return 0, 0, nil
	}
	return from, at + length, data[at+len(sourcePrefix) : at+length-1]
}

// withoutSource is a file without the line of the annotation.
func withoutSource(data []byte) []byte {
	from, to, _ := sourceLine(data)
	if to == 0 {
		return data
	}
	return append(data[:from:from], data[to:]...)
}

// sourceSum is what the annotation says: a hash over what the pair was rendered from,
// how it is encrypted, and the file itself, which is the parts, but for the line of the
// annotation. So it tells, too, that somebody has changed the file by hand or by mistake.
func sourceSum(source, fingerprint []byte, parts ...[]byte) (sum [2 * sha256.Size]byte) {
	h := hashes.Get().(hash.Hash)
	defer hashes.Put(h)
	h.Reset()
	h.Write(source)
	h.Write(fingerprint)
	for _, part := range parts {
		h.Write(part)
	}
	var raw [sha256.Size]byte
	hex.Encode(sum[:], h.Sum(raw[:0]))
	return sum
}

// hashes are for [sourceSum], of which a run may do little else.
var hashes = sync.Pool{New: func() any { return sha256.New() }}

// mark adds the annotation to a file without one, in its place by name. A file in which
// that place cannot be found stays as it is.
func mark(data, source, fingerprint []byte) []byte {
	at, indent := sourcePlace(data)
	if at < 0 {
		return data
	}
	sum := sourceSum(source, fingerprint, data)
	line := indent + sourcePrefix + string(sum[:]) + "\n"
	return bytes.Join([][]byte{data[:at], data[at:]}, []byte(line))
}

// sourcePlace is where the line of the annotation goes, -1 if the annotations do not
// stand on lines of their own.
func sourcePlace(data []byte) (at int, indent string) {
	var above string // the line above, of those that lead here
	for line := range bytes.Lines(data) {
		text := strings.TrimRight(string(line), "\n")
		key := strings.TrimLeft(text, " ")
		depth := text[:len(text)-len(key)]
		switch {
		case text == "metadata:":
			above = text
		case above == "metadata:" && depth == "":
			return -1, ""
		case above == "metadata:" && key == "annotations:":
			above = key
		case above == "annotations:" && indent == "":
			indent = depth
		}
		if indent != "" && (len(depth) < len(indent) || depth == indent && strings.Trim(key, `"'`) > generator.AnnotationSource) {
			return at, indent
		}
		at += len(line)
	}
	return -1, ""
}

// fingerprint tells how a policy has the file of a pair written.
func (s *Sealer) fingerprint(p *sopsfile.Policy) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if print, known := s.prints[p]; known {
		return print
	}
	var print []byte
	// A MAC over values in clear would not bear the line of the annotation.
	if c := seal.ForPair(p); *c.MACOnlyEncrypted {
		print = fmt.Appendf(nil, "%q %d %d %q\n", c.Selector, c.ShamirThreshold, c.Indent, c.Recipients())
	}
	if s.prints == nil {
		s.prints = make(map[*sopsfile.Policy][]byte)
	}
	s.prints[p] = print
	return print
}

// buffers are for files that are read to be hashed.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// State implements [generator.Encrypter].
func (s *Sealer) State(namespace, name string, source []byte, soon time.Time) (state generator.State, due bool, err error) {
	at, err := s.place(namespace)
	if err != nil {
		return 0, false, err
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	data, err := s.tree.ReadInto(*buffer, at.rel+name+".yaml")
	*buffer = data[:0]
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return generator.Missing, false, nil
	case err != nil:
		return generator.Unmarked, false, nil // whoever renders it says why
	}
	policy, err := s.Policy(namespace, name)
	if err != nil {
		return 0, false, err
	}
	switch said, same := s.says(data, source, policy); {
	case !said:
		state = generator.Unmarked
	case !same:
		state = generator.Stale
	default:
		state, due = generator.Fresh, endsBefore(data, soon)
	}
	if s.seen != nil {
		s.seen(namespace, name, state, data)
	}
	return state, due, nil
}

// says tells whether a file says what it was rendered from, and whether that is a source
// and a policy, and the file has not changed since.
func (s *Sealer) says(data, source []byte, policy *sopsfile.Policy) (said, same bool) {
	from, to, sum := sourceLine(data)
	fingerprint := s.fingerprint(policy)
	if sum == nil || fingerprint == nil {
		return false, false
	}
	if source == nil {
		return true, false
	}
	now := sourceSum(source, fingerprint, data[:from], data[to:])
	return true, bytes.Equal(sum, now[:])
}

var endAnnotations = [][]byte{[]byte(" " + kubeconfig.AnnotationExpires + ": "), []byte(" " + kubeconfig.AnnotationCAExpires + ": ")}

// endsBefore tells whether a pair says in clear that its credential, or the CA, ends
// before a time.
func endsBefore(data []byte, soon time.Time) bool {
	head, _, _ := bytes.Cut(data, []byte("\nsops:"))
	for _, annotation := range endAnnotations {
		_, value, found := bytes.Cut(head, annotation)
		if !found {
			continue
		}
		value, _, _ = bytes.Cut(value, []byte("\n"))
		if end, err := time.Parse(time.RFC3339, string(bytes.Trim(value, `"' `))); err == nil && !end.After(soon) {
			return true
		}
	}
	return false
}

// mark adds the annotation to an encrypted pair, unless it is to have none.
func (s *Sealer) mark(document, source []byte, policy *sopsfile.Policy) []byte {
	if fingerprint := s.fingerprint(policy); source != nil && fingerprint != nil {
		return mark(document, source, fingerprint)
	}
	return document
}
