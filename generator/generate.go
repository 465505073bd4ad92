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
	// Index is what can be told without a key of the documents of one of the Files, nil
	// if that is too little.
	Index(file string) []Sealed
}

// Encrypter seals a rendered pair and knows what an earlier run made of it. Its
// methods are called from several goroutines at once.
type Encrypter interface {
	// Previous is the rendered document of an earlier run, nil if there is none.
	Previous(namespace, name string) ([]byte, error)
	// Encrypt turns the plaintext into the document to commit, which is
	// previous itself if nothing changed. sealed tells that the clear part of
	// the plaintext holds a digest of its secret part. source is a digest of what
	// the pair was rendered from, nil if it is to carry none. The findings are what
	// the user should know about the document.
	Encrypt(ctx context.Context, namespace, name string, plain *yaml.Node, previous []byte, sealed bool, source []byte) ([]byte, []report.Finding, error)
	// State tells whether the document of an earlier run is to stay, by what it says
	// about its source. It opens nothing. A credential that ends before soon does not
	// make it stale; due then tells that the user is to be told.
	State(namespace, name string, source []byte, soon time.Time) (state State, due bool, err error)
}

// Inputs is what a run of [Generate] works with.
type Inputs struct {
	Secrets   SecretSource
	Encrypter Encrypter
	// Plaintext tells that the Encrypter does not encrypt: a digest of what
	// stands in clear would only change from run to run.
	Plaintext bool
	// Values says whether the Secrets of pairs are decrypted that are fresh by what
	// stands in clear.
	Values Values
	// NoKey tells the error of Secrets.Documents that a key would cure. It is needed
	// with IfKey alone.
	NoKey func(error) bool
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
	// Fresh and Stale say of a pair that it was not rendered, as there was no reason to,
	// or as nothing was to be opened. Then there is neither a Document nor a Previous.
	// Missing tells that a stale pair has no file yet.
	Fresh, Stale, Missing bool
	// Unknown says of a pair that was not to be rendered that it does not tell.
	Unknown bool
	// Document is what to commit, Previous what an earlier run made.
	Document, Previous []byte
	// File is the one that the kubeconfig is in.
	File string
}

// Generate renders every pair of the config and hands each to emit, in no
// particular order and from several goroutines at once. It keeps no document:
// memory does not grow with the number of pairs. Findings with severity Error
// mean that some pairs were not rendered; then nothing that was emitted may be
// used. An error means that the run could not be done: a file, a key or the
// network failed, emit did, or ctx ended.
func Generate(ctx context.Context, c *Config, in Inputs, emit func(Result) error) ([]report.Finding, error) {
	r := &run{config: c, in: in, emit: emit, jobs: make([]job, len(c.Spec.Pairs)), rendered: make(map[string]report.Position, len(c.Spec.Pairs)), matched: make(map[string]bool)}
	for i := range c.Spec.Pairs {
		r.addJob(i, &c.Spec.Pairs[i])
	}
	if s := c.Spec.Selector; s != nil {
		r.settings = settingsOf(&s.PairSettings)
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
		if err == nil && r.lacksToken() {
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
	return slices.Compact(r.findings), err // several pairs take the same Secret
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
	jobs   []job
	byName map[string][]*job
	tokens map[string][]*job
	byFile map[string][]*job

	// token is the Secret with the storage token of the selector's pairs, nil if there
	// is none; fixed before the workers start.
	token *document

	// settings are those of the selector, for digests; fixed before the workers start.
	settings []byte

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
	doc     *document
	instead string // the Secret for controllers, NAMESPACE/NAME
}

const kubeconfigHint = "the file is to be a kubeconfig (kind: Config) or a Secret that holds one"

// document may hold a kubeconfig or a storage token. It is opened when that is needed.
type document struct {
	header
	file       string
	at         report.Position
	kubeconfig bool   // or what may be one
	opaque     bool   // what it is is encrypted, too
	digest     []byte // of the encrypted values; nil if it has any in clear
	from       *opening
}

// opening opens a file once. Its documents are forgotten with it.
type opening struct {
	file string
	once sync.Once
	docs []*yaml.Node
	err  error
}

func (o *opening) documents(ctx context.Context, r *run) ([]*yaml.Node, error) {
	o.once.Do(func() {
		var docs []*yaml.Node
		docs, o.err = r.in.Secrets.Documents(ctx, o.file)
		if _, ok := errors.AsType[report.Finding](o.err); ok {
			r.mu.Lock()
			r.unread = true
			r.mu.Unlock()
		}
		for _, doc := range docs {
			manifest.EachItem(doc, func(item *yaml.Node) { o.docs = append(o.docs, item) })
		}
	})
	return o.docs, o.err
}

// open is the document, decrypted.
func (d *document) open(ctx context.Context, r *run) (*yaml.Node, error) {
	docs, err := d.from.documents(ctx, r)
	if err != nil {
		return nil, err
	}
	var same *yaml.Node
	for _, doc := range docs {
		if h := readHeader(doc); d.opaque && h.kind != "Secret" && !kubeconfig.IsKubeconfig(doc) || !d.opaque && h.String() != d.String() {
			continue
		}
		if same == nil || manifest.Position(doc, d.file) == d.at { // a Secret that is about to be written has no place yet
			same = doc
		}
	}
	switch {
	case same == nil && d.opaque:
		return nil, report.Finding{Rule: "secret-missing", Severity: report.Error, Position: d.at, Message: d.file + " holds no kubeconfig", Hint: kubeconfigHint}
	case same == nil:
		return nil, report.Finding{Rule: "secret-missing", Severity: report.Error, Position: d.at, Message: fmt.Sprintf("Secret %s is not there any more: the file has changed", d), Hint: "give the same command again"}
	}
	return same, nil
}

// readPersonal takes in the Secrets for users of clusters that have no other.
func (r *run) readPersonal(ctx context.Context) error {
	r.last = true
	for _, p := range r.personal {
		if r.matched[p.instead] {
			continue
		}
		if err := r.secret(ctx, p.doc); err != nil {
			return err
		}
	}
	return nil
}

// job is one pair on its way: it is rendered as soon as its destination and,
// if it refers to one, its storage token have been seen.
type job struct {
	pair     *Pair
	index    int
	selected bool // by the selector

	mu          sync.Mutex
	destination *document // nil until it has been seen, and afterwards
	destAt      report.Position
	token       *document // the same of its storage token
	tokenAt     report.Position
	failed      bool
}

func (r *run) addJob(i int, p *Pair) {
	j := &r.jobs[i]
	j.pair, j.index = p, i
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

// selectorToken finds the Secret with the storage token that all pairs of a selector
// take.
func (r *run) selectorToken(ctx context.Context, files []string) error {
	s := r.config.Spec.Selector
	if s == nil || s.Options.TokenFrom == nil {
		return nil
	}
	want := s.Options.TokenFrom.Secret
	p := &Pair{Name: "selector", PairSettings: PairSettings{Options: s.Options}, Position: s.position}
	for _, file := range files {
		docs, err := r.documents(ctx, file)
		if err != nil {
			if errors.As(err, new(report.Finding)) {
				continue // the run proper reports it
			}
			return err
		}
		for _, d := range docs {
			switch {
			case d.kind != "Secret" || d.name != want.Name || want.Namespace != "" && want.Namespace != d.namespace:
			case r.token != nil:
				r.report(ambiguous(p, "its storage token", r.token.at, d.at))
			default:
				r.token = d
			}
		}
	}
	if r.token == nil {
		r.report(report.Finding{Rule: "secret-missing", Severity: report.Error, Position: s.position, Path: "spec.selector.options.tokenFrom",
			Message: fmt.Sprintf("Secret %s with the storage token of the selected pairs is in none of the inputs", want), Hint: "list the file that holds it under spec.files"})
	}
	return nil
}

// documents are those of a file. It is opened only if that is needed to tell which they
// are.
func (r *run) documents(ctx context.Context, file string) (all []*document, err error) {
	from := &opening{file: file}
	if sealed := r.sealedDocuments(file); sealed != nil {
		for i := range sealed {
			s := &sealed[i]
			all = append(all, &document{header: s.header, file: file, at: s.position, kubeconfig: s.kubeconfig, opaque: s.opaque, digest: s.digest, from: from})
		}
		return all, nil
	}
	docs, err := from.documents(ctx, r)
	for _, doc := range docs {
		all = append(all, &document{header: readHeader(doc), file: file, at: manifest.Position(doc, file), kubeconfig: kubeconfig.IsKubeconfig(doc), from: from})
	}
	return all, err
}

// file takes in all documents of one file.
func (r *run) file(ctx context.Context, file string) error {
	docs, err := r.documents(ctx, file)
	if err != nil {
		return r.finding(err)
	}
	for _, d := range docs {
		if err := r.document(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// document offers one document to the pairs.
func (r *run) document(ctx context.Context, d *document) error {
	switch {
	case d.kind == "Secret":
		return r.secret(ctx, d)
	case d.kubeconfig && !r.tokensOnly:
		if len(r.byFile[d.file]) == 0 {
			r.mu.Lock()
			r.bare = append(r.bare, d.file)
			r.mu.Unlock()
		}
		for _, j := range r.byFile[d.file] {
			if err := r.offer(ctx, j, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// secret offers a Secret to the pairs that name it and to the selector.
func (r *run) secret(ctx context.Context, d *document) error {
	var jobs, tokens []*job
	for _, j := range r.byName[d.name] {
		if ns := j.pair.Destination.Secret.Namespace; ns == "" || ns == d.namespace {
			jobs = append(jobs, j)
		}
	}
	jobs = append(jobs, r.byFile[d.file]...)
	for _, j := range r.tokens[d.name] {
		if ns := j.pair.Options.TokenFrom.Secret.Namespace; ns == "" || ns == d.namespace {
			tokens = append(tokens, j)
		}
	}
	if r.tokensOnly {
		jobs = nil
	} else if s := r.config.Spec.Selector; s != nil && s.Takes(d.namespace, d.name, d.labels) {
		if other := kubeconfig.ForControllers(d.name, d.labels); other != "" && !r.last {
			r.mu.Lock()
			r.personal = append(r.personal, personal{d, SecretReference{Name: other, Namespace: d.namespace}.String()})
			r.mu.Unlock()
			return nil
		}
		p, err := s.pair(d.header)
		if err != nil {
			r.report(report.Finding{Rule: "pair-name", Severity: report.Error, Position: d.at, Message: err.Error()})
			return nil
		}
		r.mu.Lock()
		r.matched[d.String()] = true
		r.mu.Unlock()
		jobs = append(jobs, &job{pair: &p, selected: true, token: r.token, failed: p.Options.TokenFrom != nil && r.token == nil})
	}
	if len(jobs)+len(tokens) == 0 {
		r.mu.Lock()
		if len(r.others) < 100 {
			r.others = append(r.others, d.String())
		}
		r.mu.Unlock()
		return nil
	}
	for _, j := range tokens {
		if err := r.offerToken(ctx, j, d); err != nil {
			return err
		}
	}
	for _, j := range jobs {
		if err := r.offer(ctx, j, d); err != nil {
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

// offer gives a job the document with its destination, and renders it if that was all
// it lacked.
func (r *run) offer(ctx context.Context, j *job, d *document) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.destAt != (report.Position{}) {
		r.report(ambiguous(j.pair, "its destination", j.destAt, d.at))
		return nil
	}
	j.destination, j.destAt = d, d.at
	return r.settle(ctx, j)
}

// offerToken gives a job the Secret that it takes its storage token from.
func (r *run) offerToken(ctx context.Context, j *job, d *document) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.tokenAt != (report.Position{}) {
		r.report(ambiguous(j.pair, "its storage token", j.tokenAt, d.at))
		return nil
	}
	j.token, j.tokenAt = d, d.at
	return r.settle(ctx, j)
}

func ambiguous(p *Pair, what string, first, second report.Position) report.Finding {
	return report.Finding{Rule: "secret-ambiguous", Severity: report.Error, Position: second, Path: "destination.secret",
		Message: fmt.Sprintf("pair %s finds %s twice, first at %s", p.Name, what, first),
		Hint:    "name the namespace in destination.secret, or list only one of the two files"}
}

// settle renders a job that has all it needs, unless it is fresh. The job is locked.
func (r *run) settle(ctx context.Context, j *job) error {
	p := j.pair
	if j.failed || j.destination == nil || p.Options.TokenFrom != nil && j.token == nil {
		return nil
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
	source := r.source(j)
	if source != nil && (r.in.Values == IfStale || r.in.Values == Never || r.in.Values == Look) {
		if done, err := r.closed(j, source); done || err != nil {
			return err
		}
	}
	if r.in.Values == Look {
		return r.emit(Result{Namespace: p.Namespace, Name: p.Name, Index: j.index, Unknown: true})
	}
	err := r.render(ctx, j, source)
	if err != nil && source != nil && r.in.Values == IfKey && r.in.NoKey(err) {
		if done, bad := r.closed(j, source); done || bad != nil {
			return bad
		}
	}
	j.destination, j.token = nil, nil
	return err
}

// closed says of a job that it is fresh, or stale, without opening anything. It is not
// done if it cannot tell, or if the pair is to be rendered.
func (r *run) closed(j *job, source []byte) (done bool, err error) {
	p := j.pair
	within := r.config.within()
	state, due, err := r.in.Encrypter.State(p.Namespace, p.Name, source, r.in.Now.Add(cmp.Or(within, kubeconfig.Within)))
	switch {
	case err != nil:
		return true, r.finding(err)
	case state == Unmarked, r.in.Values == IfStale && (state != Fresh || due):
		return false, nil
	}
	return true, r.emit(Result{Namespace: p.Namespace, Name: p.Name, Index: j.index, Fresh: state == Fresh, Stale: state != Fresh, Missing: state == Missing, File: j.destination.file})
}

// storageToken is the token that a job takes from a Secret. It is empty if there is a
// finding instead.
func (r *run) storageToken(ctx context.Context, j *job) (string, error) {
	if j.pair.Options.TokenFrom == nil {
		return j.pair.Options.Token, nil
	}
	s, err := r.parse(ctx, j.token)
	if err != nil || s == nil {
		return "", err
	}
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
			r.in.Consumed(j.token.file)
		}
		return token, nil
	}
	r.report(f)
	return "", nil
}

// parse reads a Secret, nil if what is wrong with it has been reported.
func (r *run) parse(ctx context.Context, d *document) (*kubeconfig.Secret, error) {
	doc, err := d.open(ctx, r)
	if err != nil {
		return nil, err
	}
	parsed := r.known(d).get(d.id(), func() (k known) {
		k.secret, k.findings = kubeconfig.ParseSecret(doc, d.file)
		return k
	})
	if r.report(parsed.findings...); report.HasErrors(parsed.findings) {
		return nil, nil
	}
	return parsed.secret, nil
}

func (r *run) known(d *document) *Known {
	if r.in.Known == nil {
		return nil
	}
	return r.in.Known(d.file)
}

// id tells a document from the others of its file.
func (d *document) id() string { return fmt.Sprintf("%s %d:%d", d, d.at.Line, d.at.Column) }

// kubeconfig is the destination of a job, nil if what is wrong with it has been
// reported.
func (r *run) kubeconfig(ctx context.Context, j *job) (*kubeconfig.Destination, error) {
	d, o := j.destination, r.options(j.pair)
	var found known
	if d.kind == "Secret" {
		secret, err := r.parse(ctx, d)
		if err != nil || secret == nil {
			return nil, err
		}
		found = r.known(d).get(fmt.Sprintf("%s %#v", d.id(), o), func() (k known) {
			k.destination, k.findings = kubeconfig.FromSecret(secret, o)
			return k
		})
	} else {
		doc, err := d.open(ctx, r)
		if err != nil {
			return nil, err
		}
		if readHeader(doc).kind == "Secret" { // all of it was encrypted
			secret, findings := kubeconfig.ParseSecret(doc, d.file)
			if r.report(findings...); report.HasErrors(findings) {
				return nil, nil
			}
			found.destination, found.findings = kubeconfig.FromSecret(secret, o)
		} else {
			found.destination, found.findings = kubeconfig.FromDocument(doc, d.file, o)
		}
	}
	if r.report(found.findings...); report.HasErrors(found.findings) {
		return nil, nil
	}
	return found.destination, nil
}

// render renders, checks and encrypts a job that has all it needs, and emits
// it. The job is locked.
func (r *run) render(ctx context.Context, j *job, source []byte) error {
	p := j.pair
	destination, err := r.kubeconfig(ctx, j)
	if err != nil || destination == nil {
		j.failed = true
		return r.finding(err)
	}
	token, err := r.storageToken(ctx, j)
	if err != nil || token == "" && p.Options.TokenFrom != nil {
		j.failed = true
		return r.finding(err)
	}
	at := p.Position
	if at.Line == 0 {
		at = j.destAt
	}
	previous, err := r.in.Encrypter.Previous(p.Namespace, p.Name)
	if err != nil {
		return r.finding(err)
	}
	sealed := destination.FullEntropy() && !r.in.Plaintext
	var salt []byte
	if sealed {
		salt = saltAfter(previous)
	}
	plain := r.config.render(p, destination, token, salt)
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
	document, findings, err := r.in.Encrypter.Encrypt(ctx, p.Namespace, p.Name, plain, previous, sealed, source)
	if err != nil {
		return r.finding(err)
	}
	r.report(findings...)
	if r.in.Consumed != nil {
		r.in.Consumed(j.destination.file)
	}
	return r.emit(Result{Namespace: p.Namespace, Name: p.Name, Index: j.index, Document: document, Previous: previous, File: j.destination.file})
}

// missing reports the pairs whose Secrets were not found, unless they may
// stand in a file that could not be read.
func (r *run) missing() {
	if r.unread {
		return
	}
	for i := range r.jobs {
		j := &r.jobs[i]
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
				f.Hint = kubeconfigHint
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
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[report.Finding](err); ok {
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

func (r *run) lacksToken() bool {
	for i := range r.jobs {
		if r.jobs[i].lacksToken() {
			return true
		}
	}
	return false
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
