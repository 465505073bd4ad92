package render

import (
	"context"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
	"clusterpair.dev/internal/worktree"
)

// Environment is where a function runs: below a kustomization.
type Environment struct {
	tree *worktree.Tree
	safe *sopsfile.Safe
}

// NewEnvironment is that of the kustomization in the directory of t.
func NewEnvironment(t *worktree.Tree) *Environment {
	return &Environment{tree: t, safe: sopsfile.New(nil)}
}

// Open implements [generator.Environment].
func (e *Environment) Open(c *generator.Config, stream map[string]*yaml.Node) (generator.SecretSource, generator.Encrypter, error) {
	secrets, err := OpenSecrets(e.tree, e.safe, c, stream)
	if err != nil {
		return nil, nil, err
	}
	s, err := NewSealer(e.tree, e.safe, c)
	return secrets, s, err
}

// Decrypt implements [generator.Environment].
func (e *Environment) Decrypt(ctx context.Context, patterns []string, each func(file string, doc *yaml.Node) error) error {
	for _, pattern := range patterns {
		files, err := e.tree.Expand(pattern, "")
		if err != nil {
			return err
		}
		for _, file := range files {
			data, err := e.tree.ReadFile(file)
			if err != nil {
				return err
			}
			name := e.tree.Show(file)
			manifest.Scan(data, name, func(d manifest.Document, broken *report.Finding) {
				if err == nil && broken == nil && sopsfile.IsEncrypted(d.Node) {
					err = seal.CheckSelected(d.Node, name)
				}
			})
			if err != nil {
				return err
			}
			docs, err := e.safe.Decrypt(ctx, data, name)
			if err != nil {
				return seal.Explain(err, name)
			}
			for _, doc := range manifest.Contents(docs) {
				if err := each(name, doc); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Validate implements [generator.Environment].
func (e *Environment) Validate(ctx context.Context, o generator.Validation, objects []*yaml.Node) ([]report.Finding, error) {
	v := validate.New(validate.Options{StorkVersion: o.StorkVersion, Within: o.Within, MaxAge: o.MaxAge,
		Plaintext: o.Plaintext, Skip: o.Skip, Partial: true, Now: time.Now()})
	for _, object := range objects {
		if err := v.Object(ctx, "", object); err != nil {
			return nil, err
		}
	}
	return v.Findings(), nil
}

// Locate implements [generator.Environment].
func (e *Environment) Locate(kind, name string) (*yaml.Node, string) {
	configs, err := kustomize.Listed(e.tree)
	if err != nil {
		return nil, ""
	}
	for _, c := range configs {
		if c.Kind == kind && c.Name == name {
			return c.Doc, c.File
		}
	}
	return nil, ""
}
