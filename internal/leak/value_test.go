package leak

import (
	"strings"
	"testing"
)

// FuzzPlain states that the pattern of references finds nothing in a plain value.
func FuzzPlain(f *testing.F) {
	const random = "q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty"
	for _, seed := range []string{random, "secretsmanager/" + random, "AQICAH" + random, "var." + random, "__" + random + "__", random + "...", random + "://" + random,
		"-----BEGIN PRIVATE KEY-----\n" + random + "/" + random + "==\n-----END PRIVATE KEY-----\n", "eyJhbGciOiJSUzI1NiJ9." + random + "." + random, "process." + random, random + "()"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if isPlain(value) && reference().MatchString(value) {
			t.Errorf("%q is plain and a reference", value)
		}
	})
}

func TestPlain(t *testing.T) {
	const random = "q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty"
	for value, want := range map[string]bool{
		random: true, strings.Repeat(random+"/", 99): true, "eyJhbGciOiJSUzI1NiJ9." + random + "." + random: true, "-----BEGIN PRIVATE KEY-----\n" + random: true,
		"hunter2": false, "op://" + random: false, random + "${X}": false, "vault/" + random: false, "data." + random: false,
	} {
		if got := isPlain(value); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
