package pace

import (
	"math"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

// TestLimit: a limit gives way to a run that keeps more than it allows, and ends with
// the run.
func TestLimit(t *testing.T) {
	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	before := debug.SetMemoryLimit(-1)
	const limit, kept = 16 << 20, 64 << 20
	r := Steady(1<<20, 50, limit)
	collect := func(until func(limit int64) bool) int64 {
		now := debug.SetMemoryLimit(-1)
		for range 500 {
			if now = debug.SetMemoryLimit(-1); until(now) {
				break
			}
			runtime.GC()
			time.Sleep(10 * time.Millisecond) // clean-ups run beside us
		}
		return now
	}
	if now := collect(func(now int64) bool { return now != before }); now < limit || now > kept {
		t.Errorf("the limit of a small run is %d", now)
	}
	memory := make([]byte, kept)
	for i := range memory {
		memory[i] = 1
	}
	if now := collect(func(now int64) bool { return now > kept }); now <= kept || now == math.MaxInt64 {
		t.Errorf("the limit of a run that keeps %d is %d", kept, now)
	}
	runtime.KeepAlive(memory)
	r.End()
	if now := debug.SetMemoryLimit(-1); now != before {
		t.Errorf("the limit after the run is %d, and was %d", now, before)
	}
}

func TestRoom(t *testing.T) {
	for _, kept := range []int64{0, 10 << 20, 1 << 30} {
		if room := room(kept); room <= kept || room > kept+kept/4+16<<20 {
			t.Errorf("%d for a run that keeps %d", room, kept)
		}
	}
}
