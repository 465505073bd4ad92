package main

import (
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/audit"
	"clusterpair.dev/internal/inventory"
)

func newReportCommand() *cobra.Command {
	o := new(inventoryFlags)
	cmd := &cobra.Command{
		Use:   "report [PATH...]",
		Short: "Report for an auditor who can decrypt what, and until when it works",
		Long: `report writes down of each committed ClusterPair who can decrypt it, of what kind its
credential is and until when it works, when the pair was encrypted last, and which
rules are waived for what reason; with --validate also what validate finds. It takes no
key and no cluster. What the files do not tell it calls unknown.

Recipients are named as fleets and the comments and anchors of .sops.yaml name them.`,
		Example: `  clusterpair report --validate > pairs.md
  clusterpair report -o html --validate > pairs.html
  clusterpair report -o json clusters/`,
	}
	o.add(cmd, audit.Formats())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return o.run(cmd, args, func(inv *inventory.Inventory) error {
			return audit.Write(cmd.OutOrStdout(), o.format, inv, audit.Options{Now: time.Now(), Within: o.within.Duration})
		})
	}
	return cmd
}
