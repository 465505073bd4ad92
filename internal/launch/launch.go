// Package launch starts other programs without the secrets of this one.
//
// [Command] is exec.CommandContext with an environment of those variables that a
// program needs to be found and to find its configuration. Private keys, tokens
// and cloud credentials stand in others, and are not handed on. [Blank] is for
// programs that a library starts with the whole environment.
package launch

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Command is a program that is to end with ctx. Its environment is that of
// [Environment].
func Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = Environment(os.Environ())
	return cmd
}

// names are the variables that are handed on as they are.
var names = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "PWD", "TMPDIR", "TMP", "TEMP", "TERM", "TZ", "LANG", "LANGUAGE",
	"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSH_AUTH_SOCK",
}

// prefixes are those of variables with settings: of Git and of what puts programs
// into the PATH.
var prefixes = []string{"LC_", "XDG_", "GIT_", "ASDF_", "MISE_", "NIX_"}

// secrets are the ends of names that are none of Git's settings. CI systems set
// such variables, as in GIT_PASSWORD.
var secrets = []string{"TOKEN", "_PASS", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "KEY", "_PAT", "CREDENTIAL", "CREDENTIALS", "USERNAME"}

// Environment is the part of an environment, of the form NAME=VALUE, that other
// programs get. Git fetches what a partial clone lacks: so it gets the settings of
// a proxy, but for one with a password.
func Environment(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(variable string) bool {
		name, value, _ := strings.Cut(variable, "=")
		switch strings.ToLower(name) {
		case "http_proxy", "https_proxy", "all_proxy", "no_proxy":
			return strings.Contains(value, "@")
		}
		if slices.Contains(names, name) {
			return false
		}
		return slices.ContainsFunc(secrets, func(end string) bool { return strings.HasSuffix(name, end) }) || !slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
	})
}

// keys are the variables that hold a private key, or say how to get one.
var keys = []string{"SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"}

// Blank are the variables of an environment with private keys, each without a
// value, for programs that need the rest of it, such as the credential plugin of
// a kubeconfig.
func Blank(environ []string) []string {
	var blank []string
	for _, variable := range environ {
		if name, value, _ := strings.Cut(variable, "="); value != "" && slices.Contains(keys, name) {
			blank = append(blank, name)
		}
	}
	return blank
}
