package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/credential"
	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/rotation"
	"clusterpair.dev/internal/worktree"
)

// rotateOptions are the flags of credential rotate.
type rotateOptions struct {
	credentialFlags
	config  string
	timeout time.Duration
	fleet   bool
	run     rotation.Run
	view    rotation.View
}

func newCredentialRotateCommand() *cobra.Command {
	o := new(rotateOptions)
	cmd := &cobra.Command{
		Use:   "rotate FILE | CONFIG | --fleet PATH",
		Short: "Make a new token for a credential, and render the pairs that use it",
		Long: `rotate makes a new token for the ServiceAccount of a Secret that credential create
has written. It writes the token into the Secret and into the pairs that generate
renders from it: into all of them or none. Other pairs stay as they are. The new
token lasts as long as the old one was to last, and reaches the destination by the
same URL. The old one goes on working until it ends, or until credential revoke
ends it.

Of a function config, or the directory of one, it rotates all such Secrets whose
destination is the cluster of the kubeconfig.

With --fleet it brings the rotation of each destination one step further, and says
which step that is, as credential status does. It makes a new token where a fifth of
the life of the old one is left, tries the new one, and writes it. It ends the old
one, after asking, when every source cluster is known to have the new one and no
Migration that began before is under way. In between you commit, and the clusters
sync. Run it again and again: it remembers nothing, and both tokens work until the
last source has the new one. It exits 1 until all rotations have come to their end.`,
		Example: `  clusterpair credential rotate secrets/west.yaml --context west
  clusterpair credential rotate . --context west
  clusterpair credential rotate --fleet . --contexts 'admin@${cluster}'`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.rotate(cmd, args[0]) },
	}
	flags := cmd.Flags()
	o.addFlags(flags, "")
	o.addMintFlags(cmd, "")
	flags.Lookup("lifetime").Usage = "how long the token is to last (default: as was asked for the one before)"
	flags.Lookup("server").Usage = "URL of the destination as the source cluster reaches it (default: that of before)"
	flags.StringVarP(&o.config, "filename", "f", "", "function config to render, or directory of a kustomization that lists one (default: all of the repository that take FILE)")
	flags.BoolVar(&o.fleet, "fleet", false, "bring the rotation of each destination one step further")
	addContexts(flags, &o.view)
	flags.BoolVar(&o.run.Now, "now", false, "with --fleet: make new tokens, whether one is due or not")
	flags.IntVar(&o.run.Most, "max", 5, "with --fleet: for how many destinations to make a new token")
	flags.BoolVar(&o.run.Wait, "wait", false, "with --fleet: wait until the source clusters have synced, then end the old tokens")
	flags.DurationVar(&o.timeout, "timeout", time.Hour, "end --wait after this time")
	flags.BoolVarP(&o.yes, "yes", "y", false, "with --fleet: do not ask before old tokens end")
	return cmd
}

// rotateFleet brings the rotation of each destination one step further.
func (o *rotateOptions) rotateFleet(cmd *cobra.Command, path string) error {
	if name := firstChanged(cmd, "context", "server", "tls-server-name", "filename", "cluster"); name != "" {
		return usageError(withHint(fmt.Errorf("--%s is of one destination, and --fleet of all", name), "leave it out; the contexts are found by --contexts 'admin@${cluster}'"))
	}
	if o.view.Choice = o.Choice; !cmd.Flags().Changed("request-timeout") {
		o.view.Choice.Overrides.Timeout = "30s" // one that does not answer is not to hold up the others
	}
	if err := o.view.Open(path); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), o.timeout)
	defer cancel()
	r := &o.run
	r.View, r.Renewal, r.Talk = &o.view, o.renewal(), talk(cmd, o.yes)
	r.Render = func(configs []string, instead map[string]*yaml.Node, files []render.File) error {
		return renderInstead(cmd, configs, instead, files)
	}
	finished, err := r.Do(ctx)
	if err == nil && !finished || err == context.DeadlineExceeded { // --timeout has ended the waiting, and nothing else
		return &exitError{code: exitFindings}
	}
	return err
}

func (o *rotateOptions) rotate(cmd *cobra.Command, path string) error {
	if o.fleet {
		return o.rotateFleet(cmd, path)
	}
	if err := worktree.RecoverFile(cmd.Context(), cmd.ErrOrStderr(), path); err != nil {
		return err
	}
	files, configs, err := credential.Find(path, o.config, func(config string, err error) {
		say(cmd.ErrOrStderr(), "warning: whether %s takes %s is not known: %s\n", config, path, report.ErrorLine(err, config))
	})
	if err != nil {
		return err
	}
	d, err := o.connect(cmd)
	if err != nil {
		return err
	}
	var with func(map[string]*yaml.Node, []render.File) error
	if len(configs) > 0 {
		with = func(instead map[string]*yaml.Node, files []render.File) error {
			return renderInstead(cmd, configs, instead, files)
		}
	}
	return o.renewal().RotateAll(cmd.Context(), d, talk(cmd, o.yes), files, o.ListContexts(), with)
}

// renderInstead renders configs from what files are about to hold, and writes both.
func renderInstead(cmd *cobra.Command, configs []string, instead map[string]*yaml.Node, files []render.File) error {
	return (&generateOptions{remove: -1, paths: configs}).render(cmd, instead, files)
}
