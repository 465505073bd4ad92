// Package cloud holds the libraries of the key services, as sops calls them.
//
// [Ask] is what clusterpair-helper does for [keyservice.Client]. Nothing else imports
// this package: what it brings costs more time at the start than clusterpair has.
package cloud

import (
	"context"
	"fmt"
	"sync"

	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hckms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"
	"github.com/getsops/sops/v3/logging"
	"github.com/sirupsen/logrus"

	"clusterpair.dev/internal/keyservice"
)

// quiet stops the logs of the sops packages.
var quiet = sync.OnceFunc(func() { logging.SetLevel(logrus.PanicLevel) })

// Ask asks the key service of a key. The error is what it says; it has seen nothing but
// the data key and the key's name.
func Ask(ctx context.Context, r keyservice.Request) ([]byte, error) {
	quiet()
	m, err := master(r.Key)
	if err != nil {
		return nil, err
	}
	switch r.Operation {
	case keyservice.Version:
		key, err := azkv.NewMasterKeyWithOptionalVersion(r.Key.Name[0], r.Key.Name[1], "")
		if err != nil {
			return nil, err
		}
		return []byte(key.Version), nil
	case keyservice.Encrypt:
		if err := m.EncryptContext(ctx, r.Data); err != nil {
			return nil, err
		}
		return m.EncryptedDataKey(), nil
	case keyservice.Decrypt:
		m.SetEncryptedDataKey(r.Data)
		return m.DecryptContext(ctx)
	}
	return nil, fmt.Errorf("%s is nothing to ask a key service for", r.Operation)
}

// masterKey is what all key services of sops have.
type masterKey interface {
	keys.MasterKey
	EncryptContext(context.Context, []byte) error
	DecryptContext(context.Context) ([]byte, error)
}

// fields are the number of fields that name a key of each type.
var fields = map[string]int{"kms": 3, "gcp_kms": 1, "hckms": 1, "azure_kv": 3, "hc_vault": 3}

// master is the key as the sops package of its type knows it.
func master(k keyservice.Key) (masterKey, error) {
	if n, ok := fields[k.Type]; !ok || n != len(k.Name) {
		return nil, fmt.Errorf("%s with %d fields is no key of a key service", k.Type, len(k.Name))
	}
	switch k.Type {
	case "kms":
		c := make(map[string]*string, len(k.Context))
		for name, v := range k.Context {
			c[name] = &v
		}
		return &kms.MasterKey{Arn: k.Name[0], Role: k.Name[1], AwsProfile: k.Name[2], EncryptionContext: c}, nil
	case "gcp_kms":
		return &gcpkms.MasterKey{ResourceID: k.Name[0]}, nil
	case "hckms":
		return hckms.NewMasterKey(k.Name[0])
	case "azure_kv":
		return azkv.NewMasterKey(k.Name[0], k.Name[1], k.Name[2]), nil
	}
	return hcvault.NewMasterKey(k.Name[0], k.Name[1], k.Name[2]), nil
}
