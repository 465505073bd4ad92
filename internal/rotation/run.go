package rotation

import (
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/credential"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
	"clusterpair.dev/internal/worktree"
)

// Run brings each rotation of a [View] one step further.
type Run struct {
	*View
	Renewal credential.Renewal
	// Now makes new tokens where none is due, too. Most is for how many destinations a run
	// makes one.
	Now  bool
	Most int
	// Wait looks again until all sources have synced.
	Wait bool
	// Talk asks before old tokens end.
	report.Talk
	// Render writes files together with the pairs that configs render from what these are
	// about to hold, all or none.
	Render func(configs []string, instead map[string]*yaml.Node, files []render.File) error

	made int
	safe *sopsfile.Safe
}

// Do makes a run, and tells whether all rotations have come to their end.
func (r *Run) Do(ctx context.Context) (finished bool, err error) {
	if _, ok := worktree.Top(r.repo.Root); !ok {
		return false, report.WithHint(errors.New("there is no Git repository, whose commits tell what the clusters are going to have"), "rotate one credential after the other: clusterpair credential rotate FILE")
	}
	recover := func(ctx context.Context) (all []worktree.Recovered, err error) {
		for _, f := range r.files {
			err = cmp.Or(err, worktree.RecoverFile(ctx, r.Err, f.Path))
		}
		return nil, err
	}
	unlock, err := worktree.Enter(ctx, r.Err, recover, filepath.Join(r.repo.Root, ".git"))
	defer unlock()
	if err != nil {
		return false, err
	}
	r.safe = sopsfile.New(nil)
	var last string
	for {
		if err := r.reread(); err != nil {
			return false, err
		}
		all, err := r.Look(ctx)
		if err != nil {
			return false, err
		}
		if text := Table(all); text != last {
			last = text
			if _, err := io.WriteString(r.Err, text); err != nil {
				return false, err
			}
		}
		if err := r.act(ctx, all); err != nil {
			return false, err
		}
		finished, waits := ended(all)
		if finished || !r.Wait || !waits {
			return finished, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// pause is how long to wait between two looks at the clusters.
const pause = 10 * time.Second

// ended tells whether all rotations have come to their end, and whether one only waits
// for clusters.
func ended(all []*Destination) (finished, waits bool) {
	finished = true
	for _, d := range all {
		finished = finished && d.Step == Idle
		waits = waits || d.Step == Syncing || d.Step == Draining
	}
	return finished, waits
}

// reread reads the files again, which a run has written or somebody else.
func (v *View) reread() error {
	for i, f := range v.files {
		again, err := credential.OpenWritten(f.Path)
		if err != nil {
			return err
		}
		v.files[i] = again
	}
	return nil
}

// act takes the next action for each destination that has one.
func (r *Run) act(ctx context.Context, all []*Destination) error {
	for _, d := range all {
		for _, t := range d.Orphans {
			if err := d.at.Client.Unmint(ctx, d.Account, t.Name); err != nil {
				return err
			}
			report.Say(r.Out, "deleted Secret %s/%s, which a killed run has left on %s\n", d.Account.Namespace, t.Name, d.Cluster)
		}
	}
	if err := r.revoke(ctx, all); err != nil {
		return err
	}
	for _, d := range all {
		if d.Step != Due && (d.Step != Idle || !r.Now || r.made >= r.Most) {
			continue
		}
		switch {
		case len(d.Elsewhere) > 0 && !r.Now:
			report.Say(r.Err, "%s: %s, and a token is there already that somebody has made elsewhere: --now makes another\n", d.Cluster, d.Reason)
			continue
		case r.made >= r.Most:
			report.Say(r.Err, "%s: %s, and this run has made new tokens for %s already: commit them first\n", d.Cluster, d.Reason, report.Count(r.made, "destination", "destinations"))
			continue
		}
		if err := r.renew(ctx, d); err != nil {
			return err
		}
		r.made++
	}
	r.Now = false
	return nil
}

// revoke ends the tokens that nothing needs any more, after asking.
func (r *Run) revoke(ctx context.Context, all []*Destination) error {
	var ending []*credential.Revocation
	var of []*Destination
	for _, d := range all {
		if d.Step != Proven {
			continue
		}
		revocation, err := d.Revocation(ctx, d.at.Client, false, nil)
		if err != nil {
			return err
		}
		revocation.Write(r.Err)
		ending, of = append(ending, revocation), append(of, d)
	}
	if len(ending) == 0 {
		return nil
	}
	if err := r.Confirm("End them?"); err != nil {
		return err
	}
	for i, revocation := range ending {
		err := revocation.Do(ctx, func(secret string) { report.Say(r.Out, "deleted Secret %s on %s\n", secret, of[i].Cluster) })
		if err != nil {
			return err
		}
		of[i].Step, of[i].Old = Idle, nil
	}
	return nil
}

// renew makes a new token for a destination, tries it, and writes it with its pairs.
func (r *Run) renew(ctx context.Context, d *Destination) error {
	_, configs, err := credential.Find(d.Path, "", func(config string, err error) {
		report.Say(r.Err, "warning: whether %s takes %s is not known: %s\n", config, d.Path, report.ErrorLine(err, config))
	})
	if err != nil {
		return err
	}
	rotation, findings, err := r.Renewal.Prepare(ctx, d.at.Client, r.safe, d.File, d.at.CA)
	if err := cmp.Or(r.Print(findings), err); err != nil {
		return err
	}
	_, rotation.Maker = r.makers(d.File)
	rotations := []*credential.Rotation{rotation}
	if err := credential.Mint(ctx, d.at.Client, r.safe, d.at.CA, rotations); err != nil {
		return err
	}
	if err := rotation.Try(ctx, d.at.Endpoint); err != nil {
		return rotation.Unmint(ctx, d.at.Client, err)
	}
	var with func(map[string]*yaml.Node, []render.File) error
	if len(configs) > 0 {
		with = func(instead map[string]*yaml.Node, files []render.File) error {
			return r.Render(configs, instead, files)
		}
	}
	if err := credential.Write(ctx, d.at.Client, rotations, with); err != nil {
		return err
	}
	report.Say(r.Out, "%s %s\n", worktree.Changed, d.Path)
	rotation.WarnShortened(r.Err, rotation.Asked)
	d.Step, d.Reason = Rendered, "not committed"
	return nil
}
