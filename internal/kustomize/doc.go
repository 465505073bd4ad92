// Package kustomize tells what a kustomization means for clusterpair.
//
// [Find] gives the function configs of a file or directory, [Configs] those of
// several of which there must be some, and [Below] the files of a repository with
// configs. They read the kustomization as kustomize does, but run nothing.
//
// [Build] runs kustomize within this process, and no program but this one. It changes
// the process while it runs, and says how.
package kustomize
