package render

import (
	"path"
	"strings"
	"testing"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/plan"
)

// TestInUseByOtherNames removes clusters/a/pairs/apps/west.yaml, in a repository whose
// other files give names away.
func TestInUseByOtherNames(t *testing.T) {
	migration := func(pair string) string {
		return "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: Migration\nmetadata: {name: move, namespace: apps}\nspec: {clusterPair: " + pair + "}\n"
	}
	schedule := strings.Replace(migration("west"), "kind: Migration", "kind: MigrationSchedule", 1)
	schedule = strings.Replace(schedule, "spec: {clusterPair: west}", "spec: {template: {spec: {clusterPair: west}}}", 1)
	const (
		all    = "clusters/a/kustomization.yaml"
		action = "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: Action\nmetadata: {name: go, namespace: apps}\nspec: {actionParameter: {failoverParameter: {migrationScheduleReference: dr-move}}}\n"
		flux   = "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: a, namespace: flux-system}\nspec: {path: ./clusters/a"
		argo   = "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a, namespace: argocd}\nspec: {source: {path: clusters/a/pairs, kustomize: "
	)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  string // how the finding begins; empty for none
	}{
		{"its own name", map[string]string{"clusters/a/m.yaml": migration("west")}, "error: Migration apps/move names ClusterPair apps/west, and clusters/a/pairs/apps/west.yaml would be removed"},
		{"another name", map[string]string{"clusters/a/m.yaml": migration("dr-west")}, ""},
		{"a prefix", map[string]string{"clusters/a/m.yaml": migration("dr-west"), all: "resources: [pairs/apps/west.yaml, m.yaml]\nNamePrefix: dr-\n"},
			"error: Migration apps/move names ClusterPair apps/dr-west, and clusters/a/pairs/apps/west.yaml would be removed: what migrates over it fails; its own name is apps/west, which is changed where it is applied"},
		{"a prefix of what does not take it in", map[string]string{"clusters/a/m.yaml": migration("dr-west"), "clusters/b/kustomization.yaml": "resources: [m.yaml]\nnamePrefix: dr-\n"}, ""},
		{"a nameReference lets the original name stand", map[string]string{"clusters/a/m.yaml": migration("west"), all: "resources: [pairs]\nnamePrefix: dr-\nconfigurations: [names.yaml]\n"}, "error: Migration apps/move names ClusterPair apps/west"},
		{"prefix and suffix of two kustomizations", map[string]string{"m.yaml": migration("x-dr-west-1"), all: "resources: [pairs/apps/west.yaml]\nnamePrefix: dr-\nnameSuffix: \"-1\"\n", "over/kustomization.yaml": "resources: [../clusters/a]\nnamePrefix: x-\n"},
			"error: Migration apps/move names ClusterPair apps/x-dr-west-1,"},
		{"the other order of the two", map[string]string{"m.yaml": migration("dr-x-west"), all: "resources: [pairs/apps/west.yaml]\nnamePrefix: dr-\n", "over/kustomization.yaml": "resources: [../clusters/a]\nnamePrefix: x-\n"}, ""},
		{"a transformer", map[string]string{"clusters/a/m.yaml": migration("dr-west"), all: "resources: [pairs/apps/west.yaml]\ntransformers:\n- |\n  apiVersion: builtin\n  kind: PrefixTransformer\n  metadata: {name: p}\n  prefix: dr-\n"}, "error: Migration apps/move names ClusterPair apps/dr-west"},
		{"a namespace of the pair", map[string]string{"clusters/a/m.yaml": strings.Replace(migration("west"), "apps", "shop", 1), all: "resources: [pairs/apps/west.yaml]\nnamespace: shop\n"}, "error: Migration shop/move names ClusterPair shop/west"},
		{"a namespace of the migration", map[string]string{"m/m.yaml": strings.Replace(migration("west"), "apps", "shop", 1), "m/kustomization.yaml": "resources: [m.yaml]\nnamespace: apps\n"}, "error: Migration shop/move names ClusterPair apps/west"},
		{"components", map[string]string{"m.yaml": migration("dr-west"), all: "components: [pairs]\nnamePrefix: dr-\n"}, "error: Migration apps/move names ClusterPair apps/dr-west"},
		{"Flux", map[string]string{"m.yaml": migration("dr-west"), "flux.yaml": flux + ", namePrefix: dr-}\n"}, "error: Migration apps/move names ClusterPair apps/dr-west"},
		{"Argo CD", map[string]string{"m.yaml": migration("west-dr"), "argo.yaml": argo + "{nameSuffix: -dr}}}\n"}, "error: Migration apps/move names ClusterPair apps/west-dr"},
		{"a schedule with a prefix", map[string]string{"s.yaml": schedule, "kustomization.yaml": "resources: [s.yaml]\nnamePrefix: dr-\n", "action.yaml": action}, "error: MigrationSchedule apps/move names ClusterPair apps/west, and clusters/a/pairs/apps/west.yaml would be removed: what migrates over it fails error: Action apps/go, by MigrationSchedule move, names ClusterPair apps/west"},
		{"a patch", map[string]string{"clusters/a/m.yaml": migration("east"), all: "resources: [m.yaml]\npatches:\n- target: {kind: Migration}\n  patch: '[{op: replace, path: /spec/clusterPair, value: west}]'\n"}, "error: a patch names ClusterPair apps/west"},
		{"a strategic one", map[string]string{"clusters/a/m.yaml": migration("east"), all: "resources: [m.yaml]\npatches:\n- patch: |\n    " + strings.ReplaceAll(strings.TrimSpace(migration("west")), "\n", "\n    ") + "\n"}, "error: Migration apps/move names ClusterPair apps/west"},
		{"a patch in a file", map[string]string{"clusters/a/p.yaml": "- {op: add, path: /spec/clusterPair, value: west}\n"}, "error: a patch names ClusterPair apps/west"},
		{"a variable of Flux", map[string]string{"clusters/a/m.yaml": migration(`"w${END:=}"`)}, "warning: Migration apps/move names a ClusterPair by w${END:=}, whose value is not known here: whether it is apps/west, and clusters/a/pairs/apps/west.yaml would be removed, cannot be told"},
		{"a variable that cannot be it", map[string]string{"clusters/a/m.yaml": migration(`"to-${END}"`)}, ""},
		{"a template of Helm", map[string]string{"clusters/a/m.yaml": migration(`"{{ .Values.pair }}"`)}, "warning: Migration apps/move names a ClusterPair by {{ .Values.pair }}"},
		{"a replacement", map[string]string{"clusters/a/m.yaml": migration("east"), all: "resources: [m.yaml]\nreplacements:\n- source: {kind: ConfigMap, name: c, fieldPath: data.pair}\n  targets:\n  - select: {kind: Migration}\n    fieldPaths: [spec.clusterPair]\n"}, "warning: a replacement names a ClusterPair by spec.clusterPair"},
	} {
		var u uses
		for file, text := range tt.files {
			u.read(gitfiles.File{Path: file, Name: file}, []byte(text))
		}
		const file = "clusters/a/pairs/apps/west.yaml"
		removed := plan.Pair{Names: u.renamers.of(file, plan.Name{Namespace: path.Base(path.Dir(file)), Name: "west"}), Path: file, File: file}
		var said []string
		for _, f := range plan.InUse([]plan.Pair{removed}, nil, u.all()) {
			said = append(said, f.Severity.String()+": "+f.Message)
		}
		if got := strings.Join(said, " "); tt.want == "" && got != "" || !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
