package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"clusterpair.dev/schema"
)

func newSchemaCommand() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "schema [DEFINITION]",
		Short: "Print the schema of ClusterPairs and configs for other tools",
		Long: `schema prints what validate checks of a single document, for other tools.

-o cue         one CUE file with all definitions, for cue vet, also beside a
               policy. Name the files: with a package's folder cue vet leaves
               further CUE files out without a word
-o jsonschema  JSON Schema (draft 7) for editors and kubeconform: of DEFINITION,
               or of all kinds in one. What is no ClusterPair and no config of
               clusterpair it accepts. kubeconform quotes values in its messages
-o crd         a CustomResourceDefinition that lets the API server refuse what
               stops Stork; of ClusterPair unless DEFINITION says for which
               Stork version. Stork creates one that accepts everything, and
               leaves one that is there as it is

DEFINITION is one of ` + strings.Join(schema.DefinitionNames(), ", ") + `.
ClusterPair is in clear, Encrypted by SOPS; WithMode is for Stork 2.9 to 23.10,
WithoutMode for all others.`,
		Example: `  clusterpair schema -o cue > schema.cue
  cue vet -c schema.cue policy.cue pair.enc.yaml -d '#Encrypted'

  clusterpair schema -o jsonschema > clusterpair.json
  kubeconform -schema-location clusterpair.json rendered/
  # and for editors, in the first line of a file:
  # yaml-language-server: $schema=clusterpair.json

  clusterpair schema -o crd ClusterPairWithoutMode | kubectl apply --server-side -f -`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: schema.DefinitionNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			def := ""
			if len(args) > 0 {
				def = "#" + strings.TrimPrefix(args[0], "#")
				if !slices.Contains(schema.Definitions(), def) {
					return usageError(withHint(fmt.Errorf("there is no definition %q", args[0]), "one of %s", strings.Join(schema.DefinitionNames(), ", ")))
				}
			}
			var text []byte
			switch {
			case format == "cue" && def != "":
				return usageError(withHint(fmt.Errorf("-o cue prints all definitions"), "clusterpair schema -o cue"))
			case format == "cue":
				text = schema.CUE()
			case format == "jsonschema":
				text = schema.JSONSchema(def)
			case format == "crd" && def == "":
				text = schema.CRD("#ClusterPair")
			case format == "crd" && (def == "#ClusterPair" || def == "#ClusterPairWithMode" || def == "#ClusterPairWithoutMode"):
				text = schema.CRD(def)
			case format == "crd":
				return usageError(withHint(fmt.Errorf("the cluster holds ClusterPairs in clear, no %s", args[0]), "clusterpair schema -o crd ClusterPair"))
			default:
				return usageError(withHint(fmt.Errorf("no output %q", format), "-o cue, -o jsonschema or -o crd"))
			}
			_, err := cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "", "cue, jsonschema or crd")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"cue", "jsonschema", "crd"}, cobra.ShellCompDirectiveNoFileComp)) // the flag exists
	return cmd
}
