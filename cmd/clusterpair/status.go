package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	sigsyaml "sigs.k8s.io/yaml"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
)

// statusOptions are the flags of clusterpair status.
type statusOptions struct {
	clusterFlags
	allNamespaces             bool
	files                     []string
	wait, watch, recheck, yes bool
	probe                     bool
	timeout                   time.Duration
	within, format            string
}

func newStatusCommand() *cobra.Command {
	o := new(statusOptions)
	cmd := &cobra.Command{
		Use:   "status [NAME...]",
		Short: "Tell whether ClusterPairs work, and why not",
		Long: `status shows what storkctl get clusterpair shows of the pairs of the source
cluster, and explains below it what Stork leaves mute: why a status is empty,
which pair stalls all others, what the last event says, and whether Ready is older
than the credential. A pair works if its scheduler is Ready and its storage is
NotProvided, or, with storage options for a second fabric, Ready.

With -f it compares the pairs to what Git holds, encrypted: by the digest that
generate has put there, or, where a key is at hand, value by value. Without
NAME, -n and -A the pairs of the files are meant.

Stork looks at a pair until it is Ready, and never again: it goes on saying so when
the credential is revoked. --recheck takes Stork's word back, so that it looks
again, and waits. --probe asks each destination from here, with the credential of
the pair, whether it still takes it; clusterpair preflight asks more.

It exits 1 unless every pair that was asked for works.`,
		Example: `  clusterpair status -A -o wide
  clusterpair status remotecluster -n migrationnamespace --wait --timeout 2m
  clusterpair status -f rendered/
  clusterpair status -A --probe
  clusterpair status --recheck remotecluster -n migrationnamespace`,
		RunE:              func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
		ValidArgsFunction: o.completeNames,
	}
	flags := cmd.Flags()
	o.addFlags(flags)
	o.addServerFlags(flags)
	flags.BoolVarP(&o.allNamespaces, "all-namespaces", "A", false, "the pairs of all namespaces")
	flags.StringSliceVarP(&o.files, "filename", "f", nil, "file or directory with the committed pairs to compare to; repeatable")
	flags.BoolVar(&o.wait, "wait", false, "wait until every pair works")
	flags.BoolVarP(&o.watch, "watch", "w", false, "go on and show what changes")
	flags.DurationVar(&o.timeout, "timeout", 0, "end --wait or --watch after this time (default 5m for --wait)")
	flags.BoolVar(&o.recheck, "recheck", false, "make Stork look again at what it calls Ready, after asking, and wait")
	flags.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&o.probe, "probe", false, "ask each destination whether it takes the credential of the pair")
	flags.StringVar(&o.within, "within", "30d", "warn of credentials that end within this time")
	flags.StringVarP(&o.format, "output", "o", "table", "format: "+strings.Join(statusFormats, ", "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(statusFormats, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}

var statusFormats = []string{"table", "wide", "json", "yaml", "name"}

func (o *statusOptions) run(cmd *cobra.Command, names []string) error {
	defer pace.Steady(2<<20, 100, 0).End()
	s := &statusRun{cmd: cmd, options: o, now: time.Now(), pairs: make(map[string]*pairStatus), elsewhere: make(map[string]*pairStatus), asked: make(map[string]bool)}
	var err error
	switch s.within, err = generator.ParseDuration(o.within); {
	case err != nil:
		return usageError(withHint(fmt.Errorf("--within: %w", err), "days or hours, as in 30d or 720h"))
	case !slices.Contains(statusFormats, o.format):
		return usageError(withHint(fmt.Errorf("there is no format %q", o.format), "-o %s", strings.Join(statusFormats, "|")))
	case o.allNamespaces && (len(names) > 0 || o.overrides.Context.Namespace != ""):
		return usageError(errors.New("--all-namespaces goes without NAME and --namespace"))
	case o.yes && !o.recheck:
		return usageError(errors.New("--yes goes with --recheck"))
	case o.timeout != 0 && !o.wait && !o.watch && !o.recheck:
		return usageError(errors.New("--timeout goes with --wait, --watch or --recheck"))
	case o.watch && o.probe:
		return usageError(errors.New("--probe asks once, and --watch has no end"))
	case o.watch && o.format == "yaml":
		return usageError(errors.New("--watch has no end, and -o yaml needs one"))
	}
	if len(o.files) > 0 {
		if s.git, err = readCommitted(cmd, o.files); err != nil {
			return runError(cmd, err)
		}
	}
	var namespace string
	if s.client, namespace, err = o.client(cmd); err != nil {
		return err
	}
	s.choose(namespace, names)
	ctx, cancel := cmd.Context(), context.CancelFunc(func() {})
	if o.recheck {
		o.wait = true
	}
	if timeout := o.timeout; timeout > 0 || o.wait && !o.watch {
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(timeout, 5*time.Minute))
	}
	defer cancel()
	if o.recheck {
		if err := s.recheck(ctx); err != nil {
			return runError(cmd, err)
		}
	}
	if o.wait || o.watch {
		err = s.follow(ctx)
	} else {
		err = s.client.Pairs(ctx, s.scope, s.visit)
	}
	if err == nil {
		err = s.finish()
	}
	return runError(cmd, liveError(err))
}

// liveError is a cluster's refusal as an error of the command, with its hint.
func liveError(err error) error {
	var refused *cluster.Error
	if errors.As(err, &refused) {
		return clusterError(err)
	}
	return err
}

// statusRun is one run of clusterpair status.
type statusRun struct {
	cmd     *cobra.Command
	options *statusOptions
	now     time.Time
	within  time.Duration
	client  *cluster.Client
	git     *committed // nil without -f
	scope   cluster.Scope
	asked   map[string]bool // by NAMESPACE/NAME; empty for all of the scope

	pairs     map[string]*pairStatus
	elsewhere map[string]*pairStatus // what stalls Stork, and was not asked for
	findings  []report.Finding
	print     *statusPrinter
}

// pairStatus is what there is to say of a pair.
type pairStatus struct {
	cluster.Pair
	synced string
	faults []report.Finding // with which Stork cannot work
	drift  []report.Finding
	// What the destination says, with --probe.
	destination *kubeconfig.Destination
	probed      []report.Finding
	findings    []report.Finding // all that is said
}

// choose decides which pairs are meant.
func (s *statusRun) choose(namespace string, names []string) {
	s.scope.Namespace = namespace
	for _, name := range names {
		s.asked[namespace+"/"+name] = true
	}
	switch {
	case len(names) == 1:
		s.scope.Name = names[0]
	case s.options.allNamespaces:
		s.scope.Namespace = ""
	case s.git != nil && len(names) == 0 && s.options.overrides.Context.Namespace == "":
		namespaces := make(map[string]bool)
		for id := range s.git.pairs {
			s.asked[id] = true
			namespace, _, _ = strings.Cut(id, "/")
			namespaces[namespace] = true
		}
		if s.scope.Namespace = namespace; len(namespaces) > 1 {
			s.scope.Namespace = ""
		}
	}
}

// visit takes a pair of the cluster in.
func (s *statusRun) visit(p cluster.Pair, item []byte) error {
	id := p.ID()
	if len(s.asked) > 0 && !s.asked[id] {
		if delete(s.elsewhere, id); p.Undecodable {
			s.elsewhere[id] = s.inspected(p, item)
		}
		return nil
	}
	if p.Gone {
		delete(s.pairs, id)
		return nil
	}
	row := s.inspected(p, item)
	if s.options.probe {
		row.destination = destinationOf(item, id, s.now)
	}
	if s.git != nil {
		var file string
		var difference []string
		var err error
		if row.synced, file, difference, err = s.git.compare(s.cmd.Context(), id, item); err != nil {
			return err
		}
		row.drift = driftOf(id, row.synced, file, difference)
	}
	s.pairs[id] = row
	return nil
}

// inspected is a pair with what is wrong with its spec, if Stork has trouble
// with it.
func (s *statusRun) inspected(p cluster.Pair, item []byte) *pairStatus {
	row := &pairStatus{Pair: p}
	if bytes.Contains(item, []byte("ENC[AES256_GCM,")) {
		row.faults = []report.Finding{liveFinding(p.ID(), "still-encrypted", "the ciphertext of Git was applied as it is", "let Flux decrypt it: spec.decryption.provider: sops; for Argo CD there is the ClusterPairDecryptor")}
	} else if p.Undecodable || p.Unusable && !p.Deleting {
		row.faults = faultsOf(s.cmd.Context(), p.ID(), item, s.now)
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
	stops := func(f report.Finding) bool { return slices.Contains(undecodable, f.Rule) }
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

// undecodable are rules whose breach keeps Stork from decoding a pair.
var undecodable = []string{"value-type", "bad-base64", "extensions-present", "config-list-form", "config-not-object", "null-entry"}

// driftOf is what is wrong with a state.
func driftOf(id, state, file string, difference []string) []report.Finding {
	var f report.Finding
	switch state {
	case drifted:
		f = liveFinding(id, "credential-drift", "the spec in the cluster is not what "+file+" holds", "let Flux or Argo CD sync again, or find out who changed it: kubectl get clusterpair -o yaml --show-managed-fields")
		if len(difference) > 0 {
			f.Message += ": " + strings.Join(difference, ", ")
		}
	case unknown:
		f = liveFinding(id, "credential-drift", file+" has neither a digest in clear nor a key at hand: whether the cluster has what it says cannot be told", "render it with clusterpair generate, or name a key: SOPS_AGE_KEY_FILE")
		f.Severity = report.Info
	case notInGit:
		f = liveFinding(id, "credential-drift", "no committed file has this pair", "take it into Git, or delete it")
		f.Severity = report.Warning
	default:
		return nil
	}
	return []report.Finding{f}
}

// follow takes in what changes until all pairs work, as far as --wait says, or
// until the time is over.
func (s *statusRun) follow(ctx context.Context) error {
	errDone := errors.New("all pairs work")
	err := s.client.WatchPairs(ctx, s.scope, func(p cluster.Pair, item []byte) error {
		s.now = time.Now()
		return s.visit(p, item)
	}, func() error {
		if s.options.watch {
			s.judge()
			if err := s.show(); err != nil {
				return err
			}
		}
		if s.options.wait && s.ready() {
			return errDone
		}
		return nil
	})
	switch {
	case errors.Is(err, errDone), ctx.Err() != nil && s.cmd.Context().Err() == nil: // --timeout
		return nil
	case ctx.Err() != nil && s.options.watch && len(s.pairs) > 0: // Ctrl-C is the usual end
		return nil
	}
	return err
}

// ready tells whether all that was asked for is there and works.
func (s *statusRun) ready() bool {
	for id := range s.asked {
		if s.pairs[id] == nil {
			return false
		}
	}
	for _, p := range s.pairs {
		if !p.Ready() || p.synced == drifted || p.synced == encrypted {
			return false
		}
	}
	return len(s.pairs) > 0
}

// finish completes what is known, prints it and gives the verdict.
func (s *statusRun) finish() error {
	s.now = time.Now()
	ctx := context.WithoutCancel(s.cmd.Context())
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for id := range s.asked {
		if s.pairs[id] == nil {
			s.pairs[id] = s.missing(id)
		}
	}
	if s.git != nil && len(s.asked) == 0 {
		for id := range s.git.pairs {
			if namespace, _, _ := strings.Cut(id, "/"); s.pairs[id] == nil && (s.scope.Namespace == "" || s.scope.Namespace == namespace) {
				s.pairs[id] = s.missing(id)
			}
		}
	}
	if err := s.stallers(ctx); err != nil {
		return err
	}
	failing := make(map[string]*cluster.Pair)
	for id, p := range s.pairs {
		if p.SchedulerStatus == "Error" || p.StorageStatus == "Error" {
			failing[id] = &p.Pair
		}
	}
	if len(failing) > 0 {
		if err := s.client.Events(ctx, s.scope.Namespace, failing); err != nil && !apierrors.IsForbidden(err) {
			return err
		}
	}
	if s.options.probe {
		if err := s.probe(s.cmd.Context()); err != nil {
			return err
		}
	}
	s.judge()
	return s.result()
}

// probe asks the destinations of all pairs whether they take the credentials.
func (s *statusRun) probe(ctx context.Context) error {
	var group errgroup.Group
	group.SetLimit(probesAtOnce)
	for id, p := range s.pairs {
		if p.destination == nil {
			continue
		}
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			for _, c := range cluster.Preflight(ctx, p.destination, cluster.PreflightOptions{Namespace: p.Namespace, Shallow: true, Now: s.now}) {
				if c.Status == cluster.Failed && c.Name != "expiry" { // the annotation has told
					p.probed = []report.Finding{liveFinding(id, c.Rule, c.Text, c.Hint)} // the last one looks closest
				}
			}
			p.destination = nil
			return nil
		})
	}
	_ = group.Wait() // all that goes wrong is a finding
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
	d, _ := kubeconfig.FromConfig(config, id, "spec.config", kubeconfig.Options{Allow: allowAll(), Now: now})
	return d
}

// missing stands for a pair that is not in the cluster.
func (s *statusRun) missing(id string) *pairStatus {
	p := &pairStatus{}
	p.Namespace, p.Name, _ = strings.Cut(id, "/")
	f := liveFinding(id, "pair-missing", "there is no such ClusterPair in the cluster", "")
	if s.git != nil {
		p.synced = notInGit
		if committed := s.git.pairs[id]; committed != nil {
			p.synced = notApplied
			f.Message = committed.file + " is not in the cluster"
			f.Hint = "look at what Flux or Argo CD says: flux get kustomizations, argocd app get APP"
		}
	}
	p.drift = []report.Finding{f}
	return p
}

// stallers finds, if a status is empty, the pairs of other namespaces that Stork
// cannot decode: one is enough to stall all.
func (s *statusRun) stallers(ctx context.Context) error {
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
			s.elsewhere[p.ID()] = s.inspected(p, item)
		}
		return nil
	})
	if apierrors.IsForbidden(err) {
		s.findings = append(s.findings, report.Finding{Rule: "pair-stuck", Severity: report.Info,
			Message: "you may not list the ClusterPairs of all namespaces: one of another namespace that Stork cannot decode would stall these, too",
			Hint:    "ask somebody who may: clusterpair status -A"})
		return nil
	}
	return err
}

// judge says of each pair what is wrong with it.
func (s *statusRun) judge() {
	var stalling []string
	for _, p := range slices.AppendSeq(slices.Collect(maps.Values(s.pairs)), maps.Values(s.elsewhere)) {
		if p.Undecodable {
			stalling = append(stalling, p.ID())
		}
	}
	slices.Sort(stalling)
	for _, p := range s.pairs {
		p.judge(s.now, s.within, stalling)
	}
	for _, p := range s.elsewhere {
		p.judge(s.now, s.within, stalling)
	}
}

// patience is how long Stork may take to look at a pair: it does so every ten
// seconds.
const patience = time.Minute

func (p *pairStatus) judge(now time.Time, within time.Duration, stalling []string) {
	p.findings = slices.Concat(p.faults, p.drift)
	named := fmt.Sprintf("-n %s %s", p.Namespace, p.Name)
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
		p.find("pair-stuck", fmt.Sprintf("Stork has not touched it for %s: it does not run, or waits for something else", since), "kubectl get pods -A -l name=stork")
	case p.SchedulerStatus == "":
		p.find("pair-stuck", fmt.Sprintf("Stork has seen it and said nothing for %s: so it does where a kubeconfig cannot be used", since), "clusterpair preflight "+named)
	case !p.Ready():
		message := fmt.Sprintf("storage is %s and scheduler %s, not %s and Ready", cmp.Or(p.StorageStatus, "empty"), p.SchedulerStatus, p.WantsStorage())
		if p.Event != "" {
			message += "; Stork says: " + p.Event
		}
		p.find("pair-not-ready", message, "clusterpair preflight "+named)
	case p.Stale:
		p.find("pair-stale", "the pair was changed on "+p.Changed.UTC().Format(time.RFC3339)+", and Stork has not looked since: Ready says nothing about the credential that is there now", "clusterpair status --recheck "+named)
	}
	p.findings = append(p.findings, p.probed...)
	switch {
	case p.Expires.IsZero():
	case !p.Expires.After(now):
		p.find("credential-expired", "the credential has ended on "+p.Expires.UTC().Format(time.RFC3339), "renew it on the destination and render the pair anew: clusterpair generate")
	case !p.Expires.After(now.Add(within)):
		p.find("credential-expiring", "the credential ends on "+p.Expires.UTC().Format(time.RFC3339), "renew it on the destination and render the pair anew: clusterpair generate")
	}
}

// find adds a breach of a rule.
func (p *pairStatus) find(rule, message, hint string) {
	p.findings = append(p.findings, liveFinding(p.ID(), rule, message, hint))
}

// liveFinding is a breach of a rule by a pair in the cluster.
func liveFinding(id, rule, message, hint string) report.Finding {
	known, _ := report.RuleOf(rule)
	return report.Finding{Rule: rule, Severity: known.Severity, Position: report.Position{File: id}, Object: id, Message: message, Hint: hint}
}

// verdict is the gravest finding in a word.
func (p *pairStatus) verdict() string {
	for _, severity := range []report.Severity{report.Error, report.Warning} {
		for _, f := range p.findings {
			if f.Severity == severity && f.Rule == "credential-drift" {
				return p.synced
			}
			if f.Severity == severity && verdicts[f.Rule] != "" {
				return verdicts[f.Rule]
			}
		}
	}
	return "Ready"
}

var verdicts = map[string]string{
	"pair-missing": "Missing", "pair-not-ready": "NotReady", "pair-stuck": "Stuck", "pair-stale": "Stale",
	"credential-expired": "Expired", "credential-expiring": "Expiring", "still-encrypted": "Encrypted",
	"unauthorized": "Refused", "tls-mismatch": "Unreachable", "unreachable": "Unreachable",
}

// recheck takes Stork's word back of what it calls Ready.
func (s *statusRun) recheck(ctx context.Context) error {
	var ids []string
	err := s.client.Pairs(ctx, s.scope, func(p cluster.Pair, _ []byte) error {
		if (len(s.asked) == 0 || s.asked[p.ID()]) && p.SchedulerStatus == "Ready" {
			ids = append(ids, p.ID())
		}
		return nil
	})
	if err != nil || len(ids) == 0 {
		return liveError(err) // at all others Stork looks by itself
	}
	if !s.options.yes {
		fmt.Fprintf(s.cmd.ErrOrStderr(), "Until Stork has looked, which takes it some seconds, no migration starts over:\n  %s\n", strings.Join(ids, "\n  "))
		if err := confirm(s.cmd, "Take back that they are Ready?"); err != nil {
			return err
		}
	}
	for _, id := range ids {
		namespace, name, _ := strings.Cut(id, "/")
		if err := s.client.Recheck(ctx, namespace, name); err != nil {
			return liveError(err)
		}
	}
	return nil
}

// confirm asks on the terminal, and is an error unless the answer is yes.
func confirm(cmd *cobra.Command, question string) error {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return usageError(withHint(errors.New("there is no terminal to ask on"), "--yes does not ask"))
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(in).ReadString('\n')
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	select {
	case a := <-answer:
		if a == "y" || a == "yes" {
			return nil
		}
		return failed(errors.New("nothing was changed"))
	case <-cmd.Context().Done():
		return cmd.Context().Err()
	}
}

// sorted are the pairs by namespace and name.
func (s *statusRun) sorted() []*pairStatus {
	return slices.SortedFunc(maps.Values(s.pairs), func(a, b *pairStatus) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
}

// show prints what has changed since it was called last.
func (s *statusRun) show() error {
	if s.print == nil {
		s.print = &statusPrinter{w: s.cmd.OutOrStdout(), format: s.options.format, git: s.git != nil, shown: make(map[string]string)}
	}
	return s.print.pairs(s.sorted())
}

// result prints all, and is the verdict.
func (s *statusRun) result() error {
	all := slices.Clone(s.findings)
	for _, p := range s.pairs {
		all = append(all, p.findings...)
	}
	for _, p := range s.elsewhere {
		all = append(all, p.findings...)
	}
	var err error
	switch s.options.format {
	case "json", "yaml":
		if s.options.watch {
			err = s.show()
			break
		}
		report.Sort(all)
		err = writeStatus(s.cmd.OutOrStdout(), s.options.format, s.sorted(), all)
	default:
		if len(s.pairs) == 0 {
			in := " in " + s.scope.Namespace + " namespace"
			if s.scope.Namespace == "" {
				in = ""
			}
			fmt.Fprintf(s.cmd.ErrOrStderr(), "No resources found%s.\n", in)
			if s.options.wait {
				return &exitError{code: exitFindings}
			}
			break
		}
		if err = s.show(); err == nil {
			return printFindings(s.cmd, all)
		}
	}
	if err != nil {
		return failed(err)
	}
	if report.HasErrors(all) || s.options.wait && !s.ready() {
		return &exitError{code: exitFindings}
	}
	return nil
}

// statusPrinter prints rows, each again when it has changed.
type statusPrinter struct {
	w      io.Writer
	format string
	git    bool
	widths []int
	shown  map[string]string
}

func (t *statusPrinter) pairs(pairs []*pairStatus) error {
	var rows [][]string
	for _, p := range pairs {
		row := t.row(p)
		line := strings.Join(row, "\t")
		if t.shown[p.ID()] == line {
			continue
		}
		t.shown[p.ID()] = line
		rows = append(rows, row)
	}
	if len(rows) > 0 && t.widths == nil && (t.format == "table" || t.format == "wide") {
		header := []string{"NAMESPACE", "NAME", "STORAGE-STATUS", "SCHEDULER-STATUS", "CREATED", "EXPIRES", "SYNCED", "VERDICT"}
		rows = slices.Insert(rows, 0, header[:len(rows[0])])
	}
	for _, row := range rows {
		for len(t.widths) < len(row) {
			t.widths = append(t.widths, 0)
		}
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], len(cell))
		}
	}
	w := bufio.NewWriter(t.w)
	for _, row := range rows {
		for i, cell := range row {
			if i == len(row)-1 {
				w.WriteString(cell + "\n")
			} else {
				fmt.Fprintf(w, "%-*s   ", t.widths[i], cell)
			}
		}
	}
	return w.Flush()
}

func (t *statusPrinter) row(p *pairStatus) []string {
	switch t.format {
	case "name":
		return []string{"clusterpair.stork.libopenstorage.org/" + p.Name}
	case "json":
		line, _ := json.Marshal(jsonStatus(p)) // made of texts alone
		return []string{string(line)}
	}
	created, expires := "", ""
	if !p.Created.IsZero() {
		created = p.Created.Local().Format(time.RFC822)
	}
	row := []string{p.Namespace, p.Name, p.StorageStatus, p.SchedulerStatus, created}
	if t.format == "wide" {
		if !p.Expires.IsZero() {
			expires = p.Expires.Local().Format(time.RFC822)
		}
		row = append(row, expires, p.synced, p.verdict())
	}
	return row
}

// statusJSON is a pair for programs: fields may come, but none goes or changes
// its meaning. All are always there; an empty text says that there is nothing
// to say.
type statusJSON struct {
	Namespace       string          `json:"namespace"`
	Name            string          `json:"name"`
	StorageStatus   string          `json:"storageStatus"`
	SchedulerStatus string          `json:"schedulerStatus"`
	Created         string          `json:"created"` // RFC 3339, like expires
	Expires         string          `json:"expires"`
	Synced          string          `json:"synced"`
	Verdict         string          `json:"verdict"`
	Findings        []statusFinding `json:"findings"`
}

type statusFinding struct {
	Rule     string `json:"rule"`
	Severity string `json:"severity"`
	Object   string `json:"object"`
	Path     string `json:"path"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
}

func jsonStatus(p *pairStatus) statusJSON {
	return statusJSON{
		Namespace: p.Namespace, Name: p.Name, StorageStatus: p.StorageStatus, SchedulerStatus: p.SchedulerStatus,
		Created: rfc3339(p.Created), Expires: rfc3339(p.Expires), Synced: p.synced, Verdict: p.verdict(), Findings: jsonFindings(p.findings),
	}
}

func rfc3339(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func jsonFindings(findings []report.Finding) []statusFinding {
	out := make([]statusFinding, len(findings))
	for i, f := range findings {
		out[i] = statusFinding{f.Rule, f.Severity.String(), f.Object, f.Path, f.Message, f.Hint}
	}
	return out
}

// writeStatus writes {ready, items, findings}: all findings, also of pairs that
// were not asked for and stall the others.
func writeStatus(w io.Writer, format string, pairs []*pairStatus, findings []report.Finding) error {
	out := struct {
		Ready    bool            `json:"ready"`
		Items    []statusJSON    `json:"items"`
		Findings []statusFinding `json:"findings"`
	}{!report.HasErrors(findings), make([]statusJSON, len(pairs)), jsonFindings(findings)}
	for i, p := range pairs {
		out.Items[i] = jsonStatus(p)
	}
	var data []byte
	var err error
	if format == "yaml" {
		data, err = sigsyaml.Marshal(out)
	} else if data, err = json.MarshalIndent(out, "", "  "); err == nil {
		data = append(data, '\n')
	}
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// completeNames completes the names of pairs, if the cluster answers at once.
func (o *statusOptions) completeNames(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	client, namespace, err := o.client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []cobra.Completion
	_ = client.Pairs(ctx, cluster.Scope{Namespace: namespace}, func(p cluster.Pair, _ []byte) error { // what there is by then
		if !slices.Contains(args, p.Name) {
			names = append(names, p.Name)
		}
		return nil
	})
	return names, cobra.ShellCompDirectiveNoFileComp
}
