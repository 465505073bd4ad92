package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"clusterpair.dev/internal/engine"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// Explain tells how engines apply the encrypted ClusterPairs that arguments mean: each file
// that is named must hold one. It reads all files of their repository. encrypt is the hint
// for a file in clear, as in [validate.Options]. unread are the errors of single files.
func Explain(ctx context.Context, source *gitfiles.WorkTree, args []string, encrypt func(ctx context.Context, name string, data []byte) string) (all []engine.Explanation, unread []error, err error) {
	switch _, inGit := worktree.Top(source.Root); {
	case slices.Contains(args, "-"):
		return nil, nil, report.Usage(report.WithHint(errors.New("standard input is no file of a repository"), "name the file in the work tree: clusterpair explain FILE"))
	case !inGit:
		return nil, nil, report.Usage(report.WithHint(errors.New("no Git work tree is here: engines apply the files of one"), "go into the work tree that holds the files, or make one of this directory: git init"))
	}
	v := validate.New(validate.Options{Now: time.Now(), Remotes: func() []string { return source.Remotes(ctx) }})
	asked, unread, err := readAll(ctx, source, args, v)
	if err != nil {
		return nil, unread, err
	}
	model := v.Model()
	pairs := make(map[string][]engine.Pair)
	for _, p := range model.Pairs() {
		pairs[p.Path] = append(pairs[p.Path], p)
	}
	var wrong []error
	for _, file := range asked {
		switch found := pairs[file.Path]; {
		case len(found) > 0 && !found[0].Encrypted && file.Any:
			wrong = append(wrong, report.Usage(report.WithHint(fmt.Errorf("the ClusterPair in %s is in clear: there is nothing that an engine could decrypt", file.Name), "%s", encrypt(ctx, file.Name, file.Data))))
		case len(found) == 0 && file.Any:
			wrong = append(wrong, noPair(file))
		}
		for _, p := range pairs[file.Path] {
			if p.Encrypted {
				all = append(all, model.Explain(p))
			}
		}
	}
	switch {
	case len(wrong) == 1:
		err = wrong[0]
	case len(wrong) > 1:
		err = report.Errors(wrong)
	case len(all) == 0 && len(unread) == 0:
		err = report.Usage(report.WithHint(errors.New("there is no encrypted ClusterPair"), "see what is there: clusterpair validate %s", strings.Join(report.TypedAll(args), " ")))
	}
	return all, unread, err
}

// readAll gives a validator all files of the repository. asked are those that arguments
// mean, sorted; Any says that one names the file itself.
func readAll(ctx context.Context, source *gitfiles.WorkTree, args []string, v *validate.Validator) (asked []validate.File, unread []error, err error) {
	files, err := source.List(ctx, args)
	if err != nil {
		return nil, nil, err
	}
	named := make(map[string]bool)
	for _, arg := range args {
		named[source.Path(arg)] = true
	}
	var mu sync.Mutex
	unread, err = Files(ctx, source, files, v, func(ctx context.Context, file validate.File) error {
		f := validate.File{Name: file.Name, Path: file.Path, Any: named[file.Path]}
		if f.Any {
			f.Data = slices.Clone(file.Data)
		}
		mu.Lock()
		asked = append(asked, f)
		mu.Unlock()
		return v.File(ctx, file)
	})
	if err == nil && files.Around != nil {
		var more []error
		more, err = Each(ctx, source, files.Around, v.File)
		unread = append(unread, more...)
	}
	slices.SortFunc(asked, func(a, b validate.File) int { return strings.Compare(a.Path, b.Path) })
	return asked, unread, err
}

// noPair is the error for a file that was named and holds no ClusterPair.
func noPair(file validate.File) error {
	var broken *report.Finding
	holds := ""
	manifest.Scan(file.Data, file.Name, func(d manifest.Document, f *report.Finding) {
		if f != nil {
			broken = cmp.Or(broken, f)
		} else if kind := manifest.Text(d.Node, "kind"); kind != "" {
			holds = ", but an object of kind " + kind
		}
	})
	if broken != nil {
		return *broken
	}
	return report.Usage(report.WithHint(fmt.Errorf("%s holds no ClusterPair%s", file.Name, holds), "for all pairs below this directory: clusterpair explain ."))
}
