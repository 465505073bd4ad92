// Package keyservice asks the key services of clouds to encrypt data keys.
//
// A [Client] has the program clusterpair-helper do that, in which package cloud holds
// their libraries. [AWS], [Huawei] and [Vault] read what people write for a key.
package keyservice

import (
	"context"

	"clusterpair.dev/internal/helper"
)

// Key names a key of a key service, as the sops section of a file does.
type Key struct {
	// Type is the list it stands in: kms, gcp_kms, hckms, azure_kv or hc_vault.
	Type string `json:"type"`
	// Name are the fields that name it, in the order of the sops section.
	Name []string `json:"name"`
	// Context is the encryption context of an AWS KMS key.
	Context map[string]string `json:"context,omitempty"`
}

// Operation is what a key service is asked for.
type Operation string

// What a key service is asked for. Version is for Azure alone: the version of a key that
// is named without one.
const (
	Encrypt Operation = "encrypt"
	Decrypt Operation = "decrypt"
	Version Operation = "version"
)

// HelperOperation is what the helper is asked for.
const HelperOperation = "key service"

// Request is a question to a key service.
type Request struct {
	Operation Operation `json:"operation"`
	Key       Key       `json:"key"`
	// Data is the data key, or a part of it: in clear to be encrypted, else as it
	// stands in the file.
	Data []byte `json:"data,omitempty"`
}

// Client asks key services. The zero Client is ready, and safe for concurrent use.
type Client struct{ helper helper.Client }

// Ask sends a data key to the key service of a key, and returns what it answers: the
// data key encrypted or in clear, or the version of the key. The error is what the key
// service says, or a [helper.MissingError]. It does not wait longer than ctx.
func (c *Client) Ask(ctx context.Context, operation Operation, key Key, data []byte) (answer []byte, err error) {
	err = c.helper.Ask(ctx, HelperOperation, Request{operation, key, data}, &answer)
	return answer, err
}
