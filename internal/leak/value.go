package leak

import (
	"encoding/base64"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// shortest is the length below which no text is a credential that could be told
// by itself.
const shortest = 16

// longestKey is the length above which no key says anything.
const longestKey = 100

// class is what a key says of its value.
type class int

const (
	classNone class = iota
	classToken
	classBearer
	classPassword
	classKey
	classSecret // of a client or of a cloud's account
)

// classOf tells by its last word what a key holds: west_token, apiToken and
// TOKEN hold a token, tokenTTL and token-secret do not.
func classOf(key string) class {
	if len(key) < 3 || len(key) > longestKey {
		return classNone
	}
	key = strings.ToLower(key)
	for _, suffix := range []string{"_unencrypted", "_b64", "_base64", "-base64", "-b64"} {
		key = strings.TrimSuffix(key, suffix)
	}
	if key == "" {
		return classNone
	}
	switch key[len(key)-1] {
	case 't', 'y':
		for _, name := range []string{"client_secret", "client-secret", "clientsecret", "secret_access_key", "secret-access-key", "secretaccesskey"} {
			if strings.HasSuffix(key, name) {
				return classSecret
			}
		}
	case 'n':
		if head, ok := strings.CutSuffix(key, "token"); ok {
			return tokenClass(strings.TrimRight(head, "-_. "))
		}
	case 'd':
		if strings.HasSuffix(key, "password") || strings.HasSuffix(key, "passwd") {
			return classPassword
		}
	case 'a':
		if key == "client-key-data" || key == "keydata" || key == "clientkeydata" || key == "client_key_data" {
			return classKey
		}
	}
	return classNone
}

// SecretName tells by the name of a field that what stands in it is taken for a secret. It
// is for who hides values, or looks for copies of them: there it does no harm to take one
// too many. What this package reports it judges by classOf, which must not accuse
// anybody wrongly.
func SecretName(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"token", "password", "passwd", "passphrase", "keydata", "key-data"} {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	if before, ok := strings.CutSuffix(name, "key"); ok {
		before = withoutDash(before)
		for _, whose := range []string{"private", "api", "secret"} {
			if strings.HasSuffix(before, whose) {
				return true
			}
		}
		before, ok = strings.CutSuffix(before, "access")
		return ok && strings.HasSuffix(withoutDash(before), "secret")
	}
	before, ok := strings.CutSuffix(name, "secret")
	return ok && strings.HasSuffix(withoutDash(before), "client")
}

// withoutDash takes a dash or underscore from the end of a part of a name.
func withoutDash(s string) string {
	if n := len(s); n > 0 && (s[n-1] == '-' || s[n-1] == '_') {
		return s[:n-1]
	}
	return s
}

// tokenClass tells by the word before "token" what kind of token a key holds.
func tokenClass(before string) class {
	if strings.HasSuffix(before, "bearer") {
		return classBearer
	}
	for _, other := range []string{"page", "next", "request", "csrf", "xsrf", "sync", "continue", "continuation", "cancellation", "delta"} {
		if strings.HasSuffix(before, other) {
			return classNone // it opens nothing
		}
	}
	return classToken
}

// isSecretFor tells by the name of a variable or flag of an exec plugin, and by its
// value, that the value is a secret: AWS_SECRET_ACCESS_KEY and client-secret are,
// AWS_ACCESS_KEY_ID, token-file and a path are not.
func isSecretFor(name, value string) bool {
	name = strings.ToLower(name)
	if !isSet(value, false) || isFile(value) {
		return false
	}
	for _, verb := range []string{"use-", "force-", "skip-", "no-", "public-", "public_"} {
		if strings.HasPrefix(name, verb) {
			return false
		}
	}
	for _, word := range []string{"secret", "token", "password", "passwd", "passphrase"} {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	for _, word := range []string{"key", "credential", "credentials", "pass", "pwd", "pat"} {
		if before, ok := strings.CutSuffix(name, word); ok && !strings.HasSuffix(strings.TrimRight(before, "-_"), "public") {
			return (isSecret(value) || isPassword(value)) && !strings.HasPrefix(value, "AKIA") && !strings.HasPrefix(value, "ASIA")
		}
	}
	return false
}

// isFile tells whether a value is the path of a file, made of words.
func isFile(value string) bool {
	return (strings.HasPrefix(value, "/") || strings.HasPrefix(value, "~/") || strings.HasPrefix(value, "./") || strings.HasPrefix(value, "../")) && isWordy(value)
}

// isSet tells whether a value, in a place that is made for a credential, is one:
// not a reference, a placeholder or a sentence. spaces says that a credential
// may have one.
func isSet(value string, spaces bool) bool {
	value = strings.TrimSpace(value)
	if value == "" || strings.HasPrefix(value, "ENC[") || isReference(value) || isPlaceholder(value) {
		return false
	}
	n := len(strings.Fields(value))
	if strings.Contains(value, "-----BEGIN ") {
		return !strings.Contains(value, "-----BEGIN CERTIFICATE-----") || strings.Contains(value, "PRIVATE KEY")
	}
	return n == 1 || spaces && n == 2
}

var reference = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(strings.Join([]string{
		`^[a-z][a-z0-9+.-]*://`, // op://, ref+vault://, a URL
		`^(?i:vault|bao|env|file|ssm|secretsmanager|gsm|akv|azurekeyvault|keyvault|arn|gcp|aws|sm|awssm|sops|secret|k8s|doppler|bws|pass|gopass|infisical|conjur|keeper|ref|secretref|secretkeyref|configmapkeyref|valueFrom|projects|lookup|akeyless|bitwarden|1password|onepassword|lastpass|hcvault|hashivault|keychain|keyring)[:/]`,
		`^>>\w+:`, // bank-vaults
		`^[\w-]+/data/[\w./-]+#[\w.-]+$`,
		`<[^<>]*>|\$\{[^}]*\}|\$\([^)]*\)|\{\{|\}\}|^\$[A-Za-z_][\w.:]*$|%%|^%[^%\s]+%$|^@[\w.@-]+@$|^@[\w.]+\(|^__[\w.-]+__$|^#\{[^}]*\}#?|^\(\(.*\)\)$|^\[.*\]$`,
		`^\$__\w+\{[^}]*\}$`, // Grafana
		`^%\([^)]*\)s$|^[%~]\{[^}]*\}$|^&[\w.#-]+;$|^_[A-Z0-9_]+_$|^\*+\w+\*+$`,
		`^\{(?i:cipher|aes\d*|3?des3?|vault)\}|^ENC\(.*\)$|^Ag[A-Z][A-Za-z0-9+/]{400,}={0,2}$`, // Spring, Jasypt, WildFly, kubeseal
		`^@(\.{0,2}/|[\w./-]+\.(txt|token|json|key|pem)$)|^[A-Za-z]:\\`,                        // a file
		`^/(run|var|etc|home|opt|tmp|mnt|root|usr|srv|Users|vault|secrets?)/[\w./-]+$`,         // a file, too
		`^\$ANSIBLE_VAULT|^!\w|^AQICAH|^data\.|^var\.|^local\.|^secrets\.|^file\(|^\$?\.(Values|Release|Chart|Capabilities|Files|Env)\.`,
		`^(module|each|dependency|[a-z0-9]+(_[A-Za-z0-9]+)+)(\.[A-Za-z_]\w{0,63}|\.\d{1,2}|\[[^\[\]]*\]){2,}$`, // of Terraform
		`^\$\w+[.\[]|^(os|process|env|config|self|this|cfg|args|opts|ctx)[.(\[]|\(\)?$|\.\.\.|…`,
		`^[A-Za-z_][\w.]*\[\w+\]$`, // an element of a list
		`^[A-Za-z_][\w.]*[(\[]\s*["'].*["']\s*\)?[)\]]$|^(non)?sensitive\(|^[a-z]+\(file\(`, // a call
	}, "|"))
})

// isReference tells whether a value names the place of a credential, or is a
// template for it.
func isReference(value string) bool {
	return !isPlain(value) && reference().MatchString(value) || isPath(value)
}

// isPlain tells whether a value has nothing of what the pattern of references looks
// for: it is base64, a JWT or PEM. The pattern alone takes as long for such a value as
// all the rest.
func isPlain(value string) bool {
	const longest = len("secretsmanager") // what a reference may begin with
	if len(value) <= longest || strings.HasPrefix(value, "AQICAH") || strings.HasPrefix(value, "Ag") || value[0] == '_' {
		return false
	}
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '+', c == '=', c == '-', c == '_':
		case c == ' ' || c == '\n':
		case c == '/' && i > longest:
		case c == '.' && i > longest && strings.HasPrefix(value, "eyJ"): // a JWT
		default:
			return false
		}
	}
	return !strings.Contains(value, "...")
}

// isPath tells whether a value is the path of a file, in lower case as almost
// all are.
func isPath(value string) bool {
	if !strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "./") && !strings.HasPrefix(value, "../") && !strings.HasPrefix(value, "~/") {
		return false
	}
	for i := range len(value) {
		switch c := value[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', strings.IndexByte("/.~-_", c) >= 0:
		default:
			return false
		}
	}
	return true
}

var placeholder = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(<.*>|redacted|data\+omitted|replace[-_ ]?me|change[-_ ]?(me|it|this|me[-_ ]?now)|todo|tbd|fixme|none|null|nil|n/?a|undefined|unset|empty|true|false|placeholder|dummy|example|secret[-_ ]?here|token[-_ ]?here|["'~x*.#_?0-]+|hidden|masked|removed|filtered|omitted|abcdef\.0123456789abcdef|to[-_ ]be[-_ ]\w+|(see|from|in|via|use)[-_ ](vault|ci|env|environment|pipeline|1password|sops|kms|secrets?)|(set|filled|managed|injected|provided|replaced|populated|generated|created|overridden)[-_ ](by|in|at|from|via|with)[-_ ][\w -]+|(your|my|the|some|an?|insert|put|enter|add|fill|replace|paste|use|set|provide)([-_ .](your|my|the|a|an|own|real|actual|secret|token|password|bearer|service|account|cluster|api|key|here|with|in|example|name|value|admin|user|for|of|destination|source|west|east|dr|me|this|here))+|(token|password|secret)[-_ .](placeholder|here|goes[-_ .]here|value|example)|example[-_ .](token|password|secret|value))[.!]*$`)
})

// isPlaceholder tells whether a value is to be filled in by somebody else.
func isPlaceholder(value string) bool {
	return strings.Contains(value, "xxxxx") || strings.Contains(value, "XXXXX") || placeholder().MatchString(value)
}

// isHash tells whether a value is the hash of a password, as of htpasswd or
// /etc/shadow, or a digest.
func isHash(value string) bool {
	for _, prefix := range []string{"$2a$", "$2b$", "$2y$", "$apr1$", "$argon2", "$1$", "$5$", "$6$", "$y$", "$pbkdf2", "$scrypt", "{SHA", "{SSHA", "{CRYPT", "pbkdf2", "SCRAM-SHA-", "sha256:", "sha512:", "sha1:", "md5:", "sha256-", "sha384-", "sha512-"} {
		if strings.HasPrefix(value, prefix) {
			return true
		}
	}
	return strings.Contains(value, ":$2y$") || strings.Contains(value, ":$2a$") || strings.Contains(value, ":$apr1$") || strings.Contains(value, ":$2b$") || strings.Contains(value, ":{SHA}")
}

// isKeyData tells whether a value can be a private key, encoded or not.
func isKeyData(value string) bool {
	if i := strings.Index(value, "PRIVATE KEY"); i >= 0 {
		start, _ := privateKey(value, i)
		return start >= 0
	}
	value = strings.TrimSpace(value)
	if isReference(value) || isPlaceholder(value) || len(value) < 40 {
		return false
	}
	if lines := strings.Fields(value); len(lines) > 1 && len(lines[0]) < 32 {
		return false // it is a sentence
	}
	decoded, ok := decode(value)
	if ok {
		return !strings.Contains(decoded, "CERTIFICATE-----") && isKeyData(decoded)
	}
	return isBase64(value)
}

// fakeWords are in values that somebody has made up.
var fakeWords = []string{"example", "dummy", "placeholder", "changeme", "change-me", "change_me", "replace", "your-", "your_", "redacted", "sample-", "fake-", "fake_", "notreal", "not-real", "insecure", "0123456789", "1234567890", "123456789a", "abcdefgh", "deadbeef", "lorem"}

func isFake(value string) bool {
	lower := strings.ToLower(value)
	for _, word := range fakeWords {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return isCrossed(value, 'x') || isCrossed(value, 'X') || isPlaceholder(value)
}

// isCrossed tells whether somebody has written a row of one letter over a part of a
// value: five of them, or four that begin or end the part. Four within a part are drawn
// by chance in one of some 200,000 tokens.
func isCrossed(value string, letter byte) bool {
	row := 0
	for i := 0; i <= len(value); i++ {
		if i < len(value) && value[i] == letter {
			row++
			continue
		}
		start := i - row
		if row >= 5 || row == 4 && (start == 0 || !isAlnum(value[start-1]) || i == len(value) || !isAlnum(value[i])) {
			return true
		}
		row = 0
	}
	return false
}

var uuid = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^\{?[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\}?$`)
})

// isOpaque tells whether a value looks as if drawn at random, as a token does:
// at least sixteen letters and digits in parts that are no words.
func isOpaque(value string) bool {
	value = strings.TrimSpace(value)
	if len(value) < shortest || len(value) > 8192 || isHash(value) || uuid().MatchString(value) {
		return false
	}
	random, start := 0, 0
	var seen [256]bool
	distinct := 0
	for i := 0; i <= len(value); i++ {
		if i < len(value) {
			c := value[i]
			if !seen[c] {
				seen[c], distinct = true, distinct+1
			}
			if isAlnum(c) {
				continue
			}
			if strings.IndexByte("-_./+=:~", c) < 0 {
				return false
			}
		}
		if part := value[start:i]; isRandom(part) {
			random += len(part)
		}
		start = i + 1
	}
	return random >= shortest && distinct >= 8 && !isReference(value) && !isFake(value)
}

// isToken tells whether a value, where a token is to stand, is one: it is opaque or a
// UUID, as those of Consul and Nomad are.
func isToken(value string) bool {
	value = strings.TrimSpace(value)
	return isOpaque(value) || uuid().MatchString(value) && distinct(value) >= 8 && !isFake(value)
}

// isRandom tells whether a part of a value is no word: it mixes digits with
// letters, or capitals with small letters as no writing does.
func isRandom(part string) bool {
	if len(part) < 4 {
		return false
	}
	var digits, upper, lower, turns int
	for i := range len(part) {
		switch c := part[i]; {
		case c <= '9':
			digits++
			if i > 0 && part[i-1] > '9' {
				turns++
			}
		case c <= 'Z':
			upper++
			if i > 0 && (part[i-1] >= 'a') {
				turns++
			}
		default:
			lower++
			if i > 0 && part[i-1] <= '9' {
				turns++
			}
		}
	}
	if digits > 0 && digits < len(part) {
		return len(part) < 10 || turns >= 2 || digits*4 >= len(part)
	}
	return upper > 1 && lower > 1 && turns*6 >= len(part)
}

// isSecret tells whether a value, where the secret of a client or of an account is to
// stand, is one: it is opaque, or has the length and the letters of an AWS secret
// access key, which a plus or slash may cut into parts too short to tell by.
func isSecret(value string) bool {
	value = strings.TrimSpace(value)
	if isOpaque(value) {
		return !isPath(value)
	}
	const awsLength = 40
	return len(value) == awsLength && isBase64(value) && !strings.ContainsAny(value, "-_= \t\r\n") && strings.ToLower(value) != value &&
		strings.ToUpper(value) != value && !isReference(value) && !isFake(value)
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// isWordy tells whether a value is made of words.
func isWordy(value string) bool {
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool { return strings.ContainsRune("-_./: ", r) }) {
		if isRandom(part) && len(part) > 6 {
			return false
		}
	}
	return true
}

// isPassword tells whether a value may be a password, where a user's name stands
// beside it: eight characters of several kinds, and nothing made up.
func isPassword(value string) bool {
	if len(value) < 8 || len(value) > 256 || strings.ContainsAny(value, " \t\n") || isHash(value) || isReference(value) {
		return false
	}
	var letters, digits, signs int
	var seen [256]bool
	distinct := 0
	for i := range len(value) {
		c := value[i]
		if !seen[c] {
			seen[c], distinct = true, distinct+1
		}
		switch {
		case '0' <= c && c <= '9':
			digits++
		case isAlnum(c):
			letters++
		case strings.IndexByte("-_./:", c) < 0:
			signs++
		}
	}
	lower := strings.ToLower(value)
	return letters > 0 && (digits > 0 || signs > 0) && distinct >= 5 && !isFake(value) &&
		!strings.Contains(lower, "password") && !strings.Contains(lower, "passwd") && !strings.Contains(lower, "secret") && !strings.Contains(lower, "admin")
}

// decode decodes base64, of either alphabet, with or without padding and line
// breaks. It is not ok if the result is no text.
func decode(value string) (string, bool) {
	if len(value) < 8 || !isBase64Prefix(value) {
		return "", false
	}
	compact := strings.TrimSpace(value)
	if strings.ContainsAny(compact, "\n\r\t ") {
		compact = strings.Join(strings.Fields(compact), "")
	}
	compact = strings.TrimRight(compact, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(compact, "-_") {
		encoding = base64.RawURLEncoding
	}
	if len(compact) > 256 { // most are binary, or no base64
		if head, err := encoding.DecodeString(compact[:128]); err != nil || !isText(cutRune(head)) {
			return "", false
		}
	}
	decoded, err := encoding.DecodeString(compact)
	if err != nil || len(decoded) == 0 || !isText(decoded) {
		return "", false
	}
	return strings.TrimPrefix(string(decoded), "\ufeff"), true
}

// isBase64Prefix looks at the first characters.
func isBase64Prefix(value string) bool {
	for i := range min(len(value), 24) {
		if c := value[i]; !isAlnum(c) && c != '+' && c != '/' && c != '-' && c != '_' && c != '=' && c != '\n' && c != '\r' {
			return false
		}
	}
	return true
}

func isBase64(value string) bool {
	for i := range len(value) {
		if c := value[i]; !isAlnum(c) && strings.IndexByte("+/-_=\n\r \t", c) < 0 {
			return false
		}
	}
	return true
}

// cutRune leaves out a rune that is cut off at the end.
func cutRune(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// isText tells whether bytes are a text: UTF-8 without control characters.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}
