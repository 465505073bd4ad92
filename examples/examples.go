// Package examples holds the repositories that clusterpair init lays out: of
// examples/flux and examples/argocd all that is written by hand, for one of the
// ways where there are several. What is encrypted belongs to the demo keys.
package examples

import "embed"

// FS are the files by their paths, as in flux/.sops.yaml.
//
//go:embed flux/.sops.yaml flux/clusters flux/dr/*/clusterpair.yaml flux/dr/*/migrations
//go:embed argocd/.sops.yaml argocd/*.yaml argocd/*/plugin.yaml argocd/apps/plugin/kustomization.yaml argocd/apps/plugin/schedule.yaml argocd/health argocd/plugin
var FS embed.FS
