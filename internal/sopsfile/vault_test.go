//go:build peers

package sopsfile_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"clusterpair.dev/internal/helper/helpertest"
	"clusterpair.dev/internal/sopsfile"
)

// buildVault makes the Vault server of tools/vault, unless CLUSTERPAIR_TOOLS
// holds one: with nothing cached that takes minutes.
func buildVault(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CLUSTERPAIR_TOOLS")
	if dir == "" {
		dir = t.TempDir()
	}
	path := filepath.Join(dir, "vault")
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return path
	}
	cmd := exec.Command("go", "build", "-C", "../../tools/vault", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	cmd.Stderr, cmd.Env = os.Stderr, append(environ, "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	return path
}

// startVault runs a Vault server until the end of the test, sets VAULT_TOKEN
// to its root token and returns its URL.
func startVault(t *testing.T) string {
	t.Helper()
	cmd := exec.Command(buildVault(t))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("vault: %v", err)
		}
	})
	printed := map[string]string{}
	for lines := bufio.NewScanner(stdout); len(printed) < 2 && lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "=")
		printed[name] = value
	}
	if printed["VAULT_ADDR"] == "" || printed["VAULT_TOKEN"] == "" {
		t.Fatal("vault has printed no address and token")
	}
	t.Setenv("VAULT_TOKEN", printed["VAULT_TOKEN"])
	return printed["VAULT_ADDR"]
}

// A key of a real Vault's transit engine, by our own hands and by those of the
// sops command.
func TestVault(t *testing.T) {
	environment(t)
	helpertest.InPath(t)
	url := startVault(t)
	token := os.Getenv("VAULT_TOKEN")
	vault := func(path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("vault %s: %s", path, resp.Status)
		}
	}
	vault("transit/keys/first", "")
	dir := t.TempDir()
	rules := fmt.Sprintf("creation_rules:\n- encrypted_regex: ^(config|token)$\n  hc_vault_transit_uri: %s/v1/transit/keys/first\n", url)
	write(t, dir, ".sops.yaml", []byte(rules))
	parsed, err := sopsfile.ParseRules([]byte(rules), filepath.Join(dir, ".sops.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(t)
	r.clock.real() // sops dates what it writes
	if r.policy, err = parsed.Policy(filepath.Join(dir, "pair.yaml")); err != nil {
		t.Fatal(err)
	}
	want, err := sopsFormat([]byte(pairText), 4)
	if err != nil {
		t.Fatal(err)
	}

	ours, _ := r.encrypt(pairText, nil)
	if !strings.Contains(lineOf(ours, "enc:"), "vault:v1:") {
		t.Errorf("the data key is not Vault's: %s", lineOf(ours, "enc:"))
	}
	file := write(t, dir, "pair.yaml", ours)
	theirs := sopsCommand(t, dir, "encrypt", write(t, dir, "plain.yaml", []byte(pairText)))
	both := func(when string) {
		t.Helper()
		sameText(t, "sops, "+when, sopsCommand(t, dir, "decrypt", file), want)
		for name, enc := range map[string][]byte{"ours": ours, "theirs": theirs} {
			if decrypted(t, sopsfile.New(nil), enc) != string(want) {
				t.Errorf("%s: %s decrypts to something else", when, name)
			}
			if same, change := r.encrypt(pairText, enc); change.Kind != sopsfile.Unchanged || !bytes.Equal(same, enc) {
				t.Errorf("%s: %s again: %v", when, name, change)
			}
		}
	}
	both("as created")

	// Vault keeps the older versions of a key that it rotates, and sops rotate
	// takes the newest.
	vault("transit/keys/first/rotate", "")
	both("after Vault's rotation")
	sopsCommand(t, dir, "rotate", "--in-place", file)
	ours = read(t, file)
	if !strings.Contains(lineOf(ours, "enc:"), "vault:v2:") {
		t.Errorf("sops rotate used another version: %s", lineOf(ours, "enc:"))
	}
	both("after sops rotate")

	// A token that Vault refuses, and a key version that it gives up.
	refused := func(when string) {
		t.Helper()
		_, err := sopsfile.New(nil).Decrypt(t.Context(), theirs, "pair.yaml")
		if missing := (*sopsfile.NoKeyError)(nil); !errors.As(err, &missing) || missing.File != "pair.yaml" {
			t.Errorf("%s: %v", when, err)
		} else if strings.Contains(err.Error(), os.Getenv("VAULT_TOKEN")) {
			t.Errorf("%s: the error holds the token", when)
		}
	}
	t.Setenv("VAULT_TOKEN", "hvs.planted-and-wrong")
	refused("with a wrong token")
	t.Setenv("VAULT_TOKEN", token)
	vault("transit/keys/first/config", `{"min_decryption_version": 2}`)
	refused("below min_decryption_version")
	if decrypted(t, sopsfile.New(nil), ours) != string(want) {
		t.Error("the newest version no longer decrypts")
	}
}
