package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/audit"
	"clusterpair.dev/internal/expiring"
	"clusterpair.dev/internal/graph"
	"clusterpair.dev/internal/plant"
	"clusterpair.dev/internal/report"
)

// TestNoSecretOfGoodInput plants values into credentials with which nothing is
// wrong, so that every command goes all the way: it renders, encrypts, compares
// and decrypts them. Each has to end well and to print what it is for.
func TestNoSecretOfGoodInput(t *testing.T) {
	ca, caKey, caPEM := testCertificate(t, plant.Value+" CA", nil, nil)
	cert, key, certPEM := testCertificate(t, plant.Value, ca, caKey)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil || cert == nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"sub":%q,"exp":%d}`, plant.Value, time.Now().AddDate(1, 0, 0).Unix()))
	users := map[string]string{
		"a token":       "token: " + plant.Value + "-of-an-account",
		"a JWT":         "token: eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ." + claims + ".c2lnbmF0dXJlc2lnbmF0dXJl",
		"a password":    "username: admin, password: " + plant.Value,
		"a certificate": "client-certificate-data: " + encoded(string(certPEM)) + ", client-key-data: " + encoded(string(keyPEM)),
	}
	demo, err := filepath.Abs("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", demo)
	for name, user := range users {
		for _, section := range []string{"data", "stringData"} {
			t.Run(name+" in "+section, func(t *testing.T) {
				t.Chdir(t.TempDir())
				checkGoodInput(t, section, string(caPEM), user)
			})
		}
	}
}

func checkGoodInput(t *testing.T, section, caPEM, user string) {
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kubeconfig := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: w, cluster: {server: \"https://west.example.com:6443\", certificate-authority-data: %s}}], "+
		"contexts: [{name: w, context: {cluster: w, user: w}}], current-context: w, users: [{name: w, user: {%s}}]}\n", encoded(caPEM), user)
	value, token := kubeconfig, plant.Value+"-of-storage"
	if section == "data" {
		value, token = encoded(kubeconfig), encoded(token)
	}
	secret := fmt.Sprintf("apiVersion: v1\nkind: Secret\nmetadata: {name: west, namespace: fleet}\n%s:\n  token: %s\n  value: %s\n", section, token, quoted(value))
	write("secret.yaml", secret)
	write("kubeconfig.yaml", kubeconfig)
	config := `apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata: {name: planted}
spec:
  storkVersion: "24.3"
  namespace: mig
  pairs:
  - name: pair
    destination: {secret: {name: west, key: value}}
    options: {ip: 10.0.0.9, tokenFrom: {secret: {name: west, key: token}}}
    allow: [{rule: basic-auth, reason: test}]
  files: [secret.yaml]
  encryption: {age: [` + demoRecipient + `]}
`
	write("clusterpair.yaml", config)
	if out, err := exec.Command("git", "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "config.kubernetes.io/v1", "kind": "ResourceList",
		"items": []any{plant.Decoded(t, []byte(secret))}, "functionConfig": plant.Decoded(t, []byte(strings.Replace(config, "  files: [secret.yaml]\n", "", 1)))})
	if err != nil {
		t.Fatal(err)
	}
	const rendered = "rendered/mig/pair.yaml"
	type planting struct {
		args  []string
		stdin string
		want  string // in standard output
		code  int
		shows bool // standard output is the plaintext, and is to hold the value
	}
	one := planting{args: []string{"generate", "pair", "--kubeconfig", "kubeconfig.yaml", "--age", demoRecipient, "--stork-version", "24.3"}, want: "ENC[AES256_GCM,"}
	if strings.Contains(user, "password") { // which no flag can waive
		one.want, one.code = "", exitFindings
	}
	runs := []planting{
		{args: []string{"generate", "--diff"}, want: "+kind: ClusterPair"},
		{args: []string{"generate", "--check"}},
		one,
		{stdin: string(list), args: []string{}, want: "ENC[AES256_GCM,"},
		{args: []string{"build"}, want: "ENC[AES256_GCM,"},
		{args: []string{"build", "--decrypt"}, want: "kind: ClusterPair", shows: true},
		{args: []string{"encrypt", "--age", demoRecipient, "secret.yaml"}, want: "ENC[AES256_GCM,"},
		{args: []string{"encrypt", "--age", demoRecipient, "secret.yaml", "-o", "sealed.yaml"}},
		{args: []string{"decrypt", rendered}, want: "kind: ClusterPair", shows: true},
		{args: []string{"decrypt", "sealed.yaml"}, want: "kind: Secret", shows: true},
		{args: []string{"decrypt", "sealed.yaml", "-o", "opened.yaml"}},
		{args: []string{"decrypt", "tampered.yaml"}, code: exitFindings},
		{args: []string{"validate", "tampered.yaml", "--decrypt"}, want: "tampered.yaml", code: exitFindings},
		{args: []string{"adopt", rendered, "-f", ".git", "--age", demoRecipient}, want: "created .git/secrets/mig/pair-kubeconfig.yaml"},
		{args: []string{"textconv", rendered}, want: "kind: ClusterPair"},
		{args: []string{"textconv", "secret.yaml"}, want: "kind: Secret"},
		{args: []string{"textconv", "kubeconfig.yaml"}, want: "west.example.com"},
		{args: []string{"generate", "--diff"}},
	}
	for _, format := range report.Formats() {
		runs = append(runs,
			planting{args: []string{"validate", "-o", format, rendered, "--decrypt"}},
			planting{args: []string{"validate", "-o", format, "secret.yaml", "kubeconfig.yaml"}, want: "secret.yaml", code: exitFindings})
	}
	for _, format := range expiring.Formats() {
		runs = append(runs, planting{args: []string{"expiring", "-o", format, "rendered"}})
	}
	for _, format := range graph.Formats() {
		runs = append(runs, planting{args: []string{"graph", "--validate", "-o", format}})
	}
	for _, format := range audit.Formats() {
		runs = append(runs, planting{args: []string{"report", "--validate", "-o", format}})
	}
	for _, format := range report.CheckFormats() {
		runs = append(runs, planting{args: []string{"doctor", "-o", format}, want: "cleartext", code: exitFindings})
	}
	for _, run := range runs {
		_ = os.Remove("kustomization.yaml") // generate would look for its config there
		if slices.Contains(run.args, "build") {
			write("kustomization.yaml", "resources: ["+rendered+"]\n")
		}
		if slices.Contains(run.args, "tampered.yaml") {
			write("tampered.yaml", strings.Replace(read(t, rendered), "mac: ENC[AES256_GCM,data:", "mac: ENC[AES256_GCM,data:A", 1))
		}
		var stdout, stderr bytes.Buffer
		code := runIn(t, run.args, run.stdin, &stdout, &stderr)
		what := "clusterpair " + strings.Join(run.args, " ")
		if code != run.code || !strings.Contains(stdout.String(), run.want) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", what, code, run.code, run.want, &stdout, &stderr)
		}
		if at := plant.Find(stderr.Bytes()); at != "" {
			t.Errorf("%s: standard error holds the value: %s", what, at)
		}
		if at := plant.Find(stdout.Bytes()); (at != "") != run.shows {
			t.Errorf("%s: standard output holds the value: %t, want %t: %s", what, at != "", run.shows, at)
		}
		if opened, err := os.ReadFile("opened.yaml"); err == nil {
			if section == "stringData" && plant.Find(opened) == "" {
				t.Errorf("%s: the decrypted file does not hold the value", what)
			}
			if err := os.Remove("opened.yaml"); err != nil {
				t.Fatal(err)
			}
		}
	}
	// What the commands have left behind holds nothing of it.
	inputs := []string{"secret.yaml", "kubeconfig.yaml"}
	files := 0
	err = filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || slices.Contains(inputs, path) {
			return err
		}
		files++
		if at := plant.Find([]byte(read(t, path))); at != "" {
			t.Errorf("%s holds the value: %s", path, at)
		}
		return nil
	})
	if err != nil || files < 5 {
		t.Errorf("%d files, %v", files, err)
	}
}

// testCertificate makes a certificate with a name, signed by a CA or by itself.
func testCertificate(t *testing.T, name string, ca *x509.Certificate, caKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(5, 0, 0),
		BasicConstraintsValid: true, IsCA: ca == nil, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	parent, signer := template, key
	if ca != nil {
		parent, signer = ca, caKey
		template.KeyUsage = x509.KeyUsageDigitalSignature
	} else {
		template.ExtKeyUsage = nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
