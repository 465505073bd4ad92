package main

import (
	"github.com/spf13/cobra"

	"clusterpair.dev/internal/release"
)

func newVersionCommand() *cobra.Command {
	var o formatFlag
	var provenance string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version and those of the libraries that decide about formats",
		Long: `version prints what this binary was built from: the version, the commit if that is
known, and the libraries that decide about formats. -o json has all modules.

With --check it holds the binary against the provenance of a release: it has to be one
of the files that this speaks of, and built from its commit.`,
		Example: `  clusterpair version
  clusterpair version --check clusterpair_v0.1.0.intoto.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.checkFormat(); err != nil {
				return err
			}
			text, err := release.Describe(provenance, o.format)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVar(&provenance, "check", "", "provenance of a release, against which to hold this binary")
	o.addFormat(cmd, "text", []string{"text", "json"})
	return cmd
}

// version is that of clusterpair itself.
func version() string { return release.Version() }
