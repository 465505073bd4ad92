package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/report"
)

// scanned is what Scan makes of a file, in short: each document as its line,
// its column and its values, or the finding.
func scanned(text string) []string {
	var got []string
	Scan([]byte(text), "f.yaml", func(d Document, broken *report.Finding) {
		if broken != nil {
			got = append(got, broken.String())
			return
		}
		got = append(got, fmt.Sprintf("%d:%d %s", d.Node.Line, d.Node.Column, flow(d.Node)))
	})
	return got
}

// flow is a value on one line.
func flow(n *yaml.Node) string {
	var parts []string
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			parts = append(parts, flow(n.Content[i])+":"+flow(n.Content[i+1]))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case yaml.SequenceNode:
		for _, item := range n.Content {
			parts = append(parts, flow(item))
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return n.Value
}

// TestScanFindsEachDocument looks for documents in the places where one could
// be hidden from a reader.
func TestScanFindsEachDocument(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"one":                   {"a: 1\n", []string{"1:1 {a:1}"}},
		"two":                   {"a: 1\n---\nb: 2\n", []string{"1:1 {a:1}", "3:1 {b:2}"}},
		"leading marker":        {"---\na: 1\n---\nb: 2", []string{"2:1 {a:1}", "4:1 {b:2}"}},
		"empty ones":            {"---\n---\n# nothing\n---\na: 1\n---\n", []string{"5:1 {a:1}"}},
		"on the marker's line":  {"a: 1\n--- {b: 2}\n", []string{"1:1 {a:1}", "2:5 {b:2}"}},
		"comment at the marker": {"a: 1\n--- # more\nb: 2\n", []string{"1:1 {a:1}", "3:1 {b:2}"}},
		"tab at the marker":     {"a: 1\n---\t\nb: 2\n", []string{"1:1 {a:1}", "3:1 {b:2}"}},
		"far below":             {"a: 1\n" + strings.Repeat("\n", 1000) + "---\nb: 2\n", []string{"1:1 {a:1}", "1003:1 {b:2}"}},
		"end marker":            {"a: 1\n...\n---\nb: 2\n", []string{"1:1 {a:1}", "4:1 {b:2}"}},
		"CRLF":                  {"a: 1\r\n---\r\nb: 2\r\n---\r\nc: 3\r\n", []string{"1:1 {a:1}", "3:1 {b:2}", "5:1 {c:3}"}},
		"CR":                    {"a: 1\r---\rb: 2\r---\rc: 3\r", []string{"1:1 {a:1}", "3:1 {b:2}", "5:1 {c:3}"}},
		"NEL":                   {"a: 1\u0085---\u0085b: 2\n---\nc: 3\n", []string{"1:1 {a:1}", "3:1 {b:2}", "5:1 {c:3}"}},
		"line separator":        {"a: 1\u2028--- {b: 2}\n---\nc: 3\n", []string{"1:1 {a:1}", "2:5 {b:2}", "4:1 {c:3}"}},
		"paragraph separator":   {"a: 1\u2029--- {b: 2}\n", []string{"1:1 {a:1}", "2:5 {b:2}"}},
		"byte order mark":       {"\ufeffa: 1\n", []string{"1:1 {a:1}"}},
		"UTF-16":                {"\xff\xfea\x00:\x00 \x001\x00\n\x00-\x00-\x00-\x00\n\x00b\x00:\x00 \x002\x00", []string{"1:1 {a:1}", "3:1 {b:2}"}},
		"UTF-16, big endian":    {"\xfe\xff\x00a\x00:\x00 \x001\x00\n", []string{"1:1 {a:1}"}},
		"JSON":                  {"{\"a\": 1}\n---\n{\"b\": 2}\n", []string{"1:1 {a:1}", "3:1 {b:2}"}},
		"JSON with \\/":         {`{"a": "x\/y\\\/", "b": "\u0061"}`, []string{`1:1 {a:x/y\/ b:a}`}},
		"a slash in no JSON":    {"{a: x\\/y}\n---\n{\"a\": \"x\\/y\"}", []string{`1:1 {a:x\/y}`, "3:1 {a:x/y}"}},
		"no marker in a text":   {"a: |\n  ---\n  x\nb: ----\n---c: 3\n", []string{"1:1 {a:---\nx\n b:---- ---c:3}"}},

		// What is broken hides nothing that stands before or behind it.
		"broken between":   {"a: 1\n---\nb: [\n---\nc: 3\n", []string{"1:1 {a:1}", "f.yaml:3: error: not valid YAML: did not find expected node content [yaml]", "5:1 {c:3}"}},
		"behind ...":       {"a: 1\n...\nb: 2\n---\nc: 3\n", []string{"1:1 {a:1}", "f.yaml:2: error: not valid YAML: did not find expected <document start> [yaml]", "5:1 {c:3}"}},
		"conflict":         {"a: 1\n---\n<<<<<<< ours\nb: 2\n---\nc: 3\n", []string{"1:1 {a:1}", "f.yaml:3:1: error: a Git conflict marker is left in the file [yaml]", "6:1 {c:3}"}},
		"marker in a text": {"a: \"x\n<<<<<<< y\"\n", []string{"1:1 {a:x <<<<<<< y}"}},
		"alias bomb":       {bomb + "---\nc: 3\n", []string{"f.yaml:1:20: error: the document has more than 200000 values once its aliases are expanded [yaml]", "10:1 {c:3}"}},
		"alias in itself": {"a: &a [*a]\n---\nc: 3\n",
			[]string{"f.yaml:1:8: error: the alias stands inside the value that it repeats [yaml]", "3:1 {c:3}"}},
		"too large": {"a: " + strings.Repeat("x", maxDocument) + "\n---\nc: 3\n",
			[]string{"f.yaml:1: error: the document is larger than 2 MiB; Kubernetes stores no such object [yaml]", "3:1 {c:3}"}},
		"too deep": {"a: " + strings.Repeat("[", 600) + strings.Repeat("]", 600) + "\n---\nc: 3\n",
			[]string{"f.yaml:1:502: error: the document is nested deeper than 500 levels [yaml]", "3:1 {c:3}"}},
		"deep":  {"a: " + strings.Repeat("[", 400) + strings.Repeat("]", 400) + "\n", []string{"1:1 {a:" + strings.Repeat("[", 400) + strings.Repeat("]", 400) + "}"}},
		"a NUL": {"a: \x00\n---\nc: 3\n", []string{"f.yaml:1: error: not valid YAML: control characters are not allowed [yaml]", "3:1 {c:3}"}},
	} {
		if got := scanned(c.text); strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

var bomb = `a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]
g:
- - *f
`

// TestAliasStandsWhereItIsUsed looks for the place of a value that an alias
// brings.
// TestAliasesAreMeasured: a small document that aliases make a large one is
// refused before it is large, and one that repeats little is not.
func TestAliasesAreMeasured(t *testing.T) {
	repeated := func(anchor string, times int) []byte {
		return []byte("a: " + anchor + "\nb:\n" + strings.Repeat("- *x\n", times))
	}
	comments := "&x\n" + strings.Repeat("  # note\n", 10_000) + "  c: d"
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"long text":    {repeated("&x "+strings.Repeat("z", 100_000), 2000), "is larger than 2 MiB once its aliases are expanded"},
		"long comment": {repeated(comments, 2000), "is larger than 2 MiB once its aliases are expanded"},
		"long key":     {repeated("&x {"+strings.Repeat("z", 1000)+": 1}", 20_000), "is larger than 2 MiB once its aliases are expanded"},
		"short text":   {repeated("&x z", 2000), ""},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Parse(c.text, "f.yaml")
		runtime.ReadMemStats(&after)
		if got := fmt.Sprint(err); c.want == "" && err != nil || !strings.Contains(got, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 32<<20 {
			t.Errorf("%s: %d MiB were allocated", name, used>>20)
		}
	}
}

func TestAliasStandsWhereItIsUsed(t *testing.T) {
	docs, err := Values([]byte("note: &n {k: v}\nserver:\n  url: *n\n"), "f.yaml")
	if err != nil {
		t.Fatal(err)
	}
	url := Field(docs[0], "server", "url")
	if url.Line != 3 || url.Column != 8 {
		t.Errorf("the value of the alias stands in %d:%d, want 3:8", url.Line, url.Column)
	}
	if k := Field(url, "k"); k.Line != 1 {
		t.Errorf("the inside of the anchor stands in line %d, want 1", k.Line)
	}
}

// TestLoneTag looks for the tag ! on its own, which the YAML library forgets, and
// for tags that only begin like it.
func TestLoneTag(t *testing.T) {
	for text, want := range map[string]string{
		"a: ! 5":            "!",
		"a: !\n  5":         "!",
		"a: &x ! 5":         "!",
		"a: &x # why\n ! 5": "!",
		"a: ! &x 5":         "!",
		"é: [x, ! 5]":       "!!seq",
		"a: !x 5":           "!x",
		"a: !, 5":           "!,",
		"a: !!str 5":        "!!str",
		"a: 5":              "!!int",
		"a: '! 5'":          "!!str",
		"b: é\ra: ! 5":      "!",
		"b: é\u0085a: ! 5":  "!",
	} {
		docs, err := Values([]byte(text), "f.yaml")
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		value := docs[0].Content[len(docs[0].Content)-1]
		if value.Tag != want {
			t.Errorf("%q: the tag is %s, want %s", text, value.Tag, want)
		}
		if want == "!!seq" && value.Content[1].Tag != "!" {
			t.Errorf("%q: the tag of the item is %s, want !", text, value.Content[1].Tag)
		}
	}
}

// TestOffsets counts characters and line breaks as the YAML library does.
func TestOffsets(t *testing.T) {
	const text = "a: é x\r\nb\rc\u0085d\u2028éf"
	o := NewOffsets([]byte(text))
	for _, c := range []struct {
		line, column int
		rest         string
	}{
		{1, 1, text}, {1, 6, "x\r\nb\rc\u0085d\u2028éf"}, {1, 4, "é x\r\nb\rc\u0085d\u2028éf"}, {2, 1, "b\rc\u0085d\u2028éf"},
		{3, 1, "c\u0085d\u2028éf"}, {4, 1, "d\u2028éf"}, {5, 2, "f"}, {5, 3, ""}, {2, 2, "\rc\u0085d\u2028éf"},
	} {
		if at, ok := o.At(c.line, c.column); !ok || text[at:] != c.rest {
			t.Errorf("%d:%d is at %d, %v; want %q", c.line, c.column, at, ok, c.rest)
		}
	}
	for _, place := range [][2]int{{0, 1}, {1, 0}, {5, 4}, {6, 1}} {
		if at, ok := o.At(place[0], place[1]); ok {
			t.Errorf("%v is at %d, and is outside of the text", place, at)
		}
	}
}

// FuzzScan holds Scan against the YAML library that reads the whole file at
// once: the same documents, with the same values in the same places, and no
// error that quotes the file.
func FuzzScan(f *testing.F) {
	for _, text := range []string{
		"a: 1\n---\nb: [x, {y: z}]\n", "---\n...\n---\na: &x b\nc: *x\n", "a: 1\r---\rb: 2\u0085--- c\u2028",
		"\ufeffa: |\n  ---\n  text\n---\n", "%YAML 1.1\n---\na: 1\n", "a: \"b\\\n  c\"\n--- >\n folded\n text\n",
		"? a\n: b\n<<: {c: d}\n", bomb, "a: 'x\n---\ny'\n", "- a\n-\n  - b\n---\n- \t- c\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []*yaml.Node
		whole := true
		Scan(data, "f.yaml", func(d Document, broken *report.Finding) {
			if d.Line < 1 {
				t.Fatalf("a document in line %d", d.Line)
			}
			if broken == nil {
				got = append(got, d.Node)
				return
			}
			whole = false
			if broken.Position.Line < 1 || broken.Position.File != "f.yaml" {
				t.Errorf("a finding without a place: %v", broken)
			}
		})
		if !whole {
			return
		}
		if bytes.Contains(data, []byte(`\/`)) {
			return // only JSON has it
		}
		decoder := yaml.NewDecoder(bytes.NewReader(toUTF8(data))) // the library refuses half a character of UTF-16
		for i := 0; ; i++ {
			var want yaml.Node
			err := decoder.Decode(&want)
			if errors.Is(err, io.EOF) {
				if i != len(got) {
					t.Fatalf("%d documents, the library reads %d", len(got), i)
				}
				return
			}
			if err != nil {
				t.Fatalf("read without a finding, but the library says: %v", err)
			}
			top := want.Content[0]
			if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
				i--
				continue
			}
			if i >= len(got) {
				t.Fatalf("only %d documents", len(got))
			}
			same(t, got[i], top)
		}
	})
}

// same fails unless two values are equal but for aliases, and for the tag ! alone,
// which the library forgets.
func same(t *testing.T, got, want *yaml.Node) {
	t.Helper()
	line, column := want.Line, want.Column
	if want.Kind == yaml.AliasNode {
		want = want.Alias
	}
	tag := want.Tag
	if got.Tag == "!" && want.Style&yaml.TaggedStyle == 0 {
		tag = "!"
	}
	if got.Kind != want.Kind || got.Tag != tag || got.Value != want.Value || len(got.Content) != len(want.Content) {
		t.Fatalf("%v %q %q with %d values in place of %v %q %q with %d", got.Kind, got.Tag, got.Value, len(got.Content), want.Kind, want.Tag, want.Value, len(want.Content))
	}
	if got.Line != line || got.Column != column {
		t.Fatalf("%q stands in %d:%d, want %d:%d", got.Value, got.Line, got.Column, line, column)
	}
	for i := range got.Content {
		same(t, got.Content[i], want.Content[i])
	}
}
