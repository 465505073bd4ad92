package seal

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// policies makes policies for a key that is at hand.
func policies(t testing.TB) func(sopsfile.Selector) *sopsfile.Policy {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "GNUPGHOME"} {
		t.Setenv(name, home)
	}
	t.Setenv("SOPS_AGE_KEY", id.String())
	return func(s sopsfile.Selector) *sopsfile.Policy {
		p, err := sopsfile.Recipients{Age: []string{id.Recipient().String()}}.Policy()
		if err != nil {
			t.Fatal(err)
		}
		p.Selector, p.Source = s, ".sops.yaml:2"
		return p
	}
}

const (
	jwt    = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImZpeHR1cmUifQ.eyJpc3MiOiJrdWJlcm5ldGVzL3NlcnZpY2VhY2NvdW50In0.cGxhbnRlZCBzaWduYXR1cmU"
	opaque = "planted-7f3a9c1e5b2d8f604a7c"
	pem    = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcGxhbnRlZHBsYW50\nZWRwbGFudGVk\n-----END PRIVATE KEY-----\n"
)

// maker makes documents that hold credentials in places where people have them.
type maker struct{ *rand.Rand }

func (m maker) one(of ...string) string { return of[m.IntN(len(of))] }

func (m maker) kubeconfig() map[string]any {
	user := map[string]any{m.one("token", "password", "client-key-data"): m.one(jwt, opaque)}
	if m.IntN(2) == 0 {
		user["client-key-data"] = base64.StdEncoding.EncodeToString([]byte(pem))
	}
	c := map[string]any{
		"clusters":        []any{map[string]any{"name": "w", "cluster": map[string]any{"server": "https://w:6443"}}},
		"contexts":        []any{map[string]any{"name": "w", "context": map[string]any{"cluster": "w", "user": "u"}}},
		"current-context": "w",
		"users":           []any{map[string]any{"name": "u", "user": user}},
	}
	if m.IntN(2) == 0 {
		c["kind"], c["apiVersion"] = "Config", "v1"
	}
	return c
}

func (m maker) text(v any) string {
	text, _ := yaml.Marshal(v)
	switch m.IntN(3) {
	case 0:
		return base64.StdEncoding.EncodeToString(text)
	default:
		return string(text)
	}
}

func (m maker) metadata() map[string]any {
	meta := map[string]any{"name": "a"}
	switch m.IntN(6) {
	case 0:
		meta["annotations"] = map[string]any{"note": m.text(m.kubeconfig())}
	case 1:
		meta["annotations"] = map[string]any{leak.LastApplied: m.text(m.kubeconfig()), "team": "dr"}
	case 2:
		meta["labels"] = map[string]any{"data": "b"}
	}
	return meta
}

func (m maker) object() map[string]any {
	switch m.IntN(5) {
	case 0:
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": m.metadata(), m.one("stringData", "data", "value"): map[string]any{m.one("value", "token", "data"): m.text(m.kubeconfig()), "b_unencrypted": jwt}}
	case 1:
		return map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": m.metadata(), "stringData": map[string]any{"token": opaque}}
	case 2:
		return map[string]any{"apiVersion": "stork.libopenstorage.org/v1alpha1", "kind": "ClusterPair", "metadata": m.metadata(),
			"spec": map[string]any{"config": m.kubeconfig(), "options": map[string]any{"token": opaque, "ip": "10.0.0.1"}}}
	case 3:
		return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": m.metadata(), "data": map[string]any{"kubeconfig": m.text(m.kubeconfig())}}
	}
	return map[string]any{"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "metadata": m.metadata(),
		"spec": map[string]any{"values": map[string]any{"manifests": []any{m.object()}}}}
}

// file is the text of one to three documents.
func (m maker) file() string {
	var docs []string
	for range 1 + m.IntN(10)/8 + m.IntN(10)/9 {
		var doc any = m.object()
		switch m.IntN(6) {
		case 0:
			doc = m.kubeconfig()
		case 1:
			doc = map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{m.object(), m.object()}}
		case 2:
			doc = map[string]any{"remote": m.kubeconfig(), m.one("token", "token_unencrypted"): jwt}
		}
		text, _ := yaml.Marshal(doc)
		lines := strings.SplitAfter(string(text), "\n")
		if m.IntN(3) == 0 {
			lines[0] = m.one("# token: "+opaque, "# a note", "# sops:enc") + "\n" + lines[0]
		}
		docs = append(docs, strings.Join(lines, ""))
	}
	return strings.Join(docs, "---\n")
}

var selectors = []sopsfile.Selector{
	{}, {}, {}, {EncryptedRegex: SecretSelector}, {EncryptedRegex: PairSelector}, {EncryptedRegex: "^(data|stringData|spec|value|items)$"},
	{EncryptedRegex: "^(client-key-data|token|password)$"}, {UnencryptedRegex: "^(apiVersion|kind|metadata)$"}, {UnencryptedRegex: "token"},
	{EncryptedSuffix: "ata"}, {UnencryptedSuffix: "en"}, {EncryptedCommentRegex: "sops:enc"}, {UnencryptedCommentRegex: "note"},
}

// TestNothingIsLeft: a file that is encrypted holds nothing of what was planted, in
// base64 or not, and decrypts to what it was; what would leave something is refused.
func TestNothingIsLeft(t *testing.T) {
	policy := policies(t)
	safe := sopsfile.New(nil)
	sealed, refused := 0, 0
	sops := filepath.Join(os.Getenv("CLUSTERPAIR_TOOLS"), "sops")
	dir := t.TempDir()
	for seed := range uint64(1500) {
		m := maker{rand.New(rand.NewPCG(seed, 1))}
		in := Input{Name: "f.yaml", Target: m.one("f.yaml", "f.yaml", "f.yaml", "f.json", "f.conf"), Data: []byte(m.file()), Policy: policy(selectors[m.IntN(len(selectors))])}
		result, err := File(t.Context(), safe, in)
		if err != nil {
			var left *LeftError
			var format *FormatError
			if !errors.As(err, &left) && !errors.As(err, &format) {
				t.Fatalf("seed %d: %v\n%s", seed, err, in.Data)
			}
			if strings.Contains(err.Error(), "planted") || strings.Contains(err.Error(), "eyJ") {
				t.Fatalf("seed %d: the error tells the value: %v", seed, err)
			}
			refused++
			continue
		}
		sealed++
		for _, planted := range []string{jwt, opaque, pem, "cGxhbnRlZ", "BsYW50ZW"} {
			if bytes.Contains(result.Data, []byte(planted)) {
				t.Fatalf("seed %d: %.12s… is in clear:\n%s\nmade of\n%s", seed, planted, result.Data, in.Data)
			}
		}
		manifest.Scan(result.Data, "f", func(d manifest.Document, _ *report.Finding) {
			leak.Document(d.Node, d.Text, d.Line, func(l leak.Leak) {
				t.Fatalf("seed %d: %s is in clear:\n%s", seed, l.What, result.Data)
			})
		})
		docs, err := safe.Decrypt(t.Context(), result.Data, "f")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if want, got := plainText(t, in), text(t, docs, in.Target); got != want {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, want)
		}
		if sealed%25 == 0 && os.Getenv("CLUSTERPAIR_TOOLS") != "" {
			path := filepath.Join(dir, in.Target)
			if err := os.WriteFile(path, result.Data, 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(sops, "decrypt", path).CombinedOutput(); err != nil {
				t.Fatalf("seed %d: sops: %v: %s", seed, err, out)
			}
		}
	}
	if sealed < 400 || refused < 400 {
		t.Errorf("%d sealed, %d refused: the test has lost its sense", sealed, refused)
	}
}

// plainText is a file as it is to come back.
func plainText(t *testing.T, in Input) string {
	if sopsfile.FormatOf(in.Target) == sopsfile.Binary {
		return string(in.Data)
	}
	docs, err := manifest.Parse(in.Data, in.Name)
	if err != nil {
		t.Fatal(err)
	}
	for _, doc := range docs {
		dropCopies(doc, nil)
	}
	return text(t, docs, in.Target)
}

// text is a file without its comments, which stand elsewhere after a while.
func text(t *testing.T, docs []*yaml.Node, target string) string {
	t.Helper()
	if whole, ok := sopsfile.Unwrap(docs); ok && sopsfile.FormatOf(target) == sopsfile.Binary {
		return string(whole)
	}
	var b strings.Builder
	for _, doc := range manifest.Contents(docs) {
		var v any
		if err := doc.Decode(&v); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, v)
	}
	return b.String()
}

func TestPlaces(t *testing.T) {
	policy := policies(t)
	for name, c := range map[string]struct {
		text     string
		selector sopsfile.Selector
		want     string
	}{
		"kubeconfig":              {"kind: Config\nusers:\n- name: a\n  user: {token: short}\nclusters: []\n", sopsfile.Selector{EncryptedRegex: "^name$"}, "users.0.user.token is left in clear 4:17"},
		"by name":                 {"contexts: {}\nusers: {a: {password: short}}\nclusters: {b: c}\n", sopsfile.Selector{EncryptedRegex: "^b$"}, "users.a.password is left in clear 2:23"},
		"nested":                  {"a: {b: [{kind: Secret, data: {c: eA==}}]}\nd: e\n", sopsfile.Selector{EncryptedRegex: "^d$"}, "a.b.0.data.c is left in clear 1:34"},
		"metadata":                {"apiVersion: v1\nkind: Secret\nmetadata: {name: data}\nstringData: {name: a}\n", sopsfile.Selector{EncryptedRegex: "^(stringData|name)$"}, "metadata.name is encrypted, which nobody could review or find again 3:18"},
		"nothing":                 {"a: b\n", sopsfile.Selector{EncryptedRegex: "^c$"}, "no value is encrypted 1:1"},
		"credential fields alone": {"kind: Config\nusers: [{name: a, user: {token: short}}]\nclusters: []\n", sopsfile.Selector{EncryptedRegex: "^token$"}, ""},
		"an empty Secret":         {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {b: ''}\n", sopsfile.Selector{}, ""},
		"a copy":                  {"apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {b: see planted-in-both}}\nstringData: {password: planted-in-both}\n", sopsfile.Selector{}, "metadata.annotations.b is left in clear: a copy of what is encrypted elsewhere 3:38"},
		"a copy in a comment":     {"apiVersion: v1\nkind: Secret # planted-in-both\nmetadata: {name: a}\nstringData: {value: '{token: planted-in-both}'}\n", sopsfile.Selector{}, "a copy of what is encrypted is left in clear in a comment 2:0"},
		"a reference twice":       {"apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {b: '${PASSWORD_OF_WEST}'}}\nstringData: {password: '${PASSWORD_OF_WEST}'}\n", sopsfile.Selector{}, ""},
		"the server twice":        {"apiVersion: v1\nkind: Secret\nmetadata: {name: a, annotations: {server: 'https://west.example.com'}}\nstringData: {server: 'https://west.example.com'}\n", sopsfile.Selector{}, ""},
		"what looks sealed":       {"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {b: 'ENC[x'}\nvalue: c\n", sopsfile.Selector{EncryptedRegex: "^value$"}, "stringData.b is left in clear 4:17"},
	} {
		_, err := File(t.Context(), sopsfile.New(nil), Input{Name: "f.yaml", Data: []byte(c.text), Policy: policy(c.selector)})
		got := ""
		if left := (*LeftError)(nil); errors.As(err, &left) {
			got = fmt.Sprintf("%s %d:%d", left, left.Line, left.Column)
		} else if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestExecSecret leaves no secret of an exec plugin in clear: what the creation rule does
// not select is refused.
func TestExecSecret(t *testing.T) {
	policy := policies(t)
	for _, exec := range []string{"env: [{name: AWS_SECRET_ACCESS_KEY, value: " + opaque + "}]", "args: [get-token, --client-secret, hunter2]", "args: [--oidc-client-secret=hunter2]"} {
		text := "apiVersion: v1\nkind: Config\nclusters: []\nusers:\n- name: a\n  user: {token: " + opaque + ", exec: {command: a, " + exec + "}}\n"
		for selector, refused := range map[sopsfile.Selector]bool{
			{}: false, {EncryptedRegex: "^users$"}: false,
			{EncryptedRegex: "^(token|client-key-data|password)$"}: true, {UnencryptedSuffix: "c"}: true,
		} {
			_, err := File(t.Context(), sopsfile.New(nil), Input{Name: "kc.yaml", Data: []byte(text), Target: "kc.yaml", Policy: policy(selector)})
			var left *LeftError
			if errors.As(err, &left) != refused || err != nil && !refused {
				t.Errorf("%s, %+v: %v", exec, selector, err)
			}
		}
	}
}

// TestPairByTree judges a new pair by its tree, and the file of it: the two agree.
func TestPairByTree(t *testing.T) {
	policy := policies(t)(sopsfile.Selector{})
	const pair = "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: west, namespace: apps, %s}\n" +
		"spec: {config: {clusters: {west: {server: 'https://west.example.com'}}, contexts: {west: {cluster: west, user: stork}}, current-context: west, users: {stork: {token: " + opaque + "}}}, options: {}%s}\n"
	for name, c := range map[string]struct {
		metadata, spec string
		refused        string // the rule; empty for none
	}{
		"labels":              {"labels: {team: dr}", "", ""},
		"a sentence":          {"annotations: {owner: 'the team, see #dr: password is asked there'}", "", ""},
		"a copy of the token": {"annotations: {note: 'use " + opaque + " there'}", "", "leaf-not-encrypted"},
		"a token":             {"annotations: {note: " + jwt + "}", "", "leaf-not-encrypted"},
		"a password by name":  {"annotations: {password: correct-horse-battery}", "", "leaf-not-encrypted"},
		"after a hash":        {"annotations: {note: 'see # token: abcdefgh12'}", "", "leaf-not-encrypted"},
		"a label of SOPS":     {"labels: {token_unencrypted: abcdefgh12}", "", "leaf-not-encrypted"},
		"an encrypted label":  {"labels: {token: a}", "", "metadata-encrypted"},
		"project mappings":    {"labels: {}", ", platformOptions: {rancher: {projectMappings: {a: b, token: c}}}", ""},
	} {
		text := fmt.Sprintf(pair, c.metadata, c.spec)
		docs, err := manifest.Values([]byte(text), "pair.yaml")
		if err != nil {
			t.Fatal(err)
		}
		document, _, err := EncryptPair(t.Context(), sopsfile.New(nil), docs[0], nil, policy, sopsfile.EncryptOptions{File: "pair.yaml"})
		rule := ""
		if f := (report.Finding{}); errors.As(err, &f) {
			rule = f.Rule
		} else if err != nil {
			t.Fatal(err)
		}
		if rule != c.refused {
			t.Errorf("%s: %q, want %q", name, rule, c.refused)
		}
		if read := CheckObject(document, docs[0], policy, "pair.yaml"); fmt.Sprint(read) != fmt.Sprint(err) {
			t.Errorf("%s: by its tree %v, by its file %v", name, err, read)
		}
	}
}

// TestCommentedKey: a comment that a selector leaves in clear holds no credential.
func TestCommentedKey(t *testing.T) {
	key := "# -----BEGIN PRIVATE KEY-----\n# MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgqlsrn8Jy0NyhO+1p\n# HnWiOpMssPTeY900Xt5kgvDT4jqhRANCAAQstwzjMVl28gYCfUm6B6YR+rpDBRY2\n# 1s8L50kaMW++obdVOEl/nqKq7fNwXTtNQHYUrA/v/mOOnoyRc9JSWETi\n# -----END PRIVATE KEY-----\n"
	const config = "apiVersion: v1\nkind: Config\nclusters: []\nusers:\n- name: a\n  user: {token: " + opaque + "}\n"
	for name, text := range map[string]string{"first": key + config, "last": config + key} {
		for selector, refused := range map[sopsfile.Selector]bool{{}: false, {EncryptedRegex: "^users$"}: true} {
			_, err := File(t.Context(), sopsfile.New(nil), Input{Name: "kc.yaml", Data: []byte(text), Target: "kc.yaml", Policy: policies(t)(selector)})
			var left *LeftError
			if errors.As(err, &left) != refused || err != nil && !refused || refused && left.Reason != InComment {
				t.Errorf("%s, %+v: %v", name, selector, err)
			}
		}
	}
}

// TestCopies leaves out the copies of an object that tools keep in annotations, one in
// gzip as well, and nothing else.
func TestCopies(t *testing.T) {
	text := "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\n  annotations:\n    objectset.rio.cattle.io/applied: H4sIAAAAAAAA/w==\n    team: dr\n    kapp.k14s.io/original: '{}'\n    banzaicloud.com/last-applied: UEsDBA==\n" +
		"stringData: {a: b}\n"
	r, err := File(t.Context(), sopsfile.New(nil), Input{Name: "s.yaml", Data: []byte(text), Target: "s.yaml", Policy: policies(t)(sopsfile.Selector{})})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Copies); got != "[{objectset.rio.cattle.io/applied 6} {kapp.k14s.io/original 8} {banzaicloud.com/last-applied 9}]" {
		t.Errorf("left out: %s", got)
	}
	if text := string(r.Data); strings.Contains(text, "rio") || strings.Contains(text, "kapp") || strings.Contains(text, "banzai") || !strings.Contains(text, "team: dr") {
		t.Errorf("%s", text)
	}
}

// TestNothingToSeal names the credential in the metadata of an object that has nothing
// else, instead of encrypting its name.
func TestNothingToSeal(t *testing.T) {
	for note, want := range map[string]string{
		"a note": "no value is encrypted",
		"token: q8Zt3LmX0vB7nR2kYw5HsC9dJ1fG6pAe": "metadata.annotations.note is left in clear: a token",
	} {
		text := "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  annotations:\n    note: '" + note + "'\n"
		_, err := File(t.Context(), sopsfile.New(nil), Input{Name: "c.yaml", Data: []byte(text), Target: "c.yaml", Policy: policies(t)(sopsfile.Selector{})})
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", note, err, want)
		}
	}
}
