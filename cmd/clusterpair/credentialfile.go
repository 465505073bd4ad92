package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"os"
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
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// Annotations in clear of a Secret file that credential create wrote: what it
// takes to rotate and to revoke the credential without a key.
const (
	annotationAccount       = "clusterpair.dev/credential-account"         // NAMESPACE/NAME of the ServiceAccount
	annotationToken         = "clusterpair.dev/credential-secret"          // the Secret with which the token lives
	annotationPrevious      = "clusterpair.dev/credential-previous"        // those of tokens before, by commas
	annotationLifetime      = "clusterpair.dev/credential-lifetime"        // as it was asked for; absent for ever
	annotationCluster       = "clusterpair.dev/credential-cluster"         // UID of kube-system
	annotationServer        = "clusterpair.dev/credential-server"          // URL as the source cluster reaches it
	annotationTLSServerName = "clusterpair.dev/credential-tls-server-name" // absent if it is that of the URL
	annotationLocal         = "config.kubernetes.io/local-config"          // never to be applied
)

// credentialFile is an encrypted Secret with the kubeconfig of a credential.
type credentialFile struct {
	path   string
	before []byte // nil if there is no file yet
	policy *sopsfile.Policy

	account               cluster.Account
	cluster               string
	server, tlsServerName string
	lifetime              string
	secret                string
	previous              []string
	expires               time.Time

	name, namespace     string
	labels, annotations map[string]string // annotations of others
}

// kubeconfigKey is where Cluster API, Flux and Fleet have a kubeconfig.
const kubeconfigKey = "value"

// openCredentialFile reads a file that is to be written. One that is not there is
// to be made; its Secret is named after it.
func openCredentialFile(path string, age []string) (*credentialFile, error) {
	f, err := readCredentialFile(path)
	if err != nil {
		return nil, err
	}
	if f.policy, err = filePolicy(path, age); err != nil {
		return nil, err
	}
	if f.before == nil {
		f.name, _, _ = strings.Cut(filepath.Base(path), ".")
		f.annotations = map[string]string{annotationLocal: "true"}
		if bad := validation.IsDNS1123Subdomain(f.name); len(bad) > 0 {
			return nil, usageError(withHint(fmt.Errorf("%q is no name for a Secret, which is named after its file", f.name), "-o secrets/west.yaml"))
		}
	}
	return f, nil
}

// readCredentialFile reads what stands in clear of a file, if there is one.
func readCredentialFile(path string) (*credentialFile, error) {
	f := &credentialFile{path: filepath.Clean(path)} // as rename does not
	var err error
	f.before, err = readPrevious(f.path)
	var hinted *hintedError
	if errors.As(err, &hinted) {
		err = withHint(hinted.err, "name a file for the Secret, as in secrets/west.yaml")
	}
	if err != nil {
		return nil, failed(err)
	}
	if f.before == nil {
		return f, nil
	}
	docs, err := manifest.Values(f.before, path)
	if err != nil {
		return nil, err
	}
	foreign := report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: path},
		Message: "the file is no Secret that clusterpair credential create has written", Hint: "name another file"}
	if len(docs) != 1 || !sopsfile.IsEncrypted(docs[0]) || manifest.Text(docs[0], "kind") != "Secret" {
		return nil, foreign
	}
	metadata := manifest.Field(docs[0], "metadata")
	f.name, f.namespace = manifest.Text(metadata, "name"), manifest.Text(metadata, "namespace")
	f.labels, f.annotations = texts(manifest.Field(metadata, "labels")), texts(manifest.Field(metadata, "annotations"))
	take := func(annotation string) string {
		value := f.annotations[annotation]
		delete(f.annotations, annotation)
		return value
	}
	f.account.Namespace, f.account.Name, _ = strings.Cut(take(annotationAccount), "/")
	f.cluster, f.server, f.tlsServerName = take(annotationCluster), take(annotationServer), take(annotationTLSServerName)
	f.secret, f.lifetime = take(annotationToken), take(annotationLifetime)
	f.previous = strings.FieldsFunc(take(annotationPrevious), func(r rune) bool { return r == ',' || r == ' ' })
	f.expires, _ = time.Parse(time.RFC3339, take(generator.AnnotationExpires)) // zero is never
	for _, name := range append(f.previous, f.account.Namespace, f.account.Name, f.secret) {
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
func (f *credentialFile) kubeconfig(token string, ca []byte) ([]byte, error) {
	config := clientcmdapi.NewConfig()
	config.Clusters[f.name] = &clientcmdapi.Cluster{Server: f.server, TLSServerName: f.tlsServerName, CertificateAuthorityData: ca}
	config.AuthInfos[f.account.Name] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts[f.name] = &clientcmdapi.Context{Cluster: f.name, AuthInfo: f.account.Name}
	config.CurrentContext = f.name
	text, err := clientcmd.Write(*config)
	if err != nil {
		return nil, fmt.Errorf("the kubeconfig for %s cannot be written", f.account)
	}
	return text, nil
}

// document is the Secret in clear that holds a kubeconfig.
func (f *credentialFile) document(kubeconfig []byte) (*yaml.Node, error) {
	annotations := maps.Clone(f.annotations)
	for annotation, value := range map[string]string{
		annotationAccount: f.account.String(), annotationToken: f.secret, annotationPrevious: strings.Join(f.previous, ","),
		annotationLifetime: f.lifetime, annotationCluster: f.cluster, annotationServer: f.server, annotationTLSServerName: f.tlsServerName,
	} {
		if value != "" {
			annotations[annotation] = value
		}
	}
	if !f.expires.IsZero() {
		annotations[generator.AnnotationExpires] = f.expires.UTC().Format(time.RFC3339)
	}
	metadata := map[string]any{"name": f.name, "annotations": annotations}
	if f.namespace != "" {
		metadata["namespace"] = f.namespace
	}
	if len(f.labels) > 0 {
		metadata["labels"] = f.labels
	}
	var doc yaml.Node
	err := doc.Encode(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
		"data": map[string]string{kubeconfigKey: base64.StdEncoding.EncodeToString(kubeconfig)},
	})
	return &doc, err
}

// seal encrypts a document of f.
func (f *credentialFile) seal(ctx context.Context, safe *sopsfile.Safe, doc *yaml.Node) ([]byte, error) {
	policy := documentPolicy(f.policy, doc)
	sealed, _, err := safe.Encrypt(ctx, []*yaml.Node{doc}, f.before, policy, sopsfile.EncryptOptions{File: f.path})
	if err != nil {
		return nil, sopsError(err, f.path)
	}
	return sealed, checkSealed(sealed, policy, f.path)
}

// rehearse does all that can fail when a credential is written, before there is
// one that could be lost.
func (f *credentialFile) rehearse(ctx context.Context, safe *sopsfile.Safe, ca []byte) ([]report.Finding, error) {
	text, err := f.kubeconfig(strings.Repeat("stand-in", 8), ca)
	if err != nil {
		return nil, err
	}
	docs, err := manifest.Values(text, f.path)
	if err != nil {
		return nil, err
	}
	forgetLines(docs[0])
	_, findings := kubeconfig.FromDocument(docs[0], f.path, kubeconfig.Options{Now: time.Now()})
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
	target := f.path
	if real, err := filepath.EvalSymlinks(f.path); err == nil {
		target = real
	}
	dir := filepath.Dir(target)
	trial, err := os.CreateTemp(dir, "."+filepath.Base(target)+".*")
	if errors.Is(err, os.ErrNotExist) {
		return findings, failed(withHint(fmt.Errorf("write %s: there is no directory %s", f.path, dir), "mkdir -p %s", dir))
	}
	if err != nil {
		return findings, failed(fmt.Errorf("write %s: %w", f.path, cause(err)))
	}
	trial.Close()
	return findings, os.Remove(trial.Name())
}

// forget forgets the tokens that are gone from the destination.
func (f *credentialFile) forget(ctx context.Context, client *cluster.Client) error {
	if f.secret == "" {
		return nil
	}
	tokens, err := client.Tokens(ctx, f.account)
	gone := func(name string) bool {
		return !slices.ContainsFunc(tokens, func(t cluster.TokenSecret) bool { return t.Name == name })
	}
	f.previous = slices.DeleteFunc(f.previous, gone)
	if gone(f.secret) {
		f.secret = ""
	}
	return err
}

// mint makes a token, and gives the Secret with it, in clear and sealed. If it
// cannot, it leaves no token behind.
func (f *credentialFile) mint(ctx context.Context, client *cluster.Client, safe *sopsfile.Safe, ca []byte, lifetime time.Duration) (doc *yaml.Node, sealed []byte, err error) {
	token, err := client.Mint(ctx, f.account, cluster.NewSecretName(f.account), lifetime)
	if err != nil {
		return nil, nil, liveError(err)
	}
	if f.secret != "" {
		f.previous = append(f.previous, f.secret)
	}
	f.secret, f.expires = token.Secret, token.Expires
	text, err := f.kubeconfig(token.Value, ca)
	if err == nil {
		doc, err = f.document(text)
	}
	if err == nil {
		sealed, err = f.seal(ctx, safe, doc)
	}
	if err != nil {
		return nil, nil, f.unmint(ctx, client, err)
	}
	return doc, sealed, nil
}

// unmint takes back the token that could not be written because of err. That one
// is left matters more, even to who has interrupted.
func (f *credentialFile) unmint(ctx context.Context, client *cluster.Client, err error) error {
	if left := client.Unmint(ctx, f.account, f.secret); left != nil {
		return clusterError(left)
	}
	return err
}

// ending says when the credential ends.
func (f *credentialFile) ending() string {
	if f.expires.IsZero() {
		return "does not end by itself"
	}
	return "ends on " + f.expires.UTC().Format("2006-01-02 15:04 MST")
}
