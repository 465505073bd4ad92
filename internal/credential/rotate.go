package credential

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/kubeconfig"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Find finds the files to rotate: one, or those of a function config whose path is given
// instead. configs are those that render pairs from them: config, if it is not empty,
// else all of the repository. unknown is told of those of which that is not known.
func Find(path, config string, unknown func(config string, err error)) (files []*File, configs []string, err error) {
	f, err := OpenWritten(path)
	isConfig := err != nil && kustomize.HasConfig(path)
	if info, missing := os.Stat(path); !isConfig && missing == nil && info.IsDir() {
		err = report.WithHint(fmt.Errorf("%s holds no function config", path), "name the file of a Secret: clusterpair credential rotate FILE")
	}
	switch {
	case err != nil && !isConfig:
		return nil, nil, err
	case isConfig && config != "":
		return nil, nil, report.Usage(errors.New("--filename goes with the FILE of a Secret, not with a config"))
	case isConfig:
		files, err = written(path)
		return files, []string{path}, err
	case config == "":
		configs, err = takers(path, unknown)
		return []*File{f}, configs, err
	}
	names, err := listed(config)
	if err == nil && !slices.ContainsFunc(names, func(name string) bool { return worktree.SameFile(name, path) }) {
		err = report.Usage(report.WithHint(fmt.Errorf("no config in %s takes %s", config, path), "list it under spec.files"))
	}
	return []*File{f}, []string{config}, err
}

// written are the files of a config that credential create has written.
func written(config string) (files []*File, err error) {
	names, err := listed(config)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if f, err := Read(name); err == nil && f.Before != nil {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, report.WithHint(fmt.Errorf("%s takes no Secret that credential create has written", config), "make one, and list it there: clusterpair credential create --name stork-dr -o FILE")
	}
	return files, nil
}

// takers are the configs of the repository that take a Secret from a file, by their
// paths. unknown is called for each config that cannot be read, so that nobody knows
// what it takes.
func takers(file string, unknown func(config string, err error)) (paths []string, err error) {
	repo, err := gitfiles.Open(file)
	if err != nil {
		return nil, err
	}
	for _, path := range kustomize.Below(repo.Shown("."), -1) {
		path = repo.Shown(repo.Path(path)) // not by way of the top
		configs, err := kustomize.Find(path)
		if err != nil {
			unknown(path, err)
		}
		for _, found := range configs {
			if found.Stray() {
				continue
			}
			c, findings := found.Parse()
			if err := firstError(findings); err != nil {
				unknown(path, err)
				continue
			}
			secrets, err := render.OpenSecrets(found.Tree, nil, c, nil)
			if err != nil {
				unknown(path, err)
				continue
			}
			if slices.ContainsFunc(secrets.Files(), func(name string) bool { return worktree.SameFile(name, file) }) {
				paths = append(paths, path)
			}
		}
		kustomize.Close(configs)
	}
	return slices.Compact(paths), nil
}

// firstError is the first of the findings that is an error, nil if none is.
func firstError(findings []report.Finding) error {
	for _, f := range findings {
		if f.Severity == report.Error {
			return f
		}
	}
	return nil
}

// listed are the files that configs take Secrets from.
func listed(path string) ([]string, error) {
	configs, err := kustomize.Find(path)
	defer kustomize.Close(configs)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, found := range configs {
		c, findings := found.Parse()
		if c == nil {
			return nil, firstError(findings)
		}
		secrets, err := render.OpenSecrets(found.Tree, nil, c, nil)
		if err != nil {
			return nil, err
		}
		names = append(names, secrets.Files()...)
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

// Renewal says how a new token is to be made. What is empty stays as it was.
type Renewal struct {
	Age          []string // recipients, instead of the creation rule
	LegacySecret bool     // one that does not end
	Lifetime     string
	// Server is the URL of the destination as the source cluster reaches it. The name in
	// its certificate goes with it.
	Server, TLSServerName string
}

// ParseLifetime is the lifetime of a token, zero for ever. An error is wrong use.
func ParseLifetime(lifetime string) (time.Duration, error) {
	if lifetime == "" {
		return 0, nil
	}
	d, err := generator.ParseDuration(lifetime)
	switch {
	case err != nil:
		return 0, report.Usage(report.WithHint(fmt.Errorf("--lifetime: %w", err), "days or hours, as in 90d or 8760h"))
	case d < 10*time.Minute:
		return 0, report.Usage(errors.New("--lifetime: no API server makes tokens for less than 10m"))
	}
	return d, nil
}

// reach sets how the source cluster reaches the destination.
func (o Renewal) reach(f *File) {
	if o.Server != "" {
		f.Server, f.TLSServerName = o.Server, "" // as with kubectl, the name goes with the URL
	}
	f.TLSServerName = cmp.Or(o.TLSServerName, f.TLSServerName)
}

// OpenFor opens the file for the credential of an account on a destination, whose UID is
// given. One that is there must hold an earlier credential of the same.
func (o Renewal) OpenFor(ctx context.Context, client *cluster.Client, path string, a cluster.Account, endpoint cluster.Endpoint, uid string) (*File, error) {
	f, err := Open(path, o.Age)
	if err != nil {
		return nil, err
	}
	if f.Before != nil && (f.Account != a || f.Cluster != uid) {
		return nil, report.Finding{Rule: "output-taken", Severity: report.Error, Position: report.Position{File: f.Path},
			Message: fmt.Sprintf("the file holds the credential of ServiceAccount %s on %s", f.Account, report.URL(f.Server)), Hint: "write to another file"}
	}
	f.Account, f.Cluster, f.Lifetime = a, uid, o.Lifetime
	if err := f.Forget(ctx, client); err != nil {
		return nil, err
	}
	f.Server, f.TLSServerName = endpoint.Server, endpoint.TLSServerName
	o.reach(f)
	return f, nil
}

// Rotation is what becomes of one file.
type Rotation struct {
	*File
	// Asked is the lifetime that was asked for, zero for ever.
	Asked time.Duration

	doc    *yaml.Node // in clear
	sealed []byte
}

// Write says what is to be known of a rotated credential. rendered says that the pairs
// that use it hold it.
func (r *Rotation) Write(w io.Writer, rendered bool) {
	r.WarnShortened(w, r.Asked)
	report.Say(w, "The credential in %s %s.\n", r.Path, r.Ending())
	if !rendered {
		report.Say(w, "No config here takes it: render the pairs that use it with clusterpair generate -f CONFIG.\n")
	}
	if len(r.Previous) > 0 {
		report.Say(w, "The one before still works. When the new one is synced and clusterpair preflight says that it works, end it:\n  clusterpair credential revoke %s\n", r.Path)
	}
}

// RotateAll makes a new token for each of the files that are of a destination, and writes
// them with the pairs that render renders from them; it is nil if there are none. If no
// file is of the destination, the error says so by the command that lists the contexts.
func (o Renewal) RotateAll(ctx context.Context, d Destination, talk report.Talk, files []*File, listContexts string, with func(map[string]*yaml.Node, []render.File) error) error {
	own := slices.DeleteFunc(slices.Clone(files), func(f *File) bool { return f.Cluster != d.UID })
	if len(own) == 0 {
		return files[0].OtherCluster(d, listContexts)
	}
	safe := sopsfile.New(nil)
	rotations := make([]*Rotation, len(own))
	for i, f := range own {
		r, findings, err := o.Prepare(ctx, d.Client, safe, f, d.CA)
		if err := cmp.Or(talk.Print(findings), err); err != nil {
			return err
		}
		rotations[i] = r
	}
	if err := Mint(ctx, d.Client, safe, d.CA, rotations); err != nil {
		return err
	}
	if err := Write(ctx, d.Client, rotations, with); err != nil {
		return err
	}
	for _, r := range rotations {
		report.Say(talk.Out, "%s %s\n", worktree.Changed, r.Path)
	}
	for _, r := range rotations {
		r.Write(talk.Err, with != nil)
	}
	return nil
}

// Prepare does for one file what comes before its token. There is no rotation if one of
// the findings is an error.
func (o Renewal) Prepare(ctx context.Context, client *cluster.Client, safe *sopsfile.Safe, f *File, ca []byte) (*Rotation, []report.Finding, error) {
	var err error
	if f.Policy, err = seal.PolicyOf(f.Path, o.Age); err != nil {
		return nil, nil, err
	}
	switch {
	case o.LegacySecret:
		f.Lifetime = ""
	case o.Lifetime != "":
		f.Lifetime = o.Lifetime
	}
	o.reach(f)
	r := &Rotation{File: f}
	if r.Asked, err = ParseLifetime(f.Lifetime); err != nil {
		return nil, nil, err
	}
	if err := f.Forget(ctx, client); err != nil {
		return nil, nil, err
	}
	findings, err := f.Rehearse(ctx, safe, ca)
	return r, findings, err
}

// Mint makes the tokens of all rotations, or none.
func Mint(ctx context.Context, client *cluster.Client, safe *sopsfile.Safe, ca []byte, rotations []*Rotation) (err error) {
	for i, r := range rotations {
		if r.doc, r.sealed, err = r.Mint(ctx, client, safe, ca, r.Asked); err != nil {
			return unmint(ctx, client, rotations[:i], err)
		}
	}
	return nil
}

// Try asks the destination whether it takes the new token. endpoint is how it is reached
// from here: the source cluster may reach it by another URL.
func (r *Rotation) Try(ctx context.Context, endpoint cluster.Endpoint) error {
	text, err := base64.StdEncoding.DecodeString(manifest.Text(r.doc, "data", kubeconfigKey))
	if err != nil {
		return fmt.Errorf("the kubeconfig for %s cannot be read again", r.Account)
	}
	docs, err := manifest.Values(text, r.Path)
	if err != nil {
		return err
	}
	d, _ := kubeconfig.FromDocument(docs[0], r.Path, kubeconfig.Options{Allow: kubeconfig.AllowAll(), Now: time.Now()})
	if d == nil {
		return fmt.Errorf("the kubeconfig for %s cannot be read again", r.Account)
	}
	d.Server, d.TLSServerName, d.CAData = endpoint.Server, endpoint.TLSServerName, endpoint.CA
	for _, c := range cluster.Preflight(ctx, d, cluster.PreflightOptions{Shallow: true, Now: time.Now()}) {
		if c.Status == report.Failed && c.Name != "expiry" {
			return report.WithHint(fmt.Errorf("%s does not take the new token: %s", report.URL(d.Server), c.Text), "%s", cmp.Or(c.Hint, "nothing was written; run the command again"))
		}
	}
	return nil
}

// Write writes the files of rotations, all or none. If it cannot, their tokens are taken
// back. with writes them together with the pairs that are rendered from what they are
// about to hold, by their paths; it is nil if there are no such pairs.
func Write(ctx context.Context, client *cluster.Client, rotations []*Rotation, with func(instead map[string]*yaml.Node, files []render.File) error) error {
	err := write(ctx, rotations, with)
	if err == nil {
		return nil
	}
	if now, _ := worktree.ReadPrevious(rotations[0].Path); bytes.Equal(now, rotations[0].sealed) {
		return err // about telling what was done
	}
	return unmint(ctx, client, rotations, err)
}

func write(ctx context.Context, rotations []*Rotation, with func(map[string]*yaml.Node, []render.File) error) error {
	instead := make(map[string]*yaml.Node)
	var files []render.File
	for _, r := range rotations {
		target, err := filepath.EvalSymlinks(r.Path) // a link stays
		if err != nil {
			return fmt.Errorf("write %s: %w", r.Path, worktree.Cause(err))
		}
		t, err := worktree.Open(filepath.Dir(target))
		if err != nil {
			return err
		}
		defer t.Close()
		instead[r.Path], files = r.doc, append(files, render.File{Tree: t, Name: filepath.Base(target), Before: r.Before, After: r.sealed})
	}
	if with != nil {
		return with(instead, files)
	}
	tx := worktree.Begin(false)
	defer tx.Close()
	for _, f := range files {
		if err := f.Stage(tx); err != nil {
			return err
		}
	}
	return tx.Commit(ctx)
}

// unmint takes back the tokens that could not be written because of err.
func unmint(ctx context.Context, client *cluster.Client, rotations []*Rotation, err error) error {
	for _, r := range rotations {
		err = r.Unmint(ctx, client, err)
	}
	return err
}
