package kustomize

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// runsVariable names the file in which functions run by a build leave their
// names, pathVariable holds the PATH that they get back: gpg is found by it.
const (
	runsVariable = "CLUSTERPAIR_BUILD_RUNS"
	pathVariable = "CLUSTERPAIR_BUILD_PATH"
)

// process is this process while kustomize runs in it. kustomize finds the programs that
// it starts by the environment, and fetches by the default HTTP transport: there is no
// way to hand it others.
type process struct {
	scratch   string            // an empty directory, but for the file of runs
	before    map[string]string // the environment that was changed, as far as it was set
	transport http.RoundTripper // the default one
}

// building holds a value while a build runs.
var building = make(chan struct{}, 1)

// enter changes the process for kustomize, whose files and answers pass the guard. It
// waits for a build that runs, unless the context ends. The caller leaves.
func enter(ctx context.Context, g *guard) (*process, error) {
	select {
	case building <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	scratch, err := os.MkdirTemp("", "clusterpair-build-")
	if err != nil {
		<-building
		return nil, err
	}
	p := &process{scratch: scratch, before: make(map[string]string), transport: http.DefaultTransport}
	// An empty plugin home keeps legacy plugins from running, and an empty PATH
	// docker, git, helm and whatever else kustomize starts by name.
	for name, value := range map[string]string{runsVariable: p.runs(), pathVariable: os.Getenv("PATH"), "PATH": scratch, "KUSTOMIZE_PLUGIN_HOME": scratch} {
		if was, set := os.LookupEnv(name); set {
			p.before[name] = was
		}
		os.Setenv(name, value) // neither can be refused: the one is constant, the other was accepted before
	}
	http.DefaultTransport = &guardedTransport{guard: g, next: p.transport}
	return p, nil
}

// leave puts the process back as it was before.
func (p *process) leave() {
	http.DefaultTransport = p.transport
	for _, name := range []string{runsVariable, pathVariable, "PATH", "KUSTOMIZE_PLUGIN_HOME"} {
		if was, set := p.before[name]; set {
			os.Setenv(name, was)
		} else {
			os.Unsetenv(name)
		}
	}
	os.RemoveAll(p.scratch)
	<-building
}

// outside does something with the PATH of before: gpg and the plugins of age are
// found by it. kustomize starts nothing while it reads a file, which it does one by one.
func (p *process) outside(do func()) {
	os.Setenv("PATH", p.before["PATH"])
	defer os.Setenv("PATH", p.scratch)
	do()
}

// runs is the file in which functions leave their names.
func (p *process) runs() string { return filepath.Join(p.scratch, "runs") }

// ran is how many times each function was run, by kind/name.
func (p *process) ran() (map[string]int, error) {
	names, err := os.ReadFile(p.runs())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	times := make(map[string]int)
	for name := range strings.SplitSeq(string(names), "\n") {
		times[name]++
	}
	return times, nil
}

// MarkRun leaves the name of a function config for the build that runs it, and takes
// the PATH back. Where no build runs this program it does nothing.
func MarkRun(kind, name string) {
	path := os.Getenv(runsVariable)
	if path == "" {
		return
	}
	os.Setenv("PATH", os.Getenv(pathVariable)) // a constant name cannot fail
	if f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		fmt.Fprintf(f, "%s/%s\n", kind, name)
		f.Close() // if this is lost, build says that the function was not run
	}
}
