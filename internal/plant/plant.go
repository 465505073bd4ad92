// Package plant puts a value where a credential may stand, for tests that look for it in
// every output.
//
// Nothing but tests imports it.
package plant

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
)

// Value is what no output may hold, in any spelling of it.
const Value = "PLANTED-cr3dential"

// Shapes are the ways in which a credential can be wrong: each makes another
// reader, ours or a library's, stumble over it and be tempted to quote it.
var Shapes = map[string]string{
	"as it is":         Value,
	"with white space": Value + " x\ty\n",
	"with a newline":   Value + "\nsecond: line",
	"as base64":        base64.StdEncoding.EncodeToString([]byte(Value)),
	"as PEM":           "-----BEGIN CERTIFICATE-----\n" + Value + "\n-----END CERTIFICATE-----\n",
	"as PEM in base64": base64.StdEncoding.EncodeToString([]byte("-----BEGIN PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString([]byte(Value)) + "\n-----END PRIVATE KEY-----\n")),
	"as a URL":         "https://user:" + Value + "@west.example.com:6443",
	"as JSON":          `{"` + Value + `": ["` + Value + `"`,
	"as YAML":          "a: [" + Value + ", {" + Value + ": *" + Value,
	"as a JWT":         "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp":"`+Value+`"}`)) + ".c2ln",
	"encrypted":        "ENC[AES256_GCM,data:" + Value + ",iv:" + Value + ",tag:" + Value + ",type:str]",
	"with a NUL":       Value + "\x00\x1b[31m",
}

// Find finds the planted value in an output, in clear, in base64 at any offset
// or in hexadecimal, and returns what stands around it.
func Find(output []byte) string {
	for _, needle := range needles {
		if i := bytes.Index(output, []byte(needle)); i >= 0 {
			return fmt.Sprintf("%q", output[max(0, i-60):min(len(output), i+60)])
		}
	}
	return ""
}

// needles are spellings of the planted value: plain, hexadecimal, and the part
// of each base64 alignment that does not depend on what stands beside it.
var needles = func() []string {
	n := []string{Value, "cr3dential", fmt.Sprintf("%x", Value)}
	for offset := range 3 {
		encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", offset) + Value))
		n = append(n, encoded[4*((offset+2)/3):len(encoded)-4])
	}
	return n
}()

// Into replaces each value of a Secret by a planted one, one at a time: the
// values themselves, and those of the kubeconfig or JSON within.
func Into(t testing.TB, fixture []byte, value string) map[string][]byte {
	t.Helper()
	documents := make(map[string][]byte)
	secret := Parse(t, fixture)
	emit := func(field string) {
		out, err := yaml.Marshal(secret)
		if err != nil {
			t.Fatal(err)
		}
		documents[field] = out
	}
	for _, section := range []string{"data", "stringData"} {
		values := manifest.Field(secret, section)
		if values == nil {
			continue
		}
		for i := 0; i+1 < len(values.Content); i += 2 {
			key, node := values.Content[i].Value, values.Content[i+1]
			original := *node
			text := node.Value
			encode := func(s string) string { return s }
			if section == "data" {
				raw, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					t.Fatalf("%s.%s: %v", section, key, err)
				}
				text, encode = string(raw), func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
			}
			set := func(field, s string) {
				*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: encode(s)}
				emit(section + "." + key + field)
				*node = original
			}
			set("", value)
			set(" cut", text[:len(text)/2]+"\n"+value)
			if section == "data" { // not even base64
				*node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
				emit(section + "." + key + " raw")
				*node = original
			}
			var inner yaml.Node
			if yaml.Unmarshal([]byte(text), &inner) != nil || len(inner.Content) == 0 || inner.Content[0].Kind != yaml.MappingNode {
				continue
			}
			for path, leaf := range Credentials(inner.Content[0], "") {
				before := *leaf
				*leaf = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value}
				out, err := yaml.Marshal(&inner)
				*leaf = before
				if err != nil {
					t.Fatal(err)
				}
				set(path, string(out))
			}
		}
	}
	return documents
}

// Credentials are the scalars of a kubeconfig that hold, or could hold, a
// secret. Names, servers and paths are no secrets: findings quote them.
func Credentials(n *yaml.Node, path string) map[string]*yaml.Node {
	found := make(map[string]*yaml.Node)
	for i, c := range n.Content {
		below := fmt.Sprintf("%s.%d", path, i)
		if n.Kind == yaml.MappingNode {
			if i%2 == 0 {
				continue
			}
			key := n.Content[i-1].Value
			below = path + "." + key
			if c.Kind == yaml.ScalarNode && slices.Contains([]string{"token", "password", "username", "client-key-data", "client-certificate-data",
				"certificate-authority-data", "bearerToken", "caData", "certData", "keyData", "value"}, key) {
				found[below] = c
			}
		}
		for p, leaf := range Credentials(c, below) {
			found[p] = leaf
		}
	}
	return found
}

// Parse is the only document of a text.
func Parse(t testing.TB, document []byte) *yaml.Node {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal(document, &root); err != nil {
		t.Fatal(err)
	}
	return root.Content[0]
}

// Decoded is the only document of a text, as maps, lists and values.
func Decoded(t testing.TB, document []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(document, &v); err != nil {
		t.Fatal(err)
	}
	return v
}
