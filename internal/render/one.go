package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// commandLine is the name under which findings about flags appear.
const commandLine = "command line"

// One is a pair that is rendered without a config, from the kubeconfig of its
// destination: what storkctl generate clusterpair does, option for option where they
// mean the same. The names of its fields are those of the flags.
type One struct {
	Name, Namespace, Kubeconfig, Context string
	StorageOptions, ProjectMappings      []string // KEY=VALUE
	StorkVersion, Server, TLSServerName  string
	Allow                                []string // RULE or RULE=REASON
	Age                                  []string
	Plaintext                            bool
	Output                               string // the file that is going to be written, empty for standard output
}

// Config is the function config that the options amount to. It is complete unless one
// of the findings is an error. Such a finding, like the error, means that the flags
// were used wrongly.
func (o *One) Config() (*generator.Config, []report.Finding, error) {
	pair := map[string]any{
		"name": o.Name, "namespace": o.Namespace,
		"destination": nonEmpty(map[string]any{"file": "kubeconfig", "server": o.Server, "tlsServerName": o.TLSServerName}),
	}
	options, err := o.options()
	if err != nil {
		return nil, nil, err
	}
	if mode, ok := options["mode"]; ok {
		pair["mode"] = mode
		delete(options, "mode")
	}
	if len(options) > 0 {
		pair["options"] = options
	}
	mappings, err := assignments("project-mappings", "SOURCE=DESTINATION", splitCommas(o.ProjectMappings, nil))
	if err != nil {
		return nil, nil, err
	}
	if len(mappings) > 0 {
		pair["projectMappings"] = mappings
	}
	allow, err := o.allowances()
	if err != nil {
		return nil, nil, err
	}
	if allow != nil {
		pair["allow"] = allow
	}
	doc := map[string]any{
		"apiVersion": generator.APIVersion, "kind": generator.GeneratorKind,
		"metadata": map[string]any{"name": "command-line"},
		"spec":     nonEmpty(map[string]any{"storkVersion": o.StorkVersion, "pairs": []any{pair}}),
	}
	var node yaml.Node
	if err := node.Encode(doc); err != nil {
		return nil, nil, report.Usage(errors.New("the flags cannot be written as a function config"))
	}
	c, findings := generator.ParseConfig(&node, commandLine)
	for i := range findings {
		ofFlag(&findings[i])
	}
	if c == nil {
		return nil, findings, nil
	}
	c.Metadata.Name = ""                     // no config to prune by
	c.Spec.Pairs[0].Destination.Context = "" // load has chosen it
	return c, findings, nil
}

// options are the storage options, each of which Stork reads.
func (o *One) options() (map[string]string, error) {
	known := []string{"ip", "port", "token", "mode", "backuplocation"}
	options, err := assignments("storage-options", "KEY=VALUE", splitCommas(o.StorageOptions, known))
	if err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(known, key) {
			err := fmt.Errorf("--storage-options: Stork reads no option %q", key)
			if near := report.Nearest(key, known); near != "" {
				err = report.WithHint(err, "did you mean %s?", near)
			}
			return nil, report.Usage(err)
		}
	}
	return options, nil
}

// allowances are the rules that the pair may break, each with a reason.
func (o *One) allowances() (allow []map[string]string, err error) {
	for _, a := range o.Allow {
		rule, reason, _ := strings.Cut(a, "=")
		if f, ok := generator.CheckAllowance(rule); !ok {
			return nil, report.Usage(report.WithHint(errors.New("--allow: "+f.Message), "%s", f.Hint))
		}
		allow = append(allow, map[string]string{"rule": rule, "reason": cmp.Or(reason, "allowed on the command line")})
	}
	return allow, nil
}

// flags maps fields of the config to the flags that set them, the longer path first.
var flags = [][2]string{
	{"spec.pairs[0].namespace", "--namespace"},
	{"spec.pairs[0].name", "NAME"},
	{"spec.pairs[0].destination.server", "--server"},
	{"spec.pairs[0].destination.tlsServerName", "--tls-server-name"},
	{"spec.pairs[0].options.tokenFrom", "--storage-options token"},
	{"spec.pairs[0].options.", "--storage-options "},
	{"spec.pairs[0].options", "--storage-options"},
	{"spec.pairs[0].mode", "--storage-options mode"},
	{"spec.pairs[0].projectMappings", "--project-mappings"},
	{"spec.storkVersion", "--stork-version"},
}

// ofFlag lets a finding about a field of the config tell the flag that it comes from.
func ofFlag(f *report.Finding) {
	for _, flag := range flags {
		if rest, ok := strings.CutPrefix(f.Path, flag[0]); ok {
			if f.Path = flag[1] + rest; flag[1] == "--storage-options token" && f.Rule == "storage-options-incomplete" {
				f.Hint = "add the token that pxctl cluster token show prints, as in -s ip=10.0.0.9,token=TOKEN"
			}
			return
		}
	}
}

// Render renders the pair, and writes nothing. c is what [One.Config] has given; read
// reads a file, and standard input for -. There is no result if one of the findings is
// an error.
func (o *One) Render(ctx context.Context, c *generator.Config, read func(path string) ([]byte, error)) (result generator.Result, findings []report.Finding, err error) {
	encrypter, err := o.encrypter()
	if err != nil {
		return result, nil, err
	}
	doc, file, findings, err := o.load(ctx, read)
	if err != nil || report.HasErrors(findings) {
		return result, findings, err
	}
	c.Spec.Pairs[0].Destination.File = file
	more, err := generator.Generate(ctx, c, generator.Inputs{
		Secrets: oneDocument{file, doc}, Encrypter: encrypter, Plaintext: o.Plaintext, Now: time.Now(),
	}, func(r generator.Result) error { result = r; return nil })
	return result, append(findings, more...), err
}

// assignments are the values of a flag that takes KEY=VALUE, each key once.
func assignments(flag, form string, values []string) (map[string]string, error) {
	m := make(map[string]string, len(values))
	for _, assignment := range values {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok {
			return nil, report.Usage(fmt.Errorf("--%s takes %s", flag, form))
		}
		if _, twice := m[key]; twice {
			return nil, report.Usage(report.WithHint(fmt.Errorf("--%s gives %s twice", flag, key), "keep one of the two"))
		}
		m[key] = value
	}
	return m, nil
}

// splitCommas splits values at commas as storkctl does, unless the part behind
// the comma is no assignment to a known key: base64 and URLs hold commas and
// equals signs.
func splitCommas(values, known []string) []string {
	var out []string
	for _, v := range values {
		for i, part := range strings.Split(v, ",") {
			key, _, isAssignment := strings.Cut(part, "=")
			starts := isAssignment
			if known != nil {
				starts = isAssignment && (slices.Contains(known, key) || report.Nearest(key, known) != "")
			}
			if i > 0 && !starts {
				out[len(out)-1] += "," + part
				continue
			}
			out = append(out, part)
		}
	}
	return out
}

func nonEmpty(m map[string]any) map[string]any {
	for k, v := range m {
		if v == "" {
			delete(m, k)
		}
	}
	return m
}

// encrypter seals the pair for the recipients of the flags, or of the creation
// rule for the output file.
func (o *One) encrypter() (generator.Encrypter, error) {
	if o.Plaintext {
		if len(o.Age) > 0 {
			return nil, report.Usage(errors.New("--age and --plaintext exclude each other"))
		}
		return Plain{format: sopsfile.FormatOf(o.Output)}, nil
	}
	e := &oneFile{safe: sopsfile.New(nil), path: o.Output}
	var err error
	if info, bad := os.Stat(o.Output); bad != nil || info.Mode().IsRegular() { // what is no file is refused as such
		if e.format, err = seal.ObjectFormat(o.Output); err != nil {
			return nil, err
		}
	}
	if len(o.Age) == 0 && o.Output == "" {
		return nil, report.Usage(report.WithHint(errors.New("nobody could decrypt the pair: no recipient is given"),
			"name one with --age, write to a file with a creation rule with -o FILE, or ask for clear text with --plaintext"))
	}
	e.policy, err = seal.PolicyOf(o.Output, o.Age)
	return e, err
}

// oneFile is the [generator.Encrypter] of a single pair.
type oneFile struct {
	unmarked
	safe   *sopsfile.Safe
	policy *sopsfile.Policy
	path   string // "" for standard output
	format sopsfile.Format
}

// Previous implements [generator.Encrypter].
func (e *oneFile) Previous(string, string) ([]byte, error) {
	if e.path == "" {
		return nil, nil
	}
	data, err := worktree.ReadPrevious(e.path)
	if err != nil {
		return nil, err
	}
	if data != nil && !isRendered(data) {
		return nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: e.path},
			Message: "the file exists and is no encrypted ClusterPair, so that it is not overwritten", Hint: "move it away, or write to another file"}
	}
	return data, nil
}

// Encrypt implements [generator.Encrypter].
func (e *oneFile) Encrypt(ctx context.Context, _, _ string, plain *yaml.Node, previous []byte, sealed bool, _ []byte) ([]byte, []report.Finding, error) {
	shown := cmp.Or(e.path, "standard output")
	return seal.EncryptPair(ctx, e.safe, plain, previous, e.policy, sopsfile.EncryptOptions{Sealed: sealed, File: shown, Format: e.format})
}

// oneDocument is the [generator.SecretSource] of a single kubeconfig.
type oneDocument struct {
	name string
	doc  *yaml.Node
}

// Files implements [generator.SecretSource].
func (d oneDocument) Files() []string { return []string{d.name} }

// Documents implements [generator.SecretSource].
func (d oneDocument) Documents(context.Context, string) ([]*yaml.Node, error) {
	return []*yaml.Node{d.doc}, nil
}

// Index implements [generator.SecretSource].
func (oneDocument) Index(string) []generator.Sealed { return nil }

// load reads the kubeconfig by kubectl's rules: the flag, the files of
// KUBECONFIG merged, or ~/.kube/config. The files that it names are inlined.
// file names what was read, for findings.
func (o *One) load(ctx context.Context, read func(path string) ([]byte, error)) (doc *yaml.Node, file string, findings []report.Finding, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.Kubeconfig
	rules.WarnIfAllMissing = false
	paths := rules.GetLoadingPrecedence()
	if o.Kubeconfig != "" {
		paths = []string{o.Kubeconfig}
	}
	data, findings, err := o.check(ctx, paths, read)
	if err != nil || findings != nil {
		return nil, "", findings, err
	}
	var config *clientcmdapi.Config
	if o.Kubeconfig != "" {
		config, err = parseKubeconfig(data, o.Kubeconfig)
	} else {
		config, err = rules.Load()
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s cannot be read as a kubeconfig", strings.Join(paths, ", "))
	}
	file = strings.Join(paths, string(filepath.ListSeparator))
	if f := o.minify(config); f != nil {
		f.Severity, f.Position.File = report.Error, file
		return nil, "", []report.Finding{*f}, nil
	}
	data, err = clientcmd.Write(*config)
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s cannot be minified", file)
	}
	docs, err := manifest.Values(data, file)
	if err != nil || len(docs) != 1 {
		return nil, "", nil, fmt.Errorf("%s cannot be minified", file)
	}
	manifest.ForgetPositions(docs[0])
	return docs[0], file, nil, nil
}

// check reads and judges each file before client-go does: the errors of client-go quote
// what it cannot read, tokens included, and those of check name a line instead. data is
// what the last file holds, decrypted if it is the only one.
func (o *One) check(ctx context.Context, paths []string, read func(path string) ([]byte, error)) (data []byte, findings []report.Finding, err error) {
	found := 0
	for _, path := range paths {
		data, err = read(path)
		if errors.Is(err, os.ErrNotExist) && o.Kubeconfig == "" {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		found++
		docs, err := manifest.Values(data, path)
		var f report.Finding
		if errors.As(err, &f) {
			return nil, []report.Finding{f}, nil
		}
		if slices.ContainsFunc(docs, sopsfile.IsEncrypted) {
			if o.Kubeconfig == "" {
				return nil, nil, report.WithHint(fmt.Errorf("%s is encrypted with SOPS", path), "name it, so that it is decrypted: --kubeconfig %s", report.Typed(path))
			}
			if docs, err = seal.Open(ctx, sopsfile.New(nil), data, path); err != nil {
				return nil, nil, err
			}
			if data, err = sopsfile.Marshal(docs, 0); err != nil {
				return nil, nil, fmt.Errorf("%s cannot be written as YAML", path)
			}
		}
		for _, doc := range docs {
			if bad := kubeconfig.CheckDocument(doc, path); report.HasErrors(bad) {
				return nil, bad, nil
			}
		}
	}
	if found == 0 {
		return nil, nil, report.WithHint(fmt.Errorf("no kubeconfig: %s", strings.Join(paths, ", ")), "name the destination's with --kubeconfig FILE")
	}
	return data, nil, nil
}

// minify leaves in a kubeconfig what its context needs, with the files that it names
// inlined. The finding says why that cannot be.
func (o *One) minify(config *clientcmdapi.Config) *report.Finding {
	if o.Context != "" {
		config.CurrentContext = o.Context
	}
	choose := "choose one with --context: kubectl config get-contexts"
	if o.Kubeconfig != "" {
		choose += " --kubeconfig " + report.Typed(o.Kubeconfig)
	}
	switch {
	case config.CurrentContext == "":
		return &report.Finding{Rule: "context-broken", Message: "the kubeconfig has no current-context", Hint: choose}
	case config.Contexts[config.CurrentContext] == nil:
		return &report.Finding{Rule: "context-broken", Message: fmt.Sprintf("the kubeconfig has no context %q", config.CurrentContext), Hint: choose}
	}
	if err := clientcmdapi.MinifyConfig(config); err != nil {
		return &report.Finding{Rule: "context-broken", Message: fmt.Sprintf("context %q names a cluster or user that the kubeconfig does not have", config.CurrentContext), Hint: choose}
	}
	if field := doubled(config); field != "" {
		return &report.Finding{Rule: "file-reference", Message: fmt.Sprintf("%s is given both as a file and as data", field), Hint: "remove one of the two"}
	}
	if f := inline(config); f != nil {
		return f
	}
	for _, user := range config.AuthInfos {
		user.Extensions = nil
	}
	return nil
}

// parseKubeconfig does what client-go does with a file, without reading it
// again: it may be a pipe.
func parseKubeconfig(data []byte, path string) (*clientcmdapi.Config, error) {
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		cluster.LocationOfOrigin = path
	}
	for _, user := range config.AuthInfos {
		user.LocationOfOrigin = path
	}
	return config, clientcmd.ResolveLocalPaths(config)
}

// doubled names a field that stands both as a path and as data, "" if none does.
func doubled(c *clientcmdapi.Config) string {
	for _, cluster := range c.Clusters {
		if cluster.CertificateAuthority != "" && len(cluster.CertificateAuthorityData) > 0 {
			return "certificate-authority"
		}
	}
	for _, user := range c.AuthInfos {
		switch {
		case user.ClientCertificate != "" && len(user.ClientCertificateData) > 0:
			return "client-certificate"
		case user.ClientKey != "" && len(user.ClientKeyData) > 0:
			return "client-key"
		}
	}
	return ""
}

// inline reads the files that the kubeconfig names. The finding names the field and the
// path of one that cannot be read.
func inline(c *clientcmdapi.Config) *report.Finding {
	read := func(field string, path *string, data *[]byte) *report.Finding {
		if *path == "" {
			return nil
		}
		content, err := os.ReadFile(*path)
		if err != nil {
			f := &report.Finding{Rule: "file-reference", Message: fmt.Sprintf("%s: read %s: %v", field, *path, worktree.Cause(err)),
				Hint: "a path is relative to the kubeconfig; where the file is, this prints the kubeconfig with it: kubectl config view --raw --flatten --minify"}
			if field == "tokenFile" { // which --flatten leaves as it is
				f.Hint = "a path is relative to the kubeconfig; run this where the file is, or " + kubeconfig.HintLasting
			}
			return f
		}
		*path, *data = "", content
		return nil
	}
	for _, cluster := range c.Clusters {
		if f := read("certificate-authority", &cluster.CertificateAuthority, &cluster.CertificateAuthorityData); f != nil {
			return f
		}
	}
	for _, user := range c.AuthInfos {
		token := []byte(user.Token)
		if user.Token != "" {
			user.TokenFile = ""
		}
		if f := cmp.Or(
			read("client-certificate", &user.ClientCertificate, &user.ClientCertificateData),
			read("client-key", &user.ClientKey, &user.ClientKeyData),
			read("tokenFile", &user.TokenFile, &token),
		); f != nil {
			return f
		}
		user.Token = strings.TrimSpace(string(token))
	}
	return nil
}
