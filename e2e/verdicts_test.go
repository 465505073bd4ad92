package e2e

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"
)

// form is in what form an engine brings the pair of a repository to the API server.
type form string

const (
	decrypted  form = "clear"
	ciphertext form = "ciphertext"
	absent     form = "absent" // it never gets there
	// The pair gets there in clear, and a renewed credential does not.
	stale form = "stale"
	// Each sync deletes the pair, and makes it again.
	anew form = "anew"
	// Of a verdict: validate and doctor say that nobody can tell, or nothing at all.
	cannotTell form = "cannot tell"
	silence    form = "silence"
	// Another rule finds that the pair, or a patch of it, cannot be decrypted.
	broken form = "broken"
)

// combination is a small repository with one encrypted pair. Its name is that of its
// subtest; each part of it is the value of a dimension.
type combination struct {
	name  string
	parts []part
	ns    string // the namespace of its objects, and of the pair
	files map[string]string
	// root is the file that somebody applies by hand; what it applies is up to the engine.
	root string
	// sources are the objects of Flux that hand out files, by kind/name, and the folder
	// of the repository that each has; "" is one that has nothing of it.
	sources map[string]string
	// repo and other are the URLs of the repository and of another one.
	repo, other string
}

type part struct{ dimension, value string }

// pairs are an encrypted pair, and the same with a new credential.
type pairs struct{ first, second map[string]any }

// renewed are what the pair has of the destination before and after: both change, as a
// setting may keep back one of them alone.
var renewed = [2]struct{ server, token string }{
	{"https://first.example.com:6443", "first-token"},
	{"https://second.example.com:6443", "second-token"},
}

// certificate is the credential of a kubeconfig that has none but a client certificate.
var certificate = regexp.MustCompile(`client-certificate-data: .*\n *client-key-data: .*`)

// encryptedPairs makes a pair, and the same with another credential.
func encryptedPairs(dir string) (p pairs, err error) {
	kubeconfig, err := os.ReadFile("../fixtures/readme/dest.yaml")
	if err != nil {
		return pairs{}, err
	}
	for i, into := range []*map[string]any{&p.first, &p.second} {
		file := filepath.Join(dir, "kubeconfig")
		text := strings.ReplaceAll(string(kubeconfig), "https://west.example.com:6443", renewed[i].server)
		text = certificate.ReplaceAllString(text, "token: "+renewed[i].token)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			return pairs{}, err
		}
		cmd := exec.Command(filepath.Join(built, "clusterpair"), "generate", "west", "-n", "pairs", "--kubeconfig", file, "--stork-version", "24.3",
			"--age", "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs")
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			return pairs{}, said(err)
		}
		if err := yaml.Unmarshal(out, into); err != nil {
			return pairs{}, err
		}
	}
	return p, nil
}

// said is an error of a program, with what it has said.
func said(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}

// write lays out the repository with a pair, in a Git work tree of its own.
func (c *combination) write(dir string, pair map[string]any) error {
	for name, text := range c.files {
		text, err := c.filled(text, pair)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", c.name, name, err)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			return err
		}
		if to, isLink := strings.CutPrefix(text, "LINK "); isLink {
			if err = os.Symlink(strings.TrimSpace(to), file); errors.Is(err, os.ErrExist) {
				err = nil
			}
		} else {
			err = os.WriteFile(file, []byte(text), 0o600)
		}
		if err != nil {
			return err
		}
	}
	_, err := exec.Command("sh", "-euc", `test -d "$0/.git" || { git init -q "$0"; git -C "$0" remote add origin https://git.example.com/fleet.git; }`, dir).Output()
	return said(err)
}

// filled is the text of a file with the pair in the place of PAIR, which stands on a line
// of its own: PAIR as YAML, JSON as JSON, LIST as a list of one, each with the metadata
// behind it.
func (c *combination) filled(text string, pair map[string]any) (string, error) {
	commit := ""
	if sops, ok := pair["sops"].(map[string]any); ok {
		commit = fmt.Sprintf("c%x", sha1.Sum(fmt.Append(nil, sops["mac"])))
	}
	words := strings.NewReplacer("NS", c.ns, "COMMIT", commit, "REPO", cmp.Or(c.repo, "https://git.example.com/fleet.git"), "OTHER", cmp.Or(c.other, "https://git.example.com/other.git"))
	var out strings.Builder
	for line := range strings.Lines(text) {
		how, metadata, _ := strings.Cut(strings.TrimSpace(line), " ")
		if how != "PAIR" && how != "JSON" && how != "LIST" {
			out.WriteString(words.Replace(line))
			continue
		}
		object, err := withMetadata(pair, strings.ReplaceAll(metadata, "NS", c.ns), c.ns)
		if err != nil {
			return "", err
		}
		var data []byte
		switch how {
		case "JSON":
			data, err = json.MarshalIndent(object, "", "  ")
		case "LIST":
			data, err = yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{object}})
		default:
			data, err = yaml.Marshal(object)
		}
		if err != nil {
			return "", err
		}
		out.Write(data)
	}
	return out.String(), nil
}

// withMetadata is a pair with more metadata, in a namespace unless that names one.
func withMetadata(pair map[string]any, metadata, namespace string) (map[string]any, error) {
	meta := map[string]any{}
	if err := yaml.Unmarshal([]byte(metadata), &meta); err != nil {
		return nil, err
	}
	meta["name"] = cmp.Or[any](meta["name"], "west")
	if meta["namespace"] == nil {
		meta["namespace"] = namespace
	}
	object := map[string]any{}
	for key, value := range pair {
		object[key] = value
	}
	object["metadata"] = meta
	return object, nil
}

// formOf is the form of what an API server has of a pair.
func formOf(object []byte) form {
	switch {
	case len(object) == 0:
		return absent
	case bytes.Contains(object, []byte("ENC[")):
		return ciphertext
	}
	return decrypted
}

// truth puts together what the pair was like with the first credential and with the
// second one.
func truth(first, second []byte) form {
	uid := regexp.MustCompile(`"uid":"[^"]*"`)
	switch {
	case formOf(first) == decrypted && formOf(second) == decrypted && uid.FindString(string(first)) != uid.FindString(string(second)):
		return anew
	case formOf(second) == decrypted && !(bytes.Contains(second, []byte(renewed[1].server)) && bytes.Contains(second, []byte(renewed[1].token))):
		return stale
	case formOf(first) != formOf(second):
		return form(fmt.Sprintf("%s, then %s", formOf(first), formOf(second)))
	}
	return formOf(second)
}

// verdict is what clusterpair says of the repository in dir, and its words.
func verdict(dir string) (form, string, error) {
	var validated struct{ Findings []finding }
	if err := ask(dir, &validated, "validate", "--strict", "--output", "json", "."); err != nil {
		return "", "", err
	}
	var examined struct {
		Parts []struct{ Checks []check }
	}
	if err := ask(dir, &examined, "doctor", "--output", "json", "."); err != nil {
		return "", "", err
	}
	v, words := silence, []string{}
	// The worst counts, and what is known more than what is not.
	order := []form{silence, decrypted, cannotTell, broken, anew, stale, ciphertext, absent}
	note := func(f form, text string) {
		words = append(words, text)
		if slices.Index(order, f) > slices.Index(order, v) {
			v = f
		}
	}
	for _, f := range validated.Findings {
		if says := f.says(); says != silence {
			note(says, fmt.Sprintf("%s:%d: %s: %s [%s]", f.File, f.Line, f.Severity, f.Message, f.Rule))
		}
	}
	for _, p := range examined.Parts {
		for _, c := range p.Checks {
			if says := c.says(); says != silence {
				note(says, fmt.Sprintf("doctor: %s: %s", c.Status, c.Text))
			}
		}
	}
	return v, strings.Join(words, "\n"), nil
}

// finding is one of validate.
type finding struct {
	Rule, Severity, File, Message string
	Line                          int
}

func (f finding) says() form {
	switch {
	case strings.Contains(f.Message, "nobody can tell"):
		return cannotTell
	case slices.Contains([]string{"flux-decryption", "argo-decryption", "engine-decryption"}, f.Rule):
		return ciphertext
	case f.Rule == "pair-ignored" && strings.Contains(f.Message, "does not reach the cluster"):
		return stale
	case f.Rule == "pair-ignored" && strings.Contains(f.Message, "anew"):
		return anew
	case slices.Contains([]string{"pair-ignored", "flux-function"}, f.Rule):
		return absent
	case f.Rule == "argo-plaintext", f.Rule == "plaintext-credential" && strings.HasPrefix(f.Message, "Argo CD commits"):
		return decrypted
	case f.Rule == "one-document" && strings.Contains(f.Message, "in a List"):
		return broken
	case slices.Contains([]string{"leaf-not-encrypted", "encryption-scope", "mac-missing"}, f.Rule):
		return broken
	}
	return silence
}

// check is one of doctor.
type check struct{ Check, Status, Text string }

func (c check) says() form {
	switch {
	case c.Check == "applied" && c.Status == "warning":
		return absent
	case c.Check == "applied" && c.Status == "skipped", strings.Contains(c.Text, "cannot tell"):
		return cannotTell
	case c.Check == "decryption" && c.Status == "ok" && strings.HasSuffix(c.Text, "by Flux"):
		return decrypted
	}
	return silence
}

// ask reads what clusterpair prints. That it finds something is no error.
func ask(dir string, into any, args ...string) error {
	cmd := exec.Command(filepath.Join(built, "clusterpair"), args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+built+":"+os.Getenv("PATH"), "HOME="+dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 1 {
		err = nil
	}
	if err != nil {
		return said(err)
	}
	return json.Unmarshal(out, into)
}

// agreements are how often the verdicts agree with what engines do, by the values of each
// dimension.
var agreements struct {
	sync.Mutex
	counts map[part]*agreement
	total  agreement
}

type agreement struct{ all, agree, unknown int }

func noteAgreement(c *combination, want, got form) {
	agreements.Lock()
	defer agreements.Unlock()
	if agreements.counts == nil {
		agreements.counts = make(map[part]*agreement)
	}
	counts := []*agreement{&agreements.total}
	for _, p := range c.parts {
		if agreements.counts[p] == nil {
			agreements.counts[p] = &agreement{}
		}
		counts = append(counts, agreements.counts[p])
	}
	for _, a := range counts {
		a.all++
		if agree(want, got) {
			a.agree++
		} else if got == cannotTell {
			a.unknown++
		}
	}
}

// agree tells whether a verdict is true: what is broken gets there as ciphertext, or not
// at all.
func agree(truth, verdict form) bool {
	return truth == verdict || verdict == broken && (truth == ciphertext || truth == absent)
}

// tellAgreement prints a table of them.
func tellAgreement(w io.Writer) error {
	agreements.Lock()
	defer agreements.Unlock()
	if agreements.total.all == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "DIMENSION\tVALUE\tCOMBINATIONS\tAGREE\tCANNOT TELL")
	parts := make([]part, 0, len(agreements.counts))
	for p := range agreements.counts {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(a.dimension, b.dimension), cmp.Compare(a.value, b.value))
	})
	for _, p := range parts {
		a := agreements.counts[p]
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\n", p.dimension, p.value, a.all, a.agree, a.unknown)
	}
	fmt.Fprintf(table, "all\t\t%d\t%d\t%d\n", agreements.total.all, agreements.total.agree, agreements.total.unknown)
	return table.Flush()
}

// add adds the files of an archive to those of a combination.
func (c *combination) add(archive string) {
	for _, f := range txtar.Parse([]byte(archive)).Files {
		c.files[f.Name] += string(f.Data)
	}
}

// TestVerdicts holds what validate and doctor say of small repositories against what the
// engines themselves do with them. go test -v -run 'TestVerdicts/NAME' runs one of them, and
// prints its files with KEEP=DIR into DIR.
func TestVerdicts(t *testing.T) {
	t.Run("flux", func(t *testing.T) { testVerdicts(t, fluxCombinations(t), fluxTruths) })
	t.Run("argocd", func(t *testing.T) { testVerdicts(t, argoCombinations(t), argoTruths) })
}

// testVerdicts judges the combinations that -run chooses. truths asks the engine for all
// of them at once.
func testVerdicts(t *testing.T, all []*combination, truths func(t *testing.T, chosen []*combination, p pairs) map[string]form) {
	var chosen []*combination
	var known map[string]form
	var p pairs
	for i, c := range all {
		c.ns = fmt.Sprintf("c%03d", i)
		t.Run(c.name, func(t *testing.T) {
			chosen = append(chosen, c)
			t.Parallel() // goes on when the engine has told
			if known == nil {
				return // the engine has not told, which has failed the test
			}
			dir := os.Getenv("KEEP")
			if dir == "" {
				dir = t.TempDir()
			} else {
				dir = filepath.Join(dir, strings.ReplaceAll(c.name, "/", "_"))
			}
			if err := c.write(dir, p.first); err != nil {
				t.Fatal(err)
			}
			got, words, err := verdict(dir)
			if err != nil {
				t.Fatal(err)
			}
			want := known[c.name]
			noteAgreement(c, want, got)
			if !agree(want, got) && got != cannotTell {
				t.Errorf("in the cluster: %s; the verdict: %s\n%s", want, got, words)
			} else {
				t.Logf("%s; %s", want, got)
			}
		})
	}
	var err error
	if p, err = encryptedPairs(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if len(chosen) > 0 {
		known = truths(t, chosen, p)
	}
}

// world is a cluster with an engine that applies combinations.
type world interface {
	// enter makes what a combination finds in the cluster.
	enter(c *combination) error
	// commit commits the files of all, with a pair.
	commit(chosen []*combination, pair map[string]any) error
	// apply does what somebody does by hand, once.
	apply(c *combination) error
	// refresh has the engine look at what is committed.
	refresh() error
	// settle waits until the engine has done with all what it can.
	settle() error
}

// truths has an engine apply each combination, with one credential and with the next.
func truths(t *testing.T, w world, c *cluster, chosen []*combination, p pairs) map[string]form {
	if err := each(chosen, w.enter); err != nil {
		t.Fatal(err)
	}
	var found [2]map[string][]byte
	for i, pair := range []map[string]any{p.first, p.second} {
		began := time.Now()
		err := w.commit(chosen, pair)
		if err == nil && i == 0 {
			err = each(chosen, w.apply)
		} else if err == nil {
			err = w.refresh()
		}
		if err == nil {
			err = w.settle()
		}
		if err == nil {
			found[i], err = pairsOf(c)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("the engine has applied %d repositories in %.0f s", len(chosen), time.Since(began).Seconds())
	}
	known := make(map[string]form)
	for _, c := range chosen {
		known[c.name] = truth(found[0][c.ns], found[1][c.ns])
	}
	return known
}

// each runs a function for all combinations, some at a time.
func each(all []*combination, do func(c *combination) error) error {
	var group errgroup.Group
	group.SetLimit(8)
	for _, c := range all {
		group.Go(func() error {
			if err := do(c); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// pairsOf are the pairs in a cluster, by their namespaces.
func pairsOf(c *cluster) (map[string][]byte, error) {
	var list struct{ Items []json.RawMessage }
	if err := c.get("/apis/stork.libopenstorage.org/v1alpha1/clusterpairs", &list); err != nil {
		return nil, err
	}
	found := make(map[string][]byte)
	for _, item := range list.Items {
		var object struct {
			Metadata struct {
				Namespace string
				UID       string `json:"uid"`
			}
			Spec any
		}
		if err := json.Unmarshal(item, &object); err != nil {
			return nil, err
		}
		spec, err := json.Marshal(map[string]any{"uid": object.Metadata.UID, "spec": object.Spec})
		if err != nil {
			return nil, err
		}
		found[object.Metadata.Namespace] = append(found[object.Metadata.Namespace], spec...)
	}
	return found, nil
}

// twist puts a twist into the files.
func (c *combination) twist(tw twist) {
	here := ""
	for name, text := range c.files {
		if strings.Contains(text, "EXTRA\n") {
			here = path.Dir(name)
			text = strings.ReplaceAll(text, "EXTRA\n", tw.extra+"\n")
		}
		c.files[name] = withTwist(text, tw.metadata)
	}
	c.add(strings.ReplaceAll(tw.archive, "HERE", here))
}
