package plainyaml

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// reference is what Parse promises to agree with.
func reference(data []byte) (doc yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml.v3 panicked: %v", r)
		}
	}()
	err = yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc)
	return doc, err
}

// parsed runs Parse, compares an accepted document with yaml.v3's and tells
// whether it was accepted.
func parsed(t *testing.T, data []byte) bool {
	t.Helper()
	doc, ok := Parse(data)
	if !ok {
		return false
	}
	want, err := reference(data)
	if err != nil {
		t.Errorf("accepted what yaml.v3 rejects: %v\n%q", err, data)
	} else if !reflect.DeepEqual(doc, &want) {
		t.Errorf("the tree differs from yaml.v3's\n%q\ngot:\n%swant:\n%s", data, dump(doc, 0), dump(&want, 0))
	}
	return true
}

func dump(n *yaml.Node, depth int) string {
	if n == nil {
		return "nil\n"
	}
	s := fmt.Sprintf("%s%d:%d kind %d style %d %s %q\n", strings.Repeat("  ", depth), n.Line, n.Column, n.Kind, n.Style, n.Tag, n.Value)
	for _, c := range n.Content {
		s += dump(c, depth+1)
	}
	return s
}

func TestPlain(t *testing.T) {
	for _, text := range accepted {
		if !parsed(t, []byte(text)) {
			t.Errorf("not read:\n%s", text)
		}
	}
}

// accepted are documents of the subset, and seeds of the fuzz target.
var accepted = []string{
	"a: b", "a: b\n", "\n\na: b\n\n", "---\na: b\n", "--- \n\n  a: b\n", "  a: b\n  c: d\n", "a:  b  \nc:\n\n \nd: e",
	"a:", "a: \n", "a:\nb:\n", "a:\n  b:\nc:\n", "- a:\n- b:\n", "a:\n-\n- b\n-\nc:\n-", "-\n  - a\n-\n", "- - a\n  -\n  - - b\n- c\n",
	"a:\n- b\n- c: d\n  e:\n  - f\n  - g\nh: i\n", "a:\n  - b\n  -   c: d\n      e: f\n", "a:\n    b:\n     c: d\n    e: f\n", "-\n  a: b\n  c: d\n- e\n",
	"a: {}\nb: []\nc:\n- {}\n- []\n", "a: 'b'\n\"c\": \"d # e: f\"\n'g h': ''\n",
	"a: |\n  b\n  c\n", "a: |\n  b", "a: |-\n  b\n\n\nc: d\n", "a: |+\n  b\n\n\nc: d\n", "a: |+\n  b\n \n  ", "a: |\n\n \n  b\n    c  \n\n  d\n \ne: f\n",
	"a:\n- |\n b\n- |-\n   c\n   # no comment\n", "- a: |\n    b\n  c: |\n   ---\n   d: 'e\n", "a: |\n  b\n   ", "a: |\n  b\n  ", "a: |+\n  b\n   \n",
	"a: x#y\nb: x:y\nc: http://x:80/?a=b#c\nd: -x\ne: x - y\nf: x 'y' \"z\" {} [] & * !\n",
	"version: 3.9.0\nip: 10.0.0.1\nport: 6443\nuid: 5b6f2ee4-6f6e-4d3f-9f0e-2c2f6f0f6c51\nsum: 0b11a\nquota: 1e3Gi\nwhen: 2024-05-06T07:08:09Z\nday: 2024-05-06\nclock: 12:30:00\nsigned: +5\n",
	"a: true\nb: False\nc: yes\nd: off\ne: NULL\nf: ~\ng: .inf\nh: -.INF\ni: .nan\nj: 0x1F\nk: 0o17\nl: 017\nm: 0b1\nn: 1_000\no: 1.5e-3\np: .5\nq: 1.\nr: y\ns: N\nt: tRUE\nu: 1__0\nv: +.inf\nw: 18446744073709551615\n",
	"1: a\ntrue: b\n~: c\n1.5: d\n.dockerconfigjson: e\n",
	"a: a\na: b\n",
	"größe: 5 µm\n\"ключ\": значение\n𝄞: {}\n", "a: \u00a0é\n", "ö: |\n  ä\n",
	"token: 0123456789" + strings.Repeat("QUJD", 400) + "==\nzero: " + strings.Repeat("0", 100) + "\nplus: +" + strings.Repeat("A1", 100) + "/\n",
	strings.Repeat("k", maxKey) + ": v\n",
	strings.Repeat("- ", maxDepth) + "a",
}

func TestNotPlain(t *testing.T) {
	for _, text := range refused {
		if _, ok := Parse([]byte(text)); ok {
			t.Errorf("read: %q", text)
		}
	}
}

// refused are documents that are not of the subset, or not YAML at all.
var refused = []string{
	"", "\n \n", "---\n", "a", "|\n a\n", "{}", "\"a\"", "# a\nb: c\n", "a: b # c\n", "a: # b\n  c\n", "a: | # b\n  c\n", "a: {} # b\n", "a: |\n  b\n# c\n",
	"a: b\n---\nc: d\n", "a: b\n...\n", "a: b\n---\n", "--- a: b\n", "... a: b\n", "---\n---\na: b\n", "--- |\n a\n", "%YAML 1.1\n---\na: b\n",
	"a:\tb\n", "a: b\r\n", "\ufeffa: b\n", "a: b\x00", "a: \x7f\n", "a: \u0085\n", "a: \u2028\n", "a: \ufeff\n", "a: \xff\n", "a: \xc3", "a: \xed\xa0\x80\n", "a: \uffff\n",
	"a: b\n  c\n", "a:\n  b\n", "a:\n b: c\n  d: e\n", "a:\n  b: c\n d: e\n", "a: b\n c: d\n", "- a\n b\n", "- a\nb: c\n", "a:\n  - b\n  c: d\n", "a: b\n- c\n", "a\n", "a: b: c\n", "a: - b\n", "a: -\n", "- - a\n  b: c\n", "- a: b\n c: d\n",
	"a : b\n", ": a\n", "? a\n: b\n", "-a: b\n", "a: b:\n", "a:: b\n",
	"a: &b c\n", "a: *b\n", "a: !!str b\n", "<<: a\n", "a: <<\n", "a: [b]\n", "a: {b: c}\n", "{}: a\n", "a: { }\n", "a: >\n  b\n", "a: |2\n  b\n", "a: |\n", "a: |\nb: c\n", "a: |\n   \n  b\n", "a: |\n  b\n c: d\n", "a: @b\n", "a: `b`\n", "a: %b\n",
	"a: \"b\\n\"\n", "a: 'b''c'\n", "a: \"b\n", "a: 'b\n  c'\n", "a: \"b\"c\n", "\"a\"b: c\n", "\"a\" : b\n", "\"a\":b\n", "a: \"b\": c\n", "'a''b': c\n",
	strings.Repeat("k", maxKey+1) + ": v\n", strings.Repeat("- ", maxDepth+1) + "a",
}

// TestFiles compares over all documents of the repository, and asserts that
// the Secrets and the samples are read.
func TestFiles(t *testing.T) {
	secrets := 0
	for _, root := range []string{"../../fixtures", "../../examples"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".yaml" {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			ok := parsed(t, data)
			if filepath.Base(filepath.Dir(path)) == "secrets" && strings.Contains(path, "fixtures") {
				if secrets++; !ok {
					t.Errorf("%s is not read", path)
				}
			}
			t.Log(path, ok)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
