package e2e

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rogpeppe/go-internal/txtar"
	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/yaml"
)

// transformersCommand is transformers CLUSTER PAGE: tries each directory below
// cases/ of the script around pairs, and compares what comes out with the tables
// of PAGE. UPDATE=1 writes them. Flux runs on the cluster.
func transformersCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || scriptOf(ts).fluxes[args[0]] == nil {
		ts.Fatalf("usage: transformers CLUSTER PAGE")
	}
	t := &transformers{flux: scriptOf(ts).fluxes[args[0]], work: ts.Getenv("WORK")}
	t.env = append(os.Environ(), "HOME="+ts.Getenv("HOME"), "SOPS_AGE_KEY_FILE="+ts.Getenv("SOPS_AGE_KEY_FILE"))
	ts.Check(t.read(filepath.Join("script", ts.Getenv("NS")+".txtar")))
	ts.Check(t.write())
	ts.Check(t.each(t.publish))
	ts.Check(t.each(t.build))
	ts.Check(t.wait())
	ts.Check(t.live())
	t.compare()
	ts.Check(t.print(ts.MkAbs(args[1])))
}

// The ways to write a pair into Git.
const (
	inClear   = "clear"
	generated = "generated" // by clusterpair generate
	selected  = "selected"  // by sops with an encrypted_regex
	whole     = "whole"     // by sops without
)

// transformers are the rows of the tables.
type transformers struct {
	flux *flux
	work string
	env  []string
	rows []*row
}

// row is what stands around a pair.
type row struct {
	name, title string
	files       map[string]string // of a repository, by path
	byFlux      bool              // it stands in the Kustomization of Flux
	tries       map[string]*try   // by the way
}

// sealed tells whether it changes what is encrypted.
func (r *row) sealed() bool { return strings.HasPrefix(r.name, "sealed-") }

// try is a row around a pair that is written in one way.
type try struct {
	way, namespace, dir string
	sops, argocd, flux  outcome
	validate            string
}

// outcome is what comes out of a repository: objects, in a form to compare, or a
// failure.
type outcome struct {
	objects []string
	cell    string
}

// read takes the rows from a script, in their order.
func (t *transformers) read(script string) error {
	archive, err := txtar.ParseFile(script)
	if err != nil {
		return err
	}
	texts := make(map[string]string)
	for _, file := range archive.Files {
		texts[file.Name] = string(file.Data)
		path, ok := strings.CutPrefix(file.Name, "cases/")
		if !ok {
			continue
		}
		name, path, _ := strings.Cut(path, "/")
		if len(t.rows) == 0 || t.rows[len(t.rows)-1].name != name {
			title, _, _ := strings.Cut(strings.TrimPrefix(string(file.Data), "# "), "\n")
			t.rows = append(t.rows, &row{name: name, title: title, tries: make(map[string]*try),
				files: map[string]string{".sops.yaml": texts["config/.sops.yaml"], "sync.yaml": texts["sync.yaml"]}})
		}
		r := t.rows[len(t.rows)-1]
		switch path {
		case "sync.yaml": // what is added to that of all
			r.byFlux = true
			r.files[path] += string(file.Data)
		default:
			r.files["dr/"+path] = string(file.Data)
		}
	}
	for _, r := range t.rows {
		ways := []string{inClear, generated, selected, whole}
		if r.sealed() {
			ways = ways[:2]
		}
		for _, way := range ways {
			r.tries[way] = &try{way: way, namespace: way + "-" + r.name, dir: filepath.Join(t.work, "repositories", way, r.name)}
		}
	}
	return nil
}

// write makes a repository of each try.
func (t *transformers) write() error {
	dir := filepath.Join(t.work, "config")
	config, err := os.ReadFile(filepath.Join(dir, "generator.txt"))
	if err != nil {
		return err
	}
	pair, err := os.ReadFile(filepath.Join(dir, "pair.txt"))
	if err != nil {
		return err
	}
	for _, r := range t.rows {
		config = append(config, bytes.ReplaceAll(pair, []byte("NAMESPACE"), []byte(r.tries[generated].namespace))...)
	}
	if err := os.WriteFile(filepath.Join(dir, "clusterpair.yaml"), config, 0o600); err != nil {
		return err
	}
	if _, err := t.run(dir, "clusterpair", "generate"); err != nil {
		return err
	}
	return t.each(func(r *row, c *try) error {
		files := map[string]string{".git/config": ""} // clusterpair looks no further
		for name, text := range r.files {
			files[name] = strings.ReplaceAll(text, "NAMESPACE", c.namespace)
		}
		if c.way == selected {
			files[".sops.yaml"] += "  encrypted_regex: ^(config|token)$\n"
		}
		rendered := filepath.Join("rendered", r.tries[generated].namespace, "remotecluster.yaml")
		if c.way == generated {
			text, err := os.ReadFile(filepath.Join(dir, rendered))
			if err != nil {
				return err
			}
			files["dr/base/pair.yaml"] = string(text)
		} else {
			text, err := t.run(dir, "clusterpair", "decrypt", rendered)
			if err != nil {
				return err
			}
			files["dr/base/pair.yaml"] = strings.ReplaceAll(text, r.tries[generated].namespace, c.namespace)
		}
		for name, text := range files {
			path := filepath.Join(c.dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				return err
			}
		}
		if c.way == selected || c.way == whole {
			if _, err := t.run(c.dir, "sops", "encrypt", "--in-place", "dr/base/pair.yaml"); err != nil {
				return err
			}
		}
		for name := range files {
			if strings.HasSuffix(name, ".enc.yaml") && c.way != inClear {
				if _, err := t.run(c.dir, "sops", "encrypt", "--encrypted-regex", "^(config|token)$", "--in-place", name); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

const fluxKustomizations = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations"

// publish hands a repository to Flux.
func (t *transformers) publish(r *row, c *try) error {
	for _, namespace := range []string{c.namespace, c.namespace + "-b"} {
		if err := t.flux.cluster.request(http.MethodPost, "/api/v1/namespaces", "metadata: {name: "+namespace+"}"); err != nil {
			return err
		}
	}
	if err := t.flux.publish("flux-system", c.namespace, c.dir); err != nil {
		return err
	}
	return t.flux.cluster.request(http.MethodPost, fluxKustomizations, strings.ReplaceAll(r.files["sync.yaml"], "NAMESPACE", c.namespace))
}

// build gives a repository to kustomize, sops and clusterpair.
func (t *transformers) build(r *row, c *try) error {
	if r.byFlux {
		c.sops.cell, c.argocd.cell = "–", "–"
	} else if err := t.kustomize(c); err != nil {
		return err
	}
	if c.way != generated {
		return nil
	}
	if !r.byFlux {
		out, err := t.run(c.dir, "clusterpair", "build", "--decrypt", "dr")
		if err != nil {
			c.argocd.cell = failure(err.Error())
		}
		for doc := range strings.SplitSeq(out, "---\n") {
			if err := c.note(&c.argocd, []byte(doc)); err != nil {
				return err
			}
		}
	}
	var err error
	c.validate, err = t.validate(c)
	return err
}

// kustomize builds a repository, and has sops decrypt what comes out.
func (t *transformers) kustomize(c *try) error {
	out, err := t.run(c.dir, "kustomize", "build", "dr")
	if err != nil {
		c.sops.cell = failure(err.Error())
		return nil
	}
	for doc := range strings.SplitSeq(out, "\n---\n") {
		if strings.Contains(doc, "\nsops:\n") && c.way != inClear {
			if err := os.WriteFile(filepath.Join(c.dir, "built.yaml"), []byte(doc), 0o600); err != nil {
				return err
			}
			if doc, err = t.run(c.dir, "sops", "decrypt", "built.yaml"); err != nil {
				c.sops.cell = failure(err.Error())
			}
			if err := os.Remove(filepath.Join(c.dir, "built.yaml")); err != nil {
				return err
			}
		}
		if err := c.note(&c.sops, []byte(doc)); err != nil {
			return err
		}
	}
	return nil
}

// validate gives the rules that clusterpair validate finds broken in the files of
// a repository, then those that it finds in the result of kustomize alone. The config
// of the pair is left out of these repositories.
func (t *transformers) validate(c *try) (string, error) {
	var rules []string
	for _, args := range [][]string{{"."}, {"-k", "dr", "."}} {
		var found struct{ Findings []struct{ Rule string } }
		out, err := t.run(c.dir, "clusterpair", append([]string{"validate", "-o", "json", "--skip", "flux-health,orphan-pair"}, args...)...)
		if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			return "", err
		}
		if err := json.Unmarshal([]byte(out), &found); err != nil {
			return "", err
		}
		for _, f := range found.Findings {
			cell := "`" + f.Rule + "`"
			if args[0] == "-k" {
				cell = "`-k`: " + cell
			}
			if !slices.ContainsFunc(rules, func(known string) bool { return strings.HasSuffix(cell, known) }) {
				rules = append(rules, cell)
			}
		}
	}
	return cmp.Or(strings.Join(rules, ", "), "fine"), nil
}

// wait returns when Flux is done with all repositories.
func (t *transformers) wait() error {
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		var list struct {
			Items []struct {
				Metadata struct{ Name string }
				Status   struct {
					Conditions []struct{ Type, Status, Reason, Message string }
				}
			}
		}
		if err := t.flux.cluster.get(fluxKustomizations, &list); err != nil {
			return err
		}
		said := make(map[string]string)
		for _, k := range list.Items {
			for _, condition := range k.Status.Conditions {
				switch {
				case condition.Type != "Ready" || condition.Reason == "ArtifactFailed": // it has not seen it yet
				case condition.Status == "True":
					said[k.Metadata.Name] = ""
				case condition.Status == "False":
					said[k.Metadata.Name] = failure(condition.Message)
				}
			}
		}
		waits := ""
		for _, r := range t.rows {
			for _, c := range r.tries {
				var ok bool
				if c.flux.cell, ok = said[c.namespace]; !ok {
					waits = c.namespace
				}
			}
		}
		if waits == "" {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("Flux is not done with %s", waits)
		}
	}
}

// live reads what Flux has applied.
func (t *transformers) live() error {
	tries := make(map[string]*try)
	for _, r := range t.rows {
		for _, c := range r.tries {
			tries[c.namespace] = c
		}
	}
	for _, path := range []string{"/apis/stork.libopenstorage.org/v1alpha1/clusterpairs", "/apis/stork.libopenstorage.org/v1alpha1/migrationschedules", "/api/v1/configmaps"} {
		var list struct{ Items []json.RawMessage }
		if err := t.flux.cluster.get(path, &list); err != nil {
			return err
		}
		for _, item := range list.Items {
			var object struct {
				Metadata struct{ Labels map[string]string }
			}
			if err := json.Unmarshal(item, &object); err != nil {
				return err
			}
			if c := tries[object.Metadata.Labels["kustomize.toolkit.fluxcd.io/name"]]; c != nil {
				if err := c.note(&c.flux, item); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// note takes an object in, but for what the API server and Flux add to it.
func (c *try) note(o *outcome, text []byte) error {
	var object map[string]any
	if err := yaml.Unmarshal(text, &object); err != nil || object == nil {
		return err
	}
	delete(object, "apiVersion") // which the items of a list lack
	delete(object, "kind")
	if c.way == inClear {
		delete(object, "sops") // a patch has put it there
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		for _, key := range []string{"creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"} {
			delete(metadata, key)
		}
		if labels, ok := metadata["labels"].(map[string]any); ok {
			delete(labels, "kustomize.toolkit.fluxcd.io/name")
			delete(labels, "kustomize.toolkit.fluxcd.io/namespace")
			if len(labels) == 0 {
				delete(metadata, "labels")
			}
		}
	}
	normal, err := json.Marshal(object)
	o.objects = append(o.objects, strings.ReplaceAll(string(normal), c.namespace, "NAMESPACE"))
	slices.Sort(o.objects)
	return err
}

// compare fills the cells of what came out by what comes out of the pair in clear.
func (t *transformers) compare() {
	for _, r := range t.rows {
		equal := "✓"
		if r.sealed() {
			equal = "**done**"
		}
		want := r.tries[inClear]
		for _, c := range r.tries {
			for _, o := range []struct{ got, want *outcome }{{&c.sops, &want.sops}, {&c.argocd, &want.sops}, {&c.flux, &want.flux}} {
				switch text := strings.Join(o.got.objects, "\n"); {
				case o.got.cell != "":
				case slices.Equal(o.got.objects, o.want.objects):
					o.got.cell = equal
				case strings.Contains(text, "ENC["):
					o.got.cell = "**ciphertext**"
				default:
					o.got.cell = "**left out**"
				}
			}
		}
	}
}

// failure says in a cell why something failed.
func failure(message string) string {
	for _, known := range []struct{ part, cell string }{
		{"MAC mismatch", "MAC mismatch"},
		{"does not match sops' data format", "refused: a value in clear"},
		{"message authentication failed", "refused: a value out of its place"},
		{"[leaf-not-encrypted]", "refused: a value in clear"},
		{"kustomize cannot look below spec.config", "refused: out of kustomize's sight"},
		{"nothing selected by ClusterPair", "kustomize: no ClusterPair"},
		{"kustomize build panic", "kustomize panics"},
	} {
		if strings.Contains(message, known.part) {
			return known.cell
		}
	}
	return strings.Join(strings.Fields(message), " ") // to be looked at
}

// print compares the tables with those of a page, or writes them.
func (t *transformers) print(page string) error {
	var around, sealed, sops strings.Builder
	for _, r := range t.rows {
		table, c := &around, r.tries[generated]
		if r.sealed() {
			table = &sealed
		} else {
			s, w := r.tries[selected], r.tries[whole]
			fmt.Fprintf(&sops, "| %s | %s | %s | %s | %s |\n", r.title, s.sops.cell, s.flux.cell, w.sops.cell, w.flux.cell)
		}
		fmt.Fprintf(table, "| %s | %s | %s | %s | %s |\n", r.title, c.sops.cell, c.argocd.cell, c.flux.cell, c.validate)
	}
	old, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	updated := string(old)
	for name, rows := range map[string]string{"around": around.String(), "sealed": sealed.String(), "sops": sops.String()} {
		begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->\n"
		before, rest, ok := strings.Cut(updated, begin)
		_, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			return fmt.Errorf("%s has no table %s", page, name)
		}
		header := strings.SplitAfterN(rest, "\n", 4)[:3] // after an empty line
		updated = before + begin + strings.Join(header, "") + rows + "\n" + end + after
	}
	if updated == string(old) {
		return nil
	}
	if os.Getenv("UPDATE") == "" {
		return fmt.Errorf("%s has other tables than what comes out; UPDATE=1 writes them:\n%s", page, updated)
	}
	return os.WriteFile(page, []byte(updated), 0o644)
}

// each calls a function for each try, several at a time.
func (t *transformers) each(call func(*row, *try) error) error {
	var calls errgroup.Group
	calls.SetLimit(4)
	for _, r := range t.rows {
		for _, c := range r.tries {
			calls.Go(func() error { return call(r, c) })
		}
	}
	return calls.Wait()
}

// run runs a program in a directory.
func (t *transformers) run(dir, name string, args ...string) (string, error) {
	path := filepath.Join(tools, name)
	if name == "clusterpair" {
		path = filepath.Join(built, name)
	}
	cmd := exec.Command(path, args...)
	var out, message bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, t.env, &out, &message
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, message.String())
	}
	return out.String(), err
}
