package rotation

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"clusterpair.dev/generator"
	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/credential"
	"clusterpair.dev/internal/defect"
	"clusterpair.dev/internal/gitfiles"
	"clusterpair.dev/internal/holders"
	"clusterpair.dev/internal/kustomize"
	"clusterpair.dev/internal/report"
)

// View is a repository with the clusters that its configs are about.
type View struct {
	// Choice is the kubeconfig; each cluster is a context of it. Contexts is the name of
	// that, in which ${cluster} stands for the cluster.
	Choice   cluster.Choice
	Contexts string
	// AssumeSynced are source clusters that cannot be asked, and that somebody says have
	// synced.
	AssumeSynced []string

	repo    gitfiles.Repository
	files   []*credential.File
	names   map[string]string // of the destination clusters, by the Secret of their credential
	sources map[string]string // of the source clusters, by the config of their pairs
}

// Destination is a destination whose credential clusterpair makes.
type Destination struct {
	*credential.File
	*State
	// Cluster is its name, and that of its context.
	Cluster string
	// Err is why it is not known how far the rotation has come; its Step is then [Unknown].
	Err error

	at credential.Destination
}

// Open finds the destinations of the configs at a path, each with a Secret that
// credential create has written.
func (v *View) Open(path string) error {
	files, _, err := credential.Find(path, "", func(string, error) {})
	if err != nil {
		return err
	}
	if v.repo, err = gitfiles.Open(path); err != nil {
		return err
	}
	v.files, v.names, v.sources = files, make(map[string]string), make(map[string]string)
	for _, file := range kustomize.Below(v.repo.Shown("."), -1) {
		configs, err := kustomize.Find(v.repo.Shown(v.repo.Path(file)))
		for _, c := range configs {
			v.sources[c.Name] = c.Name
			if c.Source != nil {
				v.sources[c.Name] = c.Source.Name
				for secret, name := range c.Source.Clusters() {
					v.names[secret] = name
				}
			}
		}
		kustomize.Close(configs)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// clusterOf is the name of the cluster that a file has the credential of.
func (v *View) clusterOf(f *credential.File) string { return cmp.Or(v.names[f.Name], f.Name) }

// sourceOf is the source cluster of a pair, or its file if no config says which.
func (v *View) sourceOf(h holders.Holder) string {
	return cmp.Or(v.sources[h.Config], h.Config, v.repo.Path(h.File))
}

// asked are requests at a time. Each is for another cluster.
const asked = 16

// Look asks the clusters how far each rotation has come. What a cluster refuses is part
// of the answer.
func (v *View) Look(ctx context.Context) ([]*Destination, error) {
	all, err := holders.Find(ctx, v.repo)
	if err != nil {
		return nil, err
	}
	contexts := v.Choice.Contexts()
	destinations := make([]*Destination, len(v.files))
	tokens := make([][]cluster.TokenSecret, len(v.files))
	live := make(map[string]*Live)
	var group errgroup.Group
	group.SetLimit(asked)
	for i, f := range v.files {
		d := &Destination{File: f, Cluster: v.clusterOf(f), State: &State{Step: Unknown}}
		destinations[i] = d
		group.Go(func() (err error) {
			defer defect.Recover(&err, d.Path)
			d.at, tokens[i], d.Err = v.tokens(ctx, d)
			return nil
		})
	}
	for _, h := range all {
		name := v.sourceOf(h)
		context, err := v.contextOf(name)
		if err != nil {
			return nil, err
		}
		if h.Config == "" || live[name] != nil || !slices.Contains(contexts, context) {
			continue
		}
		l := new(Live)
		live[name] = l
		group.Go(func() (err error) {
			defer defect.Recover(&err, name)
			l.Err = v.source(ctx, context, l)
			return nil
		})
	}
	if err := cmp.Or(group.Wait(), ctx.Err()); err != nil {
		return nil, err
	}
	for i, d := range destinations {
		if d.Err == nil {
			d.State = Judge(v.facts(ctx, d, tokens[i], all, live))
		}
	}
	return destinations, nil
}

// facts are what [Judge] wants to know of a destination.
func (v *View) facts(ctx context.Context, d *Destination, tokens []cluster.TokenSecret, all []holders.Holder, live map[string]*Live) *Facts {
	makers, maker := v.makers(d.File)
	return &Facts{
		Now: time.Now(), Namespace: d.Account.Namespace, Present: d.Secret, Before: d.Previous, Ends: d.Expires, Tokens: tokens,
		Maker: maker, Makers: makers, Kept: func(secret string) bool { return v.repo.InBranches(ctx, secret) }, Own: d.Path, Holders: all, Source: v.sourceOf, Live: live, AssumeSynced: v.AssumeSynced,
	}
}

// makers are what tokens begin with that were made for a file, and what those say that
// were made for it in this work tree.
func (v *View) makers(f *credential.File) (all, here string) {
	host, _ := os.Hostname() // empty is as good as any other
	sum := sha256.Sum256([]byte(host + "\x00" + v.repo.Root))
	all = f.Name + "."
	return all, all + hex.EncodeToString(sum[:8])
}

// contextOf is the kubeconfig context of a cluster.
func (v *View) contextOf(name string) (string, error) {
	context, err := generator.Expand(cmp.Or(v.Contexts, "${cluster}"), func(variable string) (string, error) {
		if variable != "cluster" {
			return "", fmt.Errorf("there is no ${%s}", variable)
		}
		return name, nil
	})
	if err != nil {
		err = report.Usage(report.WithHint(fmt.Errorf("--contexts: %w", err), "--contexts 'admin@${cluster}'"))
	}
	return context, err
}

// connect makes a client of a kubeconfig context.
func (v *View) connect(context string) (*cluster.Client, error) {
	choice := v.Choice
	choice.Overrides.CurrentContext = context
	client, _, findings, err := choice.Client()
	if i := slices.IndexFunc(findings, func(f report.Finding) bool { return f.Severity == report.Error }); err == nil && i >= 0 {
		err = findings[i]
	}
	return client, err
}

// tokens asks a destination for the tokens of its account.
func (v *View) tokens(ctx context.Context, d *Destination) (at credential.Destination, tokens []cluster.TokenSecret, err error) {
	context, err := v.contextOf(d.Cluster)
	if err != nil {
		return at, nil, err
	}
	client, err := v.connect(context)
	if err != nil {
		return at, nil, err
	}
	if at, err = credential.Connect(ctx, client); err != nil {
		return at, nil, err
	}
	if at.UID != d.File.Cluster {
		return at, nil, report.WithHint(fmt.Errorf("context %s is not the cluster of the credential in %s", context, d.Path),
			"say how the contexts are called: --contexts 'admin@${cluster}'; they are: %s", v.Choice.ListContexts())
	}
	tokens, err = client.Tokens(ctx, d.Account)
	return at, tokens, err
}

// source asks a source cluster for its pairs and its Migrations.
func (v *View) source(ctx context.Context, context string, l *Live) error {
	client, err := v.connect(context)
	if err != nil {
		return err
	}
	if err := client.Pairs(ctx, cluster.Scope{}, func(p cluster.Pair, _ []byte) error {
		l.Pairs = append(l.Pairs, p)
		return nil
	}); err != nil {
		return err
	}
	l.Running, err = client.Unfinished(ctx)
	return err
}
