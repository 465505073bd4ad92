package rotation

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/holders"
)

var (
	now  = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	hour = time.Hour
)

// token is one of the account, so old.
func token(name string, age time.Duration, maker string) cluster.TokenSecret {
	return cluster.TokenSecret{Name: name, Created: now.Add(-age), Maker: maker}
}

// pair is a committed pair with a credential.
func pair(config, commit, secret string) holders.Holder {
	h := holders.Holder{File: config + ".yaml", Commit: commit, Object: "ClusterPair apps/west", Config: config}
	if secret != "" {
		h.IDs = []string{"secret:dr/" + secret}
	}
	return h
}

// live is a source cluster whose pair has a credential since an hour.
func live(secret string, running ...cluster.Migration) *Live {
	p := cluster.Pair{Namespace: "apps", Name: "west", Changed: now.Add(-hour)}
	if secret != "" {
		p.Credential = "secret:dr/" + secret
	}
	return &Live{Pairs: []cluster.Pair{p}, Running: running}
}

func TestJudge(t *testing.T) {
	migration := func(age time.Duration) cluster.Migration {
		return cluster.Migration{Namespace: "apps", Name: "nightly", Pair: "west", Created: now.Add(-age)}
	}
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		want   string // the step, and the reason behind a colon
	}{
		{"all have the token", func(f *Facts) {}, "idle"},
		{"a fifth of its life is left", func(f *Facts) { f.Ends = now.Add(20 * hour) }, "due: the token ends on 2026-12-01 08:00 UTC"},
		{"a little more is left", func(f *Facts) { f.Ends = now.Add(21 * hour) }, "idle"},
		{"it has ended", func(f *Facts) { f.Ends = now.Add(-hour) }, "due: the token ends on 2026-11-30 11:00 UTC"},
		{"it is gone", func(f *Facts) { f.Tokens = nil }, "due: the token that the file holds is gone from the destination"},
		{"the pair was not rendered again", func(f *Facts) { rotated(f); f.Holders = []holders.Holder{pair("east", "", "old")} }, "stale: east.yaml holds an earlier credential"},
		{"nor committed", func(f *Facts) { rotated(f); f.Holders = append(f.Holders, pair("east", "HEAD", "old")) }, "rendered: HEAD has east.yaml with an earlier credential"},
		{"nor pushed", func(f *Facts) { rotated(f); f.Holders = append(f.Holders, pair("east", "@{upstream}", "old")) }, "rendered: @{upstream} has east.yaml with an earlier credential"},
		{"the Secret is not committed", func(f *Facts) {
			rotated(f)
			f.Holders = append(f.Holders, holders.Holder{File: "secret.yaml", Commit: "HEAD", Object: "Secret west", IDs: []string{"secret:dr/old"}})
		}, "rendered: HEAD has secret.yaml with an earlier credential"},
		{"not synced", func(f *Facts) { rotated(f); f.Live["east"] = live("old") }, "syncing: east: ClusterPair apps/west: holds an earlier credential"},
		{"not there", func(f *Facts) { rotated(f); f.Live["east"] = new(Live) }, "syncing: east: ClusterPair apps/west: not there yet"},
		{"what it holds cannot be named", func(f *Facts) { rotated(f); f.Live["east"] = live("") }, "syncing: east: ClusterPair apps/west: nothing tells which credential it holds"},
		{"the source does not answer", func(f *Facts) { rotated(f); f.Live["east"] = &Live{Err: errors.New("no answer")} }, "syncing: east: no answer"},
		{"it does not answer, and nothing is to end", func(f *Facts) { f.Live["east"] = &Live{Err: errors.New("no answer")} }, "idle"},
		{"it cannot be asked", func(f *Facts) { rotated(f); f.Live = nil }, "syncing: east: no kubeconfig context leads there"},
		{"somebody says that it has synced", func(f *Facts) { rotated(f); f.Live = nil; f.AssumeSynced = []string{"east"} }, "proven: nothing needs 1 earlier token any more"},
		{"another source has not", func(f *Facts) {
			rotated(f)
			f.Holders = append(f.Holders, pair("north", "", "new"))
			f.AssumeSynced = []string{"east"}
		}, "syncing: north: no kubeconfig context leads there"},
		{"a live pair that Git no longer has", func(f *Facts) {
			rotated(f)
			f.Live["east"].Pairs = append(f.Live["east"].Pairs, cluster.Pair{Namespace: "apps", Name: "left", Credential: "secret:dr/old"})
		}, "syncing: east: ClusterPair apps/left: holds an earlier credential"},
		{"a live pair holds a token that is gone", func(f *Facts) { f.Before = []string{"old"}; f.Live["east"] = live("old") }, "syncing: east: ClusterPair apps/west: holds an earlier credential"},
		{"a Migration began before", func(f *Facts) { rotated(f); f.Live["east"] = live("new", migration(2*hour)) }, "draining: east: Migration apps/nightly: began before, and has not finished"},
		{"a Migration of the admin namespace", func(f *Facts) {
			rotated(f)
			f.Live["east"] = live("new", cluster.Migration{Namespace: "shop", Name: "nightly", AdminPair: "west", Created: now.Add(-2 * hour)})
		}, "draining: east: Migration shop/nightly: began before, and has not finished"},
		{"a Migration began after", func(f *Facts) { rotated(f); f.Live["east"] = live("new", migration(time.Minute)) }, "proven: nothing needs 1 earlier token any more"},
		{"a Migration by another pair", func(f *Facts) {
			rotated(f)
			f.Live["east"] = live("new", cluster.Migration{Namespace: "apps", Pair: "south", Created: now.Add(-2 * hour)})
		}, "proven: nothing needs 1 earlier token any more"},
		{"proven", rotated, "proven: nothing needs 1 earlier token any more"},
		{"the old token has been ended", func(f *Facts) { rotated(f); f.Tokens = f.Tokens[1:] }, "idle"},
		{"a token of another file", func(f *Facts) { f.Tokens = append(f.Tokens, token("other", hour, "")) }, "idle"},
		{"no pair is rendered from it", func(f *Facts) { f.Holders = nil }, "idle"},
	} {
		f := &Facts{
			Now: now, Namespace: "dr", Present: "new", Own: "secret.yaml", Maker: "west.1", Makers: "west.",
			Tokens: []cluster.TokenSecret{token("new", 80*hour, "west.1")}, Holders: []holders.Holder{pair("east", "", "new")},
			Source: func(h holders.Holder) string { return h.Config }, Live: map[string]*Live{"east": live("new")},
		}
		tt.change(f)
		s := Judge(f)
		got := string(s.Step)
		if s.Reason != "" {
			got += ": " + s.Reason
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// rotated is after a new token was made.
func rotated(f *Facts) {
	f.Before = []string{"old"}
	f.Tokens = []cluster.TokenSecret{token("old", 90*hour, ""), token("new", 2*hour, "west.1")}
}

// TestOrphans: a token is taken for what a killed run has left only if it was made for this
// file in this work tree, and neither a file nor a branch holds it.
func TestOrphans(t *testing.T) {
	for _, tt := range []struct {
		name              string
		token             cluster.TokenSecret
		held              string // a file holds it, as of a commit
		kept              bool   // another branch holds it
		orphan, elsewhere bool
	}{
		{name: "of this work tree", token: token("lost", time.Second, "west.1"), orphan: true},
		{name: "of this work tree, on another branch", token: token("lost", hour, "west.1"), kept: true, elsewhere: true},
		{name: "of another work tree, just made", token: token("lost", time.Minute, "west.2"), elsewhere: true},
		{name: "of another work tree, made long ago", token: token("lost", 1000*hour, "west.2"), elsewhere: true},
		{name: "of another file", token: token("lost", hour, "east.1")},
		{name: "by hand", token: token("lost", hour, "")},
		{name: "in HEAD", token: token("lost", hour, "west.1"), held: "HEAD"},
		{name: "in the upstream branch", token: token("lost", hour, "west.2"), held: "@{upstream}"},
	} {
		f := &Facts{Now: now, Namespace: "dr", Present: "new", Maker: "west.1", Makers: "west.", Source: func(holders.Holder) string { return "east" },
			Tokens: []cluster.TokenSecret{token("new", hour, "west.1"), tt.token}, Kept: func(string) bool { return tt.kept }}
		if tt.held != "" {
			f.Holders = []holders.Holder{pair("east", tt.held, "lost")}
		}
		s := Judge(f)
		if (len(s.Orphans) > 0) != tt.orphan || (len(s.Elsewhere) > 0) != tt.elsewhere {
			t.Errorf("%s: orphans %v, elsewhere %v", tt.name, s.Orphans, s.Elsewhere)
		}
	}
}

// FuzzJudge: no token may end that a pair holds, or may hold.
func FuzzJudge(f *testing.F) {
	f.Add(uint64(0), uint8(2))
	f.Add(^uint64(0), uint8(5))
	f.Fuzz(func(t *testing.T, bits uint64, sources uint8) {
		flip := func() bool { b := bits&1 == 1; bits = bits>>1 | bits<<63; return b }
		pick := func() string { return map[bool]string{true: "old", false: "new"}[flip()] }
		facts := &Facts{Now: now, Namespace: "dr", Present: "new", Before: []string{"old"}, Source: func(h holders.Holder) string { return h.Config },
			Tokens: []cluster.TokenSecret{token("old", 3*hour, ""), token("new", 2*hour, "")}, Live: make(map[string]*Live)}
		needed := false
		for i := range sources % 8 {
			name := string(rune('a' + i))
			committed, head := pick(), pick()
			facts.Holders = append(facts.Holders, pair(name, "", committed), pair(name, "HEAD", head))
			needed = needed || committed == "old" || head == "old"
			switch {
			case flip():
				needed = true // not asked
			case flip():
				facts.Live[name], needed = &Live{Err: errors.New("no answer")}, true
			case flip():
				facts.Live[name], needed = live(""), true
			default:
				holds := pick()
				facts.Live[name] = live(holds)
				needed = needed || holds == "old"
			}
		}
		s := Judge(facts)
		if s.Step == Proven && needed {
			t.Errorf("proven, though something may hold the old token: %+v", facts.Holders)
		}
		if s.Step != Proven && !needed {
			t.Errorf("%s: %s, though nothing holds the old token", s.Step, s.Reason)
		}
		if !slices.IsSortedFunc(s.Waiting, func(a, b Waiting) int { return strings.Compare(a.String(), b.String()) }) {
			t.Errorf("the order is by chance: %v", s.Waiting)
		}
	})
}
