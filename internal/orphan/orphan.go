// Package orphan finds rendered ClusterPairs that no function config renders any more.
//
// A config that was removed or renamed, or whose output has moved, leaves them behind,
// and whoever has their key still reads the credentials. [Find] is told the configs and
// the pairs of a repository. It takes a pair for an orphan only if it tells which config
// has rendered it.
package orphan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"clusterpair.dev/internal/report"
)

// Config is a function config of kind ClusterPairGenerator.
type Config struct {
	Name string
	// File is what the user types for it, Position where it stands.
	File     string
	Position report.Position
	// Output is the directory that it renders into, from the root of the repository.
	Output string
	// Writes tells that it names its output itself.
	Writes bool
	// Pairs are those that it lists, as NAMESPACE/NAME; nil with a selector, which
	// may render any.
	Pairs map[string]bool
}

// Renders tells whether the config renders a pair into a file, by its path from the
// root of the repository.
func (c *Config) Renders(file, id string) bool {
	if c.Pairs != nil {
		return c.Pairs[id] && path.Join(c.Output, id+".yaml") == file
	}
	return path.Dir(path.Dir(file)) == path.Clean(c.Output)
}

// Pair is a ClusterPair that tells which config has rendered it.
type Pair struct {
	// Config is the name that it tells, ID its NAMESPACE/NAME.
	Config, ID string
	// Path is that of its file from the root of the repository.
	Path string
	// Ruled tells that a creation rule of the repository matches the file.
	Ruled    bool
	Position report.Position
}

// Find finds the pairs that none of the configs of the repository renders. A
// repository with neither a config nor a creation rule may be one into which others
// put what they have rendered: there it is said, and no more.
func Find(configs []Config, pairs []Pair) []report.Finding {
	named := make(map[string][]*Config)
	for i := range configs {
		named[configs[i].Name] = append(named[configs[i].Name], &configs[i])
	}
	var findings []report.Finding
	for _, p := range pairs {
		if f, ok := judge(configs, named[p.Config], p); ok {
			findings = append(findings, f)
		}
	}
	return findings
}

func judge(all []Config, named []*Config, p Pair) (report.Finding, bool) {
	for _, c := range named { // of most pairs
		if c.Renders(p.Path, p.ID) {
			return report.Finding{}, false
		}
	}
	file := report.Typed(p.Position.File)
	f := report.Finding{Rule: "orphan-pair", Severity: report.Warning, Position: p.Position, Object: p.ID, Hint: "if no cluster uses it: rm " + file}
	var near *Config // that renders into the same directory
	for i := range all {
		if c := &all[i]; path.Clean(c.Output) == path.Dir(path.Dir(p.Path)) && (near == nil || c.Name == p.Config) {
			near = c
		}
	}
	switch {
	case near != nil && near.Name == p.Config:
		f.Message = fmt.Sprintf("config %s at %s does not list this ClusterPair any more", p.Config, near.Position)
		f.Hint = "remove it as the config says: clusterpair generate -f " + report.Typed(near.File)
	case len(named) > 0:
		f.Message = fmt.Sprintf("config %s at %s renders into %s, and not here any more", p.Config, named[0].Position, path.Clean(named[0].Output))
		f.Hint = "when the clusters have synced what is rendered there: rm " + file
	case near != nil && near.Renders(p.Path, p.ID):
		f.Message = fmt.Sprintf("there is no config %s, which has rendered this ClusterPair", p.Config)
		f.Hint = fmt.Sprintf("config %s renders into this directory: if it is the same under a new name, clusterpair generate -f %s; if no cluster uses the pair, rm %s", near.Name, report.Typed(near.File), file)
	default:
		f.Message = fmt.Sprintf("there is no config %s, which has rendered this ClusterPair", p.Config)
		if len(all) == 0 && !p.Ruled {
			f.Severity = report.Info
		}
	}
	f.Message += ": nothing renews its credential, and whoever has a key of it reads the credential"
	return f, true
}

// Twins finds configs of one name and output: each removes what the other renders.
func Twins(configs []Config) []report.Finding {
	first := make(map[string]*Config)
	var findings []report.Finding
	for i := range configs {
		c := &configs[i]
		key := c.Name + "\x00" + path.Clean(c.Output)
		other := first[key]
		if other == nil {
			first[key] = c
			continue
		}
		if other.Position != c.Position {
			findings = AddTwin(findings, c.Name, path.Clean(c.Output), c.Position, other.Position)
		}
	}
	return findings
}

// AddTwin adds the finding about a config that has the name and the output of another. Of
// two fleets it is said once, with the first of their sources.
func AddTwin(findings []report.Finding, name, output string, at, other report.Position) []report.Finding {
	where := fmt.Sprintf(" already, at %s: each removes what the other renders", other)
	if slices.ContainsFunc(findings, func(f report.Finding) bool { return f.Position == at && strings.HasSuffix(f.Message, where) }) {
		return findings
	}
	return append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: at, Path: "metadata.name",
		Message: fmt.Sprintf("a config of the name %s renders into %s%s", name, strings.TrimSuffix(output, "/"), where),
		Hint:    "give one of them another name, or another directory to render into"})
}
