package render

import (
	"context"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/worktree"
)

// Looker tells of rendered pairs, without a key, whether they are fresh. What configs
// have in common it reads once. The zero value is ready; it is for one goroutine.
type Looker struct {
	secrets openedFiles
	rules   RuleFiles
}

// Freshness is what can be told without a key of the pairs of a config, or of all the
// configs of a file.
type Freshness struct {
	// Config is where the first config is whose pairs are stale.
	Config report.Position
	Fresh  int
	// Stale are the files of the pairs that were rendered from something else than what
	// is there, were changed afterwards, or are to be removed. Pairs that have no file yet
	// are not among them.
	Stale []string
	// Unknown are the pairs that do not tell. With Unclear there may be more.
	Unknown int
	Unclear bool
}

// File looks at the pairs of the configs in a file.
func (l *Looker) File(ctx context.Context, file string) (Freshness, error) {
	configs, err := kustomize.Find(file)
	defer kustomize.Close(configs)
	if err != nil {
		return Freshness{Unclear: true}, nil // what is wrong with it is said elsewhere
	}
	return l.Look(ctx, configs)
}

// Look looks at the pairs of configs. The error is that of ctx.
func (l *Looker) Look(ctx context.Context, configs []kustomize.Config) (Freshness, error) {
	var f Freshness
	r := Begin(configs, Options{Dry: true, Values: generator.Look})
	defer r.Close()
	r.secrets, r.rules = &l.secrets, &l.rules
	findings, err := r.Render(ctx)
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	f.Unclear = err != nil || report.HasErrors(findings)
	for _, o := range r.outputs {
		f.Fresh += o.stage.Fresh() - int(o.unknown.Load())
		f.Unknown += int(o.unknown.Load())
		for _, change := range o.stage.Changes() {
			if change.Verb != worktree.Created {
				if len(f.Stale) == 0 {
					f.Config = o.config.Position
				}
				f.Stale = append(f.Stale, o.stage.Show(change.Path))
			}
		}
	}
	return f, nil
}
