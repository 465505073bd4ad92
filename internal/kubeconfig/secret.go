package kubeconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// Secret is one Kubernetes Secret, decoded.
type Secret struct {
	Name, Namespace, Type string
	Labels, Annotations   map[string]string
	// Data is data without its base64, with stringData on top.
	Data map[string]Value
	// Position is the document's.
	Position report.Position
}

// Value is a value of a [Secret]. It is secret: never print it.
type Value struct {
	Bytes    []byte
	Position report.Position
}

// ParseSecret reads a Secret from its document, a mapping of kind Secret. It
// refuses what an API server would: values that are no base64 or no text, and
// keys that stand twice. The Secret is never nil; with a finding of severity
// Error it lacks what the finding names.
func ParseSecret(doc *yaml.Node, file string) (*Secret, []report.Finding) {
	doc = content(doc)
	metadata := field(doc, "metadata")
	s := &Secret{
		Name: textOf(metadata, "name"), Namespace: textOf(metadata, "namespace"), Type: textOf(doc, "type"),
		Labels: textsOf(field(metadata, "labels")), Annotations: textsOf(field(metadata, "annotations")),
		Data: make(map[string]Value), Position: position(doc, file),
	}
	c := &checker{origin: origin{file: file, position: s.Position}}
	for _, part := range []string{"data", "stringData"} {
		c.secretValues(s, part, field(doc, part))
	}
	return s, c.findings
}

// secretValues adds the values of data or stringData to a Secret.
func (c *checker) secretValues(s *Secret, part string, values *yaml.Node) {
	if isNull(values) {
		return
	}
	if values.Kind != yaml.MappingNode {
		c.refuse(c.at(values, part), "value-type", part+" of a Secret is a mapping", "keys and values, as in  value: …")
		return
	}
	seen := make(map[string]bool, len(values.Content)/2)
	for i := 0; i+1 < len(values.Content); i += 2 {
		key, value := values.Content[i].Value, content(values.Content[i+1])
		if !secretKey().MatchString(key) { // as in {token:abc}: never quote it
			c.refuse(c.at(values.Content[i], part), "secret-key", "a key of "+part+" that Kubernetes refuses", "keys are letters, digits, -, _ and .; a colon is followed by a space")
			continue
		}
		at := c.at(value, part+"."+key)
		if seen[key] {
			c.refuse(c.at(values.Content[i], part), "duplicate-key", fmt.Sprintf("key %q stands twice in %s", key, part), "keep one of the two")
		}
		seen[key] = true
		got := Value{Position: at.position}
		switch kind := scalarType(value); {
		case kind == isNullType:
		case strings.HasPrefix(value.Value, encryptedPrefix):
			c.refuse(at, "still-encrypted", fmt.Sprintf("%s.%s is still encrypted by SOPS", part, key), hintDecrypt)
			continue
		case kind != isText:
			c.refuse(at, "value-type", fmt.Sprintf("%s.%s is no text", part, key), "quote it")
			continue
		case part == "stringData":
			got.Bytes = []byte(value.Value)
		default:
			var err error
			if got.Bytes, err = decodeBase64(value.Value); err != nil {
				c.refuse(at, "bad-base64", fmt.Sprintf("data.%s is no base64", key), "move it to stringData, or encode it: base64 -w0 FILE")
				continue
			}
		}
		s.Data[key] = got
	}
}

var secretKey = pattern.Later(`^[-._a-zA-Z0-9]+$`)

// textsOf are the texts of a mapping, as of labels.
func textsOf(n *yaml.Node) map[string]string {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	m := make(map[string]string, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if v := content(n.Content[i+1]); v.Kind == yaml.ScalarNode {
			m[n.Content[i].Value] = v.Value
		}
	}
	return m
}

// kubeconfigKeys are the keys under which tools keep a kubeconfig, in the
// order of their claim. super-admin.conf is none of them: Kamaji and kubeadm
// keep it for emergencies.
var kubeconfigKeys = []string{"value", "value.yaml", "kubeconfig", "kubeconfig.yaml", "config", "Config", "admin.conf"}

// partKeys are the keys under which tools keep the parts of a kubeconfig:
// Karmada, Open Cluster Management, Crossplane, KubeVela, vcluster, and the
// token Secret of a service account.
var partKeys = map[string][]string{
	"server":                     {"endpoint", "server"},
	"certificate-authority-data": {"caBundle", "clusterCA", "ca.crt", "certificate-authority"},
	"client-certificate-data":    {"clientCert", "tls.crt", "client-certificate"},
	"client-key-data":            {"clientKey", "tls.key", "client-key"},
	"token":                      {"token"},
	"username":                   {"username"},
	"password":                   {"password"},
}

// fromSecret follows the conventions of the tools that write kubeconfig
// Secrets: an explicit key, then what type and labels say, then the usual
// keys, then parts to assemble, then the only key there is.
func (c *checker) fromSecret(s *Secret) {
	keys := slices.Sorted(maps.Keys(s.Data))
	wrongKey := func(message, hint string) {
		c.refuse(place{position: s.Position, path: "data"}, "secret-key", message, hint)
	}
	if key := c.options.Key; key != "" && !(key == "config" && isArgo(s)) {
		if _, ok := s.Data[key]; !ok {
			wrongKey(fmt.Sprintf("Secret %s has no key %q; it has %s", s.Name, key, enumerate(keys)), nearestKey(key, keys))
			return
		}
		c.fromValue(s, key)
		return
	}
	key := conventionKey(s)
	found := usualKeys(s)
	part := func(field string) bool { _, ok := firstKey(s, partKeys[field]); return ok }
	switch {
	case isArgo(s):
		c.fromArgo(s)
	case s.Type == "kubernetes.io/service-account-token":
		c.fromParts(s)
	case key != "":
		c.fromValue(s, key)
	case len(found) == 1:
		c.fromValue(s, found[0])
	case len(found) > 1:
		wrongKey(fmt.Sprintf("Secret %s holds several values that differ: %s", s.Name, enumerate(found)),
			"choose one with destination.secret.key: "+found[0])
	case part("token") || part("client-certificate-data") && part("client-key-data") || part("password") && part("server"):
		c.fromParts(s)
	case len(keys) == 1:
		c.fromValue(s, keys[0])
	case len(keys) == 0:
		wrongKey(fmt.Sprintf("Secret %s is empty", s.Name), hintKubeconfig)
	default:
		wrongKey(fmt.Sprintf("Secret %s has none of the keys that hold a kubeconfig; it has %s", s.Name, enumerate(keys)),
			"name the key with destination.secret.key")
	}
}

// ForControllers is the name of the Secret for controllers of the cluster whose users this
// one is for, empty if it is for no users. Cluster API's providers for EKS, GKE and AKS
// write both, under the same labels; that for users asks them to log in.
func ForControllers(name string, labels map[string]string) string {
	cluster := labels["cluster.x-k8s.io/cluster-name"]
	if cluster != "" && (name == cluster+"-user-kubeconfig" || name == cluster+"-kubeconfig-user") {
		return cluster + "-kubeconfig"
	}
	return ""
}

// usualKeys are those of [kubeconfigKeys] that a Secret has: the first one, and each
// whose value differs from that.
func usualKeys(s *Secret) []string {
	var found []string
	for _, k := range kubeconfigKeys {
		if v, ok := s.Data[k]; ok && (len(found) == 0 || !bytes.Equal(v.Bytes, s.Data[found[0]].Bytes)) {
			found = append(found, k)
		}
	}
	return found
}

// Holds tells whether there is a kubeconfig in a Secret, or what makes one, in
// whatever state. The labels of a convention do not tell: Cluster API keeps the
// keys of a cluster's authorities under them, too.
func (s *Secret) Holds() bool {
	if isArgo(s) || s.Type == "kubernetes.io/service-account-token" {
		return true
	}
	for _, value := range s.Data {
		if !bytes.Contains(value.Bytes, []byte("clusters")) {
			continue
		}
		if doc := new(checker).parse(value.Bytes); doc != nil && IsKubeconfig(doc) {
			return true
		}
	}
	part := func(field string) bool { _, ok := firstKey(s, partKeys[field]); return ok }
	server, authority := part("server"), part("certificate-authority-data") && s.Type != "kubernetes.io/tls"
	certificate := part("client-certificate-data") && part("client-key-data")
	return (server || authority) && (part("token") || certificate) || server && part("password")
}

// SecretAnnotations are the annotations by which a kubeconfig is found.
var SecretAnnotations = []string{istioCluster}

const istioCluster = "networking.istio.io/cluster"

// sveltosRenewed is the key under which Sveltos keeps the kubeconfig whose token it
// renews; kubeconfig is the first one, whose token ends.
// https://projectsveltos.github.io/sveltos/main/register/token_renewal/
const sveltosRenewed = "re-kubeconfig"

// conventionLabels are the labels by which a kubeconfig is found.
var conventionLabels = []string{"argocd.argoproj.io/secret-type", "cluster.x-k8s.io/cluster-name", "sigs.k8s.io/multicluster-runtime-kubeconfig",
	"hive.openshift.io/secret-type", "app", "x-k8s.io/cluster-profile", "istio/multiCluster"}

// Convention is what tells, beside the values of a Secret, where in it the kubeconfig is.
// It is in clear in an encrypted Secret.
func Convention(doc *yaml.Node) []string {
	doc = content(doc)
	metadata := field(doc, "metadata")
	labels, annotations := textsOf(field(metadata, "labels")), textsOf(field(metadata, "annotations"))
	texts := []string{textOf(doc, "type")}
	for _, label := range conventionLabels {
		texts = append(texts, labels[label])
	}
	for _, annotation := range SecretAnnotations {
		texts = append(texts, annotations[annotation])
	}
	return texts
}

// conventionKey is the key that the Secret's type or labels promise, empty if
// they promise none or the key is not there.
func conventionKey(s *Secret) string {
	var promised []string
	switch _, renewed := s.Data[sveltosRenewed]; {
	case renewed:
		return sveltosRenewed
	case s.Type == "cluster.x-k8s.io/secret" || s.Labels["cluster.x-k8s.io/cluster-name"] != "":
		promised = []string{"value"}
	case s.Type == "connection.crossplane.io/v1alpha1",
		s.Type == "mirror.linkerd.io/remote-kubeconfig",
		s.Labels["sigs.k8s.io/multicluster-runtime-kubeconfig"] == "true",
		s.Labels["hive.openshift.io/secret-type"] == "kubeconfig": // raw-kubeconfig lacks the CAs of custom certificates
		promised = []string{"kubeconfig"}
	case s.Labels["app"] == "vcluster":
		promised = []string{"config"}
	case s.Labels["x-k8s.io/cluster-profile"] != "":
		promised = []string{"Config"}
	case s.Labels["istio/multiCluster"] == "true":
		if promised = []string{s.Annotations[istioCluster]}; len(s.Data) == 1 {
			promised = slices.Collect(maps.Keys(s.Data))
		}
	}
	key, _ := firstKey(s, promised)
	return key
}

func firstKey(s *Secret, keys []string) (string, bool) {
	for _, key := range keys {
		if _, ok := s.Data[key]; ok {
			return key, true
		}
	}
	return "", false
}

// fromValue reads the kubeconfig under a key. What it names as a file may be
// another key of the Secret, as Open Cluster Management does with tls.crt.
func (c *checker) fromValue(s *Secret, key string) {
	value := s.Data[key]
	c.origin = origin{position: value.Position, key: key}
	doc := c.parse(value.Bytes)
	if doc == nil {
		return
	}
	c.fromKubeconfig(doc, func(name string) []byte { return s.Data[path.Base(name)].Bytes })
}

// fromParts assembles a kubeconfig from the parts of a Secret. The server may
// come from the pair alone.
func (c *checker) fromParts(s *Secret) {
	c.name(s.Name)
	part := func(field string) string {
		key, ok := firstKey(s, partKeys[field])
		if !ok {
			return ""
		}
		c.place(field, place{position: s.Data[key].Position, path: "data." + key})
		return string(s.Data[key].Bytes)
	}
	d := &c.destination
	d.Server = strings.TrimSpace(part("server"))
	d.CAData = plainPEM(part("certificate-authority-data"))
	d.ClientCertificateData = plainPEM(part("client-certificate-data"))
	d.ClientKeyData = plainPEM(part("client-key-data"))
	d.Token = part("token")
	d.Username, d.Password = part("username"), part("password")
	if c.options.Server == "" && d.Server == "" {
		c.refuse(place{position: s.Position, path: "data"}, "server-invalid",
			fmt.Sprintf("Secret %s holds a credential and no server", s.Name), "set destination.server: https://HOST:6443")
		c.refused("server")
	}
	c.check()
}

// plainPEM is a part that is PEM; some tools keep its base64.
func plainPEM(value string) []byte {
	if looksEncoded(value) {
		decoded, _ := decodeBase64(strings.TrimSpace(value))
		return decoded
	}
	return []byte(value)
}

// argoConfig is the config of an Argo CD cluster Secret.
// https://argo-cd.readthedocs.io/en/stable/operator-manual/declarative-setup/#clusters
type argoConfig struct {
	BearerToken     string `json:"bearerToken"`
	Username        string `json:"username"`
	Password        string `json:"password"`
	ProxyURL        string `json:"proxyUrl"`
	TLSClientConfig struct {
		Insecure   bool   `json:"insecure"`
		ServerName string `json:"serverName"`
		CAData     string `json:"caData"`
		CertData   string `json:"certData"`
		KeyData    string `json:"keyData"`
	} `json:"tlsClientConfig"`
	AWSAuthConfig *struct {
		ClusterName string `json:"clusterName"`
		RoleARN     string `json:"roleARN"`
		Profile     string `json:"profile"`
	} `json:"awsAuthConfig"`
	ExecProviderConfig *struct {
		Command    string            `json:"command"`
		Args       []string          `json:"args"`
		Env        map[string]string `json:"env"`
		APIVersion string            `json:"apiVersion"`
	} `json:"execProviderConfig"`
}

// argoFields are the fields of a kubeconfig that an argoConfig has, each with its way.
var argoFields = map[string]string{
	"token": "bearerToken", "username": "username", "password": "password", "proxy-url": "proxyUrl",
	"insecure-skip-tls-verify": "tlsClientConfig.insecure", "tls-server-name": "tlsClientConfig.serverName",
	"certificate-authority-data": "tlsClientConfig.caData", "client-certificate-data": "tlsClientConfig.certData",
	"client-key-data": "tlsClientConfig.keyData", "exec": "execProviderConfig",
}

const hintArgo = `stringData: {name: west, server: "https://HOST:6443", config: '{"bearerToken": "…", "tlsClientConfig": {"caData": "…"}}'}`

func isArgo(s *Secret) bool { return s.Labels["argocd.argoproj.io/secret-type"] == "cluster" }

// fromArgo assembles a kubeconfig from an Argo CD cluster Secret, with the
// meaning that Argo CD gives it.
func (c *checker) fromArgo(s *Secret) {
	value := s.Data["config"]
	at := place{position: value.Position, path: "data.config"}
	var config argoConfig
	switch err := json.Unmarshal(value.Bytes, &config); {
	case len(value.Bytes) == 0:
		at.position = s.Position
		c.refuse(at, "secret-key", fmt.Sprintf("Argo CD cluster Secret %s has no config", s.Name), hintArgo)
		return
	case bytes.HasPrefix(value.Bytes, []byte(encryptedPrefix)):
		c.refuse(at, "still-encrypted", "the value is still encrypted by SOPS", hintDecrypt)
		return
	case err != nil:
		line := 0
		if syntax, ok := err.(*json.SyntaxError); ok {
			line = 1 + bytes.Count(value.Bytes[:min(int(syntax.Offset), len(value.Bytes))], []byte("\n"))
		}
		c.origin = origin{position: value.Position, key: "config"}
		c.refuse(c.line(line), "yaml", "not the JSON of an Argo CD cluster's config", hintArgo)
		return
	}
	c.name(cmp.Or(string(s.Data["name"].Bytes), s.Name))
	for field, key := range argoFields {
		c.place(field, place{position: value.Position, path: "data.config." + key})
	}
	c.place("server", place{position: s.Position, path: "data.server"})
	if server, ok := s.Data["server"]; ok {
		c.place("server", place{position: server.Position, path: "data.server"})
	}

	d, tls := &c.destination, config.TLSClientConfig
	data := func(field, value string) []byte {
		decoded, err := decodeBase64(value)
		if isPlaceholder(value) {
			c.refuse(c.where(field), "bad-base64", messagePlaceholder, hintPlaceholder)
			c.refused(field)
		} else if err != nil || looksEncoded(string(decoded)) {
			c.refuse(c.where(field), "bad-base64", "no base64, or base64 twice", hintBase64)
			c.refused(field)
		}
		return decoded
	}
	d.Server, d.TLSServerName, d.ProxyURL = strings.TrimSpace(string(s.Data["server"].Bytes)), tls.ServerName, config.ProxyURL
	d.InsecureSkipTLSVerify = tls.Insecure
	d.CAData = data("certificate-authority-data", tls.CAData)
	d.ClientCertificateData = data("client-certificate-data", tls.CertData)
	d.ClientKeyData = data("client-key-data", tls.KeyData)
	d.Token, d.Username, d.Password = config.BearerToken, config.Username, config.Password
	if config.AWSAuthConfig != nil {
		c.place("exec", place{position: value.Position, path: "data.config.awsAuthConfig"})
	}
	d.Exec = config.exec()
	c.check()
}

// exec is the program that gives the credential of a cluster of Argo CD, nil if none
// does.
func (config *argoConfig) exec() *Exec {
	switch aws, exec := config.AWSAuthConfig, config.ExecProviderConfig; {
	case aws != nil:
		// Argo CD runs a helper of its own, which does what the AWS CLI does.
		e := &Exec{APIVersion: "client.authentication.k8s.io/v1beta1", Command: "aws", InteractiveMode: "Never",
			Args: []string{"eks", "get-token", "--cluster-name", aws.ClusterName, "--output", "json"}}
		if aws.RoleARN != "" {
			e.Args = append(e.Args, "--role-arn", aws.RoleARN)
		}
		if aws.Profile != "" {
			e.Env = []EnvVar{{"AWS_PROFILE", aws.Profile}}
		}
		return e
	case exec != nil:
		e := &Exec{APIVersion: exec.APIVersion, Command: exec.Command, Args: exec.Args, InteractiveMode: "Never"}
		for _, name := range slices.Sorted(maps.Keys(exec.Env)) {
			e.Env = append(e.Env, EnvVar{name, exec.Env[name]})
		}
		return e
	}
	return nil
}

// enumerate names keys in a message.
func enumerate(keys []string) string {
	if len(keys) == 0 {
		return "none"
	}
	return strings.Join(keys, ", ")
}

func nearestKey(key string, keys []string) string {
	if near := report.Nearest(key, keys); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return "set destination.secret.key to one of them"
}
