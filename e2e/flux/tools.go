//go:build tools

// Package flux holds what make e2e builds into bin/ to have a real Flux: its
// kustomize-controller, and the CustomResourceDefinitions of what it, the
// source-controller and the notification-controller own.
package flux

import (
	_ "github.com/fluxcd/kustomize-controller"
	_ "github.com/fluxcd/kustomize-controller/api/v1"
	_ "github.com/fluxcd/notification-controller/api/v1beta3"
	_ "github.com/fluxcd/source-controller/api/v1"
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
