package validate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/leak"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// hintElsewhere is for what is neither a Secret nor a kubeconfig.
const hintElsewhere = "keep it out of Git, and renew it if this was ever pushed"

// leaks finds the credentials in clear in an object, whatever it is.
func (f *fileRun) leaks(n *yaml.Node) {
	if f.options.Plaintext || f.aside || manifest.Text(n, "kind") == "CustomResourceDefinition" { // which describes values, and has none
		return
	}
	encrypted := sopsfile.IsEncrypted(n)
	leak.Document(n, f.doc.Text, f.doc.Line, func(l leak.Leak) {
		if f.inTheClear == n && len(l.Path) > 0 && l.Path[0] == "spec" {
			return // the pair has been found to be in clear
		}
		f.leak(l, encrypted)
	})
}

// leak notes a credential in clear. encrypted says that it stands in what is
// otherwise encrypted.
func (f *fileRun) leak(l leak.Leak, encrypted bool) {
	finding := f.finding(nil, strings.Join(l.Path, "."), "plaintext-credential", report.Error, l.What+" in clear", hintElsewhere)
	finding.Position.Line, finding.Position.Column = l.Line, l.Column
	switch at := len(l.Path) - 1; {
	case at >= 0 && leak.CopiedBy(l.Path[at]) != "":
		finding.Message = fmt.Sprintf("%s in clear in the annotation %s: a copy of the object that %s has left", cmp.Or(l.In, l.What), l.Path[at], leak.CopiedBy(l.Path[at]))
		finding.Hint = "" // read gives it
		if encrypted {
			finding.Hint = "renew the credential if this was ever pushed, and take the annotation away: " + f.sops("unset") + ` '["metadata"]["annotations"]["` + l.Path[at] + `"]'`
		}
	case encrypted:
		finding.Message, finding.Hint = finding.Path+" is in clear: whoever reads the repository has it", f.anew("renew the credential if this was ever pushed; restore the file from Git history, or ")
		if l.Secret {
			finding.Message = fmt.Sprintf("%s in clear under %s of an encrypted Secret: whoever reads the repository has it", cmp.Or(l.In, l.What), quote(l.Path[at]))
		}
	case l.Secret && l.Path[0] == "secretGenerator": // nobody could read an encrypted kustomization
		finding.Message = fmt.Sprintf("%s in clear in secretGenerator", cmp.Or(l.In, l.What))
	case l.Secret:
		finding.Path = l.Path[at-1]
		finding.Message = fmt.Sprintf("%s in clear under %s of a Secret", cmp.Or(l.In, l.What), quote(l.Path[at]))
		finding.Hint = "" // read gives it
	case l.In == "a kubeconfig" && at >= 0 && l.Path[0] == "users":
		finding.Path, finding.Hint = "users", "" // read gives it
	}
	f.findings = append(f.findings, finding)
}

// inClearOnce leaves one finding for each place with a credential in clear: no second
// one, and none that the same place is not encrypted.
func (f *fileRun) inClearOnce() {
	type place struct {
		at   report.Position
		path string
	}
	placeOf := func(g *report.Finding) place {
		p := place{at: g.Position}
		if f.object != nil {
			p.path = g.Path // there are no lines
		}
		return p
	}
	inClear := make(map[place]bool) // whether its finding has come by
	for i := range f.findings {
		if g := &f.findings[i]; g.Rule == "plaintext-credential" {
			inClear[placeOf(g)] = false
		}
	}
	if len(inClear) == 0 {
		return
	}
	f.findings = slices.DeleteFunc(f.findings, func(g report.Finding) bool {
		p := placeOf(&g)
		seen, is := inClear[p]
		if is && g.Rule == "plaintext-credential" {
			inClear[p] = true
			return seen
		}
		return is && g.Rule == "leaf-not-encrypted"
	})
}

// secret judges the values of an encrypted Secret that are in clear: sops
// refuses such a file, and Flux applies what anybody could have written into it.
func (f *fileRun) secret(n *yaml.Node) {
	if !sopsfile.IsEncrypted(n) {
		return
	}
	m, err := sopsfile.ReadMetadata(n, f.file.Name)
	if err != nil {
		m = nil // sops says so
	}
	readers, _ := readersOf(n, m)
	f.noted.secrets = append(f.noted.secrets, sealedSecret{f.file.Path, readers})
	if f.options.Plaintext || f.aside || m == nil {
		return
	}
	_ = m.Selector.Uncovered(n, func(leaf *yaml.Node, path []string, selected bool) { // a selector that is none selects nothing
		if selected && len(path) == 2 && (path[0] == "data" || path[0] == "stringData") {
			f.add(leaf, path[0], "leaf-not-encrypted", report.Error, fmt.Sprintf("%s of an encrypted Secret is in clear although the sops section selects it: somebody has put it there without a key, and sops refuses the file", quote(path[1])),
				"restore the file from Git history, or encrypt it again from its source")
		}
	})
}

// text looks for credentials in what is no YAML document: a script that writes
// a kubeconfig, a page with an example that was not made up.
func (f *fileRun) text(d manifest.Document) {
	if !f.options.Plaintext && !f.aside {
		leak.Text(d.Text, d.Line, func(l leak.Leak) { f.leak(l, false) })
	}
}

// comments looks for credentials in the comments of a document.
func (f *fileRun) comments(d manifest.Document) {
	if f.options.Plaintext || f.aside {
		return
	}
	var known map[int]bool // the lines with one
	leak.Comments(d.Text, d.Line, func(l leak.Leak) {
		if known == nil {
			known = make(map[int]bool)
			for _, g := range f.findings {
				if g.Rule == "plaintext-credential" {
					known[g.Position.Line] = true
				}
			}
		}
		if !known[l.Line] {
			known[l.Line] = true
			f.leak(l, false)
		}
	})
}

// inSample makes a note of what is found in clear in a file for tests or the like, one for
// all of the file.
func (f *fileRun) inSample() {
	is := func(g report.Finding) bool { return g.Rule == "plaintext-credential" }
	if f.file.Sample == nil || !slices.ContainsFunc(f.findings, is) || !f.file.Sample() {
		return
	}
	noted := false
	f.findings = slices.DeleteFunc(f.findings, func(g report.Finding) bool {
		again := noted && is(g)
		noted = noted || is(g)
		return again
	})
	for i := range f.findings {
		if g := &f.findings[i]; is(*g) {
			g.Severity, g.Hint = report.Info, ""
			g.Message += "; no more than a note, as the file is for tests, an example, a document or vendored by its path"
		}
	}
}
