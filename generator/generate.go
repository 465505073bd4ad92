// Package generator renders encrypted ClusterPairs from the kubeconfig Secrets
// of destination clusters.
//
// Start with [ParseConfig], then call [Generate]; [Process] does both for a
// kustomize function. The package takes values: files, keys and clusters are
// behind the interfaces [SecretSource] and [Encrypter]. It promises that a
// pair is handed on only if every check on its plaintext has passed, and that
// no value of a credential stands in a finding or an error.
package generator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/labels"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/work"
	"clusterpair.dev/schema"
)

// SecretSource gives the documents that kubeconfigs come from, decrypted.
type SecretSource interface {
	// Files lists the names of what Documents can read, each once.
	Files() []string
	// Documents parses one of the Files. A [report.Finding] as error says that
	// the file is bad and lets the run go on to find more; any other error
	// ends the run. Called from several goroutines at once.
	Documents(ctx context.Context, file string) ([]*yaml.Node, error)
}

// Encrypter seals a rendered pair and knows what an earlier run made of it. Its
// methods are called from several goroutines at once.
type Encrypter interface {
	// Previous is the rendered document of an earlier run, nil if there is none.
	Previous(namespace, name string) ([]byte, error)
	// Encrypt turns the plaintext into the document to commit, which is
	// previous itself if nothing changed. sealed tells that the clear part of
	// the plaintext holds a digest of its secret part. The findings are what
	// the user should know about the document.
	Encrypt(ctx context.Context, namespace, name string, plain *yaml.Node, previous []byte, sealed bool) ([]byte, []report.Finding, error)
}

// Inputs is what a run of [Generate] works with.
type Inputs struct {
	Secrets   SecretSource
	Encrypter Encrypter
	// Plaintext tells that the Encrypter does not encrypt: a digest of what
	// stands in clear would only change from run to run.
	Plaintext bool
	// Now decides about expiry.
	Now time.Time
	// Generated are the names of Secrets that kustomize makes and that are in
	// no file, for hints.
	Generated []string
	// Consumed, if set, is told each file that a pair was rendered from.
	Consumed func(file string)
	// Only, if not nil, are those of the Files whose destinations are rendered.
	// The pairs of the others are left out, and the others are read only if a
	// pair takes its storage token from a Secret that is in none of these.
	Only []string
	// Known, if set, gives what is known of a file whose documents are those of an
	// earlier run; nil if that is to be forgotten.
	Known func(file string) *Known
}

// Known keeps what runs of one time have found in the Secrets of a file, which several
// configs take in: a kubeconfig is then judged once.
type Known struct {
	mu      sync.Mutex
	secrets map[string]known
}

// known is a Secret, or the destination in it.
type known struct {
	secret      *kubeconfig.Secret
	destination *kubeconfig.Destination
	findings    []report.Finding
}

// get gives what is known under a name, and calls find where nothing is.
func (k *Known) get(name string, find func() known) known {
	if k == nil {
		return find()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	found, ok := k.secrets[name]
	if !ok {
		found = find()
		if k.secrets == nil {
			k.secrets = make(map[string]known)
		}
		k.secrets[name] = found
	}
	return found
}

// Result is one rendered pair.
type Result struct {
	Namespace, Name string
	// Index is the place of the pair in the config; with a selector it is 0
	// and namespace and name decide the order.
	Index int
	// Document is what to commit, Previous what an earlier run made.
	Document, Previous []byte
}

// Generate renders every pair of the config and hands each to emit, in no
// particular order and from several goroutines at once. It keeps no document:
// memory does not grow with the number of pairs. Findings with severity Error
// mean that some pairs were not rendered; then nothing that was emitted may be
// used. An error means that the run could not be done: a file, a key or the
// network failed, emit did, or ctx ended.
func Generate(ctx context.Context, c *Config, in Inputs, emit func(Result) error) ([]report.Finding, error) {
	r := &run{config: c, in: in, emit: emit, jobs: make([]*job, len(c.Spec.Pairs)), rendered: make(map[string]report.Position), matched: make(map[string]bool)}
	for i := range c.Spec.Pairs {
		r.addJob(i, &c.Spec.Pairs[i])
	}
	files := in.Secrets.Files()
	if err := r.selectorToken(ctx, files); err != nil {
		return r.findings, err
	}
	var err error
	if in.Only == nil {
		err = r.read(ctx, files)
	} else {
		err = r.read(ctx, in.Only)
		if err == nil && slices.ContainsFunc(r.jobs, (*job).lacksToken) {
			r.tokensOnly = true
			err = r.read(ctx, slices.DeleteFunc(slices.Clone(files), func(f string) bool { return slices.Contains(in.Only, f) }))
		}
	}
	if err == nil {
		err = r.readPersonal(ctx)
	}
	if err == nil {
		r.missing()
	}
	report.Sort(r.findings)
	return r.findings, err
}

// read takes in all documents of the files.
func (r *run) read(ctx context.Context, files []string) error {
	group := work.NewGroup(runtime.GOMAXPROCS(0))
	for _, file := range files {
		if ctx.Err() != nil || !group.Go(file, func() error { return r.file(ctx, file) }) {
			break
		}
	}
	return cmp.Or(group.Wait(), ctx.Err())
}

// run is the state of one Generate.
type run struct {
	config *Config
	in     Inputs
	emit   func(Result) error

	// jobs, byName and byFile are fixed before the first file is read.
	jobs   []*job
	byName map[string][]*job
	tokens map[string][]*job
	byFile map[string][]*job

	// token is the storage token of the selector's pairs, if it comes from a
	// Secret; fixed before the workers start.
	token string

	// tokensOnly tells that the files are read for storage tokens.
	tokensOnly bool

	mu       sync.Mutex
	findings []report.Finding
	rendered map[string]report.Position
	unread   bool     // whether a file could not be read
	others   []string // names of Secrets that no pair wanted, for hints
	bare     []string // files with a kubeconfig that no pair names, for hints

	matched  map[string]bool // the Secrets that the selector has taken, NAMESPACE/NAME
	personal []personal
	last     bool // whether the personal ones are being taken in
}

// personal is a Secret with the kubeconfig of a cluster's users, which waits for all
// others: the selector takes it if there is none for controllers.
type personal struct {
	file    string
	doc     *yaml.Node
	header  header
	instead string // the Secret for controllers, NAMESPACE/NAME
}

// readPersonal takes in the Secrets for users of clusters that have no other.
func (r *run) readPersonal(ctx context.Context) error {
	r.last = true
	for _, p := range r.personal {
		if r.matched[p.instead] {
			continue
		}
		if err := r.secret(ctx, p.file, p.doc, p.header); err != nil {
			return err
		}
	}
	return nil
}

// job is one pair on its way: it is rendered as soon as its destination and,
// if it refers to one, its storage token have been seen.
type job struct {
	pair  *Pair
	index int

	mu          sync.Mutex
	destination *kubeconfig.Destination
	destFile    string
	destAt      report.Position
	token       string
	tokenAt     report.Position
	failed      bool
}

func (r *run) addJob(i int, p *Pair) {
	j := &job{pair: p, index: i, token: p.Options.Token}
	r.jobs[i] = j
	add := func(m *map[string][]*job, key string) {
		if *m == nil {
			*m = make(map[string][]*job)
		}
		(*m)[key] = append((*m)[key], j)
	}
	if s := p.Destination.Secret; s != nil {
		add(&r.byName, s.Name)
	} else {
		add(&r.byFile, p.Destination.File)
	}
	if from := p.Options.TokenFrom; from != nil {
		add(&r.tokens, from.Secret.Name)
	}
}

// selectorToken finds the storage token that all pairs of a selector take from
// one Secret. It reads the files once more than a run without.
func (r *run) selectorToken(ctx context.Context, files []string) error {
	s := r.config.Spec.Selector
	if s == nil || s.Options.TokenFrom == nil {
		return nil
	}
	want := s.Options.TokenFrom.Secret
	j := &job{pair: &Pair{Name: "selector", PairSettings: PairSettings{Options: s.Options}, Position: s.position}}
	var look func(file string, doc *yaml.Node) error
	look = func(file string, doc *yaml.Node) error {
		h := readHeader(doc)
		if items := manifest.Field(doc, "items"); items != nil && (h.kind == "List" || h.kind == "SecretList") {
			for _, item := range items.Content {
				if err := look(file, item); err != nil {
					return err
				}
			}
		}
		if h.kind != "Secret" || h.name != want.Name || want.Namespace != "" && want.Namespace != h.namespace {
			return nil
		}
		secret, findings := kubeconfig.ParseSecret(doc, file)
		if r.report(findings...); report.HasErrors(findings) {
			j.fail()
			return nil
		}
		return r.offerToken(ctx, j, file, secret)
	}
	for _, file := range files {
		docs, err := r.in.Secrets.Documents(ctx, file)
		if err != nil {
			if errors.As(err, new(report.Finding)) {
				continue // the run proper reports it
			}
			return err
		}
		for _, doc := range docs {
			if err := look(file, doc); err != nil {
				return err
			}
		}
	}
	if j.tokenAt == (report.Position{}) && !j.failed {
		r.report(report.Finding{Rule: "secret-missing", Severity: report.Error, Position: s.position, Path: "spec.selector.options.tokenFrom",
			Message: fmt.Sprintf("Secret %s with the storage token of the selected pairs is in none of the inputs", want), Hint: "list the file that holds it under spec.files"})
	}
	r.token = j.token
	return nil
}

// file takes in all documents of one file.
func (r *run) file(ctx context.Context, file string) error {
	docs, err := r.in.Secrets.Documents(ctx, file)
	var finding report.Finding
	if errors.As(err, &finding) {
		r.report(finding)
		r.mu.Lock()
		r.unread = true
		r.mu.Unlock()
		return nil
	} else if err != nil {
		return err
	}
	for _, doc := range docs {
		if err := r.document(ctx, file, doc); err != nil {
			return err
		}
	}
	return nil
}

// document offers one document, or each item of a List, to the pairs.
func (r *run) document(ctx context.Context, file string, doc *yaml.Node) error {
	h := readHeader(doc)
	switch {
	case h.kind == "List" || h.kind == "SecretList":
		if items := manifest.Field(doc, "items"); items != nil {
			for _, item := range items.Content {
				if err := r.document(ctx, file, item); err != nil {
					return err
				}
			}
		}
		return nil
	case h.kind == "Secret":
		return r.secret(ctx, file, doc, h)
	case kubeconfig.IsKubeconfig(doc) && !r.tokensOnly:
		if len(r.byFile[file]) == 0 {
			r.mu.Lock()
			r.bare = append(r.bare, file)
			r.mu.Unlock()
		}
		for _, j := range r.byFile[file] {
			o := r.options(j.pair)
			err := r.offer(ctx, j, file, manifest.Position(doc, file), func() (*kubeconfig.Destination, []report.Finding) {
				return kubeconfig.FromDocument(doc, file, o)
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// secret offers a Secret to the pairs that name it and to the selector.
func (r *run) secret(ctx context.Context, file string, doc *yaml.Node, h header) error {
	var jobs, tokens []*job
	for _, j := range r.byName[h.name] {
		if ns := j.pair.Destination.Secret.Namespace; ns == "" || ns == h.namespace {
			jobs = append(jobs, j)
		}
	}
	jobs = append(jobs, r.byFile[file]...)
	for _, j := range r.tokens[h.name] {
		if ns := j.pair.Options.TokenFrom.Secret.Namespace; ns == "" || ns == h.namespace {
			tokens = append(tokens, j)
		}
	}
	if r.tokensOnly {
		jobs = nil
	} else if s := r.config.Spec.Selector; s != nil && s.Takes(h.namespace, h.name, h.labels) {
		if other := kubeconfig.ForControllers(h.name, h.labels); other != "" && !r.last {
			r.mu.Lock()
			r.personal = append(r.personal, personal{file, doc, h, SecretReference{Name: other, Namespace: h.namespace}.String()})
			r.mu.Unlock()
			return nil
		}
		p, err := s.pair(h)
		if err != nil {
			r.report(report.Finding{Rule: "pair-name", Severity: report.Error, Position: manifest.Position(doc, file), Message: err.Error()})
			return nil
		}
		r.mu.Lock()
		r.matched[h.String()] = true
		r.mu.Unlock()
		jobs = append(jobs, &job{pair: &p, token: cmp.Or(p.Options.Token, r.token)})
	}
	if len(jobs)+len(tokens) == 0 {
		r.mu.Lock()
		if len(r.others) < 100 {
			r.others = append(r.others, h.String())
		}
		r.mu.Unlock()
		return nil
	}
	return r.offerAll(ctx, file, doc, h, jobs, tokens)
}

// offerAll offers a Secret to those that take their destination from it, and to those
// that take their storage token.
func (r *run) offerAll(ctx context.Context, file string, doc *yaml.Node, h header, jobs, tokens []*job) error {
	var before *Known
	if r.in.Known != nil {
		before = r.in.Known(file)
	}
	id := fmt.Sprintf("%s %d:%d", h, doc.Line, doc.Column)
	parsed := before.get(id, func() (k known) {
		k.secret, k.findings = kubeconfig.ParseSecret(doc, file)
		return k
	})
	secret := parsed.secret
	r.report(parsed.findings...)
	if report.HasErrors(parsed.findings) {
		for _, j := range slices.Concat(jobs, tokens) {
			j.fail()
		}
		return nil
	}
	for _, j := range tokens {
		if err := r.offerToken(ctx, j, file, secret); err != nil {
			return err
		}
	}
	for _, j := range jobs {
		o := r.options(j.pair)
		err := r.offer(ctx, j, file, secret.Position, func() (*kubeconfig.Destination, []report.Finding) {
			k := before.get(fmt.Sprintf("%s %#v", id, o), func() (k known) {
				k.destination, k.findings = kubeconfig.FromSecret(secret, o)
				return k
			})
			return k.destination, k.findings
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// options are the choices of a pair about its kubeconfig.
func (r *run) options(p *Pair) kubeconfig.Options {
	o := kubeconfig.Options{
		Context: p.Destination.Context, Server: p.Destination.Server, TLSServerName: p.Destination.TLSServerName,
		StorkVersion: r.config.Spec.StorkVersion, Within: r.config.within(), Now: r.in.Now,
	}
	if s := p.Destination.Secret; s != nil {
		o.Key = s.Key
	}
	for _, a := range p.Allow {
		if o.Allow == nil {
			o.Allow = make(map[string]bool)
		}
		o.Allow[a.Rule] = true
	}
	return o
}

// offer gives a job its destination, and renders it if that was all it lacked.
func (r *run) offer(ctx context.Context, j *job, file string, at report.Position, parse func() (*kubeconfig.Destination, []report.Finding)) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.destAt != (report.Position{}) {
		r.report(ambiguous(j.pair, "its destination", j.destAt, at))
		return nil
	}
	j.destAt = at
	d, findings := parse()
	r.report(findings...)
	if report.HasErrors(findings) {
		j.failed = true
		return nil
	}
	j.destination, j.destFile = d, file
	return r.render(ctx, j)
}

// offerToken gives a job the storage token that it takes from a Secret.
func (r *run) offerToken(ctx context.Context, j *job, file string, s *kubeconfig.Secret) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.tokenAt != (report.Position{}) {
		r.report(ambiguous(j.pair, "its storage token", j.tokenAt, s.Position))
		return nil
	}
	j.tokenAt = s.Position
	key := cmp.Or(j.pair.Options.TokenFrom.Secret.Key, "token")
	value, ok := s.Data[key]
	token := strings.TrimSpace(string(value.Bytes))
	f := report.Finding{Rule: "storage-options-incomplete", Severity: report.Error, Position: s.Position, Path: "options.tokenFrom"}
	switch {
	case !ok:
		f.Message = fmt.Sprintf("Secret %s has no key %q for the storage token of pair %s", s.Name, key, j.pair.Name)
		f.Hint = "set options.tokenFrom.secret.key to one of the Secret's keys"
	case token == "" || strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c == 0x7f }):
		f.Position = value.Position
		f.Message = fmt.Sprintf("the storage token under key %q is empty or holds white space", key)
		f.Hint = "take a new one on the destination: pxctl cluster token show"
	default:
		if r.in.Consumed != nil {
			r.in.Consumed(file)
		}
		j.token = token
		return r.render(ctx, j)
	}
	r.report(f)
	j.failed = true
	return nil
}

func ambiguous(p *Pair, what string, first, second report.Position) report.Finding {
	return report.Finding{Rule: "secret-ambiguous", Severity: report.Error, Position: second, Path: "destination.secret",
		Message: fmt.Sprintf("pair %s finds %s twice, first at %s", p.Name, what, first),
		Hint:    "name the namespace in destination.secret, or list only one of the two files"}
}

// render renders, checks and encrypts a job that has all it needs, and emits
// it. The job is locked.
func (r *run) render(ctx context.Context, j *job) error {
	p := j.pair
	if j.failed || j.destination == nil || p.Options.TokenFrom != nil && j.token == "" {
		return nil
	}
	at := p.Position
	if at.Line == 0 {
		at = j.destAt
	}
	id := p.Namespace + "/" + p.Name
	r.mu.Lock()
	first, twice := r.rendered[id]
	r.rendered[id] = j.destAt
	r.mu.Unlock()
	if twice {
		r.report(report.Finding{Rule: "duplicate-pair", Severity: report.Error, Position: j.destAt,
			Message: fmt.Sprintf("the selector renders ClusterPair %s twice, first from %s", id, first),
			Hint:    "set selector.name to a template that tells the Secrets apart, such as ${namespace}-${name}"})
		return nil
	}

	previous, err := r.in.Encrypter.Previous(p.Namespace, p.Name)
	if err != nil {
		return r.finding(err)
	}
	sealed := j.destination.FullEntropy() && !r.in.Plaintext
	var salt []byte
	if sealed {
		salt = saltAfter(previous)
	}
	plain := r.config.render(p, j.destination, j.token, salt)
	// The schema knows the mode rule, too; ParseConfig has said it at the place
	// in the config that decides it.
	findings := slices.DeleteFunc(
		schema.Validate("#"+ClusterPairKind, plain, at.File, schema.Options{StorkVersion: r.config.Spec.StorkVersion}),
		func(f report.Finding) bool { return f.Rule == "mode-on-single-fabric" })
	for i := range findings {
		findings[i].Position = at
	}
	r.report(findings...)
	if report.HasErrors(findings) {
		return nil
	}
	document, findings, err := r.in.Encrypter.Encrypt(ctx, p.Namespace, p.Name, plain, previous, sealed)
	if err != nil {
		return r.finding(err)
	}
	r.report(findings...)
	if r.in.Consumed != nil {
		r.in.Consumed(j.destFile)
	}
	j.destination = nil
	return r.emit(Result{Namespace: p.Namespace, Name: p.Name, Index: j.index, Document: document, Previous: previous})
}

// missing reports the pairs whose Secrets were not found, unless they may
// stand in a file that could not be read.
func (r *run) missing() {
	if r.unread {
		return
	}
	for _, j := range r.jobs {
		p := j.pair
		if r.in.Only != nil && !j.lacksToken() {
			continue
		}
		if j.destAt == (report.Position{}) && !j.failed {
			f := report.Finding{Rule: "secret-missing", Severity: report.Error, Position: p.Position, Path: "destination"}
			if s := p.Destination.Secret; s != nil {
				f.Message = fmt.Sprintf("Secret %s of pair %s is in none of the %d inputs", s, p.Name, len(r.in.Secrets.Files()))
				f.Hint = r.otherSecrets(*s)
				if file := r.bareKubeconfig(s.Name); file != "" {
					f.Message += "; " + file + " is a kubeconfig and no Secret"
					f.Hint = "name the file itself: destination: {file: " + r.fromConfig(file) + "}"
				}
			} else {
				f.Message = fmt.Sprintf("%s holds no kubeconfig for pair %s", p.Destination.File, p.Name)
				f.Hint = "the file is to be a kubeconfig (kind: Config) or a Secret that holds one"
			}
			r.report(f)
		}
		if from := p.Options.TokenFrom; from != nil && j.tokenAt == (report.Position{}) && !j.failed {
			r.report(report.Finding{Rule: "secret-missing", Severity: report.Error, Position: p.Position, Path: "options.tokenFrom",
				Message: fmt.Sprintf("Secret %s with the storage token of pair %s is in none of the inputs", from.Secret, p.Name),
				Hint:    r.otherSecrets(from.Secret)})
		}
	}
	if s := r.config.Spec.Selector; s != nil && r.in.Only == nil && len(r.matched) == 0 && !report.HasErrors(r.findings) {
		r.report(report.Finding{Rule: "secret-missing", Severity: report.Error, Position: s.position, Path: "spec.selector",
			Message: "no Secret matches the selector", Hint: "see the labels of the Secrets: grep -A3 labels: FILE"})
	}
}

// bareKubeconfig is the file of a kubeconfig that is most like a name, "" if no
// file holds one that no pair names.
func (r *run) bareKubeconfig(name string) string {
	slices.Sort(r.bare)
	for _, file := range r.bare {
		if strings.Contains(filepath.Base(file), name) || strings.Contains(name, strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))) {
			return file
		}
	}
	if len(r.bare) > 0 && len(r.others) == 0 {
		return r.bare[0]
	}
	return ""
}

// fromConfig is the path of a file as a config names it.
func (r *run) fromConfig(file string) string {
	if rel, err := filepath.Rel(filepath.Dir(r.config.Position.File), file); err == nil {
		return filepath.ToSlash(rel)
	}
	return file
}

// otherSecrets is a hint about the Secrets that are there.
func (r *run) otherSecrets(want SecretReference) string {
	if slices.Contains(r.in.Generated, want.Name) {
		return "a secretGenerator makes it, and generate reads files only: list a Secret of that name under spec.files, or name the kubeconfig itself with destination: {file: PATH}"
	}
	if len(r.others) == 0 {
		return "list the file that holds it under spec.files, or the Secret under resources of the kustomization when the config is a transformer"
	}
	slices.Sort(r.others)
	if near := report.Nearest(want.String(), r.others); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	if len(r.others) > 10 {
		return fmt.Sprintf("there are %s and more", strings.Join(r.others[:10], ", "))
	}
	return "there is " + strings.Join(r.others, ", ")
}

// report takes findings in.
func (r *run) report(fs ...report.Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.findings = append(r.findings, fs...)
}

// finding reports an error that is a finding, and gives back any other.
func (r *run) finding(err error) error {
	var f report.Finding
	if errors.As(err, &f) {
		r.report(f)
		return nil
	}
	return err
}

// lacksToken tells whether a pair is to be rendered as soon as its storage token
// is found.
func (j *job) lacksToken() bool {
	return j.destination != nil && j.pair.Options.TokenFrom != nil && j.tokenAt == (report.Position{}) && !j.failed
}

func (j *job) fail() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = true
}

// header is what tells a Secret from others.
type header struct {
	kind, name, namespace string
	labels                labels.Set
}

func (h header) String() string {
	return SecretReference{Name: h.name, Namespace: h.namespace}.String()
}

// readHeader reads the kind and the identifying metadata of a document.
func readHeader(doc *yaml.Node) header {
	var h header
	if k := manifest.Field(doc, "kind"); k != nil {
		h.kind = k.Value
	}
	m := manifest.Field(doc, "metadata")
	if n := manifest.Field(m, "name"); n != nil {
		h.name = n.Value
	}
	if n := manifest.Field(m, "namespace"); n != nil {
		h.namespace = n.Value
	}
	if l := manifest.Field(m, "labels"); l != nil && l.Kind == yaml.MappingNode {
		h.labels = make(labels.Set, len(l.Content)/2)
		for i := 0; i+1 < len(l.Content); i += 2 {
			h.labels[l.Content[i].Value] = l.Content[i+1].Value
		}
	}
	return h
}
