//go:build tools

package prometheus

// What make e2e builds bin/prometheus-crds with.
import (
	_ "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	_ "sigs.k8s.io/controller-tools/cmd/controller-gen"
)
