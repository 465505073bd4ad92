// Package validate judges the manifests of a repository as they are committed.
//
// These are ClusterPairs, encrypted or not, and what stands around them. Make a Validator with [New], give it each file with [Validator.File], and ask
// [Validator.Findings] at the end, which also judges the files together. It needs
// no key: what an encrypted ClusterPair hides is judged by its form, by what
// SOPS leaves in clear and by the annotations of clusterpair generate. With
// Options.Decrypt it looks into those for which a key is at hand.
//
// A Validator keeps of each file what the others must know, and no document. It
// opens no file. No finding holds a value of a credential.
package validate

import (
	"bytes"
	"cmp"
	"context"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/waiver"
	"clusterpair.dev/internal/words"
)

// Options say by what to judge.
type Options struct {
	// StorkVersion is the release of Stork on the source clusters, as "24.3",
	// for pairs whose config says none. Empty is unknown.
	StorkVersion string
	// Within is the horizon of credential-expiring; zero means 30 days. MaxAge
	// is that of rotation-due; zero means never.
	Within, MaxAge time.Duration
	// Plaintext says that the files are meant to be in clear: the rules about
	// SOPS and plaintext-credential do not hold.
	Plaintext bool
	// Partial says that there are more manifests than those of the run, so that
	// what is missing here may stand there.
	Partial bool
	// Orphans says that the files of the run, with those that Note takes in, are all
	// that the repository has: a pair whose config is not among them has no config.
	Orphans bool
	// Outdated finds, with Orphans, the configs whose pairs are to be rendered anew, and the
	// fleets that cannot be. It is called if one of their rules counts. May be nil.
	Outdated func() []report.Finding
	// Skip are the rules to leave out; if Only has any, all others are.
	Skip, Only []string
	// Now is the time by which credentials are judged.
	Now time.Time
	// Remotes gives the URLs by which Git knows the repository. It is asked where objects
	// name several repositories. May be nil.
	Remotes func() []string
	// Origin says what a pair should have been made by. May be nil.
	Origin func(path, config string) (Origin, error)
	// Encrypt is the hint for a file in clear: the command that encrypts it, or what
	// to do first. May be nil.
	Encrypt func(ctx context.Context, name string, data []byte) string
	// WorkTree is what the work tree has of a file in the Git index, for the hints
	// of a run over the index; its error wraps [fs.ErrNotExist] if that is nothing.
	// May be nil.
	WorkTree func(File) ([]byte, error)
	// Decrypt decrypts a file, its MAC verified; nil leaves files encrypted.
	// Its errors are those of [sopsfile.Safe.Decrypt].
	Decrypt func(ctx context.Context, data []byte, file string) ([]*yaml.Node, error)
	// Policy judges a document by the organisation's own constraints. May be nil.
	Policy func(definition string, doc *yaml.Node, file string) []report.Finding
	// LeftOut tells by its path whether a file is to be passed over. It is called only
	// for a file in which there is something to judge. May be nil.
	LeftOut func(path string) bool
}

// Origin is what the repository says about a pair: the config that has rendered
// it, and the creation rule of its file.
type Origin struct {
	// StorkVersion is that of the config; empty is unknown.
	StorkVersion string
	// Render is the command that renders the pair, as a shell takes it; empty if
	// there is no such config.
	Render string
	// Rendered says that the config is there, and renders the pair into the file.
	Rendered bool
	// Policy is how the file is to be encrypted; nil if nothing says.
	Policy *sopsfile.Policy
}

// File is one file of a run.
type File struct {
	// Name is what findings call it.
	Name string
	// Path is the way to it from the root of the repository, with slashes. It
	// relates the files to each other.
	Path string
	Data []byte
	// Any says that the file was picked by its place, not by its name: it may
	// be no manifest at all.
	Any bool
	// Credentials says that credentials in clear are all that is looked for. The
	// file counts as checked if it has one.
	Credentials bool
	// Link says that it is a symbolic link.
	Link bool
	// Sample tells whether it is for tests, an example, a document or the code of others,
	// so that a credential in it was most likely made for the purpose. May be nil.
	Sample func() bool
}

// Validator judges the files of one run. Its methods may be called by several
// goroutines.
type Validator struct {
	options Options

	mu       sync.Mutex
	findings []report.Finding
	waivers  map[string][]waiver.Waiver // by file
	repo     repository
	files    []string
	paths    []string       // of files
	pairs    int            // in files
	byPolicy map[string]int // by definition
}

// New returns a Validator for one run.
func New(o Options) *Validator {
	return &Validator{options: o, waivers: make(map[string][]waiver.Waiver), byPolicy: make(map[string]int)}
}

// Checked are the names of the files that there was something to judge in, and
// the number of ClusterPairs in them.
func (v *Validator) Checked() (files []string, pairs int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.files, v.pairs
}

// Judged is how many documents Options.Policy was asked about by a definition.
func (v *Validator) Judged(definition string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.byPolicy[definition]
}

// Found is how many findings there are so far.
func (v *Validator) Found() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.findings)
}

// File judges a file on its own, and notes what the others must know of it. An
// error means that the file could not be judged: its key service failed.
func (v *Validator) File(ctx context.Context, file File) error {
	return (&fileRun{Validator: v, ctx: ctx, file: file}).read()
}

// Note takes in what the files to judge must know of another one, which is not
// to be judged itself.
func (v *Validator) Note(file File) {
	_ = (&fileRun{Validator: v, ctx: context.Background(), file: file, aside: true}).read() // nothing of it is judged
}

// Link notes a symbolic link, as [engine.Notes.AddLink] does.
func (v *Validator) Link(path, name, target string, broken bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.repo.engines.AddLink(path, name, target, broken)
}

// Refers tells whether the files so far refer to objects that may stand in other files.
// If so, those are worth a [Validator.Note].
func (v *Validator) Refers() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := &v.repo
	return len(r.migrations) > 0 || r.engines.Objects() || v.options.Orphans && r.mayHaveOrphans() || slices.ContainsFunc(r.pairs, func(p pair) bool { return p.bidirectional })
}

// LooksForCredentials tells whether credentials in clear are among what is looked for.
func (v *Validator) LooksForCredentials() bool {
	return !v.options.Plaintext && v.counts("plaintext-credential")
}

// Resources are the paths that the kustomizations so far take in: of files, of
// directories, and what is no path at all.
func (v *Validator) Resources() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var paths []string
	for i := range v.repo.engines.Kustomizations {
		k := &v.repo.engines.Kustomizations[i]
		paths = append(append(paths, k.Resources...), k.Generators...)
		for _, p := range k.Patches {
			paths = append(paths, p.Path)
		}
		for _, file := range k.Files {
			paths = append(paths, file.Name)
		}
	}
	return paths
}

// read takes a file in.
func (f *fileRun) read() error {
	file := &f.file
	says := f.noted.engines.Saw(file.Path, file.Name, file.Data)
	file.Any = file.Any || path.Base(file.Path) == engine.IgnoreFile // no manifest, whatever it looks like
	if rules := f.sopsRules(); !rules && !says && !concerns(file) {
		return nil
	}
	if f.options.LeftOut != nil && f.options.LeftOut(file.Path) {
		return nil
	}
	documents, encrypted, line := 0, false, 0
	var second *yaml.Node
	manifest.Scan(file.Data, file.Name, func(d manifest.Document, broken *report.Finding) {
		f.doc = manifest.Document{Text: d.Text, Line: d.Line}
		if d.Line != line { // what is broken may stand behind a document
			documents++
		}
		if line = d.Line; documents == 2 && second == nil {
			second = cmp.Or(d.Node, &yaml.Node{Line: d.Line, Column: 1})
		}
		if broken != nil {
			f.broken(d, *broken)
			return
		}
		if d.Node.Kind == yaml.ScalarNode || f.file.Any && manifest.Field(d.Node, "kind") == nil && !kubeconfig.IsKubeconfig(d.Node) {
			f.text(d) // almost any text is YAML
		}
		encrypted = encrypted || sopsfile.IsEncrypted(d.Node) && looksLikePair(d.Node)
		f.guarded(d.Node, func() {
			f.document(d.Node)
			f.comments(d)
		})
	})
	if encrypted && documents > 1 && f.file.Name != "-" { // a stream is no file that sops reads
		f.add(second, "", "one-document", report.Error, "another document in the file of an encrypted ClusterPair: sops decrypts it with the sops section of the first alone", "give each ClusterPair a file of its own")
	}
	f.inClearHints(documents)
	return f.finish()
}

// guarded judges a document. If judging it makes the program panic, the other documents
// are judged all the same.
func (f *fileRun) guarded(n *yaml.Node, judge func()) {
	var failure error
	defer func() { f.err = cmp.Or(f.err, failure) }()
	defer defect.Recover(&failure, f.position(n).String())
	judge()
}

// Object judges an object that stands in no file, such as a result of
// kustomize; from says where it is from. Findings name the object in place of
// a line.
func (v *Validator) Object(ctx context.Context, from string, n *yaml.Node) error {
	name := manifest.Text(n, "kind") + "/" + manifest.Text(n, "metadata", "name")
	if namespace := manifest.Text(n, "metadata", "namespace"); namespace != "" {
		name = manifest.Text(n, "kind") + "/" + namespace + "/" + manifest.Text(n, "metadata", "name")
	}
	if from != "" {
		name = from + ": " + name
	}
	manifest.ForgetPositions(n)
	f := &fileRun{Validator: v, ctx: ctx, file: File{Name: name, Path: name}, object: n}
	f.guarded(n, func() { f.document(n) })
	f.inClearHints(1)
	return f.finish()
}

// concerns tells whether there is anything in a file to judge. Most files of a
// repository have nothing to do with pairs, so concerns looks at the bytes before
// anything is parsed.
func concerns(f *File) bool {
	utf16 := bytes.HasPrefix(f.Data, []byte("\xff\xfe")) || bytes.HasPrefix(f.Data, []byte("\xfe\xff"))
	return utf16 || interesting().In(f.Data) || bytes.Contains(f.Data, []byte("eyJ")) || words.Escaped(f.Data) || leak.HasUserinfo(f.Data)
}

// fileRun is one file on its way through the rules.
type fileRun struct {
	*Validator
	ctx      context.Context
	file     File
	findings []report.Finding
	noted    repository
	err      error
	object   *yaml.Node // what stands in no file
	aside    bool       // it is not to be judged
	// misselected says that the sops section of the pair at hand selects other values
	// than those that are encrypted.
	misselected bool
	doc         manifest.Document // at hand, without its Node
	inTheClear  *yaml.Node        // the pair that was found to be in clear
	render      string            // the command that renders the pair at hand; empty if none does
	ruled       bool              // a creation rule matches the pair at hand
	tried       bool              // whether decrypting the pair at hand was tried
	plain       []*yaml.Node      // the documents that decrypting gave
}

// add notes a finding at a value. object names what it is in; it may be empty.
func (f *fileRun) add(n *yaml.Node, field, rule string, severity report.Severity, message, hint string) {
	f.findings = append(f.findings, f.finding(n, field, rule, severity, message, hint))
}

func (f *fileRun) finding(n *yaml.Node, field, rule string, severity report.Severity, message, hint string) report.Finding {
	return report.Finding{Rule: rule, Severity: severity, Position: f.position(n), Path: field, Message: message, Hint: hint}
}

func (f *fileRun) position(n *yaml.Node) report.Position {
	if n == nil {
		return report.Position{File: f.file.Name}
	}
	return report.Position{File: f.file.Name, Line: n.Line, Column: n.Column}
}

// finish hands to the Validator the findings of the file, and what other files must
// know of it.
func (f *fileRun) finish() error {
	v := f.Validator
	if f.aside {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.repo.merge(f.noted)
		return nil
	}
	if f.file.Credentials {
		f.findings = slices.DeleteFunc(f.findings, func(g report.Finding) bool { return g.Rule != "plaintext-credential" })
		if len(f.findings) == 0 {
			return nil // what else it is does not matter
		}
		f.noted = repository{}
	}
	f.inSample()
	f.staged()
	waivers := waiver.Find(f.file.Data)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.files, v.paths = append(v.files, f.file.Name), append(v.paths, f.file.Path)
	v.pairs += len(f.noted.pairs)
	v.findings = append(v.findings, f.findings...)
	v.repo.merge(f.noted)
	if len(waivers) > 0 {
		v.waivers[f.file.Name] = append(v.waivers[f.file.Name], waivers...)
	}
	return f.err
}

// document judges one document or item of a List by what it is.
func (f *fileRun) document(n *yaml.Node) {
	apiVersion, kind := manifest.Text(n, "apiVersion"), manifest.Text(n, "kind")
	group, _, _ := strings.Cut(apiVersion, "/")
	f.render = ""
	f.disguised(n)
	switch list := kind != "ClusterPair" && isList(n); {
	case list:
		f.leaks(withoutItems(n)) // those of the items are found with them
	case !looksLikePair(n): // those of pairs are found with them
		f.embedded(n)
		defer f.leaks(n)
	}
	switch {
	case kind != "ClusterPair" && isList(n):
		f.list(n)
	case looksLikePair(n):
		f.noted.engines.AddPair(f.engineDocument(n), f.file.Link)
		f.pair(n)
	case n.Kind == yaml.SequenceNode:
		f.noted.engines.Add(f.engineDocument(n))
		f.notePatch(n)
	case kind == "Secret" && apiVersion == "v1":
		f.identifiedSecret(n)
		f.secret(n)
	case kubeconfig.IsKubeconfig(n): // it is judged with what it goes into
	case group == "stork.libopenstorage.org":
		f.stork(n, kind)
	case f.noted.engines.Add(f.engineDocument(n)):
		f.engineObject(n, group, kind)
	case group == generator.Group: // a fleet, or what does not exist
		f.config(n, kind)
	case group == "argoproj.io" || group == "kustomize.toolkit.fluxcd.io":
	case apiVersion == "builtin":
		f.builtin(n)
	case f.adminNamespace(n, kind):
	default:
		f.notePatch(n)
	}
}

func (f *fileRun) engineDocument(n *yaml.Node) engine.Document {
	return engine.Document{Path: f.file.Path, Name: f.file.Name, Node: n}
}

// list judges the items of a List, and whether they may stand in it.
func (f *fileRun) list(n *yaml.Node) {
	items := manifest.Field(n, "items")
	for _, item := range items.Content {
		f.document(item)
	}
	sealed := func(item *yaml.Node) bool { return looksLikePair(item) && sopsfile.IsEncrypted(item) }
	switch {
	case sopsfile.IsEncrypted(n) && slices.ContainsFunc(items.Content, looksLikePair):
		f.add(n, "", "one-document", report.Error, "ClusterPairs in an encrypted List: kustomize takes the List apart and loses its sops section, so that ciphertext reaches Stork",
			"give each ClusterPair a file of its own")
	case slices.ContainsFunc(items.Content, sealed):
		f.add(n, "", "one-document", report.Error, "an encrypted ClusterPair in a List: sops finds no sops section at the top of the file, so that it neither decrypts it nor verifies its MAC",
			"give each ClusterPair a file of its own")
	}
}

// isList tells whether a document is a list of objects. kubectl takes any that
// has items for one, kustomize those whose kind says so.
func isList(n *yaml.Node) bool {
	return slices.ContainsFunc(manifest.Items(n, "items"), func(item *yaml.Node) bool { return manifest.Field(item, "kind") != nil || looksLikePair(item) })
}

// withoutItems is a list without its items.
func withoutItems(list *yaml.Node) *yaml.Node {
	rest := *list
	rest.Content = nil
	for i := 0; i+1 < len(list.Content); i += 2 {
		if list.Content[i].Value != "items" {
			rest.Content = append(rest.Content, list.Content[i], list.Content[i+1])
		}
	}
	return &rest
}

// broken is a document that cannot be read. That of somebody else, such as a
// template of Helm, is none of our business.
func (f *fileRun) broken(d manifest.Document, finding report.Finding) {
	ours := path.Base(f.file.Path) == sopsfile.RulesName || engine.IsKustomization(f.file.Path) && !bytes.Contains(d.Text, []byte("{{"))
	for _, word := range []string{"stork.libopenstorage.org", "ClusterPair", "clusterpair.dev/"} {
		ours = ours || bytes.Contains(d.Text, []byte(word)) && (!f.file.Any || manifest.Begins(d.Text))
	}
	if ours {
		if finding.Hint = f.unreadable(d.Text, finding.Hint); manifest.IsTemplate(d.Text) {
			finding.Severity, finding.Hint, finding.Message = report.Info, "", finding.Message+"; it is a template, of which nothing is known"
		}
		f.findings = append(f.findings, finding)
	}
	f.text(d)
}

// config judges a function config of clusterpair.
func (f *fileRun) config(n *yaml.Node, kind string) {
	if f.aside {
		return
	}
	f.findings = append(f.findings, generator.CheckConfig(kind, n, f.file.Name)...)
	f.policy("#"+kind, n)
}

func (f *fileRun) policy(definition string, n *yaml.Node) {
	if f.options.Policy != nil {
		f.mu.Lock()
		f.byPolicy[definition]++
		f.mu.Unlock()
		f.findings = append(f.findings, f.options.Policy(definition, n, f.file.Name)...)
	}
}

// Findings are those of all files, and of the files together, sorted. A waived
// one bears its reason. The Validator is then done.
func (v *Validator) Findings() []report.Finding {
	v.mu.Lock()
	defer v.mu.Unlock()
	model := v.repo.modelled(&v.options)
	v.judgePatches(model)
	v.findings = append(v.findings, v.repo.judge(&v.options, v.files, model)...)
	if o := &v.options; o.Orphans && !o.Plaintext && o.Outdated != nil && (v.counts("not-rendered") || v.counts("fleet")) {
		v.repo, model = repository{}, nil // what follows takes as much memory, and needs nothing of it
		for _, f := range o.Outdated() {
			if slices.Contains(v.files, f.Position.File) {
				v.findings = append(v.findings, f)
			}
		}
	}
	v.findings = slices.DeleteFunc(v.findings, func(f report.Finding) bool { return !v.counts(f.Rule) })
	if wrong := waiver.Apply(v.findings, v.waivers, v.judged); v.counts("waiver") {
		v.findings = append(v.findings, wrong...)
	}
	report.Sort(v.findings)
	v.findings = slices.CompactFunc(v.findings, func(a, b report.Finding) bool {
		return a.Rule == b.Rule && a.Position == b.Position && a.Message == b.Message
	})
	return v.findings
}

// judged tells whether the run has looked for breaches of a rule.
func (v *Validator) judged(r report.Rule) bool {
	return v.counts(r.ID) && (r.Needs != report.Plaintext || v.options.Decrypt != nil || v.options.Plaintext) && (r.Needs != report.Run || !v.options.Partial)
}

// counts tells whether a rule is asked for.
func (v *Validator) counts(rule string) bool {
	if len(v.options.Only) > 0 && !slices.Contains(v.options.Only, rule) {
		return false
	}
	return !slices.Contains(v.options.Skip, rule)
}

func (o *Options) within() time.Duration { return cmp.Or(o.Within, 30*24*time.Hour) }
