package kustomize

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Options are how a directory is built. The zero value is that of kustomize build.
type Options struct {
	// AnyFile lets a kustomization load files from outside of its directory, as
	// kustomize does with --load-restrictor LoadRestrictionsNone.
	AnyFile bool
	// Decrypt gives the documents of a SOPS file in clear, once it has verified the
	// MAC: that of a [sopsfile.Safe]. Without it everything stays encrypted.
	Decrypt func(ctx context.Context, data []byte, file string) ([]*yaml.Node, error)
}

// FunctionError says that clusterpair, which kustomize ran as a function, has failed.
// It has told on standard error what is wrong.
type FunctionError struct {
	Code int // with which it ended
}

func (e *FunctionError) Error() string {
	return fmt.Sprintf("clusterpair, run by kustomize, has ended with exit code %d", e.Code)
}

// Build gives the manifests that kustomize makes of a directory. It runs the configs
// of clusterpair by this very program, and no other program, whatever the kustomization
// and the files that it takes in say. It is an error if a config was not run.
//
// With [Options.Decrypt] a directory needs no kustomization: the manifests below it
// are the result. ClusterPairs and Secrets that SOPS has encrypted come out in clear,
// and kustomize does not get to see what they hold in secret. Findings of severity
// error mean that the result is not to be used.
//
// While kustomize runs, PATH, KUSTOMIZE_PLUGIN_HOME, two variables that begin with
// CLUSTERPAIR_BUILD_ and [http.DefaultTransport] are changed for the whole process,
// and what is read stays as long in memory: meanwhile nothing else may start programs
// by name, or fetch by that transport. A second call waits for the first one.
func Build(ctx context.Context, dir string, o Options) ([]byte, []report.Finding, error) {
	t, err := worktree.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer t.Close()
	var d *decrypter
	if o.Decrypt != nil {
		d = &decrypter{ctx: ctx, decrypt: o.Decrypt}
	}
	switch _, ok := kustomization(t); {
	case !ok && d != nil:
		return d.directory(t)
	case !ok:
		return nil, nil, report.WithHint(fmt.Errorf("%s holds no kustomization.yaml", dir), "name the directory of one: ls %s", report.Typed(dir))
	case d != nil:
		d.kept = newKept()
	}
	resources, err := run(ctx, dir, o, d)
	if err != nil {
		return nil, nil, err
	}
	if d != nil {
		return d.resources(dir, resources)
	}
	out, err := resources.AsYaml()
	if err != nil {
		return nil, nil, unwritable(dir, resources)
	}
	return out, nil, nil
}

// run runs kustomize on the directory of a kustomization; with a decrypter, what it
// reads is decrypted first.
func run(ctx context.Context, dir string, o Options, d *decrypter) (resmap.ResMap, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &guard{FileSystem: filesys.MakeFsOnDisk(), self: self, decrypter: d, listed: make(map[string]map[string]bool)}
	if g.process, err = enter(ctx, g); err != nil {
		return nil, err
	}
	defer g.process.leave()

	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsRootOnly
	if o.AnyFile {
		options.LoadRestrictions = types.LoadRestrictionsNone
	}
	options.PluginConfig = types.EnabledPluginConfig(types.BploUseStaticallyLinked)
	options.PluginConfig.FnpLoadingOptions.EnableExec = true
	options.PluginConfig.HelmConfig = types.HelmConfig{}
	options.Reorder = krusty.ReorderOptionUnspecified // as the kustomize command has it
	resources, err := krusty.MakeKustomizer(options).Run(g, dir)
	if refused := g.refusal(); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, explain(err, dir, o)
	}
	ran, err := g.process.ran()
	if err != nil {
		return nil, err
	}
	for name, files := range g.listed {
		if ran[name] < len(files) {
			return nil, report.WithHint(fmt.Errorf("%s was not run by kustomize", name),
				"list its file under generators or transformers of the kustomization.yaml, not under resources")
		}
	}
	return resources, nil
}

// explain says what an error of kustomize means for the user.
func explain(err error, dir string, o Options) error {
	if ran := (*exec.ExitError)(nil); errors.As(err, &ran) && ran.ExitCode() > 0 {
		return &FunctionError{Code: ran.ExitCode()}
	}
	err = fmt.Errorf("kustomize build %s: %w", dir, err)
	if !o.AnyFile && strings.Contains(err.Error(), "is not in or below") {
		err = report.WithHint(err, "Flux loads files from anywhere in the repository, Argo CD and kustomize only with --load-restrictor LoadRestrictionsNone")
	}
	if strings.Contains(err.Error(), "no such file or directory") {
		err = report.WithHint(err, "correct the path, or take it out of kustomization.yaml: see what is there: ls %s", report.Typed(dir))
	}
	if strings.Contains(err.Error(), "cycle detected") {
		err = report.WithHint(err, "a kustomization lists itself, or one that leads back to it: take that path out of its resources")
	}
	if o.Decrypt != nil && namesKept(err.Error()) {
		err = report.WithHint(err, "kustomize cannot look below spec.config of an encrypted ClusterPair: say it in the config of clusterpair generate instead")
	}
	return err
}

// unwritable says what kustomize cannot write. Its own error holds the whole object.
func unwritable(dir string, resources resmap.ResMap) error {
	for _, r := range resources.Resources() {
		if _, err := r.AsYAML(); err == nil {
			continue
		}
		id := r.GetKind() + " " + r.GetName()
		if namespace := r.GetNamespace(); namespace != "" {
			id = r.GetKind() + " " + namespace + "/" + r.GetName()
		}
		if path, key := oddKey(r.YNode(), ""); key != "" {
			what := "a key that is no text"
			if key == "true" || key == "false" { // kustomize has forgotten how it was spelled
				what = "a key that YAML 1.1 takes for true or false"
			}
			return report.WithHint(fmt.Errorf("%s: kustomize cannot write %s: %s has %s", dir, id, cmp.Or(path, "it"), what), "quote it, as in \"on\"")
		}
		return fmt.Errorf("%s: kustomize cannot write %s as YAML", dir, id)
	}
	return fmt.Errorf("%s: kustomize cannot write its result as YAML", dir)
}

// oddKey finds a key that is no text, and the way to its mapping.
func oddKey(n *kyaml.Node, path string) (at, key string) {
	for i, c := range n.Content {
		below := path
		if n.Kind == kyaml.MappingNode {
			if i%2 == 0 {
				// kustomize writes what YAML 1.1 takes for a bool as one.
				if c.Kind == kyaml.ScalarNode && (c.ShortTag() != "!!str" || c.Style == 0 && kyaml.IsYaml1_1NonString(c)) {
					return path, c.Value
				}
				continue
			}
			below = strings.TrimPrefix(path+"."+n.Content[i-1].Value, ".")
		}
		if at, key := oddKey(c, below); key != "" {
			return at, key
		}
	}
	return "", ""
}
