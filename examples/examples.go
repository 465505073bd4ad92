// Package examples lays out the repositories that clusterpair init writes.
//
// [New] checks what a user calls the things of an example; [Layout.Files] are its files
// with these names, [Layout.Write] writes them, and [Layout.Next] is what to type then.
// examples/flux and examples/argocd are directories that work as they stand: of them this
// package holds all that is written by hand, for one of the ways where there are several.
// What is encrypted belongs to the demo keys. For many clusters examples/many has texts
// that are filled in.
package examples

import "embed"

// embedded are the files by their paths, as in flux/.sops.yaml.
//
//go:embed flux/.sops.yaml flux/.pre-commit-config.yaml flux/clusters flux/dr/*/clusterpair.yaml flux/dr/*/migrations
//go:embed argocd/.sops.yaml argocd/.pre-commit-config.yaml argocd/*.yaml argocd/*/plugin.yaml argocd/apps/plugin/kustomization.yaml argocd/apps/plugin/schedule.yaml argocd/health argocd/plugin
var embedded embed.FS
