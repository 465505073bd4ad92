package render

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/report"
)

// randomFleet is a fleet with its creation rules, which may let others read than it says.
type randomFleet struct {
	clusters []string
	reader   map[string]string // of a cluster; empty if the fleet does not say
	hub      string            // who may read all pairs
	text     string
	rules    []randomRule
}

type randomRule struct {
	regex   string
	readers []string
}

func newRandomFleet(r *rand.Rand, keys []string) *randomFleet {
	// One name begins with another, as those of rules without a slash at the end do.
	f := &randomFleet{clusters: []string{"c1", "c10", "c2", "c3"}[:2+r.IntN(3)], reader: make(map[string]string), hub: keys[0]}
	f.text = "apiVersion: clusterpair.dev/v1alpha1\nkind: ClusterPairFleet\nmetadata: {name: dr}\nspec:\n  storkVersion: \"25.5\"\n  namespace: apps\n  files: [../secrets]\n" +
		"  directory: clusters/${from}/pairs\n  readers: [" + f.hub + "]\n  clusters:\n"
	for i, name := range f.clusters {
		f.text += "  - name: " + name + "\n    destination: {secret: {name: " + name + "-kubeconfig}}\n"
		own := keys[1+i]
		if r.IntN(8) == 0 {
			own = keys[1+r.IntN(len(keys)-1)] // two clusters may have one key
		}
		if r.IntN(8) > 0 {
			f.reader[name] = own
			f.text += "    reader: " + own + "\n"
		}
		f.rules = append(f.rules, randomRule{"^clusters/" + name + "/", []string{f.hub, own}})
	}
	by := func() string { return f.clusters[r.IntN(len(f.clusters))] }
	f.text += "  pairs:\n"
	switch a, b := by(), by(); {
	case a == b:
		f.text += "  - {from: {}, ring: true, bothWays: " + fmt.Sprint(r.IntN(2) == 0) + ", name: \"to-${to}\"}\n"
	default:
		f.text += "  - {from: " + a + ", to: " + b + ", bothWays: " + fmt.Sprint(r.IntN(2) == 0) + ", name: other}\n"
	}
	rule := &f.rules[r.IntN(len(f.rules))]
	switch r.IntN(7) { // somebody has made a mistake
	case 0:
		rule.regex = strings.TrimSuffix(rule.regex, "/")
	case 1:
		rule.readers = append(rule.readers, keys[1+r.IntN(len(keys)-1)])
	case 2:
		rule.readers[1] = keys[1+r.IntN(len(keys)-1)]
	case 3:
		rule.regex = "^clusters/"
	case 4:
		r.Shuffle(len(f.rules), func(i, k int) { f.rules[i], f.rules[k] = f.rules[k], f.rules[i] })
	}
	return f
}

// leaks tells whether the creation rule for the pairs of a cluster lets others read them
// than the fleet says, or not its reader.
func (f *randomFleet) leaks(cluster string) bool {
	i := slices.IndexFunc(f.rules, func(r randomRule) bool {
		return regexp.MustCompile(r.regex).MatchString("clusters/" + cluster + "/pairs/apps/other.yaml")
	})
	if i < 0 {
		return true
	}
	own := f.reader[cluster]
	for _, reader := range f.rules[i].readers {
		if !f.may(cluster, reader) {
			return true
		}
	}
	return own != "" && !slices.Contains(f.rules[i].readers, own)
}

// may tells whether a key may read the pairs of a cluster.
func (f *randomFleet) may(cluster, key string) bool {
	if own := f.reader[cluster]; key == f.hub || key == own {
		return true
	} else if own != "" {
		return false
	}
	return !slices.ContainsFunc(f.clusters, func(other string) bool { return f.reader[other] == key })
}

// write lays the fleet out in a directory.
func (f *randomFleet) write(t *testing.T, dir string) {
	write(t, filepath.Join(dir, "fleet.yaml"), f.text)
	rules := "creation_rules:\n"
	for _, rule := range f.rules {
		rules += fmt.Sprintf("- path_regex: %s\n  encrypted_regex: ^(config|token)$\n  mac_only_encrypted: true\n  age: %s\n", rule.regex, strings.Join(rule.readers, ","))
	}
	write(t, filepath.Join(dir, ".sops.yaml"), rules)
}

// dataKeys are the data keys in an encrypted document, each encrypted for a recipient.
func dataKeys(t *testing.T, document []byte) (keys []string) {
	t.Helper()
	_, section, _ := strings.Cut(string(document), "\nsops:")
	var doc struct {
		SOPS struct {
			Age []struct {
				Enc string `yaml:"enc"`
			} `yaml:"age"`
		} `yaml:"sops"`
	}
	if err := yaml.Unmarshal([]byte("sops:"+section), &doc); err != nil || len(doc.SOPS.Age) == 0 {
		t.Fatalf("%v, %d recipients", err, len(doc.SOPS.Age))
	}
	for _, key := range doc.SOPS.Age {
		keys = append(keys, key.Enc)
	}
	return keys
}

// opens tells whether an identity decrypts one of the data keys.
func opens(id age.Identity, keys []string) bool {
	return slices.ContainsFunc(keys, func(key string) bool {
		plain, err := age.Decrypt(armor.NewReader(strings.NewReader(key)), id)
		if err == nil {
			_, err = io.Copy(io.Discard, plain)
		}
		return err == nil
	})
}

// TestReadersOfRandomFleets renders fleets with creation rules that are right, or wrong
// in one of the ways of people: no directory is to get a pair that another key decrypts
// than those of its readers, and a rule that would let one is an error.
func TestReadersOfRandomFleets(t *testing.T) {
	t.Chdir(t.TempDir())
	var ids []*age.X25519Identity
	var keys []string
	for range 6 {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		ids, keys = append(ids, id), append(keys, id.Recipient().String())
	}
	secret := shared(t, "west.yaml")
	for _, name := range []string{"c1", "c10", "c2", "c3"} {
		write(t, "secrets/"+name+".yaml", strings.NewReplacer("west-kubeconfig", name+"-kubeconfig", "west.example.com", name+".example.com").Replace(secret))
	}
	write(t, ".git/HEAD", "ref: refs/heads/main\n")
	r := rand.New(rand.NewPCG(3, 4))
	rendered, refused, opened, kept := 0, 0, 0, 0
	for n := range 1000 {
		f := newRandomFleet(r, keys)
		dir := fmt.Sprintf("f%d", n)
		f.write(t, dir)
		sources, files, findings := f.render(t, dir)
		leaks := slices.ContainsFunc(sources, f.leaks)
		said := strings.Contains(rules(findings), "error reader-of-another-cluster") || strings.Contains(rules(findings), "error fleet") || strings.Contains(rules(findings), "error shadowed-rule") || strings.Contains(rules(findings), "error no-creation-rule")
		switch failed := report.HasErrors(findings); {
		case leaks && (!said || len(files) > 0), !leaks && failed && !strings.Contains(rules(findings), "shadowed"), failed == (len(files) > 0):
			t.Fatalf("fleet %d: leaks %v, %d files, findings %q\n%s%v", n, leaks, len(files), rules(findings), f.text, f.rules)
		case failed:
			refused++
		default:
			rendered++
		}
		for file, document := range files {
			cluster := strings.Split(filepath.ToSlash(file), "/")[2]
			sealed := dataKeys(t, document)
			for i, id := range ids {
				switch can := opens(id, sealed); {
				case can && !f.may(cluster, keys[i]):
					t.Fatalf("fleet %d: key %d decrypts %s\n%s", n, i, file, f.text)
				case can:
					opened++
				default:
					kept++
				}
			}
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d fleets rendered, %d refused; %d times a key decrypted a pair, %d times it did not", rendered, refused, opened, kept)
	if rendered < 300 || refused < 200 || opened < 1000 || kept < 1000 {
		t.Error("too few of one kind to tell anything")
	}
}

// render renders the fleet in a directory. sources are the clusters with pairs, files
// what is to be written: nothing after an error.
func (f *randomFleet) render(t *testing.T, dir string) (sources []string, files map[string][]byte, findings []report.Finding) {
	configs, err := kustomize.Configs(filepath.Join(dir, "fleet.yaml"))
	defer kustomize.Close(configs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range configs {
		if configs[i].Source != nil && configs[i].Source.Renders() {
			sources = append(sources, configs[i].Source.Name)
		}
	}
	var mu sync.Mutex
	files = make(map[string][]byte)
	r := Begin(configs, Options{Dry: true, Each: func(file string, _, after []byte) {
		mu.Lock()
		defer mu.Unlock()
		files[file] = slices.Clone(after)
	}})
	defer r.Close()
	if findings, err = r.Render(t.Context()); err != nil {
		t.Fatalf("%s: %v\n%s%v", dir, err, f.text, f.rules)
	}
	if report.HasErrors(findings) {
		files = nil
	}
	return sources, files, findings
}
