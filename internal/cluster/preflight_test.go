package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// planted is a credential that must not be seen in anything that Preflight says.
const planted = "planted-9f2c61d0a7b34e85"

// authority signs the certificates of a test's servers.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// server is a certificate for 127.0.0.1, or for a name, that ends some time from now.
func (a *authority) server(t testing.TB, ends time.Duration, names ...string) tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "server"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().Add(ends),
		DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if len(names) == 0 {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

const year = 365 * 24 * time.Hour

// start starts a server and gives a destination that trusts it.
func start(t testing.TB, handler http.Handler, change ...func(*httptest.Server)) (*kubeconfig.Destination, *httptest.Server) {
	t.Helper()
	ca := newAuthority(t)
	s := httptest.NewUnstartedServer(handler)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.server(t, year)}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	for _, f := range change {
		f(s)
	}
	s.StartTLS()
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return &kubeconfig.Destination{Server: s.URL, CAData: ca.pem(), Token: planted}, s
}

// apiServer answers as a healthy one does, to a credential with the role of
// cluster-admin, but for some paths.
func apiServer(instead map[string]http.HandlerFunc) http.Handler {
	mux := http.NewServeMux()
	answers := map[string]string{
		"/version": `{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}`,
		"/apis":    `{"kind": "APIGroupList", "groups": [{"name": "apps"}, {"name": "rbac.authorization.k8s.io"}]}`,
		"/apis/stork.libopenstorage.org/v1alpha1": `{"kind": "APIResourceList", "resources": [{"name": "clusterpairs"}, {"name": "migrations"}, {"name": "migrationschedules"}]}`,
		"/api/v1/namespaces/kube-system":          `{"metadata": {"uid": "d-uid"}}`,
		whoPath:                                   `{"status": {"userInfo": {"username": "stork", "groups": ["system:authenticated"]}}}`,
		rulesPath:                                 `{"kind": "SelfSubjectRulesReview", "status": {"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}}`,
	}
	for path, body := range answers {
		if instead[path] == nil && instead["/"] == nil {
			mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, body)
			})
		}
	}
	for path, f := range instead {
		mux.HandleFunc(path, f)
	}
	return mux
}

const (
	whoPath   = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	rulesPath = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
	mayPath   = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
)

func status(code int, reason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
			"message": strings.ReplaceAll(message, "AUTHORIZATION", r.Header.Get("Authorization"))})
	}
}

// look is Preflight, and fails if it says a planted credential or takes much
// longer than it may.
func look(t testing.TB, timeout time.Duration, d *kubeconfig.Destination, change ...func(*PreflightOptions)) map[string]report.Check {
	t.Helper()
	o := PreflightOptions{Now: time.Now()}
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	begin := time.Now()
	all := Preflight(ctx, d, o)
	if took := time.Since(begin); took > timeout+20*time.Second {
		t.Errorf("it took %v, with a timeout of %v", took, timeout)
	}
	named := make(map[string]report.Check)
	var names []string
	for _, c := range all {
		named[c.Name] = c
		names = append(names, c.Name)
		said := fmt.Sprintf("%+v", c)
		if strings.Contains(said, planted) {
			t.Errorf("a credential is shown: %s", said)
		}
		if c.Status == report.Failed && c.Rule == "" {
			t.Errorf("an error without a rule: %s", said)
		}
		if strings.ContainsFunc(c.Text, func(r rune) bool { return r < ' ' }) {
			t.Errorf("the text does not print on one line: %q", c.Text)
		}
	}
	want := CheckNames()
	if o.Source == nil || o.Shallow {
		want = slices.DeleteFunc(want, func(name string) bool { return name == "guard" })
	}
	if !slices.Equal(names, want) {
		t.Errorf("checks %q", names)
	}
	return named
}

// expect compares the check that went wrong, and that what needs it was skipped.
func expect(t testing.TB, all map[string]report.Check, name, rule, text string) {
	t.Helper()
	c := all[name]
	if c.Status != report.Failed || c.Rule != rule || !strings.Contains(c.Text, text) {
		t.Errorf("%s: %s %q [%s], want error %q [%s]", name, c.Status, c.Text, c.Rule, text, rule)
	}
	for _, d := range checks {
		if after := all[d.name]; d.needs == name && after.Status != report.Skipped {
			t.Errorf("%s is %s after %s failed", d.name, after.Status, name)
		}
	}
}

func TestPreflightHealthy(t *testing.T) {
	d, _ := start(t, apiServer(nil))
	for _, c := range look(t, 5*time.Second, d, func(o *PreflightOptions) { o.Source = &Identity{UID: "s-uid", Version: "v1.35.0", Guard: Guarded} }) {
		want := report.Passed
		if c.Name == "privileges" {
			want = report.Warned
		}
		if c.Status != want {
			t.Errorf("%s: %s %s", c.Name, c.Status, c.Text)
		}
	}
}

// TestPreflightVersions: clusters far apart may store what the other does not know.
func TestPreflightVersions(t *testing.T) {
	for _, tt := range []struct {
		source, destination string
		far                 bool
	}{
		{"v1.35.0", "v1.35.4", false},
		{"v1.35.0", "v1.32.1", false},
		{"v1.32.1", "v1.35.0", false},
		{"v1.35.0", "v1.31.9", true},
		{"v1.31.9-eks-1a2b3c4", "v1.35.0+k3s1", true},
		{"v2.1.0", "v1.35.0", true},
		{"unknown", "v1.35.0", false},
	} {
		d, _ := start(t, apiServer(map[string]http.HandlerFunc{"/version": func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"gitVersion": %q}`, tt.destination)
		}}))
		c := look(t, 5*time.Second, d, func(o *PreflightOptions) { o.Source = &Identity{UID: "s-uid", Version: tt.source} })["version"]
		if far := c.Status == report.Warned && c.Rule == "server-version"; far != tt.far || !far && c.Status != report.Passed {
			t.Errorf("%s to %s: %s %s [%s]", tt.source, tt.destination, c.Status, c.Text, c.Rule)
		}
	}
}

// What an API server, or what stands in its place, may answer.
func TestPreflightAnswers(t *testing.T) {
	write := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }
	}
	hang := func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // or the end of the connection goes unnoticed
		<-r.Context().Done()
	}
	var written atomic.Int64
	for name, c := range map[string]struct {
		path              string
		answer            http.HandlerFunc
		check, rule, text string
	}{
		"401 to all":      {"/", status(401, "Unauthorized", "no AUTHORIZATION"), "authentication", "unauthorized", "does not accept the credential"},
		"401":             {whoPath, status(401, "Unauthorized", "no AUTHORIZATION"), "authentication", "unauthorized", "does not accept the credential"},
		"403 to all":      {"/", status(403, "Forbidden", "not with AUTHORIZATION"), "permissions", "missing-permission", "not with Bearer ***"},
		"500 quoting":     {whoPath, status(500, "InternalError", "cannot look up AUTHORIZATION"), "authentication", "unreachable", "cannot look up Bearer ***"},
		"hangs after TLS": {"/version", hang, "version", "unreachable", "does not answer in time"},
		"hangs later":     {rulesPath, hang, "permissions", "unreachable", "does not answer in time"},
		"hangs in the body": {"/version", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"git`)
			http.NewResponseController(w).Flush()
			hang(w, r)
		}, "version", "unreachable", "does not answer in time"},
		"HTML": {"/", write("<html>Log in here"), "version", "unreachable", "answers GET /version as no API server does"},
		"HTML as an error": {"/version", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "<html>\x1b[31m"+r.Header.Get("Authorization"), http.StatusTeapot)
		}, "version", "unreachable", ""},
		"half JSON":       {"/version", write(`{"gitVersion": "v1.3`), "version", "unreachable", "answers GET /version as no API server does"},
		"JSON of another": {whoPath, write(`{"status": "ok"}`), "authentication", "unreachable", "as no API server does"},
		"no review":       {whoPath, write(`{"kind": "Status"}`), "authentication", "unreachable", "as no API server does"},
		"no rules":        {rulesPath, write(`[]`), "permissions", "unreachable", "as no API server does"},
		"empty":           {"/version", write(``), "version", "unreachable", "as no API server does"},
		"cut short": {"/version", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "{")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "version", "unreachable", ""},
		"resets streams": {whoPath, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "authentication", "unreachable", ""},
		"huge headers": {"/version", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 12 << 10 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 1<<10))
			}
		}, "version", "unreachable", ""},
		"a gigabyte": {whoPath, func(w http.ResponseWriter, _ *http.Request) {
			part := make([]byte, 1<<20)
			for range 1 << 10 {
				n, err := w.Write(part)
				written.Add(int64(n))
				if err != nil {
					return
				}
			}
		}, "authentication", "unreachable", "larger than any of an API server"},
		"nobody":            {whoPath, write(`{"status": {"userInfo": {"username": "system:anonymous"}}}`), "authentication", "unauthorized", "for nobody"},
		"escapes in a name": {whoPath, write(`{"status": {"userInfo": {"username": "\u001b[2J` + planted + `", "groups": ["system:masters"]}}}`), "", "", ""},
		"no Stork":          {"/apis/stork.libopenstorage.org/v1alpha1", http.NotFound, "stork", "stork-missing", "clusterpairs, migrations, migrationschedules"},
		"half a Stork":      {"/apis/stork.libopenstorage.org/v1alpha1", write(`{"resources": [{"name": "migrations"}]}`), "stork", "stork-missing", "clusterpairs, migrationschedules"},
		"the source":        {"/api/v1/namespaces/kube-system", write(`{"metadata": {"uid": "s-uid"}}`), "self-pair", "self-pair", "is the source cluster itself"},
		"no permission":     {rulesPath, write(`{"kind": "SelfSubjectRulesReview", "status": {"resourceRules": []}}`), "permissions", "missing-permission", "permissions of a migration are missing"},
		"only some names":   {rulesPath, write(`{"kind": "SelfSubjectRulesReview", "status": {"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["one"]}]}}`), "permissions", "missing-permission", "are missing"},
	} {
		for _, protocol := range []string{"HTTP/2", "HTTP/1.1"} {
			t.Run(name+" "+protocol, func(t *testing.T) {
				t.Parallel()
				d, s := start(t, apiServer(map[string]http.HandlerFunc{c.path: c.answer}), func(s *httptest.Server) { s.EnableHTTP2 = protocol == "HTTP/2" })
				timeout := 10 * time.Second
				if strings.HasPrefix(name, "hangs") || name == "resets streams" {
					timeout = 2 * time.Second
				}
				all := look(t, timeout, d, func(o *PreflightOptions) { o.Source = &Identity{UID: "s-uid", Version: "v1.37.0"} })
				if c.check == "" {
					return
				}
				expect(t, all, c.check, c.rule, c.text)
				s.CloseClientConnections()
				if name == "a gigabyte" && written.Load() > 256<<20 {
					t.Errorf("the server could write %d MiB", written.Load()>>20)
				}
			})
		}
	}
}

// A credential follows nobody to another server.
func TestPreflightRedirect(t *testing.T) {
	var strangers atomic.Int32
	stranger, _ := start(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	for _, path := range []string{"/version", whoPath} {
		for _, code := range []int{301, 302, 303, 307, 308} {
			d, _ := start(t, apiServer(map[string]http.HandlerFunc{path: func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, stranger.Server+"/login", code)
			}}))
			check := "version"
			if path == whoPath {
				check = "authentication"
			}
			d.CAData = append(d.CAData, stranger.CAData...)
			expect(t, look(t, 5*time.Second, d), check, "unreachable", "redirects to another place")
		}
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("%d requests followed", n)
	}
}

func TestPreflightTLS(t *testing.T) {
	asked := func(w http.ResponseWriter, r *http.Request) { t.Errorf("%s %s came through", r.Method, r.URL) }
	d, _ := start(t, http.HandlerFunc(asked))
	d.CAData = newAuthority(t).pem()
	expect(t, look(t, 5*time.Second, d), "tls", "tls-mismatch", "is not signed by the CA of the kubeconfig")

	ca := newAuthority(t)
	d, _ = start(t, http.HandlerFunc(asked), func(s *httptest.Server) {
		s.TLS.Certificates = []tls.Certificate{ca.server(t, year, "other.test", "more.test")}
	})
	d.CAData = ca.pem()
	expect(t, look(t, 5*time.Second, d), "tls", "tls-mismatch", "is for other names: other.test, more.test")

	d, _ = start(t, http.HandlerFunc(asked), func(s *httptest.Server) {
		s.TLS.Certificates = []tls.Certificate{ca.server(t, -time.Hour)}
	})
	d.CAData = ca.pem()
	expect(t, look(t, 5*time.Second, d), "tls", "tls-mismatch", "has expired or is not yet valid")

	d, _ = start(t, apiServer(nil), func(s *httptest.Server) {
		s.TLS.Certificates = []tls.Certificate{ca.server(t, 50*time.Hour, "other.test")}
	})
	d.CAData, d.TLSServerName = ca.pem(), "other.test"
	if c := look(t, 5*time.Second, d)["tls"]; c.Status != report.Warned || c.Rule != "server-certificate-expiring" || !strings.Contains(c.Text, "for other.test") || !strings.Contains(c.Text, "it ends soon: 2 days") {
		t.Errorf("%+v", c)
	}

	d, _ = start(t, http.HandlerFunc(asked), func(s *httptest.Server) {
		s.TLS.ClientAuth, s.TLS.MaxVersion = tls.RequireAnyClientCert, tls.VersionTLS12
	})
	expect(t, look(t, 5*time.Second, d), "tls", "unauthorized", "refuses the connection")

	// Without verification no credential goes out.
	d, _ = start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the credential was sent")
		}
	}))
	d.CAData, d.InsecureSkipTLSVerify = nil, true
	all := look(t, 5*time.Second, d)
	expect(t, all, "tls", "tls-skipped", "it was not sent")
	if all["tcp"].Status != report.Passed {
		t.Errorf("%+v", all["tcp"])
	}
}

func TestPreflightConnections(t *testing.T) {
	listen := func(serve func(net.Conn)) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go serve(conn)
			}
		}()
		return l.Addr().String()
	}
	destination := func(address string) *kubeconfig.Destination {
		return &kubeconfig.Destination{Server: "https://" + address, CAData: newAuthority(t).pem(), Token: planted}
	}
	read := func(conn net.Conn) { io.Copy(io.Discard, conn) }

	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	begin := time.Now()
	expect(t, look(t, 10*time.Second, destination(free)), "tcp", "unreachable", "refuses the connection")
	if took := time.Since(begin); took > 8*time.Second {
		t.Errorf("a closed port took %v", took)
	}
	expect(t, look(t, 500*time.Millisecond, destination(listen(read))), "tls", "unreachable", "does not answer in time")
	expect(t, look(t, 5*time.Second, destination(listen(func(c net.Conn) { io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); c.Close() }))), "tls", "tls-mismatch", "does not speak TLS")
	expect(t, look(t, 5*time.Second, destination(listen(func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n"); c.Close() }))), "tls", "tls-mismatch", "does not speak TLS")
	expect(t, look(t, 8*time.Second, destination(listen(func(c net.Conn) { c.Close() }))), "tls", "unreachable", "")
}

func TestPreflightProxy(t *testing.T) {
	d, _ := start(t, apiServer(nil))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		far, err := net.Dial("tcp", r.Host)
		if err != nil {
			http.Error(w, "no way", http.StatusBadGateway)
			return
		}
		near, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { defer far.Close(); io.Copy(far, near) }()
		go func() { defer near.Close(); io.Copy(near, far) }()
	}))
	defer proxy.Close()
	d.ProxyURL = strings.Replace(proxy.URL, "://", "://user:"+planted+"@", 1)
	all := look(t, 5*time.Second, d)
	if c := all["tcp"]; c.Status != report.Passed || !strings.Contains(c.Text, "proxy") {
		t.Errorf("%+v", c)
	}
	if c := all["permissions"]; c.Status != report.Passed {
		t.Errorf("%+v", c)
	}
	there := d.Server
	d.Server = "https://127.0.0.1:1"
	expect(t, look(t, 5*time.Second, d), "tcp", "unreachable", "does not connect to the server: ")
	d.Server = there

	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusProxyAuthRequired)
	}))
	defer refuses.Close()
	d.ProxyURL = refuses.URL
	expect(t, look(t, 5*time.Second, d), "tcp", "unreachable", "Proxy Authentication Required")

	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer hangs.Close()
	defer hangs.CloseClientConnections()
	d.ProxyURL = hangs.URL
	expect(t, look(t, 500*time.Millisecond, d), "tcp", "unreachable", "does not answer in time")

	d.ProxyURL = "http://127.0.0.1:1"
	expect(t, look(t, 5*time.Second, d), "tcp", "unreachable", "")
}

// A server that is away for a moment after the first answer is waited for.
func TestPreflightRestart(t *testing.T) {
	var away atomic.Bool
	handler := apiServer(map[string]http.HandlerFunc{whoPath: func(w http.ResponseWriter, r *http.Request) {
		if away.CompareAndSwap(false, true) {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, `{"status": {"userInfo": {"username": "stork"}}}`)
	}})
	d, _ := start(t, handler, func(s *httptest.Server) { s.EnableHTTP2 = false })
	for _, c := range look(t, 10*time.Second, d) {
		if c.Status == report.Failed {
			t.Errorf("%+v", c)
		}
	}
}

// Where an authorizer does not tell its rules, each access is asked for.
func TestPreflightIncompleteRules(t *testing.T) {
	var asked atomic.Int32
	d, _ := start(t, apiServer(map[string]http.HandlerFunc{
		rulesPath: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"kind": "SelfSubjectRulesReview", "status": {"incomplete": true, "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["*"]}]}}`)
		},
		mayPath: func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			body, _ := io.ReadAll(r.Body)
			allowed := !strings.Contains(string(body), "daemonsets")
			if strings.Contains(string(body), `"namespaces"`) && !strings.Contains(string(body), `"namespace":""`) {
				t.Errorf("a cluster-scoped resource is asked for in a namespace: %s", body)
			}
			fmt.Fprintf(w, `{"status": {"allowed": %t}}`, allowed)
		},
	}))
	c := look(t, 5*time.Second, d, func(o *PreflightOptions) { o.Namespace = "apps" })["permissions"]
	if c.Status != report.Failed || !slices.Equal(c.Details, []string{"get, list, create, update, delete: daemonsets.apps"}) || !strings.Contains(c.Text, "in namespace apps") {
		t.Errorf("%+v", c)
	}
	if asked.Load() == 0 {
		t.Error("nothing was asked for")
	}
}

// The rules of one namespace are enough for the Migrations in it, but for what
// stands in no namespace.
func TestPreflightNamespace(t *testing.T) {
	all := `{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}`
	d, _ := start(t, apiServer(map[string]http.HandlerFunc{rulesPath: func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		rules := `{"verbs": ["*"], "apiGroups": ["", "storage.k8s.io"], "resources": ["namespaces", "persistentvolumes", "storageclasses"]}`
		if strings.Contains(string(body), `"apps"`) {
			rules = all // by a RoleBinding
		}
		fmt.Fprintf(w, `{"kind": "SelfSubjectRulesReview", "status": {"resourceRules": [%s]}}`, rules)
	}}))
	c := look(t, 5*time.Second, d, func(o *PreflightOptions) { o.Namespace = "apps" })
	if p := c["permissions"]; p.Status != report.Warned || len(p.Details) != 2 || !strings.Contains(p.Details[0], "clusterroles") {
		t.Errorf("%+v", p)
	}
	if p := c["privileges"]; p.Status != report.Passed {
		t.Errorf("%+v", p)
	}
	if p := look(t, 5*time.Second, d)["permissions"]; p.Status != report.Failed {
		t.Errorf("for all namespaces: %+v", p)
	}
}

func TestPreflightExec(t *testing.T) {
	dir := t.TempDir()
	command := func(name, script string) *kubeconfig.Exec {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
		return &kubeconfig.Exec{APIVersion: "client.authentication.k8s.io/v1", Command: path}
	}
	var taken sync.Map
	d, _ := start(t, apiServer(map[string]http.HandlerFunc{whoPath: func(w http.ResponseWriter, r *http.Request) {
		taken.Store(r.Header.Get("Authorization"), true)
		io.WriteString(w, `{"status": {"userInfo": {"username": "stork"}}}`)
	}}))
	d.Token = ""
	allow := func(o *PreflightOptions) { o.AllowExec = true }

	ran := filepath.Join(dir, "ran")
	d.Exec = command("gives", "touch "+ran+`; echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "`+planted+`"}}'`)
	all := look(t, 5*time.Second, d)
	if _, err := os.Stat(ran); err == nil {
		t.Error("the command ran")
	}
	if c := all["authentication"]; c.Status != report.Skipped || !strings.Contains(c.Hint, "--allow-exec") || all["tls"].Status != report.Passed || all["permissions"].Status != report.Skipped {
		t.Errorf("%+v", all)
	}
	if c := look(t, 5*time.Second, d, allow)["authentication"]; c.Status != report.Passed {
		t.Errorf("%+v", c)
	}
	if _, ok := taken.Load("Bearer " + planted); !ok {
		t.Error("the credential of the command was not sent")
	}

	d.Exec = command("fails", "echo "+planted+"; exit 1")
	expect(t, look(t, 5*time.Second, d, allow), "version", "unauthorized", "gives no credential")
	d.Exec = command("rubbish", "echo "+planted)
	expect(t, look(t, 5*time.Second, d, allow), "version", "unauthorized", "gives no credential")
	d.Exec = &kubeconfig.Exec{APIVersion: "client.authentication.k8s.io/v1", Command: filepath.Join(dir, "absent")}
	expect(t, look(t, 5*time.Second, d, allow), "version", "unauthorized", "gives no credential")
	d.Exec = command("hangs", "exec sleep 5")
	all = look(t, 500*time.Millisecond, d, allow)
	if c := all["version"]; c.Status == report.Passed {
		t.Errorf("%+v", c)
	}
}

func TestPreflightExpiry(t *testing.T) {
	for _, c := range []struct {
		ahead  time.Duration
		status report.Status
		text   string
	}{{0, report.Passed, "36"}, {-48 * time.Hour, report.Passed, "differs from this machine's by 48h"}, {400 * 24 * time.Hour, report.Failed, "has ended"}} {
		handler := apiServer(map[string]http.HandlerFunc{"/version": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
			io.WriteString(w, `{"gitVersion": "v1.37.2"}`)
		}})
		d, _ := start(t, handler)
		expiring := withToken(t, d, time.Now().Add(year))
		if got := look(t, 5*time.Second, expiring)["expiry"]; got.Status != c.status || !strings.Contains(got.Text, c.text) {
			t.Errorf("%v: %+v", c.ahead, got)
		}
	}
}

// withToken is d with a token that says when it ends.
func withToken(t *testing.T, d *kubeconfig.Destination, end time.Time) *kubeconfig.Destination {
	t.Helper()
	token := base64.RawURLEncoding.EncodeToString([]byte(`{"alg": "RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp": %d}`, end.Unix())) + "." + planted
	var doc yaml.Node
	text := fmt.Sprintf(`{clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}], contexts: [{name: c, context: {cluster: c, user: u}}], current-context: c, users: [{name: u, user: {token: %s}}]}`,
		d.Server, base64.StdEncoding.EncodeToString(d.CAData), token)
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	got, findings := kubeconfig.FromDocument(&doc, "test", kubeconfig.Options{Now: time.Now(), Allow: map[string]bool{"server-loopback": true}})
	if got == nil {
		t.Fatal(findings)
	}
	return got
}

// Destinations wait for none of the others: here each is answered only when all
// have asked.
func TestPreflightSideBySide(t *testing.T) {
	const all = 200
	var asked atomic.Int32
	together := make(chan struct{})
	d, _ := start(t, apiServer(map[string]http.HandlerFunc{"/version": func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) == all {
			close(together)
		}
		<-together
		io.WriteString(w, `{"gitVersion": "v1.37.2"}`)
	}}))
	var group sync.WaitGroup
	for range all {
		group.Go(func() {
			if c := look(t, time.Minute, d)["permissions"]; c.Status != report.Passed {
				t.Errorf("%+v", c)
			}
		})
	}
	group.Wait()
}

func TestPreflightInterrupt(t *testing.T) {
	d, _ := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	begin := time.Now()
	Preflight(ctx, d, PreflightOptions{Now: time.Now()})
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("it went on for %v", took)
	}
}

// A panic in a check is the failure of that check, says nothing of values, and hides no
// other.
func TestPreflightPanics(t *testing.T) {
	p := &preflight{done: make(map[string]report.Check)}
	p.ok("dns", "found")
	p.safely("", func() { panic("s3cret") })
	p.safely("stork", func() { panic("s3cret") })
	p.safely("permissions", func() { p.ok("permissions", "all") })
	p.fail("version", "", parallel(func() error { panic("s3cret") }))
	failed := make(map[string]bool)
	for _, c := range p.all() {
		if failed[c.Name] = c.Status == report.Failed; failed[c.Name] && (!strings.HasPrefix(c.Text, "clusterpair itself fails in ") || c.Hint == "") {
			t.Errorf("%+v", c)
		}
	}
	if !failed["tcp"] || !failed["stork"] || !failed["version"] || failed["dns"] || failed["permissions"] {
		t.Errorf("failed: %v", failed)
	}
}
