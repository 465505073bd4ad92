package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

// What is measured of validating a number of pairs.
const (
	validateRendered  = "clusterpair validate"
	validateCommented = "clusterpair validate, a comment in each file"
	validatePlain     = "clusterpair validate --plaintext"
	atParseFloor      = "floor: read and parse"
	commentedFloor    = "floor: read and parse, a comment in each file"
	kubeconformHand   = "kubeconform -strict, a schema by hand"
	kubeconformOurs   = "kubeconform -strict, our schema"
	cueVet            = "cue vet -c, our schema"
)

var validateNames = []string{validateRendered, validateCommented, validatePlain, atParseFloor, commentedFloor, kubeconformHand, kubeconformOurs, cueVet}

// vetLimit is the largest number of files for cue vet, which keeps them all in memory.
const vetLimit = 1000

// What is measured of a repository that hardly concerns clusterpair.
const (
	validateRepository = "clusterpair validate"
	readRepository     = "floor: find and read"
)

const commentedDir = "commented"

// handSchema is what one would write down without clusterpair: a small schema,
// with which kubeconform is at its fastest.
//
//go:embed encrypted.schema.json
var handSchema []byte

// schemas writes what the peers validate by.
func (b *bench) schemas(ctx context.Context) error {
	if err := os.WriteFile(b.schema("hand.json"), handSchema, 0o666); err != nil {
		return err
	}
	for name, args := range map[string][]string{"ours.json": {"-o", "jsonschema", "Encrypted"}, "ours.cue": {"-o", "cue"}} {
		cmd := exec.CommandContext(ctx, b.bin("clusterpair"), append([]string{"schema"}, args...)...)
		cmd.Env = b.env()
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w", cmd, err)
		}
		if err := os.WriteFile(b.schema(name), out, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// validate measures everything that validates the n pairs which work has
// rendered into the corpus of dir.
func (b *bench) validate(ctx context.Context, dir string, n int) (map[string]result, error) {
	if err := b.self(ctx, "comment", filepath.Join(dir, renderedDir, namespace), filepath.Join(dir, commentedDir)); err != nil {
		return nil, err
	}
	ours := func(args ...string) []string { return append([]string{b.bin("clusterpair"), "validate"}, args...) }
	kubeconform := func(schema string) []string {
		return []string{b.bin("kubeconform"), "-strict", "-summary", "-schema-location", b.schema(schema), renderedDir}
	}
	pairs, valid := contains(fmt.Sprintf(" %d ClusterPair", n)), contains(fmt.Sprintf(" Valid: %d, Invalid: 0, Errors: 0, Skipped: 0", n))
	candidates := []candidate{
		{name: validateRendered, commands: [][]string{ours(renderedDir)}, check: pairs},
		{name: validateCommented, commands: [][]string{ours(commentedDir)}, check: pairs},
		{name: validatePlain, commands: [][]string{ours("--plaintext", pairsDir)}, check: pairs},
		{name: kubeconformHand, commands: [][]string{kubeconform("hand.json")}, check: valid},
		{name: kubeconformOurs, commands: [][]string{kubeconform("ours.json")}, check: valid},
	}
	if n <= vetLimit {
		vet := []string{b.bin("cue"), "vet", "-c", b.schema("ours.cue"), "-d", "#Encrypted"}
		files, err := filepath.Glob(filepath.Join(dir, commentedDir, "*.yaml"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			vet = append(vet, filepath.Join(renderedDir, namespace, filepath.Base(file)))
		}
		candidates = append(candidates, candidate{name: cueVet, commands: [][]string{vet}})
	}
	for i := range candidates {
		candidates[i].dir, candidates[i].env = dir, b.env()
	}
	if err := b.refused(ctx, dir, candidates); err != nil {
		return nil, err
	}
	for name, sub := range map[string]string{atParseFloor: renderedDir, commentedFloor: commentedDir} {
		candidates = append(candidates, candidate{name: name, commands: [][]string{{b.bin("parse"), sub}}, dir: dir, env: b.env(),
			check: contains(fmt.Sprintf("%d documents in %d files", n, n))})
	}
	return measure(ctx, candidates, b.runs(n))
}

// refused makes sure that every candidate finds one unknown field in the first
// of the files: otherwise it would not do the work that is measured.
func (b *bench) refused(ctx context.Context, dir string, candidates []candidate) error {
	type saved struct {
		file string
		data []byte
	}
	var all []saved
	for _, sub := range []string{filepath.Join(renderedDir, namespace), commentedDir, pairsDir} {
		file := filepath.Join(dir, sub, "dr-00000.yaml")
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(bytes.Clone(data), "unknown: field\n"...), 0o600); err != nil {
			return err
		}
		all = append(all, saved{file, data})
	}
	for _, c := range candidates {
		_, _, err := c.run(ctx)
		if exit := (*exec.ExitError)(nil); err == nil {
			return fmt.Errorf("%s: an unknown field is not refused", c.name)
		} else if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	for _, s := range all {
		if err := os.WriteFile(s.file, s.data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// comment copies files and puts a comment in front of each: with it a file is
// no longer of the plain kind that tools write.
func comment(from, to string) error {
	if err := os.Mkdir(to, 0o777); err != nil {
		return err
	}
	return eachFile(from, func(name string, data []byte) error {
		return os.WriteFile(filepath.Join(to, name), append([]byte("# Asked for by the platform team.\n"), data...), 0o600)
	})
}

func eachFile(dir string, visit func(name string, data []byte) error) error {
	return fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		return visit(filepath.Base(name), data)
	})
}

// mattering is how many files of the repository are ClusterPairs.
const mattering = 10

// repository measures a repository of n files of which ten matter.
func (b *bench) repository(ctx context.Context, n int) (map[string]result, error) {
	dir := filepath.Join(b.tmp, "repository")
	defer os.RemoveAll(dir)
	corpus := filepath.Join(dir, "corpus")
	if err := b.rendered(ctx, corpus, mattering); err != nil {
		return nil, err
	}
	work := filepath.Join(dir, "work")
	if err := b.self(ctx, "repository", work, strconv.Itoa(n), filepath.Join(corpus, renderedDir)); err != nil {
		return nil, err
	}
	return measure(ctx, []candidate{
		{name: validateRepository, commands: [][]string{{b.bin("clusterpair"), "validate", "."}}, dir: work, env: b.env(),
			check: contains(fmt.Sprintf(" %d ClusterPairs", mattering))},
		{name: readRepository, commands: [][]string{{b.bin("parse"), "-read", "."}}, dir: work, env: b.env(), check: contains("documents in")},
	}, 3)
}

// perDirectory is how many files a directory of the repository has.
const perDirectory = 100

// writeRepository writes n files: one in a hundred is a kustomization, of the
// others half are no YAML, and of the rest nine in ten are Deployments and one
// is an ExternalSecret, which takes a closer look. Ten directories have one of
// the pairs in place of a Deployment.
func writeRepository(dir string, n int, pairs string) error {
	var rendered [][]byte
	if err := eachFile(pairs, func(_ string, data []byte) error {
		rendered = append(rendered, data)
		return nil
	}); err != nil {
		return err
	}
	directories := n / perDirectory
	if directories*perDirectory != n || directories < len(rendered) {
		return fmt.Errorf("%d is no number of files for %d pairs", n, len(rendered))
	}
	for i := range directories {
		sub := filepath.Join(dir, fmt.Sprintf("team-%02d", i%50), fmt.Sprintf("app-%04d", i))
		if err := os.MkdirAll(sub, 0o777); err != nil {
			return err
		}
		var kustomization bytes.Buffer
		kustomization.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n")
		for k := 1; k < perDirectory; k++ {
			name, data := fmt.Sprintf("handler_%02d.go", k), []byte(source)
			switch {
			case k%20 == 0:
				name, data = fmt.Sprintf("secret-%02d.yaml", k), fmt.Appendf(nil, externalSecret, i, k)
			case k%2 == 0:
				name, data = fmt.Sprintf("deployment-%02d.yaml", k), fmt.Appendf(nil, deployment, i, k)
			}
			// The pairs stand far from each other.
			if every := directories / len(rendered); k == 50 && i%every == 0 && i/every < len(rendered) {
				name, data = "pair.yaml", rendered[i/every]
			}
			if filepath.Ext(name) == ".yaml" {
				fmt.Fprintf(&kustomization, "- %s\n", name)
			}
			if err := os.WriteFile(filepath.Join(sub, name), data, 0o666); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(sub, "kustomization.yaml"), kustomization.Bytes(), 0o666); err != nil {
			return err
		}
	}
	return nil
}

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: app-%[1]d-%[2]d
  labels:
    app.kubernetes.io/name: app-%[1]d
    app.kubernetes.io/component: worker-%[2]d
spec:
  replicas: 3
  selector:
    matchLabels:
      app.kubernetes.io/name: app-%[1]d
      app.kubernetes.io/component: worker-%[2]d
  template:
    metadata:
      labels:
        app.kubernetes.io/name: app-%[1]d
        app.kubernetes.io/component: worker-%[2]d
    spec:
      serviceAccountName: app-%[1]d
      securityContext:
        runAsNonRoot: true
        seccompProfile:
          type: RuntimeDefault
      containers:
      - name: worker
        image: registry.example.com/app-%[1]d/worker:1.4.2
        args: ["--queue=worker-%[2]d", "--log-format=json"]
        env:
        - name: QUEUE_URL
          valueFrom:
            secretKeyRef:
              name: app-%[1]d-queue
              key: url
        ports:
        - name: metrics
          containerPort: 9090
        readinessProbe:
          httpGet:
            path: /ready
            port: metrics
        resources:
          requests:
            cpu: 100m
            memory: 128Mi
          limits:
            memory: 256Mi
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities:
            drop: ["ALL"]
`

const externalSecret = `apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: app-%[1]d-%[2]d
spec:
  refreshInterval: 1h0m0s
  secretStoreRef:
    kind: ClusterSecretStore
    name: platform
  target:
    name: app-%[1]d-queue
  data:
  - secretKey: url
    remoteRef:
      key: apps/%[1]d/queue
      property: url
`

const source = "// Package handler answers requests.\npackage handler\n"

// evaluated is what deciding one document costs, by a benchmark of package
// schema.
type evaluated map[string]time.Duration

// The benchmarks, whose documents are the same.
const (
	planFirst = "First"
	planEach  = "Validate/#ClusterPair"
	cueFirst  = "CUECompile"
	cueEach   = "CUE"
)

// evaluate runs the benchmarks of package schema of the module above.
func (b *bench) evaluate(ctx context.Context) (evaluated, error) {
	args := []string{"test", "-C", "..", "-run", "^$", "-bench", "^Benchmark(First|Validate|CUE|CUECompile)$", "./schema"}
	if b.quick {
		args = append(args, "-benchtime", "20x")
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return parseBenchmarks(out)
}

var benchmarkLine = regexp.MustCompile(`(?m)^Benchmark(\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op`)

func parseBenchmarks(out []byte) (evaluated, error) {
	e := make(evaluated)
	for _, match := range benchmarkLine.FindAllSubmatch(out, -1) {
		ns, err := strconv.ParseFloat(string(match[2]), 64)
		if err != nil {
			return nil, err
		}
		e[string(match[1])] = time.Duration(ns)
	}
	for _, name := range []string{planFirst, planEach, cueFirst, cueEach} {
		if e[name] == 0 {
			return nil, fmt.Errorf("package schema has no benchmark %s, only %q", name, slices.Sorted(maps.Keys(e)))
		}
	}
	return e, nil
}
