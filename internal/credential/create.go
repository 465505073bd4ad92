package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Destination is the cluster that a credential is for.
type Destination struct {
	*cluster.Client
	cluster.Endpoint
	UID string
}

// Connect looks at the destination. One that does not prove who it is is refused.
func Connect(ctx context.Context, client *cluster.Client) (d Destination, err error) {
	if !client.Verified() {
		return d, report.WithHint(errors.New("the destination does not prove who it is: insecure-skip-tls-verify"),
			"give the kubeconfig its certificate-authority-data, or name the CA with --certificate-authority FILE")
	}
	d.Client = client
	if d.Endpoint, err = client.Endpoint(); err != nil {
		return d, err
	}
	d.UID, err = client.UID(ctx)
	return d, err
}

// Creation makes an account on a destination, and a token of it.
type Creation struct {
	report.Talk
	Account cluster.Account
	Grants  cluster.Grants
	// Migrate tells that the grants are those of [cluster.MigrationRole].
	Migrate bool
	// Objects are what the account is made of, in order.
	Objects []cluster.Object
	Renewal Renewal
	// Lifetime of the token; zero for ever.
	Lifetime time.Duration
	Output   string // the file
}

// Do makes the objects and the token, after asking, and writes the file.
func (c *Creation) Do(ctx context.Context, d Destination) error {
	if err := worktree.RecoverFile(ctx, c.Err, c.Output); err != nil {
		return err
	}
	f, err := c.Renewal.OpenFor(ctx, d.Client, c.Output, c.Account, d.Endpoint, d.UID)
	if err != nil {
		return err
	}
	safe := sopsfile.New(nil)
	findings, err := f.Rehearse(ctx, safe, d.CA)
	if err := cmp.Or(c.Print(findings), err); err != nil {
		return err
	}
	stale, err := StaleBindings(ctx, d.Client, c.Account, c.Objects)
	if err != nil {
		return err
	}
	Proposal{File: f, Destination: d.Client.Server(), Grants: c.Grants, Migrate: c.Migrate, Stale: stale}.Write(c.Err)
	if err := c.Confirm("Make this credential?"); err != nil {
		return err
	}
	if err := c.Apply(ctx, d, false); err != nil {
		return err
	}
	if err := Delete(ctx, d.Client, stale, func(id string) { report.Say(c.Out, "deleted %s\n", id) }); err != nil {
		return err
	}
	_, sealed, err := f.Mint(ctx, d.Client, safe, d.CA, c.Lifetime)
	if err != nil {
		return err
	}
	if err := worktree.WriteFile(f.Path, sealed, 0o644); err != nil {
		return f.Unmint(ctx, d.Client, err)
	}
	report.Say(c.Out, "%s Secret %s/%s\n%s %s\n", worktree.Created, c.Account.Namespace, f.Secret, f.Verb(), f.Path)
	f.WarnShortened(c.Err, c.Lifetime)
	report.Say(c.Err, "The credential %s. For a config:\n  destination: {secret: {name: %s}}\n  files: [%s]\n", f.Ending(), f.Name, f.Path)
	return nil
}

// Apply makes the objects, and says what became of each. A dry run changes nothing.
func (c *Creation) Apply(ctx context.Context, d Destination, dryRun bool) error {
	suffix := map[bool]string{true: " (server dry run)"}[dryRun]
	return Apply(ctx, d.Client, c.Objects, dryRun, func(outcome, id string) { report.Say(c.Out, "%s %s%s\n", outcome, id, suffix) })
}

// OtherCluster is the error for a destination that is not the one of a file.
func (f *File) OtherCluster(d Destination, listContexts string) error {
	return report.WithHint(fmt.Errorf("%s is not the cluster of the credential in %s", d.Client.Server(), f.Path), "choose the destination with --context: %s", listContexts)
}
