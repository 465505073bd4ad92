package mask_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"regexp"
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

// TestMasked: what is between « and » is masked, whatever holds it, and nothing else; of what
// nobody can guess a fingerprint is shown, which stands last, after a bar. Layout and
// comments stay.
func TestMasked(t *testing.T) {
	masked := regexp.MustCompile(`«([^»]*?)(?:\|( [0-9a-f]{8}))?»`)
	for name, text := range map[string]string{
		"a Secret": `# token: «hunter2 was the old one»
# a comment that stays
apiVersion: v1
kind: Secret
metadata: {name: west, namespace: fleet} # here, too
stringData: {a: «hunter2», "b": "«hunter2, too»", 'c': '«hun''ter2»',
  d: «hunter2
   hunter2» }
data:
  ca.crt: «LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJpekNDQVRHZ0F3SUJBZ0lVTVE5SGh5SzZoekZVVW9WcTd6Mm9mckFieGdRd0NnWUlLb1pJemowRUF3SXcKLS0tLS1FTkQgQ0VSVElGSUNBVEUtLS0tLQo=| c7418dcc»
  folded: «hunter2
    hunter2»

  literal: «|
      hunter2
      # hunter2»
  anchored: &x «hunter2»
  tagged: !!str «hunter2»
  number: «12345»
  empty: ""
type: *x
`,
		"a kubeconfig": `apiVersion: v1
kind: Config
current-context: a
clusters:
- name: west
  cluster:
    server: https://west.example.com:6443
    proxy-url: «http://ada:hunter2@proxy.example.com»
contexts:
- name: a
  context: {cluster: west, user: ada}
users:
- name: ada
  user: {token: «0123456789abcdef0123456789abcdef| 3eb1bd43»}
- name: bob
  user:
    username: «bob»
    password: «hunter2hunter2hunter2hunter2hunter2»
- name: eve
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      args: [«--password», «hunter2»]
      env: [{name: PASSWORD, value: «hunter2»}]
`,
		"a list in JSON": `{"kind": "List", "items": [
  {"kind": "Secret", "metadata": {"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "«{\"stringData\": \"hunter2\"}»"}},
   "data": {"x": "«aHVudGVyMg==»"}},
  {"kind": "ConfigMap", "data": {"x": "shown"}}]}
`,
		"values of a chart": `admin:
  user: ada
  adminPassword: «hunter2»
  password: «hunter2»
  passwordFrom: {secretKeyRef: {name: admin, key: password}}
kubeconfig: «|
  contexts: []
  users: [{user: {token: hunter2}}]»
args: ["«--token=hunter2»", "--verbose"]
`,
		"a ClusterPair of storkctl": `apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  creationTimestamp: null
  name: west
spec:
  config:
    clusters:
      west:
        LocationOfOrigin: /tmp/west
        server: https://west.example.com:6443
        certificate-authority-data: «hunter2»
    users:
      ada:
        client-key-data: «hunter2»
  options:
    ip: 10.0.0.9
    port: "9001"
    token: «hunter2»
    hunter: «hunter2»
  platformOptions: {rancher: {projectMappings: {c-1:p-1: c-2:p-2}}}
status: {schedulerStatus: ""}
`,
		"prose": `# Secrets

A Secret such as this one:

` + "`" + `` + "`" + `` + "`" + `yaml
kind: Secret
stringData: {password: hunter2}
` + "`" + `` + "`" + `` + "`" + `

must not be committed. ENC[AES256_GCM,data:abcd,iv:abcd,tag:abcd,type:str] may.
`,
		"a Deployment": `apiVersion: apps/v1
kind: Deployment
metadata: {name: stork}
spec:
  template:
    spec:
      automountServiceAccountToken: true
      containers:
      - name: stork
        env:
        - name: TOKEN
          valueFrom: {secretKeyRef: {name: stork, key: token}}
`,
	} {
		input, want := masked.ReplaceAllString(text, "$1"), masked.ReplaceAllString(text, "<in clear$2>")
		if got := string(mask.Text([]byte(input))); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// TestUnreadable: what is no YAML shows little more than its keys, and what is no text nothing.
func TestUnreadable(t *testing.T) {
	for input, want := range map[string]string{
		"kind: Secret\nmetadata:\n\tname: west\nstringData:\n  name: hunter2\n  value: |\n    server: hunter2\n  token: hunter2\n": "kind: Secret\nmetadata:\n\tname: west\nstringData:\n  name: <not shown>\n  value: <not shown>\n<not shown>\n  token: <not shown>\n",
		"kind: Secret\x00hunter2\n": "<no text, 21 bytes, XXXXXXXX>\n",
	} {
		if got := regexp.MustCompile(`bytes, [0-9a-f]{8}>`).ReplaceAllString(string(mask.Text([]byte(input))), "bytes, XXXXXXXX>"); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
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
