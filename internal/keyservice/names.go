package keyservice

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"clusterpair.dev/internal/pattern"
)

// AWS takes the text apart that names a key of AWS KMS, which may have the role behind a
// plus with which to ask.
// https://github.com/getsops/sops/blob/v3.13.3/kms/keysource.go, NewMasterKeyFromArn
func AWS(text string) (arn, role string) {
	text = strings.ReplaceAll(text, " ", "")
	if i := strings.Index(text, "+arn:"); i > 0 {
		return text[:i], text[i+1:]
	}
	return text, ""
}

// Huawei tells what is wrong with the ID of a key of Huawei Cloud, REGION:ID.
// https://github.com/getsops/sops/blob/v3.13.3/hckms/keysource.go, parseKeyID
func Huawei(id string) error {
	region, key, ok := strings.Cut(id, ":")
	switch {
	case !ok:
		return fmt.Errorf("invalid key ID format: expected 'region:key-uuid', got %q", strings.TrimSpace(id))
	case strings.TrimSpace(region) == "":
		return fmt.Errorf("region cannot be empty in key ID: %q", strings.TrimSpace(id))
	case strings.TrimSpace(key) == "":
		return fmt.Errorf("key UUID cannot be empty in key ID: %q", strings.TrimSpace(id))
	}
	return nil
}

var (
	vaultPath     = pattern.Later(`/v\d+/[^/]+/[^/]+/[^/]+`)
	vaultPrefixed = pattern.Later(`/[^/]+/v\d+/[^/]+/[^/]+/[^/]+`)
)

// Vault takes the URL of a key of Vault's transit engine apart.
// https://github.com/getsops/sops/blob/v3.13.3/hcvault/keysource.go, NewMasterKeyFromURI
func Vault(uri string) (address, engine, key string, err error) {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme == "" {
		return "", "", "", errors.New("no URL")
	}
	whole := u.RequestURI()
	if vaultPrefixed().MatchString(whole) || !vaultPath().MatchString(whole) {
		return "", "", "", errors.New("not the path of a key")
	}
	names := strings.Split(strings.Trim(whole, "/"), "/")
	u.Path = ""
	return u.String(), path.Join(names[1 : len(names)-2]...), names[len(names)-1], nil
}
