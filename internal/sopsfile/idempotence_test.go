package sopsfile_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterpair.dev/internal/sopsfile"
)

const pairText = `apiVersion: stork.libopenstorage.org/v1alpha1
kind: ClusterPair
metadata:
  annotations:
    clusterpair.dev/plaintext-digest: sha256-aaaa
  name: remotecluster
spec:
  config:
    clusters:
      west:
        server: https://west.example.com:6443
    contexts: [a, a, b]
    users:
      admin:
        token: first-token
  options: {}
`

var pairSelector = sopsfile.Selector{EncryptedRegex: "^(config|token)$"}

// clock is a time that a test sets forward.
type clock struct{ t time.Time }

func newClock() *clock { return &clock{time.Date(2026, 11, 22, 10, 0, 0, 987654321, time.UTC)} }

func (c *clock) now() time.Time { return c.t }

// real sets it to the time of the machine, by which other programs date files.
func (c *clock) real() { c.t = time.Now() }

// changedLines are the lines of b that do not stand in a at the same place.
func changedLines(a, b []byte) []string {
	x, y := strings.Split(string(a), "\n"), strings.Split(string(b), "\n")
	var changed []string
	for i := range y {
		if i >= len(x) || x[i] != y[i] {
			name, _, _ := strings.Cut(strings.TrimSpace(y[i]), ":")
			changed = append(changed, name)
		}
	}
	return changed
}

type run struct {
	t      *testing.T
	safe   *sopsfile.Safe
	clock  *clock
	policy *sopsfile.Policy
	opts   sopsfile.EncryptOptions
}

func (r *run) encrypt(text string, prev []byte) ([]byte, sopsfile.Change) {
	r.t.Helper()
	out, change, err := r.safe.Encrypt(r.t.Context(), parse(r.t, text), prev, r.policy, r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	r.clock.t = r.clock.t.Add(time.Hour)
	return out, change
}

func newRun(t *testing.T, recipients ...string) *run {
	c := newClock()
	r := &run{t: t, safe: sopsfile.New(c.now), clock: c}
	if len(recipients) > 0 {
		r.policy = agePolicy(t, pairSelector, true, 0, recipients...)
	}
	return r
}

func TestUnchanged(t *testing.T) {
	r := newRun(t, identity(t), stranger(t))
	first, change := r.encrypt(pairText, nil)
	if change.Kind != sopsfile.Created {
		t.Errorf("first: %v", change)
	}
	if !bytes.Contains(first, []byte(`lastmodified: "2026-11-22T10:00:00Z"`)) {
		t.Errorf("lastmodified is not the clock in whole seconds:\n%s", first)
	}
	second, change := r.encrypt(pairText, first)
	if change.Kind != sopsfile.Unchanged || change.Reason != "" || !bytes.Equal(first, second) {
		t.Errorf("second: %v", change)
	}
}

// A changed value changes its line, lastmodified and mac, nothing else.
func TestOneValueChanged(t *testing.T) {
	r := newRun(t, identity(t), stranger(t))
	first, _ := r.encrypt(pairText, nil)
	second, change := r.encrypt(strings.Replace(pairText, "first-token", "other-token", 1), first)
	if change.Kind != sopsfile.Updated || change.Reason != "spec.config.users.admin.token has changed" {
		t.Errorf("change %v", change)
	}
	if got, want := changedLines(first, second), []string{"lastmodified", "mac", "token"}; !slices.Equal(got, want) {
		t.Errorf("changed lines %q, want %q", got, want)
	}
	if _, err := sopsDecrypt(second); err != nil {
		t.Error(err)
	}
	back, _ := r.encrypt(pairText, second)
	if bytes.Contains(back, []byte(lineOf(first, "token:"))) {
		t.Error("an old ciphertext came back: IVs must be fresh")
	}
}

func lineOf(file []byte, prefix string) string {
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(strings.TrimSpace(line), prefix) {
			return line
		}
	}
	return "no line " + prefix
}

func TestClearValueChanged(t *testing.T) {
	r := newRun(t, identity(t))
	first, _ := r.encrypt(pairText, nil)
	second, change := r.encrypt(strings.Replace(pairText, "name: remotecluster", "name: other", 1), first)
	if change.Kind != sopsfile.Updated || change.Reason != "metadata.name has changed" {
		t.Errorf("change %v", change)
	}
	if got, want := changedLines(first, second), []string{"name", "lastmodified", "mac"}; !slices.Equal(got, want) {
		t.Errorf("changed lines %q, want %q", got, want)
	}
}

func TestRecipients(t *testing.T) {
	mine, other := identity(t), stranger(t)
	r := newRun(t, mine)
	first, _ := r.encrypt(pairText, nil)

	r.policy = agePolicy(t, pairSelector, true, 0, mine, other)
	added, change := r.encrypt(pairText, first)
	if change.Kind != sopsfile.Updated || change.Reason != other+" is a new recipient" {
		t.Errorf("added: %v", change)
	}
	if lineOf(added, "token:") != lineOf(first, "token:") {
		t.Error("a new recipient changed the ciphertexts")
	}
	if wrap := wrapped(t, first, mine); wrapped(t, added, mine) != wrap {
		t.Error("a new recipient changed the wrapped key of the old one")
	}

	r.policy = agePolicy(t, pairSelector, true, 0, mine)
	removed, change := r.encrypt(pairText, added)
	if change.Kind != sopsfile.Rekeyed || change.Reason != other+" is no recipient any more" {
		t.Errorf("removed: %v", change)
	}
	for _, line := range []string{"token:", "server:", "mac:"} {
		if lineOf(removed, line) == lineOf(added, line) {
			t.Errorf("%s survived the removal of a recipient", line)
		}
	}
	if wrapped(t, removed, mine) == wrapped(t, added, mine) {
		t.Error("the data key survived the removal of a recipient")
	}

	// The order of the recipients is no difference.
	r.policy = agePolicy(t, pairSelector, true, 0, other, mine)
	if _, change := r.encrypt(pairText, added); change.Kind != sopsfile.Unchanged {
		t.Errorf("reordered: %v", change)
	}
}

// wrapped is the entry of an age recipient.
func wrapped(t *testing.T, file []byte, recipient string) string {
	t.Helper()
	_, before, ok := strings.Cut(string(file), "sops:")
	before, _, ok2 := strings.Cut(before, "recipient: "+recipient)
	if !ok || !ok2 {
		t.Fatalf("no recipient %s", recipient)
	}
	return before[strings.LastIndex(before, "- enc:"):]
}

// With public recipients only, the clear part of a sealed document decides.
func TestSealedWithoutKey(t *testing.T) {
	environment(t)
	r := newRun(t, stranger(t))
	r.opts.Sealed = true
	first, _ := r.encrypt(pairText, nil)
	same, change := r.encrypt(pairText, first)
	if change.Kind != sopsfile.Unchanged || !bytes.Equal(first, same) {
		t.Errorf("same: %v", change)
	}
	changed := strings.NewReplacer("sha256-aaaa", "sha256-bbbb", "first-token", "other-token").Replace(pairText)
	second, change := r.encrypt(changed, first)
	if change.Kind != sopsfile.Rekeyed || change.NoKey != nil {
		t.Errorf("changed: %v", change)
	}
	if lineOf(first, "server:") == lineOf(second, "server:") {
		t.Error("a ciphertext survived a new data key")
	}

	r.opts.Sealed = false
	if _, change := r.encrypt(pairText, first); change.Kind != sopsfile.Rekeyed || change.NoKey == nil || !strings.Contains(change.Reason, "no private key") {
		t.Errorf("not sealed: %v", change)
	}
}

// A key that is no recipient's decides nothing, and is not tried.
func TestSealedForOthers(t *testing.T) {
	for name, reads := range map[string]bool{"a recipient's key": true, "another key": false} {
		t.Run(name, func(t *testing.T) {
			mine := identity(t)
			r := newRun(t, stranger(t))
			if reads {
				r = newRun(t, stranger(t), mine)
			}
			r.opts.Sealed = true
			first, _ := r.encrypt(pairText, nil)
			same, change := r.encrypt(pairText, first)
			if change.Kind != sopsfile.Unchanged || !bytes.Equal(first, same) {
				t.Errorf("same: %v", change)
			}
			// Who has the key sees a value that the digest does not tell of.
			_, change = r.encrypt(strings.Replace(pairText, "first-token", "other-token", 1), first)
			if (change.Kind == sopsfile.Updated) != reads {
				t.Errorf("another value of the same length: %v", change)
			}
			if _, err := r.safe.Decrypt(t.Context(), first, "pair.yaml"); (err == nil) != reads {
				t.Errorf("decrypt: %v", err)
			}
		})
	}
}

// The shape and the length of values count even when no key is at hand.
func TestSealedShape(t *testing.T) {
	environment(t)
	r := newRun(t, stranger(t))
	r.opts.Sealed = true
	first, _ := r.encrypt(pairText, nil)
	for name, text := range map[string]string{
		"longer":   strings.Replace(pairText, "first-token", "first-token-", 1),
		"type":     strings.Replace(pairText, "first-token", "12345678901", 1),
		"removed":  strings.Replace(pairText, "contexts: [a, a, b]", "contexts: [a, a]", 1),
		"empty":    strings.Replace(pairText, "first-token", `""`, 1),
		"renamed":  strings.Replace(pairText, "token:", "totem:", 1),
		"nested":   strings.Replace(pairText, "token: first-token", "token: {a: first-token}", 1),
		"selector": strings.Replace(pairText, "  options: {}", "  options: {token: x}", 1),
	} {
		if _, change := r.encrypt(text, first); change.Kind != sopsfile.Rekeyed {
			t.Errorf("%s: %v", name, change)
		}
	}
}

func TestSettingsChanged(t *testing.T) {
	mine := identity(t)
	r := newRun(t, mine)
	first, _ := r.encrypt(pairText, nil)

	r.policy = agePolicy(t, pairSelector, false, 0, mine)
	second, change := r.encrypt(pairText, first)
	if change.Kind != sopsfile.Updated || change.Reason != "mac_only_encrypted has changed" {
		t.Errorf("mac_only_encrypted: %v", change)
	}
	if _, err := sopsDecrypt(second); err != nil {
		t.Error(err)
	}
	r.policy = agePolicy(t, sopsfile.Selector{EncryptedRegex: "^(users|apiVersion)$"}, false, 0, mine)
	third, change := r.encrypt(pairText, second)
	if change.Kind != sopsfile.Updated || change.Reason != "the selector of what to encrypt has changed" {
		t.Errorf("selector: %v", change)
	}
	if lineOf(third, "token:") != lineOf(second, "token:") {
		t.Error("a value that stays encrypted changed")
	}
	if !strings.Contains(lineOf(third, "server:"), "https://") || !strings.Contains(lineOf(third, "apiVersion:"), "ENC[") {
		t.Errorf("the selector is not obeyed:\n%s", third)
	}
	if _, err := sopsDecrypt(third); err != nil {
		t.Error(err)
	}
}

// A file that was tampered with is written anew from what it should be.
func TestTampered(t *testing.T) {
	r := newRun(t, identity(t))
	first, _ := r.encrypt(pairText, nil)

	// Two items of a list change places: each decrypts, the MAC does not match.
	lines := strings.SplitAfter(string(first), "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "    contexts:") })
	lines[i+2], lines[i+3] = lines[i+3], lines[i+2]
	swapped := []byte(strings.Join(lines, ""))
	if _, err := r.safe.Decrypt(t.Context(), swapped, "f"); err == nil {
		t.Fatal("a swapped list decrypts")
	}
	fixed, change := r.encrypt(pairText, swapped)
	if change.Kind != sopsfile.Updated || change.Reason != "the MAC of the previous file does not match" {
		t.Errorf("swapped: %v", change)
	}
	if _, err := sopsDecrypt(fixed); err != nil {
		t.Error(err)
	}

	// A value of another field does not decrypt at all.
	moved := []byte(strings.Replace(string(first), strings.TrimPrefix(strings.TrimSpace(lineOf(first, "server:")), "server: "),
		strings.TrimPrefix(strings.TrimSpace(lineOf(first, "token:")), "token: "), 1))
	fixed, change = r.encrypt(strings.Replace(pairText, "https://west.example.com:6443", "11 letters.", 1), moved)
	if change.Kind != sopsfile.Rekeyed || change.Reason != "the previous file does not decrypt" {
		t.Errorf("moved: %v", change)
	}
	if _, err := sopsDecrypt(fixed); err != nil {
		t.Error(err)
	}
}
