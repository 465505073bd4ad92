package kubeconfig

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"time"

	"clusterpair.dev/internal/pattern"
)

// Kind is a kind of credential. It stands in clear, in [AnnotationKind]: kinds
// may come, none goes or changes its meaning.
type Kind string

// The kinds.
const (
	ClientCertificate Kind = "client-certificate"
	JWT               Kind = "jwt"        // a JSON Web Token, as of a service account
	PodToken          Kind = "pod-token"  // a service account's, bound to a pod
	NodeToken         Kind = "node-token" // a service account's, bound to a node
	EKSToken          Kind = "eks-token"
	OKEToken          Kind = "oke-token"
	GoogleToken       Kind = "google-token"
	OpenShiftToken    Kind = "openshift-token"
	BootstrapToken    Kind = "bootstrap-token"
	DigitalOceanToken Kind = "digitalocean-token"
	RancherToken      Kind = "rancher-token"
	OpaqueToken       Kind = "opaque-token" // any other
	Password          Kind = "password"
	ExecUser          Kind = "exec" // a command gives the credential out
)

// kinds says of each kind what a message calls it, how long it lives by its
// issuer's default if it does not say so itself, and what it ends with.
var kinds = map[Kind]struct {
	words string
	life  time.Duration
	bound string
}{
	ClientCertificate: {words: "a client certificate"},
	JWT:               {words: "a JSON Web Token"},
	// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
	PodToken:  {words: "a token bound to a pod", bound: "pod"},
	NodeToken: {words: "a token bound to a node", bound: "node"},
	// https://github.com/kubernetes-sigs/aws-iam-authenticator, pkg/token/token.go: presignedURLExpiration
	EKSToken: {words: "a token of EKS", life: 15 * time.Minute},
	// https://github.com/oracle/oci-cli, containerengine: TOKEN_EXPIRATION
	OKEToken: {words: "a token of OKE", life: 4 * time.Minute},
	// https://cloud.google.com/docs/authentication/token-types#access-tokens
	GoogleToken: {words: "an access token of Google", life: time.Hour},
	// https://docs.openshift.com/container-platform/latest/authentication/configuring-internal-oauth.html
	OpenShiftToken: {words: "a login token of OpenShift", life: 24 * time.Hour},
	// https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/
	BootstrapToken: {words: "a bootstrap token", life: 24 * time.Hour},
	// https://docs.digitalocean.com/reference/api/digitalocean/#tag/Kubernetes/operation/kubernetes_get_kubeconfig
	DigitalOceanToken: {words: "a token of DigitalOcean", life: 7 * 24 * time.Hour},
	// https://ranchermanager.docs.rancher.com/api/api-tokens: since Rancher 2.8
	RancherToken: {words: "a token of Rancher", life: 30 * 24 * time.Hour},
	OpaqueToken:  {words: "a token that does not say when"},
	Password:     {words: "a password"},
	ExecUser:     {words: "a command gives it out"},
}

// tokenSays is what a token says of itself.
type tokenSays struct {
	kind   Kind
	state  State
	end    time.Time // zero unless state is Known
	latest time.Time // what a token that is bound to a pod cannot outlive
	start  time.Time // before which it is not valid; zero is any time
}

// readToken reads what a token says of itself, without verifying it: only its
// issuer could.
func readToken(token string) tokenSays {
	token = strings.TrimSpace(token)
	if url, ok := strings.CutPrefix(token, eksPrefix); ok {
		return readEKS(url)
	}
	if says, ok := readJWT(token); ok {
		return says
	}
	says := tokenSays{kind: OpaqueToken}
	rancher, secret, _ := strings.Cut(token, ":")
	switch {
	case token == "":
		says.kind = ""
	case strings.HasPrefix(token, "sha256~"):
		says.kind = OpenShiftToken
	case strings.HasPrefix(token, "ya29."):
		says.kind = GoogleToken
	case strings.HasPrefix(token, okePrefix):
		says.kind = OKEToken
	case digitalOceanToken().MatchString(token):
		says.kind = DigitalOceanToken
	case bootstrapToken().MatchString(token):
		says.kind = BootstrapToken
	case rancherName().MatchString(rancher) && secret != "" && !strings.Contains(secret, ":"):
		says.kind = RancherToken
	}
	return says
}

const (
	eksPrefix = "k8s-aws-v1."
	okePrefix = "aHR0cHM6Ly9jb250YWluZXJlbmdpbmUu" // https://containerengine. in base64
)

var (
	digitalOceanToken = pattern.Later(`^do[op]_v1_`)
	bootstrapToken    = pattern.Later(`^[a-z0-9]{6}\.[a-z0-9]{16}$`)
	// rancherName is that of a token which Rancher gives to people, for a
	// kubeconfig or as an API key. Those that it keeps for its agents have no end.
	rancherName = pattern.Later(`^(ext/)?(kubeconfig|token|user|u)-[-.a-z0-9]+$`)
)

// readEKS reads a token of EKS: a presigned URL in base64url. EKS takes it until
// 15 minutes after X-Amz-Date, whatever X-Amz-Expires says.
// https://github.com/kubernetes-sigs/aws-iam-authenticator, pkg/token/token.go: Verify
func readEKS(encoded string) tokenSays {
	says := tokenSays{kind: EKSToken}
	decoded, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
	if err != nil {
		return says
	}
	u, err := url.Parse(string(decoded))
	if err != nil {
		return says
	}
	for name, values := range u.Query() {
		if !strings.EqualFold(name, "X-Amz-Date") {
			continue
		}
		for _, value := range values {
			signed, err := time.Parse("20060102T150405Z", value)
			if end := clamped(signed.Add(kinds[EKSToken].life)); err == nil && (says.state != Known || end.Before(says.end)) {
				says.state, says.start, says.end = Known, signed, end
			}
		}
	}
	return says
}

// readJWT reads a token that is a JSON Web Token. A claim of another type than
// RFC 7519 has it counts as absent, and an end of such a type as unknown.
func readJWT(token string) (tokenSays, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tokenSays{}, false
	}
	var header struct {
		Algorithm string `json:"alg"`
	}
	var claims map[string]json.RawMessage
	if !decodePart(parts[0], &header) || header.Algorithm == "" || !decodePart(parts[1], &claims) {
		return tokenSays{}, false
	}
	says := tokenSays{kind: JWT, state: Never}
	notBefore, _ := numericDate(claims["nbf"])
	issuedAt, _ := numericDate(claims["iat"])
	says.start = later(notBefore, issuedAt)
	switch end, ok := numericDate(claims["exp"]); {
	case !ok:
		says.state = Unknown
	case !end.IsZero():
		says.state, says.end = Known, end
	}
	// What a token is bound to is a claim of Kubernetes itself. A Secret may be
	// made for the token, and says nothing of its end; pods and nodes go.
	var bound map[string]json.RawMessage
	if json.Unmarshal(claims["kubernetes.io"], &bound) != nil {
		return says, true
	}
	for _, kind := range []Kind{PodToken, NodeToken} {
		if claim := bound[kinds[kind].bound]; claim != nil && string(claim) != "null" {
			return tokenSays{kind: kind, latest: says.end, start: says.start}, true
		}
	}
	return says, true
}

// decodePart decodes a part of a token. Some issuers pad it.
func decodePart(part string, into any) bool {
	decoded, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
	return err == nil && json.Unmarshal(decoded, into) == nil
}

// numericDate is a NumericDate, RFC 7519. It is zero if the claim is absent, and
// not ok if it is no number.
func numericDate(claim json.RawMessage) (t time.Time, ok bool) {
	if claim == nil || string(claim) == "null" {
		return time.Time{}, true
	}
	var seconds float64
	if json.Unmarshal(claim, &seconds) != nil {
		return time.Time{}, false
	}
	return time.Unix(int64(min(max(seconds, 0), lastSecond)), 0).UTC(), true
}

// lastSecond is the last one that RFC 3339 can write, in the year 9999.
const lastSecond = 253402300799

// clamped keeps a time within the years that RFC 3339 can write.
func clamped(t time.Time) time.Time {
	if t.Unix() > lastSecond {
		return time.Unix(lastSecond, 0).UTC()
	}
	return t
}
