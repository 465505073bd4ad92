package main

import (
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A corpus is a directory with what every candidate starts from:
//
//	clusterpair.yaml   the config of clusterpair generate
//	secrets/           Secrets of Cluster API, one destination each
//	pairs/             the plain ClusterPairs that belong to them, for sops
//
// The same seed gives the same bytes within one calendar year, which is in the
// certificates.
const (
	configFile = "clusterpair.yaml"
	secretsDir = "secrets"
	pairsDir   = "pairs"
	namespace  = "migrationnamespace"
)

// poolSize is how many RSA keys are generated: certificates are all different,
// keys repeat, because a key takes a hundred times as long as a certificate.
const poolSize = 16

// writeCorpus writes a corpus of n destinations into dir.
func writeCorpus(dir string, n int, recipients string) error {
	for _, sub := range []string{secretsDir, pairsDir} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte(config(recipients)), 0o666); err != nil {
		return err
	}
	name := func(i int) string { return fmt.Sprintf("dr-%05d", i) }
	return eachDestination(n, name, func(d destination) error {
		if err := os.WriteFile(filepath.Join(dir, secretsDir, d.name+".yaml"), []byte(d.secret()), 0o600); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, pairsDir, d.name+".yaml"), []byte(d.clusterPair()), 0o600)
	})
}

// eachDestination makes n destinations, one after the other.
func eachDestination(n int, name func(int) string, visit func(destination) error) error {
	seeded := rand.New(rand.NewChaCha8([32]byte([]byte("clusterpair.dev/bench: the seed."))))
	pool := make([]*rsa.PrivateKey, min(n, poolSize)+1)
	for i := range pool {
		pool[i] = rsaKey(seeded)
	}
	caKey, pool := pool[0], pool[1:]
	ca, caPEM, err := certificate(caKey, nil, caKey, pkix.Name{CommonName: "kubernetes"}, 1)
	if err != nil {
		return err
	}
	for i := range n {
		key := pool[i%len(pool)]
		_, certPEM, err := certificate(key, ca, caKey,
			pkix.Name{CommonName: "kubernetes-admin", Organization: []string{"system:masters"}}, int64(i)+2)
		if err != nil {
			return err
		}
		d := destination{
			name: name(i),
			host: fmt.Sprintf("%08x.%s.example.com", seeded.Uint32(), name(i)),
			ca:   base64.StdEncoding.EncodeToString(caPEM),
			cert: base64.StdEncoding.EncodeToString(certPEM),
			key: base64.StdEncoding.EncodeToString(pem.EncodeToMemory(
				&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		}
		if err := visit(d); err != nil {
			return err
		}
	}
	return nil
}

// config is a function config that renders one pair for each Secret.
func config(recipients string) string {
	return fmt.Sprintf(`apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: bench
spec:
  namespace: %s
  storkVersion: "24.3"
  selector:
    matchLabels:
      role: dr
%s
  files: ["%s/*.yaml"]
  output: %s
  encryption:
    age: [%s]
`, namespace, metadata("    "), secretsDir, renderedDir, recipients)
}

// metadata are the labels and annotations that an organisation puts on each of
// its objects: enough to give a pair the 41 leaves of the pairs with which the
// peers were first measured.
func metadata(indent string) string {
	var b strings.Builder
	for _, field := range []string{"annotations", "labels"} {
		fmt.Fprintf(&b, "%s%s:\n", indent, field)
		for i := range 13 {
			fmt.Fprintf(&b, "%s  example.com/%s-%02d: value-%02d-of-the-platform\n", indent, strings.TrimSuffix(field, "s"), i, i)
		}
	}
	return strings.TrimSuffix(b.String(), "\n")
}

type destination struct {
	name, host    string
	ca, cert, key string
}

// secret is the Secret that Cluster API keeps for a workload cluster.
func (d destination) secret() string {
	kubeconfig := fmt.Sprintf(`apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %[3]s
    server: https://%[2]s:6443
  name: %[1]s
contexts:
- context:
    cluster: %[1]s
    user: %[1]s-admin
  name: %[1]s-admin@%[1]s
current-context: %[1]s-admin@%[1]s
kind: Config
preferences: {}
users:
- name: %[1]s-admin
  user:
    client-certificate-data: %[4]s
    client-key-data: %[5]s
`, d.name, d.host, d.ca, d.cert, d.key)
	return fmt.Sprintf(`apiVersion: v1
data:
  value: %[2]s
kind: Secret
metadata:
  labels:
    cluster.x-k8s.io/cluster-name: %[1]s
    role: dr
  name: %[1]s-kubeconfig
  namespace: fleet
type: cluster.x-k8s.io/secret
`, d.name, base64.StdEncoding.EncodeToString([]byte(kubeconfig)))
}

// clusterPair is what is to be encrypted in the end.
func (d destination) clusterPair() string {
	return fmt.Sprintf(`apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
%[7]s
  name: %[1]s
  namespace: %[6]s
spec:
  config:
    clusters:
      %[1]s:
        certificate-authority-data: %[3]s
        server: https://%[2]s:6443
    contexts:
      %[1]s-admin-%[1]s:
        cluster: %[1]s
        user: %[1]s-admin
    current-context: %[1]s-admin-%[1]s
    users:
      %[1]s-admin:
        client-certificate-data: %[4]s
        client-key-data: %[5]s
  options: {}
`, d.name, d.host, d.ca, d.cert, d.key, namespace, metadata("  "))
}

// resourceList is the stdin of a kustomize function with the config of recipients.
func resourceList(recipients string) string {
	functionConfig := strings.ReplaceAll(strings.TrimSpace(config(recipients)), "\n", "\n  ")
	return "apiVersion: config.kubernetes.io/v1\nkind: ResourceList\nfunctionConfig:\n  " + functionConfig + "\nitems: []\n"
}

// certificate issues what kubeadm issues: a CA if there is no parent, else a
// client certificate.
func certificate(key *rsa.PrivateKey, parent *x509.Certificate, signer *rsa.PrivateKey, subject pkix.Name, serial int64) (*x509.Certificate, []byte, error) {
	year := time.Now().UTC().Year()
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(serial),
		Subject:               subject,
		NotBefore:             time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(year+10, 1, 1, 0, 0, 0, 0, time.UTC),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if parent == nil {
		parent = template
		template.IsCA = true
		template.KeyUsage |= x509.KeyUsageCertSign
		template.DNSNames = []string{"kubernetes"}
	} else {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	// PKCS #1 v1.5 is deterministic, no random source is read.
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

// rsaKey makes a 2048-bit key from a seeded source, which crypto/rsa refuses
// to do. Good enough to be parsed; never use it to protect anything.
func rsaKey(seeded *rand.Rand) *rsa.PrivateKey {
	e := big.NewInt(65537)
	prime := func() (p, pMinus1 *big.Int) {
		for {
			buf := make([]byte, 128)
			for i := range buf {
				buf[i] = byte(seeded.Uint32())
			}
			buf[0] |= 0xC0 // so that the product has all 2048 bits
			buf[127] |= 1
			p := new(big.Int).SetBytes(buf)
			pMinus1 := new(big.Int).Sub(p, big.NewInt(1))
			if new(big.Int).Mod(pMinus1, e).Sign() != 0 && p.ProbablyPrime(20) {
				return p, pMinus1
			}
		}
	}
	p, p1 := prime()
	q, q1 := prime()
	key := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: int(e.Int64())},
		D:         new(big.Int).ModInverse(e, new(big.Int).Mul(p1, q1)),
		Primes:    []*big.Int{p, q},
	}
	key.Precompute()
	return key
}
