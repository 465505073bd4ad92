package validate

import (
	"slices"
	"sync"

	"clusterpair.dev/internal/words"
)

// wanted are the words that make a file worth parsing: it may be of this project, or hold
// a credential. Beside them stands eyJ, with which a JSON Web Token begins, and
// ZXlK, which is that in base64.
var wanted = []string{
	"ClusterPair", "stork.libopenstorage.org", "Secret", "clusterpair.dev/",
	"current-context", "kustomize.toolkit.fluxcd.io", "argoproj.io", "stork-controller-config", "admin-namespace",
	"insert_storage_options", "spec/config", "spec/options", "sops", "encrypted_regex", "fieldPaths", "builtin",
	" config:", "{config:", ",config:", "\"config\"", "'config'", "? config",
	" options:", "{options:", ",options:", "\"options\"", "'options'", "? options",
	"binary",
	// Engines, and where they fetch from.
	"source.toolkit.fluxcd.io", "source.extensions.fluxcd.io", "fluxcd.controlplane.io", "helm.toolkit.fluxcd.io", "fleet.cattle.io", "viaduct.ai",
	// What a credential is called, or how it is spelled.
	"oken", "OKEN", "assword", "ASSWORD", "asswd", "ASSWD", "key-data", "keyData", "KEY_DATA", "users:", "\"users\"",
	"PRIVATE KEY", "AGE-SECRET-KEY-", "ZXlK", "k8s-aws-v1.", "sha256~", "ya29.", "kubeconfig-u", "earer ", "asic ",
	"ecret_access_key", "ECRET_ACCESS_KEY", "ecret-access-key", "lient_secret", "LIENT_SECRET", "lient-secret", "curl",
	// The beginning of what is compressed, and what base64 makes of that, of a private
	// key that is encoded already, and of a manifest.
	"H4sI", "SDRz", "TFMwdExTMUNS", "WVhCcFZtVnljMmx2Ym",
}

// hidden are the words that may stand in base64.
var hidden = []string{"token", "assword", "PRIVATE KEY", "key-data", "keyData", "AGE-SECRET-KEY-", "earerToken", "kind: Secret", `"Secret"`, "users:", `"users"`, "k8s-aws-v1.", "sha256~"}

// interesting is the matcher of wanted words, in clear and in base64.
var interesting = sync.OnceValue(func() *words.Matcher {
	all := slices.Clone(wanted)
	for _, word := range hidden {
		all = append(all, words.Base64(word)...)
	}
	return words.New(all)
})
