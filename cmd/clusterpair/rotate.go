package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// rotateOptions are the flags of credential rotate.
type rotateOptions struct {
	credentialFlags
	config  string
	configs []string // those to render
}

func newCredentialRotateCommand() *cobra.Command {
	o := new(rotateOptions)
	cmd := &cobra.Command{
		Use:   "rotate FILE | CONFIG",
		Short: "Make a new token for a credential, and render the pairs that use it",
		Long: `rotate makes a new token for the ServiceAccount of a Secret that credential create
has written, and writes it into the Secret and into the pairs that generate renders
from it: into all of them or none. Other pairs stay as they are. It lasts as long,
and reaches the destination by the same URL, as the one before, which goes on
working until it ends, or until credential revoke.

Of a function config, or the directory of one, it rotates all such Secrets whose
destination is the cluster of the kubeconfig.`,
		Example: `  clusterpair credential rotate secrets/west.yaml --context west
  clusterpair credential rotate . --context west`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addMintFlags(cmd, "")
	flags.Lookup("lifetime").Usage = "how long the token is to last (default: as was asked for the one before)"
	flags.Lookup("server").Usage = "URL of the destination as the source cluster reaches it (default: that of before)"
	flags.StringVarP(&o.config, "filename", "f", "", "function config to render, or directory of a kustomization that lists one (default: all of the repository that take FILE)")
	return cmd
}

// rotation is what becomes of one Secret.
type rotation struct {
	*credentialFile
	lifetime time.Duration
	doc      *yaml.Node // in clear
	sealed   []byte
}

func (o *rotateOptions) run(cmd *cobra.Command, path string) error {
	files, render, err := o.find(cmd, path)
	if err != nil {
		return runError(cmd, err)
	}
	client, endpoint, uid, err := o.connect(cmd)
	if err != nil {
		return err
	}
	all := files
	files = slices.DeleteFunc(slices.Clone(files), func(f *credentialFile) bool { return f.cluster != uid })
	if len(files) == 0 {
		return otherCluster(client, all[0])
	}
	safe := sopsfile.New(nil)
	rotations := make([]*rotation, len(files))
	for i, f := range files {
		if rotations[i], err = o.prepare(cmd, client, safe, f, endpoint.CA); err != nil {
			return runError(cmd, err)
		}
	}
	for i, r := range rotations {
		if r.doc, r.sealed, err = r.mint(cmd.Context(), client, safe, endpoint.CA, r.lifetime); err != nil {
			return runError(cmd, unmintAll(cmd.Context(), client, rotations[:i], err))
		}
	}
	if err := o.write(cmd, rotations, render); err != nil {
		if now, _ := readPrevious(rotations[0].path); bytes.Equal(now, rotations[0].sealed) {
			return err // about telling what was done
		}
		return unmintAll(cmd.Context(), client, rotations, err)
	}
	for _, r := range rotations {
		r.tell(cmd, render)
	}
	return nil
}

// find finds the Secrets to rotate, and tells whether pairs are rendered from
// them.
func (o *rotateOptions) find(cmd *cobra.Command, path string) (files []*credentialFile, render bool, err error) {
	f, err := openWritten(path)
	isConfig := err != nil && isConfigPath(path)
	if info, missing := os.Stat(path); !isConfig && missing == nil && info.IsDir() {
		err = failed(withHint(fmt.Errorf("%s holds no function config", path), "clusterpair credential rotate secrets/west.yaml"))
	}
	if err != nil && !isConfig {
		return nil, false, err
	}
	if isConfig {
		if cmd.Flags().Changed("filename") {
			return nil, false, usageError(errors.New("--filename goes with the FILE of a Secret, not with a config"))
		}
		o.config = path
	}
	if !isConfig && !cmd.Flags().Changed("filename") {
		err := eachTaker(cmd, path, func(config string, _ *tree, _ *generator.Config) {
			o.configs = append(o.configs, config)
		})
		return []*credentialFile{f}, len(o.configs) > 0, err
	}
	o.configs = []string{o.config}
	names, err := o.listed()
	switch {
	case err != nil:
		return nil, false, err
	case isConfig:
		for _, name := range names {
			if f, err := readCredentialFile(name); err == nil && f.before != nil {
				files = append(files, f)
			}
		}
		if len(files) == 0 {
			return nil, false, failed(withHint(fmt.Errorf("%s takes no Secret that credential create has written", path), "clusterpair credential create --name stork-dr -o secrets/west.yaml makes one"))
		}
		return files, true, nil
	}
	render = slices.ContainsFunc(names, func(name string) bool { return sameFile(name, path) })
	if !render {
		return nil, false, usageError(withHint(fmt.Errorf("no config in %s takes %s", o.config, path), "list it under spec.files"))
	}
	return []*credentialFile{f}, render, nil
}

// isConfigPath tells whether a path means function configs.
func isConfigPath(path string) bool {
	configs, err := findConfigs(path)
	for _, c := range configs {
		c.tree.Close()
	}
	return err == nil && len(configs) > 0
}

// eachTaker visits the configs of the repository that take a Secret from a file, by
// their paths and with their trees, and warns of those of which that is not known.
func eachTaker(cmd *cobra.Command, file string, visit func(path string, t *tree, c *generator.Config)) error {
	repo, err := newRepository(file)
	if err != nil {
		return failed(err)
	}
	for _, path := range configPaths(repo.shown("."), -1) {
		path = repo.shown(repo.path(path)) // not by way of the top
		unknown := func(err error) {
			fmt.Fprintf(cmd.ErrOrStderr(), "warning: whether %s takes %s is not known: %s\n", path, file, plain(err, path))
		}
		configs, err := findConfigs(path)
		if err != nil {
			unknown(err)
		}
		for _, found := range configs {
			if found.stray() {
				continue
			}
			c, findings := generator.ParseConfig(found.doc, found.file)
			if i := slices.IndexFunc(findings, func(f report.Finding) bool { return f.Severity == report.Error }); i >= 0 {
				unknown(findings[i])
				continue
			}
			c.Spec.Files = append(c.Spec.Files, found.resources...)
			secrets, err := openSecrets(found.tree, nil, c, nil)
			if err != nil {
				unknown(err)
				continue
			}
			if slices.ContainsFunc(secrets.names, func(name string) bool { return sameFile(name, file) }) {
				visit(path, found.tree, c)
			}
		}
		for _, found := range configs {
			found.tree.Close()
		}
	}
	return nil
}

// listed are the files that the configs take Secrets from.
func (o *rotateOptions) listed() ([]string, error) {
	configs, err := findConfigs(o.config)
	defer func() {
		for _, c := range configs {
			c.tree.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, found := range configs {
		c, findings := generator.ParseConfig(found.doc, found.file)
		if c == nil {
			return nil, findings[0]
		}
		c.Spec.Files = append(c.Spec.Files, found.resources...)
		secrets, err := openSecrets(found.tree, nil, c, nil)
		if err != nil {
			return nil, err
		}
		names = append(names, secrets.names...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// prepare does for one Secret what comes before its token.
func (o *rotateOptions) prepare(cmd *cobra.Command, client *cluster.Client, safe *sopsfile.Safe, f *credentialFile, ca []byte) (*rotation, error) {
	var err error
	if f.policy, err = filePolicy(f.path, o.age); err != nil {
		return nil, err
	}
	switch {
	case o.legacySecret:
		f.lifetime = ""
	case o.lifetime != "":
		f.lifetime = o.lifetime
	}
	if o.server != "" {
		f.server, f.tlsServerName = o.server, "" // as with kubectl, the name goes with the URL
	}
	f.tlsServerName = cmp.Or(o.tlsServerName, f.tlsServerName)
	r := &rotation{credentialFile: f}
	if r.lifetime, err = o.duration(f.lifetime); err != nil {
		return nil, err
	}
	if err := f.forget(cmd.Context(), client); err != nil {
		return nil, liveError(err)
	}
	findings, err := f.rehearse(cmd.Context(), safe, ca)
	if bad := printFindings(cmd, findings); bad != nil {
		return nil, bad
	}
	return r, err
}

// unmintAll takes back the tokens that could not be written because of err.
func unmintAll(ctx context.Context, client *cluster.Client, rotations []*rotation, err error) error {
	for _, r := range rotations {
		err = r.unmint(ctx, client, err)
	}
	return err
}

// write writes the Secrets and the pairs that are rendered from them, or nothing.
func (o *rotateOptions) write(cmd *cobra.Command, rotations []*rotation, render bool) error {
	g := &generateOptions{paths: o.configs, instead: make(map[string]*yaml.Node)}
	for _, r := range rotations {
		target, err := filepath.EvalSymlinks(r.path) // a link stays
		if err != nil {
			return failed(fmt.Errorf("write %s: %w", r.path, cause(err)))
		}
		t, err := openTree(filepath.Dir(target))
		if err != nil {
			return failed(err)
		}
		defer t.Close()
		w := &staging{tree: t, output: "."}
		defer w.abort()
		if err := w.add(filepath.Base(target), r.before, r.sealed); err != nil {
			return err
		}
		g.instead[r.path], g.with = r.doc, append(g.with, w)
	}
	var err error
	if render {
		err = g.run(cmd)
	} else {
		err = commitAll(cmd.Context(), g.with)
	}
	if err != nil {
		return err
	}
	for _, r := range rotations {
		fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", changed, r.path)
	}
	return nil
}

// tell says what is to be known of a rotated credential.
func (r *rotation) tell(cmd *cobra.Command, rendered bool) {
	w := cmd.ErrOrStderr()
	warnShortened(cmd, r.credentialFile, r.lifetime)
	fmt.Fprintf(w, "The credential in %s %s.\n", r.path, r.ending())
	if !rendered {
		fmt.Fprintf(w, "No config here takes it: render the pairs that use it with clusterpair generate -f CONFIG.\n")
	}
	if len(r.previous) > 0 {
		fmt.Fprintf(w, "The one before still works. When the new one is synced and clusterpair preflight says that it works, end it:\n  clusterpair credential revoke %s\n", r.path)
	}
}

// openWritten reads a file that credential create has written.
func openWritten(path string) (*credentialFile, error) {
	f, err := readCredentialFile(path)
	if err == nil && f.before == nil {
		err = failed(withHint(fmt.Errorf("there is no file %s", path), "clusterpair credential create --name stork-dr -o %s", path))
	}
	return f, err
}

// otherCluster says that a cluster is not the destination of a credential.
func otherCluster(client *cluster.Client, f *credentialFile) error {
	return failed(withHint(fmt.Errorf("%s is not the cluster of the credential in %s", client.Server(), f.path), "choose the destination with --context: kubectl config get-contexts"))
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
	client, _, uid, err := o.connect(cmd)
	if err != nil {
		return err
	}
	if uid != f.cluster {
		return otherCluster(client, f)
	}
	if !o.all {
		if err := f.rendered(cmd); err != nil {
			return err
		}
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

// rendered refuses to end what a rendered pair still holds: by its annotation it
// is of another credential than the file.
func (f *credentialFile) rendered(cmd *cobra.Command) error {
	var refused error
	err := eachTaker(cmd, f.path, func(config string, t *tree, c *generator.Config) {
		for _, p := range c.Spec.Pairs {
			s := p.Destination.Secret
			if s == nil || s.Name != f.name || s.Namespace != "" && s.Namespace != f.namespace {
				continue
			}
			file := pairFile(c.Spec.Output, cmp.Or(p.Namespace, c.Spec.Namespace), p.Name)
			data, err := t.readFile(file)
			if err != nil {
				continue // there is none
			}
			docs, err := manifest.Values(data, t.show(file))
			if err != nil || len(docs) == 0 {
				continue // validate says so
			}
			ends := manifest.Text(docs[0], "metadata", "annotations", generator.AnnotationExpires)
			if at, err := time.Parse(time.RFC3339, ends); err == nil && !at.Equal(f.expires) && refused == nil {
				refused = failed(withHint(fmt.Errorf("%s holds another credential than %s, by the end that it tells: it may be one of those to revoke", t.show(file), f.path),
					"clusterpair generate -f %s, commit and sync it first; --all ends all, whatever uses them", typed(config)))
			}
		}
	})
	return cmp.Or(err, refused)
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
