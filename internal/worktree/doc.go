// Package worktree writes the files of a Git work tree without ever leaving it.
//
// [Open] opens the tree around a kustomization. [Begin] starts a [Transaction],
// which writes the files of a run all or none; [WriteFile] replaces one file as a
// whole. What is written outlasts a kill and a loss of power. [Lock] keeps two runs out of one directory.
package worktree
