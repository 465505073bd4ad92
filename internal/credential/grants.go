package credential

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"clusterpair.dev/internal/cluster"
	"clusterpair.dev/internal/manifest"
	"clusterpair.dev/internal/report"
	"clusterpair.dev/internal/sopsfile"
)

// ruleResources are the resources of a rule with their groups, as kubectl writes
// them, or its URLs.
func ruleResources(rule cluster.Object) []string {
	var all []string
	named := ""
	if names := objectTexts(rule, "resourceNames"); len(names) > 0 {
		named = " named " + strings.Join(names, " or ")
	}
	for _, group := range objectTexts(rule, "apiGroups") {
		for _, resource := range objectTexts(rule, "resources") {
			if group != "" {
				resource += "." + group
			}
			all = append(all, resource+named)
		}
	}
	return append(all, objectTexts(rule, "nonResourceURLs")...)
}

// ReadGrants reads what a credential of an account may do: migrate, cluster-admin, or a
// file with Roles and ClusterRoles.
func ReadGrants(rbac string, a cluster.Account, read func(path string) ([]byte, error)) (cluster.Grants, error) {
	switch rbac {
	case "migrate":
		return cluster.Grants{Roles: []cluster.Object{cluster.MigrationRole(a)}}, nil
	case "cluster-admin":
		return cluster.Grants{ClusterAdmin: true}, nil
	}
	var g cluster.Grants
	data, err := read(rbac)
	if err != nil {
		return g, err
	}
	docs, err := manifest.Values(data, rbac)
	if err != nil {
		return g, err
	}
	for _, doc := range docs {
		role, err := readRole(doc, rbac)
		if err != nil {
			return g, err
		}
		metadata, _ := role["metadata"].(map[string]any)
		if objectText(role, "kind") == "Role" && objectText(role, "metadata", "namespace") == "" {
			metadata["namespace"] = a.Namespace
		}
		g.Roles = append(g.Roles, role)
	}
	if len(g.Roles) == 0 {
		return g, report.Usage(fmt.Errorf("--rbac: %s holds no Role and no ClusterRole", rbac))
	}
	return g, nil
}

func readRole(doc *yaml.Node, file string) (cluster.Object, error) {
	f := report.Finding{Rule: "value-type", Severity: report.Error, Position: manifest.Position(doc, file),
		Hint: "the bindings are made for you: leave them and the ServiceAccount out"}
	kind := manifest.Text(doc, "kind")
	if group, _, _ := strings.Cut(manifest.Text(doc, "apiVersion"), "/"); group != "rbac.authorization.k8s.io" || kind != "Role" && kind != "ClusterRole" {
		f.Message = "the document is neither a Role nor a ClusterRole"
		return nil, f
	}
	if manifest.Text(doc, "metadata", "name") == "" {
		f.Message, f.Hint = fmt.Sprintf("the %s has no metadata.name", kind), ""
		return nil, f
	}
	var decoded any
	var role cluster.Object
	err := doc.Decode(&decoded)
	if err == nil {
		var data []byte
		if data, err = json.Marshal(decoded); err == nil {
			err = json.Unmarshal(data, &role) // the types of JSON, which client-go wants
		}
	}
	if err != nil {
		f.Message, f.Hint = fmt.Sprintf("the %s cannot be written as JSON", kind), ""
		return nil, f
	}
	return role, nil
}

// WriteObjects writes objects in YAML, as kustomize does.
func WriteObjects(w io.Writer, objects []cluster.Object) error {
	docs := make([]*yaml.Node, len(objects))
	for i, o := range objects {
		docs[i] = new(yaml.Node)
		if err := docs[i].Encode(o); err != nil {
			return err
		}
	}
	text, err := sopsfile.Marshal(docs, 0)
	if err == nil {
		_, err = w.Write(text)
	}
	return err
}

// ObjectID names an object as messages do.
func ObjectID(o cluster.Object) string {
	return objectText(o, "kind") + " " + filepath.Join(objectText(o, "metadata", "namespace"), objectText(o, "metadata", "name"))
}

// objectText is the text under a way of keys, empty if there is none.
func objectText(o cluster.Object, way ...string) string {
	for _, key := range way[:len(way)-1] {
		o, _ = o[key].(map[string]any)
	}
	text, _ := o[way[len(way)-1]].(string)
	return text
}

// objectTexts are the texts of a list.
func objectTexts(o cluster.Object, key string) []string {
	list, _ := o[key].([]any)
	var all []string
	for _, item := range list {
		if text, ok := item.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// Apply makes objects on a cluster, in their order, and tells what became of each. A dry
// run only asks the cluster.
func Apply(ctx context.Context, client *cluster.Client, objects []cluster.Object, dryRun bool, made func(outcome, id string)) error {
	for _, o := range objects {
		outcome, err := client.Apply(ctx, o, dryRun)
		if namespace := objectText(o, "metadata", "namespace"); apierrors.IsNotFound(err) && namespace != "" {
			err = report.WithHint(fmt.Errorf("there is no namespace %s on %s", namespace, client.Server()), "make it with --create-namespace, or name another with -n")
			if dryRun && makesNamespace(objects, namespace) {
				outcome, err = cluster.Created, nil // nothing can be tried in a namespace that is only tried
			}
		}
		if err != nil {
			return err
		}
		made(outcome, ObjectID(o))
	}
	return nil
}

// makesNamespace tells whether a namespace is among the objects to make.
func makesNamespace(objects []cluster.Object, name string) bool {
	return slices.ContainsFunc(objects, func(o cluster.Object) bool {
		return objectText(o, "kind") == "Namespace" && objectText(o, "metadata", "name") == name
	})
}

// StaleBindings are those that an earlier run has made for an account and that objects do
// not have: the account would keep what they grant.
func StaleBindings(ctx context.Context, client *cluster.Client, a cluster.Account, objects []cluster.Object) ([]cluster.Object, error) {
	bindings, err := client.Bindings(ctx, a)
	return slices.DeleteFunc(bindings, func(b cluster.Object) bool {
		return slices.ContainsFunc(objects, func(o cluster.Object) bool { return ObjectID(o) == ObjectID(b) })
	}), err
}

// Delete deletes objects, and tells of each that is gone.
func Delete(ctx context.Context, client *cluster.Client, objects []cluster.Object, gone func(id string)) error {
	for _, o := range objects {
		if _, err := client.Delete(ctx, objectText(o, "kind"), objectText(o, "metadata", "namespace"), objectText(o, "metadata", "name")); err != nil {
			return err
		}
		gone(ObjectID(o))
	}
	return nil
}

// Proposal is a credential before it is made.
type Proposal struct {
	*File
	// Destination is the URL of its API server.
	Destination string
	Grants      cluster.Grants
	// Migrate says that the grants are those that a migration needs.
	Migrate bool
	// Stale are bindings that the account loses.
	Stale []cluster.Object
}

// Write says what travels, and to whom.
func (p Proposal) Write(w io.Writer) {
	report.Say(w, "On %s ServiceAccount %s will be allowed:\n", p.Destination, p.Account)
	if p.Grants.ClusterAdmin {
		report.Say(w, "  everything, in all namespaces (cluster-admin)\n")
	}
	allSecrets := p.Grants.ClusterAdmin
	var order []string // of what is allowed, by the resources that it is allowed on
	allowed := make(map[string][]string)
	for _, role := range p.Grants.Roles {
		where := "in all namespaces"
		if namespace := objectText(role, "metadata", "namespace"); namespace != "" {
			where = "in namespace " + namespace
		}
		rules, _ := role["rules"].([]any)
		for _, rule := range rules {
			rule, _ := rule.(map[string]any)
			on := ruleResources(rule)
			allSecrets = allSecrets || where == "in all namespaces" && slices.ContainsFunc(on, func(r string) bool { return r == "secrets" || strings.HasPrefix(r, "*") })
			what := strings.Join(objectTexts(rule, "verbs"), ", ") + ", " + where
			if allowed[what] == nil {
				order = append(order, what)
			}
			allowed[what] = append(allowed[what], on...)
		}
	}
	for _, what := range order {
		report.Say(w, "  %s: %s\n", what, strings.Join(allowed[what], ", "))
	}
	if allSecrets {
		report.Say(w, "It reads every Secret of the cluster: guard it like an administrator's credential.\n")
	}
	if p.Migrate {
		report.Say(w, "Roles, bindings and admission webhooks are not migrated: with them it could give itself all.\n")
	}
	for _, b := range p.Stale {
		report.Say(w, "It loses what %s grants: %s.\n", ObjectID(b), objectText(b, "roleRef", "name"))
	}
	until := "does not end by itself"
	if p.Lifetime != "" {
		until = "lasts " + p.Lifetime
	}
	report.Say(w, "The token %s and is for %s. It goes into %s. It can be read by:\n", until, report.URL(p.Server), p.Path)
	for _, group := range p.Policy.Recipients() {
		for _, recipient := range group {
			report.Say(w, "  %s\n", recipient)
		}
	}
	report.Say(w, "  whoever can read the ClusterPair on the source cluster\n")
}
