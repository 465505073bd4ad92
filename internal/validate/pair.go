package validate

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unique"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/waiver"
	"clusterpair.dev/schema"
)

// looksLikePair tells whether a document is, or was meant to be, a ClusterPair:
// also one whose kind is misspelled, encrypted or missing. Objects of other
// kinds have a spec.config with users in it, too, as that of Grafana: so what
// says nothing of Stork has to have the shape of a kubeconfig there.
func looksLikePair(n *yaml.Node) bool {
	kind, apiVersion := manifest.Text(n, "kind"), manifest.Text(n, "apiVersion")
	if kind == "ClusterPair" {
		return true
	}
	ours := strings.HasPrefix(apiVersion, "stork.libopenstorage.org/")
	if ours && report.Nearest(kind, []string{"ClusterPair"}) != "" {
		return true
	}
	config := manifest.Field(n, "spec", "config")
	if config == nil {
		return false
	}
	return (ours || kind == "" || isBinary(manifest.Field(n, "kind")) || manifest.Field(n, "sops") != nil) && kubeconfigParts(config) >= 2
}

// isBinary tells whether a value is base64 to YAML, so that some readers see
// another text.
func isBinary(n *yaml.Node) bool { return n != nil && n.ShortTag() == "!!binary" }

// kubeconfigParts is how many of the sections of a kubeconfig a mapping has, in
// the form of a list or by name.
func kubeconfigParts(config *yaml.Node) int {
	parts := 0
	for _, name := range []string{"clusters", "contexts", "users"} {
		if part := manifest.Field(config, name); part != nil && (part.Kind != yaml.ScalarNode || part.Value == "" || strings.HasPrefix(part.Value, "ENC[")) {
			parts++
		}
	}
	if current := manifest.Field(config, "current-context"); current != nil && current.Kind == yaml.ScalarNode {
		parts++
	}
	return parts
}

// pair judges a ClusterPair.
func (f *fileRun) pair(n *yaml.Node) {
	annotations := manifest.Field(n, "metadata", "annotations")
	p := f.facts(n, annotations)
	if f.aside {
		f.noted.pairs = append(f.noted.pairs, p)
		return
	}
	f.notePatch(n)

	first := len(f.findings)
	if len(f.options.Only) == 1 && f.counts("plaintext-credential") { // the repository is asked for a hint alone
		f.judgePair(&p, n, annotations, Origin{}, first)
		if !slices.ContainsFunc(f.findings[first:], func(g report.Finding) bool { return f.counts(g.Rule) }) {
			f.noted.pairs = append(f.noted.pairs, p)
			return
		}
		f.findings = f.findings[:first]
	}
	f.sizeOf(annotations)
	f.labels(manifest.Field(n, "metadata", "labels"))
	if local := manifest.Field(annotations, "config.kubernetes.io/local-config"); local != nil && local.Value != "false" {
		f.add(local, "metadata.annotations", "metadata-invalid", report.Error, "kustomize leaves out what has this annotation and says nothing: the ClusterPair reaches no cluster, and is deleted where it is", "remove the annotation config.kubernetes.io/local-config")
	}
	origin := f.origin(n, annotations)
	f.renderedBy(annotations, origin)
	f.ruled = origin.Policy != nil
	p.rendered, p.ruled = origin.Rendered, f.ruled
	set := p.settings.Value()
	set.storkVersion = origin.StorkVersion
	p.settings = unique.Make(set)
	f.identified(annotations)
	f.judgePair(&p, n, annotations, origin, first)
	f.allowed(first, annotations)
	if p.namespace() != "" && p.name != "" {
		for i := first; i < len(f.findings); i++ {
			f.findings[i].Object = p.id()
		}
	}
	f.noted.pairs = append(f.noted.pairs, p)
}

// judgePair judges a pair by the form in which it stands in the file. first is the number
// of findings before it.
func (f *fileRun) judgePair(p *pair, n, annotations *yaml.Node, origin Origin, first int) {
	o := schema.Options{StorkVersion: origin.StorkVersion}
	switch {
	case p.encrypted && f.options.Plaintext:
		f.add(manifest.Field(n, "sops"), "sops", "still-encrypted", report.Error, "the file is encrypted, and was said to be in clear", "leave out --plaintext: clusterpair validate --decrypt "+f.argument())
	case p.encrypted:
		f.findings = append(f.findings, f.shape("#Encrypted", n, o)...)
		f.policy("#Encrypted", n)
		f.leaks(n)
		p.readers, p.readersAt = readersOf(n, f.sealed(n, origin.Policy))
		if plain := f.decrypted(n); plain != nil {
			p.leadsTo(f.plainPair(plain, annotations, o, first))
		} else {
			f.policy("#ClusterPair", n)
			f.visible(n)
			f.ends(annotations)
		}
	case hasCiphertext(manifest.Field(n, "spec")) && !f.options.Plaintext:
		f.add(n, "", "sops-malformed", report.Error, "values are encrypted and the sops section is gone: nobody can decrypt them, and as they are they stop Stork",
			f.restored())
		for _, finding := range f.shape("#Encrypted", n, o) {
			if finding.Rule != "plaintext-credential" { // for lack of the section
				f.findings = append(f.findings, finding)
			}
		}
		f.leaks(n)
	default:
		if f.holdsCredential(n) {
			f.inTheClear = n
			f.add(cmp.Or(manifest.Field(n, "kind"), n), "", "plaintext-credential", report.Error, "a ClusterPair in clear: whoever reads the repository has the destination's credential",
				"")
		}
		f.leaks(n)
		p.leadsTo(f.plainPair(n, annotations, o, first))
	}
}

// facts are what other manifests must know of a pair.
func (f *fileRun) facts(n, annotations *yaml.Node) pair {
	p := pair{
		file: f.file.Name, path: f.file.Path, built: f.object != nil, aside: f.aside, encrypted: sopsfile.IsEncrypted(n),
		name: noted(n, "metadata", "name"), at: spotOf(cmp.Or(manifest.Field(n, "metadata", "name"), n)), caAt: spotOf(manifest.Field(annotations, generator.AnnotationCA)),
		settings: unique.Make(settings{namespace: noted(n, "metadata", "namespace"), mode: noted(n, "spec", "options", "mode")}),
	}
	to := destination{ca: noted(annotations, generator.AnnotationCA)}
	if by := manifest.Field(annotations, generator.AnnotationGeneratedBy); by != nil {
		p.by, p.byAt = unique.Make(strings.Clone(by.Value)), spotOf(by)
	}
	both := manifest.Field(annotations, generator.AnnotationBidirectional)
	if p.bidirectional, p.bidirectionalAt = both != nil && both.Value == "true", spotOf(both); p.bidirectional {
		to.id, to.credentialID = noted(annotations, generator.AnnotationDestination), noted(annotations, generator.AnnotationCredentialID)
	}
	p.destination = unique.Make(to)
	options := manifest.Field(n, "spec", "options")
	p.twoFabrics = manifest.Field(options, "token") != nil
	p.modeAt = spotOf(cmp.Or(manifest.Field(options, "mode"), options))
	if projects := manifest.Field(n, "spec", "platformOptions", "rancher", "projectMappings"); projects != nil {
		p.projectsAt = spotOf(projects)
		_ = projects.Decode(&p.projects) // the schema says what is wrong with it
	}
	return p
}

// holdsCredential tells whether a pair in clear has the destination's
// credential. A skeleton, to which an encrypted patch adds it, has none.
func (f *fileRun) holdsCredential(n *yaml.Node) bool {
	holds := false
	if !f.options.Plaintext {
		leak.Document(n, nil, 1, func(l leak.Leak) { holds = holds || len(l.Path) > 0 && l.Path[0] == "spec" })
	}
	return holds
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

// labels judges labels without quotes by what kustomize makes of them, as Flux builds
// all that it applies.
func (f *fileRun) labels(labels *yaml.Node) {
	if labels == nil || labels.Kind != yaml.MappingNode {
		return
	}
	for i := 1; i < len(labels.Content); i += 2 {
		if value := labels.Content[i]; value.ShortTag() == "!!timestamp" {
			f.add(value, "metadata.labels", "value-type", report.Error, "a date without quotes: kustomize, and Flux by it, adds a time of day, which no API server takes in a label", "quote it")
		}
	}
}

// identified judges the id of a credential by its form.
func (f *fileRun) identified(annotations *yaml.Node) {
	if id := manifest.Field(annotations, generator.AnnotationCredentialID); id != nil && !kubeconfig.IsCredentialID(id.Value) {
		f.add(id, "metadata.annotations", "value-type", report.Error, generator.AnnotationCredentialID+" is none that clusterpair writes: it does not tell which credential this is", f.anew(""))
	}
}

// identifiedSecret judges the id of the credential in a Secret: it is to name the
// token that the other annotations of clusterpair credential create name.
func (f *fileRun) identifiedSecret(n *yaml.Node) {
	if f.aside {
		return
	}
	annotations := manifest.Field(n, "metadata", "annotations")
	f.identified(annotations)
	id := manifest.Field(annotations, generator.AnnotationCredentialID)
	namespace, _, _ := strings.Cut(manifest.Text(annotations, holders.AnnotationAccount), "/")
	if token := manifest.Text(annotations, holders.AnnotationTokenSecret); id != nil && token != "" && strings.HasPrefix(id.Value, "secret:") && id.Value != kubeconfig.TokenSecretID(namespace, token) {
		f.add(id, "metadata.annotations", "annotation-drift", report.Error, generator.AnnotationCredentialID+" and "+holders.AnnotationTokenSecret+" name two tokens: clusterpair credential revoke would end one that is in use",
			"find out who changed it: git log -p "+f.typed()+"; a new one sets both: clusterpair credential rotate "+f.typed())
	}
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
	found := f.rendered(definition, schema.Validate(definition, n, f.file.Name, o))
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

// plainPair judges a ClusterPair in clear, and gives its destination, nil if it has
// none that could be used. f.findings[first:] are the findings about this pair.
func (f *fileRun) plainPair(n, annotations *yaml.Node, o schema.Options, first int) *kubeconfig.Destination {
	shape := f.shape("#ClusterPair", n, o)
	known := len(f.findings)
	sealed := f.stillEncrypted(n)
	for _, finding := range shape {
		// The schema's #Encrypted has found most of this already.
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
			f.add(n, "spec", "still-encrypted", report.Error, "a value is still encrypted by SOPS, and Stork would take the ciphertext for it", "decrypt what it was taken from, and put the value itself here")
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
	hint := f.anew("find out who changed it, then ")
	end := d.End()
	expected := end.Annotations()
	expected[generator.AnnotationCA] = d.CAKeyDigest()
	expected[generator.AnnotationDestination] = d.ID()
	by := manifest.Field(annotations, generator.AnnotationGeneratedBy)
	// A pair that was rendered before there was such an annotation has none.
	if at := manifest.Field(annotations, generator.AnnotationCredentialID); at != nil && at.Value != d.CredentialID() {
		f.add(at, "metadata.annotations", "annotation-drift", report.Error, generator.AnnotationCredentialID+" is not that of the credential: clusterpair credential revoke would end one that is in use", hint)
	}
	// Earlier releases knew neither of these two.
	earlier := manifest.Field(annotations, generator.AnnotationKind) == nil && manifest.Field(annotations, generator.AnnotationCAExpires) == nil
	for _, key := range []string{generator.AnnotationCA, generator.AnnotationDestination, generator.AnnotationExpires, generator.AnnotationKind, generator.AnnotationCAExpires} {
		switch at := manifest.Field(annotations, key); {
		case at != nil && at.Value == expected[key]:
		case at != nil && key == generator.AnnotationExpires && earlier && wroteEarlier(at.Value, end):
			f.add(at, "metadata.annotations", "annotation-drift", report.Warning, key+" is not the end of the credential: an earlier release wrote that of the CA, or of a token that ends with its pod", f.anew(""))
		case at != nil:
			f.add(at, "metadata.annotations", "annotation-drift", report.Error, key+" is not what the kubeconfig says: those who judge the pair without a key are misled", hint)
		case by == nil || expected[key] == "" || key == generator.AnnotationDestination || earlier && !neededEarlier(key, end):
		default:
			f.add(by, "metadata.annotations", "annotation-drift", report.Error, key+" is missing from a rendered pair: those who judge it without a key learn nothing", hint)
		}
	}
	if f.object == nil { // a kustomization may change options on purpose
		f.digested(n, annotations, by, d, hint)
	}
}

// digested compares the digest with spec.
func (f *fileRun) digested(n, annotations, by *yaml.Node, d *kubeconfig.Destination, hint string) {
	switch at := manifest.Field(annotations, generator.AnnotationDigest); {
	case at != nil && !generator.HasDigest(at.Value, manifest.Field(n, "spec")):
		f.add(at, "metadata.annotations", "annotation-drift", report.Error, generator.AnnotationDigest+" is not that of spec: a value was changed after rendering, such as an option in clear, which the MAC does not cover", hint)
	case at == nil && by != nil && d.FullEntropy() && f.plain != nil: // generate leaves it out of what is not encrypted
		f.add(by, "metadata.annotations", "annotation-drift", report.Error, generator.AnnotationDigest+" is missing from a rendered pair: nothing vouches for its options in clear, which the MAC does not cover", hint)
	}
}

// wroteEarlier tells whether earlier releases took a time for the end of a
// credential that does not tell its own: that of the CA, or of a token that ends
// with its pod.
func wroteEarlier(value string, end kubeconfig.End) bool {
	at, err := time.Parse(time.RFC3339, value)
	return err == nil && (end.State != kubeconfig.Known || end.Kind == kubeconfig.EKSToken) && (at.Equal(end.CA) || at.Equal(end.Latest))
}

// neededEarlier tells whether earlier releases wrote an annotation, too.
func neededEarlier(key string, end kubeconfig.End) bool {
	at, _ := end.First()
	return key == generator.AnnotationCA || key == generator.AnnotationExpires && !at.IsZero()
}

// ends judges the end of a credential that is not at hand by its annotations.
func (f *fileRun) ends(annotations *yaml.Node) {
	end, err := kubeconfig.ReadEnd(func(annotation string) string { return manifest.Text(annotations, annotation) })
	add := func(annotation, rule string, severity report.Severity, message, hint string) {
		f.add(manifest.Field(annotations, annotation), "metadata.annotations", rule, severity, message, hint)
	}
	var bad *kubeconfig.AnnotationError
	if errors.As(err, &bad) {
		add(bad.Annotation, "value-type", report.Error, bad.Error(), f.restored())
	}
	hint := f.anew("renew it on the destination, then ")
	annotation := generator.AnnotationExpires
	if end.State != kubeconfig.Known {
		annotation = generator.AnnotationCAExpires
	}
	if rule, message := end.Verdict(f.options.Now, f.options.within()); rule != "" {
		known, _ := report.RuleOf(rule)
		add(annotation, rule, known.Severity, message, hint)
	}
	if end.Short() {
		add(generator.AnnotationKind, "credential-end-unknown", report.Warning, "nothing tells when the credential ends: "+end.Why(), kubeconfig.HintLasting)
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
			message, hint := waiver.Refused(rule)
			f.add(key, "metadata.annotations", "waiver", report.Error, message, hint)
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
				message, hint := waiver.Idle(rule, firm)
				f.add(key, "metadata.annotations", "waiver", report.Warning, message, hint)
			}
		}
	}
}
