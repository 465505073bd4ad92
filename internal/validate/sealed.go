package validate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/readers"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// sealed judges what SOPS says in clear of an encrypted ClusterPair, and gives it,
// nil if it is malformed. policy is what its creation rule says; it may be nil.
func (f *fileRun) sealed(n *yaml.Node, policy *sopsfile.Policy) *sopsfile.Metadata {
	sops := manifest.Field(n, "sops")
	if mac := manifest.Field(sops, "mac"); mac != nil && mac.ShortTag() == "!!null" {
		// To the schema null is a value of the wrong type, to Flux it is none.
		f.findings = slices.DeleteFunc(f.findings, func(g report.Finding) bool { return g.Position == f.position(mac) })
		f.add(mac, "sops.mac", "mac-missing", report.Error, "mac is null: changes by those who have no key go unnoticed", f.restored())
	}
	// A selector by comments, as the schema has said.
	f.misselected = slices.ContainsFunc(f.findings, func(g report.Finding) bool { return g.Rule == "encryption-scope" })
	m, err := sopsfile.ReadMetadata(n, f.file.Name)
	var malformed *sopsfile.MalformedError
	switch {
	case errors.As(err, &malformed):
		finding := f.finding(sops, "sops", "sops-malformed", report.Error, malformed.Problem, f.replaced())
		if !slices.ContainsFunc(f.findings, func(g report.Finding) bool { return strings.HasPrefix(g.Path, "sops") && g.Severity == report.Error }) {
			f.findings = append(f.findings, finding)
		}
		return nil
	case err != nil:
		return nil // IsEncrypted has said otherwise
	}
	f.scope(n, sops, m, policy)
	f.recipients(sops, m, policy)
	f.fragile(n, sops, m)
	due := func(message, hint string) {
		f.add(field(sops, "lastmodified"), "sops.lastmodified", "rotation-due", report.Warning, fmt.Sprintf(message, m.LastModified.UTC().Format(time.RFC3339)), hint)
	}
	switch age := f.options.Now.Sub(m.LastModified); {
	case age < -sopsfile.Ahead && !f.options.Now.IsZero():
		due("last encrypted on %s, which has not come: nothing tells how old the data key is, and the MAC does not verify if somebody has changed the date", f.restored())
	case f.options.MaxAge > 0 && age > f.options.MaxAge:
		due("last encrypted on %s, longer ago than the maximum age", f.rekeyed())
	}
	return m
}

// scope judges which values are encrypted. Who can write to the repository and
// has no key can still put values in clear, or move the selector away from
// ciphertexts, so that they reach Stork as they are.
func (f *fileRun) scope(n, sops *yaml.Node, m *sopsfile.Metadata, policy *sopsfile.Policy) {
	at, name := selectorNode(sops)
	out, in := 0, 0 // values that the selector leaves out or takes in, other than when they were encrypted
	var first *yaml.Node
	var said map[report.Position]bool // that a value is in clear
	err := m.Selector.Uncovered(n, func(leaf *yaml.Node, path []string, selected bool) {
		switch {
		case !selected:
			if out++; out == 1 {
				first = leaf
			}
		case isPublic(path):
			if in++; in == 1 && out == 0 {
				first = leaf
			}
		default:
			where := strings.Join(path, ".")
			finding := f.finding(leaf, where, "leaf-not-encrypted", report.Error, where+" is in clear although the sops section selects it: somebody has put it there without a key, and sops refuses the file",
				f.restored())
			if said == nil {
				said = make(map[report.Position]bool)
				for _, g := range f.findings {
					said[g.Position] = said[g.Position] || g.Rule == finding.Rule || g.Rule == "plaintext-credential"
				}
			}
			if !said[finding.Position] {
				f.findings = append(f.findings, finding)
			}
		}
	})
	restore := f.restored()
	switch {
	case err != nil || f.misselected: // the schema has said so
	case out > 0:
		f.misselected = true
		f.add(at, "sops."+name, "encryption-scope", report.Error,
			fmt.Sprintf("%s leaves out %s that %s encrypted (line %d): nobody decrypts what it leaves out, and ciphertext stops Stork", name, report.Count(out, "value", "values"), isAre(out), first.Line), restore)
	case in > 0:
		f.misselected = true
		f.add(at, "sops."+name, "encryption-scope", report.Error,
			fmt.Sprintf("%s takes in %s that %s in clear (line %d), as reviewers need it: sops refuses the file", name, report.Count(in, "value", "values"), isAre(in), first.Line), restore)
	case policy != nil && m.Selector != policy.Selector:
		f.add(at, "sops."+name, "encryption-scope", report.Error, fmt.Sprintf("the file selects other values for encryption than the creation rule %s", policy.Source),
			f.reencrypted("", m))
	}
}

// isPublic tells whether reviewers have to read what stands at a path, so that
// another rule refuses its ciphertext.
func isPublic(path []string) bool {
	return path[0] == "apiVersion" || path[0] == "kind" || path[0] == "metadata"
}

// selectorNode is where the selector stands.
func selectorNode(sops *yaml.Node) (*yaml.Node, string) {
	for _, name := range []string{"encrypted_regex", "unencrypted_regex", "encrypted_suffix", "unencrypted_suffix", "encrypted_comment_regex", "unencrypted_comment_regex"} {
		if n := manifest.Field(sops, name); n != nil {
			return n, name
		}
	}
	return sops, "unencrypted_suffix"
}

// recipients judges for whom the file is encrypted.
func (f *fileRun) recipients(sops *yaml.Node, m *sopsfile.Metadata, policy *sopsfile.Policy) {
	at := recipientsNode(sops)
	if key := readers.Indispensable(m.Recipients, m.ShamirThreshold); key != "" {
		message, second := "one recipient: with its key the pair is lost", "add a second one that is kept offline to .sops.yaml, then "
		if !f.ruled {
			second = "choose a second RECIPIENT that is kept offline, then "
		}
		if len(m.Recipients) > 1 {
			message, second = "the key groups that do without "+key+" are too few: with its key the pair is lost", "add a second one that is kept offline to its key group, then "
		}
		f.add(at, "sops", "single-recipient", report.Warning, message, f.reencrypted(second, m, "RECIPIENT"))
	}
	if readers.Downgraded(m.Recipients, m.ShamirThreshold) {
		kind := "leave the recipients of one kind alone in the creation rule, then "
		if !f.ruled && f.render == "" {
			kind = "choose each RECIPIENT of one kind, then "
		}
		f.add(at, "sops", "post-quantum-mixed", report.Warning, "post-quantum recipients beside classic ones: who breaks or has one key of the classic ones reads the pair", f.reencrypted(kind, &sopsfile.Metadata{Recipients: [][]string{nil}}, "RECIPIENT"))
	}
	if policy == nil {
		return
	}
	missing, extra, regrouped := readers.Differ(m.Recipients, policy.Recipients(), m.ShamirThreshold, policy.ShamirThreshold)
	var differ []string
	if len(missing) > 0 {
		differ = append(differ, "not for "+strings.Join(missing, ", "))
	}
	if len(extra) > 0 {
		differ = append(differ, "but for "+strings.Join(extra, ", "))
	}
	if regrouped {
		differ = []string{"in other key groups"}
	}
	if len(differ) == 0 {
		return
	}
	hint := f.reencrypted("", m)
	if len(extra) > 0 {
		if n := scalar(at, extra[0]); n != nil {
			at = n
		}
		hint = f.reencrypted("renew the credential if the recipient was not meant to read it, and ", m)
	}
	f.add(at, "sops", "recipients-drift", report.Error, fmt.Sprintf("encrypted %s, other than %s says", strings.Join(differ, ", "), policy.Source), hint)
}

// recipientsNode is where the first recipients of a file stand.
func recipientsNode(sops *yaml.Node) *yaml.Node {
	for _, name := range []string{"age", "pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "key_groups"} {
		if n := manifest.Field(sops, name); n != nil && len(n.Content) > 0 {
			return n
		}
	}
	return sops
}

// scalar is the value below n with a text; nil if there is none.
func scalar(n *yaml.Node, text string) *yaml.Node {
	if n.Kind == yaml.ScalarNode && n.Value == text {
		return n
	}
	for _, child := range n.Content {
		if found := scalar(child, text); found != nil {
			return found
		}
	}
	return nil
}

// fragile tells whether kustomize build would break the MAC: it sorts keys and
// changes metadata.
func (f *fileRun) fragile(n, sops *yaml.Node, m *sopsfile.Metadata) {
	if !m.MACOnlyEncrypted {
		first := ""
		if f.ruled {
			first = "leave mac_only_encrypted out of the creation rule, or set it to true, then "
		}
		f.add(field(sops, "mac"), "sops.mac", "mac-fragile", report.Warning, "the MAC covers values in clear: a namespace, prefix or label of a kustomization breaks it", f.reencrypted(first, m))
		return
	}
	if key := unsorted(manifest.Field(n, "spec")); key != nil {
		f.add(key, "spec", "mac-fragile", report.Warning, "keys are not in alphabetical order: kustomize build sorts them, which breaks the MAC", f.anew(""))
	}
}

// unsorted is the first key below n that stands behind a greater one, where both
// hold ciphertext: kustomize build sorts keys in the order of its YAML library.
func unsorted(n *yaml.Node) *yaml.Node {
	if n == nil {
		return nil
	}
	var last *yaml.Node
	for i := 0; i < len(n.Content); i++ {
		child := n.Content[i]
		if n.Kind == yaml.MappingNode {
			if i%2 == 1 {
				continue
			}
			if value := n.Content[i+1]; hasCiphertext(value) {
				if last != nil && sopsfile.KeyLess(child.Value, last.Value) {
					return child
				}
				last = child
				child = value
			} else {
				continue
			}
		}
		if key := unsorted(child); key != nil {
			return key
		}
	}
	return nil
}

// decrypted is the pair in clear, nil if it could not be decrypted or nobody
// asked for it.
func (f *fileRun) decrypted(n *yaml.Node) *yaml.Node {
	if f.options.Decrypt == nil {
		return nil
	}
	if !f.tried {
		f.tried = true
		data := f.file.Data
		if f.object != nil {
			data, _ = yaml.Marshal(f.object) // it has been parsed
		}
		docs, err := f.options.Decrypt(f.ctx, data, f.file.Name)
		f.plain = manifest.Contents(docs)
		f.undecrypted(n, err)
	}
	for _, plain := range f.plain {
		if plain.Line == n.Line || n == f.object {
			place(plain, n)
			return plain
		}
	}
	return nil
}

// place gives the keys and values of a decrypted document the positions that they have
// in the encrypted one. SOPS keeps the positions of values only.
func place(plain, n *yaml.Node) {
	plain.Line, plain.Column = n.Line, n.Column
	if plain.Kind != n.Kind {
		return
	}
	switch {
	case n.Kind == yaml.SequenceNode && len(plain.Content) == len(n.Content): // else it has lost comments
		for i := range plain.Content {
			place(plain.Content[i], n.Content[i])
		}
	case n.Kind == yaml.MappingNode:
		at := 0
		for i := 0; i+1 < len(plain.Content); i += 2 {
			for at+1 < len(n.Content) && n.Content[at].Value != plain.Content[i].Value { // the sops section
				at += 2
			}
			if at+1 < len(n.Content) {
				place(plain.Content[i], n.Content[at])
				place(plain.Content[i+1], n.Content[at+1])
			}
		}
	}
}

// undecrypted notes why a file could not be decrypted, unless that has been
// found without a key.
func (f *fileRun) undecrypted(n *yaml.Node, err error) {
	sops := manifest.Field(n, "sops")
	found := func(line int, rules ...string) bool {
		return slices.ContainsFunc(f.findings, func(g report.Finding) bool {
			return g.Severity == report.Error && f.counts(g.Rule) && (line == 0 || line == g.Position.Line) && slices.Contains(rules, g.Rule)
		})
	}
	scope := f.misselected && f.counts("encryption-scope")
	var noKey *sopsfile.NoKeyError
	var malformed *sopsfile.MalformedError
	switch {
	case err == nil:
	case errors.As(err, &noKey):
		f.add(sops, "sops", "no-key", report.Info, "no key at hand decrypts the file: judged by what is in clear", noKey.Hint())
	case errors.Is(err, sopsfile.ErrNotEncrypted):
		f.add(sops, "sops", "no-key", report.Info, "not decrypted, because sops looks for the sops section at the top of the file's first document alone: judged by what is in clear", "give each ClusterPair a file of its own")
	case errors.Is(err, sopsfile.ErrMAC):
		if !scope && !found(0, "mac-missing") {
			f.add(field(sops, "mac"), "sops.mac", "mac-mismatch", report.Error, sopsfile.ErrMAC.Error(),
				f.replaced())
		}
	case errors.As(err, &malformed):
		if scope || found(malformed.Line, "duplicate-key", "leaf-not-encrypted", "plaintext-credential", "metadata-encrypted", "sops-malformed", "value-type") {
			return
		}
		finding := f.finding(n, malformed.Field, "sops-malformed", report.Error, malformed.Problem, f.replaced())
		if malformed.Field != "" {
			finding.Message = malformed.Field + ": " + finding.Message
		}
		if malformed.Line > 0 {
			finding.Position.Line, finding.Position.Column = malformed.Line, 0
		}
		f.findings = append(f.findings, finding)
	case f.err == nil:
		f.err = err
	}
}

// field is a field's value, or what should have it.
func field(n *yaml.Node, name string) *yaml.Node {
	if v := manifest.Field(n, name); v != nil {
		return v
	}
	return n
}

func isAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// quote quotes a name from a file, cut if it is longer than any name that was
// meant to be one.
func quote(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
