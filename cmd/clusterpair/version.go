package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version and those of the libraries that decide about formats",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return failed(fmt.Errorf("the binary has no build information"))
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "clusterpair %s %s %s/%s\n", info.Main.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			for _, dep := range info.Deps {
				switch dep.Path {
				case "sigs.k8s.io/kustomize/api", "github.com/getsops/sops/v3", "cuelang.org/go", "k8s.io/client-go", "filippo.io/age":
					fmt.Fprintf(out, "  %s %s\n", dep.Path, dep.Version)
				}
			}
			return nil
		},
	}
}

// version is that of clusterpair itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(devel)"
}
