package validate_test

import (
	stdcontext "context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/leak/corpus"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// encryptedBySOPS is the state of the files that SOPS has encrypted.
const encryptedBySOPS = "encrypted by SOPS"

// TestLeaks looks for each shape of a credential in each place: at least 99 of a
// hundred that stand in clear are found, nothing else is called one, and
// docs/leaks.md says so. With GITLEAKS, the path of that binary, it is measured
// on the same files; UPDATE=1 then writes the document. That is make leaks.
func TestLeaks(t *testing.T) {
	files := corpus.Files(6)
	files = append(files, encrypted(t, files)...)
	gitleaks := runGitleaks(t, files)
	r := newLeakResults(files)
	for _, file := range files {
		v := validate.New(validate.Options{Only: []string{"plaintext-credential"}, Now: time.Now()})
		named := slices.Contains([]string{".yaml", ".json"}, path.Ext(file.Path))
		if err := v.File(stdcontext.Background(), validate.File{Name: file.Path, Path: file.Path, Data: file.Data, Any: !named}); err != nil {
			t.Fatal(err)
		}
		findings := v.Findings()
		lines := strings.Count(string(file.Data), "\n") + 1
		for _, f := range findings {
			if f.Position.Line < 1 || f.Position.Line > lines {
				t.Errorf("%s: a finding in line %d of %d", file.Path, f.Position.Line, lines)
			}
		}
		switch {
		case file.State != corpus.Clear && len(findings) > 0:
			t.Errorf("%s: a false alarm: %s", file.Path, findings[0].Message)
		case file.State == corpus.Clear && len(findings) == 0:
			t.Logf("%s: not found", file.Path)
		}
		r.add(file, len(findings) > 0, gitleaks[file.Path])
	}
	if found, all := r.sum(); found*100 < all*99 {
		t.Errorf("%d of %d are found", found, all)
	}
	const document = "../../docs/leaks.md"
	before, err := os.ReadFile(document)
	if err != nil && gitleaks == nil {
		t.Fatal(err)
	}
	after := r.document()
	switch {
	case gitleaks != nil && os.Getenv("UPDATE") != "":
		if err := os.MkdirAll(filepath.Dir(document), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(document, []byte(after), 0o666); err != nil {
			t.Fatal(err)
		}
	case ours(after) != ours(string(before)):
		t.Errorf("docs/leaks.md is not what was measured: run make leaks, and read the difference\n%s", after)
	}
}

// encrypted are the files with a credential, as SOPS writes them.
func encrypted(t *testing.T, files []corpus.File) []corpus.File {
	const recipient = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	policy, err := sopsfile.Recipients{Age: []string{recipient}}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	safe := sopsfile.New(nil)
	var all []corpus.File
	for _, file := range files {
		if file.State != corpus.Clear || file.Format != "yaml" && file.Format != "json" || !strings.Contains(file.Path, "-0.") {
			continue
		}
		docs, err := manifest.Parse(file.Data, file.Path)
		if err != nil {
			t.Fatal(err)
		}
		data, _, err := safe.Encrypt(t.Context(), docs, nil, policy, sopsfile.EncryptOptions{})
		if err != nil {
			t.Fatal(err)
		}
		file.Path, file.State, file.Data = "sops/"+file.Path, encryptedBySOPS, data
		all = append(all, file)
	}
	return all
}

// runGitleaks tells in which files gitleaks finds anything; it is nil without
// GITLEAKS.
func runGitleaks(t *testing.T, files []corpus.File) map[string]bool {
	binary := os.Getenv("GITLEAKS")
	if binary == "" {
		return nil
	}
	dir := t.TempDir()
	for _, file := range files {
		name := filepath.Join(dir, file.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "dir", "--no-banner", "--redact=100", "--exit-code", "0", "--report-format", "json", "--report-path", "-", ".")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []struct{ File string }
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatal(err)
	}
	in := make(map[string]bool)
	for _, f := range found {
		in[filepath.ToSlash(filepath.Clean(f.File))] = true
	}
	return in
}

// count is of files: all, and those in which the one and the other finds
// something.
type count struct{ all, ours, theirs int }

type leakResults struct {
	places, shapes, states []string
	cells                  map[[2]string]*count
	others                 map[string]*count // by state
}

func newLeakResults(files []corpus.File) *leakResults {
	r := &leakResults{cells: make(map[[2]string]*count), others: make(map[string]*count)}
	note := func(list *[]string, s string) {
		if !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, file := range files {
		if file.State != corpus.Clear {
			note(&r.states, file.State)
			continue
		}
		note(&r.places, file.Place)
		note(&r.shapes, file.Shape)
	}
	return r
}

func (r *leakResults) add(file corpus.File, ours, theirs bool) {
	c := r.others[file.State]
	if file.State == corpus.Clear {
		key := [2]string{file.Place, file.Shape}
		if c = r.cells[key]; c == nil {
			c = new(count)
			r.cells[key] = c
		}
	} else if c == nil {
		c = new(count)
		r.others[file.State] = c
	}
	c.all++
	if ours {
		c.ours++
	}
	if theirs {
		c.theirs++
	}
}

func (r *leakResults) sum() (found, all int) {
	for _, c := range r.cells {
		found, all = found+c.ours, all+c.all
	}
	return found, all
}

// document is docs/leaks.md.
func (r *leakResults) document() string {
	var b strings.Builder
	found, all := r.sum()
	theirs := 0
	for _, c := range r.cells {
		theirs += c.theirs
	}
	fmt.Fprintf(&b, `# What validate finds in clear

`+"`make leaks`"+` writes this page. It makes files with a credential of a cluster, each shape in each place where people keep one, and looks for
them with `+"`clusterpair validate --only plaintext-credential`"+` and with [gitleaks](https://github.com/gitleaks/gitleaks) 8.30.1 as it comes.
The credentials are drawn from a fixed seed, keys and certificates anew. A file counts as found if there is one finding in it, whatever it points at: gitleaks takes many a
public certificate in base64 for a secret.

gitleaks looks for secrets of all kinds in all files and their history. clusterpair looks for those that open a cluster, and knows what they
stand in. Use both.

clusterpair finds %d of %d, gitleaks %d. The cells say: clusterpair · gitleaks, of how many.

| |`, found, all, theirs)
	for _, shape := range r.shapes {
		fmt.Fprintf(&b, " %s |", shape)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(r.shapes)) + "\n")
	for _, place := range r.places {
		fmt.Fprintf(&b, "| %s |", place)
		for _, shape := range r.shapes {
			c := r.cells[[2]string{place, shape}]
			fmt.Fprintf(&b, " %d · %d of %d |", c.ours, c.theirs, c.all)
		}
		b.WriteString("\n")
	}
	b.WriteString("\nThe same files with something else in the place of the credential, and files that only look like it. Each finding is a false alarm.\n\n" +
		"| in the place of the credential | files | clusterpair | gitleaks |\n|---|---|---|---|\n")
	for _, state := range r.states {
		c := r.others[state]
		fmt.Fprintf(&b, "| %s | %d | %d | %d |\n", strings.ReplaceAll(state, "|", `\|`), c.all, c.ours, c.theirs)
	}
	return b.String()
}

var theirFigures = regexp.MustCompile(`· \d+ of|gitleaks \d+\.|\| \d+ \|\n`)

// ours is a document without the figures of gitleaks.
func ours(document string) string { return theirFigures.ReplaceAllString(document, "") }
