// Package judge has a validator judge a repository.
//
// [All] hands it the files of a list, [Build] what kustomize makes of a directory;
// [OpenPolicy] is for constraints of the user's own, [Explain] tells how engines apply
// pairs. [Files] and [Around] are two of the
// steps of All. A file that cannot be read keeps none of the others back.
package judge

import (
	"context"

	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/validate"
)

// All judges the files of a list in three steps: the files that visit gets and hands
// on, as for [Files]; the files that Git knows under names that tell nothing; the files
// around, which are only noted. If Git does not list its files, the others are judged
// all the same, and unlisted is called with the reason. unread are the errors of single
// files.
func All(ctx context.Context, source gitfiles.Source, files *gitfiles.List, v *validate.Validator, visit func(context.Context, validate.File) error, unlisted func(error)) (unread []error, err error) {
	find := findRest(ctx, files, v) // Git looks while the others are read
	if unread, err = Files(ctx, source, files, v, visit); err != nil {
		return unread, err
	}
	if found, err := find(); err != nil {
		unlisted(err)
	} else {
		more, err := rest(ctx, source, found, v)
		if unread = append(unread, more...); err != nil {
			return unread, err
		}
	}
	return unread, Around(ctx, source, files, v)
}

// Each is [gitfiles.Each] for files as a validator takes them.
func Each(ctx context.Context, source gitfiles.Source, list func(context.Context, func(gitfiles.File)) error, visit func(context.Context, validate.File) error) (unread []error, err error) {
	return gitfiles.Each(ctx, source, list, func(ctx context.Context, file gitfiles.File, data []byte) error {
		return visit(ctx, validate.File{Name: file.Name, Path: file.Path, Data: data, Any: file.Whatever(), Credentials: file.Rest, Link: file.Link, Sample: file.Sample})
	})
}

// Files gives a validator the files of a list: visit gets each, and is to hand it on to
// [validate.Validator.File]; the validator itself gets those that kustomizations take
// in, whatever their names. unread are the errors of single files.
func Files(ctx context.Context, source gitfiles.Source, files *gitfiles.List, v *validate.Validator, visit func(context.Context, validate.File) error) (unread []error, err error) {
	if w, ok := source.(*gitfiles.WorkTree); ok {
		w.Links = func(path, name, target string, broken bool) {
			if files.LeftOut == nil || !files.LeftOut(path) {
				v.Link(path, name, target, broken)
			}
		}
	}
	if unread, err = Each(ctx, source, files.Each, visit); err != nil || files.Also == nil {
		return unread, err
	}
	more, err := Each(ctx, source, func(_ context.Context, visit func(gitfiles.File)) error {
		files.Also(v.Resources(), visit)
		return nil
	}, v.File)
	return append(unread, more...), err
}

// Around gives a validator the files around a list, if those of the list refer to
// others. They are not judged themselves, nor is what cannot be read of them.
func Around(ctx context.Context, source gitfiles.Source, files *gitfiles.List, v *validate.Validator) error {
	if files.Around == nil || !v.Refers() {
		return nil
	}
	_, err := Each(ctx, source, files.Around, func(_ context.Context, file validate.File) error {
		v.Note(file)
		return nil
	})
	return err
}

// findRest asks Git for the files of a list under names that tell nothing, and does not
// wait for its answer, which files gives. It asks for none if the list has none, or the
// validator looks for no credential in clear.
func findRest(ctx context.Context, list *gitfiles.List, v *validate.Validator) (files func() ([]gitfiles.File, error)) {
	if list.Rest == nil || !v.LooksForCredentials() {
		return func() ([]gitfiles.File, error) { return nil, nil }
	}
	var found []gitfiles.File
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		err = defect.Safely("", func() (err error) {
			found, err = list.Rest(ctx)
			return err
		})
	}()
	return func() ([]gitfiles.File, error) {
		<-done
		return found, err
	}
}

// rest looks for credentials in files under names that tell nothing, but for those that
// a kustomization takes in: [Files] has had them judged.
func rest(ctx context.Context, source gitfiles.Source, files []gitfiles.File, v *validate.Validator) (unread []error, err error) {
	if len(files) == 0 {
		return nil, ctx.Err()
	}
	judged := make(map[string]bool)
	for _, p := range v.Resources() {
		judged[p] = true
	}
	return Each(ctx, source, func(_ context.Context, visit func(gitfiles.File)) error {
		for _, f := range files {
			if !judged[f.Path] {
				visit(f)
			}
		}
		return nil
	}, v.File)
}
