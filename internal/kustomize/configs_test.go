package kustomize

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"clusterpair.dev/internal/report"
)

// lay writes the files of an archive into a directory of its own, and makes it the
// working directory. CONFIG(NAME) stands for a config.
func lay(t *testing.T, archive string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, f := range txtar.Parse([]byte(archive)).Files {
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		text := string(f.Data)
		if name, ok := strings.CutPrefix(strings.TrimSpace(text), "CONFIG "); ok {
			text = "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: " + name + "}\n"
		}
		if err := os.WriteFile(f.Name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFind finds what kustomize would run, by the path of a directory and of a file.
func TestFind(t *testing.T) {
	for name, test := range map[string]struct {
		files, path string
		want        []string // NAME FILE:LINE, and what it takes besides
		err         string
	}{
		"a directory without a kustomization": {path: "d", files: "-- d/a.yaml --\nCONFIG a\n-- d/b.txt --\nCONFIG b\n-- d/c.yml --\nCONFIG c\n-- d/below/e.yaml --\nCONFIG e\n",
			want: []string{"a d/a.yaml:1", "c d/c.yml:1"}},
		"what a kustomization does not list": {path: "d", files: "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\nCONFIG a\n-- d/b.yaml --\nCONFIG b\n",
			want: []string{"a d/a.yaml:1"}},
		"its other names": {path: ".", files: "-- Kustomization --\ngenerators: [sub/a.yaml]\n-- sub/a.yaml --\nCONFIG a\n-- b.yaml --\nCONFIG b\n",
			want: []string{"a sub/a.yaml:1"}},
		"inline": {path: "d", files: "-- d/kustomization.yml --\ngenerators:\n- |\n  apiVersion: clusterpair.dev/v1alpha1\n  kind: ClusterPairGenerator\n  metadata: {name: a}\n",
			want: []string{"a d/kustomization.yml:3"}},
		"generators come first, transformers take what is listed": {path: "d", files: "-- d/kustomization.yaml --\ntransformers: [t.yaml]\ngenerators: [g.yaml]\nresources: [west.yaml, base, https://example.com/x.yaml]\nsecretGenerator: [{name: made}]\n-- d/t.yaml --\nCONFIG t\n-- d/g.yaml --\nCONFIG g\n-- d/west.yaml --\n-- d/base/kustomization.yaml --\nresources: [east.yaml]\n-- d/base/east.yaml --\n",
			want: []string{"g d/g.yaml:1 [] [made]", "t d/t.yaml:1 [west.yaml base/east.yaml] [made]"}},
		"bases, each once": {path: "d", files: "-- d/kustomization.yaml --\nresources: [../one, ../two]\n-- one/kustomization.yaml --\ngenerators: [a.yaml]\nresources: [../two]\n-- one/a.yaml --\nCONFIG a\n-- two/kustomization.yaml --\ngenerators: [b.yaml]\n-- two/b.yaml --\nCONFIG b\n",
			want: []string{"a one/a.yaml:1", "b two/b.yaml:1"}},
		"bases that build on each other": {path: "one", files: "-- one/kustomization.yaml --\nresources: [../two]\ngenerators: [a.yaml]\n-- one/a.yaml --\nCONFIG a\n-- two/kustomization.yaml --\nresources: [../one]\n",
			want: []string{"a one/a.yaml:1"}},
		"kinds that render nothing": {path: "d", files: "-- d/a.yaml --\nCONFIG a\n---\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairDecryptor\nmetadata: {name: b}\n-- d/c.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairValidator\nmetadata: {name: c}\n-- d/a.yaml --\nCONFIG a\n",
			want: []string{"a d/a.yaml:1"}},
		"the file of one that a kustomization above lists": {path: "d/sub/a.yaml", files: "-- d/kustomization.yaml --\ntransformers: [sub/a.yaml, sub/b.yaml]\nresources: [west.yaml]\n-- d/sub/a.yaml --\nCONFIG a\n-- d/sub/b.yaml --\nCONFIG b\n-- d/west.yaml --\n",
			want: []string{"a d/sub/a.yaml:1 [west.yaml] []"}},
		"the file of one that no kustomization lists": {path: "d/a.yaml", files: "-- d/kustomization.yaml --\ngenerators: [b.yaml]\n-- d/a.yaml --\nCONFIG a\n-- d/b.yaml --\nCONFIG b\n",
			want: []string{"a d/a.yaml:1"}},
		"no config at all": {path: "d", files: "-- d/a.yaml --\nkind: ConfigMap\n"},
		"no such path":     {path: "d", err: "d: no such file or directory"},
		"a listed config that is not there": {path: "d", files: "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n",
			err: "d/kustomization.yaml:1:14: error: a.yaml: no such file or directory [yaml]"},
		"a list that is none": {path: "d", files: "-- d/kustomization.yaml --\ngenerators: {a: b}\n",
			err: "d/kustomization.yaml:1: error: resources, components, generators, transformers and secretGenerator are to be lists [yaml]"},
		"a Secret of a transformer that is not there": {path: "d", files: "-- d/kustomization.yaml --\ntransformers: [a.yaml]\nresources: [west.yaml]\n-- d/a.yaml --\nCONFIG a\n",
			want: []string{"a d/a.yaml:1"}, err: "d: resources: error: d/west.yaml: no such file or directory: a Secret that it holds would be missed [secret-missing]"},
	} {
		t.Run(name, func(t *testing.T) {
			lay(t, test.files)
			configs, err := Find(test.path)
			defer Close(configs)
			if got := fmt.Sprint(err); got != test.err && (err != nil || test.err != "") {
				t.Errorf("error %s, want %s", got, test.err)
			}
			var got []string
			for _, c := range configs {
				at := fmt.Sprintf("%s %s:%d", c.Name, c.File, c.Doc.Line)
				if len(c.Resources)+len(c.Generated) > 0 {
					at += fmt.Sprint(" ", c.Resources, " ", c.Generated)
				}
				got = append(got, at)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("found %q, want %q", got, test.want)
			}
		})
	}
}

// TestConfigs takes each config once, and says where there are some.
func TestConfigs(t *testing.T) {
	lay(t, "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\nCONFIG a\n-- e/f/a.yaml --\nCONFIG b\n-- e/g/kustomization.yaml --\ngenerators:\n- |\n  apiVersion: clusterpair.dev/v1alpha1\n  kind: ClusterPairGenerator\n")
	configs, err := Configs("d", "d/a.yaml", "./d")
	defer Close(configs)
	if err != nil || len(configs) != 1 {
		t.Errorf("%d configs, %v; want one", len(configs), err)
	}
	_, err = Configs("e")
	var hinted *report.HintedError
	if !errors.As(err, &hinted) || hinted.Hint != "clusterpair generate -f e/f -f e/g" {
		t.Errorf("error %v, want a hint of both directories", err)
	}
	if got := Below(".", 2); !slices.Equal(got, []string{"d/a.yaml", "e/f/a.yaml"}) {
		t.Errorf("Below gives %q", got)
	}
	if got := Below(".", -1); !slices.Equal(got, []string{"d/a.yaml", "e/f/a.yaml", "e/g"}) {
		t.Errorf("Below gives %q", got)
	}
	if HasConfig("e") || !HasConfig("e/g") || HasConfig("nowhere") {
		t.Error("HasConfig is to be as Find is")
	}
}

// TestStray tells of a config that its kustomization forgets.
func TestStray(t *testing.T) {
	lay(t, "-- d/kustomization.yaml --\ngenerators: [a.yaml]\n-- d/a.yaml --\nCONFIG a\n-- d/b.yaml --\nCONFIG b\n-- e/c.yaml --\nCONFIG c\n")
	for path, want := range map[string]bool{"d/a.yaml": false, "d/b.yaml": true, "e/c.yaml": false} {
		configs, err := Find(path)
		defer Close(configs)
		if err != nil || len(configs) != 1 || configs[0].Stray() != want {
			t.Errorf("%s: %d configs, %v; stray is to be %v", path, len(configs), err, want)
		}
	}
}
