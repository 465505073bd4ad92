package manifest

import (
	"encoding/binary"

	"go.yaml.in/yaml/v3"
)

// Pack is a node and all below it in a text, a tenth of the memory. [Unpack] reads it.
func Pack(n *yaml.Node) string { return string(appendNode(nil, n)) }

// Unpack is what was packed, in nodes of its own.
func Unpack(packed string) *yaml.Node {
	r := nodeReader(packed)
	return r.node()
}

func appendNode(b []byte, n *yaml.Node) []byte {
	b = append(b, byte(n.Kind), byte(n.Style))
	b = binary.AppendUvarint(b, uint64(n.Line))
	b = binary.AppendUvarint(b, uint64(n.Column))
	for _, text := range []string{n.Tag, n.Value} {
		b = binary.AppendUvarint(b, uint64(len(text)))
		b = append(b, text...)
	}
	b = binary.AppendUvarint(b, uint64(len(n.Content)))
	for _, child := range n.Content {
		b = appendNode(b, child)
	}
	return b
}

// nodeReader is what is still to be read of what appendNode has written.
type nodeReader string

func (r *nodeReader) node() *yaml.Node {
	n := &yaml.Node{Kind: yaml.Kind((*r)[0]), Style: yaml.Style((*r)[1])}
	*r = (*r)[2:]
	n.Line, n.Column = r.number(), r.number()
	n.Tag, n.Value = r.text(), r.text()
	if count := r.number(); count > 0 {
		n.Content = make([]*yaml.Node, count)
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
	text := string((*r)[:length])
	*r = (*r)[length:]
	return text
}
