package inventory

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/report"
)

// lists reads files below a new directory, and gives the pairs as FROM>TO ID, with ! for
// one that is missing and < for one with a way back, and the clusters as GROUP/NAME.
func lists(t *testing.T, files map[string]string, args ...string) (inv *Inventory, pairs, clusters []string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir(".git", 0o700); err != nil { // the root
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	repo, err := gitfiles.Open()
	if err != nil {
		t.Fatal(err)
	}
	os.Remove(".git") // Git need not say what it ignores
	inv, unread, err := Read(context.Background(), &gitfiles.WorkTree{Repository: repo}, args, "")
	if err != nil || len(unread) > 0 {
		t.Fatal(unread, err)
	}
	for i := range inv.Pairs {
		p := &inv.Pairs[i]
		sign := map[bool]string{true: "!"}[p.Missing] + map[bool]string{true: "<"}[p.Back]
		pairs = append(pairs, fmt.Sprintf("%s>%s %s%s", p.From.Name, p.To.Name, p.ID(), sign))
	}
	for _, c := range inv.Clusters {
		clusters = append(clusters, c.Group+"/"+c.Name)
	}
	return inv, pairs, clusters
}

// pair is a ClusterPair in namespace apps with annotations.
func pair(name string, annotations ...string) string {
	return "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata:\n  name: " + name + "\n  namespace: apps\n  annotations: { " + strings.Join(annotations, ", ") + "}\n"
}

func by(config string) string { return "clusterpair.dev/generated-by: " + config }

func secretOf(cluster, namespace, labels string) string {
	return "apiVersion: v1\nkind: Secret\nmetadata: {name: " + cluster + "-kubeconfig, namespace: " + namespace + ", labels: {" + labels + "}}\n"
}

func configOf(name, spec string) string {
	return "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: " + name + ", labels: {region: home}}\nspec: {namespace: apps, output: pairs, files: [../secrets], " + spec + "}\n"
}

func TestRead(t *testing.T) {
	for _, tt := range []struct {
		name            string
		files           map[string]string
		args            []string
		pairs, clusters []string
	}{
		{"a fleet tells the clusters, their regions and what is not rendered", map[string]string{
			"fleet.yaml": "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairFleet\nmetadata: {name: dr}\nspec:\n  namespace: apps\n  files: [secrets]\n  directory: clusters/${from}\n  clusters:\n" +
				"  - secrets: {matchLabels: {fleet: dr}}\n  - {name: ops, labels: {region: eu}}\n  pairs:\n  - {from: {fleet: dr}, to: {fleet: dr}, bothWays: true, name: far}\n  - {from: ops, to: {fleet: dr}}\n",
			"secrets/a.yaml":              secretOf("a", "x", "fleet: dr, region: us"),
			"secrets/b.yaml":              secretOf("b", "x", "fleet: dr, region: eu"),
			"clusters/a/apps/far.yaml":    pair("far", by("dr.a")),
			"clusters/b/apps/far.yaml":    pair("far", by("dr.b")),
			"clusters/ops/apps/a.yaml":    pair("a", by("dr.ops")),
			"clusters/gone/apps/far.yaml": pair("far", by("dr.gone")),
		}, nil, []string{"b>a apps/far<", "ops>b apps/b!", "ops>a apps/a", "a>b apps/far<", "gone>far apps/far"}, []string{"eu/b", "eu/ops", "us/a", "/far", "/gone"}},
		{"a config tells the Secret", map[string]string{
			"east/clusterpair.yaml":   configOf("east", "pairs: [{name: dr, destination: {secret: {name: west-kubeconfig}}}]"),
			"secrets/west.yaml":       secretOf("west", "x", "region: far"),
			"east/pairs/apps/dr.yaml": pair("dr", by("east")),
		}, nil, []string{"east>west apps/dr"}, []string{"far/west", "home/east"}},
		{"Secrets of one name are told apart", map[string]string{
			"east/clusterpair.yaml":  configOf("east", "pairs: [{name: p, destination: {secret: {name: west-kubeconfig, namespace: one}}}, {name: q, destination: {secret: {name: west-kubeconfig, namespace: two}}}]"),
			"secrets/x.yaml":         secretOf("west", "one", ""),
			"secrets/y.yaml":         secretOf("west", "two", ""),
			"east/pairs/apps/p.yaml": pair("p", by("east")),
			"east/pairs/apps/q.yaml": pair("q", by("east")),
		}, nil, []string{"east>one/west apps/p", "east>two/west apps/q"}, []string{"home/east", "/one/west", "/two/west"}},
		{"a selector makes pairs of Secrets, but for two of one name", map[string]string{
			"east/clusterpair.yaml":       configOf("east", "selector: {matchLabels: {role: dr}, name: \"to-${label:site}\"}"),
			"secrets/a.yaml":              secretOf("a", "x", "role: dr, site: one"),
			"secrets/b.yaml":              secretOf("b", "x", "role: dr, site: two"),
			"secrets/c.yaml":              secretOf("c", "x", "role: dr, site: two"),
			"secrets/d.yaml":              secretOf("d", "x", "role: dr, site: new"),
			"east/pairs/apps/to-one.yaml": pair("to-one", by("east")),
			"east/pairs/apps/to-two.yaml": pair("to-two", by("east")),
		}, nil, []string{"east>a apps/to-one", "east>d apps/to-new!", "east>to-two apps/to-two"}, []string{"home/east", "/a", "/d", "/to-two"}},
		{"what is outside of the files that were asked for is not missing", map[string]string{
			"east/clusterpair.yaml":  configOf("east", "pairs: [{name: p, destination: {secret: {name: a}}}, {name: q, destination: {secret: {name: b}}}]"),
			"east/pairs/apps/p.yaml": pair("p", by("east")),
		}, []string{"east/pairs/apps/p.yaml", "east/clusterpair.yaml"}, []string{"east>a apps/p"}, []string{"home/east", "/a"}},
		{"a config without an output may run inside kustomize alone", map[string]string{
			"east/clusterpair.yaml": strings.Replace(configOf("east", "pairs: [{name: p, destination: {secret: {name: a}}}]"), "output: pairs, ", "", 1),
		}, nil, nil, nil},
		{"a config with one has rendered nothing", map[string]string{
			"east/clusterpair.yaml": configOf("east", "pairs: [{name: p, destination: {secret: {name: a}}}]"),
		}, nil, []string{"east>a apps/p!"}, []string{"home/east", "/a"}},
		{"without a config there are the folder and the name", map[string]string{
			"east/apps/west.yaml": pair("west"),
			"west/apps/east.yaml": pair("east"),
			"list.yaml":           "kind: List\napiVersion: v1\nitems:\n- " + strings.ReplaceAll(strings.TrimSpace(pair("far")), "\n", "\n  ") + "\n",
			"template.yaml":       pair(`""`),
		}, nil, []string{".>far apps/far", "east>west apps/west<", "west>east apps/east<"}, []string{"/.", "/east", "/far", "/west"}},
		{"two CAs are two clusters", map[string]string{
			"a/apps/dr.yaml": pair("dr", "clusterpair.dev/destination-ca: sha256:11111111aa"),
			"b/apps/dr.yaml": pair("dr", "clusterpair.dev/destination-ca: sha256:22222222aa"),
		}, nil, []string{"a>dr (CA 11111111) apps/dr", "b>dr (CA 22222222) apps/dr"}, []string{"/a", "/b", "/dr (CA 11111111)", "/dr (CA 22222222)"}},
		{"a way back into files that are not here is believed, and no other", map[string]string{
			"a/apps/far.yaml": pair("far", `clusterpair.dev/bidirectional: "true"`),
			"a/apps/b.yaml":   pair("b", `clusterpair.dev/bidirectional: "true"`),
			"b/apps/far.yaml": pair("far"),
		}, nil, []string{"a>b apps/b", "a>far apps/far<", "b>far apps/far"}, []string{"/a", "/b", "/far"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, pairs, clusters := lists(t, tt.files, tt.args...)
			if !slices.Equal(pairs, tt.pairs) || !slices.Equal(clusters, tt.clusters) {
				t.Errorf("got %q\nand %q", pairs, clusters)
			}
		})
	}
}

// TestJudge puts findings with the pairs that they are about, by file and object.
func TestJudge(t *testing.T) {
	inv, _, _ := lists(t, map[string]string{"a/one.yaml": pair("one"), "a/two.yaml": pair("two") + "---\n" + pair("three")})
	finding := func(file, object string) report.Finding {
		return report.Finding{Rule: file + object, Severity: report.Warning, Position: report.Position{File: file}, Object: object}
	}
	inv.Judge([]report.Finding{finding("a/one.yaml", ""), finding("a/two.yaml", "ClusterPair apps/three"), finding("a/two.yaml", "odd"), finding(".sops.yaml", "")})
	got := ""
	for i := range inv.Pairs {
		got += fmt.Sprintf("%s %d; ", inv.Pairs[i].Name, len(inv.Pairs[i].Findings))
	}
	if want := "one 1; three 2; two 1; "; got != want || len(inv.Elsewhere) != 1 || !inv.Judged {
		t.Errorf("got %s and %d elsewhere", got, len(inv.Elsewhere))
	}
}

// TestRecipients reads key groups out of the sops section, and names out of rules.
func TestRecipients(t *testing.T) {
	const rules = "keys:\n- &ci age1ci\ncreation_rules:\n# production\n- path_regex: x\n  age: age1one # the reader of east\n- key_groups:\n  - age:\n    # held by the board\n    - age1board\n    - *ci\n- age: age1a,age1b # two\n"
	sops := func(groups string) string {
		return pair("p") + "sops: {mac: 'ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]', lastmodified: \"2026-01-02T03:04:05Z\", version: 3.13.3, " + groups + "}\n"
	}
	inv, _, _ := lists(t, map[string]string{".sops.yaml": rules,
		"a/p.yaml": sops("age: [{recipient: age1one, enc: x}, {recipient: age1ci, enc: x}]"),
		"b/p.yaml": sops("shamir_threshold: 2, key_groups: [{age: [{recipient: age1one, enc: x}]}, {age: [{recipient: age1board, enc: x}]}, {age: [{recipient: age1ci, enc: x}]}]"),
		"c/p.yaml": pair("p"),
	})
	want := map[string]string{"age1ci": "ci", "age1one": "the reader of east", "age1board": "held by the board"}
	for recipient, name := range want {
		if inv.Recipients[recipient] != name {
			t.Errorf("%s is called %q", recipient, inv.Recipients[recipient])
		}
	}
	if len(inv.Recipients) != len(want) {
		t.Errorf("names %v", inv.Recipients)
	}
	for i, want := range []string{"[[age1one age1ci]] 1", "[[age1one] [age1board] [age1ci]] 2", "[] 0"} {
		groups, needed := inv.Pairs[i].Recipients()
		if got := fmt.Sprint(groups, needed); got != want {
			t.Errorf("pair %d: %s, want %s", i, got, want)
		}
	}
}
