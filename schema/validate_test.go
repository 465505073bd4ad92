package schema

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
)

// fixture is one file of testdata/DEFINITION[@STORKVERSION]: its findings
// stand beside it in a file that ends in .out; without one there are none.
type fixture struct {
	path    string
	def     string
	options Options
}

func fixtures(t testing.TB) []fixture {
	paths, err := filepath.Glob("testdata/[CE]*/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("fixtures: %d, %v", len(paths), err)
	}
	var all []fixture
	for _, p := range paths {
		kind, version, _ := strings.Cut(filepath.Base(filepath.Dir(p)), "@")
		all = append(all, fixture{filepath.ToSlash(p), "#" + kind, Options{StorkVersion: version}})
	}
	return all
}

// documents reads the documents of a stream, with positions in the stream.
func documents(t testing.TB, data []byte) []*yaml.Node {
	var docs []*yaml.Node
	for d := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, &doc)
	}
}

// tool is a command of the tools module. make builds them into
// CLUSTERPAIR_TOOLS; a plain go test builds what it needs.
func tool(t testing.TB, name, pkg string) string {
	if dir := os.Getenv("CLUSTERPAIR_TOOLS"); dir != "" {
		return filepath.Join(dir, name)
	}
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-C", "../tools", "-o", dir+"/", pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, out)
	}
	return filepath.Join(dir, name)
}

// parts are the texts of the documents of a fixture.
func (f fixture) parts(t testing.TB) []string {
	parts := strings.SplitAfter(string(read(t, f.path)), "\n---\n")
	for i := range parts {
		parts[i] = strings.TrimSuffix(parts[i], "---\n")
	}
	return parts
}

// document reads a text that holds one document.
func document(t testing.TB, text string) *yaml.Node { return documents(t, []byte(text))[0] }

func read(t testing.TB, path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestFindings(t *testing.T) {
	for _, f := range fixtures(t) {
		t.Run(strings.TrimPrefix(f.path, "testdata/"), func(t *testing.T) {
			var all []report.Finding
			for _, doc := range documents(t, read(t, f.path)) {
				all = append(all, Validate(f.def, doc, filepath.Base(f.path), f.options)...)
			}
			var got bytes.Buffer
			if err := report.WriteText(&got, all); err != nil {
				t.Fatal(err)
			}
			golden := strings.TrimSuffix(f.path, ".yaml") + ".out"
			if os.Getenv("UPDATE") != "" {
				os.Remove(golden)
				if got.Len() > 0 {
					if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("findings:\n%s\nwant:\n%s", &got, want)
			}
		})
	}
}

// TestEveryConstraintNamesItsRule gives each part of the plan a value of each
// kind: whatever is refused is refused in words, by a rule of the catalogue.
func TestEveryConstraintNamesItsRule(t *testing.T) {
	values := document(t, "[null, true, 5, 99999999999, 1.5, .inf, '', x, 'a b', 'ENC[x', /a, !!binary eA==, !x y, [], [null], [x], {}, {x: y}, {1: 2}, {x: y, x: y}, {<<: {x: y}}, 2026-11-22, on]").Content[0]
	done := make(map[*node]bool)
	var visit func(string, *node)
	visit = func(path string, p *node) {
		if p == nil || done[p] {
			return
		}
		done[p] = true
		for _, value := range values.Content {
			for _, key := range []*yaml.Node{nil, {Kind: yaml.ScalarNode, Tag: "!!str", Value: "key"}} {
				w := walk{file: "f.yaml"}
				w.value(key, value, p, nil)
				for _, f := range w.findings {
					if _, known := report.RuleOf(f.Rule); !known || f.Message == "" || strings.HasSuffix(strings.TrimSpace(f.Message), ":") {
						t.Errorf("%s: %+v", path, f)
					}
				}
			}
		}
		visit(path+"[]", p.items)
		visit(path, p.form)
		for _, v := range p.variants {
			for _, f := range v.fields {
				visit(path+"."+f.name, f.node)
			}
			for _, pattern := range v.patterns {
				visit(path+".*", pattern.node)
			}
			visit(path+".*", v.others)
		}
	}
	for _, fix := range fixtures(t) {
		visit(fix.def, plan(fix.def))
		if def := fix.def + modeSuffix(fix.options.StorkVersion); def != fix.def {
			visit(def, plan(def))
		}
	}
	if len(done) < 200 {
		t.Errorf("only %d parts of the plan", len(done))
	}
}

// TestFixturesNameTheirRule makes sure that every document of a fixture named
// after a rule breaks it, and that all others break none.
func TestFixturesNameTheirRule(t *testing.T) {
	for _, f := range fixtures(t) {
		rule, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f.path), ".yaml"), "_")
		bad := strings.Contains(rule, "-") || rule == "config"
		if rule == "many-mistakes" {
			rule = ""
		}
		for i, doc := range documents(t, read(t, f.path)) {
			found := Validate(f.def, doc, "", f.options)
			named := slices.ContainsFunc(found, func(f report.Finding) bool { return strings.HasPrefix(f.Rule, rule) })
			if named != bad || !bad && len(found) > 0 {
				t.Errorf("%s, document %d: %v", f.path, i+1, found)
			}
		}
	}
}

// TestEncryptedHasTheShapeOfClusterPair makes sure that encryption changes what
// values are, and not what fields there are and what is said about them.
func TestEncryptedHasTheShapeOfClusterPair(t *testing.T) {
	encryptedOnly := map[string]bool{"sops": true} // with another text
	var compare func(path string, plain, encrypted *node)
	compare = func(path string, plain, encrypted *node) {
		if (plain == nil) != (encrypted == nil) {
			t.Errorf("%s: items of a list here, of none there", path)
			return
		}
		if plain == encrypted || plain == nil {
			return
		}
		if plain.kinds&aMapping != encrypted.kinds&aMapping || plain.kinds&aNull != encrypted.kinds&aNull || plain.kinds&aMapping != 0 && plain.wrongKind != encrypted.wrongKind || len(plain.variants) != len(encrypted.variants) {
			t.Errorf("%s: %+v and %+v", path, plain, encrypted)
			return
		}
		compare(path+"[]", plain.items, encrypted.items)
		for i, v := range plain.variants {
			w := encrypted.variants[i]
			if len(v.fields) != len(w.fields) || !slices.Equal(v.when, w.when) || v.key != w.key || v.empty != w.empty || v.open != w.open {
				t.Errorf("%s: %+v and %+v", path, v, w)
				continue
			}
			for j, f := range v.fields {
				g := w.fields[j]
				switch here := strings.TrimPrefix(path+"."+f.name, "."); {
				case encryptedOnly[here]:
				case f.name != g.name || f.required != g.required || f.missing != g.missing || f.warning != g.warning:
					t.Errorf("%s: %+v and %+v", here, f, g)
				default:
					compare(here, f.node, g.node)
				}
			}
			own := 0
			for _, p := range w.patterns {
				if strings.Contains(p.node.fail, "[ambiguous-path]") {
					own++
				} else if len(v.patterns) >= 1 && len(p.checks) == 0 {
					compare(path+".*", v.patterns[len(v.patterns)-1].node, p.node)
				}
			}
			if len(w.patterns)-own != len(v.patterns) {
				t.Errorf("%s: %d patterns and %d", path, len(v.patterns), len(w.patterns)-own)
			}
		}
	}
	for _, suffix := range []string{"", "WithMode", "WithoutMode"} {
		compare("", plan("#ClusterPair"+suffix), plan("#Encrypted"+suffix))
	}
}

func TestPaths(t *testing.T) {
	doc := documents(t, []byte(`
spec:
  config:
    clusters: {"a.b": {server: 1}}
    users: {u: {exec: {env: [{}, {name: 2}]}}}
`))[0]
	got := make(map[string]bool)
	for _, f := range Validate("#ClusterPair", doc, "f", Options{}) {
		got[f.Path] = true
	}
	for _, want := range []string{
		"metadata", "spec.config.contexts", "spec.config.current-context",
		`spec.config.clusters["a.b"].server`, "spec.config.users.u.exec.env[0].name", "spec.config.users.u.exec.env[1].name",
	} {
		if !got[want] {
			t.Errorf("no finding at %s in %v", want, got)
		}
	}
}

func TestEmptyDocuments(t *testing.T) {
	for _, doc := range []*yaml.Node{{}, {Kind: yaml.DocumentNode}, {Kind: yaml.ScalarNode, Tag: "!!null"}} {
		if found := Validate("#ClusterPair", doc, "f.yaml", Options{}); len(found) != 1 || found[0].Position.File != "f.yaml" {
			t.Errorf("%+v: %v", doc, found)
		}
	}
}

// TestBuiltNodes takes a document that was never a text: an "on" is quoted
// when it is written.
func TestBuiltNodes(t *testing.T) {
	doc := documents(t, read(t, "testdata/ClusterPair/one_fabric.yaml"))[0]
	var forget func(*yaml.Node)
	forget = func(n *yaml.Node) {
		n.Line, n.Column = 0, 0
		if n.Value == "remotecluster" {
			n.Value = "on"
		}
		for _, c := range n.Content {
			forget(c)
		}
	}
	forget(doc)
	if found := Validate("#ClusterPair", doc, "", Options{}); len(found) > 0 {
		t.Error(found)
	}
}

// TestStorkVersionIsARelease holds #StorkVersion against the one reader of releases.
func TestStorkVersionIsARelease(t *testing.T) {
	for _, release := range []string{
		"24.3", "v24.3", "24.3.2", "v24.3.2", "v2.8.1.1", "v2.11.2-rc1", "24.3.2-rc1", "24.3-rc12",
		"", "24", "24.3.", "24.3.garbage", "24.3-garbage", "24.3.2-rc", "24.3.1.2.3", "-1.-5", "24.+3", "24.3-beta1", "24.33333", "V24.3", " 24.3",
	} {
		doc := documents(t, []byte("apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairValidator\nmetadata: {name: a}\nspec: {storkVersion: "+strconv.Quote(release)+"}\n"))[0]
		_, want := stork.Parse(release)
		if found := Validate("#ClusterPairValidator", doc, "", Options{}); (len(found) == 0) != want {
			t.Errorf("%q: Parse says %v, the schema %v", release, want, found)
		}
	}
}

func TestStorkVersions(t *testing.T) {
	doc := documents(t, read(t, "testdata/ClusterPair/mode-on-single-fabric.yaml"))[0]
	const fine = report.Severity(-1)
	for version, want := range map[string]report.Severity{
		"": report.Warning, "latest": report.Warning, "24": report.Warning, "24.x": report.Warning, "x.3": report.Warning,
		"1.9": report.Error, "2.8": report.Error, "2.8.9": report.Error,
		"2.9": fine, "2.12": fine, "v2.9.0": fine, "3.0": fine, "23.10": fine, "v23.10.1": fine,
		"23.11": report.Error, "v23.11.0": report.Error, "24.1": report.Error, "25.0": report.Error, "26.4": report.Error,
	} {
		found := Validate("#ClusterPair", doc, "", Options{StorkVersion: version})
		switch {
		case want == fine && len(found) == 0:
		case want != fine && len(found) == 1 && found[0].Severity == want && found[0].Rule == "mode-on-single-fabric":
		default:
			t.Errorf("Stork %q: %v", version, found)
		}
	}
}

// TestKindsAsStorkReadsThem compares the kinds of plain scalars with what
// sigs.k8s.io/yaml makes of them.
func TestKindsAsStorkReadsThem(t *testing.T) {
	for _, s := range strings.Fields(`
		a y Y yes Yes YES yEs n N no No NO nO on On ON oN off Off OFF oFF true True TRUE false False FALSE tRUE
		null Null NULL ~ nil 0 1 -1 +1 01 08 0o17 0x1F 0b11 1_000 1e3 1E3 1.5 .5 5. -.5 1e 1.2.3 1:30 190:20:30
		2026-11-22 2026-11-22T10:00:00Z 10.0.0.9 24.3 v24.3 -- = << "1" 'on' !!str|on !!str|1`) {
		s = strings.ReplaceAll(s, "|", " ")
		if s == "<<" {
			s = "x<<"
		}
		text := []byte("v: " + s + "\n")
		var m map[string]any
		if err := sigsyaml.Unmarshal(text, &m); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var want kinds
		switch v := m["v"].(type) {
		case nil:
			want = aNull
		case bool:
			want = aBool
		case float64:
			want = anInt | aFloat
		case string:
			want = aString
		default:
			t.Fatalf("%s: %T", text, v)
		}
		if got := kindOf(documents(t, text)[0].Content[0].Content[1]); got&want == 0 {
			t.Errorf("%s is %v to us and %v to Stork", s, got, want)
		}
	}
}

// TestTagsAreNotBelieved is about tags that readers of YAML read differently.
func TestTagsAreNotBelieved(t *testing.T) {
	for text, want := range map[string]kinds{
		"!!str [a]": other, "!!str {a: b}": other, "!!seq [a]": aList, "!!map {a: b}": aMapping, "!!map [a]": other, "!x a": other, "!x {}": other,
		"!!bool maybe": other, "!!bool true": other, "!!int \"1\"": other, "!!null ''": other, "!!binary YQ==": other, "!!str on": aString, "!!str": aString,
		".inf": other, "-.Inf": other, "+.INF": other, ".NaN": other, "'.inf'": aString, "1.5": aFloat,
	} {
		if got := kindOf(documents(t, []byte(text+"\n"))[0].Content[0]); got != want {
			t.Errorf("%s is %v, not %v", text, got, want)
		}
	}
}

// TestNoValueInFindings plants a value into every scalar of every fixture, one
// after the other, of every form that a rule refuses.
func TestNoValueInFindings(t *testing.T) {
	const planted = "PLANTEDq7x"
	for _, f := range fixtures(t) {
		for _, part := range f.parts(t) {
			for j := range scalars(document(t, part)) {
				for _, form := range []func(*yaml.Node){
					func(n *yaml.Node) { n.Value = planted },
					func(n *yaml.Node) { n.Value = "<" + planted + ">" },
					func(n *yaml.Node) { n.Value = planted + "\n" + planted },
					func(n *yaml.Node) { n.Value, n.Tag = planted, "!!int" },
					func(n *yaml.Node) { n.Value, n.Tag = planted, "!"+planted },
					func(n *yaml.Node) {
						*n = yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{{Kind: yaml.ScalarNode, Value: planted}}}
					},
				} {
					again := document(t, part)
					form(scalars(again)[j])
					for _, finding := range Validate(f.def, again, "", f.options) {
						if strings.Contains(fmt.Sprintf("%+v", finding), planted) {
							t.Fatalf("%s: %+v", f.path, finding)
						}
					}
				}
			}
		}
	}
}

// scalars are the scalar values, not the keys, of a document.
func scalars(n *yaml.Node) []*yaml.Node {
	if n.Kind == yaml.ScalarNode {
		return []*yaml.Node{n}
	}
	var all []*yaml.Node
	for i, c := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			all = append(all, scalars(c)...)
		}
	}
	return all
}

// TestLongKeyIsNotQuoted is about a credential that was pasted as a key.
func TestLongKeyIsNotQuoted(t *testing.T) {
	secret := strings.Repeat("PLANTED", 20)
	for _, def := range []string{"#ClusterPair", "#ClusterPairGenerator"} {
		doc := documents(t, []byte(secret+": "+secret+"\nspec: {"+secret+": {}, "+secret+": [1]}\n"))[0]
		found := Validate(def, doc, "", Options{})
		if len(found) < 5 {
			t.Errorf("%s: %v", def, found)
		}
		for _, f := range found {
			if strings.Contains(fmt.Sprintf("%+v", f), "PLANTED") {
				t.Errorf("%s: %+v", def, f)
			}
		}
	}
}

// TestAnchorsThatMultiply ends at once although the document, expanded, has
// more values than there are bytes in memory.
func TestAnchorsThatMultiply(t *testing.T) {
	var b strings.Builder
	b.WriteString("a: &a0 {x: 1}\n")
	for i := range 60 {
		fmt.Fprintf(&b, "b%d: &a%d {x: *a%d, y: *a%d, z: [*a%d, *a%d]}\n", i, i+1, i, i, i, i)
	}
	b.WriteString("metadata: {ownerReferences: [*a60], labels: *a60}\nspec: &s {config: {users: {u: *s}, extensions: &e {e: *e}}}\n")
	if found := Validate("#ClusterPair", documents(t, []byte(b.String()))[0], "", Options{}); len(found) < 61 {
		t.Errorf("%d findings", len(found))
	}
}

func BenchmarkValidate(b *testing.B) {
	for def, doc := range map[string]*yaml.Node{
		"#ClusterPair": benchmarkDocument(b),
		"#Encrypted":   documents(b, read(b, "testdata/Encrypted/every_field.yaml"))[0],
	} {
		b.Run(def, func(b *testing.B) {
			for b.Loop() {
				if found := Validate(def, doc, "f.yaml", Options{StorkVersion: "24.3"}); len(found) > 0 {
					b.Fatal(found)
				}
			}
		})
	}
}

// BenchmarkFirst is the first document of a run: it compiles the regular
// expressions that it needs.
func BenchmarkFirst(b *testing.B) {
	doc := benchmarkDocument(b)
	for b.Loop() {
		forgetRegexes(plan("#ClusterPairWithoutMode"), make(map[*node]bool))
		if found := Validate("#ClusterPair", doc, "f.yaml", Options{StorkVersion: "24.3"}); len(found) > 0 {
			b.Fatal(found)
		}
	}
}

// benchmarkDocument is a ClusterPair of 6 KB over two fabrics.
func benchmarkDocument(b *testing.B) *yaml.Node {
	data := read(b, "testdata/ClusterPair/every_field.yaml")
	data = bytes.ReplaceAll(data, []byte("&data YWJj"), []byte("&data "+strings.Repeat("YWJj", 500)))
	data = bytes.ReplaceAll(data, []byte("*data"), []byte(strings.Repeat("YWJj", 500)))
	return documents(b, data)[0]
}

func forgetRegexes(n *node, done map[*node]bool) {
	if n == nil || done[n] {
		return
	}
	done[n] = true
	forget := func(cs []check) {
		for i := range cs {
			for _, r := range []*regex{cs[i].match, cs[i].differ} {
				if r != nil {
					*r = regex{expr: r.expr}
				}
			}
		}
	}
	forget(n.checks)
	forgetRegexes(n.items, done)
	for _, v := range n.variants {
		for _, f := range v.fields {
			forgetRegexes(f.node, done)
		}
		for _, p := range v.patterns {
			forget(p.checks)
			forgetRegexes(p.node, done)
		}
	}
}
