package engine

import (
	"bufio"
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/fluxcd/pkg/sourceignore"
	"github.com/fluxcd/pkg/sourceignore/gitignore"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// ignoreRule is a line of a .sourceignore or of spec.ignore of a source, which leaves
// files out of an artifact of Flux, or takes them in again.
type ignoreRule struct {
	gitignore.Pattern
	dir string // from which on it holds
	at  report.Position
}

// ignoreFile are the rules of a .sourceignore.
type ignoreFile struct {
	dir   string
	rules []ignoreRule
}

// IgnoreFile is the name of the files by which Flux leaves out others.
const IgnoreFile = sourceignore.IgnoreFile

// sawIgnore notes a .sourceignore.
func (n *Notes) sawIgnore(file, name string, data []byte) {
	dir := path.Dir(file)
	n.ignores = append(n.ignores, ignoreFile{dir, ignoreRules(data, dir, func(line int) report.Position { return report.Position{File: name, Line: line} })})
}

// ignoreRules are those of a text that holds below a folder.
func ignoreRules(data []byte, dir string, at func(line int) report.Position) (rules []ignoreRule) {
	var domain []string
	if dir != "." {
		domain = strings.Split(dir, "/")
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		if line := lines.Text(); !strings.HasPrefix(line, "#") && strings.TrimSpace(line) != "" {
			rules = append(rules, ignoreRule{gitignore.ParsePattern(line, domain), dir, at(n)})
		}
	}
	return rules
}

// ignored are the rules of spec.ignore of a source.
func (d *Document) ignored(spec *yaml.Node) []ignoreRule {
	text := manifest.Field(spec, "ignore")
	if text == nil || text.Kind != yaml.ScalarNode {
		return nil
	}
	return ignoreRules([]byte(text.Value), ".", func(int) report.Position { return d.at(text) })
}

// leftOut tells why a file is not in the artifact that Flux makes of this repository for a
// source, which may be nil; nothing if it is there. The last rule that fits counts, as in
// source-controller.
// https://fluxcd.io/flux/components/source/gitrepositories/#excluding-files
func (m *Model) leftOut(s *source, file string) says {
	parts := strings.Split(file, "/")
	const by = "left out of the artifact of Flux by "
	if s != nil {
		if len(s.sparse) > 0 && !slices.ContainsFunc(s.sparse, func(dir string) bool { return Below(file, dir) }) {
			return says{text: by + "spec.sparseCheckout of " + s.kind + " " + s.id, hint: "list its folder there, too"}
		}
		for _, rule := range slices.Backward(s.ignore) {
			if found := rule.Match(parts, false); found != gitignore.NoMatch {
				return rule.excluded(found, by+"spec.ignore", file)
			}
		}
	}
	for _, rule := range slices.Backward(m.ignore) {
		if found := rule.Match(parts, false); found != gitignore.NoMatch {
			return rule.excluded(found, by+IgnoreFile, file)
		}
	}
	if m.usual.Match(parts, false) {
		return says{text: by + "its name or folder, as " + IgnoreFile + " does not take it in", hint: "a line in " + IgnoreFile + ": !/" + file}
	}
	return says{}
}

// excluded says that a rule leaves a file out, if it does.
func (r *ignoreRule) excluded(found gitignore.MatchResult, text, file string) says {
	if found == gitignore.Include {
		return says{}
	}
	below := file
	if r.dir != "." {
		below = strings.TrimPrefix(file, r.dir+"/")
	}
	return says{text, r.at, "a line below it: !/" + below}
}

// noteIgnores puts the rules of all .sourceignore files in order: those of a folder count
// before those of the folders around it.
func (m *Model) noteIgnores() {
	files := slices.Clone(m.notes.ignores)
	slices.SortFunc(files, func(a, b ignoreFile) int { return strings.Compare(a.dir, b.dir) })
	for _, f := range files {
		m.ignore = append(m.ignore, f.rules...)
	}
	m.usual = sourceignore.NewDefaultMatcher(nil, nil)
}
