// Package watch tells all day whether the ClusterPairs of a cluster work.
//
// [New] takes a client of the source cluster. [Watcher.Round] asks each destination once,
// with the credential of its pairs; [Watcher.Run] does so every few minutes. What was found
// is told as metrics ([Watcher.Metrics]), as Events of Kubernetes on the pairs, and in a
// log. No credential is kept longer than it is asked with, and none is told.
package watch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/live"
	"clusterpair.dev/internal/report"
)

// Options say how destinations are asked, and what is told.
type Options struct {
	// Namespace is where the pairs are, empty for all namespaces.
	Namespace string
	// Interval is how often all are asked; a change is told of within it.
	Interval time.Duration
	// Timeout is how long one destination may take.
	Timeout time.Duration
	// AtOnce is how many destinations are asked at a time.
	AtOnce int
	// Within is how soon the end of a credential is worth a warning.
	Within time.Duration
	// Servers tells the addresses of destinations, too.
	Servers bool
	// Events writes Events on the pairs whose truth changes.
	Events bool
	// Log takes what changes, and each round.
	Log *slog.Logger
}

// Watcher knows what is true of each pair.
type Watcher struct {
	client  *cluster.Client
	options Options
	teller  teller

	mu       sync.Mutex
	truths   map[string]*truth // by NAMESPACE/NAME
	took     histogram
	began    time.Time // the last round
	complete time.Time // the last round that has read the pairs of the cluster
}

// truth is what is known of a pair.
type truth struct {
	pair    cluster.Pair
	server  string
	asked   bool // with the credential
	up      bool
	missing int // permissions
	ends    time.Time
	broken  []report.Finding
}

// New makes a watcher that knows nothing yet.
func New(client *cluster.Client, o Options) *Watcher {
	w := &Watcher{client: client, options: o, truths: make(map[string]*truth), began: time.Now()}
	w.teller = teller{client: client, log: o.Log, events: o.Events, namespace: o.Namespace, timeout: o.Timeout}
	return w
}

// Run asks round after round until ctx ends, which is no error.
func (w *Watcher) Run(ctx context.Context) {
	pace()
	for ctx.Err() == nil {
		began := time.Now()
		if err := w.Round(ctx); err != nil && ctx.Err() == nil {
			w.options.Log.Error("the pairs of the source cluster cannot be read", "error", err.Error())
		}
		// Many watchers that have started together do not stay together.
		wait := time.Duration(float64(w.options.Interval) * (0.8 + 0.2*rand.Float64()))
		select {
		case <-time.After(time.Until(began.Add(wait))):
		case <-ctx.Done():
		}
	}
}

// pace keeps the memory of a process that runs all day small, unless the environment says
// otherwise.
func pace() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(40 << 20)
	}
}

// group are the pairs that hold one credential.
type group struct {
	destination *kubeconfig.Destination
	pairs       []*live.PairStatus
}

// Round asks all destinations once. It ends with ctx at once, whatever does not answer. An
// error is about the source cluster: what was known of the pairs then stands.
func (w *Watcher) Round(ctx context.Context) error {
	began := time.Now()
	w.mu.Lock()
	w.began = began
	w.mu.Unlock()
	pairs, source, err := w.read(ctx)
	if err != nil {
		return err
	}
	w.teller.remember(ctx)
	w.forget(pairs)
	w.mu.Lock()
	w.complete = time.Now()
	w.mu.Unlock()
	var done sync.WaitGroup
	slots := make(chan struct{}, max(w.options.AtOnce, 1))
	for _, g := range w.groups(ctx, pairs) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return ctx.Err()
		}
		done.Go(func() {
			defer func() { <-slots }()
			if err := defect.Safely("", func() error { w.ask(ctx, g, source); return nil }); err != nil {
				w.options.Log.Error(err.Error())
			}
		})
	}
	done.Wait()
	if ctx.Err() == nil {
		w.options.Log.Info("round", "pairs", len(pairs), "broken", w.Broken(), "seconds", time.Since(began).Seconds())
	}
	return ctx.Err()
}

// read takes in the pairs with what Stork says of them, and who the source cluster is, nil
// if it does not tell. It ends with ctx at once.
func (w *Watcher) read(ctx context.Context) ([]*live.PairStatus, *cluster.Identity, error) {
	type answer struct {
		pairs  []*live.PairStatus
		source *cluster.Identity
		err    error
	}
	answers := make(chan answer, 1)
	ctx, cancel := context.WithTimeout(ctx, max(time.Minute, w.options.Timeout))
	defer cancel()
	go func() {
		var a answer
		a.err = defect.Safely("", func() error {
			s := live.NewStatus(w.client, live.Options{Namespace: w.options.Namespace, All: w.options.Namespace == "", Keep: true, Within: w.options.Within})
			if err := s.Look(ctx); err != nil {
				return err
			}
			if err := s.Finish(ctx); err != nil {
				return err
			}
			a.pairs = s.Pairs()
			if source, err := w.client.Identity(ctx); err == nil {
				a.source = source
			}
			return nil
		})
		answers <- a
	}()
	select {
	case a := <-answers:
		return a.pairs, a.source, a.err
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
}

// groups puts pairs with one credential together, in an order of chance. Those without a
// destination are judged at once: Stork's side of them is all there is.
func (w *Watcher) groups(ctx context.Context, pairs []*live.PairStatus) []*group {
	known := make(map[[sha256.Size]byte]*group)
	var all []*group
	for _, p := range pairs {
		d := p.Take()
		if d == nil {
			w.learn(ctx, p, "", nil)
			continue
		}
		same := *d // but for names, which no server sees
		same.Context, same.Cluster, same.User, same.Namespace = "", "", "", ""
		text, _ := json.Marshal(same) // of texts alone
		key := sha256.Sum256(text)
		g := known[key]
		if g == nil {
			g = &group{destination: d}
			known[key] = g
			all = append(all, g)
		}
		g.pairs = append(g.pairs, p)
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// ask asks a destination for all pairs of a group. Permissions that hold in every namespace
// are asked for once, others in the namespace of each pair.
func (w *Watcher) ask(ctx context.Context, g *group, source *cluster.Identity) {
	d := g.destination
	g.destination = nil // which is let go with this function
	preflight := func(namespace string) []report.Check {
		ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
		defer cancel()
		began := time.Now()
		checks := cluster.Preflight(ctx, d, cluster.PreflightOptions{Namespace: namespace, Source: source, Within: w.options.Within, Now: began})
		w.mu.Lock()
		w.took.add(time.Since(began))
		w.mu.Unlock()
		return checks
	}
	everywhere := preflight("")
	here := make(map[string][]report.Check)
	for _, p := range g.pairs {
		checks := everywhere
		if slices.ContainsFunc(everywhere, func(c report.Check) bool {
			return c.Name == "permissions" && c.Status == report.Failed && c.Missing > 0
		}) {
			if here[p.Namespace] == nil {
				here[p.Namespace] = preflight(p.Namespace)
			}
			checks = here[p.Namespace]
		}
		if ctx.Err() != nil {
			return // what was interrupted says nothing
		}
		w.learn(ctx, p, d.Server, checks)
	}
}

// learn notes what is true of a pair, and tells what has changed.
func (w *Watcher) learn(ctx context.Context, p *live.PairStatus, server string, checks []report.Check) {
	t := &truth{pair: p.Pair, server: report.URL(server)}
	t.ends, _ = p.End.First()
	for _, f := range p.Findings {
		if f.Severity != report.Info {
			t.broken = append(t.broken, f)
		}
	}
	for _, c := range checks {
		t.missing += c.Missing
		if c.Name == "authentication" {
			t.asked, t.up = c.Status != report.Skipped || !unasked(checks), c.Status == report.Passed
		}
		if c.Rule == "" || c.Status != report.Failed && c.Status != report.Warned {
			continue
		}
		f := report.Finding{Rule: c.Rule, Severity: report.Warning, Message: c.Text, Hint: c.Hint, Object: p.ID()}
		if c.Status == report.Failed {
			f.Severity = report.Error
		}
		// Later checks look closer at the same fault.
		t.broken = append(slices.DeleteFunc(t.broken, func(before report.Finding) bool { return before.Rule == c.Rule }), f)
	}
	slices.SortStableFunc(t.broken, func(a, b report.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	if !w.options.Servers {
		for i := range t.broken {
			t.broken[i].Message = without(t.broken[i].Message, t.server)
		}
	}
	w.mu.Lock()
	w.truths[p.ID()] = t
	w.mu.Unlock()
	w.teller.tell(ctx, t)
}

// unasked tells whether nothing on the way to the destination has failed, and it was not
// asked all the same: its credential comes from a command, which does not run here.
func unasked(checks []report.Check) bool {
	return !slices.ContainsFunc(checks, func(c report.Check) bool { return c.Status == report.Failed && c.Name != "expiry" })
}

// without is a message that does not tell where a server is.
func without(message, server string) string {
	const instead = "the destination"
	message = strings.ReplaceAll(message, server, instead)
	_, host, _ := strings.Cut(server, "://")
	host, _, _ = strings.Cut(host, "/")
	if host == "" {
		return message
	}
	message = strings.ReplaceAll(message, host, instead)
	if name := strings.TrimSuffix(host, host[max(strings.LastIndexByte(host, ':'), 0):]); name != "" {
		message = strings.ReplaceAll(message, name, instead)
	}
	return message
}

// forget drops what is known of pairs that are gone.
func (w *Watcher) forget(pairs []*live.PairStatus) {
	there, keys := make(map[string]bool, len(pairs)), make(map[string]bool, len(pairs))
	for _, p := range pairs {
		there[p.ID()], keys[p.ID()+"/"+p.UID] = true, true
	}
	w.teller.forget(keys)
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.truths {
		if !there[id] {
			delete(w.truths, id)
		}
	}
}

// Broken is the number of pairs with an error.
func (w *Watcher) Broken() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, t := range w.truths {
		if report.HasErrors(t.broken) {
			n++
		}
	}
	return n
}
