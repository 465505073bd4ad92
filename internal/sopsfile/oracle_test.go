package sopsfile_test

import (
	"os"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	sopsage "github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/decrypt"
	sopsyaml "github.com/getsops/sops/v3/stores/yaml"

	"clusterpair.dev/internal/sopsfile"
)

// identity makes an age identity and puts it where sops looks for one.
func identity(t testing.TB) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	environment(t)
	t.Setenv("SOPS_AGE_KEY", id.String())
	return id.Recipient().String()
}

// fixedIdentity is the identity of the fuzz targets, which run in several
// processes.
func fixedIdentity(t testing.TB) string {
	t.Helper()
	environment(t)
	t.Setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-16Q0MULHL06AE55H0CD40DSYM6R234JJGUKHCGGHXQSYWGUDS5XRQZFC5U5")
	return "age1d3qh85z52prte7030skv7h58kvt6xz2p2g2kfjgyvtahmvcmvenqny0e4p"
}

// stranger is a recipient whose private key nobody has.
func stranger(t testing.TB) string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id.Recipient().String()
}

// environment is one in which no key of the machine is found.
func environment(t testing.TB) {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", home)
	t.Setenv("GNUPGHOME", home)
	// Who tests may have keys of their own.
	for _, name := range []string{"SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
}

// sopsSelector is what sops' Metadata takes of a Selector.
func sopsMetadata(s sopsfile.Selector, macOnly bool) sops.Metadata {
	if s == (sopsfile.Selector{}) {
		s.UnencryptedSuffix = sops.DefaultUnencryptedSuffix
	}
	return sops.Metadata{
		EncryptedRegex: s.EncryptedRegex, UnencryptedRegex: s.UnencryptedRegex,
		EncryptedSuffix: s.EncryptedSuffix, UnencryptedSuffix: s.UnencryptedSuffix,
		EncryptedCommentRegex: s.EncryptedCommentRegex, UnencryptedCommentRegex: s.UnencryptedCommentRegex,
		MACOnlyEncrypted: macOnly, Version: "3.13.3",
	}
}

// sopsEncrypt encrypts as the library of sops does.
func sopsEncrypt(plain []byte, recipient string, s sopsfile.Selector, macOnly bool, indent int) ([]byte, error) {
	store := sopsyaml.NewStore(&config.YAMLStoreConfig{Indent: indent})
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		return nil, err
	}
	key, err := sopsage.MasterKeyFromRecipient(recipient)
	if err != nil {
		return nil, err
	}
	tree := sops.Tree{Branches: branches, Metadata: sopsMetadata(s, macOnly)}
	tree.Metadata.KeyGroups = []sops.KeyGroup{{key}}
	dataKey, errs := tree.GenerateDataKey()
	if len(errs) > 0 {
		return nil, errs[0]
	}
	cipher := aes.NewCipher()
	mac, err := tree.Encrypt(dataKey, cipher)
	if err != nil {
		return nil, err
	}
	tree.Metadata.LastModified = time.Now().UTC()
	tree.Metadata.MessageAuthenticationCode, err = cipher.Encrypt(mac, dataKey, tree.Metadata.LastModified.Format(time.RFC3339))
	if err != nil {
		return nil, err
	}
	return store.EmitEncryptedFile(tree)
}

// sopsDecrypt decrypts as the library of sops does, with the MAC verified.
func sopsDecrypt(data []byte) ([]byte, error) { return decrypt.Data(data, "yaml") }

// sopsFormat is a plain document in sops' own layout.
func sopsFormat(plain []byte, indent int) ([]byte, error) {
	store := sopsyaml.NewStore(&config.YAMLStoreConfig{Indent: indent})
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		return nil, err
	}
	return store.EmitPlainFile(branches)
}

// notInline puts the comments that stand behind values above them: sops does
// so, now and then, when it decrypts a comment.
func notInline(t testing.TB, plain []byte) []byte {
	t.Helper()
	store := sopsyaml.NewStore(&config.YAMLStoreConfig{})
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		t.Fatal(err)
	}
	var move func(v any) any
	move = func(v any) any {
		switch v := v.(type) {
		case sops.Comment:
			v.Inline = false
			return v
		case sops.TreeBranch:
			for i := range v {
				v[i].Key, v[i].Value = move(v[i].Key), move(v[i].Value)
			}
		case []any:
			for i := range v {
				v[i] = move(v[i])
			}
		}
		return v
	}
	for i := range branches {
		move(branches[i])
	}
	out, err := store.EmitPlainFile(branches)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
