package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation"

	"clusterpair.dev/examples"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/sopsfile"
)

func newInitCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Lay out a repository for Flux or for Argo CD",
		Long: `init writes the manifests, the configs and the creation rules of a repository, with
your names in them, and says what comes next. It makes no key and no Secret.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newInitFluxCommand(), newInitArgoCDCommand())
	return cmd
}

func newInitFluxCommand() *cobra.Command {
	o := &initOptions{example: "flux"}
	cmd := &cobra.Command{
		Use:   "flux DIR",
		Short: "Two clusters that fail over to each other, each with its Flux",
		Long: `flux lays out a repository for two clusters that fail over to each other: on each
the pair that leads to the other, the Kustomizations with which Flux decrypts and
applies it, and the schedule of the migrations. The applications run on the cluster
that is named first.

RECIPIENT is that of the age key of the cluster's Flux, which reads the pair of this
cluster alone. Who has the key of --ci reads the kubeconfig Secrets, and renders the
pairs; who has that of --recovery reads all.

DIR may hold other files. A file that is there already must be the same, or none is
written.`,
		Example: `  clusterpair init flux fleet --cluster east=age1... --cluster west=age1... --ci age1... --recovery age1...`,
	}
	o.addFlags(cmd, "NAME=RECIPIENT of a cluster; both are needed")
	return cmd
}

func newInitArgoCDCommand() *cobra.Command {
	o := &initOptions{example: "argocd"}
	cmd := &cobra.Command{
		Use:   "argocd DIR",
		Short: "A cluster that fails over to another, with its Argo CD",
		Long: `argocd lays out a repository for the cluster that is named first: its pair, which
leads to the cluster named second, an Application with the pair and the schedule of
the migrations, and two components for the kustomization with which you install Argo
CD: a plugin that decrypts, and the health of Stork's objects.

RECIPIENT is that of the age key of the plugin. Who has the key of --ci reads the
kubeconfig Secret, and renders the pair; who has that of --recovery reads both.

DIR may hold other files. A file that is there already must be the same, or none is
written.`,
		Example: `  clusterpair init argocd fleet --cluster east=age1... --cluster west --ci age1... --recovery age1... \
    --repo https://git.example.com/fleet.git`,
	}
	o.addFlags(cmd, "NAME=RECIPIENT of the cluster with Argo CD, then NAME of the other; both are needed")
	cmd.Flags().StringVar(&o.repo, "repo", "", "URL by which Argo CD reads the repository")
	return cmd
}

// initOptions are the flags of init.
type initOptions struct {
	example            string // in [examples.FS]
	clusters           []string
	ci, recovery       string
	namespace, pair    string
	storkVersion, repo string
	dryRun             bool

	source, destination       string // the names of the clusters
	sourceKey, destinationKey string // their recipients
}

func (o *initOptions) addFlags(cmd *cobra.Command, clusters string) {
	cmd.Args = cobra.ExactArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return o.run(cmd, args[0]) }
	flags := cmd.Flags()
	flags.StringArrayVar(&o.clusters, "cluster", nil, clusters)
	flags.StringVar(&o.ci, "ci", "", "age recipient of who renders pairs")
	flags.StringVar(&o.recovery, "recovery", "", "age recipient of a key that is kept offline")
	flags.StringVarP(&o.namespace, "namespace", "n", "migrationnamespace", "namespace of the pair, and of the applications")
	flags.StringVar(&o.pair, "pair", "remotecluster", "name of the pair")
	flags.StringVar(&o.storkVersion, "stork-version", "24.3", "Stork release of the clusters")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write nothing; list the files that would be written")
}

func (o *initOptions) run(cmd *cobra.Command, dir string) error {
	for _, check := range []func() error{o.checkClusters, o.checkNames, o.checkRecipients, o.checkRepo} {
		if err := check(); err != nil {
			return usageError(err)
		}
	}
	dir = filepath.Clean(dir)
	above := dir // or what there is of it
	for {
		if _, err := os.Lstat(above); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		above = filepath.Dir(above)
	}
	t, err := openTree(above)
	if err != nil {
		return failed(fmt.Errorf("%s: %w", above, cause(err)))
	}
	defer t.Close()
	output, err := filepath.Rel(above, dir)
	if err != nil {
		return failed(err)
	}
	inRepository := "."
	if t.git {
		inRepository = filepath.ToSlash(filepath.Join(t.base, output))
	}
	if !plainPath(inRepository) {
		return usageError(withHint(errors.New("the path of DIR within its Git work tree is to stand in manifests, and has more than letters, digits and ./_-"), "choose another directory"))
	}
	names := o.names(inRepository)
	files, err := o.files(names)
	if err != nil {
		return failed(err)
	}

	w := &staging{tree: t, output: output, dry: o.dryRun}
	defer w.abort()
	if !o.dryRun {
		// The lock is on the directory itself, which generate locks, too.
		rel, err := t.inside(output)
		if err == nil {
			err = w.mkdir(t.root, rel, &w.madeAbove)
		}
		if err != nil {
			return failed(withHint(fmt.Errorf("make %s: %w", dir, cause(err)), "ls -ld %s", typed(filepath.Dir(dir))))
		}
		locked, err := openTree(dir)
		if err != nil {
			return failed(fmt.Errorf("%s: %w", dir, cause(err)))
		}
		defer locked.Close()
		unlock, err := lockAll(cmd.Context(), []foundConfig{{tree: locked}})
		defer unlock()
		if err != nil {
			return failed(err)
		}
		w.sweep()
	}
	if err := lay(w, files); err != nil {
		return runError(cmd, err)
	}
	if err := commitAll(cmd.Context(), []*staging{w}); err != nil {
		return err
	}
	would := ""
	if o.dryRun {
		would = "would be "
	}
	var list bytes.Buffer
	for _, c := range w.sorted() {
		fmt.Fprintf(&list, "%s %s\n", c.verb, w.show(c.path))
	}
	if _, err := cmd.OutOrStdout().Write(list.Bytes()); err != nil {
		return failed(err)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "files: %s%d created, %d unchanged\n", would, len(w.changes), w.unchanged)
	if !o.dryRun {
		o.tellNext(cmd.ErrOrStderr(), dir, inRepository, t.git)
	}
	return nil
}

// plainPath tells a path that needs no quotes, neither in YAML nor in a shell.
func plainPath(path string) bool {
	return regexp.MustCompile(`^[A-Za-z0-9._/-]+$`).MatchString(path)
}

// lay stages the files, unless others stand in their places.
func lay(w *staging, files map[string]string) error {
	var taken []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		rel, err := w.tree.inside(filepath.Join(w.output, name))
		if err != nil {
			return err
		}
		previous, err := w.tree.read(rel)
		if errors.Is(err, fs.ErrNotExist) {
			previous, err = nil, nil
			if _, none := w.tree.root.Lstat(rel); none == nil {
				err = errors.New("is a symbolic link to nothing")
			}
		}
		switch {
		case err != nil:
			taken = append(taken, fmt.Sprintf("%s: %v", w.show(name), cause(err)))
		case previous != nil && string(previous) != files[name]:
			taken = append(taken, w.show(name)+": is another file")
		case taken == nil:
			if err := w.add(name, previous, []byte(files[name])); err != nil {
				return err
			}
		}
	}
	if taken != nil {
		return &exitError{code: exitFindings, err: withHint(fmt.Errorf("nothing is written, as init overwrites no file:\n  %s", strings.Join(taken, "\n  ")),
			"move them away, or choose another directory")}
	}
	return nil
}

// agePrivate is how private keys of age begin.
const agePrivate = "AGE-SECRET-KEY"

// privateKeyError refuses a private key without showing it.
func privateKeyError(flag string) error {
	return withHint(fmt.Errorf("%s: a private key stands where a recipient belongs", flag),
		"age-keygen -y FILE prints the recipient of a key; the history of your shell has this key now: make another")
}

// checkClusters splits --cluster.
func (o *initOptions) checkClusters() error {
	hint := "--cluster east=age1... --cluster west=age1..."
	if o.example == "argocd" {
		hint = "--cluster east=age1... --cluster west"
	}
	if len(o.clusters) > 2 {
		return withHint(errors.New("--cluster: the repository is one of two clusters"), "lay out another directory for others")
	}
	for i, c := range o.clusters {
		name, key, _ := strings.Cut(c, "=")
		switch {
		case strings.Contains(strings.ToUpper(name), agePrivate):
			return privateKeyError("--cluster")
		case len(validation.IsDNS1123Label(name)) > 0:
			return withHint(errors.New("--cluster: a name has lower-case letters, digits and '-', at most 63"), "%s", hint)
		case name == o.source:
			return withHint(fmt.Errorf("--cluster: both clusters are called %s", name), "%s", hint)
		case i == 0:
			o.source, o.sourceKey = name, key
		default:
			o.destination, o.destinationKey = name, key
		}
	}
	if o.example == "argocd" && o.destinationKey != "" {
		return withHint(fmt.Errorf("--cluster: %s reads nothing of this repository, so that it takes no recipient", o.destination), "%s; lay out the way back in another directory", hint)
	}
	if o.example == "argocd" && len(o.clusters) < 2 {
		return withHint(errors.New("--cluster: two clusters are needed"), "%s", hint)
	}
	o.source = cmp.Or(o.source, "east")
	if o.destination == "" && o.source == "west" {
		o.destination = "east"
	}
	o.destination = cmp.Or(o.destination, "west")
	return nil
}

// checkNames checks the names and the release that the manifests hold.
func (o *initOptions) checkNames() error {
	switch {
	case len(validation.IsDNS1123Label(o.namespace)) > 0:
		return withHint(errors.New("--namespace: a name has lower-case letters, digits and '-', at most 63"), "-n migrationnamespace")
	case len(validation.IsDNS1123Subdomain(o.pair)) > 0:
		return withHint(errors.New("--pair: a name has lower-case letters, digits, '-' and '.', at most 253"), "--pair remotecluster")
	case o.example == "argocd" && slices.Contains([]string{"kustomization", "schedule"}, o.pair):
		return withHint(fmt.Errorf("--pair: apps/%s/%s.yaml is another file", o.namespace, o.pair), "--pair remotecluster")
	case !regexp.MustCompile(`^v?[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?$`).MatchString(o.storkVersion): // #StorkVersion of the schema
		return withHint(errors.New("--stork-version: what is given is no release of Stork"), "--stork-version 24.3")
	}
	return nil
}

// checkRecipients wants each recipient, and each to have a key of its own. What is
// given may be a private key with a slip in it, so that no value is shown.
func (o *initOptions) checkRecipients() error {
	type role struct{ flag, key, file string }
	roles := []role{{"--cluster " + o.source, o.sourceKey, o.source}, {"--cluster " + o.destination, o.destinationKey, o.destination}, {"--ci", o.ci, "ci"}, {"--recovery", o.recovery, "recovery"}}
	if o.example == "argocd" {
		roles = slices.Delete(roles, 1, 2)
	}
	recipient := regexp.MustCompile(`^age1[a-z0-9]+$`) // and no list of them
	var missing, lines []string
	owners := make(map[string]string)
	for _, r := range roles {
		_, err := sopsfile.Recipients{Age: []string{r.key}}.Policy()
		owner, twice := owners[r.key]
		switch {
		case r.key == "":
			missing, lines = append(missing, r.flag), append(lines, "\n    age-keygen -o "+r.file+".agekey")
		case strings.Contains(strings.ToUpper(r.key), agePrivate):
			return privateKeyError(r.flag)
		case err != nil || !recipient.MatchString(r.key):
			return withHint(fmt.Errorf("%s: what is given is no age recipient", r.flag), "age-keygen -y FILE prints the recipient of a key, age1...")
		case twice && o.example == "argocd" && r.flag == "--ci": // the pair tells no more than its Secret
		case twice:
			return withHint(fmt.Errorf("%s and %s have the same recipient: one would read what is for the other, and both lose it at once", owner, r.flag), "age-keygen -o %s.agekey", r.file)
		default:
			owners[r.key] = r.flag
		}
	}
	if missing == nil {
		return nil
	}
	return withHint(fmt.Errorf("no recipient for %s", strings.Join(missing, ", ")),
		"each of these prints one; the files are the keys, and stay out of Git%s", strings.Join(lines, ""))
}

// checkRepo wants the URL of a repository for Argo CD, without a credential.
func (o *initOptions) checkRepo() error {
	scp := regexp.MustCompile(`^[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[A-Za-z0-9._~/-]+$`) // git's address for SSH that is no URL
	if o.example != "argocd" || scp.MatchString(o.repo) {
		return nil
	}
	if o.repo == "" {
		return withHint(errors.New("no URL by which Argo CD reads the repository"), `--repo "$(git remote get-url origin)"`)
	}
	u, err := url.Parse(o.repo)
	if err != nil || !slices.Contains([]string{"https", "http", "ssh", "file"}, u.Scheme) || u.Path == "" || u.Host == "" && u.Scheme != "file" || strings.ContainsFunc(o.repo, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return withHint(errors.New("--repo: what is given is no URL of a repository"), "--repo https://git.example.com/fleet.git")
	}
	if _, password := u.User.Password(); password || u.User != nil && u.Scheme != "ssh" || u.RawQuery != "" || u.Fragment != "" {
		return withHint(errors.New("--repo: the URL has more than host and path, which may be a credential and would be in Git"),
			"leave it out; Argo CD takes credentials from a Secret with the label argocd.argoproj.io/secret-type: repository")
	}
	return nil
}

// names are those of the example and what the user calls the same. The directory
// is relative to the root of the repository.
func (o *initOptions) names(dir string) words {
	names := words{
		"east": o.source, "west": o.destination,
		"remotecluster": o.pair, "24.3": o.storkVersion,
		"age1968pf0ts9pxk969yvyc9jfpf4htmanylzzlsrp0ufw02sg3jn42q5sjp5n": o.recovery,
	}
	// Flux and Argo CD take paths from the root of the repository.
	if o.example == "flux" {
		maps.Copy(names, words{
			"migrationnamespace": o.namespace, "path: ./dr": "path: ./" + path.Join(dir, "dr"),
			"age1ht44faz5swt5rfvmm7ceermh5n259jzffw7m7v024km66jrm2dcs4vdt0v": o.sourceKey,
			"age15cswxs9gxaan0z8ma5cf23apgqzqeggcvl0jwgsxxqa7lh2pgyrsac592e": o.destinationKey,
			"age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs": o.ci,
		})
	} else {
		maps.Copy(names, words{
			"plugin": o.namespace, "examples/argocd/apps": path.Join(dir, "apps"), "https://git.example.com/fleet.git": o.repo,
			"age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs # Argo CD": o.sourceKey + " # Argo CD",
			"age1ewtp8a75g2slh7hsvjcel5fxt60dzwlgwj5985qrcsqnt55cg95qvl0efs":           o.ci,
		})
	}
	return names
}

// files are those of the example by their paths, with the user's names.
func (o *initOptions) files(names words) (map[string]string, error) {
	files := make(map[string]string)
	root, err := fs.Sub(examples.FS, o.example)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		text := string(data)
		switch {
		case o.example == "argocd" && isInstalled(name): // names nothing of the user's
			files[name] = text
			return nil
		case o.example == "argocd" && name == "clusterpair.yaml":
			if text, err = onlyPair(text, "plugin"); err != nil {
				return err
			}
		}
		files[names.in(name)] = names.in(text)
		return nil
	})
	return files, err
}

// isInstalled tells the files of examples/argocd with which Argo CD is installed.
func isInstalled(name string) bool {
	return name == "argocd-cm.yaml" || strings.HasPrefix(name, "health/") || strings.HasPrefix(name, "plugin/")
}

// onlyPair leaves one pair of a config, that in a namespace.
func onlyPair(text, namespace string) (string, error) {
	docs, err := manifest.Values([]byte(text), "clusterpair.yaml")
	if err != nil {
		return "", err
	}
	spec := child(docs[0], "spec")
	pairs := child(spec, "pairs")
	lines := strings.SplitAfter(text, "\n")
	end := len(lines)
	for _, n := range spec.Content {
		if n.Line > pairs.Line && n.Kind == yaml.ScalarNode {
			end = min(end, n.Line-1)
		}
	}
	for i := len(pairs.Content) - 1; i >= 0; i-- {
		begin := pairs.Content[i].Line - 1
		if scalar(pairs.Content[i], "namespace") != namespace {
			lines = slices.Delete(lines, begin, end)
		}
		end = begin
	}
	return strings.Join(lines, ""), nil
}

// words are names, and what to put in the place of each.
type words map[string]string

// in puts the words in the place of the names in a text, all at once: the user's
// east may be what the example calls west. Keys are no names. A name that stands
// alone is quoted if YAML would take it for something else than text.
func (w words) in(text string) string {
	names := slices.SortedFunc(maps.Keys(w), func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	for i, name := range names {
		names[i] = regexp.QuoteMeta(name)
	}
	alone := regexp.MustCompile(`^ *(?:$|[\n,}\]]| #)`) // what follows a value that is a name and nothing else
	var b strings.Builder
	done := 0
	for _, at := range regexp.MustCompile(`\b(?:`+strings.Join(names, "|")+`)\b`).FindAllStringIndex(text, -1) {
		before, after := text[:at[0]], text[at[1]:]
		if strings.HasPrefix(after, ":") {
			continue
		}
		word := w[text[at[0]:at[1]]]
		if !strings.Contains(word, " ") && alone.MatchString(after) && (strings.HasSuffix(before, ": ") || strings.HasSuffix(before, "- ")) {
			quoted, _ := yaml.Marshal(word) // a string can be written
			word = strings.TrimSuffix(string(quoted), "\n")
		}
		b.WriteString(text[done:at[0]] + word)
		done = at[1]
	}
	return b.String() + text[done:]
}

// tellNext says what to type in the directory. The keys are taken to be where init
// was run, and the contexts of kubectl to have the names of the clusters.
func (o *initOptions) tellNext(w io.Writer, dir, inRepository string, git bool) {
	steps := words{"east": o.source, "west": o.destination, "REPOSITORY/clusters": path.Join(inRepository, "clusters"), "KEYS": "."}
	if abs, err := filepath.Abs(dir); err == nil {
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(abs, wd); err == nil {
				steps["KEYS"] = rel
				if !plainPath(rel) {
					steps["KEYS"] = "'" + strings.ReplaceAll(rel, "'", `'\''`) + "'"
				}
			}
		}
	}
	begin := ""
	if !git {
		begin = "  git init\n"
	}
	fmt.Fprintf(w, "Next, in %s:\n%s%s", dir, begin, steps.in(nextSteps[o.example]))
}

// nextSteps are those of each example, with its names.
var nextSteps = map[string]string{
	"flux": `  # the credentials, made on the destinations; or take them out of a management cluster:
  # clusterpair import -f dr/east --from-context MANAGEMENT -n NAMESPACE SECRET
  mkdir -p dr/east/secrets dr/west/secrets
  clusterpair credential create --context west -o dr/east/secrets/west-kubeconfig.yaml
  clusterpair credential create --context east -o dr/west/secrets/east-kubeconfig.yaml
  # the pairs
  export SOPS_AGE_KEY_FILE=KEYS/ci.agekey
  clusterpair generate -f dr/east
  clusterpair generate -f dr/west
  clusterpair validate --strict .
  git add .sops.yaml clusters dr
  # on each cluster its key; Flux is to sync REPOSITORY/clusters/east and REPOSITORY/clusters/west
  kubectl --context east create secret generic sops-age -n flux-system --from-file age.agekey=KEYS/east.agekey
  kubectl --context west create secret generic sops-age -n flux-system --from-file age.agekey=KEYS/west.agekey
`,
	"argocd": `  # the credential, made on the destination; or take it out of a management cluster:
  # clusterpair import --from-context MANAGEMENT -n NAMESPACE SECRET
  mkdir -p secrets
  clusterpair credential create --context west -o secrets/west-kubeconfig.yaml
  # the pair
  export SOPS_AGE_KEY_FILE=KEYS/ci.agekey
  clusterpair generate
  clusterpair validate --strict .
  git add .sops.yaml argocd-cm.yaml clusterpair.yaml applications apps health plugin secrets
  # the key; health and plugin are components for the kustomization with which you install Argo CD
  kubectl --context east create secret generic clusterpair-keys -n argocd --from-file age.agekey=KEYS/east.agekey
  kubectl --context east apply -f applications
`,
}
