// Command clusterpair-keyservice asks the key services of clouds for clusterpair, which starts
// it when a file is encrypted for one of them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/term"

	"clusterpair.dev/internal/keyservice"
	"clusterpair.dev/internal/keyservice/cloud"
)

func main() {
	// An interrupt is for clusterpair, which closes this program's input as it ends.
	signal.Ignore(os.Interrupt)
	if len(os.Args) > 1 || term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprintln(os.Stderr, "clusterpair-keyservice asks AWS KMS, Google Cloud KMS, Azure Key Vault, Huawei Cloud KMS or Vault for clusterpair, which starts it itself. It takes no arguments.")
		os.Exit(2)
	}
	if err := keyservice.Serve(context.Background(), os.Stdin, os.Stdout, cloud.Ask); err != nil {
		fmt.Fprintln(os.Stderr, "clusterpair-keyservice:", err)
		os.Exit(1)
	}
}
