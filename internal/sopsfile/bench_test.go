package sopsfile_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/sopsfile"
)

// benchText is a ClusterPair of 6 KB with six values to encrypt.
var benchText = strings.Replace(pairText, "server: https://west.example.com:6443\n    contexts: [a, a, b]",
	"certificate-authority-data: "+strings.Repeat("LS0tLS1CRUdJTiBD", 100)+"\n        server: https://west.example.com:6443\n        tls-server-name: west\n    contexts: [a, b]", 1) +
	"  token: " + strings.Repeat("eyJhbGciOiJSUzI1", 100) + "\n  other:\n" + strings.Repeat("  - {name: value, plain: another value}\n", 20)

// BenchmarkEncrypt encrypts a file that was not there before.
func BenchmarkEncrypt(b *testing.B) {
	policy := agePolicy(b, pairSelector, true, 0, identity(b), stranger(b))
	safe := sopsfile.New(nil)
	b.ReportAllocs()
	for b.Loop() {
		docs := parse(b, benchText)
		if _, _, err := safe.Encrypt(b.Context(), docs, nil, policy, sopsfile.EncryptOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUnchanged encrypts a file that needs no change, with and without
// a key at hand.
func BenchmarkUnchanged(b *testing.B) {
	policy := agePolicy(b, pairSelector, true, 0, identity(b), stranger(b))
	for _, key := range []bool{true, false} {
		b.Run(fmt.Sprintf("key=%t", key), func(b *testing.B) {
			if !key {
				environment(b)
				b.Setenv("SOPS_AGE_KEY", "")
			}
			safe := sopsfile.New(nil)
			prev, _, err := safe.Encrypt(b.Context(), parse(b, benchText), nil, policy, sopsfile.EncryptOptions{})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				docs := parse(b, benchText)
				out, _, err := safe.Encrypt(b.Context(), docs, prev, policy, sopsfile.EncryptOptions{Sealed: true})
				if err != nil || !bytes.Equal(out, prev) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	safe := sopsfile.New(nil)
	prev, _, err := safe.Encrypt(b.Context(), parse(b, benchText), nil, agePolicy(b, pairSelector, true, 0, identity(b), stranger(b)), sopsfile.EncryptOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := safe.Decrypt(b.Context(), prev, "f"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFloor is the least that encrypting a file costs: parsing it, two
// wrapped keys, six ciphertexts, and the YAML library writing it.
func BenchmarkFloor(b *testing.B) {
	var recipients []age.Recipient
	for range 2 {
		r, err := age.ParseX25519Recipient(stranger(b))
		if err != nil {
			b.Fatal(err)
		}
		recipients = append(recipients, r)
	}
	b.ReportAllocs()
	for b.Loop() {
		docs := parse(b, benchText)
		dataKey := make([]byte, 32)
		rand.Read(dataKey)
		var out bytes.Buffer
		for _, r := range recipients {
			a := armor.NewWriter(&out)
			w, err := age.Encrypt(a, r)
			if err != nil {
				b.Fatal(err)
			}
			w.Write(dataKey)
			w.Close()
			a.Close()
		}
		block, err := aes.NewCipher(dataKey)
		if err != nil {
			b.Fatal(err)
		}
		aead, err := cipher.NewGCMWithNonceSize(block, 32)
		if err != nil {
			b.Fatal(err)
		}
		for range 6 {
			iv := make([]byte, 32)
			rand.Read(iv)
			out.WriteString(base64.StdEncoding.EncodeToString(aead.Seal(nil, iv, []byte(benchText[:600]), nil)))
		}
		if _, err := yaml.Marshal(docs[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSops is the library of sops.
func BenchmarkSops(b *testing.B) {
	recipient := identity(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sopsEncrypt([]byte(benchText), recipient, pairSelector, true, 2); err != nil {
			b.Fatal(err)
		}
	}
}
