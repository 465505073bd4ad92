package generator

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// Annotations that a rendered pair carries in clear, so that it can be judged
// without a key.
const (
	// AnnotationExpires is when the credential ends: RFC 3339 in UTC, or unknown,
	// or never. AnnotationKind and AnnotationCAExpires say why.
	AnnotationExpires   = kubeconfig.AnnotationExpires
	AnnotationKind      = kubeconfig.AnnotationKind
	AnnotationCAExpires = kubeconfig.AnnotationCAExpires
	// AnnotationCredentialID names the credential by what is no secret of it, as
	// [kubeconfig.CredentialID] has it. It is the same in the Secret and in every
	// pair that is rendered from it, so that it tells who holds what.
	AnnotationCredentialID = "clusterpair.dev/credential-id"
	// AnnotationCA is the SHA-256 of the public key of the destination's CA.
	AnnotationCA = "clusterpair.dev/destination-ca"
	// AnnotationDestination names the destination, as [kubeconfig.Destination.ID] has
	// it. A pair for both directions has it, so that it can be told from a pair of a
	// cluster with itself, also where clusters share a CA. Each pair of a fleet has it, so
	// that one cluster under two names is found.
	AnnotationDestination = "clusterpair.dev/destination-id"
	// AnnotationCluster is what the fleet of a pair calls the destination. It vouches for
	// nothing: it tells whoever reads a plan where a pair leads that is to be removed.
	AnnotationCluster = "clusterpair.dev/destination"
	// AnnotationDigest is sha256:SALT:HASH over the plaintext spec, both in
	// hexadecimal. It stands only on pairs whose secret part holds a key or
	// token of full entropy: of a password it would allow a guess.
	AnnotationDigest = "clusterpair.dev/plaintext-digest"
	// AnnotationGeneratedBy is the name of the function config that rendered the pair.
	AnnotationGeneratedBy = "clusterpair.dev/generated-by"
	// AnnotationAllow, followed by a rule, holds the reason for which the rule is waived.
	AnnotationAllow = "clusterpair.dev/allow-"
	// AnnotationBidirectional is "true" on a pair that has a counterpart of the
	// same name and namespace on the destination, so that it can fail back. Only
	// the config knows.
	AnnotationBidirectional = "clusterpair.dev/bidirectional"

	annotationPrefix = "clusterpair.dev/"
)

// ClusterPair is the API version and kind of what is rendered.
const (
	ClusterPairAPIVersion = "stork.libopenstorage.org/v1alpha1"
	ClusterPairKind       = "ClusterPair"
)

// saltSize is the length of a digest's salt in bytes.
const saltSize = 16

// render makes the plaintext ClusterPair of one pair: exactly what Stork reads,
// and nothing that it or its client-go would strip, reset or refuse. salt is
// nil when the pair is to carry no digest.
func (c *Config) render(p *Pair, d *kubeconfig.Destination, token string, salt []byte) *yaml.Node {
	annotations := maps.Clone(p.Annotations)
	if annotations == nil {
		annotations = make(map[string]string)
	}
	if c.Metadata.Name != "" {
		annotations[AnnotationGeneratedBy] = c.Metadata.Name
	}
	maps.Copy(annotations, d.End().Annotations())
	if id := d.CredentialID(); id != "" {
		annotations[AnnotationCredentialID] = id
	}
	if digest := d.CAKeyDigest(); digest != "" {
		annotations[AnnotationCA] = digest
		if p.Cluster != "" || annotations[AnnotationBidirectional] == "true" {
			annotations[AnnotationDestination] = d.ID()
		}
	}
	if p.Cluster != "" {
		annotations[AnnotationCluster] = p.Cluster
	}
	for _, a := range p.Allow {
		annotations[AnnotationAllow+a.Rule] = a.Reason
	}

	spec := mapping(
		"config", d.Config(c.Spec.StorkVersion),
		"options", c.options(p, token),
	)
	if len(p.ProjectMappings) > 0 {
		spec.Content = append(spec.Content, text("platformOptions"),
			mapping("rancher", mapping("projectMappings", texts(p.ProjectMappings))))
	}
	if salt != nil {
		annotations[AnnotationDigest] = digest(salt, spec)
	}

	metadata := mapping()
	if len(annotations) > 0 {
		metadata.Content = append(metadata.Content, text("annotations"), texts(annotations))
	}
	if len(p.Labels) > 0 {
		metadata.Content = append(metadata.Content, text("labels"), texts(p.Labels))
	}
	metadata.Content = append(metadata.Content,
		text("name"), text(p.Name),
		text("namespace"), text(p.Namespace))
	return mapping(
		"apiVersion", text(ClusterPairAPIVersion),
		"kind", text(ClusterPairKind),
		"metadata", metadata,
		"spec", spec,
	)
}

// options is spec.options. Over one fabric it is empty, or holds the mode for
// those Stork releases that bear it; over two it tells Portworx where to pair.
func (c *Config) options(p *Pair, token string) *yaml.Node {
	if !p.Options.any() {
		if mode := c.oneFabricMode(p); mode != "" {
			return mapping("mode", text(mode))
		}
		return mapping()
	}
	o := mapping()
	set := func(key, value string) {
		if value != "" {
			o.Content = append(o.Content, text(key), text(value))
		}
	}
	set("backuplocation", p.Options.BackupLocation)
	set("ip", p.Options.IP)
	set("mode", cmp.Or(p.Mode, c.Spec.Mode, "DisasterRecovery"))
	set("port", cmp.Or(p.Options.Port, "9001"))
	set("token", token)
	return o
}

// oneFabricMode is the mode of a pair over one fabric, "" for none. storkctl itself
// writes none. Where nobody says which Stork it is, a pair has a mode only if the config
// asks for it.
func (c *Config) oneFabricMode(p *Pair) string {
	switch asked := cmp.Or(p.Mode, c.Spec.Mode); {
	case !c.version.Known():
		return asked
	case c.version.TakesMode():
		return cmp.Or(asked, "DisasterRecovery")
	default:
		return ""
	}
}

// checkMode finds a mode that does harm on a pair over one fabric: mode is ""
// where the config leaves it to us.
func (c *Config) checkMode(mode string, at report.Position) []report.Finding {
	f := report.Finding{Rule: "mode-on-single-fabric", Severity: report.Error, Position: at, Path: "mode"}
	switch {
	case mode == "":
		return nil
	case !c.version.Known():
		f.Severity = report.Warning
		f.Message = "a mode on a pair over one fabric is right only for Stork 2.9 to 23.10; Stork 23.11 and later take the pair for an asynchronous one and do not fence on failover"
		f.Hint = `name the Stork release of the source cluster: spec.storkVersion: "24.3" in a config, --stork-version 24.3 on the command line`
	case c.version.ModeIsAsynchronous():
		f.Message = fmt.Sprintf("mode %s on a pair over one fabric: Stork %s takes the pair for an asynchronous one, migrates volumes and does not fence the cluster domain on failover", mode, c.Spec.StorkVersion)
		f.Hint = "remove mode, which storkctl does not write for a synchronous pair either"
	case c.version.PairsStorage():
		f.Message = fmt.Sprintf("mode %s on a pair over one fabric: Stork %s tries to pair storage and fails", mode, c.Spec.StorkVersion)
		f.Hint = "remove mode"
	default:
		return nil
	}
	return []report.Finding{f}
}

// digest is sha256:SALT:HASH over the paths, types and values under n.
func digest(salt []byte, n *yaml.Node) string {
	h := sha256.New()
	h.Write(salt)
	digestNode(h, n)
	return "sha256:" + hex.EncodeToString(salt) + ":" + hex.EncodeToString(h.Sum(nil))
}

// Digest is the value of [AnnotationDigest] for a tree that holds something which
// nobody can guess. It takes the salt of the previous document, if that has one,
// so that what has not changed keeps its digest.
func Digest(n *yaml.Node, previous []byte) string { return digest(saltAfter(previous), n) }

// saltAfter is the salt of the previous document, or a new one.
func saltAfter(previous []byte) []byte {
	salt := previousSalt(previous)
	if salt == nil {
		salt = make([]byte, saltSize)
		rand.Read(salt)
	}
	return salt
}

// HasDigest tells whether a value of [AnnotationDigest] is that of a plaintext
// spec. Without knowing the spec nobody can make one, so that it also vouches
// for what stands in the spec in clear.
func HasDigest(annotation string, spec *yaml.Node) bool {
	salt := previousSalt([]byte(AnnotationDigest + ": " + annotation + "\n"))
	return salt != nil && spec != nil && digest(salt, sorted(spec)) == annotation
}

// sorted is a tree with its keys in the order in which pairs are rendered.
func sorted(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		out.Content[i] = sorted(child)
	}
	if n.Kind == yaml.MappingNode {
		pairs := slices.SortedFunc(slices.Chunk(out.Content, 2), func(a, b []*yaml.Node) int { return strings.Compare(a[0].Value, b[0].Value) })
		out.Content = slices.Concat(pairs...)
	}
	return &out
}

// digestNode writes a node so that no two different trees write the same: each
// kind, tag and value with its length, each collection with its size.
func digestNode(h hash.Hash, n *yaml.Node) {
	var head [9]byte
	head[0] = byte(n.Kind)
	if n.Kind == yaml.ScalarNode {
		for _, s := range []string{n.Tag, n.Value} {
			binary.BigEndian.PutUint64(head[1:], uint64(len(s)))
			h.Write(head[:])
			h.Write([]byte(s))
		}
		return
	}
	binary.BigEndian.PutUint64(head[1:], uint64(len(n.Content)))
	h.Write(head[:])
	for _, child := range n.Content {
		digestNode(h, child)
	}
}

// previousSalt is the salt of the digest in an earlier rendering, nil if there
// is none. The annotation stands in clear, on a line of its own in every style
// that sops and kustomize write.
func previousSalt(previous []byte) []byte {
	_, after, found := bytes.Cut(previous, []byte(AnnotationDigest+": sha256:"))
	if !found {
		_, after, found = bytes.Cut(previous, []byte(AnnotationDigest+`": "sha256:`)) // in JSON
	}
	if !found {
		return nil
	}
	hexSalt, _, found := bytes.Cut(after, []byte(":"))
	if !found || len(hexSalt) != hex.EncodedLen(saltSize) {
		return nil
	}
	salt := make([]byte, saltSize)
	if _, err := hex.Decode(salt, hexSalt); err != nil {
		return nil
	}
	return salt
}

// mapping builds a mapping of alternating keys (strings) and values (*yaml.Node).
func mapping(pairs ...any) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, x := range pairs {
		switch x := x.(type) {
		case string:
			n.Content = append(n.Content, text(x))
		case *yaml.Node:
			n.Content = append(n.Content, x)
		}
	}
	return n
}

// texts builds a mapping of strings, sorted by key.
func texts(m map[string]string) *yaml.Node {
	n := mapping()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		n.Content = append(n.Content, text(key), text(m[key]))
	}
	return n
}

func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}
