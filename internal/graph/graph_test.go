package graph

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/report"
)

var now = time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)

// sample is a fleet of three clusters with a pair of each kind, east to west ended, west to
// east one of two in a week.
func sample() *inventory.Inventory {
	east, west, ops := &inventory.Cluster{Name: "east", Group: "eu", Source: true, Destination: true}, &inventory.Cluster{Name: "west", Group: "us", Source: true, Destination: true}, &inventory.Cluster{Name: "ops", Group: "eu", Source: true}
	at := func(days int) *kubeconfig.End {
		return &kubeconfig.End{State: kubeconfig.Known, What: "the credential", At: now.AddDate(0, 0, days)}
	}
	return &inventory.Inventory{Label: "region", Judged: true, Clusters: []*inventory.Cluster{east, ops, west}, Pairs: []inventory.Pair{
		{From: east, To: west, Namespace: "apps", Name: "west", File: "east/west.yaml", Back: true, End: at(-1)},
		{From: ops, To: east, Namespace: "apps", Name: "east", File: "ops/east.yaml", End: &kubeconfig.End{State: kubeconfig.Never}},
		{From: ops, To: west, Namespace: "apps", Name: "west", File: "ops/west.yaml", Missing: true},
		{From: west, To: east, Namespace: "apps", Name: "east", File: "west/east.yaml", Back: true, End: at(400)},
		{From: west, To: east, Namespace: "crm", Name: "east", File: "west/crm.yaml", Back: true, End: at(7), Findings: []report.Finding{
			{Rule: "credential-expiring", Severity: report.Warning, Message: "the credential ends soon"}, {Rule: "insecure-tls", Waived: "lab"}}},
	}}
}

// mesh is one of n clusters in groups, each paired with all others.
func mesh(n, groups int) *inventory.Inventory {
	inv := &inventory.Inventory{}
	for i := range n {
		inv.Clusters = append(inv.Clusters, &inventory.Cluster{Name: fmt.Sprintf("c%03d", i), Source: true, Destination: true})
	}
	if groups > 0 {
		inv.Label = "region"
		for i, c := range inv.Clusters {
			c.Group = fmt.Sprintf("g%02d", i*groups/n)
		}
	}
	for _, a := range inv.Clusters {
		for i, b := range inv.Clusters {
			if a != b {
				inv.Pairs = append(inv.Pairs, inventory.Pair{From: a, To: b, Namespace: "apps", Name: "to-" + b.Name, File: "clusters/" + a.Name + "/pairs/apps/to-" + b.Name + ".yaml",
					Back: true, End: &kubeconfig.End{State: kubeconfig.Known, At: now.AddDate(0, 0, 100+i)}})
			}
		}
	}
	return inv
}

func draw(t *testing.T, format string, inv *inventory.Inventory) string {
	t.Helper()
	var b strings.Builder
	if err := Write(&b, format, inv, Options{Now: now, Within: 30 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestWrite(t *testing.T) {
	for format, want := range map[string][]string{
		"dot": {
			`subgraph cluster_0 {`, `label="eu";`, `c1 [label="ops"];`,
			`c0 -> c2 [color="#b3123f", style=solid, tooltip="east → west: apps/west, ends 2026-11-30T00:00:00Z"];`,
			`c1 -> c0 [color="#6a4fb3", style=dashed, tooltip="ops → east: apps/east, never ends; no way back"];`,
			`c1 -> c2 [color="#686e77", style=dotted, tooltip="ops → west: apps/west, not rendered; no way back"];`,
			`c2 -> c0 [color="#a35f00", style=solid, tooltip="west → east: apps/east, ends 2028-01-05T00:00:00Z; crm/east, ends 2026-12-08T00:00:00Z, warning credential-expiring", arrowhead=dotnormal];`,
		},
		"mermaid": {
			"flowchart LR\n  subgraph g0[\"eu\"]\n    c0[\"east\"]\n    c1[\"ops\"]\n  end\n  subgraph g1[\"us\"]\n    c2[\"west\"]\n  end\n",
			"  c0 -->|\"ended\"| c2\n  c1 -->|\"never ends\"| c0\n  c1 -->|\"not rendered\"| c2\n  c2 -->|\"ends soon, finding\"| c0\n",
			"  linkStyle 0 stroke:#b3123f\n  linkStyle 2 stroke:#686e77\n  linkStyle 3 stroke:#a35f00\n  linkStyle 1 stroke:#6a4fb3\n",
		},
		"json": {
			`{"label": "region", "validated": true,`, `{"name":"ops","group":"eu","source":true,"destination":false}`,
			`{"source":"ops","destination":"west","namespace":"apps","name":"west","file":"ops/west.yaml","rendered":false,"wayBack":false,"expires":"","expiry":"unknown","ends":"","credential":"","caExpires":"","findings":[]}`,
			`"expires":"2026-12-08T00:00:00Z","expiry":"known","ends":"credential","credential":"","caExpires":"","findings":[{"rule":"credential-expiring","severity":"warning","message":"the credential ends soon","waived":""},{"rule":"insecure-tls",`,
		},
		"svg": {
			"<title id=\"t\">4 ClusterPairs from 3 source clusters to 2 destinations</title>",
			`<g><title>ops → east: apps/east, never ends; no way back</title><rect class="never o"`, `<rect class="missing o"`, `<circle class="dot"`, ">finding of validate<", ">ends within 30 days<", ">not rendered<",
		},
	} {
		got := draw(t, format, sample())
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: there is no\n%s in\n%s", format, part, got)
			}
		}
		if again := draw(t, format, sample()); again != got {
			t.Errorf("%s: two runs differ", format)
		}
	}
}

// TestLarge: more than Mermaid draws is drawn by groups, and a picture stays small.
func TestLarge(t *testing.T) {
	if got, want := draw(t, "mermaid", mesh(40, 2)), "flowchart LR\n  g0[\"g00: 20 clusters\"]\n  g1[\"g01: 20 clusters\"]\n  g0 -->|\"380 pairs\"| g0\n  g0 -->|\"400 pairs\"| g1\n  g1 -->|\"400 pairs\"| g0\n  g1 -->|\"380 pairs\"| g1\n"; got != want {
		t.Errorf("got\n%s", got)
	}
	if got := draw(t, "mermaid", mesh(30, 2)); strings.Count(got, "<-->") != 435 {
		t.Errorf("435 arrows back and forth are not drawn: %d", strings.Count(got, "<-->"))
	}
	if got := draw(t, "svg", mesh(200, 4)); len(got) > 60<<10 || !strings.Contains(got, "patternUnits") {
		t.Errorf("the picture of 39,800 pairs has %d bytes", len(got))
	}
}

// TestHostile puts names that end a text into every place of every format.
func TestHostile(t *testing.T) {
	for _, name := range []string{`</script><script>alert(1)</script>`, `"]; x -> y; "`, `a|b`, "a\nb", `a\`, "a\"b", "end", "]]>", "--> ", "#quot;", "<!--", "&lt;", "${x}", "`", "\u2028", "\x00", "\xff"} {
		inv := sample()
		inv.Label = name
		for _, c := range inv.Clusters {
			c.Name, c.Group = name+c.Name, name+c.Group
		}
		for i := range inv.Pairs {
			p := &inv.Pairs[i]
			p.Namespace, p.Name, p.File = name, name, name
			for k := range p.Findings {
				p.Findings[k].Message, p.Findings[k].Rule = name, name
			}
		}
		decoder := xml.NewDecoder(strings.NewReader(draw(t, "svg", inv)))
		for {
			token, err := decoder.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("svg: %q: %v", name, err)
			}
			if start, ok := token.(xml.StartElement); ok && start.Name.Local == "script" {
				t.Errorf("svg: %q is an element", name)
			}
		}
		var any struct{ Pairs []jsonPair }
		if err := json.Unmarshal([]byte(draw(t, "json", inv)), &any); err != nil || any.Pairs[0].Name != strings.ToValidUTF8(name, "\ufffd") {
			t.Errorf("json: %q: %v, %q", name, err, any.Pairs[0].Name)
		}
		for line := range strings.Lines(draw(t, "dot", inv)) {
			if !dotLine.MatchString(line) {
				t.Errorf("dot: %q makes %q", name, line)
			}
		}
		for line := range strings.Lines(draw(t, "mermaid", inv)) {
			if !mermaidLine.MatchString(line) {
				t.Errorf("mermaid: %q makes %q", name, line)
			}
		}
	}
}

// TestColors: the page has the colours of the other formats, light and dark, and each can be
// told from its ground: https://www.w3.org/TR/WCAG22/#contrast-minimum
func TestColors(t *testing.T) {
	light, dark, _ := strings.Cut(pageCSS, `:root[data-theme="dark"]`)
	for css, colors := range map[string][]string{light: colors[:], dark: darkColors[:]} {
		color := func(name string) string {
			t.Helper()
			m := regexp.MustCompile("--" + name + ": (#[0-9a-f]+);").FindStringSubmatch(css)
			if m == nil {
				t.Fatalf("there is no %s", name)
			}
			return m[1]
		}
		for e := range ends {
			if color(e.class()) != colors[e] {
				t.Errorf("%s is %s and %s", e, color(e.class()), colors[e])
			}
			for ground, least := range map[string]float64{"bg": 3, "grid": 3, "inverse": 4.5} {
				if c := contrast(t, color(e.class()), color(ground)); c < least {
					t.Errorf("%s on %s: %.1f", e, ground, c)
				}
			}
		}
		for _, pair := range [][2]string{{"text", "bg"}, {"text", "panel"}, {"muted", "bg"}, {"muted", "panel"}} {
			if c := contrast(t, color(pair[0]), color(pair[1])); c < 4.5 {
				t.Errorf("%s on %s: %.1f", pair[0], pair[1], c)
			}
		}
	}
}

// contrast is that of two colours.
func contrast(t *testing.T, a, b string) float64 {
	luminance := func(color string) float64 {
		if len(color) == 4 {
			color = "#" + strings.Repeat(color[1:2], 2) + strings.Repeat(color[2:3], 2) + strings.Repeat(color[3:4], 2)
		}
		var r [3]uint8
		if _, err := fmt.Sscanf(color, "#%02x%02x%02x", &r[0], &r[1], &r[2]); err != nil {
			t.Fatal(color, err)
		}
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			c := float64(r[i]) / 255
			if c <= 0.03928 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	x, y := luminance(a), luminance(b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// TestPolicy: the policy names the script and the style that the page holds, and no other;
// what names hold cannot end the data.
func TestPolicy(t *testing.T) {
	inv := sample()
	inv.Pairs[0].Name = "</script><!--<script>"
	got := draw(t, "html", inv)
	policy := regexp.MustCompile(`content="(default-src[^"]*)"`).FindStringSubmatch(got)
	want := fmt.Sprintf("default-src 'none'; script-src '%s'; style-src '%s'; base-uri 'none'; form-action 'none'", hash(pageJS), hash(pageCSS))
	if policy == nil || policy[1] != want {
		t.Errorf("the policy is %q", policy)
	}
	if !strings.Contains(got, "<script>"+pageJS+"</script>") || !strings.Contains(got, "<style>"+pageCSS+"</style>") {
		t.Error("the script or the style is not what was hashed")
	}
	if strings.Count(got, "</script>") != 2 || strings.Contains(got, "<!--") {
		t.Error("a name ends the data")
	}
	if n := len(draw(t, "html", mesh(200, 4))); n > 400<<10 {
		t.Errorf("the page of 39,800 pairs has %d bytes", n)
	}
}

// What a line may be, whatever the names are.
var (
	dotLine     = regexp.MustCompile(`^(digraph clusterpairs \{|\s*\}|  rankdir=LR;|  (node|edge) \[[a-z0-9=, "-]*\];|  subgraph cluster_\d+ \{|    label="([^"\\]|\\["\\])*";|\s*c\d+ \[label="([^"\\]|\\["\\])*"\];|  c\d+ -> c\d+ \[color="#[0-9a-f]{6}", style=[a-z]+, tooltip="([^"\\]|\\["\\])*"(, arrowhead=dotnormal)?\];)\n$`)
	mermaidLine = regexp.MustCompile(`^(flowchart LR|  subgraph g\d+\["[^"|<>]*"\]|  end|\s*c\d+\["[^"|<>]*"\]|  c\d+ <?-->(\|"[a-z ,]*"\|)? c\d+|  linkStyle [0-9,]+ stroke:#[0-9a-f]{6})\n$`)
)
