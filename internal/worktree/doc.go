// Package worktree reads and replaces the files of a Git work tree, and never
// leaves it.
//
// [Open] opens the tree around a kustomization. [Begin] starts a [Transaction],
// which writes the files of a run all or none; [WriteFile] replaces one file as a
// whole. [Lock] keeps two runs out of one directory.
package worktree
