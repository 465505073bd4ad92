package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/install"
	"clusterpair.dev/internal/watch"
)

func newInstallCommand() *cobra.Command {
	var o formatFlag
	var watching bool
	var namespace, image string
	cmd := &cobra.Command{
		Use:   "install DIR | --watch",
		Short: "Copy this binary into a directory, or print what clusterpair watch needs in a cluster",
		Long: `install copies the running binary to DIR/clusterpair, readable and executable by
everybody. So an init container, whose image holds nothing else, can hand it to
another container through a volume. A binary that is there, even one that runs, is
replaced at once and as a whole. clusterpair-helper goes with it, if it stands beside it.

Man pages that stand beside the binary, as archives, packages, the image and make man
put them, are copied to DIR/man/man1. man finds them there if DIR is in the PATH.

With --watch it copies nothing and prints what to apply to a source cluster, so that
clusterpair watch runs there: as alerts, for the operator of Prometheus, as a
dashboard for Grafana.`,
		Example: `  clusterpair install /custom-tools
  clusterpair install ~/.local/bin
  clusterpair install --watch -o yaml | kubectl apply -f -`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if !watching {
				return install.Copy(cmd.Context(), cmd.ErrOrStderr(), args[0])
			}
			if err := o.checkFormat(); err != nil {
				return err
			}
			return watch.Write(cmd.OutOrStdout(), o.format, namespace, image)
		},
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		return cobra.ExactArgs(map[bool]int{false: 1}[watching])(cmd, args)
	}
	cmd.Flags().BoolVar(&watching, "watch", false, "print what the watch needs in a source cluster")
	cmd.Flags().StringVarP(&namespace, "namespace", "n", watch.Namespace, "namespace of the watch")
	cmd.Flags().StringVar(&image, "image", watch.Image, "container image of the watch")
	o.addFormat(cmd, "yaml", watch.Formats)
	return cmd
}
