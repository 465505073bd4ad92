package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

func newImportCommand() *cobra.Command {
	o := new(importOptions)
	cmd := &cobra.Command{
		Use:   "import [NAME... | -l SELECTOR]",
		Short: "Take kubeconfig Secrets from a management cluster into Git",
		Long: `import reads kubeconfig Secrets from the cluster that holds them, such as the
management cluster of Cluster API, and writes each encrypted with SOPS: into the
file of spec.files that holds it, else into secrets/NAMESPACE/NAME.yaml beside the
config. What has not changed keeps its bytes. A run writes all of its files or
none, and removes none: it tells which Secrets are gone.

Without NAME and SELECTOR it reads those again that it has imported from this
cluster. With --check it writes nothing, and exits 1 if the cluster has other
Secrets than Git.`,
		Example: `  clusterpair import --from-context management -n fleet west-kubeconfig
  clusterpair import --from-context management -A -l cluster.x-k8s.io/cluster-name
  clusterpair import --from-context management --check`,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addServerFlags(flags)
	flags.StringVar(&o.overrides.CurrentContext, "from-context", "", "the same as --context")
	flags.StringVarP(&o.selector, "selector", "l", "", "labels of the Secrets, as in role=dr")
	flags.BoolVarP(&o.everywhere, "all-namespaces", "A", false, "Secrets of all namespaces")
	flags.StringVarP(&o.config, "filename", "f", ".", "function config, or the directory of one")
	flags.StringVarP(&o.output, "output", "o", "secrets", "directory for new files, relative to that of the config")
	flags.BoolVar(&o.check, "check", false, "write nothing; exit with 1 if the cluster has other Secrets than Git")
	flags.StringSliceVar(&o.age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	return cmd
}

// importOptions are the flags of import.
type importOptions struct {
	clusterFlags
	selector          string
	everywhere, check bool
	config, output    string
	age               []string
}

// annotationImported is on the Secrets of import: the digest of the key of the CA
// of the cluster that they come from, or its URL where a public CA vouches for it.
const annotationImported = "clusterpair.dev/imported-from"

func (o *importOptions) run(cmd *cobra.Command, names []string) error {
	matches, err := labels.Parse(o.selector)
	switch {
	case err != nil:
		return usageError(withHint(fmt.Errorf("-l: %w", err), "-l KEY=VALUE, or -l KEY"))
	case len(names) > 0 && (o.selector != "" || o.everywhere):
		return usageError(errors.New("a NAME goes with neither --selector nor --all-namespaces"))
	case o.everywhere && o.overrides.Context.Namespace != "":
		return usageError(errors.New("--all-namespaces and --namespace exclude each other"))
	}
	for _, name := range names {
		if len(validation.IsDNS1123Subdomain(name)) > 0 {
			return usageError(withHint(errors.New("a NAME is that of a Secret, without its namespace"), "clusterpair import -n NAMESPACE NAME"))
		}
	}
	defer pace.Steady(2<<20, 35, 32<<20).End()
	r := &importRun{importOptions: o, safe: sopsfile.New(nil), held: make(map[string]*heldSecret), seen: make(map[string]bool)}
	if r.tree, err = openConfigTree(o.config); err != nil {
		return err
	}
	defer r.tree.Close()
	if !filepath.IsLocal(o.output) {
		return usageError(withHint(errors.New("--output is a directory below that of the config"), "name another config with -f, or leave out --output"))
	}
	r.files = staging{tree: r.tree, output: ".", dry: o.check}
	defer r.files.abort()
	if !o.check {
		unlock, err := lockAll(cmd.Context(), []foundConfig{{tree: r.tree}})
		defer unlock()
		if err != nil {
			return failed(err)
		}
		r.files.sweep()
	}
	if err := r.readHeld(); err != nil {
		return runError(cmd, err)
	}
	var namespace string
	if r.client, namespace, err = o.client(cmd); err != nil {
		return err
	}
	if !r.client.Verified() {
		return failed(withHint(errors.New("the cluster does not prove who it is: insecure-skip-tls-verify"), "give the kubeconfig its certificate-authority-data, or name the CA with --certificate-authority FILE"))
	}
	endpoint, err := r.client.Endpoint()
	if err != nil {
		return clusterError(err)
	}
	r.from = cmp.Or(kubeconfig.CAKeyDigest(endpoint.CA), endpoint.Server)
	switch {
	case len(names) > 0:
		ids := make([]string, len(names))
		for i, name := range names {
			ids[i] = namespace + "/" + name
		}
		slices.Sort(ids)
		err = r.get(cmd.Context(), slices.Compact(ids))
	case o.selector != "":
		if o.everywhere {
			namespace = ""
		}
		err = r.selected(cmd.Context(), namespace, matches)
	default:
		ids := r.imported(o.overrides.Context.Namespace)
		if len(ids) == 0 {
			return usageError(withHint(fmt.Errorf("no Secret of %s was imported here before", r.client.Server()), "name one, by the same command with -n NAMESPACE NAME, or select them, with -A -l cluster.x-k8s.io/cluster-name"))
		}
		err = r.get(cmd.Context(), ids)
	}
	if err != nil {
		return runError(cmd, liveError(err))
	}
	return r.finish(cmd)
}

// openConfigTree opens the tree of a config, or of a directory.
func openConfigTree(path string) (*tree, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, failed(withHint(fmt.Errorf("%s: %w", path, cause(err)), "name a function config or its directory with -f"))
	}
	if !info.IsDir() {
		path = filepath.Dir(path)
	}
	t, err := openTree(path)
	if err != nil {
		return nil, failed(err)
	}
	return t, nil
}

// importRun is one run of clusterpair import.
type importRun struct {
	*importOptions
	client *cluster.Client
	from   string // what annotationImported says of this cluster
	tree   *tree
	safe   *sopsfile.Safe
	held   map[string]*heldSecret // by NAMESPACE/NAME
	// sources are spec.files of the configs.
	sources []string

	mu       sync.Mutex
	files    staging
	findings []report.Finding
	seen     map[string]bool
	noKey    *sopsfile.NoKeyError // what --check lacked, for how many
	unknown  int
}

// heldSecret is a Secret that Git holds, as far as it stands in clear.
type heldSecret struct {
	file     string // relative to the config
	labels   labels.Set
	from     string // which cluster, if it was imported
	obstacle string // why the file cannot be written
}

// readHeld finds the Secrets in the files of the config, and in the directory
// for new ones.
func (r *importRun) readHeld() error {
	configs, err := configsOf(r.tree, r.config)
	if err != nil {
		return err
	}
	for _, found := range configs {
		c, bad := generator.ParseConfig(found.doc, found.file)
		if report.HasErrors(bad) {
			r.findings = append(r.findings, bad...)
			continue
		}
		r.sources = append(r.sources, c.Spec.Files...)
	}
	for file := range r.expand(append([]string{r.output}, r.sources...)...) {
		if err := r.readFile(file); err != nil {
			return err
		}
	}
	return nil
}

// expand are the files that patterns mean. What is not there yet holds nothing.
func (r *importRun) expand(patterns ...string) map[string]bool {
	all := make(map[string]bool)
	for _, pattern := range patterns {
		files, _ := r.tree.expand(pattern, "")
		for _, file := range files {
			all[file] = true
		}
	}
	return all
}

// configsOf are the configs that a path means.
func configsOf(t *tree, path string) ([]foundConfig, error) {
	var configs []foundConfig
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.IsDir():
		configs, err = configsFor(t)
	default:
		configs, err = configsIn(t, filepath.Base(path))
	}
	return slices.DeleteFunc(configs, func(c foundConfig) bool { return c.kind != generator.GeneratorKind }), err
}

// readFile notes the Secrets of one file.
func (r *importRun) readFile(file string) error {
	data, err := r.tree.readFile(file)
	if err != nil {
		return failed(err)
	}
	if !bytes.Contains(data, []byte("Secret")) {
		return nil
	}
	var found []*heldSecret
	obstacle := ""
	documents := 0
	manifest.Scan(data, r.tree.show(file), func(d manifest.Document, broken *report.Finding) {
		documents++
		if broken != nil {
			return
		}
		visitItems(d.Node, func(doc *yaml.Node) {
			namespace, name := manifest.Text(doc, "metadata", "namespace"), manifest.Text(doc, "metadata", "name")
			if manifest.Text(doc, "kind") != "Secret" || namespace == "" || name == "" {
				return
			}
			// Clones, as the texts of a document keep all of its file in memory.
			h := &heldSecret{file: file, labels: make(labels.Set), from: strings.Clone(manifest.Text(doc, "metadata", "annotations", annotationImported))}
			if l := manifest.Field(doc, "metadata", "labels"); l != nil && l.Kind == yaml.MappingNode {
				for i := 0; i+1 < len(l.Content); i += 2 {
					h.labels[strings.Clone(l.Content[i].Value)] = strings.Clone(l.Content[i+1].Value)
				}
			}
			id := strings.Clone(namespace + "/" + name)
			if other := r.held[id]; other != nil {
				h.obstacle = "the Secret stands in " + r.tree.show(other.file) + ", too"
			}
			switch {
			case doc != d.Node || !sopsfile.IsEncrypted(doc):
				obstacle = "the Secret stands there in clear, or in a list"
			case manifest.Text(doc, "metadata", "annotations", annotationAccount) != "":
				obstacle = "the Secret there is one of clusterpair credential create"
			}
			r.held[id] = h
			found = append(found, h)
		})
	})
	switch {
	case documents > 1:
		obstacle = "the file holds more than this Secret"
	case !filepath.IsLocal(file):
		obstacle = "the file is not below " + r.tree.shown
	}
	for _, h := range found {
		if h.obstacle == "" {
			h.obstacle = obstacle
		}
	}
	return nil
}

// imported are the Secrets that were imported from a namespace of this cluster
// before; an empty one stands for all.
func (r *importRun) imported(namespace string) []string {
	var ids []string
	for id, h := range r.held {
		if h.from == r.from && (namespace == "" || strings.HasPrefix(id, namespace+"/")) {
			ids = append(ids, id)
		}
	}
	return ids
}

// get takes Secrets one by one, some at a time.
func (r *importRun) get(ctx context.Context, ids []string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(16)
	for _, id := range ids {
		group.Go(func() error {
			namespace, name, _ := strings.Cut(id, "/")
			s, err := r.client.Secret(ctx, namespace, name)
			switch {
			case err != nil:
				return err
			case s != nil:
				return r.take(ctx, s, report.Error)
			case r.held[id] != nil:
				r.gone(id, "is no longer in "+r.client.Server())
			default:
				r.report(report.Finding{Rule: "secret-missing", Severity: report.Error, Position: report.Position{File: id},
					Message: "there is no such Secret in " + r.client.Server(), Hint: "kubectl get secrets -n " + namespace})
			}
			return nil
		})
	}
	return group.Wait()
}

// selected takes the Secrets whose labels match the selector.
func (r *importRun) selected(ctx context.Context, namespace string, matches labels.Selector) error {
	group, within := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	err := r.client.Secrets(within, namespace, r.selector, func(s *kubeconfig.Secret) error {
		id := s.Namespace + "/" + s.Name
		if r.seen[id] { // a page may repeat what has come before it
			return nil
		}
		r.seen[id] = true
		group.Go(func() error { return r.take(within, s, report.Warning) })
		return nil
	})
	// A Secret that could not be taken ends the listing.
	if taken := group.Wait(); taken != nil {
		err = taken
	}
	if err != nil {
		return err
	}
	for _, id := range r.imported(namespace) {
		if !r.seen[id] && matches.Matches(r.held[id].labels) {
			r.gone(id, "is no longer in "+r.client.Server()+", or has other labels")
		}
	}
	return nil
}

// gone reports a Secret that only Git holds.
func (r *importRun) gone(id, where string) {
	severity := report.Warning
	if r.check {
		severity = report.Error
	}
	namespace, name, _ := strings.Cut(id, "/")
	r.report(report.Finding{Rule: "credential-drift", Severity: severity, Position: report.Position{File: r.tree.show(r.held[id].file)},
		Message: "Secret " + id + " " + where, Hint: fmt.Sprintf("kubectl get secret %s -n %s; if it is to be gone, remove the file, and the pairs that use it", name, namespace)})
}

func (r *importRun) report(f report.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, f)
}

// take encrypts one Secret of the cluster into its file. One that holds no
// kubeconfig is told of with the severity that it has for this run.
func (r *importRun) take(ctx context.Context, s *kubeconfig.Secret, severity report.Severity) error {
	id := s.Namespace + "/" + s.Name
	if !s.Holds() {
		r.report(report.Finding{Rule: "secret-key", Severity: severity, Position: report.Position{File: id},
			Message: "the Secret holds no kubeconfig, and is left out; it has " + strings.Join(slices.Sorted(maps.Keys(s.Data)), ", ")})
		return nil
	}
	file := pairFile(r.output, s.Namespace, s.Name)
	taken := report.Finding{Rule: "output-taken", Severity: report.Error, Hint: "move it away, or encrypt it as the only document of a file"}
	h := r.held[id]
	if h != nil {
		file, taken.Message = h.file, h.obstacle
		if h.from != "" && h.from != r.from {
			taken.Message, taken.Hint = "the Secret there comes from another cluster", "choose the cluster with --from-context, or import into another directory with --output; if the cluster has a new CA, remove the file first"
		}
	}
	shown := r.tree.show(file)
	taken.Position.File = shown
	if taken.Message != "" {
		r.report(taken)
		return nil
	}
	rel, err := r.tree.inside(file)
	if err != nil {
		return err
	}
	previous, err := r.tree.read(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		previous = nil
	case err != nil:
		return failed(fmt.Errorf("read %s: %w", shown, cause(err)))
	case h == nil:
		taken.Message = "the file exists and is not this Secret, so that it is not overwritten"
		r.report(taken)
		return nil
	}
	document, err := r.seal(ctx, s, previous, shown)
	var finding report.Finding
	switch {
	case errors.As(err, &finding):
		r.report(finding)
		return nil
	case err != nil:
		return err
	}
	if r.check && !bytes.Equal(document, previous) {
		f := report.Finding{Rule: "credential-drift", Severity: report.Error, Position: report.Position{File: shown}, Hint: "take it into Git: clusterpair import -n " + s.Namespace + " " + s.Name}
		if f.Message = "Secret " + id + " differs from that in " + r.client.Server(); previous == nil {
			f.Message = "Secret " + id + " of " + r.client.Server() + " is not in Git"
		}
		r.report(f)
	}
	return r.files.add(file, previous, document)
}

// seal encrypts one Secret with regard to the file of before.
func (r *importRun) seal(ctx context.Context, s *kubeconfig.Secret, previous []byte, shown string) ([]byte, error) {
	policy, err := filePolicy(shown, r.age)
	if err != nil {
		return nil, err
	}
	plain, sealed, err := r.document(s, previous, shown)
	if err != nil {
		return nil, err
	}
	document, change, err := r.safe.Encrypt(ctx, []*yaml.Node{plain}, previous, completePolicy(policy, secretSelector), sopsfile.EncryptOptions{Sealed: sealed, File: shown})
	if err != nil {
		return nil, sopsError(err, shown)
	}
	switch {
	case change.NoKey != nil && r.check:
		r.mu.Lock()
		r.noKey, r.unknown = change.NoKey, r.unknown+1
		r.mu.Unlock()
		r.report(report.Finding{Rule: "no-key", Severity: report.Warning, Position: report.Position{File: shown},
			Message: "without a key it cannot be told whether the Secret has changed: it could be guessed, so that there is no digest of it in clear", Hint: change.NoKey.Hint()})
		return previous, nil
	case change.NoKey != nil:
		r.report(report.Finding{Rule: "no-key", Severity: report.Info, Position: report.Position{File: shown},
			Message: "without a key it cannot be told whether the Secret has changed, as a digest in clear of one that could be guessed would allow the guess: it is encrypted anew", Hint: change.NoKey.Hint()})
	}
	return document, checkSealed(document, policy, shown)
}

// document is a Secret as it is to be encrypted, and whether it bears a
// digest. Labels, type and data are the cluster's. Of its annotations only those
// stay that say where the kubeconfig is: others may hold the Secret once more,
// in clear, as that of kubectl apply does. Annotations that somebody has written
// into the file stay.
func (r *importRun) document(s *kubeconfig.Secret, previous []byte, shown string) (doc *yaml.Node, sealed bool, err error) {
	annotations := make(map[string]string)
	if previous != nil {
		docs, err := manifest.Values(previous, shown)
		if err != nil {
			return nil, false, err
		}
		if a := manifest.Field(docs[0], "metadata", "annotations"); a != nil {
			_ = a.Decode(&annotations) // those that are no text are no annotations
		}
	}
	maps.DeleteFunc(annotations, func(key, _ string) bool {
		return strings.HasPrefix(key, "clusterpair.dev/") || key == lastApplied
	})
	for _, key := range kubeconfig.SecretAnnotations {
		if value, ok := s.Annotations[key]; ok {
			annotations[key] = value
		}
	}
	annotations["config.kubernetes.io/local-config"] = "true" // for generate, not for a cluster
	annotations[annotationImported] = r.from

	data := new(yaml.Node)
	encoded := make(map[string]string, len(s.Data))
	for key, value := range s.Data {
		encoded[key] = base64.StdEncoding.EncodeToString(value.Bytes)
	}
	if err := data.Encode(encoded); err != nil {
		return nil, false, fmt.Errorf("the Secret %s/%s cannot be written as YAML", s.Namespace, s.Name)
	}
	// It is only to tell of itself: generate judges it, with what a pair says.
	allow := make(map[string]bool)
	for _, rule := range kubeconfig.AllowableRules() {
		allow[rule] = true
	}
	d, _ := kubeconfig.FromSecret(s, kubeconfig.Options{Server: "https://destination.invalid", Allow: allow, Now: time.Now()})
	if d != nil {
		if end := d.Expires(); !end.IsZero() {
			annotations[generator.AnnotationExpires] = rfc3339(end)
		}
		if sealed = d.FullEntropy(); sealed {
			annotations[generator.AnnotationDigest] = generator.Digest(data, previous)
		}
	}

	metadata := map[string]any{"annotations": annotations, "name": s.Name, "namespace": s.Namespace}
	if len(s.Labels) > 0 {
		metadata["labels"] = s.Labels
	}
	doc = new(yaml.Node)
	if err := doc.Encode(map[string]any{"apiVersion": "v1", "data": data, "kind": "Secret", "metadata": metadata, "type": s.Type}); err != nil {
		return nil, false, fmt.Errorf("the Secret %s/%s cannot be written as YAML", s.Namespace, s.Name)
	}
	return doc, sealed, nil
}

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// finish writes the files, or none if there is an error, and says what became
// of them.
func (r *importRun) finish(cmd *cobra.Command) error {
	err := printFindings(cmd, r.findings)
	if err == nil {
		if err := commitAll(cmd.Context(), []*staging{&r.files}); err != nil {
			return err
		}
	}
	read, unread := r.expand(r.sources...), ""
	counts := make(map[string]int)
	var list bytes.Buffer
	for _, c := range r.files.sorted() {
		counts[c.verb]++
		if !read[c.path] {
			unread = c.path
		}
		fmt.Fprintf(&list, "%s %s\n", c.verb, r.files.show(c.path))
	}
	if err == nil {
		if _, err := cmd.OutOrStdout().Write(list.Bytes()); err != nil {
			return failed(err)
		}
	}
	switch {
	case r.check:
		fmt.Fprintf(cmd.ErrOrStderr(), "Secrets: would be %d created, %d changed, %d unchanged", counts[created], counts[changed], r.files.unchanged-r.unknown)
		if r.unknown > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), ", %d unknown", r.unknown)
		}
		fmt.Fprintln(cmd.ErrOrStderr())
	case err == nil:
		fmt.Fprintf(cmd.ErrOrStderr(), "Secrets: %d created, %d changed, %d unchanged\n", counts[created], counts[changed], r.files.unchanged)
	}
	if err == nil && !r.check && unread != "" && len(r.sources) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "generate does not read %s yet\n  hint: add %s to spec.files of the config\n", r.files.show(unread), r.output)
	}
	if err == nil && r.noKey != nil {
		err = failed(withHint(r.noKey, "%s", r.noKey.Hint()))
	}
	return err
}
