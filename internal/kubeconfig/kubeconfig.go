// Package kubeconfig makes the kubeconfig of a destination cluster fit for a ClusterPair,
// out of whichever Secret it travels in.
//
// Call [ParseSecret] and [FromSecret] for a Secret, or [FromDocument] for a
// plain kubeconfig; both give a [Destination], whose [Destination.Config] is
// the spec.config of a ClusterPair.
//
// The package promises:
//
//   - A Destination comes only without a finding of severity Error, and means
//     to Stork what the kubeconfig means to client-go: what client-go refuses
//     is refused here.
//   - It holds one context, everything inline, under names that are DNS labels.
//   - All findings of a kubeconfig come at once, and none holds a value of a
//     credential.
package kubeconfig

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
)

// Options are what a pair says about its destination.
type Options struct {
	// Key is the Secret's key that holds the kubeconfig; empty leaves the
	// choice to the convention that the Secret follows.
	Key string
	// Context is the context to take; empty means the current-context.
	Context string
	// Server replaces the server's URL. As with kubectl's --server, the
	// kubeconfig's tls-server-name then no longer holds.
	Server string
	// TLSServerName replaces the name that the server's certificate must bear.
	TLSServerName string
	// StorkVersion is the release of the source cluster's Stork, as "24.3";
	// empty is unknown. It decides how an exec user is spelled.
	StorkVersion string
	// Allow holds the rules that the user waives. Rules for which [report.Waivable]
	// is false cannot be waived.
	Allow map[string]bool
	// Within is the horizon of the rule credential-expiring; zero means [Within].
	Within time.Duration
	// Now is the time by which certificates and tokens are judged.
	Now time.Time
}

// AllowAll waives every rule that can be waived, for who only asks what a kubeconfig
// says.
func AllowAll() map[string]bool {
	allow := make(map[string]bool)
	for _, rule := range report.WaivableRules() {
		allow[rule] = true
	}
	return allow
}

// Destination is a kubeconfig of one context with everything inline. Its
// secret fields are in clear: never print one.
type Destination struct {
	// Context, Cluster and User are DNS labels.
	Context, Cluster, User string
	// Namespace is the context's; it may be empty.
	Namespace string

	Server, TLSServerName, ProxyURL string
	CAData                          []byte // PEM
	InsecureSkipTLSVerify           bool

	Token                                string
	ClientCertificateData, ClientKeyData []byte // PEM
	Username, Password                   string
	Impersonate, ImpersonateUID          string
	ImpersonateGroups                    []string
	ImpersonateUserExtra                 map[string][]string
	Exec                                 *Exec

	end   *End   // nil: [Destination.End] works it out
	caKey []byte // the SubjectPublicKeyInfo of the CA
}

// Exec is a user whose credential a command gives out.
type Exec struct {
	APIVersion, Command string
	Args                []string
	Env                 []EnvVar
	// InteractiveMode is Never, IfAvailable or Always.
	InteractiveMode    string
	ProvideClusterInfo bool
}

// EnvVar is a variable of an [Exec]'s environment.
type EnvVar struct{ Name, Value string }

// FromSecret finds the kubeconfig in a Secret, or assembles one from the
// Secret's parts, and checks it. File names in the kubeconfig may stand for
// other keys of the Secret. With a finding of severity Error the Destination
// is nil.
func FromSecret(s *Secret, o Options) (*Destination, []report.Finding) {
	c := &checker{options: o, origin: origin{position: s.Position}}
	c.fromSecret(s)
	return c.finish()
}

// FromDocument checks a plain kubeconfig. File names in it are refused. With a
// finding of severity Error the Destination is nil.
func FromDocument(doc *yaml.Node, file string, o Options) (*Destination, []report.Finding) {
	c := &checker{options: o, origin: origin{file: file, position: position(doc, file)}}
	c.fromKubeconfig(doc, nil)
	return c.finish()
}

// CheckDocument tells only whether client-go can read a plain kubeconfig: its
// syntax, types and duplicates in all contexts, and nothing of their sense.
func CheckDocument(doc *yaml.Node, file string) []report.Finding {
	c := &checker{origin: origin{file: file, position: position(doc, file)}}
	c.read(doc)
	return c.findings
}

// Within is the horizon of the rule credential-expiring where nobody has set another.
const Within = 30 * 24 * time.Hour

// IsKubeconfig tells whether a document is a kubeconfig: of kind Config, or
// without a kind and with clusters, contexts and users.
func IsKubeconfig(doc *yaml.Node) bool {
	doc = content(doc)
	if kind := field(doc, "kind"); kind != nil {
		version := field(doc, "apiVersion")
		return kind.Value == "Config" && (version == nil || version.Value == "v1")
	}
	return field(doc, "clusters") != nil && field(doc, "contexts") != nil && field(doc, "users") != nil
}

// CAKeyDigest is that of the destination's CA: "sha256:" and the SHA-256 of the
// SubjectPublicKeyInfo in hexadecimal, so that a CA renewed with its old key stays
// the same. Of a bundle the first CA counts, as all tools that write one put the
// cluster's own CA first. It is empty when there is no CA. Clusters behind one
// proxy, or under one company's CA, have the same: see [Destination.ID].
func (d *Destination) CAKeyDigest() string {
	if len(d.caKey) == 0 {
		return ""
	}
	return keyDigest(d.caKey)
}

// FullEntropy tells whether the secret part cannot be guessed: it holds a
// private key, or a token of at least 32 characters, which are 128 bits even
// in hexadecimal.
func (d *Destination) FullEntropy() bool {
	return len(d.ClientKeyData) > 0 || len(d.Token) >= fullEntropy
}

// CredentialDigest tells equal credentials from others, for as long as the process
// lives. It is empty where the credential could be anybody's.
func (d *Destination) CredentialDigest() string {
	if !d.FullEntropy() {
		return ""
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte(d.Token), d.ClientKeyData} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return string(h.Sum(nil))
}

// fullEntropy is the length from which on nobody guesses a token.
const fullEntropy = 32

// Config is the value of a ClusterPair's spec.config, in the spelling that
// Stork's decoder wants: not quite a kubeconfig's. Its keys are sorted. It
// holds only fields that every client-go of every Stork knows, because Stork
// strips others, and no file path, extension or preference.
func (d *Destination) Config(storkVersion string) *yaml.Node {
	cluster := fields{
		"certificate-authority-data": dataNode(d.CAData),
		"insecure-skip-tls-verify":   boolNode(d.InsecureSkipTLSVerify),
		"proxy-url":                  textNode(d.ProxyURL),
		"server":                     textNode(d.Server),
		"tls-server-name":            textNode(d.TLSServerName),
	}
	context := fields{
		"cluster":   textNode(d.Cluster),
		"namespace": textNode(d.Namespace),
		"user":      textNode(d.User),
	}
	user := fields{
		"act-as":                  textNode(d.Impersonate),
		"act-as-groups":           textNodes(d.ImpersonateGroups),
		"act-as-uid":              textNode(d.ImpersonateUID),
		"client-certificate-data": dataNode(d.ClientCertificateData),
		"client-key-data":         dataNode(d.ClientKeyData),
		"exec":                    d.Exec.node(storkVersion),
		"password":                textNode(d.Password),
		"token":                   textNode(d.Token),
		"username":                textNode(d.Username),
	}
	if len(d.ImpersonateUserExtra) > 0 {
		extra := make(fields, len(d.ImpersonateUserExtra))
		for key, values := range d.ImpersonateUserExtra {
			if extra[key] = textNodes(values); extra[key] == nil {
				extra[key] = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
			}
		}
		user["act-as-user-extra"] = extra.node()
	}
	return fields{
		"clusters":        fields{d.Cluster: cluster.node()}.node(),
		"contexts":        fields{d.Context: context.node()}.node(),
		"current-context": textNode(d.Context),
		"users":           fields{d.User: user.node()}.node(),
	}.node()
}

// node spells an exec user for a Stork release. client-go has called the
// interactive mode InteractiveMode from 0.22 and interactiveMode from 0.28,
// ignores the one that it does not know and refuses a user that has neither.
// Before 0.22 there is none. Stork up to 24.3 vendors 0.25; what newer ones
// vendor is not public, so that they get both.
func (e *Exec) node(storkVersion string) *yaml.Node {
	if e == nil {
		return nil
	}
	n := fields{
		"apiVersion":         textNode(e.APIVersion),
		"args":               textNodes(e.Args),
		"command":            textNode(e.Command),
		"provideClusterInfo": boolNode(e.ProvideClusterInfo),
	}
	if len(e.Env) > 0 {
		n["env"] = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, v := range e.Env {
			n["env"].Content = append(n["env"].Content, mapping(
				scalar("!!str", "name"), scalar("!!str", v.Name),
				scalar("!!str", "value"), scalar("!!str", v.Value)))
		}
	}
	release, _ := stork.Parse(storkVersion)
	if !release.HasOldClient() {
		n["InteractiveMode"] = textNode(e.InteractiveMode)
	}
	if !release.SpellsInteractiveMode() {
		n["interactiveMode"] = textNode(e.InteractiveMode)
	}
	return n.node()
}

// fields are the keys and values of a mapping; a nil value is left out.
type fields map[string]*yaml.Node

// node is the mapping with its keys sorted.
func (f fields) node() *yaml.Node {
	n := mapping()
	for _, key := range slices.Sorted(maps.Keys(f)) {
		if f[key] != nil {
			n.Content = append(n.Content, scalar("!!str", key), f[key])
		}
	}
	return n
}

func mapping(content ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: content}
}

// scalar quotes the words that Stork, by YAML 1.1, would take for a bool.
func scalar(tag, value string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
	if _, ok := yaml11Bools[value]; ok && tag == "!!str" {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// textNode, textNodes, dataNode and boolNode are nil for a zero value.
func textNode(s string) *yaml.Node {
	if s == "" {
		return nil
	}
	return scalar("!!str", s)
}

func textNodes(texts []string) *yaml.Node {
	if len(texts) == 0 {
		return nil
	}
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, s := range texts {
		n.Content = append(n.Content, scalar("!!str", s))
	}
	return n
}

func dataNode(data []byte) *yaml.Node {
	if len(data) == 0 {
		return nil
	}
	return scalar("!!str", encodeBase64(data))
}

func boolNode(b bool) *yaml.Node {
	if !b {
		return nil
	}
	return scalar("!!bool", "true")
}
