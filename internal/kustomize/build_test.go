package kustomize

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/fn/framework"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"
)

// TestMain is clusterpair, the function, if a build has started it: as kustomize does
// with the program that builds.
func TestMain(m *testing.M) {
	if os.Getenv(runsVariable) != "" {
		os.Exit(function())
	}
	os.Exit(m.Run())
}

// function adds a ConfigMap that tells the PATH, or fails as its config wants it.
func function() int {
	code := 0
	err := framework.Execute(framework.ResourceListProcessorFunc(func(rl *framework.ResourceList) error {
		var config struct {
			Metadata struct{ Name string }
			Spec     struct{ Exit int }
		}
		if err := framework.LoadFunctionConfig(rl.FunctionConfig, &config); err != nil {
			return err
		}
		MarkRun(rl.FunctionConfig.GetKind(), config.Metadata.Name)
		code = config.Spec.Exit
		item, err := kyaml.Parse("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + config.Metadata.Name + "}\n")
		if err != nil {
			return err
		}
		itself := func(n *kyaml.RNode) bool { return n.GetKind() == rl.FunctionConfig.GetKind() } // kustomize hands it on
		rl.Items = append(slices.DeleteFunc(rl.Items, itself), item)
		return item.PipeE(kyaml.LookupCreate(kyaml.MappingNode, "data"), kyaml.SetField("path", kyaml.NewStringRNode(os.Getenv("PATH"))))
	}), &kio.ByteReadWriter{Reader: os.Stdin, Writer: os.Stdout, KeepReaderAnnotations: true})
	if err != nil {
		return 99
	}
	return code
}

// plainKustomize is what kustomize does with a directory, with functions on and
// nobody who looks.
func plainKustomize(dir string) ([]byte, error) {
	options := krusty.MakeDefaultOptions()
	options.LoadRestrictions = types.LoadRestrictionsNone
	options.PluginConfig = types.EnabledPluginConfig(types.BploUseStaticallyLinked)
	options.PluginConfig.FnpLoadingOptions.EnableExec = true
	resources, err := krusty.MakeKustomizer(options).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		return nil, err
	}
	return resources.AsYaml()
}

// own is a config of clusterpair in the file of a test.
func own(name, spec string) string {
	return "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata:\n  name: " + name +
		"\n  annotations:\n    config.kubernetes.io/function: \"exec: {path: ./bin/clusterpair}\"\n    config.kubernetes.io/local-config: \"true\"\nspec: " + spec + "\n"
}

// TestBuildRuns runs the configs of clusterpair by this program, whatever path they
// name, each with the PATH of the user.
func TestBuildRuns(t *testing.T) {
	const evil = "-- bin/clusterpair --\n#!/bin/sh\nexit 1\n"
	for name, test := range map[string]struct {
		files, want, err string
		options          Options
	}{
		"a generator":         {files: "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\n" + own("a", "{}"), want: "name: a"},
		"inline":              {files: "-- d/kustomization.yaml --\ngenerators:\n- |\n  " + strings.ReplaceAll(own("a", "{}"), "\n", "\n  ") + "\n", want: "name: a"},
		"a transformer":       {files: "-- d/kustomization.yaml --\ntransformers: [a.yaml]\n-- d/a.yaml --\n" + own("a", "{}"), want: "name: a"},
		"a folder of configs": {files: "-- d/kustomization.yaml --\ngenerators: [gen]\n-- d/gen/kustomization.yaml --\nresources: [a.yaml]\n-- d/gen/a.yaml --\n" + own("a", "{}"), want: "name: a"},
		"a built-in plugin":   {files: "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\napiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: a}\nliterals: [path=b]\n", want: "name: a-"},
		"it fails":            {files: "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\n" + own("a", "{exit: 7}"), err: "clusterpair, run by kustomize, has ended with exit code 7"},
		"listed where it is not run": {files: "-- d/kustomization.yaml --\nresources: [a.yaml]\n-- d/a.yaml --\n" + own("a", "{}"),
			err: "ClusterPairGenerator/a was not run by kustomize"},
		"one of two of a name was not run": {files: "-- d/kustomization.yaml --\nresources: [a.yaml, ../base]\n-- d/a.yaml --\n" + own("a", "{}") + "-- base/kustomization.yaml --\ngenerators: [b.yaml]\n-- base/b.yaml --\n" + own("a", "{}"),
			err: "ClusterPairGenerator/a was not run by kustomize"},
		"without the annotation": {files: "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: a}\n",
			err: "d/a.yaml: ClusterPairGenerator/a has no annotation config.kubernetes.io/function: kustomize does not know that it is a function"},
		"a file from elsewhere": {files: "-- d/kustomization.yaml --\nresources: [../a.yaml]\n-- a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {path: b}\n",
			err: "is not in or below"},
		"a file from elsewhere, allowed": {files: "-- d/kustomization.yaml --\nresources: [../a.yaml]\n-- a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {path: b}\n",
			options: Options{AnyFile: true}, want: "name: a"},
		"no kustomization": {files: "-- d/a.yaml --\nkind: ConfigMap\n", err: "d holds no kustomization.yaml"},
		"a key that is no text": {files: "-- d/kustomization.yaml --\nresources: [a.yaml]\nlabels: [{pairs: {on: x}}]\n-- d/a.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {b: s3cret}\n",
			err: "d: kustomize cannot write ConfigMap a: metadata.labels has a key that YAML 1.1 takes for true or false"},
	} {
		t.Run(name, func(t *testing.T) {
			lay(t, evil+test.files)
			out, findings, err := Build(t.Context(), "d", test.options)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) || len(out) > 0 || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("%q, error %v; want %q", out, err, test.err)
				}
				return
			}
			if err != nil || len(findings) > 0 || !strings.Contains(string(out), test.want) {
				t.Errorf("%s%v, %v; want %q", out, findings, err, test.want)
			}
			if path := os.Getenv("PATH"); strings.Contains(string(out), "path: /") && !strings.Contains(string(out), "path: "+path) {
				t.Errorf("%sthe function did not get the PATH %s", out, path)
			}
		})
	}
	lay(t, "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\n"+own("a", "{exit: 7}"))
	_, _, err := Build(t.Context(), "d", Options{})
	if ran := (*FunctionError)(nil); !errors.As(err, &ran) || ran.Code != 7 {
		t.Errorf("error %#v, want a FunctionError with code 7", err)
	}
}

// TestGuard has kustomizations name another program, wherever it can be hidden. The
// program leaves a file. Where real is set, kustomize itself does run it.
func TestGuard(t *testing.T) {
	const other = "a function other than clusterpair: clusterpair build runs no other program"
	const program = "exec: {path: sh, args: [-c, 'touch $TOUCHED; cat']}"
	const evil = "apiVersion: v1\nkind: Evil\nmetadata:\n  name: evil\n"
	const annotated = evil + "  annotations:\n    config.kubernetes.io/function: |\n      " + program + "\n"
	for name, test := range map[string]struct {
		files, err string
		real       bool
	}{
		"a generator":      {real: true, err: "d/evil.yaml:6: " + other, files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" + annotated},
		"a transformer":    {real: true, err: other, files: "-- d/kustomization.yaml --\ntransformers: [evil.yaml]\n-- d/evil.yaml --\n" + annotated},
		"a validator":      {real: true, err: other, files: "-- d/kustomization.yaml --\nvalidators: [evil.yaml]\n-- d/evil.yaml --\n" + annotated},
		"in a base":        {real: true, err: "base/evil.yaml:6: " + other, files: "-- d/kustomization.yaml --\nresources: [../base]\n-- base/kustomization.yaml --\ngenerators: [evil.yaml]\n-- base/evil.yaml --\n" + annotated},
		"a component":      {real: true, err: other, files: "-- d/kustomization.yaml --\ncomponents: [../base]\n-- base/kustomization.yaml --\napiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\ngenerators: [evil.yaml]\n-- base/evil.yaml --\n" + annotated},
		"inline":           {real: true, err: other, files: "-- d/kustomization.yaml --\ngenerators:\n- |-\n  apiVersion: v1\n  kind: Evil\n  metadata: {name: evil, annotations: {config.kubernetes.io/function: \"" + program + "\"}}\n"},
		"an old name":      {real: true, err: other, files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" + strings.Replace(annotated, "kubernetes", "k8s", 1)},
		"a field":          {real: true, err: other, files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" + evil + "  configFn:\n    " + program + "\n"},
		"an image":         {err: other, files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" + evil + "  annotations:\n    config.kubernetes.io/function: |\n      container: {image: evil}\n"},
		"an image, of old": {err: other, files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" + evil + "  annotations: {config.kubernetes.io/container: evil}\n"},
		"in a config of clusterpair": {real: true, err: other, files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" +
			strings.Replace(annotated, "apiVersion: v1\nkind: Evil", "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator", 1)},
		"patched": {real: true, err: other, files: "-- d/kustomization.yaml --\ngenerators: [gen]\n-- d/gen/kustomization.yaml --\nresources: [evil.yaml]\npatches:\n- patch: |-\n    " +
			strings.ReplaceAll(annotated, "\n", "\n    ") + "\n-- d/gen/evil.yaml --\n" + evil},
		"patched, escaped": {real: true, err: other, files: "-- d/kustomization.yaml --\ngenerators: [gen]\n-- d/gen/kustomization.yaml --\nresources: [evil.yaml]\npatches:\n- patch: |-\n" +
			"    {\"apiVersion\": \"v1\", \"kind\": \"Evil\", \"metadata\": {\"name\": \"evil\", \"annotations\": {\"\\u0063onfig.kubernetes.io/function\": \"" + program + "\"}}}\n-- d/gen/evil.yaml --\n" + evil},
		"patched by a pointer": {real: true, err: "d/gen/kustomization.yaml does more than to list resources, and might make a function of one", files: "-- d/kustomization.yaml --\ngenerators: [gen]\n-- d/gen/kustomization.yaml --\nresources: [evil.yaml]\npatches:\n- {target: {kind: Evil}, path: p.yaml}\n" +
			"-- d/gen/p.yaml --\n- {op: add, path: /metadata/annotations/config.kubernetes.io~1function, value: \"" + program + "\"}\n-- d/gen/evil.yaml --\n" + evil + "  annotations: {a: b}\n"},
		"annotated in base64": {real: true, err: "d/gen/kustomization.yaml:2: the YAML tag !!binary could hide a function", files: "-- d/kustomization.yaml --\ngenerators: [gen]\n-- d/gen/kustomization.yaml --\nresources: [evil.yaml]\n" +
			"commonAnnotations: {!!binary Y29uZmlnLmt1YmVybmV0ZXMuaW8vZnVuY3Rpb24=: \"" + program + "\"}\n-- d/gen/evil.yaml --\n" + evil},
		"replaced": {real: true, err: "d/gen/kustomization.yaml does more than to list resources", files: "-- d/kustomization.yaml --\ntransformers: [gen]\n-- d/gen/kustomization.yaml --\nresources: [evil.yaml]\nreplacements:\n- source: {kind: Evil, fieldPath: spec.x}\n  targets:\n  - select: {kind: Evil}\n" +
			"    fieldPaths: ['metadata.annotations.config\\.kubernetes\\.io/function']\n    options: {create: true}\n-- d/gen/evil.yaml --\n" + evil + "spec:\n  x: \"" + program + "\"\n"},
		"by the name of a namespace": {real: true, err: "d/gen/kustomization.yaml does more than to list resources", files: "-- d/kustomization.yaml --\ngenerators: [gen]\n-- d/gen/kustomization.yaml --\nresources: [evil.yaml]\nnamespace: \"" + program + "\"\nconfigurations: [c.yaml]\n" +
			"-- d/gen/c.yaml --\nnamespace:\n- {kind: Evil, path: 'metadata/annotations/config.kubernetes.io\\/function', create: true}\n-- d/gen/evil.yaml --\n" + evil},
		// What kustomize reads otherwise than a parser of YAML does.
		"behind what is no YAML": {real: true, err: "d/evil.yaml: Evil/evil is a function other than clusterpair", files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" +
			"apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: harmless}\nliterals: [a=b]\n...\n}}} : [\n---\n" + annotated},
		"under an alias": {real: true, err: "d/evil.yaml: Evil/evil is a function other than clusterpair", files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\n" +
			"apiVersion: clusterpair.dev/v1alpha1\nkind: EvilList\nmetadata:\n  name: evil\n  annotations:\n    &k config.kubernetes.io/function: \"exec: {path: clusterpair}\"\nitems:\n" +
			"- apiVersion: v1\n  kind: Evil\n  metadata:\n    name: evil\n    annotations:\n      *k : \"" + program + "\"\n"},
		// Plugins of old are found by apiVersion and kind, below the home of plugins.
		"a plugin":                       {err: "d/evil.yaml: Evil/evil is a function other than clusterpair", files: "-- d/kustomization.yaml --\ngenerators: [evil.yaml]\n-- d/evil.yaml --\napiVersion: example.com/v1\nkind: Evil\nmetadata: {name: evil}\n"},
		"a plugin, by a way out of home": {err: "d/kustomization.yaml: Run/evil is a function other than clusterpair", files: "-- d/kustomization.yaml --\ngenerators:\n- |-\n  apiVersion: ../bin/v1\n  kind: Run\n  metadata: {name: evil}\n"},
		// What kustomize starts by its name, or fetches.
		"a Helm chart":       {err: "helm", files: "-- d/kustomization.yaml --\nhelmCharts:\n- {name: evil, repo: https://example.com}\n"},
		"a Git repository":   {err: "executable file not found", files: "-- d/kustomization.yaml --\nresources: ['git@example.com:evil/evil.git']\n"},
		"a fetched function": {err: "https://example.com/function.yaml is fetched anew by each run, and may be a function then", files: "-- d/kustomization.yaml --\ntransformers: [https://example.com/function.yaml]\n"},
	} {
		t.Run(name, func(t *testing.T) {
			lay(t, test.files)
			touched := filepath.Join(t.TempDir(), "touched")
			t.Setenv("TOUCHED", touched)
			out, _, err := Build(t.Context(), "d", Options{AnyFile: true})
			if err == nil || !strings.Contains(err.Error(), test.err) || len(out) > 0 {
				t.Errorf("%q, error %v; want %q", out, err, test.err)
			}
			if _, err := os.Stat(touched); err == nil {
				t.Fatal("another program was run")
			}
			if !test.real {
				return
			}
			_, err = plainKustomize("d")
			if _, missing := os.Stat(touched); missing != nil {
				t.Errorf("the attack is none: kustomize itself does not run the program, %v", err)
			}
		})
	}
	t.Run("an absolute path", func(t *testing.T) {
		lay(t, "-- evil.yaml --\n"+annotated+"-- d/x --\n")
		wd, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("d/kustomization.yaml", []byte("generators: ["+wd+"/evil.yaml]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := Build(t.Context(), "d", Options{AnyFile: true}); err == nil || !strings.Contains(err.Error(), other) {
			t.Errorf("error %v, want %q", err, other)
		}
	})
}

// TestGuardFetched judges what comes by HTTP like what lies in a file.
func TestGuardFetched(t *testing.T) {
	before := http.DefaultTransport
	defer func() { http.DefaultTransport = before }()
	var answer string
	http.DefaultTransport = roundTrip(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: http.StatusOK, Request: r, Body: io.NopCloser(strings.NewReader(answer))}, nil
	})
	lay(t, "-- d/kustomization.yaml --\nresources: [https://example.com/a.yaml]\n")
	answer = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
	if out, _, err := Build(t.Context(), "d", Options{}); err != nil || !strings.Contains(string(out), "name: a") {
		t.Errorf("%s%v", out, err)
	}
	answer = "apiVersion: v1\nkind: Evil\nmetadata: {name: a, annotations: {config.kubernetes.io/function: 'exec: {path: /bin/true}'}}\n"
	if _, _, err := Build(t.Context(), "d", Options{}); err == nil || !strings.Contains(err.Error(), "https://example.com/a.yaml:3: a function other than clusterpair") {
		t.Errorf("error %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestBuildLeaves finds the process after a build as it was before, and no file.
func TestBuildLeaves(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("KUSTOMIZE_PLUGIN_HOME", "") // puts it back after the test
	os.Unsetenv("KUSTOMIZE_PLUGIN_HOME")
	environment, transport := os.Environ(), http.DefaultTransport
	for name, files := range map[string]string{
		"good":   "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\n" + own("a", "{}"),
		"failed": "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\n" + own("a", "{exit: 1}"),
		"broken": "-- d/kustomization.yaml --\n: [\n",
	} {
		lay(t, files)
		if _, _, err := Build(t.Context(), "d", Options{}); (err == nil) != (name == "good") {
			t.Errorf("%s: %v", name, err)
		}
		if now := os.Environ(); !slices.Equal(slices.Sorted(slices.Values(now)), slices.Sorted(slices.Values(withPWD(environment, now)))) {
			t.Errorf("%s: the environment is another:\n%q\n%q", name, now, environment)
		}
		if http.DefaultTransport != transport {
			t.Errorf("%s: the transport is another", name)
		}
		if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
			t.Errorf("%s: %v is left, %v", name, left, err)
		}
	}
}

// withPWD is an environment with the PWD of another, which the test changes itself.
func withPWD(environment, other []string) []string {
	isPWD := func(s string) bool { return strings.HasPrefix(s, "PWD=") }
	return append(slices.DeleteFunc(slices.Clone(environment), isPWD), slices.DeleteFunc(slices.Clone(other), func(s string) bool { return !isPWD(s) })...)
}

// TestBuildWaits has builds wait for each other, but not beyond the context.
func TestBuildWaits(t *testing.T) {
	lay(t, "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\n"+own("a", "{}"))
	path := os.Getenv("PATH")
	var wait sync.WaitGroup
	outs := make([][]byte, 4)
	for i := range outs {
		wait.Go(func() {
			var err error
			if outs[i], _, err = Build(t.Context(), "d", Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	for _, out := range outs {
		if !bytes.Equal(out, outs[0]) || !strings.Contains(string(out), "path: "+path) {
			t.Errorf("%s\nis another result than\n%s", out, outs[0])
		}
	}
	building <- struct{}{}
	defer func() { <-building }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := Build(ctx, "d", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}
