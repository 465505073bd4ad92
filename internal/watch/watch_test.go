package watch

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/rest"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
)

// planted is the token of all pairs; nothing that is told may hold it.
const planted = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzeXN0ZW06c2VydmljZWFjY291bnQ6ZHI6c3RvcmsiLCJleHAiOjQxMDI0NDQ4MDB9.cGxhbnRlZA"

// destination is an API server.
type destination struct {
	*httptest.Server
	mu      sync.Mutex
	revoked bool
	rules   string // that the credential has
	asked   int
}

func (d *destination) revoke(is bool) { d.mu.Lock(); defer d.mu.Unlock(); d.revoked = is }

const everything = `[{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]`

// secure starts a server. What clients do that do not trust it is nobody's business.
func secure(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func newDestination(t testing.TB) *destination {
	t.Helper()
	d := &destination{rules: everything}
	d.Server = secure(t, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		revoked, rules := d.revoked, d.rules
		d.asked++
		d.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		answers := map[string]string{
			"/version": `{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}`,
			"/apis":    `{"kind": "APIGroupList", "groups": [{"name": "apps"}]}`,
			"/apis/stork.libopenstorage.org/v1alpha1":                `{"kind": "APIResourceList", "resources": [{"name": "clusterpairs"}, {"name": "migrations"}, {"name": "migrationschedules"}]}`,
			"/api/v1/namespaces/kube-system":                         fmt.Sprintf(`{"metadata": {"uid": %q}}`, d.URL),
			"/apis/authentication.k8s.io/v1/selfsubjectreviews":      `{"status": {"userInfo": {"username": "stork", "groups": ["system:authenticated"]}}}`,
			"/apis/authorization.k8s.io/v1/selfsubjectrulesreviews":  `{"kind": "SelfSubjectRulesReview", "status": {"resourceRules": ` + rules + `}}`,
			"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": `{"status": {"allowed": true}}`,
		}
		body, ok := answers[r.URL.Path]
		switch {
		case revoked || r.Header.Get("Authorization") != "Bearer "+planted:
			w.WriteHeader(http.StatusUnauthorized)
			body = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401, "reason": "Unauthorized", "message": "Unauthorized"}`
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			body = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound", "message": "not found"}`
		}
		io.WriteString(w, body)
	})
	return d
}

// authorityOf is a certificate as kubeconfigs have it.
func authorityOf(ca []byte) string {
	return base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca}))
}

// pairTo is a ClusterPair that Stork calls Ready.
func pairTo(url string, ca []byte, namespace, name, status string) string {
	authority := authorityOf(ca)
	return fmt.Sprintf(`{"apiVersion":"stork.libopenstorage.org/v1alpha1","kind":"ClusterPair","metadata":{"name":%q,"namespace":%q,"uid":"u-%[2]s","creationTimestamp":"2026-01-01T00:00:00Z","finalizers":["stork.libopenstorage.org/finalizer-cleanup"]},`+
		`"spec":{"config":{"clusters":{"west":{"certificate-authority-data":%[3]q,"server":%[4]q}},"contexts":{"west":{"cluster":"west","user":"stork"}},"current-context":"west","users":{"stork":{"token":%[5]q}}},"options":{}},"status":%[6]s}`,
		name, namespace, authority, url, planted, status)
}

const storkReady = `{"schedulerStatus":"Ready","storageStatus":"NotProvided"}`

// source is the cluster that holds pairs, and keeps Events.
type source struct {
	*httptest.Server
	mu     sync.Mutex
	pairs  []string
	events map[string]map[string]any // by name
	writes []string                  // that it was asked for
	broken bool
	deaf   atomic.Bool // for Events that are written
}

func newSource(t testing.TB, pairs ...string) *source {
	t.Helper()
	s := &source{pairs: pairs, events: make(map[string]map[string]any)}
	s.Server = secure(t, func(w http.ResponseWriter, r *http.Request) {
		if s.deaf.Load() && r.Method != http.MethodGet {
			io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		if r.Method != http.MethodGet {
			s.writes = append(s.writes, r.Method+" "+r.URL.Path)
		}
		switch path := r.URL.Path; {
		case s.broken:
			io.WriteString(w, "<html>garbage")
		case strings.HasSuffix(path, "/clusterpairs"):
			fmt.Fprintf(w, `{"kind":"ClusterPairList","apiVersion":"stork.libopenstorage.org/v1alpha1","metadata":{},"items":[%s]}`, strings.Join(s.pairs, ","))
		case strings.HasPrefix(path, "/apis/events.k8s.io/v1/"):
			s.event(w, r)
		case path == "/version":
			io.WriteString(w, `{"major": "1", "minor": "37", "gitVersion": "v1.37.2"}`)
		case path == "/api/v1/namespaces/kube-system":
			io.WriteString(w, `{"metadata": {"uid": "source"}}`)
		case path == "/apis/stork.libopenstorage.org/v1alpha1":
			io.WriteString(w, `{"kind": "APIResourceList", "resources": [{"name": "clusterpairs"}, {"name": "migrations"}, {"name": "migrationschedules"}]}`)
		default:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}`)
		}
	})
	return s
}

// event is the part of an API server that keeps Events.
func (s *source) event(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	var body map[string]any
	_ = json.NewDecoder(r.Body).Decode(&body)
	switch {
	case r.Method == http.MethodPost:
		name = body["metadata"].(map[string]any)["name"].(string)
		if s.events[name] != nil {
			w.WriteHeader(http.StatusConflict)
			io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 409, "reason": "AlreadyExists", "message": "already exists"}`)
			return
		}
		s.events[name] = body
	case r.Method == http.MethodPatch:
		s.events[name]["series"] = body["series"]
	case name == "events":
		items := []any{}
		for _, e := range s.events {
			items = append(items, e)
		}
		body = map[string]any{"kind": "EventList", "apiVersion": "events.k8s.io/v1", "metadata": map[string]any{}, "items": items}
		json.NewEncoder(w).Encode(body)
		return
	}
	json.NewEncoder(w).Encode(s.events[name])
}

// said are the Events: the pair, type, reason and how often.
func (s *source) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, e := range s.events {
		count := any(1)
		if series, ok := e["series"].(map[string]any); ok {
			count = series["count"]
		}
		all = append(all, fmt.Sprintf("%s %s %s x%v", e["regarding"].(map[string]any)["name"], e["type"], e["reason"], count))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// watcher is a new process that watches a source; its log is in the buffer.
func watcher(t testing.TB, s *source, o Options) (*Watcher, *bytes.Buffer) {
	t.Helper()
	client, err := cluster.New(&rest.Config{Host: s.URL, BearerToken: "source-credential", TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}})
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if o.Timeout == 0 {
		o.Timeout = 2 * time.Second
	}
	o.AtOnce, o.Log, o.Events, o.Within = 16, slog.New(slog.NewJSONHandler(&said, nil)), true, 24*time.Hour
	return New(client, o), &said
}

// metricsOf are the metrics as /metrics has them. Of each rule in them an alert tells, be it the
// one for a pair that stalls Stork or does not work.
func metricsOf(t testing.TB, w *Watcher) string {
	t.Helper()
	r := httptest.NewRecorder()
	w.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	text := r.Body.String()
	for _, m := range regexp.MustCompile(`clusterpair_rule_broken({namespace="[^"]*",name="[^"]*")[^}]*,rule="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		alerted := slices.ContainsFunc(told(), func(r report.Rule) bool { return r.ID == m[2] })
		if !alerted && !regexp.MustCompile(`(stalled`+regexp.QuoteMeta(m[1])+`[^}]*} 1|up`+regexp.QuoteMeta(m[1])+`[^}]*} 0)\n`).MatchString(text) {
			t.Errorf("no alert tells of rule %s of %s", m[2], m[1])
		}
	}
	return text
}

// TestRound: each pair is told of as its destination is, whatever the destinations of the
// others do.
func TestRound(t *testing.T) {
	good, partly, foreign := newDestination(t), newDestination(t), newDestination(t)
	partly.rules = `[{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]`
	foreign.revoke(true)
	garbage := secure(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "\x1b[31mgarbage\x00{"+planted) })
	hang := secure(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	closed := newDestination(t)
	address := closed.URL
	closed.Close()
	deaf, err := net.Listen("tcp", "127.0.0.1:0") // connections wait in its backlog
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	ca := good.Certificate().Raw
	s := newSource(t,
		pairTo(good.URL, ca, "dr", "good", storkReady), pairTo(good.URL, ca, "apps", "good", storkReady),
		pairTo(partly.URL, ca, "dr", "partly", storkReady), pairTo(foreign.URL, ca, "dr", "refused", storkReady),
		pairTo(garbage.URL, ca, "dr", "garbage", storkReady), pairTo(hang.URL, ca, "dr", "hangs", storkReady),
		pairTo(address, ca, "dr", "closed", storkReady), pairTo("https://"+deaf.Addr().String(), ca, "dr", "deaf", storkReady),
		strings.Replace(pairTo(good.URL, ca, "dr", "stalls", `{"schedulerStatus":"Strange\nwords"}`), `"options":{}`, `"options":{"port":9001}`, 1))
	w, said := watcher(t, s, Options{Timeout: time.Second})
	began := time.Now()
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %s: a destination that hangs holds up the others", took)
	}
	text := metricsOf(t, w)
	for _, want := range []string{
		`clusterpair_up{namespace="apps",name="good"} 1`, `clusterpair_up{namespace="dr",name="good"} 1`, `clusterpair_up{namespace="dr",name="partly"} 1`,
		`clusterpair_up{namespace="dr",name="refused"} 0`, `clusterpair_up{namespace="dr",name="garbage"} 0`, `clusterpair_up{namespace="dr",name="hangs"} 0`,
		`clusterpair_up{namespace="dr",name="closed"} 0`, `clusterpair_up{namespace="dr",name="deaf"} 0`,
		`clusterpair_credential_expires_seconds{namespace="dr",name="refused"} `,
		`clusterpair_permissions_missing{namespace="dr",name="good"} 0`, `clusterpair_permissions_missing{namespace="dr",name="partly"} `,
		`clusterpair_stork_status{namespace="dr",name="refused",scheduler="Ready",storage="NotProvided"} 1`,
		`clusterpair_stork_status{namespace="dr",name="stalls",scheduler="other",storage="none"} 1`,
		`clusterpair_stork_stalled{namespace="dr",name="stalls"} 1`, `clusterpair_stork_stalled{namespace="dr",name="good"} 0`,
		`clusterpair_rule_broken{namespace="dr",name="refused",rule="unauthorized",severity="error"} 1`,
		`clusterpair_rule_broken{namespace="dr",name="hangs",rule="unreachable",severity="error"} 1`,
		`clusterpair_rule_broken{namespace="dr",name="stalls",rule="pair-stuck",severity="error"} 1`,
		`clusterpair_check_duration_seconds_count 8`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the metrics have no %s", want)
		}
	}
	if strings.Contains(text, "127.0.0.1") || strings.Contains(text, `permissions_missing{namespace="dr",name="refused"}`) || strings.Contains(text, `permissions_missing{namespace="dr",name="partly"} 0`) {
		t.Errorf("metrics:\n%s", text)
	}
	events, _ := json.Marshal(s.events)
	for _, all := range []string{text, said.String(), string(events)} {
		for _, secret := range []string{planted, "cGxhbnRlZA", "source-credential"} {
			if strings.Contains(all, secret) {
				t.Errorf("a credential is told: %s", all)
			}
		}
	}
	for _, write := range s.writes {
		if !strings.Contains(write, "/apis/events.k8s.io/v1/") {
			t.Errorf("it writes more than Events: %s", write)
		}
	}
	w.options.Servers = true
	if text := metricsOf(t, w); !strings.Contains(text, `clusterpair_up{namespace="dr",name="good",server="`+good.URL+`"} 1`) {
		t.Errorf("no server was told when it was asked for:\n%s", text)
	}
}

// TestShared: pairs with one credential are asked for once, unless it is good for some
// namespaces only.
func TestShared(t *testing.T) {
	d := newDestination(t)
	var pairs []string
	for i := range 20 {
		pairs = append(pairs, pairTo(d.URL, d.Certificate().Raw, fmt.Sprintf("n%d", i), "west", storkReady))
	}
	w, _ := watcher(t, newSource(t, pairs...), Options{})
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	once := d.asked
	d.rules = "[]"
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if once > 12 || d.asked-once < 20*once/2 {
		t.Errorf("it was asked %d times for everything, %d times for each namespace", once, d.asked-once)
	}
}

// TestRevoked: the end of a credential is told once, while Stork goes on to say Ready, also
// by a process that was started anew; and so is that it works again.
func TestRevoked(t *testing.T) {
	d := newDestination(t)
	s := newSource(t, pairTo(d.URL, d.Certificate().Raw, "dr", "west", storkReady))
	w, said := watcher(t, s, Options{})
	round := func(up, events, logged string) {
		t.Helper()
		said.Reset()
		if err := w.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if text := metricsOf(t, w); !strings.Contains(text, `clusterpair_up{namespace="dr",name="west"} `+up+"\n") {
			t.Errorf("up is not %s:\n%s", up, text)
		}
		if got := s.said(); got != events {
			t.Errorf("Events: %s, want %s", got, events)
		}
		if got := said.String(); strings.Contains(got, `"msg":"pair"`) != (logged != "") || !strings.Contains(got, logged) {
			t.Errorf("log: %s, want %q", got, logged)
		}
	}
	round("1", "", "")
	d.revoke(true)
	round("0", "west Warning Unauthorized x1", `"rule":"unauthorized","severity":"error","message":"the destination does not accept the credential (401)","stork":"Ready"`)
	round("0", "west Warning Unauthorized x1", "")
	w, said = watcher(t, s, Options{})             // restarted
	round("0", "west Warning Unauthorized x1", "") // the one before has told
	w, said = watcher(t, s, Options{})
	d.revoke(false)
	round("1", "west Normal Works x1; west Warning Unauthorized x1", "works again")
	w, said = watcher(t, s, Options{})
	round("1", "west Normal Works x1; west Warning Unauthorized x1", "")
	d.revoke(true)
	round("0", "west Normal Works x1; west Warning Unauthorized x2", `"rule":"unauthorized"`)

	// A pair that is gone is told of no more.
	s.pairs = nil
	round1 := w.Round(t.Context())
	if text := metricsOf(t, w); round1 != nil || strings.Contains(text, "west") {
		t.Errorf("%v\n%s", round1, text)
	}
	// A source that answers garbage leaves what is known as it is.
	s.broken = true
	if err := w.Round(t.Context()); err == nil {
		t.Error("garbage of the source cluster is no error")
	}
}

// TestUnheard: an Event that the source cluster does not take in time is written in the next round,
// be it that a pair breaks or that it works again.
func TestUnheard(t *testing.T) {
	d := newDestination(t)
	s := newSource(t, pairTo(d.URL, d.Certificate().Raw, "dr", "west", storkReady))
	w, said := watcher(t, s, Options{Timeout: 500 * time.Millisecond})
	round := func(deaf bool, events string) {
		t.Helper()
		s.deaf.Store(deaf)
		said.Reset()
		if err := w.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.said(); got != events {
			t.Errorf("Events: %s, want %s", got, events)
		}
		if deaf != strings.Contains(said.String(), "an Event cannot be written") {
			t.Errorf("log: %s", said)
		}
	}
	d.revoke(true)
	round(true, "")
	round(false, "west Warning Unauthorized x1")
	d.revoke(false)
	round(true, "west Warning Unauthorized x1")
	round(false, "west Normal Works x1; west Warning Unauthorized x1")
	round(false, "west Normal Works x1; west Warning Unauthorized x1")
}

// TestServe: it answers while it asks, and ends at once.
func TestServe(t *testing.T) {
	hang := secure(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	d := newDestination(t)
	s := newSource(t, pairTo(hang.URL, d.Certificate().Raw, "dr", "hangs", storkReady), pairTo(d.URL, d.Certificate().Raw, "dr", "west", storkReady))
	w, _ := watcher(t, s, Options{Timeout: time.Minute, Interval: time.Minute})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		response, err := http.Get("http://" + listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Serve(ctx, listener) }()
	for range 100 {
		if _, text := get("/metrics"); strings.Contains(text, `clusterpair_up{namespace="dr",name="west"} 1`) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200, "/": 404, "/debug/pprof/": 404} {
		if code, _ := get(path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	if _, text := get("/metrics"); !strings.Contains(text, `clusterpair_up{namespace="dr",name="west"} 1`) || strings.Contains(text, `clusterpair_up{namespace="dr",name="hangs"}`) {
		t.Errorf("metrics beside a destination that hangs:\n%s", text)
	}
	began := time.Now()
	cancel()
	select {
	case err := <-ended:
		if took := time.Since(began); err != nil || took > time.Second {
			t.Errorf("it ended after %s: %v", took, err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it does not end")
	}
}

// TestReady: a watcher that cannot read its pairs says so.
func TestReady(t *testing.T) {
	s := newSource(t)
	s.broken = true
	w, _ := watcher(t, s, Options{Interval: time.Minute})
	code := func(path string) int {
		r := httptest.NewRecorder()
		w.Handler().ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
		return r.Code
	}
	if w.Round(t.Context()) == nil || code("/readyz") != 503 || code("/healthz") != 200 {
		t.Errorf("readyz %d, healthz %d", code("/readyz"), code("/healthz"))
	}
	s.broken = false
	if err := w.Round(t.Context()); err != nil || code("/readyz") != 200 {
		t.Errorf("readyz %d: %v", code("/readyz"), err)
	}
	w.began = time.Now().Add(-time.Hour)
	if code("/healthz") != 503 {
		t.Error("a watcher that asks no more calls itself healthy")
	}
}

// TestScrape: whatever a scraper accepts, it gets what client_golang would answer.
func TestScrape(t *testing.T) {
	d := newDestination(t)
	d.rules = "[]"
	stalls := strings.Replace(pairTo(d.URL, d.Certificate().Raw, "dr", "stalls", `{"schedulerStatus":"Strange\nwords"}`), `"options":{}`, `"options":{"port":9001}`, 1)
	w, _ := watcher(t, newSource(t, pairTo(d.URL, d.Certificate().Raw, "dr", "west", storkReady), stalls), Options{Servers: true})
	ours, peer := w.Handler(), promhttp.HandlerFor(w, promhttp.HandlerOpts{DisableCompression: true})
	compare := func(accept string) {
		t.Helper()
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", accept)
		got, want := httptest.NewRecorder(), httptest.NewRecorder()
		ours.ServeHTTP(got, r)
		peer.ServeHTTP(want, r)
		if got.Code != want.Code || got.Header().Get("Content-Type") != want.Header().Get("Content-Type") || !bytes.Equal(got.Body.Bytes(), want.Body.Bytes()) {
			t.Errorf("Accept: %s\n%d %s\n%s\nclient_golang answers %d %s\n%s", accept, got.Code, got.Header(), got.Body, want.Code, want.Header(), want.Body)
		}
	}
	for round := range 2 { // before the first, and after it
		for _, accept := range []string{"", "*/*", "text/plain;version=0.0.4", "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
			"application/openmetrics-text;version=1.0.0,*/*;q=0.1", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "nonsense;;"} {
			compare(accept)
		}
		if round == 0 {
			if err := w.Round(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNames: the metrics are called and described as Prometheus wants it.
func TestNames(t *testing.T) {
	d := newDestination(t)
	d.rules = "[]"
	w, _ := watcher(t, newSource(t, pairTo(d.URL, d.Certificate().Raw, "dr", "west", storkReady)), Options{})
	if err := w.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	text := metricsOf(t, w)
	problems, err := testutil.GatherAndLint(w)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v\n%s", err, problems, text)
	}
	for _, name := range []string{"clusterpair_up", "clusterpair_credential_expires_seconds", "clusterpair_permissions_missing", "clusterpair_stork_status",
		"clusterpair_check_duration_seconds", "clusterpair_stork_stalled", "clusterpair_rule_broken", "clusterpair_last_round_timestamp_seconds"} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("there is no %s", name)
		}
	}
}
