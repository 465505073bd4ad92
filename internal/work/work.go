// Package work runs jobs side by side.
//
// Make a [Group], give it each job with [Group.Go], and ask [Group.Wait] for the first
// error. The outcome does not depend on which of the jobs is faster.
package work

import (
	"sync"

	"clusterpair.dev/internal/defect"
)

// Group runs jobs in goroutines. Its error is that of the earliest job that fails:
// jobs that were begun before that one are seen to their end, later ones need not
// begin. A panic in a job is its error, a [defect.Error].
type Group struct {
	slots chan struct{}
	jobs  sync.WaitGroup

	mu     sync.Mutex
	begun  int
	failed int // the number of the job that err is of, from 1
	err    error
}

// NewGroup returns a Group that runs at most limit jobs at once.
func NewGroup(limit int) *Group { return &Group{slots: make(chan struct{}, max(limit, 1))} }

// Go runs a job, as soon as there is room. It is false, and runs nothing, if a job
// has failed. It is for one goroutine to call. what names the job in the error of
// a panic.
func (g *Group) Go(what string, job func() error) bool {
	g.slots <- struct{}{}
	g.mu.Lock()
	stop := g.err != nil
	g.begun++
	number := g.begun
	g.mu.Unlock()
	if stop {
		<-g.slots
		return false
	}
	g.jobs.Go(func() {
		defer func() { <-g.slots }()
		if err := defect.Safely(what, job); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.err == nil || number < g.failed {
				g.failed, g.err = number, err
			}
		}
	})
	return true
}

// Wait waits for all jobs.
func (g *Group) Wait() error {
	g.jobs.Wait()
	return g.err
}
