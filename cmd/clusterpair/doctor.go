package main

import (
	"slices"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/doctor"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
)

// doctorOptions are the flags of clusterpair doctor.
type doctorOptions struct {
	doctor.Options
	checkFlags
}

func newDoctorCommand() *cobra.Command {
	o := new(doctorOptions)
	cmd := &cobra.Command{
		Use:   "doctor [DIR]",
		Short: "Say what is missing, or will silently do nothing",
		Long: `doctor looks at the files below DIR, the working directory if it is not given, and
at this machine: whether configs, creation rules and keys fit together, and
whether kustomize, Argo CD, Flux and pre-commit will do what the files expect of
them. Most of what it finds fails elsewhere without a word. It asks no cluster,
runs no program but git, kustomize and clusterpair version, and changes nothing.

Without a flag it looks at the repository, and at whichever of kustomize, Argo CD,
Flux and pre-commit the repository uses. A flag names a part to look at; then it
looks at no other.

Git does not tell which PATH and which keys the containers of Argo CD have. Run
doctor inside them:

  kubectl -n argocd exec deploy/argocd-repo-server -c argocd-repo-server -- clusterpair doctor --argocd`,
		Example: `  clusterpair doctor
  clusterpair doctor --pre-commit
  clusterpair doctor clusters --flux --strict`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return o.run(cmd, dir)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.ArgoCD, "argocd", false, "look at Argo CD")
	flags.BoolVar(&o.Flux, "flux", false, "look at Flux")
	flags.BoolVar(&o.Kustomize, "kustomize", false, "look at kustomize, and at who calls it")
	flags.BoolVar(&o.PreCommit, "pre-commit", false, "look at the hooks before a commit, and at what git diff shows")
	o.checkFlags.add(cmd)
	return cmd
}

func (o *doctorOptions) run(cmd *cobra.Command, dir string) error {
	defer pace.Steady(2<<20, 25, 36<<20).End()
	if err := o.checkFormat(); err != nil {
		return err
	}
	o.Version = version()
	write := o.writer(cmd, "part", "parts")
	sick := false
	err := doctor.Examine(cmd.Context(), dir, o.Options, func(p doctor.Part) {
		sick = sick || slices.ContainsFunc(p.Checks, func(c report.Check) bool { return c.Fails(o.strict) })
		write.Add(report.Checked{Title: p.Name, Head: p.Name + "  " + dir, Checks: p.Checks, JSON: func(checks any) any {
			return struct {
				Part   string `json:"part"`
				Dir    string `json:"dir"`
				Checks any    `json:"checks"`
			}{p.Name, dir, checks}
		}})
	})
	if err == nil {
		err = write.End()
	}
	if err == nil && sick {
		err = &exitError{code: exitFindings}
	}
	return err
}
