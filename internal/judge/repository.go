package judge

import (
	"context"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/validate"
)

// Target says which files of a repository are judged.
type Target struct {
	Repository gitfiles.Repository
	// Paths are what a user has named, and Stdin reads standard input for -.
	Paths []string
	Stdin func() ([]byte, error)
	// Staged takes the files from the index of Git.
	Staged bool
	// Kustomization is a directory of which the result is judged, too; empty for none. With
	// AnyFile it may take files from outside of it.
	Kustomization string
	AnyFile       bool
	// Steady is the pace of the run: it is lifted where a thousand findings are no longer
	// flat themselves.
	Steady *pace.Run
	// Unlisted is told why Git does not list its files.
	Unlisted func(error)
}

// Judge has a validator judge the files. whole tells that they are all of a directory,
// unread are the errors of single files.
func (t Target) Judge(ctx context.Context, options validate.Options) (v *validate.Validator, whole bool, unread []error, err error) {
	var source gitfiles.Source = &gitfiles.WorkTree{Repository: t.Repository, All: "clusterpair validate .", Stdin: t.Stdin}
	if t.Staged {
		source = &gitfiles.Index{Repository: t.Repository}
		options.WorkTree = func(f validate.File) ([]byte, error) {
			return (&gitfiles.WorkTree{Repository: t.Repository}).Read(ctx, gitfiles.File{Name: f.Name, Path: f.Path, Any: true}, nil)
		}
	}
	files, err := source.List(ctx, t.Paths)
	if err != nil {
		return nil, false, nil, err
	}
	options.Partial = files.Around == nil && files.Partial && t.Kustomization == ""
	options.LeftOut = files.LeftOut
	options.Remotes = func() []string { return t.Repository.Remotes(ctx) }
	options.Orphans = !files.Partial && (files.Whole || files.Around != nil)
	v = validate.New(options)
	unread, err = All(ctx, source, files, v, func(ctx context.Context, file validate.File) error {
		if v.Found() > 1000 {
			t.Steady.Lift()
		}
		return v.File(ctx, file)
	}, t.Unlisted)
	if err == nil && t.Kustomization != "" {
		err = Build(ctx, v, t.Kustomization, kustomize.Options{AnyFile: t.AnyFile})
	}
	return v, !files.Partial, unread, err
}
