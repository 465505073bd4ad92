package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// preflightOptions are the flags of clusterpair preflight.
type preflightOptions struct {
	clusterFlags
	allNamespaces, allowExec bool
	timeout                  time.Duration
	within                   string
	checkFlags
}

func newPreflightCommand() *cobra.Command {
	o := new(preflightOptions)
	cmd := &cobra.Command{
		Use:   "preflight PATH... | -n NAMESPACE [NAME...] | -A",
		Short: "Ask destinations, with their own credentials, whether pairs will work",
		Long: `preflight looks at each destination with the credential of the pair, as Stork
would, and changes nothing: name, connection, TLS, whether the credential is taken,
for whom, until when, every permission of a migration, and too many of them.
Stork itself only asks for the version, which most servers tell anybody.

PATH is a generator's config, rendered in memory; a file or directory of
ClusterPairs, decrypted in memory where a key is at hand; or a kubeconfig, or a
Secret that holds one. - is standard input. With -n or -A the pairs are those of
the source cluster. Elsewhere naming that cluster, as by --context, compares
the two, so that no cluster is paired with itself.

A command that a kubeconfig wants to run for its credential only runs with
--allow-exec, and no credential goes to a server whose certificate is not verified.`,
		Example: `  clusterpair preflight clusters/east
  clusterpair preflight rendered/apps/remotecluster.yaml --context east
  clusterpair preflight -n apps remotecluster
  clusterpair preflight -A -o junit`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addServerFlags(flags)
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "the pairs of all namespaces of the source cluster")
	flags.BoolVar(&o.allowExec, "allow-exec", false, "run the commands that kubeconfigs name for their credentials")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long all checks of one destination may take")
	flags.StringVar(&o.within, "within", "30d", "warn of credentials that end within this time")
	o.checkFlags.add(cmd)
	return cmd
}

// preflightTarget is a destination to look at.
type preflightTarget struct {
	Kind      string `json:"kind"` // ClusterPair, kubeconfig or Secret
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	File      string `json:"file"`
	Server    string `json:"server"`

	destination  *kubeconfig.Destination // nil if checks say why
	storkVersion string                  // of the config that renders it
	checks       []cluster.Check
}

// title names a target.
func (t *preflightTarget) title() string {
	switch {
	case t.Name == "":
		return t.Kind + " " + t.File
	case t.Namespace == "":
		return t.Kind + " " + t.Name
	}
	return t.Kind + " " + t.Namespace + "/" + t.Name
}

func (o *preflightOptions) run(cmd *cobra.Command, args []string) error {
	r := &preflightRun{cmd: cmd, options: o, now: time.Now(), safe: sopsfile.New(nil)}
	live := o.allNamespaces || o.overrides.Context.Namespace != ""
	var err error
	switch r.within, err = generator.ParseDuration(o.within); {
	case err != nil:
		return usageError(withHint(fmt.Errorf("--within: %w", err), "days or hours, as in 30d or 720h"))
	case o.checkFlags.check() != nil:
		return o.checkFlags.check()
	case o.timeout <= 0:
		return usageError(withHint(errors.New("--timeout is to be more than nothing"), "as in 10s"))
	case o.allNamespaces && (len(args) > 0 || o.overrides.Context.Namespace != ""):
		return usageError(errors.New("--all-namespaces goes without names and --namespace"))
	case o.overrides.ClusterInfo.InsecureSkipTLSVerify:
		return usageError(withHint(errors.New("--insecure-skip-tls-verify: the pairs of the source cluster are credentials"), "name its CA with --certificate-authority FILE"))
	case !live && len(args) == 0:
		return usageError(withHint(errors.New("nothing to look at"), "clusterpair preflight CONFIG, or -n NAMESPACE NAME for a pair of the source cluster"))
	}
	if live {
		err = r.live(args)
	} else {
		err = r.paths(args)
	}
	if err != nil {
		return runError(cmd, err)
	}
	refused := printFindings(cmd, r.findings)
	if len(r.targets) == 0 && refused == nil {
		return failed(errors.New("there is no ClusterPair"))
	}
	if err := r.check(); err != nil {
		return failed(err)
	}
	return cmp.Or(r.verdict(), refused)
}

// preflightRun is one run of clusterpair preflight.
type preflightRun struct {
	cmd     *cobra.Command
	options *preflightOptions
	within  time.Duration
	now     time.Time
	safe    *sopsfile.Safe
	source  *cluster.Identity // nil if it is not named

	mu       sync.Mutex
	findings []report.Finding
	targets  []preflightTarget
}

// askSource asks the source cluster who it is.
func (r *preflightRun) askSource() (client *cluster.Client, namespace string, err error) {
	if client, namespace, err = r.options.client(r.cmd); err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(r.cmd.Context(), r.options.timeout)
	defer cancel()
	if r.source, err = client.Identity(ctx); err != nil {
		return nil, "", clusterError(err)
	}
	return client, namespace, nil
}

// live takes the pairs that the source cluster holds.
func (r *preflightRun) live(names []string) error {
	client, namespace, err := r.askSource()
	if err != nil {
		return err
	}
	if r.options.allNamespaces {
		namespace = ""
	}
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		before := len(r.targets)
		err := client.Pairs(r.cmd.Context(), cluster.Scope{Namespace: namespace, Name: name}, func(p cluster.Pair, item []byte) error {
			docs, err := manifest.Values(item, p.ID())
			if err != nil || len(docs) != 1 {
				return fmt.Errorf("%s answers with a ClusterPair that cannot be read: %s", client.Server(), p.ID())
			}
			r.pair(docs[0], "")
			return nil
		})
		switch {
		case err != nil:
			return clusterError(err)
		case len(r.targets) == before && name != "":
			return failed(withHint(fmt.Errorf("there is no ClusterPair %s/%s in %s", namespace, name, client.Server()), "see those that there are: clusterpair status -A"))
		case len(r.targets) == before:
			return failed(withHint(fmt.Errorf("there is no ClusterPair in %s", client.Server()), "choose the source cluster with --context, and the namespace with -n or -A"))
		}
	}
	return nil
}

// paths takes the pairs of files and directories.
func (r *preflightRun) paths(paths []string) error {
	if firstChanged(r.cmd, "kubeconfig", "context", "cluster", "user", "server") != "" {
		if _, _, err := r.askSource(); err != nil {
			return err
		}
	}
	for _, path := range paths {
		if err := r.path(path); err != nil {
			return err
		}
	}
	return nil
}

// path takes the targets of a file or directory.
func (r *preflightRun) path(path string) error {
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return failed(withHint(fmt.Errorf("%s: %w", path, cause(err)), "-n NAMESPACE NAME names a pair of the source cluster"))
		}
		configs, err := findConfigs(path)
		defer func() {
			for _, c := range configs {
				c.tree.Close()
			}
		}()
		if err != nil {
			return err
		}
		if len(configs) > 0 {
			return r.configs(configs)
		}
		if info.IsDir() {
			return r.directory(path)
		}
	}
	data, err := readInput(r.cmd, path)
	if err != nil {
		return failed(err)
	}
	before := len(r.targets)
	if err := r.file(r.cmd.Context(), data, path, true); err != nil {
		return err
	}
	if len(r.targets) == before {
		return failed(withHint(fmt.Errorf("%s holds no ClusterPair, no config of kind %s and no kubeconfig", path, generator.GeneratorKind), "clusterpair generate renders a ClusterPair"))
	}
	return nil
}

// configs takes the pairs that configs render.
func (r *preflightRun) configs(configs []foundConfig) error {
	for _, found := range configs {
		c, findings := generator.ParseConfig(found.doc, found.file)
		r.findings = append(r.findings, findings...)
		if c == nil {
			continue
		}
		c.Spec.Files = append(c.Spec.Files, found.resources...)
		// What a waiver may let pass does not stop the pair here: the destination is to say.
		var allow []generator.Allowance
		for _, rule := range kubeconfig.AllowableRules() {
			allow = append(allow, generator.Allowance{Rule: rule, Reason: "judged by preflight"})
		}
		for i := range c.Spec.Pairs {
			c.Spec.Pairs[i].Allow = allow
		}
		if c.Spec.Selector != nil {
			c.Spec.Selector.Allow = allow
		}
		secrets, err := openSecrets(found.tree, r.safe, c, nil)
		if err != nil {
			return err
		}
		first := len(r.targets)
		findings, err = generator.Generate(r.cmd.Context(), c, generator.Inputs{
			Secrets: secrets, Encrypter: plainWriter{}, Plaintext: true, Now: r.now, Generated: found.generated,
		}, func(result generator.Result) error {
			docs, err := manifest.Values(result.Document, found.file)
			if err != nil {
				return err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, doc := range docs {
				r.pair(doc, found.file)
			}
			return nil
		})
		r.findings = append(r.findings, slices.DeleteFunc(findings, func(f report.Finding) bool { return f.Severity != report.Error })...)
		if err != nil {
			return err
		}
		for i := range r.targets[first:] {
			r.targets[first+i].storkVersion = c.Spec.StorkVersion
		}
		sortTargets(r.targets[first:])
	}
	return nil
}

// directory takes the ClusterPairs in the files of a directory.
func (r *preflightRun) directory(path string) error {
	repo, err := newRepository()
	if err != nil {
		return failed(err)
	}
	source := &workFiles{repository: repo}
	files, err := source.list(r.cmd, []string{path})
	if err != nil {
		return err
	}
	first := len(r.targets)
	unread, err := eachFile(r.cmd.Context(), source, files.each, func(ctx context.Context, file validate.File) error {
		if !strings.Contains(string(file.Data), generator.ClusterPairKind) {
			return nil
		}
		return r.file(ctx, file.Data, file.Name, false)
	})
	if err != nil {
		return failed(err)
	}
	if len(unread) > 0 {
		return failed(joined(unread))
	}
	sortTargets(r.targets[first:])
	return nil
}

func sortTargets(targets []preflightTarget) {
	slices.SortStableFunc(targets, func(a, b preflightTarget) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.File, b.File))
	})
}

// file takes the targets of a file, kubeconfigs and Secrets among them if it was
// named.
func (r *preflightRun) file(ctx context.Context, data []byte, name string, named bool) error {
	docs, err := openDocuments(ctx, r.safe, data, name)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, doc := range docs {
		items := []*yaml.Node{doc}
		if list := manifest.Field(doc, "items"); list != nil && strings.HasSuffix(manifest.Text(doc, "kind"), "List") {
			items = list.Content
		}
		for _, item := range items {
			switch kind := manifest.Text(item, "kind"); {
			case kind == generator.ClusterPairKind:
				r.pair(item, name)
			case named && kind == "Secret":
				r.secret(item, name)
			case named && kubeconfig.IsKubeconfig(item):
				d, findings := kubeconfig.FromDocument(item, name, r.kubeconfig("24.3"))
				r.add(preflightTarget{Kind: "kubeconfig", File: name}, d, findings)
			}
		}
	}
	return nil
}

func (r *preflightRun) pair(doc *yaml.Node, file string) {
	t := preflightTarget{Kind: generator.ClusterPairKind, Namespace: manifest.Text(doc, "metadata", "namespace"), Name: manifest.Text(doc, "metadata", "name"), File: file}
	config := manifest.Field(doc, "spec", "config")
	if config == nil || config.Kind != yaml.MappingNode {
		r.add(t, nil, []report.Finding{{Rule: "required-field", Severity: report.Error, Message: "spec.config is missing", Hint: "clusterpair validate tells more"}})
		return
	}
	d, findings := kubeconfig.FromConfig(config, file, "spec.config", r.kubeconfig(""))
	r.add(t, d, findings)
}

func (r *preflightRun) secret(doc *yaml.Node, file string) {
	t := preflightTarget{Kind: "Secret", Namespace: manifest.Text(doc, "metadata", "namespace"), Name: manifest.Text(doc, "metadata", "name"), File: file}
	s, findings := kubeconfig.ParseSecret(doc, file)
	var d *kubeconfig.Destination
	if !report.HasErrors(findings) {
		d, findings = kubeconfig.FromSecret(s, r.kubeconfig("24.3"))
	}
	r.add(t, d, findings)
}

// kubeconfig are the options under which a kubeconfig is judged: whatever may be
// waived is for the destination to say. What is no ClusterPair yet has to be spelled
// for some Stork.
func (r *preflightRun) kubeconfig(storkVersion string) kubeconfig.Options {
	return kubeconfig.Options{Allow: allowAll(), Now: r.now, StorkVersion: storkVersion}
}

func allowAll() map[string]bool {
	allow := make(map[string]bool)
	for _, rule := range kubeconfig.AllowableRules() {
		allow[rule] = true
	}
	return allow
}

// add notes a target; without a destination its findings say why.
func (r *preflightRun) add(t preflightTarget, d *kubeconfig.Destination, findings []report.Finding) {
	if t.destination = d; d != nil {
		t.Server = d.Server
	}
	for _, f := range findings {
		if f.Severity == report.Error && d == nil {
			t.checks = append(t.checks, cluster.Check{Name: "kubeconfig", Status: cluster.Failed, Text: f.Message, Rule: f.Rule, Hint: f.Hint})
		}
	}
	r.targets = append(r.targets, t)
}

// check looks at all targets side by side, and prints each as soon as those
// before it are printed.
func (r *preflightRun) check() error {
	ctx := r.cmd.Context()
	write := newCheckWriter(r.cmd.OutOrStdout(), r.options.checkFlags, "destination", "destinations")
	ready := make([]chan struct{}, len(r.targets))
	slots := make(chan struct{}, 500) // open files have a limit
	for i := range r.targets {
		ready[i] = make(chan struct{})
	}
	go func() {
		for i := range r.targets {
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; close(ready[i]) }()
				r.look(ctx, &r.targets[i])
			}()
		}
	}()
	for i := range r.targets {
		select {
		case <-ready[i]:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return failed(err)
		}
		write.add(r.targets[i].checked())
	}
	if err := write.end(); err != nil {
		return failed(err)
	}
	return nil
}

// checked is the target for a report.
func (t *preflightTarget) checked() checked {
	c := checked{title: t.title(), head: t.title(), checks: t.checks}
	if t.Server != "" {
		c.head += "  " + t.Server
	}
	c.json = func(checks []jsonCheck) any {
		return struct {
			*preflightTarget
			Checks []jsonCheck `json:"checks"`
		}{t, checks}
	}
	return c
}

func (r *preflightRun) look(ctx context.Context, t *preflightTarget) {
	if t.destination == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.options.timeout)
	defer cancel()
	t.checks = cluster.Preflight(ctx, t.destination, cluster.PreflightOptions{
		Namespace: t.Namespace, Source: r.source, StorkVersion: t.storkVersion, AllowExec: r.options.allowExec, Within: r.within, Now: r.now,
	})
	t.destination = nil // let go of the credential
}

// verdict is the error that the checks amount to.
func (r *preflightRun) verdict() error {
	unasked := 0
	for _, t := range r.targets {
		for _, c := range t.checks {
			switch {
			case r.options.fails(c):
				return &exitError{code: exitFindings}
			case c.Name == "authentication" && c.Status == cluster.Skipped:
				unasked++
			}
		}
	}
	if unasked > 0 {
		return failed(fmt.Errorf("%s not asked with the credential", countOf(unasked, "destination was", "destinations were")))
	}
	return nil
}
