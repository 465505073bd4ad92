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
	tasks   chan task
	limit   int
	workers int // each does one job after the other, so that its stack grows once
	jobs    sync.WaitGroup

	mu     sync.Mutex
	begun  int
	failed int // the number of the job that err is of, from 1
	err    error
}

type task struct {
	number int
	what   string
	job    func() error
}

// NewGroup returns a Group that runs at most limit jobs at once.
func NewGroup(limit int) *Group {
	limit = max(limit, 1)
	// Some jobs wait in the channel, so that workers do not wait for the caller between short jobs.
	const waiting = 16
	return &Group{tasks: make(chan task, waiting*limit), limit: limit}
}

// Go runs a job, as soon as there is room. It is false, and runs nothing, if a job
// has failed. It is for one goroutine to call. what names the job in the error of
// a panic.
func (g *Group) Go(what string, job func() error) bool {
	g.mu.Lock()
	stop := g.err != nil
	g.begun++
	t := task{g.begun, what, job}
	g.mu.Unlock()
	if stop {
		return false
	}
	if g.workers == g.limit {
		g.tasks <- t
		return true
	}
	g.workers++
	g.jobs.Go(func() {
		for more := true; more; t, more = <-g.tasks {
			if g.wants(t) {
				g.end(t, defect.Safely(t.what, t.job))
			}
		}
	})
	return true
}

// wants tells whether a job is to begin.
func (g *Group) wants(t task) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err == nil || t.number < g.failed
}

func (g *Group) end(t task, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && (g.err == nil || t.number < g.failed) {
		g.failed, g.err = t.number, err
	}
}

// Wait waits for all jobs. No other is run afterwards.
func (g *Group) Wait() error {
	close(g.tasks)
	g.jobs.Wait()
	return g.err
}
