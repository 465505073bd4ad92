package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/judge"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/stork"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
	"clusterpair.dev/schema"
)

// validateOptions are the flags of clusterpair validate.
type validateOptions struct {
	staged, strict, decrypt, plaintext, quiet bool
	kustomization                             string
	restrictor                                loadRestrictor
	skip, only                                []string
	storkVersion, within, maxAge              string
	policy, format                            string

	definitions []string // that the policy adds to
	whole       bool     // the run is of directories, not of single files
}

func newValidateCommand() *cobra.Command {
	o := new(validateOptions)
	cmd := &cobra.Command{
		Use:   "validate PATH...",
		Short: "Check committed ClusterPairs and what stands around them",
		Long: `validate reads ClusterPairs as they are committed, encrypted or not, and the
Migrations, schedules, kustomizations, Flux and Argo CD objects beside them. It
needs no key and no cluster. PATH is a file, a directory, a glob (** spans
directories) or - for standard input. In a directory of a Git work tree it reads
manifests and kubeconfigs by their names, and looks for credentials in clear in
every other file that Git knows, but for sources and pictures. What Git leaves out
it leaves out, too, unless it is named.

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
	o.restrictor.addFlag(cmd)
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too")
	flags.StringSliceVar(&o.skip, "skip", nil, "rule to leave out; repeatable")
	flags.StringSliceVar(&o.only, "only", nil, "rule to check, and no other; repeatable")
	flags.StringVar(&o.storkVersion, "stork-version", "", "Stork release of the source clusters, such as 24.3")
	flags.StringVar(&o.within, "within", "30d", "warn of credentials that end within this time")
	flags.StringVar(&o.maxAge, "max-age", "", "warn of ClusterPairs last encrypted longer ago than this")
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
	steady := pace.Steady(6<<20, 35, 48<<20) // a repository is read in flat memory
	defer steady.End()
	repo, err := gitfiles.Open(args...)
	if err != nil {
		return err
	}
	options, err := o.options(repo)
	if err != nil {
		return err
	}
	anyFile, err := o.restrictor.anyFile()
	if err != nil {
		return err
	}
	if len(args) == 0 && !o.staged && o.kustomization == "" {
		return usageError(withHint(errors.New("nothing to validate"), "for all files below this directory: clusterpair validate ."))
	}
	var source gitfiles.Source = &gitfiles.WorkTree{Repository: repo, All: "clusterpair validate .", Stdin: stdin(cmd)}
	if o.staged {
		source = &gitfiles.Index{Repository: repo}
		options.WorkTree = func(f validate.File) ([]byte, error) {
			return (&gitfiles.WorkTree{Repository: repo}).Read(cmd.Context(), gitfiles.File{Name: f.Name, Path: f.Path, Any: true}, nil)
		}
	}
	files, err := source.List(cmd.Context(), args)
	if err != nil {
		return err
	}
	o.whole = !files.Partial
	options.Partial = files.Around == nil && files.Partial && o.kustomization == ""
	options.LeftOut = files.LeftOut
	options.Orphans = !files.Partial && (files.Whole || files.Around != nil)
	v := validate.New(options)
	rest := judge.Find(cmd.Context(), files, v) // Git looks while the others are read
	unread, err := judge.Files(cmd.Context(), source, files, v, func(ctx context.Context, file validate.File) error {
		if v.Found() > 1000 {
			steady.Lift() // that many findings are not flat themselves
		}
		return v.File(ctx, file)
	})
	if err == nil {
		var more []error
		more, err = judgeRest(cmd, v, source, rest)
		unread = append(unread, more...)
	}
	if err == nil {
		err = judge.Around(cmd.Context(), source, files, v)
	}
	if err != nil {
		return err
	}
	if o.kustomization != "" {
		if err := validateBuild(cmd.Context(), v, o.kustomization, kustomize.Options{AnyFile: anyFile}); err != nil {
			return err
		}
	}
	return o.finish(cmd, v, unread)
}

// judgeRest judges the files under names that tell nothing. That Git does not tell
// which those are is no reason not to say what the others hold.
func judgeRest(cmd *cobra.Command, v *validate.Validator, source gitfiles.Source, rest func() ([]gitfiles.File, error)) (unread []error, err error) {
	files, err := rest()
	if err != nil {
		say(cmd.ErrOrStderr(), "warning: files under other names than those of manifests were not looked at: %s\n", err)
		return nil, nil
	}
	return judge.Rest(cmd.Context(), source, files, v)
}

// options turns the flags into what the validator is to go by.
func (o *validateOptions) options(repo gitfiles.Repository) (validate.Options, error) {
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
	if _, known := stork.Parse(o.storkVersion); !known && o.storkVersion != "" {
		return options, usageError(withHint(fmt.Errorf("--stork-version %q is no release of Stork", o.storkVersion), "as in 24.3 or v24.3.2"))
	}
	if o.decrypt {
		options.Decrypt = sopsfile.New(nil).Decrypt
	}
	if o.policy != "" {
		data, err := os.ReadFile(o.policy)
		if err != nil {
			return options, worktree.Unread(o.policy, err)
		}
		policy, err := schema.LoadPolicy(data, o.policy)
		if err != nil {
			return options, err
		}
		options.Policy, o.definitions = policy.Validate, policy.Definitions()
	}
	if !o.plaintext {
		options.Origin, options.Encrypt = render.NewOrigins(repo).Of, seal.Hint
	}
	return options, nil
}

// validateBuild judges what kustomize makes of a directory. It has no lines:
// findings name the object.
func validateBuild(ctx context.Context, v *validate.Validator, dir string, options kustomize.Options) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		if err == nil {
			err = errors.New("is no directory")
		}
		return withHint(fmt.Errorf("%s: %w", dir, cause(err)), "name the directory of a kustomization: clusterpair validate -k DIR")
	}
	out, _, err := kustomize.Build(ctx, dir, options)
	if err != nil {
		return err
	}
	docs, err := manifest.Values(out, dir)
	if err != nil {
		return err
	}
	for _, doc := range docs {
		if err := v.Object(ctx, dir, doc); err != nil {
			return err
		}
	}
	return nil
}

// judged is how many documents each definition of the policy was held against.
func (o *validateOptions) judged(v *validate.Validator) map[string]int {
	if o.policy == "" {
		return nil
	}
	judged := make(map[string]int)
	for _, definition := range o.definitions {
		judged[definition] = v.Judged(definition)
	}
	return judged
}

// idlePolicy tells of a policy that has judged nothing: it looks like one that all
// documents keep. In a run of single files there may be nothing for it.
func (o *validateOptions) idlePolicy(v *validate.Validator, judged map[string]int) []report.Finding {
	_, pairs := v.Checked()
	if o.policy == "" || !o.whole && pairs == 0 {
		return nil
	}
	for _, documents := range judged {
		if documents > 0 {
			return nil
		}
	}
	f := report.Finding{Rule: "policy", Severity: report.Warning, Position: report.Position{File: o.policy},
		Message: "the policy has judged no document: there is none of the kind of " + strings.Join(o.definitions, ", "),
		Hint:    "#ClusterPair is for all ClusterPairs, #Encrypted for those that are encrypted"}
	if len(o.definitions) == 0 {
		f.Message = "the policy has judged no document: it adds to no definition of a kind of document"
	}
	return []report.Finding{f}
}

// finish prints what was found.
func (o *validateOptions) finish(cmd *cobra.Command, v *validate.Validator, unread []error) error {
	findings := v.Findings()
	judged := o.judged(v)
	findings = append(findings, o.idlePolicy(v, judged)...)
	if o.quiet {
		findings = slices.DeleteFunc(findings, func(f report.Finding) bool { return f.Severity != report.Error || f.Waived != "" })
	}
	files, pairs := v.Checked()
	r := &report.Report{Findings: findings, Files: files, Pairs: pairs, Policy: judged, Unread: len(unread), Version: version(), Strict: o.strict, Color: color(cmd), Quiet: o.quiet}
	if err := report.Write(cmd.OutOrStdout(), o.format, r); err != nil {
		return err
	}
	if len(unread) > 0 {
		return report.Errors(slices.CompactFunc(unread, func(a, b error) bool { return a.Error() == b.Error() }))
	}
	if r.Failed() {
		return &exitError{code: exitFindings}
	}
	return nil
}

// color tells whether a person reads standard output and wants it colored.
// https://no-color.org
func color(cmd *cobra.Command) bool {
	f := stdoutFile(cmd)
	return f != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}
