package judge

import (
	"context"
	"errors"
	"fmt"
	"os"

	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// Build judges what kustomize makes of a directory. It has no lines: findings name the
// object.
func Build(ctx context.Context, v *validate.Validator, dir string, options kustomize.Options) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		if err == nil {
			err = errors.New("is no directory")
		}
		return report.WithHint(fmt.Errorf("%s: %w", dir, worktree.Cause(err)), "name the directory of a kustomization: clusterpair validate -k DIR")
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
