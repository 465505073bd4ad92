package validate

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"clusterpair.dev/internal/report"
)

// TestTogether judges files together by rules that look at more than one of them, and
// compares with the findings, one a line: file, severity, rule. remotes are what Git
// knows the repository by.
func TestTogether(t *testing.T) {
	data, err := os.ReadFile("../../fixtures/valid/flux-decryption/pairs/remotecluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sealed := string(data)
	for _, tc := range []struct {
		name, files string
		remotes     []string
		links       []string
		only        []string
		want        []string
	}{
		{
			name: "the admin namespace of the operator", only: []string{"migration-namespace", "migration-reference"},
			files: "-- px.yaml --\napiVersion: core.libopenstorage.org/v1\nkind: StorageCluster\nmetadata: {name: px, namespace: portworx}\nspec: {stork: {args: {admin-namespace: portworx}}}\n" +
				"-- pair.yaml --\nSEALED\n-- m.yaml --\n" + schedule("portworx", "apps"),
			want: []string{"m.yaml error migration-reference"},
		},
		{
			name: "the admin namespace of an argument", only: []string{"migration-namespace"},
			files: "-- stork.yaml --\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: stork, namespace: kube-system}\nspec: {template: {spec: {containers: [{name: stork, command: [/stork, --admin-namespace, dr]}]}}}\n" +
				"-- pair.yaml --\nSEALED\n-- m.yaml --\n" + schedule("dr", "apps") + "---\n" + schedule("migrationnamespace", "apps"),
			want: []string{"m.yaml error migration-namespace"},
		},
		{
			name: "nothing says what the admin namespace is", only: []string{"migration-namespace"},
			files: "-- pair.yaml --\nSEALED\n-- m.yaml --\n" + schedule("portworx", "apps"),
			want:  []string{"m.yaml warning migration-namespace"},
		},
		{
			name: "a policy that lives elsewhere", only: []string{"schedule-policy"},
			files: "-- pair.yaml --\nSEALED\n-- m.yaml --\n" + schedule("migrationnamespace", "migrationnamespace"),
			want:  []string{"m.yaml warning schedule-policy"},
		},
		{
			name: "a skeleton that an encrypted patch fills", only: []string{"required-field"},
			files: "-- base/kustomization.yaml --\nresources: [pair.yaml]\n-- base/pair.yaml --\napiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: remotecluster, namespace: migrationnamespace}\nspec: {options: {}}\n" +
				"-- east/kustomization.yaml --\nresources: [../base]\npatches: [{path: config.yaml}]\n-- east/config.yaml --\nSEALED\n",
		},
		{
			name: "a skeleton that nothing fills", only: []string{"required-field"},
			files: "-- base/kustomization.yaml --\nresources: [pair.yaml]\n-- base/pair.yaml --\napiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: remotecluster, namespace: migrationnamespace}\nspec: {options: {}}\n",
			want:  []string{"base/pair.yaml error required-field"},
		},
		{
			name: "a link", only: []string{"pair-ignored"}, links: []string{"dr/pair.yaml"},
			files: "-- ks.yaml --\n" + kustomizationOf("flux-system", "./dr") + "-- dr/pair.yaml --\nSEALED\n",
			want:  []string{"dr/pair.yaml error pair-ignored"},
		},
		{
			name: "a repository that Git knows", only: []string{"flux-decryption"}, remotes: []string{"git@git.example.com:fleet.git"},
			files: "-- sources.yaml --\n" + gitRepository("ours", "https://git.example.com/fleet") + "---\n" + gitRepository("theirs", "https://git.example.com/other") +
				"-- a.yaml --\n" + kustomizationOf("ours", "./dr") + "-- b.yaml --\n" + kustomizationOf("theirs", "./dr") + "-- dr/pair.yaml --\nSEALED\n",
			want: []string{"a.yaml error flux-decryption"},
		},
		{
			name: "an artifact", only: []string{"flux-decryption"},
			files: "-- a.yaml --\n" + strings.Replace(kustomizationOf("flux-system", "./dr"), "GitRepository", "OCIRepository", 1) + "-- dr/pair.yaml --\nSEALED\n",
			want:  []string{"a.yaml warning flux-decryption"},
		},
		{
			name: "two spellings of a key", only: []string{"duplicate-key"},
			files: "-- kustomization.yaml --\nresources: [a.yaml]\nResources: [pair.yaml]\n-- pair.yaml --\nSEALED\n",
			want:  []string{"kustomization.yaml error duplicate-key"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			for _, f := range judged(t, Options{Only: tc.only, Remotes: func() []string { return tc.remotes }}, strings.ReplaceAll(tc.files, "SEALED\n", sealed), tc.links...) {
				got = append(got, f.Position.File+" "+f.Severity.String()+" "+f.Rule)
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// judged are the findings about the files of an archive, some of which are symbolic links.
func judged(t *testing.T, o Options, archive string, links ...string) []report.Finding {
	t.Helper()
	o.Now = time.Now()
	v := New(o)
	for _, file := range txtar.Parse([]byte(archive)).Files {
		if err := v.File(t.Context(), File{Name: file.Name, Path: file.Name, Data: file.Data, Link: slices.Contains(links, file.Name)}); err != nil {
			t.Fatal(err)
		}
	}
	return v.Findings()
}

func schedule(namespace, moves string) string {
	return "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: MigrationSchedule\nmetadata: {name: s, namespace: " + namespace + "}\n" +
		"spec: {schedulePolicyName: nightly, template: {spec: {clusterPair: remotecluster, includeVolumes: false, namespaces: [" + moves + "]}}}\n"
}

func kustomizationOf(source, path string) string {
	return "apiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: dr, namespace: flux-system}\nspec: {sourceRef: {kind: GitRepository, name: " + source + "}, path: " + path + "}\n"
}

func gitRepository(name, url string) string {
	return "apiVersion: source.toolkit.fluxcd.io/v1\nkind: GitRepository\nmetadata: {name: " + name + ", namespace: flux-system}\nspec: {url: '" + url + "'}\n"
}

// TestHook: whoever looks for credentials in clear alone gets the same answer, and the
// repository is asked about a pair only if there is something to say of it.
func TestHook(t *testing.T) {
	data, err := os.ReadFile("../../fixtures/valid/flux-decryption/pairs/remotecluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	sealed, asked := string(data), 0
	hook := Options{Only: []string{"plaintext-credential"}, Origin: func(string, string) (Origin, error) {
		asked++
		return Origin{Render: "clusterpair generate -f dr", Rendered: true}, nil
	}}
	if found := judged(t, hook, "-- pair.yaml --\n"+sealed); len(found) > 0 || asked > 0 {
		t.Errorf("asked %d times, %v", asked, found)
	}
	found := judged(t, hook, "-- pair.yaml --\n"+regexp.MustCompile(`(\s)ENC\[AES256_GCM,data:[^]]*,type:str\]`).ReplaceAllString(sealed, "${1}hunter2-hunter2-hunter2"))
	if len(found) == 0 || asked == 0 || !strings.HasSuffix(found[0].Hint, "render it anew: clusterpair generate -f dr") {
		t.Errorf("asked %d times, %v", asked, found)
	}
}
