package main

import (
	"cmp"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/kustomize/kyaml/kio"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// runFunction is the kustomize function. kustomize runs it in the directory of
// the kustomization that lists it.
func runFunction(cmd *cobra.Command) error {
	t, err := worktree.Open(".")
	if err != nil {
		return err
	}
	defer t.Close()
	env := render.NewEnvironment(t)

	var findings []report.Finding
	stream := &kio.ByteReadWriter{Reader: cmd.InOrStdin(), Writer: cmd.OutOrStdout(), KeepReaderAnnotations: true}
	read, err := generator.Execute(stream, func(rl *generator.ResourceList) (err error) {
		if c := rl.FunctionConfig; c != nil {
			kustomize.MarkRun(c.GetKind(), c.GetName())
		}
		findings, err = generator.Process(cmd.Context(), rl, env, time.Now())
		return err
	})
	if err != nil && !read {
		// The library's error quotes what it could not read.
		return withHint(errors.New("standard input holds no ResourceList"), "without arguments it is a function of kustomize, which reads one; for all else: clusterpair --help")
	}
	return cmp.Or(printFindings(cmd, findings), err)
}
