package judge

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/helper/helpertest"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/validate"
)

const key = "AGE-SECRET-KEY-1QQPQYQ5W3R5ZXAR7GMV5GAKSVHR0EDZ9CXWYX2S5KPEGH4VMSUYQ3NXWKV"

// repository lays out a Git work tree of files, makes it the working directory, and has
// Git know all of them but those in ignored/.
func repository(t *testing.T, files map[string]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}} {
		if out, err := exec.Command("git", args...).CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
}

// TestJudge judges a repository, and says which files were judged.
func TestJudge(t *testing.T) {
	repository(t, map[string]string{
		".gitignore":          "ignored/\n",
		"kustomization.yaml":  "resources: [taken]\n",
		"taken":               "kind: ClusterPair\napiVersion: stork.libopenstorage.org/v1alpha1\nmetadata: {name: taken, namespace: apps}\n",
		"pair.yaml":           "kind: ClusterPair\napiVersion: stork.libopenstorage.org/v1alpha1\nmetadata: {name: pair, namespace: apps}\n",
		"notes.key":           key + "\n",
		"ignored/notes.key":   key + "\n",
		"ignored/hidden.yaml": "kind: ClusterPair\nmetadata: {name: hidden, namespace: apps}\n",
	})
	for _, c := range []struct {
		name    string
		options validate.Options
		args    []string
		visited string // handed to visit
		checked string // with something to judge in them
	}{
		{"a directory", validate.Options{}, []string{"."}, "kustomization.yaml pair.yaml", "kustomization.yaml notes.key pair.yaml taken"},
		{"no credential is looked for", validate.Options{Skip: []string{"plaintext-credential"}}, []string{"."}, "kustomization.yaml pair.yaml", "kustomization.yaml pair.yaml taken"},
		{"all is meant to be in clear", validate.Options{Plaintext: true}, []string{"."}, "kustomization.yaml pair.yaml", "kustomization.yaml pair.yaml taken"},
		{"a file", validate.Options{}, []string{"pair.yaml"}, "pair.yaml", "pair.yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := context.Background()
			repo, err := gitfiles.Open()
			if err != nil {
				t.Fatal(err)
			}
			source := &gitfiles.WorkTree{Repository: repo}
			list, err := source.List(ctx, c.args)
			if err != nil {
				t.Fatal(err)
			}
			c.options.LeftOut = list.LeftOut
			v := validate.New(c.options)
			var mu sync.Mutex
			var visited []string
			unread, err := All(ctx, source, list, v, func(ctx context.Context, file validate.File) error {
				mu.Lock()
				visited = append(visited, file.Name)
				mu.Unlock()
				return v.File(ctx, file)
			}, func(err error) { t.Error(err) })
			if err != nil || unread != nil {
				t.Fatal(unread, err)
			}
			visited = slices.DeleteFunc(visited, func(name string) bool { return strings.HasPrefix(name, "ignored/") }) // read, and left out
			slices.Sort(visited)
			if got := strings.Join(visited, " "); got != c.visited {
				t.Errorf("visited %s, not %s", got, c.visited)
			}
			checked, _ := v.Checked()
			slices.Sort(checked)
			if got := strings.Join(checked, " "); got != c.checked {
				t.Errorf("checked %s, not %s", got, c.checked)
			}
			for _, f := range v.Findings() {
				if f.Rule == "plaintext-credential" && f.Position.File != "notes.key" {
					t.Error(f)
				}
			}
		})
	}
}

// TestUnread judges a directory with a file that nobody may read: the others are judged,
// and the error says which is not.
func TestUnread(t *testing.T) {
	repository(t, map[string]string{"pair.yaml": "kind: ClusterPair\nmetadata: {name: pair}\n"})
	if err := os.Symlink("nowhere", "broken.yaml"); err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	repo, err := gitfiles.Open()
	if err != nil {
		t.Fatal(err)
	}
	source := &gitfiles.WorkTree{Repository: repo}
	v := validate.New(validate.Options{})
	hand := func(_ context.Context, visit func(gitfiles.File)) error {
		visit(gitfiles.File{Name: "broken.yaml", Path: "broken.yaml", Any: true})
		visit(gitfiles.File{Name: "pair.yaml", Path: "pair.yaml"})
		return nil
	}
	unread, err := Each(ctx, source, hand, v.File)
	if err != nil || len(unread) != 1 || !strings.Contains(unread[0].Error(), "broken.yaml") {
		t.Errorf("%v, %v", unread, err)
	}
	if files, pairs := v.Checked(); !slices.Equal(files, []string{"pair.yaml"}) || pairs != 1 {
		t.Errorf("checked %v with %d pairs", files, pairs)
	}
	interrupted, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := Each(interrupted, source, hand, v.File); err == nil {
		t.Error("an interrupted run says that all is judged")
	}
}

// TestBuild judges what kustomize makes of a directory, which must be one.
func TestBuild(t *testing.T) {
	repository(t, map[string]string{
		"good/kustomization.yaml": "resources: [pair.yaml]\nnamespace: apps\n",
		"good/pair.yaml":          "kind: ClusterPair\napiVersion: stork.libopenstorage.org/v1alpha1\nmetadata: {name: pair}\nspec: {config: {}, options: {}}\n",
		"bad/kustomization.yaml":  "resources: [missing.yaml]\n",
	})
	for dir, want := range map[string]string{
		"good":           "",
		"bad":            "missing.yaml",
		"good/pair.yaml": "good/pair.yaml: is no directory",
		"none":           "none: no such file or directory",
	} {
		v := validate.New(validate.Options{})
		err := Build(context.Background(), v, dir, kustomize.Options{})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", dir, err)
		}
		if want != "" {
			continue
		}
		if findings := v.Findings(); len(findings) == 0 || !strings.HasPrefix(findings[0].Position.String(), dir+": ClusterPair/apps/pair") {
			t.Errorf("%s: %v", dir, findings)
		}
	}
}

// TestPolicy holds policies against repositories: what of them has judged something, and
// when it is worth a warning that nothing has.
func TestPolicy(t *testing.T) {
	helpertest.InPath(t)
	const pair = "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: pair, namespace: apps}\nspec: {config: {}, options: {}}\n"
	for _, c := range []struct {
		name, policy, file string
		whole              bool
		judged             map[string]int
		idle               string
	}{
		{"a pair", "#ClusterPair: metadata: name: \"pair\"\n", pair, true, map[string]int{"#ClusterPair": 1}, ""},
		{"no pair", "#ClusterPair: metadata: name: \"pair\"\n", "kind: ConfigMap\n", true, map[string]int{"#ClusterPair": 0}, "there is none of the kind of #ClusterPair"},
		{"no pair in a single file", "#ClusterPair: metadata: name: \"pair\"\n", "kind: ConfigMap\n", false, map[string]int{"#ClusterPair": 0}, ""},
		{"a pair of another kind", "#Encrypted: metadata: name: \"pair\"\n", pair, false, map[string]int{"#Encrypted": 0}, "there is none of the kind of #Encrypted"},
		{"a policy of nothing", "#Name: \"pair\"\n", pair, true, map[string]int{}, "it adds to no definition of a kind of document"},
	} {
		t.Run(c.name, func(t *testing.T) {
			repository(t, map[string]string{"policy.cue": "package schema\n" + c.policy})
			p, err := OpenPolicy(t.Context(), "policy.cue")
			if err != nil {
				t.Fatal(err)
			}
			v := validate.New(validate.Options{Policy: p.Validate})
			if err := v.File(context.Background(), validate.File{Name: "f.yaml", Path: "f.yaml", Data: []byte(c.file)}); err != nil {
				t.Fatal(err)
			}
			if got := p.Judged(v); !maps.Equal(got, c.judged) {
				t.Errorf("judged %v, not %v", got, c.judged)
			}
			idle := p.Idle(v, c.whole)
			if (len(idle) == 0) != (c.idle == "") || len(idle) > 0 && !strings.Contains(idle[0].Message, c.idle) {
				t.Errorf("got %v, not %q", idle, c.idle)
			}
		})
	}
	if _, err := OpenPolicy(t.Context(), "none.cue"); err == nil || !strings.Contains(err.Error(), "read none.cue") {
		t.Error(err)
	}
}
