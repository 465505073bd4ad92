package kubeconfig

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
)

// checker makes one Destination and notes what is wrong with it.
type checker struct {
	options Options
	origin  origin
	// pair says that the source is a ClusterPair, which Stork takes as it is,
	// and that only the fields in use are judged: the schema has the others.
	pair        bool
	destination Destination
	// places are where the fields of the destination stand, by their names in a
	// kubeconfig; "cluster" and "user" stand for the whole.
	places map[string]place
	// broken are the fields that a finding has refused already: they are there,
	// so that nothing is missing, and have no value to judge.
	broken   map[string]bool
	findings []report.Finding
	// client, token and ca are what tells when the credential ends.
	client *x509.Certificate
	token  tokenSays
	ca     time.Time
}

// finish gives out what the checker has made.
func (c *checker) finish() (*Destination, []report.Finding) {
	if report.HasErrors(c.findings) {
		return nil, c.findings
	}
	return &c.destination, c.findings
}

func (c *checker) place(field string, at place) {
	if c.places == nil {
		c.places = make(map[string]place)
	}
	c.places[field] = at
}

func (c *checker) refused(field string) {
	if c.broken == nil {
		c.broken = make(map[string]bool)
	}
	c.broken[field] = true
}

// where is the place of the first of the fields that has one.
func (c *checker) where(fields ...string) place {
	for _, f := range fields {
		if at, ok := c.places[f]; ok {
			return at
		}
	}
	at := c.at(nil, fields[0])
	if c.origin.key != "" {
		at.within = fmt.Sprintf("key %q: ", c.origin.key)
	}
	return at
}

// check applies the pair's overrides and judges the destination field by field.
func (c *checker) check() {
	d := &c.destination
	if c.options.Server != "" {
		d.Server, d.TLSServerName = c.options.Server, ""
		c.place("server", place{position: c.origin.position, path: "destination.server"})
		delete(c.broken, "server")
	}
	if c.options.TLSServerName != "" {
		d.TLSServerName = c.options.TLSServerName
		c.place("tls-server-name", place{position: c.origin.position, path: "destination.tlsServerName"})
		delete(c.broken, "tls-server-name")
	}
	if !c.pair {
		d.Token = strings.TrimSpace(d.Token) // a final line end would break the HTTP header
	}
	c.checkServer()
	c.checkServerName()
	c.checkProxy()
	c.checkCA()
	c.checkCredentials()
	c.checkClientCertificate()
	c.checkToken()
	c.checkImpersonation()
	c.checkExec()
	end := d.endOf(c.client, c.token, c.ca)
	d.end = &end
}

// checkServer judges the server's URL. It quotes no more of it than the host:
// a URL may hold a password.
func (c *checker) checkServer() {
	server, at := c.destination.Server, c.where("server", "cluster")
	if c.broken["server"] {
		return
	}
	invalid := func(message string) {
		c.refuse(at, "server-invalid", message, "server: https://HOST:6443")
	}
	if server == "" {
		if !c.broken["cluster"] {
			invalid("the cluster has no server")
		}
		return
	}
	u, err := url.Parse(server)
	switch {
	case isPlaceholder(server):
		c.refuse(at, "server-invalid", "server is "+messagePlaceholder, hintPlaceholder)
		return
	case err != nil:
		invalid("server is no URL")
		return
	case u.Scheme == "http":
		invalid("server is plain http, over which client-go silently leaves the credential out")
		return
	case u.Scheme != "https":
		invalid("server does not begin with https://; client-go would use http and silently leave the credential out")
		return
	}
	if u.User != nil {
		invalid("server holds a user name or password")
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		invalid("server holds a query or fragment")
	}
	if strings.HasSuffix(u.Host, ":") {
		invalid("server has an empty port")
	} else if !isPort(u.Port()) {
		invalid("the server's port is not between 1 and 65535")
	}
	if proxy := proxyOf(u); proxy != "" && u.Host != "" {
		message, hint := fmt.Sprintf("server is a proxy, %s: the pair fails with it", proxy), "use the cluster's own endpoint"
		if proxy == rancher {
			message, hint = "server is a Rancher proxy: the pair fails with Rancher, and its token ends with Rancher's", hint+": Authorized Cluster Endpoint in Rancher"
		}
		c.report(at, "server-proxied", report.Warning, message, hint)
	}
	c.checkHost(at, strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), invalid)
}

const rancher = "Rancher"

// proxyOf names what stands before the API server that a URL leads to; it is empty
// if nothing does, as far as the URL tells. An API server itself has no path.
func proxyOf(u *url.URL) string {
	for _, known := range []struct{ host, path, name string }{
		{"", "/k8s/clusters/", rancher},
		{"connectgateway.googleapis.com", "/", "the connect gateway of GKE"},
		{"", "/kubernetes/cluster/", "vCluster Platform"},
		{"", "/kubernetes/project/", "vCluster Platform"},
		{"", "/kubernetes/virtualcluster/", "vCluster Platform"},
		{"", "/apis/cluster.karmada.io/", "Karmada"},
		{"cluster-proxy-user.", "/", "cluster-proxy of Open Cluster Management"},
		{"", "/", "as its path tells"},
	} {
		if strings.HasPrefix(strings.ToLower(u.Host), known.host) && strings.Contains(u.Path, known.path) && strings.Trim(u.Path, "/") != "" {
			return known.name
		}
	}
	return ""
}

// isPort tells whether a server listens on a port; it may be left out.
func isPort(port string) bool {
	n, err := strconv.Atoi(port)
	return port == "" || err == nil && n >= 1 && n <= 65535
}

// checkServerName judges the name that the server's certificate must bear.
func (c *checker) checkServerName() {
	name := strings.TrimSuffix(strings.ToLower(c.destination.TLSServerName), ".")
	if name == "" || c.broken["tls-server-name"] || hostName().MatchString(name) {
		return
	}
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err != nil {
		c.refuse(c.where("tls-server-name", "cluster"), "server-invalid", "tls-server-name is no host, so that no certificate bears it", "tls-server-name: HOST, as the server's certificate has it, without https:// and port")
	}
}

// checkHost judges whether the source cluster can reach the host of a server.
func (c *checker) checkHost(at place, host string, invalid func(string)) {
	const hintServer = "set destination.server to the address by which the source cluster reaches it"
	loopback := func() {
		c.report(at, "server-loopback", report.Error, fmt.Sprintf("server %s is the Stork pod itself, or its node, when seen from the source cluster", host), hintServer)
	}
	private := func(what string) {
		c.report(at, "server-private", report.Warning, fmt.Sprintf("server %s is %s: the source cluster may not reach it", host, what), hintServer)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		switch {
		case ip.Zone() != "", ip.IsMulticast():
			invalid("the server's address is no host's")
		case ip.IsLoopback(), ip.IsUnspecified(), ip.IsLinkLocalUnicast():
			loopback()
		case dockerBridge.Contains(ip):
			private("on Docker's default bridge")
		case ip.IsPrivate(), carrierNAT.Contains(ip):
			c.report(at, "server-private", report.Info, fmt.Sprintf("server %s is a private address: the source cluster must have a route to it", host), "")
		}
		return
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	switch {
	case !hostName().MatchString(host):
		invalid("server has no valid host")
	case endsInNumber().MatchString(last):
		invalid("the server's host is neither a name nor a complete IP address")
	case host == "localhost", last == "localhost", host == "localhost.localdomain":
		loopback()
	case apiService().MatchString(host):
		c.report(at, "server-loopback", report.Error, fmt.Sprintf("server %s is in each cluster the API server of that cluster: seen from Stork the source itself, so that the pair is one with itself", host), hintServer)
	case last == "svc", strings.HasSuffix(host, ".svc.cluster.local"):
		private("a Service of one cluster")
	case last == "local", last == "localdomain":
		private("a name of one network")
	case strings.HasSuffix(host, ".docker.internal"):
		private("a name of one Docker host")
	case last == host:
		private("a name without a domain")
	}
}

var (
	hostName     = pattern.Later(`^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*$`)
	apiService   = pattern.Later(`^kubernetes(\.default(\.svc(\.cluster\.local)?)?)?$`)
	endsInNumber = pattern.Later(`^([0-9]+|0x[0-9a-f]*)$`)
	dockerBridge = netip.MustParsePrefix("172.17.0.0/16")
	carrierNAT   = netip.MustParsePrefix("100.64.0.0/10")
)

func (c *checker) checkProxy() {
	proxy, at := c.destination.ProxyURL, c.where("proxy-url", "cluster")
	if proxy == "" || c.broken["proxy-url"] {
		return
	}
	u, err := url.Parse(proxy)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5":
		c.refuse(at, "server-proxied", "proxy-url is no URL with http, https or socks5, and client-go refuses it", "proxy-url: https://HOST:PORT")
	case u.Hostname() == "":
		c.refuse(at, "server-proxied", "proxy-url has no host, so that Stork looks for the proxy in its own pod", "proxy-url: https://HOST:PORT")
	case !isPort(u.Port()):
		c.refuse(at, "server-proxied", "the proxy's port is not between 1 and 65535", "proxy-url: https://HOST:PORT")
	case u.User != nil:
		c.report(at, "server-proxied", report.Error, "proxy-url holds a user name or password", "let the proxy know the source cluster by its address")
	default:
		c.report(at, "server-proxied", report.Warning, "the Stork pod has to reach the destination through a proxy", "check that the source cluster reaches the proxy")
	}
}

func (c *checker) checkCA() {
	d, at := &c.destination, c.where("certificate-authority-data", "cluster")
	skip := c.where("insecure-skip-tls-verify", "cluster")
	present := len(d.CAData) > 0 || c.broken["certificate-authority-data"]
	switch {
	case d.InsecureSkipTLSVerify && present:
		c.refuse(skip, "ca-invalid", "insecure-skip-tls-verify together with a CA, which client-go refuses", "remove insecure-skip-tls-verify")
	case d.InsecureSkipTLSVerify:
		c.report(skip, "tls-skipped", report.Error, "insecure-skip-tls-verify hands the credential to whoever answers at the server's address",
			"give the CA as certificate-authority-data: kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' | base64 -w0")
	case !present && !c.broken["cluster"]:
		c.report(at, "ca-missing", report.Error, "no certificate-authority-data: Stork would trust only the public CAs of its image",
			"if a public CA has signed the server's certificate, as that of most proxies, allow the rule with that reason; else add the cluster's: kubectl get configmap kube-root-ca.crt -o jsonpath='{.data.ca\\.crt}' | base64 -w0")
	}
	if len(d.CAData) > 0 && !c.broken["certificate-authority-data"] {
		c.checkCABundle(at)
	}
}

// checkCredentials judges which credentials there are, not what is in them.
func (c *checker) checkCredentials() {
	d := &c.destination
	has := func(set bool, fields ...string) bool {
		for _, f := range fields {
			set = set || c.broken[f]
		}
		return set
	}
	token := has(d.Token != "", "token")
	basic := has(d.Username != "" || d.Password != "", "username", "password")
	certificate := has(len(d.ClientCertificateData) > 0 || len(d.ClientKeyData) > 0, "client-certificate-data", "client-key-data")
	exec := d.Exec != nil
	at := c.where("user")
	switch {
	case c.broken["user"] || c.broken["auth-provider"]:
	case !token && !basic && !certificate && !exec:
		c.report(at, "no-credential", report.Error, "the user has no credential; Stork would call the pair Ready, because anyone may ask for the version, and fail at the first migration",
			"make a service account on the destination and use its token")
	}
	if basic {
		c.report(c.where("username", "password", "user"), "basic-auth", report.Error, "a user name with a password, which no API server has accepted since 1.19",
			"use a service account's token")
	}
	if token && basic {
		c.refuse(c.where("token", "user"), "several-credentials", "both a token and a password, which client-go refuses", "keep one")
	}
	if exec && (token || basic || certificate) {
		c.refuse(c.where("exec", "user"), "several-credentials", "an exec user with another credential beside it", "keep one")
	}
}

func (c *checker) checkToken() {
	d, at := &c.destination, c.where("token", "user")
	if d.Token == "" || c.broken["token"] {
		return
	}
	malformed := func(message, hint string) { c.refuse(at, "token-malformed", message, hint) }
	whole := strings.TrimRight(d.Token, "\r\n")
	decoded, err := decodeBase64(d.Token)
	switch {
	case strings.HasPrefix(strings.ToLower(d.Token), "bearer "):
		malformed(`the token begins with the word Bearer, which client-go adds by itself`, "remove the word")
		return
	case strings.ContainsFunc(whole, func(r rune) bool { return r <= ' ' || r >= 0x7f }):
		malformed("the token holds white space or a character that no HTTP header can carry", hintToken)
		return
	case whole != d.Token:
		malformed("the token ends in a line end: Stork sends it so, and HTTP refuses it", "write it on the line of token:, or below token: |-")
		return
	case isRedacted(d.Token):
		malformed("what kubectl config view prints instead of the token", "take the token itself: kubectl config view --raw")
		return
	case err == nil && strings.HasPrefix(string(decoded), "eyJ") && strings.Count(string(decoded), ".") == 2:
		malformed("the token is still in the base64 of its Secret", "decode it once, as base64 -d does")
		return
	}
	c.token = readToken(d.Token)
	c.checkTokenEnd(at)
}

// checkTokenEnd judges when the token ends: by what it says itself, or by what is
// usual for its kind.
func (c *checker) checkTokenEnd(at place) {
	token, kind := c.token, kinds[c.token.kind]
	if token.start.After(c.options.Now.Add(clockSkew)) {
		c.report(at, "credential-expired", report.Error, "the token is not valid before "+date(token.start), "check this machine's clock")
	}
	switch {
	case token.kind == EKSToken && token.state == Known:
		c.ends(at, "the token", token.end, ": it is "+kind.words+", and lives "+lifetime(kind.life), HintLasting)
	case kind.bound != "":
		c.report(at, "credential-end-unknown", report.Warning, fmt.Sprintf("the token is bound to a %[1]s (claim kubernetes.io.%[1]s) and ends with it, whatever end it shows", kind.bound), HintLasting)
		if !token.latest.IsZero() {
			c.ends(at, "the token", token.latest, " at the latest", HintLasting)
		}
	case token.state == Known:
		c.ends(at, "the token", token.end, "", hintToken)
	case token.state == Never:
		c.report(at, "credential-unbounded", report.Warning, "the token never ends: whoever takes it has it until its Secret is deleted",
			"have a job renew it: kubectl create token SERVICEACCOUNT --duration 720h")
	case kind.life > 0:
		c.report(at, "credential-end-unknown", report.Warning, fmt.Sprintf("the token is %s, which lasts %s by default and does not say when it ends", kind.words, lifetime(kind.life)), HintLasting)
	}
}

const hintToken = "kubectl create token SERVICEACCOUNT --duration 720h"

// HintLasting is what to do about a credential that does not say when it ends.
const HintLasting = "make a service account's token, which says when it ends: clusterpair credential create --context DESTINATION -o FILE"

func (c *checker) checkImpersonation() {
	d := &c.destination
	at := c.where("as-uid", "as-groups", "as-user-extra", "user")
	if d.Impersonate == "" && (d.ImpersonateUID != "" || len(d.ImpersonateGroups) > 0 || len(d.ImpersonateUserExtra) > 0) {
		as := c.spelled("as")
		c.refuse(at, "required-field", fmt.Sprintf("%[1]s-uid, %[1]s-groups and %[1]s-user-extra need %[1]s, and client-go refuses them without", as), "add "+as+": USER")
	}
	sendable := func(field string, values ...string) {
		if slices.ContainsFunc(values, hasControl) {
			c.refuse(c.where(field, "user"), "value-type", c.spelled(field)+" holds a line end or another control character, which no HTTP header can carry", "write it on one line")
		}
	}
	sendable("as", d.Impersonate)
	sendable("as-uid", d.ImpersonateUID)
	sendable("as-groups", d.ImpersonateGroups...)
	sendable("as-user-extra", slices.Concat(slices.Collect(maps.Values(d.ImpersonateUserExtra))...)...)
	if d.ImpersonateUID != "" && c.release().HasOldClient() {
		c.report(c.where("as-uid"), "drifting-field", report.Warning,
			fmt.Sprintf("%s: Stork %s does not know it, strips it from the cluster and impersonates without", c.spelled("as-uid"), c.options.StorkVersion), "remove "+c.spelled("as-uid"))
	}
}

// hasControl tells whether a text has a character that no value of an HTTP
// header may have. A tab may be there.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// execCommands are the credential commands in Stork's image.
var execCommands = []string{"aws", "aws-iam-authenticator", "gcloud", "gke-gcloud-auth-plugin", "kubelogin", "oci"}

// checkExec judges an exec user. Even a waiver lets only those commands run
// that Stork's image has.
func (c *checker) checkExec() {
	exec, at := c.destination.Exec, c.where("exec", "user")
	if exec == nil {
		return
	}
	command := "exec user"
	known := false
	for _, name := range execCommands {
		if exec.Command == name {
			known, command = true, "exec user with the command "+name
		}
	}
	c.report(at, "exec-credential", report.Error, command+": it runs inside the Stork pod, with the pod's cloud credentials",
		"use a service account's token, or allow the rule for this pair")
	refuse := func(message, hint string) { c.refuse(at, "exec-credential", message, hint) }
	if !known {
		refuse("Stork's image does not have the command of the exec user", "commands there, by bare name: "+strings.Join(execCommands, ", "))
	}
	release := c.release()
	early := release.HasOldClient() // its client-go has neither v1 nor interactive modes
	if v := exec.APIVersion; v != "client.authentication.k8s.io/v1beta1" && (v != "client.authentication.k8s.io/v1" || early) {
		known := "client.authentication.k8s.io/v1"
		if early {
			known += "beta1"
		}
		refuse("Stork's client-go does not know the apiVersion of the exec user", "apiVersion: "+known)
	}
	mode := c.spelled("interactiveMode")
	switch {
	case exec.InteractiveMode == "Never", exec.InteractiveMode == "IfAvailable", early && c.pair:
	case exec.InteractiveMode == "Always":
		refuse(mode+" Always: nobody is there to answer in the Stork pod", mode+": Never")
	case c.pair && release.Known():
		refuse(fmt.Sprintf("the exec user has no valid %s, as Stork %s spells it, and client-go refuses it", mode, c.options.StorkVersion), mode+": Never")
	default:
		refuse("the exec user has no valid "+mode+", and client-go refuses it", mode+": Never")
	}
	for _, v := range exec.Env {
		if v.Name == "" {
			refuse("a variable in the exec user's env has no name, and client-go refuses it", "")
			break
		}
	}
	if c.options.Allow["exec-credential"] && !release.Known() && !c.pair {
		refuse("how an exec user is spelled depends on the Stork release", `set storkVersion, such as "24.3"`)
	}
}

// ends reports an end that has come or is near. more follows the date.
func (c *checker) ends(at place, what string, end time.Time, more, hint string) {
	horizon := cmp.Or(c.options.Within, Within)
	if c.token.kind == EKSToken && what == "the token" { // its whole life is near its end
		horizon = max(horizon, kinds[EKSToken].life)
	}
	if rule, message := verdict(what, end, c.options.Now, horizon); rule != "" {
		known, _ := report.RuleOf(rule)
		c.report(at, rule, known.Severity, message+more, hint)
	}
}

// clockSkew is how far the clocks of two machines may differ; API servers
// grant a token as much.
const clockSkew = time.Minute

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }
