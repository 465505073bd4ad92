// Image builds clusterpair's container image without a daemon, or the archives of a
// release. The same commit and the same release of Go give the same bytes, on any machine.
//
//	image [-o DIR] REPOSITORY
//	image [-o DIR] -archives VERSION REPOSITORY
//
// DIR then holds
//
//	oci/                     an OCI layout of the image, for amd64 and arm64
//	clusterpair-ARCH.tar     the image of one architecture, for docker load
//	clusterpair-ARCH.cdx.json  its software bill of materials, CycloneDX 1.6
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"debug/buildinfo"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// levels are the processors that programs are built for, by architecture.
var levels = map[string]string{"amd64": "GOAMD64=v1", "arm64": "GOARM64=v8.0"}

// architectures are those of the image.
var architectures = []string{"amd64", "arm64"}

// platforms are those of the archives.
var platforms = []platform{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "amd64"}, {"darwin", "arm64"}}

func main() {
	out := flag.String("o", "bin/image", "where the image goes")
	version := flag.String("archives", "", "make the archives of this version instead, the tag of the last commit")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: image [-o DIR] [-archives VERSION] REPOSITORY")
		os.Exit(2)
	}
	var err error
	if *version != "" {
		err = archives(flag.Arg(0), *out, *version, platforms)
	} else {
		err = run(flag.Arg(0), *out, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

// run builds the image of a repository into the directory out, which it replaces,
// and says what it is.
func run(dir, out string, w io.Writer) error {
	scratch, remove, err := scratchFor(out)
	if err != nil {
		return err
	}
	defer remove()
	dest := filepath.Join(scratch, "image")
	if err := os.Mkdir(dest, 0o755); err != nil {
		return err
	}

	of, err := imagesOf(dir, scratch)
	if err != nil {
		return err
	}
	for name, sbom := range of.sboms {
		if err := os.WriteFile(filepath.Join(dest, name), sbom, 0o644); err != nil {
			return err
		}
	}
	for arch, img := range of.images {
		if err := tarball.WriteToFile(filepath.Join(dest, "clusterpair-"+arch+".tar"), of.tag, img); err != nil {
			return err
		}
	}
	if err := of.layout(filepath.Join(dest, "oci")); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	if err := os.Rename(dest, out); err != nil {
		return err
	}
	if strings.HasSuffix(of.tag.TagStr(), "dirty") {
		fmt.Fprintln(os.Stderr, "image: the tree has changes that are not committed: nobody can build this image again")
	}
	digest, err := of.index.Digest()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n%s\n", of.tag, digest)
	return err
}

// scratchFor makes a directory beside out, and what removes it: also when the program is
// interrupted, as it holds hundreds of megabytes.
func scratchFor(out string) (scratch string, remove func(), err error) {
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", nil, err
	}
	scratch, err = os.MkdirTemp(filepath.Dir(out), ".new-")
	if err != nil {
		return "", nil, err
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		if _, ok := <-interrupted; ok {
			os.RemoveAll(scratch)
			os.Exit(1)
		}
	}()
	return scratch, func() {
		signal.Stop(interrupted)
		close(interrupted)
		os.RemoveAll(scratch)
	}, nil
}

// images are the image of each architecture, by that, and the index over them.
type images struct {
	tag    name.Tag
	images map[string]v1.Image
	index  v1.ImageIndex
	sboms  map[string][]byte // of each program on each architecture, by PROGRAM-ARCHITECTURE.cdx.json
	last   *built
}

// imagesOf builds the programs of a repository in the directory scratch, and the images.
func imagesOf(dir, scratch string) (*images, error) {
	all := &images{images: make(map[string]v1.Image), sboms: make(map[string][]byte), index: mutate.IndexMediaType(empty.Index, types.OCIImageIndex)}
	var pages []file
	for _, arch := range architectures {
		p := platform{"linux", arch}
		var both []*built
		inside := make(map[string][]byte)
		for _, program := range programs {
			b, err := build(dir, p.binary(scratch, program), "./cmd/"+program, p)
			if err != nil {
				return nil, err
			}
			sbom, err := b.sbom(inImage)
			if err != nil {
				return nil, err
			}
			both, inside[program], all.sboms[program+"-"+arch+".cdx.json"] = append(both, b), sbom, sbom
		}
		b := both[0]
		all.last = b
		var err error
		if pages == nil { // which are the same on all
			if pages, err = b.manPages(dir, filepath.Join(scratch, "man")); err != nil {
				return nil, err
			}
		}
		notices, err := thirdParty(dir, both...)
		if err != nil {
			return nil, err
		}
		img, err := b.image(p.binary(scratch, "clusterpair"), notices, inside, filepath.Join(dir, "LICENSE"), pages)
		if err != nil {
			return nil, err
		}
		all.images[arch] = img
		all.index = mutate.AppendManifests(all.index, mutate.IndexAddendum{
			Add:        plain{img},
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	var err error
	all.tag, err = name.NewTag(all.last.repository+":"+all.last.tag(), name.StrictValidation)
	return all, err
}

// plain is an image of which the index says no artifact type, as that of other tools. skopeo
// leaves it out, and so would push another digest than that of the provenance.
type plain struct{ v1.Image }

// ArtifactType is that of an image: none.
func (plain) ArtifactType() (string, error) { return "", nil }

// layout writes an OCI layout of all architectures into a directory.
func (all *images) layout(dir string) error {
	oci, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	// By this annotation skopeo, podman and others find the image in the layout.
	return oci.AppendIndex(all.index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": all.tag.TagStr()}))
}

// built is a binary and what is known of it.
type built struct {
	info *debug.BuildInfo
	arch string
	time time.Time // of the commit
	// source is the URL of the repository, repository the name of the image, released the
	// version that the files of the repository name.
	source, repository, released string
	author                       string // of the commit: NAME <ADDRESS>
}

// helperSuffix tells the binary of clusterpair-helper from that of clusterpair.
const helperSuffix = "-helper"

// build builds a command for a platform, whatever the environment says of others.
func build(dir, binary, command string, p platform) (*built, error) {
	cmd := exec.Command("go", "build", "-C", dir, "-trimpath", "-buildvcs=true", "-ldflags=-s -w", "-o", binary, command)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.os, "GOARCH="+p.arch, levels[p.arch], "GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off")
	if abs, err := filepath.Abs(binary); err == nil {
		cmd.Args[len(cmd.Args)-2] = abs
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build for %s: %w\n%s", p, err, text)
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	b := &built{info: info, arch: p.arch}
	if err := b.names(dir); err != nil {
		return nil, err
	}
	b.time, err = time.Parse(time.RFC3339, b.setting("vcs.time"))
	if err != nil {
		return nil, fmt.Errorf("%s is no Git work tree with a commit: the image bears the time of one", dir)
	}
	author, err := exec.Command("git", "-C", dir, "log", "-1", "--format=%an <%ae>", b.setting("vcs.revision")).Output()
	if err != nil {
		return nil, fmt.Errorf("git log: %w", err)
	}
	b.author = strings.TrimSpace(string(author))
	return b, nil
}

// names reads where the project lives.
func (b *built) names(dir string) error {
	const file = "internal/project/names.env"
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "REPOSITORY":
			b.source = value
		case "IMAGE":
			b.repository = value
		case "VERSION":
			b.released = value
		}
	}
	if b.source == "" || b.repository == "" || b.released == "" {
		return fmt.Errorf("%s lacks REPOSITORY, IMAGE or VERSION", file)
	}
	return nil
}

func (b *built) setting(key string) string {
	for _, s := range b.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// tag is the version as a tag can have it. That of a tree with changes that are
// not committed says so: dirty.
func (b *built) tag() string { return strings.ReplaceAll(b.info.Main.Version, "+", "-") }

// manPages are the man pages of the commands, of the time of the commit. They are
// written into the directory scratch first. clusterpair install finds them in the image.
func (b *built) manPages(dir, scratch string) ([]file, error) {
	scratch, err := filepath.Abs(scratch)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("go", "test", "-C", dir, "-count=1", "-run=^TestMan$", "./cmd/clusterpair")
	cmd.Env = append(os.Environ(), "MAN="+scratch, fmt.Sprintf("SOURCE_DATE_EPOCH=%d", b.time.Unix()), "TZ=UTC", "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off", "GOEXPERIMENT=", "GOFIPS140=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make the man pages: %w\n%s", err, text)
	}
	entries, err := os.ReadDir(scratch)
	if err != nil {
		return nil, err
	}
	var pages []file
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(scratch, e.Name()))
		if err != nil {
			return nil, err
		}
		pages = append(pages, file{"usr/local/share/man/man1/" + e.Name(), 0o644, text})
	}
	return pages, nil
}

// image lays out the image: the binaries and their man pages, the CAs that clouds and public
// API servers are signed by, and the names of users.
func (b *built) image(binary string, notices []byte, sboms map[string][]byte, license string, pages []file) (v1.Image, error) {
	program, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	helper, err := os.ReadFile(binary + helperSuffix)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(license)
	if err != nil {
		return nil, err
	}
	layer, err := b.layer(append(pages, []file{
		{"etc/passwd", 0o644, []byte("root:x:0:0::/:\nnobody:x:65534:65534::/:\nclusterpair:x:65532:65532::/:\n")}, // kustomize runs functions as nobody
		{"etc/group", 0o644, []byte("root:x:0:\nnobody:x:65534:\nclusterpair:x:65532:\n")},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, authorities()},
		{"tmp/", 0o1777, nil},
		{"usr/local/bin/clusterpair", 0o755, program},
		{"usr/local/bin/clusterpair-helper", 0o755, helper},
		{"usr/share/licenses/clusterpair/LICENSE", 0o644, text},
		{"usr/share/licenses/clusterpair/THIRD_PARTY_LICENSES", 0o644, notices},
		{"usr/share/sbom/clusterpair.cdx.json", 0o644, sboms["clusterpair"]},
		{"usr/share/sbom/clusterpair-helper.cdx.json", 0o644, sboms["clusterpair-helper"]},
		{"work/", 0o755, nil},
	}...))
	if err != nil {
		return nil, err
	}
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: b.time}, CreatedBy: "make image"},
	})
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(mutate.ConfigMediaType(img, types.OCIConfigJSON), &v1.ConfigFile{
		OS:           "linux",
		Architecture: b.arch,
		Created:      v1.Time{Time: b.time},
		RootFS:       must(img.ConfigFile()).RootFS,
		History:      must(img.ConfigFile()).History,
		Config: v1.Config{
			User:       "65532:65532", // by number: Kubernetes cannot know that a name is not root
			Entrypoint: []string{"/usr/local/bin/clusterpair"},
			Env:        []string{"PATH=/usr/local/bin"},
			WorkingDir: "/work", // where a function's mount goes
			Labels: map[string]string{
				"org.opencontainers.image.created":     b.time.Format(time.RFC3339),
				"org.opencontainers.image.description": "Stork ClusterPairs for Git: rendered, validated, encrypted",
				"org.opencontainers.image.licenses":    "Apache-2.0",
				"org.opencontainers.image.revision":    b.setting("vcs.revision"),
				"org.opencontainers.image.source":      b.source,
				"org.opencontainers.image.title":       "clusterpair",
				"org.opencontainers.image.version":     b.info.Main.Version,
			},
		},
	})
}

// must is for what was made in memory a moment ago.
func must(c *v1.ConfigFile, err error) *v1.ConfigFile {
	if err != nil {
		panic(err)
	}
	return c
}

// file is one of a layer. The name of a directory ends with a slash.
type file struct {
	name string
	mode int64
	data []byte
}

// layer packs files and the directories above them, all of root and of the time of
// the commit.
func (b *built) layer(files []file) (v1.Layer, error) {
	packed, err := b.tar(files)
	if err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(packed)), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
}

// tar packs files, and the directories that they are in, with the time of the commit.
func (b *built) tar(files []file) ([]byte, error) {
	seen := make(map[string]bool)
	for _, f := range files {
		seen[f.name] = true
	}
	for _, f := range slices.Clone(files) {
		for dir := path.Dir(strings.TrimSuffix(f.name, "/")); dir != "."; dir = path.Dir(dir) {
			if !seen[dir+"/"] {
				seen[dir+"/"] = true
				files = append(files, file{dir + "/", 0o755, nil})
			}
		}
	}
	slices.SortFunc(files, func(x, y file) int { return cmp.Compare(x.name, y.name) })
	var packed bytes.Buffer
	w := tar.NewWriter(&packed)
	for _, f := range files {
		header := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: b.time, Format: tar.FormatPAX}
		if strings.HasSuffix(f.name, "/") {
			header.Typeflag = tar.TypeDir
		} else {
			header.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return packed.Bytes(), err
}

// authorities are the roots of Mozilla, as the Go project keeps them, in the release
// that go.mod names. Those that are trusted for some certificates only are left
// out, as a file of certificates cannot say so.
func authorities() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}) // a buffer takes all
		}
	}
	return out.Bytes()
}
