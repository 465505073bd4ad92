package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clusterpair.dev/internal/report"
)

// Error is what a cluster, or the way to it, had against a request.
type Error struct {
	// Rule is what it amounts to in the catalogue: unreachable, tls-mismatch,
	// unauthorized or missing-permission. It is empty for other refusals.
	Rule string
	// Hint is what to do about it; empty if there is nothing to say.
	Hint string

	message string
	err     error
}

// Error says what happened, without any value of the credential.
func (e *Error) Error() string { return e.message }

// Unwrap is the error that client-go gave. Only its type is of use: its text
// may quote anything.
func (e *Error) Unwrap() error { return e.err }

// wrap says an error of client-go in words of our own. A server's message is
// taken over with what must stay secret cut out of it.
func (c *Client) wrap(err error) error {
	var done *Error
	if err == nil || errors.As(err, &done) || errors.Is(err, context.Canceled) {
		return err
	}
	server := c.Server()
	e := &Error{err: err}
	var status apierrors.APIStatus
	var dns *net.DNSError
	var remote *net.OpError
	var network net.Error
	switch {
	case errors.As(err, &status):
		c.answered(e, status.Status())
	case errors.Is(err, errAnswerTooLarge):
		e.message = fmt.Sprintf("%s: %v", server, errAnswerTooLarge)
	case strings.Contains(err.Error(), "getting credentials: "): // exec's own words, which quote what the command prints
		e.Rule, e.message, e.Hint = "unauthorized", "the command of the exec user gives no credential", "run the command by hand; it gets no terminal here, nor in the Stork pod"
	case errors.Is(err, errRedirected):
		e.message, e.Hint = fmt.Sprintf("%s: %v", server, errRedirected), "give the URL of the API server itself, not that of a console or of a proxy that wants a login"
	case errors.As(err, &dns):
		e.Rule, e.message, e.Hint = "unreachable", fmt.Sprintf("the name %s does not resolve", dns.Name), "check the server of the kubeconfig, and the DNS of this machine"
	case e.aboutTLS(server):
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert of TLS, in the words of crypto/tls
		e.Rule, e.message, e.Hint = "unauthorized", fmt.Sprintf("%s refuses the connection: %v", server, remote.Err), "the client certificate has expired, or is signed by a CA that the server does not know"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Rule, e.message, e.Hint = "unreachable", server+" refuses the connection", "check the port, and whether the API server runs"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		e.Rule, e.message, e.Hint = "unreachable", server+" does not answer in time", "check routes and firewalls between here and there, or give it longer with --request-timeout"
	default:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the URL may hold a password of a proxy
		}
		e.Rule, e.message = "unreachable", server+": "+c.redact(err.Error())
	}
	return e
}

// answered says what a server answers.
func (c *Client) answered(e *Error, s metav1.Status) {
	server := c.Server()
	e.message = c.redact(s.Message)
	if strings.TrimSpace(e.message) == "" {
		e.message = strings.TrimSpace(fmt.Sprintf("%s answers %d %s, and does not say why", server, s.Code, s.Reason))
	}
	switch {
	case apierrors.IsUnauthorized(e.err):
		e.Rule, e.message, e.Hint = "unauthorized", server+" does not accept the credential (401)", "the token or certificate has ended, was revoked, or belongs to another cluster"
	case apierrors.IsForbidden(e.err):
		e.Rule = "missing-permission"
	case s.Code == 0 && s.Message != "":
		e.message = server + ": " + e.message
	}
}

// aboutTLS says what is wrong with the certificate of a server, if its error is about
// that.
func (e *Error) aboutTLS(server string) bool {
	err := e.err
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var certificate x509.CertificateInvalidError
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &hostname):
		e.Rule, e.message, e.Hint = "tls-mismatch", fmt.Sprintf("the certificate of %s is for other names: %s", server, names(hostname.Certificate)), "set tls-server-name to one of them"
	case errors.As(err, &authority):
		e.Rule, e.message, e.Hint = "tls-mismatch", fmt.Sprintf("the certificate of %s is not signed by the CA of the kubeconfig", server), "take certificate-authority-data from the cluster that answers there"
	case errors.As(err, &certificate) && certificate.Reason == x509.Expired:
		e.Rule, e.message, e.Hint = "tls-mismatch", fmt.Sprintf("the certificate of %s has expired or is not yet valid", server), "check the clocks, and renew the certificate of the API server"
	case errors.As(err, &verification):
		e.Rule, e.message = "tls-mismatch", fmt.Sprintf("the certificate of %s does not verify", server)
	case errors.As(err, &record):
		e.Rule, e.message, e.Hint = "tls-mismatch", server+" does not speak TLS", "check the port of the server"
	default:
		return false
	}
	return true
}

func names(c *x509.Certificate) string {
	if c == nil {
		return "none"
	}
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}

// redact makes a message from outside fit for a terminal and a log: one line of
// bounded length without what is secret, here or otherwise. URLs in it are shown
// as [report.URL] shows them.
func (c *Client) redact(s string, secrets ...string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	urls := []string{c.config.Host}
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		urls = append(urls, os.Getenv(name)) // net/http quotes one that it cannot read
	}
	for _, u := range urls {
		if u != "" {
			s = strings.ReplaceAll(s, u, report.URL(u))
		}
	}
	for _, secret := range slices.Concat(c.secrets, secrets) {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "***")
		}
	}
	s = report.Printable(strings.Join(strings.Fields(s), " "))
	const longest = 300
	if len(s) > longest {
		s = strings.ToValidUTF8(s[:longest], "") + "…"
	}
	return s
}
