package report

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// TestCheckWriters writes one thing with a check of each status in each format.
func TestCheckWriters(t *testing.T) {
	thing := func() Checked {
		return Checked{
			Title: "east", Head: "east  https://east.test",
			JSON: func(checks any) any {
				return struct {
					Name   string `json:"name"`
					Checks any    `json:"checks"`
				}{"east", checks}
			},
			Checks: []Check{
				{Name: "dns", Status: Passed, Text: "found\x1b[31m"},
				{Name: "tls", Status: Warned, Text: "ends soon", Rule: "server-certificate-expiring", Hint: "renew it"},
				{Name: "version", Status: Failed, Text: "no answer", Details: []string{"first", "second"}, Rule: "unreachable"},
				{Name: "stork", Status: Skipped, Text: "needs version"},
			},
		}
	}
	for name, c := range map[string]struct {
		options CheckOptions
		want    string
	}{
		"text": {CheckOptions{Format: "text"}, `east  https://east.test
  ok       dns             found\x1b[31m
  warning  tls             ends soon [server-certificate-expiring]
                           hint: renew it
  error    version         no answer [unreachable]
                           first
                           second
  skipped  stork           needs version
1 destination: 1 error, 1 warning, 1 skipped
`},
		"quiet text": {CheckOptions{Format: "text", Quiet: true}, `east  https://east.test
  error    version         no answer [unreachable]
                           first
                           second
`},
		"json": {CheckOptions{Format: "json", Version: "v1"}, `{
  "version": "v1",
  "summary": {
    "destinations": 1,
    "errors": 1,
    "warnings": 1,
    "skipped": 1
  },
  "destinations": [
    {
      "name": "east",
      "checks": [
        {
          "check": "dns",
          "status": "ok",
          "text": "found\\x1b[31m",
          "details": [],
          "rule": "",
          "hint": ""
        },
        {
          "check": "tls",
          "status": "warning",
          "text": "ends soon",
          "details": [],
          "rule": "server-certificate-expiring",
          "hint": "renew it"
        },
        {
          "check": "version",
          "status": "error",
          "text": "no answer",
          "details": [
            "first",
            "second"
          ],
          "rule": "unreachable",
          "hint": ""
        },
        {
          "check": "stork",
          "status": "skipped",
          "text": "needs version",
          "details": [],
          "rule": "",
          "hint": ""
        }
      ]
    }
  ]
}
`},
		"junit": {CheckOptions{Format: "junit"}, `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="clusterpair" tests="4" failures="1" errors="0">
  <testsuite name="east" tests="4" failures="1" errors="0" skipped="2">
    <testcase name="dns" classname="east"/>
    <testcase name="tls" classname="east">
      <skipped>ends soon&#xA;hint: renew it</skipped>
    </testcase>
    <testcase name="version" classname="east">
      <failure type="unreachable" message="no answer">no answer&#xA;first&#xA;second</failure>
    </testcase>
    <testcase name="stork" classname="east">
      <skipped>needs version</skipped>
    </testcase>
  </testsuite>
</testsuites>
`},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			c.options.One, c.options.More = "destination", "destinations"
			w := NewCheckWriter(&b, c.options)
			w.Add(thing())
			if err := w.End(); err != nil {
				t.Fatal(err)
			}
			if b.String() != c.want {
				t.Errorf("got:\n%s\nwant:\n%s", b.String(), c.want)
			}
		})
	}
	var b strings.Builder
	w := NewCheckWriter(&b, CheckOptions{Format: "junit", Strict: true})
	w.Add(thing())
	if err := w.End(); err != nil || !strings.Contains(b.String(), `failures="2" errors="0" skipped="1"`) {
		t.Errorf("a strict run does not fail by a warning: %v\n%s", err, &b)
	}
	for _, format := range CheckFormats() {
		w := NewCheckWriter(full{}, CheckOptions{Format: format})
		w.Add(thing())
		if w.End() == nil {
			t.Errorf("%s: nobody is told that nothing could be written", format)
		}
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestWords(t *testing.T) {
	if got := Count(1, "file", "files") + ", " + Count(0, "file", "files"); got != "1 file, 0 files" {
		t.Error(got)
	}
	lines := []string{"a", "b", "c", "d", "e", "f", "g"}
	if got := Few(lines[:6]); len(got) != 6 {
		t.Errorf("one more line is no reason to cut: %q", got)
	}
	if got := Few(lines); !slices.Equal(got, []string{"a", "b", "c", "d", "e", "… and 2 more"}) || lines[5] != "f" {
		t.Errorf("%q of %q", got, lines)
	}
	if got := TypedAll([]string{"a", "b c"}); !slices.Equal(got, []string{"a", "'b c'"}) {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{Finding{Message: "wrong", Path: "spec"}, "a.yaml: spec: wrong"},
		{Finding{Message: "wrong", Path: "spec", Position: Position{File: "b.yaml", Line: 2, Column: 3}}, "b.yaml:2:3: wrong"},
		{errors.New("no such file\nat all"), "a.yaml: no such file"},
		{errors.New("open a.yaml: no such file"), "open a.yaml: no such file"},
	} {
		if got := ErrorLine(c.err, "a.yaml"); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
