package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"text/template"
)

// platform is one that archives are made for.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "_" + p.arch }

// binary is where a program of the platform is built.
func (p platform) binary(scratch, program string) string {
	return filepath.Join(scratch, p.String()+"-"+program)
}

// programs are the commands of an archive and of the image.
var programs = []string{"clusterpair", "clusterpair-helper"}

// subject is a file that the provenance speaks of.
type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// archives builds the release of the commit that has the tag version, into the directory
// out, which it replaces. It holds an archive for each platform with all that belongs to
// it, the image, the checksums of all, the provenance, a manifest for krew and a formula for
// Homebrew.
func archives(dir, out, version string, platforms []platform) error {
	if err := isOf(dir, version); err != nil {
		return err
	}
	scratch, remove, err := scratchFor(out)
	if err != nil {
		return err
	}
	defer remove()
	dest := filepath.Join(scratch, "release")
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}
	common, err := commonFiles(dir)
	if err != nil {
		return err
	}
	var subjects []subject
	var all []*built
	sums := make(map[string]string) // of archives, by platform
	for _, p := range platforms {
		both, files, err := p.files(dir, scratch, version)
		if err != nil {
			return err
		}
		b := both[0]
		all = append(all, both...)
		for _, f := range files {
			if slices.Contains(programs, f.name) {
				subjects = append(subjects, subjectOf(p.String()+"/"+f.name, f.data))
			}
		}
		if p == platforms[0] { // which are the same on all
			pages, err := b.manPages(dir, filepath.Join(scratch, "man"))
			if err != nil {
				return err
			}
			for _, page := range pages {
				common = append(common, file{"man/man1/" + path.Base(page.name), 0o644, page.data})
			}
		}
		files = append(files, common...)
		name, data, err := b.archive(fmt.Sprintf("clusterpair_%s_%s", version, p), files)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dest, name), data, 0o644); err != nil {
			return err
		}
		s := subjectOf(name, data)
		subjects, sums[p.String()] = append(subjects, s), s.Digest["sha256"]
		if p.os == "linux" {
			packed, err := b.packages(dir, dest, scratch, version, files)
			if err != nil {
				return err
			}
			subjects = append(subjects, packed...)
		}
	}
	image, err := releaseImage(dir, dest, scratch, version)
	if err != nil {
		return err
	}
	if err := describe(dest, version, all, append(subjects, image...), sums); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(dest, out)
}

// isOf refuses a work tree that is not the version, before minutes go into building it.
func isOf(dir, version string) error {
	if !regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`).MatchString(version) {
		return fmt.Errorf("VERSION=%s is not like v1.2.3", version)
	}
	var b built
	if err := b.names(dir); err != nil {
		return err
	}
	if b.released != version {
		return fmt.Errorf("the pages and manifests name %s: make names VERSION=%s, commit, and give that commit the tag", b.released, version)
	}
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"-C", dir}, args...)...).Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return "", fmt.Errorf("git %s: %s", args[0], bytes.TrimSpace(exit.Stderr))
		}
		return strings.TrimSpace(string(out)), err
	}
	changes, err := git("status", "--porcelain")
	if err != nil {
		return err
	}
	if changes != "" {
		return fmt.Errorf("the work tree is not what is committed:\n%s\ncommit that or remove it, and give the commit its tag: git tag -f -a -m 'version %s' %[2]s", changes, version)
	}
	head, err := git("rev-parse", "HEAD")
	if err != nil {
		return err
	}
	tagged, err := git("rev-parse", "-q", "--verify", "refs/tags/"+version+"^{commit}")
	if err != nil {
		return fmt.Errorf("there is no tag %s: git tag -a -m 'version %[1]s' %[1]s", version)
	}
	if tagged != head {
		return fmt.Errorf("the tag %s is at commit %s, and the work tree at %s: git checkout %[1]s", version, tagged, head)
	}
	return nil
}

// releaseImage writes the image as an archive of its OCI layout, and its bills of materials.
// The provenance speaks of both by the digest that registries have, too.
func releaseImage(dir, dest, scratch, version string) ([]subject, error) {
	all, err := imagesOf(dir, scratch)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(scratch, "oci")
	if err := all.layout(root); err != nil {
		return nil, err
	}
	var files []file
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		files = append(files, file{name, 0o644, data})
		return err
	})
	if err != nil {
		return nil, err
	}
	packed, err := all.last.tar(files)
	if err != nil {
		return nil, err
	}
	digest, err := all.index.Digest()
	if err != nil {
		return nil, err
	}
	subjects := []subject{{all.last.repository, map[string]string{digest.Algorithm: digest.Hex}}}
	written := map[string][]byte{"clusterpair_" + version + "_image.oci.tar": packed}
	for name, sbom := range all.sboms {
		written["clusterpair_"+version+"_image_"+name] = sbom
	}
	for _, name := range slices.Sorted(maps.Keys(written)) {
		if err := os.WriteFile(filepath.Join(dest, name), written[name], 0o644); err != nil {
			return nil, err
		}
		subjects = append(subjects, subjectOf(name, written[name]))
	}
	return subjects, nil
}

func subjectOf(name string, data []byte) subject {
	sum := sha256.Sum256(data)
	return subject{name, map[string]string{"sha256": hex.EncodeToString(sum[:])}}
}

// files are those of an archive that are of one platform: the programs, what each is made
// of, and the licenses of all that is in them.
func (p platform) files(dir, scratch, version string) (both []*built, files []file, err error) {
	for _, program := range programs {
		binary := p.binary(scratch, program)
		b, err := build(dir, binary, "./cmd/"+program, p)
		if err != nil {
			return nil, nil, err
		}
		if b.info.Main.Version != version {
			return nil, nil, fmt.Errorf("to Go the last commit is version %s, and not %s: it has another tag, too", b.info.Main.Version, version)
		}
		data, err := os.ReadFile(binary)
		if err != nil {
			return nil, nil, err
		}
		sbom, err := b.sbom(inArchive)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, file{program, 0o755, data}, file{program + ".cdx.json", 0o644, sbom})
		both = append(both, b)
	}
	notices, err := thirdParty(dir, both...)
	return both, append(files, file{"THIRD_PARTY_LICENSES", 0o644, notices}), err
}

// commonFiles are the same on all platforms.
func commonFiles(dir string) ([]file, error) {
	var files []file
	for _, name := range []string{"LICENSE", "README.md"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, 0o644, text})
	}
	for shell, name := range map[string]string{"bash": "clusterpair.bash", "zsh": "_clusterpair", "fish": "clusterpair.fish"} {
		cmd := exec.Command("go", "run", "-C", dir, "./cmd/clusterpair", "completion", shell)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("completion for %s: %w", shell, err)
		}
		files = append(files, file{"completions/" + name, 0o644, text})
	}
	return files, nil
}

// modulesOf are the modules in programs, by path.
func modulesOf(programs []*built) map[string]*debug.Module {
	modules := make(map[string]*debug.Module)
	for _, b := range programs {
		for _, m := range b.info.Deps {
			modules[m.Path] = actual(m)
		}
	}
	return modules
}

var licenseName = regexp.MustCompile(`(?i)^(licen[sc]e|copying|notice|unlicense)([-._].*)?$`)

// thirdParty are the licenses and notices of what is in programs of one platform: of Go
// itself, and of each module, at its top and in the folders above its packages.
func thirdParty(dir string, programs ...*built) ([]byte, error) {
	root, err := exec.Command("go", "env", "-C", dir, "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("find Go: %w", err)
	}
	std, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "LICENSE"))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	add := func(what, name string, text []byte) {
		rule := strings.Repeat("=", 80)
		fmt.Fprintf(&out, "\n%s\n%s: %s\n%s\n\n%s\n", rule, what, name, rule, bytes.TrimSpace(text))
	}
	out.WriteString("clusterpair contains the library of Go and the modules below, under these licenses.\n")
	add("Go, "+programs[0].info.GoVersion, "LICENSE", std)
	folders, err := foldersOf(dir, programs)
	if err != nil {
		return nil, err
	}
	modules := modulesOf(programs)
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		found := false
		for _, f := range slices.SortedFunc(maps.Keys(folders[module]), func(x, y folder) int { return strings.Compare(x.rel, y.rel) }) {
			entries, err := os.ReadDir(f.path)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				if e.IsDir() || !licenseName.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
					continue
				}
				text, err := os.ReadFile(filepath.Join(f.path, e.Name()))
				if err != nil {
					return nil, err
				}
				found = found || f.rel == "."
				add(module+" "+modules[module].Version, path.Join(f.rel, e.Name()), text)
			}
		}
		if !found {
			return nil, fmt.Errorf("%s has no license at its top: whoever hands it on has to know which", module)
		}
	}
	return out.Bytes(), nil
}

// folder is one of a module, and rel its name from the top of that.
type folder struct{ path, rel string }

// foldersOf are the folders of each module, by its path, in which packages of programs are,
// and those above them.
func foldersOf(dir string, programs []*built) (map[string]map[folder]bool, error) {
	args := []string{"list", "-C", dir, "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}\t{{$.Dir}}{{end}}"}
	for _, b := range programs {
		args = append(args, b.info.Path)
	}
	list := exec.Command("go", args...)
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+programs[0].setting("GOOS"), "GOARCH="+programs[0].setting("GOARCH"), "GOFLAGS=-mod=readonly", "GOWORK=off")
	listed, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the packages: %w", err)
	}
	folders := make(map[string]map[folder]bool)
	for line := range strings.Lines(string(listed)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) != 3 { // of Go's library
			continue
		}
		module, top, where := fields[0], fields[1], fields[2]
		if folders[module] == nil {
			folders[module] = make(map[folder]bool)
		}
		for ; ; where = filepath.Dir(where) {
			rel, err := filepath.Rel(top, where)
			if err != nil || !filepath.IsLocal(rel) {
				return nil, fmt.Errorf("%s is not in its module, %s", where, top)
			}
			folders[module][folder{where, filepath.ToSlash(rel)}] = true
			if rel == "." {
				break
			}
		}
	}
	return folders, nil
}

// archive packs files. The same files give the same bytes.
func (b *built) archive(name string, files []file) (string, []byte, error) {
	slices.SortFunc(files, func(x, y file) int { return strings.Compare(x.name, y.name) })
	var out bytes.Buffer
	inside := make([]file, len(files))
	for i, f := range files {
		inside[i] = file{name + "/" + f.name, f.mode, f.data}
	}
	packed, err := b.tar(inside)
	if err != nil {
		return "", nil, err
	}
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return "", nil, err
	}
	if _, err := w.Write(packed); err != nil {
		return "", nil, err
	}
	err = w.Close()
	return name + ".tar.gz", out.Bytes(), err
}

// describe writes what speaks of the archives, SHA256SUMS last.
func describe(dest, version string, programs []*built, subjects []subject, sums map[string]string) error {
	provenance, err := provenanceOf(version, programs, subjects)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dest, "clusterpair_"+version+".intoto.json"), provenance, 0o644); err != nil {
		return err
	}
	for name, text := range map[string]string{"clusterpair.yaml": krew, "clusterpair.rb": homebrew} {
		t, err := template.New(name).Funcs(functions).Parse(text)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		values := map[string]any{"Version": version, "Number": strings.TrimPrefix(version, "v"), "Source": programs[0].source, "Sums": sums}
		if err := t.Execute(&out, values); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dest, name), out.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return checksums(dest)
}

// checksums writes those of all files of a release into SHA256SUMS beside them.
func checksums(dest string) error {
	entries, err := os.ReadDir(dest)
	if err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dest, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", subjectOf("", data).Digest["sha256"], e.Name())
	}
	return os.WriteFile(filepath.Join(dest, "SHA256SUMS"), sums.Bytes(), 0o644)
}

// provenanceOf is an in-toto statement with a predicate of SLSA 1.
// https://slsa.dev/spec/v1.0/provenance
func provenanceOf(version string, programs []*built, subjects []subject) ([]byte, error) {
	b := programs[0]
	type resource struct {
		URI    string            `json:"uri"`
		Digest map[string]string `json:"digest,omitempty"`
	}
	dependencies := []resource{{"git+" + b.source + "@refs/tags/" + version, map[string]string{"gitCommit": b.setting("vcs.revision")}}}
	modules := modulesOf(programs)
	for _, path := range slices.Sorted(maps.Keys(modules)) {
		dependencies = append(dependencies, resource{URI: component(modules[path]).PackageURL})
	}
	text, err := json.MarshalIndent(map[string]any{
		"_type":         "https://in-toto.io/Statement/v1",
		"subject":       subjects,
		"predicateType": "https://slsa.dev/provenance/v1",
		"predicate": map[string]any{
			"buildDefinition": map[string]any{
				"buildType":            b.source + "/blob/" + version + "/docs/release.md",
				"externalParameters":   map[string]any{"version": version, "source": "git+" + b.source},
				"internalParameters":   map[string]any{"go": b.info.GoVersion},
				"resolvedDependencies": dependencies,
			},
			"runDetails": map[string]any{"builder": map[string]any{"id": b.source + "/blob/" + version + "/Makefile"}},
		},
	}, "", "  ")
	return append(text, '\n'), err
}

// functions are those of the templates.
var functions = template.FuncMap{
	"split":      func(platform string) []string { return strings.Split(platform, "_") },
	"systems":    func() map[string]string { return map[string]string{"darwin": "macos", "linux": "linux"} },
	"processors": func() map[string]string { return map[string]string{"amd64": "intel", "arm64": "arm"} },
	"has": func(sums map[string]string, system string) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(sums)), func(p string) bool { return strings.HasPrefix(p, system+"_") })
	},
}

// krew is the manifest by which kubectl installs clusterpair as a plugin.
// https://krew.sigs.k8s.io/docs/developer-guide/plugin-manifest/
const krew = `apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: clusterpair
spec:
  version: {{.Version}}
  homepage: {{.Source}}
  shortDescription: Stork ClusterPairs for Git
  description: |
    Renders ClusterPairs of Stork from the kubeconfig Secrets of destination clusters,
    validates them without a key, and encrypts them with SOPS.
  platforms:
{{- range $platform, $sum := .Sums}}{{with split $platform}}
  - selector:
      matchLabels: {os: {{index . 0}}, arch: {{index . 1}}}
    uri: {{$.Source}}/releases/download/{{$.Version}}/clusterpair_{{$.Version}}_{{$platform}}.tar.gz
    sha256: {{$sum}}
    files:
    - {from: clusterpair_{{$.Version}}_{{$platform}}/*, to: .}
    bin: clusterpair
{{- end}}{{end}}
`

// homebrew is the formula by which brew installs clusterpair.
// https://docs.brew.sh/Formula-Cookbook
const homebrew = `class Clusterpair < Formula
  desc "Stork ClusterPairs for Git: rendered, validated, encrypted"
  homepage "{{.Source}}"
  version "{{.Number}}"
  license "Apache-2.0"
{{- range $os, $name := systems}}{{if has $.Sums $os}}

  on_{{$name}} do
{{- range $arch, $cpu := processors}}{{$platform := print $os "_" $arch}}{{with index $.Sums $platform}}
    on_{{$cpu}} do
      url "{{$.Source}}/releases/download/{{$.Version}}/clusterpair_{{$.Version}}_{{$platform}}.tar.gz"
      sha256 "{{.}}"
    end
{{- end}}{{end}}
  end
{{- end}}{{end}}

  def install
    bin.install "clusterpair", "clusterpair-helper"
    man1.install Dir["man/man1/*.1"]
    bash_completion.install "completions/clusterpair.bash" => "clusterpair"
    zsh_completion.install "completions/_clusterpair"
    fish_completion.install "completions/clusterpair.fish"
    doc.install "THIRD_PARTY_LICENSES", Dir["*.cdx.json"]
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/clusterpair version")
  end
end
`
