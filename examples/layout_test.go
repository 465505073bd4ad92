package examples

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
)

// TestLayoutIsTheExample lays out the examples with their own names: what is laid out is
// what the tests of the examples have run.
func TestLayoutIsTheExample(t *testing.T) {
	for _, test := range []struct {
		options Options
		dir     string
		others  string // what is not by hand, or for another way
	}{
		{Options{Example: Flux, Clusters: []string{"east=" + eastKey, "west=" + westKey}, Namespace: "migrationnamespace"}, ".",
			`^(README\.md|dr/[^/]*/(rendered|secrets)/.*)$`},
		{Options{Example: ArgoCD, Clusters: []string{"east=" + demoKey, "west"}, Namespace: "plugin", Repo: "https://git.example.com/fleet.git"}, "examples/argocd",
			`^(README\.md|secrets/.*|exec/.*|apps/(exec|directory)/.*|applications/(exec|directory)\.yaml|apps/plugin/remotecluster\.yaml)$`},
	} {
		o := test.options
		o.CI, o.Recovery, o.Pair, o.StorkVersion = demoKey, recoveryKey, "remotecluster", "24.3"
		t.Run(o.Example, func(t *testing.T) {
			laid := layOut(t, o, test.dir)
			example := filesBelow(t, o.Example)
			others := regexp.MustCompile(test.others)
			for name, text := range example {
				got, ok := laid[name]
				switch {
				case others.MatchString(name):
					if ok {
						t.Errorf("%s is laid out", name)
					}
				case o.Example == ArgoCD && name == "clusterpair.yaml":
					one := "  - name: remotecluster\n    namespace: NAME\n    destination: {secret: {name: west-kubeconfig}}\n    annotations: {argocd.argoproj.io/sync-options: \"Delete=confirm,Prune=confirm\"}\n"
					for _, way := range []string{"exec", "directory"} {
						text = strings.Replace(text, strings.Replace(one, "NAME", way, 1), "", 1)
					}
					fallthrough
				default:
					if got != text {
						t.Errorf("%s is laid out as\n%s", name, got)
					}
				}
			}
			for name := range laid {
				if _, ok := example[name]; !ok {
					t.Errorf("%s is laid out, which is not in the example", name)
				}
			}
		})
	}
}

// layOut are the files of a layout.
func layOut(t *testing.T, o Options, dir string) map[string]string {
	t.Helper()
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	files, err := l.Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPlaceholders sees to it that each placeholder stands in its example, and that none
// is named twice: one that is gone there would leave the user's name out.
func TestPlaceholders(t *testing.T) {
	for _, example := range []string{Flux, ArgoCD} {
		names := make(words)
		for _, p := range placeholders[example] {
			if _, twice := names[p.text]; twice {
				t.Errorf("%s: %q stands twice in the list", example, p.text)
			}
			names[p.text] = ""
		}
		found := make(map[string]bool)
		for name := range filesBelow(t, example) {
			text, err := read(example, name)
			if err != nil || example == ArgoCD && installed(name) {
				continue // it is not laid out, or as it stands
			}
			for _, where := range []string{name, text} {
				for _, at := range names.places(where) {
					found[where[at[0]:at[1]]] = true
				}
			}
		}
		for name := range names {
			if !found[name] {
				t.Errorf("%s: no file holds %q", example, name)
			}
		}
	}
}

// TestLayoutNames lays out repositories with names that YAML takes for other than
// text, and with those of the example for each other: no other value changes, no
// text becomes something else, and no name of the example is left.
func TestLayoutNames(t *testing.T) {
	const first, second = "age1872elh4zyqmvaylqacl49z9qjuynklevccme776c7xpnj99v2qksmggczs", "age1prvxs89qu2wg4g6lx3kdalrzygfhh3c6q4hz4xrn0uh036vpfcxq3cfnc5"
	const ci, recovery = "age1c0xkwdhawgumfgr8z7tch5cys9k275z0nw6arqql4kzvsqla8aestr0llf", "age1pdsq2d8ep6add8wte5uccjtkgkah6wmyqua5gv7r540rm0cs83tq2gnxxx"
	left := regexp.MustCompile(`(?i)\b(east|west|fleet|exec|directory|remotecluster|migrationnamespace|git\.example\.com|` +
		strings.Join([]string{demoKey, eastKey, westKey, recoveryKey}, "|") + `)\b`)
	token := regexp.MustCompile(`[A-Za-z0-9]+`)
	for _, names := range [][]string{ // of the clusters, the namespace, the pair
		{"paris", "rome", "shop", "dr"},
		{"1", "on", "null", "1.5"},
		{"0x1f", "2026-01-01", "0o7", "1e3"},
		{"west", "east", "remotecluster", "migrationnamespace"},
	} {
		for _, example := range []string{Flux, ArgoCD} {
			own := map[string]string{"east": names[0], "west": names[1], "remotecluster": names[3]}
			o := Options{Example: example, Namespace: names[2], Pair: names[3], StorkVersion: "24.3", Clusters: []string{names[0] + "=" + first}, CI: ci, Recovery: recovery}
			if example == Flux {
				o.Clusters = append(o.Clusters, names[1]+"="+second)
				own["migrationnamespace"] = names[2]
			} else {
				o.Clusters, o.Repo = append(o.Clusters, names[1]), "https://git.example.org/dr"
				own["plugin"] = names[2]
			}
			files := layOut(t, o, ".")
			rename := func(text string) string {
				text = strings.Replace(text, "examples/argocd/", "", 1)
				return token.ReplaceAllStringFunc(text, func(word string) string { return cmp.Or(own[word], word) })
			}
			for name, text := range files {
				if found := left.FindString(text + name); found != "" && names[0] != "west" && !installed(name) {
					t.Errorf("%v: %s holds %s", names, name, found)
				}
			}
			for name, text := range filesBelow(t, example) {
				got, ok := files[rename(name)]
				if !ok || filepath.Ext(name) != ".yaml" || name == ".sops.yaml" || example == ArgoCD && installed(name) {
					continue
				}
				if example == ArgoCD && name == "clusterpair.yaml" {
					text, _ = onlyPair(text, "plugin")
				}
				want, values := scalars(t, text), scalars(t, got)
				for i := range want {
					want[i] = rename(want[i])
					if repo, ok := strings.CutPrefix(want[i], "!!str https://"); ok && strings.HasPrefix(repo, "git.") {
						want[i] = "!!str https://git.example.org/dr"
					}
				}
				if !slices.Equal(want, values) {
					t.Errorf("%v: %s has the values\n%q, not\n%q", names, name, values, want)
				}
			}
		}
	}
}

// scalars are the values of a YAML file, each with its type.
func scalars(t *testing.T, text string) []string {
	t.Helper()
	docs, err := manifest.Values([]byte(text), "file")
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	var values []string
	var walk func(*yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			values = append(values, n.ShortTag()+" "+n.Value)
		}
		for i, c := range n.Content {
			if n.Kind != yaml.MappingNode || i%2 == 1 {
				walk(c)
			}
		}
	}
	for _, doc := range docs {
		walk(doc)
	}
	return values
}

// filesBelow are the texts of all files below a directory.
func filesBelow(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path) // it is below
		files[filepath.ToSlash(name)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
