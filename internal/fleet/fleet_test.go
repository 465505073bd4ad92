package fleet

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// six are the Secrets of five clusters; the sixth has none.
func six() []Secret {
	var all []Secret
	for _, c := range [][3]string{{"eu-prod", "prod", "eu"}, {"eu-dr", "dr", "eu"}, {"us-prod", "prod", "us"}, {"us-dr", "dr", "us"}, {"sg-prod", "prod", "sg"}} {
		all = append(all, Secret{Namespace: "fleet", Name: c[0] + "-kubeconfig", File: "secrets/" + c[0] + ".yaml",
			Labels:   map[string]string{clusterNameLabel: c[0], "fleet": "dr", "role": c[1], "region": c[2]},
			Position: report.Position{File: "secrets/" + c[0] + ".yaml", Line: 1, Column: 1}})
	}
	return all
}

// text is a fleet, of which a test changes parts.
const text = `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairFleet
metadata: {name: dr}
spec:
  storkVersion: "25.5"
  namespace: kube-system
  files: [secrets]
  directory: clusters/${from}/pairs
  clusters:
  - secrets: {matchLabels: {fleet: dr}}
  - {name: ops, labels: {role: hub, region: eu}, reader: age1ops}
  - name: sg-prod
    storkVersion: "24.3"
    destination: {server: "https://sg-prod.example.com:6443"}
  readers: [age1recovery]
  pairs:
  - {from: {role: prod}, to: {role: dr}, same: [region], bothWays: true, name: remotecluster}
  - {from: sg-prod, to: us-dr, bothWays: true, name: second-site}
  - {from: {role: hub}, to: {role: prod}, name: "to-${to}", labels: {use: evacuation}}
  except:
  - {from: ops, to: sg-prod, reason: no route before 2027-03, until: "2027-03-31"}
  limits: {remove: 3}
`

var now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// compile compiles a fleet.
func compile(t *testing.T, text string, secrets []Secret, now time.Time) ([]Source, []report.Finding) {
	t.Helper()
	docs, err := manifest.Parse([]byte(text), "fleet.yaml")
	if err != nil {
		t.Fatal(err)
	}
	f, findings := Parse(manifest.Contents(docs)[0], "fleet.yaml")
	if f == nil {
		return nil, findings
	}
	sources, more := f.Compile(secrets, now)
	return sources, append(findings, more...)
}

// pairsOf are the pairs of sources, as FROM>SECRET NAMESPACE/NAME.
func pairsOf(sources []Source) (all []string) {
	for _, s := range sources {
		for _, p := range s.Pairs() {
			all = append(all, fmt.Sprintf("%s>%s %s/%s", s.Name, strings.TrimSuffix(p.Destination.Secret.Name, "-kubeconfig"), p.Namespace, p.Name))
		}
	}
	return all
}

func TestCompile(t *testing.T) {
	sources, findings := compile(t, text, six(), now)
	if len(findings) > 0 {
		t.Fatal(findings)
	}
	want := []string{
		"eu-dr>eu-prod kube-system/remotecluster",
		"eu-prod>eu-dr kube-system/remotecluster",
		"ops>eu-prod kube-system/to-eu-prod",
		"ops>us-prod kube-system/to-us-prod",
		"sg-prod>us-dr kube-system/second-site",
		"us-dr>us-prod kube-system/remotecluster",
		"us-dr>sg-prod kube-system/second-site",
		"us-prod>us-dr kube-system/remotecluster",
	}
	if got := pairsOf(sources); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, s := range sources {
		c, findings := s.Parse()
		if c == nil || len(findings) > 0 {
			t.Fatal(s.Name, findings)
		}
		release := "25.5"
		if s.Name == "sg-prod" {
			release = "24.3"
		}
		if c.Metadata.Name != "dr."+s.Name || c.Spec.Output != "clusters/"+s.Name+"/pairs" || c.Spec.StorkVersion != release {
			t.Errorf("%s: config %s, output %s, Stork %s", s.Name, c.Metadata.Name, c.Spec.Output, c.Spec.StorkVersion)
		}
		for _, p := range c.Spec.Pairs {
			if both := p.Annotations[generator.AnnotationBidirectional] == "true"; both != !strings.HasPrefix(p.Name, "to-") {
				t.Errorf("%s: pair %s has annotations %v", s.Name, p.Name, p.Annotations)
			}
			if lead := strings.TrimSuffix(p.Destination.Secret.Name, "-kubeconfig") == "sg-prod"; lead != (p.Destination.Server != "") {
				t.Errorf("%s: pair %s has server %q", s.Name, p.Name, p.Destination.Server)
			}
			if file := "secrets/" + strings.TrimSuffix(p.Destination.Secret.Name, "-kubeconfig") + ".yaml"; !slices.Contains(c.Spec.Files, file) {
				t.Errorf("%s: pair %s needs %s, and the files are %v", s.Name, p.Name, file, c.Spec.Files)
			}
		}
	}
}

// with is the text with one part in the place of another.
func with(old, new string) string {
	if strings.Count(text, old) != 1 {
		panic("not once: " + old)
	}
	return strings.Replace(text, old, new, 1)
}

// rules is the text with other rules, and without exceptions.
func rules(lines ...string) string {
	before, after, _ := strings.Cut(text, "  pairs:\n")
	_, after, _ = strings.Cut(after, "  limits:")
	return before + "  pairs:\n  - " + strings.Join(lines, "\n  - ") + "\n  limits:" + after
}

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"all to all", rules("{from: {role: prod}, to: {role: prod}}"), []string{
			"eu-prod>sg-prod kube-system/sg-prod", "eu-prod>us-prod kube-system/us-prod", "sg-prod>eu-prod kube-system/eu-prod",
			"sg-prod>us-prod kube-system/us-prod", "us-prod>eu-prod kube-system/eu-prod", "us-prod>sg-prod kube-system/sg-prod"}},
		{"all to all, both ways under one name", rules("{from: {role: prod}, to: {role: prod}, bothWays: true}"), []string{
			"eu-prod>sg-prod kube-system/eu-prod-sg-prod", "eu-prod>us-prod kube-system/eu-prod-us-prod", "sg-prod>eu-prod kube-system/eu-prod-sg-prod",
			"sg-prod>us-prod kube-system/sg-prod-us-prod", "us-prod>eu-prod kube-system/eu-prod-us-prod", "us-prod>sg-prod kube-system/sg-prod-us-prod"}},
		{"a ring", rules("{from: {role: prod}, ring: true}"), []string{
			"eu-prod>sg-prod kube-system/sg-prod", "sg-prod>us-prod kube-system/us-prod", "us-prod>eu-prod kube-system/eu-prod"}},
		{"a ring of two, both ways", rules("{from: {role: dr}, ring: true, bothWays: true}"), []string{
			"eu-dr>us-dr kube-system/eu-dr-us-dr", "us-dr>eu-dr kube-system/eu-dr-us-dr"}},
		{"rings in each region", rules("{from: {fleet: dr}, ring: true, same: [region]}"), []string{
			"eu-dr>eu-prod kube-system/eu-prod", "eu-prod>eu-dr kube-system/eu-dr", "us-dr>us-prod kube-system/us-prod", "us-prod>us-dr kube-system/us-dr"}},
		{"several namespaces", rules("{from: eu-prod, to: eu-dr, name: remote, namespaces: [shop, crm]}"), []string{
			"eu-prod>eu-dr crm/remote", "eu-prod>eu-dr shop/remote"}},
		{"names of labels", rules(`{from: {role: prod}, to: {role: dr}, same: [region], name: "${from.label:region}-${to.label:role}"}`), []string{
			"eu-prod>eu-dr kube-system/eu-dr", "us-prod>us-dr kube-system/us-dr"}},
		{"two rules that agree", rules("{from: eu-prod, to: eu-dr, name: r}", "{from: {role: prod}, to: {role: dr}, same: [region], name: r}"), []string{
			"eu-prod>eu-dr kube-system/r", "us-prod>us-dr kube-system/r"}},
	} {
		sources, findings := compile(t, tt.text, six(), now)
		if report.HasErrors(findings) {
			t.Errorf("%s: %v", tt.name, findings)
		}
		if got := pairsOf(sources); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestMistakes(t *testing.T) {
	labelled := func(i int, key, value string) []Secret {
		all := six()
		if all[i].Labels[key] = value; value == "" {
			delete(all[i].Labels, key)
		}
		return all
	}
	renamed := func(i int, from, to string) []Secret {
		all := six()
		all[i].Labels[to] = all[i].Labels[from]
		delete(all[i].Labels, from)
		return all
	}
	for _, tt := range []struct {
		name, text string
		secrets    []Secret
		want       string // what a finding says
	}{
		{"the name of a cluster is taken", text, labelled(1, clusterNameLabel, "eu-prod"), "secrets/eu-dr.yaml:1:1: error: Secret fleet/eu-dr-kubeconfig makes cluster eu-prod, as does Secret fleet/eu-prod-kubeconfig"},
		{"a cluster is given twice", with("  readers:", "  - {name: ops}\n  readers:"), six(), "fleet.yaml:15:5: error: cluster ops is given twice, first at fleet.yaml:11:5"},
		{"a name is no label", text, labelled(0, clusterNameLabel, "EU_Prod"), "makes a cluster of the name \"EU_Prod\", which is no RFC 1123 label"},
		{"a Secret lacks the label of the name", with("  - secrets: {matchLabels: {fleet: dr}}", "  - {secrets: {matchLabels: {fleet: dr}}, name: \"${label:site}\"}"), six(), "Secret fleet/eu-prod-kubeconfig has no label site, of which the name of its cluster is made"},
		{"the clusters have no Secret", with("{fleet: dr}}", "{fleet: drr}}"), six(), "no Secret among the files has the labels fleet=drr [fleet]\n  hint: Secret fleet/eu-prod-kubeconfig has fleet: dr in place of drr"},
		{"a Secret is a certificate", text, func() []Secret { all := six(); all[0].Type = "kubernetes.io/tls"; return all }(), "Secret fleet/eu-prod-kubeconfig is a certificate with its key, of type kubernetes.io/tls, and no kubeconfig: its labels make it a cluster"},
		{"a Secret is mistyped", text, labelled(0, "fleet", "drr"), "warning: Secret fleet/eu-prod-kubeconfig is no cluster of the fleet, as it has fleet: drr in place of dr"},
		{"the key of a label is mistyped", text, renamed(0, "fleet", "flet"), "as it has the label flet in place of fleet"},
		{"a rule names no cluster", with("{from: sg-prod, to: us-dr,", "{from: sg-prd, to: us-dr,"), six(), "fleet.yaml:18:12: error: there is no cluster sg-prd [fleet]\n  hint: did you mean sg-prod?"},
		{"a rule means no cluster", with("to: {role: dr}", "to: {role: rd}"), six(), "no cluster has the labels role=rd [fleet]\n  hint: did you mean role: dr?"},
		{"same is no label", with("same: [region]", "same: [regoin]"), six(), "no cluster of from, or none of to, has a label regoin [fleet]\n  hint: did you mean region?"},
		{"an exception names no cluster", with("{from: ops, to: sg-prod,", "{from: ops, to: sg-prd,"), six(), "error: there is no cluster sg-prd"},
		{"an exception names nothing", with("{from: ops, to: sg-prod,", "{"), six(), "the exception names neither from nor to"},
		{"an exception leaves nothing out", with("{from: ops, to: sg-prod,", "{from: ops, to: us-dr,"), six(), "fleet.yaml:21:5: warning: the exception leaves nothing out: no rule makes such a pair"},
		{"an exception has ended", with(`"2027-03-31"`, `"2026-11-29"`), six(), "warning: the exception has ended"},
		{"each pair of a rule is left out", with("{from: ops, to: sg-prod,", "{from: ops,"), six(), "fleet.yaml:19:5: error: each pair of the rule is left out by an exception"},
		{"a rule pairs nothing", with("{from: sg-prod, to: us-dr,", "{from: us-dr, to: us-dr,"), six(), "the rule pairs no clusters"},
		{"a rule has no destination", with("{from: sg-prod, to: us-dr,", "{from: sg-prod,"), six(), "the rule says not which clusters are the destinations"},
		{"a ring has one", with("{from: sg-prod, to: us-dr,", "{from: {role: dr}, ring: true, to: us-dr,"), six(), "a ring has no to"},
		{"a destination has no Secret", with("{from: sg-prod, to: us-dr,", "{from: sg-prod, to: ops,"), six(), "fleet.yaml:11:5: error: cluster ops is a destination by the rule at fleet.yaml:18:5, and no Secret holds its kubeconfig"},
		{"nor has one by both ways", with(`name: "to-${to}"`, "bothWays: true"), six(), "cluster ops is a destination by the rule at fleet.yaml:19:5"},
		{"a cluster is in no pair", with("  - {from: sg-prod, to: us-dr, bothWays: true, name: second-site}\n", ""), labelled(4, "role", "lab"), "warning: cluster sg-prod is in no pair"},
		{"two destinations have one name", with(`name: "to-${to}"`, "name: prod"), six(), "ClusterPair kube-system/prod of ops leads to us-prod, and to eu-prod by the rule at fleet.yaml:19:5"},
		{"two rules disagree", with("  except:", "  - {from: sg-prod, to: us-dr, name: second-site}\n  except:"), six(), "fleet.yaml:20:5: error: ClusterPair kube-system/second-site of sg-prod is made by the rule at fleet.yaml:18:5, too, in another way"},
		{"the name lacks a label", with(`"to-${to}"`, `"to-${to.label:site}"`), six(), "cluster eu-prod has no label site, of which the name of the pair is made"},
		{"there is no namespace", with("  namespace: kube-system\n", ""), six(), "has no namespace"},
		{"the directory is the same", with("clusters/${from}/pairs", "pairs"), six(), "fleet.yaml:8:14: error: the pairs of eu-prod and of eu-dr have the same directory"},
		{"the directory has another variable", with("clusters/${from}/pairs", "clusters/${to}/pairs"), six(), "${to} is not known here"},
		{"the mode is wrong for its Stork", with("  namespace: kube-system", "  namespace: kube-system\n  mode: DisasterRecovery"), six(), "mode DisasterRecovery on a pair over one fabric"},
		{"a cluster has two Secrets", with("destination: {server:", "destination: {secret: {name: other}, server:"), six(), "cluster sg-prod has Secret fleet/sg-prod-kubeconfig by its labels, and other here"},
		{"two clusters take one Secret", with("  - {name: ops,", "  - {name: two, labels: {role: dr, region: us}, destination: {secret: {name: us-dr-kubeconfig, namespace: fleet}}}\n  - {name: ops,"), six(), "clusters two and us-dr are one under two names: they take one kubeconfig, of Secret fleet/us-dr-kubeconfig; two is at secrets/us-dr.yaml:1:1 [fleet]"},
		{"two Secrets are of one cluster of Cluster API", with("fleet: dr}}\n", "fleet: dr}}\n    name: ${name}\n"), labelled(1, clusterNameLabel, "eu-prod"), "secrets/eu-prod.yaml:1:1: error: clusters eu-dr-kubeconfig and eu-prod-kubeconfig are one under two names: they have Secrets with the label cluster.x-k8s.io/cluster-name: eu-prod in one namespace; eu-dr-kubeconfig is at secrets/eu-dr.yaml:1:1 [fleet]"},
		{"a private key is a reader", with("age1ops", "AGE-SECRET-KEY-1"), six(), "not a recipient"},
		{"a field is mistyped", with("same: [region]", "smae: [region]"), six(), `unknown field "smae" [unknown-field]` + "\n  hint: did you mean same?"},
		{"a selector is no selector", with("{matchLabels: {fleet: dr}}", "{matchExpressions: [{key: fleet, operator: In}]}"), six(), "secrets cannot match anything"},
		{"an annotation is ours", with("labels: {use: evacuation}", "annotations: {clusterpair.dev/generated-by: me}"), six(), "is for what clusterpair itself says about a pair"},
	} {
		sources, findings := compile(t, tt.text, tt.secrets, now)
		for i := range sources {
			_, more := sources[i].Parse()
			findings = append(findings, more...)
		}
		said := ""
		for _, f := range findings {
			said += f.String() + "\n  hint: " + f.Hint + "\n"
		}
		if !strings.Contains(said, tt.want) {
			t.Errorf("%s: want %q, got\n%s", tt.name, tt.want, said)
		}
		if len(sources) > 0 && slices.ContainsFunc(findings, func(f report.Finding) bool { return f.Rule == "fleet" && f.Severity == report.Error }) {
			t.Errorf("%s: there are sources in spite of errors", tt.name)
		}
	}
}

// Clusters are one if the pairs that lead to them say so. A Secret with several contexts
// may be that of several clusters, and a cluster may be in several fleets.
func TestIdentities(t *testing.T) {
	for _, tt := range []struct {
		name string
		ids  map[string]string // by NAMESPACE/NAME of the pairs of ops
		want string
	}{
		{"two servers", map[string]string{"kube-system/to-eu-prod": "sha256:aa", "kube-system/to-us-prod": "sha256:bb"}, ""},
		{"one server", map[string]string{"kube-system/to-eu-prod": "sha256:aa", "kube-system/to-us-prod": "sha256:aa"}, "secrets/us-prod.yaml:1:1: error: clusters eu-prod and us-prod are one under two names: they lead to the same server by the same CA; eu-prod is at secrets/eu-prod.yaml:1:1 [fleet]"},
		{"nothing is known", map[string]string{"kube-system/to-eu-prod": "", "kube-system/to-us-prod": ""}, ""},
		{"a pair that is none of the fleet", map[string]string{"kube-system/to-eu-prod": "sha256:aa", "kube-system/other": "sha256:aa"}, ""},
	} {
		var ids Identities
		for range 2 { // the same fleet once more is another
			sources, _ := compile(t, text, six(), now)
			ops := &sources[slices.IndexFunc(sources, func(s Source) bool { return s.Name == "ops" })]
			for id, destination := range tt.ids {
				namespace, name, _ := strings.Cut(id, "/")
				ids.Note(ops, namespace, name, destination)
				if tt.want == "" {
					ids.Note(ops, namespace, name, destination)
				}
			}
		}
		got := ""
		for _, f := range ids.Findings() {
			got += f.String()
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	contexts := strings.Replace(text, "  - {name: ops,", "  - {name: two, labels: {role: dr, region: us}, destination: {secret: {name: us-dr-kubeconfig, namespace: fleet}, context: two}}\n  - {name: ops,", 1)
	if _, findings := compile(t, strings.Replace(contexts, "name: remotecluster", `name: "${pair}"`, 1), six(), now); len(findings) > 0 {
		t.Error(findings)
	}
}

func TestReaders(t *testing.T) {
	sources, _ := compile(t, text, six(), now)
	at := report.Position{File: "clusters"}
	for _, tt := range []struct {
		source     string
		recipients []string
		want       []string
	}{
		{"ops", []string{"age1ops", "age1recovery"}, nil},
		{"eu-dr", []string{"age1any", "age1recovery"}, nil},
		{"eu-dr", []string{"age1any", "age1ops"}, []string{"encrypted for age1ops, the reader of ops"}},
		{"ops", []string{"age1ops", "age1any"}, []string{"encrypted for age1any, which is neither a reader of the cluster nor of the fleet"}},
		{"ops", []string{"age1recovery"}, []string{"not encrypted for its reader, age1ops"}},
	} {
		i := slices.IndexFunc(sources, func(s Source) bool { return s.Name == tt.source })
		got := sources[i].CheckReaders(tt.recipients, at)
		if len(got) != len(tt.want) {
			t.Errorf("%s %v: %v", tt.source, tt.recipients, got)
			continue
		}
		for k := range got {
			if !strings.Contains(got[k].Message, tt.want[k]) {
				t.Errorf("%s %v: %v, want %q", tt.source, tt.recipients, got[k], tt.want[k])
			}
		}
	}
}

// Of each fleet: the same input gives the same sources in whatever order the Secrets
// come, no cluster is paired with itself, no two sources share a directory, each pair
// has its Secret, a pair both ways has its way back under the same name, and a
// recipient of another cluster is never accepted.
func TestRandomFleets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[r.IntN(len(of))] }
	compiled := 0
	for range 1000 {
		n := 2 + r.IntN(8)
		var secrets []Secret
		text := "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairFleet\nmetadata: {name: dr}\nspec:\n  namespace: apps\n  files: [secrets]\n  directory: " +
			pick("clusters/${from}/pairs", "${from}", "p-${from}") + "\n  clusters:\n  - secrets: {matchLabels: {fleet: dr}}\n"
		for i := range n {
			name := fmt.Sprintf("c%d", i)
			secrets = append(secrets, Secret{Namespace: "fleet", Name: name + "-kubeconfig", File: "secrets/" + name + ".yaml",
				Labels: map[string]string{"fleet": "dr", "role": pick("prod", "dr"), "region": pick("eu", "us", "sg")}})
			text += fmt.Sprintf("  - {name: %s, reader: age1%s}\n", name, name)
		}
		text += "  readers: [age1ci]\n  pairs:\n"
		for range 1 + r.IntN(3) {
			by := func() string { return pick("{role: prod}", "{role: dr}", "{fleet: dr}", fmt.Sprintf("c%d", r.IntN(n))) }
			text += fmt.Sprintf("  - {from: %s, to: %s, same: %s, bothWays: %s, name: \"%s\"}\n", by(), by(), pick("[]", "[region]"), pick("true", "false"), pick("${pair}", "to-${to}", "${from}-${to}"))
		}
		if r.IntN(2) == 0 {
			text += fmt.Sprintf("  except:\n  - {from: c%d, to: c%d, reason: no route}\n", r.IntN(n), r.IntN(n))
		}
		sources, findings := compile(t, text, secrets, now)
		shuffled := slices.Clone(secrets)
		r.Shuffle(n, func(i, k int) { shuffled[i], shuffled[k] = shuffled[k], shuffled[i] })
		again, findingsAgain := compile(t, text, shuffled, now)
		if !slices.Equal(pairsOf(sources), pairsOf(again)) || !reflect.DeepEqual(findings, findingsAgain) {
			t.Fatalf("another order of the Secrets gives something else:\n%s", text)
		}
		if report.HasErrors(findings) {
			continue
		}
		compiled++
		outputs := make(map[string]bool)
		named := make(map[string]bool)
		for _, s := range sources {
			if outputs[s.Output] {
				t.Fatalf("directory %s of two sources:\n%s", s.Output, text)
			}
			outputs[s.Output] = true
			for _, p := range s.Pairs() {
				named[s.Name+" "+strings.TrimSuffix(p.Destination.Secret.Name, "-kubeconfig")+" "+p.Name] = true
			}
			for i := range n {
				other := fmt.Sprintf("c%d", i)
				if bad := s.CheckReaders([]string{"age1" + s.Name, "age1ci", "age1" + other}, report.Position{}); (len(bad) > 0) != (other != s.Name) {
					t.Fatalf("%s, with the reader of %s: %v", s.Name, other, bad)
				}
			}
		}
		for _, s := range sources {
			for _, p := range s.Pairs() {
				to := strings.TrimSuffix(p.Destination.Secret.Name, "-kubeconfig")
				if to == s.Name {
					t.Fatalf("%s is paired with itself:\n%s", to, text)
				}
				if p.Annotations[generator.AnnotationBidirectional] == "true" && !named[to+" "+s.Name+" "+p.Name] {
					t.Fatalf("there is no way back from %s to %s:\n%s", to, s.Name, text)
				}
			}
		}
	}
	if compiled < 300 {
		t.Errorf("only %d of the fleets compile", compiled)
	}
}
