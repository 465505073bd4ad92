package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"time"
)

// watched is what watch takes for 1,000 pairs to 200 destinations.
type watched struct {
	peak  float64       // MiB
	cpu   time.Duration // a round
	share float64       // of a core at the usual interval, in percent
}

// watched runs the test of package watch in the module above, which has the API servers.
func (b *bench) watched(ctx context.Context) (w watched, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-C", "..", "-count", "1", "-v", "-run", "^TestThousand$", "./internal/watch")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return w, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return parseWatched(out)
}

var watchedLine = regexp.MustCompile(`: ([\d.]+) MiB at most, (\S+) of CPU a round: ([\d.]+) % of a core`)

func parseWatched(out []byte) (w watched, err error) {
	match := watchedLine.FindSubmatch(out)
	if match == nil {
		return w, fmt.Errorf("package watch does not tell what a thousand pairs take:\n%s", out)
	}
	var errs [3]error
	w.peak, errs[0] = strconv.ParseFloat(string(match[1]), 64)
	w.cpu, errs[1] = time.ParseDuration(string(match[2]))
	w.share, errs[2] = strconv.ParseFloat(string(match[3]), 64)
	return w, errors.Join(errs[:]...)
}
