package sopsfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getsops/sops/v3/age"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/keyservice"
	"clusterpair.dev/internal/pattern"
)

// Policy says how a file is encrypted: what a creation rule decides. The
// fields are the caller's to change before the first use; a Policy may then
// be used by several goroutines.
type Policy struct {
	// Selector says which values to encrypt.
	Selector Selector
	// MACOnlyEncrypted leaves the clear values out of the MAC; nil, which
	// means that the rule does not say, is false.
	MACOnlyEncrypted *bool
	// ShamirThreshold is how many of several key groups it takes to decrypt;
	// 0 means all.
	ShamirThreshold int
	// Indent is stores.yaml.indent: 0 writes as kustomize does, which is two
	// spaces and sequences flush with their key, other values as sops does.
	Indent int
	// JSONIndent and BinaryIndent are stores.json.indent and
	// stores.json_binary.indent, the spaces of a level; nil and -1 are one tab.
	JSONIndent, BinaryIndent *int
	// Source is where the policy was found, as in .sops.yaml:4.
	Source string

	groups [][]key
}

// Recipients returns the keys of each key group, as sops names them.
func (p *Policy) Recipients() [][]string { return namesOf(p.groups) }

// metadata is a sops section with all but what only encryption can tell.
func (p *Policy) metadata() (*metadata, *matcher, error) {
	if p == nil || len(p.groups) == 0 {
		return nil, nil, errors.New("encrypt: the policy names no recipient")
	}
	match, err := p.Selector.compiled()
	if err != nil {
		return nil, nil, p.fail(err)
	}
	if p.Indent < 0 || p.Indent > 9 {
		return nil, nil, p.fail(fmt.Errorf("stores.yaml.indent is %d, not 0 to 9", p.Indent))
	}
	m := &metadata{groups: p.groups, threshold: p.ShamirThreshold, version: formatVersion, selector: p.Selector}
	m.selector = m.effectiveSelector()
	if len(m.groups) > 1 && m.threshold == 0 {
		m.threshold = len(m.groups)
	}
	m.macOnly = p.MACOnlyEncrypted != nil && *p.MACOnlyEncrypted
	return m, match, nil
}

func (p *Policy) fail(err error) error {
	if p.Source == "" {
		return err
	}
	return fmt.Errorf("%s: %w", p.Source, err)
}

// Recipients are keys named in a function configuration or on a command line
// instead of a .sops.yaml. The fields and what may stand in them are those of
// a creation rule, always as lists.
type Recipients struct {
	Age           []string `yaml:"age,omitempty"`
	PGP           []string `yaml:"pgp,omitempty"`
	KMS           []string `yaml:"kms,omitempty"`
	AWSProfile    string   `yaml:"aws_profile,omitempty"`
	GCPKMS        []string `yaml:"gcp_kms,omitempty"`
	HCKMS         []string `yaml:"hckms,omitempty"`
	AzureKeyVault []string `yaml:"azure_keyvault,omitempty"`
	VaultTransit  []string `yaml:"hc_vault_transit_uri,omitempty"`
}

// Policy returns the policy to encrypt to r, as one key group. It is an error
// if a recipient is malformed or there is none.
func (r Recipients) Policy() (*Policy, error) {
	var g group
	g.age(r.Age...)
	for _, fp := range split(r.PGP) {
		g.add("pgp", strings.ReplaceAll(fp, " ", ""))
	}
	for _, text := range split(r.KMS) {
		arn, role := keyservice.AWS(text)
		g.add("kms", arn, role, r.AWSProfile)
	}
	for _, id := range split(r.GCPKMS) {
		g.add("gcp_kms", strings.ReplaceAll(id, " ", ""))
	}
	for _, id := range split(r.HCKMS) {
		g.hckms(id)
	}
	for _, url := range split(r.AzureKeyVault) {
		g.azure(url)
	}
	for _, uri := range split(r.VaultTransit) {
		g.vault(uri)
	}
	if g.err == nil && len(g.keys) == 0 {
		g.err = errors.New("no recipient is named")
	}
	if g.err != nil {
		return nil, g.err
	}
	return &Policy{groups: [][]key{sortKeys(g.keys)}}, nil
}

// split takes lists apart whose items may be lists with commas.
func split(lists []string) []string {
	var items []string
	for _, l := range lists {
		for item := range strings.SplitSeq(l, ",") {
			items = append(items, strings.TrimSpace(item))
		}
	}
	return items
}

// group collects the keys of a key group, each once, and the first error.
type group struct {
	keys []key
	err  error
}

func (g *group) add(typ string, name ...string) { g.addKey(key{typ: typ, name: name}) }

func (g *group) addKey(k key) {
	if k.name[0] == "" {
		g.fail(fmt.Errorf("%s: an empty entry", k.typ))
		return
	}
	if findKey(g.keys, &k) == nil {
		g.keys = append(g.keys, k)
	}
}

func (g *group) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *group) age(recipients ...string) {
	for _, r := range split(recipients) {
		if strings.HasPrefix(r, "AGE-SECRET-KEY-") {
			g.fail(errors.New("age: a private key stands where a recipient belongs (age1…, as age-keygen -y prints it)"))
			return
		}
		m, err := age.MasterKeyFromRecipient(r)
		if err != nil {
			g.fail(fmt.Errorf("age: %q is not a recipient", r))
			return
		}
		g.addKey(key{typ: "age", name: []string{m.Recipient}, parsed: m, x25519: parseX25519(m.Recipient)})
	}
}

func (g *group) hckms(id string) {
	if err := keyservice.Huawei(id); err != nil {
		g.fail(fmt.Errorf("hckms: %w", err))
		return
	}
	g.add("hckms", id)
}

// azureURL is the URL of a key, with or without its version.
var azureURL = pattern.Later(`^(https://[^/]+)/keys/([^/]+)(?:/([^/]*))?$`)

func (g *group) azure(url string) {
	m := azureURL().FindStringSubmatch(url)
	if m == nil {
		g.fail(fmt.Errorf("azure_keyvault: %q is not https://VAULT/keys/NAME/VERSION", url))
		return
	}
	g.add("azure_kv", m[1], m[2], m[3])
}

func (g *group) vault(uri string) {
	address, engine, name, err := keyservice.Vault(uri)
	if err != nil {
		g.fail(fmt.Errorf("hc_vault_transit_uri: %q is not https://VAULT:8200/v1/ENGINE/keys/NAME", uri))
		return
	}
	g.add("hc_vault", address, engine, name)
}

// RulesName is the name of the file that holds creation rules.
const RulesName = ".sops.yaml"

// FindRules returns the path of the .sops.yaml that counts for a run in dir, as sops finds
// it: config if it is not empty (sops takes it from --config or SOPS_CONFIG), else the
// first one in dir and the directories above it. The path is "" when there is none;
// ignored is a .sops.yml on the way, which sops leaves alone.
func FindRules(dir, config string) (path, ignored string) {
	if config != "" {
		return config, ""
	}
	for range 100 {
		path := filepath.Join(dir, RulesName)
		if _, err := os.Stat(path); err == nil {
			return path, ignored
		}
		if other := filepath.Join(dir, ".sops.yml"); ignored == "" {
			if _, err := os.Stat(other); err == nil {
				ignored = other
			}
		}
		parent := filepath.Join(dir, "..")
		if parent == dir {
			break
		}
		dir = parent
	}
	return "", ignored
}

// Rules are the creation rules of a .sops.yaml. They may be used by several goroutines.
type Rules struct {
	path   string
	dir    string // absolute
	stores rulesStores
	rules  []rule

	judged   sync.Once
	shadowed []Shadow
}

// rule is a creation rule, evaluated. Errors wait until the rule is asked
// for: sops does not mind a broken one below the one that matches.
type rule struct {
	line      int
	pattern   string
	regex     *regexp.Regexp // nil: matches every file
	prefix    string         // with which every file begins that matches
	regexErr  error
	policy    *Policy
	policyErr error
}

// ParseRules reads the .sops.yaml at path, whose directory its patterns are
// relative to. It opens no file. Errors name the line.
func ParseRules(data []byte, path string) (*Rules, error) {
	var config rulesFile
	if err := yaml.Unmarshal(data, &config); err != nil {
		return nil, malformedRules(path, data, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r := &Rules{path: path, dir: dir, stores: config.Stores}
	if n := r.stores.YAML.Indent; n < 0 || n > 9 {
		return nil, &MalformedError{File: path, Field: "stores.yaml.indent", Problem: fmt.Sprintf("is %d, not 0 to 9", n)}
	}
	for i := range config.CreationRules {
		n := &config.CreationRules[i]
		var c creationRule
		if err := n.Decode(&c); err != nil {
			return nil, malformedRules(path, nil, err)
		}
		rule := c.rule(fmt.Sprintf("%s:%d", path, n.Line), &r.stores)
		rule.line = n.Line
		r.rules = append(r.rules, rule)
	}
	return r, nil
}

// malformedRules is an error of the YAML library. data is what it could not read.
func malformedRules(path string, data []byte, err error) error {
	line := 0
	for text := range bytes.Lines(data) {
		if line++; bytes.HasPrefix(text, []byte("<<<<<<< ")) || bytes.HasPrefix(text, []byte(">>>>>>> ")) {
			return &MalformedError{File: path, Line: line, Problem: "a Git conflict marker is left in the file", Hint: "resolve the conflict"}
		}
	}
	line, problem := yamlProblem(err)
	return &MalformedError{File: path, Line: line, Problem: problem}
}

// Policy returns the policy of the first rule that matches file, an absolute
// path. The error is a [NoRuleError] when none does.
func (r *Rules) Policy(file string) (*Policy, error) {
	c := r.first(file)
	if c == nil {
		none := &NoRuleError{Rules: r.path, File: r.relative(file)}
		for i := range r.rules {
			none.Patterns = append(none.Patterns, r.rules[i].pattern)
		}
		return nil, none
	}
	if c.regexErr != nil {
		return nil, c.regexErr
	}
	return c.policy, c.policyErr
}

// first is the first rule that matches a file, or whose pattern is broken.
func (r *Rules) first(file string) *rule {
	relative := r.relative(file)
	for i := range r.rules {
		if c := &r.rules[i]; strings.HasPrefix(relative, c.prefix) && (c.regexErr != nil || c.regex == nil || c.regex.MatchString(relative)) {
			return c
		}
	}
	return nil
}

// relative is an absolute path as the patterns see it.
func (r *Rules) relative(file string) string {
	return strings.TrimPrefix(file, r.dir+string(filepath.Separator))
}

// Shadow is a creation rule that matches no file, as an earlier one matches all of
// them: sops takes the first.
type Shadow struct {
	// Line is that of the rule, ByLine that of the one before it.
	Line, ByLine int
	// Pattern and ByPattern are their path_regex; that before may have none.
	Pattern, ByPattern string
	// Extra are the recipients of the one before that the rule does not name.
	Extra []string

	rule, by *rule
}

// Path is that of the .sops.yaml.
func (r *Rules) Path() string { return r.path }

// Takes tells whether the files of the rule, such as one by its absolute path, go to
// the rule before it.
func (r *Rules) Takes(s Shadow, file string) bool {
	return r.first(file) == s.by && s.rule.regex.MatchString(r.relative(file))
}

// Shadowed are the rules that never apply, though they would let fewer read a file than
// the one that does.
func (r *Rules) Shadowed() []Shadow {
	r.judged.Do(func() {
		for j := range r.rules {
			if shadow, ok := r.shadow(j); ok {
				r.shadowed = append(r.shadowed, shadow)
			}
		}
	})
	return r.shadowed
}

// shadow holds a rule against those before it.
func (r *Rules) shadow(j int) (Shadow, bool) {
	rule := &r.rules[j]
	if rule.regexErr != nil || rule.regex == nil || rule.policy == nil {
		return Shadow{}, false
	}
	texts := pattern.TextsOf(rule.regex)
	for i := range r.rules[:j] {
		by := &r.rules[i]
		if by.regexErr != nil || by.policy == nil || by.regex != nil && !texts.Match(by.regex) {
			continue
		}
		var extra []string
		mine := slices.Concat(rule.policy.Recipients()...)
		for _, name := range slices.Concat(by.policy.Recipients()...) {
			if !slices.Contains(mine, name) && !slices.Contains(extra, name) {
				extra = append(extra, name)
			}
		}
		shadow := Shadow{Line: rule.line, ByLine: by.line, Pattern: rule.pattern, ByPattern: by.pattern, Extra: extra, rule: rule, by: by}
		return shadow, len(extra) > 0 && by.pattern != rule.pattern // the first takes all
	}
	return Shadow{}, false
}

// rulesFile is a .sops.yaml. It has every field that sops reads, used here or
// not, so that the same files are in error.
type rulesFile struct {
	CreationRules    []yaml.Node `yaml:"creation_rules"`
	DestinationRules []struct {
		PathRegex        string       `yaml:"path_regex"`
		S3Bucket         string       `yaml:"s3_bucket"`
		S3Prefix         string       `yaml:"s3_prefix"`
		GCSBucket        string       `yaml:"gcs_bucket"`
		GCSPrefix        string       `yaml:"gcs_prefix"`
		VaultPath        string       `yaml:"vault_path"`
		VaultAddress     string       `yaml:"vault_address"`
		VaultKVMountName string       `yaml:"vault_kv_mount_name"`
		VaultKVVersion   int          `yaml:"vault_kv_version"`
		RecreationRule   creationRule `yaml:"recreation_rule"`
		OmitExtensions   bool         `yaml:"omit_extensions"`
	} `yaml:"destination_rules"`
	Stores rulesStores `yaml:"stores"`
}

// rulesStores says how files of each format are written.
type rulesStores struct {
	Dotenv     struct{}  `yaml:"dotenv"`
	INI        struct{}  `yaml:"ini"`
	JSONBinary jsonStore `yaml:"json_binary"`
	JSON       jsonStore `yaml:"json"`
	YAML       struct {
		Indent int `yaml:"indent"`
	} `yaml:"yaml"`
}

type jsonStore struct {
	Indent *int `yaml:"indent"` // 0 is not the default
}

// creationRule is one entry of creation_rules.
type creationRule struct {
	PathRegex        string     `yaml:"path_regex"`
	Age              stringList `yaml:"age"`
	PGP              stringList `yaml:"pgp"`
	KMS              stringList `yaml:"kms"`
	AWSProfile       string     `yaml:"aws_profile"`
	GCPKMS           stringList `yaml:"gcp_kms"`
	HCKMS            []string   `yaml:"hckms"`
	AzureKeyVault    stringList `yaml:"azure_keyvault"`
	VaultURI         stringList `yaml:"hc_vault_transit_uri"`
	KeyGroups        []keyGroup `yaml:"key_groups"`
	ShamirThreshold  int        `yaml:"shamir_threshold"`
	Selector         `yaml:",inline"`
	MACOnlyEncrypted *bool `yaml:"mac_only_encrypted"`
}

type keyGroup struct {
	Merge []keyGroup `yaml:"merge"`
	KMS   []struct {
		ARN        string             `yaml:"arn"`
		Role       string             `yaml:"role"`
		Context    map[string]*string `yaml:"context"`
		AWSProfile string             `yaml:"aws_profile"`
	} `yaml:"kms"`
	GCPKMS []struct {
		ResourceID string `yaml:"resource_id"`
	} `yaml:"gcp_kms"`
	HCKMS []struct {
		KeyID string `yaml:"key_id"`
	} `yaml:"hckms"`
	AzureKV []struct {
		VaultURL string `yaml:"vaultUrl"`
		Key      string `yaml:"key"`
		Version  string `yaml:"version"`
	} `yaml:"azure_keyvault"`
	Vault []string `yaml:"hc_vault"`
	Age   []string `yaml:"age"`
	PGP   []string `yaml:"pgp"`
}

// stringList is a field that takes a list, or one string with commas.
type stringList struct {
	items []string
	err   error
}

// UnmarshalYAML keeps a value of another type for the rule that uses it.
func (l *stringList) UnmarshalYAML(n *yaml.Node) error {
	var v any
	if err := n.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
	case string:
		for item := range strings.SplitSeq(v, ",") {
			if item = strings.TrimSpace(item); item != "" {
				l.items = append(l.items, item)
			}
		}
	case []any:
		for _, item := range v {
			s, ok := item.(string)
			if !ok {
				l.err = errors.New("an item of the list is not a string")
			}
			l.items = append(l.items, s)
		}
	default:
		l.err = errors.New("neither a string nor a list of strings")
	}
	return nil
}

func (c *creationRule) rule(source string, stores *rulesStores) rule {
	r := rule{pattern: c.PathRegex, prefix: pattern.Prefix(c.PathRegex)}
	if c.PathRegex != "" {
		if r.regex, r.regexErr = regexp.Compile(c.PathRegex); r.regexErr != nil {
			r.regexErr = fmt.Errorf("%s: path_regex: %w", source, r.regexErr)
		}
	}
	p := &Policy{
		Selector: c.Selector, MACOnlyEncrypted: c.MACOnlyEncrypted,
		ShamirThreshold: c.ShamirThreshold, Source: source,
		Indent: stores.YAML.Indent, JSONIndent: stores.JSON.Indent, BinaryIndent: stores.JSONBinary.Indent,
	}
	if err := c.fill(p); err != nil {
		r.policyErr = fmt.Errorf("%s: %w", source, err)
		return r
	}
	r.policy = p
	return r
}

func (c *creationRule) fill(p *Policy) error {
	if err := c.Selector.Validate(); err != nil {
		return err
	}
	if len(c.KeyGroups) == 0 {
		for _, l := range []struct {
			name string
			list stringList
		}{
			{"age", c.Age}, {"pgp", c.PGP}, {"kms", c.KMS}, {"gcp_kms", c.GCPKMS},
			{"azure_keyvault", c.AzureKeyVault}, {"hc_vault_transit_uri", c.VaultURI},
		} {
			if l.list.err != nil {
				return fmt.Errorf("%s: %w", l.name, l.list.err)
			}
		}
		one, err := Recipients{
			Age: c.Age.items, PGP: c.PGP.items, KMS: c.KMS.items, AWSProfile: c.AWSProfile, GCPKMS: c.GCPKMS.items,
			HCKMS: c.HCKMS, AzureKeyVault: c.AzureKeyVault.items, VaultTransit: c.VaultURI.items,
		}.Policy()
		if err != nil {
			return err
		}
		p.groups = one.groups
		return nil
	}
	for i := range c.KeyGroups {
		var g group
		c.KeyGroups[i].collect(&g)
		if g.err == nil && len(g.keys) == 0 {
			g.err = errors.New("no recipient is named")
		}
		if g.err != nil {
			return fmt.Errorf("key_groups[%d]: %w", i, g.err)
		}
		p.groups = append(p.groups, sortKeys(g.keys))
	}
	return nil
}

func (k *keyGroup) collect(g *group) {
	for i := range k.Merge {
		k.Merge[i].collect(g)
	}
	g.age(k.Age...)
	for _, fp := range k.PGP {
		g.add("pgp", strings.ReplaceAll(fp, " ", ""))
	}
	for _, m := range k.KMS {
		g.kms(m.ARN, m.Role, m.AWSProfile, m.Context)
	}
	for _, m := range k.GCPKMS {
		g.add("gcp_kms", strings.ReplaceAll(m.ResourceID, " ", ""))
	}
	for _, m := range k.HCKMS {
		g.hckms(m.KeyID)
	}
	for _, m := range k.AzureKV {
		g.add("azure_kv", m.VaultURL, m.Key, m.Version)
	}
	for _, uri := range k.Vault {
		g.vault(uri)
	}
}

func (g *group) kms(arn, role, profile string, context map[string]*string) {
	k := key{typ: "kms", name: []string{arn, role, profile}}
	for name, v := range context {
		if v == nil {
			g.fail(fmt.Errorf("kms: context %q has no value", name))
			return
		}
		if k.context == nil {
			k.context = map[string]string{}
		}
		k.context[name] = *v
	}
	g.addKey(k)
}
