// Package holders tells which documents of a repository hold a credential that is
// to end.
//
// [Find] takes in the documents of a repository, each with [Of]; then ask [Judge]. No
// document need be decrypted: the annotation clusterpair.dev/credential-id tells in clear
// what it holds. One without it may hold anything; decrypted, [Plain] tells.
package holders

import (
	"encoding/base64"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
)

// Holder is a ClusterPair, or the Secret with a kubeconfig that pairs are rendered
// from.
type Holder struct {
	// File is what messages call its file. Commit is the commit that has the file
	// so, such as HEAD; empty is the work tree.
	File, Commit string
	// Object names it, as in "ClusterPair apps/west".
	Object string
	// Config is the function config that has rendered it; empty if it tells of none.
	Config string
	// IDs are the credentials that it holds, as [kubeconfig.CredentialID] names
	// them. It is nil where nothing tells.
	IDs []string
}

// AnnotationTokenSecret is on the Secret that clusterpair credential create writes:
// the name of the Secret on the destination with which its token lives.
const AnnotationTokenSecret = "clusterpair.dev/credential-secret"

// AnnotationAccount is on the same Secret: NAMESPACE/NAME of the service account.
const AnnotationAccount = "clusterpair.dev/credential-account"

// Of is the holder in a document. A Secret counts only if it tells what it holds:
// what others keep in theirs is not for pairs.
func Of(doc *yaml.Node) (Holder, bool) {
	kind := manifest.Text(doc, "kind")
	text := func(keys ...string) string { return strings.Clone(manifest.Text(doc, keys...)) }
	annotation := func(key string) string { return text("metadata", "annotations", key) }
	h := Holder{Object: kind + " " + strings.TrimPrefix(text("metadata", "namespace")+"/"+text("metadata", "name"), "/")}
	if id := annotation(generator.AnnotationCredentialID); kubeconfig.IsCredentialID(id) {
		h.IDs = strings.Split(id, ",")
	}
	switch kind {
	case generator.ClusterPairKind:
		h.Config = annotation(generator.AnnotationGeneratedBy)
		return h, true
	case "Secret":
		if namespace, _, ok := strings.Cut(annotation(AnnotationAccount), "/"); ok && annotation(AnnotationTokenSecret) != "" {
			h.IDs = append(h.IDs, kubeconfig.TokenSecretID(namespace, annotation(AnnotationTokenSecret)))
		}
		return h, h.IDs != nil
	}
	return Holder{}, false
}

// Plain is what a ClusterPair in clear holds: empty, not nil, if that is nothing
// that could be named.
func Plain(doc *yaml.Node) []string {
	ids := []string{}
	users := manifest.Field(doc, "spec", "config", "users")
	for i := 1; users != nil && users.Kind == yaml.MappingNode && i < len(users.Content); i += 2 {
		user := users.Content[i]
		certificate, _ := base64.StdEncoding.DecodeString(manifest.Text(user, "client-certificate-data"))
		if id := kubeconfig.CredentialID(certificate, manifest.Text(user, "token")); id != "" {
			ids = append(ids, strings.Split(id, ",")...)
		}
	}
	return ids
}

// Judge finds the holders of credentials that are to end, and those of which
// nothing tells what they hold.
func Judge(all []Holder, ending []string) (holding, unknown []Holder) {
	for _, h := range all {
		switch {
		case h.IDs == nil:
			unknown = append(unknown, h)
		case slices.ContainsFunc(h.IDs, func(id string) bool { return slices.Contains(ending, id) }):
			holding = append(holding, h)
		}
	}
	return holding, unknown
}
