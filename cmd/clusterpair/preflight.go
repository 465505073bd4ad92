package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
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
	source         clusterFlags
	allNamespaces  bool
	allowExec      bool
	timeout        time.Duration
	within         string
	format         string
	strict, quiet  bool
	horizon        time.Duration
	now            time.Time
	safe           *sopsfile.Safe
	sourceIdentity *cluster.Identity
	findings       []report.Finding
	targets        []preflightTarget
	mu             sync.Mutex
}

func newPreflightCommand() *cobra.Command {
	o := &preflightOptions{now: time.Now(), safe: sopsfile.New(nil)}
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
	o.source.addFlags(flags)
	o.source.addServerFlags(flags)
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "the pairs of all namespaces of the source cluster")
	flags.BoolVar(&o.allowExec, "allow-exec", false, "run the commands that kubeconfigs name for their credentials")
	flags.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long all checks of one destination may take")
	flags.StringVar(&o.within, "within", "30d", "warn of credentials that end within this time")
	flags.StringVarP(&o.format, "output", "o", "text", "format: "+strings.Join(preflightFormats, ", "))
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too")
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors alone, and no summary")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(preflightFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

var preflightFormats = []string{"json", "junit", "text"}

// preflightTarget is a destination to look at.
type preflightTarget struct {
	Kind      string `json:"kind"` // ClusterPair, kubeconfig or Secret
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	File      string `json:"file"`
	Server    string `json:"server"`

	destination *kubeconfig.Destination // nil if checks say why
	checks      []cluster.Check
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
	var err error
	if o.horizon, err = generator.ParseDuration(o.within); err != nil {
		return usageError(withHint(fmt.Errorf("--within: %w", err), "days or hours, as in 30d or 720h"))
	}
	if !slices.Contains(preflightFormats, o.format) {
		return usageError(withHint(fmt.Errorf("there is no format %q", o.format), "-o %s", strings.Join(preflightFormats, "|")))
	}
	if err := o.find(cmd, args); err != nil {
		return err
	}
	refused := printFindings(cmd, o.findings)
	if len(o.targets) == 0 {
		if refused == nil {
			refused = failed(errors.New("there is no ClusterPair"))
		}
		return refused
	}
	if err := o.check(cmd); err != nil {
		return err
	}
	return cmp.Or(o.verdict(), refused)
}

// find collects the targets.
func (o *preflightOptions) find(cmd *cobra.Command, args []string) error {
	live := o.allNamespaces || cmd.Flags().Changed("namespace")
	named := firstChanged(cmd, "kubeconfig", "context", "cluster", "user", "server", "as") != ""
	if o.allNamespaces && len(args) > 0 {
		return usageError(errors.New("--all-namespaces goes without names"))
	}
	if !live && len(args) == 0 {
		return usageError(withHint(errors.New("nothing to look at"), "clusterpair preflight CONFIG, or -n NAMESPACE NAME for a pair of the source cluster"))
	}
	if live || named {
		client, namespace, err := o.source.client(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
		defer cancel()
		if o.sourceIdentity, err = client.Identity(ctx); err != nil {
			return failed(fmt.Errorf("source cluster: %w", clusterError(err)))
		}
		if o.allNamespaces {
			namespace = ""
		}
		if live {
			return o.livePairs(cmd.Context(), client, namespace, args)
		}
	}
	for _, path := range args {
		if err := o.path(cmd, path); err != nil {
			return err
		}
	}
	return nil
}

// livePairs takes the pairs that the source cluster holds.
func (o *preflightOptions) livePairs(ctx context.Context, client *cluster.Client, namespace string, names []string) error {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		err := client.PairDocuments(ctx, namespace, name, func(item []byte) error {
			docs, err := manifest.Values(item, "the source cluster")
			if err != nil || len(docs) != 1 {
				return fmt.Errorf("%s answers with a ClusterPair that cannot be read", client.Server())
			}
			o.pair(docs[0], "")
			return nil
		})
		if err != nil {
			return clusterError(err)
		}
	}
	return nil
}

// path takes the targets of a file or directory.
func (o *preflightOptions) path(cmd *cobra.Command, path string) error {
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
			return runError(cmd, err)
		}
		if len(configs) > 0 {
			return o.configs(cmd, configs)
		}
		if info.IsDir() {
			return o.directory(cmd, path)
		}
	}
	data, err := readInput(cmd, path)
	if err != nil {
		return failed(err)
	}
	before := len(o.targets)
	if err := o.file(cmd.Context(), data, path, true); err != nil {
		return runError(cmd, err)
	}
	if len(o.targets) == before {
		return failed(withHint(fmt.Errorf("%s holds no ClusterPair, no config of kind %s and no kubeconfig", path, generator.GeneratorKind), "clusterpair generate renders a ClusterPair"))
	}
	return nil
}

// configs takes the pairs that configs render.
func (o *preflightOptions) configs(cmd *cobra.Command, configs []foundConfig) error {
	for _, found := range configs {
		c, findings := generator.ParseConfig(found.doc, found.file)
		o.findings = append(o.findings, findings...)
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
		secrets, err := openSecrets(found.tree, o.safe, c, nil)
		if err != nil {
			return runError(cmd, err)
		}
		first := len(o.targets)
		findings, err = generator.Generate(cmd.Context(), c, generator.Inputs{
			Secrets: secrets, Encrypter: plainWriter{}, Plaintext: true, Now: o.now, Generated: found.generated,
		}, func(r generator.Result) error {
			docs, err := manifest.Values(r.Document, found.file)
			if err != nil {
				return err
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, doc := range docs {
				o.pair(doc, found.file)
			}
			return nil
		})
		o.findings = append(o.findings, slices.DeleteFunc(findings, func(f report.Finding) bool { return f.Severity != report.Error })...)
		if err != nil {
			return runError(cmd, err)
		}
		sortTargets(o.targets[first:])
	}
	return nil
}

// directory takes the ClusterPairs in the files of a directory.
func (o *preflightOptions) directory(cmd *cobra.Command, path string) error {
	repo, err := newRepository()
	if err != nil {
		return failed(err)
	}
	source := &workFiles{repository: repo}
	files, err := source.list(cmd, []string{path})
	if err != nil {
		return err
	}
	first := len(o.targets)
	unread, err := eachFile(cmd.Context(), source, files.each, func(ctx context.Context, file validate.File) error {
		if !strings.Contains(string(file.Data), generator.ClusterPairKind) {
			return nil
		}
		return o.file(ctx, file.Data, file.Name, false)
	})
	if err != nil {
		return failed(err)
	}
	if len(unread) > 0 {
		return failed(errors.Join(unread...))
	}
	sortTargets(o.targets[first:])
	return nil
}

func sortTargets(targets []preflightTarget) {
	slices.SortStableFunc(targets, func(a, b preflightTarget) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.File, b.File))
	})
}

// file takes the targets of a file, kubeconfigs and Secrets among them if it was
// named.
func (o *preflightOptions) file(ctx context.Context, data []byte, name string, named bool) error {
	docs, err := openDocuments(ctx, o.safe, data, name)
	if err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, doc := range docs {
		items := []*yaml.Node{doc}
		if list := manifest.Field(doc, "items"); list != nil && strings.HasSuffix(manifest.Text(doc, "kind"), "List") {
			items = list.Content
		}
		for _, item := range items {
			switch kind := manifest.Text(item, "kind"); {
			case kind == generator.ClusterPairKind:
				o.pair(item, name)
			case named && kind == "Secret":
				o.secret(item, name)
			case named && kubeconfig.IsKubeconfig(item):
				d, findings := kubeconfig.FromDocument(item, name, o.kubeconfig())
				o.add(preflightTarget{Kind: "kubeconfig", File: name}, d, findings)
			}
		}
	}
	return nil
}

func (o *preflightOptions) pair(doc *yaml.Node, file string) {
	t := preflightTarget{Kind: generator.ClusterPairKind, Namespace: manifest.Text(doc, "metadata", "namespace"), Name: manifest.Text(doc, "metadata", "name"), File: file}
	config := manifest.Field(doc, "spec", "config")
	if config == nil || config.Kind != yaml.MappingNode {
		o.add(t, nil, []report.Finding{{Rule: "required-field", Severity: report.Error, Message: "spec.config is missing", Hint: "clusterpair validate tells more"}})
		return
	}
	d, findings := kubeconfig.FromConfig(config, file, "spec.config", o.kubeconfig())
	o.add(t, d, findings)
}

func (o *preflightOptions) secret(doc *yaml.Node, file string) {
	t := preflightTarget{Kind: "Secret", Namespace: manifest.Text(doc, "metadata", "namespace"), Name: manifest.Text(doc, "metadata", "name"), File: file}
	s, findings := kubeconfig.ParseSecret(doc, file)
	var d *kubeconfig.Destination
	if !report.HasErrors(findings) {
		d, findings = kubeconfig.FromSecret(s, o.kubeconfig())
	}
	o.add(t, d, findings)
}

// kubeconfig are the options under which a kubeconfig is judged: whatever may be
// waived is for the destination to say.
func (o *preflightOptions) kubeconfig() kubeconfig.Options {
	return kubeconfig.Options{Allow: allowAll(), Now: o.now, StorkVersion: "24.3"}
}

func allowAll() map[string]bool {
	allow := make(map[string]bool)
	for _, rule := range kubeconfig.AllowableRules() {
		allow[rule] = true
	}
	return allow
}

// add notes a target; without a destination its findings say why.
func (o *preflightOptions) add(t preflightTarget, d *kubeconfig.Destination, findings []report.Finding) {
	if t.destination = d; d != nil {
		t.Server = d.Server
	}
	for _, f := range findings {
		if f.Severity == report.Error && d == nil {
			t.checks = append(t.checks, cluster.Check{Name: "kubeconfig", Status: cluster.Failed, Text: f.Message, Rule: f.Rule, Hint: f.Hint})
		}
	}
	o.targets = append(o.targets, t)
}

// check looks at all targets side by side, and prints each as soon as those
// before it are printed.
func (o *preflightOptions) check(cmd *cobra.Command) error {
	ctx := cmd.Context()
	write := preflightWriters[o.format](cmd.OutOrStdout(), o)
	ready := make([]chan struct{}, len(o.targets))
	slots := make(chan struct{}, 500) // open files have a limit
	for i := range o.targets {
		ready[i] = make(chan struct{})
	}
	go func() {
		for i := range o.targets {
			slots <- struct{}{}
			go func() {
				defer func() { <-slots; close(ready[i]) }()
				o.look(ctx, &o.targets[i])
			}()
		}
	}()
	for i := range o.targets {
		select {
		case <-ready[i]:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return failed(err)
		}
		write.target(&o.targets[i])
	}
	if err := write.end(); err != nil {
		return failed(err)
	}
	return nil
}

func (o *preflightOptions) look(ctx context.Context, t *preflightTarget) {
	if t.destination == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	t.checks = cluster.Preflight(ctx, t.destination, cluster.PreflightOptions{
		Namespace: t.Namespace, Source: o.sourceIdentity, AllowExec: o.allowExec, Within: o.horizon, Now: o.now,
	})
	t.destination = nil // let go of the credential
}

// verdict is the error that the checks amount to.
func (o *preflightOptions) verdict() error {
	unasked := 0
	for _, t := range o.targets {
		for _, c := range t.checks {
			switch {
			case c.Status == cluster.Failed, o.strict && c.Status == cluster.Warning:
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

func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// preflightWriter writes targets in a format.
type preflightWriter interface {
	target(*preflightTarget)
	end() error
}

var preflightWriters = map[string]func(io.Writer, *preflightOptions) preflightWriter{
	"text":  func(w io.Writer, o *preflightOptions) preflightWriter { return &preflightText{w: w, quiet: o.quiet} },
	"json":  func(w io.Writer, _ *preflightOptions) preflightWriter { return &preflightJSON{w: w} },
	"junit": func(w io.Writer, o *preflightOptions) preflightWriter { return &preflightJUnit{w: w, strict: o.strict} },
}

// preflightCounts sum a run up.
type preflightCounts struct {
	Destinations int `json:"destinations"`
	Errors       int `json:"errors"`
	Warnings     int `json:"warnings"`
	Skipped      int `json:"skipped"`
}

func (n *preflightCounts) add(t *preflightTarget) {
	n.Destinations++
	for _, c := range t.checks {
		switch c.Status {
		case cluster.Failed:
			n.Errors++
		case cluster.Warning:
			n.Warnings++
		case cluster.Skipped:
			n.Skipped++
		}
	}
}

func (n preflightCounts) String() string {
	found := []string{countOf(n.Destinations, "destination", "destinations") + ":"}
	if n.Errors > 0 {
		found = append(found, countOf(n.Errors, "error", "errors")+",")
	}
	if n.Warnings > 0 {
		found = append(found, countOf(n.Warnings, "warning", "warnings")+",")
	}
	if n.Skipped > 0 {
		found = append(found, fmt.Sprintf("%d skipped,", n.Skipped))
	}
	if len(found) == 1 {
		return found[0] + " all fine"
	}
	return strings.TrimSuffix(strings.Join(found, " "), ",")
}

// preflightText writes a line for each check below a line for the target.
type preflightText struct {
	w     io.Writer
	quiet bool

	counts preflightCounts
	err    error
}

func (p *preflightText) target(t *preflightTarget) {
	p.counts.add(t)
	b := bufio.NewWriter(p.w)
	head := t.title()
	if t.Server != "" {
		head += "  " + t.Server
	}
	for _, c := range t.checks {
		if p.quiet && c.Status != cluster.Failed {
			continue
		}
		if head != "" {
			fmt.Fprintln(b, head)
			head = ""
		}
		line := fmt.Sprintf("  %-7s  %-14s  %s", c.Status, c.Name, c.Text)
		if c.Rule != "" {
			line += " [" + c.Rule + "]"
		}
		fmt.Fprintln(b, line)
		for _, detail := range c.Details {
			fmt.Fprintf(b, "%27s%s\n", "", detail)
		}
		if c.Hint != "" {
			fmt.Fprintf(b, "%27shint: %s\n", "", c.Hint)
		}
	}
	p.err = cmp.Or(p.err, b.Flush())
}

func (p *preflightText) end() error {
	if p.quiet || p.err != nil {
		return p.err
	}
	_, err := fmt.Fprintln(p.w, p.counts)
	return err
}

// preflightJSON writes all of them in one object.
type preflightJSON struct {
	w       io.Writer
	counts  preflightCounts
	targets []jsonTarget
}

type jsonTarget struct {
	preflightTarget
	Checks []jsonCheck `json:"checks"`
}

// jsonCheck is a check in JSON. All fields are always there.
type jsonCheck struct {
	Check   string   `json:"check"`
	Status  string   `json:"status"` // ok, warning, error or skipped
	Text    string   `json:"text"`
	Details []string `json:"details"`
	Rule    string   `json:"rule"`
	Hint    string   `json:"hint"`
}

func (p *preflightJSON) target(t *preflightTarget) {
	p.counts.add(t)
	out := jsonTarget{preflightTarget: *t}
	for _, c := range t.checks {
		out.Checks = append(out.Checks, jsonCheck{c.Name, string(c.Status), c.Text, append([]string{}, c.Details...), c.Rule, c.Hint})
	}
	p.targets = append(p.targets, out)
}

func (p *preflightJSON) end() error {
	encoder := json.NewEncoder(p.w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(struct {
		Version      string          `json:"version"`
		Summary      preflightCounts `json:"summary"`
		Destinations []jsonTarget    `json:"destinations"`
	}{version(), p.counts, p.targets})
}

// preflightJUnit writes a suite for each target, and a test for each check. As
// in validate's report a warning is a skipped test, which CI systems show.
type preflightJUnit struct {
	w      io.Writer
	strict bool
	suites junitSuites
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Failure *junitFailure `xml:"failure"`
	Skipped *string       `xml:"skipped"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func (p *preflightJUnit) target(t *preflightTarget) {
	s := junitSuite{Name: t.title()}
	for _, c := range t.checks {
		one := junitCase{Name: c.Name, Class: s.Name}
		text := strings.Join(append([]string{c.Text}, c.Details...), "\n")
		if c.Hint != "" {
			text += "\nhint: " + c.Hint
		}
		switch {
		case c.Status == cluster.Failed, c.Status == cluster.Warning && p.strict:
			one.Failure = &junitFailure{Type: cmp.Or(c.Rule, "clusterpair"), Message: c.Text, Text: text}
			s.Failures++
		case c.Status != cluster.OK:
			one.Skipped = &text
			s.Skipped++
		}
		s.Cases = append(s.Cases, one)
	}
	s.Tests = len(s.Cases)
	p.suites.Tests += s.Tests
	p.suites.Failures += s.Failures
	p.suites.Suites = append(p.suites.Suites, s)
}

func (p *preflightJUnit) end() error {
	p.suites.Name = "clusterpair"
	if _, err := io.WriteString(p.w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(p.w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(&p.suites); err != nil {
		return err
	}
	_, err := io.WriteString(p.w, "\n")
	return err
}
