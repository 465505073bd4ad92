// Package doctor looks for what would silently do nothing.
//
// [Examine] looks at the files below a directory, and at the programs and keys of this
// machine: whether configs, creation rules and keys fit together, and whether kustomize,
// Argo CD, Flux and pre-commit will do what the files expect of them. It asks no cluster,
// runs no program but git, kustomize and clusterpair version, and changes nothing.
package doctor
