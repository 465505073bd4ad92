//go:build peers

package validate_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"clusterpair.dev/internal/report"
)

// TestStorkVerdicts writes what each Stork makes of each pair of the table, and of mutants, as
// lines of JSON into $STORK_VERDICTS. By these the tests of e2e/guard judge what an API server
// refuses.
func TestStorkVerdicts(t *testing.T) {
	path := os.Getenv("STORK_VERDICTS")
	if path == "" {
		path = filepath.Join(t.TempDir(), "verdicts.json")
	}
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	storks := []*stork{startStork(t, "2.9"), startStork(t, "24.3"), startStork(t, "next")}
	lines := json.NewEncoder(file)
	undecoded := 0
	write := func(text string) {
		line := struct {
			Text              string
			Unread, Undecoded string   // by kubectl or the API server; by a Stork
			Found             []string // errors and warnings of ours, for a release that is not known
		}{Text: text}
		for _, f := range findings(t, text, "") {
			if f.Severity != report.Info {
				line.Found = append(line.Found, f.Message+" ["+f.Rule+"]")
			}
		}
		for _, s := range storks {
			v := s.ask(t, text)
			line.Unread += v.YAML + v.API
			line.Undecoded += v.Decode + v.Panic
		}
		if line.Undecoded != "" {
			undecoded++
		}
		if err := lines.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range rows {
		write(pair(row.edits...))
	}
	seeds, random := seeds(t), rand.New(rand.NewPCG(5, 6))
	for range 4000 {
		write(mutant(random, seeds[random.IntN(len(seeds))]))
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if undecoded < 500 {
		t.Errorf("Stork decodes all but %d", undecoded)
	}
}
