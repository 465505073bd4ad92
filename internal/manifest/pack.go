package manifest

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// Pack is a node and all below it in a text, a tenth of the memory. [Unpack] reads it.
func Pack(n *yaml.Node) string { return string(appendNode(nil, n)) }

// Unpack is what was packed, in nodes of its own.
func Unpack(packed string) *yaml.Node {
	r := nodeReader(packed)
	return r.node()
}

// common are texts that many objects have. A number stands for each of them.
var common = []string{
	"", "!!map", "!!seq", "!!str", "!!bool", "!!int", "!!null", "!!timestamp", "true", "false",
	"apiVersion", "kind", "metadata", "name", "namespace", "annotations", "labels", "spec", "config", "options", "sops",
	"stork.libopenstorage.org/v1alpha1", "ClusterPair", "ENC",
	"stork.libopenstorage.org/skip-resource", "clusterpair.dev/bidirectional", "clusterpair.dev/credential-expires", "clusterpair.dev/destination-ca", "clusterpair.dev/destination-ca-expires",
	"clusterpair.dev/credential-id", "clusterpair.dev/credential-kind", "clusterpair.dev/destination-id", "clusterpair.dev/destination", "clusterpair.dev/generated-by", "clusterpair.dev/plaintext-digest", "clusterpair.dev/source",
	"kustomize.toolkit.fluxcd.io/prune", "disabled", "argocd.argoproj.io/sync-options", "Prune=false",
	"clusters", "cluster", "contexts", "context", "current-context", "users", "user", "token", "server", "tls-server-name", "certificate-authority-data",
	"client-certificate-data", "client-key-data", "preferences", "Config", "v1",
}

// texts are those for which a number stands, the common ones first: what the first
// documents say, others say again, such as the keys of annotations. A text that has a
// number keeps it.
var texts = struct {
	sync.RWMutex
	all     []string
	numbers map[string]int
}{all: slices.Clip(common), numbers: func() map[string]int {
	numbers := make(map[string]int, len(common))
	for i, text := range common {
		numbers[text] = i
	}
	return numbers
}()}

// No more texts get a number, and no longer ones.
const mostTexts, longestText = 4096, 64

// numberOf is the number that stands for a text, if there is one.
func numberOf(text string) (n int, ok bool) {
	texts.RLock()
	n, ok = texts.numbers[text]
	full := len(texts.all) >= mostTexts
	texts.RUnlock()
	if ok || full || len(text) > longestText {
		return n, ok
	}
	texts.Lock()
	defer texts.Unlock()
	if n, ok = texts.numbers[text]; ok || len(texts.all) >= mostTexts {
		return n, ok
	}
	text = strings.Clone(text) // and not the file around it
	n = len(texts.all)
	texts.all = append(texts.all, text)
	texts.numbers[text] = n
	return n, true
}

// The first byte of a node: its kind in the lower bits, and what follows.
const (
	kindBits  = 1<<3 - 1
	styled    = 1 << 3 // a style other than 0
	tagged    = 1 << 4 // a tag other than !!str
	hasValue  = 1 << 5
	hasOthers = 1 << 6 // nodes below it
)

func appendNode(b []byte, n *yaml.Node) []byte {
	head := byte(bits.Len32(uint32(n.Kind)))
	if n.Style != 0 {
		head |= styled
	}
	if n.Tag != "!!str" {
		head |= tagged
	}
	if n.Value != "" {
		head |= hasValue
	}
	if len(n.Content) > 0 {
		head |= hasOthers
	}
	b = append(b, head)
	b = binary.AppendUvarint(b, uint64(n.Line))
	b = binary.AppendUvarint(b, uint64(n.Column))
	if head&styled != 0 {
		b = append(b, byte(n.Style))
	}
	if head&tagged != 0 {
		b = appendText(b, n.Tag)
	}
	if head&hasValue != 0 {
		b = appendText(b, n.Value)
	}
	if head&hasOthers != 0 {
		b = binary.AppendUvarint(b, uint64(len(n.Content)))
	}
	for _, child := range n.Content {
		b = appendNode(b, child)
	}
	return b
}

func appendText(b []byte, text string) []byte {
	if i, ok := numberOf(text); ok {
		return binary.AppendUvarint(b, uint64(2*i+1))
	}
	return append(binary.AppendUvarint(b, uint64(2*len(text))), text...)
}

// nodeReader is what is still to be read of what appendNode has written.
type nodeReader string

func (r *nodeReader) node() *yaml.Node {
	head := (*r)[0]
	*r = (*r)[1:]
	n := &yaml.Node{Kind: yaml.Kind(1 << (head & kindBits) >> 1), Line: r.number(), Column: r.number(), Tag: "!!str"}
	if head&styled != 0 {
		n.Style = yaml.Style((*r)[0])
		*r = (*r)[1:]
	}
	if head&tagged != 0 {
		n.Tag = r.text()
	}
	if head&hasValue != 0 {
		n.Value = r.text()
	}
	if head&hasOthers != 0 {
		n.Content = make([]*yaml.Node, r.number())
		for i := range n.Content {
			n.Content[i] = r.node()
		}
	}
	return n
}

func (r *nodeReader) number() (n int) {
	for shift := 0; ; shift += 7 {
		b := (*r)[0]
		*r = (*r)[1:]
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

func (r *nodeReader) text() string {
	length := r.number()
	if length%2 == 1 {
		texts.RLock()
		defer texts.RUnlock()
		return texts.all[length/2]
	}
	length /= 2
	text := string((*r)[:length])
	*r = (*r)[length:]
	return text
}
