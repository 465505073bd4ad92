package generator

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"hash"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// AnnotationSource is sha256:HASH, in hexadecimal, over all that a pair was rendered
// from and over the file itself. Whoever has no key sees by it that nobody forgot to
// render the pair anew. It vouches for no value: everything that it is made of is public.
const AnnotationSource = "clusterpair.dev/source"

// sourceFormat is hashed first. Raise it when the same config and Secret are rendered
// in another way than before, so that no pair of before counts as fresh.
const sourceFormat = "clusterpair.dev/source/1"

// Values says when [Generate] decrypts the Secret of a pair that is fresh: rendered by
// an earlier run from the same encrypted Secret, by the same config.
type Values int

// When it does.
const (
	// Always, to compare the values.
	Always Values = iota
	// IfStale leaves a fresh pair alone.
	IfStale
	// IfKey does where a key is at hand. Without one a pair is fresh or stale.
	IfKey
	// Never says of each pair that it is fresh or stale. What stands in clear, or in a
	// pair that does not say what it was rendered from, needs no key or takes one.
	Never
	// Look renders nothing. It says of each pair that it is fresh, stale or not known.
	Look
)

// State is what the file of a pair says about what it was rendered from.
type State int

// The states.
const (
	Missing  State = iota // there is no file
	Unmarked              // it says nothing
	Stale                 // it was rendered from something else, or changed afterwards
	Fresh
)

// Sealed is what can be told of a document without a key: which pairs are rendered from
// it, and whether it is the same as before.
type Sealed struct {
	header
	position   report.Position
	opaque     bool // what it is is encrypted, too
	kubeconfig bool // or what may be one
	digest     []byte
}

// Seal reads the documents that a document holds, which are several in a List. encrypted
// tells that it has a sops section.
func Seal(doc *yaml.Node, file string, encrypted bool) (all []Sealed) {
	manifest.EachItem(doc, func(item *yaml.Node) {
		s := Sealed{header: readHeader(item).clone(), position: manifest.Position(item, file)}
		s.opaque = encrypted && s.kind == "" || isSealed(s.kind) || isSealed(s.name)
		s.kubeconfig = s.opaque || kubeconfig.IsKubeconfig(item)
		if encrypted {
			s.digest = digestSealed(item, s.kind)
		}
		all = append(all, s)
	})
	return all
}

func isSealed(value string) bool { return strings.HasPrefix(value, "ENC[") }

// clone keeps no part of the text that the header was read from.
func (h header) clone() header {
	c := header{kind: strings.Clone(h.kind), name: strings.Clone(h.name), namespace: strings.Clone(h.namespace)}
	if h.labels != nil {
		c.labels = make(map[string]string, len(h.labels))
		for key, value := range h.labels {
			c.labels[strings.Clone(key)] = strings.Clone(value)
		}
	}
	return c
}

// digestSealed is a digest of the encrypted values of a document, nil if one of a Secret
// is in clear, or none of another document is encrypted: what is in clear could be
// guessed by its digest. A ciphertext cannot, as each holds 32 random bytes. Of a Secret
// it takes in what a kubeconfig is read from, and not its labels, which clusterpair
// leaves to the user.
func digestSealed(doc *yaml.Node, kind string) []byte {
	if kind != "Secret" {
		h := sha256.New()
		if !digestAll(h, doc) {
			return nil
		}
		return h.Sum(nil)
	}
	texts := append(kubeconfig.Convention(doc), manifest.Text(doc, "metadata", "namespace"), manifest.Text(doc, "metadata", "name"))
	for _, part := range []string{"data", "stringData"} {
		values := manifest.Field(doc, part)
		if values == nil {
			continue
		}
		var sealed []string
		for i := 0; i+1 < len(values.Content); i += 2 {
			value := values.Content[i+1]
			if value.Kind != yaml.ScalarNode || value.Value != "" && !isSealed(value.Value) {
				return nil
			}
			sealed = append(sealed, part+"."+values.Content[i].Value+"="+value.Value)
		}
		slices.Sort(sealed) // kustomize sorts the keys
		texts = append(texts, sealed...)
	}
	sum := sha256.Sum256(joined(nil, texts...))
	return sum[:]
}

// digestAll hashes a document but for its sops section. It tells whether any value is
// encrypted.
func digestAll(h hash.Hash, n *yaml.Node) (sealed bool) {
	top := *n
	if n.Kind == yaml.MappingNode {
		if at := manifest.Index(n, "sops"); at >= 0 {
			top.Content = slices.Delete(slices.Clone(n.Content), at, at+2)
		}
	}
	digestNode(h, &top)
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		sealed = sealed || n.Kind == yaml.ScalarNode && isSealed(n.Value)
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(&top)
	return sealed
}

// joined appends texts to all, so that no others make the same.
func joined[T string | []byte](all []byte, texts ...T) []byte {
	for _, text := range texts {
		all = append(binary.BigEndian.AppendUint64(all, uint64(len(text))), text...)
	}
	return all
}

// source is a digest of what a pair is rendered from: all that the config says of it,
// and the encrypted Secrets. It is nil if a part of that is in clear.
func (r *run) source(j *job) []byte {
	p, c := j.pair, r.config
	key, token := "", ""
	if s := p.Destination.Secret; s != nil {
		key = s.Key
	}
	if from := p.Options.TokenFrom; from != nil {
		if token = string(j.token.digest); token == "" {
			return nil
		}
	}
	settings := r.settings
	if !j.selected {
		settings = settingsOf(&p.PairSettings)
	}
	if j.destination.digest == nil || settings == nil {
		return nil
	}
	var room [1024]byte // for most
	all := joined(room[:0], sourceFormat, c.Metadata.Name, c.Spec.StorkVersion, cmp.Or(p.Mode, c.Spec.Mode), p.Name, p.Namespace,
		p.Destination.Context, p.Destination.Server, p.Destination.TLSServerName, key)
	sum := sha256.Sum256(joined(joined(all, settings, j.destination.digest), token))
	return sum[:]
}

// settingsOf writes settings, so that no others are written the same.
func settingsOf(s *PairSettings) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return nil
	}
	return text
}

// sealedDocuments are those of a file, as far as they can be told without a key, nil if
// it has to be opened for that.
func (r *run) sealedDocuments(file string) []Sealed {
	all := r.in.Secrets.Index(file)
	anyOf := len(r.byName)+len(r.tokens) > 0 || r.config.Spec.Selector != nil
	if anyOf && slices.ContainsFunc(all, func(s Sealed) bool { return s.opaque }) {
		return nil
	}
	return all
}
