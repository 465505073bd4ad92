package leak

import (
	"encoding/base64"
	"slices"
	"strings"
)

// isMadeUp tells whether a person has made a value up for an example, a test or a first
// try: it consists of words, or is base64 of such a value. What a program
// draws at random is not made up.
func isMadeUp(value string) bool {
	value = strings.TrimSpace(value)
	if strings.HasPrefix(value, "eyJ") && strings.Count(value, ".") == 2 {
		return false // a JSON Web Token: whether its signature holds only the issuer can tell
	}
	for range 2 {
		decoded, ok := decode(value)
		if !ok {
			break
		}
		value = strings.TrimSpace(decoded)
	}
	return isWords(value)
}

// isPublished tells whether a value is that of a user in the documentation of Kubernetes,
// which people copy.
// https://kubernetes.io/docs/tasks/access-application-cluster/configure-access-multiple-clusters/
func isPublished(value string) bool {
	return slices.Contains([]string{"blue-token", "green-token", "some-password"}, strings.TrimSpace(value))
}

// isWords tells whether a value consists of words, some of which say that it is made up
// if there are digits among them.
func isWords(value string) bool {
	if len(value) > longestMadeUp || strings.Contains(value, "\n") {
		return false
	}
	covered := coveredByWords(value)
	words := slices.Contains(covered, true)
	for _, part := range partsOf(value, covered) {
		switch kindOf(part) {
		case drawnPart:
			return false
		case numberPart:
			if len(part) >= 8 {
				return false
			}
		}
	}
	return words || len(value) < 4 || !strings.ContainsAny(value, "0123456789")
}

// longestMadeUp is the length above which nobody makes a value up.
const longestMadeUp = 80

// partKind is what a part of a value is.
type partKind int

const (
	drawnPart partKind = iota
	wordPart
	numberPart
)

// kindOf tells words, whose letters are of one case but for the first, from the rest.
func kindOf(part string) partKind {
	var upper, lower, digits, vowels int
	for i := range len(part) {
		switch c := part[i]; {
		case c <= '9':
			digits++
		case c <= 'Z':
			upper++
		default:
			lower++
		}
		if strings.IndexByte("aeiouyAEIOUY", part[i]) >= 0 {
			vowels++
		}
	}
	switch {
	case digits == len(part):
		return numberPart
	case len(part) < 4: // such as K8s
		return wordPart
	case len(part) > 24:
		return drawnPart
	case upper > 1 && lower > 0 && digits < 3 && isCamelCase(part): // such as BrokerK8sServer
		return wordPart
	case digits > 0 && (digits > 3 || len(part)-digits < 3 || strings.TrimRight(part, "0123456789") != part[:len(part)-digits]):
		return drawnPart
	case upper > 1 && lower > 0, len(part) > 3 && vowels*6 < len(part):
		return drawnPart
	}
	return wordPart
}

// isCamelCase tells whether a part is several words, each of which begins with a capital:
// in what is drawn at random the capitals stand closer.
func isCamelCase(part string) bool {
	start, humps := 0, 1
	for i := 1; i < len(part); i++ {
		if 'A' <= part[i] && part[i] <= 'Z' {
			if i-start < 2 && start > 0 {
				return false
			}
			start, humps = i, humps+1
		}
	}
	return len(part) >= 3*humps
}

// partsOf are the parts of a value between the signs and what words cover.
func partsOf(value string, covered []bool) []string {
	var parts []string
	start := 0
	for i := 0; i <= len(value); i++ {
		if i < len(value) && isAlnum(value[i]) && !covered[i] {
			continue
		}
		if i > start {
			parts = append(parts, value[start:i])
		}
		start = i + 1
	}
	return parts
}

// coveredByWords tells of each letter of a value whether it is part of one of the words
// that people put into what they make up, in whatever case, with digits and signs for
// letters or not.
func coveredByWords(value string) []bool {
	covered := make([]bool, len(value))
	plain := strings.ToLower(value)
	for _, text := range []string{plain, leet.Replace(plain)} {
		if len(text) != len(value) { // ToLower may change the length of what is no ASCII
			continue
		}
		for _, word := range madeUpWords {
			each(text, word, func(i int) int {
				for j := range len(word) {
					covered[i+j] = true
				}
				return i + 1
			})
		}
	}
	return covered
}

// leet are the letters that digits and signs stand for.
var leet = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// madeUpWords are words of which two or three letters of a drawn value are not likely to
// make one by chance.
var madeUpWords = []string{"password", "passwd", "passw", "pass", "secret", "token", "admin", "test", "demo", "example", "sample",
	"dummy", "fake", "mock", "change", "default", "user", "root", "super", "placeholder", "update", "replace", "insert", "value",
	"access", "private", "public", "client", "service", "account", "credential", "bearer", "webhook", "github", "gitlab",
	"mysql", "postgres", "mongo", "redis", "minio", "rabbit", "grafana", "keycloak", "cluster", "abcd", "123", "1f2d1e2e67df", "qwerty", "hello",
	"world", "foobar", "invalid", "valid", "staging", "string", "number", "json", "yaml", "base64", "kube", "config", "current", "target"}

// isKey tells whether the body of a private key, between the lines with its label, is
// one, whole. A body that was shortened or invented for an example opens nothing.
func isKey(label, body string) bool {
	if strings.Contains(body, "...") || strings.Contains(body, "…") || strings.Contains(body, ". . .") {
		return false
	}
	for _, before := range []string{" \t\r\n#*\"'`,;>|", " \t\r\n/+"} { // the lines: comments and quotations, comments of Go, a diff
		text, headers := keyText(body, before)
		if len(text) < 40 || distinct(text) <= 8 {
			return false
		}
		switch {
		case strings.Contains(label, "PGP"), headers: // its encryption leaves nothing to tell it by
			return true
		case strings.HasPrefix(text, "b3BlbnNzaC1rZXktdjE"), strings.HasPrefix(text, "eyJ"): // OpenSSH, Sigstore
			return true
		}
		if der, _ := base64.RawStdEncoding.DecodeString(text[:len(text)/4*4]); isWholeDER(der) {
			return true
		}
	}
	return false
}

// keyText is the base64 in the body of a key, whose lines may have some of the letters of
// before in front of them, and whether headers of PEM or armor come first.
func keyText(body, before string) (text string, headers bool) {
	var b strings.Builder
	body = strings.NewReplacer(`\r`, "\n", `\n`, "\n", `\t`, "\n").Replace(body)
	for line := range strings.Lines(body) {
		if strings.Contains(line, ": ") && (strings.Contains(line, "Proc-Type") || strings.Contains(line, "DEK-Info") || strings.Contains(line, "Version") || strings.Contains(line, "Comment")) {
			headers = true
			continue
		}
		line = strings.TrimLeft(line, before)
		if i := strings.IndexFunc(line, func(r rune) bool { return r > 127 || !isAlnum(byte(r)) && r != '+' && r != '/' }); i >= 0 {
			line = line[:i]
		}
		b.WriteString(line)
	}
	return b.String(), headers
}

// isWholeDER tells whether bytes begin with a sequence of ASN.1 whose end is there, but
// for the last bytes, which the decoding of base64 without padding may have lost.
func isWholeDER(der []byte) bool {
	if len(der) < 4 || der[0] != 0x30 {
		return false
	}
	length := int(der[1])
	switch header := 2; {
	case length < 0x80:
		return len(der)+2 >= header+length
	case length == 0x81:
		return len(der)+2 >= header+1+int(der[2])
	case length == 0x82:
		return len(der)+2 >= header+2+int(der[2])<<8+int(der[3])
	}
	return false
}
