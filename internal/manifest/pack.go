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

// places are those of the common texts.
var places = func() map[string]int {
	all := make(map[string]int, len(common))
	for i, text := range common {
		all[text] = i
	}
	return all
}()

func appendNode(b []byte, n *yaml.Node) []byte {
	b = append(b, byte(n.Kind), byte(n.Style))
	b = binary.AppendUvarint(b, uint64(n.Line))
	b = binary.AppendUvarint(b, uint64(n.Column))
	for _, text := range []string{n.Tag, n.Value} {
		if i, common := places[text]; common {
			b = binary.AppendUvarint(b, uint64(2*i+1))
			continue
		}
		b = binary.AppendUvarint(b, uint64(2*len(text)))
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
	if length%2 == 1 {
		return common[length/2]
	}
	length /= 2
	text := string((*r)[:length])
	*r = (*r)[length:]
	return text
}
