package inventory

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/pattern"
)

// call gives a recipient a name. The names of one that has several stand side by side.
func (c *collection) call(recipient, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch known := c.names[recipient]; {
	case name == "" || recipient == "":
	case known == "":
		c.names[recipient] = name
	case !strings.Contains(", "+known+",", ", "+name+","):
		c.names[recipient] = known + ", " + name
	}
}

// rules takes names out of a .sops.yaml: the comment behind a recipient or above it, or its
// anchor, as in "- &ci age1...". A comment on a list of several names none of them.
func (c *collection) rules(doc *yaml.Node) {
	seen := make(map[*yaml.Node]bool)
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		if n == nil || seen[n] {
			return
		}
		seen[n] = true
		if n.Kind == yaml.ScalarNode {
			if value := strings.TrimSpace(n.Value); isRecipient().MatchString(value) {
				c.call(value, nameOf(n))
			}
		}
		for _, child := range n.Content {
			visit(child)
		}
	}
	visit(doc)
}

// isRecipient is what a single recipient looks like: of age, a key of SSH, a fingerprint of
// PGP, a key of a cloud.
var isRecipient = pattern.Later(`^(age1[a-z0-9]+|ssh-[a-z0-9-]+ [A-Za-z0-9+/=]+( .*)?|[0-9A-F]{40}|arn:aws[a-z-]*:kms:[^,\s]+|projects/[^,\s]+|https://[^,\s]+)$`)

func nameOf(n *yaml.Node) string {
	if n.Anchor != "" {
		return strings.Clone(n.Anchor)
	}
	for _, comment := range []string{n.LineComment, n.HeadComment} {
		if name := strings.TrimSpace(strings.TrimLeft(comment, "# ")); name != "" && !strings.Contains(name, "\n") {
			return strings.Clone(name)
		}
	}
	return ""
}

// Name is what a recipient is called, empty if nothing tells.
func (inv *Inventory) Name(recipient string) string { return inv.Recipients[recipient] }
