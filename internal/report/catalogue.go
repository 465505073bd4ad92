package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"clusterpair.dev/internal/project"
)

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
	// Like Fix it is Markdown with nothing but code spans; [Plain] takes their
	// marks off.
	Consequence string
	// Fix is what to do about it.
	Fix string
	// Waivable says what a pair that breaks the rule still can do. It is empty
	// where a breach stops Stork, hands a credential to somebody, or can never
	// work: such a rule cannot be waived.
	Waivable string

	// Undecodable says that a breach keeps Stork from decoding the object.
	Undecodable bool
	// Whole says that only a whole object can break the rule. What a patch lacks
	// stands in the object that it changes.
	Whole bool
	// Seal says that a breach makes ciphertext reach a cluster, or nothing at all.
	Seal bool
	// OwnCheck says that doctor has a check for this rule. The other rules of validate
	// share one.
	OwnCheck bool
	// Verdict is the word of status for a pair in the cluster that breaks the rule; it
	// may be empty.
	Verdict string
}

// Page is the file of docs/rules in which the rule's group is explained, such as
// mode-and-storage-options.md.
func (r Rule) Page() string {
	return strings.ToLower(strings.ReplaceAll(r.Group, " ", "-")) + ".md"
}

// URL leads to the rule on the page of its group.
func (r Rule) URL() string {
	return project.Page("docs/rules/"+r.Page()) + "#" + r.ID
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
	// Live is what clusters say: status, preflight and import ask them.
	Live
)

func (n Needs) String() string {
	return [...]string{"the committed file", "the plaintext", "the other files of the run", "the input of generate", "live clusters"}[n]
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

// Catalogued is the rule that the finding breaks; the zero Rule if it names none.
func (f Finding) Catalogued() Rule {
	r, _ := RuleOf(f.Rule)
	return r
}

// Waivable tells whether a user may waive a rule, with a reason.
func Waivable(id string) bool {
	r, ok := RuleOf(id)
	return ok && r.Waivable != ""
}

// WaivableRules are the rules that a user may waive, sorted.
func WaivableRules() []string {
	ids := slices.DeleteFunc(RuleIDs(), func(id string) bool { return !Waivable(id) })
	slices.Sort(ids)
	return ids
}

// Plain is a Consequence or Fix for a terminal. No full stop follows what is to
// be typed at its end.
func Plain(text string) string {
	if command, ok := strings.CutSuffix(text, "`."); ok {
		text = command
	}
	return strings.ReplaceAll(text, "`", "")
}

// ListRules writes a line for each rule, in groups: its id, severity, what it needs,
// and its title.
func ListRules(w io.Writer) error {
	b := bufio.NewWriter(w)
	group := ""
	for _, r := range catalogue {
		if r.Group != group {
			if group != "" {
				fmt.Fprintln(b)
			}
			group = r.Group
			fmt.Fprintln(b, group)
		}
		fmt.Fprintf(b, "  %-26s  %-7s  %-22s  %s\n", r.ID, r.Severity, strings.TrimPrefix(r.Needs.String(), "the "), r.Title)
	}
	return b.Flush()
}

// CheckRule is an error that names the nearest rule if there is none with an id.
func CheckRule(id string) error {
	if _, known := RuleOf(id); known {
		return nil
	}
	hint := "see them all: clusterpair rules"
	if near := Nearest(id, RuleIDs()); near != "" {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	return Usage(WithHint(fmt.Errorf("there is no rule %q", id), "%s", hint))
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
	groupLive       = "Live clusters"
)

// catalogue are the rules by group.
var catalogue = []Rule{
	{ID: "pair-kind", Severity: Error, Needs: Clear, Group: groupShape, Whole: true, Seal: true,
		Title:       "apiVersion or kind is not that of a ClusterPair",
		Consequence: "Stork does not see the object, or the API server refuses it. Nothing is paired.",
		Fix:         "Write `apiVersion: stork.libopenstorage.org/v1alpha1` and `kind: ClusterPair`."},
	{ID: "pair-name", Severity: Error, Needs: Clear, Group: groupShape, Whole: true,
		Title:       "the name is no RFC 1123 subdomain, or ends in a kustomize name hash",
		Consequence: "The API server refuses a name that is no RFC 1123 subdomain. A name hash of kustomize changes with the content, and then no Migration finds its pair.",
		Fix:         "Use lower-case letters, digits, '-' and '.', at most 253, the same name as in `spec.clusterPair` of the Migrations. Do not ask kustomize for a hash (`kustomize.config.k8s.io/needs-hash`)."},
	{ID: "pair-namespace", Severity: Error, Needs: Clear, Group: groupShape, Whole: true,
		Title:       "the namespace is missing or no RFC 1123 label",
		Consequence: "A Migration finds a ClusterPair only in its own namespace. Without one, the pair lands in whatever namespace the one who applies it has.",
		Fix:         "Set `metadata.namespace` to the namespace of the Migrations that use the pair: lower-case letters, digits and '-', at most 63."},
	{ID: "unknown-field", Severity: Error, Needs: Clear, Group: groupShape,
		Title:       "a field that Stork does not have",
		Consequence: "Stork ignores the field and drops it at its next update, so what it should do never happens and GitOps sees a difference for ever.",
		Fix:         "Correct the name to the one that the hint gives, or remove the field.",
		Waivable:    "works without the field"},
	{ID: "required-field", Severity: Error, Needs: Clear, Group: groupShape, Whole: true,
		Title:       "a field is missing without which nothing works",
		Consequence: "Stork cannot build a client from the kubeconfig. The status of the pair stays empty for ever, without an event.",
		Fix:         "Add the field: `spec.config` needs clusters, contexts, users and `current-context`. `clusterpair generate` writes them all."},
	{ID: "duplicate-key", Severity: Error, Needs: Clear, Group: groupShape,
		Title:       "a key stands twice in one mapping",
		Consequence: "Readers of YAML disagree: some take the last value, some refuse the file. What a reviewer reads need not be what Stork gets.",
		Fix:         "Remove one of the two. Look for what a merge left behind."},
	{ID: "yaml", Severity: Error, Needs: Clear, Group: groupShape, OwnCheck: true,
		Title:       "the file cannot be read as YAML, or is too large",
		Consequence: "The file cannot be applied, and nothing in it can be judged.",
		Fix:         "Correct the line that the message names; look for conflict markers (`<<<<<<<`) and tabs. Files over 2 MiB are no manifests: split them."},
	{ID: "server-set-field", Severity: Error, Needs: Clear, Group: groupShape,
		Title:       "a field that only the cluster sets",
		Consequence: "A ClusterPair has no status subresource: each sync of a file with status overwrites what Stork has found out. The other fields make the API server refuse the object, or mean nothing.",
		Fix:         "Remove the field. storkctl and `kubectl get -o yaml` print it; `clusterpair generate` does not.",
		Waivable:    "works, and shows a false status after each sync"},
	{ID: "metadata-invalid", Severity: Error, Needs: Clear, Group: groupShape,
		Title:       "a label, annotation, finalizer, owner or other metadata that the API server refuses",
		Consequence: "The API server refuses the object, at the first sync or at the next one: nothing is paired, or what has changed never arrives.",
		Fix:         "Give labels, annotations and finalizers names, and labels values, of at most 63 letters, digits, dashes, underscores and dots; a name may have a domain and a slash in front, and all annotations together at most 256 KiB. An owner has `apiVersion`, `kind`, `name` and `uid`. Remove `uid`, `resourceVersion` and `managedFields` from the pair itself."},
	{ID: "config-list-form", Severity: Error, Needs: Clear, Group: groupShape, Undecodable: true,
		Title:       "clusters, contexts or users are lists, as in a kubeconfig file",
		Consequence: "Stork cannot decode the object. One such object stalls all ClusterPairs of the cluster, and Stork ends two minutes after its next start.",
		Fix:         "Write clusters, contexts and users as maps by name: `clusters: {NAME: {server: ...}}`. `clusterpair generate` converts a kubeconfig."},
	{ID: "config-not-object", Severity: Error, Needs: Clear, Group: groupShape, Undecodable: true,
		Title:       "spec.config is a text or a reference",
		Consequence: "Stork reads the kubeconfig itself from `spec.config` and follows no reference to a Secret. With a reference the status stays empty for ever; a text stops Stork for all ClusterPairs.",
		Fix:         "Let `clusterpair generate` read the Secret and put the kubeconfig here."},
	{ID: "null-entry", Severity: Error, Needs: Clear, Group: groupShape, Undecodable: true,
		Title:       "a cluster, context or user is null",
		Consequence: "A null cluster, context or user that is in use ends the Stork process, again at each start.",
		Fix:         "Remove the entry, or give it a value."},
	{ID: "extensions-present", Severity: Error, Needs: Clear, Group: groupShape, Undecodable: true,
		Title:       "extensions are not empty",
		Consequence: "client-go cannot decode any extension. One such object stalls all ClusterPairs of the cluster, and Stork ends two minutes after its next start. minikube and GKE write `extensions`, and `storkctl generate` passes them on.",
		Fix:         "Remove every `extensions` from `spec.config`. `clusterpair generate` leaves them out."},
	{ID: "kubeconfig-spelling", Severity: Error, Needs: Clear, Group: groupShape,
		Title:       "impersonation is spelled as in a kubeconfig file",
		Consequence: "Stork drops the impersonation and acts as the user itself, with other rights than were meant.",
		Fix:         "In a ClusterPair write `act-as`, `act-as-uid`, `act-as-groups` and `act-as-user-extra`. `clusterpair generate` translates."},
	{ID: "drifting-field", Severity: Warning, Needs: Clear, Group: groupShape,
		Title:       "a field that Stork adds or drops by itself",
		Consequence: "Stork adds and drops these fields when it updates the object, so GitOps tools may see a difference for ever. None of them does anything.",
		Fix:         "Remove the field. `clusterpair generate` does not write it.",
		Waivable:    "works without the field"},
	{ID: "value-type", Severity: Error, Needs: Clear, Group: groupShape, Undecodable: true,
		Title:       "a number or bool stands where a string belongs, or the other way round",
		Consequence: "Stork cannot decode the object: a number among the options, such as `port: 9001`, or a text where a bool belongs, stalls all ClusterPairs of the cluster. Without quotes y, n, on and off are bools.",
		Fix:         "Quote strings: `port: \"9001\"`, `name: \"on\"`. Write bools as true or false, without quotes."},
	{ID: "bad-base64", Severity: Error, Needs: Plaintext, Group: groupShape, Undecodable: true,
		Title:       "certificate or key data is not base64",
		Consequence: "Stork cannot decode the object. One such object stalls all ClusterPairs of the cluster, and Stork ends two minutes after its next start.",
		Fix:         "Encode the PEM text once, on one line: `base64 -w0 FILE`. `kubectl config view --raw --flatten` prints data so."},
	{ID: "placeholder-left", Severity: Error, Needs: Clear, Group: groupOptions,
		Title:       "a placeholder of storkctl or of a template is left",
		Consequence: "Stork takes the placeholder for a value. As an option it makes Stork 23.11 and later take the pair for an asynchronous one, and from 24.2 a failover does not fence the cluster domain.",
		Fix:         "For a pair over one fabric write `options: {}`. For two fabrics put ip, port and token there. Replace every `<...>` by its value."},
	{ID: "mode-unknown", Severity: Error, Needs: Clear, Group: groupOptions,
		Title:       "mode is none that Portworx knows",
		Consequence: "Portworx silently takes `Default` for a mode that it does not know.",
		Fix:         "Write `DisasterRecovery`, `OneTimeMigration` or `Default` exactly so, or remove mode on a pair over one fabric."},
	{ID: "mode-on-single-fabric", Severity: Error, Needs: Clear, Group: groupOptions, Whole: true,
		Title:       "a mode on a pair over one fabric",
		Consequence: "Before 2.9 Stork tries to pair storage and fails. From 23.11 it takes the pair for an asynchronous one: schedules wait for volumes for ever, and from 24.2 a failover does not fence the cluster domain, so that both clusters may write.",
		Fix:         "Write `options: {}`, as `storkctl create clusterpair --mode sync-dr` does. Set `storkVersion`, or `--stork-version`, if it is 2.9 to 23.10: there a mode does no harm.",
		Waivable:    "works with Stork 2.9 to 23.10"},
	{ID: "storage-options-left", Severity: Error, Needs: Clear, Group: groupOptions, Whole: true,
		Title:       "a storage option on a pair over one fabric",
		Consequence: "Without a token Stork pairs no storage, yet from 23.11 any option makes the pair an asynchronous one: schedules wait for volumes for ever, and from 24.2 a failover does not fence the cluster domain, so that both clusters may write.",
		Fix:         "Write `options: {}` for a pair over one fabric. For two fabrics give ip, port and token together.",
		Waivable:    "pairs, and is taken for an asynchronous pair on failover"},
	{ID: "storage-options-incomplete", Severity: Error, Needs: Clear, Group: groupOptions, Whole: true,
		Title:       "storage options without ip or token, or with an impossible port",
		Consequence: "With a token and no ip, or with a port that cannot be, storage pairing ends in Error. With an ip and no token Stork does not even try.",
		Fix:         "Give ip, token (`pxctl cluster token show` on the destination) and a port from 1 to 65535, all as strings. Remove all of them for a pair over one fabric."},
	{ID: "rancher-mapping", Severity: Error, Needs: Clear, Group: groupOptions,
		Title:       "Rancher project mappings are malformed, or not inverse in the two directions",
		Consequence: "Migrated namespaces land in a wrong Rancher project, or in none. If the two directions are not inverse, a failback does not bring them home.",
		Fix:         "Map PROJECT to PROJECT, or CLUSTER:PROJECT to CLUSTER:PROJECT, and in the other direction each one back."},
	{ID: "plaintext-credential", Severity: Error, Needs: Clear, Group: groupSOPS, Whole: true, OwnCheck: true,
		Title:       "a credential stands in a file in clear",
		Consequence: "Whoever reads the repository, a clone or a backup of it has the credential. A later commit does not take it back.",
		Fix:         "Run `clusterpair encrypt -i FILE` before you commit. If it was ever pushed, revoke the credential on the destination and make a new one."},
	{ID: "leaf-not-encrypted", Severity: Error, Needs: Clear, Group: groupSOPS, Seal: true,
		Title:       "a value that SOPS should have encrypted is in clear",
		Consequence: "Whoever can write to Git can put a server of their own here without any key: Flux does not check the MAC, and Stork sends the credential there.",
		Fix:         "Restore the file from Git history, or render it anew: `clusterpair generate`."},
	{ID: "encryption-scope", Severity: Error, Needs: Clear, Group: groupSOPS, Seal: true,
		Title:       "the sops section encrypts other values than the creation rule says",
		Consequence: "What the selector leaves out stands in clear, or reaches Stork as ciphertext, which stops it. Whoever can write to Git can narrow the selector without a key.",
		Fix:         "Restore the sops section from Git history, or render the pair anew: `clusterpair generate`. The selector belongs into the creation rule: `encrypted_regex: ^(config|token)$`."},
	{ID: "metadata-encrypted", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title:       "what reviewers need to read is encrypted",
		Consequence: "Nobody can review which pair changes. The API server does not know an encrypted kind, and patches of kustomize pass by without effect.",
		Fix:         "Encrypt with `encrypted_regex: ^(config|token)$` in `.sops.yaml`, then run `clusterpair encrypt -i FILE` on the plaintext."},
	{ID: "ambiguous-path", Severity: Error, Needs: Clear, Group: groupSOPS, Seal: true,
		Title:       "a key holds a colon or ends in _unencrypted",
		Consequence: "SOPS binds a value to its path joined by colons, so with a colon in a name (an EKS ARN has some) values can be moved to another path. A name that ends in `_unencrypted` stays in clear by default.",
		Fix:         "Render the pair with `clusterpair generate`, which renames clusters, contexts and users."},
	{ID: "recipients-drift", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title:       "the recipients are not those of the creation rule",
		Consequence: "Somebody who should read the pair cannot, or somebody who should not any more still can.",
		Fix:         "`sops updatekeys FILE` adds recipients. To remove one, run `clusterpair generate`, which makes a new data key, and renew the credential: the one removed has read it."},
	{ID: "no-creation-rule", Severity: Error, Needs: Clear, Group: groupSOPS,
		Title:       "no creation rule matches the file",
		Consequence: "Nothing says for whom the file is to be encrypted, so that neither generate nor a reviewer can tell whether its recipients are right.",
		Fix:         "Add a rule to `creation_rules` in `.sops.yaml` whose `path_regex` matches the file.",
		Waivable:    "decrypts; nothing says for whom it should be encrypted"},
	{ID: "reader-of-another-cluster", Severity: Error, Needs: Run, Group: groupSOPS,
		Title:       "another source cluster can decrypt the pair",
		Consequence: "Who has that cluster has the credential of the destination of this pair, too. Recipients that all source clusters have in common, as of CI and of recovery, are no breach, nor is one key for several clusters.",
		Fix:         "Take the recipient out of the creation rule, run `clusterpair generate`, which makes a new data key, and renew the credential: it could have been read.",
		Waivable:    "works; two clusters hold its credential"},
	{ID: "shadowed-rule", Severity: Error, Needs: Run, Group: groupSOPS,
		Title:       "an earlier creation rule takes the files of a later one",
		Consequence: "SOPS takes the first rule whose `path_regex` matches: `^clusters/c00` takes in `clusters/c003`, whatever a later rule says. The files are encrypted for the wrong recipients, who can read them.",
		Fix:         "Put the more specific rule first, or end `path_regex` with `/`. Then run `clusterpair generate`, and renew what the others could read.",
		Waivable:    "decrypts, for those whom the earlier rule names"},
	{ID: "single-recipient", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:       "one lost key loses the pair",
		Consequence: "There is one recipient, or one without whose key too few key groups are left for the threshold. If that one key is lost, so is the pair, in the middle of a disaster perhaps.",
		Fix:         "Add a second recipient whose key is kept offline to `.sops.yaml`, then run `sops updatekeys FILE`.",
		Waivable:    "decrypts as long as the only key is not lost"},
	{ID: "post-quantum-mixed", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:       "a post-quantum recipient stands beside a classic one",
		Consequence: "The pair is only as safe as the key of the classic recipient: who records the repository today and breaks that key with a quantum computer later reads the credential. `age` refuses such a mix, SOPS writes it.",
		Fix:         "Name in the creation rule recipients that begin with `age1pq1` alone, as `age-keygen -pq` makes them, or none of them. Then run `clusterpair generate`.",
		Waivable:    "decrypts, with the key of either recipient"},
	{ID: "mac-missing", Severity: Error, Needs: Clear, Group: groupSOPS, Seal: true,
		Title:       "the sops section has no MAC",
		Consequence: "Flux does not take the file for encrypted and applies the ciphertext, which stalls all ClusterPairs of the cluster. sops refuses it.",
		Fix:         "Restore the file from Git history, or render it anew: `clusterpair generate`."},
	{ID: "mac-mismatch", Severity: Error, Needs: Plaintext, Group: groupSOPS,
		Title:       "the MAC does not verify",
		Consequence: "The file was changed after it was encrypted. sops and Argo CD plugins refuse it; Flux does not look and applies what it finds.",
		Fix:         "Find out who changed it: `git log -p FILE`. Then restore it, or render it anew: `clusterpair generate`."},
	{ID: "annotation-drift", Severity: Error, Needs: Plaintext, Group: groupSOPS,
		Title:       "an annotation in clear is not what the encrypted kubeconfig says",
		Consequence: "CI judges a pair without a key by its annotations: a wrong date hides that the credential has ended, a wrong CA that the destination is another one. The MAC does not cover them.",
		Fix:         "Render the pair anew: `clusterpair generate`. Find out who changed the annotation: `git log -p FILE`."},
	{ID: "mac-fragile", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:       "kustomize build would break the MAC",
		Consequence: "kustomize build sorts keys and may change metadata. Either breaks the MAC, so that sops and Argo CD plugins refuse the result.",
		Fix:         "Render the pair with `clusterpair generate`, or set `mac_only_encrypted: true` in the creation rule, sort keys alphabetically and encrypt again.",
		Waivable:    "decrypts until kustomize or a reformatter touches the file"},
	{ID: "one-document", Severity: Error, Needs: Clear, Group: groupSOPS, Seal: true,
		Title:       "several documents stand in an encrypted file",
		Consequence: "sops decrypts a file with the sops section of its first document, and fails. kustomize takes a List apart and loses its sops section: ciphertext reaches Stork and stalls all ClusterPairs.",
		Fix:         "Give each ClusterPair a file of its own.",
		Waivable:    "works with Flux, which reads a sops section in each document"},
	{ID: "rotation-due", Severity: Warning, Needs: Clear, Group: groupSOPS,
		Title:       "the file was last encrypted longer ago than --max-age, or in the future",
		Consequence: "Everybody who could ever read the file may still have its data key and the credential.",
		Fix:         "`sops rotate -i FILE` makes a new data key. Renew the credential on the destination and render the pair anew: `clusterpair generate`.",
		Waivable:    "works with the old data key"},
	{ID: "sops-malformed", Severity: Error, Needs: Clear, Group: groupSOPS, Seal: true,
		Title:       "the file is no SOPS file, or damaged",
		Consequence: "Nobody can decrypt the file. Flux either fails or applies the ciphertext, which stalls all ClusterPairs of the cluster.",
		Fix:         "Restore the file from Git history, or render it anew: `clusterpair generate`."},
	{ID: "context-broken", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Whole: true,
		Title:       "the context, or its cluster or user, is missing",
		Consequence: "Stork cannot build a client, and the status of the pair stays empty for ever, without an event. With a missing user it goes without credentials, calls the pair Ready and fails at the first migration.",
		Fix:         "Set `current-context` to a context whose cluster and user are there: `kubectl config get-contexts` lists them. `destination.context` picks another one."},
	{ID: "server-invalid", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Whole: true,
		Title:       "the server is no https URL of a host",
		Consequence: "Without https client-go sends no credential at all, and what is no URL it refuses. The pair never works.",
		Fix:         "Write `server: https://HOST:6443`, without user, query or fragment. `destination.server` overrides it."},
	{ID: "server-loopback", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the server is the Stork pod itself",
		Consequence: "Stork runs on the source cluster: the address leads to its own pod or node, not to the destination. The pair ends in Error, or worse, reaches the source itself.",
		Fix:         "Set `destination.server` to the address by which the source cluster reaches the destination.",
		Waivable:    "works when the Stork pod has a tunnel at that address"},
	{ID: "server-private", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the server's name or address belongs to one network",
		Consequence: "The source cluster may not be able to resolve the name or to reach the address. Then the pair ends in Error.",
		Fix:         "Set `destination.server` to an address that the source cluster reaches. Try it from a pod there: `curl -k https://HOST:6443/version`.",
		Waivable:    "works when the source cluster reaches that address"},
	{ID: "server-proxied", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the server is reached through a proxy",
		Consequence: "The pair fails when the proxy does (Rancher, vCluster Platform, Karmada, a connect gateway), which may be in the same disaster. A Rancher token ends with Rancher's own settings.",
		Fix:         "Use the address of the API server itself and the token of a service account there. Check that the Stork pod reaches a proxy that has to be.",
		Waivable:    "works as long as the proxy does"},
	{ID: "tls-skipped", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the server's certificate is not verified",
		Consequence: "Stork gives the credential to whoever answers at the server's address.",
		Fix:         "Remove `insecure-skip-tls-verify` and add `certificate-authority-data`: `kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' | base64 -w0`.",
		Waivable:    "works, and hands the credential to whoever answers"},
	{ID: "ca-missing", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Whole: true,
		Title:       "there is no CA",
		Consequence: "Stork trusts only the public CAs of its image. A cluster's own CA is not among them, so that the pair ends in Error.",
		Fix:         "Add `certificate-authority-data`: `kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' | base64 -w0`.",
		Waivable:    "works when a public CA that the Stork image knows has signed the server's certificate"},
	{ID: "ca-invalid", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the CA is not one, or has expired",
		Consequence: "client-go refuses the kubeconfig, or no certificate of the server verifies. The pair never works.",
		Fix:         "Give the certificate in PEM of the CA that signed the server's, as base64: `kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' | base64 -w0`. Remove `insecure-skip-tls-verify` beside it."},
	{ID: "ca-pinned", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the server's own certificate stands in place of its CA",
		Consequence: "The pair works until the server gets another certificate, at its next renewal. Then it fails, while Stork still calls it Ready.",
		Fix:         "Give the CA that signed the certificate: `kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' | base64 -w0`. If the certificate signs itself, renew the pair with it.",
		Waivable:    "works until the server gets another certificate"},
	{ID: "file-reference", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "a file is named, which would be looked up in the Stork pod",
		Consequence: "Stork looks up the path in the file system of its own pod. The file is not there, and the status of the pair stays empty for ever.",
		Fix:         "Put the content itself there: `kubectl config view --raw --flatten --minify` prints a kubeconfig so, but for `tokenFile`: write what is in that file as `token`."},
	{ID: "exec-credential", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the credential comes from a command",
		Consequence: "Stork runs the command inside its pod, with the pod's cloud credentials. A command that the image lacks ends in Error, and how the user is spelled depends on the Stork release.",
		Fix:         "Use the token of a service account. If it must be a command, take aws, aws-iam-authenticator, gcloud, gke-gcloud-auth-plugin, kubelogin or oci, set `interactiveMode: Never` and `storkVersion`, and allow the rule with a reason.",
		Waivable:    "works when the Stork pod can run the command and has its cloud credentials"},
	{ID: "auth-provider", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the credential comes from an auth provider",
		Consequence: "An auth provider keeps its tokens in a kubeconfig file, and Stork has none: where client-go still knows the provider, the pair works until the token ends. Where it does not, the status of the pair stays empty for ever.",
		Fix:         "Use the token of a service account: `kubectl create token SERVICEACCOUNT --duration 720h`."},
	{ID: "no-credential", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Whole: true,
		Title:       "the user has no credential",
		Consequence: "Stork calls the pair Ready, because anyone may ask for the version, and fails at the first migration.",
		Fix:         "Make a service account on the destination and use its token: `kubectl create token SERVICEACCOUNT --duration 720h`.",
		Waivable:    "works when the destination lets anonymous requests do all that Stork does"},
	{ID: "several-credentials", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the user has credentials that exclude each other",
		Consequence: "client-go refuses the kubeconfig, or takes another credential than the one meant. The status of the pair stays empty for ever.",
		Fix:         "Keep one of token, username with password, and exec."},
	{ID: "basic-auth", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the user has a name and a password",
		Consequence: "No API server since 1.19 accepts passwords: Stork calls the pair Ready all the same, because anyone may ask for the version, and fails at the first migration.",
		Fix:         "Use the token of a service account: `kubectl create token SERVICEACCOUNT --duration 720h`.",
		Waivable:    "works with a proxy that takes passwords; no API server since 1.19 does"},
	{ID: "certificate-invalid", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Whole: true,
		Title:       "the client certificate cannot be used",
		Consequence: "client-go refuses the kubeconfig, or the API server refuses the certificate. The pair never works.",
		Fix:         "Take certificate and key from one kubeconfig, the key unencrypted and the certificate for clientAuth. Check it: `openssl x509 -in client.crt -noout -text`."},
	{ID: "credential-expired", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Verdict: "Expired",
		Title:       "the credential has ended, or has not begun",
		Consequence: "The API server refuses the credential. A new pair ends in Error; an old one stays Ready, and the next migration or failover fails.",
		Fix:         "Renew it on the destination (`kubectl create token SERVICEACCOUNT --duration 720h`) and render the pair anew: `clusterpair generate`. If it has not begun, check the clock.",
		Waivable:    "works again when the credential has been renewed in place, or a clock put right"},
	{ID: "credential-expiring", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig, Verdict: "Expiring",
		Title:       "the credential ends soon",
		Consequence: "After that date migrations and failover fail, while Stork still calls the pair Ready.",
		Fix:         "Renew it on the destination (`kubectl create token SERVICEACCOUNT --duration 720h`) and render the pair anew: `clusterpair generate`.",
		Waivable:    "works until then"},
	{ID: "credential-end-unknown", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the credential ends soon, and nothing tells when",
		Consequence: "A login token lives hours or days by its issuer's default, and one that is bound to a pod ends with the pod. Then migrations and failover fail, while Stork still calls the pair Ready; `clusterpair expiring` cannot tell before.",
		Fix:         "Use the token of a service account that says when it ends: `clusterpair credential create --context DESTINATION -o FILE`, or `kubectl create token SERVICEACCOUNT --duration 720h`.",
		Waivable:    "works until the credential ends, or for good where the issuer's default was changed"},
	{ID: "credential-unbounded", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the credential never ends, or cannot be revoked",
		Consequence: "Whoever gets hold of it once has the destination for as long as it lives: a certificate of `system:masters` passes every access check and cannot be revoked.",
		Fix:         "Use the token of a service account with only the rights that Stork needs, with an end: `kubectl create token SERVICEACCOUNT --duration 720h`, renewed by a job.",
		Waivable:    "works for as long as nobody takes the credential"},
	{ID: "token-malformed", Severity: Error, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "the token cannot be sent",
		Consequence: "No HTTP header can carry the token, or the API server does not know it in this form. The pair ends in Error.",
		Fix:         "Put the token itself on one line, without Bearer, decoded once from its Secret: `kubectl get secret NAME -o jsonpath='{.data.token}' | base64 -d`. `kubectl config view` needs `--raw` to print it."},
	{ID: "weak-key", Severity: Warning, Needs: Plaintext, Group: groupKubeconfig,
		Title:       "a key or signature is weak",
		Consequence: "Clients and servers have begun to refuse such keys and signatures: an update of either side can end the pair.",
		Fix:         "Issue the certificate with 2048 bits of RSA or more, or with ECDSA, signed with SHA-256.",
		Waivable:    "works as long as the server accepts the key"},
	{ID: "still-encrypted", Severity: Error, Needs: Plaintext, Group: groupKubeconfig, Verdict: "Encrypted",
		Title:       "a value is still encrypted by SOPS",
		Consequence: "Stork cannot decode ciphertext in certificate data, which stalls all ClusterPairs of the cluster. A token of ciphertext decodes silently and never works.",
		Fix:         "Run `sops decrypt FILE` first, or leave decrypting to Flux (`spec.decryption`) or to a ClusterPairDecryptor."},
	{ID: "self-pair", Severity: Error, Needs: Run, Group: groupPairs,
		Title:       "the destination is the source",
		Consequence: "The cluster is paired with itself: migrations and failover copy to where the data already is, and nothing is protected. Two servers under one CA, as of a proxy or of a company, are no breach.",
		Fix:         "Render the pair from the kubeconfig of the other cluster.",
		Waivable:    "works, and protects nothing"},
	{ID: "duplicate-pair", Severity: Error, Needs: Run, Group: groupPairs,
		Title:       "two ClusterPairs of one name go to one cluster",
		Consequence: "The one that is applied last wins, and each sync may swap them.",
		Fix:         "Rename or remove one of the two.",
		Waivable:    "works when the files go to different clusters"},
	{ID: "reverse-missing", Severity: Warning, Needs: Run, Group: groupPairs,
		Title:       "a pair for both directions has no counterpart",
		Consequence: "Failback reads the pair of the same name and namespace on the destination. Without it there is no way back after a failover.",
		Fix:         "Render a pair of the same name and namespace for the other cluster, or remove the annotation `clusterpair.dev/bidirectional`.",
		Waivable:    "works in one direction"},
	{ID: "mode-asymmetric", Severity: Error, Needs: Run, Group: groupPairs,
		Title:       "the two directions have different modes",
		Consequence: "Stork judges by the options whether a pair is asynchronous. With one direction of each kind, failover and failback treat the cluster domains differently, and one of them does not fence.",
		Fix:         "Give both directions the same mode, and both storage options or none.",
		Waivable:    "works in the direction whose mode is right"},
	{ID: "shared-credential", Severity: Warning, Needs: Run, Group: groupPairs,
		Title:       "one credential is used by several source clusters",
		Consequence: "It cannot be revoked for one source cluster without cutting off the others, and the audit log of the destination does not tell them apart.",
		Fix:         "Make a service account on the destination for each source cluster.",
		Waivable:    "works; one leak opens the destination to all of them"},
	{ID: "orphan-pair", Severity: Warning, Needs: Run, Group: groupPairs,
		Title:       "no config renders the pair any more",
		Consequence: "A config was removed or renamed, or its output has moved. Nothing renews the credential of the pair that it has left, nothing removes it, and whoever has a key of it still reads the credential.",
		Fix:         "Remove the file (`rm FILE`) if no cluster uses it, and end its credential. Otherwise bring the config back, or render the pair with another one.",
		Waivable:    "works until its credential ends"},
	{ID: "not-rendered", Severity: Warning, Needs: Run, Group: groupPairs,
		Title:       "the pairs of a config are stale, or not there",
		Consequence: "Nobody has run `clusterpair generate` since the config, a Secret or the recipients have changed, somebody has edited a rendered file, or the output is a link or a file, which is not followed. What is applied is not what the config says, and a check that is green has not checked that. Whether a pair is stale its annotation `clusterpair.dev/source` tells, without a key.",
		Fix:         "Render the pairs and commit them: `clusterpair generate`.",
		Waivable:    "what was rendered last stays in use"},
	{ID: "migration-reference", Severity: Error, Needs: Run, Group: groupPairs,
		Title:       "a migration names a ClusterPair that is not there",
		Consequence: "A Migration finds a ClusterPair only in its own namespace, and an `adminClusterPair` in the admin namespace (`kube-system` unless set). Otherwise it fails at its start; before Stork 25.5 one with an `adminClusterPair` alone never starts. kustomize, with `namePrefix`, renames a ClusterPair and not what names it.",
		Fix:         "Name a ClusterPair of that namespace, or move the pair or the Migration. For kustomize list the field under `configurations`, as a `nameReference`.",
		Waivable:    "works when the pair comes from elsewhere"},
	{ID: "migration-volumes", Severity: Error, Needs: Run, Group: groupPairs,
		Title:       "a migration over one fabric would move volumes",
		Consequence: "Over one fabric both clusters share the volumes. Stork waits for a storage status that never comes, and the migration never starts.",
		Fix:         "Set `includeVolumes: false`. It is true where it is not set."},
	{ID: "migration-namespace", Severity: Error, Needs: Run, Group: groupPairs,
		Title:       "a migration lists namespaces other than its own",
		Consequence: "Outside the admin namespace Stork refuses a Migration that lists other namespaces than its own.",
		Fix:         "List its own namespace only, or move the Migration to the admin namespace (`kube-system` unless set)."},
	{ID: "schedule-policy", Severity: Error, Needs: Run, Group: groupPairs, Whole: true,
		Title:       "a schedule policy is unknown or has no policy",
		Consequence: "A MigrationSchedule without a policy that Stork can read never runs, and nothing is copied until somebody looks. A `default-migration-policy` without an interval ends Stork at each start.",
		Fix:         "Name a SchedulePolicy that is there, or a built-in one such as `default-migration-policy`. A SchedulePolicy has `policy:` at the top, and no `spec:`.",
		Waivable:    "works when the policy comes from elsewhere"},
	{ID: "flux-decryption", Severity: Error, Needs: Run, Group: groupGitOps, OwnCheck: true,
		Title:       "Flux applies encrypted pairs as they are",
		Consequence: "Flux reports Ready and applies the ciphertext with its sops section. That stalls all ClusterPairs of the cluster, and Stork ends two minutes after its next start.",
		Fix:         "Add to the Kustomization: `spec: {decryption: {provider: sops, secretRef: {name: sops-age}}}`.",
		Waivable:    "works when a patch adds spec.decryption"},
	{ID: "flux-recipient", Severity: Error, Needs: Run, Group: groupGitOps,
		Title:       "Flux has no use for the keys of a pair's recipients",
		Consequence: "Flux decrypts with the private keys of age, PGP or a cloud. It reads no SSH keys and runs no plugins of age, and before kustomize-controller 1.9, which came with Flux 2.9, it reads no post-quantum keys. If there is no other recipient the Kustomization fails, and with it all that it applies.",
		Fix:         "Make an age key for the cluster: `age-keygen -o FILE`. Add its recipient to the creation rule, and render the pair anew.",
		Waivable:    "works where Flux is new enough"},
	{ID: "flux-function", Severity: Error, Needs: Run, Group: groupGitOps, OwnCheck: true,
		Title:       "Flux builds a kustomization with a function",
		Consequence: "Flux has functions turned off: the Kustomization ends in BuildFailed, and what changes in the folder is not applied any more.",
		Fix:         "Commit what `clusterpair generate` renders, and let `spec.path` name its folder. Flux decrypts it by itself."},
	{ID: "flux-health", Severity: Warning, Needs: Run, Group: groupGitOps, OwnCheck: true,
		Title:       "Flux does not look at the status of the pairs",
		Consequence: "Flux takes a ClusterPair for healthy as soon as it is applied, also one whose status is Error or stays empty.",
		Fix:         "Set `spec.wait: true` and `healthCheckExprs` for kind ClusterPair with current: `status.schedulerStatus == 'Ready' && status.storageStatus in ['NotProvided', 'Ready']`.",
		Waivable:    "syncs, and reports success for a pair that does not work"},
	{ID: "argo-plaintext", Severity: Info, Needs: Run, Group: groupGitOps,
		Title:       "Argo CD decrypts pairs in the repo-server",
		Consequence: "The ClusterPairs stay in clear in the cache of the repo-server. They are no Secrets, so Argo CD does not mask them in its user interface.",
		Fix:         "Keep the cache and the view of these applications to those who may have the credential, or let Flux decrypt inside the source cluster.",
		Waivable:    "works; the repo-server keeps the plaintext in its cache"},
	{ID: "argo-decryption", Severity: Error, Needs: Run, Group: groupGitOps, OwnCheck: true,
		Title:       "Argo CD applies encrypted pairs as they are",
		Consequence: "Argo CD has no decryption of its own and applies the ciphertext with its sops section. That stalls all ClusterPairs of the cluster, and Stork ends two minutes after its next start.",
		Fix:         "List the files under `spec.files` of a ClusterPairDecryptor among the generators of a kustomization, and take them out of its resources.",
		Waivable:    "works when a plugin of the repo-server decrypts"},
	{ID: "engine-decryption", Severity: Error, Needs: Run, Group: groupGitOps,
		Title:       "an engine that decrypts nothing applies encrypted pairs",
		Consequence: "Helm, Rancher Fleet, Sveltos and Open Cluster Management decrypt nothing: they apply the ciphertext with its sops section. That stalls all ClusterPairs of the cluster, and Stork ends two minutes after its next start.",
		Fix:         "Let Flux apply the pair by a Kustomization with `spec.decryption`, or Argo CD with a plugin that decrypts."},
	{ID: "pair-ignored", Severity: Error, Needs: Run, Group: groupGitOps,
		Title:       "an engine does not apply the pair, or never changes it again",
		Consequence: "A setting of Flux or Argo CD, or a `.sourceignore`, keeps the ClusterPair, or a credential that was renewed, away from the cluster, and both report success. The pair works until its old credential ends. At a function config or a fleet among what they apply they fail: no API server knows its kind.",
		Fix:         "Remove the annotation, label or setting that the message names. Move a config out of the folder that is applied, or give it the annotation `config.kubernetes.io/local-config: \"true\"`, by which kustomize leaves it out. Commit a file in place of a symbolic link, and take a file in again by a line `!/FILE` in `.sourceignore`.",
		Waivable:    "works while something else applies the pair"},
	{ID: "config", Severity: Error, Needs: Clear, Group: groupInput,
		Title:       "a function config is wrong",
		Consequence: "clusterpair does not know what to do and writes nothing.",
		Fix:         "Correct the field that the message names. `schema/config.cue` documents them all."},
	{ID: "fleet", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a ClusterPairFleet contradicts itself, or what its Secrets say",
		Consequence: "Which pairs are meant is not known: a name or a label is mistyped, two rules disagree, or one cluster has two names, so that it would be paired with itself. Nothing is written.",
		Fix:         "Correct the line that the message names. `schema/fleet.cue` documents every field."},
	{ID: "fleet-idle", Severity: Warning, Needs: Input, Group: groupInput,
		Title:       "a part of a ClusterPairFleet has no effect",
		Consequence: "A cluster that somebody believes to be paired is not: a label is mistyped, an exception has ended or leaves nothing out.",
		Fix:         "Correct the part that the message names, or remove it.",
		Waivable:    "pairs all other clusters"},
	{ID: "policy", Severity: Error, Needs: Clear, Group: groupInput,
		Title:       "the document breaks a policy given with --policy",
		Consequence: "Stork may take the pair; the organisation that wrote the policy does not want it.",
		Fix:         "Do what the message says, or look at the line of the policy that it names.",
		Waivable:    "depends on the policy"},
	{ID: "waiver", Severity: Error, Needs: Clear, Group: groupInput,
		Title:       "a waiver has no reason, waives nothing, or may not be",
		Consequence: "A waiver without a reason tells an auditor nothing, one that waives nothing hides the next breach, and one of a rule that stops Stork or hands out a credential is not heard.",
		Fix:         "Write `# clusterpair:ignore RULE REASON` above the line that it is for. Remove it when nothing breaks the rule any more."},
	{ID: "no-key", Severity: Info, Needs: Plaintext, Group: groupInput,
		Title:       "no key decrypts the file",
		Consequence: "What the file hides was not judged: whether the server, the CA and the credential are right.",
		Fix:         "Run where a key is at hand: set `SOPS_AGE_KEY_FILE`, or give sops the access to its key service.",
		Waivable:    "is judged by what can be read without a key"},
	{ID: "secret-missing", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a Secret or file with a kubeconfig is not there",
		Consequence: "There is no kubeconfig to render the pair from. Nothing is written.",
		Fix:         "Add the Secret's manifest or the kubeconfig to `spec.files`, or correct the name and namespace under `destination.secret`."},
	{ID: "secret-ambiguous", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "several Secrets could be meant",
		Consequence: "A pair could be rendered for another cluster than the one meant. Nothing is written.",
		Fix:         "Name the Secret with its namespace under `destination.secret`, or keep one of the two in `spec.files`."},
	{ID: "secret-key", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "it is open which value of a Secret is the kubeconfig",
		Consequence: "The pair could be rendered from a wrong or an old kubeconfig. Nothing is written.",
		Fix:         "Name the key: `destination.secret: {name: NAME, key: value}`."},
	{ID: "output-taken", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a file stands where a pair would be written",
		Consequence: "clusterpair does not overwrite a file that it has not made: it may be somebody's only copy.",
		Fix:         "Move the file away, or write to another place with `--output` or `spec.output`."},
	{ID: "bulk-removal", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a run would remove many pairs at once",
		Consequence: "A typo in a label or a name makes a config list fewer pairs, and what is removed from Git is removed from the cluster, with the failover that needs it. Nothing is written.",
		Fix:         "Look for what was changed by mistake. If the pairs are to go, say how many: `clusterpair generate --remove N`."},
	{ID: "pair-in-use", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a run would remove a pair that a migration names",
		Consequence: "Stork reads the pair again and again while a migration runs, and a schedule for each that it begins: without it they fail in their midst, and so does a failover. Nothing is written.",
		Fix:         "List the pair again. If it is to go, first remove the Migration, MigrationSchedule or Action that names it, and let the cluster sync that. A warning says that another pair of the name stays, which may be the one that is meant."},
	{ID: "encrypted-already", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a file to encrypt is encrypted already",
		Consequence: "A second encryption would bury the first: nobody decrypts twice. Nothing is written.",
		Fix:         "`sops updatekeys FILE` changes recipients, `sops rotate -i FILE` the data key. To encrypt it anew, decrypt it first: `clusterpair decrypt FILE`."},
	{ID: "file-format", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "sops could not read an encrypted file of this name",
		Consequence: "sops takes the format from the end of the name: .yaml and .yml, .json, .env and .ini; all else it encrypts as a whole. What does not fit its name `sops decrypt`, `sops updatekeys` and KSOPS cannot read, and a whole that holds an object nobody can apply.",
		Fix:         "Give the file another name, as the hint says."},
	{ID: "not-encrypted", Severity: Error, Needs: Input, Group: groupInput,
		Title:       "a file to decrypt is not encrypted",
		Consequence: "There is nothing to decrypt, and perhaps a credential has been in clear all the time.",
		Fix:         "Run `clusterpair encrypt -i FILE`, and renew the credential if the file was ever pushed."},
	{ID: "unreachable", Severity: Error, Needs: Live, Group: groupLive, Verdict: "Unreachable",
		Title:       "the API server of the destination does not answer",
		Consequence: "Stork sets the pair to `Error`, and every migration over it fails. If it was `Ready` before, it stays `Ready`: Stork does not look again. For a destination that takes the request and answers nothing Stork waits without limit: the status stays empty, and ten of these stall all pairs of the cluster.",
		Fix:         "Follow the message: the name, the route, the port, then the server. Stork reaches the destination from its own network, so try from there, too."},
	{ID: "tls-mismatch", Severity: Error, Needs: Live, Group: groupLive, Verdict: "Unreachable",
		Title:       "the certificate of the API server is not the one that the kubeconfig expects",
		Consequence: "Stork refuses the connection, or somebody else answers in place of the destination.",
		Fix:         "Take `certificate-authority-data` from the cluster that is meant, or set `destination.tlsServerName` to a name in its certificate. Never skip the verification."},
	{ID: "unauthorized", Severity: Error, Needs: Live, Group: groupLive, Verdict: "Refused",
		Title:       "the destination does not accept the credential",
		Consequence: "Migrations fail with 401. The pair may go on saying `Ready`, as anybody may ask for the version of a cluster.",
		Fix:         "Make a new credential and render the pair again: `clusterpair credential rotate`."},
	{ID: "missing-permission", Severity: Error, Needs: Live, Group: groupLive,
		Title:       "the credential may not do what a migration has to do",
		Consequence: "The migration fails in the middle: part of the application stands on the destination. The pair says `Ready`.",
		Fix:         "Bind a role with the verbs and resources of the message: `clusterpair credential create` prints one."},
	{ID: "too-much-permission", Severity: Warning, Needs: Live, Group: groupLive,
		Title:       "the credential may do everything",
		Consequence: "Whoever reads the pair on the source cluster rules the destination, its Secrets included.",
		Fix:         "Give Stork a service account of its own with the role of a migration: `clusterpair credential create --rbac migrate`."},
	{ID: "stork-missing", Severity: Error, Needs: Live, Group: groupLive,
		Title:       "a cluster does not know Stork's resources",
		Consequence: "The source cannot hold a ClusterPair, or the destination cannot take migration schedules over.",
		Fix:         "Install Stork on both clusters, in releases that belong together."},
	{ID: "stork-version", Severity: Warning, Needs: Live, Group: groupLive,
		Title:       "the Stork of the cluster is not the one that the pair was made for",
		Consequence: "What the options of the pair mean changes with the release: an old mode may be ignored, or stop the fencing on failover.",
		Fix:         "Set `spec.storkVersion` of the config to the release that runs, and render again."},
	{ID: "pair-missing", Severity: Error, Needs: Live, Group: groupLive, Verdict: "Missing",
		Title:       "the pair is not in the cluster",
		Consequence: "Nothing is paired, and each Migration that names the pair fails.",
		Fix:         "Look why Flux or Argo CD does not apply the file that the message names; or correct the name, the namespace or the context that you asked for."},
	{ID: "server-certificate-expiring", Severity: Warning, Needs: Live, Group: groupLive,
		Title:       "the certificate of the API server ends soon",
		Consequence: "From then on Stork refuses the connection, and every migration fails.",
		Fix:         "Renew it on the destination: `kubeadm certs renew apiserver`, or as its distribution does."},
	{ID: "server-version", Severity: Warning, Needs: Live, Group: groupLive,
		Title:       "the two clusters are more than three Kubernetes releases apart",
		Consequence: "Stork sends objects in the API versions of the source. A destination that does not serve them refuses them.",
		Fix:         "Bring the releases closer together before a failover needs them."},
	{ID: "pair-not-ready", Severity: Error, Needs: Live, Group: groupLive, Verdict: "NotReady",
		Title:       "Stork says that the pair does not work",
		Consequence: "No migration runs over it.",
		Fix:         "Read the event that the message quotes, then ask the destination itself: `clusterpair preflight -n NAMESPACE NAME`."},
	{ID: "pair-stuck", Severity: Error, Needs: Live, Group: groupLive, Verdict: "Stuck",
		Title:       "Stork says nothing about the pair",
		Consequence: "Its kubeconfig cannot be used, which Stork only logs, or Stork waits without limit for a destination that answers nothing: ten of these stall all pairs of the cluster. Or a pair that Stork cannot decode stalls all, and Stork exits at its next start.",
		Fix:         "Remove or mend the pair that the message names. If it names none, check this one: `clusterpair preflight -n NAMESPACE NAME`."},
	{ID: "pair-stale", Severity: Warning, Needs: Live, Group: groupLive, Verdict: "Stale",
		Title:       "Ready is older than the credential",
		Consequence: "Stork has not looked since the pair was changed: `Ready` says nothing about the new credential.",
		Fix:         "Let Stork look again: `clusterpair status --recheck -n NAMESPACE NAME`."},
	{ID: "credential-drift", Severity: Error, Needs: Live, Group: groupLive,
		Title:       "what is live is not what Git says",
		Consequence: "A failover would use a credential that nobody has reviewed, or an old one.",
		Fix:         "Let Flux or Argo CD sync again, or take the change into Git: `clusterpair import`, then `clusterpair generate`."},
}
