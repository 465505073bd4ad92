package kubeconfig

import (
	"iter"
	"slices"

	"go.yaml.in/yaml/v3"
)

// OfPair is the kubeconfig that the spec.config of a plaintext ClusterPair holds: lists
// with names instead of maps, and a kubeconfig's spelling. What storkctl and Stork add by
// themselves is left out.
func OfPair(config *yaml.Node) *yaml.Node {
	config = content(config)
	out := mapping(str("apiVersion"), str("v1"), str("kind"), str("Config"))
	for _, section := range [][2]string{{"clusters", "cluster"}, {"contexts", "context"}, {"users", "user"}} {
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for name, value := range pairs(field(config, section[0])) {
			list.Content = append(list.Content, mapping(str("name"), name, str(section[1]), spelledOut(value)))
		}
		out.Content = append(out.Content, str(section[0]), list)
	}
	if current := field(config, "current-context"); current != nil {
		out.Content = append(out.Content, str("current-context"), content(current))
	}
	return out
}

// spelledOut is a cluster, context or user of a pair in a kubeconfig's spelling.
func spelledOut(n *yaml.Node) *yaml.Node {
	if n = content(n); n == nil || n.Kind != yaml.MappingNode {
		return n
	}
	out := mapping()
	for key, value := range pairs(n) {
		switch right := pairSpelling[key.Value]; {
		case key.Value == "LocationOfOrigin" || isNull(content(value)):
			continue
		case right != "":
			key = str(right)
		case slices.Contains(impersonation, key.Value):
			continue // Stork has dropped it
		case key.Value == "exec":
			value = spelledOut(value)
		}
		if field(out, key.Value) != nil { // in both spellings
			continue
		}
		out.Content = append(out.Content, key, content(value))
	}
	return out
}

func str(value string) *yaml.Node { return scalar("!!str", value) }

// pairs are the keys and values of a mapping.
func pairs(n *yaml.Node) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n = content(n); n == nil || n.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], n.Content[i+1]) {
				return
			}
		}
	}
}
