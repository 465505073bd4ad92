package credential

import (
	"errors"
	"testing"

	"filippo.io/age"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/plainjson"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// recipient is one whose key nobody has.
func recipient(t *testing.T) string {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return identity.Recipient().String()
}

// TestJSON: a Secret that goes into a file *.json is JSON, and is read back.
func TestJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	f, err := Open("west.json", []string{recipient(t)})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := f.document([]byte("kind: Config\n"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := f.seal(t.Context(), sopsfile.New(nil), doc)
	if err != nil {
		t.Fatal(err)
	}
	if !plainjson.Is(data) {
		t.Errorf("no JSON:\n%s", data)
	}
	docs, err := manifest.Values(data, "west.json")
	if err != nil || !sopsfile.IsEncrypted(docs[0]) || manifest.Text(docs[0], "metadata", "name") != "west" {
		t.Errorf("no encrypted Secret (%v):\n%s", err, data)
	}
}

// TestNames: sops could not read the Secret again from a file of another name.
func TestNames(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, hint := range map[string]string{"west.conf": "-o west.conf.yaml", "west": "-o west.yaml", "west.env": "-o west.env.yaml", "yaml": "-o FILE.yaml"} {
		_, err := Open(name, []string{recipient(t)})
		var f report.Finding
		if !errors.As(err, &f) || f.Rule != "file-format" || f.Hint != hint {
			t.Errorf("%s: %v, hint %q", name, err, f.Hint)
		}
	}
}
