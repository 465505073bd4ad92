package leak

import (
	"fmt"
	"testing"

	"clusterpair.dev/internal/leak/corpus"
)

// TestDrawn draws many texts of each spelling: of a thousand that a program has drawn,
// at most one is taken for something that a person has written.
func TestDrawn(t *testing.T) {
	const draws = 20_000
	d := corpus.NewDice()
	spellings := map[string]func() (string, bool){
		"secret access key": func() (string, bool) { s := d.AWSSecret(); return s, isSecret(s) },
		"password":          func() (string, bool) { s := d.Password(); return s, isOpaque(s) || isPassword(s) },
	}
	for i := range corpus.Spellings {
		spellings[fmt.Sprint("token ", i)] = func() (string, bool) { s := d.Opaque(i); return s, isOpaque(s) }
	}
	for name, draw := range spellings {
		t.Run(name, func(t *testing.T) {
			missed, example := 0, ""
			for range draws {
				if s, found := draw(); !found {
					missed, example = missed+1, s
				}
			}
			t.Logf("%d of %d are missed", missed, draws)
			if missed*1000 > draws {
				t.Errorf("%d of %d are missed, as %s", missed, draws, example)
			}
		})
	}
}

// TestWritten looks at texts that people write in the place of a token.
func TestWritten(t *testing.T) {
	for _, value := range []string{
		"sha256~xxxx", "ghp_xxxx1234abcd5678efgh", "eyJhbGciOi-XXXX-2b4d6f8h", "AKIA2b4dXXXXX6f8h0j2l4",
		"apps/Deployments/GuestBook/Overlays/Production2", "teams/West/Clusters/GoldenImage/Release+V2",
	} {
		if isOpaque(value) {
			t.Errorf("%s is taken for a token", value)
		}
	}
}
