package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// What is measured of what a plugin of Argo CD does with a number of pairs.
const (
	buildKustomized = "clusterpair build --decrypt, a kustomization of them"
	buildDirectory  = "clusterpair build --decrypt, the directory"
	buildFloor      = "floor: kustomize build of the same pairs in clear"
)

var buildNames = []string{buildKustomized, buildDirectory, buildFloor}

// ksopsRatio is the CPU of kustomize with KSOPS 4.5.1 as its function, one
// generator that lists 500 Secrets of 6 KB with one recipient, over that of
// kustomize on the same files in clear: 1.84 s and 0.550 s. It cannot be had from
// the module proxy, and was measured once.
const ksopsRatio = 3.35

// decrypted measures decrypting n pairs for Argo CD.
func (b *bench) decrypted(ctx context.Context, n int) (map[string]result, error) {
	dir := filepath.Join(b.tmp, "decrypted")
	defer os.RemoveAll(dir)
	if err := b.rendered(ctx, dir, n); err != nil {
		return nil, err
	}
	pairs := filepath.Join(dir, renderedDir, namespace)
	files, err := os.ReadDir(pairs)
	if err != nil {
		return nil, err
	}
	list := "resources:\n"
	for _, file := range files {
		list += "- " + file.Name() + "\n"
	}
	kustomized := filepath.Join(dir, "kustomized")
	if err := os.CopyFS(kustomized, os.DirFS(pairs)); err != nil {
		return nil, err
	}
	for _, sub := range []string{kustomized, filepath.Join(dir, pairsDir)} {
		if err := os.WriteFile(filepath.Join(sub, "kustomization.yaml"), []byte(list), 0o666); err != nil {
			return nil, err
		}
	}
	// The end of the output is at hand, with the last pair.
	inClear := func(out []byte) error {
		if bytes.Contains(out, []byte("ENC[")) {
			return errors.New("a pair is still encrypted")
		}
		return all(contains(fmt.Sprintf("name: dr-%05d", n-1)), contains("client-key-data: LS0t"))(out)
	}
	key := append(b.env(), "SOPS_AGE_KEY_FILE="+b.keyFile())
	return measure(ctx, []candidate{
		{name: buildKustomized, commands: [][]string{{b.bin("clusterpair"), "build", "--decrypt", "kustomized"}}, dir: dir, env: key, check: inClear},
		{name: buildDirectory, commands: [][]string{{b.bin("clusterpair"), "build", "--decrypt", filepath.Join(renderedDir, namespace)}}, dir: dir, env: key, check: inClear},
		{name: buildFloor, commands: [][]string{{b.bin("kustomize"), "build", pairsDir}}, dir: dir, env: b.env(), check: inClear},
	}, b.runs(n))
}
