// Package release tells what a binary was built from.
//
// [Describe] does so for the program that runs. [Build.Check] holds a binary against the
// provenance that came with a release.
package release

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Build is what a binary was built from.
type Build struct {
	// Version is that of the module: a tag, a pseudo-version or (devel).
	Version string `json:"version"`
	// Commit is that of the code, Date its own (RFC 3339), and Dirty tells that there were
	// changes that were not committed. A binary of the module proxy knows none of them.
	Commit string `json:"commit,omitempty"`
	Date   string `json:"date,omitempty"`
	Dirty  bool   `json:"dirty,omitempty"`
	// Go is the release of Go, and Platform OS/ARCHITECTURE.
	Go       string `json:"go"`
	Platform string `json:"platform"`
	// Libraries are the versions of those that decide about formats, Modules those of all.
	Libraries map[string]string `json:"libraries"`
	Modules   map[string]string `json:"modules"`
	// Subject is what a provenance calls the binary, and Provenance the file of that, once
	// they were held against each other.
	Subject    string `json:"subject,omitempty"`
	Provenance string `json:"provenance,omitempty"`
}

// decisive are the modules that decide about formats.
var decisive = []string{"sigs.k8s.io/kustomize/api", "github.com/getsops/sops/v3", "k8s.io/client-go", "filippo.io/age"}

// Describe is what the program that runs was built from, as text or json. It has to be what
// the file of a provenance says, if there is one. Errors have a hint.
func Describe(provenance, format string) ([]byte, error) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil, errors.New("the binary has no build information")
	}
	b := of(info)
	if provenance != "" {
		if err := b.checkFile(provenance); err != nil {
			return nil, err
		}
	}
	if format == "json" {
		text, err := json.MarshalIndent(b, "", "  ")
		return append(text, '\n'), err
	}
	return b.text(), nil
}

// Version is that of the program that runs.
func Version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(devel)"
}

func of(info *debug.BuildInfo) Build {
	b := Build{Version: info.Main.Version, Go: info.GoVersion, Platform: runtime.GOOS + "/" + runtime.GOARCH, Libraries: make(map[string]string), Modules: make(map[string]string)}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Dirty = s.Value == "true"
		}
	}
	for _, m := range info.Deps {
		version := m.Version
		if m.Replace != nil {
			version = m.Replace.Version
		}
		b.Modules[m.Path] = version
		if slices.Contains(decisive, m.Path) {
			b.Libraries[m.Path] = version
		}
	}
	return b
}

// text is the build for people: a line, one for the commit if that is known, and one for
// each library that decides about formats.
func (b Build) text() []byte {
	text := fmt.Appendf(nil, "clusterpair %s %s %s\n", b.Version, b.Go, b.Platform)
	if b.Commit != "" {
		text = fmt.Appendf(text, "  commit %s of %s", b.Commit, b.Date)
		if b.Dirty {
			text = append(text, ", and changes that were not committed"...)
		}
		text = append(text, '\n')
	}
	for _, path := range slices.Sorted(maps.Keys(b.Libraries)) {
		text = fmt.Appendf(text, "  %s %s\n", path, b.Libraries[path])
	}
	if b.Subject != "" {
		text = fmt.Appendf(text, "  is %s of %s\n", b.Subject, b.Provenance)
	}
	return text
}

// statement is what is read of a provenance: an in-toto statement.
// https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
// https://slsa.dev/spec/v1.0/provenance
type statement struct {
	Type          string    `json:"_type"`
	PredicateType string    `json:"predicateType"`
	Subject       []Subject `json:"subject"`
	Predicate     struct {
		BuildDefinition struct {
			ResolvedDependencies []struct {
				URI    string            `json:"uri"`
				Digest map[string]string `json:"digest"`
			} `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
	} `json:"predicate"`
}

// Subject is a file that a provenance speaks of.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// The types of a provenance.
const (
	StatementType  = "https://in-toto.io/Statement/v1"
	ProvenanceType = "https://slsa.dev/provenance/v1"
)

// Check holds the binary against a provenance: it is one of its subjects, and was built
// from its commit. It returns the name of the subject. That the provenance itself can be
// trusted is for its signature to show. Errors have a hint.
func (b Build) Check(provenance []byte, binary io.Reader) (subject string, err error) {
	var s statement
	if err := json.Unmarshal(provenance, &s); err != nil || s.Type != StatementType || s.PredicateType != ProvenanceType {
		return "", report.WithHint(errors.New("the file is no provenance: no in-toto statement with a predicate of SLSA 1"), "take the *.intoto.json of the release")
	}
	h := sha256.New()
	if _, err := io.Copy(h, binary); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	i := slices.IndexFunc(s.Subject, func(f Subject) bool { return f.Digest["sha256"] == sum })
	if i < 0 {
		return "", report.WithHint(fmt.Errorf("the provenance speaks of %s, and of none with the SHA-256 of this binary, %s", report.Count(len(s.Subject), "file", "files"), sum), "take the provenance of the release that this binary says to be of: clusterpair version")
	}
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if commit := d.Digest["gitCommit"]; commit != "" && b.Commit != "" && !strings.EqualFold(commit, b.Commit) {
			return "", report.WithHint(fmt.Errorf("the provenance says that %s was built from commit %s, and the binary from %s", s.Subject[i].Name, commit, b.Commit), "trust neither: take both anew from the release")
		}
	}
	return s.Subject[i].Name, nil
}

// checkFile is [Build.Check] of the program that runs, by a file, which it notes.
func (b *Build) checkFile(file string) error {
	provenance, err := os.ReadFile(file)
	if err != nil {
		return report.WithHint(err, "take the *.intoto.json of the release")
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	binary, err := os.Open(self)
	if err != nil {
		return err
	}
	defer binary.Close()
	if b.Subject, err = b.Check(provenance, binary); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	b.Provenance = file
	return nil
}
