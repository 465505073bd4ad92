package mask_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/mask"
	"clusterpair.dev/internal/plant"
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
		for shape, value := range plant.Shapes {
			for field, document := range plant.Into(t, fixture, value) {
				asJSON, err := json.Marshal(plant.Decoded(t, document))
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
					if at := plant.Find(mask.Text([]byte(text))); at != "" {
						t.Fatalf("%s: %s %s: the value is shown: %s in\n%s", path, field, shape, at, text)
					}
				}
			}
		}
	}
}

// TestServers: what may be a credential in the URL of a server is not shown, and a server
// without one is.
func TestServers(t *testing.T) {
	const config = "apiVersion: v1\nkind: Config\nclusters:\n- name: west\n  cluster: {server: %s, proxy-url: http://proxy.example.com:3128}\n"
	const pair = "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\nspec:\n  config:\n    clusters:\n      west:\n        server: %s\n        proxy-url: http://proxy.example.com:3128\n"
	for server, shown := range map[string]bool{
		"https://west.example.com:6443":                         true,
		"https://west.example.com:6443/":                        true,
		"https://[2001:db8::1]:6443":                            true,
		"https://rancher.example.com/k8s/clusters/c-m-abcd1234": true,
		"https://planted@west.example.com:6443":                 false,
		"https://admin:planted@west.example.com:6443":           false,
		"https://west.example.com:6443/?token=planted":          false,
		"https://west.example.com:6443/#planted":                false,
		"https://west.example.com:6443/;token=planted":          false,
		"//admin:planted@west.example.com":                      false,
		"https:admin:planted@west.example.com":                  false,
		"admin:planted@west.example.com":                        false,
	} {
		for _, form := range []string{config, pair, strings.Replace(pair, "server:", "server: &s", 1)} {
			for _, value := range []string{quoted(server), "'" + server + "'"} {
				text := fmt.Sprintf(form, value)
				masked := string(mask.Text([]byte(text)))
				if strings.Contains(masked, "planted") || strings.Contains(masked, server) != shown || !strings.Contains(masked, "proxy.example.com") {
					t.Errorf("%s\nis shown as\n%s", text, masked)
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
	for _, value := range plant.Shapes {
		for style := range byte(5) {
			f.Add("key", value, style, "# a comment")
		}
	}
	f.Add("a:b", "  "+plant.Value, byte(3), "token: "+plant.Value)
	f.Fuzz(func(t *testing.T, key, value string, style byte, around string) {
		value += plant.Value
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
			if !strings.HasPrefix(shell, "kind: Secret") {
				name = "password"
			}
			parent.Content = append(parent.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: name}, leaf)
			text, err := yaml.Marshal(&doc)
			var again yaml.Node
			if err != nil || yaml.Unmarshal(text, &again) != nil {
				return // yaml.v3 does not write every key and value as it reads it
			}
			masked := mask.Text(text)
			if plant.Find(masked) != "" && !strings.Contains(key, plant.Value) {
				t.Fatalf("the value is shown:\n%s\n%s", text, masked)
			}
			if !bytes.HasPrefix(masked, []byte("kind: ")) || !bytes.HasSuffix(masked, []byte("\nname: shown\n")) {
				t.Fatalf("what stands around it is not shown:\n%s\n%s", text, masked)
			}
			if twice := mask.Text(masked); !bytes.Equal(twice, masked) {
				t.Fatalf("masked twice it differs:\n%s\n%s", masked, twice)
			}
			// Whatever follows it, even if it breaks the document, the value stays hidden.
			if all := mask.Text(append(text, around...)); plant.Find(all) != "" && !strings.Contains(key, plant.Value) && !strings.Contains(around, plant.Value) {
				t.Fatalf("with %q behind it the value is shown:\n%s\n%s", around, text, all)
			}
		}
	})
}
