package engine

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/argoset"
	"clusterpair.dev/internal/manifest"
)

// source is an object of Flux that fetches files.
type source struct {
	kind string
	id   string // NAMESPACE/NAME
	path string // of the file in which it stands
	url  string // of a Git repository, as repositoryURL gives it
	// copies are the folders of this repository that an ArtifactGenerator packs, by
	// where they are in the artifact.
	copies []packed
	// ignore are the rules of spec.ignore, sparse the folders of spec.sparseCheckout.
	ignore []ignoreRule
	sparse []string
}

// packed is a folder of a repository that becomes one of an artifact.
type packed struct{ from, to string }

// addSource notes a source.
// https://fluxcd.io/flux/components/source/
func (n *Notes) addSource(d Document, kind string) {
	spec := manifest.Field(d.Node, "spec")
	namespace := manifest.Text(d.Node, "metadata", "namespace")
	id := namespace + "/" + manifest.Text(d.Node, "metadata", "name")
	switch kind {
	case "GitRepository":
		s := source{kind: kind, id: id, path: d.Path, url: repositoryURL(manifest.Text(spec, "url")), ignore: d.ignored(spec)}
		for _, dir := range manifest.Items(spec, "sparseCheckout") {
			s.sparse = append(s.sparse, cleaned(dir.Value))
		}
		n.sources = append(n.sources, s)
	case "Channel": // of Open Cluster Management
		if slices.Contains([]string{"Git", "git", "GitHub", "github"}, manifest.Text(spec, "type")) {
			n.sources = append(n.sources, source{kind: kind, id: id, path: d.Path, url: repositoryURL(manifest.Text(spec, "pathname"))})
		}
	case "ArtifactGenerator":
		for _, artifact := range manifest.Items(spec, "artifacts") {
			s := source{kind: "ExternalArtifact", path: d.Path, id: namespace + "/" + manifest.Text(artifact, "name")}
			for _, c := range manifest.Items(artifact, "copy") {
				if p, ok := packedOf(manifest.Text(c, "from"), manifest.Text(c, "to")); ok {
					s.copies = append(s.copies, p)
				}
			}
			n.sources = append(n.sources, s)
		}
	}
}

// packedOf is what an entry of copy packs, if it is a whole folder: from is
// @ALIAS/FOLDER/** and to @artifact/FOLDER/.
// https://fluxcd.io/flux/components/source/artifactgenerators/#artifact-copy-operations
func packedOf(from, to string) (packed, bool) {
	_, from, _ = strings.Cut(from, "/")
	to, isArtifact := strings.CutPrefix(to, "@artifact")
	folder, isWhole := strings.CutSuffix(from, "**")
	if !isArtifact || !isWhole || strings.ContainsAny(folder, "*?[{") {
		return packed{}, false
	}
	return packed{path.Clean(folder), path.Clean(strings.TrimPrefix(to, "/"))}, true
}

// here is the folder of this repository that a folder of an artifact is made of.
func (s *source) here(dir string) (string, bool) {
	for _, p := range s.copies {
		switch {
		case dir == p.to:
			return p.from, true
		case p.to == "." && dir != ".":
			return path.Join(p.from, dir), true
		case Below(dir, p.to):
			return path.Join(p.from, strings.TrimPrefix(dir, p.to+"/")), true
		case Below(p.to, dir): // the whole of it is more than this one
			return p.from, true
		}
	}
	return "", false
}

// repositoryURL is a Git URL without what differs between two ways to one repository:
// scheme, user, port, .git, the case of the host. A template gives none.
func repositoryURL(text string) string {
	if text == "" || strings.Contains(text, "{{") || strings.Contains(text, "${") || strings.Contains(text, "<<") {
		return ""
	}
	host, way := "", ""
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		host, way = u.Hostname(), u.Path
	} else if before, after, ok := strings.Cut(text, ":"); ok && !strings.Contains(before, "/") { // user@host:path
		host, way = before[strings.LastIndexByte(before, '@')+1:], after
	} else {
		return text
	}
	return strings.ToLower(host) + "/" + strings.Trim(strings.TrimSuffix(strings.TrimSuffix(way, "/"), ".git"), "/")
}

// bootstrapped stands for the URL of a source that is not in the files.
const bootstrapped = "\x00bootstrapped"

// own are the URLs of this repository among those that objects name. Git's remotes say it
// best; else it is what the sync that Flux was bootstrapped with fetches, else the URL of
// which most folders are here. Where nothing tells them apart, each may be it.
func (m *Model) own(named map[string]int) map[string]bool {
	own := make(map[string]bool)
	if len(named) < 2 {
		return own
	}
	if m.remotes != nil {
		for _, remote := range m.remotes() {
			u := repositoryURL(remote)
			if _, ok := named[u]; ok {
				own[u] = true
			}
		}
	}
	if len(own) > 0 {
		return own
	}
	for _, s := range m.notes.sources {
		if s.url != "" && path.Base(s.id) == "flux-system" {
			own[s.url] = true
		}
	}
	if len(own) > 0 {
		return own
	}
	most := 0
	for _, n := range named {
		most = max(most, n)
	}
	for u, n := range named {
		if n == most {
			own[u] = true
		}
	}
	return own
}

// foreign tells whether a URL is that of another repository.
func (m *Model) foreign(u string) bool {
	return u != "" && len(m.ours) > 0 && !m.ours[u]
}

// findOwn finds out which URLs are those of this repository: named counts, for each, the
// objects whose folder is here.
func (m *Model) findOwn() {
	named := make(map[string]int)
	count := func(u, dir string) {
		if named[u] += 0; m.holds[dir] {
			named[u]++
		}
	}
	for i := range m.notes.objects {
		o := &m.notes.objects[i]
		object := o.document().Node
		spec := manifest.Field(object, "spec")
		switch o.engine {
		case Flux:
			// A source that is not in the files was most likely made by flux bootstrap.
			d := o.document()
			if s := m.sourceOf(&d); s != nil && s.url != "" {
				count(s.url, cleaned(manifest.Text(spec, "path")))
			} else if s == nil && manifest.Text(spec, "sourceRef", "kind") == "GitRepository" {
				count(bootstrapped, cleaned(manifest.Text(spec, "path")))
			}
		case Fleet:
			if u := repositoryURL(manifest.Text(spec, "repo")); u != "" {
				for _, p := range manifest.Items(spec, "paths") {
					count(u, cleaned(p.Value))
				}
				named[u] += 0
			}
		case ArgoCD:
			for _, source := range argoset.Sources(argoSpec(o.kind, object)) {
				if u := repositoryURL(manifest.Text(source, "repoURL")); u != "" {
					count(u, cleaned(manifest.Text(source, "path")))
				}
			}
		}
	}
	for _, s := range m.notes.sources {
		if s.url != "" {
			named[s.url] += 0
		}
	}
	m.ours = m.own(named)
}

// sourceOf is the source of a Kustomization of Flux, nil if it is not in these files.
func (m *Model) sourceOf(d *Document) *source {
	return m.sourceNamed(d, manifest.Field(d.Node, "spec", "sourceRef"))
}

// sourceNamed is the source that a reference in an object names, nil if it is not in these
// files. Of several clusters each may have one of the same name: that which stands nearest
// to the object counts.
func (m *Model) sourceNamed(d *Document, ref *yaml.Node) *source {
	kind := cmp.Or(manifest.Text(ref, "kind"), "GitRepository")
	namespace := cmp.Or(manifest.Text(ref, "namespace"), manifest.Text(d.Node, "metadata", "namespace"))
	var found *source
	best := -1
	for i := range m.notes.sources {
		s := &m.notes.sources[i]
		if s.kind != kind || path.Base(s.id) != manifest.Text(ref, "name") {
			continue
		}
		near := nearness(d.Path, s.path)
		switch {
		case s.id == namespace+"/"+manifest.Text(ref, "name"):
			near += 1 << 20 // whatever else there is
		case namespace != "" && path.Dir(s.id) != ".":
			continue
		} // else a namespace that a kustomization sets
		if near > best {
			found, best = s, near
		}
	}
	return found
}

// nearness is how much of the way from the root of the repository two files have in
// common.
func nearness(a, b string) int {
	if a == b {
		return 1 << 10
	}
	n := 0
	for a, b := path.Dir(a)+"/", path.Dir(b)+"/"; ; n++ {
		first, restA, moreA := strings.Cut(a, "/")
		second, restB, moreB := strings.Cut(b, "/")
		if !moreA || !moreB || first != second {
			return n
		}
		a, b = restA, restB
	}
}

// cleaned is a folder as an object writes it, from the root of the repository.
func cleaned(dir string) string { return path.Clean(strings.TrimPrefix(path.Clean("/"+dir), "/")) }
