package engine

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/overlay"
	"clusterpair.dev/internal/report"
)

// Kustomization is what a kustomization.yaml takes in, and does to it.
type Kustomization struct {
	Dir string
	// Resources are the files and folders that it takes in, Generators those of its
	// generators, Components those of the resources that change the others.
	Resources, Generators, Components []string
	Patches                           []PatchFile
	Files                             []Reference // that its generators copy into ConfigMaps and Secrets
	Prefix, Suffix, Namespace         Reference   // what it gives to the names of what it takes in
	// Edits says that it may change any field of what it takes in.
	Edits     bool
	Functions []string          // files of its generators and transformers
	fleets    []report.Position // that stand in it
	// Transformers are the files of transformers alone.
	Transformers []string
	Inline       []Config // those that stand in it
	// Twice are the keys that it has in two spellings, which kustomize takes for one.
	Twice []Reference

	file               string // its own path
	typed              bool   // it says its kind
	patches            []patch
	metadata           []metadata
	inlineTransformers []transformer
	replaces           bool // a replacement of it may change what an object says to an engine
}

// PatchFile is a file of a kustomization that changes objects.
type PatchFile struct {
	Path  string
	Pairs bool // its target, which the kustomization names, may be a ClusterPair
}

// metadata are annotations or labels that a kustomization gives to all objects.
type metadata struct {
	field  string // annotations or labels
	values *yaml.Node
	at     report.Position
}

// kustomizationOf reads a kustomization.
// https://github.com/kubernetes-sigs/kustomize/blob/kustomize/v5.8.2/api/types/kustomization.go
func kustomizationOf(d Document) Kustomization {
	n, twice := overlay.Folded(d.Node)
	k := Kustomization{Dir: path.Dir(d.Path), file: d.Path, typed: manifest.Text(n, "kind") != "", Prefix: d.reference(n, "namePrefix"), Suffix: d.reference(n, "nameSuffix"), Namespace: d.reference(n, "namespace")}
	for _, key := range twice {
		k.Twice = append(k.Twice, Reference{key.Value, d.at(key)})
	}
	for _, key := range []string{"patches", "patchesStrategicMerge", "patchesJson6902", "replacements", "transformers", "configurations", "vars"} {
		k.Edits = k.Edits || len(manifest.Items(n, key)) > 0
	}
	for _, key := range []string{"resources", "components", "bases"} {
		for _, entry := range manifest.Items(n, key) {
			k.Resources = append(k.Resources, path.Join(k.Dir, entry.Value))
			if key == "components" {
				k.Components = append(k.Components, path.Join(k.Dir, entry.Value))
			}
		}
	}
	k.readPatches(&d, n)
	for _, entry := range slices.Concat(manifest.Items(n, "configMapGenerator"), manifest.Items(n, "secretGenerator")) {
		for _, file := range manifest.Items(entry, "files") {
			_, name, named := strings.Cut(file.Value, "=")
			if !named {
				name = file.Value
			}
			k.Files = append(k.Files, Reference{path.Join(k.Dir, name), d.at(file)})
		}
	}
	for _, entry := range manifest.Items(n, "generators") {
		k.Generators = append(k.Generators, path.Join(k.Dir, entry.Value))
	}
	for _, entry := range slices.Concat(manifest.Items(n, "generators"), manifest.Items(n, "transformers")) {
		if !strings.Contains(entry.Value, "\n") {
			k.Functions = append(k.Functions, path.Join(k.Dir, entry.Value))
			if slices.Contains(manifest.Items(n, "transformers"), entry) {
				k.Transformers = append(k.Transformers, path.Join(k.Dir, entry.Value))
			}
			continue
		}
		manifest.Scan([]byte(entry.Value), d.Name, func(inner manifest.Document, _ *report.Finding) {
			if IsConfig(inner.Node) {
				k.Inline = append(k.Inline, ConfigOf(d, inner.Node, d.at(entry)))
			} else if isFleet(inner.Node) {
				k.fleets = append(k.fleets, d.at(entry))
			} else if manifest.Text(inner.Node, "apiVersion") == builtin {
				k.inlineTransformers = append(k.inlineTransformers, d.transformer(inner.Node, d.at(entry)))
			}
		})
	}
	return k
}

// readPatches reads what a kustomization does to objects.
func (k *Kustomization) readPatches(d *Document, n *yaml.Node) {
	for _, entry := range manifest.Items(n, "patchesStrategicMerge") {
		p := patch{at: d.at(entry)}
		if IsText(entry.Value) {
			p.docs = inlineDocs(entry)
		} else {
			p.file = path.Join(k.Dir, entry.Value)
		}
		k.addPatch(p)
	}
	for _, entry := range slices.Concat(manifest.Items(n, "patches"), manifest.Items(n, "patchesJson6902")) {
		k.addPatch(d.patchOf(entry))
	}
	for _, entry := range manifest.Items(n, "replacements") {
		if file := manifest.Text(entry, "path"); file != "" {
			k.Patches = append(k.Patches, PatchFile{path.Join(k.Dir, file), true})
		}
		for _, target := range manifest.Items(entry, "targets") {
			k.replaces = k.replaces || MayBePair(manifest.Field(target, "select")) && slices.ContainsFunc(manifest.Items(target, "fieldPaths"), func(p *yaml.Node) bool {
				return strings.HasPrefix(p.Value, "metadata.annotations") || strings.HasPrefix(p.Value, "metadata.labels")
			})
		}
	}
	for _, entry := range manifest.Items(n, "configurations") {
		k.Patches = append(k.Patches, PatchFile{path.Join(k.Dir, entry.Value), true})
	}
	for _, entry := range manifest.Items(n, "labels") {
		k.metadata = append(k.metadata, d.metadata("labels", entry, "pairs")...)
	}
	k.metadata = slices.Concat(k.metadata, d.metadata("labels", n, "commonLabels"), d.metadata("annotations", n, "commonAnnotations"))
}

// IsText tells whether an entry of patchesStrategicMerge is the patch itself, and no path
// of its file.
func IsText(entry string) bool { return strings.ContainsAny(entry, "\n{") }

// metadata are the annotations or labels under a key, none if there are none.
func (d *Document) metadata(field string, n *yaml.Node, keys ...string) []metadata {
	values := manifest.Field(n, keys...)
	if values == nil || values.Kind != yaml.MappingNode {
		return nil
	}
	return []metadata{{field, values, d.at(values)}}
}

func (k *Kustomization) addPatch(p patch) {
	k.patches = append(k.patches, p)
	if p.file != "" {
		k.Patches = append(k.Patches, PatchFile{p.file, p.target != nil && MayBePair(p.target)})
	}
}

// transformer is one of kustomize itself, which does in an object of its own what a field
// of a kustomization does otherwise.
type transformer struct {
	patches  []patch
	metadata []metadata
}

const builtin = "builtin"

// transformer reads one, at a place.
// https://github.com/kubernetes-sigs/kustomize/tree/kustomize/v5.8.2/api/internal/builtins
func (d *Document) transformer(n *yaml.Node, at report.Position) (t transformer) {
	adds := func(field string) {
		if slices.ContainsFunc(manifest.Items(n, "fieldSpecs"), func(s *yaml.Node) bool { return manifest.Text(s, "path") == "metadata/"+field }) {
			t.metadata = d.metadata(field, n, field)
		}
	}
	switch manifest.Text(n, "kind") {
	case "AnnotationsTransformer":
		adds("annotations")
	case "LabelTransformer":
		adds("labels")
	case "PatchTransformer", "PatchJson6902Transformer":
		p := d.patchOf(n)
		if operations := manifest.Field(n, "jsonOp"); operations != nil {
			p.docs = inlineDocs(operations)
		}
		t.patches = append(t.patches, p)
	case "PatchStrategicMergeTransformer":
		if text := manifest.Field(n, "patches"); text != nil {
			t.patches = append(t.patches, patch{docs: inlineDocs(text)})
		}
		for _, entry := range manifest.Items(n, "paths") {
			t.patches = append(t.patches, patch{file: path.Join(path.Dir(d.Path), entry.Value)})
		}
	}
	for i := range t.patches {
		t.patches[i].at = at
	}
	for i := range t.metadata {
		t.metadata[i].at = at
	}
	return t
}

// Renames tells whether a kustomization gives objects other names, or a namespace.
func (k *Kustomization) Renames() bool { return k.Prefix.Name+k.Suffix.Name+k.Namespace.Name != "" }
