package validate

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

const hintEncrypt = "clusterpair encrypt -i %s, and renew the credential if this was ever pushed"

// secret judges a Secret: whether it hands out a credential.
func (f *fileRun) secret(n *yaml.Node) {
	if sopsfile.IsEncrypted(n) {
		f.noted.secrets = append(f.noted.secrets, f.file.Path)
	}
	if f.options.Plaintext || f.aside {
		return
	}
	for _, part := range []string{"data", "stringData"} {
		values := manifest.Field(n, part)
		if values == nil || values.Kind != yaml.MappingNode {
			continue
		}
		for i := 0; i+1 < len(values.Content); i += 2 {
			key, value := values.Content[i], values.Content[i+1]
			text := value.Value
			if part == "data" {
				if decoded, err := base64.StdEncoding.DecodeString(text); err == nil {
					text = string(decoded)
				}
			}
			if what := credentialIn(key.Value, text); what != "" {
				f.add(value, part, "plaintext-credential", report.Error, fmt.Sprintf("%s in clear under %s of a Secret", what, quote(key.Value)), fmt.Sprintf(hintEncrypt, f.typed()))
			}
		}
	}
}

// inClear finds the credentials in clear of a pair that is otherwise encrypted:
// whatever else is wrong with them, who reads the repository has them.
func (f *fileRun) inClear(n *yaml.Node) {
	if f.options.Plaintext {
		return
	}
	judge := func(field string, value *yaml.Node) {
		if value == nil || value.Kind != yaml.ScalarNode || isPlaceholder(value.Value) || strings.HasPrefix(value.Value, "ENC[") {
			return
		}
		finding := f.finding(value, field, "plaintext-credential", report.Error, field+" is in clear: whoever reads the repository has it", "take the file back to what was encrypted last, and renew the credential if this was ever pushed")
		f.findings = append(slices.DeleteFunc(f.findings, func(g report.Finding) bool {
			return g.Rule == "leaf-not-encrypted" && g.Position == finding.Position
		}), finding)
	}
	each(manifest.Field(n, "spec", "config", "users"), func(name string, user *yaml.Node) {
		for _, key := range credentialFields {
			judge("spec.config.users."+name+"."+key, has(user, key))
		}
	})
	judge("spec.options.token", has(manifest.Field(n, "spec", "options"), "token"))
}

// credentialFields are those of a user that nobody else may know.
var credentialFields = []string{"client-key-data", "token", "password"}

// kubeconfig judges a plain kubeconfig.
func (f *fileRun) kubeconfig(n *yaml.Node) {
	users := manifest.Field(n, "users")
	if f.options.Plaintext || users == nil {
		return
	}
	for _, entry := range users.Content {
		user := manifest.Field(entry, "user")
		for _, key := range credentialFields {
			if value := has(user, key); value != nil && !isPlaceholder(value.Value) && !strings.HasPrefix(value.Value, "ENC[") {
				f.add(value, "users", "plaintext-credential", report.Error, key+" of a kubeconfig in clear", fmt.Sprintf(hintEncrypt, f.typed()))
			}
		}
	}
}

// text looks for credentials in what is no YAML document: a script that writes
// a kubeconfig, a page with an example that was not made up.
func (f *fileRun) text(d manifest.Document) {
	if f.options.Plaintext || bytes.IndexByte(d.Text, 0) >= 0 {
		return
	}
	line := d.Line
	for l := range bytes.Lines(d.Text) {
		if m := credentialLine().FindSubmatchIndex(l); m != nil {
			at := &yaml.Node{Line: line, Column: m[0] + 1}
			f.add(at, "", "plaintext-credential", report.Error, "a credential in clear", "keep it out of Git: render it with clusterpair generate, and renew it if this was ever pushed")
		}
		line++
	}
}

// credentialLine finds what no made-up example has: encoded keys, tokens of
// service accounts, age identities, and the first line of a private key.
var credentialLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\s*-----BEGIN ([A-Z]+ )*PRIVATE KEY-----\s*$|client-key-data:\s*["']?[A-Za-z0-9+/]{40}|token:\s*["']?eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.|AGE-SECRET-KEY-1[A-Z0-9]{58}`)
})

// credentialIn says what credential a value of a Secret is, if any.
func credentialIn(key, value string) string {
	if value == "" || strings.HasPrefix(value, "ENC[") || isPlaceholder(strings.TrimSpace(value)) {
		return ""
	}
	switch {
	case strings.Contains(value, "PRIVATE KEY-----"):
		return "a private key"
	case strings.Contains(value, "AGE-SECRET-KEY-1"):
		return "an age identity"
	case strings.Contains(value, "client-key-data:") || strings.Contains(value, "users:") && (strings.Contains(value, "token:") || strings.Contains(value, "password:")):
		if strings.HasPrefix(strings.TrimLeft(value, " \t\r\n"), "{{") {
			return ""
		}
		return "a kubeconfig"
	case jwt().MatchString(value):
		return "a token"
	case strings.Contains(value, `"bearerToken"`) || strings.Contains(value, `"keyData"`):
		return "a credential of Argo CD"
	}
	switch strings.ToLower(key) {
	case "token", "bearertoken", "password", "client-key-data", "kubeconfig":
		return "a credential"
	}
	return ""
}

var jwt = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\s*eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\s*$`)
})

// isPlaceholder tells whether a value is to be filled in by somebody else.
func isPlaceholder(s string) bool {
	return strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") ||
		strings.HasPrefix(s, "${") && strings.HasSuffix(s, "}") ||
		strings.HasPrefix(s, "{{") && strings.HasSuffix(s, "}}") ||
		s == "REDACTED" || s == "DATA+OMITTED" || s == "REPLACE_ME" || s == "CHANGEME"
}

// credentialDigest tells equal credentials from others, for as long as the
// process lives. It is empty where the credential could be anybody's.
func credentialDigest(d *kubeconfig.Destination) string {
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
