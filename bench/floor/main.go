// Command floor is the least work that any program must do to turn kubeconfig
// Secrets into ClusterPairs encrypted for two age recipients: read and parse
// the Secret, parse the kubeconfig in it, wrap a data key twice, seal every
// leaf of the config, marshal, write.
//
// It checks nothing, its stanzas lack age's header and its documents have no
// MAC: it is a measure, and nothing can decrypt what it writes.
//
//	floor SECRETS OUTPUT CONFIG
//
// CONFIG is the function config, of which it takes the labels and annotations.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/sync/errgroup"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: floor SECRETS OUTPUT CONFIG")
	}
	data, err := os.ReadFile(args[2])
	if err != nil {
		return err
	}
	var function struct {
		Spec struct {
			Selector metadata `yaml:"selector"`
		} `yaml:"spec"`
	}
	if err := yaml.Unmarshal(data, &function); err != nil {
		return err
	}
	files, err := os.ReadDir(args[0])
	if err != nil {
		return err
	}
	if err := os.MkdirAll(args[1], 0o777); err != nil {
		return err
	}
	var recipients []*ecdh.PublicKey
	for range 2 {
		identity, err := ecdh.X25519().GenerateKey(rand.Reader)
		if err != nil {
			return err
		}
		recipients = append(recipients, identity.PublicKey())
	}
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, file := range files {
		group.Go(func() error {
			if err := render(filepath.Join(args[0], file.Name()), filepath.Join(args[1], file.Name()), recipients, function.Spec.Selector); err != nil {
				return fmt.Errorf("%s: %w", file.Name(), err)
			}
			return nil
		})
	}
	return group.Wait()
}

type secret struct {
	Metadata struct {
		Name string `yaml:"name"`
	} `yaml:"metadata"`
	Data map[string]string `yaml:"data"`
}

type kubeconfig struct {
	Clusters []struct {
		Name    string            `yaml:"name"`
		Cluster map[string]string `yaml:"cluster"`
	} `yaml:"clusters"`
	Contexts []struct {
		Name    string            `yaml:"name"`
		Context map[string]string `yaml:"context"`
	} `yaml:"contexts"`
	CurrentContext string `yaml:"current-context"`
	Users          []struct {
		Name string            `yaml:"name"`
		User map[string]string `yaml:"user"`
	} `yaml:"users"`
}

type clusterPair struct {
	APIVersion string   `yaml:"apiVersion"`
	Kind       string   `yaml:"kind"`
	Metadata   metadata `yaml:"metadata"`
	Sops       sops     `yaml:"sops"`
	Spec       spec     `yaml:"spec"`
}

type metadata struct {
	Annotations map[string]string `yaml:"annotations"`
	Labels      map[string]string `yaml:"labels"`
	Name        string            `yaml:"name"`
	Namespace   string            `yaml:"namespace"`
}

type sops struct {
	Age            []stanza `yaml:"age"`
	EncryptedRegex string   `yaml:"encrypted_regex"`
	LastModified   string   `yaml:"lastmodified"`
	Version        string   `yaml:"version"`
}

type stanza struct {
	Enc       string `yaml:"enc"`
	Recipient string `yaml:"recipient"`
}

type spec struct {
	Config  config            `yaml:"config"`
	Options map[string]string `yaml:"options"`
}

type config struct {
	Clusters       map[string]map[string]string `yaml:"clusters"`
	Contexts       map[string]map[string]string `yaml:"contexts"`
	CurrentContext string                       `yaml:"current-context"`
	Users          map[string]map[string]string `yaml:"users"`
}

func render(in, out string, recipients []*ecdh.PublicKey, meta metadata) error {
	data, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var s secret
	if err := yaml.Unmarshal(data, &s); err != nil {
		return err
	}
	data, err = base64.StdEncoding.DecodeString(s.Data["value"])
	if err != nil {
		return err
	}
	var k kubeconfig
	if err := yaml.Unmarshal(data, &k); err != nil {
		return err
	}

	meta.Name, meta.Namespace = s.Metadata.Name, "migrationnamespace"

	dataKey := make([]byte, 32)
	rand.Read(dataKey)
	pair := clusterPair{
		APIVersion: "stork.libopenstorage.org/v1alpha1",
		Kind:       "ClusterPair",
		Metadata:   meta,
		Sops: sops{
			EncryptedRegex: "^(config|token)$",
			LastModified:   time.Now().UTC().Format(time.RFC3339),
			Version:        "3.13.3",
		},
		Spec: spec{Options: map[string]string{}},
	}
	for _, recipient := range recipients {
		enc, err := wrap(dataKey, recipient)
		if err != nil {
			return err
		}
		pair.Sops.Age = append(pair.Sops.Age, stanza{Enc: enc, Recipient: base64.StdEncoding.EncodeToString(recipient.Bytes())})
	}

	block, err := aes.NewCipher(dataKey)
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, 32)
	if err != nil {
		return err
	}
	c := &pair.Spec.Config
	c.CurrentContext = seal(gcm, k.CurrentContext, "spec:config:current-context:")
	c.Clusters = make(map[string]map[string]string, len(k.Clusters))
	for _, e := range k.Clusters {
		c.Clusters[e.Name] = sealAll(gcm, e.Cluster, "spec:config:clusters:"+e.Name+":")
	}
	c.Contexts = make(map[string]map[string]string, len(k.Contexts))
	for _, e := range k.Contexts {
		c.Contexts[e.Name] = sealAll(gcm, e.Context, "spec:config:contexts:"+e.Name+":")
	}
	c.Users = make(map[string]map[string]string, len(k.Users))
	for _, e := range k.Users {
		c.Users[e.Name] = sealAll(gcm, e.User, "spec:config:users:"+e.Name+":")
	}

	data, err = yaml.Marshal(pair)
	if err != nil {
		return err
	}
	return os.WriteFile(out, data, 0o666)
}

// wrap encrypts the data key for one recipient as an X25519 stanza of age does.
func wrap(dataKey []byte, recipient *ecdh.PublicKey) (string, error) {
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	shared, err := ephemeral.ECDH(recipient)
	if err != nil {
		return "", err
	}
	share := ephemeral.PublicKey().Bytes()
	key, err := hkdf.Key(sha256.New, shared, slices.Concat(share, recipient.Bytes()), "age-encryption.org/v1/X25519", chacha20poly1305.KeySize)
	if err != nil {
		return "", err
	}
	aead, err := chacha20poly1305.New(key)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(aead.Seal(share, make([]byte, chacha20poly1305.NonceSize), dataKey, nil)), nil
}

func sealAll(gcm cipher.AEAD, leaves map[string]string, path string) map[string]string {
	sealed := make(map[string]string, len(leaves))
	for key, value := range leaves {
		sealed[key] = seal(gcm, value, path+key+":")
	}
	return sealed
}

// seal encrypts one leaf in the notation of SOPS.
func seal(gcm cipher.AEAD, value, path string) string {
	iv := make([]byte, gcm.NonceSize())
	rand.Read(iv)
	sealed := gcm.Seal(nil, iv, []byte(value), []byte(path))
	data, tag := sealed[:len(value)], sealed[len(value):]
	b64 := base64.StdEncoding.EncodeToString
	return "ENC[AES256_GCM,data:" + b64(data) + ",iv:" + b64(iv) + ",tag:" + b64(tag) + ",type:str]"
}
