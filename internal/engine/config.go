package engine

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// Function is a function config of clusterpair.
type Function struct {
	Kind, Name string
	At         report.Position
	// Dir is the folder of the kustomization that lists it; of a stray one, its own.
	Dir string
	// Exec is the program that the annotation names, Image the image of a
	// container; both are empty where there is no such annotation.
	Exec, Image string
	// Resource says that a kustomization lists a stray one among its resources.
	Resource bool
}

// Config is a function config of clusterpair, with what it says about its pairs.
type Config struct {
	Path string
	Function
	Output string          // of a ClusterPairGenerator, relative to the kustomization
	Writes bool            // it names its output: its pairs are to be files
	Listed map[string]bool // NAMESPACE/NAME of its pairs; nil with a selector
	Files  []string        // that a ClusterPairDecryptor hands on in clear, from the root

	local bool // an annotation may keep it out of what is applied
}

// IsConfig tells whether a document is a function config of clusterpair.
func IsConfig(n *yaml.Node) bool {
	return manifest.Text(n, "apiVersion") == generator.APIVersion &&
		slices.Contains([]string{generator.GeneratorKind, generator.DecryptorKind, generator.ValidatorKind}, manifest.Text(n, "kind"))
}

// stranger is a config or fleet, whose kind no cluster knows.
type stranger struct {
	Reference        // its file
	what      string // kind and name
	fleet     bool
	local     bool // an annotation may keep it out of what is applied
}

func (n *Notes) strangers() []stranger {
	all := slices.Clone(n.fleets)
	for i := range n.Configs {
		c := &n.Configs[i]
		all = append(all, stranger{Reference{c.Path, c.At}, c.Kind + " " + c.Name, false, c.local})
	}
	slices.SortFunc(all, func(a, b stranger) int { return Compare(a.At, b.At) })
	return all
}

// stranger is why an engine fails at all of a sync: a config or fleet stands among what it
// applies, and the API server knows no such kind. Of Argo CD without kustomize alone tells.
func (m *Model) stranger(s *Sync) says {
	if s.stranger == nil {
		s.stranger = new(m.findStranger(s))
	}
	return *s.stranger
}

func (m *Model) findStranger(s *Sync) says {
	const unbuilt = " stands among the functions of a kustomization and is none, so that the build fails"
	const failing = " is applied like an object, and no API server knows its kind, so that the sync fails"
	for _, c := range m.strangers {
		if !c.local && s.Engine == Flux && m.TakesIn(s, c.Name) && m.leftOut(s.source, c.Name).text == "" {
			return says{text: c.what + failing, at: c.At, hint: "name the folder of the pairs as spec.path, or leave the file out of the artifact by a line in " + IgnoreFile + ": /" + c.Name}
		}
		for dir := range s.Dirs {
			switch k := m.dirs[dir]; {
			case !c.local && slices.Contains(k.Resources, c.Name):
				return says{text: c.what + failing, at: c.At, hint: "take the file out of resources"}
			case c.fleet && slices.Contains(k.Functions, c.Name):
				return says{text: c.what + unbuilt, at: c.At, hint: "take the file out of the kustomization"}
			}
		}
	}
	for dir := range s.Dirs {
		if fleets := m.dirs[dir].fleets; len(fleets) > 0 {
			return says{text: "a fleet" + unbuilt, at: fleets[0], hint: "take it out of the kustomization"}
		}
	}
	return says{}
}

// mayBeLocal tells whether an annotation may keep an object out of what is applied: one of
// kustomize, Flux or Argo CD.
func mayBeLocal(n *yaml.Node) bool {
	annotations := manifest.Field(n, "metadata", "annotations")
	for i := 0; annotations != nil && i+1 < len(annotations.Content); i += 2 {
		domain, key, _ := strings.Cut(annotations.Content[i].Value, "/")
		if domain == "argocd.argoproj.io" || domain == "kustomize.toolkit.fluxcd.io" || key == "local-config" {
			return true
		}
	}
	return false
}

func isFleet(n *yaml.Node) bool {
	return manifest.Text(n, "apiVersion") == generator.APIVersion && manifest.Text(n, "kind") == generator.FleetKind
}

// ConfigOf is the config in a document of a file, or in a text of it.
// https://kubectl.docs.kubernetes.io/guides/extending_kustomize/exec_krm_functions/
func ConfigOf(d Document, n *yaml.Node, at report.Position) Config {
	noted := func(keys ...string) string { return strings.Clone(manifest.Text(n, keys...)) } // else the whole text stays in memory
	c := Config{Path: d.Path, local: mayBeLocal(n), Function: Function{Kind: noted("kind"), Name: noted("metadata", "name"), At: at, Dir: path.Dir(d.Path)}}
	switch c.Kind {
	case generator.GeneratorKind:
		c.Writes = noted("spec", "output") != ""
		if c.Output = cmp.Or(noted("spec", "output"), "rendered"); manifest.Field(n, "spec", "selector") == nil {
			c.Listed = make(map[string]bool)
			for id := range generator.Listed(n) {
				c.Listed[strings.Clone(id)] = true
			}
		}
	case generator.DecryptorKind:
		for _, file := range manifest.Items(n, "spec", "files") {
			c.Files = append(c.Files, path.Join(c.Dir, file.Value))
		}
	}
	for _, name := range []string{"config.kubernetes.io/function", "config.k8s.io/function"} {
		var runs struct {
			Exec struct {
				Path string `yaml:"path"`
			} `yaml:"exec"`
			Container struct {
				Image string `yaml:"image"`
			} `yaml:"container"`
		}
		if text := manifest.Text(n, "metadata", "annotations", name); text != "" && yaml.Unmarshal([]byte(text), &runs) == nil {
			c.Exec, c.Image = runs.Exec.Path, runs.Container.Image
			break
		}
	}
	return c
}
