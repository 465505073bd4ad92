package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"filippo.io/age"
)

// A mesh is a repository in which each of a number of clusters is paired with all
// others by a fleet, so that n clusters have n*(n-1) pairs:
//
//	fleet.yaml                   the ClusterPairFleet
//	secrets/NAME.yaml            a Secret for each cluster as destination
//	.sops.yaml                   a creation rule for each source, its own key and that
//	                             of recovery, and one for the Secrets, that of CI and
//	                             of recovery
//	ci.txt                       the private key of CI, which opens the Secrets alone
const (
	meshFile   = "fleet.yaml"
	meshDir    = "clusters"
	meshKey    = "ci.txt"
	meshOutput = "pairs"
)

// What is measured of a mesh.
const (
	meshFirst    = "clusterpair generate, first time"
	meshAgain    = "clusterpair generate, nothing changed, key of CI"
	meshOne      = "clusterpair generate, one Secret changed, key of CI"
	meshCheck    = "clusterpair generate --check, no key"
	meshValidate = "clusterpair validate"
	meshDoctor   = "clusterpair doctor"
	meshExpiring = "clusterpair expiring"
	meshGraph    = "clusterpair graph -o html"
	meshReport   = "clusterpair report"
	meshFloor    = "floor of as many pairs"
)

var meshNames = []string{meshFirst, meshAgain, meshOne, meshCheck, meshValidate, meshDoctor, meshExpiring, meshGraph, meshReport, meshFloor}

// smallMesh is the number of clusters of the mesh that is always measured, beside its
// floor.
const smallMesh = 40

// meshPairs is the number of pairs of a mesh of n clusters.
func meshPairs(n int) int { return n * (n - 1) }

// meshName is the name of a cluster.
func meshName(i int) string { return fmt.Sprintf("c%03d", i) }

// writeMesh writes a mesh of n clusters into dir, with its Secrets in clear.
func writeMesh(dir string, n int) error {
	if err := os.MkdirAll(filepath.Join(dir, secretsDir), 0o777); err != nil {
		return err
	}
	var recipients []string
	for i := range n + 2 { // CI, recovery, and each source
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			return err
		}
		recipients = append(recipients, identity.Recipient().String())
		if i == 0 {
			if err := os.WriteFile(filepath.Join(dir, meshKey), []byte(identity.String()+"\n"), 0o600); err != nil {
				return err
			}
		}
	}
	ci, recovery := recipients[0], recipients[1]
	var rules strings.Builder
	fmt.Fprintf(&rules, "creation_rules:\n- path_regex: ^%s/\n  age: %s,%s\n", secretsDir, ci, recovery)
	for i := range n {
		name := meshName(i)
		fmt.Fprintf(&rules, "- path_regex: ^%s/%s/\n  age: %s,%s\n", meshDir, name, recipients[i+2], recovery)
	}
	if err := os.WriteFile(filepath.Join(dir, meshFile), []byte(meshFleet()), 0o666); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, ".sops.yaml"), []byte(rules.String()), 0o666); err != nil {
		return err
	}
	return eachDestination(n, meshName, func(d destination) error {
		return os.WriteFile(filepath.Join(dir, secretsDir, d.name+".yaml"), []byte(d.secret()), 0o600)
	})
}

// meshFleet pairs each cluster with all others.
func meshFleet() string {
	return fmt.Sprintf(`apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairFleet
metadata: {name: mesh}
spec:
  storkVersion: "24.3"
  namespace: %s
  files: [%s]
  directory: %s/${from}/%s
  clusters:
  - secrets: {matchLabels: {role: dr}}
  pairs:
  - {from: {role: dr}, to: {role: dr}}
`, namespace, secretsDir, meshDir, meshOutput)
}

// mesh makes a mesh of n clusters with encrypted Secrets, in a Git work tree.
func (b *bench) mesh(ctx context.Context, dir string, n int) error {
	if err := b.self(ctx, "mesh", dir, fmt.Sprint(n)); err != nil {
		return err
	}
	commands := [][]string{{"git", "init", "-q"}}
	for i := range n {
		commands = append(commands, []string{b.bin("clusterpair"), "encrypt", "-i", filepath.Join(secretsDir, meshName(i)+".yaml")})
	}
	for _, args := range commands {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, b.env()
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", cmd, err, out)
		}
	}
	return nil
}

// value is the kubeconfig in a Secret.
var value = regexp.MustCompile(`(?m)^  value: (\S+)$`)

// change gives a cluster another address in its Secret.
func (b *bench) change(ctx context.Context, dir, name string) error {
	file := filepath.Join(secretsDir, name+".yaml")
	run := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, b.bin("clusterpair"), args...)
		cmd.Dir, cmd.Env = dir, append(b.env(), "SOPS_AGE_KEY_FILE="+filepath.Join(dir, meshKey))
		return cmd.Output()
	}
	plain, err := run("decrypt", file)
	if err != nil {
		return err
	}
	m := value.FindSubmatch(plain)
	if m == nil {
		return fmt.Errorf("%s holds no kubeconfig", file)
	}
	text, err := base64.StdEncoding.DecodeString(string(m[1]))
	if err != nil {
		return err
	}
	text = bytes.Replace(text, []byte("server: https://"), []byte("server: https://x"), 1)
	changed := bytes.Replace(plain, m[1], []byte(base64.StdEncoding.EncodeToString(text)), 1)
	if err := os.WriteFile(filepath.Join(dir, file), changed, 0o600); err != nil {
		return err
	}
	_, err = run("encrypt", "-i", file)
	return err
}

// meshed measures a mesh of n clusters; its floor only if it is small.
func (b *bench) meshed(ctx context.Context, n int) (map[string]result, error) {
	dir := filepath.Join(b.tmp, "mesh")
	defer os.RemoveAll(dir)
	if err := b.mesh(ctx, dir, n); err != nil {
		return nil, err
	}
	ours := func(args ...string) [][]string { return [][]string{append([]string{b.bin("clusterpair")}, args...)} }
	rendered := filepath.Join(dir, meshDir, "*", meshOutput, namespace, "*.yaml")
	clear := func() error {
		outputs, err := filepath.Glob(filepath.Join(dir, meshDir, "*", meshOutput))
		for _, output := range outputs {
			err = errors.Join(err, os.RemoveAll(output))
		}
		return err
	}
	var before string
	remember := func([]byte) (err error) {
		before, err = digest(rendered)
		return err
	}
	unchanged := func([]byte) error {
		after, err := digest(rendered)
		if err == nil && after != before {
			err = errors.New("files changed although nothing else did")
		}
		return err
	}
	pairs := meshPairs(n)
	candidates := []candidate{
		{name: meshFirst, prepare: clear, commands: ours("generate"), check: all(filesIn(rendered, pairs), remember)},
		{name: meshAgain, commands: ours("generate"), check: unchanged},
		{name: meshOne, prepare: func() error { return b.change(ctx, dir, meshName(0)) }, commands: ours("generate"), check: lines(n-1, "changed ")},
		{name: meshCheck, commands: ours("generate", "--check")}, // fails if a pair is not fresh
		{name: meshValidate, commands: ours("validate", "."), check: contains(fmt.Sprintf(" %d ClusterPairs", pairs))},
		{name: meshDoctor, commands: ours("doctor")}, // fails if it finds a mistake
		{name: meshExpiring, commands: ours("expiring"), check: contains(namespace)},
		{name: meshGraph, commands: ours("graph", "-o", "html"), check: contains("</html>")},
		{name: meshReport, commands: ours("report"), check: contains(meshName(n - 1))},
	}
	if n <= smallMesh {
		flat := filepath.Join(dir, ".git", "flat") // where nothing looks
		if err := b.corpus(ctx, flat, pairs); err != nil {
			return nil, err
		}
		candidates = append(candidates, candidate{name: meshFloor, commands: [][]string{{b.bin("floor"), filepath.Join(flat, secretsDir), filepath.Join(flat, "floor"), filepath.Join(flat, configFile)}},
			prepare: func() error { return os.RemoveAll(filepath.Join(flat, "floor")) }})
	}
	for i := range candidates {
		candidates[i].dir, candidates[i].env = dir, b.env()
		if candidates[i].name != meshCheck {
			candidates[i].env = append(b.env(), "SOPS_AGE_KEY_FILE="+filepath.Join(dir, meshKey))
		}
	}
	return measure(ctx, candidates, b.runs(pairs))
}
