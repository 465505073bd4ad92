package sopsfile

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age/plugin"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/logging"
	"github.com/getsops/sops/v3/pgp"
	"github.com/getsops/sops/v3/shamir"
	"github.com/sirupsen/logrus"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/keyservice"
)

// key is one recipient of a file: what its entry in the sops section says.
type key struct {
	typ  string   // the list it stands in: "age", "pgp", "kms", …
	name []string // the fields that name it, in the order of keyFields[typ]
	// context is the encryption context of an AWS KMS key.
	context map[string]string
	created string // RFC 3339; empty for age
	wrapped string // the data key, or a part of it, encrypted to this key
	// parsed keeps the parsed recipient of an age key of a Policy.
	parsed *age.MasterKey
	x25519 *x25519Recipient // the same, if it is of that type
}

// keyTypes are the lists of the sops section, in the order in which sops
// itself sorts the keys of a group.
var keyTypes = []string{"kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "pgp", "age"}

// keyFields are the fields that name a key of each type.
var keyFields = map[string][]string{
	"kms":      {"arn", "role", "aws_profile"},
	"gcp_kms":  {"resource_id"},
	"hckms":    {"key_id"},
	"azure_kv": {"vault_url", "name", "version"},
	"hc_vault": {"vault_address", "engine_path", "key_name"},
	"pgp":      {"fp"},
	"age":      {"recipient"},
}

// String is the key as sops names it in messages.
func (k *key) String() string {
	switch k.typ {
	case "kms":
		s := k.name[0]
		if role := k.name[1]; role != "" {
			s += "+" + role
		}
		var pairs []string
		for _, name := range slices.Sorted(maps.Keys(k.context)) {
			pairs = append(pairs, name+":"+k.context[name])
		}
		profile := k.name[2]
		if len(pairs) > 0 || profile != "" {
			s += "|" + strings.Join(pairs, ",")
		}
		if profile != "" {
			s += "|" + profile
		}
		return s
	case "azure_kv":
		return k.name[0] + "/keys/" + k.name[1] + "/" + k.name[2]
	case "hc_vault":
		return k.name[0] + "/v1/" + k.name[1] + "/keys/" + k.name[2]
	}
	return k.name[0]
}

// namesOf are the keys of each group, as sops names them.
func namesOf(groups [][]key) [][]string {
	names := make([][]string, len(groups))
	for i, group := range groups {
		for j := range group {
			names[i] = append(names[i], group[j].String())
		}
	}
	return names
}

// is tells whether k, of a policy, is the key other, of a file. An Azure key
// without a version is any version of it.
func (k *key) is(other *key) bool {
	if k.typ != other.typ || len(k.context) != len(other.context) {
		return false
	}
	for name, v := range k.context {
		if o, ok := other.context[name]; !ok || o != v {
			return false
		}
	}
	if k.typ == "azure_kv" && k.name[2] == "" {
		return slices.Equal(k.name[:2], other.name[:2])
	}
	return slices.Equal(k.name, other.name)
}

// service is the key as its key service is asked for it.
func (k *key) service() keyservice.Key {
	return keyservice.Key{Type: k.typ, Name: k.name, Context: k.context}
}

// keyring wraps and unwraps data keys. It parses the age identities at hand
// once, and tries first the recipient that fitted last.
type keyring struct {
	mu         sync.Mutex // one at a time asks for the passphrase of an identity
	identities map[string]*age.MasterKey
	own        ownKeys
	ownOnce    sync.Once
	fitted     atomic.Pointer[string]
	azure      sync.Map // the version of an Azure key named without one
	services   keyservice.Client
}

// quiet stops the logs of the sops packages: they go to stderr, where they
// stand between our own messages.
var quiet = sync.OnceFunc(func() { logging.SetLevel(logrus.PanicLevel) })

// wrap encrypts part to the key and returns the entry for the file.
func (r *keyring) wrap(ctx context.Context, k *key, part []byte, now time.Time) (*key, error) {
	w := *k
	if k.x25519 != nil {
		var err error
		if w.wrapped, err = k.x25519.encrypt(part); err != nil {
			return nil, fmt.Errorf("encrypt the data key for %s: not a usable age recipient", k)
		}
		return &w, nil
	}
	if k.typ == "age" {
		m := age.MasterKey{Recipient: k.name[0]}
		if k.parsed != nil {
			m = *k.parsed
		}
		if err := m.Encrypt(part); err != nil {
			if name, _, err := plugin.ParseRecipient(k.name[0]); err == nil {
				if _, err := exec.LookPath("age-plugin-" + name); err != nil {
					return nil, fmt.Errorf("encrypt the data key for %s: age-plugin-%s is not in the PATH, which age needs for this recipient", k, name)
				}
			}
			return nil, fmt.Errorf("encrypt the data key for %s: not a usable age recipient", k)
		}
		w.wrapped = m.EncryptedKey
		return &w, nil
	}
	w.created = now.Format(time.RFC3339)
	if k.typ == "pgp" {
		m := pgp.MasterKey{Fingerprint: k.name[0]}
		if err := m.EncryptContext(ctx, part); err != nil {
			return nil, fmt.Errorf("encrypt the data key for %s: %w", k, said(err))
		}
		w.wrapped = m.EncryptedKey
		return &w, nil
	}
	if k.typ == "azure_kv" && k.name[2] == "" {
		version, err := r.azureVersion(ctx, k)
		if err != nil {
			return nil, fmt.Errorf("find the version of %s: %w", k, said(err))
		}
		w.name = []string{k.name[0], k.name[1], version}
	}
	wrapped, err := r.services.Ask(ctx, keyservice.Encrypt, w.service(), part)
	if err != nil {
		return nil, fmt.Errorf("encrypt the data key for %s: %w", k, said(err))
	}
	w.wrapped = string(wrapped)
	return &w, nil
}

func (r *keyring) azureVersion(ctx context.Context, k *key) (string, error) {
	id := k.String()
	if v, ok := r.azure.Load(id); ok {
		return v.(string), nil
	}
	version, err := r.services.Ask(ctx, keyservice.Version, k.service(), nil)
	if err != nil {
		return "", err
	}
	r.azure.Store(id, string(version))
	return string(version), nil
}

// wrapAll splits a data key among the groups and encrypts it to their keys.
func (r *keyring) wrapAll(ctx context.Context, groups [][]key, threshold int, dataKey []byte, now time.Time) ([][]key, error) {
	parts := [][]byte{dataKey}
	if len(groups) > 1 {
		var err error
		if parts, err = shamir.Split(dataKey, len(groups), threshold); err != nil {
			return nil, fmt.Errorf("split the data key among %d key groups with a threshold of %d: %w", len(groups), threshold, err)
		}
	}
	wrapped := make([][]key, len(groups))
	for i, group := range groups {
		for j := range group {
			w, err := r.wrap(ctx, &group[j], parts[i], now)
			if err != nil {
				return nil, err
			}
			wrapped[i] = append(wrapped[i], *w)
		}
	}
	return wrapped, nil
}

// unwrap recovers the data key, and of several groups the part of each group
// that gave one. With local it asks age identities only, and only for what the file
// says is for them.
func (r *keyring) unwrap(ctx context.Context, m *metadata, local bool) (dataKey []byte, parts [][]byte, err error) {
	dataKey, parts, _, err = r.unwrapBy(ctx, m, local)
	return dataKey, parts, err
}

// unwrapBy is unwrap, and names the recipients whose keys were at hand.
func (r *keyring) unwrapBy(ctx context.Context, m *metadata, local bool) (dataKey []byte, parts [][]byte, by []string, err error) {
	missing := &NoKeyError{Threshold: m.threshold, Groups: namesOf(m.groups)}
	parts = make([][]byte, len(m.groups))
	var got [][]byte
	for i, group := range m.groups {
		for _, k := range r.order(group) {
			if local && (k.typ != "age" || r.foreign(k)) {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, nil, nil, err
			}
			part, err := r.unwrapOne(ctx, k)
			if err == nil {
				parts[i] = part
				got, by = append(got, part), append(by, k.String())
				break
			}
			if ctx.Err() != nil {
				return nil, nil, nil, ctx.Err()
			}
			errors.As(err, &missing.unasked)
			missing.causes = append(missing.causes, err.Error())
		}
	}
	if len(m.groups) == 1 && len(got) == 1 {
		return got[0], parts, by, nil
	}
	if len(m.groups) == 1 || len(got) < max(m.threshold, 2) {
		missing.Found = len(got)
		var said []string
		said, missing.looked = r.searched(m)
		missing.causes = append(slices.Compact(missing.causes), said...)
		return nil, nil, nil, missing
	}
	dataKey, err = shamir.Combine(got)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("put the data key together from %d key groups: %w", len(got), err)
	}
	return dataKey, parts, by, nil
}

// order is that of sops, age before PGP before everything that costs a call
// over the network, with the recipient first that fitted last.
func (r *keyring) order(group []key) []*key {
	fitted := r.fitted.Load()
	rank := func(k *key) int {
		switch {
		case k.typ == "age" && fitted != nil && k.name[0] == *fitted:
			return 0
		case k.typ == "age":
			return 1
		case k.typ == "pgp":
			return 2
		}
		return 3
	}
	sorted := make([]*key, len(group))
	for i := range group {
		sorted[i] = &group[i]
	}
	slices.SortStableFunc(sorted, func(a, b *key) int { return cmp.Compare(rank(a), rank(b)) })
	return sorted
}

func (r *keyring) unwrapOne(ctx context.Context, k *key) ([]byte, error) {
	if k.typ == "age" {
		return r.unwrapAge(k)
	}
	var part []byte
	var err error
	if k.typ == "pgp" {
		m := pgp.MasterKey{Fingerprint: k.name[0], EncryptedKey: k.wrapped}
		part, err = m.DecryptContext(ctx)
	} else {
		part, err = r.services.Ask(ctx, keyservice.Decrypt, k.service(), []byte(k.wrapped))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k, said(err))
	}
	return part, nil
}

// errNoIdentity and errOtherIdentity keep back what the age packages say:
// their errors can quote a malformed private key or the command that prints it.
var (
	errNoIdentity    = errors.New("no age identity found")
	errOtherIdentity = errors.New("no age identity at hand fits")
)

func (r *keyring) unwrapAge(k *key) ([]byte, error) {
	r.mu.Lock()
	identities := r.load(k.name[0])
	if r.ownKeys().complete {
		r.mu.Unlock() // these ask for nothing
	} else {
		defer r.mu.Unlock()
	}
	if identities == nil {
		return nil, errNoIdentity
	}
	m := *identities
	m.EncryptedKey = k.wrapped
	part, err := m.Decrypt()
	if err != nil {
		return nil, errOtherIdentity
	}
	if last := r.fitted.Load(); last == nil || *last != k.name[0] {
		r.fitted.Store(&k.name[0])
	}
	return part, nil
}

// ownKeys are the recipients of the age identities at hand. complete tells that there
// is no other identity, such as that of a plugin or one behind a passphrase.
type ownKeys struct {
	recipients map[string]bool
	complete   bool
}

func (r *keyring) ownKeys() *ownKeys {
	r.ownOnce.Do(func() { r.own = ownKeysOf(KeySources()) })
	return &r.own
}

func ownKeysOf(sources []KeySource) ownKeys {
	own := ownKeys{recipients: make(map[string]bool), complete: true}
	for _, s := range sources {
		own.complete = own.complete && (s.Err != nil || s.whole)
		for _, recipient := range s.Recipients {
			own.recipients[recipient] = true
		}
	}
	return own
}

// foreign tells that none of the identities at hand is that of a recipient. Those of
// SSH keys open nothing for another kind of recipient.
func (r *keyring) foreign(k *key) bool {
	own := r.ownKeys()
	return own.complete && strings.HasPrefix(k.name[0], "age1") && !own.recipients[k.name[0]]
}

// load returns a master key that bears the identities sops finds, or nil when
// it finds none. Only a command is told the recipient, so without one the
// identities are the same for all.
func (r *keyring) load(recipient string) *age.MasterKey {
	if os.Getenv(age.SopsAgeKeyCmdEnv) == "" && os.Getenv(age.SopsAgeSshPrivateKeyCmdEnv) == "" {
		recipient = ""
	}
	if m, ok := r.identities[recipient]; ok {
		return m
	}
	// A master key loads the identities when it first decrypts, and keeps
	// them, whether or not there is anything to decrypt.
	m := &age.MasterKey{Recipient: recipient}
	if _, err := m.Decrypt(); err != nil && strings.HasPrefix(err.Error(), "failed to load age identities") {
		m = nil
	}
	if r.identities == nil {
		r.identities = map[string]*age.MasterKey{}
	}
	r.identities[recipient] = m
	return m
}

// searched tells where age identities were looked for, whose stand there, and, if
// none do, where there could be one.
func (r *keyring) searched(m *metadata) (said []string, looked bool) {
	if !slices.ContainsFunc(m.groups, func(g []key) bool {
		return slices.ContainsFunc(g, func(k key) bool { return k.typ == "age" })
	}) {
		return nil, false
	}
	wrong, whose := make(map[string]error), make(map[string]string) // by variable or path
	for _, s := range KeySources() {
		wrong[s.Name], whose[s.Name] = s.Err, holderOf(s.Recipients)
	}
	const unset = "which is empty"
	var found, empty []string
	for _, env := range []string{
		age.SopsAgeKeyEnv, age.SopsAgeKeyFileEnv, age.SopsAgeKeyCmdEnv,
		age.SopsAgeSshPrivateKeyFileEnv, age.SopsAgeSshPrivateKeyCmdEnv,
	} {
		v, ok := os.LookupEnv(env)
		switch {
		case !ok:
			empty = append(empty, env)
		case strings.HasSuffix(env, "_FILE"):
			if v == "" {
				v = unset
			} else if _, err := os.Stat(v); err != nil {
				v += ", which cannot be read"
			} else if err := wrong[env]; err != nil {
				v += ", which gives no key: " + err.Error()
			}
			found = append(found, fmt.Sprintf("%s (%s%s)", env, v, whose[env]))
		case wrong[env] != nil:
			found = append(found, fmt.Sprintf("%s (which gives no key: %v)", env, wrong[env]))
		default:
			found = append(found, env+whose[env])
		}
	}
	var files []string
	if dir, err := os.UserConfigDir(); err == nil {
		files = append(files, filepath.Join(dir, filepath.FromSlash(age.SopsAgeKeyUserConfigPath)))
	}
	if home, err := os.UserHomeDir(); err == nil {
		files = append(files, filepath.Join(home, ".ssh", "id_ed25519"), filepath.Join(home, ".ssh", "id_rsa"))
	}
	for _, file := range files {
		if _, err := os.Stat(file); err == nil {
			found = append(found, file+whose[file])
		} else {
			empty = append(empty, file)
		}
	}
	if len(found) > 0 {
		said = append(said, "looked in "+strings.Join(found, ", "))
	}
	if looked = slices.ContainsFunc(found, func(s string) bool { return !strings.HasSuffix(s, "("+unset+")") }); looked {
		return said, true
	}
	return append(said, "nothing in "+strings.Join(empty, ", ")), false
}

// holderOf says whose private keys a place holds.
func holderOf(recipients []string) string {
	const most = 3
	switch n := len(recipients); {
	case n == 0:
		return ""
	case n == 1:
		return ", the key of " + recipients[0]
	case n > most:
		return fmt.Sprintf(", the keys of %s and %d more", strings.Join(recipients[:most], ", "), n-most)
	}
	return ", the keys of " + strings.Join(recipients, ", ")
}

// said is the first line of what a key service or gpg says. They are asked about wrapped
// keys and never see a value of the document. That there is nobody to ask, or that the run
// was interrupted, stays the error it is.
func said(err error) error {
	if missing := (*helper.MissingError)(nil); errors.As(err, &missing) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	text, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	if len(text) > 400 {
		text = strings.ToValidUTF8(text[:400], "") + "…"
	}
	return errors.New(text)
}
