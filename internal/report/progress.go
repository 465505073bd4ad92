package report

import (
	"io"
	"sync"
	"time"

	"golang.org/x/term"
)

// Progress shows on a terminal how far a long run is.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer // nil if it is no terminal
	what  string
	start time.Time
	last  time.Time
	done  int
	shown bool
}

// NewProgress begins to count the pairs of a run.
func NewProgress(w io.Writer, what string) *Progress {
	p := &Progress{what: what, start: time.Now()}
	if f := FileOf(w); f != nil && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

// Count adds a pair, and shows the count of a run that has taken more than a
// second, ten times a second at most.
func (p *Progress) Count() {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	now := time.Now()
	if now.Sub(p.start) < time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	Say(p.w, "\r%s: pair %d", p.what, p.done)
}

// Clear clears the line.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		Say(p.w, "\r\033[K")
	}
}
