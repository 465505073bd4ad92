package mask

import (
	"bytes"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/rogpeppe/go-internal/diff"

	"clusterpair.dev/internal/report"
)

// Diffs collects the differences of files, their secrets masked. The zero value is empty;
// several goroutines may add to it.
type Diffs struct {
	mu    sync.Mutex
	diffs map[string][]byte
}

// Add takes in a file before and after; nil means that there is none.
func (d *Diffs) Add(path string, before, after []byte) {
	if bytes.Equal(before, after) {
		return
	}
	text := []byte(report.Lines(string(diff.Diff("a/"+report.Printable(path), Text(before), "b/"+report.Printable(path), Text(after)))))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.diffs == nil {
		d.diffs = make(map[string][]byte)
	}
	d.diffs[path] = text
}

// Write writes them sorted by file.
func (d *Diffs) Write(w io.Writer) error {
	for _, path := range slices.Sorted(maps.Keys(d.diffs)) {
		if _, err := w.Write(d.diffs[path]); err != nil {
			return err
		}
	}
	return nil
}
