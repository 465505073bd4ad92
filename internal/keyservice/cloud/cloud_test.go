package cloud_test

import (
	"strings"
	"testing"

	"github.com/getsops/sops/v3/hckms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/kms"

	"clusterpair.dev/internal/keyservice"
	"clusterpair.dev/internal/keyservice/cloud"
)

// FuzzNames: the names of keys are taken apart as sops takes them.
func FuzzNames(f *testing.F) {
	for _, text := range []string{
		"", " ", "arn:aws:kms:us-east-1:656532927350:key/1", "arn:aws:kms:us-east-1:1:key/1+arn:aws:iam::1:role/sops", "+arn:aws", "a +arn: b",
		"eu-west-101:0b1", "nocolon", ":id", "region: ", " region : id ",
		"https://vault.example.com:8200/v1/transit/keys/west", "https://vault.example.com/v1/team/transit/keys/west/", "http://vault/prefix/v1/transit/keys/west",
		"vault/v1/transit/keys/west", "https://vault/v1/transit/keys/west?a=b", "https://user@vault/v1/a%2Fb/keys/west#f", "https://vault/v1//keys/west", "://", "x:/v1/a/b/c",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m := kms.NewMasterKeyFromArn(text, nil, "")
		if arn, role := keyservice.AWS(text); arn != m.Arn || role != m.Role {
			t.Errorf("AWS: %q %q, sops %q %q", arn, role, m.Arn, m.Role)
		}
		_, theirs := hckms.NewMasterKey(text)
		ours := keyservice.Huawei(text)
		if (ours == nil) != (theirs == nil) || ours != nil && ours.Error() != theirs.Error() {
			t.Errorf("Huawei: %v, sops %v", ours, theirs)
		}
		key, theirs := hcvault.NewMasterKeyFromURI(text)
		address, engine, name, ours := keyservice.Vault(text)
		switch {
		case (ours == nil) != (theirs == nil && key != nil):
			t.Errorf("Vault: %v, sops %v", ours, theirs)
		case ours == nil && (address != key.VaultAddress || engine != key.EnginePath || name != key.KeyName):
			t.Errorf("Vault: %q %q %q, sops %q %q %q", address, engine, name, key.VaultAddress, key.EnginePath, key.KeyName)
		}
	})
}

// TestRefused: what names no key of a key service is asked nowhere.
func TestRefused(t *testing.T) {
	for _, r := range []keyservice.Request{
		{Operation: keyservice.Encrypt},
		{Operation: keyservice.Encrypt, Key: keyservice.Key{Type: "age", Name: []string{"age1"}}},
		{Operation: keyservice.Decrypt, Key: keyservice.Key{Type: "hc_vault", Name: []string{"https://vault.example.com"}}},
		{Operation: keyservice.Decrypt, Key: keyservice.Key{Type: "hckms", Name: []string{"nocolon"}}},
		{Operation: "list", Key: keyservice.Key{Type: "gcp_kms", Name: []string{"projects/p"}}},
	} {
		if _, err := cloud.Ask(t.Context(), r); err == nil || strings.Contains(err.Error(), "panic") {
			t.Errorf("%v: %v", r, err)
		}
	}
}
