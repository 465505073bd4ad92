package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"filippo.io/age"
)

// A mesh is a repository in which each of a number of clusters is paired with all
// others, so that n clusters have n*(n-1) pairs:
//
//	secrets/NAME.yaml            a Secret for each cluster as destination
//	clusters/NAME/clusterpair.yaml  a config for each cluster as source, with a
//	                             selector that leaves it out
//	.sops.yaml                   a creation rule for each source, its own key and that
//	                             of recovery, and one for the Secrets, that of CI and
//	                             of recovery
//	ci.txt                       the private key of CI, which opens the Secrets alone
const (
	meshDir    = "clusters"
	meshKey    = "ci.txt"
	meshOutput = "pairs"
)

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
		sub := filepath.Join(dir, meshDir, name)
		if err := os.MkdirAll(sub, 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(sub, configFile), []byte(meshConfig(name)), 0o666); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, ".sops.yaml"), []byte(rules.String()), 0o666); err != nil {
		return err
	}
	return eachDestination(n, meshName, func(d destination) error {
		return os.WriteFile(filepath.Join(dir, secretsDir, d.name+".yaml"), []byte(d.secret()), 0o600)
	})
}

// meshConfig is the function config of a source cluster.
func meshConfig(name string) string {
	return fmt.Sprintf(`apiVersion: clusterpair.dev/v1alpha1
kind: ClusterPairGenerator
metadata:
  name: %[1]s
spec:
  namespace: %[2]s
  storkVersion: "24.3"
  selector:
    matchLabels:
      role: dr
    matchExpressions:
    - {key: cluster.x-k8s.io/cluster-name, operator: NotIn, values: [%[1]s]}
    name: to-${label:cluster.x-k8s.io/cluster-name}
  files: [../../%[3]s]
  output: %[4]s
`, name, namespace, secretsDir, meshOutput)
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
