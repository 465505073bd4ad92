package main

import (
	"bytes"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestMaskShowsNoCredential plants recognisable values into every field of the
// Secret fixtures, and masks them in each form in which they could lie in Git:
// as they are, as JSON, with other line ends, damaged, and as part of something.
func TestMaskShowsNoCredential(t *testing.T) {
	paths, err := filepath.Glob("../../fixtures/secrets/*.yaml")
	if err != nil || len(paths) < 20 {
		t.Fatalf("%d fixtures, %v", len(paths), err)
	}
	for _, path := range paths {
		fixture, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for shape, value := range shapes {
			for field, document := range plant(t, fixture, value) {
				asJSON, err := json.Marshal(decoded(t, document))
				if err != nil {
					t.Fatal(err)
				}
				forms := []string{
					strings.ReplaceAll(string(document), "\n", "\r\n"),
					string(asJSON),
					string(document) + "\t- [\n",
					string(asJSON[:len(asJSON)-1]),
					"<<<<<<< HEAD\n" + string(document) + "=======\n" + string(document) + ">>>>>>> other\n",
					`{"kind": "List", "items": [` + string(asJSON) + "]}",
					"a: b\n---\n" + string(document),
					"metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: " + quoted(string(asJSON)) + "}}\n",
				}
				// All of them for each would take a quarter of a minute.
				some := forms[crc32.ChecksumIEEE([]byte(path+shape+field))%uint32(len(forms))]
				for _, text := range []string{string(document), some} {
					if at := leak(mask([]byte(text))); at != "" {
						t.Fatalf("%s: %s %s: the value is shown: %s in\n%s", path, field, shape, at, text)
					}
				}
			}
		}
	}
}

func quoted(s string) string {
	quoted, _ := json.Marshal(s)
	return string(quoted)
}

// FuzzMask puts any value under any key of a Secret, a kubeconfig and a
// ClusterPair, in any style of YAML. However it is spelled, it is not shown,
// what stands around it is, and a masked text stays as it is.
func FuzzMask(f *testing.F) {
	for _, value := range shapes {
		for style := range byte(5) {
			f.Add("key", value, style, "# a comment")
		}
	}
	f.Add("a:b", "  "+planted, byte(3), "token: "+planted)
	f.Fuzz(func(t *testing.T, key, value string, style byte, around string) {
		value += planted
		styles := []yaml.Style{0, yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle, yaml.LiteralStyle, yaml.FoldedStyle, yaml.FlowStyle}
		leaf := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Style: styles[int(style)%len(styles)]}
		for _, shell := range []string{
			"kind: Secret\ndata: {before: x}\nname: shown\n",
			"kind: Config\nusers: {}\nname: shown\n",
			"kind: ClusterPair\nspec: {token: x}\nname: shown\n",
		} {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(shell), &doc); err != nil {
				t.Fatal(err)
			}
			parent := doc.Content[0].Content[3]
			parent.Style = leaf.Style & yaml.FlowStyle
			name := key
			if scalar(doc.Content[0], "kind") != "Secret" {
				name = "password"
			}
			parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, leaf)
			text, err := yaml.Marshal(&doc)
			var again yaml.Node
			if err != nil || yaml.Unmarshal(text, &again) != nil {
				return // yaml.v3 does not write every key and value as it reads it
			}
			masked := mask(text)
			if leak(masked) != "" && !strings.Contains(key, planted) {
				t.Fatalf("the value is shown:\n%s\n%s", text, masked)
			}
			if !bytes.HasPrefix(masked, []byte("kind: ")) || !bytes.HasSuffix(masked, []byte("\nname: shown\n")) {
				t.Fatalf("what stands around it is not shown:\n%s\n%s", text, masked)
			}
			if twice := mask(masked); !bytes.Equal(twice, masked) {
				t.Fatalf("masked twice it differs:\n%s\n%s", masked, twice)
			}
			mask(append(text, around...))
		}
	})
}
