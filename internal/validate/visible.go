package validate

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// visible judges an encrypted kubeconfig by what SOPS leaves in clear: the
// names of its fields, and the type and length of each value. So who can write
// to the repository cannot take away the CA, or put one value in the place of
// another unless they look alike, and no reader of a review is told that all is
// well where a field says otherwise.
func (f *fileRun) visible(n *yaml.Node) {
	config := manifest.Field(n, "spec", "config")
	const path = "spec.config"
	f.names(manifest.Field(config, "current-context"), path+".current-context", "context", manifest.Field(config, "contexts"))
	each(manifest.Field(config, "contexts"), func(name string, context *yaml.Node) {
		path := path + ".contexts." + name
		f.names(manifest.Field(context, "cluster"), path+".cluster", "cluster", manifest.Field(config, "clusters"))
		if user := manifest.Field(context, "user"); has(context, "user") != nil {
			f.names(user, path+".user", "user", manifest.Field(config, "users"))
		} else {
			f.add(context, path, "context-broken", report.Error, "the context names no user: Stork connects as nobody, which it calls Ready", f.restored())
		}
	})
	each(manifest.Field(config, "clusters"), func(name string, cluster *yaml.Node) {
		f.visibleCluster(path+".clusters."+name, cluster, manifest.Text(n, "metadata", "annotations", generator.AnnotationCA))
	})
	each(manifest.Field(config, "users"), func(name string, user *yaml.Node) { f.visibleUser(path+".users."+name, user) })
}

func each(section *yaml.Node, visit func(name string, n *yaml.Node)) {
	if section == nil || section.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(section.Content); i += 2 {
		if n := section.Content[i+1]; n.Kind == yaml.MappingNode {
			visit(section.Content[i].Value, n)
		}
	}
}

// has is the value of a field that is neither null nor empty.
func has(n *yaml.Node, name string) *yaml.Node {
	v := manifest.Field(n, name)
	if v == nil || v.Kind == yaml.ScalarNode && (v.Value == "" || v.ShortTag() == "!!null") {
		return nil
	}
	return v
}

// visibleCluster judges a cluster. digest is what an annotation says of its CA;
// it may be empty.
func (f *fileRun) visibleCluster(path string, cluster *yaml.Node, digest string) {
	f.lengths(cluster, path)
	skip := isTrue(has(cluster, "insecure-skip-tls-verify"))
	ca := has(cluster, "certificate-authority-data")
	switch {
	case skip && ca != nil:
		f.add(manifest.Field(cluster, "insecure-skip-tls-verify"), path, "ca-invalid", report.Error, "insecure-skip-tls-verify together with a CA, which client-go refuses", "remove insecure-skip-tls-verify")
	case skip:
		f.add(manifest.Field(cluster, "insecure-skip-tls-verify"), path, "tls-skipped", report.Error,
			"insecure-skip-tls-verify hands the credential to whoever answers at the server's address", "give the CA in the destination's kubeconfig, and render the pair anew")
	case ca == nil && digest != "":
		f.add(cluster, path, "annotation-drift", report.Error, "no certificate-authority-data, although "+generator.AnnotationCA+" tells of one: somebody has taken the CA away, so that Stork would trust the public CAs of its image",
			f.restored())
	case ca == nil:
		f.add(cluster, path, "ca-missing", report.Error, "no certificate-authority-data: Stork would trust only the public CAs of its image", "give the CA in the destination's kubeconfig, and render the pair anew")
	}
	if proxy := has(cluster, "proxy-url"); proxy != nil {
		f.add(proxy, path+".proxy-url", "server-proxied", report.Warning, "the Stork pod has to reach the destination through a proxy", "check that the source cluster reaches the proxy")
	}
}

// visibleUser judges a user by the fields that it has.
func (f *fileRun) visibleUser(path string, user *yaml.Node) {
	f.lengths(user, path)
	token, exec := has(user, "token"), has(user, "exec")
	certificate, key := has(user, "client-certificate-data"), has(user, "client-key-data")
	basic := cmp.Or(has(user, "username"), has(user, "password"))
	const hint = "use a service account's token, and render the pair anew"
	if cmp.Or(token, exec, certificate, key, basic, has(user, "tokenFile"), has(user, "client-certificate"), has(user, "auth-provider")) == nil {
		f.add(user, path, "no-credential", report.Error, "the user has no credential; Stork would call the pair Ready, because anyone may ask for the version, and fail at the first migration", hint)
	}
	if (certificate == nil) != (key == nil) && cmp.Or(has(user, "client-certificate"), has(user, "client-key")) == nil {
		f.add(user, path, "certificate-invalid", report.Error, "a client certificate without its key, or a key without its certificate, which client-go refuses", f.restored())
	}
	if basic != nil {
		f.add(basic, path, "basic-auth", report.Error, "a user name with a password, which no API server has accepted since 1.19", hint)
	}
	switch {
	case token != nil && basic != nil:
		f.add(token, path, "several-credentials", report.Error, "both a token and a password, which client-go refuses", "keep one")
	case exec != nil && cmp.Or(token, basic, certificate, key) != nil:
		f.add(exec, path, "several-credentials", report.Error, "an exec user with another credential beside it", "keep one")
	}
	if exec != nil {
		f.add(exec, path+".exec", "exec-credential", report.Error, "exec user: its command runs inside the Stork pod, with the pod's cloud credentials", "use a service account's token, or allow the rule for this pair")
	}
}

// names judges a value that is to name one of several things: each of them has
// its name in clear, whose length the ciphertext must have.
func (f *fileRun) names(n *yaml.Node, path, what string, among *yaml.Node) {
	if n == nil || among == nil || among.Kind != yaml.MappingNode {
		return // the schema has said so
	}
	length, ok := sealedLength(n)
	if !ok || length == 0 { // which the schema refuses
		return
	}
	for i := 0; i+1 < len(among.Content); i += 2 {
		if len(among.Content[i].Value) == length {
			return
		}
	}
	f.add(n, path, "context-broken", report.Error, fmt.Sprintf("no %s has a name of the length of this one: a name or a value was changed without a key", what),
		f.restored())
}

// sealedLength is the length of the plaintext of a text: SOPS adds nothing to
// it. Without ok the value is no ciphertext of a text.
// https://github.com/getsops/sops/blob/v3.13.3/aes/cipher.go
func sealedLength(n *yaml.Node) (length int, ok bool) {
	if n == nil || n.Kind != yaml.ScalarNode {
		return 0, false
	}
	if n.Value == "" {
		return 0, n.ShortTag() == "!!str"
	}
	data, ok := strings.CutPrefix(n.Value, "ENC[AES256_GCM,data:")
	if !ok || !strings.HasSuffix(n.Value, ",type:str]") {
		return 0, false
	}
	data, _, _ = strings.Cut(data, ",")
	return base64.StdEncoding.DecodedLen(len(data)) - (len(data) - len(strings.TrimRight(data, "="))), true
}

// tooShort are fields by what their value has at least: a URL of a host, PEM of
// a certificate or a key in base64.
var tooShort = []struct {
	field, rule, message string
	least                int
}{
	{"server", "server-invalid", "too short for an https URL", len("https://a")},
	{"certificate-authority-data", "ca-invalid", "too short for a CA", 200},
	{"client-certificate-data", "certificate-invalid", "too short for a certificate", 200},
	{"client-key-data", "certificate-invalid", "too short for a private key", 100},
}

// lengths judges the values of a cluster or user by their lengths.
func (f *fileRun) lengths(n *yaml.Node, path string) {
	for _, t := range tooShort {
		value := manifest.Field(n, t.field)
		if length, ok := sealedLength(value); ok && length < t.least && (length > 0 || t.field == "server") {
			f.add(value, path+"."+t.field, t.rule, report.Error, "the value is "+t.message+": it was moved here, or changed, without a key",
				f.restored())
		}
	}
}

// isTrue tells whether a bool is true, in clear or encrypted: SOPS encrypts
// the words True and False, whose ciphertexts differ in length. A text that
// Stork would not decode is none.
// https://github.com/getsops/sops/blob/v3.13.3/aes/cipher.go
func isTrue(n *yaml.Node) bool {
	if n == nil {
		return false
	}
	data, ok := strings.CutPrefix(n.Value, "ENC[AES256_GCM,data:")
	if !ok {
		return slices.Contains(truths, n.Value)
	}
	data, rest, _ := strings.Cut(data, ",")
	return strings.HasSuffix(rest, ",type:bool]") && len(data) == 8 && strings.HasSuffix(data, "==")
}

// truths are the bools of YAML 1.1 that Stork reads as true.
var truths = []string{"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", "y", "Y"}
