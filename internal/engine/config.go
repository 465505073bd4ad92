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
}

// IsConfig tells whether a document is a function config of clusterpair.
func IsConfig(n *yaml.Node) bool {
	return manifest.Text(n, "apiVersion") == generator.APIVersion &&
		slices.Contains([]string{generator.GeneratorKind, generator.DecryptorKind, generator.ValidatorKind}, manifest.Text(n, "kind"))
}

// ConfigOf is the config in a document of a file, or in a text of it.
// https://kubectl.docs.kubernetes.io/guides/extending_kustomize/exec_krm_functions/
func ConfigOf(d Document, n *yaml.Node, at report.Position) Config {
	noted := func(keys ...string) string { return strings.Clone(manifest.Text(n, keys...)) } // else the whole text stays in memory
	c := Config{Path: d.Path, Function: Function{Kind: noted("kind"), Name: noted("metadata", "name"), At: at, Dir: path.Dir(d.Path)}}
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
