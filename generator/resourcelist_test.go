package generator_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/kustomize/kyaml/fn/framework"
	"sigs.k8s.io/kustomize/kyaml/kio"
	kyaml "sigs.k8s.io/kustomize/kyaml/yaml"

	"clusterpair.dev/generator"
)

// TestExecute holds Execute against that of kyaml's framework.
func TestExecute(t *testing.T) {
	const item = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: west # the destination\n  annotations:\n    config.kubernetes.io/path: 'a/b.yaml'\n    internal.config.kubernetes.io/index: '3'\n"
	indent := func(s string) string { return strings.ReplaceAll("\n"+strings.TrimSpace(s), "\n", "\n  ") }
	list := func(fields string) string {
		return "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\n" + fields
	}
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		in      string
		err     error
		message string
		rename  bool
	}{
		"nothing":          {in: ""},
		"no list":          {in: "a: ["},
		"an object":        {in: item},
		"two objects":      {in: item + "---\n" + item},
		"an empty list":    {in: list("items: []\n")},
		"an item":          {in: list("items:\n-" + indent(item)[2:] + "\nfunctionConfig: {kind: A}\n")},
		"an error":         {in: list("items:\n-" + indent(item)[2:] + "\n"), err: failed},
		"a result":         {in: list("items: []\nfunctionConfig:\n  kind: A\n"), message: "it's wrong: [config]"},
		"another path":     {in: list("items:\n-" + indent(item)[2:] + "\n"), rename: true},
		"items of no kind": {in: list("items:\n- a\n")},
		"both":             {in: list("items:\n-" + indent(item)[2:] + "\n"), message: "multi\nline", err: failed},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(items []*kyaml.RNode) error {
				for _, item := range items {
					if c.rename {
						if err := item.PipeE(kyaml.SetAnnotation("internal.config.kubernetes.io/path", "c.yaml")); err != nil {
							return err
						}
					}
				}
				return c.err
			}
			stream := func(out *bytes.Buffer) *kio.ByteReadWriter {
				return &kio.ByteReadWriter{Reader: strings.NewReader(c.in), Writer: out, KeepReaderAnnotations: true}
			}
			var ours, theirs bytes.Buffer
			theirRead, read := false, false
			theirErr := framework.Execute(framework.ResourceListProcessorFunc(func(rl *framework.ResourceList) error {
				theirRead = true
				if c.message != "" {
					rl.Results = framework.Results{{Message: c.message, Severity: framework.Error, Field: &framework.Field{Path: "spec"}, File: &framework.File{Path: "a.yaml"}}}
				}
				return change(rl.Items)
			}), stream(&theirs))
			read, err := generator.Execute(stream(&ours), func(rl *generator.ResourceList) error {
				if c.message != "" {
					rl.Results = []generator.ListResult{{Message: c.message, Severity: "error", Field: &generator.ListPlace{Path: "spec"}, File: &generator.ListPlace{Path: "a.yaml"}}}
				}
				return change(rl.Items)
			})
			if read != theirRead || ours.String() != theirs.String() || strings.TrimPrefix(fmt.Sprint(theirErr), "failed to read ResourceList input: ") != fmt.Sprint(err) {
				t.Errorf("read %v, %v:\n%s\nkyaml: read %v, %v:\n%s", read, err, &ours, theirRead, theirErr, &theirs)
			}
		})
	}
}
