package report_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"clusterpair.dev/internal/report"
)

// hostile are names and texts that somebody may put into a repository to have a
// terminal or a CI system do something.
var hostile = []string{
	"::error::injected", "  ::set-output name=x::y", "##[error]injected", "##vso[task.setvariable variable=x]y", "##teamcity[buildStop]", ":", " :", ":a",
	"a\n::error::injected", "a\r\n::error::injected", "a\u2028::error::injected", "a\u0085::error::injected",
	"\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "\u009b31m", "back\b\b\bspace", "\x00", "tab\tbed", "\x7f",
	"pair\u202egnp.yaml", "\u2066isolated\u2069", "zero\u200bwidth", "\ufeffmark", "soft\u00adhyphen", "\U000e0041tag", "latin\xe9", "\u061c",
}

// checkLines fails if an output of clusterpair holds what a terminal or a CI
// system takes for more than text. Lines of workflow commands are meant to begin
// with ::.
func checkLines(t *testing.T, what string, output []byte, commands bool) {
	t.Helper()
	for line := range strings.Lines(string(output)) {
		line = strings.TrimSuffix(line, "\n")
		if !commands && strings.HasPrefix(strings.TrimLeftFunc(line, unicode.IsSpace), "::") {
			t.Errorf("%s: GitHub takes a line for a command: %q", what, line)
		}
		if at := strings.Index(line, "##"); at >= 0 {
			t.Errorf("%s: a CI system may take a line for a command: %q", what, line)
		}
		if !utf8.ValidString(line) {
			t.Errorf("%s: a line is not UTF-8: %q", what, line)
		}
		for _, r := range line {
			if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs) {
				t.Errorf("%s: a line holds %U: %q", what, r, line)
			}
		}
	}
}

func TestPrintable(t *testing.T) {
	for _, text := range hostile {
		for _, shown := range []string{report.Printable(text), report.FileName(text), report.Position{File: text, Line: 1}.String(), report.Typed(text)} {
			checkLines(t, "text", []byte(shown), false)
			if strings.Contains(shown, "\n") {
				t.Errorf("%q is not one line", shown)
			}
		}
		if twice := report.Printable(report.Printable(text)); twice != report.Printable(text) {
			t.Errorf("twice %q is %q", text, twice)
		}
	}
	for text, want := range map[string]string{
		"":                               "",
		"clusters/東京/pair.yaml":          "clusters/東京/pair.yaml",
		`a "quoted" \n text`:             `a "quoted" \n text`,
		"Stork::Pair":                    "Stork::Pair",
		"# a heading":                    "# a heading",
		"a\nb":                           `a\nb`,
		"::error::":                      `\x3a:error::`,
		"##[error]":                      `#\x23[error]`,
		"\u202e":                         `\u202e`,
		"\xe9":                           `\xe9`,
		`parse "https://u:p w@h": bad`:   `parse "https://h": bad`,
		"Get https://h/a?token=x: EOF":   "Get https://h/a: EOF",
		"see https://h/a, or http://u@g": "see https://h/a, or http://g",
	} {
		if got := report.Printable(text); got != want {
			t.Errorf("Printable(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestURL(t *testing.T) {
	for raw, want := range map[string]string{
		"https://west.example.com:6443":                                      "https://west.example.com:6443",
		"https://rancher.example.com/k8s/clusters/c-m-7gq2x9vk":              "https://rancher.example.com/k8s/clusters/c-m-7gq2x9vk",
		"https://[2001:db8::1]:6443":                                         "https://[2001:db8::1]:6443",
		"https://[2001:db8::1]":                                              "https://[2001:db8::1]",
		"https://bücher.example":                                             "https://bücher.example",
		"https://h/subscriptions/4b3c8c5e-93f6-4f3a-9d0c-0c5d6a1b2c3d/x":     "https://h/subscriptions/4b3c8c5e-93f6-4f3a-9d0c-0c5d6a1b2c3d/x",
		"https://user:password@west.example.com:6443/a":                      "https://west.example.com:6443/a",
		"https://token@west.example.com":                                     "https://west.example.com",
		"https://west.example.com?token=t":                                   "https://west.example.com",
		"https://west.example.com/#access_token=t":                           "https://west.example.com/",
		"https://west.example.com/a;token=t":                                 "https://west.example.com/…",
		"https://west.example.com/eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln": "https://west.example.com/…",
		"https://user:pa/ss@west.example.com":                                "https://…",
		"https://user:pa?ss@west.example.com":                                "https://…",
		"https://user:pa@ss@west.example.com":                                "https://west.example.com",
		"https://user:password":                                              "https://user:…",
		"https://user:pa ss@west.example.com":                                "https://west.example.com",
		`https:\\user:password@west.example.com`:                             "…",
		"user:password@west.example.com:6443":                                "west.example.com:6443",
		"git@github.com:acme/fleet.git":                                      "github.com:…/fleet.git",
		"10.0.0.1:6443":                                                      "10.0.0.1:6443",
		"not a URL at all, but a secret":                                     "…",
		"two words://h":                                                      "…",
		"":                                                                   "",
	} {
		if got := report.URL(raw); got != want {
			t.Errorf("URL(%q) = %q, want %q", raw, got, want)
		}
	}
}

// FuzzPrintable shows any text in every way there is: as a text, a file's name,
// lines, JSON, and within a finding in every format. Nothing of it reaches a
// terminal or a CI system but as text, and JSON gives it back.
func FuzzPrintable(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, text)
	}
	f.Add("://", "#")
	f.Add("a", "https://user:password@west.example.com/?token=t")
	f.Fuzz(func(t *testing.T, text, name string) {
		for _, shown := range []string{report.Printable(text), report.FileName(text), report.URL(text), report.Typed(text)} {
			if strings.Contains(shown, "\n") {
				t.Errorf("%q is not one line", shown)
			}
			checkLines(t, "text", []byte(shown), false)
		}
		checkLines(t, "lines", []byte(strings.ReplaceAll(report.Lines(text), "\t", "")), false)
		if twice := report.Printable(report.Printable(text)); twice != report.Printable(text) {
			t.Errorf("twice %q is %q", report.Printable(text), twice)
		}
		document, err := report.JSON(map[string]string{"text": text}, "")
		if err != nil {
			t.Fatal(err)
		}
		checkLines(t, "JSON", document, false)
		var read map[string]string
		if err := json.Unmarshal(document, &read); err != nil || read["text"] != strings.ToValidUTF8(text, "\ufffd") && utf8.ValidString(text) {
			t.Errorf("%q comes back from JSON as %q, %v", text, read["text"], err)
		}
		finding := report.Finding{Rule: text, Severity: report.Error, Position: report.Position{File: name, Line: 1}, Message: text, Hint: text, Object: name, Path: text}
		for _, format := range report.Formats() {
			checkLines(t, format, write(t, format, &report.Report{Findings: []report.Finding{finding}, Files: []string{text}}), format == "github")
		}
	})
}
