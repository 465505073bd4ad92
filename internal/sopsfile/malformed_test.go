package sopsfile_test

import (
	"errors"
	"strings"
	"testing"

	"clusterpair.dev/internal/sopsfile"
)

// What cannot be decrypted names file, line, field and cause, and no value.
func TestMalformed(t *testing.T) {
	r := newRun(t, identity(t))
	good, _ := r.encrypt(pairText, nil)
	file := string(good)
	token := strings.TrimPrefix(strings.TrimSpace(lineOf(good, "token:")), "token: ")
	mac := strings.TrimPrefix(strings.TrimSpace(lineOf(good, "mac:")), "mac: ")
	replace := func(old, new string) string {
		if !strings.Contains(file, old) {
			t.Fatalf("no %q in the file", old)
		}
		return strings.Replace(file, old, new, 1)
	}
	for name, test := range map[string]struct {
		text, want string
		is         error
	}{
		"plain":          {pairText, "f.yaml: not encrypted with SOPS", sopsfile.ErrNotEncrypted},
		"empty":          {"", "f.yaml: not encrypted with SOPS", sopsfile.ErrNotEncrypted},
		"not YAML":       {"a: x\nb: planted: c\n", "f.yaml:2: mapping values are not allowed in this context", nil},
		"a list":         {"- planted\n", "f.yaml:1: a document must be a mapping", nil},
		"a string":       {"planted\n", "f.yaml:1: a document must be a mapping", nil},
		"unknown anchor": {"a: *planted\n", "f.yaml: unknown anchor", nil},
		"duplicate key":  {replace("      west:", "      west: {}\n      west:"), "f.yaml:28: key \"west\" stands here a second time", nil},
		"number key":     {"1: planted\nsops: {}\n", "f.yaml:1: a key must be a string: quote it", nil},
		"bad tag":        {"a: !!int planted\nsops: {}\n", "f.yaml:1: the value does not fit its tag", nil},
		"huge number":    {"a: 18446744073709551615\nsops: {}\n", "f.yaml:1: the number is too large: quote it", nil},
		"sops scalar":    {"sops: planted\n", "f.yaml:1: sops is not a mapping", nil},
		"sops empty":     {"a: b\nsops: {}\n", "f.yaml:2: sops names no key", nil},
		"no time":        {replace("lastmodified: \"2026", "lastmodified: \"planted"), "f.yaml:", nil},
		"bare time":      {replace(`"2026-11-22T10:00:00Z"`, "2026-11-22T10:00:00Z"), "f.yaml:", nil},
		"two selectors":  {replace("  mac:", "  encrypted_suffix: planted\n  mac:"), "f.yaml:", nil},
		"value in clear": {replace(token, "planted"), "spec.config.users.admin.token: the value is not encrypted, though the selector of the file says so", nil},
		"number":         {replace(token, "12"), "spec.config.users.admin.token: the value is not encrypted, though the selector of the file says so", nil},
		"cut":            {replace(token, token[:len(token)/2]), "spec.config.users.admin.token: the value is not encrypted", nil},
		"trailing":       {replace(token, token+"planted"), "spec.config.users.admin.token: the value is not encrypted", nil},
		"not base64":     {replace(token, strings.Replace(token, "data:", "data:!planted", 1)), "token: the value is not a whole ENC[…]: it was cut or edited", nil},
		"flipped":        {replace(token, strings.Replace(token, ",tag:", ",tag:AAAA", 1)), "token: the value does not decrypt: it was changed, moved to another field or encrypted with another data key", nil},
		"retyped":        {replace(token, strings.Replace(token, "type:str", "type:int", 1)), "token: the value does not fit its type", nil},
		"unknown type":   {replace(token, strings.Replace(token, "type:str", "type:planted", 1)), "token: the value has a type that SOPS does not know", nil},
		"no mac":         {replace(mac, `""`), "", sopsfile.ErrMAC},
		"other mac":      {replace(mac, token), "", sopsfile.ErrMAC},
		"value removed":  {replace(lineOf(good, "token:"), ""), "", sopsfile.ErrMAC},
		"later":          {replace("lastmodified: \"2026", "lastmodified: \"2027"), "", sopsfile.ErrMAC},
		"data key":       {replace("-----BEGIN AGE ENCRYPTED FILE-----", "-----BEGIN planted-----"), "no age identity at hand fits", nil},
		"alias bomb":     {bomb, "f.yaml:1: aliases expand to more than 200000 nodes", nil},
		"alias text":     {"a: &a " + strings.Repeat("z", 100_000) + "\nb: [" + strings.Repeat("*a,", 2000) + "]\nsops: {}\n", "f.yaml:1: aliases expand to more than 2 MiB", nil},
		"alias cycle":    {"a: &a [*a]\nsops: {}\n", "f.yaml:1: aliases expand to more than 200000 nodes", nil},
	} {
		_, err := r.safe.Decrypt(t.Context(), []byte(test.text), "f.yaml")
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", name, err, test.want)
		} else if strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: the error quotes a value: %v", name, err)
		}
		if test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%s: %v is not %v", name, err, test.is)
		}
	}
}

const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
f: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]
`

// What Encrypt refuses.
func TestEncryptRefuses(t *testing.T) {
	mine := identity(t)
	r := newRun(t, mine)
	good, _ := r.encrypt(pairText, nil)
	token := strings.TrimPrefix(strings.TrimSpace(lineOf(good, "token:")), "token: ")
	infinite := agePolicy(t, pairSelector, true, 0, mine)
	for name, test := range map[string]struct {
		text, prev, want string
		policy           *sopsfile.Policy
	}{
		"encrypted":          {text: string(good), want: "pair.yaml:8: sops: the document is encrypted already"},
		"encrypted value":    {text: "token: " + token, want: "pair.yaml:1: token: the value is encrypted already, but the document has no sops section"},
		"merge key":          {text: "a: &a {b: c}\nd:\n  <<: *a\n", want: "pair.yaml:3: a merge key (<<) would become a plain key: write out what it merges"},
		"plain prev":         {text: pairText, prev: pairText, want: "pair.yaml: not encrypted with SOPS"},
		"broken prev":        {text: pairText, prev: "a: x\nb: planted: c\n", want: "pair.yaml:2: mapping values are not allowed in this context"},
		"no policy":          {text: pairText, policy: &sopsfile.Policy{}, want: "encrypt: the policy names no recipient"},
		"selector":           {text: pairText, policy: agePolicy(t, sopsfile.Selector{EncryptedRegex: "("}, true, 0, mine), want: "encrypted_regex: error parsing regexp"},
		"indent":             {text: pairText, policy: agePolicy(t, pairSelector, true, 12, mine), want: "stores.yaml.indent is 12, not 0 to 9"},
		"infinite":           {text: "a: .inf\n", policy: infinite, want: "pair.yaml: an infinite number or NaN cannot be written in kustomize's style"},
		"binary":             {text: "a: !!binary /w==\n", policy: infinite, want: "pair.yaml: the document holds a value that kustomize cannot write"},
		"quoted merge key":   {text: "\"<<\": {a: b}\nlong: " + strings.Repeat("a ", 60), policy: infinite, want: `pair.yaml: a key "<<" cannot be written`},
		"beyond 64 bits":     {text: "a: 1e19\n", policy: infinite, want: "pair.yaml: a number beyond 64 bits cannot be written"},
		"comment once ENC[]": {text: "# a\nb: c\n", policy: agePolicy(t, sopsfile.Selector{UnencryptedCommentRegex: "ENC"}, false, 0, mine), want: "unencrypted_comment_regex matches the comment once it is encrypted"},
	} {
		policy, prev := test.policy, []byte(nil)
		if policy == nil {
			policy = r.policy
		}
		if test.prev != "" {
			prev = []byte(test.prev)
		}
		_, _, err := r.safe.Encrypt(t.Context(), parse(t, test.text), prev, policy, sopsfile.EncryptOptions{File: "pair.yaml"})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v\nwant %s", name, err, test.want)
		}
	}
}

// Files that old versions of sops wrote.
func TestOldFiles(t *testing.T) {
	r := newRun(t, identity(t))
	r.policy.Selector, r.policy.Indent = sopsfile.Selector{}, 4
	r.policy.MACOnlyEncrypted = nil
	const text = "data: secret\nplain_unencrypted: clear\n"
	enc, _ := r.encrypt(text, nil)
	old := strings.NewReplacer(
		"    unencrypted_suffix: _unencrypted\n", "",
		"sops:\n", "sops:\n    kms: []\n    gcp_kms: []\n    azure_kv: []\n    hc_vault: []\n    pgp: []\n    attention: old\n",
		"version: 3.13.3", "version: 3.7.1",
	).Replace(string(enc))
	want, err := sopsDecrypt([]byte(old))
	if err != nil {
		t.Fatal(err)
	}
	if got := decrypted(t, r.safe, []byte(old)); got != string(want) {
		t.Errorf("got %s", got)
	}
	if same, change := r.encrypt(text, []byte(old)); change.Kind != sopsfile.Unchanged || string(same) != old {
		t.Errorf("again: %v", change)
	}
}
