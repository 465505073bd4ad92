// Package preflight asks destinations with the credentials that ClusterPairs carry.
//
// [New], then [Run.Pairs] for the pairs of a cluster or [Run.Path] for files, which are
// rendered and decrypted in memory; [Run.Check] asks, and [Run.Verdict] sums up. A
// credential is let go of as soon as its destination was asked, and none is printed.
package preflight

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// target is a destination to look at.
type target struct {
	Kind      string `json:"kind"` // ClusterPair, kubeconfig or Secret
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	File      string `json:"file"`
	Server    string `json:"server"`

	destination  *kubeconfig.Destination // nil if checks say why
	storkVersion string                  // of the config that renders it
	checks       []report.Check
}

// title names a target.
func (t *target) title() string {
	switch {
	case t.Name == "":
		return t.Kind + " " + t.File
	case t.Namespace == "":
		return t.Kind + " " + t.Name
	}
	return t.Kind + " " + t.Namespace + "/" + t.Name
}

// Options say how destinations are asked.
type Options struct {
	// Timeout is how long all checks of one destination may take.
	Timeout time.Duration
	// Within is how soon the end of a credential is worth a warning.
	Within time.Duration
	// AllowExec says that the commands of kubeconfigs may run.
	AllowExec bool
	// Source is the cluster that no destination may be, nil if it is not known.
	Source *cluster.Identity
}

// Run collects destinations, and asks them.
type Run struct {
	options Options
	now     time.Time
	safe    *sopsfile.Safe

	mu       sync.Mutex
	findings []report.Finding
	targets  []target
}

// New has no destinations yet.
func New(o Options) *Run { return &Run{options: o, now: time.Now(), safe: sopsfile.New(nil)} }

// Findings are about what the destinations were read from.
func (r *Run) Findings() []report.Finding { return r.findings }

// Len is the number of destinations.
func (r *Run) Len() int { return len(r.targets) }

// Pairs takes the pairs that the source cluster holds: those of the names, or all of a
// namespace, or all if that is empty. flags are those with which kubectl, or this
// program, asks the same cluster. None is an error.
func (r *Run) Pairs(ctx context.Context, client *cluster.Client, namespace string, names []string, flags string) error {
	if len(names) == 0 {
		names = []string{""}
	}
	for _, name := range names {
		before := len(r.targets)
		err := client.Pairs(ctx, cluster.Scope{Namespace: namespace, Name: name}, func(p cluster.Pair, item []byte) error {
			docs, err := manifest.Values(item, p.ID())
			if err != nil || len(docs) != 1 {
				return fmt.Errorf("%s answers with a ClusterPair that cannot be read: %s", client.Server(), p.ID())
			}
			r.pair(docs[0], "")
			return nil
		})
		switch {
		case err != nil:
			return err
		case len(r.targets) == before && name != "":
			return report.WithHint(fmt.Errorf("there is no ClusterPair %s/%s in %s", namespace, name, client.Server()), "see those that there are: clusterpair status -A%s", flags)
		case len(r.targets) == before:
			return report.WithHint(fmt.Errorf("there is no ClusterPair in %s", client.Server()), "choose the source cluster with --context, and the namespace with -n or -A")
		}
	}
	return nil
}

// Path takes the destinations of a function config, of a file or of the files of a
// directory. read reads a file, and standard input for -.
func (r *Run) Path(ctx context.Context, path string, read func(path string) ([]byte, error)) error {
	if path != "-" {
		info, err := os.Stat(path)
		if err != nil {
			return report.WithHint(fmt.Errorf("%s: %w", path, worktree.Cause(err)), "-n NAMESPACE NAME names a pair of the source cluster")
		}
		configs, err := kustomize.Find(path)
		defer kustomize.Close(configs)
		if err != nil {
			return err
		}
		if len(configs) > 0 {
			return r.configs(ctx, configs)
		}
		if info.IsDir() {
			return r.directory(ctx, path)
		}
	}
	data, err := read(path)
	if err != nil {
		return err
	}
	before := len(r.targets)
	if err := r.file(ctx, data, path, true); err != nil {
		return err
	}
	if len(r.targets) == before {
		return report.WithHint(fmt.Errorf("%s holds no ClusterPair, no config of kind %s or %s and no kubeconfig", path, generator.GeneratorKind, generator.FleetKind), "name a config, a kubeconfig, or a ClusterPair as it is rendered")
	}
	return nil
}

// configs takes the pairs that configs render.
func (r *Run) configs(ctx context.Context, configs []kustomize.Config) error {
	for _, found := range configs {
		c, findings := found.Parse()
		r.findings = append(r.findings, findings...)
		if c == nil {
			continue
		}
		// What a waiver may let pass does not stop the pair here: the destination is to say.
		var allow []generator.Allowance
		for _, rule := range report.WaivableRules() {
			allow = append(allow, generator.Allowance{Rule: rule, Reason: "judged by preflight"})
		}
		for i := range c.Spec.Pairs {
			c.Spec.Pairs[i].Allow = allow
		}
		if c.Spec.Selector != nil {
			c.Spec.Selector.Allow = allow
		}
		secrets, err := render.OpenSecrets(found.Tree, r.safe, c, nil)
		if err != nil {
			return err
		}
		first := len(r.targets)
		findings, err = generator.Generate(ctx, c, generator.Inputs{
			Secrets: secrets, Encrypter: render.Plain{}, Plaintext: true, Now: r.now, Generated: found.Generated,
		}, func(result generator.Result) error {
			docs, err := manifest.Values(result.Document, found.File)
			if err != nil {
				return err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for _, doc := range docs {
				r.pair(doc, found.File)
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
func (r *Run) directory(ctx context.Context, path string) error {
	repo, err := gitfiles.Open()
	if err != nil {
		return err
	}
	source := &gitfiles.WorkTree{Repository: repo}
	files, err := source.List(ctx, []string{path})
	if err != nil {
		return err
	}
	first := len(r.targets)
	unread, err := gitfiles.Each(ctx, source, files.Each, func(ctx context.Context, file gitfiles.File, data []byte) error {
		if !bytes.Contains(data, []byte(generator.ClusterPairKind)) {
			return nil
		}
		return r.file(ctx, data, file.Name, false)
	})
	if err != nil {
		return err
	}
	if len(unread) > 0 {
		return report.Errors(unread)
	}
	sortTargets(r.targets[first:])
	return nil
}

func sortTargets(targets []target) {
	slices.SortStableFunc(targets, func(a, b target) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.File, b.File))
	})
}

// file takes the targets of a file, kubeconfigs and Secrets among them if it was
// named.
func (r *Run) file(ctx context.Context, data []byte, name string, named bool) error {
	docs, err := seal.Open(ctx, r.safe, data, name)
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
				r.add(target{Kind: "kubeconfig", File: name}, d, findings)
			}
		}
	}
	return nil
}

func (r *Run) pair(doc *yaml.Node, file string) {
	t := target{Kind: generator.ClusterPairKind, Namespace: manifest.Text(doc, "metadata", "namespace"), Name: manifest.Text(doc, "metadata", "name"), File: file}
	config := manifest.Field(doc, "spec", "config")
	if config == nil || config.Kind != yaml.MappingNode {
		r.add(t, nil, []report.Finding{{Rule: "required-field", Severity: report.Error, Message: "spec.config is missing", Hint: "clusterpair validate tells more"}})
		return
	}
	d, findings := kubeconfig.FromConfig(config, file, "spec.config", r.kubeconfig(""))
	r.add(t, d, findings)
}

func (r *Run) secret(doc *yaml.Node, file string) {
	t := target{Kind: "Secret", Namespace: manifest.Text(doc, "metadata", "namespace"), Name: manifest.Text(doc, "metadata", "name"), File: file}
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
func (r *Run) kubeconfig(storkVersion string) kubeconfig.Options {
	return kubeconfig.Options{Allow: kubeconfig.AllowAll(), Now: r.now, StorkVersion: storkVersion}
}

// add notes a target; without a destination its findings say why.
func (r *Run) add(t target, d *kubeconfig.Destination, findings []report.Finding) {
	if t.destination = d; d != nil {
		t.Server = report.URL(d.Server)
	}
	for _, f := range findings {
		if f.Severity == report.Error && d == nil {
			t.checks = append(t.checks, report.Check{Name: "kubeconfig", Status: report.Failed, Text: f.Message, Rule: f.Rule, Hint: f.Hint})
		}
	}
	r.targets = append(r.targets, t)
}

// Check asks all destinations side by side, and hands out each, in order, as soon as it
// is known.
func (r *Run) Check(ctx context.Context, each func(report.Checked)) error {
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
				t := &r.targets[i]
				if err := defect.Safely("", func() error { r.look(ctx, t); return nil }); err != nil {
					t.checks = append(t.checks, report.Check{Name: "kubeconfig", Status: report.Failed, Text: err.Error()})
				}
			}()
		}
	}()
	for i := range r.targets {
		select {
		case <-ready[i]:
		case <-ctx.Done():
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		each(r.targets[i].checked())
	}
	return nil
}

// checked is the target for a report.
func (t *target) checked() report.Checked {
	c := report.Checked{Title: t.title(), Head: t.title(), Checks: t.checks}
	if t.Server != "" {
		c.Head += "  " + t.Server
	}
	c.JSON = func(checks any) any {
		return struct {
			*target
			Checks any `json:"checks"`
		}{t, checks}
	}
	return c
}

func (r *Run) look(ctx context.Context, t *target) {
	if t.destination == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, r.options.Timeout)
	defer cancel()
	t.checks = cluster.Preflight(ctx, t.destination, cluster.PreflightOptions{
		Namespace: t.Namespace, Source: r.options.Source, StorkVersion: t.storkVersion, AllowExec: r.options.AllowExec, Within: r.options.Within, Now: r.now,
	})
	t.destination = nil // let go of the credential
}

// Verdict tells whether a check has failed, strict ones if they have warned, and how many
// destinations were not asked with the credential.
func (r *Run) Verdict(strict bool) (failed bool, unasked int) {
	for _, t := range r.targets {
		for _, c := range t.checks {
			switch {
			case c.Fails(strict):
				failed = true
			case c.Name == "authentication" && c.Status == report.Skipped:
				unasked++
			}
		}
	}
	return failed, unasked
}
