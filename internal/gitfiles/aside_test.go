package gitfiles_test

import (
	"context"
	"os"
	"testing"

	"clusterpair.dev/internal/gitfiles"
)

// TestSample: files for tests, examples and documents, by their paths alone.
func TestSample(t *testing.T) {
	r := inRepository(t, map[string]string{"stages/test/a.yaml": "", "stages/prod/a.yaml": "", "test/a.yaml": ""})
	for p, want := range map[string]bool{
		"testdata/a.yaml": true, "pkg/x/testdata/a.key": true, "test/a.yaml": true, "e2e/a.yaml": true, "docs/a.md": true, "vendor/a/b.yaml": true, "load-test/a.yaml": true,
		"integration_test/a.yaml": true, "config/samples/a.yaml": true, "cmd/a_test.go": true, "kubeconfig.example": true, "charts/a/ci/b-values.yaml": true, "pgp/functional_tests_key.asc": true, "a/README.md": true,
		"clusters/test/a.yaml": false, "stages/test/a.yaml": false, "apps/demo/a.yaml": false, "test.yaml": false, "test-kubeconfig.yaml": false, "clusters/test-cluster/a.yaml": false,
		"notes.md": false, "latest/a.yaml": false, "contest/a.yaml": false, "ci/kubeconfig": false, "docs": false,
	} {
		if got := r.IsSample(".", p); got != want {
			t.Errorf("%s: got %t", p, got)
		}
	}
}

// TestIgnoreFile: what .clusterpairignore and the user leave out, unless it is named.
func TestIgnoreFile(t *testing.T) {
	r := inRepository(t, map[string]string{"a.yaml": "1", "e2e/b.yaml": "2", "e2e/notes": "3", "c/e2e/d.yaml": "4", "c/f.yaml": "5", "c/keep.yaml": "6",
		gitfiles.IgnoreFile: "# tests\n/e2e/\nc/*.yaml\n!c/keep.yaml\n"})
	for _, test := range []struct {
		args, exclude []string
		want, rest    string
	}{
		{[]string{"."}, nil, "a.yaml=1 c/e2e/d.yaml=4 c/keep.yaml=6", ".clusterpairignore"},
		{[]string{"."}, []string{"e2e"}, "a.yaml=1 c/keep.yaml=6", ".clusterpairignore"},
		{[]string{"."}, []string{"./c/e2e"}, "a.yaml=1 c/keep.yaml=6", ".clusterpairignore"},
		{[]string{"e2e"}, nil, "e2e/b.yaml=2", "e2e/notes"},
		{[]string{"c/f.yaml", "c"}, nil, "c/e2e/d.yaml=4 c/f.yaml=5 c/keep.yaml=6", ""},
	} {
		r.Exclude = test.exclude
		source := &gitfiles.WorkTree{Repository: r}
		files, err := source.List(t.Context(), test.args)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(t, source, files.Each); got != test.want {
			t.Errorf("%q without %q: got %s, want %s", test.args, test.exclude, got, test.want)
		}
		rest, err := files.Rest(t.Context())
		got := ""
		for _, f := range rest {
			got += f.Name
		}
		if err != nil || got != test.rest {
			t.Errorf("%q without %q: got %s of the rest, want %s, %v", test.args, test.exclude, got, test.rest, err)
		}
	}
	index := &gitfiles.Index{Repository: r}
	defer index.Close()
	files, err := index.List(t.Context(), []string{".", "e2e/b.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	_ = files.Each(context.Background(), func(f gitfiles.File) { got[f.Path] = true })
	if !got["a.yaml"] || !got["e2e/b.yaml"] || got["e2e/notes"] || got["c/f.yaml"] {
		t.Errorf("of the index: %v", got)
	}
	if _, err := os.Stat(gitfiles.IgnoreFile); err != nil {
		t.Error(err)
	}
}
