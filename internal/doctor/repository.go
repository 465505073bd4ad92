package doctor

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

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/readers"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// config is a config of kind ClusterPairGenerator. It holds no directory open:
// a repository may have thousands.
type config struct {
	file    string
	err     error    // what is wrong with it; then nothing else is known
	secrets []string // the files that its Secrets come from
	output  string   // the directory that it renders into
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
func (e *examination) readConfigs(file string) {
	found, err := kustomize.Find(file)
	if err != nil {
		e.configs = append(e.configs, &config{file: file, err: err})
	}
	defer kustomize.Close(found)
	for _, f := range found {
		c := &config{file: f.File}
		c.err = c.read(f, e.safe, &e.ruled)
		e.configs = append(e.configs, c)
		if f.Source != nil && f.Source.Renders() {
			e.sources = append(e.sources, source{f.Source.Name, e.repo.Path(f.Tree.Show(f.Source.Output))})
		}
	}
	if len(found) > 0 {
		fresh, err := e.looker.Look(e.ctx, found)
		if err != nil {
			return // the run has ended
		}
		e.fresh = append(e.fresh, fresh)
		for _, f := range fresh.Wrong {
			e.configs = append(e.configs, &config{file: file, err: f})
		}
	}
}

func (c *config) read(f kustomize.Config, safe *sopsfile.Safe, rules *render.RuleFiles) error {
	config, findings := f.Parse()
	for _, finding := range findings {
		if finding.Severity == report.Error {
			return finding
		}
	}
	secrets, noSecret := render.OpenSecrets(f.Tree, safe, config, nil)
	if noSecret == nil {
		c.secrets = secrets.Files()
	}
	output := config.Spec.Output
	c.output = f.Tree.Abs(output)
	var pairs [][2]string // by namespace and name
	for _, p := range config.Spec.Pairs {
		namespace := cmp.Or(p.Namespace, config.Spec.Namespace)
		file := render.PairFile(output, namespace, p.Name)
		pairs = append(pairs, [2]string{namespace, p.Name})
		if data, err := f.Tree.ReadFile(file); (err != nil || len(bytes.TrimSpace(data)) == 0) && noSecret == nil {
			c.missing = append(c.missing, f.Tree.Show(file))
		}
	}
	if s := config.Spec.Selector; s != nil {
		// The files are named after Secrets: one stands for all.
		pairs = append(pairs, [2]string{cmp.Or(s.Namespace, config.Spec.Namespace, "NAMESPACE"), "NAME"})
		if rendered, err := fs.Glob(os.DirFS(f.Tree.Abs(output)), "*/*.yaml"); noSecret == nil && (err != nil || len(rendered) == 0) {
			c.missing = append(c.missing, f.Tree.Show(output))
		}
	}
	c.outputs = len(pairs)
	s, err := rules.NewSealer(f.Tree, safe, config)
	if err != nil {
		c.unruled = []unruled{{f.File, err}}
		return noSecret
	}
	good := make(map[*sopsfile.Policy]bool)
	for _, p := range pairs {
		policy, err := s.Policy(p[0], p[1])
		if good[policy] {
			continue
		}
		file := f.Tree.Show(render.PairFile(output, p[0], p[1]))
		if err == nil {
			err = seal.CheckPolicy(policy, file)
		}
		if err == nil && f.Source != nil {
			if bad := f.Source.CheckReaders(slices.Concat(policy.Recipients()...), report.Position{File: file}); len(bad) > 0 {
				err = bad[0]
			}
		}
		if err != nil {
			c.unruled = append(c.unruled, unruled{file, err})
		}
		good[policy] = err == nil
	}
	return noSecret
}

// repository looks at configs, creation rules, keys and what is rendered.
func (e *examination) repository(p *Part) {
	switch _, err := exec.LookPath("git"); {
	case e.git && err == nil:
		p.ok("git", "%s is the top of the work tree", e.repo.Shown("."))
	case e.git:
		p.add(report.Warned, "git", "apt-get install git", "git is not in PATH, so that nothing of it is known")
	default:
		p.add(report.Warned, "git", "git init "+report.Typed(e.dir), "there is no Git work tree: nothing is committed, and configs reach no file beside their own directory")
	}
	e.interrupted(p)
	e.readable(p)
	e.configsGood(p)
	e.rules(p)
	e.readers(p)
	e.cleartext(p)
	e.valid(p)
	e.keys(p)
	e.rendered(p)
	e.orphans(p)
	e.committed(p)
	e.applied(p)
	e.fleet(p)
	e.guard(p)
}

// interrupted says what killed runs have left.
func (e *examination) interrupted(p *Part) {
	dirs := []string{e.repo.Root, e.dir}
	hint := ""
	for _, c := range e.configs {
		if c.output != "" {
			dirs = append(dirs, filepath.Dir(c.file), c.output)
			hint = cmp.Or(hint, "clusterpair generate -f "+report.Typed(c.file))
		}
	}
	for _, left := range worktree.Leftovers(dirs...) {
		shown := e.repo.Shown(e.repo.Path(left))
		p.add(report.Warned, "interrupted", cmp.Or(hint, "rm -r "+report.Typed(shown)), "an interrupted run has left %s: the next run puts right what that one had begun", shown)
	}
}

// readable says what could not be read: nothing is known of it.
func (e *examination) readable(p *Part) {
	var lines []string
	for _, err := range e.unread {
		lines = append(lines, strings.TrimPrefix(err.Error(), "read "))
	}
	for _, f := range e.findings["yaml"] {
		if f.Severity == report.Error {
			lines = append(lines, f.Position.String()+": "+f.Message)
		}
	}
	if n := len(lines); n > 0 {
		slices.Sort(lines) // files may have one reason
		p.add(report.Warned, "files", "", "nothing is known of %s that cannot be read", report.Count(n, "file", "files")).Details = report.Few(slices.Compact(lines))
	}
}

func (e *examination) configsGood(p *Part) {
	good := 0
	for _, c := range e.configs {
		if c.err == nil {
			good++
			continue
		}
		hint := cmp.Or(report.HintOf(c.err), "clusterpair validate "+report.Typed(c.file))
		check := p.add(report.Failed, "config", hint, "%s", report.ErrorLine(c.err, c.file))
		if f := (report.Finding{}); errors.As(c.err, &f) {
			if check.Rule, check.Hint = f.Rule, cmp.Or(f.Hint, hint); f.Rule == "secret-missing" {
				check.Hint = "clusterpair import -f " + report.Typed(c.file) + " --from-context MANAGEMENT -n NAMESPACE SECRET, or clusterpair credential create --context DESTINATION -o FILE"
			}
		}
	}
	switch {
	case good > 0:
		p.ok("config", "%s of kind %s", report.Count(good, "config", "configs"), generator.GeneratorKind)
	case len(e.configs) > 0:
	case len(e.graph.Pairs) > 0:
		p.ok("config", "no config of kind %s or %s is here; %s", generator.GeneratorKind, generator.FleetKind, report.Count(len(e.graph.Pairs), "ClusterPair is", "ClusterPairs are"))
	default:
		status := report.Skipped // the repository may be of anything
		if len(e.looked) == 0 {
			status = report.Failed
		}
		p.add(status, "config", "lay out a repository, for Flux or with argocd in its place: clusterpair init flux fleet --cluster east=EAST --cluster west=WEST --ci CI --recovery RECOVERY", "there is no config of kind %s or %s, and no ClusterPair", generator.GeneratorKind, generator.FleetKind)
	}
}

// rules looks for the creation rule of each output.
func (e *examination) rules(p *Part) {
	// Creation rules are found from the top of the file system.
	short := strings.NewReplacer(filepath.Join(e.repo.Root, ".sops.yaml"), e.repo.Shown(".sops.yaml"))
	outputs, bad := 0, 0
	said := make(map[string]bool) // the sources of a fleet have one file
	for _, c := range e.configs {
		outputs += c.outputs
		if bad += len(c.unruled); len(c.unruled) == 0 {
			continue
		}
		first := c.unruled[0]
		line := short.Replace(report.ErrorLine(first.err, first.file))
		if said[line] {
			continue
		}
		said[line] = true
		check := p.add(report.Failed, "creation-rule", report.HintOf(first.err), "%s", line)
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
	abs := filepath.Join(e.repo.Cwd, e.dir)
	if filepath.IsAbs(e.dir) {
		abs = e.dir
	}
	if _, ignored := sopsfile.FindRules(abs, os.Getenv("SOPS_CONFIG")); ignored != "" {
		name := e.repo.Shown(e.repo.Path(ignored))
		p.add(report.Warned, "creation-rule", fmt.Sprintf("mv %s %s", report.Typed(name), report.Typed(strings.TrimSuffix(name, ".yml")+".yaml")), "sops does not read %s: it is to be called .sops.yaml", name)
	}
	e.nestedRules(p)
}

// nestedRules warns of creation rules below those at the top that name other recipients
// for the same files: sops goes by the directory in which it is typed, and clusterpair, as
// people mean it, by that of the file.
func (e *examination) nestedRules(p *Part) {
	top, err := seal.FindRules(e.repo.Root)
	if err != nil || top == nil {
		return // then sops fails there
	}
	paths := make(map[string]string) // by directory
	rules := make(map[string]*sopsfile.Rules)
	var differ []string
	var nearest *sopsfile.Rules
	for _, file := range e.sealed() {
		abs := filepath.Join(e.repo.Root, e.repo.Path(file))
		dir := filepath.Dir(abs)
		path, known := paths[dir]
		if !known {
			path, _ = sopsfile.FindRules(dir, os.Getenv("SOPS_CONFIG"))
			paths[dir] = path
		}
		if path == top.Path() {
			continue
		}
		own, known := rules[path]
		if !known {
			own, _ = seal.FindRules(dir)
			rules[path] = own
		}
		if own == nil {
			continue
		}
		meant, err := own.Policy(abs)
		taken, bad := top.Policy(abs)
		if err != nil || bad != nil {
			continue
		}
		if missing, extra, regrouped := readers.Differ(taken.Recipients(), meant.Recipients(), taken.ShamirThreshold, meant.ShamirThreshold); len(missing)+len(extra) > 0 || regrouped {
			differ, nearest = append(differ, file), cmp.Or(nearest, own)
		}
	}
	if len(differ) > 0 {
		dir := e.repo.Shown(e.repo.Path(filepath.Dir(nearest.Path())))
		p.add(report.Warned, "creation-rule", "type sops where the rules are: cd "+report.Typed(dir), "sops goes by the directory in which it is typed: at the top, %s gives %s other recipients than the rules beside them",
			e.repo.Shown(".sops.yaml"), report.Count(len(differ), "file", "files")).Details = report.Few(differ)
	}
}

// sealed are the files of kubeconfig Secrets and ClusterPairs.
func (e *examination) sealed() []string {
	var files []string
	for _, c := range e.configs {
		files = append(files, c.secrets...)
	}
	for _, pair := range e.graph.Pairs {
		files = append(files, pair.File)
	}
	slices.Sort(files)
	return slices.Compact(files)
}

// valid says what validate finds besides.
func (e *examination) valid(p *Part) {
	if lines := e.broken(func(rule report.Rule) bool { return !rule.OwnCheck }); len(lines) > 0 {
		p.add(report.Failed, "valid", "clusterpair validate "+report.Typed(e.dir), "clusterpair validate finds more: %s", report.Count(len(lines), "error", "errors")).Details = report.Few(lines)
	} else if len(e.graph.Pairs) > 0 {
		p.ok("valid", "clusterpair validate finds no other error")
	}
}

// cleartext says which credentials are in clear.
func (e *examination) cleartext(p *Part) {
	keys := e.trackedKeys()
	var files, hints []string
	for _, f := range e.findings["plaintext-credential"] {
		if f.Severity == report.Error && f.Waived == "" && !slices.Contains(files, f.Position.File) && !slices.Contains(keys, f.Position.File) {
			files, hints = append(files, f.Position.File), append(hints, f.Hint)
		}
	}
	if len(keys) > 0 {
		p.add(report.Failed, "cleartext", "make another key if this was ever pushed, and keep this one out of Git: git rm --cached "+typedFiles(keys), "Git holds %s with a private key of age", report.Count(len(keys), "file", "files")).Details = report.Few(keys)
		if len(files) == 0 {
			return
		}
	}
	if len(files) == 0 {
		p.ok("cleartext", "no credential is in clear in %s", report.Count(len(e.looked), "file", "files"))
		return
	}
	var lines []string
	for _, file := range files {
		if _, err := seal.PolicyOf(file, nil); err != nil {
			file += ", which has no creation rule"
		}
		lines = append(lines, file)
	}
	check := p.add(report.Failed, "cleartext", oneAfterAnother(report.Few(hints)), "%s a credential in clear", report.Count(len(files), "file holds", "files hold"))
	check.Details, check.Rule = report.Few(lines), "plaintext-credential"
}

// oneAfterAnother is the first of the hints, whose command goes on with those of the
// others.
func oneAfterAnother(hints []string) string {
	all := hints[0]
	for _, hint := range hints[1:] {
		if command := report.Command(hint); command != "" && report.Command(all) != "" {
			all += " && " + command
		}
	}
	return all
}

// trackedKeys are the files with age identities, of any name, that Git knows in
// the directory.
func (e *examination) trackedKeys() []string {
	if !e.git {
		return nil
	}
	out, err := e.runGit("", "grep", "-I", "-l", "-z", "--full-name", "-E", "^AGE-SECRET-KEY-1[A-Z0-9]{58}", "--", ".") // exits 1 if there is none
	if err != nil {
		return nil
	}
	var files []string
	for name := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		if rel, err := filepath.Rel(e.repo.Path(e.dir), name); err == nil && !e.repo.IsSample(e.dir, rel) {
			files = append(files, e.repo.Shown(name))
		}
	}
	return files
}

// keys says which private keys are at hand, and for what.
func (e *examination) keys(p *Part) {
	e.keySources(p, true)
	var secrets, pairs []string
	for _, c := range e.configs {
		secrets = append(secrets, c.secrets...)
	}
	slices.Sort(secrets)
	for _, pair := range e.graph.Pairs {
		if pair.Encrypted {
			pairs = append(pairs, pair.File)
		}
	}
	if o := e.open(slices.Compact(secrets)); o.opened < o.files {
		p.add(report.Warned, "key", o.hint, "kubeconfig Secrets: %d of %s can be decrypted here, and clusterpair generate needs all", o.opened, report.Count(o.files, "file", "files")).Details = append(o.recipients, e.atHand())
	} else if o.files > 0 {
		p.ok("key", "kubeconfig Secrets: %d of %s can be decrypted here, by %s", o.opened, report.Count(o.files, "file", "files"), o.by)
	}
	if o := e.open(pairs); o.opened > 0 {
		p.ok("key", "rendered pairs: %d of %s can be decrypted here, by %s", o.opened, report.Count(o.files, "file", "files"), o.by)
	} else if o.files > 0 {
		p.ok("key", "rendered pairs: 0 of %s can be decrypted here; to render takes none of their keys", report.Count(o.files, "file", "files"))
	}
}

// keySources looks at the places where SOPS finds age keys, and tells whether
// there is any. Who owns a volume of Kubernetes owns its modes.
func (e *examination) keySources(p *Part, owned bool) bool {
	found := false
	for _, s := range sopsfile.KeySources() {
		name := s.Name
		if s.Path != "" && s.Path != name {
			name += " (" + s.Path + ")"
		}
		switch {
		case s.Err != nil:
			p.add(report.Warned, "key", "ls -l "+report.Typed(cmp.Or(s.Path, s.Name)), "%s gives no key: %s", name, s.Err)
		case owned && s.Mode.IsRegular() && s.Mode.Perm()&0o077 != 0:
			found = true
			p.add(report.Warned, "key", "chmod 600 "+report.Typed(s.Path), "others can read the private key in %s", name)
		default:
			found = true
		}
	}
	return found
}

// atHand says whose keys are here.
func (e *examination) atHand() string {
	if who := e.recipients(); len(who) > 0 {
		return "the age keys here: " + strings.Join(who, ", ")
	}
	return "there is no age key here"
}

// recipients are the public halves of the age keys at hand.
func (e *examination) recipients() []string {
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
func (e *examination) open(files []string) opened {
	var o opened
	var by []string
	tried := make(map[string]bool)
	source := &gitfiles.WorkTree{Repository: e.repo}
	for _, file := range files {
		data, err := source.Read(e.ctx, gitfiles.File{Name: file}, nil)
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
			ctx, cancel := context.WithTimeout(e.ctx, keyTimeout)
			keys, err := e.safe.Opener(ctx, data, file)
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
	o.by, o.recipients = strings.Join(by, ", "), report.Few(o.recipients)
	return o
}

// rendered says which pairs of configs are not there.
func (e *examination) rendered(p *Part) {
	outputs, broken := 0, false
	var missing []string
	hint := ""
	for _, c := range e.configs {
		outputs += c.outputs
		broken = broken || c.err != nil
		if missing = append(missing, c.missing...); len(c.missing) > 0 && hint == "" {
			hint = "clusterpair generate -f " + report.Typed(c.file)
		}
	}
	switch {
	case len(missing) > 0:
		p.add(report.Warned, "rendered", hint, "outputs that are not rendered yet: %d of %d", len(missing), outputs).Details = report.Few(missing)
	case outputs > 0 && !broken:
		e.upToDate(p)
	}
}

// upToDate says, without a key, which pairs somebody has forgotten to render anew.
func (e *examination) upToDate(p *Part) {
	fresh, unknown := 0, false
	var stale, files []string
	for _, f := range e.fresh {
		fresh += f.Fresh
		unknown = unknown || f.Unclear || f.Unknown > 0
		if stale = append(stale, f.Stale...); len(f.Stale) > 0 {
			files = append(files, f.Config.File)
		}
	}
	slices.Sort(files)
	switch {
	case len(stale) > 0:
		p.add(report.Warned, "rendered", "clusterpair generate -f "+strings.Join(report.TypedAll(slices.Compact(files)), " -f "),
			"%s stale: the config, the Secret or the recipients have changed, or the file has", report.Count(len(stale), "rendered pair is", "rendered pairs are")).Details = report.Few(stale)
	case fresh > 0 && unknown:
		p.ok("rendered", "%s fresh (not opened); of the others only a key tells: clusterpair generate --check", report.Count(fresh, "rendered pair is", "rendered pairs are"))
	case fresh > 0:
		p.ok("rendered", "%s fresh (not opened)", report.Count(fresh, "rendered pair is", "rendered pairs are"))
	default:
		p.ok("rendered", "all that configs list is there; whether it is up to date only a key tells: clusterpair generate --check")
	}
}

// readers says which pairs another cluster may be able to read. valid tells of the
// pairs for which that is certain.
func (e *examination) readers(p *Part) {
	var first report.Finding
	var lines []string
	for _, f := range e.findings["reader-of-another-cluster"] {
		if f.Waived != "" || f.Severity != report.Warning {
			continue
		}
		if len(lines) == 0 {
			first = f
		}
		lines = append(lines, f.Position.File+": "+f.Message)
	}
	if len(lines) > 0 {
		check := p.add(report.Warned, "creation-rule", first.Hint, "%s for keys that another cluster may have", report.Count(len(lines), "ClusterPair is encrypted", "ClusterPairs are encrypted"))
		check.Details, check.Rule = report.Few(lines), first.Rule
	}
}

// orphans says which pairs no config renders any more.
func (e *examination) orphans(p *Part) {
	orphans := slices.DeleteFunc(slices.Clone(e.findings["orphan-pair"]), func(f report.Finding) bool { return f.Waived != "" || f.Severity == report.Info })
	if len(orphans) == 0 {
		return
	}
	// A hint that ends with the file ends with all for which it is the same.
	hint, last := orphans[0].Hint, report.Typed(orphans[0].Position.File)
	before, same := strings.CutSuffix(hint, last)
	var lines, files []string
	for _, f := range orphans {
		lines = append(lines, f.Position.File+": "+f.Message)
		if f.Hint == before+report.Typed(f.Position.File) {
			files = append(files, f.Position.File)
		}
	}
	if same {
		hint = before + typedFiles(files)
	}
	check := p.add(report.Warned, "orphan", hint, "%s of a config that no longer renders %s", report.Count(len(orphans), "ClusterPair is", "ClusterPairs are"), map[bool]string{true: "it", false: "them"}[len(orphans) == 1])
	check.Details, check.Rule = report.Few(lines), "orphan-pair"
}

// toCommit are the pairs and the configs, by whole paths.
func (e *examination) toCommit() []string {
	var paths []string
	for _, pair := range e.graph.Pairs {
		paths = append(paths, pair.Path)
	}
	for _, c := range e.configs {
		paths = append(paths, e.repo.Path(c.file))
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return filepath.IsAbs(p) })
	slices.Sort(paths)
	paths = slices.Compact(paths)
	for i, path := range paths {
		paths[i] = filepath.Join(e.repo.Root, filepath.FromSlash(path))
	}
	return paths
}

// committed says which files Git does not take, and which it does not know.
func (e *examination) committed(p *Part) {
	paths := e.toCommit()
	if !e.git || len(paths) == 0 {
		return
	}
	// git check-ignore exits with 1 if it ignores no path. It prints SOURCE NUL LINE
	// NUL PATTERN NUL PATH NUL
	out, _ := e.runGit(strings.Join(paths, "\x00"), "check-ignore", "-v", "-z", "--stdin")
	fields := strings.Split(out, "\x00")
	said := make(map[string]bool)
	var lines, names []string
	for i := 0; i+3 < len(fields); i += 4 {
		said[fields[i+3]] = true
		name := e.repo.Shown(e.repo.Path(fields[i+3]))
		names = append(names, name)
		lines = append(lines, fmt.Sprintf("%s, by %s:%s: %s", name, fields[i], fields[i+1], fields[i+2]))
	}
	if len(lines) > 0 {
		p.add(report.Failed, "ignored", "git add -f "+typedFiles(names), "Git leaves out %s that %s to be committed", report.Count(len(lines), "file", "files"), map[bool]string{true: "is", false: "are"}[len(lines) == 1]).Details = report.Few(lines)
	}

	// Until there is a commit nobody expects Git to know them.
	if _, err := e.runGit("", "rev-parse", "-q", "--verify", "HEAD"); err != nil {
		return
	}
	out, err := e.runGit("", "ls-files", "-z", "--full-name", "--", e.repo.Root)
	if err != nil {
		return
	}
	for name := range strings.SplitSeq(out, "\x00") {
		said[filepath.Join(e.repo.Root, filepath.FromSlash(name))] = true
	}
	lines = nil
	for _, path := range paths {
		if !said[path] {
			lines = append(lines, e.repo.Shown(e.repo.Path(path)))
		}
	}
	if len(lines) > 0 {
		p.add(report.Warned, "committed", "git add "+typedFiles(lines), "Git does not know %s yet: nothing applies what is not committed", report.Count(len(lines), "file", "files")).Details = report.Few(lines)
	}
}

// howToApply is the hint for a pair that nothing here applies.
func (e *examination) howToApply(file string) string {
	if dir, ok := e.kustomizationOver(file); ok {
		return fmt.Sprintf("list %s under resources of the kustomization in %s", report.Typed(file), dir)
	}
	hint := "name the folder, from the top of the repository, as the path of a Kustomization or Application"
	if len(e.graph.Syncs) > 0 {
		hint += ", as in " + e.graph.Syncs[0].At.String()
	}
	return hint
}

// applied says which pairs nothing here applies.
func (e *examination) applied(p *Part) {
	for _, of := range []engine.Engine{engine.Helm, engine.Fleet, engine.Sveltos, engine.OCM, engine.Kargo} {
		e.unknown(p, of)
	}
	if len(e.graph.Syncs) == 0 && !e.graph.Fruitless {
		return
	}
	var lines []string
	dropped := ""
	for _, pair := range e.graph.Pairs {
		if !pair.Applied {
			lines = append(lines, pair.File)
			if pair.Dropped {
				dropped = cmp.Or(dropped, pair.File)
			}
		}
	}
	idle := slices.DeleteFunc(slices.Clone(e.graph.Syncs), func(s engine.Applied) bool { return len(s.Pairs) == 0 || !s.Suspended && !s.Unlisted && s.Idle == "" })
	for _, s := range idle {
		if s.Idle != "" {
			p.add(report.Warned, "applied", "", "%s: %s is not in the cluster: %s", s.At, s.Object, s.Idle)
		} else if s.Suspended {
			p.add(report.Warned, "applied", "take suspend: true out of it", "%s: %s is suspended, and applies nothing", s.At, s.Object)
		} else {
			p.add(report.Warned, "applied", "list the file under resources there", "%s: %s: the kustomization in its folder does not list it, so that nothing applies it", s.At, s.Object)
		}
	}
	switch {
	case len(lines) > 0 && len(e.graph.Unknown) > 0:
		p.add(report.Skipped, "applied", "", "nobody can tell from the files what applies %s", report.Count(len(lines), "ClusterPair", "ClusterPairs")).Details = report.Few(lines)
	case len(lines) > 0:
		hint := e.howToApply(lines[0])
		if dropped != "" {
			hint = "see what leaves it out: clusterpair explain " + report.Typed(dropped)
		}
		p.add(report.Warned, "applied", hint,
			"%s applied by none of the objects of Flux and Argo CD here", report.Count(len(lines), "ClusterPair is", "ClusterPairs are")).Details = report.Few(lines)
	case len(e.graph.Pairs) > 0 && len(idle) == 0:
		p.ok("applied", "%s by the objects of Flux and Argo CD here", report.Count(len(e.graph.Pairs), "ClusterPair is applied", "ClusterPairs are applied"))
	}
}

// kustomizationOver is the folder of the nearest kustomization at or above a file
// that one of the syncs builds.
func (e *examination) kustomizationOver(file string) (string, bool) {
	for dir := path.Dir(e.repo.Path(file)); ; dir = path.Dir(dir) {
		if _, ok := e.graph.Folders[dir]; ok && slices.ContainsFunc(e.graph.Syncs, func(s engine.Applied) bool { return s.Path == dir }) {
			return e.repo.Shown(dir), true
		}
		if dir == "." || dir == "/" {
			return "", false
		}
	}
}
