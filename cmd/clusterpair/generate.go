package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/mask"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/plan"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

func newGenerateCommand() *cobra.Command {
	var o generateOptions
	var one onePair
	cmd := &cobra.Command{
		Use:   "generate [-f CONFIG|DIR] | NAME --kubeconfig FILE (--age RECIPIENT | --plaintext)",
		Short: "Render encrypted ClusterPairs from destination kubeconfigs",
		Long: `generate renders the pairs of a function config into the files of its output
directory. What has not changed keeps its bytes. A run writes all of its files
or none. Before that it prints its plan: how many pairs of each config it creates
(+), changes (~) and removes (-); -o markdown and -o json print it pair by pair.
--check and --dry-run write nothing; --diff alone does.

A pair that the config no longer lists is removed. To remove more than one pair
takes --remove N, if that is also more than one in ten of the config's pairs.

With NAME it renders one pair from a kubeconfig and prints it, as storkctl
generate clusterpair does, but encrypted, checked and without the placeholder.`,
		Example: `  clusterpair generate
  clusterpair generate -f clusters/east -f clusters/west --check --diff
  clusterpair generate remotecluster -n migrationnamespace --kubeconfig dest.yaml --age age1...`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if name := firstChanged(cmd, "filename", "check", "diff", "dry-run", "open", "remove"); name != "" {
					return usageError(fmt.Errorf("--%s goes with a config, not with the name of a pair", name))
				}
				if _, err := os.Stat(args[0]); err == nil && !cmd.Flags().Changed("kubeconfig") {
					return usageError(withHint(fmt.Errorf("%s is a file or directory, not the name of a pair", args[0]), "clusterpair generate -f %s", report.Typed(args[0])))
				}
				one.Name = args[0]
				return one.run(cmd)
			}
			if name := firstChanged(cmd, "namespace", "kubeconfig", "context", "storage-options", "project-mappings",
				"stork-version", "server", "tls-server-name", "allow", "age", "plaintext"); name != "" {
				return usageError(fmt.Errorf("--%s goes with the name of a pair: clusterpair generate NAME --%s …", name, name))
			}
			if o.format, o.known = cmp.Or(one.Output, "text"), plan.Formats(); o.diff && o.format != "text" {
				return usageError(withHint(errors.New("--diff goes with no other format than text"), "leave out -o, or --diff"))
			}
			if err := o.checkFormat(); err != nil {
				return err
			}
			return o.render(cmd, nil, nil)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.paths, "filename", "f", nil, "function `config`, or directory of a kustomization that lists one; repeatable (default \".\")")
	flags.BoolVar(&o.check, "check", false, "write nothing; list the files that would change and exit with 1 if there are any")
	flags.BoolVar(&o.diff, "diff", false, "show what changes, with every secret value masked, and write it; with --check or --dry-run write nothing")
	flags.IntVar(&o.remove, "remove", -1, "remove up to so many pairs that no config lists any more (default: 1, or one in ten of a config's)")
	flags.Lookup("remove").DefValue = "0" // the usage says what the default is
	flags.BoolVar(&o.open, "open", false, "open the Secrets of pairs that are fresh, too, and compare the values (default with --check, where a key is at hand)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "write nothing; list the files that would change")
	one.addFlags(flags)
	return cmd
}

// generateOptions are the flags of generate with a config.
type generateOptions struct {
	formatFlag
	paths               []string
	check, diff, dryRun bool
	open                bool
	remove              int // how many pairs may be removed; negative is the limit of each config
}

// render renders the configs. instead holds what files are about to hold, as after the
// rotation of a credential. The files of with are written together with the pairs, all
// or none.
func (o *generateOptions) render(cmd *cobra.Command, instead map[string]*yaml.Node, with []render.File) error {
	defer pace.Steady(map[bool]int{true: 5 << 20, false: 24 << 20}[o.check], 30, 72<<20).End() // most checks hash alone
	if len(o.paths) == 0 {
		o.paths = []string{"."}
	}
	configs, err := kustomize.Configs(o.paths...)
	defer kustomize.Close(configs)
	if err != nil {
		return err
	}
	options := render.Options{Dry: o.check || o.dryRun, Instead: instead, With: with, Values: o.values(cmd, instead != nil), Progress: func(config string) (pair, end func()) {
		bar := report.NewProgress(cmd.ErrOrStderr(), "rendering "+config)
		return bar.Count, bar.Clear
	}}
	diffs := new(mask.Diffs)
	var restyled atomic.Int64
	options.Each = func(file string, before, after []byte) {
		if o.diff {
			diffs.Add(file, before, after)
		}
		if o.check && render.Restyled(before, after) {
			restyled.Add(1)
		}
	}
	r := render.Begin(configs, options)
	defer r.Close()
	if !options.Dry {
		var dirs []string
		for _, c := range configs {
			dirs = append(dirs, c.Tree.Abs("."))
		}
		unlock, err := worktree.Enter(cmd.Context(), cmd.ErrOrStderr(), r.Recover, dirs...)
		defer unlock()
		if err != nil {
			return err
		}
	}
	findings, err := r.Render(cmd.Context())
	if bad := printFindings(cmd, findings); err != nil || bad != nil {
		return cmp.Or(err, bad)
	}
	if err := o.plan(cmd, r, instead != nil); err != nil {
		return err
	}
	if err := r.Commit(cmd.Context()); err != nil {
		return err
	}
	o.open = o.open || slices.ContainsFunc(findings, func(f report.Finding) bool { return f.Rule == "annotation-drift" }) // a run that opens nothing would leave the pair alone
	return o.tell(cmd, r.Outputs(), diffs, int(restyled.Load()))
}

// values says whether the Secrets of fresh pairs are opened: by --check where a key is at
// hand, and as --open says. partial says that only the pairs of some are rendered.
func (o *generateOptions) values(cmd *cobra.Command, partial bool) generator.Values {
	switch {
	case partial || o.open:
		return generator.Always
	case o.check && cmd.Flags().Changed("open"):
		return generator.Never
	case o.check:
		return generator.IfKey
	}
	return generator.IfStale
}

// plan says what the run is going to do, before it writes anything, and refuses to
// remove what nobody can have meant to. partial says that only some of the pairs are
// rendered, and none is removed.
func (o *generateOptions) plan(cmd *cobra.Command, r *render.Run, partial bool) error {
	plans := r.Plans()
	lines := plan.Lines(plans)
	for _, line := range lines {
		say(cmd.ErrOrStderr(), "plan: %s\n", line)
	}
	if err := plan.Write(cmd.OutOrStdout(), o.format, plans, r.Changes); err != nil {
		return err
	}
	if partial || len(lines) == 0 && !o.check { // it reads the whole repository
		return nil
	}
	findings, err := r.Judge(cmd.Context(), o.paths, o.remove)
	return cmp.Or(err, printFindings(cmd, findings))
}

// tell says what a run did, or would do. restyled is how many files change their layout
// alone.
func (o *generateOptions) tell(cmd *cobra.Command, stages []*worktree.Stage, diffs *mask.Diffs, restyled int) error {
	sum := worktree.Summarize(stages...)
	if o.format == "" || o.format == "text" {
		_, _ = io.WriteString(cmd.OutOrStdout(), sum.List) // which remembers an error
	}
	if o.diff {
		if err := diffs.Write(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	say(cmd.ErrOrStderr(), "pairs: %s\n", sum.Counts(o.check || o.dryRun))
	if o.check && sum.List != "" {
		return &exitError{code: exitFindings, err: render.Differs(sum, restyled, o.open, o.paths)}
	}
	return nil
}
