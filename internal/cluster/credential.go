package cluster

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// Account is a service account on a destination, whose credential a ClusterPair
// carries.
type Account struct{ Namespace, Name string }

func (a Account) String() string { return a.Namespace + "/" + a.Name }

// Token is a credential of an account.
type Token struct {
	// Value is the secret.
	Value string
	// Expires is when it ends; zero if it does not.
	Expires time.Time
	// Object is the name of the Secret that the token lives and dies with: the
	// API server looks for it at each request.
	Object string
}

// The labels and the annotation of the Secrets that tokens live with.
const (
	managedByLabel = "app.kubernetes.io/managed-by"
	accountLabel   = "clusterpair.dev/service-account"
	expiresKey     = "clusterpair.dev/credential-expires"
	fieldManager   = "clusterpair"
)

var (
	namespaces      = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	serviceAccounts = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}

	// applicable are the kinds that Apply writes.
	applicable = map[schema.GroupKind]schema.GroupVersionResource{
		{Kind: "Namespace"}:      namespaces,
		{Kind: "ServiceAccount"}: serviceAccounts,
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRole"}:        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterroles"},
		{Group: "rbac.authorization.k8s.io", Kind: "ClusterRoleBinding"}: {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
		{Group: "rbac.authorization.k8s.io", Kind: "Role"}:               {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
		{Group: "rbac.authorization.k8s.io", Kind: "RoleBinding"}:        {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	}
)

// Manifests are the objects that make an account and give it the roles, in the
// order in which they have to be applied. The roles that a cluster has anyway
// are only bound.
func (a Account) Manifests(roles []map[string]any) []map[string]any {
	object := func(apiVersion, kind, namespace, name string) map[string]any {
		metadata := map[string]any{"name": name, "labels": map[string]any{managedByLabel: fieldManager}}
		if namespace != "" {
			metadata["namespace"] = namespace
		}
		return map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": metadata}
	}
	const rbac = "rbac.authorization.k8s.io"
	objects := []map[string]any{object("v1", "ServiceAccount", a.Namespace, a.Name)}
	for i, role := range roles {
		r := unstructured.Unstructured{Object: role}
		if role["rules"] != nil {
			objects = append(objects, role)
		}
		name := a.Name
		if i > 0 {
			name += "-" + r.GetName()
		}
		binding := object(rbac+"/v1", r.GetKind()+"Binding", r.GetNamespace(), name)
		binding["roleRef"] = map[string]any{"apiGroup": rbac, "kind": r.GetKind(), "name": r.GetName()}
		binding["subjects"] = []any{map[string]any{"kind": "ServiceAccount", "namespace": a.Namespace, "name": a.Name}}
		objects = append(objects, binding)
	}
	return objects
}

// MigrationRole is a ClusterRole with what a migration needs, without what is
// optional: with those permissions it could give itself any other.
func MigrationRole(name string) map[string]any {
	var rules []any
	list := func(values []string) []any {
		out := make([]any, len(values))
		for i, v := range values {
			out[i] = v
		}
		return out
	}
	for _, p := range MigrationPermissions() {
		if !p.Optional {
			rules = append(rules, map[string]any{"apiGroups": []any{p.Group}, "resources": list(p.Resources), "verbs": list(p.Verbs)})
		}
	}
	return map[string]any{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
		"metadata": map[string]any{"name": name, "labels": map[string]any{managedByLabel: fieldManager}}, "rules": rules,
	}
}

// ClusterRole is a role that the cluster has.
func ClusterRole(name string) map[string]any {
	return map[string]any{"kind": "ClusterRole", "metadata": map[string]any{"name": name}}
}

// Apply writes objects by server-side apply, so that no annotation holds a copy
// of them. It takes no field from another manager. With dry nothing stays.
func (c *Client) Apply(ctx context.Context, objects []map[string]any, dry bool) error {
	options := metav1.ApplyOptions{FieldManager: fieldManager}
	if dry {
		options.DryRun = []string{metav1.DryRunAll}
	}
	for _, o := range objects {
		u := &unstructured.Unstructured{Object: o}
		resource := applicable[u.GroupVersionKind().GroupKind()] // the caller has made them
		err := c.try(ctx, func() error {
			_, err := c.dynamic.Resource(resource).Namespace(u.GetNamespace()).Apply(ctx, u.GetName(), u, options)
			return err
		})
		if apierrors.IsConflict(err) {
			return &Error{err: err, message: fmt.Sprintf("%s %s is somebody else's: %s", u.GetKind(), u.GetName(), c.redact(err.Error())), Hint: "choose another --name, or let its owner change it"}
		}
		if apierrors.IsNotFound(err) && u.GetNamespace() != "" {
			return &Error{err: err, message: fmt.Sprintf("there is no namespace %s on %s", u.GetNamespace(), c.config.Host), Hint: "kubectl create namespace " + u.GetNamespace()}
		}
		if err != nil {
			return fmt.Errorf("%s %s: %w", u.GetKind(), u.GetName(), err)
		}
	}
	return nil
}

// Token makes a credential of an account that lives until its Secret is deleted,
// and, unless it is a legacy one, at most for a time: the API server may grant
// less than was asked for.
//
// A token of a TokenRequest is bound to an empty Secret. A legacy one is in a
// Secret of type kubernetes.io/service-account-token and has no end.
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens
func (c *Client) Token(ctx context.Context, a Account, lifetime time.Duration, legacy bool) (t Token, err error) {
	object := map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"namespace": a.Namespace, "generateName": a.Name + "-", "labels": map[string]any{managedByLabel: fieldManager, accountLabel: a.Name}},
	}
	if legacy {
		object["type"] = "kubernetes.io/service-account-token"
		object["metadata"].(map[string]any)["annotations"] = map[string]any{"kubernetes.io/service-account.name": a.Name}
	}
	all := c.dynamic.Resource(secrets).Namespace(a.Namespace)
	var made *unstructured.Unstructured
	if err := c.try(ctx, func() (err error) {
		made, err = all.Create(ctx, &unstructured.Unstructured{Object: object}, metav1.CreateOptions{FieldManager: fieldManager})
		return err
	}); err != nil {
		return t, err
	}
	t.Object = made.GetName()
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Revoke(context.WithoutCancel(ctx), a, t.Object))
			t = Token{}
		}
	}()
	if legacy {
		t.Value, err = c.filled(ctx, made)
		return t, err
	}
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
		"metadata": map[string]any{"name": a.Name, "namespace": a.Namespace},
		"spec": map[string]any{
			"expirationSeconds": int64(lifetime / time.Second),
			"boundObjectRef":    map[string]any{"apiVersion": "v1", "kind": "Secret", "name": t.Object, "uid": string(made.GetUID())},
		},
	}}
	var answer *unstructured.Unstructured
	if err := c.try(ctx, func() (err error) {
		answer, err = c.dynamic.Resource(serviceAccounts).Namespace(a.Namespace).Create(ctx, request, metav1.CreateOptions{}, "token")
		return err
	}); err != nil {
		return t, err
	}
	t.Value, _, _ = unstructured.NestedString(answer.Object, "status", "token")
	c.keep(t.Value)
	expires, _, _ := unstructured.NestedString(answer.Object, "status", "expirationTimestamp")
	if t.Expires, err = time.Parse(time.RFC3339, expires); err != nil || t.Value == "" {
		return t, fmt.Errorf("%s answers a TokenRequest without a token that ends", c.config.Host)
	}
	// For those who look at the Secret, and for List. It is not worth failing for.
	_, _ = all.Apply(ctx, t.Object, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret",
		"metadata": map[string]any{"name": t.Object, "namespace": a.Namespace, "annotations": map[string]any{expiresKey: t.Expires.UTC().Format(time.RFC3339)}},
	}}, metav1.ApplyOptions{FieldManager: fieldManager + "-expiry"})
	return t, nil
}

// filled waits until the token controller has put the token into a Secret.
func (c *Client) filled(ctx context.Context, secret *unstructured.Unstructured) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	all := c.watches.Resource(secrets).Namespace(secret.GetNamespace())
	for {
		w, err := all.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + secret.GetName()}) // from any version: it begins with what is there
		if err != nil {
			return "", c.wrap(err)
		}
		for event := range w.ResultChan() {
			now, ok := event.Object.(*unstructured.Unstructured)
			if !ok || event.Type == watch.Deleted {
				continue
			}
			text, _, _ := unstructured.NestedString(now.Object, "data", "token")
			if token, err := base64.StdEncoding.DecodeString(text); err == nil && len(token) > 0 {
				w.Stop()
				c.keep(string(token))
				return string(token), nil
			}
		}
		w.Stop()
		if ctx.Err() != nil {
			return "", &Error{message: fmt.Sprintf("nobody has put a token into Secret %s within 30s", secret.GetName()), err: ctx.Err(),
				Hint: "the token controller of kube-controller-manager does; without it leave out --legacy-secret"}
		}
	}
}

// Issued is a credential of an account that still works, without its value.
type Issued struct {
	Object  string
	Created time.Time
	Expires time.Time // zero for one that does not end
}

// Issued are the credentials that Token has made for an account, oldest first.
func (c *Client) Issued(ctx context.Context, a Account) ([]Issued, error) {
	var issued []Issued
	_, err := c.list(ctx, secrets, a.Namespace, accountLabel+"="+a.Name, func(item []byte) error {
		var secret struct {
			Metadata metav1.ObjectMeta `json:"metadata"` // alone: the data is nobody's business
		}
		if json.Unmarshal(item, &secret) != nil {
			return fmt.Errorf("%s answers with a Secret that is no object", c.config.Host)
		}
		m := &secret.Metadata
		i := Issued{Object: m.Name, Created: m.CreationTimestamp.Time}
		i.Expires, _ = time.Parse(time.RFC3339, m.Annotations[expiresKey])
		issued = append(issued, i)
		return nil
	})
	slices.SortFunc(issued, func(a, b Issued) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Object, b.Object))
	})
	return issued, err
}

// Revoke deletes the Secret that a credential lives with. One that is gone
// already is no error. API servers forget a token within seconds: they keep
// what they know of one for ten.
func (c *Client) Revoke(ctx context.Context, a Account, object string) error {
	err := c.try(ctx, func() error {
		return c.dynamic.Resource(secrets).Namespace(a.Namespace).Delete(ctx, object, metav1.DeleteOptions{})
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the credential of Secret %s still works: %w", object, err)
	}
	return nil
}

// Authority is the CA of the cluster as PEM, empty if the system's CAs vouch for
// it, and the name in its certificate if that is not the one of the URL.
func (c *Client) Authority() (ca []byte, serverName string, err error) {
	ca = c.config.CAData
	if len(ca) == 0 && c.config.CAFile != "" {
		if ca, err = os.ReadFile(c.config.CAFile); err != nil {
			return nil, "", fmt.Errorf("read %s: %w", c.config.CAFile, errors.Unwrap(err))
		}
	}
	return ca, c.config.ServerName, nil
}
