// Package credential keeps the credential of a destination in an encrypted Secret, from
// which pairs are rendered.
//
// [Open] is for a file that is to be written, [OpenWritten] for one that was:
// [File.Rehearse] does all that can fail before there is a token, [File.Mint] makes one.
// [Find] finds the files to rotate, [Renewal.Prepare], [Mint] and [Write] rotate them.
// [File.Held] refuses to end what a pair still holds. A token that could not be written
// is taken back, and no error holds one.
package credential

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Annotations in clear of a Secret file that credential create wrote: what it
// takes to rotate and to revoke the credential without a key.
const (
	annotationAccount       = holders.AnnotationAccount                    // NAMESPACE/NAME of the ServiceAccount
	annotationToken         = holders.AnnotationTokenSecret                // the Secret with which the token lives
	annotationPrevious      = "clusterpair.dev/credential-previous"        // those of tokens before, by commas
	annotationLifetime      = "clusterpair.dev/credential-lifetime"        // as it was asked for; absent for ever
	annotationCluster       = "clusterpair.dev/credential-cluster"         // UID of kube-system
	annotationServer        = "clusterpair.dev/credential-server"          // URL as the source cluster reaches it
	annotationTLSServerName = "clusterpair.dev/credential-tls-server-name" // absent if it is that of the URL
	annotationLocal         = "config.kubernetes.io/local-config"          // never to be applied
)

// File is an encrypted Secret with the kubeconfig of a credential. What it tells stands
// in clear.
type File struct {
	Path   string
	Before []byte // what the file holds; nil if there is none yet
	// Policy is who is going to be able to read it.
	Policy *sopsfile.Policy

	Account cluster.Account
	Cluster string // UID of the destination
	// Server is the URL of the destination as the source cluster reaches it, and
	// TLSServerName the name in its certificate, if it is not that of the URL.
	Server, TLSServerName string
	Lifetime              string    // as it was asked for, empty for ever
	Secret                string    // on the destination, with which the token lives
	Previous              []string  // those of the tokens before
	Expires               time.Time // zero for never
	Name                  string    // of the Secret in the file
	// Maker is kept with the token that is made next: see [cluster.TokenSecret].
	Maker string

	format              sopsfile.Format
	id                  string // of the credential, as pairs have it
	namespace           string
	labels, annotations map[string]string // annotations of others
}

// kubeconfigKey is where Cluster API, Flux and Fleet have a kubeconfig.
const kubeconfigKey = "value"

// Open reads a file that is to be written. One that is not there is
// to be made; its Secret is named after it.
func Open(path string, age []string) (*File, error) {
	f, err := Read(path)
	if err != nil {
		return nil, err
	}
	if f.format, err = seal.ObjectFormat(f.Path); err != nil && f.Before == nil {
		return nil, err
	}
	if f.Policy, err = seal.PolicyOf(path, age); err != nil {
		return nil, err
	}
	if f.Before == nil {
		f.Name, _, _ = strings.Cut(filepath.Base(path), ".")
		f.annotations = map[string]string{annotationLocal: "true"}
		if bad := validation.IsDNS1123Subdomain(f.Name); len(bad) > 0 {
			return nil, report.Usage(report.WithHint(fmt.Errorf("%q is no name for a Secret, which is named after its file", f.Name), "-o secrets/west.yaml"))
		}
	}
	return f, nil
}

// Read reads what stands in clear of a file, if there is one.
func Read(path string) (*File, error) {
	f := &File{Path: filepath.Clean(path)} // as rename does not
	var err error
	f.Before, err = worktree.ReadPrevious(f.Path)
	var hinted *report.HintedError
	if errors.As(err, &hinted) {
		err = report.WithHint(hinted.Err, "name a file for the Secret, as in secrets/west.yaml")
	}
	if err != nil {
		return nil, err
	}
	if f.Before == nil {
		return f, nil
	}
	docs, err := manifest.Values(f.Before, path)
	if err != nil {
		return nil, err
	}
	foreign := report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: path},
		Message: "the file is no Secret that clusterpair credential create has written",
		Hint:    "make one in a file of its own: clusterpair credential create -o FILE; a Secret of another origin is renewed there, and taken in again: clusterpair import -n NAMESPACE NAME"}
	if len(docs) != 1 || !sopsfile.IsEncrypted(docs[0]) || manifest.Text(docs[0], "kind") != "Secret" {
		return nil, foreign
	}
	metadata := manifest.Field(docs[0], "metadata")
	f.Name, f.namespace = manifest.Text(metadata, "name"), manifest.Text(metadata, "namespace")
	f.labels, f.annotations = texts(manifest.Field(metadata, "labels")), texts(manifest.Field(metadata, "annotations"))
	take := func(annotation string) string {
		value := f.annotations[annotation]
		delete(f.annotations, annotation)
		return value
	}
	f.Account.Namespace, f.Account.Name, _ = strings.Cut(take(annotationAccount), "/")
	f.Cluster, f.Server, f.TLSServerName = take(annotationCluster), take(annotationServer), take(annotationTLSServerName)
	f.Secret, f.Lifetime = take(annotationToken), take(annotationLifetime)
	f.Previous = strings.FieldsFunc(take(annotationPrevious), func(r rune) bool { return r == ',' || r == ' ' })
	f.Expires, _ = time.Parse(time.RFC3339, take(generator.AnnotationExpires)) // zero is never
	f.id = take(generator.AnnotationCredentialID)
	for _, name := range append(f.Previous, f.Account.Namespace, f.Account.Name, f.Secret) {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			return nil, foreign
		}
	}
	for _, part := range []string{"data", "stringData"} {
		for key := range texts(manifest.Field(docs[0], part)) {
			if key != kubeconfigKey {
				foreign.Message = fmt.Sprintf("the Secret holds %s besides the kubeconfig, which would be lost", key)
				return nil, foreign
			}
		}
	}
	return f, nil
}

// texts are the texts of a mapping.
func texts(n *yaml.Node) map[string]string {
	m := make(map[string]string)
	if n != nil && n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = n.Content[i+1].Value
		}
	}
	return m
}

// kubeconfig is one with a token.
func (f *File) kubeconfig(token string, ca []byte) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[f.Name] = &clientcmdapi.Cluster{Server: f.Server, TLSServerName: f.TLSServerName, CertificateAuthorityData: ca}
	config.AuthInfos[f.Account.Name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[f.Name] = &clientcmdapi.Context{Cluster: f.Name, AuthInfo: f.Account.Name}
	config.CurrentContext = f.Name
	text, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig for %s cannot be written", f.Account)
	}
	return text, nil
}

// document is the Secret in clear that holds a kubeconfig.
func (f *File) document(text []byte) (*yaml.Node, error) {
	annotations := maps.Clone(f.annotations)
	for annotation, value := range map[string]string{
		annotationAccount: f.Account.String(), annotationToken: f.Secret, annotationPrevious: strings.Join(f.Previous, ","),
		annotationLifetime: f.Lifetime, annotationCluster: f.Cluster, annotationServer: f.Server, annotationTLSServerName: f.TLSServerName,
		generator.AnnotationCredentialID: f.id,
	} {
		if value != "" {
			annotations[annotation] = value
		}
	}
	end := kubeconfig.End{State: kubeconfig.Never}
	if !f.Expires.IsZero() {
		end.State, end.At = kubeconfig.Known, f.Expires
	}
	maps.Copy(annotations, end.Annotations())
	metadata := map[string]any{"name": f.Name, "annotations": annotations}
	if f.namespace != "" {
		metadata["namespace"] = f.namespace
	}
	if len(f.labels) > 0 {
		metadata["labels"] = f.labels
	}
	var doc yaml.Node
	err := doc.Encode(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
		"data": map[string]string{kubeconfigKey: base64.StdEncoding.EncodeToString(text)},
	})
	return &doc, err
}

// seal encrypts a document of f.
func (f *File) seal(ctx context.Context, safe *sopsfile.Safe, doc *yaml.Node) ([]byte, error) {
	policy := seal.ForSecret(f.Policy)
	sealed, _, err := safe.Encrypt(ctx, []*yaml.Node{doc}, f.Before, policy, sopsfile.EncryptOptions{File: f.Path, Format: f.format})
	if err != nil {
		return nil, seal.Explain(err, f.Path)
	}
	return sealed, seal.CheckObject(sealed, doc, policy, f.Path)
}

// Rehearse does everything that can fail when a credential is written, before a token
// is made: a token that cannot be written would be lost.
func (f *File) Rehearse(ctx context.Context, safe *sopsfile.Safe, ca []byte) ([]report.Finding, error) {
	text, err := f.kubeconfig(strings.Repeat("stand-in", 8), ca)
	if err != nil {
		return nil, err
	}
	docs, err := manifest.Values(text, f.Path)
	if err != nil {
		return nil, err
	}
	manifest.ForgetPositions(docs[0])
	_, findings := kubeconfig.FromDocument(docs[0], f.Path, kubeconfig.Options{Now: time.Now()})
	for i := range findings {
		if findings[i].Path = ""; strings.HasPrefix(findings[i].Rule, "server-") {
			findings[i].Hint = "name the address by which the source cluster reaches it: --server https://HOST:6443"
		}
	}
	if report.HasErrors(findings) {
		return findings, nil
	}
	doc, err := f.document(text)
	if err != nil {
		return findings, err
	}
	if _, err := f.seal(ctx, safe, doc); err != nil {
		return findings, err
	}
	if err := worktree.TryWrite(f.Path); err != nil {
		return findings, err
	}
	return findings, nil
}

// Forget forgets the tokens that are gone from the destination.
func (f *File) Forget(ctx context.Context, client *cluster.Client) error {
	if f.Secret == "" {
		return nil
	}
	tokens, err := client.Tokens(ctx, f.Account)
	gone := func(name string) bool {
		return !slices.ContainsFunc(tokens, func(t cluster.TokenSecret) bool { return t.Name == name })
	}
	f.Previous = slices.DeleteFunc(f.Previous, gone)
	if gone(f.Secret) {
		f.Secret = ""
	}
	return err
}

// Mint makes a token, and gives the Secret with it, in clear and sealed. If it
// cannot, it leaves no token behind.
func (f *File) Mint(ctx context.Context, client *cluster.Client, safe *sopsfile.Safe, ca []byte, lifetime time.Duration) (doc *yaml.Node, sealed []byte, err error) {
	token, err := client.Mint(ctx, f.Account, cluster.NewSecretName(f.Account), f.Maker, lifetime)
	if err != nil {
		return nil, nil, err
	}
	if f.Secret != "" {
		f.Previous = append(f.Previous, f.Secret)
	}
	f.Secret, f.Expires, f.id = token.Secret, token.Expires, kubeconfig.CredentialID(nil, token.Value)
	text, err := f.kubeconfig(token.Value, ca)
	if err == nil {
		doc, err = f.document(text)
	}
	if err == nil {
		sealed, err = f.seal(ctx, safe, doc)
	}
	if err != nil {
		return nil, nil, f.Unmint(ctx, client, err)
	}
	return doc, sealed, nil
}

// Unmint takes back the token that could not be written because of err. If the token
// cannot be taken back, the error says so before anything else, even after an
// interruption.
func (f *File) Unmint(ctx context.Context, client *cluster.Client, err error) error {
	if left := client.Unmint(ctx, f.Account, f.Secret); left != nil {
		return left
	}
	return err
}

// Ending says when the credential ends.
func (f *File) Ending() string {
	if f.Expires.IsZero() {
		return "does not end by itself"
	}
	return "ends on " + f.Expires.UTC().Format("2006-01-02 15:04 MST")
}

// Verb is what becomes of the file when it is written.
func (f *File) Verb() string {
	if f.Before == nil {
		return worktree.Created
	}
	return worktree.Changed
}

// WarnShortened says so if the server grants less than it was asked for.
func (f *File) WarnShortened(w io.Writer, asked time.Duration) {
	const slack = time.Minute
	if granted := time.Until(f.Expires); !f.Expires.IsZero() && granted < asked-slack {
		report.Say(w, "warning: the API server grants %s instead of %s (its --service-account-max-token-expiration)\n", granted.Round(time.Minute), asked)
	}
}

// OpenWritten reads a file that credential create has written.
func OpenWritten(path string) (*File, error) {
	f, err := Read(path)
	if err == nil && f.Before == nil {
		err = report.WithHint(fmt.Errorf("there is no file %s", path), "clusterpair credential create --name stork-dr -o %s", report.Typed(path))
	}
	return f, err
}

// Role says what a token is to the file.
func (f *File) Role(t cluster.TokenSecret) string {
	made := ", made on " + t.Created.UTC().Format(time.DateTime)
	switch {
	case t.Name == f.Secret:
		return made + ", which " + f.Path + " holds"
	case slices.Contains(f.Previous, t.Name):
		return made + ", which " + f.Path + " held before"
	}
	return made + ", of another file"
}
