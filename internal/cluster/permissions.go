package cluster

// Permission is what a credential has to be allowed on some resources of one API
// group.
type Permission struct {
	// Group is the API group; empty for the core.
	Group string
	// Resources are plural names.
	Resources []string
	// Verbs are those of RBAC.
	Verbs []string
	// ClusterScoped tells that the resources stand in no namespace.
	ClusterScoped bool
	// Optional tells that a migration goes on without: objects of these
	// resources are then reported as failed and are missing on the destination.
	Optional bool
	// Escalates tells that who has the permission can give itself any other.
	Escalates bool
}

// MigrationPermissions are what Stork does on a destination with the credential
// of the pair, and what a failover does with that of the reverse pair. Read from
// Stork 24.3.2; it neither patches nor watches there. Custom resources that are
// registered with Stork come on top, and depend on the applications.
//
// https://github.com/libopenstorage/stork/blob/9dc3204614b2/pkg/migration/controllers/migration.go
// https://github.com/libopenstorage/stork/blob/9dc3204614b2/pkg/resourcecollector/resourcecollector.go#L192 (the kinds)
// https://github.com/libopenstorage/stork/blob/9dc3204614b2/pkg/action/failover.go
func MigrationPermissions() []Permission {
	// An object that is there and differs is deleted, freed of its finalizers and
	// created again; what the source no longer has is listed and purged.
	all := []string{"get", "list", "create", "update", "delete"}
	return []Permission{
		{Resources: []string{"namespaces"}, Verbs: []string{"get", "create"}, ClusterScoped: true},
		{Resources: []string{"persistentvolumes"}, Verbs: all, ClusterScoped: true},
		{Group: "storage.k8s.io", Resources: []string{"storageclasses"}, Verbs: []string{"list", "create"}, ClusterScoped: true},
		{Group: "apiextensions.k8s.io", Resources: []string{"customresourcedefinitions"}, Verbs: []string{"get", "create"}, ClusterScoped: true},

		{Resources: []string{"configmaps", "endpoints", "limitranges", "persistentvolumeclaims", "resourcequotas", "secrets", "serviceaccounts", "services"}, Verbs: all},
		{Resources: []string{"pods"}, Verbs: []string{"get", "list", "delete"}}, // a failover waits until nobody uses the volumes
		{Group: "apps", Resources: []string{"daemonsets", "deployments", "replicasets", "statefulsets"}, Verbs: all},
		{Group: "batch", Resources: []string{"cronjobs", "jobs"}, Verbs: all},
		{Group: "networking.k8s.io", Resources: []string{"ingresses", "networkpolicies"}, Verbs: all},
		{Group: "policy", Resources: []string{"poddisruptionbudgets"}, Verbs: all},

		{Group: "stork.libopenstorage.org", Resources: []string{"migrationschedules"}, Verbs: []string{"get", "list", "create", "update"}},
		{Group: "stork.libopenstorage.org", Resources: []string{"migrations"}, Verbs: []string{"get", "create"}},
		{Group: "stork.libopenstorage.org", Resources: []string{"applicationregistrations"}, Verbs: []string{"list"}, ClusterScoped: true},

		// On OpenShift.
		{Group: "apps.openshift.io", Resources: []string{"deploymentconfigs"}, Verbs: all},
		{Group: "image.openshift.io", Resources: []string{"imagestreams"}, Verbs: all},
		{Group: "route.openshift.io", Resources: []string{"routes"}, Verbs: all},
		{Group: "template.openshift.io", Resources: []string{"templates"}, Verbs: all},

		{Group: "scheduling.k8s.io", Resources: []string{"priorityclasses"}, Verbs: all, ClusterScoped: true, Optional: true},
		// Who creates a role or a binding has to have what it grants, or these two verbs.
		// https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping
		{Group: "rbac.authorization.k8s.io", Resources: []string{"roles"}, Verbs: append(all, "escalate", "bind"), Optional: true, Escalates: true},
		{Group: "rbac.authorization.k8s.io", Resources: []string{"rolebindings"}, Verbs: all, Optional: true, Escalates: true},
		{Group: "rbac.authorization.k8s.io", Resources: []string{"clusterroles"}, Verbs: append(all, "escalate", "bind"), ClusterScoped: true, Optional: true, Escalates: true},
		{Group: "rbac.authorization.k8s.io", Resources: []string{"clusterrolebindings"}, Verbs: all, ClusterScoped: true, Optional: true, Escalates: true},
		// A webhook sees and changes what anybody sends to the API server.
		{Group: "admissionregistration.k8s.io", Resources: []string{"mutatingwebhookconfigurations", "validatingwebhookconfigurations"}, Verbs: all, ClusterScoped: true, Optional: true, Escalates: true},
	}
}
