package inventory

import (
	"bytes"
	"path"
	"slices"
	"strings"
	"unique"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/fleet"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// secret is the metadata of a Secret.
type secret struct {
	fleet.Secret
	id, account string // of its credential
}

var (
	kindPair   = []byte(generator.ClusterPairKind) // of configs and fleets, too
	kindSecret = []byte("Secret")
	ruled      = []byte("creation_rules")
)

// concerns tells whether a file may hold what is looked for.
func concerns(data []byte) bool {
	return bytes.Contains(data, kindPair) || bytes.Contains(data, kindSecret) || bytes.Contains(data, ruled)
}

// file takes in the documents of a file.
func (c *collection) file(name string, data []byte) {
	if path.Base(name) == sopsfile.RulesName {
		var rules yaml.Node // with its anchors, which manifests lose
		if yaml.Unmarshal(data, &rules) == nil {
			c.rules(&rules)
		} else if _, err := sopsfile.ParseRules(data, name); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.broken = append(c.broken, err.Error())
		}
		return
	}
	manifest.Scan(data, name, func(d manifest.Document, broken *report.Finding) {
		switch {
		case broken == nil:
		case kustomize.Mentions(d.Text):
			c.config(name)
			return
		default:
			if holders.MayBePair(d.Text) && !manifest.IsTemplate(d.Text) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.unread = append(c.unread, *broken)
			}
			return
		}
		manifest.EachItem(d.Node, func(doc *yaml.Node) {
			switch manifest.Text(doc, "kind") {
			case generator.ClusterPairKind:
				c.pair(name, d.Node, doc)
			case "Secret":
				c.secret(name, doc)
			case generator.GeneratorKind, generator.FleetKind:
				c.config(name)
			default:
				if kustomize.Mentions(d.Text) { // a kustomization that holds one
					c.config(name)
				}
			}
		})
	})
}

func (c *collection) config(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.configs[name] = true
}

func (c *collection) secret(file string, doc *yaml.Node) {
	all := fleet.Secrets(doc, file, file)
	if len(all) == 0 {
		return
	}
	s := secret{Secret: all[0]}
	annotation := func(key string) string { return strings.Clone(manifest.Text(doc, "metadata", "annotations", key)) }
	s.id, s.account = annotation(generator.AnnotationCredentialID), annotation(holders.AnnotationAccount)
	if namespace, _, ok := strings.Cut(s.account, "/"); ok && s.id == "" {
		s.id = kubeconfig.TokenSecretID(namespace, annotation(holders.AnnotationTokenSecret))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.secrets[s.Name] = append(c.secrets[s.Name], s)
}

// pair takes in a pair, which stands in a document. One without a name is a template.
func (c *collection) pair(file string, whole, doc *yaml.Node) {
	text := func(keys ...string) string { return unique.Make(manifest.Text(doc, keys...)).Value() } // many are the same
	annotation := func(key string) string { return text("metadata", "annotations", key) }
	p := Pair{Namespace: text("metadata", "namespace"), Name: text("metadata", "name"), File: file,
		config: unique.Make(annotation(generator.AnnotationGeneratedBy)), ca: unique.Make(annotation(generator.AnnotationCA))}
	if p.Name == "" {
		return
	}
	end, _ := kubeconfig.ReadEnd(annotation) // what makes no sense is for the validator to tell
	p.both = annotation(generator.AnnotationBidirectional) == "true"
	p.Credential = annotation(generator.AnnotationCredentialID)
	if !kubeconfig.IsCredentialID(p.Credential) {
		p.Credential = ""
	}
	p.Waivers = waivers(manifest.Field(doc, "metadata", "annotations"))
	if m, err := sopsfile.ReadMetadata(whole, file); err == nil {
		p.Encrypted, p.Readers = true, readersOf(m)
		if !m.LastModified.IsZero() {
			p.Modified = m.LastModified.Unix()
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.intern[end] == nil {
		c.intern[end] = &end
	}
	p.End = c.intern[end]
	c.pairs = append(c.pairs, p)
}

// waivers are those that annotations tell, by their rules.
func waivers(annotations *yaml.Node) (all []Waiver) {
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		if rule, ok := strings.CutPrefix(annotations.Content[i].Value, generator.AnnotationAllow); ok {
			all = append(all, Waiver{strings.Clone(rule), strings.Clone(annotations.Content[i+1].Value)})
		}
	}
	slices.SortFunc(all, func(a, b Waiver) int { return strings.Compare(a.Rule, b.Rule) })
	return all
}

// readersOf are the recipients in one text: groups by lines, the recipients of a group by
// tabs, and before them how many groups it takes, if not any of one.
func readersOf(m *sopsfile.Metadata) unique.Handle[string] {
	var b strings.Builder
	for i, group := range m.Recipients {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.Join(group, "\t"))
	}
	if len(m.Recipients) > 1 {
		threshold := m.ShamirThreshold
		if threshold == 0 {
			threshold = len(m.Recipients)
		}
		b.WriteString("\n" + strings.Repeat("\n", threshold))
	}
	return unique.Make(b.String())
}

// Recipients are those of each key group of an encrypted pair, and from how many groups it
// takes a key to decrypt it.
func (p *Pair) Recipients() (groups [][]string, needed int) {
	if !p.Encrypted {
		return nil, 0
	}
	text := p.Readers.Value()
	listed := strings.TrimRight(text, "\n")
	for line := range strings.SplitSeq(listed, "\n") {
		groups = append(groups, strings.Split(line, "\t"))
	}
	return groups, max(1, len(text)-len(listed)-1)
}
