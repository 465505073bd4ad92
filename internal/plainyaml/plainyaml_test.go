package plainyaml

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
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
//
// What ParseBare accepts is yaml.v3's without comments.
func parsed(t *testing.T, data []byte) bool {
	t.Helper()
	if bare, ok := ParseBare(data); ok {
		want, err := reference(data)
		forgetComments(&want)
		if err != nil {
			t.Errorf("without comments: accepted what yaml.v3 rejects: %v\n%q", err, data)
		} else if !reflect.DeepEqual(bare, &want) {
			t.Errorf("without comments: the tree differs from yaml.v3's\n%q\ngot:\n%swant:\n%s", data, dump(bare, 0), dump(&want, 0))
		}
	}
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

func forgetComments(n *yaml.Node) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	for _, c := range n.Content {
		forgetComments(c)
	}
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
	"a: true\nb: False\nc: yes\nd: off\ne: NULL\nf: ~\ng: .inf\nh: -.INF\ni: .nan\nj: 0x1F\nk: 0o17\nl: 017\nm: 0b1\nn: 1_000\no: 1.5e-3\np: .5\nq: 1.\nr: y\ns: N\nt: tRUE\nu: 1__0\nv: +.inf\nw: 18446744073709551615\nx: 0o1234567\ny: 100_000_000\nz: 0XABCDEF\n",
	"1: a\ntrue: b\n~: c\n1.5: d\n.dockerconfigjson: e\n",
	"a: a\na: b\n",
	"größe: 5 µm\n\"ключ\": значение\n𝄞: {}\n", "a: \u00a0é\n", "ö: |\n  ä\n",
	"token: 0123456789" + strings.Repeat("QUJD", 400) + "==\nzero: " + strings.Repeat("0", 100) + "\nplus: +" + strings.Repeat("A1", 100) + "/\n",
	strings.Repeat("k", maxKey) + ": v\n",
	strings.Repeat("- ", maxDepth) + "a", strings.Repeat("- a: b\n", 2*maxDepth),
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
	"a:\tb\n", "a: b\r\n", "\ufeffa: b\n", "a: b\x00", "00\x1f00: 0", "a: \x7f\n", "a: \u0085\n", "a: \u009f\n", "a: \u2028\n", "a: \ufeff\n", "a: \xff\n", "a: \xc3", "a: \xed\xa0\x80\n", "a: \uffff\n",
	"a: b\n  c\n", "a:\n  b\n", "a:\n b: c\n  d: e\n", "a:\n  b: c\n d: e\n", "a: b\n c: d\n", "- a\n b\n", "- a\nb: c\n", "a:\n  - b\n  c: d\n", "a: b\n- c\n", "a\n", "a: b: c\n", "a: - b\n", "a: -\n", "- - a\n  b: c\n", "- a: b\n c: d\n",
	"a : b\n", ": a\n", "? a\n: b\n", "-a: b\n", "a: b:\n", "a:: b\n",
	"a: &b c\n", "a: *b\n", "a: !!str b\n", "<<: a\n", "a: <<\n", "a: [b]\n", "a: {b: c}\n", "{}: a\n", "a: { }\n", "a: >\n  b\n", "a: |2\n  b\n", "a: |\n", "a: |\nb: c\n", "a: |\n   \n  b\n", "a: |\n  b\n c: d\n", "a: @b\n", "a: `b`\n", "a: %b\n",
	"a: \"b\\n\"\n", "a: 'b''c'\n", "a: \"b\n", "a: 'b\n  c'\n", "a: \"b\"c\n", "\"a\"b: c\n", "\"a\" : b\n", "\"a\":b\n", "a: \"b\": c\n", "'a''b': c\n",
	strings.Repeat("k", maxKey+1) + ": v\n", strings.Repeat("- ", maxDepth+1) + "a",
}

// TestBytes puts each byte at each offset of the eight that are looked at
// together.
func TestBytes(t *testing.T) {
	for c := range 256 {
		for at := range 16 {
			text := []byte("key: " + strings.Repeat("x", 24))
			text[len("key: ")+at] = byte(c)
			ok := parsed(t, text)
			if unread := c < ' ' || c > '~'; ok && unread || !ok && c >= 'a' && c <= 'z' {
				t.Errorf("byte %#x at %d: read %t", c, at, ok)
			}
		}
	}
}

// TestFiles compares over the YAML files of the repository, and asserts that
// the Secrets, the encrypted ones too, are read.
func TestFiles(t *testing.T) {
	secret := regexp.MustCompile(`/(fixtures/secrets|secrets|rendered/[^/]+)/[^/]+$`)
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
			if secret.MatchString(filepath.ToSlash(path)) {
				if secrets++; !ok {
					t.Errorf("%s is not read", path)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if secrets < 25 {
		t.Errorf("%d Secrets found in the fixtures", secrets)
	}
}

// TestTools asserts that what each tool writes is read, with LF and without a
// line end behind the last line.
func TestTools(t *testing.T) {
	for tool, text := range tools {
		if text = strings.TrimPrefix(text, "\n"); !parsed(t, []byte(text)) || !parsed(t, []byte(strings.TrimSuffix(text, "\n"))) {
			t.Errorf("%s: not read", tool)
		}
	}
}

var base64Text = strings.Repeat("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUJnakNDQVNp", 30) + "Qo9PQ=="

var kubeadmConfig = `
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ` + base64Text + `
    server: https://10.0.0.10:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: ` + base64Text + `
    client-key-data: 0` + base64Text + `
`

// tools are documents as tools write them: samples of what must be read.
var tools = map[string]string{
	"kubeadm kubeconfig": kubeadmConfig,
	"aws eks update-kubeconfig": `
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: ` + base64Text + `
    server: https://ABCDEF0123456789.gr7.us-east-1.eks.amazonaws.com
  name: arn:aws:eks:us-east-1:123456789012:cluster/dr
contexts:
- context:
    cluster: arn:aws:eks:us-east-1:123456789012:cluster/dr
    user: arn:aws:eks:us-east-1:123456789012:cluster/dr
  name: arn:aws:eks:us-east-1:123456789012:cluster/dr
current-context: arn:aws:eks:us-east-1:123456789012:cluster/dr
kind: Config
preferences: {}
users:
- name: arn:aws:eks:us-east-1:123456789012:cluster/dr
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1beta1
      args:
      - --region
      - us-east-1
      - eks
      - get-token
      - --output
      - json
      command: aws
      env: null
      interactiveMode: IfAvailable
      provideClusterInfo: false
`,
	"Cluster API": `
apiVersion: v1
data:
  value: ` + base64Text + `
kind: Secret
metadata:
  creationTimestamp: "2024-05-06T07:08:09Z"
  labels:
    cluster.x-k8s.io/cluster-name: west
  name: west-kubeconfig
  namespace: fleet
  ownerReferences:
  - apiVersion: controlplane.cluster.x-k8s.io/v1beta1
    blockOwnerDeletion: true
    controller: true
    kind: KubeadmControlPlane
    name: west-control-plane
    uid: 5b6f2ee4-6f6e-4d3f-9f0e-2c2f6f0f6c51
  resourceVersion: "4711"
  uid: 0bb2d1c7-3ab1-4b7e-9f1e-6a0e4f0c8f3b
type: cluster.x-k8s.io/secret
`,
	"kubectl create secret --dry-run": `
apiVersion: v1
data:
  .dockerconfigjson: ` + base64Text + `
  kubeconfig: ""
kind: Secret
metadata:
  creationTimestamp: null
  name: west
type: Opaque
`,
	"kubectl get, applied before": `
apiVersion: v1
data:
  token: ` + base64Text + `
immutable: true
kind: Secret
metadata:
  annotations:
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"v1","data":{"token":"QQ=="},"kind":"Secret","metadata":{"annotations":{},"name":"west"}}
    deploy.example.com/revision: "12"
  generation: 3
  name: west
`,
	"kustomize, a kubeconfig in stringData": `---
apiVersion: v1
kind: Secret
metadata:
  name: west
stringData:
  value: |` + strings.ReplaceAll(kubeadmConfig, "\n", "\n    ") + `
`,
	"sops": `
apiVersion: v1
kind: Secret
metadata:
    name: west
data:
    value: ENC[AES256_GCM,data:` + base64Text + `,iv:4CJ2wDk6Xh0Jv1B4y7mP0g4v0nq5m2m9U1y6t2b8c3E=,tag:0Q1r9sB3b7m2gqS0l4d3Ew==,type:str]
sops:
    kms: []
    gcp_kms: []
    azure_kv: []
    hc_vault: []
    age:
        - recipient: age1yt3tfqlfrwdwx0z0ynwplcr6qxcxfaqycuprpmy89nr83ltx74tqdpszlw
          enc: |
            -----BEGIN AGE ENCRYPTED FILE-----
            YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBSZmJ4ZVl6dXB4cDhBVm9W
            -----END AGE ENCRYPTED FILE-----
    lastmodified: "2024-05-06T07:08:09Z"
    mac: ENC[AES256_GCM,data:4n/VO9j7GQ==,iv:6P0J8Xv8C5bXy2T8i0hYbQ==,tag:0Q1r9sB3b7m2gqS0l4d3Ew==,type:str]
    pgp: []
    encrypted_regex: ^(data|stringData)$
    unencrypted_suffix: _unencrypted
    version: 3.9.0
`,
	"stork": `
apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  creationTimestamp: null
  name: remotecluster
  namespace: migrationnamespace
spec:
  config:
    clusters:
      kubernetes:
        LocationOfOrigin: ""
        certificate-authority-data: ` + base64Text + `
        server: https://10.0.0.10:6443
    current-context: kubernetes-admin@kubernetes
    preferences: {}
  options:
    <insert_storage_options_here>: ""
  platformOptions: {}
status:
  remoteStorageId: ""
  schedulerStatus: ""
  storageStatus: ""
`,
}

func FuzzParse(f *testing.F) {
	for _, text := range slices.Concat(accepted, refused, slices.Collect(maps.Values(tools))) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { parsed(t, data) })
}

func BenchmarkParse(b *testing.B) {
	secret := []byte("apiVersion: v1\ndata:\n  value: " + strings.Repeat("QUJD", 2500) + "\nkind: Secret\nmetadata:\n  labels:\n    role: dr\n  name: west\n  namespace: fleet\ntype: Opaque\n")
	for name, data := range map[string][]byte{
		"Secret":       secret,
		"kubeconfig":   []byte(kubeadmConfig),
		"stringData":   []byte(tools["kustomize, a kubeconfig in stringData"]),
		"sops":         []byte(tools["sops"]),
		"base64 of 1M": []byte("value: " + strings.Repeat("QUJD", 1<<18)),
	} {
		b.Run(name+"/plainyaml", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := Parse(data); !ok {
					b.Fatal("not read")
				}
			}
		})
		b.Run(name+"/yaml.v3", func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := reference(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
