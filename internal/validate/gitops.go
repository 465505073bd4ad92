package validate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unique"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/readers"
	"clusterpair.dev/internal/report"
)

// Graph is how all files so far are built and applied.
func (v *Validator) Graph() *engine.Graph { return v.Model().Graph() }

// Model is that of the engines, for all files so far.
func (v *Validator) Model() *engine.Model {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.repo.modelled(&v.options)
}

// modelled is the model of the engines for the pairs so far.
func (r *repository) modelled(o *Options) *engine.Model {
	pairs := make([]engine.Pair, len(r.pairs))
	for i := range r.pairs {
		p := &r.pairs[i]
		pairs[i] = engine.Pair{ID: unique.Make(p.id()).Value(), File: p.file, Path: p.path, Encrypted: p.encrypted}
	}
	return r.engines.Model(pairs, o.Remotes)
}

// engineObject judges what an object that an engine or kustomize acts on says by itself.
func (f *fileRun) engineObject(n *yaml.Node, group, kind string) {
	spec := manifest.Field(n, "spec")
	switch {
	case group == generator.Group:
		f.config(n, kind)
	case group == "kustomize.toolkit.fluxcd.io":
		f.patches(manifest.Items(spec, "patches"))
	case group == "fluxcd.controlplane.io":
		f.patches(manifest.Items(spec, "kustomize", "patches"))
		for _, resource := range manifest.Items(spec, "resources") {
			inner, _, _ := strings.Cut(manifest.Text(resource, "apiVersion"), "/")
			f.engineObject(resource, inner, manifest.Text(resource, "kind"))
		}
	case group == "argoproj.io":
		if kind == "ApplicationSet" {
			spec = manifest.Field(spec, "template", "spec")
		}
		f.patches(manifest.Items(spec, "source", "kustomize", "patches"))
		for _, source := range manifest.Items(spec, "sources") {
			f.patches(manifest.Items(source, "kustomize", "patches"))
		}
	case group == "kustomize.config.k8s.io" || engine.IsKustomization(f.file.Path):
		f.kustomization(n)
	}
}

// kustomization judges what a kustomization does to objects.
func (f *fileRun) kustomization(n *yaml.Node) {
	n, twice := overlay.Folded(n)
	for _, key := range twice {
		f.add(key, key.Value, "duplicate-key", report.Error, fmt.Sprintf("key %s stands here in another spelling, too: kustomize takes the two for one, and one of them goes unread", quote(key.Value)), "remove one of the two")
	}
	for _, entry := range manifest.Items(n, "patchesStrategicMerge") {
		if engine.IsText(entry.Value) {
			f.inlinePatch(entry, nil)
		}
	}
	f.patches(manifest.Items(n, "patches"))
	f.patches(manifest.Items(n, "patchesJson6902"))
	f.replacements(manifest.Items(n, "replacements"))
	f.texts(n, "commonLabels", "commonAnnotations")
	for _, entry := range manifest.Items(n, "labels") {
		f.texts(entry, "pairs")
		if finding, ok := f.fieldSpecBreach(manifest.Field(entry, "fields")); ok {
			f.findings = append(f.findings, finding)
		}
	}
	for _, entry := range slices.Concat(manifest.Items(n, "generators"), manifest.Items(n, "transformers")) {
		if !strings.Contains(entry.Value, "\n") {
			continue
		}
		manifest.Scan([]byte(entry.Value), f.file.Name, func(d manifest.Document, _ *report.Finding) {
			if manifest.Text(d.Node, "apiVersion") == "builtin" {
				moveBelow(d.Node, entry)
				f.builtin(d.Node)
			}
		})
	}
}

// moveBelow moves what stands in a text to where it stands in the file of it.
func moveBelow(n, text *yaml.Node) {
	if text.Style&yaml.LiteralStyle != 0 {
		n.Line, n.Column = text.Line+n.Line, 0
	} else {
		n.Line, n.Column = text.Line, text.Column
	}
	for _, child := range n.Content {
		moveBelow(child, text)
	}
}

// copies finds encrypted pairs and Secrets that a generator copies.
// https://github.com/fluxcd/kustomize-controller/blob/v1.9.5/internal/decryptor/decryptor.go
func (j *judgement) copies(r *repository) {
	sealed := make(map[string]bool)
	for i := range r.pairs {
		if p := &r.pairs[i]; p.encrypted {
			sealed[p.path] = true
		}
	}
	for _, secret := range r.secrets {
		sealed[secret.path] = true
	}
	for i := range r.engines.Kustomizations {
		for _, file := range r.engines.Kustomizations[i].Files {
			if sealed[file.Name] {
				j.add(file.At, "", "leaf-not-encrypted", "the generator copies an encrypted object into another one: Flux decrypts the files of a secretGenerator first, so that a credential reaches whoever may read that",
					"list the file under resources alone")
			}
		}
	}
}

// applied is a pair with the way in which a sync applies it.
type applied struct {
	*pair
	engine.Application
}

// syncs judges what engines do with the pairs.
func (j *judgement) syncs(r *repository) {
	j.copies(r)
	j.twice()
	functions := j.model.Functions()
	bySync := make(map[*engine.Sync][]applied)
	for i := range r.pairs {
		p := &r.pairs[i]
		for _, s := range j.model.Applying(p.path) {
			if a, ok := j.model.Application(s, p.path); ok && !p.built {
				bySync[s] = append(bySync[s], applied{p, a})
			}
		}
	}
	for _, s := range j.model.Syncs {
		pairs := bySync[s]
		j.kept(s, pairs)
		switch s.Engine {
		case engine.Flux:
			j.flux(s, pairs, functions)
		case engine.ArgoCD:
			j.argo(s, pairs)
		default:
			if sealed := ofForm(pairs, engine.Ciphertext); len(sealed) > 0 {
				j.add(s.At, s.Object, "engine-decryption", fmt.Sprintf("%s decrypts nothing, and applies %s as ciphertext, which stops Stork", s.Engine, encryptedPairs(sealed)),
					"let Flux or Argo CD apply the pair, which can decrypt it")
			}
		}
	}
}

// ofForm are the encrypted pairs among those that are applied in a form.
func ofForm(pairs []applied, form engine.Form) (some []*pair) {
	for _, a := range pairs {
		if a.encrypted && a.Form == form && !a.Never() {
			some = append(some, a.pair)
		}
	}
	return some
}

// kept finds the pairs that an engine leaves alone.
func (j *judgement) kept(s *engine.Sync, pairs []applied) {
	type reason struct {
		text string
		at   report.Position
	}
	kept, said := make(map[reason]int), make(map[reason]bool)
	for _, a := range pairs {
		kept[reason{a.Keeps, a.KeepsAt}]++
	}
	for i, a := range pairs {
		switch told := i > 0 && pairs[i-1].Ignores == a.Ignores; {
		case a.Ignores.Name == "" || told:
		case a.Perhaps == "":
			j.addUnsure(s, a.Ignores.At, "pair-ignored", fmt.Sprintf("%s ignores %s: a rotated credential does not reach the cluster, and %s says that all is in sync", s.Engine, a.Ignores.Name, s.Engine), "remove it")
		default:
			message := fmt.Sprintf("%s ignores %s, and nobody can tell whether a rotated credential reaches the cluster: %s", s.Engine, a.Ignores.Name, a.Perhaps)
			j.addFinding(report.Finding{Rule: "pair-ignored", Severity: report.Warning, Position: a.Ignores.At, Object: s.Object, Message: message, Hint: "remove it"})
		}
		by := reason{a.Keeps, a.KeepsAt}
		if a.Keeps == "" || said[by] {
			continue
		}
		said[by] = a.KeepsAt != (report.Position{})
		what := "the ClusterPair in " + a.file
		if n := kept[by]; said[by] && n > 1 {
			what = fmt.Sprintf("%d ClusterPairs, such as the one in %s,", n, a.file)
		}
		message := fmt.Sprintf("%s: %s does not apply %s", a.Keeps, s.Engine, strings.TrimSuffix(what, ","))
		if a.Anew() {
			message = fmt.Sprintf("%s: %s deletes %s each time, and with it what Stork knows of it", a.Keeps, s.Engine, what)
		} else if a.Once() {
			message = fmt.Sprintf("%s: %s never changes %s again, so that a rotated credential does not reach the cluster", a.Keeps, s.Engine, what)
		}
		j.addUnsure(s, cmp.Or(a.KeepsAt, a.place(a.at)), "pair-ignored", message, a.KeepsHint)
	}
}

// flux judges what a Kustomization of Flux does with the pairs that it applies.
func (j *judgement) flux(s *engine.Sync, pairs []applied, functions map[string][]engine.Function) {
	for _, f := range j.model.FunctionsOf(s, functions) {
		j.addUnsure(s, s.At, "flux-function", fmt.Sprintf("Flux builds %s, whose kustomization runs %s %s, and Flux runs no functions: the build fails", f.Dir, f.Kind, f.Name),
			"commit the rendered pairs, and name their folder as spec.path")
	}
	var plain []*pair
	for _, p := range pairs {
		switch {
		case !p.encrypted || p.Form != engine.Ciphertext || p.Never():
		case p.Why != "":
			j.addUnsure(s, cmp.Or(p.WhyAt, s.At), "flux-decryption", fmt.Sprintf("%s: Flux leaves the ClusterPair in %s encrypted, and applies it as ciphertext, which stops Stork", p.Why, p.file), "remove it")
		default:
			plain = append(plain, p.pair)
		}
	}
	if len(plain) > 0 {
		j.addUnsure(s, s.At, "flux-decryption", fmt.Sprintf("Flux applies %s as ciphertext, which stops Stork", encryptedPairs(plain)),
			"spec: {decryption: {provider: sops, secretRef: {name: sops-age}}}")
	}
	j.fluxKeys(s, pairs)
	if len(pairs) > 0 && !s.Healthy {
		j.addUnsure(s, s.At, "flux-health", fmt.Sprintf("Flux reports success without a look at the status of %s", report.Count(len(pairs), "ClusterPair", "ClusterPairs")),
			"spec.wait: true, and spec.healthCheckExprs for kind ClusterPair: current: status.schedulerStatus == 'Ready' && status.storageStatus in ['NotProvided', 'Ready']")
	}
}

// fluxKeys finds the pairs with whose keys Flux cannot decrypt.
func (j *judgement) fluxKeys(s *engine.Sync, pairs []applied) {
	const hint = "make an age key for this cluster, give it to Flux, add its recipient to the creation rule, and render the pair anew"
	told := false
	all, none := j.model.PostQuantum()
	for _, p := range pairs {
		if !p.encrypted || p.Form != engine.Clear || p.readers == (unique.Handle[string]{}) {
			continue
		}
		ever, later, never := readers.ForFlux(strings.Split(p.readers.Value(), "\n"))
		at := p.place(p.readersAt)
		switch {
		case len(ever)+len(later) == 0:
			j.addUnsure(s, at, "flux-recipient", "none of the recipients is for Flux, which reads no keys of SSH and runs no plugins of age: the Kustomization fails", hint)
		case len(ever) == 0 && all: // Flux reads them
		case len(ever) == 0 && none:
			j.addUnsure(s, at, "flux-recipient", "the Flux that is committed here is older than 2.9, or its kustomize-controller than 1.9, and reads no post-quantum keys; the pair has no other: the Kustomization fails", hint)
		case len(ever) == 0:
			j.addFinding(report.Finding{Rule: "flux-recipient", Severity: report.Warning, Position: at, Object: s.Object, Hint: "see which it is: kubectl get deployment kustomize-controller -n flux-system -o wide",
				Message: "Flux before 2.9, with kustomize-controller 1.8 or older, reads no post-quantum keys, and the pair has no other that it reads: there the Kustomization fails"})
		case len(never) > 0 && !told:
			told = true
			j.addFinding(report.Finding{Rule: "flux-recipient", Severity: report.Info, Position: at, Object: s.Object,
				Message: "Flux reads no keys of SSH and runs no plugins of age: it decrypts with the key of another recipient than " + quote(never[0]), Hint: "if Flux is to have that key, " + hint})
		}
	}
}

// addUnsure adds a finding about a sync. Where nobody can tell whether it applies the
// folder, the finding says so, and an error becomes a warning.
func (j *judgement) addUnsure(s *engine.Sync, at report.Position, rule, message, hint string) {
	known, _ := report.RuleOf(rule)
	severity := known.Severity
	if s.Unsure != "" {
		message = fmt.Sprintf("if it is folder %s that is applied here, %s; nobody can tell: %s", s.Path, message, s.Unsure)
		if severity == report.Error {
			severity = report.Warning
		}
	}
	j.addFinding(report.Finding{Rule: rule, Severity: severity, Position: at, Object: s.Object, Message: message, Hint: hint})
}

// argo judges what an Application or ApplicationSet of Argo CD does with the pairs that it
// applies.
func (j *judgement) argo(s *engine.Sync, pairs []applied) {
	sealed := ofForm(pairs, engine.Ciphertext)
	switch clear := len(ofForm(pairs, engine.Clear)) > 0 || j.model.Decrypts(s); {
	case s.Hydrates && clear:
		j.addUnsure(s, s.At, "plaintext-credential", "Argo CD commits what this source renders to Git, and a plugin decrypts the ClusterPair first: the credential is then in clear for every reader of the repository",
			"apply the pair by an Application with spec.source, which commits nothing")
	case clear:
		j.addUnsure(s, s.At, "argo-plaintext", "Argo CD decrypts the ClusterPairs in its repo-server, whose cache then holds them in clear", "keep the cache private to Argo CD, or let Flux decrypt inside the source cluster")
	case len(sealed) > 0:
		j.addUnsure(s, s.At, "argo-decryption", fmt.Sprintf("Argo CD applies %s as ciphertext, which stops Stork", encryptedPairs(sealed)),
			"list them under spec.files of a ClusterPairDecryptor among the generators of a kustomization, instead of its resources")
	}
}

// twice finds the pairs that several Kustomizations of Flux apply.
func (j *judgement) twice() {
	j.model.Twice(func(p engine.Pair, first, second *engine.Sync) {
		for _, pair := range [][2]*engine.Sync{{first, second}, {second, first}} {
			j.add(pair[0].At, pair[0].Object, "duplicate-pair", fmt.Sprintf("%s applies the ClusterPair in %s, too: who removes one of the two may take the pair away from Stork", pair[1].Object, p.File), "let one of them apply it")
		}
	})
}

// renamed finds the migrations that a kustomization takes away from their pair, or
// from the namespaces that they move: it knows neither field of them. Nothing is
// said where a kustomization around or below may edit them.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/internal/konfig/builtinpluginconsts/namereference.go
func (j *judgement) renamed(r *repository, admins []string, known bool) {
	edited := make(map[string]bool) // folders, with what they take in
	for _, dir := range j.model.Dirs() {
		if k := j.model.Kustomization(dir); k.Edits {
			j.model.Walk(k, edited, func(string) {})
		}
	}
	for _, dir := range j.model.Dirs() {
		k := j.model.Kustomization(dir)
		files, seen := make(map[string]bool), make(map[string]bool)
		if !k.Renames() || edited[dir] {
			continue
		}
		j.model.Walk(k, seen, func(file string) { files[file] = true })
		if slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(dir string) bool { return j.model.Kustomization(dir).Edits }) {
			continue
		}
		for i := range r.migrations {
			if m := &r.migrations[i]; !m.built && files[m.path] {
				j.renamedPair(r, k, m, files)
				j.movedNamespace(k, m, admins, known)
			}
		}
	}
}

// renamedPair finds that a kustomization gives the pair of a migration another name.
func (j *judgement) renamedPair(r *repository, k *engine.Kustomization, m *migration, files map[string]bool) {
	meant := func(p pair) bool {
		return files[p.path] && p.name == m.pair.name && (p.namespace() == m.namespace || p.namespace() == "" || m.namespace == "")
	}
	if by := cmp.Or(k.Prefix, k.Suffix); by.Name != "" && slices.ContainsFunc(r.pairs, meant) {
		j.add(by.At, m.object(), "migration-reference", fmt.Sprintf("kustomize renames ClusterPair %s to %s, and %s %s goes on naming the former", quote(m.pair.name), quote(k.Prefix.Name+m.pair.name+k.Suffix.Name), m.kind, quote(m.name)),
			fmt.Sprintf("a file under configurations that says: nameReference: [{kind: ClusterPair, fieldSpecs: [{kind: %s, path: %s}]}]", m.kind, m.pairField()))
	}
}

// movedNamespace finds that a kustomization moves a migration away from what it moves.
func (j *judgement) movedNamespace(k *engine.Kustomization, m *migration, admins []string, known bool) {
	to := k.Namespace
	if to.Name == "" || slices.Contains(admins, to.Name) {
		return
	}
	fits := m.namespace == "" || slices.Contains(admins, m.namespace)
	for _, ns := range m.namespaces {
		if ns.name != to.Name && (fits || ns.name == m.namespace) {
			add := j.warn
			if known {
				add = j.add
			}
			add(to.At, m.object(), "migration-namespace", fmt.Sprintf("kustomize moves %s %s, which lists namespace %s: outside the admin namespace %s it moves its own namespace alone", m.kind, quote(m.name), quote(ns.name), admins[0]),
				"leave the "+m.kind+" out of this kustomization, or let it name "+to.Name+" only")
			return
		}
	}
}

// names tells whether the pair of a name becomes that which a migration names, by
// the kustomizations that take the migration in.
func names(model *engine.Model, m *migration, name string, known func(name string) bool) bool {
	for again := true; again; {
		again = false
		for _, dir := range model.Dirs() {
			k := model.Kustomization(dir)
			before, isPrefixed := strings.CutPrefix(name, k.Prefix.Name)
			before, isSuffixed := strings.CutSuffix(before, k.Suffix.Name)
			if !isPrefixed || !isSuffixed || before == name || before == "" {
				continue
			}
			model.Walk(k, make(map[string]bool), func(file string) { again = again || file == m.path })
			if again {
				name = before
				break
			}
		}
		if again && known(name) {
			return true
		}
	}
	return false
}

// encryptedPairs are encrypted pairs in a sentence.
func encryptedPairs(pairs []*pair) string {
	if len(pairs) == 1 {
		return "the encrypted ClusterPair in " + pairs[0].file
	}
	return fmt.Sprintf("%d encrypted ClusterPairs, such as the one in %s,", len(pairs), pairs[0].file)
}
