package validate_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// TestForged changes a rendered pair as somebody does who can write to Git and has no
// key, and asks what validate finds without a key and with one. testdata/forged has a
// file for each kind of change. An entry of it is
//
//	# What was changed, and why.
//	$ the change, as sed -E takes it
//	each finding without a key, without the name of the file, and its hint, unless
//	that says to restore the file or to render it anew
//	with a key:
//	each finding with a key; left out if the findings are the same
//	sops: what sops decrypt says; left out if nobody asks sops
//
// UPDATE=1 writes the findings.
func TestForged(t *testing.T) {
	pair, err := os.ReadFile("../../examples/kustomize/rendered/migrationnamespace/remotecluster.yaml")
	if err != nil {
		t.Fatal(err)
	}
	key, err := filepath.Abs("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", key)
	files, err := filepath.Glob("testdata/forged/*.txt")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var after []string
			for entry := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
				got := forge(t, pair, entry)
				if after = append(after, got); got != entry && os.Getenv("UPDATE") == "" {
					t.Errorf("%s has\n%s\nnot what is found; UPDATE=1 writes it:\n%s", file, entry, got)
				}
			}
			if os.Getenv("UPDATE") != "" {
				if err := os.WriteFile(file, []byte(strings.Join(after, "\n\n")+"\n"), 0o666); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// forge tries one entry of a file of testdata/forged, and returns it with what is found.
func forge(t *testing.T, pair []byte, entry string) string {
	t.Helper()
	const says, keyed = "sops: ", "with a key:"
	var head, sops []string
	change := ""
	for line := range strings.Lines(entry + "\n") {
		line = strings.TrimSuffix(line, "\n")
		if rest, ok := strings.CutPrefix(line, "$ "); ok {
			change = rest
		}
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "$") {
			head = append(head, line)
		}
		if strings.HasPrefix(line, says) {
			sops = append(sops, line)
		}
	}
	cmd := exec.Command("sed", "-E", change)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(pair), os.Stderr
	forged, err := cmd.Output()
	if err != nil || bytes.Equal(forged, pair) != (change == "") {
		t.Fatalf("%s: it changes nothing, or fails: %v", change, err)
	}
	without, with := judged(t, forged, false), judged(t, forged, true)
	if with != without {
		without += keyed + "\n" + with
	}
	for _, line := range sops {
		if said := askSOPS(t, forged); !regexp.MustCompile(strings.TrimPrefix(line, says)).MatchString(said) {
			t.Errorf("%s: sops says %q", change, said)
		}
	}
	return strings.TrimSuffix(strings.Join(head, "\n")+"\n"+without+strings.Join(sops, "\n"), "\n")
}

// judged are the findings about a pair, one a line.
func judged(t *testing.T, data []byte, key bool) string {
	t.Helper()
	options := validate.Options{
		Now: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC),
		Origin: func(string, string) (validate.Origin, error) {
			return validate.Origin{StorkVersion: "24.3", Rendered: true, Render: "clusterpair generate"}, nil
		},
	}
	if key {
		options.Decrypt = sopsfile.New(nil).Decrypt
	}
	v := validate.New(options)
	if err := v.File(t.Context(), validate.File{Name: "pair.yaml", Path: "pair.yaml", Data: data}); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range v.Findings() {
		fmt.Fprintln(&b, strings.TrimPrefix(f.String(), "pair.yaml:"))
		if f.Hint != "restore the file from Git history, or render it anew: clusterpair generate" {
			fmt.Fprintln(&b, "  hint: "+f.Hint)
		}
	}
	if b.Len() == 0 {
		return "all fine\n"
	}
	return b.String()
}

// askSOPS is what the sops that tools/go.mod names prints on stderr about a file, and
// "decrypts" if it opens it.
func askSOPS(t *testing.T, data []byte) string {
	t.Helper()
	path, err := buildSOPS()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "pair.yaml")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "decrypt", file)
	var stderr bytes.Buffer
	if cmd.Stderr = &stderr; cmd.Run() == nil {
		return "decrypts"
	}
	return stderr.String()
}

var buildSOPS = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("CLUSTERPAIR_TOOLS"); dir != "" {
		return filepath.Join(dir, "sops"), nil
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("sops-%d", os.Getpid()))
	cmd := exec.Command("go", "build", "-C", "../../tools", "-o", path, "github.com/getsops/sops/v3/cmd/sops")
	cmd.Stderr = os.Stderr
	return path, cmd.Run()
})
