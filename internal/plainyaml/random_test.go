package plainyaml

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"
)

var (
	documents = flag.Int("documents", 20_000, "how many random documents TestRandom compares")
	seed      = flag.Uint64("seed", 1, "what TestRandom starts from")
)

// TestRandomComments does so with lines of comments put between the others.
func TestRandomComments(t *testing.T) {
	samples := slices.Clone(accepted)
	for _, text := range tools {
		samples = append(samples, strings.ReplaceAll(text, base64Text, "QUJD=="))
	}
	slices.Sort(samples)
	r := random{rand.New(rand.NewPCG(*seed, 1))}
	made, read := 0, 0
	for ; made < *documents && !t.Failed(); made++ {
		data := []byte(pick(r, samples))
		if r.IntN(2) == 0 {
			data = r.lines()
		}
		lines := bytes.SplitAfter(data, []byte("\n"))
		for range 1 + r.IntN(3) {
			comment := strings.Repeat(" ", r.IntN(7)) + pick(r, []string{"#", "# c", "#c: d", "# - e", "#---", "## f # g", "# |"}) + "\n"
			lines = slices.Insert(lines, r.IntN(len(lines)+1), []byte(comment))
		}
		data = bytes.Join(lines, nil)
		parsed(t, data)
		if _, ok := ParseBare(data); ok {
			read++
		}
	}
	if t.Logf("read %d of %d", read, made); !t.Failed() && read*4 < made {
		t.Errorf("hardly any document is read: %d of %d", read, made)
	}
}

// TestRandom compares random documents, as written and with a few bytes or
// lines changed: lines with any indentation and content; what yaml.v3 and
// sigs.k8s.io/yaml write; the samples.
func TestRandom(t *testing.T) {
	samples := slices.Clone(accepted)
	for _, text := range tools {
		samples = append(samples, strings.ReplaceAll(text, base64Text, "QUJD=="))
	}
	slices.Sort(samples) // the order of a map would make the run another one
	makers := map[string]func(random) []byte{
		"lines":   random.lines,
		"encoder": random.encoded,
		"sample":  func(r random) []byte { return []byte(pick(r, samples)) },
	}
	for name, document := range makers {
		r := random{rand.New(rand.NewPCG(*seed, 0))}
		made, read, changed, changedRead := 0, 0, 0, 0
		for made+changed < *documents/len(makers) && !t.Failed() {
			data := document(r)
			made++
			if parsed(t, data) {
				read++
			}
			for range 4 {
				other := r.mutate(data)
				changed++
				if parsed(t, other) {
					changedRead++
				}
				if r.IntN(2) == 0 {
					data = other
				}
			}
		}
		t.Logf("%s: read %d of %d, changed: %d of %d", name, read, made, changedRead, changed)
		if !t.Failed() && (read*10 < made || changedRead*20 < changed) {
			t.Errorf("%s: hardly any document is read: %d of %d, changed: %d of %d", name, read, made, changedRead, changed)
		}
	}
}

type random struct{ *rand.Rand }

func pick[T any](r random, from []T) T { return from[r.IntN(len(from))] }

// scalars are plain, quoted and wrong ones, headers and collections.
var scalars = []string{
	"", "", "", "b", "b c", "QUJD==", "a:b", "x#y", "-x", "--", "---", "...", ".a", "é", "é: b", "a b: c", "true", "No", "null", "~", "<<", "=", "y", "0", "-1", "+1", "1.5", "1e3", "1e3Gi", ".5", ".inf", "-.inf", ".NaN", "0x1f", "0o7", "0b1", "1_0", "07", "08",
	"2024-05-06", "2024-05-06T07:08:09Z", "2024-5-6 7:8:9", "2024-a", "3.9.0", "12:30", "5b6f2ee4-6f6e-4d3f", "0123456789abcdefx", "12345678901234567890123", "++", "+.inf", "1.", "0x_1", "0_", "-0b1", "1:2",
	"\"\"", "''", "\"b c\"", "' b '", "\"b\" c", "\"b: c # d\"", "'b''c'", "\"b\\n\"", "\"b", "'b", "\"k\": v", "'k': v", "\"k\":v", "{}", "[]", "{ }", "[b]", "{b: c}", "{}: b", "|", "|-", "|+", "| ", "|2", "|-1", ">", "| # b", "# b", "b # c", "b:", "b :", "b : c", ": b", ":b", "? b", "?b", "- b", "-  b: c", "- - b", "-", "- -", "b: c: d", "&a b", "*a", "!t b", "!!str b", "%b", "@b", "`b", ",b", "]", "}",
}

// lines makes a document of lines that fit each other by chance.
func (r random) lines() []byte {
	var b strings.Builder
	if r.IntN(10) == 0 {
		b.WriteString(pick(r, []string{"---\n", "\n", "--- \n", " ---\n", "---"}))
	}
	indent, odd := 0, 1+r.IntN(12) // one of so many lines is odd
	for range 1 + r.IntN(8) {
		if r.IntN(odd+4) == 0 {
			b.WriteString(pick(r, []string{"\n", " \n", "   \n", "      \n", "---\n", "# a\n", "  # a\n", "...\n"}))
		}
		scalar := pick(r, scalars)
		if r.IntN(odd) > 0 {
			scalar = pick(r, []string{"", "", "b", "b c", "1", "{}", "\"b c\"", "'b'", "|", "|-", "|+"})
		}
		entry := pick(r, []string{"", "", "- ", "- ", "- - ", "-   "})
		key := pick(r, []string{"a:", "a: ", "b: ", "c:  ", "\"k\": ", "ключ: ", ".k: "})
		if entry != "" && r.IntN(2) == 0 {
			key = ""
		}
		b.WriteString(strings.Repeat(" ", indent) + entry + key + scalar + pick(r, []string{"", "", "", " "}) + "\n")
		switch {
		case scalar == "" && r.IntN(4) > 0 || strings.HasPrefix(scalar, "|"):
			indent += pick(r, []int{0, 1, 2, 2, 2, 4})
		case r.IntN(3) == 0:
			indent = pick(r, []int{0, 0, 1, 2, 2, 3, 4})
		case r.IntN(3) == 0 && indent >= 2:
			indent -= 2
		}
	}
	text := b.String()
	if r.IntN(4) == 0 {
		text = strings.TrimRight(text, "\n")
	}
	return []byte(text)
}

// encoded makes a document as a tool writes it.
func (r random) encoded() []byte {
	value := r.value(0)
	if r.IntN(2) == 0 {
		data, err := sigsyaml.Marshal(value)
		if err == nil {
			return data
		}
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(pick(r, []int{1, 2, 4}))
	if err := e.Encode(value); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func (r random) value(depth int) any {
	kind := r.IntN(10)
	if depth == 0 {
		kind = r.IntN(4)
	}
	switch {
	case kind < 3 && depth < 5:
		m := map[string]any{}
		for range r.IntN(5) + 1 - min(depth, 1) {
			m[pick(r, []string{"a", "name", "b c", "1", "true", "k-" + strings.Repeat("x", r.IntN(40)), ".k", "é", "x/y", "", "-", "a: b"})] = r.value(depth + 1)
		}
		return m
	case kind < 4 && depth < 5:
		var list []any
		for range r.IntN(4) + 1 - min(depth, 1) {
			list = append(list, r.value(depth+1))
		}
		return list
	case kind == 4:
		return pick(r, []any{nil, true, false, 0, 12345, -1, 1.5, 1e30})
	case kind == 5:
		return pick(r, []string{"one\ntwo\n", "one\n  two", "one\n\ntwo\n\n", " one\ntwo\n", "\none\n", "a: b\nc:\n- d\n", "one\ttwo\n", "\n", "one \ntwo\n"})
	case kind == 6:
		return strings.Repeat(pick(r, []string{"QUJD", "0", "1a", "word ", "é", "+/"}), r.IntN(100))
	default:
		return pick(r, scalars)
	}
}

const alphabet = "  \n\n--::|#'\"{}[]?&*!%@,.~<>+09aeT=\t\r\\é\u0085\x1f\x7f\x01\u2028\ufeff\x00\xff"

// mutate changes bytes or lines.
func (r random) mutate(data []byte) []byte {
	data = slices.Clone(data)
	for range 1 + r.IntN(2) {
		at, to := r.IntN(len(data)+1), r.IntN(len(data)+1)
		at, to = min(at, to), max(at, to)
		lines := bytes.SplitAfter(data, []byte("\n"))
		line := r.IntN(len(lines))
		switch r.IntN(9) {
		case 0:
			data = slices.Insert(data, at, alphabet[r.IntN(len(alphabet))])
		case 1:
			data = slices.Insert(data, at, alphabet[r.IntN(8)])
		case 2:
			data = slices.Delete(data, at, min(at+1+r.IntN(2), len(data)))
		case 3:
			if at < len(data) {
				data[at] = alphabet[r.IntN(len(alphabet))]
			}
		case 4:
			if r.IntN(4) == 0 {
				data = data[:to]
			}
		case 5: // another indentation
			if text := bytes.TrimLeft(lines[line], " "); r.IntN(2) == 0 {
				lines[line] = append(bytes.Repeat([]byte(" "), r.IntN(7)), text...)
			} else {
				lines[line] = append([]byte(" "), lines[line]...)
			}
			data = bytes.Join(lines, nil)
		case 6:
			data = bytes.Join(slices.Delete(lines, line, line+1), nil)
		case 7:
			data = bytes.Join(slices.Insert(lines, line, pick(r, lines)), nil)
		case 8: // a line becomes an entry, or its value another one
			if r.IntN(2) == 0 {
				lines[line] = append([]byte("- "), lines[line]...)
			} else if colon := bytes.IndexByte(lines[line], ':'); colon >= 0 {
				lines[line] = []byte(string(lines[line][:colon]) + ": " + pick(r, scalars) + "\n")
			}
			data = bytes.Join(lines, nil)
		}
	}
	return data
}
