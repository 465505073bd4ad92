package live

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
)

// now is when the pairs of these tests are looked at.
var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// token is one that ends at a time.
func token(end time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(fmt.Appendf(nil, `{"exp":%d,"sub":"system:serviceaccount:kube-system:stork"}`, end.Unix())) + ".c2ln"
}

// ca is a certificate, as it stands in a kubeconfig.
var ca = func() string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}()

// spec is that of a pair over one fabric, as generate renders it, in JSON.
func spec(server, token string) string {
	return fmt.Sprintf(`{"config":{"clusters":{"west":{"certificate-authority-data":%q,"server":%q}},"contexts":{"west":{"cluster":"west","user":"stork"}},"current-context":"west","users":{"stork":{"token":%q}}},"options":{}}`, ca, server, token)
}

// pair is a ClusterPair of the cluster, in JSON. It was made an hour ago, and changed
// then, too.
type pair struct {
	spec, status, metadata string
	managed                [][3]string // what was changed, by whom, minutes ago
}

func (p pair) json() []byte {
	var fields []string
	for _, m := range p.managed {
		minutes, _ := time.ParseDuration(m[2])
		fields = append(fields, fmt.Sprintf(`{"manager":%q,"operation":"Update","apiVersion":"stork.libopenstorage.org/v1alpha1","time":%q,"fieldsType":"FieldsV1","fieldsV1":{%s}}`, m[1], now.Add(-minutes).Format(time.RFC3339), m[0]))
	}
	text := fmt.Sprintf(`{"apiVersion":"stork.libopenstorage.org/v1alpha1","kind":"ClusterPair","metadata":{"namespace":"apps","name":"west","creationTimestamp":%q,"managedFields":[%s]%s},"spec":%s`,
		now.Add(-time.Hour).Format(time.RFC3339), strings.Join(fields, ","), p.metadata, p.spec)
	if p.status != "" {
		text += `,"status":` + p.status
	}
	return []byte(text + "}")
}

// statusOf looks at one pair of the cluster, as a run over its namespace would.
func statusOf(t *testing.T, live []byte, git *Committed) *PairStatus {
	t.Helper()
	p, err := cluster.DecodePair(live)
	if err != nil {
		t.Fatal(err)
	}
	s := NewStatus(nil, Options{Namespace: "apps", Named: true, Git: git, Within: 30 * 24 * time.Hour, Flags: " --context east"})
	s.now = now
	if err := s.visit(t.Context(), p, live); err != nil {
		t.Fatal(err)
	}
	s.judge()
	return s.Pairs()[0]
}

// TestVerdict: what a pair of the cluster is told to be, by what Stork says of it and by
// when its credential ends.
func TestVerdict(t *testing.T) {
	const (
		ready    = `{"schedulerStatus":"Ready","storageStatus":"NotProvided"}`
		specs    = `"f:spec":{"f:config":{}}`
		statuses = `"f:status":{"f:schedulerStatus":{}}`
		seen     = `,"finalizers":["stork.libopenstorage.org/finalizer-cleanup"]`
	)
	good := spec("https://west.example.com:6443", token(now.AddDate(1, 0, 0)))
	for name, c := range map[string]struct {
		pair
		verdict string
		rules   []string
	}{
		"works":                  {pair{good, ready, "", nil}, "Ready", nil},
		"works over two fabrics": {pair{strings.Replace(good, `"options":{}`, `"options":{"token":"a","ip":"10.0.0.1"}`, 1), `{"schedulerStatus":"Ready","storageStatus":"Ready"}`, "", nil}, "Ready", nil},
		"storage does not":       {pair{strings.Replace(good, `"options":{}`, `"options":{"token":"a","ip":"10.0.0.1"}`, 1), `{"schedulerStatus":"Ready","storageStatus":"Error"}`, "", nil}, "NotReady", []string{"pair-not-ready"}},
		"scheduler does not":     {pair{good, `{"schedulerStatus":"Error","storageStatus":"NotProvided"}`, "", nil}, "NotReady", []string{"pair-not-ready"}},
		"just made":              {pair{good, "", "", [][3]string{{specs, "flux", "30s"}}}, "NotReady", []string{"pair-not-ready"}},
		"never looked at":        {pair{good, "", "", nil}, "Stuck", []string{"pair-stuck"}},
		"seen, and said nothing": {pair{good, "", seen, nil}, "Stuck", []string{"pair-stuck"}},
		"no client":              {pair{strings.Replace(good, `"https://west.example.com:6443"`, `""`, 1), "", seen, nil}, "Stuck", []string{"server-invalid", "pair-stuck"}},
		"undecodable":            {pair{strings.Replace(good, ca, "?", 1), "", "", nil}, "Stuck", []string{"bad-base64", "pair-stuck"}},
		"on its way out":         {pair{good, ready, `,"deletionTimestamp":"2026-03-01T11:59:00Z"`, nil}, "NotReady", []string{"pair-not-ready"}},
		"changed after Ready":    {pair{good, ready, "", [][3]string{{statuses, "stork", "20m"}, {specs, "flux", "10m"}}}, "Stale", []string{"pair-stale"}},
		"Ready after the change": {pair{good, ready, "", [][3]string{{specs, "flux", "20m"}, {statuses, "stork", "10m"}}}, "Ready", nil},
		"ends soon":              {pair{spec("https://west.example.com:6443", token(now.AddDate(0, 0, 29))), ready, "", nil}, "Expiring", []string{"credential-expiring"}},
		"ends later":             {pair{spec("https://west.example.com:6443", token(now.AddDate(0, 0, 31))), ready, "", nil}, "Ready", nil},
		"has ended":              {pair{spec("https://west.example.com:6443", token(now)), ready, "", nil}, "Expired", []string{"credential-expired"}},
		"ended, and stale":       {pair{spec("https://west.example.com:6443", token(now)), ready, "", [][3]string{{statuses, "stork", "20m"}, {specs, "flux", "10m"}}}, "Expired", []string{"pair-stale", "credential-expired"}},
		"ciphertext":             {pair{strings.Replace(good, ca, "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]", 1), "", "", nil}, "Encrypted", []string{"still-encrypted", "pair-stuck"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := statusOf(t, c.json(), nil)
			var rules []string
			for _, f := range p.Findings {
				rules = append(rules, f.Rule)
				if strings.Contains(f.Message+f.Hint, "eyJ") {
					t.Errorf("the token is told: %s", f.Message)
				}
			}
			if p.Verdict() != c.verdict || !slices.Equal(rules, c.rules) {
				t.Errorf("%s %q, want %s %q", p.Verdict(), rules, c.verdict, c.rules)
				for _, f := range p.Findings {
					t.Log(f.Severity, f.Message)
				}
			}
		})
	}
}

// TestStalled: a pair that Stork cannot decode is why it says nothing of another one.
func TestStalled(t *testing.T) {
	s := NewStatus(nil, Options{Namespace: "apps", Names: []string{"west"}})
	s.now = now
	good := spec("https://west.example.com:6443", token(now.AddDate(1, 0, 0)))
	broken := strings.Replace(string(pair{spec: strings.Replace(good, ca, "?", 1)}.json()), `"name":"west"`, `"name":"east"`, 1)
	for _, item := range [][]byte{[]byte(broken), pair{spec: good}.json()} {
		p, err := cluster.DecodePair(item)
		if err == nil {
			err = s.visit(t.Context(), p, item)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.judge()
	pairs := s.Pairs()
	if len(pairs) != 1 || len(pairs[0].Findings) != 1 || !strings.Contains(pairs[0].Findings[0].Message, "apps/east, which stalls all") {
		t.Errorf("%d pairs, %v", len(pairs), s.Findings())
	}
}

// TestSynced: what is said of a pair of the cluster beside the file of Git. The file is
// encrypted as generate does it.
func TestSynced(t *testing.T) {
	end := now.AddDate(1, 0, 0)
	one, other := token(end), token(end.Add(time.Hour))
	const server = "https://west.example.com:6443"
	for name, c := range map[string]struct {
		live              string // the spec in the cluster
		digest, key, gone bool   // of the file; the pair in the file is another one
		synced            string
		difference        string
	}{
		"by the digest":              {spec(server, one), true, false, false, Synced, ""},
		"by the key":                 {spec(server, one), false, true, false, Synced, ""},
		"Stork adds zeroes":          {strings.Replace(spec(server, one), `"options":{}`, `"options":{},"platformOptions":{"rancher":null}`, 1), true, false, false, Synced, ""},
		"another token, no key":      {spec(server, other), true, false, false, Drifted, ""},
		"another token, a key":       {spec(server, other), true, true, false, Drifted, "spec.config.users.stork.token"},
		"more than Git has":          {strings.Replace(spec(server, one), `"options":{}`, `"options":{"mode":"async-dr"}`, 1), true, true, false, Drifted, "spec.options.mode"},
		"neither a digest nor a key": {spec(server, one), false, false, false, Unknown, ""},
		"ciphertext":                 {strings.Replace(spec(server, one), ca, "ENC[AES256_GCM,data:YQ==,iv:YQ==,tag:YQ==,type:str]", 1), true, true, false, Encrypted, ""},
		"not in Git":                 {spec(server, one), true, true, true, NotInGit, ""},
	} {
		t.Run(name, func(t *testing.T) {
			live := pair{spec: c.live, status: `{"schedulerStatus":"Ready","storageStatus":"NotProvided"}`}.json()
			namespace := "apps"
			if c.gone {
				namespace = "elsewhere"
			}
			p := statusOf(t, live, committed(t, namespace, spec(server, one), c.digest, c.key))
			if p.Synced != c.synced {
				t.Errorf("%s, want %s", p.Synced, c.synced)
			}
			text := fmt.Sprint(p.Findings)
			if !strings.Contains(text, c.difference) || c.synced == Synced && len(p.Findings) > 0 {
				t.Error(text)
			}
			if strings.Contains(text, "eyJ") {
				t.Error("the token is told")
			}
		})
	}
}

// committed is what Git holds: one pair, encrypted for a key that is at hand, or is not.
func committed(t *testing.T, namespace, spec string, digest, key bool) *Committed {
	t.Helper()
	home := t.TempDir()
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "GNUPGHOME"} {
		t.Setenv(name, home)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY", "")
	if key {
		t.Setenv("SOPS_AGE_KEY", identity.String())
	}
	policy, err := sopsfile.Recipients{Age: []string{identity.Recipient().String()}}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	docs, err := manifest.Values(fmt.Appendf(nil, `{"apiVersion":"stork.libopenstorage.org/v1alpha1","kind":"ClusterPair","metadata":{"name":"west","namespace":%q,"annotations":{}},"spec":%s}`, namespace, spec), "west.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if digest {
		annotations := manifest.Field(docs[0], "metadata", "annotations")
		value := generator.Digest(manifest.Field(docs[0], "spec"), nil)
		annotations.Content = append(annotations.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: generator.AnnotationDigest}, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value})
	}
	sealed, _, err := seal.EncryptPair(t.Context(), sopsfile.New(nil), docs[0], nil, policy, sopsfile.EncryptOptions{File: "west.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	path := filepath.Join("rendered", namespace, "west.yaml")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, sealed, 0o600); err != nil {
		t.Fatal(err)
	}
	repo, err := gitfiles.Open()
	if err != nil {
		t.Fatal(err)
	}
	git, err := ReadCommitted(t.Context(), &gitfiles.WorkTree{Repository: repo}, []string{"rendered"})
	if err != nil {
		t.Fatal(err)
	}
	return git
}
