// Command bench measures clusterpair as whole processes beside the floor, the
// least work that must be done, and beside its peers, and says which of the
// promised bars are kept. README.md holds the last table.
//
//	go run -C bench . [-quick] [-n 10000] [-write] [-strict]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"filippo.io/age"
)

// The peers, built by the go command exactly as their own go.mod says.
const (
	sopsModule        = "github.com/getsops/sops/v3/cmd/sops@v3.13.3"
	kustomizeModule   = "sigs.k8s.io/kustomize/kustomize/v5@v5.8.2"
	kubeconformModule = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
	cueModule         = "cuelang.org/go/cmd/cue@v0.17.1"
)

// What is measured for a number of pairs.
const (
	generateFirst = "clusterpair generate, first time"
	generateAgain = "clusterpair generate, nothing changed, key at hand"
	generateNoKey = "clusterpair generate, nothing changed, no key"
	generateCheck = "clusterpair generate --check, no key"
	atFloor       = "floor"
	sopsLibrary   = "library of SOPS, one process"
	sopsCLI       = "sops, a process per file"
)

// generateFirst comes before those that need its files.
var workNames = []string{generateFirst, generateAgain, generateNoKey, generateCheck, atFloor, sopsLibrary, sopsCLI}

// What is measured of the start-up; the first word is the binary.
const (
	ourVersion       = "clusterpair version"
	ourFunction      = "clusterpair <resource-list"
	ourValidate      = "clusterpair validate rendered"
	ourHook          = "clusterpair validate --staged --only plaintext-credential"
	sopsVersion      = "sops --version --disable-version-check"
	kustomizeVersion = "kustomize version"
)

var startUpNames = []string{ourVersion, ourFunction, ourValidate, ourHook, sopsVersion, kustomizeVersion}

const renderedDir = "rendered"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	// Files are written by a process of its own: what this one ever had in
	// memory would count as the peak of every process it starts.
	switch {
	case len(args) == 3 && args[0] == "comment":
		return comment(args[1], args[2])
	case len(args) == 3 && args[0] == "mesh":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return writeMesh(args[1], n)
	case len(args) == 4 && (args[0] == "corpus" || args[0] == "repository"):
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		if args[0] == "repository" {
			return writeRepository(args[1], n, args[3])
		}
		return writeCorpus(args[1], n, args[3])
	}

	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	largest := flags.Int("n", 10000, "largest number of pairs: 1, 100, 1000 and 10000 are measured up to it")
	perFile := flags.Int("sops-files", 100, "largest number of files for sops with a process per file")
	mesh := flags.Int("mesh", 200, "clusters of the largest mesh, in which each is paired with all others; 0 measures none")
	fleet := flags.Bool("fleet", false, "measure the meshes alone")
	quick := flags.Bool("quick", false, "at most 100 pairs and few runs: proves that the bench works, not that the bars are kept")
	write := flags.Bool("write", false, "put the tables into README.md")
	strict := flags.Bool("strict", false, "fail if a bar is missed")
	binary := flags.String("clusterpair", "", "measure this binary instead of building the module above")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *write && *binary != "" {
		return errors.New("-write is for the module above only: leave out -clusterpair")
	}
	if *quick {
		*largest = min(*largest, 100)
		*perFile = min(*perFile, 1)
		*mesh = min(*mesh, 5)
	}

	tmp, err := os.MkdirTemp("", "clusterpair-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	b := &bench{tmp: tmp, perFile: *perFile, quick: *quick}
	if err := b.build(ctx, *binary, !*fleet); err != nil {
		return err
	}
	if err := b.makeKeys(); err != nil {
		return err
	}

	m := &measurements{
		command:      strings.TrimSpace("go run -C bench . " + strings.Join(args, " ")),
		goVersion:    runtime.Version(),
		goos:         runtime.GOOS,
		goarch:       runtime.GOARCH,
		processors:   runtime.NumCPU(),
		peers:        []string{version(sopsModule), version(kustomizeModule), version(kubeconformModule), version(cueModule)},
		perFileLimit: *perFile,
		work:         make(map[int]map[string]result),
		meshes:       make(map[int]map[string]result),
		repositoryOf: 100000,
		decryptedOf:  500,
	}
	tables := map[string]string{}
	kept := true
	table := func(name string, write func(io.Writer) bool) {
		var text strings.Builder
		kept = write(&text) && kept
		tables[name] = text.String()
	}
	if !*fleet {
		if err := b.apart(ctx, m, *largest); err != nil {
			return err
		}
		table("table", m.table)
	}
	for _, n := range []int{min(*mesh, smallMesh), *mesh} {
		if n < 2 || m.meshes[n] != nil {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: a mesh of %d clusters\n", n)
		if m.meshes[n], err = b.meshed(ctx, n); err != nil {
			return fmt.Errorf("a mesh of %d clusters: %w", n, err)
		}
	}
	if len(m.meshes) > 0 {
		table("fleet", m.fleetTable)
	}
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		if _, err := io.WriteString(os.Stdout, tables[name]+"\n"); err != nil {
			return err
		}
		if *write {
			if err := replaceTable("README.md", name, tables[name]); err != nil {
				return err
			}
		}
	}
	if *strict && !kept {
		return errors.New("a bar was missed")
	}
	return nil
}

// apart measures all but the meshes.
func (b *bench) apart(ctx context.Context, m *measurements, largest int) (err error) {
	if err := b.schemas(ctx); err != nil {
		return err
	}
	if m.size, err = b.sizes(); err != nil {
		return err
	}
	for n := 1; n <= min(largest, 10000); n *= 10 {
		if n == 10 {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: n = %s\n", thousands(n))
		m.sizes = append(m.sizes, n)
		if m.work[n], err = b.work(ctx, n); err != nil {
			return fmt.Errorf("n = %s: %w", thousands(n), err)
		}
	}
	if b.quick {
		m.repositoryOf, m.decryptedOf = 1000, 100
	}
	fmt.Fprintf(os.Stderr, "bench: %d pairs for Argo CD\n", m.decryptedOf)
	if m.decrypted, err = b.decrypted(ctx, m.decryptedOf); err != nil {
		return fmt.Errorf("for Argo CD: %w", err)
	}
	fmt.Fprintf(os.Stderr, "bench: a repository of %s files\n", thousands(m.repositoryOf))
	if m.repository, err = b.repository(ctx, m.repositoryOf); err != nil {
		return fmt.Errorf("repository: %w", err)
	}
	fmt.Fprintln(os.Stderr, "bench: the plan and the evaluator")
	if m.evaluated, err = b.evaluate(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: watch")
	if m.watched, err = b.watched(ctx); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: start-up")
	if m.startUp, err = b.startUp(ctx); err != nil {
		return err
	}
	m.ownPeak, err = ownPeak()
	return err
}

// measurements is everything that the table tells.
type measurements struct {
	command, goVersion, goos, goarch string

	processors   int
	peers        []string
	sizes        []int // numbers of pairs, ascending
	perFileLimit int   // largest number of files for sopsCLI
	work         map[int]map[string]result
	meshes       map[int]map[string]result // by number of clusters
	repositoryOf int                       // files
	repository   map[string]result
	decryptedOf  int // pairs
	decrypted    map[string]result
	evaluated    evaluated
	watched      watched
	startUp      map[string]result
	size         map[string]int64 // of the binaries, in bytes
	ownPeak      int64            // of this process, in bytes
}

// largest is the largest measured number of pairs up to limit.
func (m *measurements) largest(limit int) int {
	n := m.sizes[0]
	for _, size := range m.sizes {
		if size <= limit {
			n = size
		}
	}
	return n
}

// sopsPerFile is the CPU time of sops with a process for each of n files,
// extrapolated if n is more than was measured.
func (m *measurements) sopsPerFile(n int) time.Duration {
	from := min(n, m.largest(m.perFileLimit))
	return m.work[from][sopsCLI].cpu * time.Duration(n) / time.Duration(from)
}

// bench holds what all candidates share.
type bench struct {
	tmp        string
	quick      bool
	perFile    int
	recipients string // two, separated by a comma
}

// build makes all binaries the same way: static, stripped, without paths; the peers, if
// they are wanted.
func (b *bench) build(ctx context.Context, clusterpair string, peers bool) error {
	if err := os.Mkdir(b.bin(""), 0o777); err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Join(b.tmp, "home"), 0o777); err != nil {
		return err
	}
	own := []string{"-C", "..", "./cmd/clusterpair"}
	if clusterpair != "" {
		absolute, err := filepath.Abs(clusterpair)
		if err != nil {
			return err
		}
		if err := os.Symlink(absolute, b.bin("clusterpair")); err != nil {
			return err
		}
		own = nil
	}
	all := [][]string{own, {"./floor", "./parse", "./sopslib"}, {sopsModule}, {kustomizeModule}, {kubeconformModule}, {cueModule}}
	if !peers {
		all = all[:2]
	}
	for _, args := range all {
		if len(args) == 0 {
			continue
		}
		fmt.Fprintln(os.Stderr, "bench: building", strings.Join(args, " "))
		command := []string{"install"}
		if args[0] == "-C" {
			command, args = append(command, args[:2]...), args[2:]
		}
		command = append(append(command, "-trimpath", "-ldflags=-s -w"), args...)
		cmd := exec.CommandContext(ctx, "go", command...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOBIN="+b.bin(""))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go %s: %w\n%s", strings.Join(command, " "), err, out)
		}
	}
	return nil
}

// makeKeys makes two age identities; keys.txt holds the first.
func (b *bench) makeKeys() error {
	var recipients []string
	for i := range 2 {
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		recipients = append(recipients, identity.Recipient().String())
		if i == 0 {
			if err := os.WriteFile(b.keyFile(), []byte(identity.String()+"\n"), 0o600); err != nil {
				return err
			}
		}
	}
	b.recipients = strings.Join(recipients, ",")
	return nil
}

// work measures everything that is done to n pairs.
func (b *bench) work(ctx context.Context, n int) (map[string]result, error) {
	dir := filepath.Join(b.tmp, strconv.Itoa(n))
	defer os.RemoveAll(dir)
	if err := b.corpus(ctx, dir, n); err != nil {
		return nil, err
	}
	generate := []string{b.bin("clusterpair"), "generate", "-f", dir}
	rendered := filepath.Join(dir, renderedDir)
	renderedFiles := filepath.Join(rendered, namespace, "*.yaml")
	empty := func(name string) func() error {
		return func() error { return os.RemoveAll(filepath.Join(dir, name)) }
	}
	// Written by the first run of the warm-up and the same ever after.
	var before string
	remember := func([]byte) (err error) {
		before, err = digest(renderedFiles)
		return err
	}
	unchanged := func([]byte) error {
		after, err := digest(renderedFiles)
		if err == nil && after != before {
			err = errors.New("files changed although nothing else did")
		}
		return err
	}
	noKey, key := b.env(), append(b.env(), "SOPS_AGE_KEY_FILE="+b.keyFile())
	candidates := []candidate{
		{name: generateFirst, prepare: empty(renderedDir), commands: [][]string{generate}, env: noKey,
			check: all(filesIn(renderedFiles, n), b.decryptable(ctx, renderedFiles), remember)},
		{name: generateAgain, commands: [][]string{generate}, env: key, check: unchanged},
		{name: generateNoKey, commands: [][]string{generate}, env: noKey, check: unchanged},
		{name: generateCheck, commands: [][]string{append(generate, "--check")}, env: noKey, check: unchanged},
		{name: atFloor, prepare: empty("floor"), commands: [][]string{{b.bin("floor"), secretsDir, "floor", "clusterpair.yaml"}}, env: noKey,
			check: filesIn(filepath.Join(dir, "floor", "*.yaml"), n)},
		{name: sopsLibrary, prepare: empty("sopslib"), commands: [][]string{{b.bin("sopslib"), pairsDir, "sopslib", b.recipients}}, env: noKey,
			check: all(filesIn(filepath.Join(dir, "sopslib", "*.yaml"), n), b.decryptable(ctx, filepath.Join(dir, "sopslib", "*.yaml")))},
	}
	if n <= b.perFile {
		perFile := candidate{name: sopsCLI, prepare: func() error {
			return errors.Join(empty("sops")(), os.Mkdir(filepath.Join(dir, "sops"), 0o777))
		}, env: noKey, check: filesIn(filepath.Join(dir, "sops", "*.yaml"), n)}
		files, err := os.ReadDir(filepath.Join(dir, pairsDir))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			perFile.commands = append(perFile.commands, []string{b.bin("sops"), "--mac-only-encrypted", "encrypt", "--age", b.recipients,
				"--encrypted-regex", "^(config|token)$",
				"--output", filepath.Join("sops", file.Name()), filepath.Join(pairsDir, file.Name())})
		}
		candidates = append(candidates, perFile)
	}
	for i := range candidates {
		candidates[i].dir = dir
	}
	results, err := measure(ctx, candidates, b.runs(n))
	if err != nil {
		return nil, err
	}
	validated, err := b.validate(ctx, dir, n)
	if err != nil {
		return nil, err
	}
	maps.Copy(results, validated)
	return results, nil
}

// startUp measures what a process costs that does next to nothing.
func (b *bench) startUp(ctx context.Context) (map[string]result, error) {
	dir := filepath.Join(b.tmp, "start-up")
	staged := filepath.Join(b.tmp, "staged") // what the hook looks at
	for _, dir := range []string{dir, staged} {
		if err := b.rendered(ctx, dir, 1); err != nil {
			return nil, err
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", renderedDir}} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Dir, cmd.Env = staged, b.env()
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
	}
	candidates := []candidate{
		{name: ourVersion, commands: [][]string{{b.bin("clusterpair"), "version"}}},
		{name: ourFunction, commands: [][]string{{b.bin("clusterpair")}}, stdin: resourceList(b.recipients), check: contains("ENC[AES256_GCM,")},
		{name: ourValidate, commands: [][]string{{b.bin("clusterpair"), "validate", renderedDir}}, check: contains(" 1 ClusterPair")},
		{name: ourHook, commands: [][]string{strings.Fields(b.bin(ourHook))}, check: contains(" 1 ClusterPair in 1 file")},
		{name: sopsVersion, commands: [][]string{{b.bin("sops"), "--version", "--disable-version-check"}}, check: contains("3.13.3")},
		{name: kustomizeVersion, commands: [][]string{{b.bin("kustomize"), "version"}}, check: contains("5.8.2")},
	}
	for i := range candidates {
		candidates[i].dir, candidates[i].env = dir, b.env()
		if candidates[i].name == ourHook {
			candidates[i].dir = staged
		}
	}
	return measure(ctx, candidates, b.runs(0))
}

// runs is how many runs are counted: fewer of what takes longer.
func (b *bench) runs(n int) int {
	switch {
	case n == 0 || n == 1:
		return 21
	case b.quick:
		return 3
	case n <= 100:
		return 11
	case n <= 1000:
		return 7
	}
	return 3
}

func (b *bench) corpus(ctx context.Context, dir string, n int) error {
	return b.self(ctx, "corpus", dir, strconv.Itoa(n), b.recipients)
}

// rendered makes a corpus with its encrypted ClusterPairs.
func (b *bench) rendered(ctx context.Context, dir string, n int) error {
	if err := b.corpus(ctx, dir, n); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, b.bin("clusterpair"), "generate", "-f", dir)
	cmd.Env = b.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return nil
}

// self runs this program once more, to write files.
func (b *bench) self(ctx context.Context, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, self, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	return nil
}

// decryptable is a check that sops decrypts the first of the files that
// pattern matches, MAC included.
func (b *bench) decryptable(ctx context.Context, pattern string) func([]byte) error {
	return func([]byte) error {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return err
		}
		cmd := exec.CommandContext(ctx, b.bin("sops"), "decrypt", files[0])
		cmd.Env = append(b.env(), "SOPS_AGE_KEY_FILE="+b.keyFile())
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("sops cannot decrypt %s: %w", filepath.Base(files[0]), err)
		}
		return contains("client-key-data: ")(out)
	}
}

// env is an environment without keys and without the user's configuration.
func (b *bench) env() []string {
	return []string{"HOME=" + filepath.Join(b.tmp, "home"), "PATH=" + os.Getenv("PATH")}
}

func (b *bench) sizes() (map[string]int64, error) {
	sizes := make(map[string]int64)
	for _, name := range []string{"clusterpair", "sops", "kustomize"} {
		info, err := os.Stat(b.bin(name))
		if err != nil {
			return nil, err
		}
		sizes[name] = info.Size()
	}
	return sizes, nil
}

func (b *bench) bin(name string) string { return filepath.Join(b.tmp, "bin", name) }

func (b *bench) schema(name string) string { return filepath.Join(b.tmp, name) }

func (b *bench) keyFile() string { return filepath.Join(b.tmp, "keys.txt") }

// version turns a module's path and version into what people call it.
func version(module string) string {
	name, version, _ := strings.Cut(module, "@v")
	return path.Base(strings.TrimSuffix(name, "/v5")) + " " + version
}
