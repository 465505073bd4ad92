package sopsfile_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"filippo.io/age"

	"clusterpair.dev/internal/helper/helpertest"
	"clusterpair.dev/internal/sopsfile"
)

// keyService speaks as much of Vault's transit engine and of AWS KMS as the
// clients of sops ask for. It "encrypts" by prefixing the name of the key.
func keyService(t *testing.T) (url string, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		var in map[string]any
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		var out map[string]any
		refuse := func() {
			w.WriteHeader(http.StatusForbidden)
			json.NewEncoder(w).Encode(map[string]any{"errors": []string{"permission denied"}, "__type": "AccessDeniedException", "message": "not allowed"})
		}
		switch {
		case r.Header.Get("X-Amz-Target") == "TrentService.Encrypt":
			b, _ := base64.StdEncoding.DecodeString(in["Plaintext"].(string))
			c, _ := json.Marshal(in["EncryptionContext"])
			blob := append([]byte(in["KeyId"].(string)+string(c)+"|"), b...)
			out = map[string]any{"CiphertextBlob": blob, "KeyId": in["KeyId"]}
		case r.Header.Get("X-Amz-Target") == "TrentService.Decrypt":
			b, _ := base64.StdEncoding.DecodeString(in["CiphertextBlob"].(string))
			c, _ := json.Marshal(in["EncryptionContext"])
			plain, ok := bytes.CutPrefix(b, []byte(in["KeyId"].(string)+string(c)+"|"))
			if !ok {
				refuse()
				return
			}
			out = map[string]any{"Plaintext": plain, "KeyId": in["KeyId"]}
		case r.Header.Get("X-Vault-Token") != "vault-token":
			refuse()
			return
		case strings.HasPrefix(r.URL.Path, "/v1/transit/encrypt/"):
			out = map[string]any{"data": map[string]any{"ciphertext": "vault:v1:" + r.URL.Path[len("/v1/transit/encrypt/"):] + ":" + in["plaintext"].(string)}}
		case strings.HasPrefix(r.URL.Path, "/v1/transit/decrypt/"):
			plain, ok := strings.CutPrefix(in["ciphertext"].(string), "vault:v1:"+r.URL.Path[len("/v1/transit/decrypt/"):]+":")
			if !ok {
				refuse()
				return
			}
			out = map[string]any{"data": map[string]any{"plaintext": plain}}
		default:
			http.NotFound(w, r)
			return
		}
		json.NewEncoder(w).Encode(out)
	}))
	t.Cleanup(s.Close)
	t.Setenv("AWS_ENDPOINT_URL_KMS", s.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("VAULT_TOKEN", "vault-token")
	return s.URL, calls
}

// Keys of a service are used through the clients of sops, in both directions,
// and a sealed document that has not changed asks none.
func TestKeyServices(t *testing.T) {
	environment(t)
	helpertest.InPath(t)
	url, calls := keyService(t)
	want, err := sopsFormat([]byte(pairText), 4)
	if err != nil {
		t.Fatal(err)
	}
	for name, keys := range map[string]string{
		"vault": "hc_vault: ['" + url + "/v1/transit/keys/first']",
		"kms":   "kms: [{arn: " + arn1 + ", context: {app: pair, stage: prod}}]",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRun(t)
			r.clock.real() // sops dates what it writes
			rules := "creation_rules:\n- encrypted_regex: ^(config|token)$\n  key_groups:\n  - " + keys + "\n"
			parsed, err := sopsfile.ParseRules([]byte(rules), "/x/.sops.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if r.policy, err = parsed.Policy("/x/y"); err != nil {
				t.Fatal(err)
			}
			enc, _ := r.encrypt(pairText, nil)
			dir := t.TempDir()
			write(t, dir, ".sops.yaml", []byte(rules))
			sameText(t, "sops", sopsCommand(t, dir, "decrypt", write(t, dir, "pair.yaml", enc)), want)
			theirs := sopsCommand(t, dir, "encrypt", write(t, dir, "plain.yaml", []byte(pairText)))
			for _, prev := range [][]byte{enc, theirs} {
				if decrypted(t, r.safe, prev) != string(want) {
					t.Error("we decrypt something else")
				}
				if same, change := r.encrypt(pairText, prev); change.Kind != sopsfile.Unchanged || !bytes.Equal(same, prev) {
					t.Errorf("again: %v", change)
				}
			}
			second, change := r.encrypt(strings.Replace(pairText, "first-token", "other", 1), enc)
			if change.Kind != sopsfile.Updated || lineOf(second, "enc:") != lineOf(enc, "enc:") || lineOf(second, "created_at:") != lineOf(enc, "created_at:") {
				t.Errorf("changed: %v", change)
			}

			before := calls.Load()
			r.opts.Sealed = true
			if _, change := r.encrypt(pairText, enc); change.Kind != sopsfile.Unchanged || calls.Load() != before {
				t.Errorf("sealed: %v after %d calls", change, calls.Load()-before)
			}

			t.Setenv("VAULT_TOKEN", "wrong")
			stale := bytes.Replace(enc, []byte("920aff2e"), []byte("deadbeef"), 1) // another AWS key
			_, err = sopsfile.New(nil).Decrypt(t.Context(), stale, "pair.yaml")
			if missing := (*sopsfile.NoKeyError)(nil); !errors.As(err, &missing) || missing.File != "pair.yaml" {
				t.Errorf("refused: %v", err)
			}
		})
	}
}

// Everywhere sops looks for age identities, we find them.
func TestIdentityPlaces(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	ssh, err := os.ReadFile("testdata/ssh/id_ed25519")
	if err != nil {
		t.Fatal(err)
	}
	pub, err := os.ReadFile("testdata/ssh/id_ed25519.pub")
	if err != nil {
		t.Fatal(err)
	}
	environment(t)
	toAge := newRun(t, id.Recipient().String())
	forAge, _ := toAge.encrypt(pairText, nil)
	toSSH := newRun(t, strings.TrimSpace(string(pub)))
	forSSH, _ := toSSH.encrypt(pairText, nil)
	keys := []byte("# created: today\n# public key: " + id.Recipient().String() + "\n" + id.String() + "\n")

	for name, test := range map[string]struct {
		file  []byte
		place func(t *testing.T, home string)
	}{
		"SOPS_AGE_KEY":      {forAge, func(t *testing.T, _ string) { t.Setenv("SOPS_AGE_KEY", id.String()) }},
		"SOPS_AGE_KEY_FILE": {forAge, func(t *testing.T, h string) { t.Setenv("SOPS_AGE_KEY_FILE", write(t, h, "k", keys)) }},
		"SOPS_AGE_KEY_CMD":  {forAge, func(t *testing.T, h string) { t.Setenv("SOPS_AGE_KEY_CMD", "cat "+write(t, h, "k", keys)) }},
		"keys.txt": {forAge, func(t *testing.T, h string) {
			if err := os.MkdirAll(filepath.Join(h, "sops/age"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, h, "sops/age/keys.txt", keys)
		}},
		"SOPS_AGE_SSH_PRIVATE_KEY_FILE": {forSSH, func(t *testing.T, h string) { t.Setenv("SOPS_AGE_SSH_PRIVATE_KEY_FILE", write(t, h, "k", ssh)) }},
		"SOPS_AGE_SSH_PRIVATE_KEY_CMD": {forSSH, func(t *testing.T, h string) {
			t.Setenv("SOPS_AGE_SSH_PRIVATE_KEY_CMD", "cat "+write(t, h, "k", ssh))
		}},
		"id_ed25519": {forSSH, func(t *testing.T, h string) {
			if err := os.Mkdir(filepath.Join(h, ".ssh"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, h, ".ssh/id_ed25519", ssh)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t)
			test.place(t, os.Getenv("HOME"))
			if !strings.Contains(decrypted(t, sopsfile.New(nil), test.file), "first-token") {
				t.Error("not decrypted")
			}
		})
	}
}

// The error for a missing key says who could read the file, where keys were
// looked for and what to type; it holds no part of a malformed private key.
func TestNoKey(t *testing.T) {
	mine := identity(t)
	r := newRun(t, mine)
	enc, _ := r.encrypt(pairText, nil)

	environment(t)
	os.Unsetenv("SOPS_AGE_KEY")
	_, err := sopsfile.New(nil).Decrypt(t.Context(), enc, "pair.yaml")
	missing := (*sopsfile.NoKeyError)(nil)
	if !errors.As(err, &missing) {
		t.Fatal(err)
	}
	for _, want := range []string{"pair.yaml: no private key at hand; encrypted for " + mine, "no age identity found", "nothing in SOPS_AGE_KEY, SOPS_AGE_KEY_FILE", "sops/age/keys.txt", ".ssh/id_ed25519"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
	if missing.Hint() != "export SOPS_AGE_KEY_FILE=/path/to/keys.txt" {
		t.Errorf("hint %q", missing.Hint())
	}

	t.Setenv("SOPS_AGE_KEY", "AGE-SECRET-KEY-1PLANTEDPLANTEDPLANTED")
	t.Setenv("SOPS_AGE_KEY_CMD", "echo planted-password")
	t.Setenv("SOPS_AGE_KEY_FILE", "/does/not/exist")
	_, err = sopsfile.New(nil).Decrypt(t.Context(), enc, "pair.yaml")
	if err == nil || strings.Contains(strings.ToLower(err.Error()), "planted") {
		t.Errorf("error %v", err)
	}
	for _, want := range []string{"looked in SOPS_AGE_KEY (which gives no key: line 1 is no age identity as sops reads it, which then takes none of the others), SOPS_AGE_KEY_FILE (/does/not/exist, which cannot be read), SOPS_AGE_KEY_CMD"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q lacks %q", err, want)
		}
	}
}

// TestOtherKey tells whose the keys are that do not fit.
func TestOtherKey(t *testing.T) {
	enc, _ := newRun(t, identity(t)).encrypt(pairText, nil)
	other := identity(t)
	key := os.Getenv("SOPS_AGE_KEY")
	os.Unsetenv("SOPS_AGE_KEY")
	file := filepath.Join(t.TempDir(), "keys.txt")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, value, want string }{
		{"SOPS_AGE_KEY_FILE", file, "; looked in SOPS_AGE_KEY_FILE (" + file + ", the key of " + other + ")"},
		{"SOPS_AGE_KEY", key, "; looked in SOPS_AGE_KEY, the key of " + other},
		{"SOPS_AGE_KEY_FILE", "", "; looked in SOPS_AGE_KEY_FILE (which is empty); nothing in "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			_, err := sopsfile.New(nil).Decrypt(t.Context(), enc, "pair.yaml")
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), key) {
				t.Errorf("%v lacks %q", err, tt.want)
			}
		})
	}
}

func TestCanceled(t *testing.T) {
	r := newRun(t, identity(t))
	enc, _ := r.encrypt(pairText, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.safe.Decrypt(ctx, enc, "f"); !errors.Is(err, context.Canceled) {
		t.Errorf("decrypt: %v", err)
	}
	if _, _, err := r.safe.Encrypt(ctx, parse(t, pairText), enc, r.policy, r.opts); !errors.Is(err, context.Canceled) {
		t.Errorf("encrypt: %v", err)
	}
}

// Goroutines share a Safe and a Policy.
func TestConcurrent(t *testing.T) {
	r := newRun(t, identity(t), stranger(t))
	first, _ := r.encrypt(pairText, nil)
	done := make(chan error)
	for range 4 {
		go func() {
			var err error
			for range 20 {
				docs, parseErr := parseYAML(pairText)
				_, _, err1 := r.safe.Encrypt(context.Background(), docs, nil, r.policy, r.opts)
				out, _, err2 := r.safe.Encrypt(context.Background(), docs, first, r.policy, r.opts)
				if !bytes.Equal(out, first) {
					err2 = errors.New("the file has changed")
				}
				_, err3 := r.safe.Decrypt(context.Background(), first, "f")
				err = errors.Join(err, parseErr, err1, err2, err3)
			}
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
