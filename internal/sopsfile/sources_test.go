package sopsfile_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"clusterpair.dev/internal/sopsfile"
)

const (
	demoRecipient = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	westRecipient = "age15cswxs9gxaan0z8ma5cf23apgqzqeggcvl0jwgsxxqa7lh2pgyrsac592e"
)

// TestKeySources: every place that is set is told of, with the public halves of its
// keys and no private one, and a pipe is left to who needs its keys.
func TestKeySources(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_CMD", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
		os.Unsetenv(name)
	}
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	if got := sopsfile.KeySources(); len(got) != 0 {
		t.Fatalf("of nothing: %+v", got)
	}
	key := func(name string) string {
		data, err := os.ReadFile("../../fixtures/keys/" + name + ".agekey")
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	file := filepath.Join(home, "config", "sops", "age", "keys.txt")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(key("demo")+key("west")), 0o640); err != nil {
		t.Fatal(err)
	}
	pipe := filepath.Join(home, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY", key("west"))
	t.Setenv("SOPS_AGE_KEY_FILE", pipe)
	t.Setenv("SOPS_AGE_KEY_CMD", "false")
	got := sopsfile.KeySources()
	var names []string
	for _, s := range got {
		names = append(names, s.Name)
		if s.Err != nil {
			t.Errorf("%s: %v", s.Name, s.Err)
		}
	}
	if want := []string{"SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", file}; !slices.Equal(names, want) {
		t.Fatalf("got %q, want %q", names, want)
	}
	if !slices.Equal(got[0].Recipients, []string{westRecipient}) || got[1].Recipients != nil || got[2].Recipients != nil ||
		!slices.Equal(got[3].Recipients, []string{demoRecipient, westRecipient}) || got[3].Mode.Perm() != 0o640 {
		t.Errorf("got %+v", got)
	}
	for text, want := range map[string]string{filepath.Join(home, "gone"): "no such file", home: "is a directory", os.DevNull: ""} {
		t.Setenv("SOPS_AGE_KEY_FILE", text)
		switch err := sopsfile.KeySources()[1].Err; {
		case (err == nil) != (want == ""), err != nil && (!strings.Contains(err.Error(), want) || strings.Contains(err.Error(), home)):
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// TestOpener: it names the recipient whose key is at hand, and is the error that
// decrypting would be.
func TestOpener(t *testing.T) {
	data, err := os.ReadFile("../../examples/kustomize/secrets/west-kubeconfig.yaml")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", "../../fixtures/keys/demo.agekey")
	by, err := sopsfile.New(time.Now).Opener(t.Context(), data, "west.yaml")
	if err != nil || !slices.Equal(by, []string{demoRecipient}) {
		t.Errorf("got %q, %v", by, err)
	}
	t.Setenv("SOPS_AGE_KEY_FILE", "../../fixtures/keys/west.agekey")
	if by, err := sopsfile.New(time.Now).Opener(t.Context(), data, "west.yaml"); err == nil || !strings.HasPrefix(err.Error(), "west.yaml: no private key at hand; encrypted for "+demoRecipient) {
		t.Errorf("got %q, %v", by, err)
	}
}

// TestOddKeyFile: sops takes no key of a file in which one line is none to it, and
// reads several on a line in the variable alone.
func TestOddKeyFile(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, name := range []string{"SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"} {
		t.Setenv(name, "")
	}
	data, err := os.ReadFile("../../fixtures/keys/demo.agekey")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	key := lines[len(lines)-1]
	file := filepath.Join(t.TempDir(), "key")
	for name, c := range map[string]struct {
		file, variable bool
		text           string
	}{
		"as age-keygen writes it": {true, true, string(data)},
		"with CRLF":               {true, true, "# a key\r\n" + key + "\r\n"},
		"of a plugin, too":        {true, true, key + "\nAGE-PLUGIN-YUBIKEY-1QQQQ\n"},
		"white space in front":    {false, true, "  " + key + "\n"},
		"two on a line":           {false, true, key + " " + key + "\n"},
		"another line":            {false, false, key + "\nnote\n"},
		"nonsense":                {false, false, key + "\nAGE-SECRET-KEY-1NONSENSE\n"},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("SOPS_AGE_KEY_FILE", file)
		t.Setenv("SOPS_AGE_KEY", c.text)
		for _, s := range sopsfile.KeySources() {
			want := map[string]bool{"SOPS_AGE_KEY": c.variable, "SOPS_AGE_KEY_FILE": c.file}[s.Name]
			if got := slices.Contains(s.Recipients, demoRecipient); got != want || (s.Err == nil) != want {
				t.Errorf("%s: %s gives a key: %v, %v, want %v", name, s.Name, got, s.Err, want)
			}
			if s.Err != nil && strings.Contains(s.Err.Error(), "AGE-SECRET") {
				t.Errorf("%s: the error holds the key", name)
			}
		}
	}
}
