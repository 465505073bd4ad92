// Package pace slows the garbage collector down before other packages
// initialise: they allocate more than the 4 MiB at which it would run for the
// first time, and most runs of clusterpair end before a collection pays.
//
// Import it for that effect. Go initialises packages in the order of their
// paths as soon as all that they import is ready, so that this one, which
// imports next to nothing, comes before the libraries. A run that is long
// sets a pace of its own. https://go.dev/ref/spec#Program_initialization
package pace

import (
	"os"
	"runtime/debug"
)

func init() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
