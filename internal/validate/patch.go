package validate

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/utils"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/schema"
)

// A patch stands in clear: who can write to the repository and has no key could
// narrow with it what Flux decrypts, and put a server of his own in the place of
// the one that is encrypted. What follows finds that in the patches of
// kustomizations, Flux and Argo CD. What else kustomize can do to an object is
// for those to judge who have its result: validate -k.

// mayPatch is a document that would be a breach if it were a patch of a
// ClusterPair.
type mayPatch struct {
	path    string
	pair    bool // it says itself that it is for one
	sealed  bool // it is encrypted: a breach over a pair that is, too
	finding report.Finding
}

// patches judges the inline ones among patches, and gives the files of the
// others.
func (f *fileRun) patches(entries []*yaml.Node) []engine.PatchFile {
	var files []engine.PatchFile
	for _, entry := range entries {
		target := manifest.Field(entry, "target")
		if file := manifest.Text(entry, "path"); file != "" {
			files = append(files, engine.PatchFile{Path: path.Join(path.Dir(f.file.Path), file), Pairs: target != nil && engine.MayBePair(target)})
		}
		switch inline := manifest.Field(entry, "patch"); {
		case inline == nil:
		case inline.Kind == yaml.ScalarNode:
			f.inlinePatch(inline, target)
		default:
			f.patch(inline, target, nil)
		}
	}
	return files
}

// inlinePatch judges the text of a patch. target may be nil.
func (f *fileRun) inlinePatch(text, target *yaml.Node) {
	docs, err := manifest.Values([]byte(text.Value), f.file.Name)
	if err != nil {
		return // kustomize says so
	}
	for _, doc := range docs {
		f.patch(doc, target, text)
	}
}

// patch judges a patch that stands in text, which may be nil.
func (f *fileRun) patch(doc, target, text *yaml.Node) {
	if target != nil && !engine.MayBePair(target) || target == nil && !looksLikePair(doc) {
		return
	}
	if text != nil {
		moveBelow(doc, text)
	}
	if finding, ok := f.patchBreach(doc); ok {
		f.findings = append(f.findings, finding)
	}
}

// texts judges the labels or annotations of a kustomization.
func (f *fileRun) texts(n *yaml.Node, names ...string) {
	for _, name := range names {
		if texts := manifest.Field(n, name); texts != nil && texts.Kind == yaml.MappingNode {
			f.findings = append(f.findings, schema.Texts(texts, name, f.file.Name)...)
		}
	}
}

// sealedPlaces are what no patch in clear may touch, as JSON pointers.
var sealedPlaces = []string{"/sops", "/spec/config", "/spec/options/token"}

// patchBreach finds in a patch what it does to the encrypted part of a pair.
func (f *fileRun) patchBreach(doc *yaml.Node) (report.Finding, bool) {
	if doc.Kind == yaml.SequenceNode { // of JSON 6902, or of replacements
		for _, op := range doc.Content {
			if finding, ok := f.replacementBreach(op); ok {
				return finding, true
			}
			at, value, from := manifest.Field(op, "path"), manifest.Field(op, "value"), manifest.Field(op, "from")
			for _, place := range sealedPlaces {
				if from != nil && (isOrBelow(from.Value, place) || isOrBelow(place, strings.TrimSuffix(from.Value, "/"))) {
					return f.breachOf(from, place), true
				}
				if at == nil {
					continue
				}
				inside, isAbove := strings.CutPrefix(place, strings.TrimSuffix(at.Value, "/"))
				if isOrBelow(at.Value, place) || isAbove && manifest.Field(value, strings.Split(strings.TrimPrefix(inside, "/"), "/")...) != nil {
					return f.breachOf(at, place), true
				}
			}
		}
		return report.Finding{}, false
	}
	if manifest.Field(doc, "targets") != nil {
		return f.replacementBreach(doc)
	}
	if manifest.Field(doc, "apiVersion") == nil && manifest.Field(doc, "kind") == nil { // may be listed under configurations
		if finding, ok := f.fieldSpecBreach(doc); ok {
			return finding, true
		}
	}
	if sops := manifest.Field(doc, "sops"); sops != nil && !strings.HasPrefix(manifest.Text(sops, "mac"), "ENC[") { // with one it is an encrypted patch
		return f.breachOf(sops, "/sops"), true
	}
	for _, place := range sealedPlaces[1:] {
		if leaf := clearLeaf(manifest.Field(doc, strings.Split(place[1:], "/")...)); leaf != nil {
			return f.breachOf(leaf, place), true
		}
	}
	return report.Finding{}, false
}

func isOrBelow(pointer, place string) bool {
	return pointer == place || strings.HasPrefix(pointer, place+"/")
}

func (f *fileRun) breachOf(at *yaml.Node, place string) report.Finding {
	const hint = "change it at its source, the config that renders the pair; patch metadata and options only"
	if place == "/sops" {
		return f.finding(at, "sops", "encryption-scope", report.Error, "the patch changes what SOPS says about a ClusterPair: without a key anybody could move values out of the encryption with it", hint)
	}
	field := strings.ReplaceAll(place[1:], "/", ".")
	return f.finding(at, field, "leaf-not-encrypted", report.Error, "the patch changes "+field+" of a ClusterPair in clear: without a key anybody could send the credential elsewhere with it", hint)
}

// clearLeaf is the first value below n that is not encrypted; null, which makes
// kustomize remove a field, is one.
func clearLeaf(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind == yaml.ScalarNode {
		if strings.HasPrefix(n.Value, "ENC[") {
			return nil
		}
		return n
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			continue
		}
		if leaf := clearLeaf(child); leaf != nil {
			return leaf
		}
	}
	return nil
}

// replacements judges the inline ones among replacements, and gives the files of
// the others.
func (f *fileRun) replacements(entries []*yaml.Node) []engine.PatchFile {
	var files []engine.PatchFile
	for _, entry := range entries {
		if file := manifest.Text(entry, "path"); file != "" {
			files = append(files, engine.PatchFile{Path: path.Join(path.Dir(f.file.Path), file), Pairs: true})
		}
		if finding, ok := f.replacementBreach(entry); ok {
			f.findings = append(f.findings, finding)
		}
	}
	return files
}

// replacementBreach finds in a replacement that it copies a value into the
// encrypted part of a pair, or out of it.
func (f *fileRun) replacementBreach(entry *yaml.Node) (report.Finding, bool) {
	for _, target := range manifest.Items(entry, "targets") {
		if selector := manifest.Field(target, "select"); selector == nil || !engine.MayBePair(selector) {
			continue
		}
		for _, field := range manifest.Items(target, "fieldPaths") {
			if place := sealedPlace(field.Value); place != "" {
				return f.breachOf(field, place), true
			}
		}
	}
	source := manifest.Field(entry, "source")
	if at := manifest.Field(source, "fieldPath"); at != nil && engine.MayBePair(source) {
		if place := sealedPlace(at.Value); place != "" && place != "/sops" {
			field := strings.ReplaceAll(place[1:], "/", ".")
			return f.finding(at, field, "leaf-not-encrypted", report.Error, "the replacement copies "+field+" of a ClusterPair to where nothing encrypts it: Flux applies ciphertext there, Argo CD what it hides",
				"take the value from where it stands in clear"), true
		}
	}
	return report.Finding{}, false
}

// sealedPlace is the one among sealedPlaces that a field path of kustomize leads
// to, into or over.
func sealedPlace(fieldPath string) string {
	keys := utils.SmarterPathSplitter(fieldPath, ".")
	for _, place := range sealedPlaces {
		sealed := strings.Split(place[1:], "/")
		n := min(len(keys), len(sealed))
		if slices.EqualFunc(keys[:n], sealed[:n], func(key, sealed string) bool { return key == sealed || key == "*" }) {
			return place
		}
	}
	return ""
}

// fieldSpecBreach finds a field specification that leads a transformer of
// kustomize, below n, to the encrypted part of a pair.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/types/fieldspec.go
func (f *fileRun) fieldSpecBreach(n *yaml.Node) (report.Finding, bool) {
	if n == nil {
		return report.Finding{}, false
	}
	if at := manifest.Field(n, "path"); at != nil && engine.MayBePair(n) {
		keys := utils.PathSplitter(at.Value, "/")
		for i := range keys {
			keys[i] = strings.TrimSuffix(keys[i], "[]")
		}
		for _, place := range sealedPlaces {
			sealed := strings.Split(place[1:], "/")
			if len(keys) >= len(sealed) && slices.Equal(keys[:len(sealed)], sealed) {
				return f.breachOf(at, place), true
			}
		}
	}
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode {
		for _, child := range n.Content {
			if finding, ok := f.fieldSpecBreach(child); ok {
				return finding, true
			}
		}
	}
	return report.Finding{}, false
}

// builtin judges a transformer of kustomize itself, which does in a file of its own
// what a field of a kustomization does otherwise.
// https://github.com/kubernetes-sigs/kustomize/tree/kustomize/v5.8.2/api/internal/builtins
func (f *fileRun) builtin(n *yaml.Node) {
	if f.aside {
		return
	}
	finding, breach := f.fieldSpecBreach(manifest.Field(n, "fieldSpecs"))
	if breach {
		f.findings = append(f.findings, finding)
	}
	switch manifest.Text(n, "kind") {
	case "PatchTransformer":
		f.noted.engines.PatchFiles = append(f.noted.engines.PatchFiles, f.patches([]*yaml.Node{n})...)
	case "PatchJson6902Transformer":
		f.noted.engines.PatchFiles = append(f.noted.engines.PatchFiles, f.patches([]*yaml.Node{n})...)
		if text := manifest.Field(n, "jsonOp"); text != nil {
			f.inlinePatch(text, manifest.Field(n, "target"))
		}
	case "PatchStrategicMergeTransformer":
		if text := manifest.Field(n, "patches"); text != nil {
			f.inlinePatch(text, nil)
		}
		for _, entry := range manifest.Items(n, "paths") {
			f.noted.engines.PatchFiles = append(f.noted.engines.PatchFiles, engine.PatchFile{Path: path.Join(path.Dir(f.file.Path), entry.Value)})
		}
	case "ReplacementTransformer":
		f.noted.engines.PatchFiles = append(f.noted.engines.PatchFiles, f.replacements(manifest.Items(n, "replacements"))...)
	}
}

// embedded finds encrypted pairs inside of other objects, such as a ResourceSet or a
// ManifestWork: whoever takes them out decrypts nothing.
func (f *fileRun) embedded(n *yaml.Node) {
	if f.aside || f.options.Plaintext || sopsfile.IsEncrypted(n) || !bytes.Contains(f.doc.Text, []byte("ClusterPair")) {
		return
	}
	var walk func(n *yaml.Node)
	walk = func(inner *yaml.Node) {
		if inner != n && inner.Kind == yaml.MappingNode && manifest.Text(inner, "kind") == "ClusterPair" && looksLikePair(inner) {
			if hasCiphertext(manifest.Field(inner, "spec")) {
				f.add(cmp.Or(manifest.Field(inner, "kind"), inner), "", "engine-decryption", report.Error, fmt.Sprintf("an encrypted ClusterPair inside of a %s, where nothing decrypts it: ciphertext reaches Stork and stops it", cmp.Or(manifest.Text(n, "kind"), "document")),
					"give it a file of its own, which Flux or Argo CD decrypts")
			}
			return
		}
		for _, child := range inner.Content {
			walk(child)
		}
	}
	walk(n)
}

// disguised finds what SOPS opens as a ClusterPair and Kubernetes does not take for
// one: kind, lists and colons in keys are outside of the MAC, and kustomize can
// make a pair of it again.
func (f *fileRun) disguised(n *yaml.Node) {
	if f.aside || looksLikePair(n) || !sopsfile.IsEncrypted(n) {
		return
	}
	var found *yaml.Node
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], path+n.Content[i].Value+":")
			}
		case yaml.SequenceNode: // SOPS counts no lists
			for _, c := range n.Content {
				walk(c, path)
			}
		default:
			if strings.HasPrefix(n.Value, "ENC[") && (strings.HasPrefix(path, "spec:config:") || path == "spec:options:token:") {
				found = cmp.Or(found, n)
			}
		}
	}
	walk(n, "")
	if found != nil {
		f.add(cmp.Or(manifest.Field(n, "kind"), n), "kind", "pair-kind", report.Error, fmt.Sprintf("a ClusterPair in disguise: line %d is encrypted as one, and the object is none", found.Line),
			"restore the file from Git history; who has no key could have made a pair of it again, with another server")
	}
}

// notePatch notes a document of which only its kustomization tells whether it
// is a patch, and of what.
func (f *fileRun) notePatch(doc *yaml.Node) {
	if f.aside {
		return
	}
	m := mayPatch{path: f.file.Path, pair: looksLikePair(doc)}
	breach := false
	if m.finding, breach = f.patchBreach(doc); breach {
		f.noted.mayPatch = append(f.noted.mayPatch, m)
	} else if n := cmp.Or(manifest.Field(doc, "spec", "config"), manifest.Field(doc, "spec", "options", "token")); n != nil && !m.pair && sopsfile.IsEncrypted(doc) { // the others are known as pairs
		m.sealed, m.finding = true, sealedBreach(f.position(n))
		f.noted.mayPatch = append(f.noted.mayPatch, m)
	}
}

// sealedBreach is that an encrypted patch changes an encrypted pair.
func sealedBreach(at report.Position) report.Finding {
	return report.Finding{Rule: "leaf-not-encrypted", Severity: report.Error, Position: at, Path: "spec",
		Message: "the patch of an encrypted ClusterPair is encrypted itself, which takes no key: where Argo CD decrypts, anybody could send the credential elsewhere with it, and Flux fails",
		Hint:    "change the pair at its source, the config that renders it"}
}

// overSealed tells whether a patch is among those of an encrypted pair.
func (r *repository) overSealed(patch string, m *engine.Model) bool {
	files := m.Patched(patch)
	return slices.ContainsFunc(r.pairs, func(p pair) bool { return p.encrypted && p.path != patch && files[p.path] })
}

// judgePatches takes out what has been found only because a patch is no whole
// object, and puts in what is wrong with it as a patch of a ClusterPair.
func (v *Validator) judgePatches(m *engine.Model) {
	r := &v.repo
	patches := m.PatchesOnly()
	if len(patches) == 0 {
		return
	}
	isPatch := func(file string) bool { _, ok := patches[file]; return ok }

	for i := range r.pairs {
		p := &r.pairs[i]
		if p.encrypted && !p.aside && isPatch(p.path) && !slices.ContainsFunc(r.mayPatch, func(m mayPatch) bool { return m.path == p.path }) {
			r.mayPatch = append(r.mayPatch, mayPatch{p.path, true, true, sealedBreach(p.place(p.at))})
		}
	}
	r.mayPatch = slices.DeleteFunc(r.mayPatch, func(p mayPatch) bool { return p.sealed && !r.overSealed(p.path, m) })
	v.skeletons(m, isPatch)
	v.takeOut(isPatch)
	for _, m := range r.mayPatch {
		if isPatch(m.path) && (m.pair || patches[m.path]) {
			v.putIn(m)
		}
	}
}

// skeletons takes out that a pair has no config, where an encrypted patch adds it.
func (v *Validator) skeletons(m *engine.Model, isPatch func(file string) bool) {
	filled := make(map[string]bool) // files of pairs
	for i := range v.repo.pairs {
		patch := &v.repo.pairs[i]
		if !patch.encrypted || !isPatch(patch.path) {
			continue
		}
		files := m.Patched(patch.path)
		for j := range v.repo.pairs {
			if p := &v.repo.pairs[j]; files[p.path] && p.name == patch.name {
				filled[p.file] = true
			}
		}
	}
	v.findings = slices.DeleteFunc(v.findings, func(f report.Finding) bool {
		return f.Rule == "required-field" && filled[f.Position.File] && strings.Contains(f.Message, `"config"`)
	})
}

// takeOut takes patches out of the objects, and what a whole object alone can break out
// of their findings.
func (v *Validator) takeOut(isPatch func(file string) bool) {
	r := &v.repo
	r.migrations = slices.DeleteFunc(r.migrations, func(m migration) bool { return isPatch(m.path) })
	r.pairs = slices.DeleteFunc(r.pairs, func(p pair) bool {
		if isPatch(p.path) && !p.aside {
			v.pairs--
		}
		return isPatch(p.path)
	})
	fragments := make(map[string]bool) // the patches by the names that findings have
	for i, file := range v.paths {
		if isPatch(file) {
			fragments[v.files[i]] = true
		}
	}
	v.findings = slices.DeleteFunc(v.findings, func(f report.Finding) bool {
		return fragments[f.Position.File] && f.Catalogued().Whole
	})
}

// putIn adds what is wrong with a patch of a ClusterPair, unless it has been found.
func (v *Validator) putIn(m mayPatch) {
	same := func(f report.Finding) bool { return f.Position.File == m.finding.Position.File }
	if m.finding.Path == "sops" {
		// What lacks a whole section lacks most of it, too.
		v.findings = slices.DeleteFunc(v.findings, func(f report.Finding) bool {
			return same(f) && (strings.HasPrefix(f.Path, "sops") || f.Rule == "no-creation-rule")
		})
	}
	if !slices.ContainsFunc(v.findings, func(f report.Finding) bool { return same(f) && sameBreach(f, m.finding) }) {
		v.findings = append(v.findings, m.finding)
	}
}
