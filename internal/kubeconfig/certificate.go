package kubeconfig

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"

	"clusterpair.dev/internal/report"
)

// checkCABundle judges the destination's CA. A bundle may hold what has ended
// or is no CA, as long as one CA of it can be used.
func (c *checker) checkCABundle(at place) {
	d, now := &c.destination, c.options.Now
	certificates, bad := parseCertificates(d.CAData)
	if len(certificates) == 0 {
		switch {
		case isPrivateKey(d.CAData):
			c.refuse(at, "ca-invalid", "a private key where the CA's certificate belongs", "take the certificate; the CA's key never leaves its cluster")
		case bad:
			c.refuse(at, "ca-invalid", "the CA's certificate cannot be parsed", "openssl x509 -in FILE -noout -text")
		default:
			c.refuse(at, "ca-invalid", "certificate-authority-data holds no certificate in PEM", "base64 -w0 ca.crt")
		}
		return
	}
	var authority *x509.Certificate
	var end time.Time
	expired, early := false, false
	for _, cert := range certificates {
		if !isAuthority(cert) {
			continue
		}
		if authority == nil {
			authority = cert
		}
		switch {
		case !cert.NotAfter.After(now):
			expired = true
		case cert.NotBefore.After(now):
			early = true
		default:
			end = later(end, cert.NotAfter)
		}
	}
	switch {
	case authority == nil:
		c.checkPinned(at, certificates)
		return
	case !end.IsZero():
		c.ca = end
		c.ends(at, "the CA", end, "", "renew the destination's CA, then its kubeconfig")
	case expired:
		c.refuse(at, "ca-invalid", "the CA has ended on "+date(authority.NotAfter), "renew the destination's CA, then its kubeconfig")
	case early:
		c.refuse(at, "ca-invalid", "the CA is not valid before "+date(authority.NotBefore), "check this machine's clock")
	}
	d.caKey = authority.RawSubjectPublicKeyInfo
	c.checkStrength(at, "the CA", authority)
}

// checkPinned judges certificates in the place of the CA of which none is a CA's. Go
// takes a server's own certificate there, as that server shows no other one.
func (c *checker) checkPinned(at place, certificates []*x509.Certificate) {
	d, pool := &c.destination, x509.NewCertPool()
	name := d.TLSServerName
	if u, err := url.Parse(d.Server); name == "" && err == nil {
		name = u.Hostname()
	}
	for _, cert := range certificates {
		pool.AddCert(cert)
	}
	for _, cert := range certificates {
		if _, err := cert.Verify(x509.VerifyOptions{Roots: pool, DNSName: strings.TrimSuffix(name, "."), CurrentTime: c.options.Now}); err == nil {
			d.caKey, c.ca = cert.RawSubjectPublicKeyInfo, cert.NotAfter
			c.report(at, "ca-pinned", report.Warning, "certificate-authority-data holds no CA, but the server's own certificate: the pair ends when the server gets another one",
				hintSigner)
			c.ends(at, "the server's certificate", cert.NotAfter, "", "renew it on the destination, then its kubeconfig")
			c.checkStrength(at, "the server's certificate", cert)
			return
		}
	}
	c.refuse(at, "ca-invalid", "certificate-authority-data holds no CA, but a certificate that is not valid for this server, either", hintSigner)
}

const hintSigner = "take the CA that signed it: kubectl get configmap kube-root-ca.crt -o yaml"

// isAuthority tells whether a certificate is a CA's. crypto/x509 takes those of
// version 1, which have no constraints, for CAs.
func isAuthority(cert *x509.Certificate) bool {
	if cert.Version == 3 || cert.BasicConstraintsValid {
		return cert.BasicConstraintsValid && cert.IsCA
	}
	return true
}

func keyDigest(publicKey []byte) string {
	digest := sha256.Sum256(publicKey)
	return "sha256:" + hex.EncodeToString(digest[:])
}

// CAKeyDigest is that of a CA in PEM, as the method of [Destination] has it. It is empty when there is none.
func CAKeyDigest(ca []byte) string {
	certificates, _ := parseCertificates(ca)
	if i := slices.IndexFunc(certificates, isAuthority); i >= 0 {
		return keyDigest(certificates[i].RawSubjectPublicKeyInfo)
	}
	return ""
}

// checkClientCertificate judges the user's certificate and its key.
func (c *checker) checkClientCertificate() {
	d := &c.destination
	at, keyAt := c.where("client-certificate-data", "user"), c.where("client-key-data", "user")
	hasCertificate := len(d.ClientCertificateData) > 0 || c.broken["client-certificate-data"]
	hasKey := len(d.ClientKeyData) > 0 || c.broken["client-key-data"]
	switch {
	case hasCertificate && !hasKey:
		c.refuse(at, "certificate-invalid", "a client certificate without its key, which client-go refuses", "add client-key-data")
	case hasKey && !hasCertificate:
		c.refuse(keyAt, "certificate-invalid", "a client key without its certificate, which client-go ignores", "add client-certificate-data")
	}
	public := c.clientKey(keyAt)
	leaf := c.clientCertificate(at)
	if leaf == nil {
		return
	}
	if public != nil && !samePublic(leaf.PublicKey, public) {
		c.refuse(keyAt, "certificate-invalid", "the client key does not belong to the client certificate", "take both from one kubeconfig")
	}
	c.checkClient(at, leaf)
	c.checkStrength(at, "the client certificate", leaf)
}

// clientKey is the public half of the user's key, nil if there is none that can be read.
func (c *checker) clientKey(at place) crypto.PublicKey {
	data := c.destination.ClientKeyData
	if len(data) == 0 || c.broken["client-key-data"] {
		return nil
	}
	public, err := parsePublic(data)
	if err != nil {
		c.refuse(at, "certificate-invalid", "the client key "+err.Error(), "openssl pkey -in client.key -noout -check")
	}
	return public
}

// clientCertificate is the user's certificate, nil if there is none that can be read.
func (c *checker) clientCertificate(at place) *x509.Certificate {
	data := c.destination.ClientCertificateData
	if len(data) == 0 || c.broken["client-certificate-data"] {
		return nil
	}
	certificates, bad := parseCertificates(data)
	if len(certificates) == 0 || bad {
		c.refuse(at, "certificate-invalid", "the client certificate is no PEM, or cannot be parsed", "openssl x509 -in client.crt -noout -text")
		return nil
	}
	return certificates[0]
}

// checkClient judges what the certificate of a client is for, until when, and whose.
func (c *checker) checkClient(at place, leaf *x509.Certificate) {
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		c.refuse(at, "certificate-invalid", "the client certificate is not for client authentication, and the API server refuses it", "issue one with the extended key usage clientAuth")
	}
	if leaf.NotBefore.After(c.options.Now) {
		c.report(at, "credential-expired", report.Error, "the client certificate is not valid before "+date(leaf.NotBefore), "check this machine's clock")
	}
	c.client = leaf
	c.ends(at, "the client certificate", leaf.NotAfter, "", "take a fresh kubeconfig, as on the destination: kubeadm certs renew admin.conf")
	for _, group := range leaf.Subject.Organization {
		switch group {
		case "system:masters":
			c.report(at, "credential-unbounded", report.Warning, "the client certificate is of group system:masters, which passes every access check and cannot be revoked before "+date(leaf.NotAfter),
				"use the token of a service account with only the rights that Stork needs")
		case "kubeadm:cluster-admins":
			c.report(at, "credential-unbounded", report.Warning, "the client certificate is a cluster administrator's and cannot be revoked by itself before "+date(leaf.NotAfter),
				"use the token of a service account with only the rights that Stork needs")
		}
	}
}

// checkStrength reports keys and signatures that servers and clients have
// begun to refuse. Nobody verifies a root's signature of itself.
func (c *checker) checkStrength(at place, what string, cert *x509.Certificate) {
	if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && key.N.BitLen() < 2048 {
		c.report(at, "weak-key", report.Warning, fmt.Sprintf("%s has an RSA key of %d bits", what, key.N.BitLen()), "issue one with 2048 bits or more")
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
		if !bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			c.report(at, "weak-key", report.Warning, what+" is signed with SHA-1 or MD5, which Go refuses", "issue one with SHA-256")
		}
	}
}

// parseCertificates reads the certificates of a PEM text, as crypto/tls and
// crypto/x509 do; bad tells that one cannot be parsed.
func parseCertificates(text []byte) (certificates []*x509.Certificate, bad bool) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || len(block.Headers) > 0 { // crypto/x509 skips those with headers
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err != nil {
			bad = true
		} else {
			certificates = append(certificates, cert)
		}
	}
	return certificates, bad
}

// parsePublic reads the private key of a PEM text, as crypto/tls does, and
// gives its public half. Its errors follow the words "the client key".
func parsePublic(text []byte) (crypto.PublicKey, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			return nil, errors.New("is encrypted, and nobody is there to type its passphrase in the Stork pod")
		case block.Type == "PRIVATE KEY", strings.HasSuffix(block.Type, " PRIVATE KEY"):
			return publicOf(block.Bytes)
		}
	}
	return nil, errors.New("is no private key in PEM")
}

func publicOf(der []byte) (crypto.PublicKey, error) {
	unparseable := errors.New("cannot be parsed")
	// An RSA key is checked by hand: crypto/x509 prepares it for signing,
	// which takes longer than all the rest of a kubeconfig.
	var wrapped struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		PrivateKey []byte
	}
	if _, err := asn1.Unmarshal(der, &wrapped); err == nil && !wrapped.Algorithm.Algorithm.Equal(rsaEncryption) {
		key, err := x509.ParsePKCS8PrivateKey(der)
		if signer, ok := key.(crypto.Signer); ok && err == nil {
			return signer.Public(), nil
		}
		return nil, unparseable
	} else if err == nil {
		der = wrapped.PrivateKey
	}
	var key rsaKey
	if rest, err := asn1.Unmarshal(der, &key); err != nil {
		if key, err := x509.ParseECPrivateKey(der); err == nil { // it, too, tries the other forms
			return &key.PublicKey, nil
		}
		return nil, unparseable
	} else if len(rest) > 0 || !key.consistent() {
		return nil, unparseable
	}
	return &rsa.PublicKey{N: key.N, E: key.E}, nil
}

var rsaEncryption = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}

// rsaKey is an RSAPrivateKey of two primes, RFC 8017 A.1.2.
type rsaKey struct {
	Version               int
	N                     *big.Int
	E                     int
	D, P, Q, DP, DQ, QInv *big.Int
}

// consistent tells whether the numbers of a key belong together.
func (k *rsaKey) consistent() bool {
	one := big.NewInt(1)
	if k.Version != 0 || k.N.Sign() <= 0 || k.D.Sign() <= 0 || k.P.Cmp(one) <= 0 || k.Q.Cmp(one) <= 0 || k.E < 3 || k.E > math.MaxInt32 {
		return false
	}
	p1, q1, e := new(big.Int).Sub(k.P, one), new(big.Int).Sub(k.Q, one), big.NewInt(int64(k.E))
	equal := func(a, b, modulus *big.Int) bool { // a*b = 1
		product := new(big.Int).Mul(a, b)
		return product.Mod(product, modulus).Cmp(one) == 0
	}
	return new(big.Int).Mul(k.P, k.Q).Cmp(k.N) == 0 &&
		equal(k.D, e, p1) && equal(k.D, e, q1) &&
		equal(k.DP, e, p1) && equal(k.DQ, e, q1) && equal(k.QInv, k.Q, k.P)
}

func samePublic(a, b crypto.PublicKey) bool {
	switch a := a.(type) {
	case *rsa.PublicKey:
		return a.Equal(b)
	case *ecdsa.PublicKey:
		return a.Equal(b)
	case ed25519.PublicKey:
		return a.Equal(b)
	}
	return false
}

func isPrivateKey(text []byte) bool {
	block, _ := pem.Decode(text)
	return block != nil && strings.HasSuffix(block.Type, "PRIVATE KEY")
}
