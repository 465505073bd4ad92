// Command vault is a HashiCorp Vault server for tests: Vault's own core, HTTP
// API and transit engine, unsealed, with its storage in memory.
//
// It listens on a free port of the loopback interface, prints the lines
// VAULT_ADDR=… and VAULT_TOKEN=… (a root token) once it answers requests, and
// ends when its standard input does.
//
// It is a module of its own: Vault is heavy, and its licence (BUSL-1.1) allows
// tests to use it but is not ours. Vault replaces its sdk by a folder that the
// module proxy does not serve, so go.mod requires the release of sdk that it
// was cut with: v1.21.0 goes with v0.20.0, while v1.21.4 goes with none.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/helper/namespace"
	"github.com/hashicorp/vault/helper/testhelpers/corehelpers"
	vaulthttp "github.com/hashicorp/vault/http"
	"github.com/hashicorp/vault/internalshared/configutil"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/sdk/physical/inmem"
	"github.com/hashicorp/vault/vault"
)

func main() {
	if err := run(namespace.RootContext(context.Background()), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Warn, Output: os.Stderr})
	storage, err := inmem.NewInmem(nil, logger)
	if err != nil {
		return err
	}
	core, err := vault.NewCore(&vault.CoreConfig{
		Physical:        storage,
		LogicalBackends: map[string]logical.Factory{"transit": transit.Factory},
		BuiltinRegistry: corehelpers.NewMockBuiltinRegistry(), // the real one links every plugin
		DisableMlock:    true,
		Logger:          logger,
	})
	if err != nil {
		return err
	}
	defer core.Shutdown()
	token, err := unseal(ctx, core)
	if err != nil {
		return err
	}
	mount := &logical.Request{
		Operation:   logical.UpdateOperation,
		Path:        "sys/mounts/transit",
		ClientToken: token,
		Data:        map[string]any{"type": "transit"},
	}
	if _, err := core.HandleRequest(ctx, mount); err != nil {
		return fmt.Errorf("mount transit: %w", err)
	}

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: vaulthttp.Handler.Handler(&vault.HandlerProperties{
		Core:           core,
		ListenerConfig: &configutil.Listener{},
	})}
	defer server.Close()
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	if _, err := fmt.Fprintf(stdout, "VAULT_ADDR=http://%s\nVAULT_TOKEN=%s\n", listener.Addr(), token); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		ended <- err
	}()
	select {
	case err := <-failed:
		return err
	case err := <-ended:
		return err
	}
}

// unseal initializes core with one key share, which it uses at once, and
// returns the root token.
func unseal(ctx context.Context, core *vault.Core) (string, error) {
	one := &vault.SealConfig{SecretShares: 1, SecretThreshold: 1}
	keys, err := core.Initialize(ctx, &vault.InitParams{BarrierConfig: one, RecoveryConfig: one})
	if err != nil {
		return "", fmt.Errorf("initialize: %w", err)
	}
	if _, err := core.Unseal(keys.SecretShares[0]); err != nil {
		return "", fmt.Errorf("unseal: %w", err)
	}
	return keys.RootToken, nil
}
