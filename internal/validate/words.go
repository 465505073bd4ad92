package validate

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strings"
	"sync"
)

// words are what makes a file worth parsing: it may be of this project, or hold
// a credential. Beside them stands eyJ, with which a JSON Web Token begins, and
// ZXlK, which is that in base64.
var words = []string{
	"ClusterPair", "stork.libopenstorage.org", "Secret", "clusterpair.dev/",
	"current-context", "kustomize.toolkit.fluxcd.io", "argoproj.io", "stork-controller-config", "admin-namespace",
	"insert_storage_options", "spec/config", "spec/options", "sops", "encrypted_regex", "fieldPaths", "builtin",
	" config:", "{config:", ",config:", "\"config\"", "'config'", "? config",
	" options:", "{options:", ",options:", "\"options\"", "'options'", "? options",
	"binary",
	// Engines, and where they fetch from.
	"source.toolkit.fluxcd.io", "source.extensions.fluxcd.io", "fluxcd.controlplane.io", "helm.toolkit.fluxcd.io", "fleet.cattle.io", "viaduct.ai",
	// What a credential is called, or how it is spelled.
	"oken", "OKEN", "assword", "ASSWORD", "asswd", "ASSWD", "key-data", "keyData", "KEY_DATA", "users:", "\"users\"",
	"PRIVATE KEY", "AGE-SECRET-KEY-", "ZXlK", "k8s-aws-v1.", "sha256~", "ya29.", "kubeconfig-u", "earer ", "asic ",
	"ecret_access_key", "ECRET_ACCESS_KEY", "ecret-access-key", "lient_secret", "LIENT_SECRET", "lient-secret", "curl",
	// The beginning of what is compressed, and what base64 makes of that, of a private
	// key that is encoded already, and of a manifest.
	"H4sI", "SDRz", "TFMwdExTMUNS", "WVhCcFZtVnljMmx2Ym",
}

// hidden are the words that may stand in base64.
var hidden = []string{"token", "assword", "PRIVATE KEY", "key-data", "keyData", "AGE-SECRET-KEY-", "earerToken", "kind: Secret", `"Secret"`, "users:", `"users"`, "k8s-aws-v1.", "sha256~"}

// inBase64 is how a word stands in base64, by the three places in which it may
// begin in a group of three bytes: the letters that hold bits of it alone.
func inBase64(word string) []string {
	var all []string
	for before := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", before) + word))
		first := (before*8 + 5) / 6
		last := (before + len(word)) * 8 / 6
		all = append(all, encoded[first:last])
	}
	return all
}

// matcher finds whether a text has one of several words of four bytes or more,
// in one pass. It looks at each four bytes in turn: a bit tells whether a word may
// begin with them.
type matcher struct {
	bits  [1 << 16 / 64]uint64
	words map[uint32][]string // by their first four bytes
}

// interesting is the matcher of words, in clear and in base64.
var interesting = sync.OnceValue(func() *matcher {
	all := slices.Clone(words)
	for _, word := range hidden {
		all = append(all, inBase64(word)...)
	}
	return newMatcher(all)
})

func newMatcher(words []string) *matcher {
	m := &matcher{words: make(map[uint32][]string, len(words))}
	for _, word := range words {
		first := binary.LittleEndian.Uint32([]byte(word))
		m.words[first] = append(m.words[first], word)
		at := bitOf(first)
		m.bits[at/64] |= 1 << (at % 64)
	}
	return m
}

// bitOf spreads four bytes over the bits.
func bitOf(four uint32) uint32 { return four * 2654435761 >> 16 }

// in tells whether a text has a word.
func (m *matcher) in(text []byte) bool {
	for i := 0; i+4 <= len(text); i++ {
		four := binary.LittleEndian.Uint32(text[i:])
		if at := bitOf(four); m.bits[at/64]&(1<<(at%64)) != 0 {
			for _, word := range m.words[four] {
				if len(word) <= len(text)-i && string(text[i:i+len(word)]) == word {
					return true
				}
			}
		}
	}
	return false
}

// isEscaped tells whether a text has an escape that could hide a word.
func isEscaped(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return false
		}
		switch text[i+1] {
		case 'x', 'u', 'U', '\n', '\r':
			return true
		}
		text = text[i+1:]
	}
}
