package validate

import (
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// visible judges an encrypted kubeconfig by what SOPS leaves in clear: the
// names of its fields, and the type and length of each value. So who can write
// to the repository cannot take away the CA, and no reader of a review is told
// that all is well where a field says otherwise.
func (f *fileRun) visible(n *yaml.Node) {
	config := manifest.Field(n, "spec", "config")
	each(manifest.Field(config, "clusters"), func(name string, cluster *yaml.Node) { f.visibleCluster("spec.config.clusters."+name, cluster) })
	each(manifest.Field(config, "users"), func(name string, user *yaml.Node) { f.visibleUser("spec.config.users."+name, user) })
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

func (f *fileRun) visibleCluster(path string, cluster *yaml.Node) {
	skip := isTrue(has(cluster, "insecure-skip-tls-verify"))
	ca := has(cluster, "certificate-authority-data")
	switch {
	case skip && ca != nil:
		f.add(manifest.Field(cluster, "insecure-skip-tls-verify"), path, "ca-invalid", report.Error, "insecure-skip-tls-verify together with a CA, which client-go refuses", "remove insecure-skip-tls-verify")
	case skip:
		f.add(manifest.Field(cluster, "insecure-skip-tls-verify"), path, "tls-skipped", report.Error,
			"insecure-skip-tls-verify hands the credential to whoever answers at the server's address", "give the CA in the destination's kubeconfig, and render the pair anew")
	case ca == nil:
		f.add(cluster, path, "ca-missing", report.Error, "no certificate-authority-data: Stork would trust only the public CAs of its image", "give the CA in the destination's kubeconfig, and render the pair anew")
	}
	if proxy := has(cluster, "proxy-url"); proxy != nil {
		f.add(proxy, path+".proxy-url", "server-proxied", report.Warning, "the Stork pod has to reach the destination through a proxy", "check that the source cluster reaches the proxy")
	}
}

func (f *fileRun) visibleUser(path string, user *yaml.Node) {
	token, exec := has(user, "token"), has(user, "exec")
	certificate, key := has(user, "client-certificate-data"), has(user, "client-key-data")
	basic := has(user, "username")
	if basic == nil {
		basic = has(user, "password")
	}
	const hint = "use a service account's token, and render the pair anew"
	if token == nil && exec == nil && certificate == nil && key == nil && basic == nil && has(user, "tokenFile") == nil && has(user, "client-certificate") == nil && has(user, "auth-provider") == nil {
		f.add(user, path, "no-credential", report.Error, "the user has no credential; Stork would call the pair Ready, because anyone may ask for the version, and fail at the first migration", hint)
	}
	if (certificate == nil) != (key == nil) && has(user, "client-certificate") == nil && has(user, "client-key") == nil {
		f.add(user, path, "certificate-invalid", report.Error, "a client certificate without its key, or a key without its certificate, which client-go refuses", "render the pair anew: clusterpair generate")
	}
	if basic != nil {
		f.add(basic, path, "basic-auth", report.Error, "a user name with a password, which no API server has accepted since 1.19", hint)
	}
	switch {
	case token != nil && basic != nil:
		f.add(token, path, "several-credentials", report.Error, "both a token and a password, which client-go refuses", "keep one")
	case exec != nil && (token != nil || basic != nil || certificate != nil || key != nil):
		f.add(exec, path, "several-credentials", report.Error, "an exec user with another credential beside it", "keep one")
	}
	if exec != nil {
		f.add(exec, path+".exec", "exec-credential", report.Error, "exec user: its command runs inside the Stork pod, with the pod's cloud credentials", "use a service account's token, or allow the rule for this pair")
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
		return n.Value == "true"
	}
	data, rest, _ := strings.Cut(data, ",")
	return strings.HasSuffix(rest, ",type:bool]") && len(data) == 8 && strings.HasSuffix(data, "==")
}
