package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/stork"
)

// checks are the names of the checks in their order, each with what it needs.
var checks = []struct{ name, needs string }{
	{"dns", ""},
	{"tcp", "dns"},
	{"tls", "tcp"},
	{"version", "tls"},
	{"authentication", "version"},
	{"identity", "authentication"},
	{"expiry", ""},
	{"permissions", "authentication"},
	{"privileges", "authentication"},
	{"stork", "authentication"},
	{"self-pair", "authentication"},
	{"guard", ""},
}

// CheckNames are the names of the checks, in order.
func CheckNames() []string {
	var names []string
	for _, c := range checks {
		names = append(names, c.name)
	}
	return names
}

// PreflightOptions say how [Preflight] looks.
type PreflightOptions struct {
	// Namespace is that of the ClusterPair. Its Migrations work in the same
	// namespace of the destination, if it is not Stork's admin namespace. Empty
	// stands for all.
	Namespace string
	// Source is the cluster that holds the pair; nil if it is not known.
	Source *Identity
	// StorkVersion is the release that the pair was made for, such as 24.3; empty
	// if nobody has said.
	StorkVersion string
	// AllowExec lets the command of an exec user run here.
	AllowExec bool
	// Shallow ends with whether the credential is taken: permissions and all that
	// comes with them are skipped.
	Shallow bool
	// Within is how near an end is worth a warning; zero means 30 days.
	Within time.Duration
	// Now is the time by which an end is judged.
	Now time.Time
}

// Preflight looks at a destination with the destination's own credential, as
// Stork would. It changes nothing there, returns when ctx ends at the latest,
// and gives all checks in order.
func Preflight(ctx context.Context, d *kubeconfig.Destination, o PreflightOptions) []report.Check {
	p := &preflight{destination: d, options: o, done: make(map[string]report.Check)}
	p.expiry(0)
	p.guard()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.safely("", func() { p.run(ctx) })
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		select {
		case <-ended:
		case <-time.After(100 * time.Millisecond): // the command of an exec user listens to nobody
		}
	}
	return p.all()
}

type preflight struct {
	destination *kubeconfig.Destination
	options     PreflightOptions
	client      *Client

	mu   sync.Mutex
	done map[string]report.Check
}

func (p *preflight) set(c report.Check) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[c.Name] = c
}

func (p *preflight) ok(name, format string, args ...any) {
	p.set(report.Check{Name: name, Status: report.Passed, Text: fmt.Sprintf(format, args...)})
}

// fail notes an error of a request, with words before it.
func (p *preflight) fail(name, words string, err error) {
	c := report.Check{Name: name, Status: report.Failed, Text: "interrupted"}
	var refused *Error
	var failure *defect.Error
	if errors.As(err, &failure) {
		c.Text, c.Hint = failure.Error(), failure.Hint()
	} else if errors.As(err, &refused) {
		c.Rule, c.Text, c.Hint = cmp.Or(refused.Rule, "unreachable"), words+refused.message, refused.Hint
	}
	if errors.Is(err, context.DeadlineExceeded) {
		c.Hint = "check routes and firewalls between here and there, or give it longer with --timeout"
	}
	p.set(c)
}

// all are the checks in order, those that were not made among them.
func (p *preflight) all() []report.Check {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []report.Check
	for _, c := range checks {
		done, ok := p.done[c.name]
		if !ok && c.name == "guard" {
			continue // no source was named
		}
		if !ok {
			done = report.Check{Name: c.name, Status: report.Skipped, Text: "needs " + c.needs}
		}
		all = append(all, done)
	}
	return all
}

// expiry judges what ends first of the credential and the CA, by what they say
// themselves and by the clock of the server where that is known: ahead is how far
// it goes before this machine's. It does not use End.Verdict: a check says how much time
// is left, and says it of a good one, too.
func (p *preflight) expiry(ahead time.Duration) {
	end := p.destination.End()
	at, what := end.First()
	hint := "make a new one: clusterpair credential rotate FILE"
	if what == "the CA" {
		hint = "take the new one from the destination, and render the pair again"
	}
	left := at.Sub(p.options.Now.Add(ahead))
	text := fmt.Sprintf("%s, %s", at.UTC().Format("2006-01-02 15:04 UTC"), days(left))
	if ahead.Abs() > time.Minute {
		text += fmt.Sprintf(" by the clock of the server, which differs from this machine's by %s", ahead.Abs().Round(time.Minute))
	}
	said := "the credential does not say that it ends"
	if why := end.Why(); end.State == kubeconfig.Unknown && why != "" {
		said = "nothing tells when the credential ends: " + why
	}
	switch {
	case !at.IsZero() && left <= 0:
		p.set(report.Check{Name: "expiry", Status: report.Failed, Text: what + " has ended: " + text, Rule: "credential-expired", Hint: hint})
	case !at.IsZero() && left < cmp.Or(p.options.Within, 30*24*time.Hour):
		p.set(report.Check{Name: "expiry", Status: report.Warned, Text: what + " ends soon: " + text, Rule: "credential-expiring", Hint: hint})
	case end.Short():
		p.set(report.Check{Name: "expiry", Status: report.Warned, Text: said, Rule: "credential-end-unknown", Hint: "make one that says it: clusterpair credential create --context DESTINATION -o FILE"})
	case end.State == kubeconfig.Known:
		p.ok("expiry", "%s ends on %s", what, text)
	case !end.CA.IsZero():
		p.ok("expiry", "%s; the CA ends on %s", said, text)
	default:
		p.ok("expiry", "%s", said)
	}
}

// days says how far away something is.
func days(d time.Duration) string {
	switch {
	case d < 0:
		return days(d.Abs()) + " ago" // of the smallest duration there is no -d
	case d > 10*365*24*time.Hour:
		return "more than 10 years"
	case d < time.Hour:
		return report.Count(int(d/time.Minute), "minute", "minutes")
	case d < 48*time.Hour:
		return report.Count(int(d/time.Hour), "hour", "hours")
	}
	return report.Count(int(d/(24*time.Hour)), "day", "days")
}

func (p *preflight) run(ctx context.Context) {
	d := p.destination
	config := restConfig(d)
	refused := p.refusal()
	if refused || d.Exec != nil {
		// What can be seen without the credential is looked at all the same, and
		// before a command takes its time.
		config = rest.AnonymousClientConfig(config)
		config.Dial = dialer()
	}
	if !p.connect(config) {
		return
	}
	trace := newTrace(d, p.client.config)
	version, err := p.client.version(trace.context(ctx))
	if !p.way(trace, err) || refused {
		p.client.close()
		return
	}
	if d.Exec != nil {
		p.client.close()
		if !p.connect(restConfig(d)) {
			return
		}
		version, err = p.client.version(ctx)
	}
	defer p.client.close()
	p.expiry(p.client.ahead())
	if !p.version(version, err) {
		return
	}
	me, err := p.client.whoAmI(ctx)
	if !p.authentication(me, err) || p.options.Shallow {
		return
	}
	var rest sync.WaitGroup
	for name, look := range map[string]func(context.Context){"permissions": p.permissions, "stork": p.stork, "self-pair": p.selfPair} {
		rest.Go(func() { p.safely(name, func() { look(ctx) }) })
	}
	rest.Wait()
}

// safely calls look, of which a panic is the failure of a check: of the one named, else
// of the first that is not made yet.
func (p *preflight) safely(name string, look func()) {
	err := defect.Safely("", func() error { look(); return nil })
	var failure *defect.Error
	if !errors.As(err, &failure) {
		return
	}
	for _, c := range checks {
		p.mu.Lock()
		_, done := p.done[c.name]
		p.mu.Unlock()
		if name == "" && !done || name == c.name {
			p.set(report.Check{Name: c.name, Status: report.Failed, Text: failure.Error(), Hint: failure.Hint()})
			return
		}
	}
}

// connect makes the client, and tells whether there is one.
func (p *preflight) connect(config *rest.Config) bool {
	client, err := New(config)
	if err != nil {
		p.set(report.Check{Name: "dns", Status: report.Failed, Text: "client-go makes no client of the kubeconfig", Rule: "context-broken", Hint: "see what is wrong with it: clusterpair validate FILE"})
		return false
	}
	client.longest = 4 << 20 // of single objects
	client.keepDestination(p.destination)
	p.client = client
	return true
}

// refusal tells whether the credential is not sent, and notes why.
func (p *preflight) refusal() bool {
	d := p.destination
	switch {
	case d.InsecureSkipTLSVerify:
		p.set(report.Check{Name: "tls", Status: report.Failed, Text: "insecure-skip-tls-verify: whoever answers there would get the credential, so that it was not sent", Rule: "tls-skipped",
			Hint: "give the CA as certificate-authority-data, and remove insecure-skip-tls-verify"})
	case d.Exec != nil && !p.options.AllowExec:
		p.set(report.Check{Name: "version", Status: report.Skipped, Text: "needs the credential"})
		p.set(report.Check{Name: "authentication", Status: report.Skipped, Text: "the credential comes from a command, which does not run here unasked", Hint: "if you trust the kubeconfig, let it run: --allow-exec"})
	default:
		return false
	}
	return true
}

// way notes what there is on the way to the server: names, connections and TLS.
// It tells whether the way is free.
func (p *preflight) way(t *trace, err error) bool {
	s := t.seen()
	var proxy string
	if s.proxy != nil {
		proxy = "the proxy " + s.proxy.Scheme + "://" + s.proxy.Host
		if s.fromEnvironment {
			proxy += ", of this machine's environment and not of Stork's,"
		}
	}
	refused := func(name string, cause error) bool {
		if cause == nil {
			cause = err
		}
		p.fail(name, "", p.client.wrap(cause))
		return false
	}
	switch {
	case s.address:
		p.ok("dns", "%s is an address", s.host)
	case s.lookup != nil:
		return refused("dns", s.lookup)
	case len(s.addresses) == 0 && s.connected == "" && s.connect == nil:
		return refused("dns", nil)
	case s.proxy != nil:
		p.ok("dns", "the proxy %s is %s; it looks up the server itself", s.host, strings.Join(s.addresses, ", "))
	default:
		p.ok("dns", "%s is %s", s.host, strings.Join(s.addresses, ", "))
	}
	switch {
	case s.connected == "":
		return refused("tcp", s.connect)
	case s.proxy != nil && !s.handshake && s.state == nil && err != nil:
		p.fail("tcp", proxy+" does not connect to the server: ", p.client.wrap(err))
		return false
	case s.proxy != nil:
		p.ok("tcp", "%s connects to the server", proxy)
	default:
		p.ok("tcp", "%s answers", s.connected)
	}
	if p.destination.InsecureSkipTLSVerify {
		return true
	}
	if s.state == nil {
		return refused("tls", s.tls)
	}
	p.tls(s.state)
	return true
}

// serverCertificateWithin is how near the end of a server's certificate is worth
// a warning: kubeadm and cloud providers renew theirs long before.
const serverCertificateWithin = 14 * 24 * time.Hour

func (p *preflight) tls(state *tls.ConnectionState) {
	leaf := state.PeerCertificates[0]
	name := cmp.Or(p.destination.TLSServerName, state.ServerName, "the server")
	left := leaf.NotAfter.Sub(p.options.Now)
	text := fmt.Sprintf("%s, the certificate is for %s and signed by the given CA", tls.VersionName(state.Version), name)
	if len(p.destination.CAData) == 0 {
		text = fmt.Sprintf("%s, the certificate is for %s and signed by a CA that this machine trusts", tls.VersionName(state.Version), name)
	}
	if left < serverCertificateWithin {
		p.set(report.Check{Name: "tls", Status: report.Warned, Text: fmt.Sprintf("%s; it ends soon: %s", text, days(left)), Rule: "server-certificate-expiring", Hint: "renew the certificate of the API server: kubeadm certs renew apiserver"})
		return
	}
	p.ok("tls", "%s; it ends in %s", text, days(left))
}

// version notes the answer to the only question that Stork asks before it says
// Ready. It tells whether what answers is an API server.
func (p *preflight) version(version string, err error) bool {
	switch {
	case err != nil && !apierrors.IsUnauthorized(err) && !apierrors.IsForbidden(err):
		p.fail("version", "", err)
		return false
	case err != nil:
		p.fail("version", "Stork cannot read /version, and says Error: ", err)
		return true // the next check tells more
	}
	text := version + "; Stork asks for no more before it says Ready"
	if s := p.options.Source; s != nil {
		here, err := utilversion.ParseGeneric(version)
		there, err2 := utilversion.ParseGeneric(s.Version)
		if err == nil && err2 == nil && (here.Major() != there.Major() || max(here.Minor(), there.Minor())-min(here.Minor(), there.Minor()) > 3) {
			p.set(report.Check{Name: "version", Status: report.Warned, Text: fmt.Sprintf("%s, and the source is %s", text, s.Version), Rule: "server-version",
				Hint: "bring the clusters closer together: one of them may not know an API version that the other stores"})
			return true
		}
	}
	p.ok("version", "%s", text)
	return true
}

func (p *preflight) authentication(me user, err error) bool {
	switch {
	case errors.Is(err, errNoReview):
		p.ok("authentication", "the server takes the credential")
		p.set(report.Check{Name: "identity", Status: report.Skipped, Text: "the server is too old to tell, or does not let the credential ask"})
		return true
	case err != nil:
		p.fail("authentication", "", err)
		return false
	case me.Username == "system:anonymous":
		p.set(report.Check{Name: "authentication", Status: report.Failed, Text: "the server takes the credential for nobody: system:anonymous", Rule: "unauthorized", Hint: "make a new one: clusterpair credential create --context DESTINATION -o FILE"})
		return false
	}
	p.ok("authentication", "the server takes the credential")
	who := p.client.redact(me.Username)
	if len(me.Groups) > 0 {
		who += ", of " + p.client.redact(strings.Join(me.Groups, ", "))
	}
	if slices.Contains(me.Groups, "system:masters") {
		p.set(report.Check{Name: "identity", Status: report.Warned, Text: who, Rule: "too-much-permission", Hint: "nobody can take anything from system:masters, not even by RBAC; use a service account: clusterpair credential create --context DESTINATION -o FILE"})
		return true
	}
	p.ok("identity", "%s", who)
	return true
}

// permissions compares what the credential may do with what Stork does.
func (p *preflight) permissions(ctx context.Context) {
	var everywhere, here *ruleList
	var groups map[string]bool
	namespace := p.options.Namespace
	err := parallel(
		func() (err error) { everywhere, err = p.client.rules(ctx, noNamespace); return err },
		func() (err error) {
			if namespace == "" || namespace == adminNamespace {
				return nil
			}
			here, err = p.client.rules(ctx, namespace)
			return err
		},
		func() (err error) { groups, err = p.client.groups(ctx); return err },
	)
	if err != nil {
		p.fail("permissions", "", err)
		p.set(report.Check{Name: "privileges", Status: report.Skipped, Text: "needs permissions"})
		return
	}
	if here == nil {
		here, namespace = everywhere, ""
	}
	a := audit{served: groups, everywhere: everywhere, here: here}
	missing := a.run()
	if everywhere.Incomplete || here.Incomplete {
		missing, err = p.client.review(ctx, missing, namespace)
	}
	if err != nil {
		p.fail("permissions", "", err)
	} else {
		p.judge(missing, a.total, namespace, a.onlyHere && namespace != "")
	}
	switch {
	case everywhere.all():
		p.set(report.Check{Name: "privileges", Status: report.Warned, Text: "the credential may do everything: it is as good as cluster-admin", Rule: "too-much-permission",
			Hint: "give Stork a service account with the role of a migration: clusterpair credential create --rbac migrate --context DESTINATION -o FILE"})
	case everywhere.escalates():
		p.ok("privileges", "no cluster-admin, but it may write roles or webhooks, and so give itself any permission")
	default:
		p.ok("privileges", "no cluster-admin")
	}
}

// judge notes which permissions are missing.
func (p *preflight) judge(missing []access, total int, namespace string, onlyHere bool) {
	required := slices.DeleteFunc(slices.Clone(missing), func(a access) bool { return a.optional })
	optional := slices.DeleteFunc(slices.Clone(missing), func(a access) bool { return !a.optional })
	where := ""
	if namespace != "" {
		where = " in namespace " + namespace
	}
	const hint = "bind a role of a migration, as this prints it: clusterpair credential create --rbac migrate --dry-run=client"
	switch {
	case len(required) > 0:
		details := lines(required)
		if len(optional) > 0 {
			details = append(details, "and where an application has them:")
		}
		for _, line := range lines(optional) {
			details = append(details, "  "+line)
		}
		p.set(report.Check{Name: "permissions", Status: report.Failed, Text: fmt.Sprintf("%d of the %d permissions of a migration are missing%s", len(missing), total, where),
			Details: details, Missing: len(required), Rule: "missing-permission", Hint: hint})
	case len(optional) > 0:
		p.set(report.Check{Name: "permissions", Status: report.Warned, Text: "a migration leaves out what the credential may not write", Details: lines(optional), Rule: "missing-permission",
			Hint: "harmless if the applications have none of these"})
	case onlyHere:
		p.ok("permissions", "all that a migration of namespace %s does, and not of others", namespace)
	default:
		p.ok("permissions", "all that a migration does, in every namespace")
	}
}

// stork tells whether both clusters have Stork's resources.
func (p *preflight) stork(ctx context.Context) {
	missing, err := p.client.storkMissing(ctx)
	s := p.options.Source
	const hint = "install Stork on both clusters, in releases that belong together"
	var running stork.Version
	if s != nil {
		running, _ = stork.Parse(s.StorkVersion)
	}
	madeFor, _ := stork.Parse(p.options.StorkVersion)
	switch {
	case err != nil:
		p.fail("stork", "", err)
	case len(missing) > 0:
		p.set(report.Check{Name: "stork", Status: report.Failed, Text: "the destination does not know Stork's " + strings.Join(missing, ", "), Rule: "stork-missing", Hint: hint})
	case s != nil && len(s.StorkMissing) > 0:
		p.set(report.Check{Name: "stork", Status: report.Failed, Text: "the source does not know Stork's " + strings.Join(s.StorkMissing, ", "), Rule: "stork-missing", Hint: hint})
	case s != nil && running.Known() && madeFor.Known() && running != madeFor:
		p.set(report.Check{Name: "stork", Status: report.Warned, Text: fmt.Sprintf("the source runs Stork %s, the pair was made for %s", s.StorkVersion, p.options.StorkVersion),
			Rule: "stork-version", Hint: fmt.Sprintf("set storkVersion: %q and render again: clusterpair generate", running.String())})
	case s != nil:
		text := "source and destination know Stork's resources"
		if s.StorkVersion != "" {
			text += "; the source runs " + s.StorkVersion
		}
		p.ok("stork", "%s", text)
	default:
		p.ok("stork", "the destination knows Stork's resources")
	}
}

// guard says whether the source refuses pairs that stop Stork. The destination is not asked for that.
func (p *preflight) guard() {
	s := p.options.Source
	if s == nil || p.options.Shallow {
		return
	}
	switch s.Guard {
	case Guarded:
		p.ok("guard", "the source refuses pairs that stop Stork")
	case Unguarded:
		p.set(report.Check{Name: "guard", Status: report.Skipped, Text: "no policy of the source refuses pairs that stop Stork", Hint: "let its API server refuse them: clusterpair schema -o admission | kubectl apply --server-side -f -"})
	default:
		p.set(report.Check{Name: "guard", Status: report.Skipped, Text: "the source does not say whether it refuses pairs that stop Stork: its Kubernetes is older than 1.30, or you may not see its policies"})
	}
}

// selfPair tells whether the destination is the source itself.
func (p *preflight) selfPair(ctx context.Context) {
	s := p.options.Source
	if s == nil {
		p.set(report.Check{Name: "self-pair", Status: report.Skipped, Text: "no source cluster was named", Hint: "name it with --context"})
		return
	}
	uid, err := p.client.UID(ctx)
	switch {
	case apierrors.IsForbidden(err):
		p.set(report.Check{Name: "self-pair", Status: report.Skipped, Text: "the credential may not read the namespace kube-system, whose UID tells clusters apart"})
	case err != nil:
		p.fail("self-pair", "", err)
	case uid == s.UID:
		p.set(report.Check{Name: "self-pair", Status: report.Failed, Text: "the destination is the source cluster itself", Rule: "self-pair", Hint: "give the kubeconfig of the other cluster"})
	default:
		p.ok("self-pair", "source and destination are two clusters")
	}
}

// restConfig is the client-go configuration that Stork makes of a destination.
func restConfig(d *kubeconfig.Destination) *rest.Config {
	config := &rest.Config{
		Host: d.Server, BearerToken: d.Token, Username: d.Username, Password: d.Password,
		Impersonate: rest.ImpersonationConfig{UserName: d.Impersonate, UID: d.ImpersonateUID, Groups: d.ImpersonateGroups, Extra: d.ImpersonateUserExtra},
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: d.TLSServerName, Insecure: d.InsecureSkipTLSVerify, CAData: d.CAData,
			CertData: d.ClientCertificateData, KeyData: d.ClientKeyData,
		},
		Dial: dialer(), // of its own, so that client-go shares no connection with others
	}
	if proxy, err := url.Parse(d.ProxyURL); err == nil && d.ProxyURL != "" {
		config.Proxy = http.ProxyURL(proxy)
	}
	if e := d.Exec; e != nil {
		config.ExecProvider = &clientcmdapi.ExecConfig{
			APIVersion: e.APIVersion, Command: e.Command, Args: e.Args, ProvideClusterInfo: e.ProvideClusterInfo,
			InteractiveMode: clientcmdapi.NeverExecInteractiveMode, // as in the Stork pod, where nobody is
		}
		for _, v := range e.Env {
			config.ExecProvider.Env = append(config.ExecProvider.Env, clientcmdapi.ExecEnvVar{Name: v.Name, Value: v.Value})
		}
	}
	return config
}

// close lets go of the connections.
func (c *Client) close() { utilnet.CloseIdleConnectionsFor(c.rest.Client.Transport) }

func dialer() func(context.Context, string, string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
}

// keepDestination takes what of a destination must not be said.
func (c *Client) keepDestination(d *kubeconfig.Destination) {
	c.keep(urlSecrets(d.ProxyURL)...)
	if d.Exec != nil {
		for _, v := range d.Exec.Env {
			if len(v.Value) >= 12 { // no region, and no name of a profile
				c.keep(v.Value)
			}
		}
	}
}

// parallel runs functions side by side, and returns the first error by order.
func parallel(each ...func() error) error {
	errs := make([]error, len(each))
	var group sync.WaitGroup
	for i, f := range each {
		group.Go(func() { errs[i] = defect.Safely("", f) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lines tells accesses, one line for the resources of a group that lack the same
// verbs.
func lines(missing []access) []string {
	type line struct{ verbs, resources []string }
	var all []*line
	var last *line
	for i, a := range missing {
		if i > 0 && missing[i-1].name() == a.name() {
			last.verbs = append(last.verbs, a.verb)
			continue
		}
		last = &line{[]string{a.verb}, []string{a.name()}}
		all = append(all, last)
	}
	var texts []string
	for i, l := range all {
		if i > 0 && slices.Equal(all[i-1].verbs, l.verbs) && group(all[i-1].resources[0]) == group(l.resources[0]) {
			l.resources = append(all[i-1].resources, l.resources...)
			texts = texts[:len(texts)-1]
		}
		texts = append(texts, strings.Join(l.verbs, ", ")+": "+strings.Join(l.resources, ", "))
	}
	return texts
}

// group is the API group in the name of a resource.
func group(name string) string {
	_, group, _ := strings.Cut(name, ".")
	return group
}
