package kubeconfig

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// fromKubeconfig takes one context out of a kubeconfig and checks it. sibling
// gives the content of a file that the kubeconfig names, nil if there is none;
// a nil sibling knows no file.
func (c *checker) fromKubeconfig(doc *yaml.Node, sibling func(name string) []byte) {
	root := c.read(doc)
	if root == nil {
		return
	}
	name, ok := c.contextName(root)
	if !ok {
		return
	}
	context, _ := entry(root, "contexts", "context", name)
	c.namespace(context, name)
	path := "contexts." + name + ".context."
	cluster, clusterName := c.referred(root, context, path, name, "cluster", "clusters")
	user, userName := c.referred(root, context, path, name, "user", "users")

	d := &c.destination
	d.Context, d.Cluster, d.User = label(name, "context"), label(clusterName, "cluster"), label(userName, "user")
	if cluster != nil {
		c.cluster(cluster, "clusters."+clusterName+".cluster.", sibling)
	}
	if user != nil {
		c.user(user, "users."+userName+".user.", sibling)
	}
	c.check()
}

// contextName is the context to take.
func (c *checker) contextName(root *yaml.Node) (string, bool) {
	names := entryNames(root, "contexts")
	current := field(root, "current-context")
	at := c.at(current, "current-context")
	name := textOf(root, "current-context")
	if c.options.Context != "" {
		name, at = c.options.Context, c.at(field(root, "contexts"), "contexts")
	}
	hint := "set destination.context to one of them"
	switch {
	case len(names) == 0:
		c.refuse(c.at(root, "contexts"), "context-broken", "the kubeconfig has no contexts", "kubectl config set-context NAME --cluster CLUSTER --user USER")
		return "", false
	case name == "":
		c.refuse(at, "context-broken", "the kubeconfig has no current-context; its contexts are "+enumerate(names), hint)
		return "", false
	case !slices.Contains(names, name):
		if near := report.Nearest(name, names); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		c.refuse(at, "context-broken", fmt.Sprintf("the kubeconfig has no context %q; its contexts are %s", name, enumerate(names)), hint)
		return "", false
	}
	return name, true
}

func (c *checker) namespace(context *yaml.Node, name string) {
	ns := textOf(context, "namespace")
	if ns != "" && !isLabel(ns) {
		c.refuse(c.at(field(context, "namespace"), "contexts."+name+".context.namespace"), "context-broken",
			fmt.Sprintf("the namespace of context %q is no DNS label", name), "remove it: Stork needs none")
		return
	}
	c.destination.Namespace = ns
}

// referred is the cluster or user that a context names.
func (c *checker) referred(root, context *yaml.Node, path, contextName, kind, section string) (*yaml.Node, string) {
	name := textOf(context, kind)
	at := c.at(field(context, kind), path+kind)
	if name == "" {
		if field(context, kind) == nil {
			at = c.at(context, path+kind)
		}
		c.refused(kind)
		c.refuse(at, "context-broken", fmt.Sprintf("context %q names no %s", contextName, kind), fmt.Sprintf("kubectl config set-context %s --%s NAME", report.Typed(contextName), kind))
		return nil, ""
	}
	n, ok := entry(root, section, kind, name)
	if !ok {
		c.refused(kind)
		hint := ""
		if near := report.Nearest(name, entryNames(root, section)); near != "" {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		c.refuse(at, "context-broken", fmt.Sprintf("context %q names %s %q, which the kubeconfig does not have", contextName, kind, name), hint)
		return nil, name
	}
	switch {
	case isNull(n):
		n = mapping() // as client-go takes it
	case n.Kind != yaml.MappingNode: // read has said so
		c.refused(kind)
		n = nil
	}
	return n, name
}

// cluster takes the fields of a cluster in.
func (c *checker) cluster(n *yaml.Node, path string, sibling func(string) []byte) {
	c.placeAll(n, clusterShape, "cluster", path)
	d := &c.destination
	d.Server = textOf(n, "server")
	d.TLSServerName = textOf(n, "tls-server-name")
	d.ProxyURL = textOf(n, "proxy-url")
	d.InsecureSkipTLSVerify = boolOf(n, "insecure-skip-tls-verify")
	d.CAData = c.inline(n, "certificate-authority", "certificate-authority-data", sibling)
}

// user takes the fields of a user in.
func (c *checker) user(n *yaml.Node, path string, sibling func(string) []byte) {
	c.placeAll(n, userShape, "user", path)
	d := &c.destination
	d.ClientCertificateData = c.inline(n, "client-certificate", "client-certificate-data", sibling)
	d.ClientKeyData = c.inline(n, "client-key", "client-key-data", sibling)
	d.Token = string(c.inline(n, "tokenFile", "token", sibling))
	d.Username, d.Password = textOf(n, "username"), textOf(n, "password")
	d.Impersonate, d.ImpersonateUID = textOf(n, "as"), textOf(n, "as-uid")
	d.ImpersonateGroups = listOf(n, "as-groups")
	if extra := field(n, "as-user-extra"); extra != nil && extra.Kind == yaml.MappingNode && len(extra.Content) > 0 {
		d.ImpersonateUserExtra = make(map[string][]string, len(extra.Content)/2)
		for i := 0; i+1 < len(extra.Content); i += 2 {
			d.ImpersonateUserExtra[extra.Content[i].Value] = listOf(extra, extra.Content[i].Value)
		}
	}
	if provider := field(n, "auth-provider"); !isNull(provider) {
		c.refuse(c.where("auth-provider"), "auth-provider", "client-go has removed auth-provider plugins; Stork cannot build a client from one",
			"make a service account on the destination and use its token")
		c.refused("auth-provider")
	}
	if exec := field(n, "exec"); !isNull(exec) {
		d.Exec = execOf(exec)
		// What client-go takes for a mode that a kubeconfig does not give; of v1 it demands one.
		if v := d.Exec.APIVersion; d.Exec.InteractiveMode == "" && !c.pair && (v == "client.authentication.k8s.io/v1beta1" || v == "client.authentication.k8s.io/v1alpha1") {
			d.Exec.InteractiveMode = "IfAvailable"
		}
	}
}

func execOf(n *yaml.Node) *Exec {
	e := &Exec{
		APIVersion: textOf(n, "apiVersion"), Command: textOf(n, "command"), Args: listOf(n, "args"),
		InteractiveMode: textOf(n, "interactiveMode"), ProvideClusterInfo: boolOf(n, "provideClusterInfo"),
	}
	if env := field(n, "env"); env != nil {
		for _, v := range env.Content {
			v = content(v)
			e.Env = append(e.Env, EnvVar{textOf(v, "name"), textOf(v, "value")})
		}
	}
	return e
}

// inline is the content of a field that may name a file instead.
func (c *checker) inline(n *yaml.Node, fileKey, dataKey string, sibling func(string) []byte) []byte {
	file, value := textOf(n, fileKey), textOf(n, dataKey)
	if dataKey != "token" {
		if message, hint := judgeData(value); message != "" {
			if c.pair { // of a kubeconfig read has said so
				c.refuse(c.where(dataKey), "bad-base64", message, hint)
			}
			c.refused(dataKey)
		}
		decoded, _ := decodeBase64(value)
		value = string(decoded)
	}
	at := c.where(fileKey)
	switch {
	case file == "":
		return []byte(value)
	case value != "":
		c.refuse(at, "file-reference", fmt.Sprintf("both %s and %s are given, and client-go does not choose", fileKey, dataKey), "remove "+fileKey)
		c.refused(dataKey)
		return nil
	}
	if sibling != nil {
		if content := sibling(file); len(content) > 0 {
			c.place(dataKey, at)
			return content
		}
	}
	hint := "inline it: kubectl config view --raw --flatten --minify"
	if dataKey == "token" { // which --flatten leaves as it is
		hint = "write what is in it as token, or " + HintLasting
	}
	c.refuse(at, "file-reference", fmt.Sprintf("%s names a file, which Stork would look for inside its own pod", fileKey), hint)
	c.refused(dataKey)
	return nil
}

// placeAll notes where the fields of a cluster or user stand, and which of
// them read has refused.
func (c *checker) placeAll(n *yaml.Node, s *shape, whole, path string) {
	c.place(whole, c.at(n, strings.TrimSuffix(path, ".")))
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, content(n.Content[i+1])
		expected := s.fields[key]
		if expected == nil {
			continue
		}
		c.place(key, c.at(value, path+c.spelled(key)))
		got := scalarType(value)
		encrypted := strings.HasPrefix(value.Value, encryptedPrefix)
		if (expected.kind == text || expected.kind == data) && got != isNullType && (got != isText || encrypted) {
			c.refused(key)
		}
		if encrypted && c.pair && expected.kind == text { // the schema knows that it is no base64, and no bool
			c.refuse(c.where(key), "still-encrypted", messageEncrypted, hintDecrypt)
		}
	}
}

// entry is the body of a named cluster, context or user, nil if it has none.
func entry(root *yaml.Node, section, kind, name string) (body *yaml.Node, ok bool) {
	items := field(root, section)
	if items == nil {
		return nil, false
	}
	for _, item := range items.Content {
		if item = content(item); textOf(item, "name") == name {
			return field(item, kind), true
		}
	}
	return nil, false
}

func entryNames(root *yaml.Node, section string) []string {
	var names []string
	if items := field(root, section); items != nil {
		for _, item := range items.Content {
			if name := textOf(content(item), "name"); name != "" {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// name calls an assembled context, cluster and user by one name.
func (c *checker) name(s string) {
	d := &c.destination
	d.Context, d.Cluster, d.User = label(s, "context"), label(s, "cluster"), label(s, "user")
}

// label makes a DNS label of a name: lower case, every run of other characters
// one hyphen. Colons would make SOPS's paths ambiguous, and a final
// _unencrypted would keep SOPS from encrypting what stands below.
//
// A ClusterPair holds one context, one cluster and one user, each in a map of
// its own, and nothing outside refers to their names: two names cannot
// collide. Only where little or nothing of a name is left does a part of its
// hash tell it from others, so that a change of name still shows in a review.
func label(name, kind string) string {
	if isLabel(name) {
		return name
	}
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && s[len(s)-1] != '-' {
			b.WriteByte('-')
		}
	}
	s := strings.TrimRight(b.String(), "-")
	if s != "" && len(s) <= maxLabel {
		return s
	}
	hash := sha256.Sum256([]byte(name))
	suffix := "-" + hex.EncodeToString(hash[:4])
	if s == "" {
		return kind + suffix
	}
	return strings.TrimRight(s[:maxLabel-len(suffix)], "-") + suffix
}

const maxLabel = 63

// isLabel tells whether s is a DNS label in the sense of RFC 1123.
func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return true
}
