package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

func newCredentialCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "credential",
		Short: "Make, rotate and revoke the credentials that pairs carry",
		Long: `credential makes a service account on the destination that may do what a
migration needs, and writes a kubeconfig with a token of it as a SOPS-encrypted
Secret, from which generate renders pairs.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newCredentialCreateCommand(), newCredentialRotateCommand(), newCredentialRevokeCommand())
	return cmd
}

// credentialFlags are those of the commands that work with a credential on its
// destination.
type credentialFlags struct {
	clusterFlags
	lifetime      string
	legacySecret  bool
	server        string
	tlsServerName string
	age           []string
	yes           bool
}

func (o *credentialFlags) addMintFlags(cmd *cobra.Command, lifetime string) {
	flags := cmd.Flags()
	flags.StringVar(&o.lifetime, "lifetime", lifetime, "how long the token is to last, as in 90d or 8760h; the API server may grant less")
	flags.BoolVar(&o.legacySecret, "legacy-secret", false, "make a token that does not end, in a Secret of type kubernetes.io/service-account-token")
	flags.StringVar(&o.server, "server", "", "URL of the destination as the source cluster reaches it (default: that of the kubeconfig)")
	flags.StringVar(&o.tlsServerName, "tls-server-name", "", "name in the destination's certificate, if it is not that of the URL")
	flags.StringSliceVar(&o.age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	cmd.MarkFlagsMutuallyExclusive("lifetime", "legacy-secret")
}

// duration is the lifetime of a token, zero for ever.
func (o *credentialFlags) duration(lifetime string) (time.Duration, error) {
	if lifetime == "" {
		return 0, nil
	}
	d, err := generator.ParseDuration(lifetime)
	switch {
	case err != nil:
		return 0, usageError(withHint(fmt.Errorf("--lifetime: %w", err), "days or hours, as in 90d or 8760h"))
	case d < 10*time.Minute:
		return 0, usageError(errors.New("--lifetime: no API server makes tokens for less than 10m"))
	}
	return d, nil
}

// connect is the destination, how to reach it, and its UID.
func (o *credentialFlags) connect(cmd *cobra.Command) (client *cluster.Client, endpoint cluster.Endpoint, uid string, err error) {
	if client, _, err = o.client(cmd); err != nil {
		return nil, endpoint, "", err
	}
	if !client.Verified() {
		return nil, endpoint, "", failed(withHint(errors.New("the destination does not prove who it is: insecure-skip-tls-verify"),
			"give the kubeconfig its certificate-authority-data, or name the CA with --certificate-authority FILE"))
	}
	if endpoint, err = client.Endpoint(); err != nil {
		return nil, endpoint, "", clusterError(err)
	}
	if uid, err = client.UID(cmd.Context()); err != nil {
		return nil, endpoint, "", runError(cmd, liveError(err))
	}
	return client, endpoint, uid, nil
}

// createOptions are the flags of credential create.
type createOptions struct {
	credentialFlags
	name            string
	createNamespace bool
	rbac            string
	dryRun          string
	output          string

	account cluster.Account
	grants  cluster.Grants
}

func newCredentialCreateCommand() *cobra.Command {
	o := new(createOptions)
	cmd := &cobra.Command{
		Use:   "create -o FILE",
		Short: "Make a service account on the destination and write its kubeconfig, encrypted",
		Long: `create makes a ServiceAccount with RBAC on the destination, the cluster of the
kubeconfig, asks for a token of it, and writes the kubeconfig for the source
cluster into a Secret, encrypted by the creation rule of .sops.yaml for the file.
It says first what the credential will be allowed and who can read it, and asks.

--rbac migrate, the default, allows what Stork does on a destination, without what
would let the account give itself more. FILE holds Roles and ClusterRoles of your
own. --dry-run=client prints the objects as YAML, for Git.

The token ends after --lifetime, or earlier if the API server says so, and lives
with a Secret on the destination: credential revoke deletes that. Who may create
pods or tokens in the namespace of the account can become it; kube-system is
where only administrators can.`,
		Example: `  clusterpair credential create --context west --name stork-dr -o secrets/west.yaml
  clusterpair credential create --name stork-dr --dry-run=client > rbac.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	flags.Lookup("namespace").Usage = "namespace of the ServiceAccount (default: kube-system)"
	o.addMintFlags(cmd, "8760h")
	flags.StringVar(&o.name, "name", "stork-dr", "name of the ServiceAccount")
	flags.BoolVar(&o.createNamespace, "create-namespace", false, "make the namespace, too")
	flags.StringVar(&o.rbac, "rbac", "migrate", "what the credential may do: migrate, cluster-admin, or a FILE with Roles and ClusterRoles")
	flags.StringVar(&o.dryRun, "dry-run", "", "client prints the objects, server asks the destination what it would make of them; neither makes a token")
	flags.StringVarP(&o.output, "output", "o", "", "file to write; its name is that of the Secret")
	_ = cmd.MarkFlagFilename("rbac")   // the flag exists
	_ = cmd.MarkFlagFilename("output") // the flag exists
	_ = cmd.RegisterFlagCompletionFunc("dry-run", cobra.FixedCompletions([]string{"client", "server"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (o *createOptions) run(cmd *cobra.Command) error {
	o.account = cluster.Account{Namespace: cmp.Or(o.overrides.Context.Namespace, "kube-system"), Name: o.name}
	switch {
	case len(validation.IsDNS1123Subdomain(o.name)) > 0:
		return usageError(withHint(errors.New("--name takes a name of lower-case letters, digits, '-' and '.'"), "--name stork-dr"))
	case len(validation.IsDNS1123Label(o.account.Namespace)) > 0:
		return usageError(fmt.Errorf("--namespace: %q is no name of a namespace", o.account.Namespace))
	case o.dryRun != "" && o.dryRun != "client" && o.dryRun != "server":
		return usageError(withHint(fmt.Errorf("there is no --dry-run=%s", o.dryRun), "--dry-run=client|server"))
	case o.dryRun == "" && o.output == "":
		return usageError(withHint(errors.New("nowhere to write the credential to"), "-o secrets/west.yaml"))
	}
	if o.legacySecret {
		o.lifetime = ""
	}
	lifetime, err := o.duration(o.lifetime)
	if err != nil {
		return err
	}
	if o.grants, err = readGrants(cmd, o.rbac, o.account); err != nil {
		return runError(cmd, err)
	}
	objects := cluster.Manifests(o.account, o.createNamespace, o.grants)
	if o.dryRun == "client" {
		return printObjects(cmd.OutOrStdout(), objects)
	}
	client, endpoint, uid, err := o.connect(cmd)
	if err != nil {
		return err
	}
	if o.dryRun == "server" {
		return o.apply(cmd, client, objects, true)
	}

	f, err := o.open(cmd.Context(), client, endpoint, uid)
	if err != nil {
		return runError(cmd, err)
	}
	safe := sopsfile.New(nil)
	findings, err := f.rehearse(cmd.Context(), safe, endpoint.CA)
	if bad := printFindings(cmd, findings); bad != nil {
		return bad
	}
	if err != nil {
		return runError(cmd, err)
	}
	stale, err := o.staleBindings(cmd.Context(), client, objects)
	if err != nil {
		return runError(cmd, liveError(err))
	}
	o.plan(cmd.ErrOrStderr(), client, f, stale)
	if !o.yes {
		if err := confirm(cmd, "Make this credential?"); err != nil {
			return err
		}
	}
	if err := o.apply(cmd, client, objects, false); err != nil {
		return err
	}
	for _, b := range stale {
		if _, err := client.Delete(cmd.Context(), objectText(b, "kind"), objectText(b, "metadata", "namespace"), objectText(b, "metadata", "name")); err != nil {
			return runError(cmd, liveError(err))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "deleted %s\n", objectID(b))
	}
	_, sealed, err := f.mint(cmd.Context(), client, safe, endpoint.CA, lifetime)
	if err != nil {
		return runError(cmd, err)
	}
	if err := writeFile(f.path, sealed, 0o644); err != nil {
		return failed(f.unmint(cmd.Context(), client, err))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s Secret %s/%s\n%s %s\n", created, o.account.Namespace, f.secret, verbOf(f.before), f.path)
	warnShortened(cmd, f, lifetime)
	fmt.Fprintf(cmd.ErrOrStderr(), "The credential %s. For a config:\n  destination: {secret: {name: %s}}\n  files: [%s]\n", f.ending(), f.name, f.path)
	return nil
}

// verbOf is what becomes of a file.
func verbOf(before []byte) string {
	if before == nil {
		return created
	}
	return changed
}

// warnShortened says so if the server grants less than it was asked for.
func warnShortened(cmd *cobra.Command, f *credentialFile, asked time.Duration) {
	const slack = time.Minute
	if granted := time.Until(f.expires); !f.expires.IsZero() && granted < asked-slack {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the API server grants %s instead of %s (its --service-account-max-token-expiration)\n", granted.Round(time.Minute), asked)
	}
}

// open opens the file to write. One that is there must hold an earlier credential
// of the same account.
func (o *createOptions) open(ctx context.Context, client *cluster.Client, endpoint cluster.Endpoint, uid string) (*credentialFile, error) {
	f, err := openCredentialFile(o.output, o.age)
	if err != nil {
		return nil, err
	}
	if f.before != nil && (f.account != o.account || f.cluster != uid) {
		return nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: f.path},
			Message: fmt.Sprintf("the file holds the credential of ServiceAccount %s on %s", f.account, f.server), Hint: "write to another file"}
	}
	f.account, f.cluster, f.lifetime = o.account, uid, o.lifetime
	if err := f.forget(ctx, client); err != nil {
		return nil, liveError(err)
	}
	f.server, f.tlsServerName = endpoint.Server, endpoint.TLSServerName
	if o.server != "" {
		f.server, f.tlsServerName = o.server, "" // as with kubectl, the name goes with the URL
	}
	f.tlsServerName = cmp.Or(o.tlsServerName, f.tlsServerName)
	return f, nil
}

// staleBindings are those that an earlier run has made and this one does not: the
// account would keep what they grant.
func (o *createOptions) staleBindings(ctx context.Context, client *cluster.Client, objects []cluster.Object) ([]cluster.Object, error) {
	bindings, err := client.Bindings(ctx, o.account)
	return slices.DeleteFunc(bindings, func(b cluster.Object) bool {
		return slices.ContainsFunc(objects, func(o cluster.Object) bool { return objectID(o) == objectID(b) })
	}), err
}

// apply makes the objects, and says what became of each.
func (o *createOptions) apply(cmd *cobra.Command, client *cluster.Client, objects []cluster.Object, dryRun bool) error {
	suffix := ""
	if dryRun {
		suffix = " (server dry run)"
	}
	for _, object := range objects {
		outcome, err := client.Apply(cmd.Context(), object, dryRun)
		switch {
		case apierrors.IsNotFound(err) && dryRun && o.createNamespace:
			outcome, err = cluster.Created, nil // nothing can be tried in a namespace that is only tried
		case apierrors.IsNotFound(err):
			return failed(withHint(fmt.Errorf("there is no namespace %s on %s", o.account.Namespace, client.Server()), "make it with --create-namespace, or name another with -n"))
		case err != nil:
			return runError(cmd, liveError(err))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s%s\n", outcome, objectID(object), suffix)
	}
	return nil
}

// plan says what travels, and to whom.
func (o *createOptions) plan(w io.Writer, client *cluster.Client, f *credentialFile, stale []cluster.Object) {
	fmt.Fprintf(w, "On %s ServiceAccount %s will be allowed:\n", client.Server(), o.account)
	if o.grants.ClusterAdmin {
		fmt.Fprintf(w, "  everything, in all namespaces (cluster-admin)\n")
	}
	allSecrets := o.grants.ClusterAdmin
	var order []string // of what is allowed, by the resources that it is allowed on
	allowed := make(map[string][]string)
	for _, role := range o.grants.Roles {
		where := "in all namespaces"
		if namespace := objectText(role, "metadata", "namespace"); namespace != "" {
			where = "in namespace " + namespace
		}
		rules, _ := role["rules"].([]any)
		for _, rule := range rules {
			rule, _ := rule.(map[string]any)
			on := ruleResources(rule)
			allSecrets = allSecrets || where == "in all namespaces" && slices.ContainsFunc(on, func(r string) bool { return r == "secrets" || strings.HasPrefix(r, "*") })
			what := strings.Join(objectTexts(rule, "verbs"), ", ") + ", " + where
			if allowed[what] == nil {
				order = append(order, what)
			}
			allowed[what] = append(allowed[what], on...)
		}
	}
	for _, what := range order {
		fmt.Fprintf(w, "  %s: %s\n", what, strings.Join(allowed[what], ", "))
	}
	if allSecrets {
		fmt.Fprintf(w, "It reads every Secret of the cluster: guard it like an administrator's credential.\n")
	}
	if o.rbac == "migrate" {
		fmt.Fprintf(w, "Roles, bindings and admission webhooks are not migrated: with them it could give itself all.\n")
	}
	for _, b := range stale {
		fmt.Fprintf(w, "It loses what %s grants: %s.\n", objectID(b), objectText(b, "roleRef", "name"))
	}
	until := "does not end by itself"
	if o.lifetime != "" {
		until = "lasts " + o.lifetime
	}
	fmt.Fprintf(w, "The token %s and is for %s. It goes into %s. It can be read by:\n", until, f.server, f.path)
	for _, group := range f.policy.Recipients() {
		for _, recipient := range group {
			fmt.Fprintf(w, "  %s\n", recipient)
		}
	}
	fmt.Fprintf(w, "  whoever can read the ClusterPair on the source cluster\n")
}

// ruleResources are the resources of a rule with their groups, as kubectl writes
// them, or its URLs.
func ruleResources(rule cluster.Object) []string {
	var all []string
	named := ""
	if names := objectTexts(rule, "resourceNames"); len(names) > 0 {
		named = " named " + strings.Join(names, " or ")
	}
	for _, group := range objectTexts(rule, "apiGroups") {
		for _, resource := range objectTexts(rule, "resources") {
			if group != "" {
				resource += "." + group
			}
			all = append(all, resource+named)
		}
	}
	return append(all, objectTexts(rule, "nonResourceURLs")...)
}

// readGrants reads --rbac.
func readGrants(cmd *cobra.Command, rbac string, a cluster.Account) (cluster.Grants, error) {
	switch rbac {
	case "migrate":
		return cluster.Grants{Roles: []cluster.Object{cluster.MigrationRole(a)}}, nil
	case "cluster-admin":
		return cluster.Grants{ClusterAdmin: true}, nil
	}
	var g cluster.Grants
	data, err := readInput(cmd, rbac)
	if err != nil {
		return g, err
	}
	docs, err := manifest.Values(data, rbac)
	if err != nil {
		return g, err
	}
	for _, doc := range docs {
		role, err := readRole(doc, rbac)
		if err != nil {
			return g, err
		}
		metadata, _ := role["metadata"].(map[string]any)
		if objectText(role, "kind") == "Role" && objectText(role, "metadata", "namespace") == "" {
			metadata["namespace"] = a.Namespace
		}
		g.Roles = append(g.Roles, role)
	}
	if len(g.Roles) == 0 {
		return g, usageError(fmt.Errorf("--rbac: %s holds no Role and no ClusterRole", rbac))
	}
	return g, nil
}

func readRole(doc *yaml.Node, file string) (cluster.Object, error) {
	f := report.Finding{Rule: "value-type", Severity: report.Error, Position: report.Position{File: file, Line: doc.Line, Column: doc.Column},
		Hint: "the bindings are made for you: leave them and the ServiceAccount out"}
	kind := manifest.Text(doc, "kind")
	if group, _, _ := strings.Cut(manifest.Text(doc, "apiVersion"), "/"); group != "rbac.authorization.k8s.io" || kind != "Role" && kind != "ClusterRole" {
		f.Message = "the document is neither a Role nor a ClusterRole"
		return nil, f
	}
	if manifest.Text(doc, "metadata", "name") == "" {
		f.Message, f.Hint = fmt.Sprintf("the %s has no metadata.name", kind), ""
		return nil, f
	}
	var decoded any
	var role cluster.Object
	err := doc.Decode(&decoded)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(decoded); err == nil {
			err = json.Unmarshal(data, &role) // the types of JSON, which client-go wants
		}
	}
	if err != nil {
		f.Message, f.Hint = fmt.Sprintf("the %s cannot be written as JSON", kind), ""
		return nil, f
	}
	return role, nil
}

// printObjects prints objects as kustomize does.
func printObjects(w io.Writer, objects []cluster.Object) error {
	docs := make([]*yaml.Node, len(objects))
	for i, o := range objects {
		docs[i] = new(yaml.Node)
		if err := docs[i].Encode(o); err != nil {
			return failed(err)
		}
	}
	text, err := sopsfile.Marshal(docs, 0)
	if err == nil {
		_, err = w.Write(text)
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// objectID names an object as messages do.
func objectID(o cluster.Object) string {
	return objectText(o, "kind") + " " + filepath.Join(objectText(o, "metadata", "namespace"), objectText(o, "metadata", "name"))
}

// objectText is the text under a way of keys, empty if there is none.
func objectText(o cluster.Object, way ...string) string {
	for _, key := range way[:len(way)-1] {
		o, _ = o[key].(map[string]any)
	}
	text, _ := o[way[len(way)-1]].(string)
	return text
}

// objectTexts are the texts of a list.
func objectTexts(o cluster.Object, key string) []string {
	list, _ := o[key].([]any)
	var all []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}
