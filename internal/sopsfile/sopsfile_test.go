package sopsfile_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/sopsfile"
)

// parse reads a YAML stream.
func parse(t testing.TB, text string) []*yaml.Node {
	t.Helper()
	docs, err := parseYAML(text)
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func parseYAML(text string) (docs []*yaml.Node, err error) {
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var n yaml.Node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			return docs, nil
		} else if err != nil {
			return nil, err
		}
		docs = append(docs, &n)
	}
}

func agePolicy(t testing.TB, s sopsfile.Selector, macOnly bool, indent int, recipients ...string) *sopsfile.Policy {
	t.Helper()
	p, err := sopsfile.Recipients{Age: recipients}.Policy()
	if err != nil {
		t.Fatal(err)
	}
	p.Selector, p.MACOnlyEncrypted, p.Indent = s, &macOnly, indent
	return p
}

// selectors are all ways to select, each once.
var selectors = map[string]sopsfile.Selector{
	"default":                   {},
	"encrypted_regex":           {EncryptedRegex: "^(config|data|secret.*)$"},
	"unencrypted_regex":         {UnencryptedRegex: "^(apiVersion|kind|metadata)$"},
	"encrypted_suffix":          {EncryptedSuffix: "_s"},
	"unencrypted_suffix":        {UnencryptedSuffix: "_clear"},
	"encrypted_comment_regex":   {EncryptedCommentRegex: "secret"},
	"unencrypted_comment_regex": {UnencryptedCommentRegex: "public"},
}

func documents(t testing.TB) map[string]string {
	t.Helper()
	docs := map[string]string{"long": "data:\n  value: " + strings.Repeat("0123456789abcdef", 1<<10) + "\n"}
	files, err := filepath.Glob("testdata/documents/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no documents", err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		docs[strings.TrimSuffix(filepath.Base(f), ".yaml")] = string(b)
	}
	return docs
}

// Everything that we encrypt, sops decrypts with a verified MAC to the text
// that it makes of the plain file itself, and the other way round.
func TestSopsBothDirections(t *testing.T) {
	recipient := identity(t)
	safe := sopsfile.New(nil)
	for name, text := range documents(t) {
		for option, selector := range selectors {
			for _, macOnly := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/macOnly=%t", name, option, macOnly), func(t *testing.T) {
					want, err := sopsFormat([]byte(text), 4)
					if err != nil {
						t.Fatal(err)
					}
					ours, change, err := safe.Encrypt(t.Context(), parse(t, text), nil, agePolicy(t, selector, macOnly, 4, recipient), sopsfile.EncryptOptions{})
					if err != nil {
						t.Fatal(err)
					}
					if change.Kind != sopsfile.Created {
						t.Errorf("change %v, want created", change)
					}
					got, err := sopsDecrypt(ours)
					if err != nil {
						t.Fatalf("sops does not decrypt ours: %v\n%s", err, ours)
					}
					sameText(t, "ours decrypted by sops", notInline(t, got), notInline(t, want))

					theirs, err := sopsEncrypt([]byte(text), recipient, selector, macOnly, 0)
					if err != nil {
						t.Fatal(err)
					}
					wantTheirs, err := sopsDecrypt(theirs)
					if err != nil {
						t.Fatalf("sops does not decrypt its own file: %v", err)
					}
					nodes, err := safe.Decrypt(t.Context(), theirs, "theirs.yaml")
					if err != nil {
						t.Fatalf("we do not decrypt sops': %v\n%s", err, theirs)
					}
					got, err = sopsfile.Marshal(nodes, 4)
					if err != nil {
						t.Fatal(err)
					}
					sameText(t, "sops' decrypted by us", notInline(t, got), notInline(t, wantTheirs))

					// What we encrypt, we take for unchanged, whoever wrote it.
					for writer, prev := range map[string][]byte{"ours": ours, "theirs": theirs} {
						again, change, err := safe.Encrypt(t.Context(), parse(t, text), prev, agePolicy(t, selector, macOnly, 4, recipient), sopsfile.EncryptOptions{})
						if err != nil {
							t.Fatal(err)
						}
						if change.Kind != sopsfile.Unchanged || !bytes.Equal(again, prev) {
							t.Errorf("%s encrypted again: %v", writer, change)
						}
					}
				})
			}
		}
	}
}

// A value of a megabyte takes the same way, in kustomize's style too.
func TestLargeValue(t *testing.T) {
	recipient := identity(t)
	text := "data:\n  one: " + strings.Repeat("0123456789abcdef", 1<<16) + "\n  two: |\n" + strings.Repeat("    line of text\n", 1<<16)
	for _, indent := range []int{0, 4} {
		enc, _, err := sopsfile.New(nil).Encrypt(t.Context(), parse(t, text), nil, agePolicy(t, sopsfile.Selector{}, false, indent, recipient), sopsfile.EncryptOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := sopsDecrypt(enc)
		if err != nil {
			t.Fatal(err)
		}
		want, err := sopsFormat([]byte(text), 4)
		if err != nil {
			t.Fatal(err)
		}
		sameText(t, fmt.Sprintf("indent %d", indent), got, want)
	}
}

func sameText(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	g, w := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s: line %d is\n%.200s\nwant\n%.200s", what, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", what, len(g), len(w))
}
