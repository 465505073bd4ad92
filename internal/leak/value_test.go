package leak

import (
	"strings"
	"testing"
)

// FuzzPlain states that the pattern of references finds nothing in a plain value.
func FuzzPlain(f *testing.F) {
	const random = "q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty"
	for _, seed := range []string{random, "secretsmanager/" + random, "AQICAH" + random, "var." + random, "__" + random + "__", random + "...", random + "://" + random,
		"-----BEGIN PRIVATE KEY-----\n" + random + "/" + random + "==\n-----END PRIVATE KEY-----\n", "eyJhbGciOiJSUzI1NiJ9." + random + "." + random, "process." + random, random + "()"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if isPlain(value) && reference().MatchString(value) {
			t.Errorf("%q is plain and a reference", value)
		}
	})
}

func TestPlain(t *testing.T) {
	const random = "q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty"
	for value, want := range map[string]bool{
		random: true, strings.Repeat(random+"/", 99): true, "eyJhbGciOiJSUzI1NiJ9." + random + "." + random: true, "-----BEGIN PRIVATE KEY-----\n" + random: true,
		"hunter2": false, "op://" + random: false, random + "${X}": false, "vault/" + random: false, "data." + random: false,
	} {
		if got := isPlain(value); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

// TestReferences states which values name the place of a credential, or stand for one
// that is to be filled in, where a credential is to stand.
func TestReferences(t *testing.T) {
	for _, value := range []string{
		">>vault:secret/data/west#token", "kv/data/West1/a#token", "$__file{/run/secrets/WestToken1}", "$__env{WEST_TOKEN1}", "$__vault{secret/data/West1:Token}",
		"%(WEST_TOKEN_1)s", "%{WestToken1A}", "~{WestToken1A}", "&West1.Token2A;", "_WEST1_TOKEN_A_", "[[ .West1.Token2A ]]", "$[[ inputs.westToken1 ]]",
		"{cipher}682bc583f4641835fa2db009355293665d2647dade3375c0ee201de2a49f7bda", "ENC(nrmZtkF7T0kjG/VodDvBw93Ct8EgjCA+)", "{AES}Kg1X2c3D4e5F6g7H8i9J0kLmN==",
		"AgB7" + strings.Repeat("Zr2mWx9L", 60),
		"ENV:WEST_TOKEN_1A", "gopass:west/Token1A2b3C4d5", "secretKeyRef:west1/Token2A3b", "bitwarden:West1/Token2A3b",
		"module.west1.Token1A2b3C4", "each.value.Token1A2b3C4", "dependency.west1.outputs.Token1A", "random_password.west_Cluster1a[0].result",
		"aws_secretsmanager_secret_version.west1A.secret_string", "google_client_config.west1A.access_token", "azurerm_kubernetes_cluster.west1A.kube_config.0.password",
		"sensitive(var.west1A)", `trimspace(file("West1Token.txt"))`, `System.getenv("WEST1_TOKEN_A")`, "ENV['WEST1_TOKEN_A']", `ENV.fetch("WEST1_TOKEN_A")`, "std.extVar('West1TokenA2')",
		"@/etc/West1/Token2", "@West1Token2A.txt", "/run/Secrets/West1Token2A", `C:\k\West1Token2A.txt`, ".Values.west1.Token2A",
		"[redacted]", "[REDACTED:Token1A2b3C4]", "***REMOVED***", "[MASKED]", "hidden", "~", `""`, "abcdef.0123456789abcdef",
		"sha256~xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "kubeconfig-u-xxxxx:xxxxxxxx", "to-be-replaced", "set-by-ci", "filled-by-external-secrets", "managed-by-vault", "see-vault",
	} {
		if isSet(value, true) {
			t.Errorf("%q is taken for a credential", value)
		}
	}
	for _, value := range []string{
		"q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty", "hvs.CAESIq7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty", "mfa.VkO_2G4Qv3T.NWTjn7cW1", "glpat-q7Zr2mWx9Lp4Vt8Kc3Hs", "my_dog.rover1", "@Str0ngPass", "Tr0ub4dor&3", "{noop}Tr0ub4dor",
		"[Tr0ub4dor", "p%w{0rd", "/q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty+", "Ag7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty", "sha256~q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty12345678901",
	} {
		if !isSet(value, true) {
			t.Errorf("%q is taken for a reference", value)
		}
	}
}

// TestLeftOut states that a token whose end was left out is none, in a text as well.
func TestLeftOut(t *testing.T) {
	Text([]byte("export KUBE_TOKEN=eyJhbGciOiJSUzI1NiIsImtpZCI6Ij...\n"), 1, func(l Leak) { t.Errorf("%+v", l) })
	found := 0
	Text([]byte("The token is KUBE_TOKEN=q7Zr2mWx9Lp4Vt8Kc3Hs6Nd1Bf5Gj0Ty.\n"), 1, func(Leak) { found++ })
	if found != 1 {
		t.Errorf("found %d credentials, want 1", found)
	}
}

// TestSecretName tells by names what hides a secret, generously.
func TestSecretName(t *testing.T) {
	for name, want := range map[string]bool{
		"token": true, "API_TOKEN": true, "bearerToken": true, "password": true, "db-passwd": true, "passphrase": true, "client-key-data": true, "keyData": true,
		"private_key": true, "apiKey": true, "secret-key": true, "AWS_SECRET_ACCESS_KEY": true, "client_secret": true,
		"": false, "tokenTTL": false, "certificate-authority-data": false, "key": false, "secretName": false, "name": false, "password-file": false,
	} {
		if got := SecretName(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}
