package plainjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestParse(t *testing.T) {
	doc, ok := Parse([]byte("\n {\t\"ä\": [1, \"\\ud83d\\ude00\\/\", 12345678901234567890],\n\"b\":{\"c\":null,\"d\":true,\"e\":1.50}}\n"))
	if !ok {
		t.Fatal("not accepted")
	}
	var got []string
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			got = append(got, strings.Join([]string{n.Tag, n.Value, string(rune('0' + n.Line)), string(rune('0' + n.Column))}, " "))
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(doc)
	want := []string{"!!str ä 2 4", "!!int 1 2 :", "!!str 😀/ 2 =", "!!float 12345678901234567890 2 O", "!!str b 3 1", "!!str c 3 6", "!!null null 3 :", "!!str d 3 ?", "!!bool true 3 C", "!!str e 3 H", "!!float 1.50 3 L"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "{", "[1]", "1", "{} {}", "{a: 1}", "{\"a\": 1,}", "--- {}", "{\"a\": 1} # note", strings.Repeat(`{"a":`, 2000) + "1" + strings.Repeat("}", 2000)} {
		if _, ok := Parse([]byte(text)); ok {
			t.Errorf("%.20s is accepted", text)
		}
	}
}

// FuzzParse: what is accepted holds the values that the JSON library reads.
func FuzzParse(f *testing.F) {
	f.Add(`{"a": [1, -2.5e3, "x\u0000\n", {"b": {}}, [], null, false]}`)
	f.Fuzz(func(t *testing.T, text string) {
		doc, ok := Parse([]byte(text))
		if !ok {
			return
		}
		var want any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		if got := plain(doc.Content[0]); !reflect.DeepEqual(got, want) {
			t.Errorf("got %#v, want %#v", got, want)
		}
	})
}

func plain(n *yaml.Node) any {
	switch {
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plain(n.Content[i+1])
		}
		return m
	case n.Kind == yaml.SequenceNode:
		s := []any{}
		for _, item := range n.Content {
			s = append(s, plain(item))
		}
		return s
	case n.Tag == "!!null":
		return nil
	case n.Tag == "!!bool":
		return n.Value == "true"
	case n.Tag == "!!str":
		return n.Value
	}
	return json.Number(n.Value)
}
