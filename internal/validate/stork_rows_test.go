//go:build peers

package validate_test

import (
	"encoding/base64"
	"os"
	"strings"
)

// one is a pair over one fabric in which nothing is wrong. CA, CERT and KEY
// stand for base64 of PEM; CA1 and CA2, and so on, of PEM after one or two bytes.
const one = `apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  name: west
  namespace: app
spec:
  config:
    clusters:
      c:
        certificate-authority-data: CA
        server: https://west.example.com:6443
    contexts:
      x:
        cluster: c
        user: u
    current-context: x
    users:
      u:
        token: abcdefgh.ijklmnop
  options: {}
`

// asJSON is a pair with escapes that YAML does not have.
const asJSON = `{"apiVersion":"stork.libopenstorage.org\/v1alpha1","kind":"ClusterPair","metadata":{"name":"west","namespace":"app"},
"spec":{"config":{"clusters":{"c":{"certificate-authority-data":"CA","server":"https:\/\/west.example.com"}},"contexts":{"x":{"cluster":"c","user":"u"}},"current-context":"x","users":{"u":{"token":"a"}}},"options":{}}}`

// Parts of a pair, to be put in place of others.
const (
	token       = "token: abcdefgh.ijklmnop"
	certificate = "client-certificate-data: CERT\n        client-key-data: KEY"
	command     = "exec:\n          apiVersion: client.authentication.k8s.io/v1beta1\n          args: [a]\n          command: aws\n          env:\n" +
		"          - {name: A, value: b}\n          provideClusterInfo: false\n          InteractiveMode: Never"
	options = "options:\n    backuplocation: s3\n    ip: 10.0.0.9\n    mode: DisasterRecovery\n    port: \"9001\"\n    token: 0123456789abcdef"
	fabric  = "options: {}"
	server  = "server: https://west.example.com:6443"
	context = "contexts:\n"
	users   = "users:\n"
	meta    = "metadata:\n"
)

// pair is the pair with parts exchanged: each edit is the old part, a new one
// and so on.
func pair(edits ...string) string {
	text := one
	for i := 0; i < len(edits); i += 2 {
		if !strings.Contains(text, edits[i]) {
			panic("no " + edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	for word, file := range map[string]string{"CA": "ca.crt", "CERT": "client.crt", "KEY": "client.key"} {
		data, err := os.ReadFile("../../fixtures/storkctl/02-file-refs/certs/" + file)
		if err != nil {
			panic(err)
		}
		for suffix, before := range map[string]string{"": "", "1": "\n", "2": "a\n"} {
			word, encoded := word+suffix, base64.StdEncoding.EncodeToString([]byte(before+string(data)))
			text = strings.ReplaceAll(text, "-data: "+word+"\n", "-data: "+encoded+"\n")
			text = strings.ReplaceAll(text, `-data":"`+word+`"`, `-data":"`+encoded+`"`)
		}
	}
	return text
}

// rows are what can be wrong with a pair, and what is not. stork is how what
// Stork makes of it begins, rule what we find; empty is nothing.
var rows = []struct {
	name    string
	edits   []string
	stork   string
	rule    string
	release string // empty: 24.3
}{
	{name: "a token"},
	{name: "a certificate", edits: []string{token, certificate}},
	{name: "a byte before the CA", edits: []string{"CA\n", "CA1\n"}},
	{name: "two bytes before the CA", edits: []string{"CA\n", "CA2\n"}},
	{name: "text before a certificate", edits: []string{token, strings.NewReplacer("CERT", "CERT1", "KEY", "KEY2").Replace(certificate)}},
	{name: "text before a key", edits: []string{token, strings.NewReplacer("CERT", "CERT2", "KEY", "KEY1").Replace(certificate)}},
	{name: "two fabrics", edits: []string{fabric, options}},
	{name: "no options", edits: []string{"  " + fabric, ""}},
	{name: "a proxy", edits: []string{server, server + "\n        proxy-url: socks5://proxy.example.com:1080\n        tls-server-name: west"}},
	{name: "impersonation", edits: []string{token, token + "\n        act-as: me\n        act-as-uid: \"7\"\n        act-as-groups: [a, b]\n        act-as-user-extra: {example.com/scope: [a, b]}"}},
	{name: "another context", edits: []string{context, context + "      z:\n        cluster: gone\n        user: u\n"}},

	{name: "lists", edits: []string{"      u:\n        " + token, "    - name: u\n      user:\n        " + token}, stork: "decode: json: cannot unmarshal array", rule: "config-list-form"},
	{name: "a text for the config", edits: []string{one[strings.Index(one, "config:"):strings.Index(one, "  options")], "config: west\n"}, stork: "decode: ", rule: "config-not-object"},
	{name: "a port in options that is a number", edits: []string{fabric, strings.Replace(options, `"9001"`, "9001", 1)}, stork: "decode: ", rule: "value-type"},
	{name: "another option that is a number", edits: []string{fabric, "options: {a: 1}"}, stork: "decode: ", rule: "value-type"},
	{name: "an unquoted bool", edits: []string{token, "token: on"}, stork: "decode: ", rule: "value-type"},
	{name: "extensions", edits: []string{context, context + "      z: {extensions: {a: b}}\n"}, stork: "decode: ", rule: "extensions-present"},
	{name: "preferences with a text for colors", edits: []string{users, "preferences: {colors: never}\n    " + users}, stork: "decode: ", rule: "value-type"},
	{name: "preferences with extensions", edits: []string{users, "preferences: {extensions: {a: b}}\n    " + users}, stork: "decode: ", rule: "extensions-present"},
	{name: "no base64", edits: []string{"CA\n", "\"<CA>\"\n"}, stork: "decode: ", rule: "bad-base64"},
	{name: "base64 of the other alphabet", edits: []string{"CA\n", "YW_-\n"}, stork: "decode: ", rule: "bad-base64"},
	{name: "base64 without its end", edits: []string{"CA\n", "YWI\n"}, stork: "decode: ", rule: "bad-base64"},
	{name: "ciphertext", edits: []string{"CA\n", "ENC[AES256_GCM,data:aa==,iv:bb==,tag:cc==,type:str]\n"}, stork: "decode: ", rule: "still-encrypted"},
	{name: "Config of an exec user", edits: []string{token, command + "\n          Config: {}"}, stork: "decode: ", rule: "value-type"},
	{name: "a variable that is a number", edits: []string{token, strings.Replace(command, "value: b", "value: 1", 1)}, stork: "decode: ", rule: "value-type"},
	{name: "a status that is a text", edits: []string{fabric, fabric + "\nstatus: Ready"}, stork: "decode: ", rule: "value-type"},
	{name: "a list that says it is a text", edits: []string{token, "token: !!str [a]"}, stork: "decode: ", rule: "value-type"},
	{name: "a tag that says nothing", edits: []string{server, server + "\n        insecure-skip-tls-verify: !"}, stork: "decode: ", rule: "value-type"},
	{name: "a null user", edits: []string{"u:\n        " + token, "u: null"}, stork: "panic: ", rule: "null-entry"},
	{name: "a null cluster", edits: []string{"c:\n        certificate-authority-data: CA\n        " + server, "c:"}, stork: "panic: ", rule: "null-entry"},
	{name: "a null user that is in no use", edits: []string{users, users + "      v: null\n"}, rule: "null-entry"},

	{name: "a label's name", edits: []string{meta, meta + "  labels: {a b: c}\n"}, stork: "api: metadata.labels", rule: "metadata-invalid"},
	{name: "a label's value", edits: []string{meta, meta + "  labels: {a: b c}\n"}, stork: "api: metadata.labels", rule: "metadata-invalid"},
	{name: "an annotation's name", edits: []string{meta, meta + "  annotations: {a b: c}\n"}, stork: "api: metadata.annotations", rule: "metadata-invalid"},
	{name: "large annotations", edits: []string{meta, meta + "  annotations: {a: " + strings.Repeat("x", 256<<10) + "}\n"}, stork: "api: metadata.annotations: Too long", rule: "metadata-invalid"},
	{name: "a finalizer's name", edits: []string{meta, meta + "  finalizers: [a b]\n"}, stork: "api: metadata.finalizers", rule: "metadata-invalid"},
	{name: "an owner without a uid", edits: []string{meta, meta + "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a}]\n"}, stork: "api: metadata.ownerReferences", rule: "metadata-invalid"},
	{name: "an owner that is a number", edits: []string{meta, meta + "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: 1, uid: a}]\n"}, stork: "api: json: ", rule: "value-type"},
	{name: "an owner that is a bool", edits: []string{meta, meta + "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: yes, uid: a}]\n"}, stork: "api: json: ", rule: "value-type"},
	{name: "an unknown field of an owner", edits: []string{meta, meta + "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: a, uid: b, UID: b}]\n"}, stork: "lost: .metadata", rule: "unknown-field"},
	{name: "a version to be set by the server", edits: []string{meta, meta + "  resourceVersion: \"1\"\n"}, stork: "api: metadata.resourceVersion", rule: "metadata-invalid"},
	{name: "a number that JSON has not", edits: []string{token, token + "\n        a: .inf"}, stork: "yaml: json: unsupported value", rule: "value-type"},
	{name: "an owner that JSON has not", edits: []string{meta, meta + "  ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: .inf, uid: b}]\n"}, stork: "yaml: ", rule: "value-type"},
	{name: "a merge of a text", edits: []string{token, token + "\n        a: {<<: b}"}, stork: "yaml: ", rule: "value-type"},
	{name: "a bool by its tag only", edits: []string{server, server + "\n        insecure-skip-tls-verify: !!bool maybe"}, stork: "yaml: ", rule: "value-type"},

	{name: "no current-context", edits: []string{"current-context: x", `current-context: ""`}, stork: "client: ", rule: "context-broken"},
	{name: "a context that names nothing", edits: []string{"cluster: c", `cluster: ""`}, stork: "client: ", rule: "context-broken"},
	{name: "a current-context that is not there", edits: []string{"current-context: x", "current-context: z"}, stork: "client: ", rule: "context-broken"},
	{name: "what kubectl prints for the CA", edits: []string{"CA\n", "DATA+OMITTED\n"}, stork: "client: ", rule: "bad-base64"},
	{name: "what kubectl prints for the key", edits: []string{token, strings.Replace(certificate, "KEY", "DATA+OMITTED", 1)}, stork: "client: ", rule: "bad-base64"},
	{name: "a CA that was encoded twice", edits: []string{"CA\n", "TFMwdExTMUNSVWRKVGlCRFJWSlVTVVpKUTBGVVJTMHRMUzB0Q2sxSlNVSjVSRU5E\n"}, stork: "client: ", rule: "bad-base64"},
	{name: "what looks like ciphertext", edits: []string{server, "server: ENC[]"}, stork: "client: ", rule: "still-encrypted"},
	{name: "a token that looks like ciphertext", edits: []string{token, "token: ENC[]"}, rule: "still-encrypted"},
	{name: "a CA that is no PEM", edits: []string{"CA\n", "YWJj\n"}, stork: "client: ", rule: "ca-invalid"},
	{name: "a CA that is no PEM, long ago", edits: []string{"CA\n", "YWJj\n"}, release: "2.9", rule: "ca-invalid"},
	{name: "a CA that is nearly PEM", edits: []string{"CA\n", "LS0tLS1CQUdJTg==\n"}, stork: "client: ", rule: "ca-invalid"},
	{name: "an empty CA", edits: []string{"CA\n", "\"\"\n"}, stork: "dropped: ", rule: "ca-missing"},
	{name: "a CA that begins as PEM, in lines", edits: []string{"CA\n", "|\n          LS0tLS\n          1CRUdJTiBB\n"}, stork: "client: ", rule: "ca-invalid"},
	{name: "a CA that begins as PEM, with a carriage return", edits: []string{"CA\n", "\"LS0tLS\\r1CRUdJTiBB\"\n"}, stork: "client: ", rule: "ca-invalid"},
	{name: "a CA and none", edits: []string{server, server + "\n        insecure-skip-tls-verify: true"}, stork: "client: ", rule: "ca-invalid"},
	{name: "a certificate without a key", edits: []string{token, "client-certificate-data: CERT"}, stork: "client: ", rule: "certificate-invalid"},
	{name: "two credentials", edits: []string{token, token + "\n        username: a\n        password: b"}, stork: "client: ", rule: "several-credentials"},
	{name: "groups of nobody", edits: []string{token, token + "\n        act-as-groups: [a]"}, stork: "client: ", rule: "required-field"},
	{name: "an exec user", edits: []string{token, command}, rule: "exec-credential"},
	{name: "an exec user of a kubeconfig", edits: []string{token, strings.Replace(command, "InteractiveMode", "interactiveMode", 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user of a kubeconfig for a newer Stork", edits: []string{token, strings.Replace(command, "InteractiveMode", "interactiveMode", 1)}, release: "next", rule: "exec-credential"},
	{name: "an exec user of an older Stork", edits: []string{token, command}, release: "next", stork: "client: ", rule: "exec-credential"},
	{name: "an exec user without a command", edits: []string{token, strings.Replace(command, "aws", `""`, 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user without a mode", edits: []string{token, strings.Replace(command, "\n          InteractiveMode: Never", "", 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user without a mode, long ago", edits: []string{token, strings.Replace(command, "\n          InteractiveMode: Never", "", 1)}, release: "2.9", rule: "exec-credential"},
	{name: "an exec user for all releases", edits: []string{token, command + "\n          interactiveMode: Never"}, release: "next", stork: "lost: .spec.config.users.u.exec.InteractiveMode", rule: "exec-credential"},
	{name: "an exec user with a mode that is none", edits: []string{token, strings.Replace(command, "Never", "never", 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user without a version", edits: []string{token, strings.Replace(command, "client.authentication.k8s.io/v1beta1", `""`, 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user of a version that is none", edits: []string{token, strings.Replace(command, "v1beta1", "v2", 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user of a version to come", edits: []string{token, strings.Replace(command, "v1beta1", "v1", 1)}, release: "2.9", stork: "client: ", rule: "exec-credential"},
	{name: "an exec user of a variable without a name", edits: []string{token, strings.Replace(command, "name: A", `name: ""`, 1)}, stork: "client: ", rule: "exec-credential"},
	{name: "an exec user who is not in the image", edits: []string{token, strings.Replace(command, "aws", "/usr/local/bin/ours", 1)}, rule: "exec-credential"},
	{name: "an exec user who must answer", edits: []string{token, strings.Replace(command, "Never", "Always", 1)}, stork: "request: ", rule: "exec-credential"},
	{name: "another proxy", edits: []string{server, server + "\n        proxy-url: ftp://proxy.example.com"}, stork: "client: ", rule: "server-proxied"},
	{name: "a proxy that is no URL", edits: []string{server, server + "\n        proxy-url: \"http://proxy.example.com:a\""}, stork: "client: ", rule: "server-proxied"},
	{name: "a proxy without a host", edits: []string{server, server + "\n        proxy-url: http:proxy.example.com"}, rule: "server-proxied"},
	{name: "a proxy without a port", edits: []string{server, server + "\n        proxy-url: http://proxy.example.com:99999"}, stork: "request: no such port", rule: "server-proxied"},

	{name: "a token with a line end", edits: []string{token, "token: |\n          abcdefgh.ijklmnop"}, stork: "request: ", rule: "token-malformed"},
	{name: "a token with a space at its end", edits: []string{token, `token: "abcdefgh.ijklmnop "`}, rule: "token-malformed"},
	{name: "a token of two lines", edits: []string{token, "token: \"abcdefgh\\nijklmnop\""}, stork: "request: ", rule: "token-malformed"},
	{name: "an impersonated user of two lines", edits: []string{token, token + "\n        act-as: \"a\\nb\""}, stork: "request: ", rule: "value-type"},
	{name: "an impersonated group of two lines", edits: []string{token, token + "\n        act-as: me\n        act-as-groups: [\"a\\nb\"]"}, stork: "request: ", rule: "value-type"},
	{name: "an impersonated id of two lines", edits: []string{token, token + "\n        act-as: me\n        act-as-uid: \"a\\rb\""}, stork: "request: ", rule: "value-type"},
	{name: "an extra of two lines", edits: []string{token, token + "\n        act-as: me\n        act-as-user-extra: {scope: [a, \"\\x7f\"]}"}, stork: "request: ", rule: "value-type"},
	{name: "a tab in an impersonated user", edits: []string{token, token + "\n        act-as: \"a\\tb\""}},
	{name: "a name that no certificate bears", edits: []string{server, server + "\n        tls-server-name: https://west.example.com"}, rule: "server-invalid"},
	{name: "an address that a certificate bears", edits: []string{server, server + "\n        tls-server-name: 10.0.0.9"}},
	{name: "a scheme in capitals", edits: []string{server, "server: HTTPS://west.example.com:6443"}},
	{name: "an empty user name", edits: []string{token, token + "\n        username: \"\""}, stork: "dropped: ", rule: "drifting-field"},
	{name: "a port that is none", edits: []string{server, "server: https://west.example.com:99999"}, stork: "request: no such port", rule: "server-invalid"},

	{name: "impersonation of a kubeconfig", edits: []string{token, token + "\n        as: me"}, stork: "lost: .spec.config.users.u.as", rule: "kubeconfig-spelling"},
	{name: "another case", edits: []string{token, "Token: abcdefgh.ijklmnop"}, stork: "lost: .spec.config.users.u.Token", rule: "unknown-field"},
	{name: "what older releases do not know", edits: []string{server, server + "\n        disable-compression: true"}, stork: "lost: ", rule: "drifting-field"},
	{name: "plain http", edits: []string{server, "server: http://west.example.com:8080"}, stork: "unsent: token", rule: "server-invalid"},
	{name: "no scheme", edits: []string{server, "server: west.example.com:6443"}, stork: "unsent: token", rule: "server-invalid"},
	{name: "a key without a certificate", edits: []string{token, token + "\n        client-key-data: KEY"}, stork: "unsent: client-key-data", rule: "certificate-invalid"},
	{name: "impersonation with nothing", edits: []string{token, token + "\n        act-as: me\n        act-as-user-extra: {scope: []}"}, stork: "unsent: act-as-user-extra", rule: "value-type"},
	{name: "impersonation with a capital", edits: []string{token, token + "\n        act-as: me\n        act-as-user-extra: {Scope: [a]}"}, stork: "unsent: act-as-user-extra", rule: "kubeconfig-spelling"},
	{name: "no token", edits: []string{fabric, "options: {ip: 10.0.0.9}"}, stork: "storage: none, and", rule: "storage-options-incomplete"},
	{name: "a mode on one fabric", edits: []string{fabric, "options: {mode: DisasterRecovery}"}, stork: "storage: none, and", rule: "mode-on-single-fabric"},
	{name: "another mode", edits: []string{fabric, strings.Replace(options, "DisasterRecovery", "sync-dr", 1)}, stork: "storage: another mode", rule: "mode-unknown"},
	{name: "an address of two", edits: []string{fabric, strings.Replace(options, "10.0.0.9", "10.0.0.9 10.0.0.10", 1)}, stork: "storage: no ip", rule: "storage-options-incomplete"},
	{name: "a storage token with a line end", edits: []string{fabric, strings.Replace(options, "0123456789abcdef", "\"0123456789abcdef\\n\"", 1)}, stork: "storage: no token", rule: "storage-options-incomplete"},
	{name: "a backup location that cannot be", edits: []string{fabric, strings.Replace(options, "s3", "my bucket", 1)}, stork: "storage: no backup location", rule: "storage-options-incomplete"},

	{name: "a false that says nothing", edits: []string{server, server + "\n        insecure-skip-tls-verify: false"}, stork: "dropped: ", rule: "drifting-field"},
	{name: "base64 with loose bits", edits: []string{users, users + "      v: {token: a, client-key-data: YWK=}\n"}, stork: "dropped: ", rule: "drifting-field"},
	{name: "base64 with line breaks", edits: []string{token, "client-certificate-data: CERT\n        client-key-data: |\n          TFMw\n          TFMw"}, stork: "client: ", rule: "certificate-invalid"},

	{name: "a key twice", edits: []string{token, "token: a\n        " + token}, rule: "duplicate-key"},
	{name: "a name that is a number", edits: []string{users, users + "      1: {token: a}\n"}, rule: "value-type"},
	{name: "bytes", edits: []string{token, "token: !!binary YWJjZGVmZ2g="}, rule: "value-type"},
	{name: "a user who is not there", edits: []string{"user: u", "user: v"}, rule: "context-broken"},
	{name: "no users", edits: []string{"    users:\n      u:\n        " + token + "\n", ""}, rule: "required-field"},
	{name: "a placeholder", edits: []string{token, "token: <token>"}, rule: "placeholder-left"},
	{name: "a host that cannot be", edits: []string{server, "server: https://-west.example.com:6443"}, rule: "server-invalid"},
	{name: "letters that a token has not", edits: []string{token, "token: abcdéfgh"}, rule: "token-malformed"},
	{name: "a project", edits: []string{fabric, fabric + "\n  platformOptions: {rancher: {projectMappings: {\":a\": b}}}"}, rule: "rancher-mapping"},
	{name: "a hash", edits: []string{"name: west", "name: west-6ct58987ht"}, rule: "pair-name"},
	{name: "a path beside a token", edits: []string{token, token + "\n        client-key: /a"}, rule: "file-reference"},
	{name: "a null for users", edits: []string{"users:\n      u:\n        " + token, "users: null"}, rule: "config-list-form"},
	{name: "a reference to nothing", edits: []string{users, "kubernetes: null\n    " + users}, rule: "config-not-object"},
	{name: "a null by another name", edits: []string{token, token + "\n        as: null"}, rule: "kubeconfig-spelling"},
	{name: "an auth provider in no use", edits: []string{users, users + "      v: {auth-provider: {name: oidc}}\n"}, rule: "auth-provider"},
	{name: "a token that is still encrypted", edits: []string{token, "token: ENC[AES256_GCM,data:aa==,iv:bb==,tag:cc==,type:str]"}, rule: "still-encrypted"},
	{name: "an annotation that looks like ciphertext", edits: []string{meta, meta + "  annotations: {a: \"ENC[b\"}\n"}, rule: "metadata-encrypted"},
	{name: "a merge key", edits: []string{"x:\n", "x: &x\n", "user: u\n", "user: u\n      z: {<<: *x}\n"}, rule: "value-type"},
	{name: "a date for a label", edits: []string{meta, meta + "  labels: {a: 2026-11-22}\n"}, rule: "value-type"},
	{name: "a null for a label", edits: []string{meta, meta + "  labels: {a: null}\n"}, rule: "value-type"},
	{name: "escapes of JSON", edits: []string{one, asJSON}},
}

// known are the differences between what we find and what Stork does.
var known = map[string]string{
	// On purpose: Stork takes it, and it is an error all the same.
	"refuses auth-provider":                       "it would write new tokens into a kubeconfig file that is not there",
	"refuses config-list-form":                    "a null in place of users: Stork connects as nobody",
	"refuses kubeconfig-spelling":                 "a null by a name that Stork never reads",
	"refuses still-encrypted":                     "Stork sends ciphertext as the token",
	"refuses value-type: a date without quotes":   "kustomize adds a time of day, which no API server takes in a label",
	"refuses value-type: a merge key":             "SOPS and kustomize see no fields in it",
	"refuses value-type: is null where":           "a null is an empty text to Stork, which nobody means",
	"refuses ca-invalid":                          "client-go 0.20 trusts nobody by a CA that is no PEM, and says so only when it connects",
	"refuses certificate-invalid":                 "a key alone, which is not used beside a token",
	"refuses config-not-object":                   "a reference that refers to nothing",
	"refuses context-broken":                      "a user who is not there: Stork connects as nobody, and calls it Ready",
	"refuses duplicate-key":                       "readers of YAML differ in which of two counts",
	"refuses exec-credential":                     "no command that Stork's image does not have",
	"refuses file-reference":                      "a path that is not used beside the same field's data",
	"refuses metadata-encrypted":                  "what begins as ciphertext does, where nobody writes such a thing",
	"refuses null-entry":                          "a null entry in no use ends Stork once a context names it",
	"refuses pair-name":                           "no Migration finds a pair with a hash in its name",
	"refuses placeholder-left":                    "what somebody has to fill in is no credential",
	"refuses rancher-mapping":                     "a project that Rancher cannot have",
	"refuses required-field":                      "no users: Stork connects as nobody",
	"refuses server-invalid":                      "a host that no DNS has, a query that is dropped, a port that was forgotten",
	"refuses server-proxied":                      "a proxy without a host would be the Stork pod",
	"refuses token-malformed":                     "HTTP takes letters that no token has",
	"refuses value-type: a key that is no string": "SOPS, kustomize and Stork spell 0x1 and on otherwise",
	"refuses value-type: a tag of its own":        "readers of YAML differ in what tags make of a value",
}
