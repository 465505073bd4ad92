// Command clusterpair-helper does for clusterpair what few runs need, and takes long to
// start: it asks the key services of clouds, and evaluates policies in CUE. clusterpair
// starts it itself.
package main

import "clusterpair.dev/internal/helper/program"

func main() { program.Main() }
