// Package importer takes kubeconfig Secrets from a cluster into the files of Git.
//
// [Begin] says where they go, [Run.ReadHeld] reads what Git holds, [Run.From] which
// cluster they come from. [Run.Get], [Run.Select] or [Run.Again] take them, each
// encrypted, and [Run.Finish] writes all files or none. What has not changed keeps its
// bytes, and no file is removed. A file that holds anything else is left alone.
// [Run.Adopt] takes the kubeconfigs of ClusterPairs that exist already, and
// [Run.WriteConfig] adds a config that renders them again.
package importer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/work"
	"clusterpair.dev/internal/worktree"
)

// annotationImported is on the Secrets of import: the digest of the key of the CA
// of the cluster that they come from, or its URL where a public CA vouches for it.
const annotationImported = "clusterpair.dev/imported-from"

// Options say what is taken, and where to.
type Options struct {
	// Config is a function config, or the directory of one; Output the directory for new
	// files, relative to that of the config.
	Config, Output string
	// Check runs write nothing: what the cluster has otherwise than Git is an error.
	Check bool
	// Age are recipients that take the place of the creation rules.
	Age []string
	// Flags are those with which kubectl, or this program, asks the same cluster, as
	// they are typed after a command.
	Flags string
}

// Run takes Secrets from one cluster. The caller closes it.
type Run struct {
	options Options
	client  *cluster.Client
	from    string // what annotationImported says of this cluster
	tree    *worktree.Tree
	safe    *sopsfile.Safe
	held    map[string]*heldSecret // by NAMESPACE/NAME
	// sources are the files of the configs.
	sources []string
	adopted []adoptedPair

	mu       sync.Mutex
	tx       *worktree.Transaction
	files    *worktree.Stage
	findings []report.Finding
	seen     map[string]bool
	noKey    *sopsfile.NoKeyError // what a check lacked, for how many
	unknown  int
}

// Begin starts a run, and reads nothing but where it is going to write.
func Begin(o Options) (*Run, error) {
	dir := o.Config
	info, err := os.Stat(dir)
	if err != nil {
		return nil, report.WithHint(fmt.Errorf("%s: %w", dir, worktree.Cause(err)), "name a function config or its directory with -f")
	}
	if !info.IsDir() {
		dir = filepath.Dir(dir)
	}
	if !filepath.IsLocal(o.Output) {
		return nil, report.Usage(report.WithHint(errors.New("--output is a directory below that of the config"), "name another config with -f, or leave out --output"))
	}
	r := &Run{options: o, safe: sopsfile.New(nil), held: make(map[string]*heldSecret), seen: make(map[string]bool)}
	if r.tree, err = worktree.Open(dir); err != nil {
		return nil, err
	}
	r.tx = worktree.Begin(o.Check)
	r.files = r.tx.Stage(r.tree, ".")
	return r, nil
}

// Close removes what was taken and not written.
func (r *Run) Close() {
	r.tx.Close()
	r.tree.Close()
}

// Dir is the directory in which the run writes.
func (r *Run) Dir() string { return r.tree.Abs(".") }

// Recover puts right what killed runs have left: see [worktree.Stage.Recover].
func (r *Run) Recover(ctx context.Context) ([]worktree.Recovered, error) { return r.files.Recover(ctx) }

// From sets the cluster that the Secrets come from. It must prove who it is.
func (r *Run) From(client *cluster.Client) error {
	r.client = client
	if !client.Verified() {
		return report.WithHint(errors.New("the cluster does not prove who it is: insecure-skip-tls-verify"), "give the kubeconfig its certificate-authority-data, or name the CA with --certificate-authority FILE")
	}
	endpoint, err := client.Endpoint()
	if err != nil {
		return err
	}
	r.from = cmp.Or(kubeconfig.CAKeyDigest(endpoint.CA), report.URL(endpoint.Server))
	return nil
}

// heldSecret is a Secret that Git holds, as far as it stands in clear.
type heldSecret struct {
	file     string // relative to the config
	labels   labels.Set
	from     string // which cluster, if it was imported
	obstacle string // why the file cannot be written
}

// ReadHeld finds the Secrets in the files of the config, and in the directory
// for new ones.
func (r *Run) ReadHeld() error {
	configs, err := configsOf(r.tree, r.options.Config)
	if err != nil {
		return err
	}
	for _, found := range configs {
		c, bad := found.Parse()
		if report.HasErrors(bad) {
			r.findings = append(r.findings, bad...)
			continue
		}
		r.sources = append(r.sources, c.Spec.Files...)
	}
	for file := range r.expand(append([]string{r.options.Output}, r.sources...)...) {
		if err := r.readFile(file); err != nil {
			return err
		}
	}
	return nil
}

// expand are the files that patterns mean. What is not there yet holds nothing.
func (r *Run) expand(patterns ...string) map[string]bool {
	all := make(map[string]bool)
	for _, pattern := range patterns {
		files, _ := r.tree.Expand(pattern, "")
		for _, file := range files {
			all[file] = true
		}
	}
	return all
}

// configsOf are the configs that a path means.
func configsOf(t *worktree.Tree, path string) ([]kustomize.Config, error) {
	var configs []kustomize.Config
	info, err := os.Stat(path)
	switch {
	case err != nil:
	case info.IsDir():
		configs, err = kustomize.Listed(t)
	default:
		configs, err = kustomize.In(t, filepath.Base(path))
	}
	return slices.DeleteFunc(configs, func(c kustomize.Config) bool { return c.Kind != generator.GeneratorKind }), err
}

// readFile notes the Secrets of one file.
func (r *Run) readFile(file string) error {
	data, err := r.tree.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Contains(data, []byte("Secret")) {
		return nil
	}
	var found []*heldSecret
	obstacle := ""
	documents := 0
	manifest.Scan(data, r.tree.Show(file), func(d manifest.Document, broken *report.Finding) {
		documents++
		if broken != nil {
			return
		}
		manifest.EachItem(d.Node, func(doc *yaml.Node) {
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
				h.obstacle = "the Secret stands in " + r.tree.Show(other.file) + ", too"
			}
			switch {
			case doc != d.Node || !sopsfile.IsEncrypted(doc):
				obstacle = "the Secret stands there in clear, or in a list"
			case manifest.Text(doc, "metadata", "annotations", holders.AnnotationAccount) != "":
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
		obstacle = "the file is not below " + r.tree.Shown
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
func (r *Run) imported(namespace string) []string {
	var ids []string
	for id, h := range r.held {
		if h.from == r.from && (namespace == "" || strings.HasPrefix(id, namespace+"/")) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Get takes the Secrets of a namespace that have these names.
func (r *Run) Get(ctx context.Context, namespace string, names []string) error {
	ids := make([]string, len(names))
	for i, name := range names {
		ids[i] = namespace + "/" + name
	}
	slices.Sort(ids)
	return r.get(ctx, slices.Compact(ids))
}

// Again takes the Secrets of a namespace, or of all if it is empty, that were imported
// from this cluster before. That there are none is wrong use.
func (r *Run) Again(ctx context.Context, namespace string) error {
	ids := r.imported(namespace)
	if len(ids) == 0 {
		return report.Usage(report.WithHint(fmt.Errorf("no Secret of %s was imported here before", r.client.Server()), "name one, by the same command with -n NAMESPACE NAME, or select them, with -A -l cluster.x-k8s.io/cluster-name"))
	}
	return r.get(ctx, ids)
}

// get takes Secrets one by one, some at a time.
func (r *Run) get(ctx context.Context, ids []string) error {
	group := work.NewGroup(16)
	for _, id := range ids {
		more := group.Go(id, func() error {
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
					Message: "there is no such Secret in " + r.client.Server(), Hint: "see those that there are: kubectl get secrets -n " + report.Typed(namespace) + r.options.Flags})
			}
			return nil
		})
		if !more {
			break
		}
	}
	return group.Wait()
}

// errStop ends a listing; what has gone wrong is said elsewhere.
var errStop = errors.New("stopped")

// Select takes the Secrets of a namespace, or of all if it is empty, whose labels match
// a selector, and tells of those that only Git holds.
func (r *Run) Select(ctx context.Context, namespace, selector string) error {
	matches, err := labels.Parse(selector)
	if err != nil {
		return report.Usage(report.WithHint(fmt.Errorf("-l: %w", err), "-l KEY=VALUE, or -l KEY"))
	}
	group := work.NewGroup(runtime.GOMAXPROCS(0))
	err = r.client.Secrets(ctx, namespace, selector, func(s *kubeconfig.Secret) error {
		id := s.Namespace + "/" + s.Name
		if r.seen[id] { // a page may repeat what has come before it
			return nil
		}
		r.seen[id] = true
		if other := kubeconfig.ForControllers(s.Name, s.Labels); other != "" && r.seen[s.Namespace+"/"+other] && r.held[id] == nil { // listed by their names
			r.report(report.Finding{Rule: "secret-key", Severity: report.Info, Position: report.Position{File: id},
				Message: "the Secret is for users of the cluster, and is left out beside " + other})
			return nil
		}
		if !group.Go(id, func() error { return r.take(ctx, s, report.Warning) }) {
			return errStop
		}
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
func (r *Run) gone(id, where string) {
	severity := report.Warning
	if r.options.Check {
		severity = report.Error
	}
	namespace, name, _ := strings.Cut(id, "/")
	r.report(report.Finding{Rule: "credential-drift", Severity: severity, Position: report.Position{File: r.tree.Show(r.held[id].file)},
		Message: "Secret " + id + " " + where, Hint: fmt.Sprintf("see whether it is to be gone: kubectl get secret %s -n %s%s; then the pairs that use it go with the file: rm %s", name, namespace, r.options.Flags, report.Typed(r.tree.Show(r.held[id].file)))})
}

// place are the flags that say where the run writes.
func (o Options) place() string {
	text := ""
	if o.Config != "." {
		text += " -f " + report.Typed(o.Config)
	}
	if o.Output != "secrets" {
		text += " -o " + report.Typed(o.Output)
	}
	return text
}

func (r *Run) report(f report.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, f)
}

// take encrypts one Secret of the cluster into its file. One that holds no
// kubeconfig is told of with the severity that it has for this run.
func (r *Run) take(ctx context.Context, s *kubeconfig.Secret, severity report.Severity) error {
	id := s.Namespace + "/" + s.Name
	if !s.Holds() {
		r.report(report.Finding{Rule: "secret-key", Severity: severity, Position: report.Position{File: id},
			Message: "the Secret holds no kubeconfig, and is left out; it has " + strings.Join(slices.Sorted(maps.Keys(s.Data)), ", ")})
		return nil
	}
	file := render.PairFile(r.options.Output, s.Namespace, s.Name)
	taken := report.Finding{Rule: "output-taken", Severity: report.Error, Hint: "move it away, or encrypt it as the only document of a file"}
	h := r.held[id]
	if h != nil {
		file, taken.Message = h.file, h.obstacle
		if h.from != "" && h.from != r.from {
			taken.Message, taken.Hint = "the Secret there comes from another cluster", "choose the cluster with --from-context, or import into another directory with --output; if the cluster has a new CA, remove the file first"
		}
	}
	shown := r.tree.Show(file)
	taken.Position.File = shown
	if taken.Message != "" {
		r.report(taken)
		return nil
	}
	rel, err := r.tree.Inside(file)
	if err != nil {
		return err
	}
	previous, err := r.tree.Read(rel)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		previous = nil
	case err != nil:
		return fmt.Errorf("read %s: %w", shown, worktree.Cause(err))
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
	if r.options.Check && !bytes.Equal(document, previous) {
		f := report.Finding{Rule: "credential-drift", Severity: report.Error, Position: report.Position{File: shown}, Hint: "take it into Git: clusterpair import -n " + s.Namespace + r.options.Flags + r.options.place() + " " + s.Name}
		if f.Message = "Secret " + id + " differs from that in " + r.client.Server(); previous == nil {
			f.Message = "Secret " + id + " of " + r.client.Server() + " is not in Git"
		}
		r.report(f)
	}
	return r.files.Add(file, previous, document)
}

// seal encrypts one Secret with regard to the file of before.
func (r *Run) seal(ctx context.Context, s *kubeconfig.Secret, previous []byte, shown string) ([]byte, error) {
	policy, err := seal.PolicyOf(shown, r.options.Age)
	if err != nil {
		return nil, err
	}
	plain, sealed, err := r.document(s, previous, shown)
	if err != nil {
		return nil, err
	}
	format, _ := seal.ObjectFormat(shown) // the file may have been there before
	document, change, err := r.safe.Encrypt(ctx, []*yaml.Node{plain}, previous, seal.ForSecret(policy), sopsfile.EncryptOptions{Sealed: sealed, File: shown, Format: format})
	if err != nil {
		return nil, seal.Explain(err, shown)
	}
	switch {
	case change.NoKey != nil && r.options.Check:
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
	return document, seal.CheckObject(document, plain, policy, shown)
}

// document is a Secret as it is to be encrypted, and whether it bears a
// digest. Labels, type and data are the cluster's. Of its annotations only those
// stay that say where the kubeconfig is: others may hold the Secret once more,
// in clear, as that of kubectl apply does. Annotations that somebody has written
// into the file stay.
func (r *Run) document(s *kubeconfig.Secret, previous []byte, shown string) (doc *yaml.Node, sealed bool, err error) {
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
		return strings.HasPrefix(key, "clusterpair.dev/") || key == seal.LastApplied
	})
	for _, key := range kubeconfig.SecretAnnotations {
		if value, ok := s.Annotations[key]; ok {
			annotations[key] = value
		}
	}
	annotations["config.kubernetes.io/local-config"] = "true" // for generate, not for a cluster
	if r.from != "" {
		annotations[annotationImported] = r.from
	}

	data := new(yaml.Node)
	encoded := make(map[string]string, len(s.Data))
	for key, value := range s.Data {
		encoded[key] = base64.StdEncoding.EncodeToString(value.Bytes)
	}
	if err := data.Encode(encoded); err != nil {
		return nil, false, fmt.Errorf("the Secret %s/%s cannot be written as YAML", s.Namespace, s.Name)
	}
	// The destination only tells which credential the Secret holds, and when it ends.
	// generate judges the kubeconfig, with what the config says of its pair.
	d, _ := kubeconfig.FromSecret(s, kubeconfig.Options{Server: "https://destination.invalid", Allow: kubeconfig.AllowAll(), Now: time.Now()})
	if d != nil {
		maps.Copy(annotations, d.End().Annotations())
		if id := d.CredentialID(); id != "" {
			annotations[generator.AnnotationCredentialID] = id
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

// Findings are what is wrong with what was taken.
func (r *Run) Findings() []report.Finding { return r.findings }

// Commit writes all files, or none.
func (r *Run) Commit(ctx context.Context) error { return r.tx.Commit(ctx) }

// Files are those that the run writes, or would write.
func (r *Run) Files() *worktree.Stage { return r.files }

// Finish writes the files, or none if a finding is an error, and says what became of the
// Secrets. A check writes none.
func (r *Run) Finish(ctx context.Context, talk report.Talk) error {
	err := talk.Print(r.findings)
	if err == nil {
		if err := r.Commit(ctx); err != nil {
			return err
		}
	}
	sum := worktree.Summarize(r.files)
	if err == nil {
		if _, err := io.WriteString(talk.Out, sum.List); err != nil {
			return err
		}
	}
	unknown, noKey := r.withoutKey()
	switch {
	case r.options.Check && unknown > 0:
		report.Say(talk.Err, "Secrets: would be %d created, %d changed, %d unchanged, %d unknown\n", sum.Created, sum.Changed, sum.Unchanged-unknown, unknown)
	case r.options.Check:
		report.Say(talk.Err, "Secrets: would be %d created, %d changed, %d unchanged\n", sum.Created, sum.Changed, sum.Unchanged)
	case err == nil:
		report.Say(talk.Err, "Secrets: %d created, %d changed, %d unchanged\n", sum.Created, sum.Changed, sum.Unchanged)
	}
	if unread := r.unread(); err == nil && !r.options.Check && unread != "" {
		report.Say(talk.Err, "generate does not read %s yet\n  hint: add %s to spec.files of the config\n", r.files.Show(unread), r.options.Output)
	}
	return cmp.Or(err, noKey)
}

// unread is a file that was written, by its path relative to the config, and that no
// config reads; empty if there is none, or no config reads any.
func (r *Run) unread() string {
	if len(r.sources) == 0 {
		return ""
	}
	read, unread := r.expand(r.sources...), ""
	for _, c := range r.files.Changes() {
		if !read[c.Path] {
			unread = c.Path
		}
	}
	return unread
}

// withoutKey is of how many Secrets a check could not tell whether they have changed, for
// want of a key: err says of which.
func (r *Run) withoutKey() (count int, err error) {
	if r.noKey == nil {
		return 0, nil
	}
	return r.unknown, report.WithHint(r.noKey, "%s", r.noKey.Hint())
}
