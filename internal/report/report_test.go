package report_test

import (
	"strings"
	"testing"

	"clusterpair.dev/internal/report"
)

func TestWriteText(t *testing.T) {
	findings := []report.Finding{
		{Rule: "b", Severity: report.Warning, Position: report.Position{File: "b.yaml", Line: 2}, Message: "second file"},
		{Rule: "a", Severity: report.Error, Position: report.Position{File: "a.yaml", Line: 10, Column: 3}, Message: "tenth line", Hint: "do this"},
		{Rule: "c", Severity: report.Info, Position: report.Position{File: "a.yaml", Line: 9, Column: 1}, Path: "spec.x", Message: "ninth line"},
		{Severity: report.Error, Position: report.Position{File: "Secret/a"}, Path: "data", Message: "no line, no rule"},
		{Rule: "d", Severity: report.Error, Message: "nowhere"},
	}
	var b strings.Builder
	if err := report.WriteText(&b, findings); err != nil {
		t.Fatal(err)
	}
	const want = `error: nowhere [d]
Secret/a: data: error: no line, no rule
a.yaml:9:1: info: ninth line [c]
a.yaml:10:3: error: tenth line [a]
  hint: do this
b.yaml:2: warning: second file [b]
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &b, want)
	}
	if !report.HasErrors(findings) || report.HasErrors(findings[5:]) || report.HasErrors([]report.Finding{{Severity: report.Warning}}) {
		t.Error("HasErrors is wrong about errors or warnings")
	}
}

func TestNearest(t *testing.T) {
	names := []string{"namespace", "name", "storkVersion", "tls-skipped"}
	for got, want := range map[string]string{
		"namspace": "namespace", "NAME": "name", "nmae": "name", "storkversion": "storkVersion",
		"tls-skiped": "tls-skipped", "pairs": "", "": "", "zzz": "",
	} {
		if near := report.Nearest(got, names); near != want {
			t.Errorf("Nearest(%q) = %q, want %q", got, near, want)
		}
	}
}
