package importer

import (
	"testing"

	"filippo.io/age"

	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/plainjson"
	"clusterpair.dev/internal/sopsfile"
)

// TestJSON: a Secret that goes into a file *.json is JSON, and is read back.
func TestJSON(t *testing.T) {
	t.Chdir(t.TempDir())
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	r := Run{safe: sopsfile.New(nil), options: Options{Age: []string{identity.Recipient().String()}}}
	secret := &kubeconfig.Secret{Namespace: "fleet", Name: "west", Data: map[string]kubeconfig.Value{"value": {Bytes: []byte("kind: Config\n")}}}
	data, err := r.seal(t.Context(), secret, nil, "west.json")
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
