package sopsfile_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/getsops/sops/v3/config"

	"clusterpair.dev/internal/sopsfile"
)

const (
	age1 = "age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw"
	age2 = "age1lzd99uklcjnc0e7d860axevet2cz99ce9pq6tzuzd05l5nr28ams36nvun"
	pgp1 = "85D77543B3D624B63CEA9E6DBC17301B491B3F21"
	arn1 = "arn:aws:kms:us-east-1:656532927350:key/920aff2e-c5f1-4040-943a-047fa387b27e"
	gcp1 = "projects/mygcproject/locations/global/keyRings/mykeyring/cryptoKeys/thekey"
	az1  = "https://sops.vault.azure.net/keys/sops-key/someversion"
	hcv1 = "https://vault.example.com:8200/v1/transit/keys/firstkey"
	hck1 = "tr-west-1:abc12345-6789-0123-4567-890123456789"
)

// rulesCorpus are .sops.yaml files: name, text.
var rulesCorpus = map[string]string{
	"age":                  "creation_rules:\n- age: " + age1 + "\n",
	"age comma":            "creation_rules:\n- age: '" + age1 + ", " + age2 + ",'\n",
	"age list":             "creation_rules:\n- age: [" + age1 + ", " + age2 + "]\n",
	"age folded":           "creation_rules:\n- age: >-\n    " + age1 + ",\n    " + age2 + "\n",
	"age list with commas": "creation_rules:\n- age: ['" + age1 + "," + age2 + "']\n",
	"age malformed":        "creation_rules:\n- age: age1xyz\n",
	"age unknown":          "creation_rules:\n- age: hello\n",
	"age number":           "creation_rules:\n- age: 12\n",
	"age mapping":          "creation_rules:\n- age: {a: b}\n",
	"age list of numbers":  "creation_rules:\n- age: [1]\n",
	"age null":             "creation_rules:\n- age:\n  pgp: " + pgp1 + "\n",
	"pgp":                  "creation_rules:\n- pgp: " + pgp1 + "\n",
	"pgp spaces":           "creation_rules:\n- pgp: 85D7 7543 B3D6 24B6 3CEA 9E6D BC17 301B 491B 3F21\n",
	"kms":                  "creation_rules:\n- kms: " + arn1 + "\n  aws_profile: prod\n",
	"kms role":             "creation_rules:\n- kms: " + arn1 + "+arn:aws:iam::656532927350:role/sops\n",
	"gcp":                  "creation_rules:\n- gcp_kms: " + gcp1 + "\n",
	"azure":                "creation_rules:\n- azure_keyvault: " + az1 + "\n",
	"azure bad":            "creation_rules:\n- azure_keyvault: https://nothing\n",
	"vault":                "creation_rules:\n- hc_vault_transit_uri: " + hcv1 + "\n",
	"vault bad":            "creation_rules:\n- hc_vault_transit_uri: vault.example.com\n",
	"vault prefixed":       "creation_rules:\n- hc_vault_transit_uri: https://vault.example.com/x/v1/transit/keys/k\n",
	"hckms":                "creation_rules:\n- hckms: [" + hck1 + "]\n",
	"hckms string":         "creation_rules:\n- hckms: " + hck1 + "\n",
	"hckms bad":            "creation_rules:\n- hckms: [nocolon]\n",
	"all":                  "creation_rules:\n- age: " + age1 + "\n  pgp: " + pgp1 + "\n  kms: " + arn1 + "\n  gcp_kms: " + gcp1 + "\n  azure_keyvault: " + az1 + "\n  hc_vault_transit_uri: " + hcv1 + "\n  hckms: [" + hck1 + "]\n",
	"first match":          "creation_rules:\n- path_regex: \\.json$\n  age: " + age2 + "\n- path_regex: ^rendered/\n  age: " + age1 + "\n- age: " + age2 + "\n",
	"relative":             "creation_rules:\n- path_regex: ^rendered/east/pair.yaml$\n  age: " + age1 + "\n",
	"absolute":             "creation_rules:\n- path_regex: ^/\n  age: " + age1 + "\n",
	"no match":             "creation_rules:\n- path_regex: never\n  age: " + age1 + "\n",
	"regex broken":         "creation_rules:\n- path_regex: '('\n  age: " + age1 + "\n",
	"regex broken below":   "creation_rules:\n- age: " + age1 + "\n- path_regex: '('\n",
	"rule broken below":    "creation_rules:\n- age: " + age1 + "\n- age: hello\n",
	"empty file":           "",
	"no rules":             "stores: {yaml: {indent: 2}}\n",
	"empty rules":          "creation_rules: []\n",
	"rules null":           "creation_rules:\n",
	"rules mapping":        "creation_rules: {}\n",
	"rule scalar":          "creation_rules: [x]\n",
	"rule null":            "creation_rules: [null]\n",
	"no key":               "creation_rules:\n- encrypted_regex: x\n",
	"regex":                "creation_rules:\n- encrypted_regex: ^(config|token)$\n  age: " + age1 + "\n",
	"unencrypted regex":    "creation_rules:\n- unencrypted_regex: ^x$\n  age: " + age1 + "\n",
	"suffixes":             "creation_rules:\n- encrypted_suffix: _s\n  age: " + age1 + "\n",
	"unencrypted suffix":   "creation_rules:\n- unencrypted_suffix: _c\n  age: " + age1 + "\n",
	"comment regex":        "creation_rules:\n- encrypted_comment_regex: sops:enc\n  age: " + age1 + "\n",
	"uncomment regex":      "creation_rules:\n- unencrypted_comment_regex: sops:clear\n  age: " + age1 + "\n",
	"two selectors":        "creation_rules:\n- encrypted_regex: x\n  encrypted_suffix: y\n  age: " + age1 + "\n",
	"mac only":             "creation_rules:\n- mac_only_encrypted: true\n  age: " + age1 + "\n",
	"mac only false":       "creation_rules:\n- mac_only_encrypted: false\n  age: " + age1 + "\n",
	"mac only word":        "creation_rules:\n- mac_only_encrypted: maybe\n  age: " + age1 + "\n",
	"groups":               "creation_rules:\n- shamir_threshold: 2\n  key_groups:\n  - age: [" + age1 + "]\n  - pgp: [" + pgp1 + "]\n  - kms:\n    - arn: " + arn1 + "\n      role: arn:aws:iam::656532927350:role/sops\n      context: {app: pair, stage: prod}\n      aws_profile: prod\n",
	"groups all types":     "creation_rules:\n- key_groups:\n  - age: [" + age1 + "]\n    pgp: [" + pgp1 + "]\n    gcp_kms: [{resource_id: " + gcp1 + "}]\n    hckms: [{key_id: '" + hck1 + "'}]\n    azure_keyvault: [{vaultUrl: 'https://sops.vault.azure.net', key: sops-key, version: v1}]\n    hc_vault: ['" + hcv1 + "']\n",
	"groups merge":         "creation_rules:\n- key_groups:\n  - merge:\n    - age: [" + age1 + "]\n    - merge: [{pgp: [" + pgp1 + "]}]\n    age: [" + age1 + ", " + age2 + "]\n",
	"groups over keys":     "creation_rules:\n- age: " + age2 + "\n  key_groups:\n  - age: [" + age1 + "]\n",
	"groups duplicates":    "creation_rules:\n- key_groups:\n  - age: [" + age1 + ", " + age1 + "]\n    kms: [{arn: " + arn1 + "}, {arn: " + arn1 + ", context: {a: b}}, {arn: " + arn1 + "}]\n",
	"groups age comma":     "creation_rules:\n- key_groups:\n  - age: ['" + age1 + ", " + age2 + "']\n",
	"groups bad age":       "creation_rules:\n- key_groups:\n  - age: [hello]\n",
	"groups age string":    "creation_rules:\n- key_groups:\n  - age: " + age1 + "\n",
	"anchors":              "k: &k " + age1 + "\ncreation_rules:\n- path_regex: ^x\n  age: *k\n- age: [*k]\n",
	"merge key":            "base: &b {age: " + age1 + "}\ncreation_rules:\n- <<: *b\n  mac_only_encrypted: true\n",
	"unknown field":        "creation_rules:\n- age: " + age1 + "\n  unknown: 1\n",
	"duplicate field":      "creation_rules:\n- age: " + age1 + "\n  age: " + age2 + "\n",
	"duplicate top":        "creation_rules: []\ncreation_rules: []\n",
	"not yaml":             "creation_rules: [\n",
	"tab":                  "creation_rules:\n\t- age: x\n",
	"scalar":               "hello\n",
	"destination rules":    "destination_rules:\n- path_regex: x\n  s3_bucket: b\n  recreation_rule: {age: " + age1 + "}\ncreation_rules:\n- age: " + age1 + "\n",
	"destination broken":   "destination_rules: 1\ncreation_rules:\n- age: " + age1 + "\n",
	"threshold text":       "creation_rules:\n- shamir_threshold: x\n  age: " + age1 + "\n",
	"stores":               "stores:\n  yaml:\n    indent: 2\n  json:\n    indent: 4\ncreation_rules:\n- age: " + age1 + "\n",
	"stores of JSON":       "stores: {json: {indent: 0}, json_binary: {indent: 3}}\ncreation_rules:\n- age: " + age1 + "\n",
	"stores by default":    "stores: {json: {indent: -1}, json_binary: {}}\ncreation_rules:\n- age: " + age1 + "\n",
	"stores text":          "stores:\n  yaml:\n    indent: two\ncreation_rules:\n- age: " + age1 + "\n",
	"bom":                  "\uFEFFcreation_rules:\n- age: " + age1 + "\n",
	"crlf":                 "creation_rules:\r\n- age: " + age1 + "\r\n",
	"two documents":        "creation_rules:\n- age: " + age1 + "\n---\ncreation_rules: 1\n",
}

// sameRules tells how our rules and those of sops differ for a file, or "".
// stricter says that we may refuse what sops takes.
func sameRules(dir, text, file string, stricter bool) string {
	path := filepath.Join(dir, ".sops.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err.Error()
	}
	theirs, theirErr := config.LoadCreationRuleForFile(path, file, nil)
	if theirErr == nil && (theirs == nil || len(theirs.KeyGroups) == 0 || slices.ContainsFunc(groupNames(theirs), func(g []string) bool { return len(g) == 0 })) {
		theirErr = errors.New("no keys: sops refuses to encrypt")
	}
	rules, err := sopsfile.ParseRules([]byte(text), path)
	var p *sopsfile.Policy
	if err == nil {
		p, err = rules.Policy(file)
	}
	switch {
	case err != nil && theirErr != nil, err != nil && stricter:
		return ""
	case (err == nil) != (theirErr == nil):
		return fmt.Sprintf("error %v, sops %v", err, theirErr)
	}
	ours, want := p.Recipients(), groupNames(theirs)
	for i := range want {
		slices.Sort(want[i])
		want[i] = slices.Compact(want[i])
	}
	for i := range ours {
		slices.Sort(ours[i])
	}
	if fmt.Sprint(ours) != fmt.Sprint(want) {
		return fmt.Sprintf("recipients %v, sops %v", ours, want)
	}
	selector := sopsfile.Selector{
		EncryptedRegex: theirs.EncryptedRegex, UnencryptedRegex: theirs.UnencryptedRegex,
		EncryptedSuffix: theirs.EncryptedSuffix, UnencryptedSuffix: theirs.UnencryptedSuffix,
		EncryptedCommentRegex: theirs.EncryptedCommentRegex, UnencryptedCommentRegex: theirs.UnencryptedCommentRegex,
	}
	if p.Selector != selector {
		return fmt.Sprintf("selector %+v, sops %+v", p.Selector, selector)
	}
	if (p.MACOnlyEncrypted != nil && *p.MACOnlyEncrypted) != theirs.MACOnlyEncrypted {
		return "mac_only_encrypted differs"
	}
	if p.ShamirThreshold != theirs.ShamirThreshold {
		return "shamir_threshold differs"
	}
	stores, err := config.LoadStoresConfig(path)
	if err != nil || stores.YAML.Indent != p.Indent {
		return fmt.Sprintf("indent %d, sops %d", p.Indent, stores.YAML.Indent)
	}
	for _, json := range []struct {
		ours *int
		sops int
	}{{p.JSONIndent, stores.JSON.Indent}, {p.BinaryIndent, stores.JSONBinary.Indent}} {
		if ours := json.ours; ours == nil && json.sops != -1 || ours != nil && *ours != json.sops {
			return fmt.Sprintf("indent of JSON %v, sops %d", ours, json.sops)
		}
	}
	return ""
}

// groupNames are the keys of sops' groups as our Policy names them.
func groupNames(c *config.Config) [][]string {
	var groups [][]string
	for _, g := range c.KeyGroups {
		var names []string
		for _, k := range g {
			names = append(names, k.ToString())
		}
		groups = append(groups, names)
	}
	return groups
}

func TestRulesAsSops(t *testing.T) {
	environment(t)
	dir := t.TempDir()
	for name, text := range rulesCorpus {
		for _, file := range []string{"rendered/east/pair.yaml", "x.yaml", "a.json"} {
			if diff := sameRules(dir, text, filepath.Join(dir, file), false); diff != "" {
				t.Errorf("%s: %s: %s", name, file, diff)
			}
		}
		if diff := sameRules(dir, text, "/elsewhere/x.yaml", false); diff != "" {
			t.Errorf("%s: elsewhere: %s", name, diff)
		}
	}
}

// FuzzRules: what we take, sops takes, with the same outcome.
func FuzzRules(f *testing.F) {
	for _, text := range rulesCorpus {
		f.Add(text)
	}
	environment(f)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "azure") || strings.Contains(text, "context") {
			return // sops asks Azure for a version, and dies of a context without value
		}
		if diff := sameRules(dir, text, filepath.Join(dir, "rendered/east/pair.yaml"), true); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRulesErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"syntax":     {"creation_rules:\n- a: b: c\n", "c/.sops.yaml:2: mapping values are not allowed in this context"},
		"twice":      {"creation_rules:\n- age: " + age1 + "\n  age: " + age1 + "\n", "c/.sops.yaml:3: a key that stands twice in one mapping, first on line 2"},
		"type":       {"creation_rules:\n- age: " + age1 + "\n- shamir_threshold: hidden\n", "c/.sops.yaml:3: cannot unmarshal !!str"},
		"recipient":  {"creation_rules:\n- path_regex: x\n  age: nonsense\n", `c/.sops.yaml:2: age: "nonsense" is not a recipient`},
		"private":    {"creation_rules:\n- age: AGE-SECRET-KEY-1QQQQ\n", "c/.sops.yaml:2: age: a private key stands where a recipient belongs (age1…, as age-keygen -y prints it)"},
		"regex":      {"creation_rules:\n- path_regex: (\n", "c/.sops.yaml:2: path_regex: error parsing regexp: missing closing ): `(`"},
		"selectors":  {"creation_rules:\n- encrypted_regex: a\n  encrypted_suffix: b\n  age: " + age1 + "\n", "c/.sops.yaml:2: encrypted_regex and encrypted_suffix exclude each other: use one"},
		"no keys":    {"creation_rules:\n- encrypted_regex: a\n", "c/.sops.yaml:2: no recipient is named"},
		"group":      {"creation_rules:\n- key_groups: [{age: [" + age1 + "]}, {}]\n", "c/.sops.yaml:2: key_groups[1]: no recipient is named"},
		"no rule":    {"creation_rules:\n- path_regex: ^a/\n- path_regex: ^b/\n", `c/.sops.yaml: no creation rule matches "x.yaml"; it has path_regex ^a/, ^b/`},
		"none":       {"stores: {}\n", "c/.sops.yaml has no creation_rules"},
		"indent":     {"stores: {yaml: {indent: -1}}\n", "c/.sops.yaml: stores.yaml.indent: is -1, not 0 to 9"},
		"kms no arn": {"creation_rules:\n- key_groups: [{kms: [{role: r}]}]\n", "c/.sops.yaml:2: key_groups[0]: kms: an empty entry"},
	} {
		rules, err := sopsfile.ParseRules([]byte(test.text), "c/.sops.yaml")
		if err == nil {
			abs, absErr := filepath.Abs("c/x.yaml")
			if absErr != nil {
				t.Fatal(absErr)
			}
			_, err = rules.Policy(abs)
		}
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: %v\nwant %s", name, err, test.want)
		}
	}
}

func TestFindRules(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	touch := func(names ...string) {
		for _, n := range names {
			if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	touch("a/.sops.yml", ".sops.yaml")
	if path, ignored := sopsfile.FindRules(deep, ""); path != filepath.Join(dir, ".sops.yaml") || ignored != filepath.Join(dir, "a/.sops.yml") {
		t.Errorf("found %q, ignored %q", path, ignored)
	}
	touch("a/b/.sops.yaml")
	if path, ignored := sopsfile.FindRules(deep, ""); path != filepath.Join(deep, ".sops.yaml") || ignored != "" {
		t.Errorf("found %q, ignored %q", path, ignored)
	}
	if path, _ := sopsfile.FindRules(deep, "other.yaml"); path != "other.yaml" {
		t.Errorf("found %q in spite of SOPS_CONFIG", path)
	}
	// The same as sops finds.
	want, err := config.FindConfigFile(filepath.Join(dir, "a") + "/")
	if err != nil {
		t.Fatal(err)
	}
	if path, _ := sopsfile.FindRules(filepath.Join(dir, "a"), ""); path != want {
		t.Errorf("found %q, sops %q", path, want)
	}
}

func TestRecipientsPolicy(t *testing.T) {
	p, err := sopsfile.Recipients{
		Age: []string{age1, age2}, PGP: []string{pgp1}, KMS: []string{arn1}, AWSProfile: "prod", GCPKMS: []string{gcp1},
		HCKMS: []string{hck1}, AzureKeyVault: []string{az1}, VaultTransit: []string{hcv1},
	}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{arn1 + "||prod", gcp1, hck1, az1, hcv1, pgp1, age1, age2}}
	if got := p.Recipients(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for _, r := range []sopsfile.Recipients{{}, {Age: []string{""}}, {PGP: []string{" "}}, {VaultTransit: []string{"x"}}, {AzureKeyVault: []string{"x"}}, {HCKMS: []string{"x"}}} {
		if _, err := r.Policy(); err == nil {
			t.Errorf("%+v is taken", r)
		}
	}
}
