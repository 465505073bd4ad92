package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"clusterpair.dev/schema"
)

// TestFlux is about what makes Flux apply ciphertext, say Ready too early, or build
// nothing.
func TestFlux(t *testing.T) {
	const east, west = "clusters/east/clusterpairs.yaml", "clusters/west/clusterpairs.yaml"
	const decryption = "  decryption:\n(?:    .*\n)*"
	const object = ":11:9: Kustomization flux-system/clusterpairs: "
	find(t, "flux", ".", Options{Flux: true}, map[string]finding{
		"as it is": {edit: func(repository) {}, want: []string{
			"ok function no Kustomization of Flux builds a folder with a function", "ok decryption 2 encrypted ClusterPairs are decrypted by Flux", "ok health Flux waits until Stork calls the pairs Ready",
			"skipped key only the clusters tell whether Secret flux-system/sops-age holds the key, in an entry named *.agekey\n  hint: kubectl -n flux-system describe secret sops-age"}},
		"no decryption": {func(r repository) { r.replace(east, decryption, "") },
			[]string{"error decryption " + east + object + "Flux applies the encrypted ClusterPair in dr/east/rendered/migrationnamespace/remotecluster.yaml as ciphertext"}, "ok decryption"},
		"no decryption, waived": {func(r repository) {
			r.replace(east, decryption, "")
			r.replace(east, "^  path: .*rendered.*", "$0 # clusterpair:ignore flux-decryption a patch adds it")
		}, []string{"skipped decryption " + east + object + "waived, a patch adds it [flux-decryption]"}, "error"},
		"no wait": {func(r repository) { r.replace(west, "^  wait: true\n", "") },
			[]string{"warning health " + west + object + "Flux reports success without a look at the status of 1 ClusterPair [flux-health]"}, ""},
		"a function": {func(r repository) {
			r.replace(east, "path: ./dr/east/rendered", "path: ./dr/east")
			r.write("dr/east/kustomization.yaml", "generators: [clusterpair.yaml]\n")
		}, []string{"error function " + east + object + "Flux builds dr/east, whose kustomization runs ClusterPairGenerator east, and Flux runs no"}, "ok function"},
		"a pair without MAC": {func(r repository) {
			r.replace("dr/west/rendered/migrationnamespace/remotecluster.yaml", "^  mac: .*\n", "")
		},
			[]string{"error decryption Flux decrypts no such thing, and says nothing\n  dr/west/rendered/migrationnamespace/remotecluster.yaml:"}, "ok decryption"},
		"no pair":        {func(r repository) { r.remove("dr") }, []string{"skipped decryption no Kustomization of Flux here applies an encrypted ClusterPair of these files"}, "ok decryption"},
		"no Flux at all": {func(r repository) { r.remove("clusters") }, []string{"skipped kustomization there is no Kustomization of Flux"}, ""},
	})
}

// TestApplied says which pairs nothing applies.
func TestApplied(t *testing.T) {
	const west = "clusters/west/clusterpairs.yaml"
	find(t, "flux", ".", Options{}, map[string]finding{
		"as it is": {edit: func(repository) {}, want: []string{"ok applied 2 ClusterPairs are applied by the objects of Flux and Argo CD here"}},
		"suspended": {func(r repository) { r.replace(west, `\A((?:.*\n)*?)  interval:`, "${1}  suspend: true\n  interval:") },
			[]string{"warning applied " + west + ":"}, "ok applied"},
		"not listed in its folder": {func(r repository) { r.write("clusters/west/kustomization.yaml", "resources: [namespace.yaml]\n") },
			[]string{"warning applied " + west + ":"}, "ok applied"},
		"of one cluster nothing": {func(r repository) { r.remove("clusters/east") },
			[]string{"warning applied 1 ClusterPair is applied by none of the objects of Flux and Argo CD here\n  dr/east/rendered/migrationnamespace/remotecluster.yaml\n  hint: name the folder, from the top"}, ""},
		"from another source": {edit: func(r repository) {
			r.remove("clusters/east")
			r.replace(west, "kind: GitRepository", "kind: OCIRepository")
		}, want: []string{"skipped applied nobody can tell from the files what applies 1 ClusterPair"}, not: "warning applied"},
	})
}

// TestGuard is about the policies of a source cluster.
func TestGuard(t *testing.T) {
	const file = "clusters/guard/admission.yaml"
	const missing = "skipped guard only the source clusters tell whether they refuse what stops Stork: no policy for that is here\n  hint: commit what this prints where it is applied before the pairs: clusterpair schema -o admission > FILE\n"
	const good = "ok guard source clusters refuse what stops Stork, by the policy clusterpair-decodes of this release\n"
	lay := func(r repository, definition, file string) {
		text, err := schema.Export("admission", definition)
		r.must(err)
		r.write(file, string(text))
	}
	edited := func(definition, pattern, with string) func(repository) {
		return func(r repository) {
			lay(r, definition, file)
			r.replace(file, pattern, with)
		}
	}
	const old = "warning guard " + file + ":2: policy clusterpair-decodes is not that of this release, and judges otherwise\n"
	find(t, "flux", ".", Options{}, map[string]finding{
		"none":                {edit: func(repository) {}, want: []string{missing}},
		"nothing applies any": {edit: func(r repository) { r.remove("clusters") }, not: "guard"},
		"of this release":     {func(r repository) { lay(r, "", file) }, []string{good}, "warning"},
		"with mode":           {func(r repository) { lay(r, "ClusterPairWithMode", file) }, []string{good}, "warning"},
		"without mode":        {func(r repository) { lay(r, "ClusterPairWithoutMode", file) }, []string{good}, "warning"},
		"the example": {func(r repository) {
			r.must(os.CopyFS("guard", os.DirFS(filepath.Join(root(r.T), "examples/guard/policies"))))
		}, []string{good}, "warning"},
		"misuse is denied, messages are others": {func(r repository) {
			edited("", "- Warn", "- Deny")(r)
			r.replace(file, "quote it", "quote that")
		}, []string{good}, "warning"},
		"without its binding": {func(r repository) {
			lay(r, "", file)
			r.replace(file, "policyName: clusterpair-decodes", "policyName: another")
		}, []string{missing}, "ok guard"},
		"older":           {edited("", `startsWith\("ENC\["\)`, `startsWith("ENC")`), []string{old + "  hint: clusterpair schema -o admission > " + file + "\n"}, good},
		"older, and more": {edited("", `startsWith\("ENC\["\)((?:.*\n)*)\z`, "startsWith(\"ENC\")$1---\nkind: ConfigMap\nmetadata: {name: a}\n"), []string{old + "  hint: put in its place what this prints: clusterpair schema -o admission\n"}, good},
		"misuse is older": {edited("ClusterPairWithMode", `\(\?i\)https://`, `(?i)http`), []string{"warning guard " + file + ":"}, good},
		"a patch beside it": {func(r repository) {
			lay(r, "", file)
			r.write("clusters/guard/patch.yaml", "kind: ValidatingAdmissionPolicy\nmetadata: {name: clusterpair-decodes}\nspec: {failurePolicy: Ignore}\n")
		}, []string{good}, "warning"},
	})
	r := example(t, "flux", ".")
	edited("ClusterPairWithMode", `\(\?i\)https://`, `(?i)http`)(r)
	if said := r.examined(Options{}); !strings.Contains(said, "policy clusterpair-misuse is not that of this release") || !strings.Contains(said, "hint: clusterpair schema -o admission ClusterPairWithMode > "+file) {
		t.Errorf("of a misuse policy for pairs with a mode:\n%s", said)
	}
}

// TestArgoCD is about what makes Argo CD lose a pair, or hand it on as ciphertext.
func TestArgoCD(t *testing.T) {
	const options, pluginFile = "exec/kustomization.yaml", "plugin/plugin.yaml"
	const lost = "without --enable-exec kustomize leaves out the function of Application argocd/dr-exec and says nothing: Argo CD deletes the pair"
	const good = "ok build-options --enable-alpha-plugins --enable-exec, for the function of Application argocd/dr-exec"
	elsewhere := func(text string) func(repository) {
		return func(r repository) {
			r.remove("exec")
			r.write("values.yaml", text)
		}
	}
	command := func(text string) func(repository) {
		return func(r repository) { r.replace(pluginFile, `command: .*`, "command: "+text) }
	}
	find(t, "argocd", "examples/argocd", Options{ArgoCD: true}, map[string]finding{
		"as it is": {edit: func(repository) {}, not: "warning", want: []string{good, "ok program exec/repo-server.yaml mounts clusterpair into the repo-server", "ok plugin plugin/plugin.yaml:1: plugin clusterpair runs clusterpair build --decrypt",
			"ok decryption no Application applies ciphertext", "ok health Argo CD is told by the status of Stork whether a ClusterPair is healthy"}},
		// The options of kustomize, in all forms.
		"no exec":           {func(r repository) { r.replace(options, " --enable-exec", "") }, []string{"error build-options " + options + ":10: " + lost + "\n  hint: kustomize.buildOptions: --enable-alpha-plugins --enable-exec"}, good},
		"no plugins":        {func(r repository) { r.replace(options, "--enable-alpha-plugins", "--load-restrictor x") }, []string{"error build-options " + options + ":10: without --enable-alpha-plugins kustomize fails at the function of Application argocd/dr-exec"}, good},
		"nowhere":           {func(r repository) { r.remove("exec") }, []string{"warning build-options nothing here sets kustomize.buildOptions: ", "warning program nothing here brings clusterpair into the PATH of the repo-server"}, good},
		"values of a chart": {elsewhere("configs:\n  cm:\n    # kustomize.buildOptions: --enable-nothing\n    kustomize.buildOptions: \"--enable-alpha-plugins --enable-exec\"\n"), []string{good}, "error"},
		"values without":    {elsewhere("configs:\n  cm:\n    kustomize.buildOptions: \"--enable-alpha-plugins\"\n"), []string{"error build-options values.yaml:3: " + lost}, good},
		"a patch":           {elsewhere("patches:\n- patch: |\n    - op: add\n      path: /data/kustomize.buildOptions\n      value: --enable-alpha-plugins --enable-exec\n"), []string{good}, "error"},
		"folded":            {elsewhere("kind: ConfigMap\ndata:\n  kustomize.buildOptions: >-\n    --enable-alpha-plugins --enable-exec\n"), []string{good}, "error"},
		"the operator's":    {elsewhere("kind: ArgoCD\nspec:\n  kustomizeBuildOptions: --enable-alpha-plugins\n"), []string{"error build-options values.yaml:3: " + lost}, good},
		"the operator's health and program": {elsewhere("kind: ArgoCD\nspec:\n  kustomizeBuildOptions: --enable-alpha-plugins --enable-exec\n  resourceHealthChecks:\n  - group: stork.libopenstorage.org\n    kind: ClusterPair\n    check: |\n      return {}\n  repo:\n    volumeMounts:\n    - {name: tools, mountPath: /usr/local/bin/clusterpair, subPath: clusterpair}\n"),
			[]string{good, "ok program values.yaml mounts clusterpair into the repo-server", "ok health Argo CD is told"}, "warning"},
		"in another namespace": {func(r repository) {
			r.remove("exec")
			for _, name := range []string{"directory", "exec", "plugin"} {
				r.replace("applications/"+name+".yaml", "^  namespace: argocd$", "  namespace: openshift-gitops")
			}
		}, []string{"warning program nothing here brings clusterpair into the PATH of the repo-server\n  hint: kubectl -n openshift-gitops exec"}, "-n argocd"},
		"for a release":      {elsewhere("data:\n  kustomize.buildOptions.v5.8.2: --enable-alpha-plugins --enable-exec\n"), []string{good}, "error"},
		"a function's image": {func(r repository) { r.replace("apps/exec/decrypt.yaml", "exec: .*", "container: {image: x}") }, []string{"error function applications/exec.yaml:11:11: Application argocd/dr-exec: ClusterPairDecryptor pairs runs in a container, and the repo-server has no docker"}, ""},
		// The command of the plugin.
		"no --decrypt":    {command("[/custom-tools/clusterpair, build, .]"), []string{"error plugin plugin/plugin.yaml:1: plugin clusterpair does not run clusterpair build --decrypt: encrypted pairs reach Stork as ciphertext"}, "ok plugin"},
		"a pipeline":      {command("[sh, -c, 'clusterpair build --decrypt . | yq .']"), []string{"error plugin plugin/plugin.yaml:1: plugin clusterpair hides in a pipeline of a shell that a command failed"}, "ok plugin"},
		"a safe pipeline": {command("[bash, -o, pipefail, -c, 'clusterpair build --decrypt . | yq .']"), []string{"ok plugin plugin/plugin.yaml:1: "}, "error"},
		"a shell":         {command("[sh, -c, 'clusterpair build --decrypt .']"), []string{"ok plugin plugin/plugin.yaml:1: "}, "error"},
		"another command": {command("[kustomize, build, .]"), []string{"warning plugin plugin/plugin.yaml:1: plugin clusterpair is to decrypt ClusterPairs, and its command does not look like it"}, "ok plugin"},
		"sops":            {command("[sh, -c, 'kustomize build . && sops decrypt x']"), []string{"ok plugin plugin/plugin.yaml:1: plugin clusterpair decrypts by another program; mind that it verifies the MAC"}, ""},
		"in a ConfigMap": {func(r repository) {
			r.write(pluginFile, "kind: ConfigMap\ndata:\n  plugin.yaml: |\n    kind: ConfigManagementPlugin\n    metadata: {name: clusterpair}\n    spec: {generate: {command: [clusterpair, build, .]}}\n")
		}, []string{"error plugin plugin/plugin.yaml:3: plugin clusterpair does not run"}, "ok plugin"},
		"not described": {func(r repository) { r.remove("plugin") }, []string{"skipped plugin applications/directory.yaml:11:11: Application argocd/dr-directory: plugin clusterpair is not described here"}, ""},
		// Nothing decrypts; nothing says what is healthy.
		"no plugin": {func(r repository) { r.replace("applications/plugin.yaml", "^ *plugin:.*\n", "") }, []string{"error decryption applications/plugin.yaml:11:11: Application argocd/dr-plugin: Argo CD applies the encrypted ClusterPair in apps/plugin/remotecluster.yaml as ciphertext"}, "ok decryption"},
		"no health": {func(r repository) { r.remove("health", "argocd-cm.yaml") }, []string{"warning health nothing here sets resource.customizations.health.stork.libopenstorage.org_ClusterPair: "}, "ok health"},
		"no Argo CD at all": {func(r repository) {
			r.remove("applications", "exec", "plugin", "health", "argocd-cm.yaml", "README.md")
		},
			[]string{"skipped application there is no Application here, and no setting of Argo CD"}, ""},
	})
}

// TestArgoCDContainer looks at a container of Argo CD from within: the repo-server's,
// then that of a plugin.
func TestArgoCDContainer(t *testing.T) {
	r := example(t, "", ".")
	r.program("argocd-repo-server", "")
	key := os.Getenv("SOPS_AGE_KEY_FILE")
	r.must(os.Chmod(key, 0o644)) // a volume
	said := func(want, not string) {
		t.Helper()
		got := r.examined(Options{ArgoCD: true})
		if !strings.Contains("\n"+got, "\n"+want) || not != "" && strings.Contains(got, not) {
			t.Errorf("want %s, and not %s\n%s", want, not, got)
		}
	}
	said("ok program clusterpair is in the PATH of this container of Argo CD", "error")
	said("ok key there is a private key: age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs", "error")
	r.write("cmp-server/config/plugin.yaml", "kind: ConfigManagementPlugin\nmetadata: {name: clusterpair}\nspec: {generate: {command: [/custom-tools/clusterpair, build, --decrypt, .]}}\n")
	said("error plugin cmp-server/config/plugin.yaml:1: plugin clusterpair runs /custom-tools/clusterpair, which this container does not have", "ok plugin")
	r.replace("cmp-server/config/plugin.yaml", "/custom-tools/", "")
	said("ok plugin cmp-server/config/plugin.yaml:1: plugin clusterpair runs clusterpair build --decrypt", "error")
	r.remove("cmp-server", os.Getenv("PATH")+"/clusterpair", key)
	said("error program clusterpair is not in the PATH of this container of Argo CD, so that kustomize does not find it\n  hint: mountPath: /usr/local/bin/clusterpair, for ", "")
	said("error key there is no age key in this container, without which clusterpair decrypts only by key services", "ok key")
}
