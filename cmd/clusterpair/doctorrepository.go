package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// doctorConfig is a config of kind ClusterPairGenerator. It holds no directory open:
// a repository may have thousands.
type doctorConfig struct {
	file    string
	err     error    // what is wrong with it; then nothing else is known
	secrets []string // the files that its Secrets come from
	outputs int
	unruled []unruled
	missing []string // outputs that are not there
}

// unruled is an output that nobody could read.
type unruled struct {
	file string
	err  error
}

// readConfigs reads the configs of a file.
func (r *doctorRun) readConfigs(file string) {
	found, err := findConfigs(file)
	if err != nil {
		r.configs = append(r.configs, &doctorConfig{file: file, err: err})
	}
	for _, f := range found {
		c := &doctorConfig{file: f.file}
		c.err = c.read(f, r.safe)
		defer f.tree.Close() // those of one file share it
		r.configs = append(r.configs, c)
	}
}

func (c *doctorConfig) read(f foundConfig, safe *sopsfile.Safe) error {
	config, findings := generator.ParseConfig(f.doc, f.file)
	for _, finding := range findings {
		if finding.Severity == report.Error {
			return finding
		}
	}
	config.Spec.Files = append(config.Spec.Files, f.resources...)
	secrets, noSecret := openSecrets(f.tree, safe, config, nil)
	if noSecret == nil {
		c.secrets = secrets.Files()
	}
	output := config.Spec.Output
	var files []string
	for _, p := range config.Spec.Pairs {
		file := pairFile(output, cmp.Or(p.Namespace, config.Spec.Namespace), p.Name)
		files = append(files, file)
		if data, err := f.tree.readFile(file); (err != nil || len(bytes.TrimSpace(data)) == 0) && noSecret == nil {
			c.missing = append(c.missing, f.tree.show(file))
		}
	}
	if s := config.Spec.Selector; s != nil {
		// The files are named after Secrets: one stands for all.
		files = append(files, pairFile(output, cmp.Or(s.Namespace, config.Spec.Namespace, "NAMESPACE"), "NAME"))
		if rendered, err := fs.Glob(os.DirFS(f.tree.abs(output)), "*/*.yaml"); noSecret == nil && (err != nil || len(rendered) == 0) {
			c.missing = append(c.missing, f.tree.show(output))
		}
	}
	c.outputs = len(files)
	s, err := newSealer(f.tree, safe, config)
	if err != nil {
		c.unruled = []unruled{{f.file, err}}
		return noSecret
	}
	for _, file := range files {
		policy, err := s.policy(file)
		if err == nil {
			err = checkPolicy(policy, f.tree.show(file))
		}
		if err != nil {
			c.unruled = append(c.unruled, unruled{f.tree.show(file), err})
		}
	}
	return noSecret
}

// repository looks at configs, creation rules, keys and what is rendered.
func (r *doctorRun) repository(p *part) {
	switch _, err := exec.LookPath("git"); {
	case r.git && err == nil:
		p.ok("git", "%s is the top of the work tree", r.repo.shown("."))
	case r.git:
		p.add(cluster.Warning, "git", "apt-get install git", "git is not in PATH, so that nothing of it is known")
	default:
		p.add(cluster.Warning, "git", "git init "+typed(r.dir), "there is no Git work tree: nothing is committed, and configs reach no file beside their own directory")
	}
	r.readable(p)
	r.configsGood(p)
	r.rules(p)
	r.cleartext(p)
	r.valid(p)
	r.keys(p)
	r.rendered(p)
	r.committed(p)
	r.applied(p)
}

// readable says what could not be read: nothing is known of it.
func (r *doctorRun) readable(p *part) {
	var lines []string
	for _, err := range r.unread {
		lines = append(lines, strings.TrimPrefix(err.Error(), "read "))
	}
	for _, f := range r.findings["yaml"] {
		lines = append(lines, f.Position.String()+": "+f.Message)
	}
	if len(lines) > 0 {
		p.add(cluster.Warning, "files", "", "nothing is known of %s that cannot be read", countOf(len(lines), "file", "files")).Details = few(lines)
	}
}

func (r *doctorRun) configsGood(p *part) {
	good := 0
	for _, c := range r.configs {
		if c.err == nil {
			good++
			continue
		}
		hint := "clusterpair validate " + typed(c.file)
		if hinted := (*hintedError)(nil); errors.As(c.err, &hinted) {
			hint = hinted.hint
		}
		check := p.add(cluster.Failed, "config", hint, "%s", plain(c.err, c.file))
		if f := (report.Finding{}); errors.As(c.err, &f) {
			if check.Rule, check.Hint = f.Rule, cmp.Or(f.Hint, hint); f.Rule == "secret-missing" {
				check.Hint = "clusterpair import -f " + typed(c.file) + " --from-context MANAGEMENT -n NAMESPACE SECRET, or clusterpair credential create --context DESTINATION -o FILE"
			}
		}
	}
	switch {
	case good > 0:
		p.ok("config", "%s of kind %s", countOf(good, "config", "configs"), generator.GeneratorKind)
	case len(r.configs) > 0:
	case len(r.graph.Pairs) > 0:
		p.ok("config", "no config: the %s here come from elsewhere", countOf(len(r.graph.Pairs), "ClusterPair", "ClusterPairs"))
	default:
		p.add(cluster.Failed, "config", "clusterpair init flux, or clusterpair init argocd, lays out a repository", "there is no config of kind %s, and no ClusterPair", generator.GeneratorKind)
	}
}

// plain is an error in one line that begins with its file.
func plain(err error, file string) string {
	if f := (report.Finding{}); errors.As(err, &f) {
		at := f.Position
		if at.File == "" {
			at.File = file
		}
		text := at.String() + ": "
		if f.Path != "" && at.Line == 0 {
			text += f.Path + ": "
		}
		return text + f.Message
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	if !strings.Contains(text, file) {
		text = file + ": " + text
	}
	return text
}

// rules looks for the creation rule of each output.
func (r *doctorRun) rules(p *part) {
	// Creation rules are found from the top of the file system.
	short := strings.NewReplacer(filepath.Join(r.repo.root, ".sops.yaml"), r.repo.shown(".sops.yaml"))
	outputs, bad := 0, 0
	for _, c := range r.configs {
		outputs += c.outputs
		if bad += len(c.unruled); len(c.unruled) == 0 {
			continue
		}
		first := c.unruled[0]
		check := p.add(cluster.Failed, "creation-rule", "correct the rule; age-keygen -y KEYFILE prints a recipient", "%s", short.Replace(plain(first.err, first.file)))
		if f := (report.Finding{}); errors.As(first.err, &f) {
			check.Rule, check.Hint = f.Rule, short.Replace(f.Hint)
		}
		if len(c.unruled) > 1 {
			check.Details = []string{fmt.Sprintf("so it is with %d of %d outputs of %s", len(c.unruled), c.outputs, c.file)}
		}
	}
	if outputs > 0 && bad == 0 {
		p.ok("creation-rule", "outputs with recipients: %d of %d", outputs, outputs)
	}
	abs := filepath.Join(r.repo.cwd, r.dir)
	if filepath.IsAbs(r.dir) {
		abs = r.dir
	}
	if _, ignored := sopsfile.FindRules(abs, os.Getenv("SOPS_CONFIG")); ignored != "" {
		name := r.repo.shown(r.repo.path(ignored))
		p.add(cluster.Warning, "creation-rule", fmt.Sprintf("git mv %s %s", typed(name), typed(strings.TrimSuffix(name, ".yml")+".yaml")), "sops does not read %s: it is to be called .sops.yaml", name)
	}
}

// valid says what validate finds besides.
func (r *doctorRun) valid(p *part) {
	if lines := r.broken(func(rule string) bool { return !slices.Contains(doctorRules, rule) }); len(lines) > 0 {
		p.add(cluster.Failed, "valid", "clusterpair validate "+typed(r.dir), "clusterpair validate finds more: %s", countOf(len(lines), "error", "errors")).Details = few(lines)
	} else if len(r.graph.Pairs) > 0 {
		p.ok("valid", "clusterpair validate finds no other error")
	}
}

// cleartext says which credentials are in clear.
func (r *doctorRun) cleartext(p *part) {
	var files []string
	for _, f := range r.findings["plaintext-credential"] {
		if f.Waived == "" && !slices.Contains(files, f.Position.File) {
			files = append(files, f.Position.File)
		}
	}
	if keys := r.trackedKeys(); len(keys) > 0 {
		p.add(cluster.Failed, "cleartext", "git rm --cached "+typed(keys[0])+", and make another key if this was ever pushed: age-keygen -o KEYFILE", "Git holds %s with a private key of age", countOf(len(keys), "file", "files")).Details = few(keys)
		if len(files) == 0 {
			return
		}
	}
	if len(files) == 0 {
		p.ok("cleartext", "no credential is in clear")
		return
	}
	var lines []string
	ruled := true
	for _, file := range files {
		if _, err := filePolicy(file, nil); err != nil {
			lines, ruled = append(lines, file+", which has no creation rule"), false
		} else {
			lines = append(lines, file)
		}
	}
	hint := "clusterpair encrypt -i " + typed(files[0])
	if !ruled {
		hint = "write a creation rule into .sops.yaml, then " + hint
	}
	check := p.add(cluster.Failed, "cleartext", hint, "%s a credential in clear", countOf(len(files), "file holds", "files hold"))
	check.Details, check.Rule = few(lines), "plaintext-credential"
}

// trackedKeys are the files with age identities, of any name, that Git knows in
// the directory.
func (r *doctorRun) trackedKeys() []string {
	if !r.git {
		return nil
	}
	out, err := r.runGit("", "grep", "-I", "-l", "-z", "--full-name", "-E", "^AGE-SECRET-KEY-1[A-Z0-9]{58}", "--", ".") // exits 1 if there is none
	if err != nil {
		return nil
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		files = append(files, r.repo.shown(name))
	}
	return files
}

// keys says which private keys are at hand, and for what.
func (r *doctorRun) keys(p *part) {
	r.keySources(p, true)
	var secrets, pairs []string
	for _, c := range r.configs {
		secrets = append(secrets, c.secrets...)
	}
	slices.Sort(secrets)
	for _, pair := range r.graph.Pairs {
		if pair.Encrypted {
			pairs = append(pairs, pair.File)
		}
	}
	if o := r.open(slices.Compact(secrets)); o.opened < o.files {
		p.add(cluster.Warning, "key", o.hint, "kubeconfig Secrets: %d of %s can be decrypted here, and clusterpair generate needs all", o.opened, countOf(o.files, "file", "files")).Details = append(o.recipients, r.atHand())
	} else if o.files > 0 {
		p.ok("key", "kubeconfig Secrets: %d of %s can be decrypted here, by %s", o.opened, countOf(o.files, "file", "files"), o.by)
	}
	if o := r.open(pairs); o.opened > 0 {
		p.ok("key", "rendered pairs: %d of %s can be decrypted here, by %s", o.opened, countOf(o.files, "file", "files"), o.by)
	} else if o.files > 0 {
		p.ok("key", "rendered pairs: 0 of %s can be decrypted here; to render takes none of their keys", countOf(o.files, "file", "files"))
	}
}

// keySources looks at the places where SOPS finds age keys, and tells whether
// there is any. Who owns a volume of Kubernetes owns its modes.
func (r *doctorRun) keySources(p *part, owned bool) bool {
	found := false
	for _, s := range sopsfile.KeySources() {
		name := s.Name
		if s.Path != "" && s.Path != name {
			name += " (" + s.Path + ")"
		}
		switch {
		case s.Err != nil:
			p.add(cluster.Warning, "key", "ls -l "+typed(cmp.Or(s.Path, s.Name)), "%s gives no key: %s", name, s.Err)
		case owned && s.Mode.IsRegular() && s.Mode.Perm()&0o077 != 0:
			found = true
			p.add(cluster.Warning, "key", "chmod 600 "+typed(s.Path), "others can read the private key in %s", name)
		default:
			found = true
		}
	}
	return found
}

// atHand says whose keys are here.
func (r *doctorRun) atHand() string {
	if who := r.recipients(); len(who) > 0 {
		return "the age keys here: " + strings.Join(who, ", ")
	}
	return "there is no age key here"
}

// recipients are the public halves of the age keys at hand.
func (r *doctorRun) recipients() []string {
	var all []string
	for _, s := range sopsfile.KeySources() {
		if len(s.Recipients) == 0 && s.Err == nil {
			all = append(all, s.Name)
		}
		all = append(all, s.Recipients...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// keyTimeout bounds how long a key service may take.
const keyTimeout = 10 * time.Second

// opened is how many of some files can be decrypted here.
type opened struct {
	files, opened int
	by            string   // the recipients whose keys are at hand
	recipients    []string // of the others, one line each
	hint          string
}

// open tries one file for each set of recipients.
func (r *doctorRun) open(files []string) opened {
	var o opened
	var by []string
	tried := make(map[string]bool)
	source := &workFiles{repository: r.repo}
	for _, file := range files {
		data, err := source.read(r.ctx, listedFile{name: file}, nil)
		if err != nil || len(data) == 0 {
			continue
		}
		var meta *sopsfile.Metadata
		manifest.Scan(data, file, func(d manifest.Document, _ *report.Finding) {
			if d.Node != nil && meta == nil && sopsfile.IsEncrypted(d.Node) {
				meta, _ = sopsfile.ReadMetadata(d.Node, file) // what is broken is for validate
			}
		})
		if meta == nil {
			continue
		}
		o.files++
		who := fmt.Sprint(meta.Recipients, meta.ShamirThreshold)
		can, known := tried[who]
		if !known {
			ctx, cancel := context.WithTimeout(r.ctx, keyTimeout)
			keys, err := r.safe.Opener(ctx, data, file)
			cancel()
			var noKey *sopsfile.NoKeyError
			switch {
			case err == nil:
				can = true
				for _, k := range keys {
					if !slices.Contains(by, k) {
						by = append(by, k)
					}
				}
			case errors.As(err, &noKey):
				o.hint = noKey.Hint()
			}
			if !can {
				var groups []string
				for _, g := range meta.Recipients {
					groups = append(groups, strings.Join(g, ", "))
				}
				o.recipients = append(o.recipients, file+": "+strings.Join(groups, "; and "))
			}
			tried[who] = can
		}
		if can {
			o.opened++
		}
	}
	o.by, o.recipients = strings.Join(by, ", "), few(o.recipients)
	return o
}

// rendered says which pairs of configs are not there.
func (r *doctorRun) rendered(p *part) {
	outputs, broken := 0, false
	var missing []string
	hint := ""
	for _, c := range r.configs {
		outputs += c.outputs
		broken = broken || c.err != nil
		if missing = append(missing, c.missing...); len(c.missing) > 0 && hint == "" {
			hint = "clusterpair generate -f " + typed(c.file)
		}
	}
	switch {
	case len(missing) > 0:
		p.add(cluster.Warning, "rendered", hint, "outputs that are not rendered yet: %d of %d", len(missing), outputs).Details = few(missing)
	case outputs > 0 && !broken:
		p.ok("rendered", "all that configs list is there; whether it is up to date tells clusterpair generate --check")
	}
}

// toCommit are the pairs and the configs, by whole paths.
func (r *doctorRun) toCommit() []string {
	var paths []string
	for _, pair := range r.graph.Pairs {
		paths = append(paths, pair.Path)
	}
	for _, c := range r.configs {
		paths = append(paths, r.repo.path(c.file))
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return filepath.IsAbs(p) })
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for i, path := range paths {
		paths[i] = filepath.Join(r.repo.root, filepath.FromSlash(path))
	}
	return paths
}

// committed says which files Git does not take, and which it does not know.
func (r *doctorRun) committed(p *part) {
	paths := r.toCommit()
	if !r.git || len(paths) == 0 {
		return
	}
	// It exits 1 if none is ignored. SOURCE NUL LINE NUL PATTERN NUL PATH NUL
	out, _ := r.runGit(strings.Join(paths, "\x00"), "check-ignore", "-v", "-z", "--stdin")
	fields := strings.Split(out, "\x00")
	said := make(map[string]bool)
	var lines []string
	for i := 0; i+3 < len(fields); i += 4 {
		said[fields[i+3]] = true
		lines = append(lines, fmt.Sprintf("%s, by %s:%s: %s", r.repo.shown(r.repo.path(fields[i+3])), fields[i], fields[i+1], fields[i+2]))
	}
	if len(lines) > 0 {
		name, _, _ := strings.Cut(lines[0], ", by ")
		p.add(cluster.Failed, "ignored", "git add -f "+typed(name), "Git leaves out %s that %s to be committed", countOf(len(lines), "file", "files"), map[bool]string{true: "is", false: "are"}[len(lines) == 1]).Details = few(lines)
	}

	// Until there is a commit nobody expects Git to know them.
	if _, err := r.runGit("", "rev-parse", "-q", "--verify", "HEAD"); err != nil {
		return
	}
	out, err := r.runGit("", "ls-files", "-z", "--full-name", "--", r.repo.root)
	if err != nil {
		return
	}
	for name := range strings.SplitSeq(out, "\x00") {
		said[filepath.Join(r.repo.root, filepath.FromSlash(name))] = true
	}
	lines = nil
	for _, path := range paths {
		if !said[path] {
			lines = append(lines, r.repo.shown(r.repo.path(path)))
		}
	}
	if len(lines) > 0 {
		p.add(cluster.Warning, "committed", "git add "+typed(lines[0]), "Git does not know %s yet: nothing applies what is not committed", countOf(len(lines), "file", "files")).Details = few(lines)
	}
}

// applied says which pairs nothing here applies.
func (r *doctorRun) applied(p *part) {
	if len(r.graph.Syncs) == 0 || r.graph.Open {
		return
	}
	var lines []string
	for _, pair := range r.graph.Pairs {
		if !pair.Applied {
			lines = append(lines, pair.File)
		}
	}
	idle := slices.DeleteFunc(slices.Clone(r.graph.Syncs), func(s validate.Sync) bool { return len(s.Pairs) == 0 || !s.Suspended && !s.Unlisted })
	for _, s := range idle {
		if s.Suspended {
			p.add(cluster.Warning, "applied", "flux resume kustomization, or remove suspend: true", "%s: %s is suspended, and applies nothing", s.At, s.Object)
		} else {
			p.add(cluster.Warning, "applied", "list the file under resources there", "%s: %s: the kustomization in its folder does not list it, so that nothing applies it", s.At, s.Object)
		}
	}
	switch {
	case len(lines) > 0:
		hint := "name the folder, from the top of the repository, as the path of a Kustomization or Application, as in " + r.graph.Syncs[0].At.String()
		if dir, ok := r.kustomizationOver(lines[0]); ok {
			hint = fmt.Sprintf("list %s under resources of the kustomization in %s", typed(lines[0]), dir)
		}
		p.add(cluster.Warning, "applied", hint,
			"%s applied by none of the objects of Flux and Argo CD here", countOf(len(lines), "ClusterPair is", "ClusterPairs are")).Details = few(lines)
	case len(r.graph.Pairs) > 0 && len(idle) == 0:
		p.ok("applied", "%s by the objects of Flux and Argo CD here", countOf(len(r.graph.Pairs), "ClusterPair is applied", "ClusterPairs are applied"))
	}
}

// kustomizationOver is the folder of the nearest kustomization at or above a file
// that one of the syncs builds.
func (r *doctorRun) kustomizationOver(file string) (string, bool) {
	for dir := path.Dir(r.repo.path(file)); ; dir = path.Dir(dir) {
		if _, ok := r.graph.Folders[dir]; ok && slices.ContainsFunc(r.graph.Syncs, func(s validate.Sync) bool { return s.Path == dir }) {
			return r.repo.shown(dir), true
		}
		if dir == "." || dir == "/" {
			return "", false
		}
	}
}

// samplePair has a value in each place that is to be encrypted, and in those that
// are not.
const samplePair = `{apiVersion: a, kind: ClusterPair, metadata: {name: b}, spec: {options: {token: c}, config: {
  clusters: {west: {server: d, certificate-authority-data: e}}, contexts: {west: {cluster: f, user: g}}, current-context: h, users: {stork: {token: i}}}}}`

// checkPolicy refuses a creation rule as generate would: it judges a pair that is
// encrypted in name alone.
func checkPolicy(p *sopsfile.Policy, file string) error {
	docs, err := manifest.Values([]byte(samplePair), file)
	if err != nil {
		return err
	}
	err = pairPolicy(p).Selector.Uncovered(docs[0], func(leaf *yaml.Node, _ []string, _ bool) {
		if leaf.Value != generator.ClusterPairKind { // by which it is known as a pair
			leaf.Value = "ENC[]"
		}
	})
	if err != nil {
		return err
	}
	sealed, err := sopsfile.Marshal(docs, 0)
	if err != nil {
		return err
	}
	return checkSealed(sealed, p, file)
}
