package work

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"clusterpair.dev/internal/defect"
)

// TestEarliestError: whichever fails first by the clock, the error is that of the
// first job that fails.
func TestEarliestError(t *testing.T) {
	for range 20 {
		g := NewGroup(4)
		for i := range 100 {
			more := g.Go("", func() error {
				if i < 2 {
					return nil
				}
				time.Sleep(time.Duration(5-i%4) * time.Millisecond) // the later, the faster
				return fmt.Errorf("job %d", i)
			})
			if !more {
				break
			}
		}
		if err := g.Wait(); err == nil || err.Error() != "job 2" {
			t.Fatalf("the error is %v, want that of job 2", err)
		}
	}
}

// TestAllRun: without an error every job runs, and never more at once than allowed.
func TestAllRun(t *testing.T) {
	var ran, running, most atomic.Int64
	g := NewGroup(3)
	for range 50 {
		g.Go("", func() error {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			time.Sleep(time.Millisecond)
			running.Add(-1)
			ran.Add(1)
			return nil
		})
	}
	if err := g.Wait(); err != nil || ran.Load() != 50 || most.Load() > 3 {
		t.Errorf("%d jobs ran, at most %d at once, error %v", ran.Load(), most.Load(), err)
	}
}

// TestPanic: a panic in a job is an error that names it.
func TestPanic(t *testing.T) {
	g := NewGroup(1)
	g.Go("a.yaml", func() error { panic("x") })
	var d *defect.Error
	if err := g.Wait(); !errors.As(err, &d) || d.What != "a.yaml" {
		t.Errorf("%v", err)
	}
}
