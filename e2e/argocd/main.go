// Command argocd is the parts of Argo CD that stand between Git and a cluster,
// for e2e. By the name it is called it is Argo CD's own
//
//	argocd-application-controller
//	argocd-applicationset-controller
//	argocd-cmp-server
//	argocd-commit-server
//	argocd-repo-server
//
// from the release that go.mod names. Called argocd, it is what they need and
// what a test wants to know:
//
//	argocd redis ADDRESS      the server of their cache
//	argocd cached ADDRESS     what it holds, unpacked
//	argocd health CONFIGMAP DIR
//	                          the tests of health scripts below DIR, laid out as
//	                          Argo CD's resource_customizations, in Argo CD's Lua
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/alicebob/miniredis/v2"
	appcontroller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	setcontroller "github.com/argoproj/argo-cd/v3/cmd/argocd-applicationset-controller/commands"
	cmpserver "github.com/argoproj/argo-cd/v3/cmd/argocd-cmp-server/commands"
	commitserver "github.com/argoproj/argo-cd/v3/cmd/argocd-commit-server/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/argo-cd/v3/util/settings"
	"github.com/argoproj/gitops-engine/pkg/health"
	"github.com/redis/go-redis/v9"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(filepath.Base(os.Args[0]), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "argocd:", err)
		os.Exit(1)
	}
}

func run(name string, args []string) error {
	switch name {
	case "argocd-application-controller":
		return appcontroller.NewCommand().Execute()
	case "argocd-applicationset-controller":
		return setcontroller.NewCommand().Execute()
	case "argocd-cmp-server":
		return cmpserver.NewCommand().Execute()
	case "argocd-commit-server":
		return commitserver.NewCommand().Execute()
	case "argocd-repo-server":
		return reposerver.NewCommand().Execute()
	}
	switch {
	case len(args) == 2 && args[0] == "redis":
		if err := miniredis.NewMiniRedis().StartAddr(args[1]); err != nil {
			return err
		}
		select {}
	case len(args) == 2 && args[0] == "cached":
		return cached(args[1])
	case len(args) == 3 && args[0] == "health":
		return testHealth(args[1], args[2])
	}
	return errors.New("usage: argocd redis ADDRESS | cached ADDRESS | health CONFIGMAP DIR")
}

// cached prints every value of the cache.
func cached(address string) error {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()
	keys, err := client.Keys(ctx, "*").Result()
	if err != nil {
		return err
	}
	for _, key := range keys {
		value, err := client.Get(ctx, key).Bytes()
		if err != nil {
			continue // of another type
		}
		if unpacked, err := gzip.NewReader(bytes.NewReader(value)); err == nil {
			if value, err = io.ReadAll(unpacked); err != nil {
				return err
			}
		}
		fmt.Printf("%s\n%s\n", key, value)
	}
	return nil
}

// testHealth runs each health_test.yaml below dir twice: with the script beside
// it, and with what the argocd-cm in a file says of the kind.
func testHealth(configMap, dir string) error {
	overrides, err := overridesOf(configMap)
	if err != nil {
		return err
	}
	tests := 0
	err = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "health_test.yaml" {
			return err
		}
		script, err := os.ReadFile(filepath.Join(filepath.Dir(path), "health.lua"))
		if err != nil {
			return err
		}
		var cases struct {
			Tests []struct {
				InputPath    string              `json:"inputPath"`
				HealthStatus health.HealthStatus `json:"healthStatus"`
			} `json:"tests"`
		}
		if err := read(path, &cases); err != nil {
			return err
		}
		for _, test := range cases.Tests {
			tests++
			var object unstructured.Unstructured
			input := filepath.Join(filepath.Dir(path), test.InputPath)
			if err := read(input, &object.Object); err != nil {
				return err
			}
			got, err := lua.VM{}.ExecuteHealthLua(&object, string(script))
			if err != nil {
				return fmt.Errorf("%s: %w", input, err)
			}
			configured, err := overrides.GetResourceHealth(&object)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", configMap, input, err)
			}
			if configured == nil || *configured != *got {
				return fmt.Errorf("%s: %s says %v, health.lua %v", input, configMap, configured, *got)
			}
			if *got != test.HealthStatus {
				return fmt.Errorf("%s: %s %q, want %s %q", input, got.Status, got.Message, test.HealthStatus.Status, test.HealthStatus.Message)
			}
		}
		return nil
	})
	if err == nil {
		fmt.Println(tests, "tests")
	}
	return err
}

// overridesOf are the customizations in an argocd-cm, as Argo CD reads them.
func overridesOf(file string) (lua.ResourceHealthOverrides, error) {
	var configMap corev1.ConfigMap
	if err := read(file, &configMap); err != nil {
		return nil, err
	}
	configMap.Namespace = "argocd"
	configMap.Labels = map[string]string{"app.kubernetes.io/part-of": "argocd"} // by which Argo CD finds it
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	secret := &corev1.Secret{}
	secret.Name, secret.Namespace, secret.Labels = "argocd-secret", "argocd", configMap.Labels
	return settings.NewSettingsManager(ctx, fake.NewClientset(&configMap, secret), "argocd").GetResourceOverrides()
}

func read(file string, into any) error {
	data, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, into)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", file, err)
	}
	return err
}
