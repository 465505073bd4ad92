package watch

import (
	"context"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
)

// teller tells of each pair whose truth changes, in the log and as an Event. It finds out
// from the cluster what an earlier process has told.
type teller struct {
	client    *cluster.Client
	log       *slog.Logger
	events    bool
	namespace string
	timeout   time.Duration // of what is written about one pair

	once sync.Once
	mu   sync.Mutex
	said map[string]map[string]time.Time // when, by the pair's NAMESPACE/NAME/UID and the reason
}

// again is how long an Event of what still holds stays as it is: an API server keeps Events
// for an hour.
const again = 30 * time.Minute

// works is the reason of the Event that ends all others.
const works = "Works"

// remember reads once what was told before.
func (t *teller) remember(ctx context.Context) {
	t.once.Do(func() {
		t.said = make(map[string]map[string]time.Time)
		if !t.events {
			return
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		fine := make(map[string]time.Time)
		err := t.client.Told(ctx, t.namespace, func(e cluster.Event) {
			key := e.Namespace + "/" + e.Name + "/" + e.UID
			if e.Reason == works {
				fine[key] = e.At
				return
			}
			if t.said[key] == nil {
				t.said[key] = make(map[string]time.Time)
			}
			t.said[key][e.Reason] = e.At
		})
		if err != nil {
			t.log.Warn("earlier Events cannot be read", "error", err.Error())
		}
		for key, at := range fine {
			for reason, said := range t.said[key] {
				if at.After(said) {
					delete(t.said[key], reason)
				}
			}
		}
	})
}

// forget drops what was told of pairs that are gone.
func (t *teller) forget(there map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	maps.DeleteFunc(t.said, func(key string, _ map[string]time.Time) bool { return !there[key] })
}

// tell tells what is new about a pair.
func (t *teller) tell(ctx context.Context, is *truth) {
	key := is.pair.ID() + "/" + is.pair.UID
	now := time.Now()
	holds := make(map[string]time.Time)
	var events []cluster.Event
	t.mu.Lock()
	before := t.said[key]
	for _, f := range is.broken {
		if f.Severity != report.Error && f.Catalogued().Verdict == "" {
			continue
		}
		reason := reasonOf(f.Rule)
		at, known := before[reason]
		if !known {
			t.log.Warn("pair", "namespace", is.pair.Namespace, "name", is.pair.Name, "rule", f.Rule, "severity", f.Severity.String(), "message", f.Message, "stork", storkSays(is))
		}
		if !known || now.Sub(at) > again {
			events, at = append(events, is.event(reason, note(is, f), now)), now
		}
		holds[reason] = at
	}
	if len(holds) == 0 && len(before) > 0 {
		t.log.Info("pair", "namespace", is.pair.Namespace, "name", is.pair.Name, "message", "works again", "stork", storkSays(is))
		e := is.event(works, "the destination takes the credential again; Stork says "+storkSays(is), now)
		e.Warning = false
		events = append(events, e)
	}
	t.said[key] = holds
	t.mu.Unlock()
	if !t.events {
		return
	}
	within, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	for _, e := range events {
		if err := t.client.Tell(within, e); err != nil && ctx.Err() == nil {
			t.log.Warn("an Event cannot be written", "namespace", e.Namespace, "name", e.Name, "reason", e.Reason, "error", err.Error())
			t.mu.Lock()
			if e.Reason == works { // the next round tells it
				t.said[key] = before
			} else {
				delete(t.said[key], e.Reason)
			}
			t.mu.Unlock()
		}
	}
}

// event is a warning about the pair.
func (is *truth) event(reason, note string, at time.Time) cluster.Event {
	return cluster.Event{Namespace: is.pair.Namespace, Name: is.pair.Name, UID: is.pair.UID, Reason: reason, Note: note, Warning: true, At: at}
}

// note says what is wrong, and what Stork makes of it.
func note(is *truth, f report.Finding) string {
	return f.Message + " [" + f.Rule + "]; Stork says " + storkSays(is)
}

// storkSays is the status that Stork shows.
func storkSays(is *truth) string {
	if is.pair.SchedulerStatus == "" {
		return "nothing"
	}
	return report.Printable(is.pair.SchedulerStatus)
}

// reasonOf is a rule as the reason of an Event: credential-expired is CredentialExpired.
func reasonOf(rule string) string {
	var b strings.Builder
	for word := range strings.SplitSeq(rule, "-") {
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
