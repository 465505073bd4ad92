package sopsfile_test

import (
	"bytes"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/sopsfile"
)

var fuzzSelectors = []sopsfile.Selector{
	{}, {EncryptedRegex: "a|data"}, {UnencryptedRegex: "a|meta"}, {EncryptedSuffix: "a"},
	{UnencryptedSuffix: "a"}, {EncryptedCommentRegex: "secret"}, {UnencryptedCommentRegex: "public"},
}

// FuzzRoundTrip: what we encrypt, sops decrypts with a verified MAC, and so
// do we, to the values, types and comments it was made of; encrypted again,
// it is unchanged. What we refuse to encrypt, we refuse with an error.
func FuzzRoundTrip(f *testing.F) {
	for _, text := range documents(f) {
		if len(text) > 10_000 {
			continue
		}
		for i := range fuzzSelectors {
			f.Add(text, uint8(i), i%2 == 0)
		}
	}
	f.Add("a: {b: [1, 1, '1', {c: ~}]}\n", uint8(1), true)
	recipient := fixedIdentity(f)
	safe := sopsfile.New(nil)
	f.Fuzz(func(t *testing.T, text string, selector uint8, macOnly bool) {
		docs, err := parseYAML(text)
		if err != nil {
			return
		}
		want, err := sopsfile.Marshal(docs, 4)
		if err != nil {
			return
		}
		policy := agePolicy(t, fuzzSelectors[int(selector)%len(fuzzSelectors)], macOnly, 4, recipient)
		enc, _, err := safe.Encrypt(t.Context(), docs, nil, policy, sopsfile.EncryptOptions{})
		if err != nil {
			return
		}
		plain, err := safe.Decrypt(t.Context(), enc, "f")
		if err != nil {
			t.Fatalf("we do not decrypt it: %v\n%s", err, enc)
		}
		got, err := sopsfile.Marshal(plain, 4)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(want, []byte("#")) { // the YAML library moves comments about
			if !bytes.Equal(got, want) {
				t.Fatalf("got\n%s\nwant\n%s", got, want)
			}
			again, change, err := safe.Encrypt(t.Context(), docs, enc, policy, sopsfile.EncryptOptions{})
			if err != nil || !bytes.Equal(again, enc) {
				t.Fatalf("encrypted again: %v, %v", change, err)
			}
		}
		theirs, err := sopsDecrypt(enc)
		if err != nil {
			t.Fatalf("sops does not decrypt it: %v\n%s", err, enc)
		}
		if !bytes.Contains(want, []byte("#")) && !bytes.Equal(theirs, want) {
			t.Fatalf("sops makes of it\n%s\nwant\n%s", theirs, want)
		}
	})
}

// FuzzDecrypt: whatever stands in a file, sops takes what we take, and makes
// the same of it. We may refuse more.
func FuzzDecrypt(f *testing.F) {
	recipient := fixedIdentity(f)
	safe := sopsfile.New(nil)
	for _, text := range documents(f) {
		if len(text) > 10_000 {
			continue
		}
		enc, err := sopsEncrypt([]byte(text), recipient, sopsfile.Selector{}, false, 2)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(enc))
	}
	ours, _, err := safe.Encrypt(f.Context(), parse(f, pairText), nil, agePolicy(f, pairSelector, true, 0, recipient), sopsfile.EncryptOptions{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(ours))
	f.Add(strings.Replace(string(ours), "mac_only_encrypted: true", "mac_only_encrypted: \"true\"", 1))
	f.Fuzz(func(t *testing.T, text string) {
		docs, err := safe.Decrypt(t.Context(), []byte(text), "f")
		if err != nil {
			return
		}
		got, err := sopsfile.Marshal(docs, 4)
		if err != nil {
			t.Fatal(err)
		}
		want, err := sopsDecrypt([]byte(text))
		if err != nil {
			t.Fatalf("we decrypt what sops refuses: %v", err)
		}
		if bytes.Contains(want, []byte("#")) {
			return
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
	})
}

// FuzzMetadata: the sops section never makes us panic, and what we make of it
// does not depend on the rest of the document.
func FuzzMetadata(f *testing.F) {
	f.Add("sops: {age: [{recipient: age1, enc: x}], lastmodified: '2026-11-22T10:00:00Z', mac: x, version: 3.13.3}")
	f.Add("sops: {key_groups: [{pgp: [{fp: A, created_at: '2026-11-22T10:00:00Z', enc: x}]}], lastmodified: '2026-11-22T10:00:00Z'}")
	f.Add("sops: [1]")
	f.Fuzz(func(t *testing.T, text string) {
		var doc yaml.Node
		if yaml.Unmarshal([]byte(text), &doc) != nil {
			return
		}
		m, err := sopsfile.ReadMetadata(&doc, "f")
		if err == nil && (!sopsfile.IsEncrypted(&doc) || len(m.Recipients) == 0 || m.Selector.Validate() != nil) {
			t.Errorf("metadata %+v of a document that is not encrypted", m)
		}
	})
}
