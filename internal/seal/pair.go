package seal

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// EncryptPair encrypts one ClusterPair; opts names its file in errors.
func EncryptPair(ctx context.Context, safe *sopsfile.Safe, plain *yaml.Node, previous []byte, policy *sopsfile.Policy, opts sopsfile.EncryptOptions) ([]byte, []report.Finding, error) {
	complete, shown := ForPair(policy), opts.File
	document, change, err := safe.Encrypt(ctx, []*yaml.Node{plain}, previous, complete, opts)
	if err == nil && change.Kind == sopsfile.Unchanged && policy.Indent == 0 && opts.Format == sopsfile.YAML {
		document, err = restyle(document, shown)
	}
	if err != nil {
		return nil, nil, Explain(err, shown)
	}
	var findings []report.Finding
	if change.NoKey != nil {
		findings = []report.Finding{{Rule: "no-key", Severity: report.Info, Position: report.Position{File: shown},
			Message: "without a key it cannot be told whether the credential has changed, as a digest in clear of one that could be guessed would allow the guess: the pair is encrypted anew",
			Hint:    change.NoKey.Hint()}}
	}
	if complete.Selector.EncryptedRegex == PairSelector && (change.Kind == sopsfile.Created || change.Kind == sopsfile.Rekeyed) {
		// All of it is new, and sealed where it should be: it need not be read again.
		if !saysMore(plain) {
			return document, findings, nil
		}
		if clear, simple := sealedPair(plain, false); simple {
			return document, findings, explainLeft(checkTree(clear, plain), policy, shown)
		}
	}
	return document, findings, CheckObject(document, plain, policy, shown)
}

// sealedPair is a pair with ciphertexts in the place of what the selector for pairs
// encrypts. simple tells that no text in clear could be taken for a comment when the
// pair is written.
func sealedPair(n *yaml.Node, selected bool) (sealed *yaml.Node, simple bool) {
	if n.Kind == yaml.ScalarNode {
		switch {
		case selected && n.Value != "" && n.ShortTag() != "!!null":
			return ciphertext, true
		default:
			return n, !strings.Contains(n.Value, "#")
		}
	}
	c := *n
	c.Content, simple = make([]*yaml.Node, len(n.Content)), n.Kind != yaml.AliasNode
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			c.Content[i], simple = child, simple && !strings.Contains(child.Value, "#")
			continue
		}
		below := selected
		if n.Kind == yaml.MappingNode {
			key := n.Content[i-1].Value
			below = below || key == "config" || key == "token"
		}
		var ok bool
		c.Content[i], ok = sealedPair(child, below)
		simple = simple && ok
	}
	return &c, simple
}

// ciphertext stands for any.
var ciphertext = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "ENC["}

// saysMore tells whether a pair has texts in clear that somebody has written into its
// config, among which a credential may be.
func saysMore(plain *yaml.Node) bool {
	if manifest.Field(plain, "metadata", "labels") != nil || manifest.Field(plain, "spec", "platformOptions") != nil {
		return true // what else there is in clear has been judged as a name, an address or a number
	}
	annotations := manifest.Field(plain, "metadata", "annotations")
	for i := 0; annotations != nil && i < len(annotations.Content); i += 2 {
		if name := annotations.Content[i].Value; !strings.HasPrefix(name, "clusterpair.dev/") || strings.HasPrefix(name, generator.AnnotationAllow) {
			return true
		}
	}
	return false
}

// restyle writes an encrypted pair as kustomize prints it: sops itself, after sops
// rotate or sops updatekeys, leaves another indentation. The values keep their bytes
// and their order, as the MAC is taken over them one after another. If the order would
// change, the document stays as it is.
func restyle(document []byte, shown string) ([]byte, error) {
	docs, err := manifest.Values(document, shown)
	if err != nil {
		return nil, err
	}
	styled, err := sopsfile.Marshal(docs, 0)
	if err != nil || bytes.Equal(styled, document) {
		return document, err
	}
	before, after := manifest.Field(docs[0], "spec"), (*yaml.Node)(nil)
	if again, err := manifest.Values(styled, shown); err == nil && len(again) == len(docs) {
		after = manifest.Field(again[0], "spec")
	}
	if len(docs) != 1 || !slices.Equal(leaves(before), leaves(after)) {
		return document, nil
	}
	return styled, nil
}

// leaves are the values of a tree in the order of the document.
func leaves(n *yaml.Node) []string {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}
	}
	var values []string
	for i, c := range n.Content {
		if n.Kind == yaml.SequenceNode || i%2 == 1 {
			values = append(values, leaves(c)...)
		}
	}
	return values
}

// CheckObject refuses a document whose creation rule leaves a credential in clear,
// or encrypts what has to be read: rules for Secrets do both to a ClusterPair.
// plain is what the document was made of.
func CheckObject(document []byte, plain *yaml.Node, policy *sopsfile.Policy, shown string) error {
	return explainLeft(Check(document, manifest.Contents([]*yaml.Node{plain}), nil), policy, shown)
}

// explainLeft makes a finding about the creation rule of a [LeftError].
func explainLeft(err error, policy *sopsfile.Policy, shown string) error {
	var left *LeftError
	if !errors.As(err, &left) {
		return err
	}
	selector := PairSelector
	if left.Kind == Secret {
		selector = SecretSelector
	}
	where := strings.Join(left.Path, ".")
	f := report.Finding{Rule: "leaf-not-encrypted", Severity: report.Error, Position: report.Position{File: cmp.Or(policy.Source, shown)},
		Hint: "leave the selector out of the creation rule for " + shown + ", or give it a rule of its own with  encrypted_regex: " + selector}
	switch {
	case left.Reason == Unreadable:
		f.Rule, f.Message = "metadata-encrypted", fmt.Sprintf("the creation rule encrypts %s of %s, which nobody could review or find again", where, shown)
	case left.Reason == InClear && left.What == "":
		f.Message = fmt.Sprintf("the creation rule leaves %s of %s in clear", where, shown)
	default:
		f.Position.File, f.Message, f.Hint = shown, left.Error(), "take the credential out of there, and renew it if this was ever pushed"
	}
	return f
}

// CheckSelected refuses an encrypted ClusterPair with a value in clear below
// spec.config. The MAC covers encrypted values alone, so that who has no key
// could have narrowed the selector and put it there.
func CheckSelected(pair *yaml.Node, file string) error {
	if manifest.Text(pair, "kind") != generator.ClusterPairKind {
		return nil
	}
	var clear *yaml.Node
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		for i, c := range n.Content {
			switch {
			case clear != nil || n.Kind == yaml.MappingNode && i%2 == 0:
			case c.Kind == yaml.ScalarNode && c.Value != "" && c.ShortTag() != "!!null" && !strings.HasPrefix(c.Value, "ENC["):
				clear = c
			default:
				walk(c)
			}
		}
	}
	if config := manifest.Field(pair, "spec", "config"); config != nil {
		walk(config)
	}
	if clear == nil {
		return nil
	}
	return report.Finding{Rule: "leaf-not-encrypted", Severity: report.Error, Position: manifest.Position(clear, file),
		Message: "a value below spec.config is in clear: without a key anybody could have written it",
		Hint:    "restore the file from Git history, or render it anew: clusterpair generate -f CONFIG"}
}
