package sopsfile_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"clusterpair.dev/internal/helper/helpertest"
	"clusterpair.dev/internal/sopsfile"
)

// environ is that of the test run, before a test takes HOME away: the Go
// command keeps its caches there.
var environ = os.Environ()

// sopsDir is where buildSops has put the command; TestMain removes it.
var sopsDir string

// buildSops makes the sops command that tools/go.mod names, once.
var buildSops = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("CLUSTERPAIR_TOOLS"); dir != "" {
		return filepath.Join(dir, "sops"), nil
	}
	dir, err := os.MkdirTemp("", "sops-command-")
	if err != nil {
		return "", err
	}
	sopsDir = dir
	path := filepath.Join(dir, "sops")
	cmd := exec.Command("go", "build", "-C", "../../tools", "-o", path, "github.com/getsops/sops/v3/cmd/sops")
	cmd.Stderr, cmd.Env = os.Stderr, environ
	return path, cmd.Run()
})

func TestMain(m *testing.M) {
	helpertest.Main()
	code := m.Run()
	os.RemoveAll(sopsDir)
	os.Exit(code)
}

// sopsCommand runs sops in dir and returns what it prints.
func sopsCommand(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	path, err := buildSops()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("sops %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.Bytes()
}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decrypted is a file as sops prints it, from what we decrypt of it.
func decrypted(t *testing.T, safe *sopsfile.Safe, data []byte) string {
	t.Helper()
	docs, err := safe.Decrypt(t.Context(), data, "file.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out, err := sopsfile.Marshal(docs, 4)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The sops command decrypts, re-keys, rotates and changes what we write, and
// we go on from what it leaves.
func TestSopsCommand(t *testing.T) {
	mine := identity(t)
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	theirs := other.Recipient().String()
	dir := t.TempDir()
	rules := "creation_rules:\n- encrypted_regex: ^(config|token)$\n  mac_only_encrypted: true\n  age: " + mine + "\n"
	write(t, dir, ".sops.yaml", []byte(rules))
	policy := func() *sopsfile.Policy {
		path := filepath.Join(dir, ".sops.yaml")
		r, err := sopsfile.ParseRules(read(t, path), path)
		if err != nil {
			t.Fatal(err)
		}
		p, err := r.Policy(filepath.Join(dir, "pair.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	want, err := sopsFormat([]byte(pairText), 4)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(t)
	r.clock.real() // sops dates what it writes
	r.policy = policy()
	first, _ := r.encrypt(pairText, nil)
	file := write(t, dir, "pair.yaml", first)
	sameText(t, "sops decrypt", sopsCommand(t, dir, "decrypt", file), want)

	// sops updatekeys takes over a recipient that the rules now name.
	write(t, dir, ".sops.yaml", []byte(rules[:len(rules)-1]+","+theirs+"\n"))
	sopsCommand(t, dir, "updatekeys", "--yes", file)
	r.policy = policy()
	updated := read(t, file)
	same, change := r.encrypt(pairText, updated)
	if change.Kind != sopsfile.Unchanged || !bytes.Equal(same, updated) {
		t.Errorf("after sops updatekeys: %v", change)
	}
	t.Run("new recipient", func(t *testing.T) {
		t.Setenv("SOPS_AGE_KEY", other.String())
		sameText(t, "sops decrypt", sopsCommand(t, dir, "decrypt", file), want)
		if decrypted(t, sopsfile.New(nil), updated) != string(want) {
			t.Error("the new recipient decrypts something else")
		}
	})

	// sops rotate leaves other ciphertexts of the same values.
	sopsCommand(t, dir, "rotate", "--in-place", file)
	rotated := read(t, file)
	if lineOf(rotated, "token:") == lineOf(updated, "token:") {
		t.Fatal("sops rotate has not rotated")
	}
	if same, change := r.encrypt(pairText, rotated); change.Kind != sopsfile.Unchanged || !bytes.Equal(same, rotated) {
		t.Errorf("after sops rotate: %v", change)
	}

	// sops set changes a value; we notice, and put back only what differs.
	sopsCommand(t, dir, "set", file, `["spec"]["config"]["users"]["admin"]["token"]`, `"set-by-sops"`)
	set := read(t, file)
	if !strings.Contains(decrypted(t, r.safe, set), "token: set-by-sops") {
		t.Error("we do not read what sops set")
	}
	back, change := r.encrypt(pairText, set)
	if change.Kind != sopsfile.Updated || change.Reason != "spec.config.users.admin.token has changed" {
		t.Errorf("after sops set: %v", change)
	}
	if strings.TrimSpace(lineOf(back, "server:")) != strings.TrimSpace(lineOf(set, "server:")) {
		t.Error("a value that sops did not set has a new ciphertext")
	}
	write(t, dir, "pair.yaml", back)
	sameText(t, "sops decrypt", sopsCommand(t, dir, "decrypt", file), want)

	// sops edit keeps what the editor leaves alone.
	t.Setenv("SOPS_EDITOR", "sed -i s/first-token/edited/")
	sopsCommand(t, dir, "edit", file)
	edited := read(t, file)
	if strings.TrimSpace(lineOf(edited, "server:")) != strings.TrimSpace(lineOf(back, "server:")) || !strings.Contains(decrypted(t, r.safe, edited), "token: edited") {
		t.Error("sops edit did not edit ours")
	}
}

// The sops command encrypts files of its own making, and we read them.
func TestSopsCommandEncrypts(t *testing.T) {
	mine := identity(t)
	dir := t.TempDir()
	safe := sopsfile.New(nil)
	for name, text := range documents(t) {
		write(t, dir, ".sops.yaml", []byte("stores: {yaml: {indent: 2}}\ncreation_rules:\n- age: "+mine+"\n"))
		file := write(t, dir, name+".yaml", []byte(text))
		enc := sopsCommand(t, dir, "encrypt", file)
		want, err := sopsFormat([]byte(text), 4)
		if err != nil {
			t.Fatal(err)
		}
		sameText(t, name, notInline(t, []byte(decrypted(t, safe, enc))), notInline(t, sopsCommandDecrypt(t, dir, enc, want)))
		sections := parse(t, string(enc))
		if !sopsfile.IsEncrypted(sections[0]) {
			t.Errorf("%s is not taken for encrypted", name)
		}
		m, err := sopsfile.ReadMetadata(sections[0], name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Recipients[0], []string{mine}) || m.Version != "3.13.3" || m.Selector.UnencryptedSuffix != "_unencrypted" || m.LastModified.IsZero() {
			t.Errorf("%s: metadata %+v", name, m)
		}
	}
}

// sopsCommandDecrypt is what sops makes of its own file; it equals want, but
// for the place of comments.
func sopsCommandDecrypt(t *testing.T, dir string, enc, want []byte) []byte {
	t.Helper()
	file := write(t, dir, "again.yaml", enc)
	got := sopsCommand(t, dir, "--indent", "4", "decrypt", file)
	if len(got) == 0 || len(want) == 0 {
		t.Fatal("sops prints nothing")
	}
	return got
}

// Three groups, of which two are needed: any two do, one does not.
func TestShamir(t *testing.T) {
	environment(t)
	var ids []*age.X25519Identity
	rules := "creation_rules:\n- shamir_threshold: 2\n  key_groups:\n"
	for range 3 {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
		rules += "  - age: [" + id.Recipient().String() + "]\n"
	}
	r := newRun(t)
	parsed, err := sopsfile.ParseRules([]byte(rules), "/x/.sops.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if r.policy, err = parsed.Policy("/x/y"); err != nil {
		t.Fatal(err)
	}
	enc, _ := r.encrypt(pairText, nil)
	dir := t.TempDir()
	file := write(t, dir, "pair.yaml", enc)
	want, err := sopsFormat([]byte(pairText), 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range [][]int{{0, 1}, {1, 2}, {0, 2}} {
		t.Setenv("SOPS_AGE_KEY", ids[pair[0]].String()+"\n"+ids[pair[1]].String())
		sameText(t, "sops", sopsCommand(t, dir, "decrypt", file), want)
		if decrypted(t, sopsfile.New(nil), enc) != string(want) {
			t.Errorf("groups %v decrypt something else", pair)
		}
	}
	// Two groups are enough to keep the data key.
	r.safe = sopsfile.New(r.clock.now)
	second, change := r.encrypt(strings.Replace(pairText, "first-token", "other", 1), enc)
	if change.Kind != sopsfile.Updated || !slices.Equal(changedLines(enc, second), []string{"lastmodified", "mac", "token"}) {
		t.Errorf("%v, changed %v", change, changedLines(enc, second))
	}

	t.Setenv("SOPS_AGE_KEY", ids[1].String())
	_, err = sopsfile.New(nil).Decrypt(t.Context(), enc, "pair.yaml")
	if err == nil || !strings.Contains(err.Error(), "keys of 2 of the 3 key groups are needed, keys of 1 are at hand") {
		t.Errorf("one group: %v", err)
	}

	// sops writes groups that we read.
	write(t, dir, ".sops.yaml", []byte(rules))
	plain := write(t, dir, "plain.yaml", []byte(pairText))
	theirs := sopsCommand(t, dir, "encrypt", plain)
	t.Setenv("SOPS_AGE_KEY", ids[0].String()+"\n"+ids[2].String())
	if decrypted(t, sopsfile.New(nil), theirs) != string(want) {
		t.Error("we read something else in sops' groups")
	}
	again, _, err := sopsfile.New(nil).Encrypt(t.Context(), parse(t, pairText), theirs, r.policy, sopsfile.EncryptOptions{})
	if err != nil || !bytes.Equal(again, theirs) {
		t.Errorf("sops' groups are not taken for unchanged: %v", err)
	}
}

// A PGP key in a keyring of its own, by the real gpg.
func TestPGP(t *testing.T) {
	environment(t)
	home, err := os.MkdirTemp("", "gpg") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GNUPGHOME", home)
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "all").Run()
		os.RemoveAll(home)
	})
	gpg := func(args ...string) string {
		out, err := exec.Command("gpg", append([]string{"--batch", "--passphrase", ""}, args...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("gpg %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	gpg("--quick-generate-key", "clusterpair test <test@example.com>", "default", "default", "never")
	_, fp, _ := strings.Cut(gpg("--list-keys", "--with-colons"), "\nfpr:")
	fp, _, _ = strings.Cut(strings.TrimLeft(fp, ":"), ":")

	r := newRun(t)
	r.clock.real() // sops dates what it writes
	if r.policy, err = (sopsfile.Recipients{PGP: []string{fp}}).Policy(); err != nil {
		t.Fatal(err)
	}
	enc, _ := r.encrypt(pairText, nil)
	dir := t.TempDir()
	want, err := sopsFormat([]byte(pairText), 4)
	if err != nil {
		t.Fatal(err)
	}
	sameText(t, "sops", sopsCommand(t, dir, "decrypt", write(t, dir, "pair.yaml", enc)), want)
	if decrypted(t, r.safe, enc) != string(want) {
		t.Error("we decrypt something else")
	}
	theirs := sopsCommand(t, dir, "encrypt", "--pgp", fp, write(t, dir, "plain.yaml", []byte(pairText)))
	for _, prev := range [][]byte{enc, theirs} {
		if same, change := r.encrypt(pairText, prev); change.Kind != sopsfile.Unchanged || !bytes.Equal(same, prev) {
			t.Errorf("again: %v", change)
		}
	}
	// A sealed document asks no agent.
	t.Setenv("SOPS_GPG_EXEC", "/does/not/exist")
	r.opts.Sealed = true
	if _, change := r.encrypt(pairText, enc); change.Kind != sopsfile.Unchanged {
		t.Errorf("sealed: %v", change)
	}
	if _, err := sopsfile.New(nil).Decrypt(t.Context(), enc, "pair.yaml"); err == nil || !strings.Contains(err.Error(), "encrypted for "+fp) {
		t.Errorf("without gpg: %v", err)
	}
}
