package validate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/schema"
)

// looksLikePair tells whether a document is, or was meant to be, a ClusterPair:
// also one whose kind is misspelled or encrypted.
func looksLikePair(n *yaml.Node) bool {
	kind, apiVersion := manifest.Text(n, "kind"), manifest.Text(n, "apiVersion")
	if kind == "ClusterPair" {
		return true
	}
	if strings.HasPrefix(apiVersion, "stork.libopenstorage.org/") && report.Nearest(kind, []string{"ClusterPair"}) != "" {
		return true
	}
	config := manifest.Field(n, "spec", "config")
	for _, part := range []string{"clusters", "contexts", "users", "current-context"} {
		if manifest.Field(config, part) != nil {
			return true
		}
	}
	return false
}

// pair judges a ClusterPair.
func (f *fileRun) pair(n *yaml.Node) {
	p := pair{
		file: f.file.Name, path: f.file.Path, at: f.position(n), built: f.object != nil,
		namespace: noted(n, "metadata", "namespace"), name: noted(n, "metadata", "name"),
		mode: noted(n, "spec", "options", "mode"),
	}
	if name := manifest.Field(n, "metadata", "name"); name != nil {
		p.at = f.position(name)
	}
	annotations := manifest.Field(n, "metadata", "annotations")
	p.destination, p.destinationAt = noted(annotations, generator.AnnotationCA), spotOf(manifest.Field(annotations, generator.AnnotationCA))
	both := manifest.Field(annotations, generator.AnnotationBidirectional)
	p.bidirectional, p.bidirectionalAt = both != nil && both.Value == "true", spotOf(both)
	options := manifest.Field(n, "spec", "options")
	p.twoFabrics = manifest.Field(options, "token") != nil
	p.modeAt = spotOf(cmp.Or(manifest.Field(options, "mode"), options))
	projects := manifest.Field(n, "spec", "platformOptions", "rancher", "projectMappings")
	p.projects, p.projectsAt = projectMappings(projects), spotOf(projects)

	p.encrypted = sopsfile.IsEncrypted(n)
	if p.aside = f.aside; f.aside {
		f.noted.pairs = append(f.noted.pairs, p)
		return
	}
	f.notePatch(n)

	first := len(f.findings)
	f.sizeOf(annotations)
	if local := manifest.Field(annotations, "config.kubernetes.io/local-config"); local != nil && local.Value != "false" {
		f.add(local, "metadata.annotations", "metadata-invalid", report.Error, "kustomize leaves out what has this annotation and says nothing: the ClusterPair reaches no cluster, and is deleted where it is", "remove the annotation config.kubernetes.io/local-config")
	}
	origin := f.origin(n, annotations)
	o := schema.Options{StorkVersion: origin.StorkVersion}
	switch {
	case p.encrypted && f.options.Plaintext:
		f.add(manifest.Field(n, "sops"), "sops", "still-encrypted", report.Error, "the file is encrypted, and was said to be in clear", "clusterpair decrypt "+f.typed()+" | clusterpair validate --plaintext -")
	case p.encrypted:
		f.findings = append(f.findings, f.shape("#Encrypted", n, o)...)
		f.policy("#Encrypted", n)
		f.inClear(n)
		f.sealed(n, origin.Policy)
		if plain := f.decrypted(n); plain != nil {
			p.leadsTo(f.plainPair(plain, annotations, o, first))
		} else {
			f.visible(n)
			f.ends(annotations)
		}
	case hasCiphertext(manifest.Field(n, "spec")) && !f.options.Plaintext:
		f.add(n, "", "sops-malformed", report.Error, "values are encrypted and the sops section is gone: nobody can decrypt them, and as they are they stop Stork",
			"restore the file from Git history, or render it anew: clusterpair generate")
		for _, finding := range f.shape("#Encrypted", n, o) {
			if finding.Rule != "plaintext-credential" { // for lack of the section
				f.findings = append(f.findings, finding)
			}
		}
		f.inClear(n)
	default:
		if !f.options.Plaintext {
			f.add(kindOf(n), "", "plaintext-credential", report.Error, "a ClusterPair in clear: whoever reads the repository has the destination's credential",
				"clusterpair encrypt -i "+f.typed()+", and renew the credential if this was ever pushed")
		}
		p.leadsTo(f.plainPair(n, annotations, o, first))
	}
	f.allowed(first, annotations)
	if p.namespace != "" && p.name != "" {
		for i := first; i < len(f.findings); i++ {
			f.findings[i].Object = p.namespace + "/" + p.name
		}
	}
	f.noted.pairs = append(f.noted.pairs, p)
}

// sizeOf finds annotations that are larger than the API server takes, all
// together.
func (f *fileRun) sizeOf(annotations *yaml.Node) {
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return
	}
	size := 0
	for _, n := range annotations.Content {
		size += len(n.Value)
	}
	if size > 256<<10 {
		f.add(annotations, "metadata.annotations", "metadata-invalid", report.Error, "the API server refuses annotations of more than 256 KiB together", "move them into a ConfigMap")
	}
}

func kindOf(n *yaml.Node) *yaml.Node {
	if kind := manifest.Field(n, "kind"); kind != nil {
		return kind
	}
	return n
}

// origin is what the repository says about the pair.
func (f *fileRun) origin(n, annotations *yaml.Node) Origin {
	var origin Origin
	if f.options.Origin != nil && f.object == nil && f.file.Name != "-" { // what stands in no file has no rule for one
		var err error
		origin, err = f.options.Origin(f.file.Path, manifest.Text(annotations, generator.AnnotationGeneratedBy))
		var finding report.Finding
		switch {
		case errors.As(err, &finding):
			if sopsfile.IsEncrypted(n) || finding.Rule != "no-creation-rule" {
				if finding.Rule == "no-creation-rule" {
					finding.Position = f.position(manifest.Field(n, "sops"))
				}
				f.findings = append(f.findings, finding)
			}
		case err != nil && f.err == nil:
			f.err = err
		}
	}
	if f.options.StorkVersion != "" {
		origin.StorkVersion = f.options.StorkVersion
	}
	return origin
}

// shape judges a pair by a definition of the schema.
func (f *fileRun) shape(definition string, n *yaml.Node, o schema.Options) []report.Finding {
	found := schema.Validate(definition, n, f.file.Name, o)
	if slices.ContainsFunc(found, func(g report.Finding) bool { return g.Rule == "config-not-object" }) {
		// What stands in place of a kubeconfig has nothing that a kubeconfig has.
		found = slices.DeleteFunc(found, func(g report.Finding) bool {
			return g.Rule == "required-field" && strings.HasPrefix(g.Path, "spec.config")
		})
	}
	return found
}

// hasCiphertext tells whether SOPS has encrypted anything below n.
func hasCiphertext(n *yaml.Node) bool {
	if n == nil {
		return false
	}
	if n.Kind == yaml.ScalarNode {
		return strings.HasPrefix(n.Value, "ENC[AES256_GCM,")
	}
	return slices.ContainsFunc(n.Content, hasCiphertext)
}

// plainPair judges a ClusterPair in clear, and gives its destination, nil if it
// has none that could be used. What has been found of the pair begins with first.
func (f *fileRun) plainPair(n, annotations *yaml.Node, o schema.Options, first int) *kubeconfig.Destination {
	shape := f.shape("#ClusterPair", n, o)
	known := len(f.findings)
	sealed := f.stillEncrypted(n)
	for _, finding := range shape {
		// #Encrypted has said most of it.
		if !sealed[finding.Position] && !slices.ContainsFunc(f.findings[first:known], func(g report.Finding) bool { return sameBreach(g, finding) }) {
			f.findings = append(f.findings, finding)
		}
	}
	f.policy("#ClusterPair", n)
	config := manifest.Field(n, "spec", "config")
	if config == nil || config.Kind != yaml.MappingNode {
		return nil
	}
	destination, findings := kubeconfig.FromConfig(config, f.file.Name, "spec.config", kubeconfig.Options{
		StorkVersion: o.StorkVersion, Within: f.options.within(), Now: f.options.Now, Allow: allowances(annotations),
	})
	for _, finding := range findings {
		if !sealed[finding.Position] && !slices.ContainsFunc(shape, func(g report.Finding) bool { return sameBreach(g, finding) }) {
			f.findings = append(f.findings, finding)
		}
	}
	if destination != nil {
		f.annotated(n, annotations, destination)
	}
	return destination
}

// stillEncrypted finds ciphertext in a pair in clear, such as a value that was
// copied out of an encrypted Secret, and gives the places where it stands:
// nothing else can be said of those.
func (f *fileRun) stillEncrypted(n *yaml.Node) map[report.Position]bool {
	var at map[report.Position]bool
	var visit func(n *yaml.Node)
	visit = func(n *yaml.Node) {
		if n == nil {
			return
		}
		if n.Kind == yaml.ScalarNode && hasCiphertext(n) {
			f.add(n, "spec", "still-encrypted", report.Error, "a value is still encrypted by SOPS, and Stork would take the ciphertext for it", "sops decrypt what it was taken from, then encrypt the pair")
			if at == nil {
				at = make(map[report.Position]bool)
			}
			at[f.position(n)] = true
		}
		for _, child := range n.Content {
			visit(child)
		}
	}
	visit(manifest.Field(n, "spec", "config"))
	visit(manifest.Field(n, "spec", "options", "token"))
	return at
}

// sameBreach tells whether two findings, of the schema and of what looks closer,
// are about one mistake: the one may stand at the key, the other at the value.
func sameBreach(a, b report.Finding) bool {
	return a.Rule == b.Rule && (a.Position == b.Position || a.Path == b.Path && a.Path != "")
}

// annotated compares the annotations in clear, by which CI without a key
// judges, to what they are about. The MAC does not cover them, nor the options
// that are in clear: an address to which Portworx would send the storage token.
// For these the digest vouches.
func (f *fileRun) annotated(n, annotations *yaml.Node, d *kubeconfig.Destination) {
	const hint = "find out who changed it: git log -p FILE; then render it anew: clusterpair generate"
	expected := map[string]string{generator.AnnotationCA: d.CAKeyDigest()}
	if end := d.Expires(); !end.IsZero() {
		expected[generator.AnnotationExpires] = end.UTC().Format(time.RFC3339)
	}
	by := manifest.Field(annotations, generator.AnnotationGeneratedBy)
	for _, key := range []string{generator.AnnotationCA, generator.AnnotationExpires} {
		switch at := manifest.Field(annotations, key); {
		case at != nil && at.Value != expected[key]:
			f.add(at, "metadata.annotations", "annotation-drift", report.Error, key+" is not what the kubeconfig says: those who judge the pair without a key are misled", hint)
		case at == nil && by != nil && expected[key] != "":
			f.add(by, "metadata.annotations", "annotation-drift", report.Error, key+" is missing from a rendered pair: those who judge it without a key learn nothing", hint)
		}
	}
	if f.object != nil {
		return // a kustomization may change options on purpose
	}
	switch at := manifest.Field(annotations, generator.AnnotationDigest); {
	case at != nil && !generator.HasDigest(at.Value, manifest.Field(n, "spec")):
		f.add(at, "metadata.annotations", "annotation-drift", report.Error, generator.AnnotationDigest+" is not that of spec: a value was changed after rendering, such as an option in clear, which the MAC does not cover", hint)
	case at == nil && by != nil && d.FullEntropy() && f.plain != nil: // generate leaves it out of what is not encrypted
		f.add(by, "metadata.annotations", "annotation-drift", report.Error, generator.AnnotationDigest+" is missing from a rendered pair: nothing vouches for its options in clear, which the MAC does not cover", hint)
	}
}

// ends judges the end of a credential that is not at hand by its annotation.
func (f *fileRun) ends(annotations *yaml.Node) {
	at := manifest.Field(annotations, generator.AnnotationExpires)
	if at == nil {
		return
	}
	end, err := time.Parse(time.RFC3339, at.Value)
	const hint = "renew it on the destination and render the pair anew: clusterpair generate"
	switch {
	case err != nil:
		f.add(at, "metadata.annotations", "value-type", report.Error, generator.AnnotationExpires+" is no time as RFC 3339 has it", "render the pair anew: clusterpair generate")
	case !end.After(f.options.Now):
		f.add(at, "metadata.annotations", "credential-expired", report.Error, "the credential has ended on "+end.UTC().Format(time.RFC3339), hint)
	case !end.After(f.options.Now.Add(f.options.within())):
		f.add(at, "metadata.annotations", "credential-expiring", report.Warning, "the credential ends on "+end.UTC().Format(time.RFC3339), hint)
	}
}

// allowances are the rules that the pair's annotations waive.
func allowances(annotations *yaml.Node) map[string]bool {
	var allow map[string]bool
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		if rule, ok := strings.CutPrefix(annotations.Content[i].Value, generator.AnnotationAllow); ok && strings.TrimSpace(annotations.Content[i+1].Value) != "" {
			if allow == nil {
				allow = make(map[string]bool)
			}
			allow[rule] = true
		}
	}
	return allow
}

// allowed waives the findings, from the first on, whose rule the pair's
// annotations allow. clusterpair generate writes them for spec.pairs[].allow.
func (f *fileRun) allowed(first int, annotations *yaml.Node) {
	if annotations == nil || annotations.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(annotations.Content); i += 2 {
		key, value := annotations.Content[i], annotations.Content[i+1]
		rule, ok := strings.CutPrefix(key.Value, generator.AnnotationAllow)
		if !ok {
			continue
		}
		switch {
		case strings.TrimSpace(value.Value) == "":
			f.add(key, "metadata.annotations", "waiver", report.Error, fmt.Sprintf("%s gives no reason", quote(key.Value)), "say why, for those who audit the pair")
		case !report.Waivable(rule):
			f.refuseWaiver(key, rule)
		default:
			firm := ""
			for j := first; j < len(f.findings); j++ {
				switch g := &f.findings[j]; {
				case g.Rule != rule:
				case g.Firm:
					firm = g.Position.String()
				default:
					g.Waived = value.Value
				}
			}
			if firm != "" {
				message, hint := notWaived(rule, firm)
				f.add(key, "metadata.annotations", "waiver", report.Warning, message, hint)
			}
		}
	}
}
