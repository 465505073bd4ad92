// Package rotation tells how far the rotation of a credential has come.
//
// [Find] finds the destinations whose credentials clusterpair makes, [View.Look] asks the
// clusters, and [Judge] tells the [Step] of each. Nothing is remembered between two runs:
// the tokens of the destination, the Secret, the committed pairs and the live pairs say
// it all, so that a killed run is resumed by running it again. What is unknown counts as
// not synced. No credential is kept.
package rotation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

// Step is how far a rotation has come.
type Step string

// The steps, in order.
const (
	// Idle: the destination has one token of the file, all pairs hold it, and it is not due.
	Idle Step = "idle"
	// Due: the token ends soon, has ended or is gone; a new one is to be made.
	Due Step = "due"
	// Stale: the Secret holds a newer token than a pair of the work tree.
	Stale Step = "stale"
	// Rendered: the pairs of the work tree hold the new token, those of HEAD or of the
	// upstream branch do not.
	Rendered Step = "rendered"
	// Syncing: not each source cluster is known to have the new token.
	Syncing Step = "syncing"
	// Draining: all have it, and a Migration that began before is under way.
	Draining Step = "draining"
	// Proven: nothing needs the old token any more.
	Proven Step = "proven"
	// Unknown: the destination does not answer, or is another cluster.
	Unknown Step = "unknown"
)

// Facts are what is known of the credential of a destination.
type Facts struct {
	Now time.Time
	// Namespace is that of the service account, Present the Secret on the destination with
	// which the token lives that the file holds, Before those of the tokens that it held
	// before.
	Namespace, Present string
	Before             []string
	// Ends is when the present token ends; zero for never.
	Ends time.Time
	// Tokens are those of the account that are there.
	Tokens []cluster.TokenSecret
	// Maker is what tokens say that were made for this file in this work tree, and Makers
	// what those say that were made for it anywhere begin with.
	Maker, Makers string
	// Kept tells whether any branch of the repository names a Secret of a token; nil if
	// there are none.
	Kept func(secret string) bool
	// Own is the file of the Secret, and Holders are what holds a credential in the
	// repository.
	Own     string
	Holders []holders.Holder
	// Source is the source cluster of a pair.
	Source func(holders.Holder) string
	// Live are the source clusters that were asked, by name.
	Live map[string]*Live
	// AssumeSynced are source clusters that cannot be asked, and that somebody says have
	// synced.
	AssumeSynced []string
}

// Live is what a source cluster says.
type Live struct {
	Err     error // why it says nothing
	Pairs   []cluster.Pair
	Running []cluster.Migration
}

// Waiting is a pair that is not known to have the new token, or a Migration that may use
// the old one.
type Waiting struct {
	Source string
	Object string // as in "ClusterPair apps/west"; empty for all of the source
	Reason string
	// Known tells that it is so; otherwise nothing is known.
	Known bool
}

func (w Waiting) String() string {
	text := w.Source
	if w.Object != "" {
		text += ": " + w.Object
	}
	return text + ": " + w.Reason
}

// State is how far the rotation of one credential has come.
type State struct {
	Step Step
	// Reason says why the step is not further.
	Reason string
	// Sources is how many source clusters have a pair with the credential, Synced how many
	// of them have the present token in each.
	Sources, Synced int
	// Waiting is what has to happen before the old tokens may end.
	Waiting []Waiting
	// Old are the tokens that the file held before and that are still there.
	Old []cluster.TokenSecret
	// Orphans are tokens that a killed run has left in this work tree: no file and no
	// branch holds them.
	Orphans []cluster.TokenSecret
	// Elsewhere are tokens of the same Secret that nothing here holds. Somebody may have
	// them in a work tree or a branch of another machine.
	Elsewhere []cluster.TokenSecret
}

// Judge tells how far a rotation has come.
func Judge(f *Facts) *State {
	j := &judge{Facts: f, State: new(State), present: f.id(f.Present), mine: make(map[string]bool)}
	j.tokens()
	j.pairs()
	j.step()
	return j.State
}

// judge is one [Judge] on its way.
type judge struct {
	*Facts
	*State
	present string          // id of the present token
	mine    map[string]bool // ids of the tokens that the file held, the present one among them
	alive   *cluster.TokenSecret
	stale   []holders.Holder // hold an earlier token
}

func (f *Facts) id(secret string) string { return kubeconfig.TokenSecretID(f.Namespace, secret) }

// tokens sorts the tokens of the account.
func (j *judge) tokens() {
	for _, name := range append([]string{j.Present}, j.Before...) {
		j.mine[j.id(name)] = true
	}
	for i := range j.Tokens {
		t := &j.Tokens[i]
		switch {
		case t.Name == j.Present:
			j.alive = t
		case j.mine[j.id(t.Name)]:
			j.Old = append(j.Old, *t)
		case t.Maker == "" || !strings.HasPrefix(t.Maker, j.Makers) || j.held(j.id(t.Name)):
		case t.Maker == j.Maker && (j.Kept == nil || !j.Kept(t.Name)): // the caller keeps other runs in this work tree out
			j.Orphans = append(j.Orphans, *t)
		default:
			j.Elsewhere = append(j.Elsewhere, *t)
		}
	}
}

// held tells whether anything of the repository holds a credential.
func (j *judge) held(id string) bool {
	return slices.ContainsFunc(j.Holders, func(h holders.Holder) bool { return slices.Contains(h.IDs, id) })
}

// holds tells whether something holds a token of the file, and whether that is an earlier
// one.
func (j *judge) holds(ids []string) (any, earlier bool) {
	for _, id := range ids {
		if j.mine[id] {
			any, earlier = true, earlier || id != j.present
		}
	}
	return any, earlier
}

// pairs holds what is committed against what is live.
func (j *judge) pairs() {
	expected := make(map[string]map[string]bool) // by source, NAMESPACE/NAME
	for _, h := range j.Holders {
		any, earlier := j.holds(h.IDs)
		if !any || h.File == j.Own && h.Commit == "" {
			continue
		}
		if earlier {
			j.stale = append(j.stale, h)
		}
		id, isPair := strings.CutPrefix(h.Object, "ClusterPair ")
		if !isPair {
			continue
		}
		source := j.Source(h)
		if expected[source] == nil {
			expected[source] = make(map[string]bool)
		}
		expected[source][id] = true
	}
	for source, live := range j.Live { // a pair that Git no longer has
		for _, p := range live.Pairs {
			if _, earlier := j.holds(strings.Split(p.Credential, ",")); earlier {
				if expected[source] == nil {
					expected[source] = make(map[string]bool)
				}
				expected[source][p.ID()] = true
			}
		}
	}
	j.Sources = len(expected)
	for source, ids := range expected {
		before := len(j.Waiting)
		j.source(source, ids)
		if len(j.Waiting) == before {
			j.Synced++
		}
	}
	slices.SortFunc(j.Waiting, func(a, b Waiting) int { return strings.Compare(a.String(), b.String()) })
}

// source holds the pairs of a source cluster against those that it is to have.
func (j *judge) source(name string, ids map[string]bool) {
	wait := func(object, reason string) { j.Waiting = append(j.Waiting, Waiting{name, object, reason, true}) }
	unknown := func(object, reason string) { j.Waiting = append(j.Waiting, Waiting{name, object, reason, false}) }
	live := j.Live[name]
	switch {
	case slices.Contains(j.AssumeSynced, name):
		return
	case live == nil:
		unknown("", "no kubeconfig context leads there")
		return
	case live.Err != nil:
		unknown("", live.Err.Error())
		return
	}
	found := make(map[string]*cluster.Pair)
	for i := range live.Pairs {
		found[live.Pairs[i].ID()] = &live.Pairs[i]
	}
	for id := range ids {
		switch p := found[id]; {
		case p == nil:
			wait("ClusterPair "+id, "not there yet")
		case p.Credential == "":
			unknown("ClusterPair "+id, "nothing tells which credential it holds")
		case !slices.Contains(strings.Split(p.Credential, ","), j.present):
			wait("ClusterPair "+id, "holds an earlier credential")
		default:
			for _, m := range live.Running {
				if (m.Pair == p.Name && m.Namespace == p.Namespace || m.AdminPair == p.Name) && m.Created.Before(p.Changed) {
					wait("Migration "+m.ID(), "began before, and has not finished")
				}
			}
		}
	}
}

// step is what the facts come to.
func (j *judge) step() {
	at := func(s Step, format string, args ...any) { j.Step, j.Reason = s, fmt.Sprintf(format, args...) }
	drains := func(w Waiting) bool { return strings.HasPrefix(w.Object, "Migration ") }
	uncommitted := slices.DeleteFunc(slices.Clone(j.stale), func(h holders.Holder) bool { return h.Commit == "" })
	blocked := slices.DeleteFunc(slices.Clone(j.Waiting), drains)
	switch {
	case j.alive == nil:
		at(Due, "the token that the file holds is gone from the destination")
	case len(uncommitted) < len(j.stale):
		i := slices.IndexFunc(j.stale, func(h holders.Holder) bool { return h.Commit == "" })
		at(Stale, "%s holds an earlier credential", report.FileName(j.stale[i].File))
	case len(uncommitted) > 0:
		h := uncommitted[0]
		at(Rendered, "%s has %s with an earlier credential", h.Commit, report.FileName(h.File))
	case len(blocked) > 0 && len(j.Old) > 0:
		at(Syncing, "%s", blocked[0])
	case len(j.Waiting) > 0 && len(j.Old) > 0:
		at(Draining, "%s", j.Waiting[0])
	case len(j.Old) > 0:
		at(Proven, "nothing needs %s any more", report.Count(len(j.Old), "earlier token", "earlier tokens"))
	case j.due():
		at(Due, "the token ends on %s", j.Ends.UTC().Format("2006-01-02 15:04 MST"))
	case slices.ContainsFunc(blocked, func(w Waiting) bool { return w.Known }):
		at(Syncing, "%s", blocked[slices.IndexFunc(blocked, func(w Waiting) bool { return w.Known })])
	default:
		j.Step = Idle
	}
}

// due tells whether a fifth of the life of the present token is left, or less.
func (j *judge) due() bool {
	if j.Ends.IsZero() {
		return false
	}
	return !j.Now.Before(j.Ends.Add(-j.Ends.Sub(j.alive.Created) / 5))
}
