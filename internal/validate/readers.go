package validate

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"unique"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/readers"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// rulesFile is a .sops.yaml with creation rules that never apply.
type rulesFile struct {
	file, path string
	rules      *sopsfile.Rules
	shadows    []sopsfile.Shadow
}

// sopsRules notes the creation rules of a .sops.yaml. It tells whether there is anything
// to say of it.
func (f *fileRun) sopsRules() (says bool) {
	if path.Base(f.file.Path) != sopsfile.RulesName || f.aside {
		return false
	}
	rules, err := sopsfile.ParseRules(f.file.Data, path.Join("/repository", f.file.Path))
	if err != nil {
		_, unread := manifest.Values(f.file.Data, f.file.Name)
		return unread != nil // else a file of sops has other forms, too
	}
	if shadows := rules.Shadowed(); len(shadows) > 0 {
		f.noted.rules = append(f.noted.rules, rulesFile{f.file.Name, f.file.Path, rules, shadows})
	}
	return len(f.noted.rules) > 0
}

// shadowed judges creation rules that never apply: an earlier one takes all their
// files, and lets others read them.
func (j *judgement) shadowed(r *repository) {
	for _, file := range r.rules {
		for _, s := range file.shadows {
			f := ShadowedRule(file.file, s)
			var taken []string
			for i := range r.pairs {
				if p := &r.pairs[i]; p.encrypted && !p.built && file.rules.Takes(s, path.Join("/repository", p.path)) && !slices.Contains(taken, p.file) {
					taken = append(taken, p.file)
				}
			}
			f.Severity = report.Warning
			if slices.Sort(taken); len(taken) > 0 {
				f.Severity = report.Error
				f.Message += fmt.Sprintf(", such as %s", taken[0])
			}
			j.addFinding(f)
		}
	}
}

// ShadowedRule is the finding about a creation rule in file whose files an earlier one
// takes.
func ShadowedRule(file string, s sopsfile.Shadow) report.Finding {
	by := fmt.Sprintf("the rule at line %d, path_regex %s,", s.ByLine, quote(s.ByPattern))
	if s.ByPattern == "" {
		by = fmt.Sprintf("the rule at line %d, without a path_regex,", s.ByLine)
	}
	return report.Finding{Rule: "shadowed-rule", Severity: report.Error, Position: report.Position{File: file, Line: s.Line, Column: 3}, Path: "creation_rules",
		Message: fmt.Sprintf("%s comes first and takes all files of path_regex %s: they are encrypted for %s, whom this rule does not name", by, quote(s.Pattern), strings.Join(s.Extra, ", ")),
		Hint:    "move this rule above the other, or end the path_regex of that with a /; then render the files anew, and renew the credentials that others could read"}
}

// readersOf are the recipients of an encrypted pair, each of which can decrypt it by
// itself, and where they stand.
func readersOf(n *yaml.Node, m *sopsfile.Metadata) (all unique.Handle[string], at spot) {
	if m == nil || len(m.Recipients) != 1 && m.ShamirThreshold != 1 {
		return all, at
	}
	recipients := slices.Concat(m.Recipients...)
	slices.Sort(recipients)
	return unique.Make(strings.Join(slices.Compact(recipients), "\n")), spotOf(recipientsNode(manifest.Field(n, "sops")))
}

// readSource is a source cluster, or a config that renders for one, with its pairs.
type readSource struct {
	name  string
	roots []string
	pairs map[unique.Handle[string]][]int // by their recipients
	order []unique.Handle[string]
}

// readSources are the source clusters of the pairs whose recipients are known.
func (r *repository) readSources(sources [][]string) []*readSource {
	var none unique.Handle[string]
	var all []*readSource
	byName := make(map[string]*readSource)
	for i := range r.pairs {
		p := &r.pairs[i]
		if p.readers == none || p.aside || p.built {
			continue
		}
		name := sources[i][0]
		if p.by != none { // of one config, below its output
			name = path.Dir(path.Dir(p.path))
		}
		s := byName[name]
		if s == nil {
			s = &readSource{name: name, roots: sources[i], pairs: make(map[unique.Handle[string]][]int)}
			byName[name], all = s, append(all, s)
		}
		if s.pairs[p.readers] == nil {
			s.order = append(s.order, p.readers)
		}
		s.pairs[p.readers] = append(s.pairs[p.readers], i)
	}
	return all
}

// readers finds source clusters that can decrypt the pairs of another.
func (j *judgement) readers(r *repository, sources [][]string) {
	all := r.readSources(sources)
	if len(all) < 2 {
		return
	}
	given := make([]readers.Source, len(all))
	for i, s := range all {
		for _, handle := range s.order {
			given[i].Pairs = append(given[i].Pairs, strings.Split(handle.Value(), "\n"))
		}
	}
	j.together(r, given, func(i int) (*pair, string) { return &r.pairs[all[i].pairs[all[i].order[0]][0]], all[i].name },
		func(a, b int) bool { return !sameSource(all[a].roots, all[b].roots) })
	said := make(map[string]bool)
	for _, b := range readers.Find(given) {
		s, other := all[b.Source], all[b.Other]
		if sameSource(s.roots, other.roots) {
			continue
		}
		indices := s.pairs[s.order[b.Pair]]
		p := &r.pairs[indices[0]]
		if !b.Certain && byArgo(j.model, p.path) { // one Argo CD decrypts for many clusters
			continue
		}
		who := strings.Join(b.Recipients, ", ")
		if key := p.file + "\x00" + who; said[key] {
			continue // several sources share the key
		} else {
			said[key] = true
		}
		f := report.Finding{Rule: "reader-of-another-cluster", Severity: report.Error, Position: p.place(p.readersAt), Path: "sops", Object: p.id(),
			Message: fmt.Sprintf("encrypted for %s, which reads the pairs in %s, too: that cluster gets the credential of this one, which has a reader of its own", who, other.name)}
		if !b.Certain {
			f.Severity = report.Warning
			f.Message = fmt.Sprintf("encrypted for all who read the pairs in %s (%s), and for others: if that cluster decrypts for itself, it gets the credential of this one", other.name, who)
		}
		if n := len(indices) - 1; n > 0 {
			f.Message += fmt.Sprintf("; so are %s beside it", report.Count(n, "pair", "pairs"))
		}
		f.Hint = "take the recipient out of the creation rule for the file, render the pair anew, and renew the credential"
		j.addFinding(f)
	}
}

// together finds source clusters whose pairs have several readers in common that do not
// render: then each cluster may read the pairs of the other with a key of its own.
func (j *judgement) together(r *repository, all []readers.Source, at func(source int) (*pair, string), apart func(a, b int) bool) {
	for _, group := range readers.Together(all, r.renderKeys(), apart) {
		p, _ := at(group.Sources[0])
		_, other := at(group.Sources[1])
		if byArgo(j.model, p.path) { // one Argo CD decrypts for many clusters
			continue
		}
		f := report.Finding{Rule: "reader-of-another-cluster", Severity: report.Warning, Position: p.place(p.readersAt), Path: "sops", Object: p.id(),
			Message: fmt.Sprintf("encrypted for the same keys as the pairs in %s, %s among them, with which nothing is rendered: if these are keys of clusters, each cluster gets the credentials of the other", other, strings.Join(group.Recipients, ", ")),
			Hint:    "give the files of each cluster a creation rule with the recipient of that cluster alone, render the pairs anew, and renew the credentials"}
		if n := len(group.Sources) - 2; n > 0 {
			f.Message += fmt.Sprintf("; so are those of %s more", report.Count(n, "source", "sources"))
		}
		j.addFinding(f)
	}
}

// renderKeys are the recipients that can decrypt the Secrets from which configs render:
// those of CI, of people and of recovery.
func (r *repository) renderKeys() []string {
	var keys []string
	var dirs []string
	for i := range r.engines.Configs {
		dirs = append(dirs, r.engines.Configs[i].Dir)
	}
	for i := range r.engines.Kustomizations {
		for k := range r.engines.Kustomizations[i].Inline {
			dirs = append(dirs, r.engines.Kustomizations[i].Inline[k].Dir)
		}
	}
	for _, secret := range r.secrets {
		if secret.readers != (unique.Handle[string]{}) && slices.ContainsFunc(dirs, func(dir string) bool { return engine.Below(secret.path, dir) }) {
			keys = append(keys, strings.Split(secret.readers.Value(), "\n")...)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// byArgo tells whether an Application of Argo CD applies a file.
func byArgo(m *engine.Model, file string) bool {
	return slices.ContainsFunc(m.Syncs, func(s *engine.Sync) bool { return s.Engine == engine.ArgoCD && engine.Below(file, s.Path) })
}
