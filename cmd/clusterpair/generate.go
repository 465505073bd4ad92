package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"golang.org/x/term"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

func newGenerateCommand() *cobra.Command {
	var o generateOptions
	var one onePair
	cmd := &cobra.Command{
		Use:   "generate [-f CONFIG|DIR] | NAME --kubeconfig FILE (--age RECIPIENT | --plaintext)",
		Short: "Render encrypted ClusterPairs from destination kubeconfigs",
		Long: `generate renders the pairs of a function config into the files of its output
directory. What has not changed keeps its bytes. A run writes all of its files
or none.

With NAME it renders one pair from a kubeconfig and prints it, as storkctl
generate clusterpair does, but encrypted, checked and without the placeholder.`,
		Example: `  clusterpair generate
  clusterpair generate -f clusters/east -f clusters/west --check --diff
  clusterpair generate remotecluster -n migrationnamespace --kubeconfig dest.yaml --age age1...`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if name := firstChanged(cmd, "filename", "check", "diff", "dry-run"); name != "" {
					return usageError(fmt.Errorf("--%s goes with a config, not with the name of a pair", name))
				}
				if _, err := os.Stat(args[0]); err == nil && !cmd.Flags().Changed("kubeconfig") {
					return usageError(withHint(fmt.Errorf("%s is a file or directory, not the name of a pair", args[0]), "clusterpair generate -f %s", args[0]))
				}
				one.name = args[0]
				return one.run(cmd)
			}
			if name := firstChanged(cmd, "namespace", "kubeconfig", "context", "storage-options", "project-mappings",
				"stork-version", "server", "tls-server-name", "allow", "age", "plaintext", "output"); name != "" {
				return usageError(fmt.Errorf("--%s goes with the name of a pair: clusterpair generate NAME --%s …", name, name))
			}
			return o.run(cmd)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.paths, "filename", "f", nil, "function `config`, or directory of a kustomization that lists one; repeatable (default \".\")")
	flags.BoolVar(&o.check, "check", false, "write nothing; list the files that would change and exit with 1 if there are any")
	flags.BoolVar(&o.diff, "diff", false, "show what changes, with every secret value masked")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write nothing; list the files that would change")
	one.addFlags(flags)
	return cmd
}

// firstChanged is the first of the flags that the user has set.
func firstChanged(cmd *cobra.Command, names ...string) string {
	for _, name := range names {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

// generateOptions are the flags of generate with a config.
type generateOptions struct {
	paths               []string
	check, diff, dryRun bool

	// instead are documents in clear that are about to be written into a file, by
	// its path: only the pairs of these files are rendered, and none is removed.
	// with are the files, written in the same run, all or none.
	instead map[string]*yaml.Node
	with    []*staging
}

// run renders the configs of a file or a directory. All of them are rendered
// before the first file is written.
func (o *generateOptions) run(cmd *cobra.Command) error {
	defer pace.Steady(20<<20, 25, 0).End()
	if len(o.paths) == 0 {
		o.paths = []string{"."}
	}
	configs, err := openConfigs(o.paths)
	defer func() {
		for _, c := range configs {
			c.tree.Close()
		}
	}()
	if err != nil {
		return runError(cmd, err)
	}

	var runs []*staging
	defer func() {
		for _, w := range runs {
			w.abort()
		}
	}()
	if !o.check && !o.dryRun {
		unlock, err := lockAll(cmd.Context(), configs)
		defer unlock()
		if err != nil {
			return failed(err)
		}
	}
	var findings []report.Finding
	var parsed []*generator.Config
	var generated [][]string // by the kustomization of each
	named := make(map[string]report.Position)
	for _, found := range configs {
		c, bad := generator.ParseConfig(found.doc, found.file)
		findings = append(findings, bad...)
		if c != nil {
			c.Spec.Files = append(c.Spec.Files, found.resources...)
			w := &staging{tree: found.tree, output: filepath.Clean(c.Spec.Output), dry: o.check || o.dryRun}
			name := c.Metadata.Name + " " + w.show("")
			if first, twice := named[name]; twice {
				findings = append(findings, report.Finding{Rule: "config", Severity: report.Error, Position: c.Position, Path: "metadata.name",
					Message: fmt.Sprintf("a config of the name %s renders into %s already, at %s: each removes what the other renders", c.Metadata.Name, w.show(""), first),
					Hint:    "give one of them another name, or another spec.output"})
			}
			named[name] = c.Position
			w.sweep()
			parsed, runs, generated = append(parsed, c), append(runs, w), append(generated, found.generated)
		}
	}
	safe := sopsfile.New(nil)
	diffs := &diffPrinter{w: cmd.OutOrStdout()}
	renderedBy := make(map[string]report.Position)
	for i, c := range parsed {
		more, err := o.config(cmd, safe, c, generated[i], runs[i], diffs)
		findings = append(findings, more...)
		for path := range runs[i].kept {
			path = runs[i].show(path)
			if first, twice := renderedBy[path]; twice {
				findings = append(findings, report.Finding{Rule: "duplicate-pair", Severity: report.Error, Position: c.Position,
					Message: fmt.Sprintf("%s is rendered by this config and by the one at %s", path, first),
					Hint:    "give one of the two pairs another name or namespace, or one of the configs another output"})
			}
			renderedBy[path] = c.Position
		}
		var f report.Finding
		if errors.As(err, &f) {
			findings = append(findings, f)
		} else if err != nil {
			printFindings(cmd, findings)
			return runError(cmd, err)
		}
	}
	if err := printFindings(cmd, findings); err != nil {
		return err
	}
	kept := make(map[string]bool, len(renderedBy))
	for path := range renderedBy {
		kept[path] = true
	}
	if o.instead == nil {
		for i, c := range parsed {
			err := runs[i].prune(c.Metadata.Name, kept, func(path string, data []byte) {
				if o.diff {
					diffs.add(runs[i].show(path), data, nil)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	if err := commitAll(cmd.Context(), slices.Concat(runs, o.with)); err != nil {
		return err
	}
	return o.tell(cmd, runs, diffs)
}

// config renders one config into its staging.
func (o *generateOptions) config(cmd *cobra.Command, safe *sopsfile.Safe, c *generator.Config, generated []string, w *staging, diffs *diffPrinter) ([]report.Finding, error) {
	secrets, err := openSecrets(w.tree, safe, c, nil)
	if err != nil {
		return nil, err
	}
	var only []string
	if o.instead != nil {
		only = secrets.replace(o.instead)
	}
	seal, err := newSealer(w.tree, safe, c)
	if err != nil {
		return nil, err
	}
	bar := newProgress(cmd.ErrOrStderr(), "rendering "+c.Metadata.Name)
	defer bar.clear()
	findings, err := generator.Generate(cmd.Context(), c, generator.Inputs{
		Secrets: secrets, Encrypter: seal, Now: time.Now(), Generated: generated, Only: only,
	}, func(r generator.Result) error {
		bar.count()
		path := pairFile("", r.Namespace, r.Name)
		if o.diff {
			diffs.add(w.show(path), r.Previous, r.Document)
		}
		return w.add(path, r.Previous, r.Document)
	})
	return findings, err
}

// commitAll writes the files of all configs, or none.
func commitAll(ctx context.Context, runs []*staging) error {
	for i, w := range runs {
		err := ctx.Err()
		if err == nil {
			err = w.commit()
		}
		if err != nil {
			for _, before := range slices.Backward(runs[:i]) {
				err = errors.Join(err, before.rollback())
			}
			return failed(err)
		}
	}
	return nil
}

// tell says what a run did, or would do.
func (o *generateOptions) tell(cmd *cobra.Command, runs []*staging, diffs *diffPrinter) error {
	counts := make(map[string]int)
	unchanged := 0
	var list bytes.Buffer
	for _, w := range runs {
		unchanged += w.unchanged
		for _, c := range w.sorted() {
			counts[c.verb]++
			fmt.Fprintf(&list, "%s %s\n", c.verb, w.show(c.path))
		}
	}
	changes := list.Len() > 0
	if _, err := cmd.OutOrStdout().Write(list.Bytes()); err != nil {
		return failed(err)
	}
	if o.diff {
		if err := diffs.print(); err != nil {
			return failed(err)
		}
	}
	would := ""
	if o.check || o.dryRun {
		would = "would be "
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "pairs: %s%d created, %d changed, %d removed, %d unchanged\n",
		would, counts[created], counts[changed], counts[removed], unchanged)
	if o.check && changes {
		return &exitError{code: exitFindings, err: withHint(errors.New("the rendered files are not what the config says"), "clusterpair generate -f %s", strings.Join(o.paths, " -f "))}
	}
	return nil
}

// diffPrinter collects differences and prints them sorted by file.
type diffPrinter struct {
	w io.Writer

	mu    sync.Mutex
	diffs map[string][]byte
}

// add takes in a file before and after; nil means that there is none.
func (d *diffPrinter) add(path string, before, after []byte) {
	if bytes.Equal(before, after) {
		return
	}
	text := diff.Diff("a/"+path, mask(before), "b/"+path, mask(after))
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.diffs == nil {
		d.diffs = make(map[string][]byte)
	}
	d.diffs[path] = text
}

func (d *diffPrinter) print() error {
	paths := make([]string, 0, len(d.diffs))
	for path := range d.diffs {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		if _, err := d.w.Write(d.diffs[path]); err != nil {
			return err
		}
	}
	return nil
}

// progress shows on a terminal how far a long run is.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	what  string
	start time.Time
	last  time.Time
	done  int
	shown bool
}

func newProgress(w io.Writer, what string) *progress {
	p := &progress{what: what, start: time.Now()}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	return p
}

// count adds a pair, and shows the count of a run that has taken more than a
// second, ten times a second at most.
func (p *progress) count() {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	now := time.Now()
	if now.Sub(p.start) < time.Second || now.Sub(p.last) < 100*time.Millisecond {
		return
	}
	p.last, p.shown = now, true
	fmt.Fprintf(p.w, "\r%s: pair %d", p.what, p.done)
}

// clear clears the line.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
