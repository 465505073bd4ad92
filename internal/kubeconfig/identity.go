package kubeconfig

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// ID tells the destination from every other one, and may be read by everybody:
// "sha256:" and an HMAC-SHA256 in hexadecimal over the server and the way to it.
// The key is that of the CA, which only those know who have reached the cluster:
// nobody else can guess the server. It is empty when there is no CA.
func (d *Destination) ID() string {
	if len(d.caKey) == 0 {
		return ""
	}
	mac := hmac.New(sha256.New, d.caKey)
	fmt.Fprintf(mac, "%s\x00%s\x00%s", sameServer(d.Server), strings.ToLower(d.TLSServerName), d.ProxyURL)
	return "sha256:" + hex.EncodeToString(mac.Sum(nil))
}

// sameServer is the one spelling of a server's URL.
func sameServer(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	return strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")) + ":" + cmp.Or(u.Port(), "443") + strings.TrimRight(path.Clean("/"+u.Path), "/")
}

// CredentialID tells the credential from every other one, and may be read by
// everybody: see [CredentialID].
func (d *Destination) CredentialID() string { return CredentialID(d.ClientCertificateData, d.Token) }

// CredentialID names a credential, a client certificate in PEM or a token, by what
// is no secret of it. It is the same wherever the credential stands, and another
// one for each that is made anew:
//
//   - secret:NAMESPACE/NAME, the Secret with which the token of a service account
//     lives: deleting it ends the token.
//   - jti:ID, the claim of any other JSON Web Token that has one.
//   - opaque:HEX, the first half of a SHA-256 of a token of at least 32 characters,
//     which nobody guesses.
//   - certificate:HEX, the SHA-256 of a client certificate, as openssl x509
//     -fingerprint -sha256 prints it.
//
// One with both has two, with a comma. It is empty where there is none that would
// not help to guess the credential: a password, a short token, an exec plugin.
func CredentialID(certificate []byte, token string) string {
	id := tokenID(token)
	if certificates, _ := parseCertificates(certificate); len(certificates) > 0 {
		sum := sha256.Sum256(certificates[0].Raw)
		if id != "" {
			id += ","
		}
		id += "certificate:" + hex.EncodeToString(sum[:])
	}
	return id
}

// TokenSecretID is the [CredentialID] of a token that lives with a Secret.
func TokenSecretID(namespace, name string) string { return "secret:" + namespace + "/" + name }

// IsCredentialID tells whether a text is of the form of a [CredentialID].
func IsCredentialID(s string) bool {
	id, certificate, two := strings.Cut(s, ",")
	if two && !isCertificateID(certificate) || strings.Contains(certificate, ",") {
		return false
	}
	kind, rest, _ := strings.Cut(id, ":")
	switch kind {
	case "secret":
		namespace, name, ok := strings.Cut(rest, "/")
		return ok && consistsOf(namespace, 1, 63, lower+digits+"-") && consistsOf(name, 1, 253, lower+digits+".-")
	case "jti":
		return consistsOf(rest, 1, 64, lower+strings.ToUpper(lower)+digits+"_.-")
	case "opaque":
		return consistsOf(rest, 32, 32, digits+"abcdef")
	}
	return !two && isCertificateID(id)
}

func isCertificateID(s string) bool {
	digest, ok := strings.CutPrefix(s, "certificate:")
	return ok && consistsOf(digest, 64, 64, digits+"abcdef")
}

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	digits = "0123456789"
)

// consistsOf tells whether a text has so many bytes, all of them among some. A regular
// expression for this costs more than all else that is done with a small file.
func consistsOf(s string, least, most int, bytes string) bool {
	return len(s) >= least && len(s) <= most && strings.Trim(s, bytes) == ""
}

// tokenID is the id of a token, empty for one that could be guessed.
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims
func tokenID(token string) string {
	if parts := strings.Split(token, "."); len(parts) == 3 {
		type object struct {
			Name string `json:"name"`
		}
		var claims struct {
			ID    string `json:"jti"`
			Bound struct {
				Namespace string `json:"namespace"`
				Secret    object `json:"secret"`
			} `json:"kubernetes.io"`
			// Those of a Secret of type kubernetes.io/service-account-token.
			Namespace string `json:"kubernetes.io/serviceaccount/namespace"`
			Secret    string `json:"kubernetes.io/serviceaccount/secret.name"`
		}
		if decodePart(parts[1], &claims) {
			for _, id := range []string{
				TokenSecretID(cmp.Or(claims.Bound.Namespace, claims.Namespace), cmp.Or(claims.Bound.Secret.Name, claims.Secret)),
				"jti:" + claims.ID,
			} {
				if IsCredentialID(id) { // a claim may say anything
					return id
				}
			}
		}
	}
	if len(token) < fullEntropy {
		return ""
	}
	// Its own prefix keeps the digest from being that of anything else, such as the
	// name of an OAuthAccessToken of OpenShift.
	sum := sha256.Sum256([]byte("clusterpair.dev/credential-id\x00" + token))
	return "opaque:" + hex.EncodeToString(sum[:16])
}
