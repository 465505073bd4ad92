package schema

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/cuecontext"
	"cuelang.org/go/cue/load"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// cueContext and evaluated are CUE itself over the same files: what the plan
// has to agree with.
var (
	cueContext = sync.OnceValue(func() *cue.Context { return cuecontext.New() })
	evaluated  = sync.OnceValue(func() cue.Value {
		return cueContext().BuildInstance(load.Instances([]string{"."}, nil)[0])
	})
)

// cueAccepts asks CUE's evaluator, as cue vet -c does.
func cueAccepts(t testing.TB, def string, doc cue.Value) bool {
	schema := evaluated().LookupPath(cue.ParsePath(def))
	if err := schema.Err(); err != nil {
		t.Fatal(err)
	}
	return schema.Unify(doc).Validate(cue.Concrete(true)) == nil
}

// definition is the one that Validate chooses.
func (f fixture) definition() string {
	if f.def == "#ClusterPair" || f.def == "#Encrypted" {
		return f.def + modeSuffix(f.options.StorkVersion)
	}
	return f.def
}

// onlyYAML are fixtures whose mistake CUE cannot see: it reads YAML 1.2, and
// resolves merge keys before it looks.
var onlyYAML = []string{"value-type_yaml11.yaml", "value-type_merge.yaml"}

// TestCUEVet gives every fixture to the command that the documentation names.
func TestCUEVet(t *testing.T) {
	cue, file := tool(t, "cue", "cuelang.org/go/cmd/cue"), filepath.Join(t.TempDir(), "pair.yaml")
	for _, f := range fixtures(t) {
		if slices.ContainsFunc(onlyYAML, func(name string) bool { return strings.HasSuffix(f.path, "/"+name) }) {
			continue
		}
		for i, part := range f.parts(t) {
			if err := os.WriteFile(file, []byte(part), 0o600); err != nil {
				t.Fatal(err)
			}
			vet := exec.Command(cue, "vet", "-c", "./schema", file, "-d", f.definition())
			vet.Dir = ".."
			out, err := vet.CombinedOutput()
			ours := Validate(f.def, document(t, part), "", f.options)
			if (err == nil) == report.HasErrors(ours) {
				t.Errorf("%s, document %d: cue vet: %v\n%s; we find %v", f.path, i+1, err, out, ours)
			}
		}
	}
}

// TestMutations changes each value and each key of each good fixture, one at a
// time and each in a few of all ways: the plan and CUE agree on every
// result. All of it takes a minute; FuzzAgreesWithCUE goes further.
func TestMutations(t *testing.T) {
	const share = 40
	turn := 0
	for _, f := range fixtures(t) {
		for _, part := range f.parts(t) {
			doc := document(t, part)
			if report.HasErrors(Validate(f.def, doc, "", f.options)) {
				continue
			}
			for place, n := range mappingsAndLists(doc) {
				for slot := range slots(n) {
					turn++
					for m := turn % share; m < len(mutations); m += share {
						again := document(t, part)
						mutations[m](mappingsAndLists(again)[place], slot)
						agree(t, f, again)
					}
				}
			}
		}
	}
}

// agree fails the test if the plan and CUE's evaluator differ.
func agree(t testing.TB, f fixture, doc *yaml.Node) {
	value, ok := asStorkSeesIt(doc, 0)
	if !ok {
		return
	}
	ours := Validate(f.def, doc, "", f.options)
	if theirs := cueAccepts(t, f.definition(), cueContext().Encode(value)); theirs == report.HasErrors(ours) {
		text, _ := yaml.Marshal(doc)
		t.Fatalf("%s: CUE accepts: %v; we find %v in\n%s", f.definition(), theirs, ours, text)
	}
}

// mutations change one slot of a mapping or list: its value, its key, or what
// stands beside it.
var mutations = func() []func(*yaml.Node, int) {
	var all []func(*yaml.Node, int)
	for _, text := range []string{
		"null", "true", "0", "9001", "65536", "1.5", `""`, `" "`, "a", "A", "a_b", "-a", "a.b", "p-1:p-2", "a:b:c", "<a>", "west-6ct58987ht",
		strings.Repeat("a", 64), strings.Repeat("a", 254), "YWJj", "YWJ=", "YW==", "Y===", `"YW\r\n=\n=\n"`, "é", "9001x", `"09001"`, `"0"`, "on",
		"DisasterRecovery", "Default", "ClusterPair", "In", "30d", "1h30m", "24.3.1", "v1.2", "/a", "../a", "a/../b", "https://a", "https://a/b?c", "age1abc",
		sealed("str"), sealed("int"), sealed("bool"), sealed("str")[1:], sealed("str") + "x", "2026-11-22T10:00:00Z",
		"{}", "{a: b}", "{a: null}", "{server: a}", "{name: a}", "{secret: {name: a}}", "{ip: a, token: b}", "{mode: Default}", "[]", "[a]", "[null]", "[{}]", "[{name: a}]", "[[a]]",
	} {
		all = append(all, func(n *yaml.Node, i int) {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
				panic(err)
			}
			n.Content[valueIndex(n, i)] = doc.Content[0]
		})
	}
	for _, name := range []string{"x", "status", "uid", "mode", "as", "secretName", "insert_storage_options_here", "<a>", "token", "tokenFrom", "ip", "port",
		"selector", "pairs", "file", "secret", "config", "keyGroups", "a:b:c", "example.com/role", "kind", "server",
		"a_unencrypted", "sops", "mac", "age", "pgp", "encrypted_comment_regex", "exec", "preferences"} {
		all = append(all, func(n *yaml.Node, i int) { // renamed
			if n.Kind == yaml.MappingNode {
				n.Content[2*i] = &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}
			}
		}, func(n *yaml.Node, i int) { // added with the same value
			if n.Kind == yaml.MappingNode {
				n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, n.Content[2*i+1])
			}
		})
	}
	return append(all, func(n *yaml.Node, i int) { // removed
		if n.Kind == yaml.MappingNode {
			n.Content = slices.Delete(n.Content, 2*i, 2*i+2)
		} else {
			n.Content = slices.Delete(n.Content, i, i+1)
		}
	})
}()

// sealed is a value of a type as SOPS encrypts it.
func sealed(typ string) string {
	return "ENC[AES256_GCM,data:b+Y=,iv:aXYxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTA=,tag:dGFnMTIzNDU2Nzg5MDEyMw==,type:" + typ + "]"
}

func slots(n *yaml.Node) int {
	if n.Kind == yaml.MappingNode {
		return len(n.Content) / 2
	}
	return len(n.Content)
}

func valueIndex(n *yaml.Node, slot int) int {
	if n.Kind == yaml.MappingNode {
		return 2*slot + 1
	}
	return slot
}

// mappingsAndLists are the places of a document where something can change,
// the document's root among them.
func mappingsAndLists(n *yaml.Node) []*yaml.Node {
	var all []*yaml.Node
	if n.Kind == yaml.MappingNode || n.Kind == yaml.SequenceNode || n.Kind == yaml.DocumentNode {
		all = append(all, n)
	}
	for _, c := range n.Content {
		all = append(all, mappingsAndLists(c)...)
	}
	return all
}

// asStorkSeesIt is the document as Go values, with the kinds of
// sigs.k8s.io/yaml. It is false for what only a reader of YAML can judge.
func asStorkSeesIt(n *yaml.Node, depth int) (any, bool) {
	if depth > 20 {
		return nil, false
	}
	switch {
	case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
		return asStorkSeesIt(n.Content[0], depth)
	case n.Kind == yaml.AliasNode:
		return asStorkSeesIt(n.Alias, depth+1)
	}
	switch kindOf(n) {
	case aNull:
		return nil, true
	case aBool:
		b, err := strconv.ParseBool(n.Value)
		return b, err == nil || isBool11(n.Value)
	case anInt:
		var i int64
		err := n.Decode(&i)
		return i, err == nil
	case aFloat:
		return 1.5, true
	case aString:
		return n.Value, true
	case aList:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			item, ok := asStorkSeesIt(c, depth+1)
			if !ok {
				return nil, false
			}
			list[i] = item
		}
		return list, true
	case aMapping:
		m := make(map[string]any)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			value, ok := asStorkSeesIt(n.Content[i+1], depth+1)
			if _, twice := m[key.Value]; twice || !ok || kindOf(key) != aString || key.ShortTag() == "!!merge" {
				return nil, false
			}
			m[key.Value] = value
		}
		return m, true
	}
	return nil, false
}

// FuzzAgreesWithCUE changes a fixture in several places at once: the plan
// accepts the result if and only if CUE's evaluator does.
func FuzzAgreesWithCUE(f *testing.F) {
	all := fixtures(f)
	for i := range all {
		f.Add(uint16(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, which uint16, seed uint64) {
		fix := all[int(which)%len(all)]
		random := rand.New(rand.NewPCG(seed, 0))
		docs := documents(t, read(t, fix.path))
		doc := docs[random.IntN(len(docs))]
		for range 1 + random.IntN(4) {
			places := mappingsAndLists(doc)
			place := places[random.IntN(len(places))]
			if n := slots(place); n > 0 {
				mutations[random.IntN(len(mutations))](place, random.IntN(n))
			}
		}
		if len(doc.Content) == 0 {
			return // the root was removed
		}
		agree(t, fix, doc)
	})
}

var ruleID = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// FuzzDocument takes any YAML: Validate neither panics nor goes on for ever,
// every finding has a rule and a message, and CUE agrees with the verdict.
func FuzzDocument(f *testing.F) {
	for _, fix := range fixtures(f) {
		f.Add(read(f, fix.path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var doc yaml.Node
		if yaml.Unmarshal(data, &doc) != nil || doc.Kind == 0 {
			return
		}
		for _, def := range []string{"#ClusterPair", "#Encrypted", "#ClusterPairGenerator", "#ClusterPairDecryptor", "#ClusterPairFleet", "#ClusterPairValidator"} {
			for _, finding := range Validate(def, &doc, "f.yaml", Options{}) {
				if !ruleID.MatchString(finding.Rule) || finding.Message == "" || finding.Position.Line == 0 {
					t.Errorf("%+v", finding)
				}
			}
			if len(data) < 10_000 {
				agree(t, fixture{def: def}, &doc)
			}
		}
	})
}

// FuzzHandmade compares the hand-made matchers with their expressions.
func FuzzHandmade(f *testing.F) {
	for _, s := range []string{"", "YWJj", "YWJ=", "YW==", "Y===", "=", "====", "YW=\n=\r\n", "\nYW JJ", "YW==YWJj", "YWJj=", "é===", "a b", " a", "a\x00", "\x00\x00", "\v", " \n", "é ", "YWK=", "YWI=", "YQ==", "YR==", "Q=", "é=", "é==", "\xff==",
		"ENC[AES256_GCM,data:a,iv:b=,tag:c==,type:str]", "ENC[AES256_GCM,data:a===,iv:b,tag:c,type:int]", "ENC[AES256_GCM,data:,iv:b,tag:c,type:bool]", "ENC[AES256_GCM,data:a,iv:b,tag:c,type:]",
		"ENC[AES256_GCM,data:a,iv:b,tag:c,type:comment]\n", "ENC[AES256_GCM,data:a\n,iv:b,tag:c,type:time]", "ENC[AES256_GCM,data:a,tag:c,type:bytes]", ",type:float]", "type:int]", "\xff,type:int]", ",type:str]", "x_unencrypted", "a:b",
		"a", "-a", "a-", "a-b.c", "a..b", ".a", "a.", "A.b/c", "a/b/c", "/a", "a/", "a.b/C_d.e-f", "\u212a/a", "a/" + strings.Repeat("b", 63), strings.Repeat("b", 64), strings.Repeat("é", 254), strings.Repeat("\xff", 254) + "/", strings.Repeat("a", 253) + "/a",
		"pair-2456789bcd", "-2456789bck", "2456789bcdf", "2026-12-01T10:00:00Z", "2026-12-01T10:00:00.5+01:00", "2026-12-01T10:00:00.Z", "2026-12-01T10:00:00", "2026-12-01T10:00:00+0100", "2026-12-01t10:00:00z", "x026-12-01T10:00:00Z",
		"2026-02-29", "2028-02-29", "2000-02-29", "2100-02-29", "0000-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-1-01", "2026-12-01T24:00:00Z", "2026-12-01T10:00:60Z", "2026-12-01T10:00:00+24:60", "2026-12-01T10:00:00+25:00", "2026-12-01T10:00:00-00:61", "2026-12-01T1:00:00Z", "2026-12-01T10:00:00,5Z", "2026-02-30T10:00:00Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for expr, matches := range handmade {
			if got, want := matches(s), regexp.MustCompile(expr).MatchString(s); got != want {
				t.Errorf("%q matches %s: %v, by the expression: %v", s, expr, got, want)
			}
		}
	})
}

// TestHandmadeAreUsed guards the special cases: they hold for expressions in the plan.
func TestHandmadeAreUsed(t *testing.T) {
	for expr := range handmade {
		if plan := read(t, "plan.go"); !strings.Contains(string(plan), fmt.Sprintf("{expr: %q}", expr)) {
			t.Errorf("not in the plan: %s", expr)
		}
	}
}

func BenchmarkCUE(b *testing.B) {
	value, _ := asStorkSeesIt(benchmarkDocument(b), 0)
	for b.Loop() {
		if !cueAccepts(b, "#ClusterPairWithoutMode", cueContext().Encode(value)) {
			b.Fatal("refused")
		}
	}
}

// BenchmarkCUECompile is what a run would pay before its first document if
// there were no plan.
func BenchmarkCUECompile(b *testing.B) {
	for b.Loop() {
		if err := cuecontext.New().BuildInstance(load.Instances([]string{"."}, nil)[0]).Err(); err != nil {
			b.Fatal(err)
		}
	}
}
