package seal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// ageError is the error for what --age does not take.
func ageError(err error) error {
	return report.Usage(report.WithHint(fmt.Errorf("--age: %w", err), "the recipient of a key, age1…, is what this prints: age-keygen -y KEYFILE"))
}

// PolicyOf is how a file is to be encrypted: for the recipients given, or by
// its creation rule.
func PolicyOf(path string, age []string) (*sopsfile.Policy, error) {
	if len(age) > 0 {
		p, err := sopsfile.Recipients{Age: age}.Policy()
		if err != nil {
			return nil, ageError(err)
		}
		return p, nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	rules, err := FindRules(filepath.Dir(abs))
	if err != nil {
		return nil, err
	}
	return RulePolicy(rules, abs, path)
}

// FindRules reads the creation rules that sops would use for a file in dir; it
// is nil if there are none.
func FindRules(dir string) (*sopsfile.Rules, error) {
	path, _ := sopsfile.FindRules(dir, os.Getenv("SOPS_CONFIG"))
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if config := os.Getenv("SOPS_CONFIG"); err != nil && path == config {
		return nil, report.WithHint(fmt.Errorf("read %s, which SOPS_CONFIG names: %w", path, worktree.Cause(err)), "unset SOPS_CONFIG, or %s", worktree.Missing(path))
	}
	if err != nil {
		return nil, worktree.Unread(path, err)
	}
	rules, err := sopsfile.ParseRules(data, path)
	if err != nil {
		return nil, BrokenRules(path, err)
	}
	return rules, nil
}

// BrokenRules is an error about the creation rules at a path, which it names as the user
// types it, with what to do.
func BrokenRules(path string, err error) error {
	hint := "correct the creation rule, as sops reads it, too; the recipient of a key is what this prints: age-keygen -y KEYFILE"
	if malformed, ok := errors.AsType[*sopsfile.MalformedError](err); ok && malformed.Hint != "" {
		hint = malformed.Hint
	}
	text := err.Error()
	if cwd, bad := os.Getwd(); bad == nil {
		if shown, bad := filepath.Rel(cwd, path); bad == nil {
			text = strings.Replace(text, path, shown, 1)
		}
	}
	return report.WithHint(errors.New(text), "%s", hint)
}

// RulePolicy is what the creation rules say about a file.
func RulePolicy(rules *sopsfile.Rules, path, shown string) (*sopsfile.Policy, error) {
	f := report.Finding{Rule: "no-creation-rule", Severity: report.Error, Position: report.Position{File: shown}}
	if rules == nil {
		f.Message = "no recipients: there is no .sops.yaml at or above the file, and none are given"
		f.Hint = "write a .sops.yaml with a creation rule for the file, or name recipients: spec.encryption.age in a config, --age on the command line"
		return nil, f
	}
	p, err := rules.Policy(path)
	var none *sopsfile.NoRuleError
	if errors.As(err, &none) {
		f.Message, f.Hint = none.Error(), none.Hint()
		return nil, f
	}
	if err != nil {
		return nil, BrokenRules(rules.Path(), err)
	}
	return p, nil
}

// samplePair has a value in each place that is to be encrypted, and in those that
// are not.
const samplePair = `{apiVersion: a, kind: ClusterPair, metadata: {name: b}, spec: {config: {clusters: {west: {certificate-authority-data: e, server: d}},
  contexts: {west: {cluster: f, user: g}}, current-context: h, users: {stork: {token: i}}}, options: {token: c}}}`

// CheckPolicy refuses a creation rule as generate would: it judges a pair that is
// encrypted in name alone.
func CheckPolicy(p *sopsfile.Policy, file string) error {
	docs, err := manifest.Values([]byte(samplePair), file)
	if err != nil {
		return err
	}
	plain, err := manifest.Values([]byte(samplePair), file)
	if err != nil {
		return err
	}
	err = ForPair(p).Selector.Uncovered(docs[0], func(leaf *yaml.Node, _ []string, _ bool) {
		if leaf.Value != generator.ClusterPairKind { // by which it is known as a pair
			leaf.Value = "ENC[]"
		}
	})
	if err != nil {
		return err
	}
	sealed, err := sopsfile.Marshal(docs, 0)
	if err != nil {
		return err
	}
	return CheckObject(sealed, plain[0], p, file)
}
