package readers

import (
	"slices"
	"testing"
)

const (
	classic     = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	postQuantum = "age1pq1qqqq"
	ssh         = "ssh-ed25519 AAAA"
	plugin      = "age1yubikey1qqqq"
	pgp         = "85D77543B3D624B63CEA9E6DBC17301B491B3F21"
	cloud       = "arn:aws:kms:eu-west-1:1:key/a"
)

func TestDowngraded(t *testing.T) {
	for _, tt := range []struct {
		name      string
		groups    [][]string
		threshold int
		want      bool
	}{
		{"classic alone", [][]string{{classic, ssh}}, 0, false},
		{"post-quantum alone", [][]string{{postQuantum, postQuantum}}, 0, false},
		{"both", [][]string{{postQuantum, classic}}, 0, true},
		{"beside SSH", [][]string{{ssh, postQuantum}}, 0, true},
		{"beside a hardware key", [][]string{{plugin, postQuantum}}, 0, true},
		{"beside PGP", [][]string{{pgp, postQuantum}}, 0, true},
		{"beside a cloud", [][]string{{cloud, postQuantum}}, 0, false},
		{"two groups, both needed", [][]string{{postQuantum}, {classic}}, 0, false},
		{"two groups, one needed", [][]string{{postQuantum}, {classic}}, 1, true},
		{"two groups, a classic one in each", [][]string{{postQuantum, ssh}, {classic}}, 2, true},
	} {
		if got := Downgraded(tt.groups, tt.threshold); got != tt.want {
			t.Errorf("%s: %t", tt.name, got)
		}
	}
}

func TestForFlux(t *testing.T) {
	ever, later, never := ForFlux([]string{classic, postQuantum, ssh, plugin, pgp, cloud})
	if !slices.Equal(ever, []string{classic, pgp, cloud}) || !slices.Equal(later, []string{postQuantum}) || !slices.Equal(never, []string{ssh, plugin}) {
		t.Errorf("ever %q, later %q, never %q", ever, later, never)
	}
}

// TestDiffer: a key of Azure without a version in a rule is any version of it, and no
// other key.
func TestDiffer(t *testing.T) {
	const key = "https://example.vault.azure.net/keys/sops-key/"
	for _, tt := range []struct {
		name           string
		held, ruled    [][]string
		missing, extra []string
		regrouped      bool
	}{
		{"the same in another order", [][]string{{"a", "b"}}, [][]string{{"b", "a", "a"}}, nil, nil, false},
		{"one more and one less", [][]string{{"a", "b"}}, [][]string{{"b", "c"}}, []string{"c"}, []string{"a"}, false},
		{"other groups", [][]string{{"a"}, {"b"}}, [][]string{{"a", "b"}}, nil, nil, true},
		{"any version", [][]string{{key + "0123", "a"}}, [][]string{{"a", key}}, nil, nil, false},
		{"another version", [][]string{{key + "0123"}}, [][]string{{key + "4567"}}, []string{key + "4567"}, []string{key + "0123"}, false},
		{"another key", [][]string{{"https://example.vault.azure.net/keys/other/0123"}}, [][]string{{key}}, []string{key}, []string{"https://example.vault.azure.net/keys/other/0123"}, false},
	} {
		missing, extra, regrouped := Differ(tt.held, tt.ruled, 0, 0)
		if !slices.Equal(missing, tt.missing) || !slices.Equal(extra, tt.extra) || regrouped != tt.regrouped {
			t.Errorf("%s: missing %q, extra %q, regrouped %t", tt.name, missing, extra, regrouped)
		}
	}
	if _, _, regrouped := Differ([][]string{{"a"}, {"b"}}, [][]string{{"a"}, {"b"}}, 1, 0); !regrouped {
		t.Error("another threshold is not seen")
	}
}
