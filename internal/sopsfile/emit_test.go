package sopsfile_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/provider"

	"clusterpair.dev/internal/sopsfile"
)

// kustomize prints a document as kustomize build does.
func kustomize(t testing.TB, text []byte) []byte {
	t.Helper()
	r, err := provider.NewDefaultDepProvider().GetResourceFactory().FromBytes(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out, err := r.AsYAML()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What Encrypt writes with indent 0 is what kustomize prints for it.
func TestEncryptedInKustomizeStyle(t *testing.T) {
	recipient := identity(t)
	for _, selector := range selectors {
		text := pairText + "other_s: 2.0\nwhen: 2026-11-22\nsecret: \"on\"\nzz:\n  a10: 1\n  a9: \"0x1F\"\n  A: |\n    x\n     y\n"
		enc, _, err := sopsfile.New(nil).Encrypt(t.Context(), parse(t, text), nil, agePolicy(t, selector, false, 0, recipient), sopsfile.EncryptOptions{})
		if err != nil {
			t.Fatal(err)
		}
		sameText(t, "kustomize", enc, kustomize(t, enc))
		if _, err := sopsDecrypt(enc); err != nil {
			t.Errorf("the MAC was not taken in the order of kustomize: %v", err)
		}
	}
}

func TestMarshalInKustomizeStyle(t *testing.T) {
	const head = "apiVersion: v1\nkind: X\nmetadata: {name: x}\n"
	for name, text := range map[string]string{
		"empty":       "a: {}\nb: []\nc: [[], {}]\n",
		"nested":      "a:\n- - - 1\n    - 2\n  - {b: [c, {d: e}]}\n",
		"folded":      "a: " + strings.Repeat("a word and ", 20) + "\nb: [\"" + strings.Repeat("x: ", 50) + "\"]\n",
		"quotes":      `a: ["", " ", "a ", "- ", "-", "?", ":", "a:", "a: b", "#", "a #b", "'", "\"", "*", "&a", "!", "%", "@", "` + "`" + `", "|", ">", "{", "}", "[", "]", ",", "~", "null", "yes", "1", "1e3", "0x1", "1_0", "-", "--- a", "... ", "=", "<<", ".", ".5", ".inf", "+1", "1:20", "2026-11-22", "a\tb", "a\u00e9"]`,
		"blocks":      `a: ["a\nb", "a\nb\n", "a\n\nb\n\n", "\na\n", " a\nb\n", "a \nb", "a\n b\n", "a\n", "\n", "a\tb\n", "é\n"]`,
		"keys":        `{"": 1, "a b": 2, "a: b": 3, "yes": 4, "1": 5, "a\nb": 6, "` + strings.Repeat("k", 130) + `": 7, "-": 8, "é": 9, "` + strings.Repeat("k ", 50) + `": 10}`,
		"numbers":     "a: [1, -1, 1.5, 1.0, 1e3, 1e21, 1e-9, 0x10, 9223372036854775807, 123456789.125]\n",
		"patterns":    `a: ["^(config|token)$", "^", "^a", "^ a", "a|b", "a$", "(a)", "^#", "^a: b", "^:", "^-", "a (b)", "^yes", "$", "|", "(a"]`,
		"releases":    `a: ["3.13.3", "1.2.3.4", "1.2", "1..2", "1.2.", ".1.2", "1.2.3-a", "1.2.3 ", "00.1.2", "1.2.3:4"]`,
		"moments":     `a: ["2026-11-30T10:00:00Z", "2026-13-30T10:00:00Z", "2026-11-30T24:00:00Z", "2026-11-31T10:00:00Z", "2026-11-30T10:00:00z", "2026-11-30t10:00:00Z", "0000-01-01T00:00:00Z", "2026-11-30T10:00:60Z", "2026-11-30 10:00:00Z"]`,
		"times":       "a: [2026-11-22, 2026-11-22T10:00:00.5+01:00]\n",
		"natural":     "k: {a1: 1, a10: 1, a2: 1, a02: 1, A: 1, a: 1, _a: 1, a-b: 1, a.b: 1, aB: 1, a_: 1, ab: 1, é: 1, e: 1, z: 1, \"10\": 1, \"9\": 1}\n",
		"clusterpair": strings.TrimPrefix(pairText, "apiVersion: stork.libopenstorage.org/v1alpha1\nkind: ClusterPair\n"),
	} {
		t.Run(name, func(t *testing.T) {
			if name == "clusterpair" {
				text = pairText
			} else if strings.HasPrefix(text, "{") {
				text = head + "data: " + text
			} else {
				text = head + text
			}
			got, err := sopsfile.Marshal(parse(t, text), 0)
			if err != nil {
				t.Fatal(err)
			}
			sameText(t, name, got, kustomize(t, []byte(text)))
		})
	}
}

// Comments keep a file in its own order, in kustomize's indentation.
func TestMarshalWithComments(t *testing.T) {
	const text = "# about b\nb:\n- 1 # one\n# about a\na:\n  z: x\n  x: x\n"
	got, err := sopsfile.Marshal(parse(t, text), 0)
	if err != nil {
		t.Fatal(err)
	}
	sameText(t, "comments", got, []byte(text))
}

func TestMarshalAsSops(t *testing.T) {
	for name, text := range documents(t) {
		for _, indent := range []int{2, 3, 4, 8} {
			want, err := sopsFormat([]byte(text), indent)
			if err != nil {
				t.Fatal(err)
			}
			got, err := sopsfile.Marshal(parse(t, text), indent)
			if err != nil {
				t.Fatal(err)
			}
			sameText(t, name, got, want)
		}
	}
}

// FuzzMarshal makes documents out of a seed and strings, which come out as
// kustomize prints them.
func FuzzMarshal(f *testing.F) {
	f.Add(uint64(1), "a b", "key")
	f.Add(uint64(2), "two\nlines\n", "yes")
	f.Add(uint64(3), strings.Repeat("folded text ", 20), "a10")
	f.Add(uint64(4), "1e3", "a9")
	f.Add(uint64(5), "é: \"x\"", "_")
	f.Add(uint64(6), " \n x", "2026-01-01")
	f.Add(uint64(7), "\x7f\u0085", "on")
	f.Fuzz(func(t *testing.T, seed uint64, value, key string) {
		r := rand.New(rand.NewPCG(seed, 0))
		doc := map[string]any{"apiVersion": "v1", "kind": "X", "metadata": map[string]any{"name": "x"}, "data": randomValue(r, []string{value, key}, 0)}
		text, err := json.Marshal(doc)
		if err != nil {
			return
		}
		var n yaml.Node
		if err := yaml.Unmarshal(text, &n); err != nil {
			return
		}
		got, err := sopsfile.Marshal([]*yaml.Node{&n}, 0)
		if err != nil {
			return // kustomize refuses it, or it has two keys of a name
		}
		if want := kustomize(t, text); !bytes.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// randomValue nests pieces of the words, numbers and other values.
func randomValue(r *rand.Rand, words []string, depth int) any {
	word := func() string {
		w := words[r.IntN(len(words))]
		switch r.IntN(4) {
		case 0:
			return w + words[r.IntN(len(words))]
		case 1:
			i := r.IntN(len(w) + 1)
			return strings.ToValidUTF8(w[i:], "")
		}
		return w
	}
	switch k := r.IntN(12); {
	case k < 3 && depth < 5:
		m := map[string]any{}
		for range r.IntN(5) {
			m[word()] = randomValue(r, words, depth+1)
		}
		return m
	case k < 5 && depth < 5:
		s := []any{}
		for range r.IntN(4) {
			s = append(s, randomValue(r, words, depth+1))
		}
		return s
	case k == 5:
		return r.IntN(2) == 0
	case k == 6:
		return r.Int64() >> r.IntN(60)
	case k == 7:
		return r.NormFloat64()
	case k == 8:
		return nil
	case k == 9:
		return time.Unix(r.Int64N(1<<32), 0).UTC().Format(time.RFC3339)
	}
	return word()
}
