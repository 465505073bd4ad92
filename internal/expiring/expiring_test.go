package expiring

import (
	"bufio"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// pair is a ClusterPair in namespace apps with annotations that tell an end.
func pair(t *testing.T, name, annotations string) *yaml.Node {
	t.Helper()
	var doc yaml.Node
	text := "kind: ClusterPair\nmetadata:\n  name: " + name + "\n  namespace: apps\n  annotations: {" + annotations + "}\n"
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	return doc.Content[0]
}

const (
	expires = "clusterpair.dev/credential-expires"
	kind    = "clusterpair.dev/credential-kind"
	ca      = "clusterpair.dev/destination-ca-expires"
)

// fleet are ends of every state. It is now 2026-01-01.
func fleet(t *testing.T) (*Set, time.Time) {
	var s Set
	s.Add("never.yaml", pair(t, "never", expires+": never"))
	s.Add("soon.yaml", pair(t, "soon", expires+": 2026-01-02T00:00:00Z"))
	s.Add("ended.yaml", pair(t, "ended", expires+": 2025-01-01T00:00:00Z"))
	s.Add("pod.yaml", pair(t, "pod", expires+": unknown, "+kind+": pod-token"))
	s.Add("rancher.yaml", pair(t, "rancher", expires+": unknown, "+kind+": rancher-token, "+ca+": 2026-01-10T00:00:00Z"))
	s.Add("twice.yaml", pair(t, "twice", expires+": 2028-01-01T00:00:00Z"))
	s.Add("twice.yaml", pair(t, "twice", expires+": 2027-01-01T00:00:00Z"))
	s.Add("template.yaml", pair(t, `""`, expires+": 2025-01-01T00:00:00Z"))
	return &s, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
}

func names(ends []End) string {
	var all []string
	for _, e := range ends {
		all = append(all, e.Name)
	}
	return strings.Join(all, " ")
}

func TestSelect(t *testing.T) {
	s, now := fleet(t)
	all := s.Ends()
	if got, want := names(all), "ended soon twice pod rancher never"; got != want {
		t.Errorf("all: got %s, want %s", got, want)
	}
	month := now.Add(30 * 24 * time.Hour)
	for _, c := range []struct {
		until   time.Time
		unknown bool
		want    string
		hidden  int
	}{
		{month, false, "ended soon rancher", 1}, // the CA of rancher ends
		{month, true, "ended soon pod rancher", 0},
		{time.Time{}, true, "pod rancher", 0},
		{now, false, "ended", 2},
		{now.Add(-time.Hour), true, "ended pod rancher", 0},
	} {
		ends, hidden := Select(all, c.until, c.unknown)
		if names(ends) != c.want || hidden != c.hidden {
			t.Errorf("until %s, unknown %v: got %s and %d hidden, want %s and %d", c.until, c.unknown, names(ends), hidden, c.want, c.hidden)
		}
	}
}

// An annotation that is no time is a finding with its place, without its value.
func TestBadAnnotation(t *testing.T) {
	var s Set
	s.Add("a.yaml", pair(t, "a", expires+": s3cret"))
	findings := s.Findings()
	if len(findings) != 1 || len(s.Ends()) != 0 {
		t.Fatalf("%v, %v", findings, s.Ends())
	}
	got := findings[0].String()
	if !strings.HasPrefix(got, "a.yaml:5:") || strings.Contains(got, "s3cret") || findings[0].Rule != "value-type" {
		t.Error(got)
	}
}

func TestWrite(t *testing.T) {
	s, now := fleet(t)
	for format, want := range map[string][]string{
		"table": {
			"NAMESPACE   NAME      EXPIRES                IN      FILE\n",
			"apps        ended     2025-01-01T00:00:00Z   ended   ended.yaml\n",
			"apps        soon      2026-01-02T00:00:00Z   24h     soon.yaml\n",
			"apps        twice     2027-01-01T00:00:00Z   365d    twice.yaml\n",
			"apps        rancher   unknown                        rancher.yaml   # a token of Rancher, 30 days by default; the CA ends on 2026-01-10T00:00:00Z\n",
			"apps        never     never                          never.yaml\n",
		},
		"json": {
			`"name": "soon",
    "expires": "2026-01-02T00:00:00Z",
    "expiry": "known",
    "ends": "credential",`,
			`"expires": "",
    "expiry": "unknown",
    "ends": "",
    "credential": "rancher-token",
    "caExpires": "2026-01-10T00:00:00Z",
    "file": "rancher.yaml"`,
		},
		"ics": {
			"SUMMARY:Credential of ClusterPair apps/soon ends\r\n",
			"DTSTART:20260102T000000Z\r\n",
			"DTSTART;VALUE=DATE:20260101\r\n",
			"SUMMARY:CA of ClusterPair apps/rancher ends\r\n",
		},
		"prometheus": {
			"# HELP clusterpair_credential_expires_timestamp_seconds When the credential of a committed ClusterPair ends, in seconds since the epoch; +Inf if never.\n" +
				"# TYPE clusterpair_credential_expires_timestamp_seconds gauge\n",
			"# HELP clusterpair_credential_expires_known Whether it is known when the credential of a committed ClusterPair ends: 1, or 0 if nothing tells.\n" +
				"# TYPE clusterpair_credential_expires_known gauge\n",
			"# HELP clusterpair_destination_ca_expires_timestamp_seconds When the CA of the destination of a committed ClusterPair ends, in seconds since the epoch.\n" +
				"# TYPE clusterpair_destination_ca_expires_timestamp_seconds gauge\n",
			`clusterpair_credential_expires_timestamp_seconds{kind="ClusterPair",namespace="apps",name="soon",file="soon.yaml"} 1767312000` + "\n",
			`clusterpair_credential_expires_timestamp_seconds{kind="ClusterPair",namespace="apps",name="never",file="never.yaml"} +Inf` + "\n",
			`clusterpair_credential_expires_known{kind="ClusterPair",namespace="apps",name="pod",file="pod.yaml"} 0` + "\n",
			`clusterpair_destination_ca_expires_timestamp_seconds{kind="ClusterPair",namespace="apps",name="rancher",file="rancher.yaml"} 1768003200` + "\n",
		},
	} {
		var b strings.Builder
		if err := Write(&b, format, s.Ends(), now, now.Add(30*24*time.Hour)); err != nil {
			t.Fatal(err)
		}
		for _, line := range want {
			if !strings.Contains(b.String(), line) {
				t.Errorf("%s: there is no\n%s in\n%s", format, line, &b)
			}
		}
		if strings.Contains(b.String(), "2028") {
			t.Errorf("%s: of two ends the later one is shown", format)
		}
	}
	for format, want := range map[string]string{"table": "", "json": "[]\n"} {
		var b strings.Builder
		if err := Write(&b, format, []End{}, now, now); err != nil || b.String() != want {
			t.Errorf("%s of nothing: %q, %v", format, &b, err)
		}
	}
}

// TestFold: no line of a calendar begins with what GitHub takes for a command, whatever a
// file is called, and each has at most 75 octets.
func TestFold(t *testing.T) {
	for name, want := range map[string]string{
		strings.Repeat("a", 72) + "::error::b":                                   strings.Repeat("a", 72) + "::error::b",
		strings.Repeat("a", 74) + "  ::b":                                        strings.Repeat("a", 74) + "  ::b",
		strings.Repeat(":", 200):                                                 strings.Repeat(":", 73) + "…",
		"a" + strings.Repeat(" ", 100) + "::b":                                   "a" + strings.Repeat(" ", 73) + "…b",
		"é" + strings.Repeat("\u00a0", 80) + "::b::c" + strings.Repeat(":", 300): "",
	} {
		var b strings.Builder
		w := bufio.NewWriter(&b)
		fold(w, "X:"+name)
		w.Flush()
		for line := range strings.SplitSeq(b.String(), "\r\n") {
			if isCommand(line) || len(line) > 75 || !utf8.ValidString(line) {
				t.Errorf("%q gives the line %q of %d octets", name, line, len(line))
			}
		}
		if got := strings.ReplaceAll(strings.TrimSuffix(b.String(), "\r\n"), "\r\n ", ""); want != "" && got != "X:"+want {
			t.Errorf("%q becomes %q, not %q", name, got, want)
		}
	}
}
