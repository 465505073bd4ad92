package schema

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cuelang.org/go/cue"
	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/parser"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// policies are by name.
var policies = map[string]string{
	"labels": `package schema

_team: metadata: labels!: team!: =~"^[a-z]+$" | error("no such team [team-label]\nhint: labels: {team: storage}") @missing("the pair names no team [team-label]\nhint: labels: {team: storage}")

#Encrypted:   _team
#ClusterPair: _team
`,
	"names": `
import "strings"

#Metadata: name: strings.MaxRunes(8)
#Name: !~"^west" | error("""
	pairs are named after the site, not after where it lies [site-name]
	hint: see the list of sites
	""")
#Metadata: annotations!: "example.com/owner"!: #Label
`,
	"options": `package schema
#TwoFabrics: backuplocation!: =~"^dr-" | error("a backup location of ours [backup-location]")
#EncryptedTwoFabrics: backuplocation!: =~"^dr-" | error("a backup location of ours [backup-location]")
#OneFabric: mode?: error("no mode, never [no-mode]")
`,
	"destination": `package schema
import "strings"
#Cluster: server: strings.HasSuffix(".example.com:6443")
#ClusterPair: spec: config: users: [string]: {
	username?: error("no passwords here")
	token!:    strings.MinRunes(4)
	exec?: {args?: [...!="get-token"], ...}
}
#User: "act-as"?: error("\("no") impersonation")
`,
	"conditions": `package schema
#Encrypted: {
	metadata: {name: string, labels: {[string]: string}, ...}
	if metadata.labels.stage == "prod" {
		spec: options!: {mode!: string, ...}
	}
	...
}
`,
	"config": `package schema
#Pair: allow?: [...{rule: !="tls-skipped" | error("tls-skipped cannot be waived here [no-waiver]"), ...}]
#ClusterPairGenerator: spec: output!: "rendered"
#Destination: server?: =~"example.com"
`,
	"nothing": `package schema`,
}

// TestPolicy is the one that documents what a policy can say.
func TestPolicy(t *testing.T) {
	const pair = `
apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  name: west-1
  namespace: NAMESPACE
  labels: {team: A1, x: 5}
spec:
  config:
    clusters: {west: {server: "https://west.example.org:6443"}}
    users: {admin: {username: u, password: p, exec: {args: [eks, get-token]}, act-as: x}}
  options: {ip: 10.0.0.9, token: abc, backuplocation: bl1, mode: async}
`
	for name, want := range map[string]string{
		"labels": `
pair.yaml:7:18: error: no such team [team-label]
  hint: labels: {team: storage}
`,
		"names": `
pair.yaml:5:3: error: field "annotations" is missing, which the policy at policies/names.cue:9 requires [policy]
pair.yaml:5:9: error: pairs are named after the site, not after where it lies [site-name]
  hint: see the list of sites
`,
		"options": `
pair.yaml:12:55: error: a backup location of ours [backup-location]
`,
		"destination": `
pair.yaml:10:31: error: breaks the policy at policies/destination.cue:3 [policy]
pair.yaml:11:20: error: field "token" is missing, which the policy at policies/destination.cue:6 requires [policy]
pair.yaml:11:31: error: no passwords here [policy]
pair.yaml:11:66: error: breaks the policy at policies/destination.cue:7 [policy]
pair.yaml:11:87: error: breaks the policy at policies/destination.cue:9 [policy]
`,
		"conditions": "\n", "config": "\n", "nothing": "\n",
	} {
		p, err := LoadPolicy([]byte(policies[name]), "policies/"+name+".cue", testAsk)
		if err != nil {
			t.Error(err)
			continue
		}
		var got bytes.Buffer
		got.WriteByte('\n')
		if err := report.WriteText(&got, p.Validate("#ClusterPair", documents(t, []byte(pair))[0], "pair.yaml")); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Errorf("%s: findings:\n%s\nwant:\n%s", name, &got, want)
		}
	}
}

func TestLoadPolicyErrors(t *testing.T) {
	for _, c := range []struct{ policy, want string }{
		{"#Encrypted: {", "p.cue:1:14: expected …, found …"},
		{"\n#Encrypted: metadata: name: #Nam", "p.cue:2:29: reference … not found"},
		{`import "example.com/x"` + "\n#Encrypted: x", "p.cue:1:8: "},
		{"package other\n#Encrypted: _", "p.cue: a policy is of package schema, or of none"},
		{"#Encryptd: metadata: name: string", `p.cue:1:1: "#Encryptd" is no definition of the schema, and the policy does not use it: did you mean #Encrypted?`},
		{"metadata: name: string", `p.cue:1:1: "metadata" is no definition of the schema`},
		{"#Encrypted: 1 & 2", "p.cue:1:17: conflicting values … and …"},
		{"apiVersion: v1\nclusters:\n- cluster:\n    server: PLANTED\n", "p.cue:"},
		{"token: PLANTED", "p.cue:1:1: "},
		{"\xff\xfe\x00PLANTED", "p.cue:1:1: "},
		{strings.Repeat("PLANTED", 10) + ": 1", "p.cue:1:1: the field is no definition"},
	} {
		_, err := LoadPolicy([]byte(c.policy), "p.cue", testAsk)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || strings.Contains(err.Error(), "PLANTED") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v, want %s…", c.policy, err, c.want)
		}
	}
}

// withPolicy is the schema and a policy as the command cue sees them.
func withPolicy(t testing.TB, policy string) cue.Value {
	instance := build.NewContext().NewInstance("", nil)
	add := func(name, text string) {
		f, err := parser.ParseFile(name, text)
		if err == nil {
			err = instance.AddSyntax(f)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	entries, err := sources.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(policy, "package schema") {
		policy = "package schema\n" + policy
	}
	for _, e := range entries {
		add(e.Name(), string(read(t, e.Name())))
	}
	add("policy.cue", policy)
	return cueContext().BuildInstance(instance)
}

// TestPolicyAgreesWithCUE: the plan and the policy accept a document if and
// only if the command cue accepts it with the policy's file beside ours.
func TestPolicyAgreesWithCUE(t *testing.T) {
	const share = 31
	turn := 0
	for name, text := range policies {
		p, err := LoadPolicy([]byte(text), "policy.cue", testAsk)
		if err != nil {
			t.Fatal(err)
		}
		both := withPolicy(t, text)
		check := func(f fixture, doc *yaml.Node) {
			value, ok := asStorkSeesIt(doc, 0)
			if !ok {
				return
			}
			ours := append(Validate(f.def, doc, "", Options{}), p.Validate(f.def, doc, "")...)
			theirs := both.LookupPath(cue.ParsePath(f.def)).Unify(cueContext().Encode(value)).Validate(cue.Concrete(true))
			if report.HasErrors(ours) == (theirs == nil) {
				text, _ := yaml.Marshal(doc)
				t.Errorf("%s: %s: CUE finds %v; we find %v in\n%s", name, f.def, theirs, ours, text)
			}
		}
		for _, f := range fixtures(t) {
			if f.options.StorkVersion != "" {
				continue
			}
			for _, part := range f.parts(t) {
				doc := document(t, part)
				check(f, doc)
				for place, n := range mappingsAndLists(doc) {
					if n.Kind == yaml.DocumentNode {
						continue
					}
					for slot := range slots(n) {
						if turn++; turn%share == 0 {
							again := document(t, part)
							mutations[turn/share%len(mutations)](mappingsAndLists(again)[place], slot)
							check(f, again)
						}
					}
				}
			}
		}
	}
}

// TestNoValueInPolicyFindings plants a value into each scalar of a document.
func TestNoValueInPolicyFindings(t *testing.T) {
	const planted = "PLANTEDq7x"
	for name, text := range policies {
		text = strings.Replace(text, `error("no passwords here")`, `!="" | error("not \(password)"), password?: string`, 1)
		p, err := LoadPolicy([]byte(text), "policy.cue", testAsk)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data := read(t, "testdata/ClusterPair/every_field.yaml")
		for i := range scalars(documents(t, data)[0]) {
			doc := documents(t, data)[0]
			scalars(doc)[i].Value = planted
			for _, f := range p.Validate("#ClusterPair", doc, "f.yaml") {
				if strings.Contains(fmt.Sprintf("%+v", f), planted) {
					t.Fatalf("%s: %+v", name, f)
				}
			}
		}
	}
}

func TestPolicyConcurrently(t *testing.T) {
	p, err := LoadPolicy([]byte(policies["labels"]), "policy.cue", testAsk)
	if err != nil {
		t.Fatal(err)
	}
	doc := documents(t, read(t, "testdata/Encrypted/many-mistakes.yaml"))[0]
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 5 {
				if found := p.Validate("#Encrypted", doc, "f.yaml"); len(found) != 1 || found[0].Path != "metadata.labels" {
					t.Error(found)
				}
			}
		})
	}
	all.Wait()
}

func TestPolicyOnAnchorsThatMultiply(t *testing.T) {
	p, err := LoadPolicy([]byte(policies["labels"]), "policy.cue", testAsk)
	if err != nil {
		t.Fatal(err)
	}
	text := "a: &a0 {x: 1}\n"
	for i := range 60 {
		text += fmt.Sprintf("b%d: &a%d [*a%d, *a%d]\n", i, i+1, i, i)
	}
	if found := p.Validate("#ClusterPair", documents(t, []byte(text+"metadata: *a60\n"))[0], "f.yaml"); len(found) != 1 || !strings.Contains(found[0].Message, "anchors") {
		t.Error(found)
	}
}

func BenchmarkPolicy(b *testing.B) {
	p, err := LoadPolicy([]byte(policies["destination"]), "policy.cue", testAsk)
	if err != nil {
		b.Fatal(err)
	}
	doc := documents(b, read(b, "testdata/Encrypted/every_field.yaml"))[0]
	for b.Loop() {
		if found := p.Validate("#Encrypted", doc, "f.yaml"); len(found) > 0 {
			b.Fatal(found)
		}
	}
}

func BenchmarkLoadPolicy(b *testing.B) {
	for b.Loop() {
		if _, err := LoadPolicy([]byte(policies["destination"]), "policy.cue", testAsk); err != nil {
			b.Fatal(err)
		}
	}
}
