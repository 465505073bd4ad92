package main

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/sopsfile"
)

// rotateOptions are the flags of credential rotate.
type rotateOptions struct {
	credentialFlags
	config string
}

func newCredentialRotateCommand() *cobra.Command {
	o := new(rotateOptions)
	cmd := &cobra.Command{
		Use:   "rotate FILE",
		Short: "Make a new token for a credential, and render the pairs that use it",
		Long: `rotate makes a new token for the ServiceAccount of a Secret that credential create
has written, and writes it into the Secret and into the pairs that generate renders
from it: into all of them or none. It lasts as long, and reaches the destination
by the same URL, as the one before, which goes on working until it ends, or until
credential revoke.`,
		Example: `  clusterpair credential rotate secrets/west.yaml --context west`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.addFlags(cmd.Flags())
	o.addMintFlags(cmd, "")
	cmd.Flags().Lookup("lifetime").Usage = "how long the token is to last (default: as was asked for the one before)"
	cmd.Flags().Lookup("server").Usage = "URL of the destination as the source cluster reaches it (default: that of before)"
	cmd.Flags().StringVarP(&o.config, "filename", "f", ".", "function config to render, or directory of a kustomization that lists one")
	return cmd
}

func (o *rotateOptions) run(cmd *cobra.Command, path string) error {
	f, err := openWritten(path)
	if err == nil {
		f.policy, err = filePolicy(path, o.age)
	}
	if err != nil {
		return runError(cmd, err)
	}
	switch {
	case o.legacySecret:
		f.lifetime = ""
	case o.lifetime != "":
		f.lifetime = o.lifetime
	}
	lifetime, err := o.duration(f.lifetime)
	if err != nil {
		return err
	}
	render, err := o.renders(cmd, path)
	if err != nil {
		return runError(cmd, err)
	}
	client, endpoint, err := o.sameCluster(cmd, f)
	if err != nil {
		return err
	}
	if o.server != "" {
		f.server, f.tlsServerName = o.server, ""
	}
	if o.tlsServerName != "" {
		f.tlsServerName = o.tlsServerName
	}
	if err := f.forget(cmd.Context(), client); err != nil {
		return runError(cmd, liveError(err))
	}
	safe := sopsfile.New(nil)
	findings, err := f.rehearse(cmd.Context(), safe, endpoint.CA)
	if bad := printFindings(cmd, findings); bad != nil {
		return bad
	}
	if err != nil {
		return runError(cmd, err)
	}
	doc, sealed, err := f.mint(cmd.Context(), client, safe, endpoint.CA, lifetime)
	if err != nil {
		return runError(cmd, err)
	}
	if err := o.write(cmd, f, doc, sealed, render); err != nil {
		if now, _ := readPrevious(path); bytes.Equal(now, sealed) {
			return err // about telling what was done
		}
		return f.unmint(cmd.Context(), client, err)
	}
	warnShortened(cmd, f, lifetime)
	fmt.Fprintf(cmd.ErrOrStderr(), "The credential %s.\n", f.ending())
	if !render {
		fmt.Fprintf(cmd.ErrOrStderr(), "No config in %s takes %s: render the pairs that use it with clusterpair generate -f CONFIG.\n", o.config, path)
	}
	if len(f.previous) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "The one before still works. When the new one is synced and clusterpair preflight says that it works, end it:\n  clusterpair credential revoke %s\n", path)
	}
	return nil
}

// renders tells whether a config takes the Secret of a file.
func (o *rotateOptions) renders(cmd *cobra.Command, path string) (bool, error) {
	configs, err := findConfigs(o.config)
	defer func() {
		for _, c := range configs {
			c.tree.Close()
		}
	}()
	if err != nil {
		return false, err
	}
	for _, found := range configs {
		c, findings := generator.ParseConfig(found.doc, found.file)
		if c == nil {
			return false, printFindings(cmd, findings)
		}
		c.Spec.Files = append(c.Spec.Files, found.resources...)
		secrets, err := openSecrets(found.tree, nil, c, nil)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(secrets.names, func(name string) bool { return sameFile(name, path) }) {
			return true, nil
		}
	}
	if cmd.Flags().Changed("filename") {
		return false, usageError(withHint(fmt.Errorf("no config in %s takes %s", o.config, path), "list it under spec.files"))
	}
	return false, nil
}

// write writes the Secret and the pairs that are rendered from it, or nothing.
func (o *rotateOptions) write(cmd *cobra.Command, f *credentialFile, doc *yaml.Node, sealed []byte, render bool) error {
	target, err := filepath.EvalSymlinks(f.path) // a link stays
	if err != nil {
		return failed(fmt.Errorf("write %s: %w", f.path, cause(err)))
	}
	t, err := openTree(filepath.Dir(target))
	if err != nil {
		return failed(err)
	}
	defer t.Close()
	w := &staging{tree: t, output: "."}
	defer w.abort()
	if err := w.add(filepath.Base(target), f.before, sealed); err != nil {
		return err
	}
	if render {
		err = (&generateOptions{path: o.config, instead: &insteadOf{file: f.path, docs: []*yaml.Node{doc}}, with: w}).run(cmd)
	} else {
		err = commitAll(cmd.Context(), []*staging{w})
	}
	if err == nil {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", changed, f.path)
	}
	return err
}

// openWritten reads a file that credential create has written.
func openWritten(path string) (*credentialFile, error) {
	f, err := readCredentialFile(path)
	if err == nil && f.before == nil {
		err = failed(withHint(fmt.Errorf("there is no file %s", path), "clusterpair credential create --name stork-dr -o %s", path))
	}
	return f, err
}

// sameCluster is the destination, which has to be the one of the credential.
func (o *credentialFlags) sameCluster(cmd *cobra.Command, f *credentialFile) (*cluster.Client, cluster.Endpoint, error) {
	client, endpoint, uid, err := o.connect(cmd)
	if err == nil && uid != f.cluster {
		err = failed(withHint(fmt.Errorf("%s is not the cluster of the credential in %s", client.Server(), f.path), "choose the destination with --context: kubectl config get-contexts"))
	}
	return client, endpoint, err
}

// revokeOptions are the flags of credential revoke.
type revokeOptions struct {
	credentialFlags
	all bool
}

func newCredentialRevokeCommand() *cobra.Command {
	o := new(revokeOptions)
	cmd := &cobra.Command{
		Use:   "revoke FILE",
		Short: "End the tokens that a Secret held before, or all of them",
		Long: `revoke ends the tokens that the Secret of a file held before credential rotate
wrote the one that it holds now. With --all it ends every token that credential
create and rotate have made for the ServiceAccount: that one, and those in other
files, too. The ServiceAccount and its RBAC stay.

API servers go on taking a token that they know for ten seconds.`,
		Example: `  clusterpair credential revoke secrets/west.yaml --context west`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	o.addFlags(cmd.Flags())
	o.addServerFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&o.all, "all", false, "end all tokens of the ServiceAccount")
	return cmd
}

func (o *revokeOptions) run(cmd *cobra.Command, path string) error {
	f, err := openWritten(path)
	if err != nil {
		return runError(cmd, err)
	}
	client, _, err := o.sameCluster(cmd, f)
	if err != nil {
		return err
	}
	tokens, err := client.Tokens(cmd.Context(), f.account)
	if err != nil {
		return runError(cmd, liveError(err))
	}
	var end, stay []cluster.TokenSecret
	for _, t := range tokens {
		if o.all || slices.Contains(f.previous, t.Name) {
			end = append(end, t)
		} else {
			stay = append(stay, t)
		}
	}
	w := cmd.ErrOrStderr()
	if len(end) == 0 {
		fmt.Fprintf(w, "%s has no other credential on %s; --all ends all of %s\n", path, client.Server(), f.account)
		return nil
	}
	fmt.Fprintf(w, "Of ServiceAccount %s on %s end:\n", f.account, client.Server())
	for _, t := range end {
		fmt.Fprintf(w, "  %s%s\n", t.Name, f.role(t))
	}
	for i, t := range stay {
		if i == 0 {
			fmt.Fprintln(w, "and stay:")
		}
		fmt.Fprintf(w, "  %s%s\n", t.Name, f.role(t))
	}
	if !o.yes {
		if err := confirm(cmd, "End them?"); err != nil {
			return err
		}
	}
	for _, t := range end {
		if _, err := client.Delete(cmd.Context(), "Secret", f.account.Namespace, t.Name); err != nil {
			return runError(cmd, liveError(err))
		}
		fmt.Fprintf(cmd.OutOrStdout(), "deleted Secret %s/%s\n", f.account.Namespace, t.Name)
	}
	if o.all {
		fmt.Fprintf(w, "What %s holds works no longer. The ServiceAccount and its RBAC stay: clusterpair credential rotate %s makes a new token.\n", path, path)
	}
	return nil
}

// role says what a token is to the file.
func (f *credentialFile) role(t cluster.TokenSecret) string {
	made := ", made on " + t.Created.UTC().Format(time.DateTime)
	switch {
	case t.Name == f.secret:
		return made + ", which " + f.path + " holds"
	case slices.Contains(f.previous, t.Name):
		return made + ", which " + f.path + " held before"
	}
	return made + ", of another file"
}
