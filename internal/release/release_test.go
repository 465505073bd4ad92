package release

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

// TestOf tells what a build is from.
func TestOf(t *testing.T) {
	b := of(&debug.BuildInfo{GoVersion: "go1.26.8", Main: debug.Module{Version: "v0.2.0"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.time", Value: "2026-12-01T10:00:00Z"}, {Key: "vcs.modified", Value: "true"}, {Key: "GOOS", Value: "plan9"},
	}, Deps: []*debug.Module{
		{Path: "filippo.io/age", Version: "v1.3.1"}, {Path: "example.com/other", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/fork", Version: "v1.0.1"}},
	}})
	b.Platform = "linux/amd64"
	want := "clusterpair v0.2.0 go1.26.8 linux/amd64\n  commit 0123abcd of 2026-12-01T10:00:00Z, and changes that were not committed\n  filippo.io/age v1.3.1\n"
	if got := string(b.text()); got != want {
		t.Errorf("%s", got)
	}
	if text, err := json.Marshal(b); err != nil || !strings.Contains(string(text), `"example.com/other":"v1.0.1"`) || !strings.Contains(string(text), `"dirty":true`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestCheck holds a binary against provenances.
func TestCheck(t *testing.T) {
	// The SHA-256 of "binary".
	const sum = "9a3a45d01531a20e89ac6ae10b0b0beb0492acd7216a368aa062d1a5fecaf9cd"
	provenance := func(sum, commit string) string {
		return fmt.Sprintf(`{"_type": %q, "predicateType": %q, "subject": [{"name": "other", "digest": {"sha256": "00"}}, {"name": "clusterpair", "digest": {"sha256": %q}}],
			"predicate": {"buildDefinition": {"resolvedDependencies": [{"uri": "git+https://example.com/clusterpair", "digest": {"gitCommit": %q}}]}}}`, StatementType, ProvenanceType, sum, commit)
	}
	for name, c := range map[string]struct{ provenance, commit, want string }{
		"right":              {provenance(sum, "abc"), "ABC", "clusterpair"},
		"no commit known":    {provenance(sum, "abc"), "", "clusterpair"},
		"another binary":     {provenance("ff", "abc"), "abc", "the provenance speaks of 2 files, and of none with the SHA-256 of this binary, " + sum},
		"another commit":     {provenance(sum, "def"), "abc", "the provenance says that clusterpair was built from commit def, and the binary from abc"},
		"no provenance":      {`{"_type": "x"}`, "abc", "the file is no provenance: no in-toto statement with a predicate of SLSA 1"},
		"a bill of material": {`{"bomFormat": "CycloneDX"}`, "abc", "the file is no provenance: no in-toto statement with a predicate of SLSA 1"},
		"no JSON":            {"x", "abc", "the file is no provenance: no in-toto statement with a predicate of SLSA 1"},
	} {
		got, err := Build{Commit: c.commit}.Check([]byte(c.provenance), strings.NewReader("binary"))
		if err != nil {
			got = err.Error()
			if report.HintOf(err) == "" {
				t.Errorf("%s: no hint", name)
			}
		}
		if got != c.want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
