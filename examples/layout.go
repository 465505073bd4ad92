package examples

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
)

// Options are what a user calls the things of an example.
type Options struct {
	// Example is the one to lay out: Flux, ArgoCD or Fleet.
	Example string
	// Clusters are NAME=RECIPIENT of the source and of the destination, each with the
	// recipient of its age key; the destination of ArgoCD has none. Those of a Fleet are
	// two or more.
	Clusters []string
	// Hub is the recipient of the key with which one Argo CD decrypts the pairs of all
	// clusters of a Fleet; without it each has a Flux of its own.
	Hub string
	// CI and Recovery are the recipients of who renders pairs, and of a key that is kept
	// offline.
	CI, Recovery string
	// Namespace and Pair are those of the ClusterPair.
	Namespace, Pair string
	// StorkVersion is the release of Stork on the clusters.
	StorkVersion string
	// Repo is the URL by which Argo CD, or the Flux of a Fleet, reads the repository.
	Repo string
}

// The examples that can be laid out.
const (
	Flux   = "flux"
	ArgoCD = "argocd"
	Fleet  = "fleet"
)

// Layout is an example with the names of a user.
type Layout struct {
	Options
	source, destination cluster
	fleet               []cluster
}

// cluster is a cluster of a layout: its name, and the recipient of its key.
type cluster struct{ name, key string }

// New checks what a user calls the things of an example. An error says which of the
// flags of clusterpair init is wrong, and never shows what may be a private key.
func New(o Options) (*Layout, error) {
	l := &Layout{Options: o}
	for _, check := range []func() error{l.checkClusters, l.checkNames, l.checkRecipients, l.checkRepo} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Files are the texts of the example by their paths, with the user's names. dir is the
// directory that they are for, from the root of its repository: Flux and Argo CD take
// paths from there. A path that would need quotes there is a [report.UsageError].
func (l *Layout) Files(dir string) (map[string]string, error) {
	if !regexp.MustCompile(`^[A-Za-z0-9._/-]+$`).MatchString(dir) {
		return nil, report.Usage(report.WithHint(errors.New("the path of DIR within its Git work tree is to stand in manifests, and has more than letters, digits and ./_-"), "choose another directory"))
	}
	if l.Example == Fleet {
		return l.layFleet(dir)
	}
	names := l.words(dir)
	files := make(map[string]string)
	root, err := fs.Sub(embedded, l.Example)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := read(l.Example, name)
		switch {
		case err != nil:
			return err
		case l.Example == ArgoCD && installed(name):
			files[name] = text
		default:
			files[names.in(name)] = names.in(text)
		}
		return nil
	})
	return files, err
}

// read is a file of an example as it is laid out: of a config for several ways it holds
// the pair for one.
func read(example, name string) (string, error) {
	data, err := embedded.ReadFile(path.Join(example, name))
	if err == nil && example == ArgoCD && name == "clusterpair.yaml" {
		return onlyPair(string(data), "plugin")
	}
	return string(data), err
}

// placeholder is a text of an example in whose place the user's stands.
type placeholder struct {
	text string
	of   func(l *Layout, dir string) string
}

// placeholders are those of each example.
var placeholders = map[string][]placeholder{
	Flux: {
		{"east", func(l *Layout, _ string) string { return l.source.name }},
		{"west", func(l *Layout, _ string) string { return l.destination.name }},
		{"remotecluster", func(l *Layout, _ string) string { return l.Pair }},
		{"migrationnamespace", func(l *Layout, _ string) string { return l.Namespace }},
		{"24.3", func(l *Layout, _ string) string { return l.StorkVersion }},
		{"path: ./dr", func(_ *Layout, dir string) string { return "path: ./" + path.Join(dir, "dr") }},
		{eastKey, func(l *Layout, _ string) string { return l.source.key }},
		{westKey, func(l *Layout, _ string) string { return l.destination.key }},
		{demoKey, func(l *Layout, _ string) string { return l.CI }},
		{recoveryKey, func(l *Layout, _ string) string { return l.Recovery }},
	},
	ArgoCD: {
		{"east", func(l *Layout, _ string) string { return l.source.name }},
		{"west", func(l *Layout, _ string) string { return l.destination.name }},
		{"remotecluster", func(l *Layout, _ string) string { return l.Pair }},
		{"plugin", func(l *Layout, _ string) string { return l.Namespace }},
		{"24.3", func(l *Layout, _ string) string { return l.StorkVersion }},
		{"examples/argocd/apps", func(_ *Layout, dir string) string { return path.Join(dir, "apps") }},
		{"https://git.example.com/fleet.git", func(l *Layout, _ string) string { return l.Repo }},
		{demoKey + argoCDMark, func(l *Layout, _ string) string { return l.source.key + argoCDMark }},
		{demoKey, func(l *Layout, _ string) string { return l.CI }},
		{recoveryKey, func(l *Layout, _ string) string { return l.Recovery }},
	},
}

// The recipients of the keys with which the examples are encrypted. In that of Argo CD
// the demo key is that of CI and, where the comment says so, that of Argo CD.
const (
	demoKey     = "age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs"
	eastKey     = "age1ht44faz5swt5rfvmm7ceermh5n259jzffw7m7v024km66jrm2dcs4vdt0v"
	westKey     = "age15cswxs9gxaan0z8ma5cf23apgqzqeggcvl0jwgsxxqa7lh2pgyrsac592e"
	recoveryKey = "age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n"
	argoCDMark  = " # Argo CD"
)

// words are the placeholders, and what to put in the place of each.
func (l *Layout) words(dir string) words {
	names := make(words)
	for _, p := range placeholders[l.Example] {
		names[p.text] = p.of(l, dir)
	}
	return names
}

// words are names, and what to put in the place of each.
type words map[string]string

// in puts the words in the place of the names in a text, all at once: the user's
// east may be what the example calls west. Keys are no names. A name that stands
// alone is quoted if YAML would take it for something else than text.
func (w words) in(text string) string {
	alone := regexp.MustCompile(`^ *(?:$|[\n,}\]]| #)`) // what follows a value that is a name and nothing else
	var b strings.Builder
	done := 0
	for _, at := range w.places(text) {
		before, after := text[:at[0]], text[at[1]:]
		word := w[text[at[0]:at[1]]]
		if !strings.Contains(word, " ") && alone.MatchString(after) && (strings.HasSuffix(before, ": ") || strings.HasSuffix(before, "- ")) {
			word = plain(word)
		}
		b.WriteString(text[done:at[0]] + word)
		done = at[1]
	}
	return b.String() + text[done:]
}

// plain is a text as YAML has it, in quotes if it would be something else without them.
func plain(text string) string {
	quoted, _ := yaml.Marshal(text) // a string can be written
	return strings.TrimSuffix(string(quoted), "\n")
}

// places are where the names stand in a text: begin and end of each.
func (w words) places(text string) [][]int {
	names := slices.SortedFunc(maps.Keys(w), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = regexp.QuoteMeta(name)
	}
	all := regexp.MustCompile(`\b(?:`+strings.Join(names, "|")+`)\b`).FindAllStringIndex(text, -1)
	return slices.DeleteFunc(all, func(at []int) bool { return strings.HasPrefix(text[at[1]:], ":") })
}

// installed tells the files of examples/argocd with which Argo CD is installed: they hold
// no name of the user.
func installed(name string) bool {
	return name == "argocd-cm.yaml" || strings.HasPrefix(name, "health/") || strings.HasPrefix(name, "plugin/")
}

// onlyPair leaves one pair of a config, that in a namespace.
func onlyPair(text, namespace string) (string, error) {
	docs, err := manifest.Values([]byte(text), "clusterpair.yaml")
	if err != nil {
		return "", err
	}
	spec := manifest.Field(docs[0], "spec")
	pairs := manifest.Field(spec, "pairs")
	lines := strings.SplitAfter(text, "\n")
	end := len(lines)
	for _, n := range spec.Content {
		if n.Line > pairs.Line && n.Kind == yaml.ScalarNode {
			end = min(end, n.Line-1)
		}
	}
	for i := len(pairs.Content) - 1; i >= 0; i-- {
		begin := pairs.Content[i].Line - 1
		if manifest.Text(pairs.Content[i], "namespace") != namespace {
			lines = slices.Delete(lines, begin, end)
		}
		end = begin
	}
	return strings.Join(lines, ""), nil
}
