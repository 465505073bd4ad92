package main

import (
	"time"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/graph"
	"clusterpair.dev/internal/inventory"
	"clusterpair.dev/internal/pace"
	"clusterpair.dev/internal/report"
)

// inventoryFlags say which pairs to list, and what to say of them.
type inventoryFlags struct {
	formatFlag
	label    string
	within   days
	validate bool
}

func (o *inventoryFlags) add(cmd *cobra.Command, formats []string) {
	flags := cmd.Flags()
	flags.StringVar(&o.label, "group-by", "", "label of the clusters to group by; region or topology.kubernetes.io/region if it is not given")
	o.within.addWithin(cmd, "show as ending soon what ends within this time")
	flags.BoolVar(&o.validate, "validate", false, "add what validate finds")
	o.addFormat(cmd, formats[0], formats)
}

func newGraphCommand() *cobra.Command {
	o := new(inventoryFlags)
	cmd := &cobra.Command{
		Use:   "graph [PATH...]",
		Short: "Draw which clusters hold credentials of which others",
		Long: `graph draws the committed ClusterPairs as a matrix: a row for each source cluster, a
column for each destination, grouped by region where a fleet or the labels of Secrets
tell it. The colour of a cell tells when its credential ends. A hollow cell has no way
back. With --validate a dot marks a pair in which validate finds something. It takes no
key and no cluster, and reads all files below the working directory without PATH.

The clusters are called as the fleet calls them; without one a source is called after
the config that has rendered its pairs, and a destination after the Secret with its
kubeconfig. A pair of which no config tells stands for its folder and its own name.

-o html is one file with search, sorting and filters, which loads nothing. -o mermaid
draws regions in place of clusters where Mermaid would refuse the number of arrows. -o
dot is for Graphviz.`,
		Example: `  clusterpair graph > pairs.svg
  clusterpair graph -o html --validate > pairs.html
  clusterpair graph -o dot clusters/ | dot -Tpng > pairs.png`,
	}
	o.add(cmd, graph.Formats())
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return o.run(cmd, args, func(inv *inventory.Inventory) error {
			return graph.Write(cmd.OutOrStdout(), o.format, inv, graph.Options{Now: time.Now(), Within: o.within.Duration})
		})
	}
	return cmd
}

// run lists the pairs and has them written.
func (o *inventoryFlags) run(cmd *cobra.Command, args []string, write func(*inventory.Inventory) error) error {
	if err := o.checkFormat(); err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"."}
	}
	var findings []report.Finding
	var err error
	if o.validate {
		if findings, err = findingsIn(cmd, args, o.within); err != nil {
			return err
		}
	}
	defer pace.Steady(24<<20, 35, 0).End()
	source, err := workTree(cmd, args...)
	if err != nil {
		return err
	}
	inv, unread, err := inventory.Read(cmd.Context(), source, args, o.label)
	switch {
	case err != nil:
		return err
	case len(unread) > 0:
		return report.Errors(unread)
	}
	if o.validate {
		inv.Judge(findings)
	}
	for _, note := range inv.Notes() {
		say(cmd.ErrOrStderr(), "%s\n", note)
	}
	return write(inv)
}
