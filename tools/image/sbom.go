package main

import (
	"bytes"
	"fmt"
	"net/url"
	"path"
	"runtime/debug"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// sbom lists what the binary was built from, as the linker has noted it: the
// modules with their versions and checksums, and the release of Go.
func (b *built) sbom(kind string) ([]byte, error) {
	main := component(&b.info.Main)
	main.Type = cyclonedx.ComponentTypeApplication
	main.Name = path.Base(b.info.Path)
	main.Licenses = &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}}
	standard := component(&debug.Module{Path: "std", Version: b.info.GoVersion})
	components := []cyclonedx.Component{standard}
	uses := []string{standard.BOMRef}
	for _, module := range b.info.Deps {
		c := component(actual(module))
		components, uses = append(components, c), append(uses, c.BOMRef)
	}
	// The CAs beside the binary in the image are those of a module that only this program has.
	if own, ok := debug.ReadBuildInfo(); ok && kind == inImage {
		for _, module := range own.Deps {
			if module.Path == "golang.org/x/crypto/x509roots/fallback" {
				c := component(module)
				c.Type = cyclonedx.ComponentTypeData
				c.Description = "the CAs of Mozilla, /etc/ssl/certs/ca-certificates.crt"
				components, uses = append(components, c), append(uses, c.BOMRef)
			}
		}
	}
	// The order of use is not known, only that all of it is used.
	dependencies := []cyclonedx.Dependency{{Ref: main.BOMRef, Dependencies: &uses}}

	bom := cyclonedx.NewBOM()
	// Of the same binary it is the same document.
	bom.SerialNumber = uuid.NewSHA1(uuid.NameSpaceURL, []byte(b.source+"@"+b.setting("vcs.revision")+"/"+b.info.GoVersion+"/"+b.setting("GOOS")+"/"+b.arch+"/"+b.info.Main.Version+"/"+path.Base(b.info.Path)+"/"+kind)).URN()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: b.time.Format(time.RFC3339),
		Component: &main,
		Properties: &[]cyclonedx.Property{
			{Name: "go:arch", Value: b.arch},
			{Name: "vcs:revision", Value: b.setting("vcs.revision")},
		},
	}
	bom.Components = &components
	bom.Dependencies = &dependencies
	var out bytes.Buffer
	err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_6)
	return out.Bytes(), err
}

// What a program is part of, for its bill of materials.
const (
	inImage   = "image"
	inArchive = "archive"
)

// actual is the module that was built, where another one stands for it.
func actual(m *debug.Module) *debug.Module {
	if m.Replace != nil {
		return m.Replace
	}
	return m
}

// component is a module. Its checksum is that of go.sum, which is over a list of
// files and so none of the hashes of CycloneDX.
func component(module *debug.Module) cyclonedx.Component {
	version := module.Version
	if module.Path == "std" {
		version = strings.TrimPrefix(version, "go")
	}
	segments := strings.Split(module.Path, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	purl := fmt.Sprintf("pkg:golang/%s@%s", strings.ToLower(strings.Join(segments, "/")), strings.ReplaceAll(version, "+", "%2B"))
	c := cyclonedx.Component{
		BOMRef:     purl,
		Type:       cyclonedx.ComponentTypeLibrary,
		Name:       module.Path,
		Version:    version,
		PackageURL: purl,
	}
	if module.Sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: module.Sum}}
	}
	return c
}
