package render

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// home is the directory of the package, before tests go elsewhere.
var home, _ = os.Getwd()

const (
	demo     = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	recovery = "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
	pairFile = "rendered/migrationnamespace/remotecluster.yaml"
)

// shared is a file of fixtures/shared.
func shared(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(home, "../../fixtures/shared", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func edit(t *testing.T, name, old, new string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatalf("%s does not hold %q: %v", name, old, err)
	}
	write(t, name, strings.ReplaceAll(string(data), old, new))
}

// key sets the private keys at hand.
func key(t *testing.T, name string) {
	t.Helper()
	for _, v := range []string{"HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(v, t.TempDir())
	}
	path := filepath.Join(t.TempDir(), "none")
	if name != "" {
		path = filepath.Join(home, "../../fixtures/keys", name)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", path)
}

// config works in a directory with a config that renders one pair, from a Secret in
// clear, for the keys demo and recovery. The key of demo is at hand.
func config(t *testing.T) {
	t.Helper()
	key(t, "demo.agekey")
	t.Chdir(t.TempDir())
	for _, name := range []string{"clusterpair.yaml", "west.yaml"} {
		write(t, name, shared(t, name))
	}
}

// render renders what is there. plan is what became of the pairs, "" after an error;
// rules are those of the findings. Nothing is written if one of them is an error.
func render(t *testing.T, o Options) (plan string, findings []report.Finding) {
	t.Helper()
	configs, err := kustomize.Configs(".")
	defer kustomize.Close(configs)
	if err != nil {
		t.Fatal(err)
	}
	r := Begin(configs, o)
	defer r.Close()
	findings, err = r.Render(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if report.HasErrors(findings) {
		return "", findings
	}
	for _, p := range r.Plans() {
		plan += p.String() + "\n"
	}
	if err := r.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(plan, "\n"), findings
}

func rules(findings []report.Finding) string {
	var all []string
	for _, f := range findings {
		all = append(all, f.Severity.String()+" "+f.Rule)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestAgain renders a pair a second time, after something has changed.
func TestAgain(t *testing.T) {
	const unchanged, changed = "east: +0 ~0 -0, 1 unchanged", "east: +0 ~1 -0, 0 unchanged"
	// A user with a password, which anybody could guess whom a digest would tell.
	password := func(t *testing.T) {
		edit(t, "west.yaml", "token: "+between(t, "west.yaml", "token: ", "\n"), "username: dr\n        password: correct-horse")
		edit(t, "clusterpair.yaml", "secret: {name: west-kubeconfig, namespace: fleet}", "secret: {name: west-kubeconfig, namespace: fleet}\n    allow: [{rule: basic-auth, reason: test}]")
	}
	for _, c := range []struct {
		name   string
		before func(t *testing.T)
		change func(t *testing.T)
		key    string // at hand the second time
		plan   string
		rules  string
		// kept says that what has not changed keeps its ciphertext.
		kept bool
	}{
		{name: "nothing, with a key", key: "demo.agekey", plan: unchanged, kept: true},
		{name: "nothing, without a key", plan: unchanged, kept: true},
		{name: "nothing, with a key of somebody else", key: "east.agekey", plan: unchanged, kept: true},
		{name: "a password, with a key", before: password, key: "demo.agekey", plan: unchanged, rules: "info basic-auth", kept: true},
		{name: "a password, without a key", before: password, plan: changed, rules: "info basic-auth, info no-key"},
		{name: "the server, with a key", change: func(t *testing.T) { edit(t, "west.yaml", "west.example.com:6443", "west.example.com:8443") }, key: "demo.agekey", plan: changed, kept: true},
		{name: "the server, without a key", change: func(t *testing.T) { edit(t, "west.yaml", "west.example.com:6443", "west.example.com:8443") }, plan: changed},
		{name: "a label of the config", change: func(t *testing.T) {
			edit(t, "clusterpair.yaml", "  - name: remotecluster", "  - name: remotecluster\n    labels: {role: dr}")
		}, key: "demo.agekey", plan: changed, kept: true},
		{name: "the digest, with a key", change: func(t *testing.T) {
			edit(t, pairFile, "clusterpair.dev/plaintext-digest: ", "clusterpair.dev/plaintext-digest: x")
		}, key: "demo.agekey", plan: changed, kept: true},
		{name: "the digest, without a key", change: func(t *testing.T) {
			edit(t, pairFile, "clusterpair.dev/plaintext-digest: ", "clusterpair.dev/plaintext-digest: x")
		}, plan: changed},
		{name: "the MAC", change: func(t *testing.T) { edit(t, pairFile, "mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:AAAA") }, key: "demo.agekey", plan: changed, kept: true},
		{name: "the sops section is gone", change: func(t *testing.T) {
			data := read(t, pairFile)
			write(t, pairFile, string(data[:bytes.Index(data, []byte("\nsops:"))+1]))
		}, key: "demo.agekey", plan: changed},
		{name: "a reader is new", change: func(t *testing.T) {
			edit(t, "clusterpair.yaml", "    - "+recovery, "    - "+recovery+"\n    - "+sopsfile.Nobody())
		}, key: "demo.agekey", plan: changed, kept: true},
		{name: "a reader is gone", change: func(t *testing.T) { edit(t, "clusterpair.yaml", "    - "+recovery+"\n", "") }, key: "demo.agekey", plan: changed},
		{name: "another reader", change: func(t *testing.T) { edit(t, "clusterpair.yaml", recovery, sopsfile.Nobody()) }, plan: changed},
	} {
		t.Run(c.name, func(t *testing.T) {
			config(t)
			if c.before != nil {
				c.before(t)
			}
			if plan, findings := render(t, Options{}); plan != "east: +1 ~0 -0, 0 unchanged" {
				t.Fatalf("first: %s %v", plan, findings)
			}
			before := read(t, pairFile)
			if c.change != nil {
				c.change(t)
			}
			key(t, c.key)
			plan, findings := render(t, Options{})
			if plan != c.plan || rules(findings) != c.rules {
				t.Errorf("got %s %v, want %s %s", plan, findings, c.plan, c.rules)
			}
			after := read(t, pairFile)
			if same := bytes.Equal(before, after); same != (c.plan == unchanged) {
				t.Errorf("the bytes are the same: %t", same)
			}
			const leaf = "certificate-authority-data: "
			if kept := between(t, pairFile, leaf, "\n") == cut(string(before), leaf, "\n"); kept != c.kept {
				t.Errorf("what has not changed keeps its ciphertext: %t", kept)
			}
			opened(t, after)
		})
	}
}

// opened decrypts a pair with the key of demo, and verifies its MAC.
func opened(t *testing.T, pair []byte) {
	t.Helper()
	key(t, "demo.agekey")
	if _, err := sopsfile.New(nil).Decrypt(t.Context(), pair, pairFile); err != nil {
		t.Error(err)
	}
}

// cut is what stands in a text between two others, "" if nothing does.
func cut(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}

func between(t *testing.T, name, before, after string) string {
	t.Helper()
	return cut(string(read(t, name)), before, after)
}

// TestRefused: what a run must not write over, or take for its own.
func TestRefused(t *testing.T) {
	second := func(t *testing.T, name, pair, more string) {
		text := strings.Replace(shared(t, "clusterpair.yaml"), "name: east", "name: "+name, 1)
		write(t, "second.yaml", strings.Replace(text, "- name: remotecluster", "- name: "+pair, 1)+more)
		write(t, "kustomization.yaml", "generators: [clusterpair.yaml, second.yaml]\n")
	}
	for _, c := range []struct {
		name, rules string
		change      func(t *testing.T)
	}{
		{"a file that is no pair", "error output-taken", func(t *testing.T) { write(t, pairFile, "kind: Deployment\n") }},
		{"a pair in clear that nobody has rendered", "error output-taken", func(t *testing.T) { write(t, pairFile, shared(t, "plain.yaml")) }},
		{"a broken encrypted file", "error sops-malformed", func(t *testing.T) { write(t, pairFile, "kind: ClusterPair\nsops:\n  mac: 1\n") }},
		{"a Secret that is not there", "error secret-missing", func(t *testing.T) { edit(t, "clusterpair.yaml", "west-kubeconfig", "east-kubeconfig") }},
		{"a file that is not there", "error secret-missing", func(t *testing.T) { edit(t, "clusterpair.yaml", "- west.yaml", "- other.yaml") }},
		{"an output outside", "error config", func(t *testing.T) {
			write(t, "clusterpair.yaml", shared(t, "clusterpair.yaml")+"  output: ../elsewhere\n")
		}},
		{"no recipient", "error config", func(t *testing.T) { edit(t, "clusterpair.yaml", demo, "age1nobody") }},
		{"two configs of one name", "error config", func(t *testing.T) { second(t, "east", "other", "") }},
		{"two configs with one pair", "error duplicate-pair", func(t *testing.T) { second(t, "west", "remotecluster", "") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config(t)
			c.change(t)
			before, _ := os.ReadFile(pairFile)
			plan, findings := render(t, Options{})
			if plan != "" || rules(findings) != c.rules {
				t.Errorf("got %s %v, want %s", plan, findings, c.rules)
			}
			if after, _ := os.ReadFile(pairFile); !bytes.Equal(before, after) {
				t.Error("the file is another one")
			}
			for _, f := range findings {
				if strings.Contains(fmt.Sprintf("%+v", f), "eyJ") {
					t.Errorf("a token is shown: %+v", f)
				}
			}
		})
	}
}

// TestDry: a dry run tells what it would do, and does not do it.
func TestDry(t *testing.T) {
	config(t)
	var told []string
	o := Options{Dry: true, Each: func(file string, before, after []byte) {
		told = append(told, fmt.Sprintf("%s %t %t", file, before != nil, bytes.Contains(after, []byte("sops:"))))
	}}
	if plan, findings := render(t, o); plan != "east: +1 ~0 -0, 0 unchanged" || len(findings) > 0 {
		t.Errorf("got %s %v", plan, findings)
	}
	if got := strings.Join(told, ", "); got != pairFile+" false true" {
		t.Errorf("told: %s", got)
	}
	if _, err := os.Stat("rendered"); !os.IsNotExist(err) {
		t.Errorf("rendered: %v", err)
	}
}

// TestJudge: what is removed, and what a run refuses to remove.
func TestJudge(t *testing.T) {
	other := "  - name: other\n    destination:\n      secret: {name: west-kubeconfig, namespace: fleet}\n"
	without := func(t *testing.T) { edit(t, "clusterpair.yaml", other, "") }
	for _, c := range []struct {
		name   string
		change func(t *testing.T)
		remove int
		plan   string
		rules  string
	}{
		{"nothing", func(t *testing.T) {}, -1, "east: +0 ~0 -0, 2 unchanged", ""},
		{"one pair, unasked", without, -1, "east: +0 ~0 -1, 1 unchanged", ""},
		{"one pair, and none may go", without, 0, "east: +0 ~0 -1, 1 unchanged", "error bulk-removal"},
		{"all pairs, unasked", func(t *testing.T) {
			without(t)
			edit(t, "clusterpair.yaml", "- name: remotecluster", "- name: new")
		}, -1, "east: +1 ~0 -2, 0 unchanged", "error bulk-removal"},
		{"all pairs, as asked", func(t *testing.T) {
			without(t)
			edit(t, "clusterpair.yaml", "- name: remotecluster", "- name: new")
		}, 2, "east: +1 ~0 -2, 0 unchanged", ""},
		{"an input is empty", func(t *testing.T) {
			without(t)
			write(t, "more.yaml", "")
			edit(t, "clusterpair.yaml", "- west.yaml", "- west.yaml\n  - more.yaml")
		}, 1, "east: +0 ~0 -1, 1 unchanged", "error secret-missing"},
		{"an input is a pointer of Git LFS", func(t *testing.T) {
			without(t)
			write(t, "more.yaml", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
			edit(t, "clusterpair.yaml", "- west.yaml", "- west.yaml\n  - more.yaml")
		}, 1, "east: +0 ~0 -1, 1 unchanged", "error secret-missing"},
		{"a pair of a config that is gone", func(t *testing.T) {
			edit(t, "rendered/migrationnamespace/other.yaml", "generated-by: east", "generated-by: north")
			without(t)
		}, -1, "east: +0 ~0 -0, 1 unchanged", "warning orphan-pair"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config(t)
			edit(t, "clusterpair.yaml", "  files:\n", other+"  files:\n")
			render(t, Options{})
			c.change(t)
			configs, err := kustomize.Configs(".")
			if err != nil {
				t.Fatal(err)
			}
			defer kustomize.Close(configs)
			r := Begin(configs, Options{})
			defer r.Close()
			if findings, err := r.Render(t.Context()); err != nil || report.HasErrors(findings) {
				t.Fatal(findings, err)
			}
			if plan := r.Plans()[0].String(); plan != c.plan {
				t.Errorf("got %s, want %s", plan, c.plan)
			}
			findings, err := r.Judge(t.Context(), []string{"."}, c.remove)
			if err != nil || rules(findings) != c.rules {
				t.Errorf("got %v %v, want %s", findings, err, c.rules)
			}
		})
	}
}

// documents is a text as the document that a file is about to hold.
func documents(t *testing.T, path, text string) map[string]*yaml.Node {
	t.Helper()
	docs, err := manifest.Values([]byte(text), path)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]*yaml.Node{path: docs[0]}
}

// TestInstead renders from what a file is about to hold, and writes both.
// TestShared has two configs take in one Secret: each renders what it would alone, and
// what is wrong with it is said once.
func TestShared(t *testing.T) {
	config(t)
	text := shared(t, "clusterpair.yaml")
	second := strings.NewReplacer("name: east", "name: north", "name: remotecluster", "name: second",
		"west-kubeconfig, namespace: fleet}", "west-kubeconfig, namespace: fleet}\n      server: https://proxy.example.com:6443").Replace(text)
	write(t, "clusterpair.yaml", second)
	plan, alone := render(t, Options{})
	if plan != "north: +1 ~0 -0, 0 unchanged" {
		t.Fatal(plan, alone)
	}
	write(t, "clusterpair.yaml", text+"\n---\n"+second)
	plan, both := render(t, Options{})
	if plan != "east: +1 ~0 -0, 0 unchanged\nnorth: +0 ~0 -0, 1 unchanged" {
		t.Errorf("%s, %v", plan, both)
	}
	edit(t, "west.yaml", "current-context: stork@west", "current-context: nobody")
	if _, findings := render(t, Options{}); rules(findings) != "error context-broken" {
		t.Errorf("a bad Secret: %v", findings)
	}
}

func TestInstead(t *testing.T) {
	config(t)
	render(t, Options{})
	before := read(t, pairFile)
	text := strings.ReplaceAll(shared(t, "west.yaml"), "west.example.com", "new.example.com")
	tree, err := worktree.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	configs, err := kustomize.Configs(".")
	if err != nil {
		t.Fatal(err)
	}
	defer kustomize.Close(configs)
	for _, c := range []struct{ file, plan string }{
		{"other.yaml", "east: +0 ~0 -0, 0 unchanged"}, // no config takes it
		{"west.yaml", "east: +0 ~1 -0, 0 unchanged"},
	} {
		now, _ := os.ReadFile(c.file)
		r := Begin(configs, Options{Instead: documents(t, c.file, text), With: []File{{Tree: tree, Name: c.file, Before: now, After: []byte(text)}}})
		defer r.Close()
		if findings, err := r.Render(t.Context()); err != nil || report.HasErrors(findings) {
			t.Fatal(findings, err)
		}
		if plan := r.Plans()[0].String(); plan != c.plan {
			t.Errorf("%s: got %s, want %s", c.file, plan, c.plan)
		}
		if err := r.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if string(read(t, c.file)) != text || bytes.Equal(read(t, pairFile), before) != (c.file == "other.yaml") {
			t.Errorf("%s or its pair does not hold what it should", c.file)
		}
	}
}

// TestForged is what somebody does who may write to the repository and has no key: a
// pair of his own in the place of another, encrypted for its readers, which are public,
// with an annotation that he has worked out himself, as all that goes into it is public.
func TestForged(t *testing.T) {
	config(t)
	write(t, ".sops.yaml", "creation_rules:\n- age: "+demo+"\n")
	seal := func(secret string) []byte {
		t.Helper()
		policy, err := sopsfile.Recipients{Age: []string{demo}}.Policy()
		if err != nil {
			t.Fatal(err)
		}
		policy.Selector.EncryptedRegex = "^(data|stringData)$"
		data, _, err := sopsfile.New(nil).Encrypt(t.Context(), []*yaml.Node{documents(t, "west.yaml", secret)["west.yaml"]}, nil, policy, sopsfile.EncryptOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	right := string(seal(shared(t, "west.yaml")))
	write(t, "west.yaml", string(seal(strings.ReplaceAll(shared(t, "west.yaml"), "west.example.com", "evil.example.com"))))
	render(t, Options{})
	forged := read(t, pairFile)
	write(t, "west.yaml", right)
	if err := os.Remove(pairFile); err != nil {
		t.Fatal(err)
	}
	render(t, Options{})
	good := read(t, pairFile)

	// states are what a run says that opens nothing, one where a key is at hand, and one
	// that trusts what is fresh.
	states := func(keyName string) string {
		key(t, keyName)
		never, _ := render(t, Options{Dry: true, Values: generator.Never})
		ifKey, findings := render(t, Options{Dry: true, Values: generator.IfKey})
		ifStale, _ := render(t, Options{Dry: true, Values: generator.IfStale})
		return strings.Join([]string{never, ifKey, ifStale, rules(findings)}, "\n")
	}
	const same, other = "east: +0 ~0 -0, 1 unchanged\n", "east: +0 ~1 -0, 0 unchanged\n"
	if got := states("none.agekey"); got != same+same+same {
		t.Errorf("the right pair, without a key: %s", got)
	}
	_, _, said := sourceLine(good)
	copied := mark(withoutSource(forged), nil, nil)
	_, _, his := sourceLine(copied)
	write(t, pairFile, strings.Replace(string(copied), string(his), string(said), 1))
	if got, _ := render(t, Options{Dry: true, Values: generator.Never}); got+"\n" != other {
		t.Errorf("with the annotation of the right pair: %s", got)
	}

	key(t, "none.agekey")
	write(t, pairFile, string(mark(withoutSource(forged), sourceOf(t), fingerprintOf(t))))
	if got := states("none.agekey"); got != same+same+same {
		t.Errorf("with an annotation of his own, without a key: %s", got)
	}
	if got := states("demo.agekey"); got != same+other+same+"warning annotation-drift" {
		t.Errorf("with an annotation of his own, with a key: %s", got)
	}
	if got, _ := render(t, Options{}); got+"\n" != other {
		t.Errorf("a run that opens all: %s", got)
	}
	if got := states("demo.agekey"); got != same+same+same {
		t.Errorf("after it: %s", got)
	}
}

// spy is a sealer that tells the source that it is asked about.
type spy struct {
	*Sealer
	source *[]byte
}

func (s spy) State(namespace, name string, source []byte, soon time.Time) (generator.State, bool, error) {
	*s.source = source
	return s.Sealer.State(namespace, name, source, soon)
}

// sourceOf is the source of the only pair of the config that is there, which everybody
// can work out.
func sourceOf(t *testing.T) (source []byte) {
	t.Helper()
	withSealer(t, func(c *generator.Config, secrets *Secrets, s *Sealer) {
		if _, err := generator.Generate(t.Context(), c, generator.Inputs{Secrets: secrets, Encrypter: spy{s, &source}, Values: generator.Never}, func(generator.Result) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
	return source
}

func fingerprintOf(t *testing.T) (print []byte) {
	t.Helper()
	withSealer(t, func(_ *generator.Config, _ *Secrets, s *Sealer) {
		policy, err := s.Policy("migrationnamespace", "remotecluster")
		if err != nil {
			t.Fatal(err)
		}
		print = s.fingerprint(policy)
	})
	return print
}

func withSealer(t *testing.T, do func(*generator.Config, *Secrets, *Sealer)) {
	t.Helper()
	configs, err := kustomize.Configs(".")
	defer kustomize.Close(configs)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := configs[0].Parse()
	secrets, err := OpenSecrets(configs[0].Tree, sopsfile.New(nil), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSealer(configs[0].Tree, sopsfile.New(nil), c)
	if err != nil {
		t.Fatal(err)
	}
	do(c, secrets, s)
}

func TestMark(t *testing.T) {
	const sum = "clusterpair.dev/source: sha256:"
	for _, tt := range []struct{ name, before, after string }{
		{"between others", "metadata:\n  annotations:\n    a: b\n    \"d\": e\n  name: a\n", "metadata:\n  annotations:\n    a: b\n    " + sum + "\n    \"d\": e\n  name: a\n"},
		{"at the end", "kind: ClusterPair\nmetadata:\n    annotations:\n        a: b\n    name: a\n", "kind: ClusterPair\nmetadata:\n    annotations:\n        a: b\n        " + sum + "\n    name: a\n"},
		{"behind a text of several lines", "metadata:\n  annotations:\n    a: |\n      zzz: b\n  name: a\n", "metadata:\n  annotations:\n    a: |\n      zzz: b\n    " + sum + "\n  name: a\n"},
		{"the last of metadata", "metadata:\n  annotations:\n    a: b\nspec: {}\n", "metadata:\n  annotations:\n    a: b\n    " + sum + "\nspec: {}\n"},
		{"no annotations", "metadata:\n  name: a\nspec:\n  annotations:\n    a: b\n", ""},
		{"on one line", "metadata: {annotations: {a: b}}\n", ""},
	} {
		got := string(mark([]byte(tt.before), []byte("source"), []byte("rule")))
		_, _, said := sourceLine([]byte(got))
		if bare := strings.Replace(got, string(said), "", 1); bare != cmp.Or(tt.after, tt.before) || (len(said) == 64) != (tt.after != "") {
			t.Errorf("%s: got\n%s", tt.name, got)
		}
		if back := string(withoutSource([]byte(got))); back != tt.before {
			t.Errorf("%s: without it\n%s", tt.name, back)
		}
	}
}

// TestRefusedOnce: a file that cannot be opened is not tried again for each config, not
// even where no more is held.
func TestRefusedOnce(t *testing.T) {
	full, f, tried := &openedFiles{size: mostOpened}, new(openedFile), 0
	for range 3 {
		_, err := full.open(f, func() ([]*yaml.Node, int, error) {
			tried++
			return nil, 1 << 10, &sopsfile.NoKeyError{}
		})
		if !isNoKey(err) {
			t.Error(err)
		}
	}
	if tried != 1 {
		t.Errorf("tried %d times", tried)
	}
}
