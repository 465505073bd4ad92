package main

import (
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
               stops Stork. Stork creates one that accepts everything, and
               leaves one that is there as it is
-o admission   ValidatingAdmissionPolicies for Kubernetes 1.30 and later: one
               denies what stops Stork, another warns of what is misused

DEFINITION is one of ` + strings.Join(schema.DefinitionNames(), ", ") + `;
for the last two a ClusterPair, which is the default. ClusterPair is in clear, Encrypted by SOPS; WithMode is for Stork 2.9 to 23.10,
WithoutMode for all others.`,
		Example: `  clusterpair schema -o cue > schema.cue
  cue vet -c schema.cue policy.cue pair.enc.yaml -d '#Encrypted'

  clusterpair schema -o jsonschema > clusterpair.json
  kubeconform -schema-location clusterpair.json rendered/
  # yaml-language-server: $schema=clusterpair.json (in a file, for editors)
  clusterpair schema -o admission | kubectl apply --server-side -f -
  clusterpair schema -o crd ClusterPairWithoutMode | kubectl apply --server-side -f -`,
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: schema.DefinitionNames(),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := schema.Export(format, strings.Join(args, ""))
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "", "cue, jsonschema, crd or admission")
	complete(cmd, "output", schema.Formats())
	return cmd
}
