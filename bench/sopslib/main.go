// Command sopslib encrypts a directory of YAML files with the library of SOPS
// in one process: what a Go program gets that imports it as its documentation
// shows. One worker per processor.
//
//	sopslib PLAIN OUTPUT RECIPIENT[,RECIPIENT…]
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	sops "github.com/getsops/sops/v3"
	"github.com/getsops/sops/v3/aes"
	"github.com/getsops/sops/v3/age"
	"github.com/getsops/sops/v3/cmd/sops/common"
	"github.com/getsops/sops/v3/config"
	"github.com/getsops/sops/v3/keyservice"
	"github.com/getsops/sops/v3/stores/yaml"
	"github.com/getsops/sops/v3/version"
	"golang.org/x/sync/errgroup"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sopslib:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: sopslib PLAIN OUTPUT RECIPIENTS")
	}
	files, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[1], 0o777); err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, file := range files {
		group.Go(func() error {
			if err := encrypt(filepath.Join(args[0], file.Name()), filepath.Join(args[1], file.Name()), args[2]); err != nil {
				return fmt.Errorf("%s: %w", file.Name(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

func encrypt(in, out, recipients string) error {
	plain, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	store := yaml.NewStore(&config.YAMLStoreConfig{})
	branches, err := store.LoadPlainFile(plain)
	if err != nil {
		return err
	}
	keys, err := age.MasterKeysFromRecipients(recipients)
	if err != nil {
		return err
	}
	var group sops.KeyGroup
	for _, key := range keys {
		group = append(group, key)
	}
	tree := sops.Tree{
		Branches: branches,
		FilePath: in,
		Metadata: sops.Metadata{
			KeyGroups:        []sops.KeyGroup{group},
			EncryptedRegex:   "^(config|token)$",
			MACOnlyEncrypted: true,
			Version:          version.Version,
		},
	}
	dataKey, errs := tree.GenerateDataKeyWithKeyServices([]keyservice.KeyServiceClient{keyservice.NewLocalClient()})
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	if err := common.EncryptTree(common.EncryptTreeOpts{DataKey: dataKey, Tree: &tree, Cipher: aes.NewCipher()}); err != nil {
		return err
	}
	sealed, err := store.EmitEncryptedFile(tree)
	if err != nil {
		return err
	}
	return os.WriteFile(out, sealed, 0o666)
}
