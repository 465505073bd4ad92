package audit

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unique"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

var now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

func sample() *inventory.Inventory {
	east, west := &inventory.Cluster{Name: "east", Group: "eu", Source: true}, &inventory.Cluster{Name: "west", Destination: true}
	const id = "secret:kube-system/stork-1"
	return &inventory.Inventory{Judged: true, Clusters: []*inventory.Cluster{east, west}, Recipients: map[string]string{"age1east": "east"}, Accounts: map[string]string{id: "kube-system/stork"},
		Exceptions: []inventory.Exception{{Fleet: "dr", To: "role=lab", Reason: "no route"}}, Elsewhere: []report.Finding{{Rule: "shadowed-rule", Severity: report.Error, Position: report.Position{File: ".sops.yaml", Line: 3}, Message: "never applies"}},
		Pairs: []inventory.Pair{
			{From: east, To: west, Namespace: "apps", Name: "one", File: "one.yaml", Encrypted: true, Readers: unique.Make("age1east\tage1all"), Modified: now.Unix(), Credential: id,
				End: &kubeconfig.End{State: kubeconfig.Known, What: "the credential", At: now.AddDate(0, 0, 7)}, Waivers: []inventory.Waiver{{Rule: "insecure-tls", Reason: "a lab"}}},
			{From: east, To: west, Namespace: "apps", Name: "two", File: "two.yaml", Encrypted: true, Readers: unique.Make("age1east\nage1board\nage1all\n\n\n"), Credential: "opaque:4cf8e8f204f763e775ea9d3249bd9fc7,certificate:" + strings.Repeat("ab", 32),
				End: &kubeconfig.End{State: kubeconfig.Never, CA: now.AddDate(0, 0, -1)}, Findings: []report.Finding{{Rule: "credential-expired", Message: "the CA has ended"}, {Rule: "insecure-tls", Waived: "an old lab"}}},
			{From: east, To: west, Namespace: "apps", Name: "three", File: "three.yaml", End: &kubeconfig.End{}},
			{From: east, To: west, Namespace: "apps", Name: "four", File: "four.yaml", Missing: true, End: &kubeconfig.End{}},
		}}
}

func written(t *testing.T, format string, inv *inventory.Inventory) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, format, inv, Options{Now: now, Within: 30 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	for format, want := range map[string][]string{
		"markdown": {
			"| ClusterPairs | 3 |\n", "| not rendered | 1 |\n", "| not encrypted | 1 |\n", "| credential has ended | 1 |\n", "| credential ends within 30 days | 1 |\n",
			"| R1 | age1all | unknown | 2 |\n", "| R3 | age1east | east | 2 |\n", "## On east (eu)\n",
			"| west | apps/one<br>one.yaml | token of service account kube-system/stork, in Secret kube-system/stork-1 of the destination | 2026-12-08T00:00:00Z (soon) | 2026-12-01T00:00:00Z | R3 or R1 | insecure-tls: a lab | none |\n",
			"| west | apps/two<br>two.yaml | token 4cf8e8f2 and client certificate abababab | without end; the CA ends on 2026-11-30T00:00:00Z (has ended) | unknown | any 2 of: (R3), (R2), (R1) | insecure-tls: an old lab | error credential-expired: the CA has ended |\n",
			"| west | apps/three<br>three.yaml | unknown | unknown | not encrypted | whoever reads the file | none | none |\n",
			"| west | apps/four<br>four.yaml | | not rendered | | | none | none |\n",
			"| dr | all | role=lab | no route | without end |\n", "| .sops.yaml:3 | error shadowed-rule: never applies |\n", "## What this report does not know\n",
		},
		"html": {"<h2>On east (eu)</h2>", "<tr><th scope=\"row\">west</th><td>apps/one<br>one.yaml</td>", "default-src 'none'; style-src 'sha256-"},
		"json": {`"recipients":[["age1east"],["age1board"],["age1all"]],"needed":2,"encryptedOn":""`, `"account":"kube-system/stork"`, `"rendered":false`, `"waivers":[{"rule":"insecure-tls","reason":"a lab"}]`},
	} {
		got := written(t, format, sample())
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: there is no\n%s in\n%s", format, part, got)
			}
		}
	}
}

// TestHostile puts texts that mean something in Markdown or HTML into every place.
func TestHostile(t *testing.T) {
	for _, name := range []string{"a|b", "</td></table><script>x</script>", "a\nb", "`code`", "[x](http://evil)", "![x](y)", "*b*", "<!-- ", "@team", "https://evil.example", "www.evil.example", "# h", "\\", "&amp;", "\x1b[31m", "$x$", "~~x~~", "_x_"} {
		inv := sample()
		for _, c := range inv.Clusters {
			c.Name, c.Group = name, name
		}
		inv.Recipients = map[string]string{"age1east": name}
		inv.Exceptions[0] = inventory.Exception{Fleet: name, From: name, To: name, Reason: name, Until: name}
		for i := range inv.Pairs {
			p := &inv.Pairs[i]
			p.Namespace, p.Name, p.File, p.Waivers = name, name, name, []inventory.Waiver{{Rule: name, Reason: name}}
			p.Findings = []report.Finding{{Rule: name, Message: name}, {Rule: name, Waived: name}}
		}
		for line := range strings.Lines(written(t, "markdown", inv)) {
			text := strings.ReplaceAll(strings.TrimSuffix(line, "\n"), "<br>", " ")
			if unescaped.MatchString(text) && !strings.HasPrefix(text, "|---") || strings.Contains(text, "@") || strings.Contains(text, "://") || strings.Contains(text, "www.") {
				t.Errorf("markdown: %q makes %q", name, line)
			}
			if n := len(bar.FindAllString(text, -1)); n != 0 && n != 3 && n != 5 && n != 6 && n != 9 {
				t.Errorf("markdown: %q makes a row of %d bars: %q", name, n, line)
			}
		}
		page := written(t, "html", inv)
		if strings.Contains(page, "<script") || strings.Contains(page, "<!-- ") || strings.Count(page, "<table>") != strings.Count(page, "</table>") {
			t.Errorf("html: %q is markup", name)
		}
		var any struct{ Pairs []jsonPair }
		if err := json.Unmarshal([]byte(written(t, "json", inv)), &any); err != nil || any.Pairs[0].Name != name {
			t.Errorf("json: %q: %v", name, err)
		}
	}
}

// What would mean something in Markdown, and the bars of a table.
var (
	unescaped = regexp.MustCompile("(^|[^\\\\])[`*_\\[\\]<>!~$]")
	bar       = regexp.MustCompile(`(^|[^\\])\|`)
)
