// Package pace sets how hard the garbage collector works.
//
// Import it for its effect before other packages: they allocate more than the
// 4 MiB at which it would run for the first time, and most runs of clusterpair
// end before a collection pays. Go initialises packages in the order of their
// paths as soon as all that they import is ready, so that this one, which
// imports next to nothing, comes before the libraries.
// https://go.dev/ref/spec#Program_initialization
//
// A run that may be long calls [Steady].
package pace

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

func init() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}

// Run is the pace of one run.
type Run struct {
	mu            sync.Mutex
	ended, lifted bool
	limit         int64 // as it is now, if there is one
	undo          func()
}

// Steady sets the pace for a run that allocates much and keeps little, if the
// run turns out to be long: when the collector has run for the first time.
//
// The ballast, in bytes, is never touched and so costs no memory; it moves the
// collector's goal up, which would otherwise run all the time. The low
// percentage keeps the goal from growing with what a large run does keep. With
// a limit, in bytes, the collector works harder rather than to fall behind where
// other processes starve it; 0 is no limit. The limit gives way to what a run
// keeps, or the collector would work all the time. What GOGC and GOMEMLIMIT say in
// the environment stands.
func Steady(ballast, percent int, limit int64) *Run {
	r := &Run{undo: func() {}}
	if os.Getenv("GOGC") != "" {
		return r
	}
	if os.Getenv("GOMEMLIMIT") != "" {
		limit = 0
	}
	runtime.AddCleanup(new([64]byte), func(r *Run) { r.begin(ballast, percent, limit) }, r)
	return r
}

func (r *Run) begin(ballast, percent int, limit int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	weight := make([]byte, ballast)
	before, limitBefore := debug.SetGCPercent(percent), debug.SetMemoryLimit(-1)
	if limit > 0 && !r.lifted {
		debug.SetMemoryLimit(limit)
		r.limit = limit
		r.watch()
	}
	r.undo = func() {
		runtime.KeepAlive(weight)
		debug.SetGCPercent(before)
		debug.SetMemoryLimit(limitBefore)
	}
}

// watch lets the limit give way, now and after each collection.
func (r *Run) watch() {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	if need := room(int64(sample[0].Value.Uint64())); need > r.limit {
		r.limit = need
		debug.SetMemoryLimit(need)
	}
	runtime.AddCleanup(new([64]byte), func(r *Run) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if !r.ended && !r.lifted {
			r.watch()
		}
	}, r)
}

// room is the limit that a run needs which keeps so many bytes: a quarter of it more, in
// which to work between two collections, and what is no heap.
func room(kept int64) int64 {
	const others = 6 << 20
	return kept + kept/4 + others
}

// Lift takes the limit off, for a run that does keep much.
func (r *Run) Lift() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lifted && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(math.MaxInt64)
	}
	r.lifted = true
}

// End goes back to the pace of before.
func (r *Run) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	r.undo()
}
