package kubeconfig

import (
	"maps"
	"slices"

	"clusterpair.dev/internal/report"
)

// allowable are the rules that a user may waive, each with what a pair that
// breaks it still can do. All other rules of this package name things that
// stop Stork, that client-go refuses, or that can never work:
//
//	auth-provider        client-go has removed them; Stork cannot build a client
//	bad-base64           one such pair stops Stork for all pairs
//	ca-invalid           no connection can be verified
//	certificate-invalid  client-go refuses the certificate, or the server does
//	context-broken       there is nothing to connect to
//	duplicate-key        readers disagree on which of the two counts
//	file-reference       the path would be looked up inside the Stork pod
//	kubeconfig-spelling  the field is dropped, with its restriction
//	required-field       client-go refuses the user
//	secret-key           it is open which value is the kubeconfig
//	server-invalid       client-go drops the credential, or cannot connect
//	several-credentials  client-go refuses the user
//	still-encrypted      the value is SOPS's, not the user's
//	token-malformed      no HTTP header can carry it
//	value-type           client-go refuses the kubeconfig
//	yaml                 nothing can be read
var allowable = map[string]string{
	"basic-auth":           "works with a proxy that takes passwords; no API server since 1.19 does",
	"ca-missing":           "works when a public CA that the Stork image knows has signed the server's certificate",
	"credential-expired":   "works again when the credential has been renewed in place, or a clock put right",
	"credential-expiring":  "works until then",
	"credential-unbounded": "works for as long as nobody takes the credential",
	"drifting-field":       "works without the field",
	"exec-credential":      "works when the Stork pod can run the command and has its cloud credentials",
	"no-credential":        "works when the destination lets anonymous requests do all that Stork does",
	"server-loopback":      "works when the Stork pod has a tunnel at that address",
	"server-private":       "works when the source cluster reaches that address",
	"server-proxied":       "works as long as the proxy does",
	"tls-skipped":          "works, and hands the credential to whoever answers",
	"unknown-field":        "works without the field",
	"weak-key":             "works as long as the server accepts the key",
}

// Allowable tells whether a user may waive a rule. Rules whose breach stops
// Stork may not be waived.
func Allowable(rule string) bool { return allowable[rule] != "" }

// AllowableRules are the rules that a user may waive, sorted.
func AllowableRules() []string { return slices.Sorted(maps.Keys(allowable)) }

// origin is the text that a kubeconfig stands in: a file, or a value of a Secret.
type origin struct {
	file string
	// position is that of the whole, for what has no place of its own.
	position report.Position
	// key is the Secret's key; lines then count inside its value, and position
	// is the value's.
	key string
}

// place is where a field stands, so that a finding can say it.
type place struct {
	position report.Position
	within   string // such as `line 3 of key "value": `, empty in a plain file
	path     string
}

// report adds a finding. A waived one stays visible as an info.
func (c *checker) report(at place, rule string, severity report.Severity, message, hint string) {
	if c.options.Allow[rule] && Allowable(rule) {
		severity, hint = report.Info, ""
		message += " (allowed)"
	}
	c.add(at, rule, severity, message, hint)
}

// refuse adds an error that cannot be waived, whatever its rule.
func (c *checker) refuse(at place, rule, message, hint string) {
	c.add(at, rule, report.Error, message, hint)
}

func (c *checker) add(at place, rule string, severity report.Severity, message, hint string) {
	c.findings = append(c.findings, report.Finding{Rule: rule, Severity: severity, Position: at.position,
		Path: at.path, Message: at.within + message, Hint: hint})
}
