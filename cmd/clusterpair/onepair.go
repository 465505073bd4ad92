package main

import (
	"bytes"
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

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// onePair is generate with the name of a pair: storkctl generate clusterpair,
// flag for flag where they mean the same.
type onePair struct {
	name, namespace, kubeconfig, context string
	storageOptions, projectMappings      []string
	storkVersion, server, tlsServerName  string
	allow, age                           []string
	plaintext                            bool
	output                               string
}

func (o *onePair) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.namespace, "namespace", "n", "default", "namespace of the pair on the source cluster")
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig of the destination, - for standard input (default: KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&o.context, "context", "", "context of the kubeconfig (default: its current context)")
	flags.StringArrayVarP(&o.storageOptions, "storage-options", "s", nil, "KEY=VALUE for a pair over two fabrics: ip, port, token, mode, backuplocation; repeatable")
	flags.StringArrayVar(&o.projectMappings, "project-mappings", nil, "SOURCE=DESTINATION Rancher project; repeatable")
	flags.StringVar(&o.storkVersion, "stork-version", "", "Stork release of the source cluster, such as 24.3")
	flags.StringVar(&o.server, "server", "", "URL of the destination as the source cluster reaches it")
	flags.StringVar(&o.tlsServerName, "tls-server-name", "", "name in the destination's certificate, if it is not that of the URL")
	flags.StringArrayVar(&o.allow, "allow", nil, "RULE[=REASON] to waive; repeatable")
	flags.StringSliceVar(&o.age, "age", nil, "age recipient that can decrypt the pair; repeatable")
	flags.BoolVar(&o.plaintext, "plaintext", false, "do not encrypt: the output holds the credential in clear")
	flags.StringVarP(&o.output, "output", "o", "", "file to write instead of standard output")
}

func (o *onePair) run(cmd *cobra.Command) error {
	c, findings, err := o.config()
	if err != nil {
		return err
	}
	if err := printFindings(cmd, findings); err != nil {
		return usageError(nil)
	}
	encrypter, err := o.encrypter(c)
	if err != nil {
		return runError(cmd, err)
	}
	doc, file, findings, err := o.load(cmd)
	if err != nil {
		return failed(err)
	}
	c.Spec.Pairs[0].Destination.File = file
	if err := printFindings(cmd, findings); err != nil {
		return err
	}
	var result generator.Result
	findings, err = generator.Generate(cmd.Context(), c, generator.Inputs{
		Secrets: oneDocument{file, doc}, Encrypter: encrypter, Plaintext: o.plaintext, Now: time.Now(),
	}, func(r generator.Result) error { result = r; return nil })
	if bad := printFindings(cmd, findings); bad != nil {
		return bad
	}
	if err != nil {
		return runError(cmd, err)
	}
	if o.plaintext {
		warnPlaintext(cmd, o.output)
	}
	if o.output == "" {
		_, err = cmd.OutOrStdout().Write(result.Document)
	} else if !bytes.Equal(result.Document, result.Previous) {
		if o.plaintext {
			err = writePlaintext(o.output, result.Document)
		} else {
			err = writeFile(o.output, result.Document, 0o644)
		}
	}
	if err != nil {
		return failed(err)
	}
	return nil
}

// commandLine is the name under which findings about flags appear.
const commandLine = "command line"

// config is the function config that the flags amount to; it is whole unless
// one of the findings is an error.
func (o *onePair) config() (*generator.Config, []report.Finding, error) {
	pair := map[string]any{
		"name": o.name, "namespace": o.namespace,
		"destination": nonEmpty(map[string]any{"file": "kubeconfig", "server": o.server, "tlsServerName": o.tlsServerName}),
	}
	known := []string{"ip", "port", "token", "mode", "backuplocation"}
	options, err := assignments("storage-options", "KEY=VALUE", splitCommas(o.storageOptions, known))
	if err != nil {
		return nil, nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(options)) {
		if !slices.Contains(known, key) {
			err := fmt.Errorf("--storage-options: Stork reads no option %q", key)
			if near := report.Nearest(key, known); near != "" {
				err = withHint(err, "did you mean %s?", near)
			}
			return nil, nil, usageError(err)
		}
	}
	if mode, ok := options["mode"]; ok {
		pair["mode"] = mode
		delete(options, "mode")
	}
	if len(options) > 0 {
		pair["options"] = options
	}
	mappings, err := assignments("project-mappings", "SOURCE=DESTINATION", splitCommas(o.projectMappings, nil))
	if err != nil {
		return nil, nil, err
	}
	if len(mappings) > 0 {
		pair["projectMappings"] = mappings
	}
	var allow []map[string]string
	for _, a := range o.allow {
		rule, reason, _ := strings.Cut(a, "=")
		if f, ok := generator.CheckAllowance(rule); !ok {
			return nil, nil, usageError(withHint(errors.New("--allow: "+f.Message), "%s", f.Hint))
		}
		allow = append(allow, map[string]string{"rule": rule, "reason": cmp.Or(reason, "allowed on the command line")})
	}
	if allow != nil {
		pair["allow"] = allow
	}
	doc := map[string]any{
		"apiVersion": generator.APIVersion, "kind": generator.GeneratorKind,
		"metadata": map[string]any{"name": "command-line"},
		"spec":     nonEmpty(map[string]any{"storkVersion": o.storkVersion, "pairs": []any{pair}}),
	}
	var node yaml.Node
	if err := node.Encode(doc); err != nil {
		return nil, nil, usageError(errors.New("the flags cannot be written as a function config"))
	}
	c, findings := generator.ParseConfig(&node, commandLine)
	if c == nil {
		return nil, findings, nil
	}
	c.Metadata.Name = ""                     // no config to prune by
	c.Spec.Pairs[0].Destination.Context = "" // load has chosen it
	return c, findings, nil
}

// assignments are the values of a flag that takes KEY=VALUE, each key once.
func assignments(flag, form string, values []string) (map[string]string, error) {
	m := make(map[string]string, len(values))
	for _, assignment := range values {
		key, value, ok := strings.Cut(assignment, "=")
		if !ok {
			return nil, usageError(fmt.Errorf("--%s takes %s", flag, form))
		}
		if _, twice := m[key]; twice {
			return nil, usageError(withHint(fmt.Errorf("--%s gives %s twice", flag, key), "keep one of the two"))
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
func (o *onePair) encrypter(c *generator.Config) (generator.Encrypter, error) {
	if o.plaintext {
		if len(o.age) > 0 {
			return nil, usageError(errors.New("--age and --plaintext exclude each other"))
		}
		return plainWriter{}, nil
	}
	e := &oneFile{safe: sopsfile.New(nil), path: o.output}
	var err error
	if len(o.age) > 0 {
		e.policy, err = sopsfile.Recipients{Age: o.age}.Policy()
		if err != nil {
			err = usageError(fmt.Errorf("--age: %w", err))
		}
		return e, err
	}
	if o.output == "" {
		return nil, usageError(withHint(errors.New("nobody could decrypt the pair: no recipient is given"),
			"name one with --age, write to a file with a creation rule with -o FILE, or ask for clear text with --plaintext"))
	}
	abs, err := filepath.Abs(o.output)
	if err != nil {
		return nil, failed(err)
	}
	rules, err := findRules(filepath.Dir(abs))
	if err != nil {
		return nil, err
	}
	e.policy, err = rulePolicy(rules, abs, o.output)
	return e, err
}

// oneFile is the [generator.Encrypter] of a single pair.
type oneFile struct {
	safe   *sopsfile.Safe
	policy *sopsfile.Policy
	path   string // "" for standard output
}

// Previous implements [generator.Encrypter].
func (e *oneFile) Previous(string, string) ([]byte, error) {
	if e.path == "" {
		return nil, nil
	}
	data, err := readPrevious(e.path)
	if err != nil {
		return nil, failed(err)
	}
	if data != nil && !isRendered(data) {
		return nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: e.path},
			Message: "the file exists and is no encrypted ClusterPair, so that it is not overwritten", Hint: "move it away, or write to another file"}
	}
	return data, nil
}

// Encrypt implements [generator.Encrypter].
func (e *oneFile) Encrypt(ctx context.Context, _, _ string, plain *yaml.Node, previous []byte, sealed bool) ([]byte, []report.Finding, error) {
	shown := cmp.Or(e.path, "standard output")
	return seal(ctx, e.safe, plain, previous, e.policy, sealed, shown)
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

// load reads the kubeconfig by kubectl's rules: the flag, the files of
// KUBECONFIG merged, or ~/.kube/config. The files that it names are inlined.
// file names what was read, for findings.
func (o *onePair) load(cmd *cobra.Command) (doc *yaml.Node, file string, findings []report.Finding, err error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	rules.WarnIfAllMissing = false
	paths := rules.GetLoadingPrecedence()
	if o.kubeconfig != "" {
		paths = []string{o.kubeconfig}
	}
	// client-go's errors quote what they could not read, tokens included.
	// Reading each file ourselves first gives an error with a line instead.
	found := 0
	var data []byte
	for _, path := range paths {
		data, err = readInput(cmd, path)
		if errors.Is(err, os.ErrNotExist) && o.kubeconfig == "" {
			continue
		}
		if err != nil {
			return nil, "", nil, err
		}
		found++
		docs, err := manifest.Values(data, path)
		var f report.Finding
		if errors.As(err, &f) {
			return nil, "", []report.Finding{f}, nil
		}
		for _, doc := range docs {
			if bad := kubeconfig.CheckDocument(doc, path); report.HasErrors(bad) {
				return nil, "", bad, nil
			}
		}
	}
	if found == 0 {
		return nil, "", nil, withHint(fmt.Errorf("no kubeconfig: %s", strings.Join(paths, ", ")), "name the destination's with --kubeconfig FILE")
	}
	var config *clientcmdapi.Config
	if o.kubeconfig != "" {
		config, err = parseKubeconfig(data, o.kubeconfig)
	} else {
		config, err = rules.Load()
	}
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s cannot be read as a kubeconfig", strings.Join(paths, ", "))
	}
	if o.context != "" {
		config.CurrentContext = o.context
	}
	at := report.Position{File: strings.Join(paths, string(filepath.ListSeparator))}
	bad := func(rule, message, hint string) (*yaml.Node, string, []report.Finding, error) {
		return nil, "", []report.Finding{{Rule: rule, Severity: report.Error, Position: at, Message: message, Hint: hint}}, nil
	}
	switch {
	case config.CurrentContext == "":
		return bad("context-broken", "the kubeconfig has no current-context", "choose one with --context: kubectl config get-contexts")
	case config.Contexts[config.CurrentContext] == nil:
		return bad("context-broken", fmt.Sprintf("the kubeconfig has no context %q", config.CurrentContext), "see the contexts: kubectl config get-contexts")
	}
	if err := clientcmdapi.MinifyConfig(config); err != nil {
		return bad("context-broken", fmt.Sprintf("context %q names a cluster or user that the kubeconfig does not have", config.CurrentContext), "see the contexts: kubectl config get-contexts")
	}
	if field := doubled(config); field != "" {
		return bad("file-reference", fmt.Sprintf("%s is given both as a file and as data", field), "remove one of the two")
	}
	if err := inline(config); err != nil {
		return bad("file-reference", err.Error(), "paths are relative to the kubeconfig")
	}
	for _, user := range config.AuthInfos {
		user.Extensions = nil
	}
	data, err = clientcmd.Write(*config)
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s cannot be minified", at.File)
	}
	docs, err := manifest.Values(data, at.File)
	if err != nil || len(docs) != 1 {
		return nil, "", nil, fmt.Errorf("%s cannot be minified", at.File)
	}
	forgetLines(docs[0])
	return docs[0], at.File, nil, nil
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

// forgetLines clears the lines of a merged document, which are no user's.
func forgetLines(n *yaml.Node) {
	n.Line, n.Column = 0, 0
	for _, c := range n.Content {
		forgetLines(c)
	}
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

// inline reads the files that the kubeconfig names. Its errors name the field
// and the path.
func inline(c *clientcmdapi.Config) error {
	read := func(field string, path *string, data *[]byte) error {
		if *path == "" {
			return nil
		}
		content, err := os.ReadFile(*path)
		if err != nil {
			return fmt.Errorf("%s: read %s: %w", field, *path, cause(err))
		}
		*path, *data = "", content
		return nil
	}
	for _, cluster := range c.Clusters {
		if err := read("certificate-authority", &cluster.CertificateAuthority, &cluster.CertificateAuthorityData); err != nil {
			return err
		}
	}
	for _, user := range c.AuthInfos {
		token := []byte(user.Token)
		if user.Token != "" {
			user.TokenFile = ""
		}
		if err := errors.Join(
			read("client-certificate", &user.ClientCertificate, &user.ClientCertificateData),
			read("client-key", &user.ClientKey, &user.ClientKeyData),
			read("tokenFile", &user.TokenFile, &token),
		); err != nil {
			return err
		}
		user.Token = strings.TrimSpace(string(token))
	}
	return nil
}
