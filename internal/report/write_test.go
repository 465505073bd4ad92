package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"

	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"clusterpair.dev/internal/report"
)

// sample has each kind of finding once: at a line, at a file, at a resource
// that has no file, equal ones, one without a rule, one of a rule that is not
// ours, and texts and names that a format could trip over.
func sample() *report.Report {
	at := func(file string, line, column int) report.Position {
		return report.Position{File: file, Line: line, Column: column}
	}
	return &report.Report{
		Version: "v0.2.0",
		Pairs:   3,
		Files:   []string{"pairs/west.yaml", "./pairs/east.yaml", "pairs/clean.yaml", "a, 100%: <b> & c#d?.yaml", "new\nline.yaml", "latin\xe9.yaml"},
		Findings: []report.Finding{
			{Rule: "tls-skipped", Severity: report.Error, Position: at("./pairs/east.yaml", 12, 9), Object: "ClusterPair prod/east",
				Path: "spec.config.clusters.east.insecure-skip-tls-verify", Message: "the server's certificate is not verified", Hint: "put certificate-authority-data"},
			{Rule: "credential-expiring", Severity: report.Warning, Position: at("./pairs/east.yaml", 20, 7), Object: "ClusterPair prod/east",
				Path: "spec.config.users.admin.token", Message: "the token ends on 2026-12-01"},
			{Rule: "leaf-not-encrypted", Severity: report.Error, Position: at("pairs/west.yaml", 9, 11), Object: "ClusterPair prod/west", Path: "spec.config.clusters.west.server", Message: "not encrypted"},
			{Rule: "leaf-not-encrypted", Severity: report.Error, Position: at("pairs/west.yaml", 30, 11), Object: "ClusterPair prod/west", Path: "spec.config.clusters.west.server", Message: "not encrypted, again"},
			{Rule: "no-key", Severity: report.Info, Position: at("pairs/west.yaml", 0, 0), Message: "no key decrypts the file"},
			{Rule: "sops-malformed", Severity: report.Error, Position: at("a, 100%: <b> & c#d?.yaml", 1, 0), Message: "100% \"wrong\": <![CDATA[ ]]> \u2028 and ::error::, \\n", Hint: "type 'this' & that"},
			{Rule: "yaml", Severity: report.Error, Position: at("new\nline.yaml", 3, 1), Message: "found\n\x1b[31mred\x00\xff", Hint: "one\r\ntwo"},
			{Rule: "yaml", Severity: report.Error, Position: at("latin\xe9.yaml", 1, 1), Message: "not UTF-8"},
			{Rule: "reverse-missing", Severity: report.Warning, Position: at("ClusterPair/prod/north", 0, 0), Object: "ClusterPair prod/north", Path: "metadata.name", Message: "no counterpart"},
			{Rule: "our-own", Severity: report.Warning, Position: at("/srv/absolute.yaml", 2, 3), Message: "a rule of the organisation"},
			{Rule: "server-loopback", Severity: report.Error, Position: at("pairs/waived.yaml", 7, 15), Object: "ClusterPair prod/waived", Path: "spec.config.clusters.waived.server",
				Message: "the server is the Stork pod itself", Hint: "use the address of the destination", Waived: "a tunnel\nin the pod"},
			{Severity: report.Error, Message: "nowhere and without a rule"},
		},
	}
}

// TestFormats compares the sample in each format with testdata; UPDATE=1
// rewrites it.
func TestFormats(t *testing.T) {
	colored := func(r *report.Report) { r.Color = true }
	strict := func(r *report.Report) { r.Strict = true }
	for _, c := range []struct {
		golden, format string
		options        func(*report.Report)
	}{
		{"text.txt", "text", nil}, {"color.txt", "text", colored}, {"json.json", "json", nil}, {"sarif.json", "sarif", nil},
		{"junit.xml", "junit", nil}, {"junit-strict.xml", "junit", strict}, {"github.txt", "github", nil}, {"gitlab.json", "gitlab", nil},
	} {
		r := sample()
		if c.options != nil {
			c.options(r)
		}
		got := write(t, c.format, r)
		golden := filepath.Join("testdata", c.golden)
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: got\n%s\nwant\n%s", c.golden, got, want)
		}
		if c.golden != "color.txt" && bytes.ContainsRune(got, '\x1b') {
			t.Errorf("%s holds an escape", c.golden)
		}
		if !utf8.Valid(got) {
			t.Errorf("%s is not UTF-8", c.golden)
		}
	}
	if want := []string{"github", "gitlab", "json", "junit", "sarif", "text"}; !slices.Equal(report.Formats(), want) {
		t.Errorf("Formats() = %q", report.Formats())
	}
	err := report.Write(&bytes.Buffer{}, "xml", sample())
	if want := `unknown format "xml": use one of github, gitlab, json, junit, sarif, text`; err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestColorPaintsOnly(t *testing.T) {
	r := sample()
	plain := write(t, "text", r)
	r.Color = true
	painted := regexp.MustCompile(`\x1b\[[0-9;]*m`).ReplaceAll(write(t, "text", r), nil)
	if !bytes.Equal(plain, painted) {
		t.Errorf("without its colours\n%s\nis not\n%s", painted, plain)
	}
}

func TestSummary(t *testing.T) {
	finding := func(s report.Severity, file string) report.Finding {
		return report.Finding{Severity: s, Position: report.Position{File: file}, Message: "m"}
	}
	waived := finding(report.Error, "a")
	waived.Waived = "a reason"
	for want, r := range map[string]report.Report{
		"nothing to check: no file that concerns a ClusterPair":   {},
		"all fine: 1 ClusterPair in 1 file":                       {Files: []string{"a"}, Pairs: 1},
		"all fine: 14 ClusterPairs in 2 files":                    {Files: []string{"a", "b", "a"}, Pairs: 14},
		"all fine: no ClusterPair in 2 files":                     {Files: []string{"a", "b"}},
		"1 error in 1 file; no ClusterPair":                       {Findings: []report.Finding{finding(report.Error, "a")}},
		"1 info in 1 of 2 files; 1 ClusterPair":                   {Files: []string{"b"}, Pairs: 1, Findings: []report.Finding{finding(report.Info, "a")}},
		"2 errors, 1 warning, 2 infos in 2 files; 2 ClusterPairs": {Files: []string{"a", "b"}, Pairs: 2, Findings: []report.Finding{finding(report.Error, "a"), finding(report.Info, "a"), finding(report.Warning, "a"), finding(report.Error, "b"), finding(report.Info, "b")}},
		"all fine: 1 ClusterPair in 1 file; 1 waived":             {Pairs: 1, Findings: []report.Finding{waived}},
		"1 error in 1 of 2 files; no ClusterPair; 1 waived":       {Findings: []report.Finding{waived, finding(report.Error, "b")}},
		"1 error in 1 file; 1 ClusterPair":                        {Files: []string{"a"}, Pairs: 1, Findings: []report.Finding{finding(report.Error, "")}},
	} {
		got := strings.Split(strings.TrimSuffix(string(write(t, "text", &r)), "\n"), "\n")
		if got[len(got)-1] != want {
			t.Errorf("got %q, want %q", got[len(got)-1], want)
		}
	}
}

func TestFailed(t *testing.T) {
	for _, c := range []struct {
		severity report.Severity
		strict   bool
		want     bool
	}{
		{report.Error, false, true}, {report.Warning, false, false}, {report.Warning, true, true}, {report.Info, true, false},
	} {
		r := report.Report{Strict: c.strict, Findings: []report.Finding{{Severity: c.severity}}}
		if r.Failed() != c.want {
			t.Errorf("%s, strict %t: failed %t", c.severity, c.strict, r.Failed())
		}
		r.Findings[0].Waived = "a reason"
		if r.Failed() {
			t.Errorf("%s, strict %t, waived: failed", c.severity, c.strict)
		}
	}
}

// TestFingerprints: they outlive moved lines, new words and new neighbours, and
// differ where a rule, file, object, path or ordinal does.
func TestFingerprints(t *testing.T) {
	before := sample()
	fingerprints := fingerprintsOf(t, before)
	if unique := slices.Compact(slices.Sorted(slices.Values(fingerprints))); len(unique) != len(before.Findings) {
		t.Errorf("%d fingerprints for %d findings", len(unique), len(before.Findings))
	}

	after := sample()
	for i := range after.Findings {
		f := &after.Findings[i]
		f.Message, f.Hint, f.Severity = "in other words", "", report.Info
		f.Position.File = strings.TrimPrefix(f.Position.File, "./")
		if f.Position.Line > 0 {
			f.Position.Line += 100
		}
	}
	after.Findings = append(after.Findings, report.Finding{Rule: "yaml", Position: report.Position{File: "0.yaml"}})
	moved := fingerprintsOf(t, after)
	for _, f := range fingerprints {
		if !slices.Contains(moved, f) {
			t.Errorf("%s is gone", f)
		}
	}

	// Parts do not run into each other.
	if f := fingerprintsOf(t, &report.Report{Findings: []report.Finding{
		{Object: `a" "b`, Path: "c"}, {Object: "a", Path: `b" "c`}, {Object: "a b", Path: "c"}, {Object: "a", Path: "b c"},
	}}); len(slices.Compact(slices.Sorted(slices.Values(f)))) != 4 {
		t.Errorf("fingerprints collide: %q", f)
	}
	// They are promised to CI systems: a change here closes and opens alerts.
	if f := fingerprintsOf(t, &report.Report{Findings: []report.Finding{{Rule: "yaml", Position: report.Position{File: "a.yaml"}, Object: "x/y", Path: "spec"}}}); f[0] != "9a898939276ba6df44c297087ff4d332" {
		t.Errorf("the fingerprint has changed: %s", f[0])
	}
}

func fingerprintsOf(t testing.TB, r *report.Report) []string {
	t.Helper()
	var document struct {
		Findings []struct{ Fingerprint string }
	}
	if err := json.Unmarshal(write(t, "json", r), &document); err != nil {
		t.Fatal(err)
	}
	var fs []string
	for _, f := range document.Findings {
		fs = append(fs, f.Fingerprint)
	}
	return fs
}

// TestSchemas hands SARIF and JUnit to validators with the schemas of OASIS and
// of Jenkins.
func TestSchemas(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var sarif, junit []string
	for name, r := range map[string]*report.Report{
		"sample": sample(), "rules": everyRule(), "empty": {},
		"clean": {Files: []string{"a.yaml"}, Pairs: 1}, "strict": {Strict: true, Findings: sample().Findings},
	} {
		sarif = append(sarif, file(name+".sarif", write(t, "sarif", r)))
		junit = append(junit, file(name+".xml", write(t, "junit", r)))
	}
	validateSARIF := append([]string{"go", "-C", "../../tools", "run", "./validate-sarif"}, sarif...)
	validateJUnit := append([]string{"xmllint", "--noout", "--nonet", "--schema", junitSchema(t)}, junit...)
	if out, err := command(validateSARIF...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := command(validateJUnit...); errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%v: apt-get install libxml2-utils", err)
	} else if err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	// The validators do say no, and why.
	bad := file("bad.sarif", bytes.Replace(write(t, "sarif", sample()), []byte(`"ruleIndex"`), []byte(`"ruleNumber"`), 1))
	if out, err := command(append(validateSARIF, bad)...); err == nil || !bytes.Contains(out, []byte("'ruleNumber' not allowed")) {
		t.Errorf("a result with a ruleNumber: %v\n%s", err, out)
	}
	bad = file("bad.xml", bytes.Replace(write(t, "junit", sample()), []byte("<skipped>"), []byte("<warning/><skipped>"), 1))
	if out, err := command(append(validateJUnit, bad)...); err == nil || !bytes.Contains(out, []byte("Element 'warning'")) {
		t.Errorf("a test with a warning: %v\n%s", err, out)
	}
}

// everyRule has a finding of each rule.
func everyRule() *report.Report {
	r := new(report.Report)
	for _, rule := range report.Rules() {
		r.Findings = append(r.Findings, report.Finding{Rule: rule.ID, Severity: rule.Severity, Position: report.Position{File: "a.yaml"}, Message: rule.Title})
	}
	return r
}

// junitSchema is what make tools has put into CLUSTERPAIR_TOOLS; a plain go
// test has it made.
func junitSchema(t *testing.T) string {
	t.Helper()
	const name = "jenkins-junit.xsd"
	dir := os.Getenv("CLUSTERPAIR_TOOLS")
	if dir == "" {
		dir = "../../bin"
		if out, err := command("make", "-C", "../..", "bin/"+name); err != nil {
			t.Fatalf("make bin/%s: %v\n%s", name, err, out)
		}
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v: make tools", err)
	}
	return path
}

func command(args ...string) ([]byte, error) {
	return exec.Command(args[0], args[1:]...).CombinedOutput()
}

// FuzzWrite writes any text in each format and reads it back.
func FuzzWrite(f *testing.F) {
	for _, s := range sample().Findings {
		f.Add(s.Position.File, s.Rule, s.Object, s.Path, s.Message, s.Hint, s.Position.Line)
	}
	f.Add("##[error]", "a,b", "::set-env::", "%0A", "%25%0D:,\ufeff\ufffe\ufffd\U000e0001", "\\x1b", -1)
	f.Fuzz(func(t *testing.T, file, rule, object, path, message, hint string, line int) {
		one := report.Finding{Rule: rule, Severity: report.Severity(uint(line) % 3), Position: report.Position{File: file, Line: max(line, 0) % 1e6}, Object: object, Path: path, Message: message, Hint: hint}
		r := &report.Report{Files: []string{file, "b.yaml"}, Findings: []report.Finding{one, one}}
		checkFormats(t, r)
	})
}

// checkFormats reads each format as its consumers do, and finds in all of them
// the same message: the one of the finding, as Go escapes what does not print.
func checkFormats(t *testing.T, r *report.Report) {
	one := r.Findings[0]
	message, hint, rule, path := report.Printable(one.Message), report.Printable(one.Hint), report.Printable(one.Rule), report.Printable(one.Path)
	oneLine := message
	if hint != "" {
		oneLine += " (hint: " + hint + ")"
	}
	name := rule
	if name == "" {
		name = "clusterpair"
	}

	// Text: one line, or two with a hint, and nothing that moves a cursor.
	text := string(write(t, "text", r))
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	perFinding := 1
	if hint != "" {
		perFinding = 2
	}
	if len(lines) != 2*perFinding+1 {
		t.Fatalf("text: %d lines:\n%q", len(lines), text)
	}
	if !strings.Contains(lines[0], ": "+message) && !strings.HasPrefix(lines[0], one.Severity.String()+": "+message) {
		t.Errorf("text: no %q in %q", message, lines[0])
	}
	full := strings.Join(lines[:perFinding], "\n")
	for _, format := range report.Formats() {
		checkLines(t, format, write(t, format, r), format == "github")
	}

	var document struct {
		Findings []struct {
			Rule, Severity, File, Path, Object, Message, Hint, Fingerprint string
			Line, Column                                                   int
		}
	}
	readJSON(t, write(t, "json", r), &document)
	if len(document.Findings) != 2 || document.Findings[0].Fingerprint == document.Findings[1].Fingerprint {
		t.Fatalf("json: %+v", document)
	}
	if f := document.Findings[0]; f.Message != message || f.Hint != hint || f.Rule != rule || f.Path != path || f.Object != report.Printable(one.Object) || f.Line != one.Position.Line ||
		utf8.ValidString(one.Position.File) && f.File != one.Position.File {
		t.Errorf("json: %+v of %+v", f, one)
	}

	var sarif struct {
		Runs []struct {
			Tool struct {
				Driver struct{ Rules []struct{ ID string } }
			}
			Results []struct {
				RuleID    string
				RuleIndex int
				Message   struct{ Text string }
				Locations []struct {
					PhysicalLocation struct{ ArtifactLocation struct{ URI string } }
				}
			}
		}
	}
	readJSON(t, write(t, "sarif", r), &sarif)
	result := sarif.Runs[0].Results[0]
	if result.Message.Text != oneLine || result.RuleID != name || sarif.Runs[0].Tool.Driver.Rules[result.RuleIndex].ID != name {
		t.Errorf("sarif: %+v of %+v", result, one)
	}
	if uri := result.Locations[0].PhysicalLocation.ArtifactLocation.URI; !isFile(uri, one.Position.File) {
		t.Errorf("sarif: %q is not %q", uri, one.Position.File)
	}

	var suites struct {
		Suites []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Skipped string `xml:"skipped"`
				Failure *struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(write(t, "junit", r), &suites); err != nil {
		t.Fatalf("junit: %v", err)
	}
	found := 0
	for _, suite := range suites.Suites {
		for _, c := range suite.Cases {
			switch {
			case c.Failure != nil && (c.Failure.Message != message || c.Failure.Text != full),
				c.Failure == nil && c.Skipped != "" && c.Skipped != full:
				t.Errorf("junit: %+v of %+v", c, one)
			case c.Failure != nil || c.Skipped != "":
				found++
			}
		}
	}
	if found != 2 {
		t.Errorf("junit: %d findings", found)
	}

	out := write(t, "github", r)
	commands := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(commands) != 3 || strings.Contains(string(out), "\r") {
		t.Fatalf("github: %q", out)
	}
	properties, data := readCommand(t, commands[0])
	if data != full || properties["title"] != "clusterpair "+name {
		t.Errorf("github: %q, %q of %+v", properties, data, one)
	}
	if one.Position.File != "" && properties["file"] != report.FileName(filepath.Clean(one.Position.File)) {
		t.Errorf("github: %q of %+v", properties, one)
	}

	var quality []struct {
		Description, Fingerprint string
		CheckName                string `json:"check_name"`
		Location                 struct {
			Path  string
			Lines struct{ Begin int }
		}
	}
	readJSON(t, write(t, "gitlab", r), &quality)
	if q := quality[0]; q.Description != oneLine || q.CheckName != name || q.Location.Lines.Begin < 1 || q.Fingerprint != document.Findings[0].Fingerprint {
		t.Errorf("gitlab: %+v of %+v", q, one)
	}
}

func readJSON(t *testing.T, document []byte, v any) {
	t.Helper()
	if !utf8.Valid(document) {
		t.Errorf("not UTF-8: %q", document)
	}
	if err := json.Unmarshal(document, v); err != nil {
		t.Fatalf("%v: %q", err, document)
	}
}

// readCommand reads a workflow command as GitHub's runner does.
// https://github.com/actions/runner/blob/main/src/Runner.Common/ActionCommand.cs
func readCommand(t *testing.T, line string) (map[string]string, string) {
	t.Helper()
	head, data, ok := strings.Cut(strings.TrimPrefix(line, "::"), "::")
	name, list, _ := strings.Cut(head, " ")
	if !ok || !strings.HasPrefix(line, "::") || !slices.Contains([]string{"error", "warning", "notice"}, name) {
		t.Fatalf("github: not a command: %q", line)
	}
	properties := make(map[string]string)
	for property := range strings.SplitSeq(list, ",") {
		name, value, _ := strings.Cut(property, "=")
		properties[name] = strings.NewReplacer("%25", "%", "%0D", "\r", "%0A", "\n", "%3A", ":", "%2C", ",").Replace(value)
	}
	return properties, strings.NewReplacer("%25", "%", "%0D", "\r", "%0A", "\n").Replace(data)
}

// isFile tells whether a URI of SARIF leads back to a file.
func isFile(uri, file string) bool {
	u, err := url.Parse(uri)
	return err == nil && u.RawQuery == "" && u.Fragment == "" && filepath.Clean(u.Path) == filepath.Clean(file)
}

// TestManyFindings writes 10,000 findings without holding the document: what a
// writer allocates beyond its buffer is garbage at once.
func TestManyFindings(t *testing.T) {
	r := &report.Report{Version: "v0"}
	for i := range 10_000 {
		file := fmt.Sprintf("pairs/%05d.yaml", i/3)
		r.Files = append(r.Files, file)
		r.Findings = append(r.Findings, report.Finding{Rule: "tls-skipped", Position: report.Position{File: file, Line: i%3 + 1}, Message: "m"})
	}
	for _, format := range report.Formats() {
		w := &longest{}
		if err := report.Write(w, format, r); err != nil {
			t.Fatal(err)
		}
		if w.write > 64<<10 || w.total < 10_000 {
			t.Errorf("%s: %d bytes, %d in one write", format, w.total, w.write)
		}
	}
}

type longest struct{ write, total int }

func (l *longest) Write(p []byte) (int, error) {
	l.write, l.total = max(l.write, len(p)), l.total+len(p)
	return len(p), nil
}

func TestWriteFails(t *testing.T) {
	full := errors.New("disk full")
	for _, format := range report.Formats() {
		if err := report.Write(failing{full}, format, sample()); !errors.Is(err, full) {
			t.Errorf("%s: got %v", format, err)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func write(t testing.TB, format string, r *report.Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, format, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func BenchmarkWrite(b *testing.B) {
	r := &report.Report{Version: "v0"}
	for i := range 10_000 {
		file := fmt.Sprintf("pairs/%05d.yaml", i/3)
		r.Files = append(r.Files, file)
		r.Findings = append(r.Findings, report.Finding{Rule: "tls-skipped", Position: report.Position{File: file, Line: i%3 + 1, Column: 3},
			Path: "spec.config.clusters.east.insecure-skip-tls-verify", Message: "the server's certificate is not verified", Hint: "put certificate-authority-data"})
	}
	for _, format := range report.Formats() {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := report.Write(io.Discard, format, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
