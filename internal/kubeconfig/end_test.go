package kubeconfig

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/report"
)

// bound are the claims of a token that is bound to an object of a kind and ends
// in a year.
func bound(kind string) jwtClaims {
	return jwtClaims{"exp": now.Add(year).Unix(), "kubernetes.io": jwtClaims{"namespace": "ci", kind: jwtClaims{"name": "x"}}}
}

// TestEnd tells the end of every kind of credential beside a CA that ends in ten
// years.
func TestEnd(t *testing.T) {
	soon := now.Add(1000 * time.Hour)
	known := func(at time.Time, kind Kind) End {
		return End{State: Known, At: at, What: "the credential", Kind: kind}
	}
	unknown := func(kind Kind) End { return End{Kind: kind} }
	basic := "    username: dr\n    password: secret\n"
	certificate := "    client-certificate-data: " + client.data() + "\n    client-key-data: " + client.keyData() + "\n"
	soonCertificate := "    client-certificate-data: " + clientSoon.data() + "\n    client-key-data: " + clientSoon.keyData() + "\n"
	for _, test := range []struct {
		name, user string
		want       End
	}{
		{"nothing", "    {}\n", unknown("")},
		{"certificate", soonCertificate, known(clientSoon.certificate.NotAfter, ClientCertificate)},
		{"service account", "    token: " + token(jwtClaims{"exp": soon.Unix(), "sub": "system:serviceaccount:a:b"}), known(soon, JWT)},
		{"bound to a Secret", "    token: " + token(bound("secret")), known(now.Add(year), JWT)},
		{"bound to a pod", "    token: " + token(bound("pod")), End{Kind: PodToken, Latest: now.Add(year)}},
		{"bound to a node", "    token: " + token(bound("node")), End{Kind: NodeToken, Latest: now.Add(year)}},
		{"bound to nothing", "    token: " + token(bound("other")), known(now.Add(year), JWT)},
		{"pod null", "    token: " + token(jwtClaims{"exp": soon.Unix(), "kubernetes.io": jwtClaims{"pod": nil}}), known(soon, JWT)},
		{"claim of another type", "    token: " + token(jwtClaims{"exp": soon.Unix(), "kubernetes.io": "x"}), known(soon, JWT)},
		{"legacy service account", "    token: " + token(jwtClaims{"iss": "kubernetes/serviceaccount", "kubernetes.io/serviceaccount/secret.name": "x"}), End{State: Never, Kind: JWT}},
		{"exp null", "    token: " + token(jwtClaims{"exp": nil}), End{State: Never, Kind: JWT}},
		{"exp a text", "    token: " + token(jwtClaims{"exp": fmt.Sprint(soon.Unix())}), unknown(JWT)},
		{"exp of a later millennium", "    token: " + token(jwtClaims{"exp": 1e300}), known(authority.certificate.NotAfter, JWT)},
		{"EKS", "    token: " + eksToken(now), known(now.Add(15*time.Minute), EKSToken)},
		{"EKS, padded", "    token: " + eksPrefix + base64.URLEncoding.EncodeToString([]byte("https://sts.amazonaws.com/?x-amz-date="+now.Format("20060102T150405Z"))), known(now.Add(15*time.Minute), EKSToken)},
		{"EKS, without a date", "    token: " + eksPrefix + base64.RawURLEncoding.EncodeToString([]byte("https://sts.amazonaws.com/?X-Amz-Expires=900")), unknown(EKSToken)},
		{"EKS, no date", "    token: " + eksPrefix + base64.RawURLEncoding.EncodeToString([]byte("https://sts.amazonaws.com/?X-Amz-Date=soon")), unknown(EKSToken)},
		{"EKS, no URL", "    token: " + eksPrefix + base64.RawURLEncoding.EncodeToString([]byte("%zz:")), unknown(EKSToken)},
		{"EKS, no base64", "    token: " + eksPrefix + "!", unknown(EKSToken)},
		{"OKE", "    token: " + base64.URLEncoding.EncodeToString([]byte("https://containerengine.eu-frankfurt-1.oraclecloud.com/cluster_request/x")), unknown(OKEToken)},
		{"OpenShift", "    token: sha256~" + opaque, unknown(OpenShiftToken)},
		{"Google", "    token: ya29." + opaque, unknown(GoogleToken)},
		{"DigitalOcean", "    token: dop_v1_" + strings.Repeat("0a", 32), unknown(DigitalOceanToken)},
		{"bootstrap", "    token: abcdef.0123456789abcdef", unknown(BootstrapToken)},
		{"Rancher", "    token: kubeconfig-u-abc12:" + strings.Repeat("x", 54), unknown(RancherToken)},
		{"Rancher, a user's name", "    token: kubeconfig-user-7x2k9:" + strings.Repeat("x", 54), unknown(RancherToken)},
		{"Rancher, of provisioning", "    token: u-abc12:" + strings.Repeat("x", 54), unknown(RancherToken)},
		{"Rancher, API key", "    token: token-abc12:" + strings.Repeat("x", 54), unknown(RancherToken)},
		{"Rancher, ext", "    token: ext/token-abc12:" + strings.Repeat("x", 54), unknown(RancherToken)},
		{"Rancher, an agent's", "    token: agent-u-abc12:" + strings.Repeat("x", 54), unknown(OpaqueToken)},
		{"k3s", "    token: K10" + strings.Repeat("a", 64) + "::server:" + strings.Repeat("b", 32), unknown(OpaqueToken)},
		{"static", "    token: " + strings.Repeat("0a", 64), unknown(OpaqueToken)},
		{"three parts", "    token: a.b.c", unknown(OpaqueToken)},
		{"encrypted JWT", "    token: eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn", unknown(OpaqueToken)},
		{"password", basic, unknown(Password)},
		{"command", "    exec: {apiVersion: client.authentication.k8s.io/v1, command: aws, interactiveMode: Never}", unknown(ExecUser)},
		{"certificate that outlives the CA", certificate, known(client.certificate.NotAfter, ClientCertificate)},
		{"certificate and static token", soonCertificate + "    token: " + opaque, known(clientSoon.certificate.NotAfter, ClientCertificate)},
		{"certificate and token", certificate + "    token: " + token(jwtClaims{"exp": soon.Unix()}), known(soon, JWT)},
	} {
		t.Run(test.name, func(t *testing.T) {
			allow := make(map[string]bool)
			for _, rule := range report.WaivableRules() {
				allow[rule] = true
			}
			want := test.want
			want.CA = authority.certificate.NotAfter
			if test.name == "exp of a later millennium" {
				want.What = "the CA"
			}
			d, findings := fromText(plain(west, test.user+"\n"), Options{Now: now, StorkVersion: "24.3", Allow: allow})
			if d == nil {
				t.Fatal(findings)
			}
			if got := d.End(); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			d.end = nil
			if got := d.End(); got != want {
				t.Errorf("from the fields alone: got %+v, want %+v", got, want)
			}
			said := want.Annotations()
			if got, err := ReadEnd(func(annotation string) string { return said[annotation] }); got != inClear(want) || err != nil {
				t.Errorf("annotations say %+v, %v, want %+v", got, err, want)
			}
		})
	}
}

// inClear is what annotations tell of an end.
func inClear(e End) End {
	if e.State != Unknown {
		e.Kind = ""
	}
	if e.What == "the credential" {
		e.CA = time.Time{}
	}
	e.Latest = time.Time{}
	return e
}

// TestReadEnd reads annotations as others may have left them.
func TestReadEnd(t *testing.T) {
	at := time.Date(2030, 1, 2, 2, 4, 5, 0, time.UTC)
	for _, test := range []struct {
		expires, kind, ca string
		want              End
		bad               string
	}{
		{want: End{}},
		{expires: "unknown", kind: "openshift-token", want: End{Kind: OpenShiftToken}},
		{expires: "never", want: End{State: Never}},
		{expires: "2030-01-02T03:04:05+01:00", want: End{State: Known, At: at, What: "the credential"}},
		{expires: "2030-01-02T02:04:05Z", ca: "2030-01-02T02:04:05Z", want: End{State: Known, At: at, What: "the CA", CA: at}},
		{expires: "unknown", kind: "kind of a later release", ca: "2030-01-02T02:04:05Z", want: End{CA: at}},
		{expires: "Unknown", bad: AnnotationExpires},
		{expires: "soon", ca: "later", bad: AnnotationExpires},
		{expires: "unknown", ca: "unknown", bad: AnnotationCAExpires},
	} {
		annotations := map[string]string{AnnotationExpires: test.expires, AnnotationKind: test.kind, AnnotationCAExpires: test.ca}
		got, err := ReadEnd(func(annotation string) string { return annotations[annotation] })
		var bad *AnnotationError
		if errors.As(err, &bad); got != test.want || (bad != nil) != (test.bad != "") || bad != nil && bad.Annotation != test.bad {
			t.Errorf("%v: got %+v, %v", annotations, got, err)
		}
	}
}

// TestEndWords says of each state why it is so.
func TestEndWords(t *testing.T) {
	for _, test := range []struct {
		end  End
		want string
		soon bool
	}{
		{End{}, "", false},
		{End{State: Never, Kind: JWT}, "", false},
		{End{State: Known, At: now, What: "the credential", Kind: JWT}, "", false},
		{End{State: Known, At: now, What: "the CA", Kind: JWT}, "it ends with the CA", false},
		{End{State: Known, At: now, What: "the credential", Kind: EKSToken}, "a token of EKS lives 15 minutes", false},
		{End{Kind: EKSToken}, "a token of EKS, 15 minutes by default", true},
		{End{Kind: GoogleToken}, "an access token of Google, 1 hour by default", true},
		{End{Kind: OpenShiftToken}, "a login token of OpenShift, 24 hours by default", true},
		{End{Kind: RancherToken}, "a token of Rancher, 30 days by default", true},
		{End{Kind: PodToken, Latest: now}, "a token bound to a pod ends with it", true},
		{End{Kind: OpaqueToken}, "a token that does not say when", false},
		{End{Kind: Password}, "a password", false},
		{End{Kind: ExecUser}, "a command gives it out", false},
	} {
		if got := test.end.Why(); got != test.want || test.end.Short() != test.soon {
			t.Errorf("%+v: %q, %v", test.end, got, test.end.Short())
		}
	}
	for kind, k := range kinds {
		if k.words == "" || strings.ToLower(string(kind)) != string(kind) {
			t.Errorf("kind %q has the words %q", kind, k.words)
		}
	}
}

// A token may be any text: nothing panics, only one that tells its end has one,
// and no finding holds any part of it.
func FuzzToken(f *testing.F) {
	for _, seed := range []string{
		"", opaque, "sha256~" + opaque, "ya29." + opaque, "kubeconfig-u-abc12:" + opaque, "abcdef.0123456789abcdef", "dop_v1_" + opaque,
		eksToken(now), eksPrefix, eksPrefix + "aHR0cHM6Ly8_WC1BbXotRGF0ZT05OTk5MTIzMVQyMzU5NTla", okePrefix,
		token(bound("pod")), token(bound("node")), token(bound("secret")), token(jwtClaims{}), token(jwtClaims{"exp": 1e300, "kubernetes.io": 1}), "e30.e30.e30",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		says := readToken(token)
		if says.state != Unknown && !strings.HasPrefix(strings.TrimSpace(token), eksPrefix) && strings.Count(token, ".") != 2 {
			t.Fatalf("%+v of an opaque token", says)
		}
		d := &Destination{CAData: []byte(authority.pem), Token: token}
		end := d.End()
		if (end.State == Known) == end.At.IsZero() || end.At.After(authority.certificate.NotAfter) || end.State != Known && end.What != "" {
			t.Fatalf("%+v", end)
		}
		if says.state != Known && end.At.Equal(authority.certificate.NotAfter) {
			t.Fatalf("the end of the CA for %+v", says)
		}
		said := end.Annotations()
		again, err := ReadEnd(func(annotation string) string { return said[annotation] })
		if again != inClear(end) || err != nil {
			t.Fatalf("%v: %+v, %v", said, again, err)
		}
		c := &checker{options: Options{Now: now}, destination: *d}
		c.checkToken()
		for _, part := range strings.FieldsFunc(token, func(r rune) bool { return strings.ContainsRune(".:~ \r\n", r) }) {
			for _, finding := range c.findings {
				if len(part) > 16 && strings.Contains(finding.Message+finding.Hint+finding.Path, part) {
					t.Fatalf("%s in %s", part, finding)
				}
			}
			if len(part) > 16 && strings.Contains(end.Why()+said[AnnotationExpires]+said[AnnotationKind], part) {
				t.Fatalf("%s in %+v", part, end)
			}
		}
	})
}

// TestVerdict judges ends as of one day, with a horizon of ten.
func TestVerdict(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	day := func(n int) time.Time { return now.AddDate(0, 0, n) }
	known := func(at time.Time) End { return End{State: Known, At: at, What: "the credential"} }
	for _, c := range []struct {
		name          string
		end           End
		rule, message string
	}{
		{"nothing known", End{}, "", ""},
		{"never", End{State: Never}, "", ""},
		{"far away", known(day(11)), "", ""},
		{"within", known(day(10)), "credential-expiring", "the credential ends on 2026-06-11T00:00:00Z"},
		{"now", known(now), "credential-expired", "the credential has ended on 2026-06-01T00:00:00Z"},
		{"long ago", known(day(-30)), "credential-expired", "the credential has ended on 2026-05-02T00:00:00Z"},
		{"not later than", End{Latest: day(3)}, "credential-expiring", "the credential ends on 2026-06-04T00:00:00Z"},
		{"the CA of what never ends", End{State: Never, CA: day(-1)}, "credential-expired", "the CA has ended on 2026-05-31T00:00:00Z"},
		{"the CA first", End{State: Known, At: day(20), What: "the credential", CA: day(5)}, "credential-expiring", "the CA ends on 2026-06-06T00:00:00Z"},
	} {
		if rule, message := c.end.Verdict(now, 10*24*time.Hour); rule != c.rule || message != c.message {
			t.Errorf("%s: %s, %q", c.name, rule, message)
		}
	}
}
