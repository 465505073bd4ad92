package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	var o formatFlag
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version and those of the libraries that decide about formats",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return fmt.Errorf("the binary has no build information")
			}
			if err := o.checkFormat(); err != nil {
				return err
			}
			known := struct {
				Version   string            `json:"version"`
				Go        string            `json:"go"`
				Platform  string            `json:"platform"`
				Libraries map[string]string `json:"libraries"`
			}{info.Main.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH, make(map[string]string)}
			for _, dep := range info.Deps {
				switch dep.Path {
				case "sigs.k8s.io/kustomize/api", "github.com/getsops/sops/v3", "cuelang.org/go", "k8s.io/client-go", "filippo.io/age":
					known.Libraries[dep.Path] = dep.Version
				}
			}
			text := fmt.Appendf(nil, "clusterpair %s %s %s\n", known.Version, known.Go, known.Platform)
			for _, path := range slices.Sorted(maps.Keys(known.Libraries)) {
				text = fmt.Appendf(text, "  %s %s\n", path, known.Libraries[path])
			}
			if o.format == "json" {
				var err error
				if text, err = json.MarshalIndent(known, "", "  "); err != nil {
					return err
				}
				text = append(text, '\n')
			}
			_, err := cmd.OutOrStdout().Write(text)
			return err
		},
	}
	o.addFormat(cmd, "text", []string{"text", "json"})
	return cmd
}

// version is that of clusterpair itself.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "(devel)"
}
