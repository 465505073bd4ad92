package validate

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// syncing is an object that makes Flux or Argo CD apply a folder.
type syncing struct {
	object string
	file   string // its own path
	path   string // of the folder, from the root of the repository
	at     report.Position
	// decrypts says that it decrypts, healthy that it looks at the status of
	// ClusterPairs, recursive that folders below count without a kustomization.
	decrypts, healthy, recursive bool
	// alone says that what it applies has other names, goes to another cluster, or
	// is not applied now.
	alone, suspended bool
	secret           string // NAMESPACE/NAME of the Secret with the key of Flux
	plugin           string // of Argo CD
}

// kustomization is what a kustomization.yaml takes in.
type kustomization struct {
	dir       string
	resources []string // files and folders
	patches   []patchFile
	files     []reference // that its generators copy into ConfigMaps and Secrets
	// decrypts says that it lets a generator decrypt; decryptsFlux and checksFlux
	// that it adds decryption and health checks to the Flux Kustomizations that
	// it takes in.
	decrypts, decryptsFlux, checksFlux bool
	prefix, suffix, namespace          reference // what it gives to the names of what it takes in
	edits                              bool      // it may change any field of it
	functions                          []string  // files of its generators and transformers
	inline                             []config  // those that stand in it
}

// flux notes a Kustomization of Flux.
// https://fluxcd.io/flux/components/kustomize/kustomizations/
func (f *fileRun) flux(n *yaml.Node) {
	spec := manifest.Field(n, "spec")
	s := syncing{object: "Kustomization " + manifest.Text(n, "metadata", "namespace") + "/" + manifest.Text(n, "metadata", "name"),
		file: f.file.Path, path: path.Clean(strings.TrimPrefix(manifest.Text(spec, "path"), "/")), recursive: true}
	s.at = f.position(kindOf(n))
	if at := manifest.Field(spec, "path"); at != nil {
		s.at = f.position(at)
	}
	s.decrypts = manifest.Text(spec, "decryption", "provider") == "sops"
	s.suspended = manifest.Text(spec, "suspend") == "true"
	s.alone = renames(spec, "targetNamespace") || manifest.Field(spec, "kubeConfig") != nil || s.suspended
	if name := manifest.Text(spec, "decryption", "secretRef", "name"); name != "" {
		s.secret = manifest.Text(n, "metadata", "namespace") + "/" + name
	}
	checks := manifest.Field(spec, "healthChecks")
	waits := manifest.Text(spec, "wait") == "true" || checks != nil && len(checks.Content) > 0
	if exprs := manifest.Field(spec, "healthCheckExprs"); exprs != nil && waits {
		s.healthy = slices.ContainsFunc(exprs.Content, func(e *yaml.Node) bool {
			return manifest.Text(e, "kind") == "ClusterPair" && strings.HasPrefix(manifest.Text(e, "apiVersion"), "stork.libopenstorage.org/") && manifest.Text(e, "current") != ""
		})
	}
	f.patches(items(spec, "patches"))
	if source := manifest.Text(spec, "sourceRef", "kind"); source != "" && source != "GitRepository" {
		f.noted.open = true // its path is that of an artifact or bucket
		return
	}
	f.noted.fluxes = append(f.noted.fluxes, s)
}

// argo notes the sources of an Application or ApplicationSet.
// https://argo-cd.readthedocs.io/en/stable/user-guide/application-specification/
func (f *fileRun) argo(n *yaml.Node, kind string) {
	spec := manifest.Field(n, "spec")
	switch kind {
	case "ApplicationSet":
		spec = manifest.Field(spec, "template", "spec")
	case "Application":
	default:
		return
	}
	sources := []*yaml.Node{manifest.Field(spec, "source")}
	if several := manifest.Field(spec, "sources"); several != nil {
		sources = several.Content
	}
	for _, source := range sources {
		f.patches(items(manifest.Field(source, "kustomize"), "patches"))
		at := manifest.Field(source, "path")
		if at == nil || strings.Contains(at.Value, "{{") {
			f.noted.open = f.noted.open || at != nil
			continue
		}
		f.noted.apps = append(f.noted.apps, syncing{object: kind + " " + manifest.Text(n, "metadata", "namespace") + "/" + manifest.Text(n, "metadata", "name"),
			file: f.file.Path, path: path.Clean(strings.TrimPrefix(at.Value, "/")), at: f.position(at),
			decrypts: manifest.Field(source, "plugin") != nil, plugin: noted(source, "plugin", "name"), recursive: manifest.Text(source, "directory", "recurse") == "true"})
	}
}

// kustomization notes what a kustomization.yaml takes in.
func (f *fileRun) kustomization(n *yaml.Node) {
	k := kustomization{dir: path.Dir(f.file.Path), prefix: f.reference(n, "namePrefix"), suffix: f.reference(n, "nameSuffix"), namespace: f.reference(n, "namespace")}
	for _, key := range []string{"patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "transformers", "configurations", "vars"} {
		k.edits = k.edits || len(items(n, key)) > 0
	}
	for _, key := range []string{"resources", "components", "bases"} {
		for _, entry := range items(n, key) {
			k.resources = append(k.resources, path.Join(k.dir, entry.Value))
		}
	}
	for _, entry := range items(n, "patchesStrategicMerge") {
		if strings.Contains(entry.Value, "\n") {
			f.inlinePatch(entry, nil)
		} else {
			k.patches = append(k.patches, patchFile{path: path.Join(k.dir, entry.Value)})
		}
	}
	k.patches = slices.Concat(k.patches, f.patches(items(n, "patches")), f.patches(items(n, "patchesJson6902")), f.replacements(items(n, "replacements")))
	for _, entry := range items(n, "configurations") {
		k.patches = append(k.patches, patchFile{path.Join(k.dir, entry.Value), true})
	}
	for _, entry := range items(n, "labels") {
		if finding, ok := f.fieldSpecBreach(manifest.Field(entry, "fields")); ok {
			f.findings = append(f.findings, finding)
		}
	}
	for _, entry := range slices.Concat(items(n, "configMapGenerator"), items(n, "secretGenerator")) {
		for _, file := range items(entry, "files") {
			_, name, named := strings.Cut(file.Value, "=")
			if !named {
				name = file.Value
			}
			k.files = append(k.files, reference{path.Join(k.dir, name), f.position(file)})
		}
	}
	for _, entry := range items(n, "patches") {
		patch := manifest.Text(entry, "patch")
		k.decryptsFlux = k.decryptsFlux || strings.Contains(patch, "decryption")
		k.checksFlux = k.checksFlux || strings.Contains(patch, "healthCheckExprs")
	}
	for _, entry := range items(n, "generators") {
		file := path.Join(k.dir, entry.Value)
		k.decrypts = k.decrypts || strings.Contains(entry.Value, "ClusterPairDecryptor") || strings.Contains(entry.Value, "ksops")
		k.resources = append(k.resources, file+generatorMark)
	}
	for _, entry := range slices.Concat(items(n, "generators"), items(n, "transformers")) {
		if strings.Contains(entry.Value, "\n") {
			manifest.Scan([]byte(entry.Value), f.file.Name, func(d manifest.Document, _ *report.Finding) {
				switch {
				case isConfig(d.Node):
					k.inline = append(k.inline, configOf(d.Node, f.file.Path, f.position(entry)))
				case manifest.Text(d.Node, "apiVersion") == "builtin":
					moveBelow(d.Node, entry)
					f.builtin(d.Node)
				}
			})
		} else {
			k.functions = append(k.functions, path.Join(k.dir, entry.Value))
		}
	}
	f.noted.kustomizations = append(f.noted.kustomizations, k)
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

// renames tells whether a kustomization gives objects other names, or a namespace.
func (k *kustomization) renames() bool { return k.prefix.name+k.suffix.name+k.namespace.name != "" }

// renames tells whether a Kustomization of Flux gives objects other names, or the
// namespace under a key.
func renames(n *yaml.Node, namespace string) bool {
	return slices.ContainsFunc([]string{namespace, "namePrefix", "nameSuffix"}, func(key string) bool { return manifest.Text(n, key) != "" })
}

// generatorMark sets the file of a generator apart from a resource.
const generatorMark = "\x00generator"

func items(n *yaml.Node, key string) []*yaml.Node {
	if list := manifest.Field(n, key); list != nil && list.Kind == yaml.SequenceNode {
		return list.Content
	}
	return nil
}

// roots gives for each file that a kustomization takes in the folders of those
// that no other builds on.
func (r *repository) roots() map[string][]string {
	byDir := r.byDir()
	based := make(map[string]bool)
	for i := range r.kustomizations {
		for _, resource := range r.kustomizations[i].resources {
			if byDir[resource] != nil {
				based[resource] = true
			}
		}
	}
	roots := make(map[string][]string)
	for _, dir := range slices.Sorted(maps.Keys(byDir)) {
		if based[dir] {
			continue
		}
		alone := []string{dir}
		r.walk(byDir, byDir[dir], make(map[string]bool), func(file string) {
			if known := roots[file]; known == nil {
				roots[file] = alone
			} else if !slices.Contains(known, dir) {
				roots[file] = append(slices.Clone(known), dir)
			}
		})
	}
	return roots
}

// byDir are the kustomizations by their folders.
func (r *repository) byDir() map[string]*kustomization {
	byDir := make(map[string]*kustomization, len(r.kustomizations))
	for i := range r.kustomizations {
		byDir[r.kustomizations[i].dir] = &r.kustomizations[i]
	}
	return byDir
}

// walk visits the files that a kustomization takes in, with those of its bases.
func (r *repository) walk(byDir map[string]*kustomization, k *kustomization, seen map[string]bool, visit func(file string)) {
	if seen[k.dir] {
		return
	}
	seen[k.dir] = true
	for _, resource := range k.resources {
		if base := byDir[resource]; base != nil {
			r.walk(byDir, base, seen, visit)
		} else {
			visit(resource)
		}
	}
}

// covered are the pairs that a sync applies, and the folders of the
// kustomizations that it builds.
func (r *repository) covered(s *syncing, byDir map[string]*kustomization) (pairs []*pair, seen map[string]bool) {
	files := make(map[string]bool)
	seen = make(map[string]bool)
	for dir, k := range byDir {
		if dir == s.path || s.recursive && below(dir, s.path) && !between(dir, s.path, byDir) {
			r.walk(byDir, k, seen, func(file string) { files[file] = true })
		}
	}
	for i := range r.pairs {
		p := &r.pairs[i]
		if files[p.path] || s.takesIn(p.path, byDir) {
			pairs = append(pairs, p)
		}
	}
	return pairs, seen
}

// decrypts tells whether one of the kustomizations in some folders decrypts.
func (r *repository) decrypts(seen map[string]bool, byDir map[string]*kustomization) bool {
	for dir := range seen {
		if byDir[dir].decrypts {
			return true
		}
	}
	return slices.ContainsFunc(r.decryptors, func(dir string) bool { return seen[dir] })
}

// takesIn tells whether a sync applies a file by itself: where no kustomization
// is, all files count, those of folders below if it says so.
func (s *syncing) takesIn(file string, byDir map[string]*kustomization) bool {
	dir := path.Dir(file)
	return byDir[dir] == nil && (dir == s.path || s.recursive && below(dir, s.path) && !between(dir, s.path, byDir))
}

// between tells whether there is a kustomization above a folder, at or below
// top: what stands in the folder counts only as far as that one takes it in.
// https://github.com/fluxcd/pkg/blob/e2cfd1a2/kustomize/kustomize_generator.go
func between(dir, top string, byDir map[string]*kustomization) bool {
	for dir != top && dir != "." && dir != "/" {
		if dir = path.Dir(dir); byDir[dir] != nil && (dir == top || below(dir, top)) {
			return true
		}
	}
	return false
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
	for i := range r.kustomizations {
		for _, file := range r.kustomizations[i].files {
			if sealed[file.name] {
				j.add(file.at, "", "leaf-not-encrypted", "the generator copies an encrypted object into another one: Flux decrypts the files of a secretGenerator first, so that a credential reaches whoever may read that",
					"list the file under resources alone")
			}
		}
	}
}

// syncs judges what Flux and Argo CD do with the pairs.
func (j *judgement) syncs(r *repository) {
	byDir := r.byDir()
	j.copies(r)
	j.twice(r, byDir)
	functions := r.functions(byDir)
	for i := range r.fluxes {
		s := &r.fluxes[i]
		pairs, seen := r.covered(s, byDir)
		for _, dir := range slices.Sorted(maps.Keys(seen)) {
			for _, f := range functions[dir] {
				j.add(s.at, s.object, "flux-function", fmt.Sprintf("Flux builds %s, whose kustomization runs %s %s, and Flux runs no functions: the build fails", dir, f.Kind, f.Name),
					"commit the rendered pairs, and name their folder as spec.path")
			}
		}
		if encrypted := slices.DeleteFunc(slices.Clone(pairs), func(p *pair) bool { return !p.encrypted }); len(encrypted) > 0 && !s.decrypts && !r.patched(s, byDir, func(k *kustomization) bool { return k.decryptsFlux }) {
			j.add(s.at, s.object, "flux-decryption", fmt.Sprintf("Flux applies %s as ciphertext, which stops Stork", encryptedPairs(encrypted)),
				"spec: {decryption: {provider: sops, secretRef: {name: sops-age}}}")
		}
		if len(pairs) > 0 && !s.healthy && !r.patched(s, byDir, func(k *kustomization) bool { return k.checksFlux }) {
			j.add(s.at, s.object, "flux-health", fmt.Sprintf("Flux reports success without a look at the status of %s", report.Count(len(pairs), "ClusterPair", "ClusterPairs")),
				"spec.wait: true, and spec.healthCheckExprs for kind ClusterPair: current: status.schedulerStatus == 'Ready' && status.storageStatus in ['NotProvided', 'Ready']")
		}
	}
	for i := range r.apps {
		s := &r.apps[i]
		pairs, seen := r.covered(s, byDir)
		pairs = slices.DeleteFunc(pairs, func(p *pair) bool { return !p.encrypted })
		switch {
		case s.decrypts && len(pairs) > 0, r.decrypts(seen, byDir):
			j.add(s.at, s.object, "argo-plaintext", "Argo CD decrypts the ClusterPairs in its repo-server, whose cache then holds them in clear", "keep the cache private to Argo CD, or let Flux decrypt inside the source cluster")
		case len(pairs) > 0:
			j.add(s.at, s.object, "argo-decryption", fmt.Sprintf("Argo CD applies %s as ciphertext, which stops Stork", encryptedPairs(pairs)),
				"list them under spec.files of a ClusterPairDecryptor among the generators of a kustomization, instead of its resources")
		}
	}
}

// twice finds the pairs that several Kustomizations of Flux apply as they are to
// one cluster: those that stand in one file, or that one kustomization takes in.
func (j *judgement) twice(r *repository, byDir map[string]*kustomization) {
	if len(r.fluxes) < 2 {
		return
	}
	type applied struct{ pair, names, source string } // names are the kustomizations that give it some
	first, roots := make(map[applied]*syncing), r.roots()
	slices.SortFunc(r.fluxes, func(a, b syncing) int { return comparePositions(a.at, b.at) })
	for i := range r.fluxes {
		s := &r.fluxes[i]
		if s.alone {
			continue
		}
		pairs, seen := r.covered(s, byDir)
		names := fmt.Sprint(slices.DeleteFunc(slices.Sorted(maps.Keys(seen)), func(dir string) bool { return !byDir[dir].renames() }))
		sources := roots[s.file]
		if sources == nil {
			sources = []string{s.file}
		}
		for _, p := range pairs {
			for _, source := range sources {
				key := applied{p.path, names, source}
				other := first[key]
				if other == nil {
					first[key] = s
					continue
				}
				for _, pair := range [][2]*syncing{{s, other}, {other, s}} {
					j.add(pair[0].at, pair[0].object, "duplicate-pair", fmt.Sprintf("%s applies the ClusterPair in %s, too: who removes one of the two may take the pair away from Stork", pair[1].object, p.file), "let one of them apply it")
				}
			}
		}
	}
}

// renamed finds the migrations that a kustomization takes away from their pair, or
// from the namespaces that they move: it knows neither field of them. Nothing is
// said where a kustomization around or below may edit them.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/internal/konfig/builtinpluginconsts/namereference.go
func (j *judgement) renamed(r *repository, admins []string) {
	byDir := r.byDir()
	edited := make(map[string]bool) // folders, with what they take in
	for dir, k := range byDir {
		if k.edits {
			r.walk(byDir, byDir[dir], edited, func(string) {})
		}
	}
	for dir, k := range byDir {
		files, seen := make(map[string]bool), make(map[string]bool)
		if !k.renames() || edited[dir] {
			continue
		}
		r.walk(byDir, k, seen, func(file string) { files[file] = true })
		if slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(dir string) bool { return byDir[dir].edits }) {
			continue
		}
		for i := range r.migrations {
			m := &r.migrations[i]
			if m.built || !files[m.path] {
				continue
			}
			object := fmt.Sprintf("%s %s/%s", m.kind, m.namespace, m.name)
			meant := func(p pair) bool {
				return files[p.path] && p.name == m.pair.name && (p.namespace == m.namespace || p.namespace == "" || m.namespace == "")
			}
			if by := cmp.Or(k.prefix, k.suffix); by.name != "" && slices.ContainsFunc(r.pairs, meant) {
				j.add(by.at, object, "migration-reference", fmt.Sprintf("kustomize renames ClusterPair %s to %s, and %s %s goes on naming the former", quote(m.pair.name), quote(k.prefix.name+m.pair.name+k.suffix.name), m.kind, quote(m.name)),
					fmt.Sprintf("a file under configurations that says: nameReference: [{kind: ClusterPair, fieldSpecs: [{kind: %s, path: %s}]}]", m.kind, m.pairField()))
			}
			if to := k.namespace; to.name != "" && !slices.Contains(admins, to.name) {
				fits := m.namespace == "" || slices.Contains(admins, m.namespace)
				for _, ns := range m.namespaces {
					if ns.name != to.name && (fits || ns.name == m.namespace) {
						j.add(to.at, object, "migration-namespace", fmt.Sprintf("kustomize moves %s %s, which lists namespace %s: outside the admin namespace %s it moves its own namespace alone", m.kind, quote(m.name), quote(ns.name), admins[0]),
							"leave the "+m.kind+" out of this kustomization, or let it name "+to.name+" only")
						break
					}
				}
			}
		}
	}
}

// names tells whether the pair of a name becomes that which a migration names, by
// the kustomizations that take the migration in.
func (r *repository) names(m *migration, name string, known func(name string) bool) bool {
	byDir := r.byDir()
	for again := true; again; {
		again = false
		for _, dir := range slices.Sorted(maps.Keys(byDir)) {
			k := byDir[dir]
			before, isPrefixed := strings.CutPrefix(name, k.prefix.name)
			before, isSuffixed := strings.CutSuffix(before, k.suffix.name)
			if !isPrefixed || !isSuffixed || before == name || before == "" {
				continue
			}
			r.walk(byDir, k, make(map[string]bool), func(file string) { again = again || file == m.path })
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

// patched tells whether a kustomization that takes in a Flux Kustomization adds
// something to it.
func (r *repository) patched(s *syncing, byDir map[string]*kustomization, adds func(*kustomization) bool) bool {
	for i := range r.kustomizations {
		k := &r.kustomizations[i]
		if !adds(k) {
			continue
		}
		found := false
		r.walk(byDir, k, make(map[string]bool), func(file string) { found = found || file == s.file })
		if found {
			return true
		}
	}
	return false
}
