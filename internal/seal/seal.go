// Package seal encrypts a file of whatever kind with SOPS so that no credential in it is
// left in clear.
//
// A [Request] is for what a user hands over, [EncryptPair] for a ClusterPair that
// was rendered. Who may read a file is what [PolicyOf] says. [File] chooses what to
// encrypt by the kind of the documents, unless the creation rule says so, and the
// format by the name of the file, as sops does. [Check] judges any encrypted file
// beside what it was made of. [Open] gives back what is in a file, encrypted or not;
// [Explain] makes a finding of what SOPS says. No error holds a value.
package seal

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/plainjson"
	"clusterpair.dev/internal/sopsfile"
)

// Kind is what a document is, as far as it matters for what to encrypt.
type Kind int

// The kinds.
const (
	Other      Kind = iota // no object of Kubernetes, such as the values of a chart
	Object                 // any other object of Kubernetes
	Secret                 // a Secret
	Pair                   // a ClusterPair
	Kubeconfig             // a kubeconfig, with or without its kind
)

// KindOf tells the kind of a document in clear.
func KindOf(doc *yaml.Node) Kind {
	kind := manifest.Text(doc, "kind")
	config := manifest.Field(doc, "spec", "config")
	switch {
	case kind == "ClusterPair", kind == "" && config != nil && config.Kind == yaml.MappingNode:
		return Pair
	case kind == "Secret":
		return Secret
	case kubeconfig.IsKubeconfig(doc):
		return Kubeconfig
	case kind != "" && manifest.Text(doc, "apiVersion") != "":
		return Object
	}
	return Other
}

// What is encrypted of a ClusterPair and of a Secret: the credentials, and
// nothing that a reviewer has to read.
const (
	PairSelector   = "^(config|token)$"
	SecretSelector = "^(data|stringData)$"
)

// ForPair completes a policy for a ClusterPair.
func ForPair(p *sopsfile.Policy) *sopsfile.Policy { return complete(p, PairSelector) }

// ForSecret completes a policy for a Secret.
func ForSecret(p *sopsfile.Policy) *sopsfile.Policy { return complete(p, SecretSelector) }

// complete sets what a creation rule leaves open: what is encrypted, and that
// the MAC covers only that, so that it survives kustomize.
func complete(p *sopsfile.Policy, selector string) *sopsfile.Policy {
	c := *p
	if c.Selector == (sopsfile.Selector{}) {
		c.Selector.EncryptedRegex = selector
	}
	if c.MACOnlyEncrypted == nil {
		yes := true
		c.MACOnlyEncrypted = &yes
	}
	return &c
}

// For completes a policy for the documents of a file: of objects of Kubernetes
// all is encrypted but what says which object it is. If one is no such object
// the policy stays, which means all values to SOPS.
func For(p *sopsfile.Policy, docs []*yaml.Node) *sopsfile.Policy {
	keys := make(map[string]bool)
	for _, doc := range objects(docs) {
		switch KindOf(doc) {
		case Pair:
			keys["config"], keys["token"] = true, true
		case Secret:
			keys["data"], keys["stringData"] = true, true
		case Object:
			for i := 0; i+1 < len(doc.Content); i += 2 {
				if key := doc.Content[i].Value; !isIdentity(key) {
					keys[regexp.QuoteMeta(key)] = true
				}
			}
		default:
			return p
		}
	}
	if len(keys) == 0 { // there is nothing but what says which object it is
		return complete(p, SecretSelector)
	}
	var sorted []string
	for key := range keys {
		sorted = append(sorted, key)
	}
	slices.Sort(sorted)
	return complete(p, "^("+strings.Join(sorted, "|")+")$")
}

// isIdentity tells the keys of an object that say which one it is.
func isIdentity(key string) bool { return key == "apiVersion" || key == "kind" || key == "metadata" }

// objects are documents, and in the place of a List its items.
func objects(docs []*yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	for _, doc := range docs {
		if items := manifest.Field(doc, "items"); IsList(doc) {
			all = append(all, objects(items.Content)...)
			continue
		}
		all = append(all, doc)
	}
	return all
}

// IsList tells whether a document is a List of objects, as kubectl get prints.
func IsList(doc *yaml.Node) bool {
	items := manifest.Field(doc, "items")
	return strings.HasSuffix(manifest.Text(doc, "kind"), "List") && items != nil && items.Kind == yaml.SequenceNode && len(items.Content) > 0
}

// Input is a file to encrypt.
type Input struct {
	// Name is that of the file in errors, Data what it holds.
	Name string
	Data []byte
	// Target names the file that is written, which decides on its format. If it
	// is empty the format is YAML.
	Target string
	// Policy is what the creation rule says.
	Policy *sopsfile.Policy
	// Previous is the file that the result is to replace, nil if there is none.
	Previous []byte
}

// Result is an encrypted file.
type Result struct {
	Data []byte
	// Copies are the annotations that [File] has taken out.
	Copies []Copy
	// Lists tells that a document is a List, which kustomize and Flux take apart.
	Lists bool
	// Unchanged tells that the previous file holds these bytes already.
	Unchanged bool
}

// Copy is an annotation in which a tool keeps a copy of the whole object.
type Copy struct {
	Annotation string
	Line       int
}

// LastApplied is the annotation in which kubectl apply keeps a copy of the whole
// object, in clear.
const LastApplied = leak.LastApplied

// File encrypts a file. The copies that kubectl apply and others keep in annotations
// are left out. The error is a [LeftError] if a credential would be left in clear, a
// [FormatError] if no file of the target's name can hold the documents, an
// [EncryptedError], one of package manifest, or one of package sopsfile.
func File(ctx context.Context, safe *sopsfile.Safe, in Input) (Result, error) {
	format := sopsfile.YAML
	if in.Target != "" {
		format = sopsfile.FormatOf(in.Target)
	}
	docs, err := manifest.Parse(in.Data, in.Name)
	if doc, ok := plainjson.Parse(in.Data); ok && err == nil && format == sopsfile.JSON {
		docs = []*yaml.Node{doc} // whose numbers are those of JSON
	}
	plain := manifest.Contents(docs)
	for i, doc := range plain {
		if sopsfile.IsEncrypted(doc) {
			return Result{}, &EncryptedError{Index: i, Line: doc.Line}
		}
	}
	if format == sopsfile.Binary {
		return wrapped(ctx, safe, in, plain, err)
	}
	if err := fits(in, format, plain, err); err != nil {
		return Result{}, err
	}
	var r Result
	for _, doc := range plain {
		r.Copies = dropCopies(doc, r.Copies)
		r.Lists = r.Lists || IsList(doc)
	}
	policy := For(in.Policy, plain)
	r.Data, _, err = safe.Encrypt(ctx, docs, in.Previous, policy, sopsfile.EncryptOptions{File: in.Name, Format: format})
	if err != nil {
		return Result{}, err
	}
	r.Unchanged = bytes.Equal(r.Data, in.Previous)
	return r, Check(r.Data, plain, in.Data)
}

// fits is the error for a file whose documents cannot be encrypted one by one in a
// format. bad is why it could not be read.
func fits(in Input, format sopsfile.Format, docs []*yaml.Node, bad error) error {
	mappings := !slices.ContainsFunc(docs, func(doc *yaml.Node) bool { return doc.Kind != yaml.MappingNode })
	switch {
	case format == sopsfile.YAML && bad != nil:
		return bad
	case format == sopsfile.Lines && isSealedLines(in.Data):
		return &EncryptedError{}
	case format == sopsfile.Lines && (bad != nil || !mappings):
		return &FormatError{Format: format} // it is what its name tells
	case format == sopsfile.Lines:
		return &FormatError{Format: format, Documents: len(docs)}
	case format == sopsfile.JSON && mappings && (in.Name == in.Target && !plainjson.Is(in.Data) || len(docs) > 1):
		return &FormatError{Format: format, Documents: len(docs)}
	case bad != nil:
		return bad
	case len(docs) == 0:
		return &EmptyError{}
	}
	return nil
}

// Foresee is the error that [File] would give, without asking the services that hold
// keys: the file is encrypted for nobody.
func Foresee(ctx context.Context, in Input) error {
	nobody, err := sopsfile.Recipients{Age: []string{sopsfile.Nobody()}}.Policy()
	if err != nil {
		return err
	}
	nobody.Selector, nobody.MACOnlyEncrypted, nobody.Source = in.Policy.Selector, in.Policy.MACOnlyEncrypted, in.Policy.Source
	nobody.Indent, nobody.JSONIndent, nobody.BinaryIndent = in.Policy.Indent, in.Policy.JSONIndent, in.Policy.BinaryIndent
	in.Policy = nobody
	_, err = File(ctx, sopsfile.New(nil), in)
	return err
}

// wrapped encrypts a file as one value, as sops does with names that tell of no
// format. What is to be applied to a cluster could not be, afterwards.
func wrapped(ctx context.Context, safe *sopsfile.Safe, in Input, plain []*yaml.Node, bad error) (Result, error) {
	if bad == nil {
		for _, doc := range plain {
			if kind := KindOf(doc); kind == Pair || kind == Secret || kind == Object {
				return Result{}, &FormatError{Format: sopsfile.Binary, Documents: len(plain)}
			}
		}
	}
	if len(bytes.TrimSpace(in.Data)) == 0 {
		return Result{}, &EmptyError{}
	}
	policy := *in.Policy
	policy.Selector, policy.MACOnlyEncrypted = sopsfile.Selector{}, nil // sops leaves both out here
	data, _, err := safe.Encrypt(ctx, []*yaml.Node{sopsfile.Wrap(in.Data)}, in.Previous, &policy, sopsfile.EncryptOptions{File: in.Name, Format: sopsfile.Binary})
	return Result{Data: data, Unchanged: bytes.Equal(data, in.Previous)}, err
}

// dropCopies takes the annotations with a copy of the object out of a document, and
// adds them.
func dropCopies(n *yaml.Node, copies []Copy) []Copy {
	if n.Kind == yaml.MappingNode {
		if metadata := manifest.Field(n, "metadata"); metadata != nil {
			annotations := manifest.Field(metadata, "annotations")
			before := len(copies)
			for i := 0; annotations != nil && annotations.Kind == yaml.MappingNode && i+1 < len(annotations.Content); {
				key := annotations.Content[i]
				if leak.CopiedBy(key.Value) == "" {
					i += 2
					continue
				}
				copies = append(copies, Copy{key.Value, key.Line})
				annotations.Content = slices.Delete(annotations.Content, i, i+2)
			}
			if len(copies) > before && len(annotations.Content) == 0 {
				at := manifest.Index(metadata, "annotations")
				metadata.Content = slices.Delete(metadata.Content, at, at+2)
			}
		}
	}
	for _, child := range n.Content {
		copies = dropCopies(child, copies)
	}
	return copies
}

// EncryptedError tells that a document is encrypted already.
type EncryptedError struct {
	Index int // of the document in its file
	Line  int
}

func (e *EncryptedError) Error() string { return "the file is encrypted already" }

// EmptyError tells that there is no document.
type EmptyError struct{}

func (*EmptyError) Error() string { return "the file holds no document" }

// FormatError tells that sops could not read the result from a file of its name,
// or nobody could use it.
type FormatError struct {
	Format    sopsfile.Format
	Documents int // of YAML or JSON in the file
}

func (e *FormatError) Error() string {
	switch {
	case e.Format == sopsfile.Lines && e.Documents == 0:
		return "the file holds lines NAME=VALUE, which sops encrypts and clusterpair does not"
	case e.Format == sopsfile.Lines:
		return "by its name sops takes the file for lines NAME=VALUE, and could not read the result"
	case e.Format == sopsfile.Binary:
		return "by its name sops takes the file for no YAML, and encrypts it as a whole: kustomize, Flux and Argo CD could not tell what object is in it"
	case e.Documents > 1:
		return fmt.Sprintf("by its name sops takes the file for JSON, which holds one document and not %d", e.Documents)
	}
	return "by its name sops takes the file for JSON, which it is not"
}

// CoversSecret tells whether a policy encrypts the values of a Secret and leaves
// in clear what says which Secret it is.
func CoversSecret(p *sopsfile.Policy) bool {
	text := func(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }
	mapping := func(key string, value *yaml.Node) []*yaml.Node { return []*yaml.Node{text(key), value} }
	sample := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: slices.Concat(
		mapping("apiVersion", text("v1")), mapping("kind", text("Secret")),
		mapping("metadata", &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: mapping("name", text("a"))}),
		mapping("data", &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: mapping("value", text("b"))}),
	)}
	covered, stray := false, false
	err := ForSecret(p).Selector.Uncovered(sample, func(_ *yaml.Node, path []string, selected bool) {
		covered = covered || selected && path[0] == "data"
		stray = stray || selected && isIdentity(path[0])
	})
	return err == nil && covered && !stray
}
