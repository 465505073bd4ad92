//go:build peers

package validate_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
)

// TestStorkAgrees gives pairs, one after the other, to us and to Stork: both
// say what the table says.
func TestStorkAgrees(t *testing.T) {
	storks := make(map[string]*stork)
	shown := make(map[string]bool)
	for _, row := range rows {
		release := cmp.Or(row.release, "24.3")
		if storks[release] == nil {
			storks[release] = startStork(t, release)
		}
		text := pair(row.edits...)
		v := storks[release].ask(t, text)
		if got := v.String(); !strings.HasPrefix(got, row.stork) || row.stork == "" && got != "" {
			t.Errorf("%s: Stork %s: %q, not %q", row.name, release, got, row.stork)
		}
		found := findings(t, text, release)
		if row.rule == "" && report.HasErrors(found) || row.rule != "" && !slices.ContainsFunc(found, func(f report.Finding) bool { return f.Rule == row.rule }) {
			t.Errorf("%s: we find %v, not %q", row.name, found, row.rule)
		}
		for _, d := range differences(t, text, release, v) {
			if shown[d] = true; known[d] == "" {
				t.Errorf("%s: a difference that is not known: %s", row.name, d)
			}
		}
	}
	for d := range known {
		if !shown[d] {
			t.Errorf("no row of the table shows the known difference %q", d)
		}
	}
}

// TestStorkAgreesOnMutants compares what we and Stork say about pairs that
// were changed at random. FuzzStorkAgrees goes on where it ends.
func TestStorkAgreesOnMutants(t *testing.T) {
	for release, share := range map[string]int{"24.3": 2, "2.9": 1, "next": 1} {
		s := startStork(t, release)
		seeds := seeds(t)
		random := rand.New(rand.NewPCG(1, 2))
		accepted, total := 0, 700*share
		for range total {
			if agrees(t, s, mutant(random, seeds[random.IntN(len(seeds))])) {
				accepted++
			}
		}
		if accepted < total/20 || accepted > total/2 {
			t.Errorf("Stork %s: %d of %d mutants are accepted", release, accepted, total)
		}
	}
}

func FuzzStorkAgrees(f *testing.F) {
	s, seeds := startStork(f, "24.3"), seeds(f)
	f.Add(uint64(0))
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 3))
		agrees(t, s, mutant(random, seeds[random.IntN(len(seeds))]))
	})
}

// agrees tells whether we accept a pair, and fails the test if Stork differs in
// a way that is not known.
func agrees(t *testing.T, s *stork, text string) bool {
	if strings.Contains(text, "---") || strings.Contains(text, "sops") {
		return false // several documents; something else to us
	}
	for _, d := range differences(t, text, s.release, s.ask(t, text)) {
		if known[d] == "" {
			t.Errorf("Stork %s: %s:\n%s\n%s\n%v", s.release, d, text, s.ask(t, text), findings(t, text, s.release))
		}
	}
	return !report.HasErrors(findings(t, text, s.release))
}

// findings are ours about a pair in clear.
func findings(t testing.TB, text, release string) []report.Finding {
	versions := map[string]string{"2.9": "2.9", "24.3": "24.3", "next": "26.4"}
	v := validate.New(validate.Options{Plaintext: true, StorkVersion: versions[release], Now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)})
	if err := v.File(t.Context(), validate.File{Name: "pair.yaml", Path: "pair.yaml", Data: []byte(text)}); err != nil {
		t.Fatal(err)
	}
	if _, pairs := v.Checked(); pairs == 0 && len(v.Findings()) == 0 {
		return []report.Finding{{Rule: "no pair", Severity: report.Error}}
	}
	return v.Findings()
}

// differences are the classes of what we and Stork say otherwise about a pair:
// "accepts" is harm that is no error to us, "waives" what ends the pair, or
// Stork, and yet can be waived, "refuses" the rule of an error in what Stork
// takes.
func differences(t testing.TB, text, release string, v verdict) []string {
	found := findings(t, text, release)
	has := func(rules ...string) bool {
		return slices.ContainsFunc(found, func(f report.Finding) bool { return slices.Contains(rules, f.Rule) })
	}
	harm := v.String()
	switch {
	case has("no pair"):
	case harm == "":
		var all []string
		noText := slices.ContainsFunc(found, func(f report.Finding) bool { return strings.Contains(f.Message, "a key that is no string") })
		for _, f := range found {
			if f.Severity != report.Error || f.Waivable() || has("duplicate-key") && f.Rule != "duplicate-key" || noText && f.Rule != "value-type" {
				continue // it may follow from a key that is there twice, or that counts for none
			}
			class := "refuses " + f.Rule
			if f.Rule == "value-type" {
				class += ": " + ofValueType(f.Message, text)
			}
			all = append(all, class)
		}
		return all
	case strings.HasPrefix(harm, "dropped"):
		if !slices.ContainsFunc(found, func(f report.Finding) bool { return f.Severity != report.Info }) {
			return []string{"accepts dropped"}
		}
	case strings.HasPrefix(harm, "lost") && has("drifting-field"):
	case v.Decode != "" && tagged.MatchString(text) && !report.HasErrors(findings(t, waivers+text, release)):
		return []string{"accepts decode of a tag"}
	case !report.HasErrors(found):
		return []string{"accepts " + class(harm)}
	case v.fatal() && known["accepts "+class(harm)] == "" && !report.HasErrors(findings(t, waivers+text, release)):
		kind, _, _ := strings.Cut(harm, ": ")
		return []string{"waives " + kind}
	}
	return nil
}

// class is what a kind of harm is called: the first word and the detail that
// tells causes apart.
func class(harm string) string {
	kind, text, _ := strings.Cut(harm, ": ")
	if m := detail.FindStringSubmatch(harm); m != nil {
		return strings.TrimSpace(kind + " " + strings.Join(m[1:], ""))
	}
	return kind + ": " + quoted.ReplaceAllString(text, "…")
}

var (
	detail = regexp.MustCompile(`^(?:lost|dropped): ()|^api: \[?(metadata\.[a-zA-Z]+)|^api: (json)|^decode: .* field [A-Za-z]+\.items\.([a-zA-Z.-]+)|` +
		`^client: .*?(no configuration|root certificates|PEM|proxy-url|parse)|` +
		`^request: .*(Authorization|Impersonate|port|terminal)|^yaml: .*(!!|unsupported|invalid map key|map merge)`)
	tagged = regexp.MustCompile(`(^|[\s\[{,:-])!`)
	quoted = regexp.MustCompile("\"[^\"]*\"|`[^`]*`|[0-9]+")
)

// ofValueType is what kind of wrong type a finding is about.
func ofValueType(message, text string) string {
	for _, what := range []string{"a date without quotes", "a key that is no string", "a merge key", "is null where"} {
		if strings.Contains(message, what) {
			return what
		}
	}
	if tagged.MatchString(text) || strings.Contains(message, "something that JSON does not have") {
		return "a tag of its own"
	}
	return message
}

// waivers waive all that can be.
var waivers = func() string {
	var all strings.Builder
	for _, rule := range report.RuleIDs() {
		if report.Waivable(rule) {
			all.WriteString("# clusterpair:ignore " + rule + " to see what is left\n")
		}
	}
	return all.String()
}()

// verdict is what tools/stork says of a document.
type verdict struct {
	YAML, API, Decode, Panic, Client, Request string
	URL, Dialled, Storage                     string
	Sent, Unsent, Lost, Dropped               []string
}

// String is the harm that a document does, gravest first; empty if none.
func (v verdict) String() string {
	first := func(all []string) string {
		if len(all) == 0 {
			return ""
		}
		return all[0]
	}
	storage := v.Storage
	if storage == "none" || storage == "pair" {
		storage = ""
	}
	for _, harm := range [...][2]string{
		{"yaml", v.YAML}, {"api", v.API}, {"decode", v.Decode}, {"panic", v.Panic}, {"client", v.Client}, {"request", v.Request},
		{"lost", first(v.Lost)}, {"unsent", first(v.Unsent)}, {"storage", storage}, {"dropped", first(v.Dropped)},
	} {
		if harm[1] != "" {
			return harm[0] + ": " + harm[1]
		}
	}
	return ""
}

// fatal tells whether the pair, or Stork, never works.
func (v verdict) fatal() bool { return v.YAML+v.API+v.Decode+v.Panic+v.Client+v.Request != "" }

// stork is a running tools/stork.
type stork struct {
	release string
	in      *json.Encoder
	out     *json.Decoder
}

func startStork(t testing.TB, release string) *stork {
	t.Helper()
	bin := filepath.Join(os.Getenv("CLUSTERPAIR_TOOLS"), "stork-"+release)
	if os.Getenv("CLUSTERPAIR_TOOLS") == "" {
		bin = filepath.Join(t.TempDir(), "stork")
		mod := map[string]string{"2.9": "2.9.mod", "24.3": "go.mod", "next": "next.mod"}[release]
		if out, err := exec.Command("go", "build", "-C", "../../tools/stork", "-modfile="+mod, "-o", bin, ".").CombinedOutput(); err != nil {
			t.Fatalf("build tools/stork: %v\n%s", err, out)
		}
	}
	cmd := exec.Command(bin)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("%v (make tools builds it)", err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	return &stork{release, json.NewEncoder(in), json.NewDecoder(bufio.NewReader(out))}
}

func (s *stork) ask(t testing.TB, text string) (v verdict) {
	t.Helper()
	if err := errors.Join(s.in.Encode(text), s.out.Decode(&v)); err != nil {
		t.Fatalf("stork-%s: %v", s.release, err)
	}
	return v
}
