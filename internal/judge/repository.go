package judge

import (
	"context"
	"slices"
	"sync"

	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
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
	configs := new(configFiles)
	if options.Orphans && !t.Staged { // else other files than those in the work tree would count
		options.Outdated = func() []report.Finding { return configs.judge(ctx) }
	}
	v = validate.New(options)
	unread, err = All(ctx, source, files, v, func(ctx context.Context, file validate.File) error {
		if v.Found() > 1000 {
			t.Steady.Lift()
		}
		configs.see(file)
		return v.File(ctx, file)
	}, t.Unlisted)
	if err == nil && t.Kustomization != "" {
		err = Build(ctx, v, t.Kustomization, kustomize.Options{AnyFile: t.AnyFile})
	}
	return v, !files.Partial, unread, err
}

// configFiles are the files of a run that may hold configs.
type configFiles struct {
	mu    sync.Mutex
	files []string
}

// see notes a file if it may hold a config. Files come from several goroutines.
func (c *configFiles) see(file validate.File) {
	if !kustomize.Mentions(file.Data) || file.Link {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = append(c.files, file.Name)
}

// judge finds the configs whose pairs are to be rendered anew.
func (c *configFiles) judge(ctx context.Context) (all []report.Finding) {
	slices.Sort(c.files)
	var looker render.Looker
	for _, file := range c.files {
		findings, err := looker.Judge(ctx, file)
		if err != nil {
			break // the run has ended
		}
		all = append(all, findings...)
	}
	return all
}
