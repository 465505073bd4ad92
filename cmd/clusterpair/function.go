package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/kyaml/fn/framework"
	"sigs.k8s.io/kustomize/kyaml/kio"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/validate"
)

// runFunction is the kustomize function. kustomize runs it in the directory of
// the kustomization that lists it.
func runFunction(cmd *cobra.Command) error {
	t, err := openTree(".")
	if err != nil {
		return failed(err)
	}
	defer t.Close()
	env := &environment{tree: t, safe: sopsfile.New(nil)}

	var findings []report.Finding
	processed := false
	err = framework.Execute(framework.ResourceListProcessorFunc(func(rl *framework.ResourceList) (err error) {
		processed = true
		markRun(rl)
		findings, err = generator.Process(cmd.Context(), rl, env, time.Now())
		return err
	}), &kio.ByteReadWriter{Reader: cmd.InOrStdin(), Writer: cmd.OutOrStdout(), KeepReaderAnnotations: true})
	if err != nil && !processed {
		// The library's error quotes what it could not read.
		return failed(withHint(errors.New("standard input holds no ResourceList"), "clusterpair without arguments is a kustomize function; see clusterpair --help"))
	}
	if err := printFindings(cmd, findings); err != nil {
		return err
	}
	return runError(cmd, err)
}

// runError gives an error of a run its exit code: a finding is printed as one.
func runError(cmd *cobra.Command, err error) error {
	var finding report.Finding
	if errors.As(err, &finding) {
		return printFindings(cmd, []report.Finding{finding})
	}
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		return failed(err)
	}
	return err
}

// environment is where a function runs: below a kustomization.
type environment struct {
	tree *tree
	safe *sopsfile.Safe
}

// Open implements [generator.Environment].
func (e *environment) Open(c *generator.Config, stream map[string]*yaml.Node) (generator.SecretSource, generator.Encrypter, error) {
	secrets, err := openSecrets(e.tree, e.safe, c, stream)
	if err != nil {
		return nil, nil, err
	}
	s, err := newSealer(e.tree, e.safe, c)
	return secrets, s, err
}

// Decrypt implements [generator.Environment].
func (e *environment) Decrypt(ctx context.Context, patterns []string, each func(file string, doc *yaml.Node) error) error {
	for _, pattern := range patterns {
		files, err := e.tree.expand(pattern, "")
		if err != nil {
			return failed(err)
		}
		for _, file := range files {
			data, err := e.tree.readFile(file)
			if err != nil {
				return failed(err)
			}
			name := e.tree.show(file)
			manifest.Scan(data, name, func(d manifest.Document, broken *report.Finding) {
				if err == nil && broken == nil && sopsfile.IsEncrypted(d.Node) {
					err = checkSelected(d.Node, name)
				}
			})
			if err != nil {
				return err
			}
			docs, err := e.safe.Decrypt(ctx, data, name)
			if err != nil {
				return sopsError(err, name)
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
func (e *environment) Validate(ctx context.Context, o generator.Validation, objects []*yaml.Node) ([]report.Finding, error) {
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
func (e *environment) Locate(kind, name string) (*yaml.Node, string) {
	configs, err := configsFor(e.tree)
	if err != nil {
		return nil, ""
	}
	for _, c := range configs {
		if c.kind == kind && c.name == name {
			return c.doc, c.file
		}
	}
	return nil, ""
}
