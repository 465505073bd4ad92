package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
)

// The states of a pair in Git and in a cluster.
const (
	Synced     = "Synced"
	Drifted    = "Drifted"
	Encrypted  = "Encrypted"  // the ciphertext of Git was applied
	NotApplied = "NotApplied" // not in the cluster
	NotInGit   = "NotInGit"
	Unknown    = "Unknown" // there is neither a digest nor a key
)

// Committed are the ClusterPairs that Git holds.
type Committed struct {
	safe  *sopsfile.Safe
	pairs map[string]*committedPair // by NAMESPACE/NAME
}

type committedPair struct {
	file   string
	digest string
	clear  []string // path=value of what stands in clear
}

// ReadCommitted reads the ClusterPairs of files, which are what a user has named of
// the source. Two of one name are wrong use; none is an error.
func ReadCommitted(ctx context.Context, source gitfiles.Source, paths []string) (*Committed, error) {
	g := &Committed{safe: sopsfile.New(nil), pairs: make(map[string]*committedPair)}
	var mu sync.Mutex
	var twice []string
	broken, err := holders.Each(ctx, source, paths, func(file string, doc *yaml.Node) {
		namespace, name := manifest.Text(doc, "metadata", "namespace"), manifest.Text(doc, "metadata", "name")
		if manifest.Text(doc, "kind") != generator.ClusterPairKind || namespace == "" || name == "" {
			return
		}
		p := &committedPair{
			file:   file,
			digest: strings.Clone(manifest.Text(doc, "metadata", "annotations", generator.AnnotationDigest)),
			clear:  slices.DeleteFunc(specLeaves(doc), isCiphertext),
		}
		mu.Lock()
		defer mu.Unlock()
		id := namespace + "/" + name
		if other := g.pairs[id]; other != nil {
			twice = append(twice, fmt.Sprintf("ClusterPair %s stands in %s and in %s", id, min(file, other.file), max(file, other.file)))
		}
		g.pairs[id] = p
	})
	switch {
	case err != nil:
	case len(broken) > 0:
		err = broken[0]
	case len(twice) > 0:
		err = report.Usage(report.WithHint(errors.New(slices.Min(twice)), "name the files, or the directory, of this cluster alone"))
	case len(g.pairs) == 0:
		err = report.WithHint(fmt.Errorf("%s: there is no ClusterPair with a namespace", strings.Join(paths, ", ")), "name the files, or the directory, that generate writes")
	}
	return g, err
}

// isCiphertext tells whether SOPS has encrypted the value of path=value.
func isCiphertext(leaf string) bool { return strings.Contains(leaf, "=ENC[AES256_GCM,") }

// specLeaves are the values of a pair's spec that are more than zero, as
// path=value, sorted.
func specLeaves(pair *yaml.Node) []string {
	var all []string
	var visit func(n *yaml.Node, path string)
	visit = func(n *yaml.Node, path string) {
		switch {
		case n == nil || isZero(n):
		case n.Kind == yaml.ScalarNode:
			all = append(all, path+"="+n.Value)
		case n.Kind == yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				visit(n.Content[i+1], path+"."+n.Content[i].Value)
			}
		default:
			for i, item := range n.Content {
				visit(item, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	}
	visit(manifest.Field(pair, "spec"), "spec")
	slices.Sort(all)
	return all
}

// isZero tells whether a value says nothing: Stork writes each field that it
// knows, and kubectl leaves out what is null.
func isZero(n *yaml.Node) bool {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 1; i < len(n.Content); i += 2 {
			if !isZero(n.Content[i]) {
				return false
			}
		}
		return true
	case yaml.ScalarNode:
		return n.Value == "" || n.ShortTag() == "!!null" || n.ShortTag() == "!!bool" && n.Value == "false"
	}
	return false
}

// compare tells whether a pair of the cluster, given in JSON, is what Git says.
// difference names the fields that are not, if a key tells.
func (g *Committed) compare(ctx context.Context, id string, live []byte) (state, file string, difference []string, err error) {
	p := g.pairs[id]
	if p == nil {
		return NotInGit, "", nil, nil
	}
	docs, err := manifest.Values(live, id)
	if err != nil || len(docs) != 1 {
		return Drifted, p.file, nil, nil
	}
	have := specLeaves(docs[0])
	if slices.ContainsFunc(have, isCiphertext) {
		return Encrypted, p.file, nil, nil
	}
	inClear := true
	for _, leaf := range p.clear {
		_, found := slices.BinarySearch(have, leaf)
		inClear = inClear && found
	}
	if inClear && p.digest != "" && generator.HasDigest(p.digest, asRendered(manifest.Field(docs[0], "spec"))) {
		return Synced, p.file, nil, nil
	}
	want, err := g.plaintext(ctx, id, p)
	var noKey *sopsfile.NoKeyError
	switch {
	case errors.As(err, &noKey) && p.digest == "" && inClear:
		return Unknown, p.file, nil, nil
	case errors.As(err, &noKey):
		return Drifted, p.file, nil, nil
	case err != nil:
		return "", "", nil, err
	}
	if difference = differing(have, want); len(difference) > 0 {
		return Drifted, p.file, difference, nil
	}
	return Synced, p.file, nil, nil
}

// plaintext are the leaves of a committed pair, decrypted where it must be.
func (g *Committed) plaintext(ctx context.Context, id string, p *committedPair) ([]string, error) {
	repo, err := gitfiles.Open()
	if err != nil {
		return nil, err
	}
	data, err := (&gitfiles.WorkTree{Repository: repo}).Read(ctx, gitfiles.File{Name: p.file, Any: true}, nil)
	if err != nil {
		return nil, err
	}
	docs, err := manifest.Values(data, p.file)
	if err != nil {
		return nil, err
	}
	if len(docs) > 0 && sopsfile.IsEncrypted(docs[0]) {
		if docs, err = g.safe.Decrypt(ctx, data, p.file); err != nil {
			var noKey *sopsfile.NoKeyError
			if errors.As(err, &noKey) {
				return nil, err
			}
			return nil, seal.Explain(err, p.file)
		}
		docs = manifest.Contents(docs)
	}
	var found []string
	for _, doc := range docs {
		manifest.EachItem(doc, func(doc *yaml.Node) {
			if manifest.Text(doc, "metadata", "namespace")+"/"+manifest.Text(doc, "metadata", "name") == id {
				found = specLeaves(doc)
			}
		})
	}
	return found, nil
}

// differing names the paths at which two lists of leaves are not the same.
func differing(a, b []string) []string {
	var paths []string
	add := func(from, other []string) {
		for _, leaf := range from {
			if _, found := slices.BinarySearch(other, leaf); !found {
				path, _, _ := strings.Cut(leaf, "=")
				paths = append(paths, path)
			}
		}
	}
	add(a, b)
	add(b, a)
	slices.Sort(paths)
	return slices.Compact(paths)
}

// asRendered is a live spec without what Stork adds to it: zero values. Only
// options are rendered empty.
func asRendered(spec *yaml.Node) *yaml.Node {
	out := withoutZeroes(spec)
	if manifest.Field(out, "options") == nil {
		out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "options"}, &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"})
	}
	return out
}

func withoutZeroes(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value}
	if n.Kind != yaml.MappingNode {
		for _, item := range n.Content {
			out.Content = append(out.Content, withoutZeroes(item))
		}
		return out
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if !isZero(n.Content[i+1]) {
			out.Content = append(out.Content, withoutZeroes(n.Content[i]), withoutZeroes(n.Content[i+1]))
		}
	}
	return out
}
