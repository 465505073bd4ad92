package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// What a Secret of credential create says of itself in clear, so that rotate and
// revoke know what it is without a key.
const (
	annotationAccount = "clusterpair.dev/service-account" // NAMESPACE/NAME on the destination
	annotationObject  = "clusterpair.dev/credential"      // the Secret there that the token lives with
	annotationCluster = "clusterpair.dev/cluster-uid"     // the UID of its namespace kube-system
)

func newCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Make, rotate and revoke the credential that a ClusterPair carries",
		Long: `credential works on the destination cluster. It makes a service account that may
do what a migration needs, and a token that can be revoked by itself, and writes
the kubeconfig of both as a SOPS-encrypted Secret that generate reads.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCredentialCreateCommand(), newCredentialRotateCommand(), newCredentialRevokeCommand())
	return cmd
}

// credentialOptions are the flags of the commands about credentials.
type credentialOptions struct {
	clusterFlags
	name, rbac, dryRun    string
	server, tlsServerName string
	lifetime              string
	legacy, all, yes      bool
	output, config        string
	age                   []string
}

// addTokenFlags adds the flags of the commands that make a token.
func (o *credentialOptions) addTokenFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.lifetime, "lifetime", "8760h", "how long the token is to live; the API server may grant less")
	flags.BoolVar(&o.legacy, "legacy-secret", false, "make a token without an end, in a Secret of type kubernetes.io/service-account-token")
	flags.StringVarP(&o.server, "server", "s", "", "URL of the destination as the source cluster reaches it (default: that of the kubeconfig)")
	flags.StringVar(&o.tlsServerName, "tls-server-name", "", "name in the certificate of the destination, if it is not that of the URL")
	flags.StringSliceVar(&o.age, "age", nil, "age recipient of the Secret, instead of the creation rule; repeatable")
}

func newCredentialCreateCommand() *cobra.Command {
	o := new(credentialOptions)
	cmd := &cobra.Command{
		Use:   "create --name NAME -o FILE",
		Short: "Make a service account and a token on the destination",
		Long: `create makes a service account on the destination, binds it to a role, asks the
API server for a token, and writes the kubeconfig as a Secret, encrypted with
SOPS by the creation rule for FILE, ready for spec.files of a ClusterPairGenerator.

The role of --rbac migrate has what Stork needs for a migration of applications
and nothing by which it could give itself more; cluster-admin is everything; FILE
is a manifest with Roles and ClusterRoles of your own. Objects are written by
server-side apply, so that it can be run again. The token is bound to a Secret of
its own on the destination: credential revoke deletes that, and the token ends.

With --dry-run=client it prints the account, the roles and the bindings for Git
and makes nothing; with --dry-run=server the API server tells whether it would.`,
		Example: `  clusterpair credential create --context west --name stork-dr -n kube-system -o secrets/west-kubeconfig.yaml
  clusterpair credential create --name stork-dr -n kube-system --dry-run=client > rbac.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.create(cmd) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addTokenFlags(flags)
	flags.StringVar(&o.name, "name", "", "name of the service account, its role and its binding")
	flags.StringVar(&o.rbac, "rbac", "migrate", "what it may do: migrate, cluster-admin or a FILE with Roles and ClusterRoles")
	flags.StringVar(&o.dryRun, "dry-run", "", "client: print the manifests; server: let the API server check them")
	flags.StringVarP(&o.output, "output", "o", "", "file to write the encrypted Secret to")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func newCredentialRotateCommand() *cobra.Command {
	o := new(credentialOptions)
	cmd := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Replace the token of a Secret, and render the pairs that use it",
		Long: `rotate makes a new token for the service account of a Secret that credential create
has written, writes it into the Secret, and renders the pairs of the config again.
The token of before goes on working until credential revoke.`,
		Example: `  clusterpair credential rotate secrets/west-kubeconfig.yaml --context west`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.rotate(cmd, args[0]) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addTokenFlags(flags)
	flags.StringVarP(&o.config, "filename", "f", ".", "function config to render, or directory of a kustomization that lists one")
	return cmd
}

func newCredentialRevokeCommand() *cobra.Command {
	o := new(credentialOptions)
	cmd := &cobra.Command{
		Use:   "revoke FILE",
		Short: "End the tokens that a Secret held before, or all of them",
		Long: `revoke ends the tokens of the service account of a Secret, as far as credential
create and rotate have made them: all but the one that FILE holds. With --all that
one ends, too. API servers keep what they know of a token for ten seconds.`,
		Example: `  clusterpair credential revoke secrets/west-kubeconfig.yaml --context west`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.revoke(cmd, args[0]) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addServerFlags(flags)
	flags.BoolVar(&o.all, "all", false, "end the token that FILE holds, too")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (o *credentialOptions) create(cmd *cobra.Command) error {
	if bad := validation.IsDNS1123Label(o.name); len(bad) > 0 {
		return usageError(withHint(errors.New("--name takes a name of lower-case letters, digits and '-'"), "--name stork-dr"))
	}
	lifetime, err := o.span()
	if err != nil {
		return err
	}
	roles, err := o.roles(cmd)
	if err != nil {
		return err
	}
	switch {
	case o.dryRun != "" && o.dryRun != "client" && o.dryRun != "server":
		return usageError(errors.New("--dry-run takes client or server"))
	case o.dryRun != "" && o.output != "":
		return usageError(errors.New("--dry-run makes no token, so that there is nothing for --output"))
	case o.dryRun == "client":
		a := cluster.Account{Namespace: cmp.Or(o.overrides.Context.Namespace, "default"), Name: o.name}
		return printManifests(cmd, a.Manifests(roles))
	case o.dryRun == "" && o.output == "":
		return usageError(withHint(errors.New("nowhere to write the credential to"), "-o secrets/west-kubeconfig.yaml"))
	}
	c, namespace, err := o.destination(cmd)
	if err != nil {
		return err
	}
	a := cluster.Account{Namespace: namespace, Name: o.name}
	if o.dryRun == "server" {
		if err := c.Apply(cmd.Context(), a.Manifests(roles), true); err != nil {
			return clusterError(err)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s would take all %d objects\n", c.Server(), len(a.Manifests(roles)))
		return nil
	}
	w, err := o.writer(c, o.output)
	if err != nil {
		return runError(cmd, err)
	}
	if w.previous != nil {
		return failed(withHint(fmt.Errorf("%s is there already", o.output), "clusterpair credential rotate %s", o.output))
	}
	if err := w.check(cmd, o.server, o.tlsServerName); err != nil {
		return err
	}
	tellPrivileges(cmd, a, c.Server(), roles)
	if !o.yes {
		if err := confirm(cmd, "Make the credential?"); err != nil {
			return err
		}
	}
	if err := c.Apply(cmd.Context(), a.Manifests(roles), false); err != nil {
		return clusterError(err)
	}
	return o.issue(cmd, c, a, lifetime, w)
}

func (o *credentialOptions) rotate(cmd *cobra.Command, file string) error {
	lifetime, err := o.span()
	if err != nil {
		return err
	}
	made, err := readCredential(cmd, file)
	if err != nil {
		return err
	}
	c, err := o.same(cmd, made)
	if err != nil {
		return err
	}
	w, err := o.writer(c, file)
	if err != nil {
		return runError(cmd, err)
	}
	if o.server == "" { // it was perhaps given when the Secret was made
		d, err := w.before(cmd)
		if err != nil {
			return err
		}
		o.server, o.tlsServerName = d.Server, cmp.Or(o.tlsServerName, d.TLSServerName)
	}
	if err := w.check(cmd, o.server, o.tlsServerName); err != nil {
		return err
	}
	if err := o.issue(cmd, c, made.account, lifetime, w); err != nil {
		return err
	}
	configs, err := openConfigs(o.config)
	for _, found := range configs {
		found.tree.Close()
	}
	if err != nil && !cmd.Flags().Changed("filename") {
		fmt.Fprintf(cmd.ErrOrStderr(), "no config here to render by\n  hint: clusterpair generate -f CONFIG\n")
	} else if err := (&generateOptions{path: o.config}).run(cmd); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "the token of before still works. When the new one is synced and clusterpair status shows it:\n  clusterpair credential revoke %s\n", file)
	return nil
}

func (o *credentialOptions) revoke(cmd *cobra.Command, file string) error {
	made, err := readCredential(cmd, file)
	if err != nil {
		return err
	}
	c, err := o.same(cmd, made)
	if err != nil {
		return err
	}
	issued, err := c.Issued(cmd.Context(), made.account)
	if err != nil {
		return clusterError(err)
	}
	stays := ""
	issued = slices.DeleteFunc(issued, func(i cluster.Issued) bool {
		if i.Object == made.object && !o.all {
			stays = i.Object
			return true
		}
		return false
	})
	if len(issued) == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s has no other credential on %s\n", made.account, c.Server())
		return nil
	}
	for _, i := range issued {
		until := "without an end"
		if !i.Expires.IsZero() {
			until = "until " + i.Expires.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s, made on %s, %s\n", i.Object, i.Created.UTC().Format(time.DateTime), until)
	}
	if !o.yes {
		if err := confirm(cmd, fmt.Sprintf("End %s of %s on %s?", countCredentials(len(issued)), made.account, c.Server())); err != nil {
			return err
		}
	}
	for _, i := range issued {
		if err := c.Revoke(cmd.Context(), made.account, i.Object); err != nil {
			return clusterError(err)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "ended %s", countCredentials(len(issued)))
	if stays != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "; %s, which %s holds, stays", stays, file)
	}
	fmt.Fprintln(cmd.ErrOrStderr())
	return nil
}

func countCredentials(n int) string {
	if n == 1 {
		return "1 credential"
	}
	return fmt.Sprintf("%d credentials", n)
}

// span is --lifetime.
func (o *credentialOptions) span() (time.Duration, error) {
	d, err := generator.ParseDuration(o.lifetime)
	if err != nil || d < 10*time.Minute { // https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/
		return 0, usageError(withHint(errors.New("--lifetime takes a time of at least ten minutes"), "days or hours, as in 365d or 8760h"))
	}
	return d, nil
}

// destination is the cluster to work on. It has to prove who it is: what comes
// back is a credential, or decides over one.
func (o *credentialOptions) destination(cmd *cobra.Command) (*cluster.Client, string, error) {
	c, namespace, err := o.client(cmd)
	if err == nil && !c.Verified() {
		err = failed(withHint(errors.New("the destination does not prove who it is: insecure-skip-tls-verify"), "give the kubeconfig its certificate-authority-data, or name the CA with --certificate-authority FILE"))
	}
	return c, namespace, err
}

// same is the destination, which has to be the cluster that a credential is from.
func (o *credentialOptions) same(cmd *cobra.Command, made *credential) (*cluster.Client, error) {
	c, _, err := o.destination(cmd)
	if err != nil {
		return nil, err
	}
	uid, err := c.UID(cmd.Context())
	if err != nil {
		return nil, clusterError(err)
	}
	if uid != made.cluster {
		return nil, failed(withHint(fmt.Errorf("%s is not the cluster of the credential in %s", c.Server(), made.file), "choose the destination with --context: kubectl config get-contexts"))
	}
	return c, nil
}

// roles are what the account is bound to.
func (o *credentialOptions) roles(cmd *cobra.Command) ([]map[string]any, error) {
	switch o.rbac {
	case "migrate":
		return []map[string]any{cluster.MigrationRole(o.name)}, nil
	case "cluster-admin":
		return []map[string]any{cluster.ClusterRole("cluster-admin")}, nil
	}
	data, err := readInput(cmd, o.rbac)
	if err != nil {
		return nil, usageError(withHint(fmt.Errorf("--rbac: %w", err), "migrate, cluster-admin, or a file with Roles and ClusterRoles"))
	}
	docs, err := manifest.Values(data, o.rbac)
	if err != nil {
		return nil, runError(cmd, err)
	}
	var roles []map[string]any
	for _, doc := range docs {
		var role map[string]any
		kind := manifest.Text(doc, "kind")
		if err := doc.Decode(&role); err != nil || manifest.Text(doc, "apiVersion") != "rbac.authorization.k8s.io/v1" || kind != "Role" && kind != "ClusterRole" || role["rules"] == nil || manifest.Text(doc, "metadata", "name") == "" {
			return nil, runError(cmd, report.Finding{Rule: "value-type", Severity: report.Error, Position: report.Position{File: o.rbac, Line: doc.Line, Column: doc.Column},
				Message: "no Role and no ClusterRole with a name and rules", Hint: "leave bindings and accounts to credential create"})
		}
		roles = append(roles, role)
	}
	if len(roles) == 0 {
		return nil, usageError(fmt.Errorf("--rbac: %s holds no role", o.rbac))
	}
	return roles, nil
}

func printManifests(cmd *cobra.Command, objects []map[string]any) error {
	docs := make([]*yaml.Node, len(objects))
	for i, o := range objects {
		docs[i] = new(yaml.Node)
		if err := docs[i].Encode(o); err != nil {
			return failed(errors.New("the manifests cannot be written"))
		}
	}
	out, err := sopsfile.Marshal(docs, 0)
	if err == nil {
		_, err = cmd.OutOrStdout().Write(out)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// tellPrivileges says what travels with the pair.
func tellPrivileges(cmd *cobra.Command, a cluster.Account, server string, roles []map[string]any) {
	w := cmd.ErrOrStderr()
	fmt.Fprintf(w, "%s on %s will be allowed:\n", a, server)
	list := func(v any) string {
		var all []string
		values, _ := v.([]any)
		for _, x := range values {
			all = append(all, cmp.Or(fmt.Sprint(x), "core"))
		}
		return strings.Join(all, ",")
	}
	for _, role := range roles {
		metadata, _ := role["metadata"].(map[string]any)
		if role["rules"] == nil {
			fmt.Fprintf(w, "  everything (%v)\n", metadata["name"])
			continue
		}
		rules, _ := role["rules"].([]any)
		for _, r := range rules {
			rule, _ := r.(map[string]any)
			fmt.Fprintf(w, "  %s: %s", list(rule["apiGroups"]), list(rule["resources"]))
			fmt.Fprintf(w, ": %s\n", list(rule["verbs"]))
		}
	}
	fmt.Fprintf(w, "So will be whoever can read the ClusterPair on the source cluster, or decrypt its file.\n")
}

// credential is what a Secret of credential create says of itself.
type credential struct {
	file    string
	account cluster.Account
	object  string
	cluster string
}

func readCredential(cmd *cobra.Command, file string) (*credential, error) {
	data, err := readInput(cmd, file)
	if err != nil {
		return nil, err
	}
	docs, err := manifest.Values(data, file)
	if err != nil {
		return nil, runError(cmd, err)
	}
	made := &credential{file: file}
	ok := false
	if len(docs) == 1 && manifest.Text(docs[0], "kind") == "Secret" {
		made.account.Namespace, made.account.Name, ok = strings.Cut(manifest.Text(docs[0], "metadata", "annotations", annotationAccount), "/")
		made.object = manifest.Text(docs[0], "metadata", "annotations", annotationObject)
		made.cluster = manifest.Text(docs[0], "metadata", "annotations", annotationCluster)
	}
	if !ok || made.object == "" || made.cluster == "" {
		return nil, failed(withHint(fmt.Errorf("%s is no Secret of clusterpair credential create", file), "clusterpair credential create --name stork-dr -o %s makes one; move this one away first", file))
	}
	return made, nil
}

// secretWriter writes the Secret of a credential.
type secretWriter struct {
	client   *cluster.Client
	file     string
	policy   *sopsfile.Policy
	previous []byte // nil for a new one

	server, tlsServerName string
	authority             []byte // PEM
}

// writer makes sure that the Secret can be encrypted and written before there
// is a token.
func (o *credentialOptions) writer(c *cluster.Client, file string) (*secretWriter, error) {
	w := &secretWriter{client: c, file: file}
	var err error
	if w.previous, err = readPrevious(file); err != nil {
		return nil, failed(err)
	}
	if w.policy, err = filePolicy(file, o.age); err != nil {
		return nil, err
	}
	probe, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if errors.Is(err, os.ErrNotExist) {
		return nil, failed(withHint(fmt.Errorf("write %s: there is no directory %s", file, filepath.Dir(file)), "mkdir -p %s", filepath.Dir(file)))
	}
	if err != nil {
		return nil, failed(fmt.Errorf("write %s: %w", file, cause(err)))
	}
	probe.Close()
	return w, os.Remove(probe.Name())
}

// before is the kubeconfig that the Secret holds now.
func (w *secretWriter) before(cmd *cobra.Command) (*kubeconfig.Destination, error) {
	docs, err := sopsfile.New(nil).Decrypt(cmd.Context(), w.previous, w.file)
	var noKey *sopsfile.NoKeyError
	if errors.As(err, &noKey) {
		return nil, failed(withHint(fmt.Errorf("the address of the destination in %s cannot be read: %w", w.file, noKey), "give it with --server, or a key: SOPS_AGE_KEY_FILE"))
	}
	if err != nil {
		return nil, runError(cmd, sopsError(err, w.file))
	}
	secret, findings := kubeconfig.ParseSecret(manifest.Contents(docs)[0], w.file)
	if !report.HasErrors(findings) {
		var d *kubeconfig.Destination
		if d, findings = kubeconfig.FromSecret(secret, kubeconfig.Options{Key: kubeconfigKey, Now: time.Now()}); d != nil {
			return d, nil
		}
	}
	if err := printFindings(cmd, findings); err != nil {
		return nil, err
	}
	return nil, failed(fmt.Errorf("%s holds no kubeconfig", w.file))
}

// kubeconfigKey is the key of the kubeconfig, as Cluster API and Flux have it.
const kubeconfigKey = "value"

// check judges the kubeconfig that is to be written, but for the token: there is
// none yet.
func (w *secretWriter) check(cmd *cobra.Command, server, tlsServerName string) error {
	ca, name, err := w.client.Authority()
	if err != nil {
		return failed(err)
	}
	w.authority, w.server, w.tlsServerName = ca, cmp.Or(server, w.client.Server()), cmp.Or(tlsServerName, name)
	_, findings := kubeconfig.FromDocument(w.kubeconfig("to.be.made"), w.file, kubeconfig.Options{Now: time.Now()})
	findings = slices.DeleteFunc(findings, func(f report.Finding) bool {
		return !strings.HasPrefix(f.Rule, "server-") && !strings.HasPrefix(f.Rule, "ca-")
	})
	for i, f := range findings {
		findings[i].Position = report.Position{File: w.file}
		if f.Rule == "server-loopback" {
			findings[i].Hint = "give the address by which the source cluster reaches it: --server URL"
		}
	}
	return printFindings(cmd, findings)
}

// kubeconfig is the document that the Secret holds.
func (w *secretWriter) kubeconfig(token string) *yaml.Node {
	c := map[string]any{"server": w.server}
	if len(w.authority) > 0 {
		c["certificate-authority-data"] = base64.StdEncoding.EncodeToString(w.authority)
	}
	if w.tlsServerName != "" {
		c["tls-server-name"] = w.tlsServerName
	}
	const name = "destination"
	doc := new(yaml.Node)
	_ = doc.Encode(map[string]any{ // of texts alone
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []any{map[string]any{"name": name, "cluster": c}},
		"contexts": []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
		"users":    []any{map[string]any{"name": name, "user": map[string]any{"token": token}}},
	})
	return doc
}

// issue makes a token and writes it. A token that cannot be written is ended.
func (o *credentialOptions) issue(cmd *cobra.Command, c *cluster.Client, a cluster.Account, lifetime time.Duration, w *secretWriter) (err error) {
	uid, err := c.UID(cmd.Context())
	if err != nil {
		return clusterError(err)
	}
	token, err := c.Token(cmd.Context(), a, lifetime, o.legacy)
	if err != nil {
		return clusterError(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Revoke(context.WithoutCancel(cmd.Context()), a, token.Object))
		}
	}()
	annotations := map[string]any{annotationAccount: a.String(), annotationObject: token.Object, annotationCluster: uid}
	until := "without an end"
	if !token.Expires.IsZero() {
		annotations[generator.AnnotationExpires] = token.Expires.UTC().Format(time.RFC3339)
		until = "until " + token.Expires.UTC().Format(time.RFC3339)
	}
	inner, err := sopsfile.Marshal([]*yaml.Node{w.kubeconfig(token.Value)}, 0)
	if err != nil {
		return failed(errors.New("the kubeconfig cannot be written"))
	}
	name, _, _ := strings.Cut(filepath.Base(w.file), ".")
	secret := new(yaml.Node)
	if err := secret.Encode(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata":   map[string]any{"name": name, "namespace": a.Namespace, "annotations": annotations},
		"stringData": map[string]any{kubeconfigKey: string(inner)},
	}); err != nil {
		return failed(errors.New("the Secret cannot be written"))
	}
	policy := documentPolicy(w.policy, secret)
	sealed, _, err := sopsfile.New(nil).Encrypt(cmd.Context(), []*yaml.Node{secret}, w.previous, policy, sopsfile.EncryptOptions{File: w.file})
	if err == nil {
		err = checkSealed(sealed, policy, w.file)
	}
	if err != nil {
		return runError(cmd, sopsError(err, w.file))
	}
	if !bytes.Equal(sealed, w.previous) {
		if err := writeFile(w.file, sealed, 0o644); err != nil {
			return failed(err)
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: kubeconfig of %s on %s, %s\n", w.file, a, w.server, until)
	if left := time.Until(token.Expires); !token.Expires.IsZero() && left < lifetime-time.Minute {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the API server granted %s instead of %s\n  hint: --legacy-secret makes a token without an end, or raise --service-account-max-token-expiration of the API server\n",
			left.Round(time.Minute), lifetime)
	}
	return nil
}
