package main

import (
	"errors"

	"github.com/spf13/cobra"

	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/seal"
	"clusterpair.dev/internal/worktree"
)

func newEncryptCommand() *cobra.Command {
	var output string
	var inPlace bool
	var age []string
	cmd := &cobra.Command{
		Use:   "encrypt FILE",
		Short: "Encrypt a file with SOPS, and leave no credential in clear",
		Long: `encrypt seals a file for the recipients of its creation rule in .sops.yaml, as
sops encrypt does. Of a ClusterPair it encrypts the credentials, of a Secret data
and stringData, of any other Kubernetes object all but apiVersion, kind and
metadata. The MAC of these covers the encrypted values alone, so that it survives
kustomize. Of any other file, such as a kubeconfig, it encrypts all values but
those of keys that end in _unencrypted. A creation rule may say otherwise.

No credential stays in clear: if the rule, an annotation or a comment would leave one,
nothing is written. The copy that kubectl apply keeps in an annotation is left out.

The name decides on the format, as for sops: a file *.json is JSON, and one that
is no *.yaml, *.yml or *.json, such as admin.conf, is encrypted as a whole. If -o
names an earlier result, values that have not changed keep their bytes. FILE may
be - for standard input; then the name under -o decides on the creation rule and
the format.`,
		Example: `  clusterpair encrypt -i secrets/west.enc.yaml
  clusterpair encrypt west-kubeconfig.yaml -o secrets/west.enc.yaml
  kubectl create secret generic west --from-file value=west.yaml --dry-run=client -o yaml | clusterpair encrypt - -o secrets/west.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if inPlace && (output != "" || args[0] == "-") {
				return usageError(errors.New("--in-place goes with a file and without --output"))
			}
			if inPlace {
				output = args[0]
			}
			return encrypt(cmd, seal.Request{Input: args[0], Output: output, Age: age})
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&output, "output", "o", "", "file to write instead of standard output")
	flags.BoolVarP(&inPlace, "in-place", "i", false, "write the result into FILE")
	flags.StringSliceVar(&age, "age", nil, "age recipient, instead of the creation rule; repeatable")
	return cmd
}

// encrypt does what is asked for, and writes the result.
func encrypt(cmd *cobra.Command, request seal.Request) error {
	if err := worktree.RecoverFile(cmd.Context(), cmd.ErrOrStderr(), request.Output); err != nil {
		return err
	}
	data, err := readInput(cmd, request.Input)
	if err != nil {
		return err
	}
	result, notes, err := request.Encrypt(cmd.Context(), data)
	if err != nil {
		return err
	}
	if err := report.WriteText(cmd.ErrOrStderr(), notes); err != nil {
		return err
	}
	if request.Output == "" || !result.Unchanged {
		err = writeResult(cmd, request.Output, result.Data)
	}
	if err == nil && result.Lists {
		say(cmd.ErrOrStderr(), "kustomize and Flux take a List apart, and its items lose the sops section\n  hint: give each object a file of its own before you list it under resources; generate reads the List as it is\n")
	}
	return err
}
