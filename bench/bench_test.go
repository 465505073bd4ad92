package main

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestCorpusIsSeededAndSound(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	for _, dir := range dirs {
		if err := writeCorpus(dir, 2, "age1a,age1b"); err != nil {
			t.Fatal(err)
		}
	}
	certificates := make(map[string]bool)
	for _, name := range []string{"dr-00000.yaml", "dr-00001.yaml"} {
		secret := read(t, dirs[0], secretsDir, name)
		if !bytes.Equal(secret, read(t, dirs[1], secretsDir, name)) {
			t.Errorf("%s: two corpora of one seed differ", name)
		}
		var s struct{ Data struct{ Value string } }
		unmarshal(t, secret, &s)
		var k struct {
			Users []struct {
				User struct {
					Certificate string `yaml:"client-certificate-data"`
					Key         string `yaml:"client-key-data"`
				}
			}
		}
		unmarshal(t, decode(t, s.Data.Value), &k)
		user := k.Users[0].User
		if _, err := tls.X509KeyPair(decode(t, user.Certificate), decode(t, user.Key)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		certificates[user.Certificate] = true
		pair := read(t, dirs[0], pairsDir, name)
		if !bytes.Contains(pair, []byte(user.Key)) {
			t.Errorf("%s: the ClusterPair has not the key of the Secret", name)
		}
	}
	if len(certificates) != 2 {
		t.Error("two destinations share a certificate")
	}
}

func TestResourceListHoldsTheConfig(t *testing.T) {
	var list struct {
		FunctionConfig map[string]any `yaml:"functionConfig"`
	}
	unmarshal(t, []byte(resourceList("age1a,age1b")), &list)
	var want map[string]any
	unmarshal(t, []byte(config("age1a,age1b")), &want)
	got, err := yaml.Marshal(list.FunctionConfig)
	if err != nil {
		t.Fatal(err)
	}
	if w, _ := yaml.Marshal(want); !bytes.Equal(got, w) {
		t.Errorf("functionConfig is\n%s\nwant\n%s", got, w)
	}
}

// TestMesh wants a rule and a config for each cluster, which leaves it out.
func TestMesh(t *testing.T) {
	dir := t.TempDir()
	if err := writeMesh(dir, 3); err != nil {
		t.Fatal(err)
	}
	var rules struct {
		Rules []struct {
			Path string `yaml:"path_regex"`
			Age  string
		} `yaml:"creation_rules"`
	}
	unmarshal(t, read(t, dir, ".sops.yaml"), &rules)
	if len(rules.Rules) != 4 || rules.Rules[3].Path != "^clusters/c002/" || rules.Rules[3].Age == rules.Rules[2].Age {
		t.Errorf("%+v", rules)
	}
	var fleet struct {
		Kind string
		Spec struct{ Directory string }
	}
	if unmarshal(t, read(t, dir, meshFile), &fleet); fleet.Kind != "ClusterPairFleet" || fleet.Spec.Directory != "clusters/${from}/pairs" {
		t.Errorf("%+v", fleet)
	}
	for _, name := range []string{"c000", "c001", "c002"} {
		if !bytes.Contains(read(t, dir, secretsDir, name+".yaml"), []byte("cluster.x-k8s.io/cluster-name: "+name+"\n")) {
			t.Errorf("%s has no Secret of its label", name)
		}
	}
}

// TestBars gives every bar a figure that keeps it by a hair and then, one
// after the other, figures that miss it.
func TestBars(t *testing.T) {
	kept := func() *measurements {
		seconds := func(cpu float64) result {
			return result{sample: sample{cpu: time.Duration(cpu * 1e9), peak: 64 << 20}, busy: 1.3}
		}
		light := func(cpu float64) result {
			r := seconds(cpu)
			r.peak = 48 << 20
			return r
		}
		work := func(factor float64) map[string]result {
			return map[string]result{
				generateFirst: seconds(1.6 * factor), generateAgain: seconds(2 * factor), generateNoKey: seconds(2 * factor),
				generateCheck: seconds(2 * factor), atFloor: seconds(factor), sopsLibrary: seconds(8 * factor),
				validateRendered: light(2.2 * factor), validateCommented: light(2.2 * factor), atParseFloor: light(factor), commentedFloor: light(factor),
				kubeconformHand: light(2.2 * factor),
			}
		}
		m := &measurements{
			processors: 2, sizes: []int{100, 1000, 10000}, perFileLimit: 100,
			work:      map[int]map[string]result{100: work(0.1), 1000: work(1), 10000: work(10.5)},
			startUp:   map[string]result{ourVersion: seconds(0.006), ourFunction: seconds(0.006), ourValidate: seconds(0.01), ourHook: seconds(0.006), sopsVersion: seconds(0.01)},
			size:      map[string]int64{"clusterpair": 42e6},
			watched:   watched{peak: 48, share: 0.5},
			decrypted: map[string]result{buildKustomized: seconds(ksopsRatio), buildDirectory: seconds(ksopsRatio), buildFloor: seconds(1)},
		}
		m.work[100][sopsCLI] = seconds(4)
		mesh := func(pairs float64) map[string]result {
			check, page := light(0.05*1.15*pairs), seconds(0.1*pairs+1)
			page.printed = 400e3
			return map[string]result{meshFirst: seconds(1.15 * pairs), meshAgain: seconds(0.08 * 1.15 * pairs), meshOne: seconds(0.08 * 1.15 * pairs), meshCheck: check, meshGraph: page, meshReport: seconds(0.1 * pairs), meshDoctor: seconds(pairs), meshValidate: seconds(0.2 * pairs), meshExpiring: seconds(0.1 * pairs), meshFloor: seconds(pairs)}
		}
		m.meshes = map[int]map[string]result{40: mesh(1.56), 200: mesh(1.0999 * 39.8)}
		delete(m.meshes[200], meshFloor)
		for name, r := range m.meshes[200] {
			if name != meshCheck {
				r.peak = 80 << 20
				m.meshes[200][name] = r
			}
		}
		return m
	}
	missed := func(m *measurements) (texts []string) {
		for _, b := range append(m.bars(), m.meshBars()...) {
			if !b.kept {
				texts = append(texts, b.text)
			}
		}
		return texts
	}
	if texts := missed(kept()); len(texts) > 0 {
		t.Errorf("missed although all figures are at their limit: %q", texts)
	}

	slower := func(work map[string]result, name string, by time.Duration) {
		r := work[name]
		r.cpu += by
		work[name] = r
	}
	for text, worsen := range map[string]func(*measurements){
		"/ the floor":                                          func(m *measurements) { slower(m.work[1000], atFloor, -time.Millisecond) },
		"a kustomization of them / kustomize":                  func(m *measurements) { slower(m.decrypted, buildKustomized, time.Millisecond) },
		"the directory / kustomize":                            func(m *measurements) { slower(m.decrypted, buildDirectory, time.Millisecond) },
		"/ the library of SOPS":                                func(m *measurements) { slower(m.work[1000], sopsLibrary, -time.Millisecond) },
		"/ sops, a process":                                    func(m *measurements) { slower(m.work[100], sopsCLI, -time.Millisecond) },
		"key at hand / the":                                    func(m *measurements) { slower(m.work[1000], generateAgain, time.Millisecond) },
		"no key / the floor":                                   func(m *measurements) { slower(m.work[1000], generateNoKey, time.Millisecond) },
		"--check`, no key":                                     func(m *measurements) { slower(m.work[1000], generateCheck, time.Millisecond) },
		"for 10,000 pairs / for":                               func(m *measurements) { slower(m.work[10000], generateFirst, time.Second) },
		"`clusterpair version`, CPU / `sops":                   func(m *measurements) { slower(m.startUp, ourVersion, time.Millisecond) },
		"`clusterpair <resource-list`":                         func(m *measurements) { slower(m.startUp, ourFunction, time.Millisecond) },
		"validate --staged":                                    func(m *measurements) { slower(m.startUp, ourHook, time.Millisecond) },
		"1,000 pairs: peak, MiB":                               func(m *measurements) { m.watched.peak++ },
		"percent of a core":                                    func(m *measurements) { m.watched.share += 0.01 },
		"validate` of one file":                                func(m *measurements) { slower(m.startUp, ourValidate, time.Millisecond) },
		"1,000 files, CPU: / the floor":                        func(m *measurements) { slower(m.work[1000], atParseFloor, -time.Millisecond) },
		"1,000 files, CPU: a comment in each file / the floor": func(m *measurements) { slower(m.work[1000], validateCommented, time.Millisecond) },
		"1,000 files, CPU: / kubeconform":                      func(m *measurements) { slower(m.work[1000], kubeconformHand, -time.Millisecond) },
		"10,000 files, CPU: / kubeconform":                     func(m *measurements) { slower(m.work[10000], kubeconformHand, -time.Millisecond) },
		"1,000 files, CPU: / wall": func(m *measurements) {
			r := m.work[1000][validateRendered]
			r.busy = 1
			m.work[1000][validateRendered] = r
		},
		"clusterpair validate`: CPU for 10,000": func(m *measurements) { slower(m.work[10000], validateRendered, 2*time.Second) },
		"10,000 files: largest peak": func(m *measurements) {
			r := m.work[10000][validateCommented]
			r.peak += 1 << 20
			m.work[10000][validateCommented] = r
		},
		"40 clusters, 1,560 pairs: `generate`, CPU: first time / the floor": func(m *measurements) { slower(m.meshes[40], meshFloor, -100*time.Millisecond) },
		"39,800 pairs: `clusterpair generate, first time`: CPU for a pair":  func(m *measurements) { slower(m.meshes[200], meshFirst, 2*time.Second) },
		"39,800 pairs: `clusterpair validate`: CPU for a pair":              func(m *measurements) { slower(m.meshes[200], meshValidate, time.Second) },
		"39,800 pairs: largest peak of the others": func(m *measurements) {
			r := m.meshes[200][meshReport]
			r.peak++
			m.meshes[200][meshReport] = r
		},
		"39,800 pairs: peak of `clusterpair generate --check, no key`": func(m *measurements) {
			r := m.meshes[200][meshCheck]
			r.peak++
			m.meshes[200][meshCheck] = r
		},
		"39,800 pairs: the page of `clusterpair graph -o html`, KB": func(m *measurements) {
			r := m.meshes[200][meshGraph]
			r.printed++
			m.meshes[200][meshGraph] = r
		},
		"39,800 pairs: `clusterpair graph -o html`, CPU s over": func(m *measurements) { slower(m.meshes[200], meshGraph, time.Millisecond) },
		"the binary": func(m *measurements) { m.size["clusterpair"]++ },
		"10,000 pairs: largest peak": func(m *measurements) {
			r := m.work[10000][generateCheck]
			r.peak++
			m.work[10000][generateCheck] = r
		},
		"/ wall": func(m *measurements) {
			r := m.work[1000][generateFirst]
			r.busy = 1
			m.work[1000][generateFirst] = r
		},
	} {
		m := kept()
		worsen(m)
		if got := missed(m); !strings.Contains(strings.Join(got, "\n"), text) {
			t.Errorf("%q is not missed, only %q", text, got)
		}
	}
}

// TestRepositoryHasAllPairs wants as many files as said, with ten pairs in ten
// directories.
func TestRepositoryHasAllPairs(t *testing.T) {
	pairs, dir := t.TempDir(), t.TempDir()
	for i := range mattering {
		if err := os.WriteFile(filepath.Join(pairs, fmt.Sprintf("%d.yaml", i)), []byte("kind: ClusterPair\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeRepository(dir, 2500, pairs); err != nil {
		t.Fatal(err)
	}
	files := make(map[string]int)
	if err := eachFile(dir, func(name string, data []byte) error {
		if filepath.Ext(name) == ".yaml" {
			var any yaml.Node
			if err := yaml.Unmarshal(data, &any); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		files["all"]++
		files[name]++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if files["all"] != 2500 || files["kustomization.yaml"] != 25 || files["pair.yaml"] != mattering {
		t.Errorf("%v", files)
	}
	if err := writeRepository(t.TempDir(), 999, pairs); err == nil {
		t.Error("999 files are no full directories")
	}
}

func TestParseWatched(t *testing.T) {
	out := "=== RUN   TestThousand\n    thousand_linux_test.go:55: 40 MiB at most, 870ms of CPU a round: 0.29 % of a core at 5m0s\n--- PASS: TestThousand (1.99s)\n"
	if w, err := parseWatched([]byte(out)); err != nil || w != (watched{peak: 40, cpu: 870 * time.Millisecond, share: 0.29}) {
		t.Errorf("%+v %v", w, err)
	}
	if _, err := parseWatched([]byte("testing: warning: no tests to run\nPASS\n")); err == nil {
		t.Error("no test ran, and nobody says so")
	}
}

func TestParseBenchmarks(t *testing.T) {
	const out = `goos: linux
BenchmarkCUE-2          	     364	   3283626 ns/op
BenchmarkCUECompile-2   	      96	  16104731 ns/op
BenchmarkValidate/#ClusterPair-2         	   70140	     22467.5 ns/op
BenchmarkFirst         	    1452	    884222 ns/op	  275253 B/op
PASS
`
	e, err := parseBenchmarks([]byte(out))
	if err != nil || e[cueEach] != 3283626 || e[cueFirst] != 16104731 || e[planEach] != 22467 || e[planFirst] != 884222 {
		t.Errorf("%v, %v", e, err)
	}
	if _, err := parseBenchmarks([]byte(strings.Replace(out, "BenchmarkFirst", "BenchmarkLast", 1))); err == nil {
		t.Error("a benchmark that is not there is not missed")
	}
}

func TestReplaceTable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(file, []byte("a\n<!-- table: begin -->\nold\n<!-- table: end -->\nz\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time must find the markers again
		if err := replaceTable(file, "table", "new\n"); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := string(read(t, file)), "a\n<!-- table: begin -->\n\nnew\n\n<!-- table: end -->\nz\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := os.WriteFile(file, []byte("a\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := replaceTable(file, "table", "new\n"); err == nil {
		t.Error("a file without markers is accepted")
	}
}

func read(t *testing.T, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decode(t *testing.T, s string) []byte {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unmarshal(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := yaml.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}
