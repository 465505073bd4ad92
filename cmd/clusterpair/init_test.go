package main

import (
	"cmp"
	"context"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"

	"clusterpair.dev/internal/manifest"
)

// Recipients of the keys in fixtures/keys.
const (
	demoRecipient     = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	eastRecipient     = "age1ht44faz5swt5rfvmm7ceermh5n259jzffw7m7v024km66jrm2dcs4vdt0v"
	westRecipient     = "age15cswxs9gxaan0z8ma5cf23apgqzqeggcvl0jwgsxxqa7lh2pgyrsac592e"
	recoveryRecipient = "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
)

// TestInitIsTheExample lays out the examples with their own names: what init
// writes is what the tests of the examples have run.
func TestInitIsTheExample(t *testing.T) {
	for _, test := range []struct {
		example string
		args    []string
		others  string // what is not by hand, or for another way
	}{
		{"flux", []string{"--cluster", "east=" + eastRecipient, "--cluster", "west=" + westRecipient},
			`^(README\.md|dr/[^/]*/(rendered|secrets)/.*)$`},
		{"argocd", []string{"--cluster", "east=" + demoRecipient, "--cluster", "west", "-n", "plugin", "--repo", "https://git.example.com/fleet.git"},
			`^(README\.md|secrets/.*|exec/.*|apps/(exec|directory)/.*|applications/(exec|directory)\.yaml|apps/plugin/remotecluster\.yaml)$`},
	} {
		t.Run(test.example, func(t *testing.T) {
			top := t.TempDir()
			dir := top // Flux has its repository for itself
			if err := os.Mkdir(filepath.Join(top, ".git"), 0o700); err != nil {
				t.Fatal(err)
			}
			if test.example == "argocd" {
				dir = filepath.Join(top, "examples", "argocd")
			}
			initialize(t, append(test.args, test.example, dir, "--ci", demoRecipient, "--recovery", recoveryRecipient)...)
			example := filepath.Join("..", "..", "examples", test.example)
			others := regexp.MustCompile(test.others)
			for name, text := range filesBelow(t, example) {
				got, err := os.ReadFile(filepath.Join(dir, name))
				switch {
				case others.MatchString(name):
					if err == nil {
						t.Errorf("init writes %s", name)
					}
				case test.example == "argocd" && name == "clusterpair.yaml":
					one := "  - name: remotecluster\n    namespace: NAME\n    destination: {secret: {name: west-kubeconfig}}\n    annotations: {argocd.argoproj.io/sync-options: \"Delete=confirm,Prune=confirm\"}\n"
					for _, way := range []string{"exec", "directory"} {
						text = strings.Replace(text, strings.Replace(one, "NAME", way, 1), "", 1)
					}
					fallthrough
				default:
					if string(got) != text {
						t.Errorf("init does not write %s as it is (%v):\n%s", name, err, got)
					}
				}
			}
			for name := range filesBelow(t, dir) {
				if _, err := os.Stat(filepath.Join(example, name)); err != nil && !strings.HasPrefix(name, ".git/") {
					t.Errorf("init writes %s, which is not in the example", name)
				}
			}
		})
	}
}

// TestInitNames lays out repositories with names that YAML takes for other than
// text, and with those of the example for each other: no other value changes, no
// text becomes something else, and no name of the example is left.
func TestInitNames(t *testing.T) {
	const first, second = "age1872elh4zyqmvaylqacl49z9qjuynklevccme776c7xpnj99v2qksmggczs", "age1prvxs89qu2wg4g6lx3kdalrzygfhh3c6q4hz4xrn0uh036vpfcxq3cfnc5"
	const ci, recovery = "age1c0xkwdhawgumfgr8z7tch5cys9k275z0nw6arqql4kzvsqla8aestr0llf", "age1pdsq2d8ep6add8wte5uccjtkgkah6wmyqua5gv7r540rm0cs83tq2gnxxx"
	example := regexp.MustCompile(`(?i)\b(east|west|fleet|exec|directory|remotecluster|migrationnamespace|git\.example\.com|` +
		strings.Join([]string{demoRecipient, eastRecipient, westRecipient, recoveryRecipient}, "|") + `)\b`)
	token := regexp.MustCompile(`[A-Za-z0-9]+`)
	for _, names := range [][]string{ // of the clusters, the namespace, the pair
		{"paris", "rome", "shop", "dr"},
		{"1", "on", "null", "1.5"},
		{"0x1f", "2026-01-01", "0o7", "1e3"},
		{"west", "east", "remotecluster", "migrationnamespace"},
	} {
		for _, layout := range []string{"flux", "argocd"} {
			dir := t.TempDir()
			own := map[string]string{"east": names[0], "west": names[1], "remotecluster": names[3]}
			args := []string{layout, dir, "-n", names[2], "--pair", names[3], "--cluster", names[0] + "=" + first, "--ci", ci, "--recovery", recovery}
			if layout == "flux" {
				args = append(args, "--cluster", names[1]+"="+second)
				own["migrationnamespace"] = names[2]
			} else {
				args = append(args, "--cluster", names[1], "--repo", "https://git.example.org/dr")
				own["plugin"] = names[2]
			}
			initialize(t, args...)
			rename := func(text string) string {
				text = strings.Replace(text, "examples/argocd/", "", 1)
				return token.ReplaceAllStringFunc(text, func(word string) string { return cmp.Or(own[word], word) })
			}
			files := filesBelow(t, dir)
			for name, text := range files {
				if found := example.FindString(text + name); found != "" && names[0] != "west" && !isInstalled(name) {
					t.Errorf("%v: %s holds %s", names, name, found)
				}
			}
			for name, text := range filesBelow(t, filepath.Join("..", "..", "examples", layout)) {
				got, ok := files[rename(name)]
				if !ok || filepath.Ext(name) != ".yaml" || name == ".sops.yaml" || layout == "argocd" && isInstalled(name) {
					continue
				}
				if layout == "argocd" && name == "clusterpair.yaml" {
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

// TestInitTogether lays out one directory several times at once: each run finds what
// another has written, or writes it.
func TestInitTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			initialize(t, "flux", dir, "--cluster", "east="+eastRecipient, "--cluster", "west="+westRecipient, "--ci", demoRecipient, "--recovery", recoveryRecipient)
			return nil
		})
	}
	group.Wait() // there are no errors
	if n := len(filesBelow(t, dir)); n != 11 {
		t.Errorf("there are %d files", n)
	}
}

// TestInitInterrupted interrupts a run before it writes.
func TestInitInterrupted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var stderr strings.Builder
	code := run(ctx, []string{"init", "flux", dir, "--cluster", "east=" + eastRecipient, "--cluster", "west=" + westRecipient, "--ci", demoRecipient, "--recovery", recoveryRecipient}, nil, io.Discard, &stderr)
	if code != exitFailed || stderr.String() != "clusterpair: interrupted; nothing was written\n" {
		t.Errorf("exit code %d: %s", code, &stderr)
	}
	if _, err := os.Stat(filepath.Dir(dir)); err == nil {
		t.Error("a directory is left")
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

// initialize runs clusterpair init.
func initialize(t *testing.T, args ...string) {
	t.Helper()
	var stderr strings.Builder
	if code := run(context.Background(), append([]string{"init"}, args...), nil, io.Discard, &stderr); code != 0 {
		t.Errorf("init %s: exit code %d: %s", strings.Join(args, " "), code, &stderr)
	}
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
