// Package migration reads which ClusterPairs the objects of Stork name.
//
// [Read] is for the objects that use pairs, [Admins] for those that say in which
// namespace an adminClusterPair is.
package migration

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"clusterpair.dev/internal/manifest"
)

// Object is an object of Stork that uses ClusterPairs: a Migration, a MigrationSchedule,
// or an Action that fails over or back what a schedule migrates.
type Object struct {
	Kind, Namespace, Name string
	// Spec is that of a migration, of a schedule that of its migrations. An Action has
	// none.
	Spec *yaml.Node
	// Pair and AdminPair are where it names its pairs; nil if it does not.
	Pair, AdminPair *yaml.Node
	// Schedules are where an Action names a MigrationSchedule of its namespace.
	Schedules []*yaml.Node
}

// Read reads an object of a kind of Stork. ok is false if it uses no pair.
// https://github.com/libopenstorage/stork/blob/02b767878ba3ca5c27c3bcba1227c8a8c6f5c477/pkg/apis/stork/v1alpha1/action.go
func Read(n *yaml.Node, kind string) (o Object, ok bool) {
	o = Object{Kind: kind, Namespace: manifest.Text(n, "metadata", "namespace"), Name: manifest.Text(n, "metadata", "name")}
	switch kind {
	case "Migration":
		o.Spec = manifest.Field(n, "spec")
	case "MigrationSchedule":
		o.Spec = manifest.Field(n, "spec", "template", "spec")
	case "Action":
		for _, parameter := range []string{"failoverParameter", "failbackParameter"} {
			if s := scalar(n, "spec", "actionParameter", parameter, "migrationScheduleReference"); s != nil {
				o.Schedules = append(o.Schedules, s)
			}
		}
		return o, true
	default:
		return Object{}, false
	}
	o.Pair, o.AdminPair = scalar(o.Spec, "clusterPair"), scalar(o.Spec, "adminClusterPair")
	return o, true
}

func scalar(n *yaml.Node, keys ...string) *yaml.Node {
	if v := manifest.Field(n, keys...); v != nil && v.Kind == yaml.ScalarNode {
		return v
	}
	return nil
}

// Admins are the admin namespaces that an installation of Stork is given: by its
// ConfigMap, by the operator's StorageCluster or by an argument of its Deployment. ok is
// false for all other objects.
func Admins(n *yaml.Node, kind string) (namespaces []string, ok bool) {
	add := func(namespace string) {
		if namespace != "" {
			namespaces = append(namespaces, strings.Clone(namespace)) // not the whole text of its document
		}
	}
	switch kind {
	case "ConfigMap":
		if manifest.Text(n, "metadata", "name") != "stork-controller-config" {
			return nil, false
		}
		add(manifest.Text(n, "data", "admin-ns"))
	case "StorageCluster":
		add(manifest.Text(n, "spec", "stork", "args", "admin-namespace"))
	case "Deployment":
		for _, container := range manifest.Items(n, "spec", "template", "spec", "containers") {
			words := slices.Concat(manifest.Items(container, "command"), manifest.Items(container, "args"))
			for i, word := range words {
				if value, ok := strings.CutPrefix(word.Value, "--admin-namespace="); ok {
					add(value)
				} else if word.Value == "--admin-namespace" && i+1 < len(words) {
					add(words[i+1].Value)
				}
			}
		}
	default:
		return nil, false
	}
	return namespaces, true
}
