package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// candidate is one thing to measure: one or more processes, run one after the
// other.
type candidate struct {
	name string
	// prepare, if set, makes the starting point before each run, unmeasured.
	prepare func() error
	// commands says what to run. All start in dir with env and stdin.
	commands   [][]string
	dir, stdin string
	env        []string
	// check, if set, is called after the warm-up with what was printed to
	// stdout and tells whether the work was done at all.
	check func(stdout []byte) error
}

// sample is what one run of a candidate took. peak is in bytes, of the
// largest process; printed is how much it printed to stdout.
type sample struct {
	cpu, wall     time.Duration
	peak, printed int64
}

// result is a measured candidate. cpu, wall and peak are medians; busy is the
// highest ratio of CPU to wall time of any run.
type result struct {
	sample
	runs int
	busy float64
}

// measure runs every candidate once as a warm-up and then runs times,
// interleaved, so that whatever else the machine does hits all alike.
func measure(ctx context.Context, candidates []candidate, runs int) (map[string]result, error) {
	samples := make(map[string][]sample, len(candidates))
	for round := range runs + 1 {
		for _, c := range candidates {
			if c.prepare != nil {
				if err := c.prepare(); err != nil {
					return nil, fmt.Errorf("%s: %w", c.name, err)
				}
			}
			s, stdout, err := c.run(ctx)
			if err == nil && round == 0 && c.check != nil {
				err = c.check(stdout)
			}
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			if round > 0 {
				samples[c.name] = append(samples[c.name], s)
			}
		}
	}
	results := make(map[string]result, len(candidates))
	for name, all := range samples {
		results[name] = summarise(all)
	}
	return results, nil
}

func (c candidate) run(ctx context.Context) (sample, []byte, error) {
	var total sample
	var stdout, stderr last
	for _, args := range c.commands {
		stdout, stderr = last{}, last{}
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Env = c.dir, c.env
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.stdin), &stdout, &stderr
		start := time.Now()
		if err := cmd.Run(); err != nil {
			return sample{}, nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, stderr.text)
		}
		total.wall += time.Since(start)
		total.printed += stdout.printed
		state := cmd.ProcessState
		total.cpu += state.UserTime() + state.SystemTime()
		// Linux counts in KiB, and a process never less than what its parent had
		// at its start: this program stays small for that reason.
		total.peak = max(total.peak, state.SysUsage().(*syscall.Rusage).Maxrss*1024)
	}
	return total, stdout.text, nil
}

func summarise(samples []sample) result {
	r := result{runs: len(samples)}
	var cpu, wall []time.Duration
	var peak, printed []int64
	for _, s := range samples {
		cpu, wall, peak, printed = append(cpu, s.cpu), append(wall, s.wall), append(peak, s.peak), append(printed, s.printed)
		r.busy = max(r.busy, s.cpu.Seconds()/s.wall.Seconds())
	}
	r.cpu, r.wall, r.peak, r.printed = median(cpu), median(wall), median(peak), median(printed)
	return r
}

func median[T ~int64](values []T) T {
	slices.Sort(values)
	middle := len(values) / 2
	if len(values)%2 == 1 {
		return values[middle]
	}
	return (values[middle-1] + values[middle]) / 2
}

// ownPeak is the most memory that this process ever had, in bytes. It is not
// asked from getrusage, which counts what go run had before it.
func ownPeak() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "\nVmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("/proc/self/status: VmHWM: %w", err)
	}
	return kib * 1024, nil
}

// filesIn is a check that pattern matches n files, none of them empty.
func filesIn(pattern string, n int) func([]byte) error {
	return func([]byte) error {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		if len(files) != n {
			return fmt.Errorf("wrote %d files, want %d", len(files), n)
		}
		for _, file := range files {
			info, err := os.Stat(file)
			if err != nil {
				return err
			}
			if info.Size() == 0 {
				return fmt.Errorf("wrote an empty %s", filepath.Base(file))
			}
		}
		return nil
	}
}

// digest is one checksum over the files that pattern matches.
func digest(pattern string) (string, error) {
	files, err := filepath.Glob(pattern)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	buf := make([]byte, 32<<10)
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return "", err
		}
		// Without its WriteTo a file is copied through buf, see ownPeak.
		_, err = io.CopyBuffer(sum, struct{ io.Reader }{f}, buf)
		f.Close()
		if err != nil {
			return "", err
		}
	}
	return string(sum.Sum(nil)), nil
}

// contains is a check that stdout has a text.
func contains(text string) func([]byte) error {
	return func(stdout []byte) error {
		if !bytes.Contains(stdout, []byte(text)) {
			return fmt.Errorf("no %q in its output", text)
		}
		return nil
	}
}

// lines is a check that stdout has n lines that begin with a text. No more of it is kept
// than its end, so that n is small or all of it is short.
func lines(n int, begin string) func([]byte) error {
	return func(stdout []byte) error {
		found := 0
		for line := range bytes.Lines(stdout) {
			if bytes.HasPrefix(line, []byte(begin)) {
				found++
			}
		}
		if found != n {
			return fmt.Errorf("%d lines %q, want %d", found, begin, n)
		}
		return nil
	}
}

// all is a check that every one of checks passes.
func all(checks ...func([]byte) error) func([]byte) error {
	return func(stdout []byte) error {
		var errs []error
		for _, check := range checks {
			errs = append(errs, check(stdout))
		}
		return errors.Join(errs...)
	}
}

// last keeps the end of what a process prints, so that ten thousand warnings
// do not make this process large.
type last struct {
	text    []byte
	printed int64 // all of it
}

func (l *last) Write(p []byte) (int, error) {
	const limit = 16 << 10
	l.printed += int64(len(p))
	l.text = append(l.text, p...)
	if over := len(l.text) - limit; over > 0 {
		l.text = append(l.text[:0], l.text[over:]...)
	}
	return len(p), nil
}
