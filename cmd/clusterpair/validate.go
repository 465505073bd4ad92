package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/judge"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/stork"
	"clusterpair.dev/internal/validate"
)

// validateOptions are the flags of clusterpair validate.
type validateOptions struct {
	staged, strict, decrypt, plaintext, quiet bool
	kustomization                             string
	restrictor                                loadRestrictor
	skip, only, exclude                       []string
	storkVersion, policyFile                  string
	within, maxAge                            days
	formatFlag

	policy *judge.Policy // nil if there is none
	whole  bool          // the run is of directories, not of single files

	fromTop func(name string) string
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
every other file that Git knows, except source code and pictures. It passes over
what Git ignores and what .clusterpairignore lists, unless you name it.

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
	flags.BoolVar(&o.strict, "strict", false, "exit 1 on warnings, too, and if a directory holds nothing to check")
	flags.StringSliceVar(&o.skip, "skip", nil, "rule to leave out; repeatable")
	flags.StringSliceVar(&o.only, "only", nil, "rule to check, and no other; repeatable")
	flags.StringSliceVar(&o.exclude, "exclude", nil, "pattern of files to leave out, as in .clusterpairignore; repeatable")
	flags.StringVar(&o.storkVersion, "stork-version", "", "Stork release of the source clusters, such as 24.3")
	o.within.addWithin(cmd, "warn of credentials that end within this time")
	flags.Var(&o.maxAge, "max-age", "warn of ClusterPairs last encrypted longer ago than this")
	flags.BoolVar(&o.decrypt, "decrypt", false, "also check the plaintext, in memory, where a key is at hand")
	flags.BoolVar(&o.plaintext, "plaintext", false, "the input is meant to be in clear: no rule about SOPS holds")
	flags.StringVar(&o.policyFile, "policy", "", "CUE file with constraints of your own")
	o.addFormat(cmd, "text", report.Formats())
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "print errors alone, and no summary")
	complete(cmd, "skip", completeRules())
	complete(cmd, "only", completeRules())
	return cmd
}

func (o *validateOptions) run(cmd *cobra.Command, args []string) error {
	steady := pace.Steady(6<<20, 35, 44<<20) // a repository is read in flat memory
	defer steady.End()
	v, unread, err := o.judge(cmd, args, steady)
	if err != nil {
		return err
	}
	return o.finish(cmd, v, unread)
}

// judge has a validator judge what the flags and arguments mean.
func (o *validateOptions) judge(cmd *cobra.Command, args []string, steady *pace.Run) (*validate.Validator, []error, error) {
	repo, err := gitfiles.Open(args...)
	if err != nil {
		return nil, nil, err
	}
	repo.Exclude, o.fromTop = o.exclude, repo.Path
	options, err := o.options(cmd.Context(), repo)
	if err != nil {
		return nil, nil, err
	}
	anyFile, err := o.restrictor.anyFile()
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 && !o.staged && o.kustomization == "" {
		return nil, nil, usageError(withHint(errors.New("nothing to validate"), "for all files below this directory: clusterpair validate ."))
	}
	t := judge.Target{Repository: repo, Paths: args, Stdin: stdin(cmd), Staged: o.staged, Kustomization: o.kustomization, AnyFile: anyFile, Steady: steady, Unlisted: func(err error) {
		say(cmd.ErrOrStderr(), "warning: files under other names than those of manifests were not looked at: %s\n", err)
	}}
	v, whole, unread, err := t.Judge(cmd.Context(), options)
	o.whole = whole
	return v, unread, err
}

// findingsIn are the findings of clusterpair validate in files, for other commands.
func findingsIn(cmd *cobra.Command, args []string, within days) ([]report.Finding, error) {
	steady := pace.Steady(6<<20, 35, 44<<20)
	defer steady.End()
	o := &validateOptions{within: within, restrictor: "LoadRestrictionsRootOnly", formatFlag: formatFlag{format: "text", known: report.Formats()}}
	v, unread, err := o.judge(cmd, args, steady)
	switch {
	case err != nil:
		return nil, err
	case len(unread) > 0:
		return nil, report.Errors(unread)
	}
	return v.Findings(), nil
}

// options turns the flags into what the validator is to go by.
func (o *validateOptions) options(ctx context.Context, repo gitfiles.Repository) (validate.Options, error) {
	options := validate.Options{StorkVersion: o.storkVersion, Plaintext: o.plaintext, Skip: o.skip, Only: o.only, Within: o.within.Duration, MaxAge: o.maxAge.Duration, Now: time.Now()}
	for _, rule := range slices.Concat(o.skip, o.only) {
		if err := report.CheckRule(rule); err != nil {
			return options, err
		}
	}
	err := o.checkFormat()
	if err != nil {
		return options, err
	}
	if _, known := stork.Parse(o.storkVersion); !known && o.storkVersion != "" {
		return options, usageError(withHint(fmt.Errorf("--stork-version %q is no release of Stork", o.storkVersion), "as in 24.3 or v24.3.2"))
	}
	if o.decrypt {
		options.Decrypt = sopsfile.New(nil).Decrypt
	}
	if o.policyFile != "" {
		if o.policy, err = judge.OpenPolicy(ctx, o.policyFile); err != nil {
			return options, err
		}
		options.Policy = o.policy.Validate
	}
	if !o.plaintext {
		options.Origin, options.Encrypt = render.NewOrigins(repo).Of, seal.Hint
	}
	return options, nil
}

// finish prints what was found.
func (o *validateOptions) finish(cmd *cobra.Command, v *validate.Validator, unread []error) error {
	findings := v.Findings()
	var judged map[string]int // by the policy
	if o.policy != nil {
		judged = o.policy.Judged(v)
		findings = append(findings, o.policy.Idle(v, o.whole)...)
	}
	if o.quiet {
		findings = slices.DeleteFunc(findings, func(f report.Finding) bool { return f.Severity != report.Error || f.Waived != "" })
	}
	files, pairs := v.Checked()
	r := &report.Report{Findings: findings, Files: files, Pairs: pairs, Policy: judged, Unread: len(unread), Version: version(), FromTop: o.fromTop, Strict: o.strict, Color: report.Colored(cmd.OutOrStdout()), Quiet: o.quiet}
	if err := report.Write(cmd.OutOrStdout(), o.format, r); err != nil {
		return err
	}
	if len(unread) > 0 {
		return report.Errors(slices.CompactFunc(unread, func(a, b error) bool { return a.Error() == b.Error() }))
	}
	// A check in CI is not to be green because the directory is the wrong one.
	nothing := o.strict && o.whole && !o.staged && len(files) == 0 && len(o.only) == 0
	if r.Failed() || nothing {
		return &exitError{code: exitFindings}
	}
	return nil
}
