// Package program is clusterpair-helper.
//
// [Main] does all that it does. Only the program imports it, and tests.
package program

import (
	"context"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/term"

	"clusterpair.dev/internal/helper"
	"clusterpair.dev/internal/keyservice"
	"clusterpair.dev/internal/keyservice/cloud"
	"clusterpair.dev/schema"
	"clusterpair.dev/schema/cuepolicy"
)

// Main serves clusterpair until that closes standard input, and ends the program.
func Main() {
	// An interrupt is for clusterpair, which closes this program's input as it ends.
	signal.Ignore(os.Interrupt)
	if len(os.Args) > 1 || term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprintln(os.Stderr, "clusterpair-helper asks key services of clouds, and evaluates policies, for clusterpair, which starts it itself. It takes no arguments.")
		os.Exit(2)
	}
	if err := helper.Serve(context.Background(), os.Stdin, os.Stdout, Operations()); err != nil {
		fmt.Fprintln(os.Stderr, "clusterpair-helper:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Operations are those of the program.
func Operations() map[string]helper.Operation {
	var policies cuepolicy.Shelf
	return map[string]helper.Operation{
		keyservice.HelperOperation: helper.Does(cloud.Ask),
		schema.LoadOperation:       helper.Does(policies.Load),
		schema.EvaluateOperation:   helper.Does(policies.Evaluate),
	}
}
