package main

import (
	"bytes"
	"cmp"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"clusterpair.dev/internal/render"
	"clusterpair.dev/internal/worktree"
)

// onePair is generate with the name of a pair.
type onePair struct{ render.One }

func (o *onePair) addFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&o.Namespace, "namespace", "n", "default", "namespace of the pair on the source cluster")
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "kubeconfig of the destination, - for standard input (default: KUBECONFIG, then ~/.kube/config)")
	flags.StringVar(&o.Context, "context", "", "context of the kubeconfig (default: its current context)")
	flags.StringArrayVarP(&o.StorageOptions, "storage-options", "s", nil, "KEY=VALUE for a pair over two fabrics: ip, port, token, mode, backuplocation; repeatable")
	flags.StringArrayVar(&o.ProjectMappings, "project-mappings", nil, "SOURCE=DESTINATION Rancher project; repeatable")
	flags.StringVar(&o.StorkVersion, "stork-version", "", "Stork release of the source cluster, such as 24.3")
	flags.StringVar(&o.Server, "server", "", "URL of the destination as the source cluster reaches it")
	flags.StringVar(&o.TLSServerName, "tls-server-name", "", "name in the destination's certificate, if it is not that of the URL")
	flags.StringArrayVar(&o.Allow, "allow", nil, "RULE[=REASON] to waive; repeatable")
	flags.StringSliceVar(&o.Age, "age", nil, "age recipient that can decrypt the pair; repeatable")
	flags.BoolVar(&o.Plaintext, "plaintext", false, "do not encrypt: the output holds the credential in clear")
	flags.StringVarP(&o.Output, "output", "o", "", "file to write instead of standard output; with a config the format of the plan: text, markdown, json")
}

func (o *onePair) run(cmd *cobra.Command) error {
	c, findings, err := o.Config()
	if err != nil {
		return err
	}
	if err := printFindings(cmd, findings); err != nil {
		return &exitError{code: exitUsage} // the findings have said why
	}
	if err := worktree.RecoverFile(cmd.Context(), cmd.ErrOrStderr(), o.Output); err != nil {
		return err
	}
	result, findings, err := o.Render(cmd.Context(), c, func(path string) ([]byte, error) { return readInput(cmd, path) })
	if err := cmp.Or(printFindings(cmd, findings), err); err != nil {
		return err
	}
	switch {
	case o.Plaintext:
		return writePlaintext(cmd, o.Output, result.Document)
	case bytes.Equal(result.Document, result.Previous):
		return nil
	}
	return writeResult(cmd, o.Output, result.Document)
}
