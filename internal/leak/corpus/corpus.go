// Package corpus makes the files by which a search for leaks is judged.
//
// They hold a credential of a cluster, each kind in each place where people keep one,
// which is to be found; or they hold the same without it, which is to pass.
//
// The credentials are drawn from a fixed seed, so that two runs judge the same texts;
// only keys with their certificates are new each time. None is written down anywhere.
package corpus

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// File is a file of the corpus.
type File struct {
	// Path has the place, the shape and the state in it.
	Path string
	// Place is where the credential stands: "Secret, data", "Markdown".
	Place string
	// Shape is its kind: "PEM key", "JWT".
	Shape string
	// State is Clear, or says what stands in the place of the credential.
	State string
	Data  []byte
	// Format is that of sops: yaml, json, dotenv or binary.
	Format string
}

// Clear is the state of a file with a credential. All others have none.
const Clear = "in clear"

// states are what stands in the place of a credential, %s being the name of
// the field.
var states = []struct{ name, value string }{
	{Clear, ""},
	{"1Password", "op://fleet/west/%s"},
	{"vals", "ref+vault://secret/data/west#/%s"},
	{"Vault of Argo CD", "<path:secret/data/west#%s>"},
	{"${X}", "${WEST_TOKEN}"},
	{"$(X)", "$(WEST_TOKEN)"},
	{"$X", "$WEST_TOKEN"},
	{"template", "{{ .Values.west.%s }}"},
	{"bank-vaults", "vault:secret/data/west#%s"},
	{"REDACTED", "REDACTED"},
	{"placeholder", "<%s>"},
	{"to be changed", "changeme"},
	{"a sentence", "the %s of the cluster in the west"},
	{"empty", ""},
	{"null", "\x00"},
}

// credential is one of its kind, as the fields that people write.
type credential struct {
	shape string
	// secrets are the fields that are secret, and of them the first is what
	// stands alone in a line.
	secrets []field
	// public are the fields beside them.
	public []field
	// object is the whole thing that the fields make, nil if they stand alone.
	object func(value func(field) any) map[string]any
}

type field struct{ name, value string }

// Files are the files of a corpus with a number of each kind, in a fixed order.
func Files(each int) []File {
	var files []File
	d := NewDice()
	for i := range each {
		for _, c := range d.credentials(i) {
			for _, p := range places {
				for _, s := range states {
					if s.name != Clear && i > 0 {
						continue // what is no credential does not vary
					}
					value := func(f field) any { return f.value }
					if s.name != Clear {
						value = func(f field) any {
							switch {
							case s.value == "\x00":
								return nil
							case strings.Contains(s.value, "%s"):
								return fmt.Sprintf(s.value, f.name)
							}
							return s.value
						}
					}
					for form, render := range p.forms {
						data := render(c, value)
						if data == nil {
							continue
						}
						name := fmt.Sprintf("%s/%s/%s-%d-%d%s", slug(s.name), slug(p.name), slug(c.shape), form, i, p.extension)
						if p.extension == "/" {
							name = strings.TrimSuffix(name, "/")
						}
						files = append(files, File{Path: name, Place: p.name, Shape: c.shape, State: s.name, Data: data, Format: p.format})
					}
				}
			}
		}
	}
	return append(files, d.harmless()...)
}

func slug(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-")
}

// credentials draws one of each shape. i chooses among their spellings.
func (d Dice) credentials(i int) []credential {
	key := privateKey(i)
	cert := certificate()
	encodedKey, encodedCert := base64.StdEncoding.EncodeToString(key), base64.StdEncoding.EncodeToString(cert)
	ca := field{"certificate-authority-data", base64.StdEncoding.EncodeToString(certificate())}
	token := func(shape, value string) credential {
		f := field{"token", value}
		return credential{shape: shape, secrets: []field{f}, public: []field{ca}, object: func(v func(field) any) map[string]any {
			return kubeconfig(ca, map[string]any{"token": v(f)})
		}}
	}
	keyData, password := field{"client-key-data", encodedKey}, field{"password", d.Password()}
	storage := field{"token", d.hexes(64)}
	bearer, argoKey := field{"bearerToken", d.Opaque(i)}, field{"keyData", encodedKey}
	secret := field{"AWS_SECRET_ACCESS_KEY", d.AWSSecret()}
	argo := func(f field, rest map[string]any) func(func(field) any) map[string]any {
		return func(v func(field) any) map[string]any {
			tls := map[string]any{"insecure": false, "caData": ca.value}
			for k, value := range rest {
				tls[k] = value
			}
			config := map[string]any{"tlsClientConfig": tls}
			if f.name == "keyData" {
				tls[f.name] = v(f)
			} else {
				config[f.name] = v(f)
			}
			return config
		}
	}
	return []credential{
		{shape: "PEM key", secrets: []field{{"tls.key", string(key)}}, public: []field{{"tls.crt", string(cert)}}},
		{shape: "certificate and key", secrets: []field{keyData}, public: []field{{"client-certificate-data", encodedCert}}, object: func(v func(field) any) map[string]any {
			return kubeconfig(ca, map[string]any{"client-certificate-data": encodedCert, "client-key-data": v(keyData)})
		}},
		token("JWT", d.jwt()),
		token("opaque token", d.Opaque(i)),
		token("EKS token", "k8s-aws-v1."+base64.RawURLEncoding.EncodeToString([]byte("https://sts.eu-central-1.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Signature="+d.hexes(32)))),
		{shape: "basic auth", secrets: []field{password}, public: []field{{"username", "admin"}}, object: func(v func(field) any) map[string]any {
			return kubeconfig(ca, map[string]any{"username": "admin", "password": v(password)})
		}},
		{shape: "storage token", secrets: []field{storage}, public: []field{{"ip", "192.0.2.7"}, {"port", "9001"}}, object: func(v func(field) any) map[string]any {
			return map[string]any{"apiVersion": "stork.libopenstorage.org/v1alpha1", "kind": "ClusterPair", "metadata": map[string]any{"name": "west", "namespace": "dr"},
				"spec": map[string]any{"options": map[string]any{"ip": "192.0.2.7", "port": "9001", "token": v(storage)}, "config": map[string]any{"current-context": "west"}}}
		}},
		{shape: "age identity", secrets: []field{{"age.agekey", "AGE-SECRET-KEY-1" + d.letters(58, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L")}}},
		{shape: "secret of an exec plugin", secrets: []field{secret}, public: []field{{"AWS_ACCESS_KEY_ID", "AKIA" + d.letters(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")}}, object: func(v func(field) any) map[string]any {
			return kubeconfig(ca, map[string]any{"exec": map[string]any{"apiVersion": "client.authentication.k8s.io/v1", "command": "aws", "args": []any{"eks", "get-token", "--cluster-name", "west"},
				"env": []any{map[string]any{"name": secret.name, "value": v(secret)}}}})
		}},
		{shape: "Argo CD token", secrets: []field{bearer}, object: argo(bearer, nil)},
		{shape: "Argo CD key", secrets: []field{argoKey}, object: argo(argoKey, map[string]any{"certData": encodedCert})},
	}
}

func kubeconfig(ca field, user map[string]any) map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "stork@west",
		"clusters": []any{map[string]any{"name": "west", "cluster": map[string]any{"server": "https://west.example.com:6443", ca.name: ca.value}}},
		"contexts": []any{map[string]any{"name": "stork@west", "context": map[string]any{"cluster": "west", "user": "stork"}}},
		"users":    []any{map[string]any{"name": "stork", "user": user}},
	}
}

// Dice draws the texts of credentials, the same in each run.
type Dice struct{ source *mathrand.ChaCha8 }

// NewDice are dice that nobody has thrown yet.
func NewDice() Dice {
	return Dice{mathrand.NewChaCha8([32]byte([]byte("clusterpair: a corpus of leaks 1")))}
}

func (d Dice) random(n int) []byte {
	b := make([]byte, n)
	_, _ = d.source.Read(b) // it returns no error
	return b
}

func (d Dice) hexes(n int) string { return hex.EncodeToString(d.random(n)) }

func (d Dice) base64(n int) string { return base64.RawURLEncoding.EncodeToString(d.random(n)) }

func (d Dice) letters(n int, alphabet string) string {
	b := d.random(n)
	for i := range b {
		b[i] = alphabet[int(b[i])%len(alphabet)]
	}
	return string(b)
}

const (
	small  = "abcdefghijklmnopqrstuvwxyz0123456789"
	letter = small + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// Spellings is the number of kinds of token that [Dice.Opaque] knows.
const Spellings = 6

// Opaque is a token of OpenShift, Rancher, Google, a k3s or kubeadm cluster, or
// of a script. i chooses which.
func (d Dice) Opaque(i int) string {
	switch i % Spellings {
	case 0:
		return "sha256~" + d.base64(32)
	case 1:
		return "kubeconfig-u-" + d.letters(5, small) + ":" + d.letters(54, "bcdfghjklmnpqrstvwxz2456789")
	case 2:
		return "ya29.c." + d.base64(90)
	case 3:
		return d.hexes(16)
	case 4:
		return base64.StdEncoding.EncodeToString(d.random(33))
	default:
		return d.letters(32, letter)
	}
}

// AWSSecret is a secret access key.
func (d Dice) AWSSecret() string { return base64.StdEncoding.EncodeToString(d.random(30)) }

// Password is one that a program has made for a person.
func (d Dice) Password() string {
	return d.letters(10, letter) + d.letters(2, "!+*") + d.letters(2, "0123456789") + d.letters(1, small)
}

func (d Dice) jwt() string {
	part := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return part(`{"alg":"RS256","kid":"`+d.hexes(8)+`"}`) + "." + part(`{"iss":"https://kubernetes.default.svc","sub":"system:serviceaccount:kube-system:stork-dr","jti":"`+d.hexes(8)+`"}`) + "." + d.base64(256)
}

func privateKey(i int) []byte {
	var kind string
	var der []byte
	switch i % 3 {
	case 0:
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		kind = "EC PRIVATE KEY"
		der, _ = x509.MarshalECPrivateKey(key)
	case 1:
		key, _ := rsa.GenerateKey(rand.Reader, 2048)
		kind, der = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)
	default:
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		kind = "PRIVATE KEY"
		der, _ = x509.MarshalPKCS8PrivateKey(key)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func certificate() []byte {
	public, key, _ := ed25519.GenerateKey(rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubernetes"}, NotBefore: time.Now(), NotAfter: time.Now().AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func asYAML(v any) []byte {
	var b bytes.Buffer
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func asJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
