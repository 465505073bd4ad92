package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	"sigs.k8s.io/kustomize/api/types"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/schema"
)

// validateOptions are the flags of clusterpair validate.
type validateOptions struct {
	staged, strict, decrypt, plaintext, quiet bool
	kustomization                             string
	skip, only                                []string
	storkVersion, within, maxAge              string
	policy, format                            string
}

func newValidateCommand() *cobra.Command {
	o := new(validateOptions)
	cmd := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check committed ClusterPairs and what stands around them",
		Long: `validate reads ClusterPairs as they are committed, encrypted or not, and the
Migrations, schedules, kustomizations, Flux and Argo CD objects beside them. It
needs no key and no cluster. PATH is a file, a directory, a glob (** spans
directories) or - for standard input.

A comment "# clusterpair:ignore RULE REASON" waives a rule for its line, for the
next line, or, above the first line of a document, for all of it. On rendered
pairs spec.pairs[].allow does. "clusterpair rules" lists the rules.`,
		Example: `  clusterpair validate .
  clusterpair validate --strict --within 60d clusters/
  clusterpair validate --staged --only plaintext-credential
  clusterpair validate -k overlays/east -o sarif
  storkctl generate clusterpair west -n apps | clusterpair validate --plaintext -`,
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.staged, "staged", false, "read from the Git index: the files given, or without PATH those that the next commit changes")
	flags.StringVarP(&o.kustomization, "kustomize", "k", "", "validate the result of a kustomization's directory, too")
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too")
	flags.StringSliceVar(&o.skip, "skip", nil, "rule to leave out; repeatable")
	flags.StringSliceVar(&o.only, "only", nil, "rule to check, and no other; repeatable")
	flags.StringVar(&o.storkVersion, "stork-version", "", "Stork release of the source clusters, such as 24.3")
	flags.StringVar(&o.within, "within", "30d", "warn of credentials that end within this time")
	flags.StringVar(&o.maxAge, "max-age", "", "warn of files last encrypted longer ago than this")
	flags.BoolVar(&o.decrypt, "decrypt", false, "also check the plaintext, in memory, where a key is at hand")
	flags.BoolVar(&o.plaintext, "plaintext", false, "the input is meant to be in clear: no rule about SOPS holds")
	flags.StringVar(&o.policy, "policy", "", "CUE file with constraints of your own")
	flags.StringVarP(&o.format, "output", "o", "text", "format: "+strings.Join(report.Formats(), ", "))
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors alone, and no summary")
	for name, values := range map[string][]cobra.Completion{"skip": completeRules(), "only": completeRules(), "output": report.Formats()} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	}
	return cmd
}

func (o *validateOptions) run(cmd *cobra.Command, args []string) error {
	steady := pace.Steady(2<<20, 35, 20<<20) // a repository is read in flat memory
	defer steady.End()
	repo, err := newRepository(args...)
	if err != nil {
		return failed(err)
	}
	options, err := o.options(repo)
	if err != nil {
		return err
	}
	if len(args) == 0 && !o.staged && o.kustomization == "" {
		return usageError(withHint(errors.New("nothing to validate"), "clusterpair validate . for all files below this directory"))
	}
	var source fileSource = &workFiles{repository: repo, all: "clusterpair validate ."}
	if o.staged {
		source = &gitIndex{repository: repo}
	}
	files, err := source.list(cmd, args)
	if err != nil {
		return err
	}
	options.Partial = files.around == nil && files.partial && o.kustomization == ""
	v := validate.New(options)
	unread, err := eachFile(cmd.Context(), source, files.each, func(ctx context.Context, file validate.File) error {
		if v.Found() > 1000 {
			steady.Lift() // that many findings are not flat themselves
		}
		return v.File(ctx, file)
	})
	if err != nil {
		return err
	}
	if files.also != nil { // kustomize takes in files of any name
		more, err := eachFile(cmd.Context(), source, func(_ context.Context, visit func(listedFile)) error {
			files.also(v.Resources(), visit)
			return nil
		}, v.File)
		if err != nil {
			return err
		}
		unread = append(unread, more...)
	}
	if files.around != nil && v.Refers() {
		// What cannot be read here is not to be judged.
		_, err := eachFile(cmd.Context(), source, files.around, func(_ context.Context, file validate.File) error {
			v.Note(file)
			return nil
		})
		if err != nil {
			return err
		}
	}
	if o.kustomization != "" {
		if err := validateBuild(cmd.Context(), v, o.kustomization); err != nil {
			return err
		}
	}
	return o.finish(cmd, v, unread)
}

// options turns the flags into what the validator is to go by.
func (o *validateOptions) options(repo repository) (validate.Options, error) {
	options := validate.Options{StorkVersion: o.storkVersion, Plaintext: o.plaintext, Skip: o.skip, Only: o.only, Now: time.Now()}
	for _, rule := range slices.Concat(o.skip, o.only) {
		if err := knownRule(rule); err != nil {
			return options, err
		}
	}
	if !slices.Contains(report.Formats(), o.format) {
		return options, usageError(withHint(fmt.Errorf("there is no format %q", o.format), "-o %s", strings.Join(report.Formats(), "|")))
	}
	for _, d := range []struct {
		flag, text string
		value      *time.Duration
	}{{"within", o.within, &options.Within}, {"max-age", o.maxAge, &options.MaxAge}} {
		if d.text == "" {
			continue
		}
		var err error
		if *d.value, err = generator.ParseDuration(d.text); err != nil {
			return options, usageError(withHint(fmt.Errorf("--%s: %w", d.flag, err), "days or hours, as in 30d or 720h"))
		}
	}
	if !schema.IsStorkVersion(o.storkVersion) && o.storkVersion != "" {
		return options, usageError(withHint(fmt.Errorf("--stork-version %q is no release of Stork", o.storkVersion), "as in 24.3 or v24.3.2"))
	}
	if o.decrypt {
		options.Decrypt = sopsfile.New(nil).Decrypt
	}
	if o.policy != "" {
		data, err := os.ReadFile(o.policy)
		if err != nil {
			return options, failed(fmt.Errorf("read %s: %w", o.policy, cause(err)))
		}
		policy, err := schema.LoadPolicy(data, o.policy)
		if err != nil {
			return options, failed(err)
		}
		options.Policy = policy.Validate
	}
	if !o.plaintext {
		options.Origin = newOrigins(repo).of
	}
	return options, nil
}

// eachFile reads the files of a list and visits them, on all cores. A file that
// cannot be read keeps no other from being visited.
func eachFile(ctx context.Context, source fileSource, list func(context.Context, func(listedFile)) error, visit func(context.Context, validate.File) error) (unread []error, err error) {
	var mu sync.Mutex
	var group sync.WaitGroup
	work := make(chan listedFile, 64)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			var buffer []byte
			for file := range work {
				if ctx.Err() != nil {
					continue
				}
				var err error
				buffer, err = source.read(ctx, file, buffer[:0])
				if err == nil && buffer != nil {
					err = visit(ctx, validate.File{Name: file.name, Path: file.path, Data: buffer, Any: (file.any || file.data) && !isManifest(path.Base(file.path)) && file.name != "-"})
				}
				if err != nil {
					mu.Lock()
					unread = append(unread, err)
					mu.Unlock()
				}
			}
		})
	}
	err = list(ctx, func(file listedFile) { work <- file })
	close(work)
	group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	slices.SortFunc(unread, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return unread, err
}

// validateBuild judges what kustomize makes of a directory. It has no lines:
// findings name the object.
func validateBuild(ctx context.Context, v *validate.Validator, dir string) error {
	out, _, err := build(dir, types.LoadRestrictionsNone, nil)
	if err != nil {
		return err
	}
	docs, err := manifest.Values(out, dir)
	if err != nil {
		return err
	}
	for _, doc := range docs {
		if err := v.Object(ctx, dir, doc); err != nil {
			return failed(err)
		}
	}
	return nil
}

// finish prints what was found.
func (o *validateOptions) finish(cmd *cobra.Command, v *validate.Validator, unread []error) error {
	findings := v.Findings()
	if o.quiet {
		findings = slices.DeleteFunc(findings, func(f report.Finding) bool { return f.Severity != report.Error || f.Waived != "" })
	}
	files, pairs := v.Checked()
	r := &report.Report{Findings: findings, Files: files, Pairs: pairs, Unread: len(unread), Version: version(), Strict: o.strict, Color: color(cmd), Quiet: o.quiet}
	if err := report.Write(cmd.OutOrStdout(), o.format, r); err != nil {
		return failed(err)
	}
	if len(unread) > 0 {
		return failed(joined(slices.CompactFunc(unread, func(a, b error) bool { return a.Error() == b.Error() })))
	}
	if r.Failed() {
		return &exitError{code: exitFindings}
	}
	return nil
}

// color tells whether a person reads standard output and wants it colored.
// https://no-color.org
func color(cmd *cobra.Command) bool {
	f, ok := cmd.OutOrStdout().(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
