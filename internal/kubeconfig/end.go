package kubeconfig

import (
	"crypto/x509"
	"fmt"
	"time"
)

// Annotations in clear of a rendered pair, or of a Secret with a kubeconfig,
// that tell when its credential ends. [End.Annotations] makes them, [ReadEnd]
// reads them.
const (
	// AnnotationExpires is when the credential ends: a time as RFC 3339 has it,
	// in UTC, or "unknown", or "never". If the CA is known to end before the
	// credential, the time is that of the CA.
	AnnotationExpires = "clusterpair.dev/credential-expires"
	// AnnotationKind is the [Kind] of a credential whose end is unknown.
	AnnotationKind = "clusterpair.dev/credential-kind"
	// AnnotationCAExpires is when the destination's CA ends, as RFC 3339 has it. It
	// stands only where the end of the credential is not known to be earlier.
	AnnotationCAExpires = "clusterpair.dev/destination-ca-expires"
)

// State says what is known of the end of a credential.
type State int

// The states.
const (
	Unknown State = iota // it may end, and nothing tells when
	Known                // it ends at a time
	Never                // it says itself that it has no end
)

// String is the word for a state in annotations and in output for programs.
func (s State) String() string { return [...]string{"unknown", "known", "never"}[s] }

// End is when a credential ends, and how that is known. The zero value is an
// end of which nothing is known.
type End struct {
	State State
	// At is when the pair can no longer use the credential: when the credential
	// ends or, if it is known to be earlier, the CA. It is zero unless State is
	// Known.
	At time.Time
	// What ends at At, for a message: "the credential" or "the CA". It is empty
	// unless State is Known.
	What string
	// Kind is the kind of the credential whose end that is. It is empty if there
	// is none, and where annotations tell a time.
	Kind Kind
	// Latest is the time that a credential of unknown end cannot outlive; zero if
	// there is no such time.
	Latest time.Time
	// CA is when the CA ends; zero if there is none or nothing tells.
	CA time.Time
}

// End is when the credential of the destination ends. The CA alone never tells
// that: it may outlive a token by ten years.
func (d *Destination) End() End {
	if d.end != nil {
		return *d.end
	}
	certificates, _ := parseCertificates(d.CAData)
	var ca time.Time
	for _, c := range certificates {
		if isAuthority(c) {
			ca = later(ca, c.NotAfter)
		}
	}
	var client *x509.Certificate
	if certificates, _ = parseCertificates(d.ClientCertificateData); len(certificates) > 0 {
		client = certificates[0]
	}
	return d.endOf(client, readToken(d.Token), ca)
}

// endOf puts together what the parts of the destination say.
//
// A client certificate and a token may stand side by side, as in the admin
// kubeconfigs of AKS. Then the API server takes either of them, so that a token
// of unknown end does not make the end of the certificate unknown.
func (d *Destination) endOf(client *x509.Certificate, token tokenSays, ca time.Time) End {
	e := End{CA: ca}
	switch {
	case client != nil:
		e.State, e.At, e.Kind = Known, client.NotAfter, ClientCertificate
		if token.state == Known && token.end.Before(e.At) {
			e.At, e.Kind = token.end, token.kind
		}
	case d.Token != "":
		e.State, e.At, e.Kind, e.Latest = token.state, token.end, token.kind, token.latest
	case d.Username != "" || d.Password != "":
		e.Kind = Password
	case d.Exec != nil:
		e.Kind = ExecUser
	}
	if e.State != Known {
		return e
	}
	e.What = "the credential"
	if !ca.IsZero() && ca.Before(e.At) {
		e.At, e.What = ca, "the CA"
	}
	return e
}

// Annotations are the annotations that tell the end.
func (e End) Annotations() map[string]string {
	a := map[string]string{AnnotationExpires: e.State.String()}
	if e.State == Known {
		a[AnnotationExpires] = date(e.At)
	}
	if e.State == Unknown && e.Kind != "" {
		a[AnnotationKind] = string(e.Kind)
	}
	if !e.CA.IsZero() && (e.State != Known || e.What == "the CA") {
		a[AnnotationCAExpires] = date(e.CA)
	}
	return a
}

// AnnotationError says that an annotation which tells an end makes no sense.
type AnnotationError struct{ Annotation string }

func (e *AnnotationError) Error() string {
	if e.Annotation == AnnotationExpires {
		return e.Annotation + " is neither a time as RFC 3339 has it nor unknown or never"
	}
	return e.Annotation + " is no time as RFC 3339 has it"
}

// ReadEnd reads the annotations of an object; value gives that of one, empty if
// there is none. Without any the end is unknown. An error is an
// [*AnnotationError]; the End then holds what the other annotations say. A kind
// that this release does not know is left out.
func ReadEnd(value func(annotation string) string) (End, error) {
	var e End
	var bad error
	read := func(annotation string) (t time.Time) {
		if text := value(annotation); text != "" {
			var err error
			if t, err = time.Parse(time.RFC3339, text); err != nil && bad == nil {
				bad = &AnnotationError{annotation}
			}
		}
		return t.UTC()
	}
	if kind := Kind(value(AnnotationKind)); kinds[kind].words != "" {
		e.Kind = kind
	}
	switch text := value(AnnotationExpires); text {
	case "", Unknown.String():
	case Never.String():
		e.State = Never
	default:
		if e.At = read(AnnotationExpires); !e.At.IsZero() {
			e.State, e.What = Known, "the credential"
		}
	}
	if e.CA = read(AnnotationCAExpires); e.State == Known && !e.CA.IsZero() && !e.At.Before(e.CA) {
		e.What = "the CA"
	}
	return e, bad
}

// First is the first end that is known, and what ends then: the credential, or
// the CA behind which nothing works either. It is zero if none is known.
func (e End) First() (at time.Time, what string) {
	at, what = e.At, e.What
	if at.IsZero() {
		at, what = e.Latest, "the credential"
	}
	if !e.CA.IsZero() && (at.IsZero() || e.CA.Before(at)) {
		at, what = e.CA, "the CA"
	}
	return at, what
}

// Verdict judges the first end that is known, as of now: the rule that it breaks,
// credential-expired or, within a time, credential-expiring, and what to say. The rule is
// empty if it breaks none.
func (e End) Verdict(now time.Time, within time.Duration) (rule, message string) {
	at, what := e.First()
	if at.IsZero() {
		return "", ""
	}
	return verdict(what, at, now, within)
}

// verdict judges the end of something.
func verdict(what string, at, now time.Time, within time.Duration) (rule, message string) {
	switch {
	case !at.After(now):
		return "credential-expired", what + " has ended on " + date(at)
	case !at.After(now.Add(within)):
		return "credential-expiring", what + " ends on " + date(at)
	}
	return "", ""
}

// Short tells whether the end is unknown and the credential is of a kind that
// ends soon, by its issuer's default or with what it is bound to.
func (e End) Short() bool {
	k := kinds[e.Kind]
	return e.State == Unknown && (k.life > 0 || k.bound != "")
}

// Why says in a few words how the end is known, or why it is not. It is empty
// where the end needs no explanation.
func (e End) Why() string {
	k := kinds[e.Kind]
	switch {
	case e.State == Known && e.What == "the CA":
		return "it ends with the CA"
	case e.State == Known && e.Kind == EKSToken:
		return k.words + " lives " + lifetime(k.life)
	case e.State != Unknown || k.words == "":
		return ""
	case k.bound != "":
		return k.words + " ends with it"
	case k.life > 0:
		return k.words + ", " + lifetime(k.life) + " by default"
	}
	return k.words
}

// lifetime is a duration in words.
func lifetime(d time.Duration) string {
	const day = 24 * time.Hour
	n, unit := int(d/time.Minute), "minute"
	switch {
	case d > day && d%day == 0:
		n, unit = int(d/day), "day"
	case d%time.Hour == 0:
		n, unit = int(d/time.Hour), "hour"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
