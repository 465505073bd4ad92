package validate

import (
	"os"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

// TestUnsure judges a folder that an object applies, and then one that it may apply:
// nothing that depends on what nobody can tell is an error.
func TestUnsure(t *testing.T) {
	sealed, err := os.ReadFile("../../fixtures/valid/flux-decryption/pairs/remotecluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pair := "-- dr/pair.yaml --\n" + string(sealed)
	saying := func(annotation string) string {
		return "-- dr/kustomization.yaml --\nresources: [pair.yaml]\ncommonAnnotations: {" + annotation + "}\n" + pair
	}
	function := "-- dr/kustomization.yaml --\ngenerators: [clusterpair.yaml]\n-- dr/clusterpair.yaml --\napiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairDecryptor\n" +
		"metadata: {name: dr, annotations: {config.kubernetes.io/function: 'exec: {path: clusterpair}'}}\nspec: {files: [pair.yaml]}\n" + pair
	flux := "-- flux.yaml --\napiVersion: kustomize.toolkit.fluxcd.io/v1\nkind: Kustomization\nmetadata: {name: dr, namespace: flux-system}\n" +
		"spec: {sourceRef: {kind: GitRepository, name: flux-system}, path: ./dr, MORE}\n"
	set := "-- argo.yaml --\napiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet\nmetadata: {name: dr, namespace: argocd}\n" +
		"spec: {generators: [{list: {elements: [{dir: dr}]}}], template: {spec: {MORE: {repoURL: 'https://git.example.com/fleet', path: '{{dir}}'}}}}\n"
	packed := strings.NewReplacer("GitRepository", "OCIRepository")
	templated := strings.NewReplacer("list: {elements: [{dir: dr}]}", "clusters: {}", "path: '{{dir}}'", "path: 'd{{name}}'")
	for _, c := range []struct {
		name, rule, files string
		unsure            *strings.Replacer // makes it one of which nobody can tell
		severity          report.Severity   // of the certain one
	}{
		{"no decryption", "flux-decryption", strings.Replace(flux, "MORE", "prune: true", 1) + pair, packed, report.Error},
		{"decryption that an annotation disables", "flux-decryption", strings.Replace(flux, "MORE", "decryption: {provider: sops}", 1) + saying("kustomize.toolkit.fluxcd.io/decrypt: disabled"), packed, report.Error},
		{"a function", "flux-function", strings.Replace(flux, "MORE", "decryption: {provider: sops}", 1) + function, packed, report.Error},
		{"no health", "flux-health", strings.Replace(flux, "MORE", "decryption: {provider: sops}", 1) + pair, packed, report.Warning},
		{"an annotation that keeps a pair away", "pair-ignored", strings.Replace(flux, "MORE", "decryption: {provider: sops}", 1) + saying("kustomize.toolkit.fluxcd.io/reconcile: disabled"), packed, report.Error},
		{"a field that is ignored", "pair-ignored", strings.Replace(flux, "MORE", "ignore: [{paths: [/spec/config]}]", 1) + pair, packed, report.Error},
		{"no plugin", "argo-decryption", strings.Replace(set, "MORE", "source", 1) + pair, templated, report.Error},
		{"a generator that decrypts", "argo-plaintext", strings.Replace(set, "MORE", "source", 1) + function, templated, report.Info},
	} {
		t.Run(c.name, func(t *testing.T) {
			certain := judged(t, Options{Only: []string{c.rule}}, c.files)
			if len(certain) != 1 || certain[0].Severity != c.severity || strings.Contains(certain[0].Message, "nobody can tell") {
				t.Errorf("certain: %+v", certain)
			}
			unsure := judged(t, Options{Only: []string{c.rule}}, c.unsure.Replace(c.files))
			if len(unsure) != 1 || unsure[0].Severity != max(c.severity, report.Warning) || !strings.HasPrefix(unsure[0].Message, "if it is folder dr that is applied here, ") {
				t.Errorf("unsure: %+v", unsure)
			}
		})
	}
}
