package kustomize

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/fleet"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pattern"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// sources are the configs for which a fleet stands, one for each source cluster and one
// for each that is no more and whose pairs are still there. What is wrong with the fleet
// is said of the first, which stands for all of them if there is an error.
func sources(t *worktree.Tree, doc *yaml.Node, file string) []Config {
	f, findings := fleet.Parse(doc, file)
	broken := func() []Config {
		return []Config{{Tree: t, Kind: generator.GeneratorKind, Name: manifest.Text(doc, "metadata", "name"), File: file, Doc: doc, Fleet: true, unsound: findings}}
	}
	if f == nil {
		return broken()
	}
	secrets, bad := clusterSecrets(t, f)
	if findings = append(findings, bad...); report.HasErrors(findings) {
		return broken()
	}
	compiled, more := f.Compile(secrets, time.Now())
	if findings = append(findings, more...); report.HasErrors(findings) {
		return broken()
	}
	var all []Config
	for i := range compiled {
		s := &compiled[i]
		all = append(all, Config{Tree: t, Kind: generator.GeneratorKind, Name: s.Config, File: file, Doc: doc, Fleet: true, Source: s})
	}
	for _, s := range removedSources(t, f, compiled) {
		all = append(all, Config{Tree: t, Kind: generator.GeneratorKind, Name: s.Config, File: file, Doc: doc, Fleet: true, Source: &s})
	}
	slices.SortFunc(all, func(a, b Config) int { return strings.Compare(a.Name, b.Name) })
	if len(all) > 0 {
		all[0].unsound = findings
	}
	return all
}

// clusterSecrets reads the metadata of the Secrets among the files of a fleet.
func clusterSecrets(t *worktree.Tree, f *fleet.Fleet) (secrets []fleet.Secret, findings []report.Finding) {
	bad := func(i int, err error) {
		findings = append(findings, report.Finding{Rule: "secret-missing", Severity: report.Error, Position: f.FilePositions[i], Path: "spec.files",
			Message: err.Error(), Hint: "paths are relative to the fleet: see what is there with ls " + report.Typed(t.Shown)})
	}
	seen := make(map[string]bool)
	for i, pattern := range f.Files {
		files, err := t.Expand(pattern, "")
		if err != nil {
			bad(i, err)
			continue
		}
		for _, name := range files {
			if seen[name] {
				continue
			}
			seen[name] = true
			data, err := t.ReadFile(name)
			if err != nil {
				bad(i, err)
				continue
			}
			manifest.Scan(data, t.Show(name), func(d manifest.Document, unread *report.Finding) {
				if unread != nil {
					unread.Severity = report.Error
					findings = append(findings, *unread)
					return
				}
				findings = append(findings, f.Hidden(d.Node, t.Show(name))...)
				secrets = append(secrets, fleet.Secrets(d.Node, name, t.Show(name))...)
			})
		}
	}
	return secrets, findings
}

// byConfig finds the config of a rendered pair, which stands on a line of its own in
// every style of writing.
var byConfig = pattern.Later(` "?` + regexp.QuoteMeta(generator.AnnotationGeneratedBy) + `"?: ["']?([-.a-z0-9]+)`)

// removedSources are the source clusters that are no more, by the pairs that an earlier
// run has rendered for them. compiled are those that there are.
func removedSources(t *worktree.Tree, f *fleet.Fleet, compiled []fleet.Source) (removed []fleet.Source) {
	dirs, err := fs.Glob(t.Root.FS(), filepath.ToSlash(filepath.Join(t.Base, f.Outputs())))
	if err != nil {
		return nil
	}
	known := make(map[string]*fleet.Source) // by config, and by output
	for i := range compiled {
		known[compiled[i].Config], known[compiled[i].Output] = &compiled[i], &compiled[i]
	}
	seen := make(map[string]bool)
	for _, dir := range dirs {
		output, err := filepath.Rel(filepath.ToSlash(t.Base), dir)
		if err != nil {
			continue
		}
		own := make(map[string]bool) // which are read when they are rendered
		if s := known[output]; s != nil {
			for pair := range s.Leads() {
				own[pair+".yaml"] = true
			}
		}
		for _, namespace := range t.Names(dir) {
			for _, name := range t.Names(filepath.Join(dir, namespace)) {
				if filepath.Ext(name) != ".yaml" || own[namespace+"/"+name] {
					continue
				}
				config := configOf(t, filepath.Join(dir, namespace, name))
				if config == "" || known[config] != nil || f.Cluster(config) == "" || seen[config+" "+output] {
					continue
				}
				seen[config+" "+output] = true
				removed = append(removed, f.Removed(config, output))
			}
		}
	}
	return removed
}

// configOf is the config that has rendered a pair, empty if the file is none.
func configOf(t *worktree.Tree, file string) string {
	data, err := t.Read(file)
	if err != nil || !bytes.Contains(data, []byte(generator.ClusterPairKind)) {
		return ""
	}
	if m := byConfig().FindSubmatch(data); m != nil {
		return string(m[1])
	}
	return ""
}
