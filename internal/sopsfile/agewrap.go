package sopsfile

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/crypto/chacha20poly1305"
)

// x25519Recipient is an age.X25519Recipient that does two scalar
// multiplications for each file instead of four: the library goes through
// curve25519.X25519, which computes a public key each time it is given a
// private one. Wrapping is the costliest step of a pair.
// The stanza is that of https://c2sp.org/age#the-x25519-recipient-type.
type x25519Recipient struct {
	theirs *ecdh.PublicKey
}

// parseX25519 parses a recipient of the form age1…; it is nil for recipients
// of other types, which the packages of sops and age take care of.
func parseX25519(recipient string) *x25519Recipient {
	if _, err := age.ParseX25519Recipient(recipient); err != nil {
		return nil
	}
	// age has checked the form and the checksum, the last six characters. What
	// is between them and the prefix are 32 bytes, five bits a character.
	const charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
	var point []byte
	bits, held := 0, 0
	data := strings.ToLower(recipient)[len("age1") : len(recipient)-6]
	for i := range len(data) {
		held, bits = held<<5|strings.IndexByte(charset, data[i]), bits+5
		if bits >= 8 {
			bits -= 8
			point = append(point, byte(held>>bits))
			held &= 1<<bits - 1
		}
	}
	theirs, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil
	}
	return &x25519Recipient{theirs}
}

// Wrap implements age.Recipient.
func (r *x25519Recipient) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	shared, err := ephemeral.ECDH(r.theirs)
	if err != nil {
		return nil, err
	}
	ours := ephemeral.PublicKey().Bytes()
	salt := append(ours[:len(ours):len(ours)], r.theirs.Bytes()...)
	wrappingKey, err := hkdf.Key(sha256.New, shared, salt, "age-encryption.org/v1/X25519", chacha20poly1305.KeySize)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.New(wrappingKey)
	if err != nil {
		return nil, err
	}
	return []*age.Stanza{{
		Type: "X25519",
		Args: []string{base64.RawStdEncoding.EncodeToString(ours)},
		Body: aead.Seal(nil, make([]byte, chacha20poly1305.NonceSize), fileKey, nil),
	}}, nil
}

// encrypt is the armored age file that holds plain, as sops writes it.
func (r *x25519Recipient) encrypt(plain []byte) (string, error) {
	var b strings.Builder
	a := armor.NewWriter(&b)
	w, err := age.Encrypt(a, r)
	if err != nil {
		return "", err
	}
	if _, err := w.Write(plain); err != nil {
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	if err := a.Close(); err != nil {
		return "", err
	}
	return b.String(), nil
}

// Nobody is an age recipient whose key has been thrown away.
var Nobody = sync.OnceValue(func() string {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "" // which is no recipient
	}
	return identity.Recipient().String()
})
