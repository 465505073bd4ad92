package sopsfile

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"
	"time"
)

// The lengths of SOPS: a data key for AES-256, and an IV longer than the
// usual 12 bytes, which every reader takes from the file.
const (
	dataKeySize = 32
	ivSize      = 32
	tagSize     = 16
)

const sealPrefix = "ENC[AES256_GCM,data:"

// sealer encrypts and decrypts the values of one file with its data key.
type sealer struct {
	block cipher.Block
	aead  cipher.AEAD // with an IV of ivSize
}

func newSealer(dataKey []byte) (*sealer, error) {
	if len(dataKey) != dataKeySize {
		return nil, errors.New("the data key does not have 32 bytes")
	}
	block, err := aes.NewCipher(dataKey)
	if err != nil {
		return nil, errors.New("the data key cannot be used")
	}
	aead, err := cipher.NewGCMWithNonceSize(block, ivSize)
	if err != nil {
		return nil, err
	}
	return &sealer{block, aead}, nil
}

// newDataKey makes a data key.
func newDataKey() []byte {
	k := make([]byte, dataKeySize)
	rand.Read(k) // never fails
	return k
}

// seal encrypts a value that stands at path, in the notation of SOPS. The
// caller leaves out nil and the empty string, which are never encrypted.
func (s *sealer) seal(plain []byte, typ string, path []byte) string {
	iv := make([]byte, ivSize, ivSize+len(plain)+tagSize)
	rand.Read(iv)
	box := s.aead.Seal(iv[ivSize:], iv, plain, path)
	data, tag := box[:len(plain)], box[len(plain):]

	enc := base64.StdEncoding
	out := make([]byte, 0, len(sealPrefix)+enc.EncodedLen(len(data))+enc.EncodedLen(ivSize)+enc.EncodedLen(tagSize)+len(",iv:,tag:,type:comment]"))
	out = append(out, sealPrefix...)
	out = enc.AppendEncode(out, data)
	out = append(out, ",iv:"...)
	out = enc.AppendEncode(out, iv)
	out = append(out, ",tag:"...)
	out = enc.AppendEncode(out, tag)
	out = append(out, ",type:"...)
	out = append(out, typ...)
	out = append(out, ']')
	return string(out)
}

// box is a value in the notation of SOPS, taken apart.
type box struct{ data, iv, tag, typ string }

// parseBox takes apart ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]. Unlike SOPS
// it takes nothing behind the bracket, since nothing authenticates it.
func parseBox(s string) (box, bool) {
	s, ok := strings.CutPrefix(s, sealPrefix)
	if !ok {
		return box{}, false
	}
	s, ok = strings.CutSuffix(s, "]")
	if !ok {
		return box{}, false
	}
	data, s, ok1 := strings.Cut(s, ",iv:")
	iv, s, ok2 := strings.Cut(s, ",tag:")
	tag, typ, ok3 := strings.Cut(s, ",type:")
	return box{data, iv, tag, typ}, ok1 && ok2 && ok3 && data != "" && iv != "" && tag != ""
}

// size is the length of the plaintext: GCM adds nothing to it.
func (b box) size() int {
	return len(b.data)/4*3 - strings.Count(b.data[max(0, len(b.data)-2):], "=")
}

// The types a value can have.
const (
	typeString  = "str"
	typeComment = "comment"
)

// errSealed says nothing about the value, on purpose.
var errSealed = errors.New("the value does not decrypt: it was changed, moved to another field or encrypted with another data key")

// open decrypts a value that stands at path.
func (s *sealer) open(b box, path []byte) (any, error) {
	enc := base64.StdEncoding
	text, err1 := enc.DecodeString(b.data)
	iv, err2 := enc.DecodeString(b.iv)
	tag, err3 := enc.DecodeString(b.tag)
	if errors.Join(err1, err2, err3) != nil || len(iv) == 0 {
		return nil, errors.New("the value is not a whole ENC[…]: it was cut or edited")
	}
	aead := s.aead
	if len(iv) != ivSize {
		var err error
		if aead, err = cipher.NewGCMWithNonceSize(s.block, len(iv)); err != nil {
			return nil, errSealed
		}
	}
	plain, err := aead.Open(text[:0], iv, append(text, tag...), path)
	if err != nil {
		return nil, errSealed
	}
	switch b.typ {
	case typeString, typeComment, "bytes":
		return string(plain), nil
	case "int":
		if v, err := strconv.Atoi(string(plain)); err == nil {
			return v, nil
		}
	case "float":
		if v, err := strconv.ParseFloat(string(plain), 64); err == nil {
			return v, nil
		}
	case "bool":
		if v, err := strconv.ParseBool(string(plain)); err == nil {
			return v, nil
		}
	case "time":
		var v time.Time
		if v.UnmarshalText(plain) == nil {
			return v, nil
		}
	default:
		return nil, errors.New("the value has a type that SOPS does not know")
	}
	return nil, errors.New("the value does not fit its type")
}

// valueBytes is what SOPS encrypts of a value, and what it hashes; typ is its
// type in the notation. The value is never nil.
func valueBytes(v any) (b []byte, typ string, err error) {
	switch v := v.(type) {
	case string:
		return []byte(v), typeString, nil
	case int:
		return strconv.AppendInt(nil, int64(v), 10), "int", nil
	case float64:
		return strconv.AppendFloat(nil, v, 'f', -1, 64), "float", nil
	case bool:
		// Capitalised since the days when SOPS was written in Python.
		if v {
			return []byte("True"), "bool", nil
		}
		return []byte("False"), "bool", nil
	case time.Time:
		b, err := v.MarshalText()
		if err != nil {
			return nil, "", errors.New("the timestamp has no text form")
		}
		return b, "time", nil
	}
	return nil, "", errors.New("the value has a type that SOPS does not know")
}
