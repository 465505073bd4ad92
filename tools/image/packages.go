package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	"github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	"github.com/goreleaser/nfpm/v2/rpm"
)

// format is one of packages of a Linux distribution.
type format struct {
	name     string
	packager nfpm.Packager
	zsh      string // where its zsh looks for completions
	licenses string // where its users look for licenses
	licensed string // what the file with a license is to the packager
}

// formats are those that packages are made in.
var formats = []format{
	{"deb", deb.Default, "usr/share/zsh/vendor-completions", "usr/share/doc/clusterpair", files.TypeFile},
	{"rpm", rpm.DefaultRPM, "usr/share/zsh/site-functions", "usr/share/licenses/clusterpair", files.TypeRPMLicense},
}

// packages writes the packages of one architecture into the directory dest. They hold
// the files of its archive, and the changelog of the repository dir.
func (b *built) packages(dir, dest, scratch, version string, archived []file) ([]subject, error) {
	changes, err := os.ReadFile(filepath.Join(dir, "CHANGELOG.md"))
	if err != nil {
		return nil, err
	}
	archived = append(archived[:len(archived):len(archived)], file{"CHANGELOG.md", 0o644, changes})
	var subjects []subject
	for _, f := range formats {
		info := b.describePackage(version)
		inside := f.lay(archived)
		if f.name == "deb" {
			inside = append(slices.DeleteFunc(inside, func(f file) bool { return path.Base(f.name) == "LICENSE" }), b.debian(info)...)
		}
		stage := filepath.Join(scratch, f.name+"-"+b.arch)
		if info.Contents, err = b.stage(stage, inside); err != nil {
			return nil, err
		}
		for _, c := range info.Contents {
			if isLicense(path.Base(c.Destination)) {
				c.Type = f.licensed
			}
		}
		for _, dir := range slices.Compact([]string{"/usr/share/doc/clusterpair", "/" + f.licenses}) {
			info.Contents = append(info.Contents, &files.Content{Destination: dir, Type: files.TypeDir})
		}
		name := fmt.Sprintf("clusterpair_%s_linux_%s.%s", version, b.arch, f.name)
		var packed bytes.Buffer
		if err := f.packager.Package(info, &packed); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dest, name), packed.Bytes(), 0o644); err != nil {
			return nil, err
		}
		subjects = append(subjects, subjectOf(name, packed.Bytes()))
	}
	return subjects, nil
}

// describePackage is what a package says of itself.
func (b *built) describePackage(version string) *nfpm.Info {
	host := b.source
	if u, err := url.Parse(b.source); err == nil {
		host = u.Host
	}
	info := &nfpm.Info{
		Name:        "clusterpair",
		Arch:        b.arch,
		Version:     version,
		Release:     "1",
		Section:     "admin",
		Maintainer:  b.author, // who has made the release
		Homepage:    b.source,
		License:     "Apache-2.0",
		Description: "Stork ClusterPairs for Git: rendered, validated, encrypted\nFor a failover, one Kubernetes cluster must hold the credentials of another.\nclusterpair renders the ClusterPairs of Stork from the kubeconfig Secrets of\ndestination clusters, finds the mistakes in them without a key, and encrypts\nthem with SOPS.",
		MTime:       b.time,

		DisableGlobbing: true,
	}
	info.RPM.BuildHost = host // or it were the name of this machine
	return nfpm.WithDefaults(info)
}

// lay says where the files of an archive go in a package.
func (f format) lay(archived []file) []file {
	inside := make([]file, len(archived))
	for i, a := range archived {
		dir, name := path.Split(a.name)
		switch {
		case a.mode == 0o755:
			a.name = "usr/bin/" + name
		case dir == "man/man1/":
			a.name, a.data = "usr/share/man/man1/"+name+".gz", zipped(a.data)
		case name == "clusterpair.bash":
			a.name = "usr/share/bash-completion/completions/clusterpair"
		case name == "_clusterpair":
			a.name = f.zsh + "/" + name
		case name == "clusterpair.fish":
			a.name = "usr/share/fish/vendor_completions.d/" + name
		case isLicense(name):
			a.name = f.licenses + "/" + name
		case name == "CHANGELOG.md":
			a.name, a.data = "usr/share/doc/clusterpair/changelog.gz", zipped(a.data)
		default:
			a.name = "usr/share/doc/clusterpair/" + name
		}
		inside[i] = a
	}
	return inside
}

func isLicense(name string) bool { return name == "LICENSE" || name == "THIRD_PARTY_LICENSES" }

// debian are the files that Debian wants in each package. The license is one of those that
// it has in common.
// https://www.debian.org/doc/debian-policy/ch-docs.html
func (b *built) debian(info *nfpm.Info) []file {
	copyright := `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: clusterpair
Source: ` + b.source + `
Comment: The licenses of the modules within are in THIRD_PARTY_LICENSES, beside this file.

Files: *
Copyright: ` + strconv.Itoa(b.time.UTC().Year()) + ` the authors of clusterpair
License: Apache-2.0
 The full text is in /usr/share/common-licenses/Apache-2.0.
`
	version := strings.Split(deb.Default.ConventionalFileName(info), "_")[1]
	changes := fmt.Sprintf("clusterpair (%s) stable; urgency=medium\n\n  * What has changed is in changelog.gz, beside this file.\n\n -- %s  %s\n",
		version, info.Maintainer, b.time.UTC().Format(time.RFC1123Z))
	return []file{
		{"usr/share/doc/clusterpair/copyright", 0o644, []byte(copyright)},
		{"usr/share/doc/clusterpair/changelog.Debian.gz", 0o644, zipped([]byte(changes))},
	}
}

// stage writes files to where the packager reads them.
func (b *built) stage(dir string, inside []file) (files.Contents, error) {
	var contents files.Contents
	for _, f := range inside {
		path := filepath.Join(dir, f.name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, f.data, 0o600); err != nil {
			return nil, err
		}
		contents = append(contents, &files.Content{
			Source: path, Destination: "/" + f.name, Type: files.TypeFile,
			FileInfo: &files.ContentFileInfo{Mode: os.FileMode(f.mode), MTime: b.time},
		})
	}
	return contents, nil
}

// zipped is compressed without a time or a name.
func zipped(data []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(data) // a buffer takes all
	w.Close()
	return out.Bytes()
}
