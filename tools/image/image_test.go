package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// first is the image of the last commit, tag its name.
var first, tag string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clusterpair-image-")
	if err == nil {
		first = filepath.Join(dir, "image")
		tag, err = imageOf(filepath.Join(dir, "repository"), first)
	}
	code := 1
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
	} else if code = m.Run(); code == 0 {
		for _, program := range []string{"podman", "runc"} { // what the image was run by
			version, _ := exec.Command(program, "--version").Output()
			line, _, _ := strings.Cut(string(version), "\n")
			os.Stdout.WriteString(line + "\n")
		}
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// imageOf clones this repository to dir and builds the image of its last commit
// into out.
func imageOf(dir, out string) (string, error) {
	if text, err := exec.Command("git", "clone", "-q", "--no-local", "../..", dir).CombinedOutput(); err != nil {
		return "", &exec.Error{Name: string(text), Err: err}
	}
	var said bytes.Buffer
	err := run(dir, out, &said)
	name, _, _ := strings.Cut(said.String(), "\n")
	return name, err
}

// TestReproducible: another clone, at another path and in another environment,
// gives the same files, byte for byte.
func TestReproducible(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TZ", "Asia/Tokyo")
	t.Setenv("GOFLAGS", "-race")
	t.Setenv("GOAMD64", "v3")
	second := filepath.Join(dir, "somewhere", "else", "image")
	if _, err := imageOf(filepath.Join(dir, "another"), second); err != nil {
		t.Fatal(err)
	}
	files := 0
	err := filepath.WalkDir(first, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		rel, _ := filepath.Rel(first, path)
		one, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		other, err := os.ReadFile(filepath.Join(second, rel))
		if err != nil {
			return err
		}
		if !bytes.Equal(one, other) {
			t.Errorf("%s differs", rel)
		}
		return nil
	})
	if err != nil || files < 10 {
		t.Fatalf("%d files, %v", files, err)
	}
}

// TestLayout reads the layout as a registry does.
func TestLayout(t *testing.T) {
	oci, err := layout.ImageIndexFromPath(filepath.Join(first, "oci"))
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(oci); err != nil {
		t.Fatal(err)
	}
	outer, err := oci.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("%+v, %v", outer, err)
	}
	index, err := oci.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != len(architectures) {
		t.Fatalf("%+v, %v", manifest, err)
	}
	for i, m := range manifest.Manifests {
		arch := architectures[i]
		if !m.Platform.Equals(v1.Platform{OS: "linux", Architecture: arch}) {
			t.Errorf("platform %v", m.Platform)
		}
		img, err := index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		config, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if config.Architecture != arch || config.Config.User != "65532:65532" || strings.Join(config.Config.Entrypoint, " ") != "/usr/local/bin/clusterpair" {
			t.Errorf("%s: %+v", arch, config)
		}
		for _, label := range []string{"created", "description", "licenses", "revision", "source", "title", "version"} {
			if config.Config.Labels["org.opencontainers.image."+label] == "" {
				t.Errorf("%s: no label %s", arch, label)
			}
		}
	}
}

// TestSBOM holds the bills of materials against the schema of CycloneDX, and
// against what go itself says of the program in the image.
func TestSBOM(t *testing.T) {
	compiler := jsonschema.NewCompiler()
	for _, name := range []string{"bom-1.6", "spdx", "jsf-0.82", "cryptography-defs"} {
		file, err := os.Open(filepath.Join(tools(t), "cyclonedx", name+".SNAPSHOT.schema.json"))
		if err != nil {
			t.Fatalf("%v: make bin/cyclonedx", err)
		}
		doc, err := jsonschema.UnmarshalJSON(file)
		file.Close()
		if err != nil {
			t.Fatal(err)
		}
		if err := compiler.AddResource("http://cyclonedx.org/schema/"+name+".SNAPSHOT.schema.json", doc); err != nil {
			t.Fatal(err)
		}
	}
	schema, err := compiler.Compile("http://cyclonedx.org/schema/bom-1.6.SNAPSHOT.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(map[string]any{"bomFormat": "CycloneDX", "specVersion": "1.6", "components": []any{map[string]any{}}}); err == nil {
		t.Fatal("the schema takes a component that has no name")
	}
	for i := range 2 * len(architectures) {
		arch, program := architectures[i/2], programs[i%2]
		text, err := os.ReadFile(filepath.Join(first, program+"-"+arch+".cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s, %s: %v", program, arch, err)
		}
		var bom struct {
			Components []struct{ Name, Version, Purl string }
		}
		if err := json.Unmarshal(text, &bom); err != nil {
			t.Fatal(err)
		}
		listed := make(map[string]bool)
		for _, c := range bom.Components {
			listed[c.Name+" "+c.Version] = true
		}
		binary := filepath.Join(t.TempDir(), program)
		extract(t, filepath.Join(first, "clusterpair-"+arch+".tar"), "usr/local/bin/"+program, binary)
		out, err := exec.Command("go", "version", "-m", binary).Output()
		if err != nil {
			t.Fatal(err)
		}
		deps := 0
		for line := range strings.Lines(string(out)) {
			if f := strings.Fields(line); len(f) > 2 && f[0] == "dep" {
				deps++
				if !listed[f[1]+" "+f[2]] {
					t.Errorf("%s, %s: %s %s is not listed", program, arch, f[1], f[2])
				}
			}
		}
		if deps < 50 || len(bom.Components) != deps+2 {
			t.Errorf("%s, %s: %d components of %d dependencies, Go and the CAs", program, arch, len(bom.Components), deps)
		}
	}
}

// TestContainer runs the image: as kustomize does, by the name docker, as an init
// container of Kubernetes, and in CI.
func TestContainer(t *testing.T) {
	for _, program := range []string{"podman", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%v: apt-get install podman runc", err)
		}
	}
	storage := t.TempDir()
	podman := []string{"podman", "--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run"),
		"--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "none"}
	t.Cleanup(func() { exec.Command(podman[0], append(podman[1:], "rmi", "--all", "--force")...).Run() })
	if out, err := exec.Command(podman[0], append(podman[1:], "load", "-q", "-i", filepath.Join(first, "clusterpair-"+runtime.GOARCH+".tar"))...).CombinedOutput(); err != nil {
		t.Fatalf("load: %v\n%s", err, out)
	}
	bin := t.TempDir()
	// What kustomize calls docker. The limits are within those of any machine.
	docker := "#!/bin/sh\ncommand=$1; shift\nexec '" + strings.Join(podman, "' '") + "' \"$command\" --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "script",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			extract(t, filepath.Join(first, "clusterpair-"+runtime.GOARCH+".tar"), "usr/local/bin/clusterpair", filepath.Join(bin, "clusterpair"))
			env.Setenv("PATH", strings.Join([]string{bin, tools(t), env.Getenv("PATH")}, string(filepath.ListSeparator)))
			env.Setenv("ROOT", root)
			env.Setenv("IMAGE", tag)
			return nil
		},
	})
}

func tools(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("CLUSTERPAIR_TOOLS")
	if dir == "" {
		dir = "../../bin"
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// extract takes a file out of the only layer of an image, with tar.
func extract(t *testing.T, image, name, to string) {
	t.Helper()
	dir := t.TempDir()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var stderr bytes.Buffer
	cmd := exec.Command("sh", "-euc", `tar -xf "$1" -C "$2"; tar -xzOf "$2"/*.tar.gz "$3"`, "sh", image, dir, name)
	cmd.Stdout, cmd.Stderr = io.Writer(out), &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
}
