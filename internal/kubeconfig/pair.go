package kubeconfig

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
)

// FromConfig checks the spec.config of a plaintext ClusterPair, which differs
// from a kubeconfig in that it holds maps by name and spells impersonation
// otherwise. Its form is for [clusterpair.dev/schema] to judge: what has the
// wrong type counts as absent here. path is that of config, for findings. With a
// finding of severity Error the Destination is nil.
func FromConfig(config *yaml.Node, file, path string, o Options) (*Destination, []report.Finding) {
	c := &checker{options: o, origin: origin{file: file, position: position(config, file)}, pair: true}
	c.fromConfig(content(config), path)
	return c.finish()
}

func (c *checker) fromConfig(config *yaml.Node, path string) {
	name := textOf(config, "current-context")
	if name == "" {
		return // the schema has said so
	}
	contexts := field(config, "contexts")
	context := field(contexts, name)
	if context == nil {
		at := c.at(field(config, "current-context"), path+".current-context")
		c.refuse(at, "context-broken", fmt.Sprintf("current-context %q is not among contexts", name), didYouMean(name, contexts))
		return
	}
	at := path + ".contexts." + name
	cluster, clusterPath := c.namedBy(config, context, path, at, "cluster")
	user, userPath := c.namedBy(config, context, path, at, "user")
	if cluster != nil {
		c.cluster(cluster, clusterPath, nil)
	}
	if user != nil {
		c.user(c.pairUser(user), userPath, nil)
	}
	c.check()
}

// namedBy is the cluster or user that a context names, and its path.
func (c *checker) namedBy(config, context *yaml.Node, path, at, kind string) (*yaml.Node, string) {
	section := field(config, kind+"s")
	name := textOf(context, kind)
	n := field(section, name)
	switch {
	case n != nil && n.Kind == yaml.MappingNode:
		return n, path + "." + kind + "s." + name + "."
	case n == nil && name == "" && kind == "user":
		c.refuse(c.at(context, at), "context-broken", "the context names no user: Stork connects as nobody, which it calls Ready", "user: NAME of one under users")
	case n == nil && name != "":
		c.refuse(c.at(field(context, kind), at+"."+kind), "context-broken", fmt.Sprintf("the context names %s %q, which is not among %ss", kind, name, kind),
			didYouMean(name, section))
	}
	c.refused(kind) // or the schema has said so
	return nil, ""
}

func didYouMean(name string, among *yaml.Node) string {
	var names []string
	if among != nil && among.Kind == yaml.MappingNode {
		for i := 0; i < len(among.Content); i += 2 {
			names = append(names, among.Content[i].Value)
		}
	}
	slices.Sort(names)
	switch near := report.Nearest(name, names); {
	case near != "":
		return fmt.Sprintf("did you mean %s?", near)
	case len(names) > 0:
		return "there is " + enumerate(names)
	}
	return ""
}

// pairUser is a user in a kubeconfig's spelling. What Stork does not read, by
// the spelling of its release, is not in it.
func (c *checker) pairUser(user *yaml.Node) *yaml.Node {
	out := *user
	out.Content = slices.Clone(user.Content)
	release := c.release()
	for i := 0; i+1 < len(out.Content); i += 2 {
		key := *out.Content[i]
		switch spelling := pairSpelling[key.Value]; {
		case key.Value == "interactiveMode" && release.SpellsInteractiveMode(), key.Value == "InteractiveMode" && release.Known() && !release.SpellsInteractiveMode():
			key.Value = ""
		case spelling != "":
			key.Value = spelling
		case key.Value == "exec" && content(out.Content[i+1]) != nil && content(out.Content[i+1]).Kind == yaml.MappingNode:
			out.Content[i+1] = c.pairUser(content(out.Content[i+1])) // InteractiveMode
		case slices.Contains(impersonation, key.Value):
			key.Value = "" // the schema has said that Stork drops it
		}
		out.Content[i] = &key
	}
	return &out
}

// impersonation are the fields of a kubeconfig that a ClusterPair spells with
// act- before them.
var impersonation = []string{"as", "as-uid", "as-groups", "as-user-extra"}

// release is that of the Stork that reads the pair, as far as it is known.
func (c *checker) release() stork.Version {
	v, _ := stork.Parse(c.options.StorkVersion)
	return v
}

// spelled is how a field of a kubeconfig is spelled in what is judged.
func (c *checker) spelled(field string) string {
	release := c.release()
	switch {
	case c.pair && slices.Contains(impersonation, field):
		return "act-" + field
	case c.pair && field == "interactiveMode" && release.SpellsInteractiveMode():
		return "InteractiveMode"
	}
	return field
}
