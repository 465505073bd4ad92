package report

import "slices"

// Rule is a rule that input may break. Its ID is permanent: users write it in
// waivers, in --skip and in searches.
type Rule struct {
	ID string
	// Severity is that of its findings, unless one says otherwise.
	Severity Severity
	// Needs is what it takes to find a breach.
	Needs Needs
	// Group is the part of the catalogue in which the rule stands.
	Group string
	// Title says in a line what is wrong.
	Title string
	// Consequence is what happens to Stork, to the failover or to the secret.
	Consequence string
	// Fix is what to do about it.
	Fix string
	// Waivable says what a pair that breaks the rule still can do. It is empty
	// where a breach stops Stork, hands a credential to somebody, or can never
	// work: such a rule cannot be waived.
	Waivable string
}

// Needs is what a rule has to see.
type Needs int

// What rules need, in the order of the catalogue's letters.
const (
	// Clear is the committed file, encrypted or not: no key is needed.
	Clear Needs = iota
	// Plaintext is the credential itself: what generate reads, a file in
	// clear, or a file that a key at hand decrypts.
	Plaintext
	// Run is the other manifests of the same run.
	Run
	// Input is what only rendering and encrypting read.
	Input
)

func (n Needs) String() string {
	return [...]string{"the committed file", "the plaintext", "the other files of the run", "the input of generate"}[n]
}

// Rules are all rules, in the order of the catalogue. The caller must not
// change them.
func Rules() []Rule { return catalogue }

// RuleOf is the rule with an id.
func RuleOf(id string) (Rule, bool) {
	i := slices.IndexFunc(catalogue, func(r Rule) bool { return r.ID == id })
	if i < 0 {
		return Rule{}, false
	}
	return catalogue[i], true
}

// Waivable tells whether a user may waive a rule, with a reason.
func Waivable(id string) bool {
	r, ok := RuleOf(id)
	return ok && r.Waivable != ""
}

// RuleIDs are the ids of all rules, in the order of the catalogue.
func RuleIDs() []string {
	ids := make([]string, len(catalogue))
	for i, r := range catalogue {
		ids[i] = r.ID
	}
	return ids
}

// The groups of the catalogue.
const (
	groupShape      = "ClusterPair shape"
	groupOptions    = "Mode and storage options"
	groupSOPS       = "SOPS"
	groupKubeconfig = "Kubeconfig of the destination"
	groupPairs      = "Pairs together"
	groupGitOps     = "GitOps"
	groupInput      = "Input of clusterpair"
)

// catalogue are the rules by group.
var catalogue = []Rule{
	{ID: "pair-kind", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "apiVersion or kind is not that of a ClusterPair"},
	{ID: "pair-name", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "the name is no RFC 1123 subdomain, or ends in a kustomize name hash"},
	{ID: "pair-namespace", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "the namespace is missing or no RFC 1123 label"},
	{ID: "unknown-field", Severity: Error, Needs: Clear, Group: groupShape,
		Title:    "a field that Stork does not have",
		Waivable: "works without the field"},
	{ID: "required-field", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "a field is missing without which nothing works"},
	{ID: "duplicate-key", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "a key stands twice in one mapping"},
	{ID: "yaml", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "the file cannot be read as YAML, or is too large"},
	{ID: "server-set-field", Severity: Error, Needs: Clear, Group: groupShape,
		Title:    "a field that only the cluster sets",
		Waivable: "works, and shows a false status after each sync"},
	{ID: "config-list-form", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "clusters, contexts or users are lists, as in a kubeconfig file"},
	{ID: "config-not-object", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "spec.config is a text or a reference"},
	{ID: "null-entry", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "a cluster, context or user is null"},
	{ID: "extensions-present", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "extensions are not empty"},
	{ID: "kubeconfig-spelling", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "impersonation is spelled as in a kubeconfig file"},
	{ID: "drifting-field", Severity: Warning, Needs: Clear, Group: groupShape,
		Title:    "a field that Stork adds or drops by itself",
		Waivable: "works without the field"},
	{ID: "value-type", Severity: Error, Needs: Clear, Group: groupShape,
		Title: "a number or bool stands where a string belongs, or the other way round"},
	{ID: "bad-base64", Severity: Error, Needs: Plaintext, Group: groupShape,
		Title: "certificate or key data is not base64"},
	{ID: "placeholder-left", Severity: Error, Needs: Clear, Group: groupOptions,
		Title: "a placeholder of storkctl or of a template is left"},
	{ID: "mode-unknown", Severity: Error, Needs: Clear, Group: groupOptions,
		Title: "mode is none that Portworx knows"},
	{ID: "mode-on-single-fabric", Severity: Error, Needs: Clear, Group: groupOptions,
		Title:    "a mode on a pair over one fabric",
		Waivable: "works with Stork 2.9 to 23.10"},
	{ID: "storage-options-left", Severity: Error, Needs: Clear, Group: groupOptions,
		Title:    "a storage option on a pair over one fabric",
		Waivable: "pairs, and is taken for an asynchronous pair on failover"},
	{ID: "storage-options-incomplete", Severity: Error, Needs: Clear, Group: groupOptions,
		Title: "storage options without ip or token, or with an impossible port"},
	{ID: "rancher-mapping", Severity: Error, Needs: Clear, Group: groupOptions,
		Title: "Rancher project mappings are malformed, or not inverse in the two directions"},
	{ID: "plaintext-credential", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "a credential stands in a file in clear"},
	{ID: "leaf-not-encrypted", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "a value that SOPS should have encrypted is in clear"},
	{ID: "encryption-scope", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "the sops section encrypts other values than the creation rule says"},
	{ID: "metadata-encrypted", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "what reviewers need to read is encrypted"},
	{ID: "ambiguous-path", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "a key holds a colon or ends in _unencrypted"},
	{ID: "recipients-drift", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "the recipients are not those of the creation rule"},
	{ID: "no-creation-rule", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title:    "no creation rule matches the file",
		Waivable: "decrypts; nothing says for whom it should be encrypted"},
	{ID: "single-recipient", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:    "there are fewer than two recipients",
		Waivable: "decrypts as long as the only key is not lost"},
	{ID: "mac-missing", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "the sops section has no MAC"},
	{ID: "mac-mismatch", Severity: Error, Needs: Plaintext, Group: groupSOPS,
		Title: "the MAC does not verify"},
	{ID: "annotation-drift", Severity: Error, Needs: Plaintext, Group: groupSOPS,
		Title: "an annotation in clear is not what the encrypted kubeconfig says"},
	{ID: "mac-fragile", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:    "kustomize build would break the MAC",
		Waivable: "decrypts until kustomize or a reformatter touches the file"},
	{ID: "one-document", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title:    "several documents stand in an encrypted file",
		Waivable: "works with Flux, which reads a sops section in each document"},
	{ID: "rotation-due", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:    "the file was last encrypted longer ago than --max-age",
		Waivable: "works with the old data key"},
	{ID: "sops-malformed", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title: "the file is no SOPS file, or damaged"},
	{ID: "context-broken", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the context, or its cluster or user, is missing"},
	{ID: "server-invalid", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the server is no https URL of a host"},
	{ID: "server-loopback", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the server is the Stork pod itself",
		Waivable: "works when the Stork pod has a tunnel at that address"},
	{ID: "server-private", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the server's name or address belongs to one network",
		Waivable: "works when the source cluster reaches that address"},
	{ID: "server-proxied", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the server is reached through a proxy",
		Waivable: "works as long as the proxy does"},
	{ID: "tls-skipped", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the server's certificate is not verified",
		Waivable: "works, and hands the credential to whoever answers"},
	{ID: "ca-missing", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "there is no CA",
		Waivable: "works when a public CA that the Stork image knows has signed the server's certificate"},
	{ID: "ca-invalid", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the CA is not one, or has expired"},
	{ID: "file-reference", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "a file is named, which would be looked up in the Stork pod"},
	{ID: "exec-credential", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the credential comes from a command",
		Waivable: "works when the Stork pod can run the command and has its cloud credentials"},
	{ID: "auth-provider", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the credential comes from an auth provider"},
	{ID: "no-credential", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the user has no credential",
		Waivable: "works when the destination lets anonymous requests do all that Stork does"},
	{ID: "several-credentials", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the user has credentials that exclude each other"},
	{ID: "basic-auth", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the user has a name and a password",
		Waivable: "works with a proxy that takes passwords; no API server since 1.19 does"},
	{ID: "certificate-invalid", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the client certificate cannot be used"},
	{ID: "credential-expired", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the credential has ended, or has not begun",
		Waivable: "works again when the credential has been renewed in place, or a clock put right"},
	{ID: "credential-expiring", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the credential ends soon",
		Waivable: "works until then"},
	{ID: "credential-unbounded", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "the credential never ends, or cannot be revoked",
		Waivable: "works for as long as nobody takes the credential"},
	{ID: "token-malformed", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "the token cannot be sent"},
	{ID: "weak-key", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:    "a key or signature is weak",
		Waivable: "works as long as the server accepts the key"},
	{ID: "still-encrypted", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title: "a value is still encrypted by SOPS"},
	{ID: "self-pair", Severity: Error, Needs: Run, Group: groupPairs,
		Title:    "the destination is the source",
		Waivable: "works, and protects nothing"},
	{ID: "duplicate-pair", Severity: Error, Needs: Run, Group: groupPairs,
		Title:    "two ClusterPairs of one name go to one cluster",
		Waivable: "works when the files go to different clusters"},
	{ID: "reverse-missing", Severity: Warning, Needs: Run, Group: groupPairs,
		Title:    "a pair for both directions has no counterpart",
		Waivable: "works in one direction"},
	{ID: "mode-asymmetric", Severity: Error, Needs: Run, Group: groupPairs,
		Title:    "the two directions have different modes",
		Waivable: "works in the direction whose mode is right"},
	{ID: "shared-credential", Severity: Warning, Needs: Run, Group: groupPairs,
		Title:    "one credential is used by several source clusters",
		Waivable: "works; one leak opens the destination to all of them"},
	{ID: "migration-reference", Severity: Error, Needs: Run, Group: groupPairs,
		Title:    "a migration names a ClusterPair that is not there",
		Waivable: "works when the pair comes from elsewhere"},
	{ID: "migration-volumes", Severity: Error, Needs: Run, Group: groupPairs,
		Title: "a migration over one fabric would move volumes"},
	{ID: "migration-namespace", Severity: Error, Needs: Run, Group: groupPairs,
		Title: "a migration lists namespaces other than its own"},
	{ID: "schedule-policy", Severity: Error, Needs: Run, Group: groupPairs,
		Title:    "a schedule policy is unknown or has no policy",
		Waivable: "works when the policy comes from elsewhere"},
	{ID: "flux-decryption", Severity: Error, Needs: Run, Group: groupGitOps,
		Title:    "Flux applies encrypted pairs as they are",
		Waivable: "works when a patch adds spec.decryption"},
	{ID: "flux-health", Severity: Warning, Needs: Run, Group: groupGitOps,
		Title:    "Flux does not look at the status of the pairs",
		Waivable: "syncs, and reports success for a pair that does not work"},
	{ID: "argo-plaintext", Severity: Info, Needs: Run, Group: groupGitOps,
		Title:    "Argo CD decrypts pairs in the repo-server",
		Waivable: "works; the repo-server keeps the plaintext in its cache"},
	{ID: "argo-decryption", Severity: Error, Needs: Run, Group: groupGitOps,
		Title:    "Argo CD applies encrypted pairs as they are",
		Waivable: "works when a plugin of the repo-server decrypts"},
	{ID: "config", Severity: Error, Needs: Clear, Group: groupInput,
		Title: "a function config is wrong"},
	{ID: "waiver", Severity: Error, Needs: Clear, Group: groupInput,
		Title: "a waiver has no reason, waives nothing, or may not be"},
	{ID: "no-key", Severity: Info, Needs: Plaintext, Group: groupInput,
		Title:    "no key decrypts the file",
		Waivable: "is judged by what can be read without a key"},
	{ID: "secret-missing", Severity: Error, Needs: Input, Group: groupInput,
		Title: "a Secret or file with a kubeconfig is not there"},
	{ID: "secret-ambiguous", Severity: Error, Needs: Input, Group: groupInput,
		Title: "several Secrets could be meant"},
	{ID: "secret-key", Severity: Error, Needs: Input, Group: groupInput,
		Title: "it is open which value of a Secret is the kubeconfig"},
	{ID: "output-taken", Severity: Error, Needs: Input, Group: groupInput,
		Title: "a file stands where a pair would be written"},
	{ID: "encrypted-already", Severity: Error, Needs: Input, Group: groupInput,
		Title: "a file to encrypt is encrypted already"},
	{ID: "not-encrypted", Severity: Error, Needs: Input, Group: groupInput,
		Title: "a file to decrypt is not encrypted"},
}
