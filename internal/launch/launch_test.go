package launch

import (
	"slices"
	"testing"
)

// TestEnvironment hands on what Git needs, and no secret under any name.
func TestEnvironment(t *testing.T) {
	kept := []string{
		"PATH=/bin", "HOME=/root", "LANG=C", "LC_ALL=C", "XDG_CONFIG_HOME=/c", "GIT_INDEX_FILE=.git/next-index-1.lock", "GIT_DIR=.git",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=core.autocrlf", "GIT_CONFIG_VALUE_0=false", "GIT_SSH_COMMAND=ssh -v", "GIT_ASKPASS=/askpass",
		"SSH_AUTH_SOCK=/run/agent", "https_proxy=http://proxy:3128", "NO_PROXY=example.com", "ASDF_DATA_DIR=/asdf",
	}
	secrets := []string{
		"SOPS_AGE_KEY=AGE-SECRET-KEY-1", "SOPS_AGE_KEY_FILE=/keys", "SOPS_AGE_KEY_CMD=cat key", "SOPS_AGE_SSH_PRIVATE_KEY_CMD=cat key",
		"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=a", "AWS_SESSION_TOKEN=a", "AZURE_CLIENT_SECRET=a", "GOOGLE_CREDENTIALS={}",
		"GOOGLE_APPLICATION_CREDENTIALS=/c", "VAULT_TOKEN=a", "GITHUB_TOKEN=a", "CI_JOB_TOKEN=a", "KUBECONFIG=/k", "PGPASSWORD=a", "DATABASE_URL=postgres://u:p@h",
		"GIT_TOKEN=a", "GIT_PASSWORD=a", "GIT_USERNAME=a", "NIX_ACCESS_TOKEN=a", "https_proxy=http://u:p@proxy:3128", "HTTP_PROXY=http://u:p@proxy:3128", "Path=x", "NOVALUE",
	}
	got := Environment(slices.Concat(secrets, kept))
	if !slices.Equal(got, kept) {
		t.Errorf("handed on: %q, want %q", got, kept)
	}
	if blank := Blank(slices.Concat(secrets, kept, []string{"SOPS_AGE_KEY="})); !slices.Equal(blank, []string{"SOPS_AGE_KEY", "SOPS_AGE_KEY_FILE", "SOPS_AGE_KEY_CMD", "SOPS_AGE_SSH_PRIVATE_KEY_CMD"}) {
		t.Errorf("without a value: %q", blank)
	}
}
