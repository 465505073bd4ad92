package kustomize

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/fn/runtime/runtimeutil"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"clusterpair.dev/internal/report"
)

// plugins refuses a kustomization that would run a program other than this binary.
// It asks the objects, loaded by the code of kustomize from the very bytes that
// kustomize gets: what YAML of its own reading says might not be what kustomize
// reads. Those objects reach the runner as they are loaded
// (configureExternalGenerators, configureExternalTransformers), unless they come
// from a kustomization that changes them, which is refused.
// https://github.com/kubernetes-sigs/kustomize/blob/api/v0.21.2/api/internal/target/kusttarget.go
func (g *guard) plugins(data []byte, path string) error {
	if !slices.Contains(konfig.RecognizedKustomizationFileNames(), filepath.Base(path)) {
		return nil
	}
	var k types.Kustomization
	if k.Unmarshal(data) != nil {
		return nil // kustomize says why, and stops
	}
	k.FixKustomization()
	factory := resmap.NewFactory(provider.NewDefaultDepProvider().GetResourceFactory())
	for _, entry := range slices.Concat(k.Generators, k.Transformers, k.Validators) {
		if inline, err := factory.NewResMapFromBytes([]byte(entry)); err == nil {
			if err := g.ownPlugins(inline, path); err != nil {
				return err
			}
		} else if err := g.pluginFile(factory, filepath.Dir(path), entry, path); err != nil {
			return err
		}
	}
	return nil
}

// pluginFile judges an entry that names a file or a directory, from a directory.
func (g *guard) pluginFile(factory *resmap.Factory, dir, entry, path string) error {
	file := entry
	if !filepath.IsAbs(entry) {
		file = filepath.Join(dir, entry)
	}
	switch {
	case strings.Contains(entry, "://"):
		return g.otherPlugin(path, "%s is fetched anew by each run, and may be a function then", entry)
	case g.FileSystem.IsDir(file):
		return g.pluginDir(factory, file, path)
	case !g.FileSystem.Exists(file):
		return nil // kustomize says so; it has no git to fetch it with
	}
	data, err := g.read(file)
	if err != nil {
		return err
	}
	if found, err := factory.NewResMapFromBytes(data); err == nil { // else kustomize says why, and stops
		return g.ownPlugins(found, file)
	}
	return nil
}

// pluginDir judges a kustomization of function configs.
func (g *guard) pluginDir(factory *resmap.Factory, dir, path string) error {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		file := filepath.Join(dir, name)
		if !g.FileSystem.Exists(file) {
			continue
		}
		data, err := g.read(file)
		if err != nil {
			return err
		}
		var k types.Kustomization
		if k.Unmarshal(data) != nil {
			continue
		}
		k.FixKustomization()
		resources := k.Resources
		k.TypeMeta, k.MetaData, k.Resources = types.TypeMeta{}, nil, nil
		if !reflect.DeepEqual(k, types.Kustomization{}) {
			return g.otherPlugin(path, "%s does more than to list resources, and might make a function of one", g.shown(file))
		}
		for _, entry := range resources {
			if err := g.pluginFile(factory, dir, entry, file); err != nil {
				return err
			}
		}
	}
	return nil
}

// ownPlugins refuses objects other than kustomize's built-in plugins and the
// configs of clusterpair, which [guard.document] has pointed at this binary.
func (g *guard) ownPlugins(found resmap.ResMap, file string) error {
	own := runtimeutil.FunctionSpec{Exec: runtimeutil.ExecSpec{Path: g.self}}
	for _, r := range found.Resources() {
		if isBuiltin(r) {
			continue
		}
		if err := g.renders(r.GetKind(), g.shown(file)); err != nil {
			return g.refuse(err)
		}
		spec, err := functionSpec(r)
		if err != nil || spec == nil || !reflect.DeepEqual(*spec, own) {
			return g.otherPlugin(g.shown(file), "%s/%s is a function other than clusterpair", r.GetKind(), r.GetName())
		}
	}
	return nil
}

// isBuiltin is as kustomize tells its built-in plugins (plugins/loader/loader.go).
func isBuiltin(r *resource.Resource) bool {
	return r.GetGvk().Group == "" && r.GetGvk().Version == konfig.BuiltinPluginApiVersion
}

// functionSpec is what kustomize reads of a function (plugins/fnplugin/fnplugin.go).
func functionSpec(r *resource.Resource) (*runtimeutil.FunctionSpec, error) {
	text, err := r.AsYAML()
	if err != nil {
		return nil, err
	}
	n, err := kyaml.Parse(string(text))
	if err != nil {
		return nil, err
	}
	return runtimeutil.GetFunctionSpec(n)
}

func (g *guard) otherPlugin(path, format string, args ...any) error {
	return g.refuse(report.WithHint(fmt.Errorf("%s: %s: clusterpair build runs no other program", g.shown(path), fmt.Sprintf(format, args...)),
		"if you trust all that the repository names: kustomize build --enable-alpha-plugins --enable-exec DIR"))
}
