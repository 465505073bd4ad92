package sopsfile

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	filippo "filippo.io/age"
	"github.com/getsops/sops/v3/age"
)

// KeySource is a place where SOPS looks for private age keys, and finds some or
// should.
type KeySource struct {
	// Name is the environment variable, or the path of the file.
	Name string
	// Path is that of a file; empty where there is none.
	Path string
	// Err says why there is no key in it, without its path.
	Err error
	// Mode is that of the file.
	Mode fs.FileMode
	// Recipients are the public halves of the keys in it, as far as it tells
	// without a passphrase.
	Recipients []string

	whole bool // whether Recipients are those of all keys in it
}

// KeySources are the places that are set, or there. It runs no command and
// reads nothing but regular files: a pipe gives its keys once.
func KeySources() []KeySource {
	var sources []KeySource
	if text, ok := os.LookupEnv(age.SopsAgeKeyEnv); ok {
		s := KeySource{Name: age.SopsAgeKeyEnv}
		s.parse([]byte(text))
		sources = append(sources, s)
	}
	if path, ok := os.LookupEnv(age.SopsAgeKeyFileEnv); ok {
		sources = append(sources, keyFile(age.SopsAgeKeyFileEnv, path))
	}
	for _, name := range []string{age.SopsAgeKeyCmdEnv, age.SopsAgeSshPrivateKeyFileEnv, age.SopsAgeSshPrivateKeyCmdEnv} {
		if os.Getenv(name) != "" {
			sources = append(sources, KeySource{Name: name})
		}
	}
	// On macOS sops prefers XDG_CONFIG_HOME, too.
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir, _ = os.UserConfigDir() // without one there is no such file
	}
	if path := filepath.Join(dir, filepath.FromSlash(age.SopsAgeKeyUserConfigPath)); dir != "" {
		if _, err := os.Lstat(path); err == nil {
			sources = append(sources, keyFile(path, path))
		}
	}
	return sources
}

func keyFile(name, path string) KeySource {
	s := KeySource{Name: name, Path: path}
	info, err := os.Stat(path)
	var data []byte
	if err == nil {
		if s.Mode = info.Mode(); !s.Mode.IsRegular() {
			if s.Mode.IsDir() {
				s.Err = errors.New("is a directory")
			}
			return s
		}
		data, err = os.ReadFile(path)
	}
	if pathError := (*fs.PathError)(nil); errors.As(err, &pathError) {
		err = pathError.Err
	}
	if s.Err = err; err == nil {
		s.parse(data)
	}
	return s
}

// parse takes the recipients of age keys. One line that is no identity to sops, such
// as one with white space in front, makes sops take none of them. What the age package
// says of a key that it cannot read may quote it.
// https://github.com/getsops/sops/blob/v3.13.3/age/keysource.go, parseIdentities
func (s *KeySource) parse(text []byte) {
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		s.Err = errors.New("is empty")
		return
	case bytes.HasPrefix(text, []byte("age-encryption")), bytes.HasPrefix(text, []byte("-----BEGIN AGE")):
		return // behind a passphrase
	}
	s.whole = true
	number := 0
	for line := range bytes.Lines(text) {
		number++
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		words := []string{string(line)}
		if s.Name == age.SopsAgeKeyEnv {
			words = strings.Fields(string(line))
		}
		for _, word := range words {
			recipient, err := recipientOf(word)
			if err != nil {
				s.Recipients = nil
				s.Err = fmt.Errorf("line %d is no age identity as sops reads it, which then takes none of the others", number)
				if strings.HasPrefix(word, "age1") {
					s.Err = fmt.Errorf("line %d is a recipient, which is the public half of a key", number)
				}
				return
			}
			if recipient != "" {
				s.Recipients = append(s.Recipients, recipient)
			} else {
				s.whole = false
			}
		}
	}
}

// recipientOf is the public half of an identity, empty for that of a plugin.
func recipientOf(identity string) (string, error) {
	switch {
	case strings.HasPrefix(identity, "AGE-PLUGIN-"):
		return "", nil
	case strings.HasPrefix(identity, "AGE-SECRET-KEY-PQ-1"):
		i, err := filippo.ParseHybridIdentity(identity)
		if err != nil {
			return "", err
		}
		return i.Recipient().String(), nil
	default:
		i, err := filippo.ParseX25519Identity(identity)
		if err != nil {
			return "", err
		}
		return i.Recipient().String(), nil
	}
}
