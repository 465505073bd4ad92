package validate_test

import (
	"fmt"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/mask"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
)

// hostile are documents of about n bytes in which something repeats, at the price of
// few bytes each.
func hostile(n int) map[string]string {
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData:\n"
	each := func(count int, format string) string {
		var b strings.Builder
		for i := range count {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	return map[string]string{
		"a long text under many keys":  secret + "  l: &l " + strings.Repeat("z", n*4/5) + "\n" + each(n/65, "  k%04d: *l\n"),
		"a long list under many keys":  secret + "  l: &l\n" + strings.Repeat("  - x\n", n/12) + each(n/26, "  k%04d: *l\n"),
		"a mapping under many keys":    "kind: ConfigMap\ndata:\n  l: &l\n" + each(n/24, "    a%d: x\n") + each(n/26, "  k%04d: *l\n"),
		"one line of JSON":             `{"kind":"Secret","x":"!","stringData":{` + each(n/16, `"k%d":"v",`) + `"k":"v"}}`,
		"one line of flow, with a tag": "{kind: Secret, x: ! 1, stringData: {" + each(n/16, "k%d: é, ") + "k: v}}",
		"many documents":               strings.Repeat("---\nkind: Secret\nstringData: {a: b}\n", n/36),
		"many comments":                secret + each(n/20, "  # password: b%d\n") + "  a: b\n",
		"many anchors":                 secret + each(n/18, "  a%d: &a b\n"),
		"many beginnings":              secret + "  a: |\n" + strings.Repeat("    -----BEGIN RSA PRIVATE KEY-----\n", n/36),
		"deeply nested":                secret + "  a: " + strings.Repeat("{a: ", min(n/6, 8000)) + "b" + strings.Repeat("}", min(n/6, 8000)) + "\n",
		"damaged":                      secret + each(n/12, "  a%d: b\n") + "  c: [\n",
	}
}

// TestCostIsLinear gives what every git diff runs, what every command reads by, and what
// judges a file documents in which something repeats, and four times as much of each:
// that takes about four times as long, however much is found.
func TestCostIsLinear(t *testing.T) {
	judge := func(text []byte) {
		v := validate.New(validate.Options{Now: time.Now()})
		if err := v.File(t.Context(), validate.File{Name: "f.yaml", Path: "f.yaml", Data: text}); err != nil {
			t.Fatal(err)
		}
		v.Findings()
	}
	const small = 32_000
	little, much := hostile(small), hostile(4*small)
	for what, do := range map[string]func(text []byte){
		"mask":  func(text []byte) { mask.Text(text) },
		"scan":  func(text []byte) { manifest.Scan(text, "f.yaml", func(manifest.Document, *report.Finding) {}) },
		"judge": judge,
	} {
		for name := range little {
			linear(t, what+", "+name, little[name], much[name], do)
		}
	}
	const random = "q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty"
	for name, test := range map[string]struct {
		head, repeat string
		bytes        int // of the smaller one
	}{
		"tokens in one line":    {"", "eyJhbGciOiJSUzI1NiJ9.", 400_000},
		"tokens in lines":       {"", "--token=" + random + "\n", 400_000},
		"tokens in a Secret":    {"kind: Secret\nstringData:\n", "- token: " + random + "\n", 200_000},
		"tokens in a ConfigMap": {"kind: ConfigMap\ndata:\n  a: |\n", "    --token=" + random + "\n", 400_000},
		"tokens in comments":    {"kind: Secret\n", "# token: " + random + "\n", 400_000},
		"names alone":           {"", "token ", 1_000_000},
		"waivers in lines":      {"kind: Secret\nstringData:\n", "- token: " + random + " # clusterpair:ignore plaintext-credential a test\n", 400_000},
		"waivers alone":         {"", "# clusterpair:ignore plaintext-credential a test\n", 400_000},
	} {
		text := func(size int) string {
			return test.head + strings.Repeat(test.repeat, size/len(test.repeat)) + "kind: ConfigMap\n"
		}
		linear(t, "judge, "+name, text(test.bytes), text(4*test.bytes), judge)
	}
}

// linear does something with a text, and with one four times as long. Time is that of
// this thread, whatever else the machine does.
func linear(t *testing.T, what, little, much string, do func(text []byte)) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var r syscall.Rusage
		if err := syscall.Getrusage(1 /* RUSAGE_THREAD */, &r); err != nil {
			t.Fatal(err)
		}
		return time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	once := func(text string) time.Duration {
		before := used()
		do([]byte(text))
		return used() - before
	}
	a := min(once(little), once(little), once(little))
	limit := 8*a + 100*time.Millisecond
	b := once(much)
	for i := 0; i < 2 && b > limit; i++ { // something else may have slowed it down
		b = min(b, once(much))
	}
	if b > limit {
		t.Errorf("%s: %v, and of four times as much %v", what, a, b)
	}
}
