package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const pairOfExample = "rendered/migrationnamespace/remotecluster.yaml"

// TestRepository is about what is wrong with configs, creation rules and files.
func TestRepository(t *testing.T) {
	const noRule = "error creation-rule " + pairOfExample + ": "
	commit := func(r repository) {
		r.git("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-q", "-m", "All")
	}
	find(t, "kustomize", ".", Options{}, map[string]finding{
		"as it is": {edit: func(r repository) {
			r.remove(".gitattributes", "kustomization.yaml")
			r.replace("clusterpair.yaml", `\n  annotations:\n(?:    .*\n)*`, "\n")
		}, not: "warning", want: []string{"ok git . is the top of the work tree", "ok config 1 config of kind ClusterPairGenerator", "ok creation-rule outputs with recipients: 1 of 1",
			"ok cleartext no credential is in clear in ", "ok valid clusterpair validate finds no other error", "ok key kubeconfig Secrets: 1 of 1 file can be decrypted here, by age1", "ok key rendered pairs: 1 of 1 file can be decrypted here, by age1", "ok rendered 1 rendered pair is fresh (not opened)"}},
		"no work tree": {func(r repository) { r.remove(".git") }, []string{"warning git there is no Git work tree: nothing is committed, and configs reach no file beside their own directory\n  hint: git init ."}, ""},
		"no git":       {func(r repository) { r.remove(filepath.Join(os.Getenv("PATH"), "git")) }, []string{"warning git git is not in PATH, so that nothing of it is known\n  hint: apt-get install git"}, ""},
		// Creation rules.
		"a rule that does not match": {func(r repository) { r.replace(".sops.yaml", `\^rendered`, "^randered") },
			[]string{noRule + `.sops.yaml: no creation rule matches "` + pairOfExample + `"; it has path_regex `}, "ok creation-rule"},
		"rules of another name": {func(r repository) { r.must(os.Rename(".sops.yaml", ".sops.yml")) },
			[]string{noRule + "no recipients: there is no .sops.yaml at or above the file, and none are given [no-creation-rule]", "warning creation-rule sops does not read .sops.yml: it is to be called .sops.yaml\n  hint: mv .sops.yml .sops.yaml"}, "ok creation-rule"},
		"a mistyped recipient": {func(r repository) { r.replace(".sops.yaml", "age1968pf0ts9p", "age1968pf0ts9q") },
			[]string{noRule + ".sops.yaml:11: age: "}, "ok creation-rule"},
		"a private key for a recipient": {func(r repository) {
			r.replace(".sops.yaml", "age1ewtp8a[a-z0-9]*", "AGE-SECRET-KEY-1RE9CDUHUT0XZEMXAM9MNWSGKVHX27T3HGCXZ4EKWL3WNN4X08R0S7PV7JL")
		}, []string{noRule}, "1RE9CDUHUT0XZEMXAM9"},
		"a rule that leaves the pair in clear": {func(r repository) {
			r.write(".sops.yaml", "creation_rules:\n- path_regex: .*\n  encrypted_regex: ^(data|stringData)$\n  age: age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs\n")
		}, []string{"error creation-rule .sops.yaml:2: the creation rule leaves spec.config."}, "ok creation-rule"},
		"a rule that encrypts the name": {func(r repository) {
			r.write(".sops.yaml", "creation_rules:\n- path_regex: .*\n  encrypted_regex: ^(config|token|name)$\n  age: age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs\n")
		}, []string{"error creation-rule .sops.yaml:2: the creation rule encrypts metadata.name of " + pairOfExample}, "ok creation-rule"},
		"rules below the first": {func(r repository) {
			r.write("secrets/.sops.yaml", "creation_rules:\n- age: age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs\n")
		}, []string{"warning creation-rule sops goes by the directory in which it is typed: at the top, .sops.yaml gives 1 file other recipients than the rules beside them\n  secrets/west-kubeconfig.yaml\n  hint: type sops where the rules are: cd secrets"}, ""},
		"rules below the first that say the same": {edit: func(r repository) {
			text, err := os.ReadFile(".sops.yaml")
			r.must(err)
			r.write("secrets/.sops.yaml", strings.ReplaceAll(string(text), "^secrets/", ""))
		}, not: "warning creation-rule"},
		"several outputs": {func(r repository) {
			config := "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: two}\nspec:\n  namespace: apps\n  output: two\n  files: [secrets/west-kubeconfig.yaml]\n  pairs:\n"
			for _, name := range strings.Fields("a b c d e f g h") {
				config += "  - {name: " + name + ", destination: {secret: {name: west-kubeconfig}}}\n"
			}
			r.write("two.yaml", config)
		}, []string{"ok config 2 configs of kind ClusterPairGenerator", "error creation-rule two/apps/a.yaml: ", "  so it is with 8 of 8 outputs of two.yaml", "warning rendered outputs that are not rendered yet: 8 of 9\n  two/apps/a.yaml", "  … and "}, ""},
		// Credentials in clear.
		"a Secret in clear": {func(r repository) {
			r.write("secrets/clear.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\nstringData: {password: hunter2}\n")
		}, []string{"error cleartext 1 file holds a credential in clear [plaintext-credential]\n  secrets/clear.yaml\n  hint: encrypt it, and renew the credential if this was ever pushed: clusterpair encrypt -i secrets/clear.yaml"}, "hunter2"},
		"two without a rule": {func(r repository) {
			for _, name := range []string{"a.yaml", "b.yaml"} {
				r.write(name, "apiVersion: v1\nkind: Secret\nmetadata: {name: a, namespace: b}\nstringData: {password: hunter2}\n")
			}
		}, []string{"error cleartext 2 files hold a credential in clear [plaintext-credential]\n  a.yaml, which has no creation rule\n  b.yaml, which has no creation rule\n  hint: encrypt it, and renew the credential if this was ever pushed: clusterpair encrypt -i a.yaml --age RECIPIENT && clusterpair encrypt -i b.yaml --age RECIPIENT"}, "hunter2"},
		"a key that Git knows": {func(r repository) {
			text, err := os.ReadFile(os.Getenv("SOPS_AGE_KEY_FILE"))
			r.must(err)
			r.write("ci.agekey", string(text))
			r.git("add", ".")
		}, []string{"error cleartext Git holds 1 file with a private key of age\n  ci.agekey\n  hint: make another key if this was ever pushed, and keep this one out of Git: git rm --cached ci.agekey"}, "AGE-SECRET-KEY"},
		// What is rendered and committed.
		"a pair that is not rendered": {func(r repository) { r.remove("rendered") }, []string{"warning rendered outputs that are not rendered yet: 1 of 1\n  " + pairOfExample + "\n  hint: clusterpair generate -f clusterpair.yaml"}, "ok rendered"},
		"an empty pair":               {func(r repository) { r.write(pairOfExample, "") }, []string{"warning rendered outputs that are not rendered yet: 1 of 1"}, "ok rendered"},
		"a pair that Git leaves out": {func(r repository) { r.write(".gitignore", "rendered/\n") },
			[]string{"error ignored Git leaves out 1 file that is to be committed\n  " + pairOfExample + ", by .gitignore:1: rendered/\n  hint: git add -f " + pairOfExample}, ""},
		"a pair that is left out, and known": {edit: func(r repository) {
			r.write(".gitignore", "rendered/\n")
			r.git("add", "-f", "rendered")
		}, not: "ignored"},
		"a pair that is not committed": {func(r repository) {
			r.git("add", "clusterpair.yaml")
			commit(r)
		}, []string{"warning committed Git does not know 1 file yet: nothing applies what is not committed\n  " + pairOfExample + "\n  hint: git add " + pairOfExample}, ""},
		"all is committed": {edit: func(r repository) {
			r.git("add", ".")
			commit(r)
		}, not: "committed"},
		"a pair without its config": {func(r repository) { r.remove("clusterpair.yaml", "kustomization.yaml") },
			[]string{"ok config no config of kind ClusterPairGenerator or ClusterPairFleet is here; 1 ClusterPair is", "warning orphan 1 ClusterPair is of a config that no longer renders it [orphan-pair]\n  " + pairOfExample + ": "}, ""},
		"nothing": {func(r repository) {
			r.remove("clusterpair.yaml", "kustomization.yaml", "rendered", "secrets")
		}, []string{"skipped config there is no config of kind ClusterPairGenerator or ClusterPairFleet, and no ClusterPair\n  hint: lay out a repository"}, ""},
		// Configs.
		"a config that is none": {func(r repository) { r.replace("clusterpair.yaml", "storkVersion: .*", "storkVersion: 24.3") },
			[]string{"error config clusterpair.yaml:10:17: \"storkVersion\" is a number where a string belongs [value-type]\n  hint: quote it"}, "ok config"},
		"a Secret that is not there": {func(r repository) { r.remove("secrets") },
			[]string{"error config clusterpair.yaml:17:5: secrets/west-kubeconfig.yaml: no such file or directory [secret-missing]"}, "ok config"},
		// What cannot be read keeps nothing else from being seen.
		"no file, no YAML": {func(r repository) {
			r.must(syscall.Mkfifo("pipe.yaml", 0o600))
			r.must(syscall.Mkfifo("run.sh", 0o600))
			r.must(os.Symlink("nowhere", "link.yaml"))
			r.write("broken.yaml", "kind: ClusterPair\nspec: {\n")
			r.write("large.yaml", "kind: ClusterPair\n")
			r.must(os.Truncate("large.yaml", 101<<20))
		}, []string{"warning files nothing is known of 2 files that cannot be read\n  broken.yaml:2: not valid YAML: did not find expected node content\n  large.yaml: is larger than 100 MiB, and names ClusterPairs", "ok rendered"}, "\nerror"},
	})
}

// TestKeys says which private keys are at hand, and for what.
func TestKeys(t *testing.T) {
	const kubeconfigs = "warning key kubeconfig Secrets: 0 of 1 file can be decrypted here, and clusterpair generate needs all\n  secrets/west-kubeconfig.yaml: age1"
	key := func() string { return os.Getenv("SOPS_AGE_KEY_FILE") }
	find(t, "kustomize", ".", Options{}, map[string]finding{
		"another one": {func(r repository) {
			text, err := os.ReadFile(filepath.Join(root(r.T), "fixtures/keys/west.agekey"))
			r.must(err)
			r.must(os.WriteFile(key(), text, 0o600))
		}, []string{kubeconfigs, "  the age keys here: age15cswxs9gxaan0z8ma5cf23apgqzqeggcvl0jwgsxxqa7lh2pgyrsac592e", "ok key rendered pairs: 0 of 1 file can be decrypted here; to render takes none of their keys"}, ""},
		"none":        {func(r repository) { r.remove(key()) }, []string{"warning key SOPS_AGE_KEY_FILE (", kubeconfigs, "  there is no age key here"}, ""},
		"a directory": {func(r repository) { r.Setenv("SOPS_AGE_KEY_FILE", r.TempDir()) }, []string{"warning key SOPS_AGE_KEY_FILE (", kubeconfigs}, ""},
		"one that others can read": {func(r repository) { r.must(os.Chmod(key(), 0o640)) },
			[]string{"warning key others can read the private key in SOPS_AGE_KEY_FILE (", "ok key kubeconfig Secrets: 1 of 1"}, ""},
		"where sops looks at last": {func(r repository) {
			text, err := os.ReadFile(key())
			r.must(err)
			r.write(filepath.Join(os.Getenv("HOME"), ".config/sops/age/keys.txt"), string(text))
			r.must(os.Unsetenv("SOPS_AGE_KEY_FILE")) // example puts it back
		}, []string{"ok key kubeconfig Secrets: 1 of 1"}, "warning key"},
		"in a variable": {func(r repository) {
			text, err := os.ReadFile(key())
			r.must(err)
			r.must(os.Unsetenv("SOPS_AGE_KEY_FILE"))
			r.Setenv("SOPS_AGE_KEY", string(text))
		}, []string{"ok key kubeconfig Secrets: 1 of 1"}, "AGE-SECRET-KEY"},
		"a variable that holds none": {func(r repository) { r.Setenv("SOPS_AGE_KEY", "not-a-key-hunter2") },
			[]string{"warning key SOPS_AGE_KEY gives no key"}, "hunter2"},
	})
}
