package kubeconfig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
)

// unsigned is a JSON Web Token with claims.
func unsigned(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("a signature that nobody verifies"))
}

func TestCredentialID(t *testing.T) {
	ca := string(newCertificate(t))
	for _, tt := range []struct {
		name, token, certificate, want string
	}{
		{"nothing", "", "", ""},
		{"bound to a Secret", unsigned(`{"jti":"a","kubernetes.io":{"namespace":"kube-system","secret":{"name":"stork-dr-abc","uid":"u"},"serviceaccount":{"name":"stork-dr"}}}`), "", "secret:kube-system/stork-dr-abc"},
		{"of a Secret without an end", unsigned(`{"kubernetes.io/serviceaccount/namespace":"kube-system","kubernetes.io/serviceaccount/secret.name":"stork-token-x1"}`), "", "secret:kube-system/stork-token-x1"},
		{"bound to nothing", unsigned(`{"jti":"0c9f1e0e-7a2a-4f5b-9d3c-1b2a3c4d5e6f","kubernetes.io":{"namespace":"kube-system"}}`), "", "jti:0c9f1e0e-7a2a-4f5b-9d3c-1b2a3c4d5e6f"},
		{"claims that are no names", unsigned(`{"jti":"a\nb","kubernetes.io":{"namespace":"../..","secret":{"name":"x y"}}}`), "", "opaque:"},
		{"claims of other types", unsigned(`{"jti":7}`), "", "opaque:"},
		{"opaque", "sha256~" + strings.Repeat("k", 43), "", "opaque:"},
		{"short", "abcdefghijkl", "", ""},
		{"certificate", "", ca, "certificate:"},
		{"both", unsigned(`{"jti":"a"}`), ca, "jti:a,certificate:"},
	} {
		got := CredentialID([]byte(tt.certificate), tt.token)
		if got != tt.want && (!strings.HasSuffix(tt.want, ":") || !strings.HasPrefix(got, tt.want)) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		if got != CredentialID([]byte(tt.certificate), tt.token) {
			t.Errorf("%s: not the same twice", tt.name)
		}
		if got != "" && !IsCredentialID(got) {
			t.Errorf("%s: %q is not of the form", tt.name, got)
		}
		if tt.token != "" && strings.Contains(got, tt.token) {
			t.Errorf("%s: the id holds the token", tt.name)
		}
	}
	if a, b := CredentialID(nil, strings.Repeat("a", 40)), CredentialID(nil, strings.Repeat("b", 40)); a == b {
		t.Errorf("two tokens have one id %q", a)
	}
	for _, bad := range []string{"", "secret:a", "secret:a/b/c", "opaque:xyz", "jti:", "jti:a,jti:b", "certificate:00,opaque:00", "other:a", "secret:a/b\n"} {
		if IsCredentialID(bad) {
			t.Errorf("%q is taken for an id", bad)
		}
	}
}

func newCertificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestDestinationID(t *testing.T) {
	ca, other := []byte("the public key of one CA"), []byte("that of another one")
	of := func(caKey []byte, server, name, proxy string) string {
		return (&Destination{caKey: caKey, Server: server, TLSServerName: name, ProxyURL: proxy}).ID()
	}
	want := of(ca, "https://rancher.example.com/k8s/clusters/c-1", "", "")
	for _, tt := range []struct {
		what                string
		caKey               []byte
		server, name, proxy string
		same                bool
	}{
		{"the same", ca, "https://rancher.example.com/k8s/clusters/c-1", "", "", true},
		{"other spelling", ca, "https://RANCHER.example.com.:443/k8s/clusters//c-1/", "", "", true},
		{"other cluster of the proxy", ca, "https://rancher.example.com/k8s/clusters/c-2", "", "", false},
		{"other port", ca, "https://rancher.example.com:6443/k8s/clusters/c-1", "", "", false},
		{"other name in TLS", ca, "https://rancher.example.com/k8s/clusters/c-1", "west", "", false},
		{"other way there", ca, "https://rancher.example.com/k8s/clusters/c-1", "", "socks5://west:1080", false},
		{"other CA", other, "https://rancher.example.com/k8s/clusters/c-1", "", "", false},
	} {
		if got := of(tt.caKey, tt.server, tt.name, tt.proxy); (got == want) != tt.same {
			t.Errorf("%s: same is %t", tt.what, got == want)
		}
	}
	if got := of(nil, "https://west.example.com", "", ""); got != "" {
		t.Errorf("without a CA: %q", got)
	}
}
