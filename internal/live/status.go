// Package live holds the ClusterPairs of Git against those of a live cluster.
//
// [NewStatus] takes a client and says which pairs are meant; [Status.Look] or
// [Status.Follow] takes them in, and [Status.Finish] judges them. [ReadCommitted] reads
// what Git holds, encrypted. [Printer] and [Write] write what was found. No credential
// is kept longer than it is looked at, and none is printed.
package live

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
)

// Options say which ClusterPairs of a cluster are meant, and what is asked about them.
type Options struct {
	// Namespace is where the pairs of Names are, or all pairs that are meant; with All,
	// the pairs of every namespace are. Named says that somebody has chosen it.
	Namespace  string
	Names      []string
	All, Named bool
	// Git is what the pairs are compared to, nil for nothing. Its pairs are those that
	// are meant if nobody has said which.
	Git *Committed
	// Probe asks the destinations whether they take the credentials.
	Probe bool
	// Keep keeps the destinations, for [PairStatus.Take].
	Keep bool
	// Within is how soon the end of a credential is worth a warning.
	Within time.Duration
	// Flags are those with which kubectl, or this program, asks the same cluster, as
	// they are typed after a command.
	Flags string
}

// Status tells whether ClusterPairs work. [Status.Look] or [Status.Follow] comes
// first, then [Status.Finish].
type Status struct {
	client  *cluster.Client
	options Options
	now     time.Time
	scope   cluster.Scope
	asked   map[string]bool // by NAMESPACE/NAME; empty for all of the scope

	pairs     map[string]*PairStatus
	elsewhere map[string]*PairStatus // pairs that stall Stork, and that nobody has asked for
	findings  []report.Finding
}

// PairStatus is what there is to say of a pair.
type PairStatus struct {
	cluster.Pair
	// Synced is the state of the pair in Git and in the cluster, empty if nothing was
	// compared.
	Synced string
	// Findings are all that is said, once it is judged.
	Findings []report.Finding

	faults []report.Finding // with which Stork cannot work
	drift  []report.Finding
	// What the destination says, if it is probed.
	destination *kubeconfig.Destination
	probed      []report.Finding
}

// Take hands out the destination with its credential, which is then no longer kept here.
// It is nil if the kubeconfig is of no use.
func (p *PairStatus) Take() *kubeconfig.Destination {
	d := p.destination
	p.destination = nil
	return d
}

// NewStatus decides which pairs are meant, and asks nothing yet.
func NewStatus(client *cluster.Client, o Options) *Status {
	s := &Status{client: client, options: o, now: time.Now(),
		pairs: make(map[string]*PairStatus), elsewhere: make(map[string]*PairStatus), asked: make(map[string]bool)}
	s.scope.Namespace = o.Namespace
	for _, name := range o.Names {
		s.asked[o.Namespace+"/"+name] = true
	}
	switch {
	case len(o.Names) == 1:
		s.scope.Name = o.Names[0]
	case o.All:
		s.scope.Namespace = ""
	case o.Git != nil && len(o.Names) == 0 && !o.Named:
		namespaces := make(map[string]bool)
		for id := range o.Git.pairs {
			s.asked[id] = true
			namespace, _, _ := strings.Cut(id, "/")
			namespaces[namespace] = true
			s.scope.Namespace = namespace
		}
		if len(namespaces) > 1 {
			s.scope.Namespace = ""
		}
	}
	return s
}

// Namespace is the one in which the pairs are looked for, empty for all.
func (s *Status) Namespace() string { return s.scope.Namespace }

// Pairs are the pairs that were asked for, by namespace and name.
func (s *Status) Pairs() []*PairStatus {
	return slices.SortedFunc(maps.Values(s.pairs), func(a, b *PairStatus) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}

// Findings are those of all pairs, also of pairs that were not asked for and stall the
// others, and those about the run itself.
func (s *Status) Findings() []report.Finding {
	all := slices.Clone(s.findings)
	for _, p := range s.pairs {
		all = append(all, p.Findings...)
	}
	for _, p := range s.elsewhere {
		all = append(all, p.Findings...)
	}
	report.Sort(all)
	return all
}

// Look takes in the pairs as they are.
func (s *Status) Look(ctx context.Context) error {
	return s.client.Pairs(ctx, s.scope, func(p cluster.Pair, item []byte) error { return s.visit(ctx, p, item) })
}

// visit takes a pair of the cluster in.
func (s *Status) visit(ctx context.Context, p cluster.Pair, item []byte) error {
	id := p.ID()
	if len(s.asked) > 0 && !s.asked[id] {
		if delete(s.elsewhere, id); p.Undecodable {
			s.elsewhere[id] = s.inspected(ctx, p, item)
		}
		return nil
	}
	if p.Gone {
		delete(s.pairs, id)
		return nil
	}
	row := s.inspected(ctx, p, item)
	if s.options.Probe || s.options.Keep {
		row.destination = destinationOf(item, id, s.now)
	}
	if s.options.Git != nil {
		var file string
		var difference []string
		var err error
		if row.Synced, file, difference, err = s.options.Git.compare(ctx, id, item); err != nil {
			return err
		}
		row.drift = driftOf(id, s.named(id), row.Synced, file, difference)
	}
	s.pairs[id] = row
	return nil
}

// inspected is a pair with what is wrong with its spec, if Stork has trouble
// with it.
func (s *Status) inspected(ctx context.Context, p cluster.Pair, item []byte) *PairStatus {
	row := &PairStatus{Pair: p}
	if bytes.Contains(item, []byte("ENC[AES256_GCM,")) {
		row.faults = []report.Finding{finding(p.ID(), "still-encrypted", "the ciphertext of Git was applied as it is", "let Flux decrypt it: spec.decryption.provider: sops; for Argo CD there is the ClusterPairDecryptor")}
	} else if p.Undecodable || p.Unusable && !p.Deleting {
		row.faults = faultsOf(ctx, p.ID(), item, s.now)
	}
	return row
}

// faultsOf judges a live pair as validate does a file in clear.
func faultsOf(ctx context.Context, id string, item []byte, now time.Time) []report.Finding {
	docs, err := manifest.Values(item, id)
	if err != nil || len(docs) != 1 {
		return nil
	}
	doc := keep(docs[0], "apiVersion", "kind", "metadata", "spec") // the rest is of the cluster
	if metadata := manifest.Field(doc, "metadata"); metadata != nil {
		*metadata = *keep(metadata, "name", "namespace")
	}
	v := validate.New(validate.Options{Plaintext: true, Partial: true, Now: now})
	if v.Object(ctx, "", doc) != nil {
		return nil
	}
	var faults []report.Finding
	for _, f := range v.Findings() {
		if f.Severity == report.Error {
			f.Position, f.Object = report.Position{File: id}, id
			faults = append(faults, f)
		}
	}
	stops := func(f report.Finding) bool { return f.Catalogued().Undecodable }
	if slices.ContainsFunc(faults, stops) { // then nothing else matters yet
		faults = slices.DeleteFunc(faults, func(f report.Finding) bool { return !stops(f) })
	}
	return faults
}

// keep is a mapping with some of its keys.
func keep(n *yaml.Node, keys ...string) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if slices.Contains(keys, n.Content[i].Value) {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return out
}

// driftOf is what is wrong with a state.
func driftOf(id, named, state, file string, difference []string) []report.Finding {
	var f report.Finding
	switch state {
	case Drifted:
		f = finding(id, "credential-drift", "the spec in the cluster is not what "+file+" holds", "let Flux or Argo CD sync again, or find out who changed it: kubectl get clusterpair "+named+" -o yaml --show-managed-fields")
		if len(difference) > 0 {
			f.Message += ": " + strings.Join(difference, ", ")
		}
	case Unknown:
		f = finding(id, "credential-drift", file+" has neither a digest in clear nor a key at hand: whether the cluster has what it says cannot be told", "render it anew: clusterpair generate; or name a key that opens it: export SOPS_AGE_KEY_FILE=KEYFILE")
		f.Severity = report.Info
	case NotInGit:
		f = finding(id, "credential-drift", "no committed file has this pair", "take it into Git, or delete it")
		f.Severity = report.Warning
	default:
		return nil
	}
	return []report.Finding{f}
}

// Follow takes in what changes, until ctx ends or, with wait, until all pairs work.
// changed is called with them whenever something has changed; it may be nil.
func (s *Status) Follow(ctx context.Context, wait bool, changed func([]*PairStatus) error) error {
	errDone := errors.New("all pairs work")
	err := s.client.WatchPairs(ctx, s.scope, func(p cluster.Pair, item []byte) error {
		s.now = time.Now()
		return s.visit(ctx, p, item)
	}, func() error {
		if changed != nil {
			s.judge()
			if err := changed(s.Pairs()); err != nil {
				return err
			}
		}
		if wait && s.Ready() {
			return errDone
		}
		return nil
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

// Ready tells whether all that was asked for is there and works.
func (s *Status) Ready() bool {
	for id := range s.asked {
		if s.pairs[id] == nil {
			return false
		}
	}
	for _, p := range s.pairs {
		if !p.Ready() || p.Synced == Drifted || p.Synced == Encrypted {
			return false
		}
	}
	return len(s.pairs) > 0
}

// Finish completes what is known, and judges it. It still asks the cluster where ctx has
// ended.
func (s *Status) Finish(ctx context.Context) error {
	s.now = time.Now()
	asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	for id := range s.asked {
		if s.pairs[id] == nil {
			s.pairs[id] = s.missing(id)
		}
	}
	if s.options.Git != nil && len(s.asked) == 0 {
		for id := range s.options.Git.pairs {
			if namespace, _, _ := strings.Cut(id, "/"); s.pairs[id] == nil && (s.scope.Namespace == "" || s.scope.Namespace == namespace) {
				s.pairs[id] = s.missing(id)
			}
		}
	}
	if err := s.stallers(asking); err != nil {
		return err
	}
	failing := make(map[string]*cluster.Pair)
	for id, p := range s.pairs {
		if p.SchedulerStatus == "Error" || p.StorageStatus == "Error" {
			failing[id] = &p.Pair
		}
	}
	if len(failing) > 0 {
		if err := s.client.Events(asking, s.scope.Namespace, failing); err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	if s.options.Probe {
		if err := s.probe(ctx); err != nil {
			return err
		}
	}
	s.judge()
	return nil
}

// probe asks the destinations of all pairs whether they take the credentials.
func (s *Status) probe(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(probesAtOnce)
	for id, p := range s.pairs {
		if p.destination == nil {
			continue
		}
		group.Go(func() (err error) {
			defer defect.Recover(&err, id)
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			for _, c := range cluster.Preflight(ctx, p.destination, cluster.PreflightOptions{Namespace: p.Namespace, Shallow: true, Now: s.now}) {
				if c.Status == report.Failed && c.Name != "expiry" { // the annotation has told
					p.probed = []report.Finding{finding(id, c.Rule, c.Text, c.Hint)} // later checks look closer at the same fault
				}
			}
			p.destination = nil
			return nil
		})
	}
	if err := group.Wait(); err != nil { // all else that goes wrong is a finding
		return err
	}
	return ctx.Err()
}

// probesAtOnce are as many connections as any machine may have open.
const probesAtOnce = 200

// destinationOf is the destination of a live pair, nil if its kubeconfig is of
// no use.
func destinationOf(item []byte, id string, now time.Time) *kubeconfig.Destination {
	docs, err := manifest.Values(item, id)
	if err != nil || len(docs) != 1 {
		return nil
	}
	config := manifest.Field(docs[0], "spec", "config")
	if config == nil || config.Kind != yaml.MappingNode {
		return nil
	}
	d, _ := kubeconfig.FromConfig(config, id, "spec.config", kubeconfig.Options{Allow: kubeconfig.AllowAll(), Now: now})
	return d
}

// missing stands for a pair that is not in the cluster.
func (s *Status) missing(id string) *PairStatus {
	p := &PairStatus{}
	p.Namespace, p.Name, _ = strings.Cut(id, "/")
	f := finding(id, "pair-missing", "there is no such ClusterPair in the cluster", "")
	if s.options.Git != nil {
		p.Synced = NotInGit
		if Committed := s.options.Git.pairs[id]; Committed != nil {
			p.Synced = NotApplied
			f.Message = Committed.file + " is not in the cluster"
			f.Hint = "see what Flux or Argo CD says: flux get kustomizations, or argocd app get APP"
		}
	}
	p.drift = []report.Finding{f}
	return p
}

// stallers finds, if a status is empty, the pairs of other namespaces that Stork
// cannot decode: one is enough to stall all.
func (s *Status) stallers(ctx context.Context) error {
	mute := false
	for _, p := range s.pairs {
		mute = mute || !p.Created.IsZero() && !p.Undecodable && p.SchedulerStatus == ""
	}
	if !mute || s.scope == (cluster.Scope{}) {
		return nil
	}
	clear(s.elsewhere)
	err := s.client.Pairs(ctx, cluster.Scope{}, func(p cluster.Pair, item []byte) error {
		if p.Undecodable && s.pairs[p.ID()] == nil {
			s.elsewhere[p.ID()] = s.inspected(ctx, p, item)
		}
		return nil
	})
	if apierrors.IsForbidden(err) {
		s.findings = append(s.findings, report.Finding{Rule: "pair-stuck", Severity: report.Info,
			Message: "you may not list the ClusterPairs of all namespaces: one of another namespace that Stork cannot decode would stall these, too",
			Hint:    "ask somebody who may: clusterpair status -A" + s.options.Flags})
		return nil
	}
	return err
}

// judge says of each pair what is wrong with it.
func (s *Status) judge() {
	var stalling []string
	for _, p := range slices.AppendSeq(slices.Collect(maps.Values(s.pairs)), maps.Values(s.elsewhere)) {
		if p.Undecodable {
			stalling = append(stalling, p.ID())
		}
	}
	slices.Sort(stalling)
	for _, p := range s.pairs {
		p.judge(s.now, s.options.Within, stalling, s.named(p.ID()))
	}
	for _, p := range s.elsewhere {
		p.judge(s.now, s.options.Within, stalling, s.named(p.ID()))
	}
}

// patience is how long Stork may take to look at a pair: it does so every ten
// seconds.
const patience = time.Minute

// named is the pair as kubectl, or this program, takes it in the same cluster.
func (s *Status) named(id string) string {
	namespace, name, _ := strings.Cut(id, "/")
	return "-n " + namespace + " " + name + s.options.Flags
}

func (p *PairStatus) judge(now time.Time, within time.Duration, stalling []string, named string) {
	p.Findings = slices.Concat(p.faults, p.drift)
	since := now.Sub(p.Changed).Round(time.Second)
	switch {
	case p.Created.IsZero():
		return // it is not there
	case p.Undecodable:
		p.find("pair-stuck", "Stork cannot decode this ClusterPair: as long as it is there Stork looks at none of the cluster, and exits at its next start",
			fmt.Sprintf(`mend it, or delete it without its finalizer, which Stork does not take away now: kubectl patch clusterpair %[1]s --type merge -p '{"metadata":{"finalizers":null}}' && kubectl delete clusterpair %[1]s`, named))
	case p.Deleting:
		p.find("pair-not-ready", "it is being deleted, and waits for Stork to let it go", "see what Stork says: kubectl describe clusterpair "+named)
	case p.SchedulerStatus == "" && len(stalling) > 0:
		p.find("pair-stuck", "Stork says nothing: it cannot decode ClusterPair "+stalling[0]+", which stalls all", "mend "+stalling[0]+" first")
	case p.Unusable:
		p.find("pair-stuck", "Stork says nothing: it cannot use the kubeconfig", "render the pair anew: clusterpair generate")
	case p.SchedulerStatus == "" && since < patience:
		p.find("pair-not-ready", fmt.Sprintf("Stork has not looked yet, %s after the last change", since), "clusterpair status --wait "+named)
	case p.SchedulerStatus == "" && !p.Seen:
		p.find("pair-stuck", fmt.Sprintf("Stork has not touched it for %s: it does not run, or waits without limit for ten destinations that answer nothing, which stall all", since), "kubectl get pods -A -l name=stork")
	case p.SchedulerStatus == "":
		p.find("pair-stuck", fmt.Sprintf("Stork has seen it and said nothing for %s: it cannot use the kubeconfig, or waits without limit for a destination that answers nothing", since), "clusterpair preflight "+named)
	case !p.Ready():
		message := fmt.Sprintf("storage is %s and scheduler %s, not %s and Ready", cmp.Or(p.StorageStatus, "empty"), p.SchedulerStatus, p.WantsStorage())
		if p.Event != "" {
			message += "; Stork says: " + p.Event
		}
		p.find("pair-not-ready", message, "clusterpair preflight "+named)
	case p.Stale:
		p.find("pair-stale", "the pair was changed on "+p.Changed.UTC().Format(time.RFC3339)+", and Stork has not looked since: Ready says nothing about the credential that is there now", "clusterpair status --recheck "+named)
	}
	p.Findings = append(p.Findings, p.probed...)
	if rule, message := p.End.Verdict(now, within); rule != "" {
		p.find(rule, message, "renew it on the destination and render the pair anew: clusterpair generate")
	}
	if p.End.Short() {
		p.find("credential-end-unknown", "nothing tells when the credential ends: "+p.End.Why(), kubeconfig.HintLasting)
	}
}

// find adds a breach of a rule.
func (p *PairStatus) find(rule, message, hint string) {
	p.Findings = append(p.Findings, finding(p.ID(), rule, message, hint))
}

// finding is a breach of a rule by a pair in the cluster.
func finding(id, rule, message, hint string) report.Finding {
	known, _ := report.RuleOf(rule)
	return report.Finding{Rule: rule, Severity: known.Severity, Position: report.Position{File: id}, Object: id, Message: message, Hint: hint}
}

// Verdict is the gravest finding in a word.
func (p *PairStatus) Verdict() string {
	for _, severity := range []report.Severity{report.Error, report.Warning} {
		for _, f := range p.Findings {
			if f.Severity == severity && f.Rule == "credential-drift" {
				return p.Synced
			}
			if verdict := f.Catalogued().Verdict; f.Severity == severity && verdict != "" {
				return verdict
			}
		}
	}
	return "Ready"
}

// Recheck clears the status of the pairs that Stork calls Ready, so that Stork looks at
// them again. Before that it calls confirm with their names, unless there are none.
// Stork looks at all other pairs by itself.
func (s *Status) Recheck(ctx context.Context, confirm func(ids []string) error) error {
	var ids []string
	err := s.client.Pairs(ctx, s.scope, func(p cluster.Pair, _ []byte) error {
		if (len(s.asked) == 0 || s.asked[p.ID()]) && p.SchedulerStatus == "Ready" {
			ids = append(ids, p.ID())
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	if err := confirm(ids); err != nil {
		return err
	}
	for _, id := range ids {
		namespace, name, _ := strings.Cut(id, "/")
		if err := s.client.Recheck(ctx, namespace, name); err != nil {
			return err
		}
	}
	return nil
}
