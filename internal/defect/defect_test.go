package defect

import (
	"regexp"
	"testing"
)

// TestRecover: the error of a panic names the file and the line, and no value.
func TestRecover(t *testing.T) {
	work := func(f func()) (err error) {
		defer Recover(&err, "a.yaml")
		f()
		return nil
	}
	if err := work(func() {}); err != nil {
		t.Errorf("without a panic: %v", err)
	}
	secret := "s3cret"
	for name, f := range map[string]func(){
		"own panic":  func() { panic("schema: no definition " + secret) },
		"of runtime": func() { _ = secret[len(secret)+1:] },
		"of library": func() { regexp.MustCompile("[" + secret) },
		"nil map":    func() { none[secret] = 1 },
	} {
		err := work(f)
		if err == nil || !regexp.MustCompile(`^a\.yaml: clusterpair itself fails in defect\.TestRecover\.\w+, defect_test\.go:\d+$`).MatchString(err.Error()) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// none is a map that nobody has made.
var none map[string]int
