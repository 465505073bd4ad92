package browser

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "clusterpair-browser-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "clusterpair")
		build := exec.Command("go", "build", "-C", "../..", "-o", program, "./cmd/clusterpair")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(fmt.Sprintf("%v\n%s", err, out))
		}
		return m.Run()
	}())
}

// run runs a shell script in a directory.
func run(t *testing.T, dir, script string) string {
	t.Helper()
	fixtures, err := filepath.Abs("../../fixtures")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-euc", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), "FIXTURES="+fixtures, "SOPS_AGE_KEY_FILE="+fixtures+"/keys/demo.agekey")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// fleet is a repository with pairs of each kind: one has ended, one ends soon, one never
// ends, and one is not there.
func fleet(t *testing.T) string {
	dir := t.TempDir()
	run(t, dir, `
		git init -q; cp $FIXTURES/shared/fleet.yaml .; sh $FIXTURES/shared/fleet.sh; clusterpair generate
		cd clusters
		sed -i s/2100-01-01/2020-01-01/ us-dr/pairs/kube-system/second-site.yaml
		sed -i "s/2100-01-01T00:00:00Z/$(date -u -d '+9 days' +%FT%TZ)/" ops/pairs/kube-system/to-us-prod.yaml
		sed -i 's/"2100-01-01T00:00:00Z"/never/' eu-dr/pairs/kube-system/remotecluster.yaml
		rm us-prod/pairs/kube-system/remotecluster.yaml`)
	return dir
}

// rows are the cells of the table, each row with | between them.
func (c *chromium) rows() []string {
	c.t.Helper()
	var all []string
	for _, row := range c.eval(`[...document.querySelectorAll("#body tr")].map((r) => [...r.children].map((d) => d.innerText.trim()).join("|"))`).([]any) {
		all = append(all, row.(string))
	}
	return all
}

// TestPage clicks and types through the page of a fleet.
func TestPage(t *testing.T) {
	dir := fleet(t)
	run(t, dir, "clusterpair graph -o html --validate > page.html")
	c := start(t)
	const ready = `document.documentElement.dataset.ready`
	c.open(dir+"/page.html", ready)
	c.screenshot("light")
	is := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	is("pairs", c.text("#count"), "8 pairs")
	soon := time.Now().UTC().AddDate(0, 0, 9).Format(time.DateOnly)
	is("what ends first", c.rows()[0], "us-dr|sg-prod|kube-system/second-site|2020-01-01 (ended)|yes|error: credential-expired")
	is("then", strings.Join(c.rows()[1:3], "; "), "us-prod|us-dr|kube-system/remotecluster|not rendered|no|; ops|us-prod|kube-system/to-us-prod|"+soon+" (ends soon)|no|warning: credential-expiring")

	// Search, by the key that the label tells, and reset.
	c.key("/", "/", 0)
	c.write("OPS prod")
	is("search", c.text("#count"), "2 of 8 pairs")
	c.screenshot("search")
	c.click("button[type=reset]", 0, 0)
	c.wait(`document.querySelector("#count").innerText === "8 pairs"`)

	// Sort.
	c.click(`th[data-sort=destination] button`, 0, 0)
	is("by destination", strings.SplitN(c.rows()[0], "|", 3)[1], "eu-dr")
	is("sorted", fmt.Sprint(c.eval(`document.querySelector("th[data-sort=destination]").getAttribute("aria-sort")`)), "ascending")
	c.click(`th[data-sort=destination] button`, 0, 0)
	is("the other way", strings.SplitN(c.rows()[0], "|", 3)[1], "us-prod")

	// Filters, with the keyboard alone.
	c.eval(`document.querySelector("select[name=way]").focus()`)
	c.key("ArrowDown", "", 0)
	c.key("ArrowDown", "", 0)
	is("one way", c.text("#count"), "4 of 8 pairs")
	c.eval(`document.querySelector("select[name=source]").focus()`)
	c.key("ArrowDown", "", 0)
	is("from eu", c.text("#count"), "2 of 8 pairs")
	c.click("button[type=reset]", 0, 0)
	c.wait(`document.querySelector("#count").innerText === "8 pairs"`)

	// The matrix, with the keyboard alone.
	for i := 0; c.eval(`document.activeElement.id`) != "matrix"; i++ {
		if i == 12 {
			t.Fatal("Tab does not come to the matrix")
		}
		c.key("Tab", "", 0)
	}
	is("first cell", c.text("#status"), "eu-dr (eu) → eu-dr (eu): the cluster itself")
	c.key("ArrowRight", "", 0)
	is("second cell", c.text("#status"), "eu-dr (eu) → eu-prod (eu): kube-system/remotecluster, never ends")
	c.key("End", "", 0)
	is("last of the row", c.text("#status"), "eu-dr (eu) → us-prod (us): no pair")
	c.key("ArrowDown", "", 0)
	c.key("ArrowDown", "", 0)
	is("two below", c.text("#status"), "ops (eu) → us-prod (us): kube-system/to-us-prod, ends soon on "+soon+", warning credential-expiring; no way back")
	c.screenshot("keyboard")
	c.key("Enter", "", 0)
	is("chosen", strings.Join(c.rows(), ";"), "ops|us-prod|kube-system/to-us-prod|"+soon+" (ends soon)|no|warning: credential-expiring")
	c.key("Escape", "", 0)
	is("all again", c.text("#count"), "8 pairs")

	// The pointer: the cell of sg-prod and us-dr, whose place follows from the size.
	size := c.eval(`[parseFloat(document.querySelector("canvas").style.width), parseFloat(document.querySelector("canvas").style.height)]`).([]any)
	x, y := size[0].(float64)-2-28*1.5, size[1].(float64)-2-28*2.5
	c.point("canvas", x, y)
	is("pointer", c.text("#status"), "sg-prod (sg) → us-dr (us): kube-system/second-site, ends later on 2100-01-01")
	c.click("canvas", x, y)
	is("clicked", c.text("#count"), "1 of 8 pairs")
	c.click("#clear", 0, 0)
	is("all cells", c.text("#count"), "8 pairs")

	// Dark, by the switch and by the system.
	background := func() string { return fmt.Sprint(c.eval(`getComputedStyle(document.body).backgroundColor`)) }
	is("light", background(), "rgb(255, 255, 255)")
	c.click("#theme", 0, 0)
	is("dark", background(), "rgb(20, 23, 27)")
	is("the switch", fmt.Sprint(c.eval(`document.querySelector("#theme").getAttribute("aria-pressed")`)), "true")
	c.screenshot("dark")
	c.click("#theme", 0, 0)
	is("light again", background(), "rgb(255, 255, 255)")
	c.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": "dark"}}})
	c.open(dir+"/page.html", ready)
	is("the system", background(), "rgb(20, 23, 27)")

	c.checkNames()
	c.checkClosed(dir + "/page.html")
	c.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": true})
	if wide := c.eval(`document.documentElement.scrollWidth`).(float64); wide > 390 {
		t.Errorf("on a phone the page is %v wide", wide)
	}
	c.screenshot("phone")
}

// checkNames looks whether all that can be used has a name for those who do not see it.
func (c *chromium) checkNames() {
	c.t.Helper()
	used := 0
	for _, n := range c.call("Accessibility.getFullAXTree", nil)["nodes"].([]any) {
		node := n.(map[string]any)
		value := func(key string) string {
			v, _ := node[key].(map[string]any)
			return fmt.Sprint(v["value"])
		}
		if node["ignored"] == true || !slices.Contains([]string{"button", "searchbox", "combobox", "application", "columnheader", "table", "form", "search"}, value("role")) {
			continue
		}
		used++
		if name := value("name"); (name == "" || name == "<nil>") && value("role") != "search" {
			c.t.Errorf("%s has no name", value("role"))
		}
	}
	if used < 15 {
		c.t.Errorf("only %d elements can be used", used)
	}
}

// checkClosed looks whether the page has asked for nothing but itself, and whether its policy
// lets no other script run and nothing be loaded.
func (c *chromium) checkClosed(file string) {
	c.t.Helper()
	if len(c.asked) != 1 || c.asked[0] != "file://"+file || len(c.said) > 0 {
		c.t.Errorf("it asks for %q and says %q", c.asked, c.said)
	}
	c.eval(`document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 1'>"); (() => { const s = document.createElement("script"); s.textContent = "window.ran = 2"; document.body.append(s); })()`)
	if got := c.eval(`fetch("data:,x").then(() => "loaded", () => "refused")`); got != "refused" {
		c.t.Errorf("the policy lets a script load: %v", got)
	}
	if ran := c.eval(`window.ran`); ran != nil {
		c.t.Errorf("the policy lets a script run: %v", ran)
	}
}

// hostile are pairs whose names end texts of HTML, scripts, Mermaid and DOT.
func hostile(t *testing.T) (dir string, names []string) {
	dir = t.TempDir()
	names = []string{`</script><script>window.ran = 1</script>`, `<img src=x onerror=window.ran=1>`, `a"b'c`, `x|y`, `"]; evil["`, `end`, `back\slash`, `two\nlines`, `${ran}`, "`ran`", `--> evil`, `%%{init}%%`, `#quot;`, `&lt;b&gt;`}
	for i, name := range names {
		quoted := strings.ReplaceAll(name, "'", "''")
		text := fmt.Sprintf("apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: '%s', namespace: '%[1]s', annotations: {clusterpair.dev/generated-by: 'from %[1]s'}}\n", quoted)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir, names
}

// TestHostileNames shows names as they are, and runs none.
func TestHostileNames(t *testing.T) {
	dir, names := hostile(t)
	run(t, dir, "clusterpair graph -o html --validate > page.html; clusterpair graph -o mermaid > graph.mmd; clusterpair graph > graph.svg; clusterpair graph -o dot | dot -Tsvg > dot.svg")
	c := start(t)
	c.open(dir+"/page.html", `document.documentElement.dataset.ready`)
	var shown []string
	for _, row := range c.eval(`[...document.querySelectorAll("#body tr")].map((r) => r.children[1].textContent)`).([]any) {
		shown = append(shown, row.(string))
	}
	slices.Sort(shown)
	if slices.Sort(names); !slices.Equal(shown, names) {
		t.Errorf("the page shows %q", shown)
	}
	c.checkClosed(dir + "/page.html")
	for _, file := range []string{"graph.svg", "dot.svg"} {
		c.open(filepath.Join(dir, file), `document.documentElement.tagName === "svg"`)
		if n := c.eval(`document.querySelectorAll("script, img, foreignObject, parsererror").length`).(float64); n > 0 || c.eval("window.ran") != nil {
			t.Errorf("%s has %v elements of others", file, n)
		}
	}
	shown = mermaid(t, c, filepath.Join(dir, "graph.mmd"))
	for _, name := range names {
		if !slices.Contains(shown, name) || !slices.Contains(shown, "from "+name) {
			t.Errorf("Mermaid does not show %q", name)
		}
	}
	if c.eval("window.ran") != nil {
		t.Error("Mermaid runs a name")
	}
	if t.Failed() {
		t.Logf("Mermaid shows %q", shown)
	}
}

// mermaid has the real Mermaid draw a file, and gives the texts of the nodes.
func mermaid(t *testing.T, c *chromium, file string) (nodes []string) {
	t.Helper()
	tools := os.Getenv("CLUSTERPAIR_TOOLS")
	if tools == "" {
		tools, _ = filepath.Abs("../../bin")
	}
	if _, err := os.Stat(tools + "/mermaid.min.js"); err != nil {
		t.Fatalf("%v: run make e2e", err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(t.TempDir(), "mermaid.html")
	if err := os.WriteFile(page, []byte("<!DOCTYPE html><meta charset=utf-8><div id=here></div><script src='file://"+tools+"/mermaid.min.js'></script>"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.open(page, "window.mermaid")
	drawn := c.eval(fmt.Sprintf(`mermaid.initialize({startOnLoad: false}), mermaid.render("drawn", %q).then((r) => { document.querySelector("#here").innerHTML = r.svg; return [...document.querySelectorAll(".node .nodeLabel")].map((n) => n.textContent); })`, text)).([]any)
	c.screenshot("mermaid-" + strings.TrimSuffix(filepath.Base(file), ".mmd"))
	for _, node := range drawn {
		nodes = append(nodes, node.(string))
	}
	return nodes
}

// TestTools has Mermaid and Graphviz draw a fleet, and a mesh that Mermaid would refuse.
func TestTools(t *testing.T) {
	dir := fleet(t)
	run(t, dir, "clusterpair graph -o mermaid > fleet.mmd; clusterpair graph -o dot > fleet.dot; clusterpair graph > fleet.svg")
	if out := run(t, dir, "dot -Tplain fleet.dot"); strings.Count(out, "\nnode ") != 6 || strings.Count(out, "\nedge ") != 8 {
		t.Errorf("Graphviz draws\n%s", out)
	}
	c := start(t)
	if nodes := mermaid(t, c, dir+"/fleet.mmd"); len(nodes) != 6 {
		t.Errorf("Mermaid draws %q", nodes)
	}
	c.open(dir+"/fleet.svg", `document.documentElement.tagName === "svg"`)
	c.screenshot("svg")
	large := mesh(t, 40)
	run(t, large, "clusterpair graph -o mermaid > mesh.mmd")
	if nodes := mermaid(t, c, large+"/mesh.mmd"); len(nodes) != 1 {
		t.Errorf("Mermaid draws %q", nodes)
	}
}

// mesh is a repository of n clusters, each paired with all others. The pairs hold no more
// than what graph reads.
func mesh(t *testing.T, n int) string {
	dir := t.TempDir()
	name := func(i int) string { return fmt.Sprintf("c%03d", i) }
	for from := range n {
		folder := filepath.Join(dir, "clusters", name(from), "pairs", "apps")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
		config := "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairGenerator\nmetadata: {name: " + name(from) + "}\nspec:\n  namespace: apps\n  output: pairs\n  files: [secrets.yaml]\n  pairs:\n"
		for to := range n {
			if to == from {
				continue
			}
			config += fmt.Sprintf("  - {name: to-%s, destination: {secret: {name: %[1]s-kubeconfig}}}\n", name(to))
			text := fmt.Sprintf("apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nmetadata: {name: to-%s, namespace: apps, annotations: {clusterpair.dev/generated-by: %s, clusterpair.dev/credential-expires: \"%d-01-01T00:00:00Z\"}}\n", name(to), name(from), 2100+to)
			if to == 7 {
				text = strings.Replace(text, "2107", "2020", 1)
			}
			if err := os.WriteFile(filepath.Join(folder, "to-"+name(to)+".yaml"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "clusters", name(from), "clusterpair.yaml"), []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestLargePage opens a mesh of 200 clusters: it has 39,800 pairs, and is still of use.
func TestLargePage(t *testing.T) {
	dir := mesh(t, 200)
	run(t, dir, "clusterpair graph -o html > page.html; clusterpair graph > graph.svg")
	if info, err := os.Stat(dir + "/page.html"); err != nil || info.Size() > 400<<10 {
		t.Errorf("the page has %d bytes", info.Size())
	}
	c := start(t)
	begin := time.Now()
	c.open(dir+"/page.html", `document.documentElement.dataset.ready`)
	opened := time.Since(begin)
	c.screenshot("large")
	c.key("/", "/", 0)
	begin = time.Now()
	c.write("c007")
	searched := time.Since(begin)
	if got := c.text("#count"); got != "398 of 39800 pairs" {
		t.Errorf("search: %s", got)
	}
	if c.eval(`[...document.querySelectorAll("select[name=finding], select[name=source]")].some((e) => e.offsetParent)`) != false {
		t.Error("there are filters for what the page does not have")
	}
	c.screenshot("large-search")
	c.click("#after", 0, 0)
	if got := c.text("#page"); got != "page 2 of 4" {
		t.Errorf("pages: %s", got)
	}
	t.Logf("opened in %s, four letters searched in %s", opened.Round(time.Millisecond), searched.Round(time.Millisecond))
	if opened > 20*time.Second || searched > 20*time.Second {
		t.Errorf("it opens in %s, and searches in %s", opened, searched)
	}
	c.open(dir+"/graph.svg", `document.documentElement.tagName === "svg"`)
	c.screenshot("large-svg")
}
