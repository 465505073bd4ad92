package live

import (
	"cmp"
	"context"
	"slices"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
)

// Waiting says for how long pairs are looked at.
type Waiting struct {
	// Wait goes on until every pair works, and Watch until the context ends.
	Wait, Watch bool
	// Recheck makes Stork look again first, and goes with Wait. Yes does not ask before.
	Recheck, Yes bool
	// Timeout ends Wait or Watch; zero is five minutes for Wait alone.
	Timeout time.Duration
}

// Await takes in the pairs, for as long as w says; with Watch it prints what changes. The
// end of Timeout is no error, nor is that of ctx while it watches pairs.
func (s *Status) Await(ctx context.Context, w Waiting, talk report.Talk, printer *Printer) error {
	whole, cancel := ctx, context.CancelFunc(func() {})
	if w.Timeout > 0 || w.Wait && !w.Watch {
		ctx, cancel = context.WithTimeout(ctx, cmp.Or(w.Timeout, 5*time.Minute))
	}
	defer cancel()
	if w.Recheck {
		err := s.Recheck(ctx, func(ids []string) error {
			if w.Yes {
				return nil
			}
			report.Say(talk.Err, "Until Stork has looked, which takes it some seconds, no migration starts over:\n")
			for _, id := range ids {
				report.Say(talk.Err, "  %s\n", id)
			}
			return talk.Confirm("Take back that they are Ready?")
		})
		if err != nil {
			return err
		}
	}
	if !w.Wait && !w.Watch {
		return s.Look(ctx)
	}
	changed := printer.Pairs
	if !w.Watch {
		changed = nil
	}
	err := s.Follow(ctx, w.Wait, changed)
	switch {
	case ctx.Err() != nil && whole.Err() == nil: // Timeout
		return nil
	case ctx.Err() != nil && w.Watch && len(s.Pairs()) > 0: // Ctrl-C is the usual end
		return nil
	}
	return err
}

// Names are those of the pairs of a namespace, but for some, as far as the cluster tells
// them before ctx ends.
func Names(ctx context.Context, client *cluster.Client, namespace string, but []string) []string {
	var names []string
	_ = client.Pairs(ctx, cluster.Scope{Namespace: namespace}, func(p cluster.Pair, _ []byte) error { // what there is by then
		if !slices.Contains(but, p.Name) {
			names = append(names, p.Name)
		}
		return nil
	})
	return names
}
